//! The settings: from the environment to types that cannot be half right.

mod file;
mod ledger;
mod provider;

pub use ledger::{LedgerSecret, LedgerSettings};
pub use provider::{OneProvider, ProviderSettings};

use crate::aws::{Account, Credentials};
use crate::cognito::{self, StepUp};
use crate::http::{Gate, SOURCE_LIMIT};
use crate::language::{self, Tag};
use crate::policy::AllowedCountries;
use crate::provider::{Channel, Dlt, ProviderLimits};
use crate::service::{Defaults, Origination, OriginationFor, ReferenceIds, Rules};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// Everything that an operator decides, read once at start.
pub struct Settings {
    /// What holds for every send and verify.
    pub rules: Rules,
    /// Whom the HTTP routes let in.
    pub gate: Gate,
    /// Who makes and checks the codes, with what only they need.
    pub provider: ProviderSettings,
    /// What remembers verifications, guesses and limits; nothing if the provider's word is all there is.
    pub ledger: Option<LedgerSettings>,
    /// What holds for signing in with Cognito.
    pub sign_in: cognito::Policy,
    /// Where AWS is and who this function is to it.
    pub account: Account,
    /// How talkative the log is.
    pub log_level: LevelFilter,
}

/// One line of the settings table.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What an unset or empty variable means.
    pub otherwise: Otherwise,
}

/// What an unset or empty variable means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// The function does not start.
    Required,
    /// The function does without.
    Nothing,
    /// This value.
    Default(&'static str),
}

use Otherwise::{Default as Or, Nothing, Required};

/// Every setting that this version reads, in the order of docs/settings.md.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "OTP_PROVIDER",
        otherwise: Or("pinpoint"),
    },
    Setting {
        name: "OTP_PREVIOUS_PROVIDER",
        otherwise: Nothing,
    },
    Setting {
        name: "PINPOINT_APPLICATION_ID",
        otherwise: Nothing,
    },
    Setting {
        name: "ORIGINATION_IDENTITY",
        otherwise: Required,
    },
    Setting {
        name: "ORIGINATION_IDENTITIES",
        otherwise: Nothing,
    },
    Setting {
        name: "BRAND_NAME",
        otherwise: Required,
    },
    Setting {
        name: "ALLOWED_COUNTRIES",
        otherwise: Required,
    },
    Setting {
        name: "SOURCE",
        otherwise: Or("otp"),
    },
    Setting {
        name: "LANGUAGE",
        otherwise: Or("en-US"),
    },
    Setting {
        name: "CODE_LENGTH",
        otherwise: Or("6"),
    },
    Setting {
        name: "VALIDITY_PERIOD",
        otherwise: Or("10"),
    },
    Setting {
        name: "ALLOWED_ATTEMPTS",
        otherwise: Or("3"),
    },
    Setting {
        name: "CODE_TYPE",
        otherwise: Or("numeric"),
    },
    Setting {
        name: "CHANNELS",
        otherwise: Or("sms"),
    },
    Setting {
        name: "WHATSAPP_TEMPLATE",
        otherwise: Nothing,
    },
    Setting {
        name: "WHATSAPP_LANGUAGES",
        otherwise: Nothing,
    },
    Setting {
        name: "DO_NOT_SHARE_LINE",
        otherwise: Or("on"),
    },
    Setting {
        name: "WEBOTP_DOMAIN",
        otherwise: Nothing,
    },
    Setting {
        name: "ANDROID_APP_HASH",
        otherwise: Nothing,
    },
    Setting {
        name: "CONFIGURATION_SET",
        otherwise: Nothing,
    },
    Setting {
        name: "MESSAGE_FEEDBACK",
        otherwise: Or("off"),
    },
    Setting {
        name: "DLT_ENTITY_ID",
        otherwise: Nothing,
    },
    Setting {
        name: "DLT_TEMPLATE_ID",
        otherwise: Nothing,
    },
    Setting {
        name: "REFERENCE_ID",
        otherwise: Or("derived"),
    },
    Setting {
        name: "API_AUTH",
        otherwise: Or("iam"),
    },
    Setting {
        name: "LEDGER_TABLE",
        otherwise: Nothing,
    },
    Setting {
        name: "LEDGER_KEY",
        otherwise: Nothing,
    },
    Setting {
        name: "SEND_LIMITS",
        otherwise: Or("1/30s,2/90s,3/10m,6/24h"),
    },
    Setting {
        name: "PREFIX_LIMITS",
        otherwise: Or("50/1h"),
    },
    Setting {
        name: "SOURCE_LIMITS",
        otherwise: Or("10/10m,50/24h"),
    },
    Setting {
        name: "COUNTRY_LIMITS",
        otherwise: Nothing,
    },
    Setting {
        name: "BUDGETS",
        otherwise: Or("500/1h,2000/24h"),
    },
    Setting {
        name: "CONFIG_FILE",
        otherwise: Nothing,
    },
    Setting {
        name: "TEST_NUMBERS",
        otherwise: Nothing,
    },
    Setting {
        name: "COGNITO_FLOOR_MS",
        otherwise: Or("800"),
    },
    Setting {
        name: "COGNITO_STEP_UP",
        otherwise: Or("off"),
    },
    Setting {
        name: "COGNITO_UNVERIFIED_PHONE",
        otherwise: Or("refuse"),
    },
    Setting {
        name: "COGNITO_PRE_SIGN_UP",
        otherwise: Or("off"),
    },
    Setting {
        name: "COGNITO_LANGUAGE_ATTRIBUTE",
        otherwise: Or("locale"),
    },
    Setting {
        name: "LOG_LEVEL",
        otherwise: Or("info"),
    },
];

/// What is wrong with the settings: every problem, each by the name of its setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl std::error::Error for Problems {}

/// Whether this process was started by Lambda or an emulator of its runtime.
#[must_use]
pub fn is_in_lambda() -> bool {
    environment("AWS_LAMBDA_RUNTIME_API").is_some()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the environment is read"
)]
fn environment(name: &str) -> Option<String> {
    // What is not UTF-8 is kept as something that no setting allows.
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

impl Settings {
    /// Reads the settings from the environment of this process.
    ///
    /// # Errors
    ///
    /// Every problem at once.
    pub fn from_environment() -> Result<Self, Problems> {
        Self::read(&environment)
    }

    /// Reads the settings from `variable`, which gives the value of an environment variable.
    ///
    /// # Errors
    ///
    /// Every problem at once.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut reader = Reader {
            variable,
            problems: Vec::new(),
        };
        let settings = reader.settings();
        match settings {
            Ok(settings) if reader.problems.is_empty() => Ok(settings),
            _ => Err(Problems(reader.problems)),
        }
    }
}

/// There is a problem, and it is written down.
struct Reported;

/// Reads variables and collects what is wrong with them.
struct Reader<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn settings(&mut self) -> Result<Settings, Reported> {
        // Every part is read before any is missed, so that all problems are found in one start.
        let file = self.config_file();
        let file_is_good = file.is_ok();
        let mut file = file.unwrap_or_default();
        let prices = file.take_prices();
        let provider = self.provider(file.take_texts());
        let (limits, codes) = if let Ok(provider) = &provider {
            (provider.current.limits(), provider.codes())
        } else {
            let limits = provider::limits_of(&self.text("OTP_PROVIDER")?);
            let codes = limits.code.clone();
            (limits, codes)
        };
        let mut rules = self.rules(&limits);
        let countries = rules
            .as_ref()
            .ok()
            .map(|rules| &rules.allowed_countries)
            .filter(|_| file_is_good);
        let ledger = self.ledger(countries, &limits, &codes, prices);
        let gate = self.gate();
        if let (Ok(Gate::Open), Ok(rules)) = (&gate, &mut rules) {
            // A derived reference is known to everybody who knows the number.
            rules.reference_ids = ReferenceIds::Random;
        }
        let sign_in = self.sign_in();
        let account = self.account();
        let log_level = self.log_level();
        Ok(Settings {
            rules: rules?,
            gate: gate?,
            provider: provider?,
            ledger: ledger?,
            sign_in: sign_in?,
            account: account?,
            log_level: log_level?,
        })
    }

    /// An endpoint in place of AWS's, by the SDKs' own variables.
    fn endpoint(&mut self, own: &'static str) -> Result<Option<String>, Reported> {
        for name in [own, "AWS_ENDPOINT_URL"] {
            let Some(url) = self.raw(name) else { continue };
            if url.starts_with("https://") || url.starts_with("http://") {
                return Ok(Some(url));
            }
            return self.problem(name, "must be an http:// or https:// URL.");
        }
        Ok(None)
    }

    fn rules(&mut self, limits: &ProviderLimits) -> Result<Rules, Reported> {
        let allowed_countries = self.allowed_countries();
        let reference_ids = self.reference_ids();
        let defaults = self.defaults(limits);
        let origination = self.origination();
        let dlt = self.dlt();
        Ok(Rules {
            allowed_countries: allowed_countries?,
            reference_ids: reference_ids?,
            defaults: defaults?,
            origination: origination?,
            dlt: dlt?,
        })
    }

    fn allowed_countries(&mut self) -> Result<AllowedCountries, Reported> {
        const NAME: &str = "ALLOWED_COUNTRIES";
        match AllowedCountries::parse(&self.text(NAME)?) {
            Ok(countries) => Ok(countries),
            Err(why) => self.problem(
                NAME,
                &format!("must be country codes such as `US,CA`, or `*`: {why}."),
            ),
        }
    }

    fn reference_ids(&mut self) -> Result<ReferenceIds, Reported> {
        match self.text("REFERENCE_ID")?.as_str() {
            "derived" => Ok(ReferenceIds::Derived),
            "random" => Ok(ReferenceIds::Random),
            _ => self.problem("REFERENCE_ID", "must be `derived` or `random`."),
        }
    }

    fn defaults(&mut self, limits: &ProviderLimits) -> Result<Defaults, Reported> {
        let brand = limits.brand_name.clone();
        let brand_name = self.matching(
            "BRAND_NAME",
            usize::from(*brand.start())..=usize::from(*brand.end()),
            |c| !c.is_control(),
            &format!("must have {} to {} characters.", brand.start(), brand.end()),
        );
        let source = self.matching(
            "SOURCE",
            0..=SOURCE_LIMIT,
            |_| true,
            &format!("must have at most {SOURCE_LIMIT} characters."),
        );
        let language = self.language(limits);
        let code_length = self.number("CODE_LENGTH", &limits.code.length);
        let validity_minutes = self.number("VALIDITY_PERIOD", &limits.validity_minutes);
        let allowed_attempts = self.number("ALLOWED_ATTEMPTS", &limits.allowed_attempts);
        Ok(Defaults {
            brand_name: brand_name?,
            source: source?,
            language: language?,
            code_length: code_length?,
            validity_minutes: validity_minutes?,
            allowed_attempts: allowed_attempts?,
        })
    }

    fn language(&mut self, limits: &ProviderLimits) -> Result<Tag, Reported> {
        let given = self.text("LANGUAGE")?;
        if given == language::BY_COUNTRY {
            return Ok(language::BY_COUNTRY.into());
        }
        let languages = limits.languages(limits.usual_channel());
        let known = if limits.any_language {
            language::closest(&given, languages.iter())
        } else {
            languages.iter().find(|language| ***language == *given)
        };
        match known {
            Some(language) => Ok(language.clone()),
            None => self.problem(
                "LANGUAGE",
                &format!("must be `country`, or one of {}.", languages.join(", ")),
            ),
        }
    }

    fn origination(&mut self) -> Result<Origination, Reported> {
        const EACH: &str = "ORIGINATION_IDENTITIES";
        let default = self.matching(
            "ORIGINATION_IDENTITY",
            1..=256,
            is_of_identity,
            "must be a phone number, a sender ID, a pool ID or an ARN.",
        );
        let mut others = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in self.raw(EACH).iter().flat_map(|list| list.split(',')) {
            let parsed = entry.trim().split_once('=').and_then(|(place, identity)| {
                let (place, identity) = (place.trim(), identity.trim());
                let fits =
                    (1..=256).contains(&identity.len()) && identity.chars().all(is_of_identity);
                let (country, channel) = match (place.split_once('/'), Channel::named(place)) {
                    (Some((country, channel)), _) => {
                        (Some(country.parse().ok()?), Some(Channel::named(channel)?))
                    }
                    (None, Some(channel)) => (None, Some(channel)),
                    (None, None) => (Some(place.parse().ok()?), None),
                };
                fits.then(|| {
                    (
                        place.to_owned(),
                        OriginationFor {
                            country,
                            channel,
                            identity: identity.to_owned(),
                        },
                    )
                })
            });
            match parsed {
                Some((place, origination)) if seen.insert(place.clone()) => {
                    others.push(origination);
                }
                Some((place, _)) => return self.problem(EACH, &format!("names {place} twice.")),
                None => {
                    let what = "must be `COUNTRY=IDENTITY`, `CHANNEL=IDENTITY` or `COUNTRY/CHANNEL=IDENTITY`, separated \
                                by commas, such as `IN=BRANDX,voice=+12065550101`.";
                    return self.problem(EACH, what);
                }
            }
        }
        Ok(Origination {
            default: default?,
            others,
        })
    }

    /// The registration for India: both parts or none.
    fn dlt(&mut self) -> Result<Option<Dlt>, Reported> {
        const WHAT: &str = "must be the ID from the DLT registration: 1 to 50 letters, digits, dashes and underscores.";
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        match (
            self.raw("DLT_ENTITY_ID").is_some(),
            self.raw("DLT_TEMPLATE_ID").is_some(),
        ) {
            (false, false) => Ok(None),
            (true, true) => {
                let entity_id = self.matching("DLT_ENTITY_ID", 1..=50, allowed, WHAT);
                let template_id = self.matching("DLT_TEMPLATE_ID", 1..=50, allowed, WHAT);
                Ok(Some(Dlt {
                    entity_id: entity_id?,
                    template_id: template_id?,
                }))
            }
            (true, false) => self.problem("DLT_TEMPLATE_ID", "must be set, as DLT_ENTITY_ID is."),
            (false, true) => self.problem("DLT_ENTITY_ID", "must be set, as DLT_TEMPLATE_ID is."),
        }
    }

    fn gate(&mut self) -> Result<Gate, Reported> {
        match self.text("API_AUTH")?.as_str() {
            "iam" => Ok(Gate::Iam),
            "trusted" => Ok(Gate::Trusted),
            "none" if self.raw("LEDGER_TABLE").is_none() => self.problem(
                "API_AUTH",
                "cannot be `none` without the ledger, which keeps the limits: set LEDGER_TABLE.",
            ),
            "none" => {
                // What keeps an open endpoint from spending the owner's money is not the caller's good will.
                self.must_not_be("ALLOWED_COUNTRIES", "*");
                self.must_not_be("PREFIX_LIMITS", "none");
                self.must_not_be("SOURCE_LIMITS", "none");
                self.must_not_be("BUDGETS", "none");
                Ok(Gate::Open)
            }
            _ => self.problem("API_AUTH", "must be `iam`, `trusted` or `none`."),
        }
    }

    fn must_not_be(&mut self, name: &str, unlimited: &str) {
        if self.raw(name).as_deref() == Some(unlimited) {
            self.report(
                name,
                &format!(
                    "cannot be `{unlimited}` while API_AUTH is `none`, which lets everybody in."
                ),
            );
        }
    }

    fn sign_in(&mut self) -> Result<cognito::Policy, Reported> {
        let floor = self.text("COGNITO_FLOOR_MS")?;
        // Cognito waits for five seconds.
        let floor = match floor.parse().ok().filter(|floor| *floor <= 3000) {
            Some(floor) => Ok(Duration::from_millis(floor)),
            None => self.problem("COGNITO_FLOOR_MS", "must be milliseconds from 0 to 3000."),
        };
        let step_up = self.either("COGNITO_STEP_UP", "off", "required");
        let unverified_numbers = self.either("COGNITO_UNVERIFIED_PHONE", "refuse", "allow");
        let pre_sign_up = self.either("COGNITO_PRE_SIGN_UP", "off", "on");
        let language_attribute = self.matching(
            "COGNITO_LANGUAGE_ATTRIBUTE",
            1..=64,
            |c| c.is_ascii_graphic(),
            "must be the name of a user attribute, such as `locale` or `custom:language`.",
        );
        Ok(cognito::Policy {
            floor: floor?,
            step_up: if step_up? {
                StepUp::Required
            } else {
                StepUp::Off
            },
            unverified_numbers: unverified_numbers?,
            pre_sign_up: pre_sign_up?,
            language_attribute: language_attribute?,
        })
    }

    /// Whether the second of two words is given.
    fn either(&mut self, name: &'static str, no: &str, yes: &str) -> Result<bool, Reported> {
        match self.text(name)? {
            text if text == no => Ok(false),
            text if text == yes => Ok(true),
            _ => self.problem(name, &format!("must be `{no}` or `{yes}`.")),
        }
    }

    fn log_level(&mut self) -> Result<LevelFilter, Reported> {
        match self.text("LOG_LEVEL")?.to_ascii_lowercase().as_str() {
            "error" => Ok(LevelFilter::ERROR),
            "warn" => Ok(LevelFilter::WARN),
            "info" => Ok(LevelFilter::INFO),
            "debug" => Ok(LevelFilter::DEBUG),
            "trace" => Ok(LevelFilter::TRACE),
            _ => self.problem("LOG_LEVEL", "must be error, warn, info, debug or trace."),
        }
    }

    fn account(&mut self) -> Result<Account, Reported> {
        let region = self.set_by_lambda("AWS_REGION");
        let access_key_id = self.set_by_lambda("AWS_ACCESS_KEY_ID");
        let secret_access_key = self.set_by_lambda("AWS_SECRET_ACCESS_KEY");
        let session_token = self.raw("AWS_SESSION_TOKEN");
        let ca_bundle = self.ca_bundle();
        let fips = self.flag("AWS_USE_FIPS_ENDPOINT");
        let dual_stack = self.flag("AWS_USE_DUALSTACK_ENDPOINT");
        Ok(Account {
            region: region?,
            credentials: Credentials {
                access_key_id: access_key_id?,
                secret_access_key: secret_access_key?,
                session_token,
            },
            ca_bundle: ca_bundle?,
            fips: fips?,
            dual_stack: dual_stack?,
        })
    }

    fn set_by_lambda(&mut self, name: &'static str) -> Result<String, Reported> {
        match self.raw(name) {
            Some(value) => Ok(value),
            None => self.problem(
                name,
                "is not set. Lambda sets it; outside Lambda, set it yourself.",
            ),
        }
    }

    /// Other roots to trust, by the SDKs' own variable.
    fn ca_bundle(&mut self) -> Result<Option<Vec<u8>>, Reported> {
        const NAME: &str = "AWS_CA_BUNDLE";
        let Some(path) = self.raw(NAME) else {
            return Ok(None);
        };
        match std::fs::read(path) {
            Ok(bundle) if is_bundle(&bundle) => Ok(Some(bundle)),
            Ok(_) => self.problem(NAME, "must name a file of certificates in PEM."),
            Err(error) => self.problem(
                NAME,
                &format!("names a file that cannot be read ({}).", error.kind()),
            ),
        }
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, Reported> {
        match self
            .raw(name)
            .map(|value| value.to_ascii_lowercase())
            .as_deref()
        {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => self.problem(name, "must be true or false."),
        }
    }

    fn number(&mut self, name: &'static str, range: &RangeInclusive<u8>) -> Result<u8, Reported> {
        let text = self.text(name)?;
        match text.parse().ok().filter(|number| range.contains(number)) {
            Some(number) => Ok(number),
            None => self.problem(
                name,
                &format!(
                    "must be an integer from {} to {}.",
                    range.start(),
                    range.end()
                ),
            ),
        }
    }

    fn matching(
        &mut self,
        name: &'static str,
        length: RangeInclusive<usize>,
        allowed: impl Fn(char) -> bool,
        expected: &str,
    ) -> Result<String, Reported> {
        let text = self.text(name)?;
        if length.contains(&text.chars().count()) && text.chars().all(allowed) {
            Ok(text)
        } else {
            self.problem(name, expected)
        }
    }

    /// As `matching`, for what may be left out.
    #[cfg(feature = "end-user-messaging")]
    fn optional(
        &mut self,
        name: &'static str,
        length: RangeInclusive<usize>,
        allowed: impl Fn(char) -> bool,
        expected: &str,
    ) -> Result<Option<String>, Reported> {
        if self.raw(name).is_none() {
            Ok(None)
        } else {
            self.matching(name, length, allowed, expected).map(Some)
        }
    }

    /// A setting of the table, with its default.
    fn text(&mut self, name: &'static str) -> Result<String, Reported> {
        let otherwise = SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .map(|setting| setting.otherwise);
        match (self.raw(name), otherwise) {
            (Some(text), _) => Ok(text),
            (None, Some(Or(default))) => Ok(default.to_owned()),
            (None, Some(Required | Nothing) | None) => self.problem(name, "is required."),
        }
    }

    /// A variable, without blanks around it; an empty one counts as unset.
    fn raw(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn problem<T>(&mut self, name: &str, what: &str) -> Result<T, Reported> {
        self.report(name, what);
        Err(Reported)
    }

    /// Writes a problem down, once: what several parts need may be read several times.
    fn report(&mut self, name: &str, what: &str) {
        let problem = format!("{name} {what}");
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

fn is_of_identity(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+-_:/".contains(c)
}

fn is_bundle(bytes: &[u8]) -> bool {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    certificates.is_ok_and(|certificates| !certificates.is_empty())
}
