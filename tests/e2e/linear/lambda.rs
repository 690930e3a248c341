//! The part of Lambda's runtime API that one execution environment needs. This part is faster than the runtime
//! emulator, and long histories take only minutes.

use crate::function::{Settings, collect, tool};
use crate::table::read_message;
use serde_json::Value;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long an invocation may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A process of the shipped binary. It handles one invocation at a time.
pub(crate) struct Environment {
    process: Child,
    events: Mutex<Sender<(String, String)>>,
    answers: Mutex<Receiver<(String, String)>>,
    log: Arc<Mutex<String>>,
}

impl Environment {
    pub(crate) fn start(settings: &Settings) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let ((events, waiting), (answered, answers)) = (channel(), channel());
        let waiting = Arc::new(Mutex::new(waiting));
        std::thread::spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                let (waiting, answered) = (Arc::clone(&waiting), answered.clone());
                std::thread::spawn(move || serve(connection, &waiting, &answered));
            }
        });
        let mut process = Command::new(tool("OTP_E2E_BOOTSTRAP"))
            .env_clear()
            .envs(settings)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "otp-lambda")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the function should start");
        let log = Arc::default();
        collect(process.stdout.take().unwrap(), &log);
        collect(process.stderr.take().unwrap(), &log);
        Self {
            process,
            events: Mutex::new(events),
            answers: Mutex::new(answers),
            log,
        }
    }

    /// Invokes the function with an event, and returns its response.
    pub(crate) fn invoke(&self, event: String) -> Value {
        let answer = self.answer("", event);
        match &answer {
            Ok((path, body)) if path.ends_with("/response") => serde_json::from_str(body).unwrap(),
            _ => panic!(
                "the function should respond: {answer:?}. The log:\n{}",
                self.log.lock().unwrap()
            ),
        }
    }

    /// Invokes an alias of the function, such as `:live`. Returns the response, or the name of the error.
    pub(crate) fn invoke_as(&self, alias: &str, event: &str) -> Result<Value, String> {
        let (path, body) = self.answer(alias, event.to_owned()).unwrap();
        let mut body: Value = serde_json::from_str(&body).unwrap();
        if path.ends_with("/response") {
            return Ok(body);
        }
        Err(body["errorType"].take().as_str().unwrap().to_owned())
    }

    fn answer(&self, alias: &str, event: String) -> Result<(String, String), RecvTimeoutError> {
        let events = self.events.lock().unwrap();
        events.send((alias.to_owned(), event)).unwrap();
        self.answers.lock().unwrap().recv_timeout(TIMEOUT * 2)
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves one connection of the function until it closes.
fn serve(
    mut connection: TcpStream,
    waiting: &Mutex<Receiver<(String, String)>>,
    answered: &Sender<(String, String)>,
) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    loop {
        let (head, body) = read_message(&mut connection)?;
        let path = head.split_whitespace().nth(1)?.to_owned();
        let response = if path.ends_with("/invocation/next") {
            let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let (alias, event) = waiting.recv().ok()?;
            let deadline = now() + TIMEOUT;
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: request\r\n\
                 lambda-runtime-deadline-ms: {}\r\nlambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:otp-lambda{alias}\r\n\
                 content-length: {}\r\n\r\n{event}",
                deadline.as_millis(),
                event.len()
            )
        } else {
            let body = String::from_utf8_lossy(&body).into_owned();
            answered.send((path, body)).ok()?;
            "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"status\":\"OK\"}".to_owned()
        };
        connection.write_all(response.as_bytes()).ok()?;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "Lambda's deadline is a time of day"
)]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
