//! `greenloop backlog`, `greenloop demo backlog`: how long connections wait in a full queue.

use super::args::{BacklogCommand, BacklogProbeArgs, BacklogServeArgs};
use super::printer::Printer;
use super::units::{show_count, show_duration};
use super::{Failure, Outcome, out};
use crate::apps::backlog::{Attempt, Kernel, Probe, SlowServer, explain};
use crate::error::Result;
use crate::signal::{SIGINT, SIGTERM, Signals};
use crate::util::defuse;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) fn dispatch(command: &BacklogCommand) -> Outcome {
    match command {
        BacklogCommand::Serve(args) => serve(args),
        BacklogCommand::Probe(args) => probe(args),
    }
}

/// Accepts until a signal.
fn serve(args: &BacklogServeArgs) -> Outcome {
    super::start_runtime(NonZeroUsize::new(1))?;
    let printer = Printer::start()?;
    let lines = printer.lines().clone();
    let (address, backlog, every) = (args.listen.clone(), args.backlog, args.every);
    let accepted = crate::run(move || -> Result<u64> {
        let signals = Signals::new(&[SIGINT, SIGTERM])?;
        let mut server = SlowServer::bind(address, backlog)?;
        lines.say(format!("listening on {}", server.addr()?));
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let accepting = crate::spawn(move || {
            server.serve(every, |peer| {
                let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
                lines.say(format!("accepted number {number}, from {peer}"));
            })
        });
        if crate::wait_any(&[&signals, &accepting])? == 1 {
            // An accept that failed for good.
            accepting.join().map_err(crate::Error::message)??;
        } else {
            accepting.kill_and_wait(None)?;
        }
        Ok(count.load(Ordering::Relaxed))
    });
    printer.finish();
    out::line(format_args!(
        "accepted {} connections",
        show_count(accepted?)
    ))
}

/// Connects and shows how long it took.
fn probe(args: &BacklogProbeArgs) -> Outcome {
    if args.address.is_datagram() {
        return Err(Failure::usage(format_args!(
            "{} has no queue of connections: expected tcp:// or unix:",
            args.address
        )));
    }
    // One worker: exactly as many get in as there is room for.
    super::start_runtime(NonZeroUsize::new(1))?;
    let probe = Probe {
        address: args.address.clone(),
        connections: args.connections.get(),
        limit: args.timeout.0,
    };
    let attempts = show(&probe, None)?;
    match attempts.iter().find_map(|a| a.error.as_ref()) {
        Some(error) if attempts.iter().all(|a| a.error.is_some()) => {
            Err(Failure::Failed(error.to_string()))
        }
        _ => Ok(()),
    }
}

/// Both sides at once; the runtime has one worker.
pub(super) fn demo(every: Duration) -> Outcome {
    let mut server = SlowServer::bind("127.0.0.1:0", DEMO_BACKLOG)?;
    let probe = Probe {
        address: server.addr()?.into(),
        connections: DEMO_CONNECTIONS,
        limit: Some(DEMO_LIMIT),
    };
    out::line(format_args!(
        "a server with backlog {DEMO_BACKLOG} that accepts one connection every {every:?}; \
         {DEMO_CONNECTIONS} clients at once"
    ))?;
    let accepting = crate::spawn(move || server.serve(every, |_| {}));
    let shown = show(&probe, Some(DEMO_BACKLOG));
    accepting.kill_and_wait(None)?;
    shown.map(drop)
}

fn show(probe: &Probe, backlog: Option<u32>) -> Result<Vec<Attempt>, Failure> {
    let (own, kernel) = (probe.clone(), Kernel::read()?);
    let attempts = crate::run(move || own.run())?;
    for (n, attempt) in (1..).zip(&attempts) {
        let took = show_duration(attempt.took);
        out::line(match &attempt.error {
            None if attempt.is_at_once() => format!("connection {n}: at once ({took})"),
            None => format!("connection {n}: after {took}"),
            Some(error) => {
                let error = defuse(&error.to_string());
                format!("connection {n}: failed after {took}: {error}")
            }
        })?;
    }
    for line in explain(&kernel, &probe.address, backlog, &attempts) {
        out::line(defuse(&line))?;
    }
    Ok(attempts)
}

const DEMO_BACKLOG: u32 = 2;

/// Twice what the queue takes: so many wait for a retry, before which two places are free.
const DEMO_CONNECTIONS: usize = 6;

/// The second retry comes after 3 s at the latest.
const DEMO_LIMIT: Duration = Duration::from_secs(5);
