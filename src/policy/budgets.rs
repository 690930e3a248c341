use super::rates::whole;
use crate::ledger::{Door, ItemName, Spending, SpendingLine};
use crate::phone::Country;
use crate::provider::Channel;
use crate::time::Millis;
use std::collections::BTreeMap;
use std::fmt;

/// Caps on messages and their cost, by UTC hour or day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Budgets {
    /// The door whose messages the caps count.
    pub door: Door,
    /// Caps on all messages together.
    pub all: Vec<Budget>,
    /// Caps on the messages to one country.
    pub by_country: BTreeMap<Country, Vec<Budget>>,
    /// Caps on the messages to each country without its own.
    pub other_countries: Vec<Budget>,
    /// The only country that is served; `None` if there are several.
    pub only_country: Option<Country>,
    pub prices: Prices,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub unit: Unit,
    /// The cap in messages, or in millionths of a US dollar.
    pub cap: u64,
    pub period: Period,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Messages,
    /// Money, in millionths of a US dollar.
    MicroDollars,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Hour,
    Day,
}

impl Budget {
    /// Reads `500/1h`, `2000/24h`, `20USD/1h` or `100USD/24h`.
    ///
    /// # Errors
    ///
    /// A sentence that quotes the invalid part.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid =
            || format!("`{text}` is not a budget such as `500/1h`, `2000/24h` or `20USD/24h`");
        let (amount, period) = text.split_once('/').ok_or_else(invalid)?;
        let period = match period {
            "1h" => Period::Hour,
            "24h" | "1d" => Period::Day,
            _ => return Err(invalid()),
        };
        let (unit, cap) = match amount.strip_suffix("USD") {
            Some(dollars) => (Unit::MicroDollars, micro_dollars(dollars)),
            None => (Unit::Messages, whole(amount)),
        };
        Ok(Self {
            unit,
            cap: cap.filter(|cap| *cap > 0).ok_or_else(invalid)?,
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

    /// The budgets of a country for which the operator has set none: half of each budget of an hour in `all`. In
    /// messages, they are at least `LEAST_OF_COUNTRY`.
    #[must_use]
    pub fn of_each_country(all: &[Self]) -> Vec<Self> {
        let half = |budget: &Self| {
            let least = match budget.unit {
                Unit::Messages => LEAST_OF_COUNTRY,
                Unit::MicroDollars => 1,
            };
            let cap = (budget.cap / 2).max(least);
            // A budget that is not below that of all messages would never refuse one.
            (cap < budget.cap).then_some(Self { cap, ..*budget })
        };
        let of_hours = all.iter().filter(|budget| budget.period == Period::Hour);
        of_hours.filter_map(half).collect()
    }

    /// The line that a message of this cost adds to a spending for this budget. `of` is the country of the budget, or
    /// empty if the budget is for all messages.
    fn line(&self, of: &str, cost: u64, now: Millis) -> SpendingLine {
        let (hour, day) = (now.0 / HOUR, now.0 / HOUR / 24);
        let (unit, amount) = match self.unit {
            Unit::Messages => ('m', 1),
            Unit::MicroDollars => ('u', cost),
        };
        let (period, ends) = match self.period {
            Period::Hour => (format!("{:02}", hour % 24), (hour + 1) * HOUR),
            Period::Day => (String::new(), (day + 1) * 24 * HOUR),
        };
        SpendingLine {
            counter: format!("{unit}{period}{of}"),
            amount,
            cap: self.cap,
            of_country: !of.is_empty(),
            ends: Millis(ends),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Messages => write!(f, "{}", self.cap)?,
            Unit::MicroDollars => {
                write!(f, "{}", self.cap / 1_000_000)?;
                let decimals = format!("{:06}", self.cap % 1_000_000);
                let decimals = decimals.trim_end_matches('0');
                if !decimals.is_empty() {
                    write!(f, ".{decimals}")?;
                }
                f.write_str("USD")?;
            }
        }
        f.write_str(match self.period {
            Period::Hour => "/1h",
            Period::Day => "/24h",
        })
    }
}

/// Writes budgets as [`Budget::parse_list`] reads them.
fn listed(budgets: &[Budget]) -> String {
    if budgets.is_empty() {
        return "none".to_owned();
    }
    let budgets: Vec<String> = budgets.iter().map(ToString::to_string).collect();
    budgets.join(",")
}

/// The least number of messages in an hour to a country for which the operator has set no budget. With fewer, a few
/// people who sign up at the same time would use up the budget.
const LEAST_OF_COUNTRY: u64 = 20;

/// Reads up to a billion dollars with at most six decimals. The result is in millionths.
fn micro_dollars(text: &str) -> Option<u64> {
    let (dollars, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let fraction = format!("{decimals:0<6}");
    if dollars.is_empty() || decimals.is_empty() || fraction.len() != 6 {
        return None;
    }
    let dollars = whole(dollars).filter(|dollars| *dollars <= 1_000_000_000)?;
    Some(dollars * 1_000_000 + whole(&fraction)?)
}

/// The prices of messages, in millionths of a US dollar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prices {
    /// The price of an SMS to some countries.
    pub by_country: BTreeMap<Country, u64>,
    /// The price of an SMS to all other countries.
    pub otherwise: Option<u64>,
    /// The prices of calls and WhatsApp messages. The entry without a country is for all other countries.
    pub by_channel: BTreeMap<(Channel, Option<Country>), u64>,
}

impl Prices {
    /// Reads a price from the packaged file: dollars with at most six decimals, such as `0.00581`.
    ///
    /// # Errors
    ///
    /// A sentence that quotes the text.
    pub fn parse_one(text: &str) -> Result<u64, String> {
        micro_dollars(text)
            .filter(|price| (1..=100_000_000).contains(price))
            .ok_or_else(|| {
                format!(
                    "`{text}` is not a price in dollars from 0.000001 to 100, such as `0.00581`"
                )
            })
    }

    /// Whether messages by this channel have a price in every country.
    #[must_use]
    pub fn has_any(&self, channel: Channel) -> bool {
        match channel {
            Channel::Sms => self.otherwise.is_some(),
            _ => self.by_channel.contains_key(&(channel, None)),
        }
    }

    /// The price of a message, or `None` if the price is not known. A call costs several times as much as an SMS, so
    /// the price of an SMS is never used for a call.
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
    /// The amounts that a message spends at `now`, one [`Spending`] for each item. The spendings must be spent in the
    /// order in which they are returned. Each segment of the message costs the price once. If the price of a message is
    /// not known, the message counts as more than any budget in money. So every budget in money refuses such a message.
    ///
    /// A country's budgets have an item of their own. There is one exception: a stack that serves only one country
    /// counts that country's budgets in the item of all budgets, as earlier versions always did. On the day on which a
    /// stack changes from one form to the other, both items hold a part of the country's counts. So the sum of both
    /// parts is compared with the cap.
    #[must_use]
    pub fn spendings(
        &self,
        country: Country,
        channel: Channel,
        segments: u64,
        now: Millis,
    ) -> Vec<Spending> {
        let price = self.prices.of(country, channel);
        let cost = price.map_or(u64::MAX, |price| price.saturating_mul(segments));
        let line = |budget: &Budget, of: &str| budget.line(of, cost, now);
        let own = self
            .by_country
            .get(&country)
            .unwrap_or(&self.other_countries);
        let own = own.iter().map(|budget| line(budget, country.as_str()));
        let of_country = with_smallest_caps(own);
        let mut of_all = with_smallest_caps(self.all.iter().map(|budget| line(budget, "")));
        let day = now.0 / HOUR / 24;
        let item = |name, lines| Spending {
            item: name,
            expires: Millis((day + 2) * 24 * HOUR),
            lines,
        };
        let (name, country_name) = (
            ItemName::of_budget(self.door, day),
            ItemName::of_country_budget(self.door, day, country),
        );
        if self.only_country == Some(country) {
            of_all.extend(of_country);
            return vec![item(name, of_all)];
        }
        if !of_all.is_empty() {
            of_all.extend(
                of_country
                    .iter()
                    .cloned()
                    .map(|line| SpendingLine { amount: 0, ..line }),
            );
        }
        // The country comes first: if its budget refuses a message, the message takes nothing from the others.
        let items = [item(country_name, of_country), item(name, of_all)];
        items
            .into_iter()
            .filter(|item| !item.lines.is_empty())
            .collect()
    }
}

impl Budgets {
    /// The caps on all messages, as `BUDGETS` would have them.
    #[must_use]
    pub fn all_listed(&self) -> String {
        listed(&self.all)
    }

    /// The caps of the countries, as `COUNTRY_LIMITS` would have them.
    #[must_use]
    pub fn countries_listed(&self) -> String {
        let own = self.by_country.iter();
        let own = own.map(|(country, budgets)| format!("{country}={}", listed(budgets)));
        // The only country that is served has its own entry, or none.
        let others = (self.only_country.is_none() || self.by_country.is_empty())
            .then(|| format!("*={}", listed(&self.other_countries)));
        own.chain(others).collect::<Vec<_>>().join(";")
    }

    /// How many items a message spends from at most.
    #[must_use]
    pub fn most_items(&self) -> usize {
        let has_countries = !self.other_countries.is_empty()
            || self.by_country.values().any(|budgets| !budgets.is_empty());
        match (self.all.is_empty(), has_countries) {
            (true, false) => 0,
            (false, true) if self.only_country.is_none() => 2,
            _ => 1,
        }
    }
}

const HOUR: u64 = 3_600_000;

/// Budgets of the same unit and period share a counter, and the smallest cap applies.
fn with_smallest_caps(lines: impl Iterator<Item = SpendingLine>) -> Vec<SpendingLine> {
    let mut smallest: BTreeMap<String, SpendingLine> = BTreeMap::new();
    for line in lines {
        let known = smallest
            .entry(line.counter.clone())
            .or_insert_with(|| line.clone());
        known.cap = known.cap.min(line.cap);
    }
    smallest.into_values().collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

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
    fn a_message_spends_from_every_budget_that_applies() {
        let us: Country = "US".parse().unwrap();
        let jm: Country = "JM".parse().unwrap();
        let budgets = Budgets {
            door: Door::Http,
            all: Budget::parse_list("500/1h,2USD/24h,400/1h").unwrap(),
            by_country: BTreeMap::from([(jm, Budget::parse_list("20/24h").unwrap())]),
            other_countries: Vec::new(),
            only_country: None,
            prices: Prices {
                by_country: BTreeMap::from([(us, 5810)]),
                otherwise: None,
                by_channel: BTreeMap::new(),
            },
        };
        let items = |budgets: &Budgets, country, segments, now| {
            let spendings = budgets.spendings(country, Channel::Sms, segments, Millis(now));
            let mut lines = Vec::new();
            for spending in spendings {
                let item = spending.item.as_str().to_owned();
                lines.extend(
                    spending
                        .lines
                        .into_iter()
                        .map(|line| (item.clone(), line.counter, line.amount, line.cap)),
                );
            }
            lines
        };
        let line = |item: &str, counter: &str, amount, cap| {
            (item.to_owned(), counter.to_owned(), amount, cap)
        };
        assert_eq!(
            items(&budgets, us, 1, 0),
            [
                line("B#0", "m00", 1, 400),
                line("B#0", "u", 5810, 2_000_000)
            ]
        );
        assert_eq!(
            items(&budgets, us, 3, 0).last(),
            Some(&line("B#0", "u", 17_430, 2_000_000))
        );
        let at_five = 29 * HOUR;
        assert_eq!(
            items(&budgets, jm, 2, at_five),
            [
                line("B#1#JM", "mJM", 1, 20),
                line("B#1", "m05", 1, 400),
                line("B#1", "u", u64::MAX, 2_000_000),
                line("B#1", "mJM", 0, 20),
            ]
        );
        let only = Budgets {
            only_country: Some(jm),
            ..budgets.clone()
        };
        assert_eq!(
            items(&only, jm, 2, at_five),
            [
                line("B#1", "m05", 1, 400),
                line("B#1", "u", u64::MAX, 2_000_000),
                line("B#1", "mJM", 1, 20),
            ]
        );
        let of_countries = Budgets {
            all: Vec::new(),
            ..budgets
        };
        assert_eq!(items(&of_countries, us, 1, 0), []);
        assert_eq!(
            items(&of_countries, jm, 1, at_five),
            [line("B#1#JM", "mJM", 1, 20)]
        );
    }
}
