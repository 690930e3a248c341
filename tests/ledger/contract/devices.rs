//! Devices that have verified a number.

use crate::shared::{MINUTE, at};
use otp_lambda::device::DeviceToken;
use otp_lambda::ledger::{Hasher, ItemName, Ledger};
use otp_lambda::phone::PhoneNumber;
use std::time::Duration;

fn device(token: &str, number: &str) -> ItemName {
    let hasher = Hasher::from_secret(b"secret");
    hasher.device(
        &DeviceToken::parse(token).unwrap(),
        &PhoneNumber::parse(number).unwrap(),
    )
}

pub(super) async fn a_device_is_known_until_it_expires(ledger: &dyn Ledger) {
    let (own, end) = (device("token", "+14255550142"), at(MINUTE));
    assert!(!ledger.knows_device(&own, at(Duration::ZERO)).await.unwrap());
    ledger.remember_device(&own, end).await.unwrap();
    for (time, is_known) in [(Duration::ZERO, true), (MINUTE, false), (2 * MINUTE, false)] {
        assert_eq!(ledger.knows_device(&own, at(time)).await.unwrap(), is_known);
    }
    for other in [
        device("token", "+14255550143"),
        device("token2", "+14255550142"),
    ] {
        assert!(
            !ledger
                .knows_device(&other, at(Duration::ZERO))
                .await
                .unwrap()
        );
    }
    // A repeat of the request that has verified the number.
    ledger.remember_device(&own, end).await.unwrap();
    assert!(ledger.knows_device(&own, at(Duration::ZERO)).await.unwrap());
}
