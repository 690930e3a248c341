//! Notify configurations, their templates, countries, tiers and quotas.
//!
//! AWS documents the fields, tiers, quotas and states, and the names of the reasons. AWS does not document which
//! exception `SendNotifyCodeVerification` raises for each reason, and what its text says. The simulator takes the
//! exception that has the reason in SMS Voice V2, and makes up the text. The list of countries of the advanced tier is
//! shorter than AWS's, and all templates but the first have IDs and texts of the simulator.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use otp_lambda::phone::PhoneNumber;

const DAY: Duration = Duration::from_hours(24);

/// A display name is reviewed for this long.
const REVIEW: Duration = Duration::from_secs(1);

/// The price of a message here, in cents. AWS's prices depend on the country.
const CENTS: u64 = 5;

pub(crate) const ARN: &str = "arn:aws:sms-voice:us-east-1:000000000000:notify-configuration/";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Basic,
    Advanced,
}

impl Tier {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Basic => "BASIC",
            Self::Advanced => "ADVANCED",
        }
    }

    fn a_second(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Advanced => 25,
        }
    }
}

/// The result of AWS's review of a display name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Review {
    Active,
    /// The review never ends.
    Pending,
    Rejected,
    RequiresVerification,
}

impl Review {
    /// A word in the display name decides, so that a person can see every result.
    fn of(display_name: &str) -> Self {
        let name = display_name.to_ascii_lowercase();
        let has = |word| name.contains(word);
        match () {
            () if has("pending") => Self::Pending,
            () if has("rejected") => Self::Rejected,
            () if has("unverified") => Self::RequiresVerification,
            () => Self::Active,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Pending => "PENDING",
            Self::Rejected => "REJECTED",
            Self::RequiresVerification => "REQUIRES_VERIFICATION",
        }
    }
}

/// The choices of a person who makes a Notify configuration.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    /// `SMS`, `VOICE` or both.
    pub(crate) channels: BTreeSet<String>,
    pub(crate) countries: BTreeSet<String>,
    pub(crate) default_template: Option<String>,
    pub(crate) pool: Option<String>,
    pub(crate) is_protected: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    pub(crate) id: String,
    pub(crate) display_name: String,
    pub(crate) tier: Tier,
    pub(crate) choices: Choices,
    pub(crate) created: SystemTime,
    pub(crate) tags: Vec<(String, String)>,
    /// Two requests with the same token create one configuration.
    pub(crate) token: Option<String>,
    review: Review,
}

impl Configuration {
    pub(crate) fn status(&self, now: SystemTime) -> &'static str {
        let age = now.duration_since(self.created).unwrap_or_default();
        if age < REVIEW {
            Review::Pending.name()
        } else {
            self.review.name()
        }
    }

    pub(crate) fn rejection(&self, now: SystemTime) -> Option<&'static str> {
        (self.status(now) == Review::Rejected.name())
            .then_some("The display name is not allowed in messages.")
    }
}

#[derive(Debug)]
pub(crate) struct Country {
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    pub(crate) is_basic: bool,
    pub(crate) has_calls: bool,
    /// Whether a configuration needs a pool with identities of the customer's own.
    pub(crate) needs_own_identity: bool,
}

const fn basic(code: &'static str, name: &'static str) -> Country {
    Country {
        code,
        name,
        is_basic: true,
        has_calls: true,
        needs_own_identity: false,
    }
}

const fn advanced(code: &'static str, name: &'static str) -> Country {
    Country {
        is_basic: false,
        ..basic(code, name)
    }
}

pub(crate) const COUNTRIES: [Country; 34] = [
    basic("AS", "American Samoa"),
    basic("AU", "Australia"),
    basic("BE", "Belgium"),
    basic("BR", "Brazil"),
    basic("CA", "Canada"),
    basic("CH", "Switzerland"),
    basic("CO", "Colombia"),
    basic("DE", "Germany"),
    basic("DK", "Denmark"),
    basic("ES", "Spain"),
    basic("FI", "Finland"),
    basic("FR", "France"),
    basic("GB", "United Kingdom"),
    basic("GU", "Guam"),
    basic("HK", "Hong Kong"),
    basic("IE", "Ireland"),
    Country {
        has_calls: false,
        ..basic("IN", "India")
    },
    basic("IT", "Italy"),
    advanced("JM", "Jamaica"),
    basic("JP", "Japan"),
    basic("KR", "South Korea"),
    basic("MP", "Northern Mariana Islands"),
    basic("MX", "Mexico"),
    advanced("NG", "Nigeria"),
    basic("NL", "Netherlands"),
    basic("NZ", "New Zealand"),
    advanced("PH", "Philippines"),
    basic("PR", "Puerto Rico"),
    basic("PT", "Portugal"),
    Country {
        needs_own_identity: true,
        ..advanced("SA", "Saudi Arabia")
    },
    basic("SE", "Sweden"),
    basic("SG", "Singapore"),
    basic("US", "United States"),
    basic("VI", "US Virgin Islands"),
];

#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) id: &'static str,
    pub(crate) channel: &'static str,
    pub(crate) language: &'static str,
    pub(crate) content: &'static str,
    pub(crate) is_active: bool,
    pub(crate) in_basic: bool,
    /// Empty for all countries.
    pub(crate) countries: &'static [&'static str],
    pub(crate) voices: &'static [&'static str],
}

const fn text(id: &'static str, language: &'static str, content: &'static str) -> Template {
    Template {
        id,
        channel: "SMS",
        language,
        content,
        is_active: true,
        in_basic: true,
        countries: &[],
        voices: &[],
    }
}

/// The first ID is from AWS's guide.
pub(crate) const TEMPLATES: [Template; 8] = [
    text(
        "notify-code-verification-english-001",
        "en",
        "Your {{display_name}} verification code is {{code}}.",
    ),
    Template {
        in_basic: false,
        ..text(
            "notify-code-verification-english-002",
            "en",
            "{{code}} is your code for {{display_name}}.",
        )
    },
    Template {
        countries: &["CA", "US"],
        ..text(
            "notify-code-verification-english-003",
            "en-US",
            "{{display_name}}: {{code}} is your code.",
        )
    },
    Template {
        is_active: false,
        ..text(
            "notify-code-verification-english-004",
            "en",
            "{{display_name}} {{code}}",
        )
    },
    Template {
        channel: "VOICE",
        voices: &["JOANNA", "MATTHEW"],
        ..text(
            "notify-code-verification-english-voice-001",
            "en",
            "This is {{display_name}}. Your verification code is {{code}}.",
        )
    },
    text(
        "notify-code-verification-french-001",
        "fr",
        "{{code}} est votre code pour {{display_name}}.",
    ),
    text(
        "notify-code-verification-german-001",
        "de",
        "{{code}} ist Ihr Code für {{display_name}}.",
    ),
    text(
        "notify-code-verification-spanish-001",
        "es",
        "{{code}} es su código para {{display_name}}.",
    ),
];

/// Why a Notify configuration sends nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no resource of this type with this ID.
    NotFound(&'static str, String),
    /// The request does not fit: a reason of SMS Voice V2, and a sentence.
    Invalid(&'static str, String),
    NotActive(&'static str),
    /// A quota is used up: a reason, and a sentence.
    Quota(&'static str, &'static str),
    TooFast,
}

/// A message of a Notify configuration, without its code.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) template: &'static str,
    pub(crate) language: &'static str,
    /// With `{{code}}` in it.
    pub(crate) text: String,
    pub(crate) voice: Option<String>,
}

/// A send that a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// An ID or an ARN.
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    /// `TEXT` or `VOICE`.
    pub(crate) channel: &'a str,
    pub(crate) template: Option<&'a str>,
    pub(crate) voice: Option<&'a str>,
}

#[derive(Debug)]
struct Sent {
    configuration: String,
    to: String,
    at: SystemTime,
}

/// All Notify configurations of the account.
#[derive(Debug)]
pub(crate) struct Notify {
    configurations: BTreeMap<String, Configuration>,
    sent: Vec<Sent>,
    /// In dollars a month.
    pub(crate) spending_limit: Option<u64>,
}

impl Default for Notify {
    /// One configuration for each state, so that a person can see every refusal.
    fn default() -> Self {
        let mut notify = Self {
            configurations: BTreeMap::new(),
            sent: Vec::new(),
            spending_limit: None,
        };
        for (id, name) in [
            ("nc-desk-basic", "ExampleCorp"),
            ("nc-desk-advanced", "ExampleCorp"),
            ("nc-desk-pending", "Pending"),
            ("nc-desk-rejected", "Rejected"),
            ("nc-desk-unverified", "Unverified"),
            ("nc-desk-texts-only", "ExampleCorp"),
            ("nc-desk-calls-only", "ExampleCorp"),
            ("nc-desk-canada-only", "ExampleCorp"),
        ] {
            let tier = if id == "nc-desk-advanced" {
                Tier::Advanced
            } else {
                Tier::Basic
            };
            let channels = match id {
                "nc-desk-texts-only" => &["SMS"][..],
                "nc-desk-calls-only" => &["VOICE"],
                _ => &["SMS", "VOICE"],
            };
            let mut countries = countries_of(tier);
            if id == "nc-desk-canada-only" {
                countries.retain(|code| code == "CA");
            }
            let choices = Choices {
                channels: channels.iter().map(|&channel| channel.to_owned()).collect(),
                countries,
                default_template: None,
                pool: None,
                is_protected: false,
            };
            notify.add(id.to_owned(), name, tier, choices, SystemTime::UNIX_EPOCH);
        }
        notify
    }
}

/// The countries that a tier can send to without an identity of the customer's own.
pub(crate) fn countries_of(tier: Tier) -> BTreeSet<String> {
    COUNTRIES
        .iter()
        .filter(|country| country.is_basic || tier == Tier::Advanced)
        .filter(|country| !country.needs_own_identity)
        .map(|country| country.code.to_owned())
        .collect()
}

/// The ID in an ID or an ARN.
pub(crate) fn id_of(id_or_arn: &str) -> &str {
    id_or_arn
        .split_once(":notify-configuration/")
        .map_or(id_or_arn, |(_, id)| id)
}

/// Whether an origination identity is a Notify configuration. In the simulator, every other identity exists.
pub(crate) fn is_notify_configuration(identity: &str) -> bool {
    identity.contains(":notify-configuration/")
        || (identity.len() > 11 && (identity.starts_with("nc-") || identity.starts_with("notify-")))
}

impl Notify {
    fn add(
        &mut self,
        id: String,
        display_name: &str,
        tier: Tier,
        choices: Choices,
        created: SystemTime,
    ) -> &mut Configuration {
        let configuration = Configuration {
            id: id.clone(),
            display_name: display_name.to_owned(),
            tier,
            choices,
            created,
            tags: Vec::new(),
            token: None,
            review: Review::of(display_name),
        };
        self.configurations.entry(id).or_insert(configuration)
    }

    /// Adds a configuration of the basic tier.
    pub(crate) fn create(
        &mut self,
        display_name: &str,
        choices: Choices,
        now: SystemTime,
    ) -> &mut Configuration {
        let id = format!("nc-{:017x}", fastrand::u64(..));
        self.add(id, display_name, Tier::Basic, choices, now)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Configuration> {
        self.configurations.values()
    }

    pub(crate) fn get_mut(&mut self, id_or_arn: &str) -> Option<&mut Configuration> {
        self.configurations.get_mut(id_of(id_or_arn))
    }

    pub(crate) fn remove(&mut self, id_or_arn: &str) -> Option<Configuration> {
        self.configurations.remove(id_of(id_or_arn))
    }

    /// Accepts or refuses a message, and counts an accepted one.
    pub(crate) fn send(&mut self, asked: Asked<'_>, now: SystemTime) -> Result<Accepted, Refused> {
        let accepted = self.check(asked, now)?;
        self.sent.push(Sent {
            configuration: id_of(asked.from).to_owned(),
            to: asked.to.to_owned(),
            at: now,
        });
        Ok(accepted)
    }

    fn check(&self, asked: Asked<'_>, now: SystemTime) -> Result<Accepted, Refused> {
        let id = id_of(asked.from);
        let Some(configuration) = self.configurations.get(id) else {
            return Err(Refused::NotFound("notify-configuration", id.to_owned()));
        };
        let status = configuration.status(now);
        if status != Review::Active.name() {
            return Err(Refused::NotActive(status));
        }
        let channel = if asked.channel == "VOICE" {
            "VOICE"
        } else {
            "SMS"
        };
        if !configuration.choices.channels.contains(channel) {
            let why = format!("The channel {channel} is not enabled on the notify configuration.");
            return Err(Refused::Invalid("CHANNEL_NOT_ENABLED", why));
        }
        let country = PhoneNumber::parse(asked.to)
            .ok()
            .and_then(|number| number.country())
            .map(|country| country.to_string())
            .unwrap_or_default();
        let known = COUNTRIES.iter().find(|known| known.code == country);
        let is_enabled = configuration.choices.countries.contains(&country);
        if !is_enabled || known.is_none_or(|known| channel == "VOICE" && !known.has_calls) {
            let why = format!("The destination country {country} is not enabled for {channel}.");
            return Err(Refused::Invalid("COUNTRY_NOT_ENABLED", why));
        }
        let template = template_for(configuration, asked, channel, &country)?;
        self.check_quotas(configuration, asked.to, now)?;
        Ok(Accepted {
            template: template.id,
            language: template.language,
            text: template
                .content
                .replace("{{display_name}}", &configuration.display_name),
            voice: asked.voice.map(str::to_owned),
        })
    }

    fn check_quotas(
        &self,
        configuration: &Configuration,
        to: &str,
        now: SystemTime,
    ) -> Result<(), Refused> {
        let since = |length: Duration| {
            self.sent
                .iter()
                .filter(move |sent| now.duration_since(sent.at).is_ok_and(|age| age < length))
        };
        let is_own = |sent: &&Sent| sent.configuration == configuration.id;
        let second = Duration::from_secs(1);
        if since(second).filter(is_own).count() >= configuration.tier.a_second() {
            return Err(Refused::TooFast);
        }
        if since(DAY).filter(|sent| sent.to == to).count() >= 10 {
            return Err(Refused::Quota(
                "DAILY_NOTIFY_TIER_MESSAGE_LIMIT",
                "The daily limit of messages to this destination is reached.",
            ));
        }
        if configuration.tier == Tier::Basic && since(DAY).filter(is_own).count() >= 200 {
            return Err(Refused::Quota(
                "DAILY_NOTIFY_TIER_MESSAGE_LIMIT",
                "The daily limit of messages of the notify configuration is reached.",
            ));
        }
        let spent = u64::try_from(self.sent.len() + 1).unwrap_or(u64::MAX) * CENTS;
        if self.spending_limit.is_some_and(|limit| spent > limit * 100) {
            return Err(Refused::Quota(
                "MONTHLY_SPEND_LIMIT_REACHED_FOR_NOTIFY",
                "The monthly spend limit for notify messages is reached.",
            ));
        }
        Ok(())
    }
}

/// The template of the request, or the default template of the configuration.
fn template_for(
    configuration: &Configuration,
    asked: Asked<'_>,
    channel: &str,
    country: &str,
) -> Result<&'static Template, Refused> {
    let default = configuration.choices.default_template.as_deref();
    let Some(id) = asked.template.or(default) else {
        let why =
            "The request has no template, and the notify configuration has no default template.";
        return Err(Refused::Invalid("MISSING_PARAMETER", why.to_owned()));
    };
    let Some(template) = TEMPLATES.iter().find(|template| template.id == id) else {
        return Err(Refused::NotFound("notify-template", id.to_owned()));
    };
    let misfit = |what| {
        Err(Refused::Invalid(
            "INVALID_PARAMETER",
            format!("The template {id} {what}"),
        ))
    };
    if !template.is_active {
        return misfit("is inactive.");
    }
    if template.channel != channel {
        return misfit("is for another channel.");
    }
    if configuration.tier == Tier::Basic && !template.in_basic {
        return misfit("needs the advanced tier.");
    }
    if !template.countries.is_empty() && !template.countries.contains(&country) {
        return misfit("does not support the destination country.");
    }
    if asked.voice.is_some_and(|voice| {
        !template
            .voices
            .iter()
            .any(|own| own.eq_ignore_ascii_case(voice))
    }) {
        return misfit("does not support the voice.");
    }
    Ok(template)
}
