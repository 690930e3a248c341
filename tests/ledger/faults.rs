//! The whole service on a table that fails. Few requests are refused, and none costs anything twice.

use crate::emulator::{Emulator, Fault, Request};
use crate::service::{Calls, RIGHT, WIDE, service, settings};
use futures_util::StreamExt;
use futures_util::stream;
use otp_lambda::error::Error;
use otp_lambda::otp::Otp;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::service::{Call, Caller, Reference, Service, VerifyRequest};
use otp_lambda::telemetry::Record;
use otp_lambda::time::Millis;
use serde_json::Value;
use simulator::{send_request, sized};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const UNAVAILABLE: &str = "ledger_unavailable";
const WRONG: &str = "654321";
const START: Millis = Millis(1_800_000_000_000);

/// The responses by operation and outcome.
type Outcomes = BTreeMap<(&'static str, &'static str), usize>;

/// A person who gets a code, types it wrong, and types it right 12 seconds later.
async fn person(service: &Service, n: usize) -> [(&'static str, &'static str); 3] {
    let to = PhoneNumber::parse(&format!("+1425{}", 2_000_000 + n)).unwrap();
    let caller = |key| Caller {
        principal: Some("backend".to_owned()),
        address: Some("192.0.2.1".parse().unwrap()),
        idempotency_key: key,
        ..Caller::default()
    };
    let outcome =
        |result: Result<(), Error>| result.map_or_else(|error| error.code().name(), |()| "ok");
    let request = send_request(service, to.clone());
    let mut record = Record::default();
    let mut call = Call::new(
        caller(Some(n.to_string())),
        START,
        Duration::MAX,
        &mut record,
    );
    let sent = service.send(&request, &mut call).await;
    let reference = sent.as_ref().ok().map(|sent| sent.reference.clone());
    let mut outcomes = [
        ("send", outcome(sent.map(drop))),
        ("wrong", "not sent"),
        ("right", "not sent"),
    ];
    let Some(reference) = reference else {
        return outcomes;
    };
    for (index, otp, after) in [(1, WRONG, 20), (2, RIGHT, 32)] {
        let request = VerifyRequest {
            to: to.clone(),
            otp: Otp::parse(otp, &service.codes()).unwrap(),
            reference: Reference::Given(reference.clone()),
        };
        let now = START.plus(Duration::from_secs(after));
        let mut call = Call::new(caller(None), now, Duration::MAX, &mut record);
        let verified = service.verify(&request, &mut call).await.map(drop);
        outcomes[index].1 = outcome(verified);
    }
    outcomes
}

struct Run {
    emulator: Emulator,
    calls: Arc<Calls>,
    outcomes: Outcomes,
}

impl Run {
    /// Runs many people, eight at a time, while `choose` makes requests fail.
    async fn of(people: usize, choose: impl FnMut(&Request) -> Fault + Send + 'static) -> Self {
        let emulator = Emulator::new();
        let calls = Arc::new(Calls::default());
        let service = service(&emulator, &calls, settings(&WIDE));
        emulator.choose_faults(choose);
        let all = stream::iter(0..people).map(|n| person(&service, n));
        let mut outcomes = Outcomes::new();
        for outcome in all.buffer_unordered(8).collect::<Vec<_>>().await.concat() {
            *outcomes.entry(outcome).or_default() += 1;
        }
        Self {
            emulator,
            calls,
            outcomes,
        }
    }

    fn count(&self, operation: &'static str, outcome: &'static str) -> usize {
        self.outcomes
            .get(&(operation, outcome))
            .copied()
            .unwrap_or_default()
    }

    fn refused(&self) -> usize {
        ["send", "wrong", "right"]
            .map(|operation| self.count(operation, UNAVAILABLE))
            .iter()
            .sum()
    }

    /// Asserts that every message had a 202, and that no place, attempt or failure was taken twice.
    fn costs_nothing_twice(&self) {
        let sends = self.calls.sends.load(Ordering::Relaxed);
        assert_eq!(sends, self.count("send", "ok"), "{:?}", self.outcomes);
        for item in self.emulator.items() {
            let pk = item["pk"].as_str().unwrap();
            let number = |name: &str| item[name].as_str().map(|text| text.parse::<u64>().unwrap());
            match pk.split_once('#').unwrap().0 {
                "V" if item["st"] == "verified" => {
                    assert!(
                        number("left") >= Some(1),
                        "three attempts, two guesses: {item}"
                    );
                }
                "N" => {
                    assert_eq!(number("t2"), Some(0), "one send: {item}");
                    assert!(number("f").unwrap_or(0) <= 2, "two guesses: {item}");
                }
                _ => {}
            }
        }
    }
}

/// One request in a hundred fails, in one of four ways, and so do the `more` requests that follow it.
fn one_in_a_hundred(more: usize) -> impl FnMut(&Request) -> Fault + Send + 'static {
    let mut random = fastrand::Rng::with_seed(1);
    let mut current = (Fault::None, 0);
    move |_| {
        if current.1 > 0 {
            current.1 -= 1;
            return current.0;
        }
        if random.usize(..100) > 0 {
            return Fault::None;
        }
        let faults = [
            Fault::Throttled,
            Fault::ServerError,
            Fault::ServerErrorAfter,
            Fault::LostAnswer,
        ];
        current = (faults[random.usize(..4)], more);
        current.0
    }
}

#[tokio::test(start_paused = true)]
async fn at_one_percent_of_faults_less_than_one_request_in_a_thousand_is_refused() {
    let people = sized(400, 5_000);
    let run = Run::of(people, one_in_a_hundred(0)).await;
    assert!(run.refused() * 1000 < people * 3, "{:?}", run.outcomes);
    let sent = run.count("send", "ok");
    assert_eq!(sent + run.count("send", UNAVAILABLE), people);
    let wrong = run.count("wrong", "invalid_code") + run.count("wrong", UNAVAILABLE);
    let right = run.count("right", "ok") + run.count("right", UNAVAILABLE);
    assert_eq!((wrong, right), (sent, sent), "{:?}", run.outcomes);
    run.costs_nothing_twice();
}

/// The control: if each fault lasts for five requests, repeats do not help, and the refusals are noticed.
#[tokio::test(start_paused = true)]
async fn faults_that_outlast_the_repeats_are_noticed() {
    let people = sized(100, 1_000);
    let run = Run::of(people, one_in_a_hundred(5)).await;
    assert!(run.refused() * 100 > people * 3, "{:?}", run.outcomes);
    run.costs_nothing_twice();
}

#[tokio::test(start_paused = true)]
async fn a_table_that_writes_and_answers_500_costs_no_second_attempt_place_or_message() {
    let people = sized(50, 500);
    let run = Run::of(people, |request| match request.action.as_str() {
        "UpdateItem" => Fault::ServerErrorAfter,
        _ => Fault::None,
    })
    .await;
    let all = BTreeMap::from([
        (("send", "ok"), people),
        (("wrong", "invalid_code"), people),
        (("right", "ok"), people),
    ]);
    // Only shared counters may have been raised by another request in the meantime. They may count one too many.
    assert_eq!(run.outcomes, all);
    run.costs_nothing_twice();
    for item in run.emulator.items() {
        match item["pk"].as_str().unwrap().split_once('#').unwrap().0 {
            "V" => assert_eq!(item["left"], Value::from("1"), "{item}"),
            "N" => assert_eq!(item["f"], Value::from("0"), "{item}"),
            _ => {}
        }
    }
}
