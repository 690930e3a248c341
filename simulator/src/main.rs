//! The desk: the real function behind a simulated API Gateway, with simulated providers and a phone.
//!
//! `make run` starts it. Usage: `simulator [--port N] [--api-port N] [--provider NAME] [--foreign-codes] [--phone-only]`.

use std::{env, io, process::ExitCode, sync::Arc, time::Duration};

use otp_lambda::{
    app::{App, Invocation, InvokedAs},
    aws,
    settings::Settings,
    telemetry,
};
use serde_json::value::RawValue;
use simulator::{
    Bound, MemoryLedger, Service as Simulated, Simulator, bind_or_next, front::Front,
    simulated_config,
};
use tokio::signal::unix::{SignalKind, signal};

/// The letters O, T and P on a telephone keypad, then a zero.
const PHONE_PORT: u16 = 6870;
const API_PORT: u16 = 6880;

const PINPOINT: &str = "pinpoint";
const END_USER_MESSAGING: &str = "end-user-messaging";

/// The secret of the desk's ledger. It protects nothing: the ledger is in this program's memory.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The timeout of the deployed function.
const TIME_LIMIT: Duration = Duration::from_secs(10);

const USAGE: &str =
    "usage: simulator [--port N] [--api-port N] [--provider NAME] [--foreign-codes] [--phone-only]

  --port N          where the phone and the simulated providers listen (6870)
  --api-port N      where the service listens (6880)
  --provider NAME   pinpoint (the default) or end-user-messaging
  --foreign-codes   accept codes that other software sends, such as AWS's example
  --phone-only      the phone and the simulated providers, without the service";

struct Arguments {
    phone_port: u16,
    api_port: Option<u16>,
    provider: String,
    foreign_codes: bool,
}

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that a person starts"
)]
async fn main() -> ExitCode {
    let Some(arguments) = parse_arguments(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(arguments).await {
        Ok(()) => {
            println!("\nStopped.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a program that a person starts")]
async fn run(arguments: Arguments) -> io::Result<()> {
    let phone = bind(arguments.phone_port)?;
    let simulator = Arc::new(Simulator::start_on(phone.listener)?);
    let phone = simulator.url();
    let Some(port) = arguments.api_port else {
        println!("phone  {phone}\n\nCtrl-C stops it.");
        return wait_for_stop_signal().await;
    };

    let app = Arc::new(desk(&phone, &arguments).await?);
    let clock = Arc::clone(&simulator);
    let front = Front::start_on(
        bind(port)?.listener,
        move |event: Box<RawValue>, request_id| {
            let app = Arc::clone(&app);
            // The service uses the phone's clock, so moving that one moves both.
            let now = clock.now();
            let invocation = Invocation {
                invoked_as: InvokedAs::Itself,
                request_id,
                deadline: now + TIME_LIMIT,
            };
            async move {
                let answer = app
                    .handle_at(now, &event, invocation)
                    .await
                    .map_err(|error| error.to_string())?;
                serde_json::from_str(answer.get()).map_err(|error| error.to_string())
            }
        },
    )?;
    let api = front.url();
    let send = format!(
        "curl -sSw '\\n' {api}/otp/send -H 'content-type: application/json' -d '{{\"destinationNumber\":\"+14255550142\"}}'"
    );
    simulator.suggest(send.as_str());
    if arguments.provider != PINPOINT {
        simulator.describe(Simulated::EndUserMessaging);
    }
    println!(
        "otp-lambda is running on your desk. AWS is simulated: no account, no text, no bill.

  phone  {phone}   (open it in a browser: the texts arrive there)
  API    {api}

1. Send a code:

   {send}

2. Read it on the phone, and verify it (this asks you for the code):

   printf 'code: '; read -r otp; curl -sSw '\\n' {api}/otp/verify -H 'content-type: application/json' -d \
         '{{\"destinationNumber\":\"+14255550142\",\"otp\":\"'\"$otp\"'\"}}'
{}
Below is the log of the service, one line per request. Ctrl-C stops everything.
",
        if arguments.provider == PINPOINT {
            ""
        } else {
            "
3. To get a call or a WhatsApp message, add \"channel\":\"voice\" or \"channel\":\"whatsapp\" to the first command.
"
        }
    );
    wait_for_stop_signal().await
}

/// The shipped function with the desk's settings.
async fn desk(phone: &str, arguments: &Arguments) -> io::Result<App> {
    let provider = arguments.provider.as_str();
    let is_pinpoint = provider == PINPOINT;
    let settings = Settings::read(&|name| {
        let value = match name {
            "OTP_PROVIDER" => provider,
            "PINPOINT_APPLICATION_ID" if is_pinpoint => "desk",
            // Everything that End User Messaging offers, so that people can try it.
            "CHANNELS" if !is_pinpoint => "sms,voice,whatsapp",
            "WHATSAPP_TEMPLATE" if !is_pinpoint => "verification_code",
            "MESSAGE_FEEDBACK" if !is_pinpoint => "on",
            "FOREIGN_CODES" if arguments.foreign_codes => "on",
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "desk",
            "ORIGINATION_IDENTITY" => "+12065550100",
            "BRAND_NAME" => "ExampleCorp",
            "ALLOWED_COUNTRIES" => "*",
            "AWS_REGION" => "us-east-1",
            "AWS_ENDPOINT_URL" => phone,
            "LEDGER_TABLE" => "in-memory",
            "LEDGER_KEY" => KEY,
            // One person tries things here with several numbers, so the limits across numbers are off.
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
    // Only the ledger differs from the shipped function: it is in this program's memory.
    let ledger = Box::new(MemoryLedger::new());
    App::build(settings, &config, Some(ledger))
        .await
        .map_err(io::Error::other)
}

#[expect(clippy::print_stdout, reason = "a program that a person starts")]
fn bind(port: u16) -> io::Result<Bound> {
    let bound = bind_or_next(port)?;
    if let Some(taken) = bound.instead_of {
        println!(
            "Port {taken} is taken, so {} is used instead.",
            bound.listener.local_addr()?.port()
        );
    }
    Ok(bound)
}

/// Waits for Ctrl-C or SIGTERM.
async fn wait_for_stop_signal() -> io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
    }
}

/// Returns `None` if an argument is unknown or has a bad value.
fn parse_arguments(given: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments {
        phone_port: PHONE_PORT,
        api_port: Some(API_PORT),
        provider: PINPOINT.to_owned(),
        foreign_codes: false,
    };
    let mut given = given;
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--port" => arguments.phone_port = given.next()?.parse().ok()?,
            "--api-port" => arguments.api_port = Some(given.next()?.parse().ok()?),
            "--provider" => {
                arguments.provider = given.next()?;
                if ![PINPOINT, END_USER_MESSAGING].contains(&arguments.provider.as_str()) {
                    return None;
                }
            }
            "--foreign-codes" => arguments.foreign_codes = true,
            "--phone-only" => arguments.api_port = None,
            _ => return None,
        }
    }
    Some(arguments)
}
