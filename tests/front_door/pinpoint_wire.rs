//! The two requests to Pinpoint on the wire, and their endpoints.

use crate::exchange::exchange;
use crate::world::{NUMBER, file};
use serde_json::json;

fn successful() -> String {
    json!({ "ApplicationId": "a", "RequestId": "b", "Result": { NUMBER: {
        "DeliveryStatus": "SUCCESSFUL", "StatusCode": 200, "StatusMessage": "MessageId: c", "MessageId": "c" } } })
    .to_string()
}

#[tokio::test]
async fn a_send_has_exactly_these_fields() {
    let (wire, said) = exchange(&[], &file("send.http-v2"), &successful()).await;
    assert_eq!(
        wire.line,
        "POST https://pinpoint.us-east-1.amazonaws.com/v1/apps/9aad3a0a1e6d4cfda6d6ad7c7d6e2a8d/otp"
    );
    assert_eq!(wire.content_type, "application/json");
    assert!(
        wire.authorization
            .contains("/us-east-1/mobiletargeting/aws4_request"),
        "{}",
        wire.authorization
    );
    assert_eq!(wire.token, "example");
    assert_eq!(
        wire.body,
        json!({
            "Channel": "SMS", "BrandName": "ExampleCorp", "CodeLength": 6, "ValidityPeriod": 10, "AllowedAttempts": 3,
            "Language": "en-US", "OriginationIdentity": "+12065550100", "DestinationIdentity": NUMBER,
            "ReferenceId": "46bb87b047dd9f34b9cbe4011325b15b",
        })
    );
    assert_eq!(said["statusCode"], 202);
}

#[tokio::test]
async fn a_verify_has_exactly_these_fields() {
    for (answer, status) in [
        (r#"{"Valid":true}"#, 200),
        (r#"{"Valid":false}"#, 422),
        (r#"{"Valid":null}"#, 422),
        ("{}", 422),
    ] {
        let (wire, said) = exchange(&[], &file("verify.http-v2"), answer).await;
        assert_eq!(
            wire.line,
            "POST https://pinpoint.us-east-1.amazonaws.com/v1/apps/9aad3a0a1e6d4cfda6d6ad7c7d6e2a8d/verify-otp"
        );
        assert_eq!(
            wire.body,
            json!({ "DestinationIdentity": NUMBER, "ReferenceId": "46bb87b047dd9f34b9cbe4011325b15b", "Otp": "012345" })
        );
        assert_eq!(said["statusCode"], status, "{answer}");
    }
}

#[tokio::test]
async fn the_endpoint_follows_the_region_the_partition_and_the_sdks_own_variables() {
    for (settings, host) in [
        (
            &[("AWS_REGION", "eu-central-1")][..],
            "https://pinpoint.eu-central-1.amazonaws.com/",
        ),
        (
            &[("AWS_REGION", "us-gov-west-1")],
            "https://pinpoint.us-gov-west-1.amazonaws.com/",
        ),
        (
            &[("AWS_USE_FIPS_ENDPOINT", "true")],
            "https://pinpoint-fips.us-east-1.amazonaws.com/",
        ),
        (
            &[("AWS_USE_DUALSTACK_ENDPOINT", "true")],
            "https://pinpoint.us-east-1.api.aws/",
        ),
        (
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")],
            "http://127.0.0.1:9/",
        ),
        (
            &[
                ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
                ("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:8"),
            ],
            "http://127.0.0.1:8/",
        ),
    ] {
        let (wire, _) = exchange(settings, &file("send.http-v2"), &successful()).await;
        assert!(
            wire.line.starts_with(&format!("POST {host}")),
            "{settings:?}: {}",
            wire.line
        );
    }
}
