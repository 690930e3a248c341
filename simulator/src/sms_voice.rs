//! The protocol of Amazon Pinpoint SMS Voice V2: `PutMessageFeedback`, and the operations of Notify configurations.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, Response, StatusCode, header},
    response::IntoResponse,
    routing::post,
};
use serde_json::{Value, json};

use crate::{
    desk::Desk,
    failure::{Failure, Operation, Service},
    message::Feedback,
    notify_api, pool, sessions,
    wire::{
        Call, CallInput, Fields, InvalidField, Refusal, WireResponse, answer,
        check_signature_scope, random_id,
    },
};

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

const LARGEST_BODY: usize = 1024 * 1024;

pub(crate) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/", post(operation))
}

/// All operations of the service share one path. Operations other than `PutMessageFeedback` are not recorded.
async fn operation(State(desk): State<Arc<Desk>>, request: Request) -> Response<Body> {
    // STS and the user pool have the same path.
    if sessions::is_for_sts(request.headers()) {
        return sessions::answer(&desk, request).await;
    }
    if pool::is_for_the_pool(&desk, request.headers()) {
        return pool::operation(&desk, request).await;
    }
    let named = [
        ("x-amz-target", "PinpointSMSVoiceV2.PutMessageFeedback"),
        ("content-type", CONTENT_TYPE),
    ];
    if named.iter().all(|(name, expected)| {
        request
            .headers()
            .get(*name)
            .is_some_and(|value| value == expected)
    }) {
        return answer(&desk, FeedbackCall, request).await;
    }
    let (head, body) = request.into_parts();
    let outcome = match to_bytes(body, LARGEST_BODY).await {
        Ok(body) => manage(&desk, &head.headers, &body),
        Err(_) => Err(Refusal::entity_too_large()),
    };
    let (status, body) = match outcome {
        Ok(body) => (StatusCode::OK, body.to_string()),
        Err(refusal) => {
            let (status, _, body) = FeedbackCall::refused(refusal, "");
            (status, body)
        }
    };
    (
        status,
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        [("x-amzn-requestid", random_id())],
        body,
    )
        .into_response()
}

/// Carries out an operation of Notify configurations.
fn manage(desk: &Arc<Desk>, headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let operation = header("x-amz-target")
        .and_then(|target| target.strip_prefix("PinpointSMSVoiceV2."))
        .filter(|_| header("content-type") == Some(CONTENT_TYPE))
        .and_then(notify_api::operation)
        .ok_or_else(|| {
            Refusal::gateway(
                StatusCode::BAD_REQUEST,
                "UnknownOperationException",
                "Unknown operation",
            )
        })?;
    check_signature_scope(headers, FeedbackCall::SIGNING_NAME)?;
    operation(desk, &serde_json::from_slice(body).unwrap_or_default())
}

struct FeedbackCall;

impl Call for FeedbackCall {
    const SERVICE: Service = Service::PinpointSmsVoiceV2;
    const SIGNING_NAME: &'static str = "sms-voice";
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    fn operation(&self) -> Operation {
        Operation::Feedback
    }

    fn application_id(&self) -> &'static str {
        ""
    }

    fn admit(&self, _: &Desk, _: &Method) -> Result<(), Refusal> {
        Ok(())
    }

    fn destination<'a>(&self, _: &'a Value) -> Option<&'a str> {
        None
    }

    fn carry_out(&self, desk: &Desk, input: &CallInput<'_>) -> Result<Value, Refusal> {
        let (message_id, feedback) = parse(input.body).map_err(|invalid_field| {
            invalid("FIELD_VALIDATION_FAILED", invalid_field.message.clone()).with(
                "Fields",
                json!([{"Name": invalid_field.path.trim_start_matches('/'), "Message": invalid_field.message}]),
            )
        })?;
        if !desk.feedback(message_id, feedback) {
            return Err(not_found(message_id));
        }
        Ok(json!({"MessageId": message_id, "MessageFeedbackStatus": feedback}))
    }

    fn refusal(failure: &Failure) -> Option<Refusal> {
        Some(match failure {
            Failure::BadRequest => {
                invalid("INVALID_REQUEST", "The request is not valid.".to_owned())
            }
            Failure::NotFound => not_found("desk"),
            _ => return Refusal::with_common_name(failure),
        })
    }

    fn too_large() -> Refusal {
        Refusal::entity_too_large()
    }

    /// The protocol has one status for all errors of the client. The body names the exception.
    fn refused(refusal: Refusal, _: &str) -> WireResponse {
        let status = if refusal.status.is_client_error() {
            StatusCode::BAD_REQUEST
        } else {
            refusal.status
        };
        let mut body = refusal.more;
        body.insert("__type".to_owned(), refusal.error_type.into());
        let message = if refusal.by_gateway {
            "message"
        } else {
            "Message"
        };
        body.insert(message.to_owned(), refusal.message.into());
        (status, None, Value::Object(body).to_string())
    }
}

fn parse(body: &Value) -> Result<(&str, Feedback), InvalidField> {
    let fields = Fields::of(body)?;
    let message_id = fields.matching("MessageId", 1..=64, |c| {
        c.is_ascii_alphanumeric() || "_:/-".contains(c)
    })?;
    let message_id = fields.present("MessageId", message_id)?;
    let feedback = match fields.required("MessageFeedbackStatus")? {
        "RECEIVED" => Feedback::Received,
        "FAILED" => Feedback::Failed,
        _ => return Err(fields.invalid("MessageFeedbackStatus", "must be RECEIVED or FAILED.")),
    };
    Ok((message_id, feedback))
}

fn invalid(reason: &str, message: String) -> Refusal {
    Refusal::modelled(StatusCode::BAD_REQUEST, "ValidationException", message)
        .with("Reason", reason)
}

fn not_found(message_id: &str) -> Refusal {
    Refusal::modelled(
        StatusCode::BAD_REQUEST,
        "ResourceNotFoundException",
        "Resource not found",
    )
    .with("ResourceType", "message")
    .with("ResourceId", message_id)
}
