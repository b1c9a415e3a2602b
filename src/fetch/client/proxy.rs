//! The proxy for each request.

use reqwest::{Proxy, Url};

use super::no_proxy::NoProxy;
use crate::error::{Error, Result};
use crate::fetch::options::Proxies;

/// The rule by which the HTTP client finds its proxies; `None` if there are none.
pub(super) fn rule(settings: &Proxies) -> Result<Option<Proxy>> {
    let choice = Choice::new(settings)?;
    if choice.http.is_none() && choice.https.is_none() {
        return Ok(None);
    }
    Ok(Some(Proxy::custom(move |url| choice.of(url).cloned())))
}

#[derive(Debug)]
struct Choice {
    http: Option<Url>,
    https: Option<Url>,
    none_for: NoProxy,
}

impl Choice {
    fn new(settings: &Proxies) -> Result<Self> {
        let read = |own: &Option<super::Secret>| match own.as_ref().or(settings.all.as_ref()) {
            // As with curl, an empty one is none.
            Some(text) if !text.0.is_empty() => parse(&text.0, settings).map(Some),
            _ => Ok(None),
        };
        Ok(Self {
            http: read(&settings.http)?,
            https: read(&settings.https)?,
            none_for: NoProxy::parse(&settings.none_for),
        })
    }

    fn of(&self, url: &Url) -> Option<&Url> {
        let proxy = match url.scheme() {
            "https" => &self.https,
            _ => &self.http,
        };
        proxy.as_ref().filter(|_| !self.none_for.matches(url))
    }
}

/// Reads a proxy's URL. The text is not shown in the error: it may have a password.
fn parse(text: &str, settings: &Proxies) -> Result<Url> {
    let with_scheme = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let mut url = Url::parse(&with_scheme)
        .map_err(|e| Error::message(format_args!("the URL of a proxy is none: {e}")))?;
    let known = matches!(
        url.scheme(),
        "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h"
    );
    if !known || url.host_str().is_none_or(str::is_empty) {
        let what = "a proxy is wanted as http://, https://, socks5:// or socks5h:// and its host";
        let scheme = url.scheme();
        return Err(Error::message(format_args!("{what}, not as {scheme}:")));
    }
    if url.scheme().starts_with("socks") && url.port().is_none() {
        // Only fails for URLs without a host.
        let _ = url.set_port(Some(1080));
    }
    if let Some((user, password)) = &settings.login
        && url.username().is_empty()
    {
        let _ = url.set_username(&user.0);
        let _ = url.set_password(Some(&password.0));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(all: &str, http: &str, https: &str) -> Choice {
        let some = |text: &str| (text != "-").then(|| text.into());
        Choice::new(&Proxies {
            all: some(all),
            http: some(http),
            https: some(https),
            login: Some(("u@x".into(), "p".into())),
            none_for: "direct.example".to_owned(),
        })
        .unwrap()
    }

    fn of(choice: &Choice, url: &str) -> String {
        let found = choice.of(&Url::parse(url).unwrap());
        found.map_or_else(|| "-".to_owned(), Url::to_string)
    }

    #[test]
    fn the_nearest_proxy_is_taken_and_an_empty_one_is_none() {
        let all = choice("socks5h://a:b@s", "p:3128", "-");
        assert_eq!(of(&all, "http://x/"), "http://u%40x:p@p:3128/");
        assert_eq!(of(&all, "https://x/"), "socks5h://a:b@s:1080");
        assert_eq!(of(&all, "https://direct.example/"), "-");
        let off = choice("http://p", "", "-");
        assert_eq!(of(&off, "http://x/"), "-");
        assert_eq!(of(&off, "https://x/"), "http://u%40x:p@p/");
        assert_eq!(of(&choice("-", "-", "-"), "https://x/"), "-");
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_password() {
        for text in [
            "ftp://u:secret@h",
            "http://u:secret@",
            "http://u:secret@h:x",
        ] {
            let settings = Proxies {
                all: Some(text.into()),
                ..Proxies::default()
            };
            let error = Choice::new(&settings).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
