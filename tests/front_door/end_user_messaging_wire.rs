//! The requests to End User Messaging on the wire, and their endpoints.

use crate::exchange::exchange;
use crate::with::says;
use crate::world::{NUMBER, file, post};
use serde_json::{Value, json};

const SENT: &str = r#"{"verificationId":"v-1","messageId":"m-1"}"#;

#[tokio::test]
async fn a_send_has_exactly_these_fields() {
    let settings = [
        ("CONFIGURATION_SET", "codes"),
        ("DLT_ENTITY_ID", "1101"),
        ("DLT_TEMPLATE_ID", "1107"),
        ("ALLOWED_COUNTRIES", "IN"),
    ];
    let body =
        json!({ "destinationNumber": "+919876543210", "brandName": "Acme", "validityPeriod": 1 });
    let (wire, said) = exchange(&settings, &post("/otp/send", &body.to_string()), SENT).await;
    assert_eq!(
        wire.line,
        "POST https://end-user-messaging.us-east-1.amazonaws.com/v1/notify-code-verifications/send"
    );
    assert_eq!(wire.content_type, "application/json");
    assert!(
        wire.authorization
            .contains("/us-east-1/end-user-messaging/aws4_request"),
        "{}",
        wire.authorization
    );
    assert_eq!(wire.token, "example");
    assert_eq!(
        wire.body,
        json!({
            "channel": "TEXT", "destinationIdentity": "+919876543210", "originationIdentity": "+12065550100",
            "overrideChannelParameters": { "text": {
                "inlineTemplateBody": says("en-US", "Acme"),
                "destinationCountryParameters": { "IN_ENTITY_ID": "1101", "IN_TEMPLATE_ID": "1107" },
            } },
            "overrideCodeConfigurationParameters": {
                "codeType": "NUMERIC", "codeLength": 6, "validityPeriodMinutes": 1, "maxAttempts": 3,
            },
            "configurationSetName": "codes",
            "referenceId": wire.body["referenceId"],
        })
    );
    assert_eq!(said["statusCode"], 202);
    let answer: Value = serde_json::from_str(said["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&answer["messageId"], &answer["referenceId"]),
        (&json!("m-1"), &wire.body["referenceId"])
    );
}

#[tokio::test]
async fn a_verify_has_exactly_these_fields() {
    for (answer, status) in [
        (r#"{"status":"VALID"}"#, 200),
        (r#"{"status":"INVALID"}"#, 422),
        (r#"{"status":"valid"}"#, 422),
        (r#"{"status":null}"#, 422),
        ("{}", 422),
    ] {
        let (wire, said) = exchange(&[], &file("verify.http-v2"), answer).await;
        assert_eq!(
            wire.line,
            "POST https://end-user-messaging.us-east-1.amazonaws.com/v1/notify-code-verifications/validate"
        );
        assert_eq!(
            wire.body,
            json!({ "destinationIdentity": NUMBER, "referenceId": "46bb87b047dd9f34b9cbe4011325b15b", "code": "012345" })
        );
        assert_eq!(said["statusCode"], status, "{answer}");
    }
}

#[tokio::test]
async fn without_a_message_id_the_delivery_is_unknown() {
    for answer in [
        r#"{"verificationId":"v-1"}"#,
        r#"{"verificationId":"v-1","messageId":""}"#,
        "{}",
    ] {
        let (_, said) = exchange(&[], &file("send.http-v2"), answer).await;
        let body: Value = serde_json::from_str(said["body"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&said["statusCode"], &body["delivery"]),
            (&json!(503), &json!("unknown")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_endpoint_follows_the_region_and_the_sdks_own_variables() {
    for (settings, host) in [
        (
            &[("AWS_REGION", "eu-central-1")][..],
            "https://end-user-messaging.eu-central-1.amazonaws.com/",
        ),
        (
            &[("AWS_USE_FIPS_ENDPOINT", "true")],
            "https://end-user-messaging-fips.us-east-1.amazonaws.com/",
        ),
        (
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")],
            "http://127.0.0.1:9/",
        ),
        (
            &[
                ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
                ("AWS_ENDPOINT_URL_ENDUSERMESSAGING", "http://127.0.0.1:8"),
            ],
            "http://127.0.0.1:8/",
        ),
    ] {
        let (wire, _) = exchange(settings, &file("send.http-v2"), SENT).await;
        assert!(
            wire.line.starts_with(&format!("POST {host}")),
            "{settings:?}: {}",
            wire.line
        );
    }
}
