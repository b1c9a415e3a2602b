//! What the program says of itself: on standard error, and in the file of `--log`.

use super::get::exit;
use super::{Failure, Outcome};
use env_logger::{Builder, Logger, Target};
use log::{LevelFilter, Log, Metadata, Record};
use std::fs::OpenOptions;
use std::path::Path;

/// Says warnings on standard error, or more, and everything in the file.
pub(super) fn set_up(verbose: u8, file: Option<&Path>) -> Outcome {
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    let mut screen = Builder::new();
    screen.filter_level(level).parse_env("RUST_LOG");
    quiet(&mut screen);
    // Its lines are printed anyway.
    screen.filter_module(STORY, LevelFilter::Off);
    let both = Both {
        screen: screen.build(),
        file: file.map(of_file).transpose()?,
    };
    let most = both.file.as_ref().map(Logger::filter);
    log::set_max_level(most.max(Some(both.screen.filter())).unwrap_or(level));
    // A second logger in one process is the caller's choice, not a failure.
    let _ = log::set_boxed_logger(Box::new(both));
    Ok(())
}

/// Where the log of a run of downloads says what becomes of them.
pub(super) const STORY: &str = "greenloop::get";

fn of_file(path: &Path) -> Result<Logger, Failure> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    let file = file.map_err(|error| {
        let what = format_args!("opening the log {}", path.display());
        exit::of_file(&error, what)
    })?;
    let mut builder = Builder::new();
    builder
        .filter_level(LevelFilter::Debug)
        .format_timestamp_millis()
        .target(Target::Pipe(Box::new(file)));
    quiet(&mut builder);
    Ok(builder.build())
}

fn quiet(builder: &mut Builder) {
    // These log per descriptor and per closed connection.
    builder.filter_module("may", LevelFilter::Warn);
    builder.filter_module("generator", LevelFilter::Warn);
    builder.filter_module("may_minihttp", LevelFilter::Off);
    // This calls it an error when a stopped process goes on; rustls tells what the error says.
    builder.filter_module("may::io::event_loop", LevelFilter::Off);
    builder.filter_module("rustls", LevelFilter::Error);
}

struct Both {
    screen: Logger,
    file: Option<Logger>,
}

impl Log for Both {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let of_file = |file: &Logger| file.enabled(metadata);
        self.screen.enabled(metadata) || self.file.as_ref().is_some_and(of_file)
    }

    fn log(&self, record: &Record<'_>) {
        // Each passes over what is not for it.
        self.screen.log(record);
        if let Some(file) = &self.file {
            file.log(record);
        }
    }

    fn flush(&self) {
        self.screen.flush();
        if let Some(file) = &self.file {
            file.flush();
        }
    }
}
