//! `greenloop upload`: sends files, with a bar on a terminal and plain lines elsewhere.

use super::args::UploadArgs;
use super::progress::{self, REDRAW_PAUSE};
use super::units::show_bytes;
use super::{EXIT_FAILURE, Failure, Outcome, out};
use crate::apps::upload::{Sent, UploadClient};
use crate::error::Result;
use crate::net::Endpoint;
use crate::util::escape;
use indicatif::ProgressBar;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Sends what `args` name; succeeds only if all of it arrived.
pub(crate) fn run(args: &UploadArgs) -> Outcome {
    let (files, address) = check(args)?;
    super::start_runtime(None)?;
    // A channel of std: its sender never waits, and its end is noticed whatever ends it.
    let (tell, told) = channel();
    let position = Arc::new(AtomicU64::new(0));
    let job = Job {
        address,
        name: args.name.clone(),
        limit: args.timeout.0,
        position: position.clone(),
        tell,
    };
    let sending = crate::spawn(move || job.send_all(&files));
    let bar = io::stderr().is_terminal().then(progress::bar);
    let printed = show(&told, &position, bar.as_ref());
    let failed = sending.join().map_err(Failure::failed)?;
    printed?;
    match failed {
        0 => Ok(()),
        // Each has had its line.
        _ => Err(Failure::Silent(EXIT_FAILURE)),
    }
}

/// The files, and where they go.
fn check(args: &UploadArgs) -> Result<(Vec<PathBuf>, Endpoint), Failure> {
    let (address, files) = match args.files_and_address.split_last() {
        Some((address, files)) if !files.is_empty() => (address, files),
        _ => {
            return Err(Failure::usage(
                "a file and the server's address are wanted (see greenloop upload --help)",
            ));
        }
    };
    if args.name.is_some() && files.len() > 1 {
        return Err(Failure::usage(
            "--name names one file, and there is more than one",
        ));
    }
    let address: Endpoint = address
        .to_string_lossy()
        .parse()
        .map_err(|e| Failure::usage(format_args!("{e} (see greenloop upload --help)")))?;
    if address.is_datagram() {
        return Err(Failure::usage(format_args!(
            "{address} is for datagrams, and an upload needs a connection: expected tcp:// or unix:"
        )));
    }
    Ok((files.iter().map(PathBuf::from).collect(), address))
}

/// What the greenlet that sends tells the thread that prints.
enum Event {
    Begun { name: String, size: u64 },
    Stored(String),
    Failed(String),
}

/// Prints until all has been sent. This thread is no worker: it may wait for a terminal.
fn show(told: &Receiver<Event>, position: &AtomicU64, bar: Option<&ProgressBar>) -> Outcome {
    let mut outcome = Ok(());
    let mut print = |print: &dyn Fn() -> Outcome| {
        let printed = bar.map_or_else(print, |bar| bar.suspend(print));
        outcome = std::mem::replace(&mut outcome, Ok(())).and(printed);
    };
    loop {
        match told.recv_timeout(REDRAW_PAUSE) {
            Ok(Event::Begun { name, size }) => {
                if let Some(bar) = bar {
                    bar.reset();
                    progress::set_total(bar, size);
                    bar.set_message(name);
                }
            }
            Ok(Event::Stored(text)) => print(&|| out::line(&text)),
            Ok(Event::Failed(text)) => print(&|| {
                out::note(&text);
                Ok(())
            }),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if let Some(bar) = bar {
            bar.set_position(position.load(Ordering::Relaxed));
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    outcome
}

struct Job {
    address: Endpoint,
    name: Option<String>,
    limit: Option<Duration>,
    position: Arc<AtomicU64>,
    tell: Sender<Event>,
}

impl Job {
    /// Sends one after the other over one connection, or over a new one after a refusal that
    /// ends it; returns how many failed.
    fn send_all(&self, files: &[PathBuf]) -> usize {
        let mut client = None;
        let mut failed = 0;
        for file in files {
            let shown = escape(file.as_os_str().as_encoded_bytes());
            let event = match self.send(&mut client, file) {
                Ok(Sent::Stored { name, size }) => {
                    let (name, size) = (escape(name.as_bytes()), show_bytes(size));
                    Event::Stored(format!("uploaded {shown} as {name} ({size})"))
                }
                Ok(Sent::Refused(answer)) => {
                    let text = escape(answer.text.as_bytes());
                    Event::Failed(format!("error: {shown}: the server refuses it: {text}"))
                }
                Err(error) => {
                    let text = crate::util::defuse(&error.to_string());
                    Event::Failed(format!("error: uploading {shown}: {text}"))
                }
            };
            failed += usize::from(matches!(event, Event::Failed(_)));
            let _ = self.tell.send(event);
        }
        failed
    }

    fn send(&self, client: &mut Option<UploadClient>, file: &Path) -> Result<Sent> {
        let open = match client.take().filter(|client| !client.is_broken()) {
            Some(open) => open,
            None => UploadClient::connect(&self.address, self.limit)?,
        };
        let name = escape(file.as_os_str().as_encoded_bytes());
        let progress = |sent, size| {
            self.position.store(sent, Ordering::Relaxed);
            if sent == 0 {
                let name = name.clone();
                let _ = self.tell.send(Event::Begun { name, size });
            }
        };
        client
            .insert(open)
            .send(file, self.name.as_deref(), progress)
    }
}
