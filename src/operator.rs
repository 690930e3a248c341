//! Commands that an operator invokes the function with directly: `unlock` and `key`.
//!
//! A command is an event such as `{"operation": "unlock", "destinationNumber": "+14255550142"}`. Only a
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

const EXPECTED: &str =
    "Expected: {\"operation\": \"unlock\" or \"key\", \"destinationNumber\": \"+…\"}.";

/// A command, ready to run.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Command {
    operation: Operation,
    destination_number: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
enum Operation {
    /// Forgets the failed guesses at a number.
    Unlock,
    /// Returns the name of a number in the ledger's table.
    Key,
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
        call.record.operation = Some(match self.operation {
            Operation::Unlock => "unlock",
            Operation::Key => "key",
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
        if !service.has_ledger() {
            return Err(Error::new(
                ErrorCode::Misconfigured,
                "This command needs the ledger, and this function runs without one. Set LEDGER_TABLE.",
            ));
        }
        let number = PhoneNumber::parse(&self.destination_number)
            .map_err(|error| Error::new(ErrorCode::InvalidPhoneNumber, error.to_string()))?;
        call.record.country = number.country();
        let masked = number.to_string();
        match self.operation {
            Operation::Unlock => {
                service.unlock(&number, call.now).await?;
                Ok(json!({ "unlocked": true, "destinationNumber": masked }))
            }
            Operation::Key => {
                let key = service.key_of(&number)?;
                Ok(json!({ "key": key, "destinationNumber": masked }))
            }
        }
    }
}
