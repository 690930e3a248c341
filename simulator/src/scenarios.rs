//! The numbers that choose an outcome by themselves, for whoever has a phone number to type and no control API at hand.

use std::time::Duration;

use serde::Serialize;

use crate::failure::{Failure, Operation, Service};

/// A number whose requests never go the normal way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The number, in one area code. What counts is the rest: see [`scenarios`].
    pub number: &'static str,
    /// The requests it holds for; those of the other operation are answered as for any number.
    pub operation: Operation,
    /// What happens to each of them at Pinpoint; [`outcome_at`](Self::outcome_at) knows of other services.
    pub outcome: Outcome,
    /// What comes nearest to it at End User Messaging, if it does not exist there.
    elsewhere: Option<Outcome>,
}

impl Scenario {
    /// What happens to each of them at `service`: at End User Messaging the same, or what comes nearest to it there.
    #[must_use]
    pub fn outcome_at(&self, service: Service) -> &Outcome {
        match &self.elsewhere {
            Some(elsewhere) if service == Service::EndUserMessaging => elsewhere,
            _ => &self.outcome,
        }
    }

    const fn elsewhere(self, failure: Failure) -> Self {
        Self {
            number: self.number,
            operation: self.operation,
            outcome: self.outcome,
            elsewhere: Some(Outcome::Failure(failure)),
        }
    }
}

/// What happens to every request of a scenario. In JSON: the name of the failure, or `"every-guess-is-wrong"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Verify: the answer to a wrong guess, and an attempt is spent, even if it was right.
    EveryGuessIsWrong,
    /// This failure, with what it does to texts and attempts.
    #[serde(untagged)]
    Failure(Failure),
}

impl Outcome {
    /// What a client of `service` sees, in a few words for a person.
    #[must_use]
    pub fn sees(&self, service: Service) -> &'static str {
        match (self, service) {
            (Self::EveryGuessIsWrong, Service::EndUserMessaging) => {
                "200, INVALID, whatever the guess"
            }
            (Self::EveryGuessIsWrong, _) => "200, Valid is false, whatever the guess",
            (Self::Failure(failure), _) => failure.sees(service),
        }
    }
}

/// The area code that the list is written with.
const AREA: &str = "+1425";

/// 1x: no text arrives. 5x: the send fails. 6x: the verify fails, and the last digit means what it means in 5x.
///
/// Not `CloseBeforeReading`: the number is in the body. 0x, 2x, 3x and 4x stay free for numbers that work.
static SCENARIOS: [Scenario; 22] = [
    send("+14255550110", Failure::OptOut),
    send("+14255550111", Failure::PermanentFailure),
    send("+14255550112", Failure::PermanentFailureOptedOut).elsewhere(Failure::OptOut),
    send("+14255550113", Failure::Throttled).elsewhere(Failure::TooManyRequests),
    send("+14255550114", Failure::TemporaryFailure).elsewhere(Failure::ServiceUnavailable),
    send("+14255550115", Failure::UnknownFailure).elsewhere(Failure::InternalServerError),
    send("+14255550116", Failure::Duplicate).elsewhere(Failure::Conflict),
    send("+14255550150", Failure::InternalServerError),
    send("+14255550151", Failure::TooManyRequests),
    send("+14255550152", Failure::AccessDenied),
    send("+14255550153", Failure::BadRequest),
    send("+14255550154", Failure::Slow(LATE)),
    send("+14255550155", Failure::Hang),
    send("+14255550156", Failure::CloseAfterReading),
    verify(
        "+14255550160",
        Outcome::Failure(Failure::InternalServerError),
    ),
    verify("+14255550161", Outcome::Failure(Failure::TooManyRequests)),
    verify("+14255550162", Outcome::Failure(Failure::AccessDenied)),
    verify("+14255550163", Outcome::Failure(Failure::BadRequest)),
    verify("+14255550164", Outcome::Failure(Failure::Slow(LATE))),
    verify("+14255550165", Outcome::Failure(Failure::Hang)),
    verify("+14255550166", Outcome::Failure(Failure::CloseAfterReading)),
    verify("+14255550167", Outcome::EveryGuessIsWrong),
];

/// Long enough for a person to see it, shorter than a client's usual patience.
const LATE: Duration = Duration::from_secs(3);

const fn send(number: &'static str, failure: Failure) -> Scenario {
    Scenario {
        number,
        operation: Operation::Send,
        outcome: Outcome::Failure(failure),
        elsewhere: None,
    }
}

const fn verify(number: &'static str, outcome: Outcome) -> Scenario {
    Scenario {
        number,
        operation: Operation::Verify,
        outcome,
        elsewhere: None,
    }
}

/// The scenario numbers, in ascending order: of the block 555-0100 to 555-0199, which is kept for fiction and belongs to
/// nobody.
///
/// The area code is free. The block exists under every area code of +1, so no number that anybody has can match; a
/// service that serves Canada alone has its outcomes too, and tests that run side by side each have a number of their own
/// for the same one.
#[must_use]
pub fn scenarios() -> &'static [Scenario] {
    &SCENARIOS
}

/// What happens at this service to a request for this number, if it is a scenario.
pub(crate) fn outcome(
    service: Service,
    operation: Operation,
    number: &str,
) -> Option<&'static Outcome> {
    let (area, line) = number.strip_prefix("+1")?.split_at_checked(3)?;
    // No area code begins with 0 or 1.
    if !area.bytes().all(|digit| digit.is_ascii_digit()) || area.starts_with(['0', '1']) {
        return None;
    }
    SCENARIOS
        .iter()
        .find(|scenario| {
            scenario.operation == operation && scenario.number.strip_prefix(AREA) == Some(line)
        })
        .map(|scenario| scenario.outcome_at(service))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_can_happen_and_has_a_number_of_its_own_in_the_block() {
        assert!(SCENARIOS.is_sorted_by(|one, next| one.number < next.number));
        for Scenario {
            number, operation, ..
        } in &SCENARIOS
        {
            assert!(
                number.len() == 12 && number.starts_with("+142555501"),
                "{number}"
            );
            for service in [Service::Pinpoint, Service::EndUserMessaging] {
                match super::outcome(service, *operation, number).unwrap() {
                    Outcome::EveryGuessIsWrong => assert_eq!(*operation, Operation::Verify),
                    Outcome::Failure(failure) => {
                        assert!(failure.applies_to(service, *operation), "{number}");
                        assert_ne!(*failure, Failure::CloseBeforeReading, "{number}");
                    }
                }
            }
        }
    }
}
