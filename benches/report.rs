//! The table and the JSON of `make bench`.

use super::instructions::Row;
use super::script::Program;
use super::times::{Delays, Process, Spread, Times};
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::Command;

/// Everything that was measured about one program.
pub(super) struct Measured {
    pub(super) program: Program,
    pub(super) rows: Vec<Row>,
    pub(super) times: Vec<Times>,
    pub(super) process: Process,
}

/// The machine, the time and the state of the sources.
pub(super) fn context() -> Value {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split_once(": "))
        .map(|(_, name)| name.trim());
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "processor": model,
        "processors": processors,
        "loadAtStart": load.split(' ').next(),
        "architecture": std::env::consts::ARCH,
        "date": output("date", &["-u", "+%F %R"]),
        "commit": output("git", &["describe", "--always", "--dirty"]),
        "valgrind": output("valgrind", &["--version"]),
    })
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.trim().to_owned())
}

pub(super) fn json(context: &Value, delays: Delays, measured: &[Measured]) -> Value {
    let programs: Vec<Value> = measured.iter().map(program).collect();
    json!({
        "context": context,
        "delaysMs": {
            "table": delays.table.as_millis(),
            "provider": delays.provider.as_millis(),
            "roundTrip": delays.round_trip.as_millis(),
        },
        "programs": programs,
    })
}

fn program(measured: &Measured) -> Value {
    let requests = measured.times.iter().map(|times| {
        let [whole, larger, smaller] = times.wall.map(|wall| wall.map(Spread::json));
        json!({
            "request": times.request,
            "processorMs": times.processor.json(),
            "faults": times.faults.json(),
            "wallMs": { "whole": whole, "256 MB": larger, "128 MB": smaller },
        })
    });
    json!({
        "program": measured.program.name,
        "binaryBytes": size(&measured.program),
        "peakKiB": measured.process.peak_kib.json(),
        "threads": measured.process.threads.json(),
        "counts": measured.rows,
        "times": requests.collect::<Vec<_>>(),
    })
}

/// The size of a program that is one file.
fn size(program: &Program) -> Option<u64> {
    let [file] = program.command.as_slice() else {
        return None;
    };
    Some(std::fs::metadata(file).ok()?.len())
}

/// The counts alone.
pub(super) fn counts(rows: &[Row]) -> String {
    let mut text = String::from(
        "| program | request | million instructions | to the table | to the provider | to Secrets Manager | handshakes: full, resumed |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {:.3} | {} | {} | {} | {}, {} |",
            row.program,
            row.request,
            row.instructions / 1e6,
            row.table,
            row.provider,
            row.secrets,
            row.full,
            row.resumed
        );
    }
    text
}

/// The whole table.
pub(super) fn table(measured: &[Measured]) -> String {
    let mut text = String::from(
        "| program | request | million instructions | processor ms (least to most) | page faults | requests to AWS | \
         handshakes: full, resumed | ms with delays: whole processor, 256 MB, 128 MB |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for one in measured {
        for times in &one.times {
            let row = one.rows.iter().find(|row| row.request == times.request);
            let [instructions, trips, handshakes] = row.map_or_else(
                || ["–"; 3].map(str::to_owned),
                |row| {
                    [
                        format!("{:.3}", row.instructions / 1e6),
                        format!("{:.0}", row.table + row.provider + row.secrets),
                        format!("{:.0}, {:.0}", row.full, row.resumed),
                    ]
                },
            );
            let wall = times.wall.map(|wall| {
                wall.map_or_else(|| "–".to_owned(), |wall| format!("{:.0}", wall.median))
            });
            let _ = writeln!(
                text,
                "| {} | {} | {instructions} | {:.2} ({:.2} to {:.2}) | {:.0} | {trips} | {handshakes} | {} |",
                one.program.name,
                times.request,
                times.processor.median,
                times.processor.least,
                times.processor.most,
                times.faults.median,
                wall.join(", ")
            );
        }
    }
    text.push_str("\n| program | first send ÷ send | start and first send, millions | peak memory | threads | binary |\n|---|---|---|---|---|---|\n");
    for one in measured {
        let of = |request: &str| {
            let row = one.rows.iter().find(|row| row.request == request);
            row.map(|row| row.instructions / 1e6)
        };
        let [init, first, send] = ["init", "first send", "send"].map(of);
        let shown = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
        };
        let ratio = shown(first.zip(send).map(|(first, send)| first / send));
        let sum = shown(init.zip(first).map(|(init, first)| init + first));
        let binary = size(&one.program).map_or_else(
            || "–".to_owned(),
            |size| format!("{:.2} MB", super::instructions::number(size) / 1e6),
        );
        let _ = writeln!(
            text,
            "| {} | {ratio} | {sum} | {:.1} MiB | {:.0} | {binary} |",
            one.program.name,
            one.process.peak_kib.median / 1024.0,
            one.process.threads.median,
        );
    }
    text
}
