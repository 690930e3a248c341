//! Judges settings before they are deployed, for `make settings` and `make deploy`. It reads this process's environment
//! as the function would, and prints each problem on a line of its own.
//!
//! The function itself cannot do this work here: the function is built for Lambda's processor, and this machine may
//! have another processor. The program is in this crate for two reasons: the function's package does not grow, and
//! `make run` has already built everything that the program needs.

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
