//! Proxies, from the command line and from the environment.

use super::variable;
use crate::fetch::{Downloader, no_proxy_nonsense};
use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Proxy")]
pub(crate) struct ProxyArgs {
    /// Ask through this proxy: http://, https://, socks5:// or socks5h:// (which resolves
    /// names); empty: none [default: $all_proxy or $ALL_PROXY]
    #[arg(long, value_name = "URL", visible_alias = "proxy")]
    pub(crate) all_proxy: Option<String>,

    /// For http URLs [default: --all-proxy, $http_proxy]
    #[arg(long, value_name = "URL")]
    pub(crate) http_proxy: Option<String>,

    /// For https URLs [default: --all-proxy, $https_proxy or $HTTPS_PROXY]
    #[arg(long, value_name = "URL")]
    pub(crate) https_proxy: Option<String>,

    /// The name for proxies whose URL has none
    #[arg(long, value_name = "NAME", visible_alias = "proxy-user")]
    pub(crate) all_proxy_user: Option<String>,

    /// The password for proxies whose URL has none
    #[arg(
        long,
        value_name = "TEXT",
        visible_alias = "proxy-password",
        requires = "all_proxy_user"
    )]
    pub(crate) all_proxy_passwd: Option<String>,

    /// Ask these hosts directly: names with all below them, addresses, networks, each with a
    /// port or without, or * [default: $no_proxy or $NO_PROXY]
    #[arg(long, value_name = "LIST", visible_alias = "noproxy", value_parser = hosts)]
    pub(crate) no_proxy: Option<String>,
}

impl ProxyArgs {
    pub(super) fn apply(&self, mut downloader: Downloader) -> Downloader {
        if let Some(url) = self.choose(&self.http_proxy, &["http_proxy"]) {
            downloader = downloader.http_proxy(url);
        }
        if let Some(url) = self.choose(&self.https_proxy, &["https_proxy", "HTTPS_PROXY"]) {
            downloader = downloader.https_proxy(url);
        }
        if let Some(user) = &self.all_proxy_user {
            let password = self.all_proxy_passwd.as_deref().unwrap_or_default();
            downloader = downloader.proxy_login(user, password);
        }
        match self
            .no_proxy
            .clone()
            .or_else(|| first(&["no_proxy", "NO_PROXY"]))
        {
            Some(hosts) => downloader.no_proxy(hosts),
            None => downloader,
        }
    }

    /// The proxy for one scheme. Of HTTP_PROXY only the lower case counts: a web server
    /// that runs us would set the other from a request's `Proxy` field.
    fn choose(&self, own: &Option<String>, names: &[&str]) -> Option<String> {
        let given = own.as_ref().or(self.all_proxy.as_ref()).cloned();
        given
            .or_else(|| first(names))
            .or_else(|| first(&["all_proxy", "ALL_PROXY"]))
    }
}

/// What is no rule would match nothing. In the environment, which others set, it may.
fn hosts(list: &str) -> Result<String, String> {
    match no_proxy_nonsense(list) {
        None => Ok(list.to_owned()),
        Some(bad) => Err(format!("{bad:?} is no host, address or network")),
    }
}

fn first(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| variable(name))
}
