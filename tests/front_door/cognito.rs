//! Sign-ins through Cognito's triggers: the challenge, wrong answers, resends, and the message.

use crate::pool::{
    HALF_A_MINUTE, Next, OTHER, SignIn, User, answer_correct, seconds, user, world, wrong,
};
use crate::with::{asked_to_send, says};
use crate::world::{NUMBER, World};
use serde_json::{Value, json};
use simulator::Operation;
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn the_right_code_signs_in_with_one_message() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    sign_in.is("sent", "3");
    assert_eq!(sign_in.shown["destinationNumber"], "+*******42");
    assert_eq!(sign_in.shown["codeLength"], "6");
    sign_in.signs_in(&world).await;
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
    again.signs_in(&world).await;
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
    sign_in.signs_in(&world).await;
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
    sign_in.signs_in(&world).await;
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
        "12 34 56 78 9",
        "①②③④⑤⑥",
        "一二三四五六",
        "+12345",
        "1234.6",
        "0x1234",
        "null",
        "true",
        "{}",
        "123456\u{0}",
        "\u{202e}12345a",
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
async fn an_expired_code_is_not_resent() {
    let world = world(&[]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    world.advance(Duration::from_mins(10));
    assert_eq!(sign_in.answer(&world, "resend").await, Next::Asked);
    sign_in.is("ended", "0");
    assert_eq!(world.messages_sent(), 1);
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
    again.signs_in(&world).await;
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
        sign_in.signs_in(&allowing).await;
    }
}

#[tokio::test]
async fn a_number_is_verified_by_a_boolean_or_by_the_word_in_any_case() {
    for verified in [json!(true), json!("True"), json!("TRUE"), json!("true")] {
        let world = world(&[]).await;
        let user = user().but("phone_number_verified", verified.clone());
        let mut sign_in = SignIn::begin(&world, &user).await;
        sign_in.signs_in(&world).await;
    }
    for unverified in [json!(false), json!(1), json!("1"), json!("true ")] {
        let world = world(&[]).await;
        let user = user().but("phone_number_verified", unverified.clone());
        SignIn::begin(&world, &user).await.is("sent", "3");
        assert_eq!(world.messages_sent(), 0, "{unverified}");
    }
}

#[tokio::test]
async fn an_old_spelling_of_a_stored_number_is_the_number_it_means() {
    for (stored, number) in [
        ("+5215512345678", "+525512345678"),
        ("+22997123456", "+2290197123456"),
        ("+4210904123456", "+421904123456"),
        ("+4407700900123", "+447700900123"),
    ] {
        let world = world(&[("ALLOWED_COUNTRIES", "*")]).await;
        let user = user().but("phone_number", json!(stored));
        let mut sign_in = SignIn::begin(&world, &user).await;
        sign_in.is("sent", "3");
        assert_eq!(world.asked_to_send()["to"], number);
        let code = world.simulator.newest_to(number).unwrap().code;
        assert_eq!(sign_in.answer(&world, &code).await, Next::Tokens);
    }
}

#[tokio::test]
async fn a_number_that_the_operator_opened_can_sign_in() {
    let number = "+446123456789";
    for (range, messages) in [("+446=GB", 1), ("+4461=GB", 1), ("+4462=GB", 0)] {
        let world = world(&[("ALLOWED_COUNTRIES", "GB"), ("EXTRA_PREFIXES", range)]).await;
        let user = user().but("phone_number", json!(number));
        SignIn::begin(&world, &user).await.is("sent", "3");
        assert_eq!(world.messages_sent(), messages, "{range}");
    }
}

#[tokio::test]
async fn an_old_spelling_as_a_user_name_does_not_show_who_exists() {
    let world = world(&[("ALLOWED_COUNTRIES", "*")]).await;
    let name = "+5215512345678";
    let mut known = user().but("phone_number", json!(name));
    name.clone_into(&mut known.name);
    for user in [known, User::unknown(name)] {
        let sign_in = SignIn::begin(&world, &user).await;
        assert_eq!(sign_in.shown["destinationNumber"], "+*******78");
    }
}

#[tokio::test]
async fn a_stored_number_that_cannot_be_read_is_told_from_none_in_the_log() {
    for (stored, outcome) in [
        (json!("+541123456789"), "invalid_number"),
        (json!("14255550142"), "invalid_number"),
        (json!(""), "no_number"),
        (Value::Null, "no_number"),
    ] {
        let world = world(&[]).await;
        let user = user().but("phone_number", stored.clone());
        SignIn::begin(&world, &user).await.is("sent", "3");
        assert_eq!(world.messages_sent(), 0, "{stored}");
        assert_eq!(world.last_line()["outcome"], outcome, "{stored}");
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
    sign_in.signs_in(&world).await;
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
async fn a_test_number_signs_in_without_a_message() {
    let world = world(&[("TEST_NUMBERS", "+14255550142=246810@2099-01-31")]).await;
    let mut sign_in = SignIn::begin(&world, &user()).await;
    sign_in.is("sent", "3");
    assert_eq!(sign_in.answer(&world, "246811").await, Next::Asked);
    sign_in.is("try_again", "2");
    assert_eq!(sign_in.answer(&world, "246810").await, Next::Tokens);
    assert_eq!((world.messages_sent(), world.provider_checks()), (0, 0));
}
