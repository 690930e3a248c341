//! The error codes are a contract with callers. So the Rust sources, the pages and the template must name the same
//! error codes, and also the same settings.

use crate::document::{document, mismatches, resolved};
use otp_lambda::error::ErrorCode;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use otp_lambda::settings::{Otherwise, SETTINGS};
use serde_json::Value;
use simulator::front::{Front, HandlerError};

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
            let name = cells.next()?.strip_prefix("[`")?;
            let (name, anchor) = name.strip_suffix(')')?.split_once("`](#")?;
            assert_eq!(name, anchor);
            Some((status, name.to_owned()))
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
    let (_, after) = template.split_once("\n      Variables:\n").unwrap();
    let mut set: Vec<&str> = after
        .lines()
        .take_while(|line| line.starts_with("        ") || line.trim().is_empty())
        .filter_map(|line| {
            let name = line.strip_prefix("        ")?.split_once(':')?.0;
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

/// The sections of docs/errors.md: each error code with the labels of its items.
fn sections() -> Vec<(String, Vec<String>)> {
    let page = repository("docs/errors.md");
    let (_, page) = page.split_once("\n## Each error code\n").unwrap();
    let page = page.split("\n## ").next().unwrap();
    let sections = page.split("\n### ").skip(1);
    sections
        .map(|section| {
            let (name, items) = section.split_once('\n').unwrap();
            let labels = items.lines().filter_map(|line| {
                let (label, text) = line.strip_prefix("- **")?.split_once(":** ")?;
                (text.len() > 5).then(|| label.to_owned())
            });
            (name.to_owned(), labels.collect())
        })
        .collect()
}

/// The anchor of each section is the error code, because a heading of lower-case letters is its own anchor.
#[test]
fn the_errors_page_has_a_section_for_each_code() {
    let labels = ["Meaning", "Cause", "Remedy", "Words to show"];
    let expected: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| (code.name().to_owned(), labels.map(str::to_owned).to_vec()))
        .collect();
    assert_eq!(sections(), expected);
}

#[test]
fn the_errors_page_has_the_words_of_the_page_to_copy() {
    let page = repository("docs/errors.md");
    let words: Value = serde_json::from_str(&repository("examples/web/messages/en.json")).unwrap();
    let unknown = words["deliveryUnknown"].as_str().unwrap();
    assert!(page.contains(&format!("show these words as well: “{unknown}”")));
    let sign_in = words["signIn"].as_str().unwrap();
    assert!(page.contains(&format!("let the person sign in again: “{sign_in}”")));
    for code in ErrorCode::ALL {
        let (_, section) = page
            .split_once(&format!("\n### {}\n", code.name()))
            .unwrap();
        let section = section.split("\n### ").next().unwrap();
        let own = words["errors"][code.name()].as_str().unwrap();
        let line = format!("- **Words to show:** “{own}”\n");
        assert!(
            format!("{section}\n").contains(&line),
            "{}: {line}",
            code.name()
        );
    }
}

/// API Gateway's own answers in the document and on the page, and those that the desk imitates.
#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_the_page_have_the_same_answers_of_api_gateway() {
    let page = repository("docs/errors.md");
    let (_, page) = page
        .split_once("API Gateway answers some requests itself.")
        .unwrap();
    let mut of_page: Vec<(String, String)> = page
        .lines()
        .filter_map(|line| {
            let (_, answer) = line.strip_suffix("` |")?.rsplit_once(" | ")?;
            let (status, body) = answer.split_once(" `")?;
            Some((status.to_owned(), body.to_owned()))
        })
        .collect();
    of_page.sort();
    let responses = document()["components"]["responses"].as_object().unwrap();
    let mut of_document = Vec::new();
    let others = &document()["x-other-responses"];
    let operations = document()["paths"].as_object().unwrap().values();
    let operations = operations.map(|methods| &methods["post"]["responses"]);
    for (status, response) in operations
        .chain([others])
        .flat_map(|it| it.as_object().unwrap())
    {
        let response = resolved(document(), response);
        let answer = &response["content"]["application/json"];
        if answer["schema"]["$ref"] == "#/components/schemas/GatewayAnswer" {
            assert_eq!(
                mismatches(document(), &answer["schema"], &answer["example"], "answer"),
                [""; 0]
            );
            of_document.push((status.clone(), answer["example"].to_string()));
        }
    }
    of_document.sort();
    of_document.dedup();
    assert_eq!(of_page, of_document);
    assert!(responses.len() > 20);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let fails = |_, _| async { Err(HandlerError::from("the function failed")) };
    let front = Front::start_with_routes(listener, ["POST /otp/send"], fails).unwrap();
    let url = front.url();
    let asked = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        ["/otp/send", "/otp/other"].map(|path| {
            let mut response = agent.post(format!("{url}{path}")).send("{}").unwrap();
            let body = response.body_mut().read_to_string().unwrap();
            (response.status().as_str().to_owned(), body)
        })
    });
    for answer in asked.await.unwrap() {
        assert!(of_document.contains(&answer), "{answer:?}");
    }
}

/// The routes of the template, and whether each of them must always be signed.
#[test]
fn the_template_has_the_routes_of_the_document() {
    let template = repository("template.yaml");
    let mut routes: Vec<(String, bool)> = template
        .split("    Type: AWS::ApiGatewayV2::Route\n")
        .skip(1)
        .map(|route| {
            let value = |name: &str| {
                let (_, value) = route.split_once(&format!("      {name}: ")).unwrap();
                value.lines().next().unwrap()
            };
            let is_signed = match value("AuthorizationType") {
                "AWS_IAM" => true,
                "!If [IsSigned, AWS_IAM, !If [HasTokens, JWT, NONE]]" => false,
                other => panic!("{other}"),
            };
            (value("RouteKey").to_owned(), is_signed)
        })
        .collect();
    routes.sort();
    let mut documented = Vec::new();
    for (path, methods) in document()["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let security = operation["security"].as_array().unwrap();
            let route = format!("{} {path}", method.to_uppercase());
            documented.push((route, !security.contains(&serde_json::json!({}))));
        }
    }
    documented.sort();
    assert_eq!(routes, documented);
}
