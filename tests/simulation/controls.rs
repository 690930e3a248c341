//! Each rule broken in turn: a simulation that does not see it would prove nothing.

use crate::books::Invariant;
use crate::naive::Naive;
use crate::seeds;

/// Runs the same seeds until something is violated, and says what.
#[track_caller]
fn is_caught(naive: Naive, expected: &[Invariant]) {
    let caught = (0..10_000).find_map(|seed| Some((seed, seeds::run(seed, Some(naive)).err()?)));
    let (seed, violation) = caught.unwrap_or_else(|| panic!("{naive:?} is never seen"));
    println!(
        "{naive:?}: seed {seed}, {:?}: {}",
        violation.invariant, violation.what
    );
    assert!(
        expected.contains(&violation.invariant),
        "{violation:?}\n{}",
        seeds::story(seed, Some(naive))
    );
}

#[test]
fn charging_after_asking_is_seen() {
    is_caught(Naive::ChargesAfterAsking, &[Invariant::I1]);
}

#[test]
fn attempts_that_are_spent_in_two_steps_are_seen() {
    is_caught(Naive::SpendsAttemptsInTwoSteps, &[Invariant::I1]);
}

#[test]
fn two_winners_are_seen() {
    is_caught(
        Naive::ConsumesWithoutCondition,
        &[Invariant::I3, Invariant::I6],
    );
}

#[test]
fn a_pending_key_that_is_taken_over_is_seen() {
    // What the first request did is told under the name of the second.
    is_caught(
        Naive::TakesOverPendingKeys,
        &[Invariant::I4, Invariant::Truth],
    );
}

#[test]
fn places_that_are_taken_in_two_steps_are_seen() {
    is_caught(Naive::ReservesInTwoSteps, &[Invariant::I7]);
}

#[test]
fn budgets_that_are_spent_in_two_steps_are_seen() {
    is_caught(Naive::SpendsInTwoSteps, &[Invariant::I8]);
}

#[test]
fn a_resend_that_ends_the_first_code_is_seen() {
    is_caught(Naive::FailsRefusedResends, &[Invariant::Liveness]);
}

#[test]
fn failures_that_are_forgotten_are_seen() {
    is_caught(Naive::ClearsEverything, &[Invariant::I2]);
}

#[test]
fn refunds_of_texts_that_left_are_seen() {
    is_caught(Naive::RefundsUnclearSends, &[Invariant::I8]);
}

#[test]
fn a_text_before_its_record_is_seen() {
    is_caught(Naive::WritesBehind, &[Invariant::I5]);
}

#[test]
fn guesses_under_many_names_are_seen() {
    is_caught(Naive::CountsGuessesByReference, &[Invariant::I2]);
}

#[test]
fn a_code_that_works_again_is_seen() {
    is_caught(Naive::ForgetsUsedCodes, &[Invariant::I6]);
}

#[test]
fn a_code_that_works_again_after_another_is_seen() {
    is_caught(Naive::RemembersTheLastUsedCode, &[Invariant::I6]);
}

#[test]
fn a_counter_that_goes_too_early_is_seen() {
    is_caught(Naive::ForgetsWindowsAtTheirEnd, &[Invariant::I8]);
}

#[test]
fn a_last_attempt_that_a_stranger_pays_is_seen() {
    is_caught(Naive::KnowsNoOwners, &[Invariant::Owner]);
}
