//! Notify configurations: the checks at the start, the request, each refusal of AWS, and the quotas.

use crate::exchange::exchange;
use crate::packaged::Packaged;
use crate::world::{KEY, NUMBER, World, environment, post};
use otp_lambda::policy::{Budget, Period, Unit};
use otp_lambda::settings::{OneProvider, Settings};
use serde_json::{Value, json};
use simulator::{Channel, Operation};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

const ENGLISH: &str = "notify-code-verification-english-001";
const ARN: &str =
    "arn:aws:sms-voice:us-east-1:123456789012:notify-configuration/nc-1234567890abcdef0";
const LEDGER: &[(&str, &str)] = &[("LEDGER_TABLE", "otp"), ("LEDGER_KEY", KEY)];
const TEMPLATES: &str = r#"{"notify": {"templates": {"en": {"sms": "notify-code-verification-english-001", "voice": "notify-code-verification-english-voice-001"}, "de": {"sms": "notify-code-verification-german-001"}}}}"#;

/// The settings of a function that sends by this Notify configuration alone.
fn sender(configuration: &'static str) -> [(&'static str, &'static str); 2] {
    [
        ("ORIGINATION_IDENTITY", configuration),
        ("ALLOWED_COUNTRIES", "US,GB"),
    ]
}

fn read(file: &str, changes: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let file = Packaged::new(file);
    let mut environment = environment("http://127.0.0.1:9");
    let basic = [&sender(ARN)[..], &[file.setting()]].concat();
    let all = basic.iter().chain(changes);
    environment.extend(all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Settings::read(&|name| environment.get(name).cloned()).map_err(|problems| problems.0)
}

fn problems(file: &str, changes: &[(&str, &str)]) -> Vec<String> {
    read(file, changes).err().unwrap_or_default()
}

async fn world(configuration: &'static str, changes: &[(&str, &str)]) -> World {
    let file = Packaged::new(TEMPLATES);
    World::with(&[&sender(configuration)[..], &[file.setting()], changes].concat()).await
}

fn send_to(number: &str, channel: &str) -> Value {
    json!({ "destinationNumber": number, "channel": channel })
}

const TEXTS: &str =
    r#"{"texts": {"en-US": {"sms": "{{code}}"}}, "notify": {"templates": {"en": {"sms": "a"}}}}"#;
const JAMAICA: &str =
    r#"{"notify": {"countries": ["US"], "tier": "advanced", "templates": {"en": {"sms": "a"}}}}"#;

/// Packaged files and settings that a Notify configuration cannot fulfil, and what the function says about each.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    (
        TEMPLATES,
        "WEBOTP_DOMAIN",
        "example.com",
        "WEBOTP_DOMAIN has no effect: a Notify configuration sends AWS's own texts",
    ),
    (
        TEMPLATES,
        "ANDROID_APP_HASH",
        "FA+9qCX9VSu",
        "ANDROID_APP_HASH has no effect",
    ),
    (
        TEMPLATES,
        "DO_NOT_SHARE_LINE",
        "off",
        "DO_NOT_SHARE_LINE cannot be `off`",
    ),
    (
        TEMPLATES,
        "BRAND_NAMES",
        "One;Two",
        "BRAND_NAMES cannot be used with a Notify configuration",
    ),
    (
        TEMPLATES,
        "BRAND_NAME",
        "ExampleCorporate",
        "BRAND_NAME must be the display name of the Notify configuration: 1 to 15 letters",
    ),
    (
        TEMPLATES,
        "BRAND_NAME",
        "Café",
        "BRAND_NAME must be the display name",
    ),
    (
        TEMPLATES,
        "BRAND_NAME",
        "Example.com",
        "BRAND_NAME must be the display name",
    ),
    (
        TEMPLATES,
        "ALLOWED_COUNTRIES",
        "US,JM,NG",
        "ALLOWED_COUNTRIES has JM, NG, but the Notify configuration sends only to the countries",
    ),
    (
        TEMPLATES,
        "ALLOWED_COUNTRIES",
        "*",
        "ALLOWED_COUNTRIES cannot be `*` with a Notify configuration",
    ),
    (
        JAMAICA,
        "ALLOWED_COUNTRIES",
        "US,GB",
        "ALLOWED_COUNTRIES has GB,",
    ),
    (
        TEMPLATES,
        "LANGUAGE",
        "ja-JP",
        "LANGUAGE must be `country`, or one of en, de.",
    ),
    (
        TEXTS,
        "LANGUAGE",
        "en-US",
        "CONFIG_FILE has `texts` for `sms`, but a Notify configuration sends AWS's own texts",
    ),
    (
        "{}",
        "LANGUAGE",
        "country",
        "CONFIG_FILE must name a template of the Notify configuration for `sms`, such as {\"notify\": {\"templates\": {\"en-US\": {\"sms\": \"TEMPLATE\"}}}}",
    ),
    (
        r#"{"notify": {"templates": {"en": {"sms": "a"}}}}"#,
        "CHANNELS",
        "sms,voice",
        "CONFIG_FILE must name a template of the Notify configuration for `voice`",
    ),
    (
        r#"{"notify": {"templates": {"en": {"sms": "a b"}}}}"#,
        "LANGUAGE",
        "country",
        "`a b` is not the ID of a template",
    ),
    (
        r#"{"notify": {"templates": {"e n": {"sms": "a"}}}}"#,
        "LANGUAGE",
        "country",
        "`e n` is not a language tag",
    ),
    (
        r#"{"notify": {"templates": {"en": {"sms": "a"}, "EN": {"sms": "b"}}}}"#,
        "LANGUAGE",
        "country",
        "`EN` has templates twice",
    ),
    (
        r#"{"notify": {"templates": {"en": {"fax": "a"}}}}"#,
        "LANGUAGE",
        "country",
        "unknown field `fax`",
    ),
    (
        r#"{"notify": {"tier": "gold"}}"#,
        "LANGUAGE",
        "country",
        "`gold` is not a tier",
    ),
    (
        r#"{"notify": {"countries": ["UK"]}}"#,
        "LANGUAGE",
        "country",
        "`UK` is not an ISO 3166-1 country code",
    ),
    (
        TEMPLATES,
        "ORIGINATION_IDENTITY",
        "+12065550100",
        "CONFIG_FILE has `notify`, but no origination identity is a Notify configuration",
    ),
];

#[test]
fn what_a_notify_configuration_cannot_do_is_said_at_the_start() {
    assert_eq!(problems(TEMPLATES, &[]), Vec::<String>::new());
    for (file, name, value, says) in REFUSED {
        let found = problems(file, &[(*name, *value)]);
        assert!(
            found.len() == 1 && found[0].contains(*says),
            "{name}={value} with {file}: {found:?}"
        );
    }
    let dlt = [("DLT_ENTITY_ID", "1101"), ("DLT_TEMPLATE_ID", "1107")];
    let found = problems(TEMPLATES, &dlt);
    assert!(
        found.len() == 2
            && found
                .iter()
                .all(|problem| problem.contains("has no effect")),
        "{found:?}"
    );
}

#[test]
fn a_notify_configuration_needs_the_provider_and_a_channel_that_it_has() {
    let whatsapp = [("CHANNELS", "sms,whatsapp"), ("WHATSAPP_TEMPLATE", "otp")];
    assert_eq!(
        problems(TEMPLATES, &whatsapp),
        [
            "ORIGINATION_IDENTITIES must name an identity for `whatsapp`, as CHANNELS has it: a Notify configuration sends only \
          texts and calls."
        ]
    );
    let own = [
        &whatsapp[..],
        &[("ORIGINATION_IDENTITIES", "whatsapp=waba-1")],
    ]
    .concat();
    assert_eq!(problems(TEMPLATES, &own), Vec::<String>::new());
    let pinpoint = [
        ("OTP_PROVIDER", "pinpoint"),
        ("PINPOINT_APPLICATION_ID", "a"),
    ];
    let found = problems("{}", &pinpoint);
    assert_eq!(
        found,
        [
            "ORIGINATION_IDENTITY names a Notify configuration, which only the provider `end-user-messaging` has: set \
          OTP_PROVIDER to it."
        ]
    );
    let of_country = [
        &pinpoint[..],
        &[
            ("ORIGINATION_IDENTITY", "+12065550100"),
            ("ORIGINATION_IDENTITIES", "GB=nc-1234567890abcdef0"),
        ],
    ]
    .concat();
    let found = problems("{}", &of_country);
    assert!(
        found.len() == 1 && found[0].starts_with("ORIGINATION_IDENTITIES names"),
        "{found:?}"
    );
    // The previous provider sends nothing.
    let previous = [
        &pinpoint[..],
        &[
            ("OTP_PREVIOUS_PROVIDER", "end-user-messaging"),
            ("ORIGINATION_IDENTITY", "+12065550100"),
        ],
    ]
    .concat();
    assert_eq!(problems("{}", &previous), Vec::<String>::new());
}

/// With other senders beside it, the settings for their texts and countries still have a meaning.
#[test]
fn beside_other_senders_only_the_limits_of_its_own_messages_hold() {
    let beside = [
        ("ORIGINATION_IDENTITY", "+12065550100"),
        ("ORIGINATION_IDENTITIES", "GB=nc-1234567890abcdef0"),
        ("ALLOWED_COUNTRIES", "US,GB,JM"),
        ("WEBOTP_DOMAIN", "example.com"),
        ("DO_NOT_SHARE_LINE", "off"),
        ("LANGUAGE", "ja-JP"),
        ("BUDGETS", "5000/24h"),
        ("SEND_LIMITS", "20/24h"),
    ];
    let found = problems(TEMPLATES, &[LEDGER, &beside[..]].concat());
    assert_eq!(found, Vec::<String>::new());
    let everywhere = [&beside[..], &[("ALLOWED_COUNTRIES", "*")]].concat();
    let found = problems(TEMPLATES, &[LEDGER, &everywhere[..]].concat());
    assert_eq!(
        found,
        Vec::<String>::new(),
        "only GB goes through the Notify configuration"
    );
    // The control: its own country must be one that it sends to.
    let jamaica = [
        &beside[..],
        &[("ORIGINATION_IDENTITIES", "JM=nc-1234567890abcdef0")],
    ]
    .concat();
    let found = problems(TEMPLATES, &[LEDGER, &jamaica[..]].concat());
    assert!(
        found.len() == 1 && found[0].starts_with("ALLOWED_COUNTRIES has JM,"),
        "{found:?}"
    );
}

#[test]
fn the_budgets_of_the_basic_tier_begin_below_its_quota() {
    let caps = |file: &str, changes: &[(&str, &str)]| {
        let settings =
            read(file, &[LEDGER, changes].concat()).map_err(|problems| problems.join(" "));
        settings.map(|settings| settings.ledger.unwrap().policy.budgets.all)
    };
    let budget = |cap, period| Budget {
        unit: Unit::Messages,
        cap,
        period,
    };
    let low = vec![budget(50, Period::Hour), budget(180, Period::Day)];
    assert_eq!(caps(TEMPLATES, &[]).unwrap(), low);
    // The template of the stack sets the default of the settings table.
    assert_eq!(
        caps(TEMPLATES, &[("BUDGETS", "500/1h,2000/24h")]).unwrap(),
        low
    );
    assert_eq!(
        caps(TEMPLATES, &[("BUDGETS", "200/24h")]).unwrap(),
        [budget(200, Period::Day)]
    );
    assert_eq!(
        caps(TEMPLATES, &[("BUDGETS", "8/1h")]).unwrap(),
        [budget(8, Period::Hour)]
    );
    for bad in ["201/24h", "9/1h", "none", "500/1h,2000/12h"] {
        let said = caps(TEMPLATES, &[("BUDGETS", bad)]).unwrap_err();
        assert!(said.starts_with("BUDGETS must"), "{bad}: {said}");
    }
    // Two configurations have two quotas, and the advanced tier has none.
    let two = [
        ("ORIGINATION_IDENTITIES", "GB=nc-00000000000000000"),
        ("BUDGETS", "400/24h"),
    ];
    assert_eq!(caps(TEMPLATES, &two).unwrap(), [budget(400, Period::Day)]);
    let advanced = TEMPLATES.replace(r#""templates""#, r#""tier": "advanced", "templates""#);
    assert_eq!(
        caps(&advanced, &[("ALLOWED_COUNTRIES", "US,JM")]).unwrap(),
        [budget(500, Period::Hour), budget(2000, Period::Day)]
    );
    for (limits, fits) in [
        ("10/24h", true),
        ("3/10m,10/30d", true),
        ("11/24h", false),
        ("10/23h", false),
    ] {
        for file in [TEMPLATES, &advanced] {
            let found = problems(file, &[LEDGER, &[("SEND_LIMITS", limits)]].concat());
            assert_eq!(found.is_empty(), fits, "{limits}: {found:?}");
            assert!(found.iter().all(|problem| {
                problem.starts_with("SEND_LIMITS must have a limit of at most 10/24h")
            }));
        }
    }
}

#[test]
fn the_limits_of_the_provider_are_those_of_the_notify_configuration() {
    let settings = read(TEMPLATES, &[("CHANNELS", "sms,voice")])
        .map_err(|_| ())
        .unwrap();
    let OneProvider::EndUserMessaging(_) = &settings.provider.current else {
        panic!()
    };
    let limits = settings.provider.current.limits();
    assert_eq!(
        (limits.brand_name.clone(), limits.code.length.clone()),
        (1..=15, 4..=8)
    );
    let languages: BTreeMap<_, Vec<String>> = limits
        .channels
        .iter()
        .map(|own| {
            (
                own.channel.name(),
                own.languages.iter().map(ToString::to_string).collect(),
            )
        })
        .collect();
    assert_eq!(languages["sms"], ["en", "de"]);
    assert_eq!(languages["voice"], ["en"]);
}

#[tokio::test]
async fn a_send_names_the_template_and_no_text() {
    let file = Packaged::new(TEMPLATES);
    let settings = [&sender(ARN)[..], &[file.setting()]].concat();
    let body = json!({ "destinationNumber": NUMBER, "language": "de-AT" });
    let sent = r#"{"verificationId":"v-1","messageId":"m-1"}"#;
    let (wire, said) = exchange(&settings, &post("/otp/send", &body.to_string()), sent).await;
    assert_eq!(said["statusCode"], 202);
    assert_eq!(
        wire.body,
        json!({
            "channel": "TEXT", "destinationIdentity": NUMBER, "originationIdentity": ARN,
            "overrideChannelParameters": { "notify": { "notifyTemplateId": "notify-code-verification-german-001" } },
            "overrideCodeConfigurationParameters": {
                "codeType": "NUMERIC", "codeLength": 6, "validityPeriodMinutes": 10, "maxAttempts": 3,
            },
            "referenceId": wire.body["referenceId"],
        })
    );
}

#[tokio::test]
async fn a_code_of_a_notify_configuration_arrives_and_verifies() {
    let world = world("nc-desk-basic", &[("CHANNELS", "sms,voice")]).await;
    let code = world.code_on_the_phone().await;
    let message = world.simulator.newest_to(NUMBER).unwrap();
    assert_eq!(
        message.text,
        format!("Your ExampleCorp verification code is {code}.")
    );
    assert_eq!(message.template.as_deref(), Some(ENGLISH));
    let guess = json!({ "destinationNumber": NUMBER, "otp": code });
    assert_eq!(world.post("/otp/verify", &guess).await.status, 200);

    world.advance(Duration::from_secs(1));
    let answer = world
        .post("/otp/send", &send_to("+14255550143", "voice"))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let call = world.simulator.newest_to("+14255550143").unwrap();
    assert_eq!(call.channel, Channel::Voice);
    assert!(
        call.text.starts_with("This is ExampleCorp."),
        "{}",
        call.text
    );
}

/// The text has the display name, so a request cannot ask for another brand.
#[tokio::test]
async fn a_request_cannot_change_the_brand() {
    let world = world("nc-desk-basic", &[]).await;
    let body = json!({ "destinationNumber": NUMBER, "brandName": "Acme" });
    let answer = world.post("/otp/send", &body).await;
    answer.is_problem(400, "invalid_parameter");
    assert_eq!(world.simulator.requests(Operation::Send).len(), 0);
    let body = json!({ "destinationNumber": NUMBER, "brandName": "ExampleCorp" });
    assert_eq!(world.post("/otp/send", &body).await.status, 202);
}

#[tokio::test]
async fn each_refusal_of_a_notify_configuration_has_an_error_code_and_a_hint() {
    for (configuration, channel, status, code, hint) in [
        (
            "nc-desk-unknown",
            "sms",
            500,
            "misconfigured",
            "does not know the Notify configuration",
        ),
        (
            "nc-desk-pending",
            "sms",
            500,
            "misconfigured",
            "status ACTIVE",
        ),
        (
            "nc-desk-rejected",
            "sms",
            500,
            "misconfigured",
            "if AWS has rejected it",
        ),
        (
            "nc-desk-unverified",
            "sms",
            500,
            "misconfigured",
            "status ACTIVE",
        ),
        (
            "nc-desk-texts-only",
            "voice",
            502,
            "provider_rejected",
            "channel and the country",
        ),
        (
            "nc-desk-calls-only",
            "sms",
            502,
            "provider_rejected",
            "channel and the country",
        ),
        (
            "nc-desk-canada-only",
            "sms",
            502,
            "provider_rejected",
            "channel and the country",
        ),
    ] {
        let world = world(configuration, &[("CHANNELS", "sms,voice")]).await;
        let answer = world.post("/otp/send", &send_to(NUMBER, channel)).await;
        answer.is_problem(status, code);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(hint), "{configuration}: {detail}");
        assert_eq!(answer.body.get("delivery"), None, "{configuration}");
        assert_eq!(world.simulator.inbox().len(), 0, "{configuration}");
    }
}

/// Templates that do not exist, are inactive, or are for another channel, tier or country.
#[tokio::test]
async fn each_refusal_of_a_template_has_an_error_code() {
    for (template, status, code) in [
        ("not-a-template", 500, "misconfigured"),
        (
            "notify-code-verification-english-002",
            502,
            "provider_rejected",
        ),
        (
            "notify-code-verification-english-003",
            502,
            "provider_rejected",
        ),
        (
            "notify-code-verification-english-004",
            502,
            "provider_rejected",
        ),
        (
            "notify-code-verification-english-voice-001",
            502,
            "provider_rejected",
        ),
        (ENGLISH, 202, "no code"),
    ] {
        let file = Packaged::new(&TEMPLATES.replacen(ENGLISH, template, 1));
        let world = World::with(&[&sender("nc-desk-basic")[..], &[file.setting()]].concat()).await;
        let answer = world
            .post("/otp/send", &send_to("+447700900123", "sms"))
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{template}: {answer:?}"
        );
    }
    // The control: this template is for the advanced tier.
    let advanced = TEMPLATES.replacen(ENGLISH, "notify-code-verification-english-002", 1);
    let file =
        Packaged::new(&advanced.replace(r#""templates""#, r#""tier": "advanced", "templates""#));
    let world = World::with(&[&sender("nc-desk-advanced")[..], &[file.setting()]].concat()).await;
    assert_eq!(
        world
            .post("/otp/send", &send_to(NUMBER, "sms"))
            .await
            .status,
        202
    );
}

#[tokio::test]
async fn the_quotas_of_aws_are_told_apart_from_its_rate() {
    let world = world("nc-desk-basic", &[]).await;
    let send = |number: String| {
        let world = &world;
        async move { world.post("/otp/send", &send_to(&number, "sms")).await }
    };
    assert_eq!(send("+14255550142".to_owned()).await.status, 202);
    let fast = send("+14255550143".to_owned()).await;
    fast.is_problem(503, "provider_throttled");
    assert_eq!(fast.headers["retry-after"], "2");
    assert!(
        fast.body["detail"]
            .as_str()
            .unwrap()
            .contains("1 message a second")
    );

    for sent in 2..=10 {
        world.advance(Duration::from_secs(1));
        assert_eq!(send("+14255550142".to_owned()).await.status, 202, "{sent}");
    }
    world.advance(Duration::from_secs(1));
    let number = send("+14255550142".to_owned()).await;
    number.is_problem(503, "provider_throttled");
    assert!(
        number.body["detail"]
            .as_str()
            .unwrap()
            .contains("10 a day to one number")
    );

    for sent in 0..190 {
        world.advance(Duration::from_secs(1));
        let answer = send(format!("+1206555{:04}", 2000 + sent)).await;
        assert_eq!(answer.status, 202, "{sent}: {answer:?}");
    }
    world.advance(Duration::from_secs(1));
    let day = send("+12065553000".to_owned()).await;
    day.is_problem(503, "provider_throttled");
    assert!(
        day.body["detail"]
            .as_str()
            .unwrap()
            .contains("200 messages a day")
    );
    world.advance(Duration::from_hours(24));
    assert_eq!(send("+12065553000".to_owned()).await.status, 202);
}

/// Our own limits refuse before AWS does, with a reason and a time.
#[tokio::test]
async fn our_limits_are_reached_before_those_of_aws() {
    let file = Packaged::new(TEMPLATES);
    let settings = [
        &sender("nc-desk-basic")[..],
        // All messages go to one country and one prefix.
        &[
            file.setting(),
            ("PREFIX_LIMITS", "none"),
            ("COUNTRY_LIMITS", "*=none"),
        ],
    ]
    .concat();
    let world = World::counted(&settings).await;
    // Budgets end at midnight.
    let since_1970 = world.simulator.now().duration_since(SystemTime::UNIX_EPOCH);
    let today = Duration::from_secs(since_1970.unwrap().as_secs() % 86_400);
    world.advance(Duration::from_hours(24).checked_sub(today).unwrap());
    let mut sent = 0;
    let refused = loop {
        world.advance(Duration::from_mins(2));
        let answer = world
            .post(
                "/otp/send",
                &send_to(&format!("+1206555{:04}", 2000 + sent), "sms"),
            )
            .await;
        if answer.status != 202 {
            break answer;
        }
        sent += 1;
    };
    refused.is_problem(429, "rate_limited");
    assert_eq!(
        (refused.body["limit"].as_str(), sent),
        (Some("budget"), 180)
    );
    assert_eq!(world.simulator.requests(Operation::Send).len(), sent);
}
