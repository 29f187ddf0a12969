//! The only room with I/O to a host: identify, observe, compare, act, verify, persist, reboot.

mod act;
mod ahead;
pub mod artifacts;
mod closed;
mod controls;
pub(crate) mod detached;
mod down;
pub mod events;
mod first;
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
pub mod undo;
mod unsaved;

pub use crate::playbook::{Batch, Serial};
pub use replay::{Replayed, hosts_of, replayed};
pub use run::{Context, FORKS, Mode, Resumed, RunOptions, RunOutcome, run};

/// Where what can be had or made again is kept: downloads, rebuilt ISOs, how long phases of labs take.
pub fn cache_dir() -> std::path::PathBuf {
    use etcetera::BaseStrategy;
    etcetera::choose_base_strategy()
        .map_or_else(|_| std::env::temp_dir().join("esxprep-cache"), |s| s.cache_dir().join("esxprep"))
}
