//! libphonenumber's metadata as automata. The automata say which numbers exist under a calling code, and of which type
//! and region each number is.
//!
//! The crate `rlibphonenumber` does not publish its metadata. For this reason the tests read a file in the package that
//! Cargo has unpacked. The crate is compiled with the same file.
//!
//! All patterns of a calling code are one automaton. Each of its states tells which patterns match.
//! `tests/phone/table.rs` walks the automaton to derive the table, and `tests/phone/proof.rs` walks it to check the
//! table.

#![expect(
    deprecated,
    reason = "rlibphonenumber deprecates these fields for its own wrappers, which are private"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use prost::Message as _;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start::Config;
use regex_automata::util::syntax;
use regex_automata::{Anchored, MatchKind, nfa::thompson};
use rlibphonenumber::{PhoneMetadata, PhoneMetadataCollection, PhoneNumberDesc};

use crate::phone::NumberType;

/// The release of `rlibphonenumber` and the libphonenumber metadata in it (its README says which).
pub(crate) const SOURCE: (&str, &str) = ("2.2.15", "9.0.42");

/// The types in the order in which libphonenumber tries them. A fixed number that is also a mobile one is its own type.
const TYPES: [NumberType; 10] = [
    NumberType::Premium,
    NumberType::TollFree,
    NumberType::SharedCost,
    NumberType::Voip,
    NumberType::Personal,
    NumberType::Pager,
    NumberType::Uan,
    NumberType::Voicemail,
    NumberType::Fixed,
    NumberType::Mobile,
];
const FIXED: usize = 8;
const MOBILE: usize = 9;

/// After the patterns of the types, each region has its leading digits and its general pattern.
const LEADING: usize = 10;
const GENERAL: usize = 11;
const PATTERNS: usize = 12;

/// A valid number's type, and its region as an index into [`Plan::regions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Label {
    pub(crate) region: usize,
    pub(crate) number_type: NumberType,
}

/// A region under a calling code.
pub(crate) struct RegionRules {
    pub(crate) id: String,
    /// The lengths of the numbers of each pattern, as masks with bit n for n digits.
    lengths: [u16; PATTERNS],
    has_leading_digits: bool,
    fixed_is_mobile: bool,
}

/// The numbers under one calling code.
pub(crate) struct Plan {
    pub(crate) code: u16,
    /// The main region first, the others in the order of the file, as libphonenumber does.
    pub(crate) regions: Vec<RegionRules>,
    pub(crate) national_prefix: Option<String>,
    /// The lengths that numbers of the calling code can have.
    pub(crate) possible: u16,
    /// How libphonenumber removes a domestic prefix.
    pub(crate) stripping: Option<Stripping>,
    dfa: dense::DFA<Vec<u32>>,
}

impl Plan {
    fn of(code: u16, members: &[PhoneMetadata]) -> Self {
        let mut patterns = Vec::new();
        let mut regions = Vec::new();
        for metadata in members {
            let general = mask(metadata.general_desc.as_ref());
            let mut lengths = [general; PATTERNS];
            for (kind, description) in descriptions(metadata).into_iter().enumerate() {
                patterns.push(pattern(description));
                let own = mask(description);
                if let Some(slot) = lengths.get_mut(kind).filter(|_| own != 0) {
                    *slot = own & general;
                }
            }
            let leading = metadata.leading_digits.as_deref().unwrap_or_default();
            let leading = leading.trim_start_matches('^').trim_end_matches('$');
            patterns.push(if leading.is_empty() {
                NO_NUMBER.to_owned()
            } else {
                format!("(?:{leading})[0-9]*")
            });
            patterns.push(pattern(metadata.general_desc.as_ref()));
            regions.push(RegionRules {
                id: metadata.id.clone(),
                lengths,
                has_leading_digits: !leading.is_empty(),
                fixed_is_mobile: metadata.same_mobile_and_fixed_line_pattern(),
            });
        }
        Self {
            code,
            national_prefix: members[0].national_prefix.clone(),
            stripping: Stripping::of(&members[0]),
            possible: regions
                .iter()
                .fold(0, |all, region| all | region.lengths[GENERAL]),
            regions,
            dfa: automaton(&patterns),
        }
    }

    pub(crate) fn start(&self) -> StateID {
        start(&self.dfa)
    }

    pub(crate) fn next(&self, state: StateID, digit: u8) -> StateID {
        self.dfa.next_state(state, b'0' + digit)
    }

    /// Whether people dial this digit before a number at home: a zero, or the beginning of a domestic prefix.
    pub(crate) fn may_be_domestic(&self, digit: u8) -> bool {
        let byte = b'0' + digit;
        let is_prefix = |prefix: &str| prefix.as_bytes().first() == Some(&byte);
        let is_stripped = |rule: &Stripping| {
            let next = rule.prefix.next_state(start(&rule.prefix), byte);
            !rule.prefix.is_dead_state(next)
        };
        digit == 0
            || self.national_prefix.as_deref().is_some_and(is_prefix)
            || self.stripping.as_ref().is_some_and(is_stripped)
    }

    pub(crate) fn is_dead(&self, state: StateID) -> bool {
        self.dfa.is_dead_state(state)
    }

    /// libphonenumber's type and region of the number that ends here, if it is valid.
    pub(crate) fn label(&self, state: StateID, digits: usize) -> Option<Label> {
        let end = self.dfa.next_eoi_state(state);
        if !self.dfa.is_match_state(end) {
            return None;
        }
        let mut matching = vec![0_u32; self.regions.len()];
        for index in 0..self.dfa.match_len(end) {
            let pattern = self.dfa.match_pattern(end, index).as_usize();
            matching[pattern / PATTERNS] |= 1 << (pattern % PATTERNS);
        }
        for (region, (rules, matching)) in self.regions.iter().zip(matching).enumerate() {
            let number_type = rules.number_type(matching, digits);
            // Leading digits decide alone, even about a number that the region does not have.
            let is_own = if rules.has_leading_digits {
                matching & 1 << LEADING != 0
            } else {
                number_type.is_some()
            };
            if is_own {
                return number_type.map(|number_type| Label {
                    region,
                    number_type,
                });
            }
        }
        None
    }
}

impl RegionRules {
    fn number_type(&self, matching: u32, digits: usize) -> Option<NumberType> {
        let matches =
            |kind: usize| matching & 1 << kind != 0 && self.lengths[kind] & 1 << digits != 0;
        if !matches(GENERAL) {
            return None;
        }
        if let Some(kind) = (0..FIXED).find(|kind| matches(*kind)) {
            return Some(TYPES[kind]);
        }
        match (matches(FIXED), matches(MOBILE)) {
            (true, true) => Some(NumberType::FixedOrMobile),
            (true, false) if self.fixed_is_mobile => Some(NumberType::FixedOrMobile),
            (true, false) => Some(NumberType::Fixed),
            (false, true) => Some(NumberType::Mobile),
            (false, false) => None,
        }
    }
}

/// libphonenumber's rule for a prefix in front of a national number, as automata of the main region.
pub(crate) struct Stripping {
    /// The prefix. Of several matches the last one that the automaton meets counts.
    pub(crate) prefix: dense::DFA<Vec<u32>>,
    /// The numbers that the region can have.
    pub(crate) general: dense::DFA<Vec<u32>>,
    /// Whether something is put in place of the prefix.
    pub(crate) replaces: bool,
    possible: u16,
    local_only: u16,
}

impl Stripping {
    fn of(metadata: &PhoneMetadata) -> Option<Self> {
        let prefix = metadata.national_prefix_for_parsing.as_deref()?;
        let prefix = prefix
            .strip_prefix("^(?:")
            .and_then(|prefix| prefix.strip_suffix(")$"))
            .unwrap_or(prefix);
        let general = metadata.general_desc.as_ref()?;
        let local = general.possible_length_local_only.iter();
        Some(Self {
            prefix: dense_automaton(&[prefix.to_owned()], MatchKind::LeftmostFirst),
            general: automaton(&[pattern(Some(general))]),
            replaces: metadata
                .national_prefix_transform_rule
                .as_deref()
                .is_some_and(|rule| !rule.is_empty()),
            possible: mask(Some(general)),
            local_only: local
                .filter(|length| (1..=15).contains(*length))
                .fold(0, |mask, length| mask | 1 << length),
        })
    }

    /// Whether libphonenumber goes on with what is left after the prefix, by its length.
    pub(crate) fn accepts_rest(&self, digits: usize) -> bool {
        let bit = 1 << digits;
        let is_longer = bit > self.possible;
        self.local_only & bit == 0 && (is_longer || self.possible & bit != 0)
    }
}

/// The state before the first digit.
pub(crate) fn start(dfa: &dense::DFA<Vec<u32>>) -> StateID {
    dfa.start_state(&Config::new().anchored(Anchored::Yes))
        .unwrap()
}

/// Matches no digits.
const NO_NUMBER: &str = "[^0-9]";

fn descriptions(metadata: &PhoneMetadata) -> [Option<&PhoneNumberDesc>; 10] {
    [
        &metadata.premium_rate,
        &metadata.toll_free,
        &metadata.shared_cost,
        &metadata.voip,
        &metadata.personal_number,
        &metadata.pager,
        &metadata.uan,
        &metadata.voicemail,
        &metadata.fixed_line,
        &metadata.mobile,
    ]
    .map(Option::as_ref)
}

fn pattern(description: Option<&PhoneNumberDesc>) -> String {
    description
        .and_then(|description| description.national_number_pattern.as_deref())
        .filter(|pattern| !pattern.is_empty())
        .map_or_else(|| NO_NUMBER.to_owned(), |pattern| format!("(?:{pattern})"))
}

fn mask(description: Option<&PhoneNumberDesc>) -> u16 {
    // E.164 has at most 15 digits. Longer ones are dialled at home only.
    let lengths = description.map_or(&[][..], |description| &description.possible_length);
    lengths
        .iter()
        .filter(|length| (1..=15).contains(*length))
        .fold(0, |mask, length| mask | 1 << length)
}

/// An automaton over ASCII digits that follows all patterns at once.
fn automaton(patterns: &[String]) -> dense::DFA<Vec<u32>> {
    dense_automaton(patterns, MatchKind::All)
}

fn dense_automaton(patterns: &[String], matches: MatchKind) -> dense::DFA<Vec<u32>> {
    dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Anchored)
                .match_kind(matches)
                .accelerate(false)
                .minimize(false),
        )
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .thompson(thompson::Config::new().utf8(false))
        .build_many(patterns)
        .unwrap()
}

/// The plans of all calling codes, in order.
pub(crate) fn plans() -> Vec<Plan> {
    let mut codes: BTreeMap<u16, Vec<PhoneMetadata>> = BTreeMap::new();
    for region in metadata().metadata {
        let members = codes
            .entry(u16::try_from(region.country_code()).unwrap())
            .or_default();
        if region.main_country_for_code() {
            members.insert(0, region);
        } else {
            members.push(region);
        }
    }
    codes
        .iter()
        .map(|(code, members)| Plan::of(*code, members))
        .collect()
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
