//! `test__os.py`, `test__fileobject.py`: reading and writing that lets others run.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use greenloop::fs::{self, File};
use greenloop::process::{PipeReader, PipeWriter};
use greenloop::{Deadline, Timeout, sleep, spawn, timeout};

use crate::support::on_workers;

const MS: Duration = Duration::from_millis(1);

fn pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (
        PipeReader::from_fd(reader).unwrap(),
        PipeWriter::from_fd(writer).unwrap(),
    )
}

#[test]
fn test_if_pipe_blocks() {
    // TestOS_nb: megabytes through a pipe while another greenlet counts.
    on_workers!({
        let (mut reader, mut writer) = pipe();
        let counted = Arc::new(AtomicUsize::new(0));
        let counter = {
            let counted = counted.clone();
            spawn(move || {
                while sleep(MS).is_ok() {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        let reads = spawn(move || {
            let mut buf = vec![0; 100_000];
            let mut total = 0;
            loop {
                match reader.read(&mut buf).unwrap() {
                    0 => return total,
                    n => total += n,
                }
            }
        });
        let writes = spawn(move || {
            let block = vec![7; 1 << 20];
            for _ in 0..4 {
                writer.write_all(&block).unwrap();
                sleep(5 * MS).unwrap();
            }
        });
        writes.join().unwrap();
        assert_eq!(reads.join().unwrap(), 4 << 20);
        assert!(counted.load(Ordering::SeqCst) > 0);
        counter.kill();
    });
}

#[test]
fn test_pipe_limits() {
    on_workers!({
        let (mut reader, mut writer) = pipe();
        let limit = Timeout::start(5 * MS);
        let error = reader.read(&mut [0; 8]).unwrap_err();
        assert!(limit.owns(&error.into()));
        drop(limit);
        reader.set_read_timeout(Some(5 * MS));
        let error = reader.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        // A full pipe.
        let soon = Deadline::after(20 * MS);
        let error = loop {
            if let Err(error) = writer.write_deadline(&[0; 1024], soon) {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        let killed = spawn(move || {
            let error = writer.write(&[0; 1024]).unwrap_err();
            greenloop::Error::from(error).is_cancelled()
        });
        killed.kill();
        assert!(killed.join().unwrap_err().is_killed());
        // The writer is gone: what it wrote, then the end.
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all.len() % 1024, 0);
    });
}

#[test]
fn test_broken_pipe() {
    on_workers!({
        let (reader, mut writer) = pipe();
        drop(reader);
        let error = writer.write(b"x").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn test_fileobject() {
    // TestFileObjectThread: test_seek, test_read1 and friends, on the files lane.
    on_workers!({
        let path = std::env::temp_dir().join(format!("os-file-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        let line: Vec<u8> = (0..=255).collect();
        let big = line.repeat(8192);
        file.write_all(&big).unwrap();
        assert_eq!(file.len().unwrap(), 2 << 20);
        file.sync_data().unwrap();

        let mut file = File::open(&path).unwrap();
        let mut some = [0; 10];
        file.read_exact(&mut some).unwrap();
        assert_eq!(some, line[..10]);
        assert_eq!(file.seek(SeekFrom::Current(90)).unwrap(), 100);
        file.read_exact(&mut some).unwrap();
        assert_eq!(some, line[100..110]);
        assert_eq!(file.seek(SeekFrom::End(-1)).unwrap(), (2 << 20) - 1);
        let mut rest = Vec::new();
        assert_eq!(file.read_to_end(&mut rest).unwrap(), 1);
        assert_eq!(rest, [255]);
        file.rewind().unwrap();
        rest.clear();
        file.read_to_end(&mut rest).unwrap();
        assert!(rest == big);
        let mut std = file.into_std().unwrap();
        assert_eq!(std.stream_position().unwrap(), 2 << 20);
        assert!(fs::read(&path).unwrap() == big);
        fs::remove_file(&path).unwrap();
    });
}

#[test]
fn test_file_calls_can_be_killed() {
    on_workers!({
        let path = std::env::temp_dir().join(format!("os-kill-{}", std::process::id()));
        fs::write(&path, "0123456789").unwrap();
        let own = path.clone();
        let killed = spawn(move || {
            let mut file = File::open(&own).unwrap();
            greenloop::current().kill();
            assert!(fs::read(&own).unwrap_err().is_cancelled());
            assert!(file.metadata().is_err());
            let mut buf = [0; 4];
            let error = file.read(&mut buf).unwrap_err();
            assert!(greenloop::Error::from(error).is_cancelled());
            assert!(file.seek(SeekFrom::Start(3)).is_err());
            // Nothing was taken by the calls that failed.
            greenloop::shield(|| file.read_exact(&mut buf)).unwrap();
            assert_eq!(&buf, b"0123");
        });
        assert!(killed.join().unwrap_err().is_killed());
        let error = timeout(Duration::ZERO, || fs::read(&path)).unwrap_err();
        assert!(error.is_timeout());
        fs::remove_file(&path).unwrap();
    });
}
