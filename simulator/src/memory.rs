//! The ledger in memory: the same steps and conditions as in `DynamoDB`, on maps.
//!
//! It shares no code with the `DynamoDB` adapter, so that one test suite over both finds where either breaks the contract.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use otp_lambda::{
    ledger::{
        Attempt, Charge, CodeDigest, Fingerprint, GUESS_PENDING, GUESS_STOPS, Guess, GuessOutcome,
        HeldKey, ItemName, KEY_KEPT, KeyOutcome, KeyReservation, LOCKED, Ledger, NUMBER_KEPT,
        Number, NumberCharge, Opening, Question, REDEEMABLE, REMEMBERED_SENDS, Redeemer, Resend,
        Reservation, SendWindow, Settled, SpendOutcome, Spending, State, Success, Switches,
        Transition, USED, Unavailable, UsedCode, VERIFICATION_KEPT, Verification,
    },
    time::Millis,
};

/// A [`Ledger`] in memory. Clones share their items.
///
/// Each step is atomic: it holds one lock from its first read to its last write and never waits in between. The ledger has
/// no clock: expired items stay until [`MemoryLedger::sweep`].
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
    /// `None` while there are failures, because waiting must not clear them.
    expires: Option<Millis>,
}

impl MemoryLedger {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the operator's switches.
    pub fn switch(&self, switches: Switches) {
        self.items().switches = switches;
    }

    /// Deletes the items whose time to live has passed, as `DynamoDB` does sooner or later. Tests call this whenever they move
    /// their clock, so that no behavior can depend on an expired item.
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

    #[must_use]
    pub fn verifications(&self) -> BTreeMap<ItemName, Verification> {
        self.items().verifications.clone()
    }

    #[must_use]
    pub fn numbers(&self) -> BTreeMap<ItemName, Number> {
        self.items()
            .numbers
            .iter()
            .map(|(key, known)| (key.clone(), known.number.clone()))
            .collect()
    }

    /// The counters of sources and prefixes.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<ItemName, u64> {
        self.items()
            .counters
            .iter()
            .map(|(key, counter)| (key.clone(), counter.count))
            .collect()
    }

    /// The amounts spent, by day and counter.
    #[must_use]
    pub fn budgets(&self) -> BTreeMap<ItemName, BTreeMap<String, u64>> {
        self.items()
            .budgets
            .iter()
            .map(|(key, budget)| (key.clone(), budget.spent.clone()))
            .collect()
    }

    /// The idempotency keys that are held.
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

    /// Whether the windows and the failures allow one more send.
    #[must_use]
    pub fn has_room(number: &Number, windows: &[SendWindow], now: Millis) -> bool {
        let has_room = |window: &SendWindow| {
            let oldest = window
                .sends
                .checked_sub(1)
                .and_then(|newer| number.sends.get(newer));
            oldest.is_none_or(|at| *at <= now.minus(window.length))
        };
        number.failures < LOCKED
            && GUESS_STOPS.iter().all(|stop| {
                let due = number.failures >= stop.failures;
                !due || number.last_failure <= now.minus(stop.wait)
            })
            && windows.iter().all(has_room)
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

    async fn count(&self, item: &ItemName, cap: u64, expires: Millis) -> Result<bool, Unavailable> {
        let mut items = self.items();
        let count = items.counters.get(item).map_or(0, |counter| counter.count);
        if count >= cap {
            return Ok(false);
        }
        items.counters.insert(
            item.clone(),
            Counter {
                count: count + 1,
                expires,
            },
        );
        Ok(true)
    }

    async fn uncount(&self, item: &ItemName) -> Result<(), Unavailable> {
        if let Some(counter) = self.items().counters.get_mut(item) {
            counter.count = counter.count.saturating_sub(1);
        }
        Ok(())
    }

    async fn spend(&self, spending: &Spending) -> Result<SpendOutcome, Unavailable> {
        let mut items = self.items();
        let budget = items.budgets.get(&spending.item);
        let spent = |counter| {
            budget
                .and_then(|budget| budget.spent.get(counter))
                .copied()
                .unwrap_or_default()
        };
        let over = spending.lines.iter().find(|line| {
            let total = line.amount.checked_add(spent(&line.counter));
            total.is_none_or(|total| total > line.cap)
        });
        if let Some(line) = over {
            return Ok(SpendOutcome::OverCap(line.clone()));
        }
        if spending.lines.is_empty() {
            return Ok(SpendOutcome::Spent);
        }
        let expires = spending.expires;
        let new = || Budget {
            spent: BTreeMap::new(),
            expires,
        };
        let budget = items
            .budgets
            .entry(spending.item.clone())
            .or_insert_with(new);
        budget.expires = expires;
        for line in &spending.lines {
            *budget.spent.entry(line.counter.clone()).or_default() += line.amount;
        }
        Ok(SpendOutcome::Spent)
    }

    async fn refund(&self, spending: &Spending) -> Result<(), Unavailable> {
        if let Some(budget) = self.items().budgets.get_mut(&spending.item) {
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
        item: &ItemName,
        fingerprint: &Fingerprint,
        now: Millis,
    ) -> Result<KeyReservation, Unavailable> {
        let mut items = self.items();
        match items.idempotency_keys.get(item) {
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
                    item.clone(),
                    IdempotencyKey {
                        held,
                        released: false,
                    },
                );
                Ok(KeyReservation::Reserved)
            }
        }
    }

    async fn release_key(&self, item: &ItemName) -> Result<(), Unavailable> {
        if let Some(item) = self.items().idempotency_keys.get_mut(item) {
            item.released = true;
        }
        Ok(())
    }

    async fn finish_key(&self, item: &ItemName, response: Option<&str>) -> Result<(), Unavailable> {
        if let Some(item) = self.items().idempotency_keys.get_mut(item) {
            item.held.outcome = response.map_or(KeyOutcome::Unclear, |response| {
                KeyOutcome::Answered(response.to_owned())
            });
        }
        Ok(())
    }

    async fn number(&self, item: &ItemName) -> Result<Number, Unavailable> {
        Ok(self
            .items()
            .numbers
            .get(item)
            .map(|known| known.number.clone())
            .unwrap_or_default())
    }

    async fn reserve_send(
        &self,
        item: &ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Result<Reservation, Unavailable> {
        let mut items = self.items();
        let number = items
            .numbers
            .get(item)
            .map(|known| known.number.clone())
            .unwrap_or_default();
        if !Self::has_room(&number, windows, now) {
            return Ok(Reservation::Refused(number));
        }
        let known = items.numbers.entry(item.clone()).or_default();
        known.number.sends.insert(0, now);
        known.number.sends.truncate(REMEMBERED_SENDS);
        known.keep(now);
        Ok(Reservation::Reserved(known.number.clone()))
    }

    async fn charge_number(
        &self,
        item: &ItemName,
        forget: Option<Millis>,
        now: Millis,
    ) -> Result<NumberCharge, Unavailable> {
        let mut items = self.items();
        let known = items.numbers.entry(item.clone()).or_default();
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
        item: &ItemName,
        charge: Charge,
        now: Millis,
    ) -> Result<(), Unavailable> {
        if let Some(known) = self
            .items()
            .numbers
            .get_mut(item)
            .filter(|known| known.epoch == charge.epoch)
        {
            known.number.failures = known.number.failures.saturating_sub(charge.failures);
            known.epoch += 1;
            known.keep(now);
        }
        Ok(())
    }

    async fn unlock(&self, item: &ItemName, now: Millis) -> Result<(), Unavailable> {
        let mut items = self.items();
        let known = items.numbers.entry(item.clone()).or_default();
        known.number.failures = 0;
        known.epoch += 1;
        known.keep(now);
        Ok(())
    }

    async fn verification(&self, item: &ItemName) -> Result<Option<Verification>, Unavailable> {
        Ok(self.items().verifications.get(item).cloned())
    }

    async fn open(
        &self,
        item: &ItemName,
        seen: Option<u64>,
        new: &Opening<'_>,
    ) -> Result<bool, Unavailable> {
        let mut items = self.items();
        let stored = items.verifications.get(item);
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
            issuers: new.issuers.to_vec(),
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
        items.verifications.insert(item.clone(), opened);
        Ok(true)
    }

    async fn reopen(
        &self,
        item: &ItemName,
        seen: u64,
        resend: &Resend<'_>,
    ) -> Result<bool, Unavailable> {
        let mut items = self.items();
        let open = |stored: &Verification| {
            stored.generation == seen && stored.state.is_open() && stored.left > 0
        };
        let Ok(stored) = items.verification_if(item, open) else {
            return Ok(false);
        };
        stored.generation += 1;
        stored.state = State::Reserved;
        stored.expires = resend.expires;
        stored.sends = stored.sends.saturating_add(1);
        resend.issuers.clone_into(&mut stored.issuers);
        resend.channel.clone_into(&mut stored.channel);
        resend.language.clone_into(&mut stored.language);
        stored.last_guess = None;
        Ok(true)
    }

    async fn settle(
        &self,
        item: &ItemName,
        generation: u64,
        outcome: &Settled<'_>,
    ) -> Result<(), Unavailable> {
        let mut items = self.items();
        let reserved = |stored: &Verification| {
            stored.generation == generation && stored.state == State::Reserved
        };
        let Ok(stored) = items.verification_if(item, reserved) else {
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
        item: &ItemName,
        guess: &CodeDigest,
        question: Option<&Question>,
        now: Millis,
    ) -> Result<Attempt, Unavailable> {
        let mut items = self.items();
        let may_be_guessed = |stored: &Verification| {
            stored.is_open(now)
                && question.is_none_or(|asked| {
                    stored.left > 1 || stored.owner.as_ref() == Some(&asked.session)
                })
                && stored
                    .last_guess
                    .as_ref()
                    .is_none_or(|last| may_follow(last, guess, question, now))
        };
        Ok(match items.verification_if(item, may_be_guessed) {
            Ok(stored) => {
                stored.left -= 1;
                let question = question.map(|asked| asked.nonce.clone());
                stored.last_guess = Some(Guess {
                    code: guess.clone(),
                    outcome: GuessOutcome::Pending,
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
        item: &ItemName,
        generation: u64,
        guess: &CodeDigest,
        outcome: GuessOutcome,
    ) -> Result<(), Unavailable> {
        let mut items = self.items();
        if let Ok(stored) = items.verification_if(item, |stored| stored.generation == generation)
            && let Some(last) = stored
                .last_guess
                .as_mut()
                .filter(|last| last.code == *guess)
        {
            last.outcome = outcome;
        }
        Ok(())
    }

    async fn consume(
        &self,
        item: &ItemName,
        generation: u64,
        success: &Success,
    ) -> Result<Transition, Unavailable> {
        let mut items = self.items();
        let open =
            |stored: &Verification| stored.generation == generation && stored.state.is_open();
        Ok(match items.verification_if(item, open) {
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

    async fn cancel(&self, item: &ItemName, now: Millis) -> Result<Transition, Unavailable> {
        let mut items = self.items();
        Ok(
            match items.verification_if(item, |stored| stored.is_open(now)) {
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
        item: &ItemName,
        redeemer: &Redeemer,
        now: Millis,
    ) -> Result<Transition, Unavailable> {
        let mut items = self.items();
        let redeemable = |stored: &Verification| {
            stored.state == State::Verified
                && stored.owner.is_none()
                && stored.redeemed_by.is_none()
                && stored
                    .success
                    .as_ref()
                    .is_some_and(|success| success.at > now.minus(REDEEMABLE))
        };
        Ok(match items.verification_if(item, redeemable) {
            Ok(stored) => {
                stored.redeemed_by = Some(redeemer.clone());
                Transition::Applied
            }
            Err(stored) => Transition::Refused(stored.cloned()),
        })
    }
}

impl Items {
    /// The verification to change, if the condition holds; otherwise the verification as it stands, if there is one.
    fn verification_if(
        &mut self,
        item: &ItemName,
        holds: impl FnOnce(&Verification) -> bool,
    ) -> Result<&mut Verification, Option<&mut Verification>> {
        match self.verifications.get_mut(item) {
            Some(stored) if holds(stored) => Ok(stored),
            stored => Err(stored),
        }
    }
}

impl KnownNumber {
    /// Gives a number without failures a time to live.
    fn keep(&mut self, now: Millis) {
        if self.number.failures == 0 {
            self.number.last_failure = Millis::default();
            self.expires = Some(now.plus(NUMBER_KEPT));
        }
    }
}

/// Whether an attempt may be spent on `guess` after `last`.
fn may_follow(last: &Guess, guess: &CodeDigest, question: Option<&Question>, now: Millis) -> bool {
    let can_be_retried = match last.outcome {
        GuessOutcome::Invalid => false,
        GuessOutcome::Unclear => true,
        GuessOutcome::Pending => last.at <= now.minus(GUESS_PENDING),
    };
    let is_delivered_twice =
        question.is_some_and(|asked| last.question.as_ref() == Some(&asked.nonce));
    last.code != *guess || can_be_retried && !is_delivered_twice
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use otp_lambda::{
        ledger::{Hasher, Issuer, SpendingLine, Window},
        phone::PhoneNumber,
        policy::SendLimits,
        reference::ReferenceId,
    };

    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);
    const MILLISECOND: Duration = Duration::from_millis(1);

    fn hasher() -> Hasher {
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
        let key = hasher().verification(&ReferenceId::parse("signup").unwrap(), &number());
        let end = NOW.plus(Duration::from_mins(10));
        let opening = Opening {
            state: State::Reserved,
            first: NOW,
            expires: end,
            left: 3,
            issuers: &[Issuer::TestNumber],
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
            hasher().number(&number()),
            SendLimits::parse("1/30s").unwrap(),
        );
        let count = |ledger: &MemoryLedger| ledger.numbers().len();
        let never = Millis(u64::MAX);

        ledger
            .reserve_send(&key, limits.windows(), NOW)
            .await
            .unwrap();
        lives_until(&ledger, NOW.plus(NUMBER_KEPT), count);

        ledger
            .reserve_send(&key, limits.windows(), NOW)
            .await
            .unwrap();
        let NumberCharge::Charged(first) = ledger.charge_number(&key, None, NOW).await.unwrap()
        else {
            panic!("locked")
        };
        let later = NOW.plus(Duration::from_mins(1));
        ledger
            .reserve_send(&key, limits.windows(), later)
            .await
            .unwrap();
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
    async fn a_sweep_deletes_an_idempotency_key_a_day_after_its_reservation() {
        let ledger = MemoryLedger::new();
        let (key, body) = (
            hasher().idempotency("caller", "key"),
            Fingerprint::stored("body"),
        );
        ledger.reserve_key(&key, &body, NOW).await.unwrap();
        ledger.finish_key(&key, Some("{}")).await.unwrap();
        lives_until(&ledger, NOW.plus(KEY_KEPT), |ledger| {
            ledger.idempotency_keys().len()
        });
    }

    #[tokio::test]
    async fn a_sweep_deletes_counters_and_budgets_in_the_second_after_they_end() {
        let ledger = MemoryLedger::new();
        let key = hasher().prefix(&number(), Window::around(NOW, Duration::from_hours(1)));
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
            item: ItemName::of_budget(0),
            expires: NOW,
            lines: vec![line],
        };
        assert_eq!(ledger.spend(&spending).await.unwrap(), SpendOutcome::Spent);
        lives_until(&ledger, NOW, |ledger| ledger.budgets().len());
    }
}
