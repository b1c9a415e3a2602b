//! Very many that sleep at once: how late they wake.
//!
//! Two kinds. *Equal sleeps*: each sleeps for the same time from when it starts, twice, so
//! that they come due as densely as they can be started. *One moment*: all sleep until the
//! same instant; then the last one's lateness is the time that all the wake-ups take.
//!
//! Not counted: what it costs to end. Those who have woken wait until all have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenloop::sync::Event;
use greenloop::{Config, sleep, sleep_until, spawn};

use super::is_quick;
use super::table::{against, gevent, in_may, in_tokio, start_role, tokio_runtime};

pub(crate) const ROLE: &str = "sleepers";

const WANTED: usize = 100_000;
/// A stack is two memory maps; what else the process maps is far below 5,000.
const MAPS_WANTED: usize = 2 * WANTED + 5_000;
const MAP_COUNT: &str = "/proc/sys/vm/max_map_count";

/// Longer than it takes to start all of them, so that nobody wakes before the last sleeps.
fn equal_sleep() -> Duration {
    Duration::from_millis(if is_quick() { 200 } else { 4_000 })
}

/// Runs [`measure`] in a process of its own, with more memory maps if that is asked for.
pub(crate) fn start() {
    let raised = std::env::args().any(|arg| arg == "--raise-map-count") && !is_quick();
    let before = map_count();
    if raised && before < MAPS_WANTED {
        match std::fs::write(MAP_COUNT, MAPS_WANTED.to_string()) {
            Ok(()) => println!("\nvm.max_map_count {before} -> {MAPS_WANTED} for this run"),
            Err(error) => println!("\nSKIPPED: raising vm.max_map_count: {error}"),
        }
    }
    let ran = std::panic::catch_unwind(|| start_role(ROLE));
    if raised && map_count() != before {
        std::fs::write(MAP_COUNT, before.to_string()).expect("it was written before");
    }
    ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn map_count() -> usize {
    let text = std::fs::read_to_string(MAP_COUNT).unwrap_or_default();
    text.trim().parse().unwrap_or(65_530)
}

/// Measures ours beside the others', each alone, one after the other.
pub(crate) fn measure() {
    let allowed = (map_count() / 2).saturating_sub(2_000);
    let count = if is_quick() {
        2_000
    } else {
        WANTED.min(allowed)
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    Config::new()
        .workers(workers)
        .max_greenlets(count + 100)
        .start()
        .expect("the first start");
    tokio_runtime(workers);
    println!(
        "\nworkers {workers}, {count} sleepers; how late they wake, in µs, and the ratio to it"
    );
    if count < WANTED && !is_quick() {
        println!(
            "SKIPPED: {WANTED} sleepers, which need vm.max_map_count {MAPS_WANTED} (--raise-map-count)"
        );
    }
    let header = ["may", "tokio", "gevent"].map(|name| format!("{name:>16}"));
    println!("{:<26}{:>10}{}", "", "greenloop", header.concat());

    let duration = equal_sleep();
    let name = format!("sleep {duration:?}");
    let asked = gevent(
        ROLE,
        &[count.to_string(), duration.as_secs_f64().to_string()],
    );
    let theirs = ["p50", "p99", "max"].map(|key| asked.get(key).copied().unwrap_or(f64::INFINITY));
    print(
        &name,
        [
            equal::ours(count),
            equal::may(count),
            equal::tokio(count),
            theirs,
        ],
    );
    let none = [f64::INFINITY; 3];
    print(
        "sleep until one moment",
        [moment::ours(count), none, moment::tokio(count), none],
    );
}

fn print(name: &str, [ours, floors @ ..]: [[f64; 3]; 4]) {
    for (place, which) in ["p50", "p99", "max"].into_iter().enumerate() {
        let micros = ours[place] / 1e3;
        let floors = floors.map(|theirs| against(micros, theirs[place] / 1e3));
        println!(
            "{:<26}{micros:>10.0}{}",
            format!("{name}, {which}"),
            floors.concat()
        );
    }
}

/// The middle, the 99th percentile and the greatest, in nanoseconds.
fn percentiles(mut late: Vec<Duration>) -> [f64; 3] {
    late.sort_unstable();
    let last = late.len() - 1;
    [late.len() / 2, late.len() * 99 / 100, last]
        .map(|place| late[place.min(last)].as_secs_f64() * 1e9)
}

/// The last of `count` to arrive opens the gate for all, by `open`.
fn gate<G: Clone>(count: usize, gate: G, open: fn(&G), wait: fn(&G)) -> impl Fn() + Clone {
    let missing = Arc::new(AtomicUsize::new(count));
    move || {
        if missing.fetch_sub(1, Ordering::Relaxed) == 1 {
            open(&gate);
        }
        wait(&gate);
    }
}

fn gate_of_ours(count: usize) -> impl Fn() + Clone + Send + 'static {
    gate(count, Event::new(), Event::set, |event| {
        event.wait().expect("nobody kills it");
    })
}

mod equal {
    use super::*;

    pub(super) fn ours(count: usize) -> [f64; 3] {
        let limit = equal_sleep();
        let all_awake = gate_of_ours(count);
        let body = move || {
            let late = [(); 2].map(|()| {
                let start = Instant::now();
                sleep(limit).expect("nobody kills it");
                start.elapsed() - limit
            });
            all_awake();
            late
        };
        let sleepers: Vec<_> = (0..count).map(|_| spawn(body.clone())).collect();
        let late = sleepers
            .into_iter()
            .flat_map(|one| one.join().expect("it does not panic"));
        percentiles(late.collect())
    }

    pub(super) fn may(count: usize) -> [f64; 3] {
        let limit = equal_sleep();
        let flag = Arc::new(may::sync::SyncFlag::new());
        let all_awake = gate(count, flag, |flag| flag.fire(), |flag| flag.wait());
        let body = move || {
            let late = [(); 2].map(|()| {
                let start = Instant::now();
                may::coroutine::sleep(limit);
                start.elapsed().saturating_sub(limit)
            });
            all_awake();
            late
        };
        let late = in_may(move || {
            let start = || {
                let body = body.clone();
                may::go!(body)
            };
            let sleepers: Vec<_> = (0..count).map(|_| start()).collect();
            let late = sleepers
                .into_iter()
                .flat_map(|one| one.join().expect("it does not panic"));
            late.collect()
        });
        percentiles(late)
    }

    pub(super) fn tokio(count: usize) -> [f64; 3] {
        let limit = equal_sleep();
        let late = in_tokio(async move {
            let body = move || async move {
                let mut late = [Duration::ZERO; 2];
                for late in &mut late {
                    let start = Instant::now();
                    tokio::time::sleep(limit).await;
                    *late = start.elapsed() - limit;
                }
                late
            };
            let sleepers: Vec<_> = (0..count).map(|_| tokio::spawn(body())).collect();
            let mut all = Vec::new();
            for one in sleepers {
                all.extend(one.await.expect("it does not panic"));
            }
            all
        });
        percentiles(late)
    }
}

mod moment {
    use super::*;

    /// When all of them have gone to sleep for sure.
    fn moment() -> Instant {
        Instant::now() + equal_sleep()
    }

    pub(super) fn ours(count: usize) -> [f64; 3] {
        let at = moment();
        let all_awake = gate_of_ours(count);
        let body = move || {
            sleep_until(at).expect("nobody kills it");
            let late = at.elapsed();
            all_awake();
            late
        };
        let sleepers: Vec<_> = (0..count).map(|_| spawn(body.clone())).collect();
        let late = sleepers
            .into_iter()
            .map(|one| one.join().expect("it does not panic"));
        percentiles(late.collect())
    }

    pub(super) fn tokio(count: usize) -> [f64; 3] {
        let at = moment();
        let late = in_tokio(async move {
            let body = move || async move {
                tokio::time::sleep_until(at.into()).await;
                at.elapsed()
            };
            let sleepers: Vec<_> = (0..count).map(|_| tokio::spawn(body())).collect();
            let mut all = Vec::new();
            for one in sleepers {
                all.push(one.await.expect("it does not panic"));
            }
            all
        });
        percentiles(late)
    }
}
