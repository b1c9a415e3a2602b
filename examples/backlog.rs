//! The queue of a listener: how many clients are connected although nobody accepts them, and
//! what happens to the next one.
//!
//! Run `cargo run --example backlog`. `greenloop demo backlog` also shows how long those wait
//! that find the queue full.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::apps::backlog::{Kernel, Probe, SlowServer, explain};
use std::time::Duration;

fn main() -> greenloop::Result<()> {
    // One worker: the connections begin one after the other.
    greenloop::Config::new().workers(1).start()?;
    let kernel = Kernel::read()?;
    for backlog in [0, 2, 5] {
        let server = SlowServer::bind("127.0.0.1:0", backlog)?;
        let probe = Probe {
            address: server.addr()?.into(),
            connections: 8,
            // Nobody accepts, and the first retry comes after a second.
            limit: Some(Duration::from_millis(700)),
        };
        let attempts = greenloop::run(move || probe.run().map(|seen| (probe.address, seen)));
        let (address, attempts) = attempts?;
        // What it saw, and why that many.
        for line in explain(&kernel, &address, Some(backlog), &attempts)
            .iter()
            .take(2)
        {
            println!("{line}");
        }
    }
    Ok(())
}
