//! Random paths of the model.

use fastrand::Rng;
use model::state::{Fate, NONE, Request, State, WRONG};
use model::{Action, Config, Model, bounds};
use std::mem::discriminant;

/// No path is longer.
const MOST: usize = 300;

/// Worlds of the model, with more requests, faults and moves than every order of steps allows.
pub(crate) type Worlds = [Config; 6];

pub(crate) const OVER_HTTP: Worlds = [
    longer(bounds::ONE_NUMBER),
    longer(TWO_NUMBERS),
    longer(bounds::AT_THE_LOCK),
    longer(bounds::OVERLAPPING_SENDS),
    longer(bounds::REDEEMS),
    Config {
        faults: 30,
        ..longer(RESENDS)
    },
];

pub(crate) const SIGN_INS: Worlds = [
    longer(bounds::SIGN_INS),
    longer(bounds::LAST_ATTEMPT),
    longer(bounds::DECOYS),
    longer(bounds::AFTER_AN_UPDATE),
    Config {
        faults: 30,
        passes: 0,
        pauses: 0,
        ..longer(RESENDS_OF_SIGN_INS)
    },
    longer(DECOYS_AND_SESSIONS),
];

/// As many codes of one sign-in as there can be.
const RESENDS_OF_SIGN_INS: Config = Config {
    requests: &[
        Request::SignIn { session: 0 },
        answer(0, 0),
        answer(0, 3),
        resend(0, 1),
        resend(0, 4),
    ],
    windows: bounds::WIDER,
    attempts: 5,
    ..bounds::SIGN_INS
};

/// Two sessions: a decoy that is asked all its questions, and a real one.
const DECOYS_AND_SESSIONS: Config = Config {
    requests: &[
        Request::UnknownSignIn { session: 0 },
        Request::SignIn { session: 1 },
        Request::Continue { session: 0 },
        Request::Continue { session: 1 },
        answer(0, 0),
        answer(1, 2),
        resend(0, 1),
        resend(0, 4),
        Request::Send { to: 0, key: NONE },
        Request::Unlock { number: 0 },
    ],
    ..bounds::SIGN_INS
};

const fn answer(session: u8, nonce: u8) -> Request {
    Request::Answer {
        session,
        code: WRONG,
        nonce,
    }
}

const fn resend(session: u8, nonce: u8) -> Request {
    Request::ResendForSignIn { session, nonce }
}

/// One idempotency key for both numbers.
const TWO_NUMBERS: Config = Config {
    requests: &[
        Request::Send { to: 0, key: 0 },
        Request::Send { to: 1, key: 0 },
        Request::Send { to: 1, key: NONE },
        guess(0),
        guess(1),
        Request::Cancel { to: 0 },
    ],
    ..bounds::TWO_NUMBERS
};

/// As many codes of one verification as there can be.
const RESENDS: Config = Config {
    requests: &[Request::Send { to: 0, key: NONE }, guess(0)],
    windows: bounds::WIDER,
    attempts: 5,
    ..bounds::ONE_NUMBER
};

const fn guess(to: u8) -> Request {
    Request::Verify {
        to,
        code: WRONG,
        key: 0,
    }
}

const fn longer(config: Config) -> Config {
    Config {
        begins: 10,
        faults: 3,
        passes: 3,
        short_passes: 1,
        changes: 2,
        pauses: 2,
        ..config
    }
}

/// An action that can happen next, none if there is none: steps more often than faults.
pub(crate) fn choose(model: &Model, state: &State, rng: &mut Rng) -> Option<Action> {
    let mut all = Vec::new();
    model.actions(state, &mut all);
    let weighed = [30, 60, 9, 10]
        .into_iter()
        .enumerate()
        .map(|(kind, weight)| {
            let of_kind = all.iter().filter(|action| kind_of(state, **action) == kind);
            (weight, of_kind.copied().collect::<Vec<_>>())
        });
    let weighed: Vec<_> = weighed.filter(|(_, actions)| !actions.is_empty()).collect();
    let mut roll = rng.usize(
        ..weighed
            .iter()
            .map(|(weight, _)| weight)
            .sum::<usize>()
            .max(1),
    );
    for (weight, actions) in weighed {
        if roll < weight {
            return choose_one(actions, rng);
        }
        roll -= weight;
    }
    None
}

/// Requests of each kind begin equally often, however many codes there are.
fn choose_one(mut actions: Vec<Action>, rng: &mut Rng) -> Option<Action> {
    let first = rng.choice(&actions).copied()?;
    if let Action::Begin { .. } = first {
        let of = |action: &Action| match action {
            Action::Begin { request, .. } => Some(discriminant(request)),
            _ => None,
        };
        let mut kinds = Vec::new();
        for action in &actions {
            if !kinds.contains(&of(action)) {
                kinds.push(of(action));
            }
        }
        let kind = rng.choice(kinds)?;
        let is_wrong = rng.u8(..4) == 0;
        let of_kind = |action: &Action| of(action) == kind;
        let is_chosen = |action: &Action| of_kind(action) && is_wrong_guess(*action) == is_wrong;
        if actions.iter().any(is_chosen) {
            actions.retain(is_chosen);
        } else {
            actions.retain(of_kind);
        }
    }
    rng.choice(actions)
}

fn is_wrong_guess(action: Action) -> bool {
    matches!(
        action,
        Action::Begin {
            request: Request::Verify { code: WRONG, .. } | Request::Answer { code: WRONG, .. },
            ..
        }
    )
}

fn kind_of(state: &State, action: Action) -> usize {
    match action {
        Action::Begin { .. } => 0,
        // Without this, hardly any path would have two unclear sends.
        Action::Step {
            fate: Fate::UnclearSent,
            ..
        } if state.faults > 2 => 1,
        Action::Step {
            fate: Fate::Done | Fate::Yes | Fate::No,
            ..
        } => 1,
        Action::Step { .. } | Action::Crash { .. } => 2,
        Action::Pass(_) | Action::ChangeProvider | Action::TogglePause => 3,
    }
}

/// The model, the first state and the random numbers of a path. The number of the path determines all three.
pub(crate) fn start(worlds: &Worlds, path: u64) -> (Model, State, Rng) {
    let index = usize::try_from(path).unwrap() % worlds.len();
    let config = worlds[index];
    let model = Model {
        config,
        without: None,
    };
    let mut rng = Rng::with_seed(path);
    let state = rng.choice(model.starts()).unwrap();
    (model, state, rng)
}

/// As [`choose`], up to the longest path.
pub(crate) fn steps() -> std::ops::Range<usize> {
    0..MOST
}
