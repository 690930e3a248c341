//! Requests to the table: the meaning of each failure, and the repeats.
//!
//! A read changes nothing, so it is repeated after every failure that may be temporary. A write is repeated if the
//! write was throttled or never left the function, because in both cases DynamoDB has not executed the write. After any
//! other failure of a write, it is unknown whether DynamoDB has executed the write: see
//! [`Update::run`](super::update::Update::run).

use super::item::Item;
use super::update::text;
use crate::aws::connecting::only_connecting;
use crate::aws::connector::never_connected;
use crate::aws::{CONNECT_TIME_LIMIT, cause, with_time_limits};
use crate::ledger::{ItemName, Unavailable};
use crate::telemetry::asked;
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures_util::future::join;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// The time limit of one request. DynamoDB usually responds within a few milliseconds.
const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(1);

/// The time limit of a step, with all its repeats.
const STEP_TIME_LIMIT: Duration = Duration::from_secs(2);

/// The longest wait before each repeat of a request. The actual wait is a random part of the longest wait ("full
/// jitter"). So functions that were throttled together do not all repeat at the same moment.
const LONGEST_WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(200)];

/// The most items that DynamoDB reads with one request.
const MOST_KEYS: usize = 100;

/// The errors with which DynamoDB refuses a request because there are too many. A refused request was not executed.
const THROTTLES: [&str; 3] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
];

pub(super) struct Table {
    pub(super) client: Client,
    only_connecting: SdkConfig,
    pub(super) name: String,
}

impl Table {
    pub(super) fn new(config: &SdkConfig, name: String) -> Self {
        let time_limits = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIME_LIMIT)
            .operation_timeout(REQUEST_TIME_LIMIT)
            .build();
        Self {
            client: Client::new(&with_time_limits(config, time_limits)),
            only_connecting: with_time_limits(config, only_connecting()),
            name,
        }
    }

    /// Opens two connections, because some steps run at the same time. The second one is opened while the first one is
    /// in use, because a connection that is not in use would be taken for the second one.
    pub(super) async fn connect(&self) {
        let item = ItemName::of_switches();
        let opening = Client::new(&self.only_connecting)
            .get_item()
            .table_name(&self.name)
            .key("pk", text(item.as_str()));
        // The call that opens a connection always fails, because it is not sent.
        let _ = join(self.read(&item), opening.send()).await;
    }

    /// Reads an item, consistently.
    pub(super) async fn read(&self, item: &ItemName) -> Result<Option<Item>, Unavailable> {
        let request = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("pk", text(item.as_str()))
            .consistent_read(true);
        let read = async {
            let mut repeats = Repeats::new();
            loop {
                let failure = match answer_to(request.clone().send()).await {
                    Ok(output) => return Ok(output.item.map(Item)),
                    Err(error) => Failure::of("GetItem", &error),
                };
                if failure.kind == FailureKind::Lasting {
                    return Err(failure.into_unavailable());
                }
                repeats.next(failure).await?;
            }
        };
        within_step("GetItem", Box::pin(read)).await
    }

    /// Reads several items, each consistently. Returns those that are there, by their names.
    ///
    /// DynamoDB may leave some of the items for another request, and then names them. These items are asked for again.
    /// They must not be taken for missing, because a missing item means that nothing has been counted.
    pub(super) async fn read_all(
        &self,
        items: impl Iterator<Item = &ItemName>,
    ) -> Result<BTreeMap<String, Item>, Unavailable> {
        // DynamoDB rejects a request that names an item twice, so this is a set.
        let mut left: BTreeSet<String> = items.map(|item| item.as_str().to_owned()).collect();
        let read = async {
            let mut found = BTreeMap::new();
            let mut repeats = Repeats::new();
            while !left.is_empty() {
                let others = match left.iter().nth(MOST_KEYS).cloned() {
                    Some(first) => left.split_off(&first),
                    None => BTreeSet::new(),
                };
                let request = self.client.batch_get_item();
                let request = request.request_items(&self.name, keys_of(&left)?);
                let failure = match answer_to(request.send()).await {
                    Ok(output) => match self.read_and_left(output, &left)? {
                        Some(part) => {
                            found.extend(part.read);
                            left = part.left;
                            (!left.is_empty()).then(|| {
                                Failure::not_executed("BatchGetItem: some items were left out")
                            })
                        }
                        None => Some(Failure::unclear(
                            "BatchGetItem: a response without all items",
                        )),
                    },
                    Err(error) => Some(Failure::of("BatchGetItem", &error)),
                };
                left.extend(others);
                match failure {
                    Some(failure) if failure.kind == FailureKind::Lasting => {
                        return Err(failure.into_unavailable());
                    }
                    Some(failure) => repeats.next(failure).await?,
                    None => {}
                }
            }
            Ok(found)
        };
        within_step("BatchGetItem", Box::pin(read)).await
    }

    /// The items that a response has for these names, and the names that it leaves for another request. `None` if the
    /// response is not from DynamoDB: DynamoDB always names the table whose items it has read, even if it has found
    /// none, and leaves out nothing that it was not asked for.
    fn read_and_left(
        &self,
        output: BatchGetItemOutput,
        asked: &BTreeSet<String>,
    ) -> Result<Option<Part>, Unavailable> {
        let mut unprocessed = output.unprocessed_keys.unwrap_or_default();
        let left = names_in(unprocessed.remove(&self.name))?;
        let mut responses = output.responses.unwrap_or_default();
        let read = match responses.remove(&self.name) {
            Some(read) => read,
            None if left == *asked => Vec::new(),
            None => return Ok(None),
        };
        if !unprocessed.is_empty() || !left.is_subset(asked) {
            return Ok(None);
        }
        let read = read.into_iter().map(|item| {
            let item = Item(item);
            Ok((item.name()?.to_owned(), item))
        });
        let read = read.collect::<Result<_, _>>()?;
        Ok(Some(Part { read, left }))
    }
}

/// A part of the items that a read asks for.
struct Part {
    /// The items that are in the table, by their names.
    read: BTreeMap<String, Item>,
    /// The names that are left for another request.
    left: BTreeSet<String>,
}

/// The names in keys that DynamoDB has left for another request.
fn names_in(keys: Option<KeysAndAttributes>) -> Result<BTreeSet<String>, Unavailable> {
    let keys = keys.map(|keys| keys.keys).unwrap_or_default();
    keys.into_iter()
        .map(|key| Item(key).name().map(str::to_owned))
        .collect()
}

/// A consistent read of the items with these names.
fn keys_of(names: &BTreeSet<String>) -> Result<KeysAndAttributes, Unavailable> {
    let key = |name: &String| HashMap::from([("pk".to_owned(), text(name))]);
    KeysAndAttributes::builder()
        .consistent_read(true)
        .set_keys(Some(names.iter().map(key).collect()))
        .build()
        .map_err(|error| Unavailable(format!("BatchGetItem: {error}")))
}

/// Sends a request to the table, and counts it for the log line.
pub(super) async fn answer_to<T>(request: impl Future<Output = T>) -> T {
    let _asked = asked();
    request.await
}

/// Abandons a step that takes too long.
pub(super) async fn within_step<T>(
    request: &str,
    step: impl Future<Output = Result<T, Unavailable>>,
) -> Result<T, Unavailable> {
    tokio::time::timeout(STEP_TIME_LIMIT, step)
        .await
        .unwrap_or_else(|_| {
            Err(Unavailable(format!(
                "{request}: the time of the step was over"
            )))
        })
}

/// A request that gave no result, and the reason.
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    cause: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// DynamoDB has not executed the request, and may execute a repeat of it.
    NotExecuted,
    /// DynamoDB has not executed the request, and would not execute a repeat of it.
    Lasting,
    /// DynamoDB may have executed the request.
    Unclear,
}

impl Failure {
    pub(super) fn of<E>(request: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let kind = match error {
            SdkError::ServiceError(answer) => {
                let name = answer.err().code().unwrap_or_default();
                match answer.raw().status().as_u16() {
                    429 => FailureKind::NotExecuted,
                    400..500 if THROTTLES.contains(&name) => FailureKind::NotExecuted,
                    400..500 => FailureKind::Lasting,
                    _ => FailureKind::Unclear,
                }
            }
            SdkError::ConstructionFailure(_) => FailureKind::Lasting,
            SdkError::DispatchFailure(failure)
                if failure.as_connector_error().is_some_and(never_connected) =>
            {
                FailureKind::NotExecuted
            }
            _ => FailureKind::Unclear,
        };
        Self {
            kind,
            cause: format!("{request}: {}", cause(error)),
        }
    }

    pub(super) fn unclear(cause: &str) -> Self {
        Self {
            kind: FailureKind::Unclear,
            cause: cause.to_owned(),
        }
    }

    fn not_executed(cause: &str) -> Self {
        Self {
            kind: FailureKind::NotExecuted,
            cause: cause.to_owned(),
        }
    }

    pub(super) fn into_unavailable(self) -> Unavailable {
        Unavailable(self.cause)
    }
}

/// The repeats that a step has left.
pub(super) struct Repeats(std::array::IntoIter<Duration, 2>);

impl Repeats {
    pub(super) fn new() -> Self {
        Self(LONGEST_WAITS.into_iter())
    }

    /// Waits before the next repeat. If none is left, `failure` stands.
    pub(super) async fn next(&mut self, failure: Failure) -> Result<(), Unavailable> {
        let Some(longest) = self.0.next() else {
            return Err(failure.into_unavailable());
        };
        let part = getrandom::u32().unwrap_or(u32::MAX);
        let wait = longest.mul_f64(f64::from(part) / f64::from(u32::MAX));
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
