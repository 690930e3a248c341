//! Derives `src/phone/countries.rs` from libphonenumber's patterns (see `oracle.rs`).
//!
//! The automaton of each calling code is walked digit by digit. The walk stops when all numbers with one beginning have
//! one country, and one type for each length. This beginning becomes a leaf of the table. So the table is exact, while
//! samples would miss small blocks of numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::rc::Rc;

use regex_automata::util::primitives::StateID;

use crate::judgements::{Effect, JUDGEMENTS, Judgement};
use crate::oracle::{Label, Plan, SOURCE, plans};
use crate::phone::{Hint, NumberType, plan::FIRST_HINT, plan::UNKNOWN_BEGINNING};

/// The largest number of digits after a calling code.
const MOST_NATIONAL_DIGITS: usize = 14;

/// The types of number that a person's phone has. If a number of one of these types begins with a digit, this digit is
/// not a domestic prefix. Toll-free numbers are not in the list, for two reasons: some of them begin with the domestic
/// prefix, and most of them cannot be called from abroad. If they were in the list, `+91 0 98…` would pass as a number.
const OF_PEOPLE: [NumberType; 8] = [
    NumberType::Fixed,
    NumberType::Mobile,
    NumberType::FixedOrMobile,
    NumberType::Personal,
    NumberType::Voip,
    NumberType::Pager,
    NumberType::Uan,
    NumberType::Voicemail,
];

const OF_MOBILES: [NumberType; 2] = [NumberType::Mobile, NumberType::FixedOrMobile];

/// Types that say nothing about other numbers with the same beginning. `Voicemail`: the number of a mailbox is the
/// number of a mobile phone with extra digits inside. `TollFree`: a toll-free range can be beside a new mobile range.
const FREE: [NumberType; 2] = [NumberType::TollFree, NumberType::Voicemail];

/// The labels of the numbers with one beginning, each with a mask of their lengths.
type Labels = BTreeMap<Label, u16>;

/// Whose numbers begin so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Owner {
    Main,
    Nobody,
    /// An index into the regions of the plan.
    Region(usize),
}

/// The parts of a leaf: the country, and the outcomes with their lengths. The country is two letters, `--` for no
/// country, or `**` for the main country of the calling code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Leaf {
    country: String,
    lengths: Vec<(u8, u16)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Target {
    Leaf(usize),
    Node(usize),
}

/// A target for each digit, and one if a number can end here.
type Node = ([Target; 10], Option<Target>);

/// A judgement whose beginning is not complete, and how many of its digits have been met.
type Pending = Vec<(usize, usize)>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    state: StateID,
    depth: usize,
    /// Whether a number has ended before this digit, so what follows is surplus.
    has_ended: bool,
    owner: Owner,
    /// The type and lengths of the known numbers that begin most like this one, if they agree.
    alike: Vec<(u8, u16)>,
    /// The lengths of the mobile numbers that begin most like this one.
    mobile: u16,
    pending: Pending,
    applying: Vec<usize>,
}

#[derive(Default)]
struct Tables {
    leaves: Vec<Leaf>,
    nodes: Vec<Node>,
    leaf_numbers: HashMap<Leaf, usize>,
    node_numbers: HashMap<Node, usize>,
}

impl Tables {
    fn leaf(&mut self, leaf: Leaf) -> Target {
        let next = self.leaves.len();
        let number = *self.leaf_numbers.entry(leaf.clone()).or_insert(next);
        if number == next {
            self.leaves.push(leaf);
        }
        Target::Leaf(number)
    }

    fn node(&mut self, node: Node) -> Target {
        let next = self.nodes.len();
        let number = *self.node_numbers.entry(node).or_insert(next);
        if number == next {
            self.nodes.push(node);
        }
        Target::Node(number)
    }
}

struct Walk<'a> {
    plan: &'a Plan,
    tables: &'a mut Tables,
    labels: HashMap<(StateID, usize), Rc<Labels>>,
    uniform: HashMap<(StateID, usize), bool>,
    built: HashMap<Place, Target>,
}

/// The lengths of at least `depth` digits.
fn from(depth: usize) -> u16 {
    u16::MAX << depth
}

impl Walk<'_> {
    fn is_north_america(&self) -> bool {
        self.plan.code == 1
    }

    /// The labels of all numbers that go on from here.
    fn labels(&mut self, state: StateID, depth: usize) -> Rc<Labels> {
        if depth > MOST_NATIONAL_DIGITS || self.plan.is_dead(state) {
            return Rc::default();
        }
        if let Some(labels) = self.labels.get(&(state, depth)) {
            return Rc::clone(labels);
        }
        let mut labels = Labels::new();
        if let Some(label) = self.label(state, depth) {
            labels.insert(label, 1 << depth);
        }
        for digit in 0..10 {
            let next = self.plan.next(state, digit);
            for (label, lengths) in self.labels(next, depth + 1).iter() {
                *labels.entry(*label).or_default() |= lengths;
            }
        }
        let labels = Rc::new(labels);
        self.labels.insert((state, depth), Rc::clone(&labels));
        labels
    }

    fn label(&self, state: StateID, depth: usize) -> Option<Label> {
        // A number of +1 has ten digits; 310 xxxx reaches a Canadian service only from inside Canada.
        let is_whole = !self.is_north_america() || depth == 10;
        is_whole.then(|| self.plan.label(state, depth)).flatten()
    }

    /// Whether all numbers that go on from here have one region, and one type for each length.
    fn is_uniform(&mut self, state: StateID, depth: usize) -> bool {
        if let Some(known) = self.uniform.get(&(state, depth)) {
            return *known;
        }
        let labels = self.labels(state, depth);
        let is_uniform = is_single(&labels)
            && (0..10).all(|digit| {
                let next = self.plan.next(state, digit);
                let below = self.labels(next, depth + 1);
                let expected: Labels = labels
                    .iter()
                    .map(|(label, lengths)| (*label, lengths & from(depth + 1)))
                    .filter(|(_, lengths)| *lengths != 0)
                    .collect();
                below.is_empty() || *below == expected && self.is_uniform(next, depth + 1)
            });
        self.uniform.insert((state, depth), is_uniform);
        is_uniform
    }

    fn build(&mut self, place: &Place) -> Target {
        if let Some(target) = self.built.get(place) {
            return *target;
        }
        let labels = self.labels(place.state, place.depth);
        let mut place_now = place.clone();
        place_now.owner = self.owner(place, &labels);
        // An area code of +1 is assigned as a whole, or not at all.
        let is_area_code = self.is_north_america() && place.depth < 3 && !labels.is_empty();
        let target = if is_area_code || !place.pending.is_empty() {
            self.branch(&place_now)
        } else if labels.is_empty() {
            let lengths = self.unassigned(place);
            self.leaf(&place_now, lengths)
        } else if self.is_uniform(place.state, place.depth) {
            let lengths = labels
                .iter()
                .map(|(label, lengths)| (label.number_type.number(), *lengths))
                .collect();
            let lengths = if place.has_ended {
                lengths
            } else {
                with_mobiles(place, lengths)
            };
            self.leaf(&place_now, lengths)
        } else {
            self.branch(&place_now)
        };
        self.built.insert(place.clone(), target);
        target
    }

    /// A beginning belongs to the region that has all its numbers. In +1 an area code is either assigned or not.
    fn owner(&self, place: &Place, labels: &Labels) -> Owner {
        let regions: BTreeSet<usize> = labels.keys().map(|label| label.region).collect();
        match regions.first() {
            Some(_) if self.is_north_america() && place.depth < 3 => Owner::Nobody,
            Some(0) if regions.len() == 1 && !self.is_north_america() => Owner::Main,
            // Toll-free area codes are shared. They count as those of the first region.
            Some(region) if regions.len() == 1 || self.is_north_america() && place.depth == 3 => {
                Owner::Region(*region)
            }
            _ => place.owner,
        }
    }

    fn branch(&mut self, place: &Place) -> Target {
        let label = self.label(place.state, place.depth);
        let mut digits = [Target::Leaf(0); 10];
        for (digit, target) in (0..).zip(&mut digits) {
            let next = self.after(place, digit, label.is_some());
            let unknown = self.unknown_first_digit(place, &next, digit);
            *target = if let Some(outcome) = unknown {
                self.leaf(&next, vec![(outcome, from(1))])
            } else {
                self.build(&next)
            };
        }
        let ending = label.map(|label| {
            let lengths = vec![(label.number_type.number(), 1 << place.depth)];
            let mut place = place.clone();
            if let Owner::Main | Owner::Region(_) = place.owner {
                place.owner = if label.region == 0 && !self.is_north_america() {
                    Owner::Main
                } else {
                    Owner::Region(label.region)
                };
            }
            self.leaf(&place, lengths)
        });
        if ending.is_none()
            && place.depth > 0
            && digits.iter().all(|target| *target == digits[0])
            && matches!(digits[0], Target::Leaf(_))
        {
            return digits[0];
        }
        self.tables.node((digits, ending))
    }

    /// The place after one more digit.
    fn after(&mut self, place: &Place, digit: u8, ends_here: bool) -> Place {
        let mut next = Place {
            state: self.plan.next(place.state, digit),
            depth: place.depth + 1,
            has_ended: place.has_ended || ends_here,
            owner: place.owner,
            alike: place.alike.clone(),
            mobile: place.mobile,
            pending: Vec::new(),
            applying: place.applying.clone(),
        };
        let labels = self.labels(place.state, place.depth);
        let is_area = self.is_north_america() && place.depth < 3;
        if place.depth > 0 && !is_area && !labels.is_empty() {
            next.alike = types(&labels).unwrap_or_default();
            let mobile = lengths(&labels, &OF_MOBILES);
            if mobile != 0 {
                next.mobile = mobile;
            }
        }
        for (index, met) in &place.pending {
            let beginning = JUDGEMENTS[*index].beginning;
            if !beginning[*met].contains(char::from(b'0' + digit)) {
                continue;
            }
            if met + 1 == beginning.len() {
                next.applying.push(*index);
            } else {
                next.pending.push((*index, met + 1));
            }
        }
        next
    }

    /// The types and lengths that an unassigned number may have. If there are known numbers with the same beginning,
    /// the unassigned number may have their types and lengths. If there are none, the unassigned number has no type,
    /// and may have every length that the numbers of its calling code have.
    fn unassigned(&self, place: &Place) -> Vec<(u8, u16)> {
        if place.has_ended {
            // The surplus of a number that has ended.
            return Vec::new();
        }
        if place.alike.is_empty() {
            return vec![(NumberType::Unassigned.number(), range(self.plan))];
        }
        with_mobiles(place, place.alike.clone())
    }

    fn leaf(&mut self, place: &Place, mut lengths: Vec<(u8, u16)>) -> Target {
        let mut owner = place.owner;
        let mut judged = 0;
        let mut hints = Vec::new();
        for index in &place.applying {
            let Judgement {
                lengths: applies,
                effect,
                ..
            } = &JUDGEMENTS[*index];
            match effect {
                Effect::NoCountry => owner = Owner::Nobody,
                Effect::OtherSpelling(other) => {
                    hints.push((hint(*other), applies & from(1) & !judged));
                    judged |= applies;
                }
            }
        }
        for (_, mask) in &mut lengths {
            *mask &= !judged;
        }
        lengths.extend(hints);
        lengths.retain(|(_, mask)| *mask != 0);
        lengths.sort_unstable();
        let country = match owner {
            Owner::Main => "**".to_owned(),
            Owner::Nobody => "--".to_owned(),
            Owner::Region(region) => self.plan.regions[region].id.clone(),
        };
        self.tables.leaf(Leaf { country, lengths })
    }

    /// Whether a first digit is the domestic prefix, and begins no number of people.
    fn is_domestic(&mut self, digit: u8) -> bool {
        let next = self.plan.next(self.plan.start(), digit);
        self.plan.national_prefix.as_deref() == Some(digit.to_string().as_str())
            && !self
                .labels(next, 1)
                .keys()
                .any(|label| OF_PEOPLE.contains(&label.number_type))
    }

    /// The refusal of a first digit that no number of people has, if no judgement begins with it.
    fn unknown_first_digit(&mut self, place: &Place, next: &Place, digit: u8) -> Option<u8> {
        if place.depth > 0 {
            return None;
        }
        if self.is_domestic(digit) {
            return Some(hint(Hint::Domestic));
        }
        let is_unknown = self.labels(next.state, 1).is_empty() && next.pending.is_empty();
        is_unknown.then(|| {
            if self.plan.may_be_domestic(digit) {
                hint(Hint::Domestic)
            } else {
                UNKNOWN_BEGINNING
            }
        })
    }

    fn root(&mut self) -> Place {
        let pending = (0..JUDGEMENTS.len())
            .filter(|index| JUDGEMENTS[*index].code == self.plan.code)
            .map(|index| (index, 0))
            .collect();
        Place {
            state: self.plan.start(),
            depth: 0,
            has_ended: false,
            owner: if self.is_north_america() {
                Owner::Nobody
            } else {
                Owner::Main
            },
            alike: Vec::new(),
            mobile: 0,
            pending,
            applying: Vec::new(),
        }
    }
}

fn is_single(labels: &Labels) -> bool {
    let regions: BTreeSet<usize> = labels.keys().map(|label| label.region).collect();
    regions.len() == 1 && types(labels).is_some()
}

/// The types with their lengths, if each length has one type.
fn types(labels: &Labels) -> Option<Vec<(u8, u16)>> {
    let mut types: BTreeMap<u8, u16> = BTreeMap::new();
    for (label, lengths) in labels {
        *types.entry(label.number_type.number()).or_default() |= lengths;
    }
    let all = types.values().fold(0, |all, lengths| all | lengths);
    let sum: u32 = types.values().map(|lengths| lengths.count_ones()).sum();
    (all.count_ones() == sum).then(|| types.into_iter().collect())
}

/// The lengths of free numbers, and of mobile numbers that begin almost so.
fn with_mobiles(place: &Place, mut alike: Vec<(u8, u16)>) -> Vec<(u8, u16)> {
    let free = FREE.map(NumberType::number);
    if alike.iter().all(|(outcome, _)| free.contains(outcome)) {
        let known = alike.iter().fold(0, |all, (_, lengths)| all | lengths);
        // Longer ones would be free numbers with surplus digits.
        let mobile = place.mobile & (known & known.wrapping_neg()).wrapping_sub(1);
        alike.push((NumberType::Unassigned.number(), mobile));
        alike.retain(|(_, lengths)| *lengths != 0);
    }
    alike
}

/// The lengths of the numbers of these types.
fn lengths(labels: &Labels, types: &[NumberType]) -> u16 {
    let of_types = labels
        .iter()
        .filter(|(label, _)| types.contains(&label.number_type));
    of_types.fold(0, |all, (_, lengths)| all | lengths)
}

/// The lengths from the shortest number of a calling code to the longest.
fn range(plan: &Plan) -> u16 {
    // A number of +1 has ten digits, although some work with seven inside Canada.
    let possible = if plan.code == 1 {
        1 << 10
    } else {
        plan.possible
    };
    let shortest = possible.trailing_zeros() as usize;
    let longest = 15 - possible.leading_zeros() as usize;
    (shortest..=longest).fold(0, |mask, digits| mask | 1 << digits)
}

fn hint(hint: Hint) -> u8 {
    FIRST_HINT + hint.number()
}

/// The nodes as bytes, with the offset of each, and the order of the leaves.
struct Packed {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
    leaves: Vec<usize>,
}

fn pack(tables: &Tables) -> Packed {
    let targets = |(digits, ending): &Node| -> Vec<Target> {
        let mut targets = digits.to_vec();
        targets.dedup();
        targets.extend(ending);
        targets
    };
    let mut uses = vec![0_usize; tables.leaves.len()];
    for target in tables.nodes.iter().flat_map(&targets) {
        if let Target::Leaf(leaf) = target {
            uses[leaf] += 1;
        }
    }
    let mut leaves: Vec<usize> = (0..uses.len()).collect();
    leaves.sort_by_key(|leaf| (usize::MAX - uses[*leaf], *leaf));
    let mut ranks = vec![0; uses.len()];
    for (rank, leaf) in leaves.iter().enumerate() {
        ranks[*leaf] = rank;
    }
    let size = |target: &Target| match target {
        Target::Leaf(leaf) if ranks[*leaf] < 128 => 1,
        _ => 2,
    };
    let mut offsets = Vec::new();
    let mut end = 0;
    for node in &tables.nodes {
        offsets.push(end);
        end += 2 + targets(node).iter().map(size).sum::<usize>();
    }
    let mut bytes = Vec::new();
    for node in &tables.nodes {
        let (digits, ending) = node;
        let mut mask = 1_u16 | u16::from(ending.is_some()) << 10;
        for (digit, pair) in digits.windows(2).enumerate() {
            mask |= u16::from(pair[0] != pair[1]) << (digit + 1);
        }
        bytes.extend(mask.to_le_bytes());
        for target in targets(node) {
            let number = match target {
                Target::Leaf(leaf) => ranks[leaf],
                Target::Node(node) => leaves.len() + offsets[node],
            };
            let number = u16::try_from(number).unwrap();
            assert!(number < 1 << 15, "the table has outgrown its targets");
            if size(&target) == 1 {
                bytes.push(u8::try_from(number).unwrap());
            } else {
                bytes.extend((number | 1 << 15).to_be_bytes());
            }
        }
    }
    Packed {
        bytes,
        offsets,
        leaves,
    }
}

/// The text of `src/phone/countries.rs`.
pub(crate) fn countries_rs() -> String {
    let plans = plans();
    let mut tables = Tables::default();
    let mut roots = Vec::new();
    for plan in &plans {
        let mut walk = Walk {
            plan,
            tables: &mut tables,
            labels: HashMap::new(),
            uniform: HashMap::new(),
            built: HashMap::new(),
        };
        let root = walk.root();
        let Target::Node(root) = walk.branch(&root) else {
            unreachable!("the first node of a calling code is never a leaf")
        };
        roots.push(root);
    }
    let countries: Vec<&str> = plans
        .iter()
        .flat_map(|plan| plan.regions.iter().map(|region| region.id.as_str()))
        .filter(|id| *id != "001")
        .collect::<BTreeSet<&str>>()
        .into_iter()
        .collect();
    let index = |country: &str| match country {
        "**" => "MAIN".to_owned(),
        "--" | "001" => "NOBODY".to_owned(),
        country => countries.binary_search(&country).unwrap().to_string(),
    };

    let packed = pack(&tables);
    let mut codes = String::new();
    for (plan, root) in plans.iter().zip(roots) {
        let main = match plan.regions[0].id.as_str() {
            "US" | "001" => "--",
            main => main,
        };
        writeln!(
            codes,
            "    CallingCode {{ code: {}, country: {}, lengths: {}, node: {} }}, // {main}",
            plan.code,
            index(main),
            range(plan),
            packed.offsets[root]
        )
        .unwrap();
    }
    let mut lengths: Vec<(u8, u16)> = Vec::new();
    let mut leaves = String::new();
    for leaf in &packed.leaves {
        let leaf = &tables.leaves[*leaf];
        let count = leaf.lengths.len();
        let known = lengths
            .windows(count.max(1))
            .position(|window| count > 0 && window == leaf.lengths);
        let first = known.unwrap_or_else(|| {
            lengths.extend(&leaf.lengths);
            lengths.len() - count
        });
        let country = index(&leaf.country);
        writeln!(
            leaves,
            "    Leaf {{ country: {country}, count: {count}, first: {first} }},"
        )
        .unwrap();
    }
    render(&codes, plans.len(), &packed, &leaves, &lengths, &countries)
}

fn render(
    codes: &str,
    count: usize,
    packed: &Packed,
    leaves: &str,
    lengths: &[(u8, u16)],
    countries: &[&str],
) -> String {
    let lines = |entries: Vec<String>, width: usize| -> String {
        entries.chunks(width).fold(String::new(), |mut text, row| {
            writeln!(text, "    {},", row.join(", ")).unwrap();
            text
        })
    };
    let nodes = lines(packed.bytes.iter().map(ToString::to_string).collect(), 32);
    let lengths_text = lines(
        lengths
            .iter()
            .map(|(outcome, mask)| format!("({outcome}, {mask})"))
            .collect(),
        10,
    );
    let countries_text = lines(
        countries.iter().map(|id| format!("*b\"{id}\"")).collect(),
        16,
    );
    let (release, metadata) = SOURCE;
    format!(
        r#"//! Generated, do not edit. Source: libphonenumber {metadata}, from the crate `rlibphonenumber` {release}.
//!
//! `cargo test --workspace --test phone -- --ignored write_the_table` writes this file, and every `cargo test` compares
//! the file with its source. `tests/phone/table.rs` derives the table.

use super::plan::{{CallingCode, Leaf, MAIN, NOBODY, Table}};

/// The release of libphonenumber.
pub const METADATA_VERSION: &str = "{metadata}";

/// The knowledge of that release.
pub static TABLE: Table = Table {{
    codes: &CODES,
    nodes: &NODES,
    leaves: &LEAVES,
    lengths: &LENGTHS,
    countries: &COUNTRIES,
}};

#[rustfmt::skip]
static CODES: [CallingCode; {count}] = [
{codes}];

#[rustfmt::skip]
static NODES: [u8; {bytes}] = [
{nodes}];

#[rustfmt::skip]
static LEAVES: [Leaf; {leaf_count}] = [
{leaves}];

#[rustfmt::skip]
static LENGTHS: [(u8, u16); {length_count}] = [
{lengths_text}];

#[rustfmt::skip]
static COUNTRIES: [[u8; 2]; {country_count}] = [
{countries_text}];
"#,
        bytes = packed.bytes.len(),
        leaf_count = packed.leaves.len(),
        length_count = lengths.len(),
        country_count = countries.len(),
    )
}
