//! Takes the facts. Files are read below a root, so that a test can give a folder for `/`; programs go through
//! [`Commands`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Access, IFlags, Mode, OFlags};

use super::facts::tools;
use super::machine::{DevKvm, FolderFacts, Holder, Machine, ModuleFacts, Said, Space};
use super::parse::{has_learned, listeners, mount_of};

/// How programs are asked.
pub trait Commands {
    /// Where a program is.
    fn find(&self, program: &str) -> Option<PathBuf>;
    /// What it answers. An argument vector, never a shell's text.
    fn ask(&self, program: &str, arguments: &[&str]) -> Said;
}

/// The programs of this machine, found in PATH and then in the folders of system programs, which PATH often lacks.
#[derive(Debug, Clone)]
pub struct Programs {
    folders: Vec<PathBuf>,
    patience: Duration,
}

impl Default for Programs {
    fn default() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|p| p.is_absolute()).collect();
        folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from));
        Self { folders, patience: Duration::from_secs(20) }
    }
}

#[cfg(test)]
impl Programs {
    /// With another time limit.
    pub(super) fn with_patience(patience: Duration) -> Self {
        Self { patience, ..Self::default() }
    }
}

impl Commands for Programs {
    fn find(&self, program: &str) -> Option<PathBuf> {
        self.folders
            .iter()
            .map(|folder| folder.join(program))
            .find(|file| fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> Said {
        let Some(file) = self.find(program) else { return Said::Missing };
        let child = Command::new(file)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        match child {
            Ok(child) => wait(child, self.patience),
            Err(e) => Said::Failed(format!("cannot be started: {e}")),
        }
    }
}

fn wait(mut child: Child, patience: Duration) -> Said {
    fn reader(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut stream) = stream {
                // What was read before an error is still worth showing.
                let _ = stream.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() > patience => {
                let _ = child.kill();
                let _ = child.wait();
                return Said::Failed(format!("no answer within {} s", patience.as_secs()));
            }
            Ok(None) => thread::sleep(Duration::from_millis(5)),
            Err(e) => return Said::Failed(e.to_string()),
        }
    };
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    if status.success() { Said::Text(out) } else { Said::Failed(format!("{status}: {}", err.trim())) }
}

/// Pauses between looks at the bridges, milliseconds: uneven, so that machines that speak in turns do not look like one.
const BETWEEN_FDBS: &[u64] = &[60, 90, 130, 170, 110];

/// Takes every fact. `root` is `/` outside tests; `folder` is where the lab's files will be.
pub fn gather(root: &Path, commands: &dyn Commands, folder: Option<&Path>) -> Machine {
    let read = |path: &str| read(&root.join(path));
    let mountinfo = read("proc/self/mountinfo");
    let (tcp, tcp6) = (read("proc/net/tcp"), read("proc/net/tcp6"));
    let wanted = [&tcp, &tcp6].into_iter().flatten().flat_map(|text| listeners(text)).map(|l| l.inode).collect();
    let fdb = commands.ask("bridge", &["-j", "fdb"]);
    let mut machine = Machine {
        kernel: read("proc/sys/kernel/osrelease").map(|t| t.trim().to_owned()),
        os_release: read("etc/os-release").or_else(|| read("usr/lib/os-release")),
        cpuinfo: read("proc/cpuinfo"),
        meminfo: read("proc/meminfo"),
        cmdline: read("proc/cmdline"),
        modules: read("proc/modules"),
        sys_module: root.join("sys/module").is_dir(),
        kvm_modules: kvm_modules(root),
        dev_kvm: dev_kvm(&root.join("dev/kvm")),
        uid: rustix::process::geteuid().as_raw(),
        groups: groups(),
        group_file: read("etc/group"),
        self_status: read("proc/self/status"),
        hybrid: (read("sys/devices/cpu_core/cpus"), read("sys/devices/cpu_atom/cpus")),
        capacities: capacities(root),
        clocksource: read("sys/devices/system/clocksource/clocksource0/current_clocksource"),
        thp: read("sys/kernel/mm/transparent_hugepage/enabled"),
        modprobe_d: modprobe_d(root),
        qemu_version: commands.ask("qemu-system-x86_64", &["--version"]),
        qemu_accels: commands.ask("qemu-system-x86_64", &["-accel", "help"]),
        sockets: owners(root, &wanted),
        tcp,
        tcp6,
        unprivileged_ports: read("proc/sys/net/ipv4/ip_unprivileged_port_start"),
        links: commands.ask("ip", &["-j", "link"]),
        fdb_later: Vec::new(),
        fdb,
        neighbours: commands.ask("ip", &["-j", "neigh"]),
        tun: root.join("dev/net/tun").exists(),
        ovs_module: root.join("sys/module/openvswitch").is_dir(),
        folder: folder.map(|path| folder_facts(root, path, mountinfo.as_deref().unwrap_or_default(), commands)),
        mountinfo,
        programs: tools()
            .iter()
            .filter_map(|tool| Some((tool.program.to_owned(), commands.find(tool.program)?)))
            .collect(),
    };
    if machine.fdb.text().is_some_and(has_learned) {
        for pause in BETWEEN_FDBS {
            thread::sleep(Duration::from_millis(*pause));
            machine.fdb_later.push(commands.ask("bridge", &["-j", "fdb"]));
        }
    }
    machine
}

/// A file's text; files of /proc and /sys say no size, so they are read to the end.
fn read(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn groups() -> Vec<u32> {
    let mut groups = vec![rustix::process::getegid().as_raw()];
    groups.extend(rustix::process::getgroups().unwrap_or_default().iter().map(|g| g.as_raw()));
    groups
}

fn kvm_modules(root: &Path) -> BTreeMap<String, ModuleFacts> {
    let folder = root.join("sys/module");
    let modules = names(&folder).into_iter().filter(|name| name == "kvm" || name.starts_with("kvm_"));
    modules
        .map(|name| {
            let module = folder.join(&name);
            let parameters = module.join("parameters");
            let value = |p: &String| read(&parameters.join(p)).map(|v| v.trim_end().to_owned());
            let facts = ModuleFacts {
                initstate: read(&module.join("initstate")),
                refcnt: read(&module.join("refcnt")),
                parameters: names(&parameters).into_iter().map(|p| (p.clone(), value(&p))).collect(),
            };
            (name, facts)
        })
        .collect()
}

/// Opens and closes it, nothing more: a machine made here could disturb those that run.
fn dev_kvm(path: &Path) -> DevKvm {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => DevKvm::Opens,
        Err(e) if e.kind() == io::ErrorKind::NotFound => DevKvm::Absent,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => match fs::metadata(path) {
            Ok(m) => DevKvm::Denied { mode: m.permissions().mode() & 0o7777, gid: m.gid() },
            Err(e) => DevKvm::Fails(e.to_string()),
        },
        Err(e) => DevKvm::Fails(e.to_string()),
    }
}

fn capacities(root: &Path) -> Vec<String> {
    let folder = root.join("sys/devices/system/cpu");
    let cpus = names(&folder).into_iter().filter(|n| n.strip_prefix("cpu").is_some_and(|n| n.parse::<u32>().is_ok()));
    let values: BTreeSet<String> =
        cpus.filter_map(|cpu| read(&folder.join(cpu).join("cpu_capacity"))).map(|v| v.trim().to_owned()).collect();
    values.into_iter().collect()
}

/// The folders that modprobe.d(5) names, the strongest first; a file of a name hides those of the same name after it.
const MODPROBE_FOLDERS: &[&str] =
    &["etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"];

fn modprobe_d(root: &Path) -> Vec<(PathBuf, String)> {
    let mut files: BTreeMap<String, (PathBuf, String)> = BTreeMap::new();
    for folder in MODPROBE_FOLDERS {
        for name in names(&root.join(folder)).into_iter().filter(|n| n.ends_with(".conf")) {
            let path = Path::new(folder).join(&name);
            if let (false, Some(text)) = (files.contains_key(&name), read(&root.join(&path))) {
                files.insert(name, (Path::new("/").join(path), text));
            }
        }
    }
    files.into_values().collect()
}

/// Who has these sockets open. Other users' processes show their open files to root only.
fn owners(root: &Path, wanted: &BTreeSet<u64>) -> BTreeMap<u64, Vec<Holder>> {
    let mut found: BTreeMap<u64, Vec<Holder>> = BTreeMap::new();
    if wanted.is_empty() {
        return found;
    }
    let proc = root.join("proc");
    for (pid, name) in names(&proc).into_iter().filter_map(|n| Some((n.parse::<u32>().ok()?, n))) {
        let folder = proc.join(&name);
        let mut inodes = BTreeSet::new();
        for fd in fs::read_dir(folder.join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(fd.path()) else { continue };
            let inode = target.to_str().and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            inodes.extend(inode.filter(|inode| wanted.contains(inode)));
        }
        for inode in inodes {
            let name = read(&folder.join("comm")).map(|c| c.trim().to_owned()).unwrap_or_default();
            found.entry(inode).or_default().push(Holder { pid, name });
        }
    }
    found
}

fn folder_facts(root: &Path, path: &Path, mountinfo: &str, commands: &dyn Commands) -> FolderFacts {
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let path = if path.is_absolute() {
        path.to_path_buf()
    } else {
        std::env::current_dir().map(|here| here.join(path)).unwrap_or_else(|_| path.to_path_buf())
    };
    let exists = inside(&path).is_dir();
    let mut existing = path.clone();
    while !inside(&existing).is_dir() && existing.pop() {}
    // Symbolic links of a test's root would lead out of it.
    if root == Path::new("/") {
        existing = fs::canonicalize(&existing).unwrap_or(existing);
    }
    let real = inside(&existing);
    let xfs = mount_of(mountinfo, &existing).filter(|m| m.kind == "xfs");
    FolderFacts {
        exists,
        empty: exists && fs::read_dir(&real).is_ok_and(|mut entries| entries.next().is_none()),
        writable: rustix::fs::access(&real, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        space: rustix::fs::statvfs(&real)
            .ok()
            .map(|s| Space { available: s.f_bavail * s.f_frsize, total: s.f_blocks * s.f_frsize }),
        nocow: nocow(&real).ok(),
        xfs_info: match xfs.as_ref().and_then(|m| m.point.to_str()) {
            Some(point) => commands.ask("xfs_info", &[point]),
            None => Said::NotAsked,
        },
        path,
        existing,
    }
}

/// The `C` attribute of a folder.
pub(super) fn nocow(folder: &Path) -> io::Result<bool> {
    let handle = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::fs::ioctl_getflags(&handle)?.contains(IFlags::NOCOW))
}

/// Sets or clears the `C` attribute of a folder.
pub(super) fn set_nocow(folder: &Path, on: bool) -> io::Result<()> {
    let handle = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut flags = rustix::fs::ioctl_getflags(&handle)?;
    flags.set(IFlags::NOCOW, on);
    Ok(rustix::fs::ioctl_setflags(&handle, flags)?)
}
