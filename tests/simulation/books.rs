//! Keeps books of every event, from outside the ledger, and checks the invariants.

mod callers;
mod faults;
mod ledger;
mod outcome;
mod provider;

pub(crate) use faults::{Counts, Fault, Plan};

use crate::actors::{BRAND, Intent, SOURCE, What, Who};
use crate::sim::Setup;
use fastrand::Rng;
use futures_util::future::BoxFuture;
use otp_lambda::ledger::{Hasher, ItemName, SessionDigest};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::reference::ReferenceId;
use otp_lambda::time::Millis;
use simulator::MemoryLedger;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Lambda's time limit for an invocation.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(10);

/// A verification ends this long after its first code.
const LONGEST: Duration = Duration::from_hours(1);

/// A property that must always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// The provider is asked about a verification at most as often as there are attempts.
    I1,
    /// The provider is asked about a number at most a hundred times since its last success.
    I2,
    /// A generation has one success, and a success is redeemed once.
    I3,
    /// An idempotency key sends one message.
    I4,
    /// A message has its record before it is sent.
    I5,
    /// A success has the right number, reference and code. The code has not expired, and has not been used.
    I6,
    /// Sends to a number stay within every window.
    I7,
    /// Budgets and prefixes are never overspent, and they count exactly the messages that were sent.
    I8,
    /// Responses are true. Above all, an error says whether a message may have been sent.
    Truth,
    /// A code that arrived can be verified.
    Liveness,
    /// The operator's pause and blocks hold.
    Switches,
    /// Only authenticated callers get foreign codes checked, and only if the ledger does not know the verification.
    Rights,
    /// Only the owner of a sign-in's code uses the last attempt.
    Owner,
}

#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) what: String,
}

/// The record of an operation.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) intent: Intent,
    pub(crate) now: Millis,
    pub(crate) steps: u32,
    pub(crate) crashed: bool,
    /// The last step that went wrong.
    pub(crate) went_wrong: Option<&'static str>,
    /// The items that the request can be about: that of this program's codes, and that of foreign codes.
    verifications: Vec<ItemName>,
    /// How many codes there were when the operation began.
    codes_before: usize,
    /// The references under which the operation asked the provider.
    asked: BTreeSet<String>,
    /// The record that the operation wrote before its message was sent.
    opened: Option<(ItemName, u64)>,
    /// The verification and generation whose attempt the operation paid for, and the index of its chain.
    paid: Option<(ItemName, u64, usize)>,
    /// The verification and the generation in which the operation succeeded, and the index of the verification's chain.
    /// `paid` has the generation whose attempt paid for the guess. If there was a resend meanwhile, the generation here
    /// may be newer.
    won: Option<(ItemName, u64, usize)>,
    /// The number of the operation's charge, in the order of all charges.
    charged: Option<u64>,
    pub(crate) fate: Fate,
    /// The code that the provider has accepted.
    right: Option<usize>,
    /// How many codes and successes there were when the operation ended.
    ended_after: Option<u64>,
}

/// The outcome of a send at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    NotAsked,
    Refused,
    Sent,
    Unclear,
}

/// One verification from its first code to its end.
#[derive(Debug)]
struct Chain {
    first_generation: u64,
    allowed: u32,
    paid: u32,
    asked: u32,
    /// The latest expiry that a response may have named.
    expires: Millis,
    /// The earliest expiry. A resend that was refused restores the old one.
    open_until: Millis,
    first: Millis,
    ended: bool,
    canceled: bool,
    /// Whether the provider refused the message. If so, there is no code.
    failed: bool,
    codes: u32,
    /// The sign-in session that the verification was begun in.
    owner: Option<SessionDigest>,
    /// The place of its last code in the order of all codes and successes.
    place: u64,
}

/// A code at the provider.
#[derive(Debug)]
pub(crate) struct ProviderCode {
    pub(crate) number: usize,
    /// The plain reference, which callers know.
    pub(crate) reference: String,
    /// The reference under which the provider knows the code.
    known_as: String,
    /// The verification in the ledger.
    key: ItemName,
    pub(crate) code: String,
    /// The operation that sent it. `None` if other software did.
    operation: Option<usize>,
    expires: Millis,
    told: Millis,
    dead: bool,
    pub(crate) uses: u32,
    wrong: u32,
    allowed: u32,
    /// Whether an operation has succeeded with it.
    pub(crate) won: bool,
}

/// A success that the ledger recorded.
#[derive(Debug)]
struct Win {
    key: ItemName,
    /// The index among the chains of `key`. A chain is one verification from its first code to its end. A generation
    /// does not identify a chain: after an item has expired, the generations under its key begin at 1 again.
    chain: usize,
    generation: u64,
    winner: String,
    code: Option<usize>,
    at: Millis,
    redeemer: Option<String>,
    /// Whether a caller may have been told of the success. If the code was of other software (a foreign code), a caller
    /// is told only if this program has sent no code meanwhile.
    told: bool,
    /// The place of the success in the order of all codes and successes.
    place: u64,
}

#[derive(Debug, Default)]
struct NumberBook {
    /// The charges of all guesses that reached the provider.
    asked: Vec<u64>,
    /// The charges of all guesses.
    charges: Vec<u64>,
    /// A success or an operator has cleared the charges up to and including this one.
    cleared: u64,
    /// An operator has cleared the charges up to and including this one. A success can crash before it clears any.
    unlocked: u64,
    /// The times of all places that were taken in the windows.
    sends: Vec<Millis>,
    /// The times of the places that were taken in the windows of foreign codes.
    foreign: Vec<Millis>,
}

/// A step that is done after it was reported as failed.
pub(crate) type Late = BoxFuture<'static, ()>;

/// The shared state of a run.
pub(crate) struct Books {
    pub(crate) rng: Rng,
    pub(crate) now: Millis,
    pub(crate) current: usize,
    pub(crate) operations: Vec<Operation>,
    pub(crate) plan: Plan,
    pub(crate) counts: Counts,
    pub(crate) steps: u64,
    pub(crate) violation: Option<Violation>,
    pub(crate) late: Vec<Late>,
    pub(crate) codes: Vec<ProviderCode>,
    pub(crate) numbers: Vec<PhoneNumber>,
    pub(crate) keys: Hasher,
    pub(crate) memory: MemoryLedger,
    pub(crate) setup: Arc<Setup>,
    /// The references in responses, with the index of the number.
    pub(crate) told: Vec<(usize, String)>,
    down_for: u32,
    chains: BTreeMap<ItemName, Vec<Chain>>,
    by_number: Vec<NumberBook>,
    number_of: BTreeMap<ItemName, usize>,
    wins: Vec<Win>,
    answered: BTreeMap<(ItemName, usize, u64), String>,
    texts_by_key: BTreeMap<String, Vec<Millis>>,
    spent: BTreeMap<(usize, u64), u64>,
    texts_by_prefix: BTreeMap<ItemName, u64>,
    texts: Vec<(usize, Millis)>,
    charges: u64,
    /// How many codes were written and successes recorded, together.
    places: u64,
    /// When the operator paused all sends.
    pub(crate) paused: Option<Millis>,
    /// When the operator blocked each number.
    pub(crate) blocked: Vec<Option<Millis>>,
    /// How many operations ended in each way.
    pub(crate) answers: BTreeMap<String, u64>,
    trace: Option<Vec<String>>,
    /// References in the order of their appearance. References are random. If a trace contained references, two traces
    /// of one run would differ. For this reason traces contain the indices in place of the references.
    names: Mutex<Vec<String>>,
}

#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Books>>);

impl Shared {
    pub(crate) fn new(books: Books) -> Self {
        Self(Arc::new(Mutex::new(books)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    pub(crate) fn crash_current(&self) {
        let mut books = self.lock();
        let current = books.current;
        books.crash(current);
    }
}

impl Books {
    pub(crate) fn new(
        rng: Rng,
        setup: Arc<Setup>,
        memory: MemoryLedger,
        secret: &[u8],
        now: Millis,
        trace: bool,
    ) -> Self {
        let keys = Hasher::from_secret(secret);
        let numbers: Vec<_> = setup
            .numbers
            .iter()
            .map(|number| PhoneNumber::parse(number).unwrap())
            .collect();
        let number_of = numbers
            .iter()
            .enumerate()
            .map(|(index, number)| (keys.number(number), index))
            .collect();
        Self {
            rng,
            now,
            current: 0,
            operations: Vec::new(),
            plan: setup.plan,
            counts: Counts::default(),
            steps: 0,
            violation: None,
            late: Vec::new(),
            codes: Vec::new(),
            by_number: numbers.iter().map(|_| NumberBook::default()).collect(),
            blocked: numbers.iter().map(|_| None).collect(),
            numbers,
            keys,
            memory,
            setup,
            told: Vec::new(),
            down_for: 0,
            chains: BTreeMap::new(),
            number_of,
            wins: Vec::new(),
            answered: BTreeMap::new(),
            texts_by_key: BTreeMap::new(),
            spent: BTreeMap::new(),
            texts_by_prefix: BTreeMap::new(),
            texts: Vec::new(),
            charges: 0,
            places: 0,
            paused: None,
            answers: BTreeMap::new(),
            trace: trace.then(Vec::new),
            names: Mutex::default(),
        }
    }

    pub(crate) fn trace(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_none() {
            return;
        }
        let line = format!("{:>12} ms  {}", self.now.0 % 100_000_000_000, line(self));
        self.trace.get_or_insert_default().push(line);
    }

    fn name(&self, reference: &str) -> String {
        let mut names = self.names.lock().unwrap();
        let place = names
            .iter()
            .position(|name| name == reference)
            .unwrap_or_else(|| {
                names.push(reference.to_owned());
                names.len() - 1
            });
        format!("reference {place}")
    }

    pub(crate) fn last_lines(&self, count: usize) -> String {
        let lines = self.trace.as_deref().unwrap_or_default();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    fn violated(&mut self, invariant: Invariant, what: impl Into<String>) {
        let what = what.into();
        self.trace(|_| format!("VIOLATED {invariant:?}: {what}"));
        self.violation.get_or_insert(Violation { invariant, what });
    }

    pub(crate) fn begin(&mut self, intent: &Intent) -> usize {
        let operation = self.operations.len();
        let verification = match (intent.what, &intent.reference) {
            (What::Send | What::Unlock, _) => None,
            (_, Some(reference)) => Some(ReferenceId::parse(reference).unwrap()),
            (_, None) => Some(ReferenceId::derived(
                BRAND,
                SOURCE,
                &self.numbers[intent.number],
            )),
        };
        let number = &self.numbers[intent.number];
        let verifications = verification.map(|it| {
            let own = self.keys.verification(&it, number);
            vec![own, self.keys.foreign_verification(&it, number)]
        });
        self.operations.push(Operation {
            intent: intent.clone(),
            now: self.now,
            steps: 0,
            crashed: false,
            went_wrong: None,
            verifications: verifications.unwrap_or_default(),
            codes_before: self.codes.len(),
            asked: BTreeSet::new(),
            opened: None,
            paid: None,
            won: None,
            charged: None,
            fate: Fate::NotAsked,
            right: None,
            ended_after: None,
        });
        self.trace(|books| {
            let Intent { what, number, otp, who, .. } = intent;
            let reference = intent.reference.as_deref().map_or("derived".to_owned(), |reference| books.name(reference));
            let Who { principal, address, key, session: _ } = who;
            format!(
                "#{operation} begins: {what:?} {otp} number {number}, {reference}, {principal:?} {address:?} {key:?}"
            )
        });
        operation
    }

    pub(crate) fn crash(&mut self, operation: usize) {
        self.operations[operation].crashed = true;
        self.trace(|_| format!("#{operation} DIES"));
    }

    pub(crate) fn kill(&mut self, operation: usize) {
        self.counts.add(Fault::TimeLimit);
        self.crash(operation);
    }
}
