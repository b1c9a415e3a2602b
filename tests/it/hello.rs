//! The greeting server: what is one name, and when it ends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::apps::hello::{Event, Hello};
use greenloop::server::{ServerConfig, ServerHandle, StreamServer};

use crate::support::{eventually, on_workers, on_workers_at_once};

const LONG: Duration = Duration::from_secs(30);

fn start(hello: Hello) -> ServerHandle {
    StreamServer::bind("127.0.0.1:0")
        .unwrap()
        .start(hello)
        .unwrap()
}

/// A client that has read the welcome.
fn welcomed(server: &ServerHandle) -> TcpStream {
    let mut stream = TcpStream::connect(server.addr().ip().unwrap()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    expect(&mut stream, "hello!");
    stream
}

#[track_caller]
fn expect(stream: &mut TcpStream, text: &str) {
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), text);
}

#[track_caller]
fn ask(stream: &mut TcpStream, name: &[u8], answer: &str) {
    stream.write_all(name).unwrap();
    expect(stream, answer);
}

#[track_caller]
fn expect_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[test]
fn each_name_is_greeted_until_exit() {
    on_workers!({
        let server = start(Hello::new());
        let mut client = welcomed(&server);
        ask(&mut client, b"Michael", "Hello, Michael!");
        ask(&mut client, "你是who?".as_bytes(), "Hello, 你是who?!");
        ask(&mut client, "我爱Python".as_bytes(), "Hello, 我爱Python!");
        ask(&mut client, b"exiting", "Hello, exiting!");
        ask(&mut client, b" exit", "Hello,  exit!");
        ask(&mut client, b"a\xff\xe6\x88", "Hello, a\u{fffd}\u{fffd}!");
        client.write_all(b"exit").unwrap();
        expect_end(&mut client);
        let report = server.drain(LONG).unwrap();
        assert_eq!((report.accepted, report.finished), (1, 1));
    });
}

#[test]
fn lines_are_names_however_they_arrive() {
    let server = start(Hello::new());
    let mut client = welcomed(&server);
    ask(
        &mut client,
        b"Michael\nTracy\r\n",
        "Hello, Michael!Hello, Tracy!",
    );
    client.set_nodelay(true).unwrap();
    for byte in b"Sarah" {
        client.write_all(&[*byte]).unwrap();
    }
    ask(&mut client, b"\n", "Hello, Sarah!");
    client.write_all(b"Bob\nexit\nTracy\n").unwrap();
    expect(&mut client, "Hello, Bob!");
    expect_end(&mut client);

    // The last one without a line end: it is not waited for without end.
    let mut client = welcomed(&server);
    ask(
        &mut client,
        b"Michael\nTracy",
        "Hello, Michael!Hello, Tracy!",
    );
    client.write_all(b"exit").unwrap();
    expect_end(&mut client);
}

#[test]
fn end_of_the_stream_is_answered_to_and_closes() {
    let server = start(Hello::new().bye("bye"));
    let mut client = welcomed(&server);
    client.write_all(b"Michael\nTracy").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    expect(&mut client, "Hello, Michael!Hello, Tracy!bye");
    expect_end(&mut client);
    let mut silent = welcomed(&server);
    silent.shutdown(Shutdown::Write).unwrap();
    expect(&mut silent, "bye");
    expect_end(&mut silent);
}

#[test]
fn endless_line_is_cut_off_and_others_are_served() {
    let server = start(Hello::new());
    let mut flood = welcomed(&server);
    let block = vec![b'x'; 64 * 1024];
    // Fails when the server has closed, and the buffers would hold no more.
    let sent = (0..1024)
        .take_while(|_| flood.write_all(&block).is_ok())
        .count();
    assert!(sent < 1024, "{sent}");
    eventually("it is counted", || server.stats().failed == 1);
    let longest = "x".repeat(8191);
    ask(
        &mut welcomed(&server),
        longest.as_bytes(),
        &format!("Hello, {longest}!"),
    );
}

#[test]
fn delays_of_many_clients_do_not_add_up() {
    on_workers_at_once!({
        let delay = Duration::from_millis(200);
        let server = start(Hello::new().delay(delay));
        let mut clients: Vec<_> = (0..100).map(|_| welcomed(&server)).collect();
        let begin = Instant::now();
        for (number, client) in clients.iter_mut().enumerate() {
            let name = format!("client{number}");
            client.write_all(name.as_bytes()).unwrap();
        }
        for (number, client) in clients.iter_mut().enumerate() {
            expect(client, &format!("Hello, client{number}!"));
        }
        let elapsed = begin.elapsed();
        // One after the other would be 20 s.
        assert!(elapsed >= delay && elapsed < delay * 25, "{elapsed:?}");
    });
}

#[test]
fn drain_lets_an_answer_be_given_and_says_bye() {
    let (tell, has_asked) = std::sync::mpsc::channel();
    let hello = Hello::new().bye(" bye").delay(Duration::from_millis(300));
    let server = start(hello.watcher(move |_, event| {
        if matches!(event, Event::Name(_)) {
            tell.send(()).unwrap();
        }
    }));
    let (mut idle, mut busy) = (welcomed(&server), welcomed(&server));
    busy.write_all(b"Michael").unwrap();
    has_asked.recv_timeout(LONG).unwrap();
    assert!(server.drain(LONG).unwrap().is_clean());
    expect(&mut idle, " bye");
    expect_end(&mut idle);
    expect(&mut busy, "Hello, Michael! bye");
    expect_end(&mut busy);
}

#[test]
fn watcher_hears_of_everybody_once() {
    on_workers!({
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let hello = Hello::new().watcher(move |conn, event| {
            let what = match event {
                Event::Opened => "opened".to_owned(),
                Event::Name(name) => String::from_utf8_lossy(name).into_owned(),
                Event::Closed => "closed".to_owned(),
            };
            heard.lock().unwrap().push((conn.id, what));
        });
        let server = ServerConfig::new()
            .idle_timeout(Some(Duration::from_millis(50)))
            .bind("127.0.0.1:0")
            .unwrap()
            .start(hello)
            .unwrap();
        let mut polite = welcomed(&server);
        polite.write_all(b"Bob\nexit\n").unwrap();
        expect(&mut polite, "Hello, Bob!");
        expect_end(&mut polite);
        // One that is closed for its silence, and one that resets.
        let _silent = welcomed(&server);
        let rude = socket2::Socket::from(welcomed(&server));
        rude.set_linger(Some(Duration::ZERO)).unwrap();
        drop(rude);
        let report = server.drain(LONG).unwrap();
        assert_eq!(report.accepted, 3);
        let mut told = told.lock().unwrap().clone();
        told.sort_by_key(|(id, _)| *id);
        let of = |id| -> Vec<_> {
            let own = told.iter().filter(|(of, _)| *of == id);
            own.map(|(_, what)| what.as_str()).collect()
        };
        assert_eq!(of(1), ["opened", "Bob", "exit", "closed"]);
        assert_eq!(of(2), ["opened", "closed"]);
        assert_eq!(of(3), ["opened", "closed"]);
    });
}
