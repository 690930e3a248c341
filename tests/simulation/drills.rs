//! Runbook drills: the metrics of half a day with one cause of each alarm, and of quiet months.
//!
//! Each drill runs the real function in virtual time: its events, its log lines, its requests to the provider. Honest
//! people come and go, and for a while something is wrong. `tests/e2e/test_drills.py` compares the metrics with the
//! alarms of `deploy/parts/monitoring.yaml`.

mod causes;
mod people;
mod recorder;
mod town;

use causes::{Cause, drills};
use people::{People, Person, Size, Step};
use serde_json::{Value, json};
use std::path::PathBuf;
use town::Town;

/// A service with a few verifications in an hour.
const SMALL: Size = Size {
    over_http: 2.0,
    sign_ins: 0.5,
};

/// A service that fills almost half of the default of `BUDGETS` on a usual day.
const MIDDLE: Size = Size {
    over_http: 20.0,
    sign_ins: 4.0,
};

const NOBODY: Size = Size {
    over_http: 0.0,
    sign_ins: 0.0,
};

const DAY: u32 = 24 * 60;

/// Where the Python test finds the metrics, also if `CARGO_TARGET_DIR` is another folder.
fn folder() -> PathBuf {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp/drills"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(name: &str, drill: &Value) {
    let file = folder().join(format!("{name}.json"));
    std::fs::write(file, drill.to_string()).unwrap();
}

/// Deletes the drills of an earlier version.
fn delete_all_but_quiet_days() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().starts_with("quiet-") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// Runs on one thread, with a clock that jumps over waits.
fn in_virtual_time<F: Future>(work: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build();
    runtime.unwrap().block_on(work)
}

/// The metrics of these minutes, in which one thing goes wrong.
async fn drill(cause: &Cause) -> Value {
    let mut town = Town::new(17).await;
    town.deploy(cause.settings).await;
    let mut people = People::default();
    for minute in cause.starts..cause.starts + cause.minutes {
        let now = minute - cause.starts;
        cause.act(&mut town, &mut people, minute, now).await;
        people.come(&mut town.rng.fork(), minute, cause.size, None);
        people.act(&mut town, u64::from(minute + 1) * 60_000).await;
    }
    json!({
        "starts": cause.starts, "minutes": cause.minutes, "begins": causes::BEGINS,
        "ends": causes::BEGINS + cause.lasts, "series": town.recorder.series(),
    })
}

/// Days of honest people, and now and then a hiccup of the provider. Each day, two sign-ins in a row are slow.
async fn quiet(size: Size, days: u32) -> Value {
    let mut town = Town::new(30).await;
    let mut people = People::default();
    for minute in 0..days * DAY {
        let at = u64::from(minute) * 60_000;
        people.come(&mut town.rng.fork(), minute, size, None);
        if size != NOBODY && causes::signs_in_slowly(minute) {
            let person = Person::new(&mut town.rng.fork(), "US", true);
            people.add(at, person, Step::Ask);
        }
        town.provider_fails = causes::hiccup(minute);
        people.act(&mut town, at + 30_000).await;
        town.provider_fails = None;
        people.act(&mut town, at + 60_000).await;
    }
    json!({ "starts": 0, "minutes": days * DAY, "series": town.recorder.series() })
}

#[test]
#[ignore = "writes the metrics for tests/e2e/test_drills.py"]
fn each_cause_is_recorded() {
    delete_all_but_quiet_days();
    for cause in drills() {
        write(cause.name, &in_virtual_time(drill(&cause)));
    }
}

#[test]
#[ignore = "writes the metrics for tests/e2e/test_drills.py"]
fn a_quiet_month_of_a_small_service_is_recorded() {
    write("quiet-nobody", &in_virtual_time(quiet(NOBODY, 30)));
    write("quiet-small", &in_virtual_time(quiet(SMALL, 30)));
}

/// A month has four times the requests of all drills, and takes a minute or two. No alarm remembers more than a day, so a
/// week has all that a month has. `OTP_DRILL_DAYS` sets another number of days. Thirty were tried, and rang nothing.
#[test]
#[ignore = "writes the metrics for tests/e2e/test_drills.py"]
#[expect(
    clippy::disallowed_methods,
    reason = "the environment sets the number of days"
)]
fn quiet_days_of_a_middle_service_are_recorded() {
    let days = std::env::var("OTP_DRILL_DAYS").map_or(7, |days| days.parse().unwrap());
    write("quiet-middle", &in_virtual_time(quiet(MIDDLE, days)));
}
