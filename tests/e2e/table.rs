//! DynamoDB and Secrets Manager over HTTP, as far as the ledger needs them.

use crate::random::Random;
use dynoxide::Database;
use serde_json::{Value, json};
use simulator::free_port;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub(crate) const TABLE: &str = "otp-ledger";

/// A DynamoDB table in memory. Its server runs until the process ends.
pub(crate) struct Table {
    database: Database,
    address: SocketAddr,
    server: SocketAddr,
    delay: Arc<AtomicU64>,
}

/// Items by their keys, with plain values instead of DynamoDB's typed ones.
pub(crate) type Items = BTreeMap<String, Value>;

impl Table {
    pub(crate) fn start() -> Self {
        let database = Database::memory().unwrap();
        create(&database);
        let (inner, outer) = (listener(), listener());
        let address = outer.local_addr().unwrap();
        let server = inner.local_addr().unwrap();
        let delay = Arc::new(AtomicU64::new(0));
        let behind = database.clone();
        let pause = Arc::clone(&delay);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                inner.set_nonblocking(true).unwrap();
                let inner = tokio::net::TcpListener::from_std(inner).unwrap();
                tokio::spawn(dynoxide::server::serve_on(inner, behind));
                outer.set_nonblocking(true).unwrap();
                let outer = tokio::net::TcpListener::from_std(outer).unwrap();
                let random = Arc::new(Mutex::new(Random::new(1)));
                while let Ok((client, _)) = outer.accept().await {
                    let Ok(connection) = TcpStream::connect(server).await else {
                        continue;
                    };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = connection.into_split();
                    tokio::spawn(pump(
                        from_client,
                        to_server,
                        Arc::clone(&pause),
                        Arc::clone(&random),
                    ));
                    tokio::spawn(pump(
                        from_server,
                        to_client,
                        Arc::clone(&pause),
                        Arc::clone(&random),
                    ));
                }
            });
        });
        Self {
            database,
            address,
            server,
            delay,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of the engine itself, for a proxy.
    pub(crate) fn server(&self) -> SocketAddr {
        self.server
    }

    /// From now on, delays each request and each response by a random time up to `longest`.
    pub(crate) fn slow_down(&self, longest: Duration) {
        self.delay.store(
            u64::try_from(longest.as_micros()).unwrap(),
            Ordering::Relaxed,
        );
    }

    pub(crate) fn items(&self) -> Items {
        self.scan()
            .iter()
            .map(|item| (item["pk"]["S"].as_str().unwrap().to_owned(), plain(item)))
            .collect()
    }

    /// The item, or null if there is none.
    pub(crate) fn item(&self, key: &str) -> Value {
        match self.typed(key) {
            Value::Null => Value::Null,
            item => plain(&item),
        }
    }

    /// The item with DynamoDB's typed values, or null if there is none.
    pub(crate) fn typed(&self, key: &str) -> Value {
        let request =
            json!({ "TableName": TABLE, "Key": { "pk": { "S": key } }, "ConsistentRead": true });
        let response = self
            .database
            .get_item(serde_json::from_value(request).unwrap())
            .unwrap();
        let response = serde_json::to_value(response).unwrap();
        response.get("Item").cloned().unwrap_or_default()
    }

    /// Writes an item, which has DynamoDB's typed values.
    pub(crate) fn put(&self, item: &Value) {
        let request = json!({ "TableName": TABLE, "Item": item });
        self.database
            .put_item(serde_json::from_value(request).unwrap())
            .unwrap();
    }

    /// All items, with DynamoDB's typed values.
    pub(crate) fn scan(&self) -> Vec<Value> {
        let mut items = Vec::new();
        let mut start = Value::Null;
        loop {
            let mut request = json!({ "TableName": TABLE, "ConsistentRead": true });
            if !start.is_null() {
                request["ExclusiveStartKey"] = start;
            }
            let response = self
                .database
                .scan(serde_json::from_value(request).unwrap())
                .unwrap();
            let response = serde_json::to_value(response).unwrap();
            items.extend(response["Items"].as_array().unwrap().iter().cloned());
            start = response
                .get("LastEvaluatedKey")
                .cloned()
                .unwrap_or_default();
            if start.is_null() {
                return items;
            }
        }
    }

    /// Makes the table as it was when [`scan`](Self::scan) returned `seen`.
    pub(crate) fn restore(&self, seen: &[Value]) {
        self.wipe();
        for item in seen {
            self.put(item);
        }
    }

    /// Deletes all items.
    pub(crate) fn wipe(&self) {
        for item in self.scan() {
            let request = json!({ "TableName": TABLE, "Key": { "pk": item["pk"] } });
            self.database
                .delete_item(serde_json::from_value(request).unwrap())
                .unwrap();
        }
    }
}

fn create(database: &Database) {
    let table = json!({
        "TableName": TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
    });
    database
        .create_table(serde_json::from_value(table).unwrap())
        .unwrap();
    // The engine completes the creation of the table only when the table is described.
    database
        .describe_table(serde_json::from_value(json!({ "TableName": TABLE })).unwrap())
        .unwrap();
}

/// The item without types: `{"pk": "V#…", "left": 3}` for `{"pk": {"S": "V#…"}, "left": {"N": "3"}}`.
fn plain(item: &Value) -> Value {
    let value = |wrapped: &Value| match wrapped
        .as_object()
        .and_then(|wrapped| wrapped.iter().next())
    {
        Some((kind, Value::String(number))) if kind == "N" => {
            number.parse::<u64>().map_or(Value::Null, Value::from)
        }
        Some((_, value)) => value.clone(),
        None => Value::Null,
    };
    item.as_object()
        .unwrap()
        .iter()
        .map(|(name, wrapped)| (name.clone(), value(wrapped)))
        .collect()
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    longest: Arc<AtomicU64>,
    random: Arc<Mutex<Random>>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let longest = longest.load(Ordering::Relaxed);
        if longest > 0 {
            let pause = random.lock().unwrap().below(longest + 1);
            tokio::time::sleep(Duration::from_micros(pause)).await;
        }
        to.write_all(buffer.get(..length).unwrap_or_default())
            .await?;
    }
}

/// The URL of a port where nothing listens.
pub(crate) fn closed_port() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

/// Starts a server that accepts every connection and never responds.
pub(crate) fn silent_server() -> String {
    let listener = listener();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok((connection, _)) = listener.accept() {
            open.push(connection);
        }
    });
    url
}

/// Starts a Secrets Manager that has one secret and responds to other names as AWS does.
pub(crate) fn secrets_manager(arn: &str, secret: &str) -> String {
    let listener = listener();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (arn, secret) = (arn.to_owned(), secret.to_owned());
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = listener.accept() {
            let Some((head, body)) = read_message(&mut connection) else {
                continue;
            };
            let request: Value = serde_json::from_slice(&body).unwrap_or_default();
            let is_known_operation = head
                .to_ascii_lowercase()
                .contains("x-amz-target: secretsmanager.getsecretvalue");
            let (status, response) = if is_known_operation && request["SecretId"] == json!(arn) {
                (
                    "200 OK",
                    json!({ "ARN": arn, "Name": "otp", "SecretString": secret }),
                )
            } else {
                let message = "Secrets Manager can't find the specified secret.";
                (
                    "400 Bad Request",
                    json!({ "__type": "ResourceNotFoundException", "Message": message }),
                )
            };
            let response = response.to_string();
            let _ = write!(
                connection,
                "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{response}",
                response.len()
            );
        }
    });
    url
}

/// Reads the head and the body of a request or a response. The head is without the empty line at its end.
pub(crate) fn read_message(connection: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let body = read.split_off(end + 4);
            read.truncate(end);
            let head = String::from_utf8(read).ok()?;
            let length = head.to_ascii_lowercase().lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                (name == "content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let mut body = body;
            while body.len() < length.unwrap_or(0) {
                let more = connection.read(&mut buffer).ok().filter(|more| *more > 0)?;
                body.extend_from_slice(buffer.get(..more)?);
            }
            return Some((head, body));
        }
        let more = connection.read(&mut buffer).ok().filter(|more| *more > 0)?;
        read.extend_from_slice(buffer.get(..more)?);
    }
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}
