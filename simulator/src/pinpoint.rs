//! Amazon Pinpoint's OTP API on the wire.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{Method, StatusCode},
    routing::any,
};
use serde_json::{Value, json};

use crate::{
    codes::{CodeKey, DIGITS, Rules},
    desk::{Desk, SendRequest},
    failure::{Failure, Operation, Service},
    message::Content,
    texts,
    wire::{Asked, Call, Members, OnTheWire, Refusal, Unfit, answer, is_e164, random_id},
};

pub(crate) fn routes() -> Router<Arc<Desk>> {
    let send = |State(desk): State<Arc<Desk>>,
                Path(application_id): Path<String>,
                request: Request| async move {
        answer(
            &desk,
            OtpCall {
                operation: Operation::Send,
                application_id,
            },
            request,
        )
        .await
    };
    let verify = |State(desk): State<Arc<Desk>>,
                  Path(application_id): Path<String>,
                  request: Request| async move {
        answer(
            &desk,
            OtpCall {
                operation: Operation::Verify,
                application_id,
            },
            request,
        )
        .await
    };
    // Any method: the service answers a wrong one itself, with an exception of its model.
    Router::new()
        .route("/v1/apps/{application_id}/otp", any(send))
        .route("/v1/apps/{application_id}/verify-otp", any(verify))
}

struct OtpCall {
    operation: Operation,
    application_id: String,
}

impl Call for OtpCall {
    const SERVICE: Service = Service::Pinpoint;
    const SIGNING_NAME: &'static str = "mobiletargeting";
    const CONTENT_TYPE: &'static str = "application/json";

    fn operation(&self) -> Operation {
        self.operation
    }

    fn application_id(&self) -> &str {
        &self.application_id
    }

    fn admit(&self, desk: &Desk, method: &Method) -> Result<(), Refusal> {
        if method != Method::POST {
            return Err(method_not_allowed());
        }
        if !desk.knows(&self.application_id) {
            return Err(not_found());
        }
        Ok(())
    }

    fn destination<'a>(&self, body: &'a Value) -> Option<&'a str> {
        body.get("DestinationIdentity")?.as_str()
    }

    fn carry_out(&self, desk: &Desk, asked: &Asked<'_>) -> Result<Value, Refusal> {
        let wrapper;
        let answer = if self.operation == Operation::Send {
            wrapper = "MessageResponse";
            self.send(desk, asked)
        } else {
            wrapper = "VerificationResponse";
            self.verify(desk, asked)
        };
        let answer = answer.map_err(|unfit| bad_request(unfit.message))?;
        Ok(if asked.failure == Some(&Failure::Wrapped) {
            json!({ wrapper: answer })
        } else {
            answer
        })
    }

    fn refusal(failure: &Failure) -> Option<Refusal> {
        Some(match failure {
            Failure::BadRequest => bad_request("The request is not valid."),
            Failure::Forbidden => Refusal::modelled(
                StatusCode::FORBIDDEN,
                "ForbiddenException",
                "Access to the resource is forbidden.",
            ),
            Failure::NotFound => not_found(),
            Failure::MethodNotAllowed => method_not_allowed(),
            Failure::PayloadTooLarge => Self::too_large(),
            Failure::TooManyRequests => Refusal::modelled(
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequestsException",
                "Too many requests.",
            ),
            Failure::InternalServerError => Refusal::modelled(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerErrorException",
                "Internal server error.",
            ),
            // Not of the service model: it has `ForbiddenException`.
            Failure::AccessDenied => Refusal::gateway(
                StatusCode::FORBIDDEN,
                "AccessDeniedException",
                Refusal::NOT_AUTHORIZED,
            ),
            _ => return Refusal::of_the_gateway(failure),
        })
    }

    fn too_large() -> Refusal {
        Refusal::modelled(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PayloadTooLargeException",
            "The payload is too large.",
        )
    }

    fn refused(refusal: Refusal, request_id: &str) -> OnTheWire {
        let body = if refusal.by_gateway {
            json!({ "message": refusal.message })
        } else {
            json!({"Message": refusal.message, "RequestID": request_id})
        };
        (refusal.status, Some(refusal.error_type), body.to_string())
    }
}

impl OtpCall {
    fn send(&self, desk: &Desk, asked: &Asked<'_>) -> Result<Value, Unfit> {
        let request = self.parse(asked.body)?;
        let to = request.key.to.clone();
        let message_id = random_id();
        let outcome = Outcome::of(asked.failure, &to, &message_id);
        if outcome.text_leaves {
            desk.send(request, message_id.clone());
        }
        let mut result = json!({
            "DeliveryStatus": outcome.delivery_status,
            "MessageId": message_id,
            "StatusCode": outcome.status_code,
            "StatusMessage": outcome.status_message,
        });
        let mut addressed_to = to;
        match asked.failure {
            Some(Failure::ResultOfAnotherNumber) => addressed_to = another_number(&addressed_to),
            Some(Failure::MissingDeliveryStatus) => {
                if let Some(result) = result.as_object_mut() {
                    result.remove("DeliveryStatus");
                }
            }
            _ => {}
        }
        let results = match asked.failure {
            Some(Failure::MissingResult) => json!({}),
            _ => json!({ addressed_to: result }),
        };
        Ok(
            json!({"ApplicationId": self.application_id, "RequestId": asked.request_id, "Result": results}),
        )
    }

    fn verify(&self, desk: &Desk, asked: &Asked<'_>) -> Result<Value, Unfit> {
        let members = Members::of(asked.body)?;
        let key = CodeKey {
            service: Service::Pinpoint,
            application_id: self.application_id.clone(),
            to: members.required("DestinationIdentity")?.to_owned(),
            reference_id: members.required("ReferenceId")?.to_owned(),
        };
        let mut guess = members.required("Otp")?;
        if asked.every_guess_is_wrong {
            // No code is empty.
            guess = "";
        }
        Ok(json!({"Valid": desk.verify(&key, guess)}))
    }

    /// AWS documents no defaults for the optional members. Those here are ours: `en-US`, and for the numbers the values
    /// of AWS's own example.
    fn parse(&self, body: &Value) -> Result<SendRequest, Unfit> {
        let members = Members::of(body)?;
        let brand = members.required("BrandName")?;
        if !(1..=20).contains(&brand.chars().count()) {
            return Err(members.unfit("BrandName", "must have 1 to 20 characters."));
        }
        let reference_id = members.required("ReferenceId")?;
        if !(1..=48).contains(&reference_id.chars().count()) {
            return Err(members.unfit("ReferenceId", "must have 1 to 48 characters."));
        }
        if members.required("Channel")? != "SMS" {
            return Err(members.unfit("Channel", "must be SMS."));
        }
        let to = members.required("DestinationIdentity")?;
        if !is_e164(to) {
            return Err(members.unfit(
                "DestinationIdentity",
                "must be a phone number in E.164 format.",
            ));
        }
        let from = members.required("OriginationIdentity")?;
        if from.is_empty() {
            return Err(members.unfit("OriginationIdentity", "must not be empty."));
        }
        let language = members.optional("Language")?.unwrap_or("en-US");
        if !texts::languages().any(|known| known == language) {
            return Err(members.unfit("Language", "is not supported."));
        }
        // Needed for India and passed on to the operators there: only their type can be wrong here.
        members.optional("EntityId")?;
        members.optional("TemplateId")?;
        let length = members.within("CodeLength", 5..=8, 6)?;
        let minutes = members.within("ValidityPeriod", 5..=60, 15)?;
        let attempts = members.within("AllowedAttempts", 1..=5, 3)?;
        Ok(SendRequest {
            key: CodeKey {
                service: Service::Pinpoint,
                application_id: self.application_id.clone(),
                to: to.to_owned(),
                reference_id: reference_id.to_owned(),
            },
            from: from.to_owned(),
            rules: Rules {
                characters: DIGITS,
                length: length.into(),
                validity: Duration::from_mins(minutes.into()),
                attempts: attempts.into(),
            },
            content: Content::Branded {
                brand: brand.to_owned(),
                language: language.to_owned(),
            },
        })
    }
}

fn another_number(number: &str) -> String {
    let other = if number.ends_with('0') { "1" } else { "0" };
    format!(
        "{}{other}",
        number.get(..number.len() - 1).unwrap_or_default()
    )
}

/// What becomes of a text.
struct Outcome {
    text_leaves: bool,
    delivery_status: &'static str,
    status_code: u16,
    status_message: String,
}

impl Outcome {
    fn of(failure: Option<&Failure>, to: &str, message_id: &str) -> Self {
        let failed = |delivery_status, status_code, status_message: &str| Self {
            text_leaves: false,
            delivery_status,
            status_code,
            status_message: status_message.to_owned(),
        };
        match failure {
            Some(Failure::Duplicate) => failed("DUPLICATE", 400, "Duplicate endpoint address"),
            Some(Failure::OptOut) => failed("OPT_OUT", 400, "The recipient has opted out"),
            Some(Failure::PermanentFailure) => failed(
                "PERMANENT_FAILURE",
                400,
                "Invalid phone number or unreachable carrier",
            ),
            // With the number in it, as a status message may be: callers must not log it.
            Some(Failure::PermanentFailureOptedOut) => failed(
                "PERMANENT_FAILURE",
                400,
                &format!("Phone number {to} is opted out"),
            ),
            Some(Failure::Throttled) => failed("THROTTLED", 429, "Rate exceeded"),
            Some(Failure::TemporaryFailure) => failed("TEMPORARY_FAILURE", 500, "Carrier is busy"),
            Some(Failure::UnknownFailure) => failed("UNKNOWN_FAILURE", 500, "Unknown error"),
            Some(Failure::UnheardOfStatus) => failed("LOST_IN_SPACE", 299, "No such status"),
            _ => Self {
                text_leaves: true,
                delivery_status: "SUCCESSFUL",
                status_code: 200,
                status_message: format!("MessageId: {message_id}"),
            },
        }
    }
}

fn bad_request(message: impl Into<String>) -> Refusal {
    Refusal::modelled(StatusCode::BAD_REQUEST, "BadRequestException", message)
}

fn not_found() -> Refusal {
    Refusal::modelled(
        StatusCode::NOT_FOUND,
        "NotFoundException",
        "Resource not found",
    )
}

fn method_not_allowed() -> Refusal {
    Refusal::modelled(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowedException",
        "The method is not allowed for the resource.",
    )
}
