//! Judges a send without sending: which limits would refuse it, and which message it would send.
//!
//! The judgement reads what a send reads, in the same order, and asks the functions that refuse real sends. It counts
//! nothing, reserves nothing and asks no provider. So it holds only for the moment of its reads.

use super::devices;
use super::send_plan::SendPlan;
use super::sources::Source;
use super::{Call, Limits, MAX_SENDS, SendRequest, Service};
use crate::error::{Error, ErrorCode, Limit};
use crate::language::Tag;
use crate::ledger::{Door, ItemName, Looked, SpendingLine};
use crate::phone::{Country, PhoneNumber};
use crate::policy::{SendLimits, rounded_up};
use crate::provider::{Channel, Message};
use crate::reference::ReferenceId;
use crate::time::Millis;
use std::time::Duration;

const NOT_READ: &str =
    "The ledger could not be reached in time, so nothing is known about the send. Ask again.";

/// The answer to a send that is only judged.
#[derive(Debug)]
pub struct DryRun {
    pub to: PhoneNumber,
    /// The error that the send would get; `None` if nothing known here refuses it.
    pub refusal: Option<Error>,
    /// The limits that were read, in the order in which they are judged.
    pub rules: Vec<Rule>,
    pub is_test_number: bool,
    pub channel: Channel,
    pub language: Tag,
    /// The name of the provider that new codes are from.
    pub provider: &'static str,
    /// `None` if the send would get a random reference ID.
    pub reference: Option<ReferenceId>,
    /// The message; `None` if the send is refused before it is planned.
    pub planned: Option<Planned>,
}

/// One limit, and how much of it is used before this send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The name in `limit` of a refusal, or `verification` for the messages of one verification.
    pub name: &'static str,
    pub door: Door,
    pub unit: Unit,
    pub used: u64,
    pub limit: u64,
    /// `None` for a limit without a window.
    pub window: Option<Duration>,
    /// When the limit has room again, if it has none now.
    pub frees: Option<Millis>,
}

/// The unit of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Messages,
    /// The requests of an address.
    Requests,
    /// Failed guesses.
    Guesses,
    /// Money, counted in millionths of a dollar.
    Dollars,
}

/// The message that would be sent.
#[derive(Debug)]
pub struct Planned {
    pub brand_name: String,
    /// With a placeholder for the code; `None` if AWS writes the text.
    pub text: Option<String>,
    /// `None` if no message would be sent, because the number is a test number.
    pub segments: Option<u64>,
    /// In millionths of a dollar, as far as it is known.
    pub price: Option<u64>,
    /// The chance that all guesses at this one code together find it.
    pub chance_of_code: String,
    /// The chance and period that `GUESS_RISK` limits; `None` without a ledger.
    pub chance_of_number: Option<String>,
}

/// A send that is judged, with its names.
struct Judged<'a> {
    request: &'a SendRequest,
    country: Country,
    reference: &'a ReferenceId,
    item: &'a ItemName,
    is_test: bool,
    now: Millis,
}

impl Service {
    /// Judges a send. Writes nothing, and sends nothing.
    ///
    /// # Errors
    ///
    /// `ledger_unavailable`. A refusal of the send is no error.
    pub async fn dry_run(
        &self,
        request: &SendRequest,
        call: &mut Call<'_>,
    ) -> Result<DryRun, Error> {
        let limits = self.limits.as_ref();
        let reference = self.reference(request, limits, call, call.now)?;
        let is_random = request.reference.is_none()
            && self.reference_ids(request, limits, call) == super::ReferenceIds::Random;
        let is_test = limits.is_some_and(|it| it.test_number(&request.to, call.now).is_some());
        let mut told = DryRun {
            to: request.to.clone(),
            refusal: None,
            rules: Vec::new(),
            is_test_number: is_test,
            channel: request.channel,
            language: request.language.clone(),
            provider: self.providers.current.name(),
            reference: (!is_random).then(|| reference.clone()),
            planned: None,
        };
        let country = match self.check_number(&request.to, Some(request.channel), call) {
            Ok(country) => country,
            Err(refusal) => {
                told.refusal = Some(refusal);
                return Ok(told);
            }
        };
        let Some(limits) = limits else {
            let message = self.message(request, country, &reference);
            let segments = Some(self.providers.current.segments(&message));
            told.planned = Some(self.planned(&message, (segments, None), None));
            return Ok(told);
        };
        let item = limits.hasher.verification(&reference, &request.to);
        let send = Judged {
            request,
            country,
            reference: &reference,
            item: &item,
            is_test,
            now: call.now,
        };
        let judged = call
            .time_to_prepare()
            .run(self.judge(&send, limits, &mut told, call))
            .await;
        match judged {
            Ok(()) => Ok(told),
            Err(error) if is_failure(&error) => Err(error.if_ledger_unavailable(NOT_READ)),
            Err(refusal) => {
                told.refusal = Some(refusal);
                Ok(told)
            }
        }
    }

    /// Judges a send by the limits of the ledger.
    async fn judge(
        &self,
        send: &Judged<'_>,
        limits: &Limits,
        told: &mut DryRun,
        call: &Call<'_>,
    ) -> Result<(), Error> {
        let Judged { item, now, .. } = *send;
        let to = &send.request.to;
        let sources = limits.sources("send", &call.caller, now);
        let look = limits.look_before_send(to, item, &sources, now);
        let (looked, counters) = look.await?;
        told.rules.extend(rules_of_sources(&sources, &counters));
        Limits::check_sources(&sources, &counters, now)?;
        match self.judge_at(Door::Http, send, looked, limits, told).await {
            Err(refusal) if limits.is_for_device(&refusal, to, call).await? => {
                let door = Door::Device;
                let looked = limits.look(door, to, item, now).await?;
                self.judge_at(door, send, looked, limits, told)
                    .await
                    .map_err(|own| devices::sooner(refusal, own))
            }
            judged => judged,
        }
    }

    /// Judges a send by the limits of a door.
    async fn judge_at(
        &self,
        door: Door,
        send: &Judged<'_>,
        looked: Looked,
        limits: &Limits,
        told: &mut DryRun,
    ) -> Result<(), Error> {
        let Judged {
            request,
            country,
            is_test,
            now,
            ..
        } = *send;
        let lock = match door {
            Door::Device => limits.device_lock(&request.to).await?,
            _ => limits.lock_at(door),
        };
        told.rules.extend(rules_of_verification(door, &looked, now));
        if !is_test {
            told.rules
                .extend(rules_of_number(door, limits, &looked, lock, now));
            told.rules
                .extend(rules_of_prefix(door, limits, send, &looked));
        }
        let plan = limits
            .plan_send(request, door, looked, is_test, self.provider_limits(), now)
            .await?;
        let planned = self.planned_send(send, limits, &plan);
        let segments = planned.segments;
        told.planned = Some(planned);
        let Some(segments) = segments else {
            return Ok(());
        };
        let message = (country, request.channel, segments);
        for (spending, spent) in limits.read_budgets(door, message, now).await? {
            let over = spending.over(&spent);
            let lines = spending.lines.iter().zip(&spent);
            // A line that adds nothing looks at a second item of the same budget, which is nearly always empty.
            let lines =
                lines.filter(|(line, spent)| line.amount > 0 || **spent > 0 || over == Some(*line));
            told.rules
                .extend(lines.map(|(line, spent)| rule_of_budget(door, line, *spent, now)));
            if let Some(line) = over {
                return Err(super::limits::budget_spent(line, now));
            }
        }
        Ok(())
    }

    /// The message of a planned send.
    fn planned_send(&self, send: &Judged<'_>, limits: &Limits, plan: &SendPlan) -> Planned {
        let Judged {
            request,
            country,
            reference,
            ..
        } = *send;
        let code_reference = plan.code_reference(send.now);
        let known_as = limits.known_as(code_reference, reference, &request.to);
        let message = self.planned_message(request, country, &known_as, plan);
        let segments = (!send.is_test).then(|| self.providers.current.segments(&message));
        let charge = limits.charge((country, request.channel), segments);
        let chance = limits.policy.guess_chance.to_string();
        self.planned(&message, charge, Some(chance))
    }

    fn planned(
        &self,
        message: &Message<'_>,
        (segments, price): (Option<u64>, Option<u64>),
        chance_of_number: Option<String>,
    ) -> Planned {
        Planned {
            brand_name: message.brand_name.to_owned(),
            text: segments.and_then(|_| self.providers.current.text(message)),
            segments,
            price,
            chance_of_code: rounded_up(message.allowed_attempts.into(), message.code_length),
            chance_of_number,
        }
    }
}

/// Whether an error says that the send could not be judged.
fn is_failure(error: &Error) -> bool {
    matches!(
        error.code(),
        ErrorCode::LedgerUnavailable | ErrorCode::InternalError
    )
}

fn rules_of_sources(sources: &[Source<'_>], counters: &[u64]) -> Vec<Rule> {
    let rule = |(source, used): (&Source<'_>, &u64)| Rule {
        name: Limit::Source.name(),
        door: Door::Http,
        unit: Unit::Requests,
        used: *used,
        limit: source.rate.count,
        window: Some(source.rate.window),
        frees: (*used >= source.rate.count).then(|| source.window.end()),
    };
    sources.iter().zip(counters).map(rule).collect()
}

/// The messages of an open verification.
fn rules_of_verification(door: Door, looked: &Looked, now: Millis) -> Option<Rule> {
    let open = looked.verification.as_ref().filter(|it| it.is_open(now))?;
    Some(Rule {
        name: "verification",
        door,
        unit: Unit::Messages,
        used: open.sends.into(),
        limit: MAX_SENDS.into(),
        window: None,
        frees: (open.sends >= MAX_SENDS).then_some(open.expires),
    })
}

/// The failed guesses at a number, and its windows.
fn rules_of_number(
    door: Door,
    limits: &Limits,
    looked: &Looked,
    lock: u32,
    now: Millis,
) -> Vec<Rule> {
    let number = &looked.number;
    let after_guesses = SendLimits::after_guesses(number);
    let is_locked = number.failures >= lock;
    let guesses = Rule {
        name: Limit::Guesses.name(),
        door,
        unit: Unit::Guesses,
        used: number.failures.into(),
        limit: lock.into(),
        window: None,
        // A lock has no end.
        frees: (after_guesses > now && !is_locked).then_some(after_guesses),
    };
    let windows = limits.of(door).send_limits.windows().iter().map(|window| {
        let is_in = |at: &&Millis| at.plus(window.length) > now;
        let used = number.sends.iter().filter(is_in).count();
        let oldest = window
            .sends
            .checked_sub(1)
            .and_then(|nth| number.sends.get(nth));
        let frees = oldest.map(|oldest| oldest.plus(window.length));
        Rule {
            name: Limit::Number.name(),
            door,
            unit: Unit::Messages,
            used: used as u64,
            limit: window.sends as u64,
            window: Some(window.length),
            frees: frees.filter(|frees| *frees > now),
        }
    });
    [guesses].into_iter().chain(windows).collect()
}

fn rules_of_prefix(door: Door, limits: &Limits, send: &Judged<'_>, looked: &Looked) -> Vec<Rule> {
    let prefixes = limits.prefixes(door, &send.request.to, send.now);
    prefixes
        .zip(&looked.counters)
        .map(|((rate, window, _), used)| Rule {
            name: Limit::Prefix.name(),
            door,
            unit: Unit::Messages,
            used: *used,
            limit: rate.count,
            window: Some(rate.window),
            frees: (*used >= rate.count).then(|| window.end()),
        })
        .collect()
}

fn rule_of_budget(door: Door, line: &SpendingLine, spent: u64, now: Millis) -> Rule {
    let limit = if line.of_country {
        Limit::Country
    } else {
        Limit::Budget
    };
    let has_room = spent
        .checked_add(line.amount)
        .is_some_and(|total| total <= line.cap);
    Rule {
        name: limit.name(),
        door,
        unit: if line.is_money() {
            Unit::Dollars
        } else {
            Unit::Messages
        },
        used: spent,
        limit: line.cap,
        window: Some(line.period()),
        frees: (!has_room).then_some(line.ends).filter(|ends| *ends > now),
    }
}
