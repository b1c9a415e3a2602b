//! Unix sockets.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use greenloop::Deadline;
use greenloop::net::{ListenOptions, Stream, UnixAddr, UnixListener, UnixStream};

use super::{LONG, Row, Rows, later, soon};

/// A name that no other test has.
pub(super) fn fresh_name() -> UnixAddr {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("@greenloop-rows-{}-{next}", std::process::id());
    name.parse().unwrap()
}

fn listening() -> UnixListener {
    UnixListener::bind(fresh_name()).unwrap()
}

fn still_accepts(listener: &mut UnixListener) {
    let _client = UnixStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_, peer) = listener.accept_deadline(soon()).unwrap();
    assert_eq!(peer, UnixAddr::Unnamed);
}

/// A listener whose queue is full, and what fills it.
struct Crowded {
    listener: UnixListener,
    addr: UnixAddr,
    inside: Vec<UnixStream>,
}

fn crowded() -> Crowded {
    let addr = fresh_name();
    let listener = ListenOptions::new().backlog(0).bind_unix(addr.clone());
    let mut inside = Vec::new();
    while let Ok(stream) = UnixStream::connect_timeout(addr.clone(), Duration::from_millis(20)) {
        inside.push(stream);
        assert!(inside.len() < 10, "the queue has no end");
    }
    Crowded {
        listener: listener.unwrap(),
        addr,
        inside,
    }
}

fn still_connects(crowded: &mut Crowded) {
    for _ in &crowded.inside {
        crowded.listener.accept_deadline(soon()).unwrap();
    }
    UnixStream::connect_deadline(crowded.addr.clone(), soon()).unwrap();
}

type Pair = (UnixStream, UnixStream);

fn pair() -> Pair {
    UnixStream::pair().unwrap()
}

fn still_reads((a, b): &mut Pair) {
    b.write_all(b"later").unwrap();
    let mut got = [0; 5];
    a.read_exact_deadline(&mut got, soon()).unwrap();
    assert_eq!(&got, b"later");
}

pub(in super::super) fn unix() -> Vec<Row> {
    let mut rows = Rows::on("UnixListener", listening, still_accepts)
        .call("accept", |l| l.accept())
        .call("accept_timeout", |l| l.accept_timeout(LONG))
        .call("accept_deadline", |l| l.accept_deadline(later()))
        .rows;
    let connect = Rows::on("UnixStream", crowded, still_connects)
        .call("connect", |c| UnixStream::connect(c.addr.clone()))
        .call("connect_timeout", |c| {
            UnixStream::connect_timeout(c.addr.clone(), LONG)
        })
        .call("connect_deadline", |c| {
            UnixStream::connect_deadline(c.addr.clone(), later())
        });
    rows.extend(connect.rows);
    let peek = Rows::on("UnixStream", pair, still_reads).call("peek", |(a, _)| a.peek(&mut [0; 8]));
    rows.extend(peek.rows);
    let read = Rows::on("Stream unix", pair, still_reads).call("read_deadline", |(a, _)| {
        a.read_deadline(&mut [0; 8], Deadline::NEVER)
    });
    rows.extend(read.rows);
    rows
}
