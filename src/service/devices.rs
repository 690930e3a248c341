//! The door for devices that have verified a number before. Strangers can use up the messages and guesses of a number
//! over HTTP, and lock the number. A part of each limit over HTTP is therefore kept for such devices.
//!
//! The door opens only for a request that HTTP has refused because of a limit of which devices have a part. So a request
//! that is not refused takes the same steps with a token and without.

use super::guess::Guess;
use super::{Call, Caller, Limits, refusals};
use crate::device::DeviceToken;
use crate::error::{Error, ErrorCode};
use crate::ledger::{Charge, Door, NumberCharge, SUCCESS_REPLAY, Unavailable};
use crate::phone::PhoneNumber;
use crate::reference::ReferenceId;
use futures_util::future::join;
use std::time::Duration;

impl Limits {
    /// Whether the caller gives a token, and tokens are in use. The token may be of another number, or too old.
    pub(super) fn has_device(&self, caller: &Caller) -> bool {
        self.devices_kept().is_some() && caller.device.is_some()
    }

    /// Whether the caller's device has verified this number, and is still remembered.
    async fn knows_device(&self, to: &PhoneNumber, call: &Call<'_>) -> Result<bool, Unavailable> {
        match &call.caller.device {
            Some(token) if self.has_device(&call.caller) => {
                let item = self.hasher.device(token, to);
                self.store.knows_device(&item, call.now).await
            }
            _ => Ok(false),
        }
    }

    /// Whether a send that HTTP has refused may go through the door for devices.
    pub(super) async fn is_for_device(
        &self,
        refusal: &Error,
        to: &PhoneNumber,
        call: &Call<'_>,
    ) -> Result<bool, Unavailable> {
        Ok(refusal.opens_reserve() && self.knows_device(to, call).await?)
    }

    /// The failures at which the reserve of a number's devices is locked.
    ///
    /// Another door can have more failures than its part: from before the operator has split the limit. These failures
    /// are taken from the part of devices, so that all parts together stay within the limit.
    pub(super) async fn device_lock(&self, to: &PhoneNumber) -> Result<u32, Unavailable> {
        let excess = async |door| {
            let item = self.hasher.number_at(door, to);
            let number = self.store.number(&item).await?;
            Ok::<_, Unavailable>(number.failures.saturating_sub(self.lock_at(door)))
        };
        let of_sign_ins = async {
            if self.has_sign_ins() {
                excess(Door::SignIn).await
            } else {
                Ok(0)
            }
        };
        let (over_http, in_sign_ins) = join(excess(Door::Http), of_sign_ins).await;
        let excess = over_http?.saturating_add(in_sign_ins?);
        Ok(self.lock_at(Door::Device).saturating_sub(excess))
    }

    /// Charges a guess to the devices of its number, because the number is locked over HTTP.
    pub(super) async fn charge_device(
        &self,
        guess: &mut Guess,
        to: &PhoneNumber,
        call: &Call<'_>,
    ) -> Result<Charge, Error> {
        if !self.knows_device(to, call).await? {
            return Err(refusals::locked());
        }
        let lock = self.device_lock(to).await?;
        let item = self.hasher.number_at(Door::Device, to);
        match self.store.charge_number(&item, lock, call.now).await? {
            NumberCharge::Charged(charge) => {
                guess.door = Door::Device;
                guess.number_item = item;
                Ok(charge)
            }
            NumberCharge::Locked => Err(refusals::locked()),
        }
    }

    /// Remembers the device whose guess was right, and returns its token. `None` if devices are not remembered, or if
    /// the ledger fails: the success counts without a token, too.
    pub(super) async fn remember_device(
        &self,
        guess: &Guess,
        reference: &ReferenceId,
        to: &PhoneNumber,
        call: &mut Call<'_>,
    ) -> Option<DeviceToken> {
        // An app that signs in with Cognito could not give the token back at its next sign-in. And whoever knows the
        // fixed code of a test number could keep a token beyond the last day of the test number. A success can be
        // repeated a moment after that day.
        let no_longer_test = call.now.minus(SUCCESS_REPLAY);
        let is_test = self.test_number(to, no_longer_test).is_some();
        let gets_token = guess.door != Door::SignIn && !is_test;
        let kept = self.devices_kept().filter(|_| gets_token)?;
        let token = self.hasher.device_token(&guess.winner, reference, to);
        let item = self.hasher.device(&token, to);
        let expires = call.now.plus(kept);
        let mut is_remembered = false;
        let remember = async {
            self.store.remember_device(&item, expires).await?;
            is_remembered = true;
            Ok(())
        };
        call.best_effort("device", remember).await;
        is_remembered.then_some(token)
    }
}

/// The refusal that ends sooner, of the refusals at two doors.
pub(super) fn sooner(at_http: Error, at_device: Error) -> Error {
    let is_limit = matches!(
        at_device.code(),
        ErrorCode::DestinationLocked | ErrorCode::ResendTooSoon | ErrorCode::RateLimited
    );
    if !is_limit {
        return at_device;
    }
    // A lock has no end.
    let wait = |error: &Error| {
        error
            .retry_after_seconds()
            .map_or(Duration::MAX, Duration::from_secs)
    };
    if wait(&at_device) < wait(&at_http) {
        at_device
    } else {
        at_http
    }
}
