//! The contract of the ledger. Both ledgers pass it: the one in DynamoDB and the one in memory.

mod budgets;
mod devices;
mod ends;
mod guesses;
mod keys;
mod looks;
mod numbers;
mod sends;

use futures_util::future::BoxFuture;
use otp_lambda::ledger::Ledger;

/// A test of the contract, on an empty ledger.
pub(crate) type Case = for<'a> fn(&'a dyn Ledger) -> BoxFuture<'a, ()>;

macro_rules! contract {
    ($($topic:ident: $($case:ident)*;)*) => {
        pub(crate) const CASES: &[(&str, Case)] =
            &[$($((stringify!($case), |ledger| Box::pin($topic::$case(ledger)))),*),*];
        contract! { dynamodb: crate::emulator::Emulator::new().ledger(); $($topic: $($case)*;)* }
        contract! { memory: simulator::MemoryLedger::new(); $($topic: $($case)*;)* }
    };
    ($store:ident: $new:expr; $($topic:ident: $($case:ident)*;)*) => {
        mod $store {
            $($(#[tokio::test]
            async fn $case() {
                super::$topic::$case(&$new).await;
            })*)*
        }
    };
}

contract! {
    budgets:
        switches_are_off_by_default
        a_counter_stops_at_its_cap
        an_uncounted_request_frees_its_place
        a_lowered_cap_applies_at_once
        a_budget_can_be_spent_to_the_last_unit
        a_refused_message_spends_nothing
        a_message_over_any_cap_is_refused
        a_refund_can_be_spent_again
        a_refund_of_what_was_not_spent_takes_nothing
        no_counter_goes_below_zero
        each_hour_starts_a_new_counter_in_the_item_of_its_day
        a_line_of_zero_is_only_compared
        spending_returns_the_counters
        what_was_spent_can_be_read
        a_counter_can_be_read;
    looks:
        a_look_at_nothing_finds_nothing
        a_look_finds_what_single_reads_find;
    keys:
        a_key_is_held_until_it_is_released
        only_its_holder_releases_and_finishes_a_key
        a_key_holds_the_outcome_of_its_request
        a_key_is_free_after_a_day;
    devices:
        a_device_is_known_until_it_expires;
    numbers:
        a_new_number_has_no_history
        a_window_allows_its_sends_and_no_more
        all_windows_apply
        new_windows_count_earlier_sends
        only_the_last_sends_are_remembered
        failed_guesses_delay_sends
        failures_do_not_change_the_windows
        sends_are_allowed_again_after_failures_are_cleared
        a_number_is_locked_at_a_hundred_failures
        a_lock_of_zero_allows_no_guess
        a_success_clears_the_failures_up_to_it
        later_failures_stay
        failures_are_cleared_once
        an_operator_unlocks;
    sends:
        an_opened_verification_reads_back
        a_verification_opens_only_over_the_generation_seen
        a_new_verification_keeps_only_the_used_codes
        used_codes_are_kept_until_they_are_forgotten
        a_further_code_keeps_the_attempts
        an_ended_verification_gets_no_further_code
        a_resend_that_saw_a_send_under_way_comes_too_late_once_it_is_settled
        a_reserved_send_is_settled_once
        a_settlement_of_an_older_generation_is_ignored
        only_the_request_that_reserved_a_send_settles_it;
    guesses:
        only_the_owner_spends_the_last_attempt
        a_question_delivered_twice_costs_once
        a_guess_costs_an_attempt
        an_ended_verification_takes_no_guesses
        a_repeated_wrong_guess_is_refused
        a_pending_guess_can_be_retried_once_after_five_seconds
        an_unclear_guess_can_be_retried_once
        only_the_last_guess_is_remembered
        a_verdict_is_recorded_for_its_guess_only;
    ends:
        a_sign_in_cannot_be_redeemed
        each_generation_succeeds_at_most_once
        a_success_is_recorded
        a_code_that_may_verify_again_does_not_become_a_used_code
        an_open_verification_can_be_canceled
        an_ended_verification_cannot_be_canceled
        a_success_is_redeemed_once
        a_success_is_redeemable_for_ten_minutes
        only_a_success_can_be_redeemed
        a_cancel_ends_no_other_generation
        the_success_of_another_generation_is_not_redeemed;
}
