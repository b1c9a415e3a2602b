//! A greenlet that hogs its worker is named by the watchdog, through a hook; and the dump
//! says what everybody else waits on.
//!
//! Run `cargo run --example watchdog`. While a program runs, `kill -QUIT PID` prints the
//! same dump.

#![expect(clippy::print_stderr, reason = "an example prints")]

use greenloop::{Builder, Config, dump, hooks, sleep};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static NOTICED: AtomicBool = AtomicBool::new(false);

fn main() -> greenloop::Result<()> {
    Config::new()
        .workers(2)
        .max_blocking(Duration::from_millis(20))
        .start()?;
    // Without a hook it would be logged.
    let _hook = hooks::on_blocked(|blocked| {
        eprintln!("{blocked}\n{}", dump());
        NOTICED.store(true, Ordering::Relaxed);
    });

    let patient = Builder::new()
        .name("patient")
        .spawn(|| sleep(Duration::from_secs(60)));
    let hog = Builder::new().name("hog").spawn(|| {
        // It computes and never switches; `blocking` is the place for that.
        let start = Instant::now();
        while !NOTICED.load(Ordering::Relaxed) && start.elapsed() < Duration::from_millis(1500) {
            std::hint::spin_loop();
        }
    });
    hog.join()?;
    patient.kill_and_wait(None)?;
    if !NOTICED.load(Ordering::Relaxed) {
        eprintln!("not noticed: other programs took the core that it was to hog");
    }
    Ok(())
}
