//! `greenloop demo`: the demos on standard output.

use super::args::{Demo, DemoArgs};
use super::{Outcome, out};
use crate::apps::demo_framing::framing_demo;
use crate::apps::demo_gevent::gevent_demo;
use crate::apps::demo_switch::{greenlet_demo, yield_demo};
use std::io::{self, Write};
use std::time::Duration;

/// The tutorial's pause between two lines of the yield demo.
const YIELD_PAUSE: Duration = Duration::from_millis(500);
/// The tutorial's `gevent.sleep(1)`.
const GEVENT_PAUSE: Duration = Duration::from_secs(1);

/// Runs what `args` ask for.
pub(crate) fn run(args: &DemoArgs) -> Outcome {
    // One worker: one greenlet at a time, in the same order on every run.
    crate::Config::new().workers(1).start()?;
    if args.which == Demo::Framing {
        return framing();
    }
    run_into(args, &mut io::stdout()).map_err(out::write_failure)
}

/// Shown when it is over: a connection that fails is no failure of standard output.
fn framing() -> Outcome {
    let mut text = Vec::new();
    framing_demo(&mut text)?;
    out::line(String::from_utf8_lossy(&text).trim_end())
}

/// Runs what `args` ask for, printing into `out`; the runtime has been started.
pub(crate) fn run_into(args: &DemoArgs, out: &mut dyn Write) -> io::Result<()> {
    let DemoArgs {
        rounds,
        delay,
        trace,
        ..
    } = *args;
    let gevent_pause = delay.unwrap_or(GEVENT_PAUSE);
    match args.which {
        Demo::Yield => yield_demo(out, rounds, delay.unwrap_or(YIELD_PAUSE), trace),
        Demo::Greenlet => greenlet_demo(out, rounds, trace),
        Demo::Gevent => gevent_demo(out, rounds, args.sleep.then_some(gevent_pause), trace),
        Demo::All => {
            writeln!(out, "yield: B drives A")?;
            yield_demo(out, rounds, delay.unwrap_or(YIELD_PAUSE), trace)?;
            writeln!(out, "greenlet: test1 and test2 switch to each other")?;
            greenlet_demo(out, rounds, trace)?;
            writeln!(out, "gevent: no place to switch, one after the other")?;
            gevent_demo(out, rounds, None, trace)?;
            writeln!(out, "gevent: with sleep, in turns")?;
            gevent_demo(out, rounds, Some(gevent_pause), trace)
        }
        Demo::Framing => Ok(framing_demo(out)?),
    }
}
