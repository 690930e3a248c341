use super::DynamoDb;
use super::update::{Update, Written};
use crate::ledger::{
    FAILURES_KEPT, GUESS_STOPS, ItemName, LOCKED, NUMBER_KEPT, REMEMBERED_SENDS, Reservation,
    SendWindow, Unavailable,
};
use crate::time::Millis;
use std::iter;
use std::sync::LazyLock;
use std::time::Duration;

/// Moves each send of the history one place back. Many words, and always the same.
static OLDER: LazyLock<String> = LazyLock::new(|| {
    let older = (1..REMEMBERED_SENDS)
        .rev()
        .map(|k| format!("#t{} = if_not_exists(#t{k}, :zero)", k + 1));
    older.collect::<Vec<_>>().join(", ")
});

impl DynamoDb {
    /// Takes a place in every window. This takes one write or two, because the item of a number with failures gets a
    /// later expiry. The first write is done only if the number has no failures, and the second only if the number has
    /// failures.
    pub(super) async fn reserve_in_windows(
        &self,
        item: &ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Result<Reservation, Unavailable> {
        let without_failures = self
            .reservation(
                item,
                windows,
                now,
                ", #ttl = :ttl",
                "(attribute_not_exists(#f) OR #f = :zero)",
            )
            .number(":ttl", now.plus(NUMBER_KEPT).seconds());
        match without_failures.run().await? {
            Written::Done(number) => return Ok(Reservation::Reserved(number.known_number()?)),
            Written::Refused(number) => {
                let number = number.unwrap_or_default();
                if number.failures()? == 0 {
                    return Ok(Reservation::Refused(number.known_number()?));
                }
            }
        }
        let stops = format!("({})", below_a_guess_stop());
        let mut with_failures = self
            .reservation(item, windows, now, ", #ttl = :later", &stops)
            .number(":later", now.plus(FAILURES_KEPT).seconds());
        for (failures, wait) in guess_stops() {
            with_failures = with_failures.number(format!(":f{failures}"), failures.into());
            if let Some(wait) = wait {
                with_failures = with_failures
                    .number(format!(":now_less_{}s", wait.as_secs()), now.minus(wait).0);
            }
        }
        match with_failures.run().await? {
            Written::Done(number) => Ok(Reservation::Reserved(number.known_number()?)),
            Written::Refused(number) => Ok(Reservation::Refused(
                number.unwrap_or_default().known_number()?,
            )),
        }
    }

    /// Records a send if every window has room. A window that allows `n` sends has room if the `n`th of the newest
    /// sends is no longer inside the window.
    ///
    /// The item remembers [`REMEMBERED_SENDS`] sends, even if no window counts that many. So the history is complete
    /// when the operator makes the windows larger.
    fn reservation<'a>(
        &'a self,
        item: &'a ItemName,
        windows: &[SendWindow],
        now: Millis,
        more: &str,
        failures: &str,
    ) -> Update<'a> {
        let rooms = windows.iter().map(|window| {
            format!(
                "(attribute_not_exists(#t{0}) OR #t{0} <= :now_less_{1}s)",
                window.sends,
                window.length.as_secs()
            )
        });
        let conditions: Vec<String> = rooms.chain([failures.to_owned()]).collect();
        let mut update = self
            .update(item, format!("SET {}, #t1 = :now{more}", *OLDER))
            .when(conditions.join(" AND "))
            .repeatable_unless_recent("t1", now)
            .returning_item()
            .number(":now", now.0);
        for window in windows {
            update = update.number(
                format!(":now_less_{}s", window.length.as_secs()),
                now.minus(window.length).0,
            );
        }
        update
    }
}

/// The ranges of failures in which a send is allowed. Each range has the count of failures at which the range ends, and
/// the time that must have passed since the last failure. Below 10 failures there is no wait, from 10 to 29 failures
/// there is the first wait, and so on up to the lock.
fn guess_stops() -> impl Iterator<Item = (u32, Option<Duration>)> {
    let below = GUESS_STOPS.iter().map(|stop| stop.failures).chain([LOCKED]);
    below.zip(iter::once(None).chain(GUESS_STOPS.iter().map(|stop| Some(stop.wait))))
}

/// `#f < :f10 OR (#f < :f30 AND #lf <= :now_less_900s) OR …`
fn below_a_guess_stop() -> String {
    let alternatives: Vec<String> = guess_stops()
        .map(|(failures, wait)| match wait {
            None => format!("#f < :f{failures}"),
            Some(wait) => format!(
                "(#f < :f{failures} AND #lf <= :now_less_{}s)",
                wait.as_secs()
            ),
        })
        .collect();
    alternatives.join(" OR ")
}
