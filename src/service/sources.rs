//! The limits of a caller's address.

use super::limits::WINDOW_KEPT;
use super::refusals::rate_limited;
use super::{Call, Caller, Limits};
use crate::error::{Error, Limit};
use crate::ledger::{ItemName, Unavailable, Window};
use crate::policy::Rate;
use crate::time::Millis;
use futures_util::future::join_all;

/// How many windows of an address are counted at once: as many as the function has connections to the table.
const AT_ONCE: usize = 2;

impl Limits {
    /// The windows that count requests from the caller's address, each with its limit and its item.
    pub(super) fn sources(
        &self,
        operation: &str,
        caller: &Caller,
        now: Millis,
    ) -> Vec<(&Rate, Window, ItemName)> {
        let Some(address) = caller.address else {
            return Vec::new();
        };
        let own = self.policy.source_limits.iter().map(|rate| {
            let window = Window::around(now, rate.window);
            let item = self.hasher.source(operation, address, window);
            Some((rate, window, item))
        });
        let around = self.policy.network_limits.iter().map(|rate| {
            let window = Window::around(now, rate.window);
            let item = self.hasher.source_network(operation, address, window)?;
            Some((rate, window, item))
        });
        own.chain(around).flatten().collect()
    }

    /// Counts a request from the caller's address in every window, in one after the other. If a window is full, the
    /// windows after it do not count the request. So many requests from one address cost one write each, and no more.
    pub(super) async fn count_source(
        &self,
        operation: &str,
        caller: &Caller,
        now: Millis,
    ) -> Result<(), Error> {
        for (rate, window, item) in self.sources(operation, caller, now) {
            let expires = window.end().plus(WINDOW_KEPT);
            if !self.store.count(&item, rate.count, expires).await? {
                return Err(source_limited(window, now));
            }
        }
        Ok(())
    }

    /// Counts a send from the caller's address, in two windows at a time. `counters` has the counters of the windows as
    /// they were read. If one of them has no room, nothing is counted. Between the read and the count, other sends may
    /// have filled a window. Then the other windows get their counts back.
    pub(super) async fn count_source_of_send(
        &self,
        counters: &[u64],
        call: &mut Call<'_>,
    ) -> Result<(), Error> {
        let now = call.now;
        let sources = self.sources("send", &call.caller, now);
        let mut seen = sources.iter().zip(counters);
        if let Some(((_, window, _), _)) = seen.find(|((rate, ..), count)| **count >= rate.count) {
            return Err(source_limited(*window, now));
        }
        let mut counted = Vec::new();
        for two in sources.chunks(AT_ONCE) {
            let counts = two.iter().map(async |(rate, window, item)| {
                let expires = window.end().plus(WINDOW_KEPT);
                let is_counted = self.store.count(item, rate.count, expires).await?;
                Ok::<_, Unavailable>((is_counted, *window, item))
            });
            let mut full = None;
            for count in join_all(counts).await {
                let (is_counted, window, item) = count?;
                if is_counted {
                    counted.push(item);
                } else {
                    full = full.or(Some(window));
                }
            }
            if let Some(window) = full {
                let back = async {
                    let back = counted.iter().map(|item| self.store.uncount(item));
                    join_all(back).await.into_iter().collect()
                };
                call.best_effort("refund of the address", back).await;
                return Err(source_limited(window, now));
            }
        }
        Ok(())
    }
}

fn source_limited(window: Window, now: Millis) -> Error {
    let detail = "Too many requests come from this address.";
    rate_limited(Limit::Source, detail, window.end().since(now))
}
