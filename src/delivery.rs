//! Delivery events: AWS tells later what became of a message. A configuration set sends these events to a topic of SNS,
//! and the topic invokes the function. The function counts them. It changes nothing else, so a delivery event opens no
//! limit and no code.
//!
//! An event has the full phone number, and texts that carriers wrote. The log gets the pseudonym of the number, and of the
//! texts what [`redact`] leaves.
//!
//! SNS invokes the function asynchronously, and Lambda repeats an invocation that fails. So an event that cannot be read
//! is no failure, but a line at the level WARN.

use crate::error::FunctionError;
use crate::json::{Entries, read, read_object};
use crate::provider::Channel;
use crate::service::{Call, Service};
use crate::telemetry::{Delivery, Fate, redact};
use serde_json::value::RawValue;
use std::time::Duration;

/// Where delivery events come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The ARN of the topic. Notifications of other topics are not counted.
    pub topic: String,
    /// The provider whose events these are.
    pub provider: &'static str,
}

const EXPECTED: &str = "Expected: notifications of an SNS topic, as `Records` with `Sns` in each.";

/// More dollars than a message can cost.
const LARGEST_PRICE: f64 = 1000.0;

/// Counts the notifications of an event. Each has a log line, and that of the last one is the line of the invocation.
///
/// # Errors
///
/// These are no notifications of SNS.
pub(crate) fn respond(
    service: &Service,
    source: Option<&Source>,
    records: &RawValue,
    call: &mut Call<'_>,
) -> Result<(), FunctionError> {
    let unrecognized = || FunctionError::unrecognized(EXPECTED);
    let records: Vec<Entries<&RawValue>> = read(Some(records)).ok_or_else(unrecognized)?;
    let notifications: Option<Vec<Entries<&RawValue>>> = records
        .iter()
        .map(|record| read_object(record.get("Sns")))
        .collect();
    let notifications = notifications.ok_or_else(unrecognized)?;
    // AWS documents one notification in each event.
    let (last, earlier) = notifications.split_last().ok_or_else(unrecognized)?;
    for notification in earlier {
        let mut record = call.record.another();
        let mut of_this = Call {
            caller: call.caller.clone(),
            record: &mut record,
            ..*call
        };
        count(service, source, notification, &mut of_this);
        record.write(call.started.elapsed());
    }
    count(service, source, last, call);
    Ok(())
}

fn count(
    service: &Service,
    source: Option<&Source>,
    notification: &Entries<&RawValue>,
    call: &mut Call<'_>,
) {
    call.record.is_about_delivery();
    match understand(service, source, notification, call) {
        Ok(fate) => {
            call.record.outcome = fate.name();
            call.record.severity = Some(200);
        }
        Err((outcome, cause)) => {
            call.record.outcome = outcome;
            call.record.cause = Some(cause.to_owned());
            call.record.severity = Some(502);
        }
    }
}

/// The outcome and the cause of a notification that counts nothing.
type NotCounted = (&'static str, &'static str);

const UNREADABLE: &str = "unreadable_event";

fn understand(
    service: &Service,
    source: Option<&Source>,
    notification: &Entries<&RawValue>,
    call: &mut Call<'_>,
) -> Result<Fate, NotCounted> {
    // The events of a stack that has just turned them off still come.
    let source = source.ok_or(("wrong_topic", "DELIVERY_TOPIC is not set"))?;
    let from: Option<String> = read(notification.get("TopicArn"));
    if from.as_deref() != Some(&source.topic) {
        let cause = "the notification is of another topic than DELIVERY_TOPIC";
        return Err(("wrong_topic", cause));
    }
    let message: Option<String> = read(notification.get("Message"));
    let message = message.ok_or((UNREADABLE, "the notification has no text"))?;
    let event: Entries<&RawValue> = serde_json::from_str(&message)
        .map_err(|_| (UNREADABLE, "the text of the notification is no JSON object"))?;
    let text = |name: &str| -> Option<String> { read(event.get(name)) };

    let prefixes = &service.rules().extra_prefixes;
    let number = text("destinationPhoneNumber").and_then(|text| prefixes.read(&text).ok());
    if let Some(number) = &number {
        service.log_number(number, call);
        call.record.country = service.country(number);
    }
    let country = text("isoCountryCode").and_then(|text| text.parse().ok());
    call.record.country = call.record.country.or(country);

    let kind = text("eventType").filter(|kind| is_name(kind));
    let kind = kind.ok_or((UNREADABLE, "the event has no type"))?;
    let (channel, status) = kind.split_once('_').unwrap_or(("", &kind));
    call.record.channel = match channel {
        "TEXT" => Some(Channel::Sms),
        "VOICE" => Some(Channel::Voice),
        _ => None,
    };
    let mut fate = fate(status);
    // Of one message there can be several events. Only the last one counts.
    if read(event.get("isFinal")) == Some(false) && fate.is_some() {
        fate = Some(Fate::Pending);
    }
    call.record.told_by(source.provider);
    call.record.delivery = Some(Box::new(Delivery {
        fate,
        event: kind,
        message_id: text("messageId").filter(|id| is_id(id)),
        carrier: carrier(&event),
        time: time(&event),
        price: price(&event),
    }));
    let said = text("messageStatusDescription")
        .filter(|_| fate.is_some_and(|fate| fate.is_bad() || fate == Fate::Unknown));
    call.record.cause = said.map(|said| redact(&said));
    fate.ok_or((
        "unknown_event",
        "this version does not know events of this type",
    ))
}

/// The fate of a message by the type of its event, without the `TEXT_` or `VOICE_` before it.
fn fate(status: &str) -> Option<Fate> {
    Some(match status {
        // In some countries, the acceptance by the carrier is the last that AWS learns.
        "DELIVERED" | "SUCCESSFUL" | "COMPLETED" => Fate::Delivered,
        "BLOCKED" | "CARRIER_BLOCKED" | "PROTECT_BLOCKED" | "SPAM" => Fate::Blocked,
        "INVALID"
        | "INVALID_MESSAGE"
        | "UNREACHABLE"
        | "CARRIER_UNREACHABLE"
        | "TTL_EXPIRED"
        | "BUSY"
        | "NO_ANSWER"
        | "FAILED" => Fate::Undelivered,
        "UNKNOWN" => Fate::Unknown,
        // A message that is read was delivered before, and counts then.
        "QUEUED" | "PENDING" | "SENT" | "INITIATED" | "RINGING" | "ANSWERED" | "READ" => {
            Fate::Pending
        }
        _ => return None,
    })
}

/// The network by its codes, such as `310-800`, or else by the name that the event has.
fn carrier(event: &Entries<&RawValue>) -> Option<String> {
    let code = |name: &str| -> Option<String> {
        let code: String = read(event.get(name))?;
        let is_code = (2..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit());
        is_code.then_some(code)
    };
    if let (Some(country), Some(network)) = (code("mcc"), code("mnc")) {
        return Some(format!("{country}-{network}"));
    }
    let name: String = read(event.get("carrierName"))?;
    let name: String = redact(&name).chars().take(40).collect();
    Some(name).filter(|name| !name.trim().is_empty())
}

/// The time from AWS's acceptance of the message to the event.
fn time(event: &Entries<&RawValue>) -> Option<Duration> {
    let at = |name: &str| read::<u64>(event.get(name));
    let time = at("eventTimestamp")?.checked_sub(at("messageRequestTimestamp")?)?;
    Some(Duration::from_millis(time))
}

/// The price in dollars, with the carrier's fee.
fn price(event: &Entries<&RawValue>) -> Option<f64> {
    let of = |name: &str| read::<f64>(event.get(name));
    let price = of("totalMessagePrice")? + of("totalCarrierFee").unwrap_or_default();
    let millionths = (price * 1e6).round();
    (0.0..=LARGEST_PRICE)
        .contains(&price)
        .then_some(millionths / 1e6)
}

/// Whether a text is the type of an event, which is as little a code as it is a number.
fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

fn is_id(text: &str) -> bool {
    // With a letter, it is no phone number.
    text.len() <= 64
        && text.bytes().any(|b| b.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
