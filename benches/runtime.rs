//! What greenlets cost, each figure beside its floor in the same run.
//!
//! `cargo bench --bench runtime` (`-- --quick` for a look that only proves that it runs).
//! The floors are the bare engine (`may`) and OS threads. Not counted: the start of the
//! runtime and its pool of stacks.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench prints, and measures OS threads"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use greenloop::{Config, sleep, spawn, yield_now};

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let scale = if quick { 100 } else { 1 };
    // One worker: a switch, not the queue between two cores, is what is measured.
    Config::new()
        .workers(1)
        .pool_capacity(1024)
        .start()
        .expect("the first start");
    println!(
        "workers 1, {} cores",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    yields(1_000_000 / scale);
    spawns(200_000 / scale);
    lanes(20_000 / scale);
    sleeps(200 / scale.min(10));
    memory(if quick { 1_000 } else { 10_000 });
}

/// The time of one of `count` runs of what `f` runs `count` times.
fn each(count: u32, f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

fn report(name: &str, ours: f64, floor: &str, theirs: f64) {
    let ratio = ours / theirs;
    println!("{name:<22} {ours:>9.0} ns   {floor:<24} {theirs:>9.0} ns   ratio {ratio:.2}");
}

fn yields(count: u32) {
    let floor = in_may(move || {
        each(count, || {
            (0..count).for_each(|_| may::coroutine::yield_now());
        })
    });
    let ours = greenloop::run(move || {
        each(count, || {
            (0..count).for_each(|_| yield_now().expect("nobody kills it"));
        })
    });
    report("yield_now", ours, "may yield_now", floor);
}

fn spawns(count: u32) {
    let floor = in_may(move || {
        each(count, || {
            for n in 0..count {
                // SAFETY of the engine's spawn: the body touches no thread-local.
                let child = may::go!(move || black_box(n));
                black_box(child.join().expect("it does not panic"));
            }
        })
    });
    let ours = greenloop::run(move || {
        each(count, || {
            for n in 0..count {
                black_box(
                    spawn(move || black_box(n))
                        .join()
                        .expect("it does not panic"),
                );
            }
        })
    });
    report("spawn + join", ours, "may spawn + join", floor);
    let threads = (count / 20).max(1);
    let floor = each(threads, || {
        for n in 0..threads {
            std::thread::spawn(move || black_box(n))
                .join()
                .expect("it does not panic");
        }
    });
    report("spawn + join", ours, "thread spawn + join", floor);
}

fn lanes(count: u32) {
    let floor = {
        let (send, jobs) = std::sync::mpsc::channel::<std::sync::mpsc::Sender<()>>();
        let thread = std::thread::spawn(move || {
            for back in jobs {
                back.send(()).expect("the caller waits");
            }
        });
        let cost = each(count, || {
            for _ in 0..count {
                let (back, done) = std::sync::mpsc::channel();
                send.send(back).expect("the thread lives");
                done.recv().expect("the thread answers");
            }
        });
        drop(send);
        thread.join().expect("it does not panic");
        cost
    };
    let ours = greenloop::run(move || {
        each(count, || {
            for _ in 0..count {
                greenloop::blocking(|| ()).expect("nobody kills it");
            }
        })
    });
    report("blocking()", ours, "thread + std channel", floor);
}

fn sleeps(count: u32) {
    let limit = Duration::from_millis(2);
    let late = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e9
    };
    let floor = late(
        (0..count)
            .map(|_| {
                let start = Instant::now();
                std::thread::sleep(limit);
                start.elapsed() - limit
            })
            .collect(),
    );
    let ours = greenloop::run(move || {
        (0..count)
            .map(|_| {
                let start = Instant::now();
                sleep(limit).expect("nobody kills it");
                start.elapsed() - limit
            })
            .collect()
    });
    report("sleep, median late by", late(ours), "thread sleep", floor);
}

fn memory(count: usize) {
    let before = resident();
    let parked: Vec<_> = (0..count).map(|_| spawn(|| sleep(Duration::MAX))).collect();
    // All of them have run when the last has.
    greenloop::run(|| sleep(Duration::from_millis(50))).expect("nobody kills it");
    let each = (resident() - before) as f64 / count as f64;
    println!(
        "{count} parked greenlets: {:.1} KiB resident each",
        each / 1024.0
    );
    for greenlet in &parked {
        greenlet.kill();
    }
    for greenlet in parked {
        assert!(greenlet.join().expect_err("it was killed").is_killed());
    }
}

/// The process's resident memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = statm.split(' ').nth(1).expect("the second field");
    pages.parse::<usize>().expect("a number") * 4096
}

/// Runs `f` in a bare coroutine of the engine.
fn in_may<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    may::go!(f).join().expect("it does not panic")
}
