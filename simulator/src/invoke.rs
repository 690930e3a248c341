//! Gives one event to the function: `make invoke`.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{Method, Request, StatusCode, header, response::Parts},
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// The placeholder in an event for the code of the newest message.
const CODE: &str = "012345";

/// The response to an event.
#[derive(Debug)]
pub struct Invoked {
    /// The result for a person to read.
    pub text: String,
    /// Whether the result is an error of the function. A refusal over HTTP is not.
    pub is_error: bool,
    /// Whether the code of the newest message went into the event.
    pub used_code: bool,
}

/// Gives `event` to the function of a running desk. `phone` and `api` are the desk's local ports.
///
/// # Errors
///
/// If `event` is no JSON, if one of the ports does not answer, or if it answers as a desk does not.
pub async fn invoke(event: &str, phone: u16, api: u16) -> io::Result<Invoked> {
    serde_json::from_str::<Value>(event)
        .map_err(|problem| io::Error::other(format!("the event is no JSON: {problem}")))?;
    let code = if event.contains(CODE) {
        newest_code(phone).await?
    } else {
        None
    };
    let event = match &code {
        Some(code) => event.replace(CODE, code),
        None => event.to_owned(),
    };
    let path = "/2015-03-31/functions/function/invocations";
    let (head, result) = exchange(api, Method::POST, path, event).await?;
    if head.status != StatusCode::OK {
        return Err(no_desk(api));
    }
    let is_error = head.headers.contains_key("x-amz-function-error");
    let result: Value = serde_json::from_slice(&result).map_err(|_| no_desk(api))?;
    Ok(Invoked {
        text: readable(&result, is_error),
        is_error,
        used_code: code.is_some(),
    })
}

/// The error of a port where another program listens.
fn no_desk(port: u16) -> io::Error {
    io::Error::other(format!(
        "another program than the desk answers on port {port}"
    ))
}

async fn newest_code(phone: u16) -> io::Result<Option<String>> {
    let (_, inbox) = exchange(phone, Method::GET, "/inbox", String::new()).await?;
    let inbox: Value = serde_json::from_slice(&inbox).map_err(|_| no_desk(phone))?;
    Ok(inbox
        .pointer("/messages/0/code")
        .and_then(Value::as_str)
        .map(str::to_owned))
}

fn readable(result: &Value, is_error: bool) -> String {
    let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or_default();
    if is_error {
        return format!("{}: {}", text("errorType"), text("errorMessage"));
    }
    if let Some(status) = result.get("statusCode").and_then(Value::as_u64) {
        let body: Value = serde_json::from_str(text("body")).unwrap_or_default();
        return format!("HTTP {status}\n{body:#}");
    }
    // A trigger returns the whole event. Only the field `response` is new.
    let response = result.get("triggerSource").and(result.get("response"));
    format!("{:#}", response.unwrap_or(result))
}

async fn exchange(
    port: u16,
    method: Method,
    path: &str,
    body: String,
) -> io::Result<(Parts, Bytes)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .map_err(io::Error::other)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let (head, body) = response.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX)
        .await
        .map_err(io::Error::other)?;
    Ok((head, body))
}
