//! Names and passwords, as `Authorization` sends them.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::error::{Error, Result};
use crate::fetch::options::{Login, Secret};

/// What goes to every host of the list.
pub(super) fn login(settings: &Login) -> Result<Option<HeaderValue>> {
    if let Some(token) = &settings.bearer {
        let value = bearer(&token.0)
            .ok_or_else(|| Error::message("not a bearer token: it has control characters"))?;
        return Ok(Some(value));
    }
    let basic =
        |(user, password): &(Secret, Secret)| basic(user.0.as_bytes(), password.0.as_bytes());
    Ok(settings.basic.as_ref().map(basic))
}

/// Takes the name and password out of a URL: they are sent, but not as part of it.
pub(super) fn take(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let user: Vec<u8> = percent_decode_str(url.username()).collect();
    let password: Vec<u8> = percent_decode_str(url.password().unwrap_or_default()).collect();
    strip(url);
    Some(basic(&user, &password))
}

/// Removes the name and password of a URL.
pub(super) fn strip(url: &mut Url) {
    // Both only fail for URLs without a host, which were refused.
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

/// The scheme of RFC 7617.
pub(super) fn basic(user: &[u8], password: &[u8]) -> HeaderValue {
    let mut text = "Basic ".to_owned();
    BASE64_STANDARD.encode_string([user, b":", password].concat(), &mut text);
    secret(&text).expect("base64 is plain text")
}

/// The scheme of RFC 6750; `None` if the token cannot be sent.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut text = "Bearer ".to_owned();
    text.write_str(token).ok()?;
    secret(&text)
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_url_decoded() {
        let mut url = Url::parse("http://us%40er:p%3Aw%C3%A9@h/x").unwrap();
        let value = take(&mut url).unwrap();
        assert_eq!(value, basic(b"us@er", "p:wé".as_bytes()));
        assert!(value.is_sensitive());
        assert_eq!(url.as_str(), "http://h/x");
        assert_eq!(take(&mut url), None);
        let mut url = Url::parse("http://user@h/").unwrap();
        assert_eq!(take(&mut url).unwrap(), "Basic dXNlcjo=");
    }

    #[test]
    fn tokens_that_would_break_the_head_are_refused() {
        assert_eq!(bearer("abc").unwrap(), "Bearer abc");
        assert_eq!(bearer("a\r\nX: y"), None);
    }
}
