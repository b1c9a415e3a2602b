//! A greeting server: a welcome, then an answer for each name, until `exit`.
//!
//! Run `cargo run --example hello_server`, then `cargo run --example hello_client`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::server::{Conn, Handler, StreamServer};
use std::io::Write;
use std::time::Duration;

/// What takes a second for one client costs the others nothing.
struct Greeter {
    delay: Duration,
}

impl Handler for Greeter {
    fn setup(&self, conn: &mut Conn) -> greenloop::Result<()> {
        println!("Accept new connection from {}...", conn.peer_addr());
        Ok(())
    }

    fn handle(&self, conn: &mut Conn) -> greenloop::Result<()> {
        conn.write_all(b"hello!")?;
        let mut buf = vec![0; 1024];
        loop {
            let count = conn.read_next(&mut buf)?;
            let name = String::from_utf8_lossy(&buf[..count]);
            if count == 0 || name == "exit" {
                return Ok(());
            }
            greenloop::sleep(self.delay)?;
            conn.write_all(format!("Hello, {name}!").as_bytes())?;
        }
    }

    fn finish(&self, conn: &mut Conn) {
        println!("Connection from {} closed.", conn.peer_addr());
    }
}

fn main() -> greenloop::Result<()> {
    let address = std::env::args().nth(1);
    let server = StreamServer::bind(address.as_deref().unwrap_or("127.0.0.1:9999"))?;
    println!("greeting server on {}", server.addr());
    let delay = Duration::from_millis(100);
    server.serve_until_signal(Greeter { delay })?;
    Ok(())
}
