//! AWS Secrets Manager, for the one secret: the key of the ledger's hashes.

use super::{CONNECT_TIME_LIMIT, cause, with_time_limits};
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::Client;
use std::time::Duration;

/// The time limit of the one call. The function makes it while it starts, and Lambda allows ten seconds for the start.
const CALL_TIME_LIMIT: Duration = Duration::from_secs(3);

/// The length of 32 random bytes in base64. A shorter secret might be guessed. Somebody who knows the secret and can
/// read the table could find out phone numbers by hashing every possible number.
const MIN_LENGTH: usize = 43;

/// Reads the secret `arn`, which may be stored as text or as binary data.
///
/// The client is dropped afterwards, because a function reads the secret only once, before its first request.
///
/// # Errors
///
/// The secret cannot be read or is too short. The error is a sentence for the operator and never contains the secret.
pub async fn ledger_secret(config: &SdkConfig, arn: &str) -> Result<Vec<u8>, String> {
    let time_limits = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIME_LIMIT)
        .operation_timeout(CALL_TIME_LIMIT)
        .build();
    let client = Client::new(&with_time_limits(config, time_limits));
    let output = client.get_secret_value().secret_id(arn).send().await.map_err(|error| {
        format!(
            "The ledger's secret could not be read from Secrets Manager ({}). Check the ARN, and that the \
             function's role allows secretsmanager:GetSecretValue on it.",
            cause(&error)
        )
    })?;
    let secret = match (output.secret_string(), output.secret_binary()) {
        (Some(text), _) => text.as_bytes(),
        (None, Some(binary)) => binary.as_ref(),
        (None, None) => &[],
    };
    if secret.len() < MIN_LENGTH {
        return Err(format!(
            "The ledger's secret has {} bytes. It must have at least {MIN_LENGTH}: use 32 random bytes in base64, such as the output of `openssl rand -base64 32`.",
            secret.len()
        ));
    }
    Ok(secret.to_vec())
}
