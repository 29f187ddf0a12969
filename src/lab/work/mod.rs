//! What `esxprep lab` does with a plan: up, down, stop, freeze, rebuild. The other rooms decide and make one thing
//! each; here they are put in order, journalled, timed and told.

mod access;
mod disks;
mod down;
mod freeze;
mod gc;
mod host;
mod install;
mod machine;
mod networks;
mod open;
mod prove;
mod reach;
mod record;
mod session;
mod standin;
mod status;
mod terminal;
mod up;

pub use access::{inventory_text, known_hosts_of, target_of};
pub use down::{chosen, down, rebuild, stop};
pub use freeze::{freeze, thaw};
pub use gc::gc;
pub use machine::{stage_started, start_hosts};
pub use open::{Kept, OpenError, Opened, Wanted, find, look_at_machine, open, standing_plan};
pub use session::{Session, WorkError, Working};
pub use status::{HostStatus, status, table};
pub use terminal::{ASKPASS_VARIABLE, Askpass, RawTerminal, as_png, askpass, free_port};
pub use up::{UpOptions, refuse, up};

/// The word by which esxprep runs itself as the switch of a `hub` network. Not one of clap's subcommands: completions
/// would offer even a hidden one.
pub const HUB: &str = "lab-hub";
