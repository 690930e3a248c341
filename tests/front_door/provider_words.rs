//! Words of a provider that repeat what it was asked.

use crate::world::{World, app, changed, file};
use aws_smithy_http_client::test_util::{ReplayEvent, StaticReplayClient};
use aws_smithy_types::body::SdkBody;
use otp_lambda::aws::SharedHttpClient;
use serde_json::{Value, json};
use simulator::{MemoryLedger, Simulator};

/// The log line of `event`, when the provider answers with this status and these words.
async fn line_about(code_type: &str, event: &Value, status: u16, words: &str) -> Value {
    let answer = json!({ "message": words, "Message": words }).to_string();
    let answer = http::Response::builder()
        .status(status)
        .header("x-amzn-errortype", "ValidationException")
        .body(SdkBody::from(answer))
        .unwrap();
    let client = StaticReplayClient::new(vec![ReplayEvent::new(
        http::Request::new(SdkBody::empty()),
        answer,
    )]);
    let environment = changed("", &[("CODE_TYPE", code_type)]);
    let client = SharedHttpClient::new(client);
    let app = app(&environment, Some(client), Box::new(MemoryLedger::new())).await;
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let world = World::around(app, simulator);
    let said = world.event(event).await;
    assert!(said.status >= 400, "{said:?}");
    world.last_line()
}

#[tokio::test]
async fn no_code_of_any_type_reaches_the_log_through_a_providers_words() {
    for (code_type, code) in [
        ("numeric", "493817"),
        ("alphabetic", "QZXWVK"),
        ("alphanumeric", "Q7XW4K"),
    ] {
        let mut verify = file("verify.http-v2");
        let mut body: Value = serde_json::from_str(verify["body"].as_str().unwrap()).unwrap();
        body["otp"] = json!(code);
        verify["body"] = json!(body.to_string());
        let small = code.to_ascii_lowercase();
        for (event, repeats_in_any_case) in [(&verify, true), (&file("send.http-v2"), false)] {
            for status in [400, 403, 404, 429, 500] {
                let mut words = vec![
                    format!("Value '{code}' at 'code' failed to satisfy constraint"),
                    format!("{code} is not the code"),
                    format!("{} {code}", "the code is ".repeat(16)),
                    format!("[{code}],({code})"),
                ];
                if repeats_in_any_case {
                    words.push(format!("value {small}"));
                    words.push(format!("valueIs{code}NotRight"));
                }
                for words in words {
                    let line = line_about(code_type, event, status, &words).await;
                    let text = line.to_string().to_ascii_uppercase();
                    // A cut in the wrong place would leave a part of the code. No part may be there, either.
                    for part in [code, &code[..4], &code[2..]] {
                        assert!(!text.contains(part), "{code_type} {status} {words}: {line}");
                    }
                }
            }
        }
    }
}

/// The control: other words of the provider do reach it.
#[tokio::test]
async fn a_providers_other_words_are_in_the_log() {
    let line = line_about(
        "alphabetic",
        &file("send.http-v2"),
        400,
        "Sender is not Qualified here",
    )
    .await;
    assert!(
        line["cause"]
            .as_str()
            .unwrap()
            .contains("Sender is not Qualified here"),
        "{line}"
    );
}
