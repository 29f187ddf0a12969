//! What `esxprep lab` does with a plan: up, down, stop, freeze, rebuild. The other rooms decide and make one thing
//! each; here they are put in order, journalled, timed and told.

mod access;
mod disks;
mod down;
mod freeze;
mod host;
mod install;
mod machine;
mod networks;
mod open;
mod prove;
mod record;
mod session;
mod standin;
mod status;
mod up;

pub use access::{inventory_text, known_hosts_of, target_of};
pub use down::{down, gc, rebuild, stop};
pub use freeze::{freeze, thaw};
pub use machine::start_hosts;
pub use open::{Kept, Opened, Wanted, find, kept_plan, open, standing_plan};
pub use session::{Session, WorkError, Working};
pub use status::{HostStatus, status, table};
pub use up::{UpOptions, up};
