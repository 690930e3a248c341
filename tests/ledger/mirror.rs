//! A second table in AWS's own DynamoDB Local, which must answer every request as the emulator does.
//!
//! `make soak` sets `OTP_DYNAMODB_LOCAL` to the port of DynamoDB Local on this machine. Without this variable there is
//! no second table.

use serde_json::{Value, json};
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

static TABLES: AtomicU64 = AtomicU64::new(0);
static REQUESTS: AtomicU64 = AtomicU64::new(0);

pub(super) struct Mirror {
    connection: BufReader<TcpStream>,
    /// The name of the emulator's table, and that of this one.
    names: [String; 2],
}

impl Mirror {
    /// Makes a table as `definition` says.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is not a setting of the service"
    )]
    pub(super) fn of(definition: &Value) -> Option<Self> {
        let port: u16 = env::var("OTP_DYNAMODB_LOCAL").ok()?.parse().unwrap();
        let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        connection.set_nodelay(true).unwrap();
        let name = definition["TableName"].as_str().unwrap();
        let table = TABLES.fetch_add(1, Ordering::Relaxed);
        let mut mirror = Self {
            connection: BufReader::new(connection),
            names: [name.to_owned(), format!("{name}-{}-{table}", process::id())],
        };
        assert_eq!(mirror.send("CreateTable", definition).0, 200);
        Some(mirror)
    }

    /// Sends a request that the emulator has answered, and compares the answers.
    ///
    /// # Panics
    ///
    /// If the two answers differ in something that the ledger can see.
    pub(super) fn compare(&mut self, action: &str, request: &Value, own: &(u16, String)) {
        let (status, body) = self.send(action, request);
        let own_body = serde_json::from_str(&own.1).unwrap();
        let (own, other) = (visible(own.0, &own_body), visible(status, &body));
        assert_eq!(
            own, other,
            "DynamoDB Local answers {action} {request} in another way"
        );
        REQUESTS.fetch_add(1, Ordering::Relaxed);
    }

    fn send(&mut self, action: &str, request: &Value) -> (u16, Value) {
        let [own, other] = &self.names;
        let name = |table: &str| format!("\"TableName\":\"{table}\"");
        let items = |table: &str| format!("\"RequestItems\":{{\"{table}\":");
        let body = request.to_string().replace(&name(own), &name(other));
        let body = body.replace(&items(own), &items(other));
        // DynamoDB Local wants a signature, and takes any.
        let signed = "AWS4-HMAC-SHA256 Credential=none/20300101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\nx-amz-target: DynamoDB_20120810.{action}\r\nauthorization: {signed}\r\n\
             x-amz-date: 20300101T000000Z\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.connection.get_mut();
        stream.write_all((head + &body).as_bytes()).unwrap();
        self.receive()
    }

    fn receive(&mut self) -> (u16, Value) {
        let status = self.line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = None;
        loop {
            let header = self.line();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = Some(value.trim().parse().unwrap());
            }
        }
        let body = match length {
            Some(length) => self.bytes(length),
            None => self.chunks(),
        };
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// A long body, in parts that each begin with their length.
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line(), 16).unwrap();
            body.extend(self.bytes(length));
            assert_eq!(self.line(), "");
            if length == 0 {
                return body;
            }
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.connection.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.connection.read_line(&mut line).unwrap();
        line.trim().to_ascii_lowercase()
    }

    /// Compares all items with those of the emulator, in any order, and deletes the table.
    #[expect(
        clippy::print_stdout,
        reason = "`make soak` sums up the last of these lines"
    )]
    pub(super) fn end(&mut self, mut own: Vec<Value>) {
        let scan = json!({ "TableName": self.names[0], "ConsistentRead": true });
        let (status, mut found) = self.send("Scan", &scan);
        assert!(
            status == 200 && found["LastEvaluatedKey"].is_null(),
            "{found}"
        );
        let mut other = std::mem::take(found["Items"].as_array_mut().unwrap());
        for items in [&mut own, &mut other] {
            items.iter_mut().for_each(sort_sets);
            items.sort_by_key(|item| item["pk"]["S"].to_string());
        }
        assert_eq!(own, other, "DynamoDB Local has other items");
        self.send("DeleteTable", &json!({ "TableName": self.names[0] }));
        let (requests, tables) = (
            REQUESTS.load(Ordering::Relaxed),
            TABLES.load(Ordering::Relaxed),
        );
        println!("mirror: {requests} requests in {tables} tables, no difference");
    }
}

/// The parts of an answer that the ledger reads.
fn visible(status: u16, body: &Value) -> Value {
    let error = body["__type"].as_str().map(|name| name.rsplit('#').next());
    let reasons = body["CancellationReasons"].as_array();
    let reasons = reasons.map(|all| all.iter().map(|it| it["Code"].clone()).collect::<Vec<_>>());
    // The items of a response have no order, and each of the two tables has a name of its own.
    let mut items: Vec<Value> = body["Responses"]
        .as_object()
        .map_or_else(Vec::new, |tables| {
            tables
                .values()
                .flat_map(|items| items.as_array().unwrap())
                .cloned()
                .collect()
        });
    items.sort_by_key(|item| item["pk"]["S"].to_string());
    let mut visible = json!({
        "status": status, "error": error, "reasons": reasons,
        "Item": body["Item"], "Attributes": body["Attributes"], "Items": items,
    });
    sort_sets(&mut visible);
    visible
}

/// Sets have no order.
fn sort_sets(value: &mut Value) {
    if let Some(set) = value.get_mut("SS").and_then(Value::as_array_mut) {
        set.sort_by_key(ToString::to_string);
    }
    if let Some(object) = value.as_object_mut() {
        object.values_mut().for_each(sort_sets);
    }
}
