//! Visits every state of the model within its bounds, and shows that each of its conditions is needed.
#![expect(clippy::print_stdout, reason = "the tests print their figures")]

use model::bounds;
use model::state::State;
use model::{Action, Config, Guard, Model, broken};
use simulator::{is_full, sized};
use stateright::{Checker, HasDiscoveries, Property};
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Instant;

#[derive(Clone)]
struct Checked(Model);

impl stateright::Model for Checked {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.0.starts()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // Nothing after a broken property matters.
        if state.broken == 0 {
            self.0.actions(state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(Model::canonical(self.0.next(state, action).0))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("all", |_, state: &State| {
            state.broken == 0
        })]
    }
}

/// States, and what was done in each.
type Path = Vec<(State, Option<Action>)>;

/// The result of a check.
struct Found {
    /// Different states.
    states: usize,
    /// All visits of states. A state counts each time it was reached.
    reached: usize,
    /// The path to the nearest broken property.
    path: Option<Path>,
}

/// Ends after `most` reached states, if given.
fn check(config: Config, without: Option<Guard>, most: Option<usize>) -> Found {
    use stateright::Model as _;
    let threads = available_parallelism().map_or(1, NonZeroUsize::get);
    let mut checker = Checked(Model { config, without }).checker();
    if let Some(most) = most {
        checker = checker.target_state_count(most);
    }
    let checker = checker
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    Found {
        states: checker.unique_state_count(),
        reached: checker.state_count(),
        path: checker.discovery("all").map(stateright::Path::into_vec),
    }
}

fn holds(name: &str, config: Config, most: Option<usize>) -> usize {
    let start = Instant::now();
    let Found { states, path, .. } = check(config, None, most);
    println!("{name}: {states} states in {:.1?}", start.elapsed());
    if let Some(path) = path {
        panic!("{name}: {}", told(&path));
    }
    states
}

fn told(path: &[(State, Option<Action>)]) -> String {
    let mut lines = Vec::new();
    for (state, action) in path {
        let Some(action) = action else {
            let records = state.targets.map(|target| target.record.state);
            lines.push(format!(
                "broken: {:?}, {records:?}",
                broken::names(state.broken)
            ));
            break;
        };
        lines.push(format!("{action:?}"));
    }
    lines.join("\n")
}

#[test]
fn every_property_holds() {
    let mut states = 0;
    for (name, config) in [
        ("one number", bounds::ONE_NUMBER),
        ("two numbers", bounds::TWO_NUMBERS),
        ("sign-ins", bounds::SIGN_INS),
        ("at the lock", bounds::AT_THE_LOCK),
        ("overlapping sends", bounds::OVERLAPPING_SENDS),
        ("redeems", bounds::REDEEMS),
        ("the last attempt", bounds::LAST_ATTEMPT),
        ("decoys", bounds::DECOYS),
        ("after an update", bounds::AFTER_AN_UPDATE),
        ("a pause", bounds::PAUSE),
    ] {
        let begins = sized(2, config.begins);
        states += holds(name, Config { begins, ..config }, None);
    }
    println!("{states} states");
    assert!(states >= sized(100_000, 10_000_000));
}

#[test]
fn each_condition_is_needed() {
    let mut unneeded = Vec::new();
    let near = |guard: &Guard| is_full() || !bounds::is_far(*guard);
    for guard in Guard::ALL.into_iter().filter(near) {
        let config = bounds::of_guard(guard);
        let start = Instant::now();
        let Found {
            states,
            reached,
            path,
        } = check(config, Some(guard), None);
        let Some(path) = path else {
            println!("without {guard:?} nothing breaks in {states} states");
            unneeded.push(guard);
            continue;
        };
        let names = path.last().map(|(state, _)| broken::names(state.broken));
        println!(
            "without {guard:?}: {names:?} after {} actions, in {states} states and {:.1?}",
            path.len() - 1,
            start.elapsed()
        );
        // The control: with all conditions nothing breaks in a search as long, within the same bounds.
        if is_full() {
            holds("  with all conditions", config, Some(reached));
        }
    }
    assert!(unneeded.is_empty(), "{unneeded:?}");
}
