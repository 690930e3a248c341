//! A checker of linearizability, for operations that take a few atomic steps each.
//!
//! The checker uses Wing and Gong's search, in the order of the events as in Lowe's "just-in-time linearization". A
//! configuration is the state together with the progress of each running operation. When an operation returns, the
//! search takes steps of the running operations, in every order, until the returning operation is complete with the
//! observed answer. The search never visits a configuration twice at one event.
//!
//! An operation without an answer never returns. Its remaining steps may happen at any later time, or never.
//!
//! The existing crates (`todc-utils`, `stateright`) know only operations of one step with one possible result.
//! `todc-utils` needs an answer to each operation, and `stateright` does not remember configurations.

use crate::random::Random;
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

pub(crate) trait Specification {
    type Operation: Debug;
    type State: Clone + Eq + Hash + Debug;
    /// How far an operation is.
    type Progress: Clone + Ord + Hash + Debug;

    fn begin(&self, operation: &Self::Operation) -> Self::Progress;

    /// All ways to take the operation's next step. Steps that contradict its answer are left out.
    fn steps(
        &self,
        operation: &Self::Operation,
        state: &Self::State,
        progress: &Self::Progress,
    ) -> Vec<(Self::State, Self::Progress)>;

    /// Whether the operation can return its answer at this point.
    fn returns(
        &self,
        operation: &Self::Operation,
        progress: &Self::Progress,
    ) -> Return<Self::Progress>;

    /// A step that the operation has tried and given up. It may happen at any time from the call on, or never.
    fn given_up(&self, _operation: &Self::Operation) -> Option<Self::Progress> {
        None
    }

    /// Whether the rest of an operation can no longer change the state.
    fn is_moot(
        &self,
        operation: &Self::Operation,
        state: &Self::State,
        rest: &Self::Progress,
    ) -> bool;

    /// Brings a configuration into its normal form. If two configurations differ only in things that do not matter,
    /// they have the same normal form. `progress` is the progress of all operations.
    fn normalize<'a>(
        &self,
        _state: &mut Self::State,
        _progress: impl Iterator<Item = &'a mut Self::Progress>,
    ) where
        Self::Progress: 'a,
    {
    }
}

pub(crate) enum Return<P> {
    /// The operation needs more steps first.
    NotYet,
    /// The operation has taken all its steps.
    Complete,
    /// The operation returns although it has steps left. Each element is a part of these steps, called a rest, and each
    /// rest may happen later. If the search took further steps before the return, the search would find no other
    /// answers. So the search need not try further steps here.
    WithRests(Vec<P>),
    /// The operation has steps left, and there are two possibilities. Either the operation returns now, and each of
    /// these rests may happen later. Or the operation takes more steps before it returns.
    Perhaps(Vec<P>),
}

/// An operation, and the times of its call and return, as counts of a clock that all clients share.
#[derive(Debug)]
pub(crate) struct Timed<O> {
    pub(crate) operation: O,
    pub(crate) called: u64,
    /// `None` if there was no answer.
    pub(crate) returned: Option<u64>,
    /// When certainly no part of the operation was on its way any more; `None` if that is not known.
    pub(crate) ended: Option<u64>,
}

/// An event of an operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Called,
    Returned,
    Ended,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// An order explains all answers. Holds the number of visited configurations.
    Linearizable(usize),
    /// No order explains the answer of the operation with this index. Holds the states before that answer.
    Anomaly(usize, Vec<String>),
    /// The search needs more configurations than allowed. It came as far as the operation with this index.
    Unfinished(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Configuration<S, P> {
    state: S,
    /// Running operations, by index.
    running: Vec<(usize, P)>,
    /// The rests of operations that have returned.
    rests: Vec<(usize, P)>,
}

/// The limit of configurations for the first try of a search. Nearly all searches need fewer.
const FIRST_TRY: usize = 20_000;

/// Checks a history with at most `limit` configurations.
pub(crate) fn check<S: Specification>(
    specification: &S,
    initial: &S::State,
    history: &[Timed<S::Operation>],
    limit: usize,
) -> Verdict {
    let mut search = Search {
        specification,
        history,
        random: Random::new(0),
    };
    let (mut visited, mut allowed) = (0, FIRST_TRY);
    loop {
        allowed = allowed.min(limit - visited);
        match search.run(initial.clone(), allowed) {
            Verdict::Linearizable(more) => return Verdict::Linearizable(visited + more),
            Verdict::Unfinished(index) if visited + allowed >= limit => {
                return Verdict::Unfinished(index);
            }
            Verdict::Unfinished(_) => {}
            anomaly @ Verdict::Anomaly(..) => return anomaly,
        }
        visited += allowed;
        allowed *= 2;
    }
}

struct Search<'a, S: Specification> {
    specification: &'a S,
    history: &'a [Timed<S::Operation>],
    random: Random,
}

/// The visited configurations. If several differ only in their rests, those with the most rests are kept.
struct Visited<S, P> {
    rests: HashMap<(usize, S, Running<P>), Vec<Running<P>>>,
    count: usize,
}

type Running<P> = Vec<(usize, P)>;

impl<S: Clone + Eq + Hash, P: Clone + Ord + Hash> Visited<S, P> {
    /// Whether the configuration may explain more than the visited ones.
    fn is_new(&mut self, place: usize, configuration: &Configuration<S, P>) -> bool {
        let Configuration {
            state,
            running,
            rests,
        } = configuration;
        let key = (place, state.clone(), running.clone());
        let earlier = self.rests.entry(key).or_default();
        if earlier.iter().any(|earlier| is_part(rests, earlier)) {
            return false;
        }
        earlier.retain(|earlier| !is_part(earlier, rests));
        earlier.push(rests.clone());
        self.count += 1;
        true
    }
}

/// Whether all members of `part` are in `whole`. Both are sorted.
fn is_part<T: PartialEq>(part: &[T], whole: &[T]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|one| whole.any(|other| one == other))
}

impl<S: Specification> Search<'_, S> {
    /// Searches with at most `limit` configurations.
    fn run(&mut self, initial: S::State, limit: usize) -> Verdict {
        let mut events = Vec::new();
        for (index, timed) in self.history.iter().enumerate() {
            events.push((timed.called, index, Event::Called));
            events.extend(timed.returned.map(|at| (at, index, Event::Returned)));
            events.extend(timed.ended.map(|at| (at, index, Event::Ended)));
        }
        events.sort_unstable();

        let start = Configuration {
            state: initial,
            running: Vec::new(),
            rests: Vec::new(),
        };
        let mut unexplored = vec![(0, start)];
        let mut visited = Visited {
            rests: HashMap::new(),
            count: 0,
        };
        // The configurations at the last event that some order explains.
        let (mut farthest, mut stuck) = (0, Vec::new());
        while let Some((place, configuration)) = unexplored.pop() {
            let Some((_, index, event)) = events.get(place) else {
                return Verdict::Linearizable(visited.count);
            };
            if place > farthest {
                (farthest, stuck) = (place, Vec::new());
            }
            if place == farthest && stuck.len() < 8 {
                stuck.push(format!("{configuration:?}"));
            }
            // The search tries the last one first.
            for (place, next) in self.after(&configuration, *event, *index, place) {
                if visited.is_new(place, &next) {
                    unexplored.push((place, next));
                }
            }
            if visited.count > limit {
                return Verdict::Unfinished(events[farthest].1);
            }
        }
        Verdict::Anomaly(events[farthest].1, stuck)
    }

    /// The configurations after the next event, the most promising at the end.
    fn after(
        &mut self,
        configuration: &Configuration<S::State, S::Progress>,
        event: Event,
        index: usize,
        place: usize,
    ) -> Places<S> {
        match event {
            Event::Called => {
                let mut after = configuration.clone();
                let operation = &self.history[index].operation;
                let begun = self.specification.begin(operation);
                after.running.push((index, begun));
                let given_up = self.specification.given_up(operation);
                after.rests.extend(given_up.map(|step| (index, step)));
                self.tidy(&mut after);
                vec![(place + 1, after)]
            }
            Event::Returned => self.return_of(configuration, index, place),
            Event::Ended => self.end_of(configuration, index, place),
        }
    }
}

/// Configurations, each with the place of the next event, or with the index of the operation that has led to it.
type Places<S> = Vec<(
    usize,
    Configuration<<S as Specification>::State, <S as Specification>::Progress>,
)>;

impl<S: Specification> Search<'_, S> {
    /// The configurations after the return of an operation.
    fn return_of(
        &mut self,
        configuration: &Configuration<S::State, S::Progress>,
        index: usize,
        place: usize,
    ) -> Places<S> {
        let running = &configuration.running;
        let Some(own) = running.iter().position(|(of, _)| *of == index) else {
            return Vec::new();
        };
        let returned = |rests: Vec<S::Progress>| {
            let mut after = configuration.clone();
            after.running.remove(own);
            after
                .rests
                .extend(rests.into_iter().map(|rest| (index, rest)));
            self.tidy(&mut after);
            (place + 1, after)
        };
        let operation = &self.history[index].operation;
        let (mut next, after) = match self.specification.returns(operation, &running[own].1) {
            Return::NotYet => (self.successors(configuration), None),
            Return::Complete => (Vec::new(), Some(returned(Vec::new()))),
            Return::WithRests(rests) => (Vec::new(), Some(returned(rests))),
            Return::Perhaps(rests) => (self.successors(configuration), Some(returned(rests))),
        };
        self.random.shuffle(&mut next);
        // The configurations after a step of the returning operation are the most promising ones.
        next.sort_by_key(|(of, _)| *of == index);
        let steps = next.into_iter().map(|(_, next)| (place, next));
        steps.chain(after).collect()
    }

    /// The configurations after the end of an operation: each remaining step has happened, or never will.
    fn end_of(
        &mut self,
        configuration: &Configuration<S::State, S::Progress>,
        index: usize,
        place: usize,
    ) -> Places<S> {
        let mut ended = configuration.clone();
        ended.running.retain(|(of, _)| *of != index);
        ended.rests.retain(|(of, _)| *of != index);
        let mut next = Vec::new();
        if ended != *configuration {
            next = self.successors(configuration);
            self.random.shuffle(&mut next);
        }
        let steps = next.into_iter().map(|(_, next)| (place, next));
        steps.chain([(place + 1, ended)]).collect()
    }

    /// The configurations after one step of one operation, with its index.
    fn successors(&self, configuration: &Configuration<S::State, S::Progress>) -> Places<S> {
        let mut all = Vec::new();
        let state = &configuration.state;
        for (place, (index, progress)) in configuration.running.iter().enumerate() {
            let operation = &self.history[*index].operation;
            for (state, progress) in self.specification.steps(operation, state, progress) {
                let mut next = configuration.clone();
                next.state = state;
                next.running[place].1 = progress;
                self.tidy(&mut next);
                all.push((*index, next));
            }
        }
        for (place, (index, rest)) in configuration.rests.iter().enumerate() {
            let operation = &self.history[*index].operation;
            for (after, rest) in self.specification.steps(operation, state, rest) {
                // A rest that changes nothing now and can change nothing later need not happen.
                if after == *state && self.specification.is_moot(operation, &after, &rest) {
                    continue;
                }
                let mut next = configuration.clone();
                next.rests[place].1 = rest;
                next.state = after;
                self.tidy(&mut next);
                all.push((*index, next));
            }
        }
        all
    }

    /// Drops the rests that no longer matter, and brings the configuration into one form.
    fn tidy(&self, configuration: &mut Configuration<S::State, S::Progress>) {
        let Configuration {
            state,
            running,
            rests,
        } = configuration;
        rests.retain(|(index, rest)| {
            let operation = &self.history[*index].operation;
            !self.specification.is_moot(operation, state, rest)
        });
        let progress = running.iter_mut().chain(rests.iter_mut());
        let progress = progress.map(|(_, progress)| progress);
        self.specification.normalize(state, progress);
        rests.sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register with writes, reads and additions. An addition takes two steps: it reads, and writes later.
    struct Register;

    #[derive(Debug)]
    enum Operation {
        Write(u8),
        Read(u8),
        Add(u8),
        /// A write that returns at once and may happen later.
        WriteLater(u8),
    }

    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    enum Progress {
        Begun,
        Seen(u8),
        Over,
    }

    impl Specification for Register {
        type Operation = Operation;
        type State = u8;
        type Progress = Progress;

        fn begin(&self, _: &Operation) -> Progress {
            Progress::Begun
        }

        fn steps(
            &self,
            operation: &Operation,
            state: &u8,
            progress: &Progress,
        ) -> Vec<(u8, Progress)> {
            match (operation, progress) {
                (Operation::Write(value) | Operation::WriteLater(value), Progress::Begun) => {
                    vec![(*value, Progress::Over)]
                }
                (Operation::Read(value), Progress::Begun) if value == state => {
                    vec![(*state, Progress::Over)]
                }
                (Operation::Add(_), Progress::Begun) => vec![(*state, Progress::Seen(*state))],
                (Operation::Add(value), Progress::Seen(seen)) => {
                    vec![(seen.wrapping_add(*value), Progress::Over)]
                }
                _ => Vec::new(),
            }
        }

        fn returns(&self, operation: &Operation, progress: &Progress) -> Return<Progress> {
            match (operation, progress) {
                (_, Progress::Over) => Return::Complete,
                (Operation::WriteLater(_), rest) => Return::Perhaps(vec![rest.clone()]),
                _ => Return::NotYet,
            }
        }

        fn is_moot(&self, _: &Operation, _: &u8, rest: &Progress) -> bool {
            *rest == Progress::Over
        }
    }

    use Operation::{Add, Read, Write, WriteLater};

    fn verdict(history: Vec<(Operation, u64, Option<u64>)>) -> Verdict {
        let timed = |(operation, called, returned)| Timed {
            operation,
            called,
            returned,
            ended: None,
        };
        let history: Vec<_> = history.into_iter().map(timed).collect();
        check(&Register, &0, &history, 1000)
    }

    #[track_caller]
    fn holds(history: Vec<(Operation, u64, Option<u64>)>) {
        let verdict = verdict(history);
        assert!(matches!(verdict, Verdict::Linearizable(_)), "{verdict:?}");
    }

    #[track_caller]
    fn fails_at(index: usize, history: Vec<(Operation, u64, Option<u64>)>) {
        let verdict = verdict(history);
        assert!(
            matches!(verdict, Verdict::Anomaly(at, _) if at == index),
            "{verdict:?}"
        );
    }

    #[test]
    fn one_after_another_only_their_order_explains() {
        holds(vec![(Write(1), 1, Some(2)), (Read(1), 3, Some(4))]);
        fails_at(1, vec![(Write(1), 1, Some(2)), (Read(0), 3, Some(4))]);
    }

    #[test]
    fn at_once_every_order_explains() {
        for seen in [1, 2] {
            let writes = vec![(Write(1), 1, Some(4)), (Write(2), 2, Some(3))];
            holds(
                writes
                    .into_iter()
                    .chain([(Read(seen), 5, Some(6))])
                    .collect(),
            );
        }
        holds(vec![
            (Write(1), 1, Some(6)),
            (Read(0), 2, Some(3)),
            (Read(1), 4, Some(5)),
        ]);
    }

    #[test]
    fn a_value_does_not_go_back_between_two_readers() {
        fails_at(
            2,
            vec![
                (Write(1), 1, Some(6)),
                (Read(1), 2, Some(3)),
                (Read(0), 4, Some(5)),
            ],
        );
    }

    #[test]
    fn an_operation_without_an_answer_happens_at_any_later_time_or_never() {
        let lost = || (Write(1), 1, None);
        holds(vec![lost(), (Read(0), 2, Some(3)), (Read(0), 4, Some(5))]);
        holds(vec![lost(), (Read(0), 2, Some(3)), (Read(1), 4, Some(5))]);
        holds(vec![lost(), (Write(2), 2, Some(3)), (Read(1), 4, Some(5))]);
        // The write does not happen twice, and not before it is called.
        fails_at(
            3,
            vec![
                lost(),
                (Read(1), 2, Some(3)),
                (Write(2), 4, Some(5)),
                (Read(1), 6, Some(7)),
            ],
        );
        fails_at(0, vec![(Read(1), 1, Some(2)), (Write(1), 3, None)]);
    }

    #[test]
    fn an_operation_that_has_ended_without_an_answer_has_happened_before_or_never() {
        let lost = |ended| Timed {
            operation: Write(1),
            called: 1,
            returned: None,
            ended,
        };
        let read = |value, called| Timed {
            operation: Read(value),
            called,
            returned: Some(called + 1),
            ended: None,
        };
        for (ended, values, holds) in [
            (Some(3), [0, 1], false),
            (Some(3), [0, 0], true),
            (Some(3), [1, 1], true),
            (None, [0, 1], true),
        ] {
            let history = [lost(ended), read(values[0], 4), read(values[1], 7)];
            let verdict = check(&Register, &0, &history, 1000);
            let is_explained = matches!(verdict, Verdict::Linearizable(_));
            assert_eq!(is_explained, holds, "{values:?}");
        }
    }

    #[test]
    fn each_rest_happens_once_at_any_later_time_or_never() {
        let seen = |values: &[u8]| {
            let writes = [(WriteLater(1), 1, Some(2)), (WriteLater(2), 3, Some(4))];
            let reads = values.iter().zip(2..);
            let reads = reads.map(|(value, nth)| (Read(*value), 2 * nth + 1, Some(2 * nth + 2)));
            writes.into_iter().chain(reads).collect()
        };
        for values in [[0, 0, 0], [0, 1, 2], [0, 2, 1], [1, 1, 2], [2, 2, 2]] {
            holds(seen(&values));
        }
        for (values, at) in [
            ([1, 2, 1], 4),
            ([2, 1, 0], 4),
            ([0, 1, 0], 4),
            ([1, 0, 2], 3),
        ] {
            fails_at(at, seen(&values));
        }
    }

    #[test]
    fn a_configuration_with_fewer_rests_is_not_new() {
        let with = |rests: &[usize]| Configuration {
            state: 0,
            running: Vec::new(),
            rests: rests.iter().map(|rest| (*rest, ())).collect(),
        };
        let mut visited = Visited {
            rests: HashMap::new(),
            count: 0,
        };
        for (place, rests, is_new) in [
            (1, &[1, 3][..], true),
            (1, &[1, 3], false),
            (1, &[3], false),
            (1, &[2, 3], true),
            (1, &[1, 2, 3], true),
            (1, &[1, 2], false),
            (2, &[1, 2], true),
        ] {
            assert_eq!(visited.is_new(place, &with(rests)), is_new, "{rests:?}");
        }
    }

    #[test]
    fn the_steps_of_two_operations_may_alternate() {
        // Both additions read 0, so one is lost. One after the other, none would be lost.
        holds(vec![
            (Add(1), 1, Some(4)),
            (Add(2), 2, Some(3)),
            (Read(1), 5, Some(6)),
        ]);
        holds(vec![
            (Add(1), 1, Some(4)),
            (Add(2), 2, Some(3)),
            (Read(3), 5, Some(6)),
        ]);
        fails_at(
            2,
            vec![
                (Add(1), 1, Some(2)),
                (Add(2), 3, Some(4)),
                (Read(1), 5, Some(6)),
            ],
        );
    }

    #[test]
    fn a_search_that_is_too_long_is_not_finished() {
        let many = (0..12).map(|value| (Add(1 << (value % 7)), 1, Some(2)));
        let history = many.chain([(Read(255), 3, Some(4))]).collect();
        assert!(matches!(verdict(history), Verdict::Unfinished(_)));
    }
}
