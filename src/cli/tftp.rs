//! `greenloop tftp`: one file, with a bar on a terminal.

use super::args::{TftpCommand, TftpGetArgs, TftpPutArgs, TransferArgs};
use super::progress::{self, REDRAW_PAUSE};
use super::units::{show_bytes, show_duration};
use super::{EXIT_INTERRUPTED, Failure, Outcome, out};
use crate::apps::tftp::{Client, Transferred};
use crate::error::{Error, Result};
use crate::fs::{File, name};
use crate::net::Address;
use crate::proto::tftp::Retry;
use crate::signal::{SIGINT, SIGTERM, Signals};
use crate::util::escape;
use indicatif::ProgressBar;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Transfers the file that was asked for.
pub(crate) fn run(command: &TftpCommand) -> Outcome {
    match command {
        TftpCommand::Get(args) => get(args),
        TftpCommand::Put(args) => put(args),
    }
}

fn get(args: &TftpGetArgs) -> Outcome {
    let to = match &args.output {
        Some(to) => to.clone(),
        None => PathBuf::from(name::safe(&args.file).ok_or_else(|| {
            Failure::usage(format_args!(
                "\"{}\" ends with no name for a file: give one with -o PATH",
                args.file
            ))
        })?),
    };
    let (mut client, far) = (client(&args.server, &args.transfer), args.file.clone());
    if let Some(dally) = args.dally {
        client = client.dally(dally);
    }
    if to == Path::new("-") {
        // On a lane, as every file: a reader that does not read must not stop a worker.
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let stdout = std::fs::File::from(stdout.map_err(|e| Failure::from(Error::from(e)))?);
        let get = move |client: Client| client.get_to(&far, &mut File::from_std(stdout));
        return transfer(client, &args.file, get).map(drop);
    }
    let shown = escape(to.as_os_str().as_encoded_bytes());
    let done = transfer(client, &args.file, move |client| client.get(&far, &to))?;
    out::line(summary(&shown, &done))
}

fn put(args: &TftpPutArgs) -> Outcome {
    let far = match &args.output {
        Some(name) => name.clone(),
        None => own_name(&args.file)?,
    };
    let client = client(&args.server, &args.transfer);
    let (from, shown) = (args.file.clone(), escape(far.as_bytes()));
    let done = transfer(client, &shown, {
        let far = far.clone();
        move |client| client.put(&from, &far)
    })?;
    out::line(summary(&shown, &done))
}

/// The name of a file without its folders.
fn own_name(path: &Path) -> Result<String, Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| {
        Failure::usage(format_args!(
            "{} has no name that can be sent: give one with -o REMOTE",
            path.display()
        ))
    })
}

fn client(server: &Address, args: &TransferArgs) -> Client {
    Client::new(server.clone())
        .mode(args.mode.into())
        .block_size(args.blksize)
        .window(args.windowsize)
        .retry(Retry::new(args.timeout, args.retries))
}

fn summary(name: &str, done: &Transferred) -> String {
    let again = match done.repeated {
        0 => String::new(),
        1 => ", 1 block again".into(),
        count => format!(", {count} blocks again"),
    };
    format!(
        "{name}  {} in {}{again}",
        show_bytes(done.bytes),
        show_duration(done.elapsed)
    )
}

/// How far it is, for the bar.
#[derive(Default)]
struct Position {
    bytes: AtomicU64,
    /// Zero if it is not known.
    total: AtomicU64,
}

/// Runs a transfer in a greenlet, and shows it from this thread, which is no worker. A
/// signal ends it, and then nothing is left behind.
fn transfer(
    client: Client,
    name: &str,
    job: impl FnOnce(Client) -> Result<Transferred> + Send + 'static,
) -> Result<Transferred, Failure> {
    super::start_runtime(None)?;
    let signals = Signals::new(&[SIGINT, SIGTERM])?;
    let position = Arc::new(Position::default());
    let told = position.clone();
    let client = client.on_progress(move |bytes, total| {
        told.bytes.store(bytes, Ordering::Relaxed);
        told.total.store(total.unwrap_or(0), Ordering::Relaxed);
    });
    let running = crate::spawn(move || job(client));
    let bar = io::stderr().is_terminal().then(|| bar(name));
    let ended = loop {
        match crate::wait_any_timeout(&[&running, &signals], REDRAW_PAUSE)? {
            Some(0) => break None,
            Some(_) => break signals.try_wait(),
            None => {}
        }
        bar.iter().for_each(|bar| position.draw(bar));
    };
    bar.iter().for_each(ProgressBar::finish_and_clear);
    if let Some(signal) = ended {
        running.kill_and_wait(Some(GRACE))?;
        // 128 and the number, as a shell reports a process that a signal ended.
        let code = u8::try_from(128 + signal).unwrap_or(EXIT_INTERRUPTED);
        return Err(Failure::Silent(code));
    }
    Ok(running.join().map_err(Failure::failed)??)
}

fn bar(name: &str) -> ProgressBar {
    let bar = progress::bar();
    bar.set_message(escape(name.as_bytes()));
    bar
}

impl Position {
    fn draw(&self, bar: &ProgressBar) {
        let total = self.total.load(Ordering::Relaxed);
        if total > 0 {
            progress::set_total(bar, total);
        }
        bar.set_position(self.bytes.load(Ordering::Relaxed));
    }
}

/// Longer than a partial file takes to be removed, on a busy disk.
const GRACE: Duration = Duration::from_secs(5);
