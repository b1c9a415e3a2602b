//! The calls that may wait: what to wait on, the call, and what must hold afterwards.
//!
//! One row for each public function whose documentation says that it may switch:
//! `row("Type::function", || a thing it waits on for ever, |thing| the call, |thing| checks)`.
//! A call with a limit of its own gets `LONG`.

use std::future;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::net::{ListenOptions, ReadHalf, Stream, TcpListener, TcpStream, WriteHalf};
use greenloop::server::{Conn, ServerHandle, StreamServer};
use greenloop::signal::{SIGUSR2, Signals};
use greenloop::sync::{Event, Queue, Semaphore, scope, wait_some};
use greenloop::testkit::{
    AcceptScript, MemoryStream, ScriptedListener, Sequencer, Turn, errno, stream_pair,
};
use greenloop::{
    Deadline, Error, Greenlet, as_completed, block_on, blocking, join_all, join_some, kill_all,
    shield, sleep, sleep_until, spawn, try_join_all, wait_all, wait_any, wait_any_timeout,
    yield_now,
};

use super::{LONG, Row, pause_for_ever, row};

fn later() -> Deadline {
    Deadline::after(LONG)
}

/// For what has to happen, on any machine.
fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

// ---- runtime ----

/// A greenlet that ends when its event is set.
struct Target {
    greenlet: Option<Greenlet<u8>>,
    handle: greenloop::Handle,
    go: Event,
}

/// It does not end before its event is set, killed or not.
fn target() -> Target {
    let (go, inside) = (Event::new(), Event::new());
    let greenlet = {
        let (go, inside) = (go.clone(), inside.clone());
        spawn(move || {
            shield(|| {
                inside.set();
                go.wait().unwrap();
            });
            7
        })
    };
    inside.wait().unwrap();
    Target {
        handle: greenlet.handle(),
        greenlet: Some(greenlet),
        go,
    }
}

fn still_ends(target: &mut Target) {
    assert!(!target.handle.is_ready());
    target.go.set();
    target.handle.wait().unwrap();
    if let Some(Ok(value)) = target.greenlet.take().map(Greenlet::join) {
        assert_eq!(value, 7);
    }
}

type Lane = (Arc<Mutex<Receiver<()>>>, Sender<()>);

pub(super) fn runtime() -> Vec<Row> {
    vec![
        row(
            "sleep",
            || (),
            |()| sleep(LONG),
            |()| sleep(Duration::from_millis(1)).unwrap(),
        ),
        row("sleep for_ever", || (), |()| pause_for_ever(), |()| ()),
        row(
            "sleep_until",
            || (),
            |()| sleep_until(Instant::now() + LONG),
            |()| (),
        ),
        row(
            "yield_now",
            || (),
            |()| -> Result<(), Error> {
                loop {
                    yield_now()?;
                }
            },
            |()| yield_now().unwrap(),
        ),
        row(
            "blocking",
            || -> Lane {
                let (tell, told) = channel();
                (Arc::new(Mutex::new(told)), tell)
            },
            |(told, _)| {
                let told = told.clone();
                blocking(move || told.lock().unwrap().recv())
            },
            |(_, tell)| {
                tell.send(()).unwrap();
                assert_eq!(blocking(|| 3).unwrap(), 3);
            },
        ),
        row(
            "block_on",
            || (),
            |()| block_on(future::pending::<()>()),
            |()| assert_eq!(block_on(future::ready(3)).unwrap(), 3),
        ),
        row(
            "Greenlet::join",
            target,
            |t| t.greenlet.take().map_or(Ok(7), Greenlet::join),
            still_ends,
        ),
        row("Handle::wait", target, |t| t.handle.wait(), still_ends),
        row(
            "Handle::wait_timeout",
            target,
            |t| t.handle.wait_timeout(LONG),
            still_ends,
        ),
        row(
            "Handle::wait_deadline",
            target,
            |t| t.handle.wait_deadline(later()),
            still_ends,
        ),
        row(
            "Handle::kill_and_wait",
            target,
            |t| t.handle.kill_and_wait(Some(LONG)),
            still_ends,
        ),
        row(
            "Signals::wait",
            || Signals::new(&[SIGUSR2]).unwrap(),
            |signals| signals.wait(),
            |signals| {
                signal_hook::low_level::raise(SIGUSR2).unwrap();
                assert_eq!(signals.wait().unwrap(), SIGUSR2);
            },
        ),
    ]
}

// ---- sync ----

fn still_sets(event: &mut Event) {
    event.set();
    event.wait().unwrap();
}

fn still_counts(semaphore: &mut Semaphore) {
    assert_eq!((semaphore.available(), semaphore.waiting()), (0, 0));
    semaphore.add_permits(1);
    let permit = semaphore.acquire().unwrap();
    assert_eq!(semaphore.available(), 0);
    drop(permit);
    assert_eq!(semaphore.available(), 1);
}

fn empty() -> Queue<u8> {
    Queue::bounded(2)
}

fn still_gets(queue: &mut Queue<u8>) {
    queue.try_put(1).unwrap();
    queue.try_put(2).unwrap();
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (1, 2));
    assert!(queue.is_empty());
}

fn full() -> Queue<u8> {
    let queue = Queue::bounded(1);
    queue.try_put(1).unwrap();
    queue
}

/// The refused item is not in it.
fn still_puts(queue: &mut Queue<u8>) {
    assert_eq!(queue.get().unwrap(), 1);
    assert!(queue.is_empty());
    queue.put(2).unwrap();
    assert_eq!(queue.get().unwrap(), 2);
}

fn waiting_for(event: &Event) -> Greenlet<()> {
    let event = event.clone();
    spawn(move || event.wait().unwrap())
}

pub(super) fn sync() -> Vec<Row> {
    vec![
        row("Event::wait", Event::new, |e| e.wait(), still_sets),
        row(
            "Event::wait_timeout",
            Event::new,
            |e| e.wait_timeout(LONG),
            still_sets,
        ),
        row(
            "Event::wait_deadline",
            Event::new,
            |e| e.wait_deadline(later()),
            still_sets,
        ),
        row(
            "Semaphore::acquire",
            || Semaphore::new(0),
            |s| s.acquire(),
            still_counts,
        ),
        row(
            "Semaphore::acquire_timeout",
            || Semaphore::new(0),
            |s| s.acquire_timeout(LONG),
            still_counts,
        ),
        row(
            "Semaphore::acquire_deadline",
            || Semaphore::new(0),
            |s| s.acquire_deadline(later()),
            still_counts,
        ),
        row("Queue::get", empty, |q| q.get(), still_gets),
        row(
            "Queue::get_timeout",
            empty,
            |q| q.get_timeout(LONG),
            still_gets,
        ),
        row(
            "Queue::get_deadline",
            empty,
            |q| q.get_deadline(later()),
            still_gets,
        ),
        row("Queue::put", full, |q| q.put(9), still_puts),
        row(
            "Queue::put_timeout",
            full,
            |q| q.put_timeout(9, LONG),
            still_puts,
        ),
        row(
            "Queue::put_deadline",
            full,
            |q| q.put_deadline(9, later()),
            still_puts,
        ),
        row(
            "wait_any",
            Event::new,
            |e| wait_any(&[&*e, &*e]),
            still_sets,
        ),
        row(
            "wait_any_timeout",
            Event::new,
            |e| wait_any_timeout(&[&*e], LONG),
            still_sets,
        ),
        row("wait_all", Event::new, |e| wait_all(&[&*e]), still_sets),
        row(
            "wait_some",
            Event::new,
            |e| wait_some(&[&*e], 1, Some(LONG)),
            still_sets,
        ),
        row(
            "join_all",
            Event::new,
            |e| {
                join_all([waiting_for(e)])
                    .into_iter()
                    .collect::<Result<Vec<_>, _>>()
            },
            still_sets,
        ),
        row(
            "try_join_all",
            Event::new,
            |e| try_join_all([waiting_for(e)]),
            still_sets,
        ),
        row(
            "join_some",
            target,
            |t| join_some(std::slice::from_ref(&t.handle), 1, Some(LONG)),
            still_ends,
        ),
        row(
            "as_completed",
            Event::new,
            |e| {
                as_completed([waiting_for(e)])
                    .next()
                    .expect("one has not come")
            },
            still_sets,
        ),
        row(
            "kill_all",
            target,
            |t| kill_all(std::slice::from_ref(&t.handle), Some(LONG)),
            still_ends,
        ),
        row(
            "scope",
            || (),
            |()| scope(|s| drop(s.spawn(|| sleep(LONG)))),
            |()| assert_eq!(scope(|s| s.spawn(|| 3).join().unwrap()).unwrap(), 3),
        ),
        row(
            "ScopedGreenlet::join",
            || (),
            |()| scope(|s| s.spawn(|| sleep(LONG)).join().map(drop)).and_then(|j| Ok(j?)),
            |()| (),
        ),
    ]
}

// ---- net ----

fn tcp_pair() -> (TcpStream, TcpStream) {
    let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn still_reads((a, b): &mut (TcpStream, TcpStream)) {
    b.write_all(b"later").unwrap();
    let mut got = [0; 5];
    a.read_exact_deadline(&mut got, soon()).unwrap();
    assert_eq!(&got, b"later");
}

/// A stream that takes no more, its peer, and how many bytes it has taken.
struct Full {
    near: TcpStream,
    far: Option<TcpStream>,
    taken: usize,
}

fn full_stream() -> Full {
    let (mut near, far) = tcp_pair();
    let (chunk, mut taken) = (vec![7; 16 << 10], 0);
    let limit = || Deadline::after(Duration::from_millis(50));
    while let Ok(count) = near.write_deadline(&chunk, limit()) {
        taken += count;
    }
    let far = Some(far);
    Full { near, far, taken }
}

/// Nothing of the refused write was sent.
fn still_writes(full: &mut Full) {
    let mut far = full.far.take().unwrap();
    let reading = spawn(move || {
        let (mut sum, mut buf) = (0, vec![0; 64 << 10]);
        loop {
            match far.read_deadline(&mut buf, soon()).unwrap() {
                0 => return sum,
                count => sum += count,
            }
        }
    });
    full.near.write_all_deadline(b"end", soon()).unwrap();
    full.near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(reading.join().unwrap(), full.taken + 3);
}

fn listening() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn still_accepts(listener: &mut TcpListener) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_, peer) = listener.accept_deadline(soon()).unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

/// A listener whose queue is full, so that a connect gets no answer, and what fills it.
struct Crowded {
    listener: TcpListener,
    addr: SocketAddr,
    inside: Vec<TcpStream>,
}

fn crowded() -> Crowded {
    let listener = ListenOptions::new().backlog(0).bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut inside = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(addr, Duration::from_millis(60)) {
        inside.push(stream);
        assert!(inside.len() < 10, "the queue has no end");
    }
    Crowded {
        listener,
        addr,
        inside,
    }
}

fn still_connects(crowded: &mut Crowded) {
    for _ in &crowded.inside {
        crowded.listener.accept_deadline(soon()).unwrap();
    }
    TcpStream::connect_deadline(crowded.addr, soon()).unwrap();
}

type Halves = (ReadHalf, WriteHalf, TcpStream);

fn halves() -> Halves {
    let (near, far) = tcp_pair();
    let (reader, writer) = near.split().unwrap();
    (reader, writer, far)
}

pub(super) fn net() -> Vec<Row> {
    let mut rows = vec![
        row(
            "TcpListener::accept",
            listening,
            |l| l.accept(),
            still_accepts,
        ),
        row(
            "TcpListener::accept_timeout",
            listening,
            |l| l.accept_timeout(LONG),
            still_accepts,
        ),
        row(
            "TcpListener::accept_deadline",
            listening,
            |l| l.accept_deadline(later()),
            still_accepts,
        ),
        row(
            "TcpStream::connect",
            crowded,
            |c| TcpStream::connect(c.addr),
            still_connects,
        ),
        row(
            "TcpStream::connect_timeout",
            crowded,
            |c| TcpStream::connect_timeout(c.addr, LONG),
            still_connects,
        ),
        row(
            "TcpStream::connect_deadline",
            crowded,
            |c| TcpStream::connect_deadline(c.addr, later()),
            still_connects,
        ),
        row(
            "TcpStream::peek",
            tcp_pair,
            |(a, _)| a.peek(&mut [0]),
            still_reads,
        ),
        row(
            "Stream::read_deadline read",
            tcp_pair,
            |(a, _)| a.read(&mut [0; 8]),
            still_reads,
        ),
        row(
            "Stream::read_deadline",
            tcp_pair,
            |(a, _)| a.read_deadline(&mut [0; 8], later()),
            still_reads,
        ),
        row(
            "Stream::read_exact_deadline",
            tcp_pair,
            |(a, _)| a.read_exact_deadline(&mut [0; 8], later()),
            still_reads,
        ),
        row(
            "Stream::write_deadline write",
            full_stream,
            |f| f.near.write(b"no"),
            still_writes,
        ),
        row(
            "Stream::write_deadline",
            full_stream,
            |f| f.near.write_deadline(b"no", later()),
            still_writes,
        ),
        row(
            "Stream::write_all_deadline",
            full_stream,
            |f| f.near.write_all_deadline(b"no", later()),
            still_writes,
        ),
        row(
            "ReadHalf::read_deadline",
            halves,
            |(reader, _, _)| reader.read_deadline(&mut [0; 8], later()),
            |(reader, _, far)| {
                far.write_all(b"later").unwrap();
                let mut got = [0; 5];
                reader.read_exact(&mut got).unwrap();
                assert_eq!(&got, b"later");
            },
        ),
        row(
            "WriteHalf::write_all_deadline",
            halves,
            |(_, writer, _)| writer.write_all_deadline(&vec![7; 64 << 20], later()),
            |(_, writer, far)| {
                // An unknown part of it is on its way, and then the end.
                writer.shutdown().unwrap();
                let mut buf = vec![0; 64 << 10];
                while far.read_deadline(&mut buf, soon()).unwrap() > 0 {}
            },
        ),
    ];
    rows.extend(tls());
    rows
}

#[cfg(not(feature = "tls"))]
fn tls() -> Vec<Row> {
    Vec::new()
}

/// Handshakes with a peer that says nothing.
#[cfg(feature = "tls")]
fn tls() -> Vec<Row> {
    use greenloop::net::tls::{TlsAcceptor, TlsConnector};

    type Silent = (Option<TcpStream>, TcpStream);
    fn silent() -> Silent {
        let (near, far) = tcp_pair();
        (Some(near), far)
    }
    /// The stream was closed with the handshake.
    fn is_closed((_, far): &mut Silent) {
        let mut sink = vec![0; 4096];
        while let Ok(1..) = far.read_deadline(&mut sink, soon()) {}
    }
    fn acceptor() -> TlsAcceptor {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        TlsAcceptor::with_config(config.into())
    }
    vec![
        row(
            "TlsConnector::connect",
            silent,
            |(near, _)| {
                let near = near.take().unwrap();
                TlsConnector::new()
                    .unwrap()
                    .connect("localhost", near, later())
            },
            is_closed,
        ),
        row(
            "TlsAcceptor::accept",
            silent,
            |(near, _)| acceptor().accept(near.take().unwrap(), later()),
            is_closed,
        ),
    ]
}

// ---- servers, the kit ----

/// A server with one connection, whose handler is not to be killed before `go` is set.
struct Serving {
    server: ServerHandle,
    _client: TcpStream,
    go: Event,
}

fn serving() -> Serving {
    let (go, inside) = (Event::new(), Event::new());
    let handler = {
        let (go, inside) = (go.clone(), inside.clone());
        move |_: &mut Conn| {
            shield(|| {
                inside.set();
                go.wait()
            })
        }
    };
    let server = StreamServer::bind("127.0.0.1:0")
        .unwrap()
        .start(handler)
        .unwrap();
    let client = TcpStream::connect(server.addr()).unwrap();
    inside.wait().unwrap();
    Serving {
        server,
        _client: client,
        go,
    }
}

fn still_drains(serving: &mut Serving) {
    serving.go.set();
    let report = serving.server.drain(Duration::from_secs(20)).unwrap();
    assert_eq!((report.accepted, report.stuck), (1, 0));
}

type Bound = (Option<StreamServer>, SocketAddr);

fn bound() -> Bound {
    let server = StreamServer::bind("127.0.0.1:0").unwrap();
    let addr = server.addr();
    (Some(server), addr)
}

fn is_stopped((_, addr): &mut Bound) {
    TcpListener::bind(*addr).unwrap();
}

fn nothing(_: &mut Conn) -> Result<(), Error> {
    Ok(())
}

type Pair = (MemoryStream, MemoryStream);

fn sequence() -> (Sequencer, Turn) {
    let sequence = Sequencer::new();
    let turn = sequence.at(0).unwrap();
    (sequence, turn)
}

fn scripted() -> ScriptedListener {
    ScriptedListener::new(listening(), AcceptScript::new().connection())
}

fn script_still_runs(listener: &mut ScriptedListener) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_, peer) = listener.accept_deadline(soon()).unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

pub(super) fn others() -> Vec<Row> {
    vec![
        row(
            "ServerHandle::wait",
            serving,
            |s| s.server.wait(),
            still_drains,
        ),
        row(
            "ServerHandle::drain",
            serving,
            |s| s.server.drain(LONG),
            still_drains,
        ),
        row(
            "ServerHandle::stop_now",
            serving,
            |s| s.server.stop_now(),
            |s| s.go.set(),
        ),
        row(
            "StreamServer::serve",
            bound,
            |(s, _)| s.take().unwrap().serve(nothing),
            is_stopped,
        ),
        row(
            "StreamServer::serve_until_signal",
            bound,
            |(s, _)| s.take().unwrap().serve_until_signal(nothing),
            is_stopped,
        ),
        row(
            "Sequencer::at",
            sequence,
            |(sequence, _)| sequence.at(1),
            |(sequence, _)| assert!(sequence.at(2).is_err()),
        ),
        row(
            "AcceptScript::wait_done",
            || AcceptScript::new().error(errno::EMFILE),
            |script| script.wait_done(),
            |script| assert_eq!(script.left(), 1),
        ),
        row(
            "ScriptedListener::accept",
            scripted,
            |l| l.accept(),
            script_still_runs,
        ),
        row(
            "ScriptedListener::accept_deadline",
            scripted,
            |l| l.accept_deadline(later()),
            script_still_runs,
        ),
        row(
            "Stream::read_deadline memory",
            || -> Pair { stream_pair(4) },
            |(a, _)| a.read_deadline(&mut [0; 4], later()),
            |(a, b)| {
                b.write_all(b"ok").unwrap();
                assert_eq!(a.read(&mut [0; 4]).unwrap(), 2);
            },
        ),
        row(
            "Stream::write_deadline memory",
            || -> Pair {
                let mut pair = stream_pair(4);
                pair.0.write_all(b"full").unwrap();
                pair
            },
            |(a, _)| a.write_deadline(b"no", later()),
            |(a, b)| {
                a.shutdown(Shutdown::Write).unwrap();
                let mut text = String::new();
                b.read_to_string(&mut text).unwrap();
                assert_eq!(text, "full");
            },
        ),
    ]
}
