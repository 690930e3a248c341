//! Events that no honest client causes. Each response is a 4xx: no panic, no 5xx.

use crate::world::{NUMBER, World, file, post};
use proptest::prelude::*;
use serde_json::{Value, json};
use simulator::{Operation, sized};

#[tokio::test]
async fn hostile_bodies_get_a_4xx_problem() {
    let world = World::new().await;
    let deep = format!(
        "{{\"destinationNumber\":{}1{}}}",
        "[".repeat(1500),
        "]".repeat(1500)
    );
    let number = format!("\"destinationNumber\":\"{NUMBER}\"");
    for (body, status, code) in [
        ("", 400, "malformed_request"),
        ("   ", 400, "malformed_request"),
        ("[]", 400, "malformed_request"),
        ("null", 400, "malformed_request"),
        ("{", 400, "malformed_request"),
        ("\u{feff}{}", 400, "malformed_request"),
        (deep.as_str(), 400, "malformed_request"),
        (&format!("{{{number},{number}}}"), 400, "malformed_request"),
        (
            &format!("{{{number},\"destination\\u004eumber\":\"+14255550143\"}}"),
            400,
            "malformed_request",
        ),
        (
            &format!("{{{number},\"admin\":true}}"),
            400,
            "malformed_request",
        ),
        (
            &format!("{{{number},\"__proto__\":{{}}}}"),
            400,
            "malformed_request",
        ),
        (
            &format!("{{{number},\"source\":\"\\ud800\"}}"),
            400,
            "malformed_request",
        ),
        (
            &format!("{{{number},\"codeLength\":1e400}}"),
            400,
            "malformed_request",
        ),
        (
            &format!("{{{number},\"codeLength\":6.0}}"),
            400,
            "invalid_parameter",
        ),
        (&format!("{{{number}}} trailing"), 400, "malformed_request"),
        (&format!("{{{number},}}"), 400, "malformed_request"),
        (&format!("{{{number}/**/}}"), 400, "malformed_request"),
        (
            &format!("{{{number},\"source\":\"{}\"}}", "x".repeat(4096)),
            413,
            "body_too_large",
        ),
    ] {
        world
            .event(&post("/otp/send", body))
            .await
            .is_problem(status, code);
    }
    assert_eq!(world.simulator.requests(Operation::Send).len(), 0);
}

#[tokio::test]
async fn a_body_may_have_4096_bytes_and_no_more() {
    let world = World::new().await;
    let body = |length: usize| {
        format!(
            "{:length$}",
            json!({ "destinationNumber": NUMBER }).to_string()
        )
    };
    assert_eq!(
        world.event(&post("/otp/send", &body(4096))).await.status,
        202
    );
    world
        .event(&post("/otp/send", &body(4097)))
        .await
        .is_problem(413, "body_too_large");

    let encoded = |length: usize| {
        use base64::Engine;
        let mut event = post(
            "/otp/send",
            &base64::engine::general_purpose::STANDARD.encode(body(length)),
        );
        event["isBase64Encoded"] = json!(true);
        event
    };
    assert_eq!(world.event(&encoded(4096)).await.status, 202);
    world
        .event(&encoded(4097))
        .await
        .is_problem(413, "body_too_large");
}

#[tokio::test]
async fn seven_megabytes_are_rejected_before_they_are_decoded() {
    let world = World::new().await;
    let texts = [
        ("x", false),
        ("A", true),
        ("[", false),
        ("\u{1F600}", false),
    ];
    for (text, encoded) in texts.into_iter().take(sized(1, 4)) {
        let mut event = post("/otp/send", &text.repeat(7 * 1024 * 1024 / text.len()));
        event["isBase64Encoded"] = json!(encoded);
        world.event(&event).await.is_problem(413, "body_too_large");
    }
}

#[tokio::test]
async fn bad_base64_is_400() {
    let world = World::new().await;
    for body in [
        "%%%",
        "e30",
        "e30==",
        "e30=\n",
        "e\u{301}",
        "====",
        "\u{feff}e30=",
    ] {
        let mut event = post("/otp/send", body);
        event["isBase64Encoded"] = json!(true);
        world
            .event(&event)
            .await
            .is_problem(400, "malformed_request");
    }
    // Not UTF-8 inside: {"source":"\xff"}
    let mut event = post("/otp/send", "eyJzb3VyY2UiOiL/In0=");
    event["isBase64Encoded"] = json!(true);
    world
        .event(&event)
        .await
        .is_problem(400, "malformed_request");
}

#[tokio::test]
async fn odd_fields_of_an_event_do_no_harm() {
    let world = World::new().await;
    for (pointer, value, status) in [
        ("/rawQueryString", json!("a=\u{1}\u{7f}%%&<>{}|\\^` é"), 202),
        (
            "/queryStringParameters",
            json!({ "a": null, "b": ["x"], "c": { "d": 1 } }),
            202,
        ),
        ("/headers/host", json!("two words"), 202),
        ("/headers/host", json!("exa\u{0}mple:99999999"), 202),
        ("/headers/x", json!("line\r\nbreak: 1"), 202),
        ("/headers/x", json!(null), 202),
        ("/headers/x", json!(7), 202),
        ("/headers", json!(null), 415),
        ("/headers", json!("content-type: application/json"), 400),
        ("/headers", json!([]), 400),
        (
            "/multiValueHeaders",
            json!({ "content-type": ["application/json", "text/plain"] }),
            202,
        ),
        ("/cookies", json!({ "not": "a list" }), 202),
        ("/body", json!(null), 400),
        ("/body", json!({ "destinationNumber": NUMBER }), 400),
        ("/body", json!(7), 400),
        ("/isBase64Encoded", json!("yes"), 400),
        ("/isBase64Encoded", json!(null), 202),
        ("/rawPath", json!(null), 400),
        ("/rawPath", json!(["/otp/send"]), 400),
        ("/requestContext/http/method", json!(null), 400),
        ("/requestContext/http/method", json!({}), 400),
        ("/requestContext/stage", json!({}), 202),
        ("/requestContext/authorizer", json!([[[]]]), 403),
        ("/pathParameters", json!("x"), 202),
        ("/routeKey", json!(0), 202),
    ] {
        let mut event = file("send.http-v2");
        set(&mut event, pointer, value.clone());
        let answer = world.event(&event).await;
        assert_eq!(answer.status, status, "{pointer} = {value}: {answer:?}");
    }
}

#[tokio::test]
async fn a_lone_surrogate_anywhere_in_an_event_is_400() {
    let world = World::new().await;
    let event = file("send.http-v2").to_string();
    for (from, to) in [
        (r#""backend/1.0""#, r#""\ud800""#),
        (r#""rawQueryString":"""#, r#""rawQueryString":"\udc00""#),
        (r#""rawPath":"/otp/send""#, r#""rawPath":"/otp/send\ud800""#),
        (
            r#""content-type":"application/json""#,
            r#""content-type":"application/json\ud800""#,
        ),
        (r#""body":"{"#, r#""body":"\ud800{"#),
    ] {
        assert!(event.contains(from), "{from}");
        let answer =
            crate::world::Answer::read(&world.raw(&event.replace(from, to)).await.unwrap());
        answer.is_problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn deep_nesting_anywhere_in_an_event_does_no_harm() {
    let world = World::new().await;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for field in [
        "rawQueryString",
        "cookies",
        "headers",
        "body",
        "pathParameters",
        "isBase64Encoded",
        "unheardOf",
    ] {
        let mut event = file("send.http-v2");
        event.as_object_mut().unwrap().remove(field);
        let event = event.to_string();
        let event = format!("{},\"{field}\":{deep}}}", event.strip_suffix('}').unwrap());
        let answer = crate::world::Answer::read(&world.raw(&event).await.unwrap());
        assert!(answer.status < 500, "{field}: {answer:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: sized(50, 400), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a client writes into the request, the response is one of ours and not a 5xx.
    #[test]
    fn no_request_causes_a_5xx(body in ".*", path in "(/[a-z%.]{0,6}){0,4}", header in ".*", method in "[A-Za-z]{0,7}", encoded: bool, field in json_value()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut event = file("send.http-v2");
            event["rawPath"] = json!(path);
            event["routeKey"] = json!("$default");
            event["body"] = json!(body);
            event["isBase64Encoded"] = json!(encoded);
            event["headers"]["x"] = json!(header);
            event["requestContext"]["http"]["method"] = json!(method);
            assert!((400..500).contains(&world.event(&event).await.status));
            let answer = world.post("/otp/send", &json!({ "destinationNumber": field })).await;
            assert!((400..500).contains(&answer.status));
            assert_eq!(world.simulator.requests(Operation::Send).len(), 0);
        });
    }

    /// Only the exact method and path reach a handler.
    #[test]
    fn only_the_exact_method_and_path_reach_a_handler(path in "/?(otp|OTP|o%74p|send|\\.\\.|/){0,4}/?(send|verify|sen|SEND|send/)?", method in "(POST|GET|post|POS|POSTS|)") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut event = post(&path, &json!({}).to_string());
            event["routeKey"] = json!("$default");
            event["requestContext"]["http"]["method"] = json!(method);
            let answer = world.event(&event).await;
            let exact = path == "/otp/send" || path == "/otp/verify";
            let expected = match (exact, method == "POST") {
                (true, true) => (400, "invalid_parameter"),
                (true, false) => (405, "method_not_allowed"),
                (false, _) => (404, "route_not_found"),
            };
            assert_eq!((answer.status, answer.code()), expected);
        });
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".*".prop_map(Value::from),
        "\\+?[0-9 ()-]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn set(event: &mut Value, pointer: &str, value: Value) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap()[field] = value;
}
