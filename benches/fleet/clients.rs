//! The clients that are compared, each as a process of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use esxprep::inventory::Inventory;
use esxprep::transport::{Connector, Request, RusshConnector};
use tempfile::TempDir;

use super::hosts::{Door, Field};
use super::support::{Outcome, Watched, ticks_of_children, watched};
use super::transport_support::user;
use super::turns::Seen;

/// Hosts at the same time, for esxprep and its floor; the peers get as many as there are hosts.
pub const FORKS: usize = 20;

/// The same work for every client.
pub struct Work {
    dir: TempDir,
    /// All of it as one command line.
    pub line: String,
    /// Round trips of the floor after its login.
    pub trips: usize,
}

impl Work {
    /// A playbook, and for each of its steps the commands that do the same; `once` is all for one `ssh`.
    pub fn new(playbook: &str, lines: &[String], once: String, trips: usize) -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let mut deploy = String::from("from pyinfra.operations import server\n");
        let mut raw = String::from("- hosts: all\n  gather_facts: false\n  tasks:\n");
        for (n, line) in lines.iter().enumerate() {
            // A JSON string is a Python string and a YAML one.
            let quoted = serde_json::Value::from(line.as_str());
            let _ = writeln!(deploy, "server.shell(name='step {n}', commands=[{quoted}])");
            let _ = writeln!(raw, "    - name: step {n}\n      ansible.builtin.raw: !unsafe {quoted}");
        }
        for (name, text) in [("book.yml", playbook), ("deploy.py", &deploy), ("raw.yml", &raw)] {
            fs::write(dir.path().join(name), text)?;
        }
        Ok(Self { dir, line: once, trips })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// pyinfra and ansible-core from the Python package index.
pub struct Peers {
    bin: PathBuf,
    pub versions: String,
    _dir: Option<TempDir>,
}

impl Peers {
    /// Into a virtual environment that is gone afterwards; `BENCH_VENV` names one that is there already.
    pub fn install() -> Outcome<Self> {
        let (venv, dir) = match std::env::var_os("BENCH_VENV") {
            Some(venv) => (PathBuf::from(venv), None),
            None => {
                let dir = tempfile::tempdir()?;
                let venv = dir.path().join("venv");
                quiet(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
                let packages = ["install", "-q", "--disable-pip-version-check", "pyinfra", "ansible-core"];
                quiet(Command::new(venv.join("bin/pip")).args(packages))?;
                (venv, Some(dir))
            }
        };
        let bin = venv.join("bin");
        let first = |program: &str| -> Outcome<String> {
            let said = quiet(Command::new(bin.join(program)).arg("--version"))?;
            Ok(said.lines().next().unwrap_or_default().to_owned())
        };
        let versions = format!("{}; {}", first("pyinfra")?, first("ansible")?);
        Ok(Self { bin, versions, _dir: dir })
    }
}

/// What a command says, if it ends well.
pub fn quiet(command: &mut Command) -> Outcome<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{said}{error}", output.status).into())
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Floor,
    Ssh,
    Esxprep,
    Pyinfra,
    Ansible,
}

impl Client {
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Pyinfra | Self::Ansible)
    }
}

/// What a run cost.
pub struct Cost {
    pub seconds: f64,
    pub cpu: f64,
    /// MiB of the process that was started, not of its children.
    pub memory: f64,
    pub anonymous: f64,
    pub connections: usize,
    /// The most turns of a connection.
    pub turns: u64,
    pub bytes: u64,
}

impl Cost {
    fn of(run: Watched) -> Self {
        let Watched { seconds, memory, anonymous, cpu, .. } = run;
        Self { seconds, cpu, memory, anonymous, connections: 0, turns: 0, bytes: 0 }
    }
}

/// One run of a client over all hosts of a field.
pub fn run(client: Client, field: &Field, work: &Work, peers: Option<&Peers>) -> Outcome<Cost> {
    let before: Vec<usize> = field.seen().iter().map(Vec::len).collect();
    let mut cost = match (client, peers) {
        (Client::Floor, _) => floor(&field.path("hosts.yml"), work.trips)?,
        (Client::Ssh, _) => ssh(field, &work.line)?,
        (Client::Esxprep, _) => esxprep(field.dir.path(), &field.path("hosts.yml"), &work.path("book.yml"))?,
        (Client::Pyinfra, Some(peers)) => {
            let mut command = peer(peers, "pyinfra", field);
            command.args(["-y", "--parallel", &field.doors.len().to_string()]);
            checked(command.arg(field.path("hosts.py")).arg(work.path("deploy.py")), field)?
        }
        (Client::Ansible, Some(peers)) => {
            let mut command = peer(peers, "ansible-playbook", field);
            let cost =
                checked(command.env("ANSIBLE_CONFIG", field.path("ansible.cfg")).arg(work.path("raw.yml")), field);
            // What it leaves for its next run would spare that the logins.
            for socket in fs::read_dir(field.path("c")).into_iter().flatten().flatten() {
                let control = format!("ControlPath={}", socket.path().display());
                let _ = Command::new("ssh").args(["-F", "/dev/null", "-o", &control, "-O", "exit", "x"]).output();
            }
            cost?
        }
        (_, None) => return Err("not installed".into()),
    };
    let all = field.seen();
    let fresh: Vec<&Seen> = all.iter().zip(before).flat_map(|(seen, known)| &seen[known..]).collect();
    cost.connections = fresh.len();
    cost.turns = fresh.iter().map(|seen| seen.turns).max().unwrap_or(0);
    cost.bytes = fresh.iter().map(|seen| seen.sent + seen.received).sum();
    Ok(cost)
}

fn peer(peers: &Peers, program: &str, field: &Field) -> Command {
    let mut command = Command::new(peers.bin.join(program));
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", peers.bin.display())).env("HOME", field.dir.path());
    command.env_remove("SSH_AUTH_SOCK").current_dir(field.dir.path());
    command
}

/// Runs it; what it says is in the error, if there is one.
fn checked(command: &mut Command, field: &Field) -> Outcome<Cost> {
    let said = field.path("said");
    let file = fs::File::create(&said)?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    match watched(command) {
        Ok(run) => Ok(Cost::of(run)),
        Err(error) => Err(format!("{error}\n{}", fs::read_to_string(said)?).into()),
    }
}

/// The built binary: `apply`, with its journal.
pub fn esxprep(home: &Path, inventory: &Path, playbook: &Path) -> Outcome<Cost> {
    let said = home.join("said");
    let file = fs::File::create(&said)?;
    let run = watched(
        Command::new(env!("CARGO_BIN_EXE_esxprep"))
            .args(["apply", "--forks", &FORKS.to_string(), "-i"])
            .arg(inventory)
            .arg(playbook)
            .env("HOME", home)
            .env("XDG_STATE_HOME", home.join("state"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("ESXPREP_STATE_DIR")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file),
    );
    run.map(Cost::of).map_err(|error| format!("{error}\n{}", fs::read_to_string(said).unwrap_or_default()).into())
}

/// The `ssh` program without anything that a user's configuration could add.
pub fn ssh_program(program: &str, field: &Field, door: &Door) -> Command {
    let mut command = Command::new(program);
    command.args(["-F", "/dev/null", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-i"]).arg(&door.key);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", field.path("known_hosts").display()));
    command.arg(if program == "scp" { "-P" } else { "-p" }).arg(door.port.to_string());
    command.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// One `ssh` a host, all at the same time, with the line as its argument.
fn ssh(field: &Field, line: &str) -> Outcome<Cost> {
    if let [door] = &field.doors[..] {
        let mut command = ssh_program("ssh", field, door);
        return checked(command.arg(format!("{}@127.0.0.1", user())).arg(line), field);
    }
    let (before, started) = (ticks_of_children(), Instant::now());
    let mut children = Vec::new();
    for door in &field.doors {
        let mut command = ssh_program("ssh", field, door);
        children.push(command.arg(format!("{}@127.0.0.1", user())).arg(line).spawn()?);
    }
    for mut child in children {
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("ssh: {status}").into());
        }
    }
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), (ticks_of_children() - before) / 100.0);
    Ok(Cost { seconds, cpu, memory: 0.0, anonymous: 0.0, connections: 0, turns: 0, bytes: 0 })
}

/// The transport alone, in a process of its own; the time is that without its start.
pub fn floor(inventory: &Path, trips: usize) -> Outcome<Cost> {
    let mut command = Command::new("/proc/self/exe");
    let took = tempfile::NamedTempFile::new()?;
    command.arg("--floor").arg(inventory).arg(trips.to_string());
    command.env_remove("SSH_AUTH_SOCK").stdout(took.reopen()?);
    let mut cost = Cost::of(watched(&mut command)?);
    cost.seconds = fs::read_to_string(took.path())?.trim().parse()?;
    Ok(cost)
}

/// What that process does: logs in to all hosts, a few of them at a time, and runs `true` so many times on each.
pub fn be_floor(inventory: &str, trips: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let inventory = Inventory::load(inventory)?;
    let started = Instant::now();
    runtime.block_on(async {
        let places = Arc::new(tokio::sync::Semaphore::new(FORKS));
        let mut tasks = tokio::task::JoinSet::new();
        for host in &inventory.hosts {
            let (target, places) = (host.target.clone(), Arc::clone(&places));
            tasks.spawn(async move {
                let _place = places.acquire_owned().await?;
                let mut shell = RusshConnector::default().connect(&target).await?;
                for _ in 0..trips {
                    shell.batch(&[no_command()], &mut |_| {}).await?;
                }
                shell.close().await;
                Outcome::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Outcome::Ok(())
    })?;
    println!("{}", started.elapsed().as_secs_f64());
    Ok(())
}

fn no_command() -> Request {
    Request { script: "true".to_owned(), stdin: None, timeout: Duration::from_secs(60), secret: false, changes: false }
}
