//! Receives datagrams and prints each with its sender and its size.
//!
//! Run `cargo run --example udp_receive [HOST:PORT] [--once]`, then send it something:
//! `cargo run -- connect udp://127.0.0.1:7788`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::net::UdpSocket;

fn main() -> greenloop::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let once = args.iter().any(|arg| arg == "--once");
    let address = args.iter().find(|arg| *arg != "--once");
    let mut socket = UdpSocket::bind(address.map_or("127.0.0.1:7788", String::as_str))?;
    println!("receiving on {}", socket.local_addr()?);
    // Small, to show that what does not fit is told; 65,536 bytes have room for every datagram.
    let mut buf = vec![0; 64];
    loop {
        let got = socket.recv_msg(&mut buf)?;
        // What strangers send is not for the terminal as it is.
        let text = String::from_utf8_lossy(&buf[..got.len]);
        let rest = if got.is_truncated() { "…" } else { "" };
        println!(
            "{}: {}{rest} ({} bytes)",
            got.peer,
            text.escape_debug(),
            got.size
        );
        if once {
            return Ok(());
        }
    }
}
