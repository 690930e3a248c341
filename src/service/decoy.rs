//! Decoys: sign-ins of users who cannot be sent a code. They look like real ones, never send, and never succeed.
//!
//! A real user whose windows are full gets a decoy. So a decoy whose windows are full gets another decoy, one step
//! deeper; otherwise the times shown would reveal which users exist.

use super::idempotency::Reservation as KeyReservation;
use super::sign_in::items;
use super::{
    Call, Challenge, ChallengeState, Limits, MAX_LIFETIME, MAX_SENDS, Service, SignIn, minutes,
};
use crate::error::Error;
use crate::ledger::{
    Holder, Issuer, Number, Opening, REMEMBERED_SENDS, Resend, Reservation, Seen, Settled, State,
    Unavailable, Verification,
};
use crate::time::Millis;
use futures_util::future::join;
use std::cmp::Reverse;

/// How many times a sign-in can get a deeper decoy. One of a user who has never been sent a code can once more.
const MAX_FALLS: u8 = 3;

impl Service {
    /// The ledger's part of a sign-in, without messages. The deepest decoy refuses nothing.
    pub(super) async fn begin_decoy(
        &self,
        limits: &Limits,
        sign_in: &SignIn,
        call: &mut Call<'_>,
    ) -> Result<Challenge, Error> {
        let (now, adopted) = (call.now, ChallengeState::Adopted);
        let windows = limits.send_limits().windows();
        // The first decoy does what would happen to a user with this number.
        let first = at_depth(sign_in, 1);
        if let Some(challenge) = self.open_challenge(limits, &first, adopted, now).await? {
            return Ok(challenge);
        }
        let allowed = self.allows_message(limits, sign_in, None, call).await?;
        let must_wait = async || -> Result<bool, Error> {
            let number = limits.number_of_sign_in(&first).await?;
            Ok(limits.send_limits().wait(&number, now).is_some())
        };
        if allowed && !must_wait().await? {
            let item = items(limits, &first).number;
            let reserved = limits.store.reserve_send(&item, windows, now).await?;
            if let Reservation::Reserved(number) = reserved {
                return self.open_decoy(limits, &first, &number, now).await;
            }
        }
        // A user who has never been sent a code, in earnest or as a decoy, can get one depth more. Otherwise it would
        // reach the deepest one sooner than others.
        let real = limits
            .store
            .verification(&items(limits, sign_in).verification)
            .await?;
        let decoy = limits
            .store
            .verification(&items(limits, &first).verification)
            .await?;
        let never_sent = ![real, decoy]
            .iter()
            .flatten()
            .any(|verification| verification.state != State::Failed);
        let deepest = 1 + MAX_FALLS + u8::from(never_sent);
        let mut depth = 2;
        loop {
            let decoy = at_depth(sign_in, depth);
            if let Some(challenge) = self.open_challenge(limits, &decoy, adopted, now).await? {
                return Ok(challenge);
            }
            if allowed || depth == deepest {
                let item = items(limits, &decoy).number;
                match limits.store.reserve_send(&item, windows, now).await? {
                    Reservation::Refused(_) if depth < deepest => {}
                    Reservation::Reserved(number) | Reservation::Refused(number) => {
                        return self.open_decoy(limits, &decoy, &number, now).await;
                    }
                }
            }
            depth += 1;
        }
    }

    /// Writes the verification of a code that was not sent.
    async fn open_decoy(
        &self,
        limits: &Limits,
        decoy: &SignIn,
        number: &Number,
        now: Millis,
    ) -> Result<Challenge, Error> {
        let items = items(limits, decoy);
        let seen = limits.store.verification(&items.verification).await?;
        let defaults = &self.rules.defaults;
        let opening = Opening {
            state: State::Sent,
            holder: Holder::random()?,
            first: now,
            expires: now.plus(minutes(defaults.validity_minutes)),
            left: defaults.allowed_attempts,
            issuers: &[Issuer::Decoy],
            plain_until: Millis::default(),
            channel: self.provider_limits().usual_channel().name(),
            code_length: defaults.code_length,
            language: &decoy.language,
            brand_name: &defaults.brand_name,
            owner: Some(&items.owner),
            forget: &[],
        };
        let generation = seen.map(|seen| seen.generation);
        limits
            .store
            .open(&items.verification, generation, &opening)
            .await?;
        let sent = ChallengeState::Sent;
        let open = self.open_challenge(limits, decoy, sent, now).await?;
        Ok(open.unwrap_or_else(|| Challenge {
            state: sent,
            decoy: decoy.session.decoy,
            left: defaults.allowed_attempts,
            code_length: defaults.code_length,
            expires: opening.expires,
            resend: limits.next_send(number, 1, opening.expires).max(now),
        }))
    }

    pub(super) async fn resend_decoy(
        &self,
        limits: &Limits,
        sign_in: &SignIn,
        call: &mut Call<'_>,
    ) -> Result<(), Error> {
        let now = call.now;
        let items = items(limits, sign_in);
        let seen = limits.store.verification(&items.verification).await?;
        let Some(open) = seen.filter(|seen| seen.is_open(now)) else {
            return Ok(());
        };
        let request = self.sign_in_request(limits, sign_in);
        let holder = Holder::random()?;
        let reservation = limits.reserve_key(&request, holder, call).await?;
        let KeyReservation::Reserved(key_item) = reservation else {
            return Ok(());
        };
        if open.sends >= MAX_SENDS
            || !self
                .reserve_decoy_resend(limits, sign_in, &open, call)
                .await?
        {
            return Ok(limits.store.release_key(&key_item, holder).await?);
        }
        let latest = open.first.plus(MAX_LIFETIME);
        let validity = minutes(self.rules.defaults.validity_minutes);
        let resend = Resend {
            holder,
            expires: now.plus(validity).min(latest),
            issuers: &[Issuer::Decoy],
            plain_until: Millis::default(),
            channel: self.provider_limits().usual_channel().name(),
            language: &sign_in.language,
        };
        let item = &items.verification;
        if limits.store.reopen(item, Seen::of(&open), &resend).await? {
            let sent = Settled::Sent {
                issuer: &Issuer::Decoy,
                message_id: None,
            };
            limits
                .store
                .settle(item, open.generation + 1, holder, &sent)
                .await?;
        }
        Ok(limits.store.finish_key(&key_item, holder, None).await?)
    }

    /// Whether the limits that hold for everyone would allow the message of a real user here. `open` is the decoy's
    /// verification, if the message would be a resend for it.
    async fn allows_message(
        &self,
        limits: &Limits,
        sign_in: &SignIn,
        open: Option<&Verification>,
        call: &mut Call<'_>,
    ) -> Result<bool, Error> {
        let mut request = self.sign_in_request(limits, sign_in);
        if let Some(open) = open {
            request.brand_name.clone_from(&open.brand_name);
            request.code_length = open.code_length;
        }
        let reference = items(limits, sign_in).reference;
        let country = self.country(&sign_in.number);
        // A number without a country is never sent to, so its budget does not matter.
        let segments = country.map_or(1, |country| {
            let message = self.message(&request, country, &reference);
            self.providers.current.segments(&message)
        });
        let (to, channel) = (&sign_in.number, request.channel);
        limits
            .allows_sends(to, country, channel, segments, call.now)
            .await
    }

    /// Takes a place in the windows of a decoy. False: a resend for a real user would be refused now.
    async fn reserve_decoy_resend(
        &self,
        limits: &Limits,
        sign_in: &SignIn,
        open: &Verification,
        call: &mut Call<'_>,
    ) -> Result<bool, Error> {
        let now = call.now;
        if !self
            .allows_message(limits, sign_in, Some(open), call)
            .await?
        {
            return Ok(false);
        }
        if sign_in.session.decoy == 1 {
            let number = limits.number_of_sign_in(sign_in).await?;
            if limits.send_limits().wait(&number, now).is_some() {
                return Ok(false);
            }
        }
        let item = items(limits, sign_in).number;
        let windows = limits.send_limits().windows();
        let reserved = limits.store.reserve_send(&item, windows, now).await?;
        Ok(matches!(reserved, Reservation::Reserved(_)))
    }
}

impl Limits {
    /// The sends and failures that count for a sign-in. In the first decoy, messages that its number got over HTTP count
    /// as they would for a user with this number; otherwise they would change the times shown to one and not the other.
    pub(super) async fn number_of_sign_in(&self, sign_in: &SignIn) -> Result<Number, Unavailable> {
        let own_item = items(self, sign_in).number;
        if sign_in.session.decoy != 1 {
            return self.store.number(&own_item).await;
        }
        let real_item = self.hasher.number(&sign_in.number);
        let (own, real) = join(self.store.number(&own_item), self.store.number(&real_item)).await;
        let (own, real) = (own?, real?);
        let mut sends = [own.sends, real.sends].concat();
        sends.sort_unstable_by_key(|at| Reverse(*at));
        sends.truncate(REMEMBERED_SENDS);
        Ok(Number {
            sends,
            failures: own.failures.saturating_add(real.failures),
            last_failure: own.last_failure.max(real.last_failure),
        })
    }
}

fn at_depth(sign_in: &SignIn, depth: u8) -> SignIn {
    let mut decoy = sign_in.clone();
    decoy.session.decoy = depth;
    decoy
}
