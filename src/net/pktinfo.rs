//! Datagrams with what the system says about their way: the address that was asked, and
//! the address to answer from (`IP_PKTINFO` in ip(7), `IPV6_PKTINFO` in ipv6(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use socket2::Socket;

use crate::net::datagram::Received;

/// Where a datagram came in.
///
/// # Examples
///
/// ```
/// use greenloop::net::UdpSocket;
///
/// let mut server = UdpSocket::bind("0.0.0.0:0")?;
/// let port = server.local_addr()?.port();
/// let mut client = UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"hello", ([127, 0, 0, 2], port))?;
/// let arrival = server.recv_msg(&mut [0; 16])?.local.unwrap();
/// assert_eq!(arrival.sent_to.to_string(), "127.0.0.2");
/// assert_eq!(arrival.answer_from, arrival.sent_to); // as it is no group's address
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the ancillary data of `socket.recvmsg()`, to be unpacked by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Arrival {
    /// The address it was sent to: one of this machine's, or that of a group (broadcast,
    /// multicast) this machine is in.
    pub sent_to: IpAddr,
    /// This machine's address from which an answer leaves. It is [`Arrival::sent_to`] unless
    /// that is a group's; unspecified (`::`) where the choice is the system's.
    pub answer_from: IpAddr,
    /// The number of the interface it came in through.
    pub interface: u32,
}

/// Has the system tell the arrival of each datagram on `socket`.
pub(super) fn enable(socket: &Socket, is_v6: bool) -> io::Result<()> {
    if is_v6 {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        // Of an IPv4 datagram this knows the address to answer from, also after a broadcast.
        // Not every system has it on such a socket.
        let _ = setsockopt(socket, sockopt::Ipv4PacketInfo, &true);
        return Ok(());
    }
    Ok(setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?)
}

/// Room for both kinds.
pub(super) fn control_room() -> Vec<u8> {
    nix::cmsg_space!(in_pktinfo, in6_pktinfo)
}

/// Takes one datagram, if one is there.
pub(super) fn receive(
    socket: &Socket,
    buf: &mut [u8],
    control: &mut [u8],
) -> io::Result<Received<SocketAddr>> {
    let room = buf.len();
    let mut parts = [IoSliceMut::new(buf)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(control),
        // With it the size is told that was sent, not what fits.
        MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT,
    )?;
    let mut local = None;
    // An error says that there was more than fits: somebody has asked this socket for other
    // things, too. Then the arrival is not known, and the datagram is as good.
    for part in message.cmsgs().into_iter().flatten() {
        match part {
            ControlMessageOwned::Ipv4PacketInfo(info) => local = Some(from_v4(&info)),
            // Of an IPv4 datagram the other kind knows more.
            ControlMessageOwned::Ipv6PacketInfo(info) if local.is_none() => {
                local = Some(from_v6(&info));
            }
            _ => {}
        }
    }
    let peer = message.address.as_ref().and_then(socket_addr);
    Ok(Received {
        len: message.bytes.min(room),
        size: message.bytes,
        peer: canonical(peer.ok_or_else(no_sender)?),
        local,
    })
}

/// The system names the sender of every UDP datagram.
pub(super) fn no_sender() -> io::Error {
    io::Error::other("a datagram without a sender")
}

fn socket_addr(addr: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = addr.as_sockaddr_in().map(|v4| SocketAddr::from(*v4));
    v4.or_else(|| addr.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6)))
}

/// The addresses of this machine's interfaces, as they are now.
pub(crate) fn machine_ips() -> io::Result<Vec<IpAddr>> {
    let all = nix::ifaddrs::getifaddrs()?;
    let ip = |addr: &SockaddrStorage| socket_addr(addr).map(|addr| addr.ip());
    Ok(all
        .filter_map(|found| ip(found.address.as_ref()?))
        .collect())
}

/// Sends one datagram to `to` with the source address `from`.
pub(super) fn send(
    socket: &Socket,
    is_v6: bool,
    buf: &[u8],
    to: SocketAddr,
    from: IpAddr,
) -> io::Result<usize> {
    let parts = [IoSlice::new(buf)];
    let to = SockaddrStorage::from(for_system(to, is_v6));
    let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
    let sent = match (from, is_v6) {
        (from, _) if from.is_unspecified() => sendmsg(fd, &parts, &[], flags, Some(&to)),
        (IpAddr::V4(from), false) => {
            let info = in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from_ne_bytes(from.octets()),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            let info = [ControlMessage::Ipv4PacketInfo(&info)];
            sendmsg(fd, &parts, &info, flags, Some(&to))
        }
        (from, true) => {
            let info = in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: mapped(from).octets(),
                },
                ipi6_ifindex: 0,
            };
            let info = [ControlMessage::Ipv6PacketInfo(&info)];
            sendmsg(fd, &parts, &info, flags, Some(&to))
        }
        (IpAddr::V6(_), false) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    Ok(sent?)
}

fn from_v4(info: &in_pktinfo) -> Arrival {
    let ip = |addr: libc::in_addr| IpAddr::from(Ipv4Addr::from(addr.s_addr.to_ne_bytes()));
    Arrival {
        sent_to: ip(info.ipi_addr),
        answer_from: ip(info.ipi_spec_dst),
        interface: info.ipi_ifindex.unsigned_abs(),
    }
}

fn from_v6(info: &in6_pktinfo) -> Arrival {
    let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
    let answer_from = if ip.is_multicast() {
        Ipv6Addr::UNSPECIFIED
    } else {
        ip
    };
    Arrival {
        sent_to: IpAddr::from(ip).to_canonical(),
        answer_from: IpAddr::from(answer_from).to_canonical(),
        interface: info.ipi6_ifindex,
    }
}

/// An IPv4 address as a socket of both families shows it (`::ffff:a.b.c.d`), as itself.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
        // With its zone.
        IpAddr::V6(_) => addr,
    }
}

/// The other way round: what a socket of the family can be told.
pub(super) fn for_system(addr: SocketAddr, is_v6: bool) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if is_v6 => {
            SocketAddr::new(mapped(v4.ip().to_owned().into()).into(), v4.port())
        }
        addr => addr,
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_pass_through_a_socket_of_both() {
        for (text, on_v6) in [
            ("127.0.0.1:7", "[::ffff:127.0.0.1]:7"),
            ("[::1]:7", "[::1]:7"),
            ("[fe80::1%3]:7", "[fe80::1%3]:7"),
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            let told = for_system(addr, true);
            assert_eq!(told.to_string(), on_v6);
            assert_eq!(canonical(told), addr);
            assert_eq!(for_system(addr, false), addr);
        }
    }
}
