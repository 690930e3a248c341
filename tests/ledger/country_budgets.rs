//! Budgets by country: what a message costs with any number of countries, and counters of earlier days and versions.

use crate::emulator::{Emulator, keep_what_is_used};
use crate::service::{service, settings};
use crate::shared::{spend, spending};
use futures_util::future::join_all;
use otp_lambda::error::ErrorCode;
use otp_lambda::ledger::{Door, ItemName, Ledger, SpendOutcome, Spending};
use otp_lambda::phone::{Country, PhoneNumber};
use otp_lambda::policy::{Budget, Budgets, Prices};
use otp_lambda::provider::Channel;
use otp_lambda::service::{Call, Caller};
use otp_lambda::telemetry::Record;
use otp_lambda::time::Millis;
use serde_json::{Value, json};
use simulator::{MemoryLedger, send_request};
use std::sync::Arc;
use std::time::Duration;

const DAY: u64 = 20_833;
const HOUR: Duration = Duration::from_hours(1);
const MORNING: Millis = Millis(DAY * 86_400_000);

/// Every kind of budget, for everything and for each country.
fn budgets(only_country: Option<Country>) -> Budgets {
    let all = "1000000/1h,10000000/24h,100000USD/1h,1000000USD/24h";
    let list = Budget::parse_list(all).unwrap();
    Budgets {
        door: Door::Http,
        all: list.clone(),
        other_countries: list,
        only_country,
        prices: Prices {
            otherwise: Some(31_415),
            ..Prices::default()
        },
        ..Budgets::default()
    }
}

fn countries() -> Vec<Country> {
    let letters = || (b'A'..=b'Z').map(char::from);
    let pairs = letters().flat_map(|a| letters().map(move |b| format!("{a}{b}")));
    pairs.filter_map(|pair| pair.parse().ok()).collect()
}

/// As the version before: one item for all.
fn in_one_item(mut spendings: Vec<Spending>) -> Vec<Spending> {
    let mut all = spendings.pop().unwrap();
    all.lines.retain(|line| line.amount > 0);
    for spending in spendings {
        all.lines.extend(spending.lines);
    }
    vec![all]
}

/// The items of the budgets after the first hours of a day, in each of which each country got 999 messages.
async fn items_after(
    hours: u32,
    countries: &[Country],
    spendings: impl Fn(Country, Millis) -> Vec<Spending>,
) -> Emulator {
    let memory = MemoryLedger::new();
    for hour in 0..hours {
        for country in countries {
            for mut spending in spendings(*country, MORNING.plus(HOUR * hour)) {
                for line in &mut spending.lines {
                    line.amount *= 999;
                }
                let spent = memory.spend(&spending).await.unwrap();
                assert!(matches!(spent, SpendOutcome::Spent(_)));
            }
        }
    }
    let emulator = Emulator::new();
    for (name, counters) in memory.budgets() {
        let mut item = json!({
            "pk": { "S": name.as_str() }, "ttl": { "N": "1800000000" }, "w": { "S": "12345678" },
        });
        for (counter, count) in counters {
            item[counter] = json!({ "N": count.to_string() });
        }
        emulator.put(&item);
    }
    emulator.measure();
    emulator
}

/// The requests and write units of the last message of a day on which each country got 999 messages in every hour.
async fn last_message(many: usize, plan: fn(Vec<Spending>) -> Vec<Spending>) -> (usize, usize) {
    let countries = &countries()[..many];
    let budgets = budgets(Some(countries[0]).filter(|_| many == 1));
    let spendings = |country, now| plan(budgets.spendings(country, Channel::Sms, 1, now));
    let emulator = items_after(24, countries, spendings).await;
    let ledger = emulator.ledger();
    for spending in spendings(countries[many / 2], MORNING.plus(HOUR * 23)) {
        let spent = ledger.spend(&spending).await.unwrap();
        assert!(matches!(spent, SpendOutcome::Spent(_)));
    }
    let requests = emulator.requests();
    let units = requests.iter().map(|request| request.units).sum();
    (requests.len(), units)
}

/// The requests, the write units and the bytes of requests and responses of a message in this hour, in a stack that
/// serves a hundred countries.
async fn message_in_hour(hour: u32, returns_all: bool) -> (usize, usize, usize) {
    let countries = &countries()[..100];
    let budgets = budgets(None);
    let spendings = |country, now| budgets.spendings(country, Channel::Sms, 1, now);
    let emulator = items_after(hour + 1, countries, spendings).await;
    if returns_all {
        emulator.rewrite(|request| request.body["ReturnValues"] = json!("ALL_NEW"));
    }
    for spending in spendings(countries[50], MORNING.plus(HOUR * hour)) {
        let spent = emulator.ledger().spend(&spending).await.unwrap();
        assert!(matches!(spent, SpendOutcome::Spent(_)));
    }
    let requests = emulator.requests();
    let units = requests.iter().map(|request| request.units).sum();
    let bytes = requests
        .iter()
        .map(|request| request.body.to_string().len() + request.answered);
    (requests.len(), units, bytes.sum())
}

/// The work of the function for a request grows with the bytes of the request and its response. The control is an update
/// whose response has the whole item.
#[tokio::test]
async fn a_message_in_the_evening_costs_what_one_in_the_morning_does() {
    let (morning, evening) = (
        message_in_hour(0, false).await,
        message_in_hour(23, false).await,
    );
    assert_eq!((morning.0, morning.1), (2, 2));
    assert_eq!((evening.0, evening.1), (2, 2));
    // Each of the four counters of a day has two digits more.
    assert!(
        evening.2.abs_diff(morning.2) <= 16,
        "{morning:?}, {evening:?}"
    );
    let (morning, evening) = (
        message_in_hour(0, true).await,
        message_in_hour(23, true).await,
    );
    assert!(evening.2 > morning.2 + 1000, "{morning:?}, {evening:?}");
}

/// The figures are in ARCHITECTURE.md. The control is the version before, whose item grew.
#[tokio::test]
async fn a_message_costs_the_same_with_any_number_of_countries() {
    assert_eq!(countries().len(), 245);
    let (mut now, mut before) = (Vec::new(), Vec::new());
    for many in [1, 2, 10, 245] {
        now.push(last_message(many, |spendings| spendings).await);
        before.push(last_message(many, in_one_item).await);
    }
    assert_eq!(now, [(1, 1), (2, 2), (2, 2), (2, 2)]);
    assert_eq!(before, [(1, 1), (1, 2), (1, 5), (1, 108)]);
}

const JAMAICA: [(&str, &str); 3] = [
    ("ALLOWED_COUNTRIES", "JM,US"),
    ("BUDGETS", "40/24h"),
    ("COUNTRY_LIMITS", "JM=5/24h"),
];

/// Sends to ten numbers in Jamaica at once, on a table with this item. Returns the messages that were sent.
async fn ten_messages(emulator: &Emulator, changes: &[(&str, &str)], now: Millis) -> usize {
    let service = service(emulator, &Arc::default(), settings(changes));
    let sends = (0..10).map(async |nth| {
        let to = PhoneNumber::parse(&format!("+1876555{nth:04}")).unwrap();
        let mut record = Record::default();
        let caller = Caller {
            principal: Some("backend".to_owned()),
            ..Caller::default()
        };
        let mut call = Call::new(caller, now, Duration::MAX, &mut record);
        let request = send_request(&service, to);
        match service.send(&request, &mut call).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::RateLimited);
                assert_eq!(error.limit().unwrap().name(), "country");
                false
            }
        }
    });
    let sent = join_all(sends).await;
    sent.into_iter().filter(|sent| *sent).count()
}

fn counters(emulator: &Emulator, name: &ItemName) -> Value {
    let mut items = emulator.items();
    items.retain(|item| item["pk"] == name.as_str());
    items.pop().unwrap_or_default()
}

/// One item counts all messages, and each country with a budget of its own has another item. Here the item of all
/// messages has already counted three to Jamaica. There are two ways to this state: an earlier version counted them
/// there, or the stack served only Jamaica at that time. These three messages must still count.
#[tokio::test]
async fn what_was_counted_in_the_item_of_all_budgets_counts() {
    let all = ItemName::of_budget(Door::Http, DAY);
    let before = json!({
        "pk": { "S": all.as_str() }, "m": { "N": "7" }, "mJM": { "N": "3" },
        "ttl": { "N": "1800000000" },
    });
    let emulator = Emulator::new();
    emulator.put(&before);
    assert_eq!(ten_messages(&emulator, &JAMAICA, MORNING).await, 2);
    assert_eq!(counters(&emulator, &all)["m"], "9");
    assert_eq!(counters(&emulator, &all)["mJM"], "3");
    let jamaica = "JM".parse().unwrap();
    let own = ItemName::of_country_budget(Door::Http, DAY, jamaica);
    assert_eq!(
        counters(&emulator, &own)["mJM"],
        "2",
        "the refused ones were refunded"
    );
    // The next day begins anew.
    let tomorrow = MORNING.plus(HOUR * 24);
    assert_eq!(ten_messages(&emulator, &JAMAICA, tomorrow).await, 5);

    // The control: without the comparison, the country's budget would begin anew today.
    let emulator = Emulator::new();
    emulator.put(&before);
    emulator.rewrite(|request| {
        if let Some(condition) = request.body["ConditionExpression"].as_str() {
            let without =
                condition.replace("(attribute_not_exists(#mJM) OR #mJM <= :room1) AND ", "");
            request.body["ConditionExpression"] = json!(without);
            keep_what_is_used(&mut request.body);
        }
    });
    assert_eq!(ten_messages(&emulator, &JAMAICA, MORNING).await, 5);
}

#[tokio::test]
async fn the_only_country_shares_the_item_of_all_budgets() {
    let emulator = Emulator::new();
    let alone = [("ALLOWED_COUNTRIES", "JM"), JAMAICA[1], JAMAICA[2]];
    assert_eq!(ten_messages(&emulator, &alone, MORNING).await, 5);
    let all = counters(&emulator, &ItemName::of_budget(Door::Http, DAY));
    assert_eq!((&all["m"], &all["mJM"]), (&json!("5"), &json!("5")));
    // A second country is allowed in the middle of the day.
    let later = MORNING.plus(HOUR);
    assert_eq!(ten_messages(&emulator, &JAMAICA, later).await, 0);
}

/// The send and a judgement of the send must name the same budget.
#[tokio::test]
async fn a_budget_that_the_message_alone_exceeds_is_named_before_a_full_one() {
    let (emulator, memory) = (Emulator::new(), MemoryLedger::default());
    let both: [&dyn Ledger; 2] = [&emulator.ledger(), &memory];
    for ledger in both {
        assert_eq!(spend(ledger, &spending(&[("m", 1, 1)])).await, None);
        let large = spending(&[("m", 1, 1), ("u", 2, 1)]);
        assert_eq!(spend(ledger, &large).await, Some(1));
        let counters = ledger.spent(&large).await.unwrap();
        let judged = large.over(&counters).map(|line| &*line.counter);
        assert_eq!(judged, Some("u"));
        // The control: a message that has room alone is refused by the full one.
        let small = spending(&[("m", 1, 1), ("u", 1, 1)]);
        assert_eq!(spend(ledger, &small).await, Some(0));
    }
}
