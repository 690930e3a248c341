//! AWS End User Messaging: `SendNotifyCodeVerification`, `ValidateNotifyCodeVerification`, and `PutMessageFeedback`.

use super::call::{
    Exception, LastUse, NOT_SET_UP, opted_out, rejected, speaks_of_opt_out, throttled, time_limits,
    undeliverable, within,
};
use super::connecting::Connecting;
use super::notify::{LONGEST_DISPLAY_NAME, Notify, is_notify_configuration};
use super::{cause, with_time_limits};
use crate::error::{Error, ErrorCode};
use crate::language::Tag;
use crate::otp::{CodeCharacters, CodeShape, Otp};
use crate::phone::PhoneNumber;
use crate::provider::{
    Answer, Channel, ChannelLimits, Message, Provider, ProviderLimits, Receipt, Verdict,
};
use crate::reference::ReferenceId;
use crate::telemetry::{redact, redact_guess};
use crate::texts::{BodyType, SmsText, Texts};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_endusermessaging::Client;
use aws_sdk_endusermessaging::operation::RequestId;
use aws_sdk_endusermessaging::types::{
    ChannelParameters, CodeConfigurationParameters, CodeType, NotifyChannel, NotifyParameters,
    TextParameters, VerificationStatus, VoiceMessageBodyTextType, VoiceParameters,
    WhatsAppParameters,
};
use aws_sdk_pinpointsmsvoicev2::types::MessageFeedbackStatus;
use std::sync::OnceLock;
use std::time::Duration;

/// The name in settings, logs and the ledger.
pub const NAME: &str = "end-user-messaging";

/// The operator's choices for End User Messaging.
#[derive(Debug)]
pub struct Options {
    pub code_characters: CodeCharacters,
    /// The channels that callers may choose, the default first.
    pub channels: Vec<Channel>,
    pub texts: Texts,
    /// The template that Meta has approved for codes by WhatsApp.
    pub whatsapp_template: Option<String>,
    /// The languages of that template.
    pub whatsapp_languages: Vec<Tag>,
    /// The configuration set whose destinations get the delivery events.
    pub configuration_set: Option<String>,
    /// Whether to tell AWS that a code came back.
    pub feedback: bool,
    pub notify: Notify,
}

/// End User Messaging's code verification in one account.
pub struct EndUserMessaging {
    client: Client,
    /// Made on first use: an execution environment that only sends codes never needs it.
    feedback: OnceLock<aws_sdk_pinpointsmsvoicev2::Client>,
    config: SdkConfig,
    options: Options,
    limits: ProviderLimits,
    connecting: Connecting,
    last_use: LastUse,
}

/// The ranges of the service, with the channels and languages that these options allow.
#[must_use]
pub fn limits(options: &Options) -> ProviderLimits {
    let own_languages = |channel| match channel {
        Channel::Sms => options.texts.sms_languages().map(Tag::from).collect(),
        Channel::Voice => options.texts.voice_languages().map(Tag::from).collect(),
        Channel::WhatsApp => options.whatsapp_languages.clone(),
    };
    let languages = |channel| {
        let of_templates = options.notify.languages(channel);
        of_templates.unwrap_or_else(|| own_languages(channel))
    };
    let has_notify = !options.notify.configurations.is_empty();
    ProviderLimits {
        code: CodeShape {
            length: 4..=8,
            characters: options.code_characters,
        },
        validity_minutes: 1..=60,
        allowed_attempts: 1..=5,
        // For this program's own texts, AWS does not limit the length of the brand. This program applies the limit of
        // Pinpoint, so that an operator can change the provider without changing other settings. With this limit, every
        // built-in text also fits into one SMS segment.
        brand_name: 1..=if has_notify { LONGEST_DISPLAY_NAME } else { 20 },
        channels: options
            .channels
            .iter()
            .map(|&channel| ChannelLimits {
                channel,
                languages: languages(channel),
            })
            .collect(),
        any_language: true,
        brand_is_display_name: has_notify,
        quotas: options.notify.quotas(),
    }
}

impl EndUserMessaging {
    /// Uses the account and region of `config`, with these options.
    #[must_use]
    pub fn new(config: &SdkConfig, options: Options) -> Self {
        let config = with_time_limits(config, time_limits());
        Self {
            client: Client::new(&config),
            feedback: OnceLock::new(),
            limits: limits(&options),
            connecting: Connecting::new(&config),
            last_use: LastUse::none_yet(&config),
            config,
            options,
        }
    }

    /// The text of an SMS, for the count of its segments and for the send.
    fn sms(&self, message: &Message<'_>) -> Option<SmsText> {
        let Message {
            language,
            brand_name,
            code_length,
            ..
        } = *message;
        self.options.texts.sms(language, brand_name, code_length)
    }

    /// The content of the message. Only the code is filled in by AWS.
    fn parameters(&self, message: &Message<'_>) -> Result<ChannelParameters, Error> {
        let parameters = ChannelParameters::builder();
        if is_notify_configuration(message.origination_identity) {
            let template = self
                .options
                .notify
                .template(message.channel, message.language)
                .ok_or_else(no_text)?;
            let template = NotifyParameters::builder().notify_template_id(template);
            return Ok(parameters.notify(template.build()).build());
        }
        let parameters = match message.channel {
            Channel::Sms => {
                let text = self.sms(message).ok_or_else(no_text)?;
                let mut text = TextParameters::builder().inline_template_body(text.body);
                if let Some(dlt) = message.dlt {
                    text = text
                        .destination_country_parameters("IN_ENTITY_ID", &dlt.entity_id)
                        .destination_country_parameters("IN_TEMPLATE_ID", &dlt.template_id);
                }
                parameters.text(text.build())
            }
            Channel::Voice => {
                let text = self
                    .options
                    .texts
                    .voice(message.language, message.brand_name)
                    .ok_or_else(no_text)?;
                let kind = match text.body_type {
                    BodyType::Ssml => VoiceMessageBodyTextType::Ssml,
                    BodyType::Text => VoiceMessageBodyTextType::Text,
                };
                let voice = VoiceParameters::builder()
                    .inline_template_body(text.body)
                    .voice_message_body_text_type(kind)
                    .language_code(text.language_code)
                    .voice_id(text.voice_id);
                parameters.voice(voice.build())
            }
            Channel::WhatsApp => {
                let template = self.options.whatsapp_template.clone().ok_or_else(no_text)?;
                let template = WhatsAppParameters::builder()
                    .whats_app_template_name(template)
                    .language_code(message.language);
                parameters.whats_app(template.build())
            }
        };
        Ok(parameters.build())
    }
}

#[async_trait]
impl Provider for EndUserMessaging {
    fn name(&self) -> &'static str {
        NAME
    }

    fn limits(&self) -> &ProviderLimits {
        &self.limits
    }

    fn segments(&self, message: &Message<'_>) -> u64 {
        let text = match message.channel {
            // The texts of AWS's templates are not known here.
            Channel::Sms if is_notify_configuration(message.origination_identity) => None,
            Channel::Sms => self.sms(message),
            Channel::Voice | Channel::WhatsApp => None,
        };
        text.map_or(1, |text| u64::try_from(text.segments).unwrap_or(u64::MAX))
    }

    fn text(&self, message: &Message<'_>) -> Option<String> {
        let Message {
            language,
            brand_name,
            channel,
            origination_identity,
            ..
        } = *message;
        // The texts of AWS's templates are not known here.
        if is_notify_configuration(origination_identity) {
            return None;
        }
        match channel {
            Channel::Sms => self.sms(message).map(|text| text.body),
            Channel::Voice => {
                let text = self.options.texts.voice(language, brand_name)?;
                Some(text.body)
            }
            Channel::WhatsApp => None,
        }
    }

    async fn connect(&self) {
        if !self.connecting.again().await {
            let opening = Client::new(self.connecting.config())
                .validate_notify_code_verification()
                .destination_identity("none")
                .reference_id("none")
                .code("none");
            // This call always fails, because it is not sent.
            let _ = opening.send().await;
        }
        self.last_use.is_now();
    }

    async fn reconnect(&self) {
        if self.last_use.is_long_ago() {
            self.connect().await;
        }
    }

    async fn send(&self, message: &Message<'_>, time_limit: Duration) -> Result<Receipt, Error> {
        let code_type = match self.options.code_characters {
            CodeCharacters::Digits => CodeType::Numeric,
            CodeCharacters::Letters => CodeType::Alpha,
            CodeCharacters::LettersAndDigits => CodeType::Alphanumeric,
        };
        let code = CodeConfigurationParameters::builder()
            .code_type(code_type)
            .code_length(message.code_length.into())
            .validity_period_minutes(message.validity_minutes.into())
            .max_attempts(message.allowed_attempts.into())
            .build();
        let channel = match message.channel {
            Channel::Sms => NotifyChannel::Text,
            Channel::Voice => NotifyChannel::Voice,
            Channel::WhatsApp => NotifyChannel::Whatsapp,
        };
        let call = self
            .client
            .send_notify_code_verification()
            .channel(channel)
            .destination_identity(message.to.expose())
            .origination_identity(message.origination_identity)
            .override_channel_parameters(self.parameters(message)?)
            .override_code_configuration_parameters(code)
            .set_configuration_set_name(self.options.configuration_set.clone())
            .reference_id(message.reference.expose())
            .send();
        let sends_for = if is_notify_configuration(message.origination_identity) {
            of_notify
        } else {
            of_send
        };
        let output = within(time_limit, &redact, &self.last_use, call)
            .await
            .map_err(|failure| failure.of_send(sends_for))?;
        let request_id = output.request_id().map(str::to_owned);
        // The SDK returns an empty string if the response lacks this required member.
        let message_id = Some(output.message_id().to_owned()).filter(|id| !id.is_empty());
        if message_id.is_none() {
            return Err(Error::new(
                ErrorCode::ProviderUnavailable,
                "The provider did not say whether the message was sent. Ask the person before sending another.",
            )
            .with_unknown_delivery()
            .with_cause("the answer names no message")
            .with_provider_request_id(request_id));
        }
        Ok(Receipt {
            message_id,
            request_id,
        })
    }

    async fn verify(
        &self,
        to: &PhoneNumber,
        reference: &ReferenceId,
        otp: &Otp,
        time_limit: Duration,
    ) -> Result<Answer, Error> {
        let call = self
            .client
            .validate_notify_code_verification()
            .destination_identity(to.expose())
            .reference_id(reference.expose())
            .code(otp.expose())
            .send();
        match within(
            time_limit,
            &|text| redact_guess(text, otp),
            &self.last_use,
            call,
        )
        .await
        {
            Ok(output) => Ok(Answer {
                verdict: match output.status() {
                    VerificationStatus::Valid => Verdict::Valid,
                    // Any other status is not valid, including an absent one.
                    _ => Verdict::Invalid,
                },
                request_id: output.request_id().map(str::to_owned),
            }),
            // AWS's model does not have this exception here. It can only be about the verification.
            Err(failure)
                if failure
                    .is_exception(|exception| exception.name == "ResourceNotFoundException") =>
            {
                Ok(Answer {
                    verdict: Verdict::Invalid,
                    request_id: failure.request_id(),
                })
            }
            Err(failure) => Err(failure.of_verify(of_exception)),
        }
    }

    fn wants_message_ids(&self) -> bool {
        self.options.feedback
    }

    async fn code_came_back(&self, message_id: &str, time_limit: Duration) -> Result<(), String> {
        if !self.options.feedback {
            return Ok(());
        }
        let client = self
            .feedback
            .get_or_init(|| aws_sdk_pinpointsmsvoicev2::Client::new(&self.config));
        let call = client
            .put_message_feedback()
            .message_id(message_id)
            .message_feedback_status(MessageFeedbackStatus::Received)
            .send();
        match tokio::time::timeout(time_limit, call).await {
            Ok(outcome) => outcome.map(drop).map_err(|error| cause(&error)),
            Err(_) => Err(format!("no answer in {} ms", time_limit.as_millis())),
        }
    }
}

fn no_text() -> Error {
    Error::new(
        ErrorCode::InternalError,
        "There is no text for this channel and language.",
    )
}

/// The error of an exception that means something special at End User Messaging.
fn of_exception(exception: &Exception) -> Option<Error> {
    match exception.status {
        403 => Some(not_set_up(
            "Operator: AWS End User Messaging refused this function's credentials. Look at the function's role \
             (end-user-messaging:SendNotifyCodeVerification and ValidateNotifyCodeVerification, and sms-voice actions \
             on the origination identity), and at the region.",
        )),
        404 => Some(not_set_up(
            "Operator: AWS End User Messaging does not know something that the request names. Look at \
             ORIGINATION_IDENTITY, ORIGINATION_IDENTITIES, CONFIGURATION_SET, WHATSAPP_TEMPLATE and the region.",
        )),
        _ if exception.name == "ServiceQuotaExceededException" => Some(quota_used_up(
            "Operator: look at the spending limit and the quotas of AWS End User Messaging.",
        )),
        _ if exception.name == "ThrottlingException" => Some(throttled()),
        _ => None,
    }
}

/// As [`of_exception`], for a send. Only the text of the exception says why a send was refused.
fn of_send(exception: &Exception) -> Option<Error> {
    of_exception(exception).or_else(|| of_number(exception))
}

/// As [`of_send`], for a send by a Notify configuration.
fn of_notify(exception: &Exception) -> Option<Error> {
    match (exception.status, exception.name.as_str()) {
        (403, _) => Some(not_set_up(
            "Operator: AWS End User Messaging refused this function's credentials or your account. Look at the function's \
             role (end-user-messaging:SendNotifyCodeVerification, and sms-voice:SendNotifyTextMessage or \
             SendNotifyVoiceMessage on the Notify configuration). `make notify` says whether AWS lets your account use \
             Notify.",
        )),
        (404, _) => Some(not_set_up(
            "Operator: AWS End User Messaging does not know the Notify configuration, the template or the configuration \
             set. Look at ORIGINATION_IDENTITY, ORIGINATION_IDENTITIES, `notify` in CONFIG_FILE, CONFIGURATION_SET and \
             the region. `make notify` lists what there is.",
        )),
        (_, "ServiceQuotaExceededException") => Some(quota_used_up(
            "Operator: a Notify configuration of the basic tier sends 200 messages a day, and each tier 10 a day to one \
             number. Look also at the monthly spending limit of Notify.",
        )),
        (_, "ThrottlingException") => Some(throttled().with_advice(
            "Operator: a Notify configuration of the basic tier sends 1 message a second.",
        )),
        _ => of_number(exception).or_else(|| match exception.status {
            409 => Some(not_set_up(
                "Operator: the Notify configuration cannot send now. It must have the status ACTIVE: `make notify` shows \
                 its status, and the reason if AWS has rejected it.",
            )),
            400 => Some(rejected().with_advice(
                "Operator: the Notify configuration or the template does not allow this message. Both must have the \
                 channel and the country, and the template must be for the tier: `make notify` lists them.",
            )),
            _ => None,
        }),
    }
}

/// The error of a number that gets no messages.
fn of_number(exception: &Exception) -> Option<Error> {
    let text = exception.text.to_ascii_lowercase();
    match exception.status {
        400..500 if speaks_of_opt_out(&text) => Some(opted_out()),
        400..500
            if ["landline", "unreachable", "invalid phone number"]
                .iter()
                .any(|words| text.contains(words)) =>
        {
            Some(undeliverable())
        }
        _ => None,
    }
}

fn not_set_up(advice: &'static str) -> Error {
    Error::new(ErrorCode::Misconfigured, NOT_SET_UP).with_advice(advice)
}

fn quota_used_up(advice: &'static str) -> Error {
    Error::new(
        ErrorCode::ProviderThrottled,
        "The quota at the provider is used up.",
    )
    .with_advice(advice)
    .with_retry_after(Duration::from_mins(1))
}
