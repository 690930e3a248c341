//! API Gateway's HTTP API (payload version 2.0) in front of a handler, without AWS.
//!
//! Every request becomes an event for the handler, and the handler's result becomes the HTTP response. Every caller
//! appears as authenticated by IAM, although no signature is checked. For this reason the front listens only on
//! loopback addresses and serves only local host names, as the simulator does.
//!
//! The front also has Lambda's own API, `POST /2015-03-31/functions/NAME/invocations` with any name. The body is the
//! event, and the response is the function's result, or an error with the header `x-amz-function-error`. This API
//! refuses browsers, because any web page could make a browser post an event.
//!
//! The front responds as API Gateway does:
//!
//! - 413 to a body over 10 MB;
//! - 500 if the handler fails or returns an invalid response;
//! - 503 after 30 seconds;
//! - 200 with a JSON body to a result without `statusCode`.
//!
//! There is one difference: `rawPath` is exactly as the client sent it.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::{Query, Request},
    http::{
        HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header, request::Parts,
    },
    response::IntoResponse,
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use time::OffsetDateTime;
use tokio::task::JoinHandle;

use crate::{
    clock::{Clock, epoch_millis},
    cors,
    desk::join_repeated,
    server::{Access, Peer, checked, serve},
    wire::random_id,
};

/// API Gateway's limits.
const LARGEST_BODY: usize = 10 * 1024 * 1024;
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Lambda's limit for an event.
const LARGEST_EVENT: usize = 6 * 1024 * 1024;

/// The identities in the event, taken from AWS's documentation.
const ACCOUNT_ID: &str = "000000000000";
const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const CALLER_ID: &str = "AIDAEXAMPLEDESK";
const USER_ARN: &str = "arn:aws:iam::000000000000:user/desk";
const API_ID: &str = "simulator";

/// An error of the function: Lambda's `errorType` and `errorMessage`.
#[derive(Clone, Debug)]
pub struct HandlerError {
    pub kind: String,
    pub message: String,
}

impl From<&str> for HandlerError {
    fn from(message: &str) -> Self {
        Self {
            kind: "Unhandled".to_owned(),
            message: message.to_owned(),
        }
    }
}

/// A running front. Dropping it closes its connections and frees its port; running handlers finish.
#[derive(Debug)]
pub struct Front {
    /// The address that it listens on.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

/// The requests that a front takes, and how their callers appear.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Exact routes such as `POST /otp/send`. `$default` takes all other requests.
    pub routes: Vec<String>,
    /// Whether every caller appears as authenticated by IAM. Otherwise no caller is authenticated.
    pub is_signed: bool,
    pub access: Access,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            routes: vec!["$default".to_owned()],
            is_signed: true,
            access: Access::default(),
        }
    }
}

impl Front {
    /// Starts a front with one route, `$default`, on the current tokio runtime.
    ///
    /// The handler gets the event and a request ID. An `Err` is a function error: the client gets 500 without the text
    /// of the error.
    ///
    /// # Errors
    ///
    /// If the listener is not on a loopback address (`InvalidInput`).
    pub fn start_on<H, F>(listener: TcpListener, handler: H) -> io::Result<Self>
    where
        H: Fn(Box<RawValue>, String) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Value, HandlerError>> + Send + 'static,
    {
        Self::start(listener, Rules::default(), handler)
    }

    /// Like [`start_on`](Self::start_on), but with these routes, such as `POST /otp/send`. Routes match exactly.
    /// `$default` takes all other requests. If there is no `$default`, all other requests get 404.
    ///
    /// # Errors
    ///
    /// The same as for [`start_on`](Self::start_on).
    pub fn start_with_routes<H, F, I>(
        listener: TcpListener,
        routes: I,
        handler: H,
    ) -> io::Result<Self>
    where
        H: Fn(Box<RawValue>, String) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Value, HandlerError>> + Send + 'static,
        I: IntoIterator<Item: Into<String>>,
    {
        let rules = Rules {
            routes: routes.into_iter().map(Into::into).collect(),
            ..Rules::default()
        };
        Self::start(listener, rules, handler)
    }

    /// Starts a front with these rules.
    ///
    /// # Errors
    ///
    /// The same as for [`start_on`](Self::start_on), unless the rules allow the address.
    pub fn start<H, F>(listener: TcpListener, rules: Rules, handler: H) -> io::Result<Self>
    where
        H: Fn(Box<RawValue>, String) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Value, HandlerError>> + Send + 'static,
    {
        let address = checked(&listener, &rules.access)?;
        let access = rules.access.clone();
        let rules = Arc::new(rules);
        let invoked = handler.clone();
        let invocations = post(move |request: Request| invoke(invoked.clone(), request));
        let gateway = Router::new()
            .route("/2015-03-31/functions/{function}/invocations", invocations)
            .fallback(move |Extension(Peer(peer)), request: Request| {
                let (rules, handler) = (Arc::clone(&rules), handler.clone());
                async move {
                    let page = cors::page(request.headers(), &rules.access);
                    let Some(page) = page else {
                        return answer(&rules, handler, peer, request).await;
                    };
                    let response = match cors::preflight(&request) {
                        Some(response) => response,
                        None => answer(&rules, handler, peer, request).await,
                    };
                    cors::allow(response, page)
                }
            });
        let task = tokio::spawn(async move {
            let _ = serve(listener, gateway, access).await;
        });
        Ok(Self { address, task })
    }

    /// Without a slash at the end: `http://127.0.0.1:8000`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An invocation, as Lambda's API takes it.
async fn invoke<H, F>(handler: H, request: Request) -> Response<Body>
where
    H: Fn(Box<RawValue>, String) -> F + Send + 'static,
    F: Future<Output = Result<Value, HandlerError>> + Send + 'static,
{
    if request.headers().contains_key(header::ORIGIN) {
        return message(
            StatusCode::FORBIDDEN,
            "Browsers may not invoke the function.",
        );
    }
    let Ok(body) = to_bytes(request.into_body(), LARGEST_EVENT).await else {
        return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let Ok(event) = serde_json::from_slice::<Box<RawValue>>(&body) else {
        return message(
            StatusCode::BAD_REQUEST,
            "Could not parse request body into json",
        );
    };
    let json = (header::CONTENT_TYPE, "application/json");
    match tokio::spawn(async move { handler(event, random_id()).await }).await {
        Ok(Ok(result)) => ([json], result.to_string()).into_response(),
        Ok(Err(HandlerError { kind, message })) => {
            let failed = HeaderName::from_static("x-amz-function-error");
            let body = json!({ "errorType": kind, "errorMessage": message });
            ([json, (failed, "Unhandled")], body.to_string()).into_response()
        }
        Err(_) => internal_server_error(),
    }
}

async fn answer<H, F>(
    rules: &Rules,
    handler: H,
    peer: SocketAddr,
    request: Request,
) -> Response<Body>
where
    H: Fn(Box<RawValue>, String) -> F + Send + 'static,
    F: Future<Output = Result<Value, HandlerError>> + Send + 'static,
{
    let exact = format!("{} {}", request.method(), request.uri().path());
    let Some(route) = [exact.as_str(), "$default"]
        .into_iter()
        .find(|wanted| rules.routes.iter().any(|route| route == wanted))
    else {
        return message(StatusCode::NOT_FOUND, "Not Found");
    };
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let gateway_id = gateway_id();
    let mut event = event(&head, &body, route, peer, &gateway_id);
    if !rules.is_signed {
        event.request_context.get_mut("authorizer").map(Value::take);
    }
    let Ok(event) = to_raw_value(&event) else {
        return internal_server_error();
    };
    // The handler runs in a task of its own. If the client leaves, the handler continues, as on Lambda. If the handler
    // panics, only this response fails.
    let running = tokio::spawn(async move { handler(event, random_id()).await });
    let mut response = match tokio::time::timeout(LONGEST_WAIT, running).await {
        Ok(Ok(Ok(answer))) => to_response(answer).unwrap_or_else(internal_server_error),
        Ok(Ok(Err(_)) | Err(_)) => internal_server_error(),
        Err(_) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    };
    if let Ok(id) = HeaderValue::try_from(gateway_id) {
        response.headers_mut().insert("apigw-requestid", id);
    }
    response
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    version: &'static str,
    route_key: String,
    raw_path: String,
    raw_query_string: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    request_context: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    is_base64_encoded: bool,
}

fn event(head: &Parts, body: &[u8], route: &str, peer: SocketAddr, gateway_id: &str) -> Event {
    let mut headers = join_repeated(&head.headers);
    headers.remove(header::COOKIE.as_str());
    let cookies = head.headers.get_all(header::COOKIE).into_iter();
    let cookies = cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'));
    let host = headers.get("host").cloned().unwrap_or_default();
    let domain = host
        .rsplit_once(':')
        .map_or(host.as_str(), |(domain, _)| domain);
    let now = Clock::default().now();
    let (body, is_base64_encoded) = encode_body(&head.headers, body);
    Event {
        version: "2.0",
        route_key: route.to_owned(),
        raw_path: head.uri.path().to_owned(),
        raw_query_string: head.uri.query().unwrap_or_default().to_owned(),
        cookies: cookies.map(|cookie| cookie.trim().to_owned()).collect(),
        query_string_parameters: query_parameters(head),
        request_context: json!({
            "accountId": ACCOUNT_ID,
            "apiId": API_ID,
            "authorizer": {
                "iam": {
                    "accessKey": ACCESS_KEY,
                    "accountId": ACCOUNT_ID,
                    "callerId": CALLER_ID,
                    "cognitoIdentity": null,
                    "principalOrgId": null,
                    "userArn": USER_ARN,
                    "userId": CALLER_ID,
                },
            },
            "domainName": domain,
            "domainPrefix": domain.split('.').next(),
            "http": {
                "method": head.method.as_str(),
                "path": head.uri.path(),
                "protocol": if head.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
                "sourceIp": peer.ip(),
                "userAgent": headers.get("user-agent").map_or("", String::as_str),
            },
            "requestId": gateway_id,
            "routeKey": route,
            "stage": "$default",
            "time": common_log_time(now),
            "timeEpoch": epoch_millis(now),
        }),
        headers,
        body,
        is_base64_encoded,
    }
}

/// The decoded parameters; the values of a repeated one are joined with commas.
fn query_parameters(head: &Parts) -> BTreeMap<String, String> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(&head.uri)
        .map(|Query(pairs)| pairs)
        .unwrap_or_default();
    let mut joined = BTreeMap::<String, String>::new();
    for (name, value) in pairs {
        joined
            .entry(name)
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert(value);
    }
    joined
}

/// Encodes the body as API Gateway does. If the content type is textual and the bytes are UTF-8, the result is the text
/// and `false`. In all other cases, the result is base64 and `true`.
fn encode_body(headers: &HeaderMap, body: &[u8]) -> (Option<String>, bool) {
    if body.is_empty() {
        return (None, false);
    }
    match str::from_utf8(body) {
        Ok(text) if is_text(headers) => (Some(text.to_owned()), false),
        _ => (Some(STANDARD.encode(body)), true),
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let content_type = content_type.to_str().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence.as_str(),
            "application/json" | "application/javascript" | "application/xml"
        )
}

/// `23/Nov/2026:13:09:48 +0000`.
fn common_log_time(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    format!(
        "{:02}/{:.3}/{:04}:{:02}:{:02}:{:02} +0000",
        at.day(),
        at.month().to_string(),
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// API Gateway's request IDs have sixteen characters and end in `=`. Lambda's differ.
fn gateway_id() -> String {
    let mut bytes = [0; 11];
    fastrand::fill(&mut bytes);
    STANDARD.encode(bytes)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HandlerResponse {
    status_code: u16,
    #[serde(default)]
    headers: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

/// `None` for a result that API Gateway would reject as malformed.
fn to_response(answer: Value) -> Option<Response<Body>> {
    if answer.get("statusCode").is_none() {
        let json = [(header::CONTENT_TYPE, "application/json")];
        return Some((json, answer.to_string()).into_response());
    }
    let answer: HandlerResponse = serde_json::from_value(answer).ok()?;
    let body = answer.body.unwrap_or_default();
    let body = if answer.is_base64_encoded.unwrap_or_default() {
        STANDARD.decode(body).ok()?
    } else {
        body.into_bytes()
    };
    let mut response = Response::new(Body::from(body));
    // Informational statuses promise another response, but none follows.
    *response.status_mut() = StatusCode::from_u16(answer.status_code)
        .ok()
        .filter(|status| !status.is_informational())?;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain;charset=UTF-8"),
    );
    for (name, value) in answer.headers.unwrap_or_default() {
        let name: HeaderName = name.parse().ok()?;
        let value = match value {
            Value::String(text) => text,
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return None,
        };
        // The server writes these headers itself.
        if name == header::CONTENT_LENGTH
            || name == header::TRANSFER_ENCODING
            || name == header::CONNECTION
        {
            continue;
        }
        headers.insert(name, value.parse().ok()?);
    }
    for cookie in answer.cookies.unwrap_or_default() {
        headers.append(header::SET_COOKIE, cookie.parse().ok()?);
    }
    Some(response)
}

fn internal_server_error() -> Response<Body> {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

/// A response by API Gateway itself.
fn message(status: StatusCode, message: &str) -> Response<Body> {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        json!({ "message": message }).to_string(),
    )
        .into_response()
}
