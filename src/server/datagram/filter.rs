//! Datagrams that nobody may answer.
//!
//! Whoever writes a source address into a datagram may write any. One datagram whose source
//! is the server itself, answered, is a datagram whose source is the server itself: it would
//! go round for ever. So would one between two sockets of the server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::net::{Addr, Arrival, machine_ips};
use crate::util::lock;

/// Why a datagram is not handled.
///
/// # Examples
///
/// ```
/// use greenloop::server::DropReason;
///
/// let reason = DropReason::PortZero;
/// assert_eq!(reason.to_string(), "its source has port 0");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// Its source is an address of the server.
    OwnAddress,
    /// Its source has port 0, where nobody can be answered.
    PortZero,
    /// Its source is no single machine's: broadcast, multicast, unspecified.
    GroupSource,
    /// No greenlet could be started for it.
    NoGreenlet,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnAddress => "its source is this server",
            Self::PortZero => "its source has port 0",
            Self::GroupSource => "its source is no single machine",
            Self::NoGreenlet => "there is no greenlet for it",
        })
    }
}

/// The addresses of a server.
pub(super) struct Own {
    addrs: Vec<Addr>,
    machine: Mutex<Machine>,
}

/// The addresses of the machine, which may change while the server runs.
#[derive(Default)]
struct Machine {
    ips: Vec<IpAddr>,
    read: Option<Instant>,
}

impl Own {
    pub(super) fn new(addrs: Vec<Addr>) -> Self {
        let machine = Mutex::default();
        Self { addrs, machine }
    }

    /// Why a datagram from `peer` is dropped, if it is.
    pub(super) fn refusal(&self, peer: &Addr, arrival: Option<&Arrival>) -> Option<DropReason> {
        let sent_to = arrival.map(|arrival| arrival.sent_to);
        refusal(peer, sent_to, &self.addrs, |ip| self.is_machine(ip))
    }

    fn is_machine(&self, ip: IpAddr) -> bool {
        let mut machine = lock(&self.machine);
        if machine.read.is_none_or(|at| at.elapsed() > FRESH) {
            // Without the list what was known stays.
            if let Ok(ips) = machine_ips() {
                machine.ips = ips;
            }
            machine.read = Some(Instant::now());
        }
        machine.ips.contains(&ip)
    }
}

/// How old the list of the machine's addresses may be. It is read only for peers that have
/// the server's own port.
const FRESH: Duration = Duration::from_secs(1);

/// `is_machine` says of an address whether this machine has it.
fn refusal(
    peer: &Addr,
    sent_to: Option<IpAddr>,
    own: &[Addr],
    is_machine: impl Fn(IpAddr) -> bool,
) -> Option<DropReason> {
    let Addr::Ip(peer) = peer else {
        // Nobody else can have the name of a Unix socket of ours. No name is no name.
        let is_named = !matches!(peer, Addr::Unix(crate::net::UnixAddr::Unnamed));
        return (is_named && own.contains(peer)).then_some(DropReason::OwnAddress);
    };
    let is_own = |addr: &Addr| {
        addr.ip()
            .is_some_and(|own| is_ours(*peer, own, sent_to, &is_machine))
    };
    if peer.port() == 0 {
        Some(DropReason::PortZero)
    } else if is_group(peer.ip()) {
        Some(DropReason::GroupSource)
    } else if own.iter().any(is_own) {
        Some(DropReason::OwnAddress)
    } else {
        None
    }
}

/// Tells whether `peer` is the socket that is bound to `own`.
fn is_ours(
    peer: SocketAddr,
    own: SocketAddr,
    sent_to: Option<IpAddr>,
    is_machine: impl Fn(IpAddr) -> bool,
) -> bool {
    if peer.port() != own.port() {
        return false;
    }
    if !own.ip().is_unspecified() {
        return peer.ip() == own.ip().to_canonical();
    }
    // `0.0.0.0` is every IPv4 address of the machine, `::` may be those of both families.
    let is_covered = own.is_ipv6() || peer.is_ipv4();
    is_covered && (peer.ip().is_loopback() || sent_to == Some(peer.ip()) || is_machine(peer.ip()))
}

/// Tells whether `ip` is the address of no machine or of many.
fn is_group(ip: IpAddr) -> bool {
    let is_broadcast = |ip: Ipv4Addr| {
        // The one of the loopback interface; others are for the kernel to refuse.
        ip.is_broadcast() || ip.octets() == [127, 255, 255, 255]
    };
    ip.is_unspecified() || ip.is_multicast() || matches!(ip, IpAddr::V4(ip) if is_broadcast(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, own: &[&str], sent_to: Option<&str>) -> Option<DropReason> {
        let addr = |text: &str| match text.strip_prefix("unix:") {
            Some("") => Addr::Unix(crate::net::UnixAddr::Unnamed),
            Some(name) => Addr::Unix(name.parse().unwrap()),
            None => Addr::Ip(text.parse().unwrap()),
        };
        let own: Vec<_> = own.iter().map(|text| addr(text)).collect();
        let machine: IpAddr = "192.0.2.10".parse().unwrap();
        refusal(
            &addr(peer),
            sent_to.map(|ip| ip.parse().unwrap()),
            &own,
            |ip| ip == machine,
        )
    }

    #[test]
    fn sources_that_nobody_may_answer_are_refused() {
        let own = ["127.0.0.1:7000"];
        for (peer, reason) in [
            ("192.0.2.1:0", DropReason::PortZero),
            ("127.0.0.1:0", DropReason::PortZero),
            ("255.255.255.255:9", DropReason::GroupSource),
            ("127.255.255.255:9", DropReason::GroupSource),
            ("224.0.0.1:9", DropReason::GroupSource),
            ("0.0.0.0:9", DropReason::GroupSource),
            ("[ff02::1]:9", DropReason::GroupSource),
            ("[::]:9", DropReason::GroupSource),
            ("127.0.0.1:7000", DropReason::OwnAddress),
        ] {
            assert_eq!(check(peer, &own, None), Some(reason), "{peer}");
        }
        for peer in [
            "192.0.2.1:7000",
            "127.0.0.2:7000",
            "127.0.0.1:7001",
            "[::1]:7000",
        ] {
            assert_eq!(check(peer, &own, None), None, "{peer}");
        }
    }

    #[test]
    fn every_address_of_the_machine_is_a_wildcard_sockets_own() {
        let ours = Some(DropReason::OwnAddress);
        for (peer, v4, both) in [
            ("127.0.0.1:7000", ours, ours),
            ("127.8.8.8:7000", ours, ours),
            ("192.0.2.10:7000", ours, ours),
            // Asked at that very address.
            ("198.51.100.9:7000", ours, ours),
            ("[::1]:7000", None, ours),
            ("192.0.2.11:7000", None, None),
            ("192.0.2.10:7001", None, None),
            ("127.0.0.1:7001", None, None),
        ] {
            let sent_to = Some("198.51.100.9");
            assert_eq!(check(peer, &["0.0.0.0:7000"], sent_to), v4, "{peer}");
            assert_eq!(check(peer, &["[::]:7000"], sent_to), both, "{peer}");
        }
    }

    #[test]
    fn another_socket_of_the_server_is_its_own_too() {
        let own = ["127.0.0.1:7000", "127.0.0.1:7001", "unix:@ours"];
        let ours = Some(DropReason::OwnAddress);
        assert_eq!(check("127.0.0.1:7001", &own, None), ours);
        assert_eq!(check("unix:@ours", &own, None), ours);
        assert_eq!(check("unix:@other", &own, None), None);
        assert_eq!(check("unix:", &own, None), None);
    }
}
