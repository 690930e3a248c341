//! Every failure: the response to the client and the effect on the service.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use simulator::{Failure, Operation, Service, Simulator};

use crate::client::{
    Answer, CALLS, NUMBER, call, get, send, send_body, started, try_send, try_verify,
};

#[tokio::test]
async fn failed_deliveries_are_200_with_their_status_and_send_nothing() {
    for (failure, status) in [
        (Failure::Duplicate, "DUPLICATE"),
        (Failure::OptOut, "OPT_OUT"),
        (Failure::PermanentFailure, "PERMANENT_FAILURE"),
        (Failure::PermanentFailureOptedOut, "PERMANENT_FAILURE"),
        (Failure::Throttled, "THROTTLED"),
        (Failure::TemporaryFailure, "TEMPORARY_FAILURE"),
        (Failure::UnknownFailure, "UNKNOWN_FAILURE"),
        (Failure::UnheardOfStatus, "LOST_IN_SPACE"),
    ] {
        let simulator = started().await;
        simulator.fail_next(Operation::Send, failure.clone());
        let answer = try_send(&simulator).unwrap();
        let result = &answer.json()["Result"][NUMBER];
        assert_eq!(
            (answer.status, result["DeliveryStatus"].as_str()),
            (200, Some(status))
        );
        assert!(result["StatusCode"].is_u64() && result["MessageId"].is_string());
        assert!(simulator.inbox().is_empty() && simulator.codes().is_empty());
        if failure == Failure::PermanentFailureOptedOut {
            assert_eq!(
                result["StatusMessage"],
                format!("Phone number {NUMBER} is opted out")
            );
        }
        send(&simulator);
    }
}

#[tokio::test]
async fn responses_without_a_result_still_send_the_message() {
    let simulator = started().await;
    simulator.fail_next(Operation::Send, Failure::MissingResult);
    assert_eq!(try_send(&simulator).unwrap().json()["Result"], json!({}));

    simulator.fail_next(Operation::Send, Failure::ResultOfAnotherNumber);
    let result = try_send(&simulator).unwrap().json()["Result"].clone();
    assert_eq!(
        result.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["+14255550140"]
    );
    assert_eq!(result["+14255550140"]["DeliveryStatus"], "SUCCESSFUL");

    simulator.fail_next(Operation::Send, Failure::MissingDeliveryStatus);
    let result = try_send(&simulator).unwrap().json()["Result"][NUMBER].clone();
    assert_eq!(
        (result.get("DeliveryStatus"), &result["StatusCode"]),
        (None, &json!(200))
    );

    assert_eq!(simulator.inbox().len(), 3);
}

#[tokio::test]
async fn exceptions_have_their_status_and_name_and_no_effect() {
    for (failure, status, error) in [
        (Failure::BadRequest, 400, "BadRequestException"),
        (Failure::Forbidden, 403, "ForbiddenException"),
        (Failure::NotFound, 404, "NotFoundException"),
        (Failure::MethodNotAllowed, 405, "MethodNotAllowedException"),
        (Failure::PayloadTooLarge, 413, "PayloadTooLargeException"),
        (Failure::TooManyRequests, 429, "TooManyRequestsException"),
        (
            Failure::InternalServerError,
            500,
            "InternalServerErrorException",
        ),
        (
            Failure::ServiceUnavailable,
            503,
            "ServiceUnavailableException",
        ),
        (Failure::AccessDenied, 403, "AccessDeniedException"),
        (
            Failure::UnrecognizedClient,
            403,
            "UnrecognizedClientException",
        ),
    ] {
        let simulator = started().await;
        simulator.fail_next(Operation::Send, failure.clone());
        let answer = try_send(&simulator).unwrap();
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (status, Some(error))
        );
        assert!(simulator.inbox().is_empty());

        send(&simulator);
        simulator.fail_next(Operation::Verify, failure);
        let answer = try_verify(&simulator, "wrong").unwrap();
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (status, Some(error))
        );
        assert_eq!(simulator.codes()[0].attempts_left, 3);
    }
}

#[tokio::test]
async fn damaged_responses_come_after_the_effect() {
    type Check = fn(&[u8]) -> bool;
    let cases: [(Failure, u16, Check); 6] = [
        (Failure::NotJson, 200, |body| {
            serde_json::from_slice::<Value>(body).is_err()
        }),
        (Failure::EmptyBody, 200, <[u8]>::is_empty),
        (Failure::JsonArray, 200, |body| body == b"[]"),
        (Failure::EmptyObject, 200, |body| body == b"{}"),
        (Failure::InternalServerErrorAfterwards, 500, |body| {
            body.starts_with(b"{\"Message\":")
        }),
        (Failure::Slow(Duration::from_millis(300)), 200, |body| {
            body.starts_with(b"{\"")
        }),
    ];
    for (failure, status, as_expected) in cases {
        let simulator = started().await;
        simulator.fail_next(Operation::Send, failure.clone());
        let asked = Instant::now();
        let answer = try_send(&simulator).unwrap();
        assert!(
            answer.status == status && as_expected(&answer.body),
            "{failure:?}: {answer:?}"
        );
        assert_eq!(
            asked.elapsed() >= Duration::from_millis(300),
            matches!(failure, Failure::Slow(_))
        );
        assert_eq!(simulator.inbox().len(), 1);

        simulator.fail_next(Operation::Verify, failure.clone());
        let answer = try_verify(&simulator, "wrong").unwrap();
        assert!(
            answer.status == status && as_expected(&answer.body),
            "{failure:?}: {answer:?}"
        );
        assert_eq!(simulator.codes()[0].attempts_left, 2);
    }
}

#[tokio::test]
async fn a_wrapped_response_looks_like_boto3s() {
    let simulator = started().await;
    simulator.fail_next(Operation::Send, Failure::Wrapped);
    let sent = try_send(&simulator).unwrap().json();
    assert_eq!(
        sent["MessageResponse"]["Result"][NUMBER]["DeliveryStatus"],
        "SUCCESSFUL"
    );

    simulator.fail_next(Operation::Verify, Failure::Wrapped);
    let code = simulator.newest_to(NUMBER).unwrap().code;
    let verified = try_verify(&simulator, &code).unwrap().json();
    assert_eq!(verified, json!({"VerificationResponse": {"Valid": true}}));
}

#[tokio::test]
async fn lost_responses_come_after_the_effect_and_count_as_one_request() {
    for (failure, error) in [
        (Failure::CloseAfterReading, ErrorKind::UnexpectedEof),
        (Failure::Truncated, ErrorKind::UnexpectedEof),
        (Failure::Hang, ErrorKind::WouldBlock),
    ] {
        let simulator = started().await;
        simulator.fail_next(Operation::Send, failure.clone());
        assert_eq!(
            try_send(&simulator).unwrap_err().kind(),
            error,
            "{failure:?}"
        );
        assert_eq!(simulator.inbox().len(), 1);
        assert_eq!(simulator.requests(Operation::Send).len(), 1);

        simulator.fail_next(Operation::Verify, failure.clone());
        assert_eq!(
            try_verify(&simulator, "wrong").unwrap_err().kind(),
            error,
            "{failure:?}"
        );
        assert_eq!(simulator.codes()[0].attempts_left, 2);
        assert_eq!(simulator.requests(Operation::Verify).len(), 1);
    }
}

#[tokio::test]
async fn a_connection_closed_before_reading_has_no_effect_but_is_counted() {
    let simulator = started().await;
    simulator.fail_next(Operation::Send, Failure::CloseBeforeReading);
    let error = try_send(&simulator).unwrap_err().kind();
    assert!(
        matches!(
            error,
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{error}"
    );
    assert!(simulator.inbox().is_empty());
    let requests = simulator.requests(Operation::Send);
    assert_eq!((requests.len(), &requests[0].body), (1, &Value::Null));
}

#[tokio::test]
async fn failures_happen_in_order_as_often_as_queued_and_per_operation() {
    let simulator = started().await;
    simulator.fail(Operation::Send, Failure::TooManyRequests, 2);
    simulator.fail_next(Operation::Send, Failure::Successful);
    simulator.fail_always(Operation::Send, Failure::NotFound);
    simulator.fail(Operation::Verify, Failure::Forbidden, 0);
    let status = || try_send(&simulator).unwrap().status;
    assert_eq!(
        [status(), status(), status(), status(), status()],
        [429, 429, 200, 404, 404]
    );
    assert_eq!(try_verify(&simulator, "x").unwrap().status, 200);

    simulator.clear_failures();
    assert_eq!(status(), 200);
}

#[tokio::test]
#[should_panic(expected = "cannot fail like this")]
async fn a_failure_of_a_send_cannot_be_queued_for_a_verify() {
    started()
        .await
        .fail_next(Operation::Verify, Failure::OptOut);
}

/// A simulator in which both services have sent a code to the same number, with 3 attempts left at each.
async fn with_codes() -> Simulator {
    let simulator = started().await;
    for service in [Service::Pinpoint, Service::EndUserMessaging] {
        assert_eq!(
            plain(&simulator, service, Operation::Send).unwrap().status,
            200
        );
    }
    simulator
}

/// A valid request. A verify has a wrong code.
fn plain(simulator: &Simulator, service: Service, operation: Operation) -> std::io::Result<Answer> {
    let body = match (service, operation) {
        (Service::Pinpoint, Operation::Send) => send_body(json!({})),
        (Service::Pinpoint, _) => {
            json!({"DestinationIdentity": NUMBER, "ReferenceId": "signup", "Otp": "wrong1"})
        }
        (Service::EndUserMessaging, Operation::Send) => json!({
            "channel": "TEXT", "destinationIdentity": NUMBER, "originationIdentity": "+12065550100",
            "referenceId": "signup", "overrideChannelParameters": {"text": {"inlineTemplateBody": "{{code}}"}},
        }),
        (Service::EndUserMessaging, _) => {
            json!({"destinationIdentity": NUMBER, "referenceId": "signup", "code": "wrong1"})
        }
        (Service::PinpointSmsVoiceV2, _) => {
            let sent = simulator
                .inbox()
                .into_iter()
                .find(|message| message.service == Service::EndUserMessaging);
            json!({"MessageId": sent.unwrap().message_id, "MessageFeedbackStatus": "RECEIVED"})
        }
    };
    call(
        Duration::from_millis(700),
        simulator,
        service,
        operation,
        &body,
    )
}

/// Whether the request had its effect: another message, a spent attempt, or recorded feedback.
fn happened(simulator: &Simulator, service: Service, operation: Operation) -> bool {
    match operation {
        Operation::Send => simulator.inbox().len() == 3,
        Operation::Verify => {
            let left = simulator
                .codes()
                .into_iter()
                .find(|code| code.key.service == service)
                .unwrap()
                .attempts_left;
            left == 2
        }
        Operation::Feedback => simulator
            .inbox()
            .iter()
            .any(|message| message.feedback.is_some()),
    }
}

/// Whether the failure only delays, loses or damages the response.
fn is_of_the_answer(failure: &Failure, service: Service) -> bool {
    match failure {
        Failure::Successful
        | Failure::MissingResult
        | Failure::ResultOfAnotherNumber
        | Failure::MissingDeliveryStatus
        | Failure::InternalServerErrorAfterwards
        | Failure::Slow(_)
        | Failure::Hang
        | Failure::CloseAfterReading
        | Failure::Truncated
        | Failure::NotJson
        | Failure::EmptyBody
        | Failure::JsonArray
        | Failure::EmptyObject
        | Failure::Wrapped => true,
        Failure::UnheardOfStatus => service == Service::EndUserMessaging,
        _ => false,
    }
}

#[tokio::test]
async fn every_failure_does_on_the_wire_what_its_description_says() {
    let mut seen = [0, 0, 0, 0, 0];
    for (place, (service, operation)) in CALLS.into_iter().enumerate() {
        for failure in Failure::all()
            .into_iter()
            .filter(|failure| failure.applies_to(service, operation))
        {
            let failure = match failure {
                Failure::Slow(_) => Failure::Slow(Duration::from_millis(100)),
                other => other,
            };
            let case = format!("{service:?}, {operation:?}, {failure:?}");
            let simulator = with_codes().await;
            simulator.fail_next(operation, failure.clone());
            let answer = plain(&simulator, service, operation);
            assert_eq!(
                happened(&simulator, service, operation),
                is_of_the_answer(&failure, service),
                "{case}"
            );

            let says = failure.sees(service);
            match answer {
                Ok(answer) => {
                    assert!(answer.header("x-amzn-requestid").is_some(), "{case}");
                    let status = says.split([' ', ',']).next().unwrap();
                    assert!(
                        status == "the" || status == answer.status.to_string(),
                        "{case}: {answer:?}"
                    );
                    if let Some(name) = says
                        .split(' ')
                        .find(|word| word.trim_end_matches(',').ends_with("Exception"))
                    {
                        assert_eq!(
                            exception(&answer, service),
                            name.trim_end_matches(','),
                            "{case}"
                        );
                    }
                }
                Err(error) => {
                    let silence = matches!(failure, Failure::Hang);
                    assert_eq!(
                        error.kind() == ErrorKind::WouldBlock,
                        silence,
                        "{case}: {error}"
                    );
                    let words = [
                        "no response, ever",
                        "connection closed",
                        "half of the response",
                    ];
                    assert!(
                        words.iter().any(|start| says.starts_with(start)),
                        "{case}: {error}"
                    );
                }
            }
            seen[place] += 1;

            // The failure was for one request only.
            let next = with_codes().await;
            assert_eq!(
                plain(&next, service, operation).unwrap().status,
                200,
                "{case}"
            );
            assert!(
                get(&simulator, "/simulator/failures").json()["queued"]
                    .as_object()
                    .unwrap()
                    .values()
                    .all(|queue| queue == &json!([]))
            );
        }
    }
    assert_eq!(seen, [33, 21, 23, 19, 18]);
}

/// The name of an exception, from its place in the service's protocol. Also checks the fields of the body.
fn exception(answer: &Answer, service: Service) -> String {
    let body = answer.json();
    if service == Service::PinpointSmsVoiceV2 {
        assert_eq!(answer.header("x-amzn-errortype"), None);
        assert!(
            body["Message"].is_string() || body["message"].is_string(),
            "{body}"
        );
        return body["__type"].as_str().unwrap().to_owned();
    }
    if service == Service::EndUserMessaging {
        assert!(
            body["message"].is_string() && body.get("RequestID").is_none(),
            "{body}"
        );
    }
    answer.header("x-amzn-errortype").unwrap().to_owned()
}

#[tokio::test]
async fn a_failure_waits_for_a_service_that_has_it() {
    let simulator = with_codes().await;
    simulator.fail_next(Operation::Send, Failure::Throttled);
    simulator.fail_next(Operation::Send, Failure::ServiceQuotaExceeded);
    simulator.fail_next(Operation::Send, Failure::NotFound);
    let send = |service| plain(&simulator, service, Operation::Send).unwrap();
    assert_eq!(
        exception(&send(Service::EndUserMessaging), Service::EndUserMessaging),
        "ServiceQuotaExceededException"
    );
    assert_eq!(
        exception(&send(Service::EndUserMessaging), Service::EndUserMessaging),
        "ResourceNotFoundException"
    );
    assert_eq!(send(Service::EndUserMessaging).status, 200);
    assert_eq!(
        send(Service::Pinpoint).json()["Result"][NUMBER]["DeliveryStatus"],
        "THROTTLED"
    );
    assert_eq!(
        send(Service::Pinpoint).json()["Result"][NUMBER]["DeliveryStatus"],
        "SUCCESSFUL"
    );
}

#[tokio::test]
async fn end_user_messaging_gives_the_reason_only_in_the_message() {
    for (failure, says, status) in [
        (Failure::OptOut, "opted out", 409),
        (Failure::PermanentFailure, "is a landline", 400),
    ] {
        let simulator = with_codes().await;
        simulator.fail_next(Operation::Send, failure);
        let answer = plain(&simulator, Service::EndUserMessaging, Operation::Send).unwrap();
        let body = answer.json();
        let message = body["message"].as_str().unwrap();
        assert!(
            message.contains(says) && message.contains(NUMBER),
            "{message}"
        );
        assert_eq!(
            (answer.status, body.as_object().unwrap().len()),
            (status, 1),
            "{body}"
        );
    }
}

#[tokio::test]
async fn an_unknown_status_of_a_verify_is_neither_valid_nor_invalid() {
    let simulator = with_codes().await;
    simulator.fail_next(Operation::Verify, Failure::UnheardOfStatus);
    let answer = plain(&simulator, Service::EndUserMessaging, Operation::Verify).unwrap();
    assert_eq!(answer.json(), json!({"status": "LOST_IN_SPACE"}));
}

#[test]
fn failure_names_are_unique_kebab_case_and_can_be_parsed() {
    let mut names = BTreeSet::new();
    for failure in Failure::all() {
        let json = serde_json::to_value(&failure).unwrap();
        assert_eq!(
            serde_json::from_value::<Failure>(json.clone()).unwrap(),
            failure
        );
        let name = json.as_str().map_or_else(
            || json.as_object().unwrap().keys().next().unwrap().clone(),
            str::to_owned,
        );
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{name}"
        );
        assert!(failure.exists_for(Operation::Send), "{failure:?}");
        names.insert(name);
    }
    assert_eq!(names.len(), Failure::all().len());
}
