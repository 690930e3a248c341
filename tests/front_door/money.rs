//! Budgets in money count each segment of our own texts.

use crate::pool::{SignIn, user};
use crate::with;
use crate::world::{Answer, NUMBER, World};
use serde_json::{Value, json};
use simulator::Operation;
use std::time::Duration;

/// One segment to the United States costs ten cents.
const PRICES: &str = r#"{"prices": {"US": 0.1, "US/voice": 0.7, "US/whatsapp": 0.3, "*": 0.2, "*/voice": 1, "*/whatsapp": 1}}"#;
pub(crate) const SEGMENT: u64 = 100_000;

/// With this brand the French text of End User Messaging takes two segments. Each character counts as two of 70.
pub(crate) const LONG_BRAND: &str = "🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉";

pub(crate) async fn priced(name: &str, settings: &[(&str, &str)]) -> World {
    let file = format!("otp-lambda-money-{name}-{}.json", std::process::id());
    let path = std::env::temp_dir().join(format!("{}-{file}", with::NAME));
    std::fs::write(&path, PRICES).unwrap();
    let prices = [
        ("CONFIG_FILE", path.to_str().unwrap()),
        ("PREFIX_LIMITS", "none"),
    ];
    let world = World::counted(&[&prices, settings].concat()).await;
    std::fs::remove_file(&path).unwrap();
    world
}

impl World {
    /// The value of a counter of today's budgets: `u` for money, `m` for messages.
    pub(crate) fn spent(&self, counter: &str) -> u64 {
        let budgets = self.ledger.budgets();
        budgets.values().filter_map(|day| day.get(counter)).sum()
    }
}

async fn send(world: &World, number: &str, brand: &str) -> Answer {
    let body = json!({ "destinationNumber": number, "brandName": brand, "language": "fr-FR" });
    world.post("/otp/send", &body).await
}

#[tokio::test]
async fn a_budget_in_money_counts_every_segment_and_one_in_messages_counts_the_message() {
    let world = priced("counts", &[("BUDGETS", "9USD/24h,50/24h")]).await;
    assert_eq!(send(&world, "+14255550101", LONG_BRAND).await.status, 202);
    assert_eq!(
        (world.spent("u"), world.spent("m")),
        (with::LONG_SEGMENTS * SEGMENT, 1)
    );
    // The control: with this brand the text takes one segment.
    assert_eq!(send(&world, "+14255550102", "Acme").await.status, 202);
    assert_eq!(
        (world.spent("u"), world.spent("m")),
        ((with::LONG_SEGMENTS + 1) * SEGMENT, 2)
    );
}

#[tokio::test]
async fn a_text_is_sent_only_if_the_budget_has_room_for_all_its_segments() {
    let world = priced("room", &[("BUDGETS", "0.2USD/24h")]).await;
    assert_eq!(send(&world, "+14255550101", "Acme").await.status, 202);
    let answer = send(&world, "+14255550102", LONG_BRAND).await;
    if with::LONG_SEGMENTS == 1 {
        assert_eq!(
            answer.status, 202,
            "the provider makes its own text: {answer:?}"
        );
        return;
    }
    answer.is_problem(429, "rate_limited");
    assert_eq!(answer.body["limit"], "budget");
    assert_eq!(world.simulator.requests(Operation::Send).len(), 1);
    assert_eq!(
        send(&world, "+14255550102", "Acme").await.status,
        202,
        "there is room for one segment"
    );
}

#[tokio::test]
async fn a_text_that_was_not_sent_refunds_all_its_segments() {
    let world = priced("refund", &[("BUDGETS", "9USD/24h,50/24h")]).await;
    // This number has opted out.
    send(&world, "+14255550110", LONG_BRAND)
        .await
        .is_problem(422, "opted_out");
    assert_eq!((world.spent("u"), world.spent("m")), (0, 0));
    assert_eq!(world.simulator.requests(Operation::Send).len(), 1);
}

#[tokio::test]
async fn a_resend_counts_the_segments_with_the_brand_of_the_first_message() {
    let world = priced("resend", &[("BUDGETS", "9USD/24h")]).await;
    let send = async |brand: &str| -> Value {
        let body = json!({ "destinationNumber": NUMBER, "brandName": brand, "language": "fr-FR", "referenceId": "r" });
        let answer = world.post("/otp/send", &body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        world.asked_to_send()["says"].clone()
    };
    let first = send(LONG_BRAND).await;
    world.advance(Duration::from_secs(30));
    assert_eq!(send("Acme").await, first);
    assert_eq!(world.spent("u"), 2 * with::LONG_SEGMENTS * SEGMENT);
}

#[tokio::test]
async fn a_sign_in_counts_every_segment() {
    for (brand, segments) in [(LONG_BRAND, with::LONG_SEGMENTS), ("Acme", 1)] {
        let world = priced(
            "sign-in",
            &[
                ("BUDGETS", "9USD/24h,50/24h"),
                ("BRAND_NAME", brand),
                ("COGNITO_FLOOR_MS", "0"),
            ],
        )
        .await;
        let french = user().but("locale", json!("fr-FR"));
        SignIn::begin(&world, &french).await;
        assert_eq!(world.simulator.requests(Operation::Send).len(), 1);
        assert_eq!(
            (world.spent("u"), world.spent("m")),
            (segments * SEGMENT, 1),
            "{brand}"
        );
    }
}
