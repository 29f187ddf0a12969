//! The hosts that are measured: simulated ones in a process of their own, with OpenSSH's server in front of them or
//! with the simulator's own.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::common::{Home, SimHosts, arg};
use super::inside::{RECORDED, enter};
use super::support::Outcome;
use super::transport_support::{Sshd, free_port, user};
use super::turns::{Proxy, Seen};

/// The most hosts of one simulator process.
const PER_PROCESS: usize = 200;

/// Ports of one sshd, besides its own: it can listen at 16.
const PER_SSHD: usize = 10;

/// A way in.
#[derive(Clone)]
pub struct Door {
    pub port: u16,
    /// The file with the private key.
    pub key: PathBuf,
    host_key: String,
}

/// Simulated 8.0 hosts behind OpenSSH's server, each at a port of its own; and the same server for the machine itself.
pub struct Front {
    pub sshds: Vec<Sshd>,
    doors: Vec<Door>,
    roots: Vec<PathBuf>,
    _sim: SimHosts,
    _home: Home,
}

impl Front {
    pub fn start(hosts: usize) -> Self {
        let home = Home::new();
        let state = home.path("sim");
        let sim = SimHosts::start(&home, "8.0", hosts, &["--state", arg(&state), "--hostd-ms", "0"]);
        let state = state.canonicalize().unwrap_or(state);
        let roots: Vec<PathBuf> = (1..=hosts).map(|n| state.join(format!("host{n}/root"))).collect();
        // The local port says which host; at sshd's own port there is the machine itself.
        let choose = format!(
            "set -- $SSH_CONNECTION\nif [ -e '{0}/enter-'$4 ]; then exec /bin/sh '{0}/enter-'$4; fi\n\
             exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
            home.dir.path().display()
        );
        let choose = home.write("choose", &choose);
        let (mut sshds, mut doors) = (Vec::new(), Vec::new());
        for some in roots.chunks(PER_SSHD) {
            let mut config = String::new();
            let mut ports = Vec::new();
            for root in some {
                let port = free_port();
                home.write(&format!("enter-{port}"), &enter(root));
                let _ = writeln!(config, "Port {port}");
                ports.push(port);
            }
            for line in RECORDED.lines() {
                // The algorithms of a real host, so that all clients use the same ones.
                if ["ciphers ", "macs ", "kexalgorithms ", "hostkeyalgorithms "].iter().any(|key| line.starts_with(key))
                {
                    let _ = writeln!(config, "{line}");
                }
            }
            let _ = writeln!(config, "ForceCommand /bin/sh {}", arg(&choose));
            let sshd = Sshd::start_with(&config, &["ecdsa"], "");
            doors.extend(ports.into_iter().map(|port| door(&sshd, port)));
            sshds.push(sshd);
        }
        Self { sshds, doors, roots, _sim: sim, _home: home }
    }

    /// A file of the first host, from outside.
    pub fn file(&self, path: &str) -> PathBuf {
        self.roots[0].join(path)
    }

    /// The first hosts, behind a line with this round trip; counted if it has one.
    pub fn field(&self, hosts: usize, round_trip: Duration) -> Outcome<Field> {
        let mut doors = self.doors[..hosts].to_vec();
        let mut proxies = Vec::new();
        if !round_trip.is_zero() {
            for door in &mut doors {
                let proxy = Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, door.port)), round_trip / 2);
                door.port = proxy.address().port();
                proxies.push(proxy);
            }
        }
        Field::new(doors, proxies)
    }

    /// The machine itself in place of a host.
    pub fn machine(&self) -> Outcome<Field> {
        Field::new(vec![door(&self.sshds[0], self.sshds[0].port)], Vec::new())
    }
}

fn door(sshd: &Sshd, port: u16) -> Door {
    Door { port, key: sshd.path("ecdsa"), host_key: sshd.public("host_ecdsa") }
}

/// Hosts as clients reach them, with what each client wants to know about them in a folder.
pub struct Field {
    pub dir: TempDir,
    pub doors: Vec<Door>,
    proxies: Vec<Proxy>,
}

impl Field {
    fn new(doors: Vec<Door>, proxies: Vec<Proxy>) -> Outcome<Self> {
        let dir = tempfile::Builder::new().prefix("ep").tempdir()?; // short: control sockets lie in it
        let user = user();
        let known = dir.path().join("known_hosts");
        let mut inventory = String::from("hosts:\n");
        let mut known_hosts = String::new();
        let mut pyinfra = String::from("hosts = [\n");
        let mut ansible = String::new();
        for (n, Door { port, key, host_key }) in doors.iter().enumerate() {
            let login = key.display();
            let _ = writeln!(
                inventory,
                "  h{n}: {{address: 127.0.0.1, port: {port}, user: {user}, key: {login}, host_key: \"{host_key}\"}}"
            );
            let _ = writeln!(known_hosts, "[127.0.0.1]:{port} {host_key}");
            let _ = writeln!(
                pyinfra,
                "  ('h{n}', {{'ssh_hostname': '127.0.0.1', 'ssh_port': {port}, 'ssh_user': '{user}', 'ssh_key': '{login}', 'ssh_known_hosts_file': '{}'}}),",
                known.display()
            );
            let _ = writeln!(
                ansible,
                "h{n} ansible_host=127.0.0.1 ansible_port={port} ansible_user={user} ansible_ssh_private_key_file={login}"
            );
        }
        pyinfra.push_str("]\n");
        let config = format!(
            "[defaults]\ninventory = {0}/hosts.ini\nforks = {1}\nhost_key_checking = True\nlocal_tmp = {0}/a\n\
             interpreter_python = auto_silent\n[ssh_connection]\npipelining = True\ncontrol_path_dir = {0}/c\n\
             ssh_args = -F /dev/null -o ControlMaster=auto -o ControlPersist=60s -o IdentitiesOnly=yes \
             -o UserKnownHostsFile={2}\n",
            dir.path().display(),
            doors.len(),
            known.display()
        );
        for (name, text) in [
            ("hosts.yml", inventory),
            ("known_hosts", known_hosts),
            ("hosts.py", pyinfra),
            ("hosts.ini", ansible),
            ("ansible.cfg", config),
        ] {
            std::fs::write(dir.path().join(name), text)?;
        }
        Ok(Self { dir, doors, proxies })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// All connections so far, through all proxies.
    pub fn seen(&self) -> Vec<Vec<Seen>> {
        self.proxies.iter().map(Proxy::connections).collect()
    }
}

/// Many hosts behind the simulator's own server, with passwords.
pub struct Many {
    dir: TempDir,
    pub hosts: usize,
    _sims: Vec<(SimHosts, Home)>,
}

impl Many {
    pub fn start(hosts: usize) -> Outcome<Self> {
        let mut sims = Vec::new();
        let mut all: Vec<Value> = Vec::new();
        while all.len() < hosts {
            let home = Home::new();
            let sim = SimHosts::start(&home, "8.0", PER_PROCESS.min(hosts - all.len()), &["--hostd-ms", "0"]);
            all.extend(sim.hosts.iter().cloned());
            sims.push((sim, home));
        }
        let dir = tempfile::tempdir()?;
        let many = Self { dir, hosts, _sims: sims };
        for count in many.counts() {
            let mut text = String::from("hosts:\n");
            for (n, host) in all.iter().take(count).enumerate() {
                let _ = writeln!(
                    text,
                    "  h{n}: {{address: {}, port: {}, user: {}, password: {}, host_key: {}}}",
                    host["address"], host["port"], host["user"], host["password"], host["host_key"]
                );
            }
            let path = many.inventory(count);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(many)
    }

    /// The numbers of hosts that are measured.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts: Vec<usize> = [1, 10, 100, 500, 1000].into_iter().filter(|n| *n < self.hosts).collect();
        counts.push(self.hosts);
        counts
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn inventory(&self, count: usize) -> PathBuf {
        self.dir.path().join(format!("hosts-{count}.yml"))
    }
}
