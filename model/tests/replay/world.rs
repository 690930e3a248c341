//! The real service, with the names that the model's small numbers stand for.

use crate::emulator::Emulator;
use crate::gate::{Gate, Gated};
use model::START;
use model::state::{
    self, Answer, Phase, RecordState, Refusal, Request, SIGN_IN, State, Time, WRONG,
};
use model::{Config, Model};
use otp_lambda::error::{Error, ErrorCode};
use otp_lambda::ledger::{self, CodeReference, Hasher, ItemName, Ledger, Switches};
use otp_lambda::otp::{CodeCharacters, CodeShape, Otp};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::policy::{
    AllowedCountries, AllowedTypes, Brands, Budget, Budgets, ExtraPrefixes, SendLimits, SignInShare,
};
use otp_lambda::provider::Channel;
use otp_lambda::reference::ReferenceId;
use otp_lambda::service::{
    Call, Caller, Defaults, LedgerPolicy, Limits, Origination, Providers, Reference, ReferenceIds,
    Rules, SendRequest, Service, VerificationRequest, VerifyRequest,
};
use otp_lambda::telemetry::Record;
use otp_lambda::time::Millis;
use serde_json::json;
use simulator::MemoryLedger;
use simulator::layer::Layered;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

const NUMBERS: [&str; 2] = ["+14255550142", "+14255550143"];
const DAY: Duration = Duration::from_hours(24);
/// Eight in the morning of some day.
const MORNING: Millis = Millis(1_800_000_000_000);

#[derive(Clone)]
pub(crate) enum Store {
    Memory(MemoryLedger),
    DynamoDb(Emulator),
}

impl Store {
    pub(crate) fn memory() -> Self {
        Self::Memory(MemoryLedger::new())
    }

    pub(crate) fn dynamodb() -> Self {
        Self::DynamoDb(Emulator::new())
    }

    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        match self {
            Self::Memory(ledger) => Arc::new(ledger.clone()),
            Self::DynamoDb(emulator) => Arc::new(emulator.ledger()),
        }
    }

    /// The operator pauses all sends, or resumes them.
    pub(crate) fn pause(&self, paused: bool) {
        match self {
            Self::Memory(ledger) => ledger.switch(Switches {
                paused,
                ..Switches::default()
            }),
            Self::DynamoDb(emulator) => {
                let pk = ItemName::of_switches().as_str().to_owned();
                emulator.put(&json!({ "pk": { "S": pk }, "paused": { "BOOL": paused } }));
            }
        }
    }

    /// Deletes everything, so that the next path begins with nothing.
    pub(crate) fn clear(&mut self) {
        if let Self::Memory(ledger) = self {
            *ledger = MemoryLedger::new();
        } else if let Self::DynamoDb(emulator) = self {
            // Its items have other names for each path. Nobody reads the recorded requests.
            emulator.requests();
        }
    }
}

/// A request of the service, and the answer that it will get.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Answer, String>>>>;

/// The service at both providers, with one ledger.
pub(crate) struct World {
    pub(crate) gate: Gate,
    pub(crate) hasher: Hasher,
    /// The moment that the model calls zero.
    zero: Millis,
    /// The function with each provider as the current one.
    services: [Arc<Service>; 2],
}

fn hasher(path: u64) -> Hasher {
    Hasher::from_secret(format!("the secret of path {path}").as_bytes())
}

fn limits_of(windows: &[(usize, Time)]) -> SendLimits {
    let windows: Vec<String> = windows
        .iter()
        .map(|(sends, seconds)| format!("{sends}/{seconds}s"))
        .collect();
    SendLimits::parse(&windows.join(",")).unwrap()
}

pub(crate) fn name_of(provider: state::Provider) -> &'static str {
    match provider {
        state::Provider::Pinpoint => "pinpoint",
        state::Provider::EndUserMessaging => "end-user-messaging",
    }
}

fn service(config: &Config, gate: &Gate, path: u64, current: state::Provider) -> Arc<Service> {
    let rules = Rules {
        allowed_countries: AllowedCountries::Any,
        allowed_types: AllowedTypes::default(),
        extra_prefixes: ExtraPrefixes::default(),
        reference_ids: ReferenceIds::Derived,
        foreign_codes: false,
        brands: Brands::default(),
        code_length: 4..=8,
        validity_minutes: 1..=60,
        defaults: Defaults {
            brand_name: "ExampleCorp".to_owned(),
            source: "signup".to_owned(),
            language: "en-US".into(),
            code_length: 8,
            validity_minutes: 5,
            allowed_attempts: config.attempts,
        },
        origination: Origination {
            default: "+12065550100".to_owned(),
            others: Vec::new(),
        },
        dlt: None,
    };
    let policy = LedgerPolicy {
        sign_in_share: SignInShare::parse("0").unwrap(),
        send_limits: limits_of(config.windows),
        prefix_limits: Vec::new(),
        source_limits: Vec::new(),
        network_limits: Vec::new(),
        budgets: Budgets {
            all: vec![Budget::parse(&format!("{}/24h", config.budget)).unwrap()],
            ..Budgets::default()
        },
        test_numbers: Vec::new(),
    };
    let provider = |provider| {
        Box::new(Gated {
            gate: gate.clone(),
            name: name_of(provider),
        })
    };
    let providers = Providers {
        current: provider(current),
        previous: Some(provider(current.other())),
    };
    let limits = Limits::new(Box::new(Layered(gate.clone())), hasher(path), policy);
    Arc::new(Service::new(rules, providers, Some(limits)))
}

impl World {
    /// Each path has its own secret and its own day, so it finds nothing that another one has written.
    pub(crate) fn new(model: Model, path: u64) -> Self {
        let gate = Gate::default();
        let of = |provider| service(&model.config, &gate, path, provider);
        let services = [
            of(state::Provider::Pinpoint),
            of(state::Provider::EndUserMessaging),
        ];
        let day = u32::try_from(path % 100_000).unwrap();
        Self {
            gate,
            hasher: hasher(path),
            zero: MORNING.plus(DAY * day),
            services,
        }
    }

    /// Zero stands for never.
    pub(crate) fn at(&self, time: Time) -> Millis {
        if time == 0 {
            Millis(0)
        } else {
            self.zero.plus(Duration::from_secs(u64::from(time)))
        }
    }

    /// The failures of the start are older than a day.
    pub(crate) fn long_ago(&self) -> Millis {
        self.at(START).minus(2 * DAY)
    }

    pub(crate) fn phone(target: usize) -> PhoneNumber {
        let is_second = target == SIGN_IN;
        PhoneNumber::parse(NUMBERS[usize::from(is_second)]).unwrap()
    }

    /// The reference that callers know.
    pub(crate) fn reference(target: usize) -> ReferenceId {
        let to = Self::phone(target);
        ReferenceId::derived("ExampleCorp", "signup", &to)
    }

    /// The reference at a provider.
    pub(crate) fn known_as(&self, target: usize, generation: u8) -> ReferenceId {
        let (plain, to) = (Self::reference(target), Self::phone(target));
        match generation {
            0 => plain,
            _ => self
                .hasher
                .code_reference(&plain, &to, u64::from(generation)),
        }
    }

    pub(crate) fn verification(&self, target: usize) -> ItemName {
        self.hasher
            .verification(&Self::reference(target), &Self::phone(target))
    }

    /// The record of a number of the model.
    pub(crate) fn number(&self, number: usize) -> ItemName {
        match number {
            1 => self.hasher.number(&Self::phone(1)),
            _ => self.hasher.number(&Self::phone(0)),
        }
    }

    pub(crate) fn issuer(issuer: state::Issuer) -> Option<ledger::Issuer> {
        match issuer {
            state::Issuer::Nobody => None,
            state::Issuer::Decoy => Some(ledger::Issuer::Decoy),
            state::Issuer::Provider {
                provider,
                reference,
            } => Some(ledger::Issuer::Provider {
                name: name_of(provider).into(),
                reference: match reference {
                    0 => CodeReference::Plain,
                    _ => CodeReference::OfGeneration(u64::from(reference)),
                },
            }),
        }
    }

    /// The service begins a request.
    pub(crate) fn begin(&self, state: &State, request: Request) -> Running {
        let service = self.services[state.provider as usize].clone();
        let now = self.at(state.clock);
        let zero = self.zero;
        let to_time = move |at| time_of(zero, at);
        match request {
            Request::Send { to, key } => {
                let request = self.send_request(usize::from(to));
                let caller = Self::app((key != state::NONE).then_some(key));
                Box::pin(async move {
                    let record = &mut Record::default();
                    let sent = service.send(&request, &mut call(caller, now, record)).await;
                    match sent {
                        Ok(sent) => Ok(Answer::Sent {
                            left: sent.receipt.attempts_left.unwrap(),
                            expires: to_time(Millis(sent.receipt.expires))?,
                            resend: to_time(Millis(sent.receipt.resend.unwrap()))?,
                        }),
                        Err(error) => refused(&error),
                    }
                })
            }
            Request::Verify { to, code, key } => {
                let request = Self::verify_request(usize::from(to), code);
                let caller = Self::app(Some(key));
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(caller, now, record);
                    let verified = service.verify(&request, call);
                    told(verified.await.map(|_| Answer::Right))
                })
            }
            Request::Status { to } => {
                let request = Self::about(usize::from(to));
                let caller = Self::app(None);
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(caller, now, record);
                    let status = service.status(&request, call);
                    match status.await {
                        Ok(status) => Ok(Answer::Status {
                            phase: phase(status.phase),
                            left: status.attempts_left,
                            expires: to_time(status.expires)?,
                            resend: to_time(status.resend)?,
                        }),
                        Err(error) => refused(&error),
                    }
                })
            }
            Request::Redeem { to, key } => {
                let request = Self::about(usize::from(to));
                let caller = Self::app(Some(key));
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(caller, now, record);
                    let redeemed = service.redeem(&request, call);
                    told(redeemed.await.map(|_| Answer::Redeemed))
                })
            }
            Request::Cancel { to } => {
                let request = Self::about(usize::from(to));
                let caller = Self::app(None);
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = &mut call(caller, now, record);
                    let canceled = service.cancel(&request, call);
                    let canceled = canceled.await;
                    told(canceled.map(|(_, ended)| Answer::Canceled(phase(ended))))
                })
            }
            Request::Unlock { number } => {
                let number = Self::phone(usize::from(number));
                Box::pin(async move {
                    let record = &mut Record::default();
                    let call = call(Caller::default(), now, record);
                    told(service.unlock(&number, &call).await.map(|()| Answer::Done))
                })
            }
            Request::SignIn { .. }
            | Request::UnknownSignIn { .. }
            | Request::Answer { .. }
            | Request::ResendForSignIn { .. } => panic!("the sign-ins of the model are its own"),
        }
    }

    fn app(key: Option<u8>) -> Caller {
        Caller {
            principal: Some("app".to_owned()),
            idempotency_key: key.map(|key| format!("key {key}")),
            ..Caller::default()
        }
    }

    fn send_request(&self, target: usize) -> SendRequest {
        let defaults = &self.services[0].rules().defaults;
        SendRequest {
            to: Self::phone(target),
            brand_name: defaults.brand_name.clone(),
            source: defaults.source.clone(),
            language: defaults.language.clone(),
            channel: Channel::Sms,
            code_length: defaults.code_length,
            validity_minutes: defaults.validity_minutes,
            allowed_attempts: defaults.allowed_attempts,
            reference: None,
            owner: None,
        }
    }

    fn verify_request(target: usize, code: u8) -> VerifyRequest {
        VerifyRequest {
            to: Self::phone(target),
            otp: otp(code),
            reference: Reference::Given(Self::reference(target)),
        }
    }

    fn about(target: usize) -> VerificationRequest {
        VerificationRequest {
            to: Self::phone(target),
            reference: Reference::Given(Self::reference(target)),
        }
    }
}

/// The model's time for a moment.
fn time_of(zero: Millis, at: Millis) -> Result<Time, String> {
    if at == Millis(0) {
        return Ok(0);
    }
    let since = at.0.checked_sub(zero.0).filter(|since| since % 1000 == 0);
    let seconds = since.and_then(|since| Time::try_from(since / 1000).ok());
    seconds.ok_or_else(|| format!("a strange time: {at:?}"))
}

fn call(caller: Caller, now: Millis, record: &mut Record) -> Call<'_> {
    Call::new(caller, now, Duration::MAX, record)
}

/// The digits of a code of the model.
pub(crate) fn digits(code: u8) -> String {
    if code == WRONG {
        "00000000".to_owned()
    } else {
        format!("{}", 10_000_000 + u32::from(code))
    }
}

pub(crate) fn otp(code: u8) -> Otp {
    let shape = CodeShape {
        length: 8..=8,
        characters: CodeCharacters::Digits,
    };
    Otp::parse(&digits(code), &shape).unwrap()
}

pub(crate) fn record_state(state: ledger::State) -> RecordState {
    match state {
        ledger::State::Reserved => RecordState::Reserved,
        ledger::State::Sent => RecordState::Sent,
        ledger::State::Unclear => RecordState::Unclear,
        ledger::State::Failed => RecordState::Failed,
        ledger::State::Verified => RecordState::Verified,
        ledger::State::Canceled => RecordState::Canceled,
    }
}

fn phase(phase: ledger::Phase) -> Phase {
    match phase {
        ledger::Phase::Pending => Phase::Pending,
        ledger::Phase::Verified => Phase::Verified,
        ledger::Phase::Expired => Phase::Expired,
        ledger::Phase::Exhausted => Phase::Exhausted,
        ledger::Phase::Canceled => Phase::Canceled,
        ledger::Phase::Failed => Phase::Failed,
    }
}

fn told(answer: Result<Answer, Error>) -> Result<Answer, String> {
    answer.or_else(|error| refused(&error))
}

fn refused(error: &Error) -> Result<Answer, String> {
    Ok(Answer::Refused(match error.code() {
        ErrorCode::AlreadyVerified => Refusal::AlreadyVerified,
        ErrorCode::AttemptsExhausted => Refusal::AttemptsExhausted,
        ErrorCode::CodeExpired => Refusal::CodeExpired,
        ErrorCode::DestinationLocked => Refusal::DestinationLocked,
        ErrorCode::IdempotencyKeyInUse => Refusal::IdempotencyKeyInUse,
        ErrorCode::IdempotencyKeyReused => Refusal::IdempotencyKeyReused,
        ErrorCode::InvalidCode if error.detail().starts_with("A newer code") => Refusal::NewerCode,
        ErrorCode::InvalidCode => Refusal::InvalidCode,
        ErrorCode::LedgerUnavailable => Refusal::LedgerUnavailable,
        ErrorCode::ProviderRejected => Refusal::ProviderRejected,
        ErrorCode::ProviderTimeout => Refusal::ProviderTimeout,
        ErrorCode::RateLimited => Refusal::RateLimited,
        ErrorCode::ResendLimit => Refusal::ResendLimit,
        ErrorCode::ResendTooSoon => Refusal::ResendTooSoon,
        ErrorCode::SendingPaused => Refusal::SendingPaused,
        ErrorCode::VerificationCanceled => Refusal::VerificationCanceled,
        ErrorCode::VerificationInProgress => Refusal::VerificationInProgress,
        ErrorCode::VerificationNotFound => Refusal::VerificationNotFound,
        _ => return Err(format!("the model knows no {error:?}")),
    }))
}
