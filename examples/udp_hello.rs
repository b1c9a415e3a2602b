//! A UDP greeting server: a datagram is a name, its answer `Hello, NAME`.
//!
//! Run `cargo run --example udp_hello`, then `cargo run --example udp_client`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::server::{Datagram, DatagramConfig, DatagramHandler};
use std::time::Duration;

/// What takes a moment for one client costs the others nothing: eight are served at once.
struct Greeter {
    delay: Duration,
}

impl DatagramHandler for Greeter {
    fn handle(&self, datagram: &mut Datagram) -> greenloop::Result<()> {
        println!("Received from {}.", datagram.peer());
        greenloop::sleep(self.delay)?;
        let name = String::from_utf8_lossy(datagram.data());
        datagram.reply(format!("Hello, {name}").as_bytes())
    }
}

fn main() -> greenloop::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:9000");
    let server = DatagramConfig::new().handlers(8).bind(address)?;
    println!("udp hello on {}", server.addr());
    let delay = Duration::from_millis(20);
    server.serve_until_signal(Greeter { delay })?;
    Ok(())
}
