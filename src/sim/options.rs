//! What a simulator is started with, and what it tells about the hosts it runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Below, Fault};

/// How many hosts of which release, where they listen and what goes wrong with them.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of hosts, 1 or more. They are called esx1, esx2, ...
    pub hosts: usize,
    /// ESXi release: "6.0", "6.5", "6.7", "7.0" or "8.0".
    pub version: String,
    /// Address of the first host; the next ones get the following ports, or any free ones with port 0.
    /// An address that is not loopback opens the hosts to the network: only if a person asked for it.
    pub listen: SocketAddr,
    /// Where hosts are kept over restarts; `None`: a temporary directory, removed at the end.
    pub state: Option<PathBuf>,
    /// Milliseconds added to every call of esxcli.
    pub esxcli_ms: u64,
    /// Milliseconds that a host is away during a reboot.
    pub boot_ms: u64,
    /// Milliseconds after SSH until the management agent (hostd) answers, after a reboot.
    pub hostd_ms: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// A file for everything that the hosts are asked for, one JSON line each; `None`: it is not written down.
    pub log: Option<PathBuf>,
    /// Root's password; `None`: one is made up for each host.
    pub password: Option<String>,
    /// sshd's MaxSessions; `None`: as the host's own sshd_config says (OpenSSH's default is 10).
    pub max_sessions: Option<usize>,
    /// Whether sshd has an SFTP subsystem.
    pub sftp: bool,
    /// Whether sshd offers the `password` method besides keyboard-interactive; `None`: as the release does.
    pub password_method: Option<bool>,
    /// Hosts with a vmknic address in 127.0.0.0/8 listen there too, and stop when the vmknic goes.
    pub listen_on_vmknics: bool,
    /// A fixed address of vmk0 in 127.0.0.0/8 for the first host, the next ones for the others: the hosts are found
    /// there and nowhere else, as long as the vmknic has it. Implies `listen_on_vmknics`.
    pub management_address: Option<Ipv4Addr>,
    /// Use plain chroot even where namespaces are to be had (needs root): for machines that have them but odd.
    pub plain_chroot: bool,
    /// Use the machine's own shell and tools even where there is busybox.
    pub without_busybox: bool,
    /// A machine below the host that is the host's own, as in a virtual machine; `None`: everything is made up.
    pub below: Option<Arc<dyn Below>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            hosts: 1,
            version: "6.5".into(),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            state: None,
            esxcli_ms: 0,
            boot_ms: 1500,
            hostd_ms: 700,
            faults: Vec::new(),
            log: None,
            password: None,
            max_sessions: None,
            sftp: false,
            password_method: None,
            listen_on_vmknics: false,
            management_address: None,
            plain_chroot: false,
            without_busybox: false,
            below: None,
        }
    }
}

/// Where a simulated host is and how to log in to it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HostInfo {
    /// Name in the inventory: esx1, esx2, ...
    pub name: String,
    /// Address to connect to.
    pub address: String,
    /// TCP port of sshd.
    pub port: u16,
    /// Always root.
    pub user: String,
    /// Root's password.
    pub password: String,
    /// Host key as in known_hosts: `ecdsa-sha2-nistp256 AAAA...`.
    pub host_key: String,
    /// Full version, as 6.5.0.
    pub version: String,
    /// A stand-in for a Host Client update on this machine, for playbooks that want one.
    pub host_client_vib: PathBuf,
}

/// The inventory of these hosts with pinned host keys. It holds passwords: keep the file to its owner (mode 0600).
pub fn inventory_yaml(hosts: &[HostInfo]) -> String {
    // A JSON string is a YAML double-quoted string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut yaml = String::from("# Simulated hosts. The passwords below open nothing else.\nhosts:\n");
    for host in hosts {
        yaml.push_str(&format!(
            "  {}:\n    address: {}\n    port: {}\n    user: {}\n    password: {}\n    host_key: {}\n    \
             vars: {{{}: {}}}\n",
            host.name,
            quoted(&host.address),
            host.port,
            host.user,
            quoted(&host.password),
            quoted(&host.host_key),
            super::sample::VARIABLE,
            quoted(&host.host_client_vib.to_string_lossy()),
        ));
        // Its sshd signs with SHA-1 only.
        if host.version.starts_with("6.0") {
            yaml.push_str("    algorithms: legacy\n");
        }
    }
    yaml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inventory_is_yaml_with_every_field() {
        let host = HostInfo {
            name: "esx1".into(),
            address: "127.0.0.1".into(),
            port: 40001,
            user: "root".into(),
            password: "a\"b: #c".into(),
            host_key: "ecdsa-sha2-nistp256 AAAA".into(),
            version: "6.5.0".into(),
            host_client_vib: "/tmp/a.vib".into(),
        };
        let value: serde_json::Value = serde_saphyr::from_str(&inventory_yaml(&[host])).unwrap();
        let esx1 = &value["hosts"]["esx1"];
        assert_eq!(esx1["password"], "a\"b: #c");
        assert_eq!(esx1["port"], 40001);
        assert_eq!(esx1["host_key"], "ecdsa-sha2-nistp256 AAAA");
    }
}
