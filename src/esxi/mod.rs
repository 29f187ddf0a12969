//! ESXi as data: command builders with safe quoting, readers of what ESXi prints, versions, host facts.
//! Nothing in here does I/O.

pub mod bundle;
pub mod command;
pub mod facts;
pub mod failure;
pub mod forms;
pub mod output;
pub mod version;

pub use command::Command;
pub use facts::HostFacts;
pub use output::{Output, Outputs};
pub use version::Version;
