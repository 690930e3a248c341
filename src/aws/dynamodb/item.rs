//! Reads items. An item that cannot be understood is an error. If it counted as missing, it would bring new guesses.

use crate::ledger::{
    CodeDigest, Digest, Guess, GuessOutcome, HeldKey, Holder, Issuer, KeyOutcome, LONGEST_VALIDITY,
    Number, REMEMBERED_SENDS, State, Success, Switches, Unavailable, UsedCode, Verification,
};
use crate::time::Millis;
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;

/// An item as DynamoDB returned it.
#[derive(Default)]
pub(super) struct Item(pub(super) HashMap<String, AttributeValue>);

impl Item {
    /// The name of the item in the table.
    pub(super) fn name(&self) -> Result<&str, Unavailable> {
        required("pk", self.text("pk")?)
    }

    pub(super) fn known_number(&self) -> Result<Number, Unavailable> {
        let mut sends = Vec::new();
        for k in 1..=REMEMBERED_SENDS {
            match self.number(&format!("t{k}"))? {
                // The slots are zero until the first sends fill them.
                None | Some(0) => break,
                Some(at) => sends.push(Millis(at)),
            }
        }
        let failures = self.failures()?;
        let last = self.time("lf")?.filter(|_| failures > 0);
        Ok(Number {
            sends,
            failures,
            last_failure: last.unwrap_or_default(),
        })
    }

    pub(super) fn switches(&self) -> Result<Switches, Unavailable> {
        Ok(Switches {
            paused: self.flag("paused")?.unwrap_or_default(),
            blocked: self.set("block")?,
            allowed: self.set("allow")?,
        })
    }

    /// The counter of a source or a prefix.
    pub(super) fn count(&self) -> Result<u64, Unavailable> {
        Ok(self.number("n")?.unwrap_or(0))
    }

    pub(super) fn failures(&self) -> Result<u32, Unavailable> {
        Ok(self.number("f")?.unwrap_or(0))
    }

    pub(super) fn epoch(&self) -> Result<u64, Unavailable> {
        Ok(self.number("ep")?.unwrap_or(0))
    }

    pub(super) fn held_key(&self) -> Result<HeldKey, Unavailable> {
        let outcome = match required("st", self.text("st")?)? {
            "claimed" => KeyOutcome::Pending,
            "unclear" => KeyOutcome::Unclear,
            "done" => KeyOutcome::Answered(required("ans", self.text("ans")?)?.to_owned()),
            _ => return Err(not_understood("st")),
        };
        Ok(HeldKey {
            fingerprint: required("fp", self.digest("fp")?)?,
            at: required("at", self.time("at")?)?,
            outcome,
        })
    }

    pub(super) fn verification(&self) -> Result<Verification, Unavailable> {
        let owned = |name| Ok(required(name, self.text(name)?)?.to_owned());
        let state = read_word("st", self.text("st")?, STATES, word_of)?;
        let last_guess = match self.digest("lr")? {
            None => None,
            Some(code) => Some(Guess {
                code,
                outcome: read_word("lo", self.text("lo")?, OUTCOMES, word_of_outcome)?,
                at: required("la", self.time("la")?)?,
                question: self.digest("lq")?,
            }),
        };
        let success = match self.digest("vk")? {
            None => None,
            Some(winner) => Some(Success {
                winner,
                code: required("vc", self.digest("vc")?)?,
                at: required("va", self.time("va")?)?,
            }),
        };
        let used = self
            .set("used")?
            .iter()
            .map(|text| used_of_text(text))
            .collect::<Option<_>>();
        let expires = required("exp", self.time("exp")?)?;
        Ok(Verification {
            generation: required("gen", self.number("gen")?)?,
            state,
            // Earlier versions write no `by`, and settle a send by the generation alone.
            holder: Holder(self.number("by")?.unwrap_or_default()),
            expires,
            first: required("first", self.time("first")?)?,
            left: required("left", self.number("left")?)?,
            sends: required("sends", self.number("sends")?)?,
            issuers: owned("prov")?.split(',').map(Issuer::stored).collect(),
            message_id: self.text("mid")?.map(str::to_owned),
            // Versions that did not write this attribute sent every code under the plain reference.
            plain_until: self
                .time("pu")?
                .unwrap_or_else(|| expires.plus(LONGEST_VALIDITY)),
            channel: owned("ch")?,
            code_length: required("len", self.number("len")?)?,
            language: owned("lang")?,
            brand_name: owned("brand")?,
            last_guess,
            success,
            redeemed_by: self.digest("claimed")?,
            redeemed_at: self.time("ca")?,
            used: required("used", used)?,
            owner: self.digest("own")?,
        })
    }

    /// Whether the last update of the item has this mark.
    pub(super) fn has_mark(&self, mark: &str) -> bool {
        matches!(self.text("w"), Ok(Some(last)) if last == mark)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Unavailable> {
        self.get(name, |value| value.as_s().ok().map(String::as_str))
    }

    fn digest<Purpose>(&self, name: &str) -> Result<Option<Digest<Purpose>>, Unavailable> {
        Ok(self.text(name)?.map(Digest::stored))
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Millis>, Unavailable> {
        Ok(self.number(name)?.map(Millis))
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Unavailable> {
        self.get(name, |value| value.as_n().ok()?.parse().ok())
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Unavailable> {
        self.get(name, |value| value.as_bool().ok().copied())
    }

    fn set(&self, name: &str) -> Result<BTreeSet<String>, Unavailable> {
        let set = self.get(name, |value| {
            Some(value.as_ss().ok()?.iter().cloned().collect())
        })?;
        Ok(set.unwrap_or_default())
    }

    fn get<'a, T>(
        &'a self,
        name: &str,
        read: impl FnOnce(&'a AttributeValue) -> Option<T>,
    ) -> Result<Option<T>, Unavailable> {
        self.0
            .get(name)
            .map(|value| read(value).ok_or_else(|| not_understood(name)))
            .transpose()
    }
}

/// The value in `all` whose word the item holds.
fn read_word<T: Copy, const N: usize>(
    name: &str,
    word: Option<&str>,
    all: [T; N],
    word_of: fn(T) -> &'static str,
) -> Result<T, Unavailable> {
    let word = required(name, word)?;
    all.into_iter()
        .find(|value| word_of(*value) == word)
        .ok_or_else(|| not_understood(name))
}

pub(super) fn required<T>(name: &str, value: Option<T>) -> Result<T, Unavailable> {
    value.ok_or_else(|| not_understood(name))
}

fn not_understood(name: &str) -> Unavailable {
    Unavailable(format!("an item's `{name}` is missing or not understood"))
}

pub(super) fn word_of(state: State) -> &'static str {
    match state {
        State::Reserved => "reserved",
        State::Sent => "sent",
        State::Unclear => "unclear",
        State::Failed => "failed",
        State::Verified => "verified",
        State::Canceled => "canceled",
    }
}

pub(super) fn word_of_outcome(outcome: GuessOutcome) -> &'static str {
    match outcome {
        GuessOutcome::Pending => "asking",
        GuessOutcome::Invalid => "invalid",
        GuessOutcome::Unclear => "unclear",
    }
}

/// The text of issuers in an item.
pub(super) fn text_of_issuers(issuers: &[Issuer]) -> String {
    let names: Vec<String> = issuers.iter().map(Issuer::to_string).collect();
    names.join(",")
}

/// The text of a used code in an item: the time until which the code is refused, and its digest.
pub(super) fn text_of_used(used: &UsedCode) -> String {
    format!("{} {}", used.until.0, used.code.as_str())
}

fn used_of_text(text: &str) -> Option<UsedCode> {
    let (until, code) = text.split_once(' ')?;
    Some(UsedCode {
        code: CodeDigest::stored(code),
        until: Millis(until.parse().ok()?),
    })
}

const OUTCOMES: [GuessOutcome; 3] = [
    GuessOutcome::Pending,
    GuessOutcome::Invalid,
    GuessOutcome::Unclear,
];

const STATES: [State; 6] = [
    State::Reserved,
    State::Sent,
    State::Unclear,
    State::Failed,
    State::Verified,
    State::Canceled,
];
