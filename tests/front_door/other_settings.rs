//! The settings of End User Messaging, and of two providers at once.

use crate::world::{KEY, environment};
use otp_lambda::settings::Settings;

fn problems(changes: &[(&str, &str)]) -> Vec<String> {
    let mut environment = environment("http://127.0.0.1:9");
    environment.extend(
        changes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    Settings::read(&|name| environment.get(name).cloned())
        .err()
        .map(|problems| problems.0)
        .unwrap_or_default()
}

#[test]
fn every_bad_value_is_reported_by_name() {
    for (name, value, says) in [
        (
            "CODE_TYPE",
            "digits",
            "must be `numeric`, `alphabetic` or `alphanumeric`.",
        ),
        (
            "CHANNELS",
            "sms,call",
            "must be one or more of `sms`, `voice` and `whatsapp`",
        ),
        ("CHANNELS", "sms,sms", "each once"),
        ("CHANNELS", ",", "must be one or more of"),
        (
            "CHANNELS",
            "whatsapp",
            "WHATSAPP_TEMPLATE must be set, as CHANNELS has `whatsapp`.",
        ),
        (
            "WHATSAPP_TEMPLATE",
            "my template",
            "must be the name of a template that Meta has approved",
        ),
        (
            "WHATSAPP_LANGUAGES",
            "en-US,",
            "must be language tags such as `en-US,pt-BR`",
        ),
        ("DO_NOT_SHARE_LINE", "yes", "must be `off` or `on`."),
        (
            "WEBOTP_DOMAIN",
            "https://example.com",
            "WEBOTP_DOMAIN must be",
        ),
        ("ANDROID_APP_HASH", "short", "ANDROID_APP_HASH must be"),
        (
            "CONFIGURATION_SET",
            "arn:aws:sms-voice:us-east-1:1:configuration-set/codes",
            "not its ARN",
        ),
        (
            "DELIVERY_TOPIC",
            "arn:aws:sns:us-east-1:123456789012:codes",
            "needs CONFIGURATION_SET",
        ),
        ("MESSAGE_FEEDBACK", "true", "must be `off` or `on`."),
        ("MESSAGE_FEEDBACK", "on", "needs the ledger"),
        ("CODE_LENGTH", "3", "must be an integer from 4 to 8."),
        ("VALIDITY_PERIOD", "0", "must be an integer from 1 to 60."),
        ("LANGUAGE", "tlh", "must be `country`, or one of"),
        (
            "OTP_PREVIOUS_PROVIDER",
            "end-user-messaging",
            "must be another provider than OTP_PROVIDER, or unset.",
        ),
        (
            "OTP_PREVIOUS_PROVIDER",
            "twilio",
            "must be `pinpoint` or `end-user-messaging`.",
        ),
        (
            "OTP_PREVIOUS_PROVIDER",
            "pinpoint",
            "PINPOINT_APPLICATION_ID is required for the provider `pinpoint`.",
        ),
        (
            "AWS_ENDPOINT_URL_ENDUSERMESSAGING",
            "localhost",
            "must be an http:// or https:// URL.",
        ),
        (
            "AWS_ENDPOINT_URL_PINPOINT_SMS_VOICE_V2",
            "localhost",
            "must be an http:// or https:// URL.",
        ),
    ] {
        let found = problems(&[(name, value)]);
        assert!(
            found.len() == 1 && found[0].contains(says),
            "{name}={value}: {found:?}"
        );
    }
}

#[test]
fn settings_of_this_provider_are_not_ignored_with_the_other() {
    let pinpoint = [
        ("OTP_PROVIDER", "pinpoint"),
        ("PINPOINT_APPLICATION_ID", "a"),
    ];
    assert_eq!(problems(&pinpoint), Vec::<String>::new());
    for (name, value) in [
        ("CODE_TYPE", "numeric"),
        ("CHANNELS", "sms"),
        ("WHATSAPP_TEMPLATE", "a"),
        ("WHATSAPP_LANGUAGES", "en-US"),
        ("DO_NOT_SHARE_LINE", "on"),
        ("WEBOTP_DOMAIN", "example.com"),
        ("ANDROID_APP_HASH", "FA+9qCX9VSu"),
        ("CONFIGURATION_SET", "a"),
        ("MESSAGE_FEEDBACK", "off"),
    ] {
        let found = problems(&[&pinpoint[..], &[(name, value)]].concat());
        let says = format!(
            "{name} is for the provider `end-user-messaging`: set OTP_PROVIDER to it, or unset this."
        );
        assert_eq!(found, [says]);
        // They may be set if End User Messaging is the previous provider.
        let found = problems(
            &[
                &pinpoint[..],
                &[
                    (name, value),
                    ("OTP_PREVIOUS_PROVIDER", "end-user-messaging"),
                ],
            ]
            .concat(),
        );
        assert_eq!(found, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_budget_in_money_needs_the_price_of_every_channel() {
    let path =
        std::env::temp_dir().join(format!("otp-lambda-channels-{}.json", std::process::id()));
    let ledger = [
        ("LEDGER_TABLE", "otp"),
        ("LEDGER_KEY", KEY),
        ("BUDGETS", "10USD/24h"),
        ("ALLOWED_COUNTRIES", "US,GB"),
        ("CHANNELS", "sms,voice"),
        ("CONFIG_FILE", path.to_str().unwrap()),
    ];
    for (prices, says) in [
        (
            r#"{"*": 0.1}"#,
            Some(
                "must give the price of a call to GB, US, or to `*/voice`, as a budget is in USD.",
            ),
        ),
        (
            r#"{"*": 0.1, "GB/voice": 0.1}"#,
            Some("the price of a call to US,"),
        ),
        (r#"{"*": 0.1, "US/voice": 0.1, "GB/voice": 0.1}"#, None),
        (
            r#"{"*/voice": 0.1}"#,
            Some("the price of an SMS to GB, US,"),
        ),
        (r#"{"*": 0.1, "*/voice": 0.1}"#, None),
    ] {
        std::fs::write(&path, format!(r#"{{"prices": {prices}}}"#)).unwrap();
        let found = problems(&ledger);
        assert_eq!(
            found.len(),
            usize::from(says.is_some()),
            "{prices}: {found:?}"
        );
        assert!(
            found.iter().all(|problem| problem.contains(says.unwrap())),
            "{prices}: {found:?}"
        );
    }
    std::fs::write(&path, r#"{"prices": {"*": 0.1}}"#).unwrap();
    let found = problems(&[("CONFIG_FILE", path.to_str().unwrap())]);
    assert_eq!(
        found,
        ["CONFIG_FILE has `prices`, which need the ledger: set LEDGER_TABLE, or leave them out."]
    );
    let _ = std::fs::remove_file(&path);
}

#[test]
fn a_bad_own_text_stops_the_start_and_its_language_is_named() {
    let path = std::env::temp_dir().join(format!("otp-lambda-bad-{}.json", std::process::id()));
    for (texts, says) in [
        (r#"{"en-US": {"sms": "no code"}}"#, "en-US"),
        (r#"{"en-US": {"sms": "{{code}} {{cod}}"}}"#, "{{cod}}"),
        (r#"{"e n": {"sms": "{{code}}"}}"#, "e n"),
        (r#"{"en-US": {"fax": "{{code}}"}}"#, "fax"),
        (r#"{"vi-VN": {"voice": "{{code}}"}}"#, "vi-VN"),
    ] {
        std::fs::write(&path, format!(r#"{{"texts": {texts}}}"#)).unwrap();
        let found = problems(&[("CONFIG_FILE", path.to_str().unwrap())]);
        assert!(
            found.len() == 1 && found[0].starts_with("CONFIG_FILE") && found[0].contains(says),
            "{texts}: {found:?}"
        );
    }
    std::fs::write(&path, r#"{"texts": {"en-US": {"sms": "{{code}}"}}}"#).unwrap();
    let found = problems(&[
        ("CONFIG_FILE", path.to_str().unwrap()),
        ("OTP_PROVIDER", "pinpoint"),
        ("PINPOINT_APPLICATION_ID", "a"),
    ]);
    assert_eq!(
        found,
        [
            "CONFIG_FILE has `texts`, which are only for the provider `end-user-messaging`: set OTP_PROVIDER to it, or remove them."
        ]
    );
    let _ = std::fs::remove_file(&path);
}

#[test]
fn delivery_events_need_the_arn_of_a_topic() {
    let set = ("CONFIGURATION_SET", "codes");
    for topic in [
        "codes",
        "arn:aws:sqs:us-east-1:123456789012:codes",
        "arn:aws:sns:us-east-1:123456789012:",
        "arn:aws:sns:us-east-1:codes",
        "arn:aws:sns:us-east-1:123456789012:codes:21be56ed",
        "arn:aws:sns:us-east-1:123456789012:two words",
    ] {
        let found = problems(&[set, ("DELIVERY_TOPIC", topic)]);
        let says = "DELIVERY_TOPIC must be the ARN of an SNS topic";
        assert!(
            found.len() == 1 && found[0].starts_with(says),
            "{topic}: {found:?}"
        );
    }
    for topic in [
        "arn:aws:sns:us-east-1:123456789012:codes",
        "arn:aws-us-gov:sns:us-gov-west-1:123456789012:my_codes-1",
    ] {
        assert_eq!(
            problems(&[set, ("DELIVERY_TOPIC", topic)]),
            Vec::<String>::new()
        );
    }
}
