//! The codes that a service has made, and the rules for accepting one.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use crate::{
    clock::serialize_rfc3339,
    facts::{Facts, NotAccepted, SecondSend},
    failure::Service,
};

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

/// By key, the oldest first. A key has several codes only with [`SecondSend::KeepsTheFirst`].
#[derive(Debug, Default)]
pub(crate) struct Codes(HashMap<CodeKey, Vec<IssuedCode>>);

/// The outcome of a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Not(NotAccepted),
}

/// A provider may accept a code this long after its end, if the facts say that it accepts late codes.
const GRACE: Duration = Duration::from_secs(30);

impl Codes {
    /// Makes a code. AWS does not document how a second send under the same reference changes the
    /// first code. [`Facts`] decide that. By default, the new code replaces the first and has its
    /// own attempts and validity.
    pub(crate) fn issue(
        &mut self,
        key: CodeKey,
        rules: Rules,
        now: SystemTime,
        facts: &Facts,
    ) -> IssuedCode {
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
        let codes = self.0.entry(key).or_default();
        if facts.second_send == SecondSend::RepeatsTheCode
            && let Some(first) = codes.last().filter(|first| first.is_good(now))
        {
            return first.clone();
        }
        if facts.second_send != SecondSend::KeepsTheFirst {
            codes.clear();
        }
        codes.push(issued.clone());
        issued
    }

    /// Whether a send under this key is refused, because an earlier code is still good.
    pub(crate) fn refuses_a_send(&self, key: &CodeKey, now: SystemTime, facts: &Facts) -> bool {
        facts.second_send == SecondSend::Refused
            && self.all_of(key).iter().any(|code| code.is_good(now))
    }

    /// Whether `guess` equals a code. A capital letter and its small letter count as different. By
    /// default, a right guess is accepted once, and a wrong guess costs an attempt. Even a right
    /// guess is not accepted if the code is unknown, expired, used or out of attempts.
    pub(crate) fn verify(
        &mut self,
        key: &CodeKey,
        guess: &str,
        now: SystemTime,
        facts: &Facts,
    ) -> Verdict {
        let Some(codes) = self.0.get_mut(key) else {
            return self.verify_for_another_number(key, guess, now, facts);
        };
        let mut refused = None;
        // The newest first: its state decides the response.
        for issued in codes.iter_mut().rev() {
            match issued.guess(guess, now, facts) {
                Verdict::Right => return Verdict::Right,
                Verdict::Not(why) => refused = refused.or(Some(why)),
            }
        }
        Verdict::Not(refused.unwrap_or_default())
    }

    /// A guess for a number that has no code under the reference.
    fn verify_for_another_number(
        &mut self,
        key: &CodeKey,
        guess: &str,
        now: SystemTime,
        facts: &Facts,
    ) -> Verdict {
        let others = self.0.iter_mut().filter(|(other, _)| {
            other.service == key.service
                && other.application_id == key.application_id
                && other.reference_id == key.reference_id
        });
        let mut others = others.flat_map(|(_, codes)| codes).peekable();
        if others.peek().is_none() {
            return Verdict::Not(facts.unknown_reference);
        }
        match facts.other_number.refused() {
            Some(why) => Verdict::Not(why),
            None if others.any(|issued| issued.guess(guess, now, facts) == Verdict::Right) => {
                Verdict::Right
            }
            None => Verdict::Not(NotAccepted::Wrong),
        }
    }

    /// The oldest first.
    pub(crate) fn all_of(&self, key: &CodeKey) -> &[IssuedCode] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn all(&self) -> Vec<IssuedCode> {
        self.0.values().flatten().cloned().collect()
    }
}

impl IssuedCode {
    fn is_good(&self, now: SystemTime) -> bool {
        !self.used && self.attempts_left > 0 && now < self.expires_at
    }

    fn guess(&mut self, guess: &str, now: SystemTime, facts: &Facts) -> Verdict {
        let is_right = self.code == guess;
        if self.used {
            return match facts.right_code_twice.refused() {
                None if is_right => Verdict::Right,
                Some(why) if is_right => Verdict::Not(why),
                _ => Verdict::Not(NotAccepted::Wrong),
            };
        }
        if self.attempts_left == 0 {
            return Verdict::Not(facts.exhausted_code);
        }
        if now >= self.expires_at {
            return match facts.late_code.refused() {
                None if is_right && now < self.expires_at + GRACE => {
                    self.used = true;
                    Verdict::Right
                }
                Some(why) if is_right => Verdict::Not(why),
                _ => Verdict::Not(facts.expired_code),
            };
        }
        if is_right {
            self.used = true;
            return Verdict::Right;
        }
        self.attempts_left -= 1;
        Verdict::Not(NotAccepted::Wrong)
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

    fn facts() -> Facts {
        Facts::default()
    }

    fn is_right(codes: &mut Codes, key: &CodeKey, guess: &str, now: SystemTime) -> bool {
        codes.verify(key, guess, now, &facts()) == Verdict::Right
    }

    fn issued(attempts: u32) -> (Codes, CodeKey, String) {
        let key = CodeKey {
            service: Service::Pinpoint,
            application_id: "app".into(),
            to: "+14255550142".into(),
            reference_id: "signup".into(),
        };
        let mut codes = Codes::default();
        let issued = codes.issue(
            key.clone(),
            rules(6, attempts),
            SystemTime::UNIX_EPOCH,
            &facts(),
        );
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
        assert!(is_right(&mut codes, &key, &code, SystemTime::UNIX_EPOCH));
        assert!(!is_right(&mut codes, &key, &code, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn the_last_attempt_is_accepted_and_the_next_is_refused() {
        let (mut codes, key, code) = issued(3);
        for _ in 0..2 {
            assert!(!is_right(
                &mut codes,
                &key,
                &wrong(&code),
                SystemTime::UNIX_EPOCH
            ));
        }
        assert!(is_right(&mut codes, &key, &code, SystemTime::UNIX_EPOCH));

        let (mut codes, key, code) = issued(3);
        for _ in 0..3 {
            assert!(!is_right(
                &mut codes,
                &key,
                &wrong(&code),
                SystemTime::UNIX_EPOCH
            ));
        }
        assert!(!is_right(&mut codes, &key, &code, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn a_code_is_accepted_until_it_expires() {
        let just_before = SystemTime::UNIX_EPOCH + VALIDITY - Duration::from_millis(1);
        let (mut codes, key, code) = issued(3);
        assert!(is_right(&mut codes, &key, &code, just_before));

        let (mut codes, key, code) = issued(3);
        assert!(!is_right(
            &mut codes,
            &key,
            &code,
            SystemTime::UNIX_EPOCH + VALIDITY
        ));
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
            assert!(!is_right(&mut codes, &other, &code, SystemTime::UNIX_EPOCH));
        }
        assert!(is_right(&mut codes, &key, &code, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn a_second_send_under_the_same_reference_replaces_the_first_code() {
        let (mut codes, key, _) = issued(1);
        let second = codes
            .issue(key.clone(), rules(8, 2), SystemTime::UNIX_EPOCH, &facts())
            .code;
        assert_eq!(second.len(), 8);
        assert!(!is_right(
            &mut codes,
            &key,
            &wrong(&second),
            SystemTime::UNIX_EPOCH
        ));
        assert!(is_right(&mut codes, &key, &second, SystemTime::UNIX_EPOCH));
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
                let code = codes
                    .issue(key.clone(), rules, SystemTime::UNIX_EPOCH, &facts())
                    .code;
                for (place, character) in code.chars().enumerate() {
                    seen[characters.find(character).unwrap()][place] += 1;
                }
            }
            // The expected count is 500; 350 is more than six standard deviations below it.
            assert!(seen.iter().flatten().all(|&count| count > 350), "{seen:?}");
        }
    }
}
