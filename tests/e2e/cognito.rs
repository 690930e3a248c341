//! The function as the triggers of a user pool, and boto3 as the app. In the first test, the shipped binary is the function:
//! `MiniStack` plays Cognito, Lambda and DynamoDB, and the simulator plays Pinpoint. In the second test, the desk plays the
//! same scenarios with its own pool and the same service. The expected reports of the two tests show where the pools differ.
//!
//! `MiniStack` differs from AWS in the points below. `triggers.rs` and `shipped.rs` test these points under the runtime
//! emulator, with events as AWS documents them. Each point says what `MiniStack` does:
//!
//! - It answers an unknown user with an error at once. AWS instead calls the triggers with `userNotFound: true`.
//! - It passes the `ClientMetadata` of `InitiateAuth` to Define and Create. AWS passes on only the `ClientMetadata` of
//!   `RespondToAuthChallenge`.
//! - Its Verify event has `session`, `challengeName` and the public parameters. AWS documents none of these fields.
//! - Its `userName` is what the app sent. In AWS, `userName` is the user's name in the pool, which is not the number.
//! - Its `challengeResult` of an unfinished round is null, and so are the fields of `response`.
//! - Its token of a session stays the same for every challenge, and can be used again.
//! - It ends a sign-in after three answers, even if Define goes on.
//! - It calls a trigger once. AWS waits five seconds for a response, and calls a trigger up to three times.
//! - It never passes the `ValidationData` of `SignUp` to the trigger, so a sign-up never succeeds here.
//! - It calls the function without any permission.

use crate::function::{LEDGER_KEY, Settings, eventually, python, settings, tool};
use crate::table::TABLE;
use serde_json::{Value, json};
use simulator::{CLIENT_ID, Operation, POOL_ID, Simulator, free_port};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running `MiniStack`.
struct MiniStack {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl MiniStack {
    fn start() -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("otp-ministack-{port}"));
        std::fs::create_dir_all(&folder).unwrap();
        let process = Command::new(tool("OTP_E2E_MINISTACK"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &folder)
            .env("TMPDIR", &folder)
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            // Without this, MiniStack listens on every address, for MQTT.
            .env("IOT_MTLS_ENABLED", "0")
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("MiniStack should start");
        let started = Self {
            process,
            port,
            folder,
        };
        eventually("MiniStack listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        started
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for MiniStack {
    fn drop(&mut self) {
        // After this signal MiniStack ends the functions that it has started. `Child::kill` would leave them.
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs `cognito.py`, and returns its report.
fn sign_in(ministack: &MiniStack, simulator: &str) -> Value {
    let mut settings = settings(simulator);
    settings.extend([
        ("LEDGER_TABLE", TABLE.to_owned()),
        ("LEDGER_KEY", LEDGER_KEY.to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", ministack.url()),
        // Allows a resend right after the first message.
        ("SEND_LIMITS", "3/10m".to_owned()),
        ("COGNITO_FLOOR_MS", "300".to_owned()),
        ("SIGN_IN_SHARE", "50".to_owned()),
    ]);
    // MiniStack sets these, as Lambda does.
    settings.retain(|name, _| !name.starts_with("AWS_") || name.starts_with("AWS_ENDPOINT_URL"));
    python(
        &Path::new(&tool("OTP_E2E_MINISTACK")).with_file_name("python"),
        "cognito.py",
        &[
            &ministack.url(),
            simulator,
            &tool("OTP_E2E_BOOTSTRAP"),
            &json!(settings).to_string(),
        ],
        &Settings::new(),
    )
}

/// A running desk, and the addresses of its phone and its API.
struct Desk {
    process: Child,
    phone: String,
    api: String,
}

impl Desk {
    fn start(settings: &[&str]) -> Self {
        // `cargo test` builds the desk and these tests into one folder. The tests are in its folder `deps`.
        let tests = std::env::current_exe().unwrap();
        let program = tests.ancestors().nth(2).unwrap().join("simulator");
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let mut process = Command::new(program)
            .args(["--port", "0", "--api-port", "0"])
            .args(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the desk should start: `cargo test --workspace` builds it");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = |name: &str| {
            let mut lines = lines.by_ref().map(Result::unwrap);
            let line = lines.find(|line| line.trim_start().starts_with(name));
            let line = line.unwrap();
            let (_, rest) = line.split_once("http://").unwrap();
            format!("http://{}", rest.split_whitespace().next().unwrap())
        };
        let (phone, api) = (address("phone"), address("API"));
        // The desk waits if nobody reads its log.
        std::thread::spawn(move || lines.count());
        Self {
            process,
            phone,
            api,
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Removes the duration of the slowest call from a report, and checks it.
#[expect(clippy::print_stdout, reason = "figures for the person who runs it")]
fn take_slowest(report: &mut Value) {
    let slowest = report.as_object_mut().unwrap().remove("slowest");
    let slowest = slowest.and_then(|slowest| slowest.as_u64()).unwrap();
    println!("slowest call of the app (up to three triggers): {slowest} ms");
    assert!(slowest < 8000, "{slowest} ms");
}

/// Removes the parameters of the challenges from a report, and checks them.
fn take_parameters(report: &mut Value) {
    let mut parameters = |scenario: &str| {
        report[scenario]
            .as_object_mut()
            .unwrap()
            .remove("parameters")
            .unwrap()
    };
    let (user, unverified) = (parameters("right code"), parameters("unverified"));
    assert_eq!(user["destinationNumber"], "+*******20");
    assert_eq!(user["codeLength"], "6");
    let names = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let (mut user, unverified) = (names(&user), names(&unverified));
    assert_eq!(user, unverified, "in the same order as well");
    user.sort_unstable();
    assert_eq!(
        user,
        [
            "attemptsLeft",
            "codeLength",
            "destinationNumber",
            "expiresAt",
            "resendAt",
            "state"
        ]
    );
}

fn one(steps: &[&str]) -> Value {
    json!({ "steps": steps, "messages": 1 })
}

fn none(steps: &[&str]) -> Value {
    json!({ "steps": steps, "messages": 0 })
}

/// The scenarios that both pools play in the same way.
fn expected() -> Value {
    json!({
        "right code": one(&["sent, 3 left", "tokens"]),
        "one wrong answer": one(&["sent, 3 left", "try_again, 2 left", "tokens"]),
        "resend": { "steps": ["sent, 3 left", "try_again, 3 left", "tokens"], "messages": 2 },
        // The last attempt is reserved for the session that owns the code.
        "lost session": one(&["adopted, 2 left", "tokens"]),
        "used code":
            { "steps": ["sent, 3 left", "tokens", "sent, 3 left", "try_again, 2 left"], "messages": 2 },
        "two at once": [one(&["sent, 3 left", "tokens"]), one(&["sent, 3 left", "tokens"])],
        "each other's codes": { "steps": ["try_again, 2 left", "try_again, 2 left"], "messages": 2 },
        // The app cannot tell that this user got no message.
        "unverified": none(&["sent, 3 left", "try_again, 2 left"]),
        "sign-up without proof": none(&["UserLambdaValidationException"]),
    })
}

fn with(mut report: Value, more: Value) -> Value {
    let (Value::Object(scenarios), Value::Object(more)) = (&mut report, more) else {
        unreachable!("both are objects")
    };
    scenarios.extend(more);
    report
}

#[test]
#[ignore = "needs the tools that `make test` sets up"]
fn users_sign_in_at_the_pool_of_the_desk() {
    let desk = Desk::start(&[
        "SEND_LIMITS=3/10m",
        "COGNITO_FLOOR_MS=0",
        "ALLOWED_COUNTRIES=US",
    ]);
    let mut report = python(
        &Path::new(&tool("OTP_E2E_MINISTACK")).with_file_name("python"),
        "cognito.py",
        &["desk", &desk.phone, &desk.api, POOL_ID, CLIENT_ID],
        &Settings::new(),
    );
    take_slowest(&mut report);
    take_parameters(&mut report);
    let of_the_desk = json!({
        // The function ends a sign-in, and not the pool.
        "wrong answers only":
            one(&["sent, 3 left", "try_again, 2 left", "try_again, 1 left", "ended, 0 left", "NotAuthorizedException"]),
        "answered session again": one(&["sent, 3 left", "try_again, 2 left", "NotAuthorizedException"]),
        "unknown user": none(&["sent, 3 left", "try_again, 2 left"]),
        "sign-up with proof": { "steps": ["sent, 3 left", "tokens"], "messages": 2 },
    });
    assert_eq!(report, with(expected(), of_the_desk));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn users_sign_in_with_one_message_each() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let mut report = tokio::task::block_in_place(|| {
        let ministack = MiniStack::start();
        sign_in(&ministack, &simulator.url())
    });
    take_slowest(&mut report);
    take_parameters(&mut report);
    let of_ministack = json!({
        // AWS would send one more challenge, with the state `ended`.
        "wrong answers only":
            one(&["sent, 3 left", "try_again, 2 left", "try_again, 1 left", "NotAuthorizedException"]),
        // AWS takes each session once.
        "answered session again": one(&["sent, 3 left", "try_again, 2 left", "tokens"]),
        // AWS calls the triggers with `userNotFound`.
        "unknown user": none(&["UserNotFoundException"]),
        "after a password": one(&["sent, 3 left", "tokens"]),
        "after a wrong password": none(&["NotAuthorizedException"]),
        "without a password": none(&["NotAuthorizedException"]),
    });
    assert_eq!(report, with(expected(), of_ministack));
    assert_eq!(simulator.requests(Operation::Send).len(), 14);
    assert_eq!(simulator.inbox().len(), 14);
}
