//! The four origins of HTTP events, and which callers each of them authenticates.

use crate::world::{Answer, NUMBER, World, file};
use serde_json::{Value, json};
use simulator::Operation;

pub(crate) const DOORS: [&str; 4] = ["rest-v1", "http-v2", "function-url", "alb"];

#[tokio::test]
async fn every_origin_sends_and_verifies_in_its_own_shape() {
    for door in DOORS {
        let world = World::with(&[("API_AUTH", "trusted")]).await;
        let sent = world
            .raw(&file(&format!("send.{door}")).to_string())
            .await
            .unwrap();
        assert_eq!(Answer::read(&sent).status, 202, "{door}");
        assert_eq!(fields(&sent), shape(door), "{door}");
        assert_eq!(world.last_line()["origin"], door);

        let mut event = file(&format!("verify.{door}"));
        let mut body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
        body["otp"] = json!(world.newest_code());
        event["body"] = json!(body.to_string());
        let verified = world.raw(&event.to_string()).await.unwrap();
        assert_eq!(Answer::read(&verified).body["valid"], json!(true), "{door}");
        assert_eq!(fields(&verified), shape(door), "{door}");
        match door {
            "alb" => assert_eq!(verified["statusDescription"], "200 OK"),
            "rest-v1" => {}
            _ => assert_eq!(verified["cookies"], json!([])),
        }
    }
}

#[tokio::test]
async fn a_target_group_with_multi_value_headers_gets_multi_value_headers_back() {
    let world = World::with(&[("API_AUTH", "trusted")]).await;
    let mut event = file("send.alb");
    event["multiValueHeaders"] = json!({ "Content-Type": ["application/json"] });
    event.as_object_mut().unwrap().remove("headers");
    let answer = world.raw(&event.to_string()).await.unwrap();
    assert_eq!(answer["statusCode"], 202);
    assert_eq!(
        answer["multiValueHeaders"]["content-type"],
        json!(["application/json"])
    );
    assert_eq!(answer.get("headers"), None);
}

#[tokio::test]
async fn requests_without_a_principal_get_403_at_every_origin() {
    let world = World::new().await;
    for door in DOORS {
        let event = without_principal(door);
        let answer = world.event(&event).await;
        answer.is_problem(403, "unauthenticated");
    }
    assert_eq!(world.simulator.requests(Operation::Send).len(), 0);
}

#[tokio::test]
async fn with_api_auth_trusted_no_principal_is_needed() {
    let world = World::with(&[("API_AUTH", "trusted")]).await;
    for door in DOORS {
        assert_eq!(
            world.event(&without_principal(door)).await.status,
            202,
            "{door}"
        );
    }
}

#[tokio::test]
async fn iam_and_authorizers_authenticate_a_caller_only_if_they_name_it() {
    let world = World::new().await;
    let v2 = |authorizer: Value| {
        let mut event = file("send.http-v2");
        event["body"] = public_body();
        event["requestContext"]["authorizer"] = authorizer;
        event
    };
    let v1 = |user: Value, authorizer: Value| {
        let mut event = file("send.rest-v1");
        event["body"] = public_body();
        event["requestContext"]["identity"]["userArn"] = user;
        event["requestContext"]["authorizer"] = authorizer;
        event
    };
    for (event, vouched) in [
        (
            v2(json!({ "iam": { "userArn": "arn:aws:iam::123456789012:user/a" } })),
            true,
        ),
        (
            v2(json!({ "jwt": { "claims": { "sub": "a" }, "scopes": null } })),
            true,
        ),
        (v2(json!({ "lambda": { "tenant": "a" } })), true),
        (v2(json!({ "iam": { "userArn": "" } })), false),
        (
            v2(
                json!({ "iam": { "userArn": "arn:aws:sts::123456789012:assumed-role/guest/x", "cognitoIdentity": { "amr": ["unauthenticated"] } } }),
            ),
            false,
        ),
        (
            v2(
                json!({ "iam": { "userArn": "arn:aws:sts::123456789012:assumed-role/user/x", "cognitoIdentity": { "amr": ["authenticated"] } } }),
            ),
            true,
        ),
        (v2(json!({ "iam": {} })), false),
        (v2(json!({ "jwt": { "claims": {} } })), false),
        (v2(json!({ "lambda": null })), false),
        (v2(json!({})), false),
        (v2(json!("anybody")), false),
        (
            v1(json!("arn:aws:iam::123456789012:user/a"), json!(null)),
            true,
        ),
        (v1(json!(null), json!({ "principalId": "a" })), true),
        (v1(json!(null), json!({ "claims": { "sub": "a" } })), true),
        // An HTTP API with payload 1.0 and no authorizer writes this.
        (
            v1(json!(null), json!({ "claims": null, "scopes": null })),
            false,
        ),
        (v1(json!(null), json!({ "principalId": "" })), false),
        (v1(json!(""), json!({})), false),
    ] {
        let answer = world.event(&event).await;
        assert_eq!(
            answer.status,
            if vouched { 202 } else { 403 },
            "{}",
            event["requestContext"]
        );
    }
}

#[tokio::test]
async fn a_guest_of_a_cognito_identity_pool_is_not_authenticated() {
    let world = World::new().await;
    for (kind, vouched) in [("unauthenticated", false), ("authenticated", true)] {
        let mut event = file("send.rest-v1");
        event["body"] = public_body();
        event["requestContext"]["identity"]["cognitoAuthenticationType"] = json!(kind);
        assert_eq!(
            world.event(&event).await.status,
            if vouched { 202 } else { 403 },
            "{kind}"
        );
    }
}

#[tokio::test]
async fn a_principal_in_the_wrong_place_authenticates_nobody() {
    let world = World::new().await;
    let mut event = without_principal("http-v2");
    event["headers"]["authorization"] =
        json!("AWS4-HMAC-SHA256 Credential=AKIA/20261123/us-east-1/execute-api/aws4_request");
    event["authorizer"] = json!({ "iam": { "userArn": "arn:aws:iam::123456789012:user/a" } });
    event["requestContext"]["identity"] = json!({ "userArn": "arn:aws:iam::123456789012:user/a" });
    world.event(&event).await.is_problem(403, "unauthenticated");

    let mut event = file("send.alb");
    event["headers"]["x-amzn-oidc-identity"] = json!("somebody");
    event["requestContext"]["authorizer"] = json!({ "principalId": "somebody" });
    world.event(&event).await.is_problem(403, "unauthenticated");
}

#[tokio::test]
async fn stages_and_base_paths_are_removed() {
    let world = World::new().await;
    let v2 = |raw_path: &str, stage: &str, route: &str, proxy: Option<&str>| {
        let mut event = file("send.http-v2");
        event["rawPath"] = json!(raw_path);
        event["routeKey"] = json!(route);
        event["requestContext"]["stage"] = json!(stage);
        event["pathParameters"] = proxy.map_or(json!(null), |value| json!({ "proxy": value }));
        event
    };
    let v1 = |path: &str, resource: &str, proxy: Option<&str>| {
        let mut event = file("send.rest-v1");
        event["path"] = json!(path);
        event["resource"] = json!(resource);
        event["pathParameters"] = proxy.map_or(json!(null), |value| json!({ "proxy": value }));
        event
    };
    for (event, found) in [
        (v2("/otp/send", "$default", "POST /otp/send", None), true),
        (v2("/prod/otp/send", "prod", "POST /otp/send", None), true),
        (v2("/prod/otp/send", "prod", "$default", None), true),
        (
            v2("/base/otp/send", "$default", "POST /otp/send", None),
            true,
        ),
        (
            v2("/base/otp/send", "prod", "ANY /{proxy+}", Some("otp/send")),
            true,
        ),
        (v2("/base/otp/send", "$default", "$default", None), false),
        (v2("/prodotp/send", "prod", "$default", None), false),
        (
            v2("/otp%2Fsend", "$default", "ANY /{proxy+}", Some("otp/send")),
            false,
        ),
        (
            v2(
                "/api/otp/send",
                "$default",
                "ANY /api/{proxy+}",
                Some("otp/send"),
            ),
            false,
        ),
        (v1("/otp/send", "/otp/send", None), true),
        (v1("/base/otp/send", "/otp/send", None), true),
        (v1("/base/otp/send", "/{proxy+}", Some("otp/send")), true),
        (v1("/prod/otp/send", "/{proxy+}", None), true),
        (v1("/base/otp/send", "/{other+}", Some("otp/send")), false),
        (v1("/otp/send", "", None), true),
        (v1("/otp/send", "/", None), true),
        (v1("/otp/", "/", None), false),
    ] {
        let answer = world.event(&event).await;
        assert_eq!(answer.status, if found { 202 } else { 404 }, "{event}");
    }
}

#[tokio::test]
async fn bodies_that_api_gateway_encoded_are_decoded() {
    let world = World::new().await;
    let mut event = file("send.http-v2");
    // {"destinationNumber":"+14255550142"}
    event["body"] = json!("eyJkZXN0aW5hdGlvbk51bWJlciI6IisxNDI1NTU1MDE0MiJ9");
    event["isBase64Encoded"] = json!(true);
    assert_eq!(world.event(&event).await.status, 202);
    event["isBase64Encoded"] = json!(false);
    world
        .event(&event)
        .await
        .is_problem(400, "malformed_request");
}

#[tokio::test]
async fn header_names_may_have_any_case_and_media_types_may_have_parameters() {
    let world = World::new().await;
    for (name, value, read) in [
        ("Content-Type", "application/json", true),
        ("CONTENT-TYPE", "Application/JSON; charset=UTF-8", true),
        ("content-type", "application/json;charset=\"utf-8\"", true),
        ("content-type", "application/json; charset=latin1", false),
        ("content-type", "application/x-www-form-urlencoded", false),
        ("content-type", "text/plain", false),
        ("content-type", "application/problem+json", false),
        ("content-type", "", false),
        ("accept", "application/json", false),
    ] {
        let mut event = file("send.http-v2");
        event["headers"] = json!({ name: value });
        let answer = world.event(&event).await;
        if read {
            assert_eq!(answer.status, 202, "{name}: {value}");
        } else {
            answer.is_problem(415, "unsupported_media_type");
        }
    }
}

#[tokio::test]
async fn paths_match_exactly() {
    let world = World::new().await;
    for path in [
        "/",
        "",
        "/otp",
        "/otp/",
        "/otp/send/",
        "//otp/send",
        "/otp//send",
        "/OTP/send",
        "/otp/Send",
        "/otp/send/x",
        "/otp/./send",
        "/x/../otp/send",
        "/otp/send?x",
        "/otp/send;x",
        "/otp/%73end",
        "/otp/send%00",
        "/otp/send\0",
        "otp/send",
        "/otp/status",
        "/otp/cancel",
    ] {
        let mut event = file("send.http-v2");
        event["rawPath"] = json!(path);
        event["routeKey"] = json!("$default");
        world.event(&event).await.is_problem(404, "route_not_found");
    }
    assert_eq!(world.simulator.requests(Operation::Send).len(), 0);
}

#[tokio::test]
async fn another_method_gets_405_and_the_allowed_one() {
    let world = World::new().await;
    for path in ["/otp/send", "/otp/verify"] {
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "post", ""] {
            let mut event = file("send.http-v2");
            event["rawPath"] = json!(path);
            event["routeKey"] = json!("$default");
            event["requestContext"]["http"]["method"] = json!(method);
            let answer = world.event(&event).await;
            answer.is_problem(405, "method_not_allowed");
            assert_eq!(answer.headers["allow"], "POST");
        }
    }
}

#[tokio::test]
async fn a_method_that_is_not_an_http_token_is_400() {
    let world = World::new().await;
    for method in ["POST ", "PO ST", "POST\n", "é"] {
        let mut event = file("send.http-v2");
        event["requestContext"]["http"]["method"] = json!(method);
        world
            .event(&event)
            .await
            .is_problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn a_v1_event_is_recognized_by_its_context_or_its_resource() {
    let world = World::new().await;
    let mut by_context = file("send.rest-v1");
    by_context.as_object_mut().unwrap().remove("resource");
    let mut by_resource = file("send.rest-v1");
    by_resource["requestContext"]
        .as_object_mut()
        .unwrap()
        .remove("httpMethod");
    for event in [by_context, by_resource] {
        assert_eq!(world.event(&event).await.status, 202, "{event}");
        assert_eq!(world.last_line()["origin"], "rest-v1");
    }
}

#[tokio::test]
async fn an_http_event_without_a_context_is_400_in_the_v1_shape() {
    let world = World::new().await;
    for event in [
        json!({ "httpMethod": "POST" }),
        json!({ "rawPath": "/otp/send" }),
        json!({ "resource": "/otp/send" }),
        json!({ "httpMethod": "POST", "path": "/otp/send", "body": "{}", "requestContext": {} }),
        json!({ "version": "2.0", "rawPath": "/otp/send", "requestContext": { "stage": "$default" } }),
        json!({ "version": "1.0", "httpMethod": "POST", "requestContext": "x" }),
    ] {
        let answer = world.raw(&event.to_string()).await.unwrap();
        assert_eq!(fields(&answer), shape("rest-v1"), "{event}");
        Answer::read(&answer).is_problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn other_events_are_function_errors_that_say_what_was_expected() {
    let world = World::new().await;
    for event in [
        "{}",
        "[]",
        "null",
        "7",
        "\"x\"",
        r#"{"Records":[{"eventSource":"aws:sqs"}]}"#,
        r#"{"source":"aws.events"}"#,
        r#"{"version":"2.0"}"#,
        r#"{"triggerSource":7}"#,
        r#"{"httpMethod":"POST","httpMethod":"GET"}"#,
    ] {
        let error = world.raw(event).await.unwrap_err();
        assert!(
            error.to_string().contains("Expected: an API Gateway REST"),
            "{event}: {error}"
        );
    }
    let error = world
        .raw(r#"{"triggerSource":"DefineAuthChallenge_Authentication","request":{}}"#)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("Cognito sign-in needs the ledger"),
        "{error}"
    );
}

#[tokio::test]
async fn a_cognito_trigger_cannot_be_forged_in_a_body() {
    let world = World::new().await;
    let body = json!({ "triggerSource": "DefineAuthChallenge_Authentication", "destinationNumber": NUMBER });
    world
        .post("/otp/send", &body)
        .await
        .is_problem(400, "malformed_request");
}

/// A body that every caller may send.
fn public_body() -> Value {
    json!(json!({ "destinationNumber": NUMBER }).to_string())
}

fn without_principal(door: &str) -> Value {
    let mut event = file(&format!("send.{door}"));
    let context = event["requestContext"].as_object_mut().unwrap();
    context.remove("authorizer");
    context.remove("identity");
    event
}

pub(crate) fn fields(answer: &Value) -> Vec<&str> {
    let mut fields: Vec<&str> = answer
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    fields.sort_unstable();
    fields
}

pub(crate) fn shape(door: &str) -> Vec<&'static str> {
    match door {
        "rest-v1" => vec!["body", "headers", "isBase64Encoded", "statusCode"],
        "alb" => vec![
            "body",
            "headers",
            "isBase64Encoded",
            "statusCode",
            "statusDescription",
        ],
        _ => vec![
            "body",
            "cookies",
            "headers",
            "isBase64Encoded",
            "statusCode",
        ],
    }
}
