//! Commands that an operator invokes the function with directly: `unlock`, `key` and `settings`.
//!
//! A command is an event such as `{"operation": "unlock", "destinationNumber": "+14255550142"}`. `settings` has no
//! number: its response says that the function has started with its settings and read its secret. Only a
//! principal that is allowed `lambda:InvokeFunction` can send one. No HTTP request can: its body is a string
//! inside the event.
//!
//! A command that fails is a function error. Its `errorType` is the error code, as HTTP callers know it from
//! `code`: `ledger_unavailable`, `invalid_phone_number`, or `misconfigured` when the function runs without a
//! ledger. The log line has the same name as its outcome.

use crate::error::{Error, ErrorCode, FunctionError};
use crate::phone::PhoneNumber;
use crate::service::{Call, Service};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const EXPECTED: &str = "Expected: {\"operation\": \"unlock\" or \"key\", \"destinationNumber\": \"+…\"}, or \
                        {\"operation\": \"settings\"}.";

/// A command, ready to run.
#[derive(Deserialize)]
#[serde(
    tag = "operation",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(crate) enum Command {
    /// Forgets the failed guesses at a number.
    Unlock { destination_number: String },
    /// Returns the name of a number in the ledger's table.
    Key { destination_number: String },
    /// Does nothing: whoever gets the response knows that the function starts.
    Settings {},
}

impl Command {
    /// Reads a command from an event.
    ///
    /// # Errors
    ///
    /// `UnrecognizedEvent` for an unknown operation, and for missing or unknown fields.
    pub(crate) fn read(event: &RawValue) -> Result<Self, FunctionError> {
        serde_json::from_str(event.get()).map_err(|_| FunctionError::unrecognized(EXPECTED))
    }

    /// Runs the command and returns its result.
    ///
    /// # Errors
    ///
    /// A function error named after the error code.
    pub(crate) async fn run(
        &self,
        service: &Service,
        call: &mut Call<'_>,
    ) -> Result<Value, FunctionError> {
        call.record.operation = Some(match self {
            Self::Unlock { .. } => "unlock",
            Self::Key { .. } => "key",
            Self::Settings {} => "settings",
        });
        let result = self.try_run(service, call).await;
        match result {
            Ok(result) => {
                call.record.outcome = "ok";
                call.record.severity = Some(200);
                Ok(result)
            }
            Err(error) => {
                call.failed(&error);
                call.record.severity = Some(error.code().status());
                Err(FunctionError::from(&error))
            }
        }
    }

    async fn try_run(&self, service: &Service, call: &mut Call<'_>) -> Result<Value, Error> {
        match self {
            Self::Settings {} => Ok(json!({ "settings": "ok" })),
            Self::Unlock { destination_number } => {
                let number = read_number(destination_number, service, call)?;
                service.unlock(&number, call).await?;
                Ok(json!({ "unlocked": true, "destinationNumber": number.to_string() }))
            }
            Self::Key { destination_number } => {
                let number = read_number(destination_number, service, call)?;
                let key = service.key_of(&number)?;
                Ok(json!({ "key": key, "destinationNumber": number.to_string() }))
            }
        }
    }
}

/// The number of a command that works on the ledger.
fn read_number(text: &str, service: &Service, call: &mut Call<'_>) -> Result<PhoneNumber, Error> {
    if !service.has_ledger() {
        return Err(Error::new(
            ErrorCode::Misconfigured,
            "This command needs the ledger, and this function runs without one. Set LEDGER_TABLE.",
        ));
    }
    let number = PhoneNumber::parse(text)
        .map_err(|error| Error::new(ErrorCode::InvalidPhoneNumber, error.to_string()))?;
    call.record.country = service.country(&number);
    Ok(number)
}
