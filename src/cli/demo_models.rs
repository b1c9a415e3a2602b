//! `greenloop demo models`: the models of concurrency under the same load, in one table.
//!
//! Each server is this command in a process of its own, so that its threads and its memory
//! are the model's alone.

use super::process_tree::TreeSize;
use super::serve::models::{ModelArg, SIGNAL_THREAD};
use super::units::{self, show_bytes, show_count, show_duration};
use super::{EXIT_FAILURE, Failure, Outcome, out};
use crate::apps::load::{Load, Measured};
use crate::apps::models::Model;
use crate::error::{Error, Result};
use clap::{Args, ValueEnum};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    /// Connections at once
    #[arg(short = 'c', long, value_name = "N", default_value = "64")]
    connections: NonZeroUsize,

    /// How long each model is loaded
    #[arg(short = 'd', long, value_name = "DURATION", default_value = "1s", value_parser = units::duration)]
    duration: Duration,

    /// Message size in bytes: 64, 4K, 1M
    #[arg(short = 's', long, value_name = "BYTES", default_value = "64", value_parser = units::length)]
    size: usize,

    /// Only these, separated by commas [default: all]
    #[arg(
        long,
        value_enum,
        value_name = "MODELS",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    only: Vec<ModelArg>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// A line of the table.
struct Row {
    model: ModelArg,
    measured: Measured,
    size: TreeSize,
}

/// Measures one model after the other and prints what was found.
///
/// Succeeds only if every connection to each of them stood to the end.
pub(crate) fn run(args: &ModelsArgs) -> Outcome {
    super::start_runtime(None)?;
    let models = match &args.only[..] {
        [] => ModelArg::value_variants(),
        only => only,
    };
    if !args.json {
        out::line(HEAD)?;
    }
    let (mut rows, mut failure) = (Vec::new(), None);
    for &model in models {
        let row = measure(model, args).map_err(|e| e.context(model.name().to_owned()))?;
        if !args.json {
            out::line(as_text(&row))?;
        }
        if let Some((error, count)) = row.measured.errors.first_key_value() {
            failure.get_or_insert_with(|| format!("{}: {count} x {error}", model.name()));
        }
        rows.push(row);
    }
    if args.json {
        let rows: Vec<Value> = rows.iter().map(as_json).collect();
        out::line(json!({ "models": rows }))?;
    } else {
        notes(args, models).try_for_each(out::line)?;
    }
    match failure {
        None => Ok(()),
        Some(_) if args.json => Err(Failure::Silent(EXIT_FAILURE)), // the object has it
        Some(text) => Err(Failure::Failed(text)),
    }
}

/// Connections that the model can hold, of those that are wanted.
fn connections(model: ModelArg, wanted: NonZeroUsize) -> NonZeroUsize {
    let max = match model.plain() {
        None => return wanted,
        // A few descriptors are taken by the process itself.
        Some(model @ (Model::Select | Model::SelectQueue)) => {
            model.max_connections().saturating_sub(24)
        }
        Some(model) => model.max_connections(),
    };
    wanted.min(NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN))
}

fn measure(model: ModelArg, args: &ModelsArgs) -> Result<Row> {
    let connections = connections(model, args.connections);
    let server = Server::start(model, connections)?;
    let load = Load {
        address: server.address.into(),
        connections,
        message_bytes: args.size,
        duration: args.duration,
        limit: Some(LIMIT),
    };
    let (measured, size) = watched(server.child.id(), args.duration / 3, || {
        crate::run(move || load.run())
    });
    server.end()?;
    Ok(Row {
        model,
        measured: measured?,
        size,
    })
}

/// Runs the load, and looks at the server's processes meanwhile.
fn watched<T>(pid: u32, pause: Duration, load: impl FnOnce() -> T) -> (T, TreeSize) {
    let look = || TreeSize::of(pid, SIGNAL_THREAD);
    std::thread::scope(|scope| {
        let (end, ended) = channel::<()>();
        let watch = scope.spawn(move || {
            let mut most = TreeSize::default();
            // The first look is not too early: they are connected by then.
            while ended.recv_timeout(pause.max(PAUSE_MIN)) == Err(RecvTimeoutError::Timeout) {
                most = most.max(look());
            }
            if most == TreeSize::default() {
                look()
            } else {
                most
            }
        });
        let loaded = load();
        drop(end);
        (loaded, watch.join().unwrap_or_default())
    })
}

/// A model's server in a process of its own; dropped, it is killed.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Kept open: it has a last word to say.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start(model: ModelArg, connections: NonZeroUsize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["serve", "echo", "--with-parent", "--listen", "127.0.0.1:0"])
            .args(["--model", model.name()]);
        if model != ModelArg::Blocking {
            // One more than there will be: nobody waits, and it need not say so.
            let max = connections.saturating_add(1);
            command.args(["--max-connections", &max.to_string()]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().map(BufReader::new);
        let mut output = output.ok_or_else(|| Error::message("its output is no pipe"))?;
        let mut line = String::new();
        let address = match output.read_line(&mut line) {
            Ok(_) => line.trim_end().strip_prefix("listening on "),
            Err(_) => None,
        };
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            end(&mut child);
            return Err(Error::message("the server ended before it listened"));
        };
        Ok(Self {
            child,
            address,
            _output: output,
        })
    }

    /// Stops it as a user does.
    fn end(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from)?;
        kill_process(pid, Signal::TERM).map_err(io::Error::from)?;
        let mut events = [PollFd::new(&ended, PollFlags::IN)];
        if poll(&mut events, Some(&END_LIMIT)).map_err(io::Error::from)? == 0 {
            return Err(Error::message("the server does not stop"));
        }
        let status = self.child.wait()?;
        if !status.success() {
            return Err(Error::message(format!("the server ended with {status}")));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

const HEAD: &str =
    "model         connections  messages/s        p99  processes  threads     memory  errors";

fn as_text(row: &Row) -> String {
    let (measured, size) = (&row.measured, &row.size);
    format!(
        "{:<12}  {:>11}  {:>10}  {:>9}  {:>9}  {:>7}  {:>9}  {:>6}",
        row.model.name(),
        show_count(measured.connected),
        show_count(measured.rate() as u64),
        show_duration(measured.percentile(99.0)),
        show_count(size.processes as u64),
        show_count(size.threads as u64),
        show_bytes(size.memory_bytes),
        show_count(measured.error_count()),
    )
}

/// What the figures do not say by themselves.
fn notes(args: &ModelsArgs, models: &[ModelArg]) -> impl Iterator<Item = String> {
    let fewer = |model: &&ModelArg| connections(**model, args.connections) < args.connections;
    let told = models.iter().filter(fewer).map(|model| match model {
        ModelArg::Blocking => {
            "blocking serves one client at a time, and was loaded with one".into()
        }
        other => format!(
            "{} was loaded with as many connections as it can hold",
            other.name()
        ),
    });
    let told: Vec<String> = told.collect();
    told.into_iter()
}

/// Times in seconds, as `load --json`.
fn as_json(row: &Row) -> Value {
    let (measured, size) = (&row.measured, &row.size);
    let at = |percent| measured.percentile(percent).as_secs_f64();
    json!({
        "model": row.model.name(),
        "connections": measured.connected,
        "messages": measured.messages,
        "messages_per_second": measured.rate(),
        "latency_seconds": { "p50": at(50.0), "p99": at(99.0) },
        "processes": size.processes,
        "threads": size.threads,
        "memory_bytes": size.memory_bytes,
        "errors": measured.errors,
    })
}

/// An answer that takes longer is an error.
const LIMIT: Duration = Duration::from_secs(10);
/// Looking costs the server's cores, too.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Every model stops at once, and the coroutine server drains at most ten seconds.
const END_LIMIT: Timespec = Timespec {
    tv_sec: 15,
    tv_nsec: 0,
};
