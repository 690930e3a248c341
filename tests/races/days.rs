//! An attacker with all the time in the world.

use crate::store::{NewStore, Store, over_both_stores_if_full};
use crate::table::{Done, Flaw};
use crate::world::{
    DAY, Dice, HOUR, MINUTE, Name, SECOND, START, Setup, World, check, holds_and_sees, number,
    word, wrong,
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

/// Sends whenever it is allowed and guesses all it may, in every way there is.
struct Attacker {
    world: Arc<World>,
    /// Guesses at which it ends.
    enough: usize,
    names: usize,
    guesses: usize,
}

/// A way to get at guesses.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// A new name for every code.
    NewName,
    /// One name, ended after its last guess by a cancel.
    CancelThenSend,
    /// One name, and further codes as long as there are.
    Resend,
    /// No send at all: an invented brand, as if other software had sent its code.
    Foreign,
    /// No send at all: the name that the service itself would give.
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

    /// Over a ledger with a flaw it ends with so many guesses: they show the flaw.
    fn until_seen(mut self, enough: usize) -> Self {
        if self.world.setup.flaw.is_some() {
            self.enough = enough;
        }
        self
    }

    /// One try; when it says that the next one makes sense, if it says so.
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
        // Every guess twice: the second time it is answered from the record.
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

    /// Strikes in all these ways until `end`, at every time that any of them was told and at least every `probe`.
    async fn attack(&mut self, ways: &[Way], until: Duration, probe: Duration) {
        let end = START.plus(until);
        while self.world.now() < end && self.asked() < self.enough {
            let mut next = probe;
            for round in 0..ways.len() {
                // Each comes first in its turn.
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

    /// Codes that could be guessed at: texts, and verifications begun without one.
    fn codes(&self) -> usize {
        let write_aheads = self
            .world
            .table
            .done()
            .iter()
            .filter(|done| matches!(done, Done::Opened(..) | Done::Reopened(..)))
            .count();
        assert!(write_aheads >= self.world.provider.texts().len());
        write_aheads
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
            "{codes} codes, of which {texts} texts, and {asked} guesses, in {} tries",
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
    // The bound is met, so it is the right one.
    assert_eq!(most, 30);
    let mut flawed = Vec::new();
    for flaw in [Flaw::AlwaysPlace, Flaw::FixedWindows] {
        flawed.push((flaw, day(new(), Some(flaw), &WAYS).await.0));
    }
    holds_and_sees("a day", Ok(()), &flawed);
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
        // An operator unlocks, and the next hundred begin.
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
    let flawed = year(new(), Some(Flaw::NumberPaysNothing)).await;
    holds_and_sees("a year", good, &[(Flaw::NumberPaysNothing, flawed)]);
}

/// The dearest day does not begin with the first code. The codes of the ten minutes before it are guessed at in it; nine
/// and twenty failures hold nobody up for longer than a quarter of an hour; and when those first codes are a day old,
/// three more come while the thirtieth failure is still to happen. There can be no more: a code that is sent after thirty
/// failures is sent a day after the last of them, and no more than three codes are alive at once.
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
        // And all that are still to be had, in every way.
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
            "{most} guesses in the dearest day, {} in three; sends {told:?}",
            times.len()
        );
        println!("{}: flaw {flaw:?}: {found}", world.store);
        check(most == 44 && told == ["ok"; 9], || found)
    };
    let good = run(new(), None).await;
    let flawed = run(new(), Some(Flaw::AlwaysPlace)).await;
    holds_and_sees("the dearest day", good, &[(Flaw::AlwaysPlace, flawed)]);
}

/// Guesses a day long, and then waits until every item that has an end is gone: four times a year, for two years.
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
    holds_and_sees("patience", good, &[(Flaw::FailuresExpire, flawed)]);
}

/// What a schedule bought at most.
#[derive(Debug, Default, Clone, Copy)]
struct Bought {
    guesses: usize,
    first_day: usize,
    in_a_day: usize,
    codes_in_a_day: usize,
    for_one_verification: usize,
    for_one_code: usize,
}

/// The most of these times that lie in one stretch of a day.
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

/// Anything at any time, by dice.
async fn schedule(store: Store, flaw: Option<Flaw>, seed: u64) -> Bought {
    let steps = if store.is_memory() { 1000 } else { 200 };
    let mut attacker = Attacker::new(store, flaw);
    let world = attacker.world.clone();
    let to = number(1);
    let mut dice = Dice(seed);
    // Some are patient, some are not.
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
                // An old guess over again, or a new one.
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
        let write_aheads = attacker.codes();
        opened.resize(write_aheads.max(opened.len()), now);
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
    Bought {
        guesses: guesses.len(),
        first_day: guesses.iter().filter(|at| **at < day).count(),
        in_a_day: most_in_a_day(&guesses),
        codes_in_a_day: most_in_a_day(&opened),
        for_one_verification,
        for_one_code,
    }
}

async fn no_random_schedule_brings_more_guesses(new: NewStore) {
    let holds = |bought: &Bought| {
        let within = bought.guesses <= 100
            && bought.first_day <= 30
            && bought.in_a_day <= 44
            && bought.codes_in_a_day <= 6
            && bought.for_one_verification <= 5
            && bought.for_one_code <= 5;
        check(within, || format!("{bought:?}"))
    };
    let seeds = if new().is_memory() { sized(20, 300) } else { 2 };
    let mut most = Bought::default();
    let mut schedules = BTreeSet::new();
    for seed in 0..seeds {
        let bought = schedule(new(), None, seed).await;
        holds(&bought).unwrap_or_else(|reason| panic!("seed {seed}: {reason}"));
        schedules.insert(bought.guesses);
        most = Bought {
            guesses: most.guesses.max(bought.guesses),
            first_day: most.first_day.max(bought.first_day),
            in_a_day: most.in_a_day.max(bought.in_a_day),
            codes_in_a_day: most.codes_in_a_day.max(bought.codes_in_a_day),
            for_one_verification: most.for_one_verification.max(bought.for_one_verification),
            for_one_code: most.for_one_code.max(bought.for_one_code),
        };
    }
    println!("{}: {seeds} schedules by dice: at most {most:?}", new());
    let mut flawed = Vec::new();
    // Two schedules do not meet them all.
    let (tried, flaws) = if new().is_memory() {
        (
            40,
            &[
                Flaw::AlwaysPlace,
                Flaw::NumberPaysNothing,
                Flaw::FreshGuesses,
            ][..],
        )
    } else {
        (2, &[Flaw::AlwaysPlace][..])
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
    holds_and_sees("any schedule", Ok(()), &flawed);
}
