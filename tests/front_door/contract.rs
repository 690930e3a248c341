//! `docs/openapi.yaml` is the contract of the HTTP API. These tests compare it with the program.

use crate::document::{Exchange, document, mismatches, resolved};
use crate::with;
use crate::world::{Answer, NUMBER, World, post};
use otp_lambda::error::ErrorCode;
use otp_lambda::provider::Channel;
use serde_json::{Value, json};
use simulator::{Failure, Operation};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The operations by their paths.
fn operations() -> BTreeMap<&'static str, &'static Value> {
    let paths = document()["paths"].as_object().unwrap();
    paths
        .iter()
        .map(|(path, methods)| {
            assert_eq!(methods.as_object().unwrap().len(), 1, "{path}");
            (path.as_str(), &methods["post"])
        })
        .collect()
}

fn request_schema(operation: &Value) -> &'static Value {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let name = schema["$ref"].as_str().unwrap();
    document().pointer(name.trim_start_matches('#')).unwrap()
}

/// The schema of a member, with the keywords beside a `$ref`.
fn member(schema: &Value) -> Value {
    let mut member = resolved(document(), schema).as_object().unwrap().clone();
    let beside = schema.as_object().unwrap().iter();
    member.extend(beside.map(|(name, value)| (name.clone(), value.clone())));
    member.into()
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap().iter();
    list.filter_map(Value::as_str).collect()
}

/// The names in a sentence such as `Accepted: a, b, c.`
fn accepted(answer: &Answer) -> BTreeSet<String> {
    answer.is_problem(400, "malformed_request");
    let detail = answer.body["detail"].as_str().unwrap();
    let (_, list) = detail.split_once("Accepted: ").unwrap();
    let list = list.split('.').next().unwrap();
    list.split(", ").map(str::to_owned).collect()
}

fn without_caller(mut event: Value) -> Value {
    let context = event["requestContext"].as_object_mut().unwrap();
    context.remove("authorizer");
    event
}

#[tokio::test]
async fn the_document_has_the_routes_of_the_program() {
    let world = World::counted(&[]).await;
    let answer = world.post("/otp/other", &json!({})).await;
    answer.is_problem(404, "route_not_found");
    let detail = answer.body["detail"].as_str().unwrap();
    let routes: Vec<&str> = operations().keys().copied().collect();
    let mut listed: Vec<&str> = detail
        .split([' ', ','])
        .filter(|word| word.starts_with("/otp/"))
        .map(|word| word.trim_end_matches('.'))
        .collect();
    listed.sort_unstable();
    assert_eq!(routes, listed, "{detail}");
}

#[tokio::test]
async fn the_document_has_the_members_of_each_request() {
    let open = [("API_AUTH", "none")];
    let world = World::counted(&open).await;
    for (path, operation) in operations() {
        let properties = request_schema(operation)["properties"].as_object().unwrap();
        let all: BTreeSet<String> = properties.keys().cloned().collect();
        let event = post(path, r#"{"unknown":1}"#);
        assert_eq!(accepted(&world.event(&event).await), all, "{path}");

        let public = properties
            .iter()
            .filter(|(_, schema)| member(schema).get("x-backends-only").is_none());
        let public: BTreeSet<String> = public.map(|(name, _)| name.clone()).collect();
        let answer = world.event(&without_caller(event)).await;
        // A route with a security requirement is for backends alone.
        if operation["security"]
            .as_array()
            .unwrap()
            .contains(&json!({}))
        {
            assert_eq!(accepted(&answer), public, "{path}");
        } else {
            answer.is_problem(403, "unauthenticated");
        }
    }
}

/// A request with a good value for each member that is required.
fn least(path: &str) -> Value {
    match path {
        "/otp/verify" => json!({ "destinationNumber": NUMBER, "otp": "123456" }),
        _ => json!({ "destinationNumber": NUMBER }),
    }
}

/// Whether the program took the member, whatever else happened.
fn took(answer: &Answer, name: &str) -> bool {
    let refused = answer.code() == "invalid_parameter" && answer.body["field"] == name;
    assert!(
        refused || answer.code() != "malformed_request",
        "{answer:?}"
    );
    !refused
}

/// The values at the edges of a schema, and whether the schema takes them.
fn edges(name: &str, schema: &Value) -> Vec<(Value, bool)> {
    let number = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
    let text = |length: u64| json!("a".repeat(usize::try_from(length).unwrap()));
    let mut edges = Vec::new();
    if let (Some(least), Some(most)) = (number("minimum"), number("maximum")) {
        edges.extend([(json!(least), true), (json!(most), true)]);
        edges.extend([(json!(least - 1), false), (json!(most + 1), false)]);
        edges.extend([(json!(least.to_string()), false), (json!(1.5), false)]);
    }
    if let Some(least) = number("minLength") {
        edges.extend([(text(least), true), (text(least - 1), false)]);
    }
    if let Some(most) = number("maxLength") {
        edges.extend([(text(most), true), (text(most + 1), false)]);
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        let (_, most) = pattern.rsplit_once(',').unwrap();
        let most = most.trim_end_matches("}$").parse().unwrap();
        edges.extend([(text(1), true), (text(most), true), (json!("_-9Z"), true)]);
        edges.extend([
            (text(0), false),
            (text(most + 1), false),
            (json!("a.b"), false),
        ]);
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        edges.extend(values.iter().map(|value| (value.clone(), true)));
        edges.push((json!("pigeon"), false));
    }
    // JSON has no other types that a member could be mistaken for.
    let takes = |kind: &str| match &schema["type"] {
        Value::Array(types) => types.contains(&json!(kind)),
        one => one == kind,
    };
    edges.push((Value::Null, takes("null")));
    if !takes("boolean") {
        edges.push((json!(true), false));
    }
    if !takes("integer") {
        edges.push((json!(6), false));
    }
    edges.push((json!([name]), false));
    edges
}

#[tokio::test]
async fn the_document_has_the_range_of_each_member() {
    let mut tried = 0;
    for (path, operation) in operations() {
        let schema = request_schema(operation);
        for (name, schema) in schema["properties"].as_object().unwrap() {
            for (value, is_taken) in edges(name, &member(schema)) {
                let world = World::counted(&all_channels()).await;
                let mut body = least(path);
                body[name] = value.clone();
                let answer = world.post(path, &body).await;
                assert_eq!(
                    took(&answer, name),
                    is_taken,
                    "{path} {name} {value} {answer:?}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "{tried}");
}

/// The setting for every channel of the provider.
fn all_channels() -> Vec<(&'static str, &'static str)> {
    match with::NAME {
        otp_lambda::aws::pinpoint::NAME => vec![],
        _ => vec![
            ("CHANNELS", "sms,voice,whatsapp"),
            ("WHATSAPP_TEMPLATE", "verification_code"),
        ],
    }
}

#[tokio::test]
async fn the_document_says_which_members_are_required() {
    for (path, operation) in operations() {
        let required: BTreeSet<&str> = names(&request_schema(operation)["required"])
            .into_iter()
            .collect();
        let body = least(path);
        let given: BTreeSet<&str> = body
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(required, given, "{path}");
        for name in required {
            let world = World::counted(&[]).await;
            let mut body = body.clone();
            body.as_object_mut().unwrap().remove(name);
            let answer = world.post(path, &body).await;
            answer.is_problem(400, "invalid_parameter");
            assert_eq!(answer.body["field"], name, "{path}");
        }
        let world = World::counted(&[]).await;
        let answer = world.post(path, &body).await;
        assert_ne!(answer.status, 400, "{path} {answer:?}");
    }
}

#[test]
fn the_document_has_the_error_codes_with_their_statuses() {
    let schemas = &document()["components"]["schemas"];
    let all: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names(&schemas["ErrorCode"]["enum"]), all);

    let mut seen = BTreeSet::new();
    let operations = operations().into_values().map(|it| &it["responses"]);
    for responses in operations.chain([&document()["x-other-responses"]]) {
        for (status, response) in responses.as_object().unwrap() {
            let response = resolved(document(), response);
            let is_problem = response["content"]
                .get("application/problem+json")
                .is_some();
            assert_eq!(is_problem, response.get("x-codes").is_some(), "{status}");
            for name in response.get("x-codes").map_or(vec![], names) {
                let code = ErrorCode::ALL.iter().find(|code| code.name() == name);
                assert_eq!(
                    code.map(|code| code.status().to_string()).as_ref(),
                    Some(status)
                );
                seen.insert(name);
            }
        }
    }
    assert_eq!(seen, all.into_iter().collect());
    // No response lies there unused.
    let components = document()["components"]["responses"].as_object().unwrap();
    let text = document()["paths"].to_string() + &document()["x-other-responses"].to_string();
    for name in components.keys() {
        assert!(text.contains(&format!("/responses/{name}\"")), "{name}");
    }
}

#[test]
fn the_document_has_the_channels() {
    let listed = &document()["components"]["schemas"]["Channel"]["enum"];
    for name in names(listed) {
        assert!(Channel::named(name).is_some(), "{name}");
    }
}

/// Each header that a request may have, by what the program does with it.
#[tokio::test]
async fn the_document_has_the_headers_of_requests() {
    for (path, operation) in operations() {
        let parameters = operation["parameters"].as_array().unwrap();
        assert_eq!(parameters.len(), 3, "{path}");
        for parameter in parameters {
            let parameter = resolved(document(), parameter);
            let world = World::counted(&[]).await;
            let mut event = post(path, &least(path).to_string());
            let name = parameter["name"].as_str().unwrap();
            let example = parameter["example"].as_str().unwrap();
            event["headers"][name.to_lowercase()] = json!(example);
            let answer = world.event(&event).await;
            let returned = answer.headers.get("x-request-id");
            assert!(returned.is_none_or(|id| example.contains(id)), "{path}");
            assert_eq!(returned.is_none(), name == "Idempotency-Key", "{path}");

            event["headers"][name.to_lowercase()] = json!("k".repeat(65));
            let answer = world.event(&event).await;
            assert_eq!(answer.headers.get("x-request-id"), None, "{path}");
            if name == "Idempotency-Key" {
                answer.is_problem(400, "invalid_parameter");
                assert_eq!(answer.body["field"], name, "{path}");
            }
        }
    }
}

/// The value of each member that differs from run to run.
const VARYING: &[&str] = &[
    "referenceId",
    "messageId",
    "expiresAt",
    "expiresIn",
    "resendAt",
    "resendIn",
    "deviceToken",
];

/// The examples in the order in which they run.
const EXAMPLES: &[(&str, &str)] = &[
    ("/otp/send", "first"),
    ("/otp/send", "everything"),
    ("/otp/status", "pending"),
    ("/otp/verify", "right"),
    ("/otp/status", "verified"),
    ("/otp/status", "redeem"),
    ("/otp/cancel", "open"),
];

#[tokio::test]
async fn the_examples_of_the_document_work() {
    let mut all = Vec::new();
    for (path, operation) in operations() {
        let request = &operation["requestBody"]["content"]["application/json"];
        let examples = request["examples"].as_object().unwrap();
        all.extend(examples.keys().map(|name| (path, name.as_str())));
    }
    let mut listed = EXAMPLES.to_vec();
    listed.sort_unstable();
    all.sort_unstable();
    assert_eq!(all, listed);

    let world = World::counted(&[("DEVICE_TOKEN_DAYS", "30")]).await;
    let mut reference = (json!(null), json!(null));
    for (path, name) in EXAMPLES {
        let operation = operations()[path];
        let content = &operation["requestBody"]["content"]["application/json"];
        let mut request = content["examples"][name]["value"].clone();
        if request.get("otp").is_some() {
            request["otp"] = json!(world.newest_code());
        }
        if request.get("referenceId") == Some(&reference.0) {
            request["referenceId"] = reference.1.clone();
        }
        let answer = world.post(path, &request).await;
        let response = resolved(
            document(),
            &operation["responses"][answer.status.to_string()],
        );
        let content = &response["content"]["application/json"];
        let example = &content["examples"][name]["value"];
        assert_eq!(
            mismatches(document(), &content["schema"], example, name),
            [""; 0]
        );
        if *name == "first" {
            reference = (
                example["referenceId"].clone(),
                answer.body["referenceId"].clone(),
            );
        }
        let constant = |body: &Value| {
            let mut body = body.clone();
            for name in VARYING {
                body.get_mut(*name).map(Value::take);
            }
            body
        };
        assert_eq!(constant(&answer.body), constant(example), "{path} {name}");
    }
}

/// Requests with every kind of response, and with every member of a response.
async fn exchanges() -> Vec<Exchange> {
    let mut seen = Vec::new();
    let number = json!({ "destinationNumber": NUMBER });
    let with = |name: &str, value: Value| {
        let mut body = number.clone();
        body[name] = value;
        body
    };
    let tokens = [("DEVICE_TOKEN_DAYS", "30")];
    let world = World::counted(&[&tokens, all_channels().as_slice()].concat()).await;
    ask(&world, &mut seen, "/otp/send", &number).await;
    ask(&world, &mut seen, "/otp/send", &number).await;
    // Refused, and a moment later not.
    let dry_run = with("dryRun", json!(true));
    ask(&world, &mut seen, "/otp/send", &dry_run).await;
    world.advance(Duration::from_secs(31));
    ask(&world, &mut seen, "/otp/send", &dry_run).await;
    ask(
        &world,
        &mut seen,
        "/otp/send",
        &with("codeLength", json!(8)),
    )
    .await;
    let code = world.newest_code();
    let wrong = if code == "123456" { "123457" } else { "123456" };
    ask(&world, &mut seen, "/otp/verify", &with("otp", json!(wrong))).await;
    ask(&world, &mut seen, "/otp/status", &number).await;
    ask(&world, &mut seen, "/otp/verify", &with("otp", json!(code))).await;
    ask(&world, &mut seen, "/otp/status", &number).await;
    ask(
        &world,
        &mut seen,
        "/otp/status",
        &with("claim", json!(true)),
    )
    .await;
    ask(&world, &mut seen, "/otp/cancel", &number).await;
    let long = with("codeLength", json!(8));
    let long = {
        let mut long = long;
        long["destinationNumber"] = json!("+14255550143");
        long
    };
    ask(&world, &mut seen, "/otp/send", &long).await;

    let world = World::with(&[]).await;
    ask(&world, &mut seen, "/otp/send", &number).await;
    let code = world.newest_code();
    ask(&world, &mut seen, "/otp/verify", &with("otp", json!(code))).await;
    ask(
        &world,
        &mut seen,
        "/otp/send",
        &with("codeLength", json!(9)),
    )
    .await;
    world
        .simulator
        .fail_next(Operation::Send, Failure::CloseAfterReading);
    ask(&world, &mut seen, "/otp/send", &number).await;

    let limits = [("SEND_LIMITS", "1/1h")];
    let world = World::counted(&limits).await;
    ask(&world, &mut seen, "/otp/send", &number).await;
    world.advance(Duration::from_secs(31));
    ask(&world, &mut seen, "/otp/send", &number).await;

    let random = [("REFERENCE_ID", "random")];
    let world = World::counted(&random).await;
    ask(&world, &mut seen, "/otp/send", &dry_run).await;

    let test = [("TEST_NUMBERS", "+14255550142=123456@2099-01-31")];
    let world = World::counted(&test).await;
    ask(&world, &mut seen, "/otp/send", &number).await;
    seen
}

async fn ask(world: &World, seen: &mut Vec<Exchange>, path: &str, body: &Value) {
    let event = post(path, &body.to_string());
    let answer = world.raw(&event.to_string()).await.unwrap();
    seen.extend(Exchange::read(document(), &event, &answer));
}

/// The name of the schema that a response has.
fn schema_of(exchange: &Exchange) -> &'static str {
    let operation = operations()[exchange.path.as_deref().unwrap()];
    if exchange.status >= 400 {
        return "Problem";
    }
    match (
        operation["operationId"].as_str().unwrap(),
        exchange.body.get("claimed"),
    ) {
        ("send", _) if exchange.status == 200 => "DryRun",
        ("send", _) => "Sent",
        ("verify", _) => "Verified",
        ("status", None) => "VerificationStatus",
        ("status", Some(_)) => "Redeemed",
        _ => "Canceled",
    }
}

/// No member of the document is a promise that the program does not keep, and no member is optional for nothing.
#[tokio::test]
async fn each_member_of_a_response_occurs_and_the_optional_ones_do_not_always_occur() {
    let mut seen: BTreeMap<&str, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for exchange in Box::pin(exchanges()).await {
        let members: BTreeSet<String> =
            exchange.body.as_object().unwrap().keys().cloned().collect();
        let (ever, always) = seen
            .entry(schema_of(&exchange))
            .or_insert_with(|| (BTreeSet::new(), members.clone()));
        always.retain(|name| members.contains(name));
        ever.extend(members);
    }
    assert_eq!(seen.len(), 7);
    for (name, (mut ever, always)) in seen {
        let schema = &document()["components"]["schemas"][name];
        if name == "Sent" && all_channels().is_empty() {
            // A resend has no other channel to offer.
            ever.insert("next".to_owned());
        }
        if name == "DryRun" {
            // There are no prices here, and Pinpoint writes the text itself.
            ever.extend(["price", "text"].map(str::to_owned));
        }
        let all: BTreeSet<String> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(ever, all, "{name}");
        let required: BTreeSet<String> = names(&schema["required"])
            .into_iter()
            .map(str::to_owned)
            .collect();
        assert_eq!(always, required, "{name}");
    }
}

/// Damages of the document: a place, a member there, its new value if it is not removed, and a part of the difference
/// that must be found.
const DAMAGES: &[(&str, &str, Option<&str>, &str)] = &[
    // A member is missing, in a response, in a problem document and in a request.
    (
        "/components/schemas/Sent/properties",
        "attemptsLeft",
        None,
        "response.attemptsLeft is not",
    ),
    (
        "/components/schemas/Problem/properties",
        "delivery",
        None,
        "response.delivery is not",
    ),
    (
        "/components/schemas/SendRequest/properties",
        "codeLength",
        None,
        "request.codeLength is not",
    ),
    (
        "/components/schemas/DryRun/properties",
        "segments",
        None,
        "response.segments is not",
    ),
    (
        "/components/schemas/Rule/properties",
        "freesAt",
        None,
        "freesAt is not",
    ),
    (
        "/paths/~1otp~1send/post",
        "x-dry-run-response",
        None,
        "is not in the document",
    ),
    // A range, a list or a constant is another one.
    (
        "/components/schemas/Sent/properties/codeLength",
        "maximum",
        Some("7"),
        "maximum 7",
    ),
    (
        "/components/schemas/SendRequest/properties/codeLength",
        "maximum",
        Some("7"),
        "maximum 7",
    ),
    (
        "/components/schemas/Status",
        "enum",
        Some(r#"["pending"]"#),
        "enum",
    ),
    (
        "/components/schemas/Verified/properties/valid",
        "x-always",
        Some("false"),
        "x-always",
    ),
    (
        "/components/schemas/Sent/properties/expiresIn",
        "type",
        Some(r#""string""#),
        "type",
    ),
    (
        "/components/schemas/ReferenceId",
        "pattern",
        Some(r#""^[a-f]$""#),
        "pattern",
    ),
    // A member is required that does not always occur.
    (
        "/components/schemas/Verified",
        "required",
        Some(r#"["deviceToken"]"#),
        "without deviceToken",
    ),
    // An error code, a status, a header or a content type is missing.
    (
        "/components/responses/SendTooMany",
        "x-codes",
        Some(r#"["rate_limited"]"#),
        "resend_too_soon",
    ),
    (
        "/paths/~1otp~1send/post/responses",
        "429",
        None,
        "is not in the document",
    ),
    (
        "/components/responses/SendTooMany/headers",
        "Retry-After",
        None,
        "the header retry-after",
    ),
    (
        "/components/responses/SendTooMany/content",
        "application/problem+json",
        None,
        "content type",
    ),
    (
        "/components/headers/RetryAfter/schema",
        "type",
        Some(r#""null""#),
        "retry-after",
    ),
    // A header is promised that does not come.
    (
        "/components/headers/IdempotencyKeyUsed",
        "required",
        Some("true"),
        "without the header",
    ),
    // A keyword that the comparison does not know.
    (
        "/components/schemas/Sent",
        "minProperties",
        Some("1"),
        "minProperties",
    ),
];

/// The control of the comparison in [`World::text`]: it finds each kind of damage to the document.
#[tokio::test]
async fn a_document_that_promises_something_else_is_found() {
    let exchanges = Box::pin(exchanges()).await;
    let differences = |document: &Value| -> Vec<String> {
        let found = exchanges.iter().flat_map(|it| it.differences(document));
        found.collect()
    };
    assert_eq!(differences(document()), [""; 0]);

    for (place, member, value, says) in DAMAGES {
        let mut damaged = document().clone();
        let place = damaged
            .pointer_mut(place)
            .unwrap_or_else(|| panic!("{place}"));
        let members = place.as_object_mut().unwrap();
        match value {
            Some(value) => {
                members.insert((*member).to_owned(), serde_json::from_str(value).unwrap())
            }
            None => members.remove(*member),
        };
        let found = differences(&damaged);
        assert!(
            found.iter().any(|it| it.contains(says)),
            "{member}: {found:?}"
        );
    }
}
