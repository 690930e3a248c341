//! A whole function with a ledger in memory and a provider that the test commands.

use crate::emulator::{Emulator, keep_what_is_used};
use crate::twin::agree;
use async_trait::async_trait;
use otp_lambda::app::{App, Invocation, InvokedAs};
use otp_lambda::aws::dynamodb::DynamoDb;
use otp_lambda::cognito;
use otp_lambda::error::{Error, ErrorCode};
use otp_lambda::http;
use otp_lambda::ledger::{Door, Hasher, ItemName, Ledger, Unavailable};
use otp_lambda::otp::{CodeCharacters, CodeShape, Otp};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::provider::{
    Answer, Channel, ChannelLimits, Message, Provider, ProviderLimits, Receipt, Verdict,
};
use otp_lambda::reference::ReferenceId;
use otp_lambda::service::{Limits, Providers, Service, User};
use otp_lambda::settings::{Problems, Settings};
use otp_lambda::time::Millis;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use simulator::MemoryLedger;
use simulator::layer::{Layer, Layered, Reply, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

const SECRET: &[u8] = b"the secret of two worlds, of forty-three characters";

/// 2027-01-15, 07:50 UTC.
pub(crate) const START: u64 = 1_799_999_400_000;

/// The code that every message has.
pub(crate) const CODE: &str = "424242";

pub(crate) fn hasher() -> Hasher {
    Hasher::from_secret(SECRET)
}

/// The provider's answer to every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Works,
    Refuses,
    Unclear,
}

/// The state that the test and the function share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) ledger: MemoryLedger,
    pub(crate) mood: Mood,
    /// How long the provider takes on average.
    pub(crate) latency: Duration,
    /// How long a step of the ledger takes.
    pub(crate) step_time: Duration,
    /// The numbers that got messages.
    pub(crate) texts: Vec<String>,
    /// The steps of the current event.
    pub(crate) steps: Vec<&'static str>,
    /// The index of the step of the current event that fails.
    pub(crate) fails_at: Option<usize>,
    /// The items that were written.
    pub(crate) written: BTreeSet<ItemName>,
    /// For controls: items that a flawed function uses in place of others.
    pub(crate) confused: BTreeMap<ItemName, ItemName>,
    /// For controls: whether a flawed function counts sign-ins where HTTP counts.
    pub(crate) one_budget: bool,
    /// The table that must reply as the ledger in memory does.
    table: Option<Table>,
}

/// A ledger in DynamoDB.
#[derive(Clone)]
struct Table {
    emulator: Emulator,
    ledger: Arc<DynamoDb>,
    refunds_unspent: bool,
}

impl Table {
    /// A flawed table takes back whatever it is asked to, from every counter that exists.
    fn new(refunds_unspent: bool) -> Self {
        let emulator = Emulator::new();
        if refunds_unspent {
            emulator.rewrite(|request| {
                let update = request.body["UpdateExpression"].as_str().unwrap_or("");
                if update.contains("#m = #m - :amount0") {
                    let condition = "attribute_exists(#m) AND #w <> :mark";
                    request.body["ConditionExpression"] = json!(condition);
                    keep_what_is_used(&mut request.body);
                }
            });
        }
        Self {
            ledger: Arc::new(emulator.ledger()),
            emulator,
            refunds_unspent,
        }
    }
}

static LIMITS: LazyLock<ProviderLimits> = LazyLock::new(|| ProviderLimits {
    code: CodeShape {
        length: 5..=8,
        characters: CodeCharacters::Digits,
    },
    validity_minutes: 5..=60,
    allowed_attempts: 1..=5,
    brand_name: 1..=11,
    channels: vec![ChannelLimits {
        channel: Channel::Sms,
        languages: vec!["en-US".into()],
    }],
    any_language: false,
    brand_is_display_name: false,
    quotas: None,
});

struct Phones(Arc<Mutex<Shared>>);

impl Phones {
    async fn answers(&self) -> Result<(), Error> {
        let latency = self.0.lock().unwrap().latency;
        if !latency.is_zero() {
            // The time varies from half as long to half as long again.
            tokio::time::sleep(latency.mul_f64(0.5 + fastrand::f64())).await;
        }
        match self.0.lock().unwrap().mood {
            Mood::Works => Ok(()),
            Mood::Refuses => Err(Error::new(ErrorCode::ProviderThrottled, "made up")),
            Mood::Unclear => {
                Err(Error::new(ErrorCode::ProviderTimeout, "made up").with_unknown_delivery())
            }
        }
    }
}

#[async_trait]
impl Provider for Phones {
    fn name(&self) -> &'static str {
        "pinpoint"
    }

    fn limits(&self) -> &ProviderLimits {
        &LIMITS
    }

    async fn send(&self, message: &Message<'_>, _: Duration) -> Result<Receipt, Error> {
        self.answers().await?;
        let to = message.to.expose().to_owned();
        self.0.lock().unwrap().texts.push(to);
        Ok(Receipt::default())
    }

    async fn verify(
        &self,
        to: &PhoneNumber,
        _: &ReferenceId,
        otp: &Otp,
        _: Duration,
    ) -> Result<Answer, Error> {
        self.answers().await?;
        let has_text = self
            .0
            .lock()
            .unwrap()
            .texts
            .iter()
            .any(|got| got == to.expose());
        let is_right = has_text && otp.expose() == CODE;
        Ok(Answer {
            verdict: if is_right {
                Verdict::Valid
            } else {
                Verdict::Invalid
            },
            request_id: None,
        })
    }
}

/// A ledger that counts its steps.
#[derive(Clone)]
struct Watched(Arc<Mutex<Shared>>);

#[async_trait]
impl Layer for Watched {
    async fn step(&self, mut step: Step) -> Result<Reply, Unavailable> {
        let (ledger, table, step_time) = {
            let mut shared = self.0.lock().unwrap();
            shared.confuse(&mut step);
            let nth = shared.steps.len();
            shared.steps.push(step.name());
            if shared.fails_at == Some(nth) {
                return Err(Unavailable("made up".to_owned()));
            }
            if let Some(item) = item_of(&mut step)
                && !matches!(item.as_str().as_bytes().first(), Some(b'V' | b'I' | b'S'))
            {
                let item = item.clone();
                if !step.is_read() {
                    shared.written.insert(item);
                }
            }
            let table = shared.table.as_ref().map(|table| table.ledger.clone());
            (shared.ledger.clone(), table, shared.step_time)
        };
        if !step_time.is_zero() {
            tokio::time::sleep(step_time).await;
        }
        let reply = step.run(&ledger).await;
        // The operator's switches are set in memory only.
        if let Some(table) = table
            && !matches!(step, Step::Switches { .. })
        {
            agree(&step, &step.run(&*table).await, &reply);
        }
        reply
    }
}

/// The item of a step that counts.
fn item_of(step: &mut Step) -> Option<&mut ItemName> {
    match step {
        Step::Count { item, .. }
        | Step::Counted { item }
        | Step::Uncount { item }
        | Step::Number { item }
        | Step::ReserveSend { item, .. }
        | Step::ChargeNumber { item, .. }
        | Step::ClearFailures { item, .. }
        | Step::Unlock { item, .. } => Some(item),
        Step::Spend { spending } | Step::Spent { spending } | Step::Refund { spending } => {
            Some(&mut spending.item)
        }
        _ => None,
    }
}

impl Shared {
    fn confuse(&self, step: &mut Step) {
        let Some(item) = item_of(step) else { return };
        if let Some(other) = self.confused.get(item) {
            item.clone_from(other);
        }
        if self.one_budget
            && let Some(budget) = item.as_str().strip_suffix("#sign-in")
        {
            let mut parts = budget.split('#').skip(1);
            let day = parts.next().unwrap().parse().unwrap();
            *item = parts
                .next()
                .map_or(ItemName::of_budget(Door::Http, day), |country| {
                    ItemName::of_country_budget(Door::Http, day, country.parse().unwrap())
                });
        }
    }
}

pub(crate) struct World {
    app: App,
    pub(crate) shared: Arc<Mutex<Shared>>,
    now: u64,
    /// The reference IDs in the answers, in order.
    references: Vec<String>,
    /// The device tokens in the answers, in order.
    tokens: Vec<String>,
}

/// Whether the function starts with these settings.
pub(crate) fn are_possible(more: &[(&str, String)]) -> bool {
    read(more).is_ok()
}

pub(crate) fn settings(more: &[(&str, String)]) -> Settings {
    read(more).unwrap()
}

fn read(more: &[(&str, String)]) -> Result<Settings, Problems> {
    Settings::read(&|name| {
        if let Some((_, value)) = more.iter().find(|(more, _)| *more == name) {
            return Some(value.clone());
        }
        let value = match name {
            "ORIGINATION_IDENTITY" => "+12065550100",
            "BRAND_NAME" => "ExampleCorp",
            "ALLOWED_COUNTRIES" => "US,GB,JM",
            "AWS_REGION" => "us-east-1",
            "LEDGER_KEY" => "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "API_AUTH" => "none",
            "COGNITO_FLOOR_MS" => "0",
            "SIGN_IN_SHARE" => "50",
            "PINPOINT_APPLICATION_ID"
            | "LEDGER_TABLE"
            | "AWS_ACCESS_KEY_ID"
            | "AWS_SECRET_ACCESS_KEY" => "test",
            _ => return None,
        };
        Some(value.to_owned())
    })
}

/// The function's service, and the other parts of an `App`.
fn service(
    settings: Settings,
    ledger: Box<dyn Ledger>,
    shared: &Arc<Mutex<Shared>>,
) -> (Service, http::Policy, cognito::Policy) {
    let policy = settings.ledger.unwrap().policy;
    let limits = Limits::new(ledger, hasher(), policy);
    let providers = Providers::only(Box::new(Phones(Arc::clone(shared))));
    let service = Service::new(settings.rules, providers, Some(limits));
    (service, settings.http, settings.sign_in)
}

impl World {
    pub(crate) fn new(more: &[(&str, String)]) -> Self {
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let watched = Layered(Watched(Arc::clone(&shared)));
        let (service, http, sign_in) = service(settings(more), Box::new(watched), &shared);
        Self {
            app: App::new(service, http, sign_in),
            shared,
            now: START,
            references: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// The numbers that are shown for users who do not exist.
    pub(crate) fn made_up_numbers(
        more: &[(&str, String)],
        pool: &str,
        names: &[&str],
    ) -> Vec<PhoneNumber> {
        let shared = Arc::default();
        let (service, ..) = service(settings(more), Box::new(MemoryLedger::new()), &shared);
        let user = |name: &&str| User {
            pool: pool.to_owned(),
            name: (*name).to_owned(),
            ..User::default()
        };
        let numbers = names.iter().map(|name| service.made_up_number(&user(name)));
        numbers.collect::<Option<_>>().unwrap()
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += u64::try_from(by.as_millis()).unwrap();
        self.ledger().sweep(Millis(self.now));
        if let Some(table) = &self.shared.lock().unwrap().table {
            table.emulator.sweep(Millis(self.now));
        }
    }

    /// An item of the table with a number below zero.
    pub(crate) fn below_zero(&self) -> Option<Value> {
        let shared = self.shared.lock().unwrap();
        let items = shared.table.as_ref()?.emulator.items();
        items.into_iter().find(|item| {
            let mut values = item.as_object().unwrap().values();
            values.any(|value| {
                let text = value.as_str().unwrap_or_default();
                text.parse::<i64>().is_ok_and(i64::is_negative)
            })
        })
    }

    /// Does every step in DynamoDB, too.
    pub(crate) fn add_table(&mut self, refunds_unspent: bool) {
        self.shared.lock().unwrap().table = Some(Table::new(refunds_unspent));
    }

    pub(crate) fn ledger(&self) -> MemoryLedger {
        self.shared.lock().unwrap().ledger.clone()
    }

    /// Begins anew with an empty ledger, at a later time than all acts before. The function reads the operator's
    /// switches from the ledger, and uses them for ten seconds. Because the new time is later, the function must read
    /// them again.
    pub(crate) fn begin_anew(&mut self, days: u64) {
        let mut shared = self.shared.lock().unwrap();
        shared.ledger = MemoryLedger::new();
        if let Some(table) = &mut shared.table {
            *table = Table::new(table.refunds_unspent);
        }
        shared.mood = Mood::Works;
        shared.texts.clear();
        drop(shared);
        self.references.clear();
        self.tokens.clear();
        self.now = START + days * 86_400_000;
    }

    pub(crate) fn now(&self) -> Millis {
        Millis(self.now)
    }

    /// Handles an event. Returns the answer, and the names of the ledger's steps.
    pub(crate) async fn handle(&mut self, event: &Value) -> (String, Vec<&'static str>) {
        self.shared.lock().unwrap().steps.clear();
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(self.now);
        let event: Box<RawValue> = RawValue::from_string(event.to_string()).unwrap();
        let invocation = Invocation {
            invoked_as: InvokedAs::Itself,
            request_id: "8f507cfc-xmpl-4697-b07a-ac58fc914c95".to_owned(),
            trace: None,
            deadline: SystemTime::UNIX_EPOCH,
        };
        let answer = match self.app.handle_at(now, &event, invocation).await {
            Ok(answer) => answer.get().to_owned(),
            Err(error) => error.to_string(),
        };
        let mut shared = self.shared.lock().unwrap();
        shared.fails_at = None;
        (answer, std::mem::take(&mut shared.steps))
    }

    /// A public request over HTTP. Random reference IDs and device tokens in the answer are replaced by their place in
    /// the order of all. A number in one of these two fields of the body stands for the value at this place.
    pub(crate) async fn http(
        &mut self,
        path: &str,
        mut body: Value,
        address: u8,
    ) -> (String, Vec<&'static str>) {
        if let Some(place) = body["referenceId"].as_u64() {
            let place = usize::try_from(place).unwrap();
            let known = self.references.get(place).cloned();
            body["referenceId"] = json!(known.unwrap_or_else(|| "0".repeat(32)));
        }
        if let Some(place) = body["deviceToken"].as_u64() {
            let place = usize::try_from(place).unwrap();
            let known = self.tokens.get(place).cloned();
            body["deviceToken"] = json!(known.unwrap_or_else(|| "0".repeat(43)));
        }
        let event = json!({
            "version": "2.0",
            "routeKey": format!("POST {path}"),
            "rawPath": path,
            "rawQueryString": "",
            "headers": { "content-type": "application/json" },
            "requestContext": {
                "http": {
                    "method": "POST", "path": path, "protocol": "HTTP/1.1",
                    "sourceIp": format!("192.0.2.{address}"), "userAgent": "stranger",
                },
            },
            "body": body.to_string(),
            "isBase64Encoded": false,
        });
        let (answer, steps) = self.handle(&event).await;
        let answer = with_places(answer, "referenceId", 32, &mut self.references);
        let answer = with_places(answer, "deviceToken", 43, &mut self.tokens);
        (answer, steps)
    }
}

/// An answer in which the random value of a field is replaced by its place among all values of this field.
fn with_places(answer: String, field: &str, length: usize, all: &mut Vec<String>) -> String {
    let Some((before, rest)) = answer.split_once(&format!("\\\"{field}\\\":\\\"")) else {
        return answer;
    };
    let (value, after) = rest.split_at(length);
    let known = all.iter().position(|known| known == value);
    let place = known.unwrap_or_else(|| {
        all.push(value.to_owned());
        all.len() - 1
    });
    format!("{before}{field} {place:032}{after}")
}
