//! The binary in a home of its own, and simulated hosts as a process beside it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A home directory, a place for files, and the binary to run in it.
pub struct Home {
    pub dir: TempDir,
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

    /// The events of `--output json`.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("not JSON: {l:?}: {e}\n{}", self.all())))
            .collect()
    }

    /// Events of one kind.
    pub fn of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|e| e["event"] == kind).collect()
    }
}

/// These tests make up two test targets: whether this one is about the other library.
pub fn over_libssh2() -> bool {
    env!("CARGO_CRATE_NAME").ends_with("libssh2")
}

/// Whether the library under test shares algorithms with hosts of a release: libssh2 has none with a host key of
/// `ssh-rsa` only.
pub fn reachable(release: &&str) -> bool {
    *release != "6.0" || !over_libssh2()
}

impl Home {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esxprep"));
        let mut args = args.to_vec();
        let reaches_hosts = matches!(args.first(), Some(&"apply" | &"verify" | &"facts"));
        if reaches_hosts && over_libssh2() && !args.contains(&"--transport") {
            args.splice(1..1, ["--transport", "libssh2"]);
        }
        command
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("HOME", self.dir.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("ESXPREP_INVENTORY")
            .env_remove("ESXPREP_STATE_DIR")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// `esxprep sim`, ended with the test.
pub struct SimHosts {
    child: Child,
    pub hosts: Vec<Value>,
    pub inventory: PathBuf,
}

impl SimHosts {
    /// Starts simulated hosts; `more` are further arguments.
    pub fn start(home: &Home, version: &str, hosts: usize, more: &[&str]) -> Self {
        let inventory = home.path("inventory.yml");
        let count = hosts.to_string();
        let mut args =
            vec!["sim", "--hosts", &count, "--version", version, "--write-inventory", inventory.to_str().unwrap()];
        args.extend(more);
        let mut child = home.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ready = Vec::new();
        for _ in 0..hosts {
            let Some(Ok(line)) = lines.next() else {
                let out = child.wait_with_output().unwrap();
                panic!("the simulator did not start: {}", String::from_utf8_lossy(&out.stderr));
            };
            ready.push(serde_json::from_str(&line).unwrap());
        }
        Self { child, hosts: ready, inventory }
    }

    pub fn inventory(&self) -> &str {
        self.inventory.to_str().unwrap()
    }

    /// Runs a command on a host over the system's own `ssh`-less way: through the product's transport is what is
    /// tested, so this goes through the inventory and a `run` step. `verify` takes no lock and clears nothing away.
    pub fn on_host(&self, home: &Home, command: &str) -> String {
        let playbook = home.write(
            "on-host.yml",
            &format!("steps:\n  - run:\n      command: {}\n      read_only: true\n      expect: {{exit: [0, 1, 2, 127]}}\n    register: r\n  - assert: {{command: 'echo x', matches: x}}\n    name: \"got {{{{ r.stdout }}}}\"\n", serde_json::to_string(command).unwrap()),
        );
        let ran = home.run(&["verify", playbook.to_str().unwrap(), "-i", self.inventory(), "--output", "json"]);
        let events = ran.of("step");
        events
            .iter()
            .find_map(|e| e["name"].as_str().and_then(|n| n.strip_prefix("got ")).map(str::to_owned))
            .unwrap_or_else(|| panic!("{}", ran.all()))
    }

    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for SimHosts {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.end();
        }
    }
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
