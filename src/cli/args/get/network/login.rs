//! Names and passwords, cookies.

use super::variable;
use crate::fetch::Downloader;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(next_help_heading = "Login")]
pub(crate) struct LoginArgs {
    /// The name for all URLs without one of their own; redirects to other hosts do not get it
    #[arg(long, value_name = "NAME")]
    pub(crate) http_user: Option<String>,

    /// The password that goes with --http-user
    #[arg(
        long,
        value_name = "TEXT",
        visible_alias = "http-password",
        requires = "http_user"
    )]
    pub(crate) http_passwd: Option<String>,

    /// Both in one; nobody is asked for what is missing: NAME: has an empty password
    #[arg(long, value_name = "NAME:TEXT", conflicts_with = "http_user", value_parser = login)]
    pub(crate) user: Option<(String, String)>,

    /// A bearer token for all URLs; redirects to other hosts do not get it
    #[arg(long, value_name = "TOKEN", visible_alias = "bearer",
        conflicts_with_all = ["http_user", "user"])]
    pub(crate) oauth2_bearer: Option<String>,

    /// Look for names and passwords in $NETRC or ~/.netrc
    #[arg(long)]
    pub(crate) netrc: bool,

    /// Look for names and passwords in this file
    #[arg(long, value_name = "FILE", visible_alias = "netrc-path")]
    pub(crate) netrc_file: Option<PathBuf>,

    /// Do not keep cookies, not even from one redirect to the next
    #[arg(long, conflicts_with_all = ["load_cookies", "save_cookies"])]
    pub(crate) no_cookies: bool,

    /// Send the cookies of this file, as browsers export it; may be given more than once
    #[arg(long, value_name = "FILE")]
    pub(crate) load_cookies: Vec<PathBuf>,

    /// Write all cookies to this file at the end
    #[arg(long, value_name = "FILE", visible_alias = "cookie-jar")]
    pub(crate) save_cookies: Option<PathBuf>,
}

/// curl would ask for the password here, which hangs a script.
fn login(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, password)) => Ok((name.to_owned(), password.to_owned())),
        None => Err("a colon and the password are missing".to_owned()),
    }
}

impl LoginArgs {
    pub(super) fn apply(&self, downloader: Downloader) -> Downloader {
        let mut downloader = downloader.cookies(!self.no_cookies);
        if let Some(user) = &self.http_user {
            let password = self.http_passwd.as_deref().unwrap_or_default();
            downloader = downloader.basic_auth(user, password);
        }
        if let Some((user, password)) = &self.user {
            downloader = downloader.basic_auth(user, password);
        }
        if let Some(token) = &self.oauth2_bearer {
            downloader = downloader.bearer_auth(token);
        }
        if let Some(path) = self.netrc_path() {
            downloader = downloader.netrc(path);
        }
        for path in &self.load_cookies {
            downloader = downloader.load_cookies(path);
        }
        match &self.save_cookies {
            Some(path) => downloader.save_cookies(path),
            None => downloader,
        }
    }

    /// A file that was named must be there; the usual one may be missing.
    fn netrc_path(&self) -> Option<PathBuf> {
        if self.netrc_file.is_some() || !self.netrc {
            return self.netrc_file.clone();
        }
        if let Some(path) = variable("NETRC") {
            return Some(path.into());
        }
        let usual = Path::new(&variable("HOME")?).join(".netrc");
        usual.exists().then_some(usual)
    }
}
