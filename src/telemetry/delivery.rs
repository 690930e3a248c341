//! The facts of a delivery event, in the log line.

use super::line::Line;
use super::metrics::Metric;
use std::time::Duration;

/// The fate of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    /// The network or the phone did not take it.
    Undelivered,
    /// A filter refused it: of AWS, of SMS Protect or of the carrier.
    Blocked,
    /// AWS has learned nothing for 72 hours.
    Unknown,
    /// AWS will tell more.
    Pending,
}

impl Fate {
    /// The outcome in the log line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
            Self::Pending => "pending",
        }
    }

    /// Whether the person has no message.
    #[must_use]
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Undelivered | Self::Blocked)
    }
}

/// The facts of a delivery event.
#[derive(Debug)]
pub struct Delivery {
    /// `None` for a type of event that this version does not know.
    pub fate: Option<Fate>,
    /// The type of the event.
    pub event: String,
    pub message_id: Option<String>,
    pub carrier: Option<String>,
    /// From the send to the event.
    pub time: Option<Duration>,
    /// The price of the message in dollars.
    pub price: Option<f64>,
}

impl Delivery {
    pub(super) fn write(&self, line: &mut Line<'_>) {
        line.members.text("event", &self.event);
        line.optional("messageId", self.message_id.as_deref());
        line.optional("carrier", self.carrier.as_deref());
        if let Some(time) = self.time {
            line.members.milliseconds("deliveryMs", time);
        }
        if let Some(price) = self.price {
            line.members.number("price", price);
        }
    }

    /// Counts what became of the message. Of an unknown or pending one nobody knows it, so that one counts in no metric.
    pub(super) fn count(&self, line: &mut Line<'_>) {
        match self.fate {
            // With a zero for each delivered message, the average tells the share of the messages that got lost.
            Some(Fate::Delivered) => {
                let name = Metric::Undelivered.name();
                line.measure(Metric::Undelivered, |it| it.number(name, 0));
            }
            Some(Fate::Undelivered) => line.count(Metric::Undelivered),
            Some(Fate::Blocked) => {
                line.count(Metric::Undelivered);
                line.count(Metric::Blocked);
            }
            Some(Fate::Unknown | Fate::Pending) | None => {}
        }
    }
}
