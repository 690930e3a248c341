//! Processor time, memory and page faults of each kind of request, and how long a person waits for it.

use super::endpoint::{Certificates, Delay};
use super::script::{How, Program, Run, Sample, Step, run};
use serde_json::{Value, json};
use std::time::Duration;

/// Requests of one kind in a process.
const REQUESTS: usize = 20;

/// The memory of the smallest function, and of the template's default.
const MEMORIES: [u64; 2] = [128, 256];

/// The least, the middle and the greatest of several values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self {
            median: *values.get(values.len() / 2)?,
            least: *values.first()?,
            most: *values.last()?,
        })
    }

    pub(super) fn json(self) -> Value {
        json!({ "median": self.median, "least": self.least, "most": self.most })
    }
}

/// One kind of request of a program.
pub(super) struct Times {
    pub(super) request: &'static str,
    /// Milliseconds, user and system, without delays.
    pub(super) processor: Spread,
    pub(super) faults: Spread,
    /// Milliseconds while the endpoints delay their responses. The first value is measured with a whole processor. The
    /// other two are measured with the shares of a processor that Lambda gives to functions with the memory sizes
    /// [`MEMORIES`]. These two are measured only if this machine can limit a process.
    pub(super) wall: [Option<Spread>; 3],
}

/// A whole process.
pub(super) struct Process {
    pub(super) peak_kib: Spread,
    pub(super) threads: Spread,
}

/// How late AWS is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays {
    pub(super) table: Duration,
    pub(super) provider: Duration,
    pub(super) round_trip: Duration,
}

/// The steps of a process. The silence is long, so only one of several processes has it.
fn script(program: &Program, requests: usize, with_silence: bool) -> Vec<Step> {
    let has = |kind| program.kinds.contains(&kind);
    let mut steps = vec![Step::Send];
    if has("send") {
        steps.extend(vec![Step::Send; requests * 2]);
    }
    for (kind, step) in [
        ("wrong guess", Step::Wrong),
        ("right guess", Step::Right),
        ("send with key and address", Step::SendWithKey),
    ] {
        if has(kind) {
            steps.extend(vec![step; requests]);
        }
    }
    if with_silence && has("send after 21 s of silence") {
        steps.extend([Step::Silence, Step::Send]);
    }
    steps
}

/// The samples of one kind of request.
fn samples<'a>(run: &'a Run, request: &str, requests: usize) -> Vec<&'a Sample> {
    let of = |step: Step, skip: usize, take: usize| {
        let steps = run.steps.iter().filter(move |(other, _)| *other == step);
        steps.map(|(_, sample)| sample).skip(skip).take(take)
    };
    match request {
        "init" => vec![&run.init],
        "first send" => of(Step::Send, 0, 1).collect(),
        "send" => of(Step::Send, 1, requests * 2).collect(),
        "send after 21 s of silence" => of(Step::Send, 1 + requests * 2, 1).collect(),
        "send with key and address" => of(Step::SendWithKey, 0, requests).collect(),
        "wrong guess" => of(Step::Wrong, 0, requests).collect(),
        "right guess" => of(Step::Right, 0, requests).collect(),
        _ => Vec::new(),
    }
}

/// Runs a program `times` times without delays, and with delays for each share of a processor.
pub(super) fn measure(
    program: &Program,
    times: usize,
    delays: Delays,
    certificates: &Certificates,
) -> Result<(Vec<Times>, Process), String> {
    let plain = repeat(program, &How::default(), REQUESTS, times, certificates)?;
    let mut late = Vec::new();
    for memory in [None, Some(MEMORIES[1]), Some(MEMORIES[0])] {
        let delay = |response| Delay {
            response,
            round_trip: delays.round_trip,
        };
        let how = How {
            table: delay(delays.table),
            provider: delay(delays.provider),
            memory,
            ..How::default()
        };
        let few = times.min(3);
        let runs = repeat(program, &how, REQUESTS / 4, few, certificates);
        if let Err(problem) = &runs {
            let share = memory.map_or_else(
                || "a whole processor".to_owned(),
                |mb| format!("the share of {mb} MB"),
            );
            println!("{}: not measured with {share}: {problem}", program.name);
        }
        late.push(runs);
    }
    let rows = program
        .kinds
        .iter()
        .filter_map(|request| {
            let of = |runs: &[Run], requests: usize, value: fn(&Sample) -> f64| {
                let samples = runs.iter().flat_map(|run| samples(run, request, requests));
                Spread::of(samples.map(value).collect())
            };
            let wall = [0, 1, 2].map(|index: usize| {
                let runs = late[index].as_ref().ok()?;
                of(runs, REQUESTS / 4, |sample| milliseconds(sample.wall))
            });
            Some(Times {
                request,
                processor: of(&plain, REQUESTS, |sample| milliseconds(sample.processor))?,
                faults: of(&plain, REQUESTS, |sample| {
                    super::instructions::number(sample.faults)
                })?,
                wall,
            })
        })
        .collect();
    let of = |value: fn(&Run) -> u64| {
        let values = plain
            .iter()
            .map(|run| super::instructions::number(value(run)));
        Spread::of(values.collect()).ok_or("no run")
    };
    let process = Process {
        peak_kib: of(|run| run.end.peak_kib)?,
        threads: of(|run| run.end.threads)?,
    };
    Ok((rows, process))
}

fn repeat(
    program: &Program,
    how: &How,
    requests: usize,
    times: usize,
    certificates: &Certificates,
) -> Result<Vec<Run>, String> {
    (0..times)
        .map(|index| {
            let steps = script(program, requests, index == 0);
            run(program, &steps, how, certificates)
        })
        .collect()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[test]
fn a_spread_has_the_middle_and_the_ends() {
    let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
    assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.0, 3.0));
    assert_eq!(Spread::of(vec![]), None);
}
