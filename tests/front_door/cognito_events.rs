//! The events of the triggers, and their log lines.

use crate::pool::{Next, SignIn, User, answer_correct, is_challenge, user, world};
use crate::world::{World, file, file_names};
use serde_json::json;

#[tokio::test]
async fn each_example_event_is_answered() {
    let world = world(&[("COGNITO_PRE_SIGN_UP", "on"), ("REFERENCE_ID", "random")]).await;
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
