//! gevent's `test__queue.py`, and what of `test__monkey_queue.py` is about queues.
//!
//! Not here: `test_subscript`, `test_weak_reference` and `test_subclass_assign_queue` are
//! about Python's classes; `test_init_and_bottleneck_methods` is about subclasses that store
//! items their own way, which ours do not allow.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::sync::queue::{BaseQueue, Discipline};
use greenloop::sync::{Channel, LifoQueue, PriorityQueue, Queue};
use greenloop::{Result, Timeout, run, spawn, timeout, yield_now};

use crate::support::{eventually, on_workers};

const LONG: Duration = Duration::from_secs(600);
const MS: Duration = Duration::from_millis(1);

/// Waits until `debugged` says `what` of itself.
fn says(debugged: &impl Debug, what: &str) {
    eventually(what, || format!("{debugged:?}").contains(what));
}

/// Lets the others have their turns until `condition` holds.
fn yield_until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().unwrap();
    }
}

/// A list of what happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn add(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    fn all(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

// Table 1.8: Full and Empty are answers here.
#[test]
fn test_put_nowait_simple() {
    fn check<D: Discipline<i32>>(queue: &BaseQueue<i32, D>) {
        queue.try_put(2).unwrap();
        assert!(queue.try_put(3).unwrap_err().is_full());
    }
    on_workers!({
        check(&Queue::bounded(1));
        check(&LifoQueue::bounded(1));
        check(&PriorityQueue::bounded(1));
        let channel = Channel::new();
        assert!(channel.try_put(2).unwrap_err().is_full());
        assert!(channel.try_put(3).unwrap_err().is_full());
    });
}

// gevent's runs in the hub; ours in any thread.
#[test]
fn test_put_nowait_unlock() {
    fn check<D: Discipline<i32> + Send + 'static>(queue: &BaseQueue<i32, D>) {
        let getter = spawn({
            let queue = queue.clone();
            move || queue.get()
        });
        assert!(queue.is_empty() && !queue.is_full());
        says(queue, "getting: 1");
        assert!(queue.is_empty() && !queue.is_full());
        queue.try_put(10).unwrap();
        assert_eq!(getter.join().unwrap().unwrap(), 10);
        assert!(queue.is_empty() && !queue.is_full());
    }
    on_workers!({
        check(&Queue::unbounded());
        check(&LifoQueue::unbounded());
        check(&PriorityQueue::unbounded());
        let channel = Channel::new();
        let getter = spawn({
            let channel = channel.clone();
            move || channel.get()
        });
        eventually("it waits", || channel.balance() == -1);
        channel.try_put(10).unwrap();
        assert_eq!(getter.join().unwrap().unwrap(), 10);
        assert_eq!(channel.balance(), 0);
    });
}

#[test]
fn test_send_last() {
    on_workers!({
        let (queue, channel) = (Queue::unbounded(), Channel::new());
        let waiter = spawn({
            let (queue, channel) = (queue.clone(), channel.clone());
            move || timeout(LONG, || -> Result<_> { Ok((queue.get()?, channel.get()?)) })
        });
        says(&queue, "getting: 1");
        queue.put("hi2").unwrap();
        channel.put("hi3").unwrap();
        assert_eq!(waiter.join().unwrap().unwrap(), ("hi2", "hi3"));
    });
}

#[test]
fn test_get_nowait_simple() {
    on_workers!({
        let queue = Queue::bounded(1);
        queue.put(4).unwrap();
        assert_eq!(queue.try_get().unwrap(), Some(4));
        assert_eq!(queue.try_get().unwrap(), None);
    });
}

#[test]
fn test_get_nowait_unlock() {
    on_workers!({
        let queue = Queue::bounded(1);
        queue.put(4).unwrap();
        let putter = spawn({
            let queue = queue.clone();
            move || queue.put(5)
        });
        says(&queue, "putting: 1");
        assert!(queue.is_full());
        assert_eq!(queue.try_get().unwrap(), Some(4));
        putter.join().unwrap().unwrap();
        assert_eq!(queue.try_get().unwrap(), Some(5));
        assert!(queue.is_empty());
    });
}

#[test]
fn test_send_first() {
    on_workers!({
        let queue = Queue::unbounded();
        queue.put("hi").unwrap();
        assert_eq!(queue.peek().unwrap(), "hi");
        assert_eq!(queue.get().unwrap(), "hi");
    });
}

#[test]
fn test_peek_empty() {
    on_workers!({
        let queue = Queue::<()>::unbounded();
        assert_eq!(queue.try_peek().unwrap(), None);
        let waiter = spawn({
            let queue = queue.clone();
            move || queue.peek_timeout(10 * MS)
        });
        assert!(waiter.join().unwrap().unwrap_err().is_timeout());
        queue.close();
        assert!(queue.peek().unwrap_err().is_closed());
    });
}

#[test]
fn test_peek_multi_greenlet() {
    on_workers!({
        let queue = Queue::unbounded();
        let peekers = [(); 3].map(|()| {
            let queue = queue.clone();
            spawn(move || queue.peek())
        });
        says(&queue, "peeking: 3");
        queue.put(1).unwrap();
        for peeker in peekers {
            assert_eq!(peeker.join().unwrap().unwrap(), 1);
        }
        assert_eq!(queue.peek().unwrap(), 1);
        assert_eq!(queue.len(), 1);
    });
}

// A42.
#[test]
fn test_max_size() {
    on_workers!([1], {
        run(|| {
            let (queue, log) = (Queue::bounded(2), Log::default());
            let putter = spawn({
                let (queue, log) = (queue.clone(), log.clone());
                move || {
                    for item in ["a", "b", "c"] {
                        queue.put(item).unwrap();
                        log.add(item);
                    }
                }
            });
            yield_until(|| format!("{queue:?}").contains("putting: 1"));
            assert_eq!(log.all(), ["a", "b"]);
            assert_eq!(queue.get().unwrap(), "a");
            yield_until(|| log.all().len() > 2);
            assert_eq!(log.all(), ["a", "b", "c"]);
            assert_eq!(queue.get().unwrap(), "b");
            assert_eq!(queue.get().unwrap(), "c");
            putter.join().unwrap();
        });
    });
}

// A42, with as many workers as there are.
#[test]
fn test_max_size_on_many_workers() {
    on_workers!({
        let queue = Queue::bounded(2);
        let putter = spawn({
            let queue = queue.clone();
            move || ["a", "b", "c"].map(|item| queue.put(item).unwrap())
        });
        says(&queue, "putting: 1");
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.get().unwrap(), "a");
        putter.join().unwrap();
        assert_eq!([queue.get().unwrap(), queue.get().unwrap()], ["b", "c"]);
    });
}

// A43.
#[test]
fn test_multiple_waiters() {
    on_workers!({
        let queue = Queue::unbounded();
        let waiters: Vec<_> = (1..=4)
            .map(|n| {
                let waiter = spawn({
                    let queue = queue.clone();
                    move || queue.get()
                });
                says(&queue, &format!("getting: {n}"));
                waiter
            })
            .collect();
        for item in ["1", "2", "3", "4"] {
            queue.put(item).unwrap();
        }
        let got: Vec<_> = waiters.into_iter().map(|w| w.join().unwrap()).collect();
        let got: Result<Vec<_>> = got.into_iter().collect();
        assert_eq!(got.unwrap(), ["1", "2", "3", "4"]);
    });
}

#[test]
fn test_waiters_that_cancel() {
    on_workers!({
        let queue = Queue::unbounded();
        let waiter = spawn({
            let queue = queue.clone();
            move || timeout(Duration::ZERO, || queue.get())
        });
        assert!(waiter.join().unwrap().unwrap_err().is_timeout());
        queue.put("hi").unwrap();
        assert_eq!(queue.get().unwrap(), "hi");
    });
}

#[test]
fn test_senders_that_die() {
    on_workers!({
        let queue = Queue::unbounded();
        let sender = queue.clone();
        spawn(move || sender.put("sent")).join().unwrap().unwrap();
        assert_eq!(queue.get().unwrap(), "sent");
    });
}

#[test]
fn test_two_waiters_one_dies() {
    on_workers!({
        let queue = Queue::unbounded();
        let dying = spawn({
            let queue = queue.clone();
            move || queue.get()
        });
        says(&queue, "getting: 1");
        let waiting = spawn({
            let queue = queue.clone();
            move || queue.get()
        });
        says(&queue, "getting: 2");
        dying.kill();
        queue.put("hi").unwrap();
        // Whether the kill came before the item or not, the item goes to one of them.
        let died = dying.join().ok().and_then(Result::ok);
        if died.is_some() {
            queue.put("hi").unwrap();
        }
        assert_eq!(waiting.join().unwrap().unwrap(), "hi");
        assert!(queue.is_empty());
    });
}

#[test]
fn test_two_bogus_waiters() {
    on_workers!({
        let queue = Queue::unbounded();
        let bogus = [(); 2].map(|()| {
            let queue = queue.clone();
            spawn(move || timeout(MS, || queue.get()))
        });
        for waiter in bogus {
            assert!(waiter.join().unwrap().unwrap_err().is_timeout());
        }
        queue.put("sent").unwrap();
        assert_eq!(queue.get().unwrap(), "sent");
    });
}

// TestChannel. gevent: "it switches to a waiting putter if needed"; ours never switches.
#[test]
fn test_get_nowait_unlock_channel() {
    on_workers!({
        let channel = Channel::new();
        assert_eq!(channel.try_get().unwrap(), None);
        let putter = spawn({
            let channel = channel.clone();
            move || channel.put(5)
        });
        eventually("it waits", || channel.balance() == 1);
        assert_eq!(channel.try_get().unwrap(), Some(5));
        putter.join().unwrap().unwrap();
        assert_eq!(channel.balance(), 0);
    });
}

// TestChannel.
#[test]
fn test_zero_max_size() {
    on_workers!({
        let channel = Channel::new();
        let sender = spawn({
            let channel = channel.clone();
            move || channel.put("hi").unwrap()
        });
        eventually("it waits", || channel.balance() == 1);
        assert!(!sender.is_ready());
        let receiver = spawn({
            let channel = channel.clone();
            move || channel.get()
        });
        assert_eq!(receiver.join().unwrap().unwrap(), "hi");
        sender.join().unwrap();
    });
}

// A48. TestChannel.
#[test]
fn test_send() {
    on_workers!([1], {
        run(|| {
            let (channel, log) = (Channel::new(), Log::default());
            let another = spawn({
                let (channel, log) = (channel.clone(), log.clone());
                move || {
                    log.add(channel.get().unwrap());
                    log.add(channel.get().unwrap());
                }
            });
            log.add("sending");
            channel.put("hello").unwrap();
            log.add("sent hello");
            channel.put("world").unwrap();
            log.add("sent world");
            let expected = ["sending", "hello", "sent hello", "world", "sent world"];
            assert_eq!(log.all(), expected);
            another.join().unwrap();
        });
    });
}

// TestChannel.
#[test]
fn test_wait() {
    on_workers!([1], {
        run(|| {
            let (channel, log) = (Channel::new(), Log::default());
            let another = spawn({
                let (channel, log) = (channel.clone(), log.clone());
                move || {
                    log.add("sending hello");
                    channel.put("hello").unwrap();
                    log.add("sending world");
                    channel.put("world").unwrap();
                    log.add("sent world");
                }
            });
            log.add("waiting");
            log.add(channel.get().unwrap());
            log.add(channel.get().unwrap());
            let mut expected = vec![
                "waiting",
                "sending hello",
                "hello",
                "sending world",
                "world",
            ];
            assert_eq!(log.all(), expected);
            yield_until(|| log.all().len() > 5);
            expected.push("sent world");
            assert_eq!(log.all(), expected);
            another.join().unwrap();
        });
    });
}

// gevent's ends at an item that is `StopIteration`; ours when it is closed.
#[test]
fn test_iterable() {
    on_workers!({
        let (channel, queue) = (Channel::new(), Queue::bounded(1));
        let getter = spawn({
            let (channel, queue) = (channel.clone(), queue.clone());
            move || {
                let mut got = Vec::new();
                got.extend(&channel);
                for item in &queue {
                    got.push(item);
                }
                got
            }
        });
        channel.put(1).unwrap();
        channel.put(2).unwrap();
        channel.close();
        queue.put(3).unwrap();
        queue.put(4).unwrap();
        queue.close();
        assert_eq!(getter.join().unwrap(), [1, 2, 3, 4]);
    });
}

// TestJoinableQueue. `get_job` is its `get`, the drop of the job its `task_done`.
#[test]
fn test_task_done() {
    on_workers!({
        let queue = Queue::unbounded();
        let putter = queue.clone();
        spawn(move || putter.put("x"));
        let job = queue.get_job().unwrap();
        assert_eq!(*job, "x");
        assert_eq!(queue.unfinished(), 1);
        assert!(!queue.join_timeout(MS).unwrap());
        drop(job);
        assert_eq!(queue.unfinished(), 0);
        queue.join().unwrap();
    });
}

/// A closed queue takes nothing.
fn assert_no_puts<D: Discipline<char>>(queue: &BaseQueue<char, D>) {
    assert!(queue.put('E').unwrap_err().error().is_closed());
    assert!(queue.try_put('W').unwrap_err().error().is_closed());
    assert!(queue.put_timeout('X', MS).unwrap_err().error().is_closed());
}

/// A queue that is closed and empty gives nothing.
fn assert_no_gets<D: Discipline<char>>(queue: &BaseQueue<char, D>) {
    assert!(queue.get().unwrap_err().is_closed());
    assert!(queue.try_get().unwrap_err().is_closed());
    assert!(queue.get_timeout(LONG).unwrap_err().is_closed());
    assert!(queue.get_job().unwrap_err().is_closed());
}

// A46.
#[test]
fn test_shutdown_all_methods_in_one_thread() {
    fn check<D: Discipline<char>>(queue: &BaseQueue<char, D>, order: [char; 2]) {
        queue.put('O').unwrap();
        queue.try_put('L').unwrap();
        queue.close();
        assert!(queue.is_closed());
        assert_no_puts(queue);
        assert!(!queue.join_timeout(MS).unwrap());
        assert_eq!(queue.get().unwrap(), order[0]);
        assert_eq!(*queue.get_job().unwrap(), order[1]);
        queue.join().unwrap();
        assert_no_gets(queue);
    }
    on_workers!({
        check(&Queue::unbounded(), ['O', 'L']);
        check(&LifoQueue::unbounded(), ['L', 'O']);
        check(&PriorityQueue::unbounded(), ['L', 'O']);
    });
}

// A46. gevent drops the items, ours gives them back.
#[test]
fn test_shutdown_immediate_all_methods_in_one_thread() {
    fn check<D: Discipline<char>>(queue: &BaseQueue<char, D>, order: [char; 2]) {
        queue.put('O').unwrap();
        queue.try_put('L').unwrap();
        assert_eq!(queue.close_now(), order);
        assert_no_puts(queue);
        assert_no_gets(queue);
        queue.join().unwrap();
        assert!(queue.close_now().is_empty());
    }
    on_workers!({
        check(&Queue::unbounded(), ['O', 'L']);
        check(&LifoQueue::unbounded(), ['L', 'O']);
        check(&PriorityQueue::unbounded(), ['L', 'O']);
    });
}

// A46. As CPython's test_shutdown_get, test_shutdown_put and test_shutdown_join.
#[test]
fn test_shutdown_wakes_blocked_callers() {
    on_workers!({
        for immediate in [false, true] {
            let queue = Queue::bounded(1);
            queue.put(1).unwrap();
            let putters = [(); 2].map(|()| {
                let queue = queue.clone();
                spawn(move || queue.put(2))
            });
            let joiner = spawn({
                let queue = queue.clone();
                move || queue.join()
            });
            says(&queue, "putting: 2");
            says(&queue, "joining: 1");
            if immediate {
                assert_eq!(queue.close_now(), [1]);
            } else {
                queue.close();
                assert_eq!(queue.get().unwrap(), 1);
            }
            for putter in putters {
                let refused = putter.join().unwrap().unwrap_err();
                assert!(refused.error().is_closed());
                assert_eq!(refused.into_item(), 2);
            }
            joiner.join().unwrap().unwrap();

            let queue = Queue::<u8>::unbounded();
            let getter = spawn({
                let queue = queue.clone();
                move || queue.get()
            });
            let peeker = spawn({
                let queue = queue.clone();
                move || queue.peek()
            });
            says(&queue, "getting: 1");
            says(&queue, "peeking: 1");
            if immediate {
                queue.close_now();
            } else {
                queue.close();
            }
            assert!(getter.join().unwrap().unwrap_err().is_closed());
            assert!(peeker.join().unwrap().unwrap_err().is_closed());
        }
    });
}

#[test]
fn test_issue_45() {
    on_workers!({
        let queue = Queue::<()>::unbounded();
        queue.join().unwrap();
        assert!(queue.join_timeout(Duration::ZERO).unwrap());
    });
}

/// What gevent asks of everything with a `timeout`: it ends in time, and a `Timeout` outside
/// passes through and is told from it.
fn check_interrupt(wait: impl Fn(Duration) -> greenloop::Error) {
    let start = Instant::now();
    let error = wait(10 * MS);
    assert!(
        error.is_timeout() && error.timeout_id().is_none(),
        "{error}"
    );
    assert!(start.elapsed() >= 10 * MS);
    let outer = Timeout::start(10 * MS);
    let error = wait(LONG);
    assert!(outer.owns(&error), "{error}");
}

// TestGetInterrupt, and those of JoinableQueue, LifoQueue, PriorityQueue and Channel.
#[test]
fn test_get_interrupt() {
    on_workers!({
        let queue = Queue::<u8>::unbounded();
        check_interrupt(|limit| queue.get_timeout(limit).unwrap_err());
        check_interrupt(|limit| queue.peek_timeout(limit).unwrap_err());
        check_interrupt(|limit| queue.get_job_timeout(limit).unwrap_err());
        let queue = LifoQueue::<u8>::unbounded();
        check_interrupt(|limit| queue.get_timeout(limit).unwrap_err());
        let queue = PriorityQueue::<u8>::unbounded();
        check_interrupt(|limit| queue.get_timeout(limit).unwrap_err());
        let channel = Channel::<u8>::new();
        check_interrupt(|limit| channel.get_timeout(limit).unwrap_err());
    });
}

// TestPutInterrupt, and those of JoinableQueue, LifoQueue, PriorityQueue and Channel.
#[test]
fn test_put_interrupt() {
    on_workers!({
        let queue = Queue::bounded(1);
        queue.put(1).unwrap();
        check_interrupt(|limit| queue.put_timeout(2, limit).unwrap_err().into());
        let queue = LifoQueue::bounded(1);
        queue.put(1).unwrap();
        check_interrupt(|limit| queue.put_timeout(2, limit).unwrap_err().into());
        let queue = PriorityQueue::bounded(1);
        queue.put(1).unwrap();
        check_interrupt(|limit| queue.put_timeout(2, limit).unwrap_err().into());
        assert_eq!(
            (queue.try_get().unwrap(), queue.try_get().unwrap()),
            (Some(1), None)
        );
        let channel = Channel::new();
        check_interrupt(|limit| channel.put_timeout(2, limit).unwrap_err().into());
        assert_eq!(channel.try_get().unwrap(), None);
    });
}

// A49. test__monkey_queue.py.
#[test]
#[expect(non_snake_case, reason = "gevent's name")]
fn test__init() {
    on_workers!([1], {
        let items = [2, 5, 3, 1, 4];
        let queue: PriorityQueue<_> = items.into_iter().collect();
        queue.close();
        assert_eq!(queue.iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let queue: Queue<_> = items.into_iter().collect();
        queue.close();
        assert_eq!(queue.iter().collect::<Vec<_>>(), items);
        let queue: LifoQueue<_> = items.into_iter().collect();
        queue.close();
        assert_eq!(queue.iter().collect::<Vec<_>>(), [4, 1, 3, 5, 2]);
    });
}
