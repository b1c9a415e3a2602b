//! Values of one greenlet ([`local!`](crate::local)) and values it hands down
//! ([`Inherited`]).

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use crate::runtime::park::with_local;

/// Declares a value that every greenlet has its own of.
///
/// It is made at the first use in a greenlet and dropped when the greenlet ends, also if
/// it panicked or was killed. An OS thread has its own, too. The type must be `Send`:
/// greenlets move between threads.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
///
/// greenloop::local! { static DEPTH: Cell<u32> = Cell::new(0); }
///
/// DEPTH.with(|depth| depth.set(7));
/// let inside = greenloop::spawn(|| DEPTH.with(Cell::get)).join().unwrap();
/// assert_eq!(inside, 0);
/// assert_eq!(DEPTH.with(Cell::get), 7);
/// ```
///
/// gevent: `gevent.local.local`.
#[macro_export]
macro_rules! local {
    ($($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $init:expr;)+) => {
        $($(#[$meta])* $vis static $name: $crate::LocalKey<$type> =
            $crate::LocalKey::new(|| $init);)+
    };
}

/// A value of [`local!`](crate::local).
///
/// ```
/// use std::cell::RefCell;
///
/// greenloop::local! {
///     static TRAIL: RefCell<Vec<&'static str>> = RefCell::default();
/// }
///
/// fn step(name: &'static str) -> usize {
///     TRAIL.with(|trail| {
///         trail.borrow_mut().push(name);
///         trail.borrow().len()
///     })
/// }
///
/// assert_eq!((step("a"), step("b")), (1, 2));
/// assert_eq!(greenloop::spawn(|| step("c")).join().unwrap(), 1);
/// ```
pub struct LocalKey<T> {
    init: fn() -> T,
}

impl<T: Send + 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(init: fn() -> T) -> Self {
        Self { init }
    }

    /// Gives `f` the current greenlet's value.
    ///
    /// # Switching
    /// Only where `f` does, which it may.
    ///
    /// # Panics
    /// Only if `f` or the value's own initialisation does.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// greenloop::local! { static CALLS: Cell<u32> = Cell::new(0); }
    ///
    /// CALLS.with(|calls| calls.set(calls.get() + 1));
    /// assert_eq!(CALLS.with(Cell::get), 1);
    /// ```
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        let key = std::ptr::from_ref(self).addr();
        let value = with_local(|local| local.get(key)).unwrap_or_else(|| {
            let made: Rc<dyn std::any::Any> = Rc::new((self.init)());
            drop(with_local(|local| local.put(key, made.clone())));
            made
        });
        f(value.downcast_ref().expect("one key has one type"))
    }
}

impl<T> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey")
    }
}

/// A value that greenlets hand down to those they spawn, such as a request's id.
///
/// # Examples
///
/// ```
/// static REQUEST: greenloop::Inherited<u64> = greenloop::Inherited::new();
///
/// let seen = REQUEST.with_value(42, || {
///     greenloop::spawn(|| REQUEST.get()).join().unwrap()
/// });
/// assert_eq!(seen.as_deref(), Some(&42));
/// assert_eq!(REQUEST.get(), None);
/// ```
///
/// gevent: `contextvars`, which start empty in every greenlet; ours are inherited.
pub struct Inherited<T> {
    // Not zero-sized: the address is what tells two of them apart.
    _address: u8,
    value: PhantomData<fn() -> T>,
}

impl<T: Send + Sync + 'static> Inherited<T> {
    /// A value that is absent until [`Inherited::with_value`] gives one.
    #[expect(clippy::new_without_default, reason = "it is only useful as a static")]
    pub const fn new() -> Self {
        Self {
            _address: 0,
            value: PhantomData,
        }
    }

    /// The value in force here.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Inherited;
    ///
    /// static USER: Inherited<String> = Inherited::new();
    ///
    /// assert_eq!(USER.get(), None);
    /// USER.with_value("ann".to_owned(), || {
    ///     assert_eq!(USER.get().unwrap().as_str(), "ann");
    /// });
    /// ```
    pub fn get(&'static self) -> Option<Arc<T>> {
        with_local(|local| local.context())
            .get(self.key())?
            .downcast()
            .ok()
    }

    /// Runs `f` with the value set, for it and every greenlet that it spawns.
    ///
    /// # Switching
    /// Only where `f` does.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenloop::Inherited;
    ///
    /// static LEVEL: Inherited<u32> = Inherited::new();
    ///
    /// LEVEL.with_value(1, || {
    ///     LEVEL.with_value(2, || assert_eq!(LEVEL.get().as_deref(), Some(&2)));
    ///     assert_eq!(LEVEL.get().as_deref(), Some(&1)); // the outer one again
    /// });
    /// ```
    ///
    /// gevent: `contextvars.Context.run`.
    pub fn with_value<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        let outer = with_local(|local| local.context());
        let inner = outer.with(self.key(), Arc::new(value));
        drop(with_local(|local| local.set_context(inner)));
        let _restore = Restore(Some(outer));
        f()
    }

    fn key(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

struct Restore(Option<super::context::Context>);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(outer) = self.0.take() {
            drop(with_local(|local| local.set_context(outer)));
        }
    }
}

impl<T> fmt::Debug for Inherited<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inherited")
    }
}
