//! gevent's `test__timeout` and `test__api_timeout`.
//!
//! There, an expired timeout is raised at whatever switches. Here it is an error of the
//! blocking call, for which `Timeout::owns` says whose it is; `str` and exception values of
//! a timeout have no counterpart, and neither has `pending`.

use std::time::{Duration, Instant};

use greenloop::sync::Event;
use greenloop::{Error, Timeout, sleep, spawn, timeout, timeout_or, yield_now};

use crate::support::on_workers;

const SHOULD_EXPIRE: Duration = Duration::from_millis(10);
const SHOULD_NOT_EXPIRE: Duration = Duration::from_secs(60);

/// What `get_hub().switch()` is there: a wait that nothing ends.
fn switch() -> Result<(), Error> {
    Event::new().wait()
}

/// Runs the block with each number of workers, in an OS thread and in a greenlet.
macro_rules! in_both {
    ($body:block) => {
        on_workers!({
            let body = || $body;
            body();
            spawn(body).join().unwrap();
        })
    };
}

#[test]
fn test_expires() {
    // A28: it fires, and again after a restart.
    in_both!({
        let start = Instant::now();
        let mut timeout = Timeout::start(SHOULD_EXPIRE);
        assert!(timeout.owns(&switch().unwrap_err()));
        assert!(start.elapsed() >= SHOULD_EXPIRE);
        let start = Instant::now();
        timeout.restart(SHOULD_EXPIRE);
        assert!(timeout.owns(&switch().unwrap_err()));
        assert!(start.elapsed() >= SHOULD_EXPIRE);
        drop(timeout);
        yield_now().unwrap();
    });
}

#[test]
fn test_expired_stays_expired() {
    // Ours alone: there a timeout is raised once; here it is a level until it is dropped.
    in_both!({
        let timeout = Timeout::start(SHOULD_EXPIRE);
        for _ in 0..3 {
            assert!(timeout.owns(&switch().unwrap_err()));
            assert!(timeout.owns(&yield_now().unwrap_err()));
        }
        drop(timeout);
        sleep(SHOULD_EXPIRE).unwrap();
    });
}

#[test]
fn test_cancel() {
    // A28: nothing fires after it, also when it had fired before.
    in_both!({
        let mut timeout = Timeout::start(SHOULD_EXPIRE);
        timeout.cancel();
        sleep(SHOULD_EXPIRE * 2).unwrap();
        timeout.cancel();
        timeout.restart(SHOULD_EXPIRE);
        assert!(timeout.owns(&switch().unwrap_err()));
        timeout.cancel();
        sleep(SHOULD_EXPIRE * 2).unwrap();
    });
}

#[test]
fn test_context_manager() {
    in_both!({
        let error = timeout(SHOULD_EXPIRE, switch).unwrap_err();
        assert!(error.is_timeout() && error.timeout_id().is_some());
        assert_eq!(error.to_string(), "timed out after 10ms");
        // It went with its block.
        sleep(SHOULD_EXPIRE * 2).unwrap();
    });
}

#[test]
fn test_context_manager_false() {
    // A27: its own expiry is suppressed, a foreign one passes.
    in_both!({
        timeout_or(SHOULD_EXPIRE, (), switch).unwrap();

        let outer = Timeout::start(SHOULD_EXPIRE);
        let error = timeout_or(SHOULD_NOT_EXPIRE, (), switch).unwrap_err();
        assert!(outer.owns(&error));
        drop(outer);

        // And so does what is no timeout at all.
        let other = || Err(std::io::Error::from(std::io::ErrorKind::NotFound).into());
        let error = timeout_or(SHOULD_EXPIRE, (), other).unwrap_err();
        assert!(!error.is_timeout());
        // Nor is the limit of a call inside taken for it.
        let own = timeout_or(SHOULD_NOT_EXPIRE, true, || {
            Event::new().wait_timeout(SHOULD_EXPIRE)
        });
        assert!(!own.unwrap());
    });
}

#[test]
fn test_with_timeout() {
    in_both!({
        let slow = || sleep(SHOULD_NOT_EXPIRE).map(|()| "slept");
        assert!(timeout(SHOULD_EXPIRE, slow).unwrap_err().is_timeout());
        assert_eq!(timeout_or(SHOULD_EXPIRE, "x", slow).unwrap(), "x");
        let fast = || sleep(SHOULD_EXPIRE).map(|()| "slept");
        assert_eq!(timeout_or(SHOULD_NOT_EXPIRE, "x", fast).unwrap(), "slept");
    });
}

#[test]
fn test_api() {
    // A28
    in_both!({
        // Nothing happens if the block ends before.
        timeout(SHOULD_NOT_EXPIRE, || sleep(SHOULD_EXPIRE)).unwrap();
        sleep(SHOULD_EXPIRE).unwrap();
        // `None` as seconds: the limit that never comes.
        let never = Timeout::start(Duration::MAX);
        sleep(SHOULD_EXPIRE).unwrap();
        drop(never);
        // Zero fires at the next call that may switch, and not before.
        let mut zero = Timeout::start(Duration::ZERO);
        let event = Event::new();
        event.set();
        assert!(event.is_set());
        assert!(zero.owns(&yield_now().unwrap_err()));
        // Also where the call would not have had to wait: here it is a level.
        assert!(zero.owns(&event.wait().unwrap_err()));
        zero.cancel();
        event.wait().unwrap();
    });
}

#[test]
fn test_nested_timeout() {
    // A26: with the outer one the shorter.
    in_both!({
        let end = timeout_or(SHOULD_EXPIRE, "outer", || {
            timeout_or(SHOULD_NOT_EXPIRE, "inner", || switch().map(|()| "none"))
        });
        assert_eq!(end.unwrap(), "outer");

        let outer = Timeout::start(SHOULD_EXPIRE);
        let inner = Timeout::start(SHOULD_NOT_EXPIRE);
        let error = switch().unwrap_err();
        assert!(outer.owns(&error) && !inner.owns(&error));
        // The inner one is pending until it is dropped: the outer one's end leaves it alone.
        drop(outer);
        sleep(SHOULD_EXPIRE).unwrap();
        let mut inner = inner;
        inner.restart(SHOULD_EXPIRE);
        assert!(inner.owns(&switch().unwrap_err()));
    });
}

#[test]
fn test_nested_timeout_inner_shorter() {
    // A26, the other half.
    in_both!({
        let mut outer = Timeout::start(SHOULD_NOT_EXPIRE);
        let inner = Timeout::start(SHOULD_EXPIRE);
        let error = switch().unwrap_err();
        assert!(inner.owns(&error) && !outer.owns(&error));
        drop(inner);
        // The outer one is pending, and its time goes on.
        sleep(SHOULD_EXPIRE).unwrap();
        outer.restart(SHOULD_EXPIRE);
        assert!(outer.owns(&switch().unwrap_err()));
    });
}

#[test]
fn test_nested_timeout_of_both_the_outer_one_knows() {
    // Ours alone: of two that have both passed by the time anybody looks, the nearest to
    // its limit is named; the outer one once the inner one is gone.
    in_both!({
        let outer = Timeout::start(Duration::ZERO);
        let inner = Timeout::start(Duration::ZERO);
        let first = yield_now().unwrap_err();
        assert!(outer.owns(&first), "{first}");
        drop(inner);
        assert!(outer.owns(&yield_now().unwrap_err()));
    });
}

#[test]
fn test_timeouts_belong_to_their_greenlet() {
    in_both!({
        let own = Timeout::start(Duration::ZERO);
        let child = spawn(|| sleep(SHOULD_EXPIRE).is_ok());
        // The joiner is the one that is timed out.
        let error = child.wait().unwrap_err();
        assert!(error.is_timeout());
        drop(own);
        assert!(child.join().unwrap());
    });
}
