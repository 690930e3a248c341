//! Books of the ledger's steps.

use super::{Books, Chain, Fate, Invariant, LONGEST, Operation, Win};
use crate::actors::{BRAND, SOURCE};
use futures_util::FutureExt;
use otp_lambda::ledger::{Holder, ItemName, Ledger, Opening, REDEEMABLE, State, Verification};
use otp_lambda::reference::ReferenceId;
use otp_lambda::time::Millis;

/// The most codes that may be sent for one verification.
const MOST_SENDS: u32 = 3;

impl Books {
    pub(crate) fn saw_opening(
        &mut self,
        operation: usize,
        key: &ItemName,
        generation: u64,
        new: &Opening<'_>,
    ) {
        let of_other_software = new.state == State::Sent;
        let at = self.operations[operation].now;
        if !of_other_software {
            self.operations[operation].opened = Some((key.clone(), generation));
        }
        self.places += 1;
        self.chains.entry(key.clone()).or_default().push(Chain {
            first_generation: generation,
            allowed: new.left.into(),
            paid: 0,
            asked: 0,
            expires: at.plus(self.setup.validity()),
            open_until: at.plus(self.setup.validity()),
            first: at,
            ended: false,
            canceled: false,
            failed: false,
            codes: 1,
            owner: new.owner.cloned(),
            place: self.places,
        });
        if of_other_software {
            let number = self.operations[operation].intent.number;
            let derived = ReferenceId::derived(BRAND, SOURCE, &self.numbers[number]);
            let number_of_guess = &self.numbers[number];
            let is_derived = *key == self.keys.foreign_verification(&derived, number_of_guess);
            let own_key = self.keys.verification(&derived, number_of_guess);
            let known = self.operations[operation].codes_before;
            let own_code = self.codes[..known].iter().any(|code| {
                code.key == own_key && code.known_as == derived.expose() && code.expires > self.now
            });
            let authenticated = self.operations[operation].intent.who.principal.is_some();
            if !(self.setup.derived && is_derived && authenticated) {
                self.violated(
                    Invariant::Rights,
                    format!("#{operation} opens a verification without a send"),
                );
            }
            if own_code {
                self.violated(
                    Invariant::Rights,
                    format!("#{operation} opens a foreign code while one of ours is good"),
                );
            }
            self.took_a_place(number, at, true);
        }
    }

    pub(crate) fn saw_reopening(&mut self, operation: usize, key: &ItemName, generation: u64) {
        let at = self.operations[operation].now;
        let validity = self.setup.validity();
        self.operations[operation].opened = Some((key.clone(), generation));
        self.places += 1;
        let place = self.places;
        if let Some(chain) = self
            .chains
            .get_mut(key)
            .and_then(|chains| chains.last_mut())
        {
            chain.place = place;
            chain.open_until = at.plus(validity).min(chain.first.plus(LONGEST));
            chain.expires = chain.expires.max(chain.open_until);
            chain.codes += 1;
            if chain.codes > MOST_SENDS {
                self.violated(
                    Invariant::I7,
                    format!("#{operation} sends one code too many"),
                );
            }
        }
    }

    pub(crate) fn saw_payment(&mut self, operation: usize, key: &ItemName, paid: &Verification) {
        let Some(place) = self.chain_of(key, paid.generation) else {
            return self.violated(
                Invariant::I1,
                format!("#{operation} paid for a verification nobody opened"),
            );
        };
        let session = self.operations[operation].intent.who.session(&self.keys);
        let is_strange = session.is_some() && session != self.chains[key][place].owner;
        if is_strange && paid.left == 0 {
            self.violated(
                Invariant::Owner,
                format!("#{operation} pays the last attempt of another session's code"),
            );
        }
        self.chains.get_mut(key).unwrap()[place].paid += 1;
        self.operations[operation].paid = Some((key.clone(), paid.generation, place));
    }

    pub(crate) fn saw_charge(&mut self, operation: usize) {
        self.charges += 1;
        let number = self.operations[operation].intent.number;
        self.by_number[number].charges.push(self.charges);
        self.operations[operation].charged = Some(self.charges);
    }

    pub(crate) fn saw_unlock(&mut self, key: &ItemName) {
        self.charges += 1;
        if let Some(number) = self.number_of.get(key) {
            self.by_number[*number].cleared = self.charges;
            self.by_number[*number].unlocked = self.charges;
        }
    }

    pub(crate) fn saw_win(
        &mut self,
        operation: usize,
        key: &ItemName,
        generation: u64,
        at: Millis,
    ) {
        let chain = self.chain_of(key, generation).unwrap_or_default();
        self.places += 1;
        self.operations[operation].won = Some((key.clone(), generation, chain));
        let seen = &self.operations[operation];
        self.wins.push(Win {
            key: key.clone(),
            chain,
            generation,
            winner: seen.intent.winner(operation),
            code: seen.right,
            at,
            redeemer: None,
            told: seen.verifications.last() != Some(key),
            place: self.places,
        });
        let book = &mut self.by_number[seen.intent.number];
        book.cleared = book.cleared.max(seen.charged.unwrap_or_default());
        self.end_chain(key);
        self.trace(|_| format!("#{operation} wins generation {generation}"));
    }

    pub(crate) fn saw_claim(&mut self, operation: usize, key: &ItemName) {
        let seen = &self.operations[operation];
        let (now, redeemer) = (seen.now, seen.intent.winner(operation));
        let authenticated = seen.intent.who.principal.is_some();
        let problem = match self.wins.iter_mut().rev().find(|win| win.key == *key) {
            None => Some("without a success"),
            _ if !authenticated => Some("without authentication"),
            Some(win) if seen.ended_after.is_some_and(|end| end < win.place) => {
                Some("a success that came after its end")
            }
            Some(win) if win.redeemer.is_some() => Some("a second time"),
            Some(win) if now.since(win.at) >= REDEEMABLE => Some("too late"),
            Some(win) => {
                win.redeemer = Some(redeemer);
                None
            }
        };
        if let Some(problem) = problem {
            self.violated(Invariant::I3, format!("#{operation} claims {problem}"));
        }
    }

    pub(crate) fn saw_cancel(&mut self, operation: usize, key: &ItemName) {
        let newest = self.chains.get(key).and_then(|chains| chains.last());
        let place = newest.map_or(0, |chain| chain.place);
        let ended_after = self.operations[operation].ended_after;
        if ended_after.is_some_and(|end| end < place) {
            self.violated(
                Invariant::Liveness,
                format!("#{operation} cancels a code that was sent after its end"),
            );
        }
        self.end_chain(key);
        if let Some(chain) = self
            .chains
            .get_mut(key)
            .and_then(|chains| chains.last_mut())
        {
            chain.canceled = true;
        }
    }

    /// If the ledger says that no message was sent, checks that this is true.
    pub(crate) fn saw_settlement(&mut self, key: &ItemName) {
        let stored = self
            .memory
            .verification(key)
            .now_or_never()
            .and_then(Result::ok)
            .flatten();
        let Some(stored) = stored.filter(|stored| stored.state == State::Failed) else {
            return;
        };
        let Some(place) = self.chain_of(key, stored.generation) else {
            return;
        };
        let first = self.chains[key][place].first_generation;
        let of_it = |(of, generation): &(ItemName, u64)| {
            of == key && (first..=stored.generation).contains(generation)
        };
        let sent = |operation: &Operation| {
            operation.fate == Fate::Sent && operation.opened.as_ref().is_some_and(of_it)
        };
        let since = self.chains[key][place].first;
        if self
            .operations
            .iter()
            .any(|operation| operation.now >= since && sent(operation))
        {
            self.violated(
                Invariant::Liveness,
                "a code that was sent is recorded as not sent",
            );
        }
    }

    /// Whether `holder` still has the reservation of this generation. If `holder` has lost the reservation, its request
    /// can no longer settle the send.
    pub(crate) fn is_reserved_by(&self, key: &ItemName, generation: u64, holder: Holder) -> bool {
        let stored = self.memory.verification(key).now_or_never();
        stored.and_then(Result::ok).flatten().is_some_and(|stored| {
            (stored.generation, stored.holder, stored.state)
                == (generation, holder, State::Reserved)
        })
    }

    pub(crate) fn saw_refused_resend(&mut self, key: &ItemName, expires: Millis) {
        if let Some(chain) = self
            .chains
            .get_mut(key)
            .and_then(|chains| chains.last_mut())
        {
            chain.open_until = chain.open_until.min(expires);
            chain.codes -= 1;
        }
    }

    pub(crate) fn saw_failure(&mut self, key: &ItemName) {
        if let Some(chain) = self
            .chains
            .get_mut(key)
            .and_then(|chains| chains.last_mut())
        {
            chain.failed = true;
        }
    }

    pub(super) fn chain_of(&self, key: &ItemName, generation: u64) -> Option<usize> {
        self.chains
            .get(key)?
            .iter()
            .rposition(|chain| chain.first_generation <= generation)
    }

    pub(super) fn end_chain(&mut self, key: &ItemName) {
        if let Some(chain) = self
            .chains
            .get_mut(key)
            .and_then(|chains| chains.last_mut())
        {
            chain.ended = true;
        }
    }
}
