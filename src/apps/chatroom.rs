//! A chat room over datagrams: each is a line that all see, with the time and the sender.
//!
//! There is no hello and no goodbye: whoever has sent something lately is in the room. So
//! nothing is sent to an address that has not itself just sent, nobody gets more for
//! joining than others then say, and the number of members and what each may say are
//! bounded: a room that did otherwise would be a tool to flood third parties with.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::net::{Addr, UnixAddr};
use crate::proto::rate::TokenBucket;
use crate::server::{Datagram, DatagramHandler, Outlet};
use crate::util::{and_more, escape, lock};

/// What a room allows.
///
/// # Examples
///
/// ```
/// use greenloop::apps::chatroom::{Chatroom, Rules};
/// use greenloop::net::UdpSocket;
/// use greenloop::server::DatagramServer;
/// use std::sync::mpsc;
///
/// let (say, said) = mpsc::channel();
/// let rules = Rules::new().relay(true);
/// let room = Chatroom::new(rules, || "Sat Nov 21 10:00:00 2026".into(), move |line| {
///     let _ = say.send(line.to_owned());
/// });
/// let server = DatagramServer::bind("127.0.0.1:0")?.start(room)?;
/// let mut client = UdpSocket::bind("127.0.0.1:0")?;
/// client.connect(server.addr())?;
/// client.send("hi\x1b[2J".as_bytes())?;
/// let line = greenloop::blocking(move || said.recv().unwrap())?;
/// assert_eq!(line, "【Sat Nov 21 10:00:00 2026】127.0.0.1:hi\\u{1b}[2J");
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Rules {
    relay: bool,
    members_max: usize,
    member_timeout: Duration,
    text_bytes_max: usize,
    burst: u32,
    interval: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self::new()
    }
}

impl Rules {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            relay: false,
            members_max: 256,
            member_timeout: Duration::from_secs(300),
            text_bytes_max: 1024,
            burst: 20,
            interval: Duration::from_millis(100),
        }
    }

    /// Whether each line goes to all other members; default no, it is shown here alone.
    pub fn relay(mut self, relay: bool) -> Self {
        self.relay = relay;
        self
    }

    /// How many senders are known at a time; default 256. Where lines are relayed, those who
    /// come when the room is full are not heard until somebody has been silent for long
    /// enough.
    pub fn members_max(mut self, count: usize) -> Self {
        self.members_max = count;
        self
    }

    /// For how long nothing has to come from somebody who is still sent to; default 5
    /// minutes.
    pub fn member_timeout(mut self, limit: Duration) -> Self {
        self.member_timeout = limit;
        self
    }

    /// How many bytes of a text are shown; default 1024. The rest is counted, not shown.
    pub fn text_bytes_max(mut self, bytes: usize) -> Self {
        self.text_bytes_max = bytes;
        self
    }

    /// How many messages one sender may send at once, and then one in each `interval`;
    /// default 20 and 100 ms. What is more is not heard.
    pub fn rate(mut self, burst: u32, interval: Duration) -> Self {
        self.burst = burst;
        self.interval = interval;
        self
    }
}

/// The room; see [`Rules`].
pub struct Chatroom {
    rules: Rules,
    members: Mutex<Members<Outlet>>,
    clock: Box<dyn Fn() -> String + Send + Sync>,
    say: Box<dyn Fn(&str) + Send + Sync>,
}

impl Chatroom {
    /// A room in which `clock` says what time it is, and `say` shows the lines.
    ///
    /// `say` runs in the greenlet that receives: while it waits, the room waits.
    pub fn new(
        rules: Rules,
        clock: impl Fn() -> String + Send + Sync + 'static,
        say: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self {
            rules,
            members: Mutex::new(Members::default()),
            clock: Box::new(clock),
            say: Box::new(say),
        }
    }

    /// The line that a message becomes.
    fn line(&self, datagram: &Datagram) -> String {
        let text = shown(datagram.data(), datagram.size(), self.rules.text_bytes_max);
        // As the tutorials show it: the host, and not which of its sockets.
        let peer = match datagram.peer() {
            Addr::Ip(addr) if addr.is_ipv6() => format!("[{}]", addr.ip()),
            Addr::Ip(addr) => addr.ip().to_string(),
            unix @ Addr::Unix(_) => unix.to_string(),
        };
        format!("【{}】{peer}:{text}", (self.clock)())
    }
}

impl DatagramHandler for Chatroom {
    fn handle(&self, datagram: &mut Datagram) -> Result<()> {
        let peer = datagram.peer();
        let heard = lock(&self.members).hear(&self.rules, peer, datagram.outlet(), Instant::now());
        let Heard::To(others) = heard else {
            return Ok(());
        };
        let line = self.line(datagram);
        (self.say)(&line);
        for (other, outlet) in others {
            let sent = match &other {
                // Any room that lacks is our own socket's, and comes back by itself.
                Addr::Ip(_) => outlet.send_to(line.as_bytes(), &other),
                // It comes when somebody reads, who need not even be this member: nobody
                // waits for that.
                Addr::Unix(_) => outlet.try_send_to(line.as_bytes(), &other),
            };
            match sent {
                Ok(()) => {}
                Err(error) if error.is_cancelled() => return Err(error),
                // The line is lost to it, as datagrams are.
                Err(error) if error.io_kind() == io::ErrorKind::WouldBlock => {}
                // Whoever cannot be reached is here again when it speaks.
                Err(_) => drop(lock(&self.members).by_addr.remove(&other)),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Chatroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chatroom")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Who has sent lately. `W` is the way to a member.
struct Members<W> {
    by_addr: HashMap<Addr, Member<W>>,
}

struct Member<W> {
    way: W,
    seen: Instant,
    bucket: TokenBucket,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
enum Heard<W> {
    /// It is shown, and sent to these.
    To(Vec<(Addr, W)>),
    /// Its sender says too much.
    TooMuch,
    /// There is no room for its sender.
    Full,
}

impl<W> Default for Members<W> {
    fn default() -> Self {
        let by_addr = HashMap::new();
        Self { by_addr }
    }
}

impl<W: Clone> Members<W> {
    /// Takes note of a message from `peer`.
    fn hear(&mut self, rules: &Rules, peer: &Addr, way: W, now: Instant) -> Heard<W> {
        if !self.by_addr.contains_key(peer) && self.by_addr.len() >= rules.members_max {
            self.forget_the_silent(rules, now);
            if !rules.relay {
                // Nothing is lost by forgetting one but how much it has said.
                self.forget_the_most_silent();
            }
            if self.by_addr.len() >= rules.members_max {
                return Heard::Full;
            }
        }
        let member = self.by_addr.entry(peer.clone()).or_insert_with(|| Member {
            way: way.clone(),
            seen: now,
            bucket: TokenBucket::new(rules.burst, rules.interval),
        });
        member.seen = now;
        // The last address at which it has asked is the one that it hears.
        member.way = way;
        if member.bucket.take(now).is_err() {
            return Heard::TooMuch;
        }
        if !rules.relay {
            return Heard::To(Vec::new());
        }
        self.forget_the_silent(rules, now);
        let is_reachable = |addr: &Addr| !matches!(addr, Addr::Unix(UnixAddr::Unnamed));
        let others = self.by_addr.iter();
        let others = others.filter(|(addr, _)| *addr != peer && is_reachable(addr));
        Heard::To(
            others
                .map(|(addr, member)| (addr.clone(), member.way.clone()))
                .collect(),
        )
    }

    fn forget_the_most_silent(&mut self) {
        let seen = |(addr, member): (&Addr, &Member<W>)| (member.seen, addr.clone());
        if let Some((_, addr)) = self.by_addr.iter().map(seen).min_by_key(|(at, _)| *at) {
            self.by_addr.remove(&addr);
        }
    }

    fn forget_the_silent(&mut self, rules: &Rules, now: Instant) {
        let is_here =
            |member: &Member<W>| now.saturating_duration_since(member.seen) < rules.member_timeout;
        self.by_addr.retain(|_, member| is_here(member));
    }
}

/// The text of a message for others' terminals: no control characters, no more than `max`
/// bytes of what was sent.
fn shown(data: &[u8], size: usize, max: usize) -> String {
    let text = data.strip_suffix(b"\n").unwrap_or(data);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let lost = size - data.len();
    if text.len() <= max && lost == 0 {
        return escape(text);
    }
    let kept = &text[..character_boundary(text, max.min(text.len()))];
    let rest = text.len() - kept.len() + lost;
    escape(kept) + &and_more(rest)
}

/// The last place up to `at` that is not inside a character.
fn character_boundary(bytes: &[u8], at: usize) -> usize {
    let is_inside = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character has four bytes at most; longer runs are no characters.
    (at.saturating_sub(3)..=at)
        .rev()
        .find(|at| !is_inside(at))
        .unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u8) -> Addr {
        Addr::Ip(([192, 0, 2, n], 7000).into())
    }

    struct Room {
        members: Members<u8>,
        rules: Rules,
        start: Instant,
    }

    impl Room {
        fn new(rules: Rules) -> Self {
            Self {
                members: Members::default(),
                rules: rules.relay(true),
                start: Instant::now(),
            }
        }

        /// Who gets what `n` says after so many milliseconds.
        fn say(&mut self, n: u8, ms: u64) -> Heard<u8> {
            let now = self.start + Duration::from_millis(ms);
            match self.members.hear(&self.rules, &addr(n), n, now) {
                Heard::To(mut others) => {
                    others.sort_by_key(|(_, way)| *way);
                    Heard::To(others)
                }
                other => other,
            }
        }
    }

    fn to(others: &[u8]) -> Heard<u8> {
        Heard::To(others.iter().map(|n| (addr(*n), *n)).collect())
    }

    #[test]
    fn line_goes_to_those_who_have_spoken_lately() {
        let mut room = Room::new(Rules::new().member_timeout(Duration::from_secs(1)));
        assert_eq!(room.say(1, 0), to(&[]));
        assert_eq!(room.say(2, 100), to(&[1]));
        assert_eq!(room.say(3, 999), to(&[1, 2]));
        assert_eq!(room.say(2, 1000), to(&[3]));
        assert_eq!(room.say(1, 1999), to(&[2]));
        assert_eq!(room.say(3, 9000), to(&[]));
        assert_eq!(room.members.by_addr.len(), 1);
    }

    #[test]
    fn full_room_hears_members_only_until_one_is_silent() {
        let rules = Rules::new()
            .members_max(2)
            .member_timeout(Duration::from_secs(1));
        let mut room = Room::new(rules);
        assert_eq!(room.say(1, 0), to(&[]));
        assert_eq!(room.say(2, 500), to(&[1]));
        assert_eq!(room.say(3, 600), Heard::Full);
        assert_eq!(room.say(1, 700), to(&[2]));
        assert_eq!(room.say(3, 1499), Heard::Full);
        assert_eq!(room.say(3, 1500), to(&[1]));
        assert_eq!(room.say(2, 1501), Heard::Full);
    }

    #[test]
    fn room_that_relays_nothing_hears_any_number() {
        let mut room = Room::new(Rules::new().members_max(2));
        room.rules = room.rules.relay(false);
        for n in 0..100 {
            assert_eq!(room.say(n, u64::from(n)), to(&[]));
            assert!(room.members.by_addr.len() <= 2);
        }
    }

    #[test]
    fn who_says_too_much_is_not_heard_and_nobody_else_suffers() {
        let rules = Rules::new().rate(3, Duration::from_millis(100));
        let mut room = Room::new(rules);
        room.say(2, 0);
        let heard = (0..10).filter(|_| room.say(1, 0) == to(&[2])).count();
        assert_eq!(heard, 3);
        assert_eq!(room.say(1, 50), Heard::TooMuch);
        assert_eq!(room.say(2, 50), to(&[1]));
        assert_eq!(room.say(1, 100), to(&[2]));
    }

    #[test]
    fn texts_are_safe_and_short() {
        for (data, expected) in [
            (&b"hi"[..], "hi"),
            (b"hi\r\n", "hi"),
            (b"", ""),
            (b"a\nb", "a\\nb"),
            (b"\x1b[2J\x00\x07", "\\u{1b}[2J\\u{0}\\u{7}"),
            (
                "\u{202e}e\u{200b}\u{85}".as_bytes(),
                "\\u{202e}e\\u{200b}\\u{85}",
            ),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("我爱".as_bytes(), "我爱"),
            ("我爱Python".as_bytes(), "我爱Pyt … and 3 bytes"),
            ("我爱我爱".as_bytes(), "我爱我 … and 3 bytes"),
            (
                b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
                "\\x80\\x80\\x80\\x80\\x80\\x80\\x80\\x80\\x80 … and 1 byte",
            ),
        ] {
            assert_eq!(shown(data, data.len(), 9), expected, "{data:?}");
        }
        assert_eq!(shown(b"abc", 10, 9), "abc … and 7 bytes");
    }
}
