//! gevent's `test__hub` (`TestSleep`, `TestWaiter`) and `test__sleep0`.
//!
//! There is no hub here: what its tests say about sleeping and being woken is said of
//! `sleep`, `yield_now` and the primitives.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use greenloop::net::{TcpListener, TcpStream};
use greenloop::sync::Event;
use greenloop::testkit::{assert_no_switch, assert_switches};
use greenloop::{Error, sleep, sleep_until, spawn, timeout, yield_now};

use crate::support::on_workers;

const MS: Duration = Duration::from_millis(1);

/// For what has no reason to take long, on a machine that has.
const GENEROUS: Duration = Duration::from_secs(5);

#[test]
fn test_sleep() {
    // TestSleep: it takes as long as it was told to.
    on_workers!({
        let body = || {
            let start = Instant::now();
            sleep(30 * MS).unwrap();
            assert!((30 * MS..GENEROUS).contains(&start.elapsed()));
            let end = Instant::now() + 10 * MS;
            sleep_until(end).unwrap();
            assert!(Instant::now() >= end);
        };
        body();
        spawn(body).join().unwrap();
    });
}

#[test]
fn test_sleep_of_nothing() {
    on_workers!({
        let body = || {
            // Zero is a turn for the others; a time that has passed is nothing at all.
            assert_switches(|| sleep(Duration::ZERO)).unwrap();
            assert_no_switch(|| sleep_until(Instant::now())).unwrap();
            // Less than the timer's grain is no wait without an end.
            sleep(Duration::from_nanos(1)).unwrap();
        };
        body();
        spawn(body).join().unwrap();
    });
}

/// Begins a greenlet that yields until `stop` is set.
fn yielder(stop: &Arc<AtomicBool>) -> greenloop::Greenlet<Result<(), Error>> {
    let stop = stop.clone();
    spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            yield_now()?;
        }
        Ok(())
    })
}

#[test]
fn test_sleep0_lets_timeouts_fire() {
    // A30, first part: a deadline inside the loop.
    on_workers!({
        let fired = spawn(|| {
            let start = Instant::now();
            let looped: Result<(), Error> = timeout(10 * MS, || {
                loop {
                    yield_now()?;
                }
            });
            (looped.unwrap_err().is_timeout(), start.elapsed())
        });
        let (is_timeout, took) = fired.join().unwrap();
        assert!(
            is_timeout && (10 * MS..GENEROUS).contains(&took),
            "{took:?}"
        );
    });
}

#[test]
fn test_sleep0_lets_others_sleep_on_time() {
    // A30, second part; the figure is for a machine that is not shared.
    on_workers!({
        let stop = Arc::new(AtomicBool::new(false));
        let busy = [(); 4].map(|()| yielder(&stop));
        let sleeper = spawn(|| {
            let times = (0..10).map(|_| {
                let start = Instant::now();
                sleep(20 * MS).unwrap();
                start.elapsed()
            });
            times.min().unwrap()
        });
        // The best of ten: what others do to the machine is not what is measured.
        let took = sleeper.join().unwrap();
        assert!((20 * MS..100 * MS).contains(&took), "{took:?}");
        stop.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|g| g.join().unwrap().unwrap());
    });
}

#[test]
fn test_sleep0_lets_io_through() {
    // A30, third part: an echo round trip below 50 ms beside it, the best of ten.
    on_workers!({
        let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let busy = [(); 4].map(|()| yielder(&stop));
        let echo = spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            while stream.read(&mut byte).unwrap() > 0 {
                stream.write_all(&byte).unwrap();
            }
        });
        let asking = spawn(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            let times = (0..10).map(|_| {
                let start = Instant::now();
                stream.write_all(b"x").unwrap();
                stream.read_exact(&mut [0]).unwrap();
                start.elapsed()
            });
            times.min().unwrap()
        });
        let took = asking.join().unwrap();
        assert!(took < 50 * MS, "{took:?}");
        echo.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|g| g.join().unwrap().unwrap());
    });
}

#[test]
fn test_yielding_loop_can_be_killed() {
    on_workers!({
        let greenlet = yielder(&Arc::default());
        assert!(greenlet.kill_and_wait(Some(GENEROUS)).unwrap());
    });
}

#[test]
fn test_waiter_is_woken_before_and_after_it_waits() {
    // TestWaiter: a switch that comes first is not lost, and one that comes late is taken.
    on_workers!({
        let before = Event::new();
        before.set();
        assert_no_switch(|| before.wait()).unwrap();
        let after = Event::new();
        let waiter = {
            let after = after.clone();
            spawn(move || after.wait())
        };
        yield_now().unwrap();
        after.set();
        waiter.join().unwrap().unwrap();
    });
}
