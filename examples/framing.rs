//! "Sticky packets": two quick sends that arrive as one, and a length before each message,
//! which keeps them apart.
//!
//! Run `cargo run --example framing`. `greenloop demo framing` shows more of it.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::net::{TcpListener, TcpStream, read_frame, write_frame};
use greenloop::{Result, sleep};
use std::io::{Read, Write};
use std::time::Duration;

/// No message of this program is longer; who claims so is refused.
const BYTES_MAX: usize = 1024;

fn main() -> Result<()> {
    let mut listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;

    client.write_all("你是who?".as_bytes())?;
    client.write_all("我爱Python".as_bytes())?;
    // The reader comes late, as on a busy machine: both are there.
    let mut buf = vec![0; BYTES_MAX];
    while server.peek(&mut buf)? < "你是who?我爱Python".len() {
        sleep(Duration::from_millis(1))?;
    }
    let count = server.read(&mut buf)?;
    println!(
        "two sends, one read: {}",
        String::from_utf8_lossy(&buf[..count])
    );

    write_frame(&mut client, "你是who?".as_bytes())?;
    write_frame(&mut client, "我爱Python".as_bytes())?;
    drop(client);
    while let Some(message) = read_frame(&mut server, BYTES_MAX)? {
        println!("a message: {}", String::from_utf8_lossy(&message));
    }
    Ok(())
}
