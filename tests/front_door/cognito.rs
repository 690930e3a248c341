//! Sign-ins through Cognito's triggers: one message per sign-in, attempts that a new session does not
//! restore, and codes that are valid for one session.

use crate::pool::{Next, SignIn, User, answer_correct, is_challenge};
use crate::with::{asked_to_send, says};
use crate::world::{KEY, NUMBER, World, file};
use futures_util::future::join_all;
use otp_lambda::ledger::Issuer;
use serde_json::{Value, json};
use simulator::{Failure, Operation};
use std::time::{Duration, Instant, SystemTime};

const OTHER: &str = "+14255550143";
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// The response time floor is 0 except in the tests about it.
async fn world(settings: &[(&str, &str)]) -> World {
    World::counted(&[&[("COGNITO_FLOOR_MS", "0")], settings].concat()).await
}

fn user() -> User {
    User::with_number(NUMBER)
}

/// The `nth` of nine guesses that differ from `code` and from each other.
fn wrong(code: &str, nth: u8) -> String {
    let last = code.bytes().last().unwrap() - b'0';
    format!("{}{}", &code[..code.len() - 1], (last + nth) % 10)
}

impl World {
    fn code_of(&self, number: &str) -> String {
        self.simulator
            .newest_to(number)
            .expect("a message arrived")
            .code
    }

    /// The attempts left in the ledger's only verification that is not a decoy.
    fn attempts_left(&self) -> u8 {
        let mut real = self.ledger.verifications();
        real.retain(|_, verification| verification.issuers != [Issuer::Decoy]);
        assert_eq!(real.len(), 1);
        real.values().next().unwrap().left
    }
}

#[tokio::test]
async fn the_right_code_signs_in_with_one_message() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    sign_in.is("sent", "3");
    assert_eq!(sign_in.shown["destinationNumber"], "+1*******0142");
    assert_eq!(sign_in.shown["codeLength"], "6");
    assert_eq!(
        sign_in.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
    assert_eq!((world.messages_sent(), world.provider_checks()), (1, 1));
}

#[tokio::test]
async fn the_challenge_shows_when_the_code_expires_and_when_it_can_be_resent() {
    let world = world(&[("VALIDITY_PERIOD", "7")]).await;
    let sign_in = SignIn::begin(&world, &user()).await;
    let began = world.simulator.newest_to(NUMBER).unwrap().sent_at;
    for (field, after) in [("expiresAt", 7 * 60), ("resendAt", 30)] {
        let shown = seconds(&sign_in.shown[field]);
        let exact = began
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            + after;
        assert!(shown.abs_diff(exact) <= 2, "{field}: {shown}, {exact}");
    }
}

#[tokio::test]
async fn a_resend_works_from_the_time_that_the_challenge_shows() {
    let mut world = world(&[]).await;
    // The code can be sent again 100 ms before the end of a second.
    let began = whole_second(world.simulator.now()) + Duration::from_millis(1900);
    world.set_now(began);
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let shown = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds(&sign_in.shown["resendAt"]));
    world.advance(shown.duration_since(began).unwrap());
    assert_eq!(sign_in.answer(&world, "resend").await, Next::Asked);
    assert_eq!(world.messages_sent(), 2);
}

fn whole_second(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// Seconds since 1970 of `2026-11-23T10:15:00Z`.
pub(crate) fn seconds(time: &Value) -> u64 {
    let time = time.as_str().unwrap();
    let part = |range: std::ops::Range<usize>| time[range].parse::<u64>().unwrap();
    // Days since 1 March of year 0. Years that begin in March have their leap day at the end.
    let (year, month) = (part(0..4), part(5..7));
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + part(8..10) - 1;
    (days - 719_468) * 86_400 + part(11..13) * 3600 + part(14..16) * 60 + part(17..19)
}

#[tokio::test]
async fn a_wrong_answer_is_asked_again_without_a_second_message() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    let first = sign_in.clone();
    assert_eq!(sign_in.answer(&world, &wrong(&code, 1)).await, Next::Asked);
    sign_in.is("try_again", "2");
    for field in ["destinationNumber", "codeLength", "expiresAt", "resendAt"] {
        assert_eq!(sign_in.shown[field], first.shown[field]);
    }
    assert_eq!(
        sign_in.private["reference"], first.private["reference"],
        "the session is the same"
    );
    assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
    assert_eq!((world.messages_sent(), world.provider_checks()), (1, 2));
}

#[tokio::test]
async fn the_sign_in_ends_after_the_last_attempt() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    for (nth, state, left) in [
        (1, "try_again", "2"),
        (2, "try_again", "1"),
        (3, "ended", "0"),
    ] {
        assert_eq!(
            sign_in.answer(&world, &wrong(&code, nth)).await,
            Next::Asked
        );
        sign_in.is(state, left);
    }
    assert_eq!(
        sign_in.answer(&world, &code).await,
        Next::Failed,
        "the right code is too late"
    );
    assert_eq!((world.messages_sent(), world.provider_checks()), (1, 3));

    // A new sign-in gets a new code as soon as the windows allow it.
    world.advance(HALF_A_MINUTE);
    let mut again = SignIn::begin(&world, &user()).await;
    again.is("sent", "3");
    assert_eq!(world.messages_sent(), 2);
    assert_eq!(
        again.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
}

#[tokio::test]
async fn a_resend_costs_no_attempt() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let first = world.newest_code();
    assert_eq!(sign_in.answer(&world, &wrong(&first, 1)).await, Next::Asked);
    world.advance(HALF_A_MINUTE);
    assert_eq!(sign_in.answer(&world, "resend").await, Next::Asked);
    sign_in.is("try_again", "2");
    assert_eq!((world.messages_sent(), world.provider_checks()), (2, 1));
    assert!(seconds(&sign_in.shown["resendAt"]) > seconds(&sign_in.shown["expiresAt"]) - 600);
    assert_eq!(
        sign_in.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
}

#[tokio::test]
async fn the_windows_limit_resends() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    for _ in 0..3 {
        assert_eq!(sign_in.answer(&world, "resend").await, Next::Asked);
        sign_in.is("try_again", "3");
    }
    assert_eq!((world.messages_sent(), world.provider_checks()), (1, 0));
    assert_eq!(
        sign_in.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
}

#[tokio::test]
async fn only_the_exact_word_resends_and_a_malformed_code_costs_nothing() {
    let world = world(&[]).await;
    let sign_in = SignIn::begin(&world, &user()).await;
    world.advance(Duration::from_mins(3));
    let long = "1".repeat(5000);
    let short = "1".repeat(usize::from(crate::with::LEAST.0) - 1);
    for answer in [
        "",
        " ",
        "RESEND",
        "Resend",
        " resend",
        "resend ",
        "resend\n",
        "\"resend\"",
        "cancel",
        &short,
        "123456789",
        "12345a",
        "12 34 56",
        "１２３４５６",
        "١٢٣٤٥٦",
        "-12345",
        "+12345",
        "1234.6",
        "0x1234",
        "null",
        "true",
        "{}",
        "123456\u{0}",
        "\u{202e}123456",
        "💬",
        &long,
    ] {
        assert!(!sign_in.verify(&world, answer).await, "{answer:?}");
    }
    for answer in [
        json!(null),
        json!(123_456),
        json!(true),
        json!(["resend"]),
        json!({ "answer": "resend" }),
    ] {
        let mut event = sign_in.verify_event("");
        event["request"]["challengeAnswer"] = answer.clone();
        // AWS sends only strings. The trigger may reject anything else, but must not accept it as right.
        if let Ok(answered) = world.raw(&event.to_string()).await {
            assert!(!answer_correct(&answered["response"]), "{answer}");
        }
    }
    assert_eq!(
        (
            world.messages_sent(),
            world.provider_checks(),
            world.attempts_left()
        ),
        (1, 0, 3)
    );
}

#[tokio::test]
async fn a_new_session_adopts_the_open_code() {
    let world = world(&[]).await;
    SignIn::begin(&world, &user()).await;
    world.advance(Duration::from_mins(4));
    let mut second = SignIn::begin(&world, &user()).await;
    second.is("adopted", "2");
    assert_eq!(
        second.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
    assert_eq!((world.messages_sent(), world.provider_checks()), (1, 1));
}

#[tokio::test]
async fn a_new_session_does_not_adopt_an_expired_or_used_code() {
    let world = world(&[]).await;
    SignIn::begin(&world, &user()).await;
    world.advance(Duration::from_mins(10));
    let mut second = SignIn::begin(&world, &user()).await;
    second.is("sent", "3");
    assert_eq!(world.messages_sent(), 2);
    assert_eq!(
        second.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
    world.advance(Duration::from_mins(10));
    let third = SignIn::begin(&world, &user()).await;
    third.is("sent", "3");
    assert_eq!(world.messages_sent(), 3);
}

#[tokio::test]
async fn two_users_can_sign_in_at_the_same_time() {
    let world = world(&[]).await;
    let mut one = SignIn::begin(&world, &user()).await;
    let mut two = SignIn::begin(&world, &User::with_number(OTHER)).await;
    one.is("sent", "3");
    two.is("sent", "3");
    let (code_one, code_two) = (world.code_of(NUMBER), world.code_of(OTHER));
    if code_one != code_two {
        assert_eq!(one.answer(&world, &code_two).await, Next::Asked);
        assert_eq!(two.answer(&world, &code_one).await, Next::Asked);
    }
    assert_eq!(one.answer(&world, &code_one).await, Next::Tokens);
    assert_eq!(two.answer(&world, &code_two).await, Next::Tokens);
    assert_eq!(world.messages_sent(), 2);
}

#[tokio::test]
async fn repeated_triggers_send_once_and_cost_one_attempt() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::new(&user());
    // Cognito delivers a trigger up to three times, five seconds apart, and uses the last response.
    for _ in 0..3 {
        world.trigger(&sign_in.define_event()).await;
    }
    for _ in 0..3 {
        let response = world.trigger(&sign_in.create_event()).await;
        sign_in.keep(&response);
        world.advance(Duration::from_secs(5));
    }
    assert_eq!(world.messages_sent(), 1);
    let code = world.newest_code();
    for _ in 0..3 {
        assert!(!sign_in.verify(&world, &wrong(&code, 1)).await);
        world.advance(Duration::from_secs(5));
    }
    assert_eq!((world.provider_checks(), world.attempts_left()), (1, 2));
    sign_in.answered(false);
    for _ in 0..3 {
        let response = world.trigger(&sign_in.create_event()).await;
        sign_in.keep(&response);
        world.advance(Duration::from_secs(5));
    }
    for _ in 0..3 {
        assert!(
            sign_in.verify(&world, &code).await,
            "a repeated right answer is right"
        );
        world.advance(Duration::from_secs(5));
    }
    assert_eq!((world.messages_sent(), world.provider_checks()), (1, 2));
    world.advance(Duration::from_secs(5));
    assert!(
        !sign_in.verify(&world, &code).await,
        "but only for twenty seconds"
    );
}

#[tokio::test]
async fn concurrent_repeated_triggers_send_once_and_cost_one_attempt() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::new(&user());
    let event = sign_in.create_event();
    let responses = join_all((0..3).map(|_| world.trigger(&event))).await;
    assert_eq!(world.messages_sent(), 1);
    for response in &responses {
        sign_in.keep(response);
    }
    let event = sign_in.verify_event(&wrong(&world.newest_code(), 1));
    let responses = join_all((0..3).map(|_| world.trigger(&event))).await;
    assert!(responses.iter().all(|response| !answer_correct(response)));
    assert_eq!((world.provider_checks(), world.attempts_left()), (1, 2));
    assert!(sign_in.verify(&world, &world.newest_code()).await);
}

#[tokio::test]
async fn a_repeated_resend_sends_once() {
    let world = world(&[("SEND_LIMITS", "3/10m")]).await;
    let sign_in = SignIn::begin(&world, &user()).await;
    world.advance(HALF_A_MINUTE);
    for _ in 0..3 {
        assert!(!sign_in.verify(&world, "resend").await);
        world.advance(Duration::from_secs(5));
    }
    assert_eq!(
        world.messages_sent(),
        2,
        "one resend sends once, although the windows would allow three messages"
    );
}

#[tokio::test]
async fn a_later_round_of_an_unknown_session_sends_nothing() {
    let world = world(&[]).await;
    for metadata in [
        json!("v1:r46bb87b047dd9f34b9cbe4011325b15b:3"),
        json!("v1:x:2"),
        json!("metadata"),
        json!(null),
    ] {
        let mut sign_in = SignIn::new(&user());
        sign_in.metadata = metadata;
        sign_in.answered(false);
        let response = world.trigger(&sign_in.create_event()).await;
        sign_in.keep(&response);
        sign_in.is("ended", "0");
    }
    assert!(!answer_correct(
        &world.trigger(&file("cognito.verify.resend")).await
    ));
    assert_eq!((world.messages_sent(), world.provider_checks()), (0, 0));
}

#[tokio::test]
async fn an_expired_code_is_not_resent() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    world.advance(Duration::from_mins(10));
    assert_eq!(sign_in.answer(&world, "resend").await, Next::Asked);
    sign_in.is("ended", "0");
    assert_eq!(world.messages_sent(), 1);
}

#[tokio::test]
async fn a_code_that_signed_in_one_session_is_refused_in_another() {
    let world = world(&[]).await;
    let first = SignIn::begin(&world, &user()).await;
    let second = SignIn::begin(&world, &user()).await;
    second.is("adopted", "2");
    let code = world.newest_code();
    assert!(first.verify(&world, &code).await);
    assert!(!second.verify(&world, &code).await);
    assert!(first.verify(&world, &code).await);
    // The metadata shows the session but not the nonce.
    let mut forged = first.clone();
    forged.private["nonce"] = second.private["nonce"].clone();
    assert!(!forged.verify(&world, &code).await);
    world.advance(HALF_A_MINUTE);
    assert!(!first.verify(&world, &code).await);
}

#[tokio::test]
async fn a_new_session_gives_no_new_attempts() {
    let world = world(&[("SEND_LIMITS", "1/10m")]).await;
    let code = {
        let mut first = SignIn::begin(&world, &user()).await;
        let code = world.newest_code();
        assert_eq!(first.answer(&world, &wrong(&code, 1)).await, Next::Asked);
        first.is("try_again", "2");
        code
    };
    let mut second = SignIn::begin(&world, &user()).await;
    second.is("adopted", "1");
    assert_eq!(second.answer(&world, &wrong(&code, 2)).await, Next::Asked);
    second.is("ended", "0");
    assert_eq!(second.answer(&world, &code).await, Next::Failed);
    for nth in 3..9 {
        let mut another = SignIn::begin(&world, &user()).await;
        assert_ne!(
            another.answer(&world, &wrong(&code, nth)).await,
            Next::Tokens
        );
    }
    assert!(world.provider_checks() <= 3, "{}", world.provider_checks());
    assert_eq!(world.messages_sent(), 1);
}

#[tokio::test]
async fn the_last_attempt_is_reserved_for_the_session_that_sent_the_code() {
    let world = world(&[]).await;
    let mut victim = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    // An attacker begins sign-ins with the victim's user name.
    let mut guess = 0;
    for _ in 0..5 {
        let mut attacker = SignIn::begin(&world, &user()).await;
        assert_eq!(
            attacker.metadata,
            json!(format!(
                "v1:{}:{}",
                attacker.private["reference"].as_str().unwrap(),
                attacker.shown["attemptsLeft"].as_str().unwrap()
            ))
        );
        for _ in 0..3 {
            guess += 1;
            let next = attacker.answer(&world, &wrong(&code, 1 + guess % 9)).await;
            assert_ne!(next, Next::Tokens);
            if next == Next::Failed {
                break;
            }
        }
        // In a session that may not spend the last attempt, even the right code is not checked.
        assert!(!attacker.verify(&world, &code).await);
    }
    assert_eq!(
        (
            world.attempts_left(),
            world.provider_checks(),
            world.messages_sent()
        ),
        (1, 2, 1)
    );
    assert_eq!(victim.answer(&world, &code).await, Next::Tokens);
}

#[tokio::test]
async fn an_attacker_between_two_answers_leaves_the_victim_one_attempt() {
    let world = world(&[]).await;
    let mut victim = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    let mut attacker = SignIn::begin(&world, &user()).await;
    attacker.is("adopted", "2");
    assert_eq!(attacker.answer(&world, &wrong(&code, 1)).await, Next::Asked);
    attacker.is("try_again", "1");
    assert_eq!(victim.answer(&world, &wrong(&code, 2)).await, Next::Asked);
    victim.is("try_again", "1");
    assert_eq!(attacker.answer(&world, &wrong(&code, 3)).await, Next::Asked);
    attacker.is("ended", "0");
    assert_eq!(world.provider_checks(), 2);
    assert_eq!(victim.answer(&world, &code).await, Next::Tokens);
}

#[tokio::test]
async fn a_session_without_attempts_does_not_send() {
    // The session that sent the code is lost, and an attacker has used all attempts but the last.
    let world = world(&[]).await;
    SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    let mut attacker = SignIn::begin(&world, &user()).await;
    for nth in 1..=2 {
        assert_eq!(
            attacker.answer(&world, &wrong(&code, nth)).await,
            Next::Asked
        );
    }
    world.advance(HALF_A_MINUTE);
    let mut again = SignIn::begin(&world, &user()).await;
    again.is("ended", "0");
    assert_eq!(again.answer(&world, "resend").await, Next::Failed);
    assert_eq!(world.messages_sent(), 1);
    // When the code has expired, a new one is sent.
    world.advance(Duration::from_mins(10));
    let mut again = SignIn::begin(&world, &user()).await;
    assert_eq!(world.messages_sent(), 2);
    assert_eq!(
        again.answer(&world, &world.newest_code()).await,
        Next::Tokens,
        "{again:?}"
    );
}

#[tokio::test]
async fn a_new_code_is_sent_after_an_attacker_exhausted_the_first() {
    let world = world(&[]).await;
    let mut attacker = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    for nth in 1..=3 {
        assert_eq!(
            attacker.answer(&world, &wrong(&code, nth)).await,
            Next::Asked
        );
    }
    attacker.is("ended", "0");
    world.advance(HALF_A_MINUTE);
    let mut victim = SignIn::begin(&world, &user()).await;
    victim.is("sent", "3");
    assert_eq!(
        attacker
            .answer(&world, &wrong(&world.newest_code(), 1))
            .await,
        Next::Failed
    );
    assert_eq!(
        victim.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
}

#[tokio::test]
async fn a_changed_number_needs_a_new_code() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    let moved = user().but("phone_number", json!(OTHER));
    sign_in.user = moved.clone();
    assert!(
        !sign_in.verify(&world, &code).await,
        "a code proves only the number it was sent to"
    );
    let mut again = SignIn::begin(&world, &moved).await;
    again.is("sent", "3");
    assert_eq!(world.messages_sent(), 2);
    if world.code_of(OTHER) != code {
        assert_eq!(again.answer(&world, &code).await, Next::Asked);
    }
    assert_eq!(
        again.answer(&world, &world.code_of(OTHER)).await,
        Next::Tokens
    );
}

#[tokio::test]
async fn codes_are_valid_only_for_their_pool_client_and_user() {
    for other in [
        User {
            pool: "us-east-1_another99",
            ..user()
        },
        User {
            client: "another0client0of0the0same0pool0",
            ..user()
        },
        User {
            name: "another-user-of-the-same-number".to_owned(),
            ..user()
        },
    ] {
        let world = world(&[]).await;
        let mut first = SignIn::begin(&world, &user()).await;
        let code = world.newest_code();
        world.advance(HALF_A_MINUTE);
        let mut second = SignIn::begin(&world, &other).await;
        second.is("sent", "3");
        assert_eq!(world.messages_sent(), 2);
        let newest = world.newest_code();
        if newest != code {
            assert_eq!(second.answer(&world, &code).await, Next::Asked);
        }
        // The session of one does not work for the other either.
        let mut stolen = first.clone();
        stolen.user = other;
        assert!(!stolen.verify(&world, &code).await);
        assert_eq!(first.answer(&world, &code).await, Next::Tokens);
        assert_eq!(second.answer(&world, &newest).await, Next::Tokens);
    }
}

#[tokio::test]
async fn a_canceled_code_ends_the_sign_in() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    let sent = world.simulator.newest_to(NUMBER).unwrap();
    let body = json!({ "destinationNumber": NUMBER, "referenceId": sent.reference_id });
    assert_eq!(world.post("/otp/cancel", &body).await.status, 200);
    assert_eq!(sign_in.answer(&world, &code).await, Next::Asked);
    sign_in.is("ended", "0");
    assert_eq!(
        sign_in.answer(&world, "resend").await,
        Next::Failed,
        "a sign-in does not send a new code in the middle"
    );
    assert_eq!((world.messages_sent(), world.provider_checks()), (1, 0));
    world.advance(HALF_A_MINUTE);
    let mut again = SignIn::begin(&world, &user()).await;
    again.is("sent", "3");
    assert_eq!(
        again.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
}

#[tokio::test]
async fn a_code_that_expires_during_a_sign_in_ends_it_without_a_resend() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    world.advance(Duration::from_mins(10));
    assert_eq!(sign_in.answer(&world, &code).await, Next::Asked);
    sign_in.is("ended", "0");
    assert_eq!(sign_in.answer(&world, &code).await, Next::Failed);
    assert_eq!(world.messages_sent(), 1);
}

#[tokio::test]
async fn the_message_is_in_the_users_language_if_the_provider_has_it() {
    for (locale, language) in [
        (json!("fr-FR"), "fr-FR"),
        (json!("de-DE"), "de-DE"),
        (json!("xx-XX"), "en-US"),
        (json!(""), "en-US"),
        (json!("\u{0}"), "en-US"),
        (Value::Null, "en-US"),
    ] {
        let world = world(&[]).await;
        SignIn::begin(&world, &user().but("locale", locale.clone())).await;
        assert_eq!(
            world.asked_to_send()["says"],
            says(language, "ExampleCorp"),
            "{locale}"
        );
    }
    let world = world(&[
        ("LANGUAGE", "it-IT"),
        ("COGNITO_LANGUAGE_ATTRIBUTE", "custom:language"),
    ])
    .await;
    SignIn::begin(&world, &user().but("locale", json!("fr-FR"))).await;
    SignIn::begin(
        &world,
        &User::with_number(OTHER).but("custom:language", json!("fr-FR")),
    )
    .await;
    let languages: Vec<_> = world
        .simulator
        .requests(Operation::Send)
        .iter()
        .map(|r| asked_to_send(&r.body)["says"].clone())
        .collect();
    assert_eq!(
        languages,
        ["it-IT", "fr-FR"].map(|language| says(language, "ExampleCorp"))
    );
}

#[tokio::test]
async fn an_unverified_number_gets_a_message_only_if_a_setting_allows_it() {
    for unverified in [json!("false"), json!(""), json!("yes"), json!(null)] {
        let user = user().but("phone_number_verified", unverified.clone());
        let refusing = world(&[]).await;
        let mut sign_in = SignIn::begin(&refusing, &user).await;
        sign_in.is("sent", "3");
        assert_eq!(sign_in.answer(&refusing, "012345").await, Next::Asked);
        sign_in.is("try_again", "2");
        assert_eq!(
            (refusing.messages_sent(), refusing.provider_checks()),
            (0, 0),
            "{unverified}"
        );

        let allowing = world(&[("COGNITO_UNVERIFIED_PHONE", "allow")]).await;
        let mut sign_in = SignIn::begin(&allowing, &user).await;
        assert_eq!(
            sign_in.answer(&allowing, &allowing.newest_code()).await,
            Next::Tokens
        );
    }
}

#[tokio::test]
async fn step_up_asks_for_the_password_before_the_code() {
    let world = world(&[("COGNITO_STEP_UP", "required")]).await;
    let mut sign_in = SignIn::new(&user());
    assert_eq!(
        sign_in.go_on_by_name(&world).await,
        (Next::Failed, Value::Null),
        "no code without a password"
    );
    let step =
        |name: &str, result: bool| json!({ "challengeName": name, "challengeResult": result });
    sign_in.session.push(step("SRP_A", true));
    assert_eq!(
        sign_in.go_on_by_name(&world).await,
        (Next::Asked, json!("PASSWORD_VERIFIER"))
    );
    let mut failed = sign_in.clone();
    failed.session.push(step("PASSWORD_VERIFIER", false));
    assert_eq!(failed.go_on_by_name(&world).await.0, Next::Failed);
    assert_eq!(world.messages_sent(), 0);

    sign_in.session.push(step("PASSWORD_VERIFIER", true));
    assert_eq!(sign_in.go_on(&world).await, Next::Asked);
    sign_in.is("sent", "3");
    assert_eq!(
        sign_in
            .answer(&world, &wrong(&world.newest_code(), 1))
            .await,
        Next::Asked
    );
    sign_in.is("try_again", "2");
    assert_eq!(
        sign_in.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
    assert_eq!(world.messages_sent(), 1);
}

impl SignIn {
    /// Runs Define alone, and returns its decision and the challenge it asks for.
    async fn go_on_by_name(&self, world: &World) -> (Next, Value) {
        let response = world.trigger(&self.define_event()).await;
        (
            crate::pool::decision_of(&response),
            response["challengeName"].clone(),
        )
    }
}

#[tokio::test]
async fn a_provider_outage_is_answered_in_time_and_can_be_retried() {
    let mut world = world(&[]).await;
    world.set_time_left(Duration::from_secs(5));
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    for (failure, left) in [
        (Failure::Slow(Duration::from_secs(8)), "2"),
        (Failure::TooManyRequests, "1"),
    ] {
        world.simulator.fail_next(Operation::Verify, failure);
        let began = Instant::now();
        assert!(
            !sign_in
                .verify(&world, &wrong(&code, left.parse().unwrap()))
                .await
        );
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
        sign_in.answered(false);
        assert_eq!(sign_in.go_on(&world).await, Next::Asked);
        sign_in.is("try_again", left);
    }
    assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
    assert_eq!(world.messages_sent(), 1);
}

#[tokio::test]
async fn an_answer_that_the_provider_did_not_check_can_be_given_again() {
    let mut world = world(&[]).await;
    world.set_time_left(Duration::from_secs(5));
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    world
        .simulator
        .fail_next(Operation::Verify, Failure::CloseBeforeReading);
    assert_eq!(sign_in.answer(&world, &code).await, Next::Asked);
    sign_in.is("try_again", "2");
    world.advance(Duration::from_secs(6));
    assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
}

#[tokio::test]
async fn an_answer_that_the_provider_did_not_check_costs_one_attempt_however_often_delivered() {
    let mut world = world(&[("ALLOWED_ATTEMPTS", "5")]).await;
    world.set_time_left(Duration::from_secs(5));
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let code = world.newest_code();
    world
        .simulator
        .fail_next(Operation::Verify, Failure::CloseBeforeReading);
    let asked = world.provider_checks();
    for _ in 0..3 {
        assert!(!sign_in.verify(&world, &code).await);
        world.advance(Duration::from_secs(5));
    }
    assert_eq!(world.provider_checks(), asked + 1);
    sign_in.answered(false);
    assert_eq!(sign_in.go_on(&world).await, Next::Asked);
    sign_in.is("try_again", "4");
    // The user gives the same answer again, which is a new guess.
    assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
}

#[tokio::test]
async fn concurrent_sign_ins_send_once_even_without_a_short_window() {
    let world = world(&[("SEND_LIMITS", "3/10m")]).await;
    for _ in 0..20 {
        let before = world.messages_sent();
        let user = user();
        let (first, second, third) = tokio::join!(
            SignIn::begin(&world, &user),
            SignIn::begin(&world, &user),
            SignIn::begin(&world, &user)
        );
        assert_eq!(world.messages_sent(), before + 1);
        let mut states = [&first, &second, &third]
            .map(|sign_in| sign_in.shown["state"].as_str().unwrap().to_owned());
        states.sort();
        assert_eq!(states, ["adopted", "adopted", "sent"]);
        world.advance(Duration::from_hours(24));
    }
}

#[tokio::test]
async fn a_hanging_send_is_answered_in_time_and_its_code_signs_in() {
    let mut world = world(&[]).await;
    world.set_time_left(Duration::from_secs(5));
    world.simulator.fail_next(Operation::Send, Failure::Hang);
    let began = Instant::now();
    let mut sign_in = SignIn::begin(&world, &user()).await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    // The response is in time for Cognito. The message may have been sent, and here it was.
    sign_in.is("sent", "3");
    assert_eq!(
        sign_in.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
    assert_eq!(world.messages_sent(), 1);
}

#[tokio::test]
async fn a_hanging_resend_is_answered_in_time() {
    let mut world = world(&[]).await;
    world.set_time_left(Duration::from_secs(5));
    let mut sign_in = SignIn::begin(&world, &user()).await;
    world.advance(HALF_A_MINUTE);
    world.simulator.fail_next(Operation::Send, Failure::Hang);
    let began = Instant::now();
    assert!(!sign_in.verify(&world, "resend").await);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    sign_in.answered(false);
    assert_eq!(sign_in.go_on(&world).await, Next::Asked);
    sign_in.is("try_again", "3");
    assert_eq!(
        sign_in.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
}

#[tokio::test]
async fn a_failed_send_looks_like_a_successful_one_and_a_new_sign_in_works() {
    for failure in [
        Failure::PermanentFailure,
        Failure::OptOut,
        Failure::TooManyRequests,
        Failure::AccessDenied,
    ] {
        let world = world(&[]).await;
        world.simulator.fail_next(Operation::Send, failure.clone());
        let mut sign_in = SignIn::begin(&world, &user()).await;
        sign_in.is("sent", "3");
        assert_eq!(sign_in.answer(&world, "012345").await, Next::Asked);
        sign_in.is("try_again", "2");
        assert_eq!(
            (world.messages_sent(), world.provider_checks()),
            (0, 0),
            "{failure:?}"
        );
        world.advance(HALF_A_MINUTE);
        let mut again = SignIn::begin(&world, &user()).await;
        again.is("sent", "3");
        assert_eq!(
            again.answer(&world, &world.newest_code()).await,
            Next::Tokens,
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn each_example_event_is_answered() {
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on")]).await;
    let mut seen = 0;
    for name in file_names("events")
        .iter()
        .filter(|name| name.starts_with("cognito."))
    {
        let event = file(name);
        if name == "cognito.pre-sign-up" {
            let refused = world.raw(&event.to_string()).await.unwrap_err();
            assert_eq!(refused.kind, "SignUpRefused", "{refused}");
            seen += 1;
            continue;
        }
        let response = world.trigger(&event).await;
        match event["triggerSource"].as_str().unwrap() {
            "DefineAuthChallenge_Authentication" => {
                let expected = match name.as_str() {
                    "cognito.define.right-answer" => Next::Tokens,
                    "cognito.define"
                    | "cognito.define.wrong-answer"
                    | "cognito.define.unknown-user" => Next::Asked,
                    // Without step-up, password rounds are unexpected.
                    _ => Next::Failed,
                };
                assert_eq!(crate::pool::decision_of(&response), expected, "{name}");
            }
            "CreateAuthChallenge_Authentication" => is_challenge(&response),
            "VerifyAuthChallengeResponse_Authentication" => {
                assert!(!answer_correct(&response), "{name}");
            }
            other => panic!("{other}"),
        }
        seen += 1;
    }
    assert_eq!(seen, 16);
    assert_eq!(
        world.messages_sent(),
        1,
        "only one user's first round sends"
    );
}

/// The names of the JSON files in a directory of the repository, without `.json`.
pub(crate) fn file_names(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(format!("{}/{directory}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let mut names: Vec<_> = entries
        .map(name)
        .filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn other_triggers_are_function_errors_that_name_the_expected_ones() {
    let world = world(&[]).await;
    for trigger in [
        "PreSignUp_SignUp",
        "PreSignUp_AdminCreateUser",
        "PostConfirmation_ConfirmSignUp",
        "TokenGeneration_Authentication",
        "CustomMessage_ForgotPassword",
        "defineAuthChallenge_Authentication",
        "DefineAuthChallenge_Authentication ",
        "",
    ] {
        let mut event = file("cognito.pre-sign-up");
        event["triggerSource"] = json!(trigger);
        let error = world.raw(&event.to_string()).await.unwrap_err().to_string();
        for expected in [
            "DefineAuthChallenge_Authentication",
            "CreateAuthChallenge_Authentication",
            "VerifyAuthChallengeResponse_Authentication",
        ] {
            assert!(error.contains(expected), "{trigger:?}: {error}");
        }
    }
}

#[tokio::test]
async fn without_a_ledger_a_trigger_is_a_function_error_that_names_the_setting() {
    let world = World::new().await;
    for name in [
        "cognito.define",
        "cognito.define.right-answer",
        "cognito.create",
        "cognito.verify",
    ] {
        let error = world
            .raw(&file(name).to_string())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("Cognito") && error.contains("LEDGER_TABLE"),
            "{error}"
        );
    }
    assert_eq!(world.messages_sent(), 0);
}

#[tokio::test]
async fn a_trigger_is_rejected_over_http() {
    let world = world(&[]).await;
    let answer = world
        .post("/otp/send", &file("cognito.define.right-answer"))
        .await;
    answer.is_problem(400, "malformed_request");
}

#[tokio::test]
async fn the_log_line_names_the_trigger_and_its_outcome() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    assert_eq!(world.last_line()["country"], "US");
    sign_in.answer(&world, &world.newest_code()).await;
    let text = world.log.text();
    assert_eq!(text.lines().count(), 4, "one line a trigger: {text}");
    for line in text.lines() {
        assert!(
            line.contains("cognito") || line.contains("Cognito"),
            "{line}"
        );
    }
    // Only the log says that a user is unknown.
    SignIn::begin(&world, &User::unknown("nobody-we-know")).await;
    let line = world.last_line().to_string();
    assert!(
        line.contains("unknown") || line.contains("not_found"),
        "{line}"
    );
    assert!(!line.contains("nobody-we-know"), "{line}");
}

#[tokio::test]
async fn a_sign_up_is_confirmed_by_a_verification_of_its_number() {
    for reference_ids in ["derived", "random"] {
        let world = world(&[
            ("COGNITO_PRE_SIGN_UP", "on"),
            ("REFERENCE_ID", reference_ids),
        ])
        .await;
        let sent = world
            .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
            .await;
        let reference = sent.body["referenceId"].clone();
        let sign_up = |number: &str, reference: &Value| {
            let request = json!({ "userAttributes": { "phone_number": number }, "validationData": { "referenceId": reference } });
            let mut event = file("cognito.pre-sign-up");
            event["request"] = request;
            event["userName"] = json!(number);
            event
        };
        let confirmed = async |event: &Value| match world.raw(&event.to_string()).await {
            Ok(answer) => {
                let yes = json!({ "autoConfirmUser": true, "autoVerifyPhone": true, "autoVerifyEmail": false });
                assert_eq!(answer["response"], yes);
                true
            }
            // An unconfirmed user would keep the user name, so the sign-up is refused.
            Err(refused) => {
                assert_eq!(refused.kind, "SignUpRefused");
                assert!(
                    refused.message.contains("validationData.referenceId"),
                    "{refused}"
                );
                assert!(!refused.message.contains("4255550142"), "{refused}");
                false
            }
        };
        let event = sign_up(NUMBER, &reference);
        assert!(!confirmed(&event).await, "not verified yet");
        let body = json!({ "destinationNumber": NUMBER, "otp": world.newest_code(), "referenceId": reference });
        assert_eq!(world.post("/otp/verify", &body).await.status, 200);
        assert!(
            !confirmed(&sign_up(OTHER, &reference)).await,
            "another number"
        );
        for wrong in [
            json!("another"),
            json!(""),
            json!(null),
            json!(7),
            json!("ü"),
            json!("x".repeat(100)),
        ] {
            assert!(!confirmed(&sign_up(NUMBER, &wrong)).await, "{wrong}");
        }
        for _ in 0..3 {
            assert!(confirmed(&event).await, "and again when Cognito asks again");
        }
        let mut somebody_else = event.clone();
        somebody_else["userName"] = json!("somebody-else");
        assert!(
            !confirmed(&somebody_else).await,
            "a verification confirms one user only"
        );
    }
}

#[tokio::test]
async fn a_sign_up_that_failed_elsewhere_can_present_its_verification_again() {
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on"), ("REFERENCE_ID", "random")]).await;
    let sent = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    let reference = &sent.body["referenceId"];
    let body = json!({ "destinationNumber": NUMBER, "otp": world.newest_code(), "referenceId": reference });
    assert_eq!(world.post("/otp/verify", &body).await.status, 200);
    // A pool whose users sign up by number makes up another user name for each try.
    for (name, is_confirmed) in [
        ("7c9e6679-7425-40de-944b-e07fc1f90ae7", true),
        ("11111111-2222-3333-4444-555555555555", true),
        ("a-name-of-the-users-own", false),
    ] {
        let mut event = file("cognito.pre-sign-up");
        event["userName"] = json!(name);
        event["request"]["userAttributes"]["phone_number"] = json!(NUMBER);
        event["request"]["validationData"]["referenceId"] = reference.clone();
        assert_eq!(
            world.raw(&event.to_string()).await.is_ok(),
            is_confirmed,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_verification_confirms_a_sign_up_within_ten_minutes() {
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on"), ("REFERENCE_ID", "random")]).await;
    let sent = world
        .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
        .await;
    let reference = sent.body["referenceId"].clone();
    let body = json!({ "destinationNumber": NUMBER, "otp": world.newest_code(), "referenceId": reference });
    assert_eq!(world.post("/otp/verify", &body).await.status, 200);
    world.advance(Duration::from_mins(10));
    let mut event = file("cognito.pre-sign-up");
    event["request"]["userAttributes"]["phone_number"] = json!(NUMBER);
    event["request"]["validationData"]["referenceId"] = reference;
    assert_eq!(
        world.raw(&event.to_string()).await.unwrap_err().kind,
        "SignUpRefused"
    );
    let line = world.last_line();
    assert_eq!(
        (&line["operation"], &line["level"]),
        (&json!("pre-sign-up"), &json!("INFO")),
        "{line}"
    );
}

#[tokio::test]
async fn sign_ups_by_administrators_and_identity_providers_are_not_confirmed() {
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on")]).await;
    for trigger in ["PreSignUp_AdminCreateUser", "PreSignUp_ExternalProvider"] {
        let mut event = file("cognito.pre-sign-up");
        event["triggerSource"] = json!(trigger);
        let no =
            json!({ "autoConfirmUser": false, "autoVerifyPhone": false, "autoVerifyEmail": false });
        assert_eq!(world.trigger(&event).await, no, "{trigger}");
    }
}

#[tokio::test]
async fn the_code_of_a_sign_in_does_not_confirm_a_sign_up() {
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on")]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    let sent = world.simulator.newest_to(NUMBER).unwrap();
    assert_eq!(sign_in.answer(&world, &sent.code).await, Next::Tokens);
    // Only the provider knows this reference ID. It is useless even to a caller who knows it.
    assert!(!world.log.text().contains(&sent.reference_id));
    let mut event = file("cognito.pre-sign-up");
    event["request"]["userAttributes"]["phone_number"] = json!(NUMBER);
    event["request"]["validationData"]["referenceId"] = json!(sent.reference_id);
    let refused = world.raw(&event.to_string()).await.unwrap_err();
    assert_eq!(refused.kind, "SignUpRefused");
    assert_eq!(world.last_line()["outcome"], "verification_not_found");
    let claim =
        json!({ "destinationNumber": NUMBER, "referenceId": sent.reference_id, "claim": true });
    assert_eq!(
        world.post("/otp/status", &claim).await.code(),
        "verification_not_found"
    );
}

#[tokio::test]
async fn a_test_number_signs_in_without_a_message() {
    let world = world(&[("TEST_NUMBERS", "+14255550142=246810@2099-01-31")]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    sign_in.is("sent", "3");
    assert_eq!(sign_in.answer(&world, "246811").await, Next::Asked);
    sign_in.is("try_again", "2");
    assert_eq!(sign_in.answer(&world, "246810").await, Next::Tokens);
    assert_eq!((world.messages_sent(), world.provider_checks()), (0, 0));
}

#[tokio::test]
async fn another_instance_continues_a_sign_in() {
    let mut world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    world
        .reconfigure(&[
            ("LEDGER_TABLE", "otp"),
            ("LEDGER_KEY", KEY),
            ("COGNITO_FLOOR_MS", "0"),
        ])
        .await;
    let mut other = SignIn::begin(&world, &user()).await;
    other.is("adopted", "2");
    assert_eq!(
        sign_in.answer(&world, &world.newest_code()).await,
        Next::Tokens
    );
    assert_eq!(
        other.answer(&world, &world.newest_code()).await,
        Next::Asked
    );
    other.is("ended", "0");
    assert_eq!(world.messages_sent(), 1);
}
