//! Two ledgers in one: every step is done by the one in memory and by the one in DynamoDB, and both must say the same.

use crate::emulator::Emulator;
use async_trait::async_trait;
use otp_lambda::aws::dynamodb::DynamoDb;
use otp_lambda::ledger::{
    Attempt, Charge, CodeDigest, Fingerprint, GuessOutcome, ItemName, KeyReservation, Ledger,
    Number, NumberCharge, Opening, Question, Redeemer, Resend, Reservation, SendWindow, Settled,
    SpendOutcome, Spending, Success, Switches, Transition, Unavailable, Verification,
};
use otp_lambda::time::Millis;
use simulator::MemoryLedger;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

pub(crate) struct Twin {
    memory: MemoryLedger,
    dynamodb: DynamoDb,
    /// What DynamoDB's client waits in: a step is done before anybody else has a turn.
    runtime: Arc<Runtime>,
}

impl Twin {
    pub(crate) fn new(memory: MemoryLedger, emulator: &Emulator) -> Self {
        // Its clock stands still, so that the adapter waits for a busy machine as long as it takes.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        Self {
            memory,
            dynamodb: emulator.ledger(),
            runtime: Arc::new(runtime),
        }
    }

    fn same<T: Debug>(
        &self,
        expected: Result<T, Unavailable>,
        step: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        let found = self.runtime.block_on(step);
        assert_eq!(
            format!("{found:?}"),
            format!("{expected:?}"),
            "DynamoDB and memory do not agree"
        );
        expected
    }
}

/// Hands a step to both.
macro_rules! steps {
    ($(fn $step:ident($($name:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Ledger for Twin {
            /// An operator switches the one in memory alone.
            async fn switches(&self) -> Result<Switches, Unavailable> {
                self.memory.switches().await
            }

            /// Which of several budgets that are spent is named, is left open.
            async fn spend(&self, spending: &Spending) -> Result<SpendOutcome, Unavailable> {
                let expected = self.memory.spend(spending).await;
                let found = self.dynamodb.spend(spending);
                let is_spent = |result: Result<SpendOutcome, _>| result.map(|outcome| outcome == SpendOutcome::Spent);
                self.same(is_spent(expected.clone()), async { is_spent(found.await) })?;
                expected
            }

            $(async fn $step(&self, $($name: $type),*) -> Result<$answer, Unavailable> {
                let expected = self.memory.$step($($name),*).await;
                self.same(expected, self.dynamodb.$step($($name),*))
            })*
        }
    };
}

steps! {
    fn count(key: &ItemName, cap: u64, expires: Millis) -> bool;
    fn uncount(key: &ItemName) -> ();
    fn refund(spending: &Spending) -> ();
    fn reserve_key(key: &ItemName, fingerprint: &Fingerprint, now: Millis) -> KeyReservation;
    fn release_key(key: &ItemName) -> ();
    fn finish_key(key: &ItemName, answer: Option<&str>) -> ();
    fn number(key: &ItemName) -> Number;
    fn reserve_send(key: &ItemName, windows: &[SendWindow], now: Millis) -> Reservation;
    fn charge_number(key: &ItemName, forget: Option<Millis>, now: Millis) -> NumberCharge;
    fn clear_failures(key: &ItemName, charge: Charge, now: Millis) -> ();
    fn unlock(key: &ItemName, now: Millis) -> ();
    fn verification(key: &ItemName) -> Option<Verification>;
    fn open(key: &ItemName, seen: Option<u64>, new: &Opening<'_>) -> bool;
    fn reopen(key: &ItemName, seen: u64, resend: &Resend<'_>) -> bool;
    fn settle(key: &ItemName, generation: u64, outcome: &Settled<'_>) -> ();
    fn spend_attempt(key: &ItemName, guess: &CodeDigest, question: Option<&Question>, now: Millis) -> Attempt;
    fn note_answer(key: &ItemName, generation: u64, guess: &CodeDigest, outcome: GuessOutcome) -> ();
    fn consume(key: &ItemName, generation: u64, success: &Success) -> Transition;
    fn cancel(key: &ItemName, now: Millis) -> Transition;
    fn redeem(key: &ItemName, redeemer: &Redeemer, now: Millis) -> Transition;
}
