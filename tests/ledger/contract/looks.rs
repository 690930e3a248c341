//! Reads of several items at once.

use crate::shared::{
    MINUTE, START, WINDOWS, at, bring, charge, keys, reserve, see, the_counter, the_number,
    the_verification,
};
use otp_lambda::ledger::{ItemName, Ledger, Looked, Number, State, Switches, Wanted, Window};
use otp_lambda::phone::PhoneNumber;

fn other_counter() -> ItemName {
    let other = PhoneNumber::parse("+14255559999").unwrap();
    keys().prefix(&other, Window::around(START, MINUTE))
}

async fn look(ledger: &dyn Ledger, switches: bool, counters: &[ItemName]) -> Looked {
    let (verification, number) = (the_verification(), the_number());
    let wanted = Wanted {
        switches,
        verification: &verification,
        number: &number,
        counters,
    };
    ledger.look(&wanted).await.unwrap()
}

pub(super) async fn a_look_at_nothing_finds_nothing(ledger: &dyn Ledger) {
    let counters = [the_counter(), other_counter()];
    let looked = look(ledger, true, &counters).await;
    assert_eq!(looked.switches, Some(Switches::default()));
    assert_eq!(looked.verification, None);
    assert_eq!(looked.number, Number::default());
    assert_eq!(looked.counters, [0, 0]);
    let looked = look(ledger, false, &[]).await;
    assert_eq!((looked.switches, looked.counters), (None, vec![]));
}

pub(super) async fn a_look_finds_what_single_reads_find(ledger: &dyn Ledger) {
    bring(ledger, State::Sent).await;
    reserve(ledger, WINDOWS, START).await;
    charge(ledger, START).await;
    for _ in 0..3 {
        assert!(ledger.count(&the_counter(), 9, at(MINUTE)).await.unwrap());
    }
    assert!(ledger.count(&other_counter(), 9, at(MINUTE)).await.unwrap());
    // A counter may be wanted twice: for instance if two limits have windows of one length.
    for counters in [
        vec![],
        vec![the_counter(), other_counter()],
        vec![other_counter(), the_counter(), other_counter()],
    ] {
        let looked = look(ledger, false, &counters).await;
        assert_eq!(looked.verification, Some(see(ledger).await));
        let number = ledger.number(&the_number()).await.unwrap();
        assert_eq!((number.sends.len(), number.failures), (1, 1));
        assert_eq!(looked.number, number);
        let expected = counters
            .iter()
            .map(|counter| if *counter == the_counter() { 3 } else { 1 });
        assert_eq!(looked.counters, expected.collect::<Vec<_>>());
    }
}
