//! Judges settings before they are deployed, for `make settings` and `make deploy`. It reads this process's environment
//! as the function would, and prints every problem on a line of its own.
//!
//! It is a program of its own because the function is built for Lambda's processor, and this machine may have another
//! one. It is in this crate because the function's package must not grow. `make run` has already built all that it
//! needs.

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
