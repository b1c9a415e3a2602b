//! The text of facts beside a partial file: looked for, begun, added to. What its lines
//! say is told in [`facts`](super::facts).

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::facts::{FACTS_BYTES_MAX, Facts, done_line, is_torn};
use super::folder::Folder;
use super::ranges::Ranges;
use crate::fs::name::PART_FACTS;

/// What stands where the facts about a partial file belong.
#[derive(Debug)]
pub(crate) enum Beside {
    Nothing,
    Facts(Facts, FactsFile),
    /// A text without a whole line: ours, of a run that ended before it had written one, or
    /// whose line a power failure has cut off.
    Torn,
    /// None of ours, or of another version of this program: it is not touched.
    Foreign,
}

/// An open text of facts.
#[derive(Debug)]
pub(crate) struct FactsFile {
    file: File,
    /// The end of the first line.
    head: u64,
    /// The end of the last one that counts.
    end: u64,
}

impl FactsFile {
    /// Looks for the facts about the partial file of `name`.
    pub(crate) fn look(folder: &Folder, name: &str) -> Beside {
        let file = match open(folder, name, OFlags::RDWR) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Beside::Nothing,
            Err(_) => return Beside::Foreign,
        };
        let Ok(text) = read(&file) else {
            return Beside::Foreign;
        };
        match Facts::from_text(&text) {
            Some((facts, lines)) => {
                let (head, end) = (lines.start as u64, lines.end as u64);
                Beside::Facts(facts, Self { file, head, end })
            }
            None if is_torn(&text) => Beside::Torn,
            None => Beside::Foreign,
        }
    }

    /// Begins the text with `facts`; fails if something stands there.
    pub(crate) fn begin(folder: &Folder, name: &str, facts: &Facts) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let mut file = open(folder, name, flags)?;
        let line = facts.to_line();
        file.write_all(line.as_bytes())?;
        let head = line.len() as u64;
        let end = head;
        Ok(Self { file, head, end })
    }

    /// Adds the line that `done` is there, or nothing.
    pub(crate) fn add(&mut self, done: &Ranges) -> io::Result<()> {
        let line = done_line(done);
        let length = line.len() as u64;
        if self.end + length > FACTS_BYTES_MAX {
            // Only the last line counts, so the others can go. Whoever is killed between
            // the cut and the next line has fetched in vain, which is the right side to
            // err on: a line written over others could be read as a mixture of them.
            self.end = self.head;
        }
        // What was cut off, or failed before, must not run into this line.
        self.file.set_len(self.end)?;
        if self.end + length > FACTS_BYTES_MAX {
            return Ok(());
        }
        self.file.write_all(line.as_bytes())?;
        self.end += length;
        Ok(())
    }
}

/// Reads a text of facts; fails for what is too long to be one.
fn read(file: &File) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > FACTS_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let mut text = Vec::new();
    file.take(FACTS_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

fn open(folder: &Folder, name: &str, how: OFlags) -> Result<File, Errno> {
    let flags = how | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    // For the owner only: the address may hold a token.
    let mode = Mode::RUSR | Mode::WUSR;
    let fd = openat(folder.fd(), format!("{name}{PART_FACTS}"), flags, mode)?;
    Ok(File::from(fd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::resume::Pin;

    fn folder(name: &str) -> Folder {
        let name = format!("greenloop-facts-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Folder::open(&path).unwrap()
    }

    fn facts() -> Facts {
        let pin = Pin {
            etag: Some("\"a\"".into()),
            ..Pin::default()
        };
        Facts::new(&"http://h/f".parse().unwrap(), pin)
    }

    fn found(folder: &Folder) -> (Facts, FactsFile) {
        match FactsFile::look(folder, "f") {
            Beside::Facts(facts, file) => (facts, file),
            other => panic!("{other:?}"),
        }
    }

    /// Every other MiB, from the first on.
    fn scattered(count: u64) -> Ranges {
        let mut ranges = Ranges::default();
        for n in 0..count {
            ranges.insert(n << 21, (n << 21) + (1 << 20));
        }
        ranges
    }

    /// What a file in very many pieces writes down in its life is more than is read back.
    #[test]
    fn a_text_stays_within_its_limit_and_its_last_line_counts() {
        let folder = folder("limit");
        let mut text = FactsFile::begin(&folder, "f", &facts()).unwrap();
        let all = scattered(10_000);
        let mut starts_over = 0;
        for n in 0..40 {
            let mut done = all.clone();
            done.cut(all.end() - (n << 21));
            let end = text.end;
            text.add(&done).unwrap();
            assert!(text.end <= FACTS_BYTES_MAX);
            // Also where less is there than a line before said.
            if text.end < end || n % 13 == 0 {
                assert_eq!(found(&folder).0.done, done, "{n}");
            }
            starts_over += u32::from(text.end < end);
        }
        assert!(starts_over >= 1);
        std::fs::remove_dir_all(folder.path()).unwrap();
    }

    #[test]
    fn of_more_ranges_than_a_line_takes_the_first_are_told() {
        let folder = folder("ranges");
        let mut text = FactsFile::begin(&folder, "f", &facts()).unwrap();
        let all = scattered(70_000);
        text.add(&all).unwrap();
        let (facts, _) = found(&folder);
        assert_eq!(facts.done.prefix(), 1 << 20);
        assert!(facts.done.bytes() > 60_000 << 20);
        assert!(facts.done.is_within(&all));
        std::fs::remove_dir_all(folder.path()).unwrap();
    }

    #[test]
    fn a_line_is_added_behind_the_last_whole_one() {
        let folder = folder("torn");
        let mut text = FactsFile::begin(&folder, "f", &facts()).unwrap();
        text.add(&Ranges::before(10)).unwrap();
        let path = folder.path_of("f.part.json");
        let whole = std::fs::read(&path).unwrap();
        for tail in ["{\"done\":[[0,", "{\"done\":[[0\n{\"done\":[[0,30]]}\n"] {
            std::fs::write(&path, [&whole, tail.as_bytes()].concat()).unwrap();
            let (facts, mut text) = found(&folder);
            assert_eq!(facts.done.prefix(), 10);
            text.add(&Ranges::before(20)).unwrap();
            assert_eq!(found(&folder).0.done.prefix(), 20, "{tail}");
        }
        std::fs::remove_dir_all(folder.path()).unwrap();
    }

    #[test]
    fn what_is_not_ours_is_told_from_what_is() {
        let folder = folder("foreign");
        assert!(matches!(FactsFile::look(&folder, "f"), Beside::Nothing));
        let path = folder.path_of("f.part.json");
        for (text, ours) in [
            ("", true),
            ("{\"etag\":", true),
            ("{}", false),
            ("{}\n", false),
        ] {
            std::fs::write(&path, text).unwrap();
            match FactsFile::look(&folder, "f") {
                Beside::Torn => assert!(ours, "{text}"),
                Beside::Foreign => assert!(!ours, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
            FactsFile::begin(&folder, "f", &facts()).unwrap_err();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let long = facts().to_line() + &"\n".repeat(FACTS_BYTES_MAX as usize);
        std::fs::write(&path, long).unwrap();
        assert!(matches!(FactsFile::look(&folder, "f"), Beside::Foreign));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(matches!(FactsFile::look(&folder, "f"), Beside::Foreign));
        std::fs::remove_dir_all(folder.path()).unwrap();
    }
}
