//! The calls around a socket: error numbers, time limits, both addresses, the descriptor,
//! what does not wait.
//!
//! Run `cargo run --example socket_calls`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::net::{Stream, TcpListener, TcpStream, UdpSocket};
use std::fmt::Debug;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(10);

/// As Python's `connect_ex`: 0, or the number of the error.
fn connect_ex(address: SocketAddr) -> i32 {
    match TcpStream::connect_timeout(address, Duration::from_secs(1)) {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    }
}

fn show<T: Debug>(what: &str, answer: io::Result<T>) {
    match answer {
        Ok(value) => println!("{what}: {value:?}"),
        Err(error) => println!("{what}: {}", error.kind()),
    }
}

fn addresses(near: &TcpStream, far: &TcpStream) -> io::Result<()> {
    println!("its peer is we: {}", far.peer_addr()? == near.local_addr()?);
    println!("our peer is it: {}", near.peer_addr()? == far.local_addr()?);
    let number = near.as_fd().as_raw_fd();
    println!("a descriptor of ours: {}", number > 2);
    Ok(())
}

fn main() -> greenloop::Result<()> {
    let mut listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    println!("connect: {}", connect_ex(address));
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    println!("connect to nobody: {}", connect_ex(nobody));
    drop(listener.accept()?);

    let mut near = TcpStream::connect(address)?;
    let (far, _) = listener.accept()?;
    addresses(&near, &far)?;

    // Other greenlets run while one waits; it gives up, and nothing is lost.
    near.set_read_timeout(Some(MOMENT));
    show("read with a limit", near.read(&mut [0; 16]));
    show("accept with a limit", listener.accept_timeout(MOMENT));
    // Or one limit around any number of calls.
    let accepted = greenloop::timeout(MOMENT, || listener.accept());
    show("a limit around it", accepted);

    // What Python's `setblocking(False)` is for has calls of its own here.
    let mut socket = UdpSocket::bind("127.0.0.1:0")?;
    show("a try", socket.try_recv(&mut [0; 16]));
    Ok(())
}
