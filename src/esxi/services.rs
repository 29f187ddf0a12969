//! Services: the names that people, hostd and the init scripts use for the same thing, and the readers of
//! `chkconfig --list` and of what `/etc/init.d/NAME status` says.

/// How a service is acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// `vim-cmd hostsvc/enable_WORD|disable_WORD|start_WORD|stop_WORD`: hostd does it, saves it and knows of it.
    Hostd(&'static str),
    /// `esxcli system ntp set -e` from 7.0 on, the init script and chkconfig before.
    Ntp,
    /// `/etc/init.d/NAME start|stop` and `chkconfig NAME on|off`.
    InitScript,
}

/// The names of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// The init script and the name in chkconfig.
    pub init: &'static str,
    /// The key in hostd's list of services; empty where it has none.
    pub hostd: &'static str,
    /// Other names, in lower case.
    pub aliases: &'static [&'static str],
    /// How it is acted on.
    pub control: Control,
}

const fn plain(init: &'static str, hostd: &'static str, aliases: &'static [&'static str]) -> Service {
    Service { init, hostd, aliases, control: Control::InitScript }
}

/// Services whose names differ between the shell and hostd, and the other well-known ones.
///
/// Init scripts: recorded on 5.0: services-sh-restart. hostd's keys: hardening guides for 6.5 to 9.0.
pub const SERVICES: &[Service] = &[
    Service { init: "SSH", hostd: "TSM-SSH", aliases: &["sshd", "tsm_ssh"], control: Control::Hostd("ssh") },
    Service {
        init: "ESXShell",
        hostd: "TSM",
        aliases: &["shell", "esxi shell", "esxishell", "esxi-shell", "esx_shell"],
        control: Control::Hostd("esx_shell"),
    },
    Service { init: "ntpd", hostd: "ntpd", aliases: &["ntp"], control: Control::Ntp },
    plain("DCUI", "DCUI", &[]),
    plain("hostd", "", &[]),
    plain("lbtd", "lbtd", &[]),
    plain("lwsmd", "lwsmd", &["active directory", "ad"]),
    plain("ptpd", "ptpd", &["ptp"]),
    plain("sfcbd-watchdog", "sfcbd-watchdog", &["cim", "sfcbd"]),
    plain("slpd", "slpd", &["slp"]),
    plain("snmpd", "snmpd", &["snmp"]),
    plain("usbarbitrator", "", &["usb arbitrator"]),
    plain("vobd", "", &[]),
    plain("vpxa", "vpxa", &[]),
];

/// The service of this name, whichever of its names it is.
pub fn service(name: &str) -> Option<&'static Service> {
    let name = name.trim();
    SERVICES.iter().find(|s| {
        s.init.eq_ignore_ascii_case(name)
            || (!s.hostd.is_empty() && s.hostd.eq_ignore_ascii_case(name))
            || s.aliases.iter().any(|a| a.eq_ignore_ascii_case(name))
    })
}

/// A service as hostd tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// hostd's name: `TSM-SSH`, `ntpd`.
    pub key: String,
    /// Whether it runs.
    pub running: bool,
    /// When it starts: `on` with the host, `off` by hand, `automatic` while it has open ports in the firewall.
    pub policy: String,
}

/// The services in what `vim-cmd hostsvc/hostconfig` prints; `None`: there is no list of them in a known form.
///
/// The members are those of `vim.host.Service` in the vendor's API reference. No output was recorded, so the dump's
/// form is taken from the other objects of vim-cmd. Not verified.
pub fn told_by_hostd(hostconfig: &str) -> Option<Vec<Told>> {
    let info = super::vimdump::typed(hostconfig, "vim.host.ServiceInfo")?.ok()?;
    let told = info.get("service")?.items().iter().map(|service| {
        Some(Told {
            key: service.get("key")?.as_str()?.to_owned(),
            running: service.get("running")?.as_bool()?,
            policy: service.get("policy")?.as_str()?.to_owned(),
        })
    });
    told.collect::<Option<Vec<Told>>>().filter(|all| !all.is_empty())
}

/// What `chkconfig --list` says: every service and whether it starts with the host.
///
/// No output was recorded: a name, blanks, `on` or `off` is read; a run-level column or a colon after the name
/// is tolerated, any other line is passed over. Not verified.
pub fn chkconfig(text: &str) -> Vec<(&str, bool)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?.trim_end_matches(':');
            match words.next_back()?.rsplit(':').next()?.to_ascii_lowercase().as_str() {
                "on" => Some((name, true)),
                "off" => Some((name, false)),
                _ => None,
            }
        })
        .collect()
}

/// Whether a service runs, from the words of its init script's `status`; `None`: the text says neither.
///
/// Recorded: `hostd is running.` on 5.1: initd-hostd-status; `SSH login enabled` and `disabled` on 6.7:
/// initd-ssh-restart; `SSH login is stopped` is what 9.0 is known to print. The other services' texts were not
/// recorded, so words decide, a denial before an affirmation.
pub fn is_running(status: &str) -> Option<bool> {
    const NO: &[&str] = &["not running", "isn't running", "stopped", "disabled", "not started", "inactive"];
    const YES: &[&str] = &["running", "enabled", "started", "active"];
    let text = status.to_ascii_lowercase();
    if NO.iter().any(|w| text.contains(w)) {
        Some(false)
    } else if YES.iter().any(|w| text.contains(w)) {
        Some(true)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::recorded;

    #[test]
    fn every_name_of_ssh_is_the_same_service() {
        for name in ["ssh", "SSH", "TSM-SSH", "tsm-ssh", "sshd"] {
            assert_eq!(service(name).unwrap().init, "SSH", "{name}");
        }
        assert_eq!(service("ESXi Shell").unwrap().hostd, "TSM");
        assert_eq!(service("TSM").unwrap().init, "ESXShell");
        assert!(service("").is_none());
        assert!(service("frobnicator").is_none());
    }

    #[test]
    fn status_texts_recorded_on_5_1_and_6_7() {
        let hostd = recorded(include_str!("../../fixtures/transcripts/5.x/initd-hostd-status.txt"));
        assert_eq!(is_running(&hostd), Some(true));
        let ssh = recorded(include_str!("../../fixtures/transcripts/6.7/initd-ssh-restart.txt"));
        let mut lines = ssh.lines();
        assert_eq!(is_running(lines.next().unwrap()), Some(false));
        assert_eq!(is_running(lines.next().unwrap()), Some(true));
        assert_eq!(is_running("SSH login is stopped"), Some(false));
        assert_eq!(is_running("slpd is not running"), Some(false));
        assert_eq!(is_running("sh: nothing of the kind"), None);
    }

    #[test]
    fn names_of_the_table_are_those_recorded_on_5_0() {
        let text = recorded(include_str!("../../fixtures/transcripts/5.x/services-sh-restart.txt"));
        for name in
            ["SSH", "ESXShell", "DCUI", "hostd", "lbtd", "sfcbd-watchdog", "slpd", "usbarbitrator", "vobd", "vpxa"]
        {
            assert!(text.contains(&format!("Running {name} ")), "{name}");
            assert_eq!(service(name).unwrap().init, name);
        }
    }

    #[test]
    fn chkconfig_lines_are_read_by_name_and_last_word() {
        let all = chkconfig("ntpd                    on\nSSH  off\nslpd: off\nsomething else\n\n");
        assert_eq!(all, vec![("ntpd", true), ("SSH", false), ("slpd", false)]);
    }
}
