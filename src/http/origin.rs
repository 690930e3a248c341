//! HTTP requests as AWS's front doors put them into events, and answers as each wants them back.

use super::{Request, Response};
use crate::error::{Error, ErrorCode};
use crate::json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::fmt;
use std::net::IpAddr;

/// Which front door an event came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// API Gateway REST API, or an HTTP API with payload format 1.0.
    RestV1,
    /// API Gateway HTTP API with payload format 2.0.
    HttpV2,
    /// Lambda function URL: the HTTP API's format under another host name.
    FunctionUrl,
    /// Application Load Balancer.
    Alb,
    /// Something like HTTP, but without the context that tells from where.
    Unclear,
}

impl Origin {
    /// The name in log lines.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RestV1 => "rest-v1",
            Self::HttpV2 => "http-v2",
            Self::FunctionUrl => "function-url",
            Self::Alb => "alb",
            Self::Unclear => "unclear",
        }
    }
}

/// An HTTP event: its origin is known, and nothing else of it has been believed yet.
pub struct Event<'a> {
    origin: Origin,
    members: Members<'a>,
    context: Context<'a>,
}

/// The top level. Every member is raw: a hostile one spoils itself and no other.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Members<'a> {
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    request_context: Option<&'a RawValue>,
    resource: Option<&'a RawValue>,
    route_key: Option<&'a RawValue>,
    path: Option<&'a RawValue>,
    raw_path: Option<&'a RawValue>,
    path_parameters: Option<&'a RawValue>,
    http_method: Option<&'a RawValue>,
    headers: Option<&'a RawValue>,
    multi_value_headers: Option<&'a RawValue>,
    body: Option<&'a RawValue>,
    is_base64_encoded: Option<&'a RawValue>,
}

/// What AWS itself says about the request: no client can write here.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Context<'a> {
    #[serde(borrow)]
    elb: Option<&'a RawValue>,
    http: Option<&'a RawValue>,
    http_method: Option<&'a RawValue>,
    domain_name: Option<&'a RawValue>,
    stage: Option<&'a RawValue>,
    identity: Option<&'a RawValue>,
    authorizer: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct HttpContext<'a> {
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(rename = "sourceIp")]
    source_ip: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    /// Takes an event for HTTP if it looks like it; `None` for anything else.
    ///
    /// The shapes are told apart by what AWS always writes and emulators keep: a bare
    /// `httpMethod` is in events of several kinds.
    #[must_use]
    pub fn recognize(event: &'a RawValue) -> Option<Self> {
        let members: Members<'a> = serde_json::from_str(event.get()).ok()?;
        let context: Context<'a> = json::read(members.request_context).unwrap_or_default();
        let origin = if context.elb.is_some() {
            Origin::Alb
        } else if text(members.version).as_deref() == Some("2.0") && context.http.is_some() {
            match text(context.domain_name) {
                Some(host) if host.contains(".lambda-url.") => Origin::FunctionUrl,
                _ => Origin::HttpV2,
            }
        } else if context.http_method.is_some()
            || (members.request_context.is_some() && members.resource.is_some())
        {
            Origin::RestV1
        } else if members.http_method.is_some()
            || members.raw_path.is_some()
            || members.resource.is_some()
        {
            Origin::Unclear
        } else {
            return None;
        };
        Some(Self {
            origin,
            members,
            context,
        })
    }

    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// The request in the event.
    ///
    /// # Errors
    ///
    /// `malformed_request` if the event lacks what every request has.
    pub(super) fn request(&self) -> Result<Request, Error> {
        let unreadable = |what: &str| {
            Error::new(
                ErrorCode::MalformedRequest,
                format!("The event has no readable {what}."),
            )
        };
        let (method, path) = match self.origin {
            Origin::Unclear => return Err(unreadable("request context")),
            Origin::HttpV2 | Origin::FunctionUrl => {
                let http: HttpContext<'_> = json::read(self.context.http).unwrap_or_default();
                (text(http.method), text(self.members.raw_path))
            }
            Origin::RestV1 => (
                text(self.members.http_method).or_else(|| text(self.context.http_method)),
                text(self.members.path),
            ),
            Origin::Alb => (text(self.members.http_method), text(self.members.path)),
        };
        Ok(Request {
            method: method.ok_or_else(|| unreadable("HTTP method"))?,
            path: self.without_base(&path.ok_or_else(|| unreadable("path"))?),
            headers: self.headers().ok_or_else(|| unreadable("headers"))?,
            principal: self.principal(),
            address: self.address(),
        })
    }

    /// The path without the stage or the base path of a custom domain.
    ///
    /// API Gateway says which of its routes a request took; what stands before that route in the
    /// path is the base. Nothing is decoded: a path that needs decoding to match is another path.
    fn without_base(&self, path: &str) -> String {
        if let Some(route) = self
            .taken_route()
            .filter(|route| path.ends_with(route.as_str()))
        {
            return route;
        }
        let stage = match self.origin {
            Origin::HttpV2 | Origin::RestV1 => text(self.context.stage),
            Origin::FunctionUrl | Origin::Alb | Origin::Unclear => None,
        };
        let inside = stage
            .filter(|stage| !stage.is_empty())
            .and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage.as_str()))
            .filter(|rest| rest.starts_with('/'));
        inside.unwrap_or(path).to_owned()
    }

    /// The route of API Gateway that the request took, with a greedy parameter filled in.
    fn taken_route(&self) -> Option<String> {
        let template = match self.origin {
            Origin::RestV1 => text(self.members.resource)?,
            Origin::HttpV2 => text(self.members.route_key)?.split_once(' ')?.1.to_owned(),
            Origin::FunctionUrl | Origin::Alb | Origin::Unclear => return None,
        };
        let Some((before, parameter)) = template.split_once('{') else {
            return Some(template).filter(|route| !route.is_empty());
        };
        let name = parameter.strip_suffix("+}")?;
        let parameters: Pairs<Text> = json::read(self.members.path_parameters)?;
        let (_, value) = parameters.0.into_iter().find(|(given, _)| given == name)?;
        Some(format!("{before}{}", value.utf8()?))
    }

    fn headers(&self) -> Option<Vec<(String, String)>> {
        let lower = |(name, value): (String, Text)| (name.to_ascii_lowercase(), value.lossy());
        if let Some(raw) = self.members.multi_value_headers {
            let lists: Pairs<Vec<Text>> = json::read(Some(raw))?;
            let each = lists
                .0
                .into_iter()
                .flat_map(|(name, values)| values.into_iter().map(move |v| (name.clone(), v)));
            return Some(each.map(lower).collect());
        }
        match self.members.headers {
            None => Some(Vec::new()),
            Some(raw) => Some(
                json::read::<Pairs<Text>>(Some(raw))?
                    .0
                    .into_iter()
                    .map(lower)
                    .collect(),
            ),
        }
    }

    /// Who the caller is, if AWS has authenticated it and says so: by IAM or by an authorizer.
    ///
    /// Fails closed: an authorizer that names nobody (`null`, an empty object) vouches for nobody,
    /// and neither does the guest role of a Cognito identity pool, which anybody can take on.
    fn principal(&self) -> Option<String> {
        let authorizer: Value = json::read(self.context.authorizer).unwrap_or_default();
        let text = |pointer: &str| {
            authorizer
                .pointer(pointer)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        // Claims and contexts are the operator's to shape. Who is in them is told by what they usually call it.
        let named = |pointer: &str| {
            let members = authorizer.pointer(pointer)?;
            if let Value::String(text) = members {
                return (!text.is_empty()).then(|| text.clone());
            }
            let members = members.as_object().filter(|members| !members.is_empty())?;
            let subject = ["principalId", "sub", "client_id"]
                .iter()
                .find_map(|name| members.get(*name)?.as_str());
            let issuer = members
                .get("iss")
                .and_then(Value::as_str)
                .unwrap_or_default();
            Some(format!("{issuer} {}", subject.unwrap_or_default()))
        };
        match self.origin {
            Origin::HttpV2 | Origin::FunctionUrl => {
                let methods = authorizer
                    .pointer("/iam/cognitoIdentity/amr")
                    .and_then(Value::as_array);
                let guest =
                    methods.is_some_and(|methods| methods.iter().any(|method| method == GUEST));
                let signer = text("/iam/userArn").filter(|_| !guest).map(without_session);
                signer
                    .or_else(|| named("/jwt/claims"))
                    .or_else(|| named("/lambda"))
            }
            Origin::RestV1 => {
                let identity: Value = json::read(self.context.identity).unwrap_or_default();
                let arn = identity
                    .get("userArn")
                    .and_then(Value::as_str)
                    .filter(|arn| !arn.is_empty());
                let guest = identity
                    .get("cognitoAuthenticationType")
                    .is_some_and(|kind| kind == GUEST);
                let signer = arn.filter(|_| !guest).map(without_session);
                signer
                    .or_else(|| named("/principalId"))
                    .or_else(|| named("/claims"))
            }
            // A load balancer can authenticate, but does not say so in a place that only it can write.
            Origin::Alb | Origin::Unclear => None,
        }
    }

    /// The address that the connection came from. Of headers only the entry that a load balancer itself appends is
    /// believed; every other one is the client's to write.
    fn address(&self) -> Option<IpAddr> {
        match self.origin {
            Origin::HttpV2 | Origin::FunctionUrl => {
                let http: HttpContext<'_> = json::read(self.context.http).unwrap_or_default();
                text(http.source_ip)?.parse().ok()
            }
            Origin::RestV1 => {
                let identity: Value = json::read(self.context.identity)?;
                identity.get("sourceIp")?.as_str()?.parse().ok()
            }
            Origin::Alb => {
                let headers = self.headers()?;
                let (_, forwarded) = headers
                    .iter()
                    .rfind(|(name, _)| name == "x-forwarded-for")?;
                forwarded.rsplit(',').next()?.trim().parse().ok()
            }
            Origin::Unclear => None,
        }
    }

    /// The body, decoded, if it has at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// `body_too_large`, found before anything is decoded; `malformed_request` for bad base64.
    pub(super) fn body(&self, limit: usize) -> Result<Vec<u8>, Error> {
        let too_large = || {
            Error::new(
                ErrorCode::BodyTooLarge,
                format!("The body must have at most {limit} bytes."),
            )
        };
        let unreadable = |what| Error::new(ErrorCode::MalformedRequest, what);
        let Some(raw) = self.members.body else {
            return Ok(Vec::new());
        };
        let Text(body) =
            json::read(Some(raw)).ok_or_else(|| unreadable("The event's body is not a string."))?;
        let encoded = match self.members.is_base64_encoded {
            None => false,
            flag => json::read(flag)
                .ok_or_else(|| unreadable("The event's isBase64Encoded is not a boolean."))?,
        };
        if !encoded {
            return if body.len() > limit {
                Err(too_large())
            } else {
                Ok(body)
            };
        }
        if body.len() > limit.div_ceil(3) * 4 {
            return Err(too_large());
        }
        let decoded = BASE64
            .decode(body)
            .map_err(|_| unreadable("The body is not valid base64."))?;
        if decoded.len() > limit {
            Err(too_large())
        } else {
            Ok(decoded)
        }
    }

    /// The answer in the shape that the event's origin reads.
    pub(super) fn answer(&self, response: &Response) -> Value {
        let mut answer = Map::new();
        answer.insert("statusCode".to_owned(), response.status.into());
        answer.insert("body".to_owned(), response.body.as_str().into());
        answer.insert("isBase64Encoded".to_owned(), false.into());
        // A target group with multi-value headers reads no others.
        if self.origin == Origin::Alb && self.members.multi_value_headers.is_some() {
            let lists: Map<_, _> = response
                .headers()
                .map(|(name, value)| (name.to_owned(), json!([value])))
                .collect();
            answer.insert("multiValueHeaders".to_owned(), lists.into());
        } else {
            let headers: Map<_, _> = response
                .headers()
                .map(|(name, value)| (name.to_owned(), json!(value)))
                .collect();
            answer.insert("headers".to_owned(), headers.into());
        }
        match self.origin {
            Origin::HttpV2 | Origin::FunctionUrl => {
                answer.insert("cookies".to_owned(), json!([]));
            }
            Origin::Alb => {
                let status = format!("{} {}", response.status, reason(response.status));
                answer.insert("statusDescription".to_owned(), status.into());
            }
            Origin::RestV1 | Origin::Unclear => {}
        }
        answer.into()
    }
}

/// The ARN of a role for the ARN of one of its sessions: every machine of a backend has a session of its own, and they
/// are one caller all the same.
fn without_session(arn: &str) -> String {
    match arn.rsplit_once('/') {
        Some((role, _)) if arn.contains(":assumed-role/") => role.to_owned(),
        _ => arn.to_owned(),
    }
}

/// What AWS calls the visitors of a Cognito identity pool who have not signed in.
const GUEST: &str = "unauthenticated";

/// The reason phrase of the statuses that this program answers with.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Internal Server Error",
    }
}

fn text(raw: Option<&RawValue>) -> Option<String> {
    json::read::<Text>(raw)?.utf8()
}

/// A JSON string as bytes, so that a lone surrogate in it (`"\ud800"`) spoils this string alone
/// and not the whole event.
struct Text(Vec<u8>);

impl Text {
    fn lossy(self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    fn utf8(self) -> Option<String> {
        String::from_utf8(self.0).ok()
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(bytes.to_vec()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.as_bytes().to_vec()))
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// The members of a JSON object in their order, those with unreadable values left out.
struct Pairs<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text, &RawValue>()? {
                    if let (Some(name), Some(value)) = (name.utf8(), json::read(Some(value))) {
                        pairs.push((name, value));
                    }
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}
