//! The limits of sends and guesses, as the ledger counts them. Every refusal names its limit.

use super::Caller;
use super::refusals::rate_limited;
use crate::error::{Error, ErrorCode, Limit};
use crate::ledger::{
    CodeDigest, CodeReference, Hasher, ItemName, Ledger, Nonce, Question, Redeemer, SpendOutcome,
    Spending, SpendingLine, Switches, Unavailable, Window, Winner,
};
use crate::otp::Otp;
use crate::phone::{Country, PhoneNumber};
use crate::policy::{Budgets, Rate, SendLimits};
use crate::provider::Channel;
use crate::reference::ReferenceId;
use crate::time::Millis;
use futures_util::future::{join, join_all};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tracing::warn;

/// How long the operator's switches are used before they are read again.
const SWITCHES_KEPT: Duration = Duration::from_secs(10);

/// How long the counter of a fixed window is kept after the window. A request that began inside the window may count a
/// little later; if the counter were gone, it would start a new one.
const WINDOW_KEPT: Duration = Duration::from_mins(1);

/// The ledger, and the operator's limits on what it counts.
pub struct Limits {
    pub(super) store: Box<dyn Ledger>,
    pub(super) hasher: Hasher,
    policy: LedgerPolicy,
    switches: Mutex<Option<(Millis, Switches)>>,
}

/// The limits that the operator has set.
#[derive(Debug)]
pub struct LedgerPolicy {
    /// Sends to one number, in sliding windows.
    pub send_limits: SendLimits,
    /// Sends to the numbers that differ only in their last four digits, in fixed windows.
    pub prefix_limits: Vec<Rate>,
    /// Sends from one address, and guesses from one address, in fixed windows.
    pub source_limits: Vec<Rate>,
    /// Messages, and their price, in all and by country.
    pub budgets: Budgets,
    pub test_numbers: Vec<TestNumber>,
}

impl LedgerPolicy {
    /// Warns in the log about test numbers. It does so at every start, so that forgotten ones are noticed.
    pub fn warn_of_test_numbers(&self) {
        if !self.test_numbers.is_empty() {
            warn!(
                testNumbers = self.test_numbers.len(),
                "TEST_NUMBERS is set: these numbers can be verified with their fixed codes, without their phones."
            );
        }
    }
}

/// A number with a fixed code that gets no messages, for app-store review and CI.
#[derive(Debug)]
pub struct TestNumber {
    pub number: PhoneNumber,
    pub otp: Otp,
    /// From then on it is a number like any other.
    pub until: Millis,
}

/// What a send has counted so far; refunded if it turns out that nothing was sent.
#[derive(Debug, Default)]
pub(super) struct Charges {
    prefixes: Vec<ItemName>,
    spendings: Vec<Spending>,
}

impl Limits {
    #[must_use]
    pub fn new(store: Box<dyn Ledger>, hasher: Hasher, policy: LedgerPolicy) -> Self {
        Self {
            store,
            hasher,
            policy,
            switches: Mutex::new(None),
        }
    }

    pub(super) fn send_limits(&self) -> &SendLimits {
        &self.policy.send_limits
    }

    /// The test number that `number` is at `now`, if it is one.
    pub(super) fn test_number(&self, number: &PhoneNumber, now: Millis) -> Option<&TestNumber> {
        self.policy
            .test_numbers
            .iter()
            .find(|test| test.number == *number && test.until > now)
    }

    /// The reference ID under which a provider knows a code.
    pub(super) fn known_as(
        &self,
        code_reference: CodeReference,
        plain: &ReferenceId,
        to: &PhoneNumber,
    ) -> ReferenceId {
        match code_reference {
            CodeReference::Plain => plain.clone(),
            CodeReference::OfGeneration(generation) => {
                self.hasher.code_reference(plain, to, generation)
            }
        }
    }

    /// Whether a guess is the fixed code of a test number. Digests are compared, so the time reveals nothing.
    pub(super) fn is_test_code(
        &self,
        number: &PhoneNumber,
        reference: &ReferenceId,
        guess: &CodeDigest,
        now: Millis,
    ) -> bool {
        self.test_number(number, now)
            .is_some_and(|test| self.hasher.guess(reference, number, &test.otp) == *guess)
    }

    /// Refuses a send that the operator has paused or blocked.
    pub(super) async fn check_switches(
        &self,
        to: &PhoneNumber,
        item: &ItemName,
        now: Millis,
    ) -> Result<(), Error> {
        let switches = self.switches(now).await?;
        if switches.paused {
            return Err(Error::new(
                ErrorCode::SendingPaused,
                "The operator has paused all sends.",
            )
            .with_retry_after(Duration::from_mins(1)));
        }
        let is_listed = |list: &BTreeSet<String>| {
            list.iter().any(|entry| {
                entry == item.as_str()
                    || entry.starts_with('+') && to.expose().starts_with(entry.as_str())
            })
        };
        if is_listed(&switches.blocked) && !is_listed(&switches.allowed) {
            return Err(Error::new(
                ErrorCode::DestinationBlocked,
                "The operator has blocked this number.",
            )
            .with_field("destinationNumber"));
        }
        Ok(())
    }

    async fn switches(&self, now: Millis) -> Result<Switches, Error> {
        {
            let kept = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((read, switches)) = kept.as_ref()
                && now.since(*read) < SWITCHES_KEPT
                && *read <= now
            {
                return Ok(switches.clone());
            }
        }
        let switches = self.store.switches().await?;
        *self.switches.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((now, switches.clone()));
        Ok(switches)
    }

    /// Counts a request from the caller's address in every window.
    pub(super) async fn count_source(
        &self,
        operation: &str,
        caller: &Caller,
        now: Millis,
    ) -> Result<(), Error> {
        let Some(address) = caller.address else {
            return Ok(());
        };
        for rate in &self.policy.source_limits {
            let window = Window::around(now, rate.window);
            let item = self.hasher.source(operation, address, window);
            let expires = window.end().plus(WINDOW_KEPT);
            if !self.store.count(&item, rate.count, expires).await? {
                let wait = window.end().since(now);
                let detail = "Too many requests come from this address.";
                return Err(rate_limited(Limit::Source, detail, wait));
            }
        }
        Ok(())
    }

    /// Counts a send to the numbers around `to`.
    pub(super) async fn count_prefix(
        &self,
        to: &PhoneNumber,
        charges: &mut Charges,
        now: Millis,
    ) -> Result<(), Error> {
        for rate in &self.policy.prefix_limits {
            let window = Window::around(now, rate.window);
            let item = self.hasher.prefix(to, window);
            let expires = window.end().plus(WINDOW_KEPT);
            if !self.store.count(&item, rate.count, expires).await? {
                let wait = window.end().since(now);
                let detail = "Too many codes are sent to similar numbers.";
                return Err(rate_limited(Limit::Prefix, detail, wait));
            }
            charges.prefixes.push(item);
        }
        Ok(())
    }

    /// Spends a message to `country` from the budgets.
    pub(super) async fn spend(
        &self,
        country: Country,
        channel: Channel,
        segments: u64,
        charges: &mut Charges,
        now: Millis,
    ) -> Result<(), Error> {
        let budgets = &self.policy.budgets;
        let mut counted = BTreeMap::new();
        for mut spending in budgets.spendings(country, channel, segments, now) {
            spending.leave_room_for(&counted);
            let counters = match self.store.spend(&spending).await? {
                SpendOutcome::Spent(counters) => counters,
                SpendOutcome::OverCap(line) => return Err(budget_spent(&line, now)),
            };
            let names = spending.lines.iter().map(|line| line.counter.clone());
            counted.extend(names.zip(counters));
            charges.spendings.push(spending);
        }
        Ok(())
    }

    /// Whether a send to `to` would be allowed by the limits that hold for everyone. Decoys ask this: a pause or a spent
    /// budget must stop them, too, or it would reveal which users exist. Nothing is counted, so that sign-ins of unknown
    /// users take no place from anybody.
    pub(super) async fn allows_sends(
        &self,
        to: &PhoneNumber,
        country: Option<Country>,
        channel: Channel,
        segments: u64,
        now: Millis,
    ) -> Result<bool, Error> {
        if self.switches(now).await?.paused {
            return Ok(false);
        }
        let Some(country) = country else {
            return Ok(true);
        };
        let prefixes = self.policy.prefix_limits.iter().map(|rate| {
            let item = self.hasher.prefix(to, Window::around(now, rate.window));
            async move { Ok(self.store.counted(&item).await? < rate.count) }
        });
        let budgets = &self.policy.budgets;
        let spendings = budgets.spendings(country, channel, segments, now);
        let spent = spendings.iter().map(|spending| self.store.spent(spending));
        let (prefixes, spent) = join(join_all(prefixes), join_all(spent)).await;
        let prefixes: Vec<bool> = prefixes.into_iter().collect::<Result<_, Unavailable>>()?;
        let mut allowed = prefixes.into_iter().all(|has_room| has_room);
        let mut counted = BTreeMap::new();
        for (mut spending, spent) in spendings.into_iter().zip(spent) {
            let spent = spent?;
            spending.leave_room_for(&counted);
            allowed &= spending.over(&spent).is_none();
            let lines = spending.lines.into_iter().zip(spent);
            counted.extend(lines.map(|(line, spent)| {
                let total = line.amount.saturating_add(spent);
                (line.counter, total)
            }));
        }
        Ok(allowed)
    }

    /// Refunds the charges of a send that certainly did not happen.
    pub(super) async fn refund(&self, charges: &Charges) -> Result<(), Unavailable> {
        let prefixes = charges.prefixes.iter().map(|item| self.store.uncount(item));
        let budgets = charges
            .spendings
            .iter()
            .map(|spending| self.store.refund(spending));
        let (prefixes, budgets) = join(join_all(prefixes), join_all(budgets)).await;
        prefixes.into_iter().chain(budgets).collect()
    }

    /// Identifies the caller if it repeats a verify: derived from the idempotency key, or random if there is none.
    pub(super) fn winner(&self, caller: &Caller, to: &PhoneNumber) -> Result<Winner, Error> {
        match &caller.idempotency_key {
            Some(key) => Ok(self.hasher.winner(&caller.namespace(to), key)),
            None => Winner::random(),
        }
    }

    /// Identifies the caller if it repeats a redeem, as [`winner`](Self::winner) does.
    pub(super) fn redeemer(&self, caller: &Caller, to: &PhoneNumber) -> Result<Redeemer, Error> {
        match &caller.idempotency_key {
            Some(key) => Ok(self.hasher.redeemer(&caller.namespace(to), key)),
            None => Redeemer::random(),
        }
    }

    /// The sign-in question that the caller responds to, if it is a sign-in session.
    pub(super) fn question(
        &self,
        caller: &Caller,
        to: &PhoneNumber,
    ) -> Result<Option<Question>, Error> {
        let Some(session) = caller.session.clone() else {
            return Ok(None);
        };
        let nonce = match &caller.idempotency_key {
            Some(key) => self.hasher.nonce(&caller.namespace(to), key),
            None => Nonce::random()?,
        };
        Ok(Some(Question { session, nonce }))
    }
}

fn budget_spent(line: &SpendingLine, now: Millis) -> Error {
    let wait = line.ends.since(now);
    if line.of_country {
        let detail = "The budget for messages to this country is spent.";
        rate_limited(Limit::Country, detail, wait)
    } else {
        rate_limited(Limit::Budget, "The budget for messages is spent.", wait)
    }
}
