//! Which proxies requests go through.

use super::secret::Secret;
use crate::fetch::Downloader;

/// Proxies, as URLs that may have a name and password.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    pub(crate) all: Option<Secret>,
    pub(crate) http: Option<Secret>,
    pub(crate) https: Option<Secret>,
    /// For proxies whose URL has none.
    pub(crate) login: Option<(Secret, Secret)>,
    pub(crate) none_for: String,
}

impl Downloader {
    /// The proxy for all requests: a URL with scheme `http`, `https`, `socks5` (names are
    /// resolved here) or `socks5h` (there), and a name and password if it wants them.
    /// Default: none; no environment variable is read.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.settings.network.proxies.all = Some(Secret::from(url));
        self
    }

    /// The proxy for URLs with `http`, before [`Downloader::proxy`].
    pub fn http_proxy(mut self, url: impl Into<String>) -> Self {
        self.settings.network.proxies.http = Some(Secret::from(url));
        self
    }

    /// The proxy for URLs with `https`, before [`Downloader::proxy`].
    pub fn https_proxy(mut self, url: impl Into<String>) -> Self {
        self.settings.network.proxies.https = Some(Secret::from(url));
        self
    }

    /// Name and password for proxies whose URL has none.
    pub fn proxy_login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.settings.network.proxies.login = Some((Secret::from(user), Secret::from(password)));
        self
    }

    /// Hosts that are asked directly, separated by commas: names (with all names below
    /// them), addresses, networks (`10.0.0.0/8`), each with a port or without; `*` is all.
    pub fn no_proxy(mut self, hosts: impl Into<String>) -> Self {
        self.settings.network.proxies.none_for = hosts.into();
        self
    }
}
