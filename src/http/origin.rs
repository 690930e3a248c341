//! HTTP events from each origin, and the response that each origin expects.
//!
//! The types of `aws_lambda_events` read the events. Other programs then convert the event to `http::Request`. This
//! program does not, because the conversion panics on a `<` in a query string, on an odd `Host` and on bad base64.

mod essentials;

use super::Operation;
use super::principal::{PoolFacts, Principal};
use super::request::Request;
use super::response::Response;
use crate::error::{Error, ErrorCode};
use crate::json::{self, Entries};
use crate::typed;
use lambda_http::aws_lambda_events::alb::AlbTargetGroupRequest;
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayProxyRequest, ApiGatewayProxyRequestContext, ApiGatewayRequestAuthorizer,
    ApiGatewayV2httpRequest,
};
use lambda_http::http::HeaderMap;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// An HTTP event, by the origin that sent it.
pub(crate) enum Event {
    /// An API Gateway REST API, or an HTTP API with payload format 1.0.
    Rest(Box<ApiGatewayProxyRequest>),
    /// An API Gateway HTTP API with payload format 2.0, or a Lambda function URL.
    Http(Box<ApiGatewayV2httpRequest>),
    /// An Application Load Balancer.
    Alb(Box<AlbTargetGroupRequest>),
    /// The event has the shape of an HTTP request, but cannot be read as one.
    Unreadable(Shape),
}

/// The shape of an event. It decides the shape of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Rest,
    Http,
    FunctionUrl,
    Alb {
        multi_value_headers: bool,
    },
    /// The event looks like HTTP but has no usable request context.
    Unclear,
}

/// The fields of `requestContext` that tell the shapes apart.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Context<'a> {
    elb: Option<IgnoredAny>,
    http: Option<IgnoredAny>,
    http_method: Option<IgnoredAny>,
    #[serde(borrow)]
    domain_name: Option<&'a RawValue>,
}

/// The largest `headers` or `multiValueHeaders` that is read, in bytes of JSON. `HeaderMap` panics at 32,768 values.
/// Each value takes at least three bytes of JSON, so a text below this limit cannot have as many values. Real events
/// are far smaller: API Gateway passes on 10 KB.
const HEADERS_LIMIT: usize = 3 * 32_768;

impl Event {
    /// Recognizes an HTTP event by its top-level `fields` and reads it; `None` for any other event.
    pub(crate) fn recognize(event: &RawValue, fields: &Entries<&RawValue>) -> Option<Self> {
        let shape = Shape::of(fields)?;
        let headers = [fields.get("headers"), fields.get("multiValueHeaders")];
        if headers
            .iter()
            .flatten()
            .any(|raw| raw.get().len() > HEADERS_LIMIT)
        {
            return Some(Self::Unreadable(shape));
        }
        let read = match shape {
            Shape::Rest => read(event, shape).map(Self::Rest),
            Shape::Http | Shape::FunctionUrl => read(event, shape).map(Self::Http),
            Shape::Alb { .. } => read(event, shape).map(Self::Alb),
            Shape::Unclear => None,
        };
        Some(read.unwrap_or(Self::Unreadable(shape)))
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Rest(_) => Shape::Rest,
            Self::Http(event) => match &event.request_context.domain_name {
                Some(name) if name.contains(FUNCTION_URL) => Shape::FunctionUrl,
                _ => Shape::Http,
            },
            Self::Alb(event) => Shape::Alb {
                multi_value_headers: !event.multi_value_headers.is_empty(),
            },
            Self::Unreadable(shape) => *shape,
        }
    }

    /// Turns the event into a request.
    ///
    /// # Errors
    ///
    /// `malformed_request` if the event lacks a field that every request has.
    pub(super) fn into_request(self) -> Result<Request, Error> {
        let is_function_url = self.shape() == Shape::FunctionUrl;
        match self {
            Self::Rest(event) => from_rest(*event),
            Self::Http(event) => from_http(*event, is_function_url),
            Self::Alb(event) => from_alb(*event),
            Self::Unreadable(Shape::Unclear) => Err(malformed(
                "The event does not show which AWS service sent it: its request context is missing or incomplete.",
            )),
            Self::Unreadable(_) => Err(malformed("The event cannot be read as an HTTP request.")),
        }
    }
}

/// Reads the event as AWS writes it. If that fails, reads only the fields that this program needs.
fn read<T: DeserializeOwned>(event: &RawValue, shape: Shape) -> Option<Box<T>> {
    serde_json::from_str(event.get())
        .ok()
        .or_else(|| serde_json::from_value(essentials::of(event, shape)?).ok())
}

/// The part that all domain names of function URLs have.
const FUNCTION_URL: &str = ".lambda-url.";

impl Shape {
    /// Recognizes the shape by fields that AWS always writes and emulators keep. `httpMethod` by itself is not enough,
    /// because events of several kinds have it.
    fn of(fields: &Entries<&RawValue>) -> Option<Self> {
        let context: Context<'_> =
            json::read_object(fields.get("requestContext")).unwrap_or_default();
        let has = |name| fields.get(name).is_some();
        let is_version_2 = fields
            .get("version")
            .is_some_and(|raw| raw.get() == r#""2.0""#);
        if context.elb.is_some() {
            Some(Self::Alb {
                multi_value_headers: has("multiValueHeaders"),
            })
        } else if is_version_2 && context.http.is_some() {
            match context.domain_name {
                Some(name) if name.get().contains(FUNCTION_URL) => Some(Self::FunctionUrl),
                _ => Some(Self::Http),
            }
        } else if context.http_method.is_some() || (has("requestContext") && has("resource")) {
            Some(Self::Rest)
        } else if has("httpMethod") || has("rawPath") || has("resource") {
            Some(Self::Unclear)
        } else {
            None
        }
    }

    /// The name in log lines.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest-v1",
            Self::Http => "http-v2",
            Self::FunctionUrl => "function-url",
            Self::Alb { .. } => "alb",
            Self::Unclear => "unclear",
        }
    }

    /// The response as the origin reads it.
    pub(super) fn lambda_response(self, response: &Response) -> LambdaResponse<'_> {
        let status = response.status();
        // All header values are this program's own text, and each name has one value.
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
        let (headers, multi_value_headers) = match self {
            // A target group with multi-value headers ignores single-value headers.
            Self::Alb {
                multi_value_headers: true,
            } => (None, Some(headers.map(|(name, v)| (name, [v])).collect())),
            _ => (Some(headers.collect()), None),
        };
        let reason = status.canonical_reason().unwrap_or_default();
        LambdaResponse {
            status_code: status.as_u16(),
            status_description: matches!(self, Self::Alb { .. })
                .then(|| format!("{} {reason}", status.as_u16())),
            headers,
            multi_value_headers,
            body: response.body(),
            is_base64_encoded: false,
            cookies: matches!(self, Self::Http | Self::FunctionUrl).then_some([]),
        }
    }
}

/// A response in the shape that an origin reads. The response has either single-value or multi-value headers. The
/// structs of `aws_lambda_events` are not used, because they always write both kinds of headers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LambdaResponse<'a> {
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<&'a str, &'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<BTreeMap<&'a str, [&'a str; 1]>>,
    body: &'a str,
    is_base64_encoded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookies: Option<[&'static str; 0]>,
}

fn from_rest(event: ApiGatewayProxyRequest) -> Result<Request, Error> {
    let context = event.request_context;
    let template = event.resource.as_deref().unwrap_or_default();
    let route = fill_in(template, &event.path_parameters);
    Ok(Request {
        method: event.http_method,
        path: without_base(event.path, route, context.stage.as_deref())?,
        headers: one_of(event.multi_value_headers, event.headers),
        address: parse_address(context.identity.source_ip.as_deref()),
        api_key_id: context.identity.api_key_id.clone(),
        principal: rest_principal(context),
        body: event.body,
        is_base64_encoded: event.is_base64_encoded,
    })
}

fn from_http(event: ApiGatewayV2httpRequest, is_function_url: bool) -> Result<Request, Error> {
    let context = event.request_context;
    let path = if is_function_url {
        event.raw_path.ok_or_else(no_path)?
    } else {
        let route = event.route_key.as_deref().and_then(|key| {
            let (_, template) = key.split_once(' ')?;
            fill_in(template, &event.path_parameters)
        });
        without_base(event.raw_path, route, context.stage.as_deref())?
    };
    Ok(Request {
        method: context.http.method,
        path,
        headers: event.headers,
        address: parse_address(context.http.source_ip.as_deref()),
        principal: context.authorizer.and_then(http_principal),
        api_key_id: None,
        body: event.body,
        is_base64_encoded: event.is_base64_encoded,
    })
}

fn from_alb(event: AlbTargetGroupRequest) -> Result<Request, Error> {
    let headers = one_of(event.multi_value_headers, event.headers);
    // The load balancer appends the address that it sees. The client may have written the values before it.
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
    let address = forwarded
        .and_then(|value| value.to_str().ok()?.rsplit(',').next())
        .map(str::trim);
    Ok(Request {
        method: event.http_method,
        path: event.path.ok_or_else(no_path)?,
        address: parse_address(address),
        headers,
        // A load balancer can authenticate callers, but says so only in headers. Clients can write those headers, too.
        principal: None,
        api_key_id: None,
        body: event.body,
        is_base64_encoded: event.is_base64_encoded,
    })
}

/// The multi-value headers, if the event has them: they hold every value.
fn one_of(multi_value_headers: HeaderMap, headers: HeaderMap) -> HeaderMap {
    if multi_value_headers.is_empty() {
        headers
    } else {
        multi_value_headers
    }
}

fn parse_address(text: Option<&str>) -> Option<IpAddr> {
    typed::address(text?)
}

/// The path without the stage or the base path of a custom domain.
///
/// API Gateway names the route that the request took. Everything in the path before this route is dropped. Nothing is
/// decoded: a path that would match only after decoding is another path.
fn without_base(
    path: Option<String>,
    route: Option<String>,
    stage: Option<&str>,
) -> Result<String, Error> {
    let path = path.ok_or_else(no_path)?;
    // A stage may be named `otp`. So a path that is already a route keeps its first segment.
    if Operation::at(&path).is_some() {
        return Ok(path);
    }
    if let Some(route) = route.filter(|route| path.ends_with(route.as_str())) {
        return Ok(route);
    }
    let inside_stage = stage
        .filter(|stage| !stage.is_empty())
        .and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage))
        .filter(|rest| rest.starts_with('/'));
    Ok(inside_stage.map(str::to_owned).unwrap_or(path))
}

/// A route of API Gateway with its greedy parameter filled in: `/{proxy+}` is `/otp/send`, for example.
fn fill_in(template: &str, parameters: &HashMap<String, String>) -> Option<String> {
    let Some((before, parameter)) = template.split_once('{') else {
        return Some(template.to_owned()).filter(|route| !route.is_empty());
    };
    let value = parameters.get(parameter.strip_suffix("+}")?)?;
    Some(format!("{before}{value}"))
}

/// The guest role of a Cognito identity pool. Anyone can take on this role, so it authenticates no caller.
const GUEST: &str = "unauthenticated";

/// The caller that IAM, a JWT authorizer or a Lambda authorizer has authenticated.
///
/// Fails closed: if an authorizer names no caller (`null`, an empty object), there is no principal.
fn http_principal(authorizer: ApiGatewayRequestAuthorizer) -> Option<Principal> {
    let signer = authorizer.iam.and_then(|iam| {
        let identity = iam.cognito_identity.unwrap_or_default();
        let pool = PoolFacts {
            is_pool: !identity.amr.is_empty()
                || identity.identity_id.is_some()
                || identity.identity_pool_id.is_some(),
            is_guest: identity.amr.iter().any(|method| method == GUEST),
            identity_id: identity.identity_id,
        };
        Principal::signer(iam.user_arn, pool)
    });
    let claims = authorizer.jwt.map(|jwt| jwt.claims).unwrap_or_default();
    let fields = authorizer.fields;
    let of_jwt = || Principal::of_token(|name| claims.get(name).map(String::as_str));
    let of_lambda = || Principal::of_authorizer(|name| fields.get(name)?.as_str());
    signer
        .or_else(|| (!claims.is_empty()).then(of_jwt))
        .or_else(|| (!fields.is_empty()).then(of_lambda))
}

/// As [`http_principal`], for REST APIs, where a Lambda authorizer gives a `principalId` and Cognito gives claims.
fn rest_principal(context: ApiGatewayProxyRequestContext) -> Option<Principal> {
    let identity = context.identity;
    let pool = PoolFacts {
        is_pool: [
            &identity.cognito_identity_id,
            &identity.cognito_identity_pool_id,
            &identity.cognito_authentication_type,
        ]
        .iter()
        .any(|fact| fact.as_ref().is_some_and(|fact| !fact.is_empty())),
        is_guest: identity.cognito_authentication_type.as_deref() == Some(GUEST),
        identity_id: identity.cognito_identity_id,
    };
    let fields = context.authorizer.fields;
    let field = |name: &str| fields.get(name)?.as_str();
    let of_lambda = || Principal::of_authorizer(field);
    let is_named = field("principalId").is_some_and(|id| !id.is_empty());
    let of_claims = || match fields.get("claims")? {
        Value::String(text) if !text.is_empty() => Some(Principal::of_token(|name| {
            (name == "sub").then_some(text.as_str())
        })),
        Value::Object(claims) if !claims.is_empty() => {
            Some(Principal::of_token(|name| claims.get(name)?.as_str()))
        }
        _ => None,
    };
    Principal::signer(identity.user_arn, pool)
        .or_else(|| is_named.then(of_lambda))
        .or_else(of_claims)
}

fn no_path() -> Error {
    malformed("The event has no path.")
}

fn malformed(detail: &'static str) -> Error {
    Error::new(ErrorCode::MalformedRequest, detail)
}
