//! A switch for Ethernet frames inside esxprep, between any number of guests, without root and without taps.
//!
//! Each NIC of a guest is a pair of unix datagram sockets (`-netdev dgram`, QEMU 7.2 and later); one process per
//! network learns MACs, floods what it does not know, keeps VLANs apart as Open vSwitch does for `tag` and
//! `trunks`, pads short frames, and can capture, lose and delay frames. [`Switch`] is the pure core.
//!
//! **Frames are padded to 60 bytes before delivery.** vmxnet3 of QEMU 8.1 and later no longer pads what it
//! receives, `dgram` delivers as it is, and ESXi drops shorter frames, so that an ARP request of 42 bytes from a
//! guest was lost (lengths measured with QEMU 10.0.2; the drop reported for ESXi 7.0).

mod config;
mod control;
mod faults;
mod frame;
mod lock;
mod pcap;
mod port;
mod process;
mod run;
mod switch;

use std::io;
use std::path::PathBuf;

pub use config::{Capture, Config, PortConfig, VlanMode};
pub use control::{PortStats, Reply, Request, Stats, TableEntry, ask};
pub use faults::{FaultConfig, Faults};
pub use frame::{Mac, Tci};
pub use process::HubProcess;
pub use run::{run, run_from, until_told};
pub use switch::{Counters, Delivery, Event, PortId, Switch};

/// Why the switch cannot run, or does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A file or socket operation failed.
    #[error("the lab's switch cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// Another process switches there.
    #[error("a switch runs in {} already; stop it first (`esxprep lab down`)", dir.display())]
    Running {
        /// The folder.
        dir: PathBuf,
    },
    /// The configuration was removed: the lab was taken down before the switch had begun.
    #[error("{} is gone: the lab was taken down meanwhile", path.display())]
    Gone {
        /// The configuration's file.
        path: PathBuf,
    },
    /// The configuration cannot be read.
    #[error("{} is no configuration of a switch: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        problem: String,
    },
    /// A port that cannot be.
    #[error("port `{port}` of the lab's switch: {problem}")]
    Port {
        /// The port.
        port: String,
        /// What is wrong.
        problem: String,
    },
    /// A socket's path is too long.
    #[error("{0}")]
    Path(String),
    /// The running switch says no.
    #[error("the lab's switch refused: {0}")]
    Refused(String),
    /// The control socket said something that is no reply.
    #[error("{} gave no reply: {problem}; is another program listening there?", path.display())]
    Reply {
        /// The socket.
        path: PathBuf,
        /// What the reader said.
        problem: String,
    },
}

impl HubError {
    fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
