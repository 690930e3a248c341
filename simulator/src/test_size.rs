//! The size of tests: the environment variable `OTP_TEST_SIZE` is `small`, the default, or `full`.

use std::env;

/// The number of repetitions, seeds or requests of a test: `small` for a quick `cargo test`, `full` for `make test`.
///
/// # Panics
///
/// If `OTP_TEST_SIZE` has any other value. Without this panic, a typing error would turn a full run into a small one.
#[must_use]
pub fn sized<T>(small: T, full: T) -> T {
    if is_full() { full } else { small }
}

/// Whether tests run in full: see [`sized`].
///
/// # Panics
///
/// As [`sized`].
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is not a setting of the service"
)]
pub fn is_full() -> bool {
    match env::var("OTP_TEST_SIZE").as_deref() {
        Ok("full") => true,
        Ok("small") | Err(env::VarError::NotPresent) => false,
        other => panic!("OTP_TEST_SIZE must be `small` or `full`, not {other:?}"),
    }
}
