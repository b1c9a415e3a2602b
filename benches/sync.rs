//! What it costs to wait for each other, each figure beside its floors in the same run.
//!
//! `cargo bench --bench sync` (`-- --quick` for a look that only proves that it runs). The
//! floors are the bare engine (`may`), tokio, OS threads with std's channels, and gevent
//! where `python3` (or `GREENLOOP_BENCH_PYTHON`) can import it. A `-` means that there is
//! no counterpart. Rounds are interleaved, the least of seven counts.
//!
//! With one worker a hand-over is a switch. With two, both ends may also run at the same
//! time, each on its own core; nobody is pinned, so who runs where is up to each engine's
//! stealing. Not counted: starting the two or eight that talk to each other is divided
//! by the number of hand-overs.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench prints, and measures OS threads"
)]

#[path = "support/queue.rs"]
mod queue;
mod support;

use greenloop::Config;
use support::my_role;
use support::table::{Cost, Row, Table, machine, start_role, tokio_runtime};

fn main() {
    match my_role().as_deref() {
        None => {
            println!("{}", machine());
            // A process each: the engine is started once, with one number of workers.
            ["1", "2"].into_iter().for_each(start_role);
        }
        Some(workers) => measure(workers.parse().expect("a number of workers")),
    }
}

fn measure(workers: usize) {
    Config::new()
        .workers(workers)
        .start()
        .expect("the first start");
    tokio_runtime(workers);
    let table = Table::new("sync", workers);
    let row = |name, count, [ours, may, tokio, threads]: [Option<Cost>; 4]| {
        table.row(&Row {
            name,
            count,
            ours: ours.expect("it is what is measured"),
            may,
            tokio,
            threads,
        });
    };
    let all =
        |ours: Cost, may: Cost, tokio: Cost, threads: Cost| [ours, may, tokio, threads].map(Some);
    row(
        "park + unpark",
        200_000,
        all(park::ours, park::may, park::tokio, park::threads),
    );
    row(
        "semaphore hand-off",
        200_000,
        all(
            hand_off::ours,
            hand_off::may,
            hand_off::tokio,
            hand_off::threads,
        ),
    );
    row(
        "semaphore, free",
        2_000_000,
        all(free::ours, free::may, free::tokio, free::threads),
    );
    row(
        "queue 1:1",
        500_000,
        all(
            queue::ours::<1, 0>,
            queue::may_mpsc,
            queue::tokio_all::<1>,
            queue::threads_all::<1>,
        ),
    );
    row(
        "queue 1:1, 64 at most",
        500_000,
        [
            Some(queue::ours::<1, 64>),
            None,
            Some(queue::tokio_64::<1>),
            Some(queue::threads_64::<1>),
        ],
    );
    row(
        "queue 4:4",
        500_000,
        all(
            queue::ours::<4, 0>,
            queue::may_mpmc,
            queue::tokio_all::<4>,
            queue::threads_all::<4>,
        ),
    );
    row(
        "queue 4:4, 64 at most",
        500_000,
        [
            Some(queue::ours::<4, 64>),
            None,
            Some(queue::tokio_64::<4>),
            Some(queue::threads_64::<4>),
        ],
    );
    row(
        "pool.map, an item",
        50_000,
        all(pool::ours, pool::may, pool::tokio, pool::threads),
    );
    row(
        "timeout, enter + exit",
        1_000_000,
        [Some(timeout::ours), None, Some(timeout::tokio), None],
    );
    row(
        "timeout around a wait",
        200_000,
        [
            Some(timeout::ours_waiting),
            None,
            Some(timeout::tokio_waiting),
            None,
        ],
    );
}

/// Two that take turns, each waking the other before it stops: for one wake-up and stop.
///
/// Ours is the thinnest public use of the park: an `Event`, which also has to be cleared.
mod park {
    use std::sync::Arc;

    use greenloop::spawn;
    use greenloop::sync::Event;
    use tokio::sync::Notify;

    use crate::support::table::{each, in_may, in_tokio};

    pub(crate) fn ours(count: u32) -> f64 {
        let (ping, pong) = (Event::new(), Event::new());
        let wait = |event: &Event| {
            event.wait().expect("nobody kills it");
            event.clear();
        };
        greenloop::run(move || {
            let (heard, answer) = (ping.clone(), pong.clone());
            let other = spawn(move || {
                for _ in 0..count {
                    wait(&heard);
                    answer.set();
                }
            });
            let cost = each(2 * count, || {
                for _ in 0..count {
                    ping.set();
                    wait(&pong);
                }
            });
            other.join().expect("it does not panic");
            cost
        })
    }

    /// A coroutine that is woken before it has stopped goes on inside of what stops it. If
    /// it ended there, its worker would wait for ever for itself to be done with that
    /// (may 0.3.51, `Park::drop`), and with it the rows after this one. So both ends yield
    /// before they end.
    pub(crate) fn may(count: u32) -> f64 {
        use may::coroutine::{current, park, yield_now};
        in_may(move || {
            let one = current();
            let other = may::go!(move || {
                for _ in 0..count {
                    park();
                    one.unpark();
                }
                yield_now();
            });
            let cost = each(2 * count, || {
                for _ in 0..count {
                    other.coroutine().unpark();
                    park();
                }
            });
            other.join().expect("it does not panic");
            yield_now();
            cost
        })
    }

    pub(crate) fn tokio(count: u32) -> f64 {
        let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let start = std::time::Instant::now();
        in_tokio(async move {
            let (heard, answer) = (ping.clone(), pong.clone());
            let other = tokio::spawn(async move {
                for _ in 0..count {
                    heard.notified().await;
                    answer.notify_one();
                }
            });
            for _ in 0..count {
                ping.notify_one();
                pong.notified().await;
            }
            other.await.expect("it does not panic");
        });
        start.elapsed().as_secs_f64() * 1e9 / f64::from(2 * count)
    }

    pub(crate) fn threads(count: u32) -> f64 {
        let one = std::thread::current();
        let other = std::thread::spawn(move || {
            for _ in 0..count {
                std::thread::park();
                one.unpark();
            }
        });
        let cost = each(2 * count, || {
            for _ in 0..count {
                other.thread().unpark();
                std::thread::park();
            }
        });
        other.join().expect("it does not panic");
        cost
    }
}

/// A permit that goes to one who waits for it, there and back: for one hand-over.
mod hand_off {
    use std::sync::{Arc, Condvar, Mutex};

    use greenloop::spawn;
    use greenloop::sync::Semaphore;

    use crate::support::table::{each, in_may, in_tokio};

    pub(crate) fn ours(count: u32) -> f64 {
        let (ping, pong) = (Semaphore::new(0), Semaphore::new(0));
        let take = |from: &Semaphore| from.acquire().expect("nobody kills it").forget();
        greenloop::run(move || {
            let (heard, answer) = (ping.clone(), pong.clone());
            let other = spawn(move || {
                for _ in 0..count {
                    take(&heard);
                    answer.add_permits(1);
                }
            });
            let cost = each(2 * count, || {
                for _ in 0..count {
                    ping.add_permits(1);
                    take(&pong);
                }
            });
            other.join().expect("it does not panic");
            cost
        })
    }

    pub(crate) fn may(count: u32) -> f64 {
        use may::sync::Semphore;
        let (ping, pong) = (Arc::new(Semphore::new(0)), Arc::new(Semphore::new(0)));
        in_may(move || {
            let (heard, answer) = (ping.clone(), pong.clone());
            let other = may::go!(move || {
                for _ in 0..count {
                    heard.wait();
                    answer.post();
                }
            });
            let cost = each(2 * count, || {
                for _ in 0..count {
                    ping.post();
                    pong.wait();
                }
            });
            other.join().expect("it does not panic");
            cost
        })
    }

    pub(crate) fn tokio(count: u32) -> f64 {
        use tokio::sync::Semaphore;
        let (ping, pong) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let start = std::time::Instant::now();
        in_tokio(async move {
            let (heard, answer) = (ping.clone(), pong.clone());
            let other = tokio::spawn(async move {
                for _ in 0..count {
                    heard.acquire().await.expect("it is open").forget();
                    answer.add_permits(1);
                }
            });
            for _ in 0..count {
                ping.add_permits(1);
                pong.acquire().await.expect("it is open").forget();
            }
            other.await.expect("it does not panic");
        });
        start.elapsed().as_secs_f64() * 1e9 / f64::from(2 * count)
    }

    /// std has no semaphore: a count under a lock.
    #[derive(Default)]
    pub(crate) struct Permits(Mutex<usize>, Condvar);

    impl Permits {
        pub(crate) fn post(&self) {
            *self.0.lock().expect("nobody panics") += 1;
            self.1.notify_one();
        }

        pub(crate) fn wait(&self) {
            let free = self.0.lock().expect("nobody panics");
            let mut free = self
                .1
                .wait_while(free, |free| *free == 0)
                .expect("nobody panics");
            *free -= 1;
        }
    }

    pub(crate) fn threads(count: u32) -> f64 {
        let (ping, pong) = (Arc::<Permits>::default(), Arc::<Permits>::default());
        let (heard, answer) = (ping.clone(), pong.clone());
        let other = std::thread::spawn(move || {
            for _ in 0..count {
                heard.wait();
                answer.post();
            }
        });
        let cost = each(2 * count, || {
            for _ in 0..count {
                ping.post();
                pong.wait();
            }
        });
        other.join().expect("it does not panic");
        cost
    }
}

/// A permit that nobody else wants, taken and given back.
mod free {
    use std::hint::black_box;
    use std::time::Instant;

    use crate::hand_off::Permits;
    use crate::support::table::{each, in_may, in_tokio};

    pub(crate) fn ours(count: u32) -> f64 {
        let place = greenloop::sync::Semaphore::new(1);
        greenloop::run(move || {
            each(count, || {
                for _ in 0..count {
                    drop(black_box(place.acquire().expect("nobody kills it")));
                }
            })
        })
    }

    pub(crate) fn may(count: u32) -> f64 {
        let place = may::sync::Semphore::new(1);
        in_may(move || {
            each(count, || {
                for _ in 0..count {
                    place.wait();
                    place.post();
                }
            })
        })
    }

    pub(crate) fn tokio(count: u32) -> f64 {
        let place = tokio::sync::Semaphore::new(1);
        in_tokio(async move {
            let start = Instant::now();
            for _ in 0..count {
                drop(black_box(place.acquire().await.expect("it is open")));
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
        })
    }

    pub(crate) fn threads(count: u32) -> f64 {
        let place = Permits::default();
        place.post();
        each(count, || {
            for _ in 0..count {
                place.wait();
                place.post();
            }
        })
    }
}

/// A pool of 16 that maps a function which does nothing over numbers: for one item.
///
/// The floors spawn and join for each item: tokio under a semaphore of 16, the engine 16 at
/// a time, which is what its scope amounts to, and threads likewise.
mod pool {
    use std::hint::black_box;
    use std::sync::Arc;
    use std::time::Instant;

    use greenloop::sync::Pool;

    use crate::support::table::{each, in_may, in_tokio};

    const SIZE: u32 = 16;

    pub(crate) fn ours(count: u32) -> f64 {
        greenloop::run(move || {
            let pool = Pool::new(SIZE as usize);
            each(count, || {
                let values = pool.map(0..count, black_box).expect("nobody kills it");
                assert_eq!(values.len(), count as usize);
            })
        })
    }

    pub(crate) fn may(count: u32) -> f64 {
        in_may(move || {
            each(count, || {
                for first in (0..count).step_by(SIZE as usize) {
                    let last = (first + SIZE).min(count);
                    let all: Vec<_> = (first..last)
                        .map(|n| may::go!(move || black_box(n)))
                        .collect();
                    for one in all {
                        one.join().expect("it does not panic");
                    }
                }
            })
        })
    }

    pub(crate) fn tokio(count: u32) -> f64 {
        in_tokio(async move {
            let places = Arc::new(tokio::sync::Semaphore::new(SIZE as usize));
            let start = Instant::now();
            let mut all = Vec::with_capacity(count as usize);
            for n in 0..count {
                let place = places.clone().acquire_owned().await.expect("it is open");
                all.push(tokio::spawn(async move {
                    let value = black_box(n);
                    drop(place);
                    value
                }));
            }
            for one in all {
                one.await.expect("it does not panic");
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
        })
    }

    pub(crate) fn threads(count: u32) -> f64 {
        each(count, || {
            for first in (0..count).step_by(SIZE as usize) {
                let last = (first + SIZE).min(count);
                let all: Vec<_> = (first..last)
                    .map(|n| std::thread::spawn(move || black_box(n)))
                    .collect();
                for one in all {
                    one.join().expect("it does not panic");
                }
            }
        })
    }
}

/// A limit that does not pass: around nothing, and around a permit's hand-over.
///
/// tokio's timeout touches its timer only if what is inside has to wait; so does ours.
mod timeout {
    use std::hint::black_box;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use greenloop::sync::Semaphore;
    use greenloop::{Timeout, spawn};

    use crate::support::table::{each, in_tokio};

    const LIMIT: Duration = Duration::from_secs(60);

    pub(crate) fn ours(count: u32) -> f64 {
        greenloop::run(move || {
            each(count, || {
                for _ in 0..count {
                    drop(black_box(Timeout::start(LIMIT)));
                }
            })
        })
    }

    pub(crate) fn tokio(count: u32) -> f64 {
        in_tokio(async move {
            let start = Instant::now();
            for _ in 0..count {
                let _ = black_box(tokio::time::timeout(LIMIT, std::future::ready(())).await);
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
        })
    }

    pub(crate) fn ours_waiting(count: u32) -> f64 {
        let (ping, pong) = (Semaphore::new(0), Semaphore::new(0));
        let take = |from: &Semaphore| {
            let _limit = Timeout::start(LIMIT);
            from.acquire().expect("nobody kills it").forget();
        };
        greenloop::run(move || {
            let (heard, answer) = (ping.clone(), pong.clone());
            let other = spawn(move || {
                for _ in 0..count {
                    take(&heard);
                    answer.add_permits(1);
                }
            });
            let cost = each(2 * count, || {
                for _ in 0..count {
                    ping.add_permits(1);
                    take(&pong);
                }
            });
            other.join().expect("it does not panic");
            cost
        })
    }

    pub(crate) fn tokio_waiting(count: u32) -> f64 {
        use tokio::sync::Semaphore;
        async fn take(from: &Semaphore) {
            let waited = tokio::time::timeout(LIMIT, from.acquire()).await;
            waited
                .expect("the limit is far")
                .expect("it is open")
                .forget();
        }
        let (ping, pong) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let start = Instant::now();
        in_tokio(async move {
            let (heard, answer) = (ping.clone(), pong.clone());
            let other = tokio::spawn(async move {
                for _ in 0..count {
                    take(&heard).await;
                    answer.add_permits(1);
                }
            });
            for _ in 0..count {
                ping.add_permits(1);
                take(&pong).await;
            }
            other.await.expect("it does not panic");
        });
        start.elapsed().as_secs_f64() * 1e9 / f64::from(2 * count)
    }
}
