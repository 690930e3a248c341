//! No item of the table grows without bound. There are two dangers. No window limits the requests about a test number,
//! but the items of a test number must not grow. An ordinary number can be verified every day for years, and its items
//! must not grow, either.

use crate::emulator::Emulator;
use crate::service::{Calls, RIGHT, service, settings};
use otp_lambda::otp::Otp;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::service::{
    Call, Caller, Reference, Service, Session, SignIn, User, VerificationRequest, VerifyRequest,
};
use otp_lambda::telemetry::Record;
use otp_lambda::time::Millis;
use simulator::send_request;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// Limits that no round reaches.
const WIDE: [(&str, &str); 5] = [
    ("SEND_LIMITS", "20/1s"),
    ("PREFIX_LIMITS", "none"),
    ("BUDGETS", "1000000/24h"),
    ("SIGN_IN_SHARE", "50"),
    ("TEST_NUMBERS", "+14255550142=123456@2999-12-31"),
];

const TEST_NUMBER: &str = "+14255550142";
const NUMBER: &str = "+14255550143";

struct World {
    emulator: Emulator,
    service: Service,
    now: Millis,
}

impl World {
    fn new(calls: Calls, more: &[(&str, &str)]) -> Self {
        let emulator = Emulator::new();
        let all = [more, &WIDE].concat();
        let service = service(&emulator, &Arc::new(calls), settings(&all));
        let now = Millis(1_800_000_000_000);
        Self {
            emulator,
            service,
            now,
        }
    }

    fn reference(&self) -> Reference {
        let defaults = &self.service.rules().defaults;
        Reference::Derived {
            brand_name: defaults.brand_name.clone(),
            source: defaults.source.clone(),
        }
    }

    async fn send(&self, to: &str) {
        let request = send_request(&self.service, number(to));
        let mut record = Record::default();
        let mut call = Call::new(backend(), self.now, Duration::MAX, &mut record);
        self.service.send(&request, &mut call).await.unwrap();
    }

    async fn guess(&self, to: &str, code: &str) -> bool {
        let request = VerifyRequest {
            to: number(to),
            otp: Otp::parse(code, &self.service.codes()).unwrap(),
            reference: self.reference(),
        };
        let mut record = Record::default();
        let mut call = Call::new(backend(), self.now, Duration::MAX, &mut record);
        self.service.verify(&request, &mut call).await.is_ok()
    }

    /// A code that is sent again, guessed wrong, verified and redeemed.
    async fn verify_over_http(&self, to: &str) {
        self.send(to).await;
        self.send(to).await;
        assert!(!self.guess(to, "000000").await);
        assert!(self.guess(to, RIGHT).await);
        let request = VerificationRequest {
            to: number(to),
            reference: self.reference(),
        };
        let mut record = Record::default();
        let mut call = Call::new(backend(), self.now, Duration::MAX, &mut record);
        self.service.redeem(&request, &mut call).await.unwrap();
    }

    /// A sign-in with a wrong answer and the right one.
    async fn sign_in(&self, to: &str, is_decoy: bool) {
        let sign_in = SignIn {
            user: User::default(),
            number: number(to),
            language: self.service.rules().defaults.language.clone(),
            session: Session {
                name: self.now.0.to_string(),
                is_decoy,
            },
        };
        let mut record = Record::default();
        let mut call = Call::new(Caller::default(), self.now, Duration::MAX, &mut record);
        let begun = self.service.begin_sign_in(&sign_in, &mut call).await;
        begun.unwrap();
        for (code, nonce, is_right) in [("000000", "first", false), (RIGHT, "second", !is_decoy)] {
            let otp = Otp::parse(code, &self.service.codes()).unwrap();
            let mut call = Call::new(Caller::default(), self.now, Duration::MAX, &mut record);
            let answer = self
                .service
                .answer_sign_in(&sign_in, otp, nonce, &mut call)
                .await;
            assert_eq!(answer.is_ok(), is_right);
        }
    }

    /// Does many rounds. Returns by how many bytes the largest item has grown between the middle round and the last.
    /// The record of a number has at most twenty places for messages. By the middle round, all twenty are full.
    async fn growth(&mut self, rounds: u32, pause: Duration, round: impl AsyncFn(&Self)) -> usize {
        let mut half = 0;
        for n in 1..=rounds {
            round(self).await;
            self.now = self.now.plus(pause);
            if n == rounds / 2 {
                half = self.largest();
            }
        }
        self.largest().saturating_sub(half)
    }

    fn largest(&self) -> usize {
        let items = self.emulator.items();
        items
            .iter()
            .map(|item| item.to_string().len())
            .max()
            .unwrap()
    }
}

fn number(to: &str) -> PhoneNumber {
    PhoneNumber::parse(to).unwrap()
}

fn backend() -> Caller {
    Caller {
        principal: Some("backend".to_owned()),
        ..Caller::default()
    }
}

/// Digits that a count or a time may have more.
const DIGITS: usize = 16;

#[tokio::test]
async fn a_test_number_can_be_verified_without_end() {
    let mut world = World::new(Calls::default(), &[]);
    let grown = world
        .growth(100, MINUTE, async |world| {
            world.verify_over_http(TEST_NUMBER).await;
            world.sign_in(TEST_NUMBER, false).await;
        })
        .await;
    assert!(grown <= DIGITS, "{grown} bytes more");
}

#[tokio::test]
async fn an_ordinary_number_can_be_verified_every_day() {
    let mut world = World::new(Calls::default(), &[]);
    let grown = world
        .growth(100, DAY, async |world| {
            world.verify_over_http(NUMBER).await;
            world.sign_in(NUMBER, false).await;
        })
        .await;
    assert!(grown <= DIGITS, "{grown} bytes more");
}

#[tokio::test]
async fn sign_ins_of_nobody_fill_no_item() {
    let mut world = World::new(Calls::default(), &[]);
    let round = async |world: &World| world.sign_in(NUMBER, true).await;
    let grown = world.growth(100, 30 * MINUTE, round).await;
    assert!(grown <= DIGITS, "{grown} bytes more");
}

#[tokio::test]
async fn a_foreign_code_can_be_verified_every_day() {
    let mut world = World::new(Calls::default(), &[("FOREIGN_CODES", "on")]);
    let round = async |world: &World| assert!(world.guess(NUMBER, RIGHT).await);
    let grown = world.growth(100, DAY, round).await;
    assert!(grown <= DIGITS, "{grown} bytes more");
}

/// The control: an item holds the used codes of two hours. It grows until then, and no longer.
#[tokio::test]
async fn used_codes_fill_an_item_for_two_hours() {
    let calls = || Calls {
        knows_all_codes: true,
        ..Calls::default()
    };
    let round = async |world: &World| {
        world.send(NUMBER).await;
        let code = format!("{:06}", world.now.0 / 60_000 % 1_000_000);
        assert!(world.guess(NUMBER, &code).await);
    };
    let grown = World::new(calls(), &[]).growth(80, 2 * MINUTE, round).await;
    assert!(grown > 1_000, "{grown} bytes more");
    let grown = World::new(calls(), &[])
        .growth(160, 2 * MINUTE, round)
        .await;
    assert!(grown <= DIGITS, "{grown} bytes more");
}
