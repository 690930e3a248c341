//! The codes that a service has made, and the rules for accepting one.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use crate::{clock::serialize_rfc3339, failure::Service};

pub(crate) const DIGITS: &str = "0123456789";
pub(crate) const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
pub(crate) const LETTERS_AND_DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// How a code is made, and how long it is valid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// ASCII characters, each equally likely.
    pub(crate) characters: &'static str,
    pub(crate) length: usize,
    pub(crate) attempts: u32,
    pub(crate) validity: Duration,
}

/// Identifies a code.
///
/// AWS documents that the reference is the key, but not whether two numbers may share a reference.
/// In the simulator, two numbers may share a reference, and a code proves only the number that the
/// code was sent to. The codes of Pinpoint and of End User Messaging are kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CodeKey {
    pub service: Service,
    /// The Pinpoint application; empty for End User Messaging, which has one key space per account.
    pub application_id: String,
    pub to: String,
    /// The caller's reference. Only End User Messaging allows it to be absent; then it is empty.
    pub reference_id: String,
}

/// A code that a service has made. `Debug` and JSON show it, because this is a simulator.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedCode {
    #[serde(flatten)]
    pub key: CodeKey,
    pub code: String,
    /// The code is refused from this time on.
    #[serde(serialize_with = "serialize_rfc3339")]
    pub expires_at: SystemTime,
    /// Wrong guesses left before the code is refused forever.
    pub attempts_left: u32,
    /// Whether the code was accepted before. If so, it is refused.
    pub used: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Codes(HashMap<CodeKey, IssuedCode>);

impl Codes {
    /// Makes a code. AWS does not document how a second send under the same reference changes the
    /// first code. In the simulator, the new code replaces the first and has its own attempts and
    /// validity.
    pub(crate) fn issue(&mut self, key: CodeKey, rules: Rules, now: SystemTime) -> IssuedCode {
        let characters = std::iter::repeat_with(|| fastrand::choice(rules.characters.bytes()));
        let issued = IssuedCode {
            key: key.clone(),
            code: characters
                .take(rules.length)
                .flatten()
                .map(char::from)
                .collect(),
            expires_at: now + rules.validity,
            attempts_left: rules.attempts,
            used: false,
        };
        self.0.insert(key, issued.clone());
        issued
    }

    /// Whether `guess` equals the code. A capital letter and its small letter count as different. A
    /// right guess is accepted once, and a wrong guess costs an attempt. The result is false even
    /// for a right guess if the code is unknown, expired, used or out of attempts.
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

    pub(crate) fn get(&self, key: &CodeKey) -> Option<&IssuedCode> {
        self.0.get(key)
    }

    pub(crate) fn all(&self) -> Vec<IssuedCode> {
        self.0.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALIDITY: Duration = Duration::from_mins(10);

    fn rules(length: usize, attempts: u32) -> Rules {
        Rules {
            characters: DIGITS,
            length,
            attempts,
            validity: VALIDITY,
        }
    }

    fn issued(attempts: u32) -> (Codes, CodeKey, String) {
        let key = CodeKey {
            service: Service::Pinpoint,
            application_id: "app".into(),
            to: "+14255550142".into(),
            reference_id: "signup".into(),
        };
        let mut codes = Codes::default();
        let issued = codes.issue(key.clone(), rules(6, attempts), SystemTime::UNIX_EPOCH);
        (codes, key, issued.code)
    }

    /// A guess of the right shape that is not the code.
    fn wrong(code: &str) -> String {
        code.chars()
            .map(|digit| if digit == '9' { '0' } else { '9' })
            .collect()
    }

    #[test]
    fn the_right_code_is_accepted_once() {
        let (mut codes, key, code) = issued(3);
        assert!(codes.verify(&key, &code, SystemTime::UNIX_EPOCH));
        assert!(!codes.verify(&key, &code, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn the_last_attempt_is_accepted_and_the_next_is_refused() {
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
    fn a_code_is_accepted_until_it_expires() {
        let just_before = SystemTime::UNIX_EPOCH + VALIDITY - Duration::from_millis(1);
        let (mut codes, key, code) = issued(3);
        assert!(codes.verify(&key, &code, just_before));

        let (mut codes, key, code) = issued(3);
        assert!(!codes.verify(&key, &code, SystemTime::UNIX_EPOCH + VALIDITY));
    }

    #[test]
    fn a_code_is_accepted_only_for_its_own_number_reference_application_and_service() {
        let (mut codes, key, code) = issued(3);
        for other in [
            CodeKey {
                to: "+14255550143".into(),
                ..key.clone()
            },
            CodeKey {
                reference_id: "login".into(),
                ..key.clone()
            },
            CodeKey {
                application_id: "other".into(),
                ..key.clone()
            },
            CodeKey {
                service: Service::EndUserMessaging,
                ..key.clone()
            },
        ] {
            assert!(!codes.verify(&other, &code, SystemTime::UNIX_EPOCH));
        }
        assert!(codes.verify(&key, &code, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn a_second_send_under_the_same_reference_replaces_the_first_code() {
        let (mut codes, key, _) = issued(1);
        let second = codes
            .issue(key.clone(), rules(8, 2), SystemTime::UNIX_EPOCH)
            .code;
        assert_eq!(second.len(), 8);
        assert!(!codes.verify(&key, &wrong(&second), SystemTime::UNIX_EPOCH));
        assert!(codes.verify(&key, &second, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn every_character_is_equally_likely_in_every_position() {
        let mut codes = Codes::default();
        let (_, key, _) = issued(1);
        for characters in [DIGITS, LETTERS, LETTERS_AND_DIGITS] {
            let mut seen = vec![[0_u32; 5]; characters.len()];
            for _ in 0..500 * characters.len() {
                let rules = Rules {
                    characters,
                    ..rules(5, 1)
                };
                let code = codes.issue(key.clone(), rules, SystemTime::UNIX_EPOCH).code;
                for (place, character) in code.chars().enumerate() {
                    seen[characters.find(character).unwrap()][place] += 1;
                }
            }
            // The expected count is 500; 350 is more than six standard deviations below it.
            assert!(seen.iter().flatten().all(|&count| count > 350), "{seen:?}");
        }
    }
}
