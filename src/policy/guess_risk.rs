use super::{SendLimits, Shares};
use crate::ledger::{Door, REMEMBERED_SENDS, SendWindow};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// The highest chance of a right guess that an operator accepts, such as `1e-5/1d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuessRisk {
    /// The chance is `significand` divided by ten to the power of `places`. A binary fraction could not be compared
    /// exactly.
    significand: u64,
    places: u32,
    pub period: Period,
}

/// A period as the operator has written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    text: String,
    length: Duration,
}

impl Default for Period {
    fn default() -> Self {
        Self {
            text: "1d".to_owned(),
            length: Duration::from_hours(24),
        }
    }
}

/// The most digits after the point of an accepted chance. It is far below the chance of a single guess.
const MOST_PLACES: u32 = 18;

impl GuessRisk {
    /// Reads a chance, a slash and a period: `1e-5/1d` or `0.00001/24h`.
    ///
    /// # Errors
    ///
    /// The rest of a sentence that begins with the name of the setting.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || "must be a chance below 1 and a period, such as `1e-5/1d`.".to_owned();
        let (chance, period) = text.split_once('/').ok_or_else(invalid)?;
        let (digits, exponent) = chance.split_once("e-").unwrap_or((chance, "0"));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_number = [whole, fraction, exponent].into_iter().all(are_digits)
            && !whole.is_empty()
            && !exponent.is_empty()
            && (digits.contains('.') != fraction.is_empty());
        let places = exponent.parse::<u32>().ok().and_then(|exponent| {
            let fraction = u32::try_from(fraction.len()).ok()?;
            exponent.checked_add(fraction)
        });
        let places = places.filter(|places| is_number && *places <= MOST_PLACES);
        let places = places.ok_or_else(invalid)?;
        let significand = format!("{whole}{fraction}").parse::<u64>();
        let significand = significand.map_err(|_| invalid())?;
        let length = super::rates::window_of(period).ok_or_else(invalid)?;
        if significand == 0 || significand >= 10_u64.pow(places) {
            return Err(invalid());
        }
        Ok(Self {
            significand,
            places,
            period: Period {
                text: period.to_owned(),
                length,
            },
        })
    }

    /// Whether a policy keeps within this chance.
    #[must_use]
    pub fn is_met_by(&self, policy: &CodePolicy) -> bool {
        let GuessChance {
            guesses, digits, ..
        } = policy.chance(&self.period);
        let times = |number: u64, places: u32| u128::from(number) * 10_u128.pow(places);
        times(guesses, self.places) <= times(self.significand, digits.into())
    }
}

/// The parts of a policy that decide how often somebody can guess at the codes of one number.
#[derive(Debug, Clone)]
pub struct CodePolicy {
    /// The limits on messages to one number, of all doors together.
    pub send_limits: SendLimits,
    pub shares: Shares,
    /// The characters of the shortest code that a request may ask for.
    pub length: u8,
    /// The most guesses at one code that a request may ask for.
    pub attempts: u8,
    /// The longest validity that a request may ask for.
    pub validity: Duration,
}

/// The chance that somebody who attacks one number guesses a right code within a period, at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuessChance {
    /// Pairs of a guess and a code, each with a chance of one in ten to the power of `digits`.
    pub guesses: u64,
    pub digits: u8,
    pub period: Period,
}

impl CodePolicy {
    /// The chance of a right guess at one number within `period`, at most.
    ///
    /// The derivation. Let *T* be the period, and *V* the longest validity.
    ///
    /// 1. A guess is right only while a code is valid, so at most *V* after a message with this code. All guesses in the
    ///    period that can be right are therefore at verifications with a message in the time from *V* before the period
    ///    to its end. There are at most as many of these verifications as messages in a time shorter than *T* + *V*.
    /// 2. Each message takes a place in the windows of its door. With *n* messages in each stretch of *L*, message *k* +
    ///    *n* comes at least *L* after message *k*. `most_sends` counts the messages if each comes as early as possible.
    ///    No other order has more.
    /// 3. A verification has `attempts` guesses, however many messages it has.
    /// 4. A guess equals one code with a chance of one in ten to the power of `length`, if it differs from earlier guesses
    ///    at the code. This takes all codes for equally likely. AWS does not say which letters a code with letters can
    ///    have. So each character counts as one of ten.
    /// 5. Two messages of a verification can have different codes that are both valid. So the chances are added over all
    ///    pairs of a guess and a code: at most `attempts` for each message.
    ///
    /// The failed guesses that [lock](crate::ledger::LOCKED) a number do not lower the figure. Each success of the owner
    /// clears them, and nobody can say how often the owner succeeds. Guesses at decoys are never right and count nowhere.
    /// Codes of other software are not in the figure, because nothing here limits how many of them are sent.
    #[must_use]
    pub fn chance(&self, period: &Period) -> GuessChance {
        let span = period.length.saturating_add(self.validity);
        let sends = |door| {
            let limits = self.shares.of_sends(door, &self.send_limits);
            most_sends(limits.windows(), span)
        };
        let codes = self.doors().map(sends).fold(0, u64::saturating_add);
        GuessChance {
            guesses: codes.saturating_mul(self.attempts.into()),
            digits: self.length,
            period: period.clone(),
        }
    }

    /// The doors that messages come through.
    pub fn doors(&self) -> impl Iterator<Item = Door> {
        let sign_in = (!self.shares.sign_in.is_none()).then_some(Door::SignIn);
        let device = self.shares.has_devices.then_some(Door::Device);
        [Some(Door::Http), sign_in, device].into_iter().flatten()
    }

    /// The shortest longer code with which this policy meets `risk`, with at most `longest` characters.
    #[must_use]
    pub fn with_longer_codes(&self, risk: &GuessRisk, longest: u8) -> Option<Self> {
        let with = |length| Self {
            length,
            ..self.clone()
        };
        let mut longer = (self.length + 1..=longest).map(with);
        longer.find(|policy| risk.is_met_by(policy))
    }

    /// The most guesses at one code, of fewer than now, with which this policy meets `risk`.
    #[must_use]
    pub fn with_fewer_attempts(&self, risk: &GuessRisk, least: u8) -> Option<Self> {
        let with = |attempts| Self {
            attempts,
            ..self.clone()
        };
        let mut fewer = (least..self.attempts).rev().map(with);
        fewer.find(|policy| risk.is_met_by(policy))
    }

    /// The limits with a further, long window, with which this policy meets `risk`. The window is as short as possible,
    /// and then allows as many messages as possible.
    #[must_use]
    pub fn with_fewer_sends(&self, risk: &GuessRisk) -> Option<Self> {
        let with = |window: SendWindow| {
            let send_limits = self.send_limits.and_at_most(window);
            Self {
                send_limits,
                ..self.clone()
            }
        };
        let lengths = [1, 7, 30].map(|days| Duration::from_hours(24 * days));
        let mut fewer = lengths.into_iter().flat_map(|length| {
            let counts = (1..=REMEMBERED_SENDS).rev();
            counts.map(move |sends| SendWindow { sends, length })
        });
        fewer.find_map(|window| {
            let policy = with(window);
            let can_split =
                self.shares.can_split_sends(&policy.send_limits) == super::CanSplit::Yes;
            Some(policy).filter(|policy| can_split && risk.is_met_by(policy))
        })
    }
}

/// So many messages are counted one by one. Beyond them, the figure is certain to be of no use to anybody, and the start
/// must not wait for it.
const COUNTED: u64 = 100_000;

/// The most messages of which the last comes less than `span` after the first.
fn most_sends(windows: &[SendWindow], span: Duration) -> u64 {
    let mut sends: VecDeque<Duration> = VecDeque::with_capacity(REMEMBERED_SENDS);
    for count in 0..COUNTED {
        let earliest = |window: &SendWindow| {
            let earlier = window.sends.checked_sub(1)?;
            Some(sends.get(earlier).copied()?.saturating_add(window.length))
        };
        let next = windows.iter().filter_map(earliest).max();
        let next = next.unwrap_or_default();
        if next >= span {
            return count;
        }
        sends.truncate(REMEMBERED_SENDS - 1);
        sends.push_front(next);
    }
    // Each window alone allows its count in each begun stretch of its length.
    let alone = |window: &SendWindow| {
        let stretches = span.as_millis().div_ceil(window.length.as_millis().max(1));
        u64::try_from(stretches)
            .unwrap_or(u64::MAX)
            .saturating_mul(window.sends as u64)
    };
    windows.iter().map(alone).min().unwrap_or(u64::MAX)
}

impl GuessChance {
    /// The chance alone, with two digits, rounded up.
    #[must_use]
    pub fn chance(&self) -> String {
        rounded_up(self.guesses, self.digits)
    }
}

/// The chance, a slash and the period, as in the setting.
impl fmt::Display for GuessChance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.chance(), self.period.text)
    }
}

/// Writes `guesses` in ten to the power of `digits`, such as `3.6e-5`. A chance is at most 1.
#[must_use]
pub fn rounded_up(guesses: u64, digits: u8) -> String {
    let digits = i32::from(digits);
    if guesses == 0 {
        return "0".to_owned();
    }
    let (mut two, mut power) = (guesses, -digits);
    while two >= 100 {
        two = two.div_ceil(10);
        power += 1;
    }
    match (two / 10, two % 10) {
        _ if power + 1 >= 0 && two >= 10 => "1".to_owned(),
        (0, ones) => format!("{ones}e{power}"),
        (tens, 0) => format!("{tens}e{}", power + 1),
        (tens, ones) => format!("{tens}.{ones}e{}", power + 1),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
