//! Ledgers with one broken rule. The simulation must notice each of them.

use async_trait::async_trait;
use otp_lambda::ledger::{
    Attempt, CodeDigest, GuessOutcome, ItemName, KeyOutcome, KeyReservation, Ledger, Opening,
    Phase, Reservation, Seen, SendWindow, Settled, SpendOutcome, Spending, State, Transition,
    Unavailable, Verification,
};
use otp_lambda::time::Millis;
use simulator::MemoryLedger;
use simulator::layer::{Layer, OwnedOpening, OwnedResend, OwnedSettled, Reply, Step};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::books::Shared;
use crate::store::turn;

/// The rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naive {
    /// Charges a guess only after the provider has responded. If the provider does not respond, the guess is never
    /// charged.
    ChargesAfterAsking,
    /// Checks whether an attempt is left, and spends it in a second step.
    SpendsAttemptsInTwoSteps,
    /// Every right guess succeeds.
    ConsumesWithoutCondition,
    /// Loses a right guess if a resend has begun meanwhile, even if the resend sends nothing.
    LosesGuessesToResends,
    /// Frees an idempotency key that has been pending for thirty seconds.
    TakesOverPendingKeys,
    /// Checks whether the windows have room, and records the send in a second step.
    ReservesInTwoSteps,
    /// Checks whether budget is left, and spends it in a second step.
    SpendsInTwoSteps,
    /// Ends the verification if a resend was refused.
    FailsRefusedResends,
    /// Clears all failures after a success, including those after its charge.
    ClearsEverything,
    /// Refunds sends whose outcome is unclear.
    RefundsUnclearSends,
    /// Records a send after the message was sent.
    WritesBehind,
    /// Counts failures for each verification and not for the number.
    CountsGuessesByReference,
    /// Gives all codes of a verification one reference at the provider.
    GivesAllCodesOneReference,
    /// Lets any session spend the last attempt.
    KnowsNoOwners,
    /// Deletes the counter of a window at its end, while requests of the window are still running.
    ForgetsWindowsAtTheirEnd,
    /// Cancels and redeems any generation, and not only the one that was seen.
    EndsAnyGeneration,
    /// Opens a canceled verification again for a guess, as if other software had sent a code.
    ReopensEnds,
}

pub(crate) struct NaiveLedger {
    naive: Naive,
    inner: MemoryLedger,
    books: Shared,
    notes: Mutex<Notes>,
}

/// The memory of a broken rule.
#[derive(Default)]
struct Notes {
    asked: BTreeMap<(ItemName, CodeDigest), Millis>,
    /// Spendings, by operation.
    spent: BTreeMap<usize, Vec<Spending>>,
    /// The verification, by operation.
    verification: BTreeMap<usize, ItemName>,
    unwritten: BTreeMap<(ItemName, u64), Unwritten>,
}

enum Unwritten {
    First(Option<u64>, OwnedOpening),
    Resend(Seen, OwnedResend),
}

impl NaiveLedger {
    pub(crate) fn new(naive: Naive, inner: MemoryLedger, books: Shared) -> Self {
        Self {
            naive,
            inner,
            books,
            notes: Mutex::default(),
        }
    }

    fn operation(&self) -> usize {
        self.books.lock().current
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    /// The item that counts failures by verification.
    fn failures_of_verification(&self, number: ItemName) -> ItemName {
        let operation = self.operation();
        self.notes()
            .verification
            .get(&operation)
            .cloned()
            .unwrap_or(number)
    }

    /// Checks whether an attempt may be spent, without spending it.
    async fn check_attempt(
        &self,
        item: &ItemName,
        guess: &CodeDigest,
        now: Millis,
    ) -> Result<Attempt, Unavailable> {
        let stored = self.inner.verification(item).await?;
        let fresh = |stored: &Verification| {
            let last = stored.last_guess.as_ref();
            last.is_none_or(|last| last.code != *guess || last.outcome == GuessOutcome::Unclear)
        };
        Ok(match stored {
            Some(mut stored) if stored.is_open(now) && fresh(&stored) => {
                stored.left -= 1;
                Attempt::Paid(stored)
            }
            stored => Attempt::Refused(stored),
        })
    }

    async fn spend_in_two_steps(&self, mut spending: Spending) -> Result<Reply, Unavailable> {
        let budgets = self.inner.budgets();
        let spent = |counter: &str| {
            budgets
                .get(&spending.item)
                .and_then(|day| day.get(counter))
                .copied()
                .unwrap_or_default()
        };
        let over = spending
            .lines
            .iter()
            .find(|line| spent(&line.counter).saturating_add(line.amount) > line.cap);
        if let Some(line) = over {
            return Ok(SpendOutcome::OverCap(line.clone()).into());
        }
        turn().await;
        spending
            .lines
            .iter_mut()
            .for_each(|line| line.cap = u64::MAX);
        Step::Spend { spending }.run(&self.inner).await
    }

    async fn reserve_in_two_steps(
        &self,
        item: ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Result<Reply, Unavailable> {
        let number = self.inner.number(&item).await?;
        if !MemoryLedger::has_room(&number, windows, now) {
            return Ok(Reservation::Refused(number).into());
        }
        turn().await;
        let windows = vec![SendWindow {
            sends: 20,
            length: Duration::from_secs(1),
        }];
        Step::ReserveSend { item, windows, now }
            .run(&self.inner)
            .await
    }

    async fn spend_and_reopen(
        &self,
        item: &ItemName,
        guess: &CodeDigest,
        now: Millis,
    ) -> Result<Attempt, Unavailable> {
        let attempt = self.inner.spend_attempt(item, guess, None, now).await?;
        let Attempt::Refused(Some(ended)) = &attempt else {
            return Ok(attempt);
        };
        if ended.phase(now) != Phase::Canceled {
            return Ok(attempt);
        }
        let opening = Opening {
            state: State::Sent,
            holder: ended.holder,
            first: now,
            expires: now.plus(Duration::from_mins(10)),
            left: 5,
            issuers: &ended.issuers,
            plain_until: ended.plain_until,
            channel: &ended.channel,
            code_length: ended.code_length,
            language: &ended.language,
            brand_name: &ended.brand_name,
            owner: None,
            forget: &[],
        };
        let generation = Some(ended.generation);
        self.inner.open(item, generation, &opening).await?;
        self.inner.spend_attempt(item, guess, None, now).await
    }

    /// Writes what [`Naive::WritesBehind`] has not written yet.
    async fn write_behind(&self, item: &ItemName, generation: u64) -> Result<(), Unavailable> {
        let unwritten = self.notes().unwritten.remove(&(item.clone(), generation));
        match unwritten {
            Some(Unwritten::First(seen, new)) => {
                self.inner.open(item, seen, &new.borrow()).await?;
            }
            Some(Unwritten::Resend(seen, resend)) => {
                self.inner.reopen(item, seen, &resend.borrow()).await?;
            }
            None => {}
        }
        Ok(())
    }

    /// The same step, but a cancel or a redeem gets the generation that the ledger has now.
    async fn naming_the_newest(&self, mut step: Step) -> Result<Step, Unavailable> {
        if let Step::Cancel {
            item, generation, ..
        }
        | Step::Redeem {
            item, generation, ..
        } = &mut step
        {
            let stored = self.inner.verification(item).await?;
            *generation = stored.map_or(0, |stored| stored.generation);
        }
        Ok(step)
    }

    fn note(&self, step: &Step) {
        let operation = self.operation();
        match step {
            Step::Spend { spending } => {
                let mut notes = self.notes();
                notes
                    .spent
                    .entry(operation)
                    .or_default()
                    .push(spending.clone());
            }
            Step::SpendAttempt { item, .. } => {
                self.notes().verification.insert(operation, item.clone());
            }
            _ => {}
        }
    }
}

#[expect(clippy::too_many_lines, reason = "one arm for each broken rule")]
#[async_trait]
impl Layer for NaiveLedger {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable> {
        self.note(&step);
        match (self.naive, step) {
            // The service keeps a counter for a minute longer than its window.
            (Naive::ForgetsWindowsAtTheirEnd, Step::Count { item, cap, expires }) => {
                let expires = expires.minus(Duration::from_mins(1));
                let step = Step::Count { item, cap, expires };
                step.run(&self.inner).await
            }
            (Naive::SpendsInTwoSteps, Step::Spend { spending }) => {
                self.spend_in_two_steps(spending).await
            }
            (Naive::TakesOverPendingKeys, step @ Step::ReserveKey { now, .. }) => {
                match step.run(&self.inner).await? {
                    Reply::Key(KeyReservation::Held(held))
                        if held.outcome == KeyOutcome::Pending
                            && now.since(held.at) >= Duration::from_secs(30) =>
                    {
                        Ok(KeyReservation::Reserved.into())
                    }
                    reply => Ok(reply),
                }
            }
            (Naive::ReservesInTwoSteps, Step::ReserveSend { item, windows, now }) => {
                self.reserve_in_two_steps(item, &windows, now).await
            }
            (Naive::CountsGuessesByReference, Step::ChargeNumber { item, lock, now }) => {
                let item = self.failures_of_verification(item);
                let step = Step::ChargeNumber { item, lock, now };
                step.run(&self.inner).await
            }
            (Naive::CountsGuessesByReference, Step::ClearFailures { item, charge, now }) => {
                let item = self.failures_of_verification(item);
                Step::ClearFailures { item, charge, now }
                    .run(&self.inner)
                    .await
            }
            (Naive::ClearsEverything, Step::ClearFailures { item, now, .. }) => {
                Step::Unlock { item, now }.run(&self.inner).await
            }
            (Naive::WritesBehind, Step::Open { item, seen, new }) => {
                let generation = seen.unwrap_or_default() + 1;
                let unwritten = Unwritten::First(seen, new);
                self.notes().unwritten.insert((item, generation), unwritten);
                Ok(true.into())
            }
            (Naive::WritesBehind, Step::Reopen { item, seen, resend }) => {
                let unwritten = Unwritten::Resend(seen, resend);
                let generation = seen.generation + 1;
                self.notes().unwritten.insert((item, generation), unwritten);
                Ok(true.into())
            }
            (
                Naive::WritesBehind,
                ref step @ Step::Settle {
                    ref item,
                    generation,
                    ..
                },
            ) => {
                self.write_behind(item, generation).await?;
                step.run(&self.inner).await
            }
            (
                Naive::FailsRefusedResends,
                Step::Settle {
                    item,
                    generation,
                    holder,
                    outcome: OwnedSettled::Back(_),
                },
            ) => {
                let plain_until = Millis::default();
                let failed = Settled::Failed { plain_until };
                let settled = self.inner.settle(&item, generation, holder, &failed);
                Ok(settled.await?.into())
            }
            (
                Naive::RefundsUnclearSends,
                step @ Step::Settle {
                    outcome: OwnedSettled::Unclear,
                    ..
                },
            ) => {
                let operation = self.operation();
                let spent = self.notes().spent.get(&operation).cloned();
                for spending in spent.into_iter().flatten() {
                    self.inner.refund(&spending).await?;
                }
                step.run(&self.inner).await
            }
            (
                Naive::ChargesAfterAsking,
                Step::SpendAttempt {
                    item, guess, now, ..
                },
            ) => {
                let asked = (item.clone(), guess.clone());
                self.notes().asked.insert(asked, now);
                Ok(self.check_attempt(&item, &guess, now).await?.into())
            }
            (
                Naive::ChargesAfterAsking,
                ref step @ Step::NoteAnswer {
                    ref item,
                    ref guess,
                    outcome,
                    ..
                },
            ) => {
                let asked = (item.clone(), guess.clone());
                let at = self.notes().asked.get(&asked).copied();
                if let (GuessOutcome::Invalid, Some(at)) = (outcome, at) {
                    self.inner.spend_attempt(item, guess, None, at).await?;
                }
                step.run(&self.inner).await
            }
            (
                Naive::SpendsAttemptsInTwoSteps,
                ref step @ Step::SpendAttempt {
                    ref item,
                    ref guess,
                    now,
                    ..
                },
            ) => {
                let attempt = self.check_attempt(item, guess, now).await?;
                turn().await;
                if let Attempt::Paid(_) = &attempt {
                    step.run(&self.inner).await?;
                }
                Ok(attempt.into())
            }
            (
                Naive::KnowsNoOwners,
                Step::SpendAttempt {
                    item, guess, now, ..
                },
            ) => {
                let attempt = self.inner.spend_attempt(&item, &guess, None, now);
                Ok(attempt.await?.into())
            }
            (
                Naive::ReopensEnds,
                Step::SpendAttempt {
                    item, guess, now, ..
                },
            ) => Ok(self.spend_and_reopen(&item, &guess, now).await?.into()),
            (Naive::LosesGuessesToResends, step @ Step::Consume { .. }) => {
                match step.run(&self.inner).await? {
                    Reply::Transition(Transition::Refused(Some(mut seen))) => {
                        seen.issuers.clear();
                        Ok(Transition::Refused(Some(seen)).into())
                    }
                    reply => Ok(reply),
                }
            }
            (Naive::ConsumesWithoutCondition, step @ Step::Consume { .. }) => {
                match step.run(&self.inner).await? {
                    Reply::Transition(Transition::Refused(Some(_))) => {
                        Ok(Transition::Applied.into())
                    }
                    reply => Ok(reply),
                }
            }
            (Naive::EndsAnyGeneration, step) => {
                let step = self.naming_the_newest(step).await?;
                step.run(&self.inner).await
            }
            (_, step) => step.run(&self.inner).await,
        }
    }
}
