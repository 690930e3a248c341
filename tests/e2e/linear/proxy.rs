//! A proxy in front of the table. It fails one request in ten. For the controls, it also lies.

use crate::random::Random;
use crate::table::{TABLE, Table, read_message};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How many of a hundred requests fail.
const FAULTS: u64 = 10;

/// Stands between one function and the table.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    faults: AtomicU64,
    /// Faults after which an answer can differ.
    failures: AtomicU64,
    overdue: AtomicU64,
    /// Requests that are being executed, or will be.
    running: AtomicU64,
}

/// A request that is not over yet.
struct Running<'a>(&'a Counts);

impl<'a> Running<'a> {
    fn new(counts: &'a Counts) -> Self {
        counts.running.fetch_add(1, Ordering::SeqCst);
        Self(counts)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The request is executed and answered, but late.
    Late,
    /// The request is not executed, and the connection closes.
    Lost,
    /// The request is executed, and the connection closes without an answer.
    Closed,
    /// The connection closes without an answer, and the request is executed a while later.
    Overdue,
    /// The request is refused and not executed.
    Throttled,
    /// The answer is HTTP 500, and the request is not executed.
    Failed,
    /// The answer is HTTP 500, but the request is executed.
    FailedAfterwards,
}

const ALL_FAULTS: [Fault; 7] = [
    Fault::Late,
    Fault::Lost,
    Fault::Closed,
    Fault::Overdue,
    Fault::Throttled,
    Fault::Failed,
    Fault::FailedAfterwards,
];

/// A lie about the table, which the checks must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Reads return a verification as it was before its last update.
    StaleRead,
    /// A guess costs an attempt, whatever state the verification is in.
    IgnoredCondition,
    /// A success is acknowledged, but not stored.
    LostWrite,
    /// A guess costs two attempts.
    DoubledWrite,
    /// A verification becomes as it was two updates ago.
    RestoredItem,
    /// A send is acknowledged, but does not count in the number's windows.
    LostPlace,
}

impl Bug {
    pub(crate) const ALL: [Self; 6] = [
        Self::StaleRead,
        Self::IgnoredCondition,
        Self::LostWrite,
        Self::DoubledWrite,
        Self::RestoredItem,
        Self::LostPlace,
    ];
}

/// The table, and the lie about it.
pub(crate) struct Behind {
    pub(crate) table: Table,
    bug: Option<Bug>,
    /// The items before their last updates, in the controls.
    earlier: Mutex<BTreeMap<String, Value>>,
}

impl Behind {
    pub(crate) fn new(bug: Option<Bug>) -> Arc<Self> {
        Arc::new(Self {
            table: Table::start(),
            bug,
            earlier: Mutex::default(),
        })
    }
}

type Message = (String, Vec<u8>);

impl Proxy {
    pub(crate) fn start(behind: &Arc<Behind>, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::<Counts>::default();
        let (behind, counting) = (Arc::clone(behind), Arc::clone(&counts));
        std::thread::spawn(move || {
            let mut random = Random::new(seed);
            while let Ok((client, _)) = listener.accept() {
                let (behind, counts) = (Arc::clone(&behind), Arc::clone(&counting));
                let random = Random::new(random.next());
                std::thread::spawn(move || serve(client, &behind, &counts, random));
            }
        });
        Self { address, counts }
    }

    /// The number of requests, and of those with a fault.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (read(&self.counts.requests), read(&self.counts.faults))
    }

    /// Whether a request to the table is on its way, perhaps one that its client has given up.
    pub(crate) fn is_busy(&self) -> bool {
        self.counts.running.load(Ordering::SeqCst) > 0
    }

    /// How many requests have failed so far, and how many of them are executed late.
    pub(crate) fn failures(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (read(&self.counts.failures), read(&self.counts.overdue))
    }
}

/// Serves one connection of a function, until it closes.
fn serve(
    mut client: TcpStream,
    behind: &Arc<Behind>,
    counts: &Counts,
    mut random: Random,
) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut server = connect(behind)?;
    loop {
        let request = read_message(&mut client)?;
        let _running = Running::new(counts);
        counts.requests.fetch_add(1, Ordering::SeqCst);
        let fault = random.chance(FAULTS).then(|| {
            let index = random.below(ALL_FAULTS.len() as u64);
            ALL_FAULTS[usize::try_from(index).unwrap()]
        });
        if let Some(fault) = fault {
            counts.faults.fetch_add(1, Ordering::SeqCst);
            if fault != Fault::Late {
                counts.failures.fetch_add(1, Ordering::SeqCst);
            }
            if fault == Fault::Overdue {
                counts.overdue.fetch_add(1, Ordering::SeqCst);
            }
        }
        match fault {
            None => {}
            Some(Fault::Late) => {
                std::thread::sleep(Duration::from_millis(5 + random.below(40)));
            }
            Some(Fault::Lost) => return None,
            Some(Fault::Closed) => {
                forward(&mut server, behind, &request, &mut random)?;
                return None;
            }
            Some(Fault::Overdue) => {
                drop(client);
                std::thread::sleep(Duration::from_millis(random.below(250)));
                forward(&mut server, behind, &request, &mut random)?;
                return None;
            }
            Some(Fault::Throttled) => {
                refuse(&mut client, "400 Bad Request", "ThrottlingException")?;
                continue;
            }
            Some(fault @ (Fault::Failed | Fault::FailedAfterwards)) => {
                if fault == Fault::FailedAfterwards {
                    forward(&mut server, behind, &request, &mut random)?;
                }
                refuse(
                    &mut client,
                    "500 Internal Server Error",
                    "InternalServerError",
                )?;
                continue;
            }
        }
        let (head, body) = forward(&mut server, behind, &request, &mut random)?;
        write(&mut client, &head, &body)?;
    }
}

fn connect(behind: &Behind) -> Option<TcpStream> {
    let server = TcpStream::connect(behind.table.server()).ok()?;
    server.set_nodelay(true).ok()?;
    Some(server)
}

fn write(connection: &mut TcpStream, head: &str, body: &[u8]) -> Option<()> {
    let mut bytes = format!("{head}\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    connection.write_all(&bytes).ok()
}

fn refuse(client: &mut TcpStream, status: &str, error: &str) -> Option<()> {
    let body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{error}"), "message": "a fault" });
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}",
        body.len()
    );
    write(client, &head, body.as_bytes())
}

/// Sends a request to the table, and returns the answer.
fn forward(
    server: &mut TcpStream,
    behind: &Behind,
    request: &Message,
    random: &mut Random,
) -> Option<Message> {
    match behind.bug {
        None => exchange(server, request),
        Some(bug) => lie(server, behind, bug, request, random),
    }
}

fn exchange(server: &mut TcpStream, (head, body): &Message) -> Option<Message> {
    write(server, head, body)?;
    read_message(server)
}

/// A copy of the request or answer with another body.
fn with_body((head, _): &Message, body: &Value) -> Message {
    let body = body.to_string();
    let lines = head.split("\r\n").map(|line| {
        if line.to_ascii_lowercase().starts_with("content-length:") {
            format!("content-length: {}", body.len())
        } else {
            line.to_owned()
        }
    });
    (
        lines.collect::<Vec<_>>().join("\r\n"),
        body.clone().into_bytes(),
    )
}

/// The update without its condition.
fn without_condition(request: &Value) -> Value {
    let condition = request["ConditionExpression"].as_str().unwrap_or_default();
    let mut changed = request.clone();
    changed["ConditionExpression"] = json!(format!("({condition}) OR attribute_exists(pk)"));
    changed
}

/// The answer to a read of several items, with earlier states of some verifications.
fn with_stale_items(answer: &Message, behind: &Behind, random: &mut Random) -> Message {
    let mut body: Value = serde_json::from_slice(&answer.1).unwrap_or_default();
    let earlier = behind.earlier.lock().unwrap();
    let items = body["Responses"][TABLE].as_array_mut();
    for item in items.into_iter().flatten() {
        let key = item["pk"]["S"].as_str().unwrap_or_default();
        if key.starts_with("V#")
            && let Some(stale) = earlier.get(key).filter(|_| random.chance(30))
        {
            *item = stale.clone();
        }
    }
    with_body(answer, &body)
}

/// Executes a request as a table with this bug would.
fn lie(
    server: &mut TcpStream,
    behind: &Behind,
    bug: Bug,
    request: &Message,
    random: &mut Random,
) -> Option<Message> {
    let body: Value = serde_json::from_slice(&request.1).ok()?;
    let Some(key) = body["Key"]["pk"]["S"].as_str().map(str::to_owned) else {
        let answer = exchange(server, request)?;
        return Some(if bug == Bug::StaleRead {
            with_stale_items(&answer, behind, random)
        } else {
            answer
        });
    };
    let update = body["UpdateExpression"].as_str().unwrap_or_default();
    let kind = if bug == Bug::LostPlace { "N#" } else { "V#" };
    if !key.starts_with(kind) {
        return exchange(server, request);
    }
    let pays = update.contains("#left - :one");
    match bug {
        Bug::IgnoredCondition if pays => {
            exchange(server, &with_body(request, &without_condition(&body)))
        }
        Bug::DoubledWrite if pays => {
            let answer = exchange(server, request)?;
            if answer.0.contains(" 200 ") {
                let mut again = without_condition(&body);
                again["ExpressionAttributeValues"][":mark"] = json!({ "S": "again" });
                exchange(server, &with_body(request, &again))?;
            }
            Some(answer)
        }
        Bug::LostWrite | Bug::LostPlace => {
            let is_lost = update.contains(":verified") || update.contains("#t1 = :now");
            let before = behind.table.typed(&key);
            let answer = exchange(server, request)?;
            if is_lost && answer.0.contains(" 200 ") && before.is_object() {
                behind.table.put(&before);
            }
            Some(answer)
        }
        Bug::StaleRead if update.is_empty() => {
            let answer = exchange(server, request)?;
            let earlier = behind.earlier.lock().unwrap().get(&key).cloned();
            Some(match earlier.filter(|_| random.chance(30)) {
                Some(item) => with_body(&answer, &json!({ "Item": item })),
                None => answer,
            })
        }
        Bug::StaleRead | Bug::RestoredItem if !update.is_empty() => {
            let before = behind.table.typed(&key);
            let answer = exchange(server, request)?;
            let mut earlier = behind.earlier.lock().unwrap();
            if bug == Bug::RestoredItem
                && random.chance(15)
                && let Some(item) = earlier.get(&key)
            {
                behind.table.put(item);
            }
            if before.is_object() {
                earlier.insert(key, before);
            }
            Some(answer)
        }
        _ => exchange(server, request),
    }
}
