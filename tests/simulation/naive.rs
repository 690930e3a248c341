//! Ledgers with one rule broken: the simulation must see each.

use async_trait::async_trait;
use otp_lambda::ledger::{
    Attempt, Charge, CodeDigest, Fingerprint, GuessOutcome, ItemName, KeyOutcome, KeyReservation,
    Ledger, Number, NumberCharge, Opening, Question, Redeemer, Resend, Reservation, SendWindow,
    Settled, SpendOutcome, Spending, Success, Switches, Transition, Unavailable, Verification,
};
use otp_lambda::policy::SendLimits;
use otp_lambda::time::Millis;
use simulator::MemoryLedger;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::books::Shared;
use crate::store::{OwnedOpening, turn};

/// Which rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naive {
    /// Charged after the provider has answered, and not at all where it has not.
    ChargesAfterAsking,
    /// Looks whether an attempt is left, and takes it a moment later.
    SpendsAttemptsInTwoSteps,
    /// Whoever is right wins.
    ConsumesWithoutCondition,
    /// A key that is pending for thirty seconds is free again.
    TakesOverPendingKeys,
    /// Looks whether there is a place, and takes it a moment later.
    ReservesInTwoSteps,
    /// Looks whether there is budget left, and spends it a moment later.
    SpendsInTwoSteps,
    /// A resend that was refused ends the verification.
    FailsRefusedResends,
    /// A success sets the failures to nothing, those that came after its charge too.
    ClearsEverything,
    /// Gives the budget back where nobody knows whether the text left.
    RefundsUnclearSends,
    /// Writes the record when the text has left.
    WritesBehind,
    /// Counts failures by verification.
    CountsGuessesByReference,
    /// Forgets the code that was used.
    ForgetsUsedCodes,
    /// Remembers no used code but the last.
    RemembersTheLastUsedCode,
    /// Lets any session pay the last attempt.
    KnowsNoOwners,
    /// Lets the counter of a window go at its end, with requests of the window still on their way.
    ForgetsWindowsAtTheirEnd,
}

pub(crate) struct NaiveLedger {
    naive: Naive,
    inner: MemoryLedger,
    books: Shared,
    notes: Mutex<Notes>,
}

/// What a broken rule needs to know of earlier steps.
#[derive(Default)]
struct Notes {
    asked: BTreeMap<(ItemName, CodeDigest), Millis>,
    spent: BTreeMap<usize, Spending>,
    verification: BTreeMap<usize, ItemName>,
    unwritten: BTreeMap<(ItemName, u64), Unwritten>,
}

enum Unwritten {
    First(Option<u64>, OwnedOpening),
    Again(u64, Millis, String),
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

    /// Under which name the failures of a guess are counted.
    fn failures_of(&self, key: &ItemName) -> ItemName {
        let by_reference = self.naive == Naive::CountsGuessesByReference;
        let verification = self.notes().verification.get(&self.operation()).cloned();
        verification
            .filter(|_| by_reference)
            .unwrap_or_else(|| key.clone())
    }

    async fn may_be_asked(
        &self,
        key: &ItemName,
        guess: &CodeDigest,
        now: Millis,
    ) -> Result<Attempt, Unavailable> {
        let stored = self.inner.verification(key).await?;
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
}

#[async_trait]
impl Ledger for NaiveLedger {
    async fn switches(&self) -> Result<Switches, Unavailable> {
        self.inner.switches().await
    }

    async fn count(&self, key: &ItemName, cap: u64, expires: Millis) -> Result<bool, Unavailable> {
        // The service has it kept a minute longer.
        let early = self.naive == Naive::ForgetsWindowsAtTheirEnd;
        self.inner
            .count(
                key,
                cap,
                if early {
                    expires.minus(Duration::from_mins(1))
                } else {
                    expires
                },
            )
            .await
    }

    async fn uncount(&self, key: &ItemName) -> Result<(), Unavailable> {
        self.inner.uncount(key).await
    }

    async fn spend(&self, spending: &Spending) -> Result<SpendOutcome, Unavailable> {
        let operation = self.operation();
        self.notes().spent.insert(operation, spending.clone());
        if self.naive != Naive::SpendsInTwoSteps {
            return self.inner.spend(spending).await;
        }
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
            return Ok(SpendOutcome::OverCap(line.clone()));
        }
        turn().await;
        let mut anyway = spending.clone();
        anyway.lines.iter_mut().for_each(|line| line.cap = u64::MAX);
        self.inner.spend(&anyway).await
    }

    async fn refund(&self, spending: &Spending) -> Result<(), Unavailable> {
        self.inner.refund(spending).await
    }

    async fn reserve_key(
        &self,
        key: &ItemName,
        fingerprint: &Fingerprint,
        now: Millis,
    ) -> Result<KeyReservation, Unavailable> {
        match self.inner.reserve_key(key, fingerprint, now).await? {
            KeyReservation::Held(held)
                if self.naive == Naive::TakesOverPendingKeys
                    && held.outcome == KeyOutcome::Pending
                    && now.since(held.at) >= Duration::from_secs(30) =>
            {
                Ok(KeyReservation::Reserved)
            }
            claim => Ok(claim),
        }
    }

    async fn release_key(&self, key: &ItemName) -> Result<(), Unavailable> {
        self.inner.release_key(key).await
    }

    async fn finish_key(&self, key: &ItemName, answer: Option<&str>) -> Result<(), Unavailable> {
        self.inner.finish_key(key, answer).await
    }

    async fn number(&self, key: &ItemName) -> Result<Number, Unavailable> {
        self.inner.number(key).await
    }

    async fn reserve_send(
        &self,
        key: &ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Result<Reservation, Unavailable> {
        if self.naive != Naive::ReservesInTwoSteps {
            return self.inner.reserve_send(key, windows, now).await;
        }
        let number = self.inner.number(key).await?;
        if !MemoryLedger::has_room(&number, windows, now) {
            return Ok(Reservation::Refused(number));
        }
        turn().await;
        self.inner
            .reserve_send(key, SendLimits::parse("20/1s").unwrap().windows(), now)
            .await
    }

    async fn charge_number(
        &self,
        key: &ItemName,
        forget: Option<Millis>,
        now: Millis,
    ) -> Result<NumberCharge, Unavailable> {
        self.inner
            .charge_number(&self.failures_of(key), forget, now)
            .await
    }

    async fn clear_failures(
        &self,
        key: &ItemName,
        charge: Charge,
        now: Millis,
    ) -> Result<(), Unavailable> {
        if self.naive == Naive::ClearsEverything {
            return self.inner.unlock(key, now).await;
        }
        self.inner
            .clear_failures(&self.failures_of(key), charge, now)
            .await
    }

    async fn unlock(&self, key: &ItemName, now: Millis) -> Result<(), Unavailable> {
        self.inner.unlock(key, now).await
    }

    async fn verification(&self, key: &ItemName) -> Result<Option<Verification>, Unavailable> {
        self.inner.verification(key).await
    }

    async fn open(
        &self,
        key: &ItemName,
        seen: Option<u64>,
        new: &Opening<'_>,
    ) -> Result<bool, Unavailable> {
        if self.naive != Naive::WritesBehind {
            return self.inner.open(key, seen, new).await;
        }
        let written = Unwritten::First(seen, OwnedOpening::of(new));
        self.notes()
            .unwritten
            .insert((key.clone(), seen.unwrap_or_default() + 1), written);
        Ok(true)
    }

    async fn reopen(
        &self,
        key: &ItemName,
        seen: u64,
        resend: &Resend<'_>,
    ) -> Result<bool, Unavailable> {
        if self.naive != Naive::WritesBehind {
            return self.inner.reopen(key, seen, resend).await;
        }
        let written = Unwritten::Again(seen, resend.expires, resend.provider.to_owned());
        self.notes()
            .unwritten
            .insert((key.clone(), seen + 1), written);
        Ok(true)
    }

    async fn settle(
        &self,
        key: &ItemName,
        generation: u64,
        outcome: &Settled<'_>,
    ) -> Result<(), Unavailable> {
        let unwritten = self.notes().unwritten.remove(&(key.clone(), generation));
        match unwritten {
            Some(Unwritten::First(seen, new)) => {
                self.inner.open(key, seen, &new.opening()).await?;
            }
            Some(Unwritten::Again(seen, expires, provider)) => {
                let again = Resend {
                    expires,
                    provider: &provider,
                    channel: "sms",
                    language: "en-US",
                };
                self.inner.reopen(key, seen, &again).await?;
            }
            None => {}
        }
        let spent = self.notes().spent.get(&self.operation()).cloned();
        match (self.naive, outcome, spent) {
            (Naive::FailsRefusedResends, Settled::Back { .. }, _) => {
                self.inner.settle(key, generation, &Settled::Failed).await
            }
            (Naive::RefundsUnclearSends, Settled::Unclear, Some(spent)) => {
                self.inner.refund(&spent).await?;
                self.inner.settle(key, generation, outcome).await
            }
            _ => self.inner.settle(key, generation, outcome).await,
        }
    }

    async fn spend_attempt(
        &self,
        key: &ItemName,
        guess: &CodeDigest,
        question: Option<&Question>,
        now: Millis,
    ) -> Result<Attempt, Unavailable> {
        let operation = self.operation();
        self.notes().verification.insert(operation, key.clone());
        match self.naive {
            Naive::ChargesAfterAsking => {
                self.notes().asked.insert((key.clone(), guess.clone()), now);
                self.may_be_asked(key, guess, now).await
            }
            Naive::SpendsAttemptsInTwoSteps => {
                let attempt = self.may_be_asked(key, guess, now).await?;
                turn().await;
                if let Attempt::Paid(_) = &attempt {
                    self.inner.spend_attempt(key, guess, question, now).await?;
                }
                Ok(attempt)
            }
            Naive::ForgetsUsedCodes => Ok(
                match self.inner.spend_attempt(key, guess, question, now).await? {
                    Attempt::Paid(paid) => Attempt::Paid(Verification {
                        used: BTreeSet::new(),
                        ..paid
                    }),
                    refused @ Attempt::Refused(_) => refused,
                },
            ),
            Naive::RemembersTheLastUsedCode => Ok(
                match self.inner.spend_attempt(key, guess, question, now).await? {
                    Attempt::Paid(paid) => {
                        let last = paid.used.iter().max_by_key(|used| used.until).cloned();
                        Attempt::Paid(Verification {
                            used: last.into_iter().collect(),
                            ..paid
                        })
                    }
                    refused @ Attempt::Refused(_) => refused,
                },
            ),
            Naive::KnowsNoOwners => self.inner.spend_attempt(key, guess, None, now).await,
            _ => self.inner.spend_attempt(key, guess, question, now).await,
        }
    }

    async fn note_answer(
        &self,
        key: &ItemName,
        generation: u64,
        guess: &CodeDigest,
        outcome: GuessOutcome,
    ) -> Result<(), Unavailable> {
        if self.naive == Naive::ChargesAfterAsking {
            let at = self
                .notes()
                .asked
                .get(&(key.clone(), guess.clone()))
                .copied();
            if let (GuessOutcome::Invalid, Some(at)) = (outcome, at) {
                self.inner.spend_attempt(key, guess, None, at).await?;
            }
        }
        self.inner
            .note_answer(key, generation, guess, outcome)
            .await
    }

    async fn consume(
        &self,
        key: &ItemName,
        generation: u64,
        success: &Success,
    ) -> Result<Transition, Unavailable> {
        match self.inner.consume(key, generation, success).await? {
            Transition::Refused(Some(_)) if self.naive == Naive::ConsumesWithoutCondition => {
                Ok(Transition::Applied)
            }
            step => Ok(step),
        }
    }

    async fn cancel(&self, key: &ItemName, now: Millis) -> Result<Transition, Unavailable> {
        self.inner.cancel(key, now).await
    }

    async fn redeem(
        &self,
        key: &ItemName,
        redeemer: &Redeemer,
        now: Millis,
    ) -> Result<Transition, Unavailable> {
        self.inner.redeem(key, redeemer, now).await
    }
}
