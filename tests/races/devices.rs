//! Devices that have verified the number before, while strangers use up all they can.

use crate::store::{NewStore, Store, over_both_stores};
use crate::table::Flaw;
use crate::world::{
    DAY, Dice, HOUR, MINUTE, Name, Setup, World, at_once, check, holds_and_fails_with, number,
    until_it_fails, wrong,
};
use otp_lambda::device::DeviceToken;
use otp_lambda::ledger::LOCKED;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::policy::{Budget, Budgets};
use simulator::sized;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

over_both_stores!(
    the_last_kept_place_sends_once,
    the_last_kept_guess_is_asked_once,
);

mod days {
    use super::*;
    use crate::store::over_both_stores_if_full;

    over_both_stores_if_full!(
        the_doors_together_keep_to_each_limit,
        a_thousand_tries_leave_a_device_two_sends_and_three_guesses_a_day,
    );
}

fn setup(flaw: Option<Flaw>) -> Setup {
    Setup {
        has_devices: true,
        latency: Duration::ZERO,
        attempts: 3,
        flaw,
        ..Setup::default()
    }
}

/// A person with a name for each code, and with the token of a device.
struct Person {
    who: &'static str,
    codes: usize,
    token: Option<DeviceToken>,
}

impl Person {
    fn new(who: &'static str) -> Self {
        Self {
            who,
            codes: 0,
            token: None,
        }
    }

    fn name(&self) -> Name {
        Name::Given(format!("{}{}", self.who, self.codes))
    }

    /// Asks for a code under a name that no stranger knows. Returns whether the code was sent.
    async fn send(&mut self, world: &World, to: &PhoneNumber) -> bool {
        self.codes += 1;
        let sent = world.send_from(self.token.as_ref(), to, &self.name()).await;
        sent.is_ok()
    }

    async fn guess(&self, world: &World, to: &PhoneNumber, code: &str) -> Result<(), &'static str> {
        let token = self.token.as_ref();
        let told = world.verify_from(token, to, &self.name(), code).await;
        told.map(drop).map_err(|error| error.code().name())
    }

    async fn verify(&mut self, world: &World, to: &PhoneNumber) {
        assert!(self.send(world, to).await);
        let code = world.provider.newest_code(to);
        let verified = world.verify_from(None, to, &self.name(), &code).await;
        self.token = verified.unwrap().device;
        assert!(self.token.is_some());
    }
}

/// A world in which the number is out of reach over HTTP until the next day, and the token of a device of the number.
async fn used_up(store: Store, setup: Setup) -> (Arc<World>, DeviceToken) {
    let world = World::new(store, setup);
    let (to, mut owner) = (number(1), Person::new("owner"));
    owner.verify(&world, &to).await;
    let mut stranger = Person::new("stranger");
    for _ in 0..12 {
        world.pass(10 * MINUTE);
        stranger.send(&world, &to).await;
    }
    assert!(!stranger.send(&world, &to).await);
    (world, owner.token.unwrap())
}

async fn the_last_kept_place_sends_once(new: NewStore) {
    let race = async |store: Store, flaw, count: usize| {
        let (world, token) = used_up(store, setup(flaw)).await;
        let before = world.provider.texts().len();
        let mut told = Vec::new();
        // The short windows let one message through at once. The second one takes the last kept place.
        for round in 0..2 {
            let sent = at_once((0..count).map(|n| {
                let (world, token) = (world.clone(), token.clone());
                async move {
                    let name = Name::Given(format!("device{round}-{n}"));
                    let sent = world.send_from(Some(&token), &number(1), &name).await;
                    sent.is_ok()
                }
            }))
            .await;
            told.push(sent.into_iter().filter(|sent| *sent).count());
            world.pass(2 * MINUTE);
        }
        let texts = world.provider.texts().len() - before;
        println!(
            "{}: 2 times {count} sends, flaw {flaw:?}: {texts} texts, {told:?}",
            world.store
        );
        check(texts == 2 && told == [1, 1], || {
            format!("{texts} texts, {told:?}")
        })
    };
    let mut good = race(new(), None, sized(50, 500)).await;
    for _ in 0..sized(5, 30) {
        good = good.and(race(new(), None, 10).await);
    }
    let flawed = until_it_fails(async || race(new(), Some(Flaw::NotAtomic), 50).await).await;
    holds_and_fails_with("two kept places", good, &[(Flaw::NotAtomic, flawed)]);
}

async fn the_last_kept_guess_is_asked_once(new: NewStore) {
    // The control: a number that is not locked over HTTP, where more guesses are let through.
    let race = async |store: Store, is_locked: bool| {
        let setup = Setup {
            limits: "20/1s",
            attempts: 5,
            ..setup(None)
        };
        let world = World::new(store, setup);
        let (to, mut owner) = (number(1), Person::new("owner"));
        owner.verify(&world, &to).await;
        let mut stranger = Person::new("stranger");
        for guess in 0..if is_locked { 90 } else { 0 } {
            if guess % 5 == 0 {
                world.pass(2 * DAY);
                assert!(stranger.send(&world, &to).await, "{guess}");
            }
            let told = stranger.guess(&world, &to, &wrong(guess)).await;
            assert_eq!(told, Err("invalid_code"), "{guess}");
        }
        let mut names = Vec::new();
        for _ in 0..5 {
            world.pass(MINUTE);
            assert!(owner.send(&world, &to).await);
            names.push(owner.name());
        }
        let before = world.provider.guesses().len();
        let token = owner.token.unwrap();
        at_once((0..25).map(|n| {
            let (world, token, to) = (world.clone(), token.clone(), to.clone());
            let name = names[n % 5].clone();
            async move {
                world
                    .verify_from(Some(&token), &to, &name, &wrong(n))
                    .await
                    .is_ok()
            }
        }))
        .await;
        let asked = world.provider.guesses().len() - before;
        println!(
            "{}: 25 guesses at once, locked {is_locked}: {asked} asked",
            world.store
        );
        check(asked == 10, || format!("{asked} guesses were asked"))
    };
    let mut good = Ok(());
    for _ in 0..sized(1, 10) {
        good = good.and(race(new(), true).await);
    }
    holds_and_fails_with("ten kept guesses", good, &[]);
    assert!(
        race(new(), false).await.is_err(),
        "the control was not seen"
    );
}

/// Random requests at all doors: by strangers, by a device of the number, and by sign-ins.
async fn days_at_all_doors(store: Store, seed: u64, is_cut: bool) -> Result<(), String> {
    let setup = Setup {
        share: if seed.is_multiple_of(2) { "50" } else { "0" },
        limits: "1/30s,3/10m,6/24h",
        prefix_limits: "12/24h",
        budgets: Budgets {
            all: Budget::parse_list("15/24h").unwrap(),
            ..Budgets::default()
        },
        ..setup(None)
    };
    let store_is_memory = store.is_memory();
    let world = World::new(store, setup.clone());
    // The control: the part of devices is not cut from the part of HTTP.
    let of_strangers = if is_cut {
        world.clone()
    } else {
        world.with(Setup {
            has_devices: false,
            ..setup
        })
    };
    let mut dice = Dice(seed);
    let mut owners: Vec<_> = (0..4).map(|_| Person::new("owner")).collect();
    for (n, owner) in owners.iter_mut().enumerate() {
        owner.verify(&world, &number(n)).await;
        world.pass(MINUTE);
    }
    world.pass(2 * DAY);
    let mut stranger = Person::new("stranger");
    let mut guesses = 0;
    // Guesses at the first number's codes since its last success.
    let (mut failures, mut most_failures) = (0, 0);
    for _ in 0..if store_is_memory {
        sized(800, 3000)
    } else {
        800
    } {
        world.pass(MINUTE * u32::try_from(dice.roll(50)).unwrap());
        let n = usize::try_from(dice.roll(4)).unwrap();
        let to = number(n);
        let at_first = |world: &World| {
            let guesses = world.provider.guesses();
            let of_first = guesses
                .iter()
                .filter(|asked| asked.to == number(0).expose());
            of_first.count()
        };
        let before = at_first(&world);
        match dice.roll(8) {
            0..=3 => drop(stranger.send(&of_strangers, &to).await),
            4 | 5 => drop(owners[n].send(&world, &to).await),
            6 if dice.roll(4) == 0 => drop(world.begin_sign_in(&to).await),
            _ => {
                for _ in 0..3 {
                    guesses += 1;
                    let _ = stranger.guess(&of_strangers, &to, &wrong(guesses)).await;
                    guesses += 1;
                    let _ = owners[n].guess(&world, &to, &wrong(guesses)).await;
                }
            }
        }
        failures += at_first(&world) - before;
        most_failures = most_failures.max(failures);
    }
    let texts = world.provider.texts();
    let mut by_number: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut by_day: BTreeMap<u64, usize> = BTreeMap::new();
    for text in &texts {
        by_number.entry(&text.to).or_default().push(text.at);
        *by_day.entry(text.at / 86_400_000).or_default() += 1;
    }
    let day = u64::try_from(DAY.as_millis()).unwrap();
    let in_a_day = |times: &Vec<u64>| {
        let sent = |end: &u64| {
            times
                .iter()
                .filter(|at| **at <= *end && **at + day > *end)
                .count()
        };
        times.iter().map(sent).max().unwrap_or(0)
    };
    let most = by_number.values().map(in_a_day).max().unwrap_or(0);
    let of_day = by_day.values().copied().max().unwrap_or(0);
    let found = format!(
        "seed {seed}: {} texts, {most} to a number in a day, {of_day} of a prefix in a day, {most_failures} failures",
        texts.len()
    );
    println!("{}: {found}", world.store);
    let locked = usize::try_from(LOCKED).unwrap();
    check(most <= 6 && of_day <= 12 && most_failures <= locked, || {
        found
    })
}

async fn the_doors_together_keep_to_each_limit(new: NewStore) {
    let mut unseen = 0;
    // On the emulator, the same requests take far longer.
    let seeds = if new().is_memory() { sized(3, 6) } else { 3 };
    for seed in 0..seeds {
        let seed = u64::try_from(seed).unwrap();
        if let Err(found) = days_at_all_doors(new(), seed, true).await {
            panic!("{found}");
        }
        unseen += usize::from(days_at_all_doors(new(), seed, false).await.is_ok());
    }
    assert!(unseen < seeds, "the control was not seen");
}

async fn a_thousand_tries_leave_a_device_two_sends_and_three_guesses_a_day(new: NewStore) {
    for has_token in [true, false] {
        let world = World::new(new(), setup(None));
        let (to, mut owner) = (number(1), Person::new("owner"));
        owner.verify(&world, &to).await;
        owner.token = owner.token.filter(|_| has_token);
        let mut stranger = Person::new("stranger");
        world.pass(2 * DAY);
        let mut got = Vec::new();
        // After forty days alone with the stranger, the number is locked over HTTP.
        for (days, tries) in [(1, 1000), (40, 20), (2, 1000)] {
            for _ in 0..days {
                attack(&world, &mut stranger, &to, tries).await;
                if tries == 1000 {
                    got.push(a_day_of(&world, &mut owner, &to).await);
                }
                world.pass(DAY);
            }
        }
        println!("{}: token {has_token}: {got:?}", world.store);
        let locked = stranger.guess(&world, &to, &wrong(0)).await;
        assert!(!stranger.send(&world, &to).await, "{locked:?}");
        // The control: without a token, the owner is locked out.
        let expected = if has_token { (2, 3) } else { (0, 0) };
        assert_eq!(got, [expected; 3]);
    }
}

/// A stranger makes `tries` requests: sends, and wrong guesses at each code that is sent.
async fn attack(world: &World, stranger: &mut Person, to: &PhoneNumber, tries: usize) {
    let mut is_open = false;
    for n in 0..tries {
        is_open = if is_open {
            stranger.guess(world, to, &wrong(n)).await == Err("invalid_code")
        } else {
            stranger.send(world, to).await
        };
        // The stranger waits for the short windows, and so gets every message of the day.
        if !is_open && n < 20 {
            world.pass(10 * MINUTE);
        }
    }
}

/// The owner asks for two codes, gives a wrong guess at each and then a right one at the second. Returns how many sends
/// and guesses were let through.
async fn a_day_of(world: &World, owner: &mut Person, to: &PhoneNumber) -> (usize, usize) {
    let (mut sends, before) = (0, world.provider.guesses().len());
    for nth in 0..2 {
        if !owner.send(world, to).await {
            continue;
        }
        sends += 1;
        let _ = owner.guess(world, to, &wrong(nth)).await;
        if nth == 1 {
            let code = world.provider.newest_code(to);
            assert_eq!(owner.guess(world, to, &code).await, Ok(()));
        }
        world.pass(HOUR);
    }
    (sends, world.provider.guesses().len() - before)
}
