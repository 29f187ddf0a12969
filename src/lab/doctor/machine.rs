//! Raw facts about this machine, as text wherever the system gives text. Nothing here judges.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that was looked at. `None` is "there is no such file, or it cannot be read".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// `/proc/sys/kernel/osrelease`.
    pub kernel: Option<String>,
    /// `/etc/os-release`.
    pub os_release: Option<String>,
    /// `/proc/cpuinfo`.
    pub cpuinfo: Option<String>,
    /// `/proc/meminfo`.
    pub meminfo: Option<String>,
    /// `/proc/cmdline`.
    pub cmdline: Option<String>,
    /// `/proc/modules`; absent from a kernel that cannot load modules.
    pub modules: Option<String>,
    /// Whether `/sys/module` can be read at all: without it, absence proves nothing.
    pub sys_module: bool,
    /// The folders `/sys/module/kvm*`.
    pub kvm_modules: BTreeMap<String, ModuleFacts>,
    /// What opening `/dev/kvm` gave. It is opened and closed; no machine is made.
    pub dev_kvm: DevKvm,
    /// Effective user id.
    pub uid: u32,
    /// Group ids, the effective one too.
    pub groups: Vec<u32>,
    /// `/etc/group`, to name groups.
    pub group_file: Option<String>,
    /// `/proc/self/status`, for the capabilities.
    pub self_status: Option<String>,
    /// `/sys/devices/cpu_core/cpus` and `/sys/devices/cpu_atom/cpus`: both are there on hybrid processors only.
    pub hybrid: (Option<String>, Option<String>),
    /// The distinct values of `/sys/devices/system/cpu/cpu*/cpu_capacity`, where the kernel has it.
    pub capacities: Vec<String>,
    /// `/sys/devices/system/clocksource/clocksource0/current_clocksource`.
    pub clocksource: Option<String>,
    /// `/sys/kernel/mm/transparent_hugepage/enabled`.
    pub thp: Option<String>,
    /// `*.conf` in the folders of modprobe, in the order in which modprobe reads them: path and text.
    pub modprobe_d: Vec<(PathBuf, String)>,
    /// `qemu-system-x86_64 --version`.
    pub qemu_version: Said,
    /// `qemu-system-x86_64 -accel help`.
    pub qemu_accels: Said,
    /// `/proc/net/tcp`.
    pub tcp: Option<String>,
    /// `/proc/net/tcp6`.
    pub tcp6: Option<String>,
    /// Owners of sockets, by inode: those whose `/proc/PID/fd` may be read.
    pub sockets: BTreeMap<u64, Vec<Holder>>,
    /// `/proc/sys/net/ipv4/ip_unprivileged_port_start`.
    pub unprivileged_ports: Option<String>,
    /// `ip -j link`.
    pub links: Said,
    /// `bridge -j fdb`.
    pub fdb: Said,
    /// `bridge -j fdb` some more times within a second, asked only where a bridge has learned something: a MAC that
    /// moves between ports meanwhile is two machines.
    pub fdb_later: Vec<Said>,
    /// `ip -j neigh`.
    pub neighbours: Said,
    /// Whether `/dev/net/tun` is there.
    pub tun: bool,
    /// Whether `/sys/module/openvswitch` is there.
    pub ovs_module: bool,
    /// `/proc/self/mountinfo`.
    pub mountinfo: Option<String>,
    /// The folder for the lab's files.
    pub folder: Option<FolderFacts>,
    /// Programs, and where they are; those that are missing are not in it.
    pub programs: BTreeMap<String, PathBuf>,
}

/// What a program answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Said {
    /// It was not asked.
    #[default]
    NotAsked,
    /// It is not installed.
    Missing,
    /// It ended well and printed this.
    Text(String),
    /// It failed: its exit code or signal, and what it complained of.
    Failed(String),
}

impl Said {
    /// What it printed.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A folder of `/sys/module`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleFacts {
    /// `initstate`, which modules that are built into the kernel do not have.
    pub initstate: Option<String>,
    /// `refcnt`: how many use it; for `kvm_intel` and `kvm_amd`, each running virtual machine counts.
    pub refcnt: Option<String>,
    /// The files in `parameters`; a value is `None` where it may not be read.
    pub parameters: BTreeMap<String, Option<String>>,
}

impl ModuleFacts {
    /// Built into the kernel: it can neither be reloaded nor configured in modprobe.d.
    pub fn built_in(&self) -> bool {
        self.initstate.is_none()
    }
}

/// What opening `/dev/kvm` gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DevKvm {
    /// There is none.
    #[default]
    Absent,
    /// It opens for reading and writing, which proves nothing about the processor.
    Opens,
    /// It may not be opened.
    Denied {
        /// Its mode bits.
        mode: u32,
        /// Its group.
        gid: u32,
    },
    /// Something else came back.
    Fails(String),
}

/// A process that has a socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// `/proc/PID/comm`.
    pub name: String,
}

/// The folder for the lab's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderFacts {
    /// As asked for, absolute.
    pub path: PathBuf,
    /// It, or its nearest parent that is there, without symbolic links.
    pub existing: PathBuf,
    /// Whether the folder itself is there.
    pub exists: bool,
    /// Whether it is there and holds nothing.
    pub empty: bool,
    /// Whether this user may write in `existing`.
    pub writable: bool,
    /// Room on its file system.
    pub space: Option<Space>,
    /// The `C` attribute of `existing` (`lsattr`); `None` where the file system has no attributes.
    pub nocow: Option<bool>,
    /// `xfs_info` of its mount point, asked on XFS only.
    pub xfs_info: Said,
}

/// Room on a file system, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// For an ordinary user.
    pub available: u64,
    /// In all.
    pub total: u64,
}
