//! One JSON object a line.

use serde_json::{Map, Value};

use crate::fetch::checksum::Checksum;
use crate::fetch::entry::{Entry, shorten};

/// The entry that a line is.
pub(super) fn entry(text: &str, line: u64) -> Entry {
    let bad = |reason| Entry::bad(text.trim().as_bytes(), Some(line), reason);
    let object = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return bad("not a JSON object".to_owned()),
        Err(error) => return bad(format!("not JSON: {error}")),
    };
    let url = match object.get("url") {
        Some(Value::String(url)) => url,
        Some(_) => return bad("\"url\" is not a text".to_owned()),
        None => return bad("no \"url\"".to_owned()),
    };
    let entry = Entry::parse(url, Some(line));
    match with_options(entry.clone(), &object) {
        Ok(entry) => entry,
        Err(reason) => entry.refuse(reason),
    }
}

#[expect(
    clippy::large_stack_frames,
    reason = "without optimization each arm has a copy of its own"
)]
fn with_options(mut entry: Entry, object: &Map<String, Value>) -> Result<Entry, String> {
    for (name, value) in object {
        entry = match name.as_str() {
            "url" => entry,
            "out" => entry.out(text(name, value)?),
            "dir" => entry.dir(text(name, value)?),
            "referer" => entry.referer(text(name, value)?),
            "mirrors" => texts(name, value)?.into_iter().fold(entry, Entry::mirror),
            "checksum" => {
                for text in texts(name, value)? {
                    let checksum = text.parse::<Checksum>().map_err(|e| e.to_string())?;
                    entry = entry.checksum(checksum);
                }
                entry
            }
            "headers" => headers(entry, value)?,
            "size" => {
                let size = value.as_u64().ok_or("\"size\" is not a number of bytes")?;
                entry.own_mut().size = Some(size);
                entry
            }
            _ => {
                let name = shorten(name.as_bytes());
                return Err(format!("field \"{name}\" is not known"));
            }
        };
    }
    Ok(entry)
}

fn headers(mut entry: Entry, value: &Value) -> Result<Entry, String> {
    let fields = value.as_object().ok_or("\"headers\" is not an object")?;
    for (name, value) in fields {
        // An empty one is sent as such.
        for value in all(value, |value| any_text(name, value))? {
            entry = entry.header(name, value);
        }
    }
    Ok(entry)
}

fn any_text<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| {
        let name = shorten(name.as_bytes());
        format!("\"{name}\" is not a text")
    })
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    match any_text(name, value)? {
        "" => Err(format!("\"{}\" is empty", shorten(name.as_bytes()))),
        text => Ok(text),
    }
}

/// One text or a list of them.
fn texts<'a>(name: &str, value: &'a Value) -> Result<Vec<&'a str>, String> {
    all(value, |value| text(name, value))
}

fn all<'a>(
    value: &'a Value,
    read: impl Fn(&'a Value) -> Result<&'a str, String>,
) -> Result<Vec<&'a str>, String> {
    match value {
        Value::Array(values) => values.iter().map(read).collect(),
        value => Ok(vec![read(value)?]),
    }
}
