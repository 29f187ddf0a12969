//! Kinds of step. Each answers which commands' output it needs and what differs; it does no I/O.

pub mod dns;
pub mod firewall;
pub mod hostname;
mod network;
pub mod nic;
pub mod portgroup;
pub mod step;
pub mod tags;
pub mod vmknic;
pub mod vmotion;
pub mod vswitch;

pub mod acceptance;
pub mod account;
pub mod authorized_key;
pub mod file;
pub mod module;
pub mod vib;
pub mod assert;
pub mod datastore;
pub mod maintenance;
pub mod ntp;
pub mod reboot;
pub mod run;
pub mod service;
pub mod setting;
pub mod step;
pub mod sysargs;
pub mod syslog;

pub use step::*;

/// Every kind of step, in the order of the documentation.
pub fn kinds() -> &'static [Kind] {
    &[]
}

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.name == name)
}
