//! The shipped function on this machine: `make run` and `make invoke`.

use std::{
    collections::BTreeMap,
    io,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use otp_lambda::{
    app::{App, Invocation, InvokedAs},
    aws,
    settings::Settings,
    telemetry,
};
use serde_json::value::RawValue;

use crate::{
    Access, Call, MemoryLedger, Service, Simulator,
    front::{Front, HandlerError, Rules},
    lines::Lines,
    options::of_the_desk,
    simulated_config,
};

pub const PINPOINT: &str = "pinpoint";
pub const END_USER_MESSAGING: &str = "end-user-messaging";

/// The secret of the ledger. It protects nothing: the ledger is in this program's memory.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The timeout of the deployed function.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The provider that `make run` simulates, and its other settings.
#[derive(Clone, Debug)]
pub struct Options {
    /// [`PINPOINT`] or [`END_USER_MESSAGING`].
    pub provider: String,
    /// Settings of the function, in place of those of the desk.
    pub settings: BTreeMap<String, String>,
    pub access: Access,
    /// Whether the log is for people to read. Otherwise it has the lines of the deployed function.
    pub readable: bool,
}

impl Options {
    /// The desk's own settings.
    #[must_use]
    pub fn of(provider: &str) -> Self {
        Self {
            provider: provider.to_owned(),
            settings: BTreeMap::new(),
            access: Access::default(),
            readable: false,
        }
    }

    /// Whether everyone may send and verify.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.settings
            .get("API_AUTH")
            .is_some_and(|auth| auth == "none")
    }
}

/// The function behind a simulated API Gateway and with a simulated AWS. Its ledger is in memory.
#[derive(Debug)]
pub struct Local {
    pub simulator: Arc<Simulator>,
    pub front: Front,
}

impl Local {
    /// Starts the simulated AWS on one listener and the API on the other.
    ///
    /// # Errors
    ///
    /// If a listener is on an address that the options do not allow, or the function does not start.
    pub async fn start(
        phone: TcpListener,
        api: TcpListener,
        options: &Options,
    ) -> io::Result<Self> {
        let simulator = Arc::new(Simulator::start_for(phone, options.access.clone())?);
        let ledger = MemoryLedger::new();
        let emptied = ledger.clone();
        simulator.also_reset(move || emptied.reset());
        if options.provider != PINPOINT {
            simulator.describe(Service::EndUserMessaging);
        }
        let lines = options.readable.then(Lines::default);
        // If the listener is on all addresses, this address reaches it, too.
        let endpoint = format!("http://127.0.0.1:{}", simulator.address.port());
        let endpoint = if simulator.address.ip().is_unspecified() {
            endpoint
        } else {
            simulator.url()
        };
        let app = Arc::new(function(&endpoint, options, ledger, lines.clone()).await?);
        let phone = Arc::clone(&simulator);
        let rules = Rules {
            // In the open mode nobody signs. If a request were signed, the service would take its caller for a backend.
            is_signed: !options.is_open(),
            access: options.access.clone(),
            ..Rules::default()
        };
        let front = Front::start(api, rules, move |event: Box<RawValue>, request_id| {
            let app = Arc::clone(&app);
            let (phone, lines) = (Arc::clone(&phone), lines.clone());
            async move {
                // The function takes its time from the phone's clock. If that clock is moved, the time of both moves.
                let now = phone.now();
                let started = Instant::now();
                let invocation = Invocation {
                    invoked_as: InvokedAs::Itself,
                    request_id: request_id.clone(),
                    deadline: now + TIME_LIMIT,
                };
                let result = app.handle_at(now, &event, invocation).await;
                let result = result.map_err(|error| HandlerError {
                    kind: error.kind.to_owned(),
                    message: error.message.into_owned(),
                });
                let result = result.and_then(|result| {
                    serde_json::from_str(result.get()).map_err(|_| "The result is not JSON.".into())
                });
                let call = Call::of(&event, &result, now, started.elapsed());
                if let Some(lines) = lines {
                    lines.write_call(&call, &request_id);
                }
                phone.record_call(call);
                result
            }
        })?;
        simulator.serve_at(front.address.port());
        Ok(Self { simulator, front })
    }
}

/// The shipped function with the desk's settings.
async fn function(
    phone: &str,
    options: &Options,
    ledger: MemoryLedger,
    lines: Option<Lines>,
) -> io::Result<App> {
    let settings = Settings::read(&|name| {
        let own = match name {
            "OTP_PROVIDER" => options.provider.as_str(),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "desk",
            "AWS_REGION" => "us-east-1",
            "AWS_ENDPOINT_URL" => phone,
            "LEDGER_TABLE" => "in-memory",
            "LEDGER_KEY" => KEY,
            _ => match options.settings.get(name) {
                Some(given) => given,
                None => of_the_desk(options, name)?,
            },
        };
        Some(own.to_owned())
    })
    .map_err(io::Error::other)?;
    match lines {
        Some(lines) => telemetry::install_to(settings.log_level, move || lines.clone()),
        None => telemetry::install(settings.log_level),
    }
    let config = simulated_config(aws::http_client(None))
        .endpoint_url(phone)
        .load()
        .await;
    // Only the ledger is not the shipped one: it is in this program's memory.
    App::build(settings, &config, Some(Box::new(ledger)))
        .await
        .map_err(io::Error::other)
}
