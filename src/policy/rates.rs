use super::share::SPLIT_FROM;
use crate::ledger::{GUESS_STOPS, LOCKED, Number, REMEMBERED_SENDS, SendWindow};
use crate::time::Millis;
use std::fmt;
use std::time::Duration;

/// A count and a period, such as `6/24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u64,
    pub window: Duration,
}

impl Rate {
    /// Reads a rate: a count of at least 1, a slash, and a window from `1s` to `30d`. The units are s, m, h and d.
    ///
    /// # Errors
    ///
    /// A sentence that quotes the invalid part.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("`{text}` is not a count and window such as `6/24h`");
        let (count, window) = text.split_once('/').ok_or_else(invalid)?;
        let count = whole(count)
            .filter(|count| *count > 0)
            .ok_or_else(invalid)?;
        Ok(Self {
            count,
            window: window_of(window).ok_or_else(invalid)?,
        })
    }

    /// Reads rates separated by commas, or `none`.
    ///
    /// # Errors
    ///
    /// As [`Rate::parse`].
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        if text == "none" {
            return Ok(Vec::new());
        }
        text.split(',').map(str::trim).map(Self::parse).collect()
    }
}

/// Reads digits only. Rust's `parse` would accept `+5`.
pub(super) fn whole(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

pub(super) fn window_of(text: &str) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_hours(30 * 24);
    let unit = match text.bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        b'd' => 86_400,
        _ => return None,
    };
    let seconds = whole(text.get(..text.len() - 1)?)?.checked_mul(unit)?;
    Some(Duration::from_secs(seconds)).filter(|window| !window.is_zero() && *window <= LONGEST)
}

/// Sliding windows for the sends to one number. In any period of a window's length, there are at most as many sends as
/// the window allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SendLimits {
    pub(super) windows: Vec<SendWindow>,
    /// The failures at which a number is locked.
    pub(super) lock: u32,
}

/// A wait before a code may be sent to a number, and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// When a code may be sent; `None` if the number is locked until an operator unlocks it.
    pub until: Option<Millis>,
    /// Whether failed guesses are the reason, and not sends.
    pub guesses: bool,
    /// Whether the reserve of devices can help: if failed guesses or a window of an hour or longer are a reason,
    /// alone or among others. A shorter window holds at each door in full, so the reserve has no part of it.
    pub opens_reserve: bool,
}

impl Wait {
    /// The number is locked.
    pub const LOCKED: Self = Self {
        until: None,
        guesses: true,
        opens_reserve: true,
    };
}

/// The limits as in the setting, such as `1/30s,6/24h`.
impl fmt::Display for SendLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = |window: &SendWindow| {
            let (sends, seconds) = (window.sends, window.length.as_secs());
            // A day is written as 24h, as in the default.
            match [(86_400, 'd'), (3600, 'h'), (60, 'm')]
                .into_iter()
                .find(|(unit, name)| {
                    seconds.is_multiple_of(*unit) && (*name != 'd' || seconds > *unit)
                }) {
                Some((unit, name)) => format!("{sends}/{}{name}", seconds / unit),
                None => format!("{sends}/{seconds}s"),
            }
        };
        let windows: Vec<_> = self.windows.iter().map(written).collect();
        f.write_str(&windows.join(","))
    }
}

impl SendLimits {
    /// Reads rates separated by commas.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong: there is no rate, a rate is invalid, or a count exceeds
    /// [`REMEMBERED_SENDS`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let rates = Rate::parse_list(text)?;
        if rates.is_empty() {
            return Err("there must be at least one".to_owned());
        }
        rates
            .into_iter()
            .map(|rate| match usize::try_from(rate.count) {
                Ok(sends) if sends <= REMEMBERED_SENDS => Ok(SendWindow {
                    sends,
                    length: rate.window,
                }),
                _ => Err(format!(
                    "{} is more than the {REMEMBERED_SENDS} sends that are remembered",
                    rate.count
                )),
            })
            .collect::<Result<_, _>>()
            .map(|windows| Self {
                windows,
                lock: LOCKED,
            })
    }

    /// These limits and one more window. Windows that the new one makes needless are left out.
    pub(super) fn and_at_most(&self, new: SendWindow) -> Self {
        let is_needed = |own: &&SendWindow| own.sends < new.sends || own.length > new.length;
        let needed = self.windows.iter().filter(is_needed).copied();
        Self {
            windows: needed.chain([new]).collect(),
            lock: self.lock,
        }
    }

    #[must_use]
    pub fn windows(&self) -> &[SendWindow] {
        &self.windows
    }

    /// The failures at which a number is locked.
    #[must_use]
    pub fn lock(&self) -> u32 {
        self.lock
    }

    /// The earliest time at which every window has room.
    #[must_use]
    pub fn next_send(&self, number: &Number) -> Millis {
        self.next_send_by(number, Duration::ZERO)
    }

    /// The earliest time at which every window of this length or longer has room.
    fn next_send_by(&self, number: &Number, shortest: Duration) -> Millis {
        let next = |window: &SendWindow| {
            let oldest = number.sends.get(window.sends.checked_sub(1)?)?;
            Some(oldest.plus(window.length))
        };
        self.windows
            .iter()
            .filter(|window| window.length >= shortest)
            .filter_map(next)
            .max()
            .unwrap_or_default()
    }

    /// The earliest time at which the failed guesses of a number do not delay its next code.
    #[must_use]
    pub fn after_guesses(number: &Number) -> Millis {
        GUESS_STOPS
            .iter()
            .rev()
            .find(|stop| number.failures >= stop.failures)
            .map_or(Millis(0), |stop| number.last_failure.plus(stop.wait))
    }

    /// The wait for the next code to a number; `None` if a code may be sent at `now`.
    #[must_use]
    pub fn wait(&self, number: &Number, now: Millis) -> Option<Wait> {
        if number.failures >= self.lock {
            return Some(Wait::LOCKED);
        }
        let after_guesses = Self::after_guesses(number);
        let next_send = self.next_send(number);
        let until = next_send.max(after_guesses);
        let by_long_windows = self.next_send_by(number, SPLIT_FROM);
        (until > now).then_some(Wait {
            until: Some(until),
            guesses: after_guesses > next_send,
            opens_reserve: after_guesses.max(by_long_windows) > now,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_and_a_window() {
        for (text, count, seconds) in [
            ("1/30s", 1, 30),
            ("3/10m", 3, 600),
            ("6/24h", 6, 86_400),
            ("20/30d", 20, 2_592_000),
        ] {
            let rate = Rate::parse(text).unwrap();
            assert_eq!(
                (rate.count, rate.window.as_secs()),
                (count, seconds),
                "{text}"
            );
        }
        for bad in [
            "", "6", "6/", "/24h", "0/1h", "6/0h", "6/24", "6/h", "-1/1h", "+1/1h", "1/+1h",
            "6/24H", "6/31d", "1.5/1h", "6 /1h",
        ] {
            assert!(Rate::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            SendLimits::parse("21/24h").unwrap_err(),
            "21 is more than the 20 sends that are remembered"
        );
        assert!(SendLimits::parse("none").is_err());
    }

    #[test]
    fn the_next_send_is_when_every_window_has_room() {
        let limits = SendLimits::parse("1/30s,3/10m").unwrap();
        let number = |sends: &[u64]| Number {
            sends: sends.iter().map(|seconds| Millis(seconds * 1000)).collect(),
            ..Number::default()
        };
        assert_eq!(limits.next_send(&number(&[])), Millis(0));
        assert_eq!(limits.next_send(&number(&[100])), Millis(130_000));
        assert_eq!(limits.next_send(&number(&[200, 100])), Millis(230_000));
        assert_eq!(limits.next_send(&number(&[200, 100, 50])), Millis(650_000));
        assert_eq!(limits.wait(&number(&[100]), Millis(130_000)), None);
        let wait = limits.wait(&number(&[100]), Millis(129_999)).unwrap();
        assert_eq!(
            wait,
            Wait {
                until: Some(Millis(130_000)),
                guesses: false,
                opens_reserve: false
            }
        );
    }

    #[test]
    fn failed_guesses_and_long_windows_open_the_reserve() {
        let limits = SendLimits::parse("1/59m,2/1h").unwrap();
        let opens = |sends: &[u64], failures, now: u64| {
            let number = Number {
                sends: sends.iter().map(|minute| Millis(minute * 60_000)).collect(),
                failures,
                last_failure: Millis(0),
            };
            let wait = limits.wait(&number, Millis(now * 60_000));
            wait.map(|wait| (wait.guesses, wait.opens_reserve))
        };
        // The short window alone.
        assert_eq!(opens(&[100], 0, 101), Some((false, false)));
        assert_eq!(opens(&[100], 9, 101), Some((false, false)));
        // Both windows, of which either may end later; then the long one alone.
        assert_eq!(opens(&[100, 50], 0, 101), Some((false, true)));
        assert_eq!(opens(&[100, 99], 0, 101), Some((false, true)));
        assert_eq!(opens(&[100, 100], 0, 159), Some((false, true)));
        // The long window has room again, and the short one has none.
        assert_eq!(opens(&[100, 50], 0, 110), Some((false, false)));
        // The wait after failed guesses is short, and ends before the short window.
        assert_eq!(opens(&[0], 10, 14), Some((false, true)));
        assert_eq!(opens(&[0], 10, 15), Some((false, false)));
        assert_eq!(opens(&[], 10, 14), Some((true, true)));
        assert_eq!(opens(&[], 100, 14), Some((true, true)));
    }

    #[test]
    fn failed_guesses_delay_sends() {
        let limits = SendLimits::parse("1/30s").unwrap();
        let number = |failures| Number {
            failures,
            last_failure: Millis(1000),
            ..Number::default()
        };
        let until = |failures| {
            limits
                .wait(&number(failures), Millis(1000))
                .and_then(|wait| wait.until)
        };
        assert_eq!(limits.wait(&number(9), Millis(1000)), None);
        assert_eq!(until(10), Some(Millis(1000 + 15 * 60_000)));
        assert_eq!(until(29), until(10));
        assert_eq!(until(30), Some(Millis(1000 + 24 * 3_600_000)));
        assert_eq!(
            limits.wait(&number(100), Millis(u64::MAX)),
            Some(Wait::LOCKED)
        );
    }
}
