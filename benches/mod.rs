//! Measures the packaged function and, beside it, reference programs. `make bench` prints the figures. `make test`
//! compares the figures that do not depend on the machine with `benches/expected.json`.
//!
//! This code plays Lambda's runtime API and AWS's endpoints. The endpoints have TLS 1.3, a chain of two RSA
//! certificates, and sessions that can be resumed. The function's credentials have a session token as long as Lambda's.
//! The emulator of the ledger's tests plays the table, and the simulator plays the provider.
//!
//! To count instructions, the function runs under valgrind. It has a clock of its own there: see `clock`.
//!
//! Many processors have instructions for SHA-256. Valgrind hides such instructions from programs. Under valgrind,
//! hashing therefore looks more expensive than it is.

#![expect(clippy::print_stdout, reason = "the figures are for a person")]

mod clock;
mod endpoint;
mod guard;
mod instructions;
mod quota;
mod rate;
mod report;
mod runtime;
mod script;
mod times;

use crate::function::tool;
use crate::size::size;
use endpoint::Certificates;
use report::Measured;
use script::{Ledger, Program};
use std::path::{Path, PathBuf};
use std::time::Duration;
use times::Delays;

/// The packaged function with each kind of ledger.
const OURS: [(&str, Ledger); 3] = [
    ("without a ledger", Ledger::Without),
    ("with a ledger", Ledger::With),
    ("with its key in Secrets Manager", Ledger::WithSecret),
];

fn ours() -> [Program; 3] {
    OURS.map(|(name, ledger)| Program {
        name,
        command: vec![tool("OTP_E2E_BOOTSTRAP")],
        kinds: kinds(ledger),
        ledger,
        trusts_the_system: false,
    })
}

/// The programs of `benches/reference/`, without a ledger.
fn references() -> [Program; 3] {
    let built = |name| vec![format!("{}/{name}", tool("OTP_BENCH_REFERENCE"))];
    let python = ["-m", "awslambdaric", "handler.handle"].map(str::to_owned);
    let boto3 = [vec![tool("OTP_E2E_BENCH_PYTHON")], python.to_vec()].concat();
    let all = &kinds(Ledger::Without)[..5];
    [
        ("hello world with lambda_http", built("hello"), &all[..3]),
        ("the SDK with its defaults", built("sdk"), all),
        ("boto3", boto3, all),
    ]
    .map(|(name, command, kinds)| Program {
        name,
        command,
        kinds,
        ledger: Ledger::Without,
        trusts_the_system: true,
    })
}

/// The kinds of requests that are worth a row. The secret is read at the start only.
fn kinds(ledger: Ledger) -> &'static [&'static str] {
    match ledger {
        Ledger::Without => &[
            "init",
            "first send",
            "send",
            "wrong guess",
            "right guess",
            "send after 21 s of silence",
        ],
        Ledger::With => &[
            "init",
            "first send",
            "send",
            "wrong guess",
            "right guess",
            "send with key and address",
            "send after 21 s of silence",
        ],
        Ledger::WithSecret => &["init", "first send"],
    }
}

/// The folder for certificates, counts and the report.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench")
}

/// The counts of the packaged function.
fn counts() -> Vec<instructions::Row> {
    let certificates = Certificates::make(&folder().join("tls"));
    clock::compile();
    let mut rows = Vec::new();
    for program in ours() {
        let counted = instructions::count(&program, &certificates, &folder());
        rows.extend(counted.unwrap_or_else(|problem| panic!("{problem}")));
    }
    rows
}

#[test]
#[ignore = "needs the package and valgrind: see `make test`"]
fn no_request_costs_more_than_the_committed_counts_say() {
    let rows = counts();
    println!("{}", report::counts(&rows));
    let problems = guard::compare(&guard::read(), &rows);
    assert!(
        problems.is_empty(),
        "{}\nIf that is meant, renew the counts with `make bench-counts`, and commit benches/expected.json and the pages.",
        problems.join("\n")
    );
}

#[test]
#[ignore = "writes benches/expected.json, for `make bench-counts`"]
fn write_the_counts() {
    let rows = counts();
    println!("{}", report::counts(&rows));
    guard::write(&rows);
}

#[test]
#[ignore = "takes minutes, for `make bench`"]
fn report() {
    let context = report::context();
    let certificates = Certificates::make(&folder().join("tls"));
    clock::compile();
    let delays = Delays {
        table: Duration::from_millis(size("OTP_BENCH_TABLE_MS", 5, 5)),
        provider: Duration::from_millis(size("OTP_BENCH_PROVIDER_MS", 80, 80)),
        round_trip: Duration::from_millis(size("OTP_BENCH_ROUND_TRIP_MS", 1, 1)),
    };
    let repeats = usize::try_from(size("OTP_BENCH_RUNS", 5, 5)).unwrap();
    let mut measured = Vec::new();
    let mut programs = ours().to_vec();
    if size("OTP_BENCH_ALONE", 0, 0) == 0 {
        programs.extend(references());
    }
    for program in programs {
        println!("measuring: {}", program.name);
        let outcome = times::measure(&program, repeats, delays, &certificates);
        let counted = instructions::count(&program, &certificates, &folder());
        let (times, process) = outcome.unwrap_or_else(|problem| panic!("{problem}"));
        measured.push(Measured {
            rows: counted.unwrap_or_else(|problem| panic!("{problem}")),
            program,
            times,
            process,
        });
    }
    let json = report::json(&context, delays, &measured);
    let file = folder().join("report.json");
    std::fs::write(&file, serde_json::to_string_pretty(&json).unwrap()).unwrap();
    println!("\n{context}\n\n{}", report::table(&measured));
    println!("The same as JSON: {}", file.display());
}
