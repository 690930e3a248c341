//! The ledger without a table: the same steps and the same conditions, on maps in memory.
//!
//! It shares no code with the ledger in a table, so that one suite over both finds where either strays from the contract.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use otp_lambda::{
    ledger::{
        Again, Attempt, Charge, GUESS_PENDING, Guess, GuessOutcome, HeldKey, ItemName, KEY_KEPT,
        KeyOutcome, KeyReservation, LOCKED, Ledger, Mac, Millis, NUMBER_KEPT, Number, NumberCharge,
        Opening, Question, REDEEMABLE, REMEMBERED_SENDS, Reservation, Settled, State, Success,
        Switches, Transition, USED, Unavailable, UsedCode, VERIFICATION_KEPT, Verification,
    },
    policy::{GUESS_STOPS, SendLimits, Spending},
};

/// A [`Ledger`] in memory. Clones share what is in it.
///
/// Each step holds one lock from its first look to its last write and never waits in between, so it happens wholly or not
/// at all. It knows no time of its own: items stay past their end until [`MemoryLedger::sweep`].
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    items: Arc<Mutex<Items>>,
}

#[derive(Debug, Default)]
struct Items {
    switches: Switches,
    counters: BTreeMap<ItemName, Counter>,
    budgets: BTreeMap<ItemName, Budget>,
    idempotency_keys: BTreeMap<ItemName, IdempotencyKey>,
    numbers: BTreeMap<ItemName, KnownNumber>,
    verifications: BTreeMap<ItemName, Verification>,
}

#[derive(Debug)]
struct Counter {
    count: u64,
    expires: Millis,
}

#[derive(Debug)]
struct Budget {
    spent: BTreeMap<String, u64>,
    expires: Millis,
}

#[derive(Debug)]
struct IdempotencyKey {
    held: HeldKey,
    released: bool,
}

#[derive(Debug, Default)]
struct KnownNumber {
    number: Number,
    /// How often the failures were cleared.
    epoch: u64,
    /// Nothing while there are failures: their count must outlast every pause.
    expires: Option<Millis>,
}

impl MemoryLedger {
    /// An empty one, with nothing switched.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the operator has switched.
    pub fn switch(&self, switches: Switches) {
        self.items().switches = switches;
    }

    /// Deletes what is past its time to live, as the table does sooner or later. To be called whenever a test moves its
    /// clock: nothing may hang on an item that can be gone.
    pub fn sweep(&self, now: Millis) {
        // Times to live are in whole seconds.
        let kept = |expires: Millis| expires.seconds().saturating_mul(1000) >= now.0;
        let items = &mut *self.items();
        items.counters.retain(|_, counter| kept(counter.expires));
        items.budgets.retain(|_, budget| kept(budget.expires));
        items
            .idempotency_keys
            .retain(|_, key| kept(key.held.at.plus(KEY_KEPT)));
        items
            .numbers
            .retain(|_, known| known.expires.is_none_or(kept));
        items
            .verifications
            .retain(|_, verification| kept(verification.expires.plus(VERIFICATION_KEPT)));
    }

    /// Every verification there is.
    #[must_use]
    pub fn verifications(&self) -> BTreeMap<ItemName, Verification> {
        self.items().verifications.clone()
    }

    /// Every number that something is known of.
    #[must_use]
    pub fn numbers(&self) -> BTreeMap<ItemName, Number> {
        self.items()
            .numbers
            .iter()
            .map(|(key, known)| (key.clone(), known.number.clone()))
            .collect()
    }

    /// Every counter of sources and prefixes.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<ItemName, u64> {
        self.items()
            .counters
            .iter()
            .map(|(key, counter)| (key.clone(), counter.count))
            .collect()
    }

    /// What is spent of the budgets, by day and counter.
    #[must_use]
    pub fn budgets(&self) -> BTreeMap<ItemName, BTreeMap<String, u64>> {
        self.items()
            .budgets
            .iter()
            .map(|(key, budget)| (key.clone(), budget.spent.clone()))
            .collect()
    }

    /// Every idempotency key that somebody holds.
    #[must_use]
    pub fn idempotency_keys(&self) -> BTreeMap<ItemName, HeldKey> {
        let items = self.items();
        let held = items
            .idempotency_keys
            .iter()
            .filter(|(_, item)| !item.released);
        held.map(|(key, item)| (key.clone(), item.held.clone()))
            .collect()
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn switches(&self) -> Result<Switches, Unavailable> {
        Ok(self.items().switches.clone())
    }

    async fn count(&self, key: &ItemName, cap: u64, expires: Millis) -> Result<bool, Unavailable> {
        let mut items = self.items();
        let count = items.counters.get(key).map_or(0, |counter| counter.count);
        if count >= cap {
            return Ok(false);
        }
        items.counters.insert(
            key.clone(),
            Counter {
                count: count + 1,
                expires,
            },
        );
        Ok(true)
    }

    async fn uncount(&self, key: &ItemName) -> Result<(), Unavailable> {
        if let Some(counter) = self.items().counters.get_mut(key) {
            counter.count = counter.count.saturating_sub(1);
        }
        Ok(())
    }

    async fn spend(&self, spending: &Spending) -> Result<Option<usize>, Unavailable> {
        let mut items = self.items();
        let budget = items.budgets.get(&spending.key);
        let spent = |counter| {
            budget
                .and_then(|budget| budget.spent.get(counter))
                .copied()
                .unwrap_or_default()
        };
        let over = spending.lines.iter().position(|line| {
            let would_be = line.amount.checked_add(spent(&line.counter));
            would_be.is_none_or(|amount| amount > line.cap)
        });
        if over.is_some() || spending.lines.is_empty() {
            return Ok(over);
        }
        let expires = spending.expires;
        let new = || Budget {
            spent: BTreeMap::new(),
            expires,
        };
        let budget = items
            .budgets
            .entry(spending.key.clone())
            .or_insert_with(new);
        budget.expires = expires;
        for line in &spending.lines {
            *budget.spent.entry(line.counter.clone()).or_default() += line.amount;
        }
        Ok(None)
    }

    async fn refund(&self, spending: &Spending) -> Result<(), Unavailable> {
        if let Some(budget) = self.items().budgets.get_mut(&spending.key) {
            for line in &spending.lines {
                if let Some(spent) = budget.spent.get_mut(&line.counter) {
                    *spent = spent.saturating_sub(line.amount);
                }
            }
        }
        Ok(())
    }

    async fn reserve_key(
        &self,
        key: &ItemName,
        fingerprint: &Mac,
        now: Millis,
    ) -> Result<KeyReservation, Unavailable> {
        let mut items = self.items();
        match items.idempotency_keys.get(key) {
            Some(item) if !item.released && item.held.at > now.minus(KEY_KEPT) => {
                Ok(KeyReservation::Held(item.held.clone()))
            }
            _ => {
                let held = HeldKey {
                    fingerprint: fingerprint.clone(),
                    at: now,
                    outcome: KeyOutcome::Pending,
                };
                items.idempotency_keys.insert(
                    key.clone(),
                    IdempotencyKey {
                        held,
                        released: false,
                    },
                );
                Ok(KeyReservation::Reserved)
            }
        }
    }

    async fn release_key(&self, key: &ItemName) -> Result<(), Unavailable> {
        if let Some(item) = self.items().idempotency_keys.get_mut(key) {
            item.released = true;
        }
        Ok(())
    }

    async fn finish_key(&self, key: &ItemName, answer: Option<&str>) -> Result<(), Unavailable> {
        if let Some(item) = self.items().idempotency_keys.get_mut(key) {
            item.held.outcome = answer.map_or(KeyOutcome::Unclear, |answer| {
                KeyOutcome::Answered(answer.to_owned())
            });
        }
        Ok(())
    }

    async fn number(&self, key: &ItemName) -> Result<Number, Unavailable> {
        Ok(self
            .items()
            .numbers
            .get(key)
            .map(|known| known.number.clone())
            .unwrap_or_default())
    }

    async fn reserve_send(
        &self,
        key: &ItemName,
        limits: &SendLimits,
        now: Millis,
    ) -> Result<Reservation, Unavailable> {
        let mut items = self.items();
        let number = items
            .numbers
            .get(key)
            .map(|known| known.number.clone())
            .unwrap_or_default();
        if !has_place(&number, limits, now) {
            return Ok(Reservation::Refused(number));
        }
        let known = items.numbers.entry(key.clone()).or_default();
        known.number.sends.insert(0, now);
        known.number.sends.truncate(REMEMBERED_SENDS);
        known.keep(now);
        Ok(Reservation::Reserved(known.number.clone()))
    }

    async fn charge_number(
        &self,
        key: &ItemName,
        forget: Option<Millis>,
        now: Millis,
    ) -> Result<NumberCharge, Unavailable> {
        let mut items = self.items();
        let known = items.numbers.entry(key.clone()).or_default();
        if known.number.failures >= LOCKED {
            return Ok(NumberCharge::Locked);
        }
        known.number.failures += 1;
        known.number.last_failure = now;
        known.expires = forget;
        Ok(NumberCharge::Charged(Charge {
            failures: known.number.failures,
            epoch: known.epoch,
        }))
    }

    async fn clear_failures(
        &self,
        key: &ItemName,
        charge: Charge,
        now: Millis,
    ) -> Result<(), Unavailable> {
        if let Some(known) = self
            .items()
            .numbers
            .get_mut(key)
            .filter(|known| known.epoch == charge.epoch)
        {
            known.number.failures = known.number.failures.saturating_sub(charge.failures);
            known.epoch += 1;
            known.keep(now);
        }
        Ok(())
    }

    async fn unlock(&self, key: &ItemName, now: Millis) -> Result<(), Unavailable> {
        let mut items = self.items();
        let known = items.numbers.entry(key.clone()).or_default();
        known.number.failures = 0;
        known.epoch += 1;
        known.keep(now);
        Ok(())
    }

    async fn verification(&self, key: &ItemName) -> Result<Option<Verification>, Unavailable> {
        Ok(self.items().verifications.get(key).cloned())
    }

    async fn open(
        &self,
        key: &ItemName,
        seen: Option<u64>,
        new: &Opening<'_>,
    ) -> Result<bool, Unavailable> {
        let mut items = self.items();
        let stored = items.verifications.get(key);
        if stored.map(|stored| stored.generation) != seen {
            return Ok(false);
        }
        let mut opened = Verification {
            generation: seen.unwrap_or_default() + 1,
            state: new.state,
            expires: new.expires,
            first: new.first,
            left: new.left,
            sends: 1,
            provider: new.provider.to_owned(),
            message_id: None,
            channel: new.channel.to_owned(),
            code_length: new.code_length,
            language: new.language.to_owned(),
            brand_name: new.brand_name.to_owned(),
            last_guess: None,
            success: None,
            redeemed_by: None,
            used: stored.map(|stored| stored.used.clone()).unwrap_or_default(),
            owner: new.owner.cloned(),
        };
        opened.used.retain(|used| !new.forget.contains(used));
        items.verifications.insert(key.clone(), opened);
        Ok(true)
    }

    async fn reopen(
        &self,
        key: &ItemName,
        seen: u64,
        again: &Again<'_>,
    ) -> Result<bool, Unavailable> {
        let mut items = self.items();
        let open = |stored: &Verification| {
            stored.generation == seen && stored.state.is_open() && stored.left > 0
        };
        let Ok(stored) = items.verification_if(key, open) else {
            return Ok(false);
        };
        stored.generation += 1;
        stored.state = State::Reserved;
        stored.expires = again.expires;
        stored.sends = stored.sends.saturating_add(1);
        again.provider.clone_into(&mut stored.provider);
        again.channel.clone_into(&mut stored.channel);
        again.language.clone_into(&mut stored.language);
        stored.last_guess = None;
        Ok(true)
    }

    async fn settle(
        &self,
        key: &ItemName,
        generation: u64,
        outcome: &Settled<'_>,
    ) -> Result<(), Unavailable> {
        let mut items = self.items();
        let reserved = |stored: &Verification| {
            stored.generation == generation && stored.state == State::Reserved
        };
        let Ok(stored) = items.verification_if(key, reserved) else {
            return Ok(());
        };
        match *outcome {
            Settled::Sent { message_id } => {
                stored.state = State::Sent;
                stored.message_id = message_id.map(str::to_owned);
            }
            Settled::Unclear => stored.state = State::Unclear,
            Settled::Failed => stored.state = State::Failed,
            Settled::Back { state, expires } => {
                stored.state = state;
                stored.expires = expires;
            }
        }
        Ok(())
    }

    async fn spend_attempt(
        &self,
        key: &ItemName,
        guess: &Mac,
        question: Option<&Question>,
        now: Millis,
    ) -> Result<Attempt, Unavailable> {
        let mut items = self.items();
        let may_be_asked = |stored: &Verification| {
            stored.is_open(now)
                && question.is_none_or(|asked| {
                    stored.left > 1 || stored.owner.as_ref() == Some(&asked.session)
                })
                && stored
                    .last_guess
                    .as_ref()
                    .is_none_or(|last| gives_way(last, guess, question, now))
        };
        Ok(match items.verification_if(key, may_be_asked) {
            Ok(stored) => {
                stored.left -= 1;
                let question = question.map(|asked| asked.nonce.clone());
                stored.last_guess = Some(Guess {
                    mac: guess.clone(),
                    said: GuessOutcome::Asking,
                    at: now,
                    question,
                });
                Attempt::Paid(stored.clone())
            }
            Err(stored) => Attempt::Refused(stored.cloned()),
        })
    }

    async fn note_answer(
        &self,
        key: &ItemName,
        generation: u64,
        guess: &Mac,
        said: GuessOutcome,
    ) -> Result<(), Unavailable> {
        let mut items = self.items();
        if let Ok(stored) = items.verification_if(key, |stored| stored.generation == generation)
            && let Some(last) = stored.last_guess.as_mut().filter(|last| last.mac == *guess)
        {
            last.said = said;
        }
        Ok(())
    }

    async fn consume(
        &self,
        key: &ItemName,
        generation: u64,
        success: &Success,
    ) -> Result<Transition, Unavailable> {
        let mut items = self.items();
        let open =
            |stored: &Verification| stored.generation == generation && stored.state.is_open();
        Ok(match items.verification_if(key, open) {
            Ok(stored) => {
                stored.state = State::Verified;
                stored.success = Some(success.clone());
                stored.used.insert(UsedCode {
                    code: success.code.clone(),
                    until: success.at.plus(USED),
                });
                Transition::Applied
            }
            Err(stored) => Transition::Refused(stored.cloned()),
        })
    }

    async fn cancel(&self, key: &ItemName, now: Millis) -> Result<Transition, Unavailable> {
        let mut items = self.items();
        Ok(
            match items.verification_if(key, |stored| stored.is_open(now)) {
                Ok(stored) => {
                    stored.state = State::Canceled;
                    Transition::Applied
                }
                Err(stored) => Transition::Refused(stored.cloned()),
            },
        )
    }

    async fn redeem(
        &self,
        key: &ItemName,
        redeemer: &Mac,
        now: Millis,
    ) -> Result<Transition, Unavailable> {
        let mut items = self.items();
        let claimable = |stored: &Verification| {
            stored.state == State::Verified
                && stored.owner.is_none()
                && stored.redeemed_by.is_none()
                && stored
                    .success
                    .as_ref()
                    .is_some_and(|success| success.at > now.minus(REDEEMABLE))
        };
        Ok(match items.verification_if(key, claimable) {
            Ok(stored) => {
                stored.redeemed_by = Some(redeemer.clone());
                Transition::Applied
            }
            Err(stored) => Transition::Refused(stored.cloned()),
        })
    }
}

impl Items {
    /// The verification, to be changed, if the condition holds for it; else whatever stands there.
    fn verification_if(
        &mut self,
        key: &ItemName,
        holds: impl FnOnce(&Verification) -> bool,
    ) -> Result<&mut Verification, Option<&mut Verification>> {
        match self.verifications.get_mut(key) {
            Some(stored) if holds(stored) => Ok(stored),
            stored => Err(stored),
        }
    }
}

impl KnownNumber {
    /// If it has no failures, it has no last one either, and a time to live.
    fn keep(&mut self, now: Millis) {
        if self.number.failures == 0 {
            self.number.last_failure = Millis::default();
            self.expires = Some(now.plus(NUMBER_KEPT));
        }
    }
}

/// Whether the windows and the failed guesses leave a place for one more send.
fn has_place(number: &Number, limits: &SendLimits, now: Millis) -> bool {
    let window_has = |(count, window): (usize, _)| {
        let oldest = count
            .checked_sub(1)
            .and_then(|before| number.sends.get(before));
        oldest.is_none_or(|at| *at <= now.minus(window))
    };
    // The waits grow with the failures, so the longest one that is due decides.
    number.failures < LOCKED
        && GUESS_STOPS.iter().all(|stop| {
            let due = number.failures >= stop.failures;
            !due || number.last_failure <= now.minus(stop.wait)
        })
        && limits.conditions().all(window_has)
}

/// Whether the guess paid for last lets this one be paid for.
fn gives_way(last: &Guess, guess: &Mac, question: Option<&Question>, now: Millis) -> bool {
    let is_over = match last.said {
        GuessOutcome::Invalid => false,
        GuessOutcome::Unclear => true,
        GuessOutcome::Asking => last.at <= now.minus(GUESS_PENDING),
    };
    let is_delivered_twice =
        question.is_some_and(|asked| last.question.as_ref() == Some(&asked.nonce));
    last.mac != *guess || is_over && !is_delivered_twice
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use otp_lambda::{
        ledger::{Hasher, Window},
        phone::PhoneNumber,
        policy::SpendingLine,
        reference::ReferenceId,
    };

    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);
    const MILLISECOND: Duration = Duration::from_millis(1);

    fn keys() -> Hasher {
        Hasher::from_secret(b"a secret")
    }

    fn number() -> PhoneNumber {
        PhoneNumber::parse("+14255550142").unwrap()
    }

    /// Still there at the last moment of its time to live, and gone at the next.
    fn lives_until(ledger: &MemoryLedger, end: Millis, count: impl Fn(&MemoryLedger) -> usize) {
        ledger.sweep(end);
        assert_eq!(count(ledger), 1, "at its end");
        ledger.sweep(end.plus(MILLISECOND));
        assert_eq!(count(ledger), 0, "after its end");
    }

    #[tokio::test]
    async fn a_sweep_deletes_a_verification_a_day_after_its_code_ended() {
        let ledger = MemoryLedger::new();
        let key = keys().verification(&ReferenceId::parse("signup").unwrap(), &number());
        let end = NOW.plus(Duration::from_mins(10));
        let opening = Opening {
            state: State::Reserved,
            first: NOW,
            expires: end,
            left: 3,
            provider: "pinpoint",
            channel: "sms",
            code_length: 6,
            language: "en-US",
            brand_name: "Example",
            owner: None,
            forget: &[],
        };
        assert!(ledger.open(&key, None, &opening).await.unwrap());
        lives_until(&ledger, end.plus(VERIFICATION_KEPT), |ledger| {
            ledger.verifications().len()
        });
        assert!(
            ledger.open(&key, None, &opening).await.unwrap(),
            "as if there had been none"
        );
    }

    #[tokio::test]
    async fn a_sweep_deletes_a_number_only_when_it_has_no_failures() {
        let ledger = MemoryLedger::new();
        let (key, limits) = (
            keys().number(&number()),
            SendLimits::parse("1/30s").unwrap(),
        );
        let count = |ledger: &MemoryLedger| ledger.numbers().len();
        let never = Millis(u64::MAX);

        ledger.reserve_send(&key, &limits, NOW).await.unwrap();
        lives_until(&ledger, NOW.plus(NUMBER_KEPT), count);

        ledger.reserve_send(&key, &limits, NOW).await.unwrap();
        let NumberCharge::Charged(first) = ledger.charge_number(&key, None, NOW).await.unwrap()
        else {
            panic!("locked")
        };
        let later = NOW.plus(Duration::from_mins(1));
        ledger.reserve_send(&key, &limits, later).await.unwrap();
        ledger.charge_number(&key, None, later).await.unwrap();
        ledger.sweep(never);
        assert_eq!(
            count(&ledger),
            1,
            "a send does not bring the time to live back"
        );

        ledger.clear_failures(&key, first, later).await.unwrap();
        ledger.sweep(never);
        assert_eq!(
            ledger.number(&key).await.unwrap().failures,
            1,
            "a failure was left"
        );

        ledger.unlock(&key, later).await.unwrap();
        lives_until(&ledger, later.plus(NUMBER_KEPT), count);

        let NumberCharge::Charged(only) = ledger.charge_number(&key, None, NOW).await.unwrap()
        else {
            panic!("locked")
        };
        ledger.clear_failures(&key, only, later).await.unwrap();
        lives_until(&ledger, later.plus(NUMBER_KEPT), count);
    }

    #[tokio::test]
    async fn a_sweep_deletes_an_idempotency_key_a_day_after_its_claim() {
        let ledger = MemoryLedger::new();
        let (key, body) = (keys().idempotency("caller", "key"), Mac::stored("body"));
        ledger.reserve_key(&key, &body, NOW).await.unwrap();
        ledger.finish_key(&key, Some("{}")).await.unwrap();
        lives_until(&ledger, NOW.plus(KEY_KEPT), |ledger| {
            ledger.idempotency_keys().len()
        });
    }

    #[tokio::test]
    async fn a_sweep_deletes_counters_and_budgets_in_the_second_after_they_end() {
        let ledger = MemoryLedger::new();
        let key = keys().prefix(&number(), Window::around(NOW, Duration::from_hours(1)));
        // A time to live is whole seconds, rounded up.
        ledger.count(&key, 1, NOW.minus(MILLISECOND)).await.unwrap();
        lives_until(&ledger, NOW, |ledger| ledger.counters().len());

        let line = SpendingLine {
            counter: "m".to_owned(),
            amount: 1,
            cap: 1,
            of_country: false,
            ends: NOW.plus(MILLISECOND),
        };
        let spending = Spending {
            key: ItemName::of_budget(0),
            expires: NOW,
            lines: vec![line],
        };
        assert_eq!(ledger.spend(&spending).await.unwrap(), None);
        lives_until(&ledger, NOW, |ledger| ledger.budgets().len());
    }
}
