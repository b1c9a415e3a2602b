//! The chat room over real sockets, when everybody comes at once.

use std::net::{IpAddr, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenloop::apps::chatroom::{Chatroom, Rules};
use greenloop::server::{DatagramConfig, DatagramReport, DatagramServer, ServerHandle};

use crate::support::{eventually, on_workers};

const LONG: Duration = Duration::from_secs(30);

struct Room {
    server: ServerHandle<DatagramReport>,
    said: Arc<AtomicUsize>,
    last: Arc<Mutex<String>>,
}

impl Room {
    fn open(rules: Rules) -> Self {
        Self::open_at(DatagramServer::bind("127.0.0.1:0").unwrap(), rules)
    }

    fn open_at(server: DatagramServer, rules: Rules) -> Self {
        let (said, last): (Arc<AtomicUsize>, Arc<Mutex<String>>) = Default::default();
        let (count, shown) = (said.clone(), last.clone());
        let room = Chatroom::new(
            rules,
            || "now".into(),
            move |line| {
                count.fetch_add(1, Ordering::SeqCst);
                line.clone_into(&mut shown.lock().unwrap());
            },
        );
        let server = server.start(room).unwrap();
        Self { server, said, last }
    }

    fn enter(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.server.addr().ip().unwrap()).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket
    }

    /// Says it, and waits until the room has shown it.
    fn say(&self, socket: &UdpSocket, text: &str) {
        let line = format!("【now】{}:{text}", name(socket));
        socket.send(text.as_bytes()).unwrap();
        eventually(&line, || *self.last.lock().unwrap() == line);
    }
}

fn name(socket: &UdpSocket) -> IpAddr {
    socket.local_addr().unwrap().ip()
}

fn hear(socket: &UdpSocket) -> String {
    let mut line = [0; 256];
    let len = socket.recv(&mut line).unwrap();
    String::from_utf8(line[..len].to_vec()).unwrap()
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn two_thousand_who_join_do_not_displace_members_or_fill_memory() {
    on_workers!([2], {
        let room = Room::open(Rules::new().relay(true).members_max(16));
        let [a, b] = [room.enter(), room.enter()];
        room.say(&a, "here");
        room.say(&b, "me too");
        assert!(hear(&a).ends_with(":me too"));
        // Those who find room stay: nobody else is to get their ports.
        let mut inside = Vec::new();
        let mut join = |count: u64| {
            let before = room.server.stats().received;
            for n in 1..=count {
                let socket = room.enter();
                socket.send(b"let me in").unwrap();
                if inside.len() < 14 {
                    inside.push(socket);
                }
                eventually("it is received", || {
                    room.server.stats().received >= before + n
                });
            }
        };
        join(200);
        let before = resident_kib();
        join(2000);
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < 4 << 10, "grew by {grown} KiB");
        // 14 of them found room.
        assert_eq!(room.said.load(Ordering::SeqCst), 2 + 14);
        room.say(&b, "still here");
        let mut heard = Vec::new();
        while !heard
            .iter()
            .any(|line: &String| line.ends_with(":still here"))
        {
            heard.push(hear(&a));
        }
        assert_eq!(heard.len(), 14 + 1);
        assert!(room.server.drain(LONG).unwrap().is_clean());
    });
}

#[test]
fn flood_of_one_is_heard_at_its_rate_and_others_as_ever() {
    let room = Room::open(Rules::new().relay(true).rate(5, LONG));
    let [a, loud] = [room.enter(), room.enter()];
    room.say(&a, "here");
    for _ in 0..20_000 {
        let _ = loud.send(&[b'!'; 512]);
    }
    eventually("five are heard", || room.said.load(Ordering::SeqCst) == 6);
    // What follows waits in the kernel behind the flood, or is lost there with it.
    eventually("the flood is over", || {
        let before = room.server.stats().received;
        std::thread::sleep(Duration::from_millis(30));
        room.server.stats().received == before
    });
    room.say(&a, "was that all?");
    assert_eq!(room.said.load(Ordering::SeqCst), 7);
    for _ in 0..5 {
        assert!(hear(&a).ends_with("!!!"));
    }
    assert!(hear(&loud).ends_with(":was that all?"));
}

#[test]
fn silent_members_are_sent_nothing_more() {
    let rules = Rules::new()
        .relay(true)
        .member_timeout(Duration::from_millis(200));
    let room = Room::open(rules);
    let [a, b] = [room.enter(), room.enter()];
    room.say(&a, "here");
    room.say(&b, "one");
    assert!(hear(&a).ends_with(":one"));
    std::thread::sleep(Duration::from_millis(250));
    room.say(&b, "two");
    a.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(a.recv(&mut [0; 64]).is_err());
    assert_eq!(room.server.stats().sent, 1);
}

/// A room of Unix sockets, who come in by their names.
struct UnixRoom {
    room: Room,
    name: String,
}

impl UnixRoom {
    /// Says it, and waits until the room has shown it.
    fn say(&self, socket: &UnixDatagram, text: &str) {
        let address = UnixAddr::from_abstract_name(&self.name).unwrap();
        socket.send_to_addr(text.as_bytes(), &address).unwrap();
        let end = format!(":{text}");
        eventually(text, || self.room.last.lock().unwrap().ends_with(&end));
    }

    fn enter(&self, name: &str) -> UnixDatagram {
        let address = self.address(name);
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        self.say(&socket, &format!("I am {name}"));
        socket
    }

    fn address(&self, name: &str) -> UnixAddr {
        UnixAddr::from_abstract_name(format!("{}-{name}", self.name)).unwrap()
    }

    /// Sends to `name` until nobody can any more.
    fn fill(&self, name: &str) {
        let send_all = || {
            let filler = UnixDatagram::unbound().unwrap();
            filler.set_nonblocking(true).unwrap();
            let send = || filler.send_to_addr(b"full", &self.address(name)).is_ok();
            let count = std::iter::repeat_with(send)
                .take_while(|sent| *sent)
                .count();
            (count > 0).then_some(filler)
        };
        // Each has a send buffer of its own, which may be full before the queue is.
        let _fillers: Vec<_> = std::iter::from_fn(send_all).collect();
    }
}

fn hear_unix(socket: &UnixDatagram) -> String {
    let mut line = [0; 256];
    let len = socket.recv(&mut line).unwrap();
    String::from_utf8(line[..len].to_vec()).unwrap()
}

#[test]
fn deaf_members_make_nobody_wait() {
    on_workers!({
        let name = format!("greenloop-deaf-{}", std::process::id());
        // Who waits for them once waits for ever.
        let config = DatagramConfig::new().write_timeout(None);
        let server = config.bind(format!("unixgram:@{name}")).unwrap();
        let room = Room::open_at(server, Rules::new().relay(true));
        let room = UnixRoom { room, name };
        let names = ["deaf-1", "deaf-2", "deaf-3"];
        let deaf = names.map(|name| room.enter(name));
        names.iter().for_each(|name| room.fill(name));
        let [a, b] = ["a", "b"].map(|name| room.enter(name));
        assert!(hear_unix(&a).ends_with(":I am b"));
        for text in ["one", "two", "three"] {
            room.say(&b, text);
            assert!(hear_unix(&a).ends_with(text));
        }
        // Who reads again hears again.
        for socket in &deaf {
            socket.set_nonblocking(true).unwrap();
            while socket.recv(&mut [0; 64]).is_ok() {}
        }
        room.say(&b, "four");
        assert!(hear_unix(&a).ends_with(":four"));
        for socket in &deaf {
            socket.set_nonblocking(false).unwrap();
            assert!(hear_unix(socket).ends_with(":four"));
        }
        assert!(room.room.server.drain(LONG).unwrap().is_clean());
    });
}
