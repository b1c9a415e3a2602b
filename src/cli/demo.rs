//! `greenloop demo`: the demos on standard output.

use super::args::{DemoCommand, SwitchArgs};
use super::{Outcome, backlog, demo_models, out};
use crate::apps::demo_framing::framing_demo;
use crate::apps::demo_gevent::gevent_demo;
use crate::apps::demo_switch::{greenlet_demo, yield_demo};
use std::io::{self, Write};
use std::time::Duration;

/// The tutorial's pause between two lines of the yield demo.
const YIELD_PAUSE: Duration = Duration::from_millis(500);
/// The tutorial's `gevent.sleep(1)`.
const GEVENT_PAUSE: Duration = Duration::from_secs(1);

/// Runs the demo that was asked for.
pub(crate) fn run(command: &DemoCommand) -> Outcome {
    match command {
        DemoCommand::Yield(args) => switch(|out| run_yield(out, args)),
        DemoCommand::Greenlet(args) => switch(|out| run_greenlet(out, args)),
        DemoCommand::Gevent { args, sleep } => switch(|out| run_gevent(out, args, *sleep)),
        DemoCommand::All(args) => switch(|out| run_all(out, args)),
        DemoCommand::Framing => framing(),
        DemoCommand::Backlog { every } => {
            start_one_worker()?;
            backlog::demo(*every)
        }
        DemoCommand::Models(args) => demo_models::run(args),
    }
}

fn switch(demo: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Outcome {
    start_one_worker()?;
    demo(&mut io::stdout()).map_err(out::write_failure)
}

/// One worker: one greenlet at a time, in the same order on every run.
fn start_one_worker() -> Outcome {
    Ok(crate::Config::new().workers(1).start()?)
}

/// Shown when it is over: a connection that fails is no failure of standard output.
fn framing() -> Outcome {
    start_one_worker()?;
    let mut text = Vec::new();
    framing_demo(&mut text)?;
    out::line(String::from_utf8_lossy(&text).trim_end())
}

fn run_yield(out: &mut dyn Write, args: &SwitchArgs) -> io::Result<()> {
    let delay = args.delay.unwrap_or(YIELD_PAUSE);
    yield_demo(out, args.rounds, delay, args.trace)
}

fn run_greenlet(out: &mut dyn Write, args: &SwitchArgs) -> io::Result<()> {
    greenlet_demo(out, args.rounds, args.trace)
}

fn run_gevent(out: &mut dyn Write, args: &SwitchArgs, sleep: bool) -> io::Result<()> {
    let pause = args.delay.unwrap_or(GEVENT_PAUSE);
    gevent_demo(out, args.rounds, sleep.then_some(pause), args.trace)
}

fn run_all(out: &mut dyn Write, args: &SwitchArgs) -> io::Result<()> {
    writeln!(out, "yield: B drives A")?;
    run_yield(out, args)?;
    writeln!(out, "greenlet: test1 and test2 switch to each other")?;
    run_greenlet(out, args)?;
    writeln!(out, "gevent: no place to switch, one after the other")?;
    run_gevent(out, args, false)?;
    writeln!(out, "gevent: with sleep, in turns")?;
    run_gevent(out, args, true)
}
