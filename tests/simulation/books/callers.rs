//! Books of the responses that callers got.

use super::{Books, Fate, Invariant, Operation, ProviderCode, Win};
use otp_lambda::error::{Error, ErrorCode};
use otp_lambda::ledger::{REDEEMABLE, SUCCESS_REPLAY};
use otp_lambda::reference::ReferenceId;
use otp_lambda::time::Millis;

impl Books {
    pub(crate) fn sent(&mut self, operation: usize, answer: &Result<(ReferenceId, Millis), Error>) {
        let fate = self.operations[operation].fate;
        let number = self.operations[operation].intent.number;
        match answer {
            Ok((reference, _)) => {
                let own = |code: &ProviderCode| code.operation == Some(operation);
                let key = self.operations[operation].intent.owned_key(&self.setup);
                let same_key = |code: &ProviderCode| {
                    let of = code.operation.map(|of| &self.operations[of].intent);
                    key.is_some() && of.is_some_and(|intent| intent.owned_key(&self.setup) == key)
                };
                let text = self
                    .codes
                    .iter()
                    .rev()
                    .find(|code| own(code) || fate == Fate::NotAsked && same_key(code));
                let told_rightly = text.is_some_and(|code| code.reference == reference.expose());
                if !told_rightly {
                    self.violated(
                        Invariant::Truth,
                        format!("#{operation} reports a text that was never sent"),
                    );
                }
                self.told.push((number, reference.expose().to_owned()));
            }
            Err(error)
                if matches!(fate, Fate::Sent | Fate::Unclear) && !error.is_delivery_unknown() =>
            {
                let what = format!(
                    "#{operation} ends with {:?} although its text may have been sent",
                    error.code()
                );
                self.violated(Invariant::Truth, what);
            }
            Err(_) => {}
        }
        let said = answer.as_ref().map(|_| "sent").map_err(Error::code);
        self.finish(operation, &format!("{said:?}"));
    }

    pub(crate) fn verified(&mut self, operation: usize, answer: &Result<ReferenceId, Error>) {
        match answer {
            Ok(_) => self.succeeded(operation),
            Err(error) => self.is_refused_rightly(operation, error),
        }
        let said = answer.as_ref().map(|_| "valid").map_err(Error::code);
        self.finish(operation, &format!("{said:?}"));
    }

    /// Checks the refusal of a code that the code's provider accepts. Such a refusal is right in two cases only: a
    /// newer code was sent, or the code was used before.
    fn is_refused_rightly(&mut self, operation: usize, error: &Error) {
        let seen = &self.operations[operation];
        let (Some(right), Some((key, generation, place))) = (seen.right, &seen.paid) else {
            return;
        };
        let code = &self.codes[right];
        if error.code() != ErrorCode::InvalidCode || code.operation.is_none() || code.key != *key {
            return;
        }
        let is_newer = |other: &Operation| {
            let opened = other.opened.as_ref();
            other.fate == Fate::Sent
                && opened.is_some_and(|(of, newer)| of == key && newer > generation)
        };
        let was_used = self.wins.iter().any(|win| win.code == Some(right));
        // An end is final. A code that is sent later belongs to another verification.
        let chains = &self.chains[key];
        let has_ended = chains[*place].ended || place + 1 < chains.len();
        if !has_ended && !was_used && !self.operations.iter().any(is_newer) {
            let what = format!("#{operation} is told that its code is wrong, and it is the newest");
            self.violated(Invariant::Liveness, what);
        }
    }

    pub(super) fn succeeded(&mut self, operation: usize) {
        let seen = &self.operations[operation];
        let (now, winner) = (seen.now, seen.intent.winner(operation));
        let (keys, number) = (seen.verifications.clone(), seen.intent.number);
        if keys.is_empty() {
            return;
        }
        let otp = seen.intent.otp.clone();
        // A client may make one request twice, and both requests count as one winner. If this winner succeeds with a
        // second code in between, both requests report the success of the second code.
        let own =
            seen.right
                .zip(seen.won.clone().or_else(|| seen.paid.clone()))
                .filter(|(_, (_, generation, place))| {
                    let same = |win: &Win| {
                        keys.contains(&win.key)
                            && win.winner == winner
                            && now.since(win.at) < SUCCESS_REPLAY
                    };
                    !self.wins.iter().any(|win| {
                        same(win) && (win.chain, win.generation) != (*place, *generation)
                    })
                });
        let (key, place, generation) = if let Some((right, (of, generation, place))) = own {
            let code = &self.codes[right];
            let chain = &self.chains[&of][place];
            let right_code =
                // Under the plain reference, a provider cannot tell a foreign code from this program's codes.
                keys.contains(&of)
                    && (of == code.key || code.operation.is_none() && keys.contains(&code.key))
                    && code.number == number
                    && code.code == otp;
            // A success belongs to the message that the code was in.
            let of_chain = code.operation.is_none_or(|sender| {
                let opened = self.operations[sender].opened.as_ref();
                opened.is_some_and(|(_, sent)| *sent >= chain.first_generation)
            });
            let in_time = now < chain.expires && !chain.canceled;
            let earlier = |win: &Win| (win.chain, win.generation) != (place, generation);
            let used = self
                .wins
                .iter()
                .any(|win| win.code == Some(right) && win.told && earlier(win));
            if !right_code {
                self.violated(
                    Invariant::I6,
                    format!("#{operation} succeeds with a code of another verification"),
                );
            }
            if !of_chain {
                self.violated(
                    Invariant::I6,
                    format!("#{operation} succeeds with a code of a verification that has ended"),
                );
            }
            if !in_time {
                self.violated(
                    Invariant::I6,
                    format!("#{operation} succeeds after the end of its verification"),
                );
            }
            if used {
                self.violated(
                    Invariant::I6,
                    format!("#{operation} succeeds with a code that was used before"),
                );
            }
            self.codes[right].won = true;
            let same = |win: &&mut Win| {
                win.key == of && (win.chain, win.generation) == (place, generation)
            };
            if let Some(win) = self.wins.iter_mut().find(same) {
                win.told = true;
            }
            (of, place, generation)
        } else {
            // The response repeats an earlier success.
            let before = self.wins.iter().rev().find(|win| {
                let same_code = win.code.is_some_and(|code| self.codes[code].code == otp);
                keys.contains(&win.key)
                    && win.winner == winner
                    && same_code
                    && now.since(win.at) < SUCCESS_REPLAY
            });
            match before {
                Some(win) => (win.key.clone(), win.chain, win.generation),
                None => {
                    return self.violated(
                        Invariant::I6,
                        format!("#{operation} succeeds without asking the provider"),
                    );
                }
            }
        };
        match self.answered.get(&(key.clone(), place, generation)) {
            Some(other) if *other != winner => {
                self.violated(
                    Invariant::I3,
                    format!("#{operation} is the second success of generation {generation}"),
                );
            }
            _ => {
                self.answered.insert((key, place, generation), winner);
            }
        }
    }

    pub(crate) fn claimed(&mut self, operation: usize, answer: &Result<ReferenceId, Error>) {
        if answer.is_ok() {
            let seen = &self.operations[operation];
            let redeemer = Some(seen.intent.winner(operation));
            let keys = &seen.verifications;
            let now = seen.now;
            let in_time = |at: Millis| now.since(at) < REDEEMABLE;
            if !self
                .wins
                .iter()
                .any(|win| keys.contains(&win.key) && win.redeemer == redeemer && in_time(win.at))
            {
                self.violated(
                    Invariant::I3,
                    format!("#{operation} reports a claim that it does not have, or too late"),
                );
            }
        }
        let said = answer.as_ref().map(|_| "claimed").map_err(Error::code);
        self.finish(operation, &format!("{said:?}"));
    }

    pub(crate) fn finish(&mut self, operation: usize, said: &str) {
        let ended = &mut self.operations[operation];
        ended.ended_after = Some(self.places);
        let what = ended.intent.what;
        *self.answers.entry(format!("{what:?} {said}")).or_default() += 1;
        self.trace(|_| format!("#{operation} ends: {said}"));
    }
}
