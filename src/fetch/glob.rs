//! Patterns of URLs, as curl writes them: `{a,b}` and `[01-20]`.

use std::net::Ipv6Addr;

use crate::error::{Error, Result};
use crate::util::defuse;

/// A pattern that stands for many texts, one after the other.
///
/// - `{one,two}`: each of the words.
/// - `[1-100]`, `[001-100]`: numbers, as wide as the first one if it begins with `0`.
/// - `[a-z]`, `[A-Z]`: letters.
/// - `[0-100:10]`, `[a-z:5]`: every tenth, every fifth.
///
/// Of several, the last one varies fastest. A backslash takes the meaning from the
/// `{ } [ ] , \` after it, and addresses such as `[::1]` have none. Texts are made as they
/// are asked for; there may be [`Glob::COUNT_MAX`].
///
/// # Examples
///
/// ```
/// use greenloop::fetch::Glob;
///
/// let glob = Glob::parse("http://example.org/{a,b}/[08-10].jpg")?;
/// assert_eq!(glob.count(), 6);
/// let last = glob.nth(5).expect("there are six");
/// assert_eq!(last.text(), "http://example.org/b/10.jpg");
/// assert_eq!(last.fill("#1-#2.jpg"), "b-10.jpg");
/// # Ok::<(), greenloop::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
    count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Words(Vec<String>),
    Numbers {
        first: u64,
        step: u64,
        count: u64,
        width: usize,
    },
    Letters {
        first: u8,
        step: u64,
        count: u64,
    },
}

/// One of the texts that a [`Glob`] stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion {
    text: String,
    values: Vec<String>,
}

impl Glob {
    /// The most texts that a pattern may stand for. One that means more is an error, as it
    /// is almost always a slip.
    pub const COUNT_MAX: u64 = 10_000_000;

    /// Reads a pattern. What has no `{` or `[` stands for itself.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Errors
    /// A set that does not end, is empty, is within another one or runs backwards; more
    /// than [`Glob::COUNT_MAX`] texts. The error names the set.
    pub fn parse(pattern: &str) -> Result<Self> {
        let parts = Parser { rest: pattern }.parts().map_err(|why| {
            Error::message(format_args!("pattern \"{}\": {why}", defuse(pattern)))
        })?;
        let count = parts.iter().try_fold(1_u64, |count, part| {
            let count = count.checked_mul(part.count())?;
            (count <= Self::COUNT_MAX).then_some(count)
        });
        let count = count.ok_or_else(|| {
            let (pattern, max) = (defuse(pattern), Self::COUNT_MAX);
            Error::message(format_args!("pattern \"{pattern}\": more than {max} URLs"))
        })?;
        Ok(Self { parts, count })
    }

    /// How many texts it stands for.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Tells whether it has a set, so that it is a pattern at all.
    pub fn is_pattern(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(_)))
    }

    /// The text at a place, from 0; `None` from [`Glob::count`] on.
    ///
    /// # Switching
    /// Never switches.
    pub fn nth(&self, index: u64) -> Option<Expansion> {
        if index >= self.count {
            return None;
        }
        let mut left = index;
        // From the end, where the fastest is.
        let mut pieces = Vec::with_capacity(self.parts.len());
        for part in self.parts.iter().rev() {
            pieces.push(part.nth(left % part.count()));
            left /= part.count();
        }
        pieces.reverse();
        let text = pieces.concat();
        let values = self.parts.iter().zip(pieces);
        let values = values
            .filter(|(part, _)| !matches!(part, Part::Text(_)))
            .map(|(_, piece)| piece);
        Some(Expansion {
            text,
            values: values.collect(),
        })
    }
}

impl Expansion {
    /// The text itself.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Puts what the sets stand for into a name: `#1` is what the first one does. A number
    /// that no set has is left as it is.
    ///
    /// # Switching
    /// Never switches.
    pub fn fill(&self, template: &str) -> String {
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('#') {
            filled.push_str(before);
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let number = after[..digits].parse::<usize>().unwrap_or(0);
            match number.checked_sub(1).and_then(|n| self.values.get(n)) {
                Some(value) => {
                    filled.push_str(value);
                    rest = &after[digits..];
                }
                None => {
                    filled.push('#');
                    rest = after;
                }
            }
        }
        filled + rest
    }
}

impl Part {
    fn count(&self) -> u64 {
        match self {
            Self::Text(_) => 1,
            Self::Words(words) => words.len() as u64,
            Self::Numbers { count, .. } | Self::Letters { count, .. } => *count,
        }
    }

    fn nth(&self, index: u64) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Words(words) => words[index as usize].clone(),
            Self::Numbers {
                first, step, width, ..
            } => format!("{:0width$}", first + index * step, width = *width),
            Self::Letters { first, step, .. } => {
                char::from(first + (index * step) as u8).to_string()
            }
        }
    }
}

/// Takes a pattern apart.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn parts(mut self) -> Result<Vec<Part>, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        while let Some(c) = self.next() {
            match c {
                '\\' => text.push(self.escaped()),
                '[' => match address(self.rest) {
                    Some(address) => {
                        text.push('[');
                        text.push_str(address);
                        self.rest = &self.rest[address.len()..];
                    }
                    None => {
                        push_text(&mut parts, &mut text);
                        parts.push(self.range()?);
                    }
                },
                '{' => {
                    push_text(&mut parts, &mut text);
                    parts.push(self.words()?);
                }
                ']' | '}' => return Err(format!("\"{c}\" ends nothing; \\{c} is the character")),
                c => text.push(c),
            }
            if parts.len() > PARTS_MAX {
                return Err(format!("more than {} sets", PARTS_MAX / 2));
            }
        }
        push_text(&mut parts, &mut text);
        Ok(parts)
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        Some(c)
    }

    /// What a backslash stands for: itself, unless what follows has a meaning.
    fn escaped(&mut self) -> char {
        match self.rest.chars().next() {
            Some(c @ ('{' | '}' | '[' | ']' | ',' | '\\')) => {
                self.rest = &self.rest[1..];
                c
            }
            _ => '\\',
        }
    }

    fn words(&mut self) -> Result<Part, String> {
        let set = self.rest;
        let mut words = Vec::new();
        let mut word = String::new();
        loop {
            match self.next() {
                None => return Err(format!("\"{{{}\" does not end", brief(set))),
                Some('{' | '[') => return Err(format!("\"{{{}\" has a set in it", brief(set))),
                Some('\\') => word.push(self.escaped()),
                Some(',') => words.push(std::mem::take(&mut word)),
                Some('}') if words.is_empty() && word.is_empty() => {
                    return Err("\"{}\" is empty".to_owned());
                }
                Some('}') => {
                    words.push(word);
                    return Ok(Part::Words(words));
                }
                Some(c) => word.push(c),
            }
        }
    }

    fn range(&mut self) -> Result<Part, String> {
        let Some((inner, rest)) = self.rest.split_once(']') else {
            return Err(format!("\"[{}\" does not end", brief(self.rest)));
        };
        self.rest = rest;
        let (range, step) = match inner.split_once(':') {
            Some((range, step)) => (range, number(step)),
            None => (inner, Some(1)),
        };
        let ends = range.split_once('-').zip(step.filter(|step| *step > 0));
        ends.and_then(|((first, last), step)| {
            letters(first, last, step).or_else(|| numbers(first, last, step))
        })
        .ok_or_else(|| {
            let inner = brief(inner);
            format!(
                "\"[{inner}]\" is no range such as [1-9], [01-20:2] or [a-z]; \\[ is the character"
            )
        })
    }
}

fn push_text(parts: &mut Vec<Part>, text: &mut String) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text)));
    }
}

/// The address that a host in brackets is, with its end.
fn address(text: &str) -> Option<&str> {
    let end = text.find(']')?;
    let (name, _zone) = text[..end].split_once('%').unwrap_or((&text[..end], ""));
    name.parse::<Ipv6Addr>().ok().map(|_| &text[..=end])
}

fn letters(first: &str, last: &str, step: u64) -> Option<Part> {
    let (&[first], &[last]) = (first.as_bytes(), last.as_bytes()) else {
        return None;
    };
    let is_range = first <= last
        && (first.is_ascii_lowercase() && last.is_ascii_lowercase()
            || first.is_ascii_uppercase() && last.is_ascii_uppercase());
    let count = u64::from(last.checked_sub(first)?) / step + 1;
    is_range.then_some(Part::Letters { first, step, count })
}

fn numbers(first: &str, last: &str, step: u64) -> Option<Part> {
    let width = match first.starts_with('0') {
        true => first.len(),
        false => 0,
    };
    let (first, last) = (number(first)?, number(last)?);
    let count = (last.checked_sub(first)? / step).checked_add(1)?;
    Some(Part::Numbers {
        first,
        step,
        count,
        width,
    })
}

/// Nothing but digits, and not too many.
fn number(text: &str) -> Option<u64> {
    let fits = (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// The beginning of a set, for messages.
fn brief(text: &str) -> String {
    defuse(&text.chars().take(40).collect::<String>())
}

/// Texts and sets in turn.
const PARTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pattern: &str) -> Vec<String> {
        let glob = Glob::parse(pattern).unwrap();
        let texts: Vec<_> = (0..).map_while(|n| glob.nth(n)).map(|e| e.text).collect();
        assert_eq!(texts.len() as u64, glob.count());
        texts
    }

    #[test]
    fn patterns_stand_for_many() {
        for (pattern, texts) in [
            ("", &[""] as &[&str]),
            ("a", &["a"]),
            ("a{b}c", &["abc"]),
            ("{a,b}", &["a", "b"]),
            ("{,.bak}", &["", ".bak"]),
            ("[1-3]", &["1", "2", "3"]),
            ("[7-7]", &["7"]),
            ("[08-10]", &["08", "09", "10"]),
            ("[0-2]", &["0", "1", "2"]),
            ("[000-1]", &["000", "001"]),
            ("[1-9:4]", &["1", "5", "9"]),
            ("[1-8:4]", &["1", "5"]),
            ("[a-c]", &["a", "b", "c"]),
            ("[A-Z:25]", &["A", "Z"]),
            ("[1-2]{a,b}", &["1a", "1b", "2a", "2b"]),
            ("{a,b}-[1-2]!", &["a-1!", "a-2!", "b-1!", "b-2!"]),
            (r"\[1-2\]\{a,b\}\\", &[r"[1-2]{a,b}\"]),
            (r"{a\,b,c\}}", &["a,b", "c}"]),
            (r"a\b", &[r"a\b"]),
            ("a\\", &["a\\"]),
            (
                "http://[::1]:80/[1-2]",
                &["http://[::1]:80/1", "http://[::1]:80/2"],
            ),
            ("http://[fe80::1%25eth0]/x", &["http://[fe80::1%25eth0]/x"]),
            ("{ä,ö}", &["ä", "ö"]),
        ] {
            assert_eq!(all(pattern), texts, "{pattern}");
        }
    }

    #[test]
    fn bad_patterns_say_why() {
        for (pattern, why) in [
            ("{a", "\"{a\" does not end"),
            ("[1-2", "\"[1-2\" does not end"),
            ("{}", "is empty"),
            ("{a,{b}}", "has a set in it"),
            ("{a,[1-2]}", "has a set in it"),
            ("a}", "\"}\" ends nothing"),
            ("a]", "\"]\" ends nothing"),
            ("[]", "\"[]\" is no range"),
            ("[3-1]", "no range"),
            ("[c-a]", "no range"),
            ("[a-Z]", "no range"),
            ("[a-9]", "no range"),
            ("[1-9:0]", "no range"),
            ("[1-9:]", "no range"),
            ("[-1-2]", "no range"),
            ("[1-99999999999999999999]", "no range"),
            ("[1-10000001]", "more than 10000000"),
            (
                "[1-99999][1-99999][1-99999][1-99999][1-99999]",
                "more than 10000000",
            ),
            ("[0-9999999999999999999]", "more than 10000000"),
        ] {
            let error = Glob::parse(pattern).unwrap_err().to_string();
            assert!(error.contains(why), "{pattern}: {error}");
        }
        assert!(Glob::parse(&"{a}".repeat(100)).is_err());
        assert_eq!(
            Glob::parse("[1-10000000]").unwrap().count(),
            Glob::COUNT_MAX
        );
    }

    #[test]
    fn names_are_filled() {
        let glob = Glob::parse("http://h/{a,b}/[01-12]").unwrap();
        let last = glob.nth(23).unwrap();
        for (template, name) in [
            ("x", "x"),
            ("#1_#2.bin", "b_12.bin"),
            ("#2#1", "12b"),
            ("#3#0##1", "#3#0#b"),
            ("#", "#"),
            ("#99999999999999999999999", "#99999999999999999999999"),
        ] {
            assert_eq!(last.fill(template), name, "{template}");
        }
        assert!(glob.nth(24).is_none());
        assert!(glob.is_pattern() && !Glob::parse("http://[::1]/").unwrap().is_pattern());
    }
}
