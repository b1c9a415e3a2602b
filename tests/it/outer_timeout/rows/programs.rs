//! Programs, their pipes, standard input.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use greenloop::process::{Child, Command, OutputError, PipeReader, PipeWriter, Process, Stdio};
use greenloop::{Error, Lane, StdinLock, stdin};

use super::files::Disk;
use super::{LONG, Row, Rows, later, soon};
use crate::support::before_long;

pub(in super::super) fn programs() -> Vec<Row> {
    let themes = [starts(), outputs(), ends(), talks(), pipes()];
    themes.into_iter().flatten().collect()
}

/// A program that writes to a file when it runs, and threads that do not start it.
type Start = (Disk, Command);

fn starts() -> Vec<Row> {
    fn start() -> Start {
        let disk = Disk::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo ran >> \"$0\""]);
        command.arg(disk.at("log"));
        (disk, command)
    }
    /// It has not run, and does when it is asked to.
    fn still_starts((disk, command): &mut Start) {
        Lane::for_files().set_threads_max(16);
        assert!(!disk.at("log").exists());
        assert!(command.status().unwrap().success());
        let log = greenloop::fs::read(disk.at("log")).unwrap();
        assert_eq!(log, b"ran\n");
    }
    Rows::on("Command", start, still_starts)
        .call("spawn", |(_, c)| c.spawn())
        .call("status not_begun", |(_, c)| c.status())
        .call("output not_begun", |(_, c)| c.output())
        .rows
}

/// Programs that take for ever and are ended with their callers.
fn outputs() -> Vec<Row> {
    fn endless() -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo so far; exec sleep 600"]);
        // So that `status` is quiet.
        command.stdout(Stdio::piped());
        command
    }
    /// It is killed, and no zombie.
    fn is_ended(_: &mut Command) {
        before_long("no child is left", || children().is_empty());
    }
    Rows::on("Command", endless, is_ended)
        .call("status", |c| c.status())
        .call("output", |c| c.output())
        .call("output_timeout", |c| c.output_timeout(LONG))
        .call("output_deadline", |c| c.output_deadline(later()))
        .rows
}

/// This process's own, zombies among them.
fn children() -> Vec<u32> {
    let is_ours = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
        let parent = format!("PPid:\t{}\n", std::process::id());
        status.is_ok_and(|status| status.contains(&parent))
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(is_ours)
        .collect()
}

fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg("600");
    command
}

fn ends() -> Vec<Row> {
    /// It runs on; when it ends, that is known.
    fn runs_on(process: &Process) {
        assert_eq!(process.try_wait().unwrap(), None);
        process.kill().unwrap();
        let status = process.wait_deadline(soon()).unwrap().unwrap();
        assert_eq!(status.signal(), Some(9));
    }
    let mut rows = Rows::on(
        "Process",
        || sleeper().spawn().unwrap().handle(),
        |process| runs_on(process),
    )
    .call("wait", |p| p.wait())
    .call("wait_timeout", |p| p.wait_timeout(LONG))
    .call("wait_deadline", |p| p.wait_deadline(later()))
    .waitable(|p| p)
    .rows;
    let child = Rows::on(
        "Child",
        || sleeper().spawn().unwrap(),
        |child| runs_on(&child.handle()),
    )
    .call("wait", |c| c.wait())
    .call("wait_timeout", |c| c.wait_timeout(LONG))
    .call("wait_deadline", |c| c.wait_deadline(later()))
    .waitable(|c| c);
    rows.extend(child.rows);
    rows
}

/// A program that gives back four bytes of its input, and then as many of a pipe that we
/// have as well; and what it has said and was told so far.
struct Talk {
    child: Child,
    fifo: PathBuf,
    said: Vec<u8>,
    sent: usize,
}

const INPUT: &[u8] = b"text";

impl Talk {
    fn note(&mut self, error: OutputError) -> Error {
        self.said.extend(&error.stdout);
        self.sent += error.sent;
        error.error
    }
}

fn talks() -> Vec<Row> {
    fn talk() -> Talk {
        static NUMBER: Mutex<u32> = Mutex::new(0);
        let number = {
            let mut number = NUMBER.lock().unwrap();
            *number += 1;
            *number
        };
        let name = format!("greenloop-fifo-{}-{number}", std::process::id());
        let fifo = std::env::temp_dir().join(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
        let child = Command::new("sh")
            .args(["-c", "head -c 4; exec head -c 4 \"$0\""])
            .arg(&fifo)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Talk {
            child,
            fifo,
            said: Vec::new(),
            sent: 0,
        }
    }
    /// What was said before and what comes now make a whole.
    fn goes_on(talk: &mut Talk) {
        // Also for reading: so it need not wait for the program.
        let mut options = std::fs::OpenOptions::new();
        let mut fifo = options.read(true).write(true).open(&talk.fifo).unwrap();
        fifo.write_all(b"more").unwrap();
        let rest = &INPUT[talk.sent..];
        let output = talk.child.communicate_deadline(rest, soon()).unwrap();
        assert!(output.status.success());
        talk.said.extend(output.stdout);
        assert_eq!(talk.said, b"textmore");
        std::fs::remove_file(&talk.fifo).unwrap();
    }
    Rows::on("Child", talk, goes_on)
        .call("communicate", |t| {
            t.child.communicate(INPUT).map_err(|e| t.note(e))
        })
        .call("communicate_timeout", |t| {
            let talked = t.child.communicate_timeout(INPUT, LONG);
            talked.map_err(|e| t.note(e))
        })
        .call("communicate_deadline", |t| {
            let talked = t.child.communicate_deadline(INPUT, later());
            talked.map_err(|e| t.note(e))
        })
        .rows
}

fn pipes() -> Vec<Row> {
    type Pipe = (PipeReader, PipeWriter, usize);
    fn empty() -> Pipe {
        let (reader, writer) = std::io::pipe().unwrap();
        let reader = PipeReader::from_fd(reader).unwrap();
        (reader, PipeWriter::from_fd(writer).unwrap(), 0)
    }
    fn full() -> Pipe {
        let mut pipe = empty();
        let limit = Duration::from_millis(5);
        while let Ok(count) = pipe.1.write_deadline(&vec![7; 4096], limit.into()) {
            pipe.2 += count;
        }
        pipe
    }
    fn still_reads((reader, writer, _): &mut Pipe) {
        writer.write_all(b"later").unwrap();
        let mut got = [0; 5];
        reader.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"later");
    }
    /// Nothing of the refused write is in it.
    fn still_writes((reader, writer, full): &mut Pipe) {
        let mut before = vec![0; *full];
        reader.read_exact(&mut before).unwrap();
        assert!(before.iter().all(|byte| *byte == 7));
        writer.write_all(b"end").unwrap();
        let mut got = [0; 8];
        assert_eq!(reader.read_deadline(&mut got, soon()).unwrap(), 3);
        assert_eq!(&got[..3], b"end");
    }
    let mut rows = Rows::on("PipeReader", empty, still_reads)
        .call("read_deadline", |p| p.0.read_deadline(&mut [0; 8], later()))
        .call("read_deadline read", |p| p.0.read(&mut [0; 8]))
        .rows;
    let write = Rows::on("PipeWriter", full, still_writes)
        .call("write_deadline", |p| p.1.write_deadline(b"no", later()))
        .call("write_deadline write", |p| p.1.write(b"no"));
    rows.extend(write.rows);
    rows
}

// ---- standard input ----

/// What writes to this process's standard input, once that is ours.
static KEYBOARD: Mutex<Option<Box<dyn Write + Send>>> = Mutex::new(None);

/// Rows of standard input, which is `source` from now on, and `keyboard` its other end.
pub(in super::super) fn standard_input(
    source: impl std::os::fd::AsFd,
    keyboard: impl Write + Send + 'static,
) -> Vec<Row> {
    rustix::stdio::dup2_stdin(source).unwrap();
    *KEYBOARD.lock().unwrap() = Some(Box::new(keyboard));
    input_rows()
}

fn type_in(text: &str) {
    let mut keyboard = KEYBOARD.lock().unwrap();
    keyboard
        .as_mut()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

/// Not to be run before standard input is ours.
pub(in super::super) fn input_rows() -> Vec<Row> {
    fn free() {
        // Half a line is there.
        type_in("ha");
    }
    fn is_whole((): &mut ()) {
        type_in("lf\nnext\n");
        let mut lock = stdin().lock().unwrap();
        let mut text = [0; 5];
        lock.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"half\n");
        drop(lock);
        let mut line = String::new();
        assert_eq!(stdin().read_line(&mut line).unwrap(), 5);
        assert_eq!(line, "next\n");
    }
    fn taken() -> Option<StdinLock> {
        Some(stdin().lock().unwrap())
    }
    /// Who had it has it still, the next gets it after that, and nothing was read.
    fn is_passed_on(lock: &mut Option<StdinLock>) {
        let mut lock = lock.take().unwrap();
        type_in("one\ntwo\n");
        let mut one = [0; 4];
        lock.read_exact(&mut one).unwrap();
        drop(lock);
        let mut two = String::new();
        assert_eq!(stdin().read_line(&mut two).unwrap(), 4);
        assert_eq!((&one[..], &*two), (&b"one\n"[..], "two\n"));
    }
    let mut rows = Rows::on("Stdin", free, is_whole)
        .call("read_line", |()| stdin().read_line(&mut String::new()))
        .call("read_line read_to_end", |()| {
            stdin().read_to_end(&mut Vec::new())
        })
        .rows;
    let busy = Rows::on("Stdin", taken, is_passed_on).call("lock", |_| stdin().lock());
    let lock = Rows::on("StdinLock", taken, is_passed_on)
        .call("read_deadline", |l| {
            let lock = l.as_mut().unwrap();
            lock.read_deadline(&mut [0; 8], later())
        })
        .call("read_deadline read", |l| {
            l.as_mut().unwrap().read(&mut [0; 8])
        });
    rows.extend(busy.rows);
    rows.extend(lock.rows);
    rows
}
