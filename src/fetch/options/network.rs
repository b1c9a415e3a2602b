//! How servers are spoken to, and for how long they are waited for.

use std::time::Duration;

use super::login::Login;
use super::proxies::Proxies;
use super::secret::Secret;
use super::trust::Trust;
use crate::fetch::Downloader;
use crate::fetch::failure::{Failure, FailureKind};

/// Which versions of IP are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpVersion {
    /// Whichever connects first.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// What a client is built from, and its limits.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) user_agent: String,
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) referer: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) head_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) total_timeout: Option<Duration>,
    /// Bytes per second, and for how long fewer are put up with.
    pub(crate) speed_min: (u64, Duration),
    pub(crate) idle_connections: usize,
    pub(crate) redirects_max: usize,
    pub(crate) allow_downgrade: bool,
    pub(crate) size_max: Option<u64>,
    pub(crate) http2: bool,
    pub(crate) accept_compressed: bool,
    pub(crate) ip_version: IpVersion,
    pub(crate) trust: Trust,
    pub(crate) proxies: Proxies,
    pub(crate) login: Login,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            user_agent: concat!("greenloop/", env!("CARGO_PKG_VERSION")).to_owned(),
            headers: Vec::new(),
            referer: None,
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            total_timeout: None,
            speed_min: (1024, Duration::from_secs(60)),
            idle_connections: 0,
            redirects_max: 20,
            allow_downgrade: false,
            size_max: None,
            http2: true,
            accept_compressed: false,
            ip_version: IpVersion::default(),
            trust: Trust::default(),
            proxies: Proxies::default(),
            login: Login::default(),
        }
    }
}

impl Downloader {
    /// The limit on name resolution, connection and TLS together. Default: 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.network.connect_timeout = limit;
        self
    }

    /// The limit on the head of an answer, once connected. Default: 30 s.
    ///
    /// It also ends a server that sends informational answers (1xx) without end. Until then
    /// other downloads go on, but slowly: the HTTP library passes over such answers without
    /// telling anybody, up to 128 reads of them before the next connection has its turn.
    pub fn head_timeout(mut self, limit: Duration) -> Self {
        self.settings.network.head_timeout = limit;
        self
    }

    /// The limit on a body that brings nothing at all. Default: 30 s.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.network.idle_timeout = limit;
        self
    }

    /// The limit on one URL, from its first request to its end, pauses included. Default:
    /// none.
    pub fn total_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.network.total_timeout = limit.into();
        self
    }

    /// The lowest speed, in bytes per second over `window`; a slower attempt fails.
    /// Default: 1024 over 60 s. Zero bytes: no limit.
    pub fn speed_min(mut self, bytes_per_second: u64, window: Duration) -> Self {
        self.settings.network.speed_min = (bytes_per_second, window);
        self
    }

    /// The `User-Agent` field. Default: `greenloop/VERSION`.
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.settings.network.user_agent = text.into();
        self
    }

    /// Adds a header field to the requests. A redirect to another host does not get it.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings
            .network
            .headers
            .push((name.into(), Secret::from(value)));
        self
    }

    /// The `Referer` field of the requests. Default: none. A redirect to another host does
    /// not get it.
    pub fn referer(mut self, url: impl Into<String>) -> Self {
        self.settings.network.referer = Some(url.into());
        self
    }

    /// Redirects followed for one URL. Default: 20.
    pub fn redirects_max(mut self, count: usize) -> Self {
        self.settings.network.redirects_max = count;
        self
    }

    /// Whether a redirect from https to http is followed. Default: no.
    pub fn allow_downgrade(mut self, allow: bool) -> Self {
        self.settings.network.allow_downgrade = allow;
        self
    }

    /// The largest file that is fetched, in bytes; a larger one fails as soon as it shows.
    /// Default: none.
    pub fn size_max(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.settings.network.size_max = bytes.into();
        self
    }

    /// Whether HTTP/2 is offered to servers with TLS. Default: yes.
    pub fn http2(mut self, offer: bool) -> Self {
        self.settings.network.http2 = offer;
        self
    }

    /// Whether bodies may come compressed (gzip, deflate, brotli); they are stored
    /// decompressed, and cannot be resumed. Default: no; what comes compressed unasked is
    /// then stored as it is.
    pub fn accept_compressed(mut self, accept: bool) -> Self {
        self.settings.network.accept_compressed = accept;
        self
    }

    /// Connects over this version of IP only. Default: [`IpVersion::Any`].
    pub fn ip_version(mut self, version: IpVersion) -> Self {
        self.settings.network.ip_version = version;
        self
    }
}

impl Network {
    /// Fails if a file of `bytes` is larger than is wanted.
    pub(crate) fn check_size(&self, bytes: u64) -> Result<(), Failure> {
        match self.size_max {
            Some(max) if bytes > max => Err(Failure::new(
                FailureKind::TooLarge,
                format!("larger than the {max} bytes that are allowed"),
            )),
            _ => Ok(()),
        }
    }
}
