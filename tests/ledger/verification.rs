//! The methods of `Verification`. They need no table.

use crate::shared::{as_opened, at, seconds};
use otp_lambda::ledger::{CodeReference, Digest, Issuer, State, UsedCode, Verification};
use std::time::Duration;

#[test]
fn a_used_code_is_refused_until_its_time_and_forgotten_from_then_on() {
    let code = Digest::stored("used".to_owned());
    let until = at(Duration::from_hours(2));
    let used = UsedCode {
        code: code.clone(),
        until,
    };
    let verification = Verification {
        used: [used.clone()].into(),
        ..as_opened()
    };
    let before = until.minus(Duration::from_millis(1));
    assert!(verification.has_used(&code, before));
    assert_eq!(verification.outlived(before), []);
    assert!(!verification.has_used(&code, until));
    assert_eq!(verification.outlived(until), [used]);
    let other = Digest::stored("other".to_owned());
    assert!(!verification.has_used(&other, before));
}

/// A right guess follows a resend only if its issuer is still named, in the same verification, which must be open.
#[test]
fn a_code_stays_right_in_its_own_open_verification_as_long_as_its_issuer_is_named() {
    let paid = as_opened();
    let issuer = paid.issuers[0].clone();
    let newer = Issuer::Provider {
        name: "pinpoint".into(),
        reference: CodeReference::OfGeneration(2),
    };
    let resent = Verification {
        generation: 2,
        state: State::Unclear,
        issuers: vec![newer.clone(), issuer.clone()],
        ..paid.clone()
    };
    assert!(resent.still_accepts(&issuer, &paid));
    for changed in [
        Verification {
            state: State::Canceled,
            ..resent.clone()
        },
        Verification {
            issuers: vec![newer],
            ..resent.clone()
        },
        Verification {
            first: seconds(1),
            ..resent.clone()
        },
    ] {
        assert!(!changed.still_accepts(&issuer, &paid), "{changed:?}");
    }
}
