//! The limits of sends and guesses, as the ledger counts them. Every refusal names its limit.

use super::Caller;
use super::refusals::rate_limited;
use super::switches::KeptSwitches;
use crate::error::{Error, Limit};
use crate::ledger::{
    CodeDigest, CodeReference, Door, Hasher, ItemName, Ledger, Nonce, Question, Redeemer,
    SpendOutcome, Spending, SpendingLine, Unavailable, Window, Winner,
};
use crate::otp::Otp;
use crate::phone::{Country, PhoneNumber};
use crate::policy::{Budgets, GuessChance, Rate, SendLimits, Shares, SignInShare};
use crate::provider::Channel;
use crate::reference::ReferenceId;
use crate::telemetry::BudgetUse;
use crate::time::Millis;
use futures_util::future::{join, join_all};
use std::collections::BTreeMap;
use std::time::Duration;
use tracing::warn;

/// How long the counter of a fixed window is kept after the window's end. A request that began inside the window may
/// count a little later. If the counter were gone by then, the request would begin a new counter.
pub(super) const WINDOW_KEPT: Duration = Duration::from_mins(1);

/// A counter has ample room if so many more sends have room in it. If the counters of two limits have ample room, a send
/// counts in both at once. It is as many requests as the API passes at once by default. So the other requests of the same
/// moment cannot fill a counter between its read and its count.
const AMPLE: u64 = 20;

/// Whether a counter has ample room under its limit.
pub(super) fn is_ample(rate: &Rate, counter: u64) -> bool {
    counter.saturating_add(AMPLE) <= rate.count
}

/// The ledger, and the operator's limits on what it counts.
pub struct Limits {
    pub(super) store: Box<dyn Ledger>,
    pub(super) hasher: Hasher,
    pub(super) policy: LedgerPolicy,
    /// The parts of the limits for each door. A send over HTTP does not see what the other doors have counted.
    http: DoorLimits,
    pub(super) sign_in: DoorLimits,
    device: DoorLimits,
    pub(super) switches: KeptSwitches,
}

/// One door's part of the limits.
pub(super) struct DoorLimits {
    pub(super) send_limits: SendLimits,
    pub(super) prefix_limits: Vec<Rate>,
    pub(super) budgets: Budgets,
}

impl DoorLimits {
    fn of(door: Door, policy: &LedgerPolicy) -> Self {
        let share = Shares {
            sign_in: policy.sign_in_share,
            has_devices: policy.devices_kept.is_some(),
        };
        Self {
            send_limits: share.of_sends(door, &policy.send_limits),
            prefix_limits: share.of_rates(door, &policy.prefix_limits),
            budgets: share.of_budgets(door, &policy.budgets),
        }
    }
}

/// The limits that the operator has set. Each holds for all doors together, and is split between them.
#[derive(Debug)]
pub struct LedgerPolicy {
    /// The part of each limit that belongs to sign-ins.
    pub sign_in_share: SignInShare,
    /// How long a device that has verified a number is remembered. `None` if no device is.
    pub devices_kept: Option<Duration>,
    /// Sends to one number, in sliding windows.
    pub send_limits: SendLimits,
    /// Sends to the numbers that differ only in their last four digits, in fixed windows.
    pub prefix_limits: Vec<Rate>,
    /// Sends from one address, and guesses from one address, in fixed windows.
    pub source_limits: Vec<Rate>,
    /// As `source_limits`, for all networks of an IPv6 /48 together.
    pub network_limits: Vec<Rate>,
    /// Caps on messages and on their price, in total and by country.
    pub budgets: Budgets,
    pub test_numbers: Vec<TestNumber>,
    /// The chance of a right guess at one number, at most.
    pub guess_chance: GuessChance,
}

impl LedgerPolicy {
    /// Warns in the log about test numbers. It does so at every start, so that the operator notices forgotten ones.
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
    /// From this time on, it is a number like any other.
    pub until: Millis,
}

/// The counts of a send so far. They are refunded if nothing was sent.
#[derive(Debug, Default)]
pub(super) struct Charges {
    pub(super) prefixes: Vec<ItemName>,
    pub(super) spendings: Vec<Spending>,
    pub(super) budget_use: BudgetUse,
}

impl Limits {
    #[must_use]
    pub fn new(store: Box<dyn Ledger>, hasher: Hasher, policy: LedgerPolicy) -> Self {
        Self {
            store,
            hasher,
            http: DoorLimits::of(Door::Http, &policy),
            sign_in: DoorLimits::of(Door::SignIn, &policy),
            device: DoorLimits::of(Door::Device, &policy),
            policy,
            switches: KeptSwitches::default(),
        }
    }

    /// One door's part of the limits.
    pub(super) fn of(&self, door: Door) -> &DoorLimits {
        match door {
            Door::Http => &self.http,
            Door::SignIn => &self.sign_in,
            Door::Device => &self.device,
        }
    }

    /// The limits on one number over HTTP; [`joint_send_limits`](Self::joint_send_limits) are those of all doors.
    pub(super) fn send_limits(&self) -> &SendLimits {
        &self.http.send_limits
    }

    /// The limits on one number at all doors together.
    pub(super) fn joint_send_limits(&self) -> &SendLimits {
        &self.policy.send_limits
    }

    /// The failures at which a number is locked at a door.
    pub(super) fn lock_at(&self, door: Door) -> u32 {
        self.of(door).send_limits.lock()
    }

    /// The segments of a message, and its price in millionths of a dollar if the price is known.
    pub(super) fn charge(
        &self,
        (country, channel): (Country, Channel),
        segments: Option<u64>,
    ) -> (Option<u64>, Option<u64>) {
        let price = self.policy.budgets.prices.of(country, channel);
        let price = price.zip(segments);
        (
            segments,
            price.map(|(price, segments)| price.saturating_mul(segments)),
        )
    }

    /// The budgets of all doors together.
    pub(super) fn joint_budgets(&self) -> &Budgets {
        &self.policy.budgets
    }

    pub(super) fn http_budgets(&self) -> &Budgets {
        &self.http.budgets
    }

    pub(super) fn has_sign_ins(&self) -> bool {
        !self.policy.sign_in_share.is_none()
    }

    /// How long a device that has verified a number is remembered. `None` if no device is.
    pub(super) fn devices_kept(&self) -> Option<Duration> {
        self.policy.devices_kept
    }

    /// The entry of a test number. `None` if `number` is none, or no longer one at `now`.
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

    /// Whether a guess is the fixed code of a test number. The digests are compared, not the codes themselves. So the
    /// duration of the comparison reveals nothing about the code.
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

    /// Counts a message in the limits of its prefix and in the budgets. `charges` gets what was counted. If a later limit
    /// refuses the message, these counts are refunded with the outcome of the send.
    ///
    /// Two requests `at_once` need two connections. After a silence, the second one would have to be opened, and costs
    /// more than it saves.
    ///
    /// The prefix must have ample room. Near its cap, a message that the prefix refuses would take budget from other
    /// messages until its refund. It would also write to the budgets twice, and all sends share the item of the
    /// budgets. And of two messages, each could take what the other one needs.
    pub(super) async fn count_message(
        &self,
        door: Door,
        to: &PhoneNumber,
        message: (Country, Channel, u64),
        at_once: bool,
        Charges {
            prefixes,
            spendings,
            budget_use,
        }: &mut Charges,
        now: Millis,
    ) -> Result<(), Error> {
        if !at_once {
            self.count_prefix(door, to, prefixes, now).await?;
            let charges = (spendings, budget_use);
            return self.spend(door, message, charges, now).await;
        }
        let mut used = *budget_use;
        let (prefix, budgets) = join(
            self.count_prefix(door, to, prefixes, now),
            self.spend(door, message, (spendings, &mut used), now),
        )
        .await;
        // If the prefix refuses a message, the budgets get their amounts back. Alarms must not count these amounts.
        prefix?;
        *budget_use = used;
        budgets
    }

    /// The limits of a number's prefix at a door, each with its present window and the item of this window.
    pub(super) fn prefixes(
        &self,
        door: Door,
        to: &PhoneNumber,
        now: Millis,
    ) -> impl Iterator<Item = (&Rate, Window, ItemName)> {
        self.of(door).prefix_limits.iter().map(move |rate| {
            let window = Window::around(now, rate.window);
            (rate, window, self.hasher.prefix_at(door, to, window))
        })
    }

    /// Refuses a send whose prefix has no room, by the counters that were read.
    pub(super) fn check_prefix(
        &self,
        door: Door,
        counters: &[u64],
        now: Millis,
    ) -> Result<(), Error> {
        let mut limits = self.of(door).prefix_limits.iter().zip(counters);
        match limits.find(|(rate, counter)| **counter >= rate.count) {
            Some((rate, _)) => Err(prefix_limited(Window::around(now, rate.window), now)),
            None => Ok(()),
        }
    }

    /// Whether each counter of a number's prefix has ample room. A prefix without limits has it.
    pub(super) fn is_ample_prefix(&self, door: Door, counters: &[u64]) -> bool {
        let mut limits = self.of(door).prefix_limits.iter().zip(counters);
        limits.all(|(rate, counter)| is_ample(rate, *counter))
    }

    /// Counts a send to the numbers that differ from `to` in the last four digits only.
    async fn count_prefix(
        &self,
        door: Door,
        to: &PhoneNumber,
        counted: &mut Vec<ItemName>,
        now: Millis,
    ) -> Result<(), Error> {
        for (rate, window, item) in self.prefixes(door, to, now) {
            let expires = window.end().plus(WINDOW_KEPT);
            if !self.store.count(&item, rate.count, expires).await? {
                return Err(prefix_limited(window, now));
            }
            counted.push(item);
        }
        Ok(())
    }

    /// Spends a message to `country` from the budgets.
    async fn spend(
        &self,
        door: Door,
        (country, channel, segments): (Country, Channel, u64),
        (spendings, budget_use): (&mut Vec<Spending>, &mut BudgetUse),
        now: Millis,
    ) -> Result<(), Error> {
        let budgets = &self.of(door).budgets;
        let mut counted = BTreeMap::new();
        for mut spending in budgets.spendings(country, channel, segments, now) {
            spending.leave_room_for(&counted);
            let counters = match self.store.spend(&spending).await? {
                SpendOutcome::Spent(counters) => counters,
                SpendOutcome::OverCap(line) => {
                    budget_use.refused(&line);
                    return Err(budget_spent(&line, now));
                }
            };
            budget_use.spent(&spending.lines, &counters);
            let names = spending.lines.iter().map(|line| line.counter.clone());
            counted.extend(names.zip(counters));
            spendings.push(spending);
        }
        Ok(())
    }

    /// Reads the budgets of a message, in the order in which [`spend`](Self::spend) would spend from them, each with the
    /// present counters of its lines. Writes nothing. [`Spending::over`] then judges as the real step would.
    pub(super) async fn read_budgets(
        &self,
        door: Door,
        (country, channel, segments): (Country, Channel, u64),
        now: Millis,
    ) -> Result<Vec<(Spending, Vec<u64>)>, Unavailable> {
        let budgets = &self.of(door).budgets;
        let mut counted = BTreeMap::new();
        let mut read = Vec::new();
        for mut spending in budgets.spendings(country, channel, segments, now) {
            spending.leave_room_for(&counted);
            let spent = self.store.spent(&spending).await?;
            // A real step returns the counters with the message in them, and zero for a line that adds nothing.
            let with_message = spending.lines.iter().zip(&spent).map(|(line, spent)| {
                let after = if line.amount == 0 {
                    0
                } else {
                    spent.saturating_add(line.amount)
                };
                (line.counter.clone(), after)
            });
            counted.extend(with_message);
            read.push((spending, spent));
        }
        Ok(read)
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

    /// A digest by which a caller is recognized when it repeats its verify. The digest is made from the idempotency
    /// key. If the caller gives no key, the digest is random.
    pub(super) fn winner(&self, caller: &Caller, to: &PhoneNumber) -> Result<Winner, Error> {
        match &caller.idempotency_key {
            Some(key) => Ok(self.hasher.winner(&caller.namespace(to), key)),
            None => Winner::random(),
        }
    }

    /// A digest by which a caller is recognized when it repeats a redeem, made as [`winner`](Self::winner) is.
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

pub(super) fn prefix_limited(window: Window, now: Millis) -> Error {
    let detail = "Too many codes are sent to similar numbers.";
    rate_limited(Limit::Prefix, detail, window.end().since(now)).opening_reserve()
}

pub(super) fn budget_spent(line: &SpendingLine, now: Millis) -> Error {
    let wait = line.ends.since(now);
    let (limit, detail) = if line.of_country {
        let detail = "The budget for messages to this country is spent.";
        (Limit::Country, detail)
    } else {
        (Limit::Budget, "The budget for messages is spent.")
    };
    rate_limited(limit, detail, wait).opening_reserve()
}
