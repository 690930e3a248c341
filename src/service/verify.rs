//! Verifies a code: pays for the guess, asks the provider and records the verdict, in this order.

use super::foreign_codes::ForeignCode;
use super::latencies::Act;
use super::refusals::{self, GuessVerdict};
use super::{Call, Limits, Service, VerifyRequest};
use crate::error::{Error, ErrorCode};
use crate::ledger::{
    Attempt, Charge, CodeDigest, Door, GuessOutcome, Issuer, ItemName, NEAR_LOCK, NumberCharge,
    Question, Success, Transition, USED, Verification, Winner,
};
use crate::provider::{Provider, Verdict};
use crate::reference::ReferenceId;
use crate::time::Millis;
use futures_util::future::join;
use std::time::Duration;
use tokio::time::Instant;

/// How long the feedback about a right code may take. It is short because the person waits for it.
const FEEDBACK_TIME: Duration = Duration::from_millis(300);

const NOT_CHECKED: &str = "The ledger could not be reached in time, so the code was not checked. The guess may have cost an \
                           attempt. Try again shortly.";

const NOT_RECORDED: &str = "The code was checked, and the ledger could not be reached in time to record the result. \
                            If the request had an Idempotency-Key, repeat it within 20 seconds: 200 means verified. \
                            Otherwise ask for the status: if it is not `verified`, send a new code.";

impl Service {
    /// Verifies a code, and returns the reference ID of the verification if the code is right.
    ///
    /// # Errors
    ///
    /// The code is refused, or there is no verdict.
    pub async fn verify(
        &self,
        request: &VerifyRequest,
        call: &mut Call<'_>,
    ) -> Result<ReferenceId, Error> {
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
            return Ok(reference);
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
                if let Some(charge) = charge {
                    let item = &guess.number_item;
                    let cleared = limits.store.clear_failures(item, charge, call.now);
                    call.best_effort("clear", cleared).await;
                }
                if let Some(provider) = provider {
                    give_feedback(provider, &verification, call).await;
                }
                Ok(reference)
            }
            Ok(Checked::Wrong) => {
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
        match charge? {
            NumberCharge::Charged(charge) => Ok(Some((verification, Some(charge)))),
            NumberCharge::Locked => Err(refusals::locked()),
        }
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
    ) -> Result<ReferenceId, Error> {
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
        match self.ask_to_verify(&candidates, request, call).await? {
            Some(_) => Ok(reference),
            // The provider gives no reason for its refusal, and without a ledger there is no other source for one.
            None => Err(Error::new(
                ErrorCode::InvalidCode,
                "The code is wrong, expired, used up or unknown. Check it, or send a new one.",
            )),
        }
    }
}

/// A guess, with its names in the ledger.
pub(super) struct Guess {
    pub(super) item: ItemName,
    /// Whether `item` is the one of a foreign code.
    pub(super) is_foreign: bool,
    /// Whether the code has already succeeded as a foreign code.
    is_used_foreign_code: bool,
    pub(super) code: CodeDigest,
    door: Door,
    /// Whether a failure counts for the number. If not, the failure moves a decoy.
    counts: bool,
    number_item: ItemName,
    pub(super) winner: Winner,
    question: Option<Question>,
}

impl Guess {
    fn new(
        reference: &ReferenceId,
        request: &VerifyRequest,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<Self, Error> {
        let (hasher, to) = (&limits.hasher, &request.to);
        let door = match call.caller.sign_in {
            Some(_) => Door::SignIn,
            None => Door::Http,
        };
        Ok(Self {
            item: hasher.verification(reference, to),
            is_foreign: false,
            is_used_foreign_code: false,
            code: hasher.guess(reference, to, &request.otp),
            door,
            counts: true,
            number_item: hasher.number_at(door, to),
            winner: limits.winner(&call.caller, to)?,
            question: limits.question(&call.caller, to)?,
        })
    }
}

#[expect(clippy::large_enum_variant, reason = "short-lived")]
pub(super) enum Spent {
    /// One attempt; the verification as it now stands.
    Attempt(Verification),
    /// Nothing: the winner has repeated its request, and gets the same success again.
    SameSuccess,
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

/// Tells the operator once that a number is on its way to the lock. Do not call this for a right guess: a right guess
/// was charged as well, but is no failure. If many guesses come at once, each charge has a different count of failures,
/// so only one charge has the count at which the warning is written.
fn warn_of_lock(limits: &Limits, guess: &Guess, charge: Option<Charge>, call: &Call<'_>) {
    let Some(Charge { failures, .. }) = charge.filter(|_| guess.counts) else {
        return;
    };
    if NEAR_LOCK.contains(&failures) {
        let lock = limits.lock_at(guess.door);
        call.record.number_near_lock(guess.door, failures, lock);
    }
}

async fn note(
    limits: &Limits,
    guess: &Guess,
    verification: &Verification,
    outcome: GuessOutcome,
    call: &mut Call<'_>,
) {
    // A guess in a sign-in is always recorded as unclear. During an outage of the provider, a guess at a real code has
    // no verdict, while a guess at a decoy is wrong. If the records of the two guesses differed, they would show who
    // has an account. Because of this rule, the same wrong answer to a later question costs another attempt.
    let outcome = match call.caller.sign_in {
        Some(_) => GuessOutcome::Unclear,
        None => outcome,
    };
    let noted =
        limits
            .store
            .note_answer(&guess.item, verification.generation, &guess.code, outcome);
    call.best_effort("note", noted).await;
}

/// Marks the verification as verified. If several right answers arrive at once, this step succeeds for only one. If the
/// step fails, it is tried a second time. Without a second try, the person would have to start over, because the
/// provider does not accept the code again. The second try is safe: if the first try was carried out and only its
/// response was lost, the item names this request as the winner.
async fn consume(
    limits: &Limits,
    guess: &Guess,
    paid: &Verification,
    issuer: &Issuer,
    now: Millis,
) -> Result<(), Error> {
    let success = Success {
        winner: guess.winner.clone(),
        code: guess.code.clone(),
        at: now,
    };
    // The fixed code of a test number must verify again after each send, so this code is never recorded as used. Used
    // codes would also fill the item, because no window limits the sends to test numbers.
    let used_until = (*issuer != Issuer::TestNumber).then(|| now.plus(USED));
    let store = &limits.store;
    let mut generation = paid.generation;
    loop {
        let step = || store.consume(&guess.item, generation, &success, used_until);
        let consumed = match step().await {
            Err(_) => step().await,
            consumed => consumed,
        };
        let seen = match consumed? {
            Transition::Applied => return Ok(()),
            Transition::Refused(seen) => seen,
        };
        if refusals::has_won(seen.as_ref(), &success) {
            return Ok(());
        }
        // A resend has begun a new generation meanwhile. The resend ends this code only when its message has been sent.
        match seen {
            Some(seen) if seen.generation > generation && seen.still_accepts(issuer, paid) => {
                generation = seen.generation;
            }
            seen => return Err(refusals::too_late(seen.as_ref())),
        }
    }
}

/// Tells the provider that its message arrived. The success has been recorded before, so a failure changes nothing.
async fn give_feedback(issuer: &dyn Provider, won: &Verification, call: &mut Call<'_>) {
    // Only the ID of the last message is known. After an unclear send, the code may have come in another message.
    let Some(message_id) = won.message_id.as_ref().filter(|_| won.issuers.len() == 1) else {
        return;
    };
    let time = FEEDBACK_TIME.min(call.provider_time_left());
    if let Err(cause) = issuer.code_came_back(message_id, time).await {
        call.record.feedback_lost(message_id, &cause);
    }
}
