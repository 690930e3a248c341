//! Runs every operation at every door while every response of the table is late. The function must respond before the
//! caller gives up. Over HTTP, this response must be a problem document that says what is known about the outcome.

use crate::emulator::{Emulator, Fault};
use crate::service::{Calls, RIGHT, service, settings};
use otp_lambda::app::{App, Invocation, InvokedAs};
use otp_lambda::error::FunctionError;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use simulator::sized;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

const NUMBER: &str = "+14255550142";

/// The timeout of the function in the template, for callers over HTTP and operators.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long Cognito waits for a trigger.
const COGNITO_WAITS: Duration = Duration::from_secs(5);

/// As many steps as settings can ask for.
const SLOW: [(&str, &str); 7] = [
    ("API_AUTH", "trusted"),
    ("PREFIX_LIMITS", "50000/10m,100000/1h"),
    ("SOURCE_LIMITS", "50000/10m,60000/1h,70000/2h,80000/24h"),
    ("BUDGETS", "1000000/24h"),
    ("REFERENCE_ID", "derived"),
    ("FOREIGN_CODES", "on"),
    ("SIGN_IN_SHARE", "50"),
];

/// How late the responses of the table are.
#[derive(Debug, Clone, Copy)]
struct Late {
    reads: Duration,
    writes: Duration,
}

impl Late {
    const fn all(milliseconds: u64) -> Self {
        let late = Duration::from_millis(milliseconds);
        Self {
            reads: late,
            writes: late,
        }
    }
}

/// The slowest table whose steps succeed: each write is given up after a second, and then found to be done.
const SLOWEST: Late = Late {
    reads: Duration::from_millis(900),
    writes: Duration::from_millis(1_500),
};

/// The requests that an event needs before it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Sent,
    Verified,
    SignIn,
}

struct Door {
    file: String,
    before: Before,
    /// Fields that the event's HTTP body gets.
    body: Value,
    /// The answer to a challenge.
    answer: Option<&'static str>,
}

fn doors() -> Vec<Door> {
    let mut doors = Vec::new();
    for origin in ["http-v2", "rest-v1", "function-url", "alb"] {
        for (operation, before, body) in [
            ("send", Before::Nothing, json!({})),
            ("send", Before::Sent, json!({})),
            ("verify", Before::Sent, json!({ "otp": RIGHT })),
            ("verify", Before::Sent, json!({ "otp": "000000" })),
            ("verify", Before::Nothing, json!({ "otp": RIGHT })),
            ("status", Before::Sent, json!({})),
            ("status", Before::Nothing, json!({})),
            ("status", Before::Verified, json!({ "claim": true })),
            ("status", Before::Sent, json!({ "claim": true })),
            ("cancel", Before::Sent, json!({})),
        ] {
            doors.push(Door {
                file: format!("{operation}.{origin}"),
                before,
                body,
                answer: None,
            });
        }
    }
    for (file, before, answer) in [
        ("cognito.define", Before::Nothing, None),
        ("cognito.create", Before::Nothing, None),
        ("cognito.create", Before::SignIn, None),
        ("cognito.create.unknown-user", Before::Nothing, None),
        ("cognito.create.later-round", Before::SignIn, None),
        ("cognito.verify", Before::SignIn, Some(RIGHT)),
        ("cognito.verify", Before::SignIn, Some("000000")),
        ("cognito.verify", Before::SignIn, Some("resend")),
        ("cognito.pre-sign-up", Before::Verified, None),
        ("unlock", Before::Nothing, None),
    ] {
        doors.push(Door {
            file: file.to_owned(),
            before,
            body: Value::Null,
            answer,
        });
    }
    doors
}

struct World {
    emulator: Emulator,
    calls: Arc<Calls>,
    app: App,
    now: SystemTime,
}

type Response = Result<Value, FunctionError>;

impl World {
    fn new() -> Self {
        let emulator = Emulator::new();
        let calls = Arc::new(Calls {
            latency: Duration::from_millis(100),
            ..Calls::default()
        });
        let (http, mut sign_in) = (settings(&SLOW).http, settings(&SLOW).sign_in);
        // Not by a setting: no function has both this and foreign codes, and the tests want all steps of both.
        sign_in.pre_sign_up = true;
        Self {
            app: App::new(service(&emulator, &calls, settings(&SLOW)), http, sign_in),
            emulator,
            calls,
            now: SystemTime::UNIX_EPOCH + Duration::from_hours(500_000),
        }
    }

    async fn invoke(&self, event: &Value, deadline: SystemTime) -> (Response, Duration) {
        let event: Box<RawValue> = serde_json::from_str(&event.to_string()).unwrap();
        let invocation = Invocation {
            invoked_as: InvokedAs::Itself,
            request_id: "8f507cfc-xmpl-4697-b07a-ac58fc914c95".to_owned(),
            trace: None,
            deadline,
        };
        let begun = Instant::now();
        let response = self.app.handle_at(self.now, &event, invocation).await;
        let response = response.map(|response| serde_json::from_str(response.get()).unwrap());
        (response, begun.elapsed())
    }

    /// Passes the door while every response of the table is late.
    async fn pass(&mut self, door: &Door, late: Late, has_deadline: bool) -> (Response, Duration) {
        let before = match door.before {
            Before::Nothing => Value::Null,
            Before::Sent | Before::Verified => {
                let sent = self.quickly("send.http-v2", &json!({})).await;
                if door.before == Before::Verified {
                    self.quickly("verify.http-v2", &json!({ "otp": RIGHT }))
                        .await;
                }
                body(&sent)
            }
            Before::SignIn => self.quickly("cognito.create", &Value::Null).await,
        };
        for count in [&self.calls.sends, &self.calls.verifies] {
            count.store(0, Ordering::Relaxed);
        }
        // The windows of the number have room again.
        self.now += Duration::from_secs(31);
        self.emulator.choose_faults(move |request| {
            Fault::Late(if request.is_read() {
                late.reads
            } else {
                late.writes
            })
        });
        let mut event = event(&door.file, &door.body);
        match door.file.as_str() {
            "cognito.create.later-round" => {
                event["request"]["session"][0]["challengeMetadata"] =
                    before["response"]["challengeMetadata"].clone();
            }
            "cognito.verify" => {
                event["request"]["privateChallengeParameters"] =
                    before["response"]["privateChallengeParameters"].clone();
                event["request"]["challengeAnswer"] = json!(door.answer);
            }
            "cognito.pre-sign-up" => {
                event["request"]["validationData"]["referenceId"] = before["referenceId"].clone();
            }
            _ => {}
        }
        let deadline = if has_deadline {
            self.now + TIMEOUT
        } else {
            SystemTime::UNIX_EPOCH
        };
        self.invoke(&event, deadline).await
    }

    /// Asserts that nothing was done if the detail of a problem says so.
    fn did_nothing_that(&self, detail: &str, what: &str) {
        let detail = detail.to_lowercase();
        let items = self.emulator.items();
        let (sends, verifies) = (&self.calls.sends, &self.calls.verifies);
        for (words, is_true) in [
            ("no message was sent", sends.load(Ordering::Relaxed) == 0),
            ("was not checked", verifies.load(Ordering::Relaxed) == 0),
            (
                "nothing was canceled",
                items.iter().all(|item| item["st"] != "canceled"),
            ),
            (
                "nothing was redeemed",
                items.iter().all(|item| item["claimed"].is_null()),
            ),
        ] {
            assert!(is_true || !detail.contains(words), "{what}");
        }
    }

    async fn quickly(&self, file: &str, more: &Value) -> Value {
        let (response, _) = self.invoke(&event(file, more), self.now + TIMEOUT).await;
        let response = response.unwrap();
        let status = response["statusCode"].as_u64();
        assert!(status.is_none_or(|status| status < 300), "{response}");
        response
    }
}

/// An event of `events/`, with these fields in the body.
fn event(file: &str, fields: &Value) -> Value {
    let path = format!("{}/events/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let mut event: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    if let Value::Object(fields) = fields {
        let mut body = json!({ "destinationNumber": NUMBER, "clientIp": "192.0.2.1" });
        body.as_object_mut().unwrap().extend(fields.clone());
        event["body"] = json!(body.to_string());
        event["isBase64Encoded"] = json!(false);
        event["headers"]["idempotency-key"] = json!(format!("key-of-{file}").replace('.', "-"));
    }
    event
}

fn body(response: &Value) -> Value {
    serde_json::from_str(response["body"].as_str().unwrap()).unwrap()
}

/// Asserts that the response is one, and that a problem says what is known.
fn check(world: &World, door: &Door, response: &Response, what: &str) {
    if door.file.starts_with("cognito") {
        match response {
            Ok(event) => assert!(event["response"].is_object(), "{what}"),
            Err(error) => assert_eq!(error.kind, "SignUpRefused", "{what}"),
        }
        return;
    }
    let response = match response {
        Ok(response) => response,
        Err(error) => {
            assert_eq!((&*door.file, error.kind), ("unlock", "ledger_unavailable"));
            assert!(error.message.contains("may have been unlocked"), "{what}");
            return;
        }
    };
    if door.file == "unlock" {
        assert_eq!(response["unlocked"], true, "{what}");
        return;
    }
    let body = body(response);
    match response["statusCode"].as_u64().unwrap() {
        200 | 202 | 404 | 409 | 422 => {}
        503 | 504 => {
            let known = match (door.file.split('.').next().unwrap(), &door.body["claim"]) {
                ("send", _) if body["delivery"] == "unknown" => &["may have been sent"][..],
                ("send", _) => &["no message was sent", "No message was sent"],
                ("verify", _) => &["was not checked", "ask for the status", "no verdict"],
                ("status", Value::Null) => &["status is not known"],
                ("status", _) => &["nothing was redeemed", "may have been redeemed"],
                _ => &["nothing was canceled", "may have been canceled"],
            };
            let detail = body["detail"].as_str().unwrap();
            assert!(known.iter().any(|known| detail.contains(known)), "{what}");
            world.did_nothing_that(detail, what);
        }
        _ => panic!("{what}"),
    }
}

async fn pass_all(late: Late) {
    for door in doors() {
        let mut world = World::new();
        let (response, time) = world.pass(&door, late, true).await;
        let Door { file, before, .. } = &door;
        let what = format!("{file} after {before:?}, {late:?}: {time:?}, {response:?}");
        let limit = if file.starts_with("cognito") {
            COGNITO_WAITS
        } else {
            TIMEOUT
        };
        assert!(time < limit, "{what}");
        check(&world, &door, &response, &what);
    }
}

#[tokio::test(start_paused = true)]
async fn every_operation_is_answered_in_time_with_every_response_900_milliseconds_late() {
    pass_all(Late::all(900)).await;
}

#[tokio::test(start_paused = true)]
async fn every_operation_is_answered_in_time_however_slow_the_table_is() {
    for late in (100..=2_500).step_by(sized(800, 200)) {
        pass_all(Late::all(late)).await;
    }
    pass_all(SLOWEST).await;
}

/// The control: without a deadline, each of these takes longer than Lambda gives it.
#[tokio::test(start_paused = true)]
async fn without_a_deadline_these_operations_take_too_long() {
    for (operation, claim) in [
        ("send", false),
        ("verify", false),
        ("status", true),
        ("cancel", false),
    ] {
        let mut longest = Duration::ZERO;
        for door in doors() {
            if door.file == format!("{operation}.http-v2")
                && door.body.get("claim").is_some() == claim
            {
                let (_, time) = World::new().pass(&door, SLOWEST, false).await;
                longest = longest.max(time);
            }
        }
        assert!(longest >= TIMEOUT, "{operation}: {longest:?}");
    }
}
