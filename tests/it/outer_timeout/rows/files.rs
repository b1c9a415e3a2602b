//! Files, on threads that answer when they like.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::fs::{self as waiting, File};
use greenloop::{Error, Lane, timeout};

use super::{Row, Rows, row};

pub(in super::super) fn files() -> Vec<Row> {
    paths().into_iter().chain(file()).collect()
}

/// Threads of the files lane, where it may have some.
const THREADS: usize = 16;

/// A folder of its own, on a disk that does not answer.
pub(super) struct Disk {
    root: PathBuf,
    /// Opened before the disk stopped.
    file: File,
}

impl Disk {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("greenloop-rows-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir(&root).unwrap();
        fs::create_dir(root.join("empty")).unwrap();
        fs::write(root.join("file"), "text").unwrap();
        symlink("file", root.join("link")).unwrap();
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(root.join("file"))
            .unwrap();
        let file = File::from_std(file);
        Lane::for_files().set_threads_max(0);
        Self { root, file }
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Lane::for_files().set_threads_max(THREADS);
        fs::remove_dir_all(&self.root).unwrap();
    }
}

/// An operation that no thread has begun does not happen, then or later.
fn is_untouched(disk: &mut Disk) {
    let lane = Lane::for_files();
    assert_eq!(lane.stats().queued, 0);
    lane.set_threads_max(THREADS);
    let mut names: Vec<_> = waiting::read_dir(&disk.root)
        .unwrap()
        .into_iter()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["empty", "file", "link"]);
    assert_eq!(waiting::read(disk.at("link")).unwrap(), b"text");
    let about = waiting::metadata(disk.at("file")).unwrap();
    assert!(!about.permissions().readonly());
    // The file is where it was, and takes what it is given.
    let mut text = String::new();
    disk.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
    disk.file.write_all(b" and more").unwrap();
    disk.file.sync_all().unwrap();
    assert_eq!(disk.file.len().unwrap(), 13);
}

fn paths() -> Vec<Row> {
    Rows::on("", Disk::new, is_untouched)
        .call("read", |d| waiting::read(d.at("file")))
        .call("read_to_string", |d| waiting::read_to_string(d.at("file")))
        .call("write", |d| waiting::write(d.at("file"), "new"))
        .call("copy", |d| waiting::copy(d.at("file"), d.at("new")))
        .call("rename", |d| waiting::rename(d.at("file"), d.at("new")))
        .call("hard_link", |d| {
            waiting::hard_link(d.at("file"), d.at("new"))
        })
        .call("symlink", |d| waiting::symlink("file", d.at("new")))
        .call("read_link", |d| waiting::read_link(d.at("link")))
        .call("canonicalize", |d| waiting::canonicalize(d.at("link")))
        .call("metadata", |d| waiting::metadata(d.at("file")))
        .call("symlink_metadata", |d| {
            waiting::symlink_metadata(d.at("link"))
        })
        .call("exists", |d| waiting::exists(d.at("file")))
        .call("set_permissions", |d| {
            let read_only = fs::Permissions::from_mode(0o400);
            waiting::set_permissions(d.at("file"), read_only)
        })
        .call("remove_file", |d| waiting::remove_file(d.at("link")))
        .call("create_dir", |d| waiting::create_dir(d.at("new")))
        .call("create_dir_all", |d| waiting::create_dir_all(d.at("a/b")))
        .call("remove_dir", |d| waiting::remove_dir(d.at("empty")))
        .call("remove_dir_all", |d| waiting::remove_dir_all(&d.root))
        .call("read_dir", |d| waiting::read_dir(&d.root))
        .rows
}

fn file() -> Vec<Row> {
    let mut rows = Rows::on("File", Disk::new, is_untouched)
        .call("open", |d| File::open(d.at("file")))
        .call("create", |d| File::create(d.at("new")))
        .call("open_with", |d| {
            let mut options = fs::OpenOptions::new();
            File::open_with(d.at("file"), options.write(true).truncate(true))
        })
        .call("metadata", |d| d.file.metadata())
        .call("len", |d| d.file.len())
        .call("set_len", |d| d.file.set_len(1))
        .call("sync_all", |d| d.file.sync_all())
        .call("sync_data", |d| d.file.sync_data())
        .call("from_std read", |d| d.file.read(&mut [0; 2]))
        .call("from_std read_to_end", |d| {
            d.file.read_to_end(&mut Vec::new())
        })
        .call("from_std write", |d| d.file.write(b"new"))
        .call("from_std seek", |d| d.file.seek(SeekFrom::End(0)))
        .rows;
    rows.extend(slow_file());
    rows
}

/// One end of a pipe, as a file whose calls take as long as the other end likes.
type Slow = (Option<File>, Option<fs::File>);

/// Waits for an operation that a thread has begun.
fn slow_file() -> Vec<Row> {
    fn reader() -> Slow {
        let (reader, writer) = std::io::pipe().unwrap();
        let file = |end: OwnedFd| fs::File::from(end);
        let reader = File::from_std(file(reader.into()));
        (Some(reader), Some(file(writer.into())))
    }
    /// A read that is under way, because its caller has left.
    fn left_reader() -> Slow {
        let mut slow = reader();
        let file = slow.0.as_mut().unwrap();
        let read = || Ok::<_, Error>(file.read(&mut [0; 2])?);
        timeout(Duration::from_millis(20), read).unwrap_err();
        slow
    }
    /// What was read for nobody is what the next one gets.
    fn still_reads((reader, writer): &mut Slow) {
        writer.take().unwrap().write_all(b"later").unwrap();
        let mut text = String::new();
        reader.as_mut().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "later");
    }
    /// The file went with the call, the rest of the pipe is there.
    fn is_gone((_, writer): &mut Slow) {
        // The thread's read, if it is still at it, ends with the writer.
        drop(writer.take());
    }
    fn writer() -> Slow {
        let (reader, writer) = std::io::pipe().unwrap();
        let file = |end: OwnedFd| fs::File::from(end);
        let mut writer = file(writer.into());
        writer.write_all(&vec![7; 64 << 10]).unwrap();
        (Some(File::from_std(writer)), Some(file(reader.into())))
    }
    /// A write that has begun is completed; one that has not, is not.
    fn still_writes((writer, reader): &mut Slow) {
        let mut reader = reader.take().unwrap();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        let mut writer = writer.take().unwrap();
        writer.flush().unwrap();
        writer.write_all(b"end").unwrap();
        drop(writer);
        let all = reading.join().unwrap();
        let rest = all[64 << 10..].to_vec();
        assert!([&b"end"[..], b"newend"].contains(&&*rest), "{rest:?}");
    }
    let mut rows = Rows::on("File", reader, still_reads)
        .call("from_std slow_read", |(f, _)| {
            f.as_mut().unwrap().read(&mut [0; 2])
        })
        .rows;
    let writes = Rows::on("File", writer, still_writes).call("from_std slow_write", |(f, _)| {
        f.as_mut().unwrap().write(b"new")
    });
    let left = Rows::on("File left", left_reader, still_reads)
        .call("set_len", |(f, _)| f.as_mut().unwrap().set_len(1))
        .call("from_std flush", |(f, _)| f.as_mut().unwrap().flush());
    rows.extend(writes.rows);
    rows.extend(left.rows);
    rows.push(row(
        "File::into_std",
        left_reader,
        |(f, _)| f.take().unwrap().into_std(),
        is_gone,
    ));
    rows
}
