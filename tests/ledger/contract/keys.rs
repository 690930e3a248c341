//! Idempotency keys.

use crate::shared::{HOLDER, MILLI, MINUTE, START, at, digest, the_key};
use otp_lambda::ledger::{Holder, KEY_KEPT, KeyOutcome, KeyReservation, Ledger};
use otp_lambda::time::Millis;

async fn held(ledger: &dyn Ledger, now: Millis) -> (String, Millis, KeyOutcome) {
    match ledger
        .reserve_key(&the_key(), HOLDER, &digest("another"), now)
        .await
        .unwrap()
    {
        KeyReservation::Held(held) => (held.fingerprint.as_str().to_owned(), held.at, held.outcome),
        KeyReservation::Reserved => panic!("claimed"),
    }
}

async fn claims(ledger: &dyn Ledger, fingerprint: &str, now: Millis) {
    let claim = ledger
        .reserve_key(&the_key(), HOLDER, &digest(fingerprint), now)
        .await
        .unwrap();
    assert!(matches!(claim, KeyReservation::Reserved), "{claim:?}");
}

pub(super) async fn a_key_is_held_until_it_is_released(ledger: &dyn Ledger) {
    claims(ledger, "first", START).await;
    assert_eq!(
        held(ledger, at(MINUTE)).await,
        ("first".to_owned(), START, KeyOutcome::Pending)
    );
    ledger.release_key(&the_key(), HOLDER).await.unwrap();
    claims(ledger, "second", at(MINUTE)).await;
    assert_eq!(
        held(ledger, at(MINUTE)).await,
        ("second".to_owned(), at(MINUTE), KeyOutcome::Pending)
    );
}

pub(super) async fn only_its_holder_releases_and_finishes_a_key(ledger: &dyn Ledger) {
    let (key, other) = (the_key(), Holder(HOLDER.0 + 1));
    ledger.release_key(&key, HOLDER).await.unwrap();
    ledger.finish_key(&key, HOLDER, None).await.unwrap();
    claims(ledger, "body", START).await;
    ledger.release_key(&key, other).await.unwrap();
    ledger.finish_key(&key, other, None).await.unwrap();
    ledger.finish_key(&key, other, Some("{}")).await.unwrap();
    assert_eq!(
        held(ledger, START).await,
        ("body".to_owned(), START, KeyOutcome::Pending)
    );
    // Its holder can release it twice, but not what another request has reserved since.
    ledger.release_key(&key, HOLDER).await.unwrap();
    ledger.release_key(&key, HOLDER).await.unwrap();
    let later = digest("later");
    let reserved = ledger.reserve_key(&key, other, &later, START).await;
    assert!(matches!(reserved.unwrap(), KeyReservation::Reserved));
    ledger.release_key(&key, HOLDER).await.unwrap();
    ledger.finish_key(&key, HOLDER, Some("{}")).await.unwrap();
    assert_eq!(
        held(ledger, START).await,
        ("later".to_owned(), START, KeyOutcome::Pending)
    );
}

pub(super) async fn a_key_holds_the_outcome_of_its_request(ledger: &dyn Ledger) {
    claims(ledger, "body", START).await;
    ledger.finish_key(&the_key(), HOLDER, None).await.unwrap();
    assert_eq!(
        held(ledger, START).await,
        ("body".to_owned(), START, KeyOutcome::Unclear)
    );
    let answer = r#"{"status":202,"text":"Grüße"}"#;
    ledger
        .finish_key(&the_key(), HOLDER, Some(answer))
        .await
        .unwrap();
    assert_eq!(
        held(ledger, START).await,
        (
            "body".to_owned(),
            START,
            KeyOutcome::Answered(answer.to_owned())
        )
    );
}

pub(super) async fn a_key_is_free_after_a_day(ledger: &dyn Ledger) {
    claims(ledger, "first", START).await;
    ledger
        .finish_key(&the_key(), HOLDER, Some("answer"))
        .await
        .unwrap();
    let end = at(KEY_KEPT);
    assert_eq!(
        held(ledger, end.minus(MILLI)).await.2,
        KeyOutcome::Answered("answer".to_owned())
    );
    claims(ledger, "second", end).await;
    assert_eq!(
        held(ledger, end.plus(MILLI)).await,
        ("second".to_owned(), end, KeyOutcome::Pending)
    );
}
