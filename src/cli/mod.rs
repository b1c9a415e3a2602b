//! The `greenloop` command: arguments, printing, exit codes.
//!
//! Only this floor prints, reads the environment and chooses exit codes. What a subcommand
//! computes comes from the floors below as data; here it becomes lines, bars or JSON.
//! Every failure is one line `error: …` on standard error. Exit codes: 0 all went well,
//! 1 something failed, 2 wrong usage, 130 interrupted, 141 nobody reads the output.

mod args;
mod backlog;
mod broadcast;
mod chat;
mod completions;
mod connect;
mod demo;
mod demo_models;
mod feed;
mod get;
mod help;
mod listen;
mod load;
mod logging;
mod man;
mod out;
mod printer;
mod process_tree;
mod progress;
mod serve;
mod terminal;
mod tftp;
mod tour;
mod units;
mod upload;

use args::{Cli, Clients, Command, Demos, Servers, Tools};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, FromArgMatches};
use std::ffi::OsString;
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;

/// Why a subcommand ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for something that cannot be: exit code 2.
    Usage(String),
    /// It was tried and did not work: exit code 1.
    Failed(String),
    /// Said already; only the exit code is left.
    Silent(u8),
    /// A signal stopped it, and all is said: ends as the signal's default would have done,
    /// so that a shell or make that waits for it stops too.
    Signal(i32),
    /// Nobody reads standard output: ends like a process that got SIGPIPE.
    PipeClosed,
}

type Outcome = Result<(), Failure>;

const EXIT_FAILURE: u8 = 1;
const EXIT_USAGE: u8 = 2;
/// 128 and the signal's number, as a shell reports it.
const EXIT_INTERRUPTED: u8 = 128 + 2;
const EXIT_PIPE_CLOSED: u8 = 128 + 13;

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Failure {
    fn failed(what: impl Display) -> Self {
        Self::Failed(what.to_string())
    }

    fn usage(what: impl Display) -> Self {
        Self::Usage(what.to_string())
    }
}

/// Runs the command with `args` (the first one is the program's name) and returns its exit
/// code.
///
/// Not for embedding: it prints, sets up the process's logging and starts the runtime.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let outcome = match parse(&args) {
        Ok((cli, matches)) => {
            let logging = logging::set_up(cli.verbose, log_file(&cli.command));
            logging.and_then(|()| dispatch(cli.command, &matches))
        }
        Err(error) if error.use_stderr() => Err(usage_failure(error, &args)),
        // --help and --version come as errors too.
        Err(help) => out::line(help.render().to_string().trim_end()),
    };
    ExitCode::from(match outcome {
        Ok(()) => 0,
        Err(Failure::Usage(text)) => complain(&text, EXIT_USAGE),
        Err(Failure::Failed(text)) => complain(&text, EXIT_FAILURE),
        Err(Failure::Silent(code)) => code,
        Err(Failure::Signal(signal)) => {
            crate::runtime::signal::end_by(signal);
            // Where the signal does nothing: what a shell would have told.
            u8::try_from(128 + signal).unwrap_or(EXIT_INTERRUPTED)
        }
        Err(Failure::PipeClosed) => EXIT_PIPE_CLOSED,
    })
}

fn parse(args: &[OsString]) -> clap::error::Result<(Cli, ArgMatches)> {
    let matches = help::definition().try_get_matches_from(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok((cli, matches))
}

fn dispatch(command: Command, matches: &ArgMatches) -> Outcome {
    match command {
        Command::Demos(Demos::Tour) => tour::run(),
        Command::Demos(Demos::Demo(command)) => demo::run(&command),
        Command::Servers(Servers::Listen(args)) => listen::run(&args),
        Command::Servers(Servers::Serve(command)) => serve::dispatch(&command),
        Command::Clients(Clients::Broadcast(args)) => broadcast::run(&args),
        Command::Clients(Clients::Chat(args)) => chat::run(&args),
        Command::Clients(Clients::Connect(args)) => connect::run(&args),
        Command::Clients(Clients::Load(args)) => load::run(&args),
        Command::Clients(Clients::Get(args)) => {
            // It is the command, so its matches are there.
            get::run(&args, matches.subcommand().map_or(matches, |(_, get)| get))
        }
        Command::Clients(Clients::Upload(args)) => upload::run(&args),
        Command::Clients(Clients::Tftp(command)) => tftp::run(&command),
        Command::Tools(Tools::Backlog(command)) => backlog::dispatch(&command),
        Command::Tools(Tools::Completions(args)) => completions::run(&args),
        Command::Tools(Tools::Man(args)) => man::run(&args),
    }
}

/// Starts the runtime with so many workers, or one per core.
fn start_runtime(workers: Option<NonZeroUsize>) -> Outcome {
    let config = crate::Config::new();
    Ok(match workers {
        Some(count) => config.workers(count.get()),
        None => config,
    }
    .start()?)
}

fn complain(text: &str, code: u8) -> u8 {
    // An operating system's or a peer's words may come with anything in them.
    out::note(format_args!("error: {}", crate::util::defuse(text)));
    code
}

/// Makes one line of the parser's answer and points to the help of the subcommand meant.
fn usage_failure(error: clap::Error, args: &[OsString]) -> Failure {
    let meant = command_meant(args);
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage(format_args!(
            "{meant} needs a subcommand (see {meant} --help)"
        ));
    }
    let text = without_secrets(error).render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let told: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|l| !l.is_empty())
        .collect();
    let told = told.join(" ");
    Failure::usage(format_args!("{told} (see {meant} --help)"))
}

/// Takes the value out of an error that may be read by others, in the log of a job.
fn without_secrets(mut error: clap::Error) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let (option, value) = (
        text(ContextKind::InvalidArg),
        text(ContextKind::InvalidValue),
    );
    let name = option.split([' ', '=']).next().unwrap_or_default();
    let id = name.trim_start_matches('-').replace('-', "_");
    if !value.is_empty() {
        let shown = args::shown(&id, &value);
        error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
    }
    error
}

/// `greenloop serve echo` for arguments that begin so.
fn command_meant(args: &[OsString]) -> String {
    let mut command = help::definition();
    let mut path = command.get_name().to_owned();
    for name in args.iter().skip(1) {
        let Some(inner) = command.find_subcommand(name).cloned() else {
            continue;
        };
        path = format!("{path} {}", inner.get_name());
        command = inner;
    }
    path
}

/// The file that a command writes its log to.
fn log_file(command: &Command) -> Option<&Path> {
    match command {
        Command::Clients(Clients::Get(args)) => args.watch.log.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(args: &[&str]) -> String {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        match parse(&args).map_err(|e| usage_failure(e, &args)) {
            Err(Failure::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn usage_errors_are_one_line_with_the_right_help() {
        for args in [
            &["greenloop"][..],
            &["greenloop", "fly"],
            &["greenloop", "serve", "echo", "--drain", "1d"],
            &["greenloop", "load"],
            &["greenloop", "get", "--listne", "x"],
        ] {
            let text = told(args);
            assert!(!text.contains('\n') && text.contains("--help)"), "{text}");
        }
        let text = told(&["greenloop", "serve", "echo", "--drain", "1d"]);
        assert!(text.contains("(see greenloop serve echo --help)"), "{text}");
        assert!(text.contains("unknown unit \"d\""), "{text}");
        let text = told(&["greenloop", "get", "http://h/", "-j", "-1"]);
        assert!(text.contains("a whole number from 1 to 65535"), "{text}");
    }
}
