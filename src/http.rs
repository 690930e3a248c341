//! HTTP: from an event to a request, from an outcome to an answer.

mod body;
mod origin;

pub use origin::Event;

use crate::error::{Error, ErrorCode};
use crate::ledger::Phase;
use crate::otp::Otp;
use crate::phone::PhoneNumber;
use crate::provider::{Channel, ProviderLimits};
use crate::reference::ReferenceId;
use crate::service::{
    Caller, Moment, Reference, ReferenceIds, SendRequest, Service, VerificationRequest,
    VerifyRequest,
};
use crate::telemetry::Record;
use body::Members;
use futures_util::FutureExt;
use serde::Serialize;
use serde_json::Value;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::panic::AssertUnwindSafe;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Whom the HTTP routes let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Callers whom AWS has authenticated, by IAM or an authorizer, and names in the event.
    Iam,
    /// Everybody: what stands in front has authenticated the caller and the event does not show it.
    Trusted,
    /// Anybody. Callers whom AWS has authenticated may ask for more.
    Open,
}

/// The things that callers can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Send,
    Verify,
    Status,
    Cancel,
}

/// An HTTP request, but for its body.
#[derive(Debug)]
struct Request {
    method: String,
    /// Without stage and base path.
    path: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// The caller, if AWS has authenticated it.
    principal: Option<String>,
    /// Where the connection came from.
    address: Option<IpAddr>,
}

/// An HTTP answer.
struct Response {
    status: u16,
    content_type: &'static str,
    /// The other headers.
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// Answers an HTTP event, whatever is in it, and fills in what the log says about it.
pub(crate) async fn respond(
    service: &Service,
    gate: Gate,
    event: Event<'_>,
    moment: Moment,
    record: &mut Record,
) -> Value {
    record.origin = Some(event.origin().name());
    let mut reached = None;
    // A panic ends this request, not the whole execution environment with its open connection.
    let outcome = AssertUnwindSafe(route_and_handle(
        service,
        gate,
        &event,
        moment,
        record,
        &mut reached,
    ))
    .catch_unwind()
    .await;
    let outcome = outcome.unwrap_or_else(|_| {
        let error = Error::new(
            ErrorCode::InternalError,
            "The request could not be finished.",
        );
        Err(if reached == Some(Operation::Send) {
            error.with_unknown_delivery()
        } else {
            error
        })
    });
    let response = match outcome {
        Ok(response) => {
            record.outcome = "ok";
            response
        }
        Err(error) => {
            record.failed(&error);
            problem(&error, reached, &record.request_id)
        }
    };
    record.status = Some(response.status);
    event.answer(&response)
}

async fn route_and_handle(
    service: &Service,
    gate: Gate,
    event: &Event<'_>,
    moment: Moment,
    record: &mut Record,
    reached: &mut Option<Operation>,
) -> Result<Response, Error> {
    let request = event.request()?;
    let operation = route(&request.method, &request.path, service.has_ledger())?;
    *reached = Some(operation);
    record.operation = Some(operation.name());
    let mut caller = request.caller(gate)?;
    request.check_headers()?;
    caller.idempotency_key = request.idempotency_key(service.has_ledger())?;
    let body = event.body(body::LIMIT)?;
    match operation {
        Operation::Send => send(service, &body, caller, moment, record).await,
        Operation::Verify => verify(service, &body, &caller, moment, record).await,
        Operation::Status => status(service, &body, &caller, moment, record).await,
        Operation::Cancel => cancel(service, &body, &caller, moment, record).await,
    }
}

/// The routes, matched exactly. Two of them are about what only a ledger remembers.
fn route(method: &str, path: &str, has_ledger: bool) -> Result<Operation, Error> {
    let operation = match path {
        "/otp/send" => Operation::Send,
        "/otp/verify" => Operation::Verify,
        "/otp/status" if has_ledger => Operation::Status,
        "/otp/cancel" if has_ledger => Operation::Cancel,
        _ => {
            let routes = if has_ledger {
                "The routes are POST /otp/send, /otp/verify, /otp/status and /otp/cancel."
            } else {
                "The routes are POST /otp/send and POST /otp/verify."
            };
            return Err(Error::new(
                ErrorCode::RouteNotFound,
                format!("There is nothing at this path. {routes}"),
            ));
        }
    };
    if method == "POST" {
        Ok(operation)
    } else {
        Err(Error::new(ErrorCode::MethodNotAllowed, "This route takes POST.").with_allow("POST"))
    }
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Verify => "verify",
            Self::Status => "status",
            Self::Cancel => "cancel",
        }
    }
}

impl Request {
    /// Who asks, if the gate lets it in.
    fn caller(&self, gate: Gate) -> Result<Caller, Error> {
        let known = |principal: String| {
            Ok(Caller {
                principal: Some(principal),
                ..Caller::default()
            })
        };
        match (&self.principal, gate) {
            (Some(principal), _) => known(principal.clone()),
            (None, Gate::Trusted) => known("trusted".to_owned()),
            (None, Gate::Open) if self.address.is_some() => Ok(Caller {
                address: self.address,
                ..Caller::default()
            }),
            (None, Gate::Open) => Err(Error::new(
                ErrorCode::MalformedRequest,
                "The event does not say where the request came from.",
            )),
            (None, Gate::Iam) => Err(Error::new(
                ErrorCode::Unauthenticated,
                "Nobody vouches for the caller: sign the request (SigV4), or put an authorizer in front.",
            )),
        }
    }

    fn check_headers(&self) -> Result<(), Error> {
        let mut types = self
            .headers
            .iter()
            .filter(|(name, _)| name == "content-type");
        if !matches!((types.next(), types.next()), (Some((_, value)), None) if is_json(value)) {
            return Err(Error::new(
                ErrorCode::UnsupportedMediaType,
                "The body must be JSON in UTF-8: send the header `content-type: application/json`.",
            ));
        }
        Ok(())
    }

    fn idempotency_key(&self, has_ledger: bool) -> Result<Option<String>, Error> {
        const FIELD: &str = "Idempotency-Key";
        let invalid = |detail: &'static str| Error::invalid_parameter(FIELD, detail);
        let mut keys = self
            .headers
            .iter()
            .filter(|(name, _)| name == "idempotency-key")
            .map(|(_, value)| value);
        let Some(key) = keys.next() else {
            return Ok(None);
        };
        // Refused rather than ignored: who sends it relies on it.
        if !has_ledger {
            return Err(invalid(
                "Idempotency-Key needs the ledger, and this function runs without one: leave it out.",
            ));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if keys.next().is_none() && (1..=64).contains(&key.len()) && key.bytes().all(allowed) {
            Ok(Some(key.clone()))
        } else {
            Err(invalid(
                "Idempotency-Key must be given once, with 1 to 64 characters of A-Z, a-z, 0-9, _ and -.",
            ))
        }
    }
}

/// Whether a `Content-Type` says JSON in UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let mut charsets = parts.filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"'))
    });
    media_type.eq_ignore_ascii_case("application/json")
        && charsets.all(|charset| charset.eq_ignore_ascii_case("utf-8"))
}

async fn send(
    service: &Service,
    body: &[u8],
    mut caller: Caller,
    moment: Moment,
    record: &mut Record,
) -> Result<Response, Error> {
    let request = read_send(service, body, &mut caller)?;
    let sent = service.send(&request, &caller, moment, record).await?;
    let receipt = sent.receipt;
    Ok(Response::json(
        202,
        &SendAnswer {
            reference_id: sent.reference.expose(),
            status: "pending",
            destination_number: request.to.to_string(),
            channel: &receipt.channel,
            message_id: receipt.message_id.as_deref(),
            code_length: receipt.code_length,
            attempts_left: receipt.attempts_left,
            expires_at: rfc3339(receipt.expires),
            expires_in: seconds(receipt.sent, receipt.expires),
            resend_at: receipt.resend.map(rfc3339_rounded_up),
            resend_in: receipt
                .resend
                .map(|resend| seconds_rounded_up(receipt.sent, resend)),
            next: &receipt.next,
        },
    ))
}

async fn verify(
    service: &Service,
    body: &[u8],
    caller: &Caller,
    moment: Moment,
    record: &mut Record,
) -> Result<Response, Error> {
    let request = read_verify(service, body, caller)?;
    let reference = service.verify(&request, caller, moment, record).await?;
    Ok(Response::json(
        200,
        &VerifyAnswer {
            valid: true,
            reference_id: reference.expose(),
            status: "verified",
        },
    ))
}

async fn status(
    service: &Service,
    body: &[u8],
    caller: &Caller,
    moment: Moment,
    record: &mut Record,
) -> Result<Response, Error> {
    let mut members = Members::read(
        body,
        known(
            caller,
            &[
                "destinationNumber",
                "referenceId",
                "claim",
                "brandName",
                "source",
            ],
            3,
        ),
    )?;
    let claim = members.boolean("claim")?.unwrap_or(false);
    let to = destination_number(&mut members)?;
    let reference = reference(service, &mut members, caller)?;
    let request = VerificationRequest { to, reference };
    if claim {
        let reference = service.redeem(&request, caller, moment, record).await?;
        return Ok(Response::json(
            200,
            &ClaimAnswer {
                claimed: true,
                reference_id: reference.expose(),
                status: Phase::Verified.name(),
            },
        ));
    }
    let status = service.status(&request, moment, record).await?;
    let now = moment.millis().0;
    let pending = status.phase == Phase::Pending;
    Ok(Response::json(
        200,
        &StatusAnswer {
            reference_id: status.reference.expose(),
            status: status.phase.name(),
            destination_number: request.to.to_string(),
            channel: &status.channel,
            attempts_left: pending.then_some(status.attempts_left),
            expires_at: pending.then(|| rfc3339(status.expires.0)),
            expires_in: pending.then(|| seconds(now, status.expires.0)),
            resend_at: pending.then(|| rfc3339_rounded_up(status.resend.0.max(now))),
            resend_in: pending.then(|| seconds_rounded_up(now, status.resend.0)),
        },
    ))
}

async fn cancel(
    service: &Service,
    body: &[u8],
    caller: &Caller,
    moment: Moment,
    record: &mut Record,
) -> Result<Response, Error> {
    let mut members = Members::read(
        body,
        known(
            caller,
            &["destinationNumber", "referenceId", "brandName", "source"],
            2,
        ),
    )?;
    let to = destination_number(&mut members)?;
    let reference = reference(service, &mut members, caller)?;
    let (reference, phase) = service
        .cancel(&VerificationRequest { to, reference }, moment, record)
        .await?;
    Ok(Response::json(
        200,
        &CancelAnswer {
            reference_id: reference.expose(),
            status: phase.name(),
        },
    ))
}

/// The members that this caller may set: of somebody nobody vouches for, only the first `public` ones.
fn known<'a>(caller: &Caller, members: &'a [&'static str], public: usize) -> &'a [&'static str] {
    if caller.principal.is_some() {
        members
    } else {
        members.get(..public).unwrap_or(members)
    }
}

fn read_send(service: &Service, body: &[u8], caller: &mut Caller) -> Result<SendRequest, Error> {
    const MEMBERS: &[&str] = &[
        "destinationNumber",
        "language",
        "channel",
        "brandName",
        "source",
        "codeLength",
        "validityPeriod",
        "allowedAttempts",
        "referenceId",
        "clientIp",
    ];
    let mut members = Members::read(body, known(caller, MEMBERS, 3))?;
    let limits = service.limits();
    let defaults = &service.rules().defaults;
    let to = destination_number(&mut members)?;
    let channel = channel(&mut members, limits)?;
    let language = members.string("language")?;
    let request = SendRequest {
        language: service.language(language.as_deref(), channel, &to)?,
        channel,
        to,
        brand_name: brand_name(&mut members, &limits.brand_name)?
            .unwrap_or_else(|| defaults.brand_name.clone()),
        source: source(&mut members)?.unwrap_or_else(|| defaults.source.clone()),
        code_length: members
            .integer("codeLength", &limits.code.length)?
            .unwrap_or(defaults.code_length),
        validity_minutes: members
            .integer("validityPeriod", &limits.validity_minutes)?
            .unwrap_or(defaults.validity_minutes),
        allowed_attempts: members
            .integer("allowedAttempts", &limits.allowed_attempts)?
            .unwrap_or(defaults.allowed_attempts),
        reference: reference_id(&mut members)?,
        owner: None,
        unless_open: false,
    };
    if let Some(address) = members.string("clientIp")? {
        let address = address.parse().map_err(|_| {
            Error::invalid_parameter("clientIp", "clientIp must be an IPv4 or IPv6 address.")
        })?;
        caller.address = Some(address);
    }
    Ok(request)
}

fn read_verify(service: &Service, body: &[u8], caller: &Caller) -> Result<VerifyRequest, Error> {
    let known = known(
        caller,
        &[
            "destinationNumber",
            "otp",
            "referenceId",
            "brandName",
            "source",
        ],
        3,
    );
    let mut members = Members::read(body, known)?;
    let to = destination_number(&mut members)?;
    let otp = members
        .string("otp")?
        .ok_or_else(|| Error::invalid_parameter("otp", "otp is missing."))
        .and_then(|otp| Otp::parse(&otp, &service.codes()))?;
    Ok(VerifyRequest {
        to,
        otp,
        reference: reference(service, &mut members, caller)?,
    })
}

/// Which verification a request is about.
fn reference(
    service: &Service,
    members: &mut Members,
    caller: &Caller,
) -> Result<Reference, Error> {
    let named = members.has("brandName") || members.has("source");
    match (reference_id(members)?, service.rules().reference_ids) {
        // Both could name two verifications; which one is meant is not ours to guess.
        (Some(_), _) if named => Err(Error::invalid_parameter(
            "referenceId",
            "Give referenceId, or brandName and source, but not both.",
        )),
        (Some(reference), _) => Ok(Reference::Given(reference)),
        (None, ReferenceIds::Derived) if caller.principal.is_some() => {
            let defaults = &service.rules().defaults;
            Ok(Reference::Of {
                brand_name: brand_name(members, &service.limits().brand_name)?
                    .unwrap_or_else(|| defaults.brand_name.clone()),
                source: source(members)?.unwrap_or_else(|| defaults.source.clone()),
            })
        }
        (None, _) => Err(Error::invalid_parameter(
            "referenceId",
            "referenceId is missing: it is in the answer to the send.",
        )),
    }
}

fn destination_number(members: &mut Members) -> Result<PhoneNumber, Error> {
    const FIELD: &str = "destinationNumber";
    let text = members
        .string(FIELD)?
        .ok_or_else(|| Error::invalid_parameter(FIELD, "destinationNumber is missing."))?;
    PhoneNumber::parse(&text).map_err(|error| {
        Error::new(ErrorCode::InvalidPhoneNumber, error.to_string()).with_field(FIELD)
    })
}

fn brand_name(members: &mut Members, length: &RangeInclusive<u8>) -> Result<Option<String>, Error> {
    let Some(brand) = members.string("brandName")? else {
        return Ok(None);
    };
    let fits = u8::try_from(brand.chars().count()).is_ok_and(|count| length.contains(&count));
    if fits && !brand.chars().any(char::is_control) {
        Ok(Some(brand))
    } else {
        Err(Error::invalid_parameter(
            "brandName",
            format!(
                "brandName must have {} to {} characters and no control characters.",
                length.start(),
                length.end()
            ),
        ))
    }
}

/// Characters of a `source` at most. AWS sets no limit: it only ever sees the hash.
pub(crate) const SOURCE_LIMIT: usize = 128;

fn source(members: &mut Members) -> Result<Option<String>, Error> {
    let source = members.string("source")?;
    if source
        .as_ref()
        .is_some_and(|source| source.chars().count() > SOURCE_LIMIT)
    {
        return Err(Error::invalid_parameter(
            "source",
            format!("source must have at most {SOURCE_LIMIT} characters."),
        ));
    }
    Ok(source)
}

fn reference_id(members: &mut Members) -> Result<Option<ReferenceId>, Error> {
    members
        .string("referenceId")?
        .map(|text| ReferenceId::parse(&text))
        .transpose()
}

fn channel(members: &mut Members, limits: &ProviderLimits) -> Result<Channel, Error> {
    let Some(given) = members.string("channel")? else {
        return Ok(limits.usual_channel());
    };
    let known = || limits.channels.iter().map(|own| own.channel);
    Channel::named(&given)
        .filter(|channel| known().any(|known| known == *channel))
        .ok_or_else(|| {
            let known: Vec<_> = known().map(Channel::name).collect();
            Error::invalid_parameter(
                "channel",
                format!("channel must be one of {}.", known.join(", ")),
            )
        })
}

/// The answer to a send.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SendAnswer<'a> {
    reference_id: &'a str,
    status: &'static str,
    /// Masked.
    destination_number: String,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    code_length: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_left: Option<u8>,
    expires_at: String,
    /// Seconds.
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resend_at: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    resend_in: Option<u64>,
    /// Channels.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    next: &'a [String],
}

/// The answer to a question for the state of a verification; what holds for an open one only is left out of others.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusAnswer<'a> {
    reference_id: &'a str,
    status: &'static str,
    /// Masked.
    destination_number: String,
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_left: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resend_at: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    resend_in: Option<u64>,
}

/// The answer to a claim that is good; every other answer is a problem.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClaimAnswer<'a> {
    claimed: bool,
    reference_id: &'a str,
    status: &'static str,
}

/// The answer to a cancel: what the verification is now.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CancelAnswer<'a> {
    reference_id: &'a str,
    status: &'static str,
}

/// The answer to a verify whose code is right; every other answer is a problem.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerifyAnswer<'a> {
    valid: bool,
    reference_id: &'a str,
    status: &'static str,
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
    /// False in every problem of a verify, so that a caller who reads only this fails closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_left: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<&'static str>,
}

fn problem(error: &Error, reached: Option<Operation>, request_id: &str) -> Response {
    let code = error.code();
    let retry_after = error.retry_after_seconds();
    let mut response = Response::json(
        code.status(),
        &Problem {
            r#type: format!("urn:otp-lambda:{}", code.name()),
            title: code.title(),
            status: code.status(),
            detail: error.detail(),
            code: code.name(),
            request_id,
            valid: (reached == Some(Operation::Verify)).then_some(false),
            field: error.field(),
            attempts_left: error.attempts_left(),
            limit: error.limit(),
            retry_after,
            delivery: error.is_delivery_unknown().then_some("unknown"),
        },
    );
    response.content_type = "application/problem+json";
    response
        .headers
        .extend(error.allow().map(|methods| ("allow", methods.to_owned())));
    response
        .headers
        .extend(retry_after.map(|seconds| ("retry-after", seconds.to_string())));
    response
}

impl Response {
    fn json(status: u16, body: &impl Serialize) -> Self {
        // Strings and numbers under fixed names: nothing in them can fail to be written.
        let body = serde_json::to_string(body).unwrap_or_default();
        // An answer about one person's phone is for nobody's cache.
        let headers = vec![("cache-control", "no-store".to_owned())];
        Self {
            status,
            content_type: "application/json",
            headers,
            body,
        }
    }

    /// All headers, in lower case.
    fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let content_type = std::iter::once(("content-type", self.content_type));
        content_type.chain(
            self.headers
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        )
    }
}

/// A time in milliseconds to the second, rounded down: the end of something is not to be told late.
pub(crate) fn rfc3339(millis: u64) -> String {
    i64::try_from(millis / 1000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// The same rounded up: a beginning is not to be told early.
fn rfc3339_rounded_up(millis: u64) -> String {
    rfc3339(millis.div_ceil(1000) * 1000)
}

fn seconds(from: u64, until: u64) -> u64 {
    until.saturating_sub(from) / 1000
}

fn seconds_rounded_up(from: u64, until: u64) -> u64 {
    until.saturating_sub(from).div_ceil(1000)
}
