//! The files of a fresh host, and the few that the state is written into.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::state::{HostState, Release};
use super::{builds, hex};

/// The sticky bit: auto-backup saves files that carry it.
const SAVED: u32 = 0o1000;

/// sshd_config of 8.0.2, without the lines that only 8.0 knows where `minimal` (recorded on 8.0:
/// sshd-config-directives; the older files are that one cut down and not verified).
const SSHD_80: &str = "\
# running from inetd
# Port 2200
allowstreamlocalforwarding no
allowtcpforwarding no
banner /etc/issue
challengeresponseauthentication yes
ciphers aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr
clientalivecountmax 3
clientaliveinterval 200
fipsmode yes
gatewayports no
hostbasedauthentication no
hostkeyalgorithms ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-256,rsa-sha2-512
ignorerhosts yes
kexalgorithms ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256
loglevel info
macs hmac-sha2-256,hmac-sha2-512
maxstartups 10:30:100
permitrootlogin yes
permittunnel no
permituserenvironment no
printmotd yes
rekeylimit 1G, 1H
syslogfacility auth
tcpkeepalive yes
usepam yes
x11forwarding no
subsystem sftp /usr/lib/vmware/openssh/bin/sftp-server -f LOCAL5 -l INFO
strictmodes yes
passwordauthentication no
permitemptypasswords no
hostkey /etc/ssh/ssh_host_rsa_key
hostkey /etc/ssh/ssh_host_ecdsa_key
compression no
authorizedkeysfile /etc/ssh/keys-%u/authorized_keys
";

const SSHD_OLD: &str = "\
# running from inetd
# Port 2200
HostKey /etc/ssh/ssh_host_rsa_key
HostKey /etc/ssh/SECONDKEY
UsePrivilegeSeparation no
SyslogFacility auth
LogLevel info
PermitRootLogin yes
PrintMotd yes
PrintLastLog no
TCPKeepAlive yes
X11Forwarding no
Ciphers CIPHERS
MACs hmac-sha2-256,hmac-sha2-512
UsePAM yes
PasswordAuthentication PASSWORD
Banner /etc/issue
Subsystem sftp /usr/lib/vmware/openssh/bin/sftp-server -f LOCAL5 -l INFO
AuthorizedKeysFile /etc/ssh/keys-%u/authorized_keys
ClientAliveInterval 200
ClientAliveCountMax 3
MaxSessions 10
FIPS
";

impl HostState {
    /// What an interactive login prints (recorded on 6.0, 6.7 and 8.0.3; 6.5 as 6.0, 7.0 as 6.7).
    pub fn shell_login_banner(&self) -> String {
        let mut text = "The time and date of this login have been sent to the system logs.\n\n".to_owned();
        if self.release >= Release::V67 {
            text.push_str(
                "WARNING:\n   All commands run on the ESXi shell are logged and may be included in\n   \
                 support bundles. Do not provide passwords directly on the command line.\n   \
                 Most tools can prompt for secrets or accept them from standard input.\n\n",
            );
        }
        text.push_str(if self.release >= Release::V80 {
            "VMware offers powerful and supported automation tools. Please\nsee https://developer.vmware.com for details.\n\n"
        } else {
            "VMware offers supported, powerful system administration tools.  Please\nsee www.vmware.com/go/sysadmintools for details.\n\n"
        });
        text.push_str(
            "The ESXi Shell can be disabled by an administrative user. See the\nvSphere Security documentation for more information.\n",
        );
        text
    }

    /// The files of a fresh host: path, content, mode. The sticky bit (0o1000) marks what auto-backup saves.
    pub fn factory_files(&self) -> Vec<(String, Vec<u8>, u32)> {
        let mut files: Vec<(String, Vec<u8>, u32)> = Vec::new();
        let mut add = |path: &str, text: String, mode: u32| files.push((path.into(), text.into_bytes(), mode));
        add("/etc/vmware/esx.conf", self.esx_conf(), 0o600 | SAVED);
        add("/etc/passwd", self.passwd(), 0o644 | SAVED);
        add("/etc/shadow", self.shadow(""), 0o400 | SAVED);
        add("/etc/group", "root:x:0:root\ntty:x:5:root\nusers:x:100:\nvpxuser:x:500:\n".into(), 0o644 | SAVED);
        add("/etc/ssh/sshd_config", self.sshd_config(), 0o600 | SAVED);
        add("/etc/ssh/keys-root/authorized_keys", String::new(), 0o600 | SAVED);
        if self.release < Release::V70 {
            add(
                "/etc/ntp.conf",
                "restrict default nomodify notrap nopeer noquery\nrestrict 127.0.0.1\nrestrict -6 ::1\ndriftfile /etc/ntp.drift\n"
                    .into(),
                0o644 | SAVED,
            );
        }
        add("/etc/issue", String::new(), 0o644 | SAVED);
        add("/etc/motd", self.shell_login_banner(), 0o644 | SAVED);
        add("/etc/vmware/ssl/rui.crt", self.certificate(), 0o644 | SAVED);
        add(
            "/etc/vmware/ssl/rui.key",
            pem("PRIVATE KEY", &format!("{} key {}", self.uuid, self.certificates)),
            0o400 | SAVED,
        );
        add(
            "/etc/rc.local.d/local.sh",
            "#!/bin/sh\n\n# local configuration options\n\n# Note: modify at your own risk!  If you do/use anything in this\n# script that is not part of a stable API (relying on files to be in\n# specific places, specific tools, specific output, etc) there is a\n# possibility you will end up with a broken system after patching or\n# upgrading.  Changes are not supported unless under direction of\n# VMware support.\n\n# Note: This script will not be run when UEFI secure boot is enabled.\n\nexit 0\n"
                .into(),
            0o755 | SAVED,
        );
        add(
            "/etc/vmware/config",
            "libdir = \"/usr/lib/vmware\"\nauthd.proxy.nfc = \"vmware-hostd:ha-nfc\"\n".into(),
            0o644 | SAVED,
        );
        add("/etc/vmware/settings", String::new(), 0o644 | SAVED);
        add("/etc/pam.d/passwd", self.pam_passwd(), 0o644 | SAVED);
        add("/etc/hosts", self.hosts_file(), 0o644 | SAVED);
        add("/etc/resolv.conf", self.resolv_conf(), 0o644 | SAVED);
        add("/etc/dhclient-vmk0.conf", "#\n# This file can be used to specify advanced dhclient options for vmk0\n# (usually the management interface). Please refer to dhclient.conf(5)\n# packaged with ISC DHCP 4.0.0 for available options.\n#\n".into(), 0o644 | SAVED);
        add("/var/spool/cron/crontabs/root", "#min hour day mon dow command\n1    1    *   *   *   /sbin/tmpwatch.py\n1    *    *   *   *   /sbin/auto-backup.sh\n".into(), 0o644);
        for log in ["esxupdate", "hostd", "vmkernel", "vobd", "syslog", "auth", "shell"] {
            add(&format!("/var/log/{log}.log"), String::new(), 0o600);
        }
        files
    }

    pub(in super::super) fn sshd_config(&self) -> String {
        if self.release >= Release::V80 {
            return SSHD_80.to_owned();
        }
        SSHD_OLD
            .replace("SECONDKEY", if self.release == Release::V60 { "ssh_host_dsa_key" } else { "ssh_host_ecdsa_key" })
            .replace("PASSWORD", if self.release < Release::V67 { "yes" } else { "no" })
            .replace("CIPHERS", &self.sshd_profile().ciphers.join(","))
            .replace("FIPS\n", if self.release >= Release::V67 { "FipsMode yes\n" } else { "" })
    }

    /// How passwords are changed. The form is that of public copies for 6.5 and 6.7, not verified for others.
    fn pam_passwd(&self) -> String {
        let policy = self.hostd_option("Security.PasswordQualityControl").unwrap_or_default();
        format!(
            "#%PAM-1.0\n\npassword   requisite    /lib/security/$ISA/pam_passwdqc.so {policy}\n\
             password   sufficient   /lib/security/$ISA/pam_unix.so use_authtok nullok shadow sha512\n\
             password   required     /lib/security/$ISA/pam_deny.so\n"
        )
    }

    pub(in super::super) fn hosts_file(&self) -> String {
        let mut text =
            "# Do not remove the following line, or various programs\n# that require network functionality will fail.\n127.0.0.1\tlocalhost.localdomain localhost\n::1\t\tlocalhost.localdomain localhost\n"
                .to_owned();
        if let Some(address) = self.management_addresses().first() {
            text.push_str(&format!("{address}\t{} {}\n", self.fqdn(), self.host));
        }
        text
    }

    pub(in super::super) fn resolv_conf(&self) -> String {
        let mut text: String = self.net.dns.iter().map(|d| format!("nameserver {d}\n")).collect();
        if !self.net.search.is_empty() {
            text.push_str(&format!("search {}\n", self.net.search.join(" ")));
        }
        text
    }

    pub(in super::super) fn passwd(&self) -> String {
        let mut text = String::new();
        for (n, account) in self.accounts.iter().enumerate() {
            let (uid, gid, home, shell) = match account.id.as_str() {
                "root" => (0, 0, "/", "/bin/sh"),
                "dcui" => (100, 100, "/", if account.shell { "/bin/sh" } else { "/sbin/nologin" }),
                "vpxuser" => (500, 100, "/", if account.shell { "/bin/sh" } else { "/sbin/nologin" }),
                _ => (1000 + n, 1000 + n, "/", if account.shell { "/bin/sh" } else { "/sbin/nologin" }),
            };
            text.push_str(&format!("{}:x:{uid}:{gid}:{}:{home}:{shell}\n", account.id, account.description));
        }
        text
    }

    /// The shadow file: `root_hash` for root, no password for the others.
    pub(in super::super) fn shadow(&self, root_hash: &str) -> String {
        self.accounts
            .iter()
            .map(|a| format!("{}:{}:13358:0:99999:7:::\n", a.id, if a.id == "root" { root_hash } else { "*" }))
            .collect()
    }

    pub(in super::super) fn certificate(&self) -> String {
        pem("CERTIFICATE", &format!("{} {} {}", self.uuid, self.fqdn(), self.certificates))
    }

    /// esx.conf in the way the real file is written: one `path = "value"` a line. A small part of a real one.
    pub(in super::super) fn esx_conf(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        let mut put = |key: String, value: &str| lines.push(format!("{key} = \"{value}\""));
        for (path, value) in &self.advanced {
            put(format!("/adv{path}"), value);
        }
        for (n, nic) in self.nics.iter().enumerate() {
            put(format!("/net/pnic/child[{n:04}]/mac"), &nic.mac);
            put(format!("/net/pnic/child[{n:04}]/name"), &nic.name);
            put(format!("/net/pnic/child[{n:04}]/virtualMac"), &nic.virtual_mac);
        }
        for (n, vmk) in self.net.vmks.iter().enumerate() {
            let key = |leaf: &str| format!("/net/vmkernelnic/child[{n:04}]/{leaf}");
            put(key("dhcp"), if vmk.kind == "DHCP" { "true" } else { "false" });
            put(key("enable"), if vmk.enabled { "true" } else { "false" });
            if vmk.kind == "STATIC" {
                put(key("ipv4address"), &vmk.address);
                put(key("ipv4netmask"), &vmk.netmask);
            }
            put(key("mac"), &vmk.mac);
            put(key("mtu"), &vmk.mtu.to_string());
            put(key("name"), &vmk.name);
            put(key("portgroup"), &vmk.portgroup);
            put(key("tags/1"), &vmk.tags.join(","));
        }
        put("/resourceGroups/version".into(), &self.full);
        put("/system/uuid".into(), &self.uuid);
        for (name, value) in &self.kernel {
            put(format!("/vmkernel/{name}"), &value.configured);
        }
        for module in self.modules.iter().filter(|m| !m.enabled || !m.params.is_empty()) {
            if !module.enabled {
                put(format!("/vmkernel/module/{}.o/enabled", module.name), "false");
            }
            if !module.params.is_empty() {
                put(format!("/vmkernel/module/{}.o/options", module.name), &module.params);
            }
        }
        lines.sort();
        lines.join("\n") + "\n"
    }

    /// Takes over what somebody wrote into esx.conf by hand, as the boot does: without a /system/uuid line a new
    /// system UUID is made, whose last group is the MAC of this machine's first NIC. Call it after the saved
    /// files are back under `root`; it also writes the file anew. Returns whether the UUID changed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn read_files(&mut self, root: &Path) -> std::io::Result<bool> {
        let path = root.join("etc/vmware/esx.conf");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let uuid = text.lines().find_map(|l| l.strip_prefix("/system/uuid = \"")).and_then(|v| v.strip_suffix('"'));
        let changed = match uuid {
            Some(found) if found == self.uuid => false,
            Some(found) => {
                self.uuid = found.to_owned();
                true
            }
            None => {
                let tail = self.nics.first().map(|n| n.mac.replace(':', "")).unwrap_or_default();
                let h = hex(self.index, &format!("{tail} {}", self.boot_time), 20);
                self.uuid = format!("{}-{}-{}-{}-{tail}", &h[..8], &h[8..12], &h[12..16], &h[16..]);
                true
            }
        };
        if path.exists() {
            std::fs::write(path, self.esx_conf())?;
        }
        Ok(changed)
    }

    pub(in super::super) fn label(&self) -> (&'static str, &'static str) {
        let build = builds::of(self.release);
        (build.short, build.label)
    }
}

/// Text that looks like PEM and is no key and no certificate: nothing in the simulator speaks TLS.
fn pem(kind: &str, seed: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut body = String::new();
    for round in 0..16_u8 {
        let hash = Sha256::new().chain_update(seed).chain_update([round]).finalize();
        body.extend(hash.iter().flat_map(|b| [b >> 2, b & 63]).map(|i| char::from(ALPHABET[usize::from(i & 63)])));
        body.push('\n');
    }
    format!("-----BEGIN {kind}-----\n{body}-----END {kind}-----\n")
}
