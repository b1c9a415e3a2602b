//! The test kit, tested.

use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::net::{Stream, TcpListener, TcpStream};
use greenloop::server::{Conn, Observer, ServerConfig, StreamServer};
use greenloop::sync::{Event, Queue, Semaphore};
use greenloop::testkit::{
    AcceptScript, Fault, Faults, Faulty, Sequencer, assert_max_block, assert_no_switch,
    assert_switches, errno, stream_pair,
};
use greenloop::{Config, Deadline, Error, Timeout, sleep, spawn, yield_now};

use crate::support::{
    before_long, child_var, is_blocked, on_workers, on_workers_at_once, run_child, test_name,
};

const LONG: Duration = Duration::from_secs(3600);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The text with which `f` panics.
fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else {
        panic!("it did not panic");
    };
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|&s| s.to_owned()))
        .unwrap()
}

// ---- switches ----

#[test]
fn assert_switches_knows_what_switches() {
    on_workers!({
        let check = || {
            assert_switches(yield_now).unwrap();
            assert_switches(|| sleep(ms(1))).unwrap();
            let event = Event::new();
            let setter = event.clone();
            spawn(move || setter.set());
            // On several workers it may be set already: then the wait is no switch.
            event.wait().unwrap();
            assert_no_switch(|| event.wait()).unwrap();
            assert_eq!(assert_no_switch(|| 5), 5);
            let semaphore = Semaphore::new(1);
            drop(assert_no_switch(|| semaphore.acquire()).unwrap());
            let (mut a, mut b) = stream_pair(8);
            assert_no_switch(|| a.write_all(b"12345678")).unwrap();
            assert_no_switch(|| b.read(&mut [0; 8])).unwrap();
            let end = Deadline::after(ms(1));
            assert_switches(|| b.read_deadline(&mut [0], end)).unwrap_err();
        };
        check();
        spawn(check).join().unwrap();
    });
}

#[test]
fn assert_switches_sees_waits_on_descriptors() {
    on_workers!({
        let check = || {
            let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let limit = || Deadline::after(ms(2));
            assert_switches(|| listener.accept_deadline(limit())).unwrap_err();
        };
        check();
        spawn(check).join().unwrap();
    });
}

#[test]
fn assert_switches_panics_where_it_is_called() {
    let text = panic_of(|| assert_switches(|| ()));
    assert_eq!(text, "the block did not switch to other greenlets");

    let line = Mutex::new(0);
    let line = Arc::new(line);
    let before = std::panic::take_hook();
    {
        let line = line.clone();
        std::panic::set_hook(Box::new(move |info| {
            *line.lock().unwrap() = info.location().unwrap().line();
        }));
    }
    let here = line!() + 1;
    let caught = catch_unwind(|| assert_switches(|| ()));
    std::panic::set_hook(before);
    caught.unwrap_err();
    assert_eq!(*line.lock().unwrap(), here);
}

#[test]
fn assert_no_switch_names_the_place() {
    let here = line!() + 1;
    let text = panic_of(|| assert_no_switch(|| sleep(ms(1))));
    let place = format!("testkit.rs:{here}:");
    assert!(
        text.starts_with("the block switched to other greenlets, 1 time(s)")
            && text.contains(&place),
        "{text}"
    );
    let text = panic_of(|| assert_no_switch(yield_now));
    assert_eq!(text, "the block switched to other greenlets, 1 time(s)");
}

#[test]
fn counts_of_other_greenlets_do_not_matter() {
    on_workers!({
        let stop = Event::new();
        let busy = {
            let stop = stop.clone();
            spawn(move || {
                while !stop.is_set() {
                    yield_now().unwrap();
                }
            })
        };
        let text = spawn(|| panic_of(|| assert_switches(|| ())))
            .join()
            .unwrap();
        assert_eq!(text, "the block did not switch to other greenlets");
        stop.set();
        busy.join().unwrap();
    });
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "blocking the worker is what the test is about"
)]
fn assert_max_block_measures_stretches() {
    on_workers!({
        let body = || {
            // Waiting is no blocking, however long.
            assert_max_block(Duration::from_secs(20), || sleep(ms(30))).unwrap();
            let text = panic_of(|| {
                assert_max_block(ms(20), || {
                    yield_now().unwrap();
                    std::thread::sleep(ms(40));
                    yield_now().unwrap();
                });
            });
            assert!(
                text.starts_with("the block kept others waiting for"),
                "{text}"
            );
            // The stretch that is not over counts, too.
            panic_of(|| assert_max_block(ms(20), || std::thread::sleep(ms(40))));
            // An inner one is part of the outer one, across its beginning.
            panic_of(|| {
                assert_max_block(ms(45), || {
                    std::thread::sleep(ms(25));
                    assert_max_block(Duration::from_secs(20), || std::thread::sleep(ms(25)));
                });
            });
            // What panics inside leaves nothing behind.
            let text = panic_of(|| assert_max_block(LONG, || panic!("inside")));
            assert_eq!(text, "inside");
            panic_of(|| assert_max_block(ms(20), || std::thread::sleep(ms(40))));
        };
        body();
        spawn(body).join().unwrap();
    });
}

#[test]
fn assert_max_block_does_not_count_the_wait() {
    on_workers_at_once!({
        // The wait alone is longer than the limit allows.
        assert_max_block(Duration::from_secs(2), || {
            sleep(Duration::from_millis(2200))
        })
        .unwrap();
    });
}

// ---- sequencer ----

#[test]
fn sequence_is_kept_across_greenlets_and_threads() {
    on_workers!({
        let (seq, log) = (Sequencer::new(), Arc::new(Mutex::new(Vec::new())));
        let part = |numbers: Vec<usize>| {
            let (seq, log) = (seq.clone(), log.clone());
            move || {
                for number in numbers {
                    let turn = seq.at(number).unwrap();
                    log.lock().unwrap().push(number);
                    yield_now().unwrap();
                    log.lock().unwrap().push(number);
                    drop(turn);
                }
            }
        };
        let thread = std::thread::spawn(part(vec![1, 6]));
        let greenlets = [vec![5, 7], vec![0, 3], vec![2, 4]].map(|n| spawn(part(n)));
        greenlets.into_iter().for_each(|g| g.join().unwrap());
        thread.join().unwrap();
        let expected: Vec<_> = (0..8).flat_map(|n| [n, n]).collect();
        assert_eq!(*log.lock().unwrap(), expected);
    });
}

/// What a waiter for a later block is told when `spoil` has happened to block 0's holder.
fn told_after(spoil: impl FnOnce(Sequencer)) -> String {
    let seq = Sequencer::new();
    let waiting = {
        let seq = seq.clone();
        spawn(move || seq.at(2).map(drop))
    };
    spoil(seq.clone());
    let told = waiting.join().unwrap().unwrap_err().to_string();
    // Who comes later is told the same.
    assert_eq!(seq.at(7).unwrap_err().to_string(), told);
    told
}

#[test]
fn broken_sequence_lets_nobody_hang() {
    on_workers!({
        let told = told_after(|seq| {
            let panicking = spawn(move || {
                let _turn = seq.at(0).unwrap();
                panic!("in the block");
            });
            assert!(panicking.join().unwrap_err().is_panic());
        });
        assert_eq!(told, "the sequence is broken: block 0 panicked");

        let told = told_after(|seq| {
            let inside = Event::new();
            let in_block = {
                let inside = inside.clone();
                spawn(move || {
                    let _turn = seq.at(0).unwrap();
                    inside.set();
                    sleep(LONG)
                })
            };
            inside.wait().unwrap();
            in_block.kill_and_wait(None).unwrap();
        });
        assert_eq!(told, "the sequence is broken: block 0 was killed");

        let told = told_after(|seq| {
            let outer = Timeout::start(ms(5));
            let error = seq.at(1).unwrap_err();
            assert!(outer.owns(&error));
        });
        assert_eq!(told, "the sequence is broken: block 1 gave up waiting");

        let told = told_after(|seq| {
            let waiting = spawn(move || {
                let error = seq.at(1).unwrap_err();
                assert!(error.is_cancelled());
            });
            before_long("it waits", || is_blocked(&waiting));
            waiting.kill_and_wait(None).unwrap();
        });
        assert_eq!(told, "the sequence is broken: block 1 gave up waiting");
    });
}

#[test]
fn number_asked_for_twice_is_refused_and_harms_nobody() {
    let seq = Sequencer::new();
    let first = seq.at(0).unwrap();
    let error = seq.at(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "block 0 of the sequence was asked for twice"
    );
    drop(first);
    drop(seq.at(1).unwrap());
}

// ---- memory streams (the contract of all streams is in `streams`) ----

#[test]
fn full_direction_makes_the_writer_wait() {
    on_workers!({
        let (mut a, mut b) = stream_pair(4);
        assert_eq!(a.write(b"123456").unwrap(), 4);
        assert_eq!(a.unread(), 4);
        let error = a.write_deadline(b"5", Deadline::after(ms(5))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let writing = spawn(move || {
            a.write_all(b"56789").unwrap();
            a
        });
        let mut all = [0; 9];
        b.read_exact(&mut all).unwrap();
        assert_eq!(&all, b"123456789");
        let mut a = writing.join().unwrap();
        drop(b);
        let error = a.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(a.read(&mut [0]).unwrap(), 0);
    });
}

// ---- faulty streams ----

#[test]
fn faults_come_at_the_calls_they_are_planned_for() {
    let (near, mut far) = stream_pair(64);
    far.write_all(b"abcdefgh").unwrap();
    let faults = Faults::none()
        .on_read(0, Fault::Short(2))
        .on_read(1, Fault::Error(ErrorKind::ConnectionAborted))
        .on_read(2, Fault::Turn)
        .on_read(3, Fault::Delay(ms(10)))
        .on_read(4, Fault::End)
        .on_write(0, Fault::Short(1))
        .on_write(2, Fault::Cut(2));
    let mut near = Faulty::new(near, faults);
    let mut buf = [0; 3];
    assert_eq!(near.read(&mut buf).unwrap(), 2);
    let error = near.read(&mut buf).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert_eq!(assert_switches(|| near.read(&mut buf)).unwrap(), 3);
    assert_eq!(&buf, b"cde");
    let start = Instant::now();
    assert_eq!(near.read(&mut buf).unwrap(), 3);
    assert!(start.elapsed() >= ms(10));
    far.write_all(b"never read").unwrap();
    assert_eq!(near.read(&mut buf).unwrap(), 0);
    assert_eq!(near.read(&mut buf).unwrap(), 0);

    assert_eq!(near.write(b"123").unwrap(), 1);
    assert_eq!(near.write(b"23").unwrap(), 2);
    assert_eq!(near.write(b"45678").unwrap(), 2);
    let error = near.write(b"678").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let error = near.read(&mut buf).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut got = Vec::new();
    far.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"12345");
    assert_eq!(near.injected().len(), 7);
}

#[test]
fn delay_ends_at_the_limit_and_takes_nothing() {
    let (near, mut far) = stream_pair(8);
    far.write_all(b"x").unwrap();
    let mut near = Faulty::new(near, Faults::none().on_read(0, Fault::Delay(LONG)));
    near.set_read_timeout(Some(ms(5)));
    let error = Error::from(near.read(&mut [0]).unwrap_err());
    assert!(error.is_timeout() && error.timeout_id().is_none());
    assert_eq!(near.read(&mut [0]).unwrap(), 1);
}

#[test]
fn seed_gives_the_same_faults_again() {
    let run = |seed| {
        let (near, mut far) = stream_pair(1 << 16);
        let mut near = Faulty::new(near, Faults::seeded(seed));
        let data: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        data.chunks(200).for_each(|c| near.write_all(c).unwrap());
        near.shutdown(std::net::Shutdown::Write).unwrap();
        let mut got = Vec::new();
        far.read_to_end(&mut got).unwrap();
        assert!(got == data, "seed {seed} lost bytes");
        near.injected().to_vec()
    };
    let first = run(3);
    assert!(first.len() > 20, "only {} faults", first.len());
    assert_eq!(first, run(3));
    assert_ne!(first, run(4));
}

#[test]
fn cuts_come_as_often_as_asked_for() {
    let cut = |seed| {
        let (near, _far) = stream_pair(1 << 16);
        let mut near = Faulty::new(near, Faults::seeded(seed).cut_one_in(10));
        let calls = std::iter::repeat_with(|| near.write(&[0])).take_while(Result::is_ok);
        calls.take(1000).count()
    };
    let lives: Vec<_> = (0..50).map(cut).collect();
    let mean = lives.iter().sum::<usize>() / lives.len();
    assert!((3..30).contains(&mean), "{lives:?}");
}

// ---- accept loops ----

/// Keeps what the accept loop tells: each error and the milliseconds of its pause.
#[derive(Clone)]
struct Told {
    lines: Arc<Mutex<Vec<Line>>>,
    news: Queue<()>,
}

type Line = (String, Option<u64>);

impl Observer for Told {
    fn accept_error(&self, error: &Error, pause: Option<Duration>) {
        let pause = pause.map(|p| u64::try_from(p.as_millis()).unwrap());
        self.lines.lock().unwrap().push((error.to_string(), pause));
        self.news.put(()).unwrap();
    }
}

impl Told {
    fn new() -> Self {
        Self {
            lines: Arc::default(),
            news: Queue::unbounded(),
        }
    }

    fn pauses(&self) -> Vec<Option<u64>> {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(|(_, pause)| *pause).collect()
    }
}

#[test]
fn server_follows_the_script_and_serves_between_the_errors() {
    on_workers!({
        let script = AcceptScript::new()
            .error(errno::EINTR)
            .connection()
            .error(errno::EMFILE)
            .error(errno::ENFILE)
            .connection()
            .error(errno::EMFILE);
        let told = Told::new();
        let server = ServerConfig::new()
            .observer(told.clone())
            .bind("127.0.0.1:0")
            .unwrap()
            .start_scripted(|conn: &mut Conn| Ok(conn.write_all(b"hi")?), &script)
            .unwrap();
        for _ in 0..3 {
            let mut text = String::new();
            TcpStream::connect(server.addr())
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, "hi");
        }
        script.wait_done().unwrap();
        let report = server.drain(Duration::from_secs(5)).unwrap();
        assert_eq!((report.accepted, report.accept_errors), (3, 4));
        // A connection in between sets the pause back.
        assert_eq!(told.pauses(), [None, Some(10), Some(20), Some(10)]);
    });
}

#[test]
fn reserve_lets_a_client_go_when_descriptors_run_out() {
    on_workers!({
        let script = AcceptScript::new()
            .connection()
            .error(errno::EMFILE)
            .sheds();
        let server = StreamServer::bind("127.0.0.1:0")
            .unwrap()
            .start_scripted(|conn: &mut Conn| Ok(conn.write_all(b"hi")?), &script)
            .unwrap();
        let ask = || {
            let mut text = String::new();
            let mut client = TcpStream::connect(server.addr()).unwrap();
            let end = Deadline::after(Duration::from_secs(20));
            let mut buf = [0; 8];
            while let Ok(count @ 1..) = client.read_deadline(&mut buf, end) {
                text.push_str(std::str::from_utf8(&buf[..count]).unwrap());
            }
            text
        };
        assert_eq!(ask(), "hi");
        // One of those that come now may be closed unserved; the server lives on.
        while ask() != "hi" {}
        let report = server.drain(Duration::from_secs(5)).unwrap();
        assert_eq!(report.accept_errors, 1);
        assert!(report.shed <= 1);
    });
}

/// Names the worker count to the child of `spawn_limit_makes_the_server_back_off`.
const LIMITED: &str = "GREENLOOP_TEST_LIMITED";

#[test]
fn spawn_limit_makes_the_server_back_off() {
    if let Some(workers) = child_var(LIMITED) {
        return back_off_at_the_limit(workers.parse().unwrap());
    }
    for workers in ["1", "2", "4"] {
        let output = run_child(test_name!(), &[(LIMITED, workers)]);
        assert!(output.status.success(), "{}", output.text);
        assert!(output.text.contains("1 passed"), "{}", output.text);
    }
}

/// The accept loop, the supervisor and the sleepers take every place there is.
fn back_off_at_the_limit(workers: usize) {
    Config::new()
        .workers(workers)
        .max_greenlets(6)
        .start()
        .unwrap();
    let told = Told::new();
    // An error before the connection: its pause is not counted on.
    let script = AcceptScript::new().error(errno::EMFILE).connection();
    let server = ServerConfig::new()
        .observer(told.clone())
        .bind("127.0.0.1:0")
        .unwrap()
        .start_scripted(|conn: &mut Conn| Ok(conn.write_all(b"hi")?), &script)
        .unwrap();
    let sleepers: Vec<_> =
        std::iter::from_fn(|| greenloop::try_spawn(|| sleep(LONG)).ok()).collect();
    assert_eq!(sleepers.len(), 4);

    let mut client = TcpStream::connect(server.addr()).unwrap();
    for _ in 0..4 {
        told.news.get().unwrap();
    }
    let stats = server.stats();
    assert_eq!((stats.accepted, stats.accept_errors), (1, 1));
    assert_eq!(stats.open, 1);
    sleepers[0].kill_and_wait(None).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hi");
    let lines = told.lines.lock().unwrap().clone();
    assert_eq!(told.pauses()[..4], [Some(10), Some(10), Some(20), Some(40)]);
    assert!(lines[1].0.contains("greenlets"), "{lines:?}");

    // At the limit again, a drain ends the pause, and the client that waits in it.
    let mut last = None;
    before_long("the connection's greenlet has ended", || {
        last = greenloop::try_spawn(|| sleep(LONG)).ok();
        last.is_some()
    });
    let before = told.pauses().len();
    let mut client = TcpStream::connect(server.addr()).unwrap();
    while told.pauses().len() == before {
        told.news.get().unwrap();
    }
    let report = server.drain(Duration::from_secs(20)).unwrap();
    assert_eq!((report.accepted, report.killed, report.stuck), (2, 1, 0));
    assert!(!matches!(client.read(&mut [0]), Ok(1..)));
    for sleeper in sleepers.iter().chain(&last) {
        sleeper.kill();
    }
}
