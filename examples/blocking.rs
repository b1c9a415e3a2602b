//! Four calls that block their thread for 100 ms, on a lane of three threads: two rounds,
//! while other greenlets go on. gevent has the same in its `threadpool.py`.
//!
//! Run `cargo run --example blocking`.

#![expect(clippy::print_stdout, reason = "an example prints")]
#![expect(
    clippy::disallowed_methods,
    reason = "it shows where blocking is right"
)]

use greenloop::{Error, Lane, Result, sleep};
use std::time::{Duration, Instant};

fn main() -> Result<()> {
    let start = Instant::now();
    let lane = Lane::new("sleepers").threads_max(3);
    let ticker = greenloop::spawn(move || -> Result<()> {
        loop {
            sleep(Duration::from_millis(50))?;
            println!("{:>4} ms: others run", start.elapsed().as_millis());
        }
    });
    let calls = [1, 2, 3, 4].map(|n| {
        let lane = lane.clone();
        greenloop::spawn(move || {
            lane.run(|| std::thread::sleep(Duration::from_millis(100)))?;
            println!("{:>4} ms: call {n} is back", start.elapsed().as_millis());
            Ok::<_, Error>(())
        })
    });
    for call in calls {
        call.join()??;
    }
    ticker.kill_and_wait(None)?;
    println!(
        "{} calls on {} threads",
        lane.stats().done,
        lane.stats().threads
    );
    Ok(())
}
