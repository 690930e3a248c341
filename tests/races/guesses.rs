//! Many guesses at the same time.

use crate::store::{NewStore, Store, over_both_stores};
use crate::table::Flaw;
use crate::world::{
    MILLISECOND, MINUTE, Name, Setup, World, at_once, check, holds_and_fails_with, number, tally,
    until_it_fails, word, wrong,
};
use simulator::sized;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

over_both_stores!(
    concurrent_different_guesses_spend_only_the_attempts,
    concurrent_equal_guesses_ask_the_provider_once,
    concurrent_right_guesses_succeed_once,
    concurrent_right_and_wrong_guesses_succeed_once_within_the_attempts,
    retried_right_guesses_succeed_once,
    the_last_attempt_can_be_repeated,
);

/// A reference that the caller has chosen. Under a derived reference, other software could send a new code.
fn name() -> Name {
    Name::Given("411f1d86".to_owned())
}

/// The outcome of many guesses at once.
struct Race {
    asked: usize,
    /// The number of right guesses that the provider was asked about.
    right: usize,
    left: u8,
    failures: u32,
    answers: BTreeMap<&'static str, usize>,
}

impl Race {
    fn count(&self, word: &str) -> usize {
        self.answers.get(word).copied().unwrap_or_default()
    }

    fn found(&self) -> String {
        format!(
            "{} asked, {} of them right, {} left, {} failures, {:?}",
            self.asked, self.right, self.left, self.failures, self.answers
        )
    }

    fn only(&self, words: &[&str]) -> bool {
        self.answers.keys().all(|word| words.contains(word))
    }
}

/// Sends a code and makes all these guesses at once. `None` stands for the right code.
async fn race(
    store: Store,
    flaw: Option<Flaw>,
    guesses: Vec<Option<String>>,
    key: Option<&'static str>,
) -> Race {
    let world = World::new(
        store,
        Setup {
            flaw,
            ..Setup::default()
        },
    );
    let to = number(1);
    world.send(&to, &name()).await.unwrap();
    let right = world.provider.newest_code(&to);
    let began = Instant::now();
    let count = guesses.len();
    let answers = at_once(guesses.into_iter().map(|guess| {
        let (world, to, right) = (world.clone(), to.clone(), right.clone());
        async move {
            world
                .verify_under(&to, &name(), &guess.unwrap_or(right), key)
                .await
        }
    }))
    .await;
    let asked = world.provider.guesses();
    let race = Race {
        asked: asked.len(),
        right: asked.iter().filter(|asked| asked.code == right).count(),
        left: world.verification(&to, &name()).await.unwrap().left,
        failures: world.failures(&to).await,
        answers: tally(&answers),
    };
    println!(
        "{}: {count} at once, flaw {flaw:?}: {} in {:?}",
        world.store,
        race.found(),
        began.elapsed()
    );
    race
}

async fn concurrent_different_guesses_spend_only_the_attempts(new: NewStore) {
    let guesses = |count| (0..count).map(|n| Some(wrong(n))).collect();
    let holds = |race: &Race| {
        let all_told =
            race.count("invalid_code") == 5 && race.only(&["invalid_code", "attempts_exhausted"]);
        check(
            race.asked == 5 && race.left == 0 && race.failures == 5 && all_told,
            || race.found(),
        )
    };
    let good = race(new(), None, guesses(sized(1_000, 10_000)), None).await;
    let flawed = until_it_fails(async || {
        holds(&race(new(), Some(Flaw::NotAtomic), guesses(200), None).await)
    });
    holds_and_fails_with(
        "10,000 different guesses",
        holds(&good),
        &[(Flaw::NotAtomic, flawed.await)],
    );
}

async fn concurrent_equal_guesses_ask_the_provider_once(new: NewStore) {
    let guesses = |count| (0..count).map(|_| Some(wrong(0))).collect();
    let holds = |race: &Race| {
        let all_told = race.only(&["invalid_code", "verification_in_progress"]);
        check(
            race.asked == 1 && race.left == 4 && race.failures == 1 && all_told,
            || race.found(),
        )
    };
    let good = race(new(), None, guesses(sized(1_000, 10_000)), None).await;
    let mut flawed = Vec::new();
    for flaw in [Flaw::NotAtomic, Flaw::ChargesRepeats] {
        let seen =
            until_it_fails(async || holds(&race(new(), Some(flaw), guesses(200), None).await));
        flawed.push((flaw, seen.await));
    }
    holds_and_fails_with("10,000 equal guesses", holds(&good), &flawed);
}

async fn concurrent_right_guesses_succeed_once(new: NewStore) {
    let guesses = |count| vec![None; count];
    let once = |race: &Race| {
        let all_told = race.only(&["ok", "already_verified", "verification_in_progress"]);
        check(
            race.count("ok") == 1 && race.asked == 1 && race.failures == 0 && all_told,
            || race.found(),
        )
    };
    let good = race(new(), None, guesses(sized(200, 1000)), None).await;
    let in_steps = until_it_fails(async || {
        once(&race(new(), Some(Flaw::NotAtomic), guesses(200), None).await)
    });
    holds_and_fails_with(
        "1,000 right guesses",
        once(&good),
        &[(Flaw::NotAtomic, in_steps.await)],
    );

    // Requests with the same idempotency key come from the same caller. Many of them may get the same success.
    let same = |race: &Race| {
        let all_told = race.only(&["ok", "verification_in_progress"]);
        check(
            race.count("ok") >= 1 && race.asked == 1 && race.failures == 0 && all_told,
            || race.found(),
        )
    };
    let good = race(new(), None, guesses(sized(200, 1000)), Some("k")).await;
    let in_steps = until_it_fails(async || {
        same(&race(new(), Some(Flaw::NotAtomic), guesses(200), Some("k")).await)
    });
    holds_and_fails_with(
        "1,000 right guesses under one key",
        same(&good),
        &[(Flaw::NotAtomic, in_steps.await)],
    );
}

/// A right guess after a wrong one counts as a new guess. The provider may get several right guesses at once.
async fn concurrent_right_and_wrong_guesses_succeed_once_within_the_attempts(new: NewStore) {
    let guesses = |count| {
        (0..count)
            .map(|n| (n % 4 == 1).then(|| wrong(n)))
            .collect::<Vec<_>>()
    };
    let holds = |race: &Race| {
        let all_told = race.only(&[
            "ok",
            "already_verified",
            "verification_in_progress",
            "invalid_code",
            "attempts_exhausted",
        ]);
        // The five guesses may all be wrong.
        let once = race.count("ok") == race.right.min(1);
        check(once && (1..=5).contains(&race.asked) && all_told, || {
            race.found()
        })
    };
    let good = race(new(), None, guesses(sized(300, 2000)), None).await;
    let in_steps = until_it_fails(async || {
        holds(&race(new(), Some(Flaw::NotAtomic), guesses(200), None).await)
    });
    holds_and_fails_with(
        "right and wrong guesses",
        holds(&good),
        &[(Flaw::NotAtomic, in_steps.await)],
    );
}

/// Makes five right guesses, one after the other. Each guess begins when the guess before it has been pending for five
/// seconds. Then the provider answers all five guesses at once.
async fn taken_over(store: Store, flaw: Option<Flaw>, key: Option<&'static str>) -> Race {
    let world = World::new(
        store,
        Setup {
            flaw,
            ..Setup::default()
        },
    );
    let to = number(1);
    world.send(&to, &name()).await.unwrap();
    let right = world.provider.newest_code(&to);
    world.provider.hold();
    let ask = |world: &Arc<World>| {
        let (world, to, right) = (world.clone(), to.clone(), right.clone());
        async move { world.verify_under(&to, &name(), &right, key).await }
    };
    let mut running = Vec::new();
    for asking in 1..=5 {
        running.push(tokio::spawn(ask(&world)));
        world.provider.held(asking).await;
        world.pass(MILLISECOND * 4999);
        assert_eq!(
            word(&ask(&world).await),
            "verification_in_progress",
            "before five seconds are over"
        );
        world.pass(MILLISECOND);
    }
    // No attempt is left for another retry.
    assert_eq!(word(&ask(&world).await), "attempts_exhausted");
    world.provider.release();
    let mut answers = Vec::new();
    for task in running {
        answers.push(task.await.unwrap());
    }
    let asked = world.provider.guesses();
    Race {
        asked: asked.len(),
        right: asked.iter().filter(|asked| asked.code == right).count(),
        left: world.verification(&to, &name()).await.unwrap().left,
        failures: world.failures(&to).await,
        answers: tally(&answers),
    }
}

async fn retried_right_guesses_succeed_once(new: NewStore) {
    let rounds = if new().is_memory() {
        sized(20, 200)
    } else {
        sized(2, 8)
    };
    let once = |race: &Race| {
        check(
            race.count("ok") == 1 && race.count("already_verified") == 4 && race.asked == 5,
            || race.found(),
        )
    };
    for _ in 0..rounds {
        once(&taken_over(new(), None, None).await).unwrap();
        // With one key all retries get the same response.
        let race = taken_over(new(), None, Some("k")).await;
        check(race.count("ok") == 5 && race.asked == 5, || race.found()).unwrap();
    }
    println!(
        "{}: {rounds} rounds of 5 retried right guesses: 1 success each",
        new()
    );
    let good = taken_over(new(), None, None).await;
    // All guesses are answered at once, so the flaw shows.
    let flawed = taken_over(new(), Some(Flaw::WritesNoSuccess), None).await;
    holds_and_fails_with(
        "retried right guesses",
        once(&good),
        &[(Flaw::WritesNoSuccess, once(&flawed))],
    );
}

/// Spends the only attempt on the right code, and then tries again at several times. Returns all responses.
async fn repeated(store: Store, flaw: Option<Flaw>, lost: usize) -> Vec<(&'static str, String)> {
    let world = World::new(
        store,
        Setup {
            attempts: 1,
            flaw,
            ..Setup::default()
        },
    );
    let to = number(1);
    world.send(&to, &self::name()).await.unwrap();
    let right = world.provider.newest_code(&to);
    world.table.lose_answers(lost);
    let mut told = Vec::new();
    let mut tell = |when, answer| told.push((when, word(&answer).to_owned()));
    let name = name();
    let ask = |key| world.verify_under(&to, &name, &right, key);
    tell("first", ask(Some("k")).await);
    tell("at once, same key", ask(Some("k")).await);
    tell("at once, no key", ask(None).await);
    tell("at once, other key", ask(Some("other")).await);
    world.pass(MILLISECOND * 19_999);
    tell("just under 20 s, same key", ask(Some("k")).await);
    world.pass(MILLISECOND);
    tell("after 20 s, same key", ask(Some("k")).await);
    world.pass(MINUTE * 5);
    tell("after minutes, no key", ask(None).await);
    world.pass(MINUTE * 10);
    tell("after the code expired, same key", ask(Some("k")).await);
    told.push(("asked", world.provider.guesses().len().to_string()));
    told
}

async fn the_last_attempt_can_be_repeated(new: NewStore) {
    let holds = |told: &[(&'static str, String)], first: &str| {
        let expected = [
            ("first", first),
            ("at once, same key", "ok"),
            ("at once, no key", "already_verified"),
            ("at once, other key", "already_verified"),
            ("just under 20 s, same key", "ok"),
            ("after 20 s, same key", "already_verified"),
            ("after minutes, no key", "already_verified"),
            ("after the code expired, same key", "already_verified"),
            ("asked", "1"),
        ];
        let wrong = told
            .iter()
            .zip(expected)
            .find(|((_, told), (_, expected))| told != expected);
        wrong.map_or(Ok(()), |((when, told), (_, expected))| {
            Err(format!("{when}: {told}, not {expected}"))
        })
    };
    // `lost` is the number of responses of the ledger that are lost. If one response is lost, the write is repeated,
    // and the response to the repeat arrives. If two are lost, the response to the repeat is lost, too.
    for (lost, first) in [(0, "ok"), (1, "ok"), (2, "ledger_unavailable")] {
        let told = repeated(new(), None, lost).await;
        println!("{}: one attempt, {lost} responses lost: {told:?}", new());
        holds(&told, first).unwrap();
    }
    let good = holds(&repeated(new(), None, 0).await, "ok");
    let mut flawed = Vec::new();
    for flaw in [Flaw::ForgetsWinner, Flaw::WritesNoSuccess] {
        flawed.push((flaw, holds(&repeated(new(), Some(flaw), 0).await, "ok")));
    }
    holds_and_fails_with("the last attempt", good, &flawed);
}
