//! Limits of a send that are counted at the same time, and sends that begin at the same time.

use crate::emulator::Emulator;
use crate::service::{Calls, service, settings};
use otp_lambda::error::Limit;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::service::{Call, Caller, Service};
use otp_lambda::telemetry::{BudgetUse, Record};
use otp_lambda::time::Millis;
use serde_json::Value;
use simulator::send_request;
use std::sync::Arc;
use std::time::Duration;

const START: Millis = Millis(1_800_000_000_000);

/// A number with another prefix than all of `number`.
const OTHER_PREFIX: &str = "+14255150001";

struct World {
    emulator: Emulator,
    service: Service,
}

impl World {
    fn new(limits: &[(&str, &str)]) -> Self {
        let emulator = Emulator::new();
        let service = service(&emulator, &Arc::<Calls>::default(), settings(limits));
        Self { emulator, service }
    }

    /// Sends a code. Returns `sent`, or the limit that has refused the send, and how full the budgets are.
    async fn send(&self, to: &str) -> (&'static str, BudgetUse) {
        let caller = Caller {
            principal: Some("backend".to_owned()),
            ..Caller::default()
        };
        let mut record = Record::default();
        let mut call = Call::new(caller, START, Duration::MAX, &mut record);
        let to = PhoneNumber::parse(to).unwrap();
        let sent = self
            .service
            .send(&send_request(&self.service, to), &mut call)
            .await;
        let told = match sent {
            Ok(_) => "sent",
            Err(error) => error.limit().map_or("another error", Limit::name),
        };
        (told, record.budget_use)
    }

    /// Sends a code to each of this many numbers of one prefix, one after the other.
    async fn fill(&self, numbers: usize) {
        for n in 0..numbers {
            assert_eq!(self.send(&number(n)).await.0, "sent");
        }
    }

    /// From now on, sends do not see the counters whose names begin like this, as if other sends had filled them after
    /// the read.
    fn hide(&self, counters: &'static str) {
        self.emulator.rewrite(move |request| {
            if let Some(keys) = request.body["RequestItems"]["ledger"]["Keys"].as_array_mut() {
                keys.retain(|key| !name_of(key).starts_with(counters));
            }
        });
    }
}

fn name_of(key: &Value) -> &str {
    key["pk"]["S"].as_str().unwrap()
}

/// One of ten thousand numbers with one prefix.
fn number(n: usize) -> String {
    format!("+1425555{n:04}")
}

/// A send that its prefix refuses gives the budgets their amounts back. So it must not report how full the budgets were
/// with these amounts, because alarms watch the reports.
#[tokio::test]
async fn a_send_that_its_prefix_refuses_reports_no_use_of_the_budgets() {
    let percent = |all| BudgetUse {
        all: Some(all),
        ..BudgetUse::default()
    };
    for (budget, control) in [("40/1h", ("sent", 52)), ("20/1h", ("budget", 100))] {
        let world = World::new(&[("PREFIX_LIMITS", "20/1h"), ("BUDGETS", budget)]);
        world.fill(20).await;
        world.hide("R#");
        world.emulator.requests();
        let refused = world.send(&number(20)).await;
        assert_eq!(refused, ("prefix", BudgetUse::default()), "{budget}");
        // The budget was asked at the same time.
        let requests = world.emulator.requests();
        let asked = requests.iter().any(|request| {
            request.action == "UpdateItem" && name_of(&request.body["Key"]).starts_with("B#")
        });
        assert!(asked, "{requests:?}");
        // The control.
        let (told, used) = world.send(OTHER_PREFIX).await;
        assert_eq!((told, used), (control.0, percent(control.1)), "{budget}");
    }
}
