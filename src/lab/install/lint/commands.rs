//! What single commands are checked for, beyond their grammar.

use super::Linter;
use super::scan::Word;
use crate::lab::install::ks::grammar::{self, CommandRule};
use crate::playbook::did_you_mean;

/// Root passwords of the sample scripts in the vendor's documentation and in the installer itself.
const DEFAULT_PASSWORDS: &[&str] = &["mypassword", "myp@ssw0rd"];

impl Linter<'_> {
    pub(super) fn details(&mut self, rule: &CommandRule, name: &Word, options: &[Word], plain: &[&Word]) {
        let has = |option: &str| options.iter().find(|w| w.text.split('=').next() == Some(option));
        match rule.name {
            "rootpw" => self.rootpw(name, has("--iscrypted").is_some(), plain.first().copied()),
            "reboot" if self.options.qemu && has("--noeject").is_none() => self.warn(
                name,
                "no-noeject",
                "`reboot` without `--noeject`: under QEMU the installer may wait for a key after trying to eject"
                    .into(),
                "write `reboot --noeject` (seen on 7.0)",
            ),
            "network" => self.network(name, options),
            "keyboard" => {
                if let Some(word) = plain.first().filter(|w| !grammar::KEYBOARDS.contains(&w.text.as_str())) {
                    let help = did_you_mean(&word.text, grammar::KEYBOARDS.iter().copied(), "keyboards");
                    self.error(word, "keyboard", format!("no keyboard `{}`", word.text), help);
                }
            }
            "include" => {
                if let Some(word) = plain.first().filter(|w| !w.text.starts_with('/')) {
                    let message = format!("`{}` is no absolute path", word.text);
                    self.warn(word, "include", message, "a file that %pre wrote, such as /tmp/networkconfig");
                }
            }
            "install" | "upgrade" | "installorupgrade" => self.install(name, options),
            _ => {}
        }
    }

    fn rootpw(&mut self, name: &Word, crypted: bool, value: Option<&Word>) {
        let Some(value) = value else { return };
        let hash = crate::lab::install::crypt::is_sha512_crypt(&value.text);
        let looks_hashed = value.text.starts_with('$') && value.text.matches('$').count() >= 3;
        if crypted && !hash && !looks_hashed {
            let message = "`rootpw --iscrypted` with something that is no hash: nobody could log in".to_owned();
            self.error(value, "not-a-hash", message, "make one with `openssl passwd -6`");
        } else if crypted && !hash {
            let message = "the root password's hash is not SHA-512 crypt ($6$)".to_owned();
            self.warn(value, "weak-hash", message, "make one with `openssl passwd -6`");
        } else if !crypted && looks_hashed {
            let message = "a hash without `--iscrypted` becomes the password itself".to_owned();
            self.error(value, "hash-as-password", message, "write `rootpw --iscrypted $6$...`");
        } else if !crypted {
            self.warn(
                name,
                "clear-password",
                "the root password is in clear text: everyone who has the ISO has it".into(),
                "write `rootpw --iscrypted` and the output of `openssl passwd -6`",
            );
            if DEFAULT_PASSWORDS.contains(&value.text.as_str()) {
                let message = "this root password is in the vendor's documentation".to_owned();
                self.error(value, "default-password", message, "choose another one: everyone can look this one up");
            } else if value.text.len() < 7 {
                let message = "the root password has less than 7 characters; the installer refuses it".to_owned();
                self.error(value, "short-password", message, "the installer enforces its password policy");
            }
        }
    }

    fn network(&mut self, name: &Word, options: &[Word]) {
        let value = |option: &str| {
            options.iter().find_map(|w| w.text.split_once('=').filter(|(n, _)| *n == option).map(|(_, v)| (w, v)))
        };
        match value("--device") {
            Some((word, device)) if device.starts_with("vmnic") => self.note(
                word,
                "vmnic-name",
                format!("the NIC is named by its number ({device}), which follows the PCI slots"),
                "write --device=MAC: it is order-proof, and vmk0 keeps the MAC that it sees at install",
            ),
            Some((word, device)) if device.contains([':', '-']) => {
                if let Err(error) = device.parse::<crate::esxi::mac::Mac>() {
                    self.error(word, "mac", error.to_string(), "the MAC of the host's first NIC");
                }
            }
            None => self.note(
                name,
                "no-device",
                "`network` does not say which NIC".into(),
                "with two NICs it is the first one with a link; write --device=MAC",
            ),
            _ => {}
        }
        let fixed = value("--ip").is_some();
        match value("--bootproto").map(|(_, proto)| proto) {
            Some("static") if !fixed || value("--netmask").is_none() => self.error(
                name,
                "static-incomplete",
                "`--bootproto=static` needs `--ip` and `--netmask`".into(),
                "add both, and `--gateway`",
            ),
            Some("dhcp") if fixed => self.warn(
                name,
                "dhcp-with-ip",
                "`--ip` with `--bootproto=dhcp` has no effect".into(),
                "write --bootproto=static",
            ),
            _ => {}
        }
        if let Some((word, servers)) = value("--nameserver")
            && servers.trim_matches('"').split(',').any(|s| s.trim().parse::<std::net::IpAddr>().is_err())
        {
            self.error(
                word,
                "nameserver",
                format!("`{servers}` is no list of addresses"),
                "--nameserver=10.0.0.1,10.0.0.2",
            );
        }
    }

    fn install(&mut self, name: &Word, options: &[Word]) {
        let has = |option: &str| {
            options.iter().find(|w| w.text.split('=').next().is_some_and(|n| n.eq_ignore_ascii_case(option)))
        };
        let disks = ["--disk", "--drive", "--firstdisk"].iter().filter(|o| has(o).is_some()).count();
        if disks == 0 {
            let message = format!("`{}` does not say which disk", name.text);
            self.error(name, "no-disk", message, "add --firstdisk or --disk=NAME");
        } else if disks > 1 {
            let message = format!("`{}` names the disk in two ways", name.text);
            self.error(name, "two-disks", message, "keep one of --disk, --drive, --firstdisk");
        }
        if let (Some(word), Some(_)) = (has("--preservevmfs"), has("--overwritevmfs")) {
            let message = "`--preservevmfs` and `--overwritevmfs` exclude each other".to_owned();
            self.error(word, "vmfs", message, "keep one of them");
        }
        if name.text == "install" && has("--overwritevmfs").is_none() && has("--preservevmfs").is_none() {
            let message = "a disk that already holds a VMFS stops this install".to_owned();
            self.note(name, "vmfs", message, "--overwritevmfs destroys it, --preservevmfs keeps it");
        }
    }
}
