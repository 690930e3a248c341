//! The setting of the accepted chance of a right guess, and the chance that the other settings allow.

use super::ledger::LedgerSettings;
use super::reader::Reader;
use crate::otp::CodeShape;
use crate::policy::{CodePolicy, ForeignCodes, GuessRisk, Shares};
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
        codes: &CodeShape,
        ledger: Option<&mut LedgerSettings>,
    ) {
        let Some(ledger) = ledger else { return };
        let accepted = self
            .is_set(NAME)
            .then(|| self.parsed(NAME, None, |text| GuessRisk::parse(text).map(Some)));
        let accepted = accepted.flatten();
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
            foreign: rules.foreign_codes.then_some(ForeignCodes {
                length: *codes.length.start(),
                attempts: rules.defaults.allowed_attempts,
            }),
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
        policy
            .without_foreign_codes(risk)
            .map(|_| "FOREIGN_CODES=off".to_owned()),
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
        foreign: None,
        ..policy.clone()
    };
    let of_strictest = || {
        let foreign = if rules.foreign_codes {
            ", FOREIGN_CODES=off"
        } else {
            ""
        };
        format!("{}, ALLOWED_ATTEMPTS={least}{foreign}", lengths(&strictest))
    };
    if risk.is_met_by(&strictest) {
        return format!("These together would meet it: {}.", of_strictest());
    }
    match strictest.with_fewer_sends(risk) {
        Some(it) => format!(
            "These together would meet it: {}, SEND_LIMITS={}.",
            of_strictest(),
            it.send_limits
        ),
        None => "No settings meet it: accept a higher chance or a shorter period.".to_owned(),
    }
}
