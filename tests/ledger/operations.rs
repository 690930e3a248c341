//! The costs of each operation of the service: its requests to DynamoDB, and AWS's bill for them.

use crate::emulator::Emulator;
use crate::service::{RIGHT, service, settings};
use otp_lambda::error::ErrorCode;
use otp_lambda::otp::Otp;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::service::{
    Call, Caller, Reference, Service, Session, SignIn, User, VerificationRequest, VerifyRequest,
};
use otp_lambda::telemetry::{Metric, Record};
use otp_lambda::time::Millis;
use simulator::send_request;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Dollars for a million units, on demand, in us-east-1, as AWS published them in November 2024.
const WRITE: f64 = 0.625;
const READ: f64 = 0.125;

struct World {
    emulator: Emulator,
    service: Service,
    now: SystemTime,
    rows: Vec<String>,
}

impl World {
    fn new(more: &[(&str, &str)]) -> Self {
        let emulator = Emulator::new();
        emulator.measure();
        let service = service(&emulator, &Arc::default(), settings(more));
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        Self {
            emulator,
            service,
            now,
            rows: Vec::new(),
        }
    }

    fn call<'a>(&self, caller: Caller, record: &'a mut Record) -> Call<'a> {
        Call::new(caller, Millis::from(self.now), Duration::MAX, record)
    }

    async fn send(&self, caller: &Caller) -> Result<(), ErrorCode> {
        let request = send_request(&self.service, number());
        let sent = self
            .service
            .send(
                &request,
                &mut self.call(caller.clone(), &mut Record::default()),
            )
            .await;
        sent.map(drop).map_err(|error| error.code())
    }

    async fn verify(&self, otp: &str) -> Result<(), ErrorCode> {
        let otp = Otp::parse(otp, &self.service.codes()).unwrap();
        let request = VerifyRequest {
            to: number(),
            otp,
            reference: self.reference(),
        };
        let verified = self
            .service
            .verify(&request, &mut self.call(caller(), &mut Record::default()))
            .await;
        verified.map(drop).map_err(|error| error.code())
    }

    async fn status(&self, caller: Caller) {
        let mut record = Record::default();
        let mut call = self.call(caller, &mut record);
        let done = self.service.status(&self.verification(), &mut call).await;
        done.unwrap();
    }

    async fn redeem(&self) {
        let mut record = Record::default();
        let mut call = self.call(caller(), &mut record);
        let done = self.service.redeem(&self.verification(), &mut call).await;
        done.unwrap();
    }

    /// Begins a sign-in, and guesses wrong; `is_decoy` for the name of a user that does not exist. Returns whether the
    /// log says that no message was sent.
    async fn sign_in(&mut self, user: &str, is_decoy: bool) -> bool {
        let sign_in = SignIn {
            user: User::default(),
            number: number(),
            language: self.service.rules().defaults.language.clone(),
            session: Session {
                name: "session".to_owned(),
                is_decoy,
            },
        };
        let mut record = Record::default();
        let mut call = self.call(Caller::default(), &mut record);
        self.service
            .begin_sign_in(&sign_in, &mut call)
            .await
            .unwrap();
        let is_refused = record.has_counted(Metric::SignInsRefused);
        self.row(&format!("sign-in of {user}, with a look at the switches"));
        let otp = Otp::parse("000000", &self.service.codes()).unwrap();
        let mut call = self.call(Caller::default(), &mut record);
        let wrong = self
            .service
            .answer_sign_in(&sign_in, otp, "nonce", &mut call);
        assert!(wrong.await.is_err());
        self.row(&format!("wrong answer of {user}"));
        is_refused
    }

    async fn cancel(&self) {
        let mut record = Record::default();
        let mut call = self.call(caller(), &mut record);
        let done = self.service.cancel(&self.verification(), &mut call).await;
        done.unwrap();
    }

    fn reference(&self) -> Reference {
        let defaults = &self.service.rules().defaults;
        Reference::Derived {
            brand_name: defaults.brand_name.clone(),
            source: defaults.source.clone(),
        }
    }

    fn verification(&self) -> VerificationRequest {
        VerificationRequest {
            to: number(),
            reference: self.reference(),
        }
    }

    /// Adds a row with the costs since the row before.
    fn row(&mut self, operation: &str) {
        let requests = self.emulator.requests();
        let units = |read: bool| {
            let of_kind = requests.iter().filter(|request| request.is_read() == read);
            of_kind
                .map(|request| u32::try_from(request.units).unwrap())
                .sum::<u32>()
        };
        let (reads, writes) = (units(true), units(false));
        let dollars = f64::from(reads) * READ + f64::from(writes) * WRITE;
        self.rows.push(format!(
            "| {operation} | {} | {reads} | {writes} | {dollars:.3} |",
            requests.len()
        ));
    }
}

fn number() -> PhoneNumber {
    PhoneNumber::parse("+14255550142").unwrap()
}

fn caller() -> Caller {
    Caller {
        principal: Some("backend".to_owned()),
        ..Caller::default()
    }
}

/// The rows of a sign-in whose windows are full.
async fn a_refused_sign_in() -> Vec<String> {
    let mut world = World::new(&[("SIGN_IN_SHARE", "50")]);
    world.send(&caller()).await.unwrap();
    world.now += Duration::from_secs(11);
    world.emulator.requests();
    assert!(world.sign_in("a user whose windows are full", false).await);
    world.rows
}

/// The rows of requests that may be about a foreign code.
async fn foreign_codes() -> Vec<String> {
    let mut world = World::new(&[("FOREIGN_CODES", "on")]);
    assert_eq!(world.verify("000000").await, Err(ErrorCode::InvalidCode));
    world.row("verify of a foreign code, wrong, the first guess");
    assert_eq!(world.verify("000001").await, Err(ErrorCode::InvalidCode));
    world.row("verify of a foreign code, wrong, a further guess");
    world.status(caller()).await;
    world.row("status of a foreign code");
    world.verify(RIGHT).await.unwrap();
    world.row("verify of a foreign code, right");
    let mut canceled = World::new(&[("FOREIGN_CODES", "on")]);
    assert_eq!(canceled.verify("000000").await, Err(ErrorCode::InvalidCode));
    canceled.emulator.requests();
    canceled.cancel().await;
    canceled.row("cancel of a foreign code");
    world.rows.append(&mut canceled.rows);
    // The code is ours, and the setting makes the guess look at foreign codes too.
    let mut own = World::new(&[("FOREIGN_CODES", "on")]);
    own.send(&caller()).await.unwrap();
    own.emulator.requests();
    assert_eq!(own.verify("000000").await, Err(ErrorCode::InvalidCode));
    own.row("verify, wrong, with `FOREIGN_CODES=on`");
    world.rows.append(&mut own.rows);
    world.rows
}

/// The table is in ARCHITECTURE.md.
#[tokio::test]
async fn every_operation_costs_what_the_table_says() {
    let mut world = World::new(&[]);
    world.send(&caller()).await.unwrap();
    world.emulator.requests();
    assert_eq!(world.send(&caller()).await, Err(ErrorCode::ResendTooSoon));
    world.row("send, refused by a window");
    world.now += Duration::from_mins(2);
    world.send(&caller()).await.unwrap();
    // The switches are kept for ten seconds. After this time, the next send reads them again.
    world.now += Duration::from_mins(30);
    world.status(caller()).await;
    world.emulator.requests();
    world.send(&caller()).await.unwrap();
    world.row("send, with a look at the switches");
    assert_eq!(world.verify("000000").await, Err(ErrorCode::InvalidCode));
    world.row("verify, wrong");
    assert_eq!(world.verify("000000").await, Err(ErrorCode::InvalidCode));
    world.row("verify, wrong, again the same");
    world.verify(RIGHT).await.unwrap();
    world.row("verify, right");
    assert_eq!(world.verify(RIGHT).await, Err(ErrorCode::AlreadyVerified));
    world.row("verify, right, again the same");
    world.redeem().await;
    world.row("status with a claim");
    world.now += Duration::from_mins(30);
    world.status(caller()).await;
    world.row("status");
    for (kind, address) in [("IPv4", "192.0.2.2"), ("IPv6", "2001:db8::1")] {
        let address = Some(address.parse().unwrap());
        world
            .status(Caller {
                address,
                ..caller()
            })
            .await;
        world.row(&format!("status, for an {kind} address"));
    }
    let with_all = Caller {
        idempotency_key: Some("k".to_owned()),
        address: Some("192.0.2.1".parse().unwrap()),
        ..caller()
    };
    world.send(&with_all).await.unwrap();
    world.row("send, with a look at the switches, an Idempotency-Key and an address");
    world.cancel().await;
    world.row("cancel");
    world.now += Duration::from_mins(30);
    world.send(&caller()).await.unwrap();
    assert_eq!(world.verify("000000").await, Err(ErrorCode::InvalidCode));
    world.now += Duration::from_mins(5);
    world.emulator.requests();
    world.send(&caller()).await.unwrap();
    world.row("resend, after a wrong guess, with a look at the switches");

    for (user, is_decoy) in [("a user", false), ("an unknown user", true)] {
        let mut with_sign_ins = World::new(&[("SIGN_IN_SHARE", "50")]);
        assert!(!with_sign_ins.sign_in(user, is_decoy).await);
        world.rows.append(&mut with_sign_ins.rows);
    }
    world.rows.append(&mut a_refused_sign_in().await);
    world.rows.append(&mut foreign_codes().await);

    let architecture = include_str!("../../ARCHITECTURE.md");
    let heading = "| operation | requests | read units | write units | dollars per million |\n|---|---|---|---|---|\n";
    let (_, table) = architecture.split_once(heading).unwrap();
    let printed: Vec<&str> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(printed, world.rows, "\n{}\n", world.rows.join("\n"));
}

/// The pages about costs multiply these dollars.
#[test]
fn the_pages_about_costs_have_the_dollars_of_the_table() {
    let architecture = include_str!("../../ARCHITECTURE.md");
    let which = include_str!("../../docs/which.md");
    let costs = include_str!("../../docs/costs.md");
    let resend = "resend, after a wrong guess, with a look at the switches";
    for (page, name, operation) in [
        (
            which,
            "sign-ins",
            "sign-in of a user, with a look at the switches",
        ),
        (which, "right answers", "verify, right"),
        (which, "answers `resend`", resend),
        (which, "wrong answers", "wrong answer of a user"),
        (costs, "sends", "send, with a look at the switches"),
        (costs, "right guesses", "verify, right"),
        (costs, "wrong guesses", "verify, wrong"),
    ] {
        let row = |page: &str, begin: &str| {
            let mut rows = page.lines().filter(|line| line.starts_with(begin));
            rows.next().unwrap_or_else(|| panic!("{begin}")).to_owned()
        };
        let own = row(architecture, &format!("| {operation} |"));
        let own: f64 = own.split('|').nth(5).unwrap().trim().parse().unwrap();
        let used = row(page, &format!("| DynamoDB, {name} |"));
        let used = used.split(['×', '/']).nth(1).unwrap();
        let used: f64 = used.trim().parse().unwrap();
        assert!(
            (used - own).abs() < 1e-9,
            "{name}: {used}, {operation}: {own}"
        );
    }
}
