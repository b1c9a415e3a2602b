//! The hub: who runs next.
//!
//! corosensei's switches are asymmetric: a body can only go back to whoever resumed it.
//! A symmetric switch is made of two: the body suspends with an [`Order`] "to that one,
//! with this", and a loop on main's stack ([`Core::carry_out_plain`]) resumes the one named. So
//! there is never more than one resume deep, and a chain of a million switches needs no
//! more stack than one.
//!
//! No pointer to a suspended stack is kept anywhere: a body reaches its own way out, the
//! `Yielder`, through the [`Here`] that it is called with, and cannot give that away,
//! since other bodies take only `'static` values. That keeps this file free of `unsafe`,
//! and switching needs no thread-local.
//!
//! Here: the loop, the set of all greenlets, tracing. Not here: a greenlet's public face
//! (`greenlet.rs`).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use corosensei::{CoroutineResult, Yielder};

use super::Builder;
use super::greenlet::{Greenlet, Message, Node, Passed, SwitchError};

/// A set of greenlets that switch among themselves, with values of type `T`.
///
/// Dropping it unwinds the greenlets that are still suspended, also those that hold
/// handles of each other.
///
/// gevent: the greenlets of one thread. Here a thread may have several such sets, and a
/// switch from one to another is an error.
pub struct Hub<T: 'static> {
    core: Rc<Core<T>>,
}

pub(super) struct Core<T> {
    main: Greenlet<T>,
    /// For the hub's end. Handles of dead ones are swept out when it grows.
    greenlets: RefCell<Vec<Weak<Node<T>>>>,
    sweep_at: Cell<usize>,
    trace: RefCell<Option<Trace>>,
}

type Trace = Rc<dyn Fn(&Switch<'_>)>;

/// "Resume that one, with this."
pub(super) struct Order<T> {
    pub(super) to: Greenlet<T>,
    pub(super) message: Message<T>,
}

/// The running greenlet's place in its hub: the right to switch from here.
///
/// It lives on the running stack and cannot leave it.
pub struct Here<'a, T> {
    core: &'a Rc<Core<T>>,
    seat: Seat<'a, T>,
}

enum Seat<'a, T> {
    Main,
    Body {
        node: Weak<Node<T>>,
        yielder: &'a Yielder<Message<T>, Order<T>>,
    },
}

/// One switch, as shown to [`Hub::set_trace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Switch<'a> {
    /// The name of the greenlet that had control.
    pub from: &'a str,
    /// The name of the one that gets it.
    pub to: &'a str,
    /// What caused it.
    pub why: Why,
}

/// What causes a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// [`Greenlet::switch`].
    Switch,
    /// [`Greenlet::throw`].
    Throw,
    /// The body returned a value, to its parent.
    Return,
    /// The body let an error or a panic out, to its parent.
    Raise,
    /// The body ended by [`GreenletExit`](super::GreenletExit).
    Exit,
    /// The target was dead, or was killed before it started: on to its parent.
    Dead,
}

impl<T: 'static> Hub<T> {
    /// A hub with nothing but its main greenlet.
    #[expect(
        clippy::new_without_default,
        reason = "a hub is made to be run, not filled in"
    )]
    pub fn new() -> Self {
        let core = Rc::new_cyclic(|hub: &Weak<Core<T>>| Core {
            main: Greenlet(Rc::new(Node {
                body: RefCell::new(None),
                name: String::from("main"),
                parent: RefCell::new(None),
                hub: hub.clone(),
            })),
            greenlets: RefCell::default(),
            sweep_at: Cell::new(SWEEP_COUNT_MIN),
            trace: RefCell::default(),
        });
        Self { core }
    }

    /// Runs `body` on the caller's stack as the hub's main greenlet.
    ///
    /// Greenlets that are still suspended when it returns stay so, until the next `run`
    /// or the hub's end.
    ///
    /// # Panics
    /// With `body`'s panic, and with that of a greenlet whose parent is main.
    pub fn run<R>(&mut self, body: impl FnOnce(&Here<'_, T>) -> R) -> R {
        body(&Here {
            core: &self.core,
            seat: Seat::Main,
        })
    }

    /// Shows every further switch to `trace`, before it happens.
    ///
    /// gevent: `greenlet.settrace(callback)`.
    pub fn set_trace(&mut self, trace: impl Fn(&Switch<'_>) + 'static) {
        self.core.trace.replace(Some(Rc::new(trace)));
    }
}

impl<T> Drop for Hub<T> {
    fn drop(&mut self) {
        // Newest first. A destructor may make further greenlets: they come next.
        while let Some(node) = self.core.last() {
            let body = node.upgrade().and_then(|node| node.body.take());
            drop(body);
        }
    }
}

impl<'a, T> Here<'a, T> {
    pub(super) fn of_greenlet(
        core: &'a Rc<Core<T>>,
        node: Weak<Node<T>>,
        yielder: &'a Yielder<Message<T>, Order<T>>,
    ) -> Self {
        Self {
            core,
            seat: Seat::Body { node, yielder },
        }
    }

    /// Makes a greenlet with the default stack, child of the running one; its body has not
    /// started.
    ///
    /// # Switching
    /// Never switches.
    ///
    /// # Panics
    /// When the kernel maps no further stack; see [`Builder::try_greenlet`].
    ///
    /// gevent: `greenlet.greenlet(body)`.
    pub fn spawn<F>(&self, body: F) -> Greenlet<T>
    where
        F: FnOnce(&Here<'_, T>, T) -> Result<T, SwitchError<T>> + 'static,
        T: 'static,
    {
        Builder::new().greenlet(self, body)
    }

    /// The running greenlet; `None` in a destructor that runs because its last handle was
    /// dropped.
    ///
    /// gevent: `greenlet.getcurrent()`.
    pub fn current(&self) -> Option<Greenlet<T>> {
        match &self.seat {
            Seat::Main => Some(self.main()),
            Seat::Body { node, .. } => node.upgrade().map(Greenlet),
        }
    }

    /// The hub's main greenlet.
    pub fn main(&self) -> Greenlet<T> {
        self.core.main.clone()
    }

    #[inline]
    pub(super) fn core(&self) -> &Rc<Core<T>> {
        self.core
    }

    // Inlined all the way into the body: a return on one stack that matches a call on
    // another one is mispredicted, and costs as much as the switch.
    #[inline(always)]
    pub(super) fn transfer(&self, order: Order<T>) -> Message<T> {
        match &self.seat {
            Seat::Main => self.core.carry_out(order),
            Seat::Body { yielder, .. } => yielder.suspend(order),
        }
    }
}

impl<T> Core<T> {
    /// Resumes one greenlet after the other, until it is main's turn.
    fn carry_out(&self, order: Order<T>) -> Message<T> {
        let trace = self.trace.borrow().clone();
        match trace {
            None => self.carry_out_plain(order),
            Some(trace) => self.carry_out_traced(order, &*trace),
        }
    }

    fn carry_out_plain(&self, mut order: Order<T>) -> Message<T> {
        loop {
            let Order { to, message } = order;
            if to == self.main {
                return message;
            }
            (order, _) = resume(&to, message);
        }
    }

    /// The same loop once more: who came from where and why costs a third of a switch.
    #[cold]
    fn carry_out_traced(&self, mut order: Order<T>, trace: &dyn Fn(&Switch<'_>)) -> Message<T> {
        let mut from = self.main.clone();
        let mut why = None;
        loop {
            let Order { to, message } = order;
            let why_now = why.unwrap_or_else(|| Why::asked(&message));
            trace(&Switch {
                from: from.name(),
                to: to.name(),
                why: why_now,
            });
            if to == self.main {
                return message;
            }
            (order, why) = resume(&to, message);
            from = to;
        }
    }

    /// Notes a new greenlet for the hub's end.
    pub(super) fn adopt(&self, node: &Rc<Node<T>>) {
        let mut greenlets = self.greenlets.borrow_mut();
        if greenlets.len() >= self.sweep_at.get() {
            greenlets.retain(|node| node.strong_count() > 0);
            self.sweep_at
                .set((2 * greenlets.len()).max(SWEEP_COUNT_MIN));
        }
        greenlets.push(Rc::downgrade(node));
    }

    fn last(&self) -> Option<Weak<Node<T>>> {
        self.greenlets.borrow_mut().pop()
    }
}

/// Sweeping at twice the living keeps the work per new greenlet constant.
const SWEEP_COUNT_MIN: usize = 64;

/// Gives `to` its turn; returns what it wants next, and why if it did not ask for that.
#[inline(always)]
fn resume<T>(to: &Greenlet<T>, message: Message<T>) -> (Order<T>, Option<Why>) {
    let mut slot = to.0.body.borrow_mut(); // nobody else runs: the last one has suspended
    let Some(body) = slot
        .as_mut()
        .filter(|body| body.started() || starts(&message))
    else {
        let unstarted = slot.take();
        drop(slot);
        drop(unstarted); // runs destructors of what the body captured
        let message = message.or_else(SwitchError::exit_is_no_error);
        return (
            Order {
                to: parent(to),
                message,
            },
            Some(Why::Dead),
        );
    };
    match body.resume(message) {
        CoroutineResult::Yield(order) => (order, None),
        CoroutineResult::Return(message) => {
            *slot = None;
            let why = Why::ended(&message);
            (
                Order {
                    to: parent(to),
                    message,
                },
                Some(why),
            )
        }
    }
}

/// Only a value starts a body; an error or exit ends an unstarted greenlet.
fn starts<T>(message: &Message<T>) -> bool {
    matches!(message, Ok(Passed::Value(_)))
}

fn parent<T>(child: &Greenlet<T>) -> Greenlet<T> {
    child
        .parent()
        .expect("only main has none, and main is never resumed")
}

impl Why {
    #[cold]
    fn asked<T>(message: &Message<T>) -> Self {
        if message.is_ok() {
            Self::Switch
        } else {
            Self::Throw
        }
    }

    fn ended<T>(message: &Message<T>) -> Self {
        match message {
            Ok(Passed::Value(_)) => Self::Return,
            Ok(Passed::Exit) => Self::Exit,
            Err(_) => Self::Raise,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Switch => "switch",
            Self::Throw => "throw",
            Self::Return => "return",
            Self::Raise => "raise",
            Self::Exit => "exit",
            Self::Dead => "dead",
        })
    }
}

impl<T> fmt::Debug for Hub<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({} greenlets)", self.core.greenlets.borrow().len())
    }
}

impl<T> fmt::Debug for Here<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current();
        write!(
            f,
            "Here({:?})",
            current.as_ref().map_or("dropped", Greenlet::name)
        )
    }
}
