//! Lists as people and programs write them, by table.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{PipeReader, Write};

/// An entry in one line: `LINE URL [+MIRROR] [KEY=VALUE]…`, or `LINE !TEXT: REASON`.
fn show(entry: &Entry) -> String {
    let line = entry.line().map_or(0, |line| line);
    let mut text = match entry.url() {
        Ok(url) => format!("{line} {url}"),
        Err(reason) => return format!("{line} !{entry}: {reason}"),
    };
    let Some(own) = entry.own() else { return text };
    for mirror in &own.mirrors {
        text += &format!(" +{mirror}");
    }
    for (key, value) in [
        ("out", own.out.clone()),
        ("dir", own.dir.as_ref().map(|dir| dir.display().to_string())),
        ("referer", own.referer.clone()),
        ("size", own.size.map(|size| size.to_string())),
    ] {
        if let Some(value) = value {
            text += &format!(" {key}={value}");
        }
    }
    for checksum in &own.checksums {
        text += &format!(" {checksum}");
    }
    for (name, value) in &own.headers {
        text += &format!(" [{name}: {value}]");
    }
    text
}

fn read_as(format: ListFormat, list: &[u8]) -> Vec<String> {
    UrlList::new(list)
        .format(format)
        .map(|entry| show(&entry.unwrap()))
        .collect()
}

/// The same however it comes: at once, byte by byte, packed.
fn read(list: impl AsRef<[u8]>) -> Vec<String> {
    let list = list.as_ref();
    let entries = read_as(ListFormat::Auto, list);
    let slow = UrlList::new(BufReader::with_capacity(1, list));
    assert_eq!(slow.map(|e| show(&e.unwrap())).collect::<Vec<_>>(), entries);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(list).unwrap();
    assert_eq!(
        read_as(ListFormat::Auto, &packed.finish().unwrap()),
        entries
    );
    entries
}

const EMPTY_MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

#[test]
fn a_list_has_comments_blanks_crlf_and_a_byte_order_mark() {
    let list = "\u{feff}http://h/1\r\n# note\r\n\r\n  http://h/2  \r\n\t\nHTTPS://H/3";
    assert_eq!(
        read(list),
        ["1 http://h/1", "4 http://h/2", "6 https://h/3"]
    );
    assert!(read("").is_empty());
    assert!(read("\n\n").is_empty());
    assert!(read("\u{feff}").is_empty());
    assert_eq!(read("\n\n# x\nhttp://h/1"), ["4 http://h/1"]);
}

#[test]
fn a_bad_line_is_named_and_the_others_are_read() {
    let mut list = b"http://h/1\nnonsense\nfile:///etc/passwd\nftp://h/x\nhttp://\n".to_vec();
    list.extend_from_slice(b"http://h/a\tb\n\xff\xfe\n");
    list.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 1));
    list.extend_from_slice(b"\nhttp://h:99999/\nhttp://h/2\n");
    let entries = read(&list);
    let reasons = [
        "1 http://h/1",
        "2 !nonsense: no scheme",
        "3 !file:///etc/passwd: not an http or https URL",
        "4 !ftp://h/x: not an http or https URL",
        "5 !http://: empty host",
        "6 !http://h/a: mirror \"b\": no scheme",
        "7 !\\xff\\xfe: not UTF-8",
        "8 !xxxxx",
        "9 !http://h:99999/: invalid port number",
        "10 http://h/2",
    ];
    assert_eq!(entries.len(), reasons.len(), "{entries:#?}");
    for (entry, reason) in entries.iter().zip(reasons) {
        assert!(entry.starts_with(reason), "{entry}: {reason}");
    }
    assert!(entries[7].ends_with("…: line is longer than 65536 bytes"));
}

#[test]
fn aria2_entries_have_mirrors_and_options() {
    let list = format!(
        "# of aria2\n\
         http://h/1\thttp://m/1\t \thttp://n/1\r\n\
         \x20out=one.bin\r\n\
         \tdir = a/b \n\
         \n\
         # between\n\
         \x20 # indented\n\
         \x20 checksum=md5={EMPTY_MD5}\n\
         \x20 header=X-A: b: c\n\
         \x20 header=X-A: d\n\
         \x20 referer=*\n\
         \x20 user-agent=me=you\n\
         \x20 split=4\n\
         \x20 gid=2089b05ecca3d829\n\
         \x20 bt-tracker=\n\
         http://h/2\n\
         \x20http://h/3\n\
         \x20 out=three\n"
    );
    assert_eq!(
        read(&list),
        [
            &format!(
                "2 http://h/1 +http://m/1 +http://n/1 out=one.bin dir=a/b referer=http://h/1 \
                 md5={EMPTY_MD5} [X-A: b: c] [X-A: d] [User-Agent: me=you]"
            ),
            "16 http://h/2",
            "17 http://h/3 out=three",
        ]
    );
}

#[test]
fn a_bad_option_spoils_its_entry_and_is_named() {
    for (option, reason) in [
        ("colour=red", "option \"colour\" is not known for one URL"),
        (
            "all-proxy=http://p/",
            "option \"all-proxy\" is not known for one URL",
        ),
        (
            "http-user=me",
            "option \"http-user\" is not known for one URL",
        ),
        ("out", "\"out\" is not KEY=VALUE"),
        ("out=", "option \"out\" is empty"),
        (
            "checksum=md5=12",
            "checksum \"md5=12\": md5 has 32 hexadecimal digits",
        ),
        ("header=X", "header: not NAME: VALUE"),
        ("header=a b: c", "\"a b\" is not the name of a header field"),
        ("header=a: b\u{1}c", "header a: not fit to be sent"),
    ] {
        let list = format!("http://u:p@h/1\n dir=x\n {option}\n out=y\nhttp://h/2\n");
        let bad = format!("3 !http://h/1: {reason}");
        assert_eq!(read(&list), [bad.as_str(), "5 http://h/2"], "{option}");
    }
    assert_eq!(
        read(" out=x\nhttp://h/2\n")[0],
        "1 !out=x: begins with white space, so it is an option, and there is no URL before it"
    );
    let many = format!("http://h/1\n{}http://h/2\n", " out=x\n".repeat(200));
    assert_eq!(
        read(&many),
        ["102 !http://h/1: more than 100 options", "202 http://h/2"]
    );
    let long = format!(
        "http://h/1\n out={}\nhttp://h/2\n",
        "x".repeat(LINE_BYTES_MAX)
    );
    assert_eq!(
        read(&long),
        ["2 !http://h/1: option is too long", "3 http://h/2"]
    );
}

#[test]
fn json_lines_are_read() {
    let list = format!(
        r#"
{{"url": "http://h/1"}}
{{"url": "http://h/2", "mirrors": ["http://m/2"], "out": "o", "dir": "d", "size": 5,
{{"url": "http://h/3", "mirrors": "http://m/3", "out": "o", "dir": "d", "size": 5, "referer": "r", "checksum": ["md5={EMPTY_MD5}"], "headers": {{"X-A": ["b", "c"], "X-B": "d"}}}}
["http://h/4"]
{{"url": 5}}
{{"url": "http://h/6", "colour": "red"}}
{{"url": "http://h/7", "checksum": "md5=0"}}
{{"url": "http://h/8", "size": -1}}
{{"url": "http://h/9", "headers": {{"X": 1}}}}
{{"url": "http://h/10", "mirrors": ["x"]}}
{{"url": "nonsense", "out": ""}}
http://h/12
"#
    );
    let entries = read(&list);
    let expected = [
        "2 http://h/1",
        "3 !{\"url\": \"http://h/2\"",
        &format!(
            "4 http://h/3 +http://m/3 out=o dir=d referer=r size=5 md5={EMPTY_MD5} [X-A: b] \
             [X-A: c] [X-B: d]"
        ),
        "5 ![\"http://h/4\"]: not a JSON object",
        "6 !{\"url\": 5}: \"url\" is not a text",
        "7 !http://h/6: field \"colour\" is not known",
        "8 !http://h/7: checksum \"md5=0\": md5 has",
        "9 !http://h/8: \"size\" is not a number of bytes",
        "10 !http://h/9: \"X\" is not a text",
        "11 !http://h/10: mirror \"x\": no scheme",
        "12 !nonsense: no scheme",
        "13 !http://h/12: not JSON: ",
    ];
    assert_eq!(entries.len(), expected.len(), "{entries:#?}");
    for (entry, expected) in entries.iter().zip(expected) {
        assert!(entry.starts_with(expected), "{entry}: {expected}");
    }
    // Deeper than any stack bears, were it read.
    let deep = format!("{{\"url\": {}", "[".repeat(60_000));
    assert!(read(&deep)[0].contains("not JSON"));
}

#[test]
fn checksum_lists_are_read() {
    let sha1 = "a".repeat(40);
    let list = format!(
        "{EMPTY_MD5}  http://h/1\n{sha1} *http://h/2\nMD5 (http://h/3(x)) = {EMPTY_MD5}\n\
         # note\n{EMPTY_MD5}\nhttp://h/4\n{EMPTY_MD5}  name.txt\nabc  http://h/5\n"
    );
    let neither = "neither HASH  URL nor ALGORITHM (URL) = HASH";
    let expected = [
        format!("1 http://h/1 md5={EMPTY_MD5}"),
        format!("2 http://h/2 sha-1={sha1}"),
        format!("3 http://h/3(x) md5={EMPTY_MD5}"),
        format!("5 !{EMPTY_MD5}: {neither}"),
        format!("6 !http://h/4: {neither}"),
        "7 !name.txt: no scheme: write http:// or https:// in front".to_owned(),
        format!("8 !abc  http://h/5: {neither}"),
    ];
    assert_eq!(read(&list), expected);
}

#[test]
fn formats_can_be_said() {
    let url = b"http://h/1\thttp://h/2\n";
    assert_eq!(
        read_as(ListFormat::Urls, url),
        ["1 !http://h/1\\thttp://h/2: control character in the URL"]
    );
    for format in ListFormat::ALL {
        assert_eq!(format.name().parse::<ListFormat>().unwrap(), format);
        let json = read_as(format, b"{\"url\": \"http://h/1\"}")[0] == "1 http://h/1";
        let known = [ListFormat::Auto, ListFormat::JsonLines, ListFormat::Aria2];
        let expected = known.contains(&format);
        assert_eq!(json, expected, "{format:?}");
    }
    let error = "xml".parse::<ListFormat>().unwrap_err().to_string();
    assert!(error.contains("none of auto, urls, aria2, jsonl, sha256sums, metalink"));
}

#[test]
fn patterns_are_entries_of_their_line() {
    let list =
        "http://h/{a,b}/[1-2]\n out=#1-#2\nhttp://h/c\nhttp://h/[\nhttp://h/[1-2]\thttp://m/\n";
    let entries: Vec<_> = UrlList::new(list.as_bytes())
        .globs(true)
        .map(|entry| show(&entry.unwrap()))
        .collect();
    let expected = [
        "1 http://h/a/1 out=a-1",
        "1 http://h/a/2 out=a-2",
        "1 http://h/b/1 out=b-1",
        "1 http://h/b/2 out=b-2",
        "3 http://h/c",
        "4 !http://h/[: pattern \"http://h/[\": \"[\" does not end",
        "5 !http://h/[1-2]: a pattern cannot have mirrors",
    ];
    assert_eq!(entries, expected);
    assert_eq!(
        read("http://h/{a,b}"),
        ["1 http://h/%7Ba,b%7D"],
        "only if asked"
    );
}

#[test]
fn a_list_that_grows_is_read_to_where_its_end_is_met() {
    let (list, mut pipe) = io::pipe().unwrap();
    let mut list = UrlList::new(BufReader::new(list)).format(ListFormat::Urls);
    let next =
        |list: &mut UrlList<BufReader<PipeReader>>| list.next().map(|entry| show(&entry.unwrap()));
    for n in 1..100 {
        writeln!(pipe, "http://h/{n}").unwrap();
        assert_eq!(next(&mut list), Some(format!("{n} http://h/{n}")));
    }
    write!(pipe, "http://h/last").unwrap();
    drop(pipe);
    assert_eq!(next(&mut list), Some("100 http://h/last".to_owned()));
    assert_eq!(next(&mut list), None);
}

fn live() -> (UrlList<BufReader<PipeReader>>, io::PipeWriter) {
    let (list, pipe) = io::pipe().unwrap();
    (UrlList::live(list), pipe)
}

#[test]
fn a_url_does_not_wait_for_the_next_line_of_a_live_list() {
    let (mut list, mut pipe) = live();
    writeln!(pipe, "# live\nhttp://h/1").unwrap();
    assert_eq!(show(&list.next().unwrap().unwrap()), "2 http://h/1");
    // Too late, and not lost.
    writeln!(pipe, " out=x\nhttp://h/2").unwrap();
    let late = show(&list.next().unwrap().unwrap());
    assert!(late.starts_with("3 !out=x: an option too late"), "{late}");
    assert_eq!(show(&list.next().unwrap().unwrap()), "4 http://h/2");
    drop(pipe);
    assert!(list.next().is_none());
}

#[test]
fn once_options_have_come_they_are_waited_for() {
    let (mut list, mut pipe) = live();
    write!(pipe, "http://h/1\n out=x\nhttp://h/2\n").unwrap();
    assert_eq!(show(&list.next().unwrap().unwrap()), "1 http://h/1 out=x");
    let (said, told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        said.send(()).unwrap();
        show(&list.next().unwrap().unwrap())
    });
    told.recv().unwrap();
    // Longer than the pause, however busy the machine: the entry is not cut.
    let begun = std::time::Instant::now();
    while begun.elapsed() < 3 * texts::PAUSE {
        std::thread::yield_now();
    }
    assert!(!reader.is_finished());
    writeln!(pipe, " out=y").unwrap();
    drop(pipe);
    assert_eq!(reader.join().unwrap(), "3 http://h/2 out=y");
}

#[test]
fn metalinks_are_read() {
    let md5 = EMPTY_MD5;
    let document = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
  <generator>x</generator>
  <file name="a&amp;b.iso">
    <size>5</size>
    <hash type="md5">{md5}</hash>
    <hash type="sha-384">ignored</hash>
    <pieces length="1" type="md5"><hash>00</hash></pieces>
    <url priority="2">http://h/two?a&amp;b=&#x41;</url>
    <url location="de" priority="1"> http://h/one </url>
    <url>http://h/last</url>
    <url>ftp://h/x</url>
    <metaurl mediatype="torrent">http://h/x.torrent</metaurl>
  </file>
  <file name="sub/b"><url><![CDATA[http://h/b]]></url></file>
</metalink>"#
    );
    assert_eq!(
        read(&document),
        [
            &format!(
                "4 http://h/one +http://h/two?a&b=A +http://h/last out=a&b.iso size=5 md5={md5}"
            ),
            "15 http://h/b out=b dir=sub",
        ]
    );
    let third = format!(
        r#"<metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="c">
        <verification><hash type="md5">{md5}</hash></verification><size>0</size><resources>
        <url type="http" preference="10">http://h/10</url>
        <url type="http" preference="100">http://h/100</url></resources></file></files></metalink>"#
    );
    let expected = format!("1 http://h/100 +http://h/10 out=c size=0 md5={md5}");
    assert_eq!(read(&third), [expected]);
}

#[test]
fn a_bad_file_of_a_metalink_leaves_the_others() {
    let url = "<url>http://h/x</url>";
    let files = [
        (
            format!("<file name=\"../x\">{url}</file>"),
            "../x: its name leads out",
        ),
        (
            format!("<file name=\"/x\">{url}</file>"),
            "/x: its name leads out",
        ),
        (
            format!("<file name=\"a\\b\">{url}</file>"),
            "a\\\\b: its name leads out",
        ),
        (format!("<file>{url}</file>"), ": its name leads out"),
        (
            "<file name=\"x\"/>".to_owned(),
            "x: no http or https URL, and 0 of",
        ),
        (
            "<file name=\"x\"><url>ftp://h/</url></file>".to_owned(),
            "x: no http or https URL, and 1",
        ),
        (
            format!("<file name=\"x\"><size>-1</size>{url}</file>"),
            "x: its size",
        ),
        (
            format!("<file name=\"x\"><hash type=\"md5\">0</hash>{url}</file>"),
            "x: its md5 hash",
        ),
    ];
    for (file, reason) in files {
        let good = format!("<file name=\"y\">{url}</file>");
        let entries = read(format!("<metalink>{file}\n{good}</metalink>"));
        assert!(
            entries[0].starts_with(&format!("1 !{reason}")),
            "{entries:?}"
        );
        assert_eq!(entries[1..], ["2 http://h/x out=y"]);
    }
}

#[test]
fn a_broken_metalink_says_where() {
    let file = "<file name=\"y\"><url>http://h/x</url></file>\n";
    for (document, reason) in [
        (
            "<html></html>".to_owned(),
            "1 !Metalink: <html> is not a Metalink",
        ),
        (
            "<metalink></metalink>".to_owned(),
            "1 !Metalink: names no file",
        ),
        (
            format!("<metalink>{file}"),
            "2 !Metalink: the document breaks off",
        ),
        (format!("<metalink>{file}</x>"), "2 !Metalink: not XML"),
        (format!("<metalink>{file}<file a=1"), "2 !Metalink: not XML"),
        (
            format!("<metalink>{file}<file>&x;"),
            "2 !Metalink: entity \"x\" is not known",
        ),
        (
            format!("<metalink>{file}<file>&#0;"),
            "2 !Metalink: not XML",
        ),
        (
            "<!DOCTYPE x [<!ENTITY a \"b\">]>".to_owned(),
            "1 !Metalink: a document type is refused",
        ),
        (
            format!("<metalink>{}", "<a>".repeat(100)),
            "1 !Metalink: elements are nested too deep",
        ),
        (
            format!("<metalink><file>{}", "x".repeat(70_000)),
            "1 !Metalink: an element of more",
        ),
    ] {
        let entries = read(&document);
        let last = entries.last().unwrap();
        assert!(last.starts_with(reason), "{last}: {reason}");
        assert_eq!(entries.len(), 1 + document.matches("http://h/x").count());
    }
    // As long as it takes, without keeping it.
    let endless = b"<metalink>".chain(io::repeat(b' '));
    let mut list = UrlList::new(BufReader::new(endless));
    let last = show(&list.next().unwrap().unwrap());
    assert_eq!(last, "1 !Metalink: more than 16777216 bytes");
    assert!(list.next().is_none());
}

/// What is written down reads as what it was, whatever is in it.
#[test]
fn what_is_written_reads_the_same() {
    let sum = format!("md5={EMPTY_MD5}").parse().unwrap();
    let plain = Entry::from("http://u:p@h/a%20b?c=d#e");
    let full = plain
        .clone()
        .mirror("https://m/a")
        .out("x y/z = #1")
        .dir("d/e")
        .checksum(sum)
        .header("Authorization", "Bearer t=0:1")
        .header("X-A", "")
        .header("X-a", "b")
        .header("X-A", "c")
        .referer("*");
    let aria2 = format!(
        "http://u:p@h/a%20b?c=d#e\thttps://m/a\n dir=d/e\n out=x y/z = #1\n checksum=md5={EMPTY_MD5}\n \
         header=Authorization: Bearer t=0:1\n header=X-A: \n header=X-a: b\n header=X-A: c\n \
         referer=http://h/a%20b?c=d\n"
    );
    assert_eq!(full.to_lines(ListFormat::Aria2), Some(aria2));
    assert_eq!(
        plain.to_lines(ListFormat::Urls).as_deref(),
        Some("http://u:p@h/a%20b?c=d#e\n")
    );
    assert_eq!(full.to_lines(ListFormat::Urls), None);
    let mut sized = plain.clone();
    sized.own_mut().size = Some(7);
    let odd = [" a", "a ", "a\nb", "a\r", "\u{a0}a"].map(|out| plain.clone().out(out));
    let odd_dir = plain.clone().dir("a\n out=b");
    for entry in odd.iter().chain([&sized, &odd_dir]) {
        assert_eq!(entry.to_lines(ListFormat::Aria2), None, "{entry:?}");
    }
    // One list of both kinds.
    let mut list = String::new();
    let mut entries = vec![plain, full];
    for entry in &entries {
        list += &entry.to_lines(ListFormat::Aria2).unwrap();
    }
    let both = [odd.as_slice(), &[sized, odd_dir]].concat();
    for entry in &both {
        list += &entry.to_lines(ListFormat::JsonLines).unwrap();
    }
    list += &entries[1].to_lines(ListFormat::Aria2).unwrap();
    entries.extend(both);
    entries.push(entries[1].clone());
    let read: Vec<_> = UrlList::new(list.as_bytes()).map(Result::unwrap).collect();
    assert_eq!(read.len(), entries.len(), "{list}");
    for (read, entry) in read.iter().zip(&entries) {
        let bare = |entry: &Entry| show(&entry.clone().at(None));
        assert_eq!(bare(read), bare(entry));
    }
}

#[test]
fn what_cannot_be_said_is_not_written() {
    use std::os::unix::ffi::OsStrExt;
    let entry = || Entry::from("http://h/a");
    let long = "x".repeat(LINE_BYTES_MAX);
    let dir = std::ffi::OsStr::from_bytes(b"\xff");
    for entry in [
        Entry::from("no url"),
        entry().header("a b", "c"),
        entry().out(""),
        entry().out(long),
        entry().dir(dir),
    ] {
        for format in ListFormat::ALL {
            assert_eq!(entry.to_lines(format), None, "{entry:?} {format:?}");
        }
    }
}
