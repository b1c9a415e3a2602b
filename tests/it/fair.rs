//! Nobody starves: busy greenlets beside I/O, on as many workers as there are busy pairs.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use greenloop::net::TcpListener;
use greenloop::spawn;
use greenloop::sync::Queue;

use crate::support::{eventually, on_workers};

/// Starts `pairs` of greenlets that do nothing but wake each other, until `stop`.
fn ping_pong(pairs: usize, stop: &Arc<AtomicBool>, turns: &Arc<AtomicU64>) {
    for _ in 0..pairs {
        let (ping, pong) = (Queue::bounded(1), Queue::bounded(1));
        let (ping2, pong2) = (ping.clone(), pong.clone());
        let (stop, turns) = (stop.clone(), turns.clone());
        spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                ping.put(1).unwrap();
                pong.get().unwrap();
                turns.fetch_add(1, Ordering::Relaxed);
            }
            ping.close();
        });
        spawn(move || {
            while let Ok(n) = ping2.get() {
                pong2.put(n).unwrap();
            }
        });
    }
}

#[test]
fn a_ping_pong_pair_per_worker_leaves_echo_under_10_ms() {
    on_workers!({
        let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                spawn(move || {
                    let mut buf = [0; 64];
                    while let Ok(n @ 1..) = stream.read(&mut buf) {
                        stream.write_all(&buf[..n]).unwrap();
                    }
                });
            }
        });
        let stop = Arc::new(AtomicBool::new(false));
        let turns = Arc::new(AtomicU64::new(0));
        ping_pong(4, &stop, &turns);
        // From a plain thread, as a client in another process would.
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.set_nodelay(true).unwrap();
        // Measured while the pairs are in full swing: some round trips can be over before
        // the last pair has started.
        let turns = || turns.load(Ordering::Relaxed);
        eventually("the pairs run", || turns() > 1000);
        let (start, before) = (Instant::now(), turns());
        let mut times = Vec::new();
        while times.len() < 300 || turns() < before + 1000 {
            let sent = Instant::now();
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
            times.push(sent.elapsed());
            let passed = turns() - before;
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "the pairs hardly run: {passed} turns"
            );
        }
        stop.store(true, Ordering::Relaxed);
        times.sort_unstable();
        let median = times[times.len() / 2];
        // The median: a single round trip may lose its core to another process.
        assert!(
            median < Duration::from_millis(10),
            "median {median:?}, longest {:?}",
            times[times.len() - 1]
        );
    });
}
