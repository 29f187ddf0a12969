//! Kinds of step. Each answers which commands' output it needs and what differs; it does no I/O.

pub mod accept;
pub mod acceptance;
pub mod account;
pub mod assert;
pub mod authorized_key;
pub mod datastore;
pub mod dns;
pub mod file;
pub mod firewall;
pub mod hostname;
pub mod maintenance;
pub mod module;
mod network;
pub mod nic;
pub mod ntp;
pub mod portgroup;
pub mod reboot;
pub mod reference;
pub mod run;
pub mod service;
pub mod setting;
pub mod sshd;
pub mod step;
pub mod sysargs;
pub mod syslog;
#[cfg(test)]
pub(crate) mod testing;
pub mod vib;
pub mod vmknic;
pub mod vmknic_tags;
pub mod vmotion;
pub mod vswitch;

pub use step::*;

/// Every kind of step, in the order of the documentation.
static KINDS: [Kind; 25] = [
    vib::KIND,
    acceptance::KIND,
    module::KIND,
    setting::KIND,
    sshd::KIND,
    vmknic::KIND,
    vmotion::KIND,
    vmknic_tags::KIND,
    vswitch::KIND,
    portgroup::KIND,
    nic::KIND,
    service::KIND,
    firewall::KIND,
    hostname::KIND,
    dns::KIND,
    ntp::KIND,
    syslog::KIND,
    account::KIND,
    authorized_key::KIND,
    file::KIND,
    datastore::KIND,
    maintenance::KIND,
    reboot::KIND,
    run::KIND,
    assert::KIND,
];

/// Every kind of step, in the order of the documentation.
pub fn kinds() -> &'static [Kind] {
    &KINDS
}

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.name == name)
}
