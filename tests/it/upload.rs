//! Uploads: whole or not at all, in their folder, whatever the other side says.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use greenloop::apps::upload::{Sent, UploadClient, UploadHandler};
use greenloop::net::Addr;
use greenloop::proto::crc32::Crc32;
use greenloop::proto::upload::{Answer, Header, Status};
use greenloop::server::{ServerConfig, ServerHandle, StreamServer};
use greenloop::{join_all, spawn};

use crate::peers::peer;
use crate::support::{eventually, on_workers};

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of the test's own, removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gl-upload-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A file to send, outside the server's folder.
    fn source(&self, content: &[u8]) -> PathBuf {
        let path = self.0.join("source.bin");
        std::fs::write(&path, content).unwrap();
        path
    }

    fn inbox(&self) -> PathBuf {
        self.0.join("in")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// All names in a folder, hidden ones too.
fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap();
    let name = |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name();
    let mut names: Vec<_> = entries
        .map(|e| name(e).to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn serve(handler: UploadHandler) -> ServerHandle {
    StreamServer::bind("127.0.0.1:0")
        .unwrap()
        .start(handler)
        .unwrap()
}

/// Waits until no upload is running, and with it no file of one.
fn stopped(server: &ServerHandle) {
    let report = server.stop_now().unwrap();
    assert_eq!((report.stuck, report.panicked), (0, 0), "{report:?}");
}

/// The other side, byte by byte.
struct Peer(StdStream);

impl Peer {
    fn connect(addr: Addr) -> Self {
        let stream = StdStream::connect(addr.ip().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn frame(&mut self, message: &[u8]) {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&length[..], message].concat()).unwrap();
    }

    fn header(&mut self, name: &str, size: u64) {
        let name = name.to_owned();
        self.frame(&Header { size, name }.to_message().unwrap());
    }

    fn answer(&mut self) -> Answer {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut message).unwrap();
        Answer::from_message(&message).unwrap()
    }

    fn send(&mut self, name: &str, content: &[u8]) -> Answer {
        self.header(name, content.len() as u64);
        let answer = self.answer();
        if answer.status != Status::Ok {
            return answer;
        }
        self.0.write_all(content).unwrap();
        self.frame(&sum(content));
        self.answer()
    }
}

fn sum(content: &[u8]) -> [u8; 4] {
    let mut sum = Crc32::new();
    sum.update(content);
    sum.value().to_be_bytes()
}

fn content(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 8) ^ seed) as u8)
        .collect()
}

#[test]
fn files_of_every_size_arrive_over_one_connection() {
    on_workers!({
        let folder = Folder::new();
        let unix = format!("unix:{}", folder.0.join("socket").display());
        let server = ServerConfig::new()
            .bind_all(["127.0.0.1:0", &unix])
            .unwrap();
        let handler = UploadHandler::open(folder.inbox()).unwrap();
        let server = server.start(handler).unwrap();
        for address in [server.addr().to_string(), unix] {
            let mut client = UploadClient::connect(address, PATIENCE).unwrap();
            for size in [0, 1, 65_535, 65_536, 65_537, 3_000_000] {
                let source = folder.source(&content(size, size));
                let mut told = Vec::new();
                let sent = client
                    .send(&source, Some("a.bin"), |sent, _| told.push(sent))
                    .unwrap();
                let Sent::Stored { name, size: stored } = sent else {
                    panic!("{sent:?}")
                };
                assert_eq!(stored, size as u64);
                assert_eq!((told[0], *told.last().unwrap()), (0, size as u64));
                let got = std::fs::read(folder.inbox().join(name)).unwrap();
                assert!(got == content(size, size), "{size}");
            }
        }
        stopped(&server);
        assert_eq!(names(&folder.inbox()).len(), 12);
    });
}

#[test]
fn uploads_of_one_name_at_once_never_mix() {
    on_workers!({
        let folder = Folder::new();
        let server = serve(UploadHandler::open(folder.inbox()).unwrap());
        let sending: Vec<_> = (0..20_u8)
            .map(|n| {
                let path = folder.0.join(format!("source-{n}"));
                std::fs::write(&path, vec![n; 200_000 + usize::from(n)]).unwrap();
                let address = server.addr();
                spawn(move || {
                    let mut client = UploadClient::connect(address, PATIENCE).unwrap();
                    client.send(&path, Some("one.tar.gz"), |_, _| {}).unwrap()
                })
            })
            .collect();
        for sent in join_all(sending) {
            assert!(matches!(sent.unwrap(), Sent::Stored { .. }));
        }
        stopped(&server);
        let mut seen = Vec::new();
        for name in names(&folder.inbox()) {
            assert!(
                name.starts_with("one.") && name.ends_with("tar.gz"),
                "{name}"
            );
            let got = std::fs::read(folder.inbox().join(&name)).unwrap();
            let n = got[0];
            assert!(got == vec![n; 200_000 + usize::from(n)], "{name}");
            seen.push(n);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn overwrite_replaces_and_otherwise_names_are_numbered() {
    let folder = Folder::new();
    let handler = UploadHandler::open(folder.inbox()).unwrap();
    let server = serve(handler.clone());
    let mut peer = Peer::connect(server.addr());
    for (content, name) in [(b"1", "a.txt"), (b"2", "a.1.txt"), (b"3", "a.2.txt")] {
        let answer = peer.send("a.txt", content);
        assert_eq!(answer, Answer::new(Status::Ok, name));
    }
    let replacing = serve(handler.overwrite(true));
    let answer = Peer::connect(replacing.addr()).send("a.txt", b"4");
    assert_eq!(answer, Answer::new(Status::Ok, "a.txt"));
    // A folder is not replaced.
    std::fs::create_dir(folder.inbox().join("d")).unwrap();
    let answer = Peer::connect(replacing.addr()).send("d", b"5");
    assert_eq!(answer.status, Status::Failed);
    stopped(&server);
    stopped(&replacing);
    let read = |name| std::fs::read(folder.inbox().join(name)).unwrap();
    assert_eq!(
        (read("a.txt"), read("a.1.txt")),
        (b"4".to_vec(), b"2".to_vec())
    );
    assert_eq!(names(&folder.inbox()), ["a.1.txt", "a.2.txt", "a.txt", "d"]);
}

#[test]
fn names_of_strangers_stay_in_the_folder() {
    let folder = Folder::new();
    let server = serve(UploadHandler::open(folder.inbox()).unwrap());
    let long = format!("{}.txt", "n".repeat(296));
    let cut = format!("{}.txt", "n".repeat(241));
    let mut peer = Peer::connect(server.addr());
    for (asked, got) in [
        ("../x", "x"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\y", "y"),
        ("a\0b", "a_b"),
        ("c\u{1b}[2J\n", "c_[2J_"),
        (".bashrc", "_bashrc"),
        (".upload-1-1.part", "_upload-1-1.part"),
        ("我爱Python.txt", "我爱Python.txt"),
        (&long, &cut),
    ] {
        assert_eq!(
            peer.send(asked, b"text"),
            Answer::new(Status::Ok, got),
            "{asked:?}"
        );
    }
    for asked in ["", ".", "..", "dir/", "../..", " ", "/"] {
        assert_eq!(
            peer.send(asked, b"text").status,
            Status::BadName,
            "{asked:?}"
        );
    }
    stopped(&server);
    assert_eq!(names(&folder.inbox()).len(), 9);
    assert_eq!(names(&folder.0), ["in"]);
}

#[test]
fn what_is_too_large_is_refused_before_a_byte_comes() {
    let folder = Folder::new();
    let server = serve(UploadHandler::open(folder.inbox()).unwrap().size_max(5));
    let mut peer = Peer::connect(server.addr());
    for size in [6, 1 << 40, 1 << 63, u64::MAX] {
        peer.header("a", size);
        let answer = peer.answer();
        assert_eq!(answer.status, Status::TooLarge);
        assert_eq!(
            answer.text,
            format!("{size} bytes, and at most 5 are taken")
        );
    }
    assert_eq!(peer.send("a", b"12345").status, Status::Ok);
    stopped(&server);
    assert_eq!(names(&folder.inbox()), ["a"]);
}

#[test]
fn headers_that_make_no_sense_are_answered_and_end_the_connection() {
    let folder = Folder::new();
    let server = serve(UploadHandler::open(folder.inbox()).unwrap());
    let no_text = b"\x01\0\0\0\0\0\0\0\x01\xff";
    let framed = |message: &[u8]| [&(message.len() as u32).to_be_bytes()[..], message].concat();
    for (bytes, text) in [
        (u32::MAX.to_be_bytes().to_vec(), "4294967295 bytes"),
        (framed(b""), "too short"),
        (framed(b"\x01\0\0"), "too short"),
        (framed(b"\x02"), "version 2"),
        (framed(no_text), "UTF-8"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "bytes"),
    ] {
        let mut peer = Peer::connect(server.addr());
        peer.0.write_all(&bytes).unwrap();
        let answer = peer.answer();
        assert_eq!(answer.status, Status::BadRequest);
        assert!(answer.text.contains(text), "{answer:?}");
        assert_eq!(peer.0.read(&mut [0]).unwrap_or(0), 0, "closed");
    }
    stopped(&server);
    assert!(names(&folder.inbox()).is_empty());
}

#[test]
fn other_bytes_than_were_sent_are_noticed() {
    let folder = Folder::new();
    let server = serve(UploadHandler::open(folder.inbox()).unwrap());
    let mut peer = Peer::connect(server.addr());
    peer.header("a", 4);
    assert_eq!(peer.answer().status, Status::Ok);
    peer.0.write_all(b"texT").unwrap();
    peer.frame(&sum(b"text"));
    assert_eq!(peer.answer().status, Status::Differs);
    assert!(names(&folder.inbox()).is_empty());
    // Both know where they are.
    assert_eq!(peer.send("a", b"text").status, Status::Ok);
    stopped(&server);
    assert_eq!(names(&folder.inbox()), ["a"]);
}

/// Ends of every kind at random moments, in the middle of every step.
#[test]
fn fifty_random_cuts_leave_no_file() {
    on_workers!([1, 4], {
        let mut random = Random(0x5eed);
        for round in 0..50 {
            let folder = Folder::new();
            let idle = [PATIENCE, Duration::from_millis(5)][usize::from(round % 4 == 3)];
            let server = ServerConfig::new()
                .idle_timeout(Some(idle))
                .bind("127.0.0.1:0")
                .unwrap()
                .start(UploadHandler::open(folder.inbox()).unwrap())
                .unwrap();
            let size = random.below(400_000);
            let text = content(round, size);
            let header = Header {
                size: size as u64,
                name: "cut.bin".into(),
            };
            let header = header.to_message().unwrap();
            let length = (header.len() as u32).to_be_bytes();
            let all = [
                &length[..],
                &header,
                &text,
                &4_u32.to_be_bytes(),
                &sum(&text),
            ]
            .concat();
            let mut peer = Peer::connect(server.addr());
            // Not all of it: the sum is not whole.
            let cut = random.below(all.len() - 1);
            let _ = peer.0.write_all(&all[..cut]);
            std::thread::sleep(Duration::from_micros(random.below(3000) as u64));
            match round % 4 {
                0 => drop(peer),
                1 => {
                    let socket = socket2::SockRef::from(&peer.0);
                    socket.set_linger(Some(Duration::ZERO)).unwrap();
                    drop(peer);
                }
                2 => stopped(&server),
                _ => eventually("the idle connection ends", || server.stats().open == 0),
            }
            let report = server
                .drain(Duration::from_millis(random.below(3) as u64))
                .unwrap();
            assert_eq!(report.stuck, 0);
            eventually("no part is left", || names(&folder.inbox()).is_empty());
        }
    });
}

/// A kill while all is there: the file is whole, or it is not.
#[test]
fn kill_at_the_end_leaves_all_or_nothing() {
    on_workers!([1, 4], {
        let mut random = Random(7);
        for _ in 0..50 {
            let folder = Folder::new();
            let server = serve(UploadHandler::open(folder.inbox()).unwrap());
            let mut peer = Peer::connect(server.addr());
            peer.header("a.bin", 100_000);
            peer.answer();
            let text = content(1, 100_000);
            peer.0.write_all(&text).unwrap();
            peer.frame(&sum(&text));
            std::thread::sleep(Duration::from_micros(random.below(2000) as u64));
            stopped(&server);
            let parts = || {
                names(&folder.inbox())
                    .iter()
                    .any(|name| name.contains("part"))
            };
            eventually("no part is left", || !parts());
            for name in names(&folder.inbox()) {
                assert!(std::fs::read(folder.inbox().join(name)).unwrap() == text);
            }
        }
    });
}

#[test]
fn parts_of_a_server_that_was_killed_are_removed_and_no_others() {
    let folder = Folder::new();
    let inbox = folder.inbox();
    std::fs::create_dir(&inbox).unwrap();
    for name in [".upload-1-1.part", "x.part", ".upload-notes"] {
        std::fs::write(inbox.join(name), "left").unwrap();
    }
    let server = serve(UploadHandler::open(&inbox).unwrap());
    assert_eq!(names(&inbox), [".upload-notes", "x.part"]);
    let mut peer = Peer::connect(server.addr());
    peer.header("a", 4);
    assert_eq!(peer.answer().status, Status::Ok);
    // Another server on the same folder leaves it alone.
    let other = UploadHandler::open(&inbox).unwrap();
    assert_eq!(names(&inbox).len(), 3);
    drop(other);
    peer.0.write_all(b"text").unwrap();
    peer.frame(&sum(b"text"));
    assert_eq!(peer.answer().status, Status::Ok);
    stopped(&server);
    assert_eq!(names(&inbox), [".upload-notes", "a", "x.part"]);
}

/// A file system of one mebibyte; `None` where it cannot be had.
struct Tiny(Folder);

impl Tiny {
    #[expect(
        clippy::print_stdout,
        reason = "who reads the tests' output wants to know"
    )]
    fn mount() -> Option<Self> {
        let folder = Folder::new();
        std::fs::create_dir(folder.inbox()).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder.inbox())
            .output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        if !is_mounted {
            println!("skipped: a small file system cannot be mounted here");
        }
        is_mounted.then_some(Self(folder))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.inbox()).output();
    }
}

#[test]
fn full_disk_is_a_refusal_and_leaves_nothing() {
    let Some(tiny) = Tiny::mount() else { return };
    let inbox = tiny.0.inbox();
    let server = serve(UploadHandler::open(&inbox).unwrap());
    let mut peer = Peer::connect(server.addr());
    peer.header("large", 2 << 20);
    let answer = peer.answer();
    let expected = Answer::new(Status::NoSpace, "no storage space");
    assert_eq!(answer, expected, "before a byte comes");
    // Each of the two would fit alone.
    let text = content(3, 700_000);
    let mut first = Peer::connect(server.addr());
    first.header("first", 700_000);
    assert_eq!(first.answer().status, Status::Ok);
    assert_eq!(peer.send("second", &text).status, Status::Ok);
    let _ = first.0.write_all(&text);
    assert_eq!(first.answer(), expected, "in the middle");
    drop(first);
    // And our own client is told, too, although it has much to send.
    let source = tiny.0.source(&content(4, 300_000));
    let mut client = UploadClient::connect(server.addr(), PATIENCE).unwrap();
    let sent = client.send(&source, None, |_, _| {}).unwrap();
    assert!(matches!(sent, Sent::Stored { .. }), "{sent:?}");
    let sent = client.send(&source, None, |_, _| {}).unwrap();
    assert_eq!(sent, Sent::Refused(expected));
    stopped(&server);
    assert_eq!(names(&inbox), ["second", "source.bin"]);
}

#[test]
fn clients_that_drip_are_refused() {
    let folder = Folder::new();
    let inbox = folder.inbox();
    let handler = UploadHandler::open(&inbox).unwrap();
    let config = || ServerConfig::new().idle_timeout(Some(Duration::from_millis(300)));
    let start = |config: ServerConfig, handler| config.bind("127.0.0.1:0").unwrap().start(handler);
    let server = start(config(), handler.clone().speed_min(1 << 30)).unwrap();
    let mut peer = Peer::connect(server.addr());
    peer.header("a", 1 << 20);
    assert_eq!(peer.answer().status, Status::Ok);
    let mut dripping = peer.0.try_clone().unwrap();
    // Never so long without a byte that the connection is idle.
    let drips = std::thread::spawn(move || {
        (0..2000).all(|_| {
            std::thread::sleep(Duration::from_millis(10));
            dripping.write_all(b"x").is_ok()
        })
    });
    let expected = Answer::new(Status::Failed, "slower than 1073741824 bytes a second");
    assert_eq!(peer.answer(), expected);
    assert_eq!(names(&inbox).len(), 0);
    drop(peer);
    stopped(&server);
    assert!(!drips.join().unwrap(), "it ended long before the drips");
    // Who sends fast enough is not concerned, nor anybody where it is off.
    for speed in [1024, 0] {
        let server = start(config(), handler.clone().speed_min(speed)).unwrap();
        let answer = Peer::connect(server.addr()).send("a", &content(1, 200_000));
        assert_eq!(answer.status, Status::Ok);
        stopped(&server);
    }
}

#[test]
fn client_sees_a_refusal_while_it_sends() {
    let folder = Folder::new();
    // Nothing on the disk, and far more than all buffers hold.
    let source = folder.0.join("sparse");
    std::fs::File::create(&source)
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Answer::new(Status::NoSpace, "full");
    let said = answer.clone();
    let server = std::thread::spawn(move || {
        let mut peer = Peer(listener.accept().unwrap().0);
        let mut buf = vec![0; 1000];
        peer.0
            .read_exact(&mut buf[..4 + 1 + 8 + "sparse".len()])
            .unwrap();
        peer.frame(&Answer::new(Status::Ok, "").to_message());
        peer.0.read_exact(&mut buf).unwrap();
        peer.frame(&said.to_message());
        // It reads no more until the client has had enough.
        peer.0.shutdown(Shutdown::Write).unwrap();
        let mut rest = 0_u64;
        let mut sink = vec![0; 1 << 16];
        while let Ok(count @ 1..) = peer.0.read(&mut sink) {
            rest += count as u64;
        }
        rest
    });
    let mut client = UploadClient::connect(address, PATIENCE).unwrap();
    let sent = client.send(&source, None, |_, _| {}).unwrap();
    assert_eq!(sent, Sent::Refused(answer));
    assert!(client.is_broken());
    assert!(client.send(&source, None, |_, _| {}).is_err());
    drop(client);
    assert!(server.join().unwrap() < 1 << 29, "it sent on in vain");
}

#[test]
fn client_says_what_it_cannot_send() {
    let folder = Folder::new();
    let server = serve(UploadHandler::open(folder.inbox()).unwrap());
    let mut client = UploadClient::connect(server.addr(), PATIENCE).unwrap();
    for (path, text) in [
        (folder.0.join("no"), "no such file"),
        (folder.0.clone(), "no regular file"),
        (PathBuf::from("/dev/zero"), "no regular file"),
    ] {
        let error = client.send(&path, None, |_, _| {}).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
    // None of it has touched the connection.
    let source = folder.source(b"text");
    let sent = client.send(&source, None, |_, _| {}).unwrap();
    assert!(matches!(sent, Sent::Stored { .. }));
    stopped(&server);
    let error = client.send(&source, None, |_, _| {}).unwrap_err();
    assert!(client.is_broken(), "{error}");
    let error = UploadClient::connect(server.addr(), PATIENCE).unwrap_err();
    assert!(error.is_refused(), "{error}");
}

/// The format in Python's words, as the documentation gives it, and the worst of headers.
#[test]
fn python_uploads_and_is_refused_as_documented() {
    let Some(python) = peer("python3") else {
        return;
    };
    let folder = Folder::new();
    let server = serve(UploadHandler::open(folder.inbox()).unwrap());
    let script = r#"
import os, socket, struct, sys, zlib
port = int(sys.argv[1])
def connect():
    return socket.create_connection(("127.0.0.1", port), timeout=20)
def exactly(s, n):
    b = b""
    while len(b) < n:
        piece = s.recv(n - len(b))
        assert piece, "closed"
        b += piece
    return b
def frame(b): return struct.pack(">I", len(b)) + b
def answer(s):
    b = exactly(s, struct.unpack(">I", exactly(s, 4))[0])
    return b[0], b[1:].decode()
def header(name, size): return frame(struct.pack(">BQ", 1, size) + name)
def upload(s, name, data):
    s.sendall(header(name, len(data)))
    a = answer(s)
    if a[0]: return a
    s.sendall(data + frame(struct.pack(">I", zlib.crc32(data))))
    return answer(s)
s = connect()
data = os.urandom(300000)
assert upload(s, "爱.bin".encode(), data) == (0, "爱.bin")
assert upload(s, b"empty", b"") == (0, "empty")
assert upload(s, b"../x", b"1") == (0, "x")
assert upload(s, b"/etc/absolute", b"2") == (0, "absolute")
assert upload(s, b"nul\0nul", b"3") == (0, "nul_nul")
assert upload(s, b"l" * 300, b"4") == (0, "l" * 245)
assert upload(s, b"..", b"5")[0] == 2
s.sendall(header(b"huge", 1 << 63)); assert answer(s)[0] == 3
for bad in [struct.pack(">I", 0xffffffff), frame(b""), frame(b"\x07name"), header(b"n" * 1025, 1)]:
    s = connect(); s.sendall(bad); assert answer(s)[0] == 1; assert s.recv(1) == b""
s = connect(); s.sendall(header(b"cut", 1000)); assert answer(s)[0] == 0
s.sendall(b"x" * 500); s.close()
s = connect(); s.sendall(header(b"cut", 1000)[:7]); s.close()
print(zlib.crc32(data))
"#;
    let port = server.addr().ip().unwrap().port().to_string();
    let output = Command::new(python)
        .args(["-c", script, &port])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let got = std::fs::read(folder.inbox().join("爱.bin")).unwrap();
    let value = u32::from_be_bytes(sum(&got));
    assert_eq!(text.trim(), value.to_string());
    eventually("the cut connections end", || server.stats().open == 0);
    stopped(&server);
    let long = "l".repeat(245);
    let expected = ["absolute", "empty", &long, "nul_nul", "x", "爱.bin"];
    assert_eq!(names(&folder.inbox()), expected);
    assert_eq!(names(&folder.0), ["in"]);
}

/// Marsaglia's xorshift64: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
