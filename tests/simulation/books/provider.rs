//! Books of the provider's requests, messages and codes.

use super::{Books, Fate, Invariant, LONGEST, ProviderCode};
use crate::actors::{BRAND, SOURCE};
use crate::naive::Naive;
use futures_util::FutureExt;
use otp_lambda::ledger::{ItemName, KEY_KEPT, LOCKED, Ledger, Window};
use otp_lambda::otp::Otp;
use otp_lambda::phone::{Country, PhoneNumber};
use otp_lambda::policy::{Budget, Period, Unit};
use otp_lambda::provider::{Channel, Message, Verdict};
use otp_lambda::reference::ReferenceId;
use otp_lambda::time::Millis;
use std::sync::Arc;
use std::time::Duration;

/// The operator's switches take effect within this time.
const SWITCHES_SEEN: Duration = Duration::from_secs(10);

impl Books {
    pub(crate) fn number_index(&self, number: &PhoneNumber) -> usize {
        self.numbers
            .iter()
            .position(|known| known == number)
            .unwrap()
    }

    /// Records that the provider is asked to send, whatever it will answer.
    pub(crate) fn asked_to_send(&mut self, message: &Message<'_>) {
        let current = self.current;
        let number = self.number_index(message.to);
        let written = self.operations[current].opened.clone();
        let plain = self.plain_reference(current, message.reference);
        let key = self.keys.verification(&plain, message.to);
        let of_generation = written
            .as_ref()
            .map(|(_, generation)| self.keys.code_reference(&plain, message.to, *generation));
        if *message.reference != plain && Some(message.reference) != of_generation.as_ref() {
            self.violated(
                Invariant::I5,
                format!("#{current} sends a code under a reference that is not its own"),
            );
        }
        let stored = self
            .memory
            .verification(&key)
            .now_or_never()
            .and_then(Result::ok)
            .flatten();
        let holds = match (&written, &stored) {
            (Some((of, generation)), Some(stored)) => {
                *of == key && stored.generation >= *generation
            }
            _ => false,
        };
        if !holds {
            self.violated(
                Invariant::I5,
                format!("#{current} sends a text before its record is written"),
            );
        }
        if self.operations[current].fate != Fate::NotAsked {
            self.violated(Invariant::I4, format!("#{current} asks for a second text"));
        }
        let at = self.operations[current].now;
        self.took_a_place(number, at, false);
        let seen = |since: Millis| since.plus(SWITCHES_SEEN) <= at;
        if self.paused.is_some_and(seen) || self.blocked[number].is_some_and(seen) {
            self.violated(
                Invariant::Switches,
                format!("#{current} sends although the operator stopped it"),
            );
        }
    }

    /// The plain reference of a send that gave the provider `reference`. Callers know the plain one.
    pub(super) fn plain_reference(&self, operation: usize, reference: &ReferenceId) -> ReferenceId {
        let intent = &self.operations[operation].intent;
        let number = &self.numbers[intent.number];
        let opened = self.operations[operation].opened.as_ref();
        if opened.is_some_and(|(key, _)| *key == self.keys.verification(reference, number)) {
            return reference.clone();
        }
        let earlier = self
            .codes
            .iter()
            .find(|code| opened.is_some_and(|(key, _)| *key == code.key));
        match (earlier, &intent.reference) {
            (Some(earlier), _) => ReferenceId::parse(&earlier.reference).unwrap(),
            (None, Some(given)) => ReferenceId::parse(given).unwrap(),
            (None, None) => ReferenceId::derived(BRAND, SOURCE, number),
        }
    }

    pub(super) fn took_a_place(&mut self, number: usize, at: Millis, is_foreign: bool) {
        let book = &mut self.by_number[number];
        let sends = if is_foreign {
            &mut book.foreign
        } else {
            &mut book.sends
        };
        let place = sends.partition_point(|send| *send <= at);
        sends.insert(place, at);
        let windows = self.setup.send_limits.windows();
        let over = windows.iter().copied().find(|window| {
            let more = sends.windows(window.sends + 1);
            more.into_iter()
                .any(|run| run[window.sends].since(run[0]) < window.length)
        });
        if let Some(window) = over {
            self.violated(
                Invariant::I7,
                format!(
                    "more than {} sends to {number} in {:?}",
                    window.sends, window.length
                ),
            );
        }
    }

    /// Records that the provider sends the message.
    pub(crate) fn text_leaves(&mut self, message: &Message<'_>) {
        let current = self.current;
        let number = self.number_index(message.to);
        let at = self.operations[current].now;
        self.operations[current].fate = Fate::Sent;
        let allowed = message.allowed_attempts.into();
        let told = self.told_end(current);
        let plain = self.plain_reference(current, message.reference);
        let key = self.keys.verification(&plain, message.to);
        self.make_code(
            number,
            (plain.expose(), message.reference.expose(), key),
            Some(current),
            message.validity_minutes,
            allowed,
            told,
        );

        if let Some(key) = self.operations[current].intent.owned_key(&self.setup) {
            let times = self.texts_by_key.entry(key).or_default();
            times.push(at);
            let twice = times
                .iter()
                .filter(|other| other.since(at) < KEY_KEPT && at.since(**other) < KEY_KEPT)
                .count();
            if twice > 1 {
                self.violated(
                    Invariant::I4,
                    format!("#{current} sends a second text under one idempotency key"),
                );
            }
        }
        self.spend(current, number, at);
    }

    pub(super) fn told_end(&self, operation: usize) -> Millis {
        let at = self.operations[operation].now.plus(self.setup.validity());
        let of = self.operations[operation].opened.as_ref();
        let chain = of
            .and_then(|(key, _)| self.chains.get(key))
            .and_then(|chains| chains.last());
        chain.map_or(at, |chain| at.min(chain.first.plus(LONGEST)))
    }

    pub(super) fn spend(&mut self, current: usize, number: usize, at: Millis) {
        const HOUR: u64 = 3_600_000;
        self.texts.push((number, at));
        let country = self.numbers[number].country().unwrap();
        let setup = Arc::clone(&self.setup);
        let own = setup
            .budgets
            .by_country
            .get(&country)
            .unwrap_or(&setup.budgets.other_countries);
        let slots = setup.budgets.all.iter().map(|budget| (0, budget));
        let own = own
            .iter()
            .map(|budget| (1 + country_index(country), budget));
        for (place, (of, budget)) in slots.chain(own).enumerate() {
            let period = match budget.period {
                Period::Hour => at.0 / HOUR,
                Period::Day => at.0 / (24 * HOUR),
            };
            let amount = match budget.unit {
                Unit::Messages => 1,
                Unit::MicroDollars => setup
                    .budgets
                    .prices
                    .of(country, Channel::Sms)
                    .unwrap_or(u64::MAX),
            };
            let spent = self.spent.entry((of * 100 + place, period)).or_default();
            *spent = spent.saturating_add(amount);
            if *spent > budget.cap {
                let Budget { cap, .. } = budget;
                self.violated(
                    Invariant::I8,
                    format!("#{current} spends more than the {cap} of a budget"),
                );
            }
        }
        for rate in &setup.prefix_limits {
            let key = self
                .keys
                .prefix(&self.numbers[number], Window::around(at, rate.window));
            let count = self.texts_by_prefix.entry(key).or_default();
            *count += 1;
            if *count > rate.count {
                self.violated(
                    Invariant::I8,
                    format!("#{current} sends one text too many to its prefix"),
                );
            }
        }
    }

    pub(super) fn make_code(
        &mut self,
        number: usize,
        (reference, known_as, key): (&str, &str, ItemName),
        operation: Option<usize>,
        validity_minutes: u8,
        allowed: u32,
        told: Millis,
    ) {
        if self.setup.kills_first {
            let earlier = self
                .codes
                .iter_mut()
                .filter(|code| code.number == number && code.known_as == known_as);
            earlier.for_each(|code| code.dead = true);
        }
        let code = loop {
            let code = format!("{:06}", self.rng.u32(100_000..1_000_000));
            if self.codes.iter().all(|known| known.code != code) {
                break code;
            }
        };
        let grace = if self.setup.lax_expiry {
            Duration::from_secs(45)
        } else {
            Duration::ZERO
        };
        let expires = self
            .now
            .plus(Duration::from_mins(validity_minutes.into()))
            .plus(grace);
        let index = self.codes.len();
        self.trace(|books| {
            format!(
                "code {index} ({code}) arrives at number {number}, {}",
                books.name(reference)
            )
        });
        self.codes.push(ProviderCode {
            number,
            reference: reference.to_owned(),
            known_as: known_as.to_owned(),
            key,
            code,
            operation,
            expires,
            told,
            dead: false,
            uses: 0,
            wrong: 0,
            allowed,
            won: false,
        });
    }

    /// Records a code that other software sends under the reference of AWS's example.
    pub(crate) fn other_software_sends(&mut self, number: usize) {
        let reference = ReferenceId::derived(BRAND, SOURCE, &self.numbers[number]);
        let (validity, attempts) = (self.setup.validity_minutes, self.setup.attempts.into());
        let told = self.now.plus(self.setup.validity());
        let key = self
            .keys
            .foreign_verification(&reference, &self.numbers[number]);
        let names = (reference.expose(), reference.expose(), key);
        self.make_code(number, names, None, validity, attempts, told);
    }

    pub(crate) fn set_fate(&mut self, fate: Fate) {
        let current = self.current;
        self.operations[current].fate = fate;
    }

    /// Records that the provider is asked about a guess, whatever the provider's answer will be. After a send without a
    /// clear answer, the function does not know whether the new code or the former code is right. The function then
    /// asks the provider under the references of both codes, and one attempt pays for both questions.
    pub(crate) fn asked_to_verify(&mut self, reference: &ReferenceId) {
        let current = self.current;
        let asked = &mut self.operations[current].asked;
        let is_first = asked.is_empty();
        if !asked.insert(reference.expose().to_owned()) {
            self.violated(
                Invariant::I1,
                format!("#{current} asks twice under one reference"),
            );
        }
        if !is_first {
            return;
        }
        match self.operations[current].paid.clone() {
            None => self.violated(
                Invariant::I1,
                format!("#{current} asks without having paid"),
            ),
            Some((key, generation, place)) => {
                let chain = &mut self.chains.get_mut(&key).unwrap()[place];
                chain.asked += 1;
                let (asked, allowed) = (chain.asked, chain.allowed);
                if asked > allowed {
                    let what = format!(
                        "#{current} is guess {asked} of {allowed} at generation {generation}"
                    );
                    self.violated(Invariant::I1, what);
                }
            }
        }
        let number = self.operations[current].intent.number;
        match self.operations[current].charged {
            None => self.violated(
                Invariant::I2,
                format!("#{current} asks without a charge to the number"),
            ),
            Some(charge) => {
                let book = &mut self.by_number[number];
                book.asked.push(charge);
                let since = book
                    .asked
                    .iter()
                    .filter(|asked| **asked > book.cleared)
                    .count();
                if since > LOCKED as usize {
                    self.violated(
                        Invariant::I2,
                        format!("#{current} is guess {since} about number {number}"),
                    );
                }
            }
        }
    }

    pub(crate) fn answer_guess(
        &mut self,
        to: &PhoneNumber,
        reference: &ReferenceId,
        otp: &Otp,
    ) -> Verdict {
        let current = self.current;
        let number = self.number_index(to);
        let key = self.operations[current]
            .paid
            .as_ref()
            .map(|(key, ..)| key.clone());
        let verdict = self.look_up(number, reference.expose(), key.as_ref(), otp.expose());
        if let Some(code) = verdict {
            self.codes[code].uses += 1;
            self.operations[current].right = Some(code);
        } else {
            let here = self.codes.iter_mut();
            let here =
                here.filter(|code| code.number == number && code.known_as == reference.expose());
            here.for_each(|code| code.wrong += 1);
        }
        self.trace(|_| format!("#{current} provider finds {verdict:?} for {}", otp.expose()));
        if verdict.is_some() {
            Verdict::Valid
        } else {
            Verdict::Invalid
        }
    }

    /// The code of this number and reference that the provider would accept.
    pub(super) fn look_up(
        &self,
        number: usize,
        known_as: &str,
        key: Option<&ItemName>,
        otp: &str,
    ) -> Option<usize> {
        let one_reference = self.setup.naive == Some(Naive::GivesAllCodesOneReference);
        self.codes.iter().position(|code| {
            code.number == number
                && (code.known_as == known_as || one_reference && Some(&code.key) == key)
                && code.code == otp
                && !code.dead
                && code.expires > self.now
                && (code.uses == 0 || self.setup.accepts_twice)
                && (!self.setup.provider_counts || code.wrong < code.allowed)
        })
    }
}

fn country_index(country: Country) -> usize {
    country
        .as_str()
        .bytes()
        .fold(0, |index, byte| index * 256 + usize::from(byte))
}
