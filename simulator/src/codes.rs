//! What the service remembers of the codes it made, and the rules by which it accepts one.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use crate::clock::serialize_rfc3339;

/// A code is known by these three together. AWS documents the reference as the key and does not say whether another
/// number may share it; here it may, and a code proves only the number it was sent to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CodeKey {
    /// The Pinpoint application the code was sent with.
    pub application_id: String,
    /// The phone number it was sent to.
    pub to: String,
    /// The caller's reference.
    pub reference_id: String,
}

/// A code as the service remembers it. `Debug` and the JSON show it: this is a simulator.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedCode {
    /// What it is known by.
    #[serde(flatten)]
    pub key: CodeKey,
    /// The digits.
    pub code: String,
    /// From this moment on the code is refused.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub expires_at: SystemTime,
    /// Wrong guesses left before the code is refused for good.
    pub attempts_left: u32,
    /// Whether it was accepted once; it is not accepted again.
    pub used: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Codes(HashMap<CodeKey, IssuedCode>);

impl Codes {
    /// Makes a code of `digits` digits. AWS does not document what a second send under the same reference does to the
    /// first code: here the new code replaces it, with its own attempts and validity.
    pub(crate) fn issue(
        &mut self,
        key: CodeKey,
        digits: usize,
        attempts: u32,
        validity: Duration,
        now: SystemTime,
    ) -> IssuedCode {
        let issued = IssuedCode {
            key: key.clone(),
            code: std::iter::repeat_with(|| fastrand::digit(10)).take(digits).collect(),
            expires_at: now + validity,
            attempts_left: attempts,
            used: false,
        };
        self.0.insert(key, issued.clone());
        issued
    }

    /// Whether `guess` is the code. True once; a wrong guess costs an attempt; unknown, expired, used and exhausted
    /// codes are false, and cannot be told from a wrong guess.
    pub(crate) fn verify(&mut self, key: &CodeKey, guess: &str, now: SystemTime) -> bool {
        let Some(issued) = self.0.get_mut(key) else {
            return false;
        };
        if issued.used || issued.attempts_left == 0 || now >= issued.expires_at {
            return false;
        }
        if issued.code == guess {
            issued.used = true;
        } else {
            issued.attempts_left -= 1;
        }
        issued.used
    }

    pub(crate) fn all(&self) -> Vec<IssuedCode> {
        self.0.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALIDITY: Duration = Duration::from_mins(10);

    fn issued(attempts: u32) -> (Codes, CodeKey, String) {
        let key = CodeKey { application_id: "app".into(), to: "+14255550142".into(), reference_id: "signup".into() };
        let mut codes = Codes::default();
        let issued = codes.issue(key.clone(), 6, attempts, VALIDITY, SystemTime::UNIX_EPOCH);
        (codes, key, issued.code)
    }

    /// A guess of the right shape that is not the code.
    fn wrong(code: &str) -> String {
        code.chars().map(|digit| if digit == '9' { '0' } else { '9' }).collect()
    }

    #[test]
    fn the_right_code_is_accepted_once() {
        let (mut codes, key, code) = issued(3);
        assert!(codes.verify(&key, &code, SystemTime::UNIX_EPOCH));
        assert!(!codes.verify(&key, &code, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn the_last_attempt_still_counts_and_the_next_does_not() {
        let (mut codes, key, code) = issued(3);
        for _ in 0..2 {
            assert!(!codes.verify(&key, &wrong(&code), SystemTime::UNIX_EPOCH));
        }
        assert!(codes.verify(&key, &code, SystemTime::UNIX_EPOCH));

        let (mut codes, key, code) = issued(3);
        for _ in 0..3 {
            assert!(!codes.verify(&key, &wrong(&code), SystemTime::UNIX_EPOCH));
        }
        assert!(!codes.verify(&key, &code, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn a_code_lives_until_its_validity_has_passed() {
        let just_before = SystemTime::UNIX_EPOCH + VALIDITY - Duration::from_millis(1);
        let (mut codes, key, code) = issued(3);
        assert!(codes.verify(&key, &code, just_before));

        let (mut codes, key, code) = issued(3);
        assert!(!codes.verify(&key, &code, SystemTime::UNIX_EPOCH + VALIDITY));
    }

    #[test]
    fn a_code_proves_only_the_number_the_reference_and_the_application_it_was_sent_with() {
        let (mut codes, key, code) = issued(3);
        for other in [
            CodeKey { to: "+14255550143".into(), ..key.clone() },
            CodeKey { reference_id: "login".into(), ..key.clone() },
            CodeKey { application_id: "other".into(), ..key.clone() },
        ] {
            assert!(!codes.verify(&other, &code, SystemTime::UNIX_EPOCH));
        }
        assert!(codes.verify(&key, &code, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn a_second_send_under_the_same_reference_replaces_the_first_code() {
        let (mut codes, key, _) = issued(1);
        let second = codes.issue(key.clone(), 8, 2, VALIDITY, SystemTime::UNIX_EPOCH).code;
        assert_eq!(second.len(), 8);
        assert!(!codes.verify(&key, &wrong(&second), SystemTime::UNIX_EPOCH));
        assert!(codes.verify(&key, &second, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn every_digit_occurs_in_every_place() {
        let mut codes = Codes::default();
        let (_, key, _) = issued(1);
        let mut seen = [[0_u32; 10]; 5];
        for _ in 0..5_000 {
            let code = codes.issue(key.clone(), 5, 1, VALIDITY, SystemTime::UNIX_EPOCH).code;
            for (place, digit) in code.bytes().enumerate() {
                seen[place][usize::from(digit - b'0')] += 1;
            }
        }
        // 500 expected; 350 is seven standard deviations away.
        assert!(seen.iter().flatten().all(|&count| count > 350), "{seen:?}");
    }
}
