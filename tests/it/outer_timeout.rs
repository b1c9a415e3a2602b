//! Every call of the crate that may wait honours a `Timeout` around it, and a kill.
//!
//! `rows` is the list of such calls, a line each. A call that is missing there fails
//! [`no_waiting_call_is_forgotten`]: it reads the sources for functions whose documentation
//! says that they may switch.

mod rows;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::net::{Stream, TcpStream, resolve};
use greenloop::server::{Conn, StreamServer};
use greenloop::sync::Queue;
use greenloop::{Error, Snapshot, Timeout, current, greenlets, shield, sleep, spawn};

use crate::support::{before_long, on_workers, on_workers_at_once};

/// The outer limit: short, and still long enough for a call to be in its wait by then.
const OUTER: Duration = Duration::from_millis(20);

/// The call's own limit, where it has one.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// Longer than any trial takes on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A call that waits for ever.
struct Row {
    /// `Type::function`, or the name of a free function; more may follow after a space.
    name: String,
    trials: Box<dyn Fn() + Send>,
}

/// Makes a row: `make` something on which `call` would wait for ever; `after` the call was
/// interrupted, check that it still works and has lost nothing.
fn row<S, T, E>(
    name: &str,
    make: fn() -> S,
    call: fn(&mut S) -> Result<T, E>,
    after: fn(&mut S),
) -> Row
where
    S: Send + 'static,
    T: 'static,
    E: Into<Error> + 'static,
{
    row_of(name.to_owned(), make, call, after)
}

/// Like [`row`], with a call that is made of others.
fn row_of<S, T, E>(
    name: String,
    make: fn() -> S,
    call: impl Fn(&mut S) -> Result<T, E> + Send + Copy + 'static,
    after: fn(&mut S),
) -> Row
where
    S: Send + 'static,
    T: 'static,
    E: Into<Error> + 'static,
{
    let trial = Trial {
        // A trial is copied into each greenlet. The list is made once.
        name: name.clone().leak(),
        make,
        call: move |state: &mut S| call(state).map(drop).map_err(Into::into),
        after,
    };
    Row {
        name,
        trials: Box::new(move || trial.all()),
    }
}

/// What a row is made of. `call` is to wait for ever.
struct Trial<S, C> {
    name: &'static str,
    make: fn() -> S,
    call: C,
    after: fn(&mut S),
}

impl<S, C: Copy> Clone for Trial<S, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, C: Copy> Copy for Trial<S, C> {}

impl<S, C> Trial<S, C>
where
    S: Send + 'static,
    C: Fn(&mut S) -> Result<(), Error> + Send + Copy + 'static,
{
    /// From this OS thread, and from a greenlet.
    fn all(self) {
        self.outer_limit_fires();
        self.passed_limit_fires_at_once();
        self.thread_is_killed();
        spawn(move || {
            self.outer_limit_fires();
            self.passed_limit_fires_at_once();
        })
        .join()
        .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        self.greenlet_is_killed();
    }

    fn failed(self, state: &mut S) -> Error {
        match (self.call)(state) {
            Ok(()) => panic!("{} did not wait", self.name),
            Err(error) => error,
        }
    }

    fn outer_limit_fires(self) {
        let mut state = (self.make)();
        let start = Instant::now();
        let outer = Timeout::start(OUTER);
        let error = self.failed(&mut state);
        assert!(outer.owns(&error), "{}: {error}", self.name);
        assert!(start.elapsed() >= OUTER, "{} was early", self.name);
        drop(outer);
        (self.after)(&mut state);
    }

    fn passed_limit_fires_at_once(self) {
        let mut state = (self.make)();
        let start = Instant::now();
        let outer = Timeout::start(Duration::ZERO);
        let error = self.failed(&mut state);
        assert!(outer.owns(&error), "{}: {error}", self.name);
        assert!(start.elapsed() < AT_ONCE, "{} waited", self.name);
        drop(outer);
        (self.after)(&mut state);
    }

    fn greenlet_is_killed(self) {
        let place = Arc::new(Mutex::new(((Some((self.make)())), None)));
        let blocked = {
            let place = place.clone();
            spawn(move || {
                let mut state = place.lock().unwrap().0.take().unwrap();
                let error = self.failed(&mut state);
                *place.lock().unwrap() = (Some(state), Some(error));
            })
        };
        // It may have to wait for its turn before its body begins, and again in a call that
        // does nothing but that.
        before_long(self.name, || {
            let begun = place.lock().unwrap().0.is_none();
            let waits = |g: &Snapshot| g.id == blocked.id() && g.state != "running";
            begun && greenlets().iter().any(waits)
        });
        let ended = blocked.kill_and_wait(Some(AT_ONCE)).unwrap();
        assert!(ended, "a kill does not end {}", self.name);
        let (state, error) = std::mem::take(&mut *place.lock().unwrap());
        let error = error.unwrap_or_else(|| panic!("{} panicked", self.name));
        assert!(error.is_cancelled(), "{}: {error}", self.name);
        (self.after)(&mut state.unwrap());
    }

    fn thread_is_killed(self) {
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            let mut state = (self.make)();
            tell.send(current()).unwrap();
            let error = self.failed(&mut state);
            (state, error)
        });
        let handle = told.recv().unwrap();
        // Most likely it waits by then; a kill before the wait is as good.
        std::thread::sleep(Duration::from_millis(3));
        handle.kill();
        let (mut state, error) = thread.join().unwrap();
        assert!(error.is_cancelled(), "{}: {error}", self.name);
        (self.after)(&mut state);
    }
}

/// Tries the rows, one after the other: for those that share what the process has one of.
fn try_each(rows: Vec<Row>) {
    for row in rows {
        (row.trials)();
    }
}

/// Tries the rows, several at a time: each has things of its own, and mostly waits.
fn try_all(rows: Vec<Row>) {
    let rows = Mutex::new(rows.into_iter());
    let next = || rows.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(row) = next() {
                    (row.trials)();
                }
            });
        }
    });
}

#[test]
fn waiting_calls_of_the_runtime() {
    on_workers_at_once!({ try_each(rows::runtime()) });
}

#[test]
fn waiting_calls_of_locks() {
    on_workers_at_once!({ try_all(rows::locks()) });
}

#[test]
fn waiting_calls_of_those_who_meet() {
    on_workers_at_once!({ try_all(rows::meeting()) });
}

#[test]
fn waiting_calls_of_queues() {
    on_workers_at_once!({ try_all(rows::queues()) });
}

#[test]
fn waiting_calls_of_groups() {
    on_workers_at_once!({ try_all(rows::groups()) });
}

#[test]
fn waiting_calls_of_lanes() {
    on_workers_at_once!({ try_each(rows::lanes()) });
}

#[test]
fn waiting_calls_of_files() {
    on_workers_at_once!({ try_each(rows::files()) });
}

#[test]
fn waiting_calls_of_programs() {
    on_workers_at_once!({ try_each(rows::programs()) });
}

/// A pipe, which is opened again and waited for by events.
#[test]
fn waiting_calls_of_an_input_with_events() {
    on_workers_at_once!({
        let (reader, writer) = std::io::pipe().unwrap();
        try_each(rows::standard_input(reader, writer));
    });
}

/// A socket, which a thread reads.
#[test]
fn waiting_calls_of_an_input_on_a_thread() {
    on_workers_at_once!({
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        try_each(rows::standard_input(near, far));
    });
}

#[test]
fn waiting_calls_of_net() {
    on_workers_at_once!({ try_all(rows::net()) });
}

#[test]
fn waiting_calls_of_unix_sockets() {
    on_workers_at_once!({ try_all(rows::unix()) });
}

#[test]
fn waiting_calls_of_datagrams() {
    on_workers_at_once!({ try_all(rows::datagrams()) });
}

#[test]
fn waiting_calls_of_servers_and_the_kit() {
    on_workers_at_once!({ try_each(rows::servers()) });
}

type Call = fn(&mut Conn) -> Result<(), Error>;

/// A connection is its handler's, so these calls are tried in one.
#[test]
fn waiting_calls_of_a_connection() {
    on_workers_at_once!({
        let outcomes = Queue::unbounded();
        let handler = {
            let outcomes = outcomes.clone();
            move |conn: &mut Conn| {
                let calls: [Call; 4] = [
                    |conn| conn.wait_ready().map(drop),
                    |conn| conn.read_next(&mut [0; 4]).map(drop),
                    |conn| Ok(conn.read_deadline(&mut [0; 4], LONG.into()).map(drop)?),
                    |conn| Ok(conn.write_all_deadline(&vec![0; 64 << 20], LONG.into())?),
                ];
                for call in calls {
                    let outer = Timeout::start(OUTER);
                    let is_own = call(conn).is_err_and(|error| outer.owns(&error));
                    drop(outer);
                    outcomes.put(is_own)?;
                }
                // And killed, by the server: a plain read goes on while it drains.
                let killed = Error::from(conn.read_deadline(&mut [0; 4], LONG.into()).unwrap_err());
                shield(|| outcomes.put(killed.is_cancelled()))?;
                Err(killed)
            }
        };
        let server = StreamServer::bind("127.0.0.1:0")
            .unwrap()
            .start(handler)
            .unwrap();
        let _client = TcpStream::connect(server.addr()).unwrap();
        for call in 0..4 {
            assert!(outcomes.get().unwrap(), "call {call}");
        }
        let report = server.stop_now().unwrap();
        assert_eq!((report.accepted, report.stuck), (1, 0));
        assert!(outcomes.get().unwrap(), "the kill");
    });
}

#[test]
fn passed_limit_ends_a_lookup_at_once() {
    on_workers!({
        let look_up = || {
            let outer = Timeout::start(Duration::ZERO);
            let error = resolve("localhost", 1).unwrap_err();
            assert!(outer.owns(&error), "{error}");
            drop(outer);
            assert!(!resolve("localhost", 1).unwrap().is_empty());
        };
        look_up();
        spawn(look_up).join().unwrap();
    });
}

// ---- the list is whole ----

const NEVER_FULL: &str = "what is sent on a loopback interface has left its sender at once";

/// Calls that have no row, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "Conn::wait_ready",
        "tried in `waiting_calls_of_a_connection`",
    ),
    (
        "Conn::read_next",
        "tried in `waiting_calls_of_a_connection`",
    ),
    (
        "Conversation::hold",
        "made of waits for greenlets, which have rows",
    ),
    (
        "Listen::serve_one",
        "made of accepts and reads, which have rows",
    ),
    (
        "Listen::take_one",
        "made of a wait for a server, which has a row",
    ),
    (
        "Peer::connect",
        "made of connects and lookups, which have rows",
    ),
    #[cfg(feature = "tls")]
    (
        "Peer::connect_tls",
        "made of connects and handshakes, which have rows",
    ),
    #[cfg(feature = "fetch")]
    (
        "Downloader::run",
        "stops and reports: `fetch::run::a_{killed_caller,caller_that_times_out}_…`",
    ),
    #[cfg(feature = "fetch")]
    ("Downloader::verify", "made of lane calls, which have a row"),
    #[cfg(feature = "fetch")]
    (
        "Downloader::verify_listed",
        "made of lane calls, which have a row",
    ),
    ("Load::run", "made of connects and joins, which have rows"),
    ("Datagram::reply", "tried in `waiting_calls_of_a_datagram`"),
    (
        "Datagram::send_to",
        "tried in `waiting_calls_of_a_datagram`",
    ),
    ("Outlet::send_to", "tried in `waiting_calls_of_a_datagram`"),
    ("Outlet::try_send_to", "only gives others their turns"),
    ("DatagramConfig::bind", "waits only where `resolve` does"),
    (
        "DatagramConfig::bind_all",
        "waits only where `resolve` does",
    ),
    ("DatagramServer::bind", "waits only where `resolve` does"),
    ("ListenOptions::bind", "waits only where `resolve` does"),
    ("ServerConfig::bind", "waits only where `resolve` does"),
    ("ServerConfig::bind_all", "waits only where `resolve` does"),
    ("StreamServer::bind", "waits only where `resolve` does"),
    ("TcpListener::bind", "waits only where `resolve` does"),
    ("UdpOptions::bind", "waits only where `resolve` does"),
    ("UdpSocket::bind", "waits only where `resolve` does"),
    ("UdpSocket::connect", "waits only where `resolve` does"),
    ("UdpSocket::send", NEVER_FULL),
    ("UdpSocket::send_deadline", NEVER_FULL),
    ("UdpSocket::send_timeout", NEVER_FULL),
    ("UdpSocket::send_msg", NEVER_FULL),
    ("UdpSocket::send_msg_deadline", NEVER_FULL),
    ("UdpSocket::send_msg_timeout", NEVER_FULL),
    ("UdpSocket::send_to", NEVER_FULL),
    ("UdpSocket::send_to_deadline", NEVER_FULL),
    ("UdpSocket::send_to_timeout", NEVER_FULL),
    (
        "resolve",
        "no name can be made to hang; see `passed_limit_ends_a_lookup_at_once`",
    ),
    ("resolve_deadline", "as `resolve`"),
    ("Probe::run", "made of connects and joins, which have rows"),
    (
        "SlowServer::serve",
        "made of `sleep` and `accept`, which have rows",
    ),
    ("UploadClient::connect", "as `TcpStream::connect_deadline`"),
    ("UploadHandler::open", "waits only for the files lane"),
];

/// Files of features that are off.
fn is_compiled(path: &str) -> bool {
    match path {
        _ if path.starts_with("src/net/tls") => cfg!(feature = "tls"),
        _ if path.starts_with("src/fetch/") => cfg!(feature = "fetch"),
        _ if path.starts_with("src/cli/") => cfg!(feature = "cli"),
        _ => true,
    }
}

/// The type that an `impl` or a `trait` is about, by the line that begins it.
fn owner_of(line: &str) -> Option<String> {
    let rest = line
        .strip_prefix("impl")
        .or_else(|| line.strip_prefix("pub trait "))?;
    let mut depth = 0;
    // Without what stands between angle brackets.
    let bare: String = rest
        .replace("->", "")
        .chars()
        .filter(|&c| {
            depth += i32::from(c == '<');
            let inside = depth > 0;
            depth -= i32::from(c == '>');
            !inside
        })
        .collect();
    let name = bare.split(" for ").last()?.trim();
    let name = name.split([' ', ':', '{']).find(|part| !part.is_empty())?;
    Some(name.to_owned())
}

/// The public functions in `text`: `Type::name` or `name`, and whether they may switch.
fn functions(text: &str) -> Vec<(String, bool)> {
    let (mut owner, mut is_trait, mut switches) = (None, false, false);
    let mut found = Vec::new();
    for line in text.lines() {
        if line == "}" {
            owner = None;
        }
        if let Some(name) = owner_of(line) {
            owner = Some(name);
            is_trait = line.starts_with("pub trait");
        }
        let code = line.trim_start();
        if code.starts_with("///") {
            switches |= code.contains("May switch to other greenlets");
            continue;
        }
        let Some((before, after)) = code.split_once("fn ") else {
            continue;
        };
        let is_public = before.starts_with("pub ") || (is_trait && owner.is_some());
        // A function in parentheses is a type.
        if is_public && !before.contains('(') {
            let name: String = after
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let name = owner
                .as_ref()
                .map_or_else(|| name.clone(), |o| format!("{o}::{name}"));
            found.push((name, switches));
        }
        switches = false;
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<(String, bool)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if path.is_dir() {
            sources(&path, found);
        } else if is_compiled(&name) {
            found.extend(functions(&std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn no_waiting_call_is_forgotten() {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let known: BTreeSet<_> = all.iter().map(|(name, _)| name.as_str()).collect();
    let waiting: BTreeSet<_> = all
        .iter()
        .filter(|(_, switches)| *switches)
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(waiting.len() > 30, "the sources were not understood");

    let rows = rows::all();
    let names = rows.iter().map(|row| row.name.split(' ').next().unwrap());
    let tried: BTreeSet<_> = names
        .chain(EXCEPTIONS.iter().map(|(name, _)| *name))
        .collect();

    let forgotten: Vec<_> = waiting.difference(&tried).collect();
    assert!(
        forgotten.is_empty(),
        "may wait and have no row in tests/it/outer_timeout/rows: {forgotten:?}"
    );
    let gone: Vec<_> = tried.difference(&known).collect();
    assert!(
        gone.is_empty(),
        "have a row and are no public functions: {gone:?}"
    );
}

#[test]
fn reader_of_sources_reads() {
    let text = "\
impl<T: Into<U>> Waiters<T> {
    /// May switch to other greenlets.
    #[track_caller]
    pub fn stand(
        &self,
    ) {}
    pub fn run(&self, f: impl Fn() -> bool) {}
    /// May switch to other greenlets.
    pub(crate) fn inner(&self) {}
}

/// May switch to other greenlets, on every call.
pub fn free<T>() {}

pub trait Wait: Send {
    /// May switch to other greenlets.
    fn wait(&self);
}

impl<'a> super::Wait for &'a Thing<u8> {
    fn wait(&self) {}
}
";
    let found = functions(text);
    let found: Vec<_> = found.iter().map(|(n, s)| (n.as_str(), *s)).collect();
    let expected = [
        ("Waiters::stand", true),
        ("Waiters::run", false),
        ("free", true),
        ("Wait::wait", true),
    ];
    assert_eq!(found, expected);
}

/// A pause in which a greenlet can do nothing but wait.
pub(crate) fn pause_for_ever() -> Result<(), Error> {
    sleep(Duration::MAX)
}
