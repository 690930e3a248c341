//! Limits of a send that are counted at the same time, and sends that begin at the same time.

use crate::emulator::{Emulator, Fault, Request, keep_what_is_used};
use crate::service::{Calls, service, settings};
use futures_util::future::{join, join_all};
use otp_lambda::error::Limit;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::service::{Call, Caller, Service};
use otp_lambda::telemetry::{BudgetUse, Record};
use otp_lambda::time::Millis;
use serde_json::{Value, json};
use simulator::send_request;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// No limits of addresses.
const FROM_ANYWHERE: [(&str, &str); 2] =
    [("SOURCE_LIMITS", "none"), ("SOURCE_NETWORK_LIMITS", "none")];

const REQUEST: Duration = Duration::from_millis(20);

const START: Millis = Millis(1_800_000_000_000);

/// A number with another prefix than all of `number`.
const OTHER_PREFIX: &str = "+14255150001";

struct World {
    emulator: Emulator,
    service: Service,
}

impl World {
    fn new(limits: &[(&str, &str)]) -> Self {
        let emulator = Emulator::new();
        let service = service(&emulator, &Arc::<Calls>::default(), settings(limits));
        Self { emulator, service }
    }

    /// Sends a code. Returns `sent`, or the limit that has refused the send, and how full the budgets are.
    async fn send(&self, to: &str) -> (&'static str, BudgetUse) {
        self.send_within(to, Duration::MAX).await
    }

    /// As [`send`](Self::send), with this much time until the provider must have answered.
    async fn send_within(&self, to: &str, time_left: Duration) -> (&'static str, BudgetUse) {
        let caller = Caller {
            principal: Some("backend".to_owned()),
            address: Some("2001:db8::1".parse().unwrap()),
            ..Caller::default()
        };
        let mut record = Record::default();
        let mut call = Call::new(caller, START, time_left, &mut record);
        let to = PhoneNumber::parse(to).unwrap();
        let sent = self
            .service
            .send(&send_request(&self.service, to), &mut call)
            .await;
        let told = match sent {
            Ok(_) => "sent",
            Err(error) => error.limit().map_or("another error", Limit::name),
        };
        (told, record.budget_use)
    }

    /// Sends a code to each of this many numbers of one prefix, one after the other.
    async fn fill(&self, numbers: usize) {
        for n in 0..numbers {
            assert_eq!(self.send(&number(n)).await.0, "sent");
        }
    }

    /// Sends a code to each number, all at once.
    async fn send_all(&self, numbers: impl IntoIterator<Item = String>) -> Vec<&'static str> {
        let sends = numbers.into_iter().map(async |to| self.send(&to).await.0);
        join_all(sends).await
    }

    /// The counters of the address.
    fn of_address(&self) -> Vec<u64> {
        let items = self.emulator.items();
        let sources = items
            .iter()
            .filter(|item| item["pk"].as_str().unwrap().starts_with("S#"));
        sources
            .map(|item| item["n"].as_str().unwrap().parse().unwrap())
            .collect()
    }

    /// From now on, sends do not see the counters whose names begin like this, as if other sends had filled them after
    /// the read.
    fn hide(&self, counters: &'static str) {
        self.emulator
            .rewrite(move |request| hide_from(request, counters));
    }
}

/// Leaves the items whose names begin like this out of a read.
fn hide_from(request: &mut Request, counters: &str) {
    if let Some(keys) = request.body["RequestItems"]["ledger"]["Keys"].as_array_mut() {
        keys.retain(|key| !name_of(key).starts_with(counters));
    }
}

/// Whether a request writes to an item with this in its name.
fn writes_to(request: &Request, item: &str) -> bool {
    request.action == "UpdateItem" && name_of(&request.body["Key"]).contains(item)
}

fn name_of(key: &Value) -> &str {
    key["pk"]["S"].as_str().unwrap()
}

/// One of ten thousand numbers with one prefix.
fn number(n: usize) -> String {
    format!("+1425555{n:04}")
}

/// A send that its prefix refuses gives the budgets their amounts back. So it must not report how full the budgets were
/// with these amounts, because alarms watch the reports.
#[tokio::test]
async fn a_send_that_its_prefix_refuses_reports_no_use_of_the_budgets() {
    let percent = |all| BudgetUse {
        all: Some(all),
        ..BudgetUse::default()
    };
    for (budget, control) in [("40/1h", ("sent", 52)), ("20/1h", ("budget", 100))] {
        let limits = [("PREFIX_LIMITS", "20/1h"), ("BUDGETS", budget)];
        let world = World::new(&[FROM_ANYWHERE, limits].concat());
        world.fill(20).await;
        world.hide("R#");
        world.emulator.requests();
        let refused = world.send(&number(20)).await;
        assert_eq!(refused, ("prefix", BudgetUse::default()), "{budget}");
        // The budget was asked at the same time.
        let requests = world.emulator.requests();
        let asked = requests.iter().any(|request| writes_to(request, "B#"));
        assert!(asked, "{requests:?}");
        // The control.
        let (told, used) = world.send(OTHER_PREFIX).await;
        assert_eq!((told, used), (control.0, percent(control.1)), "{budget}");
    }
}

/// Two sends begin at once, and each of two limits has room for one more. The first send is late at the first limit, and
/// the second send is late at the second limit. So if each send counted in both limits at once, each would take the
/// place that the other one needs. Returns the answers.
async fn two_sends(
    limits: &[(&str, &str)],
    [one, other]: [&'static str; 2],
    hidden: Option<&'static str>,
) -> Vec<&'static str> {
    let world = World::new(limits);
    world.fill(20).await;
    if let Some(hidden) = hidden {
        world.hide(hidden);
    }
    let (mut of_one, mut of_other) = (0, 0);
    world.emulator.choose_faults(move |request| {
        let is_late = if writes_to(request, one) {
            of_one += 1;
            of_one == 1
        } else if writes_to(request, other) {
            of_other += 1;
            of_other == 2
        } else {
            false
        };
        if is_late {
            Fault::Delay(REQUEST)
        } else {
            Fault::None
        }
    });
    let mut told = world.send_all([number(20), number(21)]).await;
    told.sort_unstable();
    told
}

/// In the control the two sends do not see how full the counters are, and none is sent.
#[tokio::test(start_paused = true)]
async fn one_of_two_sends_gets_the_last_place_of_two_limits() {
    let prefix = [("PREFIX_LIMITS", "21/1h"), ("BUDGETS", "21/1h")];
    let prefix = [FROM_ANYWHERE, prefix].concat();
    let address = [
        ("SOURCE_LIMITS", "21/10m,21/24h"),
        ("SOURCE_NETWORK_LIMITS", "none"),
        ("PREFIX_LIMITS", "none"),
    ];
    for (limits, items, counters, refused) in [
        (&prefix[..], ["R#", "B#"], "R#", ["budget", "prefix"]),
        (&address, ["#600#", "#86400#"], "S#", ["source", "source"]),
    ] {
        let told = two_sends(limits, items, None).await;
        assert_eq!(told.iter().filter(|told| **told == "sent").count(), 1);
        let told = two_sends(limits, items, Some(counters)).await;
        assert_eq!(told, refused);
    }
}

/// Many sends to one prefix, and half a request later a send to another prefix.
async fn flood(prefix: &str, budget: &str, hides: bool) -> (usize, &'static str) {
    let limits = [("PREFIX_LIMITS", prefix), ("BUDGETS", budget)];
    let world = World::new(&[FROM_ANYWHERE, limits].concat());
    world.fill(if prefix == "7/1h" { 0 } else { 20 }).await;
    if hides {
        world.hide("R#");
    }
    world.emulator.choose_faults(|_| Fault::Delay(REQUEST));
    let other = async {
        sleep(REQUEST / 2).await;
        world.send(OTHER_PREFIX).await.0
    };
    let (told, other) = join(world.send_all((20..60).map(number)), other).await;
    (told.iter().filter(|told| **told == "sent").count(), other)
}

/// In the control the sends do not see how full the prefix is. Then those that it refuses take all of the budget.
#[tokio::test(start_paused = true)]
async fn a_flood_to_one_prefix_takes_no_budget_from_another() {
    assert_eq!(flood("7/1h", "20/1h", false).await, (7, "sent"));
    assert_eq!(flood("27/1h", "40/1h", false).await, (7, "sent"));
    assert_eq!(flood("27/1h", "40/1h", true).await, (7, "budget"));
}

/// Makes a request that gives a count back do nothing.
fn keep_count(request: &mut Request) {
    let condition = request.body["ConditionExpression"].as_str();
    if condition.is_some_and(|condition| condition.starts_with("#n > :zero")) {
        request.body["ConditionExpression"] = json!("attribute_not_exists(#n)");
        keep_what_is_used(&mut request.body);
    }
}

const OF_ADDRESS: [(&str, &str); 2] = [
    ("SOURCE_LIMITS", "30/10m,40/24h"),
    ("SOURCE_NETWORK_LIMITS", "60/20m,50/12h"),
];

/// One of the counts of an address fails, beside another one or after others. These get their counts back.
#[tokio::test(start_paused = true)]
async fn an_address_gets_its_counts_back_if_one_of_them_fails() {
    for (failing, others) in [("#86400#", 1), ("#1200#", 3), ("#43200#", 3)] {
        for gives_back in [true, false] {
            let world = World::new(&OF_ADDRESS);
            if !gives_back {
                world.emulator.rewrite(keep_count);
            }
            world.emulator.choose_faults(move |request| {
                if writes_to(request, failing) {
                    Fault::Unreachable
                } else {
                    Fault::None
                }
            });
            assert_eq!(world.send(&number(0)).await.0, "another error");
            let left = u64::from(!gives_back);
            assert_eq!(world.of_address(), vec![left; others], "{failing}");
        }
    }
}

/// The time to prepare ends while the counts of a refused send are given back. They are given back nevertheless, before
/// the answer.
#[tokio::test(start_paused = true)]
async fn an_address_gets_its_counts_back_on_a_slow_table() {
    for gives_back in [true, false] {
        let limits = [
            ("SOURCE_LIMITS", "1/10m,40/24h"),
            ("SOURCE_NETWORK_LIMITS", "none"),
        ];
        let world = World::new(&limits);
        world.fill(1).await;
        // The send does not see that one window is full.
        world.emulator.rewrite(move |request| {
            hide_from(request, "S#");
            if !gives_back {
                keep_count(request);
            }
        });
        let slow = Duration::from_millis(900);
        world.emulator.choose_faults(move |_| Fault::Delay(slow));
        let told = world.send_within(&number(1), slow * 5 / 2).await.0;
        let left = if gives_back { 1 } else { 2 };
        assert_eq!((told, world.of_address()), ("source", vec![1, left]));
    }
}
