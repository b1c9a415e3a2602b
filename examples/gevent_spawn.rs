//! Three greenlets that print who they are: without a place to switch they run one after
//! the other.
//!
//! Run `cargo run --example gevent_spawn`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::{Builder, Config, current};

fn f(n: u32) {
    for i in 0..n {
        println!("{} {i}", current().name().unwrap_or("?"));
    }
}

fn main() -> greenloop::Result<()> {
    // One worker: one greenlet at a time, in the same order on every run, as under gevent.
    Config::new().workers(1).start()?;
    let greenlets = ["one", "two", "three"].map(|name| Builder::new().name(name).spawn(|| f(5)));
    for greenlet in &greenlets {
        greenlet.wait()?;
    }
    Ok(())
}
