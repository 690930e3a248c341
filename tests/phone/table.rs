//! Derives `src/phone/countries.rs` from libphonenumber's metadata in the crate `rlibphonenumber`.
//!
//! The crate does not publish its metadata, so the file is read from the package that Cargo has unpacked:
//! the bytes that the crate is compiled with.
//!
//! The metadata describes a country's numbers by regular expressions. Each becomes an automaton. The
//! automata of the countries that share a calling code are walked digit by digit, until all numbers with
//! one beginning belong to one country. That beginning is a prefix of the table. So the table is exact.
//! Samples would miss small blocks.

#![expect(
    deprecated,
    reason = "rlibphonenumber deprecates these fields for its own wrappers, which are private"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use prost::Message as _;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start::Config;
use regex_automata::util::syntax;
use regex_automata::{Anchored, nfa::thompson};
use rlibphonenumber::{PhoneMetadata, PhoneMetadataCollection, PhoneNumberDesc};

/// The release of `rlibphonenumber` and the libphonenumber metadata in it (its README says which).
pub(crate) const SOURCE: (&str, &str) = ("2.2.15", "9.0.42");

/// The largest number of digits after a calling code.
const MOST_NATIONAL_DIGITS: usize = 14;

/// The numbering plan of one country under one calling code.
struct Plan {
    country: String,
    dfa: dense::DFA<Vec<u32>>,
    /// The first digits of the numbers, without the rule about leading digits.
    starts: BTreeSet<char>,
    longest: i32,
}

impl Plan {
    fn of(metadata: &PhoneMetadata) -> Self {
        let called = union(&[
            &metadata.fixed_line,
            &metadata.mobile,
            &metadata.personal_number,
            &metadata.voip,
            &metadata.pager,
            &metadata.uan,
            &metadata.voicemail,
        ]);
        let charged = union(&[
            &metadata.toll_free,
            &metadata.premium_rate,
            &metadata.shared_cost,
        ]);
        let numbers = format!("{called}|{charged}");
        let only_numbers = automaton(&numbers);
        let only_called = automaton(&called);
        let starts = ('0'..='9')
            .filter(|digit| {
                // A domestic prefix may also begin free numbers, which mostly cannot be called from abroad.
                // `+91 0 98…` would pass as one, so only the digits of people's phones count.
                let domestic =
                    metadata.national_prefix.as_deref() == Some(digit.to_string().as_str());
                let numbers = if domestic {
                    &only_called
                } else {
                    &only_numbers
                };
                !numbers.is_dead_state(step(numbers, start(numbers), *digit))
            })
            .collect();
        let dfa = match metadata.leading_digits.as_deref() {
            None | Some("") => only_numbers,
            Some(leading) => {
                let leading = leading.trim_start_matches('^').trim_end_matches('$');
                automaton(&format!("(?:{leading})[0-9]*|{numbers}"))
            }
        };
        let general: &PhoneNumberDesc = metadata.general_desc.as_ref().unwrap();
        Self {
            country: metadata.id.clone(),
            dfa,
            starts,
            longest: *general.possible_length.iter().max().unwrap(),
        }
    }
}

/// One pattern for several kinds of numbers. A kind that the country lacks is `[^0-9]`, which matches no
/// digit.
fn union(kinds: &[&Option<PhoneNumberDesc>]) -> String {
    let patterns = kinds
        .iter()
        .filter_map(|kind| kind.as_ref()?.national_number_pattern.as_deref());
    let mut union = String::from("[^0-9]");
    for pattern in patterns.filter(|pattern| !pattern.is_empty()) {
        write!(union, "|{pattern}").unwrap();
    }
    union
}

/// An automaton over ASCII digits. Each of its live states leads to a number.
fn automaton(pattern: &str) -> dense::DFA<Vec<u32>> {
    dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Anchored)
                .accelerate(false)
                .minimize(false),
        )
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .thompson(thompson::Config::new().utf8(false))
        .build(pattern)
        .unwrap()
}

fn start(dfa: &dense::DFA<Vec<u32>>) -> StateID {
    dfa.start_state(&Config::new().anchored(Anchored::Yes))
        .unwrap()
}

fn step(dfa: &dense::DFA<Vec<u32>>, state: StateID, digit: char) -> StateID {
    dfa.next_state(state, u8::try_from(digit).unwrap())
}

/// The countries, by index, of the numbers with one beginning. If a number fits several, libphonenumber's
/// order decides.
type Owners = BTreeSet<usize>;

struct Walk<'a> {
    plans: &'a [Plan],
    /// The minimum length of a prefix: an area code of +1 is either assigned or not.
    least_digits: usize,
    seen: HashMap<(Vec<StateID>, usize), Owners>,
    prefixes: BTreeMap<String, String>,
}

impl Walk<'_> {
    fn next(&self, states: &[StateID], digit: char) -> Vec<StateID> {
        let pairs = self.plans.iter().zip(states);
        pairs
            .map(|(plan, state)| step(&plan.dfa, *state, digit))
            .collect()
    }

    fn owners(&mut self, states: &[StateID], depth: usize) -> Owners {
        let live = |(plan, state): (&Plan, &StateID)| !plan.dfa.is_dead_state(*state);
        if depth > MOST_NATIONAL_DIGITS || !self.plans.iter().zip(states).any(live) {
            return Owners::new();
        }
        let key = (states.to_vec(), depth);
        if let Some(owners) = self.seen.get(&key) {
            return owners.clone();
        }
        // A number of +1 has ten digits; 310 xxxx reaches a Canadian service only from inside Canada.
        let complete = self.least_digits == 0 || depth == 10;
        let ends = |(plan, state): (&Plan, &StateID)| {
            plan.dfa.is_match_state(plan.dfa.next_eoi_state(*state))
        };
        let whole = if complete {
            self.plans.iter().zip(states).position(ends)
        } else {
            None
        };
        let mut owners: Owners = whole.into_iter().collect();
        for digit in '0'..='9' {
            owners.extend(self.owners(&self.next(states, digit), depth + 1));
        }
        self.seen.insert(key, owners.clone());
        owners
    }

    /// Collects the prefixes below this one whose country is not `inherited`.
    fn note(&mut self, prefix: &str, states: &[StateID], inherited: Option<usize>) {
        let owners = self.owners(states, prefix.len());
        let Some(first) = owners.first().copied() else {
            return;
        };
        let mut inherited = inherited;
        let deep_enough = prefix.len() >= self.least_digits;
        if deep_enough && owners.len() == 1 && inherited == Some(first) {
            return;
        }
        let mut children: Vec<(char, Vec<StateID>)> = ('0'..='9')
            .map(|digit| (digit, self.next(states, digit)))
            .collect();
        children.retain(|(_, next)| !self.owners(next, prefix.len() + 1).is_empty());
        // A territory gets only its own block: if just one digit can follow, it belongs to the prefix.
        let whole_block = self.least_digits > 0 || children.len() != 1;
        let settled = owners.len() == 1 && whole_block;
        if deep_enough && (settled || inherited.is_none()) {
            let country = self.plans[first].country.clone();
            self.prefixes.insert(prefix.to_owned(), country);
            inherited = Some(first);
        }
        if !(deep_enough && settled) {
            for (digit, next) in children {
                self.note(&format!("{prefix}{digit}"), &next, inherited);
            }
        }
    }
}

fn metadata() -> PhoneMetadataCollection {
    let about = cargo(&["-vV"]);
    let host = about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    // The packages of other platforms have not been unpacked.
    let packages = cargo(&[
        "metadata",
        "--format-version=1",
        "--offline",
        "--locked",
        "--filter-platform",
        host,
    ]);
    let packages: serde_json::Value = serde_json::from_str(&packages).unwrap();
    let package = packages["packages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|package| package["name"] == "rlibphonenumber")
        .unwrap();
    assert_eq!(package["version"], SOURCE.0, "SOURCE names both versions");
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    let file = manifest.with_file_name("src/generated/metadata/metadata.bin");
    PhoneMetadataCollection::decode(&*fs::read(file).unwrap()).unwrap()
}

fn cargo(arguments: &[&str]) -> String {
    let directory = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The text of `src/phone/countries.rs`.
pub(crate) fn countries_rs() -> String {
    let mut codes: BTreeMap<i32, Vec<PhoneMetadata>> = BTreeMap::new();
    let mut known: BTreeSet<String> = BTreeSet::new();
    for country in metadata().metadata {
        if country.id != "001" {
            known.insert(country.id.clone());
        }
        let members = codes.entry(country.country_code()).or_default();
        // The main country first, the others in the order of the file, as libphonenumber does.
        if country.main_country_for_code() {
            members.insert(0, country);
        } else {
            members.push(country);
        }
    }

    let mut rows = String::new();
    let mut prefixes: Vec<(i32, BTreeMap<String, String>)> = Vec::new();
    for (&code, members) in &codes {
        let plans: Vec<Plan> = members.iter().map(Plan::of).collect();
        let starts: BTreeSet<char> = plans.iter().flat_map(|plan| plan.starts.clone()).collect();
        let longest = plans.iter().map(|plan| plan.longest).max().unwrap();
        let main = match plans[0].country.as_str() {
            "US" | "001" => "--",
            main => main,
        };
        let starts = starts.into_iter().collect::<String>();
        writeln!(
            rows,
            "    CallingCode::new({code}, *b\"{main}\", \"{starts}\", {longest}),"
        )
        .unwrap();
        if plans.len() > 1 {
            let nanp = code == 1;
            let mut walk = Walk {
                plans: &plans,
                least_digits: if nanp { 3 } else { 0 },
                seen: HashMap::new(),
                prefixes: BTreeMap::new(),
            };
            let states: Vec<StateID> = plans.iter().map(|plan| start(&plan.dfa)).collect();
            walk.note("", &states, if nanp { None } else { Some(0) });
            prefixes.push((code, walk.prefixes));
        }
    }

    let mut sorted: Vec<(u32, String)> = Vec::new();
    let mut deepest = 0;
    for (code, prefixes) in prefixes {
        for (prefix, country) in prefixes {
            deepest = deepest.max(prefix.len());
            sorted.push((format!("{code}{prefix}").parse().unwrap(), country));
        }
    }
    sorted.sort();
    let mut lines = String::new();
    for chunk in sorted.chunk_by(|(a, _), (b, _)| a / 10 == b / 10) {
        let entries: Vec<String> = chunk
            .iter()
            .map(|(prefix, country)| format!("({prefix}, *b\"{country}\")"))
            .collect();
        writeln!(lines, "    {},", entries.join(", ")).unwrap();
    }

    let regions: Vec<String> = known.into_iter().collect();
    let mut countries = String::new();
    for chunk in regions.chunk_by(|a, b| a[..1] == b[..1]) {
        let entries: Vec<String> = chunk.iter().map(|code| format!("*b\"{code}\"")).collect();
        writeln!(countries, "    {},", entries.join(", ")).unwrap();
    }

    let (release, metadata) = SOURCE;
    format!(
        r#"//! Generated, do not edit. Source: libphonenumber {metadata}, from the crate `rlibphonenumber` {release}.
//!
//! `cargo test --test phone -- --ignored write_the_table` writes it, and every `cargo test` compares it
//! with its source. `tests/phone/table.rs` derives it.

use super::CallingCode;

/// Every assigned calling code, in order, with its main country (`--` for none), the first digits of its
/// national numbers, and the length of the longest one.
#[rustfmt::skip]
pub(super) static CALLING_CODES: [CallingCode; {codes}] = [
{rows}];

/// The prefixes that do not belong to their calling code's main country, in order. They include the calling
/// code. +1 has no main country, so all its prefixes are here. The longest prefix of a number decides.
#[rustfmt::skip]
#[expect(clippy::unreadable_literal, reason = "beginnings of telephone numbers, not quantities")]
pub(super) static PREFIXES: [(u32, [u8; 2]); {count}] = [
{lines}];

/// The largest number of digits after the calling code in [`PREFIXES`].
pub(super) const MOST_PREFIX_DIGITS: usize = {deepest};

/// Every country that has phone numbers, in order.
#[rustfmt::skip]
pub(super) static COUNTRIES: [[u8; 2]; {known}] = [
{countries}];
"#,
        codes = codes.len(),
        count = sorted.len(),
        known = regions.len(),
    )
}
