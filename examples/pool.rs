//! Twelve jobs, three at a time: results in the order of the jobs although they end in
//! another one, and a limit on each job that is the job's own.
//!
//! Run `cargo run --example pool`.
//!
//! Partner: `processes`, which limits child processes so.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::sync::Pool;
use greenloop::{Result, sleep, timeout_or_none};
use std::time::{Duration, Instant};

/// Something on the network, say: every fourth one takes too long.
fn job(n: u64) -> Result<Option<u64>> {
    let takes = if n.is_multiple_of(4) {
        5000
    } else {
        10 * (n % 5)
    };
    timeout_or_none(Duration::from_millis(80), || {
        sleep(Duration::from_millis(takes))?;
        Ok(n * n)
    })
}

fn main() -> Result<()> {
    let start = Instant::now();
    let pool = Pool::new(3);
    // The stream takes the next job from its input when there is a place for it.
    for (n, result) in (1..=12).zip(pool.stream(1..=12, job)) {
        match result? {
            Ok(Some(square)) => println!("{n:>2}: {square}"),
            Ok(None) => println!("{n:>2}: took too long"),
            Err(error) => println!("{n:>2}: {error}"),
        }
    }
    println!(
        "all in {:?}, {} places free",
        start.elapsed(),
        pool.free_count()
    );
    Ok(())
}
