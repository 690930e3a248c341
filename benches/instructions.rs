//! Instructions, round trips and handshakes of each kind of request, counted by callgrind.
//!
//! Callgrind counts a whole process, including its start. To measure one kind of request, two processes run. One of
//! them also gets requests of this kind, and otherwise both get the same. The difference of the two counts is the cost
//! of these requests.

use super::endpoint::{Certificates, Counts};
use super::script::{How, Program, Run, Sample, Step, run};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Requests of one kind in a process.
pub(super) const REQUESTS: usize = 20;

/// How often a process may meet a busy machine.
const TRIES: usize = 3;

/// One row: a kind of request of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) program: String,
    pub(super) request: String,
    pub(super) instructions: f64,
    /// Requests to AWS, for one request to the function.
    pub(super) table: f64,
    pub(super) provider: f64,
    pub(super) secrets: f64,
    /// Handshakes with certificates, and resumed ones.
    pub(super) full: f64,
    pub(super) resumed: f64,
}

impl Row {
    pub(super) fn is_about_the_same(&self, other: &Self) -> bool {
        self.program == other.program && self.request == other.request
    }

    /// The row as it is committed: in thousands of instructions.
    pub(super) fn rounded(&self) -> Self {
        Self {
            instructions: (self.instructions / 1e3).round() * 1e3,
            ..self.clone()
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.program, self.request)
    }
}

/// A kind of request, and how to measure it. One process takes the steps `steps`, and another process takes the steps
/// `without`. The counts of the two processes differ by the cost of `requests` requests of this kind.
struct Difference {
    request: &'static str,
    steps: Vec<Step>,
    without: Option<Vec<Step>>,
    requests: usize,
}

fn differences() -> Vec<Difference> {
    let first = vec![Step::Send];
    let sends: Vec<Step> = vec![Step::Send; 1 + REQUESTS];
    let then = |step| [sends.clone(), vec![step; REQUESTS]].concat();
    let of = |request, steps: Vec<Step>, without: Option<&Vec<Step>>, requests| Difference {
        request,
        steps,
        without: without.cloned(),
        requests,
    };
    vec![
        of("init", vec![], None, 1),
        of("first send", first.clone(), Some(&vec![]), 1),
        of("send", sends.clone(), Some(&first), REQUESTS),
        of("wrong guess", then(Step::Wrong), Some(&sends), REQUESTS),
        of("right guess", then(Step::Right), Some(&sends), REQUESTS),
        of(
            "send with key and address",
            [first.clone(), vec![Step::SendWithKey; REQUESTS]].concat(),
            Some(&first),
            REQUESTS,
        ),
        of(
            "send after 21 s of silence",
            vec![Step::Send, Step::Silence, Step::Send],
            Some(&first),
            1,
        ),
    ]
}

/// Counts a program, two processes at once.
pub(super) fn count(
    program: &Program,
    certificates: &Certificates,
    folder: &Path,
) -> Result<Vec<Row>, String> {
    let wanted: Vec<Difference> = differences()
        .into_iter()
        .filter(|difference| program.kinds.contains(&difference.request))
        .collect();
    let mut scripts: Vec<Vec<Step>> = Vec::new();
    for difference in &wanted {
        for script in [Some(&difference.steps), difference.without.as_ref()] {
            if let Some(script) = script
                && !scripts.contains(script)
            {
                scripts.push(script.clone());
            }
        }
    }
    // The longest script takes longest, so it begins first.
    scripts.sort_by_key(|script| Reverse(script.len()));
    let runs = in_pairs(&scripts, |script, index| {
        let file = folder.join(format!(
            "callgrind-{}-{index}",
            program.name.replace(' ', "-")
        ));
        counted(program, script, &file, certificates)
    })?;
    let of = |script: &Vec<Step>| {
        let index = scripts.iter().position(|other| other == script);
        &runs[index.unwrap()]
    };
    Ok(wanted
        .iter()
        .map(|difference| {
            row(
                program,
                difference,
                of(&difference.steps),
                difference.without.as_ref().map(of),
            )
        })
        .collect())
}

/// Does something for each script, with two threads.
fn in_pairs(
    scripts: &[Vec<Step>],
    work: impl Fn(&[Step], usize) -> Result<Run, String> + Sync,
) -> Result<Vec<Run>, String> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<Run, String>>>> =
        scripts.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    let Some(script) = scripts.get(index) else {
                        return;
                    };
                    *results[index].lock().unwrap() = Some(work(script, index));
                }
            });
        }
    });
    results
        .into_iter()
        .map(|result| result.into_inner().unwrap().unwrap())
        .collect()
}

/// Counts one process. If the machine was too busy for the process, counts again.
fn counted(
    program: &Program,
    script: &[Step],
    file: &Path,
    certificates: &Certificates,
) -> Result<Run, String> {
    let how = How {
        count: Some(file.to_owned()),
        ..How::default()
    };
    let mut problems = Vec::new();
    for _ in 0..TRIES {
        match run(program, script, &how, certificates) {
            Ok(run) => return Ok(run),
            Err(problem) => problems.push(problem),
        }
    }
    Err(format!(
        "{}: {TRIES} runs count for nothing, because of other answers than expected. Is the machine busy?\n{}",
        program.name,
        problems.join("\n")
    ))
}

fn row(program: &Program, difference: &Difference, run: &Run, without: Option<&Run>) -> Row {
    let per = |value: f64| value / f64::from(u32::try_from(difference.requests).unwrap());
    let instructions = |run: &Run| number(run.instructions.unwrap_or_default());
    let all = |run: &Run, of: fn(&Sample) -> Counts| {
        let steps = run.steps.iter().map(|(_, sample)| of(sample));
        steps.fold(of(&run.init), |sum, counts| sum + counts)
    };
    let since = |of: fn(&Sample) -> Counts| {
        let before = without.map_or_else(Counts::default, |run| all(run, of));
        all(run, of) - before
    };
    let table = since(|sample| sample.table);
    let provider = since(|sample| sample.provider);
    let secrets = since(|sample| sample.secrets);
    let sum = table + provider + secrets;
    Row {
        program: program.name.to_owned(),
        request: difference.request.to_owned(),
        instructions: per(instructions(run) - without.map_or(0.0, instructions)),
        table: per(number(table.trips)),
        provider: per(number(provider.trips)),
        secrets: per(number(secrets.trips)),
        full: per(number(sum.full)),
        resumed: per(number(sum.resumed)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}
