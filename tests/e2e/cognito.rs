//! The shipped binary as the triggers of a user pool: `MiniStack` is AWS (Cognito, Lambda, DynamoDB), the simulator Pinpoint,
//! and boto3 the app.
//!
//! What `MiniStack` does otherwise than AWS, so that this says nothing about it (`triggers.rs` and `shipped.rs` do, with
//! events as AWS documents them, under the runtime emulator):
//!
//! - An unknown user is an error at once. AWS calls the triggers with `userNotFound: true`.
//! - `ClientMetadata` of `InitiateAuth` reaches Define and Create. AWS passes on that of `RespondToAuthChallenge` alone.
//! - The Verify event carries `session`, `challengeName` and the public parameters, which AWS does not document.
//! - `userName` is what the app typed. AWS gives the user's own name in the pool, which is no number.
//! - `challengeResult` of a round that is not over is null, and members of `response` are null.
//! - The token of a session stays the same from challenge to challenge, and survives being used.
//! - A sign-in ends after three answers, whatever Define says.
//! - A trigger is called once and waited for, where AWS waits five seconds and calls up to three times.
//! - `ValidationData` of `SignUp` never reaches the trigger, so a sign-up can only be refused here.
//! - No permission is needed to call the function.

use crate::function::{LEDGER_KEY, eventually, free_port, settings, tool};
use crate::table::TABLE;
use serde_json::{Value, json};
use simulator::{Operation, Simulator};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An AWS of its own.
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
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("MiniStack starts");
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
        // Asked to end, it ends the functions that it has started.
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What `cognito.py` reports.
fn signed_in(ministack: &MiniStack, simulator: &str) -> Value {
    let mut settings = settings(simulator);
    settings.extend([
        ("LEDGER_TABLE", TABLE.to_owned()),
        ("LEDGER_KEY", LEDGER_KEY.to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", ministack.url()),
        // A resend right after the first text.
        ("SEND_LIMITS", "3/10m".to_owned()),
        ("COGNITO_FLOOR_MS", "300".to_owned()),
    ]);
    // Lambda sets these itself.
    settings.retain(|name, _| !name.starts_with("AWS_") || name.starts_with("AWS_ENDPOINT_URL"));
    let output = Command::new(Path::new(&tool("OTP_E2E_MINISTACK")).with_file_name("python"))
        .arg(format!(
            "{}/tests/e2e/cognito.py",
            env!("CARGO_MANIFEST_DIR")
        ))
        .args([
            &ministack.url(),
            simulator,
            &tool("OTP_E2E_BOOTSTRAP"),
            &json!(settings).to_string(),
        ])
        .env_clear()
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
#[expect(clippy::print_stdout, reason = "figures for whoever runs it")]
async fn people_sign_in_with_one_text_each() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let mut report = tokio::task::block_in_place(|| {
        let ministack = MiniStack::start();
        signed_in(&ministack, &simulator.url())
    });
    let slowest = report
        .as_object_mut()
        .unwrap()
        .remove("slowest")
        .and_then(|slowest| slowest.as_u64())
        .unwrap();
    println!("slowest call of the app (up to three triggers): {slowest} ms");
    assert!(slowest < 8000, "{slowest} ms");

    let mut parameters = |scenario: &str| {
        report[scenario]
            .as_object_mut()
            .unwrap()
            .remove("parameters")
            .unwrap()
    };
    let (of_a_user, of_another) = (parameters("straight"), parameters("unverified"));
    assert_eq!(of_a_user["destinationNumber"], "+1*******0120");
    assert_eq!(of_a_user["codeLength"], "6");
    let members = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let (mut named, of_another) = (members(&of_a_user), members(&of_another));
    assert_eq!(named, of_another, "in the same order as well");
    named.sort_unstable();
    assert_eq!(
        named,
        [
            "attemptsLeft",
            "codeLength",
            "destinationNumber",
            "expiresAt",
            "resendAt",
            "state"
        ]
    );

    let one = |steps: &[&str]| json!({ "steps": steps, "texts": 1 });
    assert_eq!(
        report,
        json!({
            "straight": one(&["sent, 3 left", "tokens"]),
            "one wrong answer": one(&["sent, 3 left", "try_again, 2 left", "tokens"]),
            // AWS would ask once more, with the state `ended`.
            "wrong answers only":
                one(&["sent, 3 left", "try_again, 2 left", "try_again, 1 left", "NotAuthorizedException"]),
            "resend": { "steps": ["sent, 3 left", "try_again, 3 left", "tokens"], "texts": 2 },
            // The last attempt belongs to the session that the code was sent for.
            "lost session": one(&["adopted, 2 left", "tokens"]),
            "used code":
                { "steps": ["sent, 3 left", "tokens", "sent, 3 left", "try_again, 2 left"], "texts": 2 },
            "two at once": [one(&["sent, 3 left", "tokens"]), one(&["sent, 3 left", "tokens"])],
            "each other's codes": { "steps": ["try_again, 2 left", "try_again, 2 left"], "texts": 2 },
            // Nobody can tell from outside that this user got no text.
            "unverified": { "steps": ["sent, 3 left", "try_again, 2 left"], "texts": 0 },
            "after a password": one(&["sent, 3 left", "tokens"]),
            "after a wrong password": { "steps": ["NotAuthorizedException"], "texts": 0 },
            "without a password": { "steps": ["NotAuthorizedException"], "texts": 0 },
            "sign-up without proof": { "steps": ["UserLambdaValidationException"], "texts": 0 },
        })
    );
    // Nobody's wrong answer was asked twice, and the one without a text not at all.
    assert_eq!(simulator.requests(Operation::Send).len(), 13);
    assert_eq!(simulator.inbox().len(), 13);
}
