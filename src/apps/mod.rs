//! Programs over the floors below.
