//! A client of the greeting server: sends names, prints the answers.
//!
//! Run `cargo run --example hello_server` in one terminal and
//! `cargo run --example hello_client` in another.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::net::TcpStream;
use std::io::{Read, Write};
use std::time::Duration;

fn main() -> greenloop::Result<()> {
    let address = std::env::args().nth(1);
    let address: greenloop::net::Address =
        address.as_deref().unwrap_or("127.0.0.1:9999").parse()?;
    let mut stream = TcpStream::connect_timeout(address, Duration::from_secs(5))?;
    println!("{}", receive(&mut stream)?);
    for name in ["Michael", "Tracy", "我爱Python"] {
        stream.write_all(name.as_bytes())?;
        println!("{}", receive(&mut stream)?);
    }
    Ok(stream.write_all(b"exit")?)
}

/// What has arrived, as the tutorials read it: no more than one answer is under way.
fn receive(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut buf = vec![0; 1024];
    let count = stream.read(&mut buf)?;
    Ok(String::from_utf8_lossy(&buf[..count]).into_owned())
}
