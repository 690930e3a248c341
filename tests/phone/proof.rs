//! Every number there is, not a sample: the table is walked together with libphonenumber's patterns.
//!
//! `Position::next` gets one digit and `Position::end` a count, so a verdict depends on a position of the table alone.
//! The walk visits each pair of a position and a state of libphonenumber's automata once, for each length. All numbers
//! that lead to one pair get the same verdict from both sides, so the visit covers them all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use regex_automata::dfa::{Automaton as _, dense};
use regex_automata::util::primitives::StateID;

use crate::judgements::{Effect, JUDGEMENTS};
use crate::oracle::{Label, Plan, Stripping, start};
use crate::phone::plan::{Class, Digit, Position, Table};
use crate::phone::{Hint, InvalidPhoneNumber, NumberType};

/// The result of a comparison.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Pairs that were visited.
    pub(crate) visits: usize,
    /// How many of them are valid numbers, by type.
    pub(crate) valid: BTreeMap<NumberType, usize>,
    /// The types whose numbers are refused for their first digit, with the calling code.
    pub(crate) domestic: BTreeMap<(u16, NumberType), usize>,
    /// A number for each visit.
    pub(crate) examples: Vec<Example>,
    /// Sentences about differences, at most a few.
    pub(crate) differences: Vec<String>,
}

/// A number that leads to a visit.
#[derive(Debug)]
pub(crate) struct Example {
    pub(crate) e164: String,
    /// Its region and type by the patterns.
    pub(crate) known: Option<(String, NumberType)>,
    pub(crate) is_accepted: bool,
}

/// How far libphonenumber's rule for a domestic prefix has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stripped {
    prefix: StateID,
    whole: StateID,
    /// The state of what follows the longest prefix so far, and how many digits it has.
    rest: Option<(StateID, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Visit {
    position: Position,
    state: StateID,
    digits: usize,
    /// The judgements whose beginning has been met so far, with the digits met, and those that apply.
    pending: Vec<(usize, usize)>,
    applying: Vec<usize>,
    /// Whether a valid number has ended before the last digit.
    has_ended: bool,
    /// Where the leaf began, and the place before it.
    leaf: Option<[(StateID, usize); 2]>,
    stripped: Option<Stripped>,
}

/// Valid numbers that begin alike, by their digits.
type Numbers = HashSet<(usize, Label)>;

struct Walk<'a> {
    table: &'a Table,
    plan: &'a Plan,
    code_digits: usize,
    labels: HashMap<(StateID, usize), Rc<Numbers>>,
    seen: HashSet<Visit>,
    compared: &'a mut Compared,
    /// An example of the digits that lead to the visit.
    path: String,
}

/// Compares the verdicts of `table` with libphonenumber about every number of every calling code.
pub(crate) fn compare(table: &Table, plans: &[Plan]) -> Compared {
    let mut compared = Compared::default();
    for plan in plans {
        let digits = plan.code.to_string();
        let mut position = Position::START;
        for byte in digits.bytes() {
            position = position.next(table, Digit::of(byte).unwrap());
        }
        let mut walk = Walk {
            table,
            plan,
            code_digits: digits.len(),
            labels: HashMap::new(),
            seen: HashSet::new(),
            compared: &mut compared,
            path: digits,
        };
        walk.visit(Visit {
            position,
            state: plan.start(),
            digits: 0,
            pending: (0..JUDGEMENTS.len())
                .filter(|index| JUDGEMENTS[*index].code == plan.code)
                .map(|index| (index, 0))
                .collect(),
            applying: Vec::new(),
            has_ended: false,
            leaf: None,
            stripped: plan.stripping.as_ref().map(|stripping| Stripped {
                prefix: start(&stripping.prefix),
                whole: start(&stripping.general),
                rest: None,
            }),
        });
    }
    compared
}

impl Walk<'_> {
    fn visit(&mut self, visit: Visit) {
        if self.seen.contains(&visit) {
            return;
        }
        self.compared.visits += 1;
        let label = self.label(visit.state, visit.digits);
        if visit.digits > 0 {
            self.check(&visit, label);
        }
        if self.code_digits + visit.digits < 15 {
            for digit in 0..10 {
                self.path.push(char::from(b'0' + digit));
                self.visit(self.after(&visit, digit, label.is_some()));
                self.path.pop();
            }
        }
        self.seen.insert(visit);
    }

    fn label(&self, state: StateID, digits: usize) -> Option<Label> {
        // Numbers of seven digits in +1 are services inside Canada.
        let is_whole = self.plan.code != 1 || digits == 10;
        is_whole.then(|| self.plan.label(state, digits)).flatten()
    }

    fn after(&self, visit: &Visit, digit: u8, ends_here: bool) -> Visit {
        let state = self.plan.next(visit.state, digit);
        let position = visit
            .position
            .next(self.table, Digit::of(b'0' + digit).unwrap());
        let is_leaf = matches!(position, Position::Leaf { .. });
        let mut applying = visit.applying.clone();
        let mut pending = Vec::new();
        for (index, met) in &visit.pending {
            let beginning = JUDGEMENTS[*index].beginning.as_bytes();
            match beginning[*met] {
                b'*' => {}
                wanted if wanted == b'0' + digit => {}
                _ => continue,
            }
            if met + 1 == beginning.len() {
                applying.push(*index);
            } else {
                pending.push((*index, met + 1));
            }
        }
        Visit {
            position,
            state,
            digits: visit.digits + 1,
            pending,
            applying,
            has_ended: visit.has_ended || ends_here,
            leaf: visit.leaf.or_else(|| {
                let before = (visit.state, visit.digits);
                is_leaf.then_some([(state, visit.digits + 1), before])
            }),
            stripped: visit
                .stripped
                .zip(self.plan.stripping.as_ref())
                .map(|(stripped, rule)| strip(rule, stripped, digit, visit.digits)),
        }
    }

    /// Compares the two verdicts about a number that ends here.
    fn check(&mut self, visit: &Visit, label: Option<Label>) {
        let verdict = visit
            .position
            .end(self.table, self.code_digits + visit.digits);
        let known = label.map(|label| {
            let region = self.plan.regions[label.region].id.clone();
            (region, label.number_type)
        });
        self.compared.examples.push(Example {
            e164: format!("+{}", self.path),
            known,
            is_accepted: verdict.is_ok(),
        });
        if let Some(label) = label {
            *self.compared.valid.entry(label.number_type).or_default() += 1;
            let expected = self.expected(visit, label);
            if verdict == Err(InvalidPhoneNumber::OtherSpelling(Hint::Domestic)) && expected.is_ok()
            {
                let refused = (self.plan.code, label.number_type);
                *self.compared.domestic.entry(refused).or_default() += 1;
                return;
            }
            let verdict = verdict.map(named);
            let is_equal = verdict == expected;
            self.require(
                is_equal,
                &format!("valid, but {verdict:?} instead of {expected:?}"),
            );
        }
        let Ok(class) = verdict else {
            return;
        };
        if label.is_none() {
            self.check_unassigned(visit, class);
        }
        let is_kept = self
            .plan
            .stripping
            .as_ref()
            .zip(visit.stripped)
            .is_none_or(|(rule, stripped)| !is_stripped(rule, stripped));
        self.require(
            is_kept,
            "libphonenumber spells an accepted number differently",
        );
        let own = usize::from(class.calling_code_digits);
        self.require(
            own == self.code_digits,
            "the calling code has another length",
        );
    }

    /// The country and the type of a valid number, or why it is refused.
    fn expected(
        &self,
        visit: &Visit,
        label: Label,
    ) -> Result<(Option<String>, NumberType), InvalidPhoneNumber> {
        let region = self.plan.regions[label.region].id.clone();
        let mut country = (region != "001").then_some(region);
        for index in &visit.applying {
            let judgement = &JUDGEMENTS[*index];
            match judgement.effect {
                Effect::NoCountry => country = None,
                Effect::OtherSpelling(hint) if judgement.lengths & 1 << visit.digits != 0 => {
                    return Err(InvalidPhoneNumber::OtherSpelling(hint));
                }
                Effect::OtherSpelling(_) => {}
            }
        }
        Ok((country, label.number_type))
    }

    /// A number that libphonenumber does not know must not be a known one with surplus digits, and has a type only if
    /// all numbers of its length that begin so have that type.
    fn check_unassigned(&mut self, visit: &Visit, class: Class) {
        let here = (visit.state, visit.digits);
        let [(state, depth), before] = visit.leaf.unwrap_or([here, here]);
        let mut numbers = self.labels(state, depth);
        if numbers.is_empty() {
            self.require(!visit.has_ended, "a number has surplus digits");
            numbers = self.labels(before.0, before.1);
        }
        let types: HashSet<NumberType> = numbers
            .iter()
            .filter(|(digits, _)| *digits == visit.digits)
            .map(|(_, label)| label.number_type)
            .collect();
        if class.number_type == NumberType::Unassigned {
            self.require(!visit.has_ended, "a number has surplus digits");
        } else {
            let is_only = types.len() == 1 && types.contains(&class.number_type);
            self.require(
                is_only,
                "a number has the type of others that do not begin so",
            );
        }
        let country = class.country.map(|country| country.to_string());
        let main = &self.plan.regions[0].id;
        let is_known = match &country {
            None => true,
            Some(country) if country == main && self.plan.code != 1 => true,
            Some(country) => self.plan.regions.iter().any(|region| region.id == *country),
        };
        self.require(is_known, "the country is not one of the calling code");
    }

    /// The valid numbers that go on from here, by their digits.
    fn labels(&mut self, state: StateID, digits: usize) -> Rc<Numbers> {
        if self.plan.is_dead(state) || self.code_digits + digits > 15 {
            return Rc::default();
        }
        if let Some(known) = self.labels.get(&(state, digits)) {
            return Rc::clone(known);
        }
        let mut labels = HashSet::new();
        labels.extend(self.label(state, digits).map(|label| (digits, label)));
        for digit in 0..10 {
            let next = self.plan.next(state, digit);
            labels.extend(self.labels(next, digits + 1).iter().copied());
        }
        let labels = Rc::new(labels);
        self.labels.insert((state, digits), Rc::clone(&labels));
        labels
    }

    fn require(&mut self, holds: bool, otherwise: &str) {
        if !holds && self.compared.differences.len() < 20 {
            let path = &self.path;
            self.compared
                .differences
                .push(format!("+{path}: {otherwise}"));
        }
    }
}

fn named(class: Class) -> (Option<String>, NumberType) {
    let country = class.country.map(|country| country.to_string());
    (country, class.number_type)
}

/// One more digit of libphonenumber's rule, after `read` others. The automaton reports a match one digit late, and an
/// empty prefix is none.
fn strip(rule: &Stripping, before: Stripped, digit: u8, read: usize) -> Stripped {
    let byte = b'0' + digit;
    let prefix = rule.prefix.next_state(before.prefix, byte);
    let rest = if rule.prefix.is_match_state(prefix) && read > 0 {
        Some((start(&rule.general), 0))
    } else {
        before.rest
    };
    Stripped {
        prefix,
        whole: rule.general.next_state(before.whole, byte),
        rest: rest.map(|(state, digits)| (rule.general.next_state(state, byte), digits + 1)),
    }
}

/// Whether libphonenumber takes the prefix away from a number that ends here.
fn is_stripped(rule: &Stripping, stripped: Stripped) -> bool {
    let ends = |dfa: &dense::DFA<Vec<u32>>, state| dfa.is_match_state(dfa.next_eoi_state(state));
    let matches_all = ends(&rule.prefix, stripped.prefix);
    if rule.replaces {
        return matches_all || stripped.rest.is_some();
    }
    // A rest of no digits is too short.
    let Some((rest, digits)) = stripped.rest.filter(|_| !matches_all) else {
        return false;
    };
    let is_number = ends(&rule.general, stripped.whole) && !ends(&rule.general, rest);
    !is_number && rule.accepts_rest(digits)
}
