//! Runs the shipped binary under Lambda's runtime interface emulator, and tools beside it.

use serde_json::{Value, json};
use simulator::free_port;
use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::table::TABLE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use otp_lambda::ledger::Hasher;

/// A process of the function in its own execution environment. It handles one invocation at a time, as in Lambda.
pub(crate) struct Function {
    emulator: Child,
    port: u16,
    log: Arc<Mutex<String>>,
    client: ureq::Agent,
}

/// Environment variables of the function.
pub(crate) type Settings = BTreeMap<&'static str, String>;

/// 32 bytes in base64.
pub(crate) const LEDGER_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The event shape for tests that do not depend on the shape.
const DOOR: &str = "http-v2";

/// The path of a tool, from a variable that `make test` sets.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment has the paths of the tools"
)]
pub(crate) fn tool(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run these tests with `make test`"))
}

/// Settings of a function without a ledger.
pub(crate) fn settings(pinpoint: &str) -> Settings {
    BTreeMap::from([
        (
            "PINPOINT_APPLICATION_ID",
            "9aad3a0a1e6d4cfda6d6ad7c7d6e2a8d".to_owned(),
        ),
        ("ORIGINATION_IDENTITY", "+12065550100".to_owned()),
        ("BRAND_NAME", "ExampleCorp".to_owned()),
        ("ALLOWED_COUNTRIES", "US".to_owned()),
        ("AWS_ENDPOINT_URL_PINPOINT", pinpoint.to_owned()),
        ("LOG_LEVEL", "trace".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "example".to_owned()),
        ("AWS_SESSION_TOKEN", "example".to_owned()),
    ])
}

/// Settings of a function with a ledger in DynamoDB at the URL `table`.
pub(crate) fn settings_with_ledger(pinpoint: &str, table: &str) -> Settings {
    let mut settings = settings(pinpoint);
    settings.extend([
        ("LEDGER_TABLE", TABLE.to_owned()),
        ("LEDGER_KEY", LEDGER_KEY.to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", table.to_owned()),
    ]);
    settings
}

/// The hasher that a function with `LEDGER_KEY` has.
pub(crate) fn hasher() -> Hasher {
    Hasher::from_secret(&STANDARD.decode(LEDGER_KEY).unwrap())
}

impl Function {
    pub(crate) fn start(settings: &Settings) -> Self {
        let (port, runtime_port) = (free_port(), free_port());
        let mut emulator = Command::new(tool("OTP_E2E_RIE"))
            .env_clear()
            .envs(settings)
            .env("AWS_LAMBDA_FUNCTION_NAME", "otp-lambda")
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "5")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .args(["--log-level", "warn"])
            .args([
                "--runtime-interface-emulator-address",
                &format!("127.0.0.1:{port}"),
            ])
            .args([
                "--runtime-api-address",
                &format!("127.0.0.1:{runtime_port}"),
            ])
            .arg(tool("OTP_E2E_BOOTSTRAP"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the runtime interface emulator should start");
        let log = Arc::new(Mutex::new(String::new()));
        collect(emulator.stdout.take().unwrap(), &log);
        collect(emulator.stderr.take().unwrap(), &log);
        let client = ureq::Agent::config_builder()
            // This is longer than any invocation takes: if a client gives up, the emulator crashes.
            .timeout_global(Some(Duration::from_secs(20)))
            .http_status_as_error(false)
            .build()
            .into();
        let function = Self {
            emulator,
            port,
            log,
            client,
        };
        // The emulator begins to listen for invocations first, and for the function a moment later. If a function
        // starts between these two moments, the function ends at once, and its invocation gets status 502.
        eventually("the emulator listens on both ports", || {
            [port, runtime_port]
                .iter()
                .all(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok())
        });
        function
    }

    /// Invokes the function with an event, and returns its response.
    pub(crate) fn invoke(&self, event: &str) -> Value {
        let (status, body) = self.answer(event);
        match serde_json::from_str(&body) {
            Ok(response) if status == 200 => response,
            _ => panic!(
                "the function should respond. The emulator answered {status} {body:?}. The log:\n{}",
                self.log()
            ),
        }
    }

    /// Like `invoke`, but returns `None` if the function's process ended before it responded.
    pub(crate) fn invoke_unless_killed(&self, event: &str) -> Option<Value> {
        let (status, body) = self.answer(event);
        (status == 200).then(|| {
            serde_json::from_str(&body)
                .unwrap_or_else(|_| panic!("not JSON: {body:?}. The log:\n{}", self.log()))
        })
    }

    /// The status and the body of the emulator's answer to an event.
    fn answer(&self, event: &str) -> (u16, String) {
        let url = format!(
            "http://127.0.0.1:{}/2015-03-31/functions/function/invocations",
            self.port
        );
        let answer = self.client.post(url).send(event).and_then(|mut response| {
            let body = response.body_mut().read_to_string()?;
            Ok((response.status().as_u16(), body))
        });
        answer.unwrap_or_else(|error| {
            panic!(
                "the emulator should respond: {error}. The log:\n{}",
                self.log()
            )
        })
    }

    /// Invokes the function with an HTTP event, and returns the status and the body of its response.
    pub(crate) fn request(&self, event: &Value) -> (u64, Value) {
        let response = self.invoke(&event.to_string());
        http_response(&response).unwrap_or_else(|| panic!("not an HTTP response: {response}"))
    }

    /// Like `request`, with an event of a caller that AWS has authenticated.
    pub(crate) fn post(&self, route: &str, body: &Value) -> (u64, Value) {
        self.request(&request(DOOR, route, body))
    }

    /// The ID of the function's process, if it is running.
    pub(crate) fn process(&self) -> Option<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.emulator.id())).ok()?;
        let children =
            |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).ok();
        tasks
            .flatten()
            .filter_map(children)
            .find_map(|list| list.split_whitespace().next()?.parse().ok())
    }

    /// The memory of the function's process, in KiB.
    pub(crate) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Returns the log since the last call, and clears it.
    pub(crate) fn take_log(&self) -> String {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The log lines in JSON. Only the function itself writes JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.log()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // The emulator also ends the function.
        let _ = Command::new("kill")
            .arg(self.emulator.id().to_string())
            .status();
        let _ = self.emulator.wait();
    }
}

/// Waits up to 20 seconds until the condition holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The status and the body of an HTTP response, or `None` if `response` is not one.
pub(crate) fn http_response(response: &Value) -> Option<(u64, Value)> {
    Some((
        response["statusCode"].as_u64()?,
        serde_json::from_str(response["body"].as_str()?).ok()?,
    ))
}

/// The event of a request. It is the event in `events/` for this route and event shape, with another body.
pub(crate) fn request(door: &str, route: &str, body: &Value) -> Value {
    let mut event = file(&format!("{route}.{door}"));
    event["body"] = json!(body.to_string());
    event
}

/// Like `request`, with an idempotency key.
pub(crate) fn keyed_request(route: &str, body: &Value, key: &str) -> Value {
    let mut event = request(DOOR, route, body);
    event["headers"]["idempotency-key"] = json!(key);
    event
}

/// Like `request`, with an idempotency key if there is one.
pub(crate) fn event(route: &str, body: &Value, key: Option<&str>) -> Value {
    key.map_or_else(
        || request(DOOR, route, body),
        |key| keyed_request(route, body, key),
    )
}

/// A wrong guess of the same length as `code`. Each `nth` from 0 to 8 gives a different one.
pub(crate) fn wrong(code: &str, nth: u8) -> String {
    let (rest, last) = code.split_at(code.len() - 1);
    let last: u8 = last.parse().unwrap();
    format!("{rest}{}", (last + 1 + nth % 9) % 10)
}

/// Whether a text contains a code. Digits inside a longer number, an ID or the fraction of a second do not count: such
/// digits may equal the code by chance.
pub(crate) fn contains_code(text: &str, code: &str) -> bool {
    let is_part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    text.match_indices(code).any(|(at, _)| {
        let (before, after) = (&text.as_bytes()[..at], &text.as_bytes()[at + code.len()..]);
        let is_fraction = before.last() == Some(&b'.') && after.first() == Some(&b'Z');
        !is_fraction && !is_part(before.last()) && !is_part(after.first())
    })
}

#[test]
fn a_code_is_found_by_itself_and_not_in_another_number() {
    for text in [
        "123456",
        "otp=123456&",
        "\"123456\"",
        "code 123456.",
        "1 123456 2",
    ] {
        assert!(contains_code(text, "123456"), "{text}");
    }
    for text in [
        "1795000123456",
        "2026-11-28T10:15:00.123456Z",
        "\"n\":\"1234567\"",
        "5098cb55-c8b7-461c-a6e5-80b123456f14",
    ] {
        assert!(!contains_code(text, "123456"), "{text}");
    }
}

/// Reads `events/NAME.json`.
pub(crate) fn file(name: &str) -> Value {
    let path = format!("{}/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Collects what a program prints.
pub(crate) fn collect(mut stream: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let read = buffer.get(..length).unwrap_or_default();
            log.lock().unwrap().push_str(&String::from_utf8_lossy(read));
        }
    });
}

/// Runs a Python script of this folder, and returns the JSON that it prints.
pub(crate) fn python(
    python: &Path,
    script: &str,
    arguments: &[&str],
    settings: &Settings,
) -> Value {
    let output = Command::new(python)
        .arg(format!("{}/tests/e2e/{script}", env!("CARGO_MANIFEST_DIR")))
        .args(arguments)
        .env_clear()
        .envs(settings)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
