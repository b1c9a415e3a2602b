//! gevent's own tests, by module and by name, as far as what they test is here; each says
//! where we differ on purpose.

mod monitor;
mod util;
