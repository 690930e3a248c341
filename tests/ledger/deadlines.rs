//! A slow table. The function responds before Lambda ends it. If a message was certainly not sent, its key is released.

use crate::emulator::{Emulator, Fault, Request};
use crate::service::{Calls, WIDE, service, settings};
use otp_lambda::app::{App, Invocation, InvokedAs};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The timeout of the function in the template.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Limits in many windows, so that a send has many steps in a row.
const MANY: [(&str, &str); 4] = {
    let [_, sources, budgets, references] = WIDE;
    let windows = "50000/10m,60000/20m,70000/30m,80000/40m,90000/1h";
    [("PREFIX_LIMITS", windows), sources, budgets, references]
};

struct World {
    emulator: Emulator,
    calls: Arc<Calls>,
    app: App,
    now: SystemTime,
}

impl World {
    fn new(latency_of_the_provider: Duration) -> Self {
        let emulator = Emulator::new();
        let calls = Arc::new(Calls {
            latency: latency_of_the_provider,
            ..Calls::default()
        });
        let (http, sign_in) = (settings(&MANY).http, settings(&MANY).sign_in);
        let app = App::new(service(&emulator, &calls, settings(&MANY)), http, sign_in);
        Self {
            emulator,
            calls,
            app,
            now: SystemTime::UNIX_EPOCH + Duration::from_hours(500_000),
        }
    }

    /// Delays every further response of the table.
    fn slow_down(&self, delay: Duration) {
        self.emulator.choose_faults(move |_| Fault::Late(delay));
    }

    /// Returns the status and body of the response, and the time that it took.
    async fn post(&self, path: &str, body: &Value, deadline: SystemTime) -> (u64, Value, Duration) {
        self.post_with_key(path, body, "k", deadline).await
    }

    async fn post_with_key(
        &self,
        path: &str,
        body: &Value,
        key: &str,
        deadline: SystemTime,
    ) -> (u64, Value, Duration) {
        let file = format!("{}/events/send.http-v2.json", env!("CARGO_MANIFEST_DIR"));
        let mut event: Value =
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        event["rawPath"] = json!(path);
        event["routeKey"] = json!(format!("POST {path}"));
        event["body"] = json!(body.to_string());
        event["headers"]["idempotency-key"] = json!(key);
        let event: Box<RawValue> = serde_json::from_str(&event.to_string()).unwrap();
        let invocation = Invocation {
            invoked_as: InvokedAs::Itself,
            request_id: "8f507cfc-xmpl-4697-b07a-ac58fc914c95".to_owned(),
            trace: None,
            deadline,
        };
        let begun = Instant::now();
        let response = self.app.handle_at(self.now, &event, invocation).await;
        let response: Value = serde_json::from_str(response.unwrap().get()).unwrap();
        let body = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
        (
            response["statusCode"].as_u64().unwrap(),
            body,
            begun.elapsed(),
        )
    }

    async fn send(&self) -> (u64, Value, Duration) {
        let body = json!({ "destinationNumber": "+14255550142", "clientIp": "192.0.2.1" });
        self.post("/otp/send", &body, self.now + TIMEOUT).await
    }

    async fn verify(&self, reference: &Value, otp: &str) -> (u64, Value, Duration) {
        let body = json!({
            "destinationNumber": "+14255550142", "otp": otp, "clientIp": "192.0.2.1",
            "referenceId": reference,
        });
        self.post("/otp/verify", &body, self.now + TIMEOUT).await
    }

    /// The state of the idempotency key, if it was ever reserved.
    fn key(&self) -> Option<String> {
        let items = self.emulator.items();
        let key = items
            .iter()
            .find(|item| item["pk"].as_str().unwrap().starts_with("I#"));
        key.map(|key| key["st"].as_str().unwrap().to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_is_answered_in_time_however_slow_the_table_is() {
    for delay in (100..=2_500).step_by(50).map(Duration::from_millis) {
        for latency in [100, 3_000].map(Duration::from_millis) {
            let world = World::new(latency);
            world.slow_down(delay);
            let (status, body, time) = world.send().await;
            let what = format!("{delay:?}, {latency:?}: {status} after {time:?}: {body}");
            assert!(time < TIMEOUT, "{what}");
            let asked = world.calls.sends.load(Ordering::Relaxed);
            let key = world.key();
            match status {
                202 => assert_eq!((asked, key.as_deref()), (1, Some("done")), "{what}"),
                _ if body["delivery"] == "unknown" => {
                    assert_eq!((asked, key.as_deref()), (1, Some("unclear")), "{what}");
                }
                503 | 504 => {
                    assert_eq!(asked, 0, "{what}");
                    assert!(key.is_none_or(|key| key == "released"), "{what}");
                    let open = verification(&world.emulator);
                    assert!(open.is_none_or(|state| state == "failed"), "{what}");
                }
                _ => panic!("{what}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_every_response_900_milliseconds_late_a_send_says_that_no_message_was_sent() {
    let world = World::new(Duration::from_millis(100));
    world.slow_down(Duration::from_millis(900));
    let (status, body, time) = world.send().await;
    assert_eq!((status, &body["code"]), (503, &json!("ledger_unavailable")));
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("no message was sent"), "{detail}");
    assert!(time < TIMEOUT, "{time:?}");
    assert_eq!(world.key().as_deref(), Some("released"));
    // All counts are refunded, except the place in the number's windows and the requests of the address.
    for item in world.emulator.items() {
        match item["pk"].as_str().unwrap().split_once('#').unwrap().0 {
            "R" => assert_eq!(item["n"], "0", "{item}"),
            "B" => assert!(
                item.as_object()
                    .unwrap()
                    .iter()
                    .all(|(name, count)| !name.starts_with('m') || count == "0"),
                "{item}"
            ),
            _ => {}
        }
    }
    // The key can be used again, and the send succeeds as soon as the table is fast.
    world.emulator.choose_faults(|_| Fault::None);
    let world = World {
        now: world.now + Duration::from_secs(31),
        ..world
    };
    assert_eq!(world.send().await.0, 202);
}

/// The control: without a deadline the same send takes longer than Lambda gives it.
#[tokio::test(start_paused = true)]
async fn without_a_deadline_the_same_send_takes_too_long() {
    let world = World::new(Duration::from_millis(100));
    world.slow_down(Duration::from_millis(900));
    let body = json!({ "destinationNumber": "+14255550142", "clientIp": "192.0.2.1" });
    let (_, _, time) = world.post("/otp/send", &body, SystemTime::UNIX_EPOCH).await;
    assert!(time >= TIMEOUT, "{time:?}");
}

fn is_release(request: &Request) -> bool {
    let update = request.body["UpdateExpression"].as_str();
    update.is_some_and(|update| update.contains("#st = :released"))
}

/// The state of the only verification, if there is one.
fn verification(emulator: &Emulator) -> Option<String> {
    let items = emulator.items();
    let item = items
        .iter()
        .find(|item| item["pk"].as_str().unwrap().starts_with("V#"));
    item.map(|item| item["st"].as_str().unwrap().to_owned())
}

/// The steps before are so slow that the reservation of the key is cut off. The reservation was done nevertheless.
#[tokio::test(start_paused = true)]
async fn a_key_whose_reservation_is_cut_is_released() {
    let world = World::new(Duration::from_millis(100));
    world.emulator.choose_faults(|request| {
        let values = request.body["ExpressionAttributeValues"].to_string();
        if values.contains("\"claimed\"") {
            Fault::LostAnswer
        } else if request.action == "GetItem" && request.body.to_string().contains("I#") {
            Fault::Hang
        } else if is_release(request) {
            Fault::Delay(Duration::from_millis(900))
        } else {
            Fault::Delay(Duration::from_millis(990))
        }
    });
    let time_left = Duration::from_millis(5_700);
    let body = json!({ "destinationNumber": "+14255550142", "clientIp": "192.0.2.1" });
    let (status, body, time) = world.post("/otp/send", &body, world.now + time_left).await;
    assert_eq!((status, &body["code"]), (503, &json!("ledger_unavailable")));
    assert!(time < time_left, "{time:?}");
    assert_eq!(world.key().as_deref(), Some("released"), "{time:?}");
}

/// A release whose answer is lost is repeated.
#[tokio::test(start_paused = true)]
async fn a_release_whose_answer_is_lost_is_done() {
    for fault in [Fault::ServerError, Fault::LostAnswer, Fault::Throttled] {
        let world = World::new(Duration::from_millis(100));
        let mut releases = 0;
        world.emulator.choose_faults(move |request| {
            if !request.is_read() && request.body.to_string().contains("\"R#") {
                return Fault::Hang;
            }
            releases += usize::from(is_release(request));
            if is_release(request) && releases == 1 {
                fault
            } else {
                Fault::None
            }
        });
        assert_eq!(world.send().await.0, 503);
        assert_eq!(world.key().as_deref(), Some("released"), "{fault:?}");
    }
}

/// A send writes the record of its message before it sends the message. Here the write is done, but its answer is lost
/// or comes after the deadline, so nothing is sent. There are two cases. If the send began a new verification, this
/// verification must be recorded as failed. If the send was a resend, the verification must be as it was before the
/// resend.
#[tokio::test(start_paused = true)]
async fn a_send_that_ends_in_its_write_ahead_is_settled() {
    let late = Duration::from_millis(800);
    for (fault, before) in [
        (
            Fault::Late(Duration::from_secs(3)),
            Duration::from_millis(100),
        ),
        (Fault::Late(late), late),
        (Fault::LostAnswer, Duration::from_millis(100)),
    ] {
        for is_resend in [false, true] {
            let mut world = World::new(Duration::from_millis(100));
            let mut request =
                json!({ "destinationNumber": "+14255550142", "clientIp": "192.0.2.1" });
            if is_resend {
                let (status, sent, _) = world.send().await;
                assert_eq!(status, 202);
                request["referenceId"] = sent["referenceId"].clone();
                world.now += Duration::from_secs(31);
                // After a silence, a resend would wait for one more late response.
                world.app.connect_at(world.now).await;
            }
            let is_open = |request: &Request| {
                let update = request.body["UpdateExpression"].as_str();
                update.is_some_and(|update| update.contains("#gen = :next"))
            };
            let mut is_open_done = false;
            world.emulator.choose_faults(move |request| {
                is_open_done |= is_open(request);
                if is_open(request) || is_open_done && request.action == "GetItem" {
                    fault
                } else {
                    Fault::Late(before)
                }
            });
            let (status, body, _) = world
                .post_with_key("/otp/send", &request, "another", world.now + TIMEOUT)
                .await;
            assert_eq!(status, 503, "{body}");
            let expected = if is_resend { "sent" } else { "failed" };
            let found = verification(&world.emulator);
            assert_eq!(found.as_deref(), Some(expected), "{fault:?}, {before:?}");
            assert_eq!(
                world.calls.sends.load(Ordering::Relaxed),
                usize::from(is_resend)
            );
        }
    }
}

/// The control: a key that is not released is noticed.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_released_stays_reserved() {
    let world = World::new(Duration::from_millis(100));
    world.emulator.choose_faults(|request| {
        if is_release(request) {
            Fault::Hang
        } else {
            Fault::Late(Duration::from_millis(900))
        }
    });
    let (status, _, time) = world.send().await;
    assert_eq!(status, 503);
    assert!(time < TIMEOUT, "{time:?}");
    assert_eq!(world.key().as_deref(), Some("claimed"));
}

#[tokio::test(start_paused = true)]
async fn a_verify_is_answered_in_time_however_slow_the_table_is() {
    for delay in (100..=2_500).step_by(50).map(Duration::from_millis) {
        for latency in [100, 6_500].map(Duration::from_millis) {
            for otp in ["123456", "000000"] {
                let world = World::new(Duration::from_millis(100));
                let (status, sent, _) = world.send().await;
                assert_eq!(status, 202);
                let calls = Arc::new(Calls {
                    latency,
                    ..Calls::default()
                });
                let (http, sign_in) = (settings(&MANY).http, settings(&MANY).sign_in);
                let app = App::new(
                    service(&world.emulator, &calls, settings(&MANY)),
                    http,
                    sign_in,
                );
                let world = World {
                    calls,
                    app,
                    ..world
                };
                world.slow_down(delay);
                let (status, body, time) = world.verify(&sent["referenceId"], otp).await;
                let what =
                    format!("{delay:?}, {latency:?}, {otp}: {status} after {time:?}: {body}");
                assert!(time < TIMEOUT, "{what}");
                let right = otp == "123456";
                match status {
                    200 => assert!(right, "{what}"),
                    422 => assert!(!right, "{what}"),
                    503 if world.calls.verifies.load(Ordering::Relaxed) == 0 => {
                        assert!(
                            body["detail"].as_str().unwrap().contains("was not checked"),
                            "{what}"
                        );
                    }
                    503 | 504 => {}
                    _ => panic!("{what}"),
                }
            }
        }
    }
}
