//! gevent's own tests, module by module under their names, each with the case it covers
//! and where we differ on purpose.

mod os;
mod signal;
mod subprocess;
mod threadpool;
