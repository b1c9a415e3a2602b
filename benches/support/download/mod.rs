//! Parts of the bench of downloads: the origin, the clients, what is measured and how.

pub(crate) mod clients;
pub(crate) mod files;
pub(crate) mod measure;
pub(crate) mod origin;

use std::env;
use std::path::PathBuf;

/// What the command line asks for.
pub(crate) struct Options {
    /// One tiny round of each row, which only proves that it runs.
    pub(crate) quick: bool,
    /// No peers: for profiles and for quick looks.
    pub(crate) ours_only: bool,
    /// Rounds of each row, instead of the row's own number.
    pub(crate) rounds: Option<usize>,
    /// Where the rows of the real disk write.
    pub(crate) disk: PathBuf,
    /// The program that is measured as ours.
    pub(crate) greenloop: PathBuf,
    /// More arguments for it.
    pub(crate) flags: Vec<String>,
    /// Parts of the names of the rows that are wanted; none means all.
    words: Vec<String>,
}

impl Options {
    /// Reads the command line. `cargo bench` adds a `--bench` of its own.
    pub(crate) fn parse() -> Self {
        let mut options = Self {
            quick: false,
            ours_only: false,
            rounds: None,
            disk: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
            greenloop: PathBuf::from(env!("CARGO_BIN_EXE_greenloop")),
            flags: Vec::new(),
            words: Vec::new(),
        };
        let mut args = env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} takes a value"));
            match arg.as_str() {
                "--bench" => {}
                "--quick" => options.quick = true,
                "--ours-only" => options.ours_only = true,
                "--rounds" => options.rounds = Some(value().parse().expect("a number")),
                "--disk" => options.disk = value().into(),
                "--greenloop" => options.greenloop = value().into(),
                "--flags" => options.flags = value().split(' ').map(str::to_owned).collect(),
                _ => {
                    assert!(!arg.starts_with("--"), "{arg}: {USAGE}");
                    options.words.push(arg);
                }
            }
        }
        options
    }

    pub(crate) fn wants(&self, row: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| row.contains(word))
    }
}

const USAGE: &str = "known are --quick, --ours-only, --rounds N, --disk DIR, --greenloop PROGRAM, \
                     --flags \"FLAGS OF GET\", and parts of names of rows";
