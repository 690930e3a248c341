//! One program, with AWS around it, through a list of steps.

use super::clock::Clock;
use super::endpoint::{Certificates, Counts, Delay, Endpoint};
use super::quota::Quota;
use super::runtime::{Environment, Usage};
use crate::function::{self, LEDGER_KEY, Settings, http_response, wrong};
use crate::random::Random;
use crate::table::{TABLE, Table, secrets_manager};
use serde_json::{Value, json};
use simulator::Simulator;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As long as the session tokens of Lambda's roles are.
const TOKEN_LENGTH: usize = 828;

const SECRET_ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:otp-AbCdEf";
const SECRET: &str = "Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvciBtb3JlIG9mIGl0";

/// After this, the connections of the function are no longer used.
const SILENCE: Duration = Duration::from_secs(21);

/// The number of phone numbers that have the same beginning. The limit of messages to one beginning is higher.
const NUMBERS_OF_A_PREFIX: usize = 25;

/// A thing to measure.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) command: Vec<String>,
    /// The kinds of requests to it that have a row.
    pub(super) kinds: &'static [&'static str],
    pub(super) ledger: Ledger,
    /// Whether it trusts all roots of the system, as other programs do.
    pub(super) trusts_the_system: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ledger {
    Without,
    /// With its key in the environment.
    With,
    /// With the ledger's key in Secrets Manager, as in a deployed stack.
    WithSecret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A send to the next number.
    Send,
    /// The same with an idempotency key and the address of a client.
    SendWithKey,
    /// A wrong guess at the code of the next number that has had none.
    Wrong,
    /// The same with the right code.
    Right,
    /// A silence, longer than connections are kept.
    Silence,
}

/// The cost of a step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) wall: Duration,
    pub(super) processor: Duration,
    pub(super) faults: u64,
    pub(super) table: Counts,
    pub(super) provider: Counts,
    pub(super) secrets: Counts,
}

/// One process from its start to its end.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Until it asks for its first invocation.
    pub(super) init: Sample,
    /// For each step; a silence has none.
    pub(super) steps: Vec<(Step, Sample)>,
    pub(super) end: Usage,
    /// The instructions of the whole process, if valgrind has counted them.
    pub(super) instructions: Option<u64>,
}

/// How a process is run.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    pub(super) table: Delay,
    pub(super) provider: Delay,
    /// The file for valgrind's counts.
    pub(super) count: Option<PathBuf>,
    /// The memory of the function. Lambda gives a function a share of a processor that depends on the memory. From the
    /// first invocation on, the process gets this share.
    pub(super) memory: Option<u64>,
}

pub(super) struct Aws {
    pub(super) simulator: Simulator,
    table: Endpoint,
    provider: Endpoint,
    secrets: Endpoint,
    pub(super) settings: Settings,
}

impl Aws {
    pub(super) fn start(certificates: &Certificates, program: &Program, how: &How) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let simulator = Simulator::start_on(listener).unwrap();
        let secrets = secrets_manager(SECRET_ARN, SECRET);
        let secrets = secrets.trim_start_matches("http://").parse().unwrap();
        let endpoint = |host, behind, delay| Endpoint::start(certificates, host, behind, delay);
        let table = endpoint(0, Table::start().server(), how.table);
        let provider = endpoint(1, simulator.address, how.provider);
        let secrets = endpoint(2, secrets, how.table);
        let mut settings = function::settings(&provider.url);
        settings.extend([
            ("LOG_LEVEL", "info".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_SESSION_TOKEN", session_token()),
            ("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE".to_owned()),
            (
                "AWS_SECRET_ACCESS_KEY",
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            ),
        ]);
        let roots = if program.trusts_the_system {
            // One name for boto3, the other for the SDK in Rust.
            settings.insert(
                "SSL_CERT_FILE",
                certificates.system_roots.display().to_string(),
            );
            &certificates.system_roots
        } else {
            &certificates.roots
        };
        settings.insert("AWS_CA_BUNDLE", roots.display().to_string());
        let key = match program.ledger {
            Ledger::Without => None,
            Ledger::With => Some(LEDGER_KEY),
            Ledger::WithSecret => Some(SECRET_ARN),
        };
        if let Some(key) = key {
            settings.extend([
                ("LEDGER_TABLE", TABLE.to_owned()),
                ("LEDGER_KEY", key.to_owned()),
                ("AWS_ENDPOINT_URL_DYNAMODB", table.url.clone()),
                ("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets.url.clone()),
            ]);
        }
        Self {
            simulator,
            table,
            provider,
            secrets,
            settings,
        }
    }

    fn counts(&self) -> [Counts; 3] {
        [&self.table, &self.provider, &self.secrets].map(Endpoint::counts)
    }
}

/// Letters and digits, as many as in a real token. If all characters were equal, the token would be easier to handle
/// than a real one. So the characters differ.
fn session_token() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random = Random::new(828);
    let letter = |_| char::from(LETTERS[usize::try_from(random.below(64)).unwrap()]);
    (0..TOKEN_LENGTH).map(letter).collect()
}

/// Runs a program through the steps. Fails if a response is not the expected one. This happens, for example, if the
/// machine is too busy for the time limits of the function.
pub(super) fn run(
    program: &Program,
    steps: &[Step],
    how: &How,
    certificates: &Certificates,
) -> Result<Run, String> {
    let aws = Aws::start(certificates, program, how);
    let mut command = program.command.clone();
    if let Some(file) = &how.count {
        let options = [
            "valgrind".to_owned(),
            "--tool=callgrind".to_owned(),
            format!("--callgrind-out-file={}", file.display()),
        ];
        command = options.into_iter().chain(command).collect();
    }
    // Without a clock of its own, a program under valgrind would miss its time limits.
    let clock = how
        .count
        .as_ref()
        .map(|file| Arc::new(Clock::new(file.with_extension("clock"))));
    let started = Instant::now();
    let mut environment = Environment::start(&command, &aws.settings, clock.clone());
    environment.wait()?;
    let wall = started.elapsed();
    let used = settled(&environment);
    let [table, provider, secrets] = aws.counts();
    let init = Sample {
        wall,
        processor: used.processor,
        faults: used.faults,
        table,
        provider,
        secrets,
    };
    let _quota = how
        .memory
        .map(|memory| Quota::limit(environment.id(), memory))
        .transpose()?;
    let mut people = People::default();
    let mut samples = Vec::new();
    for step in steps {
        let Some((event, expected)) = people.event(*step, &aws.simulator) else {
            match &clock {
                Some(clock) => clock.let_pass(SILENCE),
                None => std::thread::sleep(SILENCE),
            }
            continue;
        };
        let before = (environment.usage(), aws.counts());
        let (wall, path, body) = environment.invoke(event)?;
        environment.wait()?;
        let used = settled(&environment);
        let response: Value = serde_json::from_str(&body).unwrap_or_default();
        let status = http_response(&response).map(|(status, _)| status);
        if !path.ends_with("/response") || !status.is_some_and(|status| expected.contains(&status))
        {
            return Err(format!(
                "{step:?} should be answered with one of {expected:?}: {body} {}",
                environment.log()
            ));
        }
        let after = aws.counts();
        let since = |index: usize| after[index] - before.1[index];
        let sample = Sample {
            wall,
            processor: used.processor.saturating_sub(before.0.processor),
            faults: used.faults - before.0.faults,
            table: since(0),
            provider: since(1),
            secrets: since(2),
        };
        samples.push((*step, sample));
    }
    let end = environment.usage();
    environment.end();
    Ok(Run {
        init,
        steps: samples,
        end,
        instructions: how.count.as_deref().map(total).transpose()?,
    })
}

/// The usage of a process, a moment after it has asked for work. By then the process sleeps.
fn settled(environment: &Environment) -> Usage {
    std::thread::sleep(Duration::from_millis(2));
    environment.usage()
}

/// The instructions in a file that callgrind has written.
fn total(file: &Path) -> Result<u64, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    line.and_then(|count| count.trim().parse().ok())
        .ok_or_else(|| format!("{} has no total", file.display()))
}

/// Those who verify their numbers.
#[derive(Default)]
struct People {
    sends: usize,
    guesses: usize,
}

impl People {
    /// The event of a step, and the statuses that answer it.
    fn event(&mut self, step: Step, simulator: &Simulator) -> Option<(String, &'static [u64])> {
        let nth = |nth: usize| {
            format!(
                "+1425{:03}{:04}",
                550 + nth / NUMBERS_OF_A_PREFIX,
                1000 + nth
            )
        };
        let (event, statuses): (Value, &[u64]) = match step {
            Step::Silence => return None,
            Step::Send | Step::SendWithKey => {
                let number = nth(self.sends);
                self.sends += 1;
                let mut body = json!({ "destinationNumber": number });
                let key = (step == Step::SendWithKey).then(|| format!("order-{}", self.sends));
                if key.is_some() {
                    // Each request is of another client, because one client may send only ten times.
                    body["clientIp"] = json!(format!("192.0.2.{}", self.sends));
                }
                (function::event("send", &body, key.as_deref()), &[200, 202])
            }
            Step::Wrong | Step::Right => {
                let number = nth(self.guesses);
                self.guesses += 1;
                let code = simulator.newest_to(&number)?.code;
                let (otp, statuses): (_, &[u64]) = match step {
                    Step::Wrong => (wrong(&code, 0), &[422]),
                    _ => (code, &[200]),
                };
                let body = json!({ "destinationNumber": number, "otp": otp });
                (function::event("verify", &body, None), statuses)
            }
        };
        Some((event.to_string(), statuses))
    }
}
