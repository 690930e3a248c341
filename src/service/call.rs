//! One request to the service: its caller, its clock, and how long its steps may take.

use crate::device::DeviceToken;
use crate::error::{Error, ErrorCode};
use crate::ledger::{SessionDigest, Unavailable};
use crate::phone::PhoneNumber;
use crate::reference::ReferenceId;
use crate::telemetry::Record;
use crate::time::Millis;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a provider may take to respond. AWS usually responds well within a second.
const PROVIDER_TIME: Duration = Duration::from_secs(6);

/// How long the ledger may take to record the outcome of a request, after the time for all other steps is over.
pub const RECORDING_TIME: Duration = Duration::from_secs(2);

/// One request to the service: its caller, its times and its log line.
pub struct Call<'a> {
    pub caller: Caller,
    /// When the invocation began. All steps use this time, with one exception: a step over HTTP that takes a place in a
    /// window uses `now_again`.
    pub now: Millis,
    /// Whether time passes during the invocation. In tests that move the clock themselves, no time passes.
    pub clock_runs: bool,
    /// When the invocation began, on a clock that never jumps.
    pub started: Instant,
    /// How long the work may take until the provider has answered, counted from `started`. After that, the ledger has
    /// [`RECORDING_TIME`] to record the outcome.
    pub time_left: Duration,
    pub record: &'a mut Record,
}

/// The maker of a request.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The name of the identity that AWS has authenticated; `None` for a caller without a name of its own.
    pub principal: Option<String>,
    /// Whether the caller is a user, and so no backend. A user may do no more than an unauthenticated caller.
    pub is_user: bool,
    /// The address that source limits count, if it is known.
    pub address: Option<IpAddr>,
    /// The caller's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The token that the caller's device got when it verified a number.
    pub device: Option<DeviceToken>,
    /// The sign-in session that asks.
    pub session: Option<SessionDigest>,
    /// The sign-in that a guess belongs to; `None` over HTTP.
    pub sign_in: Option<SignInCaller>,
}

/// The facts about a sign-in that its guesses need.
#[derive(Debug, Clone)]
pub struct SignInCaller {
    pub is_decoy: bool,
    /// The reference ID of the sign-in's code.
    pub reference: ReferenceId,
}

impl<'a> Call<'a> {
    /// A request by `caller` that begins at this moment and may take `time_left`.
    #[must_use]
    pub fn new(caller: Caller, now: Millis, time_left: Duration, record: &'a mut Record) -> Self {
        Self {
            caller,
            now,
            clock_runs: false,
            started: Instant::now(),
            time_left,
            record,
        }
    }

    /// The time at this moment, for a message that takes a place in a window. If the table is slow, `now` is seconds
    /// old when the place is taken. If the place had the time `now`, the place would become free again too early.
    pub(super) fn now_again(&self) -> Millis {
        if self.clock_runs {
            self.now.plus(self.started.elapsed())
        } else {
            self.now
        }
    }

    /// The same request on behalf of another caller.
    pub(super) fn with_caller(&mut self, caller: Caller) -> Call<'_> {
        Call {
            caller,
            now: self.now,
            clock_runs: self.clock_runs,
            started: self.started,
            time_left: self.time_left,
            record: self.record,
        }
    }

    /// The time limit of the steps before the provider is asked.
    pub(super) fn time_to_prepare(&self) -> TimeLimit {
        TimeLimit {
            started: self.started,
            time: self.time_left,
        }
    }

    /// The time limit of the steps that record the outcome.
    pub(super) fn time_to_record(&self) -> TimeLimit {
        TimeLimit {
            started: self.started,
            time: self.time_left.saturating_add(RECORDING_TIME),
        }
    }

    /// Does a step whose failure changes nothing for the caller. The step ends when the time to record is over.
    pub(super) async fn best_effort(
        &mut self,
        step: &'static str,
        work: impl Future<Output = Result<(), Unavailable>>,
    ) {
        let done = self.time_to_record().run(async { Ok(work.await) }).await;
        let too_late =
            |error: Error| Err(Unavailable(error.cause().unwrap_or_default().to_owned()));
        self.record.best_effort(step, done.unwrap_or_else(too_late));
    }

    pub(super) fn provider_time_left(&self) -> Duration {
        PROVIDER_TIME.min(self.time_left.saturating_sub(self.started.elapsed()))
    }

    /// Writes into the log line why the call failed.
    pub fn failed(&mut self, error: &Error) {
        self.record.failed(error);
    }
}

/// How long a part of a request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimit {
    started: Instant,
    time: Duration,
}

impl TimeLimit {
    /// Runs steps of the ledger until the time is over, and then abandons the steps that are left. To abandon them is
    /// no worse than a crash between two steps.
    pub(super) fn run<T>(
        self,
        steps: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        // Boxed, because the future of a request would otherwise be as large as all its steps together.
        let steps = Box::pin(steps);
        async move {
            if self.time == Duration::MAX {
                return steps.await;
            }
            let left = self.time.saturating_sub(self.started.elapsed());
            timeout(left, steps).await.unwrap_or_else(|_| {
                Err(
                    Error::new(ErrorCode::LedgerUnavailable, "The ledger is too slow.")
                        .with_retry_after(Duration::from_secs(2))
                        .with_cause("the invocation's time for the ledger was over"),
                )
            })
        }
    }
}

impl Caller {
    /// Whether the caller is a backend, which may redeem successes and set every field.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.principal.is_some() && !self.is_user
    }

    /// The namespace of the caller's idempotency keys: equal keys in two namespaces are different keys. A caller
    /// without a principal could send the key of another caller without a principal. So the keys of such a caller count
    /// only for the caller's own address and this number.
    pub(super) fn namespace(&self, to: &PhoneNumber) -> String {
        if let Some(principal) = &self.principal {
            return principal.clone();
        }
        let address = self.address.map(|address| address.to_string());
        format!("{} {}", address.unwrap_or_default(), to.expose())
    }
}
