//! What a signal does to a run of downloads.

use super::printer::To;
use super::watcher::Watcher;
use crate::cli::args::GetArgs;
use crate::cli::feed::Feed;
use crate::cli::out;
use crate::error::Result;
use crate::fetch::{Entry, Stop};
use crate::runtime::signal::{end_by, not_ignored};
use crate::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, Signals};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// What a signal does: the first stops the run, the second ends the process; SIGUSR1 asks
/// how things stand. One that the process was started to ignore stays ignored, as nohup(1)
/// wants it.
pub(super) struct Interrupt(Arc<AtomicI32>);

impl Interrupt {
    pub(super) fn watch(
        stop: &Stop,
        entries: &Feed<Entry>,
        watcher: Option<&Arc<Watcher>>,
    ) -> Result<Self> {
        let ending = not_ignored(&[SIGINT, SIGTERM, SIGHUP]);
        let signals = Signals::new(&[&ending[..], &[SIGUSR1]].concat())?;
        let seen = Arc::new(AtomicI32::new(0));
        let (mine, stop, entries) = (seen.clone(), stop.clone(), entries.clone());
        let watcher = watcher.cloned();
        crate::try_spawn(move || {
            while let Ok(signal) = signals.wait() {
                if signal == SIGUSR1 {
                    if let Some(watcher) = &watcher {
                        watcher.say_standing();
                    }
                    continue;
                }
                if mine.swap(signal, Ordering::SeqCst) != 0 {
                    end_by(signal);
                }
                stop.stop();
                entries.close();
                match &watcher {
                    None => out::note(STOPPING),
                    Some(watcher) => {
                        watcher.say(To::Error, |text| text.extend([STOPPING, "\n"]));
                        watcher.hooks.stop();
                    }
                }
            }
        })?;
        Ok(Self(seen))
    }

    pub(super) fn signal(&self) -> Option<i32> {
        Some(self.0.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }
}

const STOPPING: &str = "stopping; once more ends at once";

/// What is said after an interrupt.
pub(super) fn resume_hint(args: &GetArgs) -> String {
    match how_to_go_on(args) {
        Some(how) => format!("interrupted: partial files are kept; {how}"),
        None => "interrupted".to_owned(),
    }
}

/// How to go on with what is left; `None` where nothing is saved.
pub(super) fn how_to_go_on(args: &GetArgs) -> Option<&'static str> {
    let reads_list = args
        .input
        .input_file
        .iter()
        .any(|path| path == Path::new("-"));
    match (
        args.disk.no_save || args.disk.dry_run,
        args.disk.no_journal,
        reads_list,
    ) {
        (true, ..) => None,
        (false, false, false) => Some("the same command goes on"),
        (false, false, true) => Some("the same command and list goes on"),
        // Nobody remembers what is done.
        (false, true, false) => Some("the same command with --existing skip goes on"),
        (false, true, true) => Some("the same command and list with --existing skip goes on"),
    }
}
