//! The real service, with the names that the model's small numbers stand for.

use crate::emulator::Emulator;
use crate::gate::{Gate, Gated};
use model::START;
use model::state::{self, Answer, DECOY, SIGN_IN, SIGN_INS, Session, Time, WRONG};
use model::{Config, Model};
use otp_lambda::ledger::{
    self, CodeReference, DECOY_ITEM, Door, Hasher, ItemName, Ledger, SessionDigest, Spending,
    Switches,
};
use otp_lambda::otp::{CodeCharacters, CodeShape, Otp};
use otp_lambda::phone::PhoneNumber;
use otp_lambda::policy::{
    AllowedCountries, AllowedTypes, Brands, Budget, Budgets, ExtraPrefixes, GuessChance,
    SendLimits, Shares, SignInShare,
};
use otp_lambda::provider::Channel;
use otp_lambda::reference::ReferenceId;
use otp_lambda::service::{
    Defaults, LedgerPolicy, Limits, Origination, Providers, ReferenceIds, Rules, Service, User,
};
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
    config: Config,
    pub(crate) gate: Gate,
    pub(crate) hasher: Hasher,
    /// The moment that the model calls zero.
    pub(crate) zero: Millis,
    /// The function with each provider as the current one.
    pub(crate) services: [Arc<Service>; 2],
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

/// Sign-ins have half of every joint limit, if there are any.
fn share_of(config: &Config) -> SignInShare {
    SignInShare::parse(if config.sign_in { "50" } else { "0" }).unwrap()
}

fn budgets_of(config: &Config) -> Budgets {
    Budgets {
        all: vec![Budget::parse(&format!("{}/24h", config.budget)).unwrap()],
        ..Budgets::default()
    }
}

pub(crate) fn user(session: Session) -> User {
    let name = match session {
        Session::Decoy => "nobody",
        _ => "somebody",
    };
    User {
        pool: "pool".to_owned(),
        client: "client".to_owned(),
        name: name.to_owned(),
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
        allowed_attempts: 1..=5,
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
        sign_in_share: share_of(config),
        devices_kept: None,
        send_limits: limits_of(config.windows),
        prefix_limits: Vec::new(),
        source_limits: Vec::new(),
        network_limits: Vec::new(),
        budgets: budgets_of(config),
        test_numbers: Vec::new(),
        guess_chance: GuessChance::default(),
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
    /// Each path has its own secret and its own day. It finds nothing that another path has written.
    pub(crate) fn new(model: Model, path: u64) -> Self {
        let gate = Gate::default();
        let of = |provider| service(&model.config, &gate, path, provider);
        let services = [
            of(state::Provider::Pinpoint),
            of(state::Provider::EndUserMessaging),
        ];
        let day = u32::try_from(path % 100_000).unwrap();
        Self {
            config: model.config,
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

    /// The number of a verification. The third verification is a decoy, the sign-in of an unknown user. A decoy's
    /// number is made up from the user name. Here the decoy has the first number, as if its user name were that number.
    pub(crate) fn phone(&self, target: usize) -> PhoneNumber {
        let is_second = target == SIGN_IN && !self.config.sign_in;
        PhoneNumber::parse(NUMBERS[usize::from(is_second)]).unwrap()
    }

    /// The reference that callers know.
    pub(crate) fn reference(&self, target: usize) -> ReferenceId {
        let to = self.phone(target);
        let (kind, session) = match target {
            SIGN_IN if self.config.sign_in => ("", Session::Real),
            DECOY => (DECOY_ITEM, Session::Decoy),
            _ => return ReferenceId::derived("ExampleCorp", "signup", &to),
        };
        let User { pool, client, name } = user(session);
        self.hasher.sign_in(&[kind, &pool, &client, &name], &to)
    }

    /// A decoy that stands in for a counter of this sign-in.
    pub(crate) fn decoy(&self, target: usize, kind: &str, counter: &str) -> ItemName {
        self.hasher.decoy(kind, &self.reference(target), counter)
    }

    /// One message of a door's budget.
    pub(crate) fn spending(&self, door: usize) -> Spending {
        let door = match door {
            SIGN_INS => Door::SignIn,
            _ => Door::Http,
        };
        let shares = Shares {
            sign_in: share_of(&self.config),
            has_devices: false,
        };
        let budgets = shares.of_budgets(door, &budgets_of(&self.config));
        let country = self.services[0].country(&self.phone(0)).unwrap();
        let now = self.at(START);
        budgets.spendings(country, Channel::Sms, 1, now).remove(0)
    }

    pub(crate) fn owner(&self, session: u8) -> Option<SessionDigest> {
        (session != state::NONE).then(|| self.hasher.session(&session_name(session)))
    }

    /// The reference at a provider.
    pub(crate) fn known_as(&self, target: usize, generation: u8) -> ReferenceId {
        let (plain, to) = (self.reference(target), self.phone(target));
        match generation {
            0 => plain,
            _ => self
                .hasher
                .code_reference(&plain, &to, u64::from(generation)),
        }
    }

    pub(crate) fn verification(&self, target: usize) -> ItemName {
        self.hasher
            .verification(&self.reference(target), &self.phone(target))
    }

    /// The item that counts for a number of the model, or for a number at a door.
    pub(crate) fn number(&self, number: usize) -> ItemName {
        match number {
            SIGN_INS if self.config.sign_in => {
                self.hasher.number_at(Door::SignIn, &self.phone(SIGN_IN))
            }
            number => self.hasher.number(&self.phone(number)),
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
}

pub(crate) fn session_name(session: u8) -> String {
    format!("session {session}")
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
