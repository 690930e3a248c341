//! Judges settings before they are deployed, for `make settings` and `make deploy`. This program reads its environment
//! in the same way as the function, and prints each problem on a line of its own.
//!
//! The function itself cannot do this work here: the function is built for Lambda's processor, and this machine may
//! have another processor. This program is in the crate `simulator` for two reasons: the function's package does not
//! grow, and `make run` has already built everything that the program needs.

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
