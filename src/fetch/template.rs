//! Names made by a pattern: `{host}/{stem}-{id:4}{ext}`. Pure.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::fs::name::split;
use crate::util::escape;

/// A pattern for the names of files, read with `parse`.
///
/// Each `/` in it begins a folder. `{{` and `}}` stand for braces. The fields:
///
/// | field | stands for |
/// |---|---|
/// | `{name}` | the name that the file would have otherwise |
/// | `{stem}` | that name without its extension (`.tar.gz` is one) |
/// | `{ext}` | its extension with the dot, or nothing |
/// | `{scheme}` | `http` or `https` |
/// | `{host}` | the host, and `:PORT` if the URL has one |
/// | `{path}` | the folders of the URL's path, with `/` between them |
/// | `{query}` | the URL's query, without `?` |
/// | `{id}` | the place of the URL in the input, from 1 |
/// | `{line}` | its line in the list, from 1; 0 if it is from none |
/// | `{date}` | the day on which the run began, as `2026-12-31`, in UTC |
///
/// `{id:4}` and `{line:4}` are filled up with zeros. What a field stands for holds no `/`,
/// but for `{path}`; each folder and the name are made safe after that, so no field leads
/// out of the folder.
///
/// # Examples
///
/// ```
/// use greenloop::fetch::{Downloader, NameTemplate};
///
/// let template: NameTemplate = "{host}/{id:3}-{name}".parse()?;
/// let downloader = Downloader::new().name_template(template);
/// assert!("{nmae}".parse::<NameTemplate>().is_err());
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
    /// Filled up with zeros to so many digits.
    Number(Number, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Stem,
    Extension,
    Scheme,
    Host,
    Path,
    Query,
    Date,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Id,
    Line,
}

/// What the fields of a [`NameTemplate`] stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values<'a> {
    pub(crate) name: &'a str,
    pub(crate) scheme: &'a str,
    pub(crate) host: &'a str,
    pub(crate) path: &'a [String],
    pub(crate) query: &'a str,
    pub(crate) date: &'a str,
    pub(crate) id: u64,
    pub(crate) line: u64,
}

/// Longer numbers than this are not asked for by people.
const WIDTH_MAX: usize = 20;

impl FromStr for NameTemplate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            push_text(&mut pieces, before);
            rest = if let Some(rest) = brace.strip_prefix("{{") {
                push_text(&mut pieces, "{");
                rest
            } else if let Some(rest) = brace.strip_prefix("}}") {
                push_text(&mut pieces, "}");
                rest
            } else if let Some((field, rest)) = brace[1..].split_once('}')
                && brace.starts_with('{')
            {
                pieces.push(piece(field)?);
                rest
            } else {
                let text = "a single brace: write {{ or }} for one";
                return Err(Error::message(text));
            };
        }
        push_text(&mut pieces, rest);
        match pieces.is_empty() {
            true => Err(Error::message("an empty template names nothing")),
            false => Ok(Self { pieces }),
        }
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(last)) => last.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

fn piece(field: &str) -> Result<Piece, Error> {
    let unknown = |what: fmt::Arguments<'_>| {
        Err(Error::message(format!(
            "{what}: there are name, stem, ext, scheme, host, path, query, id, line and date"
        )))
    };
    let (name, width) = match field.split_once(':') {
        Some((name, width)) => (name, Some(width)),
        None => (field, None),
    };
    let number = match name {
        "id" => Some(Number::Id),
        "line" => Some(Number::Line),
        _ => None,
    };
    if let Some(number) = number {
        let width = width.map_or(Ok(0), str::parse::<usize>);
        return match width {
            Ok(width) if width <= WIDTH_MAX => Ok(Piece::Number(number, width)),
            _ => Err(Error::message(format!(
                "{{{}}}: the width is at most {WIDTH_MAX} digits",
                escape(field.as_bytes())
            ))),
        };
    }
    Ok(Piece::Field(match field {
        "name" => Field::Name,
        "stem" => Field::Stem,
        "ext" => Field::Extension,
        "scheme" => Field::Scheme,
        "host" => Field::Host,
        "path" => Field::Path,
        "query" => Field::Query,
        "date" => Field::Date,
        _ => return unknown(format_args!("{{{}}}", escape(field.as_bytes()))),
    }))
}

impl NameTemplate {
    /// The text with its fields filled in: `/` stands between folders.
    pub(crate) fn expand(&self, values: &Values<'_>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Field(field) => push_field(&mut text, *field, values),
                Piece::Number(number, width) => {
                    let value = match number {
                        Number::Id => values.id,
                        Number::Line => values.line,
                    };
                    text.push_str(&format!("{value:0width$}"));
                }
            }
        }
        text
    }
}

fn push_field(text: &mut String, field: Field, values: &Values<'_>) {
    let (stem, extension) = split(values.name);
    let one = match field {
        Field::Name => values.name,
        Field::Stem => stem,
        Field::Extension => extension,
        Field::Scheme => values.scheme,
        Field::Host => values.host,
        Field::Query => values.query,
        Field::Date => values.date,
        Field::Path => {
            for (n, folder) in values.path.iter().enumerate() {
                text.push_str(if n > 0 { "/" } else { "" });
                push_component(text, folder);
            }
            return;
        }
    };
    push_component(text, one);
}

/// Appends what is no separator, whatever it holds.
fn push_component(text: &mut String, component: &str) {
    text.extend(component.chars().map(|c| match c {
        '/' | '\\' => '_',
        c => c,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str) -> String {
        let path = ["a".to_owned(), "b".to_owned()];
        let values = Values {
            name: "x.tar.gz",
            scheme: "http",
            host: "h:8080",
            path: &path,
            query: "q=/../y",
            date: "2026-12-31",
            id: 7,
            line: 12,
        };
        template.parse::<NameTemplate>().unwrap().expand(&values)
    }

    #[test]
    fn fields_are_filled_in() {
        for (template, expected) in [
            ("plain", "plain"),
            ("{name}", "x.tar.gz"),
            ("{stem}-{id}{ext}", "x-7.tar.gz"),
            ("{id:4}.{line}", "0007.12"),
            ("{scheme}/{host}/{path}/{name}", "http/h:8080/a/b/x.tar.gz"),
            ("{date}_{name}", "2026-12-31_x.tar.gz"),
            ("{query}", "q=_.._y"),
            ("{{{name}}}", "{x.tar.gz}"),
            ("{{name}}", "{name}"),
        ] {
            assert_eq!(expand(template), expected, "{template}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused_with_a_reason() {
        for (template, reason) in [
            ("{nmae}", "{nmae}: there are name, stem"),
            ("{}", "{}: there are"),
            ("{name:3}", "{name:3}: there are"),
            ("{id:x}", "the width"),
            ("{id:21}", "the width"),
            ("{id", "a single brace"),
            ("id}", "a single brace"),
            ("", "empty"),
            ("{\u{1b}}", "{\\u{1b}}"),
        ] {
            let error = template.parse::<NameTemplate>().unwrap_err().to_string();
            assert!(error.contains(reason), "{template:?}: {error}");
        }
    }
}
