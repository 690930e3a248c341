//! Tries every fault at every step of every operation: a crash, a lost response, a refusal or a delay. After the fault,
//! the client retries.

use fastrand::Rng;
use otp_lambda::error::ErrorCode;
use otp_lambda::policy::{Budget, Budgets, Rate, SendLimits};
use simulator::is_full;
use std::time::Duration;

use crate::actors::{Intent, What, Who};
use crate::books::{Fault, Invariant, Plan, ProviderCode, Violation};
use crate::naive::Naive;
use crate::sim::{Outcome, Setup, Sim};

/// The faults of a step.
const FAULTS: [Fault; 5] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::AnswerLost,
    Fault::Refused,
    Fault::Late,
];

/// The lengths of time that a client may wait before a retry. After the first, hardly any time has passed. After the
/// second, a guess that has no answer yet may be retried. After the third, a request that still holds an idempotency
/// key counts as crashed.
const WAITS: [Duration; 3] = [
    Duration::from_millis(1),
    Duration::from_secs(6),
    Duration::from_secs(31),
];

/// The number of crashes in a full run.
const CRASHES: u32 = 17_280;

/// An operation, with the earlier requests of its client.
struct Case {
    name: &'static str,
    derived: bool,
    attempts: u8,
    prepare: fn(&mut Sim) -> Intent,
}

const CASES: [Case; 18] = [
    Case {
        name: "send",
        derived: true,
        attempts: 3,
        prepare: |_| send(None),
    },
    Case {
        name: "send under a key",
        derived: false,
        attempts: 3,
        prepare: |_| send(Some("key")),
    },
    Case {
        name: "send under a key, derived",
        derived: true,
        attempts: 3,
        prepare: |_| send(Some("key")),
    },
    Case {
        name: "resend",
        derived: true,
        attempts: 3,
        prepare: |sim| resend(sim, None),
    },
    Case {
        name: "resend under a key",
        derived: false,
        attempts: 3,
        prepare: |sim| resend(sim, Some("key")),
    },
    Case {
        name: "second resend",
        derived: true,
        attempts: 3,
        prepare: second_resend,
    },
    Case {
        name: "resend after a wrong guess",
        derived: true,
        attempts: 2,
        prepare: resend_after_a_guess,
    },
    Case {
        name: "send after a success",
        derived: true,
        attempts: 3,
        prepare: send_after_a_success,
    },
    Case {
        name: "verify",
        derived: false,
        attempts: 3,
        prepare: |sim| guess_right(sim, None),
    },
    Case {
        name: "verify under a key",
        derived: true,
        attempts: 3,
        prepare: |sim| guess_right(sim, Some("guess")),
    },
    Case {
        name: "verify a wrong code",
        derived: true,
        attempts: 3,
        prepare: |sim| guess_wrong(sim, None),
    },
    Case {
        name: "verify with the only attempt",
        derived: true,
        attempts: 1,
        prepare: |sim| guess_right(sim, Some("g")),
    },
    Case {
        name: "verify with the last attempt",
        derived: false,
        attempts: 2,
        prepare: last_guess_right,
    },
    Case {
        name: "a wrong last attempt",
        derived: true,
        attempts: 1,
        prepare: |sim| guess_wrong(sim, Some("g")),
    },
    Case {
        name: "verify other software's code",
        derived: true,
        attempts: 3,
        prepare: |sim| guess_of_other(sim, true),
    },
    Case {
        name: "verify other software's code wrongly",
        derived: true,
        attempts: 3,
        prepare: |sim| guess_of_other(sim, false),
    },
    Case {
        name: "cancel",
        derived: true,
        attempts: 3,
        prepare: cancel,
    },
    Case {
        name: "claim",
        derived: false,
        attempts: 3,
        prepare: redeem,
    },
];

fn intent(what: What, key: Option<&str>) -> Intent {
    let who = Who {
        principal: Some("backend-1"),
        address: None,
        key: key.map(str::to_owned),
        session: None,
    };
    Intent {
        what,
        number: 0,
        reference: None,
        otp: String::new(),
        attempts: 0,
        who,
    }
}

fn send(key: Option<&str>) -> Intent {
    intent(What::Send, key)
}

/// Sends a code, and returns the right guess at it.
fn sent(sim: &mut Sim) -> Intent {
    assert!(does(sim, &send(None)).is_none());
    owner_of_the_newest(sim)
}

fn owner_of_the_newest(sim: &Sim) -> Intent {
    owner(sim.books.lock().codes.last().unwrap())
}

fn owner(code: &ProviderCode) -> Intent {
    Intent {
        reference: Some(code.reference.clone()),
        otp: code.code.clone(),
        ..intent(What::Verify, None)
    }
}

fn resend(sim: &mut Sim, key: Option<&str>) -> Intent {
    let reference = sent(sim).reference;
    sim.advance(Duration::from_secs(31));
    Intent {
        reference,
        ..send(key)
    }
}

fn second_resend(sim: &mut Sim) -> Intent {
    let again = resend(sim, None);
    assert!(does(sim, &again).is_none());
    sim.advance(Duration::from_secs(91));
    again
}

fn resend_after_a_guess(sim: &mut Sim) -> Intent {
    let again = resend(sim, None);
    let wrong = Intent {
        what: What::Verify,
        otp: "000000".to_owned(),
        ..again.clone()
    };
    assert_eq!(does(sim, &wrong), Some(ErrorCode::InvalidCode));
    again
}

fn send_after_a_success(sim: &mut Sim) -> Intent {
    let right = sent(sim);
    assert!(does(sim, &right).is_none());
    sim.advance(Duration::from_secs(31));
    Intent {
        reference: right.reference,
        ..send(None)
    }
}

fn guess_right(sim: &mut Sim, key: Option<&str>) -> Intent {
    let Intent { reference, otp, .. } = sent(sim);
    Intent {
        reference,
        otp,
        ..intent(What::Verify, key)
    }
}

fn guess_wrong(sim: &mut Sim, key: Option<&str>) -> Intent {
    Intent {
        otp: "000000".to_owned(),
        ..guess_right(sim, key)
    }
}

fn last_guess_right(sim: &mut Sim) -> Intent {
    let right = guess_right(sim, None);
    assert_eq!(
        does(
            sim,
            &Intent {
                otp: "000001".to_owned(),
                ..right.clone()
            }
        ),
        Some(ErrorCode::InvalidCode)
    );
    right
}

fn guess_of_other(sim: &mut Sim, right: bool) -> Intent {
    sim.books.lock().other_software_sends(0);
    let owner = owner_of_the_newest(sim);
    if right {
        owner
    } else {
        Intent {
            otp: "000000".to_owned(),
            ..owner
        }
    }
}

fn cancel(sim: &mut Sim) -> Intent {
    Intent {
        what: What::Cancel,
        ..sent(sim)
    }
}

fn redeem(sim: &mut Sim) -> Intent {
    let right = sent(sim);
    assert!(does(sim, &right).is_none());
    Intent {
        reference: right.reference,
        ..intent(What::Claim, Some("claim"))
    }
}

/// Performs an operation, and returns its error code, if it fails.
fn does(sim: &mut Sim, intent: &Intent) -> Option<ErrorCode> {
    let attempts = sim.books.lock().setup.attempts;
    let outcome = sim.perform(&Intent {
        attempts,
        ..intent.clone()
    });
    assert!(outcome.is_ok() || outcome.code().is_some(), "it crashed");
    outcome.code()
}

fn setup(case: &Case, kills_first: bool, accepts_twice: bool, naive: Option<Naive>) -> Setup {
    Setup {
        numbers: vec!["+14255550142"],
        derived: case.derived,
        authenticated: Some(true),
        send_limits: SendLimits::parse("1/30s,2/90s,3/10m,6/24h").unwrap(),
        prefix_limits: Rate::parse_list("50/1h").unwrap(),
        source_limits: Vec::new(),
        budgets: Budgets {
            all: Budget::parse_list("500/1h,2000/24h").unwrap(),
            ..Budgets::default()
        },
        attempts: case.attempts,
        validity_minutes: 10,
        kills_first,
        accepts_twice,
        provider_counts: false,
        lax_expiry: false,
        instances: 1,
        plan: Plan::Never,
        operations: 0,
        most_at_once: 1,
        sign_ins: false,
        siege: false,
        naive,
        twin: false,
    }
}

/// A fault, and the circumstances of the retry.
#[derive(Debug, Clone, Copy)]
struct Crash {
    step: u32,
    fault: Fault,
    wait: Duration,
    kills_first: bool,
    accepts_twice: bool,
    /// Whether the client spends all attempts in the end. If not, it verifies the code.
    exhaust: bool,
    naive: Option<Naive>,
}

/// `None` if the operation ended before the step.
fn crash_at(case: &Case, crash: &Crash, trace: bool) -> Option<Sim> {
    let setup = setup(case, crash.kills_first, crash.accepts_twice, crash.naive);
    let mut sim = Sim::new(Rng::with_seed(u64::from(crash.step)), setup, trace);
    let intent = (case.prepare)(&mut sim);
    let intent = Intent {
        attempts: case.attempts,
        ..intent
    };
    let operation = sim.books.lock().operations.len();
    sim.set_plan(Plan::At {
        operation,
        step: crash.step,
        fault: crash.fault,
    });
    let first = sim.perform(&intent);
    sim.set_plan(Plan::Never);
    if sim.books.lock().counts.sum() == 0 {
        return None;
    }
    if sim.books.lock().operations[operation].went_wrong == Some("consume")
        && !matches!(first, Outcome::Died)
    {
        // The provider does not accept the code a second time. The service must retry this one step.
        assert!(first.is_ok(), "{}: {:?}", case.name, first.code());
    }
    sim.advance(crash.wait);
    if !first.is_ok() {
        let again = does(&mut sim, &intent);
        // Late steps happen after the retry, unless the retry itself comes much later.
        sim.do_all_late();
        if matches!(intent.what, What::Cancel | What::Claim) {
            assert_eq!(again, None, "{}: tried again", case.name);
        }
        if again == Some(ErrorCode::VerificationInProgress) {
            sim.advance(Duration::from_secs(6));
            does(&mut sim, &intent);
        }
    }
    sim.do_all_late();
    if crash.exhaust {
        // Here the books check that the provider is not asked more often than there are attempts.
        let none = sim.books.lock().codes.is_empty();
        if let Some(owner) = (!none).then(|| owner_of_the_newest(&sim)) {
            for guess in 0..u32::from(case.attempts) + 2 {
                does(
                    &mut sim,
                    &Intent {
                        otp: format!("0{guess:05}"),
                        ..owner.clone()
                    },
                );
            }
        }
    } else {
        sim.advance(Duration::from_secs(6));
        sim.use_codes();
    }
    // A used code must not verify again.
    let used: Vec<_> = sim
        .books
        .lock()
        .codes
        .iter()
        .filter(|code| code.uses > 0)
        .map(owner)
        .collect();
    for guess in used {
        does(&mut sim, &guess);
    }
    Some(sim)
}

/// Crashes an operation at every step, until an invariant is violated. Returns the number of crashes, and of steps.
fn crash_everywhere(case: &Case, naive: Option<Naive>) -> Result<(u32, u32), (Violation, Crash)> {
    let full = is_full() || naive.is_some();
    let (mut crashes, mut steps) = (0, 0);
    let bools = [false, true];
    let ends = bools
        .into_iter()
        .flat_map(|exhaust| FAULTS.map(|fault| (exhaust, fault)));
    let ends = ends.flat_map(|(exhaust, fault)| WAITS.map(|wait| (exhaust, fault, wait)));
    for (exhaust, fault, wait) in ends {
        for (kills_first, accepts_twice) in bools
            .into_iter()
            .flat_map(|first| bools.map(|twice| (first, twice)))
            .filter(|both| full || *both == (exhaust, !exhaust))
        {
            for step in 0.. {
                let crash = Crash {
                    step,
                    fault,
                    wait,
                    kills_first,
                    accepts_twice,
                    exhaust,
                    naive,
                };
                let Some(sim) = crash_at(case, &crash, false) else {
                    steps = steps.max(step);
                    break;
                };
                crashes += 1;
                if let Some(violation) = sim.violation() {
                    return Err((violation, crash));
                }
            }
        }
    }
    Ok((crashes, steps))
}

fn story(case: &Case, crash: &Crash) -> String {
    let sim = crash_at(case, crash, true).unwrap();
    let lines = sim.books.lock().last_lines(60);
    format!("{}: {crash:?}\n{lines}", case.name)
}

#[test]
fn a_crash_at_any_step_and_a_retry_violate_no_invariant() {
    let mut sum = 0;
    for case in &CASES {
        match crash_everywhere(case, None) {
            Ok((crashes, steps)) => {
                println!("{}: {steps} steps, {crashes} crashes", case.name);
                sum += crashes;
            }
            Err((violation, crash)) => panic!("{violation:?}\n{}", story(case, &crash)),
        }
    }
    println!("{sum} crashes");
    if is_full() {
        assert_eq!(sum, CRASHES);
    }
}

#[test]
fn crash_injection_catches_misordered_steps() {
    // A small run tries only the operation in which a full run notices the broken rule.
    for (naive, operation, expected) in [
        (
            Naive::TakesOverPendingKeys,
            "send under a key",
            Invariant::I4,
        ),
        (Naive::FailsRefusedResends, "resend", Invariant::Liveness),
        (Naive::ChargesAfterAsking, "verify", Invariant::I1),
        (Naive::WritesBehind, "send", Invariant::I5),
    ] {
        let seen = CASES
            .iter()
            .filter(|case| is_full() || case.name == operation)
            .find_map(|case| Some((case, crash_everywhere(case, Some(naive)).err()?)));
        let (case, (violation, crash)) =
            seen.unwrap_or_else(|| panic!("{naive:?} is never noticed"));
        println!(
            "{naive:?}: {}, {:?} at step {}: {}",
            case.name, crash.fault, crash.step, violation.what
        );
        assert_eq!(violation.invariant, expected, "{}", story(case, &crash));
    }
}
