//! From a lab and what is known of this machine to everything that will be made. Pure: no I/O at all.

mod types;

pub use types::*;
