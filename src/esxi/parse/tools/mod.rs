//! Everything on a host that is not esxcli: esxcfg-*, vim-cmd, partedUtil, vmkfstools and the busybox tools.
//!
//! What has no structure, sentences and progress, is `""` when nothing was printed, a string for one line and an
//! array of strings for several (`text::sentences`). Rows that come with text around them stand under `_rows`.

pub mod failure;
mod fault;
pub mod form_any;
pub mod form_dump;
pub mod form_json;
pub mod form_labels;
pub mod form_ruled;
pub mod form_sheet;
pub mod form_tree;
pub mod text;

mod cursor;
mod disks;
mod esxcfg;
mod files;
mod host;
mod storage;
mod vimcmd;
mod vsish;

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::family::{Family, Invocation};
use super::{ParseError, Parsed, prepare};
use crate::esxi::forms::FormError;
use crate::esxi::output::Output;

type Read = fn(&Invocation, &str) -> Result<Value, FormError>;
type Matches = fn(&Invocation) -> bool;

const fn family(
    name: &'static str,
    about: &'static str,
    example: &'static str,
    matches: Matches,
    read: Read,
) -> Family {
    Family { name, about, example, matches, read }
}

/// The program without its folder; `vmkvsitools NAME` and `busybox NAME` run NAME.
fn named(run: &Invocation, names: &[&str]) -> bool {
    let name = match base(&run.program) {
        "vmkvsitools" | "busybox" => run.args.first().map_or("", |a| base(a)),
        name => name,
    };
    names.contains(&name)
}

fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Arguments without the word that names the program for `vmkvsitools` and `busybox`.
fn unwrapped(run: &Invocation) -> Invocation {
    let mut run = run.clone();
    if matches!(base(&run.program), "vmkvsitools" | "busybox") && !run.args.is_empty() {
        run.program = base(&run.args.remove(0)).to_owned();
    } else if !run.program.starts_with("/etc/init.d/") {
        run.program = base(&run.program).to_owned();
    }
    run
}

/// Wraps a reader so that it sees the program itself.
macro_rules! on {
    ($read:path) => {
        |run, text| $read(&unwrapped(run), text)
    };
}

/// Reads what a command that is not esxcli printed.
///
/// # Errors
/// A command that is none, and a text that is neither what the command prints nor an error of the command.
pub fn parsed(command: &str, run: &Invocation, output: &Output) -> Result<Parsed, ParseError> {
    let Some(family) = find(run) else { return Err(ParseError::UnknownCommand(run.program.clone())) };
    let mut prepared = prepare::prepared(run, command, &output.stdout);
    if matches!(family.name, "vim-cmd" | "vsish" | "any other program") {
        prepared.text = typed_again(prepared.text);
    }
    let output = Output { stdout: prepared.text.clone(), ..output.clone() };
    let inner = unwrapped(run);
    if let Some(failed) = failure::failed(&inner, &output) {
        return Ok(Parsed::Failed(failed));
    }
    if let Some(number) = count(run, &output.stdout) {
        return Ok(Parsed::Answer(number));
    }
    match (family.read)(run, &output.stdout) {
        Ok(value) => Ok(Parsed::Answer(value)),
        Err(error) => match failure::sentence(&output.stdout) {
            Some(failed) => Ok(Parsed::Failed(failed)),
            None => Err(prepared.refused(command, error)),
        },
    }
}

/// The number that `wc -l` and `grep -c` leave.
fn count(run: &Invocation, text: &str) -> Option<Value> {
    let last = run.filters.last()?;
    let flag = last.iter().skip(1).any(|a| a.starts_with('-') && !a.starts_with("--") && a.contains('c'));
    let counts = match base(last.first()?) {
        "wc" => true,
        "grep" | "egrep" => flag,
        _ => false,
    };
    let number = text.trim();
    (counts && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())).then(|| number.into())
}

/// What web pages make of the marks of a dump, undone: entities, and quotes that lean.
fn typed_again(mut text: String) -> String {
    if ["&lt;unset&gt;", "&quot;"].iter().any(|e| text.contains(e)) {
        for (entity, mark) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")] {
            text = text.replace(entity, mark);
        }
    }
    let leaning = [" = “", " = ”", " : “", "\n“"];
    if leaning.iter().any(|l| text.contains(l)) {
        text = text.replace(['“', '”'], "\"");
    }
    text
}

/// Whether a word can be a program of a host at all: no option, no sentence, and none of the well-known programs that
/// no ESXi has.
fn is_program(name: &str) -> bool {
    let name = base(name);
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+'))
        && name.contains(|c: char| c.is_ascii_alphabetic())
        && !name.contains("esxcli")
        && name != "localcli"
        && !ELSEWHERE.contains(&name.to_ascii_lowercase().as_str())
        // PowerCLI's `Get-VMHost`
        && !(name.contains('-') && name.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// Programs of other systems.
const ELSEWHERE: &[&str] = &[
    "kubectl",
    "docker",
    "podman",
    "systemctl",
    "journalctl",
    "apt",
    "apt-get",
    "dpkg",
    "yum",
    "dnf",
    "zypper",
    "git",
    "npm",
    "pip",
    "cargo",
    "brew",
    "powershell",
    "pwsh",
    "cmd",
    "ipconfig",
    "govc",
    "terraform",
    "ansible",
    "ansible-playbook",
    "useradd",
    "iptables",
    "virsh",
    "qm",
    "xe",
    "dir",
];

/// A family for programs by name.
macro_rules! tool {
    ($name:literal, [$($program:literal),+], $about:literal, $example:literal, $read:path) => {
        family($name, $about, $example, |run| named(run, &[$($program),+]), on!($read))
    };
}

/// The families of this folder, in the order in which they are tried.
pub const FAMILIES: &[Family] = &[
    tool!(
        "esxcfg-vmknic",
        ["esxcfg-vmknic", "vicfg-vmknic"],
        "-l: table of vmknics by its headings",
        "esxcfg-vmknic -l",
        esxcfg::vmknic
    ),
    tool!(
        "esxcfg-nics",
        ["esxcfg-nics", "vicfg-nics"],
        "-l: table of physical adapters by its headings",
        "esxcfg-nics -l",
        esxcfg::nics
    ),
    tool!(
        "esxcfg-vswitch",
        ["esxcfg-vswitch", "vicfg-vswitch"],
        "-l: array of switches, each with its port groups or ports under _rows",
        "esxcfg-vswitch -l",
        esxcfg::vswitch
    ),
    tool!(
        "esxcfg-route",
        ["esxcfg-route", "vicfg-route"],
        "-l: table of routes by its headings",
        "esxcfg-route -l",
        esxcfg::route
    ),
    tool!(
        "esxcfg-advcfg",
        ["esxcfg-advcfg", "vicfg-advcfg"],
        "-g, -s: object of option and value; -l: rows of path, type, description",
        "esxcfg-advcfg -g /Net/FollowHardwareMac",
        esxcfg::advcfg
    ),
    tool!(
        "esxcfg-module",
        ["esxcfg-module", "vicfg-module"],
        "-l: table; -g: object of enabled and options; -i: labels; -q: array of names",
        "esxcfg-module -g ixgben",
        esxcfg::module
    ),
    tool!(
        "vmkload_mod",
        ["vmkload_mod"],
        "-l: table of modules; -s: labels of one",
        "vmkload_mod -s igbn",
        esxcfg::vmkload_mod
    ),
    tool!(
        "esxcfg-dumppart",
        ["esxcfg-dumppart", "vicfg-dumppart"],
        "-l: table by its headings",
        "esxcfg-dumppart -l",
        esxcfg::dumppart
    ),
    tool!("esxcfg-info", ["esxcfg-info"], "the dotted tree as nested objects", "esxcfg-info -n", esxcfg::info),
    tool!(
        "esxcfg-scsidevs",
        ["esxcfg-scsidevs", "vicfg-scsidevs"],
        "-c: table; -l: labelled blocks; -a, -m, -A: rows",
        "esxcfg-scsidevs -c",
        storage::scsidevs
    ),
    tool!(
        "esxcfg-mpath",
        ["esxcfg-mpath", "vicfg-mpath"],
        "-b: array of devices with their paths under _rows; -l: labelled blocks; -L: rows",
        "esxcfg-mpath -b",
        storage::mpath
    ),
    tool!(
        "esxcfg-volume",
        ["esxcfg-volume", "vicfg-volume"],
        "-l: labelled blocks of snapshot volumes",
        "esxcfg-volume -l",
        storage::volume
    ),
    tool!("esxcfg-nas", ["esxcfg-nas"], "its lines", "esxcfg-nas -l", esxcfg::nas),
    tool!(
        "esxcfg",
        [
            "esxcfg-hwiscsi",
            "esxcfg-swiscsi",
            "esxcfg-resgrp",
            "esxcfg-rescan",
            "esxcfg-ipsec",
            "esxcfg-firewall",
            "esxcfg-init",
            "esxcfg-auth",
            "esxcfg-fcoe",
            "esxcfg-boot",
            "esxcfg-dcui"
        ],
        "the other esxcfg tools: their lines",
        "esxcfg-rescan -A",
        text::sentences
    ),
    tool!(
        "partedUtil",
        ["partedUtil"],
        "getptbl, get, setptbl: rows; showGuids: table",
        "partedUtil getptbl /vmfs/devices/disks/mpx.vmhba0:C0:T0:L0",
        storage::parted_util
    ),
    tool!(
        "vmkfstools",
        ["vmkfstools"],
        "-P: labels of a file system; else its lines",
        "vmkfstools -P /vmfs/volumes/datastore1",
        storage::vmkfstools
    ),
    tool!("df", ["df"], "table of file systems by its headings", "df -h", storage::df),
    tool!("vdf", ["vdf"], "rows of its tables, each by its own headings", "vdf -h", storage::vdf),
    tool!("fdisk", ["fdisk"], "-l: partitions under _rows, the disk's lines under _lines", "fdisk -l", disks::fdisk),
    tool!(
        "voma",
        ["voma"],
        "its lines under _lines, the total of errors as a label",
        "voma -m vmfs -f check -d /vmfs/devices/disks/naa.1:1",
        disks::voma
    ),
    tool!(
        "iscsi",
        ["vmkiscsi-tool", "vicfg-iscsi"],
        "-W: table of parameters by its headings; labels as an object; else lines",
        "vmkiscsi-tool -W vmhba64",
        disks::iscsi
    ),
    tool!(
        "vim-cmd",
        ["vim-cmd", "vmware-vim-cmd"],
        "object dumps nested; getallvms: table; snapshot.get: blocks; else lines",
        "vim-cmd vmsvc/getallvms",
        vimcmd::read
    ),
    tool!(
        "vsish",
        // `get` is typed inside of its own shell
        ["vsish", "get"],
        "blocks and almost-JSON as objects; nodes and values as text",
        "vsish -e get /power/currentPolicy",
        vsish::read
    ),
    tool!("lspci", ["lspci"], "-p: table; else rows of address, class, device, name", "lspci -p", host::lspci),
    tool!("lsusb", ["lsusb"], "rows of bus, device, ID and name", "lsusb", host::lsusb),
    tool!("vmkchdev", ["vmkchdev"], "rows of address, IDs, owner, name", "vmkchdev -l", host::vmkchdev),
    tool!("chkconfig", ["chkconfig"], "rows of service and on or off", "chkconfig --list", host::chkconfig),
    tool!("ps", ["ps"], "table of worlds by its headings", "ps -c", host::ps),
    tool!(
        "esxtop",
        ["esxtop", "resxtop"],
        "-b: comma-separated values by their headings",
        "esxtop -b -n 1",
        host::esxtop
    ),
    tool!("net-stats", ["net-stats"], "-l: table of ports by its headings", "net-stats -l", host::net_stats),
    tool!(
        "ping",
        ["vmkping", "ping", "ping6"],
        "replies under _rows and the statistics by their words",
        "vmkping 10.0.0.1",
        host::ping
    ),
    tool!("ls", ["ls", "ll"], "array of names; -l: rows", "ls -l /bootbank", files::ls),
    tool!("stat", ["stat"], "its labels", "stat /etc/vmware/esx.conf", files::stat),
    tool!("du", ["du"], "rows of size and path", "du -sh /vmfs/volumes/datastore1", files::du),
    tool!(
        "checksum",
        ["sha256sum", "sha1sum", "sha512sum", "md5sum", "sha384sum"],
        "rows of sum and file",
        "sha256sum /tmp/x.vib",
        files::sums
    ),
    tool!(
        "cat",
        ["cat", "more", "less", "head", "tail", "grep", "egrep", "fgrep", "sort", "zcat", "strings"],
        "known configuration files by their form, other files as lines",
        "cat /etc/vmware/esx.conf",
        files::cat
    ),
    tool!(
        "labels",
        ["smbiosDump", "net-dvs", "cim-diagnostic"],
        "labels nested by their indentation",
        "smbiosDump",
        files::tree
    ),
    tool!("vmware", ["vmware"], "-v, -l: its lines", "vmware -vl", host::version),
    family(
        "init.d",
        "what a service script said",
        "/etc/init.d/hostd status",
        |run| run.program.starts_with("/etc/init.d/") || run.program.starts_with("/etc/rc.d/init.d/"),
        on!(text::sentences),
    ),
    tool!(
        "lines",
        [
            "services.sh",
            "uptime",
            "date",
            "hostname",
            "uname",
            "id",
            "whoami",
            "mount",
            "nc",
            "traceroute",
            "nicinfo.sh",
            "vscsiStats",
            "vm-support",
            "auto-backup.sh",
            "backup.sh",
            "reboot",
            "poweroff",
            "halt",
            "dcui",
            "tcpdump-uw",
            "pktcap-uw",
            "iperf3",
            "iperf",
            "enum_instances",
            "ssh",
            "time",
            "watch",
            "vmdumper",
            "vmkerrcode",
            "vmtar",
            "hwclock",
            "firmwareConfig.py",
            "pwqcheck",
            "passwd",
            "kill",
            "find",
            "wget",
            "cp",
            "mv",
            "rm",
            "mkdir",
            "rmdir",
            "ln",
            "chmod",
            "chown",
            "touch",
            "tar",
            "gzip",
            "gunzip",
            "unzip",
            "sed",
            "awk",
            "cut",
            "wc",
            "which",
            "env",
            "printenv",
            "sh",
            "crontab",
            "vmkmicrocode",
            "dmesg",
            "logger",
            "sleep",
            "sync",
            "true",
            "test",
            "vmkbacktrace",
            "vmkvsitools",
            "vmfsfilelockinfo",
            "dd",
            "diff",
            "readlink",
            "pwd",
            "cd",
            "export",
            "set",
            "arp",
            "netstat",
            "ifconfig",
            "route",
            "swfw.sh",
            "ntpq",
            "ntpd",
            "ntpdate",
            "chronyc",
            "summarize-dvfilter",
            "sfcbd-watchdog",
            "sfcbd"
        ],
        "its lines: a string for one, an array for several",
        "uptime",
        text::sentences
    ),
    family(
        "any other program",
        "by its looks: JSON, a table with a ruler, KEY=value or label lines; else its lines",
        "ethtool -i vmnic0",
        |run| is_program(&run.program),
        on!(form_any::read),
    ),
];

/// The family that a command line belongs to.
pub fn find(run: &Invocation) -> Option<&'static Family> {
    FAMILIES.iter().find(|f| (f.matches)(run))
}
