//! What URLs say of themselves: whether they are fetched, from which server, how they are
//! shown. Pure.

use reqwest::Url;

pub(crate) use super::entry::Entry;

/// Tells whether the scheme is one that is fetched.
pub(crate) fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// The server behind a URL: what limits per host count. The scheme is left out, so that
/// one machine is one machine.
pub(crate) fn host_key(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or(0);
    // The parser has made the name lower case and its international letters ASCII.
    format!(
        "{}:{port}",
        url.host_str().unwrap_or_default().trim_end_matches('.')
    )
}

/// The URL as it is shown and stored: without the user's name and password.
pub(crate) fn without_password(url: &Url) -> String {
    if url.username().is_empty() && url.password().is_none() {
        return url.as_str().to_owned();
    }
    let mut url = url.clone();
    // Both only fail for URLs that cannot have them, which then have none to hide.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart_by_name_and_port() {
        let key = |url| host_key(&Url::parse(url).unwrap());
        assert_eq!(key("http://Example.org/x"), "example.org:80");
        assert_eq!(key("http://example.org./x"), "example.org:80");
        assert_eq!(key("https://u:p@example.org/"), "example.org:443");
        assert_eq!(key("http://[::1]:8080/"), "[::1]:8080");
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = Url::parse("http://user:secret@h/a").unwrap();
        assert_eq!(without_password(&url), "http://h/a");
        assert_eq!(Entry::from(url).to_string(), "http://h/a");
        assert_eq!(Entry::from("bad\u{1b}[2J").to_string(), "bad\\u{1b}[2J");
    }
}
