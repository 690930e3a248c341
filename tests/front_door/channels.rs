//! SMS, calls and WhatsApp: the choice of a channel, its messages, and the channels that a response offers next.

use crate::money::{LONG_BRAND, SEGMENT, priced};
use crate::with::says;
use crate::world::{Answer, NUMBER, World};
use otp_lambda::texts::segments;
use serde_json::{Value, json};
use simulator::{Channel, Operation};
use std::time::Duration;

const ALL: (&str, &str) = ("CHANNELS", "sms,voice,whatsapp");
const TEMPLATE: (&str, &str) = ("WHATSAPP_TEMPLATE", "verification_code");

async fn send_by(world: &World, channel: &str) -> Answer {
    world
        .post(
            "/otp/send",
            &json!({ "destinationNumber": NUMBER, "channel": channel }),
        )
        .await
}

fn asked(world: &World) -> Value {
    world
        .simulator
        .requests(Operation::Send)
        .last()
        .unwrap()
        .body
        .clone()
}

#[tokio::test]
async fn a_caller_can_choose_any_channel_that_the_operator_allows() {
    let world = World::with(&[("CHANNELS", "voice,sms")]).await;
    let answer = send_by(&world, "whatsapp").await;
    answer.is_problem(400, "invalid_parameter");
    assert_eq!(answer.body["detail"], "channel must be one of voice, sms.");
    for wrong in ["call", "SMS", "VOICE", ""] {
        send_by(&world, wrong)
            .await
            .is_problem(400, "invalid_parameter");
    }
    assert!(world.simulator.requests(Operation::Send).is_empty());
    // The first channel is the default.
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    assert_eq!(
        (answer.status, &answer.body["channel"]),
        (202, &json!("voice"))
    );
    assert_eq!(send_by(&world, "sms").await.body["channel"], "sms");
}

#[tokio::test]
async fn only_fixed_and_mobile_numbers_are_called() {
    let types = "mobile,fixed-or-mobile,fixed,voip,unassigned,premium,personal";
    let world = World::with(&[
        ("CHANNELS", "sms,voice"),
        ("ALLOWED_COUNTRIES", "*"),
        ("ALLOWED_NUMBER_TYPES", types),
    ])
    .await;
    let send = async |number: &str, channel: &str| {
        let body = json!({ "destinationNumber": number, "channel": channel });
        world.post("/otp/send", &body).await
    };
    for number in ["+19005550142", "+447012345678", "+445612345678"] {
        let answer = send(number, "voice").await;
        answer.is_problem(403, "number_type_not_allowed");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("Only fixed and mobile numbers are called"));
        assert_eq!(send(number, "sms").await.status, 202, "{number}");
    }
    for number in [NUMBER, "+447400123456", "+442079460123"] {
        assert_eq!(send(number, "voice").await.status, 202, "{number}");
    }
}

#[tokio::test]
async fn a_call_says_the_digits_one_by_one_twice() {
    let world = World::with(&[
        ALL,
        TEMPLATE,
        ("ORIGINATION_IDENTITIES", "GB=EXAMPLE,voice=+12065550101"),
    ])
    .await;
    let answer = send_by(&world, "voice").await;
    assert_eq!(
        (answer.status, &answer.body["channel"]),
        (202, &json!("voice")),
        "{answer:?}"
    );
    let asked = asked(&world);
    assert_eq!(
        (&asked["channel"], &asked["originationIdentity"]),
        (&json!("VOICE"), &json!("+12065550101"))
    );
    let voice = &asked["overrideChannelParameters"]["voice"];
    assert_eq!(
        (&voice["languageCode"], &voice["voiceMessageBodyTextType"]),
        (&json!("en-US"), &json!("SSML"))
    );
    assert!(voice["voiceId"].as_str().is_some_and(|id| !id.is_empty()));
    let heard = world.simulator.newest_to(NUMBER).unwrap();
    assert_eq!(heard.channel, Channel::Voice);
    let digits = heard
        .code
        .chars()
        .map(String::from)
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(heard.text.matches(&digits).count(), 2, "{}", heard.text);
    let answer = world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": heard.code }),
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn whatsapp_sends_the_approved_template_in_one_of_its_languages() {
    let settings = [
        ALL,
        TEMPLATE,
        ("WHATSAPP_LANGUAGES", "en-US,pt-BR"),
        ("ORIGINATION_IDENTITIES", "whatsapp=wa-1"),
    ];
    let world = World::with(&settings).await;
    for (wish, language) in [
        (None, "en-US"),
        (Some("pt-PT"), "pt-BR"),
        (Some("de-DE"), "en-US"),
    ] {
        let body = json!({ "destinationNumber": NUMBER, "channel": "whatsapp", "language": wish.unwrap_or("en-US") });
        let answer = world.post("/otp/send", &body).await;
        assert_eq!(
            (answer.status, &answer.body["channel"]),
            (202, &json!("whatsapp")),
            "{answer:?}"
        );
        let asked = asked(&world);
        assert_eq!(
            (&asked["channel"], &asked["originationIdentity"]),
            (&json!("WHATSAPP"), &json!("wa-1"))
        );
        let parameters = json!({ "whatsApp": { "whatsAppTemplateName": "verification_code", "languageCode": language } });
        assert_eq!(asked["overrideChannelParameters"], parameters, "{wish:?}");
    }
    let message = world.simulator.newest_to(NUMBER).unwrap();
    assert_eq!(message.channel, Channel::WhatsApp);
}

#[tokio::test]
async fn the_most_specific_origination_identity_is_used() {
    let identities = "GB=EXAMPLE, voice=+12065550101, GB/voice=+447700900001";
    let world = World::with(&[ALL, TEMPLATE, ("ORIGINATION_IDENTITIES", identities)]).await;
    for (number, channel, identity) in [
        ("+447700900123", "sms", "EXAMPLE"),
        ("+447700900123", "voice", "+447700900001"),
        (NUMBER, "voice", "+12065550101"),
        (NUMBER, "sms", "+12065550100"),
        ("+447700900123", "whatsapp", "EXAMPLE"),
    ] {
        world
            .post(
                "/otp/send",
                &json!({ "destinationNumber": number, "channel": channel }),
            )
            .await;
        assert_eq!(
            asked(&world)["originationIdentity"],
            identity,
            "{number} {channel}"
        );
    }
}

#[tokio::test]
async fn a_resend_offers_the_channels_after_the_one_that_was_used() {
    let world = World::counted(&[ALL, TEMPLATE]).await;
    let first = send_by(&world, "sms").await;
    assert_eq!(
        (first.status, first.body.get("next")),
        (202, None),
        "the first send offers no other channel"
    );
    world.advance(Duration::from_secs(30));
    let again = send_by(&world, "sms").await;
    assert_eq!(
        (again.status, &again.body["next"]),
        (202, &json!(["voice", "whatsapp"])),
        "{again:?}"
    );
    assert_eq!(again.body["referenceId"], first.body["referenceId"]);
    world.advance(Duration::from_mins(1));
    let last = send_by(&world, "voice").await;
    assert_eq!(
        (last.status, last.body.get("next")),
        (202, None),
        "no more codes may be sent: {last:?}"
    );
    // All channels share one verification, with one count of attempts. Its newest code is valid.
    let status = world
        .post("/otp/status", &json!({ "destinationNumber": NUMBER }))
        .await;
    assert_eq!(
        (&status.body["channel"], &status.body["attemptsLeft"]),
        (&json!("voice"), &json!(3))
    );
    let answer = world
        .post(
            "/otp/verify",
            &json!({ "destinationNumber": NUMBER, "otp": world.newest_code() }),
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn an_idempotency_key_replays_the_offered_channels() {
    let world = World::counted(&[ALL, TEMPLATE]).await;
    send_by(&world, "sms").await;
    world.advance(Duration::from_secs(30));
    let mut event = crate::world::post(
        "/otp/send",
        &json!({ "destinationNumber": NUMBER }).to_string(),
    );
    event["headers"]["Idempotency-Key"] = json!("a1");
    let answers = [world.event(&event).await, world.event(&event).await];
    for answer in &answers {
        assert_eq!(
            (answer.status, &answer.body["next"]),
            (202, &json!(["voice", "whatsapp"])),
            "{answer:?}"
        );
    }
    assert_eq!(world.simulator.requests(Operation::Send).len(), 2);
    // With another channel it is another request.
    let mut other = crate::world::post(
        "/otp/send",
        &json!({ "destinationNumber": NUMBER, "channel": "voice" }).to_string(),
    );
    other["headers"]["Idempotency-Key"] = json!("a1");
    world
        .event(&other)
        .await
        .is_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_call_counts_in_the_windows_like_an_sms() {
    let world = World::counted(&[("CHANNELS", "sms,voice"), ("SEND_LIMITS", "1/10m")]).await;
    assert_eq!(send_by(&world, "sms").await.status, 202);
    world.advance(Duration::from_mins(9));
    send_by(&world, "voice")
        .await
        .is_problem(429, "resend_too_soon");
}

#[tokio::test]
async fn the_closest_language_is_used_and_a_malformed_tag_is_rejected() {
    let world = World::with(&[("LANGUAGE", "fr-FR"), ("ALLOWED_COUNTRIES", "US,MX,BR")]).await;
    for (number, wish, language) in [
        (NUMBER, json!("de"), "de-DE"),
        (NUMBER, json!("es-AR"), "es-419"),
        (NUMBER, json!("zh-Hant-HK"), "zh-TW"),
        (NUMBER, json!("PT-br"), "pt-BR"),
        (NUMBER, json!("xx-XX"), "fr-FR"),
        (NUMBER, json!("country"), "en-US"),
        ("+5511912345678", json!("country"), "pt-BR"),
        ("+525512345678", json!("country"), "es-419"),
    ] {
        let answer = world
            .post(
                "/otp/send",
                &json!({ "destinationNumber": number, "language": wish }),
            )
            .await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(
            world.asked_to_send()["says"],
            says(language, "ExampleCorp"),
            "{wish}"
        );
    }
    for wish in [
        "",
        "e",
        "en_",
        "en US",
        "12-34",
        "en-US-",
        "x".repeat(36).as_str(),
        "en\nUS",
    ] {
        let answer = world
            .post(
                "/otp/send",
                &json!({ "destinationNumber": NUMBER, "language": wish }),
            )
            .await;
        answer.is_problem(400, "invalid_parameter");
        assert_eq!(answer.body["field"], "language", "{wish:?}");
    }
    let by_country = World::with(&[("LANGUAGE", "country"), ("ALLOWED_COUNTRIES", "BR")]).await;
    by_country
        .post(
            "/otp/send",
            &json!({ "destinationNumber": "+5511912345678" }),
        )
        .await;
    assert_eq!(
        by_country.asked_to_send()["says"],
        says("pt-BR", "ExampleCorp")
    );
}

#[tokio::test]
async fn the_letters_of_a_code_may_be_typed_in_any_case() {
    for (kind, characters, wrong) in [
        ("alphabetic", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABC123"),
        (
            "alphanumeric",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
            "ABC-12",
        ),
    ] {
        let world = World::counted(&[("CODE_TYPE", kind)]).await;
        let code = world.code_on_the_phone().await;
        assert!(
            code.len() == 6 && code.chars().all(|c| characters.contains(c)),
            "{code}"
        );
        let verify = |otp: String| json!({ "destinationNumber": NUMBER, "otp": otp });
        let answer = world.post("/otp/verify", &verify(wrong.to_owned())).await;
        answer.is_problem(400, "invalid_parameter");
        let answer = world
            .post("/otp/verify", &verify(code.to_lowercase()))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn a_call_is_charged_to_the_budget_at_its_own_price() {
    let path = std::env::temp_dir().join(format!("otp-lambda-voice-{}.json", std::process::id()));
    std::fs::write(
        &path,
        r#"{"prices": {"US": 0.01, "*": 0.05, "US/voice": 0.9, "*/voice": 2}}"#,
    )
    .unwrap();
    let world = World::counted(&[
        ("CHANNELS", "sms,voice"),
        ("BUDGETS", "1USD/24h"),
        ("SEND_LIMITS", "20/24h"),
        ("CONFIG_FILE", path.to_str().unwrap()),
    ])
    .await;
    let _ = std::fs::remove_file(&path);
    let send = async |number: &str, channel: &str| {
        world
            .post(
                "/otp/send",
                &json!({ "destinationNumber": number, "channel": channel }),
            )
            .await
    };
    assert_eq!(send("+14255550120", "voice").await.status, 202);
    let answer = send("+14255550121", "voice").await;
    answer.is_problem(429, "rate_limited");
    assert_eq!(answer.body["limit"], "budget");
    assert_eq!(
        send("+14255550122", "sms").await.status,
        202,
        "ten cents are left"
    );
}

#[tokio::test]
async fn what_is_spent_is_the_segments_of_the_text_on_the_phone_and_one_for_calls_and_whatsapp() {
    let lines = [
        ("WEBOTP_DOMAIN", "example.com"),
        ("ANDROID_APP_HASH", "FA+9qCX9VSu"),
    ];
    let limits = [("BUDGETS", "99USD/24h"), ("SEND_LIMITS", "20/24h")];
    let mut counts = Vec::new();
    for settings in [&[][..], &lines[..1], &lines[1..], &lines[..]] {
        let world = priced("phone", &[&limits, &[ALL, TEMPLATE], settings].concat()).await;
        let brands = ["Acme", "Joe’s Diner", LONG_BRAND];
        let texts = ["en-US", "fr-FR", "el-GR", "zh-CN"]
            .iter()
            .flat_map(|language| brands.map(|brand| (*language, brand)));
        for (nth, (language, brand)) in texts.enumerate() {
            let number = format!("+14255560{}", 100 + nth);
            let send = async |channel: &str| {
                let before = world.spent("u");
                let body = json!({
                    "destinationNumber": number, "channel": channel, "language": language, "brandName": brand,
                    "referenceId": channel,
                });
                let answer = world.post("/otp/send", &body).await;
                assert_eq!(answer.status, 202, "{answer:?}");
                world.spent("u") - before
            };
            assert_eq!(send("voice").await, 700_000);
            assert_eq!(send("whatsapp").await, 300_000);
            let spent = send("sms").await;
            let text = world.simulator.newest_to(&number).unwrap().text;
            let count = segments(&text, 0).count;
            assert_eq!(spent, SEGMENT * count as u64, "{text}");
            counts.push(count);
        }
    }
    // The control: there were texts of each length.
    assert!(
        [1, 2, 3].iter().all(|count| counts.contains(count)),
        "{counts:?}"
    );
}
