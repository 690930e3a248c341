//! A send with `dryRun` is judged and not sent.

use crate::money::{SEGMENT, priced};
use crate::with;
use crate::world::{Answer, NUMBER, World, post};
use otp_lambda::ledger::{Door, Hasher, Ledger, Switches};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::time::Millis;
use serde_json::{Value, json};
use simulator::Operation;
use std::collections::BTreeSet;
use std::time::Duration;

/// The function's answer to the same request with `dryRun`.
async fn dry_run(world: &World, body: &Value) -> Answer {
    let mut body = body.clone();
    body["dryRun"] = json!(true);
    world.post("/otp/send", &body).await
}

/// Everything that a send could leave behind: the items of the ledger, and the requests to the provider.
fn traces(world: &World) -> (String, usize) {
    let calls = [Operation::Send, Operation::Verify, Operation::Feedback];
    let calls = calls.map(|operation| world.simulator.requests(operation).len());
    (format!("{:?}", world.ledger), calls.iter().sum())
}

fn rules<'a>(told: &'a Answer, name: &str) -> Vec<&'a Value> {
    let rules = told.body["rules"].as_array().unwrap().iter();
    rules.filter(|rule| rule["name"] == name).collect()
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_asks_no_provider() {
    let limits = [("SOURCE_LIMITS", "9/1h"), ("BUDGETS", "50/1h")];
    let world = World::counted(&limits).await;
    let body = json!({ "destinationNumber": NUMBER, "clientIp": "192.0.2.7" });
    for round in ["before the first send", "after it"] {
        let before = traces(&world);
        let told = dry_run(&world, &body).await;
        assert_eq!(told.status, 200, "{told:?}");
        assert_eq!(traces(&world), before, "{round}");
        let line = world.last_line();
        assert_eq!(
            (&line["operation"], &line["outcome"]),
            (&json!("dryRun"), &json!("ok"))
        );
        for member in [
            "sent",
            "refused",
            "limit",
            "spend",
            "segments",
            "budgetUsed",
            "provider",
        ] {
            assert_eq!(line.get(member), None, "{round}: {member} of {line}");
        }
        // The control: the same request without `dryRun` leaves something behind.
        world.advance(Duration::from_mins(2));
        assert_eq!(world.post("/otp/send", &body).await.status, 202);
        let (items, calls) = traces(&world);
        assert_ne!(items, before.0, "{round}");
        assert_eq!(calls, before.1 + 1, "{round}");
    }
    // A refusal writes nothing either, and counts as no refusal.
    let before = traces(&world);
    let told = dry_run(&world, &body).await;
    assert_eq!(told.body["refusal"]["code"], "resend_too_soon", "{told:?}");
    assert_eq!(traces(&world), before);
    assert!(world.last_line().get("refused").is_none());
    assert_eq!(
        world.post("/otp/send", &body).await.code(),
        "resend_too_soon"
    );
    // The control of the metric.
    let other = json!({ "destinationNumber": NUMBER, "referenceId": "other" });
    world
        .post("/otp/send", &other)
        .await
        .is_problem(429, "rate_limited");
    assert_eq!(world.last_line()["refused"], 1);
}

#[tokio::test]
async fn only_a_backend_may_ask_and_only_without_a_key() {
    let world = World::counted(&[("API_AUTH", "none")]).await;
    let body = json!({ "destinationNumber": NUMBER, "dryRun": true }).to_string();
    let mut event = post("/otp/send", &body);
    event["headers"]["idempotency-key"] = json!("order-4711");
    let before = traces(&world);
    let refused = world.event(&event).await;
    refused.is_problem(400, "invalid_parameter");
    assert_eq!(refused.body["field"], "Idempotency-Key");
    let mut event = post("/otp/send", &body);
    let context = event["requestContext"].as_object_mut().unwrap();
    context.remove("authorizer");
    let refused = world.event(&event).await;
    refused.is_problem(400, "malformed_request");
    assert!(refused.body["detail"].as_str().unwrap().contains("dryRun"));
    assert_eq!(traces(&world), before);
}

#[tokio::test]
async fn a_dry_run_tells_the_message_and_what_is_left_of_each_limit() {
    let limits = [
        ("SEND_LIMITS", "1/30s,3/1h"),
        ("PREFIX_LIMITS", "7/1h"),
        ("BUDGETS", "9USD/24h,50/1h"),
        ("COUNTRY_LIMITS", "US=5/1h"),
        ("REFERENCE_ID", "derived"),
    ];
    let world = priced("dry-run", &limits).await;
    world.begin_a_day();
    let body = json!({ "destinationNumber": NUMBER });
    let sent = world.post("/otp/send", &body).await;
    world.advance(Duration::from_secs(10));
    let told = dry_run(&world, &body).await;
    assert_eq!(told.body["wouldSend"], false, "{told:?}");
    assert_eq!(told.body["refusal"]["retryAfter"], 20, "{told:?}");
    assert_eq!(told.body.get("text"), None);
    world.advance(Duration::from_secs(20));
    let told = dry_run(&world, &body).await;
    assert_eq!(told.body["wouldSend"], true, "{told:?}");
    assert_eq!(told.body["referenceId"], sent.body["referenceId"]);
    assert_eq!(told.body["price"], 0.1);
    assert_eq!(told.body["segments"], 1);
    assert_eq!(told.body["guessChance"]["ofCode"], "3e-6");
    let of_number = told.body["guessChance"]["ofNumber"].as_str().unwrap();
    assert!(of_number.ends_with("/1d"), "{of_number}");
    let left = |name: &str| -> Vec<(Value, Value)> {
        let rules = rules(&told, name).into_iter();
        rules
            .map(|rule| (rule["windowSeconds"].clone(), rule["left"].clone()))
            .collect()
    };
    assert_eq!(left("verification"), [(Value::Null, json!(2))]);
    assert_eq!(left("guesses"), [(Value::Null, json!(100))]);
    assert_eq!(
        left("number"),
        [(json!(30), json!(1)), (json!(3600), json!(2))]
    );
    assert_eq!(left("prefix"), [(json!(3600), json!(6))]);
    assert_eq!(left("country"), [(json!(3600), json!(4))]);
    assert_eq!(
        left("budget"),
        [(json!(3600), json!(49)), (json!(86_400), json!(8.9))]
    );
    let names = told.body["rules"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|rule| rule["name"].as_str().unwrap()).collect();
    let order = [
        "verification",
        "guesses",
        "number",
        "number",
        "prefix",
        "country",
        "budget",
        "budget",
    ];
    assert_eq!(names, order);

    // The message that is sent then has this text and costs this price.
    assert_eq!(world.post("/otp/send", &body).await.status, 202);
    assert_eq!(world.spent("u"), 2 * SEGMENT);
    let asked = world
        .simulator
        .requests(Operation::Send)
        .pop()
        .unwrap()
        .body;
    match told.body.get("text") {
        Some(text) => {
            assert!(text.as_str().unwrap().contains("{{code}}"), "{text}");
            assert!(
                asked.to_string().contains(&text.to_string()),
                "{text} {asked}"
            );
        }
        None => assert_eq!(with::NAME, otp_lambda::aws::pinpoint::NAME),
    }
}

#[tokio::test]
async fn without_a_ledger_a_dry_run_tells_the_message_alone() {
    let world = World::new().await;
    let body = json!({ "destinationNumber": NUMBER });
    let told = dry_run(&world, &body).await;
    assert_eq!((told.status, &told.body["wouldSend"]), (200, &json!(true)));
    assert_eq!(told.body["rules"], json!([]));
    assert_eq!(told.body["segments"], 1);
    assert_eq!(told.body["guessChance"], json!({ "ofCode": "3e-6" }));
    assert!(world.simulator.requests(Operation::Send).is_empty());
    let told = dry_run(&world, &json!({ "destinationNumber": "+4915123456789" })).await;
    assert_eq!(told.body["refusal"]["code"], "country_not_allowed");
}

/// A small generator of numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

const NUMBERS: [&str; 7] = [
    NUMBER,
    "+14255550143",
    "+14255560144",
    "+447700900123",
    "+18765550123",
    "+4915123456789",
    "+14255550199",
];

/// The limit that is tight on a day.
const TIGHT: [(&str, &str); 3] = [
    ("PREFIX_LIMITS", "4/1h"),
    ("BUDGETS", "0.6USD/1h,60/24h"),
    ("SEND_LIMITS", "1/30s,5/1h"),
];

/// The other settings of the comparison. Each limit is small, so that each refuses some of the sends.
const SMALL: &[(&str, &str)] = &[
    ("SEND_LIMITS", "1/30s,5/1h,9/24h"),
    ("PREFIX_LIMITS", "12/1h"),
    ("BUDGETS", "1.7USD/1h,60/24h"),
    ("COUNTRY_LIMITS", "GB=2/1h;*=12/1h"),
    ("SOURCE_LIMITS", "4/10m"),
    ("DEVICE_TOKEN_DAYS", "30"),
    ("CODE_LENGTH", "8"),
    ("TEST_NUMBERS", "+14255550199=12345678@2099-01-31"),
];

/// Plays a day of random events. Before each send, the same request is judged by a dry run, and `between` passes
/// between the two. Returns in which words the two differ, and the outcomes of the sends.
async fn play(seed: u64, between: Duration) -> (Vec<String>, BTreeSet<String>) {
    let tight = TIGHT[usize::try_from(seed).unwrap() % TIGHT.len()];
    let name = format!("play-{seed}-{}", between.as_secs());
    let world = priced(&name, &[SMALL, &[tight]].concat()).await;
    world.begin_a_day();
    let mut dice = Dice(seed);
    let mut token = Value::Null;
    let (mut differences, mut outcomes) = (Vec::new(), BTreeSet::new());
    for _ in 0..150 {
        match dice.below(12) {
            0 | 1 => world.advance(Duration::from_secs(dice.one_of(&[5, 31, 31, 300, 1200]))),
            2 if dice.below(4) == 0 => world.advance(Duration::from_hours(1)),
            3 if dice.below(3) == 0 => {
                let blocked = BTreeSet::from(["+1425556".to_owned(), "+44".to_owned()]);
                world.ledger.switch(match dice.below(6) {
                    0 => Switches {
                        paused: true,
                        ..Switches::default()
                    },
                    1 => Switches {
                        blocked,
                        ..Switches::default()
                    },
                    _ => Switches::default(),
                });
            }
            4 if dice.below(3) == 0 => {
                let number = dice.one_of(&NUMBERS[..3]);
                let failures = dice.one_of(&[1, 10, 10, 30, 100]);
                fail(&world, number, failures).await;
            }
            5 => {
                // The owner of the first number verifies it, if a code is open.
                if let Some(message) = world.simulator.newest_to(NUMBER) {
                    let guess = json!({ "destinationNumber": NUMBER, "otp": message.code, "referenceId": "own" });
                    let right = world.post("/otp/verify", &guess).await;
                    if right.status == 200 {
                        token = right.body["deviceToken"].clone();
                    }
                }
            }
            _ => {
                let number = dice.one_of(&NUMBERS);
                let mut body = json!({ "destinationNumber": number });
                if dice.below(2) == 0 {
                    body["referenceId"] = json!(dice.one_of(&["own", "other"]));
                }
                if dice.below(3) == 0 {
                    body["clientIp"] = json!(dice.one_of(&["192.0.2.7", "2001:db8::7"]));
                }
                if dice.below(3) == 0 {
                    body["deviceToken"] = token.clone();
                }
                let before = traces(&world);
                let told = dry_run(&world, &body).await;
                assert_eq!(told.status, 200, "{told:?}");
                assert_eq!(traces(&world), before);
                world.advance(between);
                let sent = world.post("/otp/send", &body).await;
                outcomes.insert(outcome(&world, &sent));
                differences.extend(difference(&told, &sent));
            }
        }
    }
    (differences, outcomes)
}

/// Charges failed guesses to a number over HTTP.
async fn fail(world: &World, number: &str, failures: u32) {
    let to = PhoneNumber::parse(number).unwrap();
    // The bytes of `KEY`.
    let item = Hasher::from_secret(&[0; 32]).number_at(Door::Http, &to);
    for _ in 0..failures {
        let now = Millis::from(world.simulator.now());
        world.ledger.charge_number(&item, 100, now).await.unwrap();
    }
}

/// A word for what became of a send.
fn outcome(world: &World, sent: &Answer) -> String {
    let became = match sent.status {
        202 => world.last_line()["door"]
            .as_str()
            .unwrap_or("sent")
            .to_owned(),
        _ => sent.code().to_owned(),
    };
    let limit = sent.body["limit"].as_str().unwrap_or_default();
    format!("{became} {limit}").trim().to_owned()
}

/// In what a dry run differs from the send that follows it.
fn difference(told: &Answer, sent: &Answer) -> Option<String> {
    let refusal = &told.body["refusal"];
    let agrees = if sent.status == 202 {
        let is_same = |name: &str| told.body.get(name).is_none_or(|it| *it == sent.body[name]);
        told.body["wouldSend"] == true
            && refusal.is_null()
            && ["referenceId", "channel", "destinationNumber"]
                .into_iter()
                .all(is_same)
    } else {
        let is_same = |name: &str| refusal.get(name) == sent.body.get(name);
        told.body["wouldSend"] == false
            && ["code", "limit", "retryAfter", "detail"]
                .into_iter()
                .all(is_same)
    };
    (!agrees).then(|| format!("{told:?} {sent:?}"))
}

#[tokio::test]
async fn a_dry_run_agrees_with_the_send_that_follows() {
    let mut seen = BTreeSet::new();
    for seed in 1..=9 {
        let (differences, outcomes) = Box::pin(play(seed, Duration::ZERO)).await;
        assert_eq!(differences, [""; 0], "seed {seed}");
        seen.extend(outcomes);
    }
    // The days reach every kind of refusal.
    for outcome in [
        "sent",
        "device",
        "country_not_allowed",
        "destination_blocked",
        "destination_locked",
        "resend_limit",
        "resend_too_soon",
        "sending_paused",
        "rate_limited budget",
        "rate_limited country",
        "rate_limited guesses",
        "rate_limited number",
        "rate_limited prefix",
        "rate_limited source",
    ] {
        assert!(seen.contains(outcome), "{outcome} is not in {seen:?}");
    }
}

/// The control of the comparison: a dry run that judges by another time differs from the send.
#[tokio::test]
async fn a_dry_run_at_another_time_is_found() {
    let (differences, _) = Box::pin(play(1, Duration::from_secs(31))).await;
    assert!(!differences.is_empty());
}
