//! Several sessions, and triggers that are delivered again. A sign-in costs one message, a new session restores no
//! attempts, and a code signs in only one session.

use crate::pool::{HALF_A_MINUTE, Next, OTHER, SignIn, User, answer_correct, user, world, wrong};
use crate::world::{KEY, NUMBER, file};
use futures_util::future::join_all;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_new_session_adopts_the_open_code() {
    let world = world(&[]).await;
    SignIn::begin(&world, &user()).await;
    world.advance(Duration::from_mins(4));
    let mut second = SignIn::begin(&world, &user()).await;
    second.is("adopted", "2");
    second.signs_in(&world).await;
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
    second.signs_in(&world).await;
    world.advance(Duration::from_mins(10));
    let third = SignIn::begin(&world, &user()).await;
    third.is("sent", "3");
    assert_eq!(world.messages_sent(), 3);
}

/// A fixed code is good once for each send.
#[tokio::test]
async fn a_test_number_signs_in_twice_in_two_minutes() {
    let world = world(&[("TEST_NUMBERS", "+14255550142=246802@2999-12-31")]).await;
    for after in [0, 1, 59, 119] {
        world.advance(Duration::from_secs(after));
        let mut sign_in = SignIn::begin(&world, &user()).await;
        sign_in.is("sent", "3");
        let first = sign_in.verify_event("246802");
        assert_eq!(sign_in.answer(&world, "246802").await, Next::Tokens);
        // For another session, the code is used up until the next send.
        let other = SignIn {
            private: first["request"]["privateChallengeParameters"].clone(),
            ..SignIn::new(&user())
        };
        let mut event = other.verify_event("246802");
        event["request"]["privateChallengeParameters"]["nonce"] = json!("0".repeat(32));
        assert!(
            !answer_correct(&world.trigger(&event).await),
            "{after} s later"
        );
    }
    assert_eq!((world.messages_sent(), world.provider_checks()), (0, 0));
}

/// Failed guesses keep an ordinary number waiting, and a test number gets no messages that could wait.
#[tokio::test]
async fn a_test_number_signs_in_after_many_failed_guesses() {
    let settings = [("TEST_NUMBERS", "+14255550142=246802@2999-12-31")];
    let world = world(&settings).await;
    for _ in 0..4 {
        let mut sign_in = SignIn::begin(&world, &user()).await;
        for wrong in ["000001", "000002", "000003"] {
            sign_in.answer(&world, wrong).await;
        }
        world.advance(Duration::from_secs(1));
    }
    let mut sign_in = SignIn::begin(&world, &user()).await;
    assert_eq!(sign_in.answer(&world, "246802").await, Next::Tokens);
}

/// Sign-ins and HTTP have verifications of their own: neither uses the other's code up.
#[tokio::test]
async fn a_test_number_verifies_over_http_between_two_sign_ins() {
    let settings = [("TEST_NUMBERS", "+14255550142=246802@2999-12-31")];
    let world = world(&settings).await;
    for _ in 0..2 {
        let mut sign_in = SignIn::begin(&world, &user()).await;
        let body = json!({ "destinationNumber": NUMBER });
        assert_eq!(world.post("/otp/send", &body).await.status, 202);
        assert_eq!(sign_in.answer(&world, "246802").await, Next::Tokens);
        let body = json!({ "destinationNumber": NUMBER, "otp": "246802" });
        assert_eq!(world.post("/otp/verify", &body).await.status, 200);
        world.advance(Duration::from_mins(1));
    }
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
    again.signs_in(&world).await;
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
    victim.signs_in(&world).await;
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
    sign_in.signs_in(&world).await;
    assert_eq!(
        other.answer(&world, &world.newest_code()).await,
        Next::Asked
    );
    other.is("ended", "0");
    assert_eq!(world.messages_sent(), 1);
}
