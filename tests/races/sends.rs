//! Many sends at the same time.

use crate::fake::Outcome;
use crate::store::{NewStore, Store, over_both_stores};
use crate::table::{Done, Flaw};
use crate::world::{
    Name, Setup, World, at_once, check, holds_and_fails_with, number, tally, until_it_fails,
};
use otp_lambda::ledger::Door;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::policy::{Budget, Budgets, Prices};
use simulator::sized;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

over_both_stores!(
    concurrent_sends_spend_a_budget_exactly,
    country_and_money_budgets_are_spent_exactly,
    refused_sends_are_refunded,
    a_refused_prefix_gives_the_budget_back,
    concurrent_sends_to_one_number_send_once,
    concurrent_sends_under_one_key_send_once,
);

/// Sends to all numbers at once, each under its own name.
async fn send_all(
    world: &Arc<World>,
    numbers: impl IntoIterator<Item = PhoneNumber>,
) -> BTreeMap<&'static str, usize> {
    let began = Instant::now();
    let answers = at_once(numbers.into_iter().enumerate().map(|(n, to)| {
        let world = world.clone();
        async move { world.send(&to, &Name::Given(format!("r{n}"))).await }
    }))
    .await;
    let told = tally(&answers);
    println!(
        "{}: {} sends at once, flaw {:?}: {} texts, {told:?} in {:?}",
        world.store,
        answers.len(),
        world.setup.flaw,
        world.provider.texts().len(),
        began.elapsed()
    );
    assert_eq!(
        world.provider.unrecorded(),
        0,
        "a text was sent before its record was written"
    );
    told
}

/// The country of a number.
fn country(to: &str) -> &'static str {
    match to {
        to if to.starts_with("+1876") => "JM",
        to if to.starts_with("+44") => "GB",
        _ => "US",
    }
}

async fn concurrent_sends_spend_a_budget_exactly(new: NewStore) {
    let race = async |store: Store, flaw, count| {
        let budgets = Budgets {
            all: Budget::parse_list("100/1h").unwrap(),
            ..Budgets::default()
        };
        let world = World::new(
            store,
            Setup {
                budgets,
                flaw,
                ..Setup::default()
            },
        );
        let told = send_all(&world, (0..count).map(number)).await;
        let (texts, spent) = (world.provider.texts().len(), world.store.spent());
        let sum: u64 = spent.values().sum();
        println!(
            "{}: budget of 100, {count} sends: {texts} texts, {spent:?} spent",
            world.store
        );
        let refused = told.get("rate_limited") == Some(&(count - 100));
        check(texts == 100 && sum == 100 && refused, || {
            format!("{texts} texts, {sum} spent, {told:?}")
        })
    };
    let good = race(new(), None, sized(250, 1000)).await;
    let flawed = until_it_fails(async || race(new(), Some(Flaw::NotAtomic), 150).await).await;
    holds_and_fails_with("a budget of 100", good, &[(Flaw::NotAtomic, flawed)]);
}

async fn country_and_money_budgets_are_spent_exactly(new: NewStore) {
    let race = async |store: Store, flaw, each: usize| {
        let (us, jm, gb) = (
            "US".parse().unwrap(),
            "JM".parse().unwrap(),
            "GB".parse().unwrap(),
        );
        let budgets = Budgets {
            door: Door::Http,
            all: Budget::parse_list("150/1h,2.5USD/24h").unwrap(),
            by_country: BTreeMap::from([
                (jm, Budget::parse_list("20/24h").unwrap()),
                // Enough for 31 messages, with a rest.
                (gb, Budget::parse_list("1USD/1h").unwrap()),
            ]),
            other_countries: Budget::parse_list("1000/24h").unwrap(),
            only_country: None,
            prices: Prices {
                by_country: BTreeMap::from([(us, 5810), (jm, 20_000), (gb, 31_500)]),
                otherwise: None,
                ..Prices::default()
            },
        };
        let world = World::new(
            store,
            Setup {
                budgets,
                flaw,
                ..Setup::default()
            },
        );
        let numbers = (0..each).flat_map(|n| {
            ["+1425555", "+1876555", "+44770090"]
                .map(|prefix| PhoneNumber::parse(&format!("{prefix}{n:04}")).unwrap())
        });
        let told = send_all(&world, numbers).await;
        let texts = world.provider.texts();
        let mut of = BTreeMap::from([("US", 0), ("JM", 0), ("GB", 0)]);
        for text in &texts {
            *of.get_mut(country(&text.to)).unwrap() += 1;
        }
        let spent = world.store.spent();
        println!("{}: texts {of:?}, spent {spent:?}", world.store);
        let money = of["US"] * 5810 + of["JM"] * 20_000 + of["GB"] * 31_500;
        // The test starts at 08:00 UTC.
        let should_be = BTreeMap::from([
            ("m08".to_owned(), texts.len() as u64),
            ("u".to_owned(), money),
            ("mJM".to_owned(), of["JM"]),
            ("u08GB".to_owned(), of["GB"] * 31_500),
            ("mUS".to_owned(), of["US"]),
        ]);
        let within = texts.len() <= 150 && money <= 2_500_000 && of["JM"] <= 20 && of["GB"] <= 31;
        // One of the two budgets for all countries has no room left for the cheapest message.
        let used_up = texts.len() == 150 || money + 5810 > 2_500_000;
        check(within && used_up && spent == should_be, || {
            format!("{of:?}, {spent:?}, {told:?}")
        })
    };
    let good = race(new(), None, sized(130, 333)).await;
    let flawed = until_it_fails(async || race(new(), Some(Flaw::NotAtomic), 60).await).await;
    holds_and_fails_with("budgets in money", good, &[(Flaw::NotAtomic, flawed)]);
}

/// Many sends begin at the same time, and every step refuses some of them. When the budget refuses a send, the counter
/// of the prefix has already counted the send. When the number's windows refuse a send, the prefix has counted it and
/// the budget has paid for it. When the provider refuses a send, the prefix, the budget and the windows have all
/// counted it. In the end, only messages that were sent or may have been sent are counted.
async fn refused_sends_are_refunded(new: NewStore) {
    let race = async |store: Store, flaw| {
        let budgets = Budgets {
            all: Budget::parse_list("200/1h").unwrap(),
            ..Budgets::default()
        };
        let setup = Setup {
            budgets,
            prefix_limits: "90/1h,90/24h",
            flaw,
            ..Setup::default()
        };
        let world = World::new(store, setup);
        world.provider.outcomes((0..60).map(|n| match n % 3 {
            0 => Outcome::Refused,
            1 => Outcome::Unclear,
            _ => Outcome::Sent,
        }));
        // Up to ten sends to each of 100 numbers with four prefixes.
        let numbers = (0..sized(200, 1000)).map(|n: usize| {
            let (prefix, line) = (n % 4, n / 4 % 25);
            PhoneNumber::parse(&format!("+14255{prefix}5{line:04}")).unwrap()
        });
        let told = send_all(&world, numbers).await;
        let mut by_prefix = BTreeMap::<String, u64>::new();
        let texts = world.provider.texts();
        let mut numbers = BTreeSet::new();
        for text in &texts {
            *by_prefix.entry(text.to[..8].to_owned()).or_default() += 1;
            numbers.insert(text.to.clone());
        }
        let (spent, prefixes) = (world.store.spent(), world.store.prefixes());
        // Each prefix has two windows.
        let mut should_be: Vec<u64> = by_prefix
            .values()
            .flat_map(|count| [*count, *count])
            .collect();
        should_be.sort_unstable_by(|a, b| b.cmp(a));
        println!(
            "{}: {} texts; budget {spent:?}; prefixes {prefixes:?}",
            world.store,
            texts.len()
        );
        let sum: u64 = spent.values().sum();
        let each_once = numbers.len() == texts.len();
        check(
            sum == texts.len() as u64 && prefixes == should_be && each_once && texts.len() >= 50,
            || {
                format!(
                    "{} texts, {spent:?} spent, prefixes {prefixes:?}, {told:?}",
                    texts.len()
                )
            },
        )
    };
    let good = race(new(), None).await;
    let flawed = race(new(), Some(Flaw::RefundsNothing)).await;
    holds_and_fails_with("refunds", good, &[(Flaw::RefundsNothing, flawed)]);

    // One send after the other, with a prefix limit of 3 and a budget of 2. The prefix counts the third send, and then
    // the budget refuses this send. If the prefix got no refund for the third send, the prefix would refuse the fourth
    // send before the budget does.
    let in_order = async |store: Store, flaw| {
        let budgets = Budgets {
            all: Budget::parse_list("2/1h").unwrap(),
            ..Budgets::default()
        };
        let world = World::new(
            store,
            Setup {
                budgets,
                prefix_limits: "3/1h",
                flaw,
                ..Setup::default()
            },
        );
        let mut limits = Vec::new();
        for n in 0..5 {
            let answer = world.send(&number(n), &Name::Default).await;
            limits.push(
                answer
                    .err()
                    .map_or("sent", |error| error.limit().unwrap().name()),
            );
        }
        check(
            limits == ["sent", "sent", "budget", "budget", "budget"]
                && world.store.prefixes() == [2],
            || format!("{limits:?}, prefixes {:?}", world.store.prefixes()),
        )
    };
    let good = in_order(new(), None).await;
    let flawed = in_order(new(), Some(Flaw::RefundsNothing)).await;
    holds_and_fails_with("refunds in order", good, &[(Flaw::RefundsNothing, flawed)]);
}

/// Sends to one prefix at once. The prefix has ample room when they read it, so the prefix and the budget are counted at
/// the same time. When the prefix refuses a send, the budget has paid for it. When the prefix is full, sends write nothing at all: otherwise a flood to one
/// prefix would write to the budget, whose item all sends share.
async fn a_refused_prefix_gives_the_budget_back(new: NewStore) {
    let race = async |store: Store, flaw| {
        let budgets = Budgets {
            all: Budget::parse_list("1000/1h").unwrap(),
            ..Budgets::default()
        };
        let setup = Setup {
            budgets,
            prefix_limits: "27/1h",
            flaw,
            ..Setup::default()
        };
        let world = World::new(store, setup);
        send_all(&world, (0..80).map(number)).await;
        let counted = (world.store.spent(), world.store.prefixes());
        let sent = world.provider.texts().len();
        let writes = world.table.writes();
        send_all(&world, (80..120).map(number)).await;
        let more = world.table.writes() - writes;
        let of_budget: u64 = counted.0.values().sum();
        check(
            sent == 27 && of_budget == 27 && counted.1 == [27] && more == 0,
            || format!("{sent} sent, counted {counted:?}, then {more} steps that write"),
        )
    };
    let good = race(new(), None).await;
    let mut controls = Vec::new();
    for flaw in [Flaw::KeepsWhatIsSpent, Flaw::CountersLookEmpty] {
        let flawed = until_it_fails(async || race(new(), Some(flaw)).await).await;
        controls.push((flaw, flawed));
    }
    holds_and_fails_with("prefix beside budget", good, &controls);
}

async fn concurrent_sends_to_one_number_send_once(new: NewStore) {
    let race = async |store: Store, flaw, count| {
        let world = World::new(
            store,
            Setup {
                flaw,
                ..Setup::default()
            },
        );
        let told = send_all(&world, std::iter::repeat_n(number(1), count)).await;
        let texts = world.provider.texts().len();
        let all_told = told.get("ok") == Some(&1) && told.get("rate_limited") == Some(&(count - 1));
        check(texts == 1 && all_told, || {
            format!("{texts} texts, {told:?}")
        })
    };
    let good = race(new(), None, sized(250, 1000)).await;
    let in_steps = until_it_fails(async || race(new(), Some(Flaw::NotAtomic), 200).await).await;
    let place = race(new(), Some(Flaw::IgnoresWindows), 200).await;
    holds_and_fails_with(
        "one number",
        good,
        &[(Flaw::NotAtomic, in_steps), (Flaw::IgnoresWindows, place)],
    );
}

/// The windows allow twenty sends. Only the key can limit them.
async fn concurrent_sends_under_one_key_send_once(new: NewStore) {
    let race = async |store: Store, flaw, count| {
        let world = World::new(
            store,
            Setup {
                limits: "20/1s",
                flaw,
                ..Setup::default()
            },
        );
        let began = Instant::now();
        let ask = |world: &Arc<World>| {
            let world = world.clone();
            async move {
                world
                    .send_under(&number(1), &Name::Default, Some("k"))
                    .await
            }
        };
        let mut answers = at_once((0..count).map(|_| ask(&world))).await;
        // The same send once more, later.
        answers.push(ask(&world).await);
        let told = tally(&answers);
        let texts = world.provider.texts().len();
        let receipts: BTreeSet<String> = answers
            .iter()
            .filter_map(|answer| answer.as_ref().ok())
            .map(|sent| format!("{} {:?}", sent.reference.expose(), sent.receipt))
            .collect();
        let opened = world
            .table
            .done()
            .iter()
            .filter(|done| matches!(done, Done::Opened(..)))
            .count();
        println!(
            "{}: {count} sends under one key, flaw {flaw:?}: {texts} texts, {} different responses, {told:?} in {:?}",
            world.store,
            receipts.len(),
            began.elapsed()
        );
        let all_told = told
            .keys()
            .all(|word| ["ok", "idempotency_key_in_use"].contains(word))
            && told["ok"] >= 2;
        check(
            texts == 1 && receipts.len() == 1 && opened == 1 && all_told,
            || format!("{texts} texts, {} responses, {told:?}", receipts.len()),
        )
    };
    let good = race(new(), None, sized(250, 1000)).await;
    let flawed = until_it_fails(async || race(new(), Some(Flaw::NotAtomic), 200).await).await;
    holds_and_fails_with("one key", good, &[(Flaw::NotAtomic, flawed)]);
}
