//! The plan of a send: how the send will change its verification.

use super::refusals;
use super::{Limits, MAX_LIFETIME, MAX_SENDS, SendRequest, minutes};
use crate::error::{Error, ErrorCode};
use crate::ledger::{
    CodeReference, Door, Holder, Issuer, ItemName, Looked, Number, Opening, Resend, Reservation,
    Seen, Settled, State, Verification,
};
use crate::policy::Wait;
use crate::provider::ProviderLimits;
use crate::time::Millis;
use std::time::Duration;

/// How much longer than its validity a code may be good at the provider, whose clock starts when the request arrives.
const PLAIN_MARGIN: Duration = Duration::from_mins(1);

/// A send that has not begun, with the verification as it will be.
#[derive(Debug)]
pub(super) struct SendPlan {
    seen: Option<Verification>,
    /// The open verification in `seen`, if this send is a resend.
    reopens: Option<Seen>,
    pub(super) expires: Millis,
    /// Codes sent for the verification, including this one.
    pub(super) sends: u8,
    /// Guesses left for the verification.
    pub(super) left: u8,
    pub(super) code_length: u8,
    pub(super) brand_name: String,
    /// The validity of the new code at the provider.
    pub(super) validity_minutes: u8,
}

impl SendPlan {
    pub(super) fn start(request: &SendRequest, seen: Option<Verification>, now: Millis) -> Self {
        Self {
            seen,
            reopens: None,
            expires: now.plus(minutes(request.validity_minutes)),
            sends: 1,
            left: request.allowed_attempts,
            code_length: request.code_length,
            brand_name: request.brand_name.clone(),
            validity_minutes: request.validity_minutes,
        }
    }

    pub(super) fn resend(
        request: &SendRequest,
        mut open: Verification,
        provider: &ProviderLimits,
        now: Millis,
    ) -> Result<Self, Error> {
        if open.sends >= MAX_SENDS {
            return Err(Error::new(
                ErrorCode::ResendLimit,
                "The code was sent as often as allowed: use it, cancel it, or wait until it expires.",
            )
            .with_retry_after(open.expires.since(now))
            .with_attempts_left(open.left));
        }
        let latest = open.first.plus(MAX_LIFETIME);
        let expires = now.plus(minutes(request.validity_minutes)).min(latest);
        let validity = expires.since(now).as_secs().div_ceil(60);
        let reopens = Some(Seen::of(&open));
        // An earlier send may have reached the phone, and crashed before it was settled.
        if open.state == State::Reserved {
            open.state = State::Unclear;
        }
        // The provider may have changed since the first code, and the new provider may have other limits.
        let (lengths, validities) = (&provider.code.length, &provider.validity_minutes);
        Ok(Self {
            reopens,
            expires,
            sends: open.sends + 1,
            // A further code brings no further guesses. Otherwise anyone could ask for codes to get more guesses.
            left: open.left,
            code_length: open.code_length.clamp(*lengths.start(), *lengths.end()),
            brand_name: open.brand_name.clone(),
            validity_minutes: u8::try_from(validity)
                .unwrap_or(u8::MAX)
                .clamp(*validities.start(), *validities.end()),
            seen: Some(open),
        })
    }

    pub(super) fn is_resend(&self) -> bool {
        self.reopens.is_some()
    }

    /// Whether no further code can follow this one.
    pub(super) fn is_last_send(&self) -> bool {
        self.sends >= MAX_SENDS
    }

    /// The reference under which the provider will know the code. Usually this is the plain reference, which is the
    /// reference ID itself. With the plain reference, other software can verify the code, too. But if a provider can
    /// still accept an earlier code under the plain reference, the new code gets a reference of its own.
    pub(super) fn code_reference(&self, now: Millis) -> CodeReference {
        if self.earlier_plain_until() > now {
            CodeReference::OfGeneration(self.generation())
        } else {
            CodeReference::Plain
        }
    }

    /// The generation that the new code begins.
    pub(super) fn generation(&self) -> u64 {
        self.seen.as_ref().map_or(0, |seen| seen.generation) + 1
    }

    /// The issuers of the codes that may be valid until the outcome of this send is known, the newest first.
    pub(super) fn issuers(&self, issuer: &Issuer) -> Vec<Issuer> {
        let open = self.seen.as_ref().filter(|_| self.is_resend());
        let earlier = open.map_or(&[][..], |open| &open.issuers);
        let mut all = vec![issuer.clone()];
        // A code gets the plain reference only if no earlier code under the plain reference can still be good. So if
        // the new code and an earlier code both have the plain reference, the earlier code is over.
        let is_over = |earlier: &Issuer| is_plain(issuer) && is_plain(earlier);
        all.extend(earlier.iter().filter(|earlier| !is_over(earlier)).cloned());
        all
    }

    /// Until when a provider may accept a code under the plain reference, once this code has been sent.
    fn plain_until(&self, issuer: &Issuer, now: Millis) -> Millis {
        if is_plain(issuer) {
            now.plus(minutes(self.validity_minutes) + PLAIN_MARGIN)
        } else {
            self.earlier_plain_until()
        }
    }

    /// The issuers whose codes stay valid if this send of a sign-in sends nothing.
    pub(super) fn issuers_without_this_send(&self) -> Vec<Issuer> {
        match self.seen.as_ref().filter(|_| self.is_resend()) {
            Some(open) => open.issuers.clone(),
            None => vec![Issuer::Decoy],
        }
    }

    fn earlier_plain_until(&self) -> Millis {
        self.seen
            .as_ref()
            .map_or(Millis::default(), |seen| seen.plain_until)
    }

    /// The refusal of this send if the number has to wait.
    pub(super) fn refusal(&self, wait: Wait, now: Millis) -> Error {
        let refusal = match (&self.seen, wait.until) {
            (Some(open), Some(until))
                if self.is_resend() && !wait.guesses && until <= open.expires =>
            {
                Error::new(
                    ErrorCode::ResendTooSoon,
                    "A code was requested a moment ago: wait before you request another one.",
                )
                .with_retry_after(until.since(now))
                .with_attempts_left(open.left)
            }
            _ => refusals::number_limited(wait, now),
        };
        if wait.opens_reserve {
            refusal.opening_reserve()
        } else {
            refusal
        }
    }

    /// The verification as it stands if this send sends nothing.
    pub(super) fn without_this_send(&self) -> Settled<'_> {
        match &self.seen {
            Some(open) if self.is_resend() => Settled::Back(open),
            _ => Settled::Failed {
                plain_until: self.earlier_plain_until(),
            },
        }
    }
}

fn is_plain(issuer: &Issuer) -> bool {
    matches!(
        issuer,
        Issuer::Provider {
            reference: CodeReference::Plain,
            ..
        }
    )
}

impl Limits {
    /// Decides whether a send starts a verification or is a resend, and refuses early what a later step would refuse.
    pub(super) async fn plan_send(
        &self,
        request: &SendRequest,
        door: Door,
        Looked {
            verification,
            number,
            counters,
            ..
        }: Looked,
        is_test: bool,
        provider: &ProviderLimits,
        now: Millis,
    ) -> Result<SendPlan, Error> {
        let plan = match verification {
            Some(open) if open.is_open(now) => SendPlan::resend(request, open, provider, now)?,
            seen => SendPlan::start(request, seen, now),
        };
        let wait = match door {
            // A code whose guesses would all be refused is not sent.
            Door::Device if number.failures >= self.device_lock(&request.to).await? => {
                Some(Wait::LOCKED)
            }
            _ => self.of(door).send_limits.wait(&number, now),
        };
        if let Some(wait) = wait.filter(|_| !is_test) {
            return Err(plan.refusal(wait, now));
        }
        self.check_prefix(door, &counters, now)?;
        Ok(plan)
    }

    /// Takes a place in the number's windows. Test numbers need none.
    pub(super) async fn reserve_send(
        &self,
        door: Door,
        item: &ItemName,
        is_test: bool,
        plan: &SendPlan,
        now: Millis,
    ) -> Result<Number, Error> {
        if is_test {
            return Ok(Number::default());
        }
        let limits = &self.of(door).send_limits;
        match self.store.reserve_send(item, limits.windows(), now).await? {
            Reservation::Reserved(number) => Ok(number),
            Reservation::Refused(number) => {
                // If the windows have room again by now, `wait` returns `None`. In this case, another send has taken
                // the last place only a moment ago, so the caller is told to wait a short time.
                let shortest = Wait {
                    until: Some(now.plus(Duration::from_secs(1))),
                    guesses: false,
                    opens_reserve: false,
                };
                let wait = limits.wait(&number, now).unwrap_or(shortest);
                Err(plan.refusal(wait, now))
            }
        }
    }

    /// Writes the verification as it will be if the message is sent. Returns false if another request is changing it.
    pub(super) async fn write_ahead(
        &self,
        request: &SendRequest,
        holder: Holder,
        (item, plan, issuer): (&ItemName, &SendPlan, &Issuer),
        now: Millis,
    ) -> Result<bool, Error> {
        let issuers = &plan.issuers(issuer);
        let plain_until = plan.plain_until(issuer, now);
        Ok(if let Some(seen) = plan.reopens {
            let resend = Resend {
                holder,
                expires: plan.expires,
                issuers,
                plain_until,
                channel: request.channel.name(),
                language: &request.language,
            };
            self.store.reopen(item, seen, &resend).await?
        } else {
            let generation = plan.seen.as_ref().map(|seen| seen.generation);
            let forget = plan
                .seen
                .as_ref()
                .map(|seen| seen.outlived(now))
                .unwrap_or_default();
            let opening = Opening {
                state: State::Reserved,
                holder,
                first: now,
                expires: plan.expires,
                left: plan.left,
                issuers,
                plain_until,
                channel: request.channel.name(),
                code_length: plan.code_length,
                language: &request.language,
                brand_name: &plan.brand_name,
                owner: request.owner.as_ref(),
                forget: &forget,
            };
            self.store.open(item, generation, &opening).await?
        })
    }

    /// When the next code can be sent at a door, by the number's windows and the verification's own limit.
    pub(super) fn next_send(
        &self,
        door: Door,
        number: &Number,
        sends: u8,
        expires: Millis,
    ) -> Millis {
        let next = self.of(door).send_limits.next_send(number);
        if sends >= MAX_SENDS {
            next.max(expires)
        } else {
            next
        }
    }
}
