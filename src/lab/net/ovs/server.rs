//! An Open vSwitch of the lab's own, in a folder of the lab, for machines on which none runs and for labs in a
//! namespace. Commands and environment variables as in the manuals of ovsdb-server(1) and ovs-vswitchd(8);
//! tried with Open vSwitch 3.1.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lab::net::place::run;
use crate::lab::net::{NetError, Place, check_socket_path, proc};

/// Where Debian, Fedora and upstream's own build put the schema.
const SCHEMAS: &[&str] =
    &["/usr/share/openvswitch/vswitch.ovsschema", "/usr/local/share/openvswitch/vswitch.ovsschema"];
/// How long a daemon may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two daemons (`ovsdb-server`, `ovs-vswitchd`) with database, sockets and logs in one folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsServer {
    /// Where the switch lives, and whose it is.
    pub place: Place,
    /// The folder, of this switch alone. Its path must be short: the sockets are in it.
    pub dir: PathBuf,
}

/// The database's address for clients.
pub(super) fn database_address(dir: &Path) -> String {
    format!("unix:{}", socket(dir).display())
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("db.sock")
}

/// The daemons of the folder that are alive: found by what they were started with, so that one whose pid file was
/// never written is found too.
fn daemons(dir: &Path) -> (Vec<u32>, Vec<u32>) {
    let database = dir.join("conf.db").display().to_string();
    (proc::find("ovsdb-server", &database), proc::find("ovs-vswitchd", &database_address(dir)))
}

pub(super) fn is_running(dir: &Path) -> bool {
    !daemons(dir).0.is_empty()
}

impl OvsServer {
    /// Waits for what a killed run had begun: a daemon is first `ip` or `env`, and only then itself.
    fn settle(&self) {
        self.place.settle();
        proc::settle(&["ovsdb-tool"], &self.dir.join("conf.db.part").display().to_string());
        for program in ["ovsdb-server", "ovs-vswitchd"] {
            proc::settle(&["ip", "env"], &self.pid_file(program));
        }
    }

    fn pid_file(&self, program: &str) -> String {
        format!("--pidfile={}", self.dir.join(format!("{program}.pid")).display())
    }

    /// Starts what of it does not run.
    pub fn make(&self) -> Result<(), NetError> {
        self.place.check()?;
        // The longest socket in the folder: ovs-vswitchd.<pid>.ctl.
        check_socket_path(&self.dir.join("ovs-vswitchd.4194304.ctl"))?;
        if !self.place.exists() {
            let name = self.place.netns.clone().unwrap_or_default();
            let wanted = "an Open vSwitch in it".into();
            return Err(NetError::Absent { what: "network namespace", name, wanted });
        }
        self.settle();
        let dir = &self.dir;
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(NetError::io("create", dir))?;
        let (servers, switches) = daemons(dir);
        let database = dir.join("conf.db");
        if servers.is_empty() {
            self.create_database(&database)?;
            let remote = format!("--remote=p{}", database_address(dir));
            self.start("ovsdb-server", &[database.display().to_string(), remote])?;
        }
        run("ovs-vsctl", &["--timeout=30", &format!("--db={}", database_address(dir)), "--no-wait", "init"], None)?;
        if switches.is_empty() {
            self.start("ovs-vswitchd", &[database_address(dir)])?;
        }
        Ok(())
    }

    /// Under another name first: a killed run leaves no half of a database.
    fn create_database(&self, database: &Path) -> Result<(), NetError> {
        if database.exists() {
            return Ok(());
        }
        let part = self.dir.join("conf.db.part");
        remove(&part)?;
        let schema = SCHEMAS.iter().find(|s| Path::new(s).exists()).copied().unwrap_or(SCHEMAS[0]);
        run("ovsdb-tool", &["create".as_ref(), part.as_os_str(), schema.as_ref()], None)?;
        fs::rename(&part, database).map_err(NetError::io("create", database))
    }

    /// Starts a daemon, which comes back when the daemon is ready.
    fn start(&self, program: &'static str, args: &[String]) -> Result<(), NetError> {
        // `ip netns exec` first, else `env` alone: either way the folder goes into the environment.
        let mut argv = self.place.prefix();
        argv.push("env".into());
        for variable in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"] {
            argv.push(format!("{variable}={}", self.dir.display()));
        }
        argv.push(program.into());
        argv.extend(args.iter().cloned());
        argv.push(self.pid_file(program));
        argv.push(format!("--log-file={}", self.dir.join(format!("{program}.log")).display()));
        argv.extend(["--detach".to_owned(), "--no-chdir".to_owned()]);
        // A daemon that is not there yet must not be taken for one: `env` says 127 for an absent program.
        run(&argv[0], &argv[1..], None).map(drop)
    }

    /// Ends both daemons and removes their files.
    pub fn unmake(&self) -> Result<(), NetError> {
        self.place.check()?;
        self.settle();
        let dir = &self.dir;
        let (servers, switches) = daemons(dir);
        for pid in &switches {
            // It then removes its datapaths too; one of the kernel would outlive it. If it does not answer: below.
            let control = dir.join(format!("ovs-vswitchd.{pid}.ctl")).display().to_string();
            let _ = run("ovs-appctl", &["--timeout=5", "-t", &control, "exit", "--cleanup"], None);
        }
        for pid in switches {
            proc::stop("ovs-vswitchd", pid, PATIENCE)?;
        }
        for pid in servers {
            proc::stop("ovsdb-server", pid, PATIENCE)?;
        }
        self.remove_files()
    }

    fn remove_files(&self) -> Result<(), NetError> {
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(NetError::io("list", &self.dir))?,
        };
        for entry in entries {
            let entry = entry.map_err(NetError::io("list", &self.dir))?;
            if is_of_ovs(&entry.file_name().to_string_lossy()) {
                remove(&entry.path())?;
            }
        }
        match fs::remove_dir(&self.dir) {
            // Something else is in it: not ours to remove.
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(()),
            other => other.map_err(NetError::io("remove", &self.dir)),
        }
    }
}

/// Whether the daemons make files of this name in their folder.
fn is_of_ovs(name: &str) -> bool {
    let daemons = name.starts_with("ovsdb-server.") || name.starts_with("ovs-vswitchd.");
    daemons
        || name.starts_with("conf.db")
        || name.starts_with(".conf.db")
        || name == "db.sock"
        || name == "system-id.conf"
        || name.ends_with(".mgmt")
        || name.ends_with(".snoop")
}

fn remove(path: &Path) -> Result<(), NetError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(NetError::io("remove", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_switch_go() {
        for name in ["conf.db", ".conf.db.~lock~", "db.sock", "ovs-vswitchd.77.ctl", "ovsdb-server.log", "br0.mgmt"] {
            assert!(is_of_ovs(name), "{name}");
        }
        for name in ["h1.log", "lab.yml", "conf", "db.sock.bak"] {
            assert!(!is_of_ovs(name), "{name}");
        }
    }

    #[test]
    fn a_long_folder_is_refused() {
        let server = OvsServer { place: Place::host("demo"), dir: format!("/{}", "d".repeat(100)).into() };
        assert!(matches!(server.make(), Err(NetError::SocketPath { .. })));
    }
}
