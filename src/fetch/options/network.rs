//! How servers are spoken to, and for how long they are waited for.

use std::path::PathBuf;
use std::time::Duration;

use crate::fetch::Downloader;

/// What a client is built from, and its limits.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) user_agent: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) connect_timeout: Duration,
    pub(crate) head_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) total_timeout: Option<Duration>,
    /// Bytes per second, and for how long fewer are put up with.
    pub(crate) speed_min: (u64, Duration),
    pub(crate) idle_connections: usize,
    /// PEM file with authorities to trust besides the built-in ones.
    pub(crate) ca_file: Option<PathBuf>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            user_agent: concat!("greenloop/", env!("CARGO_PKG_VERSION")).to_owned(),
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            total_timeout: None,
            speed_min: (1024, Duration::from_secs(60)),
            idle_connections: 0,
            ca_file: None,
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
            .push((name.into(), value.into()));
        self
    }

    /// A PEM file with certificate authorities to trust besides Mozilla's.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.network.ca_file = Some(path.into());
        self
    }
}
