//! The desk: the real function behind a simulated API Gateway, with simulated providers and a phone.
//!
//! `make run` starts it, and `make invoke` gives it one event. Usage: see [`USAGE`].

use std::{
    env, fs,
    io::{self, IsTerminal},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::ExitCode,
};

use simulator::{
    Bound, Simulator, bind_or_next_on,
    invoke::invoke,
    local::{Local, Options, PINPOINT},
    options::{Arguments, USAGE},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that a person starts, with settings in its environment"
)]
async fn main() -> ExitCode {
    let read = |name: &str| fs::read_to_string(name).map_err(|error| format!("{name}: {error}"));
    let arguments = Arguments::parse(env::args().skip(1), &|name| env::var(name).ok(), &read);
    let arguments = match arguments {
        Ok(arguments) if arguments.help => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
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

/// The file of an event that a person named by its path, or by its name in `events/`, such as `send.http-v2`.
fn find_event(given: &Path) -> io::Result<PathBuf> {
    let with_ending = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".json");
        PathBuf::from(name)
    };
    let in_folder = Path::new("events").join(given);
    let places = [
        given.to_owned(),
        with_ending(given),
        with_ending(&in_folder),
        in_folder,
    ];
    if let Some(found) = places.into_iter().find(|place| place.is_file()) {
        return Ok(found);
    }
    let files = fs::read_dir("events").into_iter().flatten().flatten();
    let mut names: Vec<_> = files
        .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        // The variables for `sam local invoke` are no event.
        .filter(|name| name != "env")
        .collect();
    names.sort();
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!(
            "there is no such event. EVENT is a file, or one of {}.",
            names.join(", ")
        ),
    ))
}

/// Gives an event to the running desk. If none runs, starts one for this event.
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that a person starts"
)]
async fn invoke_file(file: &Path, arguments: &Arguments) -> io::Result<ExitCode> {
    let event = fs::read_to_string(find_event(file)?)?;
    let running = invoke(&event, arguments.phone_port, arguments.api_port).await;
    let invoked = match running {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            eprintln!(
                "No desk answers on the ports {} and {}, so this event gets one of its own. To keep a ledger and a phone, \
                 first start `make run`.",
                arguments.phone_port, arguments.api_port
            );
            let any = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
            let local = Local::start(any()?, any()?, &arguments.options).await?;
            let ports = (local.simulator.address.port(), local.front.address.port());
            invoke(&event, ports.0, ports.1).await?
        }
        other => {
            if arguments.has_settings {
                eprintln!(
                    "The event went to the desk that runs, with the settings of that desk and not those of this command."
                );
            }
            other?
        }
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

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that a person starts"
)]
async fn run(mut arguments: Arguments) -> io::Result<()> {
    if arguments.options.access.beyond_this_machine {
        eprintln!(
            "Warning: BIND lets other machines reach the desk, by the addresses of this machine (for a name, add HOST=name). \
             Everybody in your network can read the codes and send to it."
        );
    }
    let phone = bind(&arguments, arguments.phone_port)?;
    if arguments.phone_only {
        let simulator = Simulator::start_for(phone.listener, arguments.options.access)?;
        simulator.imitate(arguments.options.facts);
        let stop = StopSignals::new()?;
        println!("phone  {}\n\nCtrl-C stops it.", simulator.url());
        return stop.wait().await;
    }
    let api = bind(&arguments, arguments.api_port)?;
    arguments.options.readable = arguments
        .readable
        .unwrap_or_else(|| io::stdout().is_terminal());
    let local = Local::start(phone.listener, api.listener, &arguments.options).await?;
    let (phone, api) = (here(&local.simulator.url()), here(&local.front.url()));
    local
        .simulator
        .suggest(send_command(&api, &local.number).as_str());
    let stop = StopSignals::new()?;
    println!(
        "{}",
        first_screen(
            &arguments.options,
            &arguments.given,
            [&phone, &api],
            &local.number
        )
    );
    stop.wait().await
}

/// The URL for this machine. A server that listens on all addresses has none of its own.
fn here(url: &str) -> String {
    url.replace("//0.0.0.0:", "//127.0.0.1:")
        .replace("//[::]:", "//[::1]:")
}

fn send_command(api: &str, number: &str) -> String {
    format!(
        "curl -sSw '\\n' {api}/otp/send -H 'content-type: application/json' -d '{{\"destinationNumber\":\"{number}\"}}'"
    )
}

fn verify_command(options: &Options, api: &str, number: &str) -> String {
    // In the open mode the reference ID is random, and the response to the send has it.
    let (ask, reference) = if options.is_open() {
        (
            "printf 'referenceId: '; read -r id; ",
            ",\"referenceId\":\"'\"$id\"'\"",
        )
    } else {
        ("", "")
    };
    format!(
        "{ask}printf 'code: '; read -r otp; curl -sSw '\\n' {api}/otp/verify -H 'content-type: application/json' -d \
         '{{\"destinationNumber\":\"{number}\",\"otp\":\"'\"$otp\"'\"{reference}}}'"
    )
}

fn first_screen(
    options: &Options,
    given: &[String],
    [phone, api]: [&str; 2],
    number: &str,
) -> String {
    let (provider, third_step) = if options.provider == PINPOINT {
        (
            "Amazon Pinpoint; make run PROVIDER=end-user-messaging simulates AWS End User Messaging",
            "",
        )
    } else {
        (
            "AWS End User Messaging; make run PROVIDER=pinpoint simulates Amazon Pinpoint",
            "\n3. To get a call or a WhatsApp message, add \"channel\":\"voice\" or \"channel\":\"whatsapp\" to the first command.\n",
        )
    };
    let settings = if given.is_empty() {
        String::new()
    } else {
        format!("\n  yours  {}", given.join(" "))
    };
    let send = send_command(api, number);
    let verify = verify_command(options, api, number);
    format!(
        "otp-lambda is running on your desk. AWS is simulated: no account, no text, no bill.

  phone  {phone}   (open it in a browser: the texts arrive there)
  try it {phone}/try/   (verify a number there)
  API    {api}
  AWS    {provider}{settings}

1. Send a code:

   {send}

2. Read it on the phone, and verify it (this asks you for the code):

   {verify}
{third_step}
Below is the log of the service, one line per request. Ctrl-C stops everything.
"
    )
}

#[expect(clippy::print_stdout, reason = "a program that a person starts")]
fn bind(arguments: &Arguments, port: u16) -> io::Result<Bound> {
    let bound = bind_or_next_on(arguments.bind, port)?;
    if let Some(taken) = bound.instead_of {
        println!(
            "Port {taken} is taken, so {} is used instead.",
            bound.listener.local_addr()?.port()
        );
    }
    Ok(bound)
}

/// Ctrl-C and SIGTERM. From the call of [`new`](Self::new) on, signals are kept for [`wait`](Self::wait). If the
/// program called `new` only after it has printed its addresses, the program could miss a signal that comes right after
/// the print.
struct StopSignals {
    interrupted: Signal,
    terminated: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(mut self) -> io::Result<()> {
        tokio::select! {
            _ = self.interrupted.recv() => {}
            _ = self.terminated.recv() => {}
        }
        Ok(())
    }
}
