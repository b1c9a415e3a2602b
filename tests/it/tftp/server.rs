//! The server against clients that are strange, hostile, or gone: raw sockets.

use std::fs;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use greenloop::apps::tftp::{Direction, Outcome, Server};
use greenloop::proto::tftp::{ErrorCode, Limits, Mode, Packet, Request, Retry};

use super::{Dice, Site, client};
use crate::support::eventually;

/// A client made by hand.
struct Probe {
    socket: UdpSocket,
    server: SocketAddr,
    /// Where the transfer is.
    transfer: SocketAddr,
    buffer: Vec<u8>,
}

/// Longer than a busy machine needs for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Probe {
    fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            server,
            transfer: server,
            buffer: vec![0; 65_536],
        }
    }

    fn ask(&self, read: bool, file: &[u8], options: &[(&str, &str)]) {
        let request = Request {
            file,
            mode: Mode::Octet,
            options: options
                .iter()
                .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
                .collect(),
        };
        let packet = if read {
            Packet::Read(request)
        } else {
            Packet::Write(request)
        };
        self.socket
            .send_to(&packet.to_bytes(), self.server)
            .unwrap();
    }

    fn say(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.transfer).unwrap();
    }

    fn ack(&self, block: u16) {
        self.say(&Packet::Ack { block }.to_bytes());
    }

    /// The next packet, from wherever.
    fn hear(&mut self) -> Packet<'_> {
        let (length, from) = self.socket.recv_from(&mut self.buffer).unwrap();
        self.transfer = from;
        Packet::parse(&self.buffer[..length]).unwrap()
    }

    #[track_caller]
    fn hear_error(&mut self) -> (ErrorCode, String) {
        match self.hear() {
            Packet::Error { code, text } => (code, String::from_utf8(text.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn hear_block(&mut self, number: u16) -> Vec<u8> {
        match self.hear() {
            Packet::Data { block, bytes } if block == number => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn hear_ack(&mut self, number: u16) {
        assert_eq!(self.hear(), Packet::Ack { block: number });
    }

    /// What comes within a while, which is nothing if all is well.
    fn hear_more(&mut self, limit: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(limit)).unwrap();
        let more = self.socket.recv_from(&mut self.buffer);
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        more.ok().map(|(length, _)| self.buffer[..length].to_vec())
    }
}

fn data(block: u16, bytes: &[u8]) -> Vec<u8> {
    Packet::Data { block, bytes }.to_bytes()
}

/// Nothing is sent again while a test looks.
fn patient() -> Retry {
    Retry::new(Duration::from_secs(20), 1)
}

#[test]
fn names_that_lead_out_are_refused_whatever_they_look_like() {
    let site = Site::new();
    fs::write(site.root().join("../outside"), "secret").unwrap();
    fs::create_dir(site.root().join("sub")).unwrap();
    symlink("../../outside", site.root().join("sub/out")).unwrap();
    symlink("/etc/passwd", site.root().join("passwd")).unwrap();
    symlink("..", site.root().join("up")).unwrap();
    let server = site.start(|server| server.writable(true).overwrite(true));
    let mut probe = Probe::new(server.addr());
    for file in [
        &b"../outside"[..],
        b"/../outside",
        b"sub/../../outside",
        b"..\\outside",
        b"sub/out",
        b"passwd",
        b"up/outside",
        b"up/new",
        b"/etc/passwd",
        b"//etc/passwd",
        b"/proc/self/environ",
        b".hidden",
        b"a\x1b[2Jb",
        b".",
        b"/",
        b"sub",
        b"sub/",
    ] {
        for read in [true, false] {
            probe.ask(read, file, &[]);
            let (code, text) = probe.hear_error();
            let allowed = [ErrorCode::Access, ErrorCode::NotFound];
            assert!(allowed.contains(&code), "{file:?}: {code:?} {text}");
            assert!(!text.contains("root") && !text.contains('\x1b'), "{text}");
        }
    }
    assert_eq!(fs::read(site.root().join("../outside")).unwrap(), b"secret");
    assert!(!site.root().join("../new").exists());
    eventually("all are counted", || server.counts().refused == 17 * 2);
}

#[test]
fn links_that_stay_inside_and_slashes_before_names_are_served() {
    let site = Site::new();
    fs::create_dir(site.root().join("sub")).unwrap();
    site.write("sub/file", b"text");
    symlink("sub/file", site.root().join("link")).unwrap();
    let server = site.start(|server| server);
    let client = client(server.addr());
    for name in ["link", "/link", "/sub/file", "sub//file", "./sub/./file"] {
        client.get(name, site.local("file")).unwrap();
        assert_eq!(site.read_local("file"), b"text", "{name}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_without_being_opened() {
    let site = Site::new();
    let fifo = site.root().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(site.root().join("socket")).unwrap();
    symlink("/dev/zero", site.root().join("zero")).unwrap();
    let server = site.start(|server| server.writable(true).overwrite(true));
    let mut probe = Probe::new(server.addr());
    for file in ["fifo", "socket", "zero"] {
        for read in [true, false] {
            probe.ask(read, file.as_bytes(), &[]);
            let (code, text) = probe.hear_error();
            assert_eq!(code, ErrorCode::Access, "{file}: {text}");
        }
    }
}

#[test]
fn who_may_not_write_is_told_why() {
    let site = Site::new();
    site.write("there", b"old");
    let read_only = site.start(|server| server);
    let careful = site.start(|server| server.writable(true).file_bytes_max(1000));
    let mut probe = Probe::new(read_only.addr());
    probe.ask(false, b"new", &[]);
    let text = "access violation: the server is read-only".to_owned();
    assert_eq!(probe.hear_error(), (ErrorCode::Access, text));

    let mut probe = Probe::new(careful.addr());
    probe.ask(false, b"there", &[]);
    assert_eq!(
        probe.hear_error(),
        (ErrorCode::Exists, "file already exists".into())
    );
    probe.ask(false, b"no/folder", &[]);
    assert_eq!(
        probe.hear_error(),
        (ErrorCode::NotFound, "file not found".into())
    );
    probe.ask(false, b"large", &[("tsize", "1001")]);
    let full = (
        ErrorCode::Full,
        "disk full or allocation exceeded".to_owned(),
    );
    assert_eq!(probe.hear_error(), full);
    // Who says nothing of its size is stopped when it is too much.
    probe.ask(false, b"large", &[]);
    probe.hear_ack(0);
    probe.say(&data(1, &[0; 512]));
    probe.hear_ack(1);
    probe.say(&data(2, &[0; 512]));
    assert_eq!(probe.hear_error(), full);
    assert_eq!(site.read("there"), b"old");
    eventually("no upload is left", || site.hidden() == 0);
}

#[test]
fn a_file_that_nobody_may_read_is_refused() {
    let site = Site::new();
    site.write("secret", b"x");
    let path = site.root().join("secret");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        println!("skipped: this user may read everything");
        return;
    }
    let server = site.start(|server| server);
    let mut probe = Probe::new(server.addr());
    probe.ask(true, b"secret", &[]);
    assert_eq!(probe.hear_error().0, ErrorCode::Access);
}

#[test]
fn a_file_made_meanwhile_is_not_replaced() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    let mut probe = Probe::new(server.addr());
    probe.ask(false, b"file", &[]);
    probe.hear_ack(0);
    site.write("file", b"another's");
    probe.say(&data(1, b"ours"));
    assert_eq!(probe.hear_error().0, ErrorCode::Exists);
    assert_eq!(site.read("file"), b"another's");
    assert_eq!(site.hidden(), 0);
}

#[test]
fn an_upload_is_seen_when_it_is_whole_and_replaces_if_it_may() {
    let site = Site::new();
    site.write("file", b"old");
    let server = site.start(|server| server.writable(true).overwrite(true));
    let mut probe = Probe::new(server.addr());
    probe.ask(false, b"file", &[("tsize", "515"), ("blksize", "512")]);
    assert_eq!(
        probe.hear(),
        Packet::OptionAck(vec![(b"tsize", b"515"), (b"blksize", b"512")])
    );
    probe.say(&data(1, &[b'n'; 512]));
    probe.hear_ack(1);
    assert_eq!(site.read("file"), b"old");
    probe.say(&data(2, b"new"));
    probe.hear_ack(2);
    // Whoever has the ACK may rely on it.
    assert_eq!(site.read("file").len(), 515);
    // And gets it again.
    probe.say(&data(2, b"new"));
    probe.hear_ack(2);
}

#[test]
fn garbage_in_options_is_ignored() {
    let site = Site::new();
    site.write("file", &vec![1; 600]);
    let server = site.start(|server| server.retry(patient()));
    for options in [
        &[("blksize", "-5")][..],
        &[("blksize", "7")],
        &[("blksize", "1e3"), ("windowsize", "0")],
        &[("timeout", "0"), ("timeout", "256"), ("tsize", "big")],
        &[("blksize", ""), ("", "512"), ("odd", "1")],
        &[("windowsize", "99999999999999999999999")],
    ] {
        let mut probe = Probe::new(server.addr());
        probe.ask(true, b"file", options);
        assert_eq!(probe.hear_block(1).len(), 512, "{options:?}");
        probe.ack(1);
        assert_eq!(probe.hear_block(2).len(), 88);
        probe.ack(2);
    }
    let mut probe = Probe::new(server.addr());
    probe.ask(
        true,
        b"file",
        &[
            ("BLKSIZE", "8192"),
            ("odd", "1"),
            ("TimeOut", "3"),
            ("tsize", "0"),
        ],
    );
    let answer: Vec<(&[u8], &[u8])> = vec![
        (b"blksize", b"8192"),
        (b"timeout", b"3"),
        (b"tsize", b"600"),
    ];
    assert_eq!(probe.hear(), Packet::OptionAck(answer));
    probe.ack(0);
    assert_eq!(probe.hear_block(1).len(), 600);
    probe.ack(1);
    eventually("all succeed", || server.counts().succeeded == 7);
}

#[test]
fn limits_of_options_are_the_servers() {
    let site = Site::new();
    site.write("file", &[1; 100]);
    let limits = Limits {
        block_size_max: 1000,
        window_max: 3,
        ..Limits::default()
    };
    let server = site.start(|server| server.limits(limits));
    let mut probe = Probe::new(server.addr());
    probe.ask(true, b"file", &[("windowsize", "64"), ("blksize", "65464")]);
    let answer: Vec<(&[u8], &[u8])> = vec![(b"windowsize", b"3"), (b"blksize", b"1000")];
    assert_eq!(probe.hear(), Packet::OptionAck(answer));
}

#[test]
fn a_repeated_request_begins_no_second_transfer() {
    let site = Site::new();
    site.write("file", &vec![1; 1500]);
    let server = site.start(|server| server.writable(true).retry(patient()));
    let mut probe = Probe::new(server.addr());
    for _ in 0..3 {
        probe.ask(true, b"file", &[]);
    }
    probe.hear_block(1);
    let transfer = probe.transfer;
    probe.ask(true, b"file", &[]);
    probe.ack(1);
    probe.hear_block(2);
    assert_eq!(probe.transfer, transfer);
    eventually("all requests are seen", || server.counts().repeated == 3);
    probe.ack(2);
    probe.hear_block(3);
    probe.ack(3);
    eventually("it succeeds", || server.counts().succeeded == 1);
    let counts = server.counts();
    assert_eq!((counts.begun, counts.repeated), (1, 3));

    // The next request of the same client is a new one, also while the last one dallies.
    for round in 0..3 {
        probe.ask(false, format!("copy-{round}").as_bytes(), &[]);
        probe.hear_ack(0);
        assert_ne!(probe.transfer, transfer);
        probe.say(&data(1, b"text"));
        probe.hear_ack(1);
    }
    // One that asks for something else has left its transfer.
    probe.ask(true, b"file", &[]);
    probe.hear_block(1);
    probe.ask(true, b"copy-1", &[]);
    assert_eq!(probe.hear_block(1), b"text");
    eventually("the first is ended", || server.counts().killed == 1);
}

#[test]
fn a_duplicate_ack_is_not_answered() {
    let site = Site::new();
    site.write("file", &vec![1; 512 * 10]);
    let server = site.start(|server| server.retry(patient()));
    let mut probe = Probe::new(server.addr());
    probe.ask(true, b"file", &[]);
    probe.hear_block(1);
    for _ in 0..5 {
        probe.ack(1);
    }
    probe.hear_block(2);
    // Nor those of the past and of the future.
    for block in [0, 0, 1, 1, 3, 9, 40_000] {
        probe.ack(block);
    }
    assert_eq!(probe.hear_more(Duration::from_millis(300)), None);
    probe.ack(2);
    probe.hear_block(3);
}

#[test]
fn junk_at_a_transfer_changes_nothing() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true).retry(patient()));
    let mut probe = Probe::new(server.addr());
    probe.ask(false, b"file", &[]);
    probe.hear_ack(0);
    let request = b"\x00\x02file\x00octet\x00";
    for junk in [
        &b""[..],
        b"\x00",
        b"\x00\x03",
        b"\x00\x03\x00",
        b"\x00\x04\x00\x01",
        b"\xff\xff\xff\xff",
        b"\x00\x06x\x00",
        request,
    ] {
        probe.say(junk);
    }
    // Blocks before their turn and after it.
    for (block, length) in [(2, 512), (7, 512), (0, 512), (65_535, 3)] {
        probe.say(&data(block, &vec![9; length]));
    }
    probe.hear_ack(0);
    probe.say(&data(1, &[1; 512]));
    loop {
        match probe.hear() {
            // Said again for a block that came too early.
            Packet::Ack { block: 0 } => {}
            Packet::Ack { block: 1 } => break,
            other => panic!("{other:?}"),
        }
    }
    probe.say(&data(2, b"end"));
    probe.hear_ack(2);
    assert_eq!(site.read("file"), [&[1; 512][..], b"end"].concat());
}

#[test]
fn a_block_that_is_too_large_is_not_written() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    let mut probe = Probe::new(server.addr());
    probe.ask(false, b"file", &[("blksize", "100")]);
    probe.hear();
    probe.say(&data(1, &[1; 101]));
    let (code, text) = probe.hear_error();
    assert_eq!(
        (code, text.as_str()),
        (ErrorCode::Illegal, "a block is larger than agreed")
    );
    eventually("nothing is left", || site.hidden() == 0);
    assert!(!site.root().join("file").exists());
}

#[test]
fn what_is_no_request_is_not_answered_and_ends_nothing() {
    let site = Site::new();
    site.write("file", b"text");
    let server = site.start(|server| server);
    let mut probe = Probe::new(server.addr());
    for junk in [
        &b""[..],
        b"\x00",
        b"\x00\x01",
        b"\x00\x01file",
        b"\x00\x01file\x00octet",
        b"\x00\x05\x00\x00x\x00",
        b"\x00\x04\x00\x01",
        b"\x00\x03\x00\x01x",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 1500],
    ] {
        probe.say(junk);
    }
    assert_eq!(probe.hear_more(Duration::from_millis(200)), None);
    // A request that cannot be is told so.
    probe.say(b"\x00\x01file\x00mail\x00");
    assert_eq!(probe.hear_error().0, ErrorCode::Illegal);
    probe.say(b"\x00\x01\x00octet\x00");
    assert_eq!(probe.hear_error().0, ErrorCode::Illegal);
    probe.ask(true, b"file", &[]);
    assert_eq!(probe.hear_block(1), b"text");
}

#[test]
fn one_transfer_too_many_is_told_to_come_later() {
    let site = Site::new();
    site.write("file", &vec![1; 600]);
    let server = site.start(|server| server.transfers_max(3).retry(patient()));
    let mut probes: Vec<_> = (0..3).map(|_| Probe::new(server.addr())).collect();
    for probe in &mut probes {
        probe.ask(true, b"file", &[]);
        probe.hear_block(1);
    }
    let mut late = Probe::new(server.addr());
    late.ask(true, b"file", &[]);
    let (code, text) = late.hear_error();
    assert_eq!(code, ErrorCode::Undefined);
    assert!(text.contains("too many transfers"), "{text}");
    let first = &mut probes[0];
    first.ack(1);
    first.hear_block(2);
    first.ack(2);
    eventually("there is a place", || server.counts().running == 2);
    late.ask(true, b"file", &[]);
    late.hear_block(1);
    assert_eq!(server.counts().surplus, 1);
}

/// A file has come from it, and its server waits whether the ACK was lost.
fn dallying(server: SocketAddr, file: &str) -> Probe {
    let mut probe = Probe::new(server);
    probe.ask(false, file.as_bytes(), &[("timeout", "30")]);
    assert_eq!(probe.hear(), Packet::OptionAck(vec![(b"timeout", b"30")]));
    probe.say(&data(1, b""));
    probe.hear_ack(1);
    probe
}

#[test]
fn files_that_have_come_keep_no_more_sockets_than_transfers_may_run() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true).transfers_max(2));
    let mut probes: Vec<_> = (0..2)
        .map(|number| dallying(server.addr(), &format!("copy-{number}")))
        .collect();
    let surplus = dallying(server.addr(), "copy-2");
    let begun = Instant::now();
    eventually("the third is closed", || {
        UdpSocket::bind(surplus.transfer).is_ok()
    });
    // A slow machine has forgotten them, too.
    if begun.elapsed() < Duration::from_secs(1) {
        for probe in &mut probes {
            probe.say(&data(1, b""));
            probe.hear_ack(1);
        }
    }
    for probe in &probes {
        eventually("30 s are too long", || {
            UdpSocket::bind(probe.transfer).is_ok()
        });
    }
    assert_eq!(server.counts().succeeded, 3);
}

#[test]
fn a_drain_does_not_wait_for_lost_acks() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    let _probe = dallying(server.addr(), "copy");
    let begun = Instant::now();
    let counts = server.drain(Duration::from_secs(60)).unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!((counts.succeeded, counts.killed), (1, 0));
}

#[test]
fn a_drain_that_is_given_up_ends_the_transfers() {
    let site = Site::new();
    site.write("file", &vec![1; 600]);
    let server = site.start(|server| server.retry(patient()));
    let mut probe = Probe::new(server.addr());
    probe.ask(true, b"file", &[]);
    probe.hear_block(1);
    let drained = greenloop::timeout(Duration::from_millis(1), || {
        server.drain(Duration::from_secs(60))
    });
    drained.unwrap_err();
    assert!(probe.hear_error().1.contains("the server stops"));
    eventually("it is ended", || server.counts().killed == 1);
}

/// A link-local address of this machine, with its interface.
fn link_local() -> Option<SocketAddrV6> {
    let table = fs::read_to_string("/proc/net/if_inet6").ok()?;
    let line = table.lines().find(|line| line.starts_with("fe80"))?;
    let (ip, rest) = line.split_once(' ')?;
    let ip = u128::from_str_radix(ip, 16).ok()?;
    let interface = rest.split(' ').next()?;
    let interface = u32::from_str_radix(interface, 16).ok()?;
    Some(SocketAddrV6::new(ip.into(), 0, 0, interface))
}

#[test]
fn a_request_to_a_link_local_address_is_answered_from_it() {
    let Some(mut address) = link_local() else {
        println!("skipped: no link-local address is here");
        return;
    };
    let site = Site::new();
    site.write("file", b"text");
    let server = Server::new(site.root()).start("[::]:0").unwrap();
    address.set_port(server.addr().port());
    let mut probe = Probe::new(address.into());
    probe.socket = UdpSocket::bind("[::]:0").unwrap();
    probe.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    probe.ask(true, b"file", &[]);
    assert_eq!(probe.hear_block(1), b"text");
    assert_eq!(probe.transfer.ip(), IpAddr::from(*address.ip()));
    probe.ack(1);
    eventually("it succeeds", || server.counts().succeeded == 1);
}

#[test]
fn parts_of_dead_servers_are_removed_and_those_of_living_ones_are_not() {
    let site = Site::new();
    fs::create_dir(site.root().join("sub")).unwrap();
    site.write("sub/.tftp-1-0.part", b"dead");
    site.write(".tftp-1-0.part", b"dead");
    site.write(".tftp-1-1.part", b"living");
    site.write(".mine.part", b"no upload");
    let living = fs::File::open(site.root().join(".tftp-1-1.part")).unwrap();
    living.try_lock().unwrap();

    site.start(|server| server);
    assert_eq!(site.hidden(), 3, "who may not write removes nothing");
    let server = site.start(|server| server.writable(true));
    assert_eq!(site.hidden(), 2);
    assert_eq!(site.read(".tftp-1-1.part"), b"living");
    fs::write(site.local("file"), "text").unwrap();
    client(server.addr())
        .put(site.local("file"), "sub/copy")
        .unwrap();
    assert!(!site.root().join("sub/.tftp-1-0.part").exists());
    assert_eq!(site.read("sub/copy"), b"text");
}

#[test]
fn idle_transfers_are_ended() {
    let site = Site::new();
    let ended = site.ended();
    site.write("file", &vec![1; 512 * 4]);
    let retry = Retry::new(Duration::from_millis(20), 2);
    let server = site.start(|server| ended.watch(server.writable(true).retry(retry)));
    let mut reader = Probe::new(server.addr());
    reader.ask(true, b"file", &[]);
    reader.hear_block(1);
    reader.ack(1);
    let mut writer = Probe::new(server.addr());
    writer.ask(false, b"copy", &[]);
    writer.hear_ack(0);
    writer.say(&data(1, &[0; 512]));
    for _ in 0..2 {
        let end = ended.next();
        assert_eq!(end.outcome, Outcome::Silent);
        let bytes = match end.direction {
            Direction::Read => end.bytes == 512,
            Direction::Write => end.bytes == 512,
        };
        assert!(bytes, "{end:?}");
    }
    assert_eq!((server.counts().running, server.counts().failed), (0, 2));
    assert_eq!(site.hidden(), 0);
}

#[test]
fn a_transfer_that_takes_too_long_is_ended() {
    let site = Site::new();
    let ended = site.ended();
    site.write("file", &vec![1; 512 * 4]);
    let limit = Duration::from_millis(100);
    let server = site.start(|server| ended.watch(server.retry(patient()).transfer_time_max(limit)));
    let mut probe = Probe::new(server.addr());
    probe.ask(true, b"file", &[]);
    probe.hear_block(1);
    let (_, text) = probe.hear_error();
    assert_eq!(text, "the transfer took too long");
    assert!(matches!(ended.next().outcome, Outcome::Failed(_)));
}

/// A forged sender gets a few small packets, no more.
#[test]
fn a_client_that_is_never_heard_is_left_soon() {
    let site = Site::new();
    let ended = site.ended();
    site.write("file", &vec![1; 60_000]);
    let retry = Retry::new(Duration::from_millis(20), 50);
    let server = site.start(|server| ended.watch(server.retry(retry)));
    let mut probe = Probe::new(server.addr());
    probe.ask(true, b"file", &[("blksize", "8192"), ("windowsize", "7")]);
    assert_eq!(ended.next().outcome, Outcome::Silent);
    let mut bytes = 0;
    while let Some(packet) = probe.hear_more(Duration::from_millis(100)) {
        assert!(matches!(Packet::parse(&packet), Ok(Packet::OptionAck(_))));
        bytes += packet.len();
    }
    assert!(bytes < 150, "{bytes} bytes for a request of 46");
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    let site = Site::new();
    site.write("file", b"text");
    let server = Server::new(site.root()).start(":0").unwrap();
    let port = server.addr().port();
    for ip in ["127.0.0.1", "127.0.0.2", "127.3.4.5"] {
        let address: SocketAddr = format!("{ip}:{port}").parse().unwrap();
        let mut probe = Probe::new(address);
        probe.ask(true, b"file", &[]);
        assert_eq!(probe.hear_block(1), b"text");
        assert_eq!(probe.transfer.ip(), address.ip());
        assert_ne!(probe.transfer.port(), port);
        // The surplus and the malformed are answered from there, too.
        probe.transfer = address;
        probe.say(b"\x00\x01file\x00mail\x00");
        probe.hear_error();
        assert_eq!(probe.transfer, address);
    }
    let address: SocketAddr = format!("[::1]:{port}").parse().unwrap();
    client(address).get("file", site.local("file")).unwrap();
    assert_eq!(site.read_local("file"), b"text");
}

#[test]
fn a_disk_without_room_is_said_with_error_3() {
    let site = Site::new();
    let small = site.root().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none"])
        .arg(&small)
        .output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        println!("skipped: no file system can be mounted here");
        return;
    }
    let server = site.start(|server| server.writable(true));
    fs::write(site.local("file"), Dice(1).file(300_000)).unwrap();
    let error = client(server.addr())
        .put(site.local("file"), "small/file")
        .unwrap_err();
    let left = fs::read_dir(&small).unwrap().count();
    server.drain(Duration::from_secs(10)).unwrap();
    let unmounted = std::process::Command::new("umount")
        .arg(&small)
        .status()
        .unwrap();
    assert!(unmounted.success());
    let text = error.to_string();
    assert!(
        text.ends_with("the server says: disk full or allocation exceeded (error 3)"),
        "{text}"
    );
    assert_eq!(left, 0);
}
