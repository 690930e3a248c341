//! The shipped function on this machine: `make run` and `make invoke`.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use otp_lambda::{
    app::{App, Invocation, InvokedAs},
    aws,
    settings::Settings,
    telemetry,
};
use serde_json::value::RawValue;

use crate::{
    MemoryLedger, Service, Simulator,
    front::{Front, HandlerError},
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
    pub foreign_codes: bool,
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
    /// If a listener is not on a loopback address, or the function does not start.
    pub async fn start(
        phone: TcpListener,
        api: TcpListener,
        options: &Options,
    ) -> io::Result<Self> {
        let simulator = Arc::new(Simulator::start_on(phone)?);
        let ledger = MemoryLedger::new();
        let emptied = ledger.clone();
        simulator.also_reset(move || emptied.reset());
        if options.provider != PINPOINT {
            simulator.describe(Service::EndUserMessaging);
        }
        let app = Arc::new(function(&simulator.url(), options, ledger).await?);
        let clock = Arc::clone(&simulator);
        let front = Front::start_on(api, move |event: Box<RawValue>, request_id| {
            let app = Arc::clone(&app);
            // The function uses the clock of the phone. So moving that clock moves both.
            let now = clock.now();
            let invocation = Invocation {
                invoked_as: InvokedAs::Itself,
                request_id,
                deadline: now + TIME_LIMIT,
            };
            async move {
                let result = app.handle_at(now, &event, invocation).await;
                let result = result.map_err(|error| HandlerError {
                    kind: error.kind.to_owned(),
                    message: error.message.into_owned(),
                })?;
                serde_json::from_str(result.get()).map_err(|_| "The result is not JSON.".into())
            }
        })?;
        Ok(Self { simulator, front })
    }
}

/// The shipped function with the desk's settings.
async fn function(phone: &str, options: &Options, ledger: MemoryLedger) -> io::Result<App> {
    let provider = options.provider.as_str();
    let is_pinpoint = provider == PINPOINT;
    let settings = Settings::read(&|name| {
        let value = match name {
            "OTP_PROVIDER" => provider,
            "PINPOINT_APPLICATION_ID" if is_pinpoint => "desk",
            // All channels of End User Messaging are on, so that people can try them.
            "CHANNELS" if !is_pinpoint => "sms,voice,whatsapp",
            "WHATSAPP_TEMPLATE" if !is_pinpoint => "verification_code",
            "MESSAGE_FEEDBACK" if !is_pinpoint => "on",
            "FOREIGN_CODES" if options.foreign_codes => "on",
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "desk",
            "ORIGINATION_IDENTITY" => "+12065550100",
            "BRAND_NAME" => "ExampleCorp",
            "ALLOWED_COUNTRIES" => "*",
            // Events of a load balancer have no principal, so the IAM mode would refuse them.
            "API_AUTH" => "trusted",
            "AWS_REGION" => "us-east-1",
            "AWS_ENDPOINT_URL" => phone,
            "LEDGER_TABLE" => "in-memory",
            "LEDGER_KEY" => KEY,
            // Half of the limits are for sign-ins. So each door has the default.
            "SIGN_IN_SHARE" => "50",
            "SEND_LIMITS" => "1/30s,2/90s,3/10m,12/24h",
            // One person tries several numbers here, so the limits across numbers are off.
            "PREFIX_LIMITS" | "BUDGETS" => "none",
            _ => return None,
        };
        Some(value.to_owned())
    })
    .map_err(io::Error::other)?;
    telemetry::install(settings.log_level);
    let config = simulated_config(aws::http_client(None))
        .endpoint_url(phone)
        .load()
        .await;
    // Only the ledger is not the shipped one: it is in this program's memory.
    App::build(settings, &config, Some(Box::new(ledger)))
        .await
        .map_err(io::Error::other)
}
