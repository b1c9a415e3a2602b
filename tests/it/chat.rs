//! The chat room: a thousand members, and every kind of bad one.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::Greenlet;
use greenloop::apps::chat::Chat;
use greenloop::net::{Stream, TcpStream, UnixStream};
use greenloop::proto::line::LineSplitter;
use greenloop::server::{ServerConfig, ServerHandle, StreamServer};
use greenloop::sync::{Event, WaitGroup};

use crate::support::{before_long, on_workers, on_workers_at_once};

const LONG: Duration = Duration::from_secs(40);

fn start(chat: Chat) -> ServerHandle {
    StreamServer::bind("127.0.0.1:0")
        .unwrap()
        .start(chat)
        .unwrap()
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A client of the room.
struct Client {
    stream: Box<dyn Stream>,
    lines: LineSplitter,
}

impl Client {
    fn over(mut stream: impl Stream + 'static) -> Self {
        stream.set_read_timeout(Some(LONG));
        let stream = Box::new(stream);
        let mut client = Self {
            stream,
            lines: LineSplitter::new(1 << 20),
        };
        assert_eq!(client.line(), "* welcome; what is your name?");
        client
    }

    fn connect(server: &ServerHandle) -> Self {
        Self::over(TcpStream::connect(server.addr()).unwrap())
    }

    fn join(server: &ServerHandle, name: &str) -> Self {
        let mut client = Self::connect(server);
        client.enter(name);
        client
    }

    /// Says its name, and is let in.
    fn enter(&mut self, name: &str) {
        self.send(format!("{name}\n"));
        let line = self.line();
        assert!(line.starts_with(&format!("* you are {name}, ")), "{line}");
    }

    fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).unwrap();
    }

    /// The next line; none at the end.
    fn next(&mut self) -> Option<String> {
        let mut buf = vec![0; 16 << 10];
        loop {
            if let Some(line) = self.lines.next_line() {
                return Some(String::from_utf8(line.unwrap().to_vec()).unwrap());
            }
            match self.stream.read(&mut buf).unwrap() {
                0 => {
                    assert_eq!(self.lines.rest(), None, "lines are whole");
                    return None;
                }
                count => self.lines.feed(&buf[..count]),
            }
        }
    }

    fn line(&mut self) -> String {
        self.next().expect("a line")
    }

    /// What somebody says next, as `NAME: TEXT`; notices are passed over.
    fn said(&mut self) -> String {
        loop {
            let line = self.line();
            if line.starts_with('[') {
                let (clock, said) = line.split_at("[00:00:00] ".len());
                assert!(clock.ends_with("] ") && clock.matches(':').count() == 2);
                return said.to_owned();
            }
        }
    }

    fn line_with(&mut self, part: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(part) {
                return line;
            }
        }
    }

    fn all(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

#[test]
fn thousand_members_hear_the_same_in_the_same_order() {
    const MEMBERS: usize = 1000;
    const SPEAKERS: usize = 20;
    on_workers!({
        greenloop::yield_now().unwrap();
        let descriptors = open_descriptors();
        let greenlets = greenloop::greenlets().len();
        let server = start(Chat::new());
        let (inside, all_in) = (WaitGroup::new(), Event::new());
        let visits: Vec<_> = (0..MEMBERS)
            .map(|n| {
                let (server, all_in) = (server.clone(), all_in.clone());
                let outside = inside.add();
                greenloop::spawn(move || {
                    let mut client = Client::join(&server, &format!("m{n}"));
                    drop(outside);
                    all_in.wait().unwrap();
                    let speaks = n < SPEAKERS;
                    if speaks {
                        client.send(format!("text {n}\n"));
                    }
                    let heard = (0..SPEAKERS - usize::from(speaks)).map(|_| client.said());
                    let heard: Vec<_> = heard.collect();
                    (client, heard)
                })
            })
            .collect();
        inside.wait().unwrap();
        // One more is told why not.
        let mut late = Client::connect(&server);
        late.send("late\n");
        assert_eq!(late.all(), ["* the room is full: 1000 are here"]);
        all_in.set();
        let visits = visits.into_iter().map(|visit| visit.join().unwrap());
        let (clients, heard): (Vec<_>, Vec<_>) = visits.unzip();
        let order = &heard[MEMBERS - 1];
        for (n, heard) in heard.iter().enumerate() {
            let others = order
                .iter()
                .filter(|line| !line.starts_with(&format!("m{n}: ")));
            assert!(heard.iter().eq(others), "m{n} heard {heard:?}");
        }
        for n in 0..SPEAKERS {
            assert!(order.contains(&format!("m{n}: text {n}")), "{order:?}");
        }

        // All are told of the end, and of nobody's leaving.
        server.begin_drain(LONG);
        for mut client in clients {
            assert_eq!(
                client.line_with("* the server"),
                "* the server ends; goodbye"
            );
            assert_eq!(client.next(), None);
        }
        let report = server.wait().unwrap();
        assert_eq!((report.accepted, report.finished), (1001, 1001));
        before_long("all are gone", || {
            greenloop::greenlets().len() <= greenlets && open_descriptors() <= descriptors + 2
        });
    });
}

/// Of 48 KB each.
const TALKERS: usize = 40;

/// Something that takes much more room than it was typed in.
fn heavy_line() -> Vec<u8> {
    let mut line = vec![0x1b; 8000];
    line.push(b'\n');
    line
}

/// Members who say, one after the other and all the time reading, more than the kernel and an
/// outbox hold. They stay until they hear of somebody slow.
fn talk(server: &ServerHandle) -> Vec<Greenlet<()>> {
    let talk = |n: usize| {
        let mut talker = Client::join(server, &format!("talker{n}"));
        let before = n.checked_sub(1).map(|n| format!("] talker{n}: "));
        greenloop::spawn(move || {
            if n == 0 {
                talker.send(heavy_line());
            }
            loop {
                let line = talker.line();
                if line.starts_with("* slow ") {
                    return;
                }
                if before.as_ref().is_some_and(|before| line.contains(before)) {
                    talker.send(heavy_line());
                }
            }
        })
    };
    // The first one, with whom the others begin, comes last.
    (0..TALKERS).rev().map(talk).collect()
}

/// A room, and a member of it behind a Unix socket: the kernel holds little for those.
fn room_with_a_slow_member(config: ServerConfig, name: &str) -> (ServerHandle, Client) {
    let path: PathBuf = std::env::temp_dir().join(format!("gl-{name}-{}", std::process::id()));
    let server = config
        .bind_all(["127.0.0.1:0", &format!("unix:{}", path.display())])
        .unwrap()
        .start(Chat::new())
        .unwrap();
    let mut slow = Client::over(UnixStream::connect(path.as_path()).unwrap());
    slow.enter("slow");
    (server, slow)
}

#[test]
fn slow_reader_is_out_with_a_notice_and_the_others_do_not_wait() {
    on_workers_at_once!({
        let (server, mut slow) = room_with_a_slow_member(ServerConfig::new(), "slow");
        let mut ann = Client::join(&server, "ann");
        let mut bob = Client::join(&server, "bob");
        let answering = greenloop::spawn(move || {
            loop {
                let line = bob.line();
                if line == "* slow was too slow and is out" {
                    return bob;
                }
                if let Some((_, ping)) = line.split_once("ann: ping ") {
                    bob.send(format!("pong {ping}\n"));
                }
            }
        });
        let talking = talk(&server);
        // All the while, two others talk without delay.
        let (mut is_out, mut pings, mut slowest) = (false, 0, Duration::ZERO);
        while !is_out {
            let begun = Instant::now();
            ann.send(format!("ping {pings}\n"));
            let pong = format!("bob: pong {pings}");
            loop {
                let line = ann.line();
                is_out |= line == "* slow was too slow and is out";
                if line.ends_with(&pong) || is_out {
                    break;
                }
            }
            slowest = slowest.max(begun.elapsed());
            pings += 1;
        }
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
        let _bob = answering.join().unwrap();
        talking
            .into_iter()
            .for_each(|talker| talker.join().unwrap());

        // It is told when it reads at last, after what was on its way.
        let told = slow.all();
        assert_eq!(
            told.last().unwrap(),
            "* you were too slow to read, and are out"
        );
        assert!(told.len() > 5);
        // The name is free.
        Client::join(&server, "slow");
        let report = server.drain(LONG).unwrap();
        assert!(report.is_clean() && report.panicked == 0, "{report:?}");
    });
}

#[test]
fn reader_that_never_reads_again_is_closed_after_the_write_timeout() {
    on_workers!([2], {
        let config = ServerConfig::new().write_timeout(Some(Duration::from_millis(200)));
        let (server, slow) = room_with_a_slow_member(config, "never");
        let talking = talk(&server);
        before_long("it is closed", || server.stats().timed_out == 1);
        talking
            .into_iter()
            .for_each(|talker| talker.join().unwrap());
        drop(slow);
        assert!(server.drain(LONG).unwrap().is_clean());
    });
}

#[test]
fn of_a_hundred_who_ask_for_a_name_one_gets_it() {
    on_workers!({
        let server = start(Chat::new());
        let go = Event::new();
        let asking: Vec<_> = (0..100)
            .map(|n| {
                let (server, go) = (server.clone(), go.clone());
                greenloop::spawn(move || {
                    let mut client = Client::connect(&server);
                    go.wait().unwrap();
                    let name = ["Émile", "émile", "ÉMILE"][n % 3];
                    client.send(format!("{name}\n"));
                    let answer = client.line_with(name);
                    let refused = answer == format!("* {name} is taken; what is your name?");
                    if refused {
                        client.send(format!("other{n}\n"));
                        client.line_with(&format!("* you are other{n}, "));
                    }
                    (client, refused)
                })
            })
            .collect();
        go.set();
        let asked: Vec<_> = asking.into_iter().map(|g| g.join().unwrap()).collect();
        assert_eq!(asked.iter().filter(|(_, refused)| *refused).count(), 99);
        drop(asked);
        assert!(server.drain(LONG).unwrap().is_clean());
    });
}

#[test]
fn hostile_names_are_refused_and_hostile_text_is_harmless() {
    on_workers!([2], {
        let server = start(Chat::new());
        let mut ann = Client::join(&server, "ann");
        let mut eve = Client::connect(&server);
        let names: [&[u8]; 9] = [
            b"\x1b[2J",
            b"bob\0",
            b"an\rn",
            "ann\u{202e}".as_bytes(),
            "a\u{200b}nn".as_bytes(),
            b"* ann",
            b"\xff\xfe",
            "\u{3164}".as_bytes(),
            &vec![b'x'; 3000],
        ];
        for name in names {
            eve.send([name, b"\n"].concat());
            let line = eve.line();
            assert!(line.starts_with("* a name "), "{name:?}: {line}");
        }
        eve.enter("eve");
        assert_eq!(ann.line(), "* eve has joined, 2 here");
        let texts: [(&[u8], &str); 6] = [
            (
                b"\x1b]0;title\x07 \x9b2J",
                "\\u{1b}]0;title\\u{7} \u{fffd}2J",
            ),
            (
                "\u{202e}gpj.exe \u{2066}".as_bytes(),
                "\\u{202e}gpj.exe \\u{2066}",
            ),
            (b"a\rb\0c\x0bd\x7f", "a\\rb\\u{0}c\\u{b}d\\u{7f}"),
            (
                "x\u{85}[00:00:00] ann: y\u{2028}z".as_bytes(),
                "x\\u{85}[00:00:00] ann: y\\u{2028}z",
            ),
            (b"\xf0\x28\x8c\x28 C:\\dir", "\u{fffd}(\u{fffd}( C:\\dir"),
            (
                "你是who? 我爱Python 👍".as_bytes(),
                "你是who? 我爱Python 👍",
            ),
        ];
        for (text, shown) in texts {
            eve.send([text, b"\r\n"].concat());
            assert_eq!(ann.said(), format!("eve: {shown}"));
        }

        // A megabyte without an end is one lost line, which only its sender hears of.
        let mut endless = vec![b'x'; 1 << 20];
        endless.extend_from_slice(b"\nback again\n");
        eve.send(&endless);
        assert_eq!(ann.said(), "eve: back again");
        assert_eq!(
            eve.line(),
            "* that line is lost: one has at most 8192 bytes"
        );
        eve.send("y".repeat(8192) + "\r\n");
        assert_eq!(ann.said().len(), "eve: ".len() + 8192);
        assert!(server.drain(LONG).unwrap().is_clean());
    });
}

#[test]
fn commands_are_answered() {
    on_workers!([2], {
        let server = start(Chat::new());
        let mut ann = Client::join(&server, "ann");
        // Several lines in one segment, also the name; empty ones are nothing.
        let mut bob = Client::connect(&server);
        bob.send("/who\n/nick ann\r\n\r\n  \nbob\nhi\n/nick rob\nbob\n//who\n/nick ANN\n/nick\n");
        assert_eq!(bob.line(), "* what is your name?");
        assert_eq!(bob.line(), "* ann is taken; what is your name?");
        assert_eq!(bob.line(), "* you are bob, 2 here; /help tells more");
        assert_eq!(bob.line(), "* bob is now rob");
        assert_eq!(bob.line(), "* ANN is taken");
        assert_eq!(bob.line(), "* a name has at least one letter");
        assert_eq!(ann.line(), "* bob has joined, 2 here");
        assert_eq!(ann.said(), "bob: hi");
        assert_eq!(ann.line(), "* bob is now rob");
        assert_eq!(ann.said(), "rob: bob");
        assert_eq!(ann.said(), "rob: /who");
        bob.send("/who\n/help\n/exit \u{1b}\n/\u{1b}[2J\n/quit\nunheard\n");
        assert_eq!(bob.line(), "* 2 here: ann, rob");
        assert!(
            bob.line()
                .starts_with("* /who tells who is here, /nick NAME")
        );
        assert_eq!(bob.line(), "* there is no /exit; /help tells what there is");
        assert!(bob.line().starts_with("* there is no /\\u{1b}[2J;"));
        assert_eq!(bob.all(), ["* goodbye"]);
        assert_eq!(ann.line(), "* rob has left, 1 here");

        // The last line needs no end, and what it brings about still arrives.
        let mut eve = Client::join(&server, "eve");
        eve.send("one\nlast");
        eve.end();
        assert_eq!(eve.all(), [""; 0]);
        assert_eq!(ann.line(), "* eve has joined, 2 here");
        assert_eq!(
            (ann.said(), ann.said()),
            ("eve: one".into(), "eve: last".into())
        );
        assert_eq!(ann.line(), "* eve has left, 1 here");
        assert!(server.drain(LONG).unwrap().is_clean());
    });
}

#[test]
fn who_says_no_name_or_nothing_is_told_and_closed() {
    on_workers!([2], {
        let server = start(Chat::new().name_limit(Duration::from_millis(50)));
        let mut nameless = Client::connect(&server);
        assert_eq!(nameless.all(), ["* nothing came from you for too long"]);
        drop(server.drain(LONG).unwrap());

        let server = ServerConfig::new()
            .idle_timeout(Some(Duration::from_millis(300)))
            .bind("127.0.0.1:0")
            .unwrap()
            .start(Chat::new())
            .unwrap();
        let mut idle = Client::join(&server, "idle");
        assert_eq!(idle.all(), ["* nothing came from you for too long"]);
        let report = server.drain(LONG).unwrap();
        assert_eq!((report.timed_out, report.accepted), (1, 1));
    });
}

#[test]
fn newcomers_see_the_last_lines_if_the_room_keeps_them() {
    on_workers!([2], {
        let server = start(Chat::with_limits(10, 2));
        let mut ann = Client::join(&server, "ann");
        ann.send("one\ntwo\nthree\n/who\n");
        ann.line_with(" here: ");
        let mut bob = Client::join(&server, "bob");
        assert_eq!(
            (bob.said(), bob.said()),
            ("ann: two".into(), "ann: three".into())
        );
        assert!(server.drain(LONG).unwrap().is_clean());
    });
}

#[test]
fn flood_is_read_slowly_loses_nothing_and_delays_nobody() {
    on_workers!([1, 2], {
        let server = start(Chat::new());
        let mut ann = Client::join(&server, "ann");
        let mut bob = Client::join(&server, "bob");
        let mut eve = Client::join(&server, "eve");
        let begun = Instant::now();
        let flood: String = (0..60).map(|n| format!("{n}\n")).collect();
        eve.send(flood);
        ann.line_with("eve: 0");
        bob.send("between\n");
        let mut heard = vec![0];
        let mut between = None;
        while heard.len() < 60 {
            let said = ann.said();
            match said.strip_prefix("eve: ") {
                Some(n) => heard.push(n.parse().unwrap()),
                None => between = Some((said, heard.len())),
            }
        }
        assert!(heard.into_iter().eq(0..60));
        // The name was a line, too: ten of them had to wait for their turn.
        assert!(begun.elapsed() >= Duration::from_millis(900));
        let (said, before) = between.unwrap();
        assert_eq!(said, "bob: between");
        assert!(before < 60);
        // A drain does not wait for the turns of a flood.
        eve.send("x\n".repeat(1000));
        ann.line_with("eve: x");
        assert!(server.drain(Duration::from_secs(20)).unwrap().is_clean());
    });
}

#[test]
fn drain_does_not_wait_for_what_long_lines_cost() {
    on_workers!({
        let server = start(Chat::new());
        let mut ann = Client::join(&server, "ann");
        let mut eve = Client::join(&server, "eve");
        // Escaped, each of them is 39 KiB for the others: the third one's turn is seconds away.
        for _ in 0..3 {
            eve.send([vec![1; 8000], b"\n".to_vec()].concat());
        }
        for _ in 0..2 {
            ann.line_with("eve: \\u{1}");
        }
        let report = server.drain(Duration::from_secs(2)).unwrap();
        assert!(report.is_clean(), "{report:?}");
    });
}

#[test]
fn members_that_vanish_leave_and_killed_ones_leave_nothing() {
    on_workers!({
        greenloop::yield_now().unwrap();
        let greenlets = greenloop::greenlets().len();
        let descriptors = open_descriptors();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = heard.clone();
        let server =
            start(Chat::new().with_logger(move |line| log.lock().unwrap().push(line.to_owned())));
        let mut ann = Client::join(&server, "ann");
        let bob = Client::join(&server, "bob");
        drop(bob);
        assert_eq!(ann.line(), "* bob has joined, 2 here");
        assert_eq!(ann.line(), "* bob has left, 1 here");
        let eve = Client::join(&server, "eve");
        assert_eq!(ann.line(), "* eve has joined, 2 here");
        let report = server.stop_now().unwrap();
        assert!(
            report.killed + report.finished >= 2 && report.stuck == 0,
            "{report:?}"
        );
        drop((ann, eve));
        before_long("all are gone", || {
            greenloop::greenlets().len() <= greenlets && open_descriptors() <= descriptors + 2
        });
        let expected = [
            "* ann has joined, 1 here",
            "* bob has joined, 2 here",
            "* bob has left, 1 here",
            "* eve has joined, 2 here",
        ];
        assert_eq!(*heard.lock().unwrap(), expected);
    });
}
