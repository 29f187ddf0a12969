//! Kinds of step. Each answers which commands' output it needs and what differs; it does no I/O.

pub mod accept;
pub mod acceptance;
pub mod account;
pub mod assert;
pub mod audit_records;
pub mod authorized_key;
pub mod certificate;
pub mod chap;
pub mod cim;
pub mod coredump;
pub mod datastore;
pub mod dns;
pub mod encryption;
pub mod file;
pub mod fips;
pub mod firewall;
mod given;
pub mod hostname;
pub mod key_persistence;
pub mod lockdown;
pub mod maintenance;
pub mod manual;
pub mod module;
pub mod netstack_use;
mod network;
pub mod nic;
pub mod ntp;
pub mod patch_level;
pub mod people_accounts;
pub mod permission;
pub mod portgroup;
pub mod portgroup_vlans;
pub mod reboot;
pub mod reference;
mod release;
pub mod run;
pub mod secure_boot;
pub mod security_policy;
pub mod service;
pub mod setting;
pub mod signed_modules;
pub mod snmp;
pub mod sshd;
pub mod step;
pub mod sysargs;
pub mod syslog;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls_profile;
pub mod vib;
pub mod vmknic;
pub mod vmknic_isolation;
pub mod vmknic_tags;
mod vmknic_traffic;
pub mod vmotion;
pub mod vswitch;
pub mod welcome_message;

pub use step::*;

/// Every kind of step, in the order of the documentation.
static KINDS: &[Kind] = &[
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
    security_policy::KIND,
    portgroup_vlans::KIND,
    vmknic_isolation::KIND,
    netstack_use::KIND,
    firewall::KIND,
    hostname::KIND,
    dns::KIND,
    ntp::KIND,
    syslog::KIND,
    audit_records::KIND,
    snmp::KIND,
    cim::KIND,
    coredump::KIND,
    account::KIND,
    authorized_key::KIND,
    file::KIND,
    datastore::KIND,
    maintenance::KIND,
    reboot::KIND,
    run::KIND,
    assert::KIND,
    fips::KIND,
    tls_profile::KIND,
    encryption::KIND,
    secure_boot::KIND,
    key_persistence::KIND,
    welcome_message::KIND,
    certificate::KIND,
    lockdown::KIND,
    people_accounts::KIND,
    permission::KIND,
    chap::KIND,
    patch_level::KIND,
    signed_modules::KIND,
    manual::KIND,
];

/// Every kind of step, in the order of the documentation.
pub fn kinds() -> &'static [Kind] {
    KINDS
}

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.name == name)
}
