//! The limits of a caller's address.

use super::limits::{WINDOW_KEPT, is_ample};
use super::refusals::rate_limited;
use super::{Call, Caller, Limits};
use crate::error::{Error, Limit};
use crate::ledger::{ItemName, Window};
use crate::policy::Rate;
use crate::time::Millis;
use futures_util::future::join_all;

/// How many windows of an address are counted at once: as many as the function has connections to the table.
const AT_ONCE: usize = 2;

/// A window of the caller's address, with its limit and its item.
pub(super) struct Source<'a> {
    pub(super) rate: &'a Rate,
    pub(super) window: Window,
    pub(super) item: ItemName,
    /// Whether the window has counted the request.
    is_counted: bool,
}

impl Limits {
    /// The windows that count requests from the caller's address.
    pub(super) fn sources(&self, operation: &str, caller: &Caller, now: Millis) -> Vec<Source<'_>> {
        let Some(address) = caller.address else {
            return Vec::new();
        };
        let source = |rate, window, item| Source {
            rate,
            window,
            item,
            is_counted: false,
        };
        let own = self.policy.source_limits.iter().map(|rate| {
            let window = Window::around(now, rate.window);
            let item = self.hasher.source(operation, address, window);
            Some(source(rate, window, item))
        });
        let around = self.policy.network_limits.iter().map(|rate| {
            let window = Window::around(now, rate.window);
            let item = self.hasher.source_network(operation, address, window)?;
            Some(source(rate, window, item))
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
        for mut source in self.sources(operation, caller, now) {
            self.count_in(&mut source, now).await?;
        }
        Ok(())
    }

    /// Refuses a request if a window of its address has no room, by the counters that were read.
    pub(super) fn check_sources(
        sources: &[Source<'_>],
        counters: &[u64],
        now: Millis,
    ) -> Result<(), Error> {
        let mut seen = sources.iter().zip(counters);
        match seen.find(|(source, count)| **count >= source.rate.count) {
            Some((full, _)) => Err(source_limited(full.window, now)),
            None => Ok(()),
        }
    }

    /// Counts a send in the windows of the caller's address. `counters` has their counters as they were read. If one of
    /// them has no room, nothing is counted. Between the read and the count, other sends may have filled a window. Then,
    /// and after every other failure, the windows that have counted the send must [get it back](Self::give_back).
    ///
    /// Two windows are counted at once, unless both are near their limits. Of two sends, each could otherwise take the
    /// last place that the other one needs.
    pub(super) async fn count_source_of_send(
        &self,
        sources: &mut [Source<'_>],
        counters: &[u64],
        now: Millis,
    ) -> Result<(), Error> {
        Self::check_sources(sources, counters, now)?;
        for (pair, counters) in sources.chunks_mut(AT_ONCE).zip(counters.chunks(AT_ONCE)) {
            let seen = pair.iter().zip(counters);
            let tight = seen.filter(|(source, count)| !is_ample(source.rate, **count));
            let at_once = if tight.count() > 1 { 1 } else { AT_ONCE };
            for sources in pair.chunks_mut(at_once) {
                let counts = sources.iter_mut().map(|source| self.count_in(source, now));
                let counted = join_all(counts).await;
                counted.into_iter().collect::<Result<(), _>>()?;
            }
        }
        Ok(())
    }

    /// Counts a request in one window.
    async fn count_in(&self, source: &mut Source<'_>, now: Millis) -> Result<(), Error> {
        let Source {
            rate, window, item, ..
        } = source;
        let expires = window.end().plus(WINDOW_KEPT);
        if !self.store.count(item, rate.count, expires).await? {
            return Err(source_limited(*window, now));
        }
        source.is_counted = true;
        Ok(())
    }

    /// Gives the counts of a refused send back to the windows that have counted it. This has the time to record, because
    /// the time to prepare may be over. If it is unknown whether a window has counted the send, the count stays.
    pub(super) async fn give_back(&self, sources: &[Source<'_>], call: &mut Call<'_>) {
        let counted: Vec<_> = sources.iter().filter(|source| source.is_counted).collect();
        if counted.is_empty() {
            return;
        }
        let back = async {
            let back = counted
                .iter()
                .map(|source| self.store.uncount(&source.item));
            join_all(back).await.into_iter().collect()
        };
        call.best_effort("refund of the address", back).await;
    }
}

fn source_limited(window: Window, now: Millis) -> Error {
    let detail = "Too many requests come from this address.";
    rate_limited(Limit::Source, detail, window.end().since(now))
}
