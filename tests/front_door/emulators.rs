//! HTTP events as emulators, test consoles and unusual settings of AWS write them, in all four shapes.

use super::origins::{DOORS, fields, shape};
use crate::world::{Answer, World, file};
use serde_json::{Value, json};

/// A world that lets everyone in. Only the reading of the event decides about the response.
async fn world() -> World {
    World::with(&[("API_AUTH", "trusted")]).await
}

fn send(door: &str) -> Value {
    file(&format!("send.{door}"))
}

/// The response, which must have the shape of the event.
async fn respond(world: &World, door: &str, event: &Value) -> Answer {
    let response = world.raw(&event.to_string()).await.unwrap();
    assert_eq!(fields(&response), shape(door), "{door}: {event}");
    Answer::read(&response)
}

/// The pointer of every field in a JSON value, at any depth.
fn pointers(value: &Value, path: &str, found: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let pointer = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
        pointers(value, &pointer, found);
        found.push(pointer);
    }
}

fn parent<'a>(event: &'a mut Value, pointer: &str) -> (&'a mut Value, String) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    (event.pointer_mut(parent).unwrap(), name.to_owned())
}

#[tokio::test]
async fn null_means_absent_for_every_field_of_every_shape() {
    for door in DOORS {
        let world = world().await;
        let original = send(door);
        let mut all = Vec::new();
        pointers(&original, "", &mut all);
        assert!(all.len() > 10, "{door}");
        for pointer in all {
            let (mut null, mut absent) = (original.clone(), original.clone());
            let (object, name) = parent(&mut null, &pointer);
            object[&name] = Value::Null;
            let (object, name) = parent(&mut absent, &pointer);
            object.as_object_mut().unwrap().remove(&name);
            let mut statuses = Vec::new();
            for event in [null, absent] {
                let answer = world.raw(&event.to_string()).await;
                // Without its context an event of a load balancer has no shape of its own.
                statuses.push(answer.map(|answer| Answer::read(&answer).status).unwrap());
            }
            let expected = match (door, pointer.as_str()) {
                (_, "/body" | "/requestContext")
                | (
                    "http-v2" | "function-url",
                    "/version"
                    | "/rawPath"
                    | "/requestContext/http"
                    | "/requestContext/http/method",
                )
                | ("rest-v1", "/path")
                | ("alb", "/path" | "/httpMethod" | "/requestContext/elb") => 400,
                ("rest-v1", "/multiValueHeaders/Content-Type")
                | ("http-v2" | "function-url" | "alb", "/headers" | "/headers/content-type") => 415,
                _ => 202,
            };
            assert_eq!(statuses, [expected, expected], "{door}: {pointer}");
        }
    }
}

#[tokio::test]
async fn headers_are_read_whichever_kind_the_event_has() {
    let world = world().await;
    let single = json!({ "Content-Type": "application/json", "X-Forwarded-For": "192.0.2.1" });
    let multi = json!({
        "Content-Type": ["application/json"], "X-Forwarded-For": ["192.0.2.1", "192.0.2.2"],
    });
    for door in DOORS {
        let mut event = send(door);
        event["headers"] = single.clone();
        event.as_object_mut().unwrap().remove("multiValueHeaders");
        assert_eq!(respond(&world, door, &event).await.status, 202, "{door}");
        event["multiValueHeaders"] = Value::Null;
        assert_eq!(respond(&world, door, &event).await.status, 202, "{door}");
    }
    // Only these two origins have multi-value headers. A load balancer gets them back.
    for (door, headers) in [("rest-v1", "headers"), ("alb", "multiValueHeaders")] {
        for absent in [None, Some(Value::Null)] {
            let mut event = send(door);
            event.as_object_mut().unwrap().remove("headers");
            event["multiValueHeaders"] = multi.clone();
            if let Some(null) = absent {
                event["headers"] = null;
            }
            let response = world.raw(&event.to_string()).await.unwrap();
            assert_eq!(response["statusCode"], 202, "{door}");
            assert!(response.get(headers).is_some(), "{door}: {response}");
        }
    }
}

#[tokio::test]
async fn without_headers_the_content_type_is_missing() {
    let world = world().await;
    for door in DOORS {
        for headers in [Value::Null, json!({})] {
            let mut event = send(door);
            event["headers"] = headers;
            event.as_object_mut().unwrap().remove("multiValueHeaders");
            let answer = respond(&world, door, &event).await;
            answer.is_problem(415, "unsupported_media_type");
        }
    }
}

#[tokio::test]
async fn two_content_types_are_not_json() {
    let world = world().await;
    for door in ["rest-v1", "alb"] {
        let mut event = send(door);
        event["multiValueHeaders"] = json!({ "content-type": ["application/json", "text/plain"] });
        world
            .event(&event)
            .await
            .is_problem(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn base64_bodies_are_decoded_in_every_shape() {
    let world = world().await;
    for door in DOORS {
        // {"destinationNumber":"+14255550142"}
        let mut event = send(door);
        event["body"] = json!("eyJkZXN0aW5hdGlvbk51bWJlciI6IisxNDI1NTU1MDE0MiJ9");
        event["isBase64Encoded"] = json!(true);
        assert_eq!(respond(&world, door, &event).await.status, 202, "{door}");
        // {"destinationNumber":"+14255550142"} and a blank, in base64url without padding
        event["body"] = json!("eyJkZXN0aW5hdGlvbk51bWJlciI6IisxNDI1NTU1MDE0MiJ9IA");
        let answer = respond(&world, door, &event).await;
        answer.is_problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn fields_that_emulators_leave_out_or_add_do_no_harm() {
    type Change = fn(&mut Value);
    let world = World::new().await;
    let cases: [(&str, Change); 12] = [
        ("rest-v1", |event| {
            event["requestContext"]
                .as_object_mut()
                .unwrap()
                .remove("httpMethod");
        }),
        ("rest-v1", |event| {
            event.as_object_mut().unwrap().remove("httpMethod");
        }),
        ("rest-v1", |event| {
            event["requestContext"] =
                json!({ "identity": { "userArn": "arn:aws:iam::123456789012:user/a" } });
        }),
        ("rest-v1", |event| {
            event["requestContext"]["requestTimeEpoch"] = json!("1795428000000");
            event["isBase64Encoded"] = Value::Null;
        }),
        ("rest-v1", |event| {
            event["queryStringParameters"] = json!({ "a": 1 });
            event["stageVariables"] = json!([]);
        }),
        ("http-v2", |event| event["isBase64Encoded"] = Value::Null),
        ("http-v2", |event| event["path"] = event["rawPath"].clone()),
        ("http-v2", |event| event["httpMethod"] = Value::Null),
        ("http-v2", |event| {
            event["requestContext"]["timeEpoch"] = Value::Null;
            event["cookies"] = json!("a=b");
        }),
        ("http-v2", |event| {
            event["requestContext"]["authorizer"]["iam"]["cognitoIdentity"] =
                json!({ "amr": null });
        }),
        ("http-v2", |event| {
            event["body"] = json!(r#"{"destinationNumber":"+14255550142"}"#);
            event["requestContext"]["authorizer"] = json!({ "jwt": { "claims": { "sub": "a", "exp": 1_795_428_000, "groups": ["x"], "email": null } } });
        }),
        ("function-url", |event| {
            event["requestContext"]["authentication"] = json!("none");
        }),
    ];
    for (case, (door, change)) in cases.iter().enumerate() {
        let mut event = send(door);
        change(&mut event);
        assert_eq!(
            respond(&world, door, &event).await.status,
            202,
            "case {case}: {event}"
        );
        assert_eq!(world.last_line()["origin"], *door, "case {case}");
    }
    let world = World::with(&[("API_AUTH", "trusted")]).await;
    let mut event = send("alb");
    event["requestContext"]["elb"] = json!({});
    event["queryStringParameters"] = Value::Null;
    assert_eq!(respond(&world, "alb", &event).await.status, 202);
}

#[tokio::test]
async fn a_guest_stays_a_guest_in_an_event_that_is_not_written_as_aws_writes_it() {
    let world = World::new().await;
    let mut event = send("http-v2");
    event["isBase64Encoded"] = Value::Null;
    event["requestContext"]["authorizer"]["iam"]["cognitoIdentity"] =
        json!({ "amr": ["unauthenticated", 7] });
    respond(&world, "http-v2", &event)
        .await
        .is_problem(403, "unauthenticated");
    let mut event = send("rest-v1");
    event["requestContext"]
        .as_object_mut()
        .unwrap()
        .remove("httpMethod");
    event["requestContext"]["identity"]["cognitoAuthenticationType"] = json!("unauthenticated");
    respond(&world, "rest-v1", &event)
        .await
        .is_problem(403, "unauthenticated");
}

#[tokio::test]
async fn a_stage_named_like_the_first_segment_of_the_routes_is_not_removed_from_them() {
    let world = world().await;
    for door in DOORS {
        let mut event = send(door);
        event["requestContext"]["stage"] = json!("otp");
        match door {
            "http-v2" | "function-url" => event["routeKey"] = json!("$default"),
            "rest-v1" => event["resource"] = json!("/{proxy+}"),
            _ => {}
        }
        assert_eq!(respond(&world, door, &event).await.status, 202, "{door}");
        let path = if event.get("rawPath").is_some() {
            "rawPath"
        } else {
            "path"
        };
        event[path] = json!("/otp/otp/send");
        let found = matches!(door, "http-v2" | "rest-v1");
        let status = if found { 202 } else { 404 };
        assert_eq!(respond(&world, door, &event).await.status, status, "{door}");
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_gets_a_400_in_its_own_shape() {
    let world = world().await;
    for door in DOORS {
        for (field, value) in [
            ("isBase64Encoded", json!("yes")),
            ("headers", json!("content-type: application/json")),
            ("headers", json!(["content-type"])),
        ] {
            let mut event = send(door);
            event.as_object_mut().unwrap().remove("multiValueHeaders");
            event[field] = value;
            let answer = respond(&world, door, &event).await;
            answer.is_problem(400, "malformed_request");
        }
    }
}

#[tokio::test]
async fn more_headers_than_a_header_map_holds_do_no_harm() {
    let world = world().await;
    for door in DOORS {
        let many = (0..40_000).map(|number| (format!("x{number}"), json!("")));
        let mut event = send(door);
        event["headers"] = Value::Object(many.collect());
        event.as_object_mut().unwrap().remove("multiValueHeaders");
        respond(&world, door, &event)
            .await
            .is_problem(400, "malformed_request");
    }
    let mut event = send("rest-v1");
    event["multiValueHeaders"] = json!({ "x": vec![""; 40_000] });
    respond(&world, "rest-v1", &event)
        .await
        .is_problem(400, "malformed_request");
}
