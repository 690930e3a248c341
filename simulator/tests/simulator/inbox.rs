//! The inbox as JSON, as a page and as a stream.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::client::{NUMBER, get, post, send, send_body, started};

#[tokio::test]
async fn the_newest_message_comes_first_and_has_every_field() {
    let simulator = started().await;
    send(&simulator);
    let code = send(&simulator);
    let messages = get(&simulator, "/inbox").json()["messages"].clone();
    let message = &messages[0];
    assert_eq!((&message["id"], &messages[1]["id"]), (&json!(2), &json!(1)));
    assert_eq!(
        message,
        &json!({
            "id": 2, "to": NUMBER, "from": "+12065550100", "brand": "ExampleCorp", "language": "en-US", "channel": "sms",
            "text": format!("This is your One Time Password: {code} from ExampleCorp"), "code": code,
            "referenceId": "signup", "sentAt": message["sentAt"], "expiresAt": message["expiresAt"],
            "messageId": simulator.inbox()[0].message_id, "service": "pinpoint", "voiceId": null, "template": null,
            "used": false, "attempts": 3, "attemptsLeft": 3,
            "feedback": null,
        })
    );
    assert!(message["sentAt"].as_str() < message["expiresAt"].as_str());
}

#[tokio::test]
async fn messages_can_be_filtered_by_number_with_an_escaped_or_a_bare_plus() {
    let simulator = started().await;
    send(&simulator);
    post(
        &simulator,
        "/v1/apps/app/otp",
        &send_body(json!({"DestinationIdentity": "+4915112345678"})),
    )
    .unwrap();
    for (query, count) in [
        ("", 2),
        ("?to=+14255550142", 1),
        ("?to=%2B14255550142", 1),
        ("?to=+14255550143", 0),
    ] {
        let messages = get(&simulator, &format!("/inbox{query}")).json()["messages"].clone();
        assert_eq!(messages.as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn the_page_allows_only_its_own_script() {
    let simulator = started().await;
    let page = get(&simulator, "/");
    let policy = page.header("content-security-policy").unwrap();
    let nonce = policy
        .split("script-src 'nonce-")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    assert!(
        page.text().contains(&format!("<script nonce=\"{nonce}\">"))
            && !page.text().contains("{{nonce}}")
    );
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_ne!(
        get(&simulator, "/").header("content-security-policy"),
        Some(policy)
    );

    // Brand names are untrusted, and the page needs nothing from other hosts.
    for never in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "src=",
        "https:",
        " style=\"",
    ] {
        assert!(!page.text().contains(never), "{never}");
    }
}

#[tokio::test]
async fn updates_come_at_once_and_after_every_change() {
    let simulator = started().await;
    let mut stream = TcpStream::connect(simulator.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    stream
        .write_all(b"GET /inbox/updates HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut next = || loop {
        if let Some(data) = lines.next().unwrap().unwrap().strip_prefix("data: ") {
            return serde_json::from_str::<Value>(data).unwrap();
        }
    };
    let empty = next();
    assert_eq!(
        (&empty["messages"], &empty["offsetSeconds"]),
        (&json!([]), &json!(0))
    );

    send(&simulator);
    // The arrival of the request is a change too, and may cause an update without the message.
    let arrived = std::iter::repeat_with(next).find(|update| update["messages"] != json!([]));
    assert_eq!(arrived.unwrap()["messages"][0]["to"], NUMBER);
}
