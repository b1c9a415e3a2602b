//! Statuses that are tried again or not, as the user lists them. Pure.

use std::str::FromStr;

/// A list of HTTP statuses, as `--retry-on-http-error` takes it.
///
/// Items stand between commas: a status (`404`), a whole class (`5xx`, `5*`), all (`*`),
/// each with `!` in front for the opposite. The last one that fits decides.
///
/// # Examples
///
/// ```
/// use greenloop::fetch::{Downloader, Statuses};
///
/// // Forbidden for a moment; and what is not implemented stays so.
/// let statuses: Statuses = "403, 5xx, !501".parse()?;
/// let downloader = Downloader::new().retry_on(statuses);
/// assert!("4O4".parse::<Statuses>().is_err());
/// # Ok::<(), String>(())
/// ```
///
/// wget: `--retry-on-http-error`, whose list *is* the set of what is tried again; ours
/// adds to what is tried again anyway, or takes from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    from: u16,
    to: u16,
    again: bool,
}

impl Statuses {
    /// Whether the list says that `status` is tried again; `None` if it does not say.
    pub(crate) fn again(&self, status: u16) -> Option<bool> {
        let fits = |rule: &&Rule| (rule.from..=rule.to).contains(&status);
        self.rules.iter().rev().find(fits).map(|rule| rule.again)
    }
}

impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let items = text.split(',').map(str::trim);
        let rules = items
            .filter(|item| !item.is_empty())
            .map(rule)
            .collect::<Result<Vec<_>, _>>()?;
        if rules.is_empty() {
            return Err("no status: write it as 404 or 5xx".to_owned());
        }
        Ok(Self { rules })
    }
}

fn rule(item: &str) -> Result<Rule, String> {
    let (again, pattern) = match item.strip_prefix('!') {
        Some(rest) => (false, rest.trim()),
        None => (true, item),
    };
    let bad = || format!("no HTTP status: {item:?}: write it as 404 or 5xx");
    let (from, to) = match pattern.as_bytes() {
        b"*" => (100, 599),
        [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] | [class @ b'1'..=b'5', b'*'] => {
            let first = u16::from(class - b'0') * 100;
            (first, first + 99)
        }
        [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
            let status = pattern.parse().map_err(|_| bad())?;
            (status, status)
        }
        _ => return Err(bad()),
    };
    Ok(Rule { from, to, again })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_the_last_item_that_fits_decides() {
        let list: Statuses = "404, 5xx,!501,!503 , 503,2*,".parse().unwrap();
        for (status, again) in [
            (404, Some(true)),
            (403, None),
            (500, Some(true)),
            (501, Some(false)),
            (503, Some(true)),
            (599, Some(true)),
            (600, None),
            (204, Some(true)),
            (304, None),
        ] {
            assert_eq!(list.again(status), again, "{status}");
        }
        let none: Statuses = "*,!*".parse().unwrap();
        assert_eq!(none.again(429), Some(false));
        assert_eq!(Statuses::default().again(404), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bad in [
            "", ",", "x", "40", "4040", "6xx", "099", "4x4", "-1", "!", "404 503", "é",
        ] {
            assert!(bad.parse::<Statuses>().is_err(), "{bad}");
        }
    }
}
