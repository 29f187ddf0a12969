//! The script's text.

use super::grammar::{self, behaviour};
use super::{Address, InstallDisk, KsNetwork, KsSpec, OldVmfs};

/// The end of the line that an install reports itself with on the serial port.
pub fn result_marker(report: &str) -> String {
    format!("ESXPREP-{report}: installed")
}

/// The result in a line of the serial log, if it is there. The kernel's log puts a time and a CPU before it; the
/// installer also prints the script itself, in which the marker never stands as one word.
pub fn marker_line(line: &str, report: &str) -> bool {
    line.contains(&result_marker(report))
}

pub(super) fn render(spec: &KsSpec) -> String {
    let mut out = Text::default();
    out.line(format!("# ESXi {}, written by esxprep", spec.release));
    out.line("accepteula");
    out.line(format!("rootpw --iscrypted {}", spec.root_password_hash));
    if let Some(keyboard) = &spec.keyboard {
        out.line(format!("keyboard '{keyboard}'"));
    }
    out.line(install(spec));
    for datastore in &spec.datastores {
        let disk = datastore.disk.as_ref().map_or_else(|| "--onfirstdisk".to_owned(), |d| format!("--ondisk={d}"));
        out.line(format!("partition {} {disk}", datastore.name));
    }
    out.line(network(&spec.network));
    if let Some(key) = &spec.licence {
        out.line(format!("serialnum --esx={key}"));
    }
    spec.extra.iter().for_each(|line| out.line(line));
    // Without --noeject the installer of 7.0 under QEMU tried to eject and then waited for a key.
    out.line("reboot --noeject");
    if let Some(report) = &spec.report {
        post(&mut out, report);
    }
    firstboot(&mut out, spec);
    out.0
}

/// What ends `local.sh` in the script.
pub(super) const LOCAL_DELIMITER: &str = "ESXPREP_LOCAL";

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }
    fn lines(&mut self, lines: &[&str]) {
        lines.iter().for_each(|line| self.line(line));
    }
}

fn install(spec: &KsSpec) -> String {
    let mut words = vec!["install".to_owned()];
    words.push(match &spec.disk {
        InstallDisk::First(filter) if filter.is_empty() => "--firstdisk".to_owned(),
        InstallDisk::First(filter) => format!("--firstdisk={}", filter.join(",")),
        InstallDisk::Named(name) => format!("--disk={name}"),
    });
    words.push(match spec.old_vmfs {
        OldVmfs::Overwrite => "--overwritevmfs".into(),
        OldVmfs::Preserve => "--preservevmfs".into(),
    });
    if spec.no_vmfs_on_disk {
        words.push("--novmfsondisk".into());
    }
    if spec.unsupported_cpu {
        let known = |name: &&str| {
            let rule = grammar::command_rule("install").and_then(|rule| rule.options.iter().find(|o| o.name == *name));
            rule.is_some_and(|rule| rule.since <= spec.line())
        };
        let names = ["--forceunsupportedinstall", "--ignoreprereqwarnings", "--ignoreprereqerrors"];
        words.extend(names.iter().filter(|name| known(name)).map(|name| (*name).to_owned()));
    }
    words.join(" ")
}

fn network(network: &KsNetwork) -> String {
    let mut words = vec!["network".to_owned()];
    match &network.address {
        Address::Dhcp => words.push("--bootproto=dhcp".into()),
        Address::Static { .. } => words.push("--bootproto=static".into()),
    }
    words.push(format!("--device={}", network.mac));
    if let Address::Static { ip, netmask, gateway, nameservers } = &network.address {
        words.push(format!("--ip={ip}"));
        words.push(format!("--netmask={netmask}"));
        words.extend(gateway.map(|gateway| format!("--gateway={gateway}")));
        if !nameservers.is_empty() {
            let list: Vec<String> = nameservers.iter().map(ToString::to_string).collect();
            words.push(format!("--nameserver={}", list.join(",")));
        }
    }
    words.extend(network.hostname.iter().map(|name| format!("--hostname={name}")));
    words.extend(network.vlan.map(|vlan| format!("--vlanid={vlan}")));
    words.push(format!("--addvmportgroup={}", u8::from(network.vm_portgroup)));
    words.join(" ")
}

/// The installer's own kernel writes its log to the serial port (`logPort=com1`), and `vsish` puts a line into that
/// log; user space cannot write to the port itself. A failed install never comes here. The installer also prints the
/// script, so the marker is put together from two variables. Seen by others on nested 8.0.3.
fn post(out: &mut Text, report: &str) {
    out.lines(&[
        "",
        "%post --interpreter=busybox --ignorefailure=true",
        "_a=ESXPREP",
        &format!("_b={report}"),
        "vsish -e set /system/log \"${_a}-${_b}: installed\"",
        // The line must leave the port before the reboot.
        "sleep 2",
    ]);
}

fn firstboot(out: &mut Text, spec: &KsSpec) {
    let services = services(spec);
    let settings: &[&str] = if spec.quiet_warnings {
        &[
            "esxcli system settings advanced set -o /UserVars/SuppressShellWarning -i 1",
            "esxcli system settings advanced set -o /UserVars/HostClientCEIPOptIn -i 2",
        ]
    } else {
        &[]
    };
    if services.is_empty() && settings.is_empty() && spec.ssh_keys.is_empty() && spec.firstboot.is_empty() {
        return;
    }
    out.lines(&["", "%firstboot --interpreter=busybox"]);
    if !spec.ssh_keys.is_empty() {
        out.lines(&["mkdir -p /etc/ssh/keys-root", "cat > /etc/ssh/keys-root/authorized_keys <<'ESXPREP_KEYS'"]);
        spec.ssh_keys.iter().for_each(|key| out.line(key));
        out.lines(&["ESXPREP_KEYS", "chmod 600 /etc/ssh/keys-root/authorized_keys"]);
    }
    if behaviour(spec.line()).vim_cmd_in_firstboot {
        services.iter().for_each(|line| out.line(line));
        out.lines(settings);
        spec.firstboot.iter().for_each(|line| out.line(line));
        // /etc is a RAM disk: what is not saved is gone after the next boot.
        out.line("/sbin/auto-backup.sh");
    } else {
        late(out, &services, settings, &spec.firstboot);
    }
}

fn services(spec: &KsSpec) -> Vec<&'static str> {
    let mut lines = Vec::new();
    if spec.ssh {
        lines.extend(["vim-cmd hostsvc/enable_ssh", "vim-cmd hostsvc/start_ssh"]);
    }
    if spec.shell {
        lines.extend(["vim-cmd hostsvc/enable_esx_shell", "vim-cmd hostsvc/start_esx_shell"]);
    }
    lines
}

/// Where %firstboot comes before hostd, all that needs hostd moves to `local.sh`, which runs after hostd but, in the
/// first boot, has already run: hence one reboot, guarded by a file. `local.sh` is replaced, because the stock one
/// ends with `exit 0`; it waits for hostd for at most five minutes, and when done it makes itself empty again. All
/// of it is one function, so that the shell has read the file to its end before it is written anew.
fn late(out: &mut Text, services: &[&str], settings: &[&str], more: &[String]) {
    if !(services.is_empty() && settings.is_empty() && more.is_empty()) {
        out.lines(&[
            "cat > /etc/rc.local.d/local.sh <<'ESXPREP_LOCAL'",
            "#!/bin/sh ++group=host/vim/vmvisor/boot",
            "esxprep_once() {",
            "n=0",
            "while [ $n -lt 60 ] && ! vim-cmd hostsvc/runtimeinfo >/dev/null 2>&1; do",
            "sleep 5",
            "n=$((n+1))",
            "done",
        ]);
        out.lines(services);
        out.lines(settings);
        more.iter().for_each(|line| out.line(line));
        out.lines(&[
            "printf '#!/bin/sh ++group=host/vim/vmvisor/boot\\nexit 0\\n' > /etc/rc.local.d/local.sh",
            "/sbin/auto-backup.sh",
            "exit 0",
            "}",
            "esxprep_once",
            "ESXPREP_LOCAL",
            "chmod +x /etc/rc.local.d/local.sh",
            "if [ ! -f /etc/vmware/esxprep-first-boot ]; then",
            "touch /etc/vmware/esxprep-first-boot",
            "/sbin/auto-backup.sh",
            "reboot",
            "fi",
        ]);
    }
    out.line("/sbin/auto-backup.sh");
}
