//! Which numbers are served, and how often. Pure: no clock, no network.

use crate::error::{Error, ErrorCode};
use crate::ledger::{
    GUESS_STOPS, ItemName, LOCKED, Number, REMEMBERED_SENDS, SendWindow, Spending, SpendingLine,
};
use crate::phone::{Country, PhoneNumber};
use crate::provider::Channel;
use crate::time::Millis;
use std::collections::BTreeMap;
use std::time::Duration;

/// The countries whose numbers are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedCountries {
    /// Every country, because the operator wrote `*`.
    Any,
    /// These, sorted.
    Only(Vec<Country>),
}

impl AllowedCountries {
    /// Reads `*`, or ISO 3166-1 alpha-2 codes separated by commas.
    ///
    /// # Errors
    ///
    /// A sentence that names the part that is no country.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let mut countries = text
            .split(',')
            .map(str::trim)
            .map(|part| {
                part.parse()
                    .map_err(|_| format!("`{part}` is no ISO 3166-1 country code"))
            })
            .collect::<Result<Vec<Country>, _>>()?;
        countries.sort_unstable();
        countries.dedup();
        Ok(Self::Only(countries))
    }

    /// Lets a number of an allowed country pass, and says which country that is.
    ///
    /// A number of no country (satellite phones, international shared-cost numbers, area codes
    /// that nobody has) is refused even with `*`: nobody signs up with one, and they are the
    /// dearest to text.
    ///
    /// # Errors
    ///
    /// `country_not_allowed`.
    pub fn admit(&self, number: &PhoneNumber) -> Result<Country, Error> {
        let refused = || {
            Error::new(
                ErrorCode::CountryNotAllowed,
                "The destination number belongs to no country that is served here.",
            )
            .with_field("destinationNumber")
        };
        let country = number.country().ok_or_else(refused)?;
        match self {
            Self::Any => Ok(country),
            Self::Only(countries) if countries.binary_search(&country).is_ok() => Ok(country),
            Self::Only(_) => Err(refused()),
        }
    }
}

/// So many in so long: `6/24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many at most.
    pub count: u64,
    /// In every stretch of this length.
    pub window: Duration,
}

impl Rate {
    /// Reads a count of at least 1, a slash and a window from `1s` to `30d`; the units are s, m, h and d.
    ///
    /// # Errors
    ///
    /// A sentence that names the part that is no rate.
    pub fn parse(text: &str) -> Result<Self, String> {
        let no_rate = || format!("`{text}` is no count and window such as `6/24h`");
        let (count, window) = text.split_once('/').ok_or_else(no_rate)?;
        let count = whole(count)
            .filter(|count| *count > 0)
            .ok_or_else(no_rate)?;
        Ok(Self {
            count,
            window: window_of(window).ok_or_else(no_rate)?,
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

/// A decimal number without sign, so that `+5` and an empty text are none.
fn whole(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

fn window_of(text: &str) -> Option<Duration> {
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

/// How often a code may be sent to one number, exactly: in no stretch of time of a window's length are there more sends
/// than its count, wherever the stretch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendLimits(Vec<SendWindow>);

/// Why no code may be sent to a number now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// From when on one may; nothing if only an operator can change it.
    pub until: Option<Millis>,
    /// Whether failed guesses are the reason, and not sends.
    pub guesses: bool,
}

impl SendLimits {
    /// Reads rates separated by commas.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong: there is none, or a count is larger than what is remembered of a number.
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
            .map(Self)
    }

    #[must_use]
    pub fn windows(&self) -> &[SendWindow] {
        &self.0
    }

    /// From when on a code may be sent to the number, as far as the windows go.
    #[must_use]
    pub fn next_send(&self, number: &Number) -> Millis {
        let next = |window: &SendWindow| {
            let oldest = number.sends.get(window.sends.checked_sub(1)?)?;
            Some(oldest.plus(window.length))
        };
        self.0.iter().filter_map(next).max().unwrap_or_default()
    }

    /// Why no code may be sent to the number at `now`, if so.
    #[must_use]
    pub fn wait(&self, number: &Number, now: Millis) -> Option<Wait> {
        if number.failures >= LOCKED {
            return Some(Wait {
                until: None,
                guesses: true,
            });
        }
        let after_guesses = GUESS_STOPS
            .iter()
            .rev()
            .find(|stop| number.failures >= stop.failures)
            .map_or(Millis(0), |stop| number.last_failure.plus(stop.wait));
        let next_send = self.next_send(number);
        let until = next_send.max(after_guesses);
        (until > now).then_some(Wait {
            until: Some(until),
            guesses: after_guesses > next_send,
        })
    }
}

/// What texts may cost, in messages or in money, by UTC hour or day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Budgets {
    /// Of all texts together.
    pub all: Vec<Budget>,
    /// Of the texts to one country.
    pub by_country: BTreeMap<Country, Vec<Budget>>,
    /// Of the texts to each country that has none of its own.
    pub other_countries: Vec<Budget>,
    /// What a text costs.
    pub prices: Prices,
}

/// One cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Of what.
    pub unit: Unit,
    /// How much at most: messages, or millionths of a US dollar.
    pub cap: u64,
    /// In which time.
    pub period: Period,
}

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Messages.
    Messages,
    /// Millionths of a US dollar.
    MicroDollars,
}

/// The time that a budget is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// An hour of UTC.
    Hour,
    /// A day of UTC.
    Day,
}

impl Budget {
    /// Reads `500/1h`, `2000/24h`, `20USD/1h` or `100USD/24h`.
    ///
    /// # Errors
    ///
    /// A sentence that names the part that is no budget.
    pub fn parse(text: &str) -> Result<Self, String> {
        let no_budget =
            || format!("`{text}` is no budget such as `500/1h`, `2000/24h` or `20USD/24h`");
        let (amount, period) = text.split_once('/').ok_or_else(no_budget)?;
        let period = match period {
            "1h" => Period::Hour,
            "24h" | "1d" => Period::Day,
            _ => return Err(no_budget()),
        };
        let (unit, cap) = match amount.strip_suffix("USD") {
            Some(dollars) => (Unit::MicroDollars, micro_dollars(dollars)),
            None => (Unit::Messages, whole(amount)),
        };
        Ok(Self {
            unit,
            cap: cap.filter(|cap| *cap > 0).ok_or_else(no_budget)?,
            period,
        })
    }

    /// Reads budgets separated by commas, or `none`.
    ///
    /// # Errors
    ///
    /// As [`Budget::parse`].
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        if text == "none" {
            return Ok(Vec::new());
        }
        text.split(',').map(str::trim).map(Self::parse).collect()
    }
}

/// Dollars with at most six decimals, in millionths; nothing above a billion dollars.
fn micro_dollars(text: &str) -> Option<u64> {
    let (dollars, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let fraction = format!("{decimals:0<6}");
    if dollars.is_empty() || decimals.is_empty() || fraction.len() != 6 {
        return None;
    }
    let dollars = whole(dollars).filter(|dollars| *dollars <= 1_000_000_000)?;
    Some(dollars * 1_000_000 + whole(&fraction)?)
}

/// What a message costs, by country, in millionths of a US dollar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prices {
    /// Of a text to single countries.
    pub by_country: BTreeMap<Country, u64>,
    /// Of a text to all others.
    pub otherwise: Option<u64>,
    /// Of a call or a message by WhatsApp to single countries, and under no country to all others.
    pub by_channel: BTreeMap<(Channel, Option<Country>), u64>,
}

impl Prices {
    /// Reads a price as it stands in the file: dollars with at most six decimals, as in `0.00581`.
    ///
    /// # Errors
    ///
    /// A sentence that names the text.
    pub fn parse_one(text: &str) -> Result<u64, String> {
        micro_dollars(text)
            .filter(|price| (1..=100_000_000).contains(price))
            .ok_or_else(|| {
                format!("`{text}` is no price in dollars from 0.000001 to 100, such as `0.00581`")
            })
    }

    /// Whether a message by this channel has a price wherever it goes.
    #[must_use]
    pub fn has_any(&self, channel: Channel) -> bool {
        match channel {
            Channel::Sms => self.otherwise.is_some(),
            _ => self.by_channel.contains_key(&(channel, None)),
        }
    }

    /// What a message to this country costs by this channel, if that is known. A call costs several times what a text
    /// does, so that the price of one says nothing about the other.
    #[must_use]
    pub fn of(&self, country: Country, channel: Channel) -> Option<u64> {
        match channel {
            Channel::Sms => self.by_country.get(&country).copied().or(self.otherwise),
            _ => [Some(country), None]
                .iter()
                .find_map(|country| self.by_channel.get(&(channel, *country)))
                .copied(),
        }
    }
}

impl Budgets {
    /// What a message to `country` by `channel` spends at `now`. A price that is not known counts as the whole of a budget in money, so
    /// that such a text is refused.
    #[must_use]
    pub fn spending(&self, country: Country, channel: Channel, now: Millis) -> Spending {
        const HOUR: u64 = 3_600_000;
        let hour = now.0 / HOUR;
        let day = hour / 24;
        let own = self
            .by_country
            .get(&country)
            .unwrap_or(&self.other_countries);
        let all = self.all.iter().map(|budget| (budget, ""));
        let lines = all
            .chain(own.iter().map(|budget| (budget, country.as_str())))
            .map(|(budget, of)| {
                let unit = match budget.unit {
                    Unit::Messages => 'm',
                    Unit::MicroDollars => 'u',
                };
                let (period, ends) = match budget.period {
                    Period::Hour => (format!("{:02}", hour % 24), (hour + 1) * HOUR),
                    Period::Day => (String::new(), (day + 1) * 24 * HOUR),
                };
                SpendingLine {
                    counter: format!("{unit}{period}{of}"),
                    amount: match budget.unit {
                        Unit::Messages => 1,
                        Unit::MicroDollars => self.prices.of(country, channel).unwrap_or(u64::MAX),
                    },
                    cap: budget.cap,
                    of_country: !of.is_empty(),
                    ends: Millis(ends),
                }
            });
        // Two budgets of one unit and period have one counter; the smaller cap holds.
        let mut smallest: BTreeMap<String, SpendingLine> = BTreeMap::new();
        for line in lines {
            let known = smallest
                .entry(line.counter.clone())
                .or_insert_with(|| line.clone());
            known.cap = known.cap.min(line.cap);
        }
        Spending {
            item: ItemName::of_budget(day),
            expires: Millis((day + 2) * 24 * HOUR),
            lines: smallest.into_values().collect(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_codes_between_commas_in_any_order() {
        let list = AllowedCountries::parse("US, CA,GB ,US").unwrap();
        assert_eq!(list, AllowedCountries::parse("CA,GB,US").unwrap());
        assert_eq!(
            AllowedCountries::parse(" * ").unwrap(),
            AllowedCountries::Any
        );
        for bad in [
            "", ",", "US,", "us", "USA", "UK", "US CA", "*,US", "**", "U", "ÜS",
        ] {
            assert!(AllowedCountries::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            AllowedCountries::parse("US,XX").unwrap_err(),
            "`XX` is no ISO 3166-1 country code"
        );
    }

    #[test]
    fn only_numbers_of_a_listed_country_pass() {
        let some = AllowedCountries::parse("US,GB").unwrap();
        for (number, some_admits, any_admits) in [
            ("+14255550142", true, true),
            ("+447700900123", true, true),
            ("+18765550142", false, true),
            ("+447781234567", false, true),
            ("+819012345678", false, true),
            ("+881612345678", false, false),
            ("+19995550142", false, false),
        ] {
            let number = PhoneNumber::parse(number).unwrap();
            assert_eq!(some.admit(&number).is_ok(), some_admits, "{number}");
            assert_eq!(
                AllowedCountries::Any.admit(&number).is_ok(),
                any_admits,
                "{number}"
            );
        }
        let refusal = some
            .admit(&PhoneNumber::parse("+18765550142").unwrap())
            .unwrap_err();
        assert_eq!(
            (refusal.code(), refusal.field()),
            (ErrorCode::CountryNotAllowed, Some("destinationNumber"))
        );
    }

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
                guesses: false
            }
        );
    }

    #[test]
    fn failed_guesses_make_sends_wait() {
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
            Some(Wait {
                until: None,
                guesses: true
            })
        );
    }

    #[test]
    fn a_budget_is_messages_or_dollars_in_an_hour_or_a_day() {
        let budget = |text| Budget::parse(text).unwrap();
        assert_eq!(
            budget("500/1h"),
            Budget {
                unit: Unit::Messages,
                cap: 500,
                period: Period::Hour
            }
        );
        assert_eq!(
            budget("20.5USD/24h"),
            Budget {
                unit: Unit::MicroDollars,
                cap: 20_500_000,
                period: Period::Day
            }
        );
        for bad in [
            "",
            "500",
            "0/1h",
            "500/2h",
            "$5/1h",
            "USD/1h",
            "5.USD/1h",
            ".5USD/1h",
            "5.0000001USD/1h",
            "5 USD/1h",
            "-5USD/1h",
        ] {
            assert!(Budget::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Prices::parse_one("0.00581"), Ok(5810));
        assert!(Prices::parse_one("0").is_err() && Prices::parse_one("101").is_err());
    }

    #[test]
    fn a_text_spends_of_every_budget_that_holds_for_it() {
        let us: Country = "US".parse().unwrap();
        let jm: Country = "JM".parse().unwrap();
        let budgets = Budgets {
            all: Budget::parse_list("500/1h,2USD/24h,400/1h").unwrap(),
            by_country: BTreeMap::from([(jm, Budget::parse_list("20/24h").unwrap())]),
            other_countries: Vec::new(),
            prices: Prices {
                by_country: BTreeMap::from([(us, 5810)]),
                otherwise: None,
                by_channel: BTreeMap::new(),
            },
        };
        let lines = |country, now| {
            let spending = budgets.spending(country, Channel::Sms, Millis(now));
            spending
                .lines
                .into_iter()
                .map(|line| (line.counter, line.amount, line.cap))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            lines(us, 0),
            [
                ("m00".to_owned(), 1, 400),
                ("u".to_owned(), 5810, 2_000_000)
            ]
        );
        let at_five = 5 * 3_600_000;
        let unknown = ("u".to_owned(), u64::MAX, 2_000_000);
        assert_eq!(
            lines(jm, at_five),
            [
                ("m05".to_owned(), 1, 400),
                ("mJM".to_owned(), 1, 20),
                unknown
            ]
        );
    }
}
