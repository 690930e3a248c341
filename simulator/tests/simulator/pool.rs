//! The user pool: its wire format, its sessions, its events and its tokens. The last tests play sign-ins on the desk, with
//! the real function behind the triggers.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json, value::RawValue};
use simulator::{CLIENT_ID, POOL_ID, Simulator, front::HandlerError};

use crate::client::{Answer, NUMBER, get, request_within, started};

const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=AKID/20261129/us-east-1/cognito-idp/aws4_request, \
                      SignedHeaders=host;x-amz-date, Signature=0123456789abcdef";
const UNKNOWN: &str = "+14255550143";

/// Calls an operation, with a signature if it needs one.
fn ask(address: SocketAddr, operation: &str, body: &Value) -> Answer {
    let target = format!("AWSCognitoIdentityProviderService.{operation}");
    let mut headers = vec![
        ("x-amz-target", target.as_str()),
        ("content-type", "application/x-amz-json-1.1"),
    ];
    if operation.starts_with("Admin") {
        headers.push(("authorization", SIGNED));
    }
    // A trigger may take four seconds, and there are three of them in a step.
    let body = body.to_string();
    request_within(
        Duration::from_secs(30),
        address,
        "POST",
        "/",
        &headers,
        body.as_bytes(),
    )
    .unwrap()
}

/// The name of the exception, or an empty text.
fn error(answer: &Answer) -> String {
    let name = answer.json()["__type"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(answer.status == 200, name.is_empty(), "{}", answer.text());
    assert_eq!(
        answer.header("x-amzn-errortype").unwrap_or_default(),
        name,
        "the SDKs read the header"
    );
    name
}

fn begin_body(user: &str) -> Value {
    json!({ "ClientId": CLIENT_ID, "AuthFlow": "CUSTOM_AUTH", "AuthParameters": { "USERNAME": user } })
}

fn begin(address: SocketAddr, user: &str) -> Value {
    let answer = ask(address, "InitiateAuth", &begin_body(user));
    assert_eq!(error(&answer), "");
    answer.json()
}

fn answer_body(user: &str, step: &Value, text: &str) -> Value {
    json!({
        "ClientId": CLIENT_ID, "ChallengeName": "CUSTOM_CHALLENGE", "Session": step["Session"],
        "ChallengeResponses": { "USERNAME": user, "ANSWER": text }, "ClientMetadata": { "device": "phone" },
    })
}

fn respond(address: SocketAddr, user: &str, step: &Value, text: &str) -> Answer {
    ask(
        address,
        "RespondToAuthChallenge",
        &answer_body(user, step, text),
    )
}

fn sign_up_body(number: &str, reference: &str) -> Value {
    json!({
        "ClientId": CLIENT_ID, "Username": number, "Password": "never-Used-1",
        "UserAttributes": [{ "Name": "phone_number", "Value": number }],
        "ValidationData": [{ "Name": "referenceId", "Value": reference }],
        "ClientMetadata": { "device": "phone" },
    })
}

// ---- A pool with a made-up function

type Events = Arc<Mutex<Vec<Value>>>;

/// A function whose code is `right`. It asks again after a wrong answer, and keeps the events.
fn made_up(events: &Events, event: &RawValue) -> Result<Value, HandlerError> {
    let mut event: Value = serde_json::from_str(event.get()).unwrap();
    events.lock().unwrap().push(event.clone());
    let request = &event["request"];
    let last = request["session"]
        .as_array()
        .and_then(|rounds| rounds.last());
    let response = match event["triggerSource"].as_str().unwrap() {
        "DefineAuthChallenge_Authentication"
            if last.is_some_and(|it| it["challengeResult"] == true) =>
        {
            json!({ "issueTokens": true, "failAuthentication": false })
        }
        "DefineAuthChallenge_Authentication" => {
            json!({ "challengeName": "CUSTOM_CHALLENGE", "issueTokens": false, "failAuthentication": false })
        }
        "CreateAuthChallenge_Authentication" => json!({
            "publicChallengeParameters": { "state": "sent" },
            "privateChallengeParameters": { "reference": "r", "nonce": "n" },
            "challengeMetadata": "m",
        }),
        "VerifyAuthChallengeResponse_Authentication" => {
            json!({ "answerCorrect": request["challengeAnswer"] == "right" })
        }
        "PreSignUp_SignUp" if request["validationData"]["referenceId"] == "unproven" => {
            return Err("The phone number is not verified.".into());
        }
        _ => {
            json!({ "autoConfirmUser": true, "autoVerifyPhone": true, "autoVerifyEmail": false })
        }
    };
    event["response"] = response;
    Ok(event)
}

async fn pool() -> (Simulator, Events) {
    let simulator = started().await;
    let events = Events::default();
    let kept = Arc::clone(&events);
    let function = move |event: Box<RawValue>| {
        let result = made_up(&kept, &event);
        async { result }
    };
    simulator.open_pool(NUMBER, true, function).unwrap();
    (simulator, events)
}

/// A pool whose function always has this result.
async fn pool_with(result: Result<Value, HandlerError>) -> Simulator {
    let simulator = started().await;
    let function = move |_| {
        let result = result.clone();
        async { result }
    };
    simulator.open_pool(NUMBER, true, function).unwrap();
    simulator
}

/// The paths of all fields, such as `/request/session/0/challengeName`.
fn paths(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    all.insert(path.to_owned());
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| paths(value, &format!("{path}/{name}"), all)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(place, value)| paths(value, &format!("{path}/{place}"), all)),
        _ => {}
    }
}

fn paths_of(value: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    paths(value, "", &mut all);
    // This attribute is optional, and the users of the desk have none.
    all.remove("/request/userAttributes/locale");
    all
}

#[tokio::test]
async fn every_event_has_the_fields_of_the_documented_one() {
    let (simulator, events) = pool().await;
    let address = simulator.address;
    for user in [NUMBER, UNKNOWN] {
        let first = begin(address, user);
        let second = respond(address, user, &first, "wrong").json();
        respond(address, user, &second, "right");
    }
    let made = ask(address, "SignUp", &sign_up_body(UNKNOWN, "proven"));
    assert_eq!(error(&made), "");
    assert_eq!(made.json()["UserConfirmed"], true);

    let events = events.lock().unwrap().clone();
    let of_user = |source: &str, user_not_found: bool| -> Vec<Value> {
        let found = events.iter().filter(|event| {
            let is_known = event["request"].get("userNotFound") != Some(&json!(user_not_found));
            event["triggerSource"].as_str().unwrap().starts_with(source) && !is_known
        });
        found.cloned().collect()
    };
    let file = |name: &str| -> Value {
        let path = format!("{}/../events/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    for (name, source, user_not_found, nth) in [
        ("cognito.define", "Define", false, 0),
        ("cognito.create", "Create", false, 0),
        ("cognito.verify", "Verify", false, 0),
        ("cognito.create.later-round", "Create", false, 1),
        ("cognito.define.unknown-user", "Define", true, 0),
        ("cognito.create.unknown-user", "Create", true, 0),
    ] {
        let event = &of_user(source, user_not_found)[nth];
        assert_eq!(paths_of(event), paths_of(&file(name)), "{name}");
        assert_eq!(event["triggerSource"], file(name)["triggerSource"]);
        let is_name = event["userName"] == if user_not_found { UNKNOWN } else { NUMBER };
        assert_eq!(is_name, user_not_found, "a user's name is not the number");
    }
    let sign_up = events
        .iter()
        .find(|event| event["triggerSource"] == "PreSignUp_SignUp");
    assert_eq!(
        paths_of(sign_up.unwrap()),
        paths_of(&file("cognito.pre-sign-up"))
    );
    // The control: another file has other fields.
    let define = &of_user("Define", false)[0];
    assert_ne!(paths_of(define), paths_of(&file("cognito.create")));
    // Only the metadata of an answer reaches a trigger.
    let mut begun = begin_body(NUMBER);
    begun["ClientMetadata"] = json!({ "device": "phone" });
    ask(address, "InitiateAuth", &begun);
    let newest = simulator_events(&simulator);
    assert!(
        newest.pointer("/request/clientMetadata").is_none(),
        "{newest}"
    );
}

/// The newest event, from the file that the page offers.
fn simulator_events(simulator: &Simulator) -> Value {
    let ids = (1..).take_while(|id| {
        get(simulator, &format!("/cognito/triggers/{id}/event.json")).status == 200
    });
    let newest = ids.last().unwrap();
    get(simulator, &format!("/cognito/triggers/{newest}/event.json")).json()
}

#[tokio::test]
async fn a_session_can_be_answered_once_by_its_user_for_fifteen_minutes() {
    let (simulator, events) = pool().await;
    let address = simulator.address;
    let step = begin(address, NUMBER);
    let refused = |answer: &Answer| {
        assert_eq!(error(answer), "NotAuthorizedException");
        answer.json()["message"].as_str().unwrap().to_owned()
    };
    let invalid = "Invalid session for the user.";
    assert_eq!(refused(&respond(address, UNKNOWN, &step, "right")), invalid);
    let made_up = json!({ "Session": "AYABeA".repeat(6) });
    assert_eq!(
        refused(&respond(address, NUMBER, &made_up, "right")),
        invalid
    );
    let second = respond(address, NUMBER, &step, "wrong").json();
    assert_ne!(second["Session"], step["Session"]);
    assert_eq!(refused(&respond(address, NUMBER, &step, "right")), invalid);

    simulator.advance(Duration::from_mins(14));
    let third = respond(address, NUMBER, &second, "wrong").json();
    simulator.advance(Duration::from_mins(15));
    let said = refused(&respond(address, NUMBER, &third, "right"));
    assert_eq!(said, "Invalid session for the user, session is expired.");

    // Many answers at once: one of them reaches the function.
    events.lock().unwrap().clear();
    let step = begin(address, NUMBER);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let answer = || scope.spawn(|| respond(address, NUMBER, &step, "right").status);
        let running: Vec<_> = (0..16).map(|_| answer()).collect();
        running.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1);
    let verified = |event: &&Value| event["request"].get("challengeAnswer").is_some();
    assert_eq!(events.lock().unwrap().iter().filter(verified).count(), 1);
}

const INVALID: &str = "InvalidParameterException";

/// A body without one field, which is at the end of the path.
fn without(mut body: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = Value::Null;
    body
}

fn with(mut body: Value, name: &str, value: &str) -> Value {
    body[name] = value.into();
    body
}

#[tokio::test]
async fn refused_sign_ins_have_the_names_of_aws() {
    let (simulator, _) = pool().await;
    let step = begin(simulator.address, NUMBER);
    let begun = || begin_body(NUMBER);
    for (body, expected) in [
        (without(begun(), "/ClientId"), INVALID),
        (with(begun(), "ClientId", "a"), "ResourceNotFoundException"),
        (without(begun(), "/AuthFlow"), INVALID),
        (with(begun(), "AuthFlow", "USER_PASSWORD_AUTH"), INVALID),
        (without(begun(), "/AuthParameters/USERNAME"), INVALID),
    ] {
        let refused = ask(simulator.address, "InitiateAuth", &body);
        assert_eq!(error(&refused), expected, "{body}");
    }
    let answered = || answer_body(NUMBER, &step, "right");
    for body in [
        without(answered(), "/Session"),
        without(answered(), "/ChallengeResponses/ANSWER"),
        without(answered(), "/ChallengeResponses/USERNAME"),
        with(answered(), "ChallengeName", "SMS_MFA"),
    ] {
        let refused = ask(simulator.address, "RespondToAuthChallenge", &body);
        assert_eq!(error(&refused), INVALID, "{body}");
    }
    // None of them has used up the session.
    let answer = ask(simulator.address, "RespondToAuthChallenge", &answered());
    assert_eq!(error(&answer), "");
}

#[tokio::test]
async fn refused_sign_ups_and_administrators_get_the_names_of_aws() {
    let (simulator, _) = pool().await;
    let new = || sign_up_body(UNKNOWN, "proven");
    let admin = || json!({ "UserPoolId": POOL_ID, "Username": UNKNOWN });
    let (sign_up, create, set) = ("SignUp", "AdminCreateUser", "AdminSetUserPassword");
    let exists = "UsernameExistsException";
    for (operation, body, expected) in [
        (
            sign_up,
            with(new(), "Password", "short"),
            "InvalidPasswordException",
        ),
        (
            sign_up,
            with(new(), "Password", "never-used-1"),
            "InvalidPasswordException",
        ),
        (sign_up, with(new(), "Username", "4255550143"), INVALID),
        (sign_up, with(new(), "Username", NUMBER), INVALID),
        (
            sign_up,
            with(new(), "UserAttributes", "none"),
            "SerializationException",
        ),
        (
            sign_up,
            sign_up_body(UNKNOWN, "unproven"),
            "UserLambdaValidationException",
        ),
        (sign_up, sign_up_body(NUMBER, "proven"), exists),
        (
            set,
            with(admin(), "Password", "never-Used-1"),
            "UserNotFoundException",
        ),
        (
            create,
            with(admin(), "UserPoolId", "us-east-1_Other"),
            "ResourceNotFoundException",
        ),
        (create, with(admin(), "Username", NUMBER), exists),
        ("AdminGetUser", admin(), "UnknownOperationException"),
    ] {
        let refused = ask(simulator.address, operation, &body);
        assert_eq!(error(&refused), expected, "{operation} {body}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_refused() {
    let (simulator, _) = pool().await;
    let address = simulator.address;
    let sign_up = ("x-amz-target", "AWSCognitoIdentityProviderService.SignUp");
    let json = ("content-type", "application/x-amz-json-1.1");
    let post = |headers: &[(&str, &str)], body: &[u8]| {
        let limit = Duration::from_secs(5);
        error(&request_within(limit, address, "POST", "/", headers, body).unwrap())
    };
    assert_eq!(post(&[sign_up, json], b"{"), "SerializationException");
    let large = vec![b' '; 200_000];
    assert_eq!(
        post(&[sign_up, json], &large),
        "RequestEntityTooLargeException"
    );
    let plain = ("content-type", "text/plain");
    assert_eq!(post(&[sign_up, plain], b"{}"), "UnknownOperationException");
    let admin = (
        "x-amz-target",
        "AWSCognitoIdentityProviderService.AdminCreateUser",
    );
    assert_eq!(
        post(&[admin, json], b"{}"),
        "MissingAuthenticationTokenException"
    );
}

#[tokio::test]
async fn a_failure_of_the_function_is_named() {
    let step = json!({ "response": { "challengeName": "CUSTOM_CHALLENGE" } });
    let fails = json!({ "response": { "failAuthentication": true, "issueTokens": true } });
    for (result, expected, says) in [
        (
            Err("Broken.".into()),
            "UserLambdaValidationException",
            "DefineAuthChallenge failed with error Broken.",
        ),
        (
            Ok(json!({ "response": null })),
            "InvalidLambdaResponseException",
            "Unrecognizable lambda output",
        ),
        (
            Ok(json!([])),
            "InvalidLambdaResponseException",
            "Unrecognizable lambda output",
        ),
        (
            Ok(json!({ "response": {} })),
            "InvalidLambdaResponseException",
            "DefineAuthChallenge named no challenge",
        ),
        (
            Ok(step),
            "InvalidLambdaResponseException",
            "CreateAuthChallenge returned parameters",
        ),
        (
            Ok(fails),
            "NotAuthorizedException",
            "Incorrect username or password.",
        ),
    ] {
        let simulator = pool_with(result).await;
        let answer = ask(simulator.address, "InitiateAuth", &begin_body(NUMBER));
        assert_eq!(error(&answer), expected);
        assert!(answer.text().contains(says), "{}", answer.text());
    }
    // Tokens for a user that does not exist are never issued, whatever the function says.
    let tokens = json!({ "response": { "issueTokens": true } });
    let simulator = pool_with(Ok(tokens)).await;
    let answer = ask(simulator.address, "InitiateAuth", &begin_body(UNKNOWN));
    assert_eq!(error(&answer), "NotAuthorizedException");
    // The control: a user that exists gets them.
    let answer = ask(simulator.address, "InitiateAuth", &begin_body(NUMBER));
    assert_eq!(error(&answer), "");
}

#[tokio::test]
async fn pages_of_every_site_may_call_what_needs_no_signature() {
    let (simulator, _) = pool().await;
    let address = simulator.address;
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "content-type,x-amz-target",
        ),
    ];
    let allowed = request_within(
        Duration::from_secs(5),
        address,
        "OPTIONS",
        "/",
        &preflight,
        b"",
    );
    let allowed = allowed.unwrap();
    assert_eq!(allowed.header("access-control-allow-origin"), Some("*"));
    let headers = allowed.header("access-control-allow-headers").unwrap();
    let headers: BTreeSet<_> = headers.split(", ").collect();
    assert!(headers.contains("x-amz-target") && headers.contains("content-type"));
    // A page cannot sign, so it cannot make users, nor call the other services of this address.
    assert!(!headers.contains("authorization"));
    for (operation, body, origin) in [
        ("InitiateAuth", begin_body(NUMBER), Some("*")),
        ("InitiateAuth", json!({}), Some("*")),
        ("SignUp", json!({}), Some("*")),
        ("AdminCreateUser", json!({}), None),
    ] {
        let answer = ask(address, operation, &body);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
    }
    // Without a function behind it, there is no pool.
    let alone = started().await;
    let answer = ask(alone.address, "InitiateAuth", &begin_body(NUMBER));
    assert_eq!(
        (answer.status, answer.json()["__type"].clone()),
        (400, json!("UnknownOperationException"))
    );
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let keys = get(&alone, &format!("/{POOL_ID}/.well-known/jwks.json"));
    assert_eq!(keys.status, 404);
}

/// The claims of a token, if the published key has signed it.
fn claims(simulator: &Simulator, token: &str) -> Option<Value> {
    let keys = get(simulator, &format!("/{POOL_ID}/.well-known/jwks.json")).json();
    let key = &keys["keys"][0];
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let mut point = vec![4];
    for name in ["x", "y"] {
        point.extend(decode(key[name].as_str().unwrap()));
    }
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (head, body) = signed.split_once('.').unwrap();
    let head: Value = serde_json::from_slice(&decode(head)).unwrap();
    assert_eq!((&head["kid"], &head["alg"]), (&key["kid"], &json!("ES256")));
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &decode(signature))
        .ok()?;
    Some(serde_json::from_slice(&decode(body)).unwrap())
}

#[tokio::test]
async fn tokens_are_signed_by_the_published_key_of_the_desk() {
    let (simulator, _) = pool().await;
    let address = simulator.address;
    let step = begin(address, NUMBER);
    let done = respond(address, NUMBER, &step, "right").json();
    let result = &done["AuthenticationResult"];
    let token = |result: &Value, name: &str| result[name].as_str().unwrap().to_owned();
    let id = claims(&simulator, &token(result, "IdToken")).unwrap();
    assert_eq!(id["phone_number"], NUMBER);
    assert_eq!(id["phone_number_verified"], true);
    assert_eq!(id["aud"], CLIENT_ID);
    assert_eq!(id["iss"], format!("{}/{POOL_ID}", simulator.url()));
    assert_eq!(id["token_use"], "id");
    let access = claims(&simulator, &token(result, "AccessToken")).unwrap();
    assert_eq!(
        (&access["client_id"], &access["token_use"]),
        (&json!(CLIENT_ID), &json!("access"))
    );
    assert_eq!(
        access["exp"].as_u64().unwrap() - access["iat"].as_u64().unwrap(),
        3600
    );
    // The control: with another claim, the signature does not fit.
    let other = URL_SAFE_NO_PAD.encode(r#"{"phone_number":"+14255550199"}"#);
    let parts = token(result, "IdToken");
    let parts: Vec<_> = parts.split('.').collect();
    let forged = [parts[0], &other, parts[2]].join(".");
    assert_eq!(claims(&simulator, &forged), None);

    let refresh = |token: &str| {
        let body = json!({
            "ClientId": CLIENT_ID, "AuthFlow": "REFRESH_TOKEN_AUTH", "AuthParameters": { "REFRESH_TOKEN": token },
        });
        ask(address, "InitiateAuth", &body)
    };
    let again = refresh(&token(result, "RefreshToken"));
    assert_eq!(error(&again), "");
    let renewed = &again.json()["AuthenticationResult"];
    assert!(renewed.get("RefreshToken").is_none());
    let renewed = claims(&simulator, &token(renewed, "IdToken")).unwrap();
    assert_eq!(
        (&renewed["sub"], &renewed["origin_jti"]),
        (&id["sub"], &id["origin_jti"])
    );
    assert_eq!(error(&refresh("other")), "NotAuthorizedException");
    simulator.advance(Duration::from_hours(31 * 24));
    assert_eq!(
        error(&refresh(&token(result, "RefreshToken"))),
        "NotAuthorizedException"
    );
}

#[tokio::test]
async fn an_administrator_makes_users_whose_first_password_is_temporary() {
    let (simulator, _) = pool().await;
    let address = simulator.address;
    let admin = |operation: &str, more: Value| {
        let mut body = json!({ "UserPoolId": POOL_ID, "Username": UNKNOWN });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ask(address, operation, &body)
    };
    let attributes = json!([{ "Name": "phone_number", "Value": UNKNOWN }, { "Name": "phone_number_verified", "Value": "true" }]);
    let made = admin("AdminCreateUser", json!({ "UserAttributes": attributes }));
    assert_eq!(error(&made), "");
    assert_eq!(made.json()["User"]["UserStatus"], "FORCE_CHANGE_PASSWORD");
    let step = begin(address, UNKNOWN);
    let asked = respond(address, UNKNOWN, &step, "right").json();
    assert_eq!(asked["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    assert_eq!(
        error(&respond(address, UNKNOWN, &asked, "right")),
        "NotAuthorizedException"
    );
    let set = admin(
        "AdminSetUserPassword",
        json!({ "Password": "never-Used-1", "Permanent": true }),
    );
    assert_eq!(error(&set), "");
    let step = begin(address, UNKNOWN);
    let done = respond(address, UNKNOWN, &step, "right").json();
    assert!(
        done["AuthenticationResult"]["IdToken"].is_string(),
        "{done}"
    );
    // A reset leaves the first user alone.
    simulator.reset();
    let none = admin(
        "AdminSetUserPassword",
        json!({ "Password": "never-Used-1" }),
    );
    assert_eq!(error(&none), "UserNotFoundException");
    begin(address, NUMBER);
}

// ---- The desk

/// A running desk: its phone and its API.
struct Desk {
    process: Child,
    phone: SocketAddr,
    api: SocketAddr,
}

impl Desk {
    fn start(settings: &[&str]) -> Self {
        let more = settings.iter().flat_map(|setting| ["--set", setting]);
        let mut process = Command::new(env!("CARGO_BIN_EXE_simulator"))
            .args([
                "--port",
                "0",
                "--api-port",
                "0",
                "--set",
                "COGNITO_FLOOR_MS=0",
            ])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = |name: &str| -> SocketAddr {
            let line = lines.find(|line| line.as_ref().unwrap().trim_start().starts_with(name));
            let line = line.unwrap().unwrap();
            let (_, rest) = line.split_once("http://").unwrap();
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (phone, api) = (address("phone"), address("API"));
        // The desk must not stop because nobody reads its log.
        std::thread::spawn(move || lines.count());
        Self {
            process,
            phone,
            api,
        }
    }

    fn get(&self, path: &str) -> Value {
        request_within(Duration::from_secs(5), self.phone, "GET", path, &[], b"")
            .unwrap()
            .json()
    }

    fn post(address: SocketAddr, path: &str, body: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        let body = body.to_string();
        request_within(
            Duration::from_secs(10),
            address,
            "POST",
            path,
            &json,
            body.as_bytes(),
        )
        .unwrap()
    }

    /// The codes of the messages to a number, the newest first.
    fn codes(&self, number: &str) -> Vec<String> {
        let inbox = self.get(&format!("/inbox?to={number}"));
        let messages = inbox["messages"].as_array().unwrap();
        let code = |message: &Value| message["code"].as_str().unwrap().to_owned();
        messages.iter().map(code).collect()
    }

    fn advance(&self, seconds: u64) {
        let answer = Self::post(
            self.phone,
            "/simulator/clock",
            &json!({ "advanceSeconds": seconds }),
        );
        assert_eq!(answer.status, 200);
    }

    /// Begins a sign-in that must be in this state.
    fn begin(&self, user: &str, state: &str) -> Value {
        let step = begin(self.phone, user);
        assert_eq!(step["ChallengeParameters"]["state"], state, "{step}");
        step
    }

    /// Answers, and expects the same challenge again.
    fn next(&self, user: &str, step: &Value, text: &str, expected: [&str; 2]) -> Value {
        let step = respond(self.phone, user, step, text).json();
        let parameters = &step["ChallengeParameters"];
        let [state, left] = ["state", "attemptsLeft"].map(|name| parameters[name].as_str());
        assert_eq!([state.unwrap(), left.unwrap()], expected, "{step}");
        step
    }

    fn signs_in(&self, user: &str, step: &Value, code: &str) {
        let done = respond(self.phone, user, step, code).json();
        assert!(
            done["AuthenticationResult"]["IdToken"].is_string(),
            "{done}"
        );
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn other_than(code: &str, nth: u32) -> String {
    let code: u32 = code.parse().unwrap();
    format!("{:06}", (code + nth) % 1_000_000)
}

#[test]
fn people_sign_in_on_the_desk() {
    let desk = Desk::start(&[]);
    // A wrong answer, `resend` too early, `resend` in time, and the code of the second message.
    let step = desk.begin(NUMBER, "sent");
    let first = desk.codes(NUMBER).remove(0);
    let step = desk.next(NUMBER, &step, &other_than(&first, 1), ["try_again", "2"]);
    let step = desk.next(NUMBER, &step, "resend", ["try_again", "2"]);
    assert_eq!(desk.codes(NUMBER).len(), 1);
    desk.advance(31);
    let step = desk.next(NUMBER, &step, "resend", ["try_again", "2"]);
    let codes = desk.codes(NUMBER);
    assert_eq!(codes.len(), 2);
    desk.signs_in(NUMBER, &step, &codes[0]);

    // A lost session: the next sign-in adopts the code, with one guess less.
    desk.advance(600);
    desk.begin(NUMBER, "sent");
    let again = desk.begin(NUMBER, "adopted");
    assert_eq!(again["ChallengeParameters"]["attemptsLeft"], "2");
    let codes = desk.codes(NUMBER);
    assert_eq!(codes.len(), 3);
    desk.signs_in(NUMBER, &again, &codes[0]);

    // Wrong answers until the end. As Define says, and not the pool.
    desk.advance(600);
    let mut step = desk.begin(NUMBER, "sent");
    let code = desk.codes(NUMBER).remove(0);
    for (nth, expected) in [
        (1, ["try_again", "2"]),
        (2, ["try_again", "1"]),
        (3, ["ended", "0"]),
    ] {
        step = desk.next(NUMBER, &step, &other_than(&code, nth), expected);
    }
    let ended = respond(desk.phone, NUMBER, &step, &code);
    assert_eq!(error(&ended), "NotAuthorizedException");

    // An unknown user sees the same, gets no message, and no answer is right.
    let step = desk.begin(UNKNOWN, "sent");
    desk.next(UNKNOWN, &step, "123456", ["try_again", "2"]);
    assert_eq!(desk.codes(UNKNOWN), [""; 0]);
}

#[test]
fn people_sign_up_on_the_desk_with_proof_of_their_number() {
    let desk = Desk::start(&[]);
    let sign_up = |reference: &str| ask(desk.phone, "SignUp", &sign_up_body(UNKNOWN, reference));
    let refused = "UserLambdaValidationException";
    assert_eq!(error(&sign_up("46bb87b047dd9f34b9cbe4011325b15b")), refused);
    let number = json!({ "destinationNumber": UNKNOWN });
    let sent = Desk::post(desk.api, "/otp/send", &number).json();
    let reference = sent["referenceId"].as_str().unwrap().to_owned();
    // A message alone proves nothing.
    assert_eq!(error(&sign_up(&reference)), refused);
    let code = desk.codes(UNKNOWN).remove(0);
    let guess = json!({ "destinationNumber": UNKNOWN, "otp": code, "referenceId": reference });
    assert_eq!(Desk::post(desk.api, "/otp/verify", &guess).status, 200);
    let made = sign_up(&reference);
    assert_eq!(error(&made), "");
    assert_eq!(made.json()["UserConfirmed"], true);
    // The proof is used up.
    assert_eq!(error(&sign_up(&reference)), refused);
    // A message over HTTP counts for sign-ins, too.
    desk.advance(31);
    let step = desk.begin(UNKNOWN, "sent");
    desk.signs_in(UNKNOWN, &step, &desk.codes(UNKNOWN)[0]);

    // Without sign-up, the pool is as that of a stack without the parameter.
    let closed = Desk::start(&["COGNITO_PRE_SIGN_UP=off"]);
    let answer = ask(closed.phone, "SignUp", &sign_up_body(UNKNOWN, &reference));
    assert_eq!(error(&answer), "NotAuthorizedException");
}

#[test]
fn a_saved_event_can_be_given_to_the_function_again() {
    let desk = Desk::start(&[]);
    let step = desk.begin(NUMBER, "sent");
    desk.next(NUMBER, &step, "resend", ["try_again", "3"]);
    let folder = std::env::temp_dir().join(format!("desk-triggers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // Define, Create, Verify, Define, Create.
    for (id, expected) in [
        (1, "CUSTOM_CHALLENGE"),
        (2, "adopted"),
        (3, "answerCorrect"),
        (5, "try_again"),
    ] {
        let event = desk.get(&format!("/cognito/triggers/{id}/event.json"));
        let file = folder.join("event.json");
        std::fs::write(&file, event.to_string()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_simulator"))
            .args([
                "--port",
                &desk.phone.port().to_string(),
                "--api-port",
                &desk.api.port().to_string(),
            ])
            .arg("--invoke")
            .arg(&file)
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && printed.contains(expected),
            "{id}: {printed}"
        );
        let answer = desk.get(&format!("/cognito/triggers/{id}/response.json"));
        assert!(answer["response"].is_object(), "{answer}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
