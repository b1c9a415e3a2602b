//! How servers are spoken to, and for how long they are waited for.

mod login;
mod proxy;
mod trust;

use self::login::LoginArgs;
use self::proxy::ProxyArgs;
use self::trust::TrustArgs;
use crate::cli::units::{self, Limit};
use crate::fetch::{Downloader, Entry, IpVersion};
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Give up a try when nothing arrives for so long; 0 never does
    #[arg(short, long, value_name = "DURATION", default_value = "30s", value_parser = units::limit)]
    pub(crate) timeout: Limit,

    /// Give up a try when no connection stands after so long; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::limit)]
    pub(crate) connect_timeout: Limit,

    /// Give up a URL after so long, retries included; 0 never does
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = units::limit)]
    pub(crate) max_time: Limit,

    /// Give up a try that brings fewer bytes a second, over --speed-time; 0 never does
    #[arg(long, value_name = "SIZE", default_value = "1K", value_parser = units::size,
        visible_aliases = ["min-speed", "speed-limit"])]
    pub(crate) lowest_speed_limit: u64,

    /// For how long a try may be too slow
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = units::some_time)]
    pub(crate) speed_time: Duration,

    /// Refuse files that are larger, also if only their body shows it
    #[arg(long, value_name = "SIZE", visible_alias = "max-size", value_parser = units::size)]
    pub(crate) max_filesize: Option<u64>,

    /// Follow so many redirects
    #[arg(
        long,
        value_name = "N",
        default_value = "20",
        visible_alias = "max-redirs",
        value_parser = units::any_count
    )]
    pub(crate) max_redirect: usize,

    /// Follow redirects from https to http
    #[arg(long)]
    pub(crate) allow_downgrade: bool,

    /// Do not offer HTTP/2
    #[arg(long = "http1.1", alias = "no-http2")]
    pub(crate) http1_only: bool,

    /// Ask for gzip, deflate or brotli, and store what is in it; such files are not resumed
    #[arg(long, value_name = "BOOL", visible_alias = "compressed")]
    pub(crate) http_accept_gzip: Option<bool>,

    /// Send this as User-Agent
    #[arg(short = 'U', long, value_name = "TEXT", value_parser = user_agent)]
    pub(crate) user_agent: Option<String>,

    /// Send this as Referer
    #[arg(long, value_name = "URL", value_parser = referer)]
    pub(crate) referer: Option<String>,

    /// Add a field to the requests, as "Name: value"; redirects to other hosts do not get it;
    /// may be given more than once
    #[arg(short = 'H', long, value_name = "FIELD", value_parser = header)]
    pub(crate) header: Vec<(String, String)>,

    /// Connect over IPv4 only
    #[arg(
        short = '4',
        long,
        visible_alias = "inet4-only",
        conflicts_with = "ipv6"
    )]
    pub(crate) ipv4: bool,

    /// Connect over IPv6 only
    #[arg(short = '6', long, visible_alias = "inet6-only")]
    pub(crate) ipv6: bool,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) proxy: ProxyArgs,
    #[command(flatten)]
    pub(crate) login: LoginArgs,
}

impl NetworkArgs {
    pub(crate) fn apply(&self, downloader: Downloader) -> Downloader {
        let mut downloader = downloader
            .idle_timeout(or_never(self.timeout))
            .head_timeout(or_never(self.timeout))
            .connect_timeout(or_never(self.connect_timeout))
            .total_timeout(self.max_time.0)
            .speed_min(self.lowest_speed_limit, self.speed_time)
            .size_max(self.max_filesize)
            .redirects_max(self.max_redirect)
            .allow_downgrade(self.allow_downgrade)
            .http2(!self.http1_only)
            .accept_compressed(self.http_accept_gzip.unwrap_or(false))
            .ip_version(match (self.ipv4, self.ipv6) {
                (true, _) => IpVersion::V4,
                (_, true) => IpVersion::V6,
                _ => IpVersion::Any,
            });
        if let Some(text) = &self.user_agent {
            downloader = downloader.user_agent(text);
        }
        if let Some(url) = &self.referer {
            downloader = downloader.referer(url);
        }
        for (name, value) in &self.header {
            downloader = downloader.header(name, value);
        }
        let downloader = self.trust.apply(downloader);
        let downloader = self.proxy.apply(downloader);
        self.login.apply(downloader)
    }
}

fn or_never(limit: Limit) -> Duration {
    limit.0.unwrap_or(Duration::MAX)
}

/// Reads `Name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .filter(|(name, _)| !name.trim().is_empty())
        .ok_or("a field is wanted, as in \"X-Name: value\"")?;
    fit(|entry| entry.header(name, value))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn user_agent(text: &str) -> Result<String, String> {
    fit(|entry| entry.header("User-Agent", text))?;
    Ok(text.to_owned())
}

fn referer(text: &str) -> Result<String, String> {
    fit(|entry| entry.referer(text))?;
    Ok(text.to_owned())
}

/// What an entry of a list could have is what all may have.
fn fit(set: impl FnOnce(Entry) -> Entry) -> Result<(), String> {
    let entry = set(Entry::from("http://host/"));
    entry
        .url()
        .map_or_else(|reason| Err(reason.to_owned()), |_| Ok(()))
}

/// A variable of the environment that says something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
