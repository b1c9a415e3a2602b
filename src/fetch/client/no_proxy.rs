//! Which hosts are asked without a proxy. Pure.

use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

/// A list as in `no_proxy`: `example.org,.corp,10.0.0.0/8,[::1]:8080,*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NoProxy {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    hosts: Hosts,
    /// `None`: all.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// A domain and all below it, without the dot in front.
    Below(String),
    Network(IpAddr, u32),
}

impl NoProxy {
    /// Reads a list; what is between its commas or blanks and is no rule matches nothing.
    pub(super) fn parse(list: &str) -> Self {
        Self {
            rules: Self::entries(list).map(Rule::parse).collect(),
        }
    }

    fn entries(list: &str) -> impl Iterator<Item = &str> {
        let entries = list.split([',', ' ', '\t']);
        entries.filter(|entry| !entry.is_empty())
    }

    /// The first entry of a list that is no rule, or the list if there is none in it.
    #[cfg(feature = "cli")]
    pub(super) fn nonsense(list: &str) -> Option<&str> {
        let mut entries = Self::entries(list).peekable();
        if entries.peek().is_none() {
            return Some(list).filter(|list| !list.is_empty());
        }
        entries.find(|entry| !Rule::parse(entry).hosts.could_be())
    }

    /// Tells whether `url` is asked directly.
    pub(super) fn matches(&self, url: &Url) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        let address = IpAddr::from_str(host.trim_matches(['[', ']'])).ok();
        let port = url.port_or_known_default();
        self.rules
            .iter()
            .any(|rule| (rule.port.is_none() || rule.port == port) && rule.hosts.has(host, address))
    }
}

impl Rule {
    fn parse(entry: &str) -> Self {
        let (hosts, port) = match entry.rsplit_once(':') {
            // More than one colon without brackets is an address.
            Some((hosts, port)) if !hosts.contains(':') || hosts.ends_with(']') => {
                match port.parse() {
                    Ok(port) => (hosts, Some(port)),
                    Err(_) => (entry, None),
                }
            }
            _ => (entry, None),
        };
        Self {
            hosts: Hosts::parse(hosts),
            port,
        }
    }
}

impl Hosts {
    fn parse(text: &str) -> Self {
        if text == "*" {
            return Self::All;
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, bits.parse().ok()),
            None => (text, Some(128)),
        };
        let address = address.trim_matches(['[', ']']);
        if let (Ok(address), Some(bits)) = (IpAddr::from_str(address), bits) {
            return Self::Network(address, bits);
        }
        let domain = text.strip_prefix('*').unwrap_or(text);
        Self::Below(domain.trim_matches('.').to_ascii_lowercase())
    }

    /// Tells whether there can be such hosts.
    #[cfg(feature = "cli")]
    fn could_be(&self) -> bool {
        match self {
            Self::All => true,
            Self::Below(domain) => {
                let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
                !domain.is_empty() && domain.chars().all(is_part)
            }
            // One address is a network, too, and has all bits of the longer ones.
            Self::Network(_, 128) => true,
            Self::Network(IpAddr::V4(_), bits) => *bits <= 32,
            Self::Network(IpAddr::V6(_), bits) => *bits <= 128,
        }
    }

    fn has(&self, host: &str, address: Option<IpAddr>) -> bool {
        match self {
            Self::All => true,
            // An address has nothing below it: `1.10.0.0.1` is no subdomain.
            Self::Below(domain) => {
                host == domain
                    || address.is_none()
                        && host
                            .strip_suffix(domain.as_str())
                            .is_some_and(|rest| rest.ends_with('.') && !domain.is_empty())
            }
            Self::Network(network, bits) => address.is_some_and(|a| is_in(a, *network, *bits)),
        }
    }
}

/// Tells whether the first `bits` of two addresses of one family are the same.
fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differ = a.to_bits() ^ b.to_bits();
            differ.leading_zeros() >= bits.min(32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differ = a.to_bits() ^ b.to_bits();
            differ.leading_zeros() >= bits.min(128)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_by_suffix_address_network_and_port() {
        for (list, url, direct) in [
            ("", "http://a.org/", false),
            ("*", "http://a.org/", true),
            ("a.org", "http://a.org/", true),
            ("a.org", "http://b.a.org/", true),
            (".a.org", "http://a.org/", true),
            ("*.a.org", "http://b.a.org/", true),
            ("A.ORG", "http://b.a.org/", true),
            ("a.org", "http://nota.org/", false),
            ("a.org", "http://a.org.evil.com/", false),
            ("x, a.org", "https://a.org./", true),
            ("x a.org", "https://a.org/", true),
            ("a.org:8080", "http://a.org:8080/", true),
            ("a.org:8080", "http://a.org/", false),
            ("a.org:443", "https://a.org/", true),
            ("10.0.0.0/8", "http://10.2.3.4/", true),
            ("10.0.0.0/8", "http://11.2.3.4/", false),
            ("10.0.0.0/8", "http://10.example/", false),
            ("192.168.1.7", "http://192.168.1.7/", true),
            ("192.168.1.7", "http://192.168.1.70/", false),
            ("168.1.7", "http://192.168.1.7/", false),
            ("0.0.0.0/0", "http://1.2.3.4/", true),
            ("0.0.0.0/0", "http://[::1]/", false),
            ("127.0.0.1:81", "http://127.0.0.1:81/", true),
            ("127.0.0.1:81", "http://127.0.0.1/", false),
            ("::1", "http://[::1]/", true),
            ("[::1]", "http://[::1]:9/", true),
            ("[::1]:9", "http://[::1]:9/", true),
            ("[::1]:9", "http://[::1]:8/", false),
            ("fe80::/10", "http://[fe81::1]/", true),
            ("fe80::/10", "http://[fec0::1]/", false),
            ("fe80::/x", "http://[fe80::1]/", false),
            (".", "http://a.org/", false),
            (",,", "http://a.org/", false),
        ] {
            let found = NoProxy::parse(list).matches(&Url::parse(url).unwrap());
            assert_eq!(found, direct, "{list} {url}");
        }
    }

    #[test]
    #[cfg(feature = "cli")]
    fn what_is_no_rule_is_found() {
        for list in [
            "",
            "*",
            "a.org,.b_c.org *.d-e.org",
            "10.0.0.0/8,::1,[::1]:9,fe80::/10,1.2.3.4",
            "münchen.example:80,",
        ] {
            assert_eq!(NoProxy::nonsense(list), None, "{list}");
        }
        for (list, bad) in [
            (",,/99", "/99"),
            (",,", ",,"),
            ("a.org,b.org/c", "b.org/c"),
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("fe80::/129", "fe80::/129"),
            ("http://a.org", "http://a.org"),
            ("a.org:http", "a.org:http"),
            (".", "."),
        ] {
            assert_eq!(NoProxy::nonsense(list), Some(bad), "{list}");
        }
    }
}
