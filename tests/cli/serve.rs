//! `greenloop serve`: what all servers share, shown on echo.

use crate::support::{self, Folder, Running, greenloop};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// `serve NAME` on a free port of 127.0.0.1.
pub(crate) fn serve(name: &str, more: &[&str]) -> (Running, SocketAddr) {
    let args = [&["serve", name, "--listen", "127.0.0.1:0"], more].concat();
    let mut server = greenloop(args).start();
    let address = server.address();
    (server, address)
}

pub(crate) fn serve_echo(more: &[&str]) -> (Running, SocketAddr) {
    serve("echo", more)
}

/// A client whose reads give up in the end.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream
        .set_read_timeout(Some(support::PATIENCE))
        .expect("not zero");
    stream
}

fn echoed(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).expect("the server reads");
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).expect("the server answers");
    answer
}

#[test]
fn serve_echo_answers_byte_for_byte_and_after_half_close() {
    let (server, address) = serve_echo(&[]);
    let mut stream = connect(address);
    let text = "你是who? 我爱Python \u{1b}[2J \0\u{7f}".as_bytes();
    assert_eq!(echoed(&mut stream, text), text);
    stream.write_all(b"last").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"last");
    server.signal(Signal::TERM);
    let run = server.finish();
    let total = text.len() + 4;
    let told = format!(
        "served 1 connections: 1 finished, 0 timed out, 0 failed, 0 killed; \
                        {total} B in, {total} B out"
    );
    assert_eq!(run.succeeds().lines().last(), Some(told.as_str()));
}

#[test]
fn serve_echo_logs_data_escaped() {
    let (mut server, address) = serve_echo(&["--log-data"]);
    let mut stream = connect(address);
    echoed(&mut stream, "我爱\u{1b}[2J\n".as_bytes());
    assert_eq!(server.line(), "recv: 我爱\\u{1b}[2J\\n");
    server.signal(Signal::INT);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn serve_echo_listens_on_several_addresses() {
    let mut server = greenloop([
        "serve",
        "echo",
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "tcp://localhost:0",
    ])
    .start();
    let addresses = [server.address(), server.address()];
    assert_ne!(addresses[0], addresses[1]);
    for address in addresses {
        assert_eq!(echoed(&mut connect(address), b"x"), b"x");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn serve_echo_listens_on_unix_sockets() {
    let folder = Folder::new();
    let path = folder.path().join("echo");
    let listen = format!("unix:{}", path.display());
    let mut server = greenloop(["serve", "echo", "--listen", &listen]).start();
    assert_eq!(server.endpoint(), listen);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all("我爱Python".as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "我爱Python");
    server.signal(Signal::TERM);
    assert!(server.finish().succeeds().contains("1 finished"));
    assert_eq!(folder.names(), [""; 0], "the socket's file is gone");
}

#[test]
fn serve_echo_closes_idle_connections() {
    let (server, address) = serve_echo(&["--idle-timeout", "50ms"]);
    let mut stream = connect(address);
    echoed(&mut stream, b"x");
    assert_eq!(
        stream.read(&mut [0]).unwrap_or(0),
        0,
        "the server closes it"
    );
    server.signal(Signal::TERM);
    assert!(server.finish().succeeds().contains("1 timed out"));
}

#[test]
fn serve_echo_at_its_limit_lets_others_wait() {
    let (server, address) = serve_echo(&["--max-connections", "1"]);
    let mut first = connect(address);
    echoed(&mut first, b"x");
    let mut second = connect(address);
    second.write_all(b"y").unwrap();
    second
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(second.read(&mut [0]).is_err(), "nobody serves it yet");
    second.set_read_timeout(Some(support::PATIENCE)).unwrap();
    drop(first);
    let mut answer = [0];
    second.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"y");
    server.signal(Signal::TERM);
    let run = server.finish();
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("--max-connections"), "{run:?}");
}

#[test]
fn first_signal_drains_and_closes_idle_connections_at_once() {
    let (mut server, address) = serve_echo(&["--drain", "1m"]);
    let mut stream = connect(address);
    echoed(&mut stream, b"x");
    server.signal(Signal::INT);
    assert_eq!(
        server.line_with("draining"),
        "draining 1 connection, at most 60s"
    );
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed, and not reset");
    assert!(server.finish().succeeds().contains("1 finished"));
    assert!(
        TcpStream::connect(address).is_err(),
        "nobody listens any more"
    );
}

#[test]
fn second_signal_ends_at_once() {
    let (mut server, address) = serve_echo(&["--drain", "1h"]);
    let mut stream = connect(address);
    // More than the buffers hold, and not read: the handler is in the middle of a write.
    stream.set_nonblocking(true).unwrap();
    let block = vec![b'x'; 1 << 20];
    let mut last_progress = Instant::now();
    while last_progress.elapsed() < Duration::from_millis(300) {
        match stream.write(&block) {
            Ok(count) if count > 0 => last_progress = Instant::now(),
            _ => std::thread::yield_now(),
        }
    }
    server.signal(Signal::TERM);
    server.line_with("draining");
    server.signal(Signal::TERM);
    let run = server.finish();
    run.fails_with(1, &["1 connection was cut off"]);
    assert!(run.stdout.contains("1 killed"), "{run:?}");
}

#[test]
fn serve_goes_on_without_a_reader_of_its_output() {
    let (mut server, address) = serve_echo(&["--log-data"]);
    server.stop_reading();
    let mut stream = connect(address);
    for _ in 0..10 {
        assert_eq!(echoed(&mut stream, b"x"), b"x");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn unbindable_addresses_are_one_line_and_exit_code_1() {
    let hold = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = hold.local_addr().unwrap().to_string();
    let run = greenloop(["serve", "echo", "--listen", &address]).run();
    run.fails_with(1, &[&address, "address already in use"]);
    let run = greenloop(["serve", "echo", "--listen", "192.0.2.1:7788"]).run();
    run.fails_with(1, &["192.0.2.1:7788", "cannot assign requested address"]);
    let run = greenloop(["serve", "echo", "--listen", "nosuch.invalid:7788"]).run();
    run.fails_with(1, &["resolving nosuch.invalid"]);
    let run = greenloop(["serve", "echo", "--listen", "127.0.0.1:1"])
        .with_no_rights()
        .run();
    run.fails_with(1, &["127.0.0.1:1", "permission denied"]);
}
