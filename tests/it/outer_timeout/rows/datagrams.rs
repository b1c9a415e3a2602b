//! Sockets of messages.

use greenloop::apps::broadcast::Broadcast;
use greenloop::net::{UdpSocket, UnixDatagram};

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

/// A socket whose peer has all the datagrams it may have, and how many those are.
struct Full {
    near: UnixDatagram,
    far: UnixDatagram,
    taken: usize,
    name: greenloop::net::UnixAddr,
}

fn full() -> Full {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
    let far = UnixDatagram::bind(format!("@greenloop-full-{pid}-{n}")).unwrap();
    let name = far.local_addr().unwrap();
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

pub(in super::super) fn datagrams() -> Vec<Row> {
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
    let asking = Rows::on(
        "Broadcast",
        || Broadcast::new(9, "Hi").to([127, 255, 255, 255]),
        |_| {},
    )
    .call("run", |broadcast| broadcast.run(|_, _| {}));
    [udp.rows, unix.rows, full.rows, asking.rows]
        .into_iter()
        .flatten()
        .collect()
}
