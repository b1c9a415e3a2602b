//! Three greenlets that print and sleep: while one sleeps the others run, so they take
//! turns, and all together need five seconds, not fifteen.
//!
//! Run `cargo run --example gevent_switch`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::{Builder, Config, Result, current, sleep};
use std::time::Duration;

fn f(n: u32) -> Result<()> {
    for i in 0..n {
        println!("{} {i}", current().name().unwrap_or("?"));
        sleep(Duration::from_secs(1))?;
    }
    Ok(())
}

fn main() -> Result<()> {
    // One worker: one greenlet at a time, in the same order on every run, as under gevent.
    Config::new().workers(1).start()?;
    let greenlets = ["one", "two", "three"].map(|name| Builder::new().name(name).spawn(|| f(5)));
    for greenlet in &greenlets {
        greenlet.wait()?;
    }
    Ok(())
}
