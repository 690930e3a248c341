//! Failed requests. Only some are repeated, and however often a step's requests are made, the step is done once.

use crate::emulator::{Emulator, Fault};
use crate::shared::{
    AGAIN, HOLDER, MINUTE, OPENING, SENT, START, USED_UNTIL, WINDOWS, at, bring, charge, digest,
    guess, paid, spend, spending, success, the_counter, the_key, the_number, the_verification,
    windows,
};
use futures_util::future::BoxFuture;
use otp_lambda::aws::dynamodb::DynamoDb;
use otp_lambda::ledger::{Charge, GuessOutcome, LOCKED, Ledger, Settled, State, Unavailable};
use serde_json::{Value, json};
use simulator::sized;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// The reply of a step, as text.
type Reply = Result<String, Unavailable>;

struct Case {
    step: &'static str,
    prepare: for<'a> fn(&'a DynamoDb) -> BoxFuture<'a, ()>,
    act: for<'a> fn(&'a DynamoDb) -> BoxFuture<'a, Reply>,
    /// Whether the step is repeated although it may have been done.
    repeats: bool,
}

fn text(reply: Result<impl Debug, Unavailable>) -> Reply {
    reply.map(|reply| format!("{reply:?}"))
}

macro_rules! steps {
    ($($step:ident($ledger:ident) $repeats:literal {$($before:tt)*} $act:expr;)*) => {
        /// Every step that writes, prepared so that it has something to do.
        const STEPS: &[Case] = &[$(Case {
            step: stringify!($step),
            prepare: |$ledger| Box::pin(async move { let _ = $ledger; $($before)* }),
            act: |$ledger| Box::pin(async move { text($act.await) }),
            repeats: $repeats,
        }),*];
    };
}

const FIRST: Charge = Charge {
    failures: 1,
    epoch: 0,
};

steps! {
    count(ledger) true {} ledger.count(&the_counter(), 9, at(MINUTE));
    uncount(ledger) false { ledger.count(&the_counter(), 9, at(MINUTE)).await.unwrap(); }
        ledger.uncount(&the_counter());
    spend(ledger) true {} ledger.spend(&spending(&[("m", 1, 2), ("u", 5, 10)]));
    refund(ledger) false { spend(ledger, &spending(&[("m", 1, 2), ("u", 5, 10)])).await; }
        ledger.refund(&spending(&[("m", 1, 2), ("u", 5, 10)]));
    reserve_key(ledger) true {} ledger.reserve_key(&the_key(), HOLDER, &digest("f"), START);
    release_key(ledger) true { ledger.reserve_key(&the_key(), HOLDER, &digest("f"), START).await.unwrap(); }
        ledger.release_key(&the_key(), HOLDER);
    finish_key(ledger) true { ledger.reserve_key(&the_key(), HOLDER, &digest("f"), START).await.unwrap(); }
        ledger.finish_key(&the_key(), HOLDER, Some("response"));
    reserve_send(ledger) true {} ledger.reserve_send(&the_number(), &windows(WINDOWS), START);
    reserve_send_with_failures(ledger) true { charge(ledger, START).await; }
        ledger.reserve_send(&the_number(), &windows(WINDOWS), START);
    charge_number(ledger) true {} ledger.charge_number(&the_number(), LOCKED, START);
    clear_failures(ledger) true { charge(ledger, START).await; }
        ledger.clear_failures(&the_number(), FIRST, START);
    clear_failures_in_part(ledger) true { charge(ledger, START).await; charge(ledger, START).await; }
        ledger.clear_failures(&the_number(), FIRST, START);
    unlock(ledger) false { charge(ledger, START).await; } ledger.unlock(&the_number(), START);
    open(ledger) true {} ledger.open(&the_verification(), None, &OPENING);
    reopen(ledger) true { bring(ledger, State::Sent).await; } ledger.reopen(&the_verification(), SENT, &AGAIN);
    settle(ledger) true { bring(ledger, State::Reserved).await; }
        ledger.settle(&the_verification(), 1, HOLDER, &Settled::Unclear);
    spend_attempt(ledger) true { bring(ledger, State::Sent).await; }
        ledger.spend_attempt(&the_verification(), &digest("g"), None, START);
    note_answer(ledger) true { bring(ledger, State::Sent).await; paid(guess(ledger, "g", START).await); }
        ledger.note_answer(&the_verification(), 1, &digest("g"), GuessOutcome::Invalid);
    consume(ledger) true { bring(ledger, State::Sent).await; }
        ledger.consume(&the_verification(), 1, &success("w"), USED_UNTIL);
    cancel(ledger) true { bring(ledger, State::Sent).await; } ledger.cancel(&the_verification(), 1, START);
    redeem(ledger) true { bring(ledger, State::Verified).await; }
        ledger.redeem(&the_verification(), 1, &digest("r"), at(MINUTE));
}

const FAULTS: [Fault; 9] = [
    Fault::Throttled,
    Fault::Unreachable,
    Fault::ServerError,
    Fault::Hang,
    Fault::LostAnswer,
    Fault::LostSuccess,
    Fault::ServerErrorAfter,
    Fault::Garbage,
    Fault::Empty,
];

/// Whether the request is executed in spite of the fault.
fn is_executed(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::LostAnswer
            | Fault::LostSuccess
            | Fault::ServerErrorAfter
            | Fault::Garbage
            | Fault::Empty
    )
}

/// The items without the marks of their last writes, which are random.
fn items(emulator: &Emulator) -> Vec<Value> {
    let mut items = emulator.items();
    for item in &mut items {
        let mark = item.as_object_mut().unwrap().remove("w").unwrap();
        assert_eq!(mark.as_str().unwrap().len(), 8);
    }
    items
}

/// The reply of a step whose requests meet these faults, and the items before and after it.
async fn run(case: &Case, faults: &[Fault]) -> (Reply, Vec<Value>, Vec<Value>) {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    (case.prepare)(&ledger).await;
    let before = items(&emulator);
    emulator.faults(faults.iter().copied());
    let reply = (case.act)(&ledger).await;
    (reply, before, items(&emulator))
}

/// How many requests of a case come before the faults. Some cases need two writes: the table always refuses the first
/// write, and the faults are for the second.
fn lead(case: &Case) -> usize {
    usize::from(["reserve_send_with_failures", "clear_failures_in_part"].contains(&case.step))
}

#[tokio::test(start_paused = true)]
async fn a_step_with_one_failed_request_is_done_once() {
    for case in STEPS {
        let (expected, _, done) = run(case, &[]).await;
        for fault in FAULTS {
            let faults = [vec![Fault::None; lead(case)], vec![fault]].concat();
            let (reply, before, after) = run(case, &faults).await;
            let what = format!("{}, {fault:?}: {reply:?}", case.step);
            if case.repeats || is_executed(fault) || fault == Fault::Throttled {
                assert_eq!(reply, expected, "{what}");
                assert_eq!(after, done, "{what}");
            } else {
                assert!(reply.is_err(), "{what}");
                assert_eq!(after, before, "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_with_two_or_three_failed_requests_is_done_at_most_once() {
    for case in STEPS {
        let (expected, _, done) = run(case, &[]).await;
        for first in FAULTS {
            for second in FAULTS {
                for third in [Fault::None, Fault::ServerErrorAfter]
                    .into_iter()
                    .take(sized(1, 2))
                {
                    let faults = [first, second, third];
                    let faults = [vec![Fault::None; lead(case)], faults.to_vec()].concat();
                    let (reply, before, after) = run(case, &faults).await;
                    let what = format!("{}, {faults:?}: {reply:?}", case.step);
                    match &reply {
                        Ok(_) => assert_eq!((&reply, &after), (&expected, &done), "{what}"),
                        Err(_) => assert!(after == before || after == done, "{what}"),
                    }
                }
            }
        }
    }
}

/// A read changes nothing, so it is also repeated if it is unclear whether it was executed.
#[tokio::test(start_paused = true)]
async fn a_read_is_repeated_after_each_fault() {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    bring(&ledger, State::Sent).await;
    let item = the_verification();
    let expected = ledger.verification(&item).await.unwrap();
    assert!(expected.is_some());
    // An empty response means that there is no item.
    for fault in FAULTS.into_iter().filter(|fault| *fault != Fault::Empty) {
        emulator.faults([fault]);
        let read = ledger.verification(&item).await;
        assert_eq!(read.unwrap(), expected, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_request_is_repeated_twice_within_300_milliseconds() {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    let mut waits = Vec::new();
    for _ in 0..20 {
        emulator.faults([Fault::Throttled; 2]);
        let begun = Instant::now();
        assert!(ledger.count(&the_counter(), 99, START).await.unwrap());
        emulator.faults([Fault::Throttled; 2]);
        assert!(ledger.switches().await.is_ok());
        waits.push(begun.elapsed() / 2);
        assert_eq!(emulator.requests().len(), 2, "the others were not executed");

        emulator.faults([Fault::Throttled; 3]);
        let Unavailable(cause) = ledger.count(&the_counter(), 99, START).await.unwrap_err();
        assert!(cause.contains("ProvisionedThroughputExceeded"), "{cause}");
        emulator.faults([Fault::Throttled; 3]);
        assert!(ledger.switches().await.is_err());
        assert_eq!(emulator.requests().len(), 0);
    }
    waits.sort();
    assert!(
        waits.last().unwrap() <= &Duration::from_millis(310),
        "{waits:?}"
    );
    let (shortest, longest) = (waits[0], waits[19]);
    assert!(
        longest > shortest + Duration::from_millis(20),
        "the waits are random: {waits:?}"
    );
}

#[tokio::test]
async fn a_refusal_that_will_not_change_is_not_repeated() {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    emulator.rewrite(|request| request.body["Key"] = Value::Null);
    let Unavailable(cause) = ledger.count(&the_counter(), 9, START).await.unwrap_err();
    assert!(cause.contains("HTTP 400, "), "{cause}");
    assert_eq!(emulator.requests().len(), 1);
    assert!(ledger.switches().await.is_err());
    assert_eq!(emulator.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_step_ends_after_two_seconds_when_nothing_is_answered() {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    for case in STEPS {
        emulator.faults([Fault::Hang; 5]);
        let begun = Instant::now();
        assert!((case.act)(&ledger).await.is_err(), "{}", case.step);
        assert!(
            begun.elapsed() < Duration::from_millis(2100),
            "{}",
            case.step
        );
        emulator.clear_faults();
    }
}

/// Does the step and loses its response. Another request changes the item before the step looks at it.
async fn overtaken(step: &str, change: fn(&mut Value)) -> (Reply, Value) {
    let case = STEPS.iter().find(|case| case.step == step).unwrap();
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    (case.prepare)(&ledger).await;
    let (table, done) = (emulator.clone(), AtomicBool::new(false));
    emulator.meanwhile(move |request| {
        if request.is_read() && !done.swap(true, Ordering::Relaxed) {
            table.edit(|item| {
                item["w"] = json!({ "S": "another1" });
                change(item);
            });
        }
    });
    emulator.faults([Fault::ServerErrorAfter]);
    let reply = (case.act)(&ledger).await;
    (reply, emulator.item())
}

#[tokio::test]
async fn a_step_that_another_request_may_have_overtaken_is_unclear_and_not_repeated() {
    let now = json!({ "N": START.0.to_string() });
    let (reply, item) = overtaken("spend_attempt", |item| {
        item["left"] = json!({ "N": "1" });
        item["lr"] = json!({ "S": "another guess" });
    })
    .await;
    assert!(reply.is_err());
    assert_eq!(item["left"], "1", "{item}");
    let (reply, item) = overtaken("charge_number", |item| item["f"] = json!({ "N": "2" })).await;
    assert!(reply.is_err());
    assert_eq!(item["f"], "2", "{item}");
    let (reply, item) = overtaken("reserve_send", |item| item["t2"] = item["t1"].clone()).await;
    assert!(reply.is_err());
    assert_eq!(
        (&item["t2"], &item["t3"]),
        (&now["N"], &json!("0")),
        "{item}"
    );
}

/// A resend removes the last guess from the record, but not the time of this guess. If the time were removed, too, a
/// repeat of the guess could not see that the guess has already cost an attempt.
#[tokio::test]
async fn a_guess_that_a_resend_has_overtaken_costs_no_second_attempt() {
    let (emulator, another) = (Emulator::new(), Emulator::new());
    bring(&another.ledger(), State::Sent).await;
    another.requests();
    let (resender, item) = (another.ledger(), the_verification());
    assert!(resender.reopen(&item, SENT, &AGAIN).await.unwrap());
    let resend = another.requests()[0].body.clone();

    bring(&emulator.ledger(), State::Sent).await;
    let (table, done) = (emulator.clone(), AtomicBool::new(false));
    emulator.meanwhile(move |request| {
        if request.is_read() && !done.swap(true, Ordering::Relaxed) {
            assert_eq!(table.execute("UpdateItem", &resend).0, 200);
        }
    });
    emulator.faults([Fault::ServerErrorAfter]);
    let (guesser, guess) = (emulator.ledger(), digest("g"));
    let paid = guesser.spend_attempt(&item, &guess, None, START).await;
    assert!(paid.is_err(), "nobody can tell whether it was done");
    let item = emulator.item();
    assert_eq!((&item["gen"], &item["left"]), (&json!("2"), &json!("2")));
}

/// A late release must not free a newer reservation.
#[tokio::test]
async fn a_release_that_another_reservation_has_overtaken_frees_nothing() {
    let (reply, item) = overtaken("release_key", |item| {
        item["st"] = json!({ "S": "claimed" });
        item["by"] = json!({ "N": "8" });
    })
    .await;
    reply.unwrap();
    assert_eq!(item["st"], "claimed", "{item}");
}

#[tokio::test]
async fn a_counter_that_another_request_has_raised_in_the_meantime_counts_one_too_many() {
    let (reply, item) = overtaken("count", |item| item["n"] = json!({ "N": "2" })).await;
    assert_eq!(reply.unwrap(), "true");
    assert_eq!(item["n"], "3");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_arrives_after_its_repeat_does_nothing() {
    for case in STEPS.iter().filter(|case| case.repeats) {
        let emulator = Emulator::new();
        let ledger = emulator.ledger();
        (case.prepare)(&ledger).await;
        let first = Arc::new(Mutex::new(None));
        let kept = first.clone();
        emulator.meanwhile(move |request| {
            if request.action == "UpdateItem" {
                kept.lock().unwrap().get_or_insert(request.body.clone());
            }
        });
        emulator.faults([Fault::ServerError]);
        (case.act)(&ledger).await.unwrap();
        let done = items(&emulator);
        let late = first.lock().unwrap().clone().unwrap();
        let (status, answer) = emulator.execute("UpdateItem", &late);
        assert_eq!(status, 400, "{}: {answer}", case.step);
        assert_eq!(items(&emulator), done, "{}", case.step);
    }
}

/// The control of the test above.
#[tokio::test]
async fn without_its_clause_a_write_that_arrives_after_its_repeat_counts_twice() {
    let emulator = Emulator::new();
    let ledger = emulator.ledger();
    let first = Arc::new(Mutex::new(None));
    let kept = first.clone();
    emulator.meanwhile(move |request| {
        if request.action == "UpdateItem" {
            let condition = request.body["ConditionExpression"].as_str().unwrap();
            request.body["ConditionExpression"] = condition.replace(" AND #w <> :mark", "").into();
            kept.lock().unwrap().get_or_insert(request.body.clone());
        }
    });
    emulator.faults([Fault::ServerError]);
    ledger
        .charge_number(&the_number(), LOCKED, START)
        .await
        .unwrap();
    let late = first.lock().unwrap().clone().unwrap();
    assert_eq!(emulator.execute("UpdateItem", &late).0, 200);
    assert_eq!(emulator.item()["f"], "2");
}
