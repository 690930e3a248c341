//! Sign-ins that send no message. They must leave the budget alone that other sign-ins need, even if every refund fails.

use crate::emulator::{Emulator, Fault, Request};
use crate::service::{Calls, service, settings};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::service::{Call, Caller, Service, Session, SignIn, User};
use otp_lambda::telemetry::{Metric, Record};
use otp_lambda::time::Millis;
use serde_json::json;
use simulator::send_request;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const DAY: u64 = 20_833;
const NOW: Millis = Millis(DAY * 86_400_000);
const BUDGET: &str = "B#20833#sign-in";

/// Half of the budget belongs to sign-ins, which is 30 messages.
const USERS: usize = 20;

fn number(n: usize) -> PhoneNumber {
    PhoneNumber::parse(&format!("+1425555{n:04}")).unwrap()
}

async fn send(service: &Service, n: usize) {
    let mut record = Record::default();
    let caller = Caller {
        principal: Some("backend".to_owned()),
        ..Caller::default()
    };
    let mut call = Call::new(caller, NOW, Duration::MAX, &mut record);
    let request = send_request(service, number(n));
    service.send(&request, &mut call).await.unwrap();
}

/// Begins a sign-in. Returns whether the log says that a limit refused its message.
async fn sign_in(service: &Service, n: usize, is_decoy: bool) -> bool {
    let sign_in = SignIn {
        user: User {
            name: format!("user {n}"),
            ..User::default()
        },
        number: number(n),
        language: "en-US".into(),
        session: Session {
            name: format!("session {n}"),
            is_decoy,
        },
    };
    let mut record = Record::default();
    let mut call = Call::new(Caller::default(), NOW, Duration::MAX, &mut record);
    service.begin_sign_in(&sign_in, &mut call).await.unwrap();
    record.has_counted(Metric::SignInsRefused)
}

fn is_of_a_budget(request: &Request, expression: &str) -> bool {
    let pk = request.body["Key"]["pk"]["S"].as_str().unwrap();
    let update = request.body["UpdateExpression"].as_str();
    pk.starts_with("B#") && update.is_some_and(|update| update.contains(expression))
}

/// Many users whose windows are full sign in, and as many unknown users. No refund succeeds. Returns how many messages
/// the budget of sign-ins then counts, and whether a further sign-in gets its message.
async fn attack(change: impl Fn(&mut Request) + Send + Sync + 'static) -> (usize, bool) {
    let emulator = Emulator::new();
    let calls = Arc::new(Calls::default());
    let more = [("SIGN_IN_SHARE", "50"), ("BUDGETS", "60/24h")];
    let service = service(&emulator, &calls, settings(&more));
    for n in 0..USERS {
        send(&service, n).await;
    }
    emulator.rewrite(change);
    let throttled = Arc::new(AtomicUsize::new(0));
    let count = throttled.clone();
    emulator.choose_faults(move |request| {
        if is_of_a_budget(request, " - ") {
            count.fetch_add(1, Ordering::Relaxed);
            Fault::Throttled
        } else {
            Fault::None
        }
    });
    for n in 0..USERS {
        assert!(sign_in(&service, n, false).await, "the windows are full");
        assert!(!sign_in(&service, n, true).await);
    }
    // Each refund is tried three times.
    assert_eq!(throttled.load(Ordering::Relaxed), 3 * 2 * USERS);
    let items = emulator.items();
    let budget = items.iter().find(|item| item["pk"] == BUDGET);
    let spent = budget.map_or(0, |item| item["m"].as_str().unwrap().parse().unwrap());
    let refused = sign_in(&service, USERS, false).await;
    let messages = calls.sends.load(Ordering::Relaxed) - USERS;
    assert_eq!(messages, usize::from(!refused));
    (spent, !refused)
}

#[tokio::test(start_paused = true)]
async fn sign_ins_without_a_message_spend_no_budget_though_every_refund_fails() {
    assert_eq!(attack(|_| {}).await, (0, true));
    // The control: sign-ins that spend the budget and then give it back.
    let found = attack(|request| {
        if is_of_a_budget(request, "ADD ") {
            request.body["Key"]["pk"] = json!({ "S": BUDGET });
        }
    });
    let (spent, is_sent) = found.await;
    assert!(spent > USERS && !is_sent, "{spent} spent, sent: {is_sent}");
}
