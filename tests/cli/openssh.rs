//! The binary against OpenSSH's own server: the same host once behind it and once behind the simulator's, a machine
//! that is no ESXi host, and what the inventory says about logging in. Run as root in CI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::{Home, Ran, SimHosts, arg};
use super::transport_support::{Sshd, signal, user};

#[path = "../common/inside.rs"]
pub mod inside;
use inside::{RECORDED, enter};

const SETTING: &str = "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n";

/// The recorded directives that can be kept: `fipsmode` is VMware's own, the files and the login are the test's, and
/// there is no SFTP.
fn like_esxi() -> String {
    let left_out = ["fipsmode", "hostkey", "authorizedkeysfile", "usepam", "strictmodes", "subsystem", "banner"];
    let kept: Vec<&str> = RECORDED
        .lines()
        .filter(|l| !l.starts_with('#') && l.split(' ').next().is_some_and(|key| !left_out.contains(&key)))
        .collect();
    assert!(kept.iter().any(|l| l.starts_with("hostkeyalgorithms ecdsa")) && kept.len() > 20, "{kept:?}");
    kept.join("\n")
}

/// A simulated host with OpenSSH's server in front of it too.
pub(super) struct Front {
    pub(super) home: Home,
    sim: SimHosts,
    pub(super) sshd: Sshd,
    root: PathBuf,
}

impl Front {
    /// `extra` are lines of sshd_config.
    fn start(version: &str, extra: &str, host_keys: &[&str]) -> Self {
        let home = Home::new();
        let state = home.path("sim");
        let sim =
            SimHosts::start(&home, version, 1, &["--state", arg(&state), "--boot-ms", "300", "--hostd-ms", "200"]);
        let root = state.canonicalize().unwrap().join("host1/root");
        let enter = home.write("enter", &enter(&root));
        let sshd = Sshd::start_with(&format!("{extra}\nForceCommand /bin/sh {}", arg(&enter)), host_keys, "");
        Self { home, sim, sshd, root }
    }

    pub(super) fn plain() -> Self {
        Self::start("8.0", "", &["ed25519", "ecdsa"])
    }

    /// An inventory with the host behind OpenSSH's server, and `login` as its further keys.
    fn inventory(&self, login: &str) -> PathBuf {
        self.home.write("openssh.yml", &host("esx1", self.sshd.port, login))
    }

    /// The ECDSA key and the pinned host key.
    fn pinned(&self) -> PathBuf {
        let vib = self.root.parent().unwrap().parent().unwrap().join("esx-ui-stand-in.vib");
        self.inventory(&format!(
            "key: {}, host_key: \"{}\", vars: {{host_client_vib: {}}}",
            self.key("ecdsa"),
            self.sshd.public("host_ecdsa"),
            arg(&vib)
        ))
    }

    pub(super) fn key(&self, name: &str) -> String {
        arg(&self.sshd.path(name)).to_owned()
    }

    /// Whether the host lets us in with this inventory: a fresh one differs from the playbook, which only a host that
    /// was logged in to can say.
    #[track_caller]
    fn gets_in(&self, login: &str) {
        self.verify(self.home.command(&self.verify_args(&self.inventory(login), &[]))).exits(3);
    }

    fn verify_args<'a>(&self, inventory: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
        // Leaked for the length of a test: arguments are borrowed.
        let playbook = Box::leak(self.home.write("p.yml", SETTING).into_boxed_path());
        let mut args = vec!["verify", arg(playbook), "-i", arg(inventory)];
        args.extend(more);
        args
    }

    fn verify(&self, mut command: Command) -> Ran {
        ran(&mut command)
    }

    fn known_hosts(&self) -> String {
        fs::read_to_string(self.home.path(".ssh/known_hosts")).unwrap_or_default()
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.root.join(path)).ok()
    }

    /// Incomplete files below a folder of the host.
    fn parts(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(folder)).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|n| n.contains(".part") || n.contains("esxprep-")).collect()
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn host(name: &str, port: u16, login: &str) -> String {
    format!("hosts:\n  {name}: {{address: 127.0.0.1, port: {port}, user: {}, {login}}}\n", user())
}

/// Events without what two runs never share.
pub fn told(ran: &Ran) -> Vec<Value> {
    let kinds = ["run_started", "host_connected", "step", "note", "host_finished"];
    let mut events = ran.events();
    events.retain(|e| kinds.contains(&e["event"].as_str().unwrap()));
    for event in &mut events {
        for key in ["time", "run", "seconds"] {
            event.as_object_mut().unwrap().remove(key);
        }
    }
    events
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const MANY_KINDS: &str = r#"name: Many kinds
steps:
  - setting: {key: UserVars.SuppressShellWarning, value: 1}
  - vib: {name: esx-ui, from: "{{ host_client_vib }}"}
  - module: {name: iscsi_vmk, loaded: true}
  - vswitch: {name: vSwitch0, mtu: 1600}
  - portgroup: {name: "vMotion's own", vswitch: vSwitch0, vlan: 9}
  - vmknic: {name: vmk1, portgroup: "vMotion's own", ipv4: {address: 10.9.0.11/24}}
  - vmotion: {vmknic: vmk1}
  - service: {name: shell, running: true, at_boot: true}
  - firewall: {ruleset: syslog, enabled: true}
  - ntp: {servers: [192.0.2.1, 192.0.2.2], enabled: true}
  - dns: {servers: [192.0.2.53], search: [lab.example]}
  - hostname: {fqdn: lab1.lab.example}
  - file: {path: /etc/motd.lab, content: "it's $HOME, `here`\n", mode: "0640"}
  - file: {path: /vmfs/volumes/datastore1/big.bin, from: big.bin}
  - authorized_key: {key: "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBOHXtU2+xuHlJPlf8eIW9eqlVijADgx4vm4l2SQ6nVoXs5KKyCl/uDwtXxTQTOpu44j+//07UH8Crt+nAcV1qZQ= admin@lab"}
  - account: {name: backup, description: Backup user, role: ReadOnly, password_hash: "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"}
  - run: {command: "echo made > /etc/made && wc -c", creates: /etc/made, stdin: "12345"}
    register: made
  - assert: {command: "cat /etc/made", equals: made}
"#;

#[test]
fn opensshs_server_gives_the_same_result_as_the_simulators_own() {
    same_result(10);
}

#[test]
fn opensshs_server_gives_the_same_result_with_one_session_a_connection() {
    same_result(1);
}

fn same_result(sessions: u32) {
    let front = Front::start("8.0", &format!("{}\nMaxSessions {sessions}", like_esxi()), &["ecdsa", "rsa"]);
    let other = Home::new();
    let sim = SimHosts::start(&other, "8.0", 1, &["--max-sessions", &sessions.to_string()]);

    let playbook = front.home.write("many.yml", MANY_KINDS);
    let big: Vec<u8> = (0..400_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(front.home.path("big.bin"), &big).unwrap();
    let pinned = front.pinned();
    for (run, mode) in ["apply", "apply", "verify"].into_iter().enumerate() {
        let at = |inventory: &Path| {
            front.home.run(&[mode, arg(&playbook), "-i", arg(inventory), "--output", "json"]).exits(0)
        };
        let (through, own) = (at(&pinned), at(&sim.inventory));
        let (left, right) = (told(&through), told(&own));
        for (l, r) in left.iter().zip(&right) {
            assert_eq!(l, r, "{mode}\n{}\n{}", through.all(), own.all());
        }
        assert_eq!(left.len(), right.len(), "{mode}\n{}\n{}", through.all(), own.all());

        let finished = &through.of("host_finished")[0];
        assert_eq!(through.of("step").len(), 18, "{}", through.all());
        assert_eq!((&finished["failed"], &finished["reboots"]), (&0.into(), &0.into()), "{finished}");
        if run == 0 {
            // All but the one that only looks.
            assert_eq!(finished["changed"], 17, "{}", through.all());
        } else {
            assert_eq!(finished["changed"], 0, "{}", through.all());
            assert!(finished["round_trips"].as_u64().unwrap() <= 3, "{finished}");
        }
    }
    // The same host through its other way in.
    front.home.run(&["verify", arg(&playbook), "-i", front.sim.inventory()]).exits(0);

    // Looked at from outside.
    assert_eq!(front.read("etc/motd.lab").unwrap(), b"it's $HOME, `here`\n");
    let volumes = front.root.join("vmfs/volumes");
    let store = volumes.join(fs::read_link(volumes.join("datastore1")).unwrap());
    assert!(fs::read(store.join("big.bin")).unwrap() == big);
    for folder in ["etc", "tmp"] {
        assert_eq!(front.parts(folder), Vec::<String>::new());
    }
}

#[test]
fn a_machine_that_is_no_esxi_host_is_refused_and_hears_nothing_more() {
    let home = Home::new();
    let heard = home.path("heard");
    fs::create_dir(&heard).unwrap();
    // Everything that is sent is written down on its way to the shell.
    let script = format!("exec tee {}/$$ | /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n", arg(&heard));
    let tee = home.write("tee", &script);
    let sshd = Sshd::start_with(&format!("ForceCommand /bin/sh {}", arg(&tee)), &["ed25519"], "");
    let login = format!("key: {}, host_key: \"{}\"", arg(&sshd.path("ecdsa")), sshd.public("host_ed25519"));
    let inventory = home.write("i.yml", &host("box", sshd.port, &login));
    let playbook = home.write("p.yml", "steps:\n  - file: {path: /tmp/from-esxprep, content: x}\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n  - run: {command: 'touch /tmp/ran'}\n");
    let system = fs::read_to_string("/etc/os-release").unwrap();
    let pretty = system.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap().trim_matches('"').to_owned();
    for (mode, json) in [("apply", false), ("apply", true), ("verify", false)] {
        let mut args = vec![mode, arg(&playbook), "-i", arg(&inventory)];
        if json {
            args.extend(["--output", "json"]);
        }
        // Reached and logged in to: a failed host, not an unreachable one.
        let ran = home.run(&args).exits(1);
        assert!(ran.all().contains("not an ESXi host") && ran.all().contains(&pretty), "{}", ran.all());
        if json {
            let failed = &ran.of("host_failed")[0];
            assert_eq!((failed["host"].as_str(), failed["unreachable"].as_bool()), (Some("box"), Some(false)));
            assert!(ran.of("host_connected").is_empty() && ran.of("step").is_empty(), "{}", ran.all());
            let finished = &ran.of("host_finished")[0];
            assert_eq!((finished["ok"].as_u64(), finished["round_trips"].as_u64()), (Some(0), Some(1)), "{finished}");
        }
    }
    let said: String = fs::read_dir(&heard).unwrap().map(|e| fs::read_to_string(e.unwrap().path()).unwrap()).collect();
    assert_eq!(said.matches("vmware -vl").count(), 3, "{said}");
    for never in ["from-esxprep", "SuppressShellWarning", "/tmp/ran", "advanced", "auto-backup"] {
        assert!(!said.contains(never), "{never}: {said}");
    }
    // `facts` logs in as well, and says the same.
    let facts = home.run(&["facts", "-i", arg(&inventory)]);
    assert!(facts.code != 0 && facts.stderr.contains(&pretty), "{}", facts.all());
}

#[test]
fn every_kind_of_key_in_the_inventory_logs_in() {
    let front = Front::plain();
    let pin = format!("host_key: \"{}\"", front.sshd.public("host_ecdsa"));
    for kind in ["ed25519", "ecdsa", "rsa"] {
        front.gets_in(&format!("key: {}, {pin}", front.key(kind)));
    }
    // Several, the first of which the host does not know.
    front.gets_in(&format!("key: [{}, {}], {pin}", front.key("stranger"), front.key("ecdsa")));
    let stranger = front.inventory(&format!("key: {}, {pin}", front.key("stranger")));
    let refused = front.home.run(&front.verify_args(&stranger, &[])).exits(4);
    assert!(refused.all().contains("refused the login"), "{}", refused.all());
    assert!(refused.all().contains(&front.sshd.fingerprint("stranger")), "{}", refused.all());

    // An encrypted key: its passphrase from the environment; without it, or with another, no host is touched or locked.
    let inventory =
        front.inventory(&format!("key: {}, passphrase: {{env: LAB_PASSPHRASE}}, {pin}", front.key("encrypted")));
    let args = front.verify_args(&inventory, &[]);
    let run = |passphrase: Option<&str>| {
        let mut command = front.home.command(&args);
        command.env_remove("LAB_PASSPHRASE");
        passphrase.map(|p| command.env("LAB_PASSPHRASE", p));
        ran(&mut command)
    };
    let good = run(Some("open sesame")).exits(3);
    assert!(!good.all().contains("open sesame"), "{}", good.all());
    let unset = run(None).exits(2);
    assert!(
        unset.all().contains("LAB_PASSPHRASE is not set") && unset.all().contains("openssh.yml"),
        "{}",
        unset.all()
    );
    let wrong = run(Some("open barley")).exits(4);
    assert!(wrong.all().contains("passphrase") && wrong.all().contains("encrypted"), "{}", wrong.all());
    assert!(!wrong.all().contains("open barley"), "{}", wrong.all());
}

/// An agent of our own; it ends with the test.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(home: &Home, keys: &[&Path]) -> Self {
        let socket = home.path("agent");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a", arg(&socket)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = Self { child, socket };
        wait_until("ssh-agent", || agent.socket.exists());
        for key in keys {
            let add = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &agent.socket).output().unwrap();
            assert!(add.status.success(), "{}", String::from_utf8_lossy(&add.stderr));
        }
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_agent_logs_in_when_asked_for_or_when_nothing_else_is_said() {
    let front = Front::plain();
    let agent = Agent::start(&front.home, &[&front.sshd.path("stranger"), &front.sshd.path("rsa")]);
    let pin = format!("host_key: \"{}\"", front.sshd.public("host_ed25519"));
    for login in [format!("agent: true, {pin}"), pin.clone()] {
        let inventory = front.inventory(&login);
        let args = front.verify_args(&inventory, &[]);
        ran(front.home.command(&args).env("SSH_AUTH_SOCK", &agent.socket)).exits(3);
    }
    // Forbidden, or not there.
    let inventory = front.inventory(&format!("agent: false, {pin}"));
    let args = front.verify_args(&inventory, &[]);
    ran(front.home.command(&args).env("SSH_AUTH_SOCK", &agent.socket)).exits(4);
    let inventory = front.inventory(&format!("agent: true, {pin}"));
    let gone = front.home.run(&front.verify_args(&inventory, &[])).exits(4);
    assert!(gone.all().contains("SSH_AUTH_SOCK"), "{}", gone.all());
}

#[test]
fn a_jump_host_of_the_inventory_carries_the_connection() {
    let front = Front::plain();
    let near = Sshd::start_with("", &["ed25519"], "");
    let near_key = front.home.path("near-key");
    fs::copy(near.path("ed25519"), &near_key).unwrap();
    let text = format!(
        "hosts:\n  esx1:\n    address: 127.0.0.1\n    port: {}\n    user: {user}\n    key: {}\n    host_key: \"{}\"\n    \
         proxy_jump: gate\n  gate: {{address: 127.0.0.1, port: {}, user: {user}, key: {}, host_key: \"{}\"}}\n",
        front.sshd.port,
        front.key("ecdsa"),
        front.sshd.public("host_ecdsa"),
        near.port,
        arg(&near_key),
        near.public("host_ed25519"),
        user = user(),
    );
    let inventory = front.home.write("jump.yml", &text);
    front.home.run(&front.verify_args(&inventory, &["--limit", "esx1"])).exits(3);
    // The way leads through it: without it there is none.
    let port = near.port;
    drop(near);
    let ran = front.home.run(&front.verify_args(&inventory, &["--limit", "esx1"])).exits(4);
    assert!(ran.all().contains("gate") && ran.all().contains(&port.to_string()), "{}", ran.all());
}

#[test]
fn an_alias_of_ssh_config_says_where_and_with_what() {
    let front = Front::plain();
    let near = Sshd::start_with("", &["ed25519"], "");
    fs::create_dir(front.home.path(".ssh")).unwrap();
    let known = front.home.path("known");
    fs::write(&known, format!("[127.0.0.1]:{} {}\n", front.sshd.port, front.sshd.public("host_ed25519"))).unwrap();
    let near_known = front.home.path("near-known");
    fs::write(&near_known, format!("[127.0.0.1]:{} {}\n", near.port, near.public("host_ed25519"))).unwrap();
    let config = format!(
        "Host lab-esx\n  HostName 127.0.0.1\n  Port {}\n  User {user}\n  IdentityFile {}\n  UserKnownHostsFile {}\n  \
         ProxyJump gate\nHost gate\n  HostName 127.0.0.1\n  Port {}\n  User {user}\n  IdentityFile {}\n  \
         UserKnownHostsFile {}\n",
        front.sshd.port,
        front.key("rsa"),
        arg(&known),
        near.port,
        arg(&near.path("ecdsa")),
        arg(&near_known),
        user = user(),
    );
    front.home.write(".ssh/config", &config);
    // As a list on the command line, and as a bare name in a file.
    let file = front.home.write("alias.yml", "hosts:\n  lab-esx:\n");
    for inventory in [Path::new("lab-esx"), &file] {
        front.home.run(&front.verify_args(inventory, &[])).exits(3);
    }
    // What the inventory says goes before the alias.
    let other = front.home.write("other.yml", &format!("hosts:\n  lab-esx: {{key: {}}}\n", front.key("stranger")));
    let ran = front.home.run(&front.verify_args(&other, &[])).exits(4);
    assert!(ran.all().contains(&front.sshd.fingerprint("stranger")), "{}", ran.all());
}

#[test]
fn host_keys_are_known_plain_and_hashed_accepted_once_and_never_changed() {
    let front = Front::plain();
    let inventory = front.inventory(&format!("key: {}", front.key("ecdsa")));
    let verify = |more: &[&str]| front.home.run(&front.verify_args(&inventory, more));
    // Nothing on record: refused, and shown.
    let unknown = verify(&[]).exits(4);
    assert!(unknown.all().contains("SHA256:") && unknown.all().contains("--accept-new"), "{}", unknown.all());
    assert_eq!(front.known_hosts(), "");
    // A login that fails stores nothing, even if new keys are accepted.
    let stranger =
        front.home.write("stranger.yml", &host("esx1", front.sshd.port, &format!("key: {}", front.key("stranger"))));
    front.home.run(&front.verify_args(&stranger, &["--accept-new"])).exits(4);
    assert_eq!(front.known_hosts(), "");

    verify(&["--accept-new"]).exits(3);
    let stored = front.known_hosts();
    let place = format!("[127.0.0.1]:{} ", front.sshd.port);
    assert_eq!(stored.matches(&place).count(), 1, "{stored}");
    let key = stored.trim_end().strip_prefix(&place).unwrap();
    assert!([front.sshd.public("host_ed25519"), front.sshd.public("host_ecdsa")].contains(&key.to_owned()), "{key}");
    verify(&[]).exits(3);
    verify(&["--accept-new"]).exits(3);
    assert_eq!(front.known_hosts(), stored);

    // Hashed by OpenSSH itself.
    let hosts = front.home.path(".ssh/known_hosts");
    let hashed = Command::new("ssh-keygen").args(["-q", "-H", "-f", arg(&hosts)]).output().unwrap();
    assert!(hashed.status.success(), "{}", String::from_utf8_lossy(&hashed.stderr));
    assert!(front.known_hosts().starts_with("|1|") && !front.known_hosts().contains("127.0.0.1"));
    verify(&[]).exits(3);

    // Another key under that name is refused, accepted new ones or not; both fingerprints are shown.
    let other = Sshd::start_with("", &["ed25519"], "");
    fs::write(&hosts, format!("{place}{}\n", other.public("host_ed25519"))).unwrap();
    let before = front.known_hosts();
    for more in [&[][..], &["--accept-new"]] {
        let changed = verify(more).exits(4);
        let all = changed.all();
        assert!(all.contains("changed") && all.contains(&other.fingerprint("host_ed25519")), "{all}");
        assert!(all.contains(&front.sshd.fingerprint("host_ed25519")), "{all}");
    }
    assert_eq!(front.known_hosts(), before);
    // `accept_new` may stand in the inventory too, and its own known_hosts file.
    let own = front.home.path("own-hosts");
    let login = format!("key: {}, accept_new: true, known_hosts: {}", front.key("ecdsa"), arg(&own));
    front.gets_in(&login);
    assert!(fs::read_to_string(&own).unwrap().starts_with(&place));
    assert_eq!(front.known_hosts(), before);
}

/// Ends the connections to this sshd as a crash of its process would.
fn cut(sshd: &Sshd) {
    let sessions = sshd.sessions();
    assert!(!sessions.is_empty(), "nobody is logged in");
    for session in sessions {
        signal("KILL", session);
    }
}

/// Starts `apply` and ends its connection once `reached` says so.
fn apply_and_cut(front: &Front, playbook: &Path, reached: impl FnMut() -> bool) -> Ran {
    let pinned = front.pinned();
    let child = front
        .home
        .command(&["apply", arg(playbook), "-i", arg(&pinned), "--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the middle of the change", reached);
    cut(&front.sshd);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[track_caller]
fn converges(front: &Front, playbook: &Path) {
    let pinned = front.pinned();
    front.home.run(&["apply", arg(playbook), "-i", arg(&pinned)]).exits(0);
    front.home.run(&["verify", arg(playbook), "-i", arg(&pinned)]).exits(0);
    // Through the other way in, it is the same host.
    front.home.run(&["verify", arg(playbook), "-i", front.sim.inventory()]).exits(0);
}

#[test]
fn a_server_process_killed_in_the_middle_of_a_change_is_a_failure_and_the_next_run_converges() {
    let front = Front::plain();
    // The host does what it is told, and the answer comes too late.
    let real = front.root.join("bin/esxcli");
    fs::rename(&real, front.root.join("bin/esxcli.real")).unwrap();
    let wrapper = "#!/bin/sh\ncase \"$*\" in\n*'advanced set'*) if mkdir /etc/in-the-middle 2>/dev/null; then\n  \
                   /bin/esxcli.real \"$@\"; : > /etc/in-the-middle/done; sleep 60; fi ;;\nesac\nexec /bin/esxcli.real \"$@\"\n";
    fs::write(&real, wrapper).unwrap();
    fs::set_permissions(&real, fs::metadata(front.root.join("bin/esxcli.real")).unwrap().permissions()).unwrap();
    let playbook = front.home.write("cut.yml", &format!("{SETTING}  - file: {{path: /etc/after, content: x}}\n"));
    let done = front.root.join("etc/in-the-middle/done");
    let ran = apply_and_cut(&front, &playbook, || done.exists()).exits(1);
    let steps = ran.of("step");
    let failed = steps.iter().find(|s| s["status"] == "failed").unwrap_or_else(|| panic!("{}", ran.all()));
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("lost") && error.contains("Looked again"), "{error}");
    assert_eq!(ran.of("run_finished")[0]["failed"], 1, "{}", ran.all());
    assert!(front.read("etc/after").is_none(), "steps after the lost one ran: {}", ran.all());
    converges(&front, &playbook);
    assert_eq!(front.read("etc/after").unwrap(), b"x");
}

#[test]
fn a_server_process_killed_in_the_middle_of_an_upload_leaves_the_old_file_and_no_part() {
    let front = Front::plain();
    let big = vec![b'x'; 64 << 20];
    fs::write(front.home.path("big.bin"), &big).unwrap();
    let playbook = front.home.write("cut.yml", "steps:\n  - file: {path: /etc/big.bin, from: big.bin}\n");
    fs::write(front.root.join("etc/big.bin"), "old").unwrap();
    let folder = front.root.join("etc");
    let halfway = || {
        let entries = fs::read_dir(&folder).unwrap().flatten();
        entries
            .filter(|e| e.file_name().to_string_lossy().ends_with(".part"))
            .any(|e| e.metadata().is_ok_and(|m| m.len() > 1 << 20))
    };
    let ran = apply_and_cut(&front, &playbook, halfway).exits(1);
    let error = ran.of("step")[0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("lost"), "{error}");
    wait_until("the host clears up", || front.parts("etc").is_empty());
    assert_eq!(front.read("etc/big.bin").unwrap(), b"old");
    converges(&front, &playbook);
    assert!(front.read("etc/big.bin").unwrap() == big);
    assert_eq!(front.parts("etc"), Vec::<String>::new());
}
