//! A listener whose accept fails by a script.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::Result;
use crate::net::{Addr, ListenSocket, StreamSocket, TcpListener, TcpStream};
use crate::runtime::deadline::Deadline;
use crate::sync::Event;
use crate::util::lock;

/// The system's numbers for what accept(2) fails with.
pub mod errno {
    pub use libc::{
        EAGAIN, EBADF, ECONNABORTED, EHOSTUNREACH, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM,
        ENOTSOCK, EPERM, EPROTO,
    };
}

/// What the calls to accept give, one after the other; after its end, connections.
///
/// It is a handle on what it shares with its listener: keep a clone to see how far it is.
///
/// # Examples
///
/// See [`ScriptedListener`].
///
/// ```
/// use greenloop::testkit::{AcceptScript, errno};
///
/// // Out of descriptors, but the reserve helps; then all is well.
/// let script = AcceptScript::new().error(errno::EMFILE).connection().sheds();
/// assert_eq!(script.left(), 2);
/// ```
#[derive(Clone, Default)]
pub struct AcceptScript(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Set when the last step has been taken.
    done: Event,
}

#[derive(Default)]
struct State {
    steps: VecDeque<Step>,
    /// The last error that was given.
    last: i32,
    /// Whether a connection can be taken when descriptors have run out.
    sheds: bool,
}

#[derive(Clone, Copy)]
enum Step {
    Error(i32),
    Connection,
}

impl AcceptScript {
    /// A script without steps: every accept takes a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step: accept fails with the system's error number `errno` (see [`errno`]).
    ///
    /// No connection is taken; it waits in the system's queue.
    #[must_use]
    pub fn error(self, errno: i32) -> Self {
        self.push(Step::Error(errno))
    }

    /// Adds a step: accept waits for a connection and takes it.
    #[must_use]
    pub fn connection(self) -> Self {
        self.push(Step::Connection)
    }

    /// Lets a server that is out of descriptors take a connection with its reserve, only
    /// to close it. Without this it cannot: the shortage is another process'.
    #[must_use]
    pub fn sheds(self) -> Self {
        lock(&self.0.state).sheds = true;
        self
    }

    /// The number of steps that have not been taken yet.
    ///
    /// # Switching
    /// Never switches.
    pub fn left(&self) -> usize {
        lock(&self.0.state).steps.len()
    }

    /// Waits until all steps have been taken.
    ///
    /// # Switching
    /// May switch to other greenlets, unless all have been taken.
    ///
    /// # Errors
    /// Cancelled, when the greenlet was killed; timeout, when a
    /// [`Timeout`](crate::Timeout) passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpListener;
    /// use greenloop::testkit::{AcceptScript, ScriptedListener, errno};
    ///
    /// let script = AcceptScript::new().error(errno::ECONNABORTED);
    /// let mut listener = ScriptedListener::new(TcpListener::bind("127.0.0.1:0")?, script.clone());
    /// let accepting = greenloop::spawn(move || listener.accept().map(drop));
    /// script.wait_done()?; // the error was given
    /// assert!(accepting.join().unwrap().is_err());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_done(&self) -> Result<()> {
        if self.left() == 0 {
            return Ok(());
        }
        self.0.done.wait()
    }

    fn push(self, step: Step) -> Self {
        lock(&self.0.state).steps.push_back(step);
        self.0.done.clear();
        self
    }

    /// Takes the next step if it is an error. The step of a connection is taken when there
    /// is one ([`AcceptScript::pass`]).
    fn fail(&self) -> io::Result<()> {
        let mut state = lock(&self.0.state);
        let Some(Step::Error(errno)) = state.steps.front().copied() else {
            return Ok(());
        };
        state.last = errno;
        self.step(&mut state);
        Err(io::Error::from_raw_os_error(errno))
    }

    fn pass(&self) {
        self.step(&mut lock(&self.0.state));
    }

    fn step(&self, state: &mut State) {
        if state.steps.pop_front().is_some() && state.steps.is_empty() {
            self.0.done.set();
        }
    }
}

impl fmt::Debug for AcceptScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptScript")
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}

/// A [`TcpListener`] whose accept follows an [`AcceptScript`].
///
/// For accept loops of one's own; a `StreamServer` takes a script with `start_scripted`.
///
/// # Examples
///
/// A loop that has to survive a client that left while it waited:
///
/// ```
/// use greenloop::net::{TcpListener, TcpStream};
/// use greenloop::testkit::{AcceptScript, ScriptedListener, errno};
///
/// let script = AcceptScript::new().error(errno::ECONNABORTED).connection();
/// let mut listener = ScriptedListener::new(TcpListener::bind("127.0.0.1:0")?, script.clone());
/// let address = listener.local_addr()?;
/// let client = greenloop::spawn(move || TcpStream::connect(address).map(drop));
///
/// let mut errors = 0;
/// let (_stream, peer) = loop {
///     match listener.accept() {
///         Ok(accepted) => break accepted,
///         Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => errors += 1,
///         Err(error) => return Err(error.into()),
///     }
/// };
/// assert_eq!((errors, script.left()), (1, 0));
/// assert!(peer.ip().is_loopback());
/// client.join().unwrap()?;
/// # Ok::<(), greenloop::Error>(())
/// ```
///
pub struct ScriptedListener {
    listener: ListenSocket,
    script: AcceptScript,
}

impl ScriptedListener {
    /// Has `listener`'s accept follow `script`.
    pub fn new(listener: TcpListener, script: AcceptScript) -> Self {
        Self::over(listener.into(), script)
    }

    /// Like [`ScriptedListener::new`], for a socket of any family.
    pub(crate) fn over(listener: ListenSocket, script: AcceptScript) -> Self {
        Self { listener, script }
    }

    /// Gives the script's next error, or waits for a connection.
    ///
    /// # Switching
    /// May switch to other greenlets, unless it gives an error of the script.
    ///
    /// # Errors
    /// The script's; those of [`TcpListener::accept`], where the script's step stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::TcpListener;
    /// use greenloop::testkit::{AcceptScript, ScriptedListener, errno};
    ///
    /// let script = AcceptScript::new().error(errno::EMFILE);
    /// let mut listener = ScriptedListener::new(TcpListener::bind("127.0.0.1:0")?, script);
    /// let error = listener.accept().unwrap_err();
    /// assert_eq!(error.raw_os_error(), Some(errno::EMFILE));
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    #[track_caller]
    pub fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept_deadline(Deadline::NEVER)
    }

    /// Gives the script's next error, or waits for a connection until `limit`.
    ///
    /// # Switching
    /// May switch to other greenlets, unless it gives an error of the script.
    ///
    /// # Errors
    /// As [`ScriptedListener::accept`]; timeout also when `limit` passed.
    #[track_caller]
    pub fn accept_deadline(&mut self, limit: Deadline) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.accept_socket(limit)?;
        let peer = peer.ip().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((TcpStream::from_socket(stream), peer))
    }

    #[track_caller]
    pub(crate) fn accept_socket(&mut self, limit: Deadline) -> io::Result<(StreamSocket, Addr)> {
        self.script.fail()?;
        let accepted = self.listener.accept(limit)?;
        self.script.pass();
        Ok(accepted)
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let addr = self.listener.local_addr()?;
        Ok(addr.ip().ok_or(io::ErrorKind::InvalidInput)?)
    }

    /// Stops listening at once and frees the port; see [`TcpListener::close`].
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::net::{TcpListener, TcpStream};
    /// use greenloop::testkit::{AcceptScript, ScriptedListener};
    ///
    /// let listener = ScriptedListener::new(TcpListener::bind("127.0.0.1:0")?, AcceptScript::new());
    /// let address = listener.local_addr()?;
    /// listener.close();
    /// assert!(TcpStream::connect(address).unwrap_err().is_refused());
    /// # Ok::<(), greenloop::Error>(())
    /// ```
    pub fn close(self) {
        self.listener.close();
    }

    /// Waits for a connection or an error without taking it.
    pub(crate) fn wait_ready(&mut self) -> io::Result<()> {
        let is_error = matches!(
            lock(&self.script.0.state).steps.front(),
            Some(Step::Error(_))
        );
        if is_error {
            return Ok(());
        }
        self.listener.wait_ready()
    }

    /// Takes one connection that is there already, if the script lets it.
    pub(crate) fn try_accept(&mut self) -> io::Result<(StreamSocket, Addr)> {
        let (sheds, last) = {
            let state = lock(&self.script.0.state);
            (state.sheds, state.last)
        };
        if sheds {
            self.listener
                .accept(Deadline::after(Duration::from_millis(1)))
        } else {
            Err(io::Error::from_raw_os_error(last))
        }
    }
}

impl fmt::Debug for ScriptedListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedListener")
            .field("script", &self.script)
            .finish_non_exhaustive()
    }
}
