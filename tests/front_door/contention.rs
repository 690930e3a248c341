//! A cancel and a redeem whose changes are refused, because others change the verification meanwhile.

use crate::world::{KEY, NUMBER, World, app, changed};
use async_trait::async_trait;
use otp_lambda::ledger::{Ledger, Transition, Unavailable};
use serde_json::json;
use simulator::layer::{Layer, Layered, Reply, Step};
use simulator::{MemoryLedger, Simulator};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Refuses changes with the verification as it is then, as after a new generation.
#[derive(Clone)]
struct Contended {
    ledger: MemoryLedger,
    /// How many changes are refused and not made. Each later change is made but looks refused, as if its response was
    /// lost and its repeat was refused.
    unmade: u32,
    tries: Arc<AtomicU32>,
}

#[async_trait]
impl Layer for Contended {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable> {
        let (Step::Cancel { item, .. } | Step::Redeem { item, .. }) = &step else {
            return step.run(&self.ledger).await;
        };
        if self.tries.fetch_add(1, Ordering::SeqCst) >= self.unmade {
            step.run(&self.ledger).await?;
        }
        let seen = self.ledger.verification(item).await?;
        Ok(Transition::Refused(seen).into())
    }
}

async fn world(unmade: u32) -> World {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let ledger = [("LEDGER_TABLE", "otp"), ("LEDGER_KEY", KEY)];
    let environment = changed(&simulator.url(), &ledger);
    let contended = Contended {
        ledger: MemoryLedger::new(),
        unmade,
        tries: Arc::default(),
    };
    let app = app(&environment, None, Box::new(Layered(contended))).await;
    World::around(app, simulator)
}

#[tokio::test]
async fn a_change_that_was_made_is_told_even_if_it_was_the_last_try() {
    let number = json!({ "destinationNumber": NUMBER });
    for (unmade, is_made) in [(0, true), (1, true), (2, true), (3, false)] {
        let world = world(unmade).await;
        world.post("/otp/send", &number).await;
        let canceled = world.post("/otp/cancel", &number).await;
        if is_made {
            assert_eq!(canceled.body["status"], "canceled", "after {unmade}");
        } else {
            canceled.is_problem(409, "verification_in_progress");
        }
    }
    let redeem = json!({ "destinationNumber": NUMBER, "claim": true });
    for (unmade, is_made) in [(0, true), (1, true), (2, true), (3, false)] {
        let world = world(unmade).await;
        world.post("/otp/send", &number).await;
        let guess = json!({ "destinationNumber": NUMBER, "otp": world.newest_code() });
        assert_eq!(world.post("/otp/verify", &guess).await.status, 200);
        let redeemed = world.post("/otp/status", &redeem).await;
        if is_made {
            assert_eq!(redeemed.body["status"], "verified", "after {unmade}");
        } else {
            redeemed.is_problem(409, "verification_in_progress");
        }
    }
}
