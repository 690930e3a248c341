//! Breaks the rules one by one. The simulation must notice each broken rule.

use crate::books::Invariant;
use crate::naive::Naive;
use crate::seeds;

/// Runs the usual seeds until an invariant is violated.
#[track_caller]
fn is_caught(naive: Naive, expected: &[Invariant]) {
    let mut seeds = 0..10_000;
    let caught = seeds.find_map(|seed| Some((seed, seeds::run(seed, Some(naive)).err()?)));
    let (seed, violation) = caught.unwrap_or_else(|| panic!("{naive:?} is never noticed"));
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
fn detects_charging_after_asking() {
    is_caught(Naive::ChargesAfterAsking, &[Invariant::I1]);
}

#[test]
fn detects_attempts_spent_in_two_steps() {
    is_caught(Naive::SpendsAttemptsInTwoSteps, &[Invariant::I1]);
}

#[test]
fn detects_two_winners() {
    is_caught(
        Naive::ConsumesWithoutCondition,
        &[Invariant::I3, Invariant::I6],
    );
}

#[test]
fn detects_a_takeover_of_a_pending_idempotency_key() {
    // The second request may also have got the response of the first.
    is_caught(
        Naive::TakesOverPendingKeys,
        &[Invariant::I4, Invariant::Truth],
    );
}

#[test]
fn detects_sends_reserved_in_two_steps() {
    is_caught(Naive::ReservesInTwoSteps, &[Invariant::I7]);
}

#[test]
fn detects_budgets_spent_in_two_steps() {
    is_caught(Naive::SpendsInTwoSteps, &[Invariant::I8]);
}

#[test]
fn detects_a_refused_resend_that_ends_the_first_code() {
    is_caught(Naive::FailsRefusedResends, &[Invariant::Liveness]);
}

#[test]
fn detects_right_guesses_lost_to_resends() {
    is_caught(Naive::LosesGuessesToResends, &[Invariant::Liveness]);
}

#[test]
fn detects_forgotten_failures() {
    is_caught(Naive::ClearsEverything, &[Invariant::I2]);
}

#[test]
fn detects_refunds_of_sent_messages() {
    is_caught(Naive::RefundsUnclearSends, &[Invariant::I8]);
}

#[test]
fn detects_a_message_sent_before_its_record() {
    is_caught(Naive::WritesBehind, &[Invariant::I5]);
}

#[test]
fn detects_codes_that_share_one_reference_at_the_provider() {
    is_caught(Naive::GivesAllCodesOneReference, &[Invariant::I6]);
}

#[test]
fn detects_failures_counted_by_reference() {
    is_caught(Naive::CountsGuessesByReference, &[Invariant::I2]);
}

#[test]
fn detects_a_counter_that_is_deleted_too_early() {
    is_caught(Naive::ForgetsWindowsAtTheirEnd, &[Invariant::I8]);
}

#[test]
fn detects_a_stranger_spending_the_last_attempt() {
    is_caught(Naive::KnowsNoOwners, &[Invariant::Owner]);
}

#[test]
fn detects_a_late_cancel_of_a_newer_code() {
    is_caught(Naive::EndsAnyGeneration, &[Invariant::Liveness]);
}

#[test]
fn detects_a_canceled_verification_that_a_guess_reopens() {
    is_caught(Naive::ReopensEnds, &[Invariant::I6]);
}
