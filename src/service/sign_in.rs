//! The sign-in with Cognito. A sign-in uses the user's open code, or sends a code if there is no open one. If no code
//! can be sent to a user, the sign-in looks the same to the app.

use super::SignInCaller;
use super::idempotency::Reservation;
use super::send_plan::SendPlan;
use super::sign_in_send::SignInSend;
use super::{
    Call, Caller, Limits, MAX_SENDS, Reference, SendRequest, Service, VerifyRequest, minutes,
};
use crate::error::Error;
use crate::language::Tag;
use crate::ledger::{DECOY_ITEM, Holder, ItemName, Number, SessionDigest, Verification};
use crate::otp::Otp;
use crate::phone::{Country, PhoneNumber};
use crate::policy::{AllowedCountries, Wait};
use crate::reference::ReferenceId;
use crate::time::Millis;

/// A sign-in, with the facts that each of its steps gets.
#[derive(Debug, Clone)]
pub struct SignIn {
    pub user: User,
    /// The user's number; a made-up one if the user has none.
    pub number: PhoneNumber,
    pub language: Tag,
    pub session: Session,
}

/// The user who signs in. A code works for this pool, client and user name only.
#[derive(Debug, Clone, Default)]
pub struct User {
    pub pool: String,
    pub client: String,
    pub name: String,
}

/// One sign-in at Cognito, from its first challenge to its end.
#[derive(Debug, Clone)]
pub struct Session {
    /// A random name that this program does not store: only Cognito keeps it.
    pub name: String,
    /// Whether the user cannot be sent a code. A decoy sends no message, never asks the provider, and never succeeds.
    pub is_decoy: bool,
}

/// The question to the person: how far the code is, and how long it can be used.
#[derive(Debug)]
pub struct Challenge {
    pub state: ChallengeState,
    /// Guesses left for this session.
    pub left: u8,
    pub code_length: u8,
    pub expires: Millis,
    /// When the next code can be sent.
    pub resend: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeState {
    /// A code was sent for this session.
    Sent,
    /// This session uses a code that was sent for another session of the same user.
    Adopted,
    /// The session's code is still valid.
    TryAgain,
    /// The session's code is no longer valid, or has no guess left for this session.
    Ended,
}

/// The names of a sign-in's items in the ledger.
pub(super) struct SignInItems {
    pub(super) reference: ReferenceId,
    pub(super) verification: ItemName,
    pub(super) owner: SessionDigest,
}

impl Service {
    /// Begins a sign-in: uses the user's open code, or sends one.
    ///
    /// No code is sent to a user who is unknown, blocked, over a limit or in no allowed country. The challenge looks as
    /// if a code had been sent. Only the log has the reason.
    ///
    /// # Errors
    ///
    /// There is no ledger, or it cannot be reached.
    pub async fn begin_sign_in(
        &self,
        sign_in: &SignIn,
        call: &mut Call<'_>,
    ) -> Result<Challenge, Error> {
        let limits = self.ledger()?;
        let now = call.now;
        let items = items(limits, sign_in);
        let seen = limits.store.verification(&items.verification).await?;
        let challenge =
            |open: &Verification, state| self.challenge(limits, &items.owner, open, state, now);
        let seen = match seen {
            Some(open) if open.is_open(now) => {
                return Ok(challenge(&open, ChallengeState::Adopted));
            }
            seen => seen,
        };
        let request = self.sign_in_request(&items, sign_in);
        let send = SignInSend {
            plan: SendPlan::start(&request, seen, now),
            request: &request,
            key: Reservation::NoKey,
            holder: Holder::random()?,
        };
        let is_own = self.send_for_sign_in(limits, sign_in, send, call).await?;
        let state = if is_own {
            ChallengeState::Sent
        } else {
            ChallengeState::Adopted
        };
        let seen = limits.store.verification(&items.verification).await?;
        let open = seen.filter(|seen| seen.is_open(now));
        Ok(open.map_or_else(|| self.ended(now), |open| challenge(&open, state)))
    }

    /// The next challenge of a sign-in after a wrong answer. No message is sent.
    ///
    /// # Errors
    ///
    /// There is no ledger, or it cannot be reached.
    pub async fn continue_sign_in(
        &self,
        sign_in: &SignIn,
        call: &mut Call<'_>,
    ) -> Result<Challenge, Error> {
        let limits = self.ledger()?;
        let now = call.now;
        let items = items(limits, sign_in);
        let seen = limits.store.verification(&items.verification).await?;
        let open = seen.filter(|seen| seen.is_open(now));
        Ok(open.map_or_else(
            || self.ended(now),
            |open| self.challenge(limits, &items.owner, &open, ChallengeState::TryAgain, now),
        ))
    }

    /// The challenge of a sign-in that has no valid code.
    fn ended(&self, now: Millis) -> Challenge {
        Challenge {
            state: ChallengeState::Ended,
            left: 0,
            code_length: self.rules.defaults.code_length,
            expires: now,
            resend: now,
        }
    }

    /// Sends a further code for a sign-in, under the limits of every send. If the code has expired, nothing is sent.
    ///
    /// `nonce` identifies the question that the user has answered with `resend`. Cognito may deliver this answer
    /// several times, but all deliveries together cause only one message.
    ///
    /// # Errors
    ///
    /// Nothing was sent. Only the log may show why.
    pub async fn resend_for_sign_in(
        &self,
        sign_in: &SignIn,
        nonce: &str,
        call: &mut Call<'_>,
    ) -> Result<(), Error> {
        let limits = self.ledger()?;
        let now = call.now;
        let items = items(limits, sign_in);
        let seen = limits.store.verification(&items.verification).await?;
        let Some(open) = seen.filter(|seen| seen.is_open(now)) else {
            return Ok(());
        };
        let shown = self.challenge(limits, &items.owner, &open, ChallengeState::TryAgain, now);
        // A session without a guess left is about to end, so a message for it would be useless.
        if shown.state == ChallengeState::Ended {
            return Ok(());
        }
        let request = self.sign_in_request(&items, sign_in);
        let plan = SendPlan::resend(&request, open, self.provider_limits(), now)?;
        if shown.resend > now {
            let wait = Wait {
                until: Some(shown.resend),
                guesses: false,
                opens_reserve: false,
            };
            return Err(plan.refusal(wait, now));
        }
        let caller = Caller {
            idempotency_key: Some(format!("resend {nonce}")),
            ..cognito(sign_in)
        };
        let mut call = call.with_caller(caller);
        let holder = Holder::random()?;
        let key = limits
            .reserve_key(&request, holder, false, &mut call)
            .await?;
        if !matches!(key, Reservation::Reserved(_)) {
            return Ok(());
        }
        let send = SignInSend {
            request: &request,
            plan,
            key,
            holder,
        };
        self.send_for_sign_in(limits, sign_in, send, &mut call)
            .await
            .map(drop)
    }

    /// Verifies the code of a sign-in.
    ///
    /// `nonce` identifies the question. Cognito may deliver an answer up to three times. So the same right answer to
    /// the same question succeeds again for twenty seconds. If the same code is given as the answer to any other
    /// question, the code is refused as used.
    ///
    /// # Errors
    ///
    /// The code is refused, or there is no verdict.
    pub async fn answer_sign_in(
        &self,
        sign_in: &SignIn,
        otp: Otp,
        nonce: &str,
        call: &mut Call<'_>,
    ) -> Result<(), Error> {
        let items = items(self.ledger()?, sign_in);
        let caller = Caller {
            idempotency_key: Some(nonce.to_owned()),
            session: Some(items.owner),
            sign_in: Some(SignInCaller {
                is_decoy: sign_in.session.is_decoy,
                reference: items.reference.clone(),
            }),
            ..cognito(sign_in)
        };
        let request = VerifyRequest {
            to: sign_in.number.clone(),
            otp,
            reference: Reference::Given(items.reference),
        };
        self.verify(&request, &mut call.with_caller(caller))
            .await
            .map(drop)
    }

    /// The number to show for a user without a number. If the user name is a phone number, this number is shown. If the
    /// user name is not a phone number, the shown number is made up, and is the same at every try.
    #[must_use]
    pub fn made_up_number(&self, user: &User) -> Option<PhoneNumber> {
        // Old spellings are corrected as in a stored number. Otherwise an old spelling would show who has an account.
        if let Ok(number) = self.rules.extra_prefixes.read_stored(&user.name) {
            return Some(number);
        }
        // The made-up number is the same for all clients of a pool, as a real number is. Its country can be any of the
        // allowed countries. If all made-up numbers were of one country, a number of another country would reveal a
        // real user.
        let hasher = &self.limits.as_ref()?.hasher;
        let name = folded(&user.name);
        let countries = match &self.rules.allowed_countries {
            AllowedCountries::Only(countries) => countries.clone(),
            AllowedCountries::Any => Country::all().collect(),
        };
        // The country has a hash of its own, so that no digit of the number depends on the country.
        let country = hasher.bytes(&["stand-in country", &user.pool, &name]);
        let drawn = u128::from_be_bytes(country) % u128::try_from(countries.len().max(1)).ok()?;
        let (others, first) = countries.split_at(usize::try_from(drawn).ok()?);
        let digits = hasher.bytes(&["stand-in", &user.pool, &name]);
        first
            .iter()
            .chain(others)
            .find_map(|country| PhoneNumber::stand_in(*country, digits))
    }

    fn sign_in_request(&self, items: &SignInItems, sign_in: &SignIn) -> SendRequest {
        let defaults = &self.rules.defaults;
        SendRequest {
            to: sign_in.number.clone(),
            brand_name: defaults.brand_name.clone(),
            source: defaults.source.clone(),
            language: sign_in.language.clone(),
            channel: self.provider_limits().usual_channel(),
            code_length: defaults.code_length,
            validity_minutes: defaults.validity_minutes,
            allowed_attempts: defaults.allowed_attempts,
            reference: Some(items.reference.clone()),
            owner: Some(items.owner.clone()),
        }
    }

    fn challenge(
        &self,
        limits: &Limits,
        owner: &SessionDigest,
        open: &Verification,
        state: ChallengeState,
        now: Millis,
    ) -> Challenge {
        // The last guess is reserved for the session that owns the code. If any session could spend the last guess,
        // anyone who knows the user name could spend the last guess.
        let left = if open.owner.as_ref() == Some(owner) {
            open.left
        } else {
            open.left.saturating_sub(1)
        };
        let resend = self.next_send_of_sign_in(limits, open).max(now);
        // Without a guess left, this session has to wait until the code expires.
        let (state, resend) = if left == 0 {
            (ChallengeState::Ended, resend.max(open.expires))
        } else {
            (state, resend)
        };
        Challenge {
            state,
            left,
            code_length: open.code_length,
            expires: open.expires,
            resend,
        }
    }

    /// When the next code of a sign-in can be asked for. The windows are read as if the number had got only the codes
    /// of this verification. So the result does not show whether the number got other messages, or none at all.
    fn next_send_of_sign_in(&self, limits: &Limits, open: &Verification) -> Millis {
        let validity = minutes(self.rules.defaults.validity_minutes);
        let last = match open.sends {
            0 | 1 => open.first,
            // A resend has moved the expiry, so the expiry gives the time of the last send.
            _ => open.expires.minus(validity).max(open.first),
        };
        let sends = match open.sends {
            0 | 1 => vec![last],
            _ => vec![last, open.first],
        };
        let alone = Number {
            sends,
            ..Number::default()
        };
        let next = limits.sign_in.send_limits.next_send(&alone);
        if open.sends >= MAX_SENDS {
            next.max(open.expires)
        } else {
            next
        }
    }
}

/// The names of a sign-in in the ledger: its verification, its reference and its owner. The verification belongs to all
/// sessions of a user together, so a second session uses the open code.
pub(super) fn items(limits: &Limits, sign_in: &SignIn) -> SignInItems {
    let User { pool, client, name } = &sign_in.user;
    let hasher = &limits.hasher;
    let (kind, name) = if sign_in.session.is_decoy {
        (DECOY_ITEM, folded(name))
    } else {
        ("", name.clone())
    };
    let reference = hasher.sign_in(&[kind, pool, client, &name], &sign_in.number);
    SignInItems {
        verification: hasher.verification(&reference, &sign_in.number),
        reference,
        owner: hasher.session(&sign_in.session.name),
    }
}

/// A user name in the form in which a pool compares names. If a user is known, Cognito passes on the name as it is
/// stored. If a user is unknown, Cognito passes on the name as it was typed. So two spellings of an unknown name must
/// be made to look like one user.
fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

fn cognito(sign_in: &SignIn) -> Caller {
    let User { pool, client, .. } = &sign_in.user;
    Caller {
        principal: Some(format!("cognito {pool} {client}")),
        ..Caller::default()
    }
}
