//! A UDP echo server: each datagram goes back to its sender, from the address it was sent to.
//!
//! Run `cargo run --example udp_echo`, then `cargo run --example udp_client 127.0.0.1:7788`;
//! Ctrl-C ends it and tells the count.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::server::{Datagram, DatagramServer};

fn main() -> greenloop::Result<()> {
    let address = std::env::args().nth(1);
    let server = DatagramServer::bind(address.as_deref().unwrap_or("127.0.0.1:7788"))?;
    println!("udp echo on {}", server.addr());
    let report =
        server.serve_until_signal(|datagram: &mut Datagram| datagram.reply(datagram.data()))?;
    println!("returned {} of {} datagrams", report.sent, report.received);
    Ok(())
}
