//! The settings of the ledger: where it is, and what it limits.

use super::{Reader, Reported};
use crate::aws::dynamodb::DynamoDb;
use crate::aws::{Account, SharedHttpClient, secrets};
use crate::ledger::Hasher;
use crate::otp::{CodeShape, Otp};
use crate::phone::{Country, PhoneNumber};
use crate::policy::{AllowedCountries, Budget, Budgets, Prices, Rate, SendLimits, Unit};
use crate::provider::{Channel, ProviderLimits};
use crate::service::{LedgerPolicy, Limits, TestNumber};
use crate::time::Millis;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use time::{Date, Month};

/// Where the ledger is, and what it limits.
pub struct LedgerSettings {
    /// The DynamoDB table.
    pub table: String,
    /// What the names of its items are hashed with.
    pub secret: LedgerSecret,
    /// An endpoint in place of DynamoDB's.
    pub endpoint: Option<String>,
    /// An endpoint in place of Secrets Manager's.
    pub secrets_endpoint: Option<String>,
    /// What it limits.
    pub policy: LedgerPolicy,
}

impl LedgerSettings {
    /// The limits, kept in the table of `account`, reached through `http_client`.
    ///
    /// # Errors
    ///
    /// A sentence for the operator: the secret cannot be read.
    pub async fn connect(
        self,
        account: &Account,
        http_client: SharedHttpClient,
    ) -> Result<Limits, String> {
        let secret = match self.secret {
            LedgerSecret::Arn(arn) => {
                secrets::ledger_secret(account, &arn, self.secrets_endpoint, http_client.clone())
                    .await?
            }
            LedgerSecret::Bytes(bytes) => bytes,
        };
        let store = DynamoDb::new(account, self.table, self.endpoint, http_client);
        Ok(Limits::new(
            Box::new(store),
            Hasher::from_secret(&secret),
            self.policy,
        ))
    }
}

/// What the names of the ledger's items are hashed with. It has no `Debug`.
pub enum LedgerSecret {
    /// The text of this secret in Secrets Manager.
    Arn(String),
    /// These 32 bytes, for a ledger outside AWS.
    Bytes(Vec<u8>),
}

/// What means nothing without a ledger. Set without one it would be ignored, and somebody would believe in limits that
/// are not there.
const ONLY_WITH_A_LEDGER: &[&str] = &[
    "LEDGER_KEY",
    "SEND_LIMITS",
    "PREFIX_LIMITS",
    "SOURCE_LIMITS",
    "COUNTRY_LIMITS",
    "BUDGETS",
    "TEST_NUMBERS",
    "COGNITO_FLOOR_MS",
    "COGNITO_STEP_UP",
    "COGNITO_UNVERIFIED_PHONE",
    "COGNITO_PRE_SIGN_UP",
    "COGNITO_LANGUAGE_ATTRIBUTE",
];

impl Reader<'_> {
    /// The ledger, if there is to be one. `countries` are those that are served, if that could be read.
    pub(super) fn ledger(
        &mut self,
        countries: Option<&AllowedCountries>,
        limits: &ProviderLimits,
        codes: &CodeShape,
        prices: Option<Prices>,
    ) -> Result<Option<LedgerSettings>, Reported> {
        if self.raw("LEDGER_TABLE").is_none() {
            let ignored: Vec<_> = ONLY_WITH_A_LEDGER
                .iter()
                .filter(|name| self.raw(name).is_some())
                .collect();
            for name in ignored {
                self.report(name, "needs the ledger: set LEDGER_TABLE, or unset it.");
            }
            if prices.is_some() {
                self.report(
                    "CONFIG_FILE",
                    "has `prices`, which need the ledger: set LEDGER_TABLE, or leave them out.",
                );
            }
            return Ok(None);
        }
        let table = self.matching(
            "LEDGER_TABLE",
            3..=255,
            |c| c.is_ascii_alphanumeric() || "_-.".contains(c),
            "must be the name of a DynamoDB table: 3 to 255 letters, digits, underscores, dashes and dots.",
        );
        let secret = self.ledger_secret();
        let endpoint = self.endpoint("AWS_ENDPOINT_URL_DYNAMODB");
        let secrets_endpoint = self.endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER");
        let policy = self.ledger_policy(countries, limits, codes, prices.unwrap_or_default());
        Ok(Some(LedgerSettings {
            table: table?,
            secret: secret?,
            endpoint: endpoint?,
            secrets_endpoint: secrets_endpoint?,
            policy: policy?,
        }))
    }

    fn ledger_secret(&mut self) -> Result<LedgerSecret, Reported> {
        const NAME: &str = "LEDGER_KEY";
        let Some(key) = self.raw(NAME) else {
            return self.problem(NAME, "must be set, as LEDGER_TABLE is.");
        };
        if key.starts_with("arn:") && key.contains(":secretsmanager:") {
            return Ok(LedgerSecret::Arn(key));
        }
        match STANDARD.decode(&key) {
            Ok(bytes) if bytes.len() == 32 => Ok(LedgerSecret::Bytes(bytes)),
            _ => self.problem(
                NAME,
                "must be the ARN of a secret in Secrets Manager, or 32 bytes in base64.",
            ),
        }
    }

    fn ledger_policy(
        &mut self,
        countries: Option<&AllowedCountries>,
        limits: &ProviderLimits,
        codes: &CodeShape,
        prices: Prices,
    ) -> Result<LedgerPolicy, Reported> {
        const RATES: &str = "must be counts and windows such as `10/10m,50/24h`";
        let send_limits = self.parsed("SEND_LIMITS", RATES, SendLimits::parse);
        let prefix_limits = self.parsed("PREFIX_LIMITS", RATES, Rate::parse_list);
        let source_limits = self.parsed("SOURCE_LIMITS", RATES, Rate::parse_list);
        let budgets = self.budgets(countries, limits, prices);
        let test_numbers = self.test_numbers(codes);
        Ok(LedgerPolicy {
            send_limits: send_limits?,
            prefix_limits: prefix_limits?,
            source_limits: source_limits?,
            budgets: budgets?,
            test_numbers: test_numbers?,
        })
    }

    fn budgets(
        &mut self,
        countries: Option<&AllowedCountries>,
        limits: &ProviderLimits,
        prices: Prices,
    ) -> Result<Budgets, Reported> {
        let all = self.parsed(
            "BUDGETS",
            "must be budgets such as `500/1h,2000/24h` or `100USD/24h`",
            Budget::parse_list,
        );
        let by_country = self.country_limits();
        let mut by_country = by_country?;
        let other_countries = by_country.remove(&None).unwrap_or_default();
        let by_country = by_country
            .into_iter()
            .filter_map(|(country, own)| Some((country?, own)))
            .collect();
        let budgets = Budgets {
            all: all?,
            by_country,
            other_countries,
            prices,
        };

        // A message without a price would be refused by a budget in money, whatever is left of it.
        let mut missing = false;
        for channel in limits.channels.iter().map(|own| own.channel) {
            let unpriced = countries
                .map(|countries| unpriced(&budgets, countries, channel))
                .unwrap_or_default();
            if unpriced.is_empty() {
                continue;
            }
            let (message, any) = match channel {
                Channel::Sms => ("a text", "*"),
                Channel::Voice => ("a call", "*/voice"),
                Channel::WhatsApp => ("a message by WhatsApp", "*/whatsapp"),
            };
            let what = format!(
                "must give the price of {message} to {}, or to `{any}`, as a budget is in USD.",
                unpriced.join(", ")
            );
            self.report("CONFIG_FILE", &what);
            missing = true;
        }
        if missing { Err(Reported) } else { Ok(budgets) }
    }

    /// The budgets of single countries, and under `None` those of each other one.
    fn country_limits(&mut self) -> Result<BTreeMap<Option<Country>, Vec<Budget>>, Reported> {
        const NAME: &str = "COUNTRY_LIMITS";
        let mut limits = BTreeMap::new();
        let Some(list) = self.raw(NAME) else {
            return Ok(limits);
        };
        for entry in list.split(';').map(str::trim) {
            let country = |text: &str| {
                if text == "*" {
                    Some(None)
                } else {
                    text.parse().ok().map(Some)
                }
            };
            let parsed = entry
                .split_once('=')
                .and_then(|(name, budgets)| Some((country(name.trim())?, budgets.trim())));
            let Some((country, budgets)) = parsed else {
                let what = format!(
                    "must be `COUNTRY=BUDGETS`, separated by `;`, such as `JM=20/1h;*=500/24h`: see `{entry}`."
                );
                return self.problem(NAME, &what);
            };
            let name =
                country.map_or_else(|| "*".to_owned(), |country: Country| country.to_string());
            let budgets = match Budget::parse_list(budgets) {
                Ok(budgets) => budgets,
                Err(why) => {
                    return self.problem(NAME, &format!("has no budgets for {name}: {why}."));
                }
            };
            if limits.insert(country, budgets).is_some() {
                return self.problem(NAME, &format!("names {name} twice."));
            }
        }
        Ok(limits)
    }

    fn test_numbers(&mut self, codes: &CodeShape) -> Result<Vec<TestNumber>, Reported> {
        const NAME: &str = "TEST_NUMBERS";
        let mut numbers: Vec<TestNumber> = Vec::new();
        let list = self.raw(NAME);
        for (index, entry) in list.iter().flat_map(|list| list.split(',')).enumerate() {
            // Which one it is by its place: what is in it is not for the log.
            let place = index + 1;
            match test_number(entry.trim(), codes) {
                Ok(number) if numbers.iter().any(|known| known.number == number.number) => {
                    return self.problem(NAME, &format!("has a number twice, at entry {place}."));
                }
                Ok(number) => numbers.push(number),
                Err(why) => {
                    let what = "must be `NUMBER=CODE@DATE`, separated by commas, such as `+…=…@2027-01-31`";
                    return self.problem(NAME, &format!("{what}: at entry {place}, {why}."));
                }
            }
        }
        Ok(numbers)
    }

    fn parsed<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Reported> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Ok(value),
            Err(why) => self.problem(name, &format!("{expected}: {why}.")),
        }
    }
}

/// The countries that have a budget in money and no price, `*` for those without a name of their own.
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

/// Reads `+14255550100=123456@2027-01-31`. What is wrong is said without anything of the text.
fn test_number(text: &str, codes: &CodeShape) -> Result<TestNumber, String> {
    let parts = text
        .split_once('=')
        .and_then(|(number, rest)| Some((number, rest.split_once('@')?)));
    let (number, (otp, date)) = parts.ok_or("a part is missing")?;
    let number = PhoneNumber::parse(number.trim()).map_err(|error| error.to_string())?;
    let otp = Otp::parse(otp.trim(), codes).map_err(|_| format!("the code has not {codes}"))?;
    let until = end_of_day(date.trim()).ok_or("the date is no day such as 2027-01-31")?;
    Ok(TestNumber { number, otp, until })
}

/// The midnight, by UTC, at the end of a day such as `2027-01-31`.
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
