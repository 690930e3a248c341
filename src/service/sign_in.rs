//! Codes for signing in: taken up where one is open, sent where none is, and the same to look at for whoever has none.

use super::limits::{IdempotencyState, Limits};
use super::{
    Caller, DECOY, MOST_SENDS, Moment, Reference, SendRequest, Service, VerifyRequest, minutes,
    no_ledger,
};
use crate::error::Error;
use crate::language::Tag;
use crate::ledger::{
    ItemName, Number, Opening, REMEMBERED_SENDS, Resend, Reservation, SessionDigest, Settled,
    State, Unavailable, Verification,
};
use crate::otp::Otp;
use crate::phone::PhoneNumber;
use crate::policy::AllowedCountries;
use crate::reference::ReferenceId;
use crate::telemetry::Record;
use crate::time::Millis;
use futures_util::future::join;

/// A sign-in, as one of its steps knows it.
#[derive(Debug)]
pub struct SignIn {
    /// The pool, the client and the user's name in the pool: a code is good for these alone.
    pub user: [String; 3],
    /// The user's number; for a user who has none, one that stands for it.
    pub number: PhoneNumber,
    /// The language of the text.
    pub language: Tag,
    /// The session.
    pub session: Session,
}

/// A sign-in session.
#[derive(Debug, Clone)]
pub struct Session {
    /// A name that nobody else knows.
    pub name: String,
    /// How deep in decoy it is. From 1 on it only looks like one: it gets no text, asks the provider nothing, and never
    /// succeeds.
    pub decoy: u8,
}

/// What the person is asked for.
#[derive(Debug)]
pub struct Challenge {
    /// How it came to this.
    pub state: ChallengeState,
    /// How deep in decoy the session is from now on.
    pub decoy: u8,
    /// Guesses that the session has left.
    pub left: u8,
    /// Digits of the code.
    pub code_length: u8,
    /// When the code ends.
    pub expires: Millis,
    /// When the next may be sent.
    pub resend: Millis,
}

/// How it came to a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeState {
    /// A code was sent for this session.
    Sent,
    /// A code that was sent for another session of the same user is good for this one.
    Adopted,
    /// The code of this session is still good.
    TryAgain,
    /// It no longer is.
    Ended,
}

/// How often a sign-in can fall deeper into decoy.
const FALLS: u8 = 3;

/// Where a sign-in's code is kept.
struct Place {
    reference: ReferenceId,
    verification: ItemName,
    number: ItemName,
    owner: SessionDigest,
}

impl Service {
    /// Begins a sign-in: takes up the user's open code, or sends one.
    ///
    /// A user who cannot be sent one (blocked, over a limit, in no allowed country) is not told so: the sign-in becomes
    /// a decoy, and the reason is in the log alone.
    ///
    /// # Errors
    ///
    /// The ledger is not there, or cannot be reached.
    pub async fn begin_sign_in(
        &self,
        sign_in: &SignIn,
        moment: Moment,
        record: &mut Record,
    ) -> Result<Challenge, Error> {
        let guard = self.guard.as_ref().ok_or_else(no_ledger)?;
        if sign_in.session.decoy > 0 {
            return self.begin_in_decoy(guard, sign_in, moment, record).await;
        }
        if let Some(adopted) = self
            .look(guard, sign_in, ChallengeState::Adopted, moment.millis())
            .await?
        {
            return Ok(adopted);
        }
        let request = SendRequest {
            unless_open: true,
            ..self.sign_in_request(guard, sign_in)
        };
        let reason = self
            .send(&request, &cognito(sign_in), moment, record)
            .await
            .err();
        // What may have left is open as well; and what another delivery of this very trigger sent meanwhile.
        let state = match &reason {
            Some(error) if !error.is_delivery_unknown() => ChallengeState::Adopted,
            _ => ChallengeState::Sent,
        };
        if let Some(error) = &reason {
            record.outcome = error.code().name();
            record.limit = error.limit();
            record.cause = error.cause().map(str::to_owned);
        }
        if let Some(open) = self.look(guard, sign_in, state, moment.millis()).await? {
            return Ok(open);
        }
        self.begin_in_decoy(guard, sign_in, moment, record).await
    }

    /// What a sign-in comes to after an answer that was not right: nothing is sent here.
    ///
    /// # Errors
    ///
    /// The ledger is not there, or cannot be reached.
    pub async fn go_on_with_sign_in(
        &self,
        sign_in: &SignIn,
        moment: Moment,
    ) -> Result<Challenge, Error> {
        let guard = self.guard.as_ref().ok_or_else(no_ledger)?;
        let now = moment.millis();
        let open = self
            .look(guard, sign_in, ChallengeState::TryAgain, now)
            .await?;
        Ok(open.unwrap_or(Challenge {
            state: ChallengeState::Ended,
            decoy: sign_in.session.decoy,
            left: 0,
            code_length: self.rules.defaults.code_length,
            expires: now,
            resend: now,
        }))
    }

    /// Sends the code of a sign-in again, under the limits of any send. `nonce` is of one question: the same question
    /// sends once, however often it is delivered. A code that has ended is not sent again.
    ///
    /// # Errors
    ///
    /// Why not; nobody but the log is told.
    pub async fn resend_for_sign_in(
        &self,
        sign_in: &SignIn,
        nonce: &str,
        moment: Moment,
        record: &mut Record,
    ) -> Result<(), Error> {
        let guard = self.guard.as_ref().ok_or_else(no_ledger)?;
        // A session without a guess left is about to end: a text for it would be for nothing.
        let open = self
            .look(guard, sign_in, ChallengeState::TryAgain, moment.millis())
            .await?;
        if open.is_none_or(|open| open.state == ChallengeState::Ended) {
            return Ok(());
        }
        let caller = Caller {
            idempotency_key: Some(format!("resend {nonce}")),
            ..cognito(sign_in)
        };
        if sign_in.session.decoy > 0 {
            return self
                .resend_decoy(guard, sign_in, &caller, moment.millis(), record)
                .await;
        }
        self.send(
            &self.sign_in_request(guard, sign_in),
            &caller,
            moment,
            record,
        )
        .await
        .map(drop)
    }

    /// Whether `otp` is the code of a sign-in. `nonce` is of one question: the same right answer to the same question is
    /// right again for twenty seconds, and to no other.
    ///
    /// # Errors
    ///
    /// Why it is not, or why there is no verdict.
    pub async fn answer_sign_in(
        &self,
        sign_in: &SignIn,
        otp: Otp,
        nonce: &str,
        moment: Moment,
        record: &mut Record,
    ) -> Result<(), Error> {
        let guard = self.guard.as_ref().ok_or_else(no_ledger)?;
        let place = place(guard, sign_in);
        let caller = Caller {
            idempotency_key: Some(nonce.to_owned()),
            session: Some(place.owner),
            decoy: sign_in.session.decoy,
            ..cognito(sign_in)
        };
        let request = VerifyRequest {
            to: sign_in.number.clone(),
            otp,
            reference: Reference::Given(place.reference),
        };
        self.verify(&request, &caller, moment, record)
            .await
            .map(drop)
    }

    /// A number that stands for a user who has none: the user's name, if it is one, or one that is the same at every try.
    #[must_use]
    pub fn stand_in(&self, user: &[String; 3]) -> Option<PhoneNumber> {
        let [pool, _, name] = user;
        if let Ok(number) = PhoneNumber::parse(name) {
            return Some(number);
        }
        let countries = match &self.rules.allowed_countries {
            AllowedCountries::Only(countries) => countries.clone(),
            AllowedCountries::Any => vec!["US".parse().ok()?],
        };
        // The same whatever the client, as a user's is; and of any country, or one that shows another would be a user.
        let bytes = self.guard.as_ref()?.keys.bytes(&["stand-in", pool, name]);
        let (others, first) = countries.split_at(usize::from(bytes[15]) % countries.len().max(1));
        first
            .iter()
            .chain(others)
            .find_map(|country| PhoneNumber::stand_in(*country, bytes))
    }

    fn sign_in_request(&self, guard: &Limits, sign_in: &SignIn) -> SendRequest {
        let place = place(guard, sign_in);
        let defaults = &self.rules.defaults;
        SendRequest {
            to: sign_in.number.clone(),
            brand_name: defaults.brand_name.clone(),
            source: defaults.source.clone(),
            language: sign_in.language.clone(),
            channel: self.limits().usual_channel(),
            code_length: defaults.code_length,
            validity_minutes: defaults.validity_minutes,
            allowed_attempts: defaults.allowed_attempts,
            reference: Some(place.reference),
            owner: Some(place.owner),
            unless_open: false,
        }
    }

    /// The sign-in's open code, if there is one. Where its last guess is another session's, this one has come to its end
    /// until the code has.
    async fn look(
        &self,
        guard: &Limits,
        sign_in: &SignIn,
        state: ChallengeState,
        now: Millis,
    ) -> Result<Option<Challenge>, Error> {
        let place = place(guard, sign_in);
        let (seen, number) = join(
            guard.store.verification(&place.verification),
            number_of(guard, sign_in),
        )
        .await;
        let (seen, number) = (seen?, number?);
        Ok(seen.filter(|seen| seen.is_open(now)).map(|open| {
            let own = open.owner.as_ref() == Some(&place.owner);
            // The last guess is its owner's: whoever knows a user's name could spend it otherwise.
            let left = if own {
                open.left
            } else {
                open.left.saturating_sub(1)
            };
            let looked = challenge(guard, sign_in, &open, &number, state, left, now);
            if left > 0 {
                return looked;
            }
            Challenge {
                state: ChallengeState::Ended,
                resend: looked.resend.max(open.expires),
                ..looked
            }
        }))
    }

    /// The ledger's part of a sign-in without its texts.
    ///
    /// A user whose windows hold falls into decoy, where they do not; so does who is in decoy, into a deeper one, or the
    /// times shown would tell them apart. The deepest refuses nothing.
    async fn begin_in_decoy(
        &self,
        guard: &Limits,
        sign_in: &SignIn,
        moment: Moment,
        record: &mut Record,
    ) -> Result<Challenge, Error> {
        let now = moment.millis();
        let channel = self.limits().usual_channel();
        let at = |depth| SignIn {
            user: sign_in.user.clone(),
            number: sign_in.number.clone(),
            language: sign_in.language.clone(),
            session: Session {
                name: sign_in.session.name.clone(),
                decoy: depth,
            },
        };
        // In the first one it goes as it would for a user with this number.
        let first = at(1);
        if let Some(adopted) = self
            .look(guard, &first, ChallengeState::Adopted, now)
            .await?
        {
            return Ok(adopted);
        }
        let sends = guard
            .sends_at_all(&sign_in.number, channel, now, record)
            .await?;
        if sends
            && guard
                .send_limits()
                .wait(&number_of(guard, &first).await?, now)
                .is_none()
        {
            let number = place(guard, &first).number;
            if let Reservation::Reserved(number) = guard
                .store
                .reserve_send(&number, guard.send_limits().windows(), now)
                .await?
            {
                return self.open_decoy(guard, &first, &number, now).await;
            }
        }
        // Who never got so far has one more to fall into, or would come to the deepest one sooner than others.
        let users = guard
            .store
            .verification(&place(guard, sign_in).verification)
            .await?;
        let firsts = guard
            .store
            .verification(&place(guard, &first).verification)
            .await?;
        let never = ![users, firsts]
            .iter()
            .flatten()
            .any(|code| code.state != State::Failed);
        let deepest = 1 + FALLS + u8::from(never);
        let mut depth = 2;
        loop {
            let decoy = at(depth);
            if let Some(adopted) = self
                .look(guard, &decoy, ChallengeState::Adopted, now)
                .await?
            {
                return Ok(adopted);
            }
            if sends || depth == deepest {
                let number = place(guard, &decoy).number;
                match guard
                    .store
                    .reserve_send(&number, guard.send_limits().windows(), now)
                    .await?
                {
                    Reservation::Refused(_) if depth < deepest => {}
                    Reservation::Reserved(number) | Reservation::Refused(number) => {
                        return self.open_decoy(guard, &decoy, &number, now).await;
                    }
                }
            }
            depth += 1;
        }
    }

    /// Writes down the code that a sign-in in decoy would have been sent.
    async fn open_decoy(
        &self,
        guard: &Limits,
        decoy: &SignIn,
        number: &Number,
        now: Millis,
    ) -> Result<Challenge, Error> {
        let place = place(guard, decoy);
        let seen = guard.store.verification(&place.verification).await?;
        let defaults = &self.rules.defaults;
        let opening = Opening {
            state: State::Sent,
            first: now,
            expires: now.plus(minutes(defaults.validity_minutes)),
            left: defaults.allowed_attempts,
            provider: DECOY,
            channel: self.limits().usual_channel().name(),
            code_length: defaults.code_length,
            language: &decoy.language,
            brand_name: &defaults.brand_name,
            owner: Some(&place.owner),
            forget: &[],
        };
        guard
            .store
            .open(
                &place.verification,
                seen.map(|seen| seen.generation),
                &opening,
            )
            .await?;
        let open = self.look(guard, decoy, ChallengeState::Sent, now).await?;
        Ok(open.unwrap_or_else(|| Challenge {
            state: ChallengeState::Sent,
            decoy: decoy.session.decoy,
            left: defaults.allowed_attempts,
            code_length: defaults.code_length,
            expires: opening.expires,
            resend: guard.next_send(number, 1, opening.expires).max(now),
        }))
    }

    async fn resend_decoy(
        &self,
        guard: &Limits,
        sign_in: &SignIn,
        caller: &Caller,
        now: Millis,
        record: &mut Record,
    ) -> Result<(), Error> {
        let place = place(guard, sign_in);
        let Some(open) = guard
            .store
            .verification(&place.verification)
            .await?
            .filter(|seen| seen.is_open(now))
        else {
            return Ok(());
        };
        let claim = guard
            .redeem(&self.sign_in_request(guard, sign_in), caller, now)
            .await?;
        let IdempotencyState::Mine(claimed) = claim else {
            return Ok(());
        };
        let refused = open.sends >= MOST_SENDS
            || !guard
                .sends_at_all(&sign_in.number, self.limits().usual_channel(), now, record)
                .await?
            || sign_in.session.decoy == 1
                && guard
                    .send_limits()
                    .wait(&number_of(guard, sign_in).await?, now)
                    .is_some()
            || matches!(
                guard
                    .store
                    .reserve_send(&place.number, guard.send_limits().windows(), now)
                    .await?,
                Reservation::Refused(_)
            );
        if refused {
            return Ok(guard.store.release_key(&claimed).await?);
        }
        let expires = now
            .plus(minutes(self.rules.defaults.validity_minutes))
            .min(open.first.plus(super::LONGEST));
        let channel = self.limits().usual_channel().name();
        let resend = Resend {
            expires,
            provider: DECOY,
            channel,
            language: &sign_in.language,
        };
        if guard
            .store
            .reopen(&place.verification, open.generation, &resend)
            .await?
        {
            let sent = Settled::Sent { message_id: None };
            guard
                .store
                .settle(&place.verification, open.generation + 1, &sent)
                .await?;
        }
        Ok(guard.store.finish_key(&claimed, None).await?)
    }
}

/// What is known of the number of a sign-in. In the first decoy, texts that its number got over HTTP count as they would for
/// a user who has it: they would show in the times of the one and not of the other.
async fn number_of(guard: &Limits, sign_in: &SignIn) -> Result<Number, Unavailable> {
    let own = place(guard, sign_in).number;
    if sign_in.session.decoy != 1 {
        return guard.store.number(&own).await;
    }
    let (own, real) = join(
        guard.store.number(&own),
        guard.store.number(&guard.keys.number(&sign_in.number)),
    )
    .await;
    let (own, real) = (own?, real?);
    let mut sends = [own.sends, real.sends].concat();
    sends.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
    sends.truncate(REMEMBERED_SENDS);
    Ok(Number {
        sends,
        failures: own.failures.saturating_add(real.failures),
        last_failure: own.last_failure.max(real.last_failure),
    })
}

fn challenge(
    guard: &Limits,
    sign_in: &SignIn,
    open: &Verification,
    number: &Number,
    state: ChallengeState,
    left: u8,
    now: Millis,
) -> Challenge {
    Challenge {
        state,
        decoy: sign_in.session.decoy,
        left,
        code_length: open.code_length,
        expires: open.expires,
        resend: guard.next_send(number, open.sends, open.expires).max(now),
    }
}

fn place(guard: &Limits, sign_in: &SignIn) -> Place {
    let [pool, client, name] = sign_in.user.each_ref().map(String::as_str);
    let keys = &guard.keys;
    let (reference, number) = match sign_in.session.decoy {
        0 => (
            keys.sign_in(&["", pool, client, name], &sign_in.number),
            keys.number(&sign_in.number),
        ),
        depth => {
            let decoy = format!("shadow {depth}");
            let reference = keys.sign_in(&[&decoy, pool, client, name], &sign_in.number);
            (reference, keys.decoy_number(&sign_in.number, depth))
        }
    };
    let verification = keys.verification(&reference, &sign_in.number);
    Place {
        reference,
        verification,
        number,
        owner: keys.session(&sign_in.session.name),
    }
}

fn cognito(sign_in: &SignIn) -> Caller {
    let [pool, client, _] = &sign_in.user;
    Caller {
        principal: Some(format!("cognito {pool} {client}")),
        ..Caller::default()
    }
}
