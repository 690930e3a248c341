//! The ledger that the service sees in these tests. This ledger lets the tasks of a race switch between any two steps,
//! and records which steps were done. For the controls, it can also have a flaw.

use async_trait::async_trait;
use otp_lambda::ledger::{
    Attempt, Charge, CodeDigest, Digest, HeldKey, ItemName, KeyOutcome, KeyReservation, Ledger,
    NUMBER_KEPT, Number, NumberCharge, Reservation, Seen, SendWindow, SpendOutcome, State,
    Transition, Unavailable, Verification, Window,
};
use otp_lambda::time::Millis;
use simulator::MemoryLedger;
use simulator::layer::{Layer, Layered, OwnedOpening, OwnedResend, Reply, Step};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{block_in_place, yield_now};
use tokio::time::sleep;

/// The time between the separate steps of a flawed ledger: long enough for every task of a race to arrive.
const PAUSE: Duration = Duration::from_millis(20);

/// A flaw that the tests must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Reads, decides and writes in separate steps, without a condition.
    NotAtomic,
    /// Charges an attempt for a repetition of the last guess.
    ChargesRepeats,
    /// Forgets the winner.
    ForgetsWinner,
    /// Reports a success without recording it.
    WritesNoSuccess,
    /// Refunds nothing.
    RefundsNothing,
    /// Refunds the counters of prefixes, but no budget.
    KeepsWhatIsSpent,
    /// Reads every counter as zero.
    CountersLookEmpty,
    /// Lets every send pass the windows.
    IgnoresWindows,
    /// Counts no failures.
    CountsNoFailures,
    /// Keeps the failures after a success.
    NeverClears,
    /// Forgets the failures of a number ninety days after the last.
    FailuresExpire,
    /// Gives each new code of a verification new attempts.
    RenewsAttempts,
    /// Counts sends in fixed windows instead of sliding ones.
    FixedWindows,
    /// Remembers only as many sends as the current windows need.
    ForgetsSends,
    /// Frees a place one millisecond late.
    FreesLate,
    /// Cancels, consumes and redeems whatever generation there is.
    AnyGeneration,
    /// Settles the code of another generation as its own.
    SettlesAny,
    /// Opens a verification over whatever generation there is.
    OpensOverAny,
    /// Reserves every idempotency key, even if another request holds it.
    ForgetsKeys,
    /// Takes a late step for one that was not done: gives back what it counts, and does a refund at once as well.
    UndoesLateSteps,
    /// Reports a cancel that was refused as one that was done.
    SaysCanceled,
}

/// A step that changed a verification.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Done {
    Opened(ItemName, u64),
    Reopened(ItemName, u64),
    Paid(ItemName, u64),
    Won(ItemName, u64),
}

#[derive(Clone)]
pub(crate) struct Table(Arc<Inner>);

struct Inner {
    store: Arc<dyn Ledger>,
    flaw: Option<Flaw>,
    /// At most two steps run on the store at the same time.
    at_once: Semaphore,
    done: Mutex<Vec<Done>>,
    lost_answers: AtomicUsize,
    writes: AtomicUsize,
    /// The name of the step that is to be late, and the step once it is on its way.
    late: Mutex<(Option<&'static str>, Option<Step>)>,
    naive: Mutex<Naive>,
}

/// The data of a flawed ledger besides the store.
#[derive(Default)]
struct Naive {
    counts: BTreeMap<String, u64>,
    keys: BTreeMap<ItemName, HeldKey>,
    sends: BTreeMap<ItemName, Vec<Millis>>,
}

impl Table {
    pub(crate) fn over(store: Arc<dyn Ledger>, flaw: Option<Flaw>) -> Self {
        Self(Arc::new(Inner {
            store,
            flaw,
            at_once: Semaphore::new(2),
            done: Mutex::default(),
            lost_answers: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            late: Mutex::default(),
            naive: Mutex::default(),
        }))
    }

    pub(crate) fn ledger(&self) -> Layered<Self> {
        Layered(self.clone())
    }

    /// The steps that changed a verification, in order.
    pub(crate) fn done(&self) -> Vec<Done> {
        self.0.done.lock().unwrap().clone()
    }

    /// The number of steps so far that are no reads.
    pub(crate) fn writes(&self) -> usize {
        self.0.writes.load(SeqCst)
    }

    /// Makes the next `count` responses to [`Ledger::consume`] get lost.
    pub(crate) fn lose_answers(&self, count: usize) {
        self.0.lost_answers.store(count, SeqCst);
    }

    /// Makes the next step of this name late: its response is lost, and it is done in [`land`](Self::land).
    pub(crate) fn delay(&self, step: &'static str) {
        self.0.late.lock().unwrap().0 = Some(step);
    }

    /// Does the late step.
    pub(crate) async fn land(&self) {
        let late = self.0.late.lock().unwrap().1.take();
        self.flawed(late.unwrap()).await.unwrap();
    }

    /// Keeps a step that is to be late.
    fn keep_if_late(&self, step: &Step) -> bool {
        let mut late = self.0.late.lock().unwrap();
        let is_late = late.0 == Some(step.name());
        if is_late {
            *late = (None, Some(step.clone()));
        }
        is_late
    }

    async fn undo(&self, late: Step) -> Result<(), Unavailable> {
        let undo = match late {
            Step::Count { item, .. } => Step::Uncount { item },
            Step::Spend { spending } => Step::Refund { spending },
            step => step,
        };
        self.run(undo).await.map(drop)
    }

    fn note(&self, done: Done) {
        self.0.done.lock().unwrap().push(done);
    }

    /// Does a step on the store.
    async fn run(&self, step: Step) -> Result<Reply, Unavailable> {
        yield_now().await;
        let _place = self.0.at_once.acquire().await.unwrap();
        // The adapter times out after a second. A step that has begun must not wait behind ten thousand other tasks.
        let result = block_in_place(|| Handle::current().block_on(step.run(&*self.0.store)));
        yield_now().await;
        result
    }

    async fn naive_count(&self, counter: &str, amount: u64, cap: u64) -> bool {
        let count = self
            .0
            .naive
            .lock()
            .unwrap()
            .counts
            .get(counter)
            .copied()
            .unwrap_or_default();
        if count + amount > cap {
            return false;
        }
        sleep(PAUSE).await;
        self.0
            .naive
            .lock()
            .unwrap()
            .counts
            .insert(counter.to_owned(), count + amount);
        true
    }

    /// The reservation that a flaw in the windows leads to.
    fn naive_windows(
        &self,
        flaw: Flaw,
        key: &ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Reservation {
        let mut naive = self.0.naive.lock().unwrap();
        let sends = naive.sends.entry(key.clone()).or_default();
        let kth = |k: usize| sends.get(k - 1).copied();
        let has_place = match flaw {
            Flaw::FixedWindows => windows.iter().all(|window| {
                let this = Window::around(now, window.length);
                sends
                    .iter()
                    .filter(|at| Window::around(**at, window.length) == this)
                    .count()
                    < window.sends
            }),
            Flaw::ForgetsSends => windows
                .iter()
                .all(|window| kth(window.sends).is_none_or(|at| at <= now.minus(window.length))),
            Flaw::FreesLate => windows
                .iter()
                .all(|window| kth(window.sends).is_none_or(|at| at < now.minus(window.length))),
            _ => true,
        };
        if !has_place {
            return Reservation::Refused(Number::default());
        }
        sends.insert(0, now);
        if flaw == Flaw::ForgetsSends {
            sends.truncate(
                windows
                    .iter()
                    .map(|window| window.sends)
                    .max()
                    .unwrap_or_default(),
            );
        }
        Reservation::Reserved(Number::default())
    }

    async fn expire(&self, item: &ItemName, now: Millis) -> Result<(), Unavailable> {
        let number = self.0.store.number(item).await?;
        if number.failures > 0 && number.last_failure < now.minus(NUMBER_KEPT) {
            self.0.store.unlock(item, now).await?;
        }
        Ok(())
    }

    async fn stored(&self, item: &ItemName) -> Result<Option<Verification>, Unavailable> {
        let item = item.clone();
        self.run(Step::Verification { item }).await?.try_into()
    }

    async fn generation(&self, item: &ItemName) -> Result<u64, Unavailable> {
        let stored = self.stored(item).await?;
        Ok(stored.map_or(0, |stored| stored.generation))
    }

    /// Does a step as a ledger that reads, decides and writes in separate steps.
    #[expect(clippy::too_many_lines, reason = "one arm for each step")]
    async fn in_steps(&self, step: Step) -> Result<Reply, Unavailable> {
        match step {
            Step::Count { item, cap, .. } => {
                Ok(self.naive_count(item.as_str(), 1, cap).await.into())
            }
            Step::Spend { spending } => {
                let mut counters = Vec::new();
                for line in spending.lines {
                    counters.push(line.amount);
                    if !self.naive_count(&line.counter, line.amount, line.cap).await {
                        return Ok(SpendOutcome::OverCap(line).into());
                    }
                }
                Ok(SpendOutcome::Spent(counters).into())
            }
            Step::Uncount { .. } | Step::Refund { .. } => Ok(().into()),
            Step::ReserveKey {
                item,
                fingerprint,
                now,
                ..
            } => {
                let held = self.0.naive.lock().unwrap().keys.get(&item).cloned();
                if let Some(held) = held {
                    return Ok(KeyReservation::Held(held).into());
                }
                sleep(PAUSE).await;
                let held = HeldKey {
                    fingerprint,
                    at: now,
                    outcome: KeyOutcome::Pending,
                };
                self.0.naive.lock().unwrap().keys.insert(item, held);
                Ok(KeyReservation::Reserved.into())
            }
            Step::ReleaseKey { item, .. } => {
                self.0.naive.lock().unwrap().keys.remove(&item);
                Ok(().into())
            }
            Step::FinishKey { item, response, .. } => {
                if let Some(held) = self.0.naive.lock().unwrap().keys.get_mut(&item) {
                    held.outcome = response.map_or(KeyOutcome::Unclear, KeyOutcome::Answered);
                }
                Ok(().into())
            }
            Step::ReserveSend {
                ref item,
                ref windows,
                now,
            } => {
                let item = item.clone();
                let seen: Number = self.run(Step::Number { item }).await?.try_into()?;
                if !MemoryLedger::has_room(&seen, windows, now) {
                    return Ok(Reservation::Refused(seen).into());
                }
                sleep(PAUSE).await;
                self.run(step).await?;
                Ok(Reservation::Reserved(seen).into())
            }
            Step::Open { item, seen, new } => {
                let stored = self.stored(&item).await?;
                let as_seen = stored.map(|stored| stored.generation) == seen;
                if as_seen {
                    sleep(PAUSE).await;
                    let stored = self.stored(&item).await?;
                    let seen = stored.map(|stored| stored.generation);
                    self.run(Step::Open { item, seen, new }).await?;
                }
                Ok(as_seen.into())
            }
            Step::Reopen { ref item, seen, .. } => {
                let stored = self.stored(item).await?;
                let as_seen = stored.is_some_and(|stored| Seen::of(&stored) == seen);
                if as_seen {
                    sleep(PAUSE).await;
                    self.run(step).await?;
                }
                Ok(as_seen.into())
            }
            Step::SpendAttempt {
                ref item,
                ref guess,
                now,
                ..
            } => {
                let fresh = |stored: &Verification| {
                    let last = stored.last_guess.as_ref();
                    stored.is_open(now) && last.is_none_or(|last| last.code != *guess)
                };
                match self.stored(item).await? {
                    Some(mut open) if fresh(&open) => {
                        sleep(PAUSE).await;
                        self.run(step).await?;
                        open.left -= 1;
                        Ok(Attempt::Paid(open).into())
                    }
                    stored => Ok(Attempt::Refused(stored).into()),
                }
            }
            Step::Consume {
                ref item,
                generation,
                ..
            } => {
                let stored = self.stored(item).await?;
                let open = |stored: &Verification| {
                    stored.generation == generation && stored.state.is_open()
                };
                self.apply_if(stored.as_ref().is_some_and(open), stored, step)
                    .await
            }
            Step::Cancel {
                ref item,
                generation,
                now,
            } => {
                let stored = self.stored(item).await?;
                let open =
                    |stored: &Verification| stored.generation == generation && stored.is_open(now);
                self.apply_if(stored.as_ref().is_some_and(open), stored, step)
                    .await
            }
            step => self.run(step).await,
        }
    }

    async fn apply_if(
        &self,
        holds: bool,
        stored: Option<Verification>,
        step: Step,
    ) -> Result<Reply, Unavailable> {
        if !holds {
            return Ok(Transition::Refused(stored).into());
        }
        sleep(PAUSE).await;
        self.run(step).await?;
        Ok(Transition::Applied.into())
    }

    /// Does a step with the flaw of this ledger, if it concerns the step.
    #[expect(clippy::too_many_lines, reason = "one arm for each flaw")]
    async fn flawed(&self, step: Step) -> Result<Reply, Unavailable> {
        let Some(flaw) = self.0.flaw else {
            return self.run(step).await;
        };
        match (flaw, step) {
            (Flaw::NotAtomic, step) => self.in_steps(step).await,
            (Flaw::RefundsNothing, Step::Uncount { .. } | Step::Refund { .. })
            | (Flaw::KeepsWhatIsSpent, Step::Refund { .. })
            | (Flaw::NeverClears, Step::ClearFailures { .. }) => Ok(().into()),
            (Flaw::CountersLookEmpty, Step::Counted { .. }) => Ok(0.into()),
            (Flaw::CountsNoFailures, Step::ChargeNumber { .. }) => {
                let charge = Charge {
                    failures: 1,
                    epoch: 0,
                };
                Ok(NumberCharge::Charged(charge).into())
            }
            // Without this, sends would be refused early, and the flaw in the reservation itself would stay hidden.
            (Flaw::IgnoresWindows, step @ Step::Number { .. }) => {
                let number: Number = self.run(step).await?.try_into()?;
                let number = Number {
                    failures: number.failures,
                    ..Number::default()
                };
                Ok(number.into())
            }
            (Flaw::IgnoresWindows, step @ Step::ReserveSend { .. }) => {
                self.run(step).await?;
                Ok(Reservation::Reserved(Number::default()).into())
            }
            (
                Flaw::FixedWindows | Flaw::ForgetsSends | Flaw::FreesLate,
                Step::ReserveSend { item, windows, now },
            ) => Ok(self.naive_windows(flaw, &item, &windows, now).into()),
            (
                Flaw::FailuresExpire,
                ref step @ (Step::ReserveSend { ref item, now, .. }
                | Step::ChargeNumber { ref item, now, .. }),
            ) => {
                self.expire(item, now).await?;
                self.run(step.clone()).await
            }
            (Flaw::RenewsAttempts, Step::Reopen { item, seen, resend }) => {
                let new = OwnedOpening {
                    state: State::Reserved,
                    holder: resend.holder,
                    first: resend.expires.minus(Duration::from_mins(10)),
                    expires: resend.expires,
                    left: 5,
                    issuers: resend.issuers,
                    plain_until: resend.plain_until,
                    channel: resend.channel,
                    code_length: 8,
                    language: resend.language,
                    brand_name: "ExampleCorp".to_owned(),
                    owner: None,
                    forget: Vec::new(),
                };
                let seen = Some(seen.generation);
                self.run(Step::Open { item, seen, new }).await
            }
            (
                Flaw::ChargesRepeats,
                Step::SpendAttempt {
                    item,
                    question,
                    now,
                    ..
                },
            ) => {
                let guess = CodeDigest::random().unwrap();
                self.run(Step::SpendAttempt {
                    item,
                    guess,
                    question,
                    now,
                })
                .await
            }
            (
                Flaw::AnyGeneration,
                mut step @ (Step::Cancel { .. } | Step::Redeem { .. } | Step::Consume { .. }),
            ) => {
                if let Step::Cancel {
                    item, generation, ..
                }
                | Step::Redeem {
                    item, generation, ..
                }
                | Step::Consume {
                    item, generation, ..
                } = &mut step
                {
                    *generation = self.generation(item).await?;
                }
                self.run(step).await
            }
            (
                Flaw::SettlesAny,
                Step::Settle {
                    item,
                    generation,
                    holder,
                    outcome,
                },
            ) => {
                let stored = self.stored(&item).await?;
                let Some(stored) = stored.filter(|it| it.generation != generation) else {
                    return self
                        .run(Step::Settle {
                            item,
                            generation,
                            holder,
                            outcome,
                        })
                        .await;
                };
                let resend = OwnedResend {
                    holder,
                    expires: stored.expires,
                    issuers: stored.issuers.clone(),
                    plain_until: stored.plain_until,
                    channel: stored.channel.clone(),
                    language: stored.language.clone(),
                };
                let seen = Seen::of(&stored);
                let again = item.clone();
                self.run(Step::Reopen { item, seen, resend }).await?;
                self.run(Step::Settle {
                    item: again,
                    generation: seen.generation + 1,
                    holder,
                    outcome,
                })
                .await
            }
            (Flaw::OpensOverAny, Step::Open { item, new, .. }) => {
                let seen = Some(self.generation(&item).await?).filter(|seen| *seen > 0);
                self.run(Step::Open { item, seen, new }).await
            }
            (Flaw::ForgetsKeys, step @ Step::ReserveKey { .. }) => {
                self.run(step).await?;
                Ok(KeyReservation::Reserved.into())
            }
            (Flaw::SaysCanceled, step @ Step::Cancel { .. }) => {
                self.run(step).await?;
                Ok(Transition::Applied.into())
            }
            (Flaw::WritesNoSuccess, Step::Consume { .. }) => Ok(Transition::Applied.into()),
            (
                Flaw::ForgetsWinner,
                Step::Consume {
                    item,
                    generation,
                    mut success,
                    used_until,
                },
            ) => {
                success.winner = Digest::random().unwrap();
                self.run(Step::Consume {
                    item,
                    generation,
                    success,
                    used_until,
                })
                .await
            }
            (_, step) => self.run(step).await,
        }
    }

    fn loses_answer(&self) -> bool {
        let less = |count: usize| count.checked_sub(1);
        let lost = &self.0.lost_answers;
        lost.fetch_update(SeqCst, SeqCst, less).is_ok()
    }
}

#[async_trait]
impl Layer for Table {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable> {
        self.0
            .writes
            .fetch_add(usize::from(!step.is_read()), SeqCst);
        if self.keep_if_late(&step) {
            if self.0.flaw == Some(Flaw::UndoesLateSteps) {
                self.undo(step).await?;
            }
            return Err(Unavailable("the response was lost".to_owned()));
        }
        let reply = self.flawed(step.clone()).await;
        match (&step, &reply) {
            (Step::Open { item, seen, .. }, Ok(Reply::Is(true))) => {
                self.note(Done::Opened(item.clone(), seen.unwrap_or_default() + 1));
            }
            (Step::Reopen { item, seen, .. }, Ok(Reply::Is(true))) => {
                self.note(Done::Reopened(item.clone(), seen.generation + 1));
            }
            (Step::SpendAttempt { item, .. }, Ok(Reply::Attempt(Attempt::Paid(verification)))) => {
                self.note(Done::Paid(item.clone(), verification.generation));
            }
            (
                Step::Consume {
                    item, generation, ..
                },
                Ok(Reply::Transition(Transition::Applied)),
            ) => self.note(Done::Won(item.clone(), *generation)),
            _ => {}
        }
        if matches!(step, Step::Consume { .. }) && self.loses_answer() {
            return Err(Unavailable("the response was lost".to_owned()));
        }
        reply
    }
}
