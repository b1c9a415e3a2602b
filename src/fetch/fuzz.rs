//! What must hold for any bytes, one function a target: strangers write these inputs.
//!
//! `fuzz/` feeds them from libFuzzer, and the tests below from chance, so that every run of
//! the tests looks a little. Each panics where a property does not hold.

use std::io::{BufRead, BufReader};
use std::path::{Component, Path};
use std::time::{Duration, UNIX_EPOCH};

use reqwest::Url;
use reqwest::header::HeaderValue;

use super::checksum::Checksum;
use super::entry::Entry;
use super::glob::Glob;
use super::list::{ListFormat, UrlList};
use super::name::{from_disposition, from_url};
use super::place::components;
use super::sums::{SumList, sum_line};
use crate::fs::name::{NAME_BYTES_MAX, numbered, safe};
use crate::proto::http::{ContentRange, parse_date, retry_after};
use crate::util::is_unsafe_on_a_terminal;

/// Names out of any text, of any URL, and any number of them.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(name) = safe(&text) {
        check_name(&name);
        check_name(&numbered(&name, 7));
        check_name(&numbered(&name, u32::MAX));
    }
    components(&text).iter().for_each(|name| check_name(name));
    if let Ok(url) = Url::parse(&format!("http://h/{text}")) {
        check_name(&from_url(&url));
    }
}

/// Names that servers suggest.
pub fn content_disposition(data: &[u8]) {
    if let Some(name) = from_disposition(data) {
        check_name(&name);
        assert!(!name.starts_with('.'), "{name:?} is hidden");
    }
}

/// One component that stays in its folder, fit for a terminal, and not too long.
fn check_name(name: &str) {
    let path = Path::new("folder").join(name);
    assert_eq!(path.parent(), Some(Path::new("folder")), "{name:?}");
    assert_eq!(path.file_name(), Some(name.as_ref()), "{name:?}");
    assert!(!name.contains(is_unsafe_on_a_terminal), "{name:?}");
    assert!(!name.contains(['/', '\\']), "{name:?}");
    assert!(name.len() <= NAME_BYTES_MAX, "{} bytes", name.len());
}

/// Ranges that contradict themselves are none; the others are read back as they are.
pub fn content_range(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(range) = ContentRange::parse(&text) else {
        return;
    };
    let shown = match range {
        ContentRange::Bytes { first, last, total } => {
            assert!(first <= last && total.is_none_or(|total| last < total));
            let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
            format!("bytes {first}-{last}/{total}")
        }
        ContentRange::Unsatisfied { total } => format!("bytes */{total}"),
    };
    assert_eq!(ContentRange::parse(&shown), Some(range));
}

/// Pauses: seconds are what they say, and a date is no pause when it has come.
pub fn retry_after_field(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (value, date) = text.split_once('\n').unwrap_or((&text, ""));
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let pause = retry_after(value, Some(date), now);
    if let Ok(seconds) = value.parse::<u64>()
        && !value.starts_with('+')
    {
        assert_eq!(pause, Some(Duration::from_secs(seconds)));
    }
    if let Some(until) = parse_date(value) {
        assert_eq!(retry_after(value, Some(value), now), Some(Duration::ZERO));
        assert_eq!(retry_after(value, None, until), Some(Duration::ZERO));
        assert!(pause.is_some());
    }
}

/// Documents of strangers: what they name stays below our folder.
pub fn metalink(data: &[u8]) {
    for entry in entries(ListFormat::Metalink, false, data) {
        let Some(own) = entry.own() else { continue };
        if let (Ok(_), Some(out)) = (entry.url(), &own.out) {
            let path = Path::new("folder").join(out);
            assert_eq!(path.parent(), Some(Path::new("folder")), "{out:?}");
        }
        if let Some(dir) = &own.dir {
            let is_inside = |part| matches!(part, Component::Normal(_));
            assert!(dir.components().all(is_inside), "{dir:?}");
        }
    }
}

/// Lists in every format, with patterns and without, however they come.
pub fn url_lists(data: &[u8]) {
    for format in ListFormat::ALL {
        let at_once: Vec<_> = entries(format, false, data).map(shown).collect();
        let reader = BufReader::with_capacity(1, data);
        let in_bits = read(format, false, reader).take(ENTRIES_MAX).map(shown);
        assert!(in_bits.eq(at_once), "{format:?}");
        entries(format, true, data).for_each(drop);
    }
}

/// Checksums as options and lists have them: what is read is written, and read again.
pub fn checksums(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(checksum) = text.parse::<Checksum>() {
        assert_eq!(
            checksum.to_string().parse::<Checksum>().ok(),
            Some(checksum)
        );
    }
    for sum in SumList::new(data, None).map_while(Result::ok) {
        let line = sum_line(&sum.name, &sum.checksum);
        let again = SumList::new(&line[..], Some(sum.checksum.algorithm())).next();
        assert_eq!(again.and_then(Result::ok), Some(sum));
    }
    for entry in entries(ListFormat::Checksums, false, data) {
        if entry.url().is_ok() {
            assert_eq!(entry.own().map(|own| own.checksums.len()), Some(1));
        }
    }
}

/// Patterns: as many texts as they say, each with a value a set.
pub fn globs(data: &[u8]) {
    let Ok(glob) = Glob::parse(&String::from_utf8_lossy(data)) else {
        return;
    };
    let count = glob.count();
    assert!((1..=Glob::COUNT_MAX).contains(&count));
    for index in (0..count.min(20)).chain([count - 1]) {
        let expansion = glob.nth(index).expect("it is below the count");
        assert_eq!(expansion.fill("#0"), "#0");
    }
    assert_eq!(glob.nth(count), None);
}

/// The entries of a list, each looked at. Ends, as every list must.
fn entries(format: ListFormat, globs: bool, data: &[u8]) -> impl Iterator<Item = Entry> {
    let is_plain = data.first() != Some(&0x1f);
    let lines = 1 + data.iter().filter(|b| **b == b'\n').count() as u64;
    let mut last = 1;
    read(format, globs, data)
        .take(ENTRIES_MAX)
        .inspect(move |entry| {
            let line = entry.line().expect("every entry has its line");
            assert!(line >= last, "line {line} after {last}");
            assert!(!is_plain || line <= lines, "line {line} of {lines}");
            last = line;
            check_entry(entry);
        })
}

fn read(format: ListFormat, globs: bool, data: impl BufRead) -> impl Iterator<Item = Entry> {
    let list = UrlList::new(data).format(format).globs(globs);
    list.map_while(Result::ok)
}

/// What is sent or shown is fit for that.
fn check_entry(entry: &Entry) {
    assert!(!entry.to_string().contains(is_unsafe_on_a_terminal));
    let url = match entry.url() {
        Ok(url) => url,
        Err(reason) => {
            assert!(!reason.contains(is_unsafe_on_a_terminal), "{reason:?}");
            return;
        }
    };
    let Some(own) = entry.own() else { return };
    for url in own.mirrors.iter().chain([url]) {
        assert!(matches!(url.scheme(), "http" | "https"));
    }
    let values = own.headers.iter().map(|(_, value)| value);
    for value in values.chain(&own.referer) {
        assert!(HeaderValue::from_str(value).is_ok(), "{value:?}");
    }
}

fn shown(entry: Entry) -> String {
    format!("{entry:?}")
}

/// A packed list may have more than there is time for.
const ENTRIES_MAX: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Chance that is the same in every run (xorshift).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit.max(1) as u64) as usize
        }

        fn pick<'a>(&mut self, of: &[&'a str]) -> &'a [u8] {
            of[self.below(of.len())].as_bytes()
        }

        /// A sample with some of its bytes exchanged, left out, or from elsewhere.
        fn input(&mut self, samples: &[&str]) -> Vec<u8> {
            let mut input = self.pick(samples).to_vec();
            for _ in 0..=self.below(4) {
                let at = self.below(input.len() + 1);
                let to = at + self.below(input.len() + 1 - at);
                match self.below(6) {
                    0 => drop(input.drain(at..to)),
                    1 => input.truncate(at),
                    2 => input.insert(at, self.below(256) as u8),
                    3 => drop(input.splice(at..at, self.pick(PIECES).iter().copied())),
                    4 => drop(input.splice(at..to, self.pick(samples).iter().copied())),
                    _ => input.extend_from_within(at..to),
                }
            }
            input
        }
    }

    fn look(target: fn(&[u8]), times: usize, samples: &[&str]) {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for sample in samples {
            target(sample.as_bytes());
        }
        for _ in 0..times {
            let input = dice.input(samples);
            let looked = std::panic::catch_unwind(|| target(&input));
            assert!(looked.is_ok(), "input: b\"{}\"", input.escape_ascii());
        }
    }

    const PIECES: &[&str] = &[
        "\0",
        "\n",
        "\r\n",
        "\t",
        " ",
        "/",
        "\\",
        "..",
        "../",
        "%2f",
        "%00",
        "\"",
        ";",
        "=",
        "*",
        "#",
        "[",
        "]",
        "{",
        "}",
        "-",
        ":",
        "<",
        ">",
        "&",
        "&amp;",
        "<!--",
        "]]>",
        "\u{202e}",
        "\u{feff}",
        "é",
        "18446744073709551616",
        "-1",
        "0",
    ];

    #[test]
    fn names_stay_in_their_folder() {
        let long = "é".repeat(300);
        let samples = [
            "a.tar.gz",
            "../../etc/passwd",
            "a%2f..%00?b#c",
            "..\\x",
            "~",
            &long,
        ];
        look(names, 3000, &samples);
    }

    #[test]
    fn suggested_names_stay_in_their_folder() {
        let samples = [
            "attachment; filename=\"a b.txt\"; filename*=UTF-8''%e2%82%ac.txt;",
            "inline; filename=..%2f..%2fx",
            "filename*=iso-8859-1'en'%a3",
        ];
        look(content_disposition, 5000, &samples);
    }

    #[test]
    fn ranges_hold_together() {
        look(
            content_range,
            5000,
            &[
                "bytes 0-9/10",
                "bytes */10",
                "bytes 5-18446744073709551615/*",
            ],
        );
    }

    #[test]
    fn pauses_are_what_they_say() {
        let samples = [
            "120",
            "Sun, 06 Nov 1994 08:49:37 GMT\nSun, 06 Nov 1994 08:49:07 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
        ];
        look(retry_after_field, 5000, &samples);
    }

    #[test]
    fn documents_of_strangers_name_nothing_outside() {
        let samples = [
            "<?xml version='1.0'?><metalink xmlns='urn:ietf:params:xml:ns:metalink'>\n<file \
             name='sub/a&amp;b'><size>5</size><hash type='md5'>d41d8cd98f00b204e9800998ecf8427e\
             </hash><url priority='1'>http://h/a</url><url>https://m/&#x41;</url></file>\n<file \
             name='b'><url><![CDATA[http://h/b]]></url></file></metalink>",
            "<metalink><files><file name='c'><resources><url preference='9'>http://h/c</url>\
             </resources></file></files></metalink>",
        ];
        look(metalink, 1500, &samples);
    }

    #[test]
    fn lists_end_and_count_their_lines() {
        let samples = [
            "# x\nhttp://h/1\thttp://m/1\r\n out=a\n header=A: b\n checksum=md5=0\n\n http://h/2\n",
            "{\"url\": \"http://h/1\", \"mirrors\": [\"http://m\"], \"headers\": {\"A\": \"b\"}}\n{}",
            "d41d8cd98f00b204e9800998ecf8427e  http://h/1\nMD5 (http://h/2) = 0\n",
            "<metalink><file name='a'><url>http://h/a</url></file></metalink>",
            "http://h/{a,b}[1-3]\n out=#1\n",
            "\u{1f}\u{8b}",
            "\u{feff}\u{feff}<metalink><file name='a'><url>http://h/a</url></file></metalink>",
        ];
        look(url_lists, 300, &samples);
    }

    #[test]
    fn checksums_are_read_as_they_are_written() {
        let samples = [
            "md5=d41d8cd98f00b204e9800998ecf8427e",
            "d41d8cd98f00b204e9800998ecf8427e  http://h/1",
            "\\d41d8cd98f00b204e9800998ecf8427e *a\\nb\\\\\n# x\n",
            "SHA2-256(a)= 00\nMD5(b)= d41d8cd98f00b204e9800998ecf8427e",
            "MD5 (http://h/2) = d41d8cd98f00b204e9800998ecf8427e\n",
        ];
        look(checksums, 3000, &samples);
    }

    #[test]
    fn patterns_stand_for_as_many_as_they_say() {
        let samples = ["{a,b}[01-20:3]", "\\[[a-z]\\]{,x}", "[::1]", "[9-1]"];
        look(globs, 3000, &samples);
    }
}
