//! A chat room: what one says, all the others see. Each connection is two greenlets, one
//! that reads and one that writes; who does not read loses its place, and nobody waits.
//!
//! Run `cargo run --example chat_server`, then type into several `nc 127.0.0.1 7788`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::proto::line::LineSplitter;
use greenloop::server::{Conn, ConnWriter, StreamServer};
use greenloop::sync::{Broadcast, Subscriber, scope};
use std::io::Write;

type Room = Broadcast<(u64, String)>;
type News = Subscriber<(u64, String)>;

fn visit(room: &Room, conn: &mut Conn) -> greenloop::Result<()> {
    let (id, news, mut writer) = (conn.id(), room.subscribe(), conn.writer()?);
    writer.write_all(format!("you are {id}\n").as_bytes())?;
    room.send((id, "has come".into()))?;
    let ended = scope(|s| {
        let writing = s.spawn(move || hear(id, news, writer));
        let ended = speak(room, conn);
        writing.handle().kill();
        ended
    })?;
    room.send((id, "has gone".into()))?;
    ended
}

fn speak(room: &Room, conn: &mut Conn) -> greenloop::Result<()> {
    let (mut lines, mut buf) = (LineSplitter::new(1000), vec![0; 1024]);
    while let count @ 1.. = conn.read_next(&mut buf)? {
        lines.feed(&buf[..count]);
        while let Some(line) = lines.next_line() {
            // Nothing that moves a cursor; and of a line that is too long, nothing.
            let text = String::from_utf8_lossy(line.unwrap_or_default());
            room.send((conn.id(), text.escape_debug().to_string()))?;
        }
    }
    Ok(()) // the peer has ended, or the server drains
}

fn hear(own: u64, mut news: News, mut writer: ConnWriter) -> greenloop::Result<()> {
    loop {
        match news.get() {
            Ok((from, _)) if from == own => {}
            Ok((from, text)) => writer.write_all(format!("{from}: {text}\n").as_bytes())?,
            Err(_behind) => {
                writer.write_all(b"you are too slow, and out\n")?;
                return Ok(writer.shutdown(std::net::Shutdown::Read)?); // wakes the reader
            }
        }
    }
}

fn main() -> greenloop::Result<()> {
    let address = std::env::args().nth(1);
    let server = StreamServer::bind(address.as_deref().unwrap_or("127.0.0.1:7788"))?;
    println!("chat room on {}", server.addr());
    let room = Room::new(100);
    let report = server.serve_until_signal(move |conn: &mut Conn| visit(&room, conn))?;
    println!("{} visits", report.accepted);
    Ok(())
}
