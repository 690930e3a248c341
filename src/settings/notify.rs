//! The settings of Notify configurations, and the checks of settings that Notify configurations cannot fulfil.

use super::reader::Reader;
use crate::aws::notify::{BASIC_COUNTRIES, Notify, Tier, is_notify_configuration};
use crate::json::Entries;
use crate::language::{self, Tag};
use crate::ledger::SendWindow;
use crate::phone::Country;
use crate::policy::{AllowedCountries, Budget, Period, SendLimits, Unit};
use crate::provider::{Channel, Quotas};
use crate::service::Origination;
use crate::texts::OwnTexts;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The budgets of Notify configurations of the basic tier, in place of the default of `BUDGETS`.
const BASIC_BUDGETS: &str = "50/1h,180/24h";

/// Settings of texts, which cannot change a text of AWS.
const OF_TEXTS: &[&str] = &[
    "WEBOTP_DOMAIN",
    "ANDROID_APP_HASH",
    "DLT_ENTITY_ID",
    "DLT_TEMPLATE_ID",
];

/// The part of the packaged file about Notify configurations.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NotifyFile {
    #[serde(deserialize_with = "read_tier")]
    tier: Tier,
    /// The countries that AWS allows. By default they are those of the basic tier, or all countries in another tier.
    #[serde(deserialize_with = "read_countries")]
    countries: Option<BTreeSet<Country>>,
    #[serde(deserialize_with = "read_templates")]
    templates: Vec<(Tag, Templates)>,
}

/// The IDs of AWS's templates in one language.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Templates {
    sms: Option<String>,
    voice: Option<String>,
}

impl Templates {
    fn of(&self, channel: Channel) -> Option<&String> {
        match channel {
            Channel::Sms => self.sms.as_ref(),
            Channel::Voice => self.voice.as_ref(),
            Channel::WhatsApp => None,
        }
    }
}

impl Reader<'_> {
    /// Reports that a provider has no Notify configurations, if an identity is one.
    pub(super) fn refuse_notify(&mut self, file: Option<&NotifyFile>) {
        let origination = self.origination();
        if origination.all().any(is_notify_configuration) {
            self.report(
                self.setting_of_notify(),
                "names a Notify configuration, which only the provider `end-user-messaging` has: set OTP_PROVIDER to it.",
            );
        } else if file.is_some() {
            self.report_unused_file();
        }
    }

    /// The Notify configurations among the identities of these channels.
    pub(super) fn notify(
        &mut self,
        channels: &[Channel],
        file: Option<&NotifyFile>,
        own_texts: &BTreeMap<String, OwnTexts>,
    ) -> Notify {
        let origination = self.origination();
        let all = origination.all();
        let configurations: BTreeSet<_> = all
            .filter(|identity| is_notify_configuration(identity))
            .map(str::to_owned)
            .collect();
        if configurations.is_empty() {
            if file.is_some() {
                self.report_unused_file();
            }
            return Notify::default();
        }
        let empty = NotifyFile::default();
        let file = file.unwrap_or(&empty);
        let sends_by = |channel: &Channel| {
            let mut identities = origination.of_channel(*channel);
            identities.any(is_notify_configuration)
        };
        let sends_alone_by = |channel: &Channel| {
            origination
                .of_channel(*channel)
                .all(is_notify_configuration)
        };
        let used: Vec<_> = channels.iter().copied().filter(sends_by).collect();
        let only: Vec<_> = channels.iter().copied().filter(sends_alone_by).collect();
        if used.contains(&Channel::WhatsApp) {
            self.report(
                "ORIGINATION_IDENTITIES",
                "must name an identity for `whatsapp`, as CHANNELS has it: a Notify configuration sends only texts and calls.",
            );
        }
        self.check_notify_settings(&only, own_texts);
        self.check_notify_countries(&used, &origination, file);
        let templates = self.notify_templates(&used, file);
        Notify {
            configurations,
            templates,
            language: self.text("LANGUAGE").unwrap_or_default(),
            tier: file.tier,
            is_alone: only.len() == channels.len(),
            only,
        }
    }

    fn report_unused_file(&mut self) {
        self.report(
            "CONFIG_FILE",
            "has `notify`, but no origination identity is a Notify configuration: set ORIGINATION_IDENTITY to one, or remove \
             `notify`.",
        );
    }

    /// The setting that names a Notify configuration.
    fn setting_of_notify(&self) -> &'static str {
        const DEFAULT: &str = "ORIGINATION_IDENTITY";
        let default = self.raw(DEFAULT);
        if default.is_some_and(|identity| is_notify_configuration(&identity)) {
            DEFAULT
        } else {
            "ORIGINATION_IDENTITIES"
        }
    }

    /// Reports settings that change no message, because AWS writes all texts.
    fn check_notify_settings(&mut self, only: &[Channel], own_texts: &BTreeMap<String, OwnTexts>) {
        const NO_EFFECT: &str =
            "has no effect: a Notify configuration sends AWS's own texts, without lines of yours.";
        if self.is_set("BRAND_NAMES") {
            self.report(
                "BRAND_NAMES",
                "cannot be used with a Notify configuration, whose texts have its own display name: unset it.",
            );
        }
        if only.contains(&Channel::Sms) {
            for name in self.set_among(OF_TEXTS) {
                self.report(name, &format!("{NO_EFFECT} Unset it."));
            }
            // The template of the stack sets the default.
            if self.raw("DO_NOT_SHARE_LINE").as_deref() == Some("off") {
                self.report(
                    "DO_NOT_SHARE_LINE",
                    "cannot be `off` with a Notify configuration, which sends AWS's own texts: unset it.",
                );
            }
        }
        let has_texts = |channel: &Channel| {
            own_texts.values().any(|own| match channel {
                Channel::Sms => own.sms.is_some(),
                Channel::Voice => own.voice.is_some(),
                Channel::WhatsApp => false,
            })
        };
        for channel in only.iter().filter(|channel| has_texts(channel)) {
            let name = channel.name();
            self.report(
                "CONFIG_FILE",
                &format!(
                    "has `texts` for `{name}`, but a Notify configuration sends AWS's own texts: remove them."
                ),
            );
        }
    }

    fn check_notify_countries(
        &mut self,
        used: &[Channel],
        origination: &Origination,
        file: &NotifyFile,
    ) {
        const NAME: &str = "ALLOWED_COUNTRIES";
        let basic = || {
            let codes = BASIC_COUNTRIES.iter();
            codes.filter_map(|code| code.parse().ok()).collect()
        };
        let served = match (&file.countries, file.tier) {
            (Some(countries), _) => countries.clone(),
            (None, Tier::Basic) => basic(),
            (None, Tier::Advanced) => return,
        };
        let Some(allowed) = self
            .raw(NAME)
            .and_then(|text| AllowedCountries::parse(&text).ok())
        else {
            return;
        };
        let needs_notify = |country: Country| {
            used.iter()
                .any(|channel| is_notify_configuration(origination.identity(country, *channel)))
        };
        let which = "`notify.countries` in CONFIG_FILE, or the 30 countries of the basic tier";
        match allowed {
            AllowedCountries::Any => {
                let is_unserved =
                    |country: Country| !served.contains(&country) && needs_notify(country);
                if Country::all().any(is_unserved) {
                    self.report(
                        NAME,
                        &format!(
                            "cannot be `*` with a Notify configuration, which sends only to the countries of {which}."
                        ),
                    );
                }
            }
            AllowedCountries::Only(countries) => {
                let unserved: Vec<_> = countries
                    .into_iter()
                    .filter(|country| !served.contains(country) && needs_notify(*country))
                    .map(|country| country.to_string())
                    .collect();
                if !unserved.is_empty() {
                    let unserved = unserved.join(", ");
                    self.report(
                        NAME,
                        &format!(
                            "has {unserved}, but the Notify configuration sends only to the countries of {which}."
                        ),
                    );
                }
            }
        }
    }

    fn notify_templates(
        &mut self,
        used: &[Channel],
        file: &NotifyFile,
    ) -> BTreeMap<Channel, Vec<(Tag, String)>> {
        let mut templates = BTreeMap::new();
        for channel in [Channel::Sms, Channel::Voice] {
            let of_channel: Vec<_> = file
                .templates
                .iter()
                .filter_map(|(tag, own)| Some((Tag::clone(tag), own.of(channel)?.clone())))
                .collect();
            if used.contains(&channel) && of_channel.is_empty() && !self.file_is_unread {
                let name = channel.name();
                self.report(
                    "CONFIG_FILE",
                    &format!(
                        r#"must name a template of the Notify configuration for `{name}`, such as {{"notify": {{"templates": {{"en-US": {{"{name}": "TEMPLATE"}}}}}}}}: `make notify` lists the templates."#
                    ),
                );
            }
            templates.insert(channel, of_channel);
        }
        templates
    }

    /// The value of `BUDGETS`. With Notify configurations of the basic tier, the default is below their quota.
    pub(super) fn budgets_text(&mut self, quotas: Option<Quotas>) -> String {
        const NAME: &str = "BUDGETS";
        let text = self.text(NAME).unwrap_or_default();
        let Some(most) = quotas.and_then(|quotas| quotas.a_day) else {
            return text;
        };
        // The template of the stack sets the default.
        if Self::is_default(NAME, &text) {
            return BASIC_BUDGETS.to_owned();
        }
        let fits = |budget: &Budget| {
            let a_day = match budget.period {
                Period::Hour => budget.cap.saturating_mul(24),
                Period::Day => budget.cap,
            };
            budget.unit == Unit::Messages && a_day <= most
        };
        // A value that cannot be read is reported elsewhere.
        if Budget::parse_list(&text).is_ok_and(|budgets| !budgets.iter().any(fits)) {
            self.report(
                NAME,
                &format!(
                    "must have a budget of at most {most}/24h, such as `{BASIC_BUDGETS}`: a Notify configuration of the basic \
                     tier sends 200 messages a day."
                ),
            );
        }
        text
    }

    /// Reports windows that allow more messages to a number than the provider sends.
    pub(super) fn check_sends_a_day(&mut self, limits: &SendLimits, quotas: Option<Quotas>) {
        const DAY: Duration = Duration::from_hours(24);
        let Some(most) = quotas.map(|quotas| quotas.a_number_a_day) else {
            return;
        };
        let fits = |window: &SendWindow| window.sends <= most && window.length >= DAY;
        let windows = limits.windows();
        if !windows.is_empty() && !windows.iter().any(fits) {
            self.report(
                "SEND_LIMITS",
                &format!(
                    "must have a limit of at most {most}/24h: with Notify configurations, AWS sends {most} messages a day to \
                     one number."
                ),
            );
        }
    }
}

fn read_tier<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tier, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "basic" => Ok(Tier::Basic),
        "advanced" => Ok(Tier::Advanced),
        other => Err(D::Error::custom(format!(
            "`{other}` is not a tier: `basic` or `advanced`"
        ))),
    }
}

fn read_countries<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeSet<Country>>, D::Error> {
    let codes = Vec::<String>::deserialize(deserializer)?;
    let countries: Result<_, _> = codes
        .iter()
        .map(|code| {
            code.parse().map_err(|_| {
                D::Error::custom(format!("`{code}` is not an ISO 3166-1 country code"))
            })
        })
        .collect();
    countries.map(Some)
}

fn read_templates<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(Tag, Templates)>, D::Error> {
    let mut templates: Vec<(Tag, Templates)> = Vec::new();
    let Entries::<Templates>(entries) = Entries::deserialize(deserializer)?;
    for (language, own) in entries {
        if !language::is_well_formed(&language) {
            return Err(D::Error::custom(format!(
                "`{language}` is not a language tag such as `en-US`"
            )));
        }
        let twice = |known: &Tag| known.eq_ignore_ascii_case(&language);
        if templates.iter().any(|(known, _)| twice(known)) {
            return Err(D::Error::custom(format!(
                "`{language}` has templates twice"
            )));
        }
        let ids = [&own.sms, &own.voice];
        if let Some(id) = ids.into_iter().flatten().find(|id| !is_template(id)) {
            return Err(D::Error::custom(format!(
                "`{id}` is not the ID of a template: 1 to 256 letters, digits, dashes and underscores"
            )));
        }
        templates.push((Tag::from(&*language), own));
    }
    Ok(templates)
}

fn is_template(id: &str) -> bool {
    (1..=256).contains(&id.len())
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}
