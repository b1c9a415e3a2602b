//! `greenloop serve hello`: the tutorials' texts, and their own client.

use crate::serve::{connect, serve};
use crate::support::{Running, greenloop, peer};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::Command;

fn stop(server: Running) -> String {
    server.signal(Signal::TERM);
    server.finish().succeeds().to_owned()
}

/// All that is said to somebody who sends this and ends.
fn said(address: SocketAddr, text: &str) -> String {
    let mut stream = connect(address);
    let mut all = String::new();
    stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.shutdown(Shutdown::Write))
        .and_then(|()| stream.read_to_string(&mut all))
        .expect("the server answers");
    all
}

#[test]
fn tutorials_client_is_greeted() {
    let Some(python) = peer("python3") else {
        return;
    };
    let (server, address) = serve("hello", &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/peers/hello.py");
    let output = Command::new(python)
        .args([script, "127.0.0.1", &address.port().to_string()])
        .args(["Michael", "你是who?", "我爱Python"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "hello!\nHello, Michael!\nHello, 你是who?!\nHello, 我爱Python!\n",
        "{output:?}"
    );
    assert!(output.status.success(), "{output:?}");
    stop(server);
}

#[test]
fn serve_hello_tells_who_comes_and_goes() {
    let (mut server, address) = serve("hello", &["--log-data"]);
    let mut stream = connect(address);
    let peer = stream.local_addr().unwrap();
    let opened = format!("Accept new connection from {peer}...");
    assert_eq!(server.line(), opened);
    stream.write_all("我爱\u{1b}[2J\n".as_bytes()).unwrap();
    assert_eq!(server.line(), "recv: 我爱\\u{1b}[2J");
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert_eq!(all, "hello!Hello, 我爱\u{1b}[2J!");
    assert_eq!(server.line(), format!("Connection from {peer} closed."));
    assert!(stop(server).contains("served 1 connections: 1 finished"));
}

#[test]
fn serve_hello_says_what_it_is_told_to() {
    let texts = ["--welcome", "", "--reply", "{} 是的呢", "--bye", "再见"];
    let (server, address) = serve("hello", &texts);
    assert_eq!(said(address, "你是who?"), "你是who? 是的呢再见");
    stop(server);
    let texts = [
        "--welcome",
        "Hello, I am server",
        "--reply",
        "Hello WorldAAA",
    ];
    let (server, address) = serve("hello", &texts);
    assert_eq!(said(address, "x"), "Hello, I am serverHello WorldAAA");
    stop(server);
}

#[test]
fn serve_hello_waits_for_each_client_alone() {
    let (server, address) = serve("hello", &["--delay", "300ms"]);
    let begin = std::time::Instant::now();
    let mut clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
    for client in &mut clients {
        client.write_all(b"Bob").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    }
    for client in &mut clients {
        let mut all = String::new();
        client.read_to_string(&mut all).unwrap();
        assert_eq!(all, "hello!Hello, Bob!");
    }
    // One after the other would be 30 s.
    assert!(begin.elapsed().as_millis() >= 300 && begin.elapsed().as_secs() < 15);
    assert!(stop(server).contains("100 finished"));
}

#[test]
fn serve_hello_listens_on_unix_sockets() {
    let name = format!("unix:@greenloop-hello-{}", std::process::id());
    let mut server = greenloop(["serve", "hello", "--listen", &name]).start();
    assert_eq!(server.endpoint(), name);
    let Some(socat) = peer("socat") else { return };
    let name = name.replace("unix:@", "ABSTRACT-CONNECT:");
    let mut client = Command::new(socat)
        .args(["-t60", "-", &name])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(b"Bob\n").unwrap();
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"hello!Hello, Bob!");
    stop(server);
}
