//! Name and stack size of a generator or greenlet.

use super::stack::DEFAULT_STACK_BYTES;
use super::{Generator, Greenlet, Here, SwitchError, Yielder};
use crate::error::Result;

/// Makes a [`Generator`] or a [`Greenlet`] with a name and a stack size.
///
/// # Examples
///
/// ```
/// use greenloop::switch::Builder;
///
/// let mut squares = Builder::new()
///     .name("squares")
///     .stack_bytes(64 * 1024)
///     .generator(|y, ()| {
///         for i in 1..=3 {
///             y.yield_(i * i)?;
///         }
///         Ok(())
///     });
/// assert_eq!(squares.next(), Some(1));
/// assert_eq!(squares.collect::<Vec<_>>(), [4, 9]);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing until `generator` or `greenlet` is called"]
pub struct Builder {
    /// In overflow messages (the first 40 bytes) and traces. Default: none.
    name: String,
    /// Usable bytes, rounded up to whole pages. Default: [`DEFAULT_STACK_BYTES`]. The
    /// body that needs more aborts the process with a message.
    stack_bytes: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// A builder with no name and [`DEFAULT_STACK_BYTES`].
    pub const fn new() -> Self {
        Self {
            name: String::new(),
            stack_bytes: DEFAULT_STACK_BYTES,
        }
    }

    /// Sets the name that overflow messages and traces show.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how many bytes of stack the body has, rounded up to whole pages.
    pub const fn stack_bytes(mut self, stack_bytes: usize) -> Self {
        self.stack_bytes = stack_bytes;
        self
    }

    /// Makes a generator that has not started.
    ///
    /// # Panics
    /// When the kernel maps no further stack; [`try_generator`](Self::try_generator)
    /// returns that as an error.
    pub fn generator<S, Y, R, F>(self, body: F) -> Generator<S, Y, R>
    where
        F: FnOnce(&Yielder<'_, S, Y>, S) -> R + 'static,
        S: 'static,
        Y: 'static,
        R: 'static,
    {
        self.try_generator(body)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes a generator that has not started.
    ///
    /// # Errors
    /// [`is_limit`](crate::Error::is_limit) when the kernel maps no further stack.
    pub fn try_generator<S, Y, R, F>(self, body: F) -> Result<Generator<S, Y, R>>
    where
        F: FnOnce(&Yielder<'_, S, Y>, S) -> R + 'static,
        S: 'static,
        Y: 'static,
        R: 'static,
    {
        Generator::build(&self.name, self.stack_bytes, body)
    }

    /// Makes a greenlet that has not started, child of the one that calls.
    ///
    /// # Panics
    /// When the kernel maps no further stack; [`try_greenlet`](Self::try_greenlet)
    /// returns that as an error.
    pub fn greenlet<T, F>(self, here: &Here<'_, T>, body: F) -> Greenlet<T>
    where
        F: FnOnce(&Here<'_, T>, T) -> Result<T, SwitchError<T>> + 'static,
        T: 'static,
    {
        self.try_greenlet(here, body)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes a greenlet that has not started, child of the one that calls.
    ///
    /// # Errors
    /// [`is_limit`](crate::Error::is_limit) when the kernel maps no further stack.
    pub fn try_greenlet<T, F>(self, here: &Here<'_, T>, body: F) -> Result<Greenlet<T>>
    where
        F: FnOnce(&Here<'_, T>, T) -> Result<T, SwitchError<T>> + 'static,
        T: 'static,
    {
        Greenlet::build(here, self.name, self.stack_bytes, body)
    }
}
