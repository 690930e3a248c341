//! The steps of a send and a verify that count: what each asks of the ledger, and what a refusal says.

use super::{Caller, LONGEST, MOST_SENDS, SendRequest, Sent, SentReceipt, minutes};
use crate::error::{Error, ErrorCode};
use crate::ledger::{
    Attempt, CodeDigest, GUESS_PENDING, GuessOutcome, Hasher, HeldKey, ItemName, KeyOutcome,
    KeyReservation, Ledger, Nonce, Number, Opening, Phase, Question, REDEEMABLE, Redeemer, Resend,
    Reservation, SUCCESS_REPLAY, Settled, SpendOutcome, Spending, State, Success, Switches,
    Verification, Window, Winner,
};
use crate::otp::Otp;
use crate::phone::{Country, PhoneNumber};
use crate::policy::{Budgets, Rate, SendLimits, Wait};
use crate::provider::{Channel, ProviderLimits, Verdict};
use crate::reference::ReferenceId;
use crate::telemetry::Record;
use crate::time::Millis;
use futures_util::future::join;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tracing::warn;

/// How long the operator's switches are believed without looking again.
const SWITCHES_KEPT: Duration = Duration::from_secs(10);

/// How long the first request with an idempotency key may take. After that it is dead, and what it did unknown.
const KEY_IN_USE: Duration = Duration::from_secs(30);

/// How long the counter of a window is kept after its end: a request that began in the window may come to count in it a
/// little later, and must not find the counter gone and begin a new one.
const WINDOW_KEPT: Duration = Duration::from_mins(1);

/// The ledger, and the operator's limits in it.
pub struct Limits {
    pub(super) store: Box<dyn Ledger>,
    pub(super) keys: Hasher,
    policy: LedgerPolicy,
    switches: Mutex<Option<(Millis, Switches)>>,
}

/// What an operator limits.
#[derive(Debug)]
pub struct LedgerPolicy {
    /// Sends to one number, in sliding windows.
    pub send_limits: SendLimits,
    /// Sends to the ten thousand numbers around one, in fixed windows.
    pub prefix_limits: Vec<Rate>,
    /// Sends, and guesses, from one address, in fixed windows.
    pub source_limits: Vec<Rate>,
    /// Texts in all and by country.
    pub budgets: Budgets,
    /// Numbers with a fixed code.
    pub test_numbers: Vec<TestNumber>,
}

impl LedgerPolicy {
    /// Says in the log that some numbers need no phone, at every start: whoever left them in is to see it.
    pub fn warn_of_test_numbers(&self) {
        if !self.test_numbers.is_empty() {
            warn!(
                testNumbers = self.test_numbers.len(),
                "TEST_NUMBERS is set: whoever knows the code of one of these numbers can verify it without its phone."
            );
        }
    }
}

/// A number with a fixed code and no texts, for app-store review and CI.
#[derive(Debug)]
pub struct TestNumber {
    /// The number.
    pub number: PhoneNumber,
    /// Its code.
    pub otp: Otp,
    /// From when on it is a number like any other.
    pub until: Millis,
}

/// What was counted for a send on its way to the provider.
#[derive(Debug, Default)]
pub(super) struct Charges {
    prefixes: Vec<ItemName>,
    spending: Option<Spending>,
}

/// What an idempotency key says about a send.
#[derive(Debug)]
pub(super) enum IdempotencyState {
    /// There is no key.
    None,
    /// It is this request's.
    Mine(ItemName),
    /// It was answered before.
    Answered { receipt: SentReceipt, at: Millis },
}

/// What a send will do to its verification.
#[derive(Debug)]
pub(super) struct Plan {
    /// The verification as it was seen, if there was one.
    seen: Option<Verification>,
    /// Whether that is open, and gets a further code.
    again: bool,
    expires: Millis,
    sends: u8,
    pub(super) left: u8,
    pub(super) code_length: u8,
    pub(super) brand_name: String,
    /// Of the new code, as the provider takes it.
    pub(super) validity_minutes: u8,
}

/// Why a guess was not paid for.
pub(super) struct Refusal {
    pub(super) error: Error,
    /// Whether the ledger knows nothing under this reference, so that other software may have sent the code.
    pub(super) may_be_of_other_software: bool,
}

impl Limits {
    /// Limits by `policy`, kept in `store` under names made with `keys`.
    #[must_use]
    pub fn new(store: Box<dyn Ledger>, keys: Hasher, policy: LedgerPolicy) -> Self {
        Self {
            store,
            keys,
            policy,
            switches: Mutex::new(None),
        }
    }

    pub(super) fn send_limits(&self) -> &SendLimits {
        &self.policy.send_limits
    }

    /// The test number that `number` is at this time.
    pub(super) fn test_number(&self, number: &PhoneNumber, now: Millis) -> Option<&TestNumber> {
        self.policy
            .test_numbers
            .iter()
            .find(|test| test.number == *number && test.until > now)
    }

    /// Whether a guess is the code of a test number. The hashes are compared, and tell nothing by their timing.
    pub(super) fn check_test_number(
        &self,
        number: &PhoneNumber,
        reference: &ReferenceId,
        guess: &CodeDigest,
        now: Millis,
    ) -> Verdict {
        match self.test_number(number, now) {
            Some(test) if self.keys.guess(reference, number, &test.otp) == *guess => Verdict::Valid,
            _ => Verdict::Invalid,
        }
    }

    /// Refuses what the operator has stopped.
    pub(super) async fn check_switches(
        &self,
        to: &PhoneNumber,
        key: &ItemName,
        now: Millis,
    ) -> Result<(), Error> {
        let switches = self.switches(now).await?;
        if switches.paused {
            return Err(Error::new(
                ErrorCode::SendingPaused,
                "The operator has paused all sends.",
            )
            .with_retry_after(Duration::from_mins(1)));
        }
        let listed = |list: &std::collections::BTreeSet<String>| {
            list.iter().any(|entry| {
                entry == key.as_str()
                    || entry.starts_with('+') && to.expose().starts_with(entry.as_str())
            })
        };
        if listed(&switches.blocked) && !listed(&switches.allowed) {
            return Err(Error::new(
                ErrorCode::DestinationBlocked,
                "The operator has blocked this number.",
            )
            .with_field("destinationNumber"));
        }
        Ok(())
    }

    async fn switches(&self, now: Millis) -> Result<Switches, Error> {
        {
            let kept = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((read, switches)) = kept.as_ref()
                && now.since(*read) < SWITCHES_KEPT
                && *read <= now
            {
                return Ok(switches.clone());
            }
        }
        let switches = self.store.switches().await?;
        *self.switches.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((now, switches.clone()));
        Ok(switches)
    }

    /// Counts a request of the caller's address, in every window.
    pub(super) async fn count_source(
        &self,
        operation: &str,
        caller: &Caller,
        now: Millis,
    ) -> Result<(), Error> {
        let Some(address) = caller.address else {
            return Ok(());
        };
        for rate in &self.policy.source_limits {
            let window = Window::around(now, rate.window);
            let key = self.keys.source(operation, address, window);
            if !self
                .store
                .count(&key, rate.count, window.end().plus(WINDOW_KEPT))
                .await?
            {
                return Err(rate_limited(
                    "source",
                    "Too many requests come from this address.",
                    window.end().since(now),
                ));
            }
        }
        Ok(())
    }

    /// Takes the caller's idempotency key, if there is one.
    pub(super) async fn redeem(
        &self,
        request: &SendRequest,
        caller: &Caller,
        now: Millis,
    ) -> Result<IdempotencyState, Error> {
        let Some(given) = &caller.idempotency_key else {
            return Ok(IdempotencyState::None);
        };
        let key = self.keys.idempotency(&caller.owner(&request.to), given);
        let fingerprint = self.keys.fingerprint(&[
            request.to.expose(),
            &request.brand_name,
            &request.source,
            &request.language,
            request.channel.name(),
            &format!(
                "{} {} {}",
                request.code_length, request.validity_minutes, request.allowed_attempts
            ),
            request.reference.as_ref().map_or("", ReferenceId::expose),
        ]);
        let held = match self.store.reserve_key(&key, &fingerprint, now).await? {
            KeyReservation::Reserved => return Ok(IdempotencyState::Mine(key)),
            KeyReservation::Held(held) => held,
        };
        if held.fingerprint != fingerprint {
            return Err(Error::new(
                ErrorCode::IdempotencyKeyReused,
                "This Idempotency-Key was used for another request: every request needs a key of its own.",
            )
            .with_field("Idempotency-Key"));
        }
        answered_before(held, now)
    }

    /// Decides whether a send begins a verification or continues one, and refuses what would be refused anyway.
    pub(super) async fn plan(
        &self,
        request: &SendRequest,
        key: &ItemName,
        number_key: &ItemName,
        is_test: bool,
        limits: &ProviderLimits,
        now: Millis,
    ) -> Result<Plan, Error> {
        let (seen, number) =
            join(self.store.verification(key), self.store.number(number_key)).await;
        let (seen, number) = (seen?, number?);
        let plan = match seen {
            Some(open) if open.is_open(now) => {
                if request.unless_open {
                    return Err(in_progress("Another sign-in has just sent the code."));
                }
                if open.sends >= MOST_SENDS {
                    let detail = "The code was sent as often as it may be: use it, cancel it, or wait until it ends.";
                    return Err(Error::new(ErrorCode::ResendLimit, detail)
                        .with_retry_after(open.expires.since(now))
                        .with_attempts_left(open.left));
                }
                let expires = now
                    .plus(minutes(request.validity_minutes))
                    .min(open.first.plus(LONGEST));
                let minutes = expires.since(now).as_secs().div_ceil(60);
                Plan {
                    again: true,
                    expires,
                    sends: open.sends + 1,
                    // A further code brings no further guesses, or asking for codes would be asking for guesses.
                    left: open.left,
                    // It may have been sent through a provider that takes other lengths.
                    code_length: open
                        .code_length
                        .clamp(*limits.code.length.start(), *limits.code.length.end()),
                    brand_name: open.brand_name.clone(),
                    validity_minutes: u8::try_from(minutes).unwrap_or(u8::MAX).clamp(
                        *limits.validity_minutes.start(),
                        *limits.validity_minutes.end(),
                    ),
                    seen: Some(open),
                }
            }
            seen => Plan {
                seen,
                again: false,
                expires: now.plus(minutes(request.validity_minutes)),
                sends: 1,
                left: request.allowed_attempts,
                code_length: request.code_length,
                brand_name: request.brand_name.clone(),
                validity_minutes: request.validity_minutes,
            },
        };
        match self.policy.send_limits.wait(&number, now) {
            Some(wait) if !is_test => Err(plan.refusal(wait, now)),
            _ => Ok(plan),
        }
    }

    /// Counts a send to the numbers around `to`.
    pub(super) async fn count_prefix(
        &self,
        to: &PhoneNumber,
        charges: &mut Charges,
        now: Millis,
    ) -> Result<(), Error> {
        for rate in &self.policy.prefix_limits {
            let window = Window::around(now, rate.window);
            let key = self.keys.prefix(to, window);
            if !self
                .store
                .count(&key, rate.count, window.end().plus(WINDOW_KEPT))
                .await?
            {
                return Err(rate_limited(
                    "prefix",
                    "Too many codes go to numbers like this.",
                    window.end().since(now),
                ));
            }
            charges.prefixes.push(key);
        }
        Ok(())
    }

    /// Spends a message to `country` from the budgets.
    pub(super) async fn spend(
        &self,
        country: Country,
        channel: Channel,
        charges: &mut Charges,
        now: Millis,
    ) -> Result<(), Error> {
        let spending = self.policy.budgets.spending(country, channel, now);
        if let SpendOutcome::OverCap(line) = self.store.spend(&spending).await? {
            let (limit, detail) = if line.of_country {
                ("country", "The budget for texts to this country is spent.")
            } else {
                ("budget", "The budget for texts is spent.")
            };
            return Err(rate_limited(limit, detail, line.ends.since(now)));
        }
        charges.spending = Some(spending);
        Ok(())
    }

    /// Whether anything is sent at this time, whoever it is for: what holds for everybody holds for a decoy as well, or a
    /// pause would tell one from a user. Nothing stays counted.
    pub(super) async fn sends_at_all(
        &self,
        to: &PhoneNumber,
        channel: Channel,
        now: Millis,
        record: &mut Record,
    ) -> Result<bool, Error> {
        if self.switches(now).await?.paused {
            return Ok(false);
        }
        let Some(country) = to.country() else {
            return Ok(true);
        };
        let mut charges = Charges::default();
        let is_left = match self.count_prefix(to, &mut charges, now).await {
            Ok(()) => self.spend(country, channel, &mut charges, now).await,
            refused => refused,
        };
        self.give_back(charges, record).await;
        match is_left {
            Ok(()) => Ok(true),
            Err(error) if error.limit().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes a place in the number's windows. Test numbers need none.
    pub(super) async fn reserve_send(
        &self,
        key: &ItemName,
        is_test: bool,
        plan: &Plan,
        now: Millis,
    ) -> Result<Number, Error> {
        if is_test {
            return Ok(Number::default());
        }
        match self
            .store
            .reserve_send(key, self.policy.send_limits.windows(), now)
            .await?
        {
            Reservation::Reserved(number) => Ok(number),
            Reservation::Refused(number) => {
                // A place was there a moment ago; where the rules no longer tell why it is gone, another send has it.
                let shortest = Wait {
                    until: Some(now.plus(Duration::from_secs(1))),
                    guesses: false,
                };
                Err(plan.refusal(
                    self.policy
                        .send_limits
                        .wait(&number, now)
                        .unwrap_or(shortest),
                    now,
                ))
            }
        }
    }

    /// Writes the verification as it will be if the text leaves, and returns its generation.
    pub(super) async fn write_ahead(
        &self,
        key: &ItemName,
        request: &SendRequest,
        plan: &Plan,
        provider: &str,
        now: Millis,
    ) -> Result<u64, Error> {
        let seen = plan.seen.as_ref().map(|seen| seen.generation);
        let written = match seen {
            Some(seen) if plan.again => {
                let resend = Resend {
                    expires: plan.expires,
                    provider,
                    channel: request.channel.name(),
                    language: &request.language,
                };
                self.store.reopen(key, seen, &resend).await?
            }
            seen => {
                let forget = plan
                    .seen
                    .as_ref()
                    .map(|seen| seen.outlived(now))
                    .unwrap_or_default();
                let opening = Opening {
                    state: State::Reserved,
                    first: now,
                    expires: plan.expires,
                    left: plan.left,
                    provider,
                    channel: request.channel.name(),
                    code_length: plan.code_length,
                    language: &request.language,
                    brand_name: &plan.brand_name,
                    owner: request.owner.as_ref(),
                    forget: &forget,
                };
                self.store.open(key, seen, &opening).await?
            }
        };
        if written {
            Ok(seen.unwrap_or(0) + 1)
        } else {
            Err(in_progress(
                "Something else is being done with this verification.",
            ))
        }
    }

    /// What the sender is told.
    pub(super) fn receipt(
        &self,
        plan: &Plan,
        number: &Number,
        message_id: Option<String>,
        channel: Channel,
        next: Vec<String>,
        now: Millis,
    ) -> SentReceipt {
        SentReceipt {
            message_id,
            channel: channel.name().to_owned(),
            code_length: plan.code_length,
            sent: now.0,
            expires: plan.expires.0,
            attempts_left: Some(plan.left),
            resend: Some(self.next_send(number, plan.sends, plan.expires).max(now).0),
            next,
        }
    }

    /// When the next code may be sent, as far as the number's windows and its own verification go.
    pub(super) fn next_send(&self, number: &Number, sends: u8, expires: Millis) -> Millis {
        let next = self.policy.send_limits.next_send(number);
        if sends >= MOST_SENDS {
            next.max(expires)
        } else {
            next
        }
    }

    /// Gives back what was counted for a send that certainly did not happen.
    pub(super) async fn give_back(&self, charges: Charges, record: &mut Record) {
        for key in &charges.prefixes {
            record.best_effort("uncount", self.store.uncount(key).await);
        }
        if let Some(spending) = &charges.spending {
            record.best_effort("refund", self.store.refund(spending).await);
        }
    }

    /// Writes down what happened under an idempotency key. Where that fails, the key stays claimed: nothing is ever sent
    /// under it again.
    pub(super) async fn end_claim(
        &self,
        claim: IdempotencyState,
        outcome: &Result<Sent, Error>,
        record: &mut Record,
    ) {
        let IdempotencyState::Mine(key) = claim else {
            return;
        };
        let ended = match outcome {
            Ok(sent) => {
                let answer = serde_json::to_string(&sent.receipt).ok();
                self.store.finish_key(&key, answer.as_deref()).await
            }
            Err(error) if error.is_delivery_unknown() => self.store.finish_key(&key, None).await,
            Err(_) => self.store.release_key(&key).await,
        };
        record.best_effort("end of the idempotency key", ended);
    }

    /// What only this caller can show again: by its idempotency key, or else nobody can.
    pub(super) fn winner(&self, caller: &Caller, to: &PhoneNumber) -> Result<Winner, Error> {
        match &caller.idempotency_key {
            Some(key) => Ok(self.keys.winner(&caller.owner(to), key)),
            None => Winner::random(),
        }
    }

    /// Identifies the caller for a repeated redeem, as [`winner`](Self::winner) does for a repeated verify.
    pub(super) fn redeemer(&self, caller: &Caller, to: &PhoneNumber) -> Result<Redeemer, Error> {
        match &caller.idempotency_key {
            Some(key) => Ok(self.keys.redeemer(&caller.owner(to), key)),
            None => Redeemer::random(),
        }
    }

    /// The sign-in question that the caller responds to, if it is a sign-in session.
    pub(super) fn question(
        &self,
        caller: &Caller,
        to: &PhoneNumber,
    ) -> Result<Option<Question>, Error> {
        let Some(session) = caller.session.clone() else {
            return Ok(None);
        };
        let nonce = match &caller.idempotency_key {
            Some(key) => self.keys.nonce(&caller.owner(to), key),
            None => Nonce::random()?,
        };
        Ok(Some(Question { session, nonce }))
    }

    /// Opens a verification for a code that other software sent, and pays for the guess at it.
    ///
    /// It takes a place in the number's windows, as a send does: invented names buy an attacker nothing that sends would
    /// not.
    pub(super) async fn open_for_other_software(
        &self,
        key: &ItemName,
        number_key: &ItemName,
        guess: &CodeDigest,
        opening: &Opening<'_>,
        now: Millis,
    ) -> Result<Verification, Error> {
        if let Reservation::Refused(number) = self
            .store
            .reserve_send(number_key, self.policy.send_limits.windows(), now)
            .await?
        {
            let wait = self.policy.send_limits.wait(&number, now);
            return Err(match wait {
                Some(wait) => refused_number(wait, now),
                None => in_progress("Another guess opens this verification."),
            });
        }
        // Whether this opens it or another guess was faster: the guess is paid for like any other.
        self.store.open(key, None, opening).await?;
        match self.store.spend_attempt(key, guess, None, now).await? {
            Attempt::Paid(verification) => Ok(verification),
            Attempt::Refused(_) => Err(in_progress("Another guess is being asked.")),
        }
    }
}

impl Plan {
    /// Whether this is a further code for an open verification.
    pub(super) fn is_again(&self) -> bool {
        self.again
    }

    /// Whether no further code may follow this one.
    pub(super) fn is_last_send(&self) -> bool {
        self.sends >= MOST_SENDS
    }

    /// Who made the codes that are still good beside the one of this send.
    pub(super) fn issued_by(&self) -> Option<&str> {
        self.seen
            .as_ref()
            .filter(|_| self.again)
            .map(|open| open.provider.as_str())
    }

    /// Why this send has to wait.
    fn refusal(&self, wait: Wait, now: Millis) -> Error {
        match (&self.seen, wait.until) {
            (Some(open), Some(until)) if self.again && !wait.guesses && until <= open.expires => {
                Error::new(
                    ErrorCode::ResendTooSoon,
                    "The last code has only just been sent: give it time to arrive.",
                )
                .with_retry_after(until.since(now))
                .with_attempts_left(open.left)
            }
            _ => refused_number(wait, now),
        }
    }

    /// What the verification is if this send did not happen.
    pub(super) fn without_this_send(&self) -> Settled<'static> {
        match &self.seen {
            // A send before this one that crashed may have left, or not.
            Some(open) if self.again => Settled::Back {
                state: if open.state == State::Sent {
                    State::Sent
                } else {
                    State::Unclear
                },
                expires: open.expires,
            },
            _ => Settled::Failed,
        }
    }
}

/// What to say to a request whose idempotency key somebody holds.
fn answered_before(held: HeldKey, now: Millis) -> Result<IdempotencyState, Error> {
    let age = now.since(held.at);
    match held.outcome {
        KeyOutcome::Answered(answer) => match serde_json::from_str(&answer) {
            Ok(receipt) => Ok(IdempotencyState::Answered { receipt, at: held.at }),
            Err(error) => Err(Error::new(ErrorCode::InternalError, "The answer under this Idempotency-Key cannot be read.")
                .with_cause(format!("stored answer: {error}"))
                .with_unknown_delivery()),
        },
        KeyOutcome::Pending if age < KEY_IN_USE => {
            Err(Error::new(ErrorCode::IdempotencyKeyInUse, "The first request with this Idempotency-Key is not finished.")
                .with_retry_after(KEY_IN_USE.saturating_sub(age)))
        }
        KeyOutcome::Pending | KeyOutcome::Unclear => Err(Error::new(
            ErrorCode::ProviderTimeout,
            "The first request with this Idempotency-Key was not answered, and its text may have left. Nothing is sent \
             under this key again: ask the person, and take a new key for another code.",
        )
        .with_unknown_delivery()),
    }
}

/// Why a guess was not paid for; `Ok` if it is the winner's own answer over again, which is right again.
pub(super) fn why_refused(
    seen: Option<&Verification>,
    guess: &CodeDigest,
    winner: &Winner,
    now: Millis,
) -> Result<(), Refusal> {
    let final_reason = |error| {
        Err(Refusal {
            error,
            may_be_of_other_software: false,
        })
    };
    let Some(seen) = seen else {
        return Err(Refusal {
            error: not_found(),
            may_be_of_other_software: true,
        });
    };
    let phase = seen.phase(now);
    let is_last = seen.last_guess.as_ref().filter(|last| last.code == *guess);
    match (phase, is_last) {
        (Phase::Verified, _) => match &seen.success {
            Some(success) if success.code == *guess => {
                if success.winner == *winner && now.since(success.at) < SUCCESS_REPLAY {
                    Ok(())
                } else {
                    final_reason(already_verified())
                }
            }
            _ => final_reason(already_verified()),
        },
        // Answered from the record: no call, and no charge, whatever is left.
        (Phase::Pending | Phase::Exhausted, Some(last))
            if last.outcome == GuessOutcome::Invalid =>
        {
            final_reason(wrong_code(seen.left))
        }
        (Phase::Pending, Some(_)) => final_reason(in_progress("This very code is being checked.")),
        (Phase::Exhausted, Some(last))
            if last.outcome == GuessOutcome::Pending && now.since(last.at) < GUESS_PENDING =>
        {
            final_reason(in_progress("This very code is being checked."))
        }
        (Phase::Exhausted, _) => final_reason(exhausted()),
        // It was open to nobody a moment ago: another send or guess came in between.
        (Phase::Pending, None) => final_reason(in_progress(
            "Something else is being done with this verification.",
        )),
        // An end is final: the provider knows nothing of it, and would still say yes to the code.
        (Phase::Expired, _) => final_reason(expired()),
        (Phase::Canceled, _) => final_reason(canceled()),
        (Phase::Failed, _) => final_reason(not_found()),
    }
}

/// Why a right answer did not win; `Ok` if it did, by a try whose answer was lost or under the same key.
pub(super) fn why_not_consumed(
    seen: Option<&Verification>,
    success: &Success,
) -> Result<(), Error> {
    match seen {
        Some(seen) => match (seen.state, &seen.success) {
            (State::Verified, Some(won))
                if won.winner == success.winner && won.code == success.code =>
            {
                Ok(())
            }
            (State::Verified, _) => Err(already_verified()),
            (State::Canceled, _) => Err(canceled()),
            _ => Err(Error::new(
                ErrorCode::InvalidCode,
                "A newer code was sent meanwhile: use that one.",
            )
            .with_attempts_left(seen.left)),
        },
        None => Err(not_found()),
    }
}

/// Why a verification cannot be claimed; `Ok` if this redeemer has it already.
pub(super) fn why_not_redeemed(
    seen: Option<&Verification>,
    redeemer: &Redeemer,
    now: Millis,
) -> Result<(), Error> {
    // A sign-in's code proves nothing outside it.
    let seen = seen
        .filter(|seen| seen.owner.is_none())
        .ok_or_else(not_found)?;
    let in_time = seen
        .success
        .as_ref()
        .is_some_and(|success| now.since(success.at) < REDEEMABLE);
    match seen.phase(now) {
        Phase::Verified if seen.redeemed_by.as_ref() == Some(redeemer) && in_time => Ok(()),
        Phase::Verified if seen.redeemed_by.is_some() => Err(Error::new(
            ErrorCode::AlreadyVerified,
            "This verification was claimed before; it is good for one claim.",
        )),
        Phase::Verified => Err(Error::new(
            ErrorCode::CodeExpired,
            format!(
                "The success is more than {} minutes old: verify anew.",
                REDEEMABLE.as_secs() / 60
            ),
        )),
        Phase::Pending => Err(in_progress("The code has not been verified yet.")),
        Phase::Expired => Err(expired()),
        Phase::Exhausted => Err(exhausted()),
        Phase::Canceled => Err(canceled()),
        Phase::Failed => Err(not_found()),
    }
}

pub(super) fn wrong_code(left: u8) -> Error {
    Error::new(ErrorCode::InvalidCode, "The code is wrong.").with_attempts_left(left)
}

pub(super) fn not_found() -> Error {
    Error::new(
        ErrorCode::VerificationNotFound,
        "No code was sent to this number under this reference, or long ago.",
    )
}

pub(super) fn locked() -> Error {
    Error::new(
        ErrorCode::DestinationLocked,
        "Too many wrong codes were given for this number. Only the operator can unlock it.",
    )
    .with_field("destinationNumber")
}

fn already_verified() -> Error {
    Error::new(
        ErrorCode::AlreadyVerified,
        "This code was used before: a code is good for one success.",
    )
}

fn expired() -> Error {
    Error::new(
        ErrorCode::CodeExpired,
        "The code has expired: send a new one.",
    )
    .with_attempts_left(0)
}

fn exhausted() -> Error {
    Error::new(
        ErrorCode::AttemptsExhausted,
        "No guess is left for this code: send a new one.",
    )
    .with_attempts_left(0)
}

fn canceled() -> Error {
    Error::new(
        ErrorCode::VerificationCanceled,
        "This verification was canceled: send a new code.",
    )
    .with_attempts_left(0)
}

fn in_progress(detail: &'static str) -> Error {
    Error::new(ErrorCode::VerificationInProgress, detail).with_retry_after(Duration::from_secs(1))
}

fn rate_limited(limit: &'static str, detail: &'static str, wait: Duration) -> Error {
    Error::new(ErrorCode::RateLimited, detail)
        .with_limit(limit)
        .with_retry_after(wait)
}

fn refused_number(wait: Wait, now: Millis) -> Error {
    match wait.until {
        None => locked(),
        Some(until) if wait.guesses => rate_limited(
            "guesses",
            "Too many wrong codes were given for this number.",
            until.since(now),
        ),
        Some(until) => rate_limited(
            "number",
            "Too many codes were sent to this number.",
            until.since(now),
        ),
    }
}
