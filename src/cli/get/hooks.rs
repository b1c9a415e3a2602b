//! Programs that are run where a download ends.
//!
//! The command is split into arguments once, as a shell would; no shell runs, so nothing
//! that a server chose, such as a name, is ever read as code.

use super::lines;
use super::printer::{Printer, To};
use crate::Greenlet;
use crate::cli::Failure;
use crate::error::{Error, Result};
use crate::fetch::Outcome;
use crate::process::{Command, Stdio};
use crate::sync::Queue;
use crate::util::{self, lock};
use rustix::fs::Access;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A command with places for what is known of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<String>);

impl Template {
    /// Splits `text` into arguments by the shell's rules for quotes and backslashes.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match shlex::split(text) {
            None => Err("a quote is not closed".into()),
            Some(words) if words.is_empty() => Err("no program is named".into()),
            Some(words) => match words.iter().find_map(|word| unknown_place(word)) {
                Some(place) => Err(format!(
                    "{place} stands for nothing; there are {}, and {{ word }} is left as it is",
                    PLACES.join(", ")
                )),
                None => Ok(Self(words)),
            },
        }
    }

    /// Sees whether its program is there, as far as that is known before a download ends.
    fn look_for_program(&self) -> Result<(), String> {
        let program = &self.0[0];
        if PLACES.iter().any(|place| program.contains(place)) || is_program(program) {
            return Ok(());
        }
        Err(format!("{program}: no such program"))
    }

    /// The program and its arguments for a download. Without any place, the path is added,
    /// or the URL where there is no path.
    fn fill(&self, outcome: &Outcome) -> Vec<OsString> {
        let path = outcome.path.as_ref().map(|path| path.as_os_str());
        let (bytes, id) = (outcome.bytes.to_string(), outcome.id.to_string());
        let status = status(outcome);
        let values: [&OsStr; 5] = [
            path.unwrap_or_default(),
            outcome.url.as_ref(),
            bytes.as_ref(),
            id.as_ref(),
            status.as_ref(),
        ];
        let places: Vec<_> = PLACES.into_iter().zip(values).collect();
        let mut is_filled = false;
        let mut words: Vec<_> = self
            .0
            .iter()
            .map(|word| filled(word, &places, &mut is_filled))
            .collect();
        if !is_filled {
            words.push(path.unwrap_or_else(|| outcome.url.as_ref()).to_owned());
        }
        words
    }
}

/// What is filled in.
const PLACES: [&str; 5] = ["{path}", "{url}", "{bytes}", "{id}", "{status}"];

/// What looks like a place and is none: `{name}`, but not the `${name}` of a shell.
fn unknown_place(word: &str) -> Option<&str> {
    let mut begins = word.match_indices('{').map(|(at, _)| at);
    begins.find_map(|at| {
        let end = at + word[at..].find('}')? + 1;
        let (before, place) = (&word[..at], &word[at..end]);
        let name = &place[1..place.len() - 1];
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
        (is_name && !before.ends_with('$') && !PLACES.contains(&place)).then_some(place)
    })
}

/// Tells whether a program of this name would be run.
fn is_program(name: &str) -> bool {
    let is_one = |path: &Path| {
        let is_file = path.metadata().is_ok_and(|meta| meta.is_file());
        is_file && rustix::fs::access(path, Access::EXEC_OK).is_ok()
    };
    if name.contains('/') {
        return is_one(Path::new(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path).any(|folder| is_one(&folder.join(name)))
}

/// Fills the places of one word, in one pass: what is put in is not looked at again.
fn filled(word: &str, places: &[(&str, &OsStr)], is_filled: &mut bool) -> OsString {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        match places.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                bytes.extend_from_slice(value.as_bytes());
                rest = &rest[name.len()..];
                *is_filled = true;
            }
            None => {
                bytes.push(b'{');
                rest = &rest[1..];
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    OsString::from_vec(bytes)
}

fn status(outcome: &Outcome) -> String {
    let status = outcome.status.map(|status| status.to_string());
    status.unwrap_or_default()
}

/// Which commands to run, and for how long each may.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) complete: Option<Template>,
    pub(super) error: Option<Template>,
    pub(super) limit: Option<Duration>,
}

/// A program to run.
struct Job {
    words: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    /// For messages.
    name: String,
}

/// Runs them, a few at once.
pub(super) struct Hooks {
    wanted: Wanted,
    jobs: Queue<Job>,
    runners: Mutex<Vec<Greenlet<()>>>,
    failed: Arc<AtomicU64>,
    /// Some were not run.
    has_dropped: AtomicBool,
}

impl Hooks {
    /// Nothing runs before a download ends.
    pub(super) fn start(wanted: Wanted, printer: &Arc<Printer>) -> Result<Self> {
        let jobs: Queue<Job> = Queue::unbounded();
        let failed = Arc::new(AtomicU64::new(0));
        let count = match (&wanted.complete, &wanted.error) {
            (None, None) => 0,
            _ => AT_ONCE,
        };
        let runners = (0..count).map(|_| {
            let (jobs, printer, failed) = (jobs.clone(), printer.clone(), failed.clone());
            let limit = wanted.limit;
            crate::try_spawn(move || {
                while let Ok(job) = jobs.get() {
                    if let Err(error) = run(&job, limit) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        let text = util::defuse(&error.to_string());
                        let line = format!("error: {}: {text}\n", job.name);
                        printer.say(|voice| voice.to(To::Error).push_str(&line));
                    }
                }
            })
        });
        let runners = runners.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            wanted,
            jobs,
            runners: Mutex::new(runners),
            failed,
            has_dropped: AtomicBool::new(false),
        })
    }

    /// Takes the end of a download.
    pub(super) fn ended(&self, outcome: &Outcome) {
        let template = match outcome.failure() {
            None => &self.wanted.complete,
            Some(_) => &self.wanted.error,
        };
        let Some(template) = template else {
            return;
        };
        let job = Job {
            words: template.fill(outcome),
            env: env(outcome),
            name: format!("the hook for {}", lines::name(outcome)),
        };
        if self.jobs.try_put(job).is_err() {
            self.has_dropped.store(true, Ordering::Relaxed);
        }
    }

    /// Tells whether so many wait that those who make more may wait, too.
    pub(super) fn is_full(&self) -> bool {
        self.jobs.len() > WAITING_MAX
    }

    /// Starts no more of them: those that wait are forgotten.
    pub(super) fn stop(&self) {
        if !self.jobs.close_now().is_empty() {
            self.has_dropped.store(true, Ordering::Relaxed);
        }
    }

    /// Waits for those that run or wait; how many failed of all, and whether some were not
    /// run.
    pub(super) fn finish(&self) -> (u64, bool) {
        self.jobs.close();
        let runners = std::mem::take(&mut *lock(&self.runners));
        for runner in runners {
            if let Err(error) = runner.join() {
                log::error!("running hooks: {error}");
            }
        }
        let dropped = self.has_dropped.load(Ordering::Relaxed);
        (self.failed.load(Ordering::Relaxed), dropped)
    }
}

fn env(outcome: &Outcome) -> Vec<(&'static str, OsString)> {
    let path = outcome.path.clone().unwrap_or_default();
    let error = outcome.failure().map(ToString::to_string);
    vec![
        ("GREENLOOP_ID", outcome.id.to_string().into()),
        ("GREENLOOP_URL", outcome.url.clone().into()),
        ("GREENLOOP_PATH", path.into()),
        ("GREENLOOP_BYTES", outcome.bytes.to_string().into()),
        ("GREENLOOP_STATUS", status(outcome).into()),
        ("GREENLOOP_ERROR", error.unwrap_or_default().into()),
    ]
}

/// Runs one to its end; our own output may be what somebody parses, so both of its outputs
/// are our standard error.
fn run(job: &Job, limit: Option<Duration>) -> Result<()> {
    let (program, arguments) = job.words.split_first().expect("a program was named");
    let name = || util::escape(program.as_bytes());
    let stderr = || io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
    let mut child = Command::new(program)
        .args(arguments)
        .envs(job.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(stderr()?)
        .stderr(stderr()?)
        .kill_on_drop(true)
        .spawn()?;
    let ended = match limit {
        None => Some(child.wait()?),
        Some(limit) => child.wait_timeout(limit)?,
    };
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Error::message(format!("{}: {status}", name()))),
        None => {
            child.kill()?;
            let limit = limit.unwrap_or_default();
            Err(Error::message(format!(
                "{}: killed after {limit:?}",
                name()
            )))
        }
    }
}

/// What the command line says of hooks is right, or why it is not.
pub(super) fn template(text: Option<&str>, option: &str) -> Result<Option<Template>, Failure> {
    let read = |text| -> Result<Template, String> {
        let template = Template::parse(text)?;
        template.look_for_program()?;
        Ok(template)
    };
    let template = text.map(read).transpose();
    template.map_err(|why| Failure::usage(format_args!("{option}: {why}")))
}

/// Programs are heavier than downloads.
const AT_ONCE: usize = 4;
const WAITING_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::{Downloader, End};

    fn outcome() -> Outcome {
        let report = Downloader::new().discard().run(["no url"]);
        let mut outcome = report.map(|report| report.outcomes[0].clone()).unwrap();
        (outcome.id, outcome.bytes, outcome.status) = (7, 42, Some(200));
        outcome.url = "http://h/{bytes}".into();
        outcome.path = Some("dir/{url} $(x)".into());
        outcome.end = End::Saved;
        outcome
    }

    fn words(command: &str) -> Vec<String> {
        let words = Template::parse(command).unwrap().fill(&outcome());
        let words = words.into_iter().map(|word| word.into_string().unwrap());
        words.collect()
    }

    #[test]
    fn places_are_filled_once_and_stay_one_argument() {
        let filled = words("mv -n '{path}' x/{id}-{bytes}.{status}");
        assert_eq!(filled, ["mv", "-n", "dir/{url} $(x)", "x/7-42.200"]);
        assert_eq!(
            words("log { who } {} ${who} {a,b}"),
            [
                "log",
                "{",
                "who",
                "}",
                "{}",
                "${who}",
                "{a,b}",
                "dir/{url} $(x)"
            ]
        );
        assert_eq!(words("echo {url}{"), ["echo", "http://h/{bytes}{"]);
        assert_eq!(words("a 'b c'\\ d"), ["a", "b c d", "dir/{url} $(x)"]);
    }

    #[test]
    fn commands_that_are_none_are_refused() {
        assert!(Template::parse("a 'b").is_err());
        assert!(Template::parse("  ").is_err());
        for (command, place) in [("a {who}", "{who}"), ("a b{path}{PATH}", "{PATH}")] {
            let why = Template::parse(command).unwrap_err();
            assert!(why.starts_with(place), "{why}");
        }
    }

    #[test]
    fn programs_are_looked_for_before_they_are_needed() {
        for (command, is_there) in [
            ("sh -c true", true),
            ("/bin/sh", true),
            ("{path} x", true),
            ("no-such-program-here", false),
            ("/etc/passwd", false),
            ("/bin", false),
            ("./sh", false),
        ] {
            let template = Template::parse(command).unwrap();
            assert_eq!(template.look_for_program().is_ok(), is_there, "{command}");
        }
    }
}
