//! One client is listened to: whatever it does, and whatever its sink does, it ends.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use greenloop::apps::listen::{Listen, OneShot};
use greenloop::server::DatagramServer;

use crate::support::{before_long, on_workers};

const LONG: Duration = Duration::from_secs(30);

fn deaf() -> Listen {
    Listen::new(|_, _| Box::new(|_| Ok(())))
}

#[test]
fn datagram_whose_sink_panics_is_an_error() {
    on_workers!({
        let server = DatagramServer::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = server.addr().ip().unwrap();
        socket.send_to(b"first", to).unwrap();
        let listen = Listen::new(|_, _| Box::new(|_| panic!("a sink's own fault")));
        let error = greenloop::timeout(LONG, || listen.take_one(server)).unwrap_err();
        assert_eq!(error.to_string(), "taking a datagram panicked");
    });
}

#[test]
fn killed_taker_of_one_datagram_leaves_nothing() {
    on_workers!({
        greenloop::yield_now().unwrap();
        let before = greenloop::greenlets().len();
        let server = DatagramServer::bind("127.0.0.1:0").unwrap();
        let taker = greenloop::spawn(move || deaf().take_one(server));
        before_long("it has begun", || {
            greenloop::greenlets().len() >= before + 3
        });
        taker.kill();
        assert!(taker.join().is_err());
        before_long("all have ended", || greenloop::greenlets().len() == before);
    });
}

#[test]
fn client_that_never_ends_is_left_after_the_answer() {
    on_workers!({
        let endpoint = "127.0.0.1:0".parse().unwrap();
        let socket = OneShot::bind(&endpoint).unwrap();
        let address = socket.local_addr().unwrap().ip().unwrap();
        let flood = std::thread::spawn(move || {
            let mut client = TcpStream::connect(address).unwrap();
            client.set_write_timeout(Some(LONG)).unwrap();
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0; 2]).unwrap();
            while client.write_all(&[b'x'; 1024]).is_ok() {}
        });
        let listen = deaf().reply("ok").wait(Duration::from_millis(20));
        let served = greenloop::timeout(LONG, || listen.serve_one(socket, None));
        // On a machine that stands still for a wait, it was silent.
        if let Err(error) = served {
            let text = error.to_string();
            assert!(
                text.ends_with("it still sends, long after the answer"),
                "{text}"
            );
        }
        greenloop::blocking(move || flood.join().unwrap()).unwrap();
    });
}
