//! `greenloop serve echo --model`: the tutorials' models of concurrency.

use super::ServerArgs;
use crate::apps::models::{Model, Served, Settings, Stop, serve_standard_input};
use crate::cli::units::show_count;
use crate::cli::{EXIT_FAILURE, Failure, Outcome, out};
use crate::error::{Error, Result};
use crate::net::{Address, Endpoint};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::thread;

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// How clients are served side by side; all but coroutine are plain programs for comparison,
    /// without time limits
    #[arg(long, value_enum, value_name = "MODEL", default_value = "coroutine")]
    model: ModelArg,

    /// Serve the one connection that is standard input: a child of the process model
    #[arg(long, hide = true)]
    standard_input: bool,

    /// End when the process ends that has started this one
    #[arg(long, hide = true)]
    with_parent: bool,
}

/// All models, in the order of the tutorials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelArg {
    /// One client after the other
    Blocking,
    /// A process per client
    Process,
    /// A thread per client
    Thread,
    /// One thread that asks every socket in turn
    Nonblocking,
    /// One thread in select, a buffer per client
    Select,
    /// One thread in select, a message queue per client
    SelectQueue,
    /// One thread in epoll, edge-triggered
    Epoll,
    /// A greenlet per client
    Coroutine,
}

impl ModelArg {
    /// The plain program; `None` is the real server.
    pub(crate) fn plain(self) -> Option<Model> {
        Some(match self {
            Self::Blocking => Model::Blocking,
            Self::Process => Model::Process,
            Self::Thread => Model::Thread,
            Self::Nonblocking => Model::Nonblocking,
            Self::Select => Model::Select,
            Self::SelectQueue => Model::SelectQueue,
            Self::Epoll => Model::Epoll,
            Self::Coroutine => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        self.plain().map_or("coroutine", Model::name)
    }
}

/// Which of the options that make no sense with every model are on the command line.
///
/// To be flattened before their owners, which take them away.
#[derive(Debug, Default)]
pub(crate) struct Given(Vec<&'static str>);

/// Argument and option.
const NOT_FOR_ALL: [(&str, &str); 6] = [
    ("workers", "--workers"),
    ("idle_timeout", "--idle-timeout"),
    ("write_timeout", "--write-timeout"),
    ("drain", "--drain"),
    ("log_data", "--log-data"),
    ("max_connections", MAX_CONNECTIONS),
];
const MAX_CONNECTIONS: &str = "--max-connections";

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> clap::error::Result<Self> {
        let is_given = |id: &str| match matches.try_contains_id(id) {
            Ok(_) => matches.value_source(id) == Some(ValueSource::CommandLine),
            Err(_) => false,
        };
        let given = NOT_FOR_ALL.iter().filter(|(id, _)| is_given(id));
        Ok(Self(given.map(|(_, option)| *option).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> clap::error::Result<()> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

/// Serves as `args` ask for, if that is not the coroutine server's work.
pub(super) fn run(args: &ModelArgs, given: &Given, server: &ServerArgs) -> Option<Outcome> {
    if args.with_parent
        && let Err(error) = set_parent_process_death_signal(Some(Signal::TERM))
    {
        return Some(Err(Error::from(io::Error::from(error)).into()));
    }
    if args.standard_input {
        return Some(serve_standard_input().map_err(|error| match error.kind() {
            // The parent counts it; a client that leaves so is no news.
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Failure::Silent(EXIT_FAILURE),
            _ => Error::from(error).context("standard input").into(),
        }));
    }
    let model = args.model.plain()?;
    Some(check(model, given, server).and_then(|address| serve(model, address, server)))
}

/// The address to listen on, if the options make sense with the model.
fn check<'a>(model: Model, given: &Given, server: &'a ServerArgs) -> Result<&'a Address, Failure> {
    let usage =
        |text: String| Failure::usage(format_args!("{text} (see greenloop serve echo --help)"));
    for option in &given.0 {
        match *option {
            MAX_CONNECTIONS if model != Model::Blocking => {}
            MAX_CONNECTIONS => {
                let text =
                    format!("{option} cannot be used with --model {model}, which serves one");
                return Err(usage(text));
            }
            _ => {
                let text = format!("{option} cannot be used with --model {model}");
                return Err(usage(text));
            }
        }
    }
    match &server.common.listen[..] {
        [Endpoint::Tcp(address)] => Ok(address),
        _ => Err(usage(format!("--model {model} listens on one TCP address"))),
    }
}

/// Serves until a signal. No part of the runtime is started: what is seen of the process is
/// the model's.
fn serve(model: Model, address: &Address, server: &ServerArgs) -> Outcome {
    let fail = |error: io::Error| {
        let error = Error::from(error).context(format!("model {model}"));
        Failure::from(error)
    };
    let listener = bind(address)?;
    let bound = listener.local_addr().map_err(fail)?;
    let settings = Settings {
        stop: Stop::new().map_err(fail)?,
        max_connections: server.max_connections.map(NonZeroUsize::get),
        child: own_child().map_err(fail)?,
    };
    // Before the line that others wait for: who reads it may send a signal at once.
    stop_on_signals(&settings.stop).map_err(fail)?;
    out::line_or_nothing(format_args!("listening on {bound}"));
    let served = model.serve(listener, &settings).map_err(fail)?;
    out::line_or_nothing(summary(&served));
    Ok(())
}

fn summary(served: &Served) -> String {
    format!(
        "served {} connections: {} finished, {} failed, {} cut off; {} sent away; \
         {} at once at most",
        show_count(served.accepted),
        show_count(served.finished()),
        show_count(served.failed),
        show_count(served.cut),
        show_count(served.refused),
        show_count(served.open_max as u64),
    )
}

/// What the process model starts for each client.
fn own_child() -> io::Result<Vec<std::ffi::OsString>> {
    let program = std::env::current_exe()?.into_os_string();
    let args = ["serve", "echo", "--standard-input"];
    Ok([program].into_iter().chain(args.map(Into::into)).collect())
}

/// The first signal stops the model. There is no second one to wait for: the stop waits for
/// nobody.
fn stop_on_signals(stop: &Stop) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let stop = stop.clone();
    let wait = move || {
        if signals.forever().next().is_some() {
            stop.ask();
        }
    };
    let thread = thread::Builder::new().name(SIGNAL_THREAD.into());
    thread.spawn(wait).map(drop)
}

/// The thread that waits for signals: it is the command's and not the model's.
pub(crate) const SIGNAL_THREAD: &str = "greenloop-stop";

/// Binds a socket of std.
#[expect(
    clippy::disallowed_methods,
    reason = "the models block, and no greenlet is there to be blocked"
)]
fn bind(address: &Address) -> Result<TcpListener> {
    let addrs: Vec<SocketAddr> = match address.host() {
        Some(host) => (host.as_str(), address.port())
            .to_socket_addrs()
            .map_err(|e| Error::from(e).context(format!("resolving {host}")))?
            .collect(),
        // The first takes both families, where the system has two.
        None => vec![
            (Ipv6Addr::UNSPECIFIED, address.port()).into(),
            (Ipv4Addr::UNSPECIFIED, address.port()).into(),
        ],
    };
    let listen = || {
        let listener = TcpListener::bind(&addrs[..])?;
        // Std's queue is short: of a thousand clients at once most would wait a second.
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    };
    listen().map_err(|e: io::Error| Error::from(e).context(format!("listening on {address}")))
}

/// As the coroutine server.
const BACKLOG: i32 = 1024;
