//! The sequential specification of one verification: its messages, guesses and end, as clients and the phone see them.
//!
//! A request takes several atomic steps, because it asks a provider in between. A send takes its idempotency key, reads
//! the verification, replaces the verification's code, and afterwards makes the older codes worthless. A guess costs an
//! attempt, is checked, and ends the verification if the guess is right. Other requests may come between these steps.
//! Such a request must see each step either done or not done.

use super::checker::{Return, Specification};
use super::operation::{Answer, Operation, Request};

/// `allowedAttempts` of a code.
pub(crate) const ATTEMPTS: u8 = 3;

/// How often a redeem or a cancel tries to change a verification that other requests change meanwhile.
const TRIES: u8 = 3;

/// How many codes one verification can have.
const MOST_SENDS: u8 = 3;

/// Idempotency keys for the sends of one verification.
pub(crate) const KEYS: usize = 3;

pub(crate) struct Verification {
    /// The code of each message, as a guess.
    pub(crate) codes: Vec<usize>,
    /// Whether the history is so long that a client may repeat a guess that got no verdict.
    pub(crate) is_long: bool,
}

/// Each code of a verification has a generation, which is a number. The normal form of a state renumbers the
/// generations: the present generation becomes `NOW`, the generation just before it gets a number of its own, and all
/// older generations share one number.
const NOW: u8 = 2;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// 0 if there is no verification. Any other generation is brought to [`NOW`] after each step.
    generation: u8,
    /// How many verifications have begun. A resend begins none. The count is brought to 1 after each step.
    begun: u8,
    phase: Phase,
    /// The send that has written this generation.
    by: usize,
    left: u8,
    sends: u8,
    /// Texts whose codes are right.
    valid: Set,
    /// The last guess that cost an attempt, and whether it is known to be wrong.
    last: Option<(usize, bool)>,
    /// The request that succeeded, and its guess.
    won: Option<(usize, usize)>,
    redeemed: Option<usize>,
    /// Guesses that have succeeded.
    used: Set,
    /// Texts whose codes the provider has accepted.
    accepted: Set,
    /// Texts that were sent.
    sent: Set,
    keys: [Key; KEYS],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Phase {
    /// A message is about to be sent.
    #[default]
    Reserved,
    Sent,
    Verified,
    Canceled,
    /// No message was sent.
    Failed,
}

/// An idempotency key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Key {
    #[default]
    Free,
    /// This request has taken the key.
    Taken(usize),
    /// The key stands for this message.
    Finished(usize),
}

/// A set of small numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Set(u128);

impl Set {
    fn has(self, member: usize) -> bool {
        self.0 >> member & 1 == 1
    }

    fn with(self, member: usize) -> Self {
        Self(self.0 | 1 << member)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Progress {
    /// A send that takes its key.
    Key,
    /// A send that reads the verification.
    Plan,
    /// A send that writes the next generation.
    Write(Planned),
    /// A send that has sent its message. The fields say what the send still has to record.
    Record {
        generation: u8,
        settle: bool,
        finish: bool,
    },
    /// A send that was refused or got no clear answer. If the send may have written the next generation, the send takes
    /// this write back. After that, the send gives its idempotency key back.
    TakeBack {
        planned: Planned,
        undo: bool,
        release: bool,
    },
    /// A send that gives its key back.
    Release,
    /// A guess that costs an attempt.
    Pay,
    /// A guess that has cost an attempt, but the table's answer was lost, and the step is repeated. If a new
    /// verification has begun meanwhile, the repeat costs another attempt. If not, the repeat costs nothing.
    PayAgain(u8),
    /// A guess that is being checked, with the verification as it was when the guess cost the attempt.
    Check(Paid),
    /// A right guess that ends the verification.
    Consume(Right),
    /// A right guess that has ended the verification, but the table's answer was lost, and the step is repeated. The
    /// repeat cannot end the verification again.
    ConsumeAgain(Right),
    /// A wrong guess that is noted.
    Note(u8),
    /// A request that looks at the verification. It holds how many of its changes were refused.
    Look(u8),
    /// A redeem or a cancel that changes the generation that it has seen.
    Act {
        generation: u8,
        refused: u8,
    },
    /// The rest of a request without a clear answer.
    Late(Step),
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    Key,
    Write(Planned),
    Release,
    Pay,
    Consume(Right),
    Act(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Planned {
    /// The generation and the phase that the send has read.
    seen: u8,
    phase: Phase,
    is_resend: bool,
    left: u8,
    sends: u8,
    valid: Set,
    /// Whether the send has written before, and the answer was lost.
    was_written: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Paid {
    generation: u8,
    begun: u8,
    left: u8,
    valid: Set,
    used: Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Right {
    generation: u8,
    begun: u8,
    text: usize,
}

impl State {
    fn is_open(&self) -> bool {
        self.generation > 0 && matches!(self.phase, Phase::Reserved | Phase::Sent)
    }

    /// The name of the phase in an answer.
    fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Verified => "verified",
            Phase::Canceled => "canceled",
            Phase::Failed => "failed",
            _ if self.left == 0 => "exhausted",
            _ => "pending",
        }
    }

    /// The error code for a request that needs another phase.
    fn refusal(&self) -> &'static str {
        if self.generation == 0 {
            return "verification_not_found";
        }
        match self.phase() {
            "verified" => "already_verified",
            "canceled" => "verification_canceled",
            "failed" => "verification_not_found",
            "exhausted" => "attempts_exhausted",
            _ => "verification_in_progress",
        }
    }

    fn take_key(&self, key: usize, by: usize) -> Option<Self> {
        let mut after = self.clone();
        after.keys[key] = Key::Taken(by);
        (self.keys[key] == Key::Free).then_some(after)
    }

    /// The state after a request has given its key back. Without a key, the state stays as it is.
    fn release_key(&self, key: Option<usize>, by: usize) -> Self {
        let mut after = self.clone();
        if let Some(key) = key
            && self.keys[key] == Key::Taken(by)
        {
            after.keys[key] = Key::Free;
        }
        after
    }

    /// Whether undoing this request could still change the state.
    fn may_undo(&self, planned: Planned, by: usize) -> bool {
        self.generation <= planned.seen
            || self.generation == planned.seen + 1 && self.by == by && self.phase == Phase::Reserved
    }

    /// The state in its new phase. Facts that only other phases need are removed, so that fewer states differ.
    fn in_phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        if phase != Phase::Reserved {
            self.by = 0;
        }
        if !self.is_open() {
            (self.valid, self.sends, self.last) = (Set::default(), 0, None);
        }
        self
    }

    fn write(&self, planned: Planned, text: Option<usize>, by: usize) -> Option<Self> {
        let as_seen = self.phase == planned.phase && self.is_open() && self.left > 0;
        if self.generation != planned.seen || planned.is_resend && !as_seen {
            return None;
        }
        let earlier = if planned.is_resend {
            self.valid
        } else {
            Set::default()
        };
        let mut after = self.clone();
        after.generation += 1;
        after.by = by;
        after.phase = Phase::Reserved;
        after.last = None;
        after.valid = text.map_or(earlier, |text| earlier.with(text));
        if planned.is_resend {
            after.sends += 1;
        } else {
            after.begun += 1;
            (after.sends, after.left) = (1, ATTEMPTS);
            (after.won, after.redeemed) = (None, None);
        }
        Some(after)
    }

    /// The state after a send has taken back its write, if it has written.
    fn undo(&self, planned: Planned, by: usize) -> Self {
        let mut after = self.clone();
        let is_own = self.generation == planned.seen + 1 && self.by == by;
        if is_own && self.phase == Phase::Reserved {
            if planned.is_resend {
                (after.sends, after.valid) = (planned.sends, planned.valid);
                after = after.in_phase(Phase::Sent);
            } else {
                after = after.in_phase(Phase::Failed);
            }
        }
        after
    }

    fn pay(&self, guess: usize, is_remembered: bool, may_repeat: bool) -> Option<Self> {
        let is_repeat = self
            .last
            .is_some_and(|(last, is_wrong)| last == guess && (is_wrong || !may_repeat));
        let mut after = self.clone();
        after.left = self.left.checked_sub(1)?;
        after.last = is_remembered.then_some((guess, false));
        (self.is_open() && !is_repeat).then_some(after)
    }

    fn consume(&self, generation: u8, winner: usize, guess: usize) -> Option<Self> {
        let mut after = self.clone().in_phase(Phase::Verified);
        after.won = Some((winner, guess));
        after.used = self.used.with(guess);
        (self.generation == generation && self.is_open()).then_some(after)
    }

    fn is_redeemable(&self) -> bool {
        self.generation > 0 && self.phase == Phase::Verified && self.redeemed.is_none()
    }

    fn is_cancelable(&self) -> bool {
        self.is_open() && self.left > 0
    }

    /// The state after a redeem or a cancel has changed this generation; `None` if the change is refused.
    fn act(&self, request: Request, generation: u8) -> Option<Self> {
        let mut after = self.clone();
        let is_possible = match request {
            Request::Redeem { redeemer } => {
                after.redeemed = Some(redeemer);
                self.is_redeemable()
            }
            Request::Cancel => {
                after = after.in_phase(Phase::Canceled);
                self.is_cancelable()
            }
            _ => false,
        };
        (is_possible && self.generation == generation).then_some(after)
    }
}

/// The request that a step belongs to, with its parts by name.
struct Context<'a> {
    id: usize,
    answer: &'a Answer,
    had_faults: bool,
    key: Option<usize>,
    text: Option<usize>,
    guess: usize,
    is_code: bool,
    /// Whether the same guess may follow, from another request or as a repeat. If it may follow, a later step must know
    /// that this guess was the last one.
    is_remembered: bool,
    winner: usize,
}

impl<'a> Context<'a> {
    fn of(operation: &'a Operation) -> Self {
        let mut context = Self {
            id: operation.id,
            answer: &operation.answer,
            had_faults: operation.had_faults,
            key: None,
            text: None,
            guess: 0,
            is_code: false,
            is_remembered: false,
            winner: 0,
        };
        match operation.request {
            Request::Send { key, text } => (context.key, context.text) = (key, text),
            Request::Verify { guess, winner } => {
                (context.guess, context.winner) = (guess.name, winner);
                context.is_code = guess.is_code;
                context.is_remembered = !guess.is_unique || operation.had_faults;
            }
            Request::Redeem { redeemer } => context.winner = redeemer,
            Request::Status | Request::Cancel => {}
        }
        context
    }

    /// The end of a refused send: its key is free again.
    fn end_of_send(&self) -> Progress {
        if self.key.is_some() {
            Progress::Release
        } else {
            Progress::Over
        }
    }
}

type Next = Vec<(State, Progress)>;

impl Verification {
    fn key(context: &Context<'_>, state: &State) -> Next {
        let Some(key) = context.key else {
            return Vec::new();
        };
        let answer = context.answer;
        if let Some(after) = state.take_key(key, context.id) {
            return vec![(after, Progress::Plan)];
        }
        let is_explained = match state.keys[key] {
            Key::Finished(text) => answer.status == 202 && context.text == Some(text),
            Key::Taken(_) => answer.is_error("idempotency_key_in_use"),
            Key::Free => false,
        };
        over_if(is_explained, state)
    }

    fn plan(context: &Context<'_>, state: &State) -> Next {
        let answer = context.answer;
        let is_resend = state.is_open() && state.left > 0;
        let mut next = Self::refused_by_number(context, state);
        if is_resend && state.sends >= MOST_SENDS {
            if answer.is_error_with("resend_limit", state.left) {
                next.push((state.clone(), context.end_of_send()));
            }
            return next;
        }
        let planned = Planned {
            seen: state.generation,
            phase: state.phase,
            is_resend,
            // Only the answer of a success shows the attempts left.
            left: if answer.status == 202 { state.left } else { 0 },
            sends: state.sends,
            valid: state.valid,
            was_written: false,
        };
        let planned = if is_resend {
            planned
        } else {
            Planned {
                phase: Phase::default(),
                left: ATTEMPTS,
                sends: 0,
                valid: Set::default(),
                ..planned
            }
        };
        next.push((state.clone(), Progress::Write(planned)));
        if answer.is_unknown() {
            next.push((state.clone(), context.end_of_send()));
        }
        next
    }

    /// Whether the number's limits are full is for the specification of the number.
    fn refused_by_number(context: &Context<'_>, state: &State) -> Next {
        if context.answer.is_error("rate_limited") {
            vec![(state.clone(), context.end_of_send())]
        } else {
            Vec::new()
        }
    }

    fn write(context: &Context<'_>, state: &State, planned: Planned) -> Next {
        let answer = context.answer;
        let mut next = Self::refused_by_number(context, state);
        let taken_back = (
            state.clone(),
            Progress::TakeBack {
                planned,
                undo: true,
                release: context.key.is_some(),
            },
        );
        if answer.is_unknown() {
            next.push(taken_back.clone());
        }
        match state.write(planned, context.text, context.id) {
            Some(mut after) if answer.status == 202 => {
                let Some(text) = context.text else {
                    return next;
                };
                // Each message is sent only once.
                if !state.sent.has(text) && answer.left == Some(planned.left.into()) {
                    after.sent = state.sent.with(text);
                    let record = Progress::Record {
                        generation: after.generation,
                        settle: true,
                        finish: context.key.is_some(),
                    };
                    next.push((after, record));
                }
            }
            // The generation was written, but the answer was lost. The repeated write finds its own mark.
            Some(after) if context.had_faults && !planned.was_written => {
                let again = Planned {
                    was_written: true,
                    ..planned
                };
                next.push((after, Progress::Write(again)));
            }
            Some(_) => {}
            None => {
                if answer.is_error("verification_in_progress") {
                    if context.had_faults {
                        next.push(taken_back);
                    } else {
                        next.push((state.clone(), context.end_of_send()));
                    }
                }
            }
        }
        next
    }

    fn take_back(
        context: &Context<'_>,
        state: &State,
        planned: Planned,
        undo: bool,
        release: bool,
    ) -> Next {
        let mut next = Vec::new();
        let progress = |undo, release| {
            if undo || release {
                Progress::TakeBack {
                    planned,
                    undo,
                    release,
                }
            } else {
                Progress::Over
            }
        };
        if undo {
            let after = state.undo(planned, context.id);
            next.push((after, progress(false, release)));
        }
        if release {
            let after = state.release_key(context.key, context.id);
            next.push((after, progress(undo, false)));
        }
        next
    }

    fn record(
        context: &Context<'_>,
        state: &State,
        generation: u8,
        settle: bool,
        finish: bool,
    ) -> Next {
        let mut next = Vec::new();
        let progress = |settle, finish| {
            if settle || finish {
                Progress::Record {
                    generation,
                    settle,
                    finish,
                }
            } else {
                Progress::Over
            }
        };
        let Some(text) = context.text else {
            return next;
        };
        if settle {
            let mut after = state.clone();
            if state.generation == generation && state.phase == Phase::Reserved {
                after = after.in_phase(Phase::Sent);
                after.valid = Set::default().with(text);
            }
            next.push((after, progress(false, finish)));
        }
        if let Some(key) = context.key.filter(|_| finish) {
            let mut after = state.clone();
            if state.keys[key] == Key::Taken(context.id) {
                after.keys[key] = Key::Finished(text);
            }
            next.push((after, progress(settle, false)));
        }
        next
    }

    fn pay(&self, context: &Context<'_>, state: &State, is_first: bool) -> Next {
        let answer = context.answer;
        let guess = context.guess;
        let mut next = Vec::new();
        if let Some(after) = state.pay(guess, context.is_remembered, self.is_long) {
            let paid = Paid {
                generation: after.generation,
                begun: after.begun,
                left: after.left,
                valid: after.valid,
                used: after.used,
            };
            if context.had_faults && is_first {
                next.push((after.clone(), Progress::PayAgain(after.begun)));
            }
            if context.is_code || answer.is_unknown() {
                next.push((after, Progress::Check(paid)));
            } else {
                next.extend(Self::wrong(context, &after, paid));
            }
            if !self.is_long {
                return next;
            }
        }
        let last = state.last.filter(|(last, _)| *last == guess);
        let is_explained = match (state.refusal(), last) {
            ("already_verified", _) if state.won == Some((context.winner, guess)) => {
                answer.is_success() || self.is_long && answer.is_error("already_verified")
            }
            ("verification_in_progress" | "attempts_exhausted", Some((_, true))) => {
                answer.is_error_with("invalid_code", state.left)
            }
            ("attempts_exhausted", Some((_, false))) => {
                answer.is_error("verification_in_progress")
                    || self.is_long && answer.is_error("attempts_exhausted")
            }
            ("verification_in_progress", None) => false,
            (refusal, _) => answer.is_error(refusal),
        };
        next.extend(over_if(is_explained, state));
        next
    }

    fn check(&self, context: &Context<'_>, state: &State, paid: Paid) -> Next {
        let right = (0..self.codes.len()).find(|text| {
            paid.valid.has(*text)
                && self.codes[*text] == context.guess
                && !state.accepted.has(*text)
                && !paid.used.has(context.guess)
        });
        if let Some(text) = right {
            let mut after = state.clone();
            after.accepted = state.accepted.with(text);
            let right = Right {
                generation: paid.generation,
                begun: paid.begun,
                text,
            };
            return vec![(after, Progress::Consume(right))];
        }
        Self::wrong(context, state, paid)
    }

    /// The steps after a wrong guess.
    fn wrong(context: &Context<'_>, state: &State, paid: Paid) -> Next {
        if !context.answer.is_error_with("invalid_code", paid.left) {
            Vec::new()
        } else if context.is_remembered {
            vec![(state.clone(), Progress::Note(paid.generation))]
        } else {
            vec![(state.clone(), Progress::Over)]
        }
    }

    fn consume(context: &Context<'_>, state: &State, right: Right, is_again: bool) -> Next {
        let answer = context.answer;
        let (winner, guess) = (context.winner, context.guess);
        match state.consume(right.generation, winner, guess) {
            Some(after) if !is_again => {
                let mut next = Vec::new();
                if context.had_faults {
                    next.push((after.clone(), Progress::ConsumeAgain(right)));
                }
                if answer.is_success() {
                    next.push((after, Progress::Over));
                }
                next
            }
            // A resend has begun meanwhile. The resend ends the code only when the message of the resend is sent.
            _ if state.is_open()
                && state.begun == right.begun
                && state.generation > right.generation
                && state.valid.has(right.text) =>
            {
                let generation = state.generation;
                let right = Right {
                    generation,
                    ..right
                };
                vec![(state.clone(), Progress::Consume(right))]
            }
            _ => {
                let is_explained = match state.phase {
                    Phase::Verified if state.won == Some((winner, guess)) => answer.is_success(),
                    Phase::Verified => answer.is_error("already_verified"),
                    Phase::Canceled => answer.is_error("verification_canceled"),
                    _ => answer.is_error_with("invalid_code", state.left),
                };
                over_if(is_explained, state)
            }
        }
    }

    fn note(context: &Context<'_>, state: &State, generation: u8) -> Next {
        let mut after = state.clone();
        if state.generation == generation && state.last == Some((context.guess, false)) {
            after.last = Some((context.guess, true));
        }
        vec![(after, Progress::Over)]
    }

    fn look(operation: &Operation, context: &Context<'_>, state: &State, refused: u8) -> Next {
        let answer = context.answer;
        let generation = state.generation;
        let act = || {
            if refused == TRIES {
                return over_if(answer.is_error("verification_in_progress"), state);
            }
            vec![(
                state.clone(),
                Progress::Act {
                    generation,
                    refused,
                },
            )]
        };
        let pending = (state.phase() == "pending").then_some(u64::from(state.left));
        let is_explained = match operation.request {
            Request::Status if state.generation > 0 => answer.is_phase(state.phase(), pending),
            Request::Cancel if state.is_cancelable() => return act(),
            Request::Cancel if state.generation > 0 => answer.is_phase(state.phase(), None),
            Request::Redeem { .. } if state.is_redeemable() => return act(),
            Request::Redeem { redeemer }
                if state.refusal() == "already_verified" && state.redeemed == Some(redeemer) =>
            {
                answer.is_success()
            }
            _ => answer.is_error(state.refusal()),
        };
        over_if(is_explained, state)
    }

    fn act(
        operation: &Operation,
        context: &Context<'_>,
        state: &State,
        generation: u8,
        refused: u8,
    ) -> Next {
        let answer = context.answer;
        let Some(after) = state.act(operation.request, generation) else {
            // The verification has changed, so the request looks at it again.
            return vec![(state.clone(), Progress::Look(refused + 1))];
        };
        let mut next = Vec::new();
        // The change was made, but the answer was lost. The repeated step finds its own change, or a later one.
        if context.had_faults {
            let again = Progress::Act {
                generation,
                refused,
            };
            next.push((after.clone(), again));
        }
        let is_explained = match operation.request {
            Request::Redeem { .. } => answer.is_success(),
            _ => answer.is_phase("canceled", None),
        };
        if is_explained {
            next.push((after, Progress::Over));
        }
        next
    }

    /// A step of a request without a clear answer.
    fn late(
        &self,
        operation: &Operation,
        context: &Context<'_>,
        state: &State,
        step: Step,
    ) -> Next {
        let (winner, guess) = (context.winner, context.guess);
        let after = match step {
            Step::Key => context.key.and_then(|key| state.take_key(key, context.id)),
            Step::Write(planned) => state.write(planned, None, context.id),
            Step::Release => Some(state.release_key(context.key, context.id)),
            Step::Pay => state.pay(guess, context.is_remembered, self.is_long),
            Step::Consume(right) => state.consume(right.generation, winner, guess),
            Step::Act(generation) => state.act(operation.request, generation),
        };
        after
            .map(|after| (after, Progress::Over))
            .into_iter()
            .collect()
    }
}

fn over_if(is_explained: bool, state: &State) -> Next {
    if is_explained {
        vec![(state.clone(), Progress::Over)]
    } else {
        Vec::new()
    }
}

/// The steps that a request may still take after it got no clear answer. These steps depend on how far the request had
/// come (`progress`). If a request that has come so far has had a clear answer, the result is `None`.
fn rests_of_unknown(context: &Context<'_>, progress: Progress) -> Option<Vec<Progress>> {
    let release = context.key.map(|_| Progress::Late(Step::Release));
    let late = |step| vec![Progress::Late(step)];
    Some(match progress {
        Progress::Key => [Progress::Late(Step::Key)]
            .into_iter()
            .chain(release)
            .collect(),
        Progress::Plan => release.into_iter().collect(),
        Progress::Write(planned) | Progress::TakeBack { planned, .. } => {
            let back = Progress::TakeBack {
                planned,
                undo: true,
                release: context.key.is_some(),
            };
            vec![Progress::Late(Step::Write(planned)), back]
        }
        Progress::Pay => late(Step::Pay),
        Progress::Consume(right) | Progress::ConsumeAgain(right) => late(Step::Consume(right)),
        Progress::Act { generation, .. } => late(Step::Act(generation)),
        Progress::Release => late(Step::Release),
        Progress::Check(_) | Progress::PayAgain(_) | Progress::Look(_) => Vec::new(),
        Progress::Record { .. } | Progress::Note(_) | Progress::Late(_) | Progress::Over => {
            return None;
        }
    })
}

impl Specification for Verification {
    type Operation = Operation;
    type State = State;
    type Progress = Progress;

    fn begin(&self, operation: &Operation) -> Progress {
        match operation.request {
            Request::Send { key: Some(_), .. } => Progress::Key,
            Request::Send { key: None, .. } => Progress::Plan,
            Request::Verify { .. } => Progress::Pay,
            Request::Status | Request::Redeem { .. } | Request::Cancel => Progress::Look(0),
        }
    }

    fn steps(&self, operation: &Operation, state: &State, progress: &Progress) -> Next {
        let context = &Context::of(operation);
        match *progress {
            Progress::Key => Self::key(context, state),
            Progress::Plan => Self::plan(context, state),
            Progress::Write(planned) => Self::write(context, state, planned),
            Progress::Record {
                generation,
                settle,
                finish,
            } => Self::record(context, state, generation, settle, finish),
            Progress::TakeBack {
                planned,
                undo,
                release,
            } => Self::take_back(context, state, planned, undo, release),
            Progress::Release => self.late(operation, context, state, Step::Release),
            Progress::Pay => self.pay(context, state, true),
            Progress::PayAgain(begun) if state.begun != begun => self.pay(context, state, false),
            Progress::Check(paid) => self.check(context, state, paid),
            Progress::Consume(right) => Self::consume(context, state, right, false),
            Progress::ConsumeAgain(right) => Self::consume(context, state, right, true),
            Progress::Note(generation) => Self::note(context, state, generation),
            Progress::Look(refused) => Self::look(operation, context, state, refused),
            Progress::Act {
                generation,
                refused,
            } => Self::act(operation, context, state, generation, refused),
            Progress::Late(step) => self.late(operation, context, state, step),
            Progress::PayAgain(_) | Progress::Over => Vec::new(),
        }
    }

    fn returns(&self, operation: &Operation, progress: &Progress) -> Return<Progress> {
        let context = Context::of(operation);
        if context.answer.is_unknown() {
            return match rests_of_unknown(&context, *progress) {
                _ if *progress == Progress::Over => Return::Complete,
                Some(rests) => Return::Perhaps(rests),
                None => Return::NotYet,
            };
        }
        match *progress {
            Progress::Over => Return::Complete,
            // The answer does not wait for these steps, even if they fail.
            Progress::Record { .. }
            | Progress::TakeBack { .. }
            | Progress::Release
            | Progress::Note(_)
                if context.had_faults =>
            {
                Return::WithRests(vec![*progress])
            }
            _ => Return::NotYet,
        }
    }

    /// A try that was given up may also cost an attempt, or take a key that was given back.
    fn given_up(&self, operation: &Operation) -> Option<Progress> {
        match operation.request {
            _ if !operation.had_overdue => None,
            Request::Verify { .. } => Some(Progress::Late(Step::Pay)),
            Request::Send { key: Some(_), .. } => Some(Progress::Late(Step::Key)),
            _ => None,
        }
    }

    fn is_moot(&self, operation: &Operation, state: &State, rest: &Progress) -> bool {
        match *rest {
            Progress::Over => true,
            Progress::Record {
                generation,
                finish: false,
                ..
            } => state.generation != generation || state.phase != Phase::Reserved,
            Progress::Note(generation) => state.generation != generation || state.last.is_none(),
            Progress::Late(Step::Consume(Right { generation, .. }) | Step::Act(generation)) => {
                state.generation != generation
            }
            Progress::TakeBack {
                planned,
                release: false,
                ..
            } => !state.may_undo(planned, operation.id),
            Progress::Late(Step::Write(planned)) => state.generation != planned.seen,
            _ => false,
        }
    }

    fn normalize<'a>(&self, state: &mut State, progress: impl Iterator<Item = &'a mut Progress>) {
        if state.generation == 0 {
            return;
        }
        let (generation, begun) = (state.generation, state.begun);
        let shift = |of: &mut u8| *of = NOW - NOW.min(generation - *of);
        let compare = |of: &mut u8| *of = u8::from(*of == begun);
        for progress in progress {
            match progress {
                Progress::Write(planned)
                | Progress::TakeBack { planned, .. }
                | Progress::Late(Step::Write(planned)) => shift(&mut planned.seen),
                Progress::Record { generation, .. }
                | Progress::Note(generation)
                | Progress::Act { generation, .. }
                | Progress::Late(Step::Act(generation)) => shift(generation),
                Progress::PayAgain(begun) => compare(begun),
                Progress::Check(Paid {
                    generation, begun, ..
                })
                | Progress::Consume(Right {
                    generation, begun, ..
                })
                | Progress::ConsumeAgain(Right {
                    generation, begun, ..
                })
                | Progress::Late(Step::Consume(Right {
                    generation, begun, ..
                })) => {
                    shift(generation);
                    compare(begun);
                }
                Progress::Key
                | Progress::Plan
                | Progress::Release
                | Progress::Pay
                | Progress::Look(_)
                | Progress::Late(Step::Key | Step::Release | Step::Pay)
                | Progress::Over => {}
            }
        }
        (state.generation, state.begun) = (NOW, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::checker::{Timed, Verdict, check};
    use super::super::operation::Guess;
    use super::*;
    use serde_json::{Value, json};

    fn timed(
        request: Request,
        (status, body): (u64, Value),
        (called, returned): (u64, u64),
    ) -> Timed<Operation> {
        let operation = Operation {
            id: usize::try_from(called).unwrap(),
            request,
            reference: 0,
            answer: Answer::new(status, &body),
            had_faults: false,
            had_overdue: false,
        };
        Timed {
            operation,
            called,
            returned: Some(returned),
            ended: Some(returned),
        }
    }

    fn verify(name: usize) -> Request {
        let guess = Guess {
            name,
            is_unique: true,
            is_code: false,
        };
        Request::Verify {
            guess,
            winner: name,
        }
    }

    fn send(key: Option<usize>, text: usize) -> Request {
        Request::Send {
            key,
            text: Some(text),
        }
    }

    fn is_explained(history: &[Timed<Operation>]) -> bool {
        let specification = Verification {
            codes: vec![0, 1, 2, 3],
            is_long: false,
        };
        let verdict = check(&specification, &State::default(), history, 100_000);
        assert!(!matches!(verdict, Verdict::Unfinished(_)), "{verdict:?}");
        matches!(verdict, Verdict::Linearizable(_))
    }

    /// Tests a try of a guess that arrives after its repeat, and before the guess has its answer.
    #[test]
    fn a_try_that_was_given_up_may_cost_a_second_attempt() {
        let wrong = |left| (422, json!({ "code": "invalid_code", "attemptsLeft": left }));
        let history = |is_overdue| {
            let mut late = timed(verify(8), wrong(2), (3, 9));
            (late.operation.had_faults, late.operation.had_overdue) = (is_overdue, is_overdue);
            [
                timed(
                    send(None, 0),
                    (202, json!({ "status": "pending", "attemptsLeft": 3 })),
                    (1, 2),
                ),
                late,
                timed(verify(9), wrong(1), (4, 6)),
                timed(
                    Request::Status,
                    (200, json!({ "status": "exhausted" })),
                    (7, 8),
                ),
            ]
        };
        assert!(is_explained(&history(true)));
        assert!(!is_explained(&history(false)));
    }

    /// Tests a send that another one overtook, and that then could not free its key.
    #[test]
    fn a_key_that_could_not_be_freed_stays_taken() {
        let refused = |code: &str| (409, json!({ "code": code }));
        let history = |had_faults| {
            let mut overtaken = timed(
                Request::Send {
                    key: Some(0),
                    text: None,
                },
                refused("verification_in_progress"),
                (2, 5),
            );
            overtaken.operation.had_faults = had_faults;
            let again = Request::Send {
                key: Some(0),
                text: None,
            };
            [
                timed(
                    send(None, 0),
                    (202, json!({ "status": "pending", "attemptsLeft": 3 })),
                    (1, 6),
                ),
                overtaken,
                timed(again, refused("idempotency_key_in_use"), (7, 8)),
            ]
        };
        assert!(is_explained(&history(true)));
        assert!(!is_explained(&history(false)));
    }
}
