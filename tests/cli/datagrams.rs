//! The servers and clients of datagrams: `serve echo|hello|chatroom`, `broadcast`.

#![expect(clippy::unwrap_used, reason = "tests may fail")]

use crate::support::{self, Folder, Running, greenloop, peer};
use rustix::process::Signal;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// `serve NAME` for datagrams on a free port of 127.0.0.1.
fn serve(name: &str, more: &[&str]) -> (Running, SocketAddr) {
    let args = [&["serve", name, "--listen", "udp://127.0.0.1:0"], more].concat();
    let mut server = greenloop(args).start();
    let address = server.address();
    (server, address)
}

/// A client that hears from `to` alone and gives up in the end.
fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
    socket
}

fn ask(socket: &UdpSocket, question: &[u8]) -> Vec<u8> {
    socket.send(question).unwrap();
    let mut answer = vec![0; 65_536];
    let len = socket.recv(&mut answer).unwrap();
    answer.truncate(len);
    answer
}

fn stop(server: Running) -> String {
    server.signal(Signal::TERM);
    server.finish().succeeds().to_owned()
}

#[test]
fn serve_echo_returns_datagrams_and_counts_them() {
    let (mut server, address) = serve("echo", &["--log-data"]);
    let socket = client(address);
    let text = "你是who?\u{1b}[2J".as_bytes();
    assert_eq!(ask(&socket, text), text);
    assert_eq!(server.line(), "recv: 你是who?\\u{1b}[2J");
    assert_eq!(ask(&socket, b""), b"");
    let most = vec![7; 65_507];
    assert_eq!(ask(&socket, &most), most);
    let said = stop(server);
    let expected = "received 3 datagrams: 3 sent, 0 failed, 0 dropped; ";
    assert!(said.lines().last().unwrap().starts_with(expected), "{said}");
}

#[test]
fn serve_echo_listens_on_streams_and_datagrams_at_once() {
    let folder = Folder::new();
    let path = folder.path().join("echo");
    let unix = format!("unixgram:{}", path.display());
    let args = [
        "serve",
        "echo",
        "--listen",
        "udp://:0",
        "--listen",
        "127.0.0.1:0",
        "--listen",
        &unix,
    ];
    let mut server = greenloop(args).start();
    let udp = server.address();
    let tcp = server.address();
    assert_eq!(server.endpoint(), unix);
    assert_eq!(
        ask(&client(([127, 0, 0, 2], udp.port()).into()), b"over UDP"),
        b"over UDP"
    );
    let mut stream = super::serve::connect(tcp);
    std::io::Write::write_all(&mut stream, b"over TCP").unwrap();
    let mut answer = [0; 8];
    std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
    assert_eq!(&answer, b"over TCP");
    let near = UnixDatagram::bind(folder.path().join("client")).unwrap();
    near.set_read_timeout(Some(support::PATIENCE)).unwrap();
    near.send_to("我爱Python".as_bytes(), &path).unwrap();
    let mut answer = [0; 64];
    let len = near.recv(&mut answer).unwrap();
    assert_eq!(&answer[..len], "我爱Python".as_bytes());
    let said = stop(server);
    assert!(said.contains("served 1 connections: 1 finished"), "{said}");
    assert!(said.contains("received 2 datagrams: 2 sent"), "{said}");
    assert_eq!(folder.names(), ["client"], "the server's file is gone");
}

#[test]
fn serve_echo_on_a_port_in_use_says_so() {
    let (server, address) = serve("echo", &[]);
    let listen = format!("udp://{address}");
    let run = greenloop([
        "serve",
        "echo",
        "--listen",
        "127.0.0.1:0",
        "--listen",
        &listen,
    ])
    .run();
    assert_eq!(run.code, 1);
    assert_eq!(
        run.stderr,
        format!("error: listening on {address}: address already in use\n")
    );
    stop(server);
}

#[test]
fn serve_hello_answers_names_in_datagrams() {
    let (mut server, address) = serve("hello", &[]);
    let socket = client(address);
    assert_eq!(ask(&socket, b"client1"), b"Hello, client1");
    let from = socket.local_addr().unwrap();
    assert_eq!(server.line(), format!("Received from {from}."));
    assert_eq!(
        ask(&socket, "我爱Python\n".as_bytes()),
        "Hello, 我爱Python".as_bytes()
    );
    assert_eq!(ask(&socket, b""), b"Hello, ");
    // Too long an answer fails, and the next is given.
    socket.send(&vec![b'x'; 65_507]).unwrap();
    assert_eq!(ask(&socket, b"client2"), b"Hello, client2");
    assert!(stop(server).contains("received 5 datagrams: 4 sent, 1 failed"));
}

#[test]
fn serve_hello_waits_with_one_client_and_answers_others() {
    let args = ["--reply", "{} 是的呢", "--delay", "300ms"];
    let (server, address) = serve("hello", &args);
    let clients: Vec<_> = (0..5).map(|_| client(address)).collect();
    let begun = std::time::Instant::now();
    for socket in &clients {
        socket.send(b"x").unwrap();
    }
    for socket in &clients {
        let mut answer = [0; 64];
        let len = socket.recv(&mut answer).unwrap();
        assert_eq!(&answer[..len], "x 是的呢".as_bytes());
    }
    assert!(
        begun.elapsed() < Duration::from_millis(5 * 300),
        "one after the other"
    );
    stop(server);
}

/// What stands after the time, if that is a time.
fn without_time(line: &str) -> &str {
    let (time, rest) = line
        .strip_prefix('【')
        .and_then(|l| l.split_once('】'))
        .unwrap();
    let words: Vec<_> = time.split_whitespace().collect();
    assert!(
        matches!(words[..], [_, _, _, _, _]) && time.len() == 24,
        "{line}"
    );
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    assert!(
        days.contains(&words[0]) && words[3].matches(':').count() == 2,
        "{line}"
    );
    rest
}

fn hear(socket: &UdpSocket) -> String {
    let mut line = vec![0; 65_536];
    let len = socket.recv(&mut line).unwrap();
    let line = String::from_utf8(line[..len].to_vec()).unwrap();
    without_time(&line).to_owned()
}

#[test]
fn serve_chatroom_shows_what_is_said() {
    let (mut server, address) = serve("chatroom", &["--max-text", "8"]);
    let socket = client(address);
    let from = socket.local_addr().unwrap().ip();
    for (text, shown) in [
        ("hi", "hi"),
        ("我爱", "我爱"),
        ("\u{1b}[2J\n", "\\u{1b}[2J"),
        ("much too long", "much too … and 5 bytes"),
        ("", ""),
    ] {
        socket.send(text.as_bytes()).unwrap();
        assert_eq!(without_time(&server.line()), format!("{from}:{shown}"));
    }
    socket.set_nonblocking(true).unwrap();
    assert!(
        socket.recv(&mut [0; 9]).is_err(),
        "nothing is relayed unasked"
    );
    assert!(stop(server).contains("received 5 datagrams: 0 sent"));
}

#[test]
fn serve_chatroom_relays_to_who_has_spoken() {
    let (mut server, address) = serve("chatroom", &["--relay"]);
    let [a, b, c] = [(); 3].map(|()| client(address));
    let name = |socket: &UdpSocket| socket.local_addr().unwrap().ip();
    let say = |server: &mut Running, socket: &UdpSocket, text: &str| {
        socket.send(text.as_bytes()).unwrap();
        assert_eq!(
            without_time(&server.line()),
            format!("{}:{text}", name(socket))
        );
    };
    say(&mut server, &a, "first");
    say(&mut server, &b, "你是who?");
    assert_eq!(hear(&a), format!("{}:你是who?", name(&b)));
    // Nothing of what was said before comes to who joins.
    say(&mut server, &c, "third");
    assert_eq!(hear(&a), format!("{}:third", name(&c)));
    assert_eq!(hear(&b), format!("{}:third", name(&c)));
    c.set_nonblocking(true).unwrap();
    assert!(c.recv(&mut [0; 99]).is_err());
    stop(server);
}

#[test]
fn serve_chatroom_is_for_datagrams() {
    let mut server = greenloop(["serve", "chatroom", "--listen", "127.0.0.1:0"]).start();
    assert!(server.line().starts_with("listening on udp://127.0.0.1:"));
    stop(server);
    let run = greenloop(["serve", "chatroom", "--idle-timeout", "1s"]).run();
    assert_eq!(run.code, 2, "{run:?}");
    let run = greenloop(["serve", "chatroom", "--listen", "tcp://127.0.0.1:0"]).run();
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("is for connections"), "{run:?}");
}

#[test]
fn broadcast_prints_every_answer_with_its_sender() {
    let (server, address) = {
        let mut server = greenloop(["serve", "hello", "--listen", "udp://0.0.0.0:0"]).start();
        let address = server.address();
        (server, address)
    };
    let port = address.port().to_string();
    let args = [
        "broadcast",
        &port,
        "--address",
        "127.255.255.255",
        "--wait",
        "1s",
    ];
    let run = greenloop(args).run();
    assert_eq!(
        run.succeeds(),
        format!("127.0.0.1:{port}: Hello, Hi\n1 answer\n")
    );
    let args = [
        "broadcast",
        &port,
        "你是\u{1b}who?",
        "--address",
        "127.255.255.255",
    ];
    let mut run = greenloop(args).start();
    assert_eq!(
        run.line(),
        format!("127.0.0.1:{port}: Hello, 你是\\u{{1b}}who?")
    );
    // Ctrl-C is how it ends.
    run.signal(Signal::INT);
    assert_eq!(run.finish().succeeds().lines().last(), Some("1 answer"));
    stop(server);
}

#[test]
fn broadcast_to_nobody_or_nowhere() {
    let args = [
        "broadcast",
        "9",
        "--address",
        "127.255.255.255",
        "--wait",
        "10ms",
    ];
    assert_eq!(greenloop(args).run().succeeds(), "0 answers\n");
    for args in [
        &["broadcast"][..],
        &["broadcast", "0"],
        &["broadcast", "9", "--address", "::1"],
    ] {
        assert_eq!(greenloop(args).run().code, 2, "{args:?}");
    }
}

// ---- peers of others ----

/// The tutorials' client, as they wrote it.
const PYTHON: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(30)
for data in ["Michael", "Tracy", "我爱Python"]:
    s.sendto(data.encode("utf-8"), ("127.0.0.1", int(sys.argv[1])))
    print(s.recv(1024).decode("utf-8"))
s.close()
"#;

fn output_of(program: &Path, args: &[&str], input: &str) -> String {
    use std::io::Write;
    use std::process::Stdio;
    let mut command = Command::new(program);
    let command = command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pythons_client_is_greeted() {
    let Some(python) = peer("python3") else {
        return;
    };
    let (server, address) = serve("hello", &[]);
    let port = address.port().to_string();
    let said = output_of(&python, &["-c", PYTHON, &port], "");
    assert_eq!(said, "Hello, Michael\nHello, Tracy\nHello, 我爱Python\n");
    stop(server);
}

#[test]
fn socat_is_echoed_over_udp_and_unix() {
    let Some(socat) = peer("socat") else { return };
    let folder = Folder::new();
    let (server_path, own) = (folder.path().join("echo"), folder.path().join("socat"));
    let unix = format!("unixgram:{}", server_path.display());
    let mut server = greenloop([
        "serve",
        "echo",
        "--listen",
        "udp://127.0.0.1:0",
        "--listen",
        &unix,
    ])
    .start();
    let address = server.address();
    server.endpoint();
    let to = format!("UDP:{address}");
    assert_eq!(
        output_of(&socat, &["-t", "1", "-", &to], "我爱Python"),
        "我爱Python"
    );
    let to = format!(
        "UNIX-SENDTO:{},bind={}",
        server_path.display(),
        own.display()
    );
    assert_eq!(
        output_of(&socat, &["-t", "1", "-", &to], "你是who?"),
        "你是who?"
    );
    stop(server);
}

/// The tutorials' receiver of broadcasts, as they wrote it, on a port of its own.
const PYTHON_LISTENER: &str = r#"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", 0))
print(s.getsockname()[1], flush=True)
s.settimeout(30)
data, address = s.recvfrom(65535)
s.sendto(b"Got it: " + data, address)
"#;

#[test]
fn pythons_listener_hears_the_broadcast() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let Some(python) = peer("python3") else {
        return;
    };
    let mut command = Command::new(python);
    let command = command.args(["-c", PYTHON_LISTENER]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut port)
        .unwrap();
    let port = port.trim();
    let args = [
        "broadcast",
        port,
        "--address",
        "127.255.255.255",
        "--wait",
        "1s",
    ];
    let run = greenloop(args).run();
    assert_eq!(
        run.succeeds(),
        format!("127.0.0.1:{port}: Got it: Hi\n1 answer\n")
    );
    assert!(child.wait().unwrap().success());
}
