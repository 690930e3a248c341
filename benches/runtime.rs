//! Lambda's runtime API for one process, and the use of the process at the borders of its invocations.

use super::clock::Clock;
use crate::table::read_message;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long Lambda lets an invocation take (`Timeout` in the template).
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a program may take until it answers. Under valgrind everything takes fifty times as long.
const PATIENCE: Duration = Duration::from_mins(5);

/// A process that asks for invocations.
pub(super) struct Environment {
    process: Child,
    events: Sender<String>,
    asked: Receiver<()>,
    answers: Receiver<(Instant, String, String)>,
    log: Arc<Mutex<String>>,
}

/// The use of a process so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// User and system.
    pub(super) processor: Duration,
    pub(super) faults: u64,
    pub(super) peak_kib: u64,
    pub(super) resident_kib: u64,
    pub(super) threads: u64,
}

impl Environment {
    pub(super) fn start(
        command: &[String],
        settings: &BTreeMap<&'static str, String>,
        clock: Option<Arc<Clock>>,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (events, waiting) = channel();
        let (ask, asked) = channel();
        let (answered, answers) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let variables = clock.as_ref().map(|clock| clock.variables());
        std::thread::spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                let (waiting, ask) = (Arc::clone(&waiting), ask.clone());
                let (answered, clock) = (answered.clone(), clock.clone());
                std::thread::spawn(move || {
                    let silences = || clock.as_ref().map_or(Duration::ZERO, |it| it.silences());
                    serve(connection, &waiting, &ask, &answered, silences)
                });
            }
        });
        let mut process = Command::new(&command[0])
            .args(&command[1..])
            .env_clear()
            .envs(settings)
            .envs(variables.into_iter().flatten())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env(
                "PYTHONPATH",
                concat!(env!("CARGO_MANIFEST_DIR"), "/benches/reference"),
            )
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("AWS_LAMBDA_FUNCTION_NAME", "otp-lambda")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/otp-lambda")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} should start: {error}"));
        let log = Arc::default();
        collect(process.stdout.take().unwrap(), &log);
        collect(process.stderr.take().unwrap(), &log);
        Self {
            process,
            events,
            asked,
            answers,
            log,
        }
    }

    /// Waits until the process asks for an invocation. By then, all work of the invocation before is done.
    pub(super) fn wait(&mut self) -> Result<(), String> {
        self.patiently(|environment, moment| environment.asked.recv_timeout(moment).ok())
            .ok_or_else(|| format!("does not ask for an invocation: {}", self.log()))
    }

    /// How long an event took, and the path and the body of the answer.
    pub(super) fn invoke(&mut self, event: String) -> Result<(Duration, String, String), String> {
        let started = Instant::now();
        self.events.send(event).map_err(|error| error.to_string())?;
        let (ended, path, body) = self
            .patiently(|environment, moment| environment.answers.recv_timeout(moment).ok())
            .ok_or_else(|| format!("does not answer: {}", self.log()))?;
        Ok((ended - started, path, body))
    }

    /// Waits for something, as long as the process lives.
    fn patiently<T>(&mut self, receive: impl Fn(&Self, Duration) -> Option<T>) -> Option<T> {
        let started = Instant::now();
        loop {
            let has_ended = !matches!(self.process.try_wait(), Ok(None));
            let received = receive(self, Duration::from_millis(100));
            if received.is_some() || has_ended || started.elapsed() > PATIENCE {
                return received;
            }
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let read = |path: &str| {
            std::fs::read_to_string(format!("/proc/{}/{path}", self.id())).unwrap_or_default()
        };
        let status = read("status");
        let of_status = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
                .unwrap_or_default()
        };
        // The name of the program, in parentheses, may have spaces. The faults are the tenth and the twelfth field.
        let stat = read("stat");
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace())
            .into_iter()
            .flatten()
            .map(|field| field.parse().unwrap_or_default())
            .collect();
        let faults = |index: usize| fields.get(index).copied().unwrap_or_default();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let processor = tasks
            .flatten()
            .filter_map(|task| {
                let times = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
                times.split_whitespace().next()?.parse::<u64>().ok()
            })
            .sum();
        Usage {
            processor: Duration::from_nanos(processor),
            faults: faults(7) + faults(9),
            peak_kib: of_status("VmHWM:"),
            resident_kib: of_status("VmRSS:"),
            threads: of_status("Threads:"),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The log since the last call.
    pub(super) fn take_log(&self) -> String {
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the process as Lambda does, so that valgrind writes what it has counted.
    pub(super) fn end(mut self) {
        let _ = Command::new("kill").arg(self.id().to_string()).status();
        let _ = self.process.wait();
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves one connection of the process until it closes.
fn serve(
    mut connection: TcpStream,
    waiting: &Mutex<Receiver<String>>,
    ask: &Sender<()>,
    answered: &Sender<(Instant, String, String)>,
    silences: impl Fn() -> Duration,
) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    loop {
        let (head, body) = read_message(&mut connection)?;
        let path = head.split_whitespace().nth(1)?.to_owned();
        let response = if path.ends_with("/invocation/next") {
            ask.send(()).ok()?;
            let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let event = waiting.recv().ok()?;
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                 lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
                 lambda-runtime-deadline-ms: {}\r\n\
                 lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:otp-lambda\r\n\
                 content-length: {}\r\n\r\n{event}",
                (now() + silences() + TIMEOUT).as_millis(),
                event.len()
            )
        } else {
            let body = String::from_utf8_lossy(&body).into_owned();
            answered.send((Instant::now(), path, body)).ok()?;
            "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"status\":\"OK\"}"
                .to_owned()
        };
        connection.write_all(response.as_bytes()).ok()?;
    }
}

fn collect(mut stream: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&text);
        }
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "Lambda's deadline is a time of day"
)]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
