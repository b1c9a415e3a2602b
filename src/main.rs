//! The `greenloop` command; all of it is in [`greenloop::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    greenloop::cli::run(std::env::args_os())
}
