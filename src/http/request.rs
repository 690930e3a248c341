//! Reads HTTP requests, and turns them into requests to the service.

use super::body::{self, Body};
use super::principal::Principal;
use super::{Gate, Operation, Policy};
use crate::device::DeviceToken;
use crate::error::{Error, ErrorCode};
use crate::otp::Otp;
use crate::phone::PhoneNumber;
use crate::provider::{Channel, ProviderLimits};
use crate::reference::ReferenceId;
use crate::service::{
    Caller, Reference, ReferenceIds, SendRequest, Service, VerificationRequest, VerifyRequest,
};
use crate::typed;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lambda_http::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use lambda_http::http::{HeaderMap, Method};
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// An HTTP request, whatever its origin.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The path without stage and base path.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    /// The caller, if AWS has authenticated it as a principal.
    pub(super) principal: Option<Principal>,
    /// The ID of the API key of a REST API.
    pub(super) api_key_id: Option<String>,
    /// The address that the connection came from.
    pub(super) address: Option<IpAddr>,
    pub(super) body: Option<String>,
    pub(super) is_base64_encoded: bool,
}

/// The fields of a route's body.
pub(super) struct Fields {
    /// The fields that every caller may set.
    pub(super) public: &'static [&'static str],
    /// The fields that only trusted callers may set. With these fields, a caller can spend more money or override the
    /// operator's choices.
    pub(super) trusted: &'static [&'static str],
}

impl Operation {
    pub(super) fn fields(self) -> Fields {
        match self {
            Self::Send => Fields {
                public: &["destinationNumber", "language", "channel", "deviceToken"],
                trusted: &[
                    "brandName",
                    "source",
                    "codeLength",
                    "validityPeriod",
                    "allowedAttempts",
                    "referenceId",
                    "clientIp",
                    "dryRun",
                ],
            },
            Self::Verify => Fields {
                public: &["destinationNumber", "otp", "referenceId", "deviceToken"],
                trusted: &["brandName", "source", "clientIp"],
            },
            Self::Status => Fields {
                public: &[],
                trusted: &[
                    "destinationNumber",
                    "referenceId",
                    "claim",
                    "brandName",
                    "source",
                    "clientIp",
                ],
            },
            Self::Cancel => Fields {
                public: &[],
                trusted: &[
                    "destinationNumber",
                    "referenceId",
                    "brandName",
                    "source",
                    "clientIp",
                ],
            },
        }
    }
}

/// The shortest `Idempotency-Key` that is accepted from a caller without a principal. Many programs use short keys such
/// as `1`. If two callers behind one address used the same short key, one of them would get the response to the other's
/// request.
const SHORTEST_PUBLIC_KEY: usize = 16;

/// The `Idempotency-Key` of a request.
pub(super) enum KeyHeader {
    Absent,
    Given(String),
    /// The request has a key, and the service ignores it.
    Ignored,
}

impl Fields {
    fn accepted_from(&self, caller: &Caller) -> Vec<&'static str> {
        let trusted = if caller.is_trusted() {
            self.trusted
        } else {
            &[]
        };
        [self.public, trusted].concat()
    }
}

/// A hint in an error for a user. The hint is given only if the operator has named no trusted principal. In this case,
/// the caller may be a backend that counts as a user, and the backend's developer has to learn of the setting.
const NAME_IT: &str = "If this is a backend, the operator has to name it in TRUSTED_PRINCIPALS.";

impl Policy {
    /// Adds a hint at the setting that would prevent the error, as long as the operator has not used that setting.
    fn with_a_hint(&self, error: Error) -> Error {
        if self.trusted.is_empty() {
            error.with_more_detail(NAME_IT)
        } else {
            error
        }
    }
}

impl Request {
    /// The caller, if `policy` lets it use this operation.
    pub(super) fn caller(&self, policy: &Policy, operation: Operation) -> Result<Caller, Error> {
        let backend = |name: Option<&String>, otherwise: &str| {
            Ok(Caller {
                principal: Some(name.map_or_else(|| otherwise.to_owned(), String::clone)),
                ..Caller::default()
            })
        };
        let somebody = self.principal.as_ref();
        match (somebody, policy.gate) {
            (somebody, Gate::Trusted) => {
                backend(somebody.and_then(|it| it.name.as_ref()), "trusted")
            }
            (Some(it), _) if policy.trusted.trust(it) => backend(it.name.as_ref(), "a role"),
            (Some(it), _) if it.is_somebody() && operation.is_public() => Ok(Caller {
                principal: it.name.clone(),
                is_user: true,
                ..self.public_caller()?
            }),
            (Some(it), _) if it.is_somebody() => Err(policy.with_a_hint(Error::new(
                ErrorCode::CallerNotTrusted,
                "Status, claim and cancel are for trusted callers.",
            ))),
            (_, Gate::Open) if operation.is_public() => self.public_caller(),
            (_, Gate::Open | Gate::Iam) => Err(Error::new(
                ErrorCode::Unauthenticated,
                "The request is not authenticated. Sign it (SigV4), or send a token if the API takes tokens.",
            )
            .with_advice(
                "Operator: to let others call, put an authorizer in front of this function, or set API_AUTH.",
            )),
        }
    }

    /// A caller that the limits count by the address of its connection.
    fn public_caller(&self) -> Result<Caller, Error> {
        if self.address.is_none() {
            return Err(Error::new(
                ErrorCode::MalformedRequest,
                "The event does not say which address the request came from.",
            ));
        }
        Ok(Caller {
            address: self.address,
            ..Caller::default()
        })
    }

    pub(super) fn check_content_type(&self) -> Result<(), Error> {
        let mut types = self.headers.get_all(CONTENT_TYPE).iter();
        let only = types.next().filter(|_| types.next().is_none());
        match only.and_then(|value| value.to_str().ok()) {
            Some(value) if is_json(value) => Ok(()),
            _ => Err(Error::new(
                ErrorCode::UnsupportedMediaType,
                "The body must be JSON in UTF-8. Send the header `content-type: application/json`.",
            )),
        }
    }

    /// The `Idempotency-Key` of `caller`. If the caller has no principal, a short key is ignored, because another caller
    /// may have chosen the same key.
    pub(super) fn idempotency_key(
        &self,
        caller: &Caller,
        has_ledger: bool,
    ) -> Result<KeyHeader, Error> {
        let read = self.read_idempotency_key(has_ledger);
        if caller.principal.is_some() {
            return Ok(read?.map_or(KeyHeader::Absent, KeyHeader::Given));
        }
        Ok(match read {
            Ok(None) => KeyHeader::Absent,
            Ok(Some(key)) if key.len() >= SHORTEST_PUBLIC_KEY => KeyHeader::Given(key),
            Ok(Some(_)) | Err(_) => KeyHeader::Ignored,
        })
    }

    fn read_idempotency_key(&self, has_ledger: bool) -> Result<Option<String>, Error> {
        let invalid = |detail: &'static str| Error::invalid_parameter("Idempotency-Key", detail);
        let mut keys = self.headers.get_all("idempotency-key").iter();
        let Some(key) = keys.next() else {
            return Ok(None);
        };
        // The key is rejected and not ignored, because the caller relies on it.
        if !has_ledger {
            return Err(invalid(
                "Idempotency-Key needs the ledger, and this function runs without one. Leave it out.",
            ));
        }
        let key = key.to_str().ok().filter(|_| keys.next().is_none());
        match key.and_then(typed::idempotency_key) {
            Some(key) => Ok(Some(key.into_owned())),
            None => Err(invalid(
                "Idempotency-Key must be given once, with 1 to 64 printable ASCII characters. A key with a comma must stand in double quotes.",
            )),
        }
    }

    /// Reads the fields of the body that `caller` may set.
    pub(super) fn into_body(
        self,
        fields: &Fields,
        caller: &Caller,
        policy: &Policy,
    ) -> Result<Body, Error> {
        let is_encoded = self.has_content_encoding();
        let body = self.into_bytes()?;
        let read = Body::read(&body, &fields.accepted_from(caller))
            .map_err(|error| body::if_compressed(&body, is_encoded).unwrap_or(error));
        if !caller.is_user {
            return read;
        }
        read.map_err(|error| {
            // If the body is valid for a backend, only this caller was refused. The hint is for that case.
            let all = [fields.public, fields.trusted].concat();
            match Body::read(&body, &all) {
                Ok(_) => policy.with_a_hint(error),
                Err(_) => error,
            }
        })
    }

    fn has_content_encoding(&self) -> bool {
        let is_none = |value: &str| value.trim().eq_ignore_ascii_case("identity");
        self.headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(|value| value.to_str().map_or(true, |value| !is_none(value)))
    }

    /// The decoded body. Its size is checked before it is decoded.
    fn into_bytes(self) -> Result<Vec<u8>, Error> {
        const LIMIT: usize = body::LIMIT;
        let too_large = || {
            Error::new(
                ErrorCode::BodyTooLarge,
                format!("The body must have at most {LIMIT} bytes."),
            )
        };
        let body = self.body.unwrap_or_default();
        if !self.is_base64_encoded {
            return Some(body.into_bytes())
                .filter(|body| body.len() <= LIMIT)
                .ok_or_else(too_large);
        }
        if body.len() > LIMIT.div_ceil(3) * 4 {
            return Err(too_large());
        }
        let decoded = BASE64.decode(body).map_err(|_| {
            Error::new(
                ErrorCode::MalformedRequest,
                "The body is not valid base64, although the event says so.",
            )
        })?;
        Some(decoded)
            .filter(|body| body.len() <= LIMIT)
            .ok_or_else(too_large)
    }
}

/// Whether a `Content-Type` means JSON in UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let mut charsets = parts.filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"'))
    });
    media_type.eq_ignore_ascii_case("application/json") && charsets.all(is_utf8)
}

/// Whether a charset is UTF-8 or a part of it. JSON has no charset, but clients write one.
fn is_utf8(charset: &str) -> bool {
    let labels = ["utf-8", "utf8", "us-ascii"];
    labels
        .iter()
        .any(|label| charset.eq_ignore_ascii_case(label))
}

/// The address of the caller's own user, which source limits count.
pub(super) fn read_client_ip(body: &mut Body) -> Result<Option<IpAddr>, Error> {
    let invalid =
        || Error::invalid_parameter("clientIp", "clientIp must be an IPv4 or IPv6 address.");
    let address = body.string("clientIp")?;
    address
        .map(|address| typed::address(&address).ok_or_else(invalid))
        .transpose()
}

/// The token of the caller's device. It is read even if no tokens are in use, because devices keep their tokens after the
/// operator has turned them off.
pub(super) fn read_device_token(body: &mut Body) -> Result<Option<DeviceToken>, Error> {
    body.string("deviceToken")?
        .map(|text| DeviceToken::parse(&text))
        .transpose()
}

pub(super) fn read_send(service: &Service, body: &mut Body) -> Result<SendRequest, Error> {
    let limits = service.provider_limits();
    let defaults = &service.rules().defaults;
    let to = destination_number(service, body)?;
    let channel = channel(body, limits)?;
    let language = body.string("language")?;
    let language = language.as_deref().map(typed::language);
    Ok(SendRequest {
        language: service.language(language.as_deref(), channel, &to)?,
        channel,
        to,
        brand_name: brand_to_show(service, body)?,
        source: source(body)?.unwrap_or_else(|| defaults.source.clone()),
        code_length: body
            .integer("codeLength", &service.rules().code_length)?
            .unwrap_or(defaults.code_length),
        validity_minutes: body
            .integer("validityPeriod", &service.rules().validity_minutes)?
            .unwrap_or(defaults.validity_minutes),
        allowed_attempts: body
            .integer("allowedAttempts", &service.rules().allowed_attempts)?
            .unwrap_or(defaults.allowed_attempts),
        reference: reference_id(body)?,
        owner: None,
    })
}

pub(super) fn read_verify(
    service: &Service,
    body: &mut Body,
    caller: &Caller,
) -> Result<VerifyRequest, Error> {
    let to = destination_number(service, body)?;
    let otp = body
        .string("otp")?
        .ok_or_else(|| Error::invalid_parameter("otp", "otp is missing."))?;
    Ok(VerifyRequest {
        to,
        otp: Otp::parse(&typed::code(&otp), &service.codes())?,
        reference: reference(service, body, caller)?,
    })
}

/// Reads the name of the verification that a status or cancel request is about.
pub(super) fn read_verification(
    service: &Service,
    body: &mut Body,
    caller: &Caller,
) -> Result<VerificationRequest, Error> {
    Ok(VerificationRequest {
        to: destination_number(service, body)?,
        reference: reference(service, body, caller)?,
    })
}

fn reference(service: &Service, body: &mut Body, caller: &Caller) -> Result<Reference, Error> {
    let is_derived = body.has("brandName") || body.has("source");
    match (reference_id(body)?, service.rules().reference_ids) {
        // The two names could mean two different verifications.
        (Some(_), _) if is_derived => Err(Error::invalid_parameter(
            "referenceId",
            "Give referenceId, or brandName and source, but not both.",
        )),
        (Some(reference), _) => Ok(Reference::Given(reference)),
        (None, ReferenceIds::Derived) if caller.is_trusted() => {
            let defaults = &service.rules().defaults;
            Ok(Reference::Derived {
                brand_name: brand_name(body, &service.provider_limits().brand_name)?
                    .unwrap_or_else(|| defaults.brand_name.clone()),
                source: source(body)?.unwrap_or_else(|| defaults.source.clone()),
            })
        }
        (None, _) => Err(Error::invalid_parameter(
            "referenceId",
            "referenceId is missing. The response to the send has it.",
        )),
    }
}

fn destination_number(service: &Service, body: &mut Body) -> Result<PhoneNumber, Error> {
    const FIELD: &str = "destinationNumber";
    let text = body
        .string(FIELD)?
        .ok_or_else(|| Error::invalid_parameter(FIELD, "destinationNumber is missing."))?;
    let number = typed::number(&text);
    service
        .rules()
        .extra_prefixes
        .read(&number)
        .map_err(|error| {
            Error::new(ErrorCode::InvalidPhoneNumber, error.to_string()).with_field(FIELD)
        })
}

/// The brand of a message. In other requests it is only a part of a reference ID.
fn brand_to_show(service: &Service, body: &mut Body) -> Result<String, Error> {
    let rules = service.rules();
    let Some(brand) = brand_name(body, &service.provider_limits().brand_name)? else {
        return Ok(rules.defaults.brand_name.clone());
    };
    rules
        .brands
        .check(&brand)
        .map_err(|why| Error::invalid_parameter("brandName", format!("brandName {why}")))?;
    Ok(brand)
}

fn brand_name(body: &mut Body, length: &RangeInclusive<u8>) -> Result<Option<String>, Error> {
    let Some(brand) = body.string("brandName")? else {
        return Ok(None);
    };
    let fits = u8::try_from(brand.chars().count()).is_ok_and(|count| length.contains(&count));
    let is_blank = !brand.chars().any(typed::is_visible);
    if fits && !is_blank && !brand.chars().any(char::is_control) {
        Ok(Some(brand))
    } else {
        Err(Error::invalid_parameter(
            "brandName",
            format!(
                "brandName must have {} to {} characters, at least one of them visible, and no control characters.",
                length.start(),
                length.end()
            ),
        ))
    }
}

/// The most characters of a `source`. AWS sets no limit, because AWS gets only the reference ID, which is a hash.
pub(crate) const SOURCE_LIMIT: usize = 128;

fn source(body: &mut Body) -> Result<Option<String>, Error> {
    let source = body.string("source")?;
    let is_too_long = |source: &String| source.chars().count() > SOURCE_LIMIT;
    if source.as_ref().is_some_and(is_too_long) {
        return Err(Error::invalid_parameter(
            "source",
            format!("source must have at most {SOURCE_LIMIT} characters."),
        ));
    }
    Ok(source)
}

fn reference_id(body: &mut Body) -> Result<Option<ReferenceId>, Error> {
    body.string("referenceId")?
        .map(|text| ReferenceId::parse(&text))
        .transpose()
}

fn channel(body: &mut Body, limits: &ProviderLimits) -> Result<Channel, Error> {
    let Some(given) = body.string("channel")? else {
        return Ok(limits.usual_channel());
    };
    let offered = || limits.channels.iter().map(|own| own.channel);
    Channel::named(&given)
        .filter(|channel| offered().any(|offered| offered == *channel))
        .ok_or_else(|| {
            let names: Vec<_> = offered().map(Channel::name).collect();
            Error::invalid_parameter(
                "channel",
                format!("channel must be one of {}.", names.join(", ")),
            )
        })
}
