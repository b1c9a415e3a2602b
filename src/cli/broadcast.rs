//! `greenloop broadcast`: asks everybody, and prints who answers.

use super::args::BroadcastArgs;
use super::printer::Printer;
use super::units::show_count;
use super::{Outcome, out, start_runtime};
use crate::apps::broadcast::Broadcast;
use crate::error::{Error, Result};
use crate::runtime::spawn::spawn;
use crate::signal::{SIGINT, SIGTERM, Signals};
use crate::sync::wait_any;
use crate::util::escape;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Prints answers until the time is over or a signal comes, which is no failure.
pub(super) fn run(args: &BroadcastArgs) -> Outcome {
    start_runtime(None)?;
    let printer = Printer::start()?;
    let broadcast = Broadcast::new(args.port.get(), args.message.as_bytes()).wait(args.wait);
    let broadcast = args.address.iter().fold(broadcast, |b, ip| b.to(*ip));
    let heard = Arc::new(AtomicU64::new(0));
    let (lines, count) = (printer.lines().clone(), heard.clone());
    let ended: Result<()> = crate::run(move || {
        let signals = Signals::new(&[SIGINT, SIGTERM])?;
        let asking = spawn(move || {
            broadcast.run(|peer, answer| {
                count.fetch_add(1, Ordering::Relaxed);
                lines.say(format!("{peer}: {}", escape(answer)));
            })
        });
        if wait_any(&[&asking, &signals])? == 0 {
            return asking.join().map_err(Error::message)?.map(drop);
        }
        asking.kill();
        Ok(())
    });
    printer.finish();
    ended?;
    let heard = heard.load(Ordering::Relaxed);
    let many = if heard == 1 { "" } else { "s" };
    out::line(format_args!("{} answer{many}", show_count(heard)))
}
