//! Every program in `examples/`, with a bounded life: what it prints, and what its peer sees.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests are plain programs, and may fail"
)]

#[path = "support/mod.rs"]
mod support;

use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use support::{Greenloop, PATIENCE, Run, Running, example_program};

/// A test for each example: its name, its arguments, and what is done with it.
macro_rules! rows {
    ($($name:ident $args:tt => $check:expr;)+) => {
        const ROWS: &[&str] = &[$(stringify!($name)),+];

        $(#[test]
        fn $name() {
            let args: &[&str] = &$args;
            ($check)(example_program(stringify!($name), args));
        })+
    };
}

// In the order of the alphabet, so that two new ones seldom meet.
rows! {
    backlog [] => ends(|run| {
        let told = run.succeeds();
        for (backlog, queue) in [(0, 1), (2, 3), (5, 6)] {
            assert!(told.contains(&format!("{queue} of 8 connected at once.\n")), "{run:?}");
            assert!(told.contains(&format!("takes min({backlog}, ")), "{run:?}");
        }
    });
    blocking [] => ends(|run| {
        let lines: Vec<_> = run.succeeds().lines().collect();
        let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
        assert_eq!(count(" is back"), 4, "{run:?}");
        assert!(count("others run") > 1, "{run:?}");
        assert_eq!(lines.last(), Some(&"4 calls on 3 threads"));
    });
    chat_server ["127.0.0.1:0"] => serves(|server, address| {
        let mut one = connect(address);
        assert_eq!(line(&mut one), "you are 1\n");
        let mut other = connect(address);
        assert_eq!(line(&mut one), "2: has come\n");
        other.get_mut().write_all("我爱\u{1b}Python\r\n".as_bytes()).unwrap();
        assert_eq!(line(&mut one), "2: 我爱\\u{1b}Python\n");
        drop(other);
        assert_eq!(line(&mut one), "2: has gone\n");
        assert!(stop(server).contains("2 visits\n"));
        assert_eq!(line(&mut one), "");
    });
    download [] => holds(&["6 bytes from http://", "20 saved, 0 failed in "]);
    echo_server ["127.0.0.1:0"] => serves(|server, address| {
        for text in ["你是who?", "我爱Python"] {
            assert_eq!(answer(address, text), text);
        }
        assert!(stop(server).contains("served 2 connections\n"));
    });
    file_upload [] => ends(|run| {
        let size = std::fs::metadata("Cargo.toml").unwrap().len();
        let stored = |name: &str| format!("stored {name:?}, {size} bytes\nit is called {name}\n");
        let no = "no file can have this name";
        let refused = format!("refused \"..\": {no:?}\nno: {no}\n");
        let expected = stored("notes.txt") + &stored("notes.1.txt") + &refused;
        assert_eq!(run.succeeds(), expected);
    });
    framing [] => prints(
        "two sends, one read: 你是who?我爱Python\na message: 你是who?\na message: 我爱Python\n",
    );
    gevent_spawn [] => prints(&greenlets((0..3).flat_map(|f| (0..5).map(move |i| (f, i)))));
    gevent_switch [] => prints(&greenlets((0..5).flat_map(|i| (0..3).map(move |f| (f, i)))));
    greenlet_switch [] => prints(&"---A--\n---B--\n".repeat(5));
    hello_client [] => needs("hello_server", |client, server| {
        let run = client.run();
        stop(server);
        let answers = ["hello!", "Hello, Michael!", "Hello, Tracy!", "Hello, 我爱Python!", ""];
        assert_eq!(run.succeeds(), answers.join("\n"));
    });
    hello_server ["127.0.0.1:0"] => serves(|mut server, address| {
        assert_eq!(answer(address, "你是who?"), "hello!Hello, 你是who?!");
        assert!(server.line().starts_with("Accept new connection from 127.0.0.1:"));
        let printed = stop(server);
        assert!(printed.ends_with(" closed.\n"), "{printed}");
    });
    models [] => prints(&["thread", "select", "epoll"].map(|model| {
        format!("{model}: 我爱Python, 1 client served\n")
    }).concat());
    pool [] => ends(|run| {
        // A busy machine may be late for others than every fourth.
        let lines: Vec<_> = run.succeeds().lines().collect();
        for n in 1..=12 {
            let (square, late) = (format!("{n:>2}: {}", n * n), format!("{n:>2}: took too long"));
            let line = lines[n - 1];
            assert!(line == late || (n % 4 > 0 && line == square), "{run:?}");
        }
        assert!(lines[12].ends_with(", 3 places free"), "{run:?}");
    });
    processes [] => holds(&["uname: Linux\n", "exec sleep 60: timed out\n  until then: so far\n"]);
    socket_calls [] => prints("\
connect: 0
connect to nobody: 111
its peer is we: true
our peer is it: true
a descriptor of ours: true
read with a limit: timed out
accept with a limit: timed out
a limit around it: timed out
a try: operation would block
");
    socket_types [] => holds(&[
        "IPv4 stream: onetwo\nIPv6 stream: onetwo\nUnix stream: onetwo\n",
        "IPv4 datagrams: 3 + 3 bytes\nIPv6 datagrams: 3 + 3 bytes\n",
        "Unix datagrams: 3 + 3 bytes\nUnix seqpacket: 3 + 3 bytes\nraw: ",
    ]);
    socketserver [] => prints(
        "connection 1 is done\nyou said TCP\nconnection 2 is done\nyou said UNIX\nUDP\nUNIXGRAM\n",
    );
    tcp_client [] => needs("tcp_once", |client, server| {
        assert_eq!(client.run().succeeds(), "sent 你是who?\nthank you !\n");
        let run = server.finish();
        assert!(run.succeeds().ends_with(" says: 你是who?\n"), "{run:?}");
    });
    tcp_once ["127.0.0.1:0"] => serves(|server, address| {
        assert_eq!(answer(address, "我爱Python"), "thank you !");
        let run = server.finish();
        assert!(run.succeeds().ends_with(" says: 我爱Python\n"), "{run:?}");
    });
    tftp [] => holds(&[
        "listening on 127.0.0.1:",
        "hello over UDP\n",
        "bytes are there\n",
        "access violation: hidden files are not served (error 2)\n",
    ]);
    udp_broadcast [] => |program: Greenloop| {
        let mut server = example_program("udp_hello", ["0.0.0.0:0"]).start();
        let port = server.address_in_line().port();
        let run = program.arg(format!("127.255.255.255:{port}")).run();
        assert_eq!(run.succeeds(), format!("127.0.0.1:{port}: Hello, Hi\n"));
        stop(server);
    };
    udp_chatroom ["127.0.0.1:0"] => serves(|mut server, address| {
        let [one, two] = [udp(address), udp(address)];
        let mut say = |socket: &UdpSocket, text: &str| {
            socket.send(text.as_bytes()).unwrap();
            let line = server.line();
            let from = socket.local_addr().unwrap().ip();
            assert!(line.starts_with('【') && line.ends_with(&format!("】{from}:{text}")), "{line}");
            line
        };
        say(&one, "hi");
        let line = say(&two, "你是who?");
        assert_eq!(heard(&one), line);
        stop(server);
    });
    udp_client [] => needs("udp_hello", |client, mut server| {
        let run = client.run();
        assert_eq!(run.succeeds(), "Hello, client1\nHello, client2\nHello, 我爱Python\n");
        assert!(server.line().starts_with("Received from 127.0.0.1:"));
        stop(server);
    });
    udp_echo ["127.0.0.1:0"] => serves(|server, address| {
        let socket = udp(address);
        for text in ["你是who?", "我爱Python", ""] {
            socket.send(text.as_bytes()).unwrap();
            assert_eq!(heard(&socket), text);
        }
        assert!(stop(server).ends_with("returned 3 of 3 datagrams\n"));
    });
    udp_hello ["127.0.0.1:0"] => serves(|server, address| {
        let socket = udp(address);
        socket.send("client1".as_bytes()).unwrap();
        assert_eq!(heard(&socket), "Hello, client1");
        stop(server);
    });
    udp_receive ["127.0.0.1:0", "--once"] => serves(|mut server, address| {
        let socket = udp(address);
        socket.send("我爱\u{1b}[2J".repeat(8).as_bytes()).unwrap();
        let from = socket.local_addr().unwrap();
        let line = server.line();
        assert!(line.starts_with(&format!("{from}: 我爱\\u{{1b}}[2J我爱")), "{line}");
        assert!(line.ends_with("… (80 bytes)"), "{line}");
        assert_eq!(server.finish().code, 0);
    });
    watchdog [] => ends(|run| {
        assert_eq!(run.code, 0, "{run:?}");
        let told = run.stderr.contains("\"hog\"") && run.stderr.contains("\"patient\"");
        assert!(told || run.stderr.starts_with("not noticed"), "{run:?}");
    });
    yield_switch [] => prints(&"----B---\n----A---\n".repeat(5));
}

#[test]
fn every_example_has_a_row() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(ROWS, names, "each has a row, in this order");
}

/// It ends by itself; then it is looked at.
fn ends(check: impl Fn(&Run)) -> impl Fn(Greenloop) {
    move |program| check(&program.run())
}

/// It succeeds and prints exactly this.
fn prints(expected: &str) -> impl Fn(Greenloop) {
    ends(move |run| assert_eq!(run.succeeds(), expected))
}

/// It succeeds and prints these parts, in this order.
fn holds(parts: &[&str]) -> impl Fn(Greenloop) {
    ends(move |run| {
        let mut rest = run.succeeds();
        for part in parts {
            let (_, after) = rest
                .split_once(part)
                .unwrap_or_else(|| panic!("{part:?} {run:?}"));
            rest = after;
        }
    })
}

/// It runs until it is told to end; its first line ends with its address.
fn serves(talk: impl Fn(Running, SocketAddr)) -> impl Fn(Greenloop) {
    move |program| {
        let mut server = program.start();
        let address = server.address_in_line();
        talk(server, address);
    }
}

/// It is run with the address of another example, which is started first.
fn needs(other: &str, talk: impl Fn(Greenloop, Running)) -> impl Fn(Greenloop) {
    move |program| {
        let mut server = example_program(other, ["127.0.0.1:0"]).start();
        let address = server.address_in_line();
        talk(program.arg(address.to_string()), server);
    }
}

/// Ends a server by its process number; returns what it has printed.
fn stop(server: Running) -> String {
    server.signal(Signal::TERM);
    let run = server.finish();
    run.succeeds().to_owned()
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

/// The next line with its end; nothing at the end of the stream.
fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

/// All that a server answers to `text` and an end.
fn answer(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    all
}

/// A client of `address` that gives up in the end.
fn udp(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn heard(socket: &UdpSocket) -> String {
    let mut buf = [0; 1024];
    let len = socket.recv(&mut buf).unwrap();
    String::from_utf8(buf[..len].to_vec()).unwrap()
}

/// What the greenlets of the gevent examples print in this order.
fn greenlets(order: impl Iterator<Item = (usize, u32)>) -> String {
    let names = ["one", "two", "three"];
    order.map(|(f, i)| format!("{} {i}\n", names[f])).collect()
}
