//! Signing in with Cognito: uses the user's open code or sends one. Users who cannot be sent a code get a decoy, which
//! looks the same.

use super::{Call, Caller, Limits, Reference, SendRequest, Service, VerifyRequest};
use crate::error::Error;
use crate::language::Tag;
use crate::ledger::{DECOY_ITEM, ItemName, Number, SessionDigest, Verification};
use crate::otp::Otp;
use crate::phone::PhoneNumber;
use crate::policy::AllowedCountries;
use crate::reference::ReferenceId;
use crate::time::Millis;
use futures_util::future::join;

/// A sign-in, as one of its steps knows it.
#[derive(Debug, Clone)]
pub struct SignIn {
    pub user: User,
    /// The user's number; a made-up one if the user has none.
    pub number: PhoneNumber,
    pub language: Tag,
    pub session: Session,
}

/// Who signs in. A code works for this pool, client and user name only.
#[derive(Debug, Clone, Default)]
pub struct User {
    pub pool: String,
    pub client: String,
    pub name: String,
}

/// A sign-in session.
#[derive(Debug, Clone)]
pub struct Session {
    /// A random name that only Cognito keeps.
    pub name: String,
    /// The depth of the decoy; 0 for a real session. A decoy gets no message, never asks the provider, and never succeeds.
    pub decoy: u8,
}

/// What the person is asked for.
#[derive(Debug)]
pub struct Challenge {
    pub state: ChallengeState,
    /// The depth of the session's decoy from now on; 0 if it is real.
    pub decoy: u8,
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
    pub(super) number: ItemName,
    pub(super) owner: SessionDigest,
}

impl Service {
    /// Begins a sign-in: uses the user's open code, or sends one.
    ///
    /// A user who cannot be sent a code (blocked, over a limit, in no allowed country) gets a decoy instead of an error.
    /// Only the log has the reason.
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
        if sign_in.session.decoy > 0 {
            return self.begin_decoy(limits, sign_in, call).await;
        }
        let adopted = ChallengeState::Adopted;
        if let Some(challenge) = self
            .open_challenge(limits, sign_in, adopted, call.now)
            .await?
        {
            return Ok(challenge);
        }
        let request = SendRequest {
            unless_open: true,
            ..self.sign_in_request(limits, sign_in)
        };
        let sent = self
            .send(&request, &mut call.with_caller(cognito(sign_in)))
            .await;
        // An unclear send leaves the code open as well. A refused one does only if another delivery of this trigger has
        // meanwhile sent the code.
        let state = match &sent {
            Err(error) if !error.is_delivery_unknown() => ChallengeState::Adopted,
            _ => ChallengeState::Sent,
        };
        if let Err(error) = &sent {
            call.failed(error);
        }
        if let Some(challenge) = self
            .open_challenge(limits, sign_in, state, call.now)
            .await?
        {
            return Ok(challenge);
        }
        self.begin_decoy(limits, sign_in, call).await
    }

    /// The next challenge of a sign-in after a wrong answer. It sends nothing.
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
        let try_again = ChallengeState::TryAgain;
        let open = self
            .open_challenge(limits, sign_in, try_again, call.now)
            .await?;
        Ok(open.unwrap_or(Challenge {
            state: ChallengeState::Ended,
            decoy: sign_in.session.decoy,
            left: 0,
            code_length: self.rules.defaults.code_length,
            expires: call.now,
            resend: call.now,
        }))
    }

    /// Sends the code of a sign-in again, under the limits of any send. A code that has expired is not sent again.
    ///
    /// `nonce` identifies the question: however often Cognito delivers the same question, it sends one message.
    ///
    /// # Errors
    ///
    /// Why nothing was sent; only the log may show it.
    pub async fn resend_for_sign_in(
        &self,
        sign_in: &SignIn,
        nonce: &str,
        call: &mut Call<'_>,
    ) -> Result<(), Error> {
        let limits = self.ledger()?;
        let try_again = ChallengeState::TryAgain;
        let open = self
            .open_challenge(limits, sign_in, try_again, call.now)
            .await?;
        // A session without a guess left is about to end, so a message for it would be useless.
        if open.is_none_or(|open| open.state == ChallengeState::Ended) {
            return Ok(());
        }
        let caller = Caller {
            idempotency_key: Some(format!("resend {nonce}")),
            ..cognito(sign_in)
        };
        let mut call = call.with_caller(caller);
        if sign_in.session.decoy > 0 {
            return self.resend_decoy(limits, sign_in, &mut call).await;
        }
        let request = self.sign_in_request(limits, sign_in);
        self.send(&request, &mut call).await.map(drop)
    }

    /// Verifies the code of a sign-in.
    ///
    /// `nonce` identifies the question. The same right answer to the same question succeeds again for twenty seconds,
    /// because Cognito may deliver an answer up to three times. For any other question, the code is used up.
    ///
    /// # Errors
    ///
    /// Why the code is refused, or why there is no verdict.
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
            decoy: sign_in.session.decoy,
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

    /// The number to show for a user who has none: the user name if it is a number, otherwise a made-up number that is the
    /// same at every try.
    #[must_use]
    pub fn made_up_number(&self, user: &User) -> Option<PhoneNumber> {
        // Read as a stored number is. Otherwise an old spelling would show who has an account.
        if let Ok(number) = self.rules.extra_prefixes.read_stored(&user.name) {
            return Some(number);
        }
        let countries = match &self.rules.allowed_countries {
            AllowedCountries::Only(countries) => countries.clone(),
            AllowedCountries::Any => vec!["US".parse().ok()?],
        };
        // It does not depend on the client, because a real number does not. It can be of any country, because otherwise
        // a number of another country would reveal a real user.
        let hasher = &self.limits.as_ref()?.hasher;
        let bytes = hasher.bytes(&["stand-in", &user.pool, &user.name]);
        let start = usize::from(bytes[15]) % countries.len().max(1);
        let (others, first) = countries.split_at(start);
        first
            .iter()
            .chain(others)
            .find_map(|country| PhoneNumber::stand_in(*country, bytes))
    }

    pub(super) fn sign_in_request(&self, limits: &Limits, sign_in: &SignIn) -> SendRequest {
        let items = items(limits, sign_in);
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
            reference: Some(items.reference),
            owner: Some(items.owner),
            unless_open: false,
        }
    }

    /// The challenge for the sign-in's open code, if there is one.
    pub(super) async fn open_challenge(
        &self,
        limits: &Limits,
        sign_in: &SignIn,
        state: ChallengeState,
        now: Millis,
    ) -> Result<Option<Challenge>, Error> {
        let items = items(limits, sign_in);
        let (verification, number) = join(
            limits.store.verification(&items.verification),
            limits.number_of_sign_in(sign_in),
        )
        .await;
        let (verification, number) = (verification?, number?);
        let open = verification.filter(|verification| verification.is_open(now));
        Ok(open.map(|open| challenge(limits, sign_in, &items, &open, &number, state, now)))
    }
}

fn challenge(
    limits: &Limits,
    sign_in: &SignIn,
    items: &SignInItems,
    open: &Verification,
    number: &Number,
    state: ChallengeState,
    now: Millis,
) -> Challenge {
    // The last guess is reserved for the session that the code was sent for. Otherwise anyone who knows a user name could
    // spend it.
    let left = if open.owner.as_ref() == Some(&items.owner) {
        open.left
    } else {
        open.left.saturating_sub(1)
    };
    let resend = limits.next_send(number, open.sends, open.expires).max(now);
    // Without a guess, this session is over until the code expires.
    let (state, resend) = if left == 0 {
        (ChallengeState::Ended, resend.max(open.expires))
    } else {
        (state, resend)
    };
    Challenge {
        state,
        decoy: sign_in.session.decoy,
        left,
        code_length: open.code_length,
        expires: open.expires,
        resend,
    }
}

/// Where the ledger keeps the sign-in. Nothing is stored per session: all sessions of a user share the verification, so
/// a second session uses the open code.
pub(super) fn items(limits: &Limits, sign_in: &SignIn) -> SignInItems {
    let User { pool, client, name } = &sign_in.user;
    let hasher = &limits.hasher;
    let (kind, number) = match sign_in.session.decoy {
        0 => (String::new(), hasher.number(&sign_in.number)),
        depth => (
            format!("{DECOY_ITEM} {depth}"),
            hasher.decoy_number(&sign_in.number, depth),
        ),
    };
    let reference = hasher.sign_in(&[&kind, pool, client, name], &sign_in.number);
    SignInItems {
        verification: hasher.verification(&reference, &sign_in.number),
        reference,
        number,
        owner: hasher.session(&sign_in.session.name),
    }
}

fn cognito(sign_in: &SignIn) -> Caller {
    let User { pool, client, .. } = &sign_in.user;
    Caller {
        principal: Some(format!("cognito {pool} {client}")),
        ..Caller::default()
    }
}
