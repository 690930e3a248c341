//! The order of effects of a send and of a verify. The only place where that order is written.

mod limits;
mod providers;
mod sign_in;

pub use limits::{LedgerPolicy, Limits, TestNumber};
pub use providers::Providers;
pub use sign_in::{Challenge, ChallengeState, Session, SignIn};

use crate::error::{Error, ErrorCode};
use crate::language::{self, Tag};
use crate::ledger::{
    Attempt, DECOY_KEPT, GuessOutcome, NumberCharge, Opening, Phase, SessionDigest, Settled, State,
    Success, Transition, Verification,
};
use crate::otp::{CodeShape, Otp};
use crate::phone::{Country, PhoneNumber};
use crate::policy::AllowedCountries;
use crate::provider::{Channel, Dlt, Message, Provider, ProviderLimits, Receipt, Verdict};
use crate::reference::ReferenceId;
use crate::telemetry::Record;
use crate::time::Millis;
use futures_util::future::join;
use limits::{Charges, IdempotencyState, Plan};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

/// Sends and verifies codes by the operator's rules.
pub struct Service {
    rules: Rules,
    providers: Providers,
    /// What counts guesses and sends; without it, AWS's answers are passed on and no more is promised.
    guard: Option<Limits>,
}

/// What the operator decides about every send and verify.
#[derive(Debug)]
pub struct Rules {
    /// Whose numbers are served.
    pub allowed_countries: AllowedCountries,
    /// How a verification is named.
    pub reference_ids: ReferenceIds,
    /// What a request that leaves a member out gets.
    pub defaults: Defaults,
    /// What messages are sent from.
    pub origination: Origination,
    /// The registration for Indian numbers.
    pub dlt: Option<Dlt>,
}

/// How a verification is named when the caller does not name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceIds {
    /// By brand name, source and number, as in AWS's example: who knows these can verify.
    Derived,
    /// By chance: only who got the answer to the send can verify.
    Random,
}

/// What a request that leaves a member out gets.
#[derive(Debug)]
pub struct Defaults {
    /// The brand in the text.
    pub brand_name: String,
    /// The purpose, as a part of derived reference IDs.
    pub source: String,
    /// The language of the text, or [`language::BY_COUNTRY`].
    pub language: Tag,
    /// Characters of a code.
    pub code_length: u8,
    /// Minutes that a code is good for.
    pub validity_minutes: u8,
    /// Guesses that a code allows.
    pub allowed_attempts: u8,
}

/// What messages are sent from, by the country they go to and the way they go.
#[derive(Debug)]
pub struct Origination {
    /// For all that has none of its own.
    pub default: String,
    /// For single countries and channels.
    pub others: Vec<OriginationFor>,
}

/// What some messages are sent from.
#[derive(Debug)]
pub struct OriginationFor {
    /// To this country; to every one, if there is none.
    pub country: Option<Country>,
    /// By this channel; by every one, if there is none.
    pub channel: Option<Channel>,
    /// From this.
    pub identity: String,
}

impl Origination {
    /// The identity that messages to `country` by `channel` are sent from. A channel counts for more than a country: a
    /// sender ID cannot call anybody.
    #[must_use]
    pub fn identity(&self, country: Country, channel: Channel) -> &str {
        let places = [
            (Some(country), Some(channel)),
            (None, Some(channel)),
            (Some(country), None),
        ];
        let own = places.iter().find_map(|place| {
            self.others
                .iter()
                .find(|other| (other.country, other.channel) == *place)
                .map(|other| &other.identity)
        });
        own.unwrap_or(&self.default)
    }
}

/// Who asks.
#[derive(Debug, Default)]
pub struct Caller {
    /// The name of a caller whom somebody vouches for; nothing in public mode.
    pub principal: Option<String>,
    /// The address that source limits count, if one is known.
    pub address: Option<IpAddr>,
    /// The caller's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The sign-in session that asks.
    pub session: Option<SessionDigest>,
    /// How deep in decoy it is, if at all: its guesses are counted under a number of its own, and never right.
    pub decoy: u8,
}

impl Caller {
    /// Whose idempotency key it is. Nobody vouches for a public caller, so its key is good for its own address and
    /// number alone.
    fn owner(&self, to: &PhoneNumber) -> String {
        match &self.principal {
            Some(principal) => principal.clone(),
            None => format!(
                "{} {}",
                self.address
                    .map(|address| address.to_string())
                    .unwrap_or_default(),
                to.expose()
            ),
        }
    }
}

/// A parsed request to send a code.
#[derive(Debug)]
pub struct SendRequest {
    /// Who gets the code.
    pub to: PhoneNumber,
    /// The brand in the text.
    pub brand_name: String,
    /// The purpose, as a part of derived reference IDs.
    pub source: String,
    /// The language of the text.
    pub language: Tag,
    /// How the code is delivered.
    pub channel: Channel,
    /// Digits of the code.
    pub code_length: u8,
    /// Minutes that the code is good for.
    pub validity_minutes: u8,
    /// Guesses that the code allows.
    pub allowed_attempts: u8,
    /// The caller's own name for the verification.
    pub reference: Option<ReferenceId>,
    /// The sign-in session that it is for.
    pub owner: Option<SessionDigest>,
    /// Whether a code that is open is let be: a sign-in that begins takes it up.
    pub unless_open: bool,
}

/// A code is on its way.
#[derive(Debug)]
pub struct Sent {
    /// The name under which it is verified.
    pub reference: ReferenceId,
    /// The rest of the answer.
    pub receipt: SentReceipt,
}

/// What a sender is told, and told again under the same idempotency key. Holds nothing that names anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentReceipt {
    /// The provider's ID of the message.
    pub message_id: Option<String>,
    /// How it was delivered.
    pub channel: String,
    /// Digits of the code.
    pub code_length: u8,
    /// When it was sent.
    pub sent: u64,
    /// When the code ends.
    pub expires: u64,
    /// Guesses that are left, if they are counted.
    pub attempts_left: Option<u8>,
    /// When the next code may be sent, if that is limited.
    pub resend: Option<u64>,
    /// Other ways in which the next code may be sent, after a code was asked for again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
}

/// A parsed request to verify a code.
#[derive(Debug)]
pub struct VerifyRequest {
    /// Who got the code.
    pub to: PhoneNumber,
    /// What the person typed in.
    pub otp: Otp,
    /// Which verification it is for.
    pub reference: Reference,
}

/// A parsed request about a verification as a whole.
#[derive(Debug)]
pub struct VerificationRequest {
    /// Who got the code.
    pub to: PhoneNumber,
    /// Which verification it is.
    pub reference: Reference,
}

/// How a caller names a verification.
#[derive(Debug)]
pub enum Reference {
    /// By its reference ID.
    Given(ReferenceId),
    /// By what a derived reference ID is made of.
    Of {
        /// The brand in the text.
        brand_name: String,
        /// The purpose that was given to the send.
        source: String,
    },
}

/// The state of a verification, for whoever knows its name.
#[derive(Debug)]
pub struct Status {
    /// Its name.
    pub reference: ReferenceId,
    /// What it is now.
    pub phase: Phase,
    /// How the code was delivered.
    pub channel: String,
    /// Guesses that are left.
    pub attempts_left: u8,
    /// When the code ends.
    pub expires: Millis,
    /// When the next code may be sent.
    pub resend: Millis,
}

/// When a call has to be done. The clock was read once, before.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time of the whole invocation.
    pub now: SystemTime,
    /// When work on it began.
    pub started: Instant,
    /// How long it may take from then on.
    pub time_left: Duration,
}

impl Moment {
    /// The time of the whole invocation, as the ledger keeps it.
    #[must_use]
    pub fn millis(&self) -> Millis {
        let since = self
            .now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn provider_time_left(&self) -> Duration {
        PROVIDER_TIME.min(self.time_left.saturating_sub(self.started.elapsed()))
    }
}

/// What the provider may take at most. AWS answers in well under a second.
const PROVIDER_TIME: Duration = Duration::from_secs(6);

/// What telling the provider that a code came back may take: the person waits for it.
const FEEDBACK_TIME: Duration = Duration::from_millis(300);

/// Codes that are sent for one verification before it has to end.
const MOST_SENDS: u8 = 3;

/// How long after its first code a verification ends at the latest, however often the code is sent again.
const LONGEST: Duration = Duration::from_hours(1);

/// Who "made" the code of a test number.
const TEST: &str = "test";

/// Who "made" the code that a sign-in which only looks like one is asked for.
const DECOY: &str = "shadow";

impl Service {
    /// A service by these rules, with codes made and checked by `providers`, and counted by `guard` if there is one.
    #[must_use]
    pub fn new(rules: Rules, providers: Providers, guard: Option<Limits>) -> Self {
        Self {
            rules,
            providers,
            guard,
        }
    }

    /// The operator's rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What requests are held against.
    #[must_use]
    pub fn limits(&self) -> &ProviderLimits {
        self.providers.current.limits()
    }

    /// What a guess may look like.
    #[must_use]
    pub fn codes(&self) -> CodeShape {
        self.providers.codes()
    }

    /// The language of a message to `to` by `channel` that a caller wishes for.
    ///
    /// # Errors
    ///
    /// `invalid_parameter` for the field `language`: it is no language, or one that this provider does not take.
    pub fn language(
        &self,
        wish: Option<&str>,
        channel: Channel,
        to: &PhoneNumber,
    ) -> Result<Tag, Error> {
        let limits = self.limits();
        let languages = limits.languages(channel);
        match wish {
            None => Ok(self.usual_language(&self.rules.defaults.language, channel, to)),
            Some(language::BY_COUNTRY) => {
                Ok(self.usual_language(language::BY_COUNTRY, channel, to))
            }
            Some(tag) if limits.any_language && language::is_well_formed(tag) => {
                Ok(self.closest_language(&[tag], channel, to))
            }
            Some(tag) => languages
                .iter()
                .find(|known| &***known == tag)
                .cloned()
                .ok_or_else(|| {
                    let expected = if limits.any_language {
                        "a language tag such as en-US or pt-BR, or country".to_owned()
                    } else {
                        format!("one of {}, or country", languages.join(", "))
                    };
                    Error::invalid_parameter("language", format!("language must be {expected}."))
                }),
        }
    }

    /// The language of a message to `to` by `channel` that comes closest to the first of `wishes` that any comes close to.
    #[must_use]
    pub fn closest_language(&self, wishes: &[&str], channel: Channel, to: &PhoneNumber) -> Tag {
        let languages = self.limits().languages(channel);
        let closest = wishes
            .iter()
            .find_map(|wish| language::closest(wish, languages.iter()));
        closest.map_or_else(
            || self.usual_language(&self.rules.defaults.language, channel, to),
            Tag::clone,
        )
    }

    /// The language that `setting` means for this message.
    fn usual_language(&self, setting: &str, channel: Channel, to: &PhoneNumber) -> Tag {
        let languages = self.limits().languages(channel);
        let of_country = || to.country().map_or("en-US", language::of_country);
        let usual = if setting == language::BY_COUNTRY {
            of_country()
        } else {
            setting
        };
        language::closest(usual, languages.iter())
            .or_else(|| language::closest("en-US", languages.iter()))
            .or_else(|| languages.first())
            .map_or_else(|| "en-US".into(), Tag::clone)
    }

    /// Whether guesses and sends are counted.
    #[must_use]
    pub fn has_ledger(&self) -> bool {
        self.guard.is_some()
    }

    /// Sends a code.
    ///
    /// # Errors
    ///
    /// Why no code was sent, or that it is not known.
    pub async fn send(
        &self,
        request: &SendRequest,
        caller: &Caller,
        moment: Moment,
        record: &mut Record,
    ) -> Result<Sent, Error> {
        // The country comes before anything that costs: pumped numbers are refused for free.
        let country = self.admit(&request.to, record)?;
        let Some(guard) = &self.guard else {
            return self.send_uncounted(request, country, moment, record).await;
        };
        let now = moment.millis();
        let number_key = guard.keys.number(&request.to);
        let test_number = guard.test_number(&request.to, now);
        guard.check_switches(&request.to, &number_key, now).await?;
        guard.count_source("send", caller, now).await?;

        // Claimed before anything is counted: a client that asks twice is not to use up its own user's limits.
        let claim = guard.redeem(request, caller, now).await?;
        if let IdempotencyState::Answered { receipt, at } = claim {
            let reference = self.reference_of_send(guard, request, caller, at)?;
            return Ok(Sent { reference, receipt });
        }
        // What was counted on the way, to be given back if it is certain that no text has left.
        let mut charges = Charges::default();
        let outcome: Result<Sent, Error> = async {
            let reference = self.reference_of_send(guard, request, caller, now)?;
            let key = guard.keys.verification(&reference, &request.to);
            let plan = guard
                .plan(
                    request,
                    &key,
                    &number_key,
                    test_number.is_some(),
                    self.limits(),
                    now,
                )
                .await?;

            if test_number.is_none() {
                guard.count_prefix(&request.to, &mut charges, now).await?;
                guard
                    .spend(country, request.channel, &mut charges, now)
                    .await?;
            }
            // The one exact gate, and the last that refuses: whatever refused after it would have taken a place in the
            // windows of somebody who got no text.
            let number = guard
                .reserve_send(&number_key, test_number.is_some(), &plan, now)
                .await?;
            // Written before the provider is asked: a text without a record could be guessed at without end, and after
            // a crash here the code that has left can still be verified.
            let issuers = self.issuers(test_number, &plan);
            let generation = guard
                .write_ahead(&key, request, &plan, &issuers, now)
                .await?;

            let outcome = match test_number {
                Some(_) => Ok(Receipt {
                    message_id: None,
                    request_id: None,
                }),
                None => {
                    self.ask_to_send(request, country, &reference, &plan, moment, record)
                        .await
                }
            };
            let settled = match &outcome {
                Ok(receipt) => Settled::Sent {
                    message_id: receipt.message_id.as_deref(),
                },
                Err(error) if error.is_delivery_unknown() => Settled::Unclear,
                // An earlier text of this verification may be in the person's hands: its code stays good.
                Err(_) => plan.without_this_send(),
            };
            // The text has left or it has not: no failure to write that down changes what the caller is told.
            record.best_effort(
                "settle",
                guard.store.settle(&key, generation, &settled).await,
            );
            let receipt = outcome?;
            let next = if plan.is_again() {
                self.channels_after(request.channel, &plan)
            } else {
                Vec::new()
            };
            let receipt = guard.receipt(
                &plan,
                &number,
                receipt.message_id,
                request.channel,
                next,
                now,
            );
            Ok(Sent { reference, receipt })
        }
        .await;

        if let Err(error) = &outcome
            && !error.is_delivery_unknown()
        {
            guard.give_back(charges, record).await;
        }
        guard.end_claim(claim, &outcome, record).await;
        outcome
    }

    /// Verifies a code and returns the name of the verification if the code is right.
    ///
    /// # Errors
    ///
    /// Why the code is refused, or why there is no verdict.
    pub async fn verify(
        &self,
        request: &VerifyRequest,
        caller: &Caller,
        moment: Moment,
        record: &mut Record,
    ) -> Result<ReferenceId, Error> {
        // A decoy is asked like anybody else, whatever its number.
        if caller.decoy == 0 {
            self.admit(&request.to, record)?;
        }
        let reference = request.reference.resolve(&request.to);
        let Some(guard) = &self.guard else {
            return self
                .verify_uncounted(request, reference, moment, record)
                .await;
        };
        let now = moment.millis();
        guard.count_source("verify", caller, now).await?;
        let key = guard.keys.verification(&reference, &request.to);
        let (number_key, forget) = match caller.decoy {
            0 => (guard.keys.number(&request.to), None),
            depth => (
                guard.keys.decoy_number(&request.to, depth),
                Some(now.plus(DECOY_KEPT)),
            ),
        };
        let guess = guard.keys.guess(&reference, &request.to, &request.otp);
        let winner = guard.winner(caller, &request.to)?;

        // Paid for before it is asked: a hundred guesses at once still cost a hundred attempts.
        let question = guard.question(caller, &request.to)?;
        let attempt = guard
            .store
            .spend_attempt(&key, &guess, question.as_ref(), now)
            .await?;
        let paid = match attempt {
            Attempt::Paid(verification) => verification,
            Attempt::Refused(seen) => {
                let reason = match limits::why_refused(seen.as_ref(), &guess, &winner, now) {
                    Ok(()) => return Ok(reference),
                    Err(reason) => reason,
                };
                if !(reason.may_be_of_other_software
                    && self.could_be_of_other_software(&reference, request, caller))
                {
                    return Err(reason.error);
                }
                let issuers = self.providers.all();
                let opening = self.of_other_software(request, &issuers, now);
                guard
                    .open_for_other_software(&key, &number_key, &guess, &opening, now)
                    .await?
            }
        };
        // Counted for the number, too, and as failed: whoever asks for new codes, under whatever names, gets no more
        // guesses, and a guess that is never answered was one all the same. Nothing reaches the provider without this.
        let charge = match guard.store.charge_number(&number_key, forget, now).await? {
            NumberCharge::Charged(charge) => charge,
            NumberCharge::Locked => return Err(limits::locked()),
        };

        let mut issuer = None;
        let verdict = if paid.has_used(&guess, now) || paid.provider == DECOY {
            // AWS does not say that a code works once only.
            Ok(Verdict::Invalid)
        } else if paid.provider == TEST {
            Ok(guard.check_test_number(&request.to, &reference, &guess, now))
        } else {
            let answer = self
                .ask_to_verify(&paid.provider, request, &reference, moment, record)
                .await;
            answer.map(|said_yes| {
                issuer = said_yes;
                if said_yes.is_some() {
                    Verdict::Valid
                } else {
                    Verdict::Invalid
                }
            })
        };
        let generation = paid.generation;
        match verdict {
            Err(error) => {
                // Nobody knows whether AWS counted it. It stays paid for, and may be asked again at the price of another.
                record.best_effort(
                    "note",
                    guard
                        .store
                        .note_answer(&key, generation, &guess, GuessOutcome::Unclear)
                        .await,
                );
                Err(error.with_attempts_left(paid.left))
            }
            Ok(Verdict::Invalid) => {
                record.best_effort(
                    "note",
                    guard
                        .store
                        .note_answer(&key, generation, &guess, GuessOutcome::Invalid)
                        .await,
                );
                Err(limits::wrong_code(paid.left))
            }
            Ok(Verdict::Valid) => {
                let success = Success {
                    winner,
                    code: guess,
                    at: now,
                };
                consume(guard, &key, generation, &success).await?;
                record.best_effort(
                    "clear",
                    guard.store.clear_failures(&number_key, charge, now).await,
                );
                if let Some(issuer) = issuer {
                    tell_that_it_came_back(issuer, &paid, moment, record).await;
                }
                Ok(reference)
            }
        }
    }

    /// The state of a verification.
    ///
    /// # Errors
    ///
    /// `verification_not_found`; `route_not_found` without a ledger.
    pub async fn status(
        &self,
        request: &VerificationRequest,
        moment: Moment,
        record: &mut Record,
    ) -> Result<Status, Error> {
        self.admit(&request.to, record)?;
        let guard = self.guard.as_ref().ok_or_else(no_ledger)?;
        let now = moment.millis();
        let reference = request.reference.resolve(&request.to);
        let key = guard.keys.verification(&reference, &request.to);
        let number_key = guard.keys.number(&request.to);
        let (seen, number) = join(
            guard.store.verification(&key),
            guard.store.number(&number_key),
        )
        .await;
        let (seen, number) = (seen?.ok_or_else(limits::not_found)?, number?);
        Ok(Status {
            phase: seen.phase(now),
            attempts_left: seen.left,
            expires: seen.expires,
            resend: guard.next_send(&number, seen.sends, seen.expires),
            channel: seen.channel,
            reference,
        })
    }

    /// Answers yes once for a verification that has succeeded: what a backend asks after a browser says so.
    ///
    /// # Errors
    ///
    /// Why not.
    pub async fn redeem(
        &self,
        request: &VerificationRequest,
        caller: &Caller,
        moment: Moment,
        record: &mut Record,
    ) -> Result<ReferenceId, Error> {
        self.admit(&request.to, record)?;
        let guard = self.guard.as_ref().ok_or_else(no_ledger)?;
        if caller.principal.is_none() {
            return Err(Error::new(
                ErrorCode::Unauthenticated,
                "Only a caller somebody vouches for can claim.",
            )
            .with_field("claim"));
        }
        let now = moment.millis();
        let reference = request.reference.resolve(&request.to);
        let key = guard.keys.verification(&reference, &request.to);
        let redeemer = guard.redeemer(caller, &request.to)?;
        match guard.store.redeem(&key, &redeemer, now).await? {
            Transition::Applied => Ok(reference),
            Transition::Refused(seen) => {
                limits::why_not_redeemed(seen.as_ref(), &redeemer, now).map(|()| reference)
            }
        }
    }

    /// Ends a verification, and says what it is now; one that has ended stays as it is.
    ///
    /// # Errors
    ///
    /// `verification_not_found`; `route_not_found` without a ledger.
    pub async fn cancel(
        &self,
        request: &VerificationRequest,
        moment: Moment,
        record: &mut Record,
    ) -> Result<(ReferenceId, Phase), Error> {
        self.admit(&request.to, record)?;
        let guard = self.guard.as_ref().ok_or_else(no_ledger)?;
        let now = moment.millis();
        let reference = request.reference.resolve(&request.to);
        let key = guard.keys.verification(&reference, &request.to);
        match guard.store.cancel(&key, now).await? {
            Transition::Applied => Ok((reference, Phase::Canceled)),
            Transition::Refused(seen) => {
                Ok((reference, seen.ok_or_else(limits::not_found)?.phase(now)))
            }
        }
    }

    /// Forgets the failed guesses about a number: for an operator.
    ///
    /// # Errors
    ///
    /// `ledger_unavailable`; `route_not_found` without a ledger.
    pub async fn unlock(&self, number: &PhoneNumber, moment: Moment) -> Result<(), Error> {
        let guard = self.guard.as_ref().ok_or_else(no_ledger)?;
        Ok(guard
            .store
            .unlock(&guard.keys.number(number), moment.millis())
            .await?)
    }

    /// The name of a number in the ledger's table: for an operator who blocks or allows it.
    ///
    /// # Errors
    ///
    /// `route_not_found` without a ledger.
    pub fn key_of(&self, number: &PhoneNumber) -> Result<String, Error> {
        let guard = self.guard.as_ref().ok_or_else(no_ledger)?;
        Ok(guard.keys.number(number).as_str().to_owned())
    }

    fn admit(&self, number: &PhoneNumber, record: &mut Record) -> Result<Country, Error> {
        record.country = number.country();
        self.rules.allowed_countries.check(number)
    }

    /// Who will have made codes of a verification once this send is done.
    fn issuers(&self, test_number: Option<&TestNumber>, plan: &Plan) -> String {
        if test_number.is_some() {
            TEST.to_owned()
        } else {
            self.providers.issuers(plan.issued_by())
        }
    }

    /// How a send's verification is named. `at` is when it was first asked for: under one idempotency key a random
    /// name comes out the same again, without being stored.
    fn reference_of_send(
        &self,
        guard: &Limits,
        request: &SendRequest,
        caller: &Caller,
        at: Millis,
    ) -> Result<ReferenceId, Error> {
        match (
            &request.reference,
            self.rules.reference_ids,
            &caller.idempotency_key,
        ) {
            (None, ReferenceIds::Random, Some(key)) => {
                Ok(guard.keys.reference(&caller.owner(&request.to), key, at))
            }
            _ => self.new_reference(request),
        }
    }

    fn new_reference(&self, request: &SendRequest) -> Result<ReferenceId, Error> {
        match (&request.reference, self.rules.reference_ids) {
            (Some(reference), _) => Ok(reference.clone()),
            (None, ReferenceIds::Derived) => Ok(ReferenceId::derived(
                &request.brand_name,
                &request.source,
                &request.to,
            )),
            (None, ReferenceIds::Random) => ReferenceId::random(),
        }
    }

    /// Whether the verification may have been begun by other software that names it as AWS's example does. Nobody else
    /// can be believed to know of a code that this program did not send.
    fn could_be_of_other_software(
        &self,
        reference: &ReferenceId,
        request: &VerifyRequest,
        caller: &Caller,
    ) -> bool {
        let defaults = &self.rules.defaults;
        let derived = match &request.reference {
            Reference::Of { .. } => true,
            Reference::Given(_) => {
                *reference
                    == ReferenceId::derived(&defaults.brand_name, &defaults.source, &request.to)
            }
        };
        derived
            && self.rules.reference_ids == ReferenceIds::Derived
            && caller.principal.is_some()
            && caller.session.is_none()
    }

    /// A verification for a code that nobody here has sent. `issuers` is who can have made it.
    fn of_other_software<'a>(
        &'a self,
        request: &'a VerifyRequest,
        issuers: &'a str,
        now: Millis,
    ) -> Opening<'a> {
        let defaults = &self.rules.defaults;
        let brand_name = match &request.reference {
            Reference::Of { brand_name, .. } => brand_name,
            Reference::Given(_) => &defaults.brand_name,
        };
        Opening {
            state: State::Sent,
            first: now,
            expires: now.plus(minutes(defaults.validity_minutes)),
            left: defaults.allowed_attempts,
            provider: issuers,
            channel: Channel::Sms.name(),
            code_length: request.otp.length(),
            language: &defaults.language,
            brand_name,
            owner: None,
            forget: &[],
        }
    }

    /// The channels that come after `channel` in the operator's order, as long as another code may be sent at all.
    fn channels_after(&self, channel: Channel, plan: &Plan) -> Vec<String> {
        if plan.is_last_send() {
            return Vec::new();
        }
        let channels = self.limits().channels.iter().map(|own| own.channel);
        channels
            .skip_while(|own| *own != channel)
            .skip(1)
            .map(|own| own.name().to_owned())
            .collect()
    }

    async fn ask_to_send(
        &self,
        request: &SendRequest,
        country: Country,
        reference: &ReferenceId,
        plan: &Plan,
        moment: Moment,
        record: &mut Record,
    ) -> Result<Receipt, Error> {
        let message = Message {
            brand_name: &plan.brand_name,
            code_length: plan.code_length,
            validity_minutes: plan.validity_minutes,
            allowed_attempts: plan.left,
            ..self.message(request, country, reference)
        };
        self.send_message(&message, moment, record).await
    }

    fn message<'a>(
        &'a self,
        request: &'a SendRequest,
        country: Country,
        reference: &'a ReferenceId,
    ) -> Message<'a> {
        let india = country.as_str() == "IN";
        Message {
            to: &request.to,
            reference,
            brand_name: &request.brand_name,
            code_length: request.code_length,
            validity_minutes: request.validity_minutes,
            allowed_attempts: request.allowed_attempts,
            channel: request.channel,
            language: &request.language,
            origination_identity: self.rules.origination.identity(country, request.channel),
            dlt: self.rules.dlt.as_ref().filter(|_| india),
        }
    }

    async fn send_message(
        &self,
        message: &Message<'_>,
        moment: Moment,
        record: &mut Record,
    ) -> Result<Receipt, Error> {
        let provider = &self.providers.current;
        let asked = Instant::now();
        let outcome = provider.send(message, moment.provider_time_left()).await;
        record.provider_answered(provider.name(), asked.elapsed());
        let receipt = outcome?;
        record.provider_request(receipt.request_id.clone());
        Ok(receipt)
    }

    /// Asks those who made codes of this verification, the last one first, until one says yes; says which one did.
    async fn ask_to_verify(
        &self,
        issued_by: &str,
        request: &VerifyRequest,
        reference: &ReferenceId,
        moment: Moment,
        record: &mut Record,
    ) -> Result<Option<&dyn Provider>, Error> {
        let issuers = self.providers.who(issued_by);
        if issuers.is_empty() {
            return Err(Error::new(ErrorCode::CodeExpired, "The code can no longer be verified: send a new one.")
                .with_cause(format!(
                    "the code was made by {issued_by}, and this function asks others: set OTP_PREVIOUS_PROVIDER"
                )));
        }
        let mut failed = None;
        for (index, &provider) in issuers.iter().enumerate() {
            // A code that it does not make is none of its codes.
            if !provider.limits().code.fits(&request.otp) {
                continue;
            }
            // Where another is to be asked, the first must leave it its time.
            let time =
                moment.provider_time_left() / u32::try_from(issuers.len() - index).unwrap_or(1);
            let asked = Instant::now();
            let outcome = provider
                .verify(&request.to, reference, &request.otp, time)
                .await;
            record.provider_answered(provider.name(), asked.elapsed());
            match outcome {
                Ok(answer) => {
                    record.provider_request(answer.request_id);
                    if answer.verdict == Verdict::Valid {
                        return Ok(Some(provider));
                    }
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // One that gave no answer might have said yes.
        failed.map_or(Ok(None), Err)
    }

    /// A send that nothing is known of afterwards: as AWS's example, and no more is promised.
    async fn send_uncounted(
        &self,
        request: &SendRequest,
        country: Country,
        moment: Moment,
        record: &mut Record,
    ) -> Result<Sent, Error> {
        let reference = self.new_reference(request)?;
        let receipt = self
            .send_message(&self.message(request, country, &reference), moment, record)
            .await?;
        // Counted from before the call, so that no caller is told of a code that has already ended.
        let sent = moment.millis();
        let receipt = SentReceipt {
            message_id: receipt.message_id,
            channel: request.channel.name().to_owned(),
            code_length: request.code_length,
            sent: sent.0,
            expires: sent.plus(minutes(request.validity_minutes)).0,
            attempts_left: None,
            resend: None,
            next: Vec::new(),
        };
        Ok(Sent { reference, receipt })
    }

    async fn verify_uncounted(
        &self,
        request: &VerifyRequest,
        reference: ReferenceId,
        moment: Moment,
        record: &mut Record,
    ) -> Result<ReferenceId, Error> {
        match self
            .ask_to_verify(&self.providers.all(), request, &reference, moment, record)
            .await?
        {
            Some(_) => Ok(reference),
            // Without a ledger nobody knows which of these it is: the provider only says no.
            None => Err(Error::new(
                ErrorCode::InvalidCode,
                "The code is wrong, expired, used up or unknown. Check it, or send a new one.",
            )),
        }
    }
}

/// Makes the verification verified: the step that only one of many right answers gets done.
///
/// Tried twice: the code is used up at the provider by now, and its owner would have to begin anew. That is safe,
/// because a first try that was carried out after all left the winner's own mark.
async fn consume(
    guard: &Limits,
    key: &crate::ledger::ItemName,
    generation: u64,
    success: &Success,
) -> Result<(), Error> {
    let step = match guard.store.consume(key, generation, success).await {
        Err(_) => guard.store.consume(key, generation, success).await,
        step => step,
    };
    match step? {
        Transition::Applied => Ok(()),
        Transition::Refused(seen) => limits::why_not_consumed(seen.as_ref(), success),
    }
}

/// Tells the provider that its code came back. Only after the success is written down, and whatever comes of it.
async fn tell_that_it_came_back(
    issuer: &dyn Provider,
    won: &Verification,
    moment: Moment,
    record: &Record,
) {
    // The message that is known is the last one, and it may be another provider's.
    let is_last = won.provider.split(',').next() == Some(issuer.name());
    let Some(message_id) = won.message_id.as_ref().filter(|_| is_last) else {
        return;
    };
    let time = FEEDBACK_TIME.min(moment.provider_time_left());
    if let Err(cause) = issuer.code_came_back(message_id, time).await {
        record.feedback_lost(message_id, &cause);
    }
}

fn no_ledger() -> Error {
    Error::new(
        ErrorCode::RouteNotFound,
        "This needs the ledger, and this function runs without one.",
    )
}

fn minutes(minutes: u8) -> Duration {
    Duration::from_secs(60 * u64::from(minutes))
}

impl Reference {
    fn resolve(&self, to: &PhoneNumber) -> ReferenceId {
        match self {
            Self::Given(reference) => reference.clone(),
            Self::Of { brand_name, source } => ReferenceId::derived(brand_name, source, to),
        }
    }
}
