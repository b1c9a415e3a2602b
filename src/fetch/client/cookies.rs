//! Cookies: kept in memory, sent back to whom they are from and to nobody else.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cookie_store::CookieStore;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};

use super::cookie_file;
use crate::error::Result;
use crate::fetch::failure::Failure;
use crate::fetch::options::Login;
use crate::fs::is_special;
use crate::util::lock;

/// Cookies taken in a run: servers must not fill the memory with them.
const TAKEN_MAX: usize = 10_000;

/// As long as browsers allow, name and attributes included.
const BYTES_MAX: usize = 8192;

/// The cookies of a run.
#[derive(Debug)]
pub(super) struct Jar {
    store: Mutex<CookieStore>,
    /// So that a run without cookies, as most are, takes no lock for each request.
    taken: AtomicUsize,
    save_to: Option<PathBuf>,
}

impl Jar {
    /// A jar with the cookies of the files named in `settings`; `None` if there is to be
    /// none.
    pub(super) fn open(settings: &Login) -> Result<Option<Self>> {
        if !settings.cookies {
            return Ok(None);
        }
        let mut store = CookieStore::default();
        let mut taken = 0;
        for path in &settings.cookies_from {
            let found = cookie_file::read(path).map_err(|e| {
                Failure::option(e.context(format_args!("reading cookies from {}", path.display())))
            })?;
            for (url, cookie) in found {
                // An expired one is no error.
                taken += usize::from(store.parse(&cookie, &url).is_ok());
            }
        }
        if let Some(path) = &settings.cookies_to {
            // What would fail at the end is told before anything is asked for.
            probe(path).map_err(|e| unwritten(path, &e))?;
        }
        Ok(Some(Self {
            store: Mutex::new(store),
            taken: AtomicUsize::new(taken),
            save_to: settings.cookies_to.clone(),
        }))
    }

    /// The cookies for a request, as one field; `own` is what the user sends anyway.
    pub(super) fn field(&self, url: &Url, own: Option<&HeaderValue>) -> Option<HeaderValue> {
        if self.taken.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut text = own
            .and_then(|own| own.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        for (name, value) in lock(&self.store).get_request_values(url) {
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        }
        if text.is_empty() {
            return None;
        }
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Takes the cookies that an answer from `url` sets.
    pub(super) fn take(&self, headers: &HeaderMap, url: &Url) {
        for field in headers.get_all(SET_COOKIE) {
            let Some(text) = field.to_str().ok().filter(|text| text.len() <= BYTES_MAX) else {
                continue;
            };
            if self.taken.load(Ordering::Relaxed) >= TAKEN_MAX || is_for_too_many(text, url) {
                continue;
            }
            if lock(&self.store).parse(text, url).is_ok() {
                self.taken.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes all cookies to where they are to be kept.
    pub(super) fn save(&self) -> Result<(), Failure> {
        let Some(path) = &self.save_to else {
            return Ok(());
        };
        let text = cookie_file::show(&lock(&self.store));
        write(path, &text).map_err(|e| unwritten(path, &e))
    }
}

/// Tells whether a cookie asks to be sent to a whole top-level domain: any server below
/// it could then plant cookies for all others.
fn is_for_too_many(text: &str, url: &Url) -> bool {
    let attributes = text.split(';').skip(1);
    let domain = attributes
        .filter_map(|attribute| attribute.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("domain"))
        .map(|(_, value)| value.trim().trim_matches('.'))
        .last();
    domain.is_some_and(|domain| {
        !domain.is_empty()
            && !domain.contains('.')
            && !url
                .host_str()
                .is_some_and(|host| host.eq_ignore_ascii_case(domain))
    })
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::file(error, format_args!("writing cookies to {}", path.display()))
}

/// Sees whether [`write()`] will have a chance.
fn probe(path: &Path) -> io::Result<()> {
    match is_special(path)? {
        true => Ok(()),
        false => {
            let part = part_of(path)?;
            match create(&part) {
                // Another run of this process is at it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                made => made.and_then(|_| std::fs::remove_file(part)),
            }
        }
    }
}

/// Replaces the file at once, readable by its owner only.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if is_special(path)? {
        return std::fs::write(path, text);
    }
    let part = part_of(path)?;
    let result = create(&part).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    });
    if result.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    result
}

fn part_of(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut name = name.to_owned();
    name.push(format!(".{}.part", std::process::id()));
    Ok(path.with_file_name(name))
}

fn create(part: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar() -> Jar {
        Jar::open(&Login::default()).unwrap().unwrap()
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn set(jar: &Jar, from: &str, cookies: &[&str]) {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        jar.take(&headers, &url(from));
    }

    fn sent(jar: &Jar, to: &str) -> String {
        let field = jar.field(&url(to), None);
        field.map_or(String::new(), |field| field.to_str().unwrap().to_owned())
    }

    #[test]
    fn cookies_go_back_to_whom_they_are_from() {
        let jar = jar();
        assert_eq!(sent(&jar, "http://a.org/"), "");
        set(
            &jar,
            "https://www.a.org/dir/x",
            &["host=1", "all=2; Domain=a.org; Path=/"],
        );
        assert_eq!(sent(&jar, "https://www.a.org/"), "all=2");
        assert_eq!(sent(&jar, "https://a.org/dir/y"), "all=2");
        assert_eq!(sent(&jar, "https://other.org/dir/y"), "");
        assert_eq!(sent(&jar, "https://nota.org/"), "");
        assert_eq!(sent(&jar, "https://a.org.evil.com/"), "");
        let own = HeaderValue::from_static("mine=0");
        let both = jar.field(&url("https://www.a.org/"), Some(&own)).unwrap();
        assert_eq!(both, "mine=0; all=2");
        assert!(both.is_sensitive());
    }

    #[test]
    fn secure_cookies_are_not_sent_in_the_clear() {
        let jar = jar();
        set(&jar, "https://a.org/", &["s=1; Secure"]);
        assert_eq!(sent(&jar, "https://a.org/"), "s=1");
        assert_eq!(sent(&jar, "http://a.org/"), "");
    }

    #[test]
    fn nobody_sets_cookies_for_others() {
        let jar = jar();
        set(
            &jar,
            "https://evil.com/",
            &[
                "a=1; Domain=good.com",
                "b=1; Domain=com",
                "c=1; domain=.COM.; path=/",
            ],
        );
        for to in ["https://good.com/", "https://evil.com/", "https://com/"] {
            assert_eq!(sent(&jar, to), "", "{to}");
        }
        set(&jar, "http://localhost/", &["d=1; Domain=localhost"]);
        assert_eq!(sent(&jar, "http://localhost/"), "d=1");
    }

    #[test]
    fn a_server_cannot_fill_the_memory() {
        let jar = jar();
        let long = format!("long={}", "x".repeat(BYTES_MAX));
        set(&jar, "http://a.org/", &[&long]);
        assert_eq!(sent(&jar, "http://a.org/"), "");
        for i in 0..TAKEN_MAX + 10 {
            set(&jar, "http://a.org/", &[&format!("c{}=1; Path=/p", i % 11)]);
        }
        assert_eq!(jar.taken.load(Ordering::Relaxed), TAKEN_MAX);
    }
}
