//! The desk: the real function behind a simulated API Gateway, with simulated providers and a phone.
//!
//! `make run` starts it, and `make invoke` gives it one event. Usage: see [`USAGE`].

use std::{
    env, fs, io,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::ExitCode,
};

use simulator::{
    Bound, Simulator, bind_or_next,
    invoke::invoke,
    local::{END_USER_MESSAGING, Local, Options, PINPOINT},
};
use tokio::signal::unix::{SignalKind, signal};

/// The letters O, T and P on a telephone keypad, then a zero.
const PHONE_PORT: u16 = 6870;
const API_PORT: u16 = 6880;

const USAGE: &str =
    "usage: simulator [--port N] [--api-port N] [--provider NAME] [--foreign-codes] [--phone-only] [--invoke FILE]

  --port N          where the phone and the simulated providers listen (6870)
  --api-port N      where the service listens (6880)
  --provider NAME   pinpoint (the default) or end-user-messaging
  --foreign-codes   accept codes that other software sends, such as AWS's example
  --phone-only      the phone and the simulated providers, without the service
  --invoke FILE     give the event in FILE to the desk that runs, and print the response";

struct Arguments {
    phone_port: u16,
    api_port: u16,
    options: Options,
    phone_only: bool,
    invoke: Option<PathBuf>,
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
    if let Some(file) = &arguments.invoke {
        return match invoke_file(file, &arguments).await {
            Ok(code) => code,
            Err(error) => {
                eprintln!("simulator: {}: {error}", file.display());
                ExitCode::FAILURE
            }
        };
    }
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

/// Gives an event to the running desk. If none runs, starts one for this event.
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that a person starts"
)]
async fn invoke_file(file: &PathBuf, arguments: &Arguments) -> io::Result<ExitCode> {
    let event = fs::read_to_string(file)?;
    let running = invoke(&event, arguments.phone_port, arguments.api_port).await;
    let invoked = match running {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            eprintln!(
                "No desk runs, so this event gets one of its own. To keep a ledger and a phone, first start `make run`."
            );
            let any = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
            let local = Local::start(any()?, any()?, &arguments.options).await?;
            let ports = (local.simulator.address.port(), local.front.address.port());
            invoke(&event, ports.0, ports.1).await?
        }
        other => other?,
    };
    if invoked.used_code {
        eprintln!("The code in the event is that of the newest message.");
    }
    println!("{}", invoked.text);
    Ok(if invoked.is_error {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

#[expect(clippy::print_stdout, reason = "a program that a person starts")]
async fn run(arguments: Arguments) -> io::Result<()> {
    let phone = bind(arguments.phone_port)?;
    if arguments.phone_only {
        let simulator = Simulator::start_on(phone.listener)?;
        println!("phone  {}\n\nCtrl-C stops it.", simulator.url());
        return wait_for_stop_signal().await;
    }
    let api = bind(arguments.api_port)?;
    let local = Local::start(phone.listener, api.listener, &arguments.options).await?;
    let (phone, api) = (local.simulator.url(), local.front.url());
    let send = format!(
        "curl -sSw '\\n' {api}/otp/send -H 'content-type: application/json' -d '{{\"destinationNumber\":\"+14255550142\"}}'"
    );
    local.simulator.suggest(send.as_str());
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
        if arguments.options.provider == PINPOINT {
            ""
        } else {
            "
3. To get a call or a WhatsApp message, add \"channel\":\"voice\" or \"channel\":\"whatsapp\" to the first command.
"
        }
    );
    wait_for_stop_signal().await
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
        api_port: API_PORT,
        options: Options {
            provider: PINPOINT.to_owned(),
            foreign_codes: false,
        },
        phone_only: false,
        invoke: None,
    };
    let mut given = given;
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--port" => arguments.phone_port = given.next()?.parse().ok()?,
            "--api-port" => arguments.api_port = given.next()?.parse().ok()?,
            "--provider" => {
                let provider = given.next()?;
                if ![PINPOINT, END_USER_MESSAGING].contains(&provider.as_str()) {
                    return None;
                }
                arguments.options.provider = provider;
            }
            "--foreign-codes" => arguments.options.foreign_codes = true,
            "--phone-only" => arguments.phone_only = true,
            "--invoke" => arguments.invoke = Some(given.next()?.into()),
            _ => return None,
        }
    }
    Some(arguments)
}
