//! The settings of the ledger and its limits.

use super::file::ConfigFile;
use super::reader::Reader;
use crate::aws::SdkConfig;
use crate::aws::dynamodb::DynamoDb;
use crate::aws::secrets;
use crate::ledger::{Door, Hasher, Ledger};
use crate::otp::{CodeShape, Otp};
use crate::phone::Country;
use crate::policy::{
    AllowedCountries, Budget, Budgets, CanSplit, ExtraPrefixes, GuessChance, Prices, Rate,
    SendLimits, Shares, SignInShare, Unit,
};
use crate::provider::{Channel, ProviderLimits};
use crate::service::{LedgerPolicy, Limits, TestNumber};
use crate::time::Millis;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::time::Duration;
use time::{Date, Month};

pub struct LedgerSettings {
    /// The name of the DynamoDB table.
    pub table: String,
    pub secret: LedgerSecret,
    pub policy: LedgerPolicy,
}

impl LedgerSettings {
    /// Connects the limits to `ledger`, or to the table if `ledger` is `None`. If the secret is in Secrets Manager, the
    /// secret is read first.
    ///
    /// # Errors
    ///
    /// The secret cannot be read. The error is a sentence for the operator.
    pub async fn connect(
        self,
        config: &SdkConfig,
        ledger: Option<Box<dyn Ledger>>,
    ) -> Result<Limits, String> {
        let secret = match self.secret {
            LedgerSecret::Arn(arn) => secrets::ledger_secret(config, &arn).await?,
            LedgerSecret::Bytes(bytes) => bytes,
        };
        let ledger = ledger.unwrap_or_else(|| Box::new(DynamoDb::new(config, self.table)));
        Ok(Limits::new(
            ledger,
            Hasher::from_secret(&secret),
            self.policy,
        ))
    }
}

/// The key of the hashes in the ledger. It has no `Debug`, so that it cannot get into a log.
pub enum LedgerSecret {
    /// The ARN of a secret in Secrets Manager.
    Arn(String),
    /// 32 bytes, for a ledger outside AWS.
    Bytes(Vec<u8>),
}

/// Settings that have no effect without a ledger. If such a setting is used and there is no ledger, the function
/// refuses to start. If the function started, the operator would rely on limits that do not exist.
const ONLY_WITH_A_LEDGER: &[&str] = &[
    "LEDGER_KEY",
    "SEND_LIMITS",
    "PREFIX_LIMITS",
    "SOURCE_LIMITS",
    "SOURCE_NETWORK_LIMITS",
    "COUNTRY_LIMITS",
    "BUDGETS",
    "TEST_NUMBERS",
    "FOREIGN_CODES",
    "SIGN_IN_SHARE",
    "DEVICE_TOKEN_DAYS",
    "GUESS_RISK",
    "COGNITO_FLOOR_MS",
    "COGNITO_SHOWN_NUMBER",
    "COGNITO_STEP_UP",
    "COGNITO_UNVERIFIED_PHONE",
    "COGNITO_PRE_SIGN_UP",
    "COGNITO_LANGUAGE_ATTRIBUTE",
    "OPERATOR_ALIASES",
];

impl Reader<'_> {
    /// `countries`, `limits` and `codes` come from the other settings.
    pub(super) fn ledger(
        &mut self,
        countries: &AllowedCountries,
        limits: &ProviderLimits,
        codes: &CodeShape,
        file: ConfigFile,
    ) -> Option<LedgerSettings> {
        const TABLE: &str = "LEDGER_TABLE";
        if !self.is_set(TABLE) {
            for name in self.set_among(ONLY_WITH_A_LEDGER) {
                self.report(name, "needs the ledger: set LEDGER_TABLE, or unset it.");
            }
            if file.prices.is_some() {
                self.report(
                    "CONFIG_FILE",
                    "has `prices`, which need the ledger: set LEDGER_TABLE, or leave them out.",
                );
            }
            return None;
        }
        let policy = LedgerPolicy {
            sign_in_share: self.sign_in_share(),
            devices_kept: self.devices_kept(),
            send_limits: self.rates("SEND_LIMITS", SendLimits::default(), SendLimits::parse),
            prefix_limits: self.rates("PREFIX_LIMITS", Vec::new(), Rate::parse_list),
            source_limits: self.rates("SOURCE_LIMITS", Vec::new(), Rate::parse_list),
            network_limits: self.rates("SOURCE_NETWORK_LIMITS", Vec::new(), Rate::parse_list),
            budgets: self.budgets(countries, limits, file.prices.unwrap_or_default()),
            test_numbers: self.test_numbers(codes),
            guess_chance: GuessChance::default(),
        };
        self.check_sends_a_day(&policy.send_limits, limits.quotas);
        self.check_share(&policy);
        if !self.file_is_unread {
            self.check_prices(&policy.budgets, countries, limits);
        }
        Some(LedgerSettings {
            table: self.characters(
                TABLE,
                3..=255,
                |c| c.is_ascii_alphanumeric() || "_-.".contains(c),
                "must be the name of a DynamoDB table: 3 to 255 letters, digits, underscores, dashes and dots.",
            ),
            secret: self.ledger_secret(),
            policy,
        })
    }

    fn sign_in_share(&mut self) -> SignInShare {
        self.parsed("SIGN_IN_SHARE", SignInShare::default(), |text| {
            SignInShare::parse(text).ok_or_else(|| {
                "must be 0, for no sign-ins, or a percentage from 10 to 90.".to_owned()
            })
        })
    }

    fn devices_kept(&mut self) -> Option<Duration> {
        const LONGEST: u64 = 365;
        let days = self.parsed("DEVICE_TOKEN_DAYS", 0, |text| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            let days = text.parse().ok().filter(|days| *days <= LONGEST);
            days.filter(|_| is_number)
                .ok_or_else(|| "must be 0, for no tokens, or days from 1 to 365.".to_owned())
        });
        (days > 0).then(|| Duration::from_hours(24 * days))
    }

    /// Reports limits of which a door would have no part.
    fn check_share(&mut self, policy: &LedgerPolicy) {
        let shares = Shares {
            sign_in: policy.sign_in_share,
            has_devices: policy.devices_kept.is_some(),
        };
        let budgets = &policy.budgets;
        let of_countries = budgets
            .by_country
            .values()
            .chain([&budgets.other_countries]);
        let prefixes = policy.prefix_limits.iter().map(|rate| rate.count);
        let caps = |budget: &Budget| budget.cap;
        for (name, at, splits, least) in [
            (
                "SEND_LIMITS",
                " for an hour or longer",
                shares.can_split_sends(&policy.send_limits),
                3,
            ),
            ("PREFIX_LIMITS", "", shares.can_split(prefixes), 2),
            (
                "BUDGETS",
                "",
                shares.can_split(budgets.all.iter().map(caps)),
                2,
            ),
            (
                "COUNTRY_LIMITS",
                "",
                shares.can_split(of_countries.flatten().map(caps)),
                2,
            ),
        ] {
            match splits {
                CanSplit::Yes => {}
                CanSplit::NotForSignIns => self.report(
                    name,
                    &format!(
                        "has a limit of 1{at}, which SIGN_IN_SHARE cannot split: make it at least 2."
                    ),
                ),
                CanSplit::NotForDevices => self.report(
                    name,
                    &format!(
                        "has a limit{at} that is too small for DEVICE_TOKEN_DAYS: HTTP must have at least {least} of it."
                    ),
                ),
            }
        }
    }

    fn ledger_secret(&mut self) -> LedgerSecret {
        const NAME: &str = "LEDGER_KEY";
        let Some(key) = self.raw(NAME) else {
            self.report(NAME, "must be set, as LEDGER_TABLE is.");
            return LedgerSecret::Bytes(Vec::new());
        };
        if key.starts_with("arn:") && key.contains(":secretsmanager:") {
            return LedgerSecret::Arn(key);
        }
        let bytes = STANDARD.decode(&key).unwrap_or_default();
        if bytes.len() != 32 {
            self.report(
                NAME,
                "must be the ARN of a secret in Secrets Manager, or 32 bytes in base64.",
            );
        }
        LedgerSecret::Bytes(bytes)
    }

    fn rates<T>(
        &mut self,
        name: &str,
        placeholder: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        self.parsed(name, placeholder, |text| {
            parse(text).map_err(|why| {
                format!("must be counts and windows such as `10/10m,50/24h`: {why}.")
            })
        })
    }

    fn budgets(
        &mut self,
        countries: &AllowedCountries,
        limits: &ProviderLimits,
        prices: Prices,
    ) -> Budgets {
        let text = self.budgets_text(limits.quotas);
        let all = Budget::parse_list(&text).unwrap_or_else(|why| {
            let what = format!("must be budgets such as `500/1h,2000/24h` or `100USD/24h`: {why}.");
            self.report("BUDGETS", &what);
            Vec::new()
        });
        let only_country = countries.only_one();
        let mut by_country = BTreeMap::new();
        let mut other_countries = None;
        for (country, budgets) in self.country_limits() {
            match country {
                Some(country) => drop(by_country.insert(country, budgets)),
                None => other_countries = Some(budgets),
            }
        }
        // Without this, one country could take all messages of the hour.
        let other_countries = other_countries.unwrap_or_else(|| match only_country {
            Some(_) => Vec::new(),
            None => Budget::of_each_country(&all),
        });
        Budgets {
            door: Door::Http,
            all,
            by_country,
            other_countries,
            only_country,
            prices,
        }
    }

    /// Requires a price for every message that a budget in money applies to. If a message has no price, the budget
    /// refuses the message, even if nothing has been spent yet.
    fn check_prices(
        &mut self,
        budgets: &Budgets,
        countries: &AllowedCountries,
        limits: &ProviderLimits,
    ) {
        const NAME: &str = "CONFIG_FILE";
        for channel in limits.channels.iter().map(|own| own.channel) {
            let unpriced = unpriced(budgets, countries, channel);
            if unpriced.is_empty() {
                continue;
            }
            let (message, any) = match channel {
                Channel::Sms => ("an SMS", "*"),
                Channel::Voice => ("a call", "*/voice"),
                Channel::WhatsApp => ("a message by WhatsApp", "*/whatsapp"),
            };
            let destinations = unpriced.join(", ");
            self.report(
                NAME,
                &format!(
                    "must give the price of {message} to {destinations}, or to `{any}`, as a budget is in USD."
                ),
            );
        }
    }

    /// The budgets of single countries. Those under `None` apply to each of the other countries.
    fn country_limits(&mut self) -> BTreeMap<Option<Country>, Vec<Budget>> {
        const NAME: &str = "COUNTRY_LIMITS";
        let mut limits = BTreeMap::new();
        for entry in self.raw(NAME).iter().flat_map(|list| list.split(';')) {
            match read_country_limit(entry.trim()) {
                Ok((country, budgets)) => {
                    if limits.insert(country, budgets).is_some() {
                        let name = name_of(country);
                        self.report(NAME, &format!("names {name} twice."));
                        break;
                    }
                }
                Err(what) => {
                    self.report(NAME, &what);
                    break;
                }
            }
        }
        limits
    }

    fn test_numbers(&mut self, codes: &CodeShape) -> Vec<TestNumber> {
        const NAME: &str = "TEST_NUMBERS";
        let mut numbers: Vec<TestNumber> = Vec::new();
        let list = self.raw(NAME);
        let prefixes = self.raw("EXTRA_PREFIXES");
        let prefixes = prefixes.and_then(|text| ExtraPrefixes::parse(&text).ok());
        let prefixes = prefixes.unwrap_or_default();
        for (index, entry) in list.iter().flat_map(|list| list.split(',')).enumerate() {
            // A problem names the place of its entry, because the content of the entry must not get into the log.
            let place = index + 1;
            match read_test_number(entry.trim(), codes, &prefixes) {
                Ok(number) if numbers.iter().any(|known| known.number == number.number) => {
                    self.report(NAME, &format!("has a number twice, at entry {place}."));
                    break;
                }
                Ok(number) => numbers.push(number),
                Err(why) => {
                    let what = "must be `NUMBER=CODE@DATE`, separated by commas, such as `+…=…@2027-01-31`";
                    self.report(NAME, &format!("{what}: at entry {place}, {why}."));
                    break;
                }
            }
        }
        numbers
    }
}

/// Reads `JM=20/1h,100USD/24h` or `*=500/24h`. The error continues a sentence that begins with the name of the setting.
fn read_country_limit(entry: &str) -> Result<(Option<Country>, Vec<Budget>), String> {
    let malformed = || {
        format!(
            "must be `COUNTRY=BUDGETS`, separated by `;`, such as `JM=20/1h;*=500/24h`: see `{entry}`."
        )
    };
    let (name, budgets) = entry.split_once('=').ok_or_else(malformed)?;
    let country = match name.trim() {
        "*" => None,
        name => Some(name.parse().map_err(|_| malformed())?),
    };
    let budgets = Budget::parse_list(budgets.trim())
        .map_err(|why| format!("has no budgets for {}: {why}.", name_of(country)))?;
    Ok((country, budgets))
}

fn name_of(country: Option<Country>) -> String {
    country.map_or_else(|| "*".to_owned(), |country| country.to_string())
}

/// The countries that have a budget in money, but no price for this channel.
fn unpriced(budgets: &Budgets, countries: &AllowedCountries, channel: Channel) -> Vec<String> {
    let in_money = |own: &[Budget]| {
        budgets
            .all
            .iter()
            .chain(own)
            .any(|budget| budget.unit == Unit::MicroDollars)
    };
    let is_unpriced = |country: &&Country| {
        let own = budgets
            .by_country
            .get(country)
            .unwrap_or(&budgets.other_countries);
        in_money(own) && budgets.prices.of(**country, channel).is_none()
    };
    match countries {
        AllowedCountries::Only(countries) => countries
            .iter()
            .filter(is_unpriced)
            .map(Country::to_string)
            .collect(),
        AllowedCountries::Any
            if in_money(&budgets.other_countries) && !budgets.prices.has_any(channel) =>
        {
            vec!["every country".to_owned()]
        }
        AllowedCountries::Any => budgets
            .by_country
            .keys()
            .filter(is_unpriced)
            .map(Country::to_string)
            .collect(),
    }
}

/// Reads `+14255550100=123456@2027-01-31`. The error repeats nothing of the text.
fn read_test_number(
    text: &str,
    codes: &CodeShape,
    prefixes: &ExtraPrefixes,
) -> Result<TestNumber, String> {
    let parts = text
        .split_once('=')
        .and_then(|(number, rest)| Some((number, rest.split_once('@')?)));
    let (number, (otp, date)) = parts.ok_or("a part is missing")?;
    let number = prefixes
        .read(number.trim())
        .map_err(|error| error.to_string())?;
    let otp = Otp::parse(otp.trim(), codes).map_err(|_| format!("the code must have {codes}"))?;
    let until = end_of_day(date.trim()).ok_or("the date must be a day such as 2027-01-31")?;
    Ok(TestNumber { number, otp, until })
}

/// The end of a day such as `2027-01-31`: midnight UTC.
fn end_of_day(text: &str) -> Option<Millis> {
    const DAY: i64 = 86_400;
    let mut parts = text.split('-');
    let mut part = |length| {
        let part = parts
            .next()
            .filter(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_digit()))?;
        part.parse::<u16>().ok()
    };
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    if parts.next().is_some() {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year.into(), month, u8::try_from(day).ok()?).ok()?;
    let seconds = date.midnight().assume_utc().unix_timestamp() + DAY;
    Some(Millis(u64::try_from(seconds).ok()? * 1000))
}
