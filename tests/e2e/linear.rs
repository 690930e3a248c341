//! Linearizability of the shipped binary. Several processes of the binary run. Each has a proxy in front of the table,
//! and the proxy disturbs one in ten requests. All answers must fit a sequential specification of the verification and
//! another one of the number.

mod checker;
mod history;
pub(crate) mod lambda;
mod number;
mod operation;
mod proxy;
mod verification;

use self::history::{CLIENTS, Client, Found, History, OPERATIONS};
use self::lambda::Environment;
use self::number::SENDS;
use self::proxy::{Behind, Bug, Proxy};
use crate::function::settings_with_ledger;
use crate::size::size;
use simulator::Simulator;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Histories that are made at once.
const LANES: usize = 4;

/// Histories that a lane makes before the simulator's inbox is emptied.
const BATCH: u64 = 4;

struct World {
    simulator: Simulator,
    behind: Arc<Behind>,
    lanes: Vec<Vec<Client>>,
}

impl World {
    fn start(simulator: Simulator, bug: Option<Bug>, lanes: usize) -> Self {
        let behind = Behind::new(bug);
        let client = |seed: usize| {
            let proxy = Proxy::start(&behind, seed as u64);
            let table = format!("http://{}", proxy.address);
            let mut settings = settings_with_ledger(&simulator.url(), &table);
            settings.extend([
                ("SEND_LIMITS", format!("{SENDS}/1h")),
                ("PREFIX_LIMITS", "none".to_owned()),
                ("BUDGETS", "none".to_owned()),
                ("LOG_LEVEL", "error".to_owned()),
            ]);
            Client {
                function: Environment::start(&settings),
                proxy,
            }
        };
        let lane = |lane| {
            (0..CLIENTS)
                .map(|index| client(lane * CLIENTS + index))
                .collect()
        };
        let lanes = (0..lanes).map(lane).collect();
        Self {
            simulator,
            behind,
            lanes,
        }
    }

    /// Makes and checks the histories of a batch. Several lanes run at once, and each lane makes its own histories. A
    /// lane stops at the first history with a problem. The first history of the batch has the number `first`.
    fn batch(&self, first: u64) -> Found {
        let mut all = Found::default();
        let found = std::thread::scope(|scope| {
            let run = |(lane, clients): (usize, &Vec<Client>)| {
                let mut found = Found::default();
                for nth in 0..BATCH {
                    let index = first + lane as u64 * BATCH + nth;
                    let number = format!("+1425{:07}", 5_000_000 + index);
                    History::make(&self.simulator, clients, &number, index).check(&mut found);
                    if !found.problems.is_empty() {
                        break;
                    }
                }
                found
            };
            let lanes = self.lanes.iter().enumerate();
            let running: Vec<_> = lanes.map(|lane| scope.spawn(move || run(lane))).collect();
            let ended = running.into_iter().map(|lane| lane.join().unwrap());
            ended.collect::<Vec<_>>()
        });
        for found in found {
            all.add(found);
        }
        self.simulator.reset();
        all
    }

    fn batch_size(&self) -> u64 {
        self.lanes.len() as u64 * BATCH
    }

    /// The requests to the table, and how many of them had a fault.
    fn requests(&self) -> (u64, u64) {
        let clients = self.lanes.iter().flatten();
        clients
            .map(|client| client.proxy.counts())
            .fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }
}

impl Found {
    fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.unknown += other.unknown;
        self.too_slow += other.too_slow;
        self.largest = self.largest.max(other.largest);
        self.visited += other.visited;
        self.decided += other.decided;
        self.open += other.open;
        self.checking += other.checking;
        self.problems.extend(other.problems);
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
    }
}

#[expect(clippy::print_stdout, reason = "figures for the person who runs it")]
fn print(found: &Found, (requests, faults): (u64, u64), took: Duration) {
    let answers = found.answers.iter();
    let answers: Vec<_> = answers
        .map(|((route, status, code), count)| format!("{route} {status} {code} {count}"))
        .collect();
    println!("\nanswers: {}", answers.join(" · "));
    println!(
        "linear: {} operations in {} s and {} s of checks, {faults} of {requests} requests to the table with a fault, {} answers unclear ({} \
         without a fault), {} configurations, at most {} in a check, {} checks decided and {} open, {} problems",
        found.operations,
        took.as_secs(),
        found.checking.as_secs(),
        found.unknown,
        found.too_slow,
        found.visited,
        found.largest,
        found.decided,
        found.open,
        found.problems.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn every_answer_fits_a_sequential_specification() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    tokio::task::spawn_blocking(move || {
        let world = World::start(simulator, None, LANES);
        let started = Instant::now();
        let operations = size("OTP_LINEAR_OPERATIONS", 2_000, 20_000);
        let mut found = Found::default();
        let mut first = 0;
        while found.operations < operations && found.problems.is_empty() {
            found.add(world.batch(first));
            first += world.batch_size();
            // If the table were never emptied, it would grow for hours. Each history uses a phone number of its own,
            // and the next histories need no old items. So the table is emptied now and then.
            if first % 2_000 < world.batch_size() {
                world.behind.table.wipe();
            }
        }
        let (requests, faults) = world.requests();
        print(&found, (requests, faults), started.elapsed());
        assert!(found.problems.is_empty(), "{}", found.problems.join("\n\n"));
        assert!(
            faults * 13 > requests && faults * 8 < requests,
            "one request in ten should have a fault: {faults} of {requests}"
        );
        // An open check proves nothing. On a slow machine, a few histories have so many unclear answers that their
        // searches are too long.
        assert!(
            found.open <= 1 + found.decided / 100,
            "{} checks decided and {} open",
            found.decided,
            found.open
        );
        assert!(
            found.too_slow * 500 < found.operations,
            "the machine was too slow for {} operations",
            found.too_slow
        );
        for (route, code) in [
            ("send", ""),
            ("send", "idempotency_key_in_use"),
            ("send", "rate_limited"),
            ("send", "resend_limit"),
            ("verify", ""),
            ("verify", "already_verified"),
            ("verify", "attempts_exhausted"),
            ("verify", "invalid_code"),
            ("verify", "ledger_unavailable"),
            ("redeem", ""),
            ("redeem", "already_verified"),
            ("cancel", ""),
        ] {
            let mut answers = found.answers.keys();
            assert!(
                answers.any(|(a_route, _, a_code)| a_route == route && a_code == code),
                "{route} {code} never happened"
            );
        }
    })
    .await
    .unwrap();
}

/// The controls: with a table that lies, the shipped binary gives answers that no order explains.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the tools that `make test` sets up"]
async fn a_table_that_lies_is_found() {
    let mut report = String::new();
    for bug in Bug::ALL {
        let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let found = tokio::task::spawn_blocking(move || {
            let world = World::start(simulator, Some(bug), 1);
            let mut found = Found::default();
            while found.problems.is_empty() && found.operations < 40 * OPERATIONS {
                let made = found.operations / OPERATIONS;
                found.add(world.batch(made));
            }
            found
        })
        .await
        .unwrap();
        let problem = found.problems.first().map(String::as_str);
        let problem = problem
            .unwrap_or("nothing")
            .lines()
            .next()
            .unwrap_or_default();
        let line = format!(
            "{bug:?}: found after {} operations: {problem}",
            found.operations
        );
        assert!(problem.contains("no order explains"), "{line}");
        report += &line;
        report.push('\n');
    }
    print_controls(&report);
}

#[expect(clippy::print_stdout, reason = "figures for the person who runs it")]
fn print_controls(report: &str) {
    println!("\n{report}");
}
