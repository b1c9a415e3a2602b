//! Python's `socketserver` in its four kinds: one handler in three steps on TCP and Unix
//! streams, one for UDP and Unix datagrams; each is asked once, so it needs no partner.
//!
//! ```text
//! cargo run --example socketserver
//! ```

#![expect(
    clippy::print_stdout,
    clippy::large_stack_frames,
    reason = "a main of its own thread"
)]

use greenloop::net::{Stream, TcpStream, UdpSocket, UnixAddr, UnixDatagram, UnixStream};
use greenloop::server::{Conn, Datagram, DatagramConfig, Handler, ServerConfig};
use std::io::Write;

/// A `StreamRequestHandler`.
struct Upper;

impl Handler for Upper {
    fn setup(&self, conn: &mut Conn) -> greenloop::Result<()> {
        Ok(conn.write_all(b"you said ")?)
    }
    fn handle(&self, conn: &mut Conn) -> greenloop::Result<()> {
        let mut buf = vec![0; 1024];
        let count = conn.read_next(&mut buf)?;
        Ok(conn.write_all(&buf[..count].to_ascii_uppercase())?)
    }
    fn finish(&self, conn: &mut Conn) {
        println!("connection {} is done", conn.id());
    }
}

fn ask(mut stream: impl Stream, question: &str) -> greenloop::Result<()> {
    let mut answer = String::new();
    stream.write_all(question.as_bytes())?;
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}

fn main() -> greenloop::Result<()> {
    let name = |text: &str| text.parse::<UnixAddr>();
    let streams = ServerConfig::new().bind_all(["127.0.0.1:0", "unix:@gl-stream"])?;
    let streams = streams.start(Upper)?;
    ask(TcpStream::connect(streams.addr())?, "tcp")?;
    ask(UnixStream::connect(name("@gl-stream")?)?, "unix")?;
    let grams = DatagramConfig::new().bind_all(["udp://127.0.0.1:0", "unixgram:@gl-gram"])?;
    let grams = grams.start(|d: &mut Datagram| d.reply(&d.data().to_ascii_uppercase()))?;
    let mut buf = [0; 64];
    let mut udp = UdpSocket::bind("127.0.0.1:0")?;
    udp.connect(grams.addr())?;
    udp.send(b"udp")?;
    let count = udp.recv(&mut buf)?;
    println!("{}", String::from_utf8_lossy(&buf[..count]));
    let mut unixgram = UnixDatagram::bind(name("@gl-client")?)?;
    unixgram.send_to(b"unixgram", &name("@gl-gram")?)?;
    let count = unixgram.recv(&mut buf)?;
    println!("{}", String::from_utf8_lossy(&buf[..count]));
    Ok(())
}
