//! API Gateway in front of a handler.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use serde_json::{Value, json, value::RawValue};
use simulator::front::{Front, HandlerError};

use crate::client::{Answer, request};

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// The handler runs on the runtime of the test. For this reason the client must not block the runtime.
async fn ask(
    address: SocketAddr,
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
) -> io::Result<Answer> {
    tokio::task::spawn_blocking(move || request(address, method, path, headers, &body))
        .await
        .unwrap()
}

/// A front whose handler responds with the event.
fn echo() -> Front {
    Front::start_on(listener(), async |event, request_id: String| {
        assert_eq!(request_id.len(), 36);
        Ok(json!({"statusCode": 200, "body": event.get()}))
    })
    .unwrap()
}

/// A front whose handler always has this result.
fn answering(answer: Result<Value, HandlerError>) -> Front {
    Front::start_on(listener(), move |_, _| {
        let answer = answer.clone();
        async { answer }
    })
    .unwrap()
}

#[tokio::test]
async fn a_request_becomes_a_version_2_event_of_an_authenticated_caller() {
    let front = echo();
    let headers = &[
        ("host", "localhost:8000"),
        ("User-Agent", "curl/8"),
        ("content-type", "application/json; charset=utf-8"),
        ("X-Twice", "a"),
        ("x-twice", "b"),
        ("cookie", "one=1; two=2"),
        ("cookie", "three=3,3"),
    ];
    let body = "{\"destinationNumber\": \"ü\"}";
    let answer = ask(
        front.address,
        "POST",
        "/otp/send%20?a=1&b=%20x&a=2",
        headers,
        body.into(),
    )
    .await
    .unwrap();
    let event = answer.json();
    let time = event["requestContext"]["time"].clone();
    let id = event["requestContext"]["requestId"].clone();
    assert_eq!(
        event,
        json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/otp/send%20",
            "rawQueryString": "a=1&b=%20x&a=2",
            "cookies": ["one=1", "two=2", "three=3,3"],
            "headers": {
                "connection": "close", "content-length": body.len().to_string(), "host": "localhost:8000",
                "user-agent": "curl/8", "content-type": "application/json; charset=utf-8", "x-twice": "a,b",
            },
            "queryStringParameters": {"a": "1,2", "b": " x"},
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "simulator",
                "authorizer": {"iam": {
                    "accessKey": "AKIAIOSFODNN7EXAMPLE", "accountId": "000000000000", "callerId": "AIDAEXAMPLEDESK",
                    "cognitoIdentity": null, "principalOrgId": null,
                    "userArn": "arn:aws:iam::000000000000:user/desk", "userId": "AIDAEXAMPLEDESK",
                }},
                "domainName": "localhost",
                "domainPrefix": "localhost",
                "http": {
                    "method": "POST", "path": "/otp/send%20", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                    "userAgent": "curl/8",
                },
                "requestId": id,
                "routeKey": "$default",
                "stage": "$default",
                "time": time,
                "timeEpoch": event["requestContext"]["timeEpoch"],
            },
            "body": body,
            "isBase64Encoded": false,
        })
    );
    assert_eq!(answer.header("apigw-requestid"), id.as_str());
    assert!(event["requestContext"]["timeEpoch"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(
        time.as_str().unwrap().len(),
        "23/Nov/2026:13:09:48 +0000".len()
    );
}

#[tokio::test]
async fn a_body_is_text_only_if_its_type_and_its_bytes_are() {
    type Headers = &'static [(&'static str, &'static str)];
    let front = echo();
    let cases: [(Headers, &[u8], Value, bool); 7] = [
        (
            &[("content-type", "application/json")],
            b"{}",
            json!("{}"),
            false,
        ),
        (
            &[("content-type", "application/problem+json")],
            b"{}",
            json!("{}"),
            false,
        ),
        (&[], b"plain", json!("plain"), false),
        (
            &[("content-type", "application/json")],
            b"\xff\xfe",
            json!("//4="),
            true,
        ),
        (
            &[("content-type", "application/octet-stream")],
            b"{}",
            json!("e30="),
            true,
        ),
        (
            &[
                ("content-type", "application/json"),
                ("content-encoding", "gzip"),
            ],
            b"{}",
            json!("e30="),
            true,
        ),
        (
            &[("content-type", "application/json")],
            b"",
            Value::Null,
            false,
        ),
    ];
    for (headers, body, expected, encoded) in cases {
        let event = ask(front.address, "POST", "/", headers, body.to_vec())
            .await
            .unwrap()
            .json();
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&expected, &json!(encoded)),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn a_result_becomes_an_http_response() {
    let front = answering(Ok(json!({
        "statusCode": 422, "headers": {"Content-Type": "application/problem+json", "x-number": 7, "content-length": "999"},
        "cookies": ["a=1; Secure", "b=2"], "body": "eyJvayI6dHJ1ZX0=", "isBase64Encoded": true,
    })));
    let answer = ask(front.address, "POST", "/otp/verify", &[], vec![])
        .await
        .unwrap();
    assert_eq!((answer.status, answer.text()), (422, "{\"ok\":true}"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(
        (answer.header("x-number"), answer.header("content-length")),
        (Some("7"), Some("11"))
    );
    assert_eq!(
        answer.headers("set-cookie").collect::<Vec<_>>(),
        ["a=1; Secure", "b=2"]
    );
}

#[tokio::test]
async fn a_result_without_a_status_code_is_json_with_200() {
    let front = answering(Ok(json!({"hello": "world"})));
    let answer = ask(front.address, "GET", "/", &[], vec![]).await.unwrap();
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"hello": "world"}))
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn function_errors_and_malformed_results_are_500_without_details() {
    for answer in [
        Err("a secret".into()),
        Ok(json!({"statusCode": "200"})),
        Ok(json!({"statusCode": 99})),
        Ok(json!({"statusCode": 101})),
        Ok(json!({"statusCode": 200, "body": {"not": "a string"}})),
        Ok(json!({"statusCode": 200, "body": "%", "isBase64Encoded": true})),
        Ok(json!({"statusCode": 200, "headers": {"bad name": "x"}})),
        Ok(json!({"statusCode": 200, "headers": {"x": "bad\nvalue"}})),
    ] {
        let front = answering(answer.clone());
        let answered = ask(front.address, "GET", "/", &[], vec![]).await.unwrap();
        assert_eq!(
            (answered.status, answered.json()),
            (500, json!({"message": "Internal Server Error"})),
            "{answer:?}"
        );
    }
}

const INVOCATIONS: &str = "/2015-03-31/functions/any-name/invocations";

#[tokio::test]
async fn an_invocation_passes_the_event_on_and_the_result_back() {
    let front = Front::start_on(
        listener(),
        async |event: Box<RawValue>, request_id: String| {
            assert_eq!(request_id.len(), 36);
            Ok(json!({"event": event.get()}))
        },
    )
    .unwrap();
    let event = r#"{"triggerSource":  "x"}"#;
    let answer = ask(front.address, "POST", INVOCATIONS, &[], event.into())
        .await
        .unwrap();
    assert_eq!(answer.json(), json!({"event": event}));
    assert_eq!(answer.header("x-amz-function-error"), None);
    for (headers, body, status) in [
        (&[][..], "{", 400),
        (&[("origin", "http://127.0.0.1:8000")], event, 403),
    ] {
        let refused = ask(front.address, "POST", INVOCATIONS, headers, body.into());
        assert_eq!(refused.await.unwrap().status, status, "{body}");
    }
}

#[tokio::test]
async fn a_function_error_is_told_to_whoever_invoked() {
    let front = answering(Err(HandlerError {
        kind: "SignUpRefused".to_owned(),
        message: "No proof.".to_owned(),
    }));
    let answer = ask(front.address, "POST", INVOCATIONS, &[], b"{}".to_vec())
        .await
        .unwrap();
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({"errorType": "SignUpRefused", "errorMessage": "No proof."})
        )
    );
    assert_eq!(answer.header("x-amz-function-error"), Some("Unhandled"));
}

#[tokio::test]
async fn a_panic_costs_one_response() {
    let front = Front::start_on(listener(), async |event, _| {
        // Unlike `panic!`, this prints no stack, which takes seconds on a busy machine.
        if event.get().contains("/panic") {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        Ok(json!({"statusCode": 204}))
    })
    .unwrap();
    assert_eq!(
        ask(front.address, "GET", "/panic", &[], vec![])
            .await
            .unwrap()
            .status,
        500
    );
    assert_eq!(
        ask(front.address, "GET", "/", &[], vec![])
            .await
            .unwrap()
            .status,
        204
    );
}

#[tokio::test]
async fn routes_are_matched_exactly() {
    let handler = async |event: Box<serde_json::value::RawValue>, _| {
        Ok(json!({"statusCode": 200, "body": event.get()}))
    };
    let front = Front::start_with_routes(listener(), ["POST /otp/send"], handler).unwrap();
    let sent = ask(front.address, "POST", "/otp/send?x=1", &[], vec![])
        .await
        .unwrap();
    assert_eq!(sent.json()["routeKey"], "POST /otp/send");
    for (method, path) in [
        ("GET", "/otp/send"),
        ("POST", "/otp/send/"),
        ("POST", "/otp/Send"),
        ("POST", "/"),
    ] {
        let answer = ask(front.address, method, path, &[], vec![]).await.unwrap();
        assert_eq!(
            (answer.status, answer.json()),
            (404, json!({"message": "Not Found"})),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_body_over_ten_megabytes_is_413_and_a_smaller_one_passes() {
    let front = Front::start_on(listener(), async |event, _| {
        Ok(json!({"length": event.get().len()}))
    })
    .unwrap();
    let limit = 10 * 1024 * 1024;
    let largest = ask(front.address, "POST", "/", &[], vec![b'x'; limit])
        .await
        .unwrap();
    assert!(largest.json()["length"].as_u64().unwrap() > limit as u64);
    let answer = ask(front.address, "POST", "/", &[], vec![b'x'; limit + 1])
        .await
        .unwrap();
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn it_listens_only_on_loopback_and_serves_only_local_names() {
    let anywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    assert!(Front::start_on(anywhere, async |_, _| Ok(Value::Null)).is_err());
    let front = answering(Ok(json!({})));
    let answer = ask(
        front.address,
        "GET",
        "/",
        &[("host", "evil.example")],
        vec![],
    )
    .await
    .unwrap();
    assert_eq!(answer.status, 403);
}
