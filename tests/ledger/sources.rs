//! The limits of an address. A send counts in two windows at once, and the counts of a refused send are given back.

use crate::emulator::{Emulator, keep_what_is_used};
use crate::service::{Calls, service, settings};
use futures_util::future::join_all;
use otp_lambda::error::{ErrorCode, Limit};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::service::{Call, Caller, Service};
use otp_lambda::telemetry::Record;
use otp_lambda::time::Millis;
use serde_json::json;
use simulator::send_request;
use std::sync::Arc;
use std::time::Duration;

const START: Millis = Millis(1_800_000_000_000);

const LIMITS: [(&str, &str); 3] = [
    ("SOURCE_LIMITS", "30/10m,7/24h"),
    ("SOURCE_NETWORK_LIMITS", "60/10m,50/24h"),
    ("PREFIX_LIMITS", "none"),
];

/// Sends to these numbers at once, all from one address. Returns the messages that were sent.
async fn send_all(service: &Service, address: &str, numbers: std::ops::Range<usize>) -> usize {
    let sends = numbers.map(async |n| {
        let to = PhoneNumber::parse(&format!("+1425555{n:04}")).unwrap();
        let caller = Caller {
            principal: Some("backend".to_owned()),
            address: Some(address.parse().unwrap()),
            ..Caller::default()
        };
        let mut record = Record::default();
        let mut call = Call::new(caller, START, Duration::MAX, &mut record);
        match service.send(&send_request(service, to), &mut call).await {
            Ok(_) => true,
            Err(error) => {
                let limit = error.limit().map(Limit::name);
                assert_eq!(
                    (error.code(), limit),
                    (ErrorCode::RateLimited, Some("source"))
                );
                false
            }
        }
    });
    let sent = join_all(sends).await;
    sent.into_iter().filter(|is_sent| *is_sent).count()
}

/// The counters of an address after many sends at once, and the requests of further sends.
async fn flood(address: &str, gives_back: bool) -> (usize, Vec<u64>, Vec<String>) {
    let emulator = Emulator::new();
    let service = service(&emulator, &Arc::<Calls>::default(), settings(&LIMITS));
    if !gives_back {
        emulator.rewrite(|request| {
            if request.body["ConditionExpression"]
                .as_str()
                .is_some_and(|condition| condition.starts_with("#n > :zero"))
            {
                request.body["ConditionExpression"] = json!("attribute_not_exists(#n)");
                keep_what_is_used(&mut request.body);
            }
        });
    }
    let sent = send_all(&service, address, 0..40).await;
    let items = emulator.items();
    let of_sources = items
        .iter()
        .filter(|item| item["pk"].as_str().unwrap().starts_with("S#"));
    let mut counters: Vec<u64> = of_sources
        .map(|item| item["n"].as_str().unwrap().parse().unwrap())
        .collect();
    counters.sort_unstable();
    emulator.requests();
    assert_eq!(send_all(&service, address, 40..60).await, 0);
    let further = emulator
        .requests()
        .into_iter()
        .map(|request| request.action);
    (sent, counters, further.collect())
}

#[tokio::test]
async fn a_send_that_its_address_refuses_counts_in_no_window() {
    for (address, windows) in [("192.0.2.1", 2), ("2001:db8::1", 4)] {
        let (sent, counters, further) = flood(address, true).await;
        assert_eq!((sent, counters), (7, vec![7; windows]), "{address}");
        // The windows are read first, so a flood from one address writes nothing.
        assert_eq!(further, vec!["BatchGetItem"; 20], "{address}");
        // The control.
        let (sent, counters, _) = flood(address, false).await;
        assert_eq!(sent, 7, "{address}");
        assert!(counters.iter().any(|count| *count > 7), "{counters:?}");
    }
}
