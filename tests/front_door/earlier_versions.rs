//! Items that an earlier version wrote, and requests of its callers that are repeated after the update.

use crate::world::{KEY, NUMBER, World, app, changed, post};
use async_trait::async_trait;
use otp_lambda::ledger::{Transition, Unavailable, Verification};
use serde_json::json;
use simulator::layer::{Layer, Layered, Reply, Step};
use simulator::{MemoryLedger, Simulator};
use std::time::Duration;

/// A ledger whose items do not say when a success was redeemed.
struct WithoutTimes(MemoryLedger);

#[async_trait]
impl Layer for WithoutTimes {
    async fn step(&self, step: Step) -> Result<Reply, Unavailable> {
        let reply = step.run(&self.0).await?;
        let without = |seen: Option<Verification>| {
            seen.map(|seen| Verification {
                redeemed_at: None,
                ..seen
            })
        };
        Ok(match step {
            Step::Verification { .. } => {
                let seen: Option<Verification> = reply.try_into()?;
                without(seen).into()
            }
            Step::Redeem { .. } => match reply.try_into()? {
                Transition::Refused(seen) => Transition::Refused(without(seen)).into(),
                applied @ Transition::Applied => applied.into(),
            },
            _ => reply,
        })
    }
}

#[tokio::test]
async fn a_redeem_of_an_earlier_version_can_be_repeated() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let ledger = [("LEDGER_TABLE", "otp"), ("LEDGER_KEY", KEY)];
    let environment = changed(&simulator.url(), &ledger);
    let older = Layered(WithoutTimes(MemoryLedger::new()));
    let world = World::around(app(&environment, None, Box::new(older)).await, simulator);
    let number = json!({ "destinationNumber": NUMBER });
    world.post("/otp/send", &number).await;
    let guess = json!({ "destinationNumber": NUMBER, "otp": world.newest_code() });
    assert_eq!(world.post("/otp/verify", &guess).await.status, 200);
    let redeem = async |world: &World, key: &str| {
        let claim = json!({ "destinationNumber": NUMBER, "claim": true });
        let mut event = post("/otp/status", &claim.to_string());
        event["headers"]["idempotency-key"] = json!(key);
        world.event(&event).await
    };
    for (key, after, status) in [
        ("first", Duration::ZERO, 200),
        ("first", Duration::from_mins(2), 200),
        ("second", Duration::ZERO, 409),
    ] {
        world.advance(after);
        assert_eq!(redeem(&world, key).await.status, status, "{key} {after:?}");
    }
}
