//! The packaged file, for settings that are too long for environment variables.

use super::notify::NotifyFile;
use super::reader::Reader;
use crate::json::Entries;
use crate::phone::Country;
use crate::policy::Prices;
use crate::provider::Channel;
use crate::texts::OwnTexts;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The content of the packaged file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct ConfigFile {
    /// The prices of messages.
    #[serde(deserialize_with = "read_prices")]
    pub(super) prices: Option<Prices>,
    /// The operator's own texts by language. They take the place of the built-in ones.
    #[serde(deserialize_with = "read_texts")]
    pub(super) texts: BTreeMap<String, OwnTexts>,
    pub(super) notify: Option<NotifyFile>,
    // The lists: see `take_lists`.
    allowed_countries: Vec<String>,
    brand_names: Vec<String>,
    country_limits: Vec<String>,
    extra_prefixes: Vec<String>,
    origination_identities: Vec<String>,
    trusted_principals: Vec<String>,
    whatsapp_languages: Vec<String>,
}

/// More entries of a setting that is a list.
pub(super) struct List {
    pub(super) setting: &'static str,
    /// The name in the packaged file.
    pub(super) name: &'static str,
    /// The separator of entries in the variable.
    pub(super) separator: char,
    pub(super) entries: Vec<String>,
}

impl ConfigFile {
    /// Takes out the lists that have entries.
    ///
    /// A setting that can get long may be in the file, because Lambda limits the size of all variables together. Test
    /// numbers may not be in the file: their codes are secret, and the file is committed and packaged.
    fn take_lists(&mut self) -> Vec<List> {
        let with_entries = self.lists().into_iter();
        let with_entries = with_entries.filter(|(.., entries)| !entries.is_empty());
        with_entries
            .map(|(setting, name, separator, entries)| List {
                setting,
                name,
                separator,
                entries: std::mem::take(entries),
            })
            .collect()
    }

    /// Whether a setting is a list that may be in the file.
    pub(super) fn has_list(setting: &str) -> bool {
        let mut file = Self::default();
        file.lists().iter().any(|(own, ..)| *own == setting)
    }

    /// The setting of each list, its name in the file, the separator of the variable, and the entries in the file.
    fn lists(&mut self) -> [(&'static str, &'static str, char, &mut Vec<String>); 7] {
        [
            (
                "ALLOWED_COUNTRIES",
                "allowedCountries",
                ',',
                &mut self.allowed_countries,
            ),
            ("BRAND_NAMES", "brandNames", ';', &mut self.brand_names),
            (
                "COUNTRY_LIMITS",
                "countryLimits",
                ';',
                &mut self.country_limits,
            ),
            (
                "EXTRA_PREFIXES",
                "extraPrefixes",
                ',',
                &mut self.extra_prefixes,
            ),
            (
                "ORIGINATION_IDENTITIES",
                "originationIdentities",
                ',',
                &mut self.origination_identities,
            ),
            (
                "TRUSTED_PRINCIPALS",
                "trustedPrincipals",
                ',',
                &mut self.trusted_principals,
            ),
            (
                "WHATSAPP_LANGUAGES",
                "whatsappLanguages",
                ',',
                &mut self.whatsapp_languages,
            ),
        ]
    }
}

impl Reader<'_> {
    /// Reads the packaged file. Its lists belong to their settings from then on.
    pub(super) fn config_file(&mut self) -> ConfigFile {
        const NAME: &str = "CONFIG_FILE";
        let Some(path) = self.raw(NAME) else {
            return ConfigFile::default();
        };
        let content = self.file(NAME, &path);
        let file = content.and_then(|content| match serde_json::from_slice(&content) {
            Ok(file) => Some(file),
            Err(error) => {
                let example = r#"{"prices": {"*": 0.1}}"#;
                let what = format!("must name a JSON file such as {example}: {error}.");
                self.report(NAME, &what);
                None
            }
        });
        self.file_is_unread = file.is_none();
        let mut file: ConfigFile = file.unwrap_or_default();
        self.lists = file.take_lists();
        file
    }
}

fn read_texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, OwnTexts>, D::Error> {
    let mut texts = BTreeMap::new();
    for (language, own) in Entries::deserialize(deserializer)?.0 {
        if texts.insert(String::clone(&language), own).is_some() {
            return Err(D::Error::custom(format!("`{language}` has two texts")));
        }
    }
    Ok(texts)
}

fn read_prices<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Prices>, D::Error> {
    let mut prices = Prices::default();
    // Prices are read as they are written, because a float would round them.
    let Entries::<Box<RawValue>>(entries) = Entries::deserialize(deserializer)?;
    for (name, price) in entries {
        let price = Prices::parse_one(price.get()).map_err(D::Error::custom)?;
        let earlier = match read_destination(&name).map_err(D::Error::custom)? {
            (None, Channel::Sms) => prices.otherwise.replace(price),
            (Some(country), Channel::Sms) => prices.by_country.insert(country, price),
            (country, channel) => prices.by_channel.insert((channel, country), price),
        };
        if earlier.is_some() {
            return Err(D::Error::custom(format!("`{name}` has two prices")));
        }
    }
    Ok(Some(prices))
}

/// Reads the country and channel of a price: `US`, `*`, `US/voice` or `*/voice`.
fn read_destination(name: &str) -> Result<(Option<Country>, Channel), String> {
    let (country, channel) = match name.split_once('/') {
        None => (name, Channel::Sms),
        Some((country, channel)) => (
            country,
            Channel::named(channel).ok_or_else(|| format!("`{channel}` is not a channel"))?,
        ),
    };
    let country = match country {
        "*" => None,
        code => Some(
            code.parse()
                .map_err(|_| format!("`{code}` is not an ISO 3166-1 country code"))?,
        ),
    };
    Ok((country, channel))
}
