//! An attacker who has days and years.

use crate::store::{NewStore, Store, over_both_stores_if_full};
use crate::table::{Done, Flaw};
use crate::world::{
    DAY, Dice, HOUR, MINUTE, Name, SECOND, START, Setup, World, check, holds_and_fails_with,
    number, word, wrong,
};
use otp_lambda::ledger::ItemName;
use simulator::sized;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

over_both_stores_if_full!(
    any_day_allows_at_most_forty_four_guesses,
    a_day_allows_six_codes_and_thirty_guesses,
    a_year_allows_a_hundred_guesses_until_an_operator_unlocks,
    waiting_brings_no_more_guesses,
    no_random_schedule_brings_more_guesses,
);

/// Sends and guesses as often as the limits allow, in every way.
struct Attacker {
    world: Arc<World>,
    /// The attacker stops after this many guesses.
    enough: usize,
    names: usize,
    guesses: usize,
}

/// A way to get guesses.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// A new name for every code.
    NewName,
    /// One name, canceled after its last guess.
    CancelThenSend,
    /// One name, and as many codes as it can get.
    Resend,
    /// No send, but an invented brand, as if other software had sent a code.
    Foreign,
    /// No send, but the name that the service itself would derive.
    OwnDerived,
}

const WAYS: [Way; 5] = [
    Way::NewName,
    Way::CancelThenSend,
    Way::Resend,
    Way::Foreign,
    Way::OwnDerived,
];

impl Attacker {
    fn new(store: Store, flaw: Option<Flaw>) -> Self {
        let setup = Setup {
            latency: Duration::ZERO,
            flaw,
            ..Setup::default()
        };
        Self {
            world: World::new(store, setup),
            enough: usize::MAX,
            names: 0,
            guesses: 0,
        }
    }

    /// If the ledger has a flaw, stops after this many guesses, because they show the flaw.
    fn until_seen(mut self, enough: usize) -> Self {
        if self.world.setup.flaw.is_some() {
            self.enough = enough;
        }
        self
    }

    /// Tries once. Returns the wait until the next try, if a response names one.
    async fn strike(&mut self, way: Way) -> Option<Duration> {
        let to = number(1);
        self.names += 1;
        let name = match way {
            Way::NewName => Name::Given(format!("r{}", self.names)),
            Way::CancelThenSend => Name::Given("mine".to_owned()),
            Way::Resend | Way::OwnDerived => Name::Default,
            Way::Foreign => Name::Of(format!("b{}", self.names)),
        };
        let mut wait = None;
        if matches!(way, Way::NewName | Way::CancelThenSend | Way::Resend) {
            wait = self
                .world
                .send(&to, &name)
                .await
                .err()
                .and_then(|error| error.retry_after_seconds());
        }
        // Each guess is made twice. The second response comes from the record.
        for _ in 0..12 {
            self.guesses += 1;
            let guess = wrong(self.guesses);
            let told = self.world.verify(&to, &name, &guess).await;
            if word(&told) != "invalid_code" {
                wait = wait.max(told.err().and_then(|error| error.retry_after_seconds()));
                break;
            }
            let again = self.world.verify(&to, &name, &guess).await;
            assert!(
                ["invalid_code", "attempts_exhausted"].contains(&word(&again)),
                "{again:?}"
            );
        }
        if matches!(way, Way::CancelThenSend) {
            let _ = self.world.cancel(&to, &name).await;
        }
        wait.map(Duration::from_secs)
    }

    /// Tries all these ways again and again, as soon as a response allows and at least every `probe`.
    async fn attack(&mut self, ways: &[Way], until: Duration, probe: Duration) {
        let end = START.plus(until);
        while self.world.now() < end && self.asked() < self.enough {
            let mut next = probe;
            for round in 0..ways.len() {
                // The ways take turns at being first.
                let way = ways[(self.names + round) % ways.len()];
                if let Some(wait) = self.strike(way).await {
                    next = next.min(wait.max(probe / 10));
                }
            }
            self.world.pass(next.min(end.since(self.world.now())));
        }
    }

    fn asked(&self) -> usize {
        self.world.provider.guesses().len()
    }

    /// The number of codes that somebody could guess at: those of messages, and those of records without a message.
    fn codes(&self) -> usize {
        let records = self
            .world
            .table
            .done()
            .iter()
            .filter(|done| matches!(done, Done::Opened(..) | Done::Reopened(..)))
            .count();
        assert!(records >= self.world.provider.texts().len());
        records
    }
}

async fn a_day_allows_six_codes_and_thirty_guesses(new: NewStore) {
    let day = async |store: Store, flaw, ways: &[Way]| {
        let probe = if store.is_memory() {
            MINUTE * sized(10, 1)
        } else {
            MINUTE * 30
        };
        let mut attacker = Attacker::new(store, flaw).until_seen(40);
        attacker.attack(ways, DAY, probe).await;
        let (codes, texts, asked) = (
            attacker.codes(),
            attacker.world.provider.texts().len(),
            attacker.asked(),
        );
        let found = format!(
            "{codes} codes, {texts} of them sent, and {asked} guesses, in {} tries",
            attacker.names
        );
        println!(
            "{}: a day of {ways:?}, flaw {flaw:?}: {found}",
            attacker.world.store
        );
        (
            check(codes <= 6 && texts <= 6 && asked <= 30, || found),
            asked,
        )
    };
    let mut most = 0;
    for ways in [
        &[Way::NewName][..],
        &[Way::CancelThenSend],
        &[Way::Foreign],
        &[Way::Resend, Way::OwnDerived],
        &WAYS,
    ] {
        let (outcome, asked) = day(new(), None, ways).await;
        outcome.unwrap();
        most = most.max(asked);
    }
    // The attacker reaches the bound, so it is exact.
    assert_eq!(most, 30);
    let flaw = Flaw::IgnoresWindows;
    let flawed = [(flaw, day(new(), Some(flaw), &WAYS).await.0)];
    holds_and_fails_with("a day", Ok(()), &flawed);
}

async fn a_year_allows_a_hundred_guesses_until_an_operator_unlocks(new: NewStore) {
    let year = async |store: Store, flaw| {
        let probe = if store.is_memory() {
            HOUR * 6
        } else {
            HOUR * 96
        };
        let mut attacker = Attacker::new(store, flaw).until_seen(120);
        attacker
            .attack(
                &WAYS,
                DAY * 15,
                if attacker.world.store.is_memory() {
                    MINUTE * 20
                } else {
                    HOUR * 3
                },
            )
            .await;
        let after_days = attacker.asked();
        attacker.attack(&WAYS, DAY * 365, probe).await;
        let world = attacker.world.clone();
        let asked = attacker.asked();
        let last = world.provider.guesses().last().unwrap().at;
        let told = word(&world.send(&number(1), &Name::Default).await);
        let found = format!(
            "{asked} guesses and {} codes in {} tries, {after_days} guesses by day 15, the last on day {}; then {told}",
            attacker.codes(),
            attacker.names,
            (last - START.0) / 86_400_000
        );
        println!("{}: a year, flaw {flaw:?}: {found}", world.store);
        check(asked == 100 && told == "destination_locked", || found)?;
        // After an operator unlocks the number, the next hundred guesses begin.
        world.unlock(&number(1)).await;
        let sent = word(
            &world
                .send(&number(1), &Name::Given("after".to_owned()))
                .await,
        );
        let guess = word(
            &world
                .verify(&number(1), &Name::Given("after".to_owned()), &wrong(0))
                .await,
        );
        check(
            sent == "ok" && guess == "invalid_code" && attacker.asked() == 101,
            || {
                format!(
                    "after the unlock: {sent}, {guess}, {} asked",
                    attacker.asked()
                )
            },
        )
    };
    let good = year(new(), None).await;
    let flawed = year(new(), Some(Flaw::CountsNoFailures)).await;
    holds_and_fails_with("a year", good, &[(Flaw::CountsNoFailures, flawed)]);
}

/// Within 24 hours, at most 44 guesses are possible. The 24 hours with the most guesses do not begin with the first
/// code, but later:
///
/// - Codes that were sent in the ten minutes before the 24 hours are guessed within the 24 hours.
/// - Up to 29 failures delay a send by at most a quarter of an hour.
/// - When the first codes are a day old, the thirtieth failure has not happened yet, and three more codes can be sent.
///
/// More guesses are not possible: after thirty failures, a code is sent only a day after the last failure, and at most
/// three codes are valid at once.
async fn any_day_allows_at_most_forty_four_guesses(new: NewStore) {
    let run = async |store: Store, flaw| {
        let mut attacker = Attacker::new(store, flaw);
        let (world, to) = (attacker.world.clone(), number(1));
        let name = |n: usize| Name::Given(format!("r{n}"));
        let at = |after: Duration| START.plus(after);
        let mut guess = async |name: &Name, count: usize| {
            for _ in 0..count {
                attacker.guesses += 1;
                let _ = world.verify(&to, name, &wrong(attacker.guesses)).await;
            }
        };
        let first = [Duration::ZERO, SECOND * 30, SECOND * 90];
        let mut told = Vec::new();
        for (n, after) in first.into_iter().enumerate() {
            world.move_to(at(after));
            told.push(word(&world.send(&to, &name(n)).await));
        }
        for (n, after) in first.into_iter().enumerate() {
            world.move_to(at(SECOND * 599 + after));
            guess(&name(n), 5).await;
        }
        for (n, guesses) in [(3, 5), (4, 5), (5, 4)] {
            world.pass(MINUTE * 15);
            told.push(word(&world.send(&to, &name(n)).await));
            guess(&name(n), guesses).await;
        }
        for (n, after) in first.into_iter().enumerate() {
            world.move_to(at(DAY + after));
            told.push(word(&world.send(&to, &name(6 + n)).await));
        }
        // Then the attacker takes every guess that is left, in every way.
        for n in 0..3 {
            guess(&name(6 + n), 6).await;
        }
        attacker.attack(&WAYS, DAY * 3, HOUR).await;
        let times: Vec<u64> = world
            .provider
            .guesses()
            .iter()
            .map(|guess| guess.at)
            .collect();
        let most = most_in_a_day(&times);
        let found = format!(
            "{most} guesses in the worst 24 hours, {} in three days; sends {told:?}",
            times.len()
        );
        println!("{}: flaw {flaw:?}: {found}", world.store);
        check(most == 44 && told == ["ok"; 9], || found)
    };
    let good = run(new(), None).await;
    let flawed = run(new(), Some(Flaw::IgnoresWindows)).await;
    holds_and_fails_with(
        "the worst 24 hours",
        good,
        &[(Flaw::IgnoresWindows, flawed)],
    );
}

/// Four times a year, for two years: guesses for a day, and then waits until every item with a time to live is deleted.
async fn waiting_brings_no_more_guesses(new: NewStore) {
    let wait = async |store: Store, flaw| {
        let probe = if store.is_memory() {
            MINUTE * 5
        } else {
            HOUR * 2
        };
        let mut attacker = Attacker::new(store, flaw).until_seen(120);
        let mut asked = Vec::new();
        for quarter in 0..8_u32 {
            let begin = DAY * 91 * quarter;
            attacker.world.move_to(START.plus(begin));
            attacker.attack(&WAYS, begin + DAY, probe).await;
            asked.push(attacker.asked());
        }
        println!(
            "{}: eight days, 91 days apart, flaw {flaw:?}: asked {asked:?}",
            attacker.world.store
        );
        check(attacker.asked() <= 100, || format!("asked {asked:?}"))
    };
    let good = wait(new(), None).await;
    let flawed = wait(new(), Some(Flaw::FailuresExpire)).await;
    holds_and_fails_with("patience", good, &[(Flaw::FailuresExpire, flawed)]);
}

/// How many guesses and codes a schedule got.
#[derive(Debug, Default, Clone, Copy)]
struct Gains {
    guesses: usize,
    first_day: usize,
    in_a_day: usize,
    codes_in_a_day: usize,
    for_one_verification: usize,
    for_one_code: usize,
}

/// The greatest number of these times within 24 hours.
fn most_in_a_day(times: &[u64]) -> usize {
    let day = u64::try_from(DAY.as_millis()).unwrap();
    times
        .iter()
        .map(|begin| {
            times
                .iter()
                .filter(|at| (*begin..*begin + day).contains(*at))
                .count()
        })
        .max()
        .unwrap_or(0)
}

/// Random operations at random times.
async fn schedule(store: Store, flaw: Option<Flaw>, seed: u64) -> Gains {
    let steps = if store.is_memory() { 1000 } else { 200 };
    let mut attacker = Attacker::new(store, flaw);
    let world = attacker.world.clone();
    let to = number(1);
    let mut dice = Dice(seed);
    // Some schedules are more patient than others.
    let pace = [10, 120, 1200, 7200, 40_000][usize::try_from(dice.roll(5)).unwrap()];
    let mut names = vec![Name::Default];
    let mut opened = Vec::new();
    for _ in 0..steps {
        let name = names[usize::try_from(dice.roll(names.len() as u64)).unwrap()].clone();
        match dice.roll(11) {
            0 | 1 => drop(world.send(&to, &name).await),
            2 => drop(world.cancel(&to, &name).await),
            3 => {
                attacker.names += 1;
                names.push(Name::Given(format!("r{}", attacker.names)));
            }
            4 => {
                attacker.names += 1;
                names.push(Name::Of(format!("b{}", attacker.names)));
            }
            5 | 10 => {
                attacker
                    .strike(WAYS[usize::try_from(dice.roll(5)).unwrap()])
                    .await;
            }
            6 | 7 => {
                // The last guess again, or a new one.
                attacker.guesses += usize::from(dice.roll(4) > 0);
                let _ = world.verify(&to, &name, &wrong(attacker.guesses)).await;
            }
            _ => {
                let unit = [SECOND, MINUTE, HOUR][usize::try_from(dice.roll(3)).unwrap()];
                let time = Duration::from_secs(dice.roll(pace * 2)).min(unit * 24);
                world.pass(if dice.roll(50) == 0 { DAY } else { time });
            }
        }
        names.drain(1..names.len().saturating_sub(4).max(1));
        let now = world.now().0;
        let records = attacker.codes();
        opened.resize(records.max(opened.len()), now);
    }
    let guesses: Vec<u64> = world
        .provider
        .guesses()
        .iter()
        .map(|guess| guess.at)
        .collect();
    let day = START.plus(DAY).0;
    let (mut of_verification, mut of_code) = (
        BTreeMap::<ItemName, usize>::new(),
        BTreeMap::<ItemName, usize>::new(),
    );
    let (mut for_one_verification, mut for_one_code) = (0, 0);
    for done in world.table.done() {
        match done {
            Done::Opened(key, _) => {
                of_verification.insert(key.clone(), 0);
                of_code.insert(key, 0);
            }
            Done::Reopened(key, _) => {
                of_code.insert(key, 0);
            }
            Done::Paid(key, _) => {
                let paid = of_verification.entry(key.clone()).or_default();
                *paid += 1;
                for_one_verification = for_one_verification.max(*paid);
                let paid = of_code.entry(key).or_default();
                *paid += 1;
                for_one_code = for_one_code.max(*paid);
            }
            Done::Won(..) => panic!("no guess was right"),
        }
    }
    Gains {
        guesses: guesses.len(),
        first_day: guesses.iter().filter(|at| **at < day).count(),
        in_a_day: most_in_a_day(&guesses),
        codes_in_a_day: most_in_a_day(&opened),
        for_one_verification,
        for_one_code,
    }
}

async fn no_random_schedule_brings_more_guesses(new: NewStore) {
    let holds = |gains: &Gains| {
        let within = gains.guesses <= 100
            && gains.first_day <= 39
            && gains.in_a_day <= 44
            && gains.codes_in_a_day <= 12
            && gains.for_one_verification <= 5
            && gains.for_one_code <= 5;
        check(within, || format!("{gains:?}"))
    };
    let seeds = if new().is_memory() { sized(20, 150) } else { 2 };
    let mut most = Gains::default();
    let mut schedules = BTreeSet::new();
    for seed in 0..seeds {
        let gains = schedule(new(), None, seed).await;
        holds(&gains).unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
        schedules.insert(gains.guesses);
        most = Gains {
            guesses: most.guesses.max(gains.guesses),
            first_day: most.first_day.max(gains.first_day),
            in_a_day: most.in_a_day.max(gains.in_a_day),
            codes_in_a_day: most.codes_in_a_day.max(gains.codes_in_a_day),
            for_one_verification: most.for_one_verification.max(gains.for_one_verification),
            for_one_code: most.for_one_code.max(gains.for_one_code),
        };
    }
    println!("{}: {seeds} random schedules: at most {most:?}", new());
    let mut flawed = Vec::new();
    // Two schedules are too few to show every flaw.
    let (tried, flaws) = if new().is_memory() {
        (
            40,
            &[
                Flaw::IgnoresWindows,
                Flaw::CountsNoFailures,
                Flaw::RenewsAttempts,
            ][..],
        )
    } else {
        (2, &[Flaw::IgnoresWindows][..])
    };
    for flaw in flaws {
        let mut seen = Ok(());
        for seed in 0..tried {
            if seen.is_ok() {
                seen = holds(&schedule(new(), Some(*flaw), seed).await);
            }
        }
        flawed.push((*flaw, seen));
    }
    holds_and_fails_with("any schedule", Ok(()), &flawed);
}
