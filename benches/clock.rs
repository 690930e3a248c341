//! The clock of a counted program: its time passes slowly, and silences pass at once. `clock.c` has the other half.

use super::folder;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The clock of one process.
#[derive(Debug)]
pub(super) struct Clock {
    file: PathBuf,
    silences: AtomicU64,
}

/// Compiles the library that counted programs load first.
pub(super) fn compile() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/clock.c");
    fs::create_dir_all(folder()).unwrap();
    let compiled = Command::new("cc")
        .args([
            "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
        ])
        .args([library(), source])
        .status();
    assert!(compiled.expect("cc should be installed").success());
}

fn library() -> PathBuf {
    folder().join("clock.so")
}

impl Clock {
    /// `file` is what the harness and the process share.
    pub(super) fn new(file: PathBuf) -> Self {
        fs::write(&file, 0_u64.to_ne_bytes()).unwrap();
        Self {
            file,
            silences: AtomicU64::new(0),
        }
    }

    /// The variables of the process.
    pub(super) fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", library().display().to_string()),
            ("OTP_BENCH_CLOCK", self.file.display().to_string()),
        ]
    }

    pub(super) fn let_pass(&self, silence: Duration) {
        let nanoseconds = u64::try_from((self.silences() + silence).as_nanos()).unwrap();
        self.silences.store(nanoseconds, Ordering::SeqCst);
        // The process has mapped the file, so it must not be truncated.
        let mut file = OpenOptions::new().write(true).open(&self.file).unwrap();
        file.write_all(&nanoseconds.to_ne_bytes()).unwrap();
    }

    pub(super) fn silences(&self) -> Duration {
        Duration::from_nanos(self.silences.load(Ordering::SeqCst))
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_sees_a_silence_that_passes_at_once() {
    compile();
    let clock = Clock::new(folder().join("date.clock"));
    let hour = 3600;
    let seconds = |variables: &[(&str, String)]| -> u64 {
        let variables = variables.iter().map(|(name, value)| (name, value));
        let date = Command::new("date").arg("+%s").envs(variables).output();
        let text = String::from_utf8(date.unwrap().stdout).unwrap();
        text.trim().parse().unwrap()
    };
    clock.let_pass(Duration::from_secs(hour));
    // The control is a program without this clock.
    let (own, other) = (seconds(&clock.variables()), seconds(&[]));
    assert!((hour - 60..=hour).contains(&(own - other)), "{own} {other}");
}
