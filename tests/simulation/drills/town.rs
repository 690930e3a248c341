//! The function, the provider and the people of one drill, in virtual time.

use async_trait::async_trait;
use aws_config::Region;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_types::os_shim_internal::Env;
use fastrand::Rng;
use futures_util::FutureExt;
use otp_lambda::app::{App, Invocation, InvokedAs};
use otp_lambda::aws::SharedHttpClient;
use otp_lambda::ledger::{Switches, Unavailable};
use otp_lambda::settings::Settings;
use otp_lambda::telemetry::{self, Metrics};
use otp_lambda::time::Millis;
use serde_json::{Value, json};
use simulator::layer::{Layer, Layered, Reply, Step};
use simulator::{Failure, MemoryLedger, Operation, Simulator, simulated_config};
use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::recorder::{Function, Recorder};

/// Monday, 2035-01-01, 00:00 UTC. The clock of the simulator moves forward only, so this is far ahead.
const BEGAN: Duration = Duration::from_hours(569_784);

/// How long the table takes for a step.
const STEP: Duration = Duration::from_millis(5);
const SLOW_STEP: Duration = Duration::from_millis(350);

/// The time limits of a step of DynamoDB's ledger, if no answer comes: a read is repeated until the time of the step is
/// over. Most writes are not repeated, because DynamoDB may have executed them.
const SILENT_READ: Duration = Duration::from_secs(2);
const SILENT_WRITE: Duration = Duration::from_secs(1);

const AN_HOUR: u64 = 3600;

/// How the ledger fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fares {
    Well,
    /// Every step takes a third of a second.
    Slowly,
    /// DynamoDB refuses every step at once.
    Refuses,
    /// DynamoDB does not answer, so every step fails when its time is over.
    IsSilent,
    /// A step shows a defect of the program.
    Panics,
}

impl Fares {
    const ALL: [Self; 5] = [
        Self::Well,
        Self::Slowly,
        Self::Refuses,
        Self::IsSilent,
        Self::Panics,
    ];
}

/// The ledger in memory, which takes time and can fail.
#[derive(Clone)]
struct Table {
    memory: MemoryLedger,
    fares: Arc<AtomicU8>,
}

#[async_trait]
impl Layer for Table {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable> {
        let fares = Fares::ALL[usize::from(self.fares.load(Ordering::Relaxed))];
        let takes = match fares {
            Fares::Slowly => SLOW_STEP,
            Fares::IsSilent if step.is_read() => SILENT_READ,
            Fares::IsSilent => SILENT_WRITE,
            Fares::Well | Fares::Refuses | Fares::Panics => STEP,
        };
        tokio::time::sleep(takes).await;
        match fares {
            Fares::Well | Fares::Slowly => step.run(&self.memory).await,
            Fares::Refuses | Fares::IsSilent => Err(Unavailable("made up".to_owned())),
            // Calls no panic hook, which would print.
            Fares::Panics => std::panic::resume_unwind(Box::new("made up")),
        }
    }
}

/// Hands the requests of the SDK to the simulator, without a connection.
#[derive(Debug, Clone)]
struct InProcess(Arc<Simulator>);

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let simulator = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().unwrap();
            let request = request.map(|body| body.bytes().unwrap().to_vec().into());
            let response = simulator.respond(request).await;
            // As in the function's own client, after a connection was there.
            let response = response.map_err(|error| ConnectorError::io(error.into()))?;
            Ok(HttpResponse::try_from(response.map(|bytes| SdkBody::from(&bytes[..]))).unwrap())
        })
    }
}

/// The lines of one invocation.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

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

/// The settings that differ from the defaults, or that have none.
const SETTINGS: [(&str, &str); 11] = [
    ("OTP_PROVIDER", "end-user-messaging"),
    ("ORIGINATION_IDENTITY", "+12065550100"),
    ("BRAND_NAME", "ExampleCorp"),
    ("ALLOWED_COUNTRIES", "US,GB,DE,FR,IN,JM"),
    ("METRICS", "full"),
    ("LEDGER_TABLE", "otp"),
    ("LEDGER_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    // A quarter of the people of these drills sign in.
    ("SIGN_IN_SHARE", "25"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "example"),
];

/// Lambda, as far as callers notice it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Lambda {
    #[default]
    Runs,
    /// Lambda refuses all invocations, because there are too many.
    Refuses,
    /// Each invocation ends without a response, as after a timeout.
    Dies,
}

pub(super) struct Town {
    app: App,
    metrics: Option<Metrics>,
    pub(super) simulator: Arc<Simulator>,
    table: Table,
    log: Log,
    http_event: Value,
    /// Milliseconds since the beginning.
    pub(super) now: u64,
    swept: u64,
    pub(super) rng: Rng,
    pub(super) recorder: Recorder,
    pub(super) lambda: Lambda,
    /// The calls of the provider that fail, and how.
    pub(super) provider_fails: Option<(Operation, Failure)>,
    _subscriber: DefaultGuard,
}

impl Town {
    pub(super) async fn new(seed: u64) -> Self {
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let simulator = Arc::new(simulator);
        let log = Log::default();
        let subscriber = telemetry::install_for_thread(LevelFilter::INFO, log.clone());
        let table = Table {
            memory: MemoryLedger::new(),
            fares: Arc::default(),
        };
        let (app, metrics) = build(&simulator, &table, &[]).await;
        let http_event = include_str!("../../../events/send.http-v2.json");
        Self {
            app,
            metrics,
            simulator,
            table,
            log,
            http_event: serde_json::from_str(http_event).unwrap(),
            now: 0,
            swept: 0,
            rng: Rng::with_seed(seed),
            recorder: Recorder::default(),
            lambda: Lambda::default(),
            provider_fails: None,
            _subscriber: subscriber,
        }
    }

    /// Replaces the function by one with these settings beside those of all drills, as a deployment does.
    pub(super) async fn deploy(&mut self, settings: &[(&str, &str)]) {
        (self.app, self.metrics) = build(&self.simulator, &self.table, settings).await;
    }

    pub(super) fn ledger(&self, fares: Fares) {
        let place = Fares::ALL.iter().position(|it| *it == fares).unwrap();
        let place = u8::try_from(place).unwrap();
        self.table.fares.store(place, Ordering::Relaxed);
    }

    /// `make block PREFIX=…`.
    pub(super) fn block(&self, prefixes: &[&str]) {
        self.table.memory.switch(Switches {
            blocked: prefixes.iter().map(|it| (*it).to_owned()).collect(),
            ..Switches::default()
        });
    }

    /// Moves the clocks forward to this time.
    pub(super) fn advance_to(&mut self, now: u64) {
        self.now = self.now.max(now);
        let hour = self.now / 1000 / AN_HOUR;
        if hour > self.swept {
            self.swept = hour;
            // The simulator keeps every message and request, and the codes of an hour ago are over.
            if hour.is_multiple_of(24) {
                self.simulator.reset();
            }
            let now = self.time().duration_since(UNIX_EPOCH).unwrap();
            let now = Millis(u64::try_from(now.as_millis()).unwrap());
            self.table.memory.sweep(now);
        }
        if let Ok(ahead) = self.time().duration_since(self.simulator.now()) {
            self.simulator.advance(ahead);
        }
    }

    fn time(&self) -> SystemTime {
        UNIX_EPOCH + BEGAN + Duration::from_millis(self.now)
    }

    /// Posts JSON to a path, as a backend. `None`: no response of the function.
    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Option<(u64, Value)> {
        let event = &mut self.http_event;
        event["rawPath"] = json!(path);
        event["routeKey"] = json!(format!("POST {path}"));
        event["body"] = json!(body.to_string());
        let event = event.to_string();
        let answer = self.invoke(Function::Http, event).await?;
        let body = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        Some((answer["statusCode"].as_u64().unwrap(), body))
    }

    /// Calls a trigger of the pool, and returns the member `response`.
    pub(super) async fn trigger(&mut self, event: &Value) -> Option<Value> {
        let mut answer = self.invoke(Function::Triggers, event.to_string()).await?;
        Some(answer["response"].take())
    }

    async fn invoke(&mut self, function: Function, event: String) -> Option<Value> {
        let minute = self.minute();
        match self.lambda {
            Lambda::Runs => {}
            Lambda::Refuses => {
                self.recorder.lambda(minute, function, "Throttles", 1.0);
                return None;
            }
            Lambda::Dies => {
                self.recorder.lambda(minute, function, "Invocations", 1.0);
                self.recorder.lambda(minute, function, "Errors", 1.0);
                return None;
            }
        }
        self.prepare_provider();
        let started = Instant::now();
        let now = self.time();
        let invocation = Invocation {
            invoked_as: InvokedAs::Itself,
            request_id: "8f507cfc-xmpl-4697-b07a-ac58fc914c95".to_owned(),
            trace: None,
            deadline: now + Duration::from_secs(10),
        };
        let event = serde_json::value::RawValue::from_string(event).unwrap();
        let work = self.app.handle_at(now, &event, invocation);
        let ended = AssertUnwindSafe(work).catch_unwind().await;
        let has_failed = !matches!(ended, Ok(Ok(_)));
        if ended.is_err() {
            telemetry::write_panic(Some("a drill"), self.metrics.as_ref());
        }
        // AWS takes the time of a line, which is the end of its request.
        self.now += u64::try_from(started.elapsed().as_millis()).unwrap();
        let end = self.minute();
        self.recorder.lambda(end, function, "Invocations", 1.0);
        let failed = f64::from(u8::from(has_failed));
        self.recorder.lambda(end, function, "Errors", failed);
        let text = std::mem::take(&mut *self.log.0.lock().unwrap());
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            self.recorder
                .line(end, &serde_json::from_slice(line).unwrap());
        }
        let answer = ended.ok()?.ok()?;
        Some(serde_json::from_str(answer.get()).unwrap())
    }

    /// The provider answers after a while, or fails.
    fn prepare_provider(&mut self) {
        self.simulator.clear_failures();
        for operation in [Operation::Send, Operation::Verify] {
            let usual = match self.rng.u32(0..100) {
                0 => self.rng.u64(500..1200),
                _ => self.rng.u64(60..180),
            };
            let failure = match &self.provider_fails {
                Some((of, failure)) if *of == operation => failure.clone(),
                _ => Failure::Slow(Duration::from_millis(usual)),
            };
            self.simulator.fail_next(operation, failure);
        }
    }

    pub(super) fn minute(&self) -> u32 {
        u32::try_from(self.now / 60_000).unwrap()
    }
}

async fn build(
    simulator: &Arc<Simulator>,
    table: &Table,
    settings: &[(&str, &str)],
) -> (App, Option<Metrics>) {
    let environment: BTreeMap<_, _> = SETTINGS.iter().chain(settings).copied().collect();
    let read = |name: &str| environment.get(name).map(|value| (*value).to_owned());
    let read = Settings::read(&read).unwrap();
    let metrics = read.metrics.clone();
    let connector = SharedHttpConnector::new(InProcess(Arc::clone(simulator)));
    let client: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
    let variables: Vec<_> = environment.into_iter().collect();
    let config = simulated_config(client)
        .env(Env::from_slice(&variables))
        .region(Region::new("us-east-1"))
        .endpoint_url(simulator.url());
    let ledger = Box::new(Layered(table.clone()));
    let app = App::build(read, &config.load().await, Some(ledger)).await;
    (app.unwrap(), metrics)
}
