//! The pages of the repository: links, anchors, paths, and the size of the README.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const TOP: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
];

/// The pages by their paths in the repository.
fn pages() -> BTreeMap<PathBuf, String> {
    let docs = std::fs::read_dir(Path::new(ROOT).join("docs")).unwrap();
    let docs = docs
        .map(|entry| Path::new("docs").join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    TOP.iter()
        .map(PathBuf::from)
        .chain(docs)
        .map(|path| {
            let text = std::fs::read_to_string(Path::new(ROOT).join(&path)).unwrap();
            (path, text)
        })
        .collect()
}

/// The lines of a page that are not in a code block.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// A line without its inline code.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The links of a page: Markdown's, and the pictures of `<img>` and `<source>`.
fn links(page: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(page) {
        let line = without_code(line);
        for (begin, end) in [("](", ')'), (" src=\"", '"'), (" srcset=\"", '"')] {
            let found = line.split(begin).skip(1);
            links.extend(found.map(|rest| rest.split(end).next().unwrap().to_owned()));
        }
    }
    links
}

/// The anchors of a page, as GitHub makes them from its headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(page) {
        let Some(heading) = line.trim_start_matches('#').strip_prefix(' ') else {
            continue;
        };
        if !line.starts_with('#') {
            continue;
        }
        let anchor: String = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        // The second heading of one name is `name-1`.
        let numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let free = [anchor.clone()].into_iter().chain(numbered);
        let free = free.into_iter().find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// `docs/../README.md` is `README.md`; nothing outside the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => normal.pop().then_some(())?,
            Component::Normal(part) => normal.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

/// The links inside the repository that lead nowhere, and how many links there are.
fn broken_links(pages: &BTreeMap<PathBuf, String>) -> (Vec<String>, usize) {
    let mut broken = Vec::new();
    let mut seen = 0;
    for (path, page) in pages {
        for link in links(page) {
            if link.starts_with("https://") {
                continue;
            }
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                Some(path.clone())
            } else {
                normal(&path.parent().unwrap().join(file))
            };
            let leads = target.is_some_and(|target| {
                let page = pages.get(&target);
                let exists = page.is_some() || Path::new(ROOT).join(&target).exists();
                let has_anchor = || page.is_some_and(|page| anchors(page).contains(anchor));
                exists && (anchor.is_empty() || has_anchor())
            });
            if !leads {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    (broken, seen)
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let (broken, seen) = broken_links(&pages());
    assert_eq!(broken, [""; 0]);
    assert!(seen > 120, "{seen}");
}

/// The control: each kind of broken link is found, and no good one is.
#[test]
fn broken_links_and_anchors_are_found() {
    let page = "# Here\n\n## Same\n\n## Same\n\n[good](#here) [good](#same-1) [good](../README.md) \
                [good](other.md#there) ![good](images/desk-light.png) `[code](nowhere.md)`\n\
                ```\n# in-code\n[code](nowhere.md)\n```\n\
                [a](nowhere.md) [b](#nowhere) [c](other.md#nowhere) [d](#in-code) [e](#same-2) \
                [f](../../README.md) [g](README.md)\n\
                <img src=\"images/nowhere.png\"> <source srcset=\"images/nothing.png\">\n";
    let pages = BTreeMap::from([
        (PathBuf::from("docs/page.md"), page.to_owned()),
        (PathBuf::from("docs/other.md"), "# There\n".to_owned()),
    ]);
    let (broken, seen) = broken_links(&pages);
    // docs/README.md exists, so [g] is good.
    let expected = [
        "nowhere.md",
        "#nowhere",
        "other.md#nowhere",
        "#in-code",
        "#same-2",
        "../../README.md",
        "images/nowhere.png",
        "images/nothing.png",
    ];
    assert_eq!(broken, expected.map(|link| format!("docs/page.md: {link}")));
    assert_eq!(seen, 6 + expected.len());
}

#[test]
fn the_readme_is_one_page() {
    let pages = pages();
    let lines = pages[Path::new("README.md")].lines().count();
    assert!(lines <= 170, "README.md has {lines} lines");
}

#[test]
fn the_readme_and_the_index_link_to_every_page() {
    let pages = pages();
    let index = Path::new("docs/README.md");
    let from_readme = links(&pages[Path::new("README.md")]);
    let from_index = links(&pages[index]);
    for page in pages.keys().filter(|page| page.starts_with("docs")) {
        if page == index {
            continue;
        }
        let path = page.to_str().unwrap();
        let name = path.strip_prefix("docs/").unwrap();
        assert!(from_readme.iter().any(|link| link == path), "{path}");
        assert!(
            from_index.iter().any(|link| link.starts_with(name)),
            "{path}"
        );
    }
}

/// Paths in inline code, such as `src/error.rs`, on the pages that say where things are.
#[test]
fn every_path_on_a_page_exists() {
    let folders = [
        "src/",
        "tests/",
        "simulator/",
        "config/",
        "events/",
        "docs/",
        ".github/",
        ".ci/",
    ];
    let mut seen = 0;
    for (page, text) in pages() {
        if page == Path::new("CHANGELOG.md") {
            continue;
        }
        for line in prose(&text) {
            for code in line.split('`').skip(1).step_by(2) {
                // The last argument of `cargo test` may be a name, too.
                let code = code.rsplit(' ').next().unwrap_or(code);
                let is_path = folders.iter().any(|folder| code.starts_with(folder));
                if !is_path || code.contains([' ', '*', '…', '{']) {
                    continue;
                }
                seen += 1;
                assert!(
                    Path::new(ROOT).join(code).exists(),
                    "{}: {code}",
                    page.display()
                );
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

/// The read and write units of an operation in ARCHITECTURE.md, where a test compares them with counted requests.
fn units(architecture: &str, operation: &str) -> [u64; 2] {
    let begin = format!("| {operation} |");
    let row = architecture.lines().find(|line| line.starts_with(&begin));
    let cells: Vec<_> = row.unwrap().split('|').map(str::trim).collect();
    [3, 4].map(|cell| cells[cell].parse().unwrap())
}

fn with_commas(number: u64) -> String {
    if number < 1_000 {
        return number.to_string();
    }
    format!("{},{:03}", number / 1_000, number % 1_000)
}

#[test]
fn the_page_on_scale_multiplies_what_is_counted() {
    let pages = pages();
    let page = |name: &str| {
        let found = pages.iter().find(|(path, _)| path.ends_with(name));
        found.unwrap().1.clone()
    };
    let (scale, architecture) = (page("docs/scale.md"), page("ARCHITECTURE.md"));
    // For ten verifications, eleven sends, ten right guesses and a wrong one, in each second of an hour.
    let a_second = |for_ten: u64| (1_000_000 * for_ten).div_ceil(36_000);
    let [sends, right, wrong] = [11, 10, 1].map(a_second);
    let rates = format!("has {sends} sends, {right} right guesses and {wrong} wrong ones");
    assert!(scale.contains(&rates), "{rates}");
    let send = units(&architecture, "send, with a look at the switches");
    let of_right = units(&architecture, "verify, right");
    let of_wrong = units(&architecture, "verify, wrong");
    let [reads, writes] =
        [0, 1].map(|kind| sends * send[kind] + right * of_right[kind] + wrong * of_wrong[kind]);
    // The quota of AWS over the need, in thousands of verifications an hour.
    for (quota, needed, allowed) in [
        ("messages of a number to the United States", sends, 100),
        ("Pinpoint's requests", sends, 300),
        ("`ThrottlingRate`, requests to one route", sends, 300),
        ("writes of the table", writes, 4_000),
        ("writes of one item: the budgets of the day", sends, 1_000),
        ("reads of the table", reads, 12_000),
    ] {
        let row = scale
            .lines()
            .find(|line| line.starts_with(&format!("| {quota} |")));
        let row = row.unwrap();
        assert!(row.contains(&with_commas(needed)), "{needed} in {row}");
        assert!(row.contains(&with_commas(allowed)), "{allowed} in {row}");
        let reached = with_commas(1_000 * allowed / needed);
        assert!(
            row.contains(&format!("{reached},000")),
            "{reached} in {row}"
        );
    }
}

#[test]
fn pictures_are_small() {
    for entry in std::fs::read_dir(Path::new(ROOT).join("docs/images")).unwrap() {
        let entry = entry.unwrap();
        let size = entry.metadata().unwrap().len();
        assert!(size < 150_000, "{:?} has {size} bytes", entry.file_name());
    }
}

#[test]
fn the_example_of_settings_names_parameters_of_the_template() {
    let read = |path: &str| std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    let template = read("template.yaml");
    let (_, parameters) = template.split_once("\nParameters:").unwrap();
    let (parameters, _) = parameters.split_once("\nRules:\n").unwrap();
    let example = read("docs/settings.example.yaml");
    let settings: Vec<_> = example
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let is_name =
        |line: &&str| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':');
    let count = parameters.lines().filter(is_name).count();
    assert_eq!(
        settings.len(),
        count,
        "the example has every parameter once"
    );
    for setting in settings {
        // Quoted, so that YAML takes neither a number nor a boolean for a text.
        let (name, value) = setting.split_once(": ").unwrap();
        assert!(value.starts_with('"') && value.ends_with('"'), "{setting}");
        assert!(parameters.contains(&format!("\n  {name}:\n")), "{name}");
    }
}

/// The files of the tests, by the words that a page names them with: `ends` or `ledger::clauses`.
fn test_files(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            test_files(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let parent = path.parent().unwrap().file_name().unwrap();
            let name = format!("{}::{stem}", parent.to_str().unwrap());
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Whether a page may name a test by `name`. The name has two parts with `::` between them. The
/// first is a file, with or without its folder. The second is `*` or a test, whose end may be cut
/// off with `…`.
fn names_a_test(name: &str, files: &[(String, String)]) -> bool {
    let Some((module, test)) = name.split_once("::") else {
        return false;
    };
    files.iter().any(|(file, text)| {
        let is_module = file.ends_with(&format!("::{module}"));
        let has_test = || match test.strip_suffix('…') {
            Some(begin) => text.contains(&format!("fn {begin}")),
            None => test == "*" || text.contains(&format!("fn {test}(")),
        };
        file == name || is_module && has_test()
    })
}

#[test]
fn every_test_named_on_a_page_exists() {
    let mut files = Vec::new();
    test_files(&Path::new(ROOT).join("tests"), &mut files);
    let mut seen = 0;
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/security.md"] {
        let text = std::fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
        for line in prose(&text) {
            for code in line.split('`').skip(1).step_by(2) {
                let is_name = |c: char| c.is_ascii_lowercase() || "_:*…0123456789".contains(c);
                if !code.contains("::") || !code.chars().all(is_name) {
                    continue;
                }
                seen += 1;
                assert!(names_a_test(code, &files), "{page}: {code}");
            }
        }
    }
    assert!(seen > 20, "{seen}");
    for missing in ["nowhere::*", "codes::no_such_test", "codes::no_such_…"] {
        assert!(!names_a_test(missing, &files), "{missing}");
    }
}
