//! Sockets of messages.

use std::time::Duration;

use greenloop::Deadline;
use greenloop::apps::broadcast::Broadcast;
use greenloop::net::{SeqpacketListener, SeqpacketStream, UdpSocket, UnixAddr, UnixDatagram};

use super::unix::fresh_name;
use super::{LONG, Row, Rows, later, soon};

/// One that waits for a datagram, and one that can send it.
fn udp_pair() -> (UdpSocket, UdpSocket) {
    let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut a, mut b) = (bind(), bind());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    (a, b)
}

fn unix_pair() -> (UnixDatagram, UnixDatagram) {
    UnixDatagram::pair().unwrap()
}

fn seqpacket_pair() -> (SeqpacketStream, SeqpacketStream) {
    SeqpacketStream::pair().unwrap()
}

/// One that takes no more, its peer, and how many messages that has to take.
type FullSeqpacket = (SeqpacketStream, SeqpacketStream, usize);

fn full_seqpacket() -> FullSeqpacket {
    let (mut near, far) = seqpacket_pair();
    let (mut taken, soon) = (0, Duration::from_millis(20));
    while near
        .send_deadline(&[7; 1024], Deadline::after(soon))
        .is_ok()
    {
        taken += 1;
    }
    (near, far, taken)
}

fn still_sends_messages((near, far, taken): &mut FullSeqpacket) {
    let mut buf = [0; 1024];
    for _ in 0..*taken {
        assert_eq!(far.recv_deadline(&mut buf, soon()).unwrap().len, 1024);
    }
    near.send_deadline(b"later", soon()).unwrap();
    assert_eq!(far.recv_deadline(&mut buf, soon()).unwrap().len, 5);
}

fn seqpacket_listening() -> (SeqpacketListener, UnixAddr) {
    let name = fresh_name();
    (SeqpacketListener::bind(&name).unwrap(), name)
}

/// A listener with a full queue, its name, and those who are in the queue.
type CrowdedSeqpacket = (SeqpacketListener, UnixAddr, Vec<SeqpacketStream>);

fn crowded_seqpacket() -> CrowdedSeqpacket {
    let (listener, name) = seqpacket_listening();
    // A short queue, so that few are enough.
    rustix::net::listen(&listener, 0).unwrap();
    let mut inside = Vec::new();
    let limit = Duration::from_millis(20);
    while let Ok(stream) = greenloop::timeout(limit, || SeqpacketStream::connect(&name)) {
        inside.push(stream);
        assert!(inside.len() < 10, "the queue has no end");
    }
    (listener, name, inside)
}

fn still_lets_in((listener, name, inside): &mut CrowdedSeqpacket) {
    for _ in inside.iter() {
        listener.accept_deadline(soon()).unwrap();
    }
    SeqpacketStream::connect(&*name).unwrap();
}

/// A socket whose peer has all the datagrams it may have, and how many those are.
struct Full {
    near: UnixDatagram,
    far: UnixDatagram,
    taken: usize,
    name: UnixAddr,
}

fn full() -> Full {
    let name = fresh_name();
    let far = UnixDatagram::bind(&name).unwrap();
    let mut near = UnixDatagram::unbound().unwrap();
    near.connect(&name).unwrap();
    let mut taken = 0;
    while near.try_send(b"more").is_ok() {
        taken += 1;
    }
    Full {
        near,
        far,
        taken,
        name,
    }
}

/// Nothing of the refused send was sent.
fn still_sends(full: &mut Full) {
    let mut buf = [0; 8];
    for _ in 0..full.taken {
        assert_eq!(full.far.recv_deadline(&mut buf, soon()).unwrap(), 4);
    }
    full.near.send_deadline(b"later", soon()).unwrap();
    assert_eq!(full.far.recv_deadline(&mut buf, soon()).unwrap(), 5);
}

fn udp() -> Vec<Row> {
    let udp = Rows::on("UdpSocket", udp_pair, |(a, b)| {
        b.send(b"later").unwrap();
        assert_eq!(a.recv_deadline(&mut [0; 8], soon()).unwrap(), 5);
    })
    .call("recv", |(a, _)| a.recv(&mut [0; 8]))
    .call("recv_timeout", |(a, _)| a.recv_timeout(&mut [0; 8], LONG))
    .call("recv_deadline", |(a, _)| {
        a.recv_deadline(&mut [0; 8], later())
    })
    .call("recv_from", |(a, _)| a.recv_from(&mut [0; 8]))
    .call("recv_from_timeout", |(a, _)| {
        a.recv_from_timeout(&mut [0; 8], LONG)
    })
    .call("recv_from_deadline", |(a, _)| {
        a.recv_from_deadline(&mut [0; 8], later())
    })
    .call("recv_msg", |(a, _)| a.recv_msg(&mut [0; 8]))
    .call("recv_msg_timeout", |(a, _)| {
        a.recv_msg_timeout(&mut [0; 8], LONG)
    })
    .call("recv_msg_deadline", |(a, _)| {
        a.recv_msg_deadline(&mut [0; 8], later())
    });
    let asking = Rows::on(
        "Broadcast",
        || Broadcast::new(9, "Hi").to([127, 255, 255, 255]),
        |_| {},
    )
    .call("run", |broadcast| broadcast.run(|_, _| {}));
    [udp.rows, asking.rows].into_iter().flatten().collect()
}

fn unix() -> Vec<Row> {
    let unix = Rows::on("UnixDatagram", unix_pair, |(a, b)| {
        b.send(b"later").unwrap();
        assert_eq!(a.recv_deadline(&mut [0; 8], soon()).unwrap(), 5);
    })
    .call("recv", |(a, _)| a.recv(&mut [0; 8]))
    .call("recv_timeout", |(a, _)| a.recv_timeout(&mut [0; 8], LONG))
    .call("recv_deadline", |(a, _)| {
        a.recv_deadline(&mut [0; 8], later())
    })
    .call("recv_from", |(a, _)| a.recv_from(&mut [0; 8]))
    .call("recv_from_timeout", |(a, _)| {
        a.recv_from_timeout(&mut [0; 8], LONG)
    })
    .call("recv_from_deadline", |(a, _)| {
        a.recv_from_deadline(&mut [0; 8], later())
    })
    .call("recv_msg", |(a, _)| a.recv_msg(&mut [0; 8]))
    .call("recv_msg_timeout", |(a, _)| {
        a.recv_msg_timeout(&mut [0; 8], LONG)
    })
    .call("recv_msg_deadline", |(a, _)| {
        a.recv_msg_deadline(&mut [0; 8], later())
    });
    let full = Rows::on("UnixDatagram full", full, still_sends)
        .call("send", |f| f.near.send(b"no"))
        .call("send_timeout", |f| f.near.send_timeout(b"no", LONG))
        .call("send_deadline", |f| f.near.send_deadline(b"no", later()))
        .call("send_to", |f| f.near.send_to(b"no", &f.name))
        .call("send_to_timeout", |f| {
            f.near.send_to_timeout(b"no", &f.name, LONG)
        })
        .call("send_to_deadline", |f| {
            f.near.send_to_deadline(b"no", &f.name, later())
        });
    [unix.rows, full.rows].into_iter().flatten().collect()
}

fn seqpacket() -> Vec<Row> {
    let seqpacket = Rows::on("SeqpacketStream", seqpacket_pair, |(a, b)| {
        b.send(b"later").unwrap();
        assert_eq!(a.recv_deadline(&mut [0; 8], soon()).unwrap().len, 5);
    })
    .call("recv", |(a, _)| a.recv(&mut [0; 8]))
    .call("recv_timeout", |(a, _)| a.recv_timeout(&mut [0; 8], LONG))
    .call("recv_deadline", |(a, _)| {
        a.recv_deadline(&mut [0; 8], later())
    });
    let messages = Rows::on("SeqpacketStream full", full_seqpacket, still_sends_messages)
        .call("send", |(near, _, _)| near.send(&[1; 1024]))
        .call("send_deadline", |(near, _, _)| {
            near.send_deadline(&[1; 1024], later())
        });
    let accepting = Rows::on(
        "SeqpacketListener",
        seqpacket_listening,
        |(listener, name)| {
            let _client = SeqpacketStream::connect(&*name).unwrap();
            listener.accept_deadline(soon()).unwrap();
        },
    )
    .call("accept", |(listener, _)| listener.accept())
    .call("accept_deadline", |(listener, _)| {
        listener.accept_deadline(later())
    });
    let connecting = Rows::on("SeqpacketStream crowded", crowded_seqpacket, still_lets_in)
        .call("connect", |(_, name, _)| SeqpacketStream::connect(&*name));
    [
        seqpacket.rows,
        messages.rows,
        accepting.rows,
        connecting.rows,
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(in super::super) fn datagrams() -> Vec<Row> {
    [udp(), unix(), seqpacket()].into_iter().flatten().collect()
}
