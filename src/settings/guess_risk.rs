//! The setting of the accepted chance of a right guess, and the chance that the other settings allow.

use super::ledger::LedgerSettings;
use super::reader::Reader;
use crate::policy::{CodePolicy, GuessRisk, Shares};
use crate::provider::ProviderLimits;
use crate::service::Rules;
use std::ops::RangeInclusive;
use std::time::Duration;

const NAME: &str = "GUESS_RISK";

impl Reader<'_> {
    /// The guesses at one code that requests may ask for. With an accepted chance, no request may ask for more than the
    /// operator's default. Otherwise a backend could exceed the chance.
    pub(super) fn attempts(&self, all: &RangeInclusive<u8>, default: u8) -> RangeInclusive<u8> {
        let most = if self.is_set(NAME) {
            default
        } else {
            *all.end()
        };
        *all.start()..=most
    }

    /// Tells `ledger` the chance of a right guess. Reports settings that miss the accepted chance, with changes that would
    /// meet it.
    pub(super) fn guess_chance(
        &mut self,
        rules: &Rules,
        limits: &ProviderLimits,
        ledger: Option<&mut LedgerSettings>,
    ) {
        let Some(ledger) = ledger else { return };
        let accepted = self
            .is_set(NAME)
            .then(|| self.parsed(NAME, None, |text| GuessRisk::parse(text).map(Some)));
        let accepted = accepted.flatten();
        if accepted.is_some() && rules.foreign_codes {
            let why =
                "needs FOREIGN_CODES=off: nothing here limits how many codes other software sends.";
            self.report(NAME, why);
        }
        // With a wrong setting, there is no policy yet that could be judged.
        if self.has_problems() {
            return;
        }
        let policy = CodePolicy {
            send_limits: ledger.policy.send_limits.clone(),
            shares: Shares {
                sign_in: ledger.policy.sign_in_share,
                has_devices: ledger.policy.devices_kept.is_some(),
            },
            length: *rules.code_length.start(),
            attempts: *rules.allowed_attempts.end(),
            validity: Duration::from_mins((*rules.validity_minutes.end()).into()),
        };
        let period = accepted.as_ref().map(|risk| risk.period.clone());
        ledger.policy.guess_chance = policy.chance(&period.unwrap_or_default());
        let Some(risk) = accepted.filter(|risk| !risk.is_met_by(&policy)) else {
            return;
        };
        let changes = changes(&policy, &risk, rules, limits);
        let what = format!(
            "is missed: the chance of a right guess at one number can reach {}. {changes}",
            ledger.policy.guess_chance
        );
        self.report(NAME, &what);
    }
}

/// The changes of which each alone would meet `risk`, in words.
fn changes(
    policy: &CodePolicy,
    risk: &GuessRisk,
    rules: &Rules,
    limits: &ProviderLimits,
) -> String {
    let longest = *limits.code.length.end();
    let least = *rules.allowed_attempts.start();
    let lengths = |policy: &CodePolicy| {
        let length = policy.length;
        if length > rules.defaults.code_length {
            format!("MIN_CODE_LENGTH={length} with CODE_LENGTH={length}")
        } else {
            format!("MIN_CODE_LENGTH={length}")
        }
    };
    let alone: Vec<String> = [
        policy
            .with_longer_codes(risk, longest)
            .map(|it| lengths(&it)),
        policy
            .with_fewer_attempts(risk, least)
            .map(|it| format!("ALLOWED_ATTEMPTS={}", it.attempts)),
        policy
            .with_fewer_sends(risk)
            .map(|it| format!("SEND_LIMITS={}", it.send_limits)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !alone.is_empty() {
        return format!("Each of these would meet it: {}.", alone.join("; "));
    }
    let strictest = CodePolicy {
        length: longest,
        attempts: least,
        ..policy.clone()
    };
    let of_strictest = || format!("{}, ALLOWED_ATTEMPTS={least}", lengths(&strictest));
    if risk.is_met_by(&strictest) {
        return format!("These together would meet it: {}.", of_strictest());
    }
    if let Some(it) = strictest.with_fewer_sends(risk) {
        let limits = it.send_limits;
        return format!(
            "These together would meet it: {}, SEND_LIMITS={limits}.",
            of_strictest()
        );
    }
    let doors = if policy.doors().count() > 1 {
        ", or have fewer doors (SIGN_IN_SHARE=0, no DEVICE_TOKEN_DAYS)"
    } else {
        ""
    };
    format!(
        "Neither longer codes nor fewer guesses or messages meet it: accept a higher chance or a shorter period{doors}."
    )
}
