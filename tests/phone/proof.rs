//! Checks every number that can exist, and not only a sample, by walking the table together with libphonenumber's
//! patterns.
//!
//! The table reaches its verdict with `Position::next`, which gets one digit, and `Position::end`, which gets a count.
//! The verdict therefore depends only on a position in the table and on this count. For each length, the walk visits
//! each pair of a position and a state of libphonenumber's automata once. All numbers of this length that lead to one
//! pair get the same verdict from the table, and the same verdict from libphonenumber. One visit covers all these
//! numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;
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
    /// The longest beginning with which valid numbers begin, and the longest one with mobile numbers.
    known: Option<(StateID, usize)>,
    mobile: Option<(StateID, usize)>,
    /// The region that has all valid numbers with the longest such beginning.
    owner: Option<usize>,
    stripped: Option<Stripped>,
}

/// A country and a type, or the reason to refuse.
type Verdict = Result<(Option<String>, NumberType), InvalidPhoneNumber>;

const OF_MOBILES: [NumberType; 2] = [NumberType::Mobile, NumberType::FixedOrMobile];

/// The types that a domestic prefix may begin: their numbers mostly cannot be called from abroad.
const EARNING: [NumberType; 3] = [
    NumberType::TollFree,
    NumberType::Premium,
    NumberType::SharedCost,
];

/// Valid numbers that begin alike, by their digits.
type Numbers = HashSet<(usize, Label)>;

struct Walk<'a> {
    table: &'a Table,
    plan: &'a Plan,
    code_digits: usize,
    labels: HashMap<(StateID, usize), Rc<Numbers>>,
    /// With a second example of each, or not.
    seen: HashMap<Visit, bool>,
    compared: &'a mut Compared,
    /// How many differences end the walk.
    most: usize,
    /// An example of the digits that lead to the visit.
    path: String,
}

/// Compares the verdicts of `table` with libphonenumber about every number of every calling code.
pub(crate) fn compare(table: &Table, plans: &[Plan]) -> Compared {
    compare_until(20, table, plans)
}

/// Compares until so many differences are found.
pub(crate) fn compare_until(most: usize, table: &Table, plans: &[Plan]) -> Compared {
    let mut compared = Compared::default();
    compare_codes(table, plans, &mut compared.differences);
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
            seen: HashMap::new(),
            compared: &mut compared,
            most,
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
            known: None,
            mobile: None,
            owner: (plan.code != 1).then_some(0),
            stripped: plan.stripping.as_ref().map(|stripping| Stripped {
                prefix: start(&stripping.prefix),
                whole: start(&stripping.general),
                rest: None,
            }),
        });
    }
    compared
}

/// Every one to three digits are a calling code on both sides, the beginning of one, or neither.
fn compare_codes(table: &Table, plans: &[Plan], differences: &mut Vec<String>) {
    let own: Vec<String> = plans.iter().map(|plan| plan.code.to_string()).collect();
    let all = (1..=3).flat_map(|length| {
        (0..10_u32.pow(length))
            .map(move |value| format!("{value:0length$}", length = length as usize))
    });
    for digits in all {
        let position = digits.bytes().fold(Position::START, |position, byte| {
            position.next(table, Digit::of(byte).unwrap())
        });
        let is_within = own.iter().any(|code| digits.starts_with(code.as_str()));
        let begins = own.iter().any(|code| code.starts_with(digits.as_str()));
        let agrees = match position {
            Position::Node { .. } | Position::Leaf { .. } => is_within,
            Position::Code { .. } => !is_within,
            Position::Unassigned => !is_within && !begins,
        };
        if !agrees {
            differences.push(format!("+{digits}: {position:?}"));
        }
    }
    for (row, plan) in table.codes.iter().zip(plans) {
        let lengths = lengths(plan).fold(0, |mask, digits| mask | 1 << digits);
        if row.lengths != lengths {
            differences.push(format!("+{}: its lengths differ", row.code));
        }
    }
}

/// The lengths from the shortest number of a calling code to the longest.
fn lengths(plan: &Plan) -> RangeInclusive<usize> {
    if plan.code == 1 {
        return 10..=10;
    }
    plan.possible.trailing_zeros() as usize..=15 - plan.possible.leading_zeros() as usize
}

impl Walk<'_> {
    fn visit(&mut self, visit: Visit) {
        if self.compared.differences.len() >= self.most {
            return;
        }
        if let Some(has_second) = self.seen.get_mut(&visit) {
            if !std::mem::replace(has_second, true) {
                self.add_second_example(&visit);
            }
            return;
        }
        self.compared.visits += 1;
        let label = self.label(visit.state, visit.digits);
        // Shorter texts are no numbers at all.
        if self.code_digits + visit.digits >= 7 {
            self.check(&visit, label);
        }
        if self.code_digits + visit.digits < 15 {
            for digit in 0..10 {
                self.path.push(char::from(b'0' + digit));
                let next = self.after(&visit, digit, label.is_some());
                self.visit(next);
                self.path.pop();
            }
        }
        self.seen.insert(visit, false);
    }

    fn label(&self, state: StateID, digits: usize) -> Option<Label> {
        // Numbers of seven digits in +1 are services inside Canada.
        let is_whole = self.plan.code != 1 || digits == 10;
        is_whole.then(|| self.plan.label(state, digits)).flatten()
    }

    fn after(&mut self, visit: &Visit, digit: u8, ends_here: bool) -> Visit {
        let state = self.plan.next(visit.state, digit);
        let position = visit
            .position
            .next(self.table, Digit::of(b'0' + digit).unwrap());
        let digits = visit.digits + 1;
        let mut applying = visit.applying.clone();
        let mut pending = Vec::new();
        for (index, met) in &visit.pending {
            let beginning = JUDGEMENTS[*index].beginning;
            if !beginning[*met].contains(char::from(b'0' + digit)) {
                continue;
            }
            if met + 1 == beginning.len() {
                applying.push(*index);
            } else {
                pending.push((*index, met + 1));
            }
        }
        let numbers = self.labels(state, digits);
        // Area codes of +1 have three digits. Their beginnings say nothing.
        let is_area = self.plan.code == 1 && digits < 3;
        let here = Some((state, digits)).filter(|_| !is_area);
        let is_mobile = |(_, label): &(usize, Label)| OF_MOBILES.contains(&label.number_type);
        Visit {
            position,
            state,
            digits,
            pending,
            applying,
            has_ended: visit.has_ended || ends_here,
            known: here.filter(|_| !numbers.is_empty()).or(visit.known),
            mobile: here
                .filter(|_| numbers.iter().any(is_mobile))
                .or(visit.mobile),
            owner: self.owner(visit, digits, &numbers),
            stripped: visit
                .stripped
                .zip(self.plan.stripping.as_ref())
                .map(|(stripped, rule)| strip(rule, stripped, digit, visit.digits)),
        }
    }

    /// The region to which a number that is not assigned belongs.
    fn owner(&self, visit: &Visit, digits: usize, numbers: &Numbers) -> Option<usize> {
        let regions: BTreeSet<usize> = numbers.iter().map(|(_, label)| label.region).collect();
        let first = regions.first().copied();
        if self.plan.code == 1 && digits < 3 {
            return None;
        }
        // A toll-free area code of +1 has numbers of several regions.
        let is_one = regions.len() == 1 || self.plan.code == 1 && digits == 3;
        first.filter(|_| is_one).or(visit.owner)
    }

    /// Compares the two verdicts about a number that ends here.
    fn check(&mut self, visit: &Visit, label: Option<Label>) {
        let verdict = visit
            .position
            .end(self.table, self.code_digits + visit.digits);
        self.add_example(label, verdict.is_ok());
        if let Some(label) = label {
            *self.compared.valid.entry(label.number_type).or_default() += 1;
            let expected = self.expected(visit, label);
            if verdict == Err(InvalidPhoneNumber::OtherSpelling(Hint::Domestic)) && expected.is_ok()
            {
                let refused = (self.plan.code, label.number_type);
                *self.compared.domestic.entry(refused).or_default() += 1;
                return;
            }
            self.require_equal("valid", &verdict.map(named), &expected);
        }
        if label.is_none() {
            self.check_unassigned(visit, verdict);
        }
        let Ok(class) = verdict else {
            return;
        };
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
        let own = class.calling_code_digits;
        self.require(
            own == self.code_digits,
            "the calling code has another length",
        );
    }

    fn add_example(&mut self, label: Option<Label>, is_accepted: bool) {
        let known = label.map(|label| {
            let region = self.plan.regions[label.region].id.clone();
            (region, label.number_type)
        });
        self.compared.examples.push(Example {
            e164: format!("+{}", self.path),
            known,
            is_accepted,
        });
    }

    /// Another valid number that leads to a visit, so that libphonenumber is asked about two.
    fn add_second_example(&mut self, visit: &Visit) {
        let digits = self.code_digits + visit.digits;
        if let Some(label) = self.label(visit.state, visit.digits) {
            let verdict = visit.position.end(self.table, digits);
            self.add_example(Some(label), verdict.is_ok());
        }
    }

    /// The country and the type of a valid number, or why it is refused.
    fn expected(&self, visit: &Visit, label: Label) -> Verdict {
        self.judged(visit, Some(label.region), label.number_type)
    }

    /// The verdict of the judgements on a number.
    fn judged(&self, visit: &Visit, region: Option<usize>, number_type: NumberType) -> Verdict {
        let region = region.map(|region| self.plan.regions[region].id.clone());
        let mut country = region.filter(|region| region != "001");
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
        Ok((country, number_type))
    }

    /// Checks the verdict on a number that libphonenumber does not know. The known numbers with the same beginning
    /// decide. If some known numbers with this beginning may have the length of the number, the number must be
    /// accepted. If not, it must be refused. The verdict must have the country of these known numbers. If the known
    /// numbers of this length all have one type, the verdict must also have this type.
    fn check_unassigned(&mut self, visit: &Visit, verdict: Result<Class, InvalidPhoneNumber>) {
        let verdict = verdict.map(named);
        let types = self.types_alike(visit);
        let first = self.types_of_first_digit();
        let judged = self.judged(visit, visit.owner, NumberType::Unassigned);
        let refused = |reason| judged.clone().and(Err(reason));
        // The first digit of a domestic prefix can also begin free numbers.
        let is_domestic = verdict == refused(InvalidPhoneNumber::OtherSpelling(Hint::Domestic));
        if is_domestic && !first.is_empty() && first.is_subset(&HashSet::from(EARNING)) {
            return;
        }
        if first.is_empty() {
            let first = self.path.as_bytes()[self.code_digits] - b'0';
            let reason = if self.plan.may_be_domestic(first) {
                InvalidPhoneNumber::OtherSpelling(Hint::Domestic)
            } else {
                InvalidPhoneNumber::UnknownBeginning
            };
            if judged.is_ok() || verdict != Err(reason) {
                self.require_equal("no number begins so", &verdict, &refused(reason));
            }
            return;
        }
        if let Some(number_type) = types.get(&visit.digits) {
            let expected = judged.map(|(country, _)| (country, *number_type));
            self.require_equal("not assigned", &verdict, &expected);
            return;
        }
        let expected = match verdict {
            Err(InvalidPhoneNumber::TooFewDigits) => refused(InvalidPhoneNumber::TooFewDigits),
            _ => refused(InvalidPhoneNumber::TooLong),
        };
        self.require_equal("of no length that is known", &verdict, &expected);
    }

    /// The types that a number may have that begins as this one, by its digits.
    fn types_alike(&mut self, visit: &Visit) -> BTreeMap<usize, NumberType> {
        let mut types = BTreeMap::new();
        if visit.has_ended {
            return types;
        }
        let depth = visit.known.map_or(0, |(_, depth)| depth);
        let range = lengths(self.plan).filter(|digits| *digits > depth);
        let of_unknown = range
            .map(|digits| (digits, NumberType::Unassigned))
            .collect();
        let Some((state, depth)) = visit.known else {
            return of_unknown;
        };
        for (digits, label) in self.labels(state, depth).iter() {
            let other = types.insert(*digits, label.number_type);
            if other.is_some_and(|other| other != label.number_type) {
                return of_unknown;
            }
        }
        let is_free = |of: &NumberType| matches!(of, NumberType::TollFree | NumberType::Voicemail);
        if types.values().all(is_free)
            && let Some((state, depth)) = visit.mobile
        {
            let shortest = types.keys().next().copied().unwrap_or(0);
            for (digits, label) in self.labels(state, depth).iter() {
                // A longer one would be a free number with surplus digits.
                if OF_MOBILES.contains(&label.number_type) && *digits < shortest {
                    types.entry(*digits).or_insert(NumberType::Unassigned);
                }
            }
        }
        types
    }

    /// The types of the numbers that have the first digit of this one.
    fn types_of_first_digit(&mut self) -> HashSet<NumberType> {
        let first = self.path.as_bytes()[self.code_digits] - b'0';
        let state = self.plan.next(self.plan.start(), first);
        let numbers = self.labels(state, 1);
        numbers.iter().map(|(_, label)| label.number_type).collect()
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

    fn require_equal(&mut self, about: &str, verdict: &Verdict, expected: &Verdict) {
        if verdict != expected {
            self.require(
                false,
                &format!("{about}, but {verdict:?} instead of {expected:?}"),
            );
        }
    }

    fn require(&mut self, holds: bool, otherwise: &str) {
        if !holds {
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

/// Applies libphonenumber's rule for prefixes to one more digit, after `read` other digits. The automaton reports a
/// match one digit late. If the automaton reports a match before any digit was read, the prefix is empty, and the match
/// does not count.
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
