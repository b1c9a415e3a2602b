//! The programs that are compared, each with the flags that suit it best.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use super::super::support::has;
use super::files::List;
use super::{Options, origin::CAP_MIB};

/// How a row is downloaded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// So many files at once.
    AtOnce(usize),
    /// One file, in so many pieces at once where a client can.
    Pieces(usize),
}

/// A program that downloads a list.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    command: fn(&Options, How, &List, &Path) -> Command,
}

/// The clients that are installed, ours first.
pub(crate) fn clients(options: &Options) -> Vec<Client> {
    let mut clients = vec![Client {
        name: OURS,
        command: greenloop,
    }];
    let peers = [
        Client {
            name: "curl",
            command: curl,
        },
        Client {
            name: "wget2",
            command: wget2,
        },
        Client {
            name: "aria2c",
            command: aria2c,
        },
    ];
    if !options.ours_only {
        clients.extend(peers.iter().filter(|peer| has(peer.name)));
    }
    clients
}

pub(crate) const OURS: &str = "greenloop";

impl Client {
    pub(crate) fn is_ours(&self) -> bool {
        self.name == OURS
    }

    pub(crate) fn command(&self, options: &Options, how: How, list: &List, into: &Path) -> Command {
        (self.command)(options, how, list, into)
    }
}

fn greenloop(options: &Options, how: How, list: &List, into: &Path) -> Command {
    let mut command = Command::new(&options.greenloop);
    command.arg("get").args(&options.flags);
    match how {
        How::AtOnce(count) => command.args(["-j", &count.to_string()]),
        How::Pieces(count) if knows(&options.greenloop, "--split") => pieces(&mut command, count),
        How::Pieces(_) => command.args(["-j", "1"]),
    };
    // The others say nothing either.
    if knows(&options.greenloop, "--quiet") {
        command.arg("--quiet");
    }
    command.arg("-i").arg(&list.text).arg("-d").arg(into);
    command
}

fn curl(_: &Options, how: How, list: &List, into: &Path) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--remote-name-all"]);
    if let How::AtOnce(count) = how {
        command.args(["--parallel", "--parallel-max", &count.to_string()]);
    }
    command.arg("--config").arg(&list.config);
    command.arg("--output-dir").arg(into);
    command
}

fn aria2c(_: &Options, how: How, list: &List, into: &Path) -> Command {
    let mut command = Command::new("aria2c");
    command.args(["--quiet", "--no-conf", "--file-allocation=none"]);
    command.arg("--deferred-input=true");
    match how {
        How::AtOnce(count) => {
            command.args(["-j", &count.to_string(), "--max-connection-per-server=1"])
        }
        How::Pieces(count) => pieces(&mut command, count),
    };
    command.arg("-i").arg(&list.text).arg("-d").arg(into);
    command
}

fn wget2(_: &Options, how: How, list: &List, into: &Path) -> Command {
    let mut command = Command::new("wget2");
    command.args(["--quiet", "--no-config", "--no-hsts", "--no-hpkp"]);
    match how {
        How::AtOnce(count) => command.args(["--max-threads", &count.to_string()]),
        How::Pieces(count) => {
            let chunk = format!("--chunk-size={}M", CAP_MIB);
            command.args([&chunk, "--max-threads", &count.to_string()])
        }
    };
    command.arg("-i").arg(&list.text).arg("-P").arg(into);
    command
}

/// Flags that aria2c has and ours takes over.
fn pieces(command: &mut Command, count: usize) -> &mut Command {
    let count = count.to_string();
    command.args(["-j", "1", "-s", &count, "-x", &count, "-k", "1M"])
}

/// Whether a program's help for `get` names a flag.
fn knows(program: &Path, flag: &str) -> bool {
    let output = Command::new(program)
        .args([OsStr::new("get"), OsStr::new("--help")])
        .output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(flag))
}
