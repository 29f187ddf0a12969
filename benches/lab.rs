//! What the launcher costs, each figure beside its own floor in the same run: `cargo bench --bench lab`, or of it only
//! the parts `clones`, `looks`, `starts` or `thaw`: `cargo bench --bench lab -- starts`. Real QEMU in
//! software emulation, with the stand-in guest; nothing is asserted, and nothing is left. `docs/performance.md` has the
//! method. Needs QEMU, xorriso and busybox; the stand-in's kernel is downloaded by apt-get, once.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use esxprep::lab::argv::{Style, argv, words};
use esxprep::lab::disk::{CloneDisk, How, QemuImg, Thing, Wanted, choose, clone_facts};
use esxprep::lab::guest::{self, Launch, StopPlan};
use esxprep::lab::plan::{Host, Stage};
use esxprep::lab::work;
use rand::{RngCore, SeedableRng};
use serde_json::{Value, json};

mod support;
use support::{Outcome, median, only_builds, ticks_of_children, timed};

/// The lab that is measured: two hosts, a user network and a hub.
const LAB: &str = "labs/standin.yml";
/// Its name.
const NAME: &str = "standin";
/// Pairs of a cold boot and a thaw; a first one only warms up.
const BOOTS: usize = 3;
/// Rounds of what takes seconds or less; a first one only warms up.
const ROUNDS: usize = 11;
/// What the guest sees of the disk that is cloned.
const DISK: u64 = 8 << 30;
/// What is written on it, in pieces of [`PIECE`] all over the disk.
const DATA: u64 = 500 << 20;
const PIECE: u64 = 4 << 20;
/// For a monitor to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place for labs with a lab in it, which is taken down at the end, whatever happens.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Outcome<Self> {
        // A short one: sockets lie in it.
        let dir = tempfile::Builder::new().prefix("epbench").tempdir()?;
        for name in ["r", "labs", "state", "disks"] {
            let path = dir.path().join(name);
            fs::create_dir(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        }
        Ok(Self { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary; what it says goes to a file.
    fn command(&self, args: &[&str]) -> Outcome<Command> {
        let said = File::create(self.path("said"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_esxprep"));
        command
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("ESXPREP_LAB_HOME", self.path("labs"))
            .env("XDG_RUNTIME_DIR", self.path("r"))
            .env("ESXPREP_STATE_DIR", self.path("state"))
            .env("XDG_CACHE_HOME", concat!(env!("CARGO_TARGET_TMPDIR"), "/lab-cache"))
            .env_remove("ESXPREP_INVENTORY")
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said);
        Ok(command)
    }

    /// Seconds of a run that ends well.
    fn lab(&self, args: &[&str]) -> Outcome<f64> {
        let mut all = vec!["lab"];
        all.extend(args);
        timed(&mut self.command(&all)?)
            .map_err(|error| format!("{error}\n{}", fs::read_to_string(self.path("said")).unwrap_or_default()).into())
    }

    /// Nothing but empty folders is to be left.
    fn close(self) -> Outcome<()> {
        self.lab(&["down", NAME])?;
        for name in ["labs", "r"] {
            if let Some(left) = fs::read_dir(self.path(name))?.flatten().next() {
                return Err(format!("{} is left", left.path().display()).into());
            }
        }
        let home = self.dir.path().display().to_string();
        for entry in fs::read_dir("/proc")?.flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&home) {
                return Err(format!("process {} is left", entry.file_name().display()).into());
            }
        }
        Ok(())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.path("labs").join(NAME).exists() {
            let _ = self.lab(&["down", NAME]);
        }
    }
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn row(name: &str, floor: Vec<f64>, ours: Vec<f64>, unit: &str, scale: f64) {
    let ratios = ours.iter().zip(&floor).map(|(a, b)| a / b).collect();
    let differences = ours.iter().zip(&floor).map(|(a, b)| (a - b) * scale).collect();
    println!(
        "{name:<44} {:>9.2} {:>9.2} {unit:<3} {:>9.4} {:>9.2}",
        median(floor) * scale,
        median(ours) * scale,
        median(ratios),
        median(differences)
    );
}

/// A whole lab from its start, and from its saved memory: both end when SSH answers on both hosts.
fn thaw(home: &Home) -> Outcome<()> {
    let (mut cold, mut thawed, mut frozen) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=BOOTS {
        home.lab(&["stop", NAME])?;
        let start = home.lab(&["start", NAME])?;
        let freeze = home.lab(&["freeze", NAME])?;
        let thaw = home.lab(&["thaw", NAME])?;
        if round > 0 {
            cold.push(start);
            thawed.push(thaw);
            frozen.push(freeze);
        }
    }
    println!("  cold boots: {}; thaws: {}", seconds(&cold), seconds(&thawed));
    println!("  `lab freeze` itself: {}", seconds(&frozen));
    let faster = median(cold.iter().zip(&thawed).map(|(cold, thaw)| cold / thaw).collect());
    row("lab thaw, beside lab start", cold, thawed, "s", 1.0);
    println!("  thaw is {faster:.1} times as fast (load {})", load());
    Ok(())
}

fn seconds(all: &[f64]) -> String {
    all.iter().map(|s| format!("{s:.2}")).collect::<Vec<_>>().join(" ") + " s"
}

/// Data that nothing can make smaller, all over the disk.
fn base(folder: &Path) -> Outcome<PathBuf> {
    let (raw, path) = (folder.join("raw"), folder.join("base.qcow2"));
    let file = File::create(&raw)?;
    file.set_len(DISK)?;
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    let mut piece = vec![0; usize::try_from(PIECE)?];
    let pieces = DATA / PIECE;
    for i in 0..pieces {
        random.fill_bytes(&mut piece);
        file.write_all_at(&piece, i * (DISK / pieces / PIECE * PIECE))?;
    }
    QemuImg::default().convert(&raw, "raw", &path, "qcow2", false)?;
    fs::remove_file(raw)?;
    Ok(path)
}

/// Looks at the base, chooses the way, makes the clone; seconds and bytes.
fn clone(base: &Path, to: &Path, how: How) -> Outcome<(f64, f64)> {
    let started = Instant::now();
    let folder = to.parent().ok_or("no folder")?;
    let facts = clone_facts(base, folder)?;
    let choice = choose(&facts, Wanted { how: Some(how), snapshots: false })?;
    let thing = Thing::Clone(CloneDisk {
        lab: "bench".into(),
        path: to.to_owned(),
        base: base.to_owned(),
        base_format: facts.format,
        how: choice.how,
        size: None,
    });
    thing.make()?;
    let took = started.elapsed().as_secs_f64();
    let bytes = fs::metadata(to)?.blocks() * 512;
    thing.unmake()?;
    Ok((took, bytes as f64))
}

fn clones(home: &Home) -> Outcome<()> {
    let folder = home.path("disks");
    let base = base(&folder)?;
    let (mut full, mut linked, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let (mut full_bytes, mut linked_bytes) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let copied = folder.join("cp.qcow2");
        let cp = timed(Command::new("cp").arg("--reflink=never").arg(&base).arg(&copied))?;
        fs::remove_file(&copied)?;
        let f = clone(&base, &folder.join("full.qcow2"), How::Full)?;
        let l = clone(&base, &folder.join("linked.qcow2"), How::Linked)?;
        if round > 0 {
            plain.push(cp);
            full.push(f.0);
            full_bytes.push(f.1);
            linked.push(l.0);
            linked_bytes.push(l.1);
        }
    }
    row("linked clone, beside a full copy: time", full, linked.clone(), "ms", 1000.0);
    row("linked clone, beside `cp` without a sync: time", plain, linked, "ms", 1000.0);
    row("linked clone, beside a full copy: bytes", full_bytes, linked_bytes, "MiB", 1.0 / f64::from(1 << 20));
    println!("  (load {})", load());
    fs::remove_file(base)?;
    Ok(())
}

/// Waits until there is a monitor and it has answered a command.
fn ask(socket: &Path, command: &str) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    let stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(e) if Instant::now() > deadline => return Err(format!("{}: {e}", socket.display()).into()),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut next = |wanted: &str| -> Outcome<()> {
        loop {
            let line = lines.next().ok_or_else(|| std::io::Error::from(ErrorKind::UnexpectedEof))??;
            let message: Value = serde_json::from_str(&line)?;
            if message.get(wanted).is_some() {
                return Ok(());
            }
        }
    };
    next("QMP")?;
    for command in ["qmp_capabilities", command] {
        writeln!(&stream, "{}", json!({"execute": command}))?;
        next("return")?;
    }
    Ok(())
}

/// How a host's machine is started, as `lab start` does it.
fn launch(kept: &work::Kept, host: &Host, stage: &Stage) -> Launch {
    let machine = &stage.machine;
    Launch {
        name: host.name.clone(),
        program: kept.qemu.clone(),
        args: words(&argv(machine, Style::default())).into_iter().map(OsString::from).collect(),
        netns: None,
        dir: host.folder.clone(),
        qmp: machine.qmp.clone(),
        log: host.folder.join("qemu.log"),
        serial: Some(machine.serial_log.clone()),
        keep_logs: 5,
        leftovers: vec![machine.qmp_user.clone(), machine.serial.clone(), machine.pidfile.clone()],
        ready_within: PATIENCE,
    }
}

/// QEMU by itself, from exec to an answered command; then it ends.
fn raw(launch: &Launch, socket: &Path) -> Outcome<f64> {
    let started = Instant::now();
    let mut child = Command::new(&launch.program)
        .args(&launch.args)
        .current_dir(&launch.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let answered = ask(socket, "query-status").map(|()| started.elapsed().as_secs_f64());
    if ask(socket, "quit").is_err() {
        child.kill()?;
    }
    child.wait()?;
    answered
}

/// The part of esxprep that starts a machine and waits for its monitor.
async fn part(launch: &Launch) -> Outcome<f64> {
    let began = Instant::now();
    let started = guest::start(launch).await?;
    let answered = started.qmp.status().await;
    let took = began.elapsed().as_secs_f64();
    guest::stop(&started.process, &launch.qmp, Some(started.qmp), &StopPlan::forced(), |_| {}).await?;
    answered?;
    Ok(took)
}

/// The whole command, from its exec to QEMU's answer on the monitor that is the user's.
fn whole(home: &Home, host: &str, socket: &Path) -> Outcome<f64> {
    let mut command = home.command(&["lab", "start", NAME, "--host", host])?;
    let started = Instant::now();
    let mut child: Child = command.spawn()?;
    let answered = ask(socket, "query-status").map(|()| started.elapsed().as_secs_f64());
    // It would wait for the guest's SSH.
    child.kill()?;
    child.wait()?;
    home.lab(&["stop", NAME, "--force"])?;
    answered
}

async fn starts(home: &Home, kept: &work::Kept) -> Outcome<()> {
    let host = kept.plan.hosts.first().ok_or("no host")?;
    let stage = host.last().ok_or("no stage")?;
    let launch = launch(kept, host, stage);
    let socket = &stage.machine.qmp_user;
    let (mut raws, mut parts, mut wholes) = (Vec::new(), Vec::new(), Vec::new());
    home.lab(&["stop", NAME])?;
    for round in 0..=ROUNDS {
        let times = (raw(&launch, socket)?, part(&launch).await?, whole(home, &host.name, socket)?);
        if round > 0 {
            raws.push(times.0);
            parts.push(times.1);
            wholes.push(times.2);
        }
    }
    row("start and monitor, beside qemu-system-x86_64", raws.clone(), parts, "ms", 1000.0);
    row("lab start, beside qemu-system-x86_64", raws, wholes, "ms", 1000.0);
    println!("  (load {})", load());
    Ok(())
}

/// What only looks, beside a start of the binary that does nothing; the lab runs.
fn looks(home: &Home) -> Outcome<()> {
    for (name, args) in [("lab plan", ["lab", "plan", LAB]), ("lab status", ["lab", "status", NAME])] {
        let (mut floor, mut ours, mut ticks) = (Vec::new(), Vec::new(), 0.0);
        for round in 0..=ROUNDS {
            let nothing = timed(&mut home.command(&["--version"])?)?;
            let before = ticks_of_children();
            let it = timed(&mut home.command(&args)?)?;
            if round > 0 {
                ticks += ticks_of_children() - before;
                floor.push(nothing);
                ours.push(it);
            }
        }
        row(&format!("{name}, beside --version"), floor, ours, "ms", 1000.0);
        println!("  {:.0} ms of processor time, its children's with it", ticks * 10.0 / ROUNDS as f64);
    }
    println!("  (load {})", load());
    Ok(())
}

async fn measure(home: &Home) -> Outcome<()> {
    println!("{} build; load {}", if cfg!(debug_assertions) { "debug" } else { "release" }, load());
    println!("{:<44} {:>9} {:>9}     {:>9} {:>9}", "medians of pairs", "floor", "esxprep", "ratio", "more");
    // Words on the command line choose parts.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| chosen.is_empty() || chosen.iter().any(|word| word == part);
    if wanted("clones") {
        clones(home)?;
    }
    if !["looks", "starts", "thaw"].into_iter().any(wanted) {
        return Ok(());
    }
    let up = home.lab(&["up", LAB])?;
    println!("  `lab up` from nothing: {up:.1} s (load {})", load());
    let place = work::find(&work::Wanted { lab: Some(NAME.into()), home: Some(home.path("labs")), qemu: None });
    let kept = work::standing_plan(&place.map_err(|e| e.to_string())?.place)?;
    if wanted("looks") {
        looks(home)?;
    }
    if wanted("starts") {
        starts(home, &kept).await?;
    }
    if wanted("thaw") {
        thaw(home)?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    if only_builds() {
        return Ok(());
    }
    let home = Home::new()?;
    measure(&home).await?;
    home.close()
}
