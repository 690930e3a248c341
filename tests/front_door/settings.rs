//! Settings: all problems are reported at once, and no setting is ignored.

use crate::packaged::Packaged;
use crate::world::environment;
use aws_credential_types::Credentials;
use aws_smithy_http_client::test_util::capture_request;
use aws_smithy_runtime_api::shared::IntoShared;
use aws_types::os_shim_internal::Env;
use otp_lambda::aws::{self, dynamodb::DynamoDb, secrets::ledger_secret};
use otp_lambda::http::{Gate, TrustedPrincipals};
use otp_lambda::ledger::Ledger;
use otp_lambda::policy::{Budget, Prices, Rate, SendLimits};
use otp_lambda::provider::Channel;
use otp_lambda::service::ReferenceIds;
use otp_lambda::settings::{
    LedgerSecret, LedgerSettings, OneProvider, Otherwise, SETTINGS, Settings,
};
use std::collections::BTreeMap;

/// The settings that a ledger needs. The key has 32 bytes, and no problem may show it.
const LEDGER: &[(&str, &str)] = &[("LEDGER_TABLE", "otp"), ("LEDGER_KEY", KEY)];
const KEY: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISEhISE=";

fn with(changes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut environment = environment("http://127.0.0.1:1");
    environment.extend(
        changes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    environment
}

fn problems(changes: &[(&str, &str)]) -> Vec<String> {
    read(&with(changes))
}

/// The problems of a function with a ledger.
fn ledger_problems(changes: &[(&str, &str)]) -> Vec<String> {
    problems(&[LEDGER, changes].concat())
}

fn settings(changes: &[(&str, &str)]) -> Settings {
    let environment = with(changes);
    Settings::read(&|name| environment.get(name).cloned()).unwrap()
}

fn ledger(changes: &[(&str, &str)]) -> LedgerSettings {
    settings(&[LEDGER, changes].concat()).ledger.unwrap()
}

fn read(environment: &BTreeMap<String, String>) -> Vec<String> {
    Settings::read(&|name| environment.get(name).cloned())
        .err()
        .map(|problems| problems.0)
        .unwrap_or_default()
}

#[test]
fn all_missing_settings_are_reported_at_once() {
    let missing = read(&BTreeMap::new());
    let required = SETTINGS
        .iter()
        .filter(|setting| setting.otherwise == Otherwise::Required)
        .map(|setting| setting.name);
    for name in required {
        assert!(
            missing.contains(&format!("{name} is required.")),
            "{name} in {missing:?}"
        );
    }
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        assert!(
            missing.iter().any(|problem| problem.starts_with(name)),
            "{name} in {missing:?}"
        );
    }
    assert_eq!(missing.len(), 7, "{missing:?}");
    // An empty variable counts as missing. If a parameter has no value, a template sets its variable to an empty text.
    assert!(problems(&[("BRAND_NAME", " ")]).contains(&"BRAND_NAME is required.".to_owned()));
}

#[test]
fn every_bad_value_is_reported_by_name_and_all_at_once() {
    let bad = [
        (
            "ORIGINATION_IDENTITY",
            "<script>",
            "must be a phone number, a sender ID, a pool ID, the ID of a Notify configuration, or an ARN.",
        ),
        (
            "ORIGINATION_IDENTITIES",
            "IN",
            "must be `COUNTRY=IDENTITY`, `CHANNEL=IDENTITY` or `COUNTRY/CHANNEL=IDENTITY`, separated by commas",
        ),
        (
            "BRAND_NAME",
            "A brand of many characters",
            "must have 1 to 20 characters, at least one of them visible.",
        ),
        (
            "ALLOWED_COUNTRIES",
            "US,UK",
            "must be country codes such as `US,CA`, or `*`: `UK` is not an ISO 3166-1 country code.",
        ),
        (
            "ALLOWED_NUMBER_TYPES",
            "mobile,landline",
            "must be types such as `mobile,fixed`: `landline` is not a type of number.",
        ),
        (
            "EXTRA_PREFIXES",
            "+1425=CA",
            "must be beginnings such as `+1357=US`: `+1425` has numbers of US already.",
        ),
        (
            "SOURCE",
            &"x".repeat(129),
            "must have at most 128 characters.",
        ),
        ("LANGUAGE", "en", "must be `country`, or one of de-DE,"),
        ("CODE_LENGTH", "4", "must be an integer from 5 to 8."),
        (
            "VALIDITY_PERIOD",
            "10 minutes",
            "must be an integer from 5 to 60.",
        ),
        ("ALLOWED_ATTEMPTS", "6", "must be an integer from 1 to 5."),
        (
            "DLT_ENTITY_ID",
            "1101",
            "DLT_TEMPLATE_ID must be set, as DLT_ENTITY_ID is.",
        ),
        ("REFERENCE_ID", "md5", "must be `derived` or `random`."),
        (
            "API_AUTH",
            "none",
            "cannot be `none` without the ledger, which keeps the limits: set LEDGER_TABLE",
        ),
        (
            "LOG_LEVEL",
            "loud",
            "must be error, warn, info, debug or trace.",
        ),
        (
            "LEDGER_KEY",
            KEY,
            "needs the ledger: set LEDGER_TABLE, or unset it.",
        ),
        ("SEND_LIMITS", "1/30s", "needs the ledger"),
        ("PREFIX_LIMITS", "none", "needs the ledger"),
        ("SOURCE_LIMITS", "10/10m", "needs the ledger"),
        ("SOURCE_NETWORK_LIMITS", "10/10m", "needs the ledger"),
        ("COUNTRY_LIMITS", "JM=20/1h", "needs the ledger"),
        ("BUDGETS", "500/1h", "needs the ledger"),
        (
            "CONFIG_FILE",
            "/nowhere/otp-lambda.json",
            "names a file that cannot be read",
        ),
        ("TEST_NUMBERS", "x", "needs the ledger"),
        ("FOREIGN_CODES", "on", "needs the ledger"),
        ("SIGN_IN_SHARE", "50", "needs the ledger"),
        ("DEVICE_TOKEN_DAYS", "90", "needs the ledger"),
        ("COGNITO_FLOOR_MS", "800", "needs the ledger"),
        ("COGNITO_SHOWN_NUMBER", "2", "needs the ledger"),
        ("COGNITO_STEP_UP", "off", "needs the ledger"),
        ("COGNITO_UNVERIFIED_PHONE", "refuse", "needs the ledger"),
        ("COGNITO_PRE_SIGN_UP", "on", "needs the ledger"),
        ("COGNITO_LANGUAGE_ATTRIBUTE", "locale", "needs the ledger"),
        ("OPERATOR_ALIASES", "on", "needs the ledger"),
        (
            "AWS_ENDPOINT_URL_PINPOINT",
            "localhost",
            "must be an http:// or https:// URL.",
        ),
        (
            "AWS_CA_BUNDLE",
            "/nowhere",
            "names a file that cannot be read",
        ),
        ("AWS_USE_FIPS_ENDPOINT", "1", "must be true or false."),
    ];
    are_reported(&bad, problems);
}

#[test]
fn every_bad_value_of_the_ledger_is_reported_by_name_and_all_at_once() {
    let bad = [
        (
            "LEDGER_TABLE",
            "ot",
            "must be the name of a DynamoDB table: 3 to 255 letters",
        ),
        (
            "LEDGER_KEY",
            "c2VjcmV0",
            "must be the ARN of a secret in Secrets Manager, or 32 bytes in base64.",
        ),
        (
            "SEND_LIMITS",
            "none",
            "must be counts and windows such as `10/10m,50/24h`: there must be at least one.",
        ),
        (
            "PREFIX_LIMITS",
            "50/hour",
            "`50/hour` is not a count and window such as `6/24h`.",
        ),
        (
            "SOURCE_LIMITS",
            "10/10m,",
            "`` is not a count and window such as `6/24h`.",
        ),
        (
            "COUNTRY_LIMITS",
            "JM=20/2h",
            "has no budgets for JM: `20/2h` is not a budget such as `500/1h`",
        ),
        (
            "BUDGETS",
            "500",
            "must be budgets such as `500/1h,2000/24h` or `100USD/24h`: `500` is not a budget",
        ),
        (
            "CONFIG_FILE",
            "/nowhere",
            "names a file that cannot be read (entity not found).",
        ),
        (
            "TEST_NUMBERS",
            "+14255550100",
            "must be `NUMBER=CODE@DATE`, separated by commas, such as",
        ),
        (
            "SIGN_IN_SHARE",
            "5",
            "must be 0, for no sign-ins, or a percentage from 10 to 90.",
        ),
        (
            "DEVICE_TOKEN_DAYS",
            "366",
            "must be 0, for no tokens, or days from 1 to 365.",
        ),
        (
            "GUESS_RISK",
            "1/100000/1d",
            "must be a chance below 1 and a period, such as `1e-5/1d`.",
        ),
        (
            "COGNITO_SHOWN_NUMBER",
            "5",
            "must be the count of last digits, 0 to 4, such as `2`; with a `+` before it,",
        ),
        (
            "COGNITO_FLOOR_MS",
            "3001",
            "must be milliseconds from 0 to 3000.",
        ),
        ("COGNITO_STEP_UP", "on", "must be `off` or `required`."),
        (
            "COGNITO_UNVERIFIED_PHONE",
            "yes",
            "must be `refuse` or `allow`.",
        ),
        ("COGNITO_PRE_SIGN_UP", "true", "must be `off` or `on`."),
        (
            "COGNITO_LANGUAGE_ATTRIBUTE",
            "two words",
            "must be the name of a user attribute, such as `locale` or",
        ),
        (
            "AWS_ENDPOINT_URL_DYNAMODB",
            "localhost",
            "must be an http:// or https:// URL.",
        ),
        (
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            "localhost",
            "must be an http:// or https:// URL.",
        ),
    ];
    are_reported(&bad, ledger_problems);
}

/// Asserts that each bad value is reported when all are bad, and that each is also a problem alone.
#[track_caller]
fn are_reported(bad: &[(&str, &str, &str)], problems: impl Fn(&[(&str, &str)]) -> Vec<String>) {
    let changes: Vec<(&str, &str)> = bad.iter().map(|(name, value, _)| (*name, *value)).collect();
    let found = problems(&changes);
    for (name, value, says) in bad {
        let reported = found
            .iter()
            .any(|problem| problem.contains(name) && problem.contains(says));
        assert!(reported, "{name}={value}: {says} in {found:#?}");
        assert_eq!(problems(&[(name, value)]).len(), 1, "{name}");
    }
    assert_eq!(found.len(), bad.len(), "{found:#?}");
}

#[test]
fn metrics_need_the_log_lines_that_they_are_in() {
    let found = problems(&[("METRICS", "on")]);
    assert_eq!(found, ["METRICS must be `off`, `basic` or `full`."]);
    for metrics in ["off", "basic", "full"] {
        for level in ["error", "warn", "info", "debug", "trace"] {
            let found = problems(&[("METRICS", metrics), ("LOG_LEVEL", level)]);
            let is_refused = metrics != "off" && ["error", "warn"].contains(&level);
            assert_eq!(found.len(), usize::from(is_refused), "{found:?}");
            let says = |problem: &String| {
                problem.starts_with("METRICS needs the lines of LOG_LEVEL `info`")
            };
            assert!(found.iter().all(says), "{found:?}");
        }
    }
}

#[test]
fn an_extra_prefix_without_effect_stops_the_start_and_a_known_one_does_not() {
    for (entry, says) in [
        (
            "+4407=GB",
            "`+4407` opens no numbers: the phone number has a prefix",
        ),
        ("+1357=US,+999=US", "`+999` has no assigned calling code."),
        ("+1425xx=US", "`+1425xx` has not 7 to 15 digits."),
    ] {
        let found = problems(&[("EXTRA_PREFIXES", entry)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains(says), "{found:?}");
    }
    assert_eq!(problems(&[("EXTRA_PREFIXES", "+1425=US,+446=GB")]), [""; 0]);
}

#[test]
fn without_a_table_there_is_no_ledger() {
    assert!(settings(&[]).ledger.is_none());
    assert!(
        settings(&[("LEDGER_TABLE", ""), ("SEND_LIMITS", " ")])
            .ledger
            .is_none()
    );
    let found = problems(&[("LEDGER_TABLE", "otp")]);
    assert_eq!(found, ["LEDGER_KEY must be set, as LEDGER_TABLE is."]);
}

#[test]
fn a_ledger_has_limits_unless_they_are_switched_off() {
    let rates = |list| Rate::parse_list(list).unwrap();
    let LedgerSettings { table, policy, .. } = ledger(&[]);
    assert_eq!(table, "otp");
    assert_eq!(
        policy.send_limits,
        SendLimits::parse("1/30s,2/90s,3/10m,6/24h").unwrap()
    );
    assert_eq!(policy.prefix_limits, rates("50/1h"));
    assert_eq!(policy.source_limits, rates("10/10m,50/24h"));
    assert_eq!(policy.network_limits, rates("200/10m,2000/24h"));
    assert_eq!(
        policy.budgets.all,
        Budget::parse_list("500/1h,2000/24h").unwrap()
    );
    assert!(policy.budgets.by_country.is_empty());
    // Half of the budget of an hour.
    assert_eq!(
        policy.budgets.other_countries,
        Budget::parse_list("250/1h").unwrap()
    );
    assert!(policy.test_numbers.is_empty());

    let off = [
        ("PREFIX_LIMITS", "none"),
        ("SOURCE_LIMITS", "none"),
        ("SOURCE_NETWORK_LIMITS", "none"),
        ("BUDGETS", "none"),
    ];
    let policy = ledger(&off).policy;
    assert!(
        policy.prefix_limits.is_empty()
            && policy.source_limits.is_empty()
            && policy.network_limits.is_empty()
            && policy.budgets.all.is_empty()
    );
}

#[test]
fn send_windows_have_at_most_thirty_days_and_twenty_sends() {
    assert_eq!(
        ledger_problems(&[("SEND_LIMITS", "20/30d")]),
        Vec::<String>::new()
    );
    for bad in ["20/31d", "21/24h", "6", "6/24h;1/30s"] {
        let found = ledger_problems(&[("SEND_LIMITS", bad)]);
        assert!(
            found.len() == 1 && found[0].starts_with("SEND_LIMITS must be"),
            "{found:?}"
        );
    }
}

#[test]
fn the_ledger_key_is_the_arn_of_a_secret_or_32_bytes_and_is_never_shown() {
    let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:otp-AbCdEf";
    assert!(matches!(ledger(&[("LEDGER_KEY", arn)]).secret, LedgerSecret::Arn(key) if key == arn));
    assert!(matches!(ledger(&[]).secret, LedgerSecret::Bytes(key) if key.len() == 32));
    for bad in [
        "secret",
        "arn:aws:ssm:us-east-1:123456789012:parameter/secret",
        "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISEhIQ==",
        "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISEhISEhIQ==",
        "c2VjcmV0 HNlY3JldCBzZWNyZXQgc2VjcmV0ISEhISE=",
    ] {
        let found = ledger_problems(&[("LEDGER_KEY", bad)]);
        assert_eq!(
            found,
            ["LEDGER_KEY must be the ARN of a secret in Secrets Manager, or 32 bytes in base64."]
        );
    }
    assert_eq!(
        ledger_problems(&[("LEDGER_KEY", "")]),
        ["LEDGER_KEY must be set, as LEDGER_TABLE is."]
    );
}

#[test]
fn a_table_name_must_be_valid_in_dynamodb() {
    for good in ["otp", "Otp.ledger_1-A", &"x".repeat(255)] {
        assert_eq!(
            ledger_problems(&[("LEDGER_TABLE", good)]),
            Vec::<String>::new(),
            "{good}"
        );
    }
    for bad in ["ot", "otp/x", "otp x", "*", "ötp", &"x".repeat(256)] {
        assert_eq!(ledger_problems(&[("LEDGER_TABLE", bad)]).len(), 1, "{bad}");
    }
}

/// The URLs at which DynamoDB and Secrets Manager are called with these variables.
async fn hosts_called(variables: &[(&str, &str)]) -> [String; 2] {
    let (http_client, requests) = capture_request(None);
    let config = aws::config_loader(http_client.into_shared())
        .env(Env::from_slice(variables))
        .region("us-east-1")
        .credentials_provider(Credentials::for_tests())
        .load()
        .await;
    let _ = DynamoDb::new(&config, "otp".to_owned()).switches().await;
    let dynamodb = requests.expect_request().uri().to_owned();
    let (http_client, requests) = capture_request(None);
    let config = config.to_builder().http_client(http_client).build();
    let _ = ledger_secret(&config, "arn").await;
    [dynamodb, requests.expect_request().uri().to_owned()]
}

#[tokio::test]
async fn the_sdks_endpoint_variables_apply_to_the_ledger_and_its_secret() {
    let [one, two, all] = [
        "http://127.0.0.1:2/",
        "http://127.0.0.1:3/",
        "http://127.0.0.1:4/",
    ];
    assert_eq!(
        hosts_called(&[]).await,
        [
            "https://dynamodb.us-east-1.amazonaws.com/",
            "https://secretsmanager.us-east-1.amazonaws.com/"
        ]
    );
    let own = [
        ("AWS_ENDPOINT_URL_DYNAMODB", one),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", two),
    ];
    assert_eq!(hosts_called(&own).await, [one, two]);
    let one_and_all = [
        ("AWS_ENDPOINT_URL_DYNAMODB", one),
        ("AWS_ENDPOINT_URL", all),
    ];
    assert_eq!(hosts_called(&one_and_all).await, [one, all]);
}

#[test]
fn an_empty_endpoint_of_one_service_is_reported_because_the_sdk_would_use_it() {
    assert_eq!(
        problems(&[("AWS_ENDPOINT_URL_PINPOINT", " ")]),
        ["AWS_ENDPOINT_URL_PINPOINT is empty: set it to a URL, or remove it."]
    );
    assert_eq!(problems(&[("AWS_ENDPOINT_URL", "")]), Vec::<String>::new());
}

#[test]
fn an_endpoint_that_all_services_share_is_reported_once() {
    let changes = [("AWS_ENDPOINT_URL", "localhost")];
    assert_eq!(ledger_problems(&changes).len(), 1);
}

#[test]
fn countries_can_have_their_own_budgets() {
    let prices = Packaged::new(r#"{"prices": {"JM": 0.1}}"#);
    let changes = [
        ("COUNTRY_LIMITS", "JM=20/1h, 5USD/24h ; * = 500/24h;US=none"),
        prices.setting(),
    ];
    let budgets = ledger(&changes).policy.budgets;
    let list = |text| Budget::parse_list(text).unwrap();
    let expected = [("JM", list("20/1h,5USD/24h")), ("US", Vec::new())]
        .map(|(name, own)| (name.parse().unwrap(), own));
    assert_eq!(budgets.by_country, BTreeMap::from(expected));
    assert_eq!(budgets.other_countries, list("500/24h"));

    for (bad, says) in [
        ("none", "must be `COUNTRY=BUDGETS`, separated by `;`"),
        ("UK=20/1h", "see `UK=20/1h`"),
        ("JM", "see `JM`"),
        ("JM=20/1h;", "see ``"),
        (
            "JM=20/1h,GB=20/1h",
            "has no budgets for JM: `GB=20/1h` is not a budget",
        ),
        ("JM=20/1h;JM=30/24h", "names JM twice."),
        ("*=20/1h;*=30/24h", "names * twice."),
        ("*=", "has no budgets for *"),
    ] {
        let found = ledger_problems(&[("COUNTRY_LIMITS", bad)]);
        assert!(
            found.len() == 1 && found[0].starts_with("COUNTRY_LIMITS") && found[0].contains(says),
            "{found:?}"
        );
    }
}

#[test]
fn each_country_without_a_budget_gets_half_of_the_hour() {
    let prices = Packaged::new(r#"{"prices": {"*": 0.1}}"#);
    let listed = |countries, budgets, by_country| {
        let changes = [
            ("ALLOWED_COUNTRIES", countries),
            ("BUDGETS", budgets),
            ("COUNTRY_LIMITS", by_country),
            prices.setting(),
        ];
        let read = ledger(&changes).policy.budgets;
        assert_eq!(read.all_listed(), budgets);
        read.countries_listed()
    };
    for (countries, budgets, by_country, caps) in [
        ("US,CA", "500/1h,2000/24h", "", "*=250/1h"),
        ("*", "501/1h", "", "*=250/1h"),
        ("US,CA", "20.5USD/1h,90/1h", "", "*=10.25USD/1h,45/1h"),
        // At least 20 messages, and never as many as all countries together.
        ("US,CA", "30/1h", "", "*=20/1h"),
        ("US,CA", "21/1h", "", "*=20/1h"),
        ("US,CA", "20/1h", "", "*=none"),
        // The operator's own budgets come first.
        ("US,CA", "500/1h", "*=400/1h", "*=400/1h"),
        ("US,CA", "500/1h", "*=none", "*=none"),
        ("US,CA", "500/1h", "US=9/24h", "US=9/24h;*=250/1h"),
        ("US,CA", "500/1h", "US=none", "US=none;*=250/1h"),
        // There is no hour to halve, or no other country.
        ("US,CA", "2000/24h", "", "*=none"),
        ("US,CA", "none", "", "*=none"),
        ("US", "500/1h", "", "*=none"),
        ("US", "500/1h", "US=9/1h", "US=9/1h"),
    ] {
        assert_eq!(
            listed(countries, budgets, by_country),
            caps,
            "{countries} {budgets} {by_country}"
        );
    }
}

#[test]
fn prices_are_exact_and_ambiguous_ones_are_refused() {
    let prices = Packaged::new(r#"{"prices": {"US": 0.00581, "JM": 0.100000, "*": 1}}"#);
    let expected =
        [("US", 5_810), ("JM", 100_000)].map(|(name, price)| (name.parse().unwrap(), price));
    assert_eq!(
        ledger(&[prices.setting()]).policy.budgets.prices,
        Prices {
            by_country: BTreeMap::from(expected),
            otherwise: Some(1_000_000),
            ..Prices::default()
        }
    );
    for (content, says) in [
        ("", "EOF"),
        (r#"{"prices": {}, "price": {}}"#, "unknown field `price`"),
        (
            r#"{"prices": {}, "prices": {}}"#,
            "duplicate field `prices`",
        ),
        (r#"{"prices": []}"#, "expected an object"),
        (
            r#"{"prices": {"US": 0.1, "US": 0.2}}"#,
            "`US` has two prices",
        ),
        (r#"{"prices": {"*": 0.1, "*": 0.1}}"#, "`*` has two prices"),
        (
            r#"{"prices": {"UK": 0.1}}"#,
            "`UK` is not an ISO 3166-1 country code",
        ),
        (r#"{"prices": {"US/fax": 0.1}}"#, "`fax` is not a channel"),
        (
            r#"{"prices": {"US": 0.1, "US/sms": 0.1}}"#,
            "`US/sms` has two prices",
        ),
        (
            r#"{"prices": {"US": "0.1"}}"#,
            "`\"0.1\"` is not a price in dollars",
        ),
        (r#"{"prices": {"US": 1e-2}}"#, "`1e-2` is not a price"),
        (r#"{"prices": {"US": 0}}"#, "`0` is not a price"),
        (r#"{"prices": {"US": -0.1}}"#, "`-0.1` is not a price"),
        (
            r#"{"prices": {"US": 0.0058123}}"#,
            "`0.0058123` is not a price",
        ),
        (r#"{"prices": {"US": null}}"#, "`null` is not a price"),
        (r#"{"prices": {}} {}"#, "trailing characters"),
    ] {
        let file = Packaged::new(content);
        let found = ledger_problems(&[file.setting()]);
        let start = "CONFIG_FILE must name a JSON file such as {\"prices\": {\"*\": 0.1}}: ";
        assert!(
            found.len() == 1 && found[0].starts_with(start) && found[0].contains(says),
            "{content}: {found:?}"
        );
    }
}

#[test]
fn the_packaged_file_is_read() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/otp-lambda.json");
    let settings = ledger(&[
        ("ALLOWED_COUNTRIES", "*"),
        ("BUDGETS", "20USD/1h"),
        ("CONFIG_FILE", file),
    ]);
    assert_eq!(
        settings.policy.budgets.prices,
        Prices {
            by_country: BTreeMap::new(),
            otherwise: Some(100_000),
            by_channel: BTreeMap::from([
                ((Channel::Voice, None), 500_000),
                ((Channel::WhatsApp, None), 100_000)
            ]),
        }
    );
}

#[test]
fn the_packaged_file_adds_to_lists() {
    let file = Packaged::new(
        r#"{"brandNames": ["Acme, Inc.", "a;b"], "trustedPrincipals": ["sub=b", "sub=c"],
            "allowedCountries": ["CA", " IN "], "countryLimits": ["CA=7/1h,8/24h", "*=9/24h"],
            "originationIdentities": ["IN=BRANDX", "CA/sms=BRANDY"], "extraPrefixes": ["+1358=CA"],
            "whatsappLanguages": ["pt-BR", "de"]}"#,
    );
    let changes = [
        file.setting(),
        ("BRAND_NAMES", "Booking.com;bet365.com"),
        ("TRUSTED_PRINCIPALS", "sub=a"),
        ("ALLOWED_COUNTRIES", "US,CA"),
        ("COUNTRY_LIMITS", "US=6/1h"),
        ("ORIGINATION_IDENTITIES", "US=BRANDZ"),
        ("EXTRA_PREFIXES", "+1357=US"),
        ("OTP_PROVIDER", "end-user-messaging"),
        ("WHATSAPP_LANGUAGES", "en-US"),
        ("LEDGER_TABLE", "otp"),
        ("LEDGER_KEY", KEY),
    ];
    // The same with everything in the variables, without the two entries that cannot be there.
    let without_file = [
        ("BRAND_NAMES", "Booking.com;bet365.com"),
        ("TRUSTED_PRINCIPALS", "sub=a,sub=b,sub=c"),
        ("ALLOWED_COUNTRIES", "US,CA,IN"),
        ("COUNTRY_LIMITS", "US=6/1h;CA=7/1h,8/24h;*=9/24h"),
        (
            "ORIGINATION_IDENTITIES",
            "US=BRANDZ,IN=BRANDX,CA/sms=BRANDY",
        ),
        ("EXTRA_PREFIXES", "+1357=US,+1358=CA"),
        ("WHATSAPP_LANGUAGES", "en-US,pt-BR,de"),
    ];
    let read = settings(&changes);
    let mut expected = changes.to_vec();
    expected.retain(|(name, _)| *name != "CONFIG_FILE");
    expected.extend(without_file);
    let expected = settings(&expected);
    let listed = ["Booking.com", "bet365.com", "Acme, Inc.", "a;b"];
    assert_eq!(read.rules.brands.listed, listed);
    assert_eq!(read.http.trusted, expected.http.trusted);
    let (rules, wanted) = (&read.rules, &expected.rules);
    assert_eq!(rules.allowed_countries, wanted.allowed_countries);
    assert_eq!(rules.extra_prefixes, wanted.extra_prefixes);
    let others = |settings: &Settings| -> Vec<_> {
        let others = settings.rules.origination.others.iter();
        others
            .map(|other| (other.country, other.channel, other.identity.clone()))
            .collect()
    };
    assert_eq!(others(&read), others(&expected));
    let whatsapp = |settings: &Settings| {
        let OneProvider::EndUserMessaging(options) = &settings.provider.current else {
            panic!("another provider");
        };
        options.whatsapp_languages.clone()
    };
    assert_eq!(whatsapp(&read), whatsapp(&expected));
    let budgets = |settings: Settings| settings.ledger.unwrap().policy.budgets;
    let budgets = (budgets(read), budgets(expected));
    assert_eq!(budgets.0, budgets.1);
    assert_eq!(budgets.0.by_country.len(), 2);
}

#[test]
fn a_list_may_be_in_the_packaged_file_alone() {
    let file = Packaged::new(r#"{"allowedCountries": ["US", "CA"]}"#);
    let changes = [("ALLOWED_COUNTRIES", ""), file.setting()];
    let expected = settings(&[("ALLOWED_COUNTRIES", "US,CA")]);
    assert_eq!(
        settings(&changes).rules.allowed_countries,
        expected.rules.allowed_countries
    );
    let empty = Packaged::new(r#"{"allowedCountries": []}"#);
    let found = problems(&[("ALLOWED_COUNTRIES", ""), empty.setting()]);
    assert_eq!(found, ["ALLOWED_COUNTRIES is required."]);
}

#[test]
fn a_brand_has_a_visible_character() {
    let says = "must have 1 to 20 characters, at least one of them visible.";
    for blank in [
        "\u{200b}",
        "\u{2060}\u{feff}",
        "\u{ad}",
        "a\u{7}",
        "\u{200b} \u{200b}",
    ] {
        let found = problems(&[("BRAND_NAME", blank)]);
        assert_eq!(found, [format!("BRAND_NAME {says}")], "{blank:?}");
    }
    for brand in ["\u{200b}a", "É", "公司"] {
        assert_eq!(
            settings(&[("BRAND_NAME", brand)]).rules.defaults.brand_name,
            brand
        );
    }
}

/// Each of these functions starts with the file. With a broken file, only the file is reported.
#[test]
fn a_broken_packaged_file_is_the_only_problem() {
    let good = r#"{"prices": {"*": 0.1, "*/whatsapp": 0.1}, "texts": {"eo": {"sms": "Kodo: {{code}} {{brand}}"}},
        "brandNames": ["Acme, Inc."], "trustedPrincipals": ["sub=b"], "allowedCountries": ["US", "IN"],
        "countryLimits": ["US=7/1h", "*=9/24h"], "originationIdentities": ["IN=BRANDX"],
        "extraPrefixes": ["+1357=US"], "whatsappLanguages": ["pt-BR", "de"]}"#;
    let of_pinpoint = good
        .replace(
            r#""texts": {"eo": {"sms": "Kodo: {{code}} {{brand}}"}},"#,
            "",
        )
        .replace(r#", "whatsappLanguages": ["pt-BR", "de"]"#, "");
    let (file, of_pinpoint) = (Packaged::new(good), Packaged::new(&of_pinpoint));
    let broken = Packaged::new(&good[..good.len() - 1]);
    let functions: [(&Packaged, &[(&str, &str)]); 4] = [
        (&of_pinpoint, &[("BUDGETS", "5USD/1h")]),
        (
            &of_pinpoint,
            &[
                ("API_AUTH", "none"),
                ("BUDGETS", "100/24h"),
                ("TRUSTED_PRINCIPALS", ""),
            ],
        ),
        (
            &file,
            &[("OTP_PROVIDER", "end-user-messaging"), ("LANGUAGE", "eo")],
        ),
        (
            &file,
            &[
                ("OTP_PROVIDER", "end-user-messaging"),
                ("OTP_PREVIOUS_PROVIDER", "pinpoint"),
                ("LANGUAGE", "country"),
                ("CHANNELS", "sms,whatsapp"),
                ("WHATSAPP_TEMPLATE", "code"),
                ("BUDGETS", "5USD/1h"),
            ],
        ),
    ];
    for (whole, changes) in functions {
        let read = |file: &str| {
            let own = [("ALLOWED_COUNTRIES", ""), ("CONFIG_FILE", file)];
            ledger_problems(&[&own, changes].concat())
        };
        assert_eq!(read(whole.path()), Vec::<String>::new(), "{changes:?}");
        for (bad, says) in [
            (broken.path(), "must name a JSON file such as"),
            ("/nowhere", "names a file that cannot be read"),
        ] {
            let found = read(bad);
            assert_eq!(found.len(), 1, "{changes:?}: {found:?}");
            assert!(
                found[0].starts_with(&format!("CONFIG_FILE {says}")),
                "{found:?}"
            );
        }
        // The control: problems that the file cannot solve are still reported.
        let found = ledger_problems(
            &[&[("CONFIG_FILE", "/nowhere"), ("BRAND_NAME", "")], changes].concat(),
        );
        assert!(
            found.contains(&"BRAND_NAME is required.".to_owned()),
            "{found:?}"
        );
    }
}

#[test]
fn rules_for_a_setting_hold_for_its_list_in_the_packaged_file() {
    let counts_too = |name: &str| format!(" Entries of `{name}` in CONFIG_FILE count too.");
    for (content, changes, says) in [
        (
            r#"{"allowedCountries": ["US", "XX"]}"#,
            &[][..],
            "ALLOWED_COUNTRIES must be country codes such as `US,CA`, or `*`: `XX` is not an ISO 3166-1 country code.",
        ),
        (
            r#"{"allowedCountries": [" * "]}"#,
            &[
                ("ALLOWED_COUNTRIES", ""),
                ("API_AUTH", "none"),
                ("LEDGER_TABLE", "otp"),
                ("LEDGER_KEY", KEY),
            ],
            "ALLOWED_COUNTRIES cannot be `*` while API_AUTH is `none`, which lets everyone in.",
        ),
        (
            r#"{"allowedCountries": ["US"]}"#,
            &[("ALLOWED_COUNTRIES", "*")],
            "ALLOWED_COUNTRIES must be country codes such as `US,CA`, or `*`: `*` is not an ISO 3166-1 country code.",
        ),
        (
            r#"{"countryLimits": ["CA=7/1h"]}"#,
            &[],
            "COUNTRY_LIMITS needs the ledger: set LEDGER_TABLE, or unset it.",
        ),
        (
            r#"{"countryLimits": ["CA=7/1h"]}"#,
            &[
                ("COUNTRY_LIMITS", "CA=8/1h"),
                ("LEDGER_TABLE", "otp"),
                ("LEDGER_KEY", KEY),
            ],
            "COUNTRY_LIMITS names CA twice.",
        ),
        (
            r#"{"originationIdentities": ["US=A"]}"#,
            &[("ORIGINATION_IDENTITIES", "US=B")],
            "ORIGINATION_IDENTITIES names US twice.",
        ),
        (
            r#"{"extraPrefixes": ["1357=US"]}"#,
            &[],
            "EXTRA_PREFIXES must be beginnings such as `+1357=US`: ",
        ),
        (
            r#"{"whatsappLanguages": ["en-US"]}"#,
            &[],
            "WHATSAPP_LANGUAGES is for the provider `end-user-messaging`: set OTP_PROVIDER to it, or unset this.",
        ),
    ] {
        let file = Packaged::new(content);
        let mut all = vec![file.setting()];
        all.extend(changes);
        let found = problems(&all);
        let name = content.split('"').nth(1).unwrap();
        assert!(
            found.len() == 1 && found[0].starts_with(says) && found[0].ends_with(&counts_too(name)),
            "{content}: {found:?}"
        );
    }
}

#[test]
fn bad_lists_of_the_packaged_file_are_reported() {
    for (content, what) in [
        (r#"{"brandNames": ["x", ""]}"#, "BRAND_NAMES and"),
        (r#"{"brandNames": "x"}"#, "CONFIG_FILE must"),
        (r#"{"trustedPrincipals": ["x"]}"#, "TRUSTED_PRINCIPALS and"),
        (r#"{"allowedCountries": "US"}"#, "CONFIG_FILE must"),
        (
            r#"{"allowedCountries": ["US"], "allowedCountries": ["CA"]}"#,
            "CONFIG_FILE must",
        ),
        (r#"{"allowed_countries": ["US"]}"#, "CONFIG_FILE must"),
        (
            r#"{"allowedCountries": ["US", ""]}"#,
            "ALLOWED_COUNTRIES must",
        ),
        // Their codes are secret, and this file is not.
        (
            r#"{"testNumbers": ["+14255550100=123456@2027-01-31"]}"#,
            "CONFIG_FILE must",
        ),
    ] {
        let file = Packaged::new(content);
        let found = problems(&[file.setting()]);
        assert!(
            found.len() == 1 && found[0].starts_with(what),
            "{content}: {found:?}"
        );
    }
}

#[test]
fn bad_entries_of_these_lists_are_named_by_their_place() {
    let bad = [
        (
            "BRAND_NAMES",
            "Acme; A brand of many characters",
            "and `brandNames` in CONFIG_FILE must have brands of 1 to 20 characters, at least one of them visible, in the variable separated by `;`: see \
             entry 2.",
        ),
        (
            "TRUSTED_PRINCIPALS",
            "sub=a,everybody",
            "and `trustedPrincipals` in CONFIG_FILE must have entries such as",
        ),
    ];
    are_reported(&bad, problems);
}

#[test]
fn what_callers_may_ask_for_includes_the_default() {
    let bounds = |changes: &[(&str, &str)]| {
        let rules = settings(changes).rules;
        (rules.code_length, rules.validity_minutes)
    };
    let (length, validity) = bounds(&[("MIN_CODE_LENGTH", "6"), ("MAX_VALIDITY_PERIOD", "10")]);
    assert_eq!((length, *validity.end()), (6..=8, 10));
    let (length, validity) = bounds(&[]);
    assert!(*length.start() < 6 && *validity.end() == 60);
    let bad = [
        ("MIN_CODE_LENGTH", "7", "must not be more than CODE_LENGTH."),
        (
            "MAX_VALIDITY_PERIOD",
            "9",
            "must not be less than VALIDITY_PERIOD.",
        ),
    ];
    are_reported(&bad, problems);
    let bad = [
        ("MIN_CODE_LENGTH", "9", "must be an integer from"),
        ("MAX_VALIDITY_PERIOD", "61", "must be an integer from"),
    ];
    are_reported(&bad, problems);
}

#[test]
fn a_principal_is_named_exactly() {
    for good in [
        "arn:aws:iam::123456789012:role/app",
        "arn:aws-us-gov:iam::123456789012:role/web/app",
        "sub=partner@example.com",
        "sub=abc@clients@https://x.auth0.com/",
        "client=7ab3@https://login.example.com",
    ] {
        assert!(TrustedPrincipals::parse([good]).is_ok(), "{good}");
    }
    for bad in [
        "",
        "*",
        "partner",
        "sub=",
        "sub=@https://login.example.com",
        "sub=a@https://",
        "user=a",
        "arn:aws:iam::123456789012:user/app",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::123456789012:role/a*",
        "arn:aws:iam::12345:role/app",
        "arn:aws:sts::123456789012:assumed-role/app/session",
    ] {
        assert_eq!(TrustedPrincipals::parse(["sub=a", bad]), Err(2), "{bad}");
    }
}

#[test]
fn trusted_principals_have_no_effect_where_every_caller_is_trusted() {
    let settings = [("API_AUTH", "trusted"), ("TRUSTED_PRINCIPALS", "sub=a")];
    let found = problems(&settings);
    assert!(
        found.len() == 1 && found[0].starts_with("TRUSTED_PRINCIPALS has no effect"),
        "{found:?}"
    );
}

#[test]
fn a_budget_in_money_needs_the_price_of_every_country_that_it_covers() {
    let some = Packaged::new(r#"{"prices": {"US": 0.00581, "JM": 0.1}}"#);
    let all = Packaged::new(r#"{"prices": {"*": 0.1}}"#);
    let missing = |what: &str| {
        vec![format!(
            "CONFIG_FILE must give the price of an SMS to {what}, or to `*`, as a budget is in USD."
        )]
    };
    let found = |countries, budgets, by_country, file| {
        ledger_problems(&[
            ("ALLOWED_COUNTRIES", countries),
            ("BUDGETS", budgets),
            ("COUNTRY_LIMITS", by_country),
            ("CONFIG_FILE", file),
        ])
    };
    let money = "500/1h,20USD/24h";
    assert_eq!(found("US", money, "", ""), missing("US"));
    assert_eq!(
        found("US,JM,GB,IN", money, "", some.path()),
        missing("GB, IN")
    );
    assert_eq!(
        found("US,JM", "500/1h", "GB=1USD/1h;JM=1USD/1h", ""),
        missing("JM")
    );
    assert_eq!(
        found("US,JM", "500/1h", "*=1USD/1h;JM=5/1h", ""),
        missing("US")
    );
    assert_eq!(found("*", money, "", some.path()), missing("every country"));
    assert_eq!(
        found("*", "500/1h", "*=1USD/1h", some.path()),
        missing("every country")
    );
    assert_eq!(
        found("*", "500/1h", "GB=1USD/1h", some.path()),
        missing("GB")
    );

    let fine = Vec::<String>::new();
    assert_eq!(found("US,JM", money, "", some.path()), fine);
    assert_eq!(found("*", money, "GB=1USD/1h", all.path()), fine);
    assert_eq!(found("*", "500/1h", "JM=1USD/1h", some.path()), fine);
    assert_eq!(found("*", "500/1h", "JM=5/1h", ""), fine);
}

#[test]
fn a_test_number_has_its_code_until_the_end_of_its_last_day() {
    let numbers = "+14255550100=123456@2027-01-31, +44 7700 900123=00000@2028-02-29";
    let numbers = ledger(&[("TEST_NUMBERS", numbers)]).policy.test_numbers;
    let plain: Vec<_> = numbers
        .iter()
        .map(|test| (test.number.expose(), test.otp.expose(), test.until.0 / 1000))
        .collect();
    // The ends are 2027-02-01 and 2028-03-01, 00:00 UTC.
    assert_eq!(
        plain,
        [
            ("+14255550100", "123456", 1_801_440_000),
            ("+447700900123", "00000", 1_835_481_600)
        ]
    );

    for (bad, says) in [
        ("+14255550100=123456", "at entry 1, a part is missing."),
        ("+14255550100@2027-01-31", "a part is missing"),
        (
            "14255550100=123456@2027-01-31",
            "a phone number starts with +",
        ),
        (
            "+14255550100=1234@2027-01-31",
            "the code must have 5 to 8 digits.",
        ),
        (
            "+14255550100=12345a@2027-01-31",
            "the code must have 5 to 8 digits.",
        ),
        (
            "+14255550100=123456@2027-02-29",
            "the date must be a day such as 2027-01-31.",
        ),
        ("+14255550100=123456@2027-13-01", "the date must be a day"),
        ("+14255550100=123456@2027-1-31", "the date must be a day"),
        ("+14255550100=123456@2027-01-311", "the date must be a day"),
        ("+14255550100=123456@2027-01-31-", "the date must be a day"),
        ("+14255550100=123456@+027-01-31", "the date must be a day"),
        ("+14255550100=123456@1969-01-31", "the date must be a day"),
        ("+14255550100=123456@never", "the date must be a day"),
        (
            "+14255550100=123456@2027-01-31,",
            "at entry 2, a part is missing.",
        ),
        (
            "+14255550100=123456@2027-01-31,+1 (425) 555-0100=654321@2027-01-30",
            "has a number twice, at entry 2.",
        ),
    ] {
        let found = ledger_problems(&[("TEST_NUMBERS", bad)]);
        assert!(
            found.len() == 1 && found[0].starts_with("TEST_NUMBERS") && found[0].contains(says),
            "{bad}: {found:?}"
        );
        for secret in [
            "4255550100",
            "555-0100",
            "123456",
            "654321",
            "1234",
            "12345a",
        ] {
            assert!(!found[0].contains(secret), "{found:?}");
        }
    }
}

#[test]
fn a_sign_up_needs_references_that_nobody_can_compute() {
    let on = ("COGNITO_PRE_SIGN_UP", "on");
    for settings in [
        &[on][..],
        &[on, ("REFERENCE_ID", "derived")],
        &[on, ("API_AUTH", "trusted")],
    ] {
        let found = ledger_problems(settings);
        assert!(
            found.len() == 1
                && found[0].starts_with("COGNITO_PRE_SIGN_UP cannot be `on` while REFERENCE_ID"),
            "{settings:?}: {found:?}"
        );
    }
    for settings in [[on, ("REFERENCE_ID", "random")], [on, ("API_AUTH", "none")]] {
        assert_eq!(
            ledger_problems(&settings),
            Vec::<String>::new(),
            "{settings:?}"
        );
    }
}

#[test]
fn foreign_codes_need_derived_references() {
    let on = ("FOREIGN_CODES", "on");
    let accepted = settings(&[LEDGER, &[on]].concat());
    assert!(accepted.rules.foreign_codes);
    assert!(!settings(LEDGER).rules.foreign_codes, "off by default");
    let random = [LEDGER, &[on, ("REFERENCE_ID", "random")]].concat();
    let found = problems(&random);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("FOREIGN_CODES cannot be `on` while REFERENCE_ID is `random`"),
        "{found:?}"
    );
}

#[test]
fn a_function_that_strangers_may_call_starts_only_with_a_ledger_limits_countries_and_budgets() {
    let open = [("API_AUTH", "none"), ("REFERENCE_ID", "derived")];
    let open = settings(&[LEDGER, &open].concat());
    assert_eq!(open.http.gate, Gate::Open);
    // Anyone who knows a number could derive its reference.
    assert_eq!(open.rules.reference_ids, ReferenceIds::Random);
    assert_eq!(
        problems(&[("API_AUTH", "jwt")]),
        ["API_AUTH cannot be `jwt` without the ledger, which keeps the limits: set LEDGER_TABLE."]
    );
    // The authorizer has let a caller in, and the event says so.
    let jwt = settings(&[LEDGER, &[("API_AUTH", "jwt")]].concat());
    assert_eq!(jwt.http.gate, Gate::Iam);

    for (api_auth, strangers) in [
        ("none", "which lets everyone in."),
        ("jwt", "which lets in everyone who can sign up."),
    ] {
        let problem = format!("cannot be `none` while API_AUTH is `{api_auth}`");
        let foreign = format!("cannot be `on` while API_AUTH is `{api_auth}`");
        let countries = format!("cannot be `*` while API_AUTH is `{api_auth}`, {strangers}");
        let without = [
            ("FOREIGN_CODES", "on", foreign.as_str()),
            ("ALLOWED_COUNTRIES", "*", &countries),
            ("PREFIX_LIMITS", "none", &problem),
            ("SOURCE_LIMITS", "none", &problem),
            ("SOURCE_NETWORK_LIMITS", "none", &problem),
            ("BUDGETS", "none", &problem),
        ];
        are_reported(&without, |changes| {
            ledger_problems(&[changes, &[("API_AUTH", api_auth)]].concat())
        });
        let closed: Vec<_> = without
            .iter()
            .map(|(name, value, _)| (*name, *value))
            .collect();
        assert_eq!(ledger_problems(&closed), Vec::<String>::new());
    }
}

#[test]
fn an_unknown_provider_is_the_only_problem_that_is_reported() {
    let found = problems(&[("OTP_PROVIDER", "twilio"), ("PINPOINT_APPLICATION_ID", "")]);
    assert_eq!(
        found,
        ["OTP_PROVIDER must be `pinpoint` or `end-user-messaging`."]
    );
}

#[test]
fn an_application_id_cannot_change_the_path_of_a_request() {
    for id in ["a/../b", "*", "a b", "a?x"] {
        assert_eq!(
            problems(&[("PINPOINT_APPLICATION_ID", id)]).len(),
            1,
            "{id}"
        );
    }
}

#[test]
fn a_phone_number_among_bad_values_is_not_repeated() {
    let found = problems(&[
        ("ORIGINATION_IDENTITY", "+14255550142 x"),
        ("BRAND_NAME", "+14255550142+14255550142"),
    ])
    .join(" ");
    assert!(!found.contains("425"), "{found}");
}

#[test]
fn a_ca_bundle_must_contain_a_certificate() {
    let directory = std::env::temp_dir().join(format!("otp-lambda-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("bundle.pem");
    for (content, fine) in [
        ("", false),
        ("not PEM", false),
        (otp_lambda::aws::AMAZON_ROOTS, true),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(
            problems(&[("AWS_CA_BUNDLE", path.to_str().unwrap())]).is_empty(),
            fine
        );
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn each_required_setting_is_needed() {
    assert_eq!(problems(&[]), Vec::<String>::new());
    for setting in SETTINGS
        .iter()
        .filter(|setting| setting.otherwise == Otherwise::Required)
    {
        let mut environment = environment("http://127.0.0.1:1");
        environment.remove(setting.name);
        assert_eq!(
            read(&environment),
            [format!("{} is required.", setting.name)]
        );
    }
}

/// Each door needs a part of each limit that is split.
#[test]
fn a_limit_that_a_door_would_have_no_part_of_is_reported() {
    const SHARE: (&str, &str) = ("SIGN_IN_SHARE", "50");
    const DEVICES: (&str, &str) = ("DEVICE_TOKEN_DAYS", "90");
    for (name, too_small, enough, what) in [
        ("SEND_LIMITS", "1/1h", "1/59m,2/1h", SHARE),
        ("PREFIX_LIMITS", "1/1h", "2/1h", SHARE),
        ("BUDGETS", "1/24h", "2/24h", SHARE),
        ("COUNTRY_LIMITS", "US=1/24h", "US=2/24h", SHARE),
        ("COUNTRY_LIMITS", "*=1/24h", "*=2/24h", SHARE),
        ("SEND_LIMITS", "2/24h", "1/59m,3/24h", DEVICES),
        ("PREFIX_LIMITS", "1/1h", "2/1h", DEVICES),
        ("BUDGETS", "1/24h", "2/24h", DEVICES),
        ("COUNTRY_LIMITS", "US=1/24h", "US=2/24h", DEVICES),
        ("COUNTRY_LIMITS", "*=1/24h", "*=2/24h", DEVICES),
    ] {
        let reported = ledger_problems(&[what, (name, too_small)]);
        let is_about = |problem: &String| problem.starts_with(name) && problem.contains(what.0);
        assert!(
            reported.len() == 1 && reported.iter().all(is_about),
            "{name} {too_small} {what:?}: {reported:?}"
        );
        assert_eq!(ledger_problems(&[what, (name, enough)]), [""; 0], "{name}");
        // The control: without the setting, the limit is large enough.
        assert_eq!(ledger_problems(&[(name, too_small)]), [""; 0], "{name}");
    }
    // HTTP's part beside sign-ins has to be large enough for devices.
    let both = [SHARE, DEVICES];
    let limits = |text| [both.as_slice(), &[("SEND_LIMITS", text)]].concat();
    assert_eq!(ledger_problems(&limits("6/24h")), [""; 0]);
    assert_eq!(ledger_problems(&limits("4/24h")).len(), 1);
    for days in ["-1", "+1", "1.5", "366", "x"] {
        assert_eq!(ledger_problems(&[("DEVICE_TOKEN_DAYS", days)]).len(), 1);
    }
}
