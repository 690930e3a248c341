//! One function with a simulated AWS and a log.

use crate::{document, with};
use aws_config::Region;
use aws_credential_types::Credentials;
use aws_types::os_shim_internal::Env;
use otp_lambda::app::{App, Invocation, InvokedAs};
use otp_lambda::aws::{self, SharedHttpClient};
use otp_lambda::error::FunctionError;
use otp_lambda::ledger::Ledger;
use otp_lambda::settings::Settings;
use otp_lambda::telemetry;
use otp_lambda::time::Millis;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use simulator::{MemoryLedger, Simulator};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// A number that belongs to nobody: the block 555-01xx is reserved for fiction.
pub(crate) const NUMBER: &str = "+14255550142";

/// The function under test and its surroundings.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) ledger: MemoryLedger,
    pub(crate) log: Log,
    app: App,
    time_left: Duration,
    pub(crate) invoked_as: InvokedAs,
    /// The tracing header of the next invocations.
    pub(crate) trace: Option<String>,
    now: Mutex<Option<SystemTime>>,
    _subscriber: DefaultGuard,
}

/// The usual settings, as the template sets them.
pub(crate) fn environment(endpoint: &str) -> BTreeMap<String, String> {
    [
        ("OTP_PROVIDER", with::NAME),
        ("ORIGINATION_IDENTITY", "+12065550100"),
        ("BRAND_NAME", "ExampleCorp"),
        ("ALLOWED_COUNTRIES", "US,GB,JM,IN"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "example"),
        ("AWS_SESSION_TOKEN", "example"),
        ("LOG_LEVEL", "trace"),
        ("METRICS", "full"),
    ]
    .into_iter()
    .chain(with::ENDPOINTS.iter().map(|name| (*name, endpoint)))
    .chain(with::SETTINGS.iter().copied())
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// The usual settings with these changes.
pub(crate) fn changed(endpoint: &str, changes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut environment = environment(endpoint);
    environment.extend(
        changes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    // A function that signs users in.
    if environment.contains_key("COGNITO_FLOOR_MS") {
        let share = environment.entry("SIGN_IN_SHARE".to_owned());
        share.or_insert_with(|| "50".to_owned());
    }
    // A test removes an endpoint by an empty value.
    environment.retain(|name, value| !(name.starts_with("AWS_ENDPOINT_URL") && value.is_empty()));
    environment
}

/// Reads the usual settings with these changes.
pub(crate) fn read(endpoint: &str, changes: &[(&str, &str)]) -> Settings {
    let environment = changed(endpoint, changes);
    Settings::read(&|name| environment.get(name).cloned()).unwrap()
}

/// Builds the function in this environment as `main` does, but with this ledger and, if given, this HTTP client.
pub(crate) async fn app(
    environment: &BTreeMap<String, String>,
    client: Option<SharedHttpClient>,
    ledger: Box<dyn Ledger>,
) -> App {
    let settings = Settings::read(&|name| environment.get(name).cloned()).unwrap();
    assert_eq!(settings.log_level, LevelFilter::TRACE);
    let client = client.unwrap_or_else(|| aws::http_client(settings.ca_bundle.as_deref()));
    let set = environment.iter().filter(|(_, value)| !value.is_empty());
    let variables: Vec<_> = set
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let credentials = Credentials::builder()
        .access_key_id(&environment["AWS_ACCESS_KEY_ID"])
        .secret_access_key(&environment["AWS_SECRET_ACCESS_KEY"])
        .session_token(&environment["AWS_SESSION_TOKEN"])
        .provider_name("test")
        .build();
    let config = aws::config_loader(client)
        .env(Env::from_slice(&variables))
        .region(Region::new(environment["AWS_REGION"].clone()))
        .credentials_provider(credentials)
        .load()
        .await;
    App::build(settings, &config, Some(ledger)).await.unwrap()
}

/// The key of the ledger's hashes.
pub(crate) const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Lets this thread write to the returned log, as long as the guard lives.
fn start_log() -> (Log, DefaultGuard) {
    let log = Log::default();
    let subscriber = telemetry::install_for_thread(LevelFilter::TRACE, log.clone());
    (log, subscriber)
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A function with these changes to the usual settings.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let environment = changed(&simulator.url(), settings);
        // The function may already write to the log when it starts.
        let (log, subscriber) = start_log();
        let ledger = MemoryLedger::new();
        let app = app(&environment, None, Box::new(ledger.clone())).await;
        Self::put_together(app, simulator, ledger, log, subscriber)
    }

    /// A function with a ledger in memory and these changes to the usual settings.
    pub(crate) async fn counted(settings: &[(&str, &str)]) -> Self {
        let with_ledger = [("LEDGER_TABLE", "otp"), ("LEDGER_KEY", KEY)];
        let world = Self::with(&[&with_ledger, settings].concat()).await;
        // Only `advance` moves the clock, so that tests can reach limits to the millisecond.
        *world.now.lock().unwrap() = Some(world.simulator.now());
        world
    }

    /// A function made by the test.
    pub(crate) fn around(app: App, simulator: Simulator) -> Self {
        let (log, subscriber) = start_log();
        Self::put_together(app, simulator, MemoryLedger::new(), log, subscriber)
    }

    fn put_together(
        app: App,
        simulator: Simulator,
        ledger: MemoryLedger,
        log: Log,
        subscriber: DefaultGuard,
    ) -> Self {
        Self {
            app,
            simulator,
            ledger,
            log,
            time_left: Duration::from_secs(10),
            invoked_as: InvokedAs::Itself,
            trace: None,
            now: Mutex::default(),
            _subscriber: subscriber,
        }
    }

    /// Moves the clock to the beginning of a day, so that the windows begin at the same moments in every run.
    pub(crate) fn begin_a_day(&self) {
        const DAY: u64 = 24 * 3_600_000;
        let Millis(now) = Millis::from(self.simulator.now());
        self.advance(Duration::from_millis(DAY + 500 - now % DAY));
    }

    /// Moves the clocks of the function and of the phone, and deletes expired items.
    pub(crate) fn advance(&self, by: Duration) {
        self.simulator.advance(by);
        if let Some(now) = self.now.lock().unwrap().as_mut() {
            *now += by;
        }
        let now = self
            .simulator
            .now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        self.ledger
            .sweep(Millis(u64::try_from(now.as_millis()).unwrap()));
    }

    /// Replaces the function by one with other settings, but the same phone and ledger.
    pub(crate) async fn reconfigure(&mut self, settings: &[(&str, &str)]) {
        let environment = changed(&self.simulator.url(), settings);
        self.app = app(&environment, None, Box::new(self.ledger.clone())).await;
    }

    /// Sets the time that Lambda gives to each of the next invocations.
    pub(crate) fn set_time_left(&mut self, left: Duration) {
        self.time_left = left;
    }

    /// Stops the function's clock at this time. Without this it shows the simulator's time.
    pub(crate) fn set_now(&mut self, now: SystemTime) {
        *self.now.lock().unwrap() = Some(now);
    }

    /// Opens the function's connections, as `main` does at the start.
    pub(crate) async fn connect(&self) {
        let now = *self.now.lock().unwrap();
        self.app
            .connect_at(now.unwrap_or_else(|| self.simulator.now()))
            .await;
    }

    /// Invokes the function with an event, as Lambda's runtime does.
    pub(crate) async fn raw(&self, event: &str) -> Result<Value, FunctionError> {
        self.text(event)
            .await
            .map(|answer| serde_json::from_str(&answer).unwrap())
    }

    /// As [`raw`](Self::raw), but returns the exact text of the response.
    pub(crate) async fn text(&self, event: &str) -> Result<String, FunctionError> {
        let event: Box<RawValue> =
            serde_json::from_str(event).expect("the runtime passes only JSON");
        let now = self
            .now
            .lock()
            .unwrap()
            .unwrap_or_else(|| self.simulator.now());
        let invocation = Invocation {
            invoked_as: self.invoked_as,
            request_id: "8f507cfc-xmpl-4697-b07a-ac58fc914c95".to_owned(),
            trace: self.trace.clone(),
            deadline: now + self.time_left,
        };
        let answer = self.app.handle_at(now, &event, invocation).await?;
        self.check_for_leaks("the response", &said(answer.get()));
        document::check(event.get(), answer.get());
        Ok(answer.get().to_owned())
    }

    /// Invokes the function with an HTTP event, which always gets a response.
    pub(crate) async fn event(&self, event: &Value) -> Answer {
        Answer::read(
            &self
                .raw(&event.to_string())
                .await
                .expect("an HTTP event gets a response"),
        )
    }

    /// Posts JSON to a path, as an authenticated caller of an HTTP API.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.event(&post(path, &body.to_string())).await
    }

    /// Sends a code to [`NUMBER`] and reads it on the phone.
    pub(crate) async fn code_on_the_phone(&self) -> String {
        let answer = self
            .post("/otp/send", &json!({ "destinationNumber": NUMBER }))
            .await;
        assert_eq!(answer.status, 202, "{answer:?}");
        self.newest_code()
    }

    pub(crate) fn newest_code(&self) -> String {
        self.simulator
            .newest_to(NUMBER)
            .expect("a text arrived")
            .code
    }

    /// The last request to send, in terms of every provider.
    pub(crate) fn asked_to_send(&self) -> Value {
        with::asked_to_send(
            &self
                .simulator
                .requests(simulator::Operation::Send)
                .last()
                .unwrap()
                .body,
        )
    }

    /// The log line of the last invocation.
    pub(crate) fn last_line(&self) -> Value {
        let text = self.log.text();
        serde_json::from_str(text.lines().last().expect("a line was written")).unwrap()
    }

    fn check_for_leaks(&self, place: &str, text: &str) {
        for secret in self.secrets() {
            assert!(!text.contains(&secret), "{place} holds {secret}: {text}");
        }
    }

    /// Every code and every full number of the test. Numbers are without their plus.
    fn secrets(&self) -> Vec<String> {
        let mut secrets = vec![NUMBER.trim_start_matches('+').to_owned()];
        for message in self.simulator.inbox() {
            secrets.push(message.code);
            secrets.push(message.to.trim_start_matches('+').to_owned());
        }
        for request in self.simulator.requests(simulator::Operation::Verify) {
            let otp = request.body.get("Otp").or_else(|| request.body.get("code"));
            secrets.extend(otp.and_then(Value::as_str).map(str::to_owned));
        }
        secrets
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let log = self.log.text();
            self.check_for_leaks("the log", &without_chance(&log));
            let metrics = simulator::emf::metrics_of_log(&log).unwrap();
            assert!(metrics.len() <= 60, "{metrics:?}");
        }
    }
}

/// A log without the times of its lines, without the callers that AWS has named, and without the IDs that the simulated
/// provider gives to requests. Times, IDs and the account of a caller may contain six digits that equal a code by chance.
fn without_chance(log: &str) -> String {
    let mut rest = log;
    let mut kept = String::new();
    while let Some(at) = [
        "\"timestamp\":\"",
        "\"caller\":\"",
        "\"Timestamp\":",
        "\"providerRequestId\":\"",
    ]
    .iter()
    .filter_map(|name| Some(rest.find(name)? + name.len()))
    .min()
    {
        let (before, value) = rest.split_at(at);
        kept.push_str(before);
        rest = value.find(['"', '}']).map_or("", |end| &value[end..]);
    }
    kept + rest
}

/// The part of a response that the function itself writes. The response of a trigger is its whole event, including the
/// number that AWS put in. Of this event, the function writes only the field `response`. Random values are removed from
/// the result, because six digits in them may equal a code by chance.
fn said(answer: &str) -> String {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(answer).unwrap();
    let (true, Some(response)) = (
        members.contains_key("triggerSource"),
        members.get("response"),
    ) else {
        return without_random_ids(answer);
    };
    let read: Value = serde_json::from_str(response.get()).unwrap();
    let private = &read["privateChallengeParameters"];
    let drawn = ["reference", "nonce"]
        .iter()
        .filter_map(|member| private[member].as_str());
    let drawn = drawn.filter(|text| {
        text.len() >= 32 && text.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit())
    });
    drawn.fold(response.get().to_owned(), |said, drawn| {
        said.replace(drawn, "…")
    })
}

/// A response without its hashes and random IDs, which are 32 hexadecimal digits.
fn without_random_ids(answer: &str) -> String {
    let parts = answer.split_inclusive(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
    let is_kept = |part: &&str| part.bytes().filter(u8::is_ascii_hexdigit).count() < 32;
    parts.filter(is_kept).collect()
}

/// The real time.
#[expect(clippy::disallowed_methods, reason = "the test's own clock")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// A response of any shape.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn read(answer: &Value) -> Self {
        let headers = answer
            .get("headers")
            .or_else(|| answer.get("multiValueHeaders"))
            .unwrap()
            .as_object()
            .unwrap();
        let text = |value: &Value| {
            value
                .as_str()
                .or_else(|| value.pointer("/0")?.as_str())
                .unwrap()
                .to_owned()
        };
        assert_eq!(answer["isBase64Encoded"], json!(false));
        Self {
            status: answer["statusCode"].as_u64().unwrap(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            body: serde_json::from_str(answer["body"].as_str().unwrap()).unwrap(),
        }
    }

    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("no code")
    }

    /// Asserts a whole problem document with this code.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u64, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.headers["cache-control"], "no-store");
        assert_eq!(self.body["status"], json!(status));
        assert_eq!(self.body["type"], json!(format!("urn:otp-lambda:{code}")));
        assert_eq!(
            self.body["requestId"],
            "8f507cfc-xmpl-4697-b07a-ac58fc914c95"
        );
        for member in ["title", "detail"] {
            assert!(
                self.body[member]
                    .as_str()
                    .is_some_and(|text| text.len() > 5),
                "{self:?}"
            );
        }
        let known = [
            "type",
            "title",
            "status",
            "detail",
            "code",
            "requestId",
            "valid",
            "field",
            "attemptsLeft",
            "limit",
            "retryAfter",
            "delivery",
        ];
        for member in self.body.as_object().unwrap().keys() {
            assert!(known.contains(&member.as_str()), "{member}");
        }
        let header = self
            .headers
            .get("retry-after")
            .map(|seconds| json!(seconds.parse::<u64>().unwrap()));
        assert_eq!(header.as_ref(), self.body.get("retryAfter"));
    }
}

/// The event of `events/send.http-v2.json` with another path and body.
pub(crate) fn post(path: &str, body: &str) -> Value {
    let mut event = file("send.http-v2");
    event["rawPath"] = json!(path);
    event["routeKey"] = json!(format!("POST {path}"));
    event["body"] = json!(body);
    event
}

/// An event of the directory `events/`.
pub(crate) fn file(name: &str) -> Value {
    let path = format!("{}/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The names of the JSON files in a directory of the repository, without `.json`.
pub(crate) fn file_names(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(format!("{}/{directory}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let mut names: Vec<_> = entries
        .map(name)
        .filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// A log that can be read back.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}
