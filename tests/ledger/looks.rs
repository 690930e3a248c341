//! The request that reads several items, and its failures. DynamoDB may also answer only a part of such a request. An
//! item that was left out must never be taken for missing: a missing item means that nothing was counted.

use crate::emulator::{Emulator, Fault, Request};
use crate::service::{Calls, service, settings};
use crate::shared::{
    MINUTE, START, WINDOWS, at, bring, keys, reserve, the_counter, the_number, the_verification,
};
use otp_lambda::aws::dynamodb::DynamoDb;
use otp_lambda::error::ErrorCode;
use otp_lambda::ledger::{ItemName, Ledger, Looked, State, Unavailable, Wanted, Window};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::service::{Call, Caller};
use otp_lambda::telemetry::Record;
use serde_json::{Value, json};
use simulator::send_request;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

/// A table with a verification, a number, a counter and a pause.
async fn full_table() -> (Emulator, DynamoDb) {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    bring(&ledger, State::Sent).await;
    reserve(&ledger, WINDOWS, START).await;
    assert!(ledger.count(&the_counter(), 9, at(MINUTE)).await.unwrap());
    let switches = ItemName::of_switches();
    emulator.put(&json!({ "pk": { "S": switches.as_str() }, "paused": { "BOOL": true } }));
    emulator.requests();
    (emulator, ledger)
}

async fn look(ledger: &DynamoDb) -> Result<Looked, Unavailable> {
    let wanted = Wanted {
        switches: true,
        verification: &the_verification(),
        number: &the_number(),
        counters: &[the_counter()],
    };
    ledger.look(&wanted).await
}

/// Asserts that nothing is missing.
fn is_whole(looked: &Looked) {
    assert_eq!(looked.switches.as_ref().map(|it| it.paused), Some(true));
    assert_eq!(looked.verification.as_ref().unwrap().state, State::Sent);
    assert_eq!(
        (looked.number.sends.len(), &*looked.counters),
        (1, &[1][..])
    );
}

/// The names of the items that a request asks for.
fn asked(request: &Request) -> BTreeSet<String> {
    let of_table = &request.body["RequestItems"]["ledger"];
    assert_eq!(of_table["ConsistentRead"], true);
    let keys = of_table["Keys"].as_array().unwrap();
    let names: BTreeSet<_> = keys
        .iter()
        .map(|key| key["pk"]["S"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names.len(),
        keys.len(),
        "DynamoDB refuses a key that is there twice"
    );
    names
}

#[tokio::test]
async fn one_consistent_request_reads_all_items() {
    let (emulator, ledger) = full_table().await;
    is_whole(&look(&ledger).await.unwrap());
    let requests = emulator.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].action, "BatchGetItem");
    assert_eq!(asked(&requests[0]).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn items_that_were_left_out_are_asked_for_again_and_alone() {
    for left_out in 1..4 {
        let (emulator, ledger) = full_table().await;
        emulator.faults([Fault::Unprocessed(left_out)]);
        is_whole(&look(&ledger).await.unwrap());
        let requests = emulator.requests();
        let [first, second] = &requests[..] else {
            panic!("{requests:?}")
        };
        // The emulator records what it has executed, so the first request has no keys that it left out.
        assert_eq!(asked(second).len(), left_out);
        assert!(asked(first).is_disjoint(&asked(second)));
    }
    // Some are left out twice.
    let (emulator, ledger) = full_table().await;
    emulator.faults([Fault::Unprocessed(3), Fault::Unprocessed(2)]);
    is_whole(&look(&ledger).await.unwrap());
    assert_eq!(emulator.requests().len(), 3);
}

/// DynamoDB reads at most 100 items with one request, and an operator may set any number of limits.
#[tokio::test(start_paused = true)]
async fn more_than_a_hundred_items_are_read_in_parts() {
    let (emulator, ledger) = full_table().await;
    let to = PhoneNumber::parse("+14255550142").unwrap();
    let counter = |hour| keys().prefix(&to, Window::around(START.plus(hour), HOUR));
    let counters: Vec<ItemName> = (0..250).map(|hour| counter(HOUR * hour)).collect();
    for counter in &counters {
        assert!(ledger.count(counter, 9, at(MINUTE)).await.unwrap());
    }
    for (faults, requests) in [
        (vec![], 3),
        (vec![Fault::None, Fault::Unprocessed(30)], 3),
        (vec![Fault::Unprocessed(60), Fault::Throttled], 5),
    ] {
        emulator.requests();
        emulator.faults(faults);
        let wanted = Wanted {
            switches: true,
            verification: &the_verification(),
            number: &the_number(),
            counters: &counters,
        };
        let looked = ledger.look(&wanted).await.unwrap();
        assert_eq!(looked.counters, vec![1; 250]);
        assert_eq!(looked.verification.unwrap().state, State::Sent);
        let asked = emulator.requests();
        let executed = asked.iter().filter(|request| request.answer.0 == 200);
        assert!(executed.count() <= requests, "{requests}");
        assert!(asked.len() >= 3);
    }
}

/// A response may leave out every item. Then it need not name the table. If it leaves out fewer items and does not name
/// the table, the other items must not be taken for missing.
#[tokio::test(start_paused = true)]
async fn a_response_without_the_table_is_no_empty_table() {
    let (emulator, ledger) = full_table().await;
    emulator.faults([Fault::Unprocessed(4)]);
    is_whole(&look(&ledger).await.unwrap());
    assert_eq!(emulator.requests().len(), 2);
    emulator.faults([Fault::NoTable; 3]);
    let Unavailable(cause) = look(&ledger).await.unwrap_err();
    assert!(cause.contains("without all items"), "{cause}");
    assert_eq!(emulator.requests().len(), 3);
    // The control: a table that is named has no items.
    let emulator = Emulator::new();
    let looked = look(&emulator.ledger()).await.unwrap();
    assert_eq!((looked.verification, looked.counters), (None, vec![0]));
}

#[tokio::test(start_paused = true)]
async fn a_look_fails_if_an_item_is_always_left_out() {
    let (emulator, ledger) = full_table().await;
    emulator.faults([
        Fault::Unprocessed(3),
        Fault::Unprocessed(2),
        Fault::Unprocessed(1),
    ]);
    let Unavailable(cause) = look(&ledger).await.unwrap_err();
    assert!(cause.contains("left out"), "{cause}");
    assert_eq!(emulator.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_is_repeated_twice() {
    for fault in [
        Fault::Throttled,
        Fault::Unreachable,
        Fault::ServerError,
        Fault::LostAnswer,
        Fault::ServerErrorAfter,
        Fault::Garbage,
        Fault::Empty,
        Fault::NoTable,
        Fault::OtherTable,
    ] {
        for faults in 1..=3 {
            let (emulator, ledger) = full_table().await;
            emulator.faults(vec![fault; faults]);
            match look(&ledger).await {
                Ok(looked) => {
                    is_whole(&looked);
                    assert!(faults < 3, "{fault:?}");
                }
                Err(_) => assert_eq!(faults, 3, "{fault:?}"),
            }
        }
    }
    let (emulator, ledger) = full_table().await;
    emulator.faults([Fault::Hang; 3]);
    assert!(look(&ledger).await.is_err());
}

#[tokio::test]
async fn an_item_that_is_not_understood_is_an_error() {
    for (prefix, name) in [("V#", "st"), ("N#", "t1"), ("S#", "n"), ("K#", "paused")] {
        let (emulator, ledger) = full_table().await;
        let edited = emulator.edit_all(prefix, |item| item[name] = json!({ "SS": ["x"] }));
        assert_eq!(edited, 1, "{prefix}");
        let Unavailable(cause) = look(&ledger).await.unwrap_err();
        assert!(cause.contains(name), "{cause}");
    }
}

/// Sends while all sends are paused and the table leaves out items: always two, and says so, or those that are given,
/// and does not say so.
async fn send_while(left_out: Option<fn(&Value) -> bool>) -> (Result<(), ErrorCode>, usize) {
    let emulator = Emulator::new();
    let calls = Arc::<Calls>::default();
    let service = service(&emulator, &calls, settings(&[]));
    let switches = ItemName::of_switches();
    emulator.put(&json!({ "pk": { "S": switches.as_str() }, "paused": { "BOOL": true } }));
    if let Some(is_left_out) = left_out {
        emulator.rewrite(move |request| {
            if let Some(keys) = request.body["RequestItems"]["ledger"]["Keys"].as_array_mut() {
                keys.retain(|key| !is_left_out(key));
            }
        });
    } else {
        emulator.choose_faults(|_| Fault::Unprocessed(2));
    }
    let caller = Caller {
        principal: Some("backend".to_owned()),
        ..Caller::default()
    };
    let mut record = Record::default();
    let mut call = Call::new(caller, START, Duration::MAX, &mut record);
    let to = PhoneNumber::parse("+14255550142").unwrap();
    let sent = service.send(&send_request(&service, to), &mut call).await;
    let sent = sent.map(drop).map_err(|error| error.code());
    (sent, calls.sends.load(Ordering::Relaxed))
}

/// An operator's pause is not overlooked. In the control the table loses the pause without a word, and the message is
/// sent.
#[tokio::test(start_paused = true)]
async fn switches_that_are_left_out_stop_a_send() {
    let (refused, sends) = send_while(None).await;
    assert_eq!((refused, sends), (Err(ErrorCode::LedgerUnavailable), 0));
    let is_pause = |key: &Value| key["pk"]["S"].as_str().unwrap().starts_with("K#");
    assert_eq!(send_while(Some(is_pause)).await, (Ok(()), 1));
}
