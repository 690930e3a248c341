//! The ledger that the service sees in the simulation. Its steps take turns. A step may fail, come late or lose its
//! response. Each step is reported to the books.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use otp_lambda::ledger::{Attempt, Ledger, NumberCharge, Transition, Unavailable};
use simulator::layer::{Layer, OwnedSettled, Reply, Step};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::books::{Fault, Shared};

/// Lets another operation go first.
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

type Job = BoxFuture<'static, Result<Reply, Unavailable>>;

#[async_trait]
impl Layer for Store {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable> {
        let (name, writes) = (step.name(), !step.is_read());
        let (inner, books) = (Arc::clone(&self.inner), self.books.clone());
        let operation = self.books.lock().current;
        let job = Box::pin(async move {
            observe_before(&books, &step);
            let reply = step.run(&*inner).await;
            observe_after(&books, operation, &step, &reply);
            reply
        });
        turn().await;
        let (job, fault) = match self.decide(name, writes, job) {
            Decision::Die => return pending().await,
            Decision::Fail => return Err(lost()),
            Decision::Do(job, fault) => (job, fault),
        };
        let reply = job.await;
        if fault == Some(Fault::CrashAfter) {
            self.books.crash_current();
            return pending().await;
        }
        turn().await;
        if fault == Some(Fault::AnswerLost) {
            Err(lost())
        } else {
            reply
        }
    }
}

impl Store {
    fn decide(&self, name: &'static str, writes: bool, job: Job) -> Decision {
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
}

/// The fate of one step.
enum Decision {
    Die,
    Fail,
    Do(Job, Option<Fault>),
}

fn lost() -> Unavailable {
    Unavailable("made up".to_owned())
}

fn observe_before(books: &Shared, step: &Step) {
    if let Step::Settle {
        item,
        generation,
        holder,
        outcome,
    } = step
        && books.lock().is_reserved_by(item, *generation, *holder)
    {
        match outcome {
            OwnedSettled::Failed { .. } => books.lock().saw_failure(item),
            OwnedSettled::Back(earlier) => {
                books.lock().saw_refused_resend(item, earlier.expires);
            }
            OwnedSettled::Sent { .. } | OwnedSettled::Unsent { .. } | OwnedSettled::Unclear => {}
        }
    }
}

fn observe_after(
    books: &Shared,
    operation: usize,
    step: &Step,
    reply: &Result<Reply, Unavailable>,
) {
    let mut books = books.lock();
    match (step, reply) {
        (Step::Unlock { item, .. }, _) => books.saw_unlock(item),
        (Step::Settle { item, .. }, _) => books.saw_settlement(item),
        (Step::ChargeNumber { .. }, Ok(Reply::Charge(NumberCharge::Charged(_)))) => {
            books.saw_charge(operation);
        }
        (Step::Open { item, seen, new }, Ok(Reply::Is(true))) => {
            let generation = seen.unwrap_or_default() + 1;
            books.saw_opening(operation, item, generation, &new.borrow());
        }
        (Step::Reopen { item, seen, .. }, Ok(Reply::Is(true))) => {
            books.saw_reopening(operation, item, seen.generation + 1);
        }
        (Step::SpendAttempt { item, .. }, Ok(Reply::Attempt(Attempt::Paid(verification)))) => {
            books.saw_payment(operation, item, verification);
        }
        (
            Step::Consume {
                item,
                generation,
                success,
                ..
            },
            Ok(Reply::Transition(Transition::Applied)),
        ) => books.saw_win(operation, item, *generation, success.at),
        (Step::Cancel { item, .. }, Ok(Reply::Transition(Transition::Applied))) => {
            books.saw_cancel(operation, item);
        }
        (Step::Redeem { item, .. }, Ok(Reply::Transition(Transition::Applied))) => {
            books.saw_claim(operation, item);
        }
        _ => {}
    }
}
