//! Different operations on one verification at the same time.

use crate::fake::Outcome::{Refused, Sent, Unclear};
use crate::store::{NewStore, Store, over_both_stores};
use crate::table::{Done, Flaw};
use crate::world::{
    MILLISECOND, MINUTE, Name, SECOND, START, Setup, World, at_once, check, holds_and_fails_with,
    number, tally, until_it_fails, word, wrong,
};
use otp_lambda::error::ErrorCode;
use otp_lambda::ledger::{Phase, Settled, State};
use otp_lambda::service::ReferenceIds;
use otp_lambda::time::Millis;
use simulator::{is_full, sized};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

over_both_stores!(
    invented_references_bring_no_guesses,
    unknown_references_are_not_found_and_leave_no_item,
    an_older_code_fails_once_a_newer_one_is_sent,
    a_right_guess_survives_a_resend_that_sends_nothing_new,
    a_foreign_success_survives_a_send_that_sends_nothing,
    a_verification_is_canceled_or_verified_never_both,
    concurrent_resends_send_each_generation_once,
);

async fn invented_references_bring_no_guesses(new: NewStore) {
    let race = async |store: Store, flaw| {
        let world = World::new(
            store,
            Setup {
                flaw,
                ..Setup::default()
            },
        );
        let to = number(1);
        // A hundred guesses at once at each of these seconds. The windows have room at 0, 30 and 90.
        let times = [0, 1, 10, 29, 30, 60, 89, 90, 300, 599];
        let mut asked_after = Vec::new();
        let mut told = BTreeMap::new();
        for time in times {
            world.move_to(START.plus(SECOND * time));
            let answers = at_once((0..100).map(|n| {
                let (world, to) = (world.clone(), to.clone());
                async move {
                    world
                        .verify(&to, &Name::Of(format!("b{time}-{n}")), &wrong(n))
                        .await
                }
            }))
            .await;
            if time == 0 {
                told = tally(&answers);
            }
            asked_after.push((time, world.provider.guesses().len()));
            if flaw.is_some() {
                break;
            }
        }
        let steps: Vec<String> = asked_after
            .iter()
            .map(|(time, asked)| format!("{asked} by {time} s"))
            .collect();
        let found = format!("{told:?}; asked {}", steps.join(", "));
        println!(
            "{}: 100 invented references at once, ten times, flaw {flaw:?}: {found}",
            world.store
        );
        let within = asked_after.iter().all(|(time, asked)| {
            *asked
                == match time {
                    0..30 => 1,
                    30..90 => 2,
                    _ => 3,
                }
        });
        let refused = told.get("invalid_code") == Some(&1) && told.get("rate_limited") == Some(&99);
        check(within && refused, || found)
    };
    let good = race(new(), None).await;
    let place = race(new(), Some(Flaw::IgnoresWindows)).await;
    let in_steps = until_it_fails(async || race(new(), Some(Flaw::NotAtomic)).await).await;
    let flawed = [(Flaw::IgnoresWindows, place), (Flaw::NotAtomic, in_steps)];
    holds_and_fails_with("invented references", good, &flawed);
}

async fn unknown_references_are_not_found_and_leave_no_item(new: NewStore) {
    for (what, setup, names) in [
        (
            "given",
            Setup::default(),
            vec![
                Name::Given("411f1d86".to_owned()),
                Name::Given("0".repeat(32)),
            ],
        ),
        (
            "in public mode",
            Setup {
                authenticated: false,
                ..Setup::default()
            },
            vec![
                Name::Default,
                Name::Of("b".to_owned()),
                Name::Given("411f1d86".to_owned()),
            ],
        ),
        (
            "with random references",
            Setup {
                references: ReferenceIds::Random,
                ..Setup::default()
            },
            vec![
                Name::Default,
                Name::Of("b".to_owned()),
                Name::Given("411f1d86".to_owned()),
            ],
        ),
    ] {
        let world = World::new(new(), setup);
        let before = world.store.snapshot();
        let guesses = names
            .iter()
            .flat_map(|name| (0..50).map(|n| (name.clone(), n)));
        let answers = at_once(guesses.map(|(name, n)| {
            let world = world.clone();
            async move { world.verify(&number(1), &name, &wrong(n)).await }
        }))
        .await;
        let told = tally(&answers);
        println!(
            "{}: {what}: {told:?}, {} asked",
            world.store,
            world.provider.guesses().len()
        );
        assert_eq!(
            told,
            BTreeMap::from([("verification_not_found", names.len() * 50)]),
            "{what}"
        );
        assert_eq!(world.provider.guesses().len(), 0, "{what}");
        assert_eq!(world.store.snapshot(), before, "{what}");
    }
    // The control: a derived reference leaves an item.
    let world = World::new(new(), Setup::default());
    let before = world.store.snapshot();
    assert_eq!(
        word(&world.verify(&number(1), &Name::Default, &wrong(0)).await),
        "invalid_code"
    );
    assert_eq!(world.provider.guesses().len(), 1);
    assert_ne!(world.store.snapshot(), before);
}

/// Runs `one` and `other` at about the same time. The seed decides which of the two begins first, and how long the
/// second one waits: half a millisecond, one, two, four … A race runs with many seeds, and thus with many waits.
/// Whether the machine is fast or slow, one of the waits hits the critical moment.
async fn about_the_same_time<A, B>(
    seed: usize,
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> (A, B) {
    let time = MILLISECOND * (1 << (seed / 2 % 9)) / 2;
    let (first, second) = if seed.is_multiple_of(2) {
        (Duration::ZERO, time)
    } else {
        (time, Duration::ZERO)
    };
    let one = async {
        sleep(first).await;
        one.await
    };
    let other = async {
        sleep(second).await;
        other.await
    };
    tokio::join!(one, other)
}

/// A right guess is at the provider, and the provider accepts it while another code is being sent. After that, the
/// newest code is guessed. Returns the result of the check, and how many verifications were opened and how many
/// succeeded.
async fn resent(store: Store, flaw: Option<Flaw>, seed: usize) -> (Result<(), String>, String) {
    let world = World::new(
        store,
        Setup {
            flaw,
            ..Setup::default()
        },
    );
    let to = number(seed);
    world.send(&to, &Name::Default).await.unwrap();
    let first = world.provider.newest_code(&to);
    world.provider.hold();
    let hanging = tokio::spawn({
        let (world, to, first) = (world.clone(), to.clone(), first.clone());
        async move { world.verify(&to, &Name::Default, &first).await }
    });
    world.provider.held(1).await;
    world.pass(SECOND * 30);
    // Another code, and the same guess again. By now the provider may be asked about it again.
    let further = Box::pin(async {
        tokio::join!(
            world.send(&to, &Name::Default),
            world.verify(&to, &Name::Default, &first)
        )
    });
    let ((), (further, again)) =
        about_the_same_time(seed, async { world.provider.release() }, further).await;
    let hung = hanging.await.unwrap();
    let newest = world.provider.newest_code(&to);
    let last = world.verify(&to, &Name::Default, &newest).await;
    let done = world.table.done();
    let count = |what: fn(&Done) -> bool| done.iter().filter(|done| what(done)).count();
    let opened = count(|done| matches!(done, Done::Opened(..)));
    let won: Vec<&Done> = done
        .iter()
        .filter(|done| matches!(done, Done::Won(..)))
        .collect();
    let generations: BTreeSet<&Done> = won.iter().copied().collect();
    let yes = [&hung, &again, &last]
        .into_iter()
        .filter(|answer| answer.is_ok())
        .count();
    let words = [word(&hung), word(&again), word(&further), word(&last)];
    let kind = format!("{opened} opened, {} won", won.len());
    // Each verification has at most one success, however many codes it had. There are as many successes as callers that
    // were told of a success. The record of the verification has the generation of the last message.
    let texts = world.provider.texts().len();
    let generation = world
        .verification(&to, &Name::Default)
        .await
        .unwrap()
        .generation;
    let fine = won.len() <= opened
        && generations.len() == won.len()
        && yes == won.len()
        && yes >= 1
        && generation == texts as u64;
    (
        check(fine, || {
            format!("{kind}, {words:?}, {texts} texts, generation {generation}")
        }),
        kind,
    )
}

async fn an_older_code_fails_once_a_newer_one_is_sent(new: NewStore) {
    let rounds = if new().is_memory() {
        sized(40, 400)
    } else {
        sized(24, 48)
    };
    let mut kinds = BTreeMap::<String, usize>::new();
    for seed in 0..rounds {
        let (outcome, kind) = Box::pin(resent(new(), None, seed)).await;
        outcome.unwrap();
        *kinds.entry(kind).or_default() += 1;
    }
    println!("{}: {rounds} rounds of resend and verify: {kinds:?}", new());
    assert!(kinds.len() > 1, "not a race: {kinds:?}");
    let mut seen = Ok(());
    for seed in 0..36 {
        if seen.is_err() && !is_full() {
            break;
        }
        let flawed = Box::pin(resent(new(), Some(Flaw::NotAtomic), seed));
        seen = seen.and(flawed.await.0);
    }
    holds_and_fails_with("resend and verify", Ok(()), &[(Flaw::NotAtomic, seen)]);

    // If another code is sent while the provider has the right guess, the outcome is certain: the guess comes too late.
    let late = async |store: Store, flaw| {
        let world = World::new(
            store,
            Setup {
                flaw,
                ..Setup::default()
            },
        );
        let to = number(1);
        world.send(&to, &Name::Default).await.unwrap();
        let first = world.provider.newest_code(&to);
        world.provider.hold();
        let hanging = tokio::spawn({
            let (world, to) = (world.clone(), to.clone());
            async move { world.verify(&to, &Name::Default, &first).await }
        });
        world.provider.held(1).await;
        world.pass(SECOND * 30);
        world.send(&to, &Name::Default).await.unwrap();
        world.provider.release();
        let late = hanging.await.unwrap();
        let last = world
            .verify(&to, &Name::Default, &world.provider.newest_code(&to))
            .await;
        check(word(&late) == "invalid_code" && last.is_ok(), || {
            format!("{}, then {}", word(&late), word(&last))
        })
    };
    let good = late(new(), None).await;
    let flawed = late(new(), Some(Flaw::WritesNoSuccess)).await;
    holds_and_fails_with("a late answer", good, &[(Flaw::WritesNoSuccess, flawed)]);
}

async fn a_verification_is_canceled_or_verified_never_both(new: NewStore) {
    let round = async |store: Store, flaw, seed: usize| {
        let world = World::new(
            store,
            Setup {
                flaw,
                ..Setup::default()
            },
        );
        let to = number(seed);
        world.send(&to, &Name::Default).await.unwrap();
        let right = world.provider.newest_code(&to);
        world.provider.hold();
        let hanging = tokio::spawn({
            let (world, to, right) = (world.clone(), to.clone(), right.clone());
            async move { world.verify(&to, &Name::Default, &right).await }
        });
        world.provider.held(1).await;
        let cancels = at_once((0..4).map(|_| {
            let (world, to) = (world.clone(), to.clone());
            async move { world.cancel(&to, &Name::Default).await }
        }));
        let ((), cancels) =
            about_the_same_time(seed, async { world.provider.release() }, cancels).await;
        let verified = hanging.await.unwrap().is_ok();
        let canceled = cancels
            .iter()
            .filter(|answer| matches!(answer, Ok((_, Phase::Canceled))))
            .count();
        let state = world.verification(&to, &Name::Default).await.unwrap().state;
        let fine = match state {
            State::Verified => verified && canceled == 0,
            State::Canceled => !verified && canceled == 4,
            _ => false,
        };
        (
            check(fine, || {
                format!("verified {verified}, {canceled} canceled, {state:?}")
            }),
            state == State::Verified,
        )
    };
    let rounds = if new().is_memory() {
        sized(40, 200)
    } else {
        sized(16, 48)
    };
    let mut verified = 0;
    for seed in 0..rounds {
        let (outcome, was_verified) = round(new(), None, seed).await;
        outcome.unwrap();
        verified += usize::from(was_verified);
    }
    println!(
        "{}: {rounds} rounds of cancel and verify: {verified} verified, {} canceled",
        new(),
        rounds - verified
    );
    assert!(verified > 0 && verified < rounds, "not a race");
    let mut seen = Ok(());
    for seed in 0..36 {
        if seen.is_err() && !is_full() {
            break;
        }
        seen = seen.and(round(new(), Some(Flaw::NotAtomic), seed).await.0);
    }
    holds_and_fails_with("cancel and verify", Ok(()), &[(Flaw::NotAtomic, seen)]);
}

/// Every minute, eight sends begin at once for one verification. The windows let three of the eight pass. The first
/// send that passes begins the verification. Later sends send further codes for it, until the verification has had
/// three codes.
async fn concurrent_resends_send_each_generation_once(new: NewStore) {
    let round = async |store: Store, flaw, seed| {
        let world = World::new(
            store,
            Setup {
                limits: "3/1m",
                flaw,
                ..Setup::default()
            },
        );
        let to = number(seed);
        let ask = |world: &Arc<World>| {
            let (world, to) = (world.clone(), to.clone());
            async move { world.send(&to, &Name::Default).await }
        };
        let mut sent = 0;
        for _ in 0..4 {
            let answers = at_once((0..8).map(|_| ask(&world))).await;
            sent += answers.iter().filter(|answer| answer.is_ok()).count();
            world.pass(MINUTE);
        }
        let written: Vec<Done> = world.table.done();
        let generations: BTreeSet<u64> = written
            .iter()
            .map(|done| match done {
                Done::Opened(_, generation)
                | Done::Reopened(_, generation)
                | Done::Paid(_, generation)
                | Done::Won(_, generation) => *generation,
            })
            .collect();
        let texts = world.provider.texts().len();
        let generation = world
            .verification(&to, &Name::Default)
            .await
            .unwrap()
            .generation;
        let each_once =
            generations.len() == written.len() && texts == written.len() && sent == texts;
        let fine = each_once
            && texts <= 3
            && generation == written.len() as u64
            && world.provider.unrecorded() == 0;
        (
            check(fine, || {
                format!(
                    "{texts} texts, {sent} responses say sent, {} records, generation {generation}, \
                     {} texts without a record",
                    written.len(),
                    world.provider.unrecorded()
                )
            }),
            texts,
        )
    };
    let rounds = if new().is_memory() {
        sized(20, 200)
    } else {
        sized(4, 24)
    };
    let mut texts = BTreeMap::<usize, usize>::new();
    for seed in 0..rounds {
        let (outcome, sent) = round(new(), None, seed).await;
        outcome.unwrap();
        *texts.entry(sent).or_default() += 1;
    }
    println!(
        "{}: {rounds} rounds of sends for one verification: rounds by texts {texts:?}",
        new()
    );
    let mut seen = Ok(());
    for seed in 0..8 {
        if seen.is_err() && !is_full() {
            break;
        }
        seen = seen.and(round(new(), Some(Flaw::NotAtomic), seed).await.0);
    }
    holds_and_fails_with(
        "sends for one verification",
        Ok(()),
        &[(Flaw::NotAtomic, seen)],
    );
}

/// A right guess is at the provider while resends begin and end. If no resend sends a message, the guess must succeed.
/// The provider accepts a code only once. If the success were lost, a second guess could not bring it back.
async fn a_right_guess_survives_a_resend_that_sends_nothing_new(new: NewStore) {
    for (outcomes, right) in [
        (&[Refused][..], true),
        (&[Unclear], true),
        (&[Refused, Refused], true),
        (&[Unclear, Refused], true),
        (&[Sent], false),
        (&[Unclear, Sent], false),
    ] {
        let world = World::new(new(), Setup::default());
        let (to, name) = (number(1), Name::Default);
        assert!(world.send(&to, &name).await.is_ok());
        let code = world.provider.newest_code(&to);
        world.provider.hold();
        let guess = {
            let (world, to, code) = (world.clone(), to.clone(), code.clone());
            tokio::spawn(async move { world.verify(&to, &Name::Default, &code).await })
        };
        world.provider.held(1).await;
        for (index, outcome) in (1..).zip(outcomes) {
            world.move_to(START.plus(10 * MINUTE / 3 * index));
            world.provider.outcomes([*outcome]);
            let sent = world.send(&to, &name).await;
            assert_eq!(sent.is_ok(), matches!(outcome, Sent), "{outcomes:?}");
        }
        world.provider.release();
        let said = guess.await.unwrap();
        let found = format!("{}, {outcomes:?}: {said:?}", world.store);
        println!("{found}");
        assert_eq!(said.is_ok(), right, "{found}");
        let state = world.verification(&to, &name).await.map(|seen| seen.state);
        let expected = if right { State::Verified } else { State::Sent };
        assert_eq!(state, Some(expected), "{found}");
    }
}

/// A guess at a foreign code is at the provider while this program reserves a send. The success counts if nothing is sent.
async fn a_foreign_success_survives_a_send_that_sends_nothing(new: NewStore) {
    for fails in [true, false] {
        let world = World::new(new(), Setup::default());
        let (to, name) = (number(1), Name::Default);
        let reference = world.plain_reference(&to, &name);
        let code = world.provider.other_software_sends(&to, &reference);
        world.provider.hold();
        let guess = {
            let (world, to, code) = (world.clone(), to.clone(), code.clone());
            let key = Some("key");
            tokio::spawn(async move { world.verify_under(&to, &Name::Default, &code, key).await })
        };
        world.provider.held(1).await;
        world.reserve(&to, &name).await;
        world.provider.release();
        let said = guess.await.unwrap().unwrap_err();
        assert_eq!(said.code(), ErrorCode::VerificationInProgress, "{said:?}");
        assert!(said.detail().contains("was accepted"), "{said:?}");
        let outcome = if fails {
            let plain_until = Millis::default();
            Settled::Failed { plain_until }
        } else {
            Settled::Unclear
        };
        world.settle(&to, &name, outcome).await;
        let again = world.verify_under(&to, &name, &code, Some("key")).await;
        let redeemed = world.redeem(&to, &name, "backend").await;
        let found = format!("{}: {again:?}, {redeemed:?}", world.store);
        println!("fails {fails}, {found}");
        assert_eq!((again.is_ok(), redeemed.is_ok()), (fails, fails), "{found}");
        assert_eq!(world.provider.guesses().len(), 1, "{found}");
    }
}
