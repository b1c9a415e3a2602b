//! What we tell servers about ourselves: names and passwords, cookies.

use std::path::PathBuf;

use super::secret::Secret;
use crate::fetch::Downloader;

/// What servers know us by.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) basic: Option<(Secret, Secret)>,
    pub(crate) bearer: Option<Secret>,
    pub(crate) netrc: Option<PathBuf>,
    /// Cookies are kept and sent back.
    pub(crate) cookies: bool,
    pub(crate) cookies_from: Vec<PathBuf>,
    pub(crate) cookies_to: Option<PathBuf>,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            basic: None,
            bearer: None,
            netrc: None,
            cookies: true,
            cookies_from: Vec::new(),
            cookies_to: None,
        }
    }
}

impl Downloader {
    /// Name and password for every URL that has none of its own. They are sent unasked,
    /// and never to where a redirect leads: another host, port or scheme.
    pub fn basic_auth(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.settings.network.login.basic = Some((Secret::from(user), Secret::from(password)));
        self
    }

    /// A bearer token for every URL, in the place of [`Downloader::basic_auth`].
    pub fn bearer_auth(mut self, token: impl Into<String>) -> Self {
        self.settings.network.login.bearer = Some(Secret::from(token));
        self
    }

    /// A netrc file with names and passwords by host, for hosts that nothing else is known
    /// for. Each host is looked up anew when a redirect leads to it; the `default` entry
    /// is for hosts of the input only. A file that others can read is refused.
    pub fn netrc(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.network.login.netrc = Some(path.into());
        self
    }

    /// Whether cookies are kept in memory and sent back to whom they are from. Default:
    /// yes, because there are redirects that count on it.
    pub fn cookies(mut self, keep: bool) -> Self {
        self.settings.network.login.cookies = keep;
        self
    }

    /// A file with cookies to send, in the format of Netscape, as browsers export it. May
    /// be called several times.
    pub fn load_cookies(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.network.login.cookies_from.push(path.into());
        self
    }

    /// A file to write all cookies to at the end of a run, readable by its owner only.
    pub fn save_cookies(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.network.login.cookies_to = Some(path.into());
        self
    }
}
