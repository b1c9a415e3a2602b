//! The queue family's own promises: nothing lost, nothing doubled, order kept, whatever is
//! killed, times out, closes or panics in between.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{self, AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenloop::sync::queue::{BaseQueue, Discipline};
use greenloop::sync::{Broadcast, Channel, LifoQueue, PriorityQueue, PutError, Queue, Subscriber};
use greenloop::{Greenlet, Result, sleep, spawn, timeout, wait_any, yield_now};

use crate::support::{eventually, on_workers};

const LONG: Duration = Duration::from_secs(600);
const MS: Duration = Duration::from_millis(1);

/// Waits until `debugged` says `what` of itself.
fn says(debugged: &impl Debug, what: &str) {
    eventually(what, || format!("{debugged:?}").contains(what));
}

/// xorshift: the same numbers for the same seed.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn micros(&mut self, end: u64) -> Duration {
        Duration::from_micros(self.below(end))
    }
}

// The races

/// An item: who put it, and how many that one had put before.
type Item = (usize, usize);

/// What the races ask of a member of the family.
trait Line: Clone + Send + Sync + 'static {
    fn put_timeout(&self, item: Item, limit: Duration) -> Result<(), PutError<Item>>;
    fn get_timeout(&self, limit: Duration) -> Result<Item>;
    /// Takes what is left after everyone has gone.
    fn end(&self) -> Vec<Item>;
}

impl<D: Discipline<Item> + Send + 'static> Line for BaseQueue<Item, D> {
    fn put_timeout(&self, item: Item, limit: Duration) -> Result<(), PutError<Item>> {
        self.put_timeout(item, limit)
    }

    fn get_timeout(&self, limit: Duration) -> Result<Item> {
        // Both ways of taking, in turn.
        if limit.as_micros().is_multiple_of(2) {
            self.get_timeout(limit)
        } else {
            Ok(self.get_job_timeout(limit)?.into_item())
        }
    }

    fn end(&self) -> Vec<Item> {
        let left = self.close_now();
        assert!(self.join_timeout(Duration::ZERO).unwrap(), "{self:?}");
        says(self, "in_hand: 0, getting: 0, putting: 0");
        left
    }
}

impl Line for Channel<Item> {
    fn put_timeout(&self, item: Item, limit: Duration) -> Result<(), PutError<Item>> {
        self.put_timeout(item, limit)
    }

    fn get_timeout(&self, limit: Duration) -> Result<Item> {
        self.get_timeout(limit)
    }

    fn end(&self) -> Vec<Item> {
        assert_eq!(self.balance(), 0);
        assert_eq!(self.try_get().unwrap(), None);
        Vec::new()
    }
}

const PRODUCERS: usize = 12;
const CONSUMERS: usize = 12;
const ITEMS: usize = 60;

/// One who puts `ITEMS` numbered items; gives the numbers that were taken in.
fn produce(line: &impl Line, own: usize, mut random: Random) -> Vec<usize> {
    let mut put = Vec::new();
    for number in 0..ITEMS {
        match line.put_timeout((own, number), random.micros(400)) {
            Ok(()) => put.push(number),
            Err(refused) => {
                assert!(!refused.error().is_closed());
                let was_killed = refused.error().is_cancelled();
                assert_eq!(refused.into_item(), (own, number), "it came back");
                if was_killed {
                    break;
                }
            }
        }
    }
    put
}

/// One who gets until it is killed or told to stop; every item goes to `got`.
fn consume(line: &impl Line, stop: &AtomicBool, got: &Mutex<Vec<Item>>, mut random: Random) {
    let mut own = Vec::new();
    loop {
        match line.get_timeout(random.micros(400)) {
            Ok(item) => own.push(item),
            Err(error) if error.is_timeout() && !stop.load(atomic::Ordering::SeqCst) => {}
            Err(_) => break,
        }
    }
    got.lock().unwrap().extend(own);
}

/// Kills and timeouts race puts and gets; then the books must balance.
fn race(line: &impl Line, seed: u64) -> Vec<Item> {
    let mut random = Random::new(seed);
    let stop = Arc::new(AtomicBool::new(false));
    let got = Arc::new(Mutex::new(Vec::new()));
    // Killed before it ran, a body never runs: what it would have returned is kept outside.
    let put = Arc::new(Mutex::new(BTreeSet::new()));
    let producers: Vec<Greenlet<()>> = (0..PRODUCERS)
        .map(|own| {
            let (line, put) = (line.clone(), put.clone());
            let random = Random::new(seed ^ (own as u64 + 1) << 32);
            spawn(move || {
                let numbers = produce(&line, own, random);
                let mut put = put.lock().unwrap();
                put.extend(numbers.into_iter().map(|number| (own, number)));
            })
        })
        .collect();
    let consumers: Vec<Greenlet<()>> = (0..CONSUMERS)
        .map(|own| {
            let (line, stop, got) = (line.clone(), stop.clone(), got.clone());
            let random = Random::new(seed ^ (own as u64 + 1) << 48);
            spawn(move || consume(&line, &stop, &got, random))
        })
        .collect();
    // OS threads stand in the same lines.
    let thread = {
        let (line, stop, got) = (line.clone(), stop.clone(), got.clone());
        let random = Random::new(seed ^ 77);
        std::thread::spawn(move || consume(&line, &stop, &got, random))
    };
    for n in 0..CONSUMERS / 3 {
        std::thread::sleep(random.micros(700));
        consumers[n * 2].kill();
        producers[n * 3].kill();
    }
    for producer in producers {
        let _ = producer.join();
    }
    stop.store(true, atomic::Ordering::SeqCst);
    for consumer in consumers {
        let _ = consumer.join();
    }
    thread.join().unwrap();
    let mut all = std::mem::take(&mut *got.lock().unwrap());
    all.extend(line.end());
    let arrived: BTreeSet<Item> = all.iter().copied().collect();
    assert_eq!(
        arrived.len(),
        all.len(),
        "seed {seed}: something was doubled"
    );
    assert_eq!(
        arrived,
        *put.lock().unwrap(),
        "seed {seed}: lost or made up"
    );
    all
}

#[test]
fn kills_and_timeouts_lose_and_double_nothing() {
    on_workers!({
        for seed in 0..4 {
            race(&Queue::bounded(3), seed);
            race(&Queue::unbounded(), seed);
            race(&PriorityQueue::bounded(3), seed);
            race(&LifoQueue::bounded(3), seed);
            race(&Channel::new(), seed);
        }
    });
}

/// With one consumer at a time, each producer's items come in the order in which it put.
fn assert_fifo_per_producer(line: &impl Line, seed: u64) {
    let producers: Vec<_> = (0..8)
        .map(|own| {
            let line = line.clone();
            let random = Random::new(seed + own as u64);
            spawn(move || produce(&line, own, random))
        })
        .collect();
    let (stop, got) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let consumer = scope.spawn(|| consume(line, &stop, &got, Random::new(seed)));
        let put: Vec<_> = producers.into_iter().map(|p| p.join().unwrap()).collect();
        stop.store(true, atomic::Ordering::SeqCst);
        consumer.join().unwrap();
        let mut got = std::mem::take(&mut *got.lock().unwrap());
        got.extend(line.end());
        for (own, put) in put.into_iter().enumerate() {
            let of_own = got.iter().filter(|item| item.0 == own);
            let numbers: Vec<_> = of_own.map(|item| item.1).collect();
            assert_eq!(numbers, put, "seed {seed}, producer {own}");
        }
    });
}

#[test]
fn items_of_one_producer_keep_their_order_whatever_times_out() {
    on_workers!({
        for seed in 0..5 {
            assert_fifo_per_producer(&Queue::bounded(2), seed);
            assert_fifo_per_producer(&Queue::unbounded(), seed);
            assert_fifo_per_producer(&Channel::new(), seed);
        }
    });
}

#[test]
fn close_races_with_blocked_callers_and_everyone_learns_their_share() {
    on_workers!({
        for seed in 0..20 {
            let queue = Queue::bounded(2);
            let mut random = Random::new(seed);
            let putters: Vec<_> = (0..10)
                .map(|n| {
                    let queue = queue.clone();
                    spawn(move || {
                        queue.put(n).map_err(|refused| {
                            assert!(refused.error().is_closed());
                            refused.into_item()
                        })
                    })
                })
                .collect();
            let getters = [(); 5].map(|()| {
                let queue = queue.clone();
                spawn(move || queue.iter().collect::<Vec<i32>>())
            });
            std::thread::sleep(random.micros(100));
            let mut all = if seed % 2 == 0 {
                queue.close();
                Vec::new()
            } else {
                queue.close_now()
            };
            for (n, putter) in putters.into_iter().enumerate() {
                if let Err(back) = putter.join().unwrap() {
                    assert_eq!(back, i32::try_from(n).unwrap());
                    all.push(back);
                }
            }
            for getter in getters {
                all.extend(getter.join().unwrap());
            }
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<_>>(), "seed {seed}");
            queue.join().unwrap();
        }
    });
}

// Order

#[test]
fn priority_queue_serves_equals_in_order_of_arrival() {
    on_workers!([1], {
        /// Compared by its first half.
        #[derive(Debug)]
        struct Ranked(u8, usize);
        impl PartialEq for Ranked {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }
        impl Eq for Ranked {}
        impl PartialOrd for Ranked {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for Ranked {
            fn cmp(&self, other: &Self) -> Ordering {
                self.0.cmp(&other.0)
            }
        }
        let queue = PriorityQueue::unbounded();
        let mut expected = Vec::new();
        for n in 0..100 {
            let rank = u8::try_from(n * 7 % 3).unwrap();
            queue.put(Ranked(rank, n)).unwrap();
            expected.push((rank, n));
        }
        expected.sort_unstable();
        queue.close();
        let got: Vec<_> = queue.iter().map(|item| (item.0, item.1)).collect();
        assert_eq!(got, expected);
    });
}

#[test]
fn freed_room_goes_to_the_putter_that_waited_longest() {
    fn check<D: Discipline<u8> + Send + 'static>(queue: &BaseQueue<u8, D>, order: [u8; 4]) {
        queue.put(5).unwrap();
        let putters = [9, 1, 7].map(|item| {
            let waiting = format!("{queue:?}");
            let putter = spawn({
                let queue = queue.clone();
                move || queue.put(item)
            });
            eventually("one more waits", || format!("{queue:?}") != waiting);
            putter
        });
        assert_eq!(order.map(|_| queue.get().unwrap()), order);
        for putter in putters {
            putter.join().unwrap().unwrap();
        }
    }
    on_workers!({
        check(&Queue::bounded(1), [5, 9, 1, 7]);
        check(&LifoQueue::bounded(1), [5, 9, 1, 7]);
        // The urgent one does not overtake: it is not in the queue yet.
        check(&PriorityQueue::bounded(1), [5, 9, 1, 7]);
    });
}

// Jobs

#[test]
fn join_waits_for_jobs_whatever_ends_them() {
    on_workers!({
        let queue: Queue<_> = (0..4).collect();
        let kept = queue.get_job().unwrap();
        let panicking = spawn({
            let queue = queue.clone();
            move || {
                let _job = queue.get_job().unwrap();
                panic!("expected by the test")
            }
        });
        assert!(panicking.join().unwrap_err().is_panic());
        let killed = spawn({
            let queue = queue.clone();
            move || {
                let _job = queue.get_job()?;
                sleep(LONG)
            }
        });
        eventually("it has its job", || queue.len() == 1);
        assert_eq!(queue.get().unwrap(), 3);
        assert_eq!(queue.unfinished(), 2);
        let joiners = [(); 2].map(|()| {
            let queue = queue.clone();
            spawn(move || queue.join())
        });
        let thread = {
            let queue = queue.clone();
            std::thread::spawn(move || queue.join())
        };
        says(&queue, "joining: 3");
        killed.kill();
        eventually("the killed one's job is done", || queue.unfinished() == 1);
        assert!(joiners.iter().all(|joiner| !joiner.is_ready()));
        assert_eq!(kept.into_item(), 0);
        for joiner in joiners {
            joiner.join().unwrap().unwrap();
        }
        thread.join().unwrap().unwrap();
    });
}

#[test]
fn an_item_on_its_way_to_a_waiting_getter_is_unfinished() {
    on_workers!([1], {
        greenloop::run(|| {
            let queue = Queue::unbounded();
            let getter = spawn({
                let queue = queue.clone();
                move || queue.get()
            });
            while !format!("{queue:?}").contains("getting: 1") {
                yield_now().unwrap();
            }
            queue.put(1).unwrap();
            // Handed over, but the getter has not run.
            assert_eq!((queue.len(), queue.unfinished()), (0, 1));
            queue.join().unwrap();
            assert_eq!(getter.join().unwrap().unwrap(), 1);
        });
    });
}

#[test]
fn close_now_settles_what_is_queued_and_not_what_is_in_hand() {
    on_workers!({
        let queue: Queue<_> = (0..3).collect();
        let job = queue.get_job().unwrap();
        assert_eq!(queue.close_now(), [1, 2]);
        assert!(!queue.join_timeout(MS).unwrap());
        drop(job);
        queue.join().unwrap();
    });
}

#[test]
fn jobs_end_with_the_queue_and_a_killed_joiner_leaves() {
    on_workers!({
        let queue = Queue::bounded(2);
        let workers = [(); 3].map(|()| {
            let queue = queue.clone();
            spawn(move || queue.jobs().map(|job| *job).sum::<u64>())
        });
        for n in 0..100 {
            queue.put(n).unwrap();
        }
        queue.join().unwrap();
        let sum = {
            queue.put(0).unwrap();
            queue.close();
            workers
                .map(|worker| worker.join().unwrap())
                .iter()
                .sum::<u64>()
        };
        assert_eq!(sum, 4950);

        let busy: Queue<_> = [1].into_iter().collect();
        let joiner = spawn({
            let busy = busy.clone();
            move || busy.join()
        });
        says(&busy, "joining: 1");
        joiner.kill();
        assert!(joiner.join().unwrap_err().is_killed());
        says(&busy, "joining: 0");
        let late = timeout(MS, || busy.join()).unwrap_err();
        assert!(late.is_timeout());
    });
}

// Code of the user's that panics

/// Panics when it is compared with a bad one, or dropped if it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moody {
    rank: u32,
    bad: bool,
    drops: Option<Counted>,
}

/// Counts drops.
#[derive(Clone, Debug)]
struct Counted(Arc<AtomicUsize>);

impl PartialEq for Counted {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Counted {}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, atomic::Ordering::SeqCst);
    }
}

impl PartialOrd for Moody {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moody {
    fn cmp(&self, other: &Self) -> Ordering {
        assert!(!self.bad && !other.bad, "expected by the test");
        self.rank.cmp(&other.rank)
    }
}

fn good(rank: u32) -> Moody {
    Moody {
        rank,
        bad: false,
        drops: None,
    }
}

fn bad(rank: u32) -> Moody {
    Moody {
        bad: true,
        ..good(rank)
    }
}

#[test]
fn an_ord_that_panics_in_put_drops_that_item_and_changes_nothing() {
    on_workers!({
        let queue = PriorityQueue::bounded(4);
        for rank in [3, 1, 2] {
            queue.put(good(rank)).unwrap();
        }
        let drops = Arc::new(AtomicUsize::new(0));
        let item = Moody {
            drops: Some(Counted(drops.clone())),
            ..bad(0)
        };
        assert!(catch_unwind(AssertUnwindSafe(|| queue.put(item))).is_err());
        assert_eq!(drops.load(atomic::Ordering::SeqCst), 1);
        assert!(catch_unwind(AssertUnwindSafe(|| queue.try_put(bad(0)))).is_err());
        assert_eq!(queue.len(), 3);
        queue.put(good(0)).unwrap();
        queue.close();
        let ranks: Vec<_> = queue.iter().map(|item| item.rank).collect();
        assert_eq!(ranks, [0, 1, 2, 3]);
    });
}

#[test]
fn an_ord_that_panics_in_get_takes_nothing() {
    on_workers!({
        let queue: PriorityQueue<_> = [good(2), bad(0), good(1)].into_iter().collect();
        for _ in 0..3 {
            assert!(catch_unwind(AssertUnwindSafe(|| queue.get())).is_err());
            assert!(catch_unwind(AssertUnwindSafe(|| queue.try_get())).is_err());
            assert!(catch_unwind(AssertUnwindSafe(|| queue.peek())).is_err());
        }
        let killed = spawn({
            let queue = queue.clone();
            move || queue.get().map(drop)
        });
        assert!(killed.join().unwrap_err().is_panic());
        assert_eq!((queue.len(), queue.unfinished()), (3, 3));
        let mut ranks: Vec<_> = queue.close_now().iter().map(|item| item.rank).collect();
        ranks.sort_unstable();
        assert_eq!(ranks, [0, 1, 2]);
        queue.join().unwrap();
    });
}

#[test]
fn an_ord_that_panics_does_not_lose_the_item_of_a_waiting_putter() {
    on_workers!({
        let queue = PriorityQueue::bounded(2);
        queue.put(good(1)).unwrap();
        queue.put(good(2)).unwrap();
        let putter = spawn({
            let queue = queue.clone();
            move || queue.put(bad(0))
        });
        says(&queue, "putting: 1");
        // Lets the putter in, whose item is compared by the next one.
        assert_eq!(queue.get().unwrap(), good(1));
        putter.join().unwrap().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| queue.get())).is_err());
        assert_eq!(queue.close_now().len(), 2);
    });
}

/// Panics in its drop, unless it is a panic's drop.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("expected by the test");
        }
    }
}

#[test]
fn drops_that_panic_leave_the_queue_usable() {
    on_workers!({
        let queue = Queue::unbounded();
        for _ in 0..4 {
            queue.put(Bomb).unwrap();
        }
        let job = queue.get_job().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(job))).is_err());
        assert_eq!(queue.unfinished(), 3, "the job is done all the same");
        let got = queue.get().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(got))).is_err());
        let left = queue.close_now();
        assert_eq!(left.len(), 2);
        left.into_iter().for_each(std::mem::forget);
        queue.join().unwrap();

        let news = Broadcast::new(1);
        let slow = news.subscribe();
        news.send(Arc::new(Bomb)).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| news.send(Arc::new(Bomb)))).is_err());
        assert_eq!(news.len(), 1);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(slow))).is_err());
        assert_eq!((news.len(), news.subscribers()), (0, 0));
    });
}

// Waiting for several, and the end

#[test]
fn every_member_is_waitable() {
    on_workers!({
        let (queue, channel) = (Queue::<u8>::unbounded(), Channel::<u8>::new());
        let (lifo, priority) = (
            LifoQueue::<u8>::unbounded(),
            PriorityQueue::<u8>::unbounded(),
        );
        let news = Broadcast::new(2);
        let mut reader = news.subscribe();
        let any = || {
            wait_any(&[
                &queue as &dyn greenloop::sync::Waitable,
                &channel,
                &lifo,
                &priority,
                &reader,
            ])
        };
        let first = |wake: &dyn Fn()| {
            std::thread::scope(|scope| {
                let waiter = scope.spawn(any);
                wake();
                waiter.join().unwrap().unwrap()
            })
        };
        let putter = Mutex::new(None);
        assert_eq!(first(&|| queue.put(1).unwrap()), 0);
        assert_eq!(queue.get().unwrap(), 1);
        let put = || {
            let channel = channel.clone();
            *putter.lock().unwrap() = Some(spawn(move || channel.put(2)));
        };
        assert_eq!(first(&put), 1);
        assert_eq!(channel.try_get().unwrap(), Some(2));
        putter
            .into_inner()
            .unwrap()
            .unwrap()
            .join()
            .unwrap()
            .unwrap();
        assert_eq!(first(&|| lifo.put(3).unwrap()), 2);
        assert_eq!(lifo.get().unwrap(), 3);
        assert_eq!(first(&|| priority.put(4).unwrap()), 3);
        assert_eq!(priority.get().unwrap(), 4);
        assert_eq!(first(&|| assert_eq!(news.send(5).unwrap(), 1)), 4);
        assert_eq!(reader.get().unwrap(), 5);
        channel.close();
        assert_eq!(wait_any(&[&channel]).unwrap(), 0);
    });
}

#[test]
fn a_timed_out_peek_or_channel_put_leaves_no_trace() {
    on_workers!({
        let queue = Queue::<u8>::unbounded();
        assert!(queue.peek_timeout(MS).unwrap_err().is_timeout());
        says(&queue, "peeking: 0");
        let channel = Channel::new();
        let refused = channel.put_timeout("item", MS).unwrap_err();
        assert!(refused.error().is_timeout());
        assert_eq!(refused.into_item(), "item");
        assert_eq!(channel.balance(), 0);
        let putter = spawn({
            let channel = channel.clone();
            move || channel.put("other").unwrap_err()
        });
        eventually("it waits", || channel.balance() == 1);
        channel.close();
        let refused = putter.join().unwrap();
        assert!(refused.error().is_closed());
        assert_eq!(refused.into_item(), "other");
        assert!(channel.get().unwrap_err().is_closed());
    });
}

#[test]
fn a_channel_put_returns_only_after_its_item_was_taken() {
    on_workers!({
        let channel = Channel::new();
        let taken = Arc::new(AtomicUsize::new(0));
        let getters: Vec<_> = (0..4)
            .map(|_| {
                let (channel, taken) = (channel.clone(), taken.clone());
                spawn(move || {
                    while channel.get().is_ok() {
                        taken.fetch_add(1, atomic::Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for n in 0..500 {
            channel.put(n).unwrap();
            // At most the four that were taken and not counted yet are missing.
            assert!(taken.load(atomic::Ordering::SeqCst) + 4 > n);
        }
        channel.close();
        for getter in getters {
            getter.join().unwrap();
        }
        assert_eq!(taken.load(atomic::Ordering::SeqCst), 500);
    });
}

// Broadcast

/// What a subscriber saw: how many messages, how many lost; that nothing came twice or out
/// of order is checked here.
fn listen(mut news: Subscriber<u64>, mut random: Random) -> (u64, u64) {
    let (mut next, mut seen, mut lost) = (0, 0, 0);
    loop {
        match news.get_timeout(random.micros(300)) {
            Ok(message) => {
                assert_eq!(message, next, "exactly the lost ones are missing");
                next += 1;
                seen += 1;
                if random.below(8) == 0 {
                    let _ = sleep(random.micros(300));
                }
            }
            Err(error) if error.is_timeout() => {}
            Err(error) => match error.lagged() {
                Some(count) => {
                    next += count;
                    lost += count;
                }
                None => return (seen, lost),
            },
        }
    }
}

#[test]
fn broadcast_counts_exactly_what_each_subscriber_lost() {
    on_workers!({
        for seed in 0..4 {
            let news = Broadcast::new(8);
            let listeners: Vec<_> = (0..10)
                .map(|n| {
                    let (own, random) = (news.subscribe(), Random::new(seed * 100 + n));
                    spawn(move || listen(own, random))
                })
                .collect();
            let asleep = news.subscribe();
            let sender = spawn({
                let mut random = Random::new(seed);
                move || {
                    for n in 0..2000 {
                        news.send(n).unwrap();
                        if random.below(16) == 0 {
                            yield_now().unwrap();
                        }
                    }
                }
            });
            sender.join().unwrap();
            for listener in listeners {
                let (seen, lost) = listener.join().unwrap();
                assert_eq!(seen + lost, 2000, "seed {seed}");
            }
            assert_eq!(listen(asleep, Random::new(1)), (8, 1992));
        }
    });
}

#[test]
fn broadcast_reaches_those_who_subscribed_before_and_ends_with_its_senders() {
    on_workers!({
        let news = Broadcast::new(4);
        assert_eq!(news.send(0).unwrap(), 0);
        let mut early = news.subscribe();
        assert_eq!(news.send(1).unwrap(), 1);
        let mut late = news.subscribe();
        assert_eq!(news.clone().send(2).unwrap(), 2);
        assert_eq!((news.len(), news.subscribers()), (2, 2));
        assert_eq!((early.get().unwrap(), early.get().unwrap()), (1, 2));
        assert_eq!(news.len(), 1, "what all have got is not kept");
        assert_eq!(late.try_get().unwrap(), Some(2));
        assert_eq!(late.try_get().unwrap(), None);
        assert!(news.is_empty());
        let waiter = spawn(move || late.get());
        says(&news, "waiting: 1");
        news.send(3).unwrap();
        assert_eq!(waiter.join().unwrap().unwrap(), 3);
        assert_eq!(news.subscribers(), 1);
        drop(news);
        assert_eq!(early.get().unwrap(), 3);
        assert!(early.get().unwrap_err().is_closed());
        assert!(early.try_get().unwrap_err().is_closed());
    });
}

#[test]
fn broadcast_wakes_those_who_wait_when_it_closes_and_lets_the_killed_go() {
    on_workers!({
        let news = Broadcast::<u8>::new(4);
        let mut waiters: Vec<_> = (0..3)
            .map(|_| {
                let mut own = news.subscribe();
                spawn(move || own.get().unwrap_err())
            })
            .collect();
        let thread = {
            let mut own = news.subscribe();
            std::thread::spawn(move || own.get().unwrap_err())
        };
        says(&news, "waiting: 4");
        let killed = waiters.remove(1);
        killed.kill();
        assert!(killed.join().unwrap_err().is_killed());
        assert_eq!(news.subscribers(), 3);
        news.close();
        for waiter in waiters {
            assert!(waiter.join().unwrap().is_closed());
        }
        assert!(thread.join().unwrap().is_closed());
        let refused = news.send(7).unwrap_err();
        assert!(refused.error().is_closed() && refused.into_item() == 7);
        assert!(news.subscribe().get().unwrap_err().is_closed());
    });
}
