//! Requests about a verification as a whole (status, redeem, cancel), and an operator's requests about a number.

use super::refusals::{self, RedeemVerdict};
use super::{Call, Limits, Service, Status, VerificationRequest};
use crate::error::{Error, ErrorCode};
use crate::ledger::{Door, ItemName, Looked, Phase, REDEEMABLE, Transition, Verification, Wanted};
use crate::phone::PhoneNumber;
use crate::reference::ReferenceId;
use std::time::Duration;

const NO_STATUS: &str =
    "The ledger could not be reached in time, so the status is not known. Try again shortly.";

const NOT_REDEEMED: &str =
    "The ledger could not be reached in time, so nothing was redeemed. Try again shortly.";

const NOT_CANCELED: &str =
    "The ledger could not be reached in time, so nothing was canceled. Try again shortly.";

const MAYBE_REDEEMED: &str = "The ledger could not be reached in time, so the success may have been redeemed or not. Try again \
                              with the same Idempotency-Key, which gets the same response.";

const MAYBE_CANCELED: &str = "The ledger could not be reached in time, so the verification may have been canceled or not. Cancel \
                              it again.";

const MAYBE_UNLOCKED: &str = "The ledger could not be reached in time, so the number may have been unlocked or not. Unlock it again.";

/// How long Cognito may repeat a sign-up. Cognito waits five seconds for a trigger, and calls a trigger up to three
/// times.
const SIGN_UP_REPLAY: Duration = Duration::from_mins(1);

/// How often a cancel or a redeem is tried. A try fails if a send has begun a new generation since the read.
const TRIES: u32 = 3;

const CHANGES_ALL_THE_TIME: &str = "Other requests are changing this verification.";

impl Service {
    /// Returns the status of a verification: its phase, the guesses left, and when the next code can be sent.
    ///
    /// # Errors
    ///
    /// `verification_not_found`; `route_not_found` without a ledger.
    pub async fn status(
        &self,
        request: &VerificationRequest,
        call: &mut Call<'_>,
    ) -> Result<Status, Error> {
        self.check_number(&request.to, None, call)?;
        let limits = self.ledger()?;
        let reference = request.reference.resolve(&request.to);
        let number_item = limits.hasher.number(&request.to);
        let read = async {
            let item = self.find_item("status", request, limits, call).await?;
            let wanted = Wanted {
                switches: false,
                verification: &item,
                number: &number_item,
                counters: &[],
            };
            Ok(limits.store.look(&wanted).await?)
        };
        let Looked {
            verification,
            number,
            ..
        } = call
            .time_to_record()
            .run(read)
            .await
            .map_err(|error| error.if_ledger_unavailable(NO_STATUS))?;
        let verification = verification.ok_or_else(refusals::not_found)?;
        Ok(Status {
            phase: verification.phase(call.now),
            attempts_left: verification.left,
            expires: verification.expires,
            resend: limits.next_send(
                Door::Http,
                &number,
                verification.sends,
                verification.expires,
            ),
            channel: verification.channel,
            reference,
        })
    }

    /// Redeems a success, so that only one request of a backend is told that the number was verified. The success must
    /// be at most [`REDEEMABLE`] old.
    ///
    /// # Errors
    ///
    /// The success cannot be redeemed: there is none, it is too old, or it has been redeemed before.
    pub async fn redeem(
        &self,
        request: &VerificationRequest,
        call: &mut Call<'_>,
    ) -> Result<ReferenceId, Error> {
        self.redeem_once(request, REDEEMABLE, call).await
    }

    /// Redeems a success for a sign-up. The same request can be repeated for a minute only. Later, the user may have
    /// been deleted and created again, and the new user needs a new proof.
    ///
    /// # Errors
    ///
    /// As [`redeem`](Self::redeem).
    pub async fn redeem_for_sign_up(
        &self,
        request: &VerificationRequest,
        call: &mut Call<'_>,
    ) -> Result<ReferenceId, Error> {
        self.redeem_once(request, SIGN_UP_REPLAY, call).await
    }

    /// Redeems a success. The same redeemer can repeat its request for `repeatable`.
    async fn redeem_once(
        &self,
        request: &VerificationRequest,
        repeatable: Duration,
        call: &mut Call<'_>,
    ) -> Result<ReferenceId, Error> {
        self.check_number(&request.to, None, call)?;
        let limits = self.ledger()?;
        if !call.caller.is_trusted() {
            return Err(Error::new(
                ErrorCode::Unauthenticated,
                "Only a trusted caller can redeem a success.",
            )
            .with_field("claim"));
        }
        let reference = request.reference.resolve(&request.to);
        let redeemer = limits.redeemer(&call.caller, &request.to)?;
        let time = call.time_to_record();
        let (item, mut seen) = time
            .run(self.find("status", request, limits, call))
            .await
            .map_err(|error| error.if_ledger_unavailable(NOT_REDEEMED))?;
        // The last round of this loop judges the verification and changes nothing. This round is needed because an
        // earlier round may have redeemed the success although the response of the ledger was lost.
        for tries_left in (0..=TRIES).rev() {
            let generation =
                match refusals::judge_redeem(seen.as_ref(), &redeemer, repeatable, call.now) {
                    RedeemVerdict::Redeemable(_) if tries_left == 0 => break,
                    RedeemVerdict::Redeemable(generation) => generation,
                    RedeemVerdict::SameRedeemer => return Ok(reference),
                    RedeemVerdict::Refused(error) => return Err(error),
                };
            let step = limits.store.redeem(&item, generation, &redeemer, call.now);
            let outcome = time
                .run(async { Ok(step.await?) })
                .await
                .map_err(|error| error.if_ledger_unavailable(MAYBE_REDEEMED))?;
            match outcome {
                Transition::Applied => return Ok(reference),
                Transition::Refused(now_seen) => seen = now_seen,
            }
        }
        Err(refusals::in_progress(CHANGES_ALL_THE_TIME))
    }

    /// Ends an open verification and returns its phase. A verification that has already ended does not change.
    ///
    /// # Errors
    ///
    /// `verification_not_found`; `route_not_found` without a ledger.
    pub async fn cancel(
        &self,
        request: &VerificationRequest,
        call: &mut Call<'_>,
    ) -> Result<(ReferenceId, Phase), Error> {
        self.check_number(&request.to, None, call)?;
        let limits = self.ledger()?;
        let reference = request.reference.resolve(&request.to);
        let time = call.time_to_record();
        let (item, mut seen) = time
            .run(self.find("cancel", request, limits, call))
            .await
            .map_err(|error| error.if_ledger_unavailable(NOT_CANCELED))?;
        // The last round only judges, as in `redeem_once`.
        for tries_left in (0..=TRIES).rev() {
            let open = seen.ok_or_else(refusals::not_found)?;
            if !open.is_open(call.now) {
                return Ok((reference, open.phase(call.now)));
            }
            if tries_left == 0 {
                break;
            }
            let step = limits.store.cancel(&item, open.generation, call.now);
            let outcome = time
                .run(async { Ok(step.await?) })
                .await
                .map_err(|error| error.if_ledger_unavailable(MAYBE_CANCELED))?;
            match outcome {
                Transition::Applied => return Ok((reference, Phase::Canceled)),
                Transition::Refused(now_seen) => seen = now_seen,
            }
        }
        Err(refusals::in_progress(CHANGES_ALL_THE_TIME))
    }

    /// Counts a request for the caller's address, and finds the item that it is about.
    async fn find_item(
        &self,
        operation: &str,
        request: &VerificationRequest,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<ItemName, Error> {
        limits
            .count_source(operation, &call.caller, call.now)
            .await?;
        self.item_of(request, limits, call).await
    }

    /// As `find_item`, and reads the verification in the item.
    async fn find(
        &self,
        operation: &str,
        request: &VerificationRequest,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<(ItemName, Option<Verification>), Error> {
        let item = self.find_item(operation, request, limits, call).await?;
        let seen = limits.store.verification(&item).await?;
        Ok((item, seen))
    }

    /// Clears the failed guesses of a number, for an operator.
    ///
    /// # Errors
    ///
    /// `ledger_unavailable`; `route_not_found` without a ledger.
    pub async fn unlock(&self, number: &PhoneNumber, call: &Call<'_>) -> Result<(), Error> {
        let limits = self.ledger()?;
        let unlock = async {
            let sign_in = limits.has_sign_ins().then_some(Door::SignIn);
            let device = limits.devices_kept().map(|_| Door::Device);
            for door in [Door::Http].into_iter().chain(sign_in).chain(device) {
                let item = limits.hasher.number_at(door, number);
                limits.store.unlock(&item, call.now).await?;
            }
            Ok(())
        };
        let unlocked = call.time_to_record().run(unlock).await;
        unlocked.map_err(|error| error.if_ledger_unavailable(MAYBE_UNLOCKED))
    }

    /// The item name of a number, for an operator who blocks or allows the number.
    ///
    /// # Errors
    ///
    /// `route_not_found` without a ledger.
    pub fn key_of(&self, number: &PhoneNumber) -> Result<String, Error> {
        let limits = self.ledger()?;
        Ok(limits.hasher.number(number).as_str().to_owned())
    }

    /// The budgets of all doors together, as `BUDGETS` and `COUNTRY_LIMITS` would have them. `None` without a ledger.
    #[must_use]
    pub fn budgets(&self) -> Option<[String; 2]> {
        let budgets = self.limits.as_ref()?.joint_budgets();
        Some([budgets.all_listed(), budgets.countries_listed()])
    }

    /// The chance of a right guess at one number, at most, and its period. `None` without a ledger, which counts guesses.
    #[must_use]
    pub fn guess_chance(&self) -> Option<String> {
        let limits = self.limits.as_ref()?;
        Some(limits.policy.guess_chance.to_string())
    }
}
