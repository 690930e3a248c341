//! A share of a processor, as a function of little memory has it on Lambda.

use std::path::{Path, PathBuf};

/// Megabytes of memory that come with a whole processor.
const MEMORY_OF_A_PROCESSOR: u64 = 1769;

/// Microseconds. Lambda's schedulers count in such periods.
const PERIOD: u64 = 20_000;

/// A control group with one process in it. The group is removed when this is dropped.
pub(super) struct Quota(PathBuf);

impl Quota {
    /// Limits a process. Fails where this user may not make control groups.
    pub(super) fn limit(process: u32, memory: u64) -> Result<Self, String> {
        let quota = PERIOD * memory / MEMORY_OF_A_PROCESSOR;
        let name = format!("otp-lambda-bench-{process}");
        let (first, second) = (Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup"));
        let group = if first.exists() {
            Self::make(
                first.join(name),
                &[
                    ("cpu.cfs_period_us", PERIOD.to_string()),
                    ("cpu.cfs_quota_us", quota.to_string()),
                ],
            )
        } else {
            Self::make(
                second.join(name),
                &[("cpu.max", format!("{quota} {PERIOD}"))],
            )
        }?;
        group.write("cgroup.procs", &process.to_string())?;
        Ok(group)
    }

    fn make(folder: PathBuf, limits: &[(&str, String)]) -> Result<Self, String> {
        std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let group = Self(folder);
        for (file, value) in limits {
            group.write(file, value)?;
        }
        Ok(group)
    }

    fn write(&self, file: &str, value: &str) -> Result<(), String> {
        let path = self.0.join(file);
        std::fs::write(&path, value).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // Only an empty group can be removed. Its process ends a moment before or after this.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
