//! How much the long tests do.

/// Returns `small`, or `full` if `OTP_TEST_SIZE` is `full`. The variable `name` overrides both.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment sets the size of a test"
)]
pub(crate) fn size(name: &str, small: u64, full: u64) -> u64 {
    if let Ok(given) = std::env::var(name) {
        return given
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a whole number: {given}"));
    }
    match std::env::var("OTP_TEST_SIZE").as_deref() {
        Ok("full") => full,
        Ok("small") | Err(_) => small,
        Ok(other) => panic!("OTP_TEST_SIZE must be small or full: {other}"),
    }
}
