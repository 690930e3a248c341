//! A death, a lost answer, a refusal or a delay at every single step of every operation, and its client trying again.

use fastrand::Rng;
use otp_lambda::error::ErrorCode;
use otp_lambda::policy::{Budget, Budgets, Rate, SendLimits};
use std::time::Duration;

use crate::actors::{Intent, What, Who};
use crate::books::{Fault, Invariant, Plan, ProviderCode, Violation};
use crate::naive::Naive;
use crate::sim::{Outcome, Setup, Sim};

/// What is done to a step.
const FAULTS: [Fault; 5] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::AnswerLost,
    Fault::Refused,
    Fault::Late,
];

/// When the client tries again: at once, after a guess in the middle of its answer is given up, after a key is.
const WAITS: [Duration; 3] = [
    Duration::from_millis(1),
    Duration::from_secs(6),
    Duration::from_secs(31),
];

/// How many there are in all.
const DEATHS: u32 = 14_760;

/// What is done to an operation, and what its client had done before.
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
        name: "the same, wrong",
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

/// Sends a code, and returns what its owner can do with it.
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

/// Does it, and returns why it was refused, if it was.
fn does(sim: &mut Sim, intent: &Intent) -> Option<ErrorCode> {
    let attempts = sim.books.lock().setup.attempts;
    let outcome = sim.perform(&Intent {
        attempts,
        ..intent.clone()
    });
    assert!(outcome.is_ok() || outcome.code().is_some(), "it died");
    outcome.code()
}

fn setup(case: &Case, kills_first: bool, takes_twice: bool, naive: Option<Naive>) -> Setup {
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
        takes_twice,
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

/// One death, and what follows.
#[derive(Debug, Clone, Copy)]
struct Death {
    step: u32,
    fault: Fault,
    wait: Duration,
    kills_first: bool,
    takes_twice: bool,
    /// Whether all attempts are used up in the end, or the code by its owner.
    exhaust: bool,
    naive: Option<Naive>,
}

/// Nothing if the operation was over before.
fn dies(case: &Case, death: &Death, trace: bool) -> Option<Sim> {
    let setup = setup(case, death.kills_first, death.takes_twice, death.naive);
    let mut sim = Sim::new(Rng::with_seed(u64::from(death.step)), setup, trace);
    let intent = (case.prepare)(&mut sim);
    let intent = Intent {
        attempts: case.attempts,
        ..intent
    };
    let operation = sim.books.lock().operations.len();
    sim.set_plan(Plan::At {
        operation,
        step: death.step,
        fault: death.fault,
    });
    let first = sim.perform(&intent);
    sim.set_plan(Plan::Never);
    if sim.books.lock().counts.sum() == 0 {
        return None;
    }
    if sim.books.lock().operations[operation].went_wrong == Some("consume")
        && !matches!(first, Outcome::Died)
    {
        // The code is used up at the provider: this is the one step that is tried again at once.
        assert!(first.is_ok(), "{}: {:?}", case.name, first.code());
    }
    sim.advance(death.wait);
    if !first.is_ok() {
        let again = does(&mut sim, &intent);
        // What comes late comes after the second try, unless that was long after.
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
    if death.exhaust {
        // No attempt has come back: the books count what the provider is asked.
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
    // A code that was used is good for nobody.
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

/// Every death of an operation, until one breaks something. Returns how many there were, and the most steps.
fn die_everywhere(case: &Case, naive: Option<Naive>) -> Result<(u32, u32), (Violation, Death)> {
    let (mut deaths, mut steps) = (0, 0);
    let bools = [false, true];
    let ends = bools
        .into_iter()
        .flat_map(|exhaust| FAULTS.map(|fault| (exhaust, fault)));
    let ends = ends.flat_map(|(exhaust, fault)| WAITS.map(|wait| (exhaust, fault, wait)));
    for (exhaust, fault, wait) in ends {
        for (kills_first, takes_twice) in bools
            .into_iter()
            .flat_map(|first| bools.map(|twice| (first, twice)))
        {
            for step in 0.. {
                let death = Death {
                    step,
                    fault,
                    wait,
                    kills_first,
                    takes_twice,
                    exhaust,
                    naive,
                };
                let Some(sim) = dies(case, &death, false) else {
                    steps = steps.max(step);
                    break;
                };
                deaths += 1;
                if let Some(violation) = sim.violation() {
                    return Err((violation, death));
                }
            }
        }
    }
    Ok((deaths, steps))
}

fn story(case: &Case, death: &Death) -> String {
    let sim = dies(case, death, true).unwrap();
    let lines = sim.books.lock().last_lines(60);
    format!("{}: {death:?}\n{lines}", case.name)
}

#[test]
fn whoever_dies_at_any_step_and_tries_again_breaks_nothing() {
    let mut sum = 0;
    for case in &CASES {
        match die_everywhere(case, None) {
            Ok((deaths, steps)) => {
                println!("{}: {steps} steps, {deaths} deaths", case.name);
                sum += deaths;
            }
            Err((violation, death)) => panic!("{violation:?}\n{}", story(case, &death)),
        }
    }
    println!("{sum} deaths");
    assert_eq!(sum, DEATHS);
}

#[test]
fn deaths_show_what_is_done_in_the_wrong_order() {
    for (naive, expected) in [
        (Naive::TakesOverPendingKeys, Invariant::I4),
        (Naive::FailsRefusedResends, Invariant::Liveness),
        (Naive::ChargesAfterAsking, Invariant::I1),
        (Naive::WritesBehind, Invariant::I5),
        (Naive::ForgetsUsedCodes, Invariant::I6),
    ] {
        let seen = CASES
            .iter()
            .find_map(|case| Some((case, die_everywhere(case, Some(naive)).err()?)));
        let (case, (violation, death)) = seen.unwrap_or_else(|| panic!("{naive:?} is never seen"));
        println!(
            "{naive:?}: {}, {:?} at step {}: {}",
            case.name, death.fault, death.step, violation.what
        );
        assert_eq!(violation.invariant, expected, "{}", story(case, &death));
    }
}
