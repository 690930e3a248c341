//! Codes that other software has sent, such as AWS's Boto3 example, under a derived reference that the ledger does not
//! know.

use super::refusals;
use super::verify::Guess;
use super::{Call, Limits, Reference, ReferenceIds, Service, VerifyRequest, minutes};
use crate::error::Error;
use crate::ledger::{Attempt, Issuer, Opening, Reservation, State, Verification};
use crate::provider::Channel;
use crate::reference::ReferenceId;

impl Service {
    /// Opens a verification for a foreign code, and spends an attempt on the guess at it.
    ///
    /// It takes a place in the number's windows, as a send does. So invented references bring an attacker no more guesses
    /// than sends would.
    pub(super) async fn open_for_foreign_code(
        &self,
        request: &VerifyRequest,
        guess: &Guess,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<Verification, Error> {
        let (now, windows) = (call.now, limits.send_limits().windows());
        let number_item = limits.hasher.number(&request.to);
        if let Reservation::Refused(number) = limits
            .store
            .reserve_send(&number_item, windows, now)
            .await?
        {
            return Err(match limits.send_limits().wait(&number, now) {
                Some(wait) => refusals::number_limited(wait, now),
                None => refusals::in_progress("Another guess opens this verification."),
            });
        }
        let issuers = self.providers.all();
        let opening = self.opening_of_foreign_code(request, &issuers, call);
        // If another guess has opened it meanwhile, this one is paid for like any other.
        limits.store.open(&guess.item, None, &opening).await?;
        match limits
            .store
            .spend_attempt(&guess.item, &guess.code, None, now)
            .await?
        {
            Attempt::Paid(verification) => Ok(verification),
            Attempt::Refused(_) => Err(refusals::in_progress("Another guess is being checked.")),
        }
    }

    /// Whether other software can have sent a code under this reference: it is derived as in AWS's example, and an
    /// authenticated caller asks. Nobody else can be trusted to know of a code that this program did not send.
    pub(super) fn may_be_foreign(
        &self,
        reference: &ReferenceId,
        request: &VerifyRequest,
        call: &Call<'_>,
    ) -> bool {
        let defaults = &self.rules.defaults;
        let is_derived = match &request.reference {
            Reference::Derived { .. } => true,
            Reference::Given(_) => {
                *reference
                    == ReferenceId::derived(&defaults.brand_name, &defaults.source, &request.to)
            }
        };
        is_derived
            && self.rules.reference_ids == ReferenceIds::Derived
            && call.caller.principal.is_some()
            && call.caller.session.is_none()
    }

    fn opening_of_foreign_code<'a>(
        &'a self,
        request: &'a VerifyRequest,
        issuers: &'a [Issuer],
        call: &Call<'_>,
    ) -> Opening<'a> {
        let defaults = &self.rules.defaults;
        let brand_name = match &request.reference {
            Reference::Derived { brand_name, .. } => brand_name,
            Reference::Given(_) => &defaults.brand_name,
        };
        Opening {
            state: State::Sent,
            first: call.now,
            expires: call.now.plus(minutes(defaults.validity_minutes)),
            left: defaults.allowed_attempts,
            issuers,
            channel: Channel::Sms.name(),
            code_length: request.otp.length(),
            language: &defaults.language,
            brand_name,
            owner: None,
            forget: &[],
        }
    }
}
