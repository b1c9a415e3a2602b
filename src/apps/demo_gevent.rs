//! The gevent demos: three spawned greenlets that print who they are, with and without a
//! place to switch.
//!
//! Here: the program and its trace. Not here: options and standard output (`cli/`).

use crate::error::Error;
use crate::runtime::greenlet::{Greenlet, current_handle};
use crate::runtime::sleep::sleep;
use crate::runtime::spawn::Builder;
use crate::util::lock;
use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Spawns three greenlets that print `rounds` lines each, and joins them.
///
/// Without `pause` there is no switch point, and they run one after the other. With it each
/// sleeps after every line, the others run meanwhile, and the whole takes as long as one
/// of them. With `trace`, every switch is printed as `  [FROM -> TO: WHY]`.
///
/// The order is the same on every run if the runtime was started with
/// [`Config::workers(1)`](crate::Config::workers).
///
/// # Switching
/// Blocks the calling OS thread; it is not for greenlets.
///
/// # Errors
/// What writing to `out` gives; a call from inside a greenlet.
///
/// # Examples
///
/// ```
/// greenloop::Config::new().workers(1).start()?;
/// let mut out = Vec::new();
/// greenloop::apps::demo_gevent::gevent_demo(&mut out, 2, None, false)?;
/// assert_eq!(
///     String::from_utf8_lossy(&out),
///     "<Greenlet f-1: f(2)> 0\n<Greenlet f-1: f(2)> 1\n\
///      <Greenlet f-2: f(2)> 0\n<Greenlet f-2: f(2)> 1\n\
///      <Greenlet f-3: f(2)> 0\n<Greenlet f-3: f(2)> 1\n"
/// );
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the tutorial's `gevent.spawn(f, 5)` three times, then `join`.
pub fn gevent_demo(
    out: &mut dyn Write,
    rounds: u64,
    pause: Option<Duration>,
    trace: bool,
) -> io::Result<()> {
    if crate::runtime::workers::is_worker() {
        return Err(io::Error::other(
            "the demo blocks: call it from an OS thread",
        ));
    }
    let (lines, shown) = channel();
    let stage = Stage {
        lines,
        left: Arc::default(),
        trace,
    };
    let main = Builder::new()
        .name("main")
        .spawn(move || spawn_and_join(&stage, rounds, pause));
    // Written here, on the caller's thread, so that printing is not part of what is shown.
    for line in shown {
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    match main.join() {
        Ok(result) => Ok(result?),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

fn spawn_and_join(stage: &Stage, rounds: u64, pause: Option<Duration>) -> Result<(), Error> {
    let spawn = |n| {
        let stage = stage.clone();
        Builder::new()
            .name(format!("f-{n}"))
            .spawn(move || f(&stage, rounds, pause))
    };
    let greenlets: Vec<Greenlet<Result<(), Error>>> = (1..=3).map(spawn).collect();
    stage.leave("main", "join");
    for greenlet in &greenlets {
        greenlet.wait()?;
    }
    stage.enter("main");
    for greenlet in greenlets {
        greenlet.join().map_err(Error::message)??;
    }
    Ok(())
}

/// The tutorial's `def f(n): for i in range(n): print(gevent.getcurrent(), i)`.
fn f(stage: &Stage, rounds: u64, pause: Option<Duration>) -> Result<(), Error> {
    let me = current_handle();
    let name = me.name().unwrap_or_default();
    stage.enter(name);
    for i in 0..rounds {
        stage.line(format!("<Greenlet {name}: f({rounds})> {i}"));
        if let Some(pause) = pause {
            stage.leave(name, "sleep");
            sleep(pause)?;
            stage.enter(name);
        }
    }
    stage.leave(name, "end");
    Ok(())
}

/// Where the lines go, and who ran last.
#[derive(Clone)]
struct Stage {
    lines: Sender<String>,
    left: Arc<Mutex<Option<(String, &'static str)>>>,
    trace: bool,
}

impl Stage {
    fn line(&self, text: String) {
        // The reader is gone when its output failed; the demo just runs to its end.
        let _ = self.lines.send(text);
    }

    /// `name` is about to give up the worker.
    fn leave(&self, name: &str, why: &'static str) {
        *lock(&self.left) = Some((name.to_owned(), why));
    }

    /// `name` runs (again).
    fn enter(&self, name: &str) {
        let left = lock(&self.left).take();
        if let Some((from, why)) = left.filter(|(from, _)| self.trace && from != name) {
            self.line(format!("  [{from} -> {name}: {why}]"));
        }
    }
}
