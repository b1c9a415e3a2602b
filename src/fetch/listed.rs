//! Which checksum of a list belongs to which download. Pure.

use super::checksum::{Algorithm, Checksum};
use super::sums::Sum;

/// What lists of checksums say, by the last component of the names in them.
///
/// All in one piece of memory and an index of 16 bytes a line, because lists of a million
/// files are ordinary.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    /// Of each line its path and its hash.
    text: Vec<u8>,
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    /// Of the path, in the text.
    start: u64,
    /// Of the path: bytes in it, and where its last component begins.
    length: u16,
    base: u16,
    algorithm: Algorithm,
}

impl Listed {
    /// Takes one line; `false` if its path is too long to be one.
    pub(crate) fn add(&mut self, sum: &Sum) -> bool {
        let mut path = sum.name.as_slice();
        while let Some(rest) = path.strip_prefix(b"./") {
            path = rest.trim_ascii_start_matches(b'/');
        }
        let base = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let (Ok(length), Ok(base)) = (u16::try_from(path.len()), u16::try_from(base)) else {
            return false;
        };
        self.lines.push(Line {
            start: self.text.len() as u64,
            length,
            base,
            algorithm: sum.checksum.algorithm(),
        });
        self.text.extend_from_slice(path);
        self.text.extend_from_slice(sum.checksum.value());
        true
    }

    /// To be called after the last line: makes it ready to be asked.
    pub(crate) fn sort(&mut self) {
        let Self { text, lines } = self;
        // Stable, so that lines about one file stay in their order.
        lines.sort_by(|a, b| a.base(text).cmp(b.base(text)));
        text.shrink_to_fit();
        lines.shrink_to_fit();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The checksums of the file with these names, the most telling first: paths relative
    /// to the run's folder, or of the URL.
    ///
    /// A line is about a path if it is the end of it, whole components only; the longest
    /// such line wins. Where no line is, but all lines with the same last component are of
    /// one path (`sha256sum dist/*`), it is that one.
    pub(crate) fn find(&self, names: &[&[u8]]) -> Vec<Checksum> {
        let path = names
            .iter()
            .find_map(|name| self.longest_end(name))
            .or_else(|| names.iter().find_map(|name| self.only_one(name)));
        let Some(path) = path else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for line in self.with_base(base_of(path)) {
            if line.path(&self.text) == path {
                let checksum = line.checksum(&self.text);
                if !found.contains(&checksum) {
                    found.push(checksum);
                }
            }
        }
        found
    }

    fn longest_end(&self, name: &[u8]) -> Option<&[u8]> {
        self.with_base(base_of(name))
            .iter()
            .map(|line| line.path(&self.text))
            .filter(|path| is_end(path, name))
            .max_by_key(|path| path.len())
    }

    fn only_one(&self, name: &[u8]) -> Option<&[u8]> {
        let mut paths = self
            .with_base(base_of(name))
            .iter()
            .map(|line| line.path(&self.text));
        let first = paths.next()?;
        paths.all(|path| path == first).then_some(first)
    }

    /// The lines whose paths end in this component.
    fn with_base(&self, base: &[u8]) -> &[Line] {
        let start = self
            .lines
            .partition_point(|line| line.base(&self.text) < base);
        let count = self.lines[start..].partition_point(|line| line.base(&self.text) == base);
        &self.lines[start..start + count]
    }
}

impl Line {
    fn path(self, text: &[u8]) -> &[u8] {
        let start = self.start as usize;
        &text[start..start + usize::from(self.length)]
    }

    fn base(self, text: &[u8]) -> &[u8] {
        &self.path(text)[usize::from(self.base)..]
    }

    fn checksum(self, text: &[u8]) -> Checksum {
        let start = self.start as usize + usize::from(self.length);
        let value = &text[start..start + self.algorithm.size()];
        Checksum::from_bytes(self.algorithm, value).expect("stored with its algorithm's size")
    }
}

fn base_of(path: &[u8]) -> &[u8] {
    let start = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    &path[start..]
}

/// Tells whether `whole` ends with the components of `path`.
fn is_end(path: &[u8], whole: &[u8]) -> bool {
    match whole.strip_suffix(path) {
        Some(before) => before.is_empty() || before.ends_with(b"/") || path.starts_with(b"/"),
        None => false,
    }
}

trait TrimBytes {
    fn trim_ascii_start_matches(&self, byte: u8) -> &Self;
}

impl TrimBytes for [u8] {
    fn trim_ascii_start_matches(&self, byte: u8) -> &Self {
        let start = self.iter().position(|b| *b != byte).unwrap_or(self.len());
        &self[start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list in which the `n`th line has the hash `n`.
    fn list(names: &[&str]) -> Listed {
        let mut listed = Listed::default();
        for (n, name) in names.iter().enumerate() {
            assert!(listed.add(&sum(name, Algorithm::Md5, n as u8)));
        }
        listed.sort();
        listed
    }

    fn sum(name: &str, algorithm: Algorithm, n: u8) -> Sum {
        Sum {
            name: name.as_bytes().to_vec(),
            checksum: Checksum::from_bytes(algorithm, &vec![n; algorithm.size()]).unwrap(),
        }
    }

    fn find(listed: &Listed, names: &[&str]) -> Vec<u8> {
        let names: Vec<_> = names.iter().map(|name| name.as_bytes()).collect();
        listed
            .find(&names)
            .iter()
            .map(|sum| sum.value()[0])
            .collect()
    }

    #[test]
    fn a_file_is_found_by_its_name_or_by_the_end_of_its_path() {
        let listed = list(&["b", "./a", "x/a", "y/z/a", ".//c", "/abs/d"]);
        for (names, found) in [
            (&["a"][..], &[1][..]),
            (&["x/a"], &[2]),
            (&["h/x/a"], &[2]),
            (&["hx/a"], &[1]),
            (&["q/y/z/a"], &[3]),
            (&["z/a"], &[1]),
            (&["new.name", "h/b"], &[0]),
            (&["b", "h/a"], &[0]),
            (&["c"], &[4]),
            (&["h/abs/d"], &[5]),
            (&["d"], &[5]),
            (&["e"], &[]),
            (&["ab"], &[]),
            (&[""], &[]),
            (&[], &[]),
        ] {
            assert_eq!(find(&listed, names), found, "{names:?}");
        }
        assert!(find(&Listed::default(), &["a"]).is_empty());
    }

    #[test]
    fn a_line_of_another_folder_counts_only_if_no_other_could_be_meant() {
        let listed = list(&["dist/a", "dist/b", "old/b"]);
        assert_eq!(find(&listed, &["a"]), [0]);
        assert!(find(&listed, &["b"]).is_empty());
        assert_eq!(find(&listed, &["b", "v1/dist/b"]), [1]);
    }

    #[test]
    fn all_hashes_of_a_file_are_found_once_each() {
        let mut listed = Listed::default();
        for line in [
            sum("b", Algorithm::Md5, 9),
            sum("a", Algorithm::Md5, 1),
            sum("./a", Algorithm::Sha256, 2),
            sum("a", Algorithm::Md5, 1),
            sum("a", Algorithm::Md5, 3),
        ] {
            assert!(listed.add(&line));
        }
        listed.sort();
        assert_eq!(find(&listed, &["a"]), [1, 2, 3]);
        assert!(!listed.add(&sum(&"x".repeat(70_000), Algorithm::Md5, 0)));
    }
}
