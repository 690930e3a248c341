//! Guesses: what they cost, and when they can be retried.

use crate::shared::{
    AGAIN, ENDED, MILLI, MINUTE, OPEN, OPENING, SENT, START, at, bring, digest, guess,
    is_refused_in, note, open, paid, seconds, see, the_verification, unpaid,
};
use otp_lambda::ledger::{
    Attempt, GUESS_PENDING, Guess, GuessOutcome, Ledger, Opening, Question, SessionDigest, State,
};
use otp_lambda::time::Millis;

pub(super) async fn only_the_owner_spends_the_last_attempt(ledger: &dyn Ledger) {
    let key = the_verification();
    let (owner, other) = (digest("owner"), digest("other"));
    let guess_of = async |session: &SessionDigest, guess: &str| {
        let question = Question {
            session: session.clone(),
            nonce: digest("nonce"),
        };
        ledger
            .spend_attempt(&key, &digest(guess), Some(&question), START)
            .await
            .unwrap()
    };
    let begun = Opening {
        owner: Some(&owner),
        state: State::Sent,
        ..OPENING
    };
    open(ledger, None, &begun).await;
    assert_eq!(see(ledger).await.owner.as_ref(), Some(&owner));
    assert_eq!(paid(guess_of(&other, "a").await).left, 2);
    assert_eq!(paid(guess_of(&other, "b").await).left, 1);
    assert_eq!(left_after_refusal(guess_of(&other, "c").await), 1);
    assert_eq!(paid(guess_of(&owner, "c").await).left, 0);
    assert_eq!(left_after_refusal(guess_of(&owner, "d").await), 0);

    // A new verification that no session began has no owner, although the one before had one.
    let new = Opening {
        left: 2,
        state: State::Sent,
        ..OPENING
    };
    open(ledger, Some(1), &new).await;
    assert_eq!(see(ledger).await.owner, None);
    assert_eq!(paid(guess_of(&owner, "a").await).left, 1);
    assert_eq!(left_after_refusal(guess_of(&owner, "b").await), 1);
    assert_eq!(
        paid(guess(ledger, "b", START).await).left,
        0,
        "a guess without a session may use the last attempt"
    );
}

pub(super) async fn a_question_delivered_twice_costs_once(ledger: &dyn Ledger) {
    let key = the_verification();
    let session = digest("session");
    let answer_to = async |question: &str, guess: &str, now| {
        let question = Question {
            session: session.clone(),
            nonce: digest(question),
        };
        ledger
            .spend_attempt(&key, &digest(guess), Some(&question), now)
            .await
            .unwrap()
    };
    let new = Opening {
        left: 9,
        state: State::Sent,
        ..OPENING
    };
    open(ledger, None, &new).await;
    let first = paid(answer_to("1", "a", START).await);
    assert_eq!(first.last_guess.unwrap().question, Some(digest("1")));
    // The provider has not answered yet, and later its answer is unclear.
    assert_eq!(
        left_after_refusal(answer_to("1", "a", at(GUESS_PENDING)).await),
        8
    );
    note(ledger, 1, "a", GuessOutcome::Unclear).await;
    assert_eq!(left_after_refusal(answer_to("1", "a", START).await), 8);
    // The person gives the same answer to the next question.
    assert_eq!(paid(answer_to("2", "a", START).await).left, 7);
    assert_eq!(
        left_after_refusal(answer_to("2", "a", at(GUESS_PENDING)).await),
        7
    );
    assert_eq!(
        left_after_refusal(answer_to("3", "a", START).await),
        7,
        "the guess is pending"
    );
    assert_eq!(paid(answer_to("3", "a", at(GUESS_PENDING)).await).left, 6);
    note(ledger, 1, "a", GuessOutcome::Invalid).await;
    assert_eq!(
        left_after_refusal(answer_to("4", "a", at(GUESS_PENDING)).await),
        6,
        "the guess is known to be wrong"
    );
    // Another answer is another guess, even to a question that was asked before.
    assert_eq!(paid(answer_to("3", "b", START).await).left, 5);
    // A new code does not remember the questions about the last one.
    assert!(ledger.reopen(&key, SENT, &AGAIN).await.unwrap());
    assert_eq!(see(ledger).await.last_guess, None);
    assert_eq!(paid(answer_to("3", "b", START).await).left, 4);
}

/// The attempts left, after a guess that was refused.
fn left_after_refusal(attempt: Attempt) -> u8 {
    unpaid(attempt).unwrap().left
}

/// A guess that the provider has not answered yet.
fn pending(guess: &str, at: Millis) -> Guess {
    Guess {
        code: digest(guess),
        outcome: GuessOutcome::Pending,
        at,
        question: None,
    }
}

pub(super) async fn a_guess_costs_an_attempt(ledger: &dyn Ledger) {
    for state in OPEN {
        bring(ledger, state).await;
        for (left, wrong) in [(2, "a"), (1, "b"), (0, "c")] {
            let now = OPENING.expires.minus(MILLI);
            let verification = paid(guess(ledger, wrong, now).await);
            assert_eq!(verification.left, left);
            assert_eq!(verification.last_guess, Some(pending(wrong, now)));
            assert_eq!(verification.state, state);
            assert_eq!(see(ledger).await, verification);
        }
        let verification = unpaid(guess(ledger, "d", START).await).unwrap();
        assert_eq!(
            (verification.left, verification.last_guess.unwrap().code),
            (0, digest("c"))
        );
    }
}

pub(super) async fn an_ended_verification_takes_no_guesses(ledger: &dyn Ledger) {
    assert_eq!(unpaid(guess(ledger, "a", START).await), None);
    assert_eq!(
        ledger.verification(&the_verification()).await.unwrap(),
        None
    );
    let step = |_| async move { unpaid(guess(ledger, "a", START).await) };
    is_refused_in(ledger, ENDED, step).await;
    bring(ledger, State::Sent).await;
    let before = see(ledger).await;
    assert_eq!(
        unpaid(guess(ledger, "a", OPENING.expires).await),
        Some(before.clone())
    );
    paid(guess(ledger, "a", OPENING.expires.minus(MILLI)).await);
    // After the end not even a pending guess can be retried.
    let before = see(ledger).await;
    assert_eq!(
        unpaid(guess(ledger, "a", OPENING.expires.plus(MINUTE)).await),
        Some(before)
    );
}

pub(super) async fn a_repeated_wrong_guess_is_refused(ledger: &dyn Ledger) {
    bring(ledger, State::Sent).await;
    paid(guess(ledger, "a", START).await);
    note(ledger, 1, "a", GuessOutcome::Invalid).await;
    for now in [START, at(GUESS_PENDING), at(MINUTE)] {
        let verification = unpaid(guess(ledger, "a", now).await).unwrap();
        assert_eq!(verification.left, 2);
        assert_eq!(
            verification.last_guess,
            Some(Guess {
                outcome: GuessOutcome::Invalid,
                ..pending("a", START)
            })
        );
    }
}

pub(super) async fn a_pending_guess_can_be_retried_once_after_five_seconds(ledger: &dyn Ledger) {
    bring(ledger, State::Sent).await;
    paid(guess(ledger, "a", START).await);
    for now in [START, at(GUESS_PENDING).minus(MILLI)] {
        assert_eq!(left_after_refusal(guess(ledger, "a", now).await), 2);
    }
    let now = at(GUESS_PENDING);
    let verification = paid(guess(ledger, "a", now).await);
    assert_eq!(verification.left, 1);
    assert_eq!(verification.last_guess, Some(pending("a", now)));
    assert_eq!(unpaid(guess(ledger, "a", now).await), Some(verification));
    unpaid(guess(ledger, "a", now.plus(GUESS_PENDING).minus(MILLI)).await);
    assert_eq!(
        paid(guess(ledger, "a", now.plus(GUESS_PENDING)).await).left,
        0
    );
    assert_eq!(
        left_after_refusal(guess(ledger, "a", now.plus(MINUTE)).await),
        0
    );
}

pub(super) async fn an_unclear_guess_can_be_retried_once(ledger: &dyn Ledger) {
    bring(ledger, State::Sent).await;
    paid(guess(ledger, "a", START).await);
    note(ledger, 1, "a", GuessOutcome::Unclear).await;
    assert_eq!(
        see(ledger).await.last_guess.unwrap().outcome,
        GuessOutcome::Unclear
    );
    let verification = paid(guess(ledger, "a", seconds(1)).await);
    assert_eq!(verification.left, 1);
    assert_eq!(verification.last_guess, Some(pending("a", seconds(1))));
    assert_eq!(
        unpaid(guess(ledger, "a", seconds(2)).await),
        Some(verification)
    );
}

pub(super) async fn only_the_last_guess_is_remembered(ledger: &dyn Ledger) {
    bring(ledger, State::Sent).await;
    for wrong in ["a", "b", "a"] {
        paid(guess(ledger, wrong, START).await);
        note(ledger, 1, wrong, GuessOutcome::Invalid).await;
    }
    assert_eq!(see(ledger).await.left, 0);
}

pub(super) async fn a_verdict_is_recorded_for_its_guess_only(ledger: &dyn Ledger) {
    let key = the_verification();
    let said = async || see(ledger).await.last_guess.unwrap().outcome;
    note(ledger, 1, "a", GuessOutcome::Invalid).await;
    assert_eq!(ledger.verification(&key).await.unwrap(), None);
    bring(ledger, State::Sent).await;
    note(ledger, 1, "a", GuessOutcome::Invalid).await;
    assert_eq!(see(ledger).await.last_guess, None);
    paid(guess(ledger, "a", START).await);
    paid(guess(ledger, "b", START).await);
    note(ledger, 1, "a", GuessOutcome::Invalid).await;
    assert_eq!(said().await, GuessOutcome::Pending);
    // The same guess at a new code is another guess.
    assert!(ledger.reopen(&key, SENT, &AGAIN).await.unwrap());
    paid(guess(ledger, "b", START).await);
    note(ledger, 1, "b", GuessOutcome::Invalid).await;
    assert_eq!(said().await, GuessOutcome::Pending);
    for answer in [GuessOutcome::Unclear, GuessOutcome::Invalid] {
        note(ledger, 2, "b", answer).await;
        assert_eq!(said().await, answer);
    }
}
