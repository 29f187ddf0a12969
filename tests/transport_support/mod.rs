//! A real OpenSSH server on loopback, with its own keys, configuration and folder; it ends with the test.

#![allow(dead_code)] // not every test file uses all of it

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use esxprep::transport::target::{Credential, HostKeyCheck};
use esxprep::transport::{Connector, Reply, Request, RusshConnector, Shell, Target, TransportError};

/// Whether this test target is about the transport over libssh2. The same tests make up both targets.
pub fn libssh2() -> bool {
    env!("CARGO_CRATE_NAME").ends_with("libssh2")
}

/// The transport under test.
pub fn connector() -> Box<dyn Connector> {
    connector_with(None, None)
}

/// The transport under test with an agent of its own, or with other keepalives.
pub fn connector_with(agent: Option<&Path>, keepalive: Option<(Duration, usize)>) -> Box<dyn Connector> {
    connector_that_waits(agent, keepalive, None)
}

/// And with other patience before it opens more channels.
pub fn connector_that_waits(
    agent: Option<&Path>,
    keepalive: Option<(Duration, usize)>,
    patience: Option<Duration>,
) -> Box<dyn Connector> {
    macro_rules! made {
        ($kind:ty) => {{
            let mut made = <$kind>::new();
            if let Some(agent) = agent {
                made = made.with_agent(agent);
            }
            if let Some((interval, max)) = keepalive {
                made = made.with_keepalive(interval, max);
            }
            if let Some(patience) = patience {
                made = made.with_patience(patience);
            }
            Box::new(made)
        }};
    }
    #[cfg(feature = "libssh2")]
    if libssh2() {
        return made!(esxprep::transport::Libssh2Connector);
    }
    assert!(!libssh2(), "built without libssh2");
    made!(RusshConnector)
}

/// A running sshd.
pub struct Sshd {
    child: Child,
    pub port: u16,
    pub folder: tempfile::TempDir,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Connections have processes of their own: end them by their ids, then the listener.
        for child in children(self.child.id()) {
            for grandchild in children(child) {
                signal("KILL", grandchild);
            }
            signal("KILL", child);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// Starts one with more lines of configuration; the first value of a keyword wins, so `extra` overrides.
    pub fn start(extra: &str) -> Self {
        Self::start_with(extra, &["ed25519", "ecdsa", "rsa"], "")
    }

    /// With these host key types, and shell text that runs before the server (a `ulimit`).
    pub fn start_with(extra: &str, host_keys: &[&str], before: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let _ = fs::create_dir_all("/run/sshd"); // OpenSSH's own requirement when it runs as root
        let mut config = format!("{extra}\n");
        for kind in host_keys {
            keygen(&dir.join(format!("host_{kind}")), kind, "");
            config.push_str(&format!("HostKey {}/host_{kind}\n", dir.display()));
        }
        let mut authorized = String::new();
        for kind in ["ed25519", "ecdsa", "rsa"] {
            keygen(&dir.join(kind), kind, "");
            authorized.push_str(&fs::read_to_string(dir.join(format!("{kind}.pub"))).unwrap());
        }
        keygen(&dir.join("encrypted"), "ecdsa", "open sesame");
        authorized.push_str(&fs::read_to_string(dir.join("encrypted.pub")).unwrap());
        keygen(&dir.join("stranger"), "ed25519", "");
        fs::write(dir.join("authorized_keys"), authorized).unwrap();
        let port = free_port();
        config.push_str(&format!(
            "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nAuthorizedKeysFile {}/authorized_keys\n\
             LogLevel ERROR\nMaxStartups 100:30:200\n",
            dir.display()
        ));
        fs::write(dir.join("sshd_config"), config).unwrap();
        let script = format!("{before}\nexec /usr/sbin/sshd -D -e -f \"$1\"");
        let child = Command::new("/bin/sh")
            .args(["-c", &script, "sh"])
            .arg(dir.join("sshd_config"))
            .stdin(Stdio::null())
            .stderr(fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        let sshd = Self { child, port, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !speaks(port) {
            assert!(Instant::now() < deadline, "sshd does not start: {}", sshd.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        sshd
    }

    /// The processes that serve its connections.
    pub fn sessions(&self) -> Vec<u32> {
        children(self.child.id())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `ssh host true` with the ECDSA key, at a port that leads to this server.
    #[track_caller]
    pub fn ssh_true(&self, port: u16) {
        let status = Command::new("ssh")
            .args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-T"])
            .arg("-i")
            .arg(self.path("ecdsa"))
            .args(["-p", &port.to_string()])
            .arg(format!("{}@127.0.0.1", user()))
            .arg("true")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub fn public(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    pub fn fingerprint(&self, name: &str) -> String {
        let out = Command::new("ssh-keygen").arg("-lf").arg(self.path(&format!("{name}.pub"))).output().unwrap();
        String::from_utf8(out.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    }

    /// A target that logs in with the ECDSA key and accepts the host key on first sight.
    pub fn target(&self) -> Target {
        let mut target = Target::new("host1", "127.0.0.1");
        target.port = self.port;
        target.user = user();
        target.credentials = vec![self.key("ecdsa")];
        target.host_key = HostKeyCheck { pin: None, known_hosts: vec![self.path("known_hosts")], accept_new: true };
        target
    }

    pub fn key(&self, name: &str) -> Credential {
        Credential::Key { path: self.path(name), passphrase: None }
    }
}

pub fn user() -> String {
    let out = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

pub fn keygen(path: &Path, kind: &str, passphrase: &str) {
    loop {
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", passphrase, "-f"]).arg(path).status().unwrap();
        assert!(made.success());
        // One ECDSA key in 256 has a form that ssh-key does not read; those have a test of their own.
        let passphrase = Some(passphrase).filter(|text| !text.is_empty());
        if kind != "ecdsa" || russh::keys::load_secret_key(path, passphrase).is_ok() {
            return;
        }
        fs::remove_file(path).unwrap();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

fn speaks(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut start = [0; 4];
    stream.read_exact(&mut start).is_ok() && &start == b"SSH-"
}

fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after = stat.rsplit(") ").next().unwrap_or_default().to_owned();
            after.split(' ').nth(1).and_then(|text| text.parse::<u32>().ok()) == Some(parent)
        })
        .collect()
}

pub fn request(script: &str) -> Request {
    Request { script: script.to_owned(), stdin: None, timeout: Duration::from_secs(30), secret: false, changes: false }
}

pub async fn batch(shell: &mut Box<dyn Shell>, scripts: &[&str]) -> Result<Vec<Reply>, TransportError> {
    let requests: Vec<Request> = scripts.iter().map(|script| request(script)).collect();
    shell.batch(&requests, &mut |_| {}).await
}

pub async fn one(shell: &mut Box<dyn Shell>, script: &str) -> Result<Reply, TransportError> {
    Ok(batch(shell, &[script]).await?.remove(0))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
