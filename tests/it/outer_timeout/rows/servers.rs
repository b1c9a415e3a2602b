//! Servers, and the test kit.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use greenloop::apps::upload::UploadClient;
use greenloop::net::{Addr, Stream, TcpListener, TcpStream, UdpSocket};
use greenloop::server::{Conn, Datagram, DatagramServer, ServerHandle, StreamServer};
use greenloop::sync::Event;
use greenloop::testkit::{
    AcceptScript, MemoryStream, ScriptedListener, Sequencer, Turn, errno, stream_pair,
};
use greenloop::{Error, shield};

use super::net::listening;
use super::{LONG, Row, later, row, soon};

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

type Bound = (Option<StreamServer>, Addr);

fn bound() -> Bound {
    let server = StreamServer::bind("127.0.0.1:0").unwrap();
    let addr = server.addr();
    (Some(server), addr)
}

fn is_stopped((_, addr): &mut Bound) {
    TcpListener::bind(&*addr).unwrap();
}

fn nothing(_: &mut Conn) -> Result<(), Error> {
    Ok(())
}

type BoundDatagrams = (Option<DatagramServer>, Addr);

fn bound_datagrams() -> BoundDatagrams {
    let server = DatagramServer::bind("127.0.0.1:0").unwrap();
    let addr = server.addr();
    (Some(server), addr)
}

fn is_closed((_, addr): &mut BoundDatagrams) {
    UdpSocket::bind(&*addr).unwrap();
}

fn no_datagram(_: &mut Datagram) -> Result<(), Error> {
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

pub(in super::super) fn servers() -> Vec<Row> {
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
            "DatagramServer::serve",
            bound_datagrams,
            |(s, _)| s.take().unwrap().serve(no_datagram),
            is_closed,
        ),
        row(
            "DatagramServer::serve_until_signal",
            bound_datagrams,
            |(s, _)| s.take().unwrap().serve_until_signal(no_datagram),
            is_closed,
        ),
        row(
            "UploadClient::send",
            || {
                let listener = listening();
                let client = UploadClient::connect(listener.local_addr().unwrap(), None);
                (client.unwrap(), listener)
            },
            |(client, _)| client.send("Cargo.toml", None, |_, _| {}),
            |_| {},
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
