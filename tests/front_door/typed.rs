//! Input as people type and paste it: it means what its plain spelling means, and nothing else gets in.

use super::origins::DOORS;
use crate::pool::{HALF_A_MINUTE, Next, SignIn, User, user};
use crate::with::{asked_to_verify, says};
use crate::world::{Answer, NUMBER, World, file, post};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use simulator::{Failure, Operation, sized};
use std::net::IpAddr;
use std::time::Duration;

/// The digits of scripts that people type numbers in.
const SCRIPTS: [&str; 8] = [
    "0123456789",
    "٠١٢٣٤٥٦٧٨٩",
    "۰۱۲۳۴۵۶۷۸۹",
    "०१२३४५६७८९",
    "０１２３４５６７８９",
    "০১২৩৪৫৬৭৮৯",
    "๐๑๒๓๔๕๖๗๘๙",
    "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗",
];

/// Characters that nobody sees.
const INVISIBLE: &str = "[\\p{Cf}\u{fe00}-\u{fe0f}]{0,2}";

/// A character between digits. Line breaks and tabs are left out, because they may separate two numbers.
const SEPARATOR: &str = "[\\p{Zs}\\p{Pd}\u{2212}]?";

/// A text of digits and a plus as somebody may have typed it.
fn typed(plain: &str) -> impl Strategy<Value = String> + use<> {
    let parts: Vec<_> = plain.chars().map(typed_character).collect();
    let ends = "[\\s\\p{Cf}]{0,3}";
    (ends, parts, ends).prop_map(|(before, parts, after)| {
        let inside: String = parts.into_iter().map(|(_, part)| part).collect();
        format!("{before}{}{after}", inside.trim())
    })
}

fn typed_character(plain: char) -> BoxedStrategy<(char, String)> {
    let Some(digit) = plain.to_digit(10) else {
        return (select(vec!["+", "＋"]), INVISIBLE)
            .prop_map(move |(plus, after)| (plain, format!("{plus}{after}")))
            .boxed();
    };
    let digit = usize::try_from(digit).unwrap();
    (select(&SCRIPTS[..]), INVISIBLE, SEPARATOR)
        .prop_map(move |(script, invisible, separator)| {
            let written = script.chars().nth(digit).unwrap();
            (plain, format!("{written}{invisible}{separator}"))
        })
        .boxed()
}

/// A code that a person copies from a message, with the full stop of its sentence.
fn typed_code(code: &str) -> impl Strategy<Value = String> + use<> {
    (typed(code), select(vec!["", ".", "。", "．"]))
        .prop_map(|(code, stop)| format!("{}{stop}", code.trim_end()))
        .prop_filter("no person types more", |code| code.chars().count() <= 32)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// The event of `events/` for this operation and origin, with this body.
fn through(door: &str, operation: &str, body: &Value) -> Value {
    let mut event = file(&format!("{operation}.{door}"));
    event["body"] = json!(body.to_string());
    event["isBase64Encoded"] = json!(false);
    event
}

async fn trusting() -> World {
    World::counted(&[("API_AUTH", "trusted")]).await
}

async fn guess(world: &World, otp: &str) -> Answer {
    let body = json!({ "destinationNumber": NUMBER, "otp": otp });
    world.post("/otp/verify", &body).await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: sized(24, 300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_number_is_the_same_number_however_it_is_typed(number in typed(NUMBER), door in select(&DOORS[..])) {
        run(async {
            let world = trusting().await;
            let answer = world.event(&through(door, "send", &json!({ "destinationNumber": number }))).await;
            assert_eq!(answer.status, 202, "{number:?}: {answer:?}");
            assert_eq!(world.asked_to_send()["to"], NUMBER, "{number:?}");
            // The limits and the verification are those of the plain number.
            world.post("/otp/send", &json!({ "destinationNumber": NUMBER })).await.is_problem(429, "resend_too_soon");
            let body = json!({ "destinationNumber": number, "otp": world.newest_code() });
            assert_eq!(world.event(&through(door, "verify", &body)).await.status, 200);
        });
    }

    #[test]
    fn a_code_is_the_same_code_however_it_is_typed(otp in typed_code("0123456789"), door in select(&DOORS[..])) {
        // The drawn text has each digit once: each digit of the code is written as it is there.
        run(async {
            let world = trusting().await;
            world.code_on_the_phone().await;
            let otp = dressed(&world.newest_code(), &otp);
            let body = json!({ "destinationNumber": NUMBER, "otp": otp });
            let answer = world.event(&through(door, "verify", &body)).await;
            assert_eq!(answer.status, 200, "{otp:?}: {answer:?}");
            let asked = world.simulator.requests(Operation::Verify);
            assert_eq!(asked_to_verify(&asked.last().unwrap().body)["otp"], world.newest_code());
        });
    }

    #[test]
    fn a_sign_in_takes_a_code_however_it_is_typed(otp in typed_code("0123456789")) {
        run(async {
            let world = crate::pool::world(&[]).await;
            let mut sign_in = SignIn::begin(&world, &user()).await;
            let otp = dressed(&world.newest_code(), &otp);
            assert_eq!(sign_in.answer(&world, &otp).await, Next::Tokens, "{otp:?}");
        });
    }

    /// The database of the regular expressions knows the digits of all scripts.
    #[test]
    fn the_digits_of_every_script_are_digits(digit in "\\p{Nd}", other in "[^\\p{Nd}]") {
        let read = |c: &str| otp_lambda::typed::number(&format!("+{c}")).into_owned();
        let value = read(&digit);
        assert!(value[1..].parse::<u8>().is_ok_and(|value| value < 10), "{digit:?}");
        let next: String = digit.chars().map(|c| char::from_u32(u32::from(c) + 1).unwrap()).collect();
        let value: u8 = value[1..].parse().unwrap();
        let after = read(&next);
        assert!(value == 9 || after == format!("+{}", value + 1), "{digit:?}");
        assert!(read(&other)[1..].parse::<u8>().is_err(), "{other:?}");
    }

    /// No text gets in by being made plain that has other digits, or a letter.
    #[test]
    fn a_letter_in_a_number_or_a_code_is_refused(number in typed(NUMBER), otp in typed_code("012345"), letter in "[\\p{L}\\p{So}#*,;:]", at in any::<prop::sample::Index>()) {
        // Japanese keyboards give these for a dash.
        prop_assume!(!"ーｰ".contains(&letter));
        run(async {
            let world = trusting().await;
            let number = with_letter(number.trim(), &letter, at);
            world.post("/otp/send", &json!({ "destinationNumber": number })).await.is_problem(422, "invalid_phone_number");
            let otp = with_letter(otp.trim(), &letter, at);
            guess(&world, &otp).await.is_problem(400, "invalid_parameter");
            assert!(world.simulator.requests(Operation::Verify).is_empty());
        });
    }

    #[test]
    fn a_key_is_any_printable_text_and_the_same_in_quotes(key in "[ -~]{1,64}") {
        prop_assume!(key.trim() == key && !(key.starts_with('"') && key.ends_with('"') && key.len() > 1));
        run(async {
            let world = World::counted(&[]).await;
            let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            let mut event = post("/otp/send", &json!({ "destinationNumber": NUMBER }).to_string());
            let mut bodies = Vec::new();
            // Two headers may have been joined with a comma, so an unquoted key has none.
            let plain = (!key.contains(',')).then_some(&key);
            for key in plain.into_iter().chain([&quoted, &quoted]) {
                event["headers"]["idempotency-key"] = json!(key);
                let answer = world.event(&event).await;
                assert_eq!(answer.status, 202, "{key:?}: {answer:?}");
                bodies.push(answer.body);
            }
            assert_eq!(bodies[0], bodies[1]);
            assert_eq!(world.messages_sent(), 1);
            // The control: another key is another request.
            event["headers"]["idempotency-key"] = json!("~another~");
            world.event(&event).await.is_problem(429, "resend_too_soon");
        });
    }

    #[test]
    fn a_forwarded_address_is_the_same_with_its_port(address: IpAddr, port: u16, before in "(192\\.0\\.2\\.1:7, )?") {
        prop_assume!(!address.is_unspecified());
        run(async {
            let world = World::counted(&[("API_AUTH", "none"), ("SOURCE_LIMITS", "1/24h"), ("SOURCE_NETWORK_LIMITS", "9/24h")]).await;
            let bracketed = match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            for (number, written, status) in [
                (NUMBER, format!("{bracketed}:{port}"), 202),
                ("+14255550143", bracketed, 429),
                ("+14255550144", address.to_string(), 429),
            ] {
                let mut event = through("alb", "send", &json!({ "destinationNumber": number }));
                event["headers"]["x-forwarded-for"] = json!(format!("{before}{written}"));
                let answer = world.event(&event).await;
                assert_eq!(answer.status, status, "{written}: {answer:?}");
            }
        });
    }

    #[test]
    fn a_locale_is_the_language_of_its_tag(tag in select(vec!["de-DE", "pt-BR", "zh-TW", "fr-FR"]), mark in select(vec!["-", "_"]), encoding in "(\\.UTF-8|@euro|\\.utf8@x|,de;q=0\\.9|;q=1)?", ends in "[ \t\u{200e}]{0,2}", upper: bool) {
        run(async {
            let world = World::new().await;
            let tag_as_typed = tag.replace('-', mark);
            let tag_as_typed = if upper { tag_as_typed.to_uppercase() } else { tag_as_typed };
            let wish = format!("{ends}{tag_as_typed}{ends}{encoding}");
            let answer = world.post("/otp/send", &json!({ "destinationNumber": NUMBER, "language": wish })).await;
            assert_eq!(answer.status, 202, "{wish:?}: {answer:?}");
            assert_eq!(world.asked_to_send()["says"], says(tag, "ExampleCorp"), "{wish:?}");
        });
    }
}

/// A code with its digits as they are written in `pattern`, a typed text with the ten digits in order.
fn dressed(code: &str, pattern: &str) -> String {
    let scripts = |c: char| SCRIPTS.iter().find(|script| script.contains(c));
    let mut written = code.chars();
    let mut dressed = String::new();
    for c in pattern.chars() {
        match scripts(c) {
            None => dressed.push(c),
            Some(script) => {
                let digit = written.next().and_then(|digit| digit.to_digit(10));
                dressed.extend(digit.and_then(|digit| script.chars().nth(digit as usize)));
            }
        }
    }
    dressed
}

/// The text with a letter after one of its characters, not at the front of a number.
fn with_letter(text: &str, letter: &str, at: prop::sample::Index) -> String {
    let characters: Vec<_> = text.chars().collect();
    let (before, after) = characters.split_at(at.index(characters.len()) + 1);
    let part = |part: &[char]| part.iter().collect::<String>();
    format!("{}{letter}{}", part(before), part(after))
}

#[tokio::test]
async fn what_people_paste_is_taken() {
    for number in [
        "\u{2068}+14255550142\u{2069}",
        "\u{202d}+14255550142\u{202c}",
        "\u{feff}+1 425 555 0142",
        "+1\u{a0}425\u{202f}555\u{a0}0142",
        "+1 425\u{2011}555\u{2011}0142",
        "+1 425–555–0142",
        "+1 (425) 555/0142",
        "+1（425）555．0142",
        "＋１４２５５５５０１４２",
        "\t+1 425\u{fe0d} 555 0142\n",
        "+1 425ー555ー0142",
    ] {
        let world = trusting().await;
        let answer = world
            .post("/otp/send", &json!({ "destinationNumber": number }))
            .await;
        assert_eq!(answer.status, 202, "{number:?}: {answer:?}");
        assert_eq!(world.asked_to_send()["to"], NUMBER);
    }
}

#[tokio::test]
async fn what_is_no_number_stays_refused() {
    let world = World::new().await;
    for number in [
        "",
        " ",
        "\u{200e}",
        "14255550142",
        "1 425 555 0142",
        "(+1) 425 555 0142",
        "-+14255550142",
        "++14255550142",
        "+1 425 555 0142 ext. 5",
        "+1 425 555 0142;ext=5",
        "tel:+14255550142",
        "+1425555o142",
        "+1 425 555\n0142",
        "+14255550142\u{2028}+14255550143",
        "+14255550142/+14255550143",
        "+14255550142/3",
        "+1425555014/243",
        "+1425555014／2",
        "+1425555\t0142",
        "+1425555⓪142",
        "+1425555⁰142",
        "+१४२५५५५०१४",
        "²",
    ] {
        world
            .post("/otp/send", &json!({ "destinationNumber": number }))
            .await
            .is_problem(422, "invalid_phone_number");
    }
    // Characters are counted and not bytes.
    let answer = world
        .post("/otp/send", &json!({ "destinationNumber": "Ж".repeat(20) }))
        .await;
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("starts with +"), "{detail}");
    assert!(world.simulator.inbox().is_empty());
}

#[tokio::test]
async fn two_idempotency_keys_are_refused_however_they_arrive() {
    let world = trusting().await;
    for keys in [
        "aaaaaaaaaaaaaaaa,bbbbbbbbbbbbbbbb",
        "\"aaaaaaaaaaaaaaaa\",\"bbbbbbbbbbbbbbbb\"",
        "a, b",
    ] {
        let mut event = post(
            "/otp/send",
            &json!({ "destinationNumber": NUMBER }).to_string(),
        );
        event["headers"]["idempotency-key"] = json!(keys);
        let answer = world.event(&event).await;
        answer.is_problem(400, "invalid_parameter");
        assert!(world.simulator.inbox().is_empty());
    }
}

#[tokio::test]
async fn what_is_no_code_stays_refused_and_costs_nothing() {
    let world = trusting().await;
    let code = world.code_on_the_phone().await;
    let twice = format!("{code} {code}");
    let padded = format!("{code}{}", " ".repeat(40));
    let prefixed = format!("G-{code}");
    for otp in [
        "",
        ".",
        "202a07",
        "O02707",
        "①②③④⑤⑥",
        "²³⁴⁵⁶⁷",
        "ⅠⅡⅢⅣⅤⅥ",
        "一二三四五六",
        &prefixed,
        &twice,
        &padded,
        "12345..",
        "12.345",
    ] {
        guess(&world, otp)
            .await
            .is_problem(400, "invalid_parameter");
    }
    let number: u64 = code.parse().unwrap();
    let body = json!({ "destinationNumber": NUMBER, "otp": number });
    world
        .post("/otp/verify", &body)
        .await
        .is_problem(400, "invalid_parameter");
    assert_eq!(world.provider_checks(), 0);
    assert_eq!(guess(&world, &code).await.status, 200);
}

#[tokio::test]
async fn letters_in_a_code_of_letters_may_be_full_width() {
    assert_eq!(otp_lambda::typed::code("５ＥＰ-ｋｈｚ."), "5EPkhz");
}

#[tokio::test]
async fn a_guess_of_another_length_is_free_and_told_so() {
    let world = trusting().await;
    let code = world.code_on_the_phone().await;
    let attempts = async || {
        let body = json!({ "destinationNumber": NUMBER });
        world.post("/otp/status", &body).await.body["attemptsLeft"].clone()
    };
    for otp in [&code[1..], &format!("{code}7"), &format!("{code}00")] {
        for _ in 0..3 {
            let answer = guess(&world, otp).await;
            answer.is_problem(400, "invalid_parameter");
            assert_eq!(answer.body["field"], "otp");
            assert_eq!(answer.body["detail"], "The code has 6 characters.");
        }
    }
    assert_eq!((attempts().await, world.provider_checks()), (json!(3), 0));
    // The control: a guess of the right length costs an attempt.
    let wrong = crate::pool::wrong(&code, 1);
    guess(&world, &wrong).await.is_problem(422, "invalid_code");
    assert_eq!((attempts().await, world.provider_checks()), (json!(2), 1));
    assert_eq!(guess(&world, &code).await.status, 200);
}

#[tokio::test]
async fn a_guess_of_another_length_is_told_that_the_verification_has_ended() {
    let world = trusting().await;
    guess(&world, "12345")
        .await
        .is_problem(404, "verification_not_found");
    let code = world.code_on_the_phone().await;
    world.advance(Duration::from_mins(11));
    guess(&world, &code[1..])
        .await
        .is_problem(410, "code_expired");
}

#[tokio::test]
async fn the_length_is_the_one_of_the_code_that_was_sent() {
    let world = trusting().await;
    let body = json!({ "destinationNumber": NUMBER, "codeLength": 8 });
    assert_eq!(world.post("/otp/send", &body).await.status, 202);
    let code = world.newest_code();
    let answer = guess(&world, &code[..7]).await;
    assert_eq!(answer.body["detail"], "The code has 8 characters.");
    assert_eq!(guess(&world, &code).await.status, 200);
}

#[tokio::test]
async fn a_test_number_takes_its_code_of_any_length() {
    let test_number = ("TEST_NUMBERS", "+14255550142=12345678@2999-01-31");
    let world = World::counted(&[("API_AUTH", "trusted"), test_number]).await;
    let body = json!({ "destinationNumber": NUMBER });
    assert_eq!(world.post("/otp/send", &body).await.status, 202);
    assert_eq!(guess(&world, "1234 5678").await.status, 200);
}

#[tokio::test]
async fn an_answer_of_another_length_costs_an_attempt_whoever_signs_in() {
    let test_number = ("TEST_NUMBERS", "+14255550142=12345678@2999-01-31");
    for unclear in [false, true] {
        for (settings, user) in [
            (&[][..], user()),
            (&[test_number], user()),
            (&[], User::unknown("nobody@example.com")),
        ] {
            let world = crate::pool::world(settings).await;
            let mut sign_in = SignIn::begin(&world, &user).await;
            if unclear {
                world.advance(HALF_A_MINUTE);
                world
                    .simulator
                    .fail_next(Operation::Send, Failure::InternalServerErrorAfterwards);
                assert_eq!(sign_in.answer(&world, "resend").await, Next::Asked);
            }
            for (otp, left) in [("12345", "2"), ("1234567", "1")] {
                assert_eq!(sign_in.answer(&world, otp).await, Next::Asked);
                sign_in.is("try_again", left);
            }
        }
    }
}

#[tokio::test]
async fn null_in_an_optional_field_counts_as_left_out() {
    let world = trusting().await;
    let send = json!({
        "destinationNumber": NUMBER, "brandName": null, "source": null, "codeLength": null, "validityPeriod": null,
        "allowedAttempts": null, "language": null, "channel": null, "referenceId": null, "clientIp": null,
    });
    let answer = world.post("/otp/send", &send).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let names = json!({
        "destinationNumber": NUMBER, "referenceId": answer.body["referenceId"], "brandName": null, "source": null,
        "clientIp": null,
    });
    let mut status = names.clone();
    status["claim"] = json!(null);
    let mut verify = names.clone();
    verify["otp"] = json!(world.newest_code());
    for (path, body) in [
        ("/otp/status", &status),
        ("/otp/verify", &verify),
        ("/otp/cancel", &names),
    ] {
        let answer = world.post(path, body).await;
        assert_ne!(answer.status, 400, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn null_in_a_required_or_unknown_field_is_refused() {
    let world = trusting().await;
    for (path, body, code) in [
        (
            "/otp/send",
            json!({ "destinationNumber": null }),
            "invalid_parameter",
        ),
        (
            "/otp/verify",
            json!({ "destinationNumber": NUMBER, "otp": null }),
            "invalid_parameter",
        ),
        (
            "/otp/send",
            json!({ "destinationNumber": NUMBER, "admin": null }),
            "malformed_request",
        ),
    ] {
        world.post(path, &body).await.is_problem(400, code);
    }
    let twice = format!("{{\"destinationNumber\":null,\"destinationNumber\":\"{NUMBER}\"}}");
    world
        .event(&post("/otp/send", &twice))
        .await
        .is_problem(400, "malformed_request");
}

#[tokio::test]
async fn charsets_that_are_utf_8_pass_and_others_do_not() {
    let world = World::new().await;
    for (charset, status) in [
        ("utf8", 202),
        ("UTF8", 202),
        ("us-ascii", 202),
        ("\"utf8\"", 202),
        ("utf-16", 415),
        ("iso-8859-1", 415),
        ("utf-7", 415),
    ] {
        let mut event = file("send.http-v2");
        event["headers"]["content-type"] = json!(format!("application/json; charset={charset}"));
        assert_eq!(world.event(&event).await.status, status, "{charset}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_told_so_at_every_origin() {
    const GZIP: &str = "H4sIAAAAAAAAA6tWyk0tLk5MTwUA3bQvNgwAAAA=";
    let world = World::with(&[("API_AUTH", "trusted")]).await;
    for door in DOORS {
        for encoding in ["gzip", "br", "gzip, identity"] {
            let mut event = through(door, "send", &json!(null));
            event["body"] = json!(GZIP);
            event["isBase64Encoded"] = json!(true);
            event["headers"]["content-encoding"] = json!(encoding);
            if let Some(headers) = event
                .get_mut("multiValueHeaders")
                .filter(|all| all.is_object())
            {
                headers["content-encoding"] = json!([encoding]);
            }
            let answer = world.event(&event).await;
            answer.is_problem(415, "unsupported_media_type");
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains("content-encoding"), "{detail}");
        }
        // API Gateway unpacks a body and leaves its header.
        let mut event = file(&format!("send.{door}"));
        event["headers"]["content-encoding"] = json!("gzip");
        assert_eq!(world.event(&event).await.status, 202, "{door}");
    }
}

#[tokio::test]
async fn a_brand_that_nobody_sees_is_refused() {
    let world = World::new().await;
    for brand in [
        "   ",
        "\u{200b}",
        "\u{a0}\u{2800}",
        "\u{3164}",
        "\u{ad}\u{fe0f}",
    ] {
        let body = json!({ "destinationNumber": NUMBER, "brandName": brand });
        let answer = world.post("/otp/send", &body).await;
        answer.is_problem(400, "invalid_parameter");
        assert_eq!(answer.body["field"], "brandName", "{brand:?}");
    }
    let body = json!({ "destinationNumber": NUMBER, "brandName": "\u{200b}A " });
    assert_eq!(world.post("/otp/send", &body).await.status, 202);
}
