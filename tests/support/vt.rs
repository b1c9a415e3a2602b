//! A terminal to look at: a pseudo terminal with a program on it, and the screen that a
//! person would see.

use crate::support::PATIENCE;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A program on a terminal of its own.
pub(crate) struct Terminal {
    master: OwnedFd,
    child: Child,
    output: Receiver<Vec<u8>>,
    pub(crate) screen: Screen,
}

impl Terminal {
    /// Starts the built command.
    pub(crate) fn start(args: &[&str], folder: &Path, columns: usize, rows: usize) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("ptys are there");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())
            .expect("it can be opened");
        resize(&master, columns, rows);
        let end = || slave.try_clone().expect("descriptors are left");
        let mut command = Command::new(env!("CARGO_BIN_EXE_greenloop"));
        command.args(args).current_dir(folder);
        command.env("TERM", "xterm").env_remove("RUST_LOG");
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("the command was built");
        let mut reader = File::from(master.try_clone().expect("descriptors are left"));
        let (tell, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO when the last program has gone from the terminal.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if tell.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            master,
            child,
            output,
            screen: Screen::new(columns, rows),
        }
    }

    /// Reads on until the screen is so.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Screen) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !is_so(&self.screen) {
            let left = limit.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.screen.feed(&bytes),
                Err(why) => panic!("{what}: {why}:\n{}", self.screen.text()),
            }
        }
    }

    /// Reads on for so long.
    pub(crate) fn look_for(&mut self, time: Duration) {
        let limit = Instant::now() + time;
        let left = || limit.saturating_duration_since(Instant::now());
        while let Ok(bytes) = self.output.recv_timeout(left()) {
            self.screen.feed(&bytes);
        }
    }

    pub(crate) fn resize(&mut self, columns: usize, rows: usize) {
        resize(&self.master, columns, rows);
        self.screen.resize(columns, rows);
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).expect("process numbers are small");
        let id = rustix::process::Pid::from_raw(id).expect("it is not zero");
        rustix::process::kill_process(id, signal).expect("it was not waited for yet");
    }

    /// Waits for the end and reads what was said until then.
    pub(crate) fn finish(&mut self) -> ExitStatus {
        let limit = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(Instant::now() < limit, "it hangs:\n{}", self.screen.text());
            match self.output.recv_timeout(Duration::from_millis(20)) {
                Ok(bytes) => self.screen.feed(&bytes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::yield_now(),
            }
        };
        while let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(200)) {
            self.screen.feed(&bytes);
        }
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(master: &OwnedFd, columns: usize, rows: usize) {
    let size = Winsize {
        ws_row: u16::try_from(rows).expect("it is small"),
        ws_col: u16::try_from(columns).expect("it is small"),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).expect("it is a terminal");
}

/// What is seen, and what has scrolled away above it.
pub(crate) struct Screen {
    columns: usize,
    rows: usize,
    lines: Vec<Vec<char>>,
    /// The first line in the window.
    top: usize,
    row: usize,
    column: usize,
    wraps: bool,
    held: Vec<u8>,
    /// Times that wrapping was switched on again: a frame ends so.
    pub(crate) frames: usize,
    /// Characters for which there was no column while nothing wraps.
    pub(crate) cut: usize,
    /// Characters that the program has written.
    pub(crate) bytes: usize,
}

impl Screen {
    fn new(columns: usize, rows: usize) -> Self {
        Self {
            columns,
            rows,
            lines: vec![Vec::new()],
            top: 0,
            row: 0,
            column: 0,
            wraps: true,
            held: Vec::new(),
            frames: 0,
            cut: 0,
            bytes: 0,
        }
    }

    /// Everything, also what has scrolled away.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| line.iter().collect());
        lines.collect::<Vec<String>>().join("\n")
    }

    /// The lines that are in the window and are not empty.
    pub(crate) fn visible(&self) -> Vec<String> {
        let lines = self.lines[self.top..].iter();
        let lines = lines.map(|line| line.iter().collect::<String>());
        lines.filter(|line| !line.trim().is_empty()).collect()
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
        }
        self.top = self.top.max((self.row + 1).saturating_sub(self.rows));
    }

    /// Breaks the lines anew, as most terminals do.
    fn resize(&mut self, columns: usize, rows: usize) {
        (self.columns, self.rows) = (columns, rows);
        let old = std::mem::take(&mut self.lines);
        let mut row = 0;
        for (n, line) in old.into_iter().enumerate() {
            let at = self.lines.len();
            let broken = line.chunks(columns).map(<[char]>::to_vec);
            self.lines.extend(broken);
            if self.lines.len() == at {
                self.lines.push(Vec::new());
            }
            if n == self.row {
                row = at + self.column.saturating_sub(1) / columns;
                self.column = self.column.saturating_sub((row - at) * columns);
            }
        }
        self.row = row;
        self.top = (row + 1).saturating_sub(rows);
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let valid = match std::str::from_utf8(&held) {
            Ok(_) => held.len(),
            Err(error) => error.valid_up_to(),
        };
        let (text, rest) = held.split_at(valid);
        let text = std::str::from_utf8(text).expect("it was looked at");
        let mut left = text;
        while let Some(c) = left.chars().next() {
            match self.take(c, left) {
                Some(length) => left = &left[length..],
                None => break, // the rest of an escape is still to come
            }
        }
        self.held = [left.as_bytes(), rest].concat();
    }

    /// Takes the first character, or the escape that it begins, and gives its length.
    fn take(&mut self, c: char, text: &str) -> Option<usize> {
        match c {
            '\r' => self.column = 0,
            '\n' => self.down(),
            '\x1b' => {
                let body = text.get(2..)?;
                let at = body.find(|c: char| c.is_ascii_alphabetic())?;
                self.escape(&body[..at], body.as_bytes()[at]);
                return Some(2 + at + 1);
            }
            c => self.put(c),
        }
        Some(c.len_utf8())
    }

    fn put(&mut self, c: char) {
        assert!(!c.is_control(), "{c:?} reaches the terminal");
        if self.column >= self.columns {
            if !self.wraps {
                self.cut += 1;
                return;
            }
            self.column = 0;
            self.down();
        }
        let line = &mut self.lines[self.row];
        while line.len() <= self.column {
            line.push(' ');
        }
        line[self.column] = c;
        self.column += 1;
    }

    fn escape(&mut self, number: &str, letter: u8) {
        match (number, letter) {
            ("", b'K') => self.lines[self.row].truncate(self.column),
            ("", b'J') => {
                self.lines[self.row].truncate(self.column);
                self.lines.truncate(self.row + 1);
            }
            // Colours of what is logged.
            (_, b'm') => {}
            ("?7", b'l') => self.wraps = false,
            ("?7", b'h') => {
                self.wraps = true;
                self.frames += 1;
            }
            (number, b'A') => {
                let up: usize = number.parse().expect("a number");
                self.row = self.row.saturating_sub(up).max(self.top);
            }
            other => panic!("an escape that no frame needs: {other:?}"),
        }
    }
}
