//! The stream server against peers that do everything peers do. Clients are plain threads
//! with plain sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::apps::echo::Echo;
use greenloop::server::{
    Conn, ConnEnd, ConnInfo, Handler, Observer, Outcome, Report, ServerConfig, ServerHandle,
    StreamServer,
};
use greenloop::sync::{Event, Semaphore};

use crate::support::{child_var, eventually, on_workers, run_child, test_name};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(30);

fn echo() -> ServerHandle {
    StreamServer::bind("127.0.0.1:0")
        .unwrap()
        .start(Echo::new())
        .unwrap()
}

fn echo_with(config: ServerConfig) -> ServerHandle {
    config
        .bind("127.0.0.1:0")
        .unwrap()
        .start(Echo::new())
        .unwrap()
}

/// A client whose reads end after a while, so that a hanging server is a failing test.
fn client(addr: impl ToSocketAddrs) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// One exchange that shows that the server serves.
fn ping(stream: &mut TcpStream) {
    try_ping(stream).unwrap();
}

fn try_ping(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"ping")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"ping");
    Ok(())
}

fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap()
        * 1024
}

/// Bytes in which a shift or a swap shows.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

#[test]
fn half_close_with_a_late_reader_gets_every_byte() {
    on_workers!({
        let server = echo();
        let data = noise(300_000);
        let mut stream = client(server.addr());
        stream.write_all(&data).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        std::thread::sleep(100 * MS);
        assert!(read_to_end(&mut stream) == data);
        // And with nothing at all.
        let mut stream = client(server.addr());
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut stream), b"");
        let report = server.drain(LONG).unwrap();
        assert_eq!((report.accepted, report.finished), (2, 2), "{report:?}");
        assert_eq!(report.bytes_written, 300_000);
    });
}

#[test]
fn sixteen_mebibytes_pass_both_ways_exactly() {
    on_workers!({
        let server = echo();
        let data = Arc::new(noise(16 << 20));
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let (data, addr) = (data.clone(), server.addr());
                std::thread::spawn(move || {
                    let mut stream = client(addr);
                    let mut sender = stream.try_clone().unwrap();
                    let sent = data.clone();
                    let sending = std::thread::spawn(move || {
                        sender.write_all(&sent).unwrap();
                        sender.shutdown(Shutdown::Write).unwrap();
                    });
                    let back = read_to_end(&mut stream);
                    sending.join().unwrap();
                    assert!(back == *data);
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        assert_eq!(server.drain(LONG).unwrap().finished, 2);
    });
}

#[test]
fn peer_that_never_reads_stops_being_read() {
    on_workers!([2], {
        let server = echo_with(ServerConfig::new().write_timeout(None));
        ping(&mut client(server.addr()));
        let before = resident_bytes();
        let mut greedy = client(server.addr());
        greedy.set_write_timeout(Some(300 * MS)).unwrap();
        let chunk = noise(1 << 20);
        let mut sent = 0;
        while sent < 256 << 20 {
            match greedy.write(&chunk[sent % chunk.len()..]) {
                Ok(n) => sent += n,
                Err(_) => break,
            }
        }
        assert!(sent < 256 << 20, "the server took everything");
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 24 << 20, "grew by {grown} bytes");
        // The others do not notice.
        let start = Instant::now();
        ping(&mut client(server.addr()));
        assert!(start.elapsed() < Duration::from_secs(3));
        // Nothing is lost once it reads.
        greedy.shutdown(Shutdown::Write).unwrap();
        let back = read_to_end(&mut greedy);
        assert_eq!(back.len(), sent);
        assert!(back.iter().eq(chunk.iter().cycle().take(sent)));
        server.stop_now().unwrap();
    });
}

#[test]
fn writing_to_a_peer_that_does_not_read_times_out() {
    on_workers!({
        let server = echo_with(ServerConfig::new().write_timeout(Some(200 * MS)));
        let mut deaf = client(server.addr());
        deaf.set_write_timeout(Some(100 * MS)).unwrap();
        let chunk = noise(1 << 20);
        while deaf.write(&chunk).is_ok() {}
        eventually("the connection is ended", || server.stats().timed_out == 1);
        assert!(server.drain(LONG).unwrap().is_clean());
    });
}

#[test]
fn resets_leave_no_trace() {
    on_workers!({
        let server = echo();
        ping(&mut client(server.addr()));
        eventually("idle", || server.stats().open == 0);
        let before = open_descriptors();
        for n in 0..200 {
            let mut stream = client(server.addr());
            stream.write_all(&noise(1000 + n)).unwrap();
            // An abortive close, with the answer on its way.
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
            drop(stream);
        }
        ping(&mut client(server.addr()));
        eventually("all are gone", || server.stats().open == 0);
        eventually("no descriptor is left", || open_descriptors() <= before);
        assert_eq!(server.drain(LONG).unwrap().accepted, 202);
    });
}

#[test]
fn five_hundred_connects_and_closes_leak_nothing() {
    on_workers!({
        let server = echo();
        ping(&mut client(server.addr()));
        eventually("idle", || server.stats().open == 0);
        let before = open_descriptors();
        for _ in 0..500 {
            drop(client(server.addr()));
        }
        eventually("all were served", || server.stats().finished == 501);
        eventually("no descriptor is left", || open_descriptors() <= before);
        ping(&mut client(server.addr()));
        server.drain(LONG).unwrap();
    });
}

#[test]
fn descriptor_shortage_is_survived() {
    on_workers!({
        // Counts itself out: the clients run in this process as well.
        let server = echo();
        let mut old = client(server.addr());
        ping(&mut old);
        let limit = open_descriptors() as u64 + 20;
        let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        rustix::process::setrlimit(
            rustix::process::Resource::Nofile,
            rustix::process::Rlimit {
                current: Some(limit),
                maximum: before.maximum,
            },
        )
        .unwrap();
        // Clients take half of the descriptors, the server's ends the other half.
        let mut crowd = Vec::new();
        while let Ok(stream) = TcpStream::connect(server.addr()) {
            crowd.push(stream);
        }
        eventually("accept has failed", || server.stats().accept_errors > 0);
        // Who is in is served, and the server does not spin.
        let errors = server.stats().accept_errors;
        let start = Instant::now();
        while start.elapsed() < 300 * MS {
            ping(&mut old);
            std::thread::sleep(5 * MS);
        }
        let more = server.stats().accept_errors - errors;
        assert!(more < 40, "{more} accept errors in 0.3 s");
        drop(crowd);
        let start = Instant::now();
        ping(&mut client(server.addr()));
        assert!(start.elapsed() < Duration::from_secs(6));
        ping(&mut old);
        assert!(server.drain(LONG).unwrap().is_clean());
    });
}

#[test]
fn idle_peer_is_closed_at_its_timeout_and_no_other() {
    on_workers!({
        let server = echo_with(ServerConfig::new().idle_timeout(Some(300 * MS)));
        let mut idle = client(server.addr());
        ping(&mut idle);
        let start = Instant::now();
        let idler = std::thread::spawn(move || (read_to_end(&mut idle), start.elapsed()));
        let mut busy = client(server.addr());
        let mut last = Instant::now();
        let mut stalled = 0;
        while !idler.is_finished() || start.elapsed() < 800 * MS {
            if try_ping(&mut busy).is_err() {
                // On a machine that held this thread up for so long it was idle indeed.
                assert!(
                    last.elapsed() >= 300 * MS,
                    "closed {:?} after a ping",
                    last.elapsed()
                );
                stalled += 1;
                busy = client(server.addr());
            }
            last = Instant::now();
            std::thread::sleep(20 * MS);
        }
        let (rest, elapsed) = idler.join().unwrap();
        assert_eq!(rest, b"");
        assert!(elapsed >= 250 * MS, "closed after {elapsed:?}");
        assert!(elapsed < LONG, "closed after {elapsed:?}");
        assert_eq!(server.stats().timed_out, 1 + stalled);
        server.drain(LONG).unwrap();
    });
}

/// Notes what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn accepted(&self, conn: &ConnInfo) {
        self.0.lock().unwrap().push(format!("{} accepted", conn.id));
    }

    fn closed(&self, conn: &ConnInfo, end: &ConnEnd) {
        let outcome = match &end.outcome {
            Outcome::Finished => "finished".to_owned(),
            Outcome::Panicked(text) => format!("panicked: {text}"),
            other => format!("{other:?}"),
        };
        self.0
            .lock()
            .unwrap()
            .push(format!("{} {outcome}", conn.id));
    }

    fn draining(&self, open: usize) {
        self.0.lock().unwrap().push(format!("draining {open}"));
    }
}

#[test]
fn panic_in_a_handler_ends_its_connection_alone() {
    on_workers!({
        let notes = Arc::new(Notes::default());
        let server = ServerConfig::new()
            .observer(notes.clone())
            .bind("127.0.0.1:0")
            .unwrap()
            .start(|conn: &mut Conn| {
                let mut buf = [0; 64];
                loop {
                    let n = conn.read_next(&mut buf)?;
                    assert!(!buf[..n].starts_with(b"bad"), "bad input");
                    if n == 0 {
                        return Ok(());
                    }
                    conn.write_all(&buf[..n])?;
                }
            })
            .unwrap();
        let mut good = client(server.addr());
        ping(&mut good);
        let mut bad = client(server.addr());
        bad.write_all(b"bad").unwrap();
        assert_eq!(read_to_end(&mut bad), b"");
        ping(&mut good);
        ping(&mut client(server.addr()));
        drop(good);
        eventually("all ended", || server.stats().open == 0);
        let report = server.drain(LONG).unwrap();
        assert_eq!((report.panicked, report.finished), (1, 2), "{report:?}");
        let notes = notes.0.lock().unwrap();
        assert!(
            notes.contains(&"2 panicked: bad input".to_owned()),
            "{notes:?}"
        );
        assert!(notes.contains(&"1 finished".to_owned()), "{notes:?}");
        assert_eq!(notes.last().unwrap(), "draining 0");
    });
}

#[test]
fn connections_past_the_limit_wait_in_the_kernel() {
    on_workers!({
        let server = echo_with(ServerConfig::new().max_connections(3));
        let mut inside: Vec<_> = (0..3).map(|_| client(server.addr())).collect();
        inside.iter_mut().for_each(ping);
        assert_eq!(server.stats().accepted, 3, "N - 1 and N are served");
        let mut fourth = client(server.addr());
        fourth.write_all(b"ping").unwrap();
        fourth.set_read_timeout(Some(200 * MS)).unwrap();
        let mut answer = [0; 4];
        assert!(fourth.read_exact(&mut answer).is_err(), "N + 1 waits");
        assert_eq!((server.stats().accepted, server.stats().open), (3, 3));
        inside.pop();
        fourth.set_read_timeout(Some(LONG)).unwrap();
        fourth.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping");
        assert!(server.stats().full >= 1);
        server.drain(LONG).unwrap();
    });
}

#[test]
fn drain_ends_idle_connections_at_once() {
    on_workers!({
        let server = echo();
        let mut idle: Vec<_> = (0..50).map(|_| client(server.addr())).collect();
        idle.iter_mut().for_each(ping);
        let start = Instant::now();
        let report = server.drain(LONG).unwrap();
        assert!(start.elapsed() < 500 * MS, "took {:?}", start.elapsed());
        assert_eq!(
            (report.told, report.finished, report.killed),
            (50, 50, 0),
            "{report:?}"
        );
        for stream in &mut idle {
            assert_eq!(read_to_end(stream), b"");
        }
        assert!(TcpStream::connect(server.addr()).is_err(), "nobody listens");
    });
}

#[test]
fn drain_serves_what_has_arrived() {
    on_workers!({
        let gate = Semaphore::new(0);
        let begun = Event::new();
        let server = {
            let (gate, begun) = (gate.clone(), begun.clone());
            let handler = move |conn: &mut Conn| {
                begun.set();
                // Not yet reading while the drain begins.
                gate.acquire()?.forget();
                let mut buf = [0; 64];
                while conn.wait_ready()? {
                    let n = conn.read(&mut buf)?;
                    conn.write_all(&buf[..n])?;
                }
                Ok(())
            };
            StreamServer::bind("127.0.0.1:0")
                .unwrap()
                .start(handler)
                .unwrap()
        };
        let mut stream = client(server.addr());
        stream.write_all(b"unread").unwrap();
        begun.wait().unwrap();
        server.begin_drain(LONG);
        eventually("it was told", || server.stats().told == 1);
        gate.add_permits(1);
        assert_eq!(read_to_end(&mut stream), b"unread");
        let report = server.wait().unwrap();
        assert!(report.is_clean() && report.finished == 1, "{report:?}");
    });
}

/// The limit of a drain counts, not the shorter one that the server has for itself.
#[test]
fn drain_waits_as_long_as_it_was_told() {
    on_workers!({
        let (begun, go) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let (told, wait) = (begun.clone(), go.clone());
        let server = ServerConfig::new()
            .drain_timeout(MS)
            .bind("127.0.0.1:0")
            .unwrap()
            .start(move |conn: &mut Conn| {
                told.set();
                wait.wait()?;
                Ok(conn.write_all(b"done")?)
            })
            .unwrap();
        let mut stream = client(server.addr());
        begun.wait().unwrap();
        server.begin_drain(LONG);
        // The listener is closed long before that, and its loop has ended.
        eventually("closed", || TcpStream::connect(server.addr()).is_err());
        std::thread::sleep(20 * MS);
        go.set();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "done");
        assert!(server.wait().unwrap().is_clean());
    });
}

#[test]
fn signals_are_the_programs_again_when_the_server_has_ended() {
    on_workers!([2], {
        let server = echo();
        let watcher = server.stop_on_signals().unwrap();
        server.drain(LONG).unwrap();
        assert!(watcher.wait_timeout(LONG).unwrap());
    });
}

#[test]
fn drain_kills_at_the_deadline_whoever_is_stuck() {
    on_workers!({
        let server = StreamServer::bind("127.0.0.1:0")
            .unwrap()
            .start(|conn: &mut Conn| {
                let mut buf = [0; 1];
                // Ignores the drain, and even its kill for once.
                let _ = conn.read_exact(&mut buf);
                Ok(conn.read_exact(&mut buf)?)
            })
            .unwrap();
        let mut stuck = client(server.addr());
        eventually("accepted", || server.stats().open == 1);
        let start = Instant::now();
        let report = server.drain(200 * MS).unwrap();
        let elapsed = start.elapsed();
        assert!(
            elapsed >= 200 * MS && elapsed < Duration::from_secs(2),
            "took {elapsed:?}"
        );
        assert_eq!(
            (report.told, report.killed, report.stuck),
            (1, 1, 0),
            "{report:?}"
        );
        assert!(!report.is_clean());
        assert_eq!(read_to_end(&mut stuck), b"");
    });
}

#[test]
fn second_drain_brings_the_deadline_nearer() {
    on_workers!({
        let server = StreamServer::bind("127.0.0.1:0")
            .unwrap()
            .start(|conn: &mut Conn| Ok(conn.read_exact(&mut [0])?))
            .unwrap();
        let _stuck = client(server.addr());
        eventually("accepted", || server.stats().open == 1);
        server.begin_drain(LONG);
        assert!(server.is_draining());
        let start = Instant::now();
        assert_eq!(server.stop_now().unwrap().killed, 1);
        assert!(start.elapsed() < Duration::from_secs(2));
        assert_eq!(server.wait().unwrap(), server.drain(LONG).unwrap());
    });
}

#[test]
fn killed_serve_stops_its_server() {
    on_workers!({
        let server = StreamServer::bind("127.0.0.1:0").unwrap();
        let addr = server.addr();
        let serving = greenloop::spawn(move || server.serve(Echo::new()).map(drop));
        let mut stream = client(&addr);
        ping(&mut stream);
        assert!(serving.kill_and_wait(Some(LONG)).unwrap());
        assert_eq!(read_to_end(&mut stream), b"");
        assert!(TcpStream::connect(&addr).is_err());
    });
}

#[test]
fn unread_input_does_not_destroy_the_answer() {
    on_workers!({
        let server = StreamServer::bind("127.0.0.1:0")
            .unwrap()
            .start(|conn: &mut Conn| {
                conn.wait_ready()?;
                Ok(conn.write_all(b"enough")?)
            })
            .unwrap();
        for _ in 0..50 {
            let mut stream = client(server.addr());
            stream.write_all(&noise(10_000)).unwrap();
            assert_eq!(read_to_end(&mut stream), b"enough");
        }
        server.drain(LONG).unwrap();
    });
}

#[test]
fn several_addresses_share_one_limit() {
    on_workers!([2], {
        let server = ServerConfig::new()
            .max_connections(2)
            .bind_all(["127.0.0.1:0", "127.0.0.1:0"])
            .unwrap()
            .start(Echo::new())
            .unwrap();
        let [first, second] = server.addrs() else {
            panic!("two addresses")
        };
        let mut streams = [client(first), client(second)];
        streams.iter_mut().for_each(ping);
        // The listener that comes first must not keep the place that the other could use.
        drop(streams);
        eventually("both have ended", || server.stats().open == 0);
        let mut streams = [client(second), client(second)];
        streams.iter_mut().for_each(ping);
        let mut third = client(second);
        third.set_read_timeout(Some(100 * MS)).unwrap();
        assert!(third.read(&mut [0]).is_err());
        assert_eq!(server.stats().open, 2);
        assert!(server.drain(LONG).unwrap().is_clean());
    });
}

/// What a child does: serve, and say what came of it.
fn serve_for_signals() -> String {
    let server = ServerConfig::new()
        .drain_timeout(LONG)
        .bind("127.0.0.1:0")
        .unwrap();
    let addr = server.addr();
    let pid = rustix::process::getpid();
    let mode = child_var("GREENLOOP_TEST_MODE").unwrap();
    let driver = std::thread::spawn(move || {
        let mut stream = client(&addr);
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        eventually("draining", || TcpStream::connect(&addr).is_err());
        if mode == "finish" {
            stream.write_all(b"y").unwrap();
        } else {
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        }
        read_to_end(&mut stream)
    });
    // In the middle of a message after its first byte.
    let report = server
        .serve_until_signal(|conn: &mut Conn| {
            let mut buf = [0];
            conn.read_exact(&mut buf)?;
            conn.write_all(&buf)?;
            conn.read_exact(&mut buf)?;
            Ok(conn.write_all(&buf)?)
        })
        .unwrap();
    let rest = driver.join().unwrap();
    let Report {
        finished, killed, ..
    } = report;
    format!("rest {rest:?} finished {finished} killed {killed}")
}

#[test]
fn first_signal_drains_and_second_ends() {
    if child_var("GREENLOOP_TEST_MODE").is_some() {
        return println!("{}", serve_for_signals());
    }
    for (mode, expected) in [
        ("finish", "rest [121] finished 1 killed 0"),
        ("second", "rest [] finished 0 killed 1"),
    ] {
        let start = Instant::now();
        let output = run_child(test_name!(), &[("GREENLOOP_TEST_MODE", mode)]);
        assert!(output.status.success(), "{}", output.text);
        assert!(output.text.contains(expected), "{}", output.text);
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn storm_and_restart_on_the_same_port() {
    on_workers!({
        let first = echo();
        let addr = first.addr().ip().unwrap();
        let served = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicUsize::new(0));
        let storm: Vec<_> = (0..4)
            .map(|_| {
                let (served, stop) = (served.clone(), stop.clone());
                std::thread::spawn(move || {
                    while stop.load(Ordering::SeqCst) == 0 {
                        let Ok(mut stream) = TcpStream::connect(addr) else {
                            continue;
                        };
                        let mut answer = [0; 4];
                        if stream.write_all(b"ping").is_ok()
                            && stream.read_exact(&mut answer).is_ok()
                        {
                            served.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        let mut server = first;
        for _ in 0..5 {
            let before = served.load(Ordering::SeqCst);
            eventually("served", || served.load(Ordering::SeqCst) > before + 20);
            let report: Report = server.drain(LONG).unwrap();
            assert!(report.is_clean(), "{report:?}");
            server = StreamServer::bind(addr)
                .unwrap()
                .start(Echo::new())
                .unwrap();
        }
        stop.store(1, Ordering::SeqCst);
        for client in storm {
            client.join().unwrap();
        }
        server.drain(LONG).unwrap();
    });
}

/// Writes down which steps were taken.
struct Steps(Arc<Mutex<Vec<&'static str>>>);

impl Handler for Steps {
    fn setup(&self, conn: &mut Conn) -> greenloop::Result<()> {
        self.0.lock().unwrap().push("setup");
        let mut mode = [0];
        conn.read_exact(&mut mode)?;
        match mode[0] {
            b's' => Err(std::io::Error::other("no").into()),
            _ => Ok(conn.write_all(&mode)?),
        }
    }

    fn handle(&self, conn: &mut Conn) -> greenloop::Result<()> {
        self.0.lock().unwrap().push("handle");
        let mut mode = [0];
        conn.read_exact(&mut mode)?;
        match mode[0] {
            b'e' => Err(std::io::Error::other("no").into()),
            b'p' => panic!("as told"),
            _ => Ok(()),
        }
    }

    fn finish(&self, _conn: &mut Conn) {
        self.0.lock().unwrap().push("finish");
    }
}

#[test]
fn finish_follows_every_handle_and_no_failed_setup() {
    on_workers!({
        let whole: &[_] = &["setup", "handle", "finish"];
        for (sent, expected, failed, panicked) in [
            ("go", whole, 0, 0),
            ("ge", whole, 1, 0),
            ("gp", whole, 0, 1),
            ("s", &["setup"], 1, 0),
        ] {
            let steps = Arc::new(Mutex::new(Vec::new()));
            let server = StreamServer::bind("127.0.0.1:0")
                .unwrap()
                .start(Steps(steps.clone()))
                .unwrap();
            let mut stream = client(server.addr());
            stream.write_all(sent.as_bytes()).unwrap();
            // Whatever it says, it ends.
            let _ = stream.read_to_end(&mut Vec::new());
            let report = server.drain(LONG).unwrap();
            assert_eq!(
                (report.failed, report.panicked),
                (failed, panicked),
                "{sent}"
            );
            assert_eq!(*steps.lock().unwrap(), expected, "{sent}");
        }
    });
}
