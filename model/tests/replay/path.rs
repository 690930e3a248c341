//! One path of the model, step by step on the service.

use crate::answers::record_state;
use crate::gate::{Asked, Given, ToProvider};
use crate::world::{Running, Store, World, digits, name_of, otp};
use model::state::{
    self, Answer, Fate, GuessOutcome, HTTP, Issuer, Place, RecordState, Request, SIGN_INS, State,
    TARGETS, part,
};
use model::{Action, Model, refunds_decoy, target_of};
use otp_lambda::error::{Error, ErrorCode};
use otp_lambda::ledger::{self, ItemName, Ledger, Unavailable, Verification};
use otp_lambda::provider::{self, Receipt, Verdict};
use simulator::layer::Step;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::task::unconstrained;

/// A change of each step before it is done: a ledger without one of its conditions.
pub(crate) type Flaw = fn(&mut Step);

/// A path while it is replayed.
pub(crate) struct Replay {
    model: Model,
    pub(crate) state: State,
    world: World,
    store: Store,
    ledger: Arc<dyn Ledger>,
    running: [Option<Running>; 3],
    flaw: Option<Flaw>,
}

/// The step of the service that a step of the model stands for.
enum Wanted {
    Ledger(&'static [&'static str], Option<ItemName>),
    ToSend(ToProvider),
    ToVerify(ToProvider, String),
}

impl Replay {
    pub(crate) async fn start(
        model: Model,
        state: State,
        path: u64,
        store: &Store,
        flaw: Option<Flaw>,
    ) -> Self {
        let world = World::new(model, path);
        let ledger = store.ledger();
        store.pause(false);
        for (index, number) in state.numbers.iter().enumerate() {
            let item = world.number(index);
            for _ in 0..number.failures {
                let charged = ledger.charge_number(&item, ledger::LOCKED, world.long_ago());
                charged.await.unwrap();
            }
        }
        for _ in 0..state.spent[HTTP] {
            let mut spending = world.spending(HTTP);
            spending.lines.iter_mut().for_each(|line| line.cap = 1000);
            ledger.spend(&spending).await.unwrap();
        }
        Self {
            model,
            state,
            world,
            store: store.clone(),
            ledger,
            running: [None, None, None],
            flaw,
        }
    }

    /// Does an action in the model and at the service.
    ///
    /// # Errors
    ///
    /// If the model and the service differ.
    pub(crate) async fn act(&mut self, action: Action) -> Result<Option<Answer>, String> {
        let (next, expected) = self.model.next(&self.state, action);
        let slot = match action {
            Action::Begin { slot, request } => {
                let slot = usize::from(slot);
                self.running[slot] = Some(self.world.begin(&self.state, request));
                Some(slot)
            }
            Action::Step { slot, part, fate } => {
                self.grant(usize::from(slot), part, fate).await?;
                Some(usize::from(slot))
            }
            Action::Crash { slot } => {
                self.running[usize::from(slot)] = None;
                self.world.gate.forget(usize::from(slot));
                None
            }
            Action::TogglePause => {
                self.store.pause(next.paused > 0);
                None
            }
            Action::Pass(_) | Action::ChangeProvider => None,
        };
        self.state = next;
        let Some(slot) = slot else { return Ok(None) };
        let answer = self.go_on(slot).await?;
        match (answer, expected) {
            (None, None) => self.waits_as_expected(slot)?,
            (answer, expected) if answer == expected => self.running[slot] = None,
            (answer, expected) => {
                let waiting = self.world.gate.waiting(slot);
                return Err(format!(
                    "the service answers {answer:?} and waits for {waiting:?}, the model answers {expected:?}"
                ));
            }
        }
        Ok(expected)
    }

    /// Lets a request run until it waits for steps that the path has to grant.
    async fn go_on(&mut self, slot: usize) -> Result<Option<Answer>, String> {
        loop {
            self.world.gate.runs(slot);
            let running = self.running[slot].as_mut().unwrap();
            let context = &mut Context::from_waker(Waker::noop());
            // Tokio gives each poll of a task a budget of operations. If the budget is used up, even a wait of no time
            // at all does not end before tokio renews the budget. `unconstrained` takes this limit away.
            let polled = unconstrained(running.as_mut());
            if let Poll::Ready(answer) = pin!(polled).poll(context) {
                return answer.map(Some);
            }
            let waiting = self.world.gate.waiting(slot);
            // The model reads the pause as soon as a request comes to it.
            let read = waiting.into_iter().find_map(|(ticket, asked)| match asked {
                Asked::Ledger(step) if matches!(*step, Step::Switches {}) => Some((ticket, step)),
                _ => None,
            });
            let Some((ticket, step)) = read else {
                return Ok(None);
            };
            let reply = step.run(&*self.ledger).await;
            self.world.gate.give(ticket, Given::Ledger(Box::new(reply)));
        }
    }

    /// The service waits for the steps that the model has next, and for no other.
    fn waits_as_expected(&self, slot: usize) -> Result<(), String> {
        let running = self.state.running[slot].as_ref().unwrap();
        let waiting = self.world.gate.waiting(slot);
        let parts = [1, 2, 4].into_iter().filter(|bit| running.parts & bit != 0);
        let wanted: Vec<Wanted> = parts.map(|part| self.wanted(running, part)).collect();
        let is_there = |wanted: &Wanted| waiting.iter().any(|(_, asked)| wanted.is(asked));
        if waiting.len() == wanted.len() && wanted.iter().all(is_there) {
            Ok(())
        } else {
            Err(format!(
                "the model is at {:?} with {:b}, the service at {waiting:?}",
                running.place, running.parts
            ))
        }
    }

    /// Does a step of the service with the end that the path wants.
    async fn grant(&mut self, slot: usize, part: u8, fate: Fate) -> Result<(), String> {
        let running = self.state.running[slot].as_ref().unwrap();
        let wanted = self.wanted(running, part);
        let waiting = self.world.gate.waiting(slot);
        let found = waiting.into_iter().find(|(_, asked)| wanted.is(asked));
        let Some((ticket, asked)) = found else {
            let place = running.place;
            return Err(format!("the service does not come to {place:?}"));
        };
        let given = match asked {
            Asked::Ledger(step) => {
                let mut step = *step;
                if let Some(flaw) = self.flaw {
                    flaw(&mut step);
                }
                let done = match fate {
                    Fate::Failed => None,
                    _ => Some(step.run(&*self.ledger).await),
                };
                let reply = match (done, fate) {
                    (Some(Err(error)), _) => return Err(format!("{}: {error:?}", step.name())),
                    (Some(reply), Fate::Done) => reply,
                    _ => Err(Unavailable("the path says so".to_owned())),
                };
                Given::Ledger(Box::new(reply))
            }
            Asked::ToSend(_) => Given::Sent(match fate {
                Fate::Done => Ok(Receipt {
                    message_id: Some("message".to_owned()),
                    request_id: None,
                }),
                Fate::Refused => Err(Error::new(ErrorCode::ProviderRejected, "Refused.")),
                _ => Err(no_answer().with_unknown_delivery()),
            }),
            Asked::ToVerify(..) => Given::Verified(match fate {
                Fate::Yes => Ok(verdict(Verdict::Valid)),
                Fate::No => Ok(verdict(Verdict::Invalid)),
                _ => Err(no_answer()),
            }),
        };
        self.world.gate.give(ticket, given);
        Ok(())
    }

    fn wanted(&self, running: &state::Running, part: u8) -> Wanted {
        let target = target_of(&self.state, running);
        let number = self.model.number_of(target);
        let of_record = |step| Wanted::Ledger(step, Some(self.world.verification(target)));
        let of_number = |step, number| Wanted::Ledger(step, Some(self.world.number(number)));
        let door = self.model.door_of(target);
        let of_budget = |step, door| Wanted::Ledger(step, Some(self.world.spending(door).item));
        let of_decoy = |step, kind, counter| {
            Wanted::Ledger(step, Some(self.world.decoy(target, kind, counter)))
        };
        let other = |step| Wanted::Ledger(step, None);
        match running.place {
            Place::ReserveKey => other(&["reserve_key"]),
            Place::ReleaseKey => other(&["release_key"]),
            Place::Plan | Place::Read => match part {
                part::RECORD => of_record(&["verification"]),
                _ => of_number(&["number"], number),
            },
            Place::Room => match part {
                part::OF_HTTP => of_number(&["number"], HTTP),
                part::OF_SIGN_INS => of_number(&["number"], SIGN_INS),
                _ => of_budget(&["spent"], HTTP),
            },
            Place::DecoyRoom => match part {
                part::OF_HTTP => of_decoy(&["number"], "N", "http"),
                part::OF_SIGN_INS => of_decoy(&["number"], "N", ""),
                _ => of_decoy(&["spent"], "B", "0"),
            },
            Place::Spend => of_budget(&["spend"], door),
            Place::DecoySpend => of_decoy(&["spend"], "B", "0"),
            Place::ReserveSend => of_number(&["reserve_send"], number),
            Place::DecoyReserve => of_decoy(&["reserve_send"], "N", ""),
            Place::WriteAhead if running.facts.is_resend => of_record(&["reopen"]),
            Place::WriteAhead => of_record(&["open"]),
            Place::AskToSend => {
                let issuer = self.model.issuer_of_send(running);
                Wanted::ToSend(self.to_provider(target, issuer))
            }
            Place::Settle => match part {
                part::KEY => other(&["finish_key", "release_key"]),
                part::SETTLE => of_record(&["settle"]),
                _ if refunds_decoy(running) => of_decoy(&["refund"], "B", "0"),
                _ => of_budget(&["refund"], door),
            },
            Place::Pay => of_record(&["spend_attempt"]),
            Place::CheckHttp => of_number(&["number"], HTTP),
            Place::DecoyCheckHttp => of_decoy(&["number"], "N", "http"),
            Place::Charge => of_number(&["charge_number"], number),
            Place::DecoyCharge => of_decoy(&["charge_number"], "N", ""),
            Place::Ask(index) => {
                let issuer = running.seen.issuers[usize::from(index)];
                let code = match running.request {
                    Request::Verify { code, .. } | Request::Answer { code, .. } => digits(code),
                    _ => String::new(),
                };
                Wanted::ToVerify(self.to_provider(target, issuer), code)
            }
            Place::Consume | Place::ConsumeAgain => of_record(&["consume"]),
            Place::Clear => of_number(&["clear_failures"], number),
            Place::Note => of_record(&["note_answer"]),
            Place::LookBeforeRedeem | Place::LookBeforeCancel | Place::Look | Place::LookAgain => {
                of_record(&["verification"])
            }
            Place::Redeem => of_record(&["redeem"]),
            Place::Cancel => of_record(&["cancel"]),
            Place::Unlock if running.tries > 0 => of_number(&["unlock"], SIGN_INS),
            Place::Unlock => of_number(&["unlock"], number),
        }
    }

    fn to_provider(&self, target: usize, issuer: Issuer) -> ToProvider {
        let (provider, reference) = match issuer {
            Issuer::Provider {
                provider,
                reference,
            } => (name_of(provider), reference),
            Issuer::Nobody | Issuer::Decoy => ("nobody", 0),
        };
        ToProvider {
            provider,
            to: self.world.phone(target).expose().to_owned(),
            reference: self.world.known_as(target, reference).expose().to_owned(),
        }
    }

    /// Checks that the ledger holds the same as the model.
    ///
    /// # Errors
    ///
    /// If the ledger and the model differ.
    pub(crate) async fn compare(&self) -> Result<(), String> {
        for target in 0..TARGETS {
            let item = self.world.verification(target);
            let held = self.ledger.verification(&item).await.unwrap();
            let expected = &self.state.targets[target].record;
            self.compare_record(target, expected, held.as_ref())
                .map_err(|what| format!("verification {target}: {what}"))?;
        }
        for (index, expected) in self.state.numbers.iter().enumerate() {
            let held = self.ledger.number(&self.world.number(index)).await.unwrap();
            let sends: Vec<_> = held.sends.iter().take(3).collect();
            let expected_sends: Vec<_> = expected.sends.iter().filter(|at| **at > 0).collect();
            let same_sends = sends.len() == expected_sends.len()
                && sends
                    .iter()
                    .zip(expected_sends)
                    .all(|(at, expected)| **at == self.world.at(*expected));
            let same_time = expected.last_failure == 0
                || held.last_failure == self.world.at(expected.last_failure);
            if !same_sends || !same_time || held.failures != u32::from(expected.failures) {
                return Err(format!("number {index}: {held:?}, the model {expected:?}"));
            }
        }
        for (door, expected) in self.state.spent.into_iter().enumerate() {
            let spent = self.ledger.spent(&self.world.spending(door)).await.unwrap();
            if spent != [u64::from(expected)] {
                return Err(format!(
                    "door {door} has spent {spent:?}, by the model {expected}"
                ));
            }
        }
        Ok(())
    }

    fn compare_record(
        &self,
        target: usize,
        expected: &state::Record,
        held: Option<&Verification>,
    ) -> Result<(), String> {
        let Some(held) = held else {
            let is_empty = expected.generation == 0;
            return if is_empty {
                Ok(())
            } else {
                Err(format!("there is none, in the model {expected:?}"))
            };
        };
        let (hasher, world) = (&self.world.hasher, &self.world);
        let (reference, to) = (world.reference(target), world.phone(target));
        let digest = |code: u8| hasher.guess(&reference, &to, &otp(code));
        let issuers = expected.issuers.iter();
        let issuers: Vec<ledger::Issuer> = issuers
            .filter_map(|issuer| World::issuer(*issuer))
            .collect();
        let guess = (expected.guess != state::NONE).then(|| {
            let outcome = match expected.guess_outcome {
                GuessOutcome::Invalid => ledger::GuessOutcome::Invalid,
                GuessOutcome::Unclear => ledger::GuessOutcome::Unclear,
                GuessOutcome::Pending | GuessOutcome::None => ledger::GuessOutcome::Pending,
            };
            (digest(expected.guess), outcome, world.at(expected.guess_at))
        });
        let held_guess = held.last_guess.clone();
        let held_guess = held_guess.map(|guess| (guess.code, guess.outcome, guess.at));
        let success = (expected.state == RecordState::Verified)
            .then(|| (digest(expected.won_code), world.at(expected.won_at)));
        let held_success = held.success.clone();
        let held_success = held_success.map(|success| (success.code, success.at));
        let used = held.used.len();
        let same = [
            (
                "generation",
                held.generation == u64::from(expected.generation),
            ),
            ("state", record_state(held.state) == expected.state),
            ("end", held.expires == world.at(expected.expires)),
            ("beginning", held.first == world.at(expected.first)),
            ("attempts", held.left == expected.left),
            ("sends", held.sends == expected.sends),
            ("issuers", held.issuers == issuers),
            (
                "plain reference",
                held.plain_until == world.at(expected.plain_until),
            ),
            ("last guess", held_guess == guess),
            ("success", held_success == success),
            (
                "redeemer",
                held.redeemed_by.is_some() == (expected.redeemed_by != state::NONE),
            ),
            (
                "used codes",
                used == usize::try_from(expected.used.count_ones()).unwrap(),
            ),
            ("owner", held.owner == world.owner(expected.owner)),
        ];
        match same.iter().find(|(_, is_same)| !is_same) {
            None => Ok(()),
            Some((what, _)) => Err(format!("{what}: {held:?}, the model {expected:?}")),
        }
    }
}

impl Wanted {
    fn is(&self, asked: &Asked) -> bool {
        match (self, asked) {
            (Self::Ledger(names, item), Asked::Ledger(step)) => {
                names.contains(&step.name())
                    && item.as_ref().is_none_or(|item| item_of(step) == Some(item))
            }
            (Self::ToSend(wanted), Asked::ToSend(asked)) => wanted == asked,
            (Self::ToVerify(wanted, code), Asked::ToVerify(asked, guess)) => {
                wanted == asked && code == guess
            }
            _ => false,
        }
    }
}

fn item_of(step: &Step) -> Option<&ItemName> {
    match step {
        Step::Switches {} => None,
        Step::Spend { spending } | Step::Spent { spending } | Step::Refund { spending } => {
            Some(&spending.item)
        }
        Step::Count { item, .. }
        | Step::Counted { item }
        | Step::Uncount { item }
        | Step::ReserveKey { item, .. }
        | Step::ReleaseKey { item, .. }
        | Step::FinishKey { item, .. }
        | Step::Number { item }
        | Step::ReserveSend { item, .. }
        | Step::ChargeNumber { item, .. }
        | Step::ClearFailures { item, .. }
        | Step::Unlock { item, .. }
        | Step::RememberDevice { item, .. }
        | Step::KnowsDevice { item, .. }
        | Step::Verification { item }
        | Step::Open { item, .. }
        | Step::Reopen { item, .. }
        | Step::Settle { item, .. }
        | Step::SpendAttempt { item, .. }
        | Step::NoteAnswer { item, .. }
        | Step::Consume { item, .. }
        | Step::Cancel { item, .. }
        | Step::Redeem { item, .. } => Some(item),
    }
}

fn no_answer() -> Error {
    Error::new(ErrorCode::ProviderTimeout, "No answer.")
}

fn verdict(verdict: Verdict) -> provider::Answer {
    provider::Answer {
        verdict,
        request_id: None,
    }
}
