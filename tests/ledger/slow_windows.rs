//! Windows on a slow table. The steps before a message take seconds, and the window begins right before it is sent.

use crate::emulator::{Emulator, Fault, Request};
use crate::service::{Calls, WIDE, service, settings};
use futures_util::future::join_all;
use otp_lambda::otp::Otp;
use otp_lambda::phone::PhoneNumber;
use otp_lambda::service::{Call, Caller, Reference, Session, SignIn, User, VerifyRequest};
use otp_lambda::telemetry::Record;
use otp_lambda::time::Millis;
use simulator::send_request;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const WINDOW: Duration = Duration::from_secs(3);

/// Two steps lie between the time of a place and its message: the one that takes the place, and the record.
const STEPS: u32 = 2;

fn backend_call(now: Millis, clock_runs: bool, record: &mut Record) -> Call<'_> {
    let caller = Caller {
        principal: Some("backend".to_owned()),
        ..Caller::default()
    };
    let mut call = Call::new(caller, now, Duration::MAX, record);
    call.clock_runs = clock_runs;
    call
}

/// Asks for a code for one number every tenth of a second, and returns the shortest time between two messages. The
/// table is slow: `delay` gets a request and the time since the beginning, and returns how late the response is.
async fn shortest_gap(delay: fn(&Request, Duration) -> Duration, clock_runs: bool) -> Duration {
    let emulator = Emulator::new();
    let calls = Arc::new(Calls::default());
    let limits = [WIDE.as_slice(), &[("SEND_LIMITS", "1/3s")]].concat();
    let service = service(&emulator, &calls, settings(&limits));
    let began = Instant::now();
    emulator.choose_faults(move |request| Fault::Late(delay(request, began.elapsed())));
    let sends = (0..200).map(async |nth| {
        sleep(Duration::from_millis(100) * nth).await;
        let now = Millis(1_800_000_000_000).plus(began.elapsed());
        let mut record = Record::default();
        let mut call = backend_call(now, clock_runs, &mut record);
        let to = PhoneNumber::parse("+14255550142").unwrap();
        let _ = service.send(&send_request(&service, to), &mut call).await;
    });
    join_all(sends).await;
    let mut sent = calls.sent_at.lock().unwrap().clone();
    sent.sort_unstable();
    assert!(sent.len() >= 4, "{sent:?}");
    let gaps = sent.windows(2).map(|two| two[1] - two[0]);
    gaps.min().unwrap()
}

const SLOW: Duration = Duration::from_millis(900);

/// A slow table whose reads become fast after a while. The steps before a place then take less time than before.
fn slow(request: &Request, after: Duration) -> Duration {
    if request.is_read() && after > Duration::from_secs(2) {
        Duration::from_millis(5)
    } else {
        SLOW
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_holds_on_a_slow_table() {
    let gap = shortest_gap(slow, true).await;
    assert!(gap >= WINDOW, "{gap:?}");
}

/// The control: by the time of the invocation, messages come sooner.
#[tokio::test(start_paused = true)]
async fn by_the_time_of_the_invocation_a_window_does_not_hold() {
    let gap = shortest_gap(slow, false).await;
    assert!(gap < WINDOW, "{gap:?}");
}

/// If the table becomes fast again, the next message comes sooner by the two steps at most. docs/limits.md says so.
#[tokio::test(start_paused = true)]
async fn a_table_that_recovers_costs_two_steps_at_most() {
    let recovers = |_: &Request, after: Duration| {
        let is_slow = (after.as_secs() / 5).is_multiple_of(2);
        if is_slow {
            SLOW
        } else {
            Duration::from_millis(5)
        }
    };
    let gap = shortest_gap(recovers, true).await;
    assert!(gap + SLOW * STEPS >= WINDOW, "{gap:?}");
    let control = shortest_gap(recovers, false).await;
    assert!(control < gap, "{control:?} {gap:?}");
}

/// Signs in on a slow table and asks again at the shown time, when the table is fast. Returns how many messages were sent.
async fn messages_of_a_sign_in_that_asks_again(early: Duration) -> usize {
    let emulator = Emulator::new();
    let calls = Arc::new(Calls::default());
    let limits = [("SEND_LIMITS", "1/30s"), ("SIGN_IN_SHARE", "50")];
    let service = service(
        &emulator,
        &calls,
        settings(&[WIDE.as_slice(), &limits].concat()),
    );
    let sign_in = SignIn {
        user: User {
            pool: "pool".to_owned(),
            client: "client".to_owned(),
            name: "alice".to_owned(),
        },
        number: PhoneNumber::parse("+14255550142").unwrap(),
        language: service.rules().defaults.language.clone(),
        session: Session {
            name: "session".to_owned(),
            is_decoy: false,
        },
    };
    let call = |now, record| {
        let mut call = Call::new(Caller::default(), now, Duration::MAX, record);
        call.clock_runs = true;
        call
    };
    let mut records = [Record::default(), Record::default()];
    let [first, second] = &mut records;
    emulator.choose_faults(|_| Fault::Late(SLOW));
    let now = Millis(1_800_000_000_000);
    let shown = service.begin_sign_in(&sign_in, &mut call(now, first)).await;
    emulator.clear_faults();
    let now = shown.unwrap().resend.minus(early);
    let _ = service
        .resend_for_sign_in(&sign_in, "nonce", &mut call(now, second))
        .await;
    calls.sends.load(Ordering::Relaxed)
}

/// The steps before a place is taken do not move the time at which a sign-in can ask again.
#[tokio::test(start_paused = true)]
async fn a_sign_in_gets_its_next_code_at_the_shown_time() {
    assert_eq!(
        messages_of_a_sign_in_that_asks_again(Duration::ZERO).await,
        2
    );
    let early = Duration::from_millis(1);
    assert_eq!(messages_of_a_sign_in_that_asks_again(early).await, 1);
}

/// Guesses at a foreign code on a slow table, and three seconds later at another when the table is fast. Returns how many
/// guesses the provider was asked about.
async fn guesses_at_two_foreign_codes(clock_runs: bool) -> usize {
    let emulator = Emulator::new();
    let calls = Arc::new(Calls::default());
    let limits = [("SEND_LIMITS", "1/3s"), ("FOREIGN_CODES", "on")];
    let service = service(&emulator, &calls, settings(&limits));
    let guess = async |source: &str, now| {
        let request = VerifyRequest {
            to: PhoneNumber::parse("+14255550142").unwrap(),
            otp: Otp::parse("000000", &service.codes()).unwrap(),
            reference: Reference::Derived {
                brand_name: "ExampleCorp".to_owned(),
                source: source.to_owned(),
            },
        };
        let mut record = Record::default();
        let mut call = backend_call(now, clock_runs, &mut record);
        assert!(service.verify(&request, &mut call).await.is_err());
    };
    let now = Millis(1_800_000_000_000);
    emulator.choose_faults(|_| Fault::Late(SLOW));
    guess("one", now).await;
    emulator.choose_faults(|_| Fault::None);
    guess("two", now.plus(WINDOW)).await;
    calls.verifies.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_window_of_foreign_codes_begins_when_its_place_is_taken() {
    assert_eq!(guesses_at_two_foreign_codes(true).await, 1);
    // The control: by the time of the invocation, there is room again.
    assert_eq!(guesses_at_two_foreign_codes(false).await, 2);
}
