//! Addresses as people write them: `HOST:PORT`, `[::1]:PORT`, `:PORT`, `tcp://HOST:PORT`.
//!
//! Pure text: no name is looked up here (see `resolve`).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::error::{Error, Result};

/// A host and a port, the host perhaps still a name.
///
/// # Examples
///
/// ```
/// use greenloop::net::Address;
///
/// let address: Address = "tcp://localhost:7788".parse()?;
/// assert_eq!(address.to_string(), "localhost:7788");
/// assert_eq!(":80".parse::<Address>()?.port(), 80);
///
/// let error = "localhost".parse::<Address>().unwrap_err();
/// assert_eq!(error.to_string(), r#"address "localhost" has no port: expected HOST:PORT"#);
/// # Ok::<(), greenloop::Error>(())
/// ```
///
/// gevent: the `(host, port)` tuple, `':port'` and `'host:port'` of `StreamServer`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// The part before the port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// Every address of this machine, of both families.
    All,
    Numeric(IpAddr),
    /// A number with a zone, or a name: both are for the resolver.
    Name(String),
}

impl Address {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host as written, without brackets; `None` if it stands for every address of this
    /// machine.
    pub fn host(&self) -> Option<String> {
        match &self.host {
            Host::All => None,
            Host::Numeric(ip) => Some(ip.to_string()),
            Host::Name(name) => Some(name.clone()),
        }
    }

    /// The socket address, if no name has to be looked up.
    pub(crate) fn numeric(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Numeric(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::All | Host::Name(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    /// Reads an address.
    ///
    /// # Errors
    /// Says what is missing or wrong, with the text that was given.
    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|problem| {
            let text = crate::util::escape(text.as_bytes());
            Error::message(format!("address \"{text}\" {problem}"))
        })
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                let host = Host::Name(format!("{}%{}", v6.ip(), v6.scope_id()));
                Self {
                    host,
                    port: v6.port(),
                }
            }
            _ => Self {
                host: Host::Numeric(addr.ip()),
                port: addr.port(),
            },
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::All => write!(f, ":{}", self.port),
            Host::Numeric(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// The address, or what is wrong with it, to be read after `address "TEXT"`.
fn parse(text: &str) -> Result<Address, String> {
    let rest = match text.split_once("://") {
        Some(("tcp", rest)) => rest.strip_suffix('/').unwrap_or(rest),
        Some((scheme, _)) => {
            return Err(format!(
                "has the scheme {scheme:?}: expected tcp:// or none"
            ));
        }
        None => text,
    };
    if rest.is_empty() {
        return Err("is empty: expected HOST:PORT".into());
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(bracketed) => split_brackets(bracketed)?,
        None => split_plain(rest)?,
    };
    Ok(Address {
        host,
        port: parse_port(port)?,
    })
}

fn split_brackets(text: &str) -> Result<(Host, &str), String> {
    let (inside, after) = text.split_once(']').ok_or("has no closing bracket")?;
    let port = after
        .strip_prefix(':')
        .ok_or("has no port: expected [HOST]:PORT")?;
    let (number, zone) = match inside.split_once('%') {
        Some((number, zone)) => (number, Some(zone)),
        None => (inside, None),
    };
    let ip: Ipv6Addr = number
        .parse()
        .map_err(|_| format!("has {inside:?} in brackets, which is no IPv6 address"))?;
    let host = match zone {
        None => Host::Numeric(ip.into()),
        Some("") => return Err("has an empty zone after %".into()),
        Some(_) => Host::Name(inside.to_owned()),
    };
    Ok((host, port))
}

fn split_plain(text: &str) -> Result<(Host, &str), String> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!(
            "needs brackets around IPv6 and a port: expected [{text}]:PORT"
        ));
    }
    let (host, port) = text
        .rsplit_once(':')
        .ok_or("has no port: expected HOST:PORT")?;
    if host.contains(':') {
        return Err("has more than one colon: expected HOST:PORT or [IPV6]:PORT".into());
    }
    let host = match host {
        "" | "*" => Host::All,
        _ => host
            .parse()
            .map_or_else(|_| Host::Name(host.to_owned()), Host::Numeric),
    };
    if let Host::Name(name) = &host
        && let Some(bad) = name.chars().find(|c| c.is_whitespace() || c.is_control())
    {
        return Err(format!("has {bad:?} in its host name"));
    }
    Ok((host, port))
}

fn parse_port(port: &str) -> Result<u16, String> {
    if port.is_empty() {
        return Err("has no port after the colon: expected HOST:PORT".into());
    }
    // `u16::from_str` would take "+80".
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| port.parse().ok())
        .flatten()
        .ok_or_else(|| format!("has the port {port:?}: expected a number from 0 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match text.parse::<Address>() {
            Ok(address) => format!("{address} {:?}", address.host),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let table = [
            ("127.0.0.1:80", "127.0.0.1:80 Numeric(127.0.0.1)"),
            ("tcp://127.0.0.1:80", "127.0.0.1:80 Numeric(127.0.0.1)"),
            ("tcp://h:1/", "h:1 Name(\"h\")"),
            ("[::1]:0", "[::1]:0 Numeric(::1)"),
            ("[fe80::1%lo]:9", "[fe80::1%lo]:9 Name(\"fe80::1%lo\")"),
            (":7788", ":7788 All"),
            ("*:7788", ":7788 All"),
            ("a.example:65535", "a.example:65535 Name(\"a.example\")"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn wrong_addresses_say_what_is_wrong() {
        let table = [
            ("", "address \"\" is empty: expected HOST:PORT"),
            ("h", "address \"h\" has no port: expected HOST:PORT"),
            (
                "h:",
                "address \"h:\" has no port after the colon: expected HOST:PORT",
            ),
            (
                "h:x",
                "address \"h:x\" has the port \"x\": expected a number from 0 to 65535",
            ),
            (
                "h:+1",
                "address \"h:+1\" has the port \"+1\": expected a number from 0 to 65535",
            ),
            (
                "h:65536",
                "address \"h:65536\" has the port \"65536\": expected a number from 0 to 65535",
            ),
            (
                "::1",
                "address \"::1\" needs brackets around IPv6 and a port: expected [::1]:PORT",
            ),
            (
                "[::1]",
                "address \"[::1]\" has no port: expected [HOST]:PORT",
            ),
            ("[::1", "address \"[::1\" has no closing bracket"),
            (
                "[h]:1",
                "address \"[h]:1\" has \"h\" in brackets, which is no IPv6 address",
            ),
            (
                "a:b:1",
                "address \"a:b:1\" has more than one colon: expected HOST:PORT or [IPV6]:PORT",
            ),
            (
                "udp://h:1",
                "address \"udp://h:1\" has the scheme \"udp\": expected tcp:// or none",
            ),
            ("a b:1", "address \"a b:1\" has ' ' in its host name"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
