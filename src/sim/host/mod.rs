//! The state of one simulated ESXi host and the answers of its programs, for 6.0, 6.5, 6.7, 7.0 and 8.0.
//!
//! The simulator is the other end of every test, so it must not agree with the product by construction: nothing
//! in here uses the product's command builders, readers or tables. What a command prints is made from typed
//! records by one printer (`esxcli`), the way the real esxcli makes text, csv, xml and keyvalue out of the
//! same answer, and is compared with recorded outputs of real hosts in the tests.
//!
//! Three states are told apart, because that is where playbooks go wrong: what is configured, what is running,
//! and what would be there after the next boot.

mod advopt;
mod attach;
mod cmd;
mod dispatch;
mod dump;
mod esxcfg;
mod esxcli;
mod factory;
mod guard;
mod hostconfig;
mod secure;
mod state;
#[cfg(test)]
mod tests;
mod tools;
mod values;
mod vimcmd;

pub use attach::{Attached, AttachedController, AttachedDisk, AttachedNic, Lease, Setup, VmkLink};
pub use dispatch::{answer, programs};
pub use factory::made_up_uuids;
pub use state::{HostState, SshdProfile, StateError};

/// The value of a keyword in the text of a sshd_config: the first line outside of Match blocks counts.
pub fn sshd_keyword(text: &str, key: &str) -> Option<String> {
    cmd::sshd::first(text, key)
}

use std::path::{Path, PathBuf};

/// One program run on the simulated host.
#[derive(Debug)]
pub struct Call<'a> {
    /// The program's path or name, then its arguments.
    pub argv: &'a [String],
    /// Its standard input, read to the end.
    pub stdin: &'a [u8],
    /// The host's root directory on the real machine: `/tmp/x` of the host is `root/tmp/x`.
    pub root: &'a Path,
    /// Size of the /tmp RAM disk in bytes.
    pub tmp_bytes: u64,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// The session's `SSH_CONNECTION`: client address and port, server address and port.
    pub ssh_connection: &'a str,
    /// Whether standard input and output are a terminal.
    pub tty: bool,
    /// Whether hostd answers yet. Without it esxcli and vim-cmd cannot connect.
    pub hostd_up: bool,
}

impl Call<'_> {
    /// Where a path of the host is on the real machine. `..` cannot lead out of the root.
    pub(super) fn path(&self, host_path: &str) -> PathBuf {
        let mut out = self.root.to_path_buf();
        let base = out.components().count();
        for part in host_path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if out.components().count() > base {
                        out.pop();
                    }
                }
                name => {
                    out.push(name);
                    // A link of the host's own tree (/bootbank, /scratch, a datastore's label) names a host path.
                    if let Ok(target) = std::fs::read_link(&out)
                        && target.is_absolute()
                        && !target.starts_with(self.root)
                        && let Ok(inside) = target.strip_prefix("/")
                    {
                        out = self.root.join(inside);
                    }
                }
            }
        }
        out
    }
}

/// What a program printed, and what it set in motion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// The exit code.
    pub code: i32,
    /// What the core has to do after it.
    pub effects: Vec<Effect>,
}

impl Answer {
    /// Text on standard output, exit code 0.
    pub(super) fn out(text: impl Into<String>) -> Self {
        Self { stdout: text.into().into_bytes(), ..Self::default() }
    }

    /// Text on standard output and an exit code.
    pub(super) fn coded(text: impl Into<String>, code: i32) -> Self {
        Self { stdout: text.into().into_bytes(), code, ..Self::default() }
    }

    /// Text on standard error and an exit code.
    pub(super) fn err(text: impl Into<String>, code: i32) -> Self {
        Self { stderr: text.into().into_bytes(), code, ..Self::default() }
    }

    /// The same answer with one effect more.
    pub(super) fn with(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}

/// What a program sets in motion beside its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The host goes down after so many milliseconds; `save`: the configuration is saved on the way.
    Reboot {
        /// Milliseconds until it goes down.
        after_ms: u64,
        /// Whether the configuration is saved on the way down.
        save: bool,
    },
    /// The host goes down and stays off, where there is a machine that can be off; else it comes back.
    PowerOff {
        /// Milliseconds until it goes down.
        after_ms: u64,
        /// Whether the configuration is saved on the way down.
        save: bool,
    },
    /// The configuration is saved to the boot bank now.
    Save,
    /// A VMkernel interface came, went or changed its address: sessions over it may be dead.
    AddressesChanged,
    /// sshd stops taking connections; running sessions stay.
    SshStopped,
    /// sshd takes connections.
    SshStarted,
    /// hostd restarts: esxcli and vim-cmd fail for a while.
    HostdRestart,
    /// Accounts, passwords or authorized keys changed.
    KeysChanged,
    /// Who the firewall lets in changed: connections of others freeze.
    FirewallChanged,
    /// Lockdown mode began: sessions of users who are no exception end.
    LockedDown,
}
