//! A service with a store, a fake provider, and a clock that the test moves.

use crate::fake::Fake;
use crate::store::Store;
use crate::table::{Flaw, Table};
use otp_lambda::device::DeviceToken;
use otp_lambda::error::Error;
use otp_lambda::ledger::{
    CodeReference, Door, Hasher, Holder, Issuer, ItemName, Ledger, Opening, Phase, Settled, State,
    Verification,
};
use otp_lambda::otp::Otp;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::policy::{
    AllowedCountries, AllowedTypes, Brands, Budgets, ExtraPrefixes, GuessChance, Rate, SendLimits,
    SignInShare,
};
use otp_lambda::reference::ReferenceId;
use otp_lambda::service::{
    Call, Caller, Challenge, Defaults, LedgerPolicy, Limits, Origination, Providers, Reference,
    ReferenceIds, Rules, SendRequest, Sent, Service, Session, SignIn, User, VerificationRequest,
    Verified, VerifyRequest,
};
use otp_lambda::telemetry::Record;
use otp_lambda::time::Millis;
use simulator::send_request;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Barrier;

/// The windows of the template.
pub(crate) const LIMITS: &str = "1/30s,2/90s,3/10m,6/24h";

/// The start of every test, at the full hour.
pub(crate) const START: Millis = Millis(1_800_000_000_000);

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const HOUR: Duration = Duration::from_hours(1);
pub(crate) const DAY: Duration = Duration::from_hours(24);
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

/// The settings of a test.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) limits: &'static str,
    pub(crate) prefix_limits: &'static str,
    pub(crate) budgets: Budgets,
    pub(crate) attempts: u8,
    pub(crate) references: ReferenceIds,
    pub(crate) authenticated: bool,
    /// The part of sign-ins.
    pub(crate) share: &'static str,
    /// Whether devices that have verified a number are remembered, for a year.
    pub(crate) has_devices: bool,
    /// The time that the provider takes.
    pub(crate) latency: Duration,
    /// The flaw of the ledger.
    pub(crate) flaw: Option<Flaw>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: LIMITS,
            prefix_limits: "none",
            budgets: Budgets::default(),
            attempts: 5,
            references: ReferenceIds::Derived,
            authenticated: true,
            share: "0",
            has_devices: false,
            latency: Duration::from_millis(3),
            flaw: None,
        }
    }
}

/// The name of a verification in a request.
#[derive(Debug, Clone)]
pub(crate) enum Name {
    /// No name: the reference is derived from the defaults.
    Default,
    /// A reference.
    Given(String),
    /// A brand, from which the reference is derived.
    Of(String),
}

pub(crate) struct World {
    pub(crate) provider: Fake,
    pub(crate) table: Table,
    pub(crate) store: Store,
    pub(crate) setup: Setup,
    keys: Hasher,
    service: Service,
    clock: Arc<AtomicU64>,
}

fn keys() -> Hasher {
    Hasher::from_secret(b"a secret of forty-three characters, or more")
}

/// One of ten thousand numbers with one prefix. Exchange 555 is reserved for fiction.
pub(crate) fn number(n: usize) -> PhoneNumber {
    PhoneNumber::parse(&format!("+1425555{n:04}")).unwrap()
}

/// A wrong guess, a different one for each number.
pub(crate) fn wrong(n: usize) -> String {
    format!("{n:08}")
}

impl World {
    pub(crate) fn new(store: Store, setup: Setup) -> Arc<Self> {
        let table = Table::over(store.ledger(), setup.flaw);
        let clock = Arc::new(AtomicU64::new(START.0));
        let provider = Fake::new(clock.clone(), setup.latency, table.clone(), keys());
        Self::of(store, table, provider, clock, setup)
    }

    /// The same store, provider and clock with other settings, as after a deployment.
    pub(crate) fn with_limits(&self, limits: &'static str) -> Arc<Self> {
        self.with(Setup {
            limits,
            ..self.setup.clone()
        })
    }

    /// The same store, provider and clock with another setup.
    pub(crate) fn with(&self, setup: Setup) -> Arc<Self> {
        Self::of(
            self.store.clone(),
            self.table.clone(),
            self.provider.clone(),
            self.clock.clone(),
            setup,
        )
    }

    fn of(
        store: Store,
        table: Table,
        provider: Fake,
        clock: Arc<AtomicU64>,
        setup: Setup,
    ) -> Arc<Self> {
        let rules = Rules {
            foreign_codes: setup.references == ReferenceIds::Derived,
            allowed_countries: AllowedCountries::Any,
            allowed_types: AllowedTypes::default(),
            extra_prefixes: ExtraPrefixes::default(),
            brands: Brands::default(),
            code_length: 4..=8,
            validity_minutes: 1..=60,
            allowed_attempts: 1..=5,
            reference_ids: setup.references,
            defaults: Defaults {
                brand_name: "ExampleCorp".to_owned(),
                source: "signup".to_owned(),
                language: "en-US".into(),
                code_length: 8,
                validity_minutes: 10,
                allowed_attempts: setup.attempts,
            },
            origination: Origination {
                default: "+12065550100".to_owned(),
                others: Vec::new(),
            },
            dlt: None,
        };
        let policy = LedgerPolicy {
            sign_in_share: SignInShare::parse(setup.share).unwrap(),
            devices_kept: setup.has_devices.then_some(365 * DAY),
            send_limits: SendLimits::parse(setup.limits).unwrap(),
            prefix_limits: Rate::parse_list(setup.prefix_limits).unwrap(),
            source_limits: Vec::new(),
            network_limits: Vec::new(),
            budgets: setup.budgets.clone(),
            test_numbers: Vec::new(),
            guess_chance: GuessChance::default(),
        };
        let guard = Limits::new(Box::new(table.ledger()), keys(), policy);
        let service = Service::new(
            rules,
            Providers::only(Box::new(provider.clone())),
            Some(guard),
        );
        Arc::new(Self {
            provider,
            table,
            store,
            setup,
            keys: keys(),
            service,
            clock,
        })
    }

    pub(crate) fn now(&self) -> Millis {
        Millis(self.clock.load(SeqCst))
    }

    /// Moves the clock and deletes the items that have expired by then.
    pub(crate) fn move_to(&self, now: Millis) {
        assert!(now >= self.now());
        self.clock.store(now.0, SeqCst);
        self.store.sweep(now);
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.move_to(self.now().plus(time));
    }

    pub(crate) async fn send(&self, to: &PhoneNumber, name: &Name) -> Result<Sent, Error> {
        self.send_under(to, name, None).await
    }

    pub(crate) async fn send_under(
        &self,
        to: &PhoneNumber,
        name: &Name,
        key: Option<&str>,
    ) -> Result<Sent, Error> {
        self.send_by(self.caller(key), to, name).await
    }

    /// A send by a device with this token.
    pub(crate) async fn send_from(
        &self,
        device: Option<&DeviceToken>,
        to: &PhoneNumber,
        name: &Name,
    ) -> Result<Sent, Error> {
        self.send_by(self.device(device), to, name).await
    }

    async fn send_by(&self, caller: Caller, to: &PhoneNumber, name: &Name) -> Result<Sent, Error> {
        let defaults = &self.service.rules().defaults;
        let (brand_name, reference) = match name {
            Name::Default => (&defaults.brand_name, None),
            Name::Given(reference) => (
                &defaults.brand_name,
                Some(ReferenceId::parse(reference).unwrap()),
            ),
            Name::Of(brand) => (brand, None),
        };
        let request = SendRequest {
            brand_name: brand_name.clone(),
            reference,
            ..send_request(&self.service, to.clone())
        };
        self.provider.begins(to, self.plain_reference(to, name));
        self.service
            .send(
                &request,
                &mut call(caller, self.now(), &mut Record::default()),
            )
            .await
    }

    pub(crate) async fn verify(
        &self,
        to: &PhoneNumber,
        name: &Name,
        code: &str,
    ) -> Result<ReferenceId, Error> {
        self.verify_under(to, name, code, None).await
    }

    pub(crate) async fn verify_under(
        &self,
        to: &PhoneNumber,
        name: &Name,
        code: &str,
        key: Option<&str>,
    ) -> Result<ReferenceId, Error> {
        let verified = self.verify_by(self.caller(key), to, name, code).await;
        verified.map(|verified| verified.reference)
    }

    /// A guess by a device with this token.
    pub(crate) async fn verify_from(
        &self,
        device: Option<&DeviceToken>,
        to: &PhoneNumber,
        name: &Name,
        code: &str,
    ) -> Result<Verified, Error> {
        self.verify_by(self.device(device), to, name, code).await
    }

    async fn verify_by(
        &self,
        caller: Caller,
        to: &PhoneNumber,
        name: &Name,
        code: &str,
    ) -> Result<Verified, Error> {
        let otp = Otp::parse(code, &self.service.codes()).unwrap();
        let request = VerifyRequest {
            to: to.clone(),
            otp,
            reference: self.reference(name),
        };
        self.service
            .verify(
                &request,
                &mut call(caller, self.now(), &mut Record::default()),
            )
            .await
    }

    /// A new sign-in of the user who has this number.
    pub(crate) fn new_sign_in(to: &PhoneNumber) -> SignIn {
        SignIn {
            user: User {
                pool: "pool".to_owned(),
                client: "client".to_owned(),
                name: to.expose().to_owned(),
            },
            number: to.clone(),
            language: "en-US".into(),
            session: Session {
                name: ReferenceId::random().unwrap().expose().to_owned(),
                is_decoy: false,
            },
        }
    }

    /// Begins a sign-in of the user who has this number.
    pub(crate) async fn begin_sign_in(&self, to: &PhoneNumber) -> Result<Challenge, Error> {
        self.begin(&Self::new_sign_in(to)).await
    }

    pub(crate) async fn begin(&self, sign_in: &SignIn) -> Result<Challenge, Error> {
        let record = &mut Record::default();
        let mut call = call(Caller::default(), self.now(), record);
        self.service.begin_sign_in(sign_in, &mut call).await
    }

    /// Answers the question with this nonce.
    pub(crate) async fn answer(
        &self,
        sign_in: &SignIn,
        code: &str,
        nonce: &str,
    ) -> Result<(), Error> {
        let otp = Otp::parse(code, &self.service.codes()).unwrap();
        let record = &mut Record::default();
        let mut call = call(Caller::default(), self.now(), record);
        self.service
            .answer_sign_in(sign_in, otp, nonce, &mut call)
            .await
    }

    /// Answers the question with this nonce by `resend`.
    pub(crate) async fn resend(&self, sign_in: &SignIn, nonce: &str) -> Result<(), Error> {
        let record = &mut Record::default();
        let mut call = call(Caller::default(), self.now(), record);
        self.service
            .resend_for_sign_in(sign_in, nonce, &mut call)
            .await
    }

    pub(crate) async fn cancel(
        &self,
        to: &PhoneNumber,
        name: &Name,
    ) -> Result<(ReferenceId, Phase), Error> {
        let request = VerificationRequest {
            to: to.clone(),
            reference: self.reference(name),
        };
        self.service
            .cancel(
                &request,
                &mut call(Caller::default(), self.now(), &mut Record::default()),
            )
            .await
    }

    /// Redeems a success as the backend of this name.
    pub(crate) async fn redeem(
        &self,
        to: &PhoneNumber,
        name: &Name,
        backend: &str,
    ) -> Result<ReferenceId, Error> {
        let request = VerificationRequest {
            to: to.clone(),
            reference: self.reference(name),
        };
        let caller = Caller {
            principal: Some(backend.to_owned()),
            ..Caller::default()
        };
        self.service
            .redeem(
                &request,
                &mut call(caller, self.now(), &mut Record::default()),
            )
            .await
    }

    pub(crate) async fn unlock(&self, to: &PhoneNumber) {
        let record = &mut Record::default();
        let call = call(Caller::default(), self.now(), record);
        self.service.unlock(to, &call).await.unwrap();
    }

    /// The number of failures since the last success.
    pub(crate) async fn failures(&self, to: &PhoneNumber) -> u32 {
        self.failures_at(Door::Http, to).await
    }

    pub(crate) async fn failures_at(&self, door: Door, to: &PhoneNumber) -> u32 {
        self.table
            .ledger()
            .number(&self.keys.number_at(door, to))
            .await
            .unwrap()
            .failures
    }

    fn item(&self, to: &PhoneNumber, name: &Name) -> ItemName {
        self.keys.verification(&self.plain_reference(to, name), to)
    }

    /// The reference that callers know.
    pub(crate) fn plain_reference(&self, to: &PhoneNumber, name: &Name) -> ReferenceId {
        match self.reference(name) {
            Reference::Given(reference) => reference,
            Reference::Derived { brand_name, source } => {
                ReferenceId::derived(&brand_name, &source, to)
            }
        }
    }

    pub(crate) async fn verification(&self, to: &PhoneNumber, name: &Name) -> Option<Verification> {
        let item = self.item(to, name);
        self.table.ledger().verification(&item).await.unwrap()
    }

    /// Reserves the first code of a verification, as a send does before it asks the provider.
    pub(crate) async fn reserve(&self, to: &PhoneNumber, name: &Name) {
        let issuer = Issuer::Provider {
            name: "fake".into(),
            reference: CodeReference::Plain,
        };
        let expires = self.now().plus(10 * MINUTE);
        let opening = Opening {
            state: State::Reserved,
            holder: Holder(1),
            first: self.now(),
            expires,
            left: 3,
            issuers: &[issuer],
            plain_until: expires.plus(MINUTE),
            channel: "sms",
            code_length: 8,
            language: "en-US",
            brand_name: "ExampleCorp",
            owner: None,
            forget: &[],
        };
        let opened = self.table.ledger();
        let opened = opened.open(&self.item(to, name), None, &opening).await;
        assert!(opened.unwrap());
    }

    /// Settles what [`reserve`](Self::reserve) has reserved.
    pub(crate) async fn settle(&self, to: &PhoneNumber, name: &Name, outcome: Settled<'_>) {
        let (ledger, item) = (self.table.ledger(), self.item(to, name));
        let settled = ledger.settle(&item, 1, Holder(1), &outcome);
        settled.await.unwrap();
    }

    fn reference(&self, name: &Name) -> Reference {
        let defaults = &self.service.rules().defaults;
        let of = |brand: &String| Reference::Derived {
            brand_name: brand.clone(),
            source: defaults.source.clone(),
        };
        match name {
            Name::Default => of(&defaults.brand_name),
            Name::Given(reference) => Reference::Given(ReferenceId::parse(reference).unwrap()),
            Name::Of(brand) => of(brand),
        }
    }

    fn device(&self, token: Option<&DeviceToken>) -> Caller {
        Caller {
            device: token.cloned(),
            ..self.caller(None)
        }
    }

    fn caller(&self, key: Option<&str>) -> Caller {
        Caller {
            principal: self.setup.authenticated.then(|| "app".to_owned()),
            address: None,
            idempotency_key: key.map(str::to_owned),
            ..Caller::default()
        }
    }
}

fn call(caller: Caller, now: Millis, record: &mut Record) -> Call<'_> {
    // The time limit is in real time. A busy machine could use it up.
    Call::new(caller, now, Duration::MAX, record)
}

/// Runs all tasks at the same time. None begins before all are ready.
pub(crate) async fn at_once<F>(tasks: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let tasks: Vec<F> = tasks.into_iter().collect();
    let barrier = Arc::new(Barrier::new(tasks.len()));
    let running: Vec<_> = tasks
        .into_iter()
        .map(|task| {
            let barrier = barrier.clone();
            tokio::spawn(async move {
                barrier.wait().await;
                task.await
            })
        })
        .collect();
    let mut outputs = Vec::new();
    for task in running {
        outputs.push(task.await.unwrap());
    }
    outputs
}

/// The error code of a response, or `ok`.
pub(crate) fn word<T>(answer: &Result<T, Error>) -> &'static str {
    answer
        .as_ref()
        .map_or_else(|error| error.code().name(), |_| "ok")
}

/// Counts the responses by their words.
pub(crate) fn tally<T>(answers: &[Result<T, Error>]) -> BTreeMap<&'static str, usize> {
    let mut tally = BTreeMap::new();
    for answer in answers {
        *tally.entry(word(answer)).or_default() += 1;
    }
    tally
}

/// Asserts that a check holds, and that it fails for each flaw of the ledger.
#[track_caller]
pub(crate) fn holds_and_fails_with(
    what: &str,
    good: Result<(), String>,
    flawed: &[(Flaw, Result<(), String>)],
) {
    if let Err(reason) = good {
        panic!("{what}: {reason}");
    }
    for (flaw, outcome) in flawed {
        match outcome {
            Ok(()) => panic!("{what}: the control {flaw:?} was not seen"),
            Err(reason) => println!("    control {flaw:?}: seen, {reason}"),
        }
    }
}

/// Asserts that a check holds, and that it fails with this flaw of the ledger.
pub(crate) async fn holds_but_for(
    flaw: Flaw,
    what: &str,
    run: impl AsyncFn(Option<Flaw>) -> Result<(), String>,
) {
    let flawed = run(Some(flaw)).await;
    holds_and_fails_with(what, run(None).await, &[(flaw, flawed)]);
}

/// Runs a check of a flawed ledger until it fails, ten times at most. One run may not be enough: on a busy machine, the
/// tasks of a race may begin so far apart that none of them meets the flaw.
pub(crate) async fn until_it_fails(
    mut run: impl AsyncFnMut() -> Result<(), String>,
) -> Result<(), String> {
    for _ in 0..10 {
        run().await?;
    }
    Ok(())
}

/// Turns a check into a result. The error describes what was found.
pub(crate) fn check(holds: bool, found: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(found()) }
}

/// Repeatable random numbers: splitmix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}
