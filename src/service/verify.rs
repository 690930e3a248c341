//! Verifies a code: pays for the guess, asks the provider and records the verdict, in this order.

use super::foreign_codes::ForeignCode;
use super::guess::{Guess, Spent, consume, give_feedback, note, warn_of_lock};
use super::latencies::Act;
use super::refusals::{self, GuessVerdict};
use super::{Call, Limits, Service, Verified, VerifyRequest};
use crate::error::{Error, ErrorCode};
use crate::ledger::{Attempt, Charge, GuessOutcome, Issuer, NumberCharge, Verification};
use crate::provider::{Provider, Verdict};
use crate::reference::ReferenceId;
use crate::telemetry::Metric;
use futures_util::future::join;
use tokio::time::Instant;

const NOT_CHECKED: &str = "The ledger could not be reached in time, so the code was not checked. The guess may have cost an \
                           attempt. Try again shortly.";

const NOT_RECORDED: &str = "The code was checked, and the ledger could not be reached in time to record the result. \
                            If the request had an Idempotency-Key, repeat it within 20 seconds: 200 means verified. \
                            Otherwise ask for the status: if it is not `verified`, send a new code.";

impl Service {
    /// Verifies a code.
    ///
    /// # Errors
    ///
    /// The code is refused, or there is no verdict.
    pub async fn verify(
        &self,
        request: &VerifyRequest,
        call: &mut Call<'_>,
    ) -> Result<Verified, Error> {
        // In a sign-in, a refusal for the country would show whose number is made up. The send has checked the country.
        if call.caller.sign_in.is_none() {
            self.check_number(&request.to, None, call)?;
        }
        let reference = request.reference.resolve(&request.to);
        let Some(limits) = &self.limits else {
            return self.verify_uncounted(request, reference, call).await;
        };
        let mut guess = Guess::new(&reference, request, limits, call)?;
        let (preparing, recording) = (call.time_to_prepare(), call.time_to_record());
        let paid = preparing
            .run(self.pay(&reference, request, &mut guess, limits, call))
            .await
            .map_err(|error| error.if_ledger_unavailable(NOT_CHECKED))?;
        let Some((verification, charge)) = paid else {
            let device = limits
                .remember_device(&guess, &reference, &request.to, call)
                .await;
            return Ok(Verified { reference, device });
        };

        let is_locked = charge.is_none();
        let checked = if is_locked {
            Ok(Checked::Wrong)
        } else {
            self.check_code(&reference, request, &guess, limits, &verification, call)
                .await
        };
        if call.caller.sign_in.is_some() && !call.record.has_asked_provider() {
            self.wait_as_if_asked(Act::Verify, call).await;
        }
        match checked {
            Ok(Checked::Right { issuer, provider }) => {
                recording
                    .run(async {
                        consume(limits, &guess, &verification, &issuer, call.now).await?;
                        if guess.is_foreign {
                            self.check_still_foreign(&reference, request, limits, call)
                                .await?;
                        }
                        Ok(())
                    })
                    .await
                    .map_err(|error| error.if_ledger_unavailable(NOT_RECORDED))?;
                if provider.is_some() && !guess.is_foreign {
                    call.record.count(Metric::Verified);
                }
                if let Some(charge) = charge {
                    let item = &guess.number_item;
                    let cleared = limits.store.clear_failures(item, charge, call.now);
                    call.best_effort("clear", cleared).await;
                }
                let device = limits
                    .remember_device(&guess, &reference, &request.to, call)
                    .await;
                if let Some(provider) = provider {
                    give_feedback(provider, &verification, call).await;
                }
                Ok(Verified { reference, device })
            }
            Ok(Checked::Wrong) => {
                let is_checked = guess.counts && call.record.has_asked_provider();
                if is_checked && !guess.is_foreign && !is_locked {
                    call.record.count(Metric::WrongGuesses);
                }
                warn_of_lock(limits, &guess, charge, call);
                note(limits, &guess, &verification, GuessOutcome::Invalid, call).await;
                Err(if is_locked {
                    refusals::locked()
                } else {
                    refusals::wrong_code(verification.left)
                })
            }
            Err(error) => {
                // The provider may have counted the guess. So the attempt stays spent, and a new try costs another.
                warn_of_lock(limits, &guess, charge, call);
                note(limits, &guess, &verification, GuessOutcome::Unclear, call).await;
                Err(error.with_attempts_left(verification.left))
            }
        }
    }

    /// Counts a guess everywhere before the provider is asked. Returns `None` if this request repeats the request that
    /// has succeeded, and so gets the same success again.
    async fn pay(
        &self,
        reference: &ReferenceId,
        request: &VerifyRequest,
        guess: &mut Guess,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<Option<(Verification, Option<Charge>)>, Error> {
        limits
            .count_source("verify", &call.caller, call.now)
            .await?;
        self.check_length(request, guess, limits, call).await?;
        // The attempt is spent before the provider is asked, so that a hundred guesses at once cost a hundred attempts.
        let spent = self
            .spend_attempt(reference, request, guess, limits, call)
            .await?;
        let Spent::Attempt(verification) = spent else {
            return Ok(None);
        };
        // Every guess is charged to its number before a provider is asked, and counts as a failure until it turns out
        // right. So a guess without a verdict counts, too. And new codes under other references bring no more guesses.
        if let Some(sign_in) = &call.caller.sign_in {
            let is_code = |issuer: &Issuer| *issuer != Issuer::Decoy;
            let has_code = !sign_in.is_decoy && verification.issuers.iter().any(is_code);
            guess.counts = has_code;
            let charge = limits
                .charge_sign_in(&request.to, &sign_in.reference, has_code, call.now)
                .await?;
            return Ok(Some((verification, charge)));
        }
        let lock = limits.send_limits().lock();
        let (charge, is_used) = join(
            limits
                .store
                .charge_number(&guess.number_item, lock, call.now),
            self.is_used_foreign_code(reference, request, guess, limits, call),
        )
        .await;
        guess.is_used_foreign_code = is_used?;
        let charge = match charge? {
            NumberCharge::Charged(charge) => charge,
            NumberCharge::Locked => limits.charge_device(guess, &request.to, call).await?,
        };
        Ok(Some((verification, Some(charge))))
    }

    /// Refuses a guess that is shorter or longer than the code, before the guess costs an attempt. A guess of the
    /// default length passes without a look at the verification, because nearly all codes have the default length. In a
    /// sign-in, every guess costs an attempt. If the issuers decided whether a guess is free, a stranger could learn
    /// who exists: after an unclear resend, a real user has other issuers than an unknown one.
    async fn check_length(
        &self,
        request: &VerifyRequest,
        guess: &Guess,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<(), Error> {
        if request.otp.length() == self.rules.defaults.code_length || call.caller.sign_in.is_some()
        {
            return Ok(());
        }
        let seen = limits.store.verification(&guess.item).await?;
        let has_length = |issuer: &Issuer, length| match issuer {
            Issuer::Provider { name, .. } => self
                .providers
                .named(name)
                .is_some_and(|provider| provider.limits().code.length.contains(&length)),
            _ => false,
        };
        refusals::check_length(seen.as_ref(), &request.otp, has_length, call.now)
    }

    /// Spends an attempt, unless the guess gets its answer from the ledger.
    async fn spend_attempt(
        &self,
        reference: &ReferenceId,
        request: &VerifyRequest,
        guess: &mut Guess,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<Spent, Error> {
        let attempt = limits
            .store
            .spend_attempt(&guess.item, &guess.code, guess.question.as_ref(), call.now)
            .await?;
        let seen = match attempt {
            Attempt::Paid(verification) => return Ok(Spent::Attempt(verification)),
            Attempt::Refused(seen) => seen,
        };
        let foreign = self.foreign_code(seen.as_ref(), &request.reference, &request.to, call);
        if foreign == ForeignCode::Possible {
            guess.item = limits.hasher.foreign_verification(reference, &request.to);
            guess.is_foreign = true;
            return self
                .spend_on_foreign_code(request, guess, limits, call)
                .await;
        }
        match refusals::judge_guess(seen.as_ref(), &guess.code, &guess.winner, call.now) {
            GuessVerdict::SameSuccess => Ok(Spent::SameSuccess),
            GuessVerdict::Refused(_) if seen.is_none() && foreign == ForeignCode::TurnedOff => {
                Err(refusals::not_found_but_maybe_foreign())
            }
            GuessVerdict::Refused(error) => Err(error),
        }
    }

    /// Checks a guess that has been paid for, with the issuers of the code.
    async fn check_code(
        &self,
        reference: &ReferenceId,
        request: &VerifyRequest,
        guess: &Guess,
        limits: &Limits,
        verification: &Verification,
        call: &mut Call<'_>,
    ) -> Result<Checked<'_>, Error> {
        let to = &request.to;
        let issuers = &verification.issuers;
        // A test number's code is fixed, so each send makes it good again.
        if issuers.contains(&Issuer::TestNumber)
            && limits.is_test_code(to, reference, &guess.code, call.now)
        {
            return Ok(Checked::Right {
                issuer: Issuer::TestNumber,
                provider: None,
            });
        }
        // AWS does not promise that a code works only once, so a used code is refused here.
        if guess.is_used_foreign_code || verification.has_used(&guess.code, call.now) {
            return Ok(Checked::Wrong);
        }
        let candidates: Vec<Candidate<'_>> = issuers
            .iter()
            .filter_map(|issuer| match issuer {
                Issuer::Provider {
                    name,
                    reference: of,
                } => Some(Candidate {
                    issuer: issuer.clone(),
                    provider: self.providers.named(name)?,
                    reference: limits.known_as(*of, reference, to),
                }),
                Issuer::TestNumber | Issuer::Decoy => None,
            })
            .collect();
        let is_of_provider = |issuer: &Issuer| matches!(issuer, Issuer::Provider { .. });
        if candidates.is_empty() && issuers.iter().any(is_of_provider) {
            return Err(Error::new(
                ErrorCode::CodeExpired,
                "The code can no longer be verified: send a new one.",
            )
            .with_cause(format!(
                "the code was issued by {issuers:?}, which this function does not ask: set OTP_PREVIOUS_PROVIDER"
            )));
        }
        let asked = Instant::now();
        let right = self.ask_to_verify(&candidates, request, call).await;
        if call.record.has_asked_provider() {
            self.latencies.remember(Act::Verify, asked.elapsed());
        }
        Ok(right?.map_or(Checked::Wrong, |right| Checked::Right {
            issuer: right.issuer.clone(),
            provider: Some(right.provider),
        }))
    }

    /// Asks the providers that may have issued the code, the newest first, until one accepts the guess.
    async fn ask_to_verify<'b, 'a>(
        &self,
        candidates: &'b [Candidate<'a>],
        request: &VerifyRequest,
        call: &mut Call<'_>,
    ) -> Result<Option<&'b Candidate<'a>>, Error> {
        let mut failed = None;
        for (index, candidate) in candidates.iter().enumerate() {
            let Candidate {
                provider,
                reference,
                ..
            } = candidate;
            // A provider cannot have issued a code of another shape.
            if !provider.limits().code.fits(&request.otp) {
                continue;
            }
            // Each provider must leave time for the ones after it.
            let remaining = u32::try_from(candidates.len() - index).unwrap_or(1);
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
                        return Ok(Some(candidate));
                    }
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // The guess is wrong only if no provider failed: a failed one might have accepted it.
        failed.map_or(Ok(None), Err)
    }

    /// Verifies a code without a ledger, by the provider's verdict alone.
    async fn verify_uncounted(
        &self,
        request: &VerifyRequest,
        reference: ReferenceId,
        call: &mut Call<'_>,
    ) -> Result<Verified, Error> {
        let candidates: Vec<Candidate<'_>> = self
            .providers
            .known()
            .zip(self.providers.all())
            .map(|(provider, issuer)| Candidate {
                issuer,
                provider,
                reference: reference.clone(),
            })
            .collect();
        if self
            .ask_to_verify(&candidates, request, call)
            .await?
            .is_some()
        {
            call.record.count(Metric::Verified);
            return Ok(Verified {
                reference,
                device: None,
            });
        }
        if call.record.has_asked_provider() {
            call.record.count(Metric::WrongGuesses);
        }
        // The provider gives no reason for its refusal, and without a ledger there is no other source for one.
        Err(Error::new(
            ErrorCode::InvalidCode,
            "The code is wrong, expired, used up or unknown. Check it, or send a new one.",
        ))
    }
}

/// A provider that may have issued the code, and the reference under which the provider knows the code.
struct Candidate<'a> {
    issuer: Issuer,
    provider: &'a dyn Provider,
    reference: ReferenceId,
}

enum Checked<'a> {
    Right {
        /// The issuer that accepted the code.
        issuer: Issuer,
        /// `None` for a test number.
        provider: Option<&'a dyn Provider>,
    },
    Wrong,
}
