//! A packaged file, as `CONFIG_FILE` names one.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A packaged file with this content. It is deleted with the value.
pub(crate) struct Packaged(PathBuf);

impl Packaged {
    pub(crate) fn new(content: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("otp-lambda-{}-{count}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn setting(&self) -> (&'static str, &str) {
        ("CONFIG_FILE", self.path())
    }
}

impl Drop for Packaged {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
