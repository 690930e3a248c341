//! What can be seen of the function from outside: the provider's requests and texts, and the items of the table. What
//! must hold is checked by these alone, never by what the function says about itself.

use crate::function::ledger_keys;
use crate::table::{Items, Table};
use otp_lambda::ledger::Hasher;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use serde_json::Value;
use simulator::{IssuedCode, Operation, Simulator};
use std::collections::{BTreeMap, BTreeSet};

/// By number, and by reference within.
type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// Everything that can be seen, at one moment.
pub(crate) struct Seen {
    /// Texts, by number and reference.
    texts: Counts,
    /// Guesses that reached the provider, by number and reference.
    asked: Counts,
    codes: BTreeMap<(String, String), IssuedCode>,
    items: Items,
    keys: Hasher,
}

impl Seen {
    /// Looks while things go on: at the table last, since what is there was there before the provider was asked.
    pub(crate) fn now(simulator: &Simulator, table: &Table) -> Self {
        let mut texts = Counts::new();
        for text in simulator.inbox() {
            *texts
                .entry(text.to)
                .or_default()
                .entry(text.reference_id)
                .or_default() += 1;
        }
        let mut asked = Counts::new();
        // The body of one that was not read says nothing, and nothing became of it.
        for request in simulator
            .requests(Operation::Verify)
            .iter()
            .filter(|request| request.body.is_object())
        {
            let member = |name: &str| request.body[name].as_str().unwrap_or_default().to_owned();
            let of_number = asked.entry(member("DestinationIdentity")).or_default();
            *of_number.entry(member("ReferenceId")).or_default() += 1;
        }
        let codes = simulator.codes().into_iter();
        let codes = codes
            .map(|code| ((code.key.to.clone(), code.key.reference_id.clone()), code))
            .collect();
        Self {
            texts,
            asked,
            codes,
            items: table.items(),
            keys: ledger_keys(),
        }
    }

    /// Texts under one reference.
    pub(crate) fn texts(&self, number: &str, reference: &str) -> u64 {
        count(&self.texts, number, reference)
    }

    /// Guesses that reached the provider under one reference.
    pub(crate) fn asked(&self, number: &str, reference: &str) -> u64 {
        count(&self.asked, number, reference)
    }

    /// Guesses about a number that reached the provider, under whatever reference.
    pub(crate) fn asked_about(&self, number: &str) -> u64 {
        self.asked
            .get(number)
            .map_or(0, |of_number| of_number.values().sum())
    }

    /// Texts to a number, under whatever reference.
    pub(crate) fn texts_to(&self, number: &str) -> u64 {
        self.texts
            .get(number)
            .map_or(0, |to_number| to_number.values().sum())
    }

    /// Numbers that a text went to or a guess was asked about.
    pub(crate) fn numbers(&self) -> BTreeSet<&str> {
        self.texts
            .keys()
            .chain(self.asked.keys())
            .map(String::as_str)
            .collect()
    }

    /// What a text was sent under.
    pub(crate) fn with_texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().flat_map(|(number, references)| {
            references
                .keys()
                .map(move |reference| (number.as_str(), reference.as_str()))
        })
    }

    /// The code that the provider remembers.
    pub(crate) fn code(&self, number: &str, reference: &str) -> Option<&IssuedCode> {
        self.codes.get(&(number.to_owned(), reference.to_owned()))
    }

    /// The record of a verification, or null.
    pub(crate) fn record(&self, number: &str, reference: &str) -> &Value {
        self.items
            .get(&record_key(&self.keys, number, reference))
            .unwrap_or(&Value::Null)
    }

    /// The item of a number, or null.
    pub(crate) fn number(&self, number: &str) -> &Value {
        let number = PhoneNumber::parse(number).unwrap();
        self.items
            .get(self.keys.number(&number).as_str())
            .unwrap_or(&Value::Null)
    }

    /// When a number's sends were, newest first.
    pub(crate) fn sends(&self, number: &str) -> Vec<u64> {
        let item = self.number(number);
        (1..=20)
            .filter_map(|k| item[format!("t{k}")].as_u64())
            .take_while(|at| *at > 0)
            .collect()
    }

    /// Items whose key begins so.
    pub(crate) fn items_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.items
            .iter()
            .filter(move |(key, _)| key.starts_with(kind))
            .map(|(_, item)| item)
    }

    /// What must hold for every text there is: its record was there before it, and it has a place in the windows.
    pub(crate) fn problems_of_texts(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (number, reference) in self.with_texts() {
            let record = self.record(number, reference);
            let (texts, generation) = (
                self.texts(number, reference),
                record["gen"].as_u64().unwrap_or(0),
            );
            if texts > generation {
                problems.push(format!(
                    "a text without a record: {number} has {texts}, the record is {record}"
                ));
            }
        }
        for number in self.numbers() {
            let (texts, places) = (self.texts_to(number), self.sends(number).len() as u64);
            // No more than twenty are remembered.
            if texts.min(20) > places {
                problems.push(format!(
                    "a text without a place in the windows: {number} has {texts} in {places}"
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

/// The name of a verification's item.
pub(crate) fn record_key(keys: &Hasher, number: &str, reference: &str) -> String {
    let number = PhoneNumber::parse(number).unwrap();
    let reference =
        ReferenceId::parse(reference).unwrap_or_else(|_| panic!("no reference: {reference}"));
    keys.verification(&reference, &number).as_str().to_owned()
}
