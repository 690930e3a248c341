//! A simple client: one request on one connection, and the exact bytes of the response.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};
use simulator::{Operation, Service, Simulator};

pub(crate) const NUMBER: &str = "+14255550142";
/// A signature for Pinpoint.
pub(crate) const SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=AKID/20261123/us-east-1/mobiletargeting/aws4_request, \
                                    SignedHeaders=host;x-amz-date, Signature=0123456789abcdef";

/// All operations of all services.
pub(crate) const CALLS: [(Service, Operation); 5] = [
    (Service::Pinpoint, Operation::Send),
    (Service::Pinpoint, Operation::Verify),
    (Service::EndUserMessaging, Operation::Send),
    (Service::EndUserMessaging, Operation::Verify),
    (Service::PinpointSmsVoiceV2, Operation::Feedback),
];

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

/// Sends a request. The error is `WouldBlock` after two seconds without a response, and `UnexpectedEof` if the
/// connection closes before the response is complete.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    request_within(Duration::from_secs(2), address, method, path, headers, body)
}

/// As [`request`], with another timeout.
pub(crate) fn request_within(
    timeout: Duration,
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\ncontent-length: {}\r\nconnection: close\r\n",
        body.len()
    );
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.extend(["host: ", &address.to_string(), "\r\n"]);
    }
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw)?;
    let end = raw
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8(raw[..end].to_vec()).unwrap();
    let answer = Answer {
        status: head[9..12].parse().unwrap(),
        head,
        body: raw.split_off(end + 4),
    };
    let promised: usize = answer
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    if answer.body.len() < promised {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

pub(crate) async fn started() -> Simulator {
    Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

pub(crate) fn post(simulator: &Simulator, path: &str, body: &Value) -> io::Result<Answer> {
    let headers = [
        ("authorization", SIGNATURE),
        ("content-type", "application/json"),
    ];
    request(
        simulator.address,
        "POST",
        path,
        &headers,
        body.to_string().as_bytes(),
    )
}

pub(crate) fn get(simulator: &Simulator, path: &str) -> Answer {
    request(simulator.address, "GET", path, &[], b"").unwrap()
}

/// The body of a send with every field and these changes. A null removes a field.
pub(crate) fn send_body(changes: Value) -> Value {
    let mut body = json!({
        "AllowedAttempts": 3, "BrandName": "ExampleCorp", "Channel": "SMS", "CodeLength": 6,
        "DestinationIdentity": NUMBER, "Language": "en-US", "OriginationIdentity": "+12065550100",
        "ReferenceId": "signup", "ValidityPeriod": 10,
    });
    if let Value::Object(changes) = changes {
        body.as_object_mut().unwrap().extend(changes);
    }
    body
}

pub(crate) fn try_send(simulator: &Simulator) -> io::Result<Answer> {
    post(simulator, "/v1/apps/app/otp", &send_body(json!({})))
}

pub(crate) fn try_verify(simulator: &Simulator, otp: &str) -> io::Result<Answer> {
    let body = json!({"DestinationIdentity": NUMBER, "ReferenceId": "signup", "Otp": otp});
    post(simulator, "/v1/apps/app/verify-otp", &body)
}

/// Sends, and returns the code.
pub(crate) fn send(simulator: &Simulator) -> String {
    assert_eq!(try_send(simulator).unwrap().status, 200);
    simulator.newest_to(NUMBER).unwrap().code
}

pub(crate) fn verify(simulator: &Simulator, otp: &str) -> bool {
    let answer = try_verify(simulator, otp).unwrap();
    assert_eq!(answer.status, 200);
    answer.json()["Valid"].as_bool().unwrap()
}

/// Sends a body to one of the service's operations, with a signature for the service.
pub(crate) fn call(
    patience: Duration,
    simulator: &Simulator,
    service: Service,
    operation: Operation,
    body: &Value,
) -> io::Result<Answer> {
    let (scope, content_type) = match service {
        Service::Pinpoint => ("mobiletargeting", "application/json"),
        Service::EndUserMessaging => ("end-user-messaging", "application/json"),
        Service::PinpointSmsVoiceV2 => ("sms-voice", "application/x-amz-json-1.0"),
    };
    let path = match (service, operation) {
        (Service::PinpointSmsVoiceV2, _) => "/",
        (Service::Pinpoint, Operation::Send) => "/v1/apps/app/otp",
        (Service::Pinpoint, _) => "/v1/apps/app/verify-otp",
        (_, Operation::Send) => "/v1/notify-code-verifications/send",
        _ => "/v1/notify-code-verifications/validate",
    };
    let signature = SIGNATURE.replace("mobiletargeting", scope);
    let mut headers = vec![
        ("authorization", signature.as_str()),
        ("content-type", content_type),
    ];
    if service == Service::PinpointSmsVoiceV2 {
        headers.push(("x-amz-target", "PinpointSMSVoiceV2.PutMessageFeedback"));
    }
    request_within(
        patience,
        simulator.address,
        "POST",
        path,
        &headers,
        body.to_string().as_bytes(),
    )
}
