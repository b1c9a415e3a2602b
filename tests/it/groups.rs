//! Our promises for pools, streams, scopes and supervisors: no place is lost, nobody
//! outlives a frame, and who is started and stopped in what order.

mod scopes;
mod supervisors;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::sync::{Event, Group, Pool};
use greenloop::{sleep, spawn, wait_any, yield_now};

use crate::support::{eventually, on_workers};

const LONG: Duration = Duration::from_secs(600);
const MS: Duration = Duration::from_millis(1);

/// A small generator of its own, so that a failure can be run again from its seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// What one greenlet does to a pool that is nearly always full.
fn play(pool: &Pool, seed: u64, most: &Arc<AtomicUsize>, inside: &Arc<AtomicUsize>) {
    let mut dice = Dice::new(seed);
    for _ in 0..30 {
        let (most, inside) = (most.clone(), inside.clone());
        let rest = dice.below(3);
        let work = move || {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..rest {
                let _ = yield_now();
            }
            inside.fetch_sub(1, Ordering::SeqCst);
        };
        let limit = Duration::from_micros(dice.below(400));
        let member = match dice.below(6) {
            0 => pool.try_spawn(work).ok(),
            1 => pool.spawn_timeout(work, limit).ok(),
            2 => Some(pool.submit(work)),
            3 => pool.run(work).map(|()| None).unwrap_or(None),
            4 => {
                drop(pool.wait_available(Some(limit)));
                pool.try_spawn(work).ok()
            }
            _ => pool.spawn(work).ok(),
        };
        match (member, dice.below(4)) {
            (Some(member), 0) => member.kill(),
            (Some(member), 1) => drop(member.join()),
            (Some(member), 2) => drop(pool.discard(&member)),
            _ => {}
        }
    }
}

#[test]
fn pool_loses_no_place_to_kills_timeouts_and_discards() {
    const SIZE: usize = 3;
    on_workers!({
        for seed in 1..=4 {
            let pool = Pool::new(SIZE);
            let (most, inside) = (Arc::new(AtomicUsize::new(0)), Arc::default());
            let players: Vec<_> = (0..60)
                .map(|n| {
                    let (pool, most, inside) = (pool.clone(), most.clone(), Arc::clone(&inside));
                    spawn(move || play(&pool, seed * 1000 + n, &most, &inside))
                })
                .collect();
            let mut dice = Dice::new(seed);
            for player in &players {
                if dice.below(3) == 0 {
                    player.kill();
                }
                let _ = yield_now();
            }
            for player in players {
                let _ = player.join();
            }
            // What was submitted and not joined still stands in line.
            eventually("nobody waits or runs", || pool.waiting() + pool.len() == 0);
            assert_eq!(pool.free_count(), SIZE, "seed {seed}");
            eventually("the discarded end", || inside.load(Ordering::SeqCst) == 0);
        }
    });
}

#[test]
fn pool_never_runs_more_than_its_size() {
    on_workers!({
        let pool = Pool::new(3);
        let (most, inside) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let spawners: Vec<_> = (0..20)
            .map(|_| {
                let (pool, most, inside) = (pool.clone(), most.clone(), inside.clone());
                spawn(move || {
                    for _ in 0..50 {
                        let (most, inside) = (most.clone(), inside.clone());
                        pool.spawn(move || {
                            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            let _ = yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                        })
                        .unwrap();
                    }
                })
            })
            .collect();
        for spawner in spawners {
            spawner.join().unwrap();
        }
        pool.join().unwrap();
        assert!(most.load(Ordering::SeqCst) <= 3);
    });
}

#[test]
fn pool_serves_spawners_in_order_of_arrival() {
    on_workers!([1], {
        greenloop::run(|| {
            let (pool, go) = (Pool::new(1), Event::new());
            let log = Arc::new(std::sync::Mutex::new(Vec::new()));
            let first = {
                let go = go.clone();
                pool.spawn(move || go.wait()).unwrap()
            };
            let spawners: Vec<_> = (0..5)
                .map(|n| {
                    let (pool, log) = (pool.clone(), log.clone());
                    spawn(move || pool.spawn(move || log.lock().unwrap().push(n)).map(drop))
                })
                .collect();
            while pool.waiting() < 5 {
                yield_now().unwrap();
            }
            spawners[1].kill();
            go.set();
            first.join().unwrap().unwrap();
            for (n, spawner) in spawners.into_iter().enumerate() {
                assert_eq!(spawner.join().is_err(), n == 1);
            }
            pool.join().unwrap();
            assert_eq!(*log.lock().unwrap(), [0, 2, 3, 4]);
        });
    });
}

#[test]
fn pool_hands_the_closure_back_with_what_it_owns() {
    on_workers!({
        let pool = Pool::new(1);
        let blocker = pool.spawn(|| sleep(LONG)).unwrap();
        let owned = String::from("owned");
        let refused = pool.spawn_timeout(move || owned, MS).unwrap_err();
        assert!(refused.error().is_timeout());
        assert_eq!(refused.into_inner()(), "owned");
        // From a greenlet that is killed while it stands in line.
        let spawner = {
            let pool = pool.clone();
            spawn(move || {
                let refused = pool.spawn(|| 5).unwrap_err();
                assert!(refused.error().is_cancelled());
                assert_eq!(refused.into_inner()(), 5);
            })
        };
        eventually("it stands in line", || pool.waiting() == 1);
        spawner.kill_and_wait(None).unwrap();
        assert_eq!(pool.waiting(), 0);
        blocker.kill_and_wait(None).unwrap();
        assert_eq!(pool.free_count(), 1);
    });
}

#[test]
fn pool_serves_plain_threads_in_the_same_line() {
    on_workers!({
        let (pool, sum) = (Pool::new(2), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (pool, sum) = (pool.clone(), sum.clone());
                std::thread::spawn(move || {
                    for n in 0..100 {
                        let sum = sum.clone();
                        pool.spawn(move || sum.fetch_add(n, Ordering::SeqCst))
                            .unwrap();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        pool.join().unwrap();
        assert_eq!(sum.load(Ordering::SeqCst), 4 * 4950);
        assert_eq!(pool.free_count(), 2);
    });
}

#[test]
fn pool_and_group_can_be_waited_for_with_others() {
    on_workers!({
        let (pool, group, never) = (Pool::new(1), Group::new(), Event::new());
        let go = Event::new();
        let wait = |go: &Event| {
            let go = go.clone();
            move || go.wait()
        };
        pool.spawn(wait(&go)).unwrap();
        group.spawn(wait(&never));
        let waiter = {
            let (pool, group, never) = (pool.clone(), group.clone(), never.clone());
            spawn(move || wait_any(&[&never, &group, &pool]))
        };
        assert!(!waiter.wait_timeout(5 * MS).unwrap());
        go.set();
        assert_eq!(waiter.join().unwrap().unwrap(), 2);
        group.kill().unwrap();
        assert_eq!(wait_any(&[&never, &group]).unwrap(), 1);
    });
}

#[test]
fn group_dropped_detaches_its_members() {
    on_workers!({
        let go = Event::new();
        let member = {
            let (group, go) = (Group::new(), go.clone());
            group.spawn(move || go.wait())
        };
        assert!(!member.wait_timeout(5 * MS).unwrap());
        go.set();
        member.join().unwrap().unwrap();
    });
}

#[test]
fn group_races_of_spawn_add_discard_and_kill_end_empty() {
    on_workers!({
        for seed in 1..=4 {
            let (group, over) = (Group::new(), Event::new());
            let players: Vec<_> = (0..40)
                .map(|n| {
                    let (group, over) = (group.clone(), over.clone());
                    spawn(move || {
                        let mut dice = Dice::new(seed * 1000 + n);
                        for _ in 0..30 {
                            let (own, over) = (group.clone(), over.clone());
                            match dice.below(5) {
                                0 => drop(group.spawn(move || over.wait())),
                                // One that leaves by itself, perhaps before it is listed.
                                1 => drop(group.spawn(move || own.discard(&greenloop::current()))),
                                2 => {
                                    let other = spawn(yield_now);
                                    group.add(&other);
                                    group.add(&other);
                                }
                                3 => _ = group.kill_timeout(Duration::from_micros(dice.below(300))),
                                _ => drop(group.members().first().map(|m| group.discard(m))),
                            }
                        }
                    })
                })
                .collect();
            for player in players {
                player.join().unwrap();
            }
            group.kill().unwrap();
            assert_eq!((group.len(), group.members().len()), (0, 0), "seed {seed}");
            // For those that were discarded: no kill reached them.
            over.set();
        }
    });
}

#[test]
fn stream_dropped_midway_kills_what_runs_and_starts_no_more() {
    on_workers!({
        let (pool, begun) = (Pool::new(4), Arc::new(AtomicUsize::new(0)));
        let mut stream = {
            let begun = begun.clone();
            pool.stream(0.., move |n| {
                begun.fetch_add(1, Ordering::SeqCst);
                if n > 0 {
                    let _ = sleep(LONG);
                }
                n
            })
        };
        assert_eq!(stream.next().unwrap().unwrap(), 0);
        assert!(stream.next_timeout(5 * MS).unwrap_err().is_timeout());
        assert!(!pool.is_empty());
        drop(stream);
        assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
        assert_eq!(pool.free_count(), 4);
        assert!(begun.load(Ordering::SeqCst) <= 5);
    });
}

#[test]
fn stream_ends_for_a_reader_that_is_killed() {
    on_workers!({
        let pool = Pool::new(2);
        let begun = Event::new();
        let reader = {
            let (pool, begun) = (pool.clone(), begun.clone());
            spawn(move || {
                let work = move |_| {
                    begun.set();
                    sleep(LONG)
                };
                // A loop that looks at no error comes to its end all the same.
                let results: Vec<_> = pool.stream(0.., work).collect();
                assert!(
                    results
                        .last()
                        .unwrap()
                        .as_ref()
                        .unwrap_err()
                        .is_wait_error()
                );
            })
        };
        begun.wait().unwrap();
        reader.kill();
        assert!(reader.join().unwrap_err().is_killed());
        assert!(pool.join_timeout(Duration::from_secs(20)).unwrap());
    });
}

#[test]
fn streams_share_a_pool_and_use_places_that_others_free() {
    on_workers!({
        let pool = Pool::new(3);
        let readers: Vec<_> = (0..6)
            .map(|reader| {
                let pool = pool.clone();
                spawn(move || {
                    let work = |n: usize| {
                        yield_now().unwrap();
                        n
                    };
                    let input = 0..100;
                    let sum = |stream: &mut dyn Iterator<Item = _>| {
                        stream
                            .map(|n: Result<usize, greenloop::JoinError>| n.unwrap())
                            .sum()
                    };
                    let sum: usize = match reader % 2 {
                        0 => sum(&mut pool.stream(input, work)),
                        _ => sum(&mut pool.stream_unordered(input, work)),
                    };
                    sum
                })
            })
            .collect();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 4950);
        }
        assert_eq!(pool.free_count(), 3);
        // One of the two items holds its place until the other has run, which gets a place
        // only when a foreign member leaves.
        let (pool, go, met) = (Pool::new(2), Event::new(), Event::new());
        let foreign = {
            let go = go.clone();
            pool.spawn(move || go.wait()).unwrap()
        };
        let reader = {
            let (pool, met) = (pool.clone(), met.clone());
            spawn(move || {
                let work = move |n| match n {
                    0 => met.wait().unwrap(),
                    _ => met.set(),
                };
                pool.stream(0..2, work).map(Result::unwrap).count()
            })
        };
        eventually("the first item runs", || pool.len() == 2);
        go.set();
        foreign.join().unwrap().unwrap();
        assert_eq!(reader.join().unwrap(), 2);
    });
}
