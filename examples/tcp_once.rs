//! A server for one client: prints what it gets, says thank you, and ends.
//!
//! Run `cargo run --example tcp_once` in one terminal and
//! `cargo run --example tcp_client` in another.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::net::TcpListener;
use std::io::{Read, Write};

fn main() -> greenloop::Result<()> {
    let address = std::env::args().nth(1);
    let mut listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:7788"))?;
    println!("waiting on {}", listener.local_addr()?);
    let (mut stream, peer) = listener.accept()?;
    listener.close(); // others are refused from now on
    let mut buf = vec![0; 1024];
    let count = stream.read(&mut buf)?;
    println!("{peer} says: {}", String::from_utf8_lossy(&buf[..count]));
    Ok(stream.write_all(b"thank you !")?)
}
