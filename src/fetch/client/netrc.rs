//! Names and passwords by host, from a netrc file.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use reqwest::header::HeaderValue;

use super::auth;
use crate::error::{Error, Result};

/// What a netrc file says.
pub(super) struct Netrc {
    machines: Vec<Machine>,
    default: Option<Login>,
}

struct Machine {
    host: String,
    login: Login,
}

#[derive(Clone, Default)]
struct Login {
    user: String,
    password: String,
}

/// More is no netrc.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

impl Netrc {
    /// Reads a file that is for its owner's eyes only.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let context = |e: Error| e.context(format_args!("reading {}", path.display()));
        let read = || -> Result<String> {
            let file = File::open(path)?;
            if file.metadata()?.mode() & 0o077 != 0 {
                return Err(Error::message(
                    "others can read the passwords in it: chmod 600 it first",
                ));
            }
            let mut text = String::new();
            file.take(BYTES_MAX).read_to_string(&mut text)?;
            Ok(text)
        };
        let text = read().map_err(context)?;
        Self::parse(&text).map_err(|e| context(Error::message(e)))
    }

    /// Reads the format of ftp(1), with curl's quotes. Of two entries for one host the
    /// first counts; what comes after `default` does not.
    fn parse(text: &str) -> Result<Self, String> {
        let mut netrc = Self {
            machines: Vec::new(),
            default: None,
        };
        let mut tokens = Tokens(text);
        let mut current = None;
        while let Some(token) = tokens.next()? {
            match token.as_str() {
                "machine" => {
                    netrc.close(current.take());
                    let host = tokens.value("machine")?.to_ascii_lowercase();
                    current = Some((Some(host), Login::default()));
                }
                "default" => {
                    netrc.close(current.take());
                    current = Some((None, Login::default()));
                }
                "macdef" => tokens.skip_macro(),
                "login" | "password" | "account" => {
                    let value = tokens.value(&token)?;
                    let Some((_, login)) = &mut current else {
                        return Err(format!("\"{token}\" before the first machine"));
                    };
                    match token.as_str() {
                        "login" => login.user = value,
                        "password" => login.password = value,
                        _ => {}
                    }
                }
                // Not shown: a password with a blank in it ends up here.
                _ => return Err("an unknown word where a keyword should be".to_owned()),
            }
        }
        netrc.close(current);
        Ok(netrc)
    }

    fn close(&mut self, entry: Option<(Option<String>, Login)>) {
        match entry {
            _ if self.default.is_some() => {}
            Some((Some(host), login)) => self.machines.push(Machine { host, login }),
            Some((None, login)) => self.default = Some(login),
            None => {}
        }
    }

    /// The credentials for `host`. Those of `default` only go where the user named the
    /// host: a server that redirects must not choose who gets them.
    pub(super) fn credentials(&self, host: &str, at_home: bool) -> Option<HeaderValue> {
        let host = host.trim_end_matches('.');
        let found = self.machines.iter().find(|machine| machine.host == host);
        let login = match found {
            Some(machine) => &machine.login,
            None => self.default.as_ref().filter(|_| at_home)?,
        };
        Some(auth::basic(
            login.user.as_bytes(),
            login.password.as_bytes(),
        ))
    }
}

impl std::fmt::Debug for Netrc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netrc")
            .field("machines", &self.machines.len())
            .finish_non_exhaustive()
    }
}

/// Words between blanks, or between quotes with `\` before what is meant as it stands.
struct Tokens<'a>(&'a str);

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<String>, String> {
        loop {
            self.0 = self.0.trim_start();
            match self.0.strip_prefix('#') {
                Some(comment) => self.0 = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => break,
            }
        }
        if let Some(quoted) = self.0.strip_prefix('"') {
            return self.quoted(quoted).map(Some);
        }
        if self.0.is_empty() {
            return Ok(None);
        }
        let end = self.0.find(char::is_whitespace).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        Ok(Some(token.to_owned()))
    }

    fn quoted(&mut self, text: &str) -> Result<String, String> {
        let mut value = String::new();
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    let end = self.0.len() - text.len() + at + 1;
                    self.0 = &self.0[end..];
                    return Ok(value);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 'r')) => value.push('\r'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, c)) => value.push(c),
                    None => break,
                },
                c => value.push(c),
            }
        }
        Err("a quote that does not end".to_owned())
    }

    fn value(&mut self, keyword: &str) -> Result<String, String> {
        // A password may begin with `#`, so no comment is looked for here.
        self.0 = self.0.trim_start();
        if self.0.starts_with('#') {
            let end = self.0.find(char::is_whitespace).unwrap_or(self.0.len());
            let (token, rest) = self.0.split_at(end);
            self.0 = rest;
            return Ok(token.to_owned());
        }
        self.next()?
            .ok_or_else(|| format!("\"{keyword}\" at the end"))
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        let ends = ["\n\n", "\n\r\n"].iter().filter_map(|end| self.0.find(end));
        let end = ends.min().unwrap_or(self.0.len());
        self.0 = &self.0[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r##"# a comment with machine in it
machine a.org login ann password "with \"quotes\" and blanks"
machine
  B.org
  login bob   # his account
  password #start
  account ignored
macdef init
machine evil login x password y
cd /

machine c.org login carl
default login anonymous password me@
machine late.org login x password y
"##;

    #[test]
    fn entries_are_found_by_host() {
        let netrc = Netrc::parse(TEXT).unwrap();
        let is = |host: &str, at_home, user: &str, password: &str| {
            let expected = auth::basic(user.as_bytes(), password.as_bytes());
            assert_eq!(netrc.credentials(host, at_home), Some(expected), "{host}");
        };
        is("a.org", true, "ann", "with \"quotes\" and blanks");
        is("a.org.", true, "ann", "with \"quotes\" and blanks");
        is("b.org", false, "bob", "#start");
        is("c.org", false, "carl", "");
        is("sub.a.org", true, "anonymous", "me@");
        is("evil", true, "anonymous", "me@");
        is("late.org", true, "anonymous", "me@");
        // Where a server sent us, there is no default.
        assert_eq!(netrc.credentials("sub.a.org", false), None);
        assert!(!format!("{netrc:?}").contains("ann"));
    }

    #[test]
    fn nonsense_is_refused_and_not_shown() {
        for text in [
            "machine a login b password my secret",
            "login b",
            "machine",
            "machine a password \"secret",
        ] {
            let Err(error) = Netrc::parse(text) else {
                panic!("{text}");
            };
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(Netrc::parse("").is_ok_and(|n| n.credentials("a", true).is_none()));
    }
}
