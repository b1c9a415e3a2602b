//! `greenloop get` beside `curl --parallel`, wget2 and aria2c, in one run.
//!
//! `cargo bench --bench download` (`-- --quick` for one tiny round of each row, which only
//! proves that it runs; words choose rows by parts of their names). A private nginx serves
//! from memory; every client downloads into a fresh folder, in memory or on the disk, and
//! every file is compared afterwards. Rounds are interleaved; medians are printed. CPU is
//! the client's, user and system; RSS is its peak. Pages that a client leaves dirty are
//! written back before the next one begins, and are not counted.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::exit,
    reason = "a bench prints, measures other programs, and its servers are threads"
)]

#[path = "support/download/mod.rs"]
mod parts;
mod support;

use parts::Options;
use parts::clients::{Client, How, clients};
use parts::files::{Files, Work};
use parts::measure::{Cost, measure};
use parts::origin::{Origin, Route};
use std::fs::{self, File};
use std::path::Path;
use support::{median, my_role, table::machine};

/// Small files of the full run.
const SMALL_FILES: usize = 5000;

/// One comparison.
struct Row {
    name: &'static str,
    full: Files,
    quick: Files,
    how: How,
    route: Route,
    on_disk: bool,
    rounds: usize,
    /// What ours may take at its peak, in MiB.
    mib_max: f64,
    /// How long ours may take to the first file, where that is asked.
    first_max: Option<f64>,
}

const SMALL: Row = Row {
    name: "small-memory",
    full: Files::Small(SMALL_FILES),
    quick: Files::Small(200),
    how: How::AtOnce(64),
    route: Route::Plain,
    on_disk: false,
    rounds: 7,
    mib_max: 40.0,
    first_max: None,
};

const BIG: Row = Row {
    name: "big-memory",
    full: Files::Big(8, 256),
    quick: Files::Big(8, 2),
    how: How::AtOnce(8),
    rounds: 5,
    ..SMALL
};

const ROWS: &[Row] = &[
    SMALL,
    Row {
        name: "small-disk",
        on_disk: true,
        ..SMALL
    },
    Row {
        name: "small-latency",
        route: Route::Slow,
        rounds: 5,
        ..SMALL
    },
    BIG,
    Row {
        name: "big-disk",
        on_disk: true,
        rounds: 3,
        ..BIG
    },
    Row {
        name: "big-latency",
        route: Route::Slow,
        ..BIG
    },
    Row {
        name: "capped",
        full: Files::Big(1, 256),
        quick: Files::Big(1, 8),
        how: How::Pieces(8),
        route: Route::Capped,
        rounds: 3,
        ..BIG
    },
    Row {
        name: "list",
        full: Files::List(100_000),
        quick: Files::List(1000),
        route: Route::Many,
        rounds: 3,
        mib_max: 25.0,
        first_max: Some(0.1),
        ..SMALL
    },
];

fn main() {
    match my_role().as_deref() {
        Some(parts::measure::RUNNER) => return parts::measure::run(),
        Some(parts::origin::MINIHTTP) => return parts::origin::serve_minihttp(),
        Some(parts::origin::DELAY) => return parts::origin::serve_delay(),
        _ => {}
    }
    let options = Options::parse();
    println!("{}", machine());
    let work = Work::new();
    let origin = Origin::start(&work.folder);
    let clients = clients(&options);
    let wanted = ROWS.iter().filter(|row| options.wants(row.name));
    // All rows are run before a failure of ours is one of the bench.
    let failed = wanted
        .filter(|row| !row.run(&options, &work, &origin, &clients))
        .count();
    // Not by exit alone, which would leave the server and the files.
    drop((origin, work));
    if failed > 0 {
        std::process::exit(1);
    }
}

impl Row {
    /// Measures and prints; false if ours failed.
    fn run(&self, options: &Options, work: &Work, origin: &Origin, clients: &[Client]) -> bool {
        let files = if options.quick { self.quick } else { self.full };
        let rounds = options.rounds.unwrap_or(self.rounds);
        let rounds = if options.quick { 1 } else { rounds };
        let place = if self.on_disk {
            &options.disk
        } else {
            &work.folder
        };
        fs::create_dir_all(place).expect("it can be written to");
        if !origin.has(self.route, matches!(files, Files::Small(_))) {
            println!(
                "\nSKIPPED: {}: {} cannot serve it",
                self.name,
                origin.name()
            );
            return true;
        }
        if !work.has_room(place, files) {
            return true;
        }
        println!(
            "\n{}: {}, {:?}, from {} into {}, medians of {rounds}",
            self.name,
            files.describe(),
            self.how,
            origin.name(),
            place.display(),
        );
        work.make(files);
        let list = work.list(origin, self.route, files);
        let mut costs: Vec<Result<Vec<Cost>, String>> = vec![Ok(Vec::new()); clients.len()];
        for round in 0..rounds {
            for turn in 0..clients.len() {
                let which = (round + turn) % clients.len();
                let into = Target::new(place);
                let command = clients[which].command(options, self.how, &list, &into.0);
                let cost = measure(&command, &into.0)
                    .and_then(|cost| work.verify(files, &into.0).map(|()| cost));
                match (&mut costs[which], cost) {
                    (Ok(costs), Ok(cost)) => costs.push(cost),
                    (place, Err(failure)) => *place = Err(failure),
                    (Err(_), Ok(_)) => {}
                }
            }
        }
        self.print(clients, &costs)
    }

    fn print(&self, clients: &[Client], costs: &[Result<Vec<Cost>, String>]) -> bool {
        println!(
            "  {:<10}{:>9}{:>9}{:>9}{:>9}{:>9}    ours to it: time, CPU",
            "", "time s", "least", "CPU s", "RSS MiB", "first s"
        );
        let medians: Vec<_> = costs
            .iter()
            .map(|costs| costs.as_ref().ok().map(|costs| Medians::of(costs)))
            .collect();
        let ours = &medians[0];
        for ((client, costs), medians) in clients.iter().zip(costs).zip(&medians) {
            let Some(it) = medians else {
                let why = costs.as_ref().err().map_or("", String::as_str);
                println!("  {:<10} FAILED: {why}", client.name);
                continue;
            };
            print!(
                "  {:<10}{:>9.3}{:>9.3}{:>9.2}{:>9.1}{:>9.3}",
                client.name, it.seconds, it.least, it.cpu, it.mib, it.first
            );
            match ours {
                Some(ours) if !client.is_ours() => println!(
                    "    {:>16.2}{:>6.2}",
                    ours.seconds / it.seconds,
                    ours.cpu / it.cpu.max(0.001)
                ),
                _ => println!(),
            }
        }
        let Some(ours) = ours else {
            return false;
        };
        self.judge(ours, clients, &medians);
        true
    }

    /// Says which aims are met.
    fn judge(&self, ours: &Medians, clients: &[Client], medians: &[Option<Medians>]) {
        let mut aims = vec![aim("RSS MiB", ours.mib, self.mib_max)];
        if let Some(limit) = self.first_max {
            aims.push(aim("first file s", ours.first, limit));
        }
        let peers = clients.iter().zip(medians).skip(1);
        let peers: Vec<_> = peers
            .filter_map(|(client, medians)| Some((client.name, medians.as_ref()?)))
            .collect();
        if let Some((_, curl)) = peers.iter().find(|(name, _)| *name == "curl") {
            aims.push(aim("time to curl", ours.seconds / curl.seconds, 0.8));
            aims.push(aim("CPU to curl", ours.cpu / curl.cpu.max(0.001), 1.0));
        }
        let best = peers
            .iter()
            .min_by(|(_, a), (_, b)| a.seconds.total_cmp(&b.seconds));
        if let Some((name, best)) = best {
            let what = format!("time to the best ({name})");
            aims.push(aim(&what, ours.seconds / best.seconds, 1.0));
        }
        println!("  {}", aims.join("; "));
    }
}

fn aim(what: &str, is: f64, at_most: f64) -> String {
    let verdict = if is <= at_most { "ok" } else { "OVER" };
    format!("{what} {is:.2} of {at_most:.2}: {verdict}")
}

struct Medians {
    seconds: f64,
    least: f64,
    cpu: f64,
    mib: f64,
    first: f64,
}

impl Medians {
    fn of(costs: &[Cost]) -> Self {
        let of = |part: fn(&Cost) -> f64| median(costs.iter().map(part).collect());
        Self {
            seconds: of(|cost| cost.seconds),
            least: costs.iter().map(|c| c.seconds).fold(f64::MAX, f64::min),
            cpu: of(|cost| cost.cpu),
            mib: of(|cost| cost.mib),
            first: of(|cost| cost.first),
        }
    }
}

/// A fresh folder to download into, removed at the end.
struct Target(std::path::PathBuf);

impl Target {
    fn new(place: &Path) -> Self {
        let path = place.join(format!("greenloop-into-{}", std::process::id()));
        fs::create_dir(&path).expect("the last one was removed");
        // What the last client left to be written would slow this one down.
        let folder = File::open(&path).expect("it is there");
        rustix::fs::syncfs(&folder).expect("it is a folder");
        Self(path)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
