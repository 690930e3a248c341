//! The requests to the table that a caller waits for, one after the other.

use crate::emulator::{Emulator, Fault};
use crate::service::{Calls, RIGHT, service, settings};
use otp_lambda::error::ErrorCode;
use otp_lambda::otp::Otp;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::service::{Call, Caller, Reference, Service, VerificationRequest, VerifyRequest};
use otp_lambda::telemetry::Record;
use otp_lambda::time::Millis;
use simulator::send_request;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Each request to the table takes this long, by a clock that stands still meanwhile.
const REQUEST: Duration = Duration::from_millis(20);

/// Long enough for the switches to be read again. The connections are still open.
const LATER: Duration = Duration::from_secs(15);

/// Long enough for the connections to be closed.
const SILENCE: Duration = Duration::from_secs(21);

struct World {
    emulator: Emulator,
    service: Service,
    now: Millis,
    sends: u32,
    rows: Vec<String>,
}

impl World {
    fn new(changes: &[(&str, &str)]) -> Self {
        let emulator = Emulator::new();
        let service = service(&emulator, &Arc::<Calls>::default(), settings(changes));
        emulator.choose_faults(|_| Fault::Delay(REQUEST));
        Self {
            emulator,
            service,
            now: Millis(1_800_000_000_000),
            sends: 0,
            rows: Vec::new(),
        }
    }

    fn call<'a>(&self, caller: &Caller, record: &'a mut Record) -> Call<'a> {
        Call::new(caller.clone(), self.now, Duration::MAX, record)
    }

    /// Adds a row with the requests of the last request, which has begun at this time.
    fn row(&mut self, request: &str, begun: Instant) {
        let trips = begun.elapsed().as_millis() / REQUEST.as_millis();
        let requests = self.emulator.requests().len();
        self.rows
            .push(format!("| {request} | {requests} | {trips} |"));
    }

    async fn send(&mut self, request: &str, caller: &Caller) {
        self.send_after(LATER, request, caller).await;
    }

    async fn send_after(&mut self, time: Duration, request: &str, caller: &Caller) {
        self.now = self.now.plus(time);
        self.sends += 1;
        let begun = Instant::now();
        let mut record = Record::default();
        let mut call = self.call(caller, &mut record);
        let asked = send_request(&self.service, self.number());
        self.service.send(&asked, &mut call).await.unwrap();
        self.row(request, begun);
    }

    async fn verify(&mut self, request: &str, otp: &str, caller: &Caller) {
        let begun = Instant::now();
        let mut record = Record::default();
        let mut call = self.call(caller, &mut record);
        let asked = VerifyRequest {
            to: self.number(),
            otp: Otp::parse(otp, &self.service.codes()).unwrap(),
            reference: self.reference(),
        };
        let verified = self.service.verify(&asked, &mut call).await;
        match verified.map_err(|error| error.code()) {
            Ok(_) => assert_eq!(otp, RIGHT),
            Err(code) => assert_eq!(code, ErrorCode::InvalidCode),
        }
        self.row(request, begun);
    }

    async fn status(&mut self, request: &str) {
        let begun = Instant::now();
        let mut record = Record::default();
        let mut call = self.call(&caller(), &mut record);
        let asked = VerificationRequest {
            to: self.number(),
            reference: self.reference(),
        };
        self.service.status(&asked, &mut call).await.unwrap();
        self.row(request, begun);
    }

    /// The number of the last send.
    fn number(&self) -> PhoneNumber {
        PhoneNumber::parse(&format!("+1425555{:04}", self.sends)).unwrap()
    }

    fn reference(&self) -> Reference {
        let defaults = &self.service.rules().defaults;
        Reference::Derived {
            brand_name: defaults.brand_name.clone(),
            source: defaults.source.clone(),
        }
    }
}

fn caller() -> Caller {
    Caller {
        principal: Some("backend".to_owned()),
        ..Caller::default()
    }
}

fn from(address: &str) -> Caller {
    Caller {
        address: Some(address.parse().unwrap()),
        ..caller()
    }
}

/// The table is in ARCHITECTURE.md.
#[tokio::test(start_paused = true)]
async fn each_request_waits_as_often_as_the_table_says() {
    let mut world = World::new(&[]);
    world.send("send", &caller()).await;
    world.verify("wrong guess", "000000", &caller()).await;
    world.verify("right guess", RIGHT, &caller()).await;
    world.status("status").await;
    let with_key = |caller, key: &str| Caller {
        idempotency_key: Some(key.to_owned()),
        ..caller
    };
    let key = "send with an `Idempotency-Key`";
    world.send(key, &with_key(caller(), "a")).await;
    let both = "send with an `Idempotency-Key` and an IPv4 address";
    world.send(both, &with_key(from("192.0.2.1"), "b")).await;
    let both = "send with an `Idempotency-Key` and an IPv6 address";
    world.send(both, &with_key(from("2001:db8::1"), "c")).await;
    let guess = "wrong guess with an IPv4 address";
    world.verify(guess, "000000", &from("192.0.2.1")).await;
    let mut countries = World::new(&[("ALLOWED_COUNTRIES", "US,JM")]);
    let budgets = "send, if several countries are served";
    countries.send(budgets, &caller()).await;
    world.rows.append(&mut countries.rows);
    let mut tight = World::new(&[("PREFIX_LIMITS", "19/1h")]);
    let prefix = "send, if its prefix has room for fewer than 20";
    tight.send(prefix, &caller()).await;
    world.rows.append(&mut tight.rows);
    let silence = "send after 20 seconds without a send";
    world.send_after(SILENCE, silence, &caller()).await;

    let architecture = include_str!("../../ARCHITECTURE.md");
    let heading =
        "| request | requests to the table | of these, one after the other |\n|---|---|---|\n";
    let (_, table) = architecture.split_once(heading).unwrap_or_default();
    let printed: Vec<&str> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(printed, world.rows, "\n{}\n", world.rows.join("\n"));
}
