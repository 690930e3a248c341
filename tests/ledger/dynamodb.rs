//! Tests of the ledger in DynamoDB only: its items, their time to live, and responses that never come.

use crate::emulator::{Emulator, Fault, sdk_config};
use crate::shared::{
    AGAIN, HOLDER, MINUTE, OPENING, SENT, START, USED_UNTIL, WINDOWS, as_opened, at, bring, charge,
    digest, done, guess, paid, reserve, seconds, see, sent, spend, spending, success, the_counter,
    the_key, the_number, the_verification, windows,
};
use aws_smithy_http_client::test_util::{ReplayEvent, StaticReplayClient};
use aws_smithy_types::body::SdkBody;
use futures_util::future::BoxFuture;
use otp_lambda::aws::SharedHttpClient;
use otp_lambda::aws::secrets::ledger_secret;
use otp_lambda::ledger::{
    Charge, FAILURES_KEPT, GuessOutcome, ItemName, KEY_KEPT, LOCKED, Ledger, NUMBER_KEPT,
    NumberCharge, Settled, State, Switches, Transition, Unavailable, VERIFICATION_KEPT,
    Verification,
};
use otp_lambda::time::Millis;
use serde_json::{Value, json};
use std::time::Duration;

/// A test of the ledger in DynamoDB, on an empty table.
pub(crate) type Case = for<'a> fn(&'a Emulator) -> BoxFuture<'a, ()>;

macro_rules! cases {
    ($($case:ident)*) => {
        /// The tests that depend on conditions.
        pub(crate) const CASES: &[(&str, Case)] = &[$((stringify!($case), |emulator| Box::pin($case(emulator)))),*];
        mod each {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::Emulator::new()).await;
            })*
        }
    };
}

cases! {
    a_deleted_counter_does_not_come_back
    a_deleted_budget_does_not_come_back
    a_number_with_failures_expires_later
    a_number_of_the_version_before_gets_an_end
    failures_cleared_between_two_writes_stay_cleared
    a_success_an_operator_deleted_cannot_be_redeemed
}

async fn a_deleted_counter_does_not_come_back(emulator: &Emulator) {
    let ledger = emulator.ledger();
    assert!(ledger.count(&the_counter(), 1, at(MINUTE)).await.unwrap());
    assert_eq!(emulator.item()["ttl"], at(MINUTE).seconds().to_string());
    emulator.sweep(at(2 * MINUTE));
    ledger.uncount(&the_counter()).await.unwrap();
    assert_eq!(emulator.items(), Vec::<Value>::new());
}

async fn a_deleted_budget_does_not_come_back(emulator: &Emulator) {
    let ledger = emulator.ledger();
    let text = spending(&[("m", 1, 2), ("u", 5, 10)]);
    assert_eq!(spend(&ledger, &text).await, None);
    assert_eq!(emulator.item()["ttl"], text.expires.seconds().to_string());
    emulator.sweep(text.expires.plus(MINUTE));
    ledger.refund(&text).await.unwrap();
    assert_eq!(emulator.items(), Vec::<Value>::new());
}

async fn a_number_with_failures_expires_later(emulator: &Emulator) {
    let ledger = emulator.ledger();
    let ttl = || emulator.item()["ttl"].as_str().unwrap().to_owned();
    let kept = |now: Millis| now.plus(NUMBER_KEPT).seconds().to_string();
    let kept_longer = |now: Millis| now.plus(FAILURES_KEPT).seconds().to_string();
    let clear = async |charge, now| {
        let number = the_number();
        ledger.clear_failures(&number, charge, now).await.unwrap();
    };
    for round in 0..2 {
        let now = seconds(round * 3600);
        let later = now.plus(MINUTE);
        reserve(&ledger, WINDOWS, now).await;
        assert_eq!(ttl(), kept(now));
        let first = charge(&ledger, now).await;
        assert_eq!(ttl(), kept_longer(now));
        reserve(&ledger, WINDOWS, later).await;
        assert_eq!(ttl(), kept_longer(later));
        let second = charge(&ledger, now).await;
        let third = charge(&ledger, now).await;
        clear(second, later).await;
        assert_eq!(ttl(), kept_longer(later));
        clear(first, now).await;
        clear(third, now).await;
        assert_eq!(ttl(), kept_longer(later), "nothing was cleared");
        let last = charge(&ledger, now).await;
        clear(last, now).await;
        assert_eq!(ttl(), kept(now));
        charge(&ledger, now).await;
        ledger.unlock(&the_number(), now).await.unwrap();
        assert_eq!(ttl(), kept(now));
    }
    emulator.sweep(at(NUMBER_KEPT));
    assert_eq!(emulator.items().len(), 1);
    emulator.sweep(at(NUMBER_KEPT + 61 * MINUTE));
    assert_eq!(emulator.items().len(), 0);
}

/// The version before gave a number with failures no time to live.
async fn a_number_of_the_version_before_gets_an_end(emulator: &Emulator) {
    let ledger = emulator.ledger();
    for _ in 0..2 {
        charge(&ledger, START).await;
        emulator.edit(|item| drop(item.as_object_mut().unwrap().remove("ttl")));
        assert_eq!(emulator.item()["ttl"], Value::Null);
        reserve(&ledger, WINDOWS, START).await;
        let end = START.plus(FAILURES_KEPT).seconds().to_string();
        assert_eq!(emulator.item()["ttl"], end);
    }
}

async fn failures_cleared_between_two_writes_stay_cleared(emulator: &Emulator) {
    let ledger = emulator.ledger();
    for epoch in 0..3 {
        let ours = charge(&ledger, START).await;
        assert_eq!(ours.epoch, epoch * 2);
        charge(&ledger, START).await;
        // The first write finds two failures. Before the second write somebody clears them, and one more is counted.
        let table = emulator.clone();
        emulator.meanwhile(move |request| {
            let update = request.body["UpdateExpression"]
                .as_str()
                .unwrap_or_default();
            if update.contains("#f = #f - :charged") {
                table.edit(|item| {
                    let epoch: u64 = item["ep"]["N"].as_str().unwrap_or("0").parse().unwrap();
                    item["ep"] = json!({ "N": (epoch + 1).to_string() });
                    item["f"] = json!({ "N": "1" });
                });
            }
        });
        ledger
            .clear_failures(&the_number(), ours, START)
            .await
            .unwrap();
        emulator.meanwhile(|_| ());
        assert_eq!(ledger.number(&the_number()).await.unwrap().failures, 1);
        let charge = Charge {
            failures: 1,
            epoch: epoch * 2 + 1,
        };
        ledger
            .clear_failures(&the_number(), charge, START)
            .await
            .unwrap();
        assert_eq!(ledger.number(&the_number()).await.unwrap().failures, 0);
    }
}

async fn a_success_an_operator_deleted_cannot_be_redeemed(emulator: &Emulator) {
    let ledger = emulator.ledger();
    bring(&ledger, State::Verified).await;
    emulator.edit(|item| item["st"] = json!({ "S": "canceled" }));
    let step = ledger
        .redeem(&the_verification(), 1, &digest("claimant"), at(MINUTE))
        .await
        .unwrap();
    assert!(matches!(step, Transition::Refused(_)));
}

/// An item without the mark of its last update, which is random.
fn without_mark(mut item: Value) -> Value {
    let mark = item.as_object_mut().unwrap().remove("w").unwrap();
    assert_eq!(mark.as_str().unwrap().len(), 8);
    item
}

#[tokio::test]
async fn items_have_the_documented_attributes() {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    let key = the_verification();
    assert!(ledger.open(&key, None, &OPENING).await.unwrap());
    let ttl = |expires: Millis| expires.plus(VERIFICATION_KEPT).seconds().to_string();
    assert_eq!(
        without_mark(emulator.item()),
        json!({
            "pk": key.as_str(), "gen": "1", "st": "reserved", "by": "7", "exp": OPENING.expires.0.to_string(),
            "first": START.0.to_string(), "left": "3", "sends": "1", "prov": "pinpoint",
            "pu": OPENING.plain_until.0.to_string(), "ch": "sms", "len": "6",
            "lang": "en-US", "brand": "ExampleCorp", "ttl": ttl(OPENING.expires),
        })
    );
    ledger
        .settle(&key, 1, HOLDER, &sent(Some("m1")))
        .await
        .unwrap();
    assert!(ledger.reopen(&key, SENT, &AGAIN).await.unwrap());
    assert_eq!(emulator.item()["ttl"], ttl(AGAIN.expires));
    assert_eq!(emulator.item()["prov"], "eum:2,pinpoint");
    ledger
        .settle(
            &key,
            2,
            HOLDER,
            &Settled::Back(&Verification {
                state: State::Sent,
                ..as_opened()
            }),
        )
        .await
        .unwrap();
    assert_eq!(emulator.item()["ttl"], ttl(OPENING.expires));
    paid(guess(&ledger, "g", START).await);
    ledger
        .note_answer(&key, 2, &digest("g"), GuessOutcome::Invalid)
        .await
        .unwrap();
    done(
        ledger
            .consume(&key, 2, &success("winner"), USED_UNTIL)
            .await
            .unwrap(),
    );
    done(
        ledger
            .redeem(&key, 2, &digest("claimant"), at(MINUTE))
            .await
            .unwrap(),
    );
    assert_eq!(
        without_mark(emulator.item()),
        json!({
            "pk": key.as_str(), "gen": "2", "st": "verified", "by": "7", "exp": OPENING.expires.0.to_string(),
            "first": START.0.to_string(), "left": "2", "sends": "1", "prov": "pinpoint",
            "pu": OPENING.plain_until.0.to_string(), "ch": "sms", "len": "6", "lang": "en-US", "brand": "ExampleCorp", "ttl": ttl(OPENING.expires), "mid": "m1",
            "lr": "g", "lo": "invalid", "la": START.0.to_string(),
            "vk": "winner", "vc": "code", "va": at(MINUTE).0.to_string(), "claimed": "claimant",
            "ca": at(MINUTE).0.to_string(), "used": [format!("{} code", at(121 * MINUTE).0)],
        })
    );
    for request in emulator.requests() {
        assert!(
            request.is_read() || request.action == "UpdateItem",
            "{request:?}"
        );
        assert!(request.action != "GetItem" || request.body["ConsistentRead"] == true);
    }
}

#[tokio::test]
async fn an_idempotency_key_has_the_documented_attributes() {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    ledger
        .reserve_key(&the_key(), HOLDER, &digest("body"), START)
        .await
        .unwrap();
    let claimed = json!({
        "pk": the_key().as_str(), "st": "claimed", "by": "7", "at": START.0.to_string(), "fp": "body",
        "ttl": at(KEY_KEPT).seconds().to_string(),
    });
    assert_eq!(without_mark(emulator.item()), claimed);
    ledger
        .finish_key(&the_key(), HOLDER, Some("answer"))
        .await
        .unwrap();
    assert_eq!(emulator.item()["ans"], "answer");
    ledger
        .reserve_key(&the_key(), HOLDER, &digest("body"), at(KEY_KEPT))
        .await
        .unwrap();
    assert_eq!(emulator.item()["ans"], Value::Null);
}

#[tokio::test]
async fn switches_are_read_from_their_item() {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    emulator.put(&json!({
        "pk": { "S": "K#switches" }, "paused": { "BOOL": true },
        "block": { "SS": ["+1876555", "N#abc"] }, "allow": { "SS": ["+18765550142"] },
    }));
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let expected = Switches {
        paused: true,
        blocked: texts(&["+1876555", "N#abc"]),
        allowed: texts(&["+18765550142"]),
    };
    assert_eq!(ledger.switches().await.unwrap(), expected);
    emulator.put(&json!({ "pk": { "S": ItemName::of_switches().as_str() } }));
    assert_eq!(ledger.switches().await.unwrap(), Switches::default());
    for (name, value) in [
        ("paused", json!({ "S": "true" })),
        ("block", json!({ "S": "+1876" })),
        ("allow", json!({ "BOOL": true })),
    ] {
        emulator.put(&json!({ "pk": { "S": "K#switches" }, name: value }));
        let Unavailable(cause) = ledger.switches().await.unwrap_err();
        assert_eq!(
            cause,
            format!("an item's `{name}` is missing or not understood")
        );
    }
}

#[tokio::test]
async fn an_unreadable_verification_is_an_error() {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    bring(&ledger, State::Sent).await;
    paid(guess(&ledger, "g", START).await);
    done(
        ledger
            .consume(&the_verification(), 1, &success("winner"), USED_UNTIL)
            .await
            .unwrap(),
    );
    emulator.edit(|item| item["st"] = json!({ "S": "sent" }));
    let whole = emulator.item();
    let optional = [
        "pk", "ttl", "by", "mid", "pu", "lr", "vk", "used", "claimed",
    ];
    for name in whole.as_object().unwrap().keys() {
        for value in [None, Some(json!({ "BOOL": true }))] {
            if ["pk", "ttl", "w"].contains(&name.as_str())
                || (value.is_none() && optional.contains(&name.as_str()))
            {
                continue;
            }
            let mut kept = Value::Null;
            emulator.edit(|item| {
                kept = item.clone();
                match &value {
                    Some(value) => item[name] = value.clone(),
                    None => drop(item.as_object_mut().unwrap().remove(name)),
                }
            });
            let Unavailable(cause) = ledger.verification(&the_verification()).await.unwrap_err();
            assert_eq!(
                cause,
                format!("an item's `{name}` is missing or not understood")
            );
            // An attempt overwrites the last guess. The last guess need not be readable.
            let attempt = ledger
                .spend_attempt(&the_verification(), &digest("g"), None, START)
                .await;
            assert!(name == "lr" || attempt.is_err(), "{name} {attempt:?}");
            emulator.put(&kept);
        }
    }
    for (name, value) in [
        ("st", json!({ "S": "open" })),
        ("lo", json!({ "S": "maybe" })),
        ("left", json!({ "N": "256" })),
        ("left", json!({ "N": "-1" })),
        ("gen", json!({ "N": "1.5" })),
        ("exp", json!({ "S": "1750000000000" })),
    ] {
        let mut kept = Value::Null;
        emulator.edit(|item| {
            kept = item.clone();
            item[name] = value;
        });
        assert!(
            ledger.verification(&the_verification()).await.is_err(),
            "{name}"
        );
        emulator.put(&kept);
    }
    assert_eq!(see(&ledger).await.generation, 1);
}

#[tokio::test]
async fn an_unreadable_number_or_key_is_an_error() {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    let number = |name: &str| json!({ "pk": { "S": the_number().as_str() }, name: { "S": "1" } });
    for name in ["f", "t1"] {
        emulator.put(&number(name));
        assert!(ledger.number(&the_number()).await.is_err(), "{name}");
        assert!(
            ledger
                .reserve_send(&the_number(), &windows(WINDOWS), START)
                .await
                .is_err(),
            "{name}"
        );
    }
    emulator.put(&number("f"));
    assert!(
        ledger
            .charge_number(&the_number(), LOCKED, START)
            .await
            .is_err()
    );
    for (name, value) in [("st", "odd"), ("fp", ""), ("at", "")] {
        let mut item = json!({
            "pk": { "S": the_key().as_str() }, "st": { "S": "claimed" }, "fp": { "S": "f" },
            "at": { "N": START.0.to_string() },
        });
        item[name] = if value.is_empty() {
            json!({ "BOOL": true })
        } else {
            json!({ "S": value })
        };
        emulator.put(&item);
        assert!(
            ledger
                .reserve_key(&the_key(), HOLDER, &digest("f"), START)
                .await
                .is_err(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_slow_response_counts() {
    let emulator = Emulator::new();
    emulator.faults([Fault::Delay(Duration::from_millis(300))]);
    let charge = emulator
        .ledger()
        .charge_number(&the_number(), LOCKED, START)
        .await
        .unwrap();
    assert!(matches!(charge, NumberCharge::Charged(_)));
}

/// The result of `ledger_secret` for this response, and its requests.
async fn secret(status: u16, answer: Value) -> (Result<Vec<u8>, String>, Vec<String>) {
    let response = http::Response::builder()
        .status(status)
        .body(SdkBody::from(answer.to_string()))
        .unwrap();
    let client = StaticReplayClient::new(vec![ReplayEvent::new(
        http::Request::new(SdkBody::empty()),
        response,
    )]);
    let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:ledger-AbCdEf";
    let secret = ledger_secret(&sdk_config(SharedHttpClient::new(client.clone())), arn).await;
    let asked = client.actual_requests().map(|request| {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        format!(
            "{} {target} {}",
            request.uri(),
            String::from_utf8_lossy(request.body().bytes().unwrap())
        )
    });
    (secret, asked.collect())
}

#[tokio::test]
async fn the_secret_is_read_once() {
    let text = "wJalrXUtnFEMI7K7MDENGbPxRfiCYEXAMPLEKEYwJal"; // 43 bytes
    let (read, asked) = secret(200, json!({ "SecretString": text })).await;
    assert_eq!(read.unwrap(), text.as_bytes());
    let body =
        r#"{"SecretId":"arn:aws:secretsmanager:us-east-1:123456789012:secret:ledger-AbCdEf"}"#;
    let expected = format!(
        "https://secretsmanager.us-east-1.amazonaws.com/ secretsmanager.GetSecretValue {body}"
    );
    assert_eq!(asked, [expected]);
    let (read, _) =
        secret(200, json!({ "SecretBinary": "AAECAwQFBgcICQoLDA0ODwABAgMEBQYHCAkKCwwNDg8AAQIDBAUGBwgJCgsMDQ4P" }))
            .await;
    assert_eq!(read.unwrap().len(), 48);
}

#[tokio::test]
async fn startup_fails_if_the_secret_is_short_or_unreadable() {
    let short = "wJalrXUtnFEMI7K7MDENGbPxRfiCYEXAMPLEKEYwJa";
    let (read, _) = secret(200, json!({ "SecretString": short })).await;
    let sentence = read.unwrap_err();
    assert!(
        sentence.starts_with("The ledger's secret has 42 bytes. It must have at least 43"),
        "{sentence}"
    );
    assert!(!sentence.contains(short));
    assert!(
        secret(200, json!({}))
            .await
            .0
            .unwrap_err()
            .contains("has 0 bytes")
    );
    let denied = json!({ "__type": "AccessDeniedException", "Message": "User 123456789012 is not authorized" });
    let (read, asked) = secret(400, denied).await;
    let sentence = read.unwrap_err();
    assert!(
        sentence.contains("HTTP 400, AccessDeniedException: User ############ is not"),
        "{sentence}"
    );
    assert_eq!(asked.len(), 1);
}

/// The control of the comparison with DynamoDB Local. Only `make soak` starts DynamoDB Local. Without DynamoDB Local,
/// this test has nothing to compare.
#[test]
fn a_difference_from_dynamodb_local_is_seen() {
    let emulator = Emulator::new();
    let has_mirror = emulator.put_here_alone(&json!({ "pk": { "S": "V#x" } }));
    let get = json!({ "TableName": "ledger", "Key": { "pk": { "S": "V#x" } } });
    let asked = std::panic::catch_unwind(|| emulator.execute("GetItem", &get));
    assert_eq!(asked.is_err(), has_mirror);
    // Its last comparison would fail too.
    std::mem::forget(emulator);
}
