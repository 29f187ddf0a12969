//! The only room with I/O to a host: identify, observe, compare, act, verify, persist, reboot.

mod act;
pub mod artifacts;
mod detached;
pub mod events;
pub mod host;
pub mod identify;
pub mod journal;
mod leftovers;
mod observe;
pub mod prepare;
mod reboot;
pub mod replay;
pub mod run;
mod session;
mod step;

pub use replay::{Replayed, hosts_of, replayed};
pub use run::{Batch, Context, Mode, Resumed, RunOptions, RunOutcome, run};
