//! Our client and our server, over good and bad networks.

use std::fs;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use greenloop::apps::tftp::{Outcome, Server};
use greenloop::proto::tftp::{Mode, Packet, Retry};

use super::relay::{Faults, NO_FAULTS, Relay, Way};
use super::{Dice, Site, client, retry};
use crate::support::eventually;

const BAD: Faults = Faults {
    lost: 5,
    doubled: 5,
    delayed: 10,
    cut: 0,
};

/// Nothing is sent again, however busy the machine is.
fn patient() -> Retry {
    Retry::new(Duration::from_secs(20), 1)
}

#[test]
fn files_of_any_length_go_both_ways() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true).retry(patient()));
    let client = client(server.addr()).retry(patient());
    for length in [0, 1, 511, 512, 513, 1427, 1428, 512 * 7, 1428 * 16, 300_000] {
        let file = Dice(length as u64).file(length);
        site.write("in", &file);
        let got = client.get("in", site.local("in")).unwrap();
        assert!(site.read_local("in") == file, "{length} bytes read");
        assert_eq!((got.bytes, got.repeated), (length as u64, 0));

        let name = format!("out-{length}");
        let put = client.put(site.local("in"), &name).unwrap();
        assert!(site.read(&name) == file, "{length} bytes written");
        assert_eq!((put.bytes, put.repeated), (length as u64, 0));
    }
    assert_eq!(site.hidden(), 0);
}

#[test]
fn blocks_and_windows_of_any_size_go_both_ways() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true).overwrite(true));
    for (block_size, window, length) in [
        (8, 1, 8 * 300),
        (8, 64, 8 * 300 + 3),
        (512, 1, 512 * 20),
        (512, 64, 512 * 200),
        (1428, 8, 100_000),
        (8192, 16, 1_000_000),
        (8192, 64, 2_000_000),
        (1024, 64, 500_000),
        (65_464, 1, 65_464 * 3),
        (65_464, 64, 65_464 * 3 + 1),
    ] {
        let file = Dice(length as u64).file(length);
        site.write("file", &file);
        let client = client(server.addr()).block_size(block_size).window(window);
        let got = client.get("file", site.local("file")).unwrap();
        assert!(site.read_local("file") == file, "{block_size} × {window}");
        assert_eq!(got.block_size, usize::from(block_size));
        let room = 160 * 1024 / (2 * usize::from(block_size) + 1024);
        assert_eq!(
            usize::from(got.window),
            room.clamp(1, window.into()),
            "{got:?}"
        );
        client.put(site.local("file"), "copy").unwrap();
        assert!(site.read("copy") == file, "{block_size} × {window}");
    }
}

#[test]
fn files_survive_a_bad_network_both_ways() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    for (seed, window, length) in [
        (1, 1, 60_000),
        (2, 8, 300_000),
        (3, 64, 300_000),
        (4, 1, 1024),
    ] {
        let relay = Relay::new(server.addr(), seed, BAD);
        let client = client(relay.addr()).block_size(1024).window(window);
        let file = Dice(seed).file(length);
        site.write("file", &file);
        client.get("file", site.local("file")).unwrap();
        assert!(site.read_local("file") == file, "seed {seed}");
        let name = format!("copy-{seed}");
        client.put(site.local("file"), &name).unwrap();
        assert!(site.read(&name) == file, "seed {seed}");
    }
    assert_eq!(site.hidden(), 0);
}

/// A packet that is cut off is a short block, which only the size tells from the last one.
#[test]
fn cut_packets_make_no_short_files() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    let mut whole = 0;
    for seed in 0..12 {
        let relay = Relay::new(
            server.addr(),
            seed,
            Faults {
                cut: 3,
                ..NO_FAULTS
            },
        );
        let file = Dice(seed).file(40_000);
        site.write("file", &file);
        let client = client(relay.addr()).block_size(1024);
        let name = format!("copy-{seed}");
        for result in [
            client
                .get("file", site.local("file"))
                .map(|_| site.read_local("file")),
            client
                .put(site.root().join("file"), &name)
                .map(|_| site.read(&name)),
        ] {
            match result {
                Ok(copy) => {
                    assert!(copy == file, "seed {seed}");
                    whole += 1;
                }
                // An ACK of two bytes, an option list that ends early: these are said.
                Err(error) => println!("seed {seed}: {error}"),
            }
        }
        assert!(!site.local("file.part").exists());
        let _ = fs::remove_file(site.local("file"));
    }
    assert!(whole > 12, "{whole} of 24");
    eventually("no upload is left", || site.hidden() == 0);
}

#[test]
fn block_numbers_wrap_both_ways() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    let small = client(server.addr()).block_size(8).window(32);
    let file = Dice(8).file(8 * 65_536 * 2 + 5);
    site.write("file", &file);
    small.get("file", site.local("file")).unwrap();
    assert!(site.read_local("file") == file);
    small.put(site.local("file"), "copy").unwrap();
    assert!(site.read("copy") == file);
}

#[test]
fn a_file_of_33_mb_in_blocks_of_512_arrives() {
    let site = Site::new();
    let server = site.start(|server| server);
    let file = Dice(33).file(512 * 65_540);
    site.write("file", &file);
    let client = client(server.addr()).block_size(512).window(16);
    client.get("file", site.local("file")).unwrap();
    assert!(site.read_local("file") == file);
}

#[test]
fn text_is_the_same_after_netascii_both_ways() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    // A pair stands on the border of the first block.
    let mut text = vec![b'x'; 511];
    text.extend(b"\nmore\r\nand\rmore\0\n".repeat(200));
    site.write("text", &text);
    let client = client(server.addr()).mode(Mode::Netascii).block_size(512);
    let got = client.get("text", site.local("text")).unwrap();
    assert!(site.read_local("text") == text);
    assert!(got.bytes > text.len() as u64, "lines are longer on the way");
    client.put(site.local("text"), "copy").unwrap();
    assert!(site.read("copy") == text);
}

#[test]
fn sixty_four_transfers_run_at_once() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    let file = Dice(64).file(100_000);
    site.write("file", &file);
    let relay = Relay::new(
        server.addr(),
        64,
        Faults {
            lost: 1,
            ..NO_FAULTS
        },
    );
    let transfers: Vec<_> = (0..64)
        .map(|number| {
            let client = client(relay.addr());
            let (to, from) = (
                site.local(&format!("get-{number}")),
                site.root().join("file"),
            );
            greenloop::spawn(move || match number % 2 {
                0 => client.get("file", to).map(drop),
                _ => client.put(from, &format!("put-{number}")).map(drop),
            })
        })
        .collect();
    for transfer in transfers {
        transfer.join().unwrap().unwrap();
    }
    for number in 0..64 {
        let name = format!("{}-{number}", ["get", "put"][number % 2]);
        let copy = match number % 2 {
            0 => site.read_local(&name),
            _ => site.read(&name),
        };
        assert!(copy == file, "{name}");
    }
    assert_eq!(server.counts().surplus, 0);
}

#[test]
fn a_lost_last_ack_does_not_make_the_server_think_the_file_failed() {
    let site = Site::new();
    let ended = site.ended();
    let retry = Retry::new(Duration::from_millis(60), 3);
    let server = site.start(|server| ended.watch(server.retry(retry)));
    site.write("file", &vec![7; 512 * 2]);
    let drop_last = |way, packet: Vec<u8>| match Packet::parse(&packet) {
        Ok(Packet::Ack { block: 3 }) if way == Way::ToServer => vec![],
        _ => vec![packet],
    };
    let relay = Relay::with_hook(
        server.addr(),
        1,
        NO_FAULTS,
        Box::new(move |way, packet, _| drop_last(way, packet)),
    );
    let client = client(relay.addr()).block_size(512).window(1);
    client.get("file", site.local("file")).unwrap();
    let end = ended.next();
    assert_eq!(end.outcome, Outcome::Unconfirmed);
    assert_eq!((server.counts().succeeded, server.counts().failed), (1, 0));
}

#[test]
fn a_client_whose_last_ack_was_lost_repeats_it() {
    let site = Site::new();
    let ended = site.ended();
    let server = site.start(|server| ended.watch(server));
    site.write("file", &vec![7; 512 * 2]);
    let mut losses = 1;
    let relay = Relay::with_hook(
        server.addr(),
        1,
        NO_FAULTS,
        Box::new(move |_, packet, _| match Packet::parse(&packet) {
            Ok(Packet::Ack { block: 3 }) if losses > 0 => {
                losses -= 1;
                vec![]
            }
            _ => vec![packet],
        }),
    );
    let client = client(relay.addr())
        .block_size(512)
        .window(1)
        .dally(retry().first() * 3);
    client.get("file", site.local("file")).unwrap();
    let end = ended.next();
    // A busy machine may be late with it.
    assert_eq!(end.outcome, Outcome::Complete);
    assert!(end.repeated >= 1);
}

#[test]
fn a_server_whose_last_ack_was_lost_repeats_it() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    fs::write(site.local("file"), [7; 512 * 2]).unwrap();
    let mut losses = 2;
    let relay = Relay::with_hook(
        server.addr(),
        1,
        NO_FAULTS,
        Box::new(move |way, packet, _| match Packet::parse(&packet) {
            Ok(Packet::Ack { block: 3 }) if losses > 0 && way == Way::ToClient => {
                losses -= 1;
                vec![]
            }
            _ => vec![packet],
        }),
    );
    let client = client(relay.addr()).block_size(512).window(1);
    let put = client.put(site.local("file"), "copy").unwrap();
    assert!(put.repeated >= 2);
    assert_eq!(server.counts().succeeded, 1);
}

/// Every packet arrives twice: whoever answered each copy would double them again and again.
#[test]
fn doubled_packets_do_not_multiply() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true).retry(patient()));
    let seen = Arc::new(AtomicU64::new(0));
    let count = seen.clone();
    let relay = Relay::with_hook(
        server.addr(),
        1,
        Faults {
            doubled: 100,
            ..NO_FAULTS
        },
        Box::new(move |_, packet, _| {
            count.fetch_add(1, Ordering::Relaxed);
            vec![packet]
        }),
    );
    let file = Dice(9).file(512 * 100);
    site.write("file", &file);
    let client = client(relay.addr())
        .retry(patient())
        .block_size(512)
        .window(1);
    let got = client.get("file", site.local("file")).unwrap();
    assert!(site.read_local("file") == file);
    // 101 blocks, each with an ACK for either copy, and the opening.
    let packets = seen.load(Ordering::Relaxed);
    assert!(packets < 101 * 3 + 20, "{packets} packets; {got:?}");
}

#[test]
fn strangers_are_turned_away_and_change_nothing() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    let file = Dice(10).file(512 * 20);
    site.write("file", &file);
    fs::write(site.local("from"), &file).unwrap();
    let stranger = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    stranger
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let from = stranger.clone();
    let mut packets = 0;
    let relay = Relay::with_hook(
        server.addr(),
        1,
        NO_FAULTS,
        Box::new(move |_, packet, ends| {
            packets += 1;
            if packets % 10 == 5 {
                for junk in [
                    &b"\x00\x03\x00\x05junk"[..],
                    b"\x00\x04\x00\x05",
                    b"\x00\x05\x00\x00no\x00",
                ] {
                    from.send_to(junk, ends.client).unwrap();
                    from.send_to(junk, ends.server).unwrap();
                }
            }
            vec![packet]
        }),
    );
    let client = client(relay.addr()).block_size(512).window(1);
    client.get("file", site.local("file")).unwrap();
    assert!(site.read_local("file") == file);
    client.put(site.local("from"), "copy").unwrap();
    assert!(site.read("copy") == file);
    let mut buffer = [0; 100];
    let (length, _) = stranger.recv_from(&mut buffer).unwrap();
    assert_eq!(
        buffer[..length],
        *b"\x00\x05\x00\x05unknown transfer ID\x00"
    );
}

#[test]
fn an_error_amid_a_transfer_ends_it_with_its_words_and_leaves_nothing() {
    let site = Site::new();
    let ended = site.ended();
    let retry = Retry::new(Duration::from_millis(60), 3);
    let server = site.start(|server| ended.watch(server.writable(true).retry(retry)));
    site.write("file", &vec![1; 512 * 20]);
    fs::write(site.local("from"), vec![1; 512 * 20]).unwrap();
    let hook = |victim| {
        move |way, packet: Vec<u8>| {
            let hit = match Packet::parse(&packet) {
                Ok(Packet::Data { block, .. } | Packet::Ack { block }) => block == 9,
                _ => false,
            };
            if hit && way == victim {
                return vec![b"\x00\x05\x00\x03no \x1b[31mroom\x00".to_vec()];
            }
            vec![packet]
        }
    };
    for (victim, is_get) in [
        (Way::ToClient, true),
        (Way::ToClient, false),
        (Way::ToServer, true),
        (Way::ToServer, false),
    ] {
        let hook = hook(victim);
        let relay = Relay::with_hook(
            server.addr(),
            1,
            NO_FAULTS,
            Box::new(move |way, packet, _| hook(way, packet)),
        );
        // The one that is not the victim finds nobody any more.
        let client = client(relay.addr())
            .retry(Retry::new(Duration::from_millis(60), 3))
            .block_size(512)
            .window(1);
        let error = match is_get {
            true => client.get("file", site.local("file")).unwrap_err(),
            false => client.put(site.local("from"), "copy").unwrap_err(),
        };
        let text = error.to_string();
        match victim {
            Way::ToClient => assert_eq!(
                text.split_once(": ").unwrap().1,
                "the server says: no \\u{1b}[31mroom (error 3)"
            ),
            Way::ToServer => assert!(text.contains("fallen silent"), "{text}"),
        }
        let outcome = ended.next().outcome;
        match victim {
            Way::ToServer => assert_eq!(outcome, Outcome::Aborted("no \\u{1b}[31mroom".into())),
            Way::ToClient => assert_eq!(outcome, Outcome::Silent),
        }
        assert_eq!(site.hidden(), 0);
        assert!(!site.root().join("copy").exists());
        assert!(!site.local("file").exists() && !site.local("file.part").exists());
    }
}

#[test]
fn a_killed_client_and_a_killed_server_leave_nothing() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    fs::write(site.local("from"), vec![1; 512 * 20]).unwrap();
    site.write("file", &vec![1; 512 * 20]);
    // Nothing after the fifth block arrives.
    let stuck = |_, packet: Vec<u8>, _: &_| match Packet::parse(&packet) {
        Ok(Packet::Data { block: 6.., .. }) => vec![],
        _ => vec![packet],
    };
    let relay = Relay::with_hook(server.addr(), 1, NO_FAULTS, Box::new(stuck));
    let slow = Retry::new(Duration::from_secs(60), 0);
    let client = client(relay.addr()).block_size(512).window(1).retry(slow);
    let (getter, to) = (client.clone(), site.local("file"));
    let get = greenloop::spawn(move || getter.get("file", to));
    eventually("the download has begun", || {
        site.local("file.part").exists()
    });
    assert!(get.handle().kill_and_wait(None).unwrap());
    assert!(!site.local("file.part").exists());

    let from = site.local("from");
    let put = greenloop::spawn(move || client.put(from, "copy"));
    eventually("the upload has begun", || site.hidden() == 1);
    let counts = server.drain(Duration::ZERO).unwrap();
    assert!(counts.killed >= 1, "{counts:?}");
    assert_eq!(site.hidden(), 0);
    let text = put.join().unwrap().unwrap_err().to_string();
    assert!(text.contains("the server stops"), "{text}");
}

#[test]
fn a_drain_lets_running_transfers_finish_and_takes_no_more() {
    let site = Site::new();
    let server = site.start(|server| server);
    let file = Dice(11).file(512 * 600);
    site.write("file", &file);
    let relay = Relay::new(
        server.addr(),
        11,
        Faults {
            delayed: 30,
            ..NO_FAULTS
        },
    );
    let getter = client(relay.addr()).block_size(512).window(1);
    let to = site.local("file");
    let get = greenloop::spawn(move || getter.get("file", to));
    eventually("the transfer runs", || server.counts().running == 1);
    let counts = server.drain(Duration::from_secs(60)).unwrap();
    assert_eq!((counts.succeeded, counts.killed), (1, 0));
    get.join().unwrap().unwrap();
    assert!(site.read_local("file") == file);
    let error = client(server.addr())
        .retry(Retry::new(Duration::from_millis(60), 1))
        .get("file", site.local("other"))
        .unwrap_err();
    assert!(error.to_string().contains("no answer"), "{error}");
}

#[test]
fn a_server_of_the_first_rfc_alone_is_understood() {
    let site = Site::new();
    let server = site.start(|server| server.writable(true));
    let file = Dice(12).file(512 * 9 + 1);
    site.write("file", &file);
    // The options are cut from each request, or refused once.
    for refuse in [false, true] {
        let strip = move |way, packet: Vec<u8>, ends: &super::relay::Ends| {
            let cut = match Packet::parse(&packet) {
                Ok(Packet::Read(mut request)) if !request.options.is_empty() => {
                    request.options.clear();
                    Packet::Read(request).to_bytes()
                }
                Ok(Packet::Write(mut request)) if !request.options.is_empty() => {
                    request.options.clear();
                    Packet::Write(request).to_bytes()
                }
                _ => return vec![packet],
            };
            if refuse && way == Way::ToServer {
                let error = b"\x00\x05\x00\x08no options\x00";
                let own = UdpSocket::bind("127.0.0.1:0").unwrap();
                own.send_to(error, ends.client).unwrap();
                return vec![];
            }
            vec![cut]
        };
        let relay = Relay::with_hook(server.addr(), 1, NO_FAULTS, Box::new(strip));
        let client = client(relay.addr());
        let got = client.get("file", site.local("file")).unwrap();
        assert_eq!((got.block_size, got.window), (512, 1));
        assert!(site.read_local("file") == file);
        let name = format!("copy-{refuse}");
        client.put(site.local("file"), &name).unwrap();
        assert!(site.read(&name) == file);
    }
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_never_taken_for_whole() {
    let site = Site::new();
    let ended = site.ended();
    let server = site.start(|server| ended.watch(server));
    let path = site.root().join("file");
    site.write("file", &vec![1; 512 * 1000]);
    let cut = path.clone();
    let relay = Relay::with_hook(
        server.addr(),
        1,
        NO_FAULTS,
        Box::new(move |_, packet, _| {
            if matches!(Packet::parse(&packet), Ok(Packet::Ack { block: 5 })) {
                fs::OpenOptions::new()
                    .write(true)
                    .open(&cut)
                    .unwrap()
                    .set_len(600)
                    .unwrap();
            }
            vec![packet]
        }),
    );
    let client = client(relay.addr()).block_size(512).window(1);
    let error = client.get("file", site.local("file")).unwrap_err();
    assert!(error.to_string().contains("the server says"), "{error}");
    let why = ended.next().outcome;
    assert_eq!(
        why,
        Outcome::Failed("the file became shorter while it was sent".into())
    );
    assert!(!site.local("file").exists() && !site.local("file.part").exists());

    // One that grows is sent as long as it was.
    let (file, grow) = (Dice(13).file(512 * 300), path.clone());
    site.write("file", &file);
    let relay = Relay::with_hook(
        server.addr(),
        1,
        NO_FAULTS,
        Box::new(move |_, packet, _| {
            use std::io::Write;
            if matches!(Packet::parse(&packet), Ok(Packet::Ack { block: 5 })) {
                fs::OpenOptions::new()
                    .append(true)
                    .open(&grow)
                    .unwrap()
                    .write_all(&vec![2; 9999])
                    .unwrap();
            }
            vec![packet]
        }),
    );
    let client = super::client(relay.addr()).block_size(512).window(1);
    client.get("file", site.local("file")).unwrap();
    assert!(site.read_local("file") == file);
}

#[test]
fn a_server_without_its_folder_or_its_port_does_not_start() {
    let site = Site::new();
    let error = Server::new(site.root().join("no"))
        .start("127.0.0.1:0")
        .unwrap_err();
    assert!(
        error.to_string().ends_with("no: no such file or directory"),
        "{error}"
    );
    let server = site.start(|server| server);
    let error = Server::new(site.root()).start(server.addr()).unwrap_err();
    assert!(
        error.to_string().contains("address already in use"),
        "{error}"
    );
}
