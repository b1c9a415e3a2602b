//! Asks everybody on the network at once, and prints who answers within a second.
//!
//! Run `cargo run --example udp_hello 0.0.0.0:9000` first, on as many machines as you like,
//! then `cargo run --example udp_broadcast [ADDRESS:PORT]`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::net::UdpOptions;
use greenloop::{Deadline, Error};
use std::net::SocketAddr;
use std::time::Duration;

fn main() -> greenloop::Result<()> {
    let address = std::env::args().nth(1);
    // The loopback interface's; `255.255.255.255` is everybody on the local network.
    let address = address.as_deref().unwrap_or("127.255.255.255:9000");
    let everybody: SocketAddr = address.parse().map_err(|e| {
        Error::from(std::io::Error::other(e)).context(format!("reading the address {address}"))
    })?;
    let mut socket = UdpOptions::new().broadcast(true).bind("0.0.0.0:0")?;
    socket.send_to(b"Hi", everybody)?;
    let end = Deadline::after(Duration::from_secs(1));
    let mut buf = vec![0; 65_536];
    loop {
        match socket
            .recv_from_deadline(&mut buf, end)
            .map_err(Error::from)
        {
            Ok((len, peer)) => {
                let text = String::from_utf8_lossy(&buf[..len]);
                println!("{peer}: {}", text.escape_debug());
            }
            Err(error) if error.is_timeout() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
