//! `greenloop load`: measures an echo server.

use super::args::LoadArgs;
use super::units::{show_bytes, show_count, show_duration};
use super::{EXIT_FAILURE, Failure, Outcome, out};
use crate::apps::load::{Load, Measured};
use serde_json::{Value, json};

/// Runs the load that `args` ask for and prints its figures.
///
/// Succeeds only if every connection stood to the end.
pub(crate) fn run(args: &LoadArgs) -> Outcome {
    super::start_runtime(args.workers)?;
    let load = Load {
        address: args.address.clone(),
        connections: args.connections,
        message_bytes: args.size,
        duration: args.duration,
        limit: args.timeout.0,
    };
    let measured = crate::run(move || load.run())?;
    if args.json {
        out::line(as_json(&measured))?;
    } else {
        for line in as_text(&measured) {
            out::line(line)?;
        }
    }
    let first = measured.errors.keys().next();
    match first {
        None => Ok(()),
        Some(_) if args.json => Err(Failure::Silent(EXIT_FAILURE)), // the object has them
        Some(error) => Err(Failure::failed(format_args!(
            "{} of {} connections to {} failed: {error}",
            measured.error_count(),
            args.connections,
            args.address,
        ))),
    }
}

fn as_text(measured: &Measured) -> Vec<String> {
    let at = |percent| show_duration(measured.percentile(percent));
    let mut lines = vec![
        format!("connections  {}", show_count(measured.connected)),
        format!(
            "messages     {} in {:.2} s ({})",
            show_count(measured.messages),
            measured.elapsed.as_secs_f64(),
            show_bytes(measured.bytes)
        ),
        format!("rate         {}/s", show_count(measured.rate() as u64)),
        format!(
            "latency      p50 {}, p99 {}, p99.9 {}",
            at(50.0),
            at(99.0),
            at(99.9)
        ),
        format!("errors       {}", show_count(measured.error_count())),
    ];
    lines.extend(
        measured
            .errors
            .iter()
            .map(|(error, count)| format!("  {count} x {error}")),
    );
    lines
}

/// Times in seconds, as everything that reads such files expects.
fn as_json(measured: &Measured) -> Value {
    let at = |percent| measured.percentile(percent).as_secs_f64();
    json!({
        "connections": measured.connected,
        "messages": measured.messages,
        "bytes": measured.bytes,
        "elapsed_seconds": measured.elapsed.as_secs_f64(),
        "messages_per_second": measured.rate(),
        "latency_seconds": {
            "p50": at(50.0),
            "p99": at(99.0),
            "p99.9": at(99.9),
            "max": measured.latency.max() as f64 / 1e9,
        },
        "errors": measured.errors,
    })
}
