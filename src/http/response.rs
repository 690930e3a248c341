//! HTTP responses: the body of each route's success, and the problem document.

use super::Operation;
use super::correlation::REQUEST_ID;
use crate::device::DeviceToken;
use crate::error::{Error, Limit};
use crate::ledger::Phase;
use crate::phone::PhoneNumber;
use crate::reference::ReferenceId;
use crate::service::{Sent, Status, Verified};
use crate::time::Millis;
use lambda_http::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use lambda_http::http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

pub(super) type Response = lambda_http::http::Response<String>;

/// The success of a send. `expiresIn` and the like are whole seconds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SendBody<'a> {
    reference_id: &'a str,
    status: &'static str,
    /// The masked number.
    destination_number: String,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    code_length: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_left: Option<u8>,
    expires_at: String,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resend_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resend_in: Option<u64>,
    /// The channels to offer next.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    next: &'a [String],
}

pub(super) fn sent(to: &PhoneNumber, sent: &Sent) -> Response {
    let receipt = &sent.receipt;
    json(
        StatusCode::ACCEPTED,
        &SendBody {
            reference_id: sent.reference.expose(),
            status: Phase::Pending.name(),
            destination_number: to.to_string(),
            channel: &receipt.channel,
            message_id: receipt.message_id.as_deref(),
            code_length: receipt.code_length,
            attempts_left: receipt.attempts_left,
            expires_at: Millis(receipt.expires).rfc3339(),
            expires_in: seconds(receipt.sent, receipt.expires),
            resend_at: receipt
                .resend
                .map(|resend| Millis(resend).rfc3339_rounded_up()),
            resend_in: receipt
                .resend
                .map(|resend| seconds_rounded_up(receipt.sent, resend)),
            next: &receipt.next,
        },
    )
}

/// The success of a verify. Every other result is a problem document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerifyBody<'a> {
    valid: bool,
    reference_id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_token: Option<&'a str>,
}

pub(super) fn verified(verified: &Verified) -> Response {
    json(
        StatusCode::OK,
        &VerifyBody {
            valid: true,
            reference_id: verified.reference.expose(),
            status: Phase::Verified.name(),
            device_token: verified.device.as_ref().map(DeviceToken::expose),
        },
    )
}

/// A verification that is not pending has no attempts left and no times.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusBody<'a> {
    reference_id: &'a str,
    status: &'static str,
    /// The masked number.
    destination_number: String,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_left: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resend_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resend_in: Option<u64>,
}

pub(super) fn status(to: &PhoneNumber, status: &Status, Millis(now): Millis) -> Response {
    let is_pending = status.phase == Phase::Pending;
    let (expires, resend) = (status.expires.0, status.resend.0);
    json(
        StatusCode::OK,
        &StatusBody {
            reference_id: status.reference.expose(),
            status: status.phase.name(),
            destination_number: to.to_string(),
            channel: &status.channel,
            attempts_left: is_pending.then_some(status.attempts_left),
            expires_at: is_pending.then(|| Millis(expires).rfc3339()),
            expires_in: is_pending.then(|| seconds(now, expires)),
            resend_at: is_pending.then(|| Millis(resend.max(now)).rfc3339_rounded_up()),
            resend_in: is_pending.then(|| seconds_rounded_up(now, resend)),
        },
    )
}

/// The success of a redeem. Every other result is a problem document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClaimBody<'a> {
    claimed: bool,
    reference_id: &'a str,
    status: &'static str,
}

pub(super) fn redeemed(reference: &ReferenceId) -> Response {
    json(
        StatusCode::OK,
        &ClaimBody {
            claimed: true,
            reference_id: reference.expose(),
            status: Phase::Verified.name(),
        },
    )
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CancelBody<'a> {
    reference_id: &'a str,
    status: &'static str,
}

pub(super) fn canceled(reference: &ReferenceId, phase: Phase) -> Response {
    json(
        StatusCode::OK,
        &CancelBody {
            reference_id: reference.expose(),
            status: phase.name(),
        },
    )
}

/// A problem document (RFC 9457).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    /// False in every problem of a verify, so that a caller that reads only this field fails closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_left: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    /// The wait in whole seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<&'static str>,
}

/// The response to a request that failed. `operation` is `None` if the route was not known yet. `detail` is the part of
/// the error's detail that this caller may see.
pub(super) fn problem(
    error: &Error,
    detail: &str,
    operation: Option<Operation>,
    request_id: &str,
) -> Response {
    let code = error.code();
    let retry_after = error.retry_after_seconds();
    let mut response = json(
        StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        &Problem {
            r#type: format!("urn:otp-lambda:{}", code.name()),
            title: code.title(),
            status: code.status(),
            detail,
            code: code.name(),
            request_id,
            valid: (operation == Some(Operation::Verify)).then_some(false),
            field: error.field(),
            attempts_left: error.attempts_left(),
            limit: error.limit().map(Limit::name),
            retry_after,
            delivery: error.is_delivery_unknown().then_some("unknown"),
        },
    );
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if let Some(methods) = error.allow() {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Returns the ID by which the caller finds the request in the log.
pub(super) fn return_id(response: &mut Response, id: &str) {
    // The ID has only letters, digits, `-`, `_` and `=`, so it is a value of a header.
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

/// Tells a caller that its `Idempotency-Key` was ignored.
pub(super) fn say_that_no_key_was_used(response: &mut Response) {
    let name = HeaderName::from_static("idempotency-key-used");
    let headers = response.headers_mut();
    headers.insert(name, HeaderValue::from_static("false"));
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // The body has only strings and numbers under fixed names, so writing it cannot fail.
    let body = serde_json::to_string(body).unwrap_or_default();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The response is about one person's phone: no cache may keep it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn seconds(from: u64, until: u64) -> u64 {
    until.saturating_sub(from) / 1000
}

fn seconds_rounded_up(from: u64, until: u64) -> u64 {
    until.saturating_sub(from).div_ceil(1000)
}
