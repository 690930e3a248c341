//! Ten thousand runs, and any number of further ones in `soak`.

use fastrand::Rng;
use otp_lambda::policy::Rate;
use simulator::sized;
use std::thread;
use std::time::Instant;

use crate::actors;
use crate::books::{Fault, Violation};
use crate::naive::Naive;
use crate::sim::{Report, Setup, Sim};

/// Seeds that once failed, with the reason.
const KNOWN_SEEDS: &[(u64, &str)] = &[
    (1112, "the ledger remembered only the last used code"),
    (
        3656,
        "a counter expired with its window, while a request of the window was still running",
    ),
    (
        57_617,
        "a refused resend restores the old expiry, and the books missed that",
    ),
    (
        127_461,
        "a request was repeated with another code in between, one success was reported twice, and the books missed that",
    ),
    (
        130_528,
        "the ledger forgot a used code while the provider still accepted it",
    ),
    (
        195_531,
        "a request was repeated with a new verification in between, and the books missed that",
    ),
];

fn setup_of(seed: u64, naive: Option<Naive>) -> (Rng, Setup) {
    let mut rng = Rng::with_seed(seed);
    let mut setup = Setup {
        naive,
        ..actors::setup(seed, &mut rng)
    };
    if naive == Some(Naive::ForgetsWindowsAtTheirEnd) {
        // With more room, almost no window is full at its end.
        setup.prefix_limits = Rate::parse_list("1/10m").unwrap();
    }
    (rng, setup)
}

/// Prints the seed if the run panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("the seed was {}", self.0);
        }
    }
}

pub(crate) fn run(seed: u64, naive: Option<Naive>) -> Result<Report, Violation> {
    let _named = Named(seed);
    let (rng, setup) = setup_of(seed, naive);
    Sim::new(rng, setup, false).run()
}

/// Runs the seed again and describes every step.
pub(crate) fn story(seed: u64, naive: Option<Naive>) -> String {
    let (rng, setup) = setup_of(seed, naive);
    let told = format!("seed {seed}: {setup:?}");
    let mut sim = Sim::new(rng, setup, true);
    let ended = sim.run().map(|_| ());
    format!("{told}\n{}\n{ended:?}", sim.books.lock().last_lines(120))
}

fn run_all(seeds: impl Iterator<Item = u64>, mut after: impl FnMut(&Report)) -> Report {
    let mut sum = Report::default();
    for seed in seeds {
        match run(seed, None) {
            Ok(report) => sum.merge(&report),
            Err(violation) => panic!("{violation:?}\n{}", story(seed, None)),
        }
        after(&sum);
    }
    sum
}

fn tell(sum: &Report, seconds: f64) {
    let Report {
        seeds,
        operations,
        steps,
        texts,
        successes,
        faults,
        answers,
    } = sum;
    println!(
        "{seeds} seeds, {operations} operations, {steps} steps, {texts} texts, {successes} successes, {} faults, \
         {seconds:.1} s\n{faults}",
        faults.sum()
    );
    for (answer, count) in answers {
        println!("  {count:>9}  {answer}");
    }
}

#[test]
fn every_invariant_holds_at_every_step() {
    let started = Instant::now();
    for (seed, found) in KNOWN_SEEDS {
        if let Err(violation) = run(*seed, None) {
            panic!(
                "{found}, and now again: {violation:?}\n{}",
                story(*seed, None)
            );
        }
    }
    let seeds = sized(500, 5_000);
    let sum = run_all(0..seeds, |_| {});
    tell(&sum, started.elapsed().as_secs_f64());
    assert_eq!(sum.seeds, seeds);
    assert!(sum.faults.sum() >= 10 * seeds, "{}", sum.faults.sum());
    for (fault, name) in Fault::ALL {
        assert!(sum.faults.of(fault) > seeds / 100, "{name}");
    }
}

/// Makes the runs of the simulation with two ledgers at once: the ledger in memory, and the shipped ledger in DynamoDB.
/// Each step is done in both ledgers, and both must give the same reply.
#[test]
fn every_invariant_holds_and_dynamodb_agrees_with_memory() {
    let started = Instant::now();
    let mut sum = Report::default();
    for seed in 0.. {
        let _named = Named(seed);
        let (rng, setup) = setup_of(seed, None);
        match Sim::new(
            rng,
            Setup {
                twin: true,
                ..setup
            },
            false,
        )
        .run()
        {
            Ok(report) => sum.merge(&report),
            Err(violation) => panic!("{violation:?}"),
        }
        if sum.faults.sum() >= sized(40, 1_000) {
            break;
        }
    }
    tell(&sum, started.elapsed().as_secs_f64());
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in [3, 4, 5, 25] {
        assert_eq!(story(seed, None), story(seed, None));
    }
}

#[test]
#[ignore = "runs for hours"]
#[expect(
    clippy::disallowed_methods,
    reason = "the environment sets the number of seeds"
)]
fn soak() {
    let number =
        |name, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (first, seeds) = (
        number("OTP_SIMULATION_FIRST", 0),
        number("OTP_SIMULATION_SEEDS", 1_000_000),
    );
    let started = Instant::now();
    let sum = run_all(first..first + seeds, |sum| {
        if sum.seeds % 50_000 == 0 {
            println!(
                "{} seeds, {} faults, {:.0} s",
                sum.seeds,
                sum.faults.sum(),
                started.elapsed().as_secs_f64()
            );
        }
    });
    tell(&sum, started.elapsed().as_secs_f64());
}
