//! Explains a number to an operator: what the ledger has about it, and which limits hold until when.

use super::limits::budget_spent;
use super::sign_in_counters::together;
use super::switches::is_about;
use super::{Call, Limits, Service};
use crate::error::{Error, Limit};
use crate::ledger::{Door, Number, Pseudonym};
use crate::phone::{Country, PhoneNumber};
use crate::policy::Wait;
use crate::time::Millis;
use std::time::Duration;

const NOT_READ: &str =
    "The ledger could not be reached in time, so nothing is known about the number. Ask again.";

const DAY: Duration = Duration::from_hours(24);

/// The answer to an operator who asks about a number.
#[derive(Debug)]
pub struct Explanation {
    /// The name of the number in the log.
    pub in_log: Pseudonym,
    /// Sentences without the number.
    pub lines: Vec<String>,
}

impl Service {
    /// Explains which limits hold for a number until when. Changes nothing.
    ///
    /// # Errors
    ///
    /// `ledger_unavailable`; `route_not_found` without a ledger.
    pub async fn why(
        &self,
        number: &PhoneNumber,
        call: &mut Call<'_>,
    ) -> Result<Explanation, Error> {
        let limits = self.ledger()?;
        let mut lines = Vec::new();
        let served = self.check_number(number, None, call);
        if let Err(error) = &served {
            let (code, detail) = (error.code().name(), error.detail());
            lines.push(format!("It gets no codes, because of `{code}`. {detail}"));
        }
        let reading = async {
            let mut read = switched(limits, number).await?;
            if let Some(test) = limits.test_number(number, call.now) {
                let until = test.until.rfc3339();
                read.push(format!(
                    "It is a test number until {until}: it gets no messages."
                ));
                return Ok(read);
            }
            for door in doors(limits) {
                read.extend(
                    self.at_door(limits, door, number, served.as_ref().ok(), call.now)
                        .await?,
                );
            }
            Ok(read)
        };
        let read = call.time_to_record().run(reading).await;
        lines.extend(read.map_err(|error| error.if_ledger_unavailable(NOT_READ))?);
        let in_log = limits.hasher.number_in_log(number);
        Ok(Explanation { in_log, lines })
    }

    /// The history of the number at a door, and the limits that hold there.
    async fn at_door(
        &self,
        limits: &Limits,
        door: Door,
        number: &PhoneNumber,
        country: Option<&Country>,
        now: Millis,
    ) -> Result<Vec<String>, Error> {
        let own = limits
            .store
            .number(&limits.hasher.number_at(door, number))
            .await?;
        let mut lines = vec![format!("{}: {}", words(door), history(&own, now))];
        let mut hold = |limit: &str, until: Millis| {
            let until = until.rfc3339_rounded_up();
            let line = format!("{}: the limit `{limit}` holds until {until}.", words(door));
            // A country can have its budget in two items.
            if !lines.contains(&line) {
                lines.push(line);
            }
        };
        match self.wait(limits, door, number, own, now).await? {
            None => {}
            Some(Wait { until: None, .. }) => {
                lines.push(format!(
                    "{}: it is locked, and gets `destination_locked`, until `make unlock`.",
                    words(door)
                ));
                return Ok(lines);
            }
            Some(Wait {
                until: Some(until),
                guesses,
                ..
            }) => {
                let limit = if guesses {
                    Limit::Guesses
                } else {
                    Limit::Number
                };
                hold(limit.name(), until);
            }
        }
        for (rate, window, item) in limits.prefixes(door, number, now) {
            if limits.store.counted(&item).await? >= rate.count {
                hold(Limit::Prefix.name(), window.end());
            }
        }
        // A country that gets no codes has no budget.
        let channel = self.provider_limits().usual_channel();
        let budgets = match country {
            Some(country) => {
                let message = (*country, channel, 1);
                limits.read_budgets(door, message, now).await?
            }
            None => Vec::new(),
        };
        for (spending, spent) in &budgets {
            if let Some(line) = spending.over(spent)
                && let Some(limit) = budget_spent(line, now).limit()
            {
                hold(limit.name(), line.ends);
            }
        }
        if lines.len() == 1 {
            lines.push(format!("{}: no limit holds.", words(door)));
        }
        Ok(lines)
    }

    /// The wait for the next message to the number through a door. For sign-ins, the messages over HTTP count as well.
    async fn wait(
        &self,
        limits: &Limits,
        door: Door,
        number: &PhoneNumber,
        own: Number,
        now: Millis,
    ) -> Result<Option<Wait>, Error> {
        let of_door = limits.of(door).send_limits.wait(&own, now);
        let is_locked = of_door.is_some_and(|wait| wait.until.is_none());
        if door != Door::SignIn || is_locked {
            return Ok(of_door);
        }
        let http = limits.store.number(&limits.hasher.number(number)).await?;
        let joint = limits.joint_send_limits().wait(&together(http, own), now);
        Ok([of_door, joint]
            .into_iter()
            .flatten()
            .max_by_key(|wait| wait.until.unwrap_or(Millis(u64::MAX))))
    }
}

/// The doors that are open.
fn doors(limits: &Limits) -> impl Iterator<Item = Door> {
    let sign_in = limits.has_sign_ins().then_some(Door::SignIn);
    let device = limits.devices_kept().map(|_| Door::Device);
    [Some(Door::Http), sign_in, device].into_iter().flatten()
}

fn words(door: Door) -> &'static str {
    match door {
        Door::Http => "Over HTTP",
        Door::SignIn => "At sign-ins",
        Door::Device => "With a device token",
    }
}

/// The switches that hold for the number.
async fn switched(limits: &Limits, number: &PhoneNumber) -> Result<Vec<String>, Error> {
    let switches = limits.store.switches().await?;
    let item = limits.hasher.number(number);
    let holds = |entry: &&String| is_about(entry, &item, number);
    let mut lines = Vec::new();
    if switches.paused {
        lines.push("Sending is paused for all numbers, until `make resume`.".to_owned());
    }
    let is_allowed = switches.allowed.iter().any(|entry| holds(&entry));
    for entry in switches.blocked.iter().filter(holds) {
        let (of, undo) = if entry.starts_with('+') {
            (
                format!("all numbers that begin with {entry}"),
                format!("make unblock PREFIX={entry}"),
            )
        } else {
            ("this number".to_owned(), "make unblock NUMBER=…".to_owned())
        };
        lines.push(if is_allowed {
            format!("There is a block of {of}, and this number is allowed in spite of it.")
        } else {
            format!("There is a block of {of}, until `{undo}`.")
        });
    }
    Ok(lines)
}

/// The sends and failed guesses of the number.
fn history(number: &Number, now: Millis) -> String {
    let recent = number
        .sends
        .iter()
        .filter(|at| now.since(**at) < DAY)
        .count();
    let messages = match (recent, number.sends.first()) {
        (0, None) => "no message is on record".to_owned(),
        (0, Some(last)) => format!("no message in 24 hours, the last at {}", last.rfc3339()),
        (1, Some(last)) => format!("1 message in 24 hours, at {}", last.rfc3339()),
        (_, last) => {
            let last = last.copied().unwrap_or_default().rfc3339();
            format!("{recent} messages in 24 hours, the last at {last}")
        }
    };
    let failures = match number.failures {
        0 => "no failed guess".to_owned(),
        1 => "1 failed guess since the last success".to_owned(),
        failures => format!("{failures} failed guesses since the last success"),
    };
    format!("{messages}; {failures}.")
}
