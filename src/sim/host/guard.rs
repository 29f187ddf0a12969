//! The part of a host's state that hardening looks at and nothing else does: TLS profile, encryption, agents, lockdown,
//! what the log daemon runs with ... What is also one of hostd's options or a file is not here: it has one place only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::{HostState, Release};

/// How the configuration is sealed, and what the next boot insists on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Encryption {
    /// `NONE` or `TPM`.
    pub mode: String,
    pub secure_boot: bool,
    pub installed_only: bool,
}

/// One direction of CHAP on an iSCSI adapter. The secret is kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chap {
    pub name: String,
    /// `prohibited`, `discouraged`, `preferred` or `required`.
    pub level: String,
}

/// A software iSCSI adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Iscsi {
    pub name: String,
    pub uni: Chap,
    pub mutual: Chap,
}

/// Where a core dump goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Dump {
    /// The configured partition, empty for none.
    pub partition: String,
    /// Whether it is in use.
    pub active: bool,
    pub network: bool,
    pub interface: String,
    pub server: String,
    pub port: i64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Guard {
    /// Hardware and surroundings that an option of the simulator gives the host.
    pub tpm: bool,
    /// Secure Boot is on in the firmware.
    pub secure_boot: bool,
    /// A vCenter Server manages the host.
    pub vcenter: bool,
    /// Something has a registration with slpd, which then refuses to stop.
    pub slp_busy: bool,
    /// `lockdownDisabled`, `lockdownNormal` or `lockdownStrict`.
    pub lockdown: String,
    /// Users who keep their access in lockdown mode.
    pub exceptions: Vec<String>,
    pub encryption: Encryption,
    /// The TLS profile as configured, and the one of this boot.
    pub tls: String,
    pub tls_boot: String,
    pub fips_proxy: bool,
    pub key_persistence: bool,
    /// The CIM agent is administratively enabled.
    pub wbem: bool,
    /// SNMP settings that differ from their default, by label.
    pub snmp: BTreeMap<String, String>,
    pub dump: Dump,
    pub iscsi: Vec<Iscsi>,
    /// What vmsyslogd was last loaded with, by label.
    pub syslog_running: BTreeMap<String, String>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            tpm: false,
            secure_boot: false,
            vcenter: false,
            slp_busy: false,
            lockdown: "lockdownDisabled".into(),
            exceptions: Vec::new(),
            encryption: Encryption { mode: "NONE".into(), secure_boot: false, installed_only: false },
            tls: "COMPATIBLE".into(),
            tls_boot: "COMPATIBLE".into(),
            fips_proxy: true,
            key_persistence: false,
            wbem: false,
            snmp: BTreeMap::new(),
            dump: Dump::default(),
            iscsi: Vec::new(),
            syslog_running: BTreeMap::new(),
        }
    }
}

impl Guard {
    /// As the installer leaves it. CIM is off from 6.5 on until something brings a provider (documented). Up to 6.7
    /// the installer makes a dump partition; from 7.0 a file in the system storage takes the dump.
    pub(super) fn factory(release: Release, boot_device: &str) -> Self {
        let old = release < Release::V70;
        Self {
            wbem: release == Release::V60,
            dump: Dump {
                partition: if old { format!("{boot_device}:9") } else { String::new() },
                active: old,
                ..Dump::default()
            },
            ..Self::default()
        }
    }
}

impl HostState {
    /// Gives the host a TPM 2.0.
    pub fn set_tpm(&mut self) {
        self.guard.tpm = true;
    }

    /// Turns Secure Boot on in the firmware.
    pub fn set_secure_boot(&mut self) {
        self.guard.secure_boot = true;
    }

    /// Puts the host under a vCenter Server, with its agent.
    pub fn set_managed(&mut self) {
        self.guard.vcenter = true;
        if let Some(agent) = self.service_mut("vpxa") {
            agent.running = true;
        }
    }

    /// Somebody has a registration with slpd: it refuses to stop.
    pub fn set_slp_busy(&mut self) {
        self.guard.slp_busy = true;
    }

    /// `user` keeps the access in lockdown mode.
    pub fn add_lockdown_exception(&mut self, user: &str) {
        if !self.guard.exceptions.iter().any(|known| known == user) {
            self.guard.exceptions.push(user.to_owned());
        }
    }

    /// Turns software iSCSI on: the host has an adapter vmhba64 (a name that this simulator chose).
    pub fn add_iscsi_adapter(&mut self) {
        if self.guard.iscsi.is_empty() {
            let off = || Chap { name: String::new(), level: "prohibited".into() };
            self.guard.iscsi.push(Iscsi { name: "vmhba64".into(), uni: off(), mutual: off() });
        }
    }

    /// Whether the boot loader would let this configuration start: an enforcement that the firmware or the kernel's
    /// boot option does not meet ends in a purple screen (vendor's documents on sealed configurations).
    pub fn can_boot(&self) -> bool {
        let sealed = &self.guard.encryption;
        let installed_only =
            self.kernel.get("execInstalledOnly").is_some_and(|value| value.configured.eq_ignore_ascii_case("true"));
        (!sealed.secure_boot || self.guard.secure_boot)
            && (!sealed.installed_only || installed_only)
            && (sealed.mode != "TPM" || self.guard.tpm)
    }

    /// Whether `user` may open a session over SSH: not in lockdown mode unless on the list of exceptions, and from
    /// 8.0 on not without shell access. Root's flag has no effect (documented).
    pub fn may_log_in(&self, user: &str) -> bool {
        if self.guard.lockdown != "lockdownDisabled" && !self.guard.exceptions.iter().any(|known| known == user) {
            return false;
        }
        user == "root"
            || self.release < Release::V80
            || self.accounts.iter().find(|a| a.id == user).is_none_or(|account| account.shell)
    }

    /// Whether the firewall lets SSH in from `peer`.
    pub fn ssh_allowed_from(&self, peer: std::net::IpAddr) -> bool {
        let firewall = &self.firewall;
        if !firewall.enabled || !firewall.loaded || firewall.pass {
            return true;
        }
        let Some(ruleset) = firewall.rulesets.iter().find(|r| r.name == "sshServer" && r.enabled) else { return false };
        let peer = peer.to_canonical();
        ruleset.all
            || ruleset.ips.iter().any(|text| match text.parse::<ipnet::IpNet>() {
                Ok(network) => network.contains(&peer),
                Err(_) => text.parse() == Ok(peer),
            })
    }

    /// What a boot does to all this.
    pub(super) fn boot_guard(&mut self) {
        self.guard.tls_boot.clone_from(&self.guard.tls);
        let dump = &mut self.guard.dump;
        dump.active = dump.active && !dump.partition.is_empty();
        self.guard.syslog_running = super::cmd::syslog::configured(self);
    }
}
