//! Switching greenlets: handles, parents, and what a switch brings.
//!
//! Here: what a user holds and gets. Not here: who runs next (`hub.rs`).

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::{Rc, Weak};
use std::thread::panicking;

use corosensei::Coroutine;

use super::BoxError;
use super::hub::{Core, Here, Order};
use super::slots::Kind as StackKind;
use super::stack::PooledStack;
use crate::error::Result as CrateResult;

/// A body on a stack of its own that switches to any other one of its [`Hub`](super::Hub).
///
/// This is a handle: clones name the same greenlet. A switch needs a [`Here`], which only
/// running code has, so a function's signature says whether it may switch.
///
/// - The first switch to a greenlet starts its body with the value; a later one makes its
///   pending switch return the value.
/// - When a body ends, its **parent** gets control: with the value the body returned, with
///   the error it let out, or with its panic. The parent is the greenlet that made it,
///   unless [`set_parent`](Self::set_parent) says otherwise; "main", which runs
///   [`Hub::run`](super::Hub::run)'s body, is everybody's last parent and never dead.
/// - A switch to a dead greenlet goes to its parent instead.
/// - When the last handle of a suspended greenlet is dropped, or its hub, its stack is
///   unwound: the body runs no further, its destructors do.
///
/// # Examples
///
/// The ping-pong of the greenlet documentation:
///
/// ```
/// use std::cell::{OnceCell, RefCell};
/// use std::rc::Rc;
/// use greenloop::switch::{Greenlet, Hub};
///
/// let seen = Rc::new(RefCell::new(Vec::new()));
/// let (seen1, seen2) = (seen.clone(), seen.clone());
/// Hub::new().run(|main| {
///     let partner = Rc::new(OnceCell::<Greenlet<()>>::new());
///     let test1_later = partner.clone();
///     let test2 = main.spawn(move |here, ()| {
///         seen2.borrow_mut().push(56);
///         test1_later.get().unwrap().switch(here, ())?;
///         seen2.borrow_mut().push(78); // never
///         Ok(())
///     });
///     let test1 = main.spawn(move |here, ()| {
///         seen1.borrow_mut().push(12);
///         test2.switch(here, ())?;
///         seen1.borrow_mut().push(34);
///         Ok(())
///     });
///     partner.set(test1.clone()).unwrap();
///     test1.switch(main, ()).unwrap();
///     assert!(test1.is_dead());
/// });
/// assert_eq!(*seen.borrow(), [12, 56, 34]);
/// ```
///
/// It stays on its thread, and so does the right to switch:
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<greenloop::switch::Greenlet<()>>();
/// ```
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<greenloop::switch::Here<'static, ()>>();
/// ```
///
/// gevent: `greenlet.greenlet`. The values are typed, and code that may switch says so.
pub struct Greenlet<T>(pub(super) Rc<Node<T>>);

pub(super) struct Node<T> {
    /// `None` for main and once dead; borrowed while running. First, so that it is
    /// unwound while the other fields are whole.
    pub(super) body: RefCell<Option<Body<T>>>,
    pub(super) name: String,
    /// `None` for main only.
    pub(super) parent: RefCell<Option<Greenlet<T>>>,
    pub(super) hub: Weak<Core<T>>,
}

pub(super) type Body<T> = Coroutine<Message<T>, Order<T>, Message<T>, PooledStack>;

/// What travels with a switch. The error's kind may be a panic, which never gets out.
pub(super) type Message<T> = Result<Passed<T>, SwitchError<T>>;

impl<T> Greenlet<T> {
    pub(super) fn build<F>(
        here: &Here<'_, T>,
        name: String,
        stack_bytes: usize,
        body: F,
    ) -> CrateResult<Self>
    where
        F: FnOnce(&Here<'_, T>, T) -> Result<T, SwitchError<T>> + 'static,
        T: 'static,
    {
        let stack = PooledStack::take(stack_bytes, StackKind::Greenlet, &name)?;
        let core = Rc::clone(here.core());
        let parent = here.current().unwrap_or_else(|| here.main());
        let node = Rc::new_cyclic(|node: &Weak<Node<T>>| {
            let (node, hub) = (node.clone(), Rc::downgrade(&core));
            let body = Coroutine::with_stack(stack, move |yielder, message| match message {
                Ok(Passed::Value(first)) => {
                    let here = Here::of_greenlet(&core, node, yielder);
                    ending(catch_unwind(AssertUnwindSafe(|| body(&here, first))))
                }
                other => other, // the hub forwards it without starting the body
            });
            Node {
                body: RefCell::new(Some(body)),
                name,
                parent: RefCell::new(Some(parent)),
                hub,
            }
        });
        here.core().adopt(&node);
        Ok(Self(node))
    }

    /// Switches to this greenlet, and returns what is later switched to the calling one.
    ///
    /// # Switching
    /// Switches, except on an error.
    ///
    /// # Errors
    /// - What is thrown at the calling greenlet, or let out by a child's body.
    /// - When this greenlet belongs to another hub (`value` comes back with the error),
    ///   or the calling thread is unwinding.
    ///
    /// # Panics
    /// With the panic of a child, if this is its parent.
    ///
    /// gevent: `greenlet.switch(value)`.
    #[inline(always)]
    pub fn switch(&self, here: &Here<'_, T>, value: T) -> Result<Passed<T>, SwitchError<T>> {
        if self.is_foreign(here) {
            return Err(SwitchError::with(Kind::ForeignHub(Some(value))));
        }
        self.transfer(here, Ok(Passed::Value(value)))
    }

    /// Switches to this greenlet with an error, which its pending switch returns.
    ///
    /// An unstarted greenlet is dead then, and its body never runs. Where the body lets
    /// the error out, or was dead, the parent's switch returns it; but [`GreenletExit`]
    /// is not raised in a parent, it arrives as the value [`Passed::Exit`].
    ///
    /// # Switching
    /// Switches, except on an error of its own.
    ///
    /// # Errors
    /// As [`switch`](Self::switch).
    ///
    /// # Panics
    /// As [`switch`](Self::switch).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::switch::{GreenletExit, Hub};
    ///
    /// Hub::new().run(|main| {
    ///     let worker = main.spawn(|here, ()| loop {
    ///         here.main().switch(here, ())?;
    ///     });
    ///     worker.switch(main, ()).unwrap();
    ///     let answer = worker.throw(main, GreenletExit).unwrap();
    ///     assert!(answer.is_exit() && worker.is_dead());
    ///     assert_eq!(worker.throw(main, "late").unwrap_err().to_string(), "late");
    /// });
    /// ```
    ///
    /// gevent: `greenlet.throw(error)`.
    pub fn throw(
        &self,
        here: &Here<'_, T>,
        error: impl Into<BoxError>,
    ) -> Result<Passed<T>, SwitchError<T>> {
        if self.is_foreign(here) {
            return Err(SwitchError::with(Kind::ForeignHub(None)));
        }
        self.transfer(here, Err(SwitchError::new(error)))
    }

    #[inline(always)]
    fn transfer(&self, here: &Here<'_, T>, message: Message<T>) -> Message<T> {
        if panicking() {
            return Err(SwitchError::with(Kind::Unwinding));
        }
        let answer = here.transfer(Order {
            to: self.clone(),
            message,
        });
        answer.map_err(SwitchError::raise_panic)
    }

    #[inline]
    fn is_foreign(&self, here: &Here<'_, T>) -> bool {
        !std::ptr::eq(self.0.hub.as_ptr(), Rc::as_ptr(here.core()))
    }

    /// Tells whether the body has ended, or never will begin.
    pub fn is_dead(&self) -> bool {
        let ended = self.0.body.try_borrow().is_ok_and(|body| body.is_none());
        ended && !self.is_main()
    }

    /// Tells whether the body has begun. Main always has.
    pub fn is_started(&self) -> bool {
        match self.0.body.try_borrow() {
            Ok(body) => body.as_ref().is_none_or(Coroutine::started),
            Err(_) => true, // it is running
        }
    }

    pub(super) fn is_main(&self) -> bool {
        self.0.parent.borrow().is_none()
    }

    /// The name given to the builder; `main` for the hub's main greenlet.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The greenlet that gets control when this one ends; `None` for main.
    pub fn parent(&self) -> Option<Self> {
        self.0.parent.borrow().clone()
    }

    /// Makes `parent` the one that gets control when this greenlet ends.
    ///
    /// # Errors
    /// When this is main, `parent` belongs to another hub, or `parent`'s own parents lead
    /// back to this greenlet. Nothing is changed then.
    ///
    /// gevent: `greenlet.parent = parent`.
    pub fn set_parent(&self, parent: &Self) -> Result<(), SetParentError> {
        if self.is_main() {
            return Err(SetParentError::Main);
        }
        if !Weak::ptr_eq(&self.0.hub, &parent.0.hub) {
            return Err(SetParentError::ForeignHub);
        }
        let mut ancestors = std::iter::successors(Some(parent.clone()), Self::parent);
        if ancestors.any(|ancestor| ancestor == *self) {
            return Err(SetParentError::Cycle);
        }
        let old = self.0.parent.replace(Some(parent.clone()));
        drop(old); // may be the last handle and run destructors: no borrow is held here
        Ok(())
    }
}

impl<T> Clone for Greenlet<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// The same greenlet, not an equal one.
impl<T> PartialEq for Greenlet<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Greenlet<T> {}

impl<T> fmt::Debug for Greenlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self {
            _ if self.is_main() => "main",
            _ if self.is_dead() => "dead",
            _ if self.is_started() => "started",
            _ => "unstarted",
        };
        write!(f, "Greenlet({:?}, {state})", self.0.name)
    }
}

/// What a body's end means for the parent.
fn ending<T>(end: Result<Result<T, SwitchError<T>>, Box<dyn Any + Send>>) -> Message<T> {
    match end {
        Ok(Ok(value)) => Ok(Passed::Value(value)),
        Ok(Err(error)) => Err(error).or_else(SwitchError::exit_is_no_error),
        Err(panic) => Err(SwitchError::with(Kind::Panic(panic))),
    }
}

/// What a switch brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Passed<T> {
    /// The value of another greenlet's switch, or of a child's end.
    Value(T),
    /// A child ended by [`GreenletExit`].
    Exit,
}

impl<T> Passed<T> {
    /// The value, if it is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Exit => None,
        }
    }

    /// Tells whether a child ended by [`GreenletExit`].
    pub fn is_exit(&self) -> bool {
        matches!(self, Self::Exit)
    }
}

/// Thrown at a greenlet to end it: its parent gets [`Passed::Exit`], not an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GreenletExit;

impl fmt::Display for GreenletExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("greenlet exit")
    }
}

impl std::error::Error for GreenletExit {}

/// Why a switch brings no value. A body lets it out with `?`, to its parent.
pub struct SwitchError<T>(Box<Kind<T>>); // one word: it travels with every switch

enum Kind<T> {
    Thrown(BoxError),
    ForeignHub(Option<T>),
    Unwinding,
    /// On its way to a parent; raised there before anybody sees it.
    Panic(Box<dyn Any + Send>),
}

impl<T> SwitchError<T> {
    /// An error for the parent, from the body's own work.
    #[cold]
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self::with(Kind::Thrown(error.into()))
    }

    #[cold]
    fn with(kind: Kind<T>) -> Self {
        Self(Box::new(kind))
    }

    /// The error thrown, or let out by a child's body.
    pub fn thrown(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match &*self.0 {
            Kind::Thrown(error) => Some(&**error),
            _ => None,
        }
    }

    /// Tells whether [`GreenletExit`] was thrown.
    pub fn is_exit(&self) -> bool {
        self.thrown()
            .is_some_and(|error| error.is::<GreenletExit>())
    }

    /// Tells whether the target belongs to another hub.
    pub fn is_foreign_hub(&self) -> bool {
        matches!(*self.0, Kind::ForeignHub(_))
    }

    /// Tells whether the switch was refused because the thread is unwinding.
    pub fn is_unwinding(&self) -> bool {
        matches!(*self.0, Kind::Unwinding)
    }

    /// Hands the value back that could not be passed to another hub.
    pub fn into_value(self) -> Option<T> {
        match *self.0 {
            Kind::ForeignHub(value) => value,
            _ => None,
        }
    }

    /// [`GreenletExit`] reaches a parent as a value, everything else as it is.
    pub(super) fn exit_is_no_error(self) -> Message<T> {
        if self.is_exit() {
            Ok(Passed::Exit)
        } else {
            Err(self)
        }
    }

    #[cold]
    fn raise_panic(self) -> Self {
        match *self.0 {
            Kind::Panic(panic) => resume_unwind(panic),
            kind => Self::with(kind),
        }
    }
}

impl<T> fmt::Debug for SwitchError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwitchError({self})")
    }
}

impl<T> fmt::Display for SwitchError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Thrown(error) => error.fmt(f),
            Kind::ForeignHub(_) => f.write_str("switch to a greenlet of another hub"),
            Kind::Unwinding => f.write_str("switch while unwinding"),
            Kind::Panic(_) => f.write_str("greenlet panicked"),
        }
    }
}

impl<T> std::error::Error for SwitchError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.thrown().and_then(|error| error.source())
    }
}

/// Why [`Greenlet::set_parent`] changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetParentError {
    /// Main has no parent.
    Main,
    /// The parent belongs to another hub.
    ForeignHub,
    /// The greenlet would be its own ancestor.
    Cycle,
}

impl fmt::Display for SetParentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main greenlet takes no parent",
            Self::ForeignHub => "parent belongs to another hub",
            Self::Cycle => "greenlet would be its own ancestor",
        })
    }
}

impl std::error::Error for SetParentError {}
