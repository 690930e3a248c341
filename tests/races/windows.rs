//! Compares the windows of `SEND_LIMITS` with a list of all sends, by brute force.

use crate::store::{NewStore, Store, over_both_stores};
use crate::table::Flaw;
use crate::world::{
    DAY, Dice, HOUR, LIMITS, Name, START, Setup, World, check, holds_and_fails_with, number, word,
};
use otp_lambda::policy::Rate;
use otp_lambda::time::Millis;
use simulator::sized;
use std::time::Duration;

over_both_stores!(
    the_windows_are_exact_over_three_days,
    changed_windows_count_every_earlier_send
);

/// The result of random attempts.
#[derive(Debug, Default)]
struct Run {
    attempts: usize,
    accepted: Vec<Millis>,
    /// The number of attempts within a millisecond of the end of a window.
    at_an_edge: usize,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// The number of sends in the window that ends at `now`.
fn within(sends: &[Millis], window: Duration, now: Millis) -> u64 {
    sends
        .iter()
        .filter(|at| **at > now.minus(window) && **at <= now)
        .count() as u64
}

/// Sends at random times, exactly when a window ends, and one millisecond before and after the end of a window. A send
/// must be accepted if and only if every window has room for the send. Each element of `settings` has limits, and the
/// time from which on these limits apply.
async fn run(
    store: Store,
    flaw: Option<Flaw>,
    settings: &[(Duration, &'static str)],
    until: Duration,
    attempts: usize,
    seed: u64,
) -> Result<Run, String> {
    let setup = Setup {
        limits: settings[0].1,
        latency: Duration::ZERO,
        flaw,
        ..Setup::default()
    };
    let mut world = World::new(store, setup);
    let mut dice = Dice(seed);
    let mut run = Run::default();
    let end = START.plus(until);
    let mean = millis(until) / attempts as u64;
    let mut setting = 0;
    while world.now() < end {
        if let Some((from, limits)) = settings.get(setting + 1)
            && world.now() >= START.plus(*from)
        {
            world = world.with_limits(limits);
            setting += 1;
        }
        let rates = Rate::parse_list(settings[setting].1).unwrap();
        let now = world.now();
        let full = rates
            .iter()
            .find(|rate| within(&run.accepted, rate.window, now) >= rate.count);
        let answer = world
            .send(&number(1), &Name::Given(format!("r{}", run.attempts)))
            .await;
        run.attempts += 1;
        let edges: Vec<u64> = rates
            .iter()
            .flat_map(|rate| {
                run.accepted
                    .iter()
                    .rev()
                    .take(30)
                    .map(|at| at.plus(rate.window).0)
            })
            .collect();
        run.at_an_edge += usize::from(edges.iter().any(|edge| now.0.abs_diff(*edge) <= 1));
        match (word(&answer), full) {
            ("ok", None) => {
                run.accepted.push(now);
                // By definition: no window is too full, wherever it begins.
                for rate in &rates {
                    let most = run
                        .accepted
                        .iter()
                        .rev()
                        .take(40)
                        .map(|at| within(&run.accepted, rate.window, *at))
                        .max();
                    if setting == 0 && most > Some(rate.count) {
                        return Err(format!("{most:?} sends in {:?}", rate.window));
                    }
                }
            }
            ("rate_limited", Some(_)) => {
                // The response must name the right wait, rounded up to seconds.
                let free = rates.iter().filter_map(|rate| {
                    let kth = run
                        .accepted
                        .iter()
                        .rev()
                        .nth(usize::try_from(rate.count).unwrap() - 1)?;
                    Some(kth.plus(rate.window))
                });
                let wait = millis(free.max().unwrap().since(now)).div_ceil(1000);
                let told = answer.unwrap_err().retry_after_seconds().unwrap();
                if flaw.is_none() && told != wait {
                    return Err(format!("told to wait {told} s instead of {wait} s"));
                }
            }
            (told, full) => {
                return Err(format!(
                    "{told} at {}, although the full window is {full:?}",
                    now.since(START).as_millis()
                ));
            }
        }
        // The next time is the end of a window, plus or minus at most a millisecond, or it is random.
        let edge = edges.into_iter().filter(|edge| *edge > now.0 + 1).min();
        let by_chance = {
            let shorter = dice.roll(8);
            now.0 + dice.roll((mean * 4) >> shorter)
        };
        let next = match edge {
            Some(edge) if edge < now.0 + mean * 20 && dice.roll(2) == 0 => edge - 1 + dice.roll(3),
            _ => by_chance,
        };
        world.move_to(Millis(next));
    }
    Ok(run)
}

fn told(run: &Result<Run, String>) -> Result<(), String> {
    run.as_ref().map(|_| ()).map_err(Clone::clone)
}

async fn the_windows_are_exact_over_three_days(new: NewStore) {
    let (seeds, attempts) = if new().is_memory() {
        (sized(2, 10), 2000)
    } else {
        (1, sized(200, 400))
    };
    for seed in 0..seeds {
        let good = run(
            new(),
            None,
            &[(Duration::ZERO, LIMITS)],
            DAY * 3,
            attempts,
            seed,
        )
        .await
        .unwrap();
        if seed == 0 {
            println!(
                "{}: three days, {} attempts ({} at an edge): {} accepted",
                new(),
                good.attempts,
                good.at_an_edge,
                good.accepted.len()
            );
        }
        // 18 is the most that is possible. Some time is lost between attempts.
        check(good.accepted.len() >= 15 && good.at_an_edge >= 20, || {
            format!("{good:?}")
        })
        .unwrap();
    }
    let mut flawed = Vec::new();
    for flaw in [Flaw::FixedWindows, Flaw::FreesLate, Flaw::IgnoresWindows] {
        let run = run(
            new(),
            Some(flaw),
            &[(Duration::ZERO, LIMITS)],
            DAY * 3,
            attempts,
            0,
        )
        .await;
        flawed.push((flaw, told(&run)));
    }
    holds_and_fails_with("the windows", Ok(()), &flawed);

    // Random settings too.
    if new().is_memory() {
        const COUNTS: [&str; 10] = [
            "1/1s", "1/30s", "2/90s", "3/10m", "4/1h", "5/1h", "7/6h", "10/12h", "19/24h", "20/24h",
        ];
        let (mut attempts, mut accepted) = (0, 0);
        for seed in 0..sized(30, 300_u64) {
            let mut dice = Dice(seed);
            let mut some: Vec<&str> = COUNTS.into_iter().filter(|_| dice.roll(2) == 0).collect();
            some.push(COUNTS[usize::try_from(dice.roll(10)).unwrap()]);
            // These few messages may live as long as the test.
            let limits: &'static str = some.join(",").leak();
            let run = run(
                new(),
                None,
                &[(Duration::ZERO, limits)],
                HOUR * 12,
                100,
                seed,
            )
            .await;
            let run = run.unwrap_or_else(|reason| panic!("{limits}, seed {seed}: {reason}"));
            attempts += run.attempts;
            accepted += run.accepted.len();
        }
        println!(
            "{}: random settings: {attempts} attempts, {accepted} accepted",
            new()
        );
    }
}

/// The second setting needs only three sends in the history, the others need six.
async fn changed_windows_count_every_earlier_send(new: NewStore) {
    let settings = [
        (Duration::ZERO, LIMITS),
        (HOUR * 30, "1/30s,2/90s,3/10m"),
        (HOUR * 34, LIMITS),
    ];
    let (seeds, attempts) = if new().is_memory() {
        (sized(2, 10), 2000)
    } else {
        (1, sized(200, 300))
    };
    for seed in 0..seeds {
        let good = run(new(), None, &settings, DAY * 3, attempts, seed)
            .await
            .unwrap();
        let in_between = good
            .accepted
            .iter()
            .filter(|at| (30..34).contains(&(at.since(START).as_secs() / 3600)));
        let in_between = in_between.count();
        if seed == 0 {
            println!(
                "{}: three days and two changes: {} attempts, {} accepted, {in_between} of them under the other setting",
                new(),
                good.attempts,
                good.accepted.len()
            );
        }
        assert!(in_between > 6, "{in_between}");
    }
    let flawed = run(
        new(),
        Some(Flaw::ForgetsSends),
        &settings,
        DAY * 3,
        attempts,
        0,
    )
    .await;
    holds_and_fails_with(
        "a changed setting",
        Ok(()),
        &[(Flaw::ForgetsSends, told(&flawed))],
    );
}
