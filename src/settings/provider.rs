//! The settings of the current provider, and of the previous one during a change of provider.

use super::file::ConfigFile;
use super::reader::Reader;
use crate::aws::SdkConfig;
use crate::aws::end_user_messaging::{self, EndUserMessaging};
use crate::aws::notify::Notify;
use crate::aws::pinpoint::{self, Pinpoint};
use crate::delivery;
use crate::language::{self, Tag};
use crate::otp::{CodeCharacters, CodeShape};
use crate::policy::Brands;
use crate::provider::{Channel, Provider, ProviderLimits};
use crate::service::Providers;
use crate::texts::{self, OwnTexts, Texts};
use std::collections::BTreeMap;
use tracing::warn;

/// The providers that make and check codes.
pub struct ProviderSettings {
    /// Makes all new codes.
    pub current: OneProvider,
    /// Made the codes before a change of provider, and still checks them until they expire.
    pub previous: Option<OneProvider>,
}

impl ProviderSettings {
    /// The shape that fits the codes of both providers.
    #[must_use]
    pub fn codes(&self) -> CodeShape {
        let current = self.current.limits().code;
        match &self.previous {
            Some(previous) => current.or(&previous.limits().code),
            None => current,
        }
    }

    /// Warns in the log about texts that are billed as several SMS because of a brand of the operator.
    ///
    /// Dozens of languages can be affected, so the languages with the same number of segments share a line.
    pub fn warn_of_long_texts(&self, brands: &Brands, code_length: u8) {
        for ((brand, segments), languages) in self.current.long_texts(brands, code_length) {
            let languages = languages.join(", ");
            warn!(brand, languages, segments, "long_text");
        }
    }

    /// Makes the adapters.
    #[must_use]
    pub fn connect(self, config: &SdkConfig) -> Providers {
        Providers {
            current: self.current.connect(config),
            previous: self.previous.map(|previous| previous.connect(config)),
        }
    }
}

/// One provider and the settings that only it has.
pub enum OneProvider {
    /// Amazon Pinpoint's OTP API, with codes that belong to this Pinpoint application.
    Pinpoint {
        application_id: String,
    },
    EndUserMessaging(Box<end_user_messaging::Options>),
}

impl OneProvider {
    /// The ranges that requests and settings must stay within.
    #[must_use]
    pub fn limits(&self) -> ProviderLimits {
        match self {
            Self::Pinpoint { .. } => pinpoint::limits(),
            Self::EndUserMessaging(options) => end_user_messaging::limits(options),
        }
    }

    fn long_texts<'a>(
        &'a self,
        brands: &'a Brands,
        code_length: u8,
    ) -> BTreeMap<(&'a str, usize), Vec<&'a str>> {
        match self {
            Self::EndUserMessaging(options)
                if options.channels.contains(&Channel::Sms)
                    && !options.notify.only.contains(&Channel::Sms) =>
            {
                let brands = brands.all().into_iter();
                options.texts.long_ones(brands, code_length)
            }
            // Pinpoint and Notify configurations have AWS's texts, and calls and WhatsApp messages have no segments.
            Self::Pinpoint { .. } | Self::EndUserMessaging(_) => BTreeMap::new(),
        }
    }

    fn connect(self, config: &SdkConfig) -> Box<dyn Provider> {
        match self {
            Self::Pinpoint { application_id } => Box::new(Pinpoint::new(config, application_id)),
            Self::EndUserMessaging(options) => Box::new(EndUserMessaging::new(config, *options)),
        }
    }
}

/// Settings that Pinpoint ignores. If no provider is End User Messaging, the function refuses to start with such a
/// setting. If the function started, the operator would wait for calls or texts that never come.
const ONLY_WITH_END_USER_MESSAGING: &[&str] = &[
    "CODE_TYPE",
    "CHANNELS",
    "WHATSAPP_TEMPLATE",
    "WHATSAPP_LANGUAGES",
    "DO_NOT_SHARE_LINE",
    "WEBOTP_DOMAIN",
    "ANDROID_APP_HASH",
    "CONFIGURATION_SET",
    "DELIVERY_TOPIC",
    "MESSAGE_FEEDBACK",
];

impl Reader<'_> {
    /// Reads the settings of both providers.
    pub(super) fn provider(&mut self, file: &ConfigFile) -> ProviderSettings {
        const CURRENT: &str = "OTP_PROVIDER";
        const PREVIOUS: &str = "OTP_PREVIOUS_PROVIDER";
        let current = self.text(CURRENT).unwrap_or_default();
        let previous = self.raw(PREVIOUS);
        let is_used = |name| current == name || previous.as_deref() == Some(name);
        if !is_used(end_user_messaging::NAME) {
            self.refuse_settings_of_end_user_messaging(&file.texts);
        }
        if current == pinpoint::NAME {
            self.refuse_notify(file.notify.as_ref());
        }
        if previous.as_ref() == Some(&current) {
            self.report(
                PREVIOUS,
                "must be another provider than OTP_PROVIDER, or unset.",
            );
        }
        ProviderSettings {
            current: self.one_provider(CURRENT, &current, file, true),
            previous: previous.map(|name| self.one_provider(PREVIOUS, &name, file, false)),
        }
    }

    fn refuse_settings_of_end_user_messaging(&mut self, own_texts: &BTreeMap<String, OwnTexts>) {
        for name in self.set_among(ONLY_WITH_END_USER_MESSAGING) {
            self.report(
                name,
                "is for the provider `end-user-messaging`: set OTP_PROVIDER to it, or unset this.",
            );
        }
        if !own_texts.is_empty() {
            self.report(
                "CONFIG_FILE",
                "has `texts`, which are only for the provider `end-user-messaging`: set OTP_PROVIDER to it, or remove them.",
            );
        }
    }

    fn one_provider(
        &mut self,
        setting: &'static str,
        name: &str,
        file: &ConfigFile,
        sends: bool,
    ) -> OneProvider {
        match name {
            pinpoint::NAME => self.pinpoint(),
            end_user_messaging::NAME => self.end_user_messaging(file, sends),
            _ => {
                self.report(setting, "must be `pinpoint` or `end-user-messaging`.");
                // The name of the provider is wrong, so this value is a placeholder. End User Messaging has the wider
                // limits of the two providers. So with this placeholder, other settings cause no further problems.
                OneProvider::EndUserMessaging(Box::new(end_user_messaging::Options {
                    code_characters: CodeCharacters::LettersAndDigits,
                    channels: vec![Channel::Sms],
                    texts: Texts::default(),
                    whatsapp_template: None,
                    whatsapp_languages: Vec::new(),
                    configuration_set: None,
                    feedback: false,
                    notify: Notify::default(),
                }))
            }
        }
    }

    fn pinpoint(&mut self) -> OneProvider {
        const ID: &str = "PINPOINT_APPLICATION_ID";
        if !self.is_set(ID) {
            self.report(ID, "is required for the provider `pinpoint`.");
            let application_id = String::new();
            return OneProvider::Pinpoint { application_id };
        }
        let application_id = self.characters(
            ID,
            1..=64,
            |c| c.is_ascii_alphanumeric() || c == '-',
            "must be the ID of a Pinpoint application: 1 to 64 letters, digits and dashes.",
        );
        OneProvider::Pinpoint { application_id }
    }

    fn end_user_messaging(&mut self, file: &ConfigFile, sends: bool) -> OneProvider {
        const TEMPLATE: &str = "WHATSAPP_TEMPLATE";
        let channels = self.channels();
        // The previous provider sends nothing.
        let notify = if sends {
            self.notify(&channels, file.notify.as_ref(), &file.texts)
        } else {
            Notify::default()
        };
        let options = end_user_messaging::Options {
            code_characters: self.choice(
                "CODE_TYPE",
                ("numeric", CodeCharacters::Digits),
                [
                    ("alphabetic", CodeCharacters::Letters),
                    ("alphanumeric", CodeCharacters::LettersAndDigits),
                ],
            ),
            channels,
            texts: self.texts(&file.texts),
            whatsapp_template: self.optional(
                TEMPLATE,
                1..=512,
                |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_',
                "must be the name of a template that Meta has approved: 1 to 512 lowercase letters, digits and \
                 underscores.",
            ),
            whatsapp_languages: self.whatsapp_languages(),
            configuration_set: self.optional(
                "CONFIGURATION_SET",
                1..=64,
                |c| c.is_ascii_alphanumeric() || c == '-' || c == '_',
                "must be the name of a configuration set, not its ARN: 1 to 64 letters, digits, dashes and underscores.",
            ),
            feedback: self.choice("MESSAGE_FEEDBACK", ("off", false), [("on", true)]),
            notify,
        };
        if options.channels.contains(&Channel::WhatsApp) && !self.is_set(TEMPLATE) {
            self.report(TEMPLATE, "must be set, as CHANNELS has `whatsapp`.");
        }
        if options.feedback && !self.is_set("LEDGER_TABLE") {
            // Only the ledger remembers the ID of the message that a code was in.
            self.report(
                "MESSAGE_FEEDBACK",
                "needs the ledger: set LEDGER_TABLE, or leave it `off`.",
            );
        }
        OneProvider::EndUserMessaging(Box::new(options))
    }

    /// Reads the topic of the delivery events. Only End User Messaging sends such events.
    pub(super) fn deliveries(&mut self) -> Option<delivery::Source> {
        const NAME: &str = "DELIVERY_TOPIC";
        if !self.is_set(NAME) {
            return None;
        }
        if !self.is_set("CONFIGURATION_SET") {
            self.report(
                NAME,
                "needs CONFIGURATION_SET: without a configuration set, AWS sends no delivery events.",
            );
        }
        let topic = self.parsed(NAME, String::new(), |text| {
            let parts: Vec<_> = text.split(':').collect();
            let is_topic = matches!(
                parts.as_slice(),
                ["arn", partition, "sns", region, account, name]
                    if [partition, region, account, name].iter().all(|part| !part.is_empty())
            );
            if is_topic && text.len() <= 512 && text.bytes().all(|b| b.is_ascii_graphic()) {
                Ok(text.to_owned())
            } else {
                Err("must be the ARN of an SNS topic, such as `arn:aws:sns:us-east-1:123456789012:delivery`.".to_owned())
            }
        });
        let provider = end_user_messaging::NAME;
        Some(delivery::Source { topic, provider })
    }

    fn channels(&mut self) -> Vec<Channel> {
        self.parsed("CHANNELS", vec![Channel::Sms], |text| {
            let mut channels = Vec::new();
            for name in text.split(',') {
                match Channel::named(name.trim()) {
                    Some(channel) if !channels.contains(&channel) => channels.push(channel),
                    _ => {
                        return Err("must be one or more of `sms`, `voice` and `whatsapp`, each once, separated by commas, \
                                    in the order in which they are offered."
                            .to_owned());
                    }
                }
            }
            Ok(channels)
        })
    }

    fn texts(&mut self, own: &BTreeMap<String, OwnTexts>) -> Texts {
        let options = texts::Options {
            do_not_share: self.choice("DO_NOT_SHARE_LINE", ("off", false), [("on", true)]),
            web_otp_domain: self.raw("WEBOTP_DOMAIN"),
            android_app_hash: self.raw("ANDROID_APP_HASH"),
        };
        Texts::new(options, own.clone()).unwrap_or_else(|problems| {
            self.report_all(problems);
            Texts::default()
        })
    }

    /// The languages of the WhatsApp template. By default it has the language of the other messages.
    fn whatsapp_languages(&mut self) -> Vec<Tag> {
        const NAME: &str = "WHATSAPP_LANGUAGES";
        let list = match self.raw(NAME) {
            Some(list) => list,
            None => self
                .text("LANGUAGE")
                .unwrap_or_default()
                .replace(language::BY_COUNTRY, "en-US"),
        };
        let languages: Vec<_> = list.split(',').map(|tag| Tag::from(tag.trim())).collect();
        if !languages.iter().all(|tag| language::is_well_formed(tag)) {
            self.report(
                NAME,
                "must be language tags such as `en-US,pt-BR`, separated by commas.",
            );
        }
        languages
    }
}
