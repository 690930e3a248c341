//! Verifications and the guesses at them.

use otp_lambda::{
    ledger::{
        Attempt, CodeDigest, GUESS_PENDING, Guess, GuessOutcome, Holder, ItemName, Opening,
        Question, REDEEMABLE, Redeemer, Resend, Seen, Settled, State, Success, Transition,
        UsedCode, Verification,
    },
    time::Millis,
};

use super::Items;

impl Items {
    pub(super) fn verification(&self, item: &ItemName) -> Option<Verification> {
        self.verifications.get(item).cloned()
    }

    pub(super) fn open(&mut self, item: &ItemName, seen: Option<u64>, new: &Opening<'_>) -> bool {
        let stored = self.verifications.get(item);
        if stored.map(|stored| stored.generation) != seen {
            return false;
        }
        let mut opened = Verification {
            generation: seen.unwrap_or_default() + 1,
            state: new.state,
            holder: new.holder,
            expires: new.expires,
            first: new.first,
            left: new.left,
            sends: 1,
            issuers: new.issuers.to_vec(),
            plain_until: new.plain_until,
            message_id: None,
            channel: new.channel.to_owned(),
            code_length: new.code_length,
            language: new.language.to_owned(),
            brand_name: new.brand_name.to_owned(),
            last_guess: None,
            success: None,
            redeemed_by: None,
            redeemed_at: None,
            used: stored.map(|stored| stored.used.clone()).unwrap_or_default(),
            owner: new.owner.cloned(),
        };
        opened.used.retain(|used| !new.forget.contains(used));
        self.verifications.insert(item.clone(), opened);
        true
    }

    pub(super) fn reopen(&mut self, item: &ItemName, seen: Seen, resend: &Resend<'_>) -> bool {
        let open = |stored: &Verification| {
            Seen::of(stored) == seen && stored.state.is_open() && stored.left > 0
        };
        let Ok(stored) = self.verification_if(item, open) else {
            return false;
        };
        stored.generation += 1;
        stored.state = State::Reserved;
        stored.holder = resend.holder;
        stored.expires = resend.expires;
        stored.sends = stored.sends.saturating_add(1);
        resend.issuers.clone_into(&mut stored.issuers);
        stored.plain_until = resend.plain_until;
        resend.channel.clone_into(&mut stored.channel);
        resend.language.clone_into(&mut stored.language);
        stored.last_guess = None;
        true
    }

    pub(super) fn settle(
        &mut self,
        item: &ItemName,
        generation: u64,
        holder: Holder,
        outcome: &Settled<'_>,
    ) {
        let reserved = |stored: &Verification| {
            stored.generation == generation
                && stored.holder == holder
                && stored.state == State::Reserved
        };
        let Ok(stored) = self.verification_if(item, reserved) else {
            return;
        };
        match *outcome {
            Settled::Sent { issuer, message_id } => {
                stored.issuers = vec![issuer.clone()];
                stored.state = State::Sent;
                stored.message_id = message_id.map(str::to_owned);
            }
            Settled::Unclear => stored.state = State::Unclear,
            Settled::Unsent { issuers } => {
                stored.issuers = issuers.to_vec();
                stored.state = State::Sent;
                stored.message_id = None;
            }
            Settled::Failed { plain_until } => {
                stored.state = State::Failed;
                stored.plain_until = plain_until;
            }
            Settled::Back(earlier) => {
                stored.state = earlier.state;
                stored.expires = earlier.expires;
                stored.sends = earlier.sends;
                stored.issuers.clone_from(&earlier.issuers);
                stored.plain_until = earlier.plain_until;
                stored.channel.clone_from(&earlier.channel);
                stored.language.clone_from(&earlier.language);
            }
        }
    }

    pub(super) fn spend_attempt(
        &mut self,
        item: &ItemName,
        guess: &CodeDigest,
        question: Option<&Question>,
        now: Millis,
    ) -> Attempt {
        let may_be_guessed = |stored: &Verification| {
            stored.is_open(now)
                && question.is_none_or(|asked| {
                    stored.left > 1 || stored.owner.as_ref() == Some(&asked.session)
                })
                && stored
                    .last_guess
                    .as_ref()
                    .is_none_or(|last| may_follow(last, guess, question, now))
        };
        match self.verification_if(item, may_be_guessed) {
            Ok(stored) => {
                stored.left -= 1;
                let question = question.map(|asked| asked.nonce.clone());
                stored.last_guess = Some(Guess {
                    code: guess.clone(),
                    outcome: GuessOutcome::Pending,
                    at: now,
                    question,
                });
                Attempt::Paid(stored.clone())
            }
            Err(stored) => Attempt::Refused(stored.cloned()),
        }
    }

    pub(super) fn note_answer(
        &mut self,
        item: &ItemName,
        generation: u64,
        guess: &CodeDigest,
        outcome: GuessOutcome,
    ) {
        if let Ok(stored) = self.verification_if(item, |stored| stored.generation == generation)
            && let Some(last) = stored
                .last_guess
                .as_mut()
                .filter(|last| last.code == *guess)
        {
            last.outcome = outcome;
        }
    }

    pub(super) fn consume(
        &mut self,
        item: &ItemName,
        generation: u64,
        success: &Success,
        used_until: Option<Millis>,
    ) -> Transition {
        let open =
            |stored: &Verification| stored.generation == generation && stored.state.is_open();
        match self.verification_if(item, open) {
            Ok(stored) => {
                stored.state = State::Verified;
                stored.success = Some(success.clone());
                stored.used.extend(used_until.map(|until| UsedCode {
                    code: success.code.clone(),
                    until,
                }));
                Transition::Applied
            }
            Err(stored) => Transition::Refused(stored.cloned()),
        }
    }

    pub(super) fn cancel(&mut self, item: &ItemName, generation: u64, now: Millis) -> Transition {
        let open = |stored: &Verification| stored.generation == generation && stored.is_open(now);
        match self.verification_if(item, open) {
            Ok(stored) => {
                stored.state = State::Canceled;
                Transition::Applied
            }
            Err(stored) => Transition::Refused(stored.cloned()),
        }
    }

    pub(super) fn redeem(
        &mut self,
        item: &ItemName,
        generation: u64,
        redeemer: &Redeemer,
        now: Millis,
    ) -> Transition {
        let redeemable = |stored: &Verification| {
            stored.generation == generation
                && stored.state == State::Verified
                && stored.owner.is_none()
                && stored.redeemed_by.is_none()
                && stored
                    .success
                    .as_ref()
                    .is_some_and(|success| success.at > now.minus(REDEEMABLE))
        };
        match self.verification_if(item, redeemable) {
            Ok(stored) => {
                stored.redeemed_by = Some(redeemer.clone());
                stored.redeemed_at = Some(now);
                Transition::Applied
            }
            Err(stored) => Transition::Refused(stored.cloned()),
        }
    }

    /// Finds the verification to change and checks the condition. If the condition does not hold, the error contains
    /// the unchanged verification. If there is no verification, the error is `None`.
    fn verification_if(
        &mut self,
        item: &ItemName,
        holds: impl FnOnce(&Verification) -> bool,
    ) -> Result<&mut Verification, Option<&mut Verification>> {
        match self.verifications.get_mut(item) {
            Some(stored) if holds(stored) => Ok(stored),
            stored => Err(stored),
        }
    }
}

/// Whether an attempt may be spent on `guess` after `last`.
fn may_follow(last: &Guess, guess: &CodeDigest, question: Option<&Question>, now: Millis) -> bool {
    let can_be_retried = match last.outcome {
        GuessOutcome::Invalid => false,
        GuessOutcome::Unclear => true,
        GuessOutcome::Pending => last.at <= now.minus(GUESS_PENDING),
    };
    let is_delivered_twice =
        question.is_some_and(|asked| last.question.as_ref() == Some(&asked.nonce));
    last.code != *guess || can_be_retried && !is_delivered_twice
}
