//! Amazon Pinpoint's OTP API.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Channel, Operation, Simulator};

use crate::client::{NUMBER, SIGNATURE, post, request, send, send_body, started, verify};

const SEND: &str = "/v1/apps/app/otp";
const VERIFY: &str = "/v1/apps/app/verify-otp";

#[tokio::test]
async fn a_send_returns_the_bare_message_response_and_the_message_arrives() {
    let simulator = started().await;
    let answer = post(&simulator, SEND, &send_body(json!({}))).unwrap();

    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    let message = simulator.newest_to(NUMBER).unwrap();
    assert_eq!(
        answer.json(),
        json!({
            "ApplicationId": "app",
            "RequestId": answer.header("x-amzn-requestid").unwrap(),
            "Result": {NUMBER: {
                "DeliveryStatus": "SUCCESSFUL",
                "MessageId": message.message_id,
                "StatusCode": 200,
                "StatusMessage": format!("MessageId: {}", message.message_id),
            }},
        })
    );
    assert_eq!(
        message.text,
        format!(
            "This is your One Time Password: {} from ExampleCorp",
            message.code
        )
    );
    assert_eq!(
        (message.from.as_str(), message.channel),
        ("+12065550100", Channel::Sms)
    );
    assert_eq!(
        message.expires_at,
        message.sent_at + Duration::from_mins(10)
    );
}

#[tokio::test]
async fn a_right_code_is_valid_once_and_the_response_is_bare() {
    let simulator = started().await;
    let code = send(&simulator);
    let body = json!({"DestinationIdentity": NUMBER, "ReferenceId": "signup", "Otp": code});
    let answer = post(&simulator, VERIFY, &body).unwrap();
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"Valid": true}))
    );
    assert!(answer.header("x-amzn-requestid").is_some());
    assert!(!verify(&simulator, &code));
}

#[tokio::test]
async fn attempts_run_out() {
    let simulator = started().await;
    let code = send(&simulator);
    for _ in 0..3 {
        assert!(!verify(&simulator, "not it"));
    }
    assert!(!verify(&simulator, &code));
    assert_eq!(simulator.codes()[0].attempts_left, 0);
}

#[tokio::test]
async fn a_code_expires_by_the_simulators_clock() {
    let simulator = started().await;
    let code = send(&simulator);
    simulator.advance(Duration::from_mins(9));
    assert!(verify(&simulator, &code));

    let code = send(&simulator);
    simulator.advance(Duration::from_mins(10));
    assert!(!verify(&simulator, &code));
}

#[tokio::test]
async fn a_code_is_valid_only_for_its_own_number_reference_and_application() {
    let simulator = started().await;
    let code = send(&simulator);
    for (path, to, reference) in [
        (VERIFY, "+14255550143", "signup"),
        (VERIFY, NUMBER, "login"),
        ("/v1/apps/other/verify-otp", NUMBER, "signup"),
    ] {
        let body = json!({"DestinationIdentity": to, "ReferenceId": reference, "Otp": code});
        assert_eq!(
            post(&simulator, path, &body).unwrap().json(),
            json!({"Valid": false})
        );
    }
    assert!(verify(&simulator, &code));
}

#[tokio::test]
async fn absent_optional_fields_have_defaults() {
    let simulator = started().await;
    let changes = json!({"AllowedAttempts": null, "CodeLength": null, "Language": null, "ValidityPeriod": null});
    assert_eq!(
        post(&simulator, SEND, &send_body(changes)).unwrap().status,
        200
    );
    let message = simulator.newest_to(NUMBER).unwrap();
    assert_eq!(
        (message.code.len(), message.language.as_str()),
        (6, "en-US")
    );
    assert_eq!(
        message.expires_at,
        message.sent_at + Duration::from_mins(15)
    );
    assert_eq!(simulator.codes()[0].attempts_left, 3);
}

#[tokio::test]
async fn every_value_in_range_is_accepted_in_every_language() {
    let simulator = started().await;
    for (length, validity, attempts) in [(5, 5, 1), (8, 60, 5)] {
        let changes =
            json!({"CodeLength": length, "ValidityPeriod": validity, "AllowedAttempts": attempts});
        assert_eq!(
            post(&simulator, SEND, &send_body(changes)).unwrap().status,
            200
        );
        let code = simulator.newest_to(NUMBER).unwrap().code;
        assert_eq!(code.len(), length);
        assert!(code.bytes().all(|digit| digit.is_ascii_digit()));
    }
    for language in simulator::texts::languages() {
        // The brand has twenty characters and forty bytes.
        let changes = json!({"Language": language, "BrandName": "ÄÖÜäöüßÄÖÜäöüßÄÖÜäöü", "ReferenceId": "x".repeat(48)});
        assert_eq!(
            post(&simulator, SEND, &send_body(changes)).unwrap().status,
            200
        );
        let message = simulator.newest_to(NUMBER).unwrap();
        assert!(
            message.text.contains(&message.code) && message.text.contains(&message.brand),
            "{message:?}"
        );
    }
    // The fields for India, and a field that a later version of the service may add.
    let changes = json!({"EntityId": "1101", "TemplateId": "1107", "SomethingNew": [1]});
    assert_eq!(
        post(&simulator, SEND, &send_body(changes)).unwrap().status,
        200
    );
}

#[tokio::test]
async fn an_invalid_send_is_a_bad_request_and_sends_nothing() {
    let simulator = started().await;
    for changes in [
        json!({"BrandName": null}),
        json!({"ReferenceId": null}),
        json!({"Channel": null}),
        json!({"DestinationIdentity": null}),
        json!({"OriginationIdentity": null}),
        json!({"BrandName": 7}),
        json!({"BrandName": ""}),
        json!({"BrandName": "x".repeat(21)}),
        json!({"ReferenceId": ""}),
        json!({"ReferenceId": "x".repeat(49)}),
        json!({"Channel": "VOICE"}),
        json!({"DestinationIdentity": "14255550142"}),
        json!({"DestinationIdentity": "+1 425 555 0142"}),
        json!({"OriginationIdentity": ""}),
        json!({"Language": "sv-SE"}),
        json!({"Language": "en-us"}),
        json!({"CodeLength": 4}),
        json!({"CodeLength": 9}),
        json!({"CodeLength": "6"}),
        json!({"CodeLength": 6.5}),
        json!({"CodeLength": 262}),
        json!({"ValidityPeriod": 4}),
        json!({"ValidityPeriod": 61}),
        json!({"AllowedAttempts": 0}),
        json!({"AllowedAttempts": 6}),
        json!({"AllowedAttempts": -1}),
        json!({"EntityId": 1101}),
    ] {
        let answer = post(&simulator, SEND, &send_body(changes.clone())).unwrap();
        assert_eq!(answer.status, 400, "{changes}");
        assert_eq!(
            answer.header("x-amzn-errortype"),
            Some("BadRequestException")
        );
        assert!(answer.json()["Message"].is_string());
        assert_eq!(
            answer.json()["RequestID"],
            answer.header("x-amzn-requestid").unwrap()
        );
    }
    for body in [
        json!([]),
        json!("x"),
        json!({"ReferenceId": "signup", "Otp": "1"}),
        json!({"Otp": 123_456}),
    ] {
        assert_eq!(
            post(&simulator, VERIFY, &body).unwrap().status,
            400,
            "{body}"
        );
    }
    let not_json = request(
        simulator.address,
        "POST",
        SEND,
        &[("authorization", SIGNATURE)],
        b"{",
    )
    .unwrap();
    assert_eq!(not_json.status, 400);
    assert!(simulator.inbox().is_empty());
}

#[tokio::test]
async fn only_a_signature_for_this_service_is_accepted() {
    let simulator = started().await;
    let elsewhere = SIGNATURE.replace("mobiletargeting", "sns");
    for (headers, error) in [
        (vec![], "MissingAuthenticationTokenException"),
        (
            vec![("authorization", "Bearer token")],
            "MissingAuthenticationTokenException",
        ),
        (
            vec![("authorization", elsewhere.as_str())],
            "InvalidSignatureException",
        ),
    ] {
        let body = send_body(json!({})).to_string();
        let answer = request(simulator.address, "POST", SEND, &headers, body.as_bytes()).unwrap();
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (403, Some(error))
        );
        assert!(answer.header("x-amzn-requestid").is_some());
    }
    assert!(simulator.inbox().is_empty());
}

#[tokio::test]
async fn a_wrong_method_is_405_and_an_unknown_application_is_404() {
    let simulator = started().await;
    let answer = request(
        simulator.address,
        "PUT",
        SEND,
        &[("authorization", SIGNATURE)],
        b"{}",
    )
    .unwrap();
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (405, Some("MethodNotAllowedException"))
    );

    simulator.know_only_applications(["mine"]);
    for path in [SEND, VERIFY] {
        let answer = post(&simulator, path, &send_body(json!({}))).unwrap();
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (404, Some("NotFoundException"))
        );
    }
    assert_eq!(
        post(&simulator, "/v1/apps/mine/otp", &send_body(json!({})))
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn a_body_over_seven_megabytes_is_413() {
    let simulator = started().await;
    let body = vec![b' '; 7 * 1024 * 1024 + 1];
    let answer = request(
        simulator.address,
        "POST",
        SEND,
        &[("authorization", SIGNATURE)],
        &body,
    )
    .unwrap();
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (413, Some("PayloadTooLargeException"))
    );
}

#[tokio::test]
async fn every_request_is_recorded() {
    let simulator = started().await;
    send(&simulator);
    verify(&simulator, "000000");
    request(
        simulator.address,
        "POST",
        SEND,
        &[("x-twice", "a"), ("X-Twice", "b")],
        b"no json",
    )
    .unwrap();

    let sends = simulator.requests(Operation::Send);
    assert_eq!(sends.len(), 2);
    assert_eq!(sends[0].body, send_body(json!({})));
    assert_eq!(
        (sends[0].application_id.as_str(), sends[0].method.as_str()),
        ("app", "POST")
    );
    assert_eq!(sends[0].headers["authorization"], SIGNATURE);
    assert_eq!(
        (&sends[1].body, sends[1].headers["x-twice"].as_str()),
        (&Value::Null, "a,b")
    );
    assert_eq!(simulator.requests(Operation::Verify).len(), 1);

    simulator.reset();
    assert!(simulator.requests(Operation::Send).is_empty() && simulator.codes().is_empty());
}

#[tokio::test]
async fn it_listens_only_on_loopback_and_serves_only_local_names() {
    let anywhere = Simulator::start(([0, 0, 0, 0], 0).into()).await;
    assert_eq!(
        anywhere.unwrap_err().kind(),
        std::io::ErrorKind::InvalidInput
    );

    let simulator = started().await;
    let ask = |host| {
        request(simulator.address, "GET", "/inbox", &[("host", host)], b"")
            .unwrap()
            .status
    };
    for host in [
        "localhost",
        "LocalHost:6870",
        "127.0.0.1:1",
        "127.1.2.3",
        "[::1]:80",
        "inbox.localhost",
    ] {
        assert_eq!(ask(host), 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "notlocalhost",
        "192.168.1.2",
        "0.0.0.0",
        "a b",
        "",
    ] {
        assert_eq!(ask(host), 403, "{host}");
    }
    let elsewhere = request(
        simulator.address,
        "GET",
        "http://evil.example/inbox",
        &[("host", "localhost")],
        b"",
    );
    assert_eq!(elsewhere.unwrap().status, 403);
}

#[tokio::test]
async fn dropping_it_frees_the_port_and_a_taken_port_is_replaced() {
    let simulator = started().await;
    let address = simulator.address;
    let bound = simulator::bind_or_next(address.port()).unwrap();
    assert_eq!(bound.instead_of, Some(address.port()));
    assert_ne!(bound.listener.local_addr().unwrap(), address);

    drop(simulator);
    let again = simulator::bind_or_next(address.port()).unwrap();
    assert_eq!(
        (again.instead_of, again.listener.local_addr().unwrap()),
        (None, address)
    );
}
