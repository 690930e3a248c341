//! The adapters to AWS, and the configuration that they share.
//!
//! The configuration makes the cold start fast. With the SDK's defaults, the first response takes about a hundred times
//! as many instructions: the SDK searches for profiles, AWS-LC gathers jitter entropy, and all certificates of the
//! system are parsed.

mod call;
mod connecting;
mod connector;
mod credentials;
pub mod dynamodb;
pub mod end_user_messaging;
mod https;
pub mod notify;
pub mod pinpoint;
pub mod secrets;

use crate::telemetry::redact;
use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_dynamodb::config::IdentityCache;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::time::Duration;

pub use aws_config::{ConfigLoader, SdkConfig};
pub use aws_smithy_runtime_api::client::http::SharedHttpClient;
pub use connector::{AMAZON_ROOTS, http_client};
pub use credentials::with_credentials_endpoint;

/// Time limit for opening a connection. The endpoints are in the function's own region.
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(1);

/// Reads the configuration that all clients share. The configuration comes from the environment alone: no file and no
/// metadata service is read. If the environment has the address of an endpoint in place of credentials, use
/// [`with_credentials_endpoint`], too.
///
/// Lambda sets the region and the credentials. `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_<SERVICE>`,
/// `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT` work as in every AWS SDK.
#[must_use]
pub fn config_loader(http_client: SharedHttpClient) -> ConfigLoader {
    // Lambda has no profiles, and looking for them costs a million instructions.
    let no_profiles = EnvConfigFiles::builder()
        .with_contents(EnvConfigFileKind::Config, "")
        .build();
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(EnvironmentVariableRegionProvider::new())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .profile_files(no_profiles)
        .identity_cache(IdentityCache::no_cache())
        .http_client(http_client)
        // The SDK repeats no call, for three reasons. A repeated send could be a second SMS. A repeated verify could
        // use up another attempt. And if a conditional write was carried out and only its response was lost, a repeat
        // of the write is refused, because the item has changed. The adapter of DynamoDB makes the repeats that are
        // safe.
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    match AppName::new("otp-lambda") {
        Ok(name) => loader.app_name(name),
        Err(_) => loader,
    }
}

/// The shared configuration with the time limits of one client.
fn with_time_limits(config: &SdkConfig, time_limits: TimeoutConfig) -> SdkConfig {
    config.to_builder().timeout_config(time_limits).build()
}

/// Describes a failed call for the log, without digits and words that could be a code or a number.
fn cause<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    cause_by(error, &redact)
}

/// As [`cause`], with another redaction of the texts that this program did not write.
fn cause_by<E>(error: &SdkError<E, HttpResponse>, redact: &dyn Fn(&str) -> String) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let error = answer.err();
            let (name, text) = (
                error.code().unwrap_or("unnamed"),
                error.message().unwrap_or_default(),
            );
            format!(
                "HTTP {}, {}: {}",
                answer.raw().status().as_u16(),
                redact(name),
                redact(text)
            )
        }
        _ => chain(error, redact),
    }
}

/// An error and its sources, with the texts redacted.
fn chain(error: &dyn std::error::Error, redact: &dyn Fn(&str) -> String) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    redact(&text)
}
