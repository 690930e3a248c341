//! The size of the long tests.

use simulator::sized;

/// The value of the variable `name`, which `make soak` sets, or else `small` or `full` by `OTP_TEST_SIZE`.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment sets the size of a test"
)]
pub(crate) fn size(name: &str, small: u64, full: u64) -> u64 {
    std::env::var(name).map_or_else(
        |_| sized(small, full),
        |value| {
            value
                .parse()
                .unwrap_or_else(|_| panic!("{name} must be a whole number: {value}"))
        },
    )
}
