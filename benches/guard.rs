//! Compares the counts of a run with the counts in `benches/expected.json`. A change that makes a request more
//! expensive is noticed this way.
//!
//! Instructions, round trips and handshakes are compared. These counts are nearly the same on every machine. Times are
//! not compared: a time depends on the machine and on the machine's other work.

use super::instructions::Row;
use std::path::{Path, PathBuf};

/// How far instructions may be from the committed count, up or down. If an improvement is larger than this, the new
/// count must be committed. If the old count stayed, a later change could undo the improvement unnoticed.
const TOLERANCE: f64 = 0.05;

/// The committed counts.
pub(super) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/expected.json")
}

pub(super) fn read() -> Vec<Row> {
    let text = std::fs::read_to_string(path()).expect("benches/expected.json should be there");
    serde_json::from_str(&text).expect("benches/expected.json should have rows")
}

/// Writes the counts that are committed next, also into the pages.
pub(super) fn write(rows: &[Row]) {
    let rows: Vec<Row> = rows.iter().map(Row::rounded).collect();
    let text = serde_json::to_string_pretty(&rows).unwrap();
    std::fs::write(path(), text + "\n").unwrap();
    for (name, text) in PAGES.iter().zip(pages(&rows)) {
        std::fs::write(page(name), text).unwrap();
    }
}

/// The pages with rows of counts.
const PAGES: [&str; 2] = ["ARCHITECTURE.md", "README.md"];

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The text of each page with these counts.
fn pages(rows: &[Row]) -> [String; 2] {
    let [architecture, readme] = PAGES.map(|name| std::fs::read_to_string(page(name)).unwrap());
    let [without, with, secret] = super::OURS.map(|(program, _)| {
        let rows = rows.iter().filter(move |row| row.program == program);
        move |request: &str| {
            let mut rows = rows.clone();
            let row = rows.find(|row| row.request == request).unwrap();
            row.instructions / 1e6
        }
    });
    let silence = "send after 21 s of silence";
    let architecture = [
        (
            "million instructions: the start; with a ledger; with its key in Secrets Manager",
            format!(
                "{:.2}; {:.2}; {:.2}",
                without("init"),
                with("init"),
                secret("init")
            ),
        ),
        (
            "the first send, in the same three cases",
            format!(
                "{:.2}; {:.2}; {:.2}",
                without("first send"),
                with("first send"),
                secret("first send")
            ),
        ),
        (
            "each further send: without a ledger; with one; with an `Idempotency-Key` and an address as well",
            format!(
                "{:.2}; {:.2}; {:.2}",
                without("send"),
                with("send"),
                with("send with key and address")
            ),
        ),
        (
            "a wrong guess, a right one, with a ledger",
            format!("{:.2}, {:.2}", with("wrong guess"), with("right guess")),
        ),
        (
            "a send after 21 seconds without a request, without and with a ledger",
            format!("{:.2}, {:.2}", without(silence), with(silence)),
        ),
        (
            "first send ÷ further send, without and with a ledger",
            format!(
                "{:.2}, {:.2}",
                without("first send") / without("send"),
                with("first send") / with("send")
            ),
        ),
    ]
    .into_iter()
    .fold(architecture, |page, (name, count)| {
        with_cells(&page, name, &[(1, count)])
    });
    let of_readme = |program: &dyn Fn(&str) -> f64| {
        let first = program("init") + program("first send");
        let further = program("send");
        [(1, format!("{first:.1}")), (4, format!("{further:.2}"))]
    };
    let readme = with_cells(&readme, "otp-lambda with its ledger", &of_readme(&with));
    let readme = with_cells(&readme, "otp-lambda without a ledger", &of_readme(&without));
    [architecture, readme]
}

/// A page with other cells in the one row of a table whose first cell begins with `name`.
fn with_cells(page: &str, name: &str, cells: &[(usize, String)]) -> String {
    let start = format!("| {name}");
    let rows = page.lines().filter(|line| line.starts_with(&start));
    assert_eq!(rows.count(), 1, "rows that begin with {start}");
    page.split_inclusive('\n')
        .map(|line| {
            if !line.starts_with(&start) {
                return line.to_owned();
            }
            let mut row: Vec<_> = line.split(" | ").map(str::to_owned).collect();
            let last = row.len() - 1;
            for (at, text) in cells {
                let end = if *at == last { " |\n" } else { "" };
                row[*at] = format!("{text}{end}");
            }
            row.join(" | ")
        })
        .collect()
}

/// All differences that a change has to explain.
pub(super) fn compare(expected: &[Row], measured: &[Row]) -> Vec<String> {
    let mut problems = Vec::new();
    for row in measured {
        if !expected.iter().any(|other| other.is_about_the_same(row)) {
            problems.push(format!("{row}: is not in benches/expected.json"));
        }
    }
    for row in expected {
        let Some(now) = measured.iter().find(|other| other.is_about_the_same(row)) else {
            problems.push(format!("{row}: was not measured"));
            continue;
        };
        let change = now.instructions / row.instructions - 1.0;
        if change.is_nan() || change.abs() > TOLERANCE {
            problems.push(format!(
                "{row}: {:.3} instead of {:.3} million instructions, {:+.1} %",
                now.instructions / 1e6,
                row.instructions / 1e6,
                change * 100.0
            ));
        }
        for (name, was, is) in [
            ("requests to the table", row.table, now.table),
            ("requests to the provider", row.provider, now.provider),
            ("requests to Secrets Manager", row.secrets, now.secrets),
            ("full handshakes", row.full, now.full),
            ("resumed handshakes", row.resumed, now.resumed),
        ] {
            if (is - was).abs() > f64::EPSILON {
                problems.push(format!("{row}: {is} instead of {was} {name}"));
            }
        }
    }
    problems
}

fn example(instructions: f64) -> Row {
    Row {
        program: "with a ledger".to_owned(),
        request: "send".to_owned(),
        instructions,
        table: 7.0,
        provider: 1.0,
        secrets: 0.0,
        full: 2.0,
        resumed: 1.0,
    }
}

#[test]
fn counts_within_the_tolerance_pass() {
    for factor in [0.955, 1.0, 1.045] {
        let measured = [example(4.4e6 * factor)];
        assert_eq!(compare(&[example(4.4e6)], &measured), [""; 0]);
    }
}

#[test]
fn a_tenth_more_instructions_is_found_and_a_tenth_less_too() {
    for (factor, said) in [
        (1.1, "+10.0 %"),
        (0.9, "-10.0 %"),
        (1.06, "+6.0 %"),
        (f64::NAN, "NaN"),
    ] {
        let problems = compare(&[example(4.4e6)], &[example(4.4e6 * factor)]);
        assert!(
            problems.len() == 1 && problems[0].contains(said),
            "{problems:?}"
        );
    }
}

#[test]
fn one_more_round_trip_or_handshake_is_found() {
    type Change = fn(&mut Row);
    let changes: [Change; 6] = [
        |row| row.table += 1.0,
        |row| row.table -= 1.0,
        |row| row.provider += 1.0,
        |row| row.secrets += 1.0,
        |row| row.full += 1.0,
        |row| row.resumed += 1.0,
    ];
    for change in changes {
        let mut measured = example(4.4e6);
        change(&mut measured);
        assert_eq!(compare(&[example(4.4e6)], &[measured]).len(), 1);
    }
}

#[test]
fn a_row_that_is_missing_on_either_side_is_found() {
    assert_eq!(compare(&[example(1.0)], &[]).len(), 1);
    assert_eq!(compare(&[], &[example(1.0)]).len(), 1);
}

#[test]
fn the_committed_counts_are_of_every_kind_of_request() {
    let rows = read();
    for program in super::OURS {
        for request in super::kinds(program.1) {
            let found = rows
                .iter()
                .any(|row| row.program == program.0 && row.request == *request);
            assert!(found, "{}, {request}", program.0);
        }
    }
}

#[test]
fn the_pages_have_the_committed_counts() {
    let expected = pages(&read());
    for (name, expected) in PAGES.iter().zip(&expected) {
        let text = std::fs::read_to_string(page(name)).unwrap();
        let differences = text.lines().zip(expected.lines());
        let differences: Vec<_> = differences.filter(|(is, should)| is != should).collect();
        assert_eq!(differences, [], "{name}: is, and should be");
    }
}

/// The control.
#[test]
fn a_page_with_another_count_is_found() {
    let mut rows = read();
    let is_send = |row: &&mut Row| row.program == super::OURS[1].0 && row.request == "send";
    rows.iter_mut().find(is_send).unwrap().instructions += 1e4;
    assert_eq!(
        pages(&rows).map(|it| it.len()),
        pages(&read()).map(|it| it.len())
    );
    for (new, old) in pages(&rows).iter().zip(pages(&read())) {
        let changed = new.lines().zip(old.lines()).filter(|(new, old)| new != old);
        assert!(changed.count() >= 1);
    }
}
