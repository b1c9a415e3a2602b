//! `greenloop serve chat` and `greenloop chat`, with each other and with plain programs.

use crate::connect::{await_shown, terminal};
use crate::serve::{connect, serve};
use crate::support::{Running, greenloop, peer};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, PipeWriter, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::process::{Command, Stdio};

/// `greenloop chat` with an input that stays open.
fn member(address: SocketAddr, name: &str) -> (Running, PipeWriter) {
    let (input, typing) = std::io::pipe().expect("there are pipes");
    let mut member = greenloop(["chat", &address.to_string(), "--name", name])
        .stdin(input)
        .start();
    assert_eq!(member.line(), "* welcome; what is your name?");
    assert!(member.line().starts_with(&format!("* you are {name}, ")));
    (member, typing)
}

#[test]
fn members_talk_and_the_server_tells_of_it() {
    let (mut server, address) = serve("chat", &["--log-data"]);
    let (mut ann, mut typing) = member(address, "ann");
    assert_eq!(server.line(), "* ann has joined, 1 here");
    // A script: its first line is its name, and the end of its input takes it out.
    let run = greenloop(["chat", &address.to_string()])
        .input("bob\n我爱Python \u{1b}[2J\nlast")
        .run();
    let heard = "* welcome; what is your name?\n* you are bob, 2 here; /help tells more\n";
    assert_eq!(run.succeeds(), heard);
    assert_eq!(ann.line(), "* bob has joined, 2 here");
    let said = ann.line();
    assert!(said.ends_with("] bob: 我爱Python \\u{1b}[2J"), "{said}");
    assert!(ann.line().ends_with("] bob: last"));
    assert_eq!(ann.line(), "* bob has left, 1 here");
    writeln!(typing, "/quit").expect("it reads");
    assert_eq!(ann.line(), "* goodbye");
    assert_eq!(ann.finish().code, 0);
    server.signal(Signal::TERM);
    let run = server.finish();
    assert!(
        run.succeeds().contains("] bob: last\n* bob has left"),
        "{run:?}"
    );
    assert!(
        run.stdout.contains("served 2 connections: 2 finished"),
        "{run:?}"
    );
}

#[test]
fn end_of_the_server_is_said_to_all() {
    let (server, address) = serve("chat", &[]);
    let (mut ann, _typing) = member(address, "ann");
    server.signal(Signal::TERM);
    assert_eq!(ann.line(), "* the server ends; goodbye");
    assert_eq!(ann.finish().code, 0);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn room_has_its_limits_and_its_history() {
    let (server, address) = serve("chat", &["--members", "1", "--history", "1"]);
    let (mut ann, mut typing) = member(address, "ann");
    let refused = greenloop(["chat", &address.to_string(), "--name", "bob"]).run();
    assert!(
        refused
            .succeeds()
            .ends_with("* the room is full: 1 are here\n")
    );
    writeln!(typing, "one\ntwo\n/quit").expect("it reads");
    ann.line_with("* goodbye");
    ann.finish();
    let run = greenloop(["chat", &address.to_string(), "--name", "bob"]).run();
    let lines: Vec<_> = run.succeeds().lines().collect();
    assert!(
        lines.len() == 3 && lines[2].ends_with("] ann: two"),
        "{lines:?}"
    );
    drop(server);
}

#[test]
fn lines_come_in_above_what_is_typed_and_are_escaped() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (mut user, theirs) = terminal();
    let member = greenloop(["chat", &address])
        .stdin(theirs.try_clone().expect("a descriptor is free"))
        .stdout(theirs)
        .start();
    let (mut room, _) = listener.accept().expect("it comes");
    room.write_all("[t] eve: \u{1b}]0;x\u{7}\u{202e}我\n".as_bytes())
        .expect("it reads");
    await_shown(&mut user, "\r\u{1b}[K[t] eve: \\u{1b}]0;x\\u{7}\\u{202e}我");
    user.write_all(b"hi\n").expect("it is read");
    let mut line = String::new();
    BufReader::new(room.try_clone().expect("a descriptor is free"))
        .read_line(&mut line)
        .expect("it is sent");
    assert_eq!(line, "hi\n");
    drop(room);
    assert_eq!(member.finish().code, 0);
}

#[test]
fn what_cannot_be_is_said_in_a_line() {
    let name = |name| greenloop(["chat", "127.0.0.1:1", "--name", name]).run();
    name("a b").fails_with(2, &["a name is letters and digits"]);
    name("").fails_with(2, &["a name has at least one letter"]);
    name(&"x".repeat(25)).fails_with(2, &["at most 24 letters"]);
    greenloop(["chat", "udp://127.0.0.1:1"])
        .run()
        .fails_with(2, &["udp://127.0.0.1:1 is for datagrams"]);
    greenloop(["serve", "chat", "--history", "501"])
        .run()
        .fails_with(2, &["--history"]);
    greenloop(["serve", "chat", "--listen", "unixgram:/x"])
        .run()
        .fails_with(2, &["unixgram:/x is for datagrams"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    greenloop(["chat", &address])
        .run()
        .fails_with(1, &[&address, "refused"]);
}

#[test]
fn netcat_and_socat_are_members() {
    let (server, address) = serve("chat", &[]);
    let (mut ann, _typing) = member(address, "ann");
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let socat = format!("TCP:{address}");
    let clients: [(&str, &[&str]); 4] = [
        ("nc", &[&host, &port]),
        ("ncat", &["--crlf", &host, &port]),
        ("socat", &["-", &socat]),
        ("busybox", &["nc", &host, &port]),
    ];
    for (program, args) in clients {
        let Some(path) = peer(program) else {
            continue;
        };
        let mut client = Command::new(path)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is a program");
        let mut input = client.stdin.take().expect("it is piped");
        input
            .write_all(format!("{program}\n你是who?\n/quit\n").as_bytes())
            .expect("it reads");
        let mut heard = String::new();
        let mut output = client.stdout.take().expect("it is piped");
        // The input stays open: it is the server that ends.
        output.read_to_string(&mut heard).expect("it is text");
        assert!(heard.ends_with("* goodbye\n"), "{program}: {heard}");
        drop(input);
        client.wait().expect("it is ours");
        let said = ann.line_with("who?");
        assert!(said.ends_with(&format!("] {program}: 你是who?")), "{said}");
        ann.line_with(&format!("* {program} has left"));
    }
    drop(server);
}

/// Joins twice, talks, and prints what each heard without the time.
const SCRIPT: &str = r#"
import socket, sys

def join(name):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30)
    f = s.makefile("rw", encoding="utf-8", newline="\n")
    assert f.readline() == "* welcome; what is your name?\n"
    print(name, file=f, flush=True)
    assert f.readline().startswith("* you are " + name)
    return s, f

a, af = join("甲")
b, bf = join("乙")
assert af.readline() == "* 乙 has joined, 2 here\n"
for n in range(3):
    print("from b", n, file=bf, flush=True)
    print("from a", n, file=af, flush=True)
    print(af.readline()[11:], bf.readline()[11:], sep="", end="")
b.shutdown(socket.SHUT_WR)
assert bf.read() == ""
print(af.readline(), end="")
print("/quit", file=af, flush=True)
print(af.read(), end="")
"#;

#[test]
fn members_in_python_hear_each_other() {
    let Some(python) = peer("python3") else {
        return;
    };
    let (server, address) = serve("chat", &[]);
    let run = Command::new(python)
        .args(["-X", "utf8", "-c", SCRIPT, &address.port().to_string()])
        .output()
        .expect("it is a program");
    let talk: String = (0..3)
        .map(|n| format!("乙: from b {n}\n甲: from a {n}\n"))
        .collect();
    let expected = format!("{talk}* 乙 has left, 1 here\n* goodbye\n");
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert_eq!(String::from_utf8_lossy(&run.stdout), expected, "{stderr}");
    server.signal(Signal::TERM);
    let run = server.finish();
    assert!(run.succeeds().contains("2 finished"), "{run:?}");
}

#[test]
fn plain_socket_that_never_names_itself_holds_nobody_up() {
    let (server, address) = serve("chat", &[]);
    let mut silent = connect(address);
    let (mut ann, _typing) = member(address, "ann");
    silent.shutdown(Shutdown::Write).expect("it is connected");
    let mut heard = String::new();
    silent.read_to_string(&mut heard).expect("it is text");
    assert_eq!(heard, "* welcome; what is your name?\n");
    server.signal(Signal::INT);
    assert_eq!(ann.line(), "* the server ends; goodbye");
    assert_eq!(server.finish().code, 0);
}
