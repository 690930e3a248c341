//! The packaged file: what is too long for the environment.

use super::{Reader, Reported};
use crate::json::Entries;
use crate::phone::Country;
use crate::policy::Prices;
use crate::provider::Channel;
use crate::texts::OwnTexts;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What the packaged file may hold.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    #[serde(default)]
    prices: Option<PricesInFile>,
    #[serde(default)]
    texts: TextsInFile,
}

impl ConfigFile {
    /// What messages cost, if that is given.
    pub(super) fn take_prices(&mut self) -> Option<Prices> {
        self.prices.take().map(|prices| prices.0)
    }

    /// What messages say, by language, in place of the texts that are built in.
    pub(super) fn take_texts(&mut self) -> BTreeMap<String, OwnTexts> {
        std::mem::take(&mut self.texts.0)
    }
}

impl Reader<'_> {
    pub(super) fn config_file(&mut self) -> Result<ConfigFile, Reported> {
        const NAME: &str = "CONFIG_FILE";
        let Some(path) = self.raw(NAME) else {
            return Ok(ConfigFile::default());
        };
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) => {
                return self.problem(
                    NAME,
                    &format!("names a file that cannot be read ({}).", error.kind()),
                );
            }
        };
        match serde_json::from_slice::<ConfigFile>(&text) {
            Ok(file) => Ok(file),
            Err(error) => self.problem(
                NAME,
                &format!("must name a JSON file such as {{\"prices\": {{\"*\": 0.1}}}}: {error}."),
            ),
        }
    }
}

#[derive(Default)]
struct TextsInFile(BTreeMap<String, OwnTexts>);

impl<'de> Deserialize<'de> for TextsInFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut texts = BTreeMap::new();
        for (language, own) in Entries::deserialize(deserializer)?.0 {
            if texts.insert(String::clone(&language), own).is_some() {
                return Err(D::Error::custom(format!("`{language}` has two texts")));
            }
        }
        Ok(Self(texts))
    }
}

struct PricesInFile(Prices);

impl<'de> Deserialize<'de> for PricesInFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut prices = Prices::default();
        // As it is written: a float would round it.
        let Entries::<Box<RawValue>>(entries) = Entries::deserialize(deserializer)?;
        for (name, price) in entries {
            let price = Prices::parse_one(price.get()).map_err(D::Error::custom)?;
            let earlier = match destination(&name).map_err(D::Error::custom)? {
                (None, Channel::Sms) => prices.otherwise.replace(price),
                (Some(country), Channel::Sms) => prices.by_country.insert(country, price),
                (country, channel) => prices.by_channel.insert((channel, country), price),
            };
            if earlier.is_some() {
                return Err(D::Error::custom(format!("`{name}` has two prices")));
            }
        }
        Ok(Self(prices))
    }
}

/// Reads `US`, `*`, `US/voice` or `*/voice`: where a price is for, and by which channel.
fn destination(name: &str) -> Result<(Option<Country>, Channel), String> {
    let (country, channel) = match name.split_once('/') {
        None => (name, Channel::Sms),
        Some((country, channel)) => (
            country,
            Channel::named(channel).ok_or_else(|| format!("`{channel}` is no channel"))?,
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
