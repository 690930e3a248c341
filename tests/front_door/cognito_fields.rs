//! Events with missing, null, unexpected or additional fields. The function must give either a complete response or a
//! function error with a reason. An event that was changed in this way must never give more rights than the original
//! event.

use super::cognito_define::{Oracle, Verdict};
use crate::pool::{Next, SignIn, User, answer_correct, decision_of, is_challenge};
use crate::world::{NUMBER, World, file, file_names};
use otp_lambda::cognito::{Round, StepUp};
use serde_json::{Value, json};
use simulator::{Operation, sized};

const TRIGGERS: [&str; 3] = [
    "DefineAuthChallenge_Authentication",
    "CreateAuthChallenge_Authentication",
    "VerifyAuthChallengeResponse_Authentication",
];

/// JSON pointers to all fields and elements of a value. The first points to the value itself.
fn places(value: &Value, at: &str, places: &mut Vec<String>) {
    places.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                self::places(
                    field,
                    &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")),
                    places,
                );
            }
        }
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                self::places(element, &format!("{at}/{index}"), places);
            }
        }
        _ => {}
    }
}

/// The event without the field or element at this place.
fn without(event: &Value, place: &str) -> Value {
    let mut event = event.clone();
    let (parent, last) = place.rsplit_once('/').unwrap();
    let last = last.replace("~1", "/").replace("~0", "~");
    match event.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(&last)),
        Value::Array(elements) => drop(elements.remove(last.parse().unwrap())),
        other => panic!("{other} has no fields"),
    }
    event
}

/// Variants of an event. Each variant lacks one field or element of the event, or has another value there. The
/// description of a variant begins with the path of this field or element.
fn changed(event: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    places(event, "", &mut all);
    let long = "x".repeat(3000);
    let others = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1.5),
        json!(u64::MAX),
        json!(""),
        json!("resend"),
        json!("\u{0}\u{202e}💬\\\""),
        json!(long),
        json!([]),
        json!({}),
        json!([[null]]),
        json!({ "a": { "b": null } }),
    ];
    let mut changed = Vec::new();
    for place in all.iter().skip(1) {
        changed.push((format!("{place} removed"), without(event, place)));
        for other in &others {
            let mut event = event.clone();
            *event.pointer_mut(place).unwrap() = other.clone();
            let shown: String = other.to_string().chars().take(30).collect();
            changed.push((format!("{place} = {shown}"), event));
        }
    }
    changed
}

/// The history of an event, as the oracle reads it.
fn history(event: &Value) -> Vec<Round> {
    let rounds = event
        .pointer("/request/session")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    rounds
        .iter()
        .map(|round| Round {
            name: text(&round["challengeName"]),
            result: round["challengeResult"].as_bool(),
            metadata: text(&round["challengeMetadata"]),
        })
        .collect()
}

/// Invokes the function and checks that it answers with what the event allows, or refuses with a reason.
async fn is_answered_or_refused(world: &World, oracle: &mut Oracle, what: &str, event: &Value) {
    let trigger = event["triggerSource"].as_str().unwrap_or_default();
    match world.raw(&event.to_string()).await {
        Err(error) if error.kind == "SignUpRefused" => {
            assert_eq!(trigger, "PreSignUp_SignUp", "{what}");
        }
        Err(error) => {
            let error = error.to_string();
            assert!(
                error.len() > 20 && error.contains("Expected"),
                "{what}: {error}"
            );
            assert!(
                !TRIGGERS.contains(&trigger) && trigger != "PreSignUp_SignUp",
                "{what} is refused: {error}"
            );
        }
        Ok(mut answer) => {
            let response = answer["response"].take();
            let mut asked = event.clone();
            asked["response"] = Value::Null;
            assert_eq!(answer, asked, "{what}: only the response changes");
            match trigger {
                "DefineAuthChallenge_Authentication" => {
                    let found = [None, Some(&json!(null)), Some(&json!(false))];
                    let not_found = !found.contains(&event.pointer("/request/userNotFound"));
                    let allowed = oracle.decide(&history(event), not_found, StepUp::Off);
                    let expected = match allowed {
                        Verdict::Tokens => Next::Tokens,
                        Verdict::Fail => Next::Failed,
                        Verdict::Ask(_) => Next::Asked,
                    };
                    if event["request"].is_object() {
                        assert_eq!(decision_of(&response), expected, "{what}");
                    } else {
                        assert_ne!(decision_of(&response), Next::Tokens, "{what}");
                    }
                }
                "CreateAuthChallenge_Authentication" => is_challenge(&response),
                "VerifyAuthChallengeResponse_Authentication" => {
                    assert!(!answer_correct(&response), "{what}");
                }
                "PreSignUp_SignUp" => {
                    panic!("{what}: nothing was verified, and it is confirmed: {response}")
                }
                other => panic!("{what}: {other:?} is answered: {response}"),
            }
        }
    }
}

const GENEROUS: [(&str, &str); 5] = [
    ("COGNITO_FLOOR_MS", "0"),
    ("COGNITO_PRE_SIGN_UP", "on"),
    ("REFERENCE_ID", "random"),
    ("PREFIX_LIMITS", "none"),
    ("BUDGETS", "100000/24h"),
];

#[tokio::test]
async fn aws_events_with_a_missing_null_or_unexpected_field_are_answered_or_refused() {
    let mut handed_over = 0;
    for name in file_names("tests/fixtures/cognito") {
        let path = format!(
            "{}/tests/fixtures/cognito/{name}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let event: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let world = World::counted(&GENEROUS).await;
        let mut oracle = Oracle::new();
        is_answered_or_refused(&world, &mut oracle, &name, &event).await;
        for (what, event) in changed(&event).into_iter().step_by(sized(8, 1)) {
            is_answered_or_refused(&world, &mut oracle, &format!("{name}: {what}"), &event).await;
            handed_over += 1;
        }
        // The number in AWS's examples has an area code that does not exist.
        assert_eq!(world.simulator.requests(Operation::Send).len(), 0, "{name}");
        assert_eq!(
            world.simulator.requests(Operation::Verify).len(),
            0,
            "{name}"
        );
    }
    assert!(handed_over > sized(300, 3000), "{handed_over}");
}

#[tokio::test]
async fn our_events_with_a_missing_null_or_unexpected_field_are_answered_or_refused() {
    for name in file_names("events")
        .iter()
        .filter(|name| name.starts_with("cognito."))
    {
        let event = file(name);
        let world = World::counted(&GENEROUS).await;
        let mut oracle = Oracle::new();
        for (what, event) in changed(&event).into_iter().step_by(sized(8, 1)) {
            is_answered_or_refused(&world, &mut oracle, &format!("{name}: {what}"), &event).await;
        }
        // The windows allow one message to the number, whatever else the event says.
        assert!(world.simulator.inbox().len() <= 1, "{name}");
    }
}

/// Fields that do not affect whether an answer is right.
const IRRELEVANT: [&str; 9] = [
    "/version",
    "/region",
    "/callerContext/awsSdkVersion",
    "/response",
    "/response/answerCorrect",
    "/request/clientMetadata",
    "/request/userAttributes/sub",
    "/request/userAttributes/cognito:user_status",
    "/request/userNotFound",
];

#[tokio::test]
async fn the_right_answer_is_refused_if_its_event_lost_part_of_the_session() {
    let world = World::counted(&GENEROUS).await;
    let mut last = 100_u32;
    let mut fresh = async || {
        last += 1;
        let number = format!("+1425556{last:04}");
        let sign_in = SignIn::begin(&world, &User::with_number(&number)).await;
        let code = world.simulator.newest_to(&number).unwrap().code;
        sign_in.verify_event(&code)
    };
    let template = fresh().await;
    let changes: Vec<String> = changed(&template)
        .into_iter()
        .map(|(what, _)| what)
        .collect();
    let mut right = 0;
    for (index, what) in changes.iter().enumerate().step_by(sized(8, 1)) {
        let place = what.split(' ').next().unwrap();
        if place == "/triggerSource" {
            continue;
        }
        let event = fresh().await;
        let event = &changed(&event)[index].1;
        let answer = world.raw(&event.to_string()).await.unwrap();
        let unknown = place == "/request/userNotFound"
            && !["removed", "= null", "= false"]
                .iter()
                .any(|end| what.ends_with(end));
        // The nonce matters only for repetitions. The first answer is right with any nonce.
        let nonce = event
            .pointer("/request/privateChallengeParameters/nonce")
            .filter(|_| place.ends_with("/nonce"));
        // Cognito writes the string `true`. The boolean says the same.
        let is_verified = what == "/request/userAttributes/phone_number_verified = true";
        let expected = nonce.is_some_and(Value::is_string)
            || is_verified
            || IRRELEVANT.contains(&place) && !unknown;
        assert_eq!(answer_correct(&answer["response"]), expected, "{what}");
        right += usize::from(expected);
    }
    assert!(
        right > sized(5, 50),
        "the control: irrelevant changes leave the answer right ({right})"
    );
}

#[tokio::test]
async fn unknown_fields_are_returned_byte_for_byte() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
    let added = concat!(
        r#""future": {"big": 123456789012345678901234567890, "exact": 0.10000000000000000000000001, "far": 1e400,"#,
        r#" "minus": -0.0, "nothing": null, "text": "\u00fc \ud83d\udcac \u0000", "list": [1, [2, {"x": []}]]}, "#,
        r#""Zeichen äöü 💬": "\"\\", "response2": {"issueTokens": true}"#
    );
    for name in ["cognito.define", "cognito.create", "cognito.verify"] {
        let event = file(name).to_string();
        let event = format!("{{{added},{}", &event[1..]);
        let event = event.replacen("\"request\":{", &format!("\"request\":{{{added},"), 1);
        let answer = world.text(&event).await.unwrap();
        // White space between top-level fields may change.
        let first = &added["\"future\": ".len()..];
        assert_eq!(
            answer
                .matches(&first[..first.find("]}, ").unwrap()])
                .count(),
            2,
            "{answer}"
        );
        for part in [
            "123456789012345678901234567890",
            "0.10000000000000000000000001",
            "1e400",
            "-0.0",
            r#""\"\\""#,
        ] {
            assert_eq!(answer.matches(part).count(), 2, "{part} in {answer}");
        }
    }
}

#[tokio::test]
async fn the_response_field_of_an_event_is_ignored() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
    for response in [
        json!({ "issueTokens": true, "answerCorrect": true }),
        json!(null),
        json!("x"),
        json!([]),
    ] {
        let mut event = file("cognito.define");
        event["response"] = response.clone();
        let answered = world.trigger(&event).await;
        assert_eq!(
            answered,
            json!({ "challengeName": "CUSTOM_CHALLENGE", "issueTokens": false, "failAuthentication": false })
        );
        let mut event = file("cognito.verify");
        event["response"] = response;
        assert_eq!(
            world.trigger(&event).await,
            json!({ "answerCorrect": false })
        );
    }
    // A duplicate `response`. All of them are replaced, and it does not matter which of them AWS reads.
    let twice = file("cognito.define").to_string();
    let twice = format!(
        "{},\"response\":{{\"issueTokens\":true}}}}",
        &twice[..twice.len() - 1]
    );
    if let Ok(answer) = world.text(&twice).await {
        assert_eq!(answer.matches("issueTokens").count(), 1, "{answer}");
        assert!(answer.contains("\"issueTokens\":false"), "{answer}");
    }
    assert!(world.simulator.newest_to(NUMBER).is_none());
}

#[tokio::test]
async fn an_http_event_with_a_trigger_source_is_a_trigger() {
    let world = World::counted(&[("COGNITO_FLOOR_MS", "0")]).await;
    // Only AWS writes the top level of an event. `triggerSource` decides, whatever else is there.
    let mut event = crate::world::post(
        "/otp/send",
        &json!({ "destinationNumber": NUMBER }).to_string(),
    );
    event["triggerSource"] = json!("DefineAuthChallenge_Authentication");
    let answer = world.raw(&event.to_string()).await.unwrap();
    assert_eq!(decision_of(&answer["response"]), Next::Asked);
    for other in [
        json!(null),
        json!(7),
        json!(["DefineAuthChallenge_Authentication"]),
    ] {
        event["triggerSource"] = other;
        assert_eq!(
            world.event(&event).await.status,
            if event["triggerSource"].is_null() {
                202
            } else {
                429
            }
        );
    }
    assert_eq!(world.simulator.inbox().len(), 1);
}
