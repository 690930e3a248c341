//! Two ledgers in one: every step is done in memory and in DynamoDB, and both must reply the same.

use crate::emulator::Emulator;
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
    /// Runs the DynamoDB client, so that each step is complete before another operation has its turn.
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
            assert_eq!(
                comparable(&found),
                comparable(&expected),
                "DynamoDB and memory disagree about {}",
                step.name()
            );
        }
        expected
    }
}

/// If several budgets are spent, either ledger may name any of them.
fn comparable(reply: &Result<Reply, Unavailable>) -> String {
    match reply {
        Ok(Reply::Spend(outcome)) => format!("spent: {}", *outcome == SpendOutcome::Spent),
        reply => format!("{reply:?}"),
    }
}
