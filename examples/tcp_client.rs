//! A client that hears while it speaks: one half of the connection for each greenlet.
//!
//! Run `cargo run --example tcp_once` in one terminal and
//! `cargo run --example tcp_client` in another.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::net::{Address, TcpStream};
use std::io::{Read, Write};

fn main() -> greenloop::Result<()> {
    let address = std::env::args().nth(1);
    let address: Address = address.as_deref().unwrap_or("127.0.0.1:7788").parse()?;
    let (mut reader, mut writer) = TcpStream::connect(address)?.split()?;
    let hearing = greenloop::spawn(move || {
        let mut answer = String::new();
        reader.read_to_string(&mut answer).map(|_| answer)
    });
    writer.write_all("你是who?".as_bytes())?;
    println!("sent 你是who?");
    writer.shutdown()?; // the server reads the end; we still hear
    println!("{}", hearing.join().expect("it only reads")?);
    Ok(())
}
