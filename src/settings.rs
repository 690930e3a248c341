//! The settings: environment variables, checked once at start and turned into types that need no further checks.

mod file;
mod guess_risk;
mod ledger;
mod metrics;
mod notify;
mod provider;
mod reader;
mod rules;
mod sdk;

pub use ledger::{LedgerSecret, LedgerSettings};
pub use provider::{OneProvider, ProviderSettings};

use crate::cognito::{self, ShownNumber, StepUp};
use crate::delivery;
use crate::http::{self, Gate, TrustedPrincipals};
use crate::service::{ReferenceIds, Rules};
use crate::telemetry::Metrics;
use reader::Reader;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// The operator's decisions, read once at start.
pub struct Settings {
    /// The rules for every send and verify.
    pub rules: Rules,
    /// The callers that the HTTP routes let in, and how far they are trusted.
    pub http: http::Policy,
    pub provider: ProviderSettings,
    /// `None` without a ledger. The service then relies on the provider's response alone.
    pub ledger: Option<LedgerSettings>,
    pub sign_in: cognito::Policy,
    /// `None` if the function takes no delivery events.
    pub deliveries: Option<delivery::Source>,
    /// Whether an operator's command needs its own alias.
    pub operator_aliases: bool,
    /// The certificates to trust in place of Amazon's, as PEM. Some partitions and proxies need them.
    pub ca_bundle: Option<Vec<u8>>,
    pub log_level: LevelFilter,
    /// `None` for no metrics.
    pub metrics: Option<Metrics>,
}

/// One line of the settings table.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    pub otherwise: Otherwise,
}

/// The meaning of an unset or empty variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// The function does not start.
    Required,
    /// The function works without it.
    Nothing,
    Default(&'static str),
}

/// Every setting of this version, in the order of docs/settings.md.
pub const SETTINGS: &[Setting] = &[
    default("OTP_PROVIDER", "pinpoint"),
    optional("OTP_PREVIOUS_PROVIDER"),
    optional("PINPOINT_APPLICATION_ID"),
    required("ORIGINATION_IDENTITY"),
    optional("ORIGINATION_IDENTITIES"),
    required("BRAND_NAME"),
    optional("BRAND_NAMES"),
    required("ALLOWED_COUNTRIES"),
    default(
        "ALLOWED_NUMBER_TYPES",
        "mobile,fixed-or-mobile,fixed,voip,unassigned",
    ),
    optional("EXTRA_PREFIXES"),
    default("SOURCE", "otp"),
    default("LANGUAGE", "en-US"),
    default("CODE_LENGTH", "6"),
    default("VALIDITY_PERIOD", "10"),
    default("ALLOWED_ATTEMPTS", "3"),
    optional("MIN_CODE_LENGTH"),
    optional("MAX_VALIDITY_PERIOD"),
    default("CODE_TYPE", "numeric"),
    default("CHANNELS", "sms"),
    optional("WHATSAPP_TEMPLATE"),
    optional("WHATSAPP_LANGUAGES"),
    default("DO_NOT_SHARE_LINE", "on"),
    optional("WEBOTP_DOMAIN"),
    optional("ANDROID_APP_HASH"),
    optional("CONFIGURATION_SET"),
    optional("DELIVERY_TOPIC"),
    default("MESSAGE_FEEDBACK", "off"),
    optional("DLT_ENTITY_ID"),
    optional("DLT_TEMPLATE_ID"),
    default("REFERENCE_ID", "derived"),
    default("API_AUTH", "iam"),
    optional("TRUSTED_PRINCIPALS"),
    optional("LEDGER_TABLE"),
    optional("LEDGER_KEY"),
    default("SEND_LIMITS", "1/30s,2/90s,3/10m,6/24h"),
    default("PREFIX_LIMITS", "50/1h"),
    default("SOURCE_LIMITS", "10/10m,50/24h"),
    default("SOURCE_NETWORK_LIMITS", "200/10m,2000/24h"),
    optional("COUNTRY_LIMITS"),
    default("BUDGETS", "500/1h,2000/24h"),
    optional("CONFIG_FILE"),
    optional("TEST_NUMBERS"),
    default("FOREIGN_CODES", "off"),
    default("SIGN_IN_SHARE", "0"),
    default("DEVICE_TOKEN_DAYS", "0"),
    optional("GUESS_RISK"),
    default("COGNITO_FLOOR_MS", "800"),
    default("COGNITO_SHOWN_NUMBER", "2"),
    default("COGNITO_STEP_UP", "off"),
    default("COGNITO_UNVERIFIED_PHONE", "refuse"),
    default("COGNITO_PRE_SIGN_UP", "off"),
    default("COGNITO_LANGUAGE_ATTRIBUTE", "locale"),
    default("OPERATOR_ALIASES", "off"),
    default("LOG_LEVEL", "info"),
    default("METRICS", "off"),
];

const fn required(name: &'static str) -> Setting {
    let otherwise = Otherwise::Required;
    Setting { name, otherwise }
}

const fn optional(name: &'static str) -> Setting {
    let otherwise = Otherwise::Nothing;
    Setting { name, otherwise }
}

const fn default(name: &'static str, value: &'static str) -> Setting {
    let otherwise = Otherwise::Default(value);
    Setting { name, otherwise }
}

/// Every problem with the settings. Each is a sentence that begins with the name of its setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl std::error::Error for Problems {}

/// Whether Lambda or an emulator of its runtime started this process.
#[must_use]
pub fn is_in_lambda() -> bool {
    environment("AWS_LAMBDA_RUNTIME_API").is_some()
}

/// How many invocations Lambda gives this process at once, at most. Only Lambda Managed Instances give more than one.
#[must_use]
pub fn invocations_at_once() -> u32 {
    environment("AWS_LAMBDA_MAX_CONCURRENCY")
        .and_then(|value| value.parse().ok())
        .unwrap_or(1)
}

/// Warns about variables that are set on many developers' machines and have no effect on this function.
pub fn warn_of_ignored_variables() {
    sdk::warn_of_profiles(&environment);
}

/// Whether the environment has the address of an endpoint for credentials in place of the credentials.
#[must_use]
pub fn has_credentials_endpoint() -> bool {
    sdk::gives_an_endpoint(&environment)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the environment is read"
)]
fn environment(name: &str) -> Option<String> {
    // A value that is not UTF-8 keeps a replacement character, which no setting allows.
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

impl Settings {
    /// Reads the settings from the environment of this process.
    ///
    /// # Errors
    ///
    /// All problems together, so that the operator can correct them after a single failed start.
    pub fn from_environment() -> Result<Self, Problems> {
        Self::read(&environment)
    }

    /// Reads the settings from `variable`, which returns the value of an environment variable.
    ///
    /// # Errors
    ///
    /// All problems together.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut reader = Reader::new(variable);
        let settings = reader.settings();
        reader.finish(settings)
    }
}

impl Reader<'_> {
    fn settings(&mut self) -> Settings {
        let file = self.config_file();
        let provider = self.provider(&file);
        let limits = provider.current.limits();
        let gate = self.gate();
        let mut rules = self.rules(&limits);
        if gate == Gate::Open {
            // Anyone who knows a number can compute its derived reference ID.
            rules.reference_ids = ReferenceIds::Random;
        }
        let trusted = self.trusted_principals(gate);
        let codes = provider.codes();
        let mut ledger = self.ledger(&rules.allowed_countries, &limits, &codes, file);
        self.check_sdk_variables();
        let sign_in = self.sign_in();
        let is_derived = rules.reference_ids == ReferenceIds::Derived;
        if sign_in.pre_sign_up && ledger.is_some() && is_derived {
            self.report(
                "COGNITO_PRE_SIGN_UP",
                "cannot be `on` while REFERENCE_ID is `derived`: whoever knows a number could sign up with the proof of its \
                 owner. Set REFERENCE_ID to `random`.",
            );
        }
        let log_level = self.log_level();
        let metrics = self.metrics(ledger.as_ref(), log_level);
        self.guess_chance(&rules, &limits, ledger.as_mut());
        Settings {
            rules,
            http: http::Policy { gate, trusted },
            provider,
            ledger,
            sign_in,
            deliveries: self.deliveries(),
            operator_aliases: self.choice("OPERATOR_ALIASES", ("off", false), [("on", true)]),
            ca_bundle: self.ca_bundle(),
            log_level,
            metrics,
        }
    }

    fn gate(&mut self) -> Gate {
        let gate = self.choice(
            "API_AUTH",
            ("iam", Gate::Iam),
            [
                // An authorizer of API Gateway checks the tokens. To the function, both values mean the same callers.
                ("jwt", Gate::Iam),
                ("trusted", Gate::Trusted),
                ("none", Gate::Open),
            ],
        );
        let (value, strangers) = match self.raw("API_AUTH").as_deref() {
            Some("none") => ("none", "which lets everyone in"),
            Some("jwt") => ("jwt", "which lets in everyone who can sign up"),
            _ => return gate,
        };
        if !self.is_set("LEDGER_TABLE") {
            self.report(
                "API_AUTH",
                &format!(
                    "cannot be `{value}` without the ledger, which keeps the limits: set LEDGER_TABLE."
                ),
            );
            return gate;
        }
        if self.raw("FOREIGN_CODES").as_deref() == Some("on") {
            self.report(
                "FOREIGN_CODES",
                &format!(
                    "cannot be `on` while API_AUTH is `{value}`: only backends may ask for such codes."
                ),
            );
        }
        // Where strangers may call, only limits keep them from spending the operator's money.
        for (name, unlimited) in [
            ("ALLOWED_COUNTRIES", "*"),
            ("PREFIX_LIMITS", "none"),
            ("SOURCE_LIMITS", "none"),
            ("SOURCE_NETWORK_LIMITS", "none"),
            ("BUDGETS", "none"),
        ] {
            if self.raw(name).as_deref() == Some(unlimited) {
                self.report(
                    name,
                    &format!("cannot be `{unlimited}` while API_AUTH is `{value}`, {strangers}."),
                );
            }
        }
        gate
    }

    fn trusted_principals(&mut self, gate: Gate) -> TrustedPrincipals {
        const NAME: &str = "TRUSTED_PRINCIPALS";
        let entries = self.entries(NAME, ',');
        if gate == Gate::Trusted && !entries.is_empty() {
            self.report(
                NAME,
                "has no effect while API_AUTH is `trusted`, which trusts every caller: unset it, and remove \
                 `trustedPrincipals` from CONFIG_FILE.",
            );
        }
        TrustedPrincipals::parse(entries.iter().map(String::as_str)).unwrap_or_else(|place| {
            // The entry is not quoted, because a subject can identify a person.
            self.report(
                NAME,
                &format!(
                    "and `trustedPrincipals` in CONFIG_FILE must have entries such as \
                     `arn:aws:iam::123456789012:role/app`, `sub=SUBJECT@https://ISSUER`, `client=ID@https://ISSUER` or \
                     `sub=PRINCIPAL`, in the variable separated by commas: see entry {place}."
                ),
            );
            TrustedPrincipals::default()
        })
    }

    fn sign_in(&mut self) -> cognito::Policy {
        cognito::Policy {
            floor: self.parsed("COGNITO_FLOOR_MS", Duration::ZERO, |text| {
                // Cognito waits five seconds for a trigger.
                let floor = text.parse().ok().filter(|floor| *floor <= 3000);
                floor
                    .map(Duration::from_millis)
                    .ok_or_else(|| "must be milliseconds from 0 to 3000.".to_owned())
            }),
            shown_number: self.parsed("COGNITO_SHOWN_NUMBER", ShownNumber::default(), |text| {
                ShownNumber::parse(text).ok_or_else(|| {
                    "must be the count of last digits, 0 to 4, such as `2`; with a `+` before it, the calling code is shown too."
                        .to_owned()
                })
            }),
            step_up: self.choice(
                "COGNITO_STEP_UP",
                ("off", StepUp::Off),
                [("required", StepUp::Required)],
            ),
            unverified_numbers: self.choice(
                "COGNITO_UNVERIFIED_PHONE",
                ("refuse", false),
                [("allow", true)],
            ),
            pre_sign_up: self.choice("COGNITO_PRE_SIGN_UP", ("off", false), [("on", true)]),
            language_attribute: self.characters(
                "COGNITO_LANGUAGE_ATTRIBUTE",
                1..=64,
                |c| c.is_ascii_graphic(),
                "must be the name of a user attribute, such as `locale` or `custom:language`.",
            ),
        }
    }

    fn log_level(&mut self) -> LevelFilter {
        self.parsed("LOG_LEVEL", LevelFilter::INFO, |text| {
            match text.to_ascii_lowercase().as_str() {
                "error" => Ok(LevelFilter::ERROR),
                "warn" => Ok(LevelFilter::WARN),
                "info" => Ok(LevelFilter::INFO),
                "debug" => Ok(LevelFilter::DEBUG),
                "trace" => Ok(LevelFilter::TRACE),
                _ => Err("must be error, warn, info, debug or trace.".to_owned()),
            }
        })
    }
}
