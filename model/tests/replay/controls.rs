//! Controls: a model or a service without one of its conditions is noticed.

use crate::path::{Flaw, Replay};
use crate::walk::Worlds;
use crate::world::Store;
use crate::{replay_all, runtime, walk};
use fastrand::Rng;
use model::state::{Answer, Fate, State};
use model::{Action, Guard, Model, bounds};
use otp_lambda::ledger::{Charge, Issuer, LOCKED, Nonce};
use simulator::is_full;
use simulator::layer::{OwnedSettled, Step};
use std::time::Instant;

/// A path that the model without a condition can go, and the whole model not with the same answers.
fn differing(guard: Guard) -> Option<(State, Vec<Action>)> {
    let config = bounds::of_guard(guard);
    let [whole, without] = [None, Some(guard)].map(|without| Model { config, without });
    let mut rng = Rng::with_seed(1);
    for walk in 0..4_000_000 {
        // In the second half, some requests wait while others run to their end.
        let prefers_last = walk >= 2_000_000;
        let start = rng.choice(whole.starts())?;
        let mut states = [start.clone(), start.clone()];
        let mut actions = Vec::new();
        for _ in walk::steps() {
            let Some(mut action) = walk::choose(&without, &states[1], &mut rng) else {
                break;
            };
            if prefers_last {
                action = of_last(&without, &states[1], action, &mut rng);
            }
            actions.push(action);
            let mut possible = Vec::new();
            whole.actions(&states[0], &mut possible);
            let is_possible = possible.contains(&action);
            let answers: [Option<Answer>; 2] = if is_possible {
                [0, 1].map(|index| {
                    let (next, answer) = [whole, without][index].next(&states[index], action);
                    states[index] = next;
                    answer
                })
            } else {
                [None, None]
            };
            let [record, of_other] = [0, 1].map(|index| visible(&states[index]));
            if !is_possible || answers[0] != answers[1] || record != of_other {
                return Some((start, actions));
            }
        }
    }
    None
}

/// If the chosen action is a step, replaces it with a step of the request in the last place.
fn of_last(model: &Model, state: &State, chosen: Action, rng: &mut Rng) -> Action {
    let is_step = |action: &Action| {
        matches!(
            action,
            Action::Step {
                fate: Fate::Done | Fate::Yes | Fate::No,
                ..
            }
        )
    };
    if !is_step(&chosen) {
        return chosen;
    }
    let mut all = Vec::new();
    model.actions(state, &mut all);
    let slot_of = |action: &Action| match action {
        Action::Step { slot, .. } => *slot,
        _ => 0,
    };
    let last = all
        .iter()
        .filter(|action| is_step(action))
        .map(slot_of)
        .max();
    all.retain(|action| is_step(action) && Some(slot_of(action)) == last);
    rng.choice(all).unwrap_or(chosen)
}

/// The part of a state that the ledger holds.
fn visible(state: &State) -> impl PartialEq + use<> {
    let records = state.targets.map(|target| target.record);
    let numbers = state.numbers;
    let numbers = numbers.map(|number| (number.sends, number.failures, number.last_failure));
    (records, numbers, state.spent)
}

#[test]
fn a_model_without_a_condition_is_noticed() {
    let mut unnoticed = Vec::new();
    let is_near = |guard: &Guard| is_full() || !bounds::is_far(*guard);
    for guard in Guard::ALL.into_iter().filter(is_near) {
        let start = Instant::now();
        let Some((state, actions)) = differing(guard) else {
            println!("without {guard:?}: no path differs");
            unnoticed.push(guard);
            continue;
        };
        let found = start.elapsed();
        let model = Model {
            config: bounds::of_guard(guard),
            without: Some(guard),
        };
        let noticed = runtime().block_on(async {
            let mut replay = Replay::start(model, state, 0, &Store::memory(), None).await;
            for action in actions {
                replay.act(action).await?;
            }
            replay.compare().await
        });
        match noticed {
            Ok(()) => unnoticed.push(guard),
            Err(what) => println!("without {guard:?}: {what}, found in {found:.1?}"),
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}

/// Conditions and effects of steps, each taken away from the ledger of the service.
const FLAWS: [(&str, Flaw); 7] = [
    ("no window", |step| {
        if let Step::ReserveSend { windows, .. } = step {
            windows.clear();
        }
    }),
    ("no budget", |step| {
        if let Step::Spend { spending } = step {
            spending.lines.iter_mut().for_each(|line| line.cap = 1000);
        }
    }),
    ("all failures cleared", |step| {
        if let Step::ClearFailures { charge, .. } = step {
            *charge = Charge {
                failures: 100,
                ..*charge
            };
        }
    }),
    ("a code that is sent again brings attempts", |step| {
        if let Step::Open { new, .. } = step {
            new.left += 1;
        }
    }),
    ("unclear guesses are wrong", |step| {
        if let Step::NoteAnswer { outcome, .. } = step {
            *outcome = otp_lambda::ledger::GuessOutcome::Invalid;
        }
    }),
    ("an unclear resend ends the former code", |step| {
        if let Step::Reopen { resend, .. } = step {
            resend.issuers.truncate(1);
        }
    }),
    ("every reference is free again", |step| {
        if let Step::Open { new, .. } = step {
            new.plain_until = otp_lambda::time::Millis(0);
        }
    }),
];

/// The same for sign-ins.
const FLAWS_OF_SIGN_INS: [(&str, Flaw); 6] = [
    (
        "an answer that is delivered twice costs two attempts",
        |step| {
            if let Step::SpendAttempt {
                question: Some(question),
                ..
            } = step
            {
                question.nonce = Nonce::random().unwrap();
            }
        },
    ),
    ("a code belongs to no session", |step| {
        if let Step::Open { new, .. } = step {
            new.owner = None;
        }
    }),
    ("no lock", |step| {
        if let Step::ChargeNumber { lock, .. } = step {
            *lock = LOCKED;
        }
    }),
    ("no room beside HTTP", |step| {
        if let Step::Spend { spending } = step {
            spending.lines.iter_mut().for_each(|line| line.cap = 1000);
        }
    }),
    ("verdicts are recorded", |step| {
        if let Step::NoteAnswer { outcome, .. } = step {
            *outcome = otp_lambda::ledger::GuessOutcome::Invalid;
        }
    }),
    ("a resend that sends nothing ends the former code", |step| {
        if let Step::Settle {
            outcome: OwnedSettled::Unsent { issuers },
            ..
        } = step
        {
            *issuers = vec![Issuer::Decoy];
        }
    }),
];

#[test]
fn a_service_without_a_condition_is_noticed() {
    all_are_noticed(&walk::OVER_HTTP, &FLAWS);
}

#[test]
fn sign_ins_without_a_condition_are_noticed() {
    all_are_noticed(&walk::SIGN_INS, &FLAWS_OF_SIGN_INS);
}

fn all_are_noticed(worlds: &Worlds, flaws: &[(&str, Flaw)]) {
    let unnoticed: Vec<_> = flaws
        .iter()
        .filter(|(name, flaw)| {
            let noticed = replay_all(worlds, Store::memory, 10_000, Some(*flaw));
            match &noticed {
                Ok(_) => println!("{name}: not noticed"),
                Err(what) => println!("{name}: {}", what.lines().next().unwrap_or_default()),
            }
            noticed.is_ok()
        })
        .map(|(name, _)| *name)
        .collect();
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}
