//! The variables that the AWS SDK reads by itself. Bad values are reported here, because the SDK ignores a bad value,
//! or fails at the first call.

use super::reader::Reader;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tracing::warn;

/// The endpoint for all services. The SDK ignores an empty value.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";

/// The endpoints for single services. The SDK takes an empty value for a URL, and every call fails.
const ENDPOINTS: &[&str] = &[
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_ENDUSERMESSAGING",
    "AWS_ENDPOINT_URL_PINPOINT",
    "AWS_ENDPOINT_URL_PINPOINT_SMS_VOICE_V2",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
];

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";

/// Whether the environment gives an endpoint for credentials. Credentials in variables go first, as in every AWS SDK.
pub(super) fn gives_an_endpoint(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| variable(name).is_some_and(|value| !value.trim().is_empty());
    is_set("AWS_CONTAINER_CREDENTIALS_FULL_URI") && !is_set(KEY_ID)
}

impl Reader<'_> {
    pub(super) fn check_sdk_variables(&mut self) {
        let keys: &[&str] = if gives_an_endpoint(&|name| self.raw(name)) {
            &[]
        } else {
            &[KEY_ID, "AWS_SECRET_ACCESS_KEY"]
        };
        for name in std::iter::once(&"AWS_REGION").chain(keys) {
            if !self.is_set(name) {
                self.report(
                    name,
                    "is not set. Lambda sets it; outside Lambda, set it yourself.",
                );
            }
        }
        for name in ENDPOINTS.iter().chain([&ENDPOINT]) {
            let is_url = |url: String| url.starts_with("http://") || url.starts_with("https://");
            if !self.raw(name).is_none_or(is_url) {
                self.report(name, "must be an http:// or https:// URL.");
            }
        }
        for name in ENDPOINTS {
            if self.is_empty(name) {
                self.report(name, "is empty: set it to a URL, or remove it.");
            }
        }
        for name in ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"] {
            let is_flag = |value: String| {
                value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
            };
            if !self.raw(name).is_none_or(is_flag) {
                self.report(name, "must be true or false.");
            }
        }
    }

    /// The certificates to trust in place of Amazon's, as PEM.
    pub(super) fn ca_bundle(&mut self) -> Option<Vec<u8>> {
        const NAME: &str = "AWS_CA_BUNDLE";
        let path = self.raw(NAME)?;
        let bundle = self.file(NAME, &path)?;
        if !is_bundle(&bundle) {
            self.report(NAME, "must name a file of certificates in PEM format.");
        }
        Some(bundle)
    }

    /// The content of a file that a setting names.
    pub(super) fn file(&mut self, name: &str, path: &str) -> Option<Vec<u8>> {
        match std::fs::read(path) {
            Ok(content) => Some(content),
            Err(error) => {
                self.report(
                    name,
                    &format!("names a file that cannot be read ({}).", error.kind()),
                );
                None
            }
        }
    }
}

/// Says in the log which variables of a developer's machine the function ignores.
pub(super) fn warn_of_profiles(variable: &dyn Fn(&str) -> Option<String>) {
    for name in [
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
    ] {
        if variable(name).is_some_and(|value| !value.trim().is_empty()) {
            warn!(
                "{name} has no effect: this function reads no AWS profiles, only environment variables."
            );
        }
    }
}

fn is_bundle(bytes: &[u8]) -> bool {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    certificates.is_ok_and(|certificates| !certificates.is_empty())
}
