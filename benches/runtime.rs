//! What greenlets cost, each figure beside its floors in the same run.
//!
//! `cargo bench --bench runtime` (`-- --quick` for a look that only proves that it runs,
//! `-- WORDS` for the rows whose names contain them). The floors are the bare engine
//! (`may`), tokio, OS threads, and gevent where `python3` (or `GREENLOOP_BENCH_PYTHON`) can
//! import it. A `-` means that there is no counterpart. Rounds are interleaved, the least
//! of seven counts. Not counted: the start of the runtime and its pool of stacks.
//!
//! 100,000 sleepers need `vm.max_map_count` above its default. `-- --raise-map-count`
//! raises it for the run, as root, and puts it back; otherwise as many sleep as may.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench prints, and measures OS threads"
)]

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use greenloop::{Config, sleep, spawn, yield_now};
use support::sleepers;
use support::table::{Row, Table, each, in_may, in_tokio, machine, start_role, tokio_runtime};
use support::{is_quick, my_role};

fn main() {
    match my_role().as_deref() {
        None => {
            println!("{}", machine());
            // A process each: the engine is started once, with one number of workers.
            ["1", "2"].into_iter().for_each(start_role);
            sleepers::start();
        }
        Some(sleepers::ROLE) => sleepers::measure(),
        Some(workers) => measure(workers.parse().expect("a number of workers")),
    }
}

fn measure(workers: usize) {
    Config::new()
        .workers(workers)
        .pool_capacity(1024)
        .start()
        .expect("the first start");
    tokio_runtime(workers);
    if workers == 1 {
        // First, while the stacks of the pool are untouched.
        memory(if is_quick() { 1_000 } else { 10_000 });
    }
    let table = Table::new("runtime", workers);
    table.row(&Row {
        name: "yield_now",
        count: 1_000_000,
        ours: yields::ours,
        may: Some(yields::may),
        tokio: Some(yields::tokio),
        threads: None,
    });
    table.row(&Row {
        name: "spawn + join",
        count: 100_000,
        ours: one::ours,
        may: Some(one::may),
        tokio: Some(one::tokio),
        threads: Some(one::threads),
    });
    table.row(&Row {
        name: "spawn, 1,000 at a time",
        count: 100_000,
        ours: many::ours,
        may: Some(many::may),
        tokio: Some(many::tokio),
        threads: None,
    });
    table.row(&Row {
        name: "lane round trip",
        count: 20_000,
        ours: lane::ours,
        may: None,
        tokio: Some(lane::tokio),
        threads: Some(lane::threads),
    });
    table.row(&Row {
        name: "sleep 2 ms, late by",
        count: 200,
        ours: late::ours,
        may: Some(late::may),
        tokio: Some(late::tokio),
        threads: Some(late::threads),
    });
}

/// Giving way to nobody. tokio's also goes through its queue; OS threads have none.
mod yields {
    use super::*;

    pub(crate) fn ours(count: u32) -> f64 {
        greenloop::run(move || {
            each(count, || {
                (0..count).for_each(|_| yield_now().expect("nobody kills it"));
            })
        })
    }

    pub(crate) fn may(count: u32) -> f64 {
        in_may(move || {
            each(count, || {
                (0..count).for_each(|_| may::coroutine::yield_now());
            })
        })
    }

    pub(crate) fn tokio(count: u32) -> f64 {
        in_tokio(async move {
            let start = Instant::now();
            for _ in 0..count {
                tokio::task::yield_now().await;
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
        })
    }
}

/// One after the other: each is joined before the next is started.
mod one {
    use super::*;

    pub(crate) fn ours(count: u32) -> f64 {
        greenloop::run(move || {
            each(count, || {
                for n in 0..count {
                    let child = spawn(move || black_box(n));
                    black_box(child.join().expect("it does not panic"));
                }
            })
        })
    }

    pub(crate) fn may(count: u32) -> f64 {
        in_may(move || {
            each(count, || {
                for n in 0..count {
                    let child = may::go!(move || black_box(n));
                    black_box(child.join().expect("it does not panic"));
                }
            })
        })
    }

    pub(crate) fn tokio(count: u32) -> f64 {
        in_tokio(async move {
            let start = Instant::now();
            for n in 0..count {
                let child = tokio::spawn(async move { black_box(n) });
                black_box(child.await.expect("it does not panic"));
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
        })
    }

    pub(crate) fn threads(count: u32) -> f64 {
        each(count, || {
            for n in 0..count {
                let child = std::thread::spawn(move || black_box(n));
                black_box(child.join().expect("it does not panic"));
            }
        })
    }
}

/// A thousand started, then all joined. The pool has a stack for each.
mod many {
    use super::*;

    const AT_A_TIME: u32 = 1_000;

    fn rounds(count: u32) -> u32 {
        count.div_ceil(AT_A_TIME)
    }

    pub(crate) fn ours(count: u32) -> f64 {
        greenloop::run(move || {
            each(rounds(count) * AT_A_TIME, || {
                for _ in 0..rounds(count) {
                    let children: Vec<_> = (0..AT_A_TIME)
                        .map(|n| spawn(move || black_box(n)))
                        .collect();
                    for child in children {
                        black_box(child.join().expect("it does not panic"));
                    }
                }
            })
        })
    }

    pub(crate) fn may(count: u32) -> f64 {
        in_may(move || {
            each(rounds(count) * AT_A_TIME, || {
                for _ in 0..rounds(count) {
                    let children: Vec<_> = (0..AT_A_TIME)
                        .map(|n| may::go!(move || black_box(n)))
                        .collect();
                    for child in children {
                        black_box(child.join().expect("it does not panic"));
                    }
                }
            })
        })
    }

    pub(crate) fn tokio(count: u32) -> f64 {
        in_tokio(async move {
            let start = Instant::now();
            for _ in 0..rounds(count) {
                let children: Vec<_> = (0..AT_A_TIME)
                    .map(|n| tokio::spawn(async move { black_box(n) }))
                    .collect();
                for child in children {
                    black_box(child.await.expect("it does not panic"));
                }
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds(count) * AT_A_TIME)
        })
    }
}

/// Nothing, run on an OS thread that is there already, and waited for.
mod lane {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    pub(crate) fn ours(count: u32) -> f64 {
        greenloop::run(move || {
            each(count, || {
                for _ in 0..count {
                    greenloop::blocking(|| ()).expect("nobody kills it");
                }
            })
        })
    }

    pub(crate) fn tokio(count: u32) -> f64 {
        in_tokio(async move {
            let start = Instant::now();
            for _ in 0..count {
                tokio::task::spawn_blocking(|| ())
                    .await
                    .expect("it does not panic");
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
        })
    }

    pub(crate) fn threads(count: u32) -> f64 {
        let (send, jobs) = channel::<Sender<()>>();
        let thread = std::thread::spawn(move || {
            for back in jobs {
                back.send(()).expect("the caller waits");
            }
        });
        let cost = each(count, || {
            for _ in 0..count {
                let (back, done) = channel();
                send.send(back).expect("the thread lives");
                done.recv().expect("the thread answers");
            }
        });
        drop(send);
        thread.join().expect("it does not panic");
        cost
    }
}

/// How late one lone sleeper is on the median. tokio and `may` count in milliseconds.
mod late {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(2);

    fn median(count: u32, mut doze: impl FnMut()) -> f64 {
        let lateness = |_| {
            let start = Instant::now();
            doze();
            (start.elapsed().saturating_sub(LIMIT)).as_secs_f64() * 1e9
        };
        support::median((0..count).map(lateness).collect())
    }

    pub(crate) fn ours(count: u32) -> f64 {
        greenloop::run(move || median(count, || sleep(LIMIT).expect("nobody kills it")))
    }

    pub(crate) fn may(count: u32) -> f64 {
        in_may(move || median(count, || may::coroutine::sleep(LIMIT)))
    }

    pub(crate) fn tokio(count: u32) -> f64 {
        in_tokio(async move {
            let mut late = Vec::new();
            for _ in 0..count {
                let start = Instant::now();
                tokio::time::sleep(LIMIT).await;
                late.push((start.elapsed() - LIMIT).as_secs_f64() * 1e9);
            }
            support::median(late)
        })
    }

    pub(crate) fn threads(count: u32) -> f64 {
        median(count, || std::thread::sleep(LIMIT))
    }
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
