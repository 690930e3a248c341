//! One instance of the packaged function, with a million guesses and a hundred thousand sends. Each request must cost as
//! much at the end as at the beginning, and the memory of the process must not grow.

use super::endpoint::Certificates;
use super::runtime::{Environment, Usage};
use super::script::{Aws, How, Ledger};
use crate::function::{event, http_response, tool, wrong};
use crate::size::size;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Guesses at each code.
const GUESSES: u64 = 10;

/// `ALLOWED_ATTEMPTS` of the function.
const ALLOWED: u8 = 5;

/// Sends before their guesses. After the guesses, the simulator forgets the messages.
const BATCH: u64 = 100;

/// The run is compared in parts of this number.
const PARTS: u64 = 10;

/// By how much the memory of the process may grow after the second part.
const GROWTH_KIB: u64 = 512;

/// How much more processor time a request may take in the last parts than in the first ones. The processor time of the
/// same work differs by some per cent if other programs use the processor's caches.
const SLOWER: f64 = 1.25;

/// A kind of request in one part of the run.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    requests: u64,
    processor: Duration,
    wall: Duration,
}

impl Cost {
    fn add(&mut self, requests: u64, before: (Instant, Usage), after: (Instant, Usage)) {
        self.requests += requests;
        self.processor += after.1.processor.saturating_sub(before.1.processor);
        self.wall += after.0 - before.0;
    }

    /// Microseconds of processor time for each request.
    fn microseconds(self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / super::instructions::number(self.requests)
    }

    fn a_second(self) -> f64 {
        super::instructions::number(self.requests) / self.wall.as_secs_f64()
    }
}

/// One part of the run.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    sends: Cost,
    guesses: Cost,
    /// At the end of the part.
    resident_kib: u64,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sends {:.0} µs, {:.0} a second; guesses {:.0} µs, {:.0} a second; {} KiB",
            self.sends.microseconds(),
            self.sends.a_second(),
            self.guesses.microseconds(),
            self.guesses.a_second(),
            self.resident_kib,
        )
    }
}

/// The cost of one kind of request in a part.
type Kind = fn(&Part) -> Cost;

/// Everything that is not as flat as it should be. The first part is left out: there the process takes its memory.
fn problems(parts: &[Part]) -> Vec<String> {
    let mut problems = Vec::new();
    let (Some(second), Some(last)) = (parts.get(1), parts.last()) else {
        return vec!["fewer than two parts".to_owned()];
    };
    let grown = last.resident_kib.saturating_sub(second.resident_kib);
    if grown > GROWTH_KIB {
        problems.push(format!(
            "the memory grew by {grown} KiB after the second part"
        ));
    }
    let kinds: [(&str, Kind); 2] = [("send", |part| part.sends), ("guess", |part| part.guesses)];
    for (name, kind) in kinds {
        let third = parts.len().div_ceil(3);
        let early = least(parts.iter().skip(1).take(third).map(kind));
        let late = least(parts.iter().rev().take(third).map(kind));
        if late.is_nan() || late > early * SLOWER {
            problems.push(format!(
                "a {name} took {early:.0} µs in the first parts and {late:.0} µs in the last ones"
            ));
        }
    }
    problems
}

/// The least, because other programs on the machine only ever make a request dearer.
fn least(costs: impl Iterator<Item = Cost>) -> f64 {
    costs.map(Cost::microseconds).fold(f64::NAN, f64::min)
}

/// The process and AWS around it.
struct Instance {
    aws: Aws,
    environment: Environment,
    statuses: BTreeMap<(&'static str, u64), u64>,
}

impl Instance {
    fn start() -> Self {
        let certificates = Certificates::make(&super::folder().join("tls"));
        let program = super::ours()
            .into_iter()
            .find(|program| program.ledger == Ledger::With)
            .unwrap();
        let mut aws = Aws::start(&certificates, &program, &How::default());
        aws.settings.extend([
            ("ALLOWED_ATTEMPTS", ALLOWED.to_string()),
            ("PREFIX_LIMITS", "none".to_owned()),
            ("BUDGETS", "10000000/1h,100000000/24h".to_owned()),
        ]);
        let mut environment = Environment::start(&[tool("OTP_E2E_BOOTSTRAP")], &aws.settings, None);
        environment.wait().unwrap();
        Self {
            aws,
            environment,
            statuses: BTreeMap::new(),
        }
    }

    fn now(&self) -> (Instant, Usage) {
        (Instant::now(), self.environment.usage())
    }

    fn request(&mut self, route: &'static str, body: &Value) {
        let event = event(route, body, None).to_string();
        let (_, path, body) = self.environment.invoke(event).unwrap();
        self.environment.wait().unwrap();
        let response: Value = serde_json::from_str(&body).unwrap_or_default();
        let status = http_response(&response).map(|(status, _)| status);
        let status = status.unwrap_or_else(|| panic!("{route}: {path}: {body}"));
        *self.statuses.entry((route, status)).or_default() += 1;
    }

    /// Sends and guesses for the people with these numbers. Half of them guess the code in the end.
    fn batch(&mut self, people: std::ops::Range<u64>, part: &mut Part) {
        let numbers: Vec<String> = people
            .map(|nth| format!("+1425{}", 2_000_000 + nth))
            .collect();
        let requests = u64::try_from(numbers.len()).unwrap();
        let before = self.now();
        for number in &numbers {
            self.request("send", &json!({ "destinationNumber": number }));
        }
        let between = self.now();
        for (index, number) in numbers.iter().enumerate() {
            let code = self.aws.simulator.newest_to(number).unwrap().code;
            let last = if index % 2 == 0 { ALLOWED - 1 } else { ALLOWED };
            for nth in 0..u8::try_from(GUESSES).unwrap() {
                let otp = if nth < last {
                    wrong(&code, nth)
                } else {
                    code.clone()
                };
                self.request(
                    "verify",
                    &json!({ "destinationNumber": number, "otp": otp }),
                );
            }
        }
        let after = self.now();
        part.sends.add(requests, before, between);
        part.guesses.add(requests * GUESSES, between, after);
        self.aws.simulator.reset();
        let log = self.environment.take_log();
        assert!(!log.contains("\"ERROR\""), "{log}");
    }
}

#[test]
#[ignore = "takes an hour: see `make soak`"]
fn a_million_guesses_cost_the_same_at_the_end_as_at_the_beginning() {
    let sends = size("OTP_RATE_SENDS", 2_000, 100_000);
    let mut instance = Instance::start();
    let mut parts = Vec::new();
    for nth in 0..PARTS {
        let mut part = Part::default();
        let (mut next, end) = (sends * nth / PARTS, sends * (nth + 1) / PARTS);
        while next < end {
            let batch = next..(next + BATCH).min(end);
            next = batch.end;
            instance.batch(batch, &mut part);
        }
        part.resident_kib = instance.environment.usage().resident_kib;
        println!("{part}");
        parts.push(part);
    }
    let count = |route, status| {
        instance
            .statuses
            .get(&(route, status))
            .copied()
            .unwrap_or(0)
    };
    assert_eq!(count("send", 202), sends, "{:?}", instance.statuses);
    assert_eq!(count("verify", 200), sends / 2, "{:?}", instance.statuses);
    let guesses = sends * GUESSES;
    let least = parts
        .iter()
        .map(|part| part.resident_kib)
        .min()
        .unwrap_or_default();
    let most = parts
        .iter()
        .map(|part| part.resident_kib)
        .max()
        .unwrap_or_default();
    println!(
        "rate: {sends} sends, {guesses} guesses, {least} to {most} KiB; answers: {:?}",
        instance.statuses
    );
    let problems = problems(&parts);
    assert!(problems.is_empty(), "{problems:?}");
}

/// Parts in which each request takes as long, and the memory is as large, as these functions of the part's number say.
fn example(microseconds: fn(u64) -> u64, resident_kib: fn(u64) -> u64) -> Vec<Part> {
    (0..PARTS)
        .map(|nth| {
            let cost = Cost {
                requests: 1,
                processor: Duration::from_micros(microseconds(nth)),
                wall: Duration::from_millis(2),
            };
            Part {
                sends: cost,
                guesses: cost,
                resident_kib: resident_kib(nth),
            }
        })
        .collect()
}

#[test]
fn a_flat_run_passes_also_if_one_part_of_it_was_disturbed() {
    let parts = example(|nth| if nth == 8 { 2_000 } else { 800 }, |_| 12_000);
    assert_eq!(problems(&parts), [""; 0]);
}

/// The controls.
#[test]
fn growing_memory_and_dearer_requests_are_found() {
    let leaking = example(|_| 800, |nth| 12_000 + 100 * nth);
    assert_eq!(
        problems(&leaking),
        ["the memory grew by 800 KiB after the second part"]
    );
    let slower = example(|nth| 800 + 80 * nth, |_| 12_000);
    assert_eq!(problems(&slower).len(), 2, "{:?}", problems(&slower));
    let empty = vec![Part::default(); 10];
    assert_eq!(problems(&empty).len(), 2);
    assert_eq!(problems(&[]).len(), 1);
}
