//! Frames on connections: kept apart, limited, and never taken for whole when they are not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use greenloop::net::{
    TcpListener, TcpStream, UnixStream, read_frame, read_frame_deadline, write_frame,
};
use greenloop::testkit::stream_pair;
use greenloop::{Deadline, spawn};

use crate::peers::peer;
use crate::support::on_workers;

fn pair() -> (TcpStream, TcpStream) {
    let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn frames_of_every_size_arrive_one_by_one() {
    on_workers!({
        let (mut client, mut server) = pair();
        let sizes = [0, 1, 255, 256, 65_535, 65_536, 65_537, 1 << 20, 0, 3];
        let sending = spawn(move || {
            for size in sizes {
                write_frame(&mut client, &vec![size as u8; size]).unwrap();
            }
        });
        for size in sizes {
            let message = read_frame(&mut server, 1 << 20).unwrap().unwrap();
            assert_eq!(message.len(), size);
            assert!(message.iter().all(|b| *b == size as u8));
        }
        sending.join().unwrap();
        assert_eq!(read_frame(&mut server, 1).unwrap(), None);
    });
}

#[test]
fn frames_pass_unix_sockets_and_memory() {
    let (mut a, mut b) = UnixStream::pair().unwrap();
    write_frame(&mut a, "我爱".as_bytes()).unwrap();
    let got = read_frame(&mut b, 6).unwrap();
    assert_eq!(got.as_deref(), Some("我爱".as_bytes()));
    // A pipe of one byte: every piece is torn.
    let (mut a, mut b) = stream_pair(1);
    let sending = spawn(move || write_frame(&mut a, b"hello"));
    let got = read_frame(&mut b, 5).unwrap();
    assert_eq!(got.as_deref(), Some(&b"hello"[..]));
    sending.join().unwrap().unwrap();
}

#[test]
fn cut_frames_are_an_early_end() {
    for cut in 1..9 {
        let (mut client, mut server) = pair();
        client.write_all(&b"\0\0\0\x05hello"[..cut]).unwrap();
        drop(client);
        let error = read_frame(&mut server, 64).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{cut}");
    }
}

#[test]
fn claims_over_the_limit_are_refused_at_once_and_not_allocated() {
    let (mut client, mut server) = pair();
    client.write_all(&u32::MAX.to_be_bytes()).unwrap();
    let error = read_frame(&mut server, 1 << 20).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(
        greenloop::Error::from(error).to_string(),
        "a frame of 4294967295 bytes, and at most 1048576 may be"
    );
}

/// 4 GiB are allowed and announced, and 10 bytes come.
#[test]
fn memory_is_taken_as_the_bytes_come() {
    let (mut client, mut server) = pair();
    let claim = u32::MAX.to_be_bytes();
    client
        .write_all(&[&claim[..], b"ten bytes!"].concat())
        .unwrap();
    drop(client);
    let before = peak_kib();
    let error = read_frame(&mut server, u32::MAX as usize).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    // Not even addresses were asked for. (Others of this process may, but not so many.)
    assert!(peak_kib() < before + (2 << 20), "{before} {}", peak_kib());
}

/// The most address space that this process has had.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn one_limit_holds_for_the_whole_frame() {
    let (mut client, mut server) = pair();
    // Each piece comes in time, the frame never.
    let dripping = spawn(move || {
        client.write_all(&100_u32.to_be_bytes()).unwrap();
        while client.write_all(b"x").is_ok() {
            let _ = greenloop::sleep(Duration::from_millis(5));
        }
    });
    let limit = Deadline::after(Duration::from_millis(50));
    let error = read_frame_deadline(&mut server, 100, limit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(server);
    dripping.join().unwrap();
}

/// Python's own words for it, in both directions.
#[test]
fn python_frames_are_ours() {
    let Some(python) = peer("python3") else {
        return;
    };
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let script = r#"
import socket, struct, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def exactly(n):
    b = b""
    while len(b) < n:
        b += s.recv(n - len(b))
    return b
words = ["你是who?".encode(), b"", b"x" * 100000]
s.sendall(b"".join(struct.pack(">I", len(w)) + w for w in words))
for w in words:
    assert exactly(struct.unpack(">I", exactly(4))[0]) == w
print("same")
"#;
    let child = Command::new(python)
        .args([
            "-c",
            script,
            &listener.local_addr().unwrap().port().to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (stream, _): (StdStream, _) = listener.accept().unwrap();
    let mut stream = TcpStream::from_std(stream).unwrap();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let message = read_frame(&mut stream, 100_000).unwrap().unwrap();
        sizes.push(message.len());
        write_frame(&mut stream, &message).unwrap();
    }
    assert_eq!(sizes, ["你是who?".len(), 0, 100_000]);
    greenloop::net::Stream::shutdown(&mut stream, Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "same\n");
}
