//! A ledger in front of the store: it lets the tasks of a race meet between any two steps, writes down what happened, and
//! can have a flaw.

use async_trait::async_trait;
use otp_lambda::ledger::{
    Attempt, Charge, CodeDigest, Digest, Fingerprint, GuessOutcome, HeldKey, ItemName, KeyOutcome,
    KeyReservation, Ledger, NUMBER_KEPT, Number, NumberCharge, Opening, Question, Redeemer, Resend,
    Reservation, SendWindow, Settled, SpendOutcome, Spending, Success, Switches, Transition,
    Unavailable, Verification, Window,
};
use otp_lambda::time::Millis;
use simulator::MemoryLedger;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{block_in_place, yield_now};
use tokio::time::sleep;

/// How long a ledger with separate steps takes between them: long enough for all of a race to get there.
const PAUSE: Duration = Duration::from_millis(20);

/// What is wrong with a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It reads, decides and writes in separate steps, and what was read is what it believes.
    InSteps,
    /// A guess that is the last one over again is paid for like a new one.
    RepeatsPaid,
    /// It forgets who won.
    ForgetsWinner,
    /// It says that a verification is verified and does not write it down.
    WritesNoSuccess,
    /// It gives nothing back.
    GivesNothingBack,
    /// There is always a place for a send.
    AlwaysPlace,
    /// The number pays for no guess.
    NumberPaysNothing,
    /// A success leaves the failures as they are.
    NeverClears,
    /// The failures of a number go with its item, ninety days after the last.
    FailuresExpire,
    /// A further code brings a full set of guesses.
    FreshGuesses,
    /// Sends are counted by the clock's windows, and not by sliding ones.
    FixedWindows,
    /// Only as many sends are remembered as the settings of the moment ask for.
    ForgetsSends,
    /// A place is free one millisecond late.
    LateByOne,
}

/// A step that others can build on.
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
    /// Two steps are at the store at once, and all others wait between theirs.
    at_once: Semaphore,
    done: Mutex<Vec<Done>>,
    lost_answers: AtomicUsize,
    naive: Mutex<Naive>,
}

/// What a flawed ledger keeps beside the store.
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
            naive: Mutex::default(),
        }))
    }

    /// What others can build on, in its order.
    pub(crate) fn done(&self) -> Vec<Done> {
        self.0.done.lock().unwrap().clone()
    }

    /// The answers to the next so many right guesses' last step are lost.
    pub(crate) fn lose_answers(&self, count: usize) {
        self.0.lost_answers.store(count, SeqCst);
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.0.flaw == Some(flaw)
    }

    fn note(&self, done: Done) {
        self.0.done.lock().unwrap().push(done);
    }

    async fn step<T>(&self, work: impl Future<Output = T>) -> T {
        yield_now().await;
        let _place = self.0.at_once.acquire().await.unwrap();
        // A step that has begun does not queue behind ten thousand other tasks: the adapter gives up on one that takes a
        // second.
        let result = block_in_place(|| Handle::current().block_on(work));
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

    /// The windows as a flawed ledger sees them; nothing if it sees them right.
    fn naive_windows(
        &self,
        key: &ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Option<Reservation> {
        let mut naive = self.0.naive.lock().unwrap();
        let sends = naive.sends.entry(key.clone()).or_default();
        let kth = |k: usize| sends.get(k - 1).copied();
        let has_place = match self.0.flaw? {
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
            Flaw::LateByOne => windows
                .iter()
                .all(|window| kth(window.sends).is_none_or(|at| at < now.minus(window.length))),
            _ => return None,
        };
        if !has_place {
            return Some(Reservation::Refused(Number::default()));
        }
        sends.insert(0, now);
        if self.has(Flaw::ForgetsSends) {
            sends.truncate(
                windows
                    .iter()
                    .map(|window| window.sends)
                    .max()
                    .unwrap_or_default(),
            );
        }
        Some(Reservation::Reserved(Number::default()))
    }

    async fn expire(&self, key: &ItemName, now: Millis) -> Result<(), Unavailable> {
        if self.has(Flaw::FailuresExpire) {
            let number = self.0.store.number(key).await?;
            if number.failures > 0 && number.last_failure < now.minus(NUMBER_KEPT) {
                self.0.store.unlock(key, now).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Ledger for Table {
    async fn switches(&self) -> Result<Switches, Unavailable> {
        self.step(async { self.0.store.switches().await }).await
    }

    async fn count(&self, key: &ItemName, cap: u64, expires: Millis) -> Result<bool, Unavailable> {
        if self.has(Flaw::InSteps) {
            return Ok(self.naive_count(key.as_str(), 1, cap).await);
        }
        self.step(async { self.0.store.count(key, cap, expires).await })
            .await
    }

    async fn uncount(&self, key: &ItemName) -> Result<(), Unavailable> {
        if self.has(Flaw::GivesNothingBack) || self.has(Flaw::InSteps) {
            return Ok(());
        }
        self.step(async { self.0.store.uncount(key).await }).await
    }

    async fn spend(&self, spending: &Spending) -> Result<SpendOutcome, Unavailable> {
        if self.has(Flaw::InSteps) {
            for line in &spending.lines {
                if !self.naive_count(&line.counter, line.amount, line.cap).await {
                    return Ok(SpendOutcome::OverCap(line.clone()));
                }
            }
            return Ok(SpendOutcome::Spent);
        }
        self.step(async { self.0.store.spend(spending).await })
            .await
    }

    async fn refund(&self, spending: &Spending) -> Result<(), Unavailable> {
        if self.has(Flaw::GivesNothingBack) || self.has(Flaw::InSteps) {
            return Ok(());
        }
        self.step(async { self.0.store.refund(spending).await })
            .await
    }

    async fn reserve_key(
        &self,
        key: &ItemName,
        fingerprint: &Fingerprint,
        now: Millis,
    ) -> Result<KeyReservation, Unavailable> {
        if self.has(Flaw::InSteps) {
            let held = self.0.naive.lock().unwrap().keys.get(key).cloned();
            if let Some(held) = held {
                return Ok(KeyReservation::Held(held));
            }
            sleep(PAUSE).await;
            let held = HeldKey {
                fingerprint: fingerprint.clone(),
                at: now,
                outcome: KeyOutcome::Pending,
            };
            self.0.naive.lock().unwrap().keys.insert(key.clone(), held);
            return Ok(KeyReservation::Reserved);
        }
        self.step(async { self.0.store.reserve_key(key, fingerprint, now).await })
            .await
    }

    async fn release_key(&self, key: &ItemName) -> Result<(), Unavailable> {
        if self.has(Flaw::InSteps) {
            self.0.naive.lock().unwrap().keys.remove(key);
            return Ok(());
        }
        self.step(async { self.0.store.release_key(key).await })
            .await
    }

    async fn finish_key(&self, key: &ItemName, answer: Option<&str>) -> Result<(), Unavailable> {
        if self.has(Flaw::InSteps) {
            if let Some(held) = self.0.naive.lock().unwrap().keys.get_mut(key) {
                held.outcome = answer.map_or(KeyOutcome::Unclear, |answer| {
                    KeyOutcome::Answered(answer.to_owned())
                });
            }
            return Ok(());
        }
        self.step(async { self.0.store.finish_key(key, answer).await })
            .await
    }

    async fn number(&self, key: &ItemName) -> Result<Number, Unavailable> {
        let number = self.step(async { self.0.store.number(key).await }).await?;
        // What is refused early is refused by what was read, which would hide the flaw of the gate itself.
        Ok(if self.has(Flaw::AlwaysPlace) {
            Number {
                failures: number.failures,
                ..Number::default()
            }
        } else {
            number
        })
    }

    async fn reserve_send(
        &self,
        key: &ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Result<Reservation, Unavailable> {
        if let Some(flawed) = self.naive_windows(key, windows, now) {
            return Ok(flawed);
        }
        self.expire(key, now).await?;
        let seen = if self.has(Flaw::InSteps) {
            let seen = self.number(key).await?;
            if !MemoryLedger::has_room(&seen, windows, now) {
                return Ok(Reservation::Refused(seen));
            }
            sleep(PAUSE).await;
            Some(seen)
        } else {
            self.has(Flaw::AlwaysPlace).then(Number::default)
        };
        let reservation = self
            .step(async { self.0.store.reserve_send(key, windows, now).await })
            .await?;
        Ok(seen.map_or(reservation, Reservation::Reserved))
    }

    async fn charge_number(
        &self,
        key: &ItemName,
        forget: Option<Millis>,
        now: Millis,
    ) -> Result<NumberCharge, Unavailable> {
        if self.has(Flaw::NumberPaysNothing) {
            return Ok(NumberCharge::Charged(Charge {
                failures: 1,
                epoch: 0,
            }));
        }
        self.expire(key, now).await?;
        self.step(async { self.0.store.charge_number(key, forget, now).await })
            .await
    }

    async fn clear_failures(
        &self,
        key: &ItemName,
        charge: Charge,
        now: Millis,
    ) -> Result<(), Unavailable> {
        if self.has(Flaw::NeverClears) {
            return Ok(());
        }
        self.step(async { self.0.store.clear_failures(key, charge, now).await })
            .await
    }

    async fn unlock(&self, key: &ItemName, now: Millis) -> Result<(), Unavailable> {
        self.step(async { self.0.store.unlock(key, now).await })
            .await
    }

    async fn verification(&self, key: &ItemName) -> Result<Option<Verification>, Unavailable> {
        self.step(async { self.0.store.verification(key).await })
            .await
    }

    async fn open(
        &self,
        key: &ItemName,
        seen: Option<u64>,
        new: &Opening<'_>,
    ) -> Result<bool, Unavailable> {
        let opened = if self.has(Flaw::InSteps) {
            let stands = self
                .verification(key)
                .await?
                .map(|stands| stands.generation);
            if stands == seen {
                sleep(PAUSE).await;
                let stands = self
                    .verification(key)
                    .await?
                    .map(|stands| stands.generation);
                self.step(async { self.0.store.open(key, stands, new).await })
                    .await?;
            }
            stands == seen
        } else {
            self.step(async { self.0.store.open(key, seen, new).await })
                .await?
        };
        if opened {
            self.note(Done::Opened(key.clone(), seen.unwrap_or_default() + 1));
        }
        Ok(opened)
    }

    async fn reopen(
        &self,
        key: &ItemName,
        seen: u64,
        resend: &Resend<'_>,
    ) -> Result<bool, Unavailable> {
        let reopened = if self.has(Flaw::InSteps) {
            let stands = self
                .verification(key)
                .await?
                .filter(|stands| stands.generation == seen);
            if stands.is_some() {
                sleep(PAUSE).await;
                self.step(async { self.0.store.reopen(key, seen, resend).await })
                    .await?;
            }
            stands.is_some()
        } else if self.has(Flaw::FreshGuesses) {
            let new = Opening {
                state: otp_lambda::ledger::State::Reserved,
                first: resend.expires.minus(Duration::from_mins(10)),
                expires: resend.expires,
                left: 5,
                provider: resend.provider,
                channel: resend.channel,
                code_length: 8,
                language: resend.language,
                brand_name: "ExampleCorp",
                owner: None,
                forget: &[],
            };
            self.step(async { self.0.store.open(key, Some(seen), &new).await })
                .await?
        } else {
            self.step(async { self.0.store.reopen(key, seen, resend).await })
                .await?
        };
        if reopened {
            self.note(Done::Reopened(key.clone(), seen + 1));
        }
        Ok(reopened)
    }

    async fn settle(
        &self,
        key: &ItemName,
        generation: u64,
        outcome: &Settled<'_>,
    ) -> Result<(), Unavailable> {
        self.step(async { self.0.store.settle(key, generation, outcome).await })
            .await
    }

    async fn spend_attempt(
        &self,
        key: &ItemName,
        guess: &CodeDigest,
        question: Option<&Question>,
        now: Millis,
    ) -> Result<Attempt, Unavailable> {
        let attempt = if self.has(Flaw::InSteps) {
            let seen = self.verification(key).await?;
            let may_be_asked = |seen: &&Verification| {
                seen.is_open(now)
                    && seen
                        .last_guess
                        .as_ref()
                        .is_none_or(|last| last.code != *guess)
            };
            let Some(open) = seen.as_ref().filter(may_be_asked) else {
                return Ok(Attempt::Refused(seen));
            };
            sleep(PAUSE).await;
            self.step(async { self.0.store.spend_attempt(key, guess, question, now).await })
                .await?;
            Attempt::Paid(Verification {
                left: open.left - 1,
                ..open.clone()
            })
        } else if self.has(Flaw::RepeatsPaid) {
            let another = Digest::random().unwrap();
            self.step(async {
                self.0
                    .store
                    .spend_attempt(key, &another, question, now)
                    .await
            })
            .await?
        } else {
            self.step(async { self.0.store.spend_attempt(key, guess, question, now).await })
                .await?
        };
        if let Attempt::Paid(verification) = &attempt {
            self.note(Done::Paid(key.clone(), verification.generation));
        }
        Ok(attempt)
    }

    async fn note_answer(
        &self,
        key: &ItemName,
        generation: u64,
        guess: &CodeDigest,
        outcome: GuessOutcome,
    ) -> Result<(), Unavailable> {
        self.step(async {
            self.0
                .store
                .note_answer(key, generation, guess, outcome)
                .await
        })
        .await
    }

    async fn consume(
        &self,
        key: &ItemName,
        generation: u64,
        success: &Success,
    ) -> Result<Transition, Unavailable> {
        if self.has(Flaw::WritesNoSuccess) {
            self.note(Done::Won(key.clone(), generation));
            return Ok(Transition::Applied);
        }
        if self.has(Flaw::InSteps) {
            let seen = self.verification(key).await?;
            if !seen
                .as_ref()
                .is_some_and(|seen| seen.generation == generation && seen.state.is_open())
            {
                return Ok(Transition::Refused(seen));
            }
            sleep(PAUSE).await;
            self.step(async { self.0.store.consume(key, generation, success).await })
                .await?;
            self.note(Done::Won(key.clone(), generation));
            return Ok(Transition::Applied);
        }
        let mut success = success.clone();
        if self.has(Flaw::ForgetsWinner) {
            success.winner = Digest::random().unwrap();
        }
        let step = self
            .step(async { self.0.store.consume(key, generation, &success).await })
            .await;
        if let Ok(Transition::Applied) = step {
            self.note(Done::Won(key.clone(), generation));
        }
        let less = |count: usize| count.checked_sub(1);
        match self.0.lost_answers.fetch_update(SeqCst, SeqCst, less) {
            Ok(_) => Err(Unavailable("the answer was lost".to_owned())),
            Err(_) => step,
        }
    }

    async fn cancel(&self, key: &ItemName, now: Millis) -> Result<Transition, Unavailable> {
        if self.has(Flaw::InSteps) {
            let seen = self.verification(key).await?;
            if !seen.as_ref().is_some_and(|seen| seen.is_open(now)) {
                return Ok(Transition::Refused(seen));
            }
            sleep(PAUSE).await;
            self.step(async { self.0.store.cancel(key, now).await })
                .await?;
            return Ok(Transition::Applied);
        }
        self.step(async { self.0.store.cancel(key, now).await })
            .await
    }

    async fn redeem(
        &self,
        key: &ItemName,
        redeemer: &Redeemer,
        now: Millis,
    ) -> Result<Transition, Unavailable> {
        self.step(async { self.0.store.redeem(key, redeemer, now).await })
            .await
    }
}
