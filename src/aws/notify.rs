//! Notify configurations of AWS End User Messaging: AWS's own numbers and sender IDs, with AWS's own texts.

use crate::language::{self, Tag};
use crate::provider::{Channel, Quotas};
use std::collections::{BTreeMap, BTreeSet};

/// The most characters of a display name. In AWS's texts, the display name has the place of the brand.
pub const LONGEST_DISPLAY_NAME: u8 = 15;

/// The countries of the basic tier, as AWS's guide lists them.
pub const BASIC_COUNTRIES: [&str; 30] = [
    "AS", "AU", "BE", "BR", "CA", "CH", "CO", "DE", "DK", "ES", "FI", "FR", "GB", "GU", "HK", "IE",
    "IN", "IT", "JP", "KR", "MP", "MX", "NL", "NZ", "PR", "PT", "SE", "SG", "US", "VI",
];

/// How many messages AWS sends to one number in a day, by all Notify configurations of an account together.
const A_NUMBER_A_DAY: usize = 10;

/// How many messages a Notify configuration of the basic tier sends in a day.
const BASIC_A_DAY: u64 = 200;

/// The most characters of a sender ID.
const LONGEST_SENDER_ID: usize = 11;

/// A tier of Notify configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tier {
    #[default]
    Basic,
    Advanced,
}

/// How messages are sent by Notify configurations. Empty if there are none.
#[derive(Debug, Default)]
pub struct Notify {
    /// The Notify configurations among the origination identities.
    pub configurations: BTreeSet<String>,
    /// The channels by which only Notify configurations send.
    pub only: Vec<Channel>,
    /// AWS's templates by channel, each with its language.
    pub templates: BTreeMap<Channel, Vec<(Tag, String)>>,
    /// The language of a message whose own language is close to that of no template.
    pub language: String,
    pub tier: Tier,
    /// Whether there is no other sender, so that the quotas hold for all messages.
    pub is_alone: bool,
}

impl Notify {
    /// The languages of a channel by which only Notify configurations send; `None` for other channels.
    #[must_use]
    pub fn languages(&self, channel: Channel) -> Option<Vec<Tag>> {
        self.only.contains(&channel).then(|| {
            let templates = self.templates.get(&channel).into_iter().flatten();
            templates
                .map(|(language, _)| Tag::clone(language))
                .collect()
        })
    }

    /// The ID of the template whose language is closest. `None` if the channel has no template.
    #[must_use]
    pub fn template(&self, channel: Channel, language: &str) -> Option<&str> {
        let templates = self.templates.get(&channel)?;
        let languages = || templates.iter().map(|(language, _)| language);
        let chosen = [language, self.language.as_str(), "en-US"]
            .iter()
            .find_map(|wish| language::closest(wish, languages()))
            .or_else(|| languages().next())?;
        templates
            .iter()
            .find(|(language, _)| language == chosen)
            .map(|(_, template)| template.as_str())
    }

    /// AWS's quotas of these Notify configurations.
    #[must_use]
    pub fn quotas(&self) -> Option<Quotas> {
        let count = u64::try_from(self.configurations.len()).unwrap_or(u64::MAX);
        self.is_alone.then_some(Quotas {
            a_number_a_day: A_NUMBER_A_DAY,
            a_day: match self.tier {
                Tier::Basic => Some(count.saturating_mul(BASIC_A_DAY)),
                Tier::Advanced => None,
            },
        })
    }
}

/// Whether an origination identity is a Notify configuration, by its ARN or its ID.
///
/// In AWS's guide an ID begins with `nc-`, and applications in public have IDs that begin with `notify-`. A sender ID
/// may begin like this, too, but an ID is longer than any sender ID.
#[must_use]
pub fn is_notify_configuration(identity: &str) -> bool {
    match identity.strip_prefix("arn:") {
        Some(rest) => {
            let mut parts = rest.splitn(5, ':').skip(1);
            parts.next() == Some("sms-voice")
                && parts
                    .nth(2)
                    .is_some_and(|resource| resource.starts_with("notify-configuration/"))
        }
        None => {
            identity.len() > LONGEST_SENDER_ID
                && ["nc-", "notify-"]
                    .iter()
                    .any(|beginning| identity.starts_with(beginning))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notify_configuration_is_told_from_every_other_sender() {
        for identity in [
            "nc-1234567890abcdef0",
            "notify-0123456789abcdef0123456789abcdef",
            "arn:aws:sms-voice:us-east-1:123456789012:notify-configuration/nc-1234567890abcdef0",
            "arn:aws-us-gov:sms-voice:us-gov-west-1:123456789012:notify-configuration/anything",
        ] {
            assert!(is_notify_configuration(identity), "{identity}");
        }
        for identity in [
            "+12065550100",
            "BRANDX",
            "nc-shop",
            "notify-us",
            "nc-12345678",
            "pool-1234567890abcdef0",
            "phone-1234567890abcdef0",
            "arn:aws:sms-voice:us-east-1:123456789012:pool/nc-1234567890abcdef0",
            "arn:aws:sms-voice:us-east-1:123456789012:phone-number/notify-configuration/x",
            "arn:aws:end-user-messaging:us-east-1:123456789012:notify-code-configuration/cc-1",
            "arn:aws:other:us-east-1:123456789012:notify-configuration/nc-1234567890abcdef0",
            "arn:aws:sms-voice:us-east-1",
            "arn:",
        ] {
            assert!(!is_notify_configuration(identity), "{identity}");
        }
    }

    #[test]
    fn the_template_in_the_closest_language_is_taken() {
        let template = |language: &str, id: &str| (Tag::from(language), id.to_owned());
        let notify = Notify {
            templates: BTreeMap::from([(
                Channel::Sms,
                vec![template("de", "german"), template("en-US", "english")],
            )]),
            language: "en-US".to_owned(),
            ..Notify::default()
        };
        for (language, expected) in [
            ("de-AT", "german"),
            ("en-GB", "english"),
            ("ja-JP", "english"),
        ] {
            let chosen = notify.template(Channel::Sms, language);
            assert_eq!(chosen, Some(expected), "{language}");
        }
        assert_eq!(notify.template(Channel::Voice, "en-US"), None);
        let without = Notify {
            language: "country".to_owned(),
            ..notify
        };
        assert_eq!(without.template(Channel::Sms, "ja-JP"), Some("english"));
    }
}
