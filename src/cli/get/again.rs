//! The same command line for other input: how to try again what failed.

use crate::cli::{args, help};
use crate::util::escape;
use clap::ArgMatches;
use clap::parser::ValueSource;
use std::path::Path;

/// The options of a command line of `get`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again<'a>(pub(super) &'a ArgMatches);

impl Again<'_> {
    /// The command that reads `list`, and writes what fails then into it again.
    pub(super) fn with_list(self, list: &Path) -> String {
        let name = list.to_string_lossy();
        let mut words = self.words(&[INPUT, OF_ONE].concat());
        for option in ["--save-session", "--input-file"] {
            words.extend([option.to_owned(), name.to_string()]);
        }
        command(&words)
    }

    /// The command that gets these URLs, which are as many as were given before if that
    /// was one.
    pub(super) fn with_urls(self, urls: &[String]) -> String {
        let mut words = self.words(INPUT);
        words.extend(urls.iter().cloned());
        command(&words)
    }

    /// The options that were given, without some. What is secret is not shown.
    fn words(self, without: &[&str]) -> Vec<String> {
        let definition = help::definition();
        let get = definition.find_subcommand("get");
        let mut words = Vec::new();
        for arg in get.into_iter().flat_map(clap::Command::get_arguments) {
            let id = arg.get_id().as_str();
            let Some(long) = arg.get_long().filter(|_| !without.contains(&id)) else {
                continue;
            };
            if self.0.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            if !arg.get_action().takes_values() {
                words.push(format!("--{long}"));
                continue;
            }
            for value in self.0.get_raw(id).into_iter().flatten() {
                let value = args::shown(id, &value.to_string_lossy());
                // Where a word of its own would be taken for another option.
                match arg.is_require_equals_set() || value.starts_with('-') || value.is_empty() {
                    true => words.push(format!("--{long}={value}")),
                    false => words.extend([format!("--{long}"), value]),
                }
            }
        }
        words
    }
}

/// Words for a shell, and fit for a terminal.
fn command(words: &[String]) -> String {
    let mut command = String::from("greenloop get");
    for word in words {
        let word = escape(word.as_bytes());
        command.push(' ');
        // The escaped text has no NUL, which alone cannot be quoted.
        command.push_str(&shlex::try_quote(&word).unwrap_or_default());
    }
    if command.contains(args::SECRET) {
        command.push_str(" (with what *** stands for)");
    }
    command
}

/// What is to be got, and what tells of that run as a whole.
const INPUT: &[&str] = &[
    "urls",
    "input_file",
    "input_format",
    "glob",
    "save_session",
    "report",
    "write_checksums",
];

/// What is about the one URL, and stands in a list with its entry.
const OF_ONE: &[&str] = &["out", "checksum"];
