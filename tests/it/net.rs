//! TCP streams: limits and kills against data, connects and accepts.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenloop::net::{ListenOptions, Stream, TcpListener, TcpStream, resolve};
use greenloop::{Deadline, Error, Timeout, blocking, sleep, spawn, yield_now};

use crate::support::{child_var, eventually, on_workers, on_workers_at_once};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(600);

fn pair() -> (TcpStream, TcpStream) {
    let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How long a soak lasts: short by default, 10 s for a thorough run.
fn soak() -> Duration {
    let seconds = child_var("GREENLOOP_TEST_SOAK_SECONDS");
    Duration::from_secs(seconds.map_or(2, |s| s.parse().unwrap()))
}

#[test]
fn timeouts_race_data_and_lose_no_byte() {
    // The engine's own timeouts hang most of these connections.
    on_workers!({
        let end = Deadline::after(soak());
        let total = Arc::new((AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)));
        // Few enough that a slow machine is not busy all the time: then no limit ever passes
        // before its data is there.
        let connections: Vec<_> = (0..50_u64)
            .map(|n| {
                let (mut reader, mut writer) = pair();
                let sender = {
                    let total = total.clone();
                    spawn(move || {
                        let mut sent = 0_u64;
                        while !end.is_passed() {
                            writer.write_all(&sent.to_be_bytes()).unwrap();
                            sent += 1;
                            total.0.fetch_add(1, Ordering::Relaxed);
                            // 2 ms on average, and as often past the limit as before it.
                            let pause = 1_700 + (n * 31 + sent * 17) % 600;
                            sleep(Duration::from_micros(pause)).unwrap();
                        }
                    })
                };
                let total = total.clone();
                let receiver = spawn(move || {
                    let mut next = 0_u64;
                    let mut word = [0; 8];
                    let mut filled = 0;
                    loop {
                        match reader.read_deadline(&mut word[filled..], Deadline::after(2 * MS)) {
                            Ok(0) => return,
                            Ok(n) => filled += n,
                            Err(e) if e.kind() == ErrorKind::TimedOut => {
                                total.2.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(e) => panic!("{e}"),
                        }
                        if filled == 8 {
                            assert_eq!(u64::from_be_bytes(word), next);
                            next += 1;
                            filled = 0;
                            total.1.fetch_add(1, Ordering::Relaxed);
                        }
                        yield_now().unwrap();
                    }
                });
                [sender, receiver]
            })
            .collect();
        for greenlet in connections.into_iter().flatten() {
            greenlet.join().unwrap();
        }
        let [sent, got, late] =
            [&total.0, &total.1, &total.2].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(sent, got);
        assert!(
            late > 100,
            "only {late} timeouts: the race did not take place"
        );
        println!("{got} messages, {late} timeouts");
    });
}

#[test]
fn kills_race_timeouts_in_every_kind_of_wait() {
    on_workers!({
        let end = Deadline::after(soak() / 2);
        let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let acceptor = spawn(move || while listener.accept().is_ok() {});
        let full = full_backlog();
        let full_addr = full.0.local_addr().unwrap();
        let before = open_descriptors();
        let mut seed = 88_172_645_463_325_252_u64;
        let mut rounds = 0;
        while !end.is_passed() {
            let victims: Vec<_> = (0..60_u64)
                .map(|n| {
                    spawn(move || -> Result<(), Error> {
                        let _limit = Timeout::start(Duration::from_micros(n * 97 % 3_000));
                        match n % 6 {
                            0 => drop(TcpStream::connect(full_addr)?),
                            1 => loop {
                                drop(TcpStream::connect(addr)?);
                            },
                            2 => {
                                let (mut stream, _peer) = loopback()?;
                                loop {
                                    stream.write_all(&[0; 2000])?;
                                }
                            }
                            3 => drop(TcpListener::bind("127.0.0.1:0")?.accept()?),
                            4 => {
                                let (mut stream, _peer) = loopback()?;
                                stream.read_exact(&mut [0])?;
                            }
                            _ => loop {
                                blocking(|| ())?;
                                sleep(Duration::from_micros(50))?;
                            },
                        }
                        Ok(())
                    })
                })
                .collect();
            for (n, victim) in victims.iter().enumerate() {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                if seed.is_multiple_of(2) {
                    victim.kill();
                }
                if n as u64 % 8 == seed % 8 {
                    sleep(Duration::from_micros(seed % 400)).unwrap();
                }
            }
            for victim in victims {
                match victim.join() {
                    Ok(ended) => {
                        let error = ended.unwrap_err();
                        assert!(error.is_timeout(), "{error}");
                    }
                    Err(error) => assert!(error.is_killed(), "{error}"),
                }
            }
            rounds += 1;
        }
        eventually("no descriptor is left", || open_descriptors() <= before + 2);
        assert!(acceptor.kill_and_wait(None).unwrap());
        println!("{rounds} rounds");
    });
}

/// Two ends on loopback, with the errors of a greenlet that is being killed.
fn loopback() -> Result<(TcpStream, TcpStream), Error> {
    let mut listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

/// A listener whose queue is full: a connect to it gets no answer.
fn full_backlog() -> (TcpListener, Vec<std::net::TcpStream>) {
    let listener = ListenOptions::new().backlog(0).bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut inside = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&addr, 100 * MS) {
        inside.push(stream);
        assert!(inside.len() < 10, "the queue has no end");
    }
    (listener, inside)
}

#[test]
fn read_timeout_fires_on_time_and_each_time() {
    on_workers_at_once!({
        greenloop::run(|| {
            let (mut stream, mut peer) = pair();
            stream.set_read_timeout(Some(200 * MS));
            for _ in 0..2 {
                let start = Instant::now();
                let error = stream.read(&mut [0]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                let elapsed = start.elapsed();
                assert!(elapsed >= 195 * MS && elapsed < 2_000 * MS, "{elapsed:?}");
            }
            peer.write_all(b"x").unwrap();
            assert_eq!(
                stream.read(&mut [0; 4]).unwrap(),
                1,
                "it goes on afterwards"
            );
        });
        // The same on an OS thread.
        let (mut stream, _peer) = pair();
        stream.set_read_timeout(Some(50 * MS));
        let start = Instant::now();
        assert_eq!(
            stream.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        assert!(start.elapsed() >= 49 * MS);
    });
}

#[test]
fn write_all_has_one_limit_for_the_whole() {
    on_workers!({
        greenloop::run(|| {
            let (mut stream, mut peer) = pair();
            // The peer reads now and then, so each single write gets on.
            let slow = spawn(move || {
                let mut buf = vec![0; 64 * 1024];
                while let Ok(1..) = peer.read(&mut buf) {
                    sleep(20 * MS).unwrap();
                }
            });
            let start = Instant::now();
            let huge = vec![0; 256 << 20];
            let error = stream
                .write_all_deadline(&huge, Deadline::after(100 * MS))
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let elapsed = start.elapsed();
            assert!(elapsed >= 99 * MS && elapsed < 2_000 * MS, "{elapsed:?}");
            stream.set_write_timeout(Some(100 * MS));
            let start = Instant::now();
            assert_eq!(
                stream.write_all(&huge).unwrap_err().kind(),
                ErrorKind::TimedOut
            );
            assert!(start.elapsed() < 2_000 * MS);
            slow.kill_and_wait(None).unwrap();
        });
    });
}

#[test]
fn timeout_of_a_block_ends_reads_and_says_so() {
    on_workers!({
        greenloop::run(|| {
            let (mut stream, _peer) = pair();
            stream.set_read_timeout(Some(LONG));
            let outer = Timeout::start(10 * MS);
            let error = Error::from(stream.read_exact(&mut [0; 10]).unwrap_err());
            assert!(outer.owns(&error), "{error}");
        });
    });
}

#[test]
fn split_halves_pass_sixteen_mebibytes_both_ways() {
    on_workers!({
        let (client, server) = pair();
        let len = 16 << 20;
        let ends: Vec<_> = [client, server]
            .into_iter()
            .map(|stream| {
                let (mut reader, mut writer) = stream.split().unwrap();
                let sending = spawn(move || {
                    let chunk: Vec<u8> = (0..65_521_u32).map(|n| (n % 251) as u8).collect();
                    let mut left = len;
                    while left > 0 {
                        let n = left.min(chunk.len());
                        writer.write_all(&chunk[..n]).unwrap();
                        left -= n;
                    }
                });
                let reading = spawn(move || {
                    let mut got = Vec::new();
                    reader.read_to_end(&mut got).unwrap();
                    got
                });
                (sending, reading)
            })
            .collect();
        for (sending, reading) in ends {
            sending.join().unwrap();
            let got = reading.join().unwrap();
            assert_eq!(got.len(), len);
            assert!(
                got.iter()
                    .enumerate()
                    .all(|(n, b)| *b == (n % 65_521 % 251) as u8)
            );
        }
    });
}

#[test]
fn half_closed_stream_still_reads() {
    on_workers!({
        greenloop::run(|| {
            let (mut client, mut server) = pair();
            client.write_all(b"question").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut question = String::new();
            server.read_to_string(&mut question).unwrap();
            server.write_all(b"answer").unwrap();
            drop(server);
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
            assert_eq!(
                client.write_all(b"?").unwrap_err().kind(),
                ErrorKind::BrokenPipe
            );
        });
    });
}

#[test]
fn second_listener_on_a_port_is_refused() {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = first.local_addr().unwrap();
    let error = TcpListener::bind(addr).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("listening on {addr}: address already in use")
    );
    // Unless both ask for it.
    let shared = ListenOptions::new().reuse_port(true);
    let first = shared.bind("127.0.0.1:0").unwrap();
    shared.bind(first.local_addr().unwrap()).unwrap();
    let error = TcpListener::bind("192.0.2.1:1").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("listening on 192.0.2.1:1: cannot assign"),
        "{error}"
    );
}

#[test]
fn all_addresses_are_both_families() {
    let mut listener = TcpListener::bind(":0").unwrap();
    let addr = listener.local_addr().unwrap();
    let port = addr.port();
    TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    listener.accept().unwrap();
    if addr.is_ipv6() {
        TcpStream::connect(format!("[::1]:{port}")).unwrap();
        listener.accept().unwrap();
    }
}

#[test]
fn accept_deadline_leaves_the_listener_working() {
    on_workers!({
        greenloop::run(|| {
            let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let error = listener.accept_timeout(5 * MS).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let addr = listener.local_addr().unwrap();
            let client = spawn(move || TcpStream::connect(addr).unwrap());
            let (stream, peer) = listener.accept_timeout(LONG).unwrap();
            let client = client.join().unwrap();
            assert_eq!(client.local_addr().unwrap(), peer);
            assert!(client.nodelay().unwrap() && stream.nodelay().unwrap());
        });
    });
}

#[test]
fn killed_or_late_connect_closes_its_socket() {
    on_workers!({
        let full = full_backlog();
        let addr = full.0.local_addr().unwrap();
        drop(spawn(|| ()).join());
        let before = open_descriptors();
        let connects: Vec<_> = (0..20)
            .map(|_| spawn(move || TcpStream::connect(addr).map(drop)))
            .collect();
        eventually("all connect", || open_descriptors() >= before + 20);
        for connect in &connects {
            connect.kill();
        }
        for connect in connects {
            assert!(connect.join().unwrap_err().is_killed());
        }
        let late = spawn(move || TcpStream::connect_timeout(addr, 20 * MS).unwrap_err());
        let error = late.join().unwrap();
        assert!(error.is_timeout());
        assert_eq!(
            error.to_string(),
            format!("connecting to {addr}: timed out")
        );
        eventually("all closed", || open_descriptors() <= before);
    });
}

#[test]
fn names_are_resolved_beside_the_workers() {
    on_workers!([1], {
        greenloop::run(|| {
            assert_eq!(resolve("::1", 5).unwrap(), ["[::1]:5".parse().unwrap()]);
            let addresses = resolve("localhost", 80).unwrap();
            assert!(
                addresses.iter().all(|a| a.ip().is_loopback()),
                "{addresses:?}"
            );
            let error = TcpStream::connect("no such host:80").unwrap_err();
            assert!(
                error.to_string().contains("' ' in its host name"),
                "{error}"
            );
            let error = resolve("name.invalid", 80).unwrap_err();
            assert!(
                error.to_string().starts_with("resolving name.invalid: "),
                "{error}"
            );
            // Whoever does not want to wait does not.
            let start = Instant::now();
            let killed = spawn(|| resolve("slow.invalid", 80).map(drop));
            killed.kill();
            let _ = killed.join();
            assert!(start.elapsed() < Duration::from_secs(2));
        });
    });
}

#[test]
fn name_with_several_addresses_reaches_the_one_that_listens() {
    let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = spawn(move || listener.accept().map(drop));
    TcpStream::connect(format!("localhost:{port}")).unwrap();
    accepted.join().unwrap().unwrap();
}

#[test]
fn streams_go_over_to_std_and_back() {
    let (client, mut server) = pair();
    let mut plain = client.into_std().unwrap();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(20 * MS);
        server.write_all(b"x").unwrap();
        server
    });
    // A blocking read: it would fail in non-blocking mode.
    plain.read_exact(&mut [0]).unwrap();
    let mut server = writer.join().unwrap();
    let mut back = TcpStream::from_std(plain).unwrap();
    server.write_all(b"y").unwrap();
    back.read_exact(&mut [0]).unwrap();
}

#[test]
fn streams_move_between_greenlets_and_threads() {
    on_workers!({
        let rounds = Arc::new(AtomicUsize::new(0));
        let (mut client, mut server) = pair();
        let echo = spawn(move || {
            let mut buf = [0; 8];
            while server.read_exact(&mut buf).is_ok() {
                server.write_all(&buf).unwrap();
            }
        });
        for n in 0..50_u64 {
            let rounds = rounds.clone();
            let exchange = move || {
                client.write_all(&n.to_be_bytes()).unwrap();
                let mut back = [0; 8];
                client.read_exact(&mut back).unwrap();
                assert_eq!(u64::from_be_bytes(back), n);
                rounds.fetch_add(1, Ordering::SeqCst);
                client
            };
            client = if n % 2 == 0 {
                spawn(exchange).join().unwrap()
            } else {
                std::thread::spawn(exchange).join().unwrap()
            };
        }
        drop(client);
        echo.join().unwrap();
        assert_eq!(rounds.load(Ordering::SeqCst), 50);
    });
}
