//! The server of datagrams against peers that do everything peers do. Clients are plain
//! threads with plain sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::Timeout;
use greenloop::net::{Addr, UdpOptions};
use greenloop::server::{
    Datagram, DatagramConfig, DatagramHandler, DatagramReport, DatagramServer, DropReason,
    Observer, Outcome, Outlet, ServerHandle,
};
use greenloop::sync::{Event, Queue};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::support::{eventually, on_workers};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(30);

type Server = ServerHandle<DatagramReport>;

fn reply(datagram: &mut Datagram) -> greenloop::Result<()> {
    datagram.reply(datagram.data())
}

fn start(config: DatagramConfig, handler: impl DatagramHandler) -> Server {
    config.bind("127.0.0.1:0").unwrap().start(handler).unwrap()
}

fn echo() -> Server {
    start(DatagramConfig::new(), reply)
}

fn addr(server: &Server) -> SocketAddr {
    server.addr().ip().unwrap()
}

/// A client of `to` whose reads end after a while, so that a hanging server is a failing test.
fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(if to.is_ipv4() {
        "127.0.0.1:0"
    } else {
        "[::1]:0"
    })
    .unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket.connect(to).unwrap();
    socket
}

/// One exchange that shows that the server serves.
fn ping(socket: &UdpSocket) {
    socket.send(b"ping").unwrap();
    let mut buf = [0; 8];
    let len = socket.recv(&mut buf).unwrap();
    assert_eq!(&buf[..len], b"ping");
}

#[test]
fn every_client_gets_its_own_datagrams_back() {
    on_workers!({
        for handlers in [1, 8] {
            let server = start(DatagramConfig::new().handlers(handlers), reply);
            let to = addr(&server);
            let clients: Vec<_> = (0..6_usize)
                .map(|n| {
                    std::thread::spawn(move || {
                        let socket = client(to);
                        let mut buf = vec![0; 65_536];
                        for size in [0, 1, 512, 1400, 3000, 0] {
                            let sent: Vec<u8> = (0..size).map(|i| ((i + n) % 251) as u8).collect();
                            socket.send(&sent).unwrap();
                            let len = socket.recv(&mut buf).unwrap();
                            assert!(buf[..len] == sent[..], "{size} bytes");
                        }
                    })
                })
                .collect();
            for client in clients {
                client.join().unwrap();
            }
            // More of these at a time than the kernel has room for would be lost.
            let socket = client(to);
            let (sent, mut buf) = (vec![3; 65_507], vec![0; 65_536]);
            socket.send(&sent).unwrap();
            assert_eq!(socket.recv(&mut buf).unwrap(), sent.len());
            let report = server.drain(LONG).unwrap();
            assert_eq!(
                (report.received, report.sent, report.finished),
                (37, 37, 37)
            );
            assert_eq!(report.bytes_received, report.bytes_sent);
            assert!(report.is_clean() && report.running == 0, "{report:?}");
        }
    });
}

#[test]
fn one_handler_keeps_the_order_of_arrival() {
    on_workers!({
        let server = start(DatagramConfig::new(), |datagram: &mut Datagram| {
            let n = datagram.data()[0];
            // The earlier, the longer.
            greenloop::sleep(Duration::from_micros(u64::from(60 - n) * 50))?;
            datagram.reply(&[n])
        });
        let socket = client(addr(&server));
        for n in 0..60_u8 {
            socket.send(&[n]).unwrap();
        }
        let mut buf = [0; 4];
        for n in 0..60_u8 {
            assert_eq!(socket.recv(&mut buf).unwrap(), 1);
            assert_eq!(buf[0], n);
        }
    });
}

#[test]
fn no_more_handlers_run_than_may_and_the_rest_waits_in_the_kernel() {
    on_workers!({
        let (go, now, most) = (
            Event::new(),
            AtomicUsize::new(0),
            Arc::new(AtomicUsize::new(0)),
        );
        let handler = {
            let (go, most) = (go.clone(), most.clone());
            move |datagram: &mut Datagram| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                go.wait()?;
                now.fetch_sub(1, Ordering::SeqCst);
                datagram.reply(datagram.data())
            }
        };
        let server = start(DatagramConfig::new().handlers(3), handler);
        let socket = client(addr(&server));
        for n in 0..20_u8 {
            socket.send(&[n]).unwrap();
        }
        eventually("three run", || server.stats().running == 3);
        assert_eq!(server.stats().received, 3);
        go.set();
        let mut got: Vec<u8> = Vec::new();
        for _ in 0..20 {
            let mut buf = [0; 4];
            socket.recv(&mut buf).unwrap();
            got.push(buf[0]);
        }
        got.sort_unstable();
        assert_eq!(got, (0..20).collect::<Vec<u8>>());
        assert!(most.load(Ordering::SeqCst) <= 3);
    });
}

// ---- sources that lie ----

/// A UDP datagram with the source address that it claims (RFC 791, RFC 768; no checksum).
fn forged(from: SocketAddrV4, to: SocketAddrV4, data: &[u8]) -> Vec<u8> {
    let udp_len = u16::try_from(8 + data.len()).unwrap();
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    for number in [from.port(), to.port(), udp_len, 0] {
        packet.extend(number.to_be_bytes());
    }
    packet.extend(data);
    packet
}

/// A socket that sends forged datagrams, if this process may have one.
#[expect(clippy::print_stdout, reason = "says which tests were skipped")]
fn forger() -> Option<Socket> {
    match Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))) {
        Ok(socket) => Some(socket),
        Err(error) => {
            println!("skipped: raw sockets: {error}");
            None
        }
    }
}

fn forge(forger: &Socket, from: SocketAddrV4, to: SocketAddrV4) {
    let name = SockAddr::from(SocketAddrV4::new(*to.ip(), 0));
    forger
        .send_to(&forged(from, to, b"round and round"), &name)
        .unwrap();
}

fn v4(ip: [u8; 4], port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(ip), port)
}

#[derive(Clone, Default)]
struct Drops(Arc<Mutex<Vec<(String, DropReason)>>>);

impl Observer for Drops {
    fn dropped(&self, peer: &Addr, reason: DropReason) {
        self.0.lock().unwrap().push((peer.to_string(), reason));
    }
}

/// One such datagram keeps a careless echo server busy for ever.
#[test]
fn datagram_from_the_server_itself_starts_no_loop() {
    let Some(forger) = forger() else { return };
    on_workers!([1, 4], {
        let drops = Drops::default();
        let server = start(DatagramConfig::new().observer(drops.clone()), reply);
        let to = addr(&server);
        let own = v4([127, 0, 0, 1], to.port());
        let socket = client(to);
        for _ in 0..3 {
            forge(&forger, own, own);
        }
        ping(&socket);
        eventually("they have come", || server.stats().received == 4);
        std::thread::sleep(20 * MS);
        let report = server.drain(LONG).unwrap();
        assert_eq!((report.received, report.sent), (4, 1));
        assert_eq!((report.dropped_own_address, report.dropped()), (3, 3));
        let expected = (own.to_string(), DropReason::OwnAddress);
        assert_eq!(*drops.0.lock().unwrap(), vec![expected; 3]);
    });
}

#[test]
fn every_address_of_a_wildcard_server_is_its_own() {
    let Some(forger) = forger() else { return };
    for all in ["0.0.0.0:0", ":0"] {
        let server = DatagramServer::bind(all).unwrap().start(reply).unwrap();
        let port = addr(&server).port();
        forge(&forger, v4([127, 0, 0, 1], port), v4([127, 0, 0, 1], port));
        forge(&forger, v4([127, 3, 4, 5], port), v4([127, 0, 0, 1], port));
        forge(&forger, v4([127, 0, 0, 1], port), v4([127, 9, 9, 9], port));
        let socket = client(SocketAddr::from(([127, 0, 0, 1], port)));
        ping(&socket);
        eventually("they have come", || server.stats().received == 4);
        let report = server.drain(LONG).unwrap();
        assert_eq!((report.sent, report.dropped_own_address), (1, 3), "{all}");
    }
}

#[test]
fn two_sockets_of_a_server_never_talk_to_each_other() {
    let Some(forger) = forger() else { return };
    let server = DatagramConfig::new()
        .bind_all(["127.0.0.1:0", "127.0.0.1:0"])
        .unwrap()
        .start(reply)
        .unwrap();
    let ports: Vec<u16> = server
        .addrs()
        .iter()
        .map(|a| a.ip().unwrap().port())
        .collect();
    let [one, two] = [ports[0], ports[1]].map(|port| v4([127, 0, 0, 1], port));
    forge(&forger, one, two);
    forge(&forger, two, one);
    ping(&client(one.into()));
    ping(&client(two.into()));
    eventually("they have come", || server.stats().received == 4);
    let report = server.drain(LONG).unwrap();
    assert_eq!((report.sent, report.dropped_own_address), (2, 2));
}

#[test]
fn datagram_from_port_zero_is_dropped() {
    let Some(forger) = forger() else { return };
    let server = echo();
    let to = addr(&server);
    forge(
        &forger,
        v4([127, 0, 0, 1], 0),
        v4([127, 0, 0, 1], to.port()),
    );
    ping(&client(to));
    let report = server.drain(LONG).unwrap();
    assert_eq!((report.dropped_port_zero, report.sent), (1, 1));
}

// ---- handlers that fail ----

#[derive(Clone, Default)]
struct Outcomes(Arc<Mutex<Vec<String>>>);

impl Observer for Outcomes {
    fn handled(&self, datagram: &Datagram, outcome: &Outcome) {
        let what = match outcome {
            Outcome::Finished => "finished".to_owned(),
            Outcome::Failed(error) => format!("failed: {error}"),
            Outcome::TimedOut(error) => format!("timed out: {error}"),
            Outcome::Panicked(text) => format!("panicked: {text}"),
            _ => "killed".to_owned(),
        };
        let name = String::from_utf8_lossy(datagram.data());
        self.0.lock().unwrap().push(format!("{name}: {what}"));
    }
}

#[test]
fn failing_handlers_end_nothing_and_are_counted() {
    on_workers!({
        for handlers in [1, 4] {
            let outcomes = Outcomes::default();
            let config = DatagramConfig::new()
                .handlers(handlers)
                .observer(outcomes.clone());
            let server = start(config, |datagram: &mut Datagram| match datagram.data() {
                b"panic" => panic!("out of order"),
                b"too long" => datagram.reply(&vec![0; 65_508]),
                b"slow" => greenloop::timeout(MS, || greenloop::sleep(LONG)),
                b"nowhere" => {
                    datagram.send_to(b"?", &"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
                }
                data => datagram.reply(data),
            });
            let socket = client(addr(&server));
            for name in ["panic", "too long", "slow", "nowhere"] {
                socket.send(name.as_bytes()).unwrap();
                ping(&socket);
            }
            let report = server.drain(LONG).unwrap();
            assert_eq!(
                (report.panicked, report.failed, report.timed_out),
                (1, 2, 1)
            );
            assert_eq!((report.finished, report.received, report.sent), (4, 8, 4));
            assert!(report.is_clean());
            let said = outcomes.0.lock().unwrap();
            assert!(
                said.contains(&"panic: panicked: out of order".to_owned()),
                "{said:?}"
            );
            let too_long = format!(
                "sending to {}: message too long",
                socket.local_addr().unwrap()
            );
            assert!(
                said.contains(&format!("too long: failed: {too_long}")),
                "{said:?}"
            );
        }
    });
}

/// The system tells connected sockets alone that a peer is gone.
#[test]
fn peers_that_are_gone_do_not_disturb_the_others() {
    let server = echo();
    let to = addr(&server);
    for _ in 0..50 {
        let gone = client(to);
        gone.send(b"never heard").unwrap();
    }
    ping(&client(to));
    eventually("all are served", || server.stats().finished == 51);
    assert_eq!(server.drain(LONG).unwrap().receive_errors, 0);
}

// ---- the end ----

#[test]
fn drain_lets_running_handlers_finish() {
    on_workers!({
        for handlers in [1, 4] {
            let (go, inside) = (Event::new(), Queue::unbounded());
            let handler = {
                let (go, inside) = (go.clone(), inside.clone());
                move |datagram: &mut Datagram| {
                    inside.put(())?;
                    go.wait()?;
                    assert!(datagram.is_draining());
                    datagram.reply(b"done")
                }
            };
            let server = start(DatagramConfig::new().handlers(handlers), handler);
            let to = addr(&server);
            let socket = client(to);
            socket.send(b"begin").unwrap();
            inside.get().unwrap();
            server.begin_drain(LONG);
            eventually("it is told", || server.stats().told == 1);
            go.set();
            assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 4);
            let report = server.wait().unwrap();
            assert_eq!((report.finished, report.killed, report.told), (1, 0, 1));
            // And the port is free.
            UdpSocket::bind(to).unwrap();
        }
    });
}

#[test]
fn drain_kills_at_the_deadline_whoever_does_not_end() {
    on_workers!({
        for handlers in [1, 4] {
            let inside = Queue::unbounded();
            let handler = {
                let inside = inside.clone();
                move |_: &mut Datagram| {
                    inside.put(())?;
                    greenloop::sleep(Duration::MAX)
                }
            };
            let server = start(DatagramConfig::new().handlers(handlers), handler);
            client(addr(&server)).send(b"begin").unwrap();
            inside.get().unwrap();
            let begun = Instant::now();
            let report = server.drain(20 * MS).unwrap();
            assert!(begun.elapsed() >= 20 * MS);
            assert_eq!((report.killed, report.finished, report.stuck), (1, 0, 0));
            assert!(!report.is_clean());
        }
    });
}

#[test]
fn port_is_free_as_soon_as_the_server_has_ended() {
    on_workers!({
        let server = echo();
        let to = addr(&server);
        server.stop_now().unwrap();
        for handlers in (1..5).cycle().take(60) {
            let config = DatagramConfig::new().handlers(handlers);
            let server = config.bind(to).unwrap().start(reply).unwrap();
            let socket = client(to);
            ping(&socket);
            ping(&socket);
            server.stop_now().unwrap();
        }
    });
}

#[test]
fn outlet_ends_with_its_server() {
    let kept: Arc<Mutex<Option<Outlet>>> = Arc::default();
    let server = {
        let kept = kept.clone();
        start(DatagramConfig::new(), move |datagram: &mut Datagram| {
            *kept.lock().unwrap() = Some(datagram.outlet());
            datagram.reply(b"kept")
        })
    };
    let socket = client(addr(&server));
    socket.send(b"keep").unwrap();
    socket.recv(&mut [0; 8]).unwrap();
    let outlet = kept.lock().unwrap().take().unwrap();
    let peer = Addr::from(socket.local_addr().unwrap());
    outlet.send_to(b"later", &peer).unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 5);
    assert_eq!(server.drain(LONG).unwrap().sent, 2);
    assert!(outlet.send_to(b"too late", &peer).unwrap_err().is_closed());
}

// ---- what comes, and from where it is answered ----

#[test]
fn answer_leaves_from_the_address_that_was_asked() {
    on_workers!({
        let server = DatagramServer::bind(":0").unwrap().start(reply).unwrap();
        let port = addr(&server).port();
        let asked = ["127.0.0.2", "::1", "127.0.0.1", "127.9.8.7"];
        for ip in asked.map(|ip| ip.parse::<IpAddr>().unwrap()) {
            // Connected: what comes from another address is not heard.
            ping(&client(SocketAddr::new(ip, port)));
        }
        assert_eq!(server.stop_now().unwrap().sent, 4);
    });
}

#[test]
fn broadcast_is_answered_from_a_real_address() {
    let options = UdpOptions::new().broadcast(true);
    for all in ["0.0.0.0:0", ":0"] {
        let config = DatagramConfig::new().options(options);
        let server = config.bind(all).unwrap().start(reply).unwrap();
        let port = addr(&server).port();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"Hi", ("127.255.255.255", port)).unwrap();
        let (len, peer) = socket.recv_from(&mut [0; 8]).unwrap();
        assert_eq!((len, peer), (2, ([127, 0, 0, 1], port).into()));
    }
}

#[test]
fn truncated_datagrams_are_told_and_counted() {
    let config = DatagramConfig::new().datagram_bytes_max(16);
    let server = start(config, |datagram: &mut Datagram| {
        let (len, size) = (datagram.data().len(), datagram.size());
        datagram.reply(format!("{len} of {size}: {}", datagram.is_truncated()).as_bytes())
    });
    let socket = client(addr(&server));
    for (size, expected) in [
        (16, "16 of 16: false"),
        (17, "16 of 17: true"),
        (60_000, "16 of 60000: true"),
    ] {
        socket.send(&vec![7; size]).unwrap();
        let mut buf = [0; 64];
        let len = socket.recv(&mut buf).unwrap();
        assert_eq!(String::from_utf8_lossy(&buf[..len]), expected);
    }
    let report = server.drain(LONG).unwrap();
    assert_eq!((report.truncated, report.bytes_received), (2, 60_033));
}

// ---- Unix ----

#[test]
fn unix_peers_with_a_name_are_answered() {
    on_workers!({
        let folder = std::env::temp_dir().join(format!("greenloop-dgram-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("server");
        let config = DatagramConfig::new().write_timeout(Some(20 * MS));
        let server = config
            .bind_all([
                format!("unixgram:{}", path.display()),
                "udp://127.0.0.1:0".into(),
            ])
            .unwrap()
            .start(reply)
            .unwrap();
        let named = UnixDatagram::bind(folder.join("client")).unwrap();
        named.set_read_timeout(Some(LONG)).unwrap();
        named.send_to("我爱Python".as_bytes(), &path).unwrap();
        let mut buf = [0; 64];
        let len = named.recv(&mut buf).unwrap();
        assert_eq!(&buf[..len], "我爱Python".as_bytes());
        // Nobody can answer this one.
        UnixDatagram::unbound()
            .unwrap()
            .send_to(b"?", &path)
            .unwrap();
        eventually("it fails", || server.stats().failed == 1);
        // One that does not read holds nobody up for longer than a while.
        for _ in 0..300 {
            if named.send_to(b"flood", &path).is_err() {
                break;
            }
            if server.stats().timed_out > 0 {
                break;
            }
        }
        eventually("an answer times out", || server.stats().timed_out > 0);
        let udp = server.addrs()[1].ip().unwrap();
        ping(&client(udp));
        server.stop_now().unwrap();
        assert!(!path.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

/// A datagram is its handler's, so its calls are tried in one.
#[test]
fn waiting_calls_of_a_datagram() {
    on_workers!({
        let name = format!("@greenloop-calls-{}", std::process::id());
        let (outcomes, peer_name) = (
            Queue::unbounded(),
            format!("{name}-peer")
                .parse::<greenloop::net::UnixAddr>()
                .unwrap(),
        );
        let peer = greenloop::net::UnixDatagram::bind(peer_name).unwrap();
        let to = Addr::from(peer.local_addr().unwrap());
        let handler = {
            let outcomes = outcomes.clone();
            move |datagram: &mut Datagram| {
                let full = greenloop::timeout::<_, greenloop::Error>(20 * MS, || {
                    while datagram.send_to(b"full", &to).is_ok() {}
                    Ok(())
                });
                outcomes.put(full.is_ok())?;
                let outlet = datagram.outlet();
                let calls: [&dyn Fn() -> greenloop::Result<()>; 3] = [
                    &|| datagram.reply(b"no"),
                    &|| datagram.send_to(b"no", &to),
                    &|| outlet.send_to(b"no", &to),
                ];
                for call in calls {
                    let outer = Timeout::start(5 * MS);
                    let is_own = call().is_err_and(|error| outer.owns(&error));
                    drop(outer);
                    outcomes.put(is_own)?;
                    let passed = Timeout::start(Duration::ZERO);
                    let is_own = call().is_err_and(|error| passed.owns(&error));
                    drop(passed);
                    outcomes.put(is_own)?;
                }
                let killed = datagram.reply(b"no").unwrap_err();
                greenloop::shield(|| outcomes.put(killed.is_cancelled()))?;
                Err(killed)
            }
        };
        let config = DatagramConfig::new().write_timeout(None);
        let server = config
            .bind(format!("unixgram:{name}"))
            .unwrap()
            .start(handler)
            .unwrap();
        let mut client = peer.try_clone().unwrap();
        client.send_to(b"go", &name.parse().unwrap()).unwrap();
        for call in 0..7 {
            assert!(outcomes.get().unwrap(), "call {call}");
        }
        let report = server.stop_now().unwrap();
        assert_eq!((report.received, report.killed, report.stuck), (1, 1, 0));
        assert!(outcomes.get().unwrap(), "the kill");
    });
}

// ---- floods ----

fn rss_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn flood_leaves_memory_flat_and_the_server_alive() {
    on_workers!({
        for handlers in [1, 64] {
            let server = start(DatagramConfig::new().handlers(handlers), reply);
            let to = addr(&server);
            let flood = move || {
                let socket = client(to);
                let done = Arc::new(AtomicBool::new(false));
                let reader = {
                    let (socket, done) = (socket.try_clone().unwrap(), done.clone());
                    socket.set_read_timeout(Some(10 * MS)).unwrap();
                    std::thread::spawn(move || {
                        let mut buf = vec![0; 65_536];
                        while !done.load(Ordering::Relaxed) {
                            let _ = socket.recv(&mut buf);
                        }
                    })
                };
                let data = vec![1; 4096];
                for n in 0..20_000_usize {
                    let _ = socket.send(&data[..n % 4096]);
                }
                done.store(true, Ordering::Relaxed);
                reader.join().unwrap();
            };
            let warm = std::thread::spawn(flood);
            warm.join().unwrap();
            let before = rss_kib();
            std::thread::spawn(flood).join().unwrap();
            let grown = rss_kib().saturating_sub(before);
            assert!(grown < 8 << 10, "{handlers} handlers: grew by {grown} KiB");
            eventually("the queue is empty", || {
                let before = server.stats().received;
                std::thread::sleep(30 * MS);
                before == server.stats().received
            });
            ping(&client(to));
            let report = server.drain(LONG).unwrap();
            // How many the kernel drops is up to the machine.
            assert!(report.received > 100 && report.is_clean(), "{report:?}");
        }
    });
}
