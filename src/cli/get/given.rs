//! The URLs on the command line.

use crate::cli::Failure;
use crate::cli::args::GetArgs;
use crate::fetch::{Checksum, Entry, Glob};
use std::path::{Path, absolute};

/// What the command line says is to be fetched, looked at before anything is.
#[derive(Debug)]
pub(super) struct Given {
    urls: Vec<Url>,
    /// What they are saved as.
    out: Option<String>,
    /// What the one URL's file must hash to.
    sums: Vec<Checksum>,
}

#[derive(Debug)]
enum Url {
    One(Entry),
    Many(Glob),
}

impl Given {
    /// Reads and checks what only the whole command line can tell.
    pub(super) fn check(args: &GetArgs) -> Result<Self, Failure> {
        let (input, out) = (&args.input, &args.naming.out);
        let by_list = args.verify.verify && !args.verify.check.is_empty();
        if input.urls.is_empty() && input.input_file.is_empty() && !by_list {
            return Err(Failure::usage(
                "no URL: give one, or a list with --input-file FILE",
            ));
        }
        if out.is_some() && (input.urls.len() != 1 || !input.input_file.is_empty()) {
            return Err(Failure::usage(
                "--out names one file, and there is not exactly one URL",
            ));
        }
        check_outputs(args)?;
        let urls = input
            .urls
            .iter()
            .map(|url| Url::read(url, input.glob))
            .collect::<Result<Vec<_>, _>>()?;
        if let ([Url::Many(glob)], Some(out)) = (&urls[..], out) {
            check_out(glob, out)?;
        }
        let sums = args.verify.checksum.clone();
        if !sums.is_empty() && (count(&urls) != 1 || !input.input_file.is_empty()) {
            return Err(Failure::usage(
                "--checksum is about one file, and there is not exactly one URL",
            ));
        }
        Ok(Self {
            urls,
            out: out.clone(),
            sums,
        })
    }

    /// The entries, each made when it is asked for.
    pub(super) fn into_entries(self) -> impl Iterator<Item = Entry> {
        let (out, sums) = (self.out, self.sums);
        self.urls
            .into_iter()
            .flat_map(move |url| url.into_entries(out.clone()))
            .map(move |entry| sums.iter().cloned().fold(entry, Entry::checksum))
    }
}

impl Url {
    fn read(text: &str, globs: bool) -> Result<Self, Failure> {
        if globs {
            let glob = Glob::parse(text).map_err(|e| Failure::usage(e.to_string()))?;
            // Their scheme and host are of one form, mostly: a slip is told at once.
            if let Some(first) = glob.nth(0) {
                check_url(&Entry::from(first.text()))?;
            }
            return Ok(Self::Many(glob));
        }
        let entry = Entry::from(text);
        check_url(&entry)?;
        Ok(Self::One(entry))
    }

    fn into_entries(self, out: Option<String>) -> Box<dyn Iterator<Item = Entry>> {
        let glob = match self {
            Self::Many(glob) => glob,
            Self::One(entry) => {
                let entry = match out {
                    Some(out) => entry.out(out),
                    None => entry,
                };
                return Box::new(std::iter::once(entry));
            }
        };
        Box::new((0..).map_while(move |index| {
            let expansion = glob.nth(index)?;
            let entry = Entry::from(expansion.text());
            Some(match &out {
                Some(out) => entry.out(expansion.fill(out)),
                None => entry,
            })
        }))
    }
}

/// What is written is written to places of its own.
fn check_outputs(args: &GetArgs) -> Result<(), Failure> {
    let outputs = [
        ("--report", &args.watch.report),
        ("--save-session", &args.watch.save_session),
        ("--save-cookies", &args.network.login.save_cookies),
        ("--write-checksums", &args.verify.write_checksums),
        ("--log", &args.watch.log),
    ];
    let named = outputs.map(|(option, path)| path.as_ref().map(|path| (option, path)));
    let named: Vec<_> = named.into_iter().flatten().collect();
    for (n, (option, path)) in named.iter().enumerate() {
        let is_same = |other: &Path| absolute(other).ok() == absolute(path).ok();
        if let Some((other, _)) = named[..n].iter().find(|(_, other)| is_same(other)) {
            let path = path.display();
            return Err(Failure::usage(format_args!(
                "{other} and {option} both write {path}"
            )));
        }
    }
    Ok(())
}

/// How many URLs these stand for.
fn count(urls: &[Url]) -> u64 {
    let each = urls.iter().map(|url| match url {
        Url::One(_) => 1,
        Url::Many(glob) => glob.count(),
    });
    each.fold(0, u64::saturating_add)
}

fn check_url(entry: &Entry) -> Result<(), Failure> {
    match entry.url() {
        Ok(_) => Ok(()),
        Err(reason) => Err(Failure::usage(format_args!("\"{entry}\": {reason}"))),
    }
}

/// A name that is the same for all of a pattern's files is a slip.
fn check_out(glob: &Glob, out: &str) -> Result<(), Failure> {
    let same = |n: u64| glob.nth(n).map(|expansion| expansion.fill(out));
    if glob.count() > 1 && same(0) == same(glob.count() - 1) {
        let count = glob.count();
        return Err(Failure::usage(format_args!(
            "--out names one file, and the pattern stands for {count}: put #1 in it"
        )));
    }
    Ok(())
}
