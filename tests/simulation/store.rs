//! A ledger between the service and the one in memory: every step waits for its turn before and after, can go wrong in
//! every way a store's can, and is written into the books.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use otp_lambda::ledger::{
    Attempt, Charge, CodeDigest, Fingerprint, GuessOutcome, ItemName, KeyReservation, Ledger,
    Number, NumberCharge, Opening, Question, Redeemer, Resend, Reservation, SendWindow,
    SessionDigest, Settled, SpendOutcome, Spending, State, Success, Switches, Transition,
    Unavailable, UsedCode, Verification,
};
use otp_lambda::time::Millis;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::books::{Fault, Shared};

/// Lets somebody else go on first.
pub(crate) fn turn() -> Turn {
    Turn(false)
}

pub(crate) struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) inner: Arc<dyn Ledger>,
    pub(crate) books: Shared,
}

type Job<T> = BoxFuture<'static, Result<T, Unavailable>>;

impl Store {
    async fn step<T: Send + 'static>(
        &self,
        name: &'static str,
        writes: bool,
        job: Job<T>,
    ) -> Result<T, Unavailable> {
        turn().await;
        let (job, fault) = match self.decide(name, writes, job) {
            Decision::Die => return pending().await,
            Decision::Fail => return Err(lost()),
            Decision::Do(job, fault) => (job, fault),
        };
        let answer = job.await;
        if fault == Some(Fault::CrashAfter) {
            self.books.crash_current();
            return pending().await;
        }
        turn().await;
        if fault == Some(Fault::AnswerLost) {
            Err(lost())
        } else {
            answer
        }
    }

    fn decide<T: Send + 'static>(
        &self,
        name: &'static str,
        writes: bool,
        job: Job<T>,
    ) -> Decision<T> {
        let mut books = self.books.lock();
        let current = books.current;
        if books.operations[current].crashed {
            return Decision::Die;
        }
        match books.step(name, writes) {
            Some(Fault::CrashBefore) => {
                books.crash(current);
                Decision::Die
            }
            Some(Fault::Late) => {
                books.late.push(Box::pin(async move {
                    let _ = job.await;
                }));
                Decision::Fail
            }
            Some(Fault::Refused | Fault::Burst | Fault::Switches) => Decision::Fail,
            fault => Decision::Do(job, fault),
        }
    }

    fn here(&self) -> (Arc<dyn Ledger>, Shared, usize) {
        (
            Arc::clone(&self.inner),
            self.books.clone(),
            self.books.lock().current,
        )
    }
}

/// What becomes of a step.
enum Decision<T> {
    Die,
    Fail,
    Do(Job<T>, Option<Fault>),
}

fn lost() -> Unavailable {
    Unavailable("made up".to_owned())
}

/// What is handed over by reference, kept for a step that is done later.
pub(crate) struct OwnedOpening {
    state: State,
    first: Millis,
    expires: Millis,
    left: u8,
    code_length: u8,
    provider: String,
    channel: String,
    language: String,
    brand_name: String,
    owner: Option<SessionDigest>,
    forget: Vec<UsedCode>,
}

impl OwnedOpening {
    pub(crate) fn of(new: &Opening<'_>) -> Self {
        Self {
            state: new.state,
            first: new.first,
            expires: new.expires,
            left: new.left,
            code_length: new.code_length,
            provider: new.provider.to_owned(),
            channel: new.channel.to_owned(),
            language: new.language.to_owned(),
            brand_name: new.brand_name.to_owned(),
            owner: new.owner.cloned(),
            forget: new.forget.to_vec(),
        }
    }

    pub(crate) fn opening(&self) -> Opening<'_> {
        Opening {
            state: self.state,
            first: self.first,
            expires: self.expires,
            left: self.left,
            provider: &self.provider,
            channel: &self.channel,
            code_length: self.code_length,
            language: &self.language,
            brand_name: &self.brand_name,
            owner: self.owner.as_ref(),
            forget: &self.forget,
        }
    }
}

#[async_trait]
impl Ledger for Store {
    async fn switches(&self) -> Result<Switches, Unavailable> {
        let (inner, ..) = self.here();
        self.step(
            "switches",
            false,
            Box::pin(async move { inner.switches().await }),
        )
        .await
    }

    async fn count(&self, key: &ItemName, cap: u64, expires: Millis) -> Result<bool, Unavailable> {
        let ((inner, ..), key) = (self.here(), key.clone());
        self.step(
            "count",
            true,
            Box::pin(async move { inner.count(&key, cap, expires).await }),
        )
        .await
    }

    async fn uncount(&self, key: &ItemName) -> Result<(), Unavailable> {
        let ((inner, ..), key) = (self.here(), key.clone());
        self.step(
            "uncount",
            true,
            Box::pin(async move { inner.uncount(&key).await }),
        )
        .await
    }

    async fn spend(&self, spending: &Spending) -> Result<SpendOutcome, Unavailable> {
        let ((inner, ..), spending) = (self.here(), spending.clone());
        self.step(
            "spend",
            true,
            Box::pin(async move { inner.spend(&spending).await }),
        )
        .await
    }

    async fn refund(&self, spending: &Spending) -> Result<(), Unavailable> {
        let ((inner, ..), spending) = (self.here(), spending.clone());
        self.step(
            "refund",
            true,
            Box::pin(async move { inner.refund(&spending).await }),
        )
        .await
    }

    async fn reserve_key(
        &self,
        key: &ItemName,
        fingerprint: &Fingerprint,
        now: Millis,
    ) -> Result<KeyReservation, Unavailable> {
        let ((inner, ..), key, fingerprint) = (self.here(), key.clone(), fingerprint.clone());
        self.step(
            "claim_key",
            true,
            Box::pin(async move { inner.reserve_key(&key, &fingerprint, now).await }),
        )
        .await
    }

    async fn release_key(&self, key: &ItemName) -> Result<(), Unavailable> {
        let ((inner, ..), key) = (self.here(), key.clone());
        self.step(
            "release_key",
            true,
            Box::pin(async move { inner.release_key(&key).await }),
        )
        .await
    }

    async fn finish_key(&self, key: &ItemName, answer: Option<&str>) -> Result<(), Unavailable> {
        let ((inner, ..), key, answer) = (self.here(), key.clone(), answer.map(str::to_owned));
        self.step(
            "finish_key",
            true,
            Box::pin(async move { inner.finish_key(&key, answer.as_deref()).await }),
        )
        .await
    }

    async fn number(&self, key: &ItemName) -> Result<Number, Unavailable> {
        let ((inner, ..), key) = (self.here(), key.clone());
        self.step(
            "number",
            false,
            Box::pin(async move { inner.number(&key).await }),
        )
        .await
    }

    async fn reserve_send(
        &self,
        key: &ItemName,
        windows: &[SendWindow],
        now: Millis,
    ) -> Result<Reservation, Unavailable> {
        let ((inner, ..), key, windows) = (self.here(), key.clone(), windows.to_vec());
        self.step(
            "reserve_send",
            true,
            Box::pin(async move { inner.reserve_send(&key, &windows, now).await }),
        )
        .await
    }

    async fn charge_number(
        &self,
        key: &ItemName,
        forget: Option<Millis>,
        now: Millis,
    ) -> Result<NumberCharge, Unavailable> {
        let ((inner, books, operation), key) = (self.here(), key.clone());
        let job = async move {
            let answer = inner.charge_number(&key, forget, now).await;
            if let Ok(NumberCharge::Charged(_)) = &answer {
                books.lock().saw_charge(operation);
            }
            answer
        };
        self.step("charge_number", true, Box::pin(job)).await
    }

    async fn clear_failures(
        &self,
        key: &ItemName,
        charge: Charge,
        now: Millis,
    ) -> Result<(), Unavailable> {
        let ((inner, ..), key) = (self.here(), key.clone());
        self.step(
            "clear_failures",
            true,
            Box::pin(async move { inner.clear_failures(&key, charge, now).await }),
        )
        .await
    }

    async fn unlock(&self, key: &ItemName, now: Millis) -> Result<(), Unavailable> {
        let ((inner, books, _), key) = (self.here(), key.clone());
        let job = async move {
            let answer = inner.unlock(&key, now).await;
            books.lock().saw_unlock(&key);
            answer
        };
        self.step("unlock", true, Box::pin(job)).await
    }

    async fn verification(&self, key: &ItemName) -> Result<Option<Verification>, Unavailable> {
        let ((inner, ..), key) = (self.here(), key.clone());
        self.step(
            "verification",
            false,
            Box::pin(async move { inner.verification(&key).await }),
        )
        .await
    }

    async fn open(
        &self,
        key: &ItemName,
        seen: Option<u64>,
        new: &Opening<'_>,
    ) -> Result<bool, Unavailable> {
        let ((inner, books, operation), key, new) =
            (self.here(), key.clone(), OwnedOpening::of(new));
        let job = async move {
            let answer = inner.open(&key, seen, &new.opening()).await;
            if let Ok(true) = answer {
                books.lock().saw_opening(
                    operation,
                    &key,
                    seen.unwrap_or_default() + 1,
                    &new.opening(),
                );
            }
            answer
        };
        self.step("open", true, Box::pin(job)).await
    }

    async fn reopen(
        &self,
        key: &ItemName,
        seen: u64,
        resend: &Resend<'_>,
    ) -> Result<bool, Unavailable> {
        let ((inner, books, operation), key) = (self.here(), key.clone());
        let expires = resend.expires;
        let (provider, channel, language) = (
            resend.provider.to_owned(),
            resend.channel.to_owned(),
            resend.language.to_owned(),
        );
        let job = async move {
            let again = Resend {
                expires,
                provider: &provider,
                channel: &channel,
                language: &language,
            };
            let answer = inner.reopen(&key, seen, &again).await;
            if let Ok(true) = answer {
                books.lock().saw_reopening(operation, &key, seen + 1);
            }
            answer
        };
        self.step("reopen", true, Box::pin(job)).await
    }

    async fn settle(
        &self,
        key: &ItemName,
        generation: u64,
        outcome: &Settled<'_>,
    ) -> Result<(), Unavailable> {
        let ((inner, books, _), key) = (self.here(), key.clone());
        let (message_id, outcome) = match *outcome {
            Settled::Sent { message_id } => (message_id.map(str::to_owned), None),
            Settled::Unclear => (None, Some(Settled::Unclear)),
            Settled::Failed => (None, Some(Settled::Failed)),
            Settled::Back { state, expires } => (None, Some(Settled::Back { state, expires })),
        };
        let job = async move {
            let outcome = outcome.unwrap_or(Settled::Sent {
                message_id: message_id.as_deref(),
            });
            match outcome {
                Settled::Failed => books.lock().saw_failure(&key),
                Settled::Back { expires, .. } => books.lock().saw_refused_resend(&key, expires),
                Settled::Sent { .. } | Settled::Unclear => {}
            }
            let answer = inner.settle(&key, generation, &outcome).await;
            books.lock().saw_settlement(&key);
            answer
        };
        self.step("settle", true, Box::pin(job)).await
    }

    async fn spend_attempt(
        &self,
        key: &ItemName,
        guess: &CodeDigest,
        question: Option<&Question>,
        now: Millis,
    ) -> Result<Attempt, Unavailable> {
        let ((inner, books, operation), key, guess) = (self.here(), key.clone(), guess.clone());
        let question = question.cloned();
        let job = async move {
            let answer = inner
                .spend_attempt(&key, &guess, question.as_ref(), now)
                .await;
            if let Ok(Attempt::Paid(verification)) = &answer {
                books.lock().saw_payment(operation, &key, verification);
            }
            answer
        };
        self.step("spend_attempt", true, Box::pin(job)).await
    }

    async fn note_answer(
        &self,
        key: &ItemName,
        generation: u64,
        guess: &CodeDigest,
        outcome: GuessOutcome,
    ) -> Result<(), Unavailable> {
        let ((inner, ..), key, guess) = (self.here(), key.clone(), guess.clone());
        let job = async move { inner.note_answer(&key, generation, &guess, outcome).await };
        self.step("note_answer", true, Box::pin(job)).await
    }

    async fn consume(
        &self,
        key: &ItemName,
        generation: u64,
        success: &Success,
    ) -> Result<Transition, Unavailable> {
        let ((inner, books, operation), key, success) = (self.here(), key.clone(), success.clone());
        let job = async move {
            let answer = inner.consume(&key, generation, &success).await;
            if let Ok(Transition::Applied) = &answer {
                books
                    .lock()
                    .saw_win(operation, &key, generation, success.at);
            }
            answer
        };
        self.step("consume", true, Box::pin(job)).await
    }

    async fn cancel(&self, key: &ItemName, now: Millis) -> Result<Transition, Unavailable> {
        let ((inner, books, _), key) = (self.here(), key.clone());
        let job = async move {
            let answer = inner.cancel(&key, now).await;
            if let Ok(Transition::Applied) = &answer {
                books.lock().saw_cancel(&key);
            }
            answer
        };
        self.step("cancel", true, Box::pin(job)).await
    }

    async fn redeem(
        &self,
        key: &ItemName,
        redeemer: &Redeemer,
        now: Millis,
    ) -> Result<Transition, Unavailable> {
        let ((inner, books, operation), key, redeemer) =
            (self.here(), key.clone(), redeemer.clone());
        let job = async move {
            let answer = inner.redeem(&key, &redeemer, now).await;
            if let Ok(Transition::Applied) = &answer {
                books.lock().saw_claim(operation, &key);
            }
            answer
        };
        self.step("claim", true, Box::pin(job)).await
    }
}
