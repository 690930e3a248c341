//! AWS Secrets Manager, for the one secret there is: what the ledger's keyed hashes are made with.

use super::{Account, CONNECT, SharedHttpClient, cause};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use std::time::Duration;

/// How long Secrets Manager may take. It is asked while the execution environment starts, which may take ten seconds.
const ASK: Duration = Duration::from_secs(3);

/// As long as 32 random bytes in base64 are. Whoever reads the table and can guess the secret can guess the numbers.
const LEAST: usize = 43;

/// The bytes of the secret `arn`, as text or binary; `endpoint` takes the place of AWS's.
///
/// # Errors
///
/// A sentence for the operator, which never holds the secret: it could not be read, or it is too short.
pub async fn ledger_secret(
    account: &Account,
    arn: &str,
    endpoint: Option<String>,
    http_client: SharedHttpClient,
) -> Result<Vec<u8>, String> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_timeout(ASK)
        .build();
    let client = Client::new(&account.sdk_config(endpoint, http_client, timeouts));
    let output = client.get_secret_value().secret_id(arn).send().await.map_err(|error| {
        format!(
            "The ledger's secret could not be read from Secrets Manager ({}). Look at the ARN, and whether the \
             function's role may do secretsmanager:GetSecretValue on it.",
            cause(&error)
        )
    })?;
    let secret = match (output.secret_string(), output.secret_binary()) {
        (Some(text), _) => text.as_bytes(),
        (None, Some(binary)) => binary.as_ref(),
        (None, None) => &[],
    };
    if secret.len() < LEAST {
        return Err(format!(
            "The ledger's secret has {} bytes. It must have at least {LEAST}: make it of 32 random bytes in base64.",
            secret.len()
        ));
    }
    Ok(secret.to_vec())
}
