//! Names to addresses, on a lane of OS threads of their own.
//!
//! `getaddrinfo` blocks, sometimes for many seconds, so it never runs on a worker. It has
//! its own lane so that slow names and slow files do not wait for each other.

use std::net::{IpAddr, SocketAddr};

use crate::error::{Error, Result};
use crate::net::addr::{Address, Host};
use crate::runtime::blocking::dns;
use crate::runtime::deadline::Deadline;
use crate::runtime::reason::Wait;

/// Looks up the addresses of `host`, each with `port`, in the system's order of preference.
///
/// A numeric host is not looked up. There is no cache beyond the system's own. When the
/// caller leaves early, the system's lookup runs to its end and its answer is dropped.
///
/// # Switching
/// May switch to other greenlets, unless the host is numeric.
///
/// # Errors
/// The name is unknown, or the lookup failed; cancelled, when the greenlet was killed;
/// timeout, when a [`Timeout`](crate::Timeout) passed.
///
/// # Examples
///
/// ```
/// let addresses = greenloop::net::resolve("127.0.0.1", 80)?;
/// assert_eq!(addresses, ["127.0.0.1:80".parse().unwrap()]);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: `gevent.socket.getaddrinfo`, whose threads it shares with the user's jobs.
#[track_caller]
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    resolve_deadline(host, port, Deadline::NEVER)
}

/// Like [`resolve`], until `limit`.
///
/// # Switching
/// May switch to other greenlets, unless the host is numeric.
///
/// # Errors
/// As [`resolve`]; timeout also when `limit` passed.
#[track_caller]
pub fn resolve_deadline(host: &str, port: u16, limit: Deadline) -> Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let looked_up = {
        let host = host.to_owned();
        dns().run_for(Wait::Resolve, limit, move || look_up(&host, port))
    };
    let shown = crate::util::escape(host.as_bytes());
    let addresses = looked_up
        .and_then(|found| found.map_err(Error::from))
        .map_err(|error| error.context(format!("resolving {shown}")))?;
    if addresses.is_empty() {
        return Err(Error::message(format!(
            "resolving {shown}: the name has no address"
        )));
    }
    Ok(addresses)
}

/// The addresses that `address` stands for when connecting: "all" means this machine.
#[track_caller]
pub(crate) fn resolve_address(address: &Address, limit: Deadline) -> Result<Vec<SocketAddr>> {
    match &address.host {
        Host::Numeric(ip) => Ok(vec![SocketAddr::new(*ip, address.port)]),
        Host::All => resolve_deadline("localhost", address.port, limit),
        Host::Name(name) => resolve_deadline(name, address.port, limit),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "runs on the lane's own OS thread"
)]
fn look_up(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    use std::net::ToSocketAddrs;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in (host, port).to_socket_addrs()? {
        // The hosts file may name one twice.
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}
