//! `greenloop completions`: what a shell needs to complete our command lines.

use super::args::{CompletionsArgs, ShellArg};
use super::{Outcome, help, out};
use clap_complete::{Shell, generate};

/// Prints the script for the shell that `args` name.
pub(crate) fn run(args: &CompletionsArgs) -> Outcome {
    let shell = match args.shell {
        ShellArg::Bash => Shell::Bash,
        ShellArg::Zsh => Shell::Zsh,
        ShellArg::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut help::definition(), "greenloop", &mut script);
    out::line(String::from_utf8_lossy(&script).trim_end())
}
