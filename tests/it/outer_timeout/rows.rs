//! The calls that may wait: what to wait on, the call, and what must hold afterwards.
//!
//! One row for each public function whose documentation says that it may switch:
//! `row("Type::function", || a thing it waits on for ever, |thing| the call, |thing| checks)`.
//! Calls that wait on the same thing stand together:
//! `Rows::on("Type", || a thing, |thing| checks).call("function", |thing| the call)`.
//! A call with a limit of its own gets `LONG`.

mod datagrams;
mod files;
mod groups;
mod locks;
mod meeting;
mod net;
mod programs;
mod queues;
mod runtime;
mod servers;
mod tftp;
mod unix;

use std::time::Duration;

use greenloop::sync::Waitable;
use greenloop::{Deadline, Error, wait_all, wait_any};

pub(super) use datagrams::datagrams;
pub(super) use files::files;
pub(super) use groups::{groups, lanes};
pub(super) use locks::locks;
pub(super) use meeting::meeting;
pub(super) use net::net;
pub(super) use programs::{input_rows, programs, standard_input};
pub(super) use queues::queues;
pub(super) use runtime::runtime;
pub(super) use servers::servers;
pub(super) use tftp::tftp;
pub(super) use unix::unix;

use super::{LONG, Row, row, row_of};

/// Every row.
pub(super) fn all() -> Vec<Row> {
    let themes = [
        runtime, lanes, locks, meeting, queues, groups, net, unix, datagrams, files, programs,
        input_rows, servers, tftp, tftp,
    ];
    themes.iter().flat_map(|theme| theme()).collect()
}

/// For the call's own limit.
fn later() -> Deadline {
    Deadline::after(LONG)
}

/// For what has to happen, on any machine.
fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// The rows of calls that wait on the same thing.
struct Rows<S> {
    of: &'static str,
    make: fn() -> S,
    after: fn(&mut S),
    rows: Vec<Row>,
}

impl<S: Send + 'static> Rows<S> {
    /// Calls of the type `of`, or free functions if that is empty; what follows it after a space tells its rows from others.
    fn on(of: &'static str, make: fn() -> S, after: fn(&mut S)) -> Self {
        let rows = Vec::new();
        Self {
            of,
            make,
            after,
            rows,
        }
    }

    fn call<T: 'static, E: Into<Error> + 'static>(
        mut self,
        function: &str,
        call: fn(&mut S) -> Result<T, E>,
    ) -> Self {
        let (of, kind) = self.of.split_once(' ').unwrap_or((self.of, ""));
        let name = match of {
            "" => function.to_owned(),
            _ => format!("{of}::{function} {kind}"),
        };
        self.rows.push(row_of(name, self.make, call, self.after));
        self
    }

    /// And the calls that wait for several things, with this one alone.
    fn waitable(mut self, thing: fn(&S) -> &dyn Waitable) -> Self {
        let any = move |state: &mut S| wait_any(&[thing(state)]);
        let all = move |state: &mut S| wait_all(&[thing(state)]);
        let name = |function| format!("{function} {}", self.of);
        let any = row_of(name("wait_any"), self.make, any, self.after);
        let all = row_of(name("wait_all"), self.make, all, self.after);
        self.rows.extend([any, all]);
        self
    }
}
