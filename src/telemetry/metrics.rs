//! CloudWatch metrics as members of log lines, in CloudWatch's embedded metric format. CloudWatch reads them from the
//! log, so the function needs no permission and no request for the metrics.
//!
//! CloudWatch charges for each name with each combination of values of dimensions. So a metric has as few dimensions as
//! its alarms need, and the log line has the rest.

use super::line::{Members, now};
use crate::phone::Country;
use std::fmt::Write;

/// Most members `_aws` are shorter.
const USUAL_LENGTH: usize = 1024;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "otp-lambda";

/// The dimension that every metric has: the name of the ledger's table. Two stacks of an account so have metrics of their
/// own, and the two functions of a stack have them together.
pub const LEDGER: &str = "ledger";

/// The second dimension of `sent`, `verified` and `undelivered`: one of the countries of [`Metrics`], or [`OTHER`].
pub const COUNTRY: &str = "countryGroup";

/// All countries without metrics of their own.
pub const OTHER: &str = "other";

/// The most countries with metrics of their own.
pub const MOST_COUNTRIES: usize = 20;

/// As [`MOST_COUNTRIES`], with delivery events: these add a metric by country, and there may be only 60 metrics.
pub const MOST_COUNTRIES_WITH_DELIVERIES: usize = 12;

/// How many metrics there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// At most 10, for alarms.
    Basic,
    /// At most 60, for a dashboard, too.
    Full,
}

/// The metrics that the operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    pub detail: Detail,
    /// The name of the ledger's table, or of the function if there is no ledger.
    pub ledger: String,
    /// The countries with metrics of their own, at most [`MOST_COUNTRIES`], or [`MOST_COUNTRIES_WITH_DELIVERIES`].
    pub countries: Vec<Country>,
}

macro_rules! metrics {
    ($($(#[$doc:meta])+ $variant:ident $name:literal $unit:literal $detail:ident)+) => {
        /// A value that is counted or measured.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric {
            $($(#[$doc])+ $variant,)+
        }

        impl Metric {
            /// All metrics, in the order of docs/operate.md.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in CloudWatch, and of the member of the log line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The unit in CloudWatch, which has none of money.
            #[must_use]
            pub fn unit(self) -> &'static str {
                match self {
                    $(Self::$variant => $unit,)+
                }
            }

            /// The metric as a member of `Metrics` in the embedded metric format.
            fn definition(self) -> &'static str {
                match self {
                    $(Self::$variant => {
                        concat!("{\"Name\":\"", $name, "\",\"Unit\":\"", $unit, "\"}")
                    })+
                }
            }

            /// The least detail with which this is a metric.
            #[must_use]
            pub fn detail(self) -> Detail {
                match self {
                    $(Self::$variant => Detail::$detail,)+
                }
            }
        }
    };
}

metrics! {
    /// Messages that the provider has accepted.
    Sent "sent" "Count" Basic
    /// Codes of such messages that were given back. Each message counts 0, and each code 1.
    Verified "verified" "Count" Basic
    /// Guesses that the provider has found wrong. Guesses at decoys, test numbers and codes of other software do not
    /// count.
    WrongGuesses "wrongGuesses" "Count" Basic
    /// Sends after which nobody knows if there was a message.
    UnknownDeliveries "unknownDeliveries" "Count" Basic
    /// The fullest budget of all messages after a send, 100 if a budget refuses the message.
    BudgetUsed "budgetUsed" "Percent" Basic
    /// Requests that the provider has refused because there are too many.
    ProviderThrottles "providerThrottles" "Count" Basic
    /// Requests in which the ledger could not be read or written.
    LedgerErrors "ledgerErrors" "Count" Basic
    /// Requests that failed because a setting or a permission is wrong.
    Misconfigured "misconfigured" "Count" Basic
    /// Panics of this program.
    Panics "panics" "Count" Basic
    /// Numbers on their way to a lock.
    NumbersNearLock "numbersNearLock" "Count" Basic
    /// Sends of sign-ins that showed `sent` because there is nobody to send to.
    Decoys "decoys" "Count" Full
    /// Sends of sign-ins that showed `sent` although something has refused the message.
    SignInsRefused "signInsRefused" "Count" Full
    /// Other requests that a limit has refused.
    Refused "refused" "Count" Full
    /// The fullest budget of a country after a send to it, 100 if a budget of the country refuses the message.
    CountryBudgetUsed "countryBudgetUsed" "Percent" Full
    /// The price of a message that may have been sent.
    Spend "spend" "None" Full
    /// How long the provider took.
    ProviderMs "providerMs" "Milliseconds" Full
    /// How long Cognito waited for a trigger that has a floor.
    TriggerMs "triggerMs" "Milliseconds" Full
    /// Triggers that took longer than their floor.
    FloorExceeded "floorExceeded" "Count" Full
    /// Messages that were not delivered. Each delivered message counts 0, and each other one 1.
    Undelivered "undelivered" "Count" Full
    /// Messages that a filter has refused. They count as undelivered, too.
    Blocked "blocked" "Count" Full
}

impl Metric {
    /// Whether this metric is also counted by country, with [`Detail::Full`].
    #[must_use]
    pub fn is_by_country(self) -> bool {
        matches!(self, Self::Sent | Self::Verified | Self::Undelivered)
    }
}

/// The metrics of one line.
#[derive(Debug, Default)]
pub(super) struct Measured(Vec<Metric>);

impl Measured {
    pub(super) fn add(&mut self, metrics: &Metrics, metric: Metric) {
        if metric.detail() <= metrics.detail {
            self.0.push(metric);
        }
    }

    /// Writes the member `_aws`, and the members that its dimensions need.
    pub(super) fn finish(&self, metrics: &Metrics, country: Option<&str>, members: &mut Members) {
        if self.0.is_empty() {
            return;
        }
        members.text(LEDGER, &metrics.ledger);
        let mut metadata = String::with_capacity(USUAL_LENGTH);
        // Writing to a string never fails.
        let _ = write!(
            metadata,
            "{{\"Timestamp\":{},\"CloudWatchMetrics\":[",
            now().as_millis()
        );
        directive(&mut metadata, &[LEDGER], self.0.iter());
        let by_country = || self.0.iter().filter(|metric| metric.is_by_country());
        if metrics.detail == Detail::Full && by_country().next().is_some() {
            let own = |known: &Country| country == Some(known.as_str());
            let is_known = metrics.countries.iter().any(own);
            members.text(COUNTRY, country.filter(|_| is_known).unwrap_or(OTHER));
            metadata.push(',');
            directive(&mut metadata, &[LEDGER, COUNTRY], by_country());
        }
        metadata.push_str("]}");
        members.json("_aws", &metadata);
    }
}

fn directive<'a>(
    metadata: &mut String,
    dimensions: &[&str],
    metrics: impl Iterator<Item = &'a Metric>,
) {
    metadata.push_str("{\"Namespace\":\"");
    metadata.push_str(NAMESPACE);
    metadata.push_str("\",\"Dimensions\":[[");
    for (nth, dimension) in dimensions.iter().enumerate() {
        metadata.push_str(if nth == 0 { "\"" } else { ",\"" });
        metadata.push_str(dimension);
        metadata.push('"');
    }
    metadata.push_str("]],\"Metrics\":[");
    for (nth, metric) in metrics.enumerate() {
        if nth > 0 {
            metadata.push(',');
        }
        metadata.push_str(metric.definition());
    }
    metadata.push_str("]}");
}
