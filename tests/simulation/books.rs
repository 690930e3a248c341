//! Keeps books of everything that happens, from outside the ledger, and checks the invariants.

use fastrand::Rng;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use otp_lambda::error::Error;
use otp_lambda::ledger::{
    Hasher, ItemName, KEY_KEPT, LOCKED, Ledger, Opening, REDEEMABLE, SUCCESS_REPLAY, SessionDigest,
    State, Verification, Window,
};
use otp_lambda::otp::Otp;
use otp_lambda::phone::{Country, PhoneNumber};
use otp_lambda::policy::{Budget, Period, Unit};
use otp_lambda::provider::Channel;
use otp_lambda::provider::{Message, Verdict};
use otp_lambda::reference::ReferenceId;
use otp_lambda::time::Millis;
use simulator::MemoryLedger;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::actors::{BRAND, Intent, SOURCE, What, Who};
use crate::naive::Naive;
use crate::sim::Setup;

/// Lambda's time limit for an invocation.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The operator's switches take effect within this time.
const SWITCHES_SEEN: Duration = Duration::from_secs(10);

/// The most codes that may be sent for one verification.
const MOST_SENDS: u32 = 3;

/// A verification ends this long after its first code.
const LONGEST: Duration = Duration::from_hours(1);

/// A fault that the simulation injects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Refused,
    AnswerLost,
    Late,
    CrashBefore,
    CrashAfter,
    CrashAskingBefore,
    CrashAskingAfter,
    SendRefused,
    SendUnclearSent,
    SendUnclearUnsent,
    VerifyUncounted,
    VerifyCounted,
    Burst,
    Switches,
    TimeLimit,
}

impl Fault {
    pub(crate) const ALL: [(Self, &'static str); 15] = [
        (Self::Refused, "step refused, not done"),
        (Self::AnswerLost, "step done, response lost"),
        (Self::Late, "step reported as failed, done later"),
        (Self::CrashBefore, "crash before a step"),
        (Self::CrashAfter, "crash after a step"),
        (
            Self::CrashAskingBefore,
            "crash during a call to the provider, before it acts",
        ),
        (
            Self::CrashAskingAfter,
            "crash during a call to the provider, after it acted",
        ),
        (Self::SendRefused, "provider refuses a send"),
        (Self::SendUnclearSent, "provider unclear, text sent"),
        (Self::SendUnclearUnsent, "provider unclear, no text sent"),
        (Self::VerifyUncounted, "provider fails a guess, not counted"),
        (Self::VerifyCounted, "provider fails a guess, counted"),
        (Self::Burst, "store down for several steps"),
        (Self::Switches, "switches unreadable"),
        (Self::TimeLimit, "killed at the time limit"),
    ];
}

/// The number of faults of each kind.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts([u64; Fault::ALL.len()]);

impl Counts {
    fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    pub(crate) fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0
            .iter_mut()
            .zip(other.0)
            .for_each(|(mine, more)| *mine += more);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fault::ALL
            .iter()
            .try_for_each(|(fault, name)| writeln!(f, "  {:>9}  {name}", self.of(*fault)))
    }
}

/// When faults happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    Never,
    OnlyTheProvider,
    ByChance,
    /// At one step of one operation.
    At {
        operation: usize,
        step: u32,
        fault: Fault,
    },
}

/// A property that must always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// The provider is asked about a verification at most as often as it allows attempts.
    I1,
    /// The provider is asked about a number at most a hundred times since its last success.
    I2,
    /// A generation has one success, and a success has one claim.
    I3,
    /// An idempotency key sends one text.
    I4,
    /// A text has its record before it is sent.
    I5,
    /// A success has the right number, reference and code. The code is unexpired and unused.
    I6,
    /// Sends to a number stay within every window.
    I7,
    /// Budgets and prefixes are never overspent, and they count exactly the texts that were sent.
    I8,
    /// Responses are true. Above all, they say so if a text may have been sent.
    Truth,
    /// A code that arrived can be verified.
    Liveness,
    /// The operator's pause and blocks hold.
    Switches,
    /// Only authenticated callers get foreign codes checked, and only if the ledger does not know the verification.
    Rights,
    /// No other session uses the last attempt at a sign-in's code.
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
    /// The items that the request can be about: the one of our codes, and the one of foreign codes.
    verifications: Vec<ItemName>,
    /// How many codes there were when it began.
    codes_before: usize,
    /// The references under which it asked the provider.
    asked: BTreeSet<String>,
    /// The record it wrote ahead of its text.
    opened: Option<(ItemName, u64)>,
    /// The verification and generation whose attempt it paid, and the index of its chain.
    paid: Option<(ItemName, u64, usize)>,
    /// The number of its charge, in the order of all charges.
    charged: Option<u64>,
    pub(crate) fate: Fate,
    /// The code that the provider called right.
    right: Option<usize>,
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
    /// Its text was refused, so there is no code.
    failed: bool,
    codes: u32,
    /// The sign-in session that it was begun in.
    owner: Option<SessionDigest>,
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
    /// Whether an operation has won with it.
    pub(crate) won: bool,
}

/// A success that the ledger recorded.
#[derive(Debug)]
struct Win {
    key: ItemName,
    /// The index in the key's chains. It is needed because generations begin anew after an item has expired.
    chain: usize,
    generation: u64,
    winner: String,
    code: Option<usize>,
    at: Millis,
    redeemer: Option<String>,
    /// Whether a caller may have been told of it. A foreign success is told only if no code of ours was sent meanwhile.
    told: bool,
}

#[derive(Debug, Default)]
struct NumberBook {
    /// The charges of all guesses that reached the provider.
    asked: Vec<u64>,
    /// The charges of all guesses.
    charges: Vec<u64>,
    /// A success or an operator has cleared the charges up to this one.
    cleared: u64,
    /// An operator has cleared the charges up to this one. A success may die before it clears any.
    unlocked: u64,
    /// The times of all places that were taken in the windows.
    sends: Vec<Millis>,
    /// When places were taken in the windows of foreign codes.
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
    /// When the operator paused all sends.
    pub(crate) paused: Option<Millis>,
    /// When the operator blocked each number.
    pub(crate) blocked: Vec<Option<Millis>>,
    /// How often operations ended in each way.
    pub(crate) answers: BTreeMap<String, u64>,
    trace: Option<Vec<String>>,
    /// References in the order of their appearance. Traces use their indices, because some references are random and
    /// would make two traces of the same run differ.
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

    // ---- operations

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
            charged: None,
            fate: Fate::NotAsked,
            right: None,
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

    // ---- faults

    /// Counts a step of the current operation and returns its fault, if it has one.
    pub(crate) fn step(&mut self, name: &'static str, writes: bool) -> Option<Fault> {
        self.steps += 1;
        let current = self.current;
        let step = self.operations[current].steps;
        self.operations[current].steps += 1;
        let fault = match self.plan {
            Plan::Never | Plan::OnlyTheProvider => None,
            Plan::At {
                operation,
                step: at,
                fault,
            } => (operation == current && step == at).then_some(fault),
            Plan::ByChance => self.chance(name, writes),
        };
        // A step that only reads has no effect without its response, so losing or delaying it means refusing it.
        let fault = match fault {
            Some(Fault::AnswerLost | Fault::Late) if !writes => Some(Fault::Refused),
            fault => fault,
        };
        if let Some(fault) = fault {
            self.counts.add(fault);
            self.operations[current].went_wrong = Some(name);
        }
        self.trace(|_| {
            format!(
                "#{current} {step}: {name}{}",
                fault.map(|it| format!(" ** {it:?}")).unwrap_or_default()
            )
        });
        fault
    }

    fn chance(&mut self, name: &'static str, writes: bool) -> Option<Fault> {
        if self.down_for > 0 {
            self.down_for -= 1;
            return Some(Fault::Refused);
        }
        let roll = self.rng.u32(0..1000);
        if name == "switches" && roll < 40 {
            return Some(Fault::Switches);
        }
        // Writes after the provider's response are late more often, so that other operations get in between.
        if matches!(name, "settle" | "note_answer") && roll >= 920 {
            return Some(Fault::Late);
        }
        match roll {
            0..9 => Some(Fault::Refused),
            9..24 if writes => Some(Fault::AnswerLost),
            24..39 if writes => Some(Fault::Late),
            39..48 => Some(Fault::CrashBefore),
            48..58 => Some(Fault::CrashAfter),
            58..60 => {
                self.down_for = self.rng.u32(2..9);
                Some(Fault::Burst)
            }
            _ => None,
        }
    }

    /// As [`Self::step`], for a call to the provider.
    pub(crate) fn provider_step(&mut self, sends: bool) -> Option<Fault> {
        self.steps += 1;
        let current = self.current;
        let step = self.operations[current].steps;
        self.operations[current].steps += 1;
        let fault = match self.plan {
            Plan::Never => None,
            Plan::At {
                operation,
                step: at,
                fault,
            } => (operation == current && step == at).then_some(match fault {
                Fault::CrashBefore => Fault::CrashAskingBefore,
                Fault::CrashAfter => Fault::CrashAskingAfter,
                Fault::AnswerLost if sends => Fault::SendUnclearSent,
                Fault::AnswerLost => Fault::VerifyCounted,
                Fault::Late if sends => Fault::SendUnclearUnsent,
                _ if sends => Fault::SendRefused,
                _ => Fault::VerifyUncounted,
            }),
            Plan::OnlyTheProvider | Plan::ByChance => match (self.rng.u32(0..100), sends) {
                (0..7, true) => Some(Fault::SendRefused),
                (7..14, true) => Some(Fault::SendUnclearSent),
                (14..19, true) => Some(Fault::SendUnclearUnsent),
                (0..6, false) => Some(Fault::VerifyUncounted),
                (6..12, false) => Some(Fault::VerifyCounted),
                (19..23, _) if self.plan == Plan::ByChance => Some(Fault::CrashAskingBefore),
                (23..28, _) if self.plan == Plan::ByChance => Some(Fault::CrashAskingAfter),
                _ => None,
            },
        };
        if let Some(fault) = fault {
            self.counts.add(fault);
        }
        let name = if sends {
            "provider.send"
        } else {
            "provider.verify"
        };
        self.trace(|_| {
            format!(
                "#{current} {step}: {name}{}",
                fault.map(|it| format!(" ** {it:?}")).unwrap_or_default()
            )
        });
        fault
    }

    // ---- the steps of the ledger

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
        if let Some(chain) = self
            .chains
            .get_mut(key)
            .and_then(|chains| chains.last_mut())
        {
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

    pub(crate) fn saw_cancel(&mut self, key: &ItemName) {
        self.end_chain(key);
        if let Some(chain) = self
            .chains
            .get_mut(key)
            .and_then(|chains| chains.last_mut())
        {
            chain.canceled = true;
        }
    }

    /// If the ledger says that no text was sent, that must be true.
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

    fn chain_of(&self, key: &ItemName, generation: u64) -> Option<usize> {
        self.chains
            .get(key)?
            .iter()
            .rposition(|chain| chain.first_generation <= generation)
    }

    fn end_chain(&mut self, key: &ItemName) {
        if let Some(chain) = self
            .chains
            .get_mut(key)
            .and_then(|chains| chains.last_mut())
        {
            chain.ended = true;
        }
    }

    // ---- the calls to the provider

    pub(crate) fn number_index(&self, number: &PhoneNumber) -> usize {
        self.numbers
            .iter()
            .position(|known| known == number)
            .unwrap()
    }

    /// Records that the provider is asked to send, whatever its response.
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

    /// The reference that callers know, of a send that gave the provider `reference`.
    fn plain_reference(&self, operation: usize, reference: &ReferenceId) -> ReferenceId {
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

    fn took_a_place(&mut self, number: usize, at: Millis, is_foreign: bool) {
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

    /// Records that the provider sends the text.
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

    fn told_end(&self, operation: usize) -> Millis {
        let at = self.operations[operation].now.plus(self.setup.validity());
        let of = self.operations[operation].opened.as_ref();
        let chain = of
            .and_then(|(key, _)| self.chains.get(key))
            .and_then(|chains| chains.last());
        chain.map_or(at, |chain| at.min(chain.first.plus(LONGEST)))
    }

    fn spend(&mut self, current: usize, number: usize, at: Millis) {
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

    fn make_code(
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

    /// Other software sends a code under the reference that AWS's example derives.
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

    /// A guess is asked, whatever is answered. It may be asked under several references, for one attempt: after an unclear
    /// send, it can be at the new code or at the one before.
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

    /// The code of this number and reference that the provider takes for right.
    fn look_up(
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

    // ---- the responses to callers

    pub(crate) fn sent(&mut self, operation: usize, answer: &Result<(ReferenceId, Millis), Error>) {
        let fate = self.operations[operation].fate;
        let number = self.operations[operation].intent.number;
        match answer {
            Ok((reference, _)) => {
                let own = |code: &ProviderCode| code.operation == Some(operation);
                let key = self.operations[operation].intent.owned_key(&self.setup);
                let same_key = |code: &ProviderCode| {
                    let of = code.operation.map(|of| &self.operations[of].intent);
                    key.is_some() && of.is_some_and(|intent| intent.owned_key(&self.setup) == key)
                };
                let text = self
                    .codes
                    .iter()
                    .rev()
                    .find(|code| own(code) || fate == Fate::NotAsked && same_key(code));
                let told_rightly = text.is_some_and(|code| code.reference == reference.expose());
                if !told_rightly {
                    self.violated(
                        Invariant::Truth,
                        format!("#{operation} reports a text that was never sent"),
                    );
                }
                self.told.push((number, reference.expose().to_owned()));
            }
            Err(error)
                if matches!(fate, Fate::Sent | Fate::Unclear) && !error.is_delivery_unknown() =>
            {
                let what = format!(
                    "#{operation} ends with {:?} although its text may have been sent",
                    error.code()
                );
                self.violated(Invariant::Truth, what);
            }
            Err(_) => {}
        }
        let said = answer.as_ref().map(|_| "sent").map_err(Error::code);
        self.finish(operation, &format!("{said:?}"));
    }

    pub(crate) fn verified(&mut self, operation: usize, answer: &Result<ReferenceId, Error>) {
        if answer.is_ok() {
            self.succeeded(operation);
        }
        let said = answer.as_ref().map(|_| "valid").map_err(Error::code);
        self.finish(operation, &format!("{said:?}"));
    }

    fn succeeded(&mut self, operation: usize) {
        let seen = &self.operations[operation];
        let (now, winner) = (seen.now, seen.intent.winner(operation));
        let (keys, number) = (seen.verifications.clone(), seen.intent.number);
        if keys.is_empty() {
            return;
        }
        let otp = seen.intent.otp.clone();
        // A request may have been made twice with another code in between. Then the other one won, and both report it.
        let own =
            seen.right
                .zip(seen.paid.clone())
                .filter(|(_, (_, generation, place))| {
                    let same = |win: &Win| {
                        keys.contains(&win.key)
                            && win.winner == winner
                            && now.since(win.at) < SUCCESS_REPLAY
                    };
                    !self.wins.iter().any(|win| {
                        same(win) && (win.chain, win.generation) != (*place, *generation)
                    })
                });
        let (key, place, generation) = if let Some((right, (of, generation, place))) = own {
            let code = &self.codes[right];
            let chain = &self.chains[&of][place];
            let right_code =
                // A provider cannot tell a foreign code from ours under the plain reference.
                keys.contains(&of)
                    && (of == code.key || code.operation.is_none() && keys.contains(&code.key))
                    && code.number == number
                    && code.code == otp;
            // A success belongs to the message that the code was in.
            let of_chain = code.operation.is_none_or(|sender| {
                let opened = self.operations[sender].opened.as_ref();
                opened.is_some_and(|(_, sent)| *sent >= chain.first_generation)
            });
            let in_time = now < chain.expires && !chain.canceled;
            let earlier = |win: &Win| (win.chain, win.generation) != (place, generation);
            let used = self
                .wins
                .iter()
                .any(|win| win.code == Some(right) && win.told && earlier(win));
            if !right_code {
                self.violated(
                    Invariant::I6,
                    format!("#{operation} succeeds with a code of another verification"),
                );
            }
            if !of_chain {
                self.violated(
                    Invariant::I6,
                    format!("#{operation} succeeds with a code of a verification that has ended"),
                );
            }
            if !in_time {
                self.violated(
                    Invariant::I6,
                    format!("#{operation} succeeds after the end of its verification"),
                );
            }
            if used {
                self.violated(
                    Invariant::I6,
                    format!("#{operation} succeeds with a code that was used before"),
                );
            }
            self.codes[right].won = true;
            let same = |win: &&mut Win| {
                win.key == of && (win.chain, win.generation) == (place, generation)
            };
            if let Some(win) = self.wins.iter_mut().find(same) {
                win.told = true;
            }
            (of, place, generation)
        } else {
            // The response repeats an earlier success.
            let before = self.wins.iter().rev().find(|win| {
                let same_code = win.code.is_some_and(|code| self.codes[code].code == otp);
                keys.contains(&win.key)
                    && win.winner == winner
                    && same_code
                    && now.since(win.at) < SUCCESS_REPLAY
            });
            match before {
                Some(win) => (win.key.clone(), win.chain, win.generation),
                None => {
                    return self.violated(
                        Invariant::I6,
                        format!("#{operation} succeeds without asking the provider"),
                    );
                }
            }
        };
        match self.answered.get(&(key.clone(), place, generation)) {
            Some(other) if *other != winner => {
                self.violated(
                    Invariant::I3,
                    format!("#{operation} is the second success of generation {generation}"),
                );
            }
            _ => {
                self.answered.insert((key, place, generation), winner);
            }
        }
    }

    pub(crate) fn claimed(&mut self, operation: usize, answer: &Result<ReferenceId, Error>) {
        if answer.is_ok() {
            let seen = &self.operations[operation];
            let redeemer = Some(seen.intent.winner(operation));
            let keys = &seen.verifications;
            let now = seen.now;
            let in_time = |at: Millis| now.since(at) < REDEEMABLE;
            if !self
                .wins
                .iter()
                .any(|win| keys.contains(&win.key) && win.redeemer == redeemer && in_time(win.at))
            {
                self.violated(
                    Invariant::I3,
                    format!("#{operation} reports a claim that it does not have, or too late"),
                );
            }
        }
        let said = answer.as_ref().map(|_| "claimed").map_err(Error::code);
        self.finish(operation, &format!("{said:?}"));
    }

    pub(crate) fn finish(&mut self, operation: usize, said: &str) {
        let what = self.operations[operation].intent.what;
        *self.answers.entry(format!("{what:?} {said}")).or_default() += 1;
        self.trace(|_| format!("#{operation} ends: {said}"));
    }

    // ---- the knowledge of actors

    /// Whether the newest code has an attempt left.
    pub(crate) fn can_guess(&self) -> bool {
        let Some(code) = self.codes.last() else {
            return false;
        };
        let opened = code
            .operation
            .and_then(|operation| self.operations[operation].opened.as_ref());
        let chain = opened
            .and_then(|(key, _)| self.chains.get(key))
            .and_then(|chains| chains.last());
        chain.is_some_and(|chain| !chain.ended && chain.paid < chain.allowed)
    }

    pub(crate) fn is_locked(&self, number: usize) -> bool {
        let book = &self.by_number[number];
        book.charges
            .iter()
            .filter(|charge| **charge > book.cleared)
            .count()
            >= LOCKED as usize
    }

    // ---- at the end of a run

    /// The codes that their owners must be able to verify now. They have arrived, the provider accepts them, they are
    /// unexpired, and their verification is open.
    pub(crate) fn verifiable(&self) -> Vec<usize> {
        let is = |&(index, code): &(usize, &ProviderCode)| {
            let chain = self.chains.get(&code.key).and_then(|chains| chains.last());
            let of_chain = |chain: &Chain| {
                let opened = code
                    .operation
                    .and_then(|of| self.operations[of].opened.as_ref());
                opened.is_some_and(|(_, generation)| *generation >= chain.first_generation)
            };
            let open = chain.is_some_and(|chain| {
                code.operation.is_some()
                    && !chain.ended
                    && chain.paid < chain.allowed
                    && of_chain(chain)
            });
            let book = &self.by_number[code.number];
            let failures = book
                .charges
                .iter()
                .filter(|charge| **charge > book.unlocked)
                .count();
            // A newer message ends the code, at the latest when its send is settled.
            let is_newest = !self.codes[index + 1..]
                .iter()
                .any(|later| later.key == code.key);
            open && is_newest
                && code.told > self.now
                && !code.won
                && failures < LOCKED as usize
                && self.look_up(code.number, &code.known_as, Some(&code.key), &code.code)
                    == Some(index)
        };
        self.codes
            .iter()
            .enumerate()
            .filter(is)
            .map(|(index, _)| index)
            .collect()
    }

    pub(crate) fn not_verifiable(&mut self, code: usize, said: &str) {
        self.violated(
            Invariant::Liveness,
            format!("code {code} arrived but is refused: {said}"),
        );
    }

    /// If the ledger never failed in a run, its counters must equal the texts that were sent or may have been sent.
    pub(crate) fn compare_counters(&mut self) {
        let mut budgets: BTreeMap<(ItemName, String), u64> = BTreeMap::new();
        let mut prefixes: BTreeMap<ItemName, u64> = BTreeMap::new();
        let unclear = self.operations.iter().filter(|it| it.fate == Fate::Unclear);
        let unclear: Vec<_> = unclear.map(|it| (it.intent.number, it.now)).collect();
        let left: Vec<_> = self.texts.iter().copied().chain(unclear).collect();
        for (number, at) in left {
            let spending = self.setup.budgets.spending(
                self.numbers[number].country().unwrap(),
                Channel::Sms,
                1,
                at,
            );
            for line in spending.lines {
                *budgets
                    .entry((spending.item.clone(), line.counter))
                    .or_default() += line.amount;
            }
            for rate in &self.setup.prefix_limits {
                *prefixes
                    .entry(
                        self.keys
                            .prefix(&self.numbers[number], Window::around(at, rate.window)),
                    )
                    .or_default() += 1;
            }
        }
        for (key, counters) in self.memory.budgets() {
            for (counter, count) in counters {
                let expected = budgets
                    .get(&(key.clone(), counter.clone()))
                    .copied()
                    .unwrap_or_default();
                if count != expected {
                    self.violated(
                        Invariant::I8,
                        format!("{counter} is {count}, but {expected} were sent"),
                    );
                }
            }
        }
        for (key, count) in self
            .memory
            .counters()
            .into_iter()
            .filter(|(key, _)| key.as_str().starts_with("R#"))
        {
            let expected = prefixes.get(&key).copied().unwrap_or_default();
            if count != expected {
                self.violated(
                    Invariant::I8,
                    format!("a prefix counts {count}, but {expected} were sent"),
                );
            }
        }
    }
}

fn country_index(country: Country) -> usize {
    country
        .as_str()
        .bytes()
        .fold(0, |index, byte| index * 256 + usize::from(byte))
}
