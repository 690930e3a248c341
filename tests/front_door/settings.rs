//! Settings: read once, every problem at once, nothing half configured.

use crate::world::environment;
use otp_lambda::config::{Otherwise, SETTINGS, Settings};
use std::collections::BTreeMap;

fn problems(changes: &[(&str, &str)]) -> Vec<String> {
    let mut environment = environment("http://127.0.0.1:1");
    environment.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    read(&environment)
}

fn read(environment: &BTreeMap<String, String>) -> Vec<String> {
    Settings::read(&|name| environment.get(name).cloned()).err().map(|problems| problems.0).unwrap_or_default()
}

#[test]
fn what_is_required_is_asked_for_all_at_once() {
    let missing = read(&BTreeMap::new());
    let required =
        SETTINGS.iter().filter(|setting| setting.otherwise == Otherwise::Required).map(|setting| setting.name);
    for name in required {
        assert!(missing.contains(&format!("{name} is required.")), "{name} in {missing:?}");
    }
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        assert!(missing.iter().any(|problem| problem.starts_with(name)), "{name} in {missing:?}");
    }
    assert_eq!(missing.len(), 7, "{missing:?}");
    // An empty variable, as a template without a value leaves it, is no value.
    assert!(problems(&[("BRAND_NAME", " ")]).contains(&"BRAND_NAME is required.".to_owned()));
}

#[test]
fn every_bad_value_is_reported_by_name_and_all_at_once() {
    let bad = [
        ("ORIGINATION_IDENTITY", "<script>", "must be a phone number, a sender ID, a pool ID or an ARN."),
        ("ORIGINATION_IDENTITIES", "IN", "must be `COUNTRY=IDENTITY`, separated by commas, such as `IN=BRANDX`."),
        ("BRAND_NAME", "A brand of many characters", "must have 1 to 20 characters."),
        (
            "ALLOWED_COUNTRIES",
            "US,UK",
            "must be country codes such as `US,CA`, or `*`: `UK` is no ISO 3166-1 country code.",
        ),
        ("SOURCE", &"x".repeat(129), "must have at most 128 characters."),
        ("LANGUAGE", "en", "must be one of de-DE,"),
        ("CODE_LENGTH", "4", "must be an integer from 5 to 8."),
        ("VALIDITY_PERIOD", "10 minutes", "must be an integer from 5 to 60."),
        ("ALLOWED_ATTEMPTS", "6", "must be an integer from 1 to 5."),
        ("DLT_ENTITY_ID", "1101", "DLT_TEMPLATE_ID must be set, as DLT_ENTITY_ID is."),
        ("REFERENCE_ID", "md5", "must be `derived` or `random`."),
        ("API_AUTH", "none", "cannot be `none` in this version"),
        ("LOG_LEVEL", "loud", "must be error, warn, info, debug or trace."),
        ("LEDGER_TABLE", "otp", "needs the ledger, which this version does not have: unset it."),
        ("LEDGER_KEY", "x", "needs the ledger"),
        ("SEND_LIMITS", "1/30s", "needs the ledger"),
        ("COGNITO_FLOOR_MS", "800", "needs the ledger"),
        ("AWS_ENDPOINT_URL_PINPOINT", "localhost", "must be an http:// or https:// URL."),
        ("AWS_CA_BUNDLE", "/nowhere", "names a file that cannot be read"),
        ("AWS_USE_FIPS_ENDPOINT", "1", "must be true or false."),
    ];
    let changes: Vec<(&str, &str)> = bad.iter().map(|(name, value, _)| (*name, *value)).collect();
    let found = problems(&changes);
    for (name, value, says) in bad {
        let reported = found.iter().any(|problem| problem.contains(name) && problem.contains(says));
        assert!(reported, "{name}={value}: {says} in {found:#?}");
        // And each alone stops the start.
        assert_eq!(problems(&[(name, value)]).len(), 1, "{name}");
    }
    assert_eq!(found.len(), bad.len(), "{found:#?}");
}

#[test]
fn an_unknown_provider_is_named_and_nothing_of_another_is_asked_for() {
    let found = problems(&[("OTP_PROVIDER", "end-user-messaging"), ("PINPOINT_APPLICATION_ID", "")]);
    assert_eq!(found, ["OTP_PROVIDER must be `pinpoint`, the only provider of this version."]);
}

#[test]
fn an_application_id_cannot_reach_beyond_itself() {
    for id in ["a/../b", "*", "a b", "a?x"] {
        assert_eq!(problems(&[("PINPOINT_APPLICATION_ID", id)]).len(), 1, "{id}");
    }
}

#[test]
fn a_phone_number_among_bad_values_is_not_repeated() {
    let found =
        problems(&[("ORIGINATION_IDENTITY", "+14255550142 x"), ("BRAND_NAME", "+14255550142+14255550142")]).join(" ");
    assert!(!found.contains("425"), "{found}");
}

#[test]
fn a_bundle_of_roots_must_hold_a_certificate() {
    let directory = std::env::temp_dir().join(format!("otp-lambda-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("bundle.pem");
    for (content, fine) in [("", false), ("not PEM", false), (otp_lambda::aws::AMAZON_ROOTS, true)] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(problems(&[("AWS_CA_BUNDLE", path.to_str().unwrap())]).is_empty(), fine);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn no_required_setting_can_be_left_out_of_a_working_set() {
    assert_eq!(problems(&[]), Vec::<String>::new());
    for setting in SETTINGS.iter().filter(|setting| setting.otherwise == Otherwise::Required) {
        let mut environment = environment("http://127.0.0.1:1");
        environment.remove(setting.name);
        assert_eq!(read(&environment), [format!("{} is required.", setting.name)]);
    }
}
