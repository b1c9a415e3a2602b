//! Numbers from `PAIRS` producers to as many consumers: for one number put and got.
//!
//! `may` has no bounded channel. tokio's and std's channels have one receiver; four share
//! it under a lock, as their users do.

use std::hint::black_box;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use greenloop::spawn;
use greenloop::sync::Queue;

use crate::support::table::{each, in_may, in_tokio};

pub(crate) fn ours<const PAIRS: u32, const BOUND: usize>(count: u32) -> f64 {
    let queue = if BOUND == 0 {
        Queue::unbounded()
    } else {
        Queue::bounded(BOUND)
    };
    let share = count / PAIRS;
    greenloop::run(move || {
        each(share * PAIRS, || {
            let mut all = Vec::new();
            for _ in 0..PAIRS {
                let (put, get) = (queue.clone(), queue.clone());
                all.push(spawn(move || {
                    for _ in 0..share {
                        black_box(get.get().expect("nobody kills it"));
                    }
                }));
                all.push(spawn(move || {
                    for n in 0..share {
                        put.put(n).expect("nobody kills it");
                    }
                }));
            }
            all.into_iter()
                .for_each(|one| one.join().expect("it does not panic"));
        })
    })
}

pub(crate) fn may_mpsc(count: u32) -> f64 {
    let (put, get) = may::sync::mpsc::channel();
    in_may(move || {
        each(count, || {
            let getter = may::go!(move || {
                for _ in 0..count {
                    black_box(get.recv().expect("it is open"));
                }
            });
            let putter = may::go!(move || {
                (0..count).for_each(|n| put.send(n).expect("it is open"));
            });
            getter.join().expect("it does not panic");
            putter.join().expect("it does not panic");
        })
    })
}

pub(crate) fn may_mpmc(count: u32) -> f64 {
    const PAIRS: u32 = 4;
    let (put, get) = may::sync::mpmc::channel();
    let share = count / PAIRS;
    in_may(move || {
        each(share * PAIRS, || {
            let mut all = Vec::new();
            for _ in 0..PAIRS {
                let (put, get) = (put.clone(), get.clone());
                all.push(may::go!(move || {
                    for _ in 0..share {
                        black_box(get.recv().expect("it is open"));
                    }
                }));
                all.push(may::go!(move || {
                    (0..share).for_each(|n| put.send(n).expect("it is open"));
                }));
            }
            all.into_iter()
                .for_each(|one| one.join().expect("it does not panic"));
        })
    })
}

/// The two kinds of tokio's channel have types of their own and the same methods.
macro_rules! in_tokio {
    ($pairs:expr, $count:expr, $channel:expr, |$put:ident, $n:ident| $send:expr) => {{
        let ($put, get) = $channel;
        let get = Arc::new(tokio::sync::Mutex::new(get));
        let share = $count / $pairs;
        in_tokio(async move {
            let start = Instant::now();
            let mut all = Vec::new();
            for _ in 0..$pairs {
                let (get, $put) = (get.clone(), $put.clone());
                all.push(tokio::spawn(async move {
                    if $pairs == 1 {
                        let mut get = get.lock().await;
                        for _ in 0..share {
                            black_box(get.recv().await);
                        }
                    } else {
                        for _ in 0..share {
                            black_box(get.lock().await.recv().await);
                        }
                    }
                }));
                all.push(tokio::spawn(async move {
                    for $n in 0..share {
                        $send.expect("it is open");
                    }
                }));
            }
            for one in all {
                one.await.expect("it does not panic");
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(share * $pairs)
        })
    }};
}

pub(crate) fn tokio_all<const PAIRS: u32>(count: u32) -> f64 {
    let channel = tokio::sync::mpsc::unbounded_channel();
    in_tokio!(PAIRS, count, channel, |put, n| put.send(n))
}

pub(crate) fn tokio_64<const PAIRS: u32>(count: u32) -> f64 {
    let channel = tokio::sync::mpsc::channel(64);
    in_tokio!(PAIRS, count, channel, |put, n| put.send(n).await)
}

pub(crate) fn threads_all<const PAIRS: u32>(count: u32) -> f64 {
    let (put, get) = mpsc::channel();
    in_threads::<PAIRS>(count, get, move || {
        let put = put.clone();
        Box::new(move |n| put.send(n).expect("it is open"))
    })
}

pub(crate) fn threads_64<const PAIRS: u32>(count: u32) -> f64 {
    let (put, get) = mpsc::sync_channel(64);
    in_threads::<PAIRS>(count, get, move || {
        let put = put.clone();
        Box::new(move |n| put.send(n).expect("it is open"))
    })
}

fn in_threads<const PAIRS: u32>(
    count: u32,
    get: mpsc::Receiver<u32>,
    put: impl Fn() -> Box<dyn Fn(u32) + Send>,
) -> f64 {
    let get = Arc::new(Mutex::new(get));
    let share = count / PAIRS;
    let receive = |get: &mpsc::Receiver<u32>| {
        black_box(get.recv().expect("it is open"));
    };
    each(share * PAIRS, || {
        let mut all = Vec::new();
        for _ in 0..PAIRS {
            let (put, get) = (put(), get.clone());
            all.push(std::thread::spawn(move || {
                if PAIRS == 1 {
                    let get = get.lock().expect("nobody panics");
                    (0..share).for_each(|_| receive(&get));
                } else {
                    (0..share).for_each(|_| receive(&get.lock().expect("nobody panics")));
                }
            }));
            all.push(std::thread::spawn(move || (0..share).for_each(put)));
        }
        all.into_iter()
            .for_each(|one| one.join().expect("it does not panic"));
    })
}
