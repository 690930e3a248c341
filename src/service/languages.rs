//! Chooses the language of a message.

use super::Service;
use crate::error::Error;
use crate::language::{self, Tag};
use crate::phone::PhoneNumber;
use crate::provider::Channel;

impl Service {
    /// The language of a message to `to` by `channel`. `wish` is the language that the caller asks for.
    ///
    /// # Errors
    ///
    /// `invalid_parameter` for `language`: the wish is not a language tag, or the provider does not have that language.
    pub fn language(
        &self,
        wish: Option<&str>,
        channel: Channel,
        to: &PhoneNumber,
    ) -> Result<Tag, Error> {
        let limits = self.provider_limits();
        let languages = limits.languages(channel);
        match wish {
            None => Ok(self.default_language(&self.rules.defaults.language, channel, to)),
            Some(language::BY_COUNTRY) => {
                Ok(self.default_language(language::BY_COUNTRY, channel, to))
            }
            Some(tag) if limits.any_language && language::is_well_formed(tag) => {
                Ok(self.closest_language(&[tag], channel, to))
            }
            Some(tag) => languages
                .iter()
                .find(|known| known.eq_ignore_ascii_case(tag))
                .cloned()
                .ok_or_else(|| {
                    let expected = if limits.any_language {
                        "a language tag such as en-US or pt-BR, or country".to_owned()
                    } else {
                        format!("one of {}, or country", languages.join(", "))
                    };
                    Error::invalid_parameter("language", format!("language must be {expected}."))
                }),
        }
    }

    /// The provider's language for a reader with these wishes. The first wish that is close to one of the provider's
    /// languages decides. If no wish is close to any of these languages, the default language decides.
    #[must_use]
    pub fn closest_language(&self, wishes: &[&str], channel: Channel, to: &PhoneNumber) -> Tag {
        let languages = self.provider_limits().languages(channel);
        let closest = wishes
            .iter()
            .find_map(|wish| language::closest(wish, languages.iter()));
        closest.map_or_else(
            || self.default_language(&self.rules.defaults.language, channel, to),
            Tag::clone,
        )
    }

    fn default_language(&self, setting: &str, channel: Channel, to: &PhoneNumber) -> Tag {
        let languages = self.provider_limits().languages(channel);
        let default = if setting == language::BY_COUNTRY {
            self.country(to).map_or("en-US", language::of_country)
        } else {
            setting
        };
        language::closest(default, languages.iter())
            .or_else(|| language::closest("en-US", languages.iter()))
            .or_else(|| languages.first())
            .map_or_else(|| "en-US".into(), Tag::clone)
    }
}
