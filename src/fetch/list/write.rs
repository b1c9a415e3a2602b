//! Entries as the lines of a list: the other way round.

use serde_json::{Map, Value};

use super::{ListFormat, UrlList};
use crate::fetch::entry::{Entry, OwnOptions};

impl Entry {
    /// The lines of a list in which the entry stands with all its options, passwords
    /// included; `None` if the format has no words for one of them.
    ///
    /// They can be written one after the other, in [`ListFormat::Aria2`] also those of
    /// [`ListFormat::JsonLines`], which has words for everything but folders that are not
    /// UTF-8. What was refused as no URL, or for a bad option, has no lines.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::fetch::{Entry, ListFormat, UrlList};
    ///
    /// let entry = Entry::from("https://example.org/a").out("b").header("X-A", "c");
    /// let lines = entry.to_lines(ListFormat::Aria2).expect("aria2 has all of these");
    /// assert_eq!(lines, "https://example.org/a\n out=b\n header=X-A: c\n");
    /// assert_eq!(entry.to_lines(ListFormat::Urls), None);
    /// # assert_eq!(UrlList::new(lines.as_bytes()).count(), 1);
    /// ```
    pub fn to_lines(&self, format: ListFormat) -> Option<String> {
        let url = self.url().ok()?.as_str();
        let nothing = OwnOptions::default();
        let own = self.own().unwrap_or(&nothing);
        let text = match format {
            ListFormat::JsonLines => json(url, own)?,
            _ => lines(url, own)?,
        };
        // One rule for what a format cannot say: it does not read as what it was.
        let mut read = UrlList::new(text.as_bytes()).format(format);
        let again = read.next()?.ok()?;
        let is_same = again.url().ok()? == self.url().ok()?
            && again.own().unwrap_or(&nothing).is_like(own)
            && read.next().is_none();
        is_same.then_some(text)
    }
}

impl OwnOptions {
    /// Tells whether both ask for the same. Fields of one name are sent in their order;
    /// that of different names says nothing.
    fn is_like(&self, other: &Self) -> bool {
        let by_name = |own: &Self| {
            let mut headers = own.headers.clone();
            headers.sort_by(|(a, _), (b, _)| a.cmp(b));
            headers
        };
        by_name(self) == by_name(other)
            && self.mirrors == other.mirrors
            && (&self.out, &self.dir) == (&other.out, &other.dir)
            && self.checksums == other.checksums
            && (&self.referer, self.size) == (&other.referer, other.size)
    }
}

/// The form of aria2; `None` for what it has no key for.
fn lines(url: &str, own: &OwnOptions) -> Option<String> {
    let mut text = url.to_owned();
    for mirror in &own.mirrors {
        text.extend(["\t", mirror.as_str()]);
    }
    text.push('\n');
    let mut option = |key: &str, value: &str| text.extend([" ", key, "=", value, "\n"]);
    if let Some(dir) = &own.dir {
        option("dir", dir.to_str()?);
    }
    if let Some(out) = &own.out {
        option("out", out);
    }
    for checksum in &own.checksums {
        option("checksum", &checksum.to_string());
    }
    for (name, value) in &own.headers {
        option("header", &format!("{name}: {value}"));
    }
    if let Some(referer) = &own.referer {
        option("referer", referer);
    }
    Some(text)
}

/// An object on a line.
fn json(url: &str, own: &OwnOptions) -> Option<String> {
    let mut object = Map::new();
    object.insert("url".into(), url.into());
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.into(), value);
        }
    };
    let list = |texts: Vec<String>| (!texts.is_empty()).then(|| Value::from(texts));
    put(
        "mirrors",
        list(own.mirrors.iter().map(|url| url.to_string()).collect()),
    );
    put(
        "checksum",
        list(own.checksums.iter().map(|sum| sum.to_string()).collect()),
    );
    put("out", own.out.as_deref().map(Value::from));
    let dir = own.dir.as_ref().map(|dir| dir.to_str().map(Value::from));
    put(
        "dir",
        match dir {
            Some(dir) => Some(dir?),
            None => None,
        },
    );
    put("referer", own.referer.as_deref().map(Value::from));
    put("size", own.size.map(Value::from));
    let mut fields: Map<String, Value> = Map::new();
    for (name, value) in &own.headers {
        let values = fields
            .entry(name.clone())
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(value.as_str().into());
        }
    }
    put("headers", (!fields.is_empty()).then(|| fields.into()));
    Some(format!("{}\n", Value::from(object)))
}
