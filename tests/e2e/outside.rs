//! Observes the function from outside: the requests to the provider, the messages, and the items in the table. The
//! tests in `kills.rs` and `load.rs` check these observations, and do not trust the function's own responses.

use crate::function::hasher;
use crate::table::{Items, Table};
use otp_lambda::ledger::Hasher;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use serde_json::Value;
use simulator::{IssuedCode, Operation, Simulator};
use std::collections::{BTreeMap, BTreeSet};
use std::iter;

/// Counts by number and then by reference ID.
type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// Everything that can be observed, at one moment.
pub(crate) struct Observation {
    messages: Counts,
    /// Guesses that reached the provider.
    guesses: Counts,
    /// The different codes that the provider was asked about, by number.
    otps: BTreeMap<String, BTreeSet<String>>,
    codes: BTreeMap<(String, String), IssuedCode>,
    /// Numbers and the plain references that callers used, beside those of messages.
    named: Vec<(String, String)>,
    items: Items,
    hasher: Hasher,
}

impl Observation {
    /// Observes while the function runs. The Lambda function writes a record before it calls the provider. This
    /// observation reads the table last, so each observed message and guess has its record in the observed table.
    pub(crate) fn now(simulator: &Simulator, table: &Table) -> Self {
        let mut messages = Counts::new();
        for message in simulator.inbox() {
            *messages
                .entry(message.to)
                .or_default()
                .entry(message.reference_id)
                .or_default() += 1;
        }
        let (mut guesses, mut otps) = (Counts::new(), BTreeMap::<_, BTreeSet<_>>::new());
        // A request whose body was not read had no effect.
        for request in simulator
            .requests(Operation::Verify)
            .iter()
            .filter(|request| request.body.is_object())
        {
            let field = |name: &str| request.body[name].as_str().unwrap_or_default().to_owned();
            let of_number = guesses.entry(field("DestinationIdentity")).or_default();
            *of_number.entry(field("ReferenceId")).or_default() += 1;
            otps.entry(field("DestinationIdentity"))
                .or_default()
                .insert(field("Otp"));
        }
        let codes = simulator.codes().into_iter();
        let codes = codes
            .map(|code| ((code.key.to.clone(), code.key.reference_id.clone()), code))
            .collect();
        Self {
            messages,
            guesses,
            otps,
            codes,
            named: Vec::new(),
            items: table.items(),
            hasher: hasher(),
        }
    }

    /// Callers know a verification by its plain reference, and some messages have another reference, which is derived
    /// from the plain one. If the first send of a verification left no message, because it was killed after its record
    /// or the provider failed, the next code goes out under a derived reference, and no message shows the plain one. So
    /// `with_plain` adds the plain references that callers used for each number with a message.
    pub(crate) fn with_plain(mut self, plain: impl Fn(&str) -> Vec<String>) -> Self {
        let numbers = self.messages.keys();
        self.named = numbers
            .flat_map(|number| {
                let plain = plain(number).into_iter();
                plain.map(|plain| (number.clone(), plain))
            })
            .collect();
        self
    }

    /// How many messages were sent for a verification.
    pub(crate) fn messages(&self, number: &str, plain: &str) -> u64 {
        let references = self.references(number, plain);
        let counts = references
            .iter()
            .map(|reference| count(&self.messages, number, reference));
        counts.sum()
    }

    /// The provider knows the codes of one verification under several references. Returns the most guesses that reached
    /// the provider under one of these references. The sum over all references would be too high: after a send without
    /// a clear answer, a guess may reach the provider under two references, and one attempt pays for both.
    pub(crate) fn guesses(&self, number: &str, plain: &str) -> u64 {
        let references = self.references(number, plain);
        let counts = references
            .iter()
            .map(|reference| count(&self.guesses, number, reference));
        counts.max().unwrap_or(0)
    }

    /// How many different guesses about a number reached the provider. The same guess may reach the provider under two
    /// references (see [`guesses`](Self::guesses)), and still counts once here.
    pub(crate) fn guesses_about(&self, number: &str) -> u64 {
        self.otps.get(number).map_or(0, |otps| otps.len() as u64)
    }

    /// How many messages were sent to a number.
    pub(crate) fn messages_to(&self, number: &str) -> u64 {
        self.messages
            .get(number)
            .map_or(0, |to_number| to_number.values().sum())
    }

    /// Numbers with a message or with a guess that reached the provider.
    pub(crate) fn numbers(&self) -> BTreeSet<&str> {
        self.messages
            .keys()
            .chain(self.guesses.keys())
            .map(String::as_str)
            .collect()
    }

    /// Number and reference ID of each verification with a message.
    pub(crate) fn verifications(&self) -> impl Iterator<Item = (&str, &str)> {
        self.messages.iter().flat_map(|(number, references)| {
            references
                .keys()
                .map(move |reference| (number.as_str(), reference.as_str()))
        })
    }

    /// The newest code of a verification that the provider stores.
    pub(crate) fn code(&self, number: &str, plain: &str) -> Option<&IssuedCode> {
        let references = self.references(number, plain);
        let mut newest_first = references.into_iter().rev();
        newest_first.find_map(|reference| self.codes.get(&(number.to_owned(), reference)))
    }

    /// The record of a verification under its plain reference, or null.
    pub(crate) fn record(&self, number: &str, reference: &str) -> &Value {
        self.items
            .get(&item_name(&self.hasher, number, reference))
            .unwrap_or(&Value::Null)
    }

    /// The references under which the provider may know codes of a verification, the plain one first.
    fn references(&self, number: &str, plain: &str) -> Vec<String> {
        let generations = self.record(number, plain)["gen"].as_u64().unwrap_or(0);
        let (to, reference) = (
            PhoneNumber::parse(number).unwrap(),
            ReferenceId::parse(plain).unwrap(),
        );
        let of_generation = |generation| {
            let known_as = self.hasher.code_reference(&reference, &to, generation);
            known_as.expose().to_owned()
        };
        iter::once(plain.to_owned())
            .chain((1..=generations).map(of_generation))
            .collect()
    }

    /// The item of a number, or null.
    pub(crate) fn number(&self, number: &str) -> &Value {
        let number = PhoneNumber::parse(number).unwrap();
        self.items
            .get(self.hasher.number(&number).as_str())
            .unwrap_or(&Value::Null)
    }

    /// The times of sends to a number, newest first.
    pub(crate) fn sends(&self, number: &str) -> Vec<u64> {
        let item = self.number(number);
        (1..=20)
            .filter_map(|k| item[format!("t{k}")].as_u64())
            .take_while(|at| *at > 0)
            .collect()
    }

    /// Items whose name begins with `prefix`.
    pub(crate) fn items_of<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Value> {
        self.items
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(_, item)| item)
    }

    /// Problems with messages. Each message must have a record, and a place in the windows of its number.
    pub(crate) fn message_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (number, reference) in self.verifications() {
            let record = self.record(number, reference);
            let messages = self.messages(number, reference);
            let named = self.named.iter();
            let named = named.map(|(number, plain)| (number.as_str(), plain.as_str()));
            let recorded = match record["gen"].as_u64() {
                Some(generations) => generations,
                // A reference of its own is used for the code of one generation only.
                None => self
                    .verifications()
                    .chain(named)
                    .any(|(other, plain)| {
                        other == number
                            && self.references(other, plain)[1..].contains(&reference.to_owned())
                    })
                    .into(),
            };
            if messages > recorded {
                problems.push(format!(
                    "a message without a record: {number} has {messages}, the record is {record}"
                ));
            }
        }
        for number in self.numbers() {
            let (messages, places) = (self.messages_to(number), self.sends(number).len() as u64);
            // The ledger keeps the last twenty sends only.
            if messages.min(20) > places {
                problems.push(format!(
                    "a message without a place in the windows: {number} has {messages} in {places}"
                ));
            }
        }
        problems
    }
}

fn count(counts: &Counts, number: &str, reference: &str) -> u64 {
    counts
        .get(number)
        .and_then(|of_number| of_number.get(reference))
        .copied()
        .unwrap_or(0)
}

/// The item name of a verification.
pub(crate) fn item_name(hasher: &Hasher, number: &str, reference: &str) -> String {
    let number = PhoneNumber::parse(number).unwrap();
    let reference =
        ReferenceId::parse(reference).unwrap_or_else(|_| panic!("not a reference ID: {reference}"));
    hasher.verification(&reference, &number).as_str().to_owned()
}
