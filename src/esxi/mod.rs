//! ESXi as data: command builders with safe quoting, readers of what ESXi prints, versions, host facts.
//! Nothing in here does I/O.

pub mod bundle;
pub mod command;
pub mod facts;
pub mod failure;
pub mod forms;
pub mod mac;
pub mod net;
pub mod net_hostconfig;
pub mod output;
pub mod parse;
pub mod services;
pub mod settings;
pub mod software;
pub mod version;
pub mod vimdump;

pub use command::Command;
pub use facts::HostFacts;
pub use output::{Output, Outputs};
pub use version::Version;

/// The output in a recorded transcript: the text after its `# ` header lines and one empty line.
#[cfg(test)]
pub(crate) fn recorded(file: &str) -> String {
    let body: Vec<&str> = file.split_inclusive('\n').skip_while(|l| l.starts_with('#')).collect();
    body.concat().strip_prefix('\n').map_or_else(|| body.concat(), str::to_owned)
}
