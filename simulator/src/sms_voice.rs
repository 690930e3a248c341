//! The protocol of `PutMessageFeedback`, of Amazon Pinpoint SMS Voice V2.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, Response, StatusCode, header},
    response::IntoResponse,
    routing::post,
};
use serde_json::{Value, json};

use crate::{
    desk::Desk,
    failure::{Failure, Operation, Service},
    message::Feedback,
    wire::{Call, CallInput, Fields, InvalidField, Refusal, WireResponse, answer, random_id},
};

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

pub(crate) fn routes() -> Router<Arc<Desk>> {
    Router::new().route("/", post(operation))
}

/// All operations of the service share one path. Operations other than `PutMessageFeedback` are not recorded.
async fn operation(State(desk): State<Arc<Desk>>, request: Request) -> Response<Body> {
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
    let unknown = Refusal::gateway(
        StatusCode::BAD_REQUEST,
        "UnknownOperationException",
        "Unknown operation",
    );
    let (status, _, body) = FeedbackCall::refused(unknown, "");
    (
        status,
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        [("x-amzn-requestid", random_id())],
        body,
    )
        .into_response()
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
