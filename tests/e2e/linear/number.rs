//! The sequential specification of one number: how many codes the number may get. Failed guesses can also stop a code,
//! but this specification does not count failed guesses. A second check does: it compares each send with the least and
//! the most failed guesses that there can be at that time.

use super::checker::{Return, Specification, Timed};
use super::operation::{Guess, Operation, Request};

/// Codes that a number may get in an hour. No history is as long as an hour.
pub(crate) const SENDS: u8 = 8;

/// Failed guesses from which on a number gets no code.
const FAILURES: usize = 10;

/// The places that sends take. Other requests take none.
pub(crate) struct Places;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    taken: u8,
    /// Texts that were sent, by reference.
    sent: [u128; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Progress {
    Begun,
    /// The rest of a send without a clear answer.
    Late,
    Over,
}

type Next = Vec<(State, Progress)>;

impl State {
    fn take(&self) -> Option<Self> {
        let mut after = self.clone();
        after.taken += 1;
        (self.taken < SENDS).then_some(after)
    }
}

fn begun(operation: &Operation, text: Option<usize>, state: &State) -> Next {
    let answer = &operation.answer;
    let over = |state: State| (state, Progress::Over);
    match (answer.status, answer.code.as_str(), text) {
        (202, _, Some(text)) => {
            let bit = 1 << text;
            if state.sent[operation.reference] & bit != 0 {
                // Another request with this key has sent the message.
                return vec![over(state.clone())];
            }
            let taken = state.take().map(|mut after| {
                after.sent[operation.reference] |= bit;
                over(after)
            });
            taken.into_iter().collect()
        }
        (_, "verification_in_progress", _) => state.take().map(over).into_iter().collect(),
        (_, "rate_limited", _) if answer.limit == "number" => {
            let mut next = Vec::new();
            if state.taken >= SENDS {
                next.push(over(state.clone()));
            } else if operation.had_faults {
                // A place was taken and the answer was lost. The repeat then found the windows full.
                next.extend(state.take().map(|after| (after, Progress::Begun)));
            }
            next
        }
        // These sends are refused for reasons other than the windows.
        (_, "rate_limited" | "resend_limit" | "idempotency_key_in_use", _) => {
            vec![over(state.clone())]
        }
        _ if answer.is_unknown() => state.take().map(over).into_iter().collect(),
        _ => Vec::new(),
    }
}

impl Specification for Places {
    type Operation = Operation;
    type State = State;
    type Progress = Progress;

    fn begin(&self, operation: &Operation) -> Progress {
        match operation.request {
            Request::Send { .. } => Progress::Begun,
            _ => Progress::Over,
        }
    }

    fn steps(&self, operation: &Operation, state: &State, progress: &Progress) -> Next {
        match (progress, operation.request) {
            (Progress::Begun, Request::Send { text, .. }) => begun(operation, text, state),
            (Progress::Late, _) => {
                let taken = state.take().map(|after| (after, Progress::Over));
                taken.into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn returns(&self, operation: &Operation, progress: &Progress) -> Return<Progress> {
        match progress {
            Progress::Over => Return::Complete,
            Progress::Begun if operation.answer.is_unknown() => {
                Return::Perhaps(vec![Progress::Late])
            }
            _ => Return::NotYet,
        }
    }

    /// A try that was given up may also take a place.
    fn given_up(&self, operation: &Operation) -> Option<Progress> {
        let is_send = matches!(operation.request, Request::Send { .. });
        (is_send && operation.had_overdue).then_some(Progress::Late)
    }

    fn is_moot(&self, _: &Operation, state: &State, rest: &Progress) -> bool {
        *rest == Progress::Over || state.taken >= SENDS
    }
}

/// Whether a guess counted as a failure before it was checked, as far as its answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    Failure,
    Nothing,
    Unknown,
}

fn cost(operation: &Operation, guess: Guess) -> Cost {
    match operation.answer.code.as_str() {
        // No other request has made this guess, so its verdict cannot be an earlier one.
        "invalid_code" if guess.is_unique => Cost::Failure,
        "already_verified" | "verification_canceled" if !guess.is_code => Cost::Nothing,
        "verification_not_found" | "attempts_exhausted" | "verification_in_progress" => {
            Cost::Nothing
        }
        _ => Cost::Unknown,
    }
}

/// Finds two kinds of wrong sends: sends that failed guesses should have stopped but did not, and sends that failed
/// guesses stopped without a reason. If requests overlap, their order is not known, and a send is reported only if it
/// is wrong in every possible order. A right guess clears all earlier failures. Each guess is charged as a failure at
/// first, and a right guess also clears its own charge.
pub(crate) fn wrongly_limited(history: &[Timed<Operation>]) -> Vec<String> {
    let is_before = |one: &Timed<Operation>, other: &Timed<Operation>| {
        one.returned.is_some_and(|returned| returned < other.called)
    };
    let guesses = || {
        history
            .iter()
            .filter_map(|timed| match timed.operation.request {
                Request::Verify { guess, .. } => Some((timed, cost(&timed.operation, guess))),
                _ => None,
            })
    };
    let may_clear = |timed: &Timed<Operation>| {
        let answer = &timed.operation.answer;
        answer.is_success() || answer.is_unknown()
    };
    let mut problems = Vec::new();
    for send in history {
        let answer = &send.operation.answer;
        if !matches!(send.operation.request, Request::Send { .. }) {
            continue;
        }
        let most =
            guesses().filter(|(guess, cost)| *cost != Cost::Nothing && !is_before(send, guess));
        // A try that was given up may also count.
        let most = most.map(|(guess, _)| 1 + usize::from(guess.operation.had_overdue));
        if answer.limit == "guesses" && most.sum::<usize>() < FAILURES {
            problems.push(format!("stopped by too few failed guesses: {send:?}"));
        }
        // The failures that nothing can have cleared before the send.
        let least = guesses().filter(|(guess, cost)| {
            let mut clears =
                guesses().filter(|(other, _)| may_clear(other) && !is_before(send, other));
            *cost == Cost::Failure
                && is_before(guess, send)
                && clears.all(|(other, _)| is_before(other, guess))
        });
        let is_repeat = matches!(send.operation.request, Request::Send { key: Some(_), .. });
        if answer.status == 202 && !is_repeat && least.count() >= FAILURES {
            problems.push(format!(
                "not stopped by {FAILURES} failed guesses: {send:?}"
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::checker::{Verdict, check};
    use super::super::operation::Answer;
    use super::*;
    use serde_json::json;

    fn send(status: u64, limit: &str, text: Option<usize>) -> Operation {
        let code = if limit.is_empty() { "" } else { "rate_limited" };
        Operation {
            id: 0,
            request: Request::Send { key: None, text },
            reference: 0,
            answer: Answer::new(status, &json!({ "code": code, "limit": limit })),
            had_faults: false,
            had_overdue: false,
        }
    }

    fn guess(nth: usize, code: &str) -> Operation {
        let guess = Guess {
            name: nth,
            is_unique: true,
            is_code: code.is_empty(),
        };
        let status = if code.is_empty() { 200 } else { 422 };
        Operation {
            id: 0,
            request: Request::Verify { guess, winner: nth },
            reference: 0,
            answer: Answer::new(status, &json!({ "code": code })),
            had_faults: false,
            had_overdue: false,
        }
    }

    /// One operation after the other.
    fn history(operations: Vec<Operation>) -> Vec<Timed<Operation>> {
        let timed = |(index, operation)| Timed {
            operation,
            called: index * 2,
            returned: Some(index * 2 + 1),
            ended: None,
        };
        (0_u64..).zip(operations).map(timed).collect()
    }

    fn is_explained(operations: Vec<Operation>) -> bool {
        let verdict = check(&Places, &State::default(), &history(operations), 1000);
        matches!(verdict, Verdict::Linearizable(_))
    }

    #[test]
    fn a_number_gets_as_many_codes_as_it_may_and_no_more() {
        let sends = |count: usize| (0..count).map(|text| send(202, "", Some(text)));
        let most = usize::from(SENDS);
        let refused = || send(429, "number", None);
        assert!(is_explained(sends(most).chain([refused()]).collect()));
        assert!(!is_explained(sends(most - 1).chain([refused()]).collect()));
        assert!(!is_explained(sends(most + 1).collect()));
        let unclear = || Operation {
            answer: Answer::default(),
            ..send(503, "", None)
        };
        let with_unclear = |end| sends(most - 1).chain([unclear()]).chain([end]).collect();
        assert!(is_explained(with_unclear(refused())));
        assert!(is_explained(with_unclear(send(202, "", Some(most)))));
    }

    #[test]
    fn failed_guesses_stop_codes_until_a_right_one() {
        let wrong = |count: usize| (0..count).map(|nth| guess(nth, "invalid_code"));
        let (sent, stopped) = (|| send(202, "", Some(0)), || send(429, "guesses", None));
        let problems = |operations: Vec<_>| wrongly_limited(&history(operations)).len();
        assert_eq!(problems(wrong(10).chain([stopped()]).collect()), 0);
        assert_eq!(problems(wrong(9).chain([stopped()]).collect()), 1);
        assert_eq!(problems(wrong(9).chain([sent()]).collect()), 0);
        assert_eq!(problems(wrong(10).chain([sent()]).collect()), 1);
        let right = guess(20, "");
        assert_eq!(problems(wrong(10).chain([right, sent()]).collect()), 0);
    }
}
