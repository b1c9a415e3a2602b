//! `greenloop listen`: one client or many, with senders or raw.

use crate::connect::{await_shown, terminal};
use crate::serve::connect;
use crate::support::{Folder, PATIENCE, Run, Running, greenloop, peer};
use rustix::process::Signal;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::process::{Command, Stdio};

fn listen(args: &[&str]) -> (Running, SocketAddr) {
    let mut listener = greenloop([&["listen", "127.0.0.1:0"], args].concat()).start();
    let address = listener.address();
    (listener, address)
}

fn stop(listener: Running) -> Run {
    listener.signal(Signal::TERM);
    listener.finish()
}

/// All that comes until the end.
fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the end comes");
    text
}

#[test]
fn one_shot_server_prints_answers_and_ends() {
    let (listener, address) = listen(&["--reply", "thank you !", "--once"]);
    let mut client = connect(address);
    let sender = client.local_addr().unwrap();
    client.write_all("我爱Python".as_bytes()).unwrap();
    // Our direction stays open: the answer comes all the same.
    assert_eq!(rest(&mut client), "thank you !");
    let run = listener.finish();
    let printed = run.succeeds().lines().last().unwrap().to_owned();
    assert_eq!(printed, format!("{sender}: 我爱Python"));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn one_shot_server_refuses_a_second_client() {
    let (listener, address) = listen(&["--once"]);
    let mut first = connect(address);
    first.write_all(b"first\n").unwrap();
    let mut listener = listener;
    listener.line_with("first");
    assert!(TcpStream::connect(address).is_err());
    drop(first);
    assert_eq!(listener.finish().code, 0);
}

#[test]
fn tutorials_client_is_thanked() {
    let Some(python) = peer("python3") else {
        return;
    };
    let (listener, address) = listen(&["--reply", "thank you !", "--once"]);
    let script = "import socket, sys\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)\n\
        s.settimeout(60)\n\
        s.connect(('127.0.0.1', int(sys.argv[1])))\n\
        s.send('你是who?'.encode('utf-8'))\n\
        print(s.recv(1024).decode('utf-8'))\n\
        s.close()\n";
    let output = Command::new(python)
        .args(["-c", script, &address.port().to_string()])
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"thank you !\n", "{output:?}");
    assert!(listener.finish().succeeds().ends_with(": 你是who?\n"));
}

#[test]
fn clients_are_listened_to_at_once_with_their_names() {
    let (mut listener, address) = listen(&["--reply", "ok"]);
    let mut clients: Vec<_> = (0..50).map(|_| connect(address)).collect();
    // From the last to the first, while all are open.
    for (number, client) in clients.iter_mut().enumerate().rev() {
        let text = format!("{number}\u{1b}[2J");
        client.write_all(text.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(client), "ok");
        let sender = client.local_addr().unwrap();
        assert_eq!(listener.line(), format!("{sender}: {number}\\u{{1b}}[2J"));
    }
    assert_eq!(stop(listener).code, 0);
}

#[test]
fn raw_output_is_byte_for_byte_and_nothing_else() {
    let folder = Folder::new();
    let path = folder.path().join("out");
    let data: Vec<u8> = (0..16 << 20).map(|i: u32| ((i * 31) >> 3) as u8).collect();
    let name = format!("@greenloop-listen-{}", std::process::id());
    let endpoint = format!("unix:{name}");
    let listener = greenloop(["listen", &endpoint, "--once", "--raw"])
        .stdout(File::create(&path).unwrap())
        .start();
    // Where it listens is said on standard error; connecting again shows it as well.
    let client = loop {
        let run = greenloop(["connect", &endpoint]).input(data.clone()).run();
        if !run.stderr.contains("refused") {
            break run;
        }
    };
    client.succeeds();
    let run = listener.finish();
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.stderr, format!("listening on {endpoint}\n"));
    assert!(std::fs::read(&path).unwrap() == data);
}

#[test]
fn output_is_made_safe_on_a_terminal() {
    let (mut ours, theirs) = terminal();
    let listener = greenloop(["listen", "127.0.0.1:0"]).stdout(theirs).start();
    let shown = await_shown(&mut ours, "listening on 127.0.0.1:");
    let shown = match shown.contains('\n') {
        true => shown,
        false => shown + &await_shown(&mut ours, "\n"),
    };
    let address = shown.trim_end().rsplit(' ').next().unwrap();
    connect(address.parse().unwrap())
        .write_all(b"\x1b]0;title\x07text\n")
        .unwrap();
    await_shown(&mut ours, ": \\u{1b}]0;title\\u{7}text\r\n");
    listener.signal(Signal::INT);
    assert_eq!(listener.finish().code, 0);
}

#[test]
fn unix_sockets_are_listened_on_and_their_files_removed() {
    let folder = Folder::new();
    let endpoint = format!("unix:{}", folder.path().join("s").display());
    let mut listener = greenloop(["listen", &endpoint, "--reply", "thank you !"]).start();
    assert_eq!(listener.endpoint(), endpoint);
    if let Some(socat) = peer("socat") {
        let mut client = Command::new(socat)
            .args(["-t60", "-", &endpoint.replace("unix:", "UNIX-CONNECT:")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = "你是who?\n".as_bytes();
        client.stdin.take().unwrap().write_all(input).unwrap();
        assert_eq!(client.wait_with_output().unwrap().stdout, b"thank you !");
        assert!(listener.line().ends_with(": 你是who?"));
    }
    assert_eq!(stop(listener).code, 0);
    assert_eq!(folder.names(), [""; 0]);
    // Also where nobody has come yet.
    let mut waiting = greenloop(["listen", &endpoint, "--once"]).start();
    assert_eq!(waiting.endpoint(), endpoint);
    waiting.signal(Signal::INT);
    assert_eq!(waiting.finish().code, 130);
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn signals_end_a_one_shot_server_with_their_number() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (listener, address) = listen(&["--once"]);
        let _client = connect(address);
        listener.signal(signal);
        assert_eq!(listener.finish().code, code);
    }
}

#[test]
fn reader_of_the_output_that_leaves_ends_the_listener() {
    let (reader, writer) = std::io::pipe().unwrap();
    let name = format!("unix:@greenloop-left-{}", std::process::id());
    let listener = greenloop(["listen", &name, "--raw"]).stdout(writer).start();
    drop(reader);
    loop {
        let run = greenloop(["connect", &name]).input("text").run();
        if !run.stderr.contains("refused") {
            break;
        }
    }
    assert_eq!(listener.finish().code, 141);
}

#[test]
fn places_that_cannot_be_had_are_one_line() {
    let (_listener, address) = listen(&[]);
    let taken = address.to_string();
    for once in [&[][..], &["--once"]] {
        let run = greenloop([&["listen", taken.as_str()], once].concat()).run();
        run.fails_with(1, &[&taken, "address already in use"]);
    }
    greenloop(["listen", "7788"])
        .run()
        .fails_with(2, &["has no port"]);
}

#[test]
fn silent_client_ends_a_one_shot_server_at_the_idle_timeout() {
    let (listener, address) = listen(&["--once", "--idle-timeout", "50ms"]);
    let _client = connect(address);
    listener
        .finish()
        .fails_with(1, &["127.0.0.1:", "timed out"]);
}

// Datagrams

/// `listen` on a free UDP port, and a socket that talks to it.
fn listen_udp(args: &[&str]) -> (Running, UdpSocket) {
    let mut listener = greenloop([&["listen", "udp://127.0.0.1:0"], args].concat()).start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let address = listener.address();
    socket.connect(address).expect("it is loopback");
    (listener, socket)
}

#[test]
fn each_datagram_is_printed_with_its_sender_and_answered() {
    let (mut listener, socket) = listen_udp(&["--reply", "我是Server"]);
    let sender = socket.local_addr().unwrap();
    let mut buf = [0; 100];
    for (sent, printed) in [
        ("我爱Python", "我爱Python"),
        ("", ""),
        ("\u{1b}[2J\r\n", "\\u{1b}[2J"),
    ] {
        socket.send(sent.as_bytes()).unwrap();
        assert_eq!(listener.line(), format!("{sender}: {printed}"));
        let count = socket.recv(&mut buf).unwrap();
        assert_eq!(&buf[..count], "我是Server".as_bytes());
    }
    assert_eq!(stop(listener).code, 0);
}

#[test]
fn one_datagram_ends_it_if_asked_for() {
    let (listener, socket) = listen_udp(&["--once", "--reply", "thank you !"]);
    let sender = socket.local_addr().unwrap();
    socket.send(b"first").unwrap();
    socket.send(b"second").unwrap_or_default();
    let mut buf = [0; 100];
    assert_eq!(socket.recv(&mut buf).unwrap(), 11);
    let run = listener.finish();
    let printed: Vec<_> = run.succeeds().lines().skip(1).collect();
    assert_eq!(printed, [format!("{sender}: first")]);
}

#[test]
fn largest_datagram_is_whole() {
    let folder = Folder::new();
    let path = folder.path().join("out");
    let data: Vec<u8> = (0..65_507_u32).map(|i| (i * 31) as u8).collect();
    // Standard error tells where it listens, and is read at the end: a Unix name is known.
    let name = format!("@greenloop-gram-{}", std::process::id());
    let listener = greenloop(["listen", &format!("unixgram:{name}"), "--once", "--raw"])
        .stdout(File::create(&path).unwrap())
        .start();
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name[1..]).unwrap();
    eventually_sends(|| socket.send_to_addr(&data, &address));
    assert_eq!(listener.finish().code, 0);
    assert!(std::fs::read(&path).unwrap() == data);
}

/// Sends again until somebody listens.
fn eventually_sends(send: impl Fn() -> std::io::Result<usize>) {
    let begin = std::time::Instant::now();
    while let Err(error) = send() {
        assert!(begin.elapsed() < PATIENCE, "{error}");
        std::thread::yield_now();
    }
}

#[test]
fn connect_talks_to_listen_in_datagrams() {
    let folder = Folder::new();
    let path = format!("unixgram:{}", folder.path().join("s").display());
    for endpoint in ["udp://127.0.0.1:0", &path] {
        let mut listener = greenloop(["listen", endpoint, "--reply", "ok."]).start();
        let endpoint = listener.endpoint();
        let run = greenloop(["connect", &endpoint, "--wait", "500ms"])
            .input("one\ntwo\n你是who?")
            .run();
        assert_eq!(run.succeeds(), "ok.ok.ok.");
        for said in ["one", "two", "你是who?"] {
            assert!(listener.line().ends_with(&format!(": {said}")));
        }
        assert_eq!(stop(listener).code, 0);
    }
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn waiting_for_one_datagram_is_interrupted_and_leaves_no_file() {
    let folder = Folder::new();
    let path = format!("unixgram:{}", folder.path().join("s").display());
    let mut listener = greenloop(["listen", &path, "--once"]).start();
    assert_eq!(listener.endpoint(), path);
    listener.signal(Signal::INT);
    assert_eq!(listener.finish().code, 130);
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn socat_sends_datagrams() {
    let Some(socat) = peer("socat") else { return };
    let (listener, socket) = listen_udp(&["--once"]);
    let address = socket.peer_addr().unwrap();
    let mut client = Command::new(socat)
        .args(["-u", "-", &format!("UDP-SENDTO:{address}")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let input = "你是who?\n".as_bytes();
    client.stdin.take().unwrap().write_all(input).unwrap();
    assert!(listener.finish().succeeds().ends_with(": 你是who?\n"));
    assert!(client.wait().unwrap().success());
}
