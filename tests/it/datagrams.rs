//! Sockets of messages: UDP, and Unix sockets of messages.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use greenloop::net::{
    SeqpacketListener, SeqpacketStream, UdpOptions, UdpSocket, UnixAddr, UnixDatagram,
};
use greenloop::sync::Queue;
use greenloop::{Deadline, spawn, timeout};

use super::support::{before_long, is_blocked, on_workers};

const SOON: Duration = Duration::from_secs(20);

fn udp() -> UdpSocket {
    let mut socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON));
    socket
}

fn addr(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().unwrap()
}

/// Two sockets that know each other only.
fn connected() -> (UdpSocket, UdpSocket) {
    let (mut a, mut b) = (udp(), udp());
    a.connect(addr(&b)).unwrap();
    b.connect(addr(&a)).unwrap();
    (a, b)
}

#[test]
fn datagrams_of_every_size_come_whole() {
    on_workers!({
        let mut server = udp();
        let to = addr(&server);
        let mut client = udp();
        let echo = spawn(move || {
            let mut buf = vec![0; 65_536];
            for _ in 0..6 {
                let (len, peer) = server.recv_from(&mut buf).unwrap();
                assert_eq!(server.send_to(&buf[..len], peer).unwrap(), len);
            }
        });
        let mut buf = vec![0; 65_536];
        for size in [0, 1, 512, 9000, 65_507, 0] {
            let sent: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            client.send_to(&sent, to).unwrap();
            let got = client.recv_msg(&mut buf).unwrap();
            assert_eq!((got.len, got.size, got.peer), (size, size, to));
            assert!(buf[..got.len] == sent[..], "{size} bytes");
        }
        echo.join().unwrap();
    });
}

#[test]
fn too_long_a_datagram_is_an_error_and_the_socket_lives_on() {
    let (mut a, mut b) = connected();
    let too_long = rustix::io::Errno::MSGSIZE.raw_os_error();
    let error = a.send(&vec![0; 65_508]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(too_long));
    let to = addr(&b);
    let error = a
        .send_msg(&vec![0; 70_000], to, [127, 0, 0, 1].into())
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(too_long));
    a.send(b"on").unwrap();
    assert_eq!(b.recv(&mut [0; 8]).unwrap(), 2);
}

#[test]
fn truncated_datagrams_are_told_and_the_next_is_whole() {
    let (mut a, mut b) = connected();
    a.send(b"0123456789").unwrap();
    a.send(b"next").unwrap();
    let mut buf = [0; 4];
    let got = b.recv_msg(&mut buf).unwrap();
    assert_eq!((got.len, got.size, got.is_truncated()), (4, 10, true));
    assert_eq!(&buf, b"0123");
    let got = b.recv_msg(&mut buf).unwrap();
    assert_eq!((got.len, got.is_truncated()), (4, false));
    assert_eq!(&buf, b"next");
    a.send(b"no room at all").unwrap();
    let got = b.recv_msg(&mut []).unwrap();
    assert_eq!((got.len, got.size), (0, 14));
}

#[test]
fn tries_never_wait() {
    let (mut a, mut b) = connected();
    let mut buf = [0; 8];
    assert_eq!(
        b.try_recv(&mut buf).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    assert_eq!(a.try_send(b"one").unwrap(), 3);
    assert_eq!(b.try_recv_from(&mut buf).unwrap(), (3, addr(&a)));
    assert_eq!(
        b.try_recv_msg(&mut buf).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    assert_eq!(a.try_send_to(b"", addr(&b)).unwrap(), 0);
    assert_eq!(b.try_recv(&mut buf).unwrap(), 0);
}

/// Asks the server at `ip`, and hears who answers.
fn asked_at(ip: &str, server: &mut UdpSocket) -> IpAddr {
    let ip: IpAddr = ip.parse().unwrap();
    let any = if ip.is_ipv4() {
        "127.0.0.1:0"
    } else {
        "[::1]:0"
    };
    let mut client = UdpSocket::bind(any).unwrap();
    client.send_to(b"?", (ip, addr(server).port())).unwrap();
    let got = server.recv_msg(&mut [0; 4]).unwrap();
    assert_eq!(got.peer, addr(&client));
    let arrival = got.local.unwrap();
    assert_eq!((arrival.sent_to, arrival.answer_from), (ip, ip));
    assert_ne!(arrival.interface, 0);
    server
        .send_msg(b"!", got.peer, arrival.answer_from)
        .unwrap();
    client.recv_from_timeout(&mut [0; 4], SOON).unwrap().1.ip()
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    on_workers!({
        let mut server = UdpSocket::bind("0.0.0.0:0").unwrap();
        for ip in ["127.0.0.2", "127.0.0.1", "127.77.0.9"] {
            assert_eq!(asked_at(ip, &mut server).to_string(), ip);
        }
        // One socket for both families.
        let mut server = UdpSocket::bind(":0").unwrap();
        for ip in ["127.0.0.2", "::1", "127.0.0.1"] {
            assert_eq!(asked_at(ip, &mut server).to_string(), ip);
        }
    });
}

#[test]
fn answer_from_an_address_of_nobody_here_is_refused() {
    let (mut server, client) = (UdpSocket::bind("0.0.0.0:0").unwrap(), udp());
    for from in ["192.0.2.1", "::1"] {
        let from: IpAddr = from.parse().unwrap();
        let error = server.send_msg(b"!", addr(&client), from).unwrap_err();
        // Of the right family: the kernels differ.
        let kinds = [ErrorKind::InvalidInput, ErrorKind::NetworkUnreachable];
        assert!(kinds.contains(&error.kind()), "{from}: {error}");
    }
    let any: IpAddr = [0, 0, 0, 0].into();
    server.send_msg(b"!", addr(&client), any).unwrap();
}

#[test]
fn broadcast_reaches_every_socket_of_the_port() {
    for all in ["0.0.0.0:0", ":0"] {
        let options = UdpOptions::new().reuse_addr(true);
        let mut one = options.bind(all).unwrap();
        let port = addr(&one).port();
        let mut two = options
            .bind(all.replace(":0", &format!(":{port}")))
            .unwrap();
        let mut sender = udp();
        let everybody = ([127, 255, 255, 255], port);
        let error = sender.send_to(b"Hi", everybody).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        sender.set_broadcast(true).unwrap();
        sender.send_to(b"Hi", everybody).unwrap();
        for socket in [&mut one, &mut two] {
            let got = socket.recv_msg_timeout(&mut [0; 8], SOON).unwrap();
            let arrival = got.local.unwrap();
            assert_eq!((got.len, got.peer), (2, addr(&sender)));
            assert_eq!(arrival.sent_to.to_string(), "127.255.255.255");
            // The system says which of the addresses to answer from.
            assert!(arrival.answer_from.is_loopback(), "{all}: {arrival:?}");
            assert_ne!(arrival.answer_from, arrival.sent_to);
            socket
                .send_msg(b"Hello", got.peer, arrival.answer_from)
                .unwrap();
            assert_eq!(sender.recv(&mut [0; 8]).unwrap(), 5);
        }
    }
}

#[test]
fn second_socket_on_a_port_is_an_error() {
    let first = udp();
    let error = UdpSocket::bind(addr(&first)).unwrap_err();
    let expected = format!("listening on {}: address already in use", addr(&first));
    assert_eq!(error.to_string(), expected);
    let error = UdpSocket::bind(format!(":{}", addr(&first).port())).unwrap_err();
    assert!(
        error.to_string().ends_with("address already in use"),
        "{error}"
    );
    let error = UdpSocket::bind("tcp://127.0.0.1:1").unwrap_err();
    assert_eq!(error.to_string(), "127.0.0.1:1 is no address of UDP");
    UdpSocket::bind("udp://localhost:0").unwrap();
}

#[test]
fn socket_whose_peer_is_gone_tells_it_and_works_again() {
    on_workers!({
        let gone = udp();
        let place = addr(&gone);
        drop(gone);
        let mut client = udp();
        client.connect(place).unwrap();
        client.send(b"anybody?").unwrap();
        let error = client.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        // Somebody comes.
        let mut server = UdpSocket::bind(place).unwrap();
        client.send(b"hello").unwrap();
        let (len, peer) = server.recv_from(&mut [0; 8]).unwrap();
        server.send_to(b"welcome", peer).unwrap();
        assert_eq!((len, client.recv(&mut [0; 8]).unwrap()), (5, 7));
        assert_eq!(client.peer_addr().unwrap(), place);
    });
}

#[test]
fn killed_receiver_leaves_the_datagram() {
    on_workers!({
        let (mut a, b) = connected();
        let mut second = b.try_clone().unwrap();
        let waiting = {
            let mut first = b;
            spawn(move || first.recv(&mut [0; 8]))
        };
        before_long("it waits", || is_blocked(&waiting.handle()));
        waiting.kill();
        assert!(waiting.join().unwrap_err().is_killed());
        a.send(b"still here").unwrap();
        assert_eq!(second.recv(&mut [0; 16]).unwrap(), 10);
    });
}

/// Limits that race with what they limit: whoever gives up has taken nothing.
#[test]
fn receivers_that_give_up_lose_nothing() {
    on_workers!({
        const COUNT: u32 = 3000;
        let (mut a, mut b) = connected();
        let sender = spawn(move || {
            for n in 0..COUNT {
                a.send(&n.to_be_bytes()).unwrap();
                // The kernel drops what a slow receiver has no room for.
                if n % 16 == 0 {
                    a.recv(&mut [0; 1]).unwrap();
                }
            }
        });
        let (mut next, mut given_up) = (0, 0_u32);
        while next < COUNT {
            let mut buf = [0; 4];
            let limit = Duration::from_micros(u64::from(given_up % 80));
            let got = match given_up % 3 {
                0 => b.recv_timeout(&mut buf, limit),
                1 => b.recv_deadline(&mut buf, Deadline::after(limit)),
                _ => timeout(limit, || b.recv(&mut buf)),
            };
            match got {
                Ok(len) => {
                    assert_eq!((len, u32::from_be_bytes(buf)), (4, next));
                    if next % 16 == 0 {
                        b.send(b"+").unwrap();
                    }
                    next += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                    given_up += 1;
                }
            }
        }
        sender.join().unwrap();
    });
}

#[test]
fn both_directions_at_once_on_two_descriptors() {
    on_workers!({
        let (a, b) = connected();
        let told = Queue::unbounded();
        let mut greenlets = Vec::new();
        for socket in [a, b] {
            let mut sender = socket.try_clone().unwrap();
            let mut receiver = socket;
            let (windows, opened) = (Queue::bounded(32), told.clone());
            let open = windows.clone();
            greenlets.push(spawn(move || {
                for n in 0..2000_u32 {
                    open.put(()).unwrap();
                    sender.send(&n.to_be_bytes()).unwrap();
                }
            }));
            greenlets.push(spawn(move || {
                let mut buf = [0; 4];
                for n in 0..2000_u32 {
                    receiver.recv(&mut buf).unwrap();
                    assert_eq!(u32::from_be_bytes(buf), n);
                    // As many are on the way at most as the kernel has room for.
                    windows.get().unwrap();
                }
                opened.put(()).unwrap();
            }));
        }
        for greenlet in greenlets {
            greenlet.join().unwrap();
        }
        assert_eq!(told.len(), 2);
    });
}

#[test]
fn socket_of_std_becomes_one_and_back() {
    let mut socket = udp();
    let to = addr(&socket);
    let library = UdpSocket::bind("[::1]:0").unwrap().into_std().unwrap();
    let mut client = UdpSocket::from_std(library).unwrap();
    assert!(addr(&client).is_ipv6());
    assert!(client.send_to(b"x", to).is_err(), "another family");
    let mut client = UdpSocket::from_std(udp().into_std().unwrap()).unwrap();
    client.send_to(b"x", to).unwrap();
    assert_eq!(socket.recv(&mut [0; 4]).unwrap(), 1);
    assert!(format!("{socket:?}").contains(&to.to_string()));
}

// ---- Unix ----

/// A name for a file of this process, which is gone at the end of the test.
struct Place(std::path::PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("greenloop-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn bind(&self) -> Result<UnixDatagram, greenloop::Error> {
        UnixDatagram::bind(self.0.as_path())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn unix_datagrams_go_to_paths_and_abstract_names_and_back() {
    on_workers!({
        let place = Place::new("both-ways");
        let name = format!("@greenloop-both-ways-{}", std::process::id());
        let mut server = place.bind().unwrap();
        let mut client = UnixDatagram::bind(name.parse::<UnixAddr>().unwrap()).unwrap();
        let to = server.local_addr().unwrap();
        assert_eq!(to.path(), Some(place.0.as_path()));
        let mut buf = vec![0; 200_000];
        for size in [0, 1, 65_507, 150_000] {
            assert_eq!(client.send_to(&buf[..size], &to).unwrap(), size);
            let got = server.recv_msg_timeout(&mut buf, SOON).unwrap();
            assert_eq!(
                (got.len, got.size, got.peer.to_string()),
                (size, size, name.clone())
            );
            server.send_to(&buf[..got.len], &got.peer).unwrap();
            let (len, peer) = client.recv_from_timeout(&mut buf, SOON).unwrap();
            assert_eq!((len, &peer), (size, &to));
        }
        client.send_to(b"0123456789", &to).unwrap();
        let got = server.recv_msg(&mut buf[..4]).unwrap();
        assert_eq!((got.len, got.size, got.is_truncated()), (4, 10, true));
        // Whoever has no name cannot be answered.
        let mut nobody = UnixDatagram::unbound().unwrap();
        nobody.connect(place.0.as_path()).unwrap();
        nobody.send(b"").unwrap();
        assert_eq!(server.recv_from(&mut buf).unwrap(), (0, UnixAddr::Unnamed));
        assert!(server.send_to(b"?", &UnixAddr::Unnamed).is_err());
        assert_eq!(nobody.peer_addr().unwrap(), to);
    });
}

#[test]
fn file_of_a_dead_socket_is_replaced_and_of_a_live_one_kept() {
    let place = Place::new("stale");
    let path = place.0.clone();
    // Left behind by a process that was killed.
    place.bind().unwrap().into_std().unwrap();
    assert!(path.exists());
    let mut server = place.bind().unwrap();
    let error = place.bind().unwrap_err();
    let expected = format!(
        "listening on unixgram:{}: address already in use",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    let mut client = UnixDatagram::unbound().unwrap();
    client
        .send_to(b"alive", &server.local_addr().unwrap())
        .unwrap();
    assert_eq!(server.recv(&mut [0; 8]).unwrap(), 5);
    // A second descriptor has no part in the file.
    drop(server.try_clone().unwrap());
    assert!(path.exists());
    // Another has taken the name.
    std::fs::remove_file(&path).unwrap();
    let other = place.bind().unwrap();
    drop(server);
    assert!(path.exists());
    drop(other);
    assert!(!path.exists());
    // What is no socket is never removed.
    std::fs::write(&path, "precious").unwrap();
    assert!(place.bind().is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

/// The system says when a connected peer has room, and says nothing of another's.
#[test]
fn senders_wait_for_room_at_the_peer() {
    on_workers!({
        let place = Place::new("room");
        let mut server = place.bind().unwrap();
        let to = server.local_addr().unwrap();
        for connected in [true, false] {
            let mut client = UnixDatagram::unbound().unwrap();
            if connected {
                client.connect(place.0.as_path()).unwrap();
            }
            let to = to.clone();
            let sender = spawn(move || {
                for n in 0..200_u32 {
                    let n = n.to_be_bytes();
                    let sent = if connected {
                        client.send(&n)
                    } else {
                        client.send_to(&n, &to)
                    };
                    assert_eq!(sent.unwrap(), 4);
                }
                // Nothing of it was sent when a send gives up.
                let mut given_up = 0;
                while client
                    .send_to_timeout(b"last", &to, Duration::from_millis(3))
                    .is_err()
                {
                    given_up += 1;
                }
                given_up
            });
            before_long("it waits", || is_blocked(&sender.handle()));
            let mut buf = [0; 8];
            for n in 0..200_u32 {
                assert_eq!(server.recv_timeout(&mut buf, SOON).unwrap(), 4);
                assert_eq!(buf[..4], n.to_be_bytes());
            }
            assert_eq!(server.recv_timeout(&mut buf, SOON).unwrap(), 4);
            assert_eq!(&buf[..4], b"last");
            sender.join().unwrap();
            let none = server.try_recv(&mut buf).unwrap_err();
            assert_eq!(none.kind(), ErrorKind::WouldBlock);
        }
    });
}

#[test]
fn sends_to_nobody_fail_and_the_socket_lives_on() {
    let place = Place::new("nobody");
    let mut client = UnixDatagram::unbound().unwrap();
    let nowhere: UnixAddr = place.0.as_path().into();
    let error = client.send_to(b"?", &nowhere).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    place.bind().unwrap().into_std().unwrap();
    let error = client.send_to(b"?", &nowhere).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(
        client.send(b"?").unwrap_err().kind(),
        ErrorKind::NotConnected
    );
    let mut server = place.bind().unwrap();
    client.connect(place.0.as_path()).unwrap();
    client.send(b"!").unwrap();
    assert_eq!(server.recv(&mut [0; 4]).unwrap(), 1);
    drop(server);
    assert_eq!(
        client.send(b"?").unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
}

// ---- connections of messages ----

#[test]
fn seqpacket_keeps_messages_apart_and_in_order() {
    on_workers!({
        let place = Place::new("seqpacket");
        let mut listener = SeqpacketListener::bind(place.0.as_path()).unwrap();
        let path = listener.local_addr().unwrap();
        let client = spawn(move || {
            let mut near = SeqpacketStream::connect(path).unwrap();
            let mut sender = near.try_clone().unwrap();
            let sending = spawn(move || {
                for n in 1..500_usize {
                    sender.send(&vec![n as u8; n]).unwrap();
                }
            });
            let mut buf = vec![0; 1024];
            for n in 1..500 {
                assert_eq!(near.recv_timeout(&mut buf, SOON).unwrap().len, n);
            }
            sending.join().unwrap();
        });
        let mut far = listener.accept().unwrap();
        let mut buf = vec![0; 1024];
        for n in 1..500 {
            let got = far.recv_timeout(&mut buf, SOON).unwrap();
            assert!(got.len == n && buf[..n].iter().all(|byte| *byte == n as u8));
            far.send(&buf[..n]).unwrap();
        }
        client.join().unwrap();
        assert_eq!(far.recv_timeout(&mut buf, SOON).unwrap().len, 0, "the end");
        // Other types of sockets are told apart.
        let error = greenloop::net::UnixStream::connect(place.0.as_path()).unwrap_err();
        assert!(error.to_string().contains("wrong type"), "{error}");
        let error = SeqpacketListener::bind(place.0.as_path()).unwrap_err();
        assert!(error.to_string().ends_with("address already in use"));
        drop(listener);
        assert!(!place.0.exists());
    });
}

/// A socket of std's that was asked for things we have no room for.
#[test]
fn what_else_the_system_says_loses_no_datagram() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let asked = socket2::SockRef::from(&socket);
    asked.set_recv_tos_v4(true).unwrap();
    nix::sys::socket::setsockopt(
        &socket,
        nix::sys::socket::sockopt::ReceiveTimestampns,
        &true,
    )
    .unwrap();
    let mut server = UdpSocket::from_std(socket).unwrap();
    let mut client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .send_to(b"hello", server.local_addr().unwrap())
        .unwrap();
    let mut buf = [0; 16];
    let got = server.recv_msg(&mut buf).unwrap();
    assert_eq!(&buf[..got.len], b"hello");
}
