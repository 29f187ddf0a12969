//! ESXi's kickstart, as its installer reads it: the commands that the stand-in can honour, an error for the rest.
//!
//! The grammar is that of the public installation guides (6.0 to 9.0). Errors name the line, as the installer's do.

use super::GuestError;

/// What an installation script asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Kickstart {
    pub(super) password: String,
    /// Whether `password` is a hash already.
    pub(super) crypted: bool,
    /// `None`: `--firstdisk`; with words of its filter in `filter`.
    pub(super) disk: Option<String>,
    pub(super) filter: Vec<String>,
    pub(super) overwrite: bool,
    pub(super) network: Network,
    /// `None`: no `reboot`; else whether the CD is ejected before.
    pub(super) reboot: Option<bool>,
    pub(super) dry_run: bool,
    pub(super) pre: String,
    pub(super) post: String,
    pub(super) first_boot: String,
    /// Accepted and without effect here.
    pub(super) notes: Vec<String>,
}

/// The line `network`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Network {
    /// vmnicN or a MAC address.
    pub(super) device: Option<String>,
    /// Address, netmask, gateway; `None`: DHCP.
    pub(super) address: Option<(String, String, String)>,
    pub(super) nameservers: Vec<String>,
    pub(super) hostname: Option<String>,
    pub(super) vlan: i64,
    pub(super) no_vm_portgroup: bool,
}

/// Options that `install` takes and that change nothing in the stand-in.
const INSTALL_IGNORED: &[&str] = &[
    "--ignoressd",
    "--novmfsondisk",
    "--overwritevsan",
    "--forceunsupportedinstall",
    "--ignoreprereqwarnings",
    "--ignoreprereqerrors",
    "--repartitionsystemdisk",
    "--systemdisk",
    "--dpupcislots",
];

struct Line<'a> {
    from: &'a str,
    number: usize,
}

impl Line<'_> {
    fn error(&self, reason: impl Into<String>) -> GuestError {
        GuestError::Kickstart { from: self.from.to_string(), line: self.number, reason: reason.into() }
    }
}

/// Reads a script. `from` names it in errors.
pub(super) fn parse(text: &str, from: &str) -> Result<Kickstart, GuestError> {
    let mut script = Kickstart::default();
    let (mut accepted, mut rootpw, mut install) = (false, false, false);
    let mut section: Option<Section> = None;
    for (index, raw) in text.lines().enumerate() {
        let line = Line { from, number: index + 1 };
        let trimmed = raw.trim();
        if let Some(rest) = trimmed.strip_prefix('%') {
            section = open_section(rest, &line)?;
            continue;
        }
        if let Some(section) = section {
            let body = match section {
                Section::Pre => &mut script.pre,
                Section::Post => &mut script.post,
                Section::FirstBoot => &mut script.first_boot,
            };
            body.push_str(raw.trim_end_matches('\r'));
            body.push('\n');
            continue;
        }
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let words = shell_words::split(trimmed).map_err(|_| line.error("a quote is not closed"))?;
        let Some((command, arguments)) = words.split_first() else { continue };
        match command.as_str() {
            "accepteula" | "vmaccepteula" => accepted = true,
            "rootpw" => {
                rootpw = true;
                script.crypted = arguments.iter().any(|word| word == "--iscrypted");
                let value = arguments.iter().find(|word| !word.starts_with("--"));
                script.password = value.cloned().ok_or_else(|| line.error("rootpw needs a password"))?;
                check_password(&script, &line)?;
            }
            "install" | "installorupgrade" => {
                install = true;
                read_install(&mut script, arguments, &line)?;
            }
            "upgrade" => return Err(line.error("there is nothing to upgrade: no ESXi was found on the disks")),
            "clearpart" => script.overwrite |= arguments.iter().any(|word| word == "--overwritevmfs"),
            "network" => script.network = read_network(arguments, &line)?,
            "reboot" => script.reboot = Some(!arguments.iter().any(|word| word == "--noeject")),
            "dryrun" => script.dry_run = true,
            "keyboard" | "serialnum" | "vmserialnum" | "paranoid" | "part" | "partition" => {
                script.notes.push(format!("line {}: {command} has no effect in the stand-in", line.number));
            }
            other => return Err(line.error(format!("unknown command {other:?}"))),
        }
    }
    let whole = Line { from, number: 0 };
    if !accepted {
        return Err(whole.error("the license has to be accepted: accepteula (or vmaccepteula) is missing"));
    }
    if !rootpw {
        return Err(whole.error("rootpw is missing"));
    }
    if !install {
        return Err(whole.error("one of install, installorupgrade, upgrade is missing"));
    }
    Ok(script)
}

/// A script inside the script.
#[derive(Debug, Clone, Copy)]
enum Section {
    Pre,
    Post,
    FirstBoot,
}

fn open_section(rest: &str, line: &Line<'_>) -> Result<Option<Section>, GuestError> {
    let mut words = rest.split_whitespace();
    let name = words.next().unwrap_or_default();
    for word in words {
        match word.split_once('=') {
            Some(("--interpreter", "busybox")) | Some(("--timeout" | "--ignorefailure", _)) => {}
            Some(("--interpreter", other)) => {
                return Err(line.error(format!("the stand-in runs busybox only, not --interpreter={other}")));
            }
            _ => return Err(line.error(format!("unknown option {word} of %{name}"))),
        }
    }
    match name {
        "pre" => Ok(Some(Section::Pre)),
        "post" => Ok(Some(Section::Post)),
        "firstboot" => Ok(Some(Section::FirstBoot)),
        "end" => Ok(None),
        other => Err(line.error(format!("%{other} is not known to the stand-in"))),
    }
}

/// ESXi's policy wants 7 characters at least; of hashes the stand-in knows SHA-512 crypt.
fn check_password(script: &Kickstart, line: &Line<'_>) -> Result<(), GuestError> {
    if script.crypted && !script.password.starts_with("$6$") {
        return Err(line.error("the hash is not one of SHA-512 crypt ($6$...)"));
    }
    if !script.crypted && script.password.chars().count() < 7 {
        return Err(line.error("the root password is too short: 7 characters at least"));
    }
    Ok(())
}

fn option(word: &str) -> (String, Option<&str>) {
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    (name.to_ascii_lowercase(), value)
}

fn read_install(script: &mut Kickstart, arguments: &[String], line: &Line<'_>) -> Result<(), GuestError> {
    let mut chosen = false;
    for word in arguments {
        let (name, value) = option(word);
        match (name.as_str(), value) {
            ("--firstdisk", value) => {
                chosen = true;
                script.filter = value.unwrap_or_default().split(',').map(String::from).collect();
                script.filter.retain(|word| !word.is_empty());
            }
            ("--disk" | "--drive", Some(disk)) => {
                chosen = true;
                script.disk = Some(disk.rsplit('/').next().unwrap_or(disk).to_string());
            }
            ("--overwritevmfs", _) => script.overwrite = true,
            ("--preservevmfs", _) => script.overwrite = false,
            (other, _) if INSTALL_IGNORED.contains(&other) => {}
            _ => return Err(line.error(format!("unknown option {word} of install"))),
        }
    }
    if chosen { Ok(()) } else { Err(line.error("install needs --firstdisk or --disk=NAME")) }
}

fn read_network(arguments: &[String], line: &Line<'_>) -> Result<Network, GuestError> {
    let mut network = Network::default();
    let (mut is_static, mut ip, mut netmask, mut gateway) = (false, None, None, None);
    let address = |value: &str, what: &str| {
        let right = value.parse::<std::net::Ipv4Addr>().is_ok();
        if right { Ok(value.to_string()) } else { Err(line.error(format!("{what} {value:?} is no IPv4 address"))) }
    };
    for word in arguments {
        let (name, value) = option(word);
        let Some(value) = value else { return Err(line.error(format!("{word} of network needs a value"))) };
        match name.as_str() {
            "--bootproto" if value.eq_ignore_ascii_case("dhcp") => {}
            "--bootproto" if value.eq_ignore_ascii_case("static") => is_static = true,
            "--device" => network.device = Some(value.to_string()),
            "--ip" => ip = Some(address(value, "--ip")?),
            "--netmask" => netmask = Some(address(value, "--netmask")?),
            "--gateway" => gateway = Some(address(value, "--gateway")?),
            "--nameserver" => {
                let servers = value.split(',').map(|server| address(server.trim(), "--nameserver"));
                network.nameservers = servers.collect::<Result<_, _>>()?;
            }
            "--hostname" => network.hostname = Some(value.to_string()),
            "--vlanid" => match value.parse() {
                Ok(vlan @ 0..=4095) => network.vlan = vlan,
                _ => return Err(line.error(format!("--vlanid {value:?} is not 0 to 4095"))),
            },
            "--addvmportgroup" => network.no_vm_portgroup = matches!(value, "0" | "false"),
            _ => return Err(line.error(format!("unknown option {word} of network"))),
        }
    }
    if is_static {
        let (Some(ip), Some(netmask)) = (ip, netmask) else {
            return Err(line.error("a static address needs --ip and --netmask"));
        };
        network.address = Some((ip, netmask, gateway.unwrap_or_default()));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "\
# made by a test
vmaccepteula
rootpw --iscrypted $6$salt$hash
install --firstdisk=usb,local --overwritevmfs
network --bootproto=static --device=52:54:00:AA:BB:01 --ip=10.0.2.15 --netmask=255.255.255.0 --gateway=10.0.2.2 \
--nameserver=\"10.0.2.3,1.1.1.1\" --hostname=h1.lab --addvmportgroup=0
keyboard 'US Default'
reboot --noeject
%firstboot --interpreter=busybox
vim-cmd hostsvc/enable_ssh

# a comment of the shell
vim-cmd hostsvc/start_ssh
%post --interpreter=busybox --ignorefailure=true
echo done
";

    #[test]
    fn a_whole_script_is_read() {
        let script = parse(WHOLE, "cd").unwrap();
        assert!(script.crypted && script.overwrite && script.disk.is_none());
        assert_eq!(script.filter, ["usb", "local"]);
        assert_eq!(script.reboot, Some(false));
        assert_eq!(script.network.device.as_deref(), Some("52:54:00:AA:BB:01"));
        assert_eq!(script.network.nameservers, ["10.0.2.3", "1.1.1.1"]);
        assert!(script.network.no_vm_portgroup);
        assert_eq!(
            script.first_boot,
            "vim-cmd hostsvc/enable_ssh\n\n# a comment of the shell\nvim-cmd hostsvc/start_ssh\n"
        );
        assert_eq!(script.post, "echo done\n");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let changed = |from: &str, to: &str| match parse(&WHOLE.replace(from, to), "cd").unwrap_err() {
            GuestError::Kickstart { line, reason, .. } => (line, reason),
            other => panic!("{other}"),
        };
        assert_eq!(changed("vmaccepteula\n", "").0, 0);
        assert!(changed("vmaccepteula\n", "").1.contains("accepteula"));
        assert!(changed("rootpw --iscrypted $6$salt$hash\n", "").1.contains("rootpw"));
        assert_eq!(changed("--iscrypted $6$salt$hash", "short").0, 3);
        assert_eq!(changed("$6$", "$1$").0, 3);
        assert!(changed("--firstdisk=usb,local", "").1.contains("--disk"));
        assert_eq!(changed("--overwritevmfs", "--unsupported").0, 4);
        assert_eq!(changed("--ip=10.0.2.15", "--ip=10.0.2").0, 5);
        assert_eq!(changed("--ip=10.0.2.15", "").0, 5);
        assert_eq!(changed("keyboard 'US Default'", "keyboard 'US Default").0, 6);
        assert_eq!(changed("--interpreter=busybox --ignore", "--interpreter=python --ignore").0, 13);
        assert!(changed("reboot", "restart").1.contains("restart"));
    }

    #[test]
    fn dhcp_is_the_default_and_a_reboot_ejects() {
        let script = parse(
            "accepteula\nrootpw Secret-7\ninstall --disk=/vmfs/devices/disks/mpx.vmhba32:C0:T0:L0\nreboot\n",
            "cd",
        );
        let script = script.unwrap();
        assert_eq!(script.disk.as_deref(), Some("mpx.vmhba32:C0:T0:L0"));
        assert_eq!(script.reboot, Some(true));
        assert!(script.network.address.is_none() && !script.crypted);
    }
}
