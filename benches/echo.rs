//! The echo server beside a plain `may` one and a tokio one, under the same load.
//!
//! `cargo bench --bench echo` (`-- --quick` for a look that only proves that it runs).
//! Ours is the built command with its idle and write deadlines on; the floors have none.
//! Each server runs in a process of its own with as many threads as there are cores, which
//! it shares with the load. Rounds are interleaved; the medians are printed.
//! Not counted: connecting.

#![expect(clippy::print_stdout, reason = "a bench prints")]

mod support;

use greenloop::apps::load::Load;
use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;
use support::{Server, is_quick, median, my_role, wait_for_the_end};

const SERVERS: [&str; 3] = ["greenloop", "may", "tokio"];
/// What gevent's tutorial and most echo servers read at once.
const BUFFER_BYTES: usize = 16 * 1024;

fn main() {
    match my_role().as_deref() {
        None => compare(),
        Some("may") => serve_may(),
        Some("tokio") => serve_tokio(),
        Some(role) => panic!("unknown role {role}"),
    }
}

fn compare() {
    let (rounds, seconds) = if is_quick() { (1, 0.2) } else { (5, 2.0) };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("echo, {cores} cores shared with the load, {rounds} rounds of {seconds} s");
    for (connections, bytes) in [(64, 64), (1, 64), (1000, 64), (64, 16 * 1024)] {
        let mut rates = [const { Vec::new() }; SERVERS.len()];
        let mut costs = rates.clone();
        for round in 0..rounds {
            for turn in 0..SERVERS.len() {
                let which = (round + turn) % SERVERS.len(); // nobody is always first
                let (rate, cost) = measure(SERVERS[which], connections, bytes, seconds);
                rates[which].push(rate);
                costs[which].push(cost);
            }
        }
        report(connections, bytes, rates.map(median), costs.map(median));
    }
}

/// One round: messages per second, and server CPU microseconds per message.
fn measure(name: &str, connections: usize, bytes: usize, seconds: f64) -> (f64, f64) {
    let server = start(name);
    let load = Load {
        address: server.address.into(),
        connections: connections.try_into().expect("not zero"),
        message_bytes: bytes,
        duration: Duration::from_secs_f64(seconds),
        limit: None,
    };
    let before = server.cpu_seconds();
    let measured = greenloop::run(move || load.run()).expect("the load runs");
    assert!(
        measured.errors.is_empty() && measured.messages > 0,
        "{name}: {:?}",
        measured.errors
    );
    let cpu = server.cpu_seconds() - before;
    (measured.rate(), cpu * 1e6 / measured.messages as f64)
}

fn start(name: &str) -> Server {
    if name != "greenloop" {
        return Server::role(name);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_greenloop"));
    command.args(["serve", "echo", "--listen", "127.0.0.1:0"]);
    Server::start(command)
}

fn report(connections: usize, bytes: usize, rates: [f64; 3], costs: [f64; 3]) {
    println!("{connections} connections, {bytes} bytes");
    for (which, name) in SERVERS.iter().enumerate() {
        println!(
            "  {name:<10} {:>9.0} msg/s {:>7.2} us CPU/msg   ours/{name}: rate {:.2}, CPU {:.2}",
            rates[which],
            costs[which],
            rates[0] / rates[which],
            costs[0] / costs[which].max(f64::MIN_POSITIVE),
        );
    }
}

fn serve_may() {
    let listener = may::net::TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    println!(
        "listening on {}",
        listener.local_addr().expect("it is bound")
    );
    may::go!(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("descriptors suffice");
            stream.set_nodelay(true).expect("it is TCP");
            may::go!(move || {
                let mut buffer = vec![0; BUFFER_BYTES];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    wait_for_the_end();
}

fn serve_tokio() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_io()
        .build();
    let runtime = runtime.expect("threads can be made");
    runtime.spawn(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback is there");
        println!(
            "listening on {}",
            listener.local_addr().expect("it is bound")
        );
        loop {
            let (mut stream, _) = listener.accept().await.expect("descriptors suffice");
            stream.set_nodelay(true).expect("it is TCP");
            tokio::spawn(async move {
                let mut buffer = vec![0; BUFFER_BYTES];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    wait_for_the_end();
}
