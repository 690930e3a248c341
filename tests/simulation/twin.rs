//! Two ledgers in one: every step is done in memory and in DynamoDB. Every fifth request to DynamoDB fails, and still
//! both ledgers must give the same reply.

use crate::emulator::{Emulator, Fault};
use async_trait::async_trait;
use otp_lambda::aws::dynamodb::DynamoDb;
use otp_lambda::ledger::{SpendOutcome, Unavailable};
use simulator::MemoryLedger;
use simulator::layer::{Layer, Reply, Step};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

pub(crate) struct Twin {
    memory: MemoryLedger,
    dynamodb: DynamoDb,
    /// Runs the DynamoDB client. Each step is complete before another operation has its turn.
    runtime: Arc<Runtime>,
}

impl Twin {
    pub(crate) fn new(memory: MemoryLedger, emulator: &Emulator) -> Self {
        // The clock is paused, so that the adapter never times out on a busy machine.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        // In spite of these two faults, the adapter must do each step once. Two other faults are left out: a lost
        // refusal and a lost request. After one of these, another request may have taken an attempt or a place. The
        // adapter then cannot know whether its own step was done, so it rightly fails, and the two ledgers differ.
        let faults = [Fault::Throttled, Fault::LostSuccess];
        let mut requests = 0;
        emulator.choose_faults(move |_| {
            requests += 1;
            if requests % 5 == 0 {
                faults[requests / 5 % faults.len()]
            } else {
                Fault::None
            }
        });
        Self {
            memory,
            dynamodb: emulator.ledger(),
            runtime: Arc::new(runtime),
        }
    }
}

#[async_trait]
impl Layer for Twin {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable> {
        let expected = step.run(&self.memory).await;
        // The operator's switches are set in memory only.
        if !matches!(step, Step::Switches { .. }) {
            let found = self.runtime.block_on(step.run(&self.dynamodb));
            agree(&step, &found, &expected);
        }
        expected
    }
}

/// Compares the replies of DynamoDB and memory.
pub(crate) fn agree(
    step: &Step,
    found: &Result<Reply, Unavailable>,
    expected: &Result<Reply, Unavailable>,
) {
    assert_eq!(
        comparable(found),
        comparable(expected),
        "DynamoDB and memory disagree about {}",
        step.name()
    );
}

/// If several budgets are spent, each ledger may name any of them.
fn comparable(reply: &Result<Reply, Unavailable>) -> String {
    match reply {
        Ok(Reply::Spend(outcome)) => {
            format!("spent: {}", matches!(outcome, SpendOutcome::Spent(_)))
        }
        reply => format!("{reply:?}"),
    }
}
