//! `test__event.py`: events and results that come later.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::sync::{AsyncResult, Event};
use greenloop::{
    Error, Timeout, sleep, spawn, spawn_later, timeout_or, wait_any_timeout, yield_now,
};

use crate::support::{eventually, on_workers};

const LONG: Duration = Duration::from_secs(600);
const MS: Duration = Duration::from_millis(1);

/// What `set_exception` is given.
#[derive(Debug, PartialEq)]
struct MyError(&'static str);

impl std::fmt::Display for MyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for MyError {}

// A06, for these types: gevent runs it for `Event.wait`, `wait([event])`,
// `AsyncResult.wait`, `wait([result])` and `AsyncResult.get`.
#[test]
fn test_outer_timeout_is_not_lost() {
    on_workers!({
        let event = Event::new();
        let (_setter, result) = AsyncResult::<()>::new();
        let waits: [&dyn Fn() -> Result<(), Error>; 5] = [
            &|| event.wait_timeout(LONG).map(drop),
            &|| wait_any_timeout(&[&event], LONG).map(drop),
            &|| result.wait_timeout(LONG).map(drop),
            &|| wait_any_timeout(&[&result], LONG).map(drop),
            &|| Ok(result.get_timeout(LONG)?),
        ];
        for wait in waits {
            let outer = Timeout::start(MS);
            let error = wait().unwrap_err();
            assert!(outer.owns(&error), "{error}");
        }
        assert_eq!(result.waiting(), 0);
    });
}

#[test]
fn test_returns_none_after_timeout() {
    on_workers!({
        let event = Event::new();
        let (_setter, result) = AsyncResult::<()>::new();
        let start = Instant::now();
        assert!(!event.wait_timeout(5 * MS).unwrap());
        assert_eq!(wait_any_timeout(&[&event], 5 * MS).unwrap(), None);
        assert!(!result.wait_timeout(5 * MS).unwrap());
        assert_eq!(wait_any_timeout(&[&result], 5 * MS).unwrap(), None);
        // gevent's `get` raises, as ours fails.
        let late = result.get_timeout(5 * MS).unwrap_err();
        assert!(late.is_timeout() && late.is_wait_error());
        assert!(start.elapsed() >= 25 * MS);
    });
}

#[test]
fn test_set_during_wait() {
    on_workers!({
        let event = Event::new();
        let waiter = spawn(move || {
            let setter = {
                let event = event.clone();
                spawn(move || event.set())
            };
            event.wait().unwrap();
            assert!(event.is_set());
            setter.join().unwrap();
            event.clear();
            assert_eq!(wait_any_timeout(&[&event], 10 * MS).unwrap(), None);
            assert!(!event.is_set());
        });
        waiter.join().unwrap();
    });
}

#[test]
fn test_link() {
    on_workers!([1], {
        // gevent takes any callable; ours are `Waitable`, and a watch is taken back.
        let (setter, result) = AsyncResult::<u8>::new();
        assert_eq!(
            format!("{result:?}"),
            "AsyncResult { result: none yet, waiting: 0 }"
        );
        assert_eq!(wait_any_timeout(&[&result, &result], MS).unwrap(), None);
        setter.set(1);
        assert_eq!(wait_any_timeout(&[&result], MS).unwrap(), Some(0));
        assert!(result.is_ready() && result.is_ok());
    });
}

// A35
#[test]
fn test_set_exc() {
    on_workers!({
        let (setter, result) = AsyncResult::<u8>::new();
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let result = result.clone();
                spawn(move || result.get().unwrap_err())
            })
            .collect();
        eventually("five wait", || result.waiting() == 5);
        setter.fail(MyError("no"));
        let later = result.get().unwrap_err();
        let now = result.try_get().unwrap_err();
        let present = waiters.into_iter().map(|waiter| waiter.join().unwrap());
        let all: Vec<_> = present.chain([later, now]).collect();
        let first = all[0].failure().unwrap();
        for error in &all {
            let failure = error.failure().unwrap();
            // The very same, as gevent's `assertIs` asks for.
            assert!(std::ptr::addr_eq(first, failure));
            assert_eq!(failure.downcast_ref::<MyError>(), Some(&MyError("no")));
            assert!(!error.is_abandoned() && !error.is_wait_error());
        }
        assert!(result.is_ready() && !result.is_ok());
    });
}

#[test]
fn test_set() {
    on_workers!({
        let (setter, result) = AsyncResult::new();
        let later = spawn_later(50 * MS, move || setter.set("hello event1"));
        {
            let limit = Timeout::start(Duration::ZERO);
            let error = Error::from(result.get().unwrap_err());
            assert!(limit.owns(&error), "{error}");
        }
        later.join().unwrap();
        assert_eq!(result.get().unwrap(), "hello event1");
    });
}

#[test]
fn test_set_with_timeout() {
    on_workers!({
        let (_setter, result) = AsyncResult::<u8>::new();
        let got = timeout_or(2 * MS, 77, || Ok(result.get()?));
        assert_eq!(got.unwrap(), 77);
    });
}

// A35
#[test]
fn test_nonblocking_get() {
    on_workers!({
        let (setter, result) = AsyncResult::new();
        // gevent raises Timeout from `get_nowait`; nothing has timed out, so ours says None.
        assert_eq!(result.try_get().unwrap(), None);
        assert!(result.get_timeout(Duration::ZERO).unwrap_err().is_timeout());
        setter.set(5);
        assert_eq!(result.try_get().unwrap(), Some(5));
        assert_eq!(result.get_timeout(Duration::ZERO).unwrap(), 5);
    });
}

/// TestAsyncResultAsLinkTarget. gevent links the result to a greenlet; here the greenlet
/// owns the setter.
#[test]
fn test_set_as_link_target() {
    on_workers!({
        let (setter, result) = AsyncResult::new();
        let greenlet = spawn(move || setter.settle(Ok::<_, MyError>(1)));
        assert_eq!(result.get().unwrap(), 1);
        greenlet.join().unwrap();
    });
}

#[test]
fn test_set_exception_as_link_target() {
    on_workers!({
        let (setter, result) = AsyncResult::<u8>::new();
        spawn(move || setter.settle(Err(MyError("expected"))));
        let error = result.get().unwrap_err();
        assert_eq!(error.to_string(), "expected");
        // What others failed with is not about the caller, whatever it says.
        let (setter, result) = AsyncResult::<u8>::new();
        let killed = spawn(move || {
            let slept = sleep(LONG);
            setter.settle(slept.map(|()| 1));
        });
        eventually("it sleeps", || {
            greenloop::greenlets()
                .iter()
                .any(|g| g.id == killed.id() && g.state == "sleep")
        });
        killed.kill();
        let error = result.get().unwrap_err();
        assert!(error.failure().is_some() && !error.is_cancelled());
        let error = Error::from(error);
        assert!(!error.is_cancelled() && !error.is_timeout());
        assert_eq!(error.to_string(), "greenlet was killed");
    });
}

// A36
#[test]
fn test_cross_thread_set() {
    on_workers!({
        for _ in 0..50 {
            let (setter, result) = AsyncResult::new();
            let (back, told) = AsyncResult::new();
            let greenlet = spawn(move || {
                let n: u32 = result.get().unwrap();
                back.set(n + 1);
            });
            let thread = std::thread::spawn(move || {
                setter.set(1);
                told.get().unwrap()
            });
            assert_eq!(thread.join().unwrap(), 2);
            greenlet.join().unwrap();
        }
    });
}

// A37
#[test]
fn test_abandoned() {
    on_workers!({
        let (setter, result) = AsyncResult::<u8>::new();
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let result = result.clone();
                spawn(move || result.get().unwrap_err().is_abandoned())
            })
            .collect();
        eventually("five wait", || result.waiting() == 5);
        // A panic takes the setter with it, and so does a kill before the first turn.
        let panics = spawn(move || {
            let _setter = setter;
            panic!("before the result");
        });
        assert!(panics.join().unwrap_err().is_panic());
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
        assert!(result.try_get().unwrap_err().is_abandoned());
        assert!(result.wait_timeout(Duration::ZERO).unwrap());
        let (setter, result) = AsyncResult::<u8>::new();
        let never = spawn_later(LONG, move || setter.set(1));
        never.kill();
        assert!(result.get().unwrap_err().is_abandoned());
    });
}

/// TestEvent_SetThenClear, with N = 1, 100, 1000.
#[test]
fn test_set_then_clear() {
    on_workers!({
        for count in [1, 100, 1000] {
            let event = Event::new();
            let waiters: Vec<_> = (0..count)
                .map(|_| {
                    let event = event.clone();
                    spawn(move || event.wait())
                })
                .collect();
            eventually("all wait", || event.waiting() == count);
            event.set();
            event.clear();
            for waiter in waiters {
                waiter.join().unwrap().unwrap();
            }
        }
    });
}

#[test]
fn test_wait_while_notifying() {
    on_workers!([1], {
        greenloop::run(|| {
            let event = Event::new();
            let results = Arc::new(Mutex::new(Vec::new()));
            let wait_then_append = |n| {
                let (event, results) = (event.clone(), results.clone());
                move || {
                    event.wait().unwrap();
                    results.lock().unwrap().push(n);
                }
            };
            let first = spawn(wait_then_append(1));
            let second = spawn(wait_then_append(2));
            while event.waiting() < 2 {
                yield_now().unwrap();
            }
            event.set();
            // gevent's third runs last, as notifying takes a turn there. Our `wait` on an
            // event that is set does not switch, so the caller goes on first.
            wait_then_append(3)();
            first.join().unwrap();
            second.join().unwrap();
            assert_eq!(*results.lock().unwrap(), [3, 1, 2]);
        });
    });
}

/// TestWait: events and results, together.
#[test]
fn test_wait_for_events_and_results() {
    on_workers!({
        let events: Vec<_> = (0..5).map(|_| Event::new()).collect();
        let (setters, results): (Vec<_>, Vec<_>) = (0..5).map(|_| AsyncResult::new()).unzip();
        let (done, all_told) = channel();
        let sender = {
            let events = events.clone();
            spawn(move || {
                for (event, setter) in events.iter().zip(setters) {
                    sleep(MS).unwrap();
                    event.set();
                    setter.set(());
                }
                done.send(()).unwrap();
            })
        };
        let all: Vec<&dyn greenloop::sync::Waitable> = events
            .iter()
            .map(|event| event as _)
            .chain(results.iter().map(|result| result as _))
            .collect();
        greenloop::wait_any(&all).unwrap();
        greenloop::wait_all(&all).unwrap();
        all_told.recv().unwrap();
        assert!(results.iter().all(AsyncResult::is_ok));
        sender.join().unwrap();
    });
}
