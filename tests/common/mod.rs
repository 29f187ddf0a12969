//! Clients for the simulated host: OpenSSH's `ssh` with a password from an askpass program, and russh.
#![allow(dead_code)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use esxprep::sim::{Options, Sim};

/// How to reach one host with `ssh`.
#[derive(Clone)]
pub struct Client {
    pub address: String,
    pub port: u16,
    pub password: String,
    pub key: Option<PathBuf>,
    pub terminal: bool,
    pub methods: String,
    /// OpenSSH's HostKeyAlgorithms.
    pub host_keys: String,
    dir: Arc<tempfile::TempDir>,
}

/// What a command printed.
#[derive(Debug)]
pub struct Out {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

/// Starts a simulator and makes a client for its first host.
pub async fn start(options: Options) -> (Sim, Client) {
    let sim = Sim::start(options).await.unwrap();
    let host = sim.hosts()[0].clone();
    let dir = tempfile::tempdir().unwrap();
    let askpass = dir.path().join("askpass");
    std::fs::write(&askpass, "#!/bin/sh\nprintf '%s\\n' \"$TEST_PASSWORD\"\n").unwrap();
    std::fs::set_permissions(&askpass, std::fs::Permissions::from_mode(0o755)).unwrap();
    let client = Client {
        address: host.address,
        port: host.port,
        password: host.password,
        key: None,
        terminal: false,
        methods: "publickey,keyboard-interactive".into(),
        host_keys: "+".into(),
        dir: Arc::new(dir),
    };
    (sim, client)
}

impl Client {
    /// `ssh` with `command`; an empty one asks for a shell without a terminal.
    pub fn command(&self, command: &str) -> Command {
        let mut ssh = self.program("ssh");
        ssh.arg(if self.terminal { "-tt" } else { "-T" });
        ssh.arg("-p").arg(self.port.to_string()).arg(format!("root@{}", self.address));
        if !command.is_empty() {
            ssh.arg(command);
        }
        ssh
    }

    fn program(&self, name: &str) -> Command {
        let mut ssh = Command::new(name);
        ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.args(["-o", "LogLevel=ERROR", "-o", "NumberOfPasswordPrompts=1", "-o", "ConnectTimeout=5"]);
        ssh.args(["-o", "IdentitiesOnly=yes", "-o", &format!("PreferredAuthentications={}", self.methods)]);
        if self.host_keys != "+" {
            ssh.args(["-o", &format!("HostKeyAlgorithms={}", self.host_keys)]);
        }
        if let Some(key) = &self.key {
            ssh.arg("-i").arg(key);
        }
        ssh.env("SSH_ASKPASS", self.dir.path().join("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
        ssh.env("TEST_PASSWORD", &self.password).env_remove("SSH_AUTH_SOCK");
        ssh
    }

    pub async fn run(&self, command: &str) -> Out {
        self.run_with(command, b"").await
    }

    pub async fn run_with(&self, command: &str, stdin: &[u8]) -> Out {
        let output = self.output(command, stdin).await;
        Out {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    pub async fn run_bytes(&self, command: &str, stdin: &[u8]) -> Vec<u8> {
        self.output(command, stdin).await.stdout
    }

    async fn output(&self, command: &str, stdin: &[u8]) -> std::process::Output {
        self.feed(self.command(command), stdin).await
    }

    /// One command of OpenSSH's `sftp`.
    pub async fn sftp(&self, command: &str) -> Out {
        let mut sftp = self.program("sftp");
        sftp.arg("-P").arg(self.port.to_string()).arg(format!("root@{}", self.address));
        let output = self.feed(sftp, format!("{command}\n").as_bytes()).await;
        Out {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    async fn feed(&self, command: Command, stdin: &[u8]) -> std::process::Output {
        use tokio::io::AsyncWriteExt;
        let mut command = tokio::process::Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let data = stdin.to_vec();
        tokio::spawn(async move { pipe.write_all(&data).await });
        child.wait_with_output().await.unwrap()
    }

    /// A new key of this type; the public one is beside it with `.pub`.
    pub fn keygen(&self, kind: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("esxprep-test-{}-{kind}-{}", std::process::id(), self.port));
        let path = self.dir.path().join(path.file_name().unwrap());
        let status = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-f"]).arg(&path).status().unwrap();
        assert!(status.success());
        path
    }
}

/// Waits until the host is down and answers again.
pub async fn gone_and_back(client: &Client) {
    port_is(client, false).await;
    port_is(client, true).await;
}

/// Waits until the host is down.
pub async fn gone(client: &Client) {
    port_is(client, false).await;
}

/// Waits until the host answers.
pub async fn back(client: &Client) {
    port_is(client, true).await;
}

/// The ECDSA host key that the server shows.
pub fn host_key(client: &Client) -> String {
    let output = Command::new("ssh-keyscan")
        .args(["-t", "ecdsa", "-p", &client.port.to_string(), &client.address])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

async fn port_is(client: &Client, wanted: bool) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let open = tokio::net::TcpStream::connect((client.address.as_str(), client.port)).await.is_ok();
        if open == wanted {
            return;
        }
        assert!(Instant::now() < end, "port open: {open}, wanted {wanted}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

struct AnyKey;

impl russh::client::Handler for AnyKey {
    type Error = russh::Error;
    async fn check_server_key(&mut self, _key: &russh::keys::PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// A logged-in russh connection.
pub async fn russh_login(client: &Client) -> russh::client::Handle<impl russh::client::Handler> {
    use russh::client::KeyboardInteractiveAuthResponse as Response;
    let mut config = russh::client::Config::default();
    config.preferred.kex = std::borrow::Cow::Borrowed(&[russh::kex::ECDH_SHA2_NISTP256, russh::kex::CURVE25519]);
    let mut handle =
        russh::client::connect(Arc::new(config), (client.address.as_str(), client.port), AnyKey).await.unwrap();
    let mut state = handle.authenticate_keyboard_interactive_start("root", None).await.unwrap();
    let mut rounds = Vec::new();
    loop {
        match state {
            Response::Success => break,
            Response::Failure { .. } => panic!("refused after {rounds:?}"),
            Response::InfoRequest { prompts, .. } => {
                rounds.push(prompts.len());
                let answers = prompts.iter().map(|_| client.password.clone()).collect();
                state = handle.authenticate_keyboard_interactive_respond(answers).await.unwrap();
            }
        }
    }
    assert_eq!(rounds, [1, 0], "PAM asks once and then for nothing");
    handle
}

/// The processes whose root directory is `root`.
pub fn processes_in(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let link = std::fs::read_link(entry.path().join("root")).unwrap_or_default();
        if link == root {
            found.push(std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default().replace('\0', " "));
        }
    }
    found
}
