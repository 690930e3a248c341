//! The shipped binary, running under the runtime interface emulator.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A function in an execution environment of its own. One invocation at a time, as in Lambda.
pub(crate) struct Function {
    emulator: Child,
    port: u16,
    log: Arc<Mutex<String>>,
}

/// A variable that `make test` sets.
#[expect(clippy::disallowed_methods, reason = "tests find their tools by the environment")]
pub(crate) fn tool(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run these tests by `make test`"))
}

/// The settings the function runs with.
pub(crate) fn settings(pinpoint: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("PINPOINT_APPLICATION_ID", "9aad3a0a1e6d4cfda6d6ad7c7d6e2a8d".to_owned()),
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

impl Function {
    pub(crate) fn start(settings: &BTreeMap<&'static str, String>) -> Self {
        let (port, runtime_port) = (free_port(), free_port());
        let mut emulator = Command::new(tool("OTP_E2E_RIE"))
            .env_clear()
            .envs(settings)
            .env("AWS_LAMBDA_FUNCTION_NAME", "otp-lambda")
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "5")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .args(["--log-level", "warn"])
            .args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")])
            .args(["--runtime-api-address", &format!("127.0.0.1:{runtime_port}")])
            .arg(tool("OTP_E2E_BOOTSTRAP"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the runtime interface emulator starts");
        let log = Arc::new(Mutex::new(String::new()));
        collect(emulator.stdout.take().unwrap(), &log);
        collect(emulator.stderr.take().unwrap(), &log);
        let function = Self { emulator, port, log };
        eventually("the emulator listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        function
    }

    /// What Lambda's Invoke API gives back for an event.
    pub(crate) fn invoke(&self, event: &str) -> Value {
        let url = format!("http://127.0.0.1:{}/2015-03-31/functions/function/invocations", self.port);
        // Longer than the function may take: the emulator does not survive a client that gives up.
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(20))).build().into();
        let mut answer = agent.post(url).send(event).expect("the emulator answers");
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).expect("an answer in JSON")
    }

    /// What the function answers to an HTTP event: its status and its body.
    pub(crate) fn request(&self, event: &Value) -> (u64, Value) {
        let answer = self.invoke(&event.to_string());
        let body = answer["body"].as_str().unwrap_or_else(|| panic!("no HTTP answer: {answer}"));
        (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap())
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The lines that the function itself wrote so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // The emulator takes the function down with it.
        let _ = Command::new("kill").arg(self.emulator.id().to_string()).status();
        let _ = self.emulator.wait();
    }
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn file(name: &str) -> Value {
    let path = format!("{}/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn collect(mut stream: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let read = buffer.get(..length).unwrap_or_default();
            log.lock().unwrap().push_str(&String::from_utf8_lossy(read));
        }
    });
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
