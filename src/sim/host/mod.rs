//! Placeholder for the simulated host's state and command answers: just enough for the core to be tested alone.

use serde::{Deserialize, Serialize};

use super::SimError;

/// What sshd of one release offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshdProfile {
    /// Key exchange methods, preferred first.
    pub kex: Vec<&'static str>,
    /// Ciphers, preferred first.
    pub ciphers: Vec<&'static str>,
    /// MACs, preferred first.
    pub macs: Vec<&'static str>,
    /// Host key algorithms.
    pub host_keys: Vec<&'static str>,
    /// Whether the `password` method is on.
    pub password_method: bool,
    /// Whether sshd runs in FIPS mode: ed25519 user keys are refused.
    pub fips: bool,
}

/// Configured and running values of one host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostState {
    version: String,
    index: usize,
    boot_time: u64,
    setting: u64,
    ssh_running: bool,
    addresses: Vec<String>,
    lost: bool,
}

impl HostState {
    /// Fresh from the installer.
    pub fn factory(version: &str, index: usize) -> Result<HostState, SimError> {
        let full = match version {
            "6.0" | "6.5" | "6.7" => format!("{version}.0"),
            "7.0" => "7.0.3".into(),
            "8.0" => "8.0.2".into(),
            other => {
                return Err(SimError::Version { given: other.into() });
            }
        };
        Ok(HostState {
            version: full,
            index,
            boot_time: 0,
            setting: 0,
            ssh_running: true,
            addresses: vec![format!("127.0.{}.{}", index / 200 + 50, index % 200 + 11)],
            lost: false,
        })
    }
    /// What runs after a boot from this saved configuration.
    pub fn boot(saved: &HostState, now: u64) -> HostState {
        HostState { boot_time: now, ssh_running: true, ..saved.clone() }
    }
    /// Makes the host boot without seeing its boot disk.
    pub fn set_boot_disk_lost(&mut self) {
        self.lost = true;
    }
    /// What lies on the boot disk without any save.
    pub fn carry_disk(&self, saved: &mut HostState) {
        saved.lost = self.lost;
    }
    /// Host name.
    pub fn name(&self) -> &str {
        "localhost"
    }
    /// Version with update.
    pub fn version(&self) -> &str {
        &self.version
    }
    /// Build number.
    pub fn build(&self) -> u64 {
        1
    }
    /// Whether anything can be saved.
    pub fn boot_disk_visible(&self) -> bool {
        !self.lost
    }
    /// UUIDs of the two boot banks.
    pub fn bootbank_uuids(&self) -> (String, String) {
        ("1a7a3b1c-00000001".into(), "2b7a3b1c-00000002".into())
    }
    /// Datastores: name, UUID, free bytes.
    pub fn datastores(&self) -> Vec<(String, String, u64)> {
        vec![("datastore1".into(), "5f000000-11111111".into(), 1 << 36)]
    }
    /// Addresses where a session can come in.
    pub fn management_addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }
    /// Whether sshd starts with the host.
    pub fn ssh_enabled_at_boot(&self) -> bool {
        true
    }
    /// Whether sshd runs.
    pub fn ssh_running(&self) -> bool {
        self.ssh_running
    }
    /// Message of the day.
    pub fn shell_login_banner(&self) -> String {
        "The time and date of this login have been sent to the system logs.\n".into()
    }
    /// sshd's algorithms.
    pub fn sshd_profile(&self) -> SshdProfile {
        let list = |text: &'static str| text.split(',').collect();
        SshdProfile {
            kex: list("ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group14-sha256"),
            ciphers: list("aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes128-ctr"),
            macs: list("hmac-sha2-256,hmac-sha2-512"),
            host_keys: list("ecdsa-sha2-nistp256,rsa-sha2-256,rsa-sha2-512"),
            password_method: self.version.starts_with('6'),
            fips: !self.version.starts_with('6'),
        }
    }
    /// Failures before the lock, seconds until it opens.
    pub fn lockout(&self) -> (u32, u64) {
        (5, 900)
    }
    /// Files of a fresh host: path, content, mode (sticky = saved).
    pub fn factory_files(&self) -> Vec<(String, Vec<u8>, u32)> {
        vec![
            ("/etc/motd".into(), b"motd\n".to_vec(), 0o1644),
            ("/etc/issue".into(), b"".to_vec(), 0o1644),
            ("/etc/ssh/keys-root/authorized_keys".into(), Vec::new(), 0o1600),
        ]
    }
}

/// One program started by the host's shell.
pub struct Call<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// What came on standard input.
    pub stdin: &'a [u8],
    /// The host's root directory on the real machine.
    pub root: &'a std::path::Path,
    /// Unix seconds.
    pub now: u64,
    /// SSH_CONNECTION of the caller.
    pub ssh_connection: &'a str,
    /// Whether standard output is a terminal.
    pub tty: bool,
    /// Whether the management agent answers.
    pub hostd_up: bool,
}

/// What a program prints and does.
#[derive(Default)]
pub struct Answer {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit code.
    pub code: i32,
    /// What else happens to the host.
    pub effects: Vec<Effect>,
}

/// What a program does to the host beyond its own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The host goes down and comes back.
    Reboot {
        /// Milliseconds until it goes down.
        after_ms: u64,
        /// Whether the configuration is saved first.
        save: bool,
    },
    /// Copy saved files and state to the boot bank.
    Save,
    /// A vmknic changed.
    AddressesChanged,
    /// sshd stopped.
    SshStopped,
    /// sshd started.
    SshStarted,
    /// hostd restarts.
    HostdRestart,
    /// Host keys changed.
    KeysChanged,
}

/// Programs that the simulator answers.
pub fn programs() -> &'static [&'static str] {
    &["/bin/esxcli", "/bin/vim-cmd", "/bin/uname", "/bin/df", "/bin/reboot", "/sbin/auto-backup.sh", "/etc/init.d/SSH"]
}

/// Answers one call.
pub fn answer(state: &mut HostState, call: &Call<'_>) -> Answer {
    let words: Vec<&str> = call.argv.iter().map(String::as_str).collect();
    let name = words[0].rsplit('/').next().unwrap_or("");
    let mut answer = Answer::default();
    match (name, &words[1..]) {
        ("uname", _) => answer.stdout = format!("VMkernel {} {}\n", state.index, state.boot_time).into_bytes(),
        ("esxcli", ["system", "settings", "advanced", "list", ..]) => {
            answer.stdout = format!("   Int Value: {}\n", state.setting).into_bytes();
        }
        ("esxcli", ["system", "settings", "advanced", "set", .., value]) => state.setting = value.parse().unwrap_or(0),
        ("esxcli", ["network", "ip", "interface", "ipv4", "set", _, _, _, _, _, address, ..]) => {
            state.addresses = vec![address.to_string()];
            answer.effects.push(Effect::AddressesChanged);
        }
        ("esxcli", ["system", "version", "get"]) => answer.stdout = b"   Version: 6.5.0\n".to_vec(),
        ("esxcli", ["system", "maintenanceMode", "get"]) => answer.stdout = b"Disabled\n".to_vec(),
        ("vim-cmd", _) if !call.hostd_up => {
            answer.stderr = b"Connect to hostd failed\n".to_vec();
            answer.code = 255;
        }
        ("vim-cmd", _) => {}
        ("SSH", ["stop"]) => {
            state.ssh_running = false;
            answer.effects.push(Effect::SshStopped);
        }
        ("reboot", rest) => answer.effects.push(Effect::Reboot { after_ms: 100, save: rest != ["-f"] }),
        ("auto-backup.sh", _) => {
            answer.stdout = b"Saving current state in /bootbank\n".to_vec();
            answer.effects.push(Effect::Save);
        }
        ("df", _) => answer.stdout = b"Filesystem Bytes\n".to_vec(),
        _ => {
            answer.stdout = b"Error: Unknown command or namespace\n".to_vec();
            answer.code = 1;
        }
    }
    answer
}
