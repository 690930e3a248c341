//! How far each kind of caller is trusted, at each door.

use super::origins::DOORS;
use crate::world::{Answer, KEY, NUMBER, World, file};
use otp_lambda::settings::SETTINGS;
use serde_json::{Value, json};
use simulator::Operation;

const POOL: &str = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Ex4mple";
const ROLE: &str = "arn:aws:sts::123456789012:assumed-role/app/CognitoIdentityCredentials";
const IDENTITY: &str = "us-east-1:8f5a1a2e-6c0b-4b44-9d2e-1d6c1f3a7b10";

/// How far a caller is trusted while the operator has named nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Backend,
    User,
    Nobody,
}

use Trust::{Backend, Nobody, User};

/// A kind of caller, as a door describes it.
struct Kind {
    name: &'static str,
    door: &'static str,
    /// The members of the request context.
    context: Value,
    trust: Trust,
    /// The entry of `TRUSTED_PRINCIPALS` that makes the caller a backend.
    entry: Option<String>,
}

fn kind(name: &'static str, door: &'static str, context: Value, trust: Trust) -> Kind {
    Kind {
        name,
        door,
        context,
        trust,
        entry: None,
    }
}

impl Kind {
    fn or_by(self, entry: impl Into<String>) -> Self {
        let entry = Some(entry.into());
        Self { entry, ..self }
    }

    /// The event of this caller, from `address`.
    fn event(&self, operation: &str, body: &Value, address: &str) -> Value {
        let mut event = file(&format!("{operation}.{}", self.door));
        event["body"] = json!(body.to_string());
        event["isBase64Encoded"] = json!(false);
        let context = event["requestContext"].as_object_mut().unwrap();
        context.remove("authorizer");
        context.remove("identity");
        for (name, value) in self.context.as_object().unwrap() {
            context.insert(name.clone(), value.clone());
        }
        match self.door {
            "rest-v1" => event["requestContext"]["identity"]["sourceIp"] = json!(address),
            "alb" => event["headers"]["x-forwarded-for"] = json!(address),
            _ => event["requestContext"]["http"]["sourceIp"] = json!(address),
        }
        event
    }

    async fn ask(&self, world: &World, operation: &str, body: &Value) -> Answer {
        let event = self.event(operation, body, "192.0.2.1");
        world.event(&event).await
    }
}

fn iam(arn: &str, pool: &Value) -> Value {
    json!({ "authorizer": { "iam": { "accountId": "123456789012", "userArn": arn, "cognitoIdentity": pool } } })
}

fn rest(arn: &str, kind: &Value, id: &Value) -> Value {
    json!({ "identity": { "userArn": arn, "cognitoAuthenticationType": kind, "cognitoIdentityId": id } })
}

fn jwt(claims: &Value) -> Value {
    json!({ "authorizer": { "jwt": { "claims": claims, "scopes": null } } })
}

/// The token of an app's user. It also names the app's client. Its `principalId` is a claim that users can choose.
fn user_claims() -> Value {
    json!({
        "iss": POOL, "sub": "b7e1", "client_id": "app1", "username": "jane", "token_use": "access",
        "principalId": "app1",
    })
}

fn client_claims() -> Value {
    json!({ "iss": POOL, "sub": "backend1", "client_id": "backend1", "token_use": "access", "scope": "otp/all" })
}

/// Each kind of caller at each door where it can occur.
fn kinds() -> Vec<Kind> {
    let role = "arn:aws:sts::123456789012:assumed-role/backend/i-0abc";
    let user = "arn:aws:iam::123456789012:user/backend";
    let users = json!({ "amr": ["authenticated", POOL], "identityId": IDENTITY, "identityPoolId": "us-east-1:p" });
    let guests = json!({ "amr": ["unauthenticated"], "identityId": IDENTITY, "identityPoolId": "us-east-1:p" });
    let app_role = "arn:aws:iam::123456789012:role/web/app";
    let user_entry = format!("sub=b7e1@{POOL}");
    let client_entry = format!("client=backend1@{POOL}");
    let claims = |claims: Value| json!({ "authorizer": { "claims": claims } });
    let none = || json!({});
    vec![
        kind("IAM role", "http-v2", iam(role, &json!(null)), Backend),
        kind("IAM role", "function-url", iam(role, &json!(null)), Backend),
        kind("IAM role", "rest-v1", rest(role, &json!(null), &json!(null)), Backend),
        kind("IAM user", "http-v2", iam(user, &json!(null)), Backend),
        kind("IAM user", "function-url", iam(user, &json!(null)), Backend),
        kind("IAM user", "rest-v1", rest(user, &json!(null), &json!(null)), Backend),
        kind("identity pool", "http-v2", iam(ROLE, &users), User).or_by(app_role),
        kind("identity pool", "rest-v1", rest(ROLE, &json!("authenticated"), &json!(IDENTITY)), User).or_by(app_role),
        // A function URL does not say whether this is a guest.
        kind("identity pool", "function-url", iam(ROLE, &json!(null)), Nobody).or_by(app_role),
        kind("guest", "http-v2", iam(ROLE, &guests), Nobody),
        kind("guest", "rest-v1", rest(ROLE, &json!("unauthenticated"), &json!(IDENTITY)), Nobody),
        kind("JWT user", "http-v2", jwt(&user_claims()), User).or_by(&user_entry),
        // An HTTP API with payload 1.0.
        kind("JWT user", "rest-v1", claims(user_claims()), User).or_by(&user_entry),
        kind("JWT client", "http-v2", jwt(&client_claims()), User).or_by(&client_entry),
        kind("JWT client", "rest-v1", claims(client_claims()), User).or_by(&client_entry),
        kind(
            "JWT client of Auth0",
            "http-v2",
            jwt(&json!({ "iss": "https://x.auth0.com/", "sub": "abc@clients", "azp": "abc" })),
            User,
        )
        .or_by("client=abc@https://x.auth0.com/"),
        kind("Cognito authorizer", "rest-v1", claims(json!({ "iss": POOL, "sub": "b7e1", "aud": "app1" })), User)
            .or_by(&user_entry),
        kind(
            "Lambda authorizer",
            "http-v2",
            json!({ "authorizer": { "lambda": { "principalId": "partner@example.com" } } }),
            User,
        )
        .or_by("sub=partner@example.com"),
        kind(
            "Lambda authorizer",
            "rest-v1",
            json!({ "authorizer": { "principalId": "partner@example.com", "integrationLatency": 7 } }),
            User,
        )
        .or_by("sub=partner@example.com"),
        kind("Lambda authorizer without a name", "http-v2", json!({ "authorizer": { "lambda": { "tenant": "a" } } }), User),
        kind("no signature", "http-v2", none(), Nobody),
        kind("no signature", "rest-v1", none(), Nobody),
        kind("no signature", "function-url", none(), Nobody),
        kind("load balancer", "alb", none(), Nobody),
    ]
}

fn number(last: usize) -> String {
    // Lower ones are scenario numbers of the simulator.
    format!("+1425555{:04}", 168 + last)
}

/// Tries all that a caller may do: sends with a field for backends, plain sends, status and redeem.
async fn behaves_as(kind: &Kind, world: &World, trust: Trust, to: &str) {
    let plain = json!({ "destinationNumber": to });
    let branded = json!({ "destinationNumber": to, "brandName": "Mine", "clientIp": "192.0.2.77" });
    let claim = json!({ "destinationNumber": to, "referenceId": "r", "claim": true });
    let what = format!("{} at {}", kind.name, kind.door);
    let refused = kind.ask(world, "send", &branded).await;
    match trust {
        Backend => assert_eq!(refused.status, 202, "{what}: {refused:?}"),
        User => refused.is_problem(400, "malformed_request"),
        Nobody => refused.is_problem(403, "unauthenticated"),
    }
    let asked = world.simulator.requests(Operation::Send).len();
    let sent = kind.ask(world, "send", &plain).await;
    match trust {
        // The first message was sent a moment ago.
        Backend => sent.is_problem(429, "rate_limited"),
        User => assert_eq!(sent.status, 202, "{what}: {sent:?}"),
        Nobody => sent.is_problem(403, "unauthenticated"),
    }
    let more = usize::from(trust == User);
    assert_eq!(
        world.simulator.requests(Operation::Send).len(),
        asked + more,
        "{what}"
    );
    for (operation, body) in [("status", &plain), ("status", &claim), ("cancel", &plain)] {
        let answer = kind.ask(world, operation, body).await;
        match trust {
            Backend => assert_ne!(answer.status, 403, "{what} {operation}: {answer:?}"),
            User => answer.is_problem(403, "caller_not_trusted"),
            Nobody => answer.is_problem(403, "unauthenticated"),
        }
    }
}

#[tokio::test]
async fn only_iam_makes_a_backend_until_the_operator_names_others() {
    let world = World::counted(&[("REFERENCE_ID", "derived"), ("SOURCE_LIMITS", "none")]).await;
    for (nth, kind) in kinds().iter().enumerate() {
        behaves_as(kind, &world, kind.trust, &number(nth)).await;
    }
}

#[tokio::test]
async fn a_principal_that_the_operator_names_is_a_backend() {
    for (nth, kind) in kinds().iter().enumerate() {
        let Some(entry) = &kind.entry else { continue };
        let settings = [
            ("TRUSTED_PRINCIPALS", entry.as_str()),
            ("REFERENCE_ID", "derived"),
        ];
        let world = World::counted(&settings).await;
        behaves_as(kind, &world, Backend, &number(nth)).await;
    }
}

#[tokio::test]
async fn a_principal_that_only_resembles_a_named_one_is_none() {
    let other = POOL.replace("Ex4mple", "0ther");
    let own_client = format!("client=app1@{POOL}");
    for (named, entries) in [
        (
            "identity pool",
            vec![
                "arn:aws:iam::999999999999:role/web/app".to_owned(),
                "arn:aws:iam::123456789012:role/web".to_owned(),
                "sub=app".to_owned(),
            ],
        ),
        // The tokens of an app's users name the app's client. This does not make the users backends.
        (
            "JWT user",
            vec![
                own_client,
                format!("sub=b7e1@{other}"),
                "sub=b7e1".to_owned(),
                format!("sub=jane@{POOL}"),
            ],
        ),
        (
            "JWT client",
            vec![
                format!("client=backend1@{other}"),
                "client=backend1".to_owned(),
            ],
        ),
        (
            "Lambda authorizer",
            vec![
                format!("sub=partner@example.com@{POOL}"),
                "sub=partner".to_owned(),
            ],
        ),
        (
            "Lambda authorizer without a name",
            vec!["sub=a".to_owned(), "client=a".to_owned()],
        ),
        (
            "guest",
            vec!["arn:aws:iam::123456789012:role/app".to_owned()],
        ),
    ] {
        for entry in entries {
            let settings = [
                ("TRUSTED_PRINCIPALS", entry.as_str()),
                ("SOURCE_LIMITS", "none"),
            ];
            let world = World::counted(&settings).await;
            for (nth, kind) in kinds()
                .iter()
                .enumerate()
                .filter(|(_, kind)| kind.name == named)
            {
                behaves_as(kind, &world, kind.trust, &number(nth)).await;
            }
        }
    }
}

/// The kind of this name at this door.
fn one(name: &str, door: &str) -> Kind {
    let mut kinds = kinds().into_iter();
    kinds
        .find(|kind| kind.name == name && kind.door == door)
        .unwrap()
}

#[tokio::test]
async fn a_refusal_says_which_setting_to_set_until_somebody_is_named() {
    let user = one("JWT user", "http-v2");
    let branded = json!({ "destinationNumber": NUMBER, "brandName": "Mine" });
    let claim = json!({ "destinationNumber": NUMBER, "claim": true });
    for (settings, is_said) in [
        (&[][..], true),
        (&[("TRUSTED_PRINCIPALS", "sub=somebody-else")][..], false),
    ] {
        let world = World::counted(settings).await;
        for answer in [
            user.ask(&world, "send", &branded).await,
            user.ask(&world, "status", &claim).await,
        ] {
            let detail = answer.body["detail"].as_str().unwrap();
            assert_eq!(detail.contains("TRUSTED_PRINCIPALS"), is_said, "{detail}");
        }
        // A field that nobody may set is not refused for lack of trust.
        let unknown = json!({ "destinationNumber": NUMBER, "brand": "Mine" });
        let answer = user.ask(&world, "send", &unknown).await;
        answer.is_problem(400, "malformed_request");
        assert!(
            !answer.body["detail"]
                .as_str()
                .unwrap()
                .contains("TRUSTED_PRINCIPALS")
        );
    }
}

/// Failures of which only the operator can do something about the cause.
#[tokio::test]
async fn strangers_do_not_see_sentences_for_the_operator() {
    let strangers = [
        one("JWT user", "http-v2"),
        one("no signature", "function-url"),
        one("load balancer", "alb"),
    ];
    let open = [
        ("API_AUTH", "none"),
        ("SEND_LIMITS", "20/30d"),
        ("SOURCE_LIMITS", "1000/24h"),
        ("TRUSTED_PRINCIPALS", "sub=x"),
    ];
    let world = World::counted(&open).await;
    let backend = one("IAM role", "http-v2");
    let speaks_to_the_operator = |answer: &Answer| {
        let detail = answer.body["detail"].as_str().unwrap();
        let names = SETTINGS.iter().any(|setting| detail.contains(setting.name));
        names
            || ["perator:", "role", "mobiletargeting", "sms-voice"]
                .iter()
                .any(|words| detail.contains(words))
    };
    for (failure, _) in crate::with::HINTS {
        let send = json!({ "destinationNumber": number(20) });
        for kind in &strangers {
            world.simulator.fail_next(Operation::Send, failure.clone());
            let answer = kind.ask(&world, "send", &send).await;
            answer.is_problem(500, "misconfigured");
            assert!(!speaks_to_the_operator(&answer), "{answer:?}");
            // The operator reads it in the log.
            let cause = world.last_line()["cause"].as_str().unwrap().to_owned();
            assert!(cause.contains("Operator:"), "{cause}");
        }
        // The control: a backend sees it.
        world.simulator.fail_next(Operation::Send, failure.clone());
        let answer = backend.ask(&world, "send", &send).await;
        assert!(speaks_to_the_operator(&answer), "{answer:?}");
    }
    let unknown = json!({ "destinationNumber": "+881612345678" });
    for kind in &strangers {
        let answer = kind.ask(&world, "send", &unknown).await;
        answer.is_problem(403, "country_unknown");
        assert!(!speaks_to_the_operator(&answer), "{answer:?}");
        let answer = kind.ask(&world, "cancel", &unknown).await;
        assert_eq!(answer.status, 403);
        assert!(!speaks_to_the_operator(&answer), "{answer:?}");
    }
    let answer = backend.ask(&world, "send", &unknown).await;
    assert!(speaks_to_the_operator(&answer), "{answer:?}");
}

#[tokio::test]
async fn users_are_counted_by_the_address_of_their_connection() {
    for kind in kinds().iter().filter(|kind| kind.trust != Nobody) {
        let world = World::counted(&[("SOURCE_LIMITS", "2/24h")]).await;
        let mut statuses = Vec::new();
        for nth in 0..3 {
            let body = json!({ "destinationNumber": number(nth) });
            statuses.push(kind.ask(&world, "send", &body).await.status);
        }
        // The setting allows two requests for each address. A user counts under the address of the connection, so the
        // third request is refused. A backend names the address of its user itself. The machines of a backend share the
        // address of their connection, and this shared address does not count.
        let third = if kind.trust == User { 429 } else { 202 };
        assert_eq!(
            statuses,
            [202, 202, third],
            "{} at {}",
            kind.name,
            kind.door
        );
        let elsewhere = kind.event(
            "send",
            &json!({ "destinationNumber": number(3) }),
            "192.0.2.2",
        );
        assert_eq!(world.event(&elsewhere).await.status, 202);
    }
}

/// In front of `jwt`, an authorizer checks the tokens of send and verify. Status and cancel are signed.
#[tokio::test]
async fn with_jwt_the_event_must_name_a_caller() {
    let world = World::counted(&[("API_AUTH", "jwt")]).await;
    let body = json!({ "destinationNumber": NUMBER });
    let user = one("JWT user", "http-v2");
    let pending = user.ask(&world, "send", &body).await;
    assert_eq!(pending.status, 202, "{pending:?}");
    let stranger = one("no signature", "http-v2");
    let answer = stranger.ask(&world, "send", &body).await;
    answer.is_problem(403, "unauthenticated");
    let status = json!({ "destinationNumber": NUMBER, "referenceId": pending.body["referenceId"] });
    let answer = user.ask(&world, "status", &status).await;
    answer.is_problem(403, "caller_not_trusted");
    let backend = one("IAM role", "http-v2");
    let answer = backend.ask(&world, "status", &status).await;
    assert_eq!(answer.body["status"], "pending", "{answer:?}");
}

#[tokio::test]
async fn a_user_needs_an_address() {
    for name in ["JWT user", "Lambda authorizer"] {
        let world = World::counted(&[]).await;
        let body = json!({ "destinationNumber": NUMBER });
        let event = one(name, "http-v2").event("send", &body, "unknown");
        world
            .event(&event)
            .await
            .is_problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn a_user_cannot_redeem_the_success_of_a_backend() {
    let mut world = World::counted(&[("REFERENCE_ID", "random")]).await;
    let (backend, user) = (one("IAM role", "http-v2"), one("JWT user", "http-v2"));
    let sent = backend
        .ask(&world, "send", &json!({ "destinationNumber": NUMBER }))
        .await;
    let reference = &sent.body["referenceId"];
    let guess = json!({ "destinationNumber": NUMBER, "otp": world.newest_code(), "referenceId": reference });
    assert_eq!(user.ask(&world, "verify", &guess).await.status, 200);
    let claim = json!({ "destinationNumber": NUMBER, "referenceId": reference, "claim": true });
    user.ask(&world, "status", &claim)
        .await
        .is_problem(403, "caller_not_trusted");
    // The control: the same request of the same caller, after the operator has named the caller as trusted.
    let entry = user.entry.clone().unwrap();
    let settings = [
        ("LEDGER_TABLE", "otp"),
        ("LEDGER_KEY", KEY),
        ("REFERENCE_ID", "random"),
        ("TRUSTED_PRINCIPALS", entry.as_str()),
    ];
    world.reconfigure(&settings).await;
    assert_eq!(user.ask(&world, "status", &claim).await.status, 200);
    backend
        .ask(&world, "status", &claim)
        .await
        .is_problem(409, "already_verified");
}

#[tokio::test]
async fn the_reference_of_a_users_code_cannot_be_computed() {
    let world = World::counted(&[("REFERENCE_ID", "derived")]).await;
    let (backend, user) = (one("IAM role", "http-v2"), one("JWT user", "http-v2"));
    let body = json!({ "destinationNumber": NUMBER });
    let sent = user.ask(&world, "send", &body).await;
    let code = world.newest_code();
    // The derived one is what a backend gets for this number, brand and source.
    backend
        .ask(&world, "status", &body)
        .await
        .is_problem(404, "verification_not_found");
    let guess = json!({ "destinationNumber": NUMBER, "otp": code });
    user.ask(&world, "verify", &guess)
        .await
        .is_problem(400, "invalid_parameter");
    let guess = json!({ "destinationNumber": NUMBER, "otp": code, "referenceId": sent.body["referenceId"] });
    assert_eq!(user.ask(&world, "verify", &guess).await.status, 200);
}

/// Two callers with one idempotency key: whether the second gets the response to the first.
async fn share_a_namespace(
    first: &Kind,
    second: &Kind,
    key: &str,
    settings: &[(&str, &str)],
) -> bool {
    let world = World::counted(settings).await;
    let send = async |kind: &Kind, address: &str| {
        let mut event = kind.event("send", &json!({ "destinationNumber": NUMBER }), address);
        event["headers"]["idempotency-key"] = json!(key);
        world.event(&event).await
    };
    let owner = send(first, "192.0.2.1").await;
    assert_eq!(owner.status, 202, "{owner:?}");
    let other = send(second, "192.0.2.2").await;
    other.body == owner.body
}

#[tokio::test]
async fn idempotency_keys_belong_to_an_account_and_role_an_identity_or_a_subject() {
    let at_http = |context: Value| kind("", "http-v2", context, User);
    let session = |role: &str, session: &str| {
        at_http(iam(&format!("arn:aws:sts::{role}/{session}"), &json!(null)))
    };
    let identity = |id: &str| {
        at_http(iam(
            ROLE,
            &json!({ "amr": ["authenticated"], "identityId": id }),
        ))
    };
    let token =
        |issuer: &str, subject: &str| at_http(jwt(&json!({ "iss": issuer, "sub": subject })));
    let client = |id: &str| at_http(jwt(&json!({ "iss": POOL, "client_id": id })));
    let named = |id: &str| at_http(json!({ "authorizer": { "lambda": { "principalId": id } } }));
    let tenant = || at_http(json!({ "authorizer": { "lambda": { "tenant": "a" } } }));
    let backend = "123456789012:assumed-role/backend";
    let trusted_role = [("TRUSTED_PRINCIPALS", "arn:aws:iam::123456789012:role/app")];
    for (first, second, settings, shared) in [
        (
            session(backend, "i-1"),
            session(backend, "i-2"),
            &[][..],
            true,
        ),
        (
            session(backend, "i-1"),
            session("123456789012:assumed-role/other", "i-1"),
            &[][..],
            false,
        ),
        (
            session(backend, "i-1"),
            session("999999999999:assumed-role/backend", "i-1"),
            &[][..],
            false,
        ),
        (
            identity("us-east-1:a"),
            identity("us-east-1:a"),
            &[][..],
            true,
        ),
        (
            identity("us-east-1:a"),
            identity("us-east-1:b"),
            &[][..],
            false,
        ),
        (
            identity("us-east-1:a"),
            identity("us-east-1:b"),
            &trusted_role[..],
            false,
        ),
        (token(POOL, "a"), token(POOL, "a"), &[][..], true),
        (token(POOL, "a"), token(POOL, "b"), &[][..], false),
        (
            token(POOL, "a"),
            token("https://other.example", "a"),
            &[][..],
            false,
        ),
        (client("a"), client("a"), &[][..], true),
        (client("a"), client("b"), &[][..], false),
        // An authorizer may let people choose their names.
        (
            session(backend, "i-1"),
            named("arn:aws:sts::123456789012:assumed-role/backend"),
            &[][..],
            false,
        ),
        // This authorizer gives all its callers the same name. If keys counted by this name, all callers would share
        // their keys. So these keys count by address and number.
        (tenant(), tenant(), &[][..], false),
    ] {
        let key = "0123456789abcdef";
        let found = share_a_namespace(&first, &second, key, settings).await;
        assert_eq!(found, shared, "{} and {}", first.context, second.context);
    }
}

#[tokio::test]
async fn a_caller_without_a_name_needs_a_long_key() {
    let world = World::counted(&[]).await;
    for (name, is_used) in [
        ("JWT user", true),
        ("Lambda authorizer without a name", false),
    ] {
        let body = json!({ "destinationNumber": number(usize::from(is_used)) });
        let mut event = one(name, "http-v2").event("send", &body, "192.0.2.1");
        event["headers"]["idempotency-key"] = json!("1");
        let answer = world.event(&event).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(
            answer.headers.contains_key("idempotency-key-used"),
            !is_used,
            "{name}"
        );
    }
}

#[tokio::test]
async fn in_the_open_mode_a_user_is_a_stranger_with_a_name() {
    let world = World::counted(&[("API_AUTH", "none"), ("SOURCE_LIMITS", "100/24h")]).await;
    for (nth, kind) in kinds()
        .iter()
        .enumerate()
        .filter(|(_, kind)| kind.trust != Backend)
    {
        let plain = json!({ "destinationNumber": number(nth) });
        let branded = json!({ "destinationNumber": number(nth), "brandName": "Mine" });
        kind.ask(&world, "send", &branded)
            .await
            .is_problem(400, "malformed_request");
        assert_eq!(
            kind.ask(&world, "send", &plain).await.status,
            202,
            "{}",
            kind.name
        );
        assert_eq!(
            kind.ask(&world, "status", &plain).await.status,
            403,
            "{}",
            kind.name
        );
    }
}

#[tokio::test]
async fn with_api_auth_trusted_every_caller_is_a_backend() {
    let world = World::counted(&[("API_AUTH", "trusted"), ("SOURCE_LIMITS", "none")]).await;
    for (nth, kind) in kinds().iter().enumerate() {
        behaves_as(kind, &world, Backend, &number(nth)).await;
    }
}

#[tokio::test]
async fn a_backend_cannot_put_a_link_into_a_message() {
    let link = "bank.evil.com/login1";
    for (settings, brand, is_sent) in [
        (&[][..], link, false),
        (&[][..], "Acme Inc.", true),
        (&[("BRAND_NAME", "Booking.com")][..], "Booking.com", true),
        (
            &[("BRAND_NAMES", "Acme; bet365.com")][..],
            "bet365.com",
            true,
        ),
        (
            &[("BRAND_NAMES", "Acme; bet365.com")][..],
            "ExampleCorp",
            true,
        ),
        (&[("BRAND_NAMES", "Acme; bet365.com")][..], "Other", false),
        (&[("BRAND_NAMES", "Acme; bet365.com")][..], link, false),
    ] {
        for door in DOORS.into_iter().filter(|door| *door != "alb") {
            let world = World::counted(&[settings, &[("REFERENCE_ID", "derived")]].concat()).await;
            let body = json!({ "destinationNumber": NUMBER, "brandName": brand });
            let answer = one("IAM role", door).ask(&world, "send", &body).await;
            if is_sent {
                assert_eq!(answer.status, 202, "{settings:?} {brand}: {answer:?}");
            } else {
                answer.is_problem(400, "invalid_parameter");
                assert_eq!(answer.body["field"], "brandName");
                assert!(!answer.body["detail"].as_str().unwrap().contains(brand));
                assert_eq!(world.simulator.inbox().len(), 0);
            }
            // In a verify a brand only names a reference, perhaps of a code that other software sent.
            let guess = json!({ "destinationNumber": NUMBER, "brandName": brand, "otp": "012345" });
            assert_ne!(
                one("IAM role", door)
                    .ask(&world, "verify", &guess)
                    .await
                    .status,
                400
            );
        }
    }
}

/// The caller in the log, for each kind of caller.
fn shown(kind: &Kind) -> Option<&'static str> {
    match kind.name {
        "IAM role" => Some("123456789012:role/backend"),
        "IAM user" => Some("123456789012:user/backend"),
        "identity pool" => Some("123456789012:role/app"),
        "JWT user" => Some("client/app1"),
        "JWT client" => Some("client/backend1"),
        "JWT client of Auth0" => Some("client/abc"),
        "Cognito authorizer" => Some("token"),
        "Lambda authorizer" | "Lambda authorizer without a name" => Some("authorizer"),
        "guest" | "no signature" | "load balancer" => None,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_log_names_the_caller_without_what_could_name_a_person() {
    let world = World::counted(&[]).await;
    for kind in kinds() {
        for operation in ["send", "verify", "status", "cancel"] {
            let body = json!({ "destinationNumber": NUMBER });
            kind.ask(&world, operation, &body).await;
            let line = world.last_line();
            let what = format!("{} at {}: {line}", kind.name, kind.door);
            let caller = line.get("caller").and_then(Value::as_str);
            assert_eq!(caller, shown(&kind), "{what}");
            for person in [
                "i-0abc",
                "CognitoIdentityCredentials",
                IDENTITY,
                "jane",
                "b7e1",
                "partner@example.com",
            ] {
                assert!(!line.to_string().contains(person), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn an_odd_caller_breaks_no_line() {
    let world = World::counted(&[("API_AUTH", "trusted")]).await;
    let long = "x".repeat(65);
    let longest = "x".repeat(129);
    let of = |resource: &str| format!("arn:aws:sts::123456789012:{resource}");
    let name = |end: &str| format!("123456789012:{end}");
    for (arn, shown) in [
        (of("assumed-role/app/jane@example.com"), name("role/app")),
        (of("assumed-role/app"), name("role/app")),
        (of("federated-user/jane"), name("federated-user")),
        (of("user/division/backend"), name("user/backend")),
        (of("root"), name("root")),
        (
            of("user/backend").replace("aws", "aws-us-gov"),
            name("user/backend"),
        ),
        (of(&format!("assumed-role/{long}/x")), "iam".to_owned()),
        (of("assumed-role/a\"b\n/x"), "iam".to_owned()),
        (of("assumed-role//jane"), "iam".to_owned()),
        (of("user/"), "iam".to_owned()),
        (of("group/jane"), "iam".to_owned()),
        ("arn:aws:iam::1:user/jane".to_owned(), "iam".to_owned()),
        ("jane".to_owned(), "iam".to_owned()),
    ] {
        for (door, context) in [
            ("http-v2", iam(&arn, &json!(null))),
            ("function-url", iam(&arn, &json!(null))),
            ("rest-v1", rest(&arn, &json!(null), &json!(null))),
        ] {
            let kind = kind("odd", door, context, Backend);
            kind.ask(&world, "status", &json!({ "destinationNumber": NUMBER }))
                .await;
            assert_eq!(world.last_line()["caller"], json!(shown), "{arn} at {door}");
        }
    }
    let issued = |id: &str| jwt(&json!({ "sub": "b7e1", "client_id": id }));
    let key = |id: &str| json!({ "identity": { "apiKey": "of-nobody", "apiKeyId": id } });
    for (id, is_shown) in [
        ("a1b2c3d4e5", true),
        ("https://app.example.com/", true),
        ("14255550142", false),
        ("+14255550142", false),
        ("tel:14255550142", false),
        ("tel:1-425-555-0142", false),
        ("11112222-3333-4444-5555-66667777888a", true),
        ("jane@example.com", false),
        ("a b", false),
        ("a\",\"outcome\":\"ok", false),
        ("ü", false),
        (longest.as_str(), false),
    ] {
        for (door, context, prefix, otherwise) in [
            ("http-v2", issued(id), "client/", json!("token")),
            ("rest-v1", key(id), "api-key/", json!(null)),
        ] {
            let kind = kind("odd", door, context, Backend);
            kind.ask(&world, "status", &json!({ "destinationNumber": NUMBER }))
                .await;
            let line = world.last_line();
            let shown = json!(format!("{prefix}{id}"));
            assert_eq!(
                line["caller"],
                if is_shown { shown } else { otherwise },
                "{line}"
            );
            assert!(!line.to_string().contains("of-nobody"));
        }
    }
}

/// A caller in a metric would cost money for each caller.
#[tokio::test]
async fn no_metric_has_a_caller_or_an_id() {
    let mut world = World::counted(&[]).await;
    world.trace = Some("Root=1-5759e988-bd862e3fe1be46a99427a793;Sampled=1".to_owned());
    let mut event = one("JWT user", "http-v2").event(
        "send",
        &json!({ "destinationNumber": NUMBER }),
        "192.0.2.1",
    );
    event["headers"]["x-request-id"] = json!("req-42");
    assert_eq!(world.event(&event).await.status, 202);
    let line = world.last_line();
    let read = simulator::emf::metrics_of(&line).unwrap();
    assert!(read.len() > 1);
    for (metric, ..) in read {
        for (name, value) in metric.dimensions {
            assert!(
                ["ledger", "countryGroup"].contains(&name.as_str()),
                "{name}"
            );
            assert!(["otp", "US", "other"].contains(&value.as_str()), "{value}");
        }
    }
    for (member, value) in [
        ("caller", "client/app1"),
        ("correlationId", "req-42"),
        ("traceId", "1-5759e988-bd862e3fe1be46a99427a793"),
    ] {
        assert_eq!(line[member], value);
    }
}
