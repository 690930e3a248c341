//! The counters that a sign-in moves: those of its number, or decoys.
//!
//! A sign-in takes the same steps whether it sends a message or not. If a step must not count, the step moves a decoy:
//! a counter that no limit reads. So only real messages use up limits. And neither the time nor the cost of a sign-in
//! shows who has an account.

use super::Limits;
use super::limits::{WINDOW_KEPT, budget_spent, prefix_limited};
use super::refusals;
use crate::error::Error;
use crate::ledger::{
    Charge, Door, ItemName, LOCKED, Number, NumberCharge, REMEMBERED_SENDS, Reservation,
    SpendOutcome, Spending, SpendingLine, Unavailable, Window,
};
use crate::phone::{Country, PhoneNumber};
use crate::policy::{Rate, Wait};
use crate::provider::Channel;
use crate::reference::ReferenceId;
use crate::telemetry::BudgetUse;
use crate::time::Millis;
use futures_util::future::{join, join_all, join3};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the decoys of budgets are kept: as long as real budgets.
const BUDGET_KEPT: Duration = Duration::from_hours(48);

/// The counters of one send.
pub(super) struct Counters {
    /// The sends and failures of the number over HTTP. A sign-in only reads them.
    http_number: ItemName,
    http_spendings: Vec<Spending>,
    number: ItemName,
    prefixes: Vec<ItemName>,
    spendings: Vec<Spending>,
}

impl Counters {
    /// The counters of the sign-in's number.
    pub(super) fn real(
        limits: &Limits,
        to: &PhoneNumber,
        (country, channel, segments): (Country, Channel, u64),
        decoys: &Self,
        now: Millis,
    ) -> Self {
        let hasher = &limits.hasher;
        let prefix =
            |rate: &Rate| hasher.prefix_at(Door::SignIn, to, Window::around(now, rate.window));
        // A country without a budget has fewer items. Decoys stand in for the missing items, so that the number of
        // requests is the same.
        let all = |mut spendings: Vec<Spending>| {
            let missing = decoys.spendings.iter().skip(spendings.len()).cloned();
            spendings.extend(missing.collect::<Vec<_>>());
            spendings
        };
        let of_http = limits.http_budgets();
        let own = &limits.sign_in.budgets;
        Self {
            http_number: hasher.number(to),
            http_spendings: all(of_http.spendings(country, channel, segments, now)),
            number: hasher.number_at(Door::SignIn, to),
            prefixes: limits.sign_in.prefix_limits.iter().map(prefix).collect(),
            spendings: all(own.spendings(country, channel, segments, now)),
        }
    }

    /// The decoys, as many as the real counters.
    pub(super) fn decoys(limits: &Limits, sign_in: &ReferenceId, now: Millis) -> Self {
        let decoy = |kind, counter: String| limits.hasher.decoy(kind, sign_in, &counter);
        let spending = |nth: usize| Spending {
            item: decoy("B", nth.to_string()),
            expires: now.plus(BUDGET_KEPT),
            lines: vec![SpendingLine {
                counter: "m".to_owned(),
                amount: 1,
                cap: u64::MAX,
                of_country: false,
                ends: now,
            }],
        };
        let spendings: Vec<_> = (0..limits.sign_in.budgets.most_items())
            .map(spending)
            .collect();
        let prefixes = 0..limits.sign_in.prefix_limits.len();
        Self {
            http_number: decoy("N", "http".to_owned()),
            http_spendings: spendings.clone(),
            number: decoy("N", String::new()),
            prefixes: prefixes.map(|nth| decoy("R", nth.to_string())).collect(),
            spendings,
        }
    }

    /// Reads the counters of HTTP. Refuses a send if the counts of HTTP and of sign-ins together would exceed a joint
    /// limit.
    ///
    /// Sends over HTTP that follow need no look at the counts of sign-ins: HTTP keeps to its own part of each limit, so
    /// these sends cannot exceed the joint limit. There is one exception: in earlier versions both doors had the same
    /// counters, and the counters of HTTP may still contain counts of sign-ins.
    pub(super) async fn read(
        &mut self,
        limits: &Limits,
        now: Millis,
    ) -> Result<Result<(), Error>, Unavailable> {
        let spent = self
            .http_spendings
            .iter()
            .map(|spending| limits.store.spent(spending));
        let (http, own, spent) = join3(
            limits.store.number(&self.http_number),
            limits.store.number(&self.number),
            join_all(spent),
        )
        .await;
        let (http, own) = (http?, own?);
        for ((of_http, own), spent) in self
            .http_spendings
            .iter()
            .zip(&mut self.spendings)
            .zip(spent)
        {
            leave_room_beside(own, of_http, &spent?);
        }
        let wait = locked_at(limits, &own)
            .or_else(|| limits.joint_send_limits().wait(&together(http, own), now));
        Ok(wait.map_or(Ok(()), |wait| Err(refusals::number_limited(wait, now))))
    }
}

/// The wait for the sign-ins' own lock, which comes before the joint one.
fn locked_at(limits: &Limits, own: &Number) -> Option<Wait> {
    (own.failures >= limits.sign_in.send_limits.lock()).then_some(Wait::LOCKED)
}

/// The sends and failures of a number at both doors.
pub(super) fn together(one: Number, other: Number) -> Number {
    let mut sends = [one.sends, other.sends].concat();
    sends.sort_unstable_by_key(|at| Reverse(*at));
    sends.truncate(REMEMBERED_SENDS);
    Number {
        sends,
        failures: one.failures.saturating_add(other.failures),
        last_failure: one.last_failure.max(other.last_failure),
    }
}

/// Lowers the caps of sign-ins, so that a joint cap holds in spite of what HTTP has spent.
fn leave_room_beside(own: &mut Spending, of_http: &Spending, spent: &[u64]) {
    if own.item == of_http.item {
        return;
    }
    for ((own, of_http), spent) in own.lines.iter_mut().zip(&of_http.lines).zip(spent) {
        let joint = own.cap.saturating_add(of_http.cap);
        own.cap = own.cap.min(joint.saturating_sub(*spent));
    }
}

/// The counts of a send: each item that was counted, with the decoy that stands in for it.
#[derive(Default)]
pub(super) struct Counted {
    prefixes: Vec<[ItemName; 2]>,
    spendings: Vec<[Spending; 2]>,
    pub(super) budget_use: BudgetUse,
}

/// A send that is being counted.
pub(super) struct Count<'a> {
    pub(super) limits: &'a Limits,
    /// The counters that count as long as nothing has refused the send. Test numbers have none.
    pub(super) real: Option<&'a Counters>,
    pub(super) decoys: &'a Counters,
    /// An error says why no message is sent. A decoy has no reason.
    pub(super) refused: Result<(), Option<Error>>,
    pub(super) now: Millis,
}

impl<'a> Count<'a> {
    /// The counters of the next step. After a refusal, they are the decoys.
    fn counters(&self) -> (&'a Counters, bool) {
        match self.real.filter(|_| self.refused.is_ok()) {
            Some(real) => (real, true),
            None => (self.decoys, false),
        }
    }

    /// Counts the send in every limit.
    pub(super) async fn all(&mut self, counted: &mut Counted) -> Result<(), Error> {
        self.prefixes(counted).await?;
        self.budgets(counted).await?;
        // A place in the number's windows is never given back, so the windows are the last limit that can refuse.
        let (counters, is_real) = self.counters();
        let limits = &self.limits.sign_in.send_limits;
        let windows = if is_real { limits.windows() } else { &[] };
        // The response shows `resendAt`, which follows from the time of the request. So the place has the same time.
        let at = self.now;
        let reserved = self
            .limits
            .store
            .reserve_send(&counters.number, windows, at);
        if let (Reservation::Refused(number), true) = (reserved.await?, is_real) {
            // The windows may have room again by now. In that case, another send has taken the last place only a moment
            // ago, and the wait is short.
            let wait = limits.wait(&number, at).unwrap_or(Wait {
                until: Some(at.plus(Duration::from_secs(1))),
                guesses: false,
                opens_reserve: false,
            });
            self.refused = Err(Some(refusals::number_limited(wait, at)));
        }
        Ok(())
    }

    async fn prefixes(&mut self, counted: &mut Counted) -> Result<(), Error> {
        let rates = self.limits.sign_in.prefix_limits.iter();
        for (nth, (rate, decoy)) in rates.zip(&self.decoys.prefixes).enumerate() {
            let (counters, is_real) = self.counters();
            let item = counters.prefixes.get(nth).unwrap_or(decoy);
            let cap = if is_real { rate.count } else { u64::MAX };
            let window = Window::around(self.now, rate.window);
            let expires = window.end().plus(WINDOW_KEPT);
            let is_counted = self.limits.store.count(item, cap, expires).await?;
            let item = if is_counted { item } else { decoy };
            counted.prefixes.push([item.clone(), decoy.clone()]);
            if !is_counted {
                self.refused = Err(Some(prefix_limited(window, self.now)));
            }
        }
        Ok(())
    }

    async fn budgets(&mut self, counted: &mut Counted) -> Result<(), Error> {
        let mut before = BTreeMap::new();
        for (nth, decoy) in self.decoys.spendings.iter().enumerate() {
            let (counters, is_real) = self.counters();
            let mut spending = counters.spendings.get(nth).unwrap_or(decoy).clone();
            spending.leave_room_for(&before);
            // If a message costs more than the whole budget, the ledger refuses the message without a request to the
            // table. A decoy is then spent instead of the budget, so that the number of requests is the same in every
            // sign-in.
            let too_dear = spending.lines.iter().find(|line| line.amount > line.cap);
            if let Some(line) = too_dear.filter(|_| is_real) {
                self.refused = Err(Some(budget_spent(line, self.now)));
                counted.budget_use.refused(line);
                spending = decoy.clone();
            }
            match self.limits.store.spend(&spending).await? {
                SpendOutcome::Spent(counters) => {
                    if self.counters().1 {
                        counted.budget_use.spent(&spending.lines, &counters);
                    }
                    let names = spending.lines.iter().map(|line| line.counter.clone());
                    before.extend(names.zip(counters));
                }
                SpendOutcome::OverCap(line) => {
                    counted.budget_use.refused(&line);
                    self.refused = Err(Some(budget_spent(&line, self.now)));
                    spending = decoy.clone();
                }
            }
            counted.spendings.push([spending, decoy.clone()]);
        }
        Ok(())
    }
}

impl Counted {
    /// Gives back what was counted. If a message was sent, gives back the decoys instead, in the same steps.
    pub(super) async fn give_back(
        &self,
        limits: &Limits,
        is_sent: bool,
    ) -> Result<(), Unavailable> {
        let which = usize::from(is_sent);
        let prefixes = self.prefixes.iter().filter_map(|pair| pair.get(which));
        let spendings = self.spendings.iter().filter_map(|pair| pair.get(which));
        let (prefixes, spendings) = join(
            join_all(prefixes.map(|item| limits.store.uncount(item))),
            join_all(spendings.map(|spending| limits.store.refund(spending))),
        )
        .await;
        prefixes.into_iter().chain(spendings).collect()
    }
}

impl Limits {
    /// Counts a guess in a sign-in as failed. If a code was sent, the failure counts for the number. If no code was
    /// sent, the failure moves a decoy. Returns `None` if the number is locked.
    pub(super) async fn charge_sign_in(
        &self,
        to: &PhoneNumber,
        sign_in: &ReferenceId,
        has_code: bool,
        now: Millis,
    ) -> Result<Option<Charge>, Unavailable> {
        let decoys = Counters::decoys(self, sign_in, now);
        let (http, item) = if has_code {
            (
                self.hasher.number(to),
                self.hasher.number_at(Door::SignIn, to),
            )
        } else {
            (decoys.http_number, decoys.number)
        };
        // Earlier versions counted all failures at HTTP, and the operator may have changed the share of sign-ins.
        let over_http = self.store.number(&http).await?.failures;
        let lock = self.sign_in.send_limits.lock();
        let lock = if has_code {
            lock.min(LOCKED.saturating_sub(over_http))
        } else {
            u32::MAX
        };
        Ok(match self.store.charge_number(&item, lock, now).await? {
            NumberCharge::Charged(charge) => Some(charge),
            NumberCharge::Locked => None,
        })
    }
}
