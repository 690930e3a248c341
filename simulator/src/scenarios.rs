//! Phone numbers that choose an outcome by themselves. A person only has to type such a number. The
//! control API is not needed.

use std::time::Duration;

use serde::Serialize;

use crate::failure::{Failure, Operation, Service};

/// A number whose requests have a fixed outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The number with one area code; other area codes do the same, see [`scenarios`].
    pub number: &'static str,
    /// Requests of other operations have their normal outcome.
    pub operation: Operation,
    /// The outcome at Pinpoint; [`outcome_at`](Self::outcome_at) gives it for other services.
    pub outcome: Outcome,
    /// The nearest outcome that End User Messaging has, if it lacks Pinpoint's.
    at_end_user_messaging: Option<Outcome>,
}

impl Scenario {
    /// The outcome at `service`: Pinpoint's, or the nearest one that `service` has.
    #[must_use]
    pub fn outcome_at(&self, service: Service) -> &Outcome {
        match &self.at_end_user_messaging {
            Some(at_end_user_messaging) if service == Service::EndUserMessaging => {
                at_end_user_messaging
            }
            _ => &self.outcome,
        }
    }

    const fn at_end_user_messaging(self, failure: Failure) -> Self {
        Self {
            number: self.number,
            operation: self.operation,
            outcome: self.outcome,
            at_end_user_messaging: Some(Outcome::Failure(failure)),
        }
    }
}

/// In JSON: the name of the failure, or `"every-guess-is-wrong"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Verify: every guess counts as wrong and uses up an attempt, even the right one.
    EveryGuessIsWrong,
    #[serde(untagged)]
    Failure(Failure),
}

impl Outcome {
    /// Describes in a few words, for the page, how a client of `service` sees the outcome.
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

/// The area code of the numbers in the list.
const AREA: &str = "+1425";

/// The last two digits say which request fails. 1x: the message cannot be delivered. 5x: the send
/// fails. 6x: the verify fails in the same ways as the sends of 5x. 0x, 2x, 3x and 4x are left for
/// numbers that work.
///
/// `CloseBeforeReading` is not in the list, because this failure closes the connection before the
/// body is read. The number is in the body, so the simulator does not know the number in time.
static SCENARIOS: [Scenario; 22] = [
    send("+14255550110", Failure::OptOut),
    send("+14255550111", Failure::PermanentFailure),
    send("+14255550112", Failure::PermanentFailureOptedOut).at_end_user_messaging(Failure::OptOut),
    send("+14255550113", Failure::Throttled).at_end_user_messaging(Failure::TooManyRequests),
    send("+14255550114", Failure::TemporaryFailure)
        .at_end_user_messaging(Failure::ServiceUnavailable),
    send("+14255550115", Failure::UnknownFailure)
        .at_end_user_messaging(Failure::InternalServerError),
    send("+14255550116", Failure::Duplicate).at_end_user_messaging(Failure::Conflict),
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

/// This is long enough to notice, and shorter than the usual timeouts of clients.
const LATE: Duration = Duration::from_secs(3);

const fn send(number: &'static str, failure: Failure) -> Scenario {
    Scenario {
        number,
        operation: Operation::Send,
        outcome: Outcome::Failure(failure),
        at_end_user_messaging: None,
    }
}

const fn verify(number: &'static str, outcome: Outcome) -> Scenario {
    Scenario {
        number,
        operation: Operation::Verify,
        outcome,
        at_end_user_messaging: None,
    }
}

/// The scenario numbers, in ascending order.
///
/// The numbers are in the block 555-0100 to 555-0199. Under every area code of +1, this block is
/// reserved for fiction, and no real phone has such a number. Any area code works. A service for
/// Canada can use Canadian numbers, and parallel tests can use different numbers for the same
/// outcome.
#[must_use]
pub fn scenarios() -> &'static [Scenario] {
    &SCENARIOS
}

/// The outcome of a request for `number`, if it is a scenario number.
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
    fn every_scenario_is_possible_and_has_its_own_number_in_the_block() {
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
