//! One request on the wire, and a prepared response to it.

use crate::world::{app, changed, now};
use aws_smithy_http_client::test_util::{ReplayEvent, StaticReplayClient};
use aws_smithy_types::body::SdkBody;
use otp_lambda::app::{Invocation, InvokedAs};
use otp_lambda::aws::SharedHttpClient;
use serde_json::Value;
use serde_json::value::RawValue;
use simulator::MemoryLedger;
use std::time::Duration;

/// Gives `event` to a function with these settings. The function makes one request to AWS and gets `answer` as the
/// response. Returns the request to AWS, and the function's response to the event.
pub(crate) async fn exchange(
    settings: &[(&str, &str)],
    event: &Value,
    answer: &str,
) -> (Wire, Value) {
    let answer = http::Response::builder()
        .status(200)
        .body(SdkBody::from(answer))
        .unwrap();
    let client = StaticReplayClient::new(vec![ReplayEvent::new(
        http::Request::new(SdkBody::empty()),
        answer,
    )]);

    let http_client = SharedHttpClient::new(client.clone());
    let app = app(
        &changed("", settings),
        Some(http_client),
        Box::new(MemoryLedger::new()),
    )
    .await;
    let event: Box<RawValue> = serde_json::from_str(&event.to_string()).unwrap();
    let invocation = Invocation {
        invoked_as: InvokedAs::Itself,
        request_id: String::new(),
        trace: None,
        deadline: now() + Duration::from_secs(10),
    };
    let said = app.handle(&event, invocation).await.unwrap();

    let requests: Vec<_> = client.actual_requests().collect();
    assert_eq!(requests.len(), 1);
    let request = requests.first().unwrap();
    let header = |name: &str| request.headers().get(name).unwrap_or_default().to_owned();
    let wire = Wire {
        line: format!("{} {}", request.method(), request.uri()),
        content_type: header("content-type"),
        authorization: header("authorization"),
        token: header("x-amz-security-token"),
        body: serde_json::from_slice(request.body().bytes().unwrap()).unwrap(),
    };
    (wire, serde_json::from_str(said.get()).unwrap())
}

pub(crate) struct Wire {
    pub(crate) line: String,
    pub(crate) content_type: String,
    pub(crate) authorization: String,
    pub(crate) token: String,
    pub(crate) body: Value,
}
