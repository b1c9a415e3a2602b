//! Where a socket is, and where people say that one shall be.
//!
//! [`Addr`] is what the system calls a socket; [`Endpoint`] what stands on a command line:
//! `HOST:PORT`, `udp://HOST:PORT`, `unix:PATH`. Pure text and values: no name is looked up
//! here (see `resolve`).

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use socket2::SockAddr;

use crate::error::{Error, Result};
use crate::net::addr::Address;
use crate::net::unix::UnixAddr;

/// The address of a socket, of this or the other side.
///
/// # Examples
///
/// ```
/// use greenloop::net::{Addr, UnixAddr};
///
/// let addr = Addr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 80)));
/// assert_eq!(addr.to_string(), "127.0.0.1:80");
/// assert_eq!(addr.ip().map(|addr| addr.port()), Some(80));
///
/// let addr = Addr::Unix("/run/app.sock".parse()?);
/// assert_eq!(addr.to_string(), "unix:/run/app.sock");
/// assert!(addr.ip().is_none());
/// assert_eq!(Addr::Unix(UnixAddr::Unnamed).to_string(), "unix:");
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: what `getsockname()` gives, a tuple or a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix(UnixAddr),
}

impl Addr {
    /// The IP address and port, if it is no Unix socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }

    /// The name of the Unix socket, if it is one.
    pub fn unix(&self) -> Option<&UnixAddr> {
        match self {
            Self::Ip(_) => None,
            Self::Unix(addr) => Some(addr),
        }
    }

    pub(crate) fn from_sockaddr(addr: &SockAddr) -> Self {
        addr.as_socket()
            .map_or_else(|| Self::Unix(UnixAddr::from_sockaddr(addr)), Self::Ip)
    }

    /// The system's form.
    ///
    /// # Errors
    /// As [`UnixAddr::to_sockaddr`].
    pub(crate) fn to_sockaddr(&self) -> io::Result<SockAddr> {
        match self {
            Self::Ip(addr) => Ok((*addr).into()),
            Self::Unix(addr) => addr.to_sockaddr(),
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self::Ip(addr)
    }
}

impl From<UnixAddr> for Addr {
    fn from(addr: UnixAddr) -> Self {
        Self::Unix(addr)
    }
}

impl PartialEq<SocketAddr> for Addr {
    fn eq(&self, other: &SocketAddr) -> bool {
        self.ip() == Some(*other)
    }
}

/// For the sockets of std; an error for a Unix socket.
impl ToSocketAddrs for Addr {
    type Iter = std::option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let addr = self.ip().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Some(addr).into_iter())
    }
}

/// As an [`Endpoint`] of a stream is written.
impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Unix(addr) => write!(f, "unix:{addr}"),
        }
    }
}

/// What kind of socket, and where.
///
/// | written | is |
/// |---|---|
/// | `HOST:PORT`, `tcp://HOST:PORT` | a TCP socket |
/// | `:PORT` | one on every address of this machine, of both families |
/// | `udp://HOST:PORT` | a UDP socket |
/// | `unix:PATH`, `unix:@NAME` | a Unix stream socket, by its file or its abstract name |
/// | `unixgram:PATH`, `unixgram:@NAME` | a Unix datagram socket |
///
/// # Examples
///
/// ```
/// use greenloop::net::Endpoint;
///
/// for text in ["127.0.0.1:80", "udp://localhost:53", "unix:/run/app.sock", "unixgram:@log"] {
///     assert_eq!(text.parse::<Endpoint>()?.to_string(), text);
/// }
/// assert!("udp://:53".parse::<Endpoint>()?.is_datagram());
///
/// let error = "http://localhost".parse::<Endpoint>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"address "http://localhost" has the scheme "http": expected tcp://, udp://, unix: or unixgram:"#,
/// );
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the family, the type and the address of a socket, which are three arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP.
    Tcp(Address),
    /// UDP.
    Udp(Address),
    /// A Unix stream socket.
    Unix(UnixAddr),
    /// A Unix datagram socket.
    Unixgram(UnixAddr),
}

impl Endpoint {
    /// Tells whether messages are sent there, and no stream of bytes.
    pub fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::Unixgram(_))
    }

    /// Reads an endpoint of a program that speaks UDP: `HOST:PORT` alone is UDP, too.
    ///
    /// # Errors
    /// As the `FromStr`.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::Endpoint;
    ///
    /// assert_eq!(Endpoint::parse_udp(":69")?, "udp://:69".parse()?);
    /// assert_eq!(Endpoint::parse_udp("unixgram:@a")?, "unixgram:@a".parse()?);
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn parse_udp(text: &str) -> Result<Self> {
        if text.contains("://") || text.starts_with("unix") {
            return text.parse();
        }
        text.parse().map(Self::Udp)
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    /// Reads an endpoint.
    ///
    /// # Errors
    /// Says what is missing or wrong, with the text that was given.
    fn from_str(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        // `unix:///run/x` is how others write it.
        let path = || match rest.strip_prefix("//") {
            Some(path) => path.parse(),
            None => rest.parse(),
        };
        match (scheme, rest.starts_with("//")) {
            ("unix", _) => path().map(Self::Unix),
            ("unixgram", _) => path().map(Self::Unixgram),
            ("udp", true) => {
                let address = &rest[2..];
                let address = address.strip_suffix('/').unwrap_or(address);
                address.parse().map(Self::Udp)
            }
            ("tcp", true) => text.parse().map(Self::Tcp),
            (_, true) => {
                let (text, scheme) = (text.as_bytes(), scheme.as_bytes());
                let (text, scheme) = (crate::util::escape(text), crate::util::escape(scheme));
                Err(Error::message(format!(
                    "address \"{text}\" has the scheme \"{scheme}\": \
                     expected tcp://, udp://, unix: or unixgram:"
                )))
            }
            (_, false) => text.parse().map(Self::Tcp),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Unix(addr) => write!(f, "unix:{addr}"),
            Self::Unixgram(addr) => write!(f, "unixgram:{addr}"),
        }
    }
}

/// Where to connect to reach a stream's listener.
impl From<Addr> for Endpoint {
    fn from(addr: Addr) -> Self {
        match addr {
            Addr::Ip(addr) => Self::Tcp(addr.into()),
            Addr::Unix(addr) => Self::Unix(addr),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr.into())
    }
}

impl From<Address> for Endpoint {
    fn from(address: Address) -> Self {
        Self::Tcp(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Endpoint>()
            .map_or_else(|e| format!("error: {e}"), |e| e.to_string())
    }

    #[test]
    fn endpoints_are_read_as_people_write_them() {
        for (text, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("tcp://[::1]:0", "[::1]:0"),
            ("udp://:53", "udp://:53"),
            ("udp://h:1/", "udp://h:1"),
            ("unix:/a/b c", "unix:/a/b c"),
            ("unix:rel", "unix:rel"),
            ("unix:///a", "unix:/a"),
            ("unix:@a b", "unix:@a b"),
            ("unixgram:/a", "unixgram:/a"),
            // A host may be called so.
            ("tcp:80", "tcp:80"),
            ("udp:80", "udp:80"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn wrong_endpoints_say_what_is_wrong() {
        for (text, expected) in [
            ("unix:", "error: \"\" is no path of a socket"),
            ("unix:@", "error: \"@\" has no name after @"),
            ("unixgram:a\0b", "error: \"a\\u{0}b\" has a zero byte in it"),
            (
                "udp://h",
                "error: address \"h\" has no port: expected HOST:PORT",
            ),
            ("h", "error: address \"h\" has no port: expected HOST:PORT"),
            (
                "sctp://h:1",
                "error: address \"sctp://h:1\" has the scheme \"sctp\": expected tcp://, udp://, \
                 unix: or unixgram:",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
