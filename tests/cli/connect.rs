//! `greenloop connect`: both directions at once, both ends, every kind of input.

use crate::serve::serve;
use crate::support::{Folder, PATIENCE, Run, greenloop, peer};
use rustix::process::Signal;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes in which a shift or a swap shows.
fn content(count: usize) -> Vec<u8> {
    (0..count)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 7)) as u8)
        .collect()
}

/// A plain server for one client.
fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let address = listener.local_addr().expect("it is bound").to_string();
    (listener, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let stream = listener.accept().expect("the client comes").0;
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// Both ends of a new terminal: what the user types and sees, what the program has.
pub(crate) fn terminal() -> (File, std::os::fd::OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).expect("there are terminals");
    grantpt(&ours).expect("it is ours");
    unlockpt(&ours).expect("it is ours");
    let theirs = ioctl_tiocgptpeer(&ours, flags).expect("it is unlocked");
    (ours.into(), theirs)
}

/// Reads what a terminal shows until `text` is there.
#[track_caller]
pub(crate) fn await_shown(terminal: &mut File, text: &str) -> String {
    let mut shown = Vec::new();
    let mut buf = [0; 1024];
    while !String::from_utf8_lossy(&shown).contains(text) {
        match terminal.read(&mut buf) {
            Ok(count @ 1..) => shown.extend(&buf[..count]),
            _ => panic!("{text:?} is not in {:?}", String::from_utf8_lossy(&shown)),
        }
    }
    String::from_utf8_lossy(&shown).into_owned()
}

/// `connect` with its output in a file, which is read at the end.
fn connect_to_file(args: &[&str], input: Vec<u8>) -> (Run, Vec<u8>) {
    let folder = Folder::new();
    let path = folder.path().join("out");
    let out = File::create(&path).expect("the folder is ours");
    let run = greenloop([&["connect"], args].concat())
        .input(input)
        .stdout(out)
        .run();
    (run, std::fs::read(path).expect("it was made"))
}

// Streams

#[test]
fn sixteen_mebibytes_pass_both_ways_at_once() {
    let (server, address) = serve("echo", &[]);
    let data = content(16 << 20);
    let (run, back) = connect_to_file(&[&address.to_string()], data.clone());
    run.succeeds();
    assert!(back == data, "{} bytes came back", back.len());
    server.signal(Signal::TERM);
    assert_eq!(server.finish().code, 0);
}

#[test]
fn file_as_input_is_sent_whole_and_ends_our_direction() {
    let (listener, address) = listen();
    let folder = Folder::new();
    let (path, data) = (folder.path().join("in"), content(1 << 20));
    std::fs::write(&path, &data).unwrap();
    let client = greenloop(["connect", &address])
        .stdin(File::open(path).unwrap())
        .start();
    let mut stream = accept(&listener);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert!(all == data);
    // Half closed: the answer still comes.
    stream.write_all("我爱Python".as_bytes()).unwrap();
    drop(stream);
    assert_eq!(client.finish().succeeds(), "我爱Python");
}

#[test]
fn peer_that_ends_first_still_gets_the_whole_input() {
    let (listener, address) = listen();
    let data = content(8 << 20);
    let client = greenloop(["connect", &address]).input(data.clone()).start();
    let mut stream = accept(&listener);
    stream.write_all(b"enough\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // Longer than connect waits for input: this is under way.
    thread::sleep(Duration::from_millis(1500));
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert!(all == data, "{} of {} bytes", all.len(), data.len());
    assert_eq!(client.finish().succeeds(), "enough\n");
}

#[test]
fn peer_that_closes_ends_it_though_the_input_is_open() {
    let (listener, address) = listen();
    let (reader, writer) = std::io::pipe().unwrap();
    let client = greenloop(["connect", &address, "--wait", "100ms"])
        .stdin(reader)
        .start();
    accept(&listener).write_all(b"bye").unwrap();
    assert_eq!(client.finish().succeeds(), "bye");
    drop(writer);
}

#[test]
fn what_a_peer_refuses_to_read_is_an_error() {
    let (listener, address) = listen();
    let client = greenloop(["connect", &address])
        .input(content(8 << 20))
        .start();
    // Closed with unread input: the system resets the connection.
    drop(accept(&listener));
    let run = client.finish();
    run.fails_with(1, &[&address]);
}

#[test]
fn invalid_text_and_zero_bytes_pass_into_a_pipe() {
    let (server, address) = serve("echo", &[]);
    let data = b"\xff\xfe\0\x1b[2J\r\n\xe6\x88".to_vec();
    let (run, back) = connect_to_file(&[&address.to_string()], data.clone());
    run.succeeds();
    assert_eq!(back, data);
    drop(server);
}

#[test]
fn reader_of_the_output_that_leaves_ends_it() {
    let (listener, address) = listen();
    let (reader, writer) = std::io::pipe().unwrap();
    let client = greenloop(["connect", &address]).stdout(writer).start();
    let mut stream = accept(&listener);
    drop(reader);
    let block = content(64 * 1024);
    while stream.write_all(&block).is_ok() {}
    assert_eq!(client.finish().code, 141);
}

#[test]
fn full_disk_is_one_line() {
    let (listener, address) = listen();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let client = greenloop(["connect", &address]).stdout(full).start();
    accept(&listener).write_all(b"text").unwrap();
    let run = client.finish();
    run.fails_with(1, &["standard output", "no space left"]);
}

#[test]
fn tutorials_greeting_is_had_through_connect() {
    let (_server, address) = serve("hello", &["--reply", "{} 是的呢"]);
    let run = greenloop(["connect", &address.to_string()])
        .input("你是who?")
        .run();
    assert_eq!(run.succeeds(), "hello!你是who? 是的呢");
}

#[test]
fn peers_that_cannot_be_reached_are_one_line() {
    for (endpoint, part) in [
        ("127.0.0.1:1", "127.0.0.1:1: connection refused"),
        ("nosuch.invalid:1", "resolving nosuch.invalid"),
        ("unix:/nonexistent", "no such file"),
        ("unixgram:/nonexistent", "no such file"),
        ("udp://nosuch.invalid:1", "nosuch.invalid"),
    ] {
        let run = greenloop(["connect", endpoint]).run();
        run.fails_with(1, &[part]);
        assert_eq!(run.stdout, "");
    }
    greenloop(["connect", "localhost"])
        .run()
        .fails_with(2, &["has no port"]);
}

#[test]
fn silent_peer_ends_it_at_the_idle_timeout() {
    let (listener, address) = listen();
    let client = greenloop(["connect", &address, "--idle-timeout", "100ms"]).start();
    let _stream = accept(&listener);
    client
        .finish()
        .fails_with(1, &["nothing came or went for 100ms"]);
}

#[test]
fn signals_end_it_with_their_number() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (listener, address) = listen();
        let (reader, _writer) = std::io::pipe().unwrap();
        let mut client = greenloop(["connect", &address]).stdin(reader).start();
        accept(&listener).write_all(b"ready\n").unwrap();
        let _held = listener;
        assert_eq!(client.line(), "ready");
        client.signal(signal);
        let run = client.finish();
        assert_eq!((run.code, run.stderr.as_str()), (code, ""));
    }
}

// Terminals

#[test]
fn on_a_terminal_lines_are_sent_and_answers_made_safe() {
    let (listener, address) = listen();
    let (mut ours, theirs) = terminal();
    let client = greenloop(["connect", &address])
        .stdin(theirs.try_clone().unwrap())
        .stdout(theirs)
        .start();
    let mut stream = accept(&listener);
    ours.write_all("你是who?\n".as_bytes()).unwrap();
    let mut line = vec![0; "你是who?\n".len()];
    stream.read_exact(&mut line).unwrap();
    assert_eq!(line, "你是who?\n".as_bytes());
    // A character in two pieces, and what would clear the screen.
    stream.write_all(b"\x1b[2J\xe6\x88").unwrap();
    let shown = await_shown(&mut ours, "\\u{1b}[2J");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    stream.write_all(b"\x91\xff!\r\n").unwrap();
    await_shown(&mut ours, "我\\xff!\r\n");
    // Ctrl-D ends our direction alone.
    ours.write_all(b"\x04").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    stream.write_all(b"bye\n").unwrap();
    await_shown(&mut ours, "bye");
    drop(stream);
    assert_eq!(client.finish().code, 0);
}

#[test]
fn peers_end_is_noticed_at_once_on_a_terminal() {
    let (listener, address) = listen();
    let (_ours, theirs) = terminal();
    let client = greenloop(["connect", &address, "--wait", "1h"])
        .stdin(theirs)
        .start();
    accept(&listener).write_all(b"bye").unwrap();
    assert_eq!(client.finish().succeeds(), "bye");
}

// Datagrams and Unix sockets

#[test]
fn lines_are_datagrams_and_answers_are_waited_for() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    let client = greenloop(["connect", &address, "--wait", "500ms"])
        .input("client1\n你是who?\nlast")
        .start();
    let mut buf = [0; 100];
    for line in ["client1\n", "你是who?\n", "last"] {
        let (count, from) = socket.recv_from(&mut buf).unwrap();
        assert_eq!(&buf[..count], line.as_bytes());
        socket.send_to(b"", from).unwrap(); // is one, and no end
        let answer = [b"Hello, ", line.as_bytes()].concat();
        socket.send_to(&answer, from).unwrap();
    }
    let run = client.finish();
    assert_eq!(
        run.succeeds(),
        "Hello, client1\nHello, 你是who?\nHello, last"
    );
}

#[test]
fn what_is_written_without_a_line_end_is_sent_too() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    let (reader, mut writer) = std::io::pipe().unwrap();
    let client = greenloop(["connect", &address, "--wait", "10ms"])
        .stdin(reader)
        .start();
    writer.write_all(b"client1").unwrap();
    let mut buf = vec![0; 65_536];
    assert_eq!(socket.recv(&mut buf).unwrap(), 7);
    // The most that one can hold, and what is over.
    let data = content(65_507 + 10)
        .iter()
        .map(|b| b | 0x80)
        .collect::<Vec<_>>();
    writer.write_all(&data).unwrap();
    let (mut all, mut count) = (Vec::<u8>::new(), 0);
    while all.len() < data.len() {
        let size = socket.recv(&mut buf).unwrap();
        all.extend(&buf[..size]);
        count += 1;
    }
    assert!(all == data && count >= 2);
    drop(writer);
    assert_eq!(client.finish().code, 0);
}

#[test]
fn udp_port_without_anybody_is_one_line() {
    // Taken, so that nobody else gets it; connected elsewhere, so that it refuses.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect("127.0.0.1:1").unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    let run = greenloop(["connect", &address]).input("hello\n").run();
    run.fails_with(1, &[&address, "connection refused"]);
}

#[test]
fn unix_datagrams_are_answered() {
    let folder = Folder::new();
    let path = folder.path().join("s");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = greenloop(["connect", &format!("unixgram:{}", path.display())])
        .input("我爱Python\n")
        .arg("--wait=300ms")
        .start();
    let mut buf = [0; 100];
    let (count, from) = socket.recv_from(&mut buf).unwrap();
    assert_eq!(&buf[..count], "我爱Python\n".as_bytes());
    let from: std::os::unix::net::SocketAddr = from;
    socket.send_to_addr(b"yes\n", &from).unwrap();
    assert_eq!(client.finish().succeeds(), "yes\n");
}

// Real peers

/// A peer that listens on a free port with these arguments, and says so.
fn real_server(program: &std::path::Path, args: &[&str]) -> Child {
    Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it was found")
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let (listener, _) = listen();
    listener.local_addr().expect("it is bound").port()
}

/// Sends and takes at once, as the other side of `connect` does.
fn exchange(server: &mut Child, data: Vec<u8>) -> thread::JoinHandle<Vec<u8>> {
    let mut stdin = server.stdin.take().expect("it is piped");
    thread::spawn(move || stdin.write_all(&data));
    let mut stdout = server.stdout.take().expect("it is piped");
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = stdout.read_to_end(&mut all);
        all
    })
}

/// Connects again until somebody listens.
pub(crate) fn connect_when_there(args: &[&str], input: &[u8]) -> (Run, Vec<u8>) {
    let begin = Instant::now();
    loop {
        let (run, out) = connect_to_file(args, input.to_vec());
        let is_early = run.stderr.contains("refused") || run.stderr.contains("no such file");
        if !is_early || begin.elapsed() > PATIENCE {
            return (run, out);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// So many bytes to a peer that is started for it, and so many back, at once.
fn exchange_with(program: &str, args: &[&str], own: &[&str], to: usize, from: usize) {
    let Some(program) = peer(program) else { return };
    let (to, from) = (content(to), content(from));
    let mut server = real_server(&program, args);
    let got = exchange(&mut server, from.clone());
    let (run, out) = connect_when_there(own, &to);
    run.succeeds();
    assert!(out == from, "{} of {} came", out.len(), from.len());
    let got = got.join().expect("it only reads");
    assert!(got == to, "{} of {} went", got.len(), to.len());
    let _ = server.kill();
    let _ = server.wait();
}

pub(crate) fn two_ways_with(program: &str, args: &[&str], own: &[&str]) {
    exchange_with(program, args, own, 16 << 20, (16 << 20) + 1);
}

#[test]
fn two_ways_with_socat() {
    let port = free_port();
    let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr");
    two_ways_with(
        "socat",
        &["-t60", "-", &listen],
        &[&format!("127.0.0.1:{port}")],
    );
}

/// One way at a time: ncat forgets what it has still to send when its peer's input ends.
#[test]
fn each_way_with_ncat() {
    for (way, to, from) in [("--recv-only", 16 << 20, 0), ("--send-only", 0, 16 << 20)] {
        let port = free_port().to_string();
        let args = ["-l", way, "127.0.0.1", &port];
        exchange_with("ncat", &args, &[&format!("127.0.0.1:{port}")], to, from);
    }
}

#[test]
fn two_ways_with_socat_over_a_unix_socket() {
    let folder = Folder::new();
    let path = folder.path().join("s").display().to_string();
    let listen = format!("UNIX-LISTEN:{path}");
    two_ways_with("socat", &["-t60", "-", &listen], &[&format!("unix:{path}")]);
}
