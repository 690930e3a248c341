//! The operator's switches, and the read that a send begins with.

use super::Limits;
use super::sources::Source;
use crate::error::{Error, ErrorCode};
use crate::ledger::{Door, ItemName, Looked, Switches, Unavailable, Wanted};
use crate::phone::PhoneNumber;
use crate::time::Millis;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the operator's switches are used before they are read again.
const SWITCHES_KEPT: Duration = Duration::from_secs(10);

/// After so long without a send, the connections to the table are usually closed.
const SILENCE: Duration = Duration::from_secs(20);

/// The switches that were read last, and the times of the read and of the last send.
#[derive(Default)]
pub(super) struct KeptSwitches {
    read: Mutex<Option<(Millis, Switches)>>,
    last_send: Mutex<Option<Millis>>,
}

impl KeptSwitches {
    /// The switches to use at `now`. `None` if they must be read again.
    fn at(&self, now: Millis) -> Option<Switches> {
        let kept = self.kept();
        let (read, switches) = kept.as_ref()?;
        // If the clock has been set back since the read, the switches are read again. If they were not read again, the
        // old switches would stay in use until the clock has caught up.
        let is_in_use = now.since(*read) < SWITCHES_KEPT && *read <= now;
        is_in_use.then(|| switches.clone())
    }

    /// Takes note of a send, or of the start. Returns whether the one before it was so long ago that its connections to
    /// the table are closed.
    pub(super) fn ends_a_silence(&self, now: Millis) -> bool {
        let mut last = self
            .last_send
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = last.replace(now);
        before.is_some_and(|before| now.since(before) >= SILENCE)
    }

    fn keep(&self, switches: &Switches, now: Millis) {
        *self.kept() = Some((now, switches.clone()));
    }

    fn kept(&self) -> MutexGuard<'_, Option<(Millis, Switches)>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an entry of the operator's lists is about a number: the number's item, or the beginning of the number.
pub(super) fn is_about(entry: &str, item: &ItemName, number: &PhoneNumber) -> bool {
    entry == item.as_str() || entry.starts_with('+') && number.expose().starts_with(entry)
}

impl Limits {
    /// Refuses a send that the operator has paused or blocked.
    pub(super) async fn check_switches(&self, to: &PhoneNumber, now: Millis) -> Result<(), Error> {
        let switches = self.read_switches(now).await?;
        self.refuse_if_off(&switches, to)
    }

    fn refuse_if_off(&self, switches: &Switches, to: &PhoneNumber) -> Result<(), Error> {
        if switches.paused {
            return Err(Error::new(
                ErrorCode::SendingPaused,
                "The operator has paused all sends.",
            )
            .with_retry_after(Duration::from_mins(1)));
        }
        let item = self.hasher.number(to);
        let is_listed =
            |list: &BTreeSet<String>| list.iter().any(|entry| is_about(entry, &item, to));
        if is_listed(&switches.blocked) && !is_listed(&switches.allowed) {
            return Err(Error::new(
                ErrorCode::DestinationBlocked,
                "The operator has blocked this number.",
            )
            .with_field("destinationNumber"));
        }
        Ok(())
    }

    /// Reads at once all that can refuse a send before the send is counted. Refuses a send that the operator has paused
    /// or blocked. If the kept switches refuse it, nothing is read. Also returns the counters of `sources`.
    pub(super) async fn look_before_send(
        &self,
        to: &PhoneNumber,
        item: &ItemName,
        sources: &[Source<'_>],
        now: Millis,
    ) -> Result<(Looked, Vec<u64>), Error> {
        let kept = self.switches.at(now);
        if let Some(switches) = &kept {
            self.refuse_if_off(switches, to)?;
        }
        let mut counters = self.prefix_items(Door::Http, to, now);
        let prefixes = counters.len();
        counters.extend(sources.iter().map(|source| source.item.clone()));
        let wanted = Wanted {
            switches: kept.is_none(),
            verification: item,
            number: &self.hasher.number(to),
            counters: &counters,
        };
        let mut looked = self.store.look(&wanted).await?;
        if let Some(switches) = &looked.switches {
            self.switches.keep(switches, now);
            self.refuse_if_off(switches, to)?;
        }
        let of_sources = looked.counters.split_off(prefixes);
        Ok((looked, of_sources))
    }

    /// Reads the verification of a send, its number and the counters of its prefix at a door.
    pub(super) async fn look(
        &self,
        door: Door,
        to: &PhoneNumber,
        item: &ItemName,
        now: Millis,
    ) -> Result<Looked, Unavailable> {
        let wanted = Wanted {
            switches: false,
            verification: item,
            number: &self.hasher.number_at(door, to),
            counters: &self.prefix_items(door, to, now),
        };
        self.store.look(&wanted).await
    }

    /// The counters of a number's prefix at a door. A test number has none, because its sends count in no prefix.
    fn prefix_items(&self, door: Door, to: &PhoneNumber, now: Millis) -> Vec<ItemName> {
        if self.test_number(to, now).is_some() {
            return Vec::new();
        }
        let prefixes = self.prefixes(door, to, now);
        prefixes.map(|(.., item)| item).collect()
    }

    /// Opens the connections to the table by reading the switches. The switches are kept, and are used as long as those
    /// of any other read.
    pub(super) async fn connect(&self, now: Millis) {
        if self.read_switches(now).await.is_ok() {
            self.switches.ends_a_silence(now);
            self.store.connect().await;
        }
    }

    async fn read_switches(&self, now: Millis) -> Result<Switches, Error> {
        if let Some(kept) = self.switches.at(now) {
            return Ok(kept);
        }
        let switches = self.store.switches().await?;
        self.switches.keep(&switches, now);
        Ok(switches)
    }
}
