//! The log for a person at a terminal: a line for each request, in place of the JSON of the deployed function.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Map, Value};

use crate::{Call, Simulator};

/// Takes the JSON lines that the function writes, and prints them for people. The desk prints every request itself. So
/// of the function's line about a request, only the cause of a failure is needed. The cause is kept until the desk
/// prints the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    /// The causes of failed requests, by request ID.
    causes: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Lines {
    /// Writes the line of a request, and its cause below.
    pub(crate) fn write_call(&self, call: &Call, request_id: &str) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let cause = causes.remove(request_id);
        print(&call.to_string());
        if let Some(cause) = cause {
            print(&format!("         {cause}"));
        }
    }

    fn take(&self, mut line: Map<String, Value>) {
        let mut text = |name: &str| match line.remove(name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        if text("message") == "request" {
            let (id, cause) = (text("requestId"), text("cause"));
            if !cause.is_empty() {
                let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
                causes.insert(id, cause);
            }
        }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in bytes.split(|byte| *byte == b'\n') {
            let Ok(read) = serde_json::from_slice::<Map<String, Value>>(line) else {
                continue;
            };
            if read
                .get("message")
                .is_some_and(|message| message == "request")
            {
                self.take(read);
            } else {
                print(&readable(read));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log of the function: keeps its lines for `GET /simulator/log`, and prints them, for people or as they are.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    simulator: Arc<Simulator>,
    for_people: Option<Lines>,
}

impl Log {
    pub(crate) fn new(simulator: Arc<Simulator>, for_people: Option<Lines>) -> Self {
        Self {
            simulator,
            for_people,
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines() {
            self.simulator.log(line.to_owned());
        }
        match &mut self.for_people {
            Some(lines) => lines.write(bytes),
            None => io::stdout().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// `14:03:12 INFO start: version 0.1.0, …`.
fn readable(mut line: Map<String, Value>) -> String {
    line.remove("target");
    let mut text = |name: &str| match line.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (at, level, message) = (text("timestamp"), text("level"), text("message"));
    let at = at.get(11..19).unwrap_or("--:--:--");
    let fields: Vec<_> = line
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name} {text}"),
            value => format!("{name} {value}"),
        })
        .collect();
    format!("{at} {level} {message}: {}", fields.join(", "))
}

#[expect(
    clippy::print_stdout,
    reason = "the log of a program that a person starts"
)]
fn print(line: &str) {
    println!("{line}");
}
