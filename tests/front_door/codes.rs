//! The codes that callers branch on, and what must agree with them.

use otp_lambda::error::ErrorCode;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use otp_lambda::settings::{Otherwise, SETTINGS};
use serde_json::Value;

fn repository(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A change here is a change of the contract: callers branch on these names.
#[test]
fn names_and_statuses_are_what_they_were() {
    let table: Vec<(&str, u16)> = ErrorCode::TABLE.iter().map(|row| (row.1, row.2)).collect();
    assert_eq!(
        table,
        [
            ("malformed_request", 400),
            ("invalid_parameter", 400),
            ("unauthenticated", 403),
            ("country_not_allowed", 403),
            ("destination_blocked", 403),
            ("destination_locked", 403),
            ("route_not_found", 404),
            ("verification_not_found", 404),
            ("method_not_allowed", 405),
            ("already_verified", 409),
            ("verification_in_progress", 409),
            ("idempotency_key_in_use", 409),
            ("code_expired", 410),
            ("attempts_exhausted", 410),
            ("verification_canceled", 410),
            ("body_too_large", 413),
            ("unsupported_media_type", 415),
            ("invalid_code", 422),
            ("invalid_phone_number", 422),
            ("opted_out", 422),
            ("undeliverable", 422),
            ("idempotency_key_reused", 422),
            ("rate_limited", 429),
            ("resend_too_soon", 429),
            ("resend_limit", 429),
            ("internal_error", 500),
            ("misconfigured", 500),
            ("provider_rejected", 502),
            ("provider_unavailable", 503),
            ("provider_throttled", 503),
            ("ledger_unavailable", 503),
            ("sending_paused", 503),
            ("provider_timeout", 504),
        ]
    );
}

#[test]
fn the_readme_prints_every_code_with_its_status_and_no_other() {
    let readme = repository("README.md");
    let rows: Vec<(u16, String)> = readme
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let status = cells.next()?.parse().ok()?;
            Some((status, cells.next()?.trim_matches('`').to_owned()))
        })
        .collect();
    let table: Vec<(u16, String)> = ErrorCode::TABLE
        .iter()
        .map(|row| (row.2, row.1.to_owned()))
        .collect();
    assert_eq!(rows, table);
}

#[test]
fn the_readme_prints_every_setting_with_its_default_and_no_other() {
    let readme = repository("README.md");
    let (_, settings) = readme
        .split_once("| setting | default | what it is |\n|---|---|---|\n")
        .unwrap();
    let rows: Vec<(String, String)> = settings
        .lines()
        .map_while(|line| {
            let mut cells = line
                .strip_prefix("| ")?
                .split(" | ")
                .map(|cell| cell.trim_matches('`').to_owned());
            cells.next().zip(cells.next())
        })
        .collect();
    let table: Vec<(String, String)> = SETTINGS
        .iter()
        .map(|setting| {
            let default = match setting.otherwise {
                Otherwise::Required => "required",
                Otherwise::Nothing => "–",
                Otherwise::Default(value) => value,
            };
            (setting.name.to_owned(), default.to_owned())
        })
        .collect();
    assert_eq!(rows, table);
}

#[test]
fn the_template_sets_every_setting_and_no_other() {
    let template = repository("template.yaml");
    let (_, after) = template.split_once("        Variables:\n").unwrap();
    let mut set: Vec<&str> = after
        .lines()
        .take_while(|line| line.starts_with("          ") || line.trim().is_empty())
        .filter_map(|line| {
            let name = line.strip_prefix("          ")?.split_once(':')?.0;
            // The AWS_ ones are the SDK's own.
            (name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.starts_with("AWS_"))
                .then_some(name)
        })
        .collect();
    let mut known: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    set.sort_unstable();
    known.sort_unstable();
    assert_eq!(set, known);
}

/// The published vectors of the reference ID of AWS's example.
#[test]
fn derived_reference_ids_are_those_of_awss_example() {
    let vectors: Value =
        serde_json::from_str(&repository("tests/vectors/reference-ids.json")).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let number = PhoneNumber::parse(text("destinationNumber")).unwrap();
        let id = ReferenceId::derived(text("brandName"), text("source"), &number);
        assert_eq!(id.expose(), text("referenceId"), "{case}");
    }
}

/// The anchor that a heading has on a page.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_from_page_to_page_lead_to_a_heading_or_a_file() {
    let pages = [
        "README.md",
        "ARCHITECTURE.md",
        "MIGRATION.md",
        "CHANGELOG.md",
    ];
    let headings = |page: &str| -> Vec<String> {
        repository(page)
            .lines()
            .filter_map(|line| Some(anchor(line.trim_start_matches('#').strip_prefix(' ')?)))
            .collect()
    };
    let mut seen = 0;
    for page in pages {
        for rest in repository(page).split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (file, wanted) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { page } else { file };
            let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
            assert!(std::path::Path::new(&path).exists(), "{page}: {link}");
            assert!(
                wanted.is_empty() || headings(file).iter().any(|heading| heading == wanted),
                "{page}: {link}"
            );
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}
