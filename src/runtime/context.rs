//! What belongs to one greenlet: its locals, and the context it inherited.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Values by the address of the key that names them.
pub(crate) type Locals = HashMap<usize, Rc<dyn Any>>;
type Inherited = HashMap<usize, Arc<dyn Any + Send + Sync>>;

/// The inherited values; shared between a greenlet and its children until one changes.
#[derive(Clone, Default)]
pub(crate) struct Context(Arc<Inherited>);

/// The engine keeps one for each greenlet and OS thread; see `park`.
#[derive(Default)]
pub(crate) struct Local {
    locals: RefCell<Locals>,
    context: RefCell<Context>,
}

impl Local {
    pub(crate) fn get(&self, key: usize) -> Option<Rc<dyn Any>> {
        self.locals.borrow().get(&key).cloned()
    }

    /// Gives back what was there, to be dropped where user code may run.
    pub(crate) fn put(&self, key: usize, value: Rc<dyn Any>) -> Option<Rc<dyn Any>> {
        self.locals.borrow_mut().insert(key, value)
    }

    /// Takes all locals, to be dropped while the greenlet can still run user code.
    pub(crate) fn take(&self) -> Locals {
        self.locals.take()
    }

    pub(crate) fn context(&self) -> Context {
        self.context.borrow().clone()
    }

    /// Gives back the one before, to be dropped where user code may run.
    pub(crate) fn set_context(&self, context: Context) -> Context {
        self.context.replace(context)
    }
}

impl Context {
    pub(crate) fn get(&self, key: usize) -> Option<Arc<dyn Any + Send + Sync>> {
        self.0.get(&key).cloned()
    }

    pub(crate) fn with(&self, key: usize, value: Arc<dyn Any + Send + Sync>) -> Self {
        let mut values = Inherited::clone(&self.0);
        values.insert(key, value);
        Self(Arc::new(values))
    }
}
