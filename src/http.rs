//! The HTTP API: four routes, the same for every origin.

mod body;
mod correlation;
mod dry_run;
mod origin;
mod principal;
mod request;
mod response;

pub(crate) use origin::Event;
pub use principal::TrustedPrincipals;
pub(crate) use request::SOURCE_LIMIT;

use crate::error::{Error, ErrorCode};
use crate::service::{Call, Service};
use body::Body;
use futures_util::FutureExt;
use lambda_http::http::Method;
use request::KeyHeader;
use response::Response;
use serde_json::value::{RawValue, to_raw_value};
use std::panic::AssertUnwindSafe;

/// The callers that the HTTP routes let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Callers that AWS has authenticated, by IAM or an authorizer, and describes in the event.
    Iam,
    /// Every caller: the origin or a proxy has authenticated it, and the event does not show that.
    Trusted,
    /// Anyone may send and verify. Trusted callers may use every route, and set more fields.
    Open,
}

/// The operator's settings for the HTTP routes.
#[derive(Debug, Clone)]
pub struct Policy {
    pub gate: Gate,
    /// The principals that the operator trusts as backends. This list is only about principals that an authorizer or an
    /// identity pool has authenticated. If such a principal is not in the list, it is a user. A user may do no more
    /// than anyone may in the open mode.
    pub trusted: TrustedPrincipals,
}

/// The name of a send with `dryRun` in the log. It sends nothing, so no query about sends may find it.
const DRY_RUN: &str = "dryRun";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Send,
    Verify,
    Status,
    Cancel,
}

impl Operation {
    /// The operation at a path. Paths match exactly.
    fn at(path: &str) -> Option<Self> {
        match path {
            "/otp/send" => Some(Self::Send),
            "/otp/verify" => Some(Self::Verify),
            "/otp/status" => Some(Self::Status),
            "/otp/cancel" => Some(Self::Cancel),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Verify => "verify",
            Self::Status => "status",
            Self::Cancel => "cancel",
        }
    }

    /// Whether the open mode lets everyone use it.
    fn is_public(self) -> bool {
        matches!(self, Self::Send | Self::Verify)
    }

    fn needs_ledger(self) -> bool {
        matches!(self, Self::Status | Self::Cancel)
    }
}

/// Handles an HTTP event and returns the response in the shape that its origin expects.
///
/// # Errors
///
/// The response cannot be written as JSON. This never happens in practice.
pub(crate) async fn respond(
    service: &Service,
    policy: &Policy,
    event: Event,
    call: &mut Call<'_>,
) -> Result<Box<RawValue>, serde_json::Error> {
    let shape = event.shape();
    call.record.origin = Some(shape.name());
    let mut progress = Progress::default();
    let outcome = handle(service, policy, event, call, &mut progress);
    // A panic ends this request only. The execution environment and its open connections stay.
    let outcome = AssertUnwindSafe(outcome).catch_unwind().await;
    let operation = progress.operation;
    let mut response = match outcome.unwrap_or_else(|_| Err(unfinished(call.record.operation))) {
        Ok(response) => {
            call.record.outcome = "ok";
            response
        }
        Err(error) => {
            call.failed(&error);
            let detail = if call.caller.is_trusted() {
                error.detail_with_advice()
            } else {
                error.detail().into()
            };
            response::problem(&error, &detail, operation, &call.record.request_id)
        }
    };
    if let Some(id) = &call.record.correlation_id {
        response::return_id(&mut response, id);
    }
    if progress.ignores_key {
        response::say_that_no_key_was_used(&mut response);
    }
    call.record.status = Some(response.status().as_u16());
    to_raw_value(&shape.lambda_response(&response))
}

/// The progress of a request. The response needs it even if the request has failed.
#[derive(Default)]
struct Progress {
    operation: Option<Operation>,
    /// Whether the request has an `Idempotency-Key` that the service ignores.
    ignores_key: bool,
}

/// The error of a request that panicked. A send may have reached the provider by then.
fn unfinished(operation: Option<&str>) -> Error {
    let error = Error::new(
        ErrorCode::InternalError,
        "The request could not be finished.",
    );
    if operation == Some(Operation::Send.name()) {
        error.with_unknown_delivery()
    } else {
        error
    }
}

async fn handle(
    service: &Service,
    policy: &Policy,
    event: Event,
    call: &mut Call<'_>,
    progress: &mut Progress,
) -> Result<Response, Error> {
    let request = event.into_request()?;
    call.record.caller = principal::shown(&request);
    correlation::log_id(&request, service, call.record);
    let operation = route(&request.method, &request.path, service.has_ledger())?;
    progress.operation = Some(operation);
    call.record.operation = Some(operation.name());
    call.caller = request.caller(policy, operation)?;
    request.check_content_type()?;
    match request.idempotency_key(&call.caller, service.has_ledger())? {
        KeyHeader::Absent => {}
        KeyHeader::Given(key) => call.caller.idempotency_key = Some(key),
        KeyHeader::Ignored => progress.ignores_key = true,
    }
    let mut body = request.into_body(&operation.fields(), &call.caller, policy)?;
    let is_dry_run = operation == Operation::Send && body.boolean("dryRun")?.unwrap_or(false);
    if is_dry_run {
        call.record.operation = Some(DRY_RUN);
        dry_run::check(&call.caller)?;
    }
    if let Some(address) = request::read_client_ip(&mut body)? {
        call.caller.address = Some(address);
    }
    service.log_source(call);
    call.caller.device = request::read_device_token(&mut body)?;
    match operation {
        Operation::Send if is_dry_run => judge(service, body, call).await,
        Operation::Send => service.reconnecting(send(service, body, call)).await,
        Operation::Verify => service.reconnecting(verify(service, body, call)).await,
        Operation::Status => status(service, body, call).await,
        Operation::Cancel => cancel(service, body, call).await,
    }
}

fn route(method: &Method, path: &str, has_ledger: bool) -> Result<Operation, Error> {
    let operation = Operation::at(path).filter(|it| has_ledger || !it.needs_ledger());
    let Some(operation) = operation else {
        let routes = if has_ledger {
            "POST /otp/send, /otp/verify, /otp/status and /otp/cancel"
        } else {
            "POST /otp/send and POST /otp/verify"
        };
        return Err(Error::new(
            ErrorCode::RouteNotFound,
            format!("There is no route at this path. The routes are {routes}."),
        ));
    };
    if method == Method::POST {
        Ok(operation)
    } else {
        Err(Error::new(ErrorCode::MethodNotAllowed, "Use POST for this route.").with_allow("POST"))
    }
}

async fn send(service: &Service, mut body: Body, call: &mut Call<'_>) -> Result<Response, Error> {
    let request = request::read_send(service, &mut body)?;
    let sent = service.send(&request, call).await?;
    Ok(response::sent(&request.to, &sent))
}

async fn judge(service: &Service, mut body: Body, call: &mut Call<'_>) -> Result<Response, Error> {
    let request = request::read_send(service, &mut body)?;
    let told = service.dry_run(&request, call).await?;
    Ok(dry_run::told(&told))
}

async fn verify(service: &Service, mut body: Body, call: &mut Call<'_>) -> Result<Response, Error> {
    let request = request::read_verify(service, &mut body, &call.caller)?;
    let verified = service.verify(&request, call).await?;
    Ok(response::verified(&verified))
}

/// Returns the status. With `"claim": true`, redeems the success instead.
async fn status(service: &Service, mut body: Body, call: &mut Call<'_>) -> Result<Response, Error> {
    let is_claim = body.boolean("claim")?.unwrap_or(false);
    let request = request::read_verification(service, &mut body, &call.caller)?;
    if is_claim {
        let reference = service.redeem(&request, call).await?;
        return Ok(response::redeemed(&reference));
    }
    let status = service.status(&request, call).await?;
    Ok(response::status(&request.to, &status, call.now))
}

async fn cancel(service: &Service, mut body: Body, call: &mut Call<'_>) -> Result<Response, Error> {
    let request = request::read_verification(service, &mut body, &call.caller)?;
    let (reference, phase) = service.cancel(&request, call).await?;
    Ok(response::canceled(&reference, phase))
}
