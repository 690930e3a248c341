//! A guess in the ledger: its names, and the steps that record what has become of it.

use super::{Call, Limits, VerifyRequest, refusals};
use crate::error::Error;
use crate::ledger::{
    Charge, CodeDigest, Door, GuessOutcome, Issuer, ItemName, NEAR_LOCK, Question, Success,
    Transition, USED, Verification, Winner,
};
use crate::provider::Provider;
use crate::reference::ReferenceId;
use crate::time::Millis;
use std::time::Duration;

/// How long the feedback about a right code may take. It is short because the person waits for it.
const FEEDBACK_TIME: Duration = Duration::from_millis(300);

/// The failures of a number's devices at which the operator is warned. Their lock is lower than that of other doors.
const NEAR_DEVICE_LOCK: u32 = 5;

/// A guess, with its names in the ledger.
pub(super) struct Guess {
    pub(super) item: ItemName,
    /// Whether `item` is the one of a foreign code.
    pub(super) is_foreign: bool,
    /// Whether the code has already succeeded as a foreign code.
    pub(super) is_used_foreign_code: bool,
    pub(super) code: CodeDigest,
    pub(super) door: Door,
    /// Whether a failure counts for the number. If not, the failure moves a decoy.
    pub(super) counts: bool,
    pub(super) number_item: ItemName,
    pub(super) winner: Winner,
    pub(super) question: Option<Question>,
}

impl Guess {
    pub(super) fn new(
        reference: &ReferenceId,
        request: &VerifyRequest,
        limits: &Limits,
        call: &Call<'_>,
    ) -> Result<Self, Error> {
        let (hasher, to) = (&limits.hasher, &request.to);
        let door = match call.caller.sign_in {
            Some(_) => Door::SignIn,
            None => Door::Http,
        };
        Ok(Self {
            item: hasher.verification(reference, to),
            is_foreign: false,
            is_used_foreign_code: false,
            code: hasher.guess(reference, to, &request.otp),
            door,
            counts: true,
            number_item: hasher.number_at(door, to),
            winner: limits.winner(&call.caller, to)?,
            question: limits.question(&call.caller, to)?,
        })
    }
}

#[expect(clippy::large_enum_variant, reason = "short-lived")]
pub(super) enum Spent {
    /// One attempt; the verification as it now stands.
    Attempt(Verification),
    /// Nothing: the winner has repeated its request, and gets the same success again.
    SameSuccess,
}

/// Tells the operator once that a number is on its way to the lock. Do not call this for a right guess: a right guess
/// was charged as well, but is no failure. If many guesses come at once, each charge has a different count of failures,
/// so only one charge has the count at which the warning is written.
pub(super) fn warn_of_lock(
    limits: &Limits,
    guess: &Guess,
    charge: Option<Charge>,
    call: &Call<'_>,
) {
    let Some(Charge { failures, .. }) = charge.filter(|_| guess.counts) else {
        return;
    };
    let is_near = match guess.door {
        Door::Device => failures == NEAR_DEVICE_LOCK,
        Door::Http | Door::SignIn => NEAR_LOCK.contains(&failures),
    };
    if is_near {
        let lock = limits.lock_at(guess.door);
        call.record.number_near_lock(guess.door, failures, lock);
    }
}

pub(super) async fn note(
    limits: &Limits,
    guess: &Guess,
    verification: &Verification,
    outcome: GuessOutcome,
    call: &mut Call<'_>,
) {
    // A guess in a sign-in is always recorded as unclear. During an outage of the provider, a guess at a real code has
    // no verdict, while a guess at a decoy is wrong. If the records of the two guesses differed, they would show who
    // has an account. Because of this rule, the same wrong answer to a later question costs another attempt.
    let outcome = match call.caller.sign_in {
        Some(_) => GuessOutcome::Unclear,
        None => outcome,
    };
    let noted =
        limits
            .store
            .note_answer(&guess.item, verification.generation, &guess.code, outcome);
    call.best_effort("note", noted).await;
}

/// Marks the verification as verified. If several right answers arrive at once, this step succeeds for only one. If the
/// step fails, it is tried a second time. Without a second try, the person would have to start over, because the
/// provider does not accept the code again. The second try is safe: if the first try was carried out and only its
/// response was lost, the item names this request as the winner.
pub(super) async fn consume(
    limits: &Limits,
    guess: &Guess,
    paid: &Verification,
    issuer: &Issuer,
    now: Millis,
) -> Result<(), Error> {
    let success = Success {
        winner: guess.winner.clone(),
        code: guess.code.clone(),
        at: now,
    };
    // The fixed code of a test number must verify again after each send, so this code is never recorded as used. Used
    // codes would also fill the item, because no window limits the sends to test numbers.
    let used_until = (*issuer != Issuer::TestNumber).then(|| now.plus(USED));
    let store = &limits.store;
    let mut generation = paid.generation;
    loop {
        let step = || store.consume(&guess.item, generation, &success, used_until);
        let consumed = match step().await {
            Err(_) => step().await,
            consumed => consumed,
        };
        let seen = match consumed? {
            Transition::Applied => return Ok(()),
            Transition::Refused(seen) => seen,
        };
        if refusals::has_won(seen.as_ref(), &success) {
            return Ok(());
        }
        // A resend has begun a new generation meanwhile. The resend ends this code only when its message has been sent.
        match seen {
            Some(seen) if seen.generation > generation && seen.still_accepts(issuer, paid) => {
                generation = seen.generation;
            }
            seen => return Err(refusals::too_late(seen.as_ref())),
        }
    }
}

/// Tells the provider that its message arrived. The success has been recorded before, so a failure changes nothing.
pub(super) async fn give_feedback(issuer: &dyn Provider, won: &Verification, call: &mut Call<'_>) {
    // Only the ID of the last message is known. After an unclear send, the code may have come in another message.
    let Some(message_id) = won.message_id.as_ref().filter(|_| won.issuers.len() == 1) else {
        return;
    };
    let time = FEEDBACK_TIME.min(call.provider_time_left());
    if let Err(cause) = issuer.code_came_back(message_id, time).await {
        call.record.feedback_lost(message_id, &cause);
    }
}
