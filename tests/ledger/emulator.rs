//! An emulator of DynamoDB in this process. The emulator takes the place of the HTTP client in AWS's SDK, and executes
//! the requests that the ledger sends through the SDK.

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use dynoxide::{Database, DynoxideError};
use futures_util::FutureExt;
use otp_lambda::aws::dynamodb::DynamoDb;
use otp_lambda::aws::{SdkConfig, SharedHttpClient};
use otp_lambda::time::Millis;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use simulator::simulated_config;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::unconstrained;

#[path = "mirror.rs"]
mod mirror;

use mirror::Mirror;

const TABLE: &str = "ledger";

/// A table of its own, with a record of its requests.
#[derive(Clone)]
pub(crate) struct Emulator(Arc<Inner>);

struct Inner {
    database: Database,
    requests: Mutex<Vec<Request>>,
    faults: Mutex<VecDeque<Fault>>,
    chooser: Mutex<Option<Chooser>>,
    rewrite: Mutex<Option<Rewrite>>,
    meanwhile: Mutex<Option<Rewrite>>,
    naive: AtomicBool,
    measures: AtomicBool,
    mirror: Option<Mutex<Mirror>>,
}

type Rewrite = Arc<dyn Fn(&mut Request) + Send + Sync>;

type Chooser = Box<dyn FnMut(&Request) -> Fault + Send>;

/// A request as it was executed.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `GetItem`, `UpdateItem`, …
    pub(crate) action: String,
    pub(crate) body: Value,
    /// The HTTP status of the response, and the name of the error.
    pub(crate) answer: (u16, String),
    /// The length of the response in bytes.
    pub(crate) answered: usize,
    /// The units that AWS bills: 1 KB each, or 4 KB for a read. It is 1 if nothing was measured.
    pub(crate) units: usize,
}

/// A fault of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    /// The request never arrives.
    Unreachable,
    /// The request is executed, and the response is lost.
    LostAnswer,
    /// The request is executed, and the response is lost unless it is a refusal.
    LostSuccess,
    /// The request is not executed, and the response is HTTP 500.
    ServerError,
    /// The request is executed, and the response is HTTP 500.
    ServerErrorAfter,
    /// The table's capacity is exceeded.
    Throttled,
    /// There is no response.
    Hang,
    /// The request is executed, and the response is not JSON.
    Garbage,
    /// The request is executed, and the response is an empty object.
    Empty,
    /// A read of several items is executed but for the first few, which the response names as unprocessed.
    Unprocessed(usize),
    /// A read of several items is executed, and the response names no table.
    NoTable,
    /// A read of several items is executed but for the first one, and the response names it under another table.
    OtherTable,
    /// The request takes this long.
    Delay(Duration),
    /// The request is executed at once, and the response takes this long.
    Late(Duration),
}

impl Request {
    /// Whether the request changes nothing.
    pub(crate) fn is_read(&self) -> bool {
        ["GetItem", "BatchGetItem"].contains(&self.action.as_str())
    }
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Emulator")
    }
}

impl Emulator {
    pub(crate) fn new() -> Self {
        let database = Database::memory().unwrap();
        let table = json!({
            "TableName": TABLE, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
        });
        let mirror = Mirror::of(&table).map(Mutex::new);
        database
            .create_table(serde_json::from_value(table).unwrap())
            .unwrap();
        // The table becomes active when it is described.
        let name = json!({ "TableName": TABLE });
        database
            .describe_table(serde_json::from_value(name).unwrap())
            .unwrap();
        Self(Arc::new(Inner {
            database,
            requests: Mutex::default(),
            faults: Mutex::default(),
            chooser: Mutex::default(),
            rewrite: Mutex::default(),
            meanwhile: Mutex::default(),
            naive: AtomicBool::default(),
            measures: AtomicBool::default(),
            mirror,
        }))
    }

    /// The adapter with this table.
    pub(crate) fn ledger(&self) -> DynamoDb {
        DynamoDb::new(&sdk_config(self.http_client()), TABLE.to_owned())
    }

    pub(crate) fn http_client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }

    /// The requests since the last call of this method.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.requests.lock().unwrap())
    }

    /// Sets the faults of the next requests, in order.
    pub(crate) fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.faults.lock().unwrap().extend(faults);
    }

    /// Chooses the fault of every request that has none of [`faults`](Self::faults).
    pub(crate) fn choose_faults(&self, choose: impl FnMut(&Request) -> Fault + Send + 'static) {
        *self.0.chooser.lock().unwrap() = Some(Box::new(choose));
    }

    /// From now on nothing goes wrong.
    pub(crate) fn clear_faults(&self) {
        self.0.faults.lock().unwrap().clear();
    }

    /// Changes every request before it is executed.
    pub(crate) fn rewrite(&self, rewrite: impl Fn(&mut Request) + Send + Sync + 'static) {
        *self.0.rewrite.lock().unwrap() = Some(Arc::new(rewrite));
    }

    /// Calls `act` before every request.
    pub(crate) fn meanwhile(&self, act: impl Fn(&mut Request) + Send + Sync + 'static) {
        *self.0.meanwhile.lock().unwrap() = Some(Arc::new(act));
    }

    /// From now on checks each condition first, and writes later without it.
    pub(crate) fn naive(&self) {
        self.0.naive.store(true, Ordering::Relaxed);
    }

    /// From now on records the units of each request.
    pub(crate) fn measure(&self) {
        self.0.measures.store(true, Ordering::Relaxed);
    }

    /// All items, with plain values. Numbers are strings.
    pub(crate) fn items(&self) -> Vec<Value> {
        self.scan().into_iter().map(|item| plain(&item)).collect()
    }

    /// The only item.
    pub(crate) fn item(&self) -> Value {
        let mut items = self.items();
        assert_eq!(items.len(), 1, "{items:?}");
        items.remove(0)
    }

    /// Writes an item in DynamoDB's JSON, without the adapter.
    pub(crate) fn put(&self, item: &Value) {
        let request = json!({ "TableName": TABLE, "Item": item });
        let (status, body) = self.0.answer("PutItem", &request);
        assert_eq!(status, 200, "{body}");
    }

    /// As [`put`](Self::put), but not in DynamoDB Local. Returns whether there is one.
    pub(crate) fn put_here_alone(&self, item: &Value) -> bool {
        let request = json!({ "TableName": TABLE, "Item": item });
        let request = serde_json::from_value(request).unwrap();
        self.0.database.put_item(request).unwrap();
        self.0.mirror.is_some()
    }

    /// Changes the only item, without the adapter.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let mut items = self.scan();
        assert_eq!(items.len(), 1);
        edit(&mut items[0]);
        self.put(&items[0]);
    }

    /// Changes the items whose key begins with `prefix`. Returns their number.
    pub(crate) fn edit_all(&self, prefix: &str, edit: impl Fn(&mut Value)) -> usize {
        let mut items = self.scan();
        items.retain(|item| item["pk"]["S"].as_str().unwrap().starts_with(prefix));
        for item in &mut items {
            edit(item);
            self.put(item);
        }
        items.len()
    }

    /// Deletes the expired items.
    pub(crate) fn sweep(&self, now: Millis) {
        for item in self.scan() {
            let ttl = item["ttl"]["N"]
                .as_str()
                .map(|ttl| ttl.parse::<u64>().unwrap());
            if ttl.is_some_and(|ttl| ttl * 1000 < now.0) {
                let request = json!({ "TableName": TABLE, "Key": { "pk": item["pk"] } });
                let (status, body) = self.0.answer("DeleteItem", &request);
                assert_eq!(status, 200, "{body}");
            }
        }
    }

    /// Executes a request without recording it.
    pub(crate) fn execute(&self, action: &str, body: &Value) -> (u16, String) {
        assert_ne!(
            action, "DeleteItem",
            "the function has no permission for it"
        );
        self.0.answer(action, body)
    }

    fn scan(&self) -> Vec<Value> {
        self.0.scan()
    }

    fn size_of(&self, key: &Value) -> usize {
        let request = json!({ "TableName": TABLE, "Key": key, "ConsistentRead": true });
        let found: Value = serde_json::from_str(&self.execute("GetItem", &request).1).unwrap();
        found["Item"].as_object().map_or(0, |item| {
            item.iter()
                .map(|(name, value)| name.len() + size_of_value(value))
                .sum()
        })
    }

    /// Executes and records a request.
    fn record(&self, mut request: Request) -> (u16, String) {
        let measures = self.0.measures.load(Ordering::Relaxed);
        let unit = if request.is_read() { 4096 } else { 1024 };
        // A request about several items pays for each item by itself.
        let sizes = |request: &Request| -> Vec<usize> {
            let keys = match request.action.as_str() {
                _ if !measures => vec![],
                "PutItem" => vec![json!({ "pk": request.body["Item"]["pk"] })],
                "BatchGetItem" => keys_of(&request.body).clone(),
                _ => vec![request.body["Key"].clone()],
            };
            keys.iter().map(|key| self.size_of(key)).collect()
        };
        let before = sizes(&request);
        let (status, body) = self.execute(&request.action, &request.body);
        let sizes = before.into_iter().zip(sizes(&request));
        let units = sizes.map(|(before, after)| before.max(after).div_ceil(unit).max(1));
        request.units = units.sum::<usize>().max(1);
        request.answer = (status, name_of(status, &body));
        request.answered = body.len();
        self.0.requests.lock().unwrap().push(request);
        (status, body)
    }

    async fn serve(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap();
        let mut request = Request {
            action: target
                .strip_prefix("DynamoDB_20120810.")
                .unwrap()
                .to_owned(),
            body: serde_json::from_slice(request.body().bytes().unwrap()).unwrap(),
            answer: (0, String::new()),
            answered: 0,
            units: 0,
        };
        let is_batch = request.action == "BatchGetItem";
        assert!(is_batch || request.body["TableName"] == TABLE);
        for hook in [&self.0.meanwhile, &self.0.rewrite] {
            let hook = hook.lock().unwrap().clone();
            if let Some(hook) = hook {
                hook(&mut request);
            }
        }
        let next = self.0.faults.lock().unwrap().pop_front();
        let fault = next.unwrap_or_else(|| match self.0.chooser.lock().unwrap().as_mut() {
            Some(choose) => choose(&request),
            None => Fault::None,
        });
        // Lets the other tasks of a race get to the same point.
        tokio::task::yield_now().await;
        match fault {
            Fault::Unreachable => {
                return Err(ConnectorError::io("connection refused on port 4566".into()));
            }
            Fault::ServerError => return Ok(internal()),
            Fault::Throttled => {
                let name =
                    "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException";
                return Ok(response(
                    400,
                    json!({ "__type": name, "message": "Too much for 10 units" }).to_string(),
                ));
            }
            Fault::Hang => std::future::pending::<()>().await,
            Fault::Delay(delay) => tokio::time::sleep(delay).await,
            _ => {}
        }
        if self.0.naive.load(Ordering::Relaxed) {
            if let Some(refusal) = self.look_first(&mut request) {
                return Ok(refusal);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        match fault {
            Fault::Unprocessed(keys) if is_batch => {
                return Ok(self.serve_in_part(request, keys, TABLE));
            }
            Fault::OtherTable if is_batch => {
                return Ok(self.serve_in_part(request, 1, "another"));
            }
            _ => {}
        }
        let (status, body) = self.record(request);
        tokio::task::yield_now().await;
        match fault {
            Fault::LostSuccess if status != 200 => Ok(response(status, body)),
            Fault::LostAnswer | Fault::LostSuccess => {
                Err(ConnectorError::io("connection reset".into()))
            }
            Fault::ServerErrorAfter => Ok(internal()),
            Fault::Garbage => Ok(response(200, "<html>Bad gateway 12</html>".to_owned())),
            Fault::Empty => Ok(response(200, "{}".to_owned())),
            Fault::NoTable => Ok(response(
                200,
                json!({ "Responses": {}, "UnprocessedKeys": {} }).to_string(),
            )),
            Fault::Late(delay) => {
                tokio::time::sleep(delay).await;
                Ok(response(status, body))
            }
            _ => Ok(response(status, body)),
        }
    }

    /// Executes a read of several items, but for the first few of its keys. The response names these as keys of `table`.
    fn serve_in_part(&self, mut request: Request, keys: usize, table: &str) -> HttpResponse {
        let all = request.body["RequestItems"][TABLE]["Keys"]
            .as_array_mut()
            .unwrap();
        let left_out: Vec<Value> = all.drain(..keys.min(all.len())).collect();
        let is_empty = all.is_empty();
        let mut body: Value = if is_empty {
            self.0.requests.lock().unwrap().push(request);
            json!({ "Responses": {}, "UnprocessedKeys": {} })
        } else {
            serde_json::from_str(&self.record(request).1).unwrap()
        };
        body["UnprocessedKeys"][table] = json!({ "Keys": left_out });
        response(200, body.to_string())
    }

    /// Checks the condition of a write as a step of its own, before the write. If the condition holds, the condition is
    /// removed from `request`, and the result is `None`. If not, the result is the refusal.
    fn look_first(&self, request: &mut Request) -> Option<HttpResponse> {
        let condition = request.body["ConditionExpression"].as_str()?.to_owned();
        let key = request.body["Key"].clone();
        let mut check = json!({
            "TableName": TABLE, "Key": key, "ConditionExpression": condition,
            "ExpressionAttributeNames": request.body["ExpressionAttributeNames"],
            "ExpressionAttributeValues": request.body["ExpressionAttributeValues"],
        });
        keep_what_is_used(&mut check);
        let check = json!({ "TransactItems": [{ "ConditionCheck": check }] });
        let (status, body) = self.execute("TransactWriteItems", &check);
        if status != 200 {
            assert!(body.contains("ConditionalCheckFailed"), "{body}");
            let get = json!({ "TableName": TABLE, "Key": key, "ConsistentRead": true });
            let found: Value = serde_json::from_str(&self.execute("GetItem", &get).1).unwrap();
            let name = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
            let refusal = json!({ "__type": name, "message": "", "Item": found["Item"] });
            return Some(response(400, refusal.to_string()));
        }
        remove(&mut request.body, "ConditionExpression");
        keep_what_is_used(&mut request.body);
        None
    }
}

impl Inner {
    fn answer(&self, action: &str, body: &Value) -> (u16, String) {
        // Both tables get the requests of a race in the same order.
        let mirror = self.mirror.as_ref().map(|mirror| mirror.lock().unwrap());
        let database = &self.database;
        let answer = match action {
            "GetItem" => answer(body, |request| database.get_item(request)),
            "BatchGetItem" => answer(body, |request| database.batch_get_item(request)),
            "PutItem" => answer(body, |request| database.put_item(request)),
            "UpdateItem" => answer(body, |request| database.update_item(request)),
            "DeleteItem" => answer(body, |request| database.delete_item(request)),
            "TransactWriteItems" => answer(body, |request| database.transact_write_items(request)),
            _ => panic!("the function has no permission for {action}"),
        };
        if let Some(mut mirror) = mirror {
            mirror.compare(action, body, &answer);
        }
        answer
    }

    fn scan(&self) -> Vec<Value> {
        let request = json!({ "TableName": TABLE, "ConsistentRead": true });
        let request = serde_json::from_value(request).unwrap();
        let found = serde_json::to_value(self.database.scan(request).unwrap()).unwrap();
        found["Items"].as_array().unwrap().clone()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let own = self.mirror.is_some().then(|| self.scan());
        if let (Some(mirror), Some(own)) = (&self.mirror, own) {
            mirror.lock().unwrap().end(own);
        }
    }
}

impl HttpConnector for Emulator {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().serve(request))
    }
}

/// A configuration with invalid credentials and AWS's own endpoints.
pub(crate) fn sdk_config(http_client: SharedHttpClient) -> SdkConfig {
    // Loading it never waits. Tokio would make it wait in a task that has done much without waiting.
    let loading = unconstrained(simulated_config(http_client).load());
    loading.now_or_never().unwrap()
}

/// The keys of a request that reads several items.
fn keys_of(body: &Value) -> &Vec<Value> {
    body["RequestItems"][TABLE]["Keys"].as_array().unwrap()
}

/// Removes the names and values that no expression of the request uses any more, because DynamoDB would refuse them.
pub(crate) fn keep_what_is_used(body: &mut Value) {
    let expressions = ["UpdateExpression", "ConditionExpression"]
        .map(|e| body[e].as_str().unwrap_or("").to_owned());
    let between = |c: char| !(c.is_ascii_alphanumeric() || "_#:".contains(c));
    let used: Vec<&str> = expressions
        .iter()
        .flat_map(|text| text.split(between))
        .collect();
    for field in ["ExpressionAttributeNames", "ExpressionAttributeValues"] {
        if let Some(map) = body[field].as_object_mut() {
            map.retain(|name, _| used.contains(&name.as_str()));
            if map.is_empty() {
                remove(body, field);
            }
        }
        if body[field].is_null() {
            remove(body, field);
        }
    }
}

pub(crate) fn remove(body: &mut Value, field: &str) {
    body.as_object_mut().unwrap().remove(field);
}

fn answer<Q: DeserializeOwned, A: Serialize>(
    body: &Value,
    execute: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> (u16, String) {
    let read = serde_json::from_str(&body.to_string());
    let read = read.map_err(|error| DynoxideError::ValidationException(error.to_string()));
    match read.and_then(execute) {
        Ok(answer) => (200, serde_json::to_string(&answer).unwrap()),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

fn name_of(status: u16, body: &str) -> String {
    if status == 200 {
        return String::new();
    }
    let body: Value = serde_json::from_str(body).unwrap();
    body["__type"]
        .as_str()
        .unwrap()
        .rsplit('#')
        .next()
        .unwrap()
        .to_owned()
}

fn internal() -> HttpResponse {
    let name = "com.amazonaws.dynamodb.v20120810#InternalServerError";
    response(
        500,
        json!({ "__type": name, "message": "Internal error 42" }).to_string(),
    )
}

fn response(status: u16, body: String) -> HttpResponse {
    let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
    response
        .headers_mut()
        .insert("content-type", "application/x-amz-json-1.0");
    response
}

fn plain(item: &Value) -> Value {
    let unwrapped = |value: &Value| value.as_object().unwrap().values().next().unwrap().clone();
    item.as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), unwrapped(value)))
        .collect()
}

/// The size of a value, counted as in DynamoDB's developer guide.
fn size_of_value(value: &Value) -> usize {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "S" => value.as_str().unwrap().len(),
        "N" => {
            value
                .as_str()
                .unwrap()
                .trim_end_matches('0')
                .len()
                .div_ceil(2)
                + 1
        }
        "SS" => value
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap().len())
            .sum(),
        "BOOL" => 1,
        _ => panic!("{kind}"),
    }
}
