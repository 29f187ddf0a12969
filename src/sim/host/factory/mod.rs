//! A host as the installer left it, after somebody switched SSH on.

pub(super) mod builds;
mod files;
pub(super) mod firewall;
pub(super) mod hardening;
pub(super) mod tables;

use std::collections::BTreeMap;

use super::cmd::storage::boot_device;
use super::cmd::syslog::configured;
use super::guard::Guard;
use super::state::{
    Account, Datastore, Failover, Firewall, HostState, Module, Network, Nic, Permission, Portgroup, Release, Ruleset,
    Security, SshdProfile, StateError, Vmknic, Vswitch,
};

/// Hex digits that depend on nothing but the words and the index, so that a host is the same in every run.
fn hex(index: usize, what: &str, digits: usize) -> String {
    let mut h: u64 = 0xcbf2_9ce4_8422_2325;
    let mut out = String::new();
    let mut round = 0_usize;
    while out.len() < digits {
        for byte in what.bytes().chain([index as u8, round as u8, 0x5a]) {
            h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        h ^= h >> 29;
        out.push_str(&format!("{h:016x}"));
        round += 1;
    }
    out.truncate(digits);
    out
}

/// The first NIC's MAC address without its colons: UUIDs that a host makes end with it.
fn own_mac(index: usize) -> String {
    format!("525400e5{index:02x}01")
}

fn volume_uuid(index: usize, what: &str) -> String {
    let hex = |digits| hex(index, what, digits);
    format!("{}-{}-{}-{}", hex(8), hex(16).split_off(8), self::hex(index + 1, what, 4), own_mac(index))
}

fn bank_uuid(index: usize, what: &str) -> String {
    let h = hex(index, what, 32);
    format!("{}-{}-{}-{}", &h[..8], &h[8..16], &h[16..20], &h[20..])
}

/// Volumes of every simulated host, as 32 hex digits: nobody else's have these.
pub fn made_up_uuids() -> std::collections::HashSet<String> {
    (0..=200)
        .flat_map(|index| {
            let banks = ["bootbank", "altbootbank"].map(|what| bank_uuid(index, what));
            let volumes = ["datastore1", "osdata", "scratch", "store"].map(|what| volume_uuid(index, what));
            banks.into_iter().chain(volumes)
        })
        .map(|uuid| uuid.replace('-', ""))
        .collect()
}

/// The modules that are there before anything is installed: name, from release, to release, hardware present.
/// Names of native and vmklinux drivers per release: recorded installer and `vmkload_mod` lists; the selection
/// is ours.
const MODULES: &[(&str, Release, Release, bool)] = &[
    ("vmkernel", Release::V60, Release::V80, true),
    ("chardevs", Release::V60, Release::V80, true),
    ("user", Release::V60, Release::V80, true),
    ("procfs", Release::V60, Release::V80, true),
    ("lvmdriver", Release::V60, Release::V80, true),
    ("vsi", Release::V60, Release::V80, true),
    ("vprobe", Release::V60, Release::V80, true),
    ("vmkapi_mgmt", Release::V60, Release::V80, true),
    ("etherswitch", Release::V60, Release::V80, true),
    ("netsched_fifo", Release::V60, Release::V80, true),
    ("cnic_register", Release::V60, Release::V67, false),
    ("dm", Release::V60, Release::V80, true),
    ("nmp", Release::V60, Release::V80, true),
    ("vmw_satp_local", Release::V60, Release::V80, true),
    ("vmw_psp_fixed", Release::V60, Release::V80, true),
    ("vmw_psp_lib", Release::V60, Release::V80, true),
    ("vmw_psp_mru", Release::V60, Release::V80, true),
    ("vmw_psp_rr", Release::V60, Release::V80, true),
    ("vfat", Release::V60, Release::V80, true),
    ("vmfs3", Release::V60, Release::V80, true),
    ("nfsclient", Release::V60, Release::V80, true),
    ("nfs41client", Release::V60, Release::V80, true),
    ("tcpip4", Release::V60, Release::V80, true),
    ("tcpip3", Release::V60, Release::V67, false),
    ("dvsdev", Release::V60, Release::V80, true),
    ("vmkibft", Release::V60, Release::V80, true),
    ("esxfw", Release::V60, Release::V80, true),
    ("migrate", Release::V60, Release::V80, true),
    ("cbt", Release::V60, Release::V80, true),
    ("svmmirror", Release::V60, Release::V80, true),
    ("hbr_filter", Release::V60, Release::V80, true),
    ("ftcpt", Release::V60, Release::V80, true),
    ("vmkstatelogger", Release::V60, Release::V80, true),
    ("swapobj", Release::V60, Release::V80, true),
    ("random", Release::V60, Release::V80, true),
    ("vmklinux_9", Release::V60, Release::V67, true),
    ("vmklinux_9_2_3_0", Release::V60, Release::V67, true),
    ("libata_9_2_0_0", Release::V60, Release::V67, true),
    ("libata", Release::V60, Release::V67, true),
    ("usb", Release::V60, Release::V67, true),
    ("ehci-hcd", Release::V60, Release::V67, true),
    ("usb-uhci", Release::V60, Release::V67, true),
    ("xhci", Release::V60, Release::V67, true),
    ("usb-storage", Release::V60, Release::V67, false),
    ("hid", Release::V60, Release::V67, true),
    ("ata_piix", Release::V60, Release::V67, true),
    ("ahci", Release::V60, Release::V67, false),
    ("e1000", Release::V60, Release::V67, true),
    ("e1000e", Release::V60, Release::V67, false),
    ("igb", Release::V60, Release::V67, false),
    ("ixgbe", Release::V60, Release::V67, false),
    ("tg3", Release::V60, Release::V67, false),
    ("vmxnet3", Release::V60, Release::V60, false),
    ("vmw_ahci", Release::V65, Release::V80, false),
    ("vmkusb", Release::V65, Release::V80, true),
    ("vmkata", Release::V65, Release::V80, true),
    ("nvmxnet3", Release::V65, Release::V80, true),
    ("pvscsi", Release::V65, Release::V80, false),
    ("ne1000", Release::V65, Release::V80, false),
    ("igbn", Release::V65, Release::V80, false),
    ("ixgben", Release::V65, Release::V80, false),
    ("i40en", Release::V65, Release::V80, false),
    ("ntg3", Release::V65, Release::V80, false),
    ("nvme", Release::V60, Release::V67, false),
    ("nvme_pcie", Release::V70, Release::V80, false),
    ("iscsi_vmk", Release::V60, Release::V80, false),
    ("vsanbase", Release::V60, Release::V80, false),
    ("fips_crypto", Release::V67, Release::V80, true),
    ("crypto_fips", Release::V60, Release::V65, true),
];

impl HostState {
    /// A fresh installation of the line's build, after SSH was switched on (running, and with the host).
    ///
    /// `index` (from 0) makes name, MAC addresses, UUIDs and address differ: esx1 at 192.0.2.10 and so on.
    /// Versions are `6.0`, `6.5`, `6.7`, `7.0`, `8.0`, also with more numbers behind.
    ///
    /// # Errors
    /// A version without a simulated host, or an index past the network's end.
    pub fn factory(version: &str, index: usize) -> Result<HostState, StateError> {
        let build = builds::BUILDS
            .iter()
            .find(|b| {
                let line = &b.full[..3];
                version == line || version.strip_prefix(line).is_some_and(|rest| rest.starts_with('.'))
            })
            .ok_or_else(|| StateError::UnknownVersion(version.to_owned()))?;
        if index > 200 {
            return Err(StateError::TooMany(index));
        }
        let release = build.release;
        let macs: Vec<String> = (0..2).map(|n| format!("52:54:00:e5:{index:02x}:{:02x}", n + 1)).collect();
        let tail = own_mac(index);
        let volume = |what: &str| volume_uuid(index, what);
        let bank = |what: &str| bank_uuid(index, what);
        let e1000 = release <= Release::V65;
        let nics = macs
            .iter()
            .enumerate()
            .map(|(n, mac)| Nic {
                name: format!("vmnic{n}"),
                pci: format!("0000:00:{:02x}.0", n + 3),
                driver: if e1000 { "e1000" } else { "nvmxnet3" }.into(),
                mac: mac.clone(),
                virtual_mac: format!("00:50:56:5{n}:{index:02x}:{:02x}", n + 0x20),
                up: true,
                link: true,
                speed: if e1000 { 1000 } else { 10000 },
                duplex: "Full".into(),
                auto: true,
                mtu: 1500,
                description: if e1000 {
                    "Intel Corporation 82540EM Gigabit Ethernet Controller"
                } else {
                    "VMware Inc. vmxnet3 Virtual Ethernet Controller"
                }
                .into(),
                pci_id: if e1000 { ("8086", "100e") } else { ("15ad", "07b0") }.map_pair(),
            })
            .collect();
        let boot_partition =
            if release >= Release::V70 { (4_293_591_040, 4_120_444_928) } else { (261_853_184, 113_819_648) };
        let banks = (bank("bootbank"), bank("altbootbank"));
        let mut stores = vec![Datastore {
            name: "datastore1".into(),
            uuid: volume("datastore1"),
            kind: if release >= Release::V67 { "VMFS-6" } else { "VMFS-5" }.into(),
            size: 34_091_302_912,
            free: 32_580_304_896,
            partition: if release >= Release::V70 { 8 } else { 3 },
        }];
        let vfat = |name: &str, uuid: &str, size: u64, free: u64, partition| Datastore {
            name: if release >= Release::V70 { name.into() } else { String::new() },
            uuid: uuid.into(),
            kind: "vfat".into(),
            size,
            free,
            partition,
        };
        if release >= Release::V70 {
            let uuid = volume("osdata");
            stores.push(Datastore {
                name: format!("OSDATA-{uuid}"),
                uuid,
                kind: "VMFSOS".into(),
                size: 21_206_401_024,
                free: 18_203_279_360,
                partition: 7,
            });
        } else {
            stores.push(vfat("", &volume("scratch"), 4_293_591_040, 4_267_114_496, 2));
            stores.push(vfat("", &volume("store"), 299_712_512, 80_486_400, 8));
        }
        stores.push(vfat("BOOTBANK1", &banks.0, boot_partition.0, boot_partition.1, 5));
        stores.push(vfat("BOOTBANK2", &banks.1, boot_partition.0, boot_partition.0 - 65_536, 6));

        let switch_security =
            Security { promiscuous: false, mac_change: release < Release::V70, forged: release < Release::V70 };
        let portgroup = |name: &str| Portgroup {
            name: name.into(),
            vswitch: "vSwitch0".into(),
            vlan: 0,
            vm_clients: 0,
            promiscuous: None,
            mac_change: None,
            forged: None,
        };
        let admin = |id: &str| Permission { principal: id.into(), group: false, role: "Admin".into() };
        let account = |id: &str, text: &str, shell| Account { id: id.into(), description: text.into(), shell };
        let mut state = HostState {
            stores_late: false,
            release,
            full: build.full.into(),
            build: build.build,
            update: build.update,
            patch: build.patch,
            index,
            host: format!("esx{}", index + 1),
            domain: "lab.test".into(),
            uuid: {
                let h = hex(index, "system", 20);
                format!("{}-{}-{}-{}-{tail}", &h[..8], &h[8..12], &h[12..16], &h[16..])
            },
            bios_uuid: hex(index, "bios", 32),
            boot_time: 0,
            boot_bus: if release >= Release::V70 { "ahci" } else { "ide" }.into(),
            boot_lost: false,
            bootbanks: banks,
            stores,
            nics,
            modules: MODULES
                .iter()
                .filter(|m| m.1 <= release && release <= m.2)
                .map(|m| Module {
                    name: m.0.into(),
                    loaded: false,
                    enabled: true,
                    params: String::new(),
                    present: match m.0 {
                        "e1000" => e1000,
                        "nvmxnet3" => !e1000,
                        _ => m.3,
                    },
                })
                .collect(),
            advanced: BTreeMap::new(),
            hostd: BTreeMap::new(),
            kernel: BTreeMap::new(),
            acceptance: "PartnerSupported".into(),
            image: builds::image(release),
            pending: None,
            net: Network {
                vswitches: vec![Vswitch {
                    name: "vSwitch0".into(),
                    ports: 128,
                    mtu: 1500,
                    cdp: "listen".into(),
                    uplinks: vec!["vmnic0".into()],
                    security: switch_security,
                    failover: Failover {
                        load_balancing: "srcport".into(),
                        detection: "link".into(),
                        notify: true,
                        failback: true,
                        active: vec!["vmnic0".into()],
                        standby: Vec::new(),
                    },
                }],
                portgroups: vec![portgroup("Management Network"), portgroup("VM Network")],
                vmks: vec![Vmknic {
                    name: "vmk0".into(),
                    portgroup: "Management Network".into(),
                    mac: macs[0].clone(),
                    enabled: true,
                    mtu: 1500,
                    netstack: "defaultTcpipStack".into(),
                    kind: "DHCP".into(),
                    address: format!("192.0.2.{}", 10 + index),
                    netmask: "255.255.255.0".into(),
                    gateway: "192.0.2.1".into(),
                    dhcp_dns: true,
                    tags: vec!["Management".into()],
                    port_id: 33_554_436,
                }],
                netstacks: vec!["defaultTcpipStack".into()],
                dns: vec!["192.0.2.1".into()],
                search: vec!["lab.test".into()],
                routes: Vec::new(),
                generated: 0,
            },
            services: hardening::services(release),
            firewall: Firewall {
                enabled: true,
                loaded: true,
                pass: false,
                rulesets: firewall::RULESETS
                    .iter()
                    .filter(|r| r.since <= release)
                    .map(|r| Ruleset { name: r.name.into(), enabled: r.enabled(release), all: true, ips: Vec::new() })
                    .collect(),
            },
            syslog: BTreeMap::new(),
            ntp_servers: Vec::new(),
            ntp_loglevel: "warning".into(),
            accounts: vec![
                account("root", "Administrator", true),
                account("dcui", "DCUI User", true),
                account("vpxuser", "VMware VirtualCenter administration account", true),
            ],
            permissions: vec![admin("dcui"), admin("root"), admin("vpxuser")],
            vms: Vec::new(),
            maintenance: false,
            certificates: 1,
            guard: Guard::default(),
            attached: None,
        };
        state.guard = Guard::factory(release, &boot_device(&state));
        state.guard.syslog_running = configured(&state);
        state.mark_hardware();
        state.load_modules();
        Ok(state)
    }

    /// What sshd offers. 8.0: the recorded sshd_config of 8.0.2; FIPS mode by default from 7.0 U3. The lists of
    /// 6.x are plausible for their OpenSSH and not verified; that 6.0 has RSA and DSA host keys is documented.
    pub fn sshd_profile(&self) -> SshdProfile {
        const NIST: [&str; 3] = ["ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521"];
        let mut kex: Vec<&'static str> = Vec::new();
        if self.release < Release::V70 && self.release > Release::V60 {
            kex.push("curve25519-sha256@libssh.org");
        }
        kex.extend(NIST);
        kex.push("diffie-hellman-group-exchange-sha256");
        if self.release >= Release::V70 {
            kex.extend(["diffie-hellman-group16-sha512", "diffie-hellman-group18-sha512"]);
        }
        kex.push(if self.release >= Release::V70 {
            "diffie-hellman-group14-sha256"
        } else {
            "diffie-hellman-group14-sha1"
        });
        let mut ciphers: Vec<&'static str> = Vec::new();
        if self.release > Release::V60 {
            ciphers.extend(["aes256-gcm@openssh.com", "aes128-gcm@openssh.com"]);
        }
        ciphers.extend(["aes256-ctr", "aes192-ctr", "aes128-ctr"]);
        let mut macs = vec!["hmac-sha2-256", "hmac-sha2-512"];
        if self.release <= Release::V65 {
            macs.push("hmac-sha1");
        }
        SshdProfile {
            kex,
            ciphers,
            macs,
            host_keys: if self.release == Release::V60 {
                vec!["ssh-rsa", "ssh-dss"]
            } else {
                vec!["ecdsa-sha2-nistp256", "rsa-sha2-256", "rsa-sha2-512", "ssh-rsa"]
                    .into_iter()
                    .filter(|k| *k != "ssh-rsa" || self.release < Release::V70)
                    .collect()
            },
            password_method: self.release < Release::V67,
            fips: self.release >= Release::V70,
        }
    }
}

/// Two words into two strings.
trait MapPair {
    fn map_pair(self) -> (String, String);
}

impl MapPair for (&str, &str) {
    fn map_pair(self) -> (String, String) {
        (self.0.to_owned(), self.1.to_owned())
    }
}
