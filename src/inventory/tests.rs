//! Inventories: files, lists, patterns, secrets.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;

use super::*;
use crate::transport::target::{Algorithms, Credential, Library};

/// A home, an environment and a terminal of the test's own.
struct World {
    dir: tempfile::TempDir,
    env: Vec<(&'static str, &'static str)>,
    answer: Option<&'static str>,
    asked: RefCell<Vec<String>>,
    wanted: Vec<Vec<String>>,
}

impl World {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self { dir, env: Vec::new(), answer: None, asked: RefCell::default(), wanted: Vec::new() }
    }

    fn load_spec(&self, spec: &str) -> Result<Inventory, Problems> {
        let env = |name: &str| self.env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let ask = |prompt: &str| {
            self.asked.borrow_mut().push(prompt.to_owned());
            self.answer.map(str::to_owned).ok_or_else(|| std::io::Error::other("there is no terminal"))
        };
        let home = Some(self.dir.path().join("home"));
        Inventory::load_in(
            spec,
            &Surroundings { home, user: Some("me".into()), env: &env, ask: &ask, wanted: self.wanted.clone() },
        )
    }

    fn load(&self) -> Result<Inventory, Problems> {
        self.load_spec(&self.dir.path().join("hosts.yml").display().to_string())
    }

    fn good(&self) -> Inventory {
        self.load().unwrap_or_else(|p| panic!("{}", p.plain()))
    }

    fn plain(&self) -> String {
        self.load().unwrap_err().plain().replace(&format!("{}/", self.dir.path().display()), "")
    }
}

fn inventory(text: &str) -> World {
    World::new(&[("hosts.yml", text)])
}

fn password(host: &Host) -> &str {
    host.target
        .credentials
        .iter()
        .find_map(|c| if let Credential::Password(p) = c { Some(p.expose_secret()) } else { None })
        .unwrap_or_default()
}

fn shape(target: &Target) -> Vec<String> {
    let kind = |c: &Credential| match c {
        Credential::Password(_) => "password".to_owned(),
        Credential::Agent => "agent".to_owned(),
        Credential::Key { path, passphrase } => {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if passphrase.is_some() { format!("{name} with passphrase") } else { name }
        }
    };
    target.credentials.iter().map(kind).collect()
}

const LAB: &str = "defaults:
  user: root
  port: 2222
  password: {env: LAB_PASSWORD}
  vars: {site: lab, level: 0}
groups:
  lab:
    children: [old]
    vars: {level: 1}
    algorithms: modern
  old:
    hosts: [esx2]
    algorithms: legacy
    transport: libssh2
    vars: {level: 2}
hosts:
  esx1:
    address: 192.0.2.11
    groups: [lab]
    host_key: SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU
    vars: {level: 3, vlan: 0755}
  esx2: {address: 192.0.2.12, port: 22, channels: 1, connect_timeout: 1m, silence_timeout: 20}
  esx3:
";

fn lab() -> World {
    let mut world = inventory(LAB);
    world.env.push(("LAB_PASSWORD", "s3cret-env"));
    world
}

#[test]
fn defaults_groups_and_hosts_later_ones_win() {
    let lab = lab().good();
    let [one, two, three] = lab.hosts.as_slice() else { panic!("{:?}", lab.hosts) };
    assert_eq!((one.target.address.as_str(), one.target.port, one.target.user.as_str()), ("192.0.2.11", 2222, "root"));
    assert_eq!(one.groups, ["lab"]);
    assert_eq!(two.groups, ["lab", "old"]);
    assert_eq!(json!(one.vars), json!({"site": "lab", "level": 3, "vlan": "0755"}));
    assert_eq!(json!(two.vars), json!({"site": "lab", "level": 2}));
    assert_eq!(json!(three.vars), json!({"site": "lab", "level": 0}));
    assert_eq!((one.target.algorithms, two.target.algorithms), (Algorithms::Modern, Algorithms::Legacy));
    assert_eq!(three.target.algorithms, Algorithms::Esxi);
    assert_eq!((one.target.library, two.target.library), (Library::Russh, Library::Libssh2));
    assert_eq!((two.target.port, two.target.channels, two.target.connect_timeout.as_secs()), (22, 1, 60));
    assert_eq!((one.target.silence_timeout, two.target.silence_timeout), (None, Some(Duration::from_secs(20))));
    assert_eq!(one.target.host_key.pin.as_deref(), Some("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"));
    assert_eq!(three.target.address, "esx3");
    assert!(lab.hosts.iter().all(|h| password(h) == "s3cret-env"));
    assert!(!format!("{lab:?} {lab:#?}").contains("s3cret"), "{lab:?}");
    assert_eq!(lab.warnings, [""; 0]);
    assert_eq!(lab.var_names().into_iter().collect::<Vec<_>>(), ["level", "site", "vlan"]);
}

#[test]
fn mistakes_are_found_together() {
    let world = inventory(
        "defaults: {usr: root, address: a}
groups:
  lab: {hosts: [esx9], children: [labb]}
hosts:
  esx1: {adress: 192.0.2.1, port: 70000, accept_new: \"yes\"}
  esx2: {algorithms: legasy, vars: {on: off}, transport: libssh}
  esx3: {password: {evn: X}, ansible_host: x}
extra: 1
",
    );
    let text = world.plain();
    let lines: Vec<&str> = text.lines().collect();
    for wanted in [
        "hosts.yml:1:12: `defaults` has no key `usr`",
        "  did you mean `user`?",
        "hosts.yml:1:23: `defaults` has no key `address`",
        "hosts.yml:3:16: the group `lab` names the host `esx9`, which is not under `hosts`",
        "hosts.yml:3:34: the group `lab` names the group `labb`, which is not there",
        "hosts.yml:5:10: the host `esx1` has no key `adress`",
        "hosts.yml:5:35: `port` wants a whole number from 0 to 65535",
        "hosts.yml:5:54: `accept_new` wants true or false",
        "hosts.yml:6:22: `algorithms` cannot be `legasy`",
        "  did you mean `legacy`?",
        "hosts.yml:6:58: `transport` cannot be `libssh`",
        "  did you mean `libssh2`?",
        "hosts.yml:6:41: `on`: is `off` the word or false?",
        "hosts.yml:7:21: `password` has no key `evn`",
        "  did you mean `env`?",
        "  here it is called `address`",
        "hosts.yml:8:1: an inventory has no key `extra`",
    ] {
        assert!(lines.contains(&wanted), "{wanted}\n---\n{text}");
    }
    assert!(inventory("all:\n  hosts:\n").plain().contains("Ansible inventory"));
    assert!(inventory("hosts:\n").plain().contains("the inventory has no hosts"));
    assert!(
        inventory("groups:\n  a: {children: b, hosts: x}\n  b: {children: a}\n").plain().contains("is its own child")
    );
}

#[test]
fn secrets_from_everywhere() {
    let mut world = World::new(&[
        (
            "hosts.yml",
            "hosts:
  a: {password: {file: secret.txt}}
  b: {password: {command: \"printf 's3cret-command\\\\nmore\\\\n'\"}}
  c: {password: {prompt: true}}
  d: {password: s3cret-plain}
  e: {address: 127.0.0.1, password: 0123}
  f: {key: ~/.ssh/lab, passphrase: {env: LAB_PASSPHRASE}}
  g: {password: {env: LAB_PW_G}, key: home/.ssh/lab, agent: true}
",
        ),
        ("secret.txt", "s3cret-file\n"),
        ("home/.ssh/lab", "key"),
    ]);
    world.env = vec![("LAB_PASSPHRASE", "s3cret-phrase"), ("LAB_PW_G", "s3cret-g")];
    world.answer = Some("s3cret-prompt");
    std::fs::set_permissions(world.dir.path().join("secret.txt"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let all = world.good();
    let passwords: Vec<&str> = all.hosts.iter().map(password).collect();
    assert_eq!(passwords, ["s3cret-file", "s3cret-command", "s3cret-prompt", "s3cret-plain", "0123", "", "s3cret-g"]);
    assert_eq!(shape(&all.hosts[5].target), ["lab with passphrase"]);
    assert_eq!(shape(&all.hosts[6].target), ["lab", "agent", "password"]);
    assert_eq!(*world.asked.borrow(), ["password of root@c: "]);
    let warnings = all.warnings.join("\n");
    assert!(warnings.contains("hosts.yml:5:17: a password in plain text"), "{warnings}");
    assert!(warnings.contains("secret.txt holds a secret and others can read it"), "{warnings}");
    assert_eq!(all.warnings.len(), 2, "loopback needs no warning: {warnings}");
    assert!(!format!("{all:?}{warnings}").contains("s3cret"));
}

#[test]
fn one_prompt_in_the_defaults_is_asked_once() {
    let mut world = inventory("defaults: {password: {prompt: true}}\nhosts: [a, b, c]\n");
    world.answer = Some("s3cret");
    assert_eq!(world.good().hosts.len(), 3);
    assert_eq!(*world.asked.borrow(), ["password of `defaults`: "]);
    let failing = inventory("defaults: {password: {prompt: true}}\nhosts: [a, b, c]\n");
    let text = failing.plain();
    assert_eq!(text.matches("cannot get").count(), 1, "{text}");
    assert_eq!(failing.asked.borrow().len(), 1);
}

#[test]
fn secrets_of_hosts_that_are_left_out_are_not_read() {
    let mark = tempfile::tempdir().unwrap();
    let ran = mark.path().join("ran");
    let text = "defaults: {user: root}
groups:
  lab: {hosts: [a, b], password: {prompt: true}}
hosts:
  a: {proxy_jump: jump}
  b: {}
  c: {password: {env: LAB_NOT_SET}}
  d: {password: {command: \"touch RAN; exit 3\"}}
  e: {password: s3cret-plain}
  jump: {password: {env: LAB_JUMP}}
";
    let mut world = inventory(&text.replace("RAN", ran.to_str().unwrap()));
    world.env = vec![("LAB_JUMP", "s3cret-jump")];
    world.answer = Some("s3cret-prompt");
    world.wanted = vec![vec!["lab".into(), "c".into()], vec!["a".into()]];
    let all = world.good();
    assert_eq!(all.hosts.len(), 6, "the others stay, for patterns and jumps");
    assert_eq!(password(&all.hosts[0]), "s3cret-prompt");
    assert_eq!(password(&Host { target: all.hosts[0].target.jumps[0].clone(), ..all.hosts[0].clone() }), "s3cret-jump");
    assert!(all.hosts[1..].iter().all(|h| password(h).is_empty()));
    assert_eq!(world.asked.borrow().len(), 1);
    assert!(all.warnings.is_empty(), "{:?}", all.warnings);
    assert!(!ran.exists());
    // What matches nothing opens nothing; `select` says so.
    world.wanted = vec![vec!["nobody".into()]];
    assert!(world.good().hosts.iter().all(|h| password(h).is_empty()));
    world.wanted = vec![vec!["!a".into()]];
    assert!(world.plain().contains("LAB_NOT_SET"));
    assert!(ran.exists(), "the command of a wanted host does run");
}

#[test]
fn a_missing_secret_is_an_error_with_its_place() {
    let world = inventory(
        "hosts:
  a: {password: {env: LAB_NOT_SET}}
  b: {password: {file: gone.txt}}
  c: {password: {command: \"exit 3\"}}
  d: {password: {prompt: yes}}
  e: {password: {prompt: no}}
  f: {key: gone.pem}
  g: {password: }
",
    );
    let text = world.plain();
    assert!(text.starts_with("hosts.yml:6:"), "{text}");
    let world = inventory(&world_text_without(
        &["  e:", "  g:"],
        &std::fs::read_to_string(world.dir.path().join("hosts.yml")).unwrap(),
    ));
    let text = world.plain();
    for wanted in [
        "hosts.yml:2:17: cannot get the password of root@a: the environment variable LAB_NOT_SET is not set",
        "hosts.yml:3:17: cannot get the password of root@b: ",
        "hosts.yml:4:17: cannot get the password of root@c: `exit 3` ended with exit status: 3",
        "hosts.yml:5:17: cannot get the password of root@d: nobody can be asked: there is no terminal",
        "hosts.yml:6:12: there is no key file ",
    ] {
        assert!(text.contains(wanted), "{wanted}\n---\n{text}");
    }
}

fn world_text_without(starts: &[&str], text: &str) -> String {
    text.lines().filter(|l| !starts.iter().any(|s| l.starts_with(s))).map(|l| format!("{l}\n")).collect()
}

#[test]
fn no_secret_is_shown_whatever_is_wrong() {
    for text in [
        "hosts:\n  a: {password: s3cret, prot: 22}\n",
        "hosts:\n  a:\n    password: s3cret\n    prot: 22\n",
        "hosts:\n  a:\n    password: |\n      s3cret\n    prot: 22\n",
        "hosts:\n  a: {password: [s3cret]}\n",
        "hosts:\n  a:\n    passphrase: s3cret\n   broken: [\n",
        "hosts:\n  a:\n    password: \"s3cret\n",
    ] {
        let problems = inventory(text).load().unwrap_err();
        let all = format!("{} {} {problems} {problems:?}", problems.plain(), problems.drawn(false, 100));
        assert!(!all.contains("s3cret"), "{text}\n{all}");
    }
}

#[test]
fn without_credentials_what_ssh_would_try() {
    let mut world = World::new(&[
        ("hosts.yml", "hosts:\n  a:\n  b: {agent: no}\n"),
        ("home/.ssh/id_rsa", ""),
        ("home/.ssh/id_ed25519", ""),
    ]);
    assert_eq!(shape(&world.good().hosts[0].target), ["id_ed25519", "id_rsa"]);
    world.env.push(("SSH_AUTH_SOCK", "/run/agent"));
    assert_eq!(shape(&world.good().hosts[0].target), ["agent", "id_ed25519", "id_rsa"]);
    assert_eq!(shape(&world.good().hosts[1].target), ["id_ed25519", "id_rsa"]);
}

#[test]
fn ssh_config_fills_what_the_inventory_leaves_open() {
    let world = World::new(&[
        ("hosts.yml", "hosts:\n  esx1:\n  esx2: {address: 192.0.2.99, port: 24, user: admin}\n  other:\n"),
        (
            "home/.ssh/config",
            "Host esx*\n  HostName %h.lab.example\n  Port 2200\n  User root2\n  IdentityFile ~/.ssh/lab\n  ProxyJump jim@gate:2022\n  UserKnownHostsFile ~/.ssh/lab_hosts\n",
        ),
        ("home/.ssh/lab", ""),
    ]);
    let all = world.good();
    let one = &all.hosts[0].target;
    assert_eq!((one.address.as_str(), one.port, one.user.as_str()), ("esx1.lab.example", 2200, "root2"));
    assert_eq!(shape(one), ["lab"]);
    assert_eq!(one.host_key.known_hosts, [world.dir.path().join("home/.ssh/lab_hosts")]);
    assert_eq!(one.jumps.len(), 1);
    assert_eq!((one.jumps[0].address.as_str(), one.jumps[0].port, one.jumps[0].user.as_str()), ("gate", 2022, "jim"));
    let two = &all.hosts[1].target;
    assert_eq!((two.address.as_str(), two.port, two.user.as_str()), ("192.0.2.99", 24, "admin"));
    let other = &all.hosts[2].target;
    assert_eq!((other.address.as_str(), other.port, other.user.as_str(), other.jumps.len()), ("other", 22, "root", 0));
    let given = World::new(&[
        ("hosts.yml", "defaults: {ssh_config: my.conf}\nhosts: [a]\n"),
        ("my.conf", "Host a\n  Port 77\n"),
    ]);
    assert_eq!(given.good().hosts[0].target.port, 77);
    let gone = inventory("defaults: {ssh_config: gone.conf}\nhosts: [a]\n").plain();
    assert!(gone.starts_with("hosts.yml:1:24: cannot read gone.conf: "), "{gone}");
}

#[test]
fn jump_hosts_nearest_first_with_their_own_credentials() {
    let world = inventory(
        "hosts:
  outer: {address: 192.0.2.1, user: jim, password: s3cret-outer}
  gate: {address: 192.0.2.2, proxy_jump: outer, password: s3cret-gate}
  esx: {address: 192.0.2.3, proxy_jump: [gate, \"bob@[2001:db8::1]:2022\"], password: s3cret-esx}
  plain: {proxy_jump: hop}
  direct: {proxy_jump: none}
",
    );
    let all = world.good();
    let jumps: Vec<String> =
        all.hosts[2].target.jumps.iter().map(|t| format!("{}@{}:{}", t.user, t.address, t.port)).collect();
    assert_eq!(jumps, ["jim@192.0.2.1:22", "root@192.0.2.2:22", "bob@2001:db8::1:2022"]);
    assert_eq!(shape(&all.hosts[2].target.jumps[1]), ["password"]);
    assert!(all.hosts[2].target.jumps.iter().all(|t| t.jumps.is_empty()));
    assert_eq!(all.hosts[3].target.jumps[0].user, "me");
    assert!(all.hosts[4].target.jumps.is_empty());
    let circle = inventory("hosts:\n  a: {proxy_jump: b}\n  b: {proxy_jump: a}\n").plain();
    assert!(circle.contains("jump hosts lead back") && circle.contains("a -> b -> a"), "{circle}");
}

#[test]
fn lists_on_the_command_line() {
    let world = inventory("");
    let list = world.load_spec("esx1,jim@192.0.2.5:2201, [2001:db8::7]:22 ,2001:db8::8,127.0.0.1:2202").unwrap();
    let shown: Vec<String> = list
        .hosts
        .iter()
        .map(|h| format!("{} = {}@{} {}", h.name, h.target.user, h.target.address, h.target.port))
        .collect();
    assert_eq!(
        shown,
        [
            "esx1 = root@esx1 22",
            "192.0.2.5:2201 = jim@192.0.2.5 2201",
            "[2001:db8::7]:22 = root@2001:db8::7 22",
            "2001:db8::8 = root@2001:db8::8 22",
            "127.0.0.1:2202 = root@127.0.0.1 2202"
        ]
    );
    let wrong = |spec: &str| world.load_spec(spec).unwrap_err().plain();
    assert!(wrong("root:hunter2@esx1").contains("does not belong on the command line"));
    assert!(!wrong("root:hunter2@esx1").contains("hunter2"));
    assert!(wrong("esx1:ssh").contains("`ssh` is not a port"));
    assert!(wrong("a,a").contains("twice"));
    assert!(wrong("gone.yml").contains("there is no inventory file gone.yml"));
    assert!(wrong("a b").contains("is not [user@]host[:port]"));
    assert!(wrong(",").contains("names no host"));
}

#[test]
fn patterns() {
    let lab = lab().good();
    let names = |patterns: &[&str], limit: Option<&str>| -> Vec<String> {
        let patterns: Vec<String> = patterns.iter().map(|s| (*s).to_owned()).collect();
        match lab.select(&patterns, limit) {
            Ok(hosts) => hosts.into_iter().map(|h| h.name.clone()).collect(),
            Err(p) => vec![p.plain()],
        }
    };
    assert_eq!(names(&[], None), ["esx1", "esx2", "esx3"]);
    assert_eq!(names(&["all"], Some("esx2")), ["esx2"]);
    assert_eq!(names(&["lab"], None), ["esx1", "esx2"]);
    assert_eq!(names(&["esx3,esx1"], None), ["esx1", "esx3"]);
    assert_eq!(names(&["lab:esx3", "!old"], None), ["esx1", "esx3"]);
    assert_eq!(names(&["esx?"], Some("!esx1")), ["esx2", "esx3"]);
    assert_eq!(names(&["*"], Some("lab:!esx1")), ["esx2"]);
    assert_eq!(
        names(&["esx4"], None),
        [
            "hosts: `esx4` matches no host and no group\n  did you mean `esx1`?\n  hosts: esx1, esx2, esx3; groups: lab, old"
        ]
    );
    assert!(names(&["old"], Some("esx1"))[0].contains("no host is left"));
    let list = inventory("").load_spec("127.0.0.1:2201,127.0.0.1:2202,[::1]:2203").unwrap();
    let one = list.select(&["127.0.0.1:2201".into(), "[::1]:2203".into()], None).unwrap();
    assert_eq!(one.len(), 2);
    assert_eq!(list.select(&[], Some("!127.0.0.1:2201")).unwrap().len(), 2);
}

#[test]
fn from_text_alone() {
    let text = "hosts:\n  esx1: {address: 127.0.0.1, port: 2201, password: s3cret}\n";
    let made = Inventory::parse(text, "simulated hosts").unwrap();
    assert_eq!((made.hosts[0].target.port, password(&made.hosts[0])), (2201, "s3cret"));
    assert!(
        Inventory::parse("hosts: 3\n", "simulated hosts").unwrap_err().plain().starts_with("simulated hosts:1:8: ")
    );
}

#[test]
fn the_schema_has_every_key() {
    let schema = schema();
    let host = &schema["properties"]["hosts"]["oneOf"][0]["additionalProperties"]["properties"];
    for key in file::CONNECTION.iter().chain(file::OF_HOST) {
        assert!(host.get(key).is_some(), "{key}");
    }
}
