//! Items that earlier versions have written.

use crate::emulator::Emulator;
use crate::service::{Calls, RIGHT, service, settings};
use otp_lambda::otp::Otp;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::service::{Call, Caller, Reference, Service, VerifyRequest};
use otp_lambda::telemetry::Record;
use otp_lambda::time::Millis;
use serde_json::Value;
use simulator::send_request;
use std::sync::Arc;
use std::time::Duration;

const START: Millis = Millis(1_800_000_000_000);

fn number() -> PhoneNumber {
    PhoneNumber::parse("+14255550142").unwrap()
}

fn call(now: Millis, record: &mut Record) -> Call<'_> {
    let caller = Caller {
        principal: Some("backend".to_owned()),
        ..Caller::default()
    };
    Call::new(caller, now, Duration::MAX, record)
}

async fn send(service: &Service, now: Millis) {
    let mut record = Record::default();
    let request = send_request(service, number());
    service
        .send(&request, &mut call(now, &mut record))
        .await
        .unwrap();
}

/// Changes an item to the form that an earlier version wrote. Earlier versions sent every code under the plain
/// reference, the one that callers know. An item of an earlier version has no holder, and no time until which the plain
/// reference is taken.
fn as_an_earlier_version_wrote_it(item: &mut Value) {
    let item = item.as_object_mut().unwrap();
    for name in ["by", "pu"] {
        assert!(item.remove(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn a_code_of_an_earlier_version_is_good_and_keeps_the_plain_reference() {
    for is_earlier in [true, false] {
        let emulator = Emulator::new();
        let calls = Arc::new(Calls::default());
        let service = service(&emulator, &calls, settings(&[("SEND_LIMITS", "1/30s")]));
        send(&service, START).await;
        if is_earlier {
            let edited = emulator.edit_all("V#", as_an_earlier_version_wrote_it);
            assert_eq!(edited, 1);
        }
        let defaults = &service.rules().defaults;
        let request = VerifyRequest {
            to: number(),
            otp: Otp::parse(RIGHT, &service.codes()).unwrap(),
            reference: Reference::Derived {
                brand_name: defaults.brand_name.clone(),
                source: defaults.source.clone(),
            },
        };
        let mut record = Record::default();
        let now = START.plus(Duration::from_secs(40));
        let verified = service.verify(&request, &mut call(now, &mut record)).await;
        assert!(verified.is_ok(), "{verified:?}");
        // A record of this version says how long its code is good. A record of an earlier version does not say so. The
        // code of such a record is taken to be good for the longest time that any provider keeps a code.
        for (minutes, is_plain) in [(11, !is_earlier), (69, !is_earlier), (71, true)] {
            let now = START.plus(Duration::from_mins(minutes));
            send(&service, now).await;
            let references = calls.references.lock().unwrap().clone();
            let (first, last) = (references.first(), references.last());
            assert_eq!(first == last, is_plain, "{is_earlier}, {minutes} minutes");
            if is_plain {
                break;
            }
        }
    }
}
