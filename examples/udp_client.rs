//! A UDP client: sends names, prints each answer, and asks again where none comes.
//!
//! Run `cargo run --example udp_hello` (or `udp_echo`) first, then
//! `cargo run --example udp_client [HOST:PORT]`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::Error;
use greenloop::net::UdpSocket;
use std::time::Duration;

/// A datagram may be lost, on its way or on the way back.
fn ask(socket: &mut UdpSocket, question: &str) -> greenloop::Result<String> {
    let mut buf = vec![0; 65_536];
    for wait in [1, 2, 4].map(Duration::from_secs) {
        socket.send(question.as_bytes())?;
        match socket.recv_timeout(&mut buf, wait).map_err(Error::from) {
            Ok(len) => return Ok(String::from_utf8_lossy(&buf[..len]).into_owned()),
            Err(error) if error.is_timeout() => println!("{question}: no answer in {wait:?}"),
            Err(error) => return Err(error.context("asking")),
        }
    }
    Ok("nobody answers".into())
}

fn main() -> greenloop::Result<()> {
    let address = std::env::args().nth(1);
    let mut socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(address.as_deref().unwrap_or("127.0.0.1:9000"))?;
    for name in ["client1", "client2", "我爱Python"] {
        println!("{}", ask(&mut socket, name)?);
    }
    Ok(())
}
