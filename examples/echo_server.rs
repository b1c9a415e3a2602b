//! An echo server: a greenlet per connection, on every core, and a clean end on Ctrl-C.
//!
//! Run `cargo run --example echo_server`, then type into `nc 127.0.0.1 7788`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::server::{Conn, StreamServer};
use std::io::Write;

fn main() -> greenloop::Result<()> {
    let address = std::env::args().nth(1);
    let server = StreamServer::bind(address.as_deref().unwrap_or("127.0.0.1:7788"))?;
    println!("echo server on {}", server.addr());
    let report = server.serve_until_signal(|conn: &mut Conn| {
        let mut buf = vec![0; 16 * 1024];
        loop {
            match conn.read_next(&mut buf)? {
                0 => return Ok(()),
                n => conn.write_all(&buf[..n])?,
            }
        }
    })?;
    println!("served {} connections", report.accepted);
    Ok(())
}
