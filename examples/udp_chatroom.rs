//! A chat room over UDP: prints what is said, with time and sender, and tells the others.
//!
//! Run `cargo run --example udp_chatroom`, then twice or more
//! `cargo run -- connect udp://127.0.0.1:7788`. Full size: `greenloop serve chatroom`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use greenloop::net::Addr;
use greenloop::server::{Datagram, DatagramHandler, DatagramServer, Outlet};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who has spoken within the last minutes, and the way to them. Nobody else is sent
/// anything: an address in a datagram may be a lie.
struct Room {
    members: Mutex<HashMap<Addr, (Outlet, Instant)>>,
    zone: TimeZone,
}

const MEMBER_TIMEOUT: Duration = Duration::from_secs(300);

impl Room {
    /// Takes note of the sender; gives the others.
    fn hear(&self, datagram: &Datagram) -> Vec<(Addr, Outlet)> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|_, (_, seen)| seen.elapsed() < MEMBER_TIMEOUT);
        if members.len() < 100 || members.contains_key(datagram.peer()) {
            members.insert(datagram.peer().clone(), (datagram.outlet(), Instant::now()));
        }
        let others = members.iter().filter(|(addr, _)| *addr != datagram.peer());
        others
            .map(|(addr, (outlet, _))| (addr.clone(), outlet.clone()))
            .collect()
    }
}

impl DatagramHandler for Room {
    fn handle(&self, datagram: &mut Datagram) -> greenloop::Result<()> {
        let others = self.hear(datagram);
        let now = Timestamp::now().to_zoned(self.zone.clone());
        let now = now.strftime("%a %b %e %H:%M:%S %Y");
        let text = String::from_utf8_lossy(datagram.data());
        let text: String = text.trim_end().chars().take(200).collect();
        let from = datagram.peer().ip().map(|from| from.ip().to_string());
        let from = from.unwrap_or_else(|| datagram.peer().to_string());
        let line = format!("【{now}】{from}:{}", text.escape_debug());
        println!("{line}");
        for (addr, outlet) in others {
            let _ = outlet.send_to(line.as_bytes(), &addr); // who is gone misses it
        }
        Ok(())
    }
}

fn main() -> greenloop::Result<()> {
    let address = std::env::args().nth(1);
    let server = DatagramServer::bind(address.as_deref().unwrap_or("127.0.0.1:7788"))?;
    println!("chat room on {}", server.addr());
    // Here, on the main thread: reading time zones takes files, and much stack.
    let (members, zone) = (Mutex::default(), TimeZone::system());
    server.serve_until_signal(Room { members, zone })?;
    Ok(())
}
