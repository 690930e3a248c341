//! Codes that other software, such as AWS's Boto3 example, has sent under a derived reference. This program asks a
//! provider about them only if the operator has set `FOREIGN_CODES`.
//!
//! A foreign code has an item of its own and windows of its own. So a guess at a foreign code changes no verification
//! of this program, and takes no place in the windows that sends need.

use super::guess::{Guess, Spent};
use super::refusals::{self, GuessVerdict};
use super::{
    Call, Limits, Reference, ReferenceIds, Service, VerificationRequest, VerifyRequest, minutes,
};
use crate::error::Error;
use crate::ledger::{
    Attempt, Holder, ItemName, LONGEST_VALIDITY, Opening, Phase, REDEEMABLE, Reservation, State,
    Verification,
};
use crate::phone::PhoneNumber;
use crate::provider::Channel;
use crate::reference::ReferenceId;
use crate::time::Millis;
use futures_util::future::join;
use std::time::Duration;

/// After the last code of this program under the plain reference has expired, no guess can be about a foreign code for
/// this time. A provider keeps no code for longer than this time. So even with a wrong clock or a changed setting, the
/// provider does not accept this program's code as a foreign one.
const AFTER_OWN_CODE: Duration = LONGEST_VALIDITY;

/// Whether a request can be about a foreign code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForeignCode {
    /// The caller, the reference, or a code that this program has sent rules it out.
    Impossible,
    /// It can be, but `FOREIGN_CODES` is off.
    TurnedOff,
    Possible,
}

impl Service {
    /// Decides whether a request can be about a foreign code. `seen` is the verification of this program's own codes.
    ///
    /// Three things must hold. The reference is derived as in AWS's example. The caller is trusted, because only a
    /// trusted caller is believed to know of a code that other software has sent. And no code of this program can still
    /// be good under the reference.
    pub(super) fn foreign_code(
        &self,
        seen: Option<&Verification>,
        reference: &Reference,
        to: &PhoneNumber,
        call: &Call<'_>,
    ) -> ForeignCode {
        // AWS does not know if a code has ended in the ledger, and would still accept the code.
        let is_own = seen.is_some_and(|seen| {
            !is_over(seen, call.now) || seen.plain_until.plus(AFTER_OWN_CODE) > call.now
        });
        let is_test = self
            .limits
            .as_ref()
            .is_some_and(|limits| limits.test_number(to, call.now).is_some());
        let defaults = &self.rules.defaults;
        let is_derived = match reference {
            Reference::Derived { .. } => true,
            Reference::Given(given) => {
                *given == ReferenceId::derived(&defaults.brand_name, &defaults.source, to)
            }
        };
        if is_own
            || is_test
            || !is_derived
            || self.rules.reference_ids != ReferenceIds::Derived
            || !call.caller.is_trusted()
            || call.caller.session.is_some()
        {
            ForeignCode::Impossible
        } else if self.rules.foreign_codes {
            ForeignCode::Possible
        } else {
            ForeignCode::TurnedOff
        }
    }

    /// The item that a status, redeem or cancel is about. If there is a foreign code and a guess at this moment is
    /// about it, the result is the item of the foreign code. In all other cases, the result is the item of this
    /// program's own codes.
    pub(super) async fn item_of(
        &self,
        request: &VerificationRequest,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<ItemName, Error> {
        let (named, to) = (&request.reference, &request.to);
        let reference = named.resolve(to);
        let own_item = limits.hasher.verification(&reference, to);
        if !self.rules.foreign_codes {
            return Ok(own_item);
        }
        let foreign_item = limits.hasher.foreign_verification(&reference, to);
        let (own, foreign) = join(
            limits.store.verification(&own_item),
            limits.store.verification(&foreign_item),
        )
        .await;
        let can_be_foreign =
            self.foreign_code(own?.as_ref(), named, to, call) == ForeignCode::Possible;
        Ok(if can_be_foreign && foreign?.is_some() {
            foreign_item
        } else {
            own_item
        })
    }

    /// Whether the code of this guess has already succeeded as a foreign code. Under the plain reference, a provider
    /// cannot tell foreign codes from codes of this program.
    ///
    /// Two guesses can use one code at the same time: this guess, and another guess at the code as a foreign one. So
    /// the order of the steps matters. This guess reads the foreign code after it has paid. The other guess first
    /// records its success, and then reads this program's verification in
    /// [`check_still_foreign`](Self::check_still_foreign). So at least one of the two guesses sees the other.
    pub(super) async fn is_used_foreign_code(
        &self,
        reference: &ReferenceId,
        request: &VerifyRequest,
        guess: &Guess,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<bool, Error> {
        if !self.rules.foreign_codes || guess.is_foreign || call.caller.session.is_some() {
            return Ok(false);
        }
        let item = limits.hasher.foreign_verification(reference, &request.to);
        let foreign = limits.store.verification(&item).await?;
        Ok(foreign.is_some_and(|foreign| foreign.has_used(&guess.code, call.now)))
    }

    /// Refuses the success of a foreign code if this program has sent a code of its own under the reference meanwhile.
    /// The provider may have accepted that code and not the foreign one. While the send of that code is under way, it
    /// is unknown which of the two codes was accepted. If the send turns out to have sent nothing, the recorded success
    /// counts.
    pub(super) async fn check_still_foreign(
        &self,
        reference: &ReferenceId,
        request: &VerifyRequest,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<(), Error> {
        let item = limits.hasher.verification(reference, &request.to);
        let seen = limits.store.verification(&item).await?;
        match self.foreign_code(seen.as_ref(), &request.reference, &request.to, call) {
            ForeignCode::Possible => Ok(()),
            _ => Err(match &seen {
                Some(own) if own.state == State::Reserved && own.is_open(call.now) => {
                    refusals::maybe_foreign()
                }
                _ => refusals::too_late(seen.as_ref()),
            }),
        }
    }

    /// Spends an attempt on a guess at a foreign code.
    ///
    /// The first guess at a code takes a place in windows as large as those of `SEND_LIMITS`. Without these windows, an
    /// attacker could invent references, and would get more guesses than with codes from this program.
    pub(super) async fn spend_on_foreign_code(
        &self,
        request: &VerifyRequest,
        guess: &Guess,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<Spent, Error> {
        let now = call.now;
        let store = &limits.store;
        let pay = || store.spend_attempt(&guess.item, &guess.code, None, now);
        let seen = match pay().await? {
            Attempt::Paid(verification) => {
                return Ok(Spent::Attempt(verification));
            }
            Attempt::Refused(seen) => seen,
        };
        let refusal = match refusals::judge_guess(seen.as_ref(), &guess.code, &guess.winner, now) {
            GuessVerdict::SameSuccess => return Ok(Spent::SameSuccess),
            GuessVerdict::Refused(refusal) => refusal,
        };
        if seen.as_ref().is_some_and(|seen| !is_over(seen, now)) {
            return Err(refusal);
        }
        take_foreign_place(&request.to, limits, call)
            .await?
            .map_err(|limited| if seen.is_some() { refusal } else { limited })?;
        self.open_foreign_code(request, guess, seen.as_ref(), limits, call)
            .await?;
        // If another guess has opened the verification meanwhile, this guess is paid for like any other.
        match pay().await? {
            Attempt::Paid(verification) => Ok(Spent::Attempt(verification)),
            Attempt::Refused(_) => Err(refusals::in_progress("Another guess is being checked.")),
        }
    }

    /// Begins a verification for a foreign code. `seen` is the previous verification. Does nothing if another guess has
    /// begun a verification meanwhile.
    async fn open_foreign_code(
        &self,
        request: &VerifyRequest,
        guess: &Guess,
        seen: Option<&Verification>,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<(), Error> {
        let now = call.now;
        let issuers = self.providers.all();
        let defaults = &self.rules.defaults;
        let opening = Opening {
            state: State::Sent,
            holder: Holder::random()?,
            first: now,
            expires: now.plus(minutes(defaults.validity_minutes)),
            left: defaults.allowed_attempts,
            issuers: &issuers,
            plain_until: Millis::default(),
            channel: Channel::Sms.name(),
            code_length: request.otp.length(),
            language: &defaults.language,
            brand_name: match &request.reference {
                Reference::Derived { brand_name, .. } => brand_name,
                Reference::Given(_) => &defaults.brand_name,
            },
            owner: None,
            forget: &seen.map(|seen| seen.outlived(now)).unwrap_or_default(),
        };
        let generation = seen.map(|seen| seen.generation);
        limits.store.open(&guess.item, generation, &opening).await?;
        Ok(())
    }
}

/// Takes a place for a guess at a foreign code. The inner error is the refusal if no place is free.
async fn take_foreign_place(
    to: &PhoneNumber,
    limits: &Limits,
    call: &Call<'_>,
) -> Result<Result<(), Error>, Error> {
    let (send_limits, hasher, now) = (limits.send_limits(), &limits.hasher, call.now);
    // Too many failures stop guesses at foreign codes, just as they stop sends.
    let number = limits.store.number(&hasher.number(to)).await?;
    if let Some(wait) = send_limits.wait(&number, now)
        && (wait.guesses || wait.until.is_none())
    {
        return Err(refusals::number_limited(wait, now));
    }
    let item = hasher.foreign_number(to);
    let place = limits
        .store
        .reserve_send(&item, send_limits.windows(), call.now_again());
    let Reservation::Refused(number) = place.await? else {
        return Ok(Ok(()));
    };
    Ok(Err(
        match send_limits.wait(&number, now).and_then(|wait| wait.until) {
            Some(until) => refusals::foreign_limited(until, now),
            None => refusals::in_progress("Another guess opens this verification."),
        },
    ))
}

/// Whether this verification is over. While this verification is not over, no guess can be about a newer foreign code.
/// A success is over when it can no longer be redeemed. A canceled code is over when no provider accepts it any more.
fn is_over(seen: &Verification, now: Millis) -> bool {
    match seen.phase(now) {
        Phase::Pending | Phase::Exhausted => false,
        Phase::Expired | Phase::Failed => true,
        Phase::Verified => seen
            .success
            .as_ref()
            .is_none_or(|success| now.since(success.at) >= REDEEMABLE),
        Phase::Canceled => seen.expires.plus(LONGEST_VALIDITY) <= now,
    }
}
