//! Amazon Pinpoint's OTP API: `SendOTPMessage` and `VerifyOTPMessage`.

use super::call::{
    Exception, LastUse, NOT_SET_UP, opted_out, speaks_of_opt_out, throttled, time_limits,
    undeliverable, within,
};
use super::connecting::Connecting;
use super::with_time_limits;
use crate::error::{Error, ErrorCode};
use crate::otp::{CodeCharacters, CodeShape, Otp};
use crate::phone::PhoneNumber;
use crate::provider::{
    Answer, Channel, ChannelLimits, Message, Provider, ProviderLimits, Receipt, Verdict,
};
use crate::reference::ReferenceId;
use crate::telemetry::{redact, redact_guess};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_pinpoint::Client;
use aws_sdk_pinpoint::operation::RequestId;
use aws_sdk_pinpoint::types::{
    DeliveryStatus, MessageResponse, MessageResult, SendOtpMessageRequestParameters,
    VerifyOtpMessageRequestParameters,
};
use std::time::Duration;

/// The name in settings, logs and the ledger.
pub const NAME: &str = "pinpoint";

/// The languages of Pinpoint's own texts.
const LANGUAGES: [&str; 13] = [
    "de-DE", "en-GB", "en-US", "es-419", "es-ES", "fr-CA", "fr-FR", "it-IT", "ja-JP", "ko-KR",
    "pt-BR", "zh-CN", "zh-TW",
];

/// The ranges in Pinpoint's API reference.
#[must_use]
pub fn limits() -> ProviderLimits {
    ProviderLimits {
        code: CodeShape {
            length: 5..=8,
            characters: CodeCharacters::Digits,
        },
        validity_minutes: 5..=60,
        allowed_attempts: 1..=5,
        brand_name: 1..=20,
        channels: vec![ChannelLimits {
            channel: Channel::Sms,
            languages: LANGUAGES.map(Into::into).to_vec(),
        }],
        any_language: false,
        brand_is_display_name: false,
        quotas: None,
    }
}

/// Pinpoint's OTP API in one account, for one Pinpoint application.
pub struct Pinpoint {
    client: Client,
    connecting: Connecting,
    application_id: String,
    limits: ProviderLimits,
    last_use: LastUse,
}

impl Pinpoint {
    /// Uses the Pinpoint application `application_id` in the account and region of `config`.
    #[must_use]
    pub fn new(config: &SdkConfig, application_id: String) -> Self {
        Self {
            client: Client::new(&with_time_limits(config, time_limits())),
            connecting: Connecting::new(config),
            application_id,
            limits: limits(),
            last_use: LastUse::none_yet(config),
        }
    }
}

#[async_trait]
impl Provider for Pinpoint {
    fn name(&self) -> &'static str {
        NAME
    }

    fn limits(&self) -> &ProviderLimits {
        &self.limits
    }

    async fn connect(&self) {
        if !self.connecting.again().await {
            let nothing = VerifyOtpMessageRequestParameters::builder()
                .destination_identity("none")
                .reference_id("none")
                .otp("none")
                .build();
            let opening = Client::new(self.connecting.config())
                .verify_otp_message()
                .application_id(&self.application_id)
                .verify_otp_message_request_parameters(nothing);
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
        let parameters = SendOtpMessageRequestParameters::builder()
            .channel("SMS")
            .brand_name(message.brand_name)
            .code_length(message.code_length.into())
            .validity_period(message.validity_minutes.into())
            .allowed_attempts(message.allowed_attempts.into())
            .language(message.language)
            .origination_identity(message.origination_identity)
            .destination_identity(message.to.expose())
            .reference_id(message.reference.expose())
            .set_entity_id(message.dlt.map(|dlt| dlt.entity_id.clone()))
            .set_template_id(message.dlt.map(|dlt| dlt.template_id.clone()))
            .build();
        let call = self
            .client
            .send_otp_message()
            .application_id(&self.application_id)
            .send_otp_message_request_parameters(parameters)
            .send();
        let output = within(time_limit, &redact, &self.last_use, call)
            .await
            .map_err(|failure| failure.of_send(of_exception))?;
        let request_id = output.request_id().map(str::to_owned);
        delivered(output.message_response(), message.to, request_id)
    }

    async fn verify(
        &self,
        to: &PhoneNumber,
        reference: &ReferenceId,
        otp: &Otp,
        time_limit: Duration,
    ) -> Result<Answer, Error> {
        let parameters = VerifyOtpMessageRequestParameters::builder()
            .destination_identity(to.expose())
            .reference_id(reference.expose())
            .otp(otp.expose())
            .build();
        let call = self
            .client
            .verify_otp_message()
            .application_id(&self.application_id)
            .verify_otp_message_request_parameters(parameters)
            .send();
        let output = within(
            time_limit,
            &|text| redact_guess(text, otp),
            &self.last_use,
            call,
        )
        .await
        .map_err(|failure| failure.of_verify(of_exception))?;
        // `Valid` is optional. If it is absent, the code is not valid.
        let valid = output
            .verification_response()
            .and_then(|response| response.valid)
            == Some(true);
        Ok(Answer {
            verdict: if valid {
                Verdict::Valid
            } else {
                Verdict::Invalid
            },
            request_id: output.request_id().map(str::to_owned),
        })
    }
}

/// The error of an exception whose meaning is particular to Pinpoint.
fn of_exception(exception: &Exception) -> Option<Error> {
    match exception.status {
        403 => Some(Error::new(
            ErrorCode::Misconfigured,
            NOT_SET_UP,
        )
        .with_advice(
            "Operator: Amazon Pinpoint refused this function's credentials. Look at the function's role \
             (mobiletargeting:SendOTPMessage and VerifyOTPMessage on this application), the region, and whether the \
             account may use Pinpoint at all: new accounts use AWS End User Messaging instead.",
        )),
        404 | 405 => Some(Error::new(
            ErrorCode::Misconfigured,
            NOT_SET_UP,
        )
        .with_advice(
            "Operator: Amazon Pinpoint does not know the application. Look at PINPOINT_APPLICATION_ID and the region. \
             AWS takes no new Pinpoint customers: new accounts use AWS End User Messaging instead.",
        )),
        _ => None,
    }
}

/// Reads the result of the message. Even a response with HTTP status 200 may say that the delivery
/// has failed.
fn delivered(
    response: Option<&MessageResponse>,
    to: &PhoneNumber,
    request_id: Option<String>,
) -> Result<Receipt, Error> {
    let result = response
        .and_then(|response| response.result())
        .and_then(|results| results.get(to.expose()));
    let status = result.and_then(|result| result.delivery_status());
    let code = result.and_then(MessageResult::status_code);
    let text = result
        .and_then(|result| result.status_message())
        .unwrap_or_default();
    let error = match status {
        Some(DeliveryStatus::Successful) => {
            let message_id = result.and_then(|result| result.message_id()).map(str::to_owned);
            return Ok(Receipt { message_id, request_id });
        }
        Some(DeliveryStatus::OptOut) => opted_out(),
        // If the person opted out with the network, Pinpoint reports a permanent failure.
        Some(DeliveryStatus::PermanentFailure) if speaks_of_opt_out(text) => opted_out(),
        Some(DeliveryStatus::PermanentFailure) => undeliverable(),
        Some(DeliveryStatus::Throttled) => throttled().with_more_detail("No message was sent."),
        Some(DeliveryStatus::TemporaryFailure) => {
            Error::new(ErrorCode::ProviderUnavailable, "The text could not be delivered just now: try again shortly.")
                .with_retry_after(Duration::from_secs(5))
        }
        Some(DeliveryStatus::Duplicate) => {
            Error::new(ErrorCode::ProviderRejected, "The provider took the message for a duplicate and did not send it.")
        }
        // The failure is unknown, or this program does not know the status, or the response has no
        // status for this number.
        _ => Error::new(
            ErrorCode::ProviderUnavailable,
            "The provider did not say whether the text was sent. Ask the person before sending another.",
        )
        .with_unknown_delivery(),
    };
    let status = status.map_or("absent", DeliveryStatus::as_str);
    let code = code.map_or_else(|| "absent".to_owned(), |code| code.to_string());
    Err(error
        .with_cause(format!(
            "delivery status {}, status code {code}, message: {}",
            redact(status),
            redact(text)
        ))
        .with_provider_request_id(request_id))
}
