//! Every kind of socket once: IPv4, IPv6 and Unix; streams, datagrams, and both at once.
//!
//! Run `cargo run --example socket_types`. The last one needs a privilege, and says so.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::net::{
    SeqpacketStream, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixStream,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};

/// Two writes may arrive as one: a stream has no messages.
fn stream(mut near: impl Write, mut far: impl Read) -> greenloop::Result<String> {
    near.write_all(b"one")?;
    near.write_all(b"two")?;
    drop(near);
    let mut text = String::new();
    far.read_to_string(&mut text)?;
    Ok(text)
}

fn tcp(address: &str) -> greenloop::Result<String> {
    let mut listener = TcpListener::bind(address)?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    stream(near, listener.accept()?.0)
}

/// Two sends are two messages, which UDP may lose or let overtake each other.
fn messages<T>(
    mut send: impl FnMut(&[u8]) -> io::Result<T>,
    mut recv: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> greenloop::Result<String> {
    send(b"one")?;
    send(b"two")?;
    let mut buf = [0; 16];
    Ok(format!("{} + {} bytes", recv(&mut buf)?, recv(&mut buf)?))
}

fn udp(address: &str) -> greenloop::Result<String> {
    let (mut near, mut far) = (UdpSocket::bind(address)?, UdpSocket::bind(address)?);
    near.connect(far.local_addr()?)?;
    messages(|m| near.send(m), |buf| far.recv(buf))
}

fn unix_datagrams() -> greenloop::Result<String> {
    let (mut near, mut far) = UnixDatagram::pair()?;
    messages(|m| near.send(m), |buf| far.recv(buf))
}

fn unix_seqpacket() -> greenloop::Result<String> {
    let (mut near, mut far) = SeqpacketStream::pair()?;
    messages(|m| near.send(m), |buf| Ok(far.recv(buf)?.len))
}

fn main() -> greenloop::Result<()> {
    println!("IPv4 stream: {}", tcp("127.0.0.1:0")?);
    println!("IPv6 stream: {}", tcp("[::1]:0")?);
    let (near, far) = UnixStream::pair()?;
    println!("Unix stream: {}", stream(near, far)?);
    println!("IPv4 datagrams: {}", udp("127.0.0.1:0")?);
    println!("IPv6 datagrams: {}", udp("[::1]:0")?);
    println!("Unix datagrams: {}", unix_datagrams()?);
    println!("Unix seqpacket: {}", unix_seqpacket()?);
    match Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)) {
        Ok(_) => println!("raw: this process may send any packet it likes"),
        Err(error) => println!("raw: not permitted to who is not root ({})", error.kind()),
    }
    Ok(())
}
