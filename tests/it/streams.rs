//! What every stream holds to, whatever it is made of: one suite, run over each kind.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenloop::net::{Stream, TcpListener, TcpStream, UnixStream};
use greenloop::testkit::{Faults, Faulty, assert_no_switch, stream_pair};
use greenloop::{Deadline, Error, Timeout, sleep, spawn};

use crate::support::{before_long, is_blocked, on_workers_at_once};

const LONG: Duration = Duration::from_secs(3600);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Far enough for any machine, near enough to see which check hangs.
fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// What differs between kinds.
#[derive(Clone, Copy)]
struct Kind {
    /// How many bytes the big transfers have.
    big: usize,
    /// Whether a `write` that fails has taken nothing. TLS may have sealed it by then.
    exact_writes: bool,
    /// Whether an empty call does nothing at all, not even wait.
    no_faults: bool,
}

const PLAIN: Kind = Kind {
    big: 2 << 20,
    exact_writes: true,
    no_faults: true,
};

/// The suite. `pair` makes two ends that are connected; each check gets new ones, once
/// either way round.
fn check_stream<A, B>(kind: Kind, pair: impl Fn() -> (A, B) + Send + Sync + 'static)
where
    A: Stream + 'static,
    B: Stream + 'static,
{
    let pair = Arc::new(pair);
    let swapped = {
        let pair = pair.clone();
        move || {
            let (a, b) = pair();
            (b, a)
        }
    };
    let pair = move || pair();
    check_each(kind, &pair);
    check_each(kind, &swapped);
    spawn(move || {
        check_each(kind, &pair);
        check_each(kind, &swapped);
    })
    .join()
    .unwrap();
}

fn check_each<A, B>(kind: Kind, pair: &dyn Fn() -> (A, B))
where
    A: Stream + 'static,
    B: Stream + 'static,
{
    bytes_arrive_in_order(pair());
    end_is_seen_after_all_bytes(pair());
    half_closed_stream_still_reads(pair());
    empty_calls_do_nothing(kind, pair());
    own_limits_fire_and_take_nothing(pair());
    outer_limit_fires_and_takes_nothing(pair());
    timeouts_race_data_and_lose_no_byte(pair());
    full_stream_times_the_writer_out(kind, pair());
    kill_ends_a_read_and_takes_nothing(pair());
    kill_ends_a_write(pair());
    big_transfers_arrive_both_ways(kind, pair());
    vectored_calls_keep_the_order(pair());
    writing_to_nobody_fails(pair());
}

fn bytes_arrive_in_order<A: Stream, B: Stream>((mut a, mut b): (A, B)) {
    for round in 0..20_u8 {
        let text = [round, 1, 2, 3, 4];
        let mut got = [0; 5];
        a.write_all_deadline(&text, soon()).unwrap();
        b.read_exact_deadline(&mut got, soon()).unwrap();
        assert_eq!(got, text);
        b.write_all(&got).unwrap();
        b.flush().unwrap();
        a.read_exact(&mut got).unwrap();
        assert_eq!(got, text);
    }
}

fn end_is_seen_after_all_bytes<A: Stream, B: Stream>((mut a, mut b): (A, B)) {
    a.write_all(b"last").unwrap();
    a.shutdown(Shutdown::Write).unwrap();
    drop(a);
    let mut got = Vec::new();
    b.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"last");
    assert_eq!(b.read_deadline(&mut [0; 4], soon()).unwrap(), 0);
    let error = b.read_exact_deadline(&mut [0], soon()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

fn half_closed_stream_still_reads<A, B>((mut a, mut b): (A, B))
where
    A: Stream,
    B: Stream + 'static,
{
    let answering = spawn(move || {
        let mut question = Vec::new();
        b.read_to_end(&mut question).unwrap();
        b.write_all(&question).unwrap();
        b.write_all(b"!").unwrap();
        b.shutdown(Shutdown::Write).unwrap();
    });
    a.write_all(b"half").unwrap();
    a.shutdown(Shutdown::Write).unwrap();
    a.write(b"more").unwrap_err();
    let mut answer = Vec::new();
    a.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"half!");
    answering.join().unwrap();
}

fn empty_calls_do_nothing<A: Stream, B: Stream>(kind: Kind, (mut a, mut b): (A, B)) {
    let mut calls = || {
        assert_eq!(a.read_deadline(&mut [], soon()).unwrap(), 0);
        assert_eq!(a.write_deadline(&[], soon()).unwrap(), 0);
        a.write_all(&[]).unwrap();
        a.read_exact(&mut []).unwrap();
    };
    if kind.no_faults {
        // So that no turn for others is due in these few operations.
        greenloop::yield_now().unwrap();
        assert_no_switch(calls);
    } else {
        calls();
    }
    b.write_all(b"x").unwrap();
    assert_eq!(a.read(&mut []).unwrap(), 0);
    let mut got = [0];
    a.read_exact_deadline(&mut got, soon()).unwrap();
    assert_eq!(&got, b"x");
}

fn own_limits_fire_and_take_nothing<A: Stream, B: Stream>((mut a, mut b): (A, B)) {
    let start = Instant::now();
    a.set_read_timeout(Some(ms(10)));
    let error = a.read(&mut [0; 4]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let error = Error::from(error);
    assert!(error.is_timeout() && error.timeout_id().is_none());
    assert!(start.elapsed() >= ms(10));
    a.set_read_timeout(None);
    // One limit for the whole: a byte does not begin it anew.
    b.write_all(b"1").unwrap();
    let error = a.read_exact_deadline(&mut [0; 2], Deadline::after(ms(10)));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
    b.write_all(b"23").unwrap();
    let mut got = [0; 2];
    a.read_exact_deadline(&mut got, soon()).unwrap();
    assert_eq!(&got, b"23");
}

fn outer_limit_fires_and_takes_nothing<A: Stream, B: Stream>((mut a, mut b): (A, B)) {
    let outer = Timeout::start(ms(10));
    let error = a.read_deadline(&mut [0; 4], Deadline::after(LONG));
    assert!(outer.owns(&error.unwrap_err().into()));
    b.set_read_timeout(Some(LONG));
    let error = b.read(&mut [0; 4]);
    assert!(outer.owns(&error.unwrap_err().into()));
    let error = b.write(b"no").unwrap_err();
    assert!(outer.owns(&error.into()));
    drop(outer);
    b.write_all(b"ok").unwrap();
    let mut got = [0; 2];
    a.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ok");
}

/// Reads under limits that pass as often as not.
fn timeouts_race_data_and_lose_no_byte<A, B>((mut a, mut b): (A, B))
where
    A: Stream + 'static,
    B: Stream,
{
    let writing = spawn(move || {
        for number in 0..150_u32 {
            a.write_all(&number.to_be_bytes()).unwrap();
            sleep(Duration::from_micros(u64::from(300 + number * 37 % 1400))).unwrap();
        }
        a.shutdown(Shutdown::Write).unwrap();
    });
    let (mut got, mut buf, mut timeouts) = (Vec::new(), [0; 3], 0);
    loop {
        let limit = Deadline::after(Duration::from_micros(700));
        match b.read_deadline(&mut buf, limit) {
            Ok(0) => break,
            Ok(count) => got.extend_from_slice(&buf[..count]),
            Err(error) if error.kind() == ErrorKind::TimedOut => timeouts += 1,
            Err(error) => panic!("{error}"),
        }
    }
    writing.join().unwrap();
    let expected: Vec<_> = (0..150_u32).flat_map(u32::to_be_bytes).collect();
    assert!(got == expected, "after {timeouts} timeouts");
    assert!(timeouts > 0, "no limit ever passed");
}

fn full_stream_times_the_writer_out<A, B>(kind: Kind, (mut a, mut b): (A, B))
where
    A: Stream,
    B: Stream + 'static,
{
    let chunk = vec![7; 4096];
    let mut taken = 0;
    let error = loop {
        match a.write_deadline(&chunk, Deadline::after(ms(50))) {
            Ok(count) => taken += count,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let outer = Timeout::start(ms(10));
    let error = a.write_all(&chunk).unwrap_err();
    assert!(outer.owns(&error.into()));
    drop(outer);
    if !kind.exact_writes {
        return;
    }
    // What `write_all` had sent of its buffer is unknown, but at its front.
    let reading = spawn(move || {
        let mut got = Vec::new();
        b.read_to_end(&mut got).map(|_| got)
    });
    a.shutdown(Shutdown::Write).unwrap();
    let got = reading.join().unwrap().unwrap();
    assert!((taken..=taken + chunk.len()).contains(&got.len()));
    assert!(got.iter().all(|&byte| byte == 7));
}

/// Runs `call` on `stream` in a greenlet that is killed in it, and gives the stream back.
fn kill_in<S: Stream + 'static>(
    stream: S,
    call: impl FnOnce(&mut S) -> std::io::Result<()> + Send + 'static,
) -> S {
    let place = Arc::new(Mutex::new((Some(stream), None)));
    let blocked = {
        let place = place.clone();
        spawn(move || {
            let mut stream = place.lock().unwrap().0.take().unwrap();
            let error = call(&mut stream).err();
            *place.lock().unwrap() = (Some(stream), error);
        })
    };
    before_long("it waits", || is_blocked(&blocked));
    assert!(
        blocked
            .kill_and_wait(Some(Duration::from_secs(20)))
            .unwrap()
    );
    let (stream, error) = std::mem::take(&mut *place.lock().unwrap());
    let error = Error::from(error.expect("the kill is an error"));
    assert!(error.is_cancelled(), "{error}");
    stream.unwrap()
}

fn kill_ends_a_read_and_takes_nothing<A, B>((a, mut b): (A, B))
where
    A: Stream + 'static,
    B: Stream,
{
    let mut a = kill_in(a, |a| a.read_deadline(&mut [0; 8], LONG.into()).map(drop));
    b.write_all(b"later").unwrap();
    let mut got = [0; 5];
    a.read_exact_deadline(&mut got, soon()).unwrap();
    assert_eq!(&got, b"later");
}

fn kill_ends_a_write<A, B>((a, mut b): (A, B))
where
    A: Stream + 'static,
    B: Stream,
{
    let a = kill_in(a, |a| a.write_all_deadline(&vec![1; 64 << 20], LONG.into()));
    drop(a);
    // The part that was sent arrives; whether the cut is an error is the kind's business.
    let mut buf = vec![0; 64 << 10];
    while let Ok(count @ 1..) = b.read_deadline(&mut buf, soon()) {
        assert!(buf[..count].iter().all(|&byte| byte == 1));
    }
}

/// Bytes that do not repeat in step with any buffer.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|n| ((n * 31 + n / 251 + seed) % 256) as u8)
        .collect()
}

fn big_transfers_arrive_both_ways<A, B>(kind: Kind, (mut a, mut b): (A, B))
where
    A: Stream,
    B: Stream + 'static,
{
    let peer = spawn(move || {
        let mut got = vec![0; kind.big];
        b.read_exact(&mut got).unwrap();
        assert!(got == pattern(kind.big, 1));
        b.write_all(&pattern(kind.big, 2)).unwrap();
        let mut rest = Vec::new();
        b.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"end");
    });
    a.write_all(&pattern(kind.big, 1)).unwrap();
    let (mut got, mut buf) = (Vec::with_capacity(kind.big), vec![0; 5000]);
    while got.len() < kind.big {
        let most = buf.len().min(kind.big - got.len());
        let count = a.read(&mut buf[..most]).unwrap();
        assert!(count > 0);
        got.extend_from_slice(&buf[..count]);
    }
    assert!(got == pattern(kind.big, 2));
    a.write_all(b"end").unwrap();
    a.shutdown(Shutdown::Write).unwrap();
    peer.join().unwrap();
}

fn vectored_calls_keep_the_order<A: Stream, B: Stream>((mut a, mut b): (A, B)) {
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let parts = [IoSlice::new(b""), IoSlice::new(b"ab"), IoSlice::new(b"cde")];
        let count = a.write_vectored(&parts).unwrap();
        assert!((1..=5).contains(&count));
        sent.extend_from_slice(&b"abcde"[..count]);
        a.flush().unwrap();
        while got.len() < sent.len() {
            let (mut first, mut second) = ([0; 1], [0; 9]);
            let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            let count = b.read_vectored(&mut parts).unwrap();
            assert!(count > 0);
            got.extend([&first[..], &second[..]].concat().into_iter().take(count));
        }
    }
    assert_eq!(got, sent);
}

fn writing_to_nobody_fails<A: Stream, B: Stream>((mut a, b): (A, B)) {
    drop(b);
    let end = soon();
    // The first bytes may be on their way before the peer's end is known.
    let error = loop {
        assert!(!end.is_passed(), "writing never failed");
        if let Err(error) = a.write_all_deadline(&[1; 1024], end) {
            break Error::from(error);
        }
        sleep(ms(1)).unwrap();
    };
    assert!(error.is_closed(), "{error}");
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn tcp_passes() {
    on_workers_at_once!({ check_stream(PLAIN, tcp_pair) });
}

#[test]
fn unix_passes() {
    on_workers_at_once!({ check_stream(PLAIN, || UnixStream::pair().unwrap()) });
}

#[test]
fn memory_passes() {
    on_workers_at_once!({ check_stream(PLAIN, || stream_pair(64 << 10)) });
}

#[test]
fn memory_of_a_few_bytes_passes() {
    let kind = Kind {
        big: 16 << 10,
        ..PLAIN
    };
    on_workers_at_once!({ check_stream(kind, || stream_pair(7)) });
}

/// With harmless faults only, a stream is still a good one.
#[test]
fn faulty_streams_pass() {
    let kind = Kind {
        big: 16 << 10,
        no_faults: false,
        ..PLAIN
    };
    on_workers_at_once!({
        check_stream(kind, || {
            let (a, b) = tcp_pair();
            (
                Faulty::new(a, Faults::seeded(1)),
                Faulty::new(b, Faults::seeded(2)),
            )
        });
    });
}

#[cfg(feature = "tls")]
mod tls {
    use std::sync::Arc;

    use greenloop::net::tls::{TlsAcceptor, TlsConnector};
    use greenloop::spawn;
    use greenloop::testkit::stream_pair;
    use rustls::{ClientConfig, RootCertStore, ServerConfig};

    use super::{Kind, PLAIN, check_stream, soon, tcp_pair};
    use crate::support::on_workers_at_once;

    /// A certificate for `localhost`, and both sides with it.
    fn sides() -> (TlsConnector, TlsAcceptor) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (
            TlsConnector::with_config(client.into()),
            TlsAcceptor::with_config(server.into()),
        )
    }

    const TLS: Kind = Kind {
        big: 256 << 10,
        exact_writes: false,
        ..PLAIN
    };

    #[test]
    fn tls_over_tcp_passes() {
        on_workers_at_once!({
            let (connector, acceptor) = sides();
            check_stream(TLS, move || {
                let (client, server) = tcp_pair();
                let acceptor = acceptor.clone();
                let accepting = spawn(move || acceptor.accept(server, soon()).unwrap());
                let client = connector.connect("localhost", client, soon()).unwrap();
                (client, accepting.join().unwrap())
            });
        });
    }

    #[test]
    fn tls_over_memory_passes() {
        on_workers_at_once!({
            let (connector, acceptor) = sides();
            check_stream(TLS, move || {
                let (client, server) = stream_pair(1000);
                let acceptor = acceptor.clone();
                let accepting = spawn(move || acceptor.accept(server, soon()).unwrap());
                let client = connector.connect("localhost", client, soon()).unwrap();
                (client, accepting.join().unwrap())
            });
        });
    }
}
