//! Everything that a run leaves on this machine is searched for the secrets that it used; and who may read what is
//! left.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::child::{Home, watched};

const PASSWORD: &str = "Corr3ct-H0rse!Battery";
const PASSPHRASE: &str = "staple under the Oak 99";
const PIN: &str = "Zx81-4711-q";
const CHAP: &str = "chApSecret-0815-xyz";
const HASH: &str =
    "$6$pepperpot$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";
const SECRETS: [&str; 6] = [PASSWORD, PASSPHRASE, PIN, CHAP, HASH, "qFmFH.bQmm"];

const PLAYBOOK: &str = "\
name: secrets
steps:
  - name: A hash from a variable
    account: {name: backup, password_hash: \"{{ backup_hash }}\"}
  - name: A command with a secret
    run: {command: \"cat >/tmp/pin\", stdin: \"{{ pin }}\", secret: true}
  - name: Both ways of CHAP
    chap: {level: required, name: host, secret: \"{{ chap_secret }}\"}
  - name: A command with a secret that fails
    run: {command: \"grep -c {{ pin }} /nowhere\", secret: true}
";

/// `esxprep sim` with one host.
struct SimHost {
    child: Child,
    host: serde_json::Value,
}

impl Drop for SimHost {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn sim(home: &Home) -> SimHost {
    let mut command = home.command(&["sim", "--hosts", "1", "--version", "8.0", "--password", PASSWORD]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    SimHost { child, host: serde_json::from_str(&line).unwrap() }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// Nothing of the children of a process shows a secret to whoever may look.
fn look_at_children(pid: u32, seen: &mut usize) {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let own = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut shown = vec![(pid, own)];
    for child in list.split_whitespace().filter_map(|child| child.parse().ok()) {
        *seen += 1;
        for name in ["cmdline", "environ"] {
            shown.push((child, std::fs::read(format!("/proc/{child}/{name}")).unwrap_or_default()));
        }
    }
    for (pid, bytes) in shown {
        for secret in SECRETS {
            assert!(!holds(&bytes, secret), "{secret} of process {pid}: {:?}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn no_secret_is_left_behind() {
    // The simulated host and what it is told stay out of the home that is searched.
    let (away, home) = (Home::new(), Home::new());
    let sim = sim(&away);
    let key = away.path("key");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ecdsa", "-N", PASSPHRASE, "-f", key.to_str().unwrap()])
        .status()
        .unwrap();
    assert!(made.success());
    let vars = away.write("vars.yml", &format!("backup_hash: '{HASH}'\npin: {PIN}\nchap_secret: {CHAP}\n"));
    let password = away.write("password", &format!("{PASSWORD}\n"));
    let passphrase = away.write("passphrase", &format!("{PASSPHRASE}\n"));
    for file in [&vars, &password, &passphrase] {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let inventory = home.write(
        "hosts.yml",
        &format!(
            "hosts:\n  esx1: {{address: {}, port: {}, password: {{command: \"sleep 0.3; cat {}\"}}, key: {}, passphrase: \
             {{file: {}}}, accept_new: true, known_hosts: {}}}\n",
            sim.host["address"],
            sim.host["port"],
            password.display(),
            key.display(),
            passphrase.display(),
            home.path("known_hosts").display()
        ),
    );
    let playbook = home.write("secrets.yml", PLAYBOOK);
    let vars = format!("@{}", vars.display());
    let mut children = 0;
    for (n, verb) in [&["apply", "--check"][..], &["apply"], &["verify"], &["facts"]].into_iter().enumerate() {
        let path = |name: &str| home.path(&format!("{n}-{name}")).display().to_string();
        let mut args = vec![verb[0].to_owned()];
        if verb[0] != "facts" {
            args.extend([playbook.display().to_string(), "--diff".into(), "-e".into(), vars.clone()]);
            args.extend(["--output".into(), format!("json,html={},junit={}", path("r.html"), path("r.xml"))]);
        }
        args.extend(verb[1..].iter().map(|more| (*more).to_owned()));
        args.extend(["-i".into(), inventory.display().to_string()]);
        args.extend(["--log-file".into(), path("debug.log"), "--record".into(), path("host.txt")]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = home.command(&args);
        command.env("RUST_LOG", "trace").env_remove("ESXPREP_TEST_PASSWORD");
        let ran = watched(command, &mut |pid| look_at_children(pid, &mut children));
        assert!([0, 1, 3].contains(&ran.code), "{args:?}: {}", ran.all());
        let logged = std::fs::metadata(path("debug.log")).unwrap();
        assert!(logged.len() > 10_000, "{args:?}: the log has {} bytes", logged.len());
        assert_eq!(logged.permissions().mode() & 0o777, 0o600, "the log is its owner's");
        for secret in SECRETS {
            for stream in [&ran.stdout, &ran.stderr] {
                assert!(!holds(stream, secret), "{secret} was printed by {args:?}: {}", ran.all());
            }
        }
    }
    assert!(children > 0, "the command that gives the password was never seen");
    let left = files(home.0.path());
    assert!(left.len() > 12, "{left:?}");
    for path in &left {
        let bytes = std::fs::read(path).unwrap();
        for secret in SECRETS {
            assert!(!holds(&bytes, secret), "{secret} is in {}", path.display());
        }
    }
    // The journal, the locks and the recordings are their owner's alone.
    for path in left.iter().filter(|path| path.starts_with(home.path("state")) || path.ends_with("host.txt")) {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        let folder = path.parent().unwrap();
        if folder != home.0.path() {
            assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
        }
    }
}

/// While a command that reads passwords runs, its memory is in no core dump and no other process of its user's.
#[test]
fn a_process_with_passwords_cannot_be_dumped() {
    let home = Home::new();
    let port = crate::raw::start(crate::raw::Raw::Silent);
    let inventory = home.write(
        "hosts.yml",
        &format!("hosts:\n  esx1: {{address: 127.0.0.1, port: {port}, password: x, connect_timeout: 3}}\n"),
    );
    let mut protected = false;
    // What belongs to a process that cannot be dumped belongs to root; as root that says nothing, so it is given away.
    let mut command = home.command(&["facts", "-i", inventory.to_str().unwrap()]);
    let root = rustix::process::geteuid().is_root();
    if root {
        use std::os::unix::process::CommandExt;
        command.uid(65534).gid(65534);
        for path in [home.0.path(), &inventory] {
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
        }
    }
    let ran = watched(command, &mut |pid| {
        use std::os::unix::fs::MetadataExt;
        if let Ok(found) = std::fs::metadata(format!("/proc/{pid}/environ")) {
            protected |= found.uid() == 0;
        }
    });
    // Whether this user may read the binary is this machine's affair.
    assert_eq!(ran.code, 4, "{}", ran.all());
    assert!(protected, "{}", ran.all());
}
