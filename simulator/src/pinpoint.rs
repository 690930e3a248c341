//! The protocol of Amazon Pinpoint's OTP API.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{Method, StatusCode},
    routing::any,
};
use serde_json::{Value, json};

use crate::{
    codes::{CodeKey, DIGITS, Rules, Verdict},
    desk::{Desk, SendRequest},
    facts::NotAccepted,
    failure::{Failure, Operation, Service},
    message::Content,
    texts,
    wire::{
        Call, CallInput, Fields, InvalidField, Refusal, WireResponse, answer, is_e164, random_id,
    },
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
    // The routes take any method. The service itself refuses a wrong method, with an exception of
    // its own.
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

    fn carry_out(&self, desk: &Desk, input: &CallInput<'_>) -> Result<Value, Refusal> {
        let wrapper;
        let answer = if self.operation == Operation::Send {
            wrapper = "MessageResponse";
            self.send(desk, input)
        } else {
            wrapper = "VerificationResponse";
            self.verify(desk, input)
        }?;
        Ok(if input.failure == Some(&Failure::Wrapped) {
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
            // This exception is not in the service model, which has `ForbiddenException`.
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

    fn refused(refusal: Refusal, request_id: &str) -> WireResponse {
        let body = if refusal.by_gateway {
            json!({ "message": refusal.message })
        } else {
            json!({"Message": refusal.message, "RequestID": request_id})
        };
        (refusal.status, Some(refusal.error_type), body.to_string())
    }
}

impl OtpCall {
    fn send(&self, desk: &Desk, input: &CallInput<'_>) -> Result<Value, Refusal> {
        let request = self.parse(input.body).map_err(invalid)?;
        let to = request.key.to.clone();
        let message_id = random_id();
        let failure = input.failure.or_else(|| {
            desk.refuses_a_send(&request.key)
                .then_some(&Failure::Duplicate)
        });
        let outcome = Delivery::of(failure, &to, &message_id);
        if outcome.is_sent {
            desk.send(request, message_id.clone());
        }
        let mut result = json!({
            "DeliveryStatus": outcome.status,
            "MessageId": message_id,
            "StatusCode": outcome.status_code,
            "StatusMessage": outcome.status_message,
        });
        let mut addressed_to = to;
        match input.failure {
            Some(Failure::ResultOfAnotherNumber) => addressed_to = another_number(&addressed_to),
            Some(Failure::MissingDeliveryStatus) => {
                if let Some(result) = result.as_object_mut() {
                    result.remove("DeliveryStatus");
                }
            }
            _ => {}
        }
        let results = match input.failure {
            Some(Failure::MissingResult) => json!({}),
            _ => json!({ addressed_to: result }),
        };
        Ok(
            json!({"ApplicationId": self.application_id, "RequestId": input.request_id, "Result": results}),
        )
    }

    fn verify(&self, desk: &Desk, input: &CallInput<'_>) -> Result<Value, Refusal> {
        let (key, mut guess) = self.parse_guess(input.body).map_err(invalid)?;
        if input.every_guess_is_wrong {
            // An empty guess never equals a code.
            guess = "";
        }
        let is_right = match desk.verify(&key, guess) {
            Verdict::Right => true,
            Verdict::Not(NotAccepted::Wrong) => false,
            Verdict::Not(NotAccepted::NotFound) => return Err(not_found()),
            Verdict::Not(NotAccepted::BadRequest) => {
                return Err(bad_request("The request is not valid."));
            }
        };
        Ok(json!({ "Valid": is_right }))
    }

    fn parse_guess<'a>(&self, body: &'a Value) -> Result<(CodeKey, &'a str), InvalidField> {
        let fields = Fields::of(body)?;
        let key = CodeKey {
            service: Service::Pinpoint,
            application_id: self.application_id.clone(),
            to: fields.required("DestinationIdentity")?.to_owned(),
            reference_id: fields.required("ReferenceId")?.to_owned(),
        };
        Ok((key, fields.required("Otp")?))
    }

    /// Reads the fields of a send. AWS documents no defaults for the optional fields. In the
    /// simulator, the default language is `en-US`, and the defaults of length, validity and
    /// attempts are the values of AWS's example.
    fn parse(&self, body: &Value) -> Result<SendRequest, InvalidField> {
        let fields = Fields::of(body)?;
        let brand = fields.required("BrandName")?;
        if !(1..=20).contains(&brand.chars().count()) {
            return Err(fields.invalid("BrandName", "must have 1 to 20 characters."));
        }
        let reference_id = fields.required("ReferenceId")?;
        if !(1..=48).contains(&reference_id.chars().count()) {
            return Err(fields.invalid("ReferenceId", "must have 1 to 48 characters."));
        }
        if fields.required("Channel")? != "SMS" {
            return Err(fields.invalid("Channel", "must be SMS."));
        }
        let to = fields.required("DestinationIdentity")?;
        if !is_e164(to) {
            return Err(fields.invalid(
                "DestinationIdentity",
                "must be a phone number in E.164 format.",
            ));
        }
        let from = fields.required("OriginationIdentity")?;
        if from.is_empty() {
            return Err(fields.invalid("OriginationIdentity", "must not be empty."));
        }
        let language = fields.optional("Language")?.unwrap_or("en-US");
        if !texts::languages().any(|known| known == language) {
            return Err(fields.invalid("Language", "is not supported."));
        }
        // This field is for India and is passed on to its operators, so only the type is checked.
        fields.optional("EntityId")?;
        fields.optional("TemplateId")?;
        let length = fields.within("CodeLength", 5..=8, 6)?;
        let minutes = fields.within("ValidityPeriod", 5..=60, 15)?;
        let attempts = fields.within("AllowedAttempts", 1..=5, 3)?;
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

/// The delivery of a message.
struct Delivery {
    is_sent: bool,
    status: &'static str,
    status_code: u16,
    status_message: String,
}

impl Delivery {
    fn of(failure: Option<&Failure>, to: &str, message_id: &str) -> Self {
        let failed = |status, status_code, status_message: &str| Self {
            is_sent: false,
            status,
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
            // The text contains the number, as a real status message may. If the function logged
            // the text, the log would contain the number.
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
                is_sent: true,
                status: "SUCCESSFUL",
                status_code: 200,
                status_message: format!("MessageId: {message_id}"),
            },
        }
    }
}

fn invalid(invalid_field: InvalidField) -> Refusal {
    bad_request(invalid_field.message)
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
