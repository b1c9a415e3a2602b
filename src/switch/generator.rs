//! Generators: bodies that yield from any call depth.
//!
//! Here: the life of one generator and the values that go in and out. Not here: stacks
//! (`stack.rs`), name and stack size (`builder.rs`).
//!
//! ```text
//!              send            yield_
//!  unstarted ───────▶ running ────────▶ suspended ──┐
//!      │                │  ▲                │       │ throw, close: running again, with
//!      │ throw, close,  │  └─── send ───────┘       │ an Interrupt for the value
//!      │ drop           │ return, panic             │ drop: unwound
//!      └──────────▶ finished ◀──────────────────────┘
//! ```

use std::fmt;
use std::iter::FusedIterator;
use std::thread::panicking;

use corosensei::{Coroutine, CoroutineResult};

use super::slots::Kind;
use super::stack::PooledStack;
use super::{BoxError, Builder};
use crate::error::Result as CrateResult;

/// A body on a stack of its own that yields values to whoever resumes it.
///
/// `S` goes in with each [`send`](Self::send), `Y` comes out with each
/// [`yield_`](Yielder::yield_), `R` is what the body returns.
///
/// Dropping a suspended generator unwinds its stack: the body runs no further, its
/// destructors do. A panic in the body goes on in the resumer.
///
/// # Switching
/// Making one never switches. Resuming one switches to its body.
///
/// # Examples
///
/// As an iterator, here over a tree, yielding from any depth of recursion:
///
/// ```
/// use greenloop::switch::{Generator, Interrupt, Yielder};
///
/// struct Tree(Vec<Tree>, u32);
///
/// fn walk(y: &Yielder<'_, (), u32>, tree: &Tree) -> Result<(), Interrupt> {
///     y.yield_(tree.1)?;
///     tree.0.iter().try_for_each(|child| walk(y, child))
/// }
///
/// let tree = Tree(vec![Tree(vec![Tree(vec![], 3)], 2), Tree(vec![], 4)], 1);
/// let values = Generator::new(move |y, ()| walk(y, &tree));
/// assert_eq!(values.collect::<Vec<_>>(), [1, 2, 3, 4]);
/// ```
///
/// With values in both directions:
///
/// ```
/// use greenloop::switch::{Generator, Step};
///
/// let mut average = Generator::new(|y, first: f64| {
///     let (mut sum, mut count) = (first, 1.0);
///     while let Ok(next) = y.yield_(sum / count) {
///         sum += next;
///         count += 1.0;
///     }
///     count
/// });
/// assert_eq!(average.send(10.0).unwrap(), Step::Yield(10.0));
/// assert_eq!(average.send(30.0).unwrap(), Step::Yield(20.0));
/// assert_eq!(average.close().unwrap(), Some(2.0));
/// assert_eq!(average.send(5.0).unwrap_err().into_value(), 5.0);
/// ```
///
/// It stays on its thread:
///
/// ```compile_fail,E0277
/// use greenloop::switch::Generator;
///
/// let generator: Generator<(), (), ()> = Generator::new(|_, ()| ());
/// std::thread::spawn(move || drop(generator));
/// ```
///
/// gevent: Python's own generators, except that `yield_` works at any call depth, as in
/// greenlet's `test_generator_nested.py`.
pub struct Generator<S, Y, R> {
    /// `None` once the body has ended: the stack is back in the pool by then.
    coroutine: Option<Coroutine<Input<S>, Y, R, PooledStack>>,
}

type Input<S> = Result<S, Interrupt>;

/// What a resumed generator did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step<Y, R> {
    /// The body yielded a value and is suspended.
    Yield(Y),
    /// The body returned; the generator is finished.
    Return(R),
}

/// The body's side of a [`Generator`]: where to yield.
///
/// It lives on the generator's own stack and cannot leave it, so only the running body
/// can yield.
pub struct Yielder<'a, S, Y> {
    inner: &'a corosensei::Yielder<Input<S>, Y>,
}

impl<S: 'static, Y: 'static, R: 'static> Generator<S, Y, R> {
    /// Makes a generator with the default stack; its body has not started.
    ///
    /// The body gets the value of the first [`send`](Self::send) as its second argument.
    ///
    /// # Panics
    /// When the kernel maps no further stack; see [`Builder::try_generator`].
    pub fn new<F>(body: F) -> Self
    where
        F: FnOnce(&Yielder<'_, S, Y>, S) -> R + 'static,
    {
        Builder::new().generator(body)
    }

    pub(super) fn build<F>(name: &str, stack_bytes: usize, body: F) -> CrateResult<Self>
    where
        F: FnOnce(&Yielder<'_, S, Y>, S) -> R + 'static,
    {
        let stack = PooledStack::take(stack_bytes, Kind::Generator, name)?;
        let coroutine = Coroutine::with_stack(stack, move |inner, input: Input<S>| match input {
            Ok(first) => body(&Yielder { inner }, first),
            Err(_) => unreachable!("throw and close end an unstarted generator themselves"),
        });
        Ok(Self {
            coroutine: Some(coroutine),
        })
    }
}

impl<S, Y, R> Generator<S, Y, R> {
    /// Resumes the body: `value` is what its pending [`yield_`](Yielder::yield_) returns,
    /// or its second argument if it has not started.
    ///
    /// # Switching
    /// Switches to the body, until it yields or returns.
    ///
    /// # Errors
    /// When the generator is finished or the calling thread is unwinding from a panic;
    /// the error hands `value` back.
    ///
    /// # Panics
    /// With the body's panic, which finishes the generator.
    ///
    /// gevent: `generator.send(value)`, which raises `StopIteration`.
    #[inline]
    pub fn send(&mut self, value: S) -> Result<Step<Y, R>, ResumeError<S>> {
        if !self.is_finished() && !panicking() {
            return Ok(self.resume(Ok(value)));
        }
        Err(ResumeError {
            value,
            finished: self.is_finished(),
        })
    }

    /// Resumes the body with an error: its pending [`yield_`](Yielder::yield_) fails with
    /// an [`Interrupt`] that holds `error`.
    ///
    /// The body may handle it and yield on, or end; a body that returns a `Result` lets it
    /// out with `?`, and then the caller gets it as [`Step::Return`].
    ///
    /// # Switching
    /// Switches to the body, until it yields or returns.
    ///
    /// # Errors
    /// When the body is not suspended in a `yield_`, or the calling thread is unwinding
    /// from a panic; the error hands `error` back. An unstarted generator is finished by
    /// it, and its body never runs.
    ///
    /// # Panics
    /// With the body's panic, which finishes the generator.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::switch::{Generator, Step};
    ///
    /// let mut patient = Generator::new(|y, ()| match y.yield_("waiting") {
    ///     Ok(()) => String::from("done"),
    ///     Err(interrupt) => format!("gave up: {interrupt}"),
    /// });
    /// patient.send(()).unwrap();
    /// let step = patient.throw("too late").unwrap();
    /// assert_eq!(step, Step::Return(String::from("gave up: too late")));
    /// ```
    ///
    /// gevent: `generator.throw(error)`.
    pub fn throw(
        &mut self,
        error: impl Into<BoxError>,
    ) -> Result<Step<Y, R>, ResumeError<BoxError>> {
        let value = error.into();
        if self.is_suspended() && !panicking() {
            return Ok(self.resume(Err(Interrupt::new(Cause::Thrown(value)))));
        }
        if !panicking() {
            self.coroutine = None;
        }
        Err(ResumeError {
            value,
            finished: self.is_finished(),
        })
    }

    /// Asks the body to end: its pending [`yield_`](Yielder::yield_) fails with an
    /// [`Interrupt`] that [`is_close`](Interrupt::is_close).
    ///
    /// Returns what the body returns, or `None` if it had not started or was finished.
    /// The generator is finished in any case.
    ///
    /// # Switching
    /// Switches to the body, until it ends.
    ///
    /// # Errors
    /// When the body yields again instead: the error holds that value, and the body has
    /// been unwound.
    ///
    /// # Panics
    /// With the body's panic.
    ///
    /// gevent: `generator.close()`, which raises `GeneratorExit` in the body and
    /// `RuntimeError: generator ignored GeneratorExit` in the caller.
    pub fn close(&mut self) -> Result<Option<R>, CloseError<Y>> {
        let step = (self.is_suspended() && !panicking())
            .then(|| self.resume(Err(Interrupt::new(Cause::Close))));
        self.coroutine = None;
        match step {
            None => Ok(None),
            Some(Step::Return(value)) => Ok(Some(value)),
            Some(Step::Yield(value)) => Err(CloseError { value }),
        }
    }

    /// Tells whether the body has begun.
    pub fn is_started(&self) -> bool {
        self.coroutine.as_ref().is_none_or(Coroutine::started)
    }

    /// Tells whether the body has ended, or never will begin.
    #[inline]
    pub fn is_finished(&self) -> bool {
        // A body that panicked leaves its coroutine behind, done.
        self.coroutine.as_ref().is_none_or(Coroutine::done)
    }

    fn is_suspended(&self) -> bool {
        self.coroutine
            .as_ref()
            .is_some_and(|coroutine| coroutine.started() && !coroutine.done())
    }

    #[inline]
    fn resume(&mut self, input: Input<S>) -> Step<Y, R> {
        let coroutine = self
            .coroutine
            .as_mut()
            .expect("the callers checked is_finished");
        match coroutine.resume(input) {
            CoroutineResult::Yield(value) => Step::Yield(value),
            CoroutineResult::Return(value) => {
                self.coroutine = None;
                Step::Return(value)
            }
        }
    }
}

impl<S, Y> Yielder<'_, S, Y> {
    /// Gives `value` to the resumer, and returns what it sends next.
    ///
    /// # Switching
    /// Switches to the resumer.
    ///
    /// # Errors
    /// An [`Interrupt`] when the resumer throws or closes; when the body is being unwound,
    /// at once, without switching. `?` is the usual answer. If the generator is dropped,
    /// the call does not return: the stack unwinds from here.
    ///
    /// gevent: the `yield` expression.
    #[inline]
    pub fn yield_(&self, value: Y) -> Result<S, Interrupt> {
        if panicking() {
            return Err(Interrupt::new(Cause::Unwinding));
        }
        self.inner.suspend(value)
    }

    /// Yields everything that `inner` yields, and returns what it returns.
    ///
    /// `inner` gets `first` and then whatever the resumer sends and throws; a close
    /// closes `inner` too.
    ///
    /// # Switching
    /// Switches to `inner` and to the resumer, in turn.
    ///
    /// # Errors
    /// An [`Interrupt`] when the resumer closes, and when `inner` was finished before.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::switch::Generator;
    ///
    /// let outer = Generator::new(|y, ()| {
    ///     let word = Generator::new(|y, ()| {
    ///         y.yield_('a')?;
    ///         y.yield_('b')?;
    ///         Ok("c")
    ///     });
    ///     let last = y.yield_from(word, ())??;
    ///     y.yield_(last.chars().next().unwrap())?;
    ///     Ok(())
    /// });
    /// assert_eq!(outer.collect::<String>(), "abc");
    /// ```
    ///
    /// gevent: `yield from inner`.
    pub fn yield_from<R>(&self, mut inner: Generator<S, Y, R>, first: S) -> Result<R, Interrupt> {
        let mut input: Input<S> = Ok(first);
        loop {
            let step = match input {
                Ok(value) => inner.send(value).map_err(|_| Cause::InnerFinished),
                Err(interrupt) => match *interrupt.0 {
                    Cause::Thrown(error) => inner.throw(error).map_err(|_| Cause::InnerFinished),
                    cause => {
                        // A body that yields again is unwound; its value has no taker.
                        let _ = inner.close();
                        Err(cause)
                    }
                },
            };
            match step.map_err(Interrupt::new)? {
                Step::Yield(value) => input = self.yield_(value),
                Step::Return(value) => return Ok(value),
            }
        }
    }
}

/// The plain case: nothing is sent, the body's end is the end.
impl<Y> Iterator for Generator<(), Y, ()> {
    type Item = Y;

    /// Resumes the body. `None` once it is finished, and while the thread is unwinding.
    #[inline]
    fn next(&mut self) -> Option<Y> {
        next(self)
    }
}

/// The plain case with `?` in the body: only a throw or close gives an `Err`, and an
/// iterator does neither.
impl<Y> Iterator for Generator<(), Y, Result<(), Interrupt>> {
    type Item = Y;

    /// Resumes the body. `None` once it is finished, and while the thread is unwinding.
    #[inline]
    fn next(&mut self) -> Option<Y> {
        next(self)
    }
}

impl<Y> FusedIterator for Generator<(), Y, ()> {}
impl<Y> FusedIterator for Generator<(), Y, Result<(), Interrupt>> {}

#[inline]
fn next<Y, R>(generator: &mut Generator<(), Y, R>) -> Option<Y> {
    match generator.send(()) {
        Ok(Step::Yield(value)) => Some(value),
        Ok(Step::Return(_)) | Err(_) => None,
    }
}

impl<S, Y, R> fmt::Debug for Generator<S, Y, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self {
            _ if self.is_finished() => "finished",
            _ if self.is_started() => "suspended",
            _ => "unstarted",
        };
        write!(f, "Generator({state})")
    }
}

impl<S, Y> fmt::Debug for Yielder<'_, S, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Yielder")
    }
}

/// Why [`Yielder::yield_`] brings no value: the resumer threw or closed.
#[derive(Debug)]
pub struct Interrupt(Box<Cause>); // one word: it travels with every value sent

#[derive(Debug)]
enum Cause {
    Thrown(BoxError),
    Close,
    Unwinding,
    InnerFinished,
}

impl Interrupt {
    #[cold]
    fn new(cause: Cause) -> Self {
        Self(Box::new(cause))
    }

    /// Tells whether [`Generator::close`] asks the body to end.
    pub fn is_close(&self) -> bool {
        matches!(*self.0, Cause::Close)
    }

    /// Tells whether the call was made while the body unwinds, from a panic or because
    /// the generator is being dropped.
    pub fn is_unwinding(&self) -> bool {
        matches!(*self.0, Cause::Unwinding)
    }

    /// The error given to [`Generator::throw`], if it was one.
    pub fn thrown(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match &*self.0 {
            Cause::Thrown(error) => Some(&**error),
            _ => None,
        }
    }

    /// Takes the error given to [`Generator::throw`] out.
    ///
    /// # Errors
    /// The interrupt itself if nothing was thrown.
    pub fn into_thrown(self) -> Result<BoxError, Self> {
        match *self.0 {
            Cause::Thrown(error) => Ok(error),
            cause => Err(Self::new(cause)),
        }
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Thrown(error) => error.fmt(f),
            Cause::Close => f.write_str("generator is being closed"),
            Cause::Unwinding => f.write_str("yield while unwinding"),
            Cause::InnerFinished => f.write_str("yield from a finished generator"),
        }
    }
}

impl std::error::Error for Interrupt {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.thrown().and_then(|error| error.source())
    }
}

/// A generator was not resumed; the value that was to go in comes back.
pub struct ResumeError<T> {
    value: T,
    finished: bool,
}

impl<T> ResumeError<T> {
    /// Tells whether the generator is finished (or else the thread is unwinding).
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Hands the value back that was not sent.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> fmt::Debug for ResumeError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResumeError({self})")
    }
}

impl<T> fmt::Display for ResumeError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.finished {
            "generator is finished"
        } else {
            "generator resumed while unwinding"
        })
    }
}

impl<T> std::error::Error for ResumeError<T> {}

/// A body yielded instead of ending when [`Generator::close`] asked it to.
pub struct CloseError<Y> {
    value: Y,
}

impl<Y> CloseError<Y> {
    /// The value that the body yielded.
    pub fn into_value(self) -> Y {
        self.value
    }
}

impl<Y> fmt::Debug for CloseError<Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseError({self})")
    }
}

impl<Y> fmt::Display for CloseError<Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("generator yielded when asked to close")
    }
}

impl<Y> std::error::Error for CloseError<Y> {}
