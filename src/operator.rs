//! The commands of operators, who invoke the function directly: `unlock`, `key`, `why` and `settings`.
//!
//! A command is an event such as `{"operation": "unlock", "destinationNumber": "+14255550142"}`. The command `settings`
//! has no number. The response to `settings` says that the function has started with its settings and has read its
//! secret. With a ledger, the response also has the budgets and the chance of a right guess.
//!
//! The responses to `unlock`, `key` and `why` show the number masked. In these responses, `"oldSpelling": true` says that the
//! number was given in an old spelling.
//!
//! Only a principal with the permission `lambda:InvokeFunction` can send a command. An HTTP request cannot be a
//! command, because its body is a string inside the event. This permission is granted for one name of the function: an
//! alias, a version, or the function itself. So `unlock` has an alias of its own, and so have `key` and `why` together
//! ([`InvokedAs`]). The right to invoke one alias does not extend to the others.
//!
//! A failed command is a function error. Its `errorType` is the error code, which HTTP callers know as `code`:
//! `ledger_unavailable`, `invalid_phone_number`, or `misconfigured` if the function runs without a ledger. In the log
//! line, the outcome is the same error code.

use crate::error::{Error, ErrorCode, FunctionError};
use crate::phone::PhoneNumber;
use crate::service::{Call, Service};
use crate::typed;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

const EXPECTED: &str = "Expected: {\"operation\": \"unlock\", \"key\" or \"why\", \"destinationNumber\": \"+…\"}, or \
                        {\"operation\": \"settings\"}.";

/// The name under which the function was invoked. It comes from Lambda and not from the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvokedAs {
    /// The alias `operator`, for `unlock`.
    Operator,
    /// The alias `operator-key`, for `key` and `why`.
    OperatorKey,
    /// Another alias, such as `live`, or a version.
    Another,
    /// The function itself, on AWS the version that is not released yet. Emulators and the desk have no other name.
    Itself,
}

impl InvokedAs {
    /// Reads the ARN in the invocation: `arn:aws:lambda:REGION:ACCOUNT:function:NAME`, and `:ALIAS` or `:VERSION`.
    #[must_use]
    pub fn read(arn: &str) -> Self {
        match arn.split(':').nth(7) {
            None => Self::Itself,
            Some("operator") => Self::Operator,
            Some("operator-key") => Self::OperatorKey,
            Some(_) => Self::Another,
        }
    }

    /// Checks that requests and sign-ins are served under this name. The operator's aliases serve neither requests nor
    /// sign-ins. If they did, somebody who may invoke such an alias could send an event that claims to come from any
    /// principal.
    ///
    /// # Errors
    ///
    /// `WrongAlias` for the operator's aliases.
    pub(crate) fn check_serves(self) -> Result<(), FunctionError> {
        match self {
            Self::Another | Self::Itself => Ok(()),
            Self::Operator | Self::OperatorKey => Err(FunctionError::wrong_alias(
                "This alias answers an operator's commands only. Requests and sign-ins use the alias `live`.",
            )),
        }
    }
}

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
    /// Says which limits hold for a number, and returns its name in the log.
    Why { destination_number: String },
    /// Changes nothing. The response proves that the function starts, and has the budgets.
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

    /// Checks that this command is answered under the name that was invoked.
    ///
    /// `settings` is answered under every name, because it changes nothing. The stack sends `settings` to each new
    /// version before an alias points to that version.
    ///
    /// # Errors
    ///
    /// `WrongAlias`.
    pub(crate) fn check_allowed(
        &self,
        invoked_as: InvokedAs,
        operator_aliases: bool,
        call: &mut Call<'_>,
    ) -> Result<(), FunctionError> {
        call.record.operation = Some(self.name());
        let (alias, sentence) = match self {
            Self::Settings {} => return Ok(()),
            Self::Unlock { .. } => (
                InvokedAs::Operator,
                "`unlock` is answered under the alias `operator` only.",
            ),
            Self::Key { .. } => (
                InvokedAs::OperatorKey,
                "`key` is answered under the alias `operator-key` only.",
            ),
            // It tells as much about a number as `key` does.
            Self::Why { .. } => (
                InvokedAs::OperatorKey,
                "`why` is answered under the alias `operator-key` only.",
            ),
        };
        if invoked_as == alias || (invoked_as == InvokedAs::Itself && !operator_aliases) {
            return Ok(());
        }
        // The log shows it as it shows an HTTP caller without a permission.
        call.record.severity = Some(403);
        Err(FunctionError::wrong_alias(sentence))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Unlock { .. } => "unlock",
            Self::Key { .. } => "key",
            Self::Why { .. } => "why",
            Self::Settings {} => "settings",
        }
    }

    /// Runs the command and returns its result.
    ///
    /// # Errors
    ///
    /// A function error with the name of the error code.
    pub(crate) async fn run(
        &self,
        service: &Service,
        call: &mut Call<'_>,
    ) -> Result<Value, FunctionError> {
        match self.try_run(service, call).await {
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
            Self::Settings {} => Ok(match service.budgets() {
                None => json!({ "settings": "ok" }),
                Some([all, countries]) => json!({
                    "settings": "ok",
                    "budgets": all,
                    "countryLimits": countries,
                    "guessRisk": service.guess_chance(),
                }),
            }),
            Self::Unlock { destination_number } => {
                let (number, is_old) = read_number(destination_number, service, call)?;
                service.unlock(&number, call).await?;
                Ok(about(&number, is_old, [("unlocked", json!(true))]))
            }
            Self::Key { destination_number } => {
                let (number, is_old) = read_number(destination_number, service, call)?;
                let key = service.key_of(&number)?;
                Ok(about(&number, is_old, [("key", json!(key))]))
            }
            Self::Why { destination_number } => {
                let (number, is_old) = read_number(destination_number, service, call)?;
                // Boxed, because it is the largest future of all commands.
                let told = Box::pin(service.why(&number, call)).await?;
                let in_log = ("inLog", json!(told.in_log.as_str()));
                let result = [in_log, ("lines", json!(told.lines))];
                Ok(about(&number, is_old, result))
            }
        }
    }
}

/// The response about a number. It shows the number as it was understood, and says if it was given in an old spelling.
fn about<const N: usize>(number: &PhoneNumber, is_old: bool, result: [(&str, Value); N]) -> Value {
    let fields = result.map(|(name, value)| (name.to_owned(), value));
    let mut response = Map::from_iter(fields);
    response.insert("destinationNumber".to_owned(), json!(number.to_string()));
    if is_old {
        response.insert("oldSpelling".to_owned(), json!(true));
    }
    Value::Object(response)
}

/// The number of a command about the ledger, and whether the number was given in an old spelling. Old spellings are
/// accepted as in a sign-in, because an operator asks about numbers that an application has stored.
fn read_number(
    text: &str,
    service: &Service,
    call: &mut Call<'_>,
) -> Result<(PhoneNumber, bool), Error> {
    if !service.has_ledger() {
        return Err(Error::new(
            ErrorCode::Misconfigured,
            "This command needs the ledger, and this function runs without one. Set LEDGER_TABLE.",
        ));
    }
    let prefixes = &service.rules().extra_prefixes;
    let text = &typed::number(text);
    let current = prefixes.read(text);
    let is_old = current.is_err();
    let number = current
        .or_else(|_| prefixes.read_stored(text))
        .map_err(|error| Error::new(ErrorCode::InvalidPhoneNumber, error.to_string()))?;
    call.record.country = service.country(&number);
    service.log_number(&number, call);
    Ok((number, is_old))
}
