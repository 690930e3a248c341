//! The pool over HTTP: Cognito's wire format (JSON 1.1), its headers for browsers, its keys, and the recorded triggers.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request as HttpRequest, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
    routing::{get, options},
};
use serde_json::{Map, Value, json};

use super::{Fault, POOL_ID, Pool, Request};
use crate::{
    desk::Desk,
    wire::{check_signature_scope, random_id},
};

const TARGET: &str = "AWSCognitoIdentityProviderService.";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const LARGEST_BODY: usize = 128 * 1024;

/// The operations that need no signature. Pages of every site may call them, as they may call AWS's.
const PUBLIC: [&str; 3] = ["InitiateAuth", "RespondToAuthChallenge", "SignUp"];

pub(crate) fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/", options(preflight))
        .route(&format!("/{POOL_ID}/.well-known/jwks.json"), get(keys))
        .route("/cognito/triggers/{id}/{file}", get(recorded))
}

pub(crate) fn is_for_the_pool(desk: &Desk, headers: &HeaderMap) -> bool {
    desk.pool().is_open() && operation_of(headers).is_some()
}

fn operation_of(headers: &HeaderMap) -> Option<&str> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    target.strip_prefix(TARGET)
}

/// A browser asks before it calls an operation. `authorization` is not allowed, so a page cannot sign.
async fn preflight(State(desk): State<Arc<Desk>>) -> Response<Body> {
    if !desk.pool().is_open() {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "content-type, x-amz-target, x-amz-user-agent, amz-sdk-invocation-id, amz-sdk-request, cache-control",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::OK, allowed).into_response()
}

pub(crate) async fn operation(desk: &Arc<Desk>, request: HttpRequest) -> Response<Body> {
    let (head, body) = request.into_parts();
    let operation = operation_of(&head.headers).unwrap_or_default();
    let is_public = PUBLIC.contains(&operation);
    let result = match to_bytes(body, LARGEST_BODY).await {
        Ok(body) => answer(desk.pool(), desk, &head.headers, operation, &body).await,
        Err(_) => Err(Fault {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            ..Fault::new("RequestEntityTooLargeException", "Request entity too large")
        }),
    };
    let mut response = match result {
        Ok(value) => (StatusCode::OK, value.to_string()).into_response(),
        Err(Fault {
            status,
            kind,
            message,
        }) => {
            let body = json!({ "__type": kind, "message": message });
            let mut response = (status, body.to_string()).into_response();
            let headers = response.headers_mut();
            headers.insert("x-amzn-errortype", HeaderValue::from_static(kind));
            if let Ok(message) = HeaderValue::from_str(&message) {
                headers.insert("x-amzn-errormessage", message);
            }
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    if let Ok(id) = HeaderValue::try_from(random_id()) {
        headers.insert("x-amzn-requestid", id);
    }
    if is_public {
        let exposed = "x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date";
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

async fn answer(
    pool: &Pool,
    desk: &Desk,
    headers: &HeaderMap,
    operation: &str,
    body: &[u8],
) -> Result<Value, Fault> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if header("content-type") != Some(CONTENT_TYPE) {
        // With this content type, a browser always asks before it calls.
        return Err(Fault::new("UnknownOperationException", "Unknown operation"));
    }
    if !PUBLIC.contains(&operation) {
        check_signature_scope(headers, "cognito-idp").map_err(|refusal| Fault {
            status: refusal.status,
            ..Fault::new(refusal.error_type, refusal.message)
        })?;
    }
    let input = serde_json::from_slice::<Map<String, Value>>(body)
        .map_err(|_| Fault::new("SerializationException", "The body is no JSON object."))?;
    let setup = pool.setup.get().ok_or_else(Fault::internal)?;
    let agent = header("x-amz-user-agent").or_else(|| header("user-agent"));
    let request = Request {
        desk,
        setup,
        input: &input,
        agent: agent
            .and_then(|agent| agent.split(' ').next())
            .unwrap_or("aws-sdk-unknown-unknown"),
        now: desk.now(),
    };
    pool.carry_out(operation, &request).await
}

/// The public key of the tokens.
async fn keys(State(desk): State<Arc<Desk>>) -> Response<Body> {
    match desk.pool().setup.get() {
        Some(setup) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, setup.key.set().to_string()).into_response()
        }
        None => (StatusCode::NOT_FOUND, "There is no user pool.\n").into_response(),
    }
}

/// A recorded event for `make invoke`, or the answer of the function to it.
async fn recorded(
    State(desk): State<Arc<Desk>>,
    Path((id, file)): Path<(u64, String)>,
) -> Response<Body> {
    let call = desk.triggers().into_iter().find(|call| call.id == id);
    let value = call.and_then(|call| match file.as_str() {
        "event.json" => Some(call.event),
        "response.json" => Some(call.response),
        _ => None,
    });
    let Some(value) = value else {
        return (StatusCode::NOT_FOUND, "There is no such file.\n").into_response();
    };
    (
        [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        format!("{value:#}\n"),
    )
        .into_response()
}
