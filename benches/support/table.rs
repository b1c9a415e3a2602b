//! A table of costs: a row per cost, ours first, then what others take for the same.

use std::collections::HashMap;
use std::env;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use super::{ROLE, is_quick};

/// The time of one of `count` runs of something, in nanoseconds.
pub(crate) type Cost = fn(count: u32) -> f64;

/// What a row compares; `None` where there is no counterpart.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// How often it is run; OS threads, which are slow, run a tenth of it.
    pub(crate) count: u32,
    pub(crate) ours: Cost,
    pub(crate) may: Option<Cost>,
    pub(crate) tokio: Option<Cost>,
    pub(crate) threads: Option<Cost>,
}

pub(crate) struct Table {
    /// gevent's costs by the rows' names.
    gevent: HashMap<String, f64>,
}

/// Rounds of all columns in turn. The least of them is shown: what others take from a
/// shared machine only ever adds.
const ROUNDS: usize = 7;

impl Table {
    /// A table for a process with so many workers. gevent has one thread: it is only
    /// asked where we have one as well.
    pub(crate) fn new(part: &str, workers: usize) -> Self {
        let gevent = if workers == 1 {
            gevent(part, &[])
        } else {
            HashMap::new()
        };
        println!(
            "\nworkers {workers}; ns for one, and the ratio of greenloop's to it\n{:<26}{:>10}{}",
            "",
            "greenloop",
            ["may", "tokio", "threads", "gevent"]
                .map(|name| format!("{name:>16}"))
                .concat(),
        );
        Self { gevent }
    }

    /// Measures a row and prints it, if it is asked for: `cargo bench --bench NAME -- WORDS`.
    pub(crate) fn row(&self, row: &Row) {
        let wanted = env::args().skip(1).filter(|arg| !arg.starts_with("--"));
        if !wanted.into_iter().all(|words| row.name.contains(&words)) {
            return;
        }
        let (rounds, count) = if is_quick() {
            (1, (row.count / 100).max(1))
        } else {
            (ROUNDS, row.count)
        };
        let mut least = [f64::INFINITY; 4];
        for _ in 0..rounds {
            let turns = [Some(row.ours), row.may, row.tokio, row.threads];
            for (place, cost) in turns.into_iter().enumerate() {
                let count = if place == 3 {
                    (count / 10).max(1)
                } else {
                    count
                };
                if let Some(cost) = cost {
                    least[place] = least[place].min(cost(count));
                }
            }
        }
        let [ours, floors @ ..] = least;
        let gevent = self.gevent.get(row.name).copied();
        let floors = floors.into_iter().chain([gevent.unwrap_or(f64::INFINITY)]);
        let floors: Vec<_> = floors.map(|theirs| against(ours, theirs)).collect();
        println!("{:<26}{ours:>10.0}{}", row.name, floors.concat());
    }
}

/// A floor and our ratio to it, or nothing if it was not measured.
pub(crate) fn against(ours: f64, theirs: f64) -> String {
    if theirs.is_finite() {
        format!("{theirs:>9.0} {:>6}", format!("({:.2})", ours / theirs))
    } else {
        format!("{:>16}", "-")
    }
}

/// The time of one of `count` runs of what `f` runs `count` times.
pub(crate) fn each(count: u32, f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

/// Runs this bench's binary again as `role`, with the same arguments and output.
pub(crate) fn start_role(role: &str) {
    let status = Command::new(env::current_exe().expect("it runs"))
        .args(env::args_os().skip(1))
        .env(ROLE, role)
        .status()
        .expect("the system has processes");
    assert!(status.success(), "role {role} ended with {status}");
}

/// What the figures were taken on.
pub(crate) fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split(": ").nth(1))
        .unwrap_or("unknown");
    format!(
        "machine: {} cores of {model}, Linux {}, load {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
    )
}

/// The tokio runtime that floors run on, with as many workers as ours.
pub(crate) fn tokio_runtime(workers: usize) -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_time()
            .build()
            .expect("the system has threads")
    })
}

/// Runs `f` in a task of the runtime that [`tokio_runtime`] has made.
pub(crate) fn in_tokio<T: Send + 'static>(f: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio_runtime(1);
    runtime
        .block_on(runtime.spawn(f))
        .expect("it does not panic")
}

/// Runs `f` in a bare coroutine of the engine.
pub(crate) fn in_may<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    may::go!(f).join().expect("it does not panic")
}

/// Asks gevent for the figures of `part`, by name; none, loudly, if it is not installed.
///
/// The interpreter is `GREENLOOP_BENCH_PYTHON`, else `python3`.
pub(crate) fn gevent(part: &str, more: &[String]) -> HashMap<String, f64> {
    let python = env::var_os("GREENLOOP_BENCH_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python)
        .args(["-c", include_str!("gevent_costs.py"), part])
        .arg(if is_quick() { "100" } else { "1" })
        .args(more)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let text = match output {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout),
        _ => {
            println!("SKIPPED: gevent, which python3 (or GREENLOOP_BENCH_PYTHON) cannot import");
            return HashMap::new();
        }
    };
    let text = text.expect("it prints ASCII");
    text.lines()
        .filter_map(|line| line.rsplit_once('='))
        .map(|(name, nanos)| (name.to_owned(), nanos.parse().expect("a number")))
        .collect()
}
