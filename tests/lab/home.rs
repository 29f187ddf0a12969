//! The binary with a home of its own for labs, and a look at what it leaves.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Labs take the whole machine: one at a time.
static ONE: Mutex<()> = Mutex::new(());

/// A place for labs, a short one for their sockets, and the binary.
pub struct Home {
    dir: TempDir,
    netns: Option<String>,
    _turn: MutexGuard<'static, ()>,
}

/// What a run of the binary came to.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Both streams, for messages of failing tests.
    pub fn all(&self) -> String {
        format!("exit {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.all());
        self
    }

    /// Events of one kind.
    #[track_caller]
    pub fn of(&self, kind: &str) -> Vec<Value> {
        let event = |line: &str| -> Value {
            serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON: {line:?}: {e}\n{}", self.all()))
        };
        self.stdout.lines().map(event).filter(|e| e["event"] == kind).collect()
    }

    /// The end of a phase.
    #[track_caller]
    pub fn phase(&self, name: &str) -> Value {
        let ended = |e: &Value| e["phase"] == name && e["status"] != "started";
        self.of("lab_phase").into_iter().find(ended).unwrap_or_else(|| panic!("no phase {name}\n{}", self.all()))
    }
}

impl Home {
    pub fn new() -> Self {
        let turn = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::Builder::new().prefix("eplab").tempdir().unwrap();
        for name in ["r", "labs", "state", "files"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        Self { dir, netns: None, _turn: turn }
    }

    /// In a network namespace of its own: needs root.
    pub fn in_netns() -> Self {
        let mut home = Self::new();
        let name = format!("eplab{}", std::process::id());
        ip(&["netns", "add", &name]);
        home.netns = Some(name.clone());
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        home
    }

    fn command(&self, args: &[&str]) -> Command {
        let program = assert_cmd::cargo::cargo_bin!("esxprep");
        let mut command = match &self.netns {
            None => Command::new(program),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]).arg(program);
                command
            }
        };
        command
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("ESXPREP_LAB_HOME", self.dir.path().join("labs"))
            .env("XDG_RUNTIME_DIR", self.dir.path().join("r"))
            .env("ESXPREP_STATE_DIR", self.dir.path().join("state"))
            // The stand-in's kernel and initramfs are made once for all tests.
            .env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/lab-cache"))
            .env_remove("ESXPREP_INVENTORY")
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// A lab of the project's own.
    pub fn lab(&self, name: &str) -> String {
        format!("labs/{name}")
    }

    /// A lab file with the project's playbooks beside it.
    pub fn write_lab(&self, name: &str, text: &str) -> String {
        let folder = self.dir.path().join("files");
        for playbook in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks")).unwrap().flatten() {
            if playbook.path().is_file() {
                std::fs::copy(playbook.path(), folder.join(playbook.file_name())).unwrap();
            }
        }
        let path = folder.join(format!("{name}.yml"));
        std::fs::write(&path, format!("name: {name}\n{text}")).unwrap();
        path.display().to_string()
    }

    /// Runs `lab up` and kills it with SIGKILL as soon as a phase (of a host) begins.
    #[track_caller]
    pub fn up_killed_at(&self, lab: &str, phase: &str, host: Option<&str>) {
        let mut up = self.command(&["lab", "up", lab, "--output", "json"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = Vec::new();
        for line in BufReader::new(up.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            said.push(line);
            let it = event["phase"] == phase && host.is_none_or(|h| event["host"] == h);
            if it && (event["status"] == "started" || event["status"] == "kept") {
                break;
            }
        }
        let alive = up.try_wait().unwrap().is_none();
        up.kill().unwrap();
        up.wait().unwrap();
        assert!(alive, "it ended before {phase} of {host:?}:\n{}", said.join("\n"));
    }

    /// What a command prints on a host.
    #[track_caller]
    pub fn ssh(&self, lab: &str, host: &str, command: &str) -> String {
        let ran = self.run(&["lab", "ssh", host, lab, "--", command]);
        assert_ne!(ran.code, 255, "{}", ran.all());
        assert_ne!(ran.code, 2, "{}", ran.all());
        ran.stdout
    }

    /// The states of all hosts.
    #[track_caller]
    pub fn states(&self, lab: &str) -> Vec<String> {
        self.status(lab).iter().map(|h| h["state"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    fn status(&self, lab: &str) -> Vec<Value> {
        let ran = self.run(&["lab", "status", lab, "--json"]).exits(0);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Ends a guest's QEMU as a crash would.
    pub fn kill_guest(&self, lab: &str, host: &str) {
        let status = self.status(lab);
        let pid = status.iter().find(|h| h["host"] == host).unwrap()["pid"].as_u64().unwrap().to_string();
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        let gone = || {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .map_or(true, |s| s.rsplit(')').next().unwrap_or("").trim().starts_with('Z'))
        };
        wait("its end", gone);
    }

    /// Waits until a host has gone down and answers again.
    pub fn waits_for_reboot(&self, lab: &str, host: &str) {
        let log = std::fs::read_to_string(self.host_file(lab_name(lab), host, "serial.log")).unwrap();
        let boots = log.matches("READY").count();
        wait("the reboot", || {
            let log = std::fs::read(self.host_file(lab_name(lab), host, "serial.log")).unwrap();
            String::from_utf8_lossy(&log).matches("READY").count() > boots
        });
    }

    /// A file in a host's folder.
    pub fn host_file(&self, lab: &str, host: &str, name: &str) -> PathBuf {
        self.dir.path().join("labs").join(lab).join("hosts").join(host).join(name)
    }

    /// Command lines of living processes that belong to this home.
    pub fn processes(&self) -> Vec<String> {
        let home = self.dir.path().display().to_string();
        let line = |entry: std::fs::DirEntry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&home).then_some(line)
        };
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(line).collect()
    }

    /// Interfaces and addresses where the labs of this home live.
    pub fn addresses(&self) -> String {
        let netns = self.netns.as_deref().unwrap();
        let output = Command::new("ip").args(["-n", netns, "-j", "addr"]).output().unwrap();
        let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let shown = all.iter().map(|l| format!("{} {} {}", l["ifname"], l["operstate"], l["addr_info"]));
        shown.collect::<Vec<_>>().join("\n")
    }

    /// Nothing of any lab is left: no process, no file, no socket.
    #[track_caller]
    pub fn nothing_left(&self) {
        assert_eq!(self.processes(), Vec::<String>::new());
        for name in ["labs", "r"] {
            let left: Vec<PathBuf> = walk(&self.dir.path().join(name));
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A test that failed leaves no machine behind.
        for lab in std::fs::read_dir(self.dir.path().join("labs")).into_iter().flatten().flatten() {
            let _ = self.command(&["lab", "down", &lab.file_name().to_string_lossy()]).output();
        }
        if let Some(name) = &self.netns {
            ip(&["netns", "del", name]);
        }
    }
}

fn lab_name(lab: &str) -> &str {
    Path::new(lab).file_stem().unwrap().to_str().unwrap()
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("ip of iproute2 is needed");
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(600);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What a server says first.
pub fn banner(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut bytes = [0; 64];
    let n = stream.read(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}
