//! The settings of the providers: who makes the codes, and who made them before.

use super::{Reader, Reported};
#[cfg(feature = "end-user-messaging")]
use crate::aws::end_user_messaging::{self, EndUserMessaging, Endpoints};
#[cfg(feature = "pinpoint")]
use crate::aws::pinpoint::{self, Pinpoint};
use crate::aws::{Account, SharedHttpClient};
use crate::language::Tag;
use crate::otp::{CodeCharacters, CodeShape};
use crate::provider::{Channel, ChannelLimits, Provider, ProviderLimits};
use crate::service::{Defaults, Providers};
use crate::texts::OwnTexts;
use std::collections::BTreeMap;
use tracing::warn;

#[cfg(not(any(feature = "end-user-messaging", feature = "pinpoint")))]
compile_error!(
    "a provider is needed: build with the feature `end-user-messaging`, `pinpoint`, or both"
);

/// Who makes and checks the codes.
pub struct ProviderSettings {
    /// Who makes them now.
    pub current: OneProvider,
    /// Who made those that may still be on their way or in somebody's hands.
    pub previous: Option<OneProvider>,
}

impl ProviderSettings {
    /// What a guess may look like.
    #[must_use]
    pub fn codes(&self) -> CodeShape {
        let current = self.current.limits().code;
        match &self.previous {
            Some(previous) => current.or(&previous.limits().code),
            None => current,
        }
    }

    /// Says in the log which of the operator's own texts are paid for more than once.
    pub fn warn_of_long_texts(&self, defaults: &Defaults) {
        let all = [Some(&self.current), self.previous.as_ref()];
        for (language, segments) in all
            .into_iter()
            .flatten()
            .flat_map(|one| one.long_texts(defaults))
        {
            warn!(language, segments, "long_text");
        }
    }

    /// The providers themselves, in `account`, reached through `http_client`.
    #[must_use]
    pub fn connect(self, account: &Account, http_client: SharedHttpClient) -> Providers {
        Providers {
            previous: self
                .previous
                .map(|previous| previous.connect(account, http_client.clone())),
            current: self.current.connect(account, http_client),
        }
    }
}

/// A provider, with what only it needs.
pub enum OneProvider {
    /// Amazon Pinpoint's OTP API.
    #[cfg(feature = "pinpoint")]
    Pinpoint {
        /// The Pinpoint application that the codes belong to.
        application_id: String,
        /// An endpoint in place of AWS's.
        endpoint: Option<String>,
    },
    /// AWS End User Messaging.
    #[cfg(feature = "end-user-messaging")]
    EndUserMessaging {
        /// What the operator decides about it.
        options: end_user_messaging::Options,
        /// Endpoints in place of AWS's.
        endpoints: Endpoints,
    },
}

impl OneProvider {
    /// What requests and settings are held against.
    #[must_use]
    pub fn limits(&self) -> ProviderLimits {
        match self {
            #[cfg(feature = "pinpoint")]
            Self::Pinpoint { .. } => pinpoint::limits(),
            #[cfg(feature = "end-user-messaging")]
            Self::EndUserMessaging { options, .. } => end_user_messaging::limits(options),
        }
    }

    #[cfg_attr(
        not(feature = "end-user-messaging"),
        expect(unused_variables, reason = "Pinpoint writes its own texts")
    )]
    fn long_texts(&self, defaults: &Defaults) -> Vec<(&str, usize)> {
        match self {
            #[cfg(feature = "pinpoint")]
            Self::Pinpoint { .. } => Vec::new(),
            #[cfg(feature = "end-user-messaging")]
            Self::EndUserMessaging { options, .. } => options
                .texts
                .long_ones(&defaults.brand_name, defaults.code_length),
        }
    }

    fn connect(self, account: &Account, http_client: SharedHttpClient) -> Box<dyn Provider> {
        match self {
            #[cfg(feature = "pinpoint")]
            Self::Pinpoint {
                application_id,
                endpoint,
            } => Box::new(Pinpoint::new(
                account,
                application_id,
                endpoint,
                http_client,
            )),
            #[cfg(feature = "end-user-messaging")]
            Self::EndUserMessaging { options, endpoints } => Box::new(EndUserMessaging::new(
                account,
                options,
                endpoints,
                http_client,
            )),
        }
    }
}

/// What some provider takes: other settings are held against it where it is not known which provider there will be.
fn widest() -> ProviderLimits {
    ProviderLimits {
        code: CodeShape {
            length: 4..=8,
            characters: CodeCharacters::LettersAndDigits,
        },
        validity_minutes: 1..=60,
        allowed_attempts: 1..=5,
        brand_name: 1..=20,
        channels: vec![ChannelLimits {
            channel: Channel::Sms,
            languages: vec!["en-US".into()],
        }],
        any_language: true,
    }
}

/// The providers that are in this binary, by their names in settings.
const NAMES: &[&str] = &[
    #[cfg(feature = "pinpoint")]
    pinpoint::NAME,
    #[cfg(feature = "end-user-messaging")]
    end_user_messaging::NAME,
];

/// What means nothing without End User Messaging. Set without it, it would be ignored, and somebody would wait for calls
/// or texts that never come.
const ONLY_WITH_END_USER_MESSAGING: &[&str] = &[
    "CODE_TYPE",
    "CHANNELS",
    "WHATSAPP_TEMPLATE",
    "WHATSAPP_LANGUAGES",
    "DO_NOT_SHARE_LINE",
    "WEBOTP_DOMAIN",
    "ANDROID_APP_HASH",
    "CONFIGURATION_SET",
    "MESSAGE_FEEDBACK",
];

/// What requests are held against with this provider, as far as that can be said where its own settings are bad.
pub(super) fn limits_of(name: &str) -> ProviderLimits {
    match name {
        #[cfg(feature = "pinpoint")]
        pinpoint::NAME => pinpoint::limits(),
        _ => widest(),
    }
}

impl Reader<'_> {
    /// Who makes the codes and who made them before; `own_texts` are those of the packaged file.
    pub(super) fn provider(
        &mut self,
        own_texts: BTreeMap<String, OwnTexts>,
    ) -> Result<ProviderSettings, Reported> {
        const CURRENT: &str = "OTP_PROVIDER";
        const PREVIOUS: &str = "OTP_PREVIOUS_PROVIDER";
        let current_name = self.text(CURRENT)?;
        let previous_name = self.raw(PREVIOUS);
        let uses = |name| current_name == name || previous_name.as_deref() == Some(name);
        if !uses("end-user-messaging") {
            let ignored: Vec<_> = ONLY_WITH_END_USER_MESSAGING
                .iter()
                .filter(|name| self.raw(name).is_some())
                .collect();
            for name in ignored {
                self.report(name, "is for the provider `end-user-messaging`: set OTP_PROVIDER to it, or unset this.");
            }
            if !own_texts.is_empty() {
                self.report(
                    "CONFIG_FILE",
                    "has `texts`, which are for the provider `end-user-messaging` alone.",
                );
            }
        }
        if previous_name.as_ref() == Some(&current_name) {
            self.report(
                PREVIOUS,
                "must be another provider than OTP_PROVIDER, or unset.",
            );
        }
        let mut texts = Some(own_texts);
        let current = self.one_provider(CURRENT, &current_name, &mut texts);
        let previous = previous_name
            .map(|name| self.one_provider(PREVIOUS, &name, &mut texts))
            .transpose();
        Ok(ProviderSettings {
            current: current?,
            previous: previous?,
        })
    }

    #[cfg_attr(
        not(feature = "end-user-messaging"),
        expect(unused_variables, reason = "Pinpoint writes its own texts")
    )]
    fn one_provider(
        &mut self,
        setting: &'static str,
        name: &str,
        texts: &mut Option<BTreeMap<String, OwnTexts>>,
    ) -> Result<OneProvider, Reported> {
        match name {
            #[cfg(feature = "pinpoint")]
            pinpoint::NAME => self.pinpoint(),
            #[cfg(feature = "end-user-messaging")]
            end_user_messaging::NAME => self.end_user_messaging(texts.take().unwrap_or_default()),
            _ => {
                let names: Vec<_> = NAMES.iter().map(|name| format!("`{name}`")).collect();
                self.problem(setting, &format!("must be {}.", names.join(" or ")))
            }
        }
    }

    #[cfg(feature = "pinpoint")]
    fn pinpoint(&mut self) -> Result<OneProvider, Reported> {
        const ID: &str = "PINPOINT_APPLICATION_ID";
        let application_id = if self.raw(ID).is_none() {
            self.problem(ID, "is required for the provider `pinpoint`.")
        } else {
            self.matching(
                ID,
                1..=64,
                |c| c.is_ascii_alphanumeric() || c == '-',
                "must be the ID of a Pinpoint application: 1 to 64 letters, digits and dashes.",
            )
        };
        let endpoint = self.endpoint("AWS_ENDPOINT_URL_PINPOINT");
        Ok(OneProvider::Pinpoint {
            application_id: application_id?,
            endpoint: endpoint?,
        })
    }

    #[cfg(feature = "end-user-messaging")]
    fn end_user_messaging(
        &mut self,
        own_texts: BTreeMap<String, OwnTexts>,
    ) -> Result<OneProvider, Reported> {
        let code_characters = self.code_characters();
        let channels = self.channels();
        let texts = self.texts(own_texts);
        let whatsapp_template = self.optional(
            "WHATSAPP_TEMPLATE",
            1..=512,
            |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_',
            "must be the name of a template that Meta has approved: 1 to 512 small letters, digits and underscores.",
        );
        let whatsapp_languages = self.whatsapp_languages();
        let configuration_set = self.optional(
            "CONFIGURATION_SET",
            1..=64,
            |c| c.is_ascii_alphanumeric() || c == '-' || c == '_',
            "must be the name of a configuration set, not its ARN: 1 to 64 letters, digits, dashes and underscores.",
        );
        let feedback = self.either("MESSAGE_FEEDBACK", "off", "on");
        let codes_endpoint = self.endpoint("AWS_ENDPOINT_URL_ENDUSERMESSAGING");
        let feedback_endpoint = self.endpoint("AWS_ENDPOINT_URL_PINPOINT_SMS_VOICE_V2");

        if let (Ok(channels), Ok(None)) = (&channels, &whatsapp_template)
            && channels.contains(&Channel::WhatsApp)
        {
            self.report(
                "WHATSAPP_TEMPLATE",
                "must be set, as CHANNELS has `whatsapp`.",
            );
        }
        if matches!(feedback, Ok(true)) && self.raw("LEDGER_TABLE").is_none() {
            // What the code was in is remembered by the ledger alone.
            self.report(
                "MESSAGE_FEEDBACK",
                "needs the ledger: set LEDGER_TABLE, or leave it `off`.",
            );
        }
        let options = end_user_messaging::Options {
            code_characters: code_characters?,
            channels: channels?,
            texts: texts?,
            whatsapp_template: whatsapp_template?,
            whatsapp_languages: whatsapp_languages?,
            configuration_set: configuration_set?,
            feedback: feedback?,
        };
        Ok(OneProvider::EndUserMessaging {
            options,
            endpoints: Endpoints {
                codes: codes_endpoint?,
                feedback: feedback_endpoint?,
            },
        })
    }

    #[cfg(feature = "end-user-messaging")]
    fn code_characters(&mut self) -> Result<CodeCharacters, Reported> {
        match self.text("CODE_TYPE")?.as_str() {
            "numeric" => Ok(CodeCharacters::Digits),
            "alphabetic" => Ok(CodeCharacters::Letters),
            "alphanumeric" => Ok(CodeCharacters::LettersAndDigits),
            _ => self.problem(
                "CODE_TYPE",
                "must be `numeric`, `alphabetic` or `alphanumeric`.",
            ),
        }
    }

    #[cfg(feature = "end-user-messaging")]
    fn channels(&mut self) -> Result<Vec<Channel>, Reported> {
        let mut channels = Vec::new();
        for name in self.text("CHANNELS")?.split(',') {
            match Channel::named(name.trim()) {
                Some(channel) if !channels.contains(&channel) => channels.push(channel),
                _ => {
                    let what = "must be one or more of `sms`, `voice` and `whatsapp`, each once, separated by commas, in \
                                the order in which they are offered.";
                    return self.problem("CHANNELS", what);
                }
            }
        }
        Ok(channels)
    }

    #[cfg(feature = "end-user-messaging")]
    fn texts(&mut self, own: BTreeMap<String, OwnTexts>) -> Result<crate::texts::Texts, Reported> {
        let do_not_share = self.either("DO_NOT_SHARE_LINE", "off", "on");
        let options = crate::texts::Options {
            do_not_share: do_not_share?,
            web_otp_domain: self.raw("WEBOTP_DOMAIN"),
            android_app_hash: self.raw("ANDROID_APP_HASH"),
        };
        match crate::texts::Texts::new(options, own) {
            Ok(texts) => Ok(texts),
            Err(problems) => {
                self.problems.extend(problems);
                Err(Reported)
            }
        }
    }

    /// The languages of the WhatsApp template; where they are not given, that of all messages.
    #[cfg(feature = "end-user-messaging")]
    fn whatsapp_languages(&mut self) -> Result<Vec<Tag>, Reported> {
        let languages = match self.raw("WHATSAPP_LANGUAGES") {
            Some(list) => list,
            None => self
                .text("LANGUAGE")?
                .replace(crate::language::BY_COUNTRY, "en-US"),
        };
        let languages: Vec<_> = languages
            .split(',')
            .map(|language| Tag::from(language.trim()))
            .collect();
        if languages
            .iter()
            .all(|language| crate::language::is_well_formed(language))
        {
            Ok(languages)
        } else {
            self.problem(
                "WHATSAPP_LANGUAGES",
                "must be language tags such as `en-US,pt-BR`, separated by commas.",
            )
        }
    }
}
