//! Amazon Pinpoint's OTP API: `SendOTPMessage` and `VerifyOTPMessage`.

use super::{Account, CONNECT, SharedHttpClient, cause, chain};
use crate::error::{Code, Error};
use crate::otp::Otp;
use crate::phone::PhoneNumber;
use crate::provider::{Answer, Message, Provider, ProviderLimits, Receipt, Verdict};
use crate::reference::ReferenceId;
use crate::telemetry::redact;
use async_trait::async_trait;
use aws_sdk_pinpoint::Client;
use aws_sdk_pinpoint::config::timeout::TimeoutConfig;
use aws_sdk_pinpoint::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_pinpoint::operation::RequestId;
use aws_sdk_pinpoint::types::{
    DeliveryStatus, MessageResponse, MessageResult, SendOtpMessageRequestParameters, VerifyOtpMessageRequestParameters,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::time::Duration;

/// What Pinpoint takes.
pub const LIMITS: ProviderLimits = ProviderLimits {
    code_length: 5..=8,
    validity_minutes: 5..=60,
    allowed_attempts: 1..=5,
    brand_name: 1..=20,
    languages: &[
        "de-DE", "en-GB", "en-US", "es-419", "es-ES", "fr-CA", "fr-FR", "it-IT", "ja-JP", "ko-KR", "pt-BR", "zh-CN",
        "zh-TW",
    ],
    channels: &["sms"],
};

/// How long Pinpoint may think before its answer begins.
const READ: Duration = Duration::from_secs(5);

/// Less than this is no time to ask in.
const LEAST: Duration = Duration::from_millis(200);

/// Pinpoint's OTP API in one account, for one Pinpoint application.
pub struct Pinpoint {
    client: Client,
    application_id: String,
}

impl Pinpoint {
    /// Uses the application `application_id` of `account`, through `http_client`; `endpoint` takes
    /// the place of AWS's.
    #[must_use]
    pub fn new(
        account: &Account,
        application_id: String,
        endpoint: Option<String>,
        http_client: SharedHttpClient,
    ) -> Self {
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(READ).build();
        Self { client: Client::new(&account.sdk_config(endpoint, http_client, timeouts)), application_id }
    }
}

#[async_trait]
impl Provider for Pinpoint {
    fn name(&self) -> &'static str {
        "pinpoint"
    }

    fn limits(&self) -> &'static ProviderLimits {
        &LIMITS
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
        let output = within(time_limit, call).await.map_err(Failure::of_send)?;
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
        let output = within(time_limit, call).await.map_err(Failure::into_error)?;
        // `Valid` is optional. What is not said to be valid is not.
        let valid = output.verification_response().and_then(|response| response.valid) == Some(true);
        Ok(Answer {
            verdict: if valid { Verdict::Valid } else { Verdict::Invalid },
            request_id: output.request_id().map(str::to_owned),
        })
    }
}

/// What an answer with HTTP status 200 says about the one message: its delivery can have failed.
fn delivered(
    response: Option<&MessageResponse>,
    to: &PhoneNumber,
    request_id: Option<String>,
) -> Result<Receipt, Error> {
    let result = response.and_then(|response| response.result()).and_then(|results| results.get(to.expose()));
    let status = result.and_then(|result| result.delivery_status());
    let code = result.and_then(MessageResult::status_code);
    let text = result.and_then(|result| result.status_message()).unwrap_or_default();
    let error = match status {
        Some(DeliveryStatus::Successful) => {
            let message_id = result.and_then(|result| result.message_id()).map(str::to_owned);
            return Ok(Receipt { message_id, request_id });
        }
        Some(DeliveryStatus::OptOut) => opted_out(),
        // Pinpoint reports an opt-out on the side of the networks as any other permanent failure.
        Some(DeliveryStatus::PermanentFailure) if speaks_of_opt_out(text) => opted_out(),
        Some(DeliveryStatus::PermanentFailure) => Error::new(
            Code::Undeliverable,
            "No text can reach this number: it may be a landline, not in service, or closed to such messages.",
        ),
        Some(DeliveryStatus::Throttled) => throttled(),
        Some(DeliveryStatus::TemporaryFailure) => {
            Error::new(Code::ProviderUnavailable, "The text could not be delivered just now. Try again shortly.")
                .with_retry_after(Duration::from_secs(5))
        }
        Some(DeliveryStatus::Duplicate) => {
            Error::new(Code::ProviderRejected, "The provider took the message for a duplicate and did not send it.")
        }
        // Unknown failure, a status that is not known here, none at all, none for this number.
        _ => Error::new(
            Code::ProviderUnavailable,
            "The provider did not say whether the text was sent. Ask the person before sending another.",
        )
        .with_unknown_delivery(),
    };
    let status = status.map_or("absent", DeliveryStatus::as_str);
    let code = code.map_or_else(|| "absent".to_owned(), |code| code.to_string());
    Err(error
        .with_cause(format!("delivery status {}, status code {code}, message: {}", redact(status), redact(text)))
        .with_provider_request_id(request_id))
}

fn opted_out() -> Error {
    Error::new(Code::OptedOut, "The owner of this number has opted out of messages from this sender.")
}

fn speaks_of_opt_out(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["opted out", "opted-out", "opt out", "opt-out"].iter().any(|words| text.contains(words))
}

fn throttled() -> Error {
    Error::new(Code::ProviderThrottled, "The provider is limiting requests. Try again shortly.")
        .with_retry_after(Duration::from_secs(2))
}

/// Lets `call` take as long as the invocation has for it.
///
/// Here rather than in the client's configuration, because every invocation has another deadline
/// and a client of its own for each would lose the open connection.
async fn within<T, E>(
    time_limit: Duration,
    call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if time_limit < LEAST {
        return Err(Failure::new(Kind::TimedOut, false, "no time was left to ask"));
    }
    match tokio::time::timeout(time_limit, call).await {
        Ok(outcome) => outcome.map_err(|error| Failure::read(&error)),
        Err(_) => Err(Failure::new(Kind::TimedOut, true, "the invocation's time for the provider was over")),
    }
}

/// Why a call has no output.
struct Failure {
    kind: Kind,
    /// Whether Pinpoint may have acted on the request all the same.
    may_have_acted: bool,
    cause: String,
    request_id: Option<String>,
}

enum Kind {
    TimedOut,
    Unavailable,
    /// An error answer, by its HTTP status: AWS's exceptions of these calls map to them one to one,
    /// and what its gateways answer has no modelled exception at all.
    Answered(u16),
}

impl Failure {
    fn new(kind: Kind, may_have_acted: bool, cause: impl Into<String>) -> Self {
        Self { kind, may_have_acted, cause: cause.into(), request_id: None }
    }

    fn read<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                Self {
                    kind: Kind::Answered(status),
                    // A 4xx is a refusal. Anything else, a 200 that cannot be read included, is not one.
                    may_have_acted: !(400..500).contains(&status),
                    cause: cause(error),
                    request_id: answer.err().meta().request_id().map(str::to_owned),
                }
            }
            // Nothing was written before there was a connection.
            SdkError::DispatchFailure(failure) if failure.as_connector_error().is_some_and(never_connected) => {
                Self::new(Kind::Unavailable, false, format!("no connection: {}", chain(error)))
            }
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::new(Kind::TimedOut, true, chain(error)),
            SdkError::ConstructionFailure(_) => {
                Self::new(Kind::Unavailable, false, format!("the request could not be made: {}", chain(error)))
            }
            _ => Self::new(Kind::Unavailable, true, chain(error)),
        }
    }

    fn of_send(self) -> Error {
        let may_have_left = self.may_have_acted;
        let error = self.into_error();
        if may_have_left { error.with_unknown_delivery() } else { error }
    }

    fn into_error(self) -> Error {
        let error = match self.kind {
            Kind::TimedOut => Error::new(Code::ProviderTimeout, "The provider did not answer in time."),
            Kind::Answered(403) => Error::new(
                Code::Misconfigured,
                "Amazon Pinpoint refused this function's credentials. Operator: look at the function's role \
                 (mobiletargeting:SendOTPMessage and VerifyOTPMessage on this application), the region, and whether the \
                 account may use Pinpoint at all: new accounts use AWS End User Messaging instead.",
            ),
            Kind::Answered(404 | 405) => Error::new(
                Code::Misconfigured,
                "Amazon Pinpoint does not know the application. Operator: look at PINPOINT_APPLICATION_ID and the region. \
                 AWS takes no new Pinpoint customers: new accounts use AWS End User Messaging instead.",
            ),
            Kind::Answered(429) => throttled(),
            Kind::Answered(400..500) => Error::new(
                Code::ProviderRejected,
                "The provider refused the request as it is; sending it again will not help.",
            ),
            Kind::Answered(_) | Kind::Unavailable => {
                Error::new(Code::ProviderUnavailable, "The provider could not be reached, or failed.")
            }
        };
        error.with_cause(self.cause).with_provider_request_id(self.request_id)
    }
}

/// Whether the failure came before the connection was there.
fn never_connected(error: &aws_sdk_pinpoint::error::ConnectorError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        next = error.source();
    }
    false
}
