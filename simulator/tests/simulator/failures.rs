//! Every failure, as the client sees it and as the service remembers it.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use simulator::{Failure, Operation};

use crate::client::{NUMBER, send, started, try_send, try_verify};

#[tokio::test]
async fn failed_deliveries_answer_200_with_their_status_and_send_nothing() {
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
        assert_eq!((answer.status, result["DeliveryStatus"].as_str()), (200, Some(status)));
        assert!(result["StatusCode"].is_u64() && result["MessageId"].is_string());
        assert!(simulator.inbox().is_empty() && simulator.codes().is_empty());
        if failure == Failure::PermanentFailureOptedOut {
            assert_eq!(result["StatusMessage"], format!("Phone number {NUMBER} is opted out"));
        }
        send(&simulator);
    }
}

#[tokio::test]
async fn answers_that_name_no_result_leave_the_text_on_the_phone() {
    let simulator = started().await;
    simulator.fail_next(Operation::Send, Failure::MissingResult);
    assert_eq!(try_send(&simulator).unwrap().json()["Result"], json!({}));

    simulator.fail_next(Operation::Send, Failure::ResultOfAnotherNumber);
    let result = try_send(&simulator).unwrap().json()["Result"].clone();
    assert_eq!(result.as_object().unwrap().keys().collect::<Vec<_>>(), ["+14255550140"]);
    assert_eq!(result["+14255550140"]["DeliveryStatus"], "SUCCESSFUL");

    simulator.fail_next(Operation::Send, Failure::MissingDeliveryStatus);
    let result = try_send(&simulator).unwrap().json()["Result"][NUMBER].clone();
    assert_eq!((result.get("DeliveryStatus"), &result["StatusCode"]), (None, &json!(200)));

    assert_eq!(simulator.inbox().len(), 3);
}

#[tokio::test]
async fn exceptions_have_their_status_and_name_and_nothing_happens() {
    for (failure, status, error) in [
        (Failure::BadRequest, 400, "BadRequestException"),
        (Failure::Forbidden, 403, "ForbiddenException"),
        (Failure::NotFound, 404, "NotFoundException"),
        (Failure::MethodNotAllowed, 405, "MethodNotAllowedException"),
        (Failure::PayloadTooLarge, 413, "PayloadTooLargeException"),
        (Failure::TooManyRequests, 429, "TooManyRequestsException"),
        (Failure::InternalServerError, 500, "InternalServerErrorException"),
        (Failure::ServiceUnavailable, 503, "ServiceUnavailableException"),
        (Failure::AccessDenied, 403, "AccessDeniedException"),
        (Failure::UnrecognizedClient, 403, "UnrecognizedClientException"),
    ] {
        let simulator = started().await;
        simulator.fail_next(Operation::Send, failure.clone());
        let answer = try_send(&simulator).unwrap();
        assert_eq!((answer.status, answer.header("x-amzn-errortype")), (status, Some(error)));
        assert!(simulator.inbox().is_empty());

        send(&simulator);
        simulator.fail_next(Operation::Verify, failure);
        let answer = try_verify(&simulator, "wrong").unwrap();
        assert_eq!((answer.status, answer.header("x-amzn-errortype")), (status, Some(error)));
        assert_eq!(simulator.codes()[0].attempts_left, 3);
    }
}

#[tokio::test]
async fn spoilt_answers_come_after_the_deed() {
    type Check = fn(&[u8]) -> bool;
    let cases: [(Failure, u16, Check); 6] = [
        (Failure::NotJson, 200, |body| serde_json::from_slice::<Value>(body).is_err()),
        (Failure::EmptyBody, 200, <[u8]>::is_empty),
        (Failure::JsonArray, 200, |body| body == b"[]"),
        (Failure::EmptyObject, 200, |body| body == b"{}"),
        (Failure::InternalServerErrorAfterwards, 500, |body| body.starts_with(b"{\"Message\":")),
        (Failure::Slow(Duration::from_millis(300)), 200, |body| body.starts_with(b"{\"")),
    ];
    for (failure, status, as_expected) in cases {
        let simulator = started().await;
        simulator.fail_next(Operation::Send, failure.clone());
        let asked = Instant::now();
        let answer = try_send(&simulator).unwrap();
        assert!(answer.status == status && as_expected(&answer.body), "{failure:?}: {answer:?}");
        assert_eq!(asked.elapsed() >= Duration::from_millis(300), matches!(failure, Failure::Slow(_)));
        assert_eq!(simulator.inbox().len(), 1);

        simulator.fail_next(Operation::Verify, failure.clone());
        let answer = try_verify(&simulator, "wrong").unwrap();
        assert!(answer.status == status && as_expected(&answer.body), "{failure:?}: {answer:?}");
        assert_eq!(simulator.codes()[0].attempts_left, 2);
    }
}

#[tokio::test]
async fn a_wrapped_answer_looks_as_in_boto3() {
    let simulator = started().await;
    simulator.fail_next(Operation::Send, Failure::Wrapped);
    let sent = try_send(&simulator).unwrap().json();
    assert_eq!(sent["MessageResponse"]["Result"][NUMBER]["DeliveryStatus"], "SUCCESSFUL");

    simulator.fail_next(Operation::Verify, Failure::Wrapped);
    let code = simulator.newest_to(NUMBER).unwrap().code;
    let verified = try_verify(&simulator, &code).unwrap().json();
    assert_eq!(verified, json!({"VerificationResponse": {"Valid": true}}));
}

#[tokio::test]
async fn lost_answers_come_after_the_deed_and_each_is_one_request() {
    for (failure, error) in [
        (Failure::CloseAfterReading, ErrorKind::UnexpectedEof),
        (Failure::Truncated, ErrorKind::UnexpectedEof),
        (Failure::Hang, ErrorKind::WouldBlock),
    ] {
        let simulator = started().await;
        simulator.fail_next(Operation::Send, failure.clone());
        assert_eq!(try_send(&simulator).unwrap_err().kind(), error, "{failure:?}");
        assert_eq!(simulator.inbox().len(), 1);
        assert_eq!(simulator.requests(Operation::Send).len(), 1);

        simulator.fail_next(Operation::Verify, failure.clone());
        assert_eq!(try_verify(&simulator, "wrong").unwrap_err().kind(), error, "{failure:?}");
        assert_eq!(simulator.codes()[0].attempts_left, 2);
        assert_eq!(simulator.requests(Operation::Verify).len(), 1);
    }
}

#[tokio::test]
async fn a_connection_closed_before_reading_leaves_nothing_but_the_count() {
    let simulator = started().await;
    simulator.fail_next(Operation::Send, Failure::CloseBeforeReading);
    let error = try_send(&simulator).unwrap_err().kind();
    assert!(matches!(error, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    assert!(simulator.inbox().is_empty());
    let requests = simulator.requests(Operation::Send);
    assert_eq!((requests.len(), &requests[0].body), (1, &Value::Null));
}

#[tokio::test]
async fn failures_come_in_order_each_for_its_number_of_requests_and_of_its_operation() {
    let simulator = started().await;
    simulator.fail(Operation::Send, Failure::TooManyRequests, 2);
    simulator.fail_next(Operation::Send, Failure::Successful);
    simulator.fail_always(Operation::Send, Failure::NotFound);
    simulator.fail(Operation::Verify, Failure::Forbidden, 0);
    let status = || try_send(&simulator).unwrap().status;
    assert_eq!([status(), status(), status(), status(), status()], [429, 429, 200, 404, 404]);
    assert_eq!(try_verify(&simulator, "x").unwrap().status, 200);

    simulator.clear_failures();
    assert_eq!(status(), 200);
}

#[tokio::test]
#[should_panic(expected = "cannot fail like this")]
async fn a_failure_of_sending_is_refused_for_verifying() {
    started().await.fail_next(Operation::Verify, Failure::OptOut);
}

#[test]
fn every_failure_has_a_name_of_its_own_in_kebab_case_that_leads_back_to_it() {
    let mut names = BTreeSet::new();
    for failure in Failure::all() {
        let json = serde_json::to_value(&failure).unwrap();
        assert_eq!(serde_json::from_value::<Failure>(json.clone()).unwrap(), failure);
        let name =
            json.as_str().map_or_else(|| json.as_object().unwrap().keys().next().unwrap().clone(), str::to_owned);
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        assert!(failure.exists_for(Operation::Send), "{failure:?}");
        names.insert(name);
    }
    assert_eq!(names.len(), Failure::all().len());
}
