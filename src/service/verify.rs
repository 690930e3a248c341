use super::foreign_codes::Paid;
use super::refusals::{self, GuessVerdict};
use super::{Call, Limits, Service, VerifyRequest};
use crate::error::{Error, ErrorCode};
use crate::ledger::{
    Attempt, CodeDigest, DECOY_KEPT, GuessOutcome, ItemName, NumberCharge, Success, Transition,
    Verification,
};
use crate::provider::{Provider, Verdict};
use crate::reference::ReferenceId;
use std::time::{Duration, Instant};

/// How long the feedback about a right code may take: the person waits for it.
const FEEDBACK_TIME: Duration = Duration::from_millis(300);

impl Service {
    /// Verifies a code, and returns the reference ID of the verification if the code is right.
    ///
    /// # Errors
    ///
    /// Why the code is refused, or why there is no verdict.
    pub async fn verify(
        &self,
        request: &VerifyRequest,
        call: &mut Call<'_>,
    ) -> Result<ReferenceId, Error> {
        // A decoy's made-up number is never refused for its country, or that would reveal the decoy.
        if call.caller.decoy == 0 {
            self.check_country(&request.to, call)?;
        }
        let reference = request.reference.resolve(&request.to);
        let Some(limits) = &self.limits else {
            return self.verify_uncounted(request, reference, call).await;
        };
        limits
            .count_source("verify", &call.caller, call.now)
            .await?;
        let item = limits.hasher.verification(&reference, &request.to);
        let guess = limits.hasher.guess(&reference, &request.to, &request.otp);
        let winner = limits.winner(&call.caller, &request.to)?;
        let question = limits.question(&call.caller, &request.to)?;

        // The attempt is spent before the provider is asked, so that a hundred guesses at once cost a hundred attempts.
        let attempt = limits
            .store
            .spend_attempt(&item, &guess, question.as_ref(), call.now)
            .await?;
        let verification = match attempt {
            Attempt::Paid(verification) => verification,
            Attempt::Refused(seen) => {
                match refusals::judge_guess(seen.as_ref(), &guess, &winner, call.now) {
                    GuessVerdict::SameSuccess => return Ok(reference),
                    GuessVerdict::Refused(error) => return Err(error),
                    GuessVerdict::UnknownReference(error) => {
                        let paid = Paid {
                            item: &item,
                            guess: &guess,
                            otherwise: error,
                        };
                        self.open_for_foreign_code(&reference, request, limits, paid, call)
                            .await?
                    }
                }
            }
        };
        // The guess counts for the number, too, and as a failure until it turns out right. So new codes under other
        // references bring no more guesses, and a guess without a verdict counts as well. No guess reaches the provider
        // without this charge.
        let (number_item, forget) = match call.caller.decoy {
            0 => (limits.hasher.number(&request.to), None),
            depth => {
                let item = limits.hasher.decoy_number(&request.to, depth);
                (item, Some(call.now.plus(DECOY_KEPT)))
            }
        };
        let charge = match limits
            .store
            .charge_number(&number_item, forget, call.now)
            .await?
        {
            NumberCharge::Charged(charge) => charge,
            NumberCharge::Locked => return Err(refusals::locked()),
        };

        let issuer = self
            .check_code(request, &reference, &guess, limits, &verification, call)
            .await;
        let issuer = match issuer {
            Ok(Checked::Right(issuer)) => issuer,
            Ok(Checked::Wrong) => {
                note(
                    limits,
                    &item,
                    &verification,
                    &guess,
                    GuessOutcome::Invalid,
                    call,
                )
                .await;
                return Err(refusals::wrong_code(verification.left));
            }
            Err(error) => {
                // The provider may have counted the guess. The attempt stays spent, and asking again costs another one.
                note(
                    limits,
                    &item,
                    &verification,
                    &guess,
                    GuessOutcome::Unclear,
                    call,
                )
                .await;
                return Err(error.with_attempts_left(verification.left));
            }
        };
        let success = Success {
            winner,
            code: guess,
            at: call.now,
        };
        consume(limits, &item, verification.generation, &success).await?;
        let cleared = limits
            .store
            .clear_failures(&number_item, charge, call.now)
            .await;
        call.record.best_effort("clear", cleared);
        if let Some(issuer) = issuer {
            give_feedback(issuer, &verification, call).await;
        }
        Ok(reference)
    }

    /// Checks a guess that has been paid for, with the issuers of the code.
    async fn check_code(
        &self,
        request: &VerifyRequest,
        reference: &ReferenceId,
        guess: &CodeDigest,
        limits: &Limits,
        verification: &Verification,
        call: &mut Call<'_>,
    ) -> Result<Checked<'_>, Error> {
        // AWS does not promise that a code works only once, so a used code is refused here.
        if verification.has_used(guess, call.now) {
            return Ok(Checked::Wrong);
        }
        match verification.provider.as_str() {
            super::issuers::DECOY => Ok(Checked::Wrong),
            super::issuers::TEST_NUMBER => {
                let is_right = limits.is_test_code(&request.to, reference, guess, call.now);
                Ok(if is_right {
                    Checked::Right(None)
                } else {
                    Checked::Wrong
                })
            }
            issuers => {
                let issuer = self
                    .ask_to_verify(issuers, request, reference, call)
                    .await?;
                Ok(issuer.map_or(Checked::Wrong, |issuer| Checked::Right(Some(issuer))))
            }
        }
    }

    /// Asks the providers that have issued codes of a verification, the newest first, until one accepts the guess.
    async fn ask_to_verify(
        &self,
        issuers: &str,
        request: &VerifyRequest,
        reference: &ReferenceId,
        call: &mut Call<'_>,
    ) -> Result<Option<&dyn Provider>, Error> {
        let providers = self.providers.of_issuers(issuers);
        if providers.is_empty() {
            return Err(Error::new(
                ErrorCode::CodeExpired,
                "The code can no longer be verified: send a new one.",
            )
            .with_cause(format!(
                "the code was issued by {issuers}, which this function does not ask: set OTP_PREVIOUS_PROVIDER"
            )));
        }
        let mut failed = None;
        for (index, &provider) in providers.iter().enumerate() {
            // A provider cannot have issued a code of another shape.
            if !provider.limits().code.fits(&request.otp) {
                continue;
            }
            // Each provider must leave time for the ones after it.
            let remaining = u32::try_from(providers.len() - index).unwrap_or(1);
            let time = call.provider_time_left() / remaining;
            let asked = Instant::now();
            let outcome = provider
                .verify(&request.to, reference, &request.otp, time)
                .await;
            call.record
                .provider_answered(provider.name(), asked.elapsed());
            match outcome {
                Ok(answer) => {
                    call.record.provider_request(answer.request_id);
                    if answer.verdict == Verdict::Valid {
                        return Ok(Some(provider));
                    }
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // The guess is wrong only if no provider failed: a failed one might have accepted it.
        failed.map_or(Ok(None), Err)
    }

    /// Verifies a code without a ledger: the provider's verdict is passed on.
    async fn verify_uncounted(
        &self,
        request: &VerifyRequest,
        reference: ReferenceId,
        call: &mut Call<'_>,
    ) -> Result<ReferenceId, Error> {
        let issuers = self.providers.all();
        match self
            .ask_to_verify(&issuers, request, &reference, call)
            .await?
        {
            Some(_) => Ok(reference),
            // The provider gives no reason, and without a ledger there is no other source for one.
            None => Err(Error::new(
                ErrorCode::InvalidCode,
                "The code is wrong, expired, used up or unknown. Check it, or send a new one.",
            )),
        }
    }
}

enum Checked<'a> {
    /// The provider that accepted the code; `None` for a test number.
    Right(Option<&'a dyn Provider>),
    Wrong,
}

async fn note(
    limits: &Limits,
    item: &ItemName,
    verification: &Verification,
    guess: &CodeDigest,
    outcome: GuessOutcome,
    call: &mut Call<'_>,
) {
    let noted = limits
        .store
        .note_answer(item, verification.generation, guess, outcome)
        .await;
    call.record.best_effort("note", noted);
}

/// Marks the verification as verified: of many right answers at once, only one succeeds in this step.
///
/// Tried twice, because the provider does not accept the code again and its owner would have to start over. That is
/// safe: if the first try was carried out but its response was lost, the item has this winner's mark.
async fn consume(
    limits: &Limits,
    item: &ItemName,
    generation: u64,
    success: &Success,
) -> Result<(), Error> {
    let consumed = match limits.store.consume(item, generation, success).await {
        Err(_) => limits.store.consume(item, generation, success).await,
        consumed => consumed,
    };
    match consumed? {
        Transition::Applied => Ok(()),
        Transition::Refused(seen) if refusals::has_won(seen.as_ref(), success) => Ok(()),
        Transition::Refused(seen) => Err(refusals::too_late(seen.as_ref())),
    }
}

/// Tells the provider that its message arrived. This comes after the success is recorded, and its failure changes
/// nothing.
async fn give_feedback(issuer: &dyn Provider, won: &Verification, call: &mut Call<'_>) {
    // Only the ID of the last message is known, and that may be another provider's.
    let is_last = won.provider.split(',').next() == Some(issuer.name());
    let Some(message_id) = won.message_id.as_ref().filter(|_| is_last) else {
        return;
    };
    let time = FEEDBACK_TIME.min(call.provider_time_left());
    if let Err(cause) = issuer.code_came_back(message_id, time).await {
        call.record.feedback_lost(message_id, &cause);
    }
}
