//! Judges settings before they are deployed, for `make settings` and `make deploy`. It reads this process's environment
//! as the function would, and prints each problem on a line of its own.
//!
//! It is a separate program because the function is built for Lambda's processor, which this machine may not have. It
//! is in this crate so that the function's package does not grow, and because `make run` has already built everything
//! that it needs.

use otp_lambda::settings::Settings;
use std::process::ExitCode;

#[expect(
    clippy::print_stdout,
    reason = "a program that a person or a script starts"
)]
fn main() -> ExitCode {
    match Settings::from_environment() {
        Ok(_) => ExitCode::SUCCESS,
        Err(problems) => {
            for problem in problems.0 {
                println!("{problem}");
            }
            ExitCode::FAILURE
        }
    }
}
