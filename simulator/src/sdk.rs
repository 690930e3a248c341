//! The AWS SDK's configuration for a simulated AWS.

use aws_credential_types::Credentials;
use otp_lambda::aws::{ConfigLoader, SharedHttpClient, config_loader};

/// The function's own configuration of the SDK, with a region and credentials that mean nothing. The caller still has
/// to set the endpoint.
#[must_use]
pub fn simulated_config(http_client: SharedHttpClient) -> ConfigLoader {
    let credentials = Credentials::builder()
        .access_key_id("ASIAEXAMPLE")
        .secret_access_key("example")
        .session_token("example")
        .provider_name("simulator")
        .build();
    config_loader(http_client)
        .region("us-east-1")
        .credentials_provider(credentials)
        // A simulated endpoint has no FIPS and no dual-stack form, whatever the environment of this machine says.
        .use_fips(false)
        .use_dual_stack(false)
}
