//! The cookie file of Netscape: seven fields a line, with tabs between them.
//!
//! ```text
//! .example.org  TRUE              /     TRUE    1893456000          name  value
//! domain        subdomains too    path  secure  seconds, 0: none    name  value
//! ```

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use cookie_store::{Cookie, CookieDomain, CookieExpiration, CookieStore};
use reqwest::Url;

use crate::error::{Error, Result};

/// More is no cookie file.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// In front of the domain of a cookie that scripts must not see.
const HTTP_ONLY: &str = "#HttpOnly_";

/// Reads a file: each cookie as a server would set it, and the URL it would come from.
pub(super) fn read(path: &Path) -> Result<Vec<(Url, String)>> {
    let mut text = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut text)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    parse(&String::from_utf8_lossy(&text), now).map_err(Error::message)
}

/// Reads lines; blank ones and comments are passed over. `now` is in seconds since 1970.
fn parse(text: &str, now: u64) -> Result<Vec<(Url, String)>, String> {
    let mut found = Vec::new();
    for (n, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (line, http_only) = match line.strip_prefix(HTTP_ONLY) {
            Some(line) => (line, true),
            None => (line, false),
        };
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let cookie = parse_line(line, http_only, now)
            .ok_or_else(|| format!("line {} is no cookie of Netscape's format", n + 1))?;
        found.extend(cookie);
    }
    Ok(found)
}

/// `Some(None)`: one that has expired.
fn parse_line(line: &str, http_only: bool, now: u64) -> Option<Option<(Url, String)>> {
    let fields: Vec<_> = line.splitn(7, '\t').collect();
    let (&[domain, below, path, secure, expires, name], value) = match fields.len() {
        // A cookie without a value may have lost its last tab.
        6 => (fields.first_chunk::<6>()?, ""),
        7 => (fields.first_chunk::<6>()?, fields[6]),
        _ => return None,
    };
    let expires: u64 = match expires {
        // Firefox has some in the past, before 1970.
        before if before.starts_with('-') => return Some(None),
        seconds => seconds.split('.').next()?.parse().ok()?,
    };
    if expires != 0 && expires <= now {
        return Some(None);
    }
    let host = domain.trim_start_matches('.');
    let bad = |c: char| c == ';' || c.is_control();
    if host.is_empty()
        || !path.starts_with('/')
        || [name, value, path].iter().any(|t| t.contains(bad))
    {
        return None;
    }
    let url = Url::parse(&format!("https://{host}/")).ok()?;
    let mut cookie = format!("{name}={value}; Path={path}");
    if below.eq_ignore_ascii_case("true") {
        let _ = write!(cookie, "; Domain={host}");
    }
    if secure.eq_ignore_ascii_case("true") {
        cookie.push_str("; Secure");
    }
    if http_only {
        cookie.push_str("; HttpOnly");
    }
    if expires != 0 {
        let _ = write!(cookie, "; Max-Age={}", expires - now);
    }
    Some(Some((url, cookie)))
}

/// Writes cookies; those of this session too, with 0 for their end, as aria2 does.
pub(super) fn show(store: &CookieStore) -> String {
    let cookies = store.iter_unexpired();
    let mut lines: Vec<String> = cookies.filter_map(show_line).collect();
    lines.sort_unstable();
    format!("# Netscape HTTP Cookie File\n{}", lines.concat())
}

fn show_line(cookie: &Cookie<'static>) -> Option<String> {
    let (domain, below) = match &cookie.domain {
        CookieDomain::HostOnly(host) => (host.clone(), "FALSE"),
        CookieDomain::Suffix(domain) => (format!(".{domain}"), "TRUE"),
        CookieDomain::NotPresent | CookieDomain::Empty => return None,
    };
    let expires = match &cookie.expires {
        CookieExpiration::AtUtc(at) => at.unix_timestamp().max(1),
        CookieExpiration::SessionEnd => 0,
    };
    let http_only = match cookie.http_only() {
        Some(true) => HTTP_ONLY,
        _ => "",
    };
    let secure = match cookie.secure() {
        Some(true) => "TRUE",
        _ => "FALSE",
    };
    let path: &str = cookie.path.as_ref();
    let (name, value) = cookie.name_value();
    Some(format!(
        "{http_only}{domain}\t{below}\t{path}\t{secure}\t{expires}\t{name}\t{value}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# Netscape HTTP Cookie File\r\n\
        \r\n\
        .a.org\tTRUE\t/\tFALSE\t4000000000\tall\t1\r\n\
        #HttpOnly_b.org\tFALSE\t/dir\tTRUE\t0\tone\tx=y \"z\"\n\
        c.org\tFALSE\t/\tFALSE\t100\told\t1\n\
        c.org\tFALSE\t/\tFALSE\t0\tempty\n\
        .d.org\tTRUE\t/\tFALSE\t-1\tolder\t1\n";

    #[test]
    fn what_is_read_is_written_again() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let mut store = CookieStore::default();
        for (url, cookie) in parse(FILE, now).unwrap() {
            store.parse(&cookie, &url).unwrap();
        }
        let shown = show(&store);
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 4, "{shown}");
        assert_eq!(
            lines[1],
            "#HttpOnly_b.org\tFALSE\t/dir\tTRUE\t0\tone\tx=y \"z\""
        );
        // The end may be off by the second that has passed since.
        assert!(lines[2].starts_with(".a.org\tTRUE\t/\tFALSE\t"), "{shown}");
        assert_eq!(lines[3], "c.org\tFALSE\t/\tFALSE\t0\tempty\t");
        let sent = |to: &str| {
            let url = Url::parse(to).unwrap();
            let sent: Vec<_> = store
                .get_request_values(&url)
                .map(|(n, _)| n.to_owned())
                .collect();
            sent.join(",")
        };
        assert_eq!(sent("http://x.a.org/"), "all");
        assert_eq!(sent("https://b.org/dir/x"), "one");
        assert_eq!(sent("https://sub.b.org/dir/x"), "");
        assert_eq!(sent("http://b.org/dir/x"), "");
    }

    #[test]
    fn lines_that_are_no_cookies_are_named() {
        for line in [
            "a.org TRUE / FALSE 0 name value",
            "a.org\tTRUE\t/\tFALSE\tsoon\tn\tv",
            "a.org\tTRUE\t/\tFALSE\t0\tn;x\tv",
        ] {
            let error = parse(&format!("# first\n{line}\n"), 0).unwrap_err();
            assert_eq!(error, "line 2 is no cookie of Netscape's format");
        }
    }
}
