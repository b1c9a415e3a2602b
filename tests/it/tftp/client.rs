//! The client against servers that are strange, hostile, or gone: raw sockets.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use greenloop::apps::tftp::Client;
use greenloop::proto::tftp::{Packet, Retry};

use super::{Site, client};

/// A server made by hand, for one transfer.
struct Fake {
    front: UdpSocket,
    transfer: UdpSocket,
    client: Option<SocketAddr>,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl Fake {
    fn new() -> Self {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        Self {
            front: bind(),
            transfer: bind(),
            client: None,
        }
    }

    fn addr(&self) -> SocketAddr {
        self.front.local_addr().unwrap()
    }

    /// The next request.
    fn request(&mut self) -> Vec<u8> {
        let mut buffer = [0; 1000];
        let (length, client) = self.front.recv_from(&mut buffer).unwrap();
        self.client = Some(client);
        buffer[..length].to_vec()
    }

    fn say(&self, packet: &[u8]) {
        let client = self.client.unwrap();
        self.transfer.send_to(packet, client).unwrap();
    }

    fn data(&self, block: u16, bytes: &[u8]) {
        self.say(&Packet::Data { block, bytes }.to_bytes());
    }

    fn hear(&self) -> Vec<u8> {
        let mut buffer = vec![0; 70_000];
        let (length, _) = self.transfer.recv_from(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    #[track_caller]
    fn hear_ack(&self, block: u16) {
        assert_eq!(Packet::parse(&self.hear()), Ok(Packet::Ack { block }));
    }

    #[track_caller]
    fn hear_error(&self) -> u16 {
        match Packet::parse(&self.hear()) {
            Ok(Packet::Error { code, .. }) => code.number(),
            other => panic!("{other:?}"),
        }
    }
}

/// Runs `serve` as the server of one `get` or `put`, and tells what became of that.
#[track_caller]
fn against(
    is_get: bool,
    change: impl FnOnce(Client) -> Client,
    serve: impl FnOnce(Fake) + Send + 'static,
) -> (Site, Result<(), String>) {
    let site = Site::new();
    let fake = Fake::new();
    let client = change(client(fake.addr()));
    std::fs::write(site.local("from"), vec![1; 1200]).unwrap();
    let server = thread::spawn(move || serve(fake));
    let result = match is_get {
        true => client.get("a/file", site.local("file")),
        false => client.put(site.local("from"), "a/file"),
    };
    server.join().unwrap();
    let result = result.map(drop).map_err(|error| error.to_string());
    assert!(!site.local("file.part").exists(), "{result:?}");
    assert_eq!(
        site.local("file").exists(),
        is_get && result.is_ok(),
        "{result:?}"
    );
    (site, result)
}

fn patient(client: Client) -> Client {
    client.retry(Retry::new(Duration::from_secs(8), 0))
}

#[test]
fn the_request_asks_for_what_is_not_as_it_is_anyway() {
    let asked = |change: fn(Client) -> Client| {
        let (tell, told) = std::sync::mpsc::channel();
        let (_site, result) = against(true, change, move |mut fake| {
            tell.send(fake.request()).unwrap();
            fake.data(1, b"text");
            fake.hear_ack(1);
        });
        result.unwrap();
        String::from_utf8(told.recv().unwrap())
            .unwrap()
            .replace('\0', " ")
    };
    let plain = asked(|client| client.block_size(512).window(1));
    assert_eq!(plain, " \u{1}a/file octet tsize 0 ");
    let full = asked(|client| client.retry(Retry::new(Duration::from_secs(2), 3)));
    assert_eq!(
        full,
        " \u{1}a/file octet blksize 1428 windowsize 8 timeout 2 tsize 0 "
    );
}

#[test]
fn a_silent_server_is_given_up_in_bounded_time() {
    for is_get in [true, false] {
        let begun = Instant::now();
        let soon = |client: Client| client.retry(Retry::new(Duration::from_millis(10), 3));
        let (_site, result) = against(is_get, soon, |_fake| {});
        assert_eq!(result.unwrap_err(), "a/file: no answer within 150ms");
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[test]
fn a_server_that_dies_amid_a_transfer_is_given_up() {
    let soon = |client: Client| client.retry(Retry::new(Duration::from_millis(30), 3));
    let (_site, result) = against(true, soon, |mut fake| {
        fake.request();
        fake.data(1, &[0; 512]);
        fake.hear_ack(1);
    });
    assert_eq!(result.unwrap_err(), "a/file: the server has fallen silent");
    let (_site, result) = against(false, soon, |mut fake| {
        fake.request();
        fake.say(b"\x00\x04\x00\x00");
        fake.hear();
        fake.say(b"\x00\x04\x00\x01");
        fake.hear();
        fake.say(b"\x00\x04\x00\x02");
        fake.hear();
    });
    // All but the last block is there: that is not enough for who wants it stored.
    assert_eq!(
        result.unwrap_err(),
        "a/file: the server has not confirmed the last block"
    );
}

#[test]
fn an_error_is_told_with_its_words_escaped() {
    for (packet, text) in [
        (
            &b"\x00\x05\x00\x01no \x1b[2Jfile\x00"[..],
            "no \\u{1b}[2Jfile (error 1)",
        ),
        (b"\x00\x05\x00\x02\x00", "access violation (error 2)"),
        (b"\x00\x05\x00\x63odd\xff", "odd\\xff (error 99)"),
    ] {
        for is_get in [true, false] {
            let (_site, result) = against(is_get, patient, move |mut fake| {
                fake.request();
                fake.say(packet);
            });
            assert_eq!(
                result.unwrap_err(),
                format!("a/file: the server says: {text}")
            );
        }
    }
}

#[test]
fn answers_to_options_that_were_not_asked_for_are_refused_with_error_8() {
    for answer in [
        &b"\x00\x06blksize\x009000\x00"[..],
        b"\x00\x06blksize\x00-5\x00",
        b"\x00\x06odd\x001\x00",
        b"\x00\x06windowsize\x009\x00",
        b"\x00\x06timeout\x001\x00",
    ] {
        let (_site, result) = against(
            true,
            |client| client,
            move |mut fake| {
                fake.request();
                fake.say(answer);
                assert_eq!(fake.hear_error(), 8, "{answer:?}");
            },
        );
        let text = result.unwrap_err();
        assert!(
            text.starts_with("a/file: the server breaks the protocol: "),
            "{text}"
        );
    }
}

#[test]
fn blocks_that_are_too_large_or_too_many_are_not_written() {
    let (_site, result) = against(
        true,
        |client| client,
        |mut fake| {
            fake.request();
            fake.data(1, &[0; 513]);
            assert_eq!(fake.hear_error(), 4);
        },
    );
    assert!(
        result
            .unwrap_err()
            .contains("a block is larger than agreed")
    );
    let (_site, result) = against(true, patient, |mut fake| {
        fake.request();
        fake.say(b"\x00\x06tsize\x00600\x00");
        fake.hear_ack(0);
        fake.data(1, &[0; 512]);
        fake.hear_ack(1);
        fake.data(2, &[0; 512]);
        assert_eq!(fake.hear_error(), 4);
    });
    assert!(result.unwrap_err().contains("longer than its size"));
    let (_site, result) = against(true, patient, |mut fake| {
        fake.request();
        fake.say(b"\x00\x06tsize\x00600\x00");
        fake.hear_ack(0);
        fake.data(1, &[0; 100]);
        fake.data(1, &[0; 100]);
        assert_eq!(fake.hear_error(), 4);
    });
    assert!(result.unwrap_err().contains("ends before its size"));
}

#[test]
fn strangers_errors_and_data_are_not_taken() {
    let (site, result) = against(true, patient, |mut fake| {
        fake.request();
        fake.data(1, &[1; 512]);
        fake.hear_ack(1);
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        let client = fake.client.unwrap();
        // An answer to a stranger's ERROR would be one to an answer.
        stranger
            .send_to(b"\x00\x05\x00\x00gone\x00", client)
            .unwrap();
        stranger
            .send_to(b"\x00\x03\x00\x02stranger", client)
            .unwrap();
        let mut buffer = [0; 100];
        let length = stranger.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..4], [0, 5, 0, 5]);
        assert!(length > 4);
        fake.data(2, b"end");
        fake.hear_ack(2);
    });
    result.unwrap();
    assert_eq!(site.read_local("file"), [&[1; 512][..], b"end"].concat());
}

#[test]
fn doubled_answers_to_the_request_are_taken_once() {
    // From one port: the option answer, the blocks and the ACK 0 of a write.
    let (site, result) = against(true, patient, |mut fake| {
        fake.request();
        for _ in 0..3 {
            fake.say(b"\x00\x06tsize\x005\x00");
        }
        for _ in 0..3 {
            fake.hear_ack(0);
        }
        for _ in 0..3 {
            fake.data(1, b"short");
        }
        fake.hear_ack(1);
    });
    result.unwrap();
    assert_eq!(site.read_local("file"), b"short");
    let (_site, result) = against(
        false,
        |client| patient(client).block_size(512).window(1),
        |mut fake| {
            fake.request();
            for _ in 0..3 {
                fake.say(b"\x00\x04\x00\x00");
            }
            for block in 1..=3u16 {
                let data = fake.hear();
                assert_eq!(data[..4], [0, 3, 0, block as u8]);
                for _ in 0..3 {
                    fake.say(&Packet::Ack { block }.to_bytes());
                }
            }
        },
    );
    result.unwrap();
}

#[test]
fn a_second_transfer_for_a_repeated_request_is_ended_with_error_5() {
    let (_site, result) = against(
        true,
        |client| client,
        |mut fake| {
            fake.request();
            fake.request(); // it did not wait for ever
            fake.data(1, &[1; 512]);
            fake.hear_ack(1);
            let second = UdpSocket::bind("127.0.0.1:0").unwrap();
            second.set_read_timeout(Some(PATIENCE)).unwrap();
            let block = Packet::Data {
                block: 1,
                bytes: &[1; 512],
            }
            .to_bytes();
            second.send_to(&block, fake.client.unwrap()).unwrap();
            let mut buffer = [0; 100];
            second.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..4], [0, 5, 0, 5]);
            fake.data(2, b"end");
            // Perhaps the ACK of the first block once more, before.
            while Packet::parse(&fake.hear()) != Ok(Packet::Ack { block: 2 }) {}
        },
    );
    result.unwrap();
}

#[test]
fn what_cannot_be_done_here_is_said_before_anything_is_sent() {
    let site = Site::new();
    let fake = Fake::new();
    fake.front.set_nonblocking(true).unwrap();
    let client = client(fake.addr());
    let long = "n".repeat(600);
    let error = |result: greenloop::Result<_>| {
        result
            .map(|_: greenloop::apps::tftp::Transferred| ())
            .unwrap_err()
            .to_string()
    };
    let cases = [
        (
            error(client.get("a", site.local("no/file"))),
            "no such file or directory",
        ),
        (error(client.get("a", site.local("."))), "is a directory"),
        (
            error(client.get("", site.local("file"))),
            "neither empty nor",
        ),
        (error(client.get("a\0b", site.local("file"))), "zero byte"),
        (error(client.get(&long, site.local("file"))), "too long"),
        (
            error(client.put(site.local("no"), "a")),
            "no such file or directory",
        ),
        (error(client.put(site.root(), "a")), "is a directory"),
    ];
    for (text, part) in cases {
        assert!(text.contains(part), "{text}");
    }
    assert!(fake.front.recv_from(&mut [0; 10]).is_err());
    assert!(!site.local("file.part").exists());
}

#[test]
fn what_is_no_regular_file_is_written_directly() {
    let site = Site::new();
    site.write("file", b"text");
    let server = site.start(|server| server);
    client(server.addr()).get("file", "/dev/null").unwrap();
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    let mut bytes = Vec::new();
    client(server.addr()).get_to("file", &mut bytes).unwrap();
    assert_eq!(bytes, b"text");
}
