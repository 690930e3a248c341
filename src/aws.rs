//! The adapters to AWS, and what they share: how this program reaches AWS at all.
//!
//! Everything here is chosen for the cold start. The SDK's default way (its loader, AWS-LC with
//! jitter entropy, the system's certificates) costs about a hundred times the instructions of
//! this one until the first answer.

#[cfg_attr(
    not(feature = "end-user-messaging"),
    expect(dead_code, reason = "Pinpoint's exceptions need no names")
)]
mod call;
pub mod dynamodb;
#[cfg(feature = "end-user-messaging")]
pub mod end_user_messaging;
#[cfg(feature = "pinpoint")]
pub mod pinpoint;
pub mod secrets;

use crate::telemetry::redact;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    AppName, BehaviorVersion, IdentityCache, Region, SharedCredentialsProvider,
    StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::SdkConfig;
use std::time::Duration;

pub use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// Where AWS is and who this function is to it. Lambda writes it all into the environment.
pub struct Account {
    /// The region, such as `us-east-1`.
    pub region: String,
    /// The credentials of the function's role, which Lambda keeps for as long as the environment lives.
    pub credentials: Credentials,
    /// Roots to trust in place of Amazon's, as PEM, for partitions and proxies that have others.
    pub ca_bundle: Option<Vec<u8>>,
    /// Whether to use the endpoints with FIPS 140 cryptography.
    pub fips: bool,
    /// Whether to use the endpoints with IPv6.
    pub dual_stack: bool,
}

/// Access keys, as Lambda gives them to a function.
pub struct Credentials {
    /// The key's ID.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// What makes a temporary key complete.
    pub session_token: Option<String>,
}

/// How long a connection may take. The endpoints are in the function's own region.
const CONNECT: Duration = Duration::from_secs(1);

impl Account {
    /// What the clients of all services have in common; `endpoint` takes the place of AWS's.
    fn sdk_config(
        &self,
        endpoint: Option<String>,
        http_client: SharedHttpClient,
        timeouts: TimeoutConfig,
    ) -> SdkConfig {
        let keys = &self.credentials;
        let credentials = aws_sdk_dynamodb::config::Credentials::new(
            keys.access_key_id.as_str(),
            keys.secret_access_key.as_str(),
            keys.session_token.clone(),
            None,
            "environment",
        );
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .identity_cache(IdentityCache::no_cache())
            .http_client(http_client)
            // One attempt. A send that is tried again is a second text, a verify a burnt attempt, and a conditional
            // write whose answer was lost meets itself and takes that for somebody else.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .use_fips(self.fips)
            .use_dual_stack(self.dual_stack);
        config.set_app_name(AppName::new("otp-lambda").ok());
        config.set_endpoint_url(endpoint);
        config.build()
    }
}

/// What went wrong with a call, for the log: without digits.
fn cause<E>(error: &SdkError<E, HttpResponse>) -> String
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
        _ => chain(error),
    }
}

/// An error with its reasons, without digits.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    redact(&text)
}

/// The public roots that AWS's endpoints lead to: Amazon's four and the one of Starfield that
/// signs them for old clients. The system's bundle holds 145, and parsing it costs more than the
/// whole first request.
pub const AMAZON_ROOTS: &str = include_str!("aws/amazon-roots.pem");

/// How long a connection may lie idle and still be used.
///
/// A frozen function does not see the other side close. A request on such a connection fails
/// after it was written, and since nothing here is ever tried again, it would be told as a text
/// that may have left. A new connection costs a few milliseconds.
const IDLE: Duration = Duration::from_secs(20);

/// An HTTPS client that trusts Amazon's roots, or those of `ca_bundle`.
#[must_use]
pub fn http_client(ca_bundle: Option<&[u8]>) -> SharedHttpClient {
    let roots =
        TrustStore::empty().with_pem_certificate(ca_bundle.unwrap_or(AMAZON_ROOTS.as_bytes()));
    let mut client = aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(IDLE)
        .tls_provider(Provider::rustls(CryptoMode::Ring));
    // Building a context from a trust store cannot fail; the default one would fail loudly at the
    // first connection, for want of a root.
    if let Ok(context) = TlsContext::builder().with_trust_store(roots).build() {
        client = client.tls_context(context);
    }
    client.build_https()
}
