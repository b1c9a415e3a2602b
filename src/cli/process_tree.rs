//! What a process and its descendants take, as the kernel tells it under `/proc`.

use std::fs;

/// The size of a tree of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeSize {
    pub(crate) processes: usize,
    pub(crate) threads: usize,
    /// Memory that is there; what several processes share is divided among them (PSS), so
    /// that the program's own text does not count for each of them.
    pub(crate) memory_bytes: u64,
}

impl TreeSize {
    /// The process of that number and all below it, as they are now. One that ends meanwhile
    /// may be missed.
    ///
    /// A thread of a name in `beside` is not counted.
    pub(crate) fn of(pid: u32, beside: &str) -> Self {
        let mut size = Self::default();
        let mut left = vec![pid];
        while let Some(pid) = left.pop() {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
                continue;
            };
            size.processes += 1;
            size.memory_bytes += memory_bytes(pid);
            for task in tasks.flatten().map(|entry| entry.path()) {
                let read = |name| fs::read_to_string(task.join(name)).unwrap_or_default();
                size.threads += usize::from(read("comm").trim_end() != beside);
                let children = read("children");
                left.extend(children.split_whitespace().flat_map(str::parse::<u32>));
            }
        }
        size
    }

    /// The larger one in each respect.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            processes: self.processes.max(other.processes),
            threads: self.threads.max(other.threads),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
        }
    }
}

/// Its share of memory; where the kernel does not divide, all that it has.
fn memory_bytes(pid: u32) -> u64 {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        kib(&text, name)
    };
    let kib = field("smaps_rollup", "Pss:").or_else(|| field("status", "VmRSS:"));
    kib.unwrap_or(0) * 1024
}

/// The number of a line such as `Pss:      1234 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn lines_of_proc_are_read() {
        let text = "Rss:  9 kB\nPss:     1234 kB\nPss_Dirty: 7 kB\n";
        assert_eq!(kib(text, "Pss:"), Some(1234));
        assert_eq!(kib(text, "VmRSS:"), None);
    }

    #[test]
    fn children_and_their_threads_are_counted() {
        let mut child = Command::new("sh")
            .args(["-c", "cat & cat; wait"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let size = || TreeSize::of(child.id(), "nothing");
        while size().processes < 2 {
            std::thread::yield_now();
        }
        let seen = size();
        assert!(seen.memory_bytes > 0 && seen.threads >= 2, "{seen:?}");
        let none = TreeSize::of(child.id(), "sh");
        assert!(none.threads < seen.threads, "{none:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
        let gone = TreeSize::of(child.id(), "");
        assert_eq!(gone, TreeSize::default());
        assert_eq!(gone.max(seen), seen);
    }
}
