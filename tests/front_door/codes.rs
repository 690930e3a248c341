//! The error codes are a contract with callers. So the Rust sources, the pages and the template must name the same
//! error codes, and also the same settings.

use otp_lambda::error::ErrorCode;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use otp_lambda::settings::{Otherwise, SETTINGS};
use serde_json::Value;

fn repository(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Callers branch on these names: a change here is a breaking change.
#[test]
fn the_names_and_statuses_of_the_error_codes_do_not_change() {
    let table: Vec<(&str, u16)> = ErrorCode::ALL
        .iter()
        .map(|code| (code.name(), code.status()))
        .collect();
    assert_eq!(
        table,
        [
            ("malformed_request", 400),
            ("invalid_parameter", 400),
            ("unauthenticated", 403),
            ("caller_not_trusted", 403),
            ("country_not_allowed", 403),
            ("country_unknown", 403),
            ("number_type_not_allowed", 403),
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
fn the_errors_page_lists_every_code_with_its_status_and_no_other() {
    let page = repository("docs/errors.md");
    let rows: Vec<(u16, String)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let status = cells.next()?.parse().ok()?;
            Some((status, cells.next()?.trim_matches('`').to_owned()))
        })
        .collect();
    let table: Vec<(u16, String)> = ErrorCode::ALL
        .iter()
        .map(|code| (code.status(), code.name().to_owned()))
        .collect();
    assert_eq!(rows, table);
}

/// Finds every status with an error code beside it (404 and `route_not_found`) on the pages, in prose and in tables.
#[test]
fn every_page_gives_an_error_code_with_its_status() {
    let root = env!("CARGO_MANIFEST_DIR");
    let docs = std::fs::read_dir(format!("{root}/docs")).unwrap();
    let pages = docs
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .chain([repository("README.md"), repository("CONTRIBUTING.md")]);
    let mut seen = 0;
    for page in pages {
        for (before, after) in page.match_indices(" `").map(|(at, _)| page.split_at(at)) {
            let digits = before.get(before.len().saturating_sub(3)..).unwrap_or("");
            let Ok(status) = digits.parse::<u16>() else {
                continue;
            };
            let name = after[2..].split('`').next().unwrap();
            if name.contains(|c: char| !c.is_ascii_lowercase() && c != '_') {
                continue;
            }
            let code = ErrorCode::ALL.iter().find(|code| code.name() == name);
            assert_eq!(
                code.map(|code| code.status()),
                Some(status),
                "{status} `{name}`"
            );
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn the_settings_page_lists_every_setting_with_its_default_and_no_other() {
    let page = repository("docs/settings.md");
    let (_, settings) = page
        .split_once("| setting | default | meaning |\n|---|---|---|\n")
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
            // Names that begin with AWS_ belong to the SDK.
            (name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.starts_with("AWS_"))
                .then_some(name)
        })
        .collect();
    let mut known: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    set.sort_unstable();
    known.sort_unstable();
    assert_eq!(set, known);
}

/// If `make invoke-packaged` left out a setting, the setting would come from the environment of the shell.
#[test]
fn make_invoke_packaged_sets_every_setting() {
    let script = repository("tests/e2e/invoke.sh");
    let (_, after) = script.split_once("settings=(\n").unwrap();
    let (settings, _) = after.split_once("\n)").unwrap();
    let set: Vec<&str> = settings
        .split_whitespace()
        .filter_map(|assignment| Some(assignment.split_once('=')?.0))
        .collect();
    let missing = SETTINGS.iter().map(|setting| setting.name);
    let missing: Vec<&str> = missing.filter(|name| !set.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Compares with vectors that AWS's Python example produced.
#[test]
fn derived_reference_ids_equal_those_of_awss_example() {
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
