//! TCP and TLS.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use greenloop::net::{
    ListenOptions, ReadHalf, Stream, TcpListener, TcpStream, WriteHalf, read_frame,
    read_frame_deadline, write_frame, write_frame_deadline,
};
use greenloop::{Deadline, spawn};

use super::{LONG, Row, later, row, soon};

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

pub(super) fn listening() -> TcpListener {
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

pub(in super::super) fn net() -> Vec<Row> {
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
    rows.extend(frames());
    rows.extend(tls());
    rows
}

fn frames() -> Vec<Row> {
    fn still_reads_frames((a, b): &mut (TcpStream, TcpStream)) {
        write_frame(b, b"later").unwrap();
        let got = read_frame_deadline(a, 5, soon()).unwrap();
        assert_eq!(got.as_deref(), Some(&b"later"[..]));
    }
    vec![
        row(
            "read_frame",
            tcp_pair,
            |(a, _)| read_frame(a, 8),
            still_reads_frames,
        ),
        row(
            "read_frame_deadline",
            tcp_pair,
            |(a, _)| read_frame_deadline(a, 8, later()),
            still_reads_frames,
        ),
        row(
            "write_frame",
            full_stream,
            |f| write_frame(&mut f.near, b"no"),
            still_writes,
        ),
        row(
            "write_frame_deadline",
            full_stream,
            |f| write_frame_deadline(&mut f.near, b"no", later()),
            still_writes,
        ),
    ]
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
