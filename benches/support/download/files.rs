//! The files that are downloaded, the lists of them, and whether they arrived.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};

use super::origin::{Origin, Route};

/// Bytes of a small file.
pub(crate) const SMALL_BYTES: usize = 4096;
/// Small files that a long list names again and again.
pub(crate) const LIST_FILES: usize = 100;

/// What is downloaded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Files {
    /// So many of [`SMALL_BYTES`].
    Small(usize),
    /// So many of so many MiB.
    Big(usize, u64),
    /// So many names of [`LIST_FILES`] small files.
    List(usize),
}

impl Files {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Small(count) | Self::Big(count, _) | Self::List(count) => count,
        }
    }

    /// The path of file `n` on the server; its last part is its name here.
    fn path(self, n: usize) -> String {
        match self {
            Self::Small(_) => format!("small/f{n:02}"),
            Self::Big(_, mib) => format!("big/b{mib}-{n}"),
            Self::List(_) => format!("many/{n:06}"),
        }
    }

    /// The path below the server's root of what file `n` holds.
    fn source(self, n: usize) -> String {
        match self {
            Self::List(_) => Self::Small(0).path(n % LIST_FILES),
            _ => self.path(n),
        }
    }

    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Small(count) | Self::List(count) => (count * SMALL_BYTES) as u64,
            Self::Big(count, mib) => count as u64 * mib * MIB,
        }
    }

    pub(crate) fn describe(self) -> String {
        match self {
            Self::Small(count) => format!("{count} x {} KiB", SMALL_BYTES / 1024),
            Self::Big(count, mib) => format!("{count} x {mib} MiB"),
            Self::List(count) => format!("a list of {count} URLs of {} KiB", SMALL_BYTES / 1024),
        }
    }
}

/// A folder in memory for the origin, the lists and what is downloaded into memory.
pub(crate) struct Work {
    pub(crate) folder: PathBuf,
}

impl Work {
    pub(crate) fn new() -> Self {
        let base = Path::new("/dev/shm");
        let base = if base.is_dir() {
            base.to_owned()
        } else {
            println!("SKIPPED: memory; /dev/shm is not there, and all is on the disk");
            std::env::temp_dir()
        };
        remove_stale(&base);
        let folder = base.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(folder.join("www/small")).expect("it can be written to");
        fs::create_dir_all(folder.join("www/big")).expect("it can be written to");
        Self { folder }
    }

    /// Whether it has room for `bytes` of sources and as many downloads, loudly if not.
    pub(crate) fn has_room(&self, place: &Path, files: Files) -> bool {
        let free = |path: &Path| {
            let stat = rustix::fs::statvfs(path).expect("it is there");
            stat.f_bavail * stat.f_frsize
        };
        let enough = [place, &self.folder]
            .iter()
            .all(|place| free(place) > 3 * files.bytes());
        if !enough {
            println!("SKIPPED: {} do not fit", files.describe());
        }
        enough
    }

    /// Makes the sources, as far as they are missing.
    pub(crate) fn make(&self, files: Files) {
        let www = self.folder.join("www");
        match files {
            Files::List(_) => self.make(Files::Small(LIST_FILES)),
            Files::Small(count) => {
                for n in 0..count {
                    let path = www.join(files.path(n));
                    if !path.exists() {
                        fs::write(path, small(n)).expect("there is room");
                    }
                }
            }
            Files::Big(count, mib) => {
                for n in 0..count {
                    let path = www.join(files.path(n));
                    if !path.exists() {
                        write_big(&path, n as u64, mib).expect("there is room");
                    }
                }
            }
        }
    }

    /// Writes the list of URLs, as text and as curl wants it.
    pub(crate) fn list(&self, origin: &Origin, route: Route, files: Files) -> List {
        let urls: Vec<_> = (0..files.count())
            .map(|n| origin.url(route, &files.path(n)))
            .collect();
        let list = List {
            text: self.folder.join("list"),
            config: self.folder.join("config"),
        };
        fs::write(&list.text, urls.join("\n") + "\n").expect("there is room");
        let config: String = urls
            .iter()
            .map(|url| format!("url = \"{url}\"\n"))
            .collect();
        fs::write(&list.config, config).expect("there is room");
        list
    }

    /// Compares every file with its source; says which one differs.
    pub(crate) fn verify(&self, files: Files, into: &Path) -> Result<(), String> {
        for n in 0..files.count() {
            let path = files.path(n);
            let name = path
                .rsplit('/')
                .next()
                .expect("rsplit gives at least one part");
            let source = self.folder.join("www").join(files.source(n));
            match is_equal(&into.join(name), &source) {
                Ok(true) => {}
                Ok(false) => return Err(format!("{name} differs")),
                Err(error) => return Err(format!("{name}: {error}")),
            }
        }
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Where a list of URLs stands.
pub(crate) struct List {
    pub(crate) text: PathBuf,
    pub(crate) config: PathBuf,
}

/// What small file `n` holds; no two are the same.
pub(crate) fn small(n: usize) -> Vec<u8> {
    (0..SMALL_BYTES)
        .map(|i| (i.wrapping_mul(31) ^ n.wrapping_mul(167) ^ (n >> 5)) as u8)
        .collect()
}

/// Every 8 bytes tell the file and the offset.
fn write_big(path: &Path, n: u64, mib: u64) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    for at in 0..mib {
        let words = (0..MIB / 8).map(|i| (n << 56) | (at * MIB + i * 8));
        file.write_all(&words.flat_map(u64::to_le_bytes).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn is_equal(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let length = other.metadata()?.len();
    if one.metadata()?.len() != length {
        return Ok(false);
    }
    let size = length.clamp(1, MIB) as usize;
    let (mut here, mut there) = (vec![0; size], vec![0; size]);
    let mut left = length;
    while left > 0 {
        let take = left.min(size as u64) as usize;
        one.read_exact(&mut here[..take])?;
        other.read_exact(&mut there[..take])?;
        if here[..take] != there[..take] {
            return Ok(false);
        }
        left -= take as u64;
    }
    Ok(true)
}

/// Gigabytes in memory that a bench left which was interrupted.
fn remove_stale(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let pid = pid.and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        if pid.is_some_and(|pid| test_kill_process(pid).is_err()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

const PREFIX: &str = "greenloop-bench-";
const MIB: u64 = 1 << 20;
