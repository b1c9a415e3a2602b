//! Metalink 4 (RFC 5854) and 3: XML that names files, their sizes, hashes and mirrors.
//!
//! Read element by element; what is not known is skipped. The document comes from a
//! stranger: it says a name, and a folder below ours, never a way out.

use std::io::{self, BufRead, Read};
use std::path::{Component, Path, PathBuf};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::lines::{LINE_BYTES_MAX, Lines};
use crate::fetch::checksum::{Algorithm, Checksum};
use crate::fetch::entry::{Entry, shorten};

/// Reads the entries of a document.
pub(super) struct Metalink<R> {
    reader: Reader<io::Take<io::Chain<&'static [u8], Lines<R>>>>,
    buffer: Vec<u8>,
    /// The elements that are open, from the root.
    open: Vec<String>,
    text: String,
    file: Option<File>,
    /// What the element that is open says of itself.
    attributes: Attributes,
    files: u64,
    has_ended: bool,
}

/// A `file` element under way.
#[derive(Debug, Default)]
struct File {
    line: u64,
    name: String,
    size: Option<u64>,
    checksums: Vec<Checksum>,
    /// With their rank: the lowest first.
    urls: Vec<(u32, String)>,
    /// Places with a protocol of no use here.
    others: u32,
    error: Option<String>,
}

#[derive(Debug, Default)]
struct Attributes {
    hash_type: Option<String>,
    rank: Option<u32>,
}

impl<R: BufRead> Metalink<R> {
    pub(super) fn new(lines: Lines<R>) -> Self {
        // The byte order mark is gone. The XML reader would skip another one at its very
        // start if it comes in one piece, and not if it does not: it does not start with it.
        let document = BLANK.chain(lines);
        let limit = DOCUMENT_BYTES_MAX + BLANK.len() as u64 + 1;
        let mut reader = Reader::from_reader(document.take(limit));
        reader.config_mut().expand_empty_elements = true;
        Self {
            reader,
            buffer: Vec::new(),
            open: Vec::new(),
            text: String::new(),
            file: None,
            attributes: Attributes::default(),
            files: 0,
            has_ended: false,
        }
    }

    /// The next file; `None` at the end. A document that breaks off has a bad entry there.
    pub(super) fn entry(&mut self) -> io::Result<Option<Entry>> {
        if self.has_ended {
            return Ok(None);
        }
        match self.next_file() {
            Ok(Some(entry)) => Ok(Some(entry)),
            Ok(None) => {
                self.has_ended = true;
                Ok(None)
            }
            Err(Broken::Reader(error)) => Err(error),
            Err(Broken::Document(reason)) => {
                self.has_ended = true;
                let line = self.line();
                Ok(Some(Entry::bad(b"Metalink", Some(line), reason)))
            }
        }
    }

    fn line(&mut self) -> u64 {
        self.reader.get_ref().get_ref().get_ref().1.number() + 1
    }

    fn next_file(&mut self) -> Result<Option<Entry>, Broken> {
        loop {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            let read = self.reader.read_event_into(&mut buffer);
            let left = self.reader.get_ref().limit();
            let step = match read {
                _ if left == 0 => Err(Broken::Document(format!(
                    "more than {DOCUMENT_BYTES_MAX} bytes"
                ))),
                Ok(event) => self.take(&event),
                Err(quick_xml::Error::Io(error)) => {
                    Err(Broken::Reader(io::Error::new(error.kind(), error)))
                }
                Err(error) => Err(Broken::Document(format!("not XML: {error}"))),
            };
            self.buffer = buffer;
            match step? {
                Step::On => {}
                Step::File(entry) => return Ok(Some(*entry)),
                Step::End => return Ok(None),
            }
        }
    }

    fn take(&mut self, event: &Event<'_>) -> Result<Step, Broken> {
        match event {
            Event::Start(start) => self.begin(start)?,
            Event::End(_) => return self.end(),
            Event::Text(text) => self.push(&text.xml10_content())?,
            Event::CData(text) => self.push(&text.xml10_content())?,
            Event::GeneralRef(name) => {
                let meant = match name.resolve_char_ref() {
                    Ok(Some(c)) => c,
                    Ok(None) => predefined(name)?,
                    Err(error) => return Err(Broken::Document(format!("not XML: {error}"))),
                };
                self.push(meant.encode_utf8(&mut [0; 4]))?;
            }
            // Where entities are declared that grow or name files.
            Event::DocType(_) => return Err(Broken::because("a document type is refused")),
            Event::Eof if self.open.is_empty() && self.files > 0 => return Ok(Step::End),
            Event::Eof if self.open.is_empty() => return Err(Broken::because("names no file")),
            Event::Eof => return Err(Broken::because("the document breaks off")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::Empty(_) => {}
        }
        Ok(Step::On)
    }

    fn push(&mut self, text: &str) -> Result<(), Broken> {
        if self.text.len() + text.len() > LINE_BYTES_MAX {
            return Err(Broken::Document(format!(
                "an element of more than {LINE_BYTES_MAX} bytes"
            )));
        }
        self.text.push_str(text);
        Ok(())
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> Result<(), Broken> {
        let name = start.local_name().as_ref().to_owned();
        if self.open.is_empty() && name != "metalink" {
            let name = shorten(name.as_bytes());
            return Err(Broken::Document(format!("<{name}> is not a Metalink")));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(Broken::because("elements are nested too deep"));
        }
        self.attributes = Attributes::default();
        let mut file_name = String::new();
        for attribute in start.attributes() {
            let bad = |error: &dyn std::fmt::Display| Broken::Document(format!("not XML: {error}"));
            let attribute = attribute.map_err(|e| bad(&e))?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|e| bad(&e))?;
            match attribute.key.local_name().as_ref() {
                "name" => file_name = value.into_owned(),
                "type" => self.attributes.hash_type = Some(value.into_owned()),
                // The lower the better, from 1; in Metalink 3 the higher, up to 100.
                "priority" => self.attributes.rank = value.parse().ok(),
                "preference" => {
                    let preference = value.parse::<u32>().ok();
                    self.attributes.rank = preference.map(|of| 100_u32.saturating_sub(of));
                }
                _ => {}
            }
        }
        if name == "file" && is_root(self.open.last()) {
            self.file = Some(File {
                line: self.line(),
                name: file_name,
                ..File::default()
            });
        }
        self.open.push(name);
        self.text.clear();
        Ok(())
    }

    fn end(&mut self) -> Result<Step, Broken> {
        let name = self.open.pop().unwrap_or_default();
        let text = std::mem::take(&mut self.text);
        let Some(file) = &mut self.file else {
            return Ok(Step::On);
        };
        let parent = self.open.last().map_or("", String::as_str);
        match (parent, name.as_str()) {
            ("file", "size") => file.set_size(text.trim()),
            // Those below <pieces> are of parts of the file.
            ("file" | "verification", "hash") => {
                file.add_hash(self.attributes.hash_type.as_deref(), text.trim());
            }
            ("file" | "resources", "url") => {
                file.add_url(self.attributes.rank, text.trim());
            }
            ("metalink" | "files", "file") => {
                self.files += 1;
                let file = self.file.take().unwrap_or_default();
                return Ok(Step::File(Box::new(file.entry())));
            }
            _ => {}
        }
        Ok(Step::On)
    }
}

impl File {
    fn refuse(&mut self, reason: impl Into<String>) {
        self.error.get_or_insert_with(|| reason.into());
    }

    fn set_size(&mut self, text: &str) {
        match text.parse() {
            Ok(size) => self.size = Some(size),
            Err(_) => self.refuse("its size is not a number"),
        }
    }

    /// Takes a hash; one of a kind that is not known says nothing.
    fn add_hash(&mut self, kind: Option<&str>, digits: &str) {
        let Some(algorithm) = kind.and_then(Algorithm::named) else {
            return;
        };
        match Checksum::from_hex(algorithm, digits) {
            Some(checksum) => self.checksums.push(checksum),
            None => self.refuse(format!("its {} hash is none", algorithm.name())),
        }
    }

    fn add_url(&mut self, rank: Option<u32>, url: &str) {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
            self.others += 1;
        } else if self.urls.len() < MIRRORS_MAX {
            self.urls.push((rank.unwrap_or(u32::MAX), url.to_owned()));
        }
    }

    fn entry(mut self) -> Entry {
        let shown = self.name.clone();
        let at = Some(self.line);
        let bad = |reason: String| Entry::bad(shown.as_bytes(), at, reason);
        if let Some(reason) = self.error {
            return bad(reason);
        }
        let Some((dir, name)) = place(&self.name) else {
            return bad("its name leads out of the folder, or is none".to_owned());
        };
        // Stable: of equal ones, the first is first.
        self.urls.sort_by_key(|(rank, _)| *rank);
        let mut urls = self.urls.iter().map(|(_, url)| url.as_str());
        let Some(first) = urls.next() else {
            let others = self.others;
            return bad(format!("no http or https URL, and {others} of other kinds"));
        };
        let mut entry = urls.fold(Entry::parse(first, at), Entry::mirror).out(name);
        if let Some(dir) = dir {
            entry = entry.dir(dir);
        }
        let own = entry.own_mut();
        own.checksums = self.checksums;
        own.size = self.size;
        entry
    }
}

/// Tells whether files stand in the element.
fn is_root(parent: Option<&String>) -> bool {
    parent.is_some_and(|name| matches!(name.as_str(), "metalink" | "files"))
}

/// The folder, if there is one, and the name; `None` for what leads elsewhere.
fn place(name: &str) -> Option<(Option<PathBuf>, String)> {
    let path = Path::new(name);
    let is_inside = |part: Component<'_>| matches!(part, Component::Normal(_));
    if name.contains('\\') || !path.components().all(is_inside) {
        return None;
    }
    let file = path.file_name()?.to_str()?.to_owned();
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    Some((dir.map(Path::to_owned), file))
}

/// The five entities that need no declaration.
fn predefined(name: &str) -> Result<char, Broken> {
    Ok(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let name = shorten(name.as_bytes());
            return Err(Broken::Document(format!("entity \"{name}\" is not known")));
        }
    })
}

/// What an event leads to.
enum Step {
    On,
    File(Box<Entry>),
    End,
}

/// Why there is no more.
enum Broken {
    Reader(io::Error),
    Document(String),
}

impl Broken {
    fn because(reason: &str) -> Self {
        Self::Document(reason.to_owned())
    }
}

/// The longest document, gzip undone.
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

/// What the document is given to begin with.
const BLANK: &[u8] = b" ";

/// Metalinks have five.
const DEPTH_MAX: usize = 32;

/// Mirrors beyond are left out: nobody tries so many.
const MIRRORS_MAX: usize = 100;
