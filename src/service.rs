//! Sends and verifies codes. The order of the steps matters, and the files of this folder say why each step comes
//! before the next.
//!
//! Each kind of request has a file: [`send`](Service::send), [`verify`](Service::verify), the sign-in with Cognito
//! (`sign_in`), and the requests about a verification as a whole (`manage`), such as its status.

mod call;
mod devices;
mod dry_run;
mod foreign_codes;
mod guess;
mod idempotency;
mod issuers;
mod languages;
mod latencies;
mod limits;
mod manage;
mod refusals;
mod requests;
mod rules;
mod send;
mod send_plan;
mod send_record;
mod sign_in;
mod sign_in_counters;
mod sign_in_send;
mod sources;
mod switches;
mod verify;
mod why;

pub use call::{Call, Caller, RECORDING_TIME, SignInCaller};
pub use dry_run::{DryRun, Planned, Rule, Unit};
pub use issuers::Providers;
pub use limits::{LedgerPolicy, Limits, TestNumber};
pub use requests::{
    Reference, SendRequest, Sent, SentReceipt, Status, VerificationRequest, Verified, VerifyRequest,
};
pub use rules::{Defaults, Origination, OriginationFor, ReferenceIds, Rules};
pub use sign_in::{Challenge, ChallengeState, Session, SignIn, User};

use crate::error::{Error, ErrorCode};
use crate::otp::CodeShape;
use crate::phone::{Country, PhoneNumber};
use crate::provider::{Channel, ProviderLimits};
use crate::time::Millis;
use futures_util::future::{Either, join, select};
use latencies::Latencies;
use std::pin::pin;
use std::time::Duration;

/// How many codes can be sent for one verification.
const MAX_SENDS: u8 = 3;

/// How long after its first code a verification may stay open, however often a code is sent again.
const MAX_LIFETIME: Duration = Duration::from_hours(1);

/// Sends and verifies codes by the operator's rules.
pub struct Service {
    rules: Rules,
    providers: Providers,
    /// Counts sends and guesses. If this is `None`, the service passes on the provider's verdicts and promises nothing
    /// more.
    limits: Option<Limits>,
    latencies: Latencies,
}

impl Service {
    #[must_use]
    pub fn new(rules: Rules, providers: Providers, limits: Option<Limits>) -> Self {
        Self {
            rules,
            providers,
            limits,
            latencies: Latencies::default(),
        }
    }

    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The ranges that requests to the current provider must stay within.
    #[must_use]
    pub fn provider_limits(&self) -> &ProviderLimits {
        self.providers.current.limits()
    }

    /// The shape of the codes that can still be verified: those of the current provider and of the previous one.
    #[must_use]
    pub fn codes(&self) -> CodeShape {
        self.providers.codes()
    }

    #[must_use]
    pub fn has_ledger(&self) -> bool {
        self.limits.is_some()
    }

    /// Whether sign-ins have a part of the limits.
    #[must_use]
    pub fn has_sign_ins(&self) -> bool {
        self.limits.as_ref().is_some_and(Limits::has_sign_ins)
    }

    /// Opens the connections that the first request needs, to the current provider and to the table.
    pub async fn connect(&self, now: Millis) {
        let table = async {
            if let Some(limits) = &self.limits {
                limits.connect(now).await;
            }
        };
        join(self.providers.current.connect(), table).await;
    }

    /// Does the work of a request. If the connection to the current provider has been idle for too long, opens another
    /// one at the same time, so that it is open when the steps of the ledger are done.
    pub async fn reconnecting<T>(&self, work: impl Future<Output = T>) -> T {
        // Without steps of the ledger, the work would open a connection of its own at once.
        if self.limits.is_none() {
            return work.await;
        }
        let (reconnecting, work) = (self.providers.current.reconnect(), pin!(work));
        match select(reconnecting, work).await {
            Either::Left(((), work)) => work.await,
            Either::Right((done, _)) => done,
        }
    }

    fn ledger(&self) -> Result<&Limits, Error> {
        self.limits.as_ref().ok_or_else(|| {
            Error::new(
                ErrorCode::RouteNotFound,
                "This needs the ledger, and this function runs without one.",
            )
        })
    }

    /// The country of a number, from the metadata or else from the operator's extra prefixes.
    #[must_use]
    pub fn country(&self, number: &PhoneNumber) -> Option<Country> {
        self.rules.extra_prefixes.classify(number).0
    }

    /// Names the number in the log line, by its pseudonym.
    pub(crate) fn log_number(&self, number: &PhoneNumber, call: &mut Call<'_>) {
        let limits = self.limits.as_ref();
        call.record.number = limits.map(|limits| limits.hasher.number_in_log(number));
    }

    /// Names the address that the limits count in the log line, by its pseudonym.
    pub(crate) fn log_source(&self, call: &mut Call<'_>) {
        let source = self.limits.as_ref().zip(call.caller.address);
        call.record.source = source.map(|(limits, address)| limits.hasher.source_in_log(address));
    }

    /// Refuses a number whose country or type is not served, and returns its country. `channel` is `None` if the
    /// request sends no message.
    fn check_number(
        &self,
        number: &PhoneNumber,
        channel: Option<Channel>,
        call: &mut Call<'_>,
    ) -> Result<Country, Error> {
        let (country, number_type) = self.rules.extra_prefixes.classify(number);
        self.log_number(number, call);
        call.record.country = country;
        call.record.channel = channel;
        let country = self.rules.allowed_countries.check(country)?;
        self.rules.allowed_types.check(number_type, channel)?;
        Ok(country)
    }
}

fn minutes(minutes: u8) -> Duration {
    Duration::from_secs(60 * u64::from(minutes))
}
