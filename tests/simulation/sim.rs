//! One run of the simulation. Actors begin operations. The seed chooses the operation that continues, and the clock
//! moves between the steps.

use fastrand::Rng;
use futures_util::FutureExt;
use otp_lambda::error::{Error, ErrorCode};
use otp_lambda::ledger::{Hasher, Ledger, SessionDigest};
use otp_lambda::otp::Otp;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::policy::{
    AllowedCountries, AllowedTypes, Brands, Budgets, ExtraPrefixes, GuessChance, Rate, SendLimits,
    SignInShare,
};
use otp_lambda::provider::Channel;
use otp_lambda::reference::ReferenceId;
use otp_lambda::service::{
    Call, Caller, Defaults, LedgerPolicy, Limits, Origination, Providers, Reference, ReferenceIds,
    Rules, SendRequest, Service, VerificationRequest, VerifyRequest,
};
use otp_lambda::telemetry::Record;
use otp_lambda::time::Millis;
use simulator::MemoryLedger;
use simulator::layer::Layered;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::actors::{self, BRAND, Intent, SOURCE, What, Who};
use crate::books::{Books, Counts, Plan, Shared, TIME_LIMIT, Violation};
use crate::emulator::Emulator;
use crate::naive::{Naive, NaiveLedger};
use crate::provider::FakeProvider;
use crate::store::Store;
use crate::twin::Twin;

/// 2027-01-15, 07:59:30 UTC, half a minute before the end of an hour.
const START: Millis = Millis(1_799_999_970_000);

/// A late step happens at most this long after it failed.
const LATEST: Duration = Duration::from_secs(30);

const SECRET: &[u8] = b"the secret of a simulation, of forty-three characters";

/// The settings in which runs differ.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "AWS leaves most of these questions open"
)]
pub(crate) struct Setup {
    pub(crate) numbers: Vec<&'static str>,
    pub(crate) derived: bool,
    /// Whether callers are authenticated; `None` if only some of them are.
    pub(crate) authenticated: Option<bool>,
    pub(crate) send_limits: SendLimits,
    pub(crate) prefix_limits: Vec<Rate>,
    pub(crate) source_limits: Vec<Rate>,
    pub(crate) budgets: Budgets,
    pub(crate) attempts: u8,
    pub(crate) validity_minutes: u8,
    /// Whether a second code ends the first one.
    pub(crate) kills_first: bool,
    /// Whether a right code is accepted again.
    pub(crate) accepts_twice: bool,
    /// Whether the provider also counts wrong guesses.
    pub(crate) provider_counts: bool,
    /// Whether the provider accepts codes for a while after they expired.
    pub(crate) lax_expiry: bool,
    /// The number of execution environments. Each keeps its own copy of the switches.
    pub(crate) instances: usize,
    pub(crate) plan: Plan,
    pub(crate) operations: usize,
    pub(crate) most_at_once: usize,
    /// Whether there is an attacker who guesses as often as possible.
    pub(crate) siege: bool,
    /// Whether people sign in. The last attempt at a code belongs to the session that it was sent for.
    pub(crate) sign_ins: bool,
    pub(crate) naive: Option<Naive>,
    /// Whether DynamoDB also does every step, and must reply the same.
    pub(crate) twin: bool,
}

impl Setup {
    pub(crate) fn validity(&self) -> Duration {
        Duration::from_mins(self.validity_minutes.into())
    }
}

/// The end of an operation.
pub(crate) enum Outcome {
    Sent(Result<(ReferenceId, Millis), Error>),
    Verified(Result<ReferenceId, Error>),
    Claimed(Result<ReferenceId, Error>),
    Other(Result<(), Error>),
    /// The operation crashed.
    Died,
}

impl Outcome {
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sent(Err(error))
            | Self::Verified(Err(error))
            | Self::Claimed(Err(error))
            | Self::Other(Err(error)) => Some(error.code()),
            _ => None,
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.code().is_none() && !matches!(self, Self::Died)
    }
}

struct Task {
    operation: usize,
    future: Pin<Box<dyn Future<Output = Outcome>>>,
}

/// The figures of a run without a violation.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) seeds: u64,
    pub(crate) operations: u64,
    pub(crate) steps: u64,
    pub(crate) texts: u64,
    pub(crate) successes: u64,
    pub(crate) faults: Counts,
    pub(crate) answers: BTreeMap<String, u64>,
}

impl Report {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.operations += other.operations;
        self.steps += other.steps;
        self.texts += other.texts;
        self.successes += other.successes;
        self.faults.merge(&other.faults);
        for (answer, count) in &other.answers {
            *self.answers.entry(answer.clone()).or_default() += count;
        }
    }
}

pub(crate) struct Sim {
    pub(crate) books: Shared,
    pub(crate) memory: MemoryLedger,
    emulator: Option<Emulator>,
    services: Vec<Arc<Service>>,
    tasks: Vec<Task>,
    /// The requests that failed and may be tried again.
    failed: Vec<Intent>,
    successes: u64,
}

impl Sim {
    pub(crate) fn new(rng: Rng, setup: Setup, trace: bool) -> Self {
        let setup = Arc::new(setup);
        let memory = MemoryLedger::new();
        let books = Shared::new(Books::new(
            rng,
            Arc::clone(&setup),
            memory.clone(),
            SECRET,
            START,
            trace,
        ));
        let emulator = setup.twin.then(Emulator::new);
        let inner: Arc<dyn Ledger> = match setup.naive {
            None => match &emulator {
                None => Arc::new(memory.clone()),
                Some(emulator) => Arc::new(Layered(Twin::new(memory.clone(), emulator))),
            },
            Some(naive) => Arc::new(Layered(NaiveLedger::new(
                naive,
                memory.clone(),
                books.clone(),
            ))),
        };
        let service = |_| {
            let store = Layered(Store {
                inner: Arc::clone(&inner),
                books: books.clone(),
            });
            let policy = LedgerPolicy {
                sign_in_share: SignInShare::default(),
                devices_kept: None,
                send_limits: setup.send_limits.clone(),
                prefix_limits: setup.prefix_limits.clone(),
                source_limits: setup.source_limits.clone(),
                network_limits: Vec::new(),
                budgets: setup.budgets.clone(),
                test_numbers: Vec::new(),
                guess_chance: GuessChance::default(),
            };
            let guard = Limits::new(Box::new(store), Hasher::from_secret(SECRET), policy);
            Arc::new(Service::new(
                rules(&setup),
                Providers::only(Box::new(FakeProvider {
                    books: books.clone(),
                })),
                Some(guard),
            ))
        };
        let services = (0..setup.instances).map(service).collect();
        Self {
            books,
            memory,
            emulator,
            services,
            tasks: Vec::new(),
            failed: Vec::new(),
            successes: 0,
        }
    }

    pub(crate) fn set_plan(&self, plan: Plan) {
        self.books.lock().plan = plan;
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.books.lock().violation.clone()
    }

    // ---- operations

    /// Begins an operation without doing any of its steps.
    pub(crate) fn begin(&mut self, intent: &Intent) -> usize {
        let mut books = self.books.lock();
        let operation = books.begin(intent);
        let service = Arc::clone(&self.services[books.rng.usize(..self.services.len())]);
        let to = books.numbers[intent.number].clone();
        let now = books.now;
        let validity_minutes = books.setup.validity_minutes;
        let session = intent.who.session(&books.keys);
        drop(books);
        let future = perform(service, to, intent.clone(), session, now, validity_minutes);
        self.tasks.push(Task {
            operation,
            future: Box::pin(future),
        });
        operation
    }

    /// Lets one operation continue until its next turn.
    fn go_on(&mut self, place: usize) -> Option<Outcome> {
        let task = &mut self.tasks[place];
        let operation = task.operation;
        self.books.lock().current = operation;
        let polled = task
            .future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let outcome = match polled {
            _ if self.books.lock().operations[operation].crashed => Outcome::Died,
            Poll::Ready(outcome) => outcome,
            Poll::Pending => return None,
        };
        self.tasks.swap_remove(place);
        self.ended(operation, &outcome);
        Some(outcome)
    }

    fn ended(&mut self, operation: usize, outcome: &Outcome) {
        let mut books = self.books.lock();
        match outcome {
            Outcome::Sent(answer) => books.sent(operation, answer),
            Outcome::Verified(answer) => books.verified(operation, answer),
            Outcome::Claimed(answer) => books.claimed(operation, answer),
            Outcome::Other(answer) => {
                let said = answer.as_ref().map_err(Error::code);
                books.finish(operation, &format!("{said:?}"));
            }
            Outcome::Died => books.finish(operation, "dead"),
        }
        self.successes += u64::from(matches!(outcome, Outcome::Verified(Ok(_))));
        if !outcome.is_ok() {
            self.failed.push(books.operations[operation].intent.clone());
        }
    }

    /// Does a whole operation while all others wait.
    pub(crate) fn perform(&mut self, intent: &Intent) -> Outcome {
        let operation = self.begin(intent);
        loop {
            let place = self
                .tasks
                .iter()
                .position(|task| task.operation == operation)
                .unwrap();
            if let Some(outcome) = self.go_on(place) {
                return outcome;
            }
        }
    }

    /// Does one of the late steps.
    pub(crate) fn do_late(&mut self) {
        let mut late = {
            let mut books = self.books.lock();
            let many = books.late.len();
            let place = books.rng.usize(..many);
            let late = books.late.swap_remove(place);
            books.trace(|_| "a late step is done".to_owned());
            late
        };
        while (&mut late).now_or_never().is_none() {}
    }

    pub(crate) fn do_all_late(&mut self) {
        while !self.books.lock().late.is_empty() {
            self.do_late();
        }
    }

    /// Moves the clock. Operations over the time limit crash, and expired items are deleted.
    pub(crate) fn advance(&mut self, by: Duration) {
        if by >= LATEST {
            self.do_all_late();
        }
        let mut books = self.books.lock();
        books.now = books.now.plus(by);
        books.trace(|_| format!("… {by:?} later"));
        let now = books.now;
        let mut old = Vec::new();
        for task in &self.tasks {
            if now.since(books.operations[task.operation].now) >= TIME_LIMIT {
                books.kill(task.operation);
                old.push(task.operation);
            }
        }
        drop(books);
        for operation in old {
            self.tasks.retain(|task| task.operation != operation);
            self.ended(operation, &Outcome::Died);
        }
        self.memory.sweep(now);
        if let Some(emulator) = &self.emulator {
            emulator.sweep(now);
        }
    }

    // ---- a whole run

    pub(crate) fn run(&mut self) -> Result<Report, Violation> {
        let setup = Arc::clone(&self.books.lock().setup);
        let mut begun = 0;
        while begun < setup.operations || !self.tasks.is_empty() {
            let dice = self.books.lock().rng.u32(0..100);
            let may_begin = begun < setup.operations && self.tasks.len() < setup.most_at_once;
            if self.tasks.is_empty() && dice < 60 {
                let by = actors::pause(&mut self.books.lock());
                self.advance(by);
            } else if may_begin && (self.tasks.is_empty() || dice < 12) {
                let intents = actors::choose(&mut self.books.lock(), &mut self.failed);
                begun += intents.len().max(1);
                for intent in &intents {
                    self.begin(intent);
                }
            } else if dice < 16 {
                self.while_running(&setup);
            } else if !self.tasks.is_empty() {
                let place = self.books.lock().rng.usize(..self.tasks.len());
                self.go_on(place);
            }
            if let Some(violation) = self.violation() {
                return Err(violation);
            }
        }
        self.epilogue();
        match self.violation() {
            Some(violation) => Err(violation),
            None => Ok(self.report()),
        }
    }

    fn while_running(&mut self, setup: &Setup) {
        let mut books = self.books.lock();
        let late = !books.late.is_empty() && books.rng.bool();
        let long = setup.plan == Plan::ByChance && books.rng.u32(0..50) == 0;
        let by = if long {
            books.rng.u64(1_000..12_000)
        } else {
            books.rng.u64(0..80)
        };
        drop(books);
        if late {
            self.do_late();
        } else if long || !setup.is_quiet() {
            self.advance(Duration::from_millis(by));
        }
    }

    /// Ends a run. From now on no step fails. Checks that the counters are right and every valid code can be used.
    pub(crate) fn epilogue(&mut self) {
        self.do_all_late();
        let plan = std::mem::replace(&mut self.books.lock().plan, Plan::Never);
        if matches!(plan, Plan::Never | Plan::OnlyTheProvider) {
            self.books.lock().compare_counters();
        }
        self.advance(Duration::from_secs(6));
        self.use_codes();
    }

    /// Verifies every code that must be valid, as its recipient would.
    pub(crate) fn use_codes(&mut self) {
        loop {
            let mut books = self.books.lock();
            let good = books.verifiable();
            let Some(&code) = good.last() else { return };
            let intent = actors::honest_guess(&mut books, code);
            drop(books);
            let outcome = self.perform(&intent);
            if !outcome.is_ok() {
                self.books
                    .lock()
                    .not_verifiable(code, &format!("{:?}", outcome.code()));
                return;
            }
        }
    }

    pub(crate) fn report(&self) -> Report {
        let books = self.books.lock();
        Report {
            seeds: 1,
            operations: books.operations.len() as u64,
            steps: books.steps,
            texts: books.codes.len() as u64,
            successes: self.successes,
            faults: books.counts,
            answers: books.answers.clone(),
        }
    }
}

impl Setup {
    fn is_quiet(&self) -> bool {
        self.plan == Plan::Never
    }
}

fn rules(setup: &Setup) -> Rules {
    Rules {
        allowed_countries: AllowedCountries::parse("US,GB,JM").unwrap(),
        allowed_types: AllowedTypes::default(),
        extra_prefixes: ExtraPrefixes::default(),
        brands: Brands::default(),
        code_length: 4..=8,
        validity_minutes: 1..=60,
        allowed_attempts: 1..=5,
        reference_ids: if setup.derived {
            ReferenceIds::Derived
        } else {
            ReferenceIds::Random
        },
        foreign_codes: setup.derived,
        defaults: Defaults {
            brand_name: BRAND.to_owned(),
            source: SOURCE.to_owned(),
            language: "en-US".into(),
            code_length: 6,
            validity_minutes: setup.validity_minutes,
            allowed_attempts: setup.attempts,
        },
        origination: Origination {
            default: "+12065550100".to_owned(),
            others: Vec::new(),
        },
        dlt: None,
    }
}

fn caller(who: &Who, session: Option<SessionDigest>) -> Caller {
    Caller {
        principal: who.principal.map(str::to_owned),
        address: who.address.map(|last| [192, 0, 2, last].into()),
        idempotency_key: who.key.clone(),
        session,
        ..Caller::default()
    }
}

async fn perform(
    service: Arc<Service>,
    to: PhoneNumber,
    intent: Intent,
    session: Option<SessionDigest>,
    now: Millis,
    validity_minutes: u8,
) -> Outcome {
    let mut record = Record::default();
    let caller = caller(&intent.who, session.clone());
    let call = &mut Call::new(caller, now, Duration::MAX, &mut record);
    let given = intent
        .reference
        .as_deref()
        .map(|reference| ReferenceId::parse(reference).unwrap());
    let reference = || match &given {
        Some(given) => Reference::Given(given.clone()),
        None => Reference::Derived {
            brand_name: BRAND.to_owned(),
            source: SOURCE.to_owned(),
        },
    };
    match intent.what {
        What::Send => {
            let request = SendRequest {
                to,
                brand_name: BRAND.to_owned(),
                source: SOURCE.to_owned(),
                language: "en-US".into(),
                channel: Channel::Sms,
                code_length: 6,
                validity_minutes,
                allowed_attempts: intent.attempts,
                reference: given,
                owner: session,
            };
            let answer = service.send(&request, call).await;
            Outcome::Sent(answer.map(|sent| (sent.reference, Millis(sent.receipt.expires))))
        }
        What::Verify => {
            let otp = Otp::parse(&intent.otp, &service.codes()).unwrap();
            let request = VerifyRequest {
                to,
                otp,
                reference: reference(),
            };
            let verified = service.verify(&request, call).await;
            Outcome::Verified(verified.map(|verified| verified.reference))
        }
        What::Claim => {
            let request = VerificationRequest {
                to,
                reference: reference(),
            };
            Outcome::Claimed(service.redeem(&request, call).await)
        }
        What::Cancel => {
            let request = VerificationRequest {
                to,
                reference: reference(),
            };
            Outcome::Other(service.cancel(&request, call).await.map(|_| ()))
        }
        What::Status => {
            let request = VerificationRequest {
                to,
                reference: reference(),
            };
            Outcome::Other(service.status(&request, call).await.map(|_| ()))
        }
        What::Unlock => Outcome::Other(service.unlock(&to, call).await),
    }
}
