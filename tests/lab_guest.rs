//! Guests under a real QEMU, with software emulation: started, recognised, stopped, frozen, and lost in every way.
//!
//! The guest is a boot sector of 62 bytes: it prints `R` on its serial port, then dots, and shuts the machine down
//! when its power button is pressed. Its deaf twin ignores the button.

use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use esxprep::lab::guest::{
    GuestError, How, Launch, Liveness, Process, Serial, State, StopPlan, StopStep, Thing, add_port, adopt, create,
    delete, freeze, list, look, remove_port, revert, spawn, start, stop, strays, thaw, usage,
};
use esxprep::lab::qmp::{Forward, Qmp, QmpError, ScreenFormat};
use esxprep::lab::state::{Journal, Kept};

/// Everything here ends long before; a test that hangs fails instead.
const DEADLINE: Duration = Duration::from_secs(240);
/// For what takes milliseconds on a machine that is not overloaded.
const SOON: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("the test hangs")
}

/// cli; power button events on (port 0x602); 'R', line feed; then for ever: a look at the button (port 0x600), a
/// pause, '.'; at the button soft off (port 0x604). The ports are where SeaBIOS puts the PIIX4's power management.
fn boot_sector(hears: bool) -> Vec<u8> {
    let button = u8::from(hears);
    let mut code = vec![
        0xfa, 0xba, 0x02, 0x06, 0xb8, 0x00, 0x01, 0xef, // enable
        0xba, 0xf8, 0x03, 0xb0, b'R', 0xee, 0xb0, b'\n', 0xee, // R
        0xba, 0x00, 0x06, 0xed, 0xf6, 0xc4, button, 0x75, 0x11, // look
        0x66, 0xb9, 0x00, 0x00, 0x10, 0x00, 0x67, 0xe2, 0xfd, // pause
        0xba, 0xf8, 0x03, 0xb0, b'.', 0xee, 0xeb, 0xe6, // dot
        0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4, 0xeb, 0xfd, // off
    ];
    code.resize(510, 0);
    code.extend([0x55, 0xaa]);
    code
}

/// A guest's folder; what was started in it is ended with it.
struct Room {
    dir: tempfile::TempDir,
    /// Other processes of a test.
    others: Vec<std::process::Child>,
}

impl Room {
    fn new() -> Self {
        for tool in ["qemu-system-x86_64", "qemu-img"] {
            let found = Command::new(tool).arg("--version").output();
            assert!(found.is_ok_and(|o| o.status.success()), "{tool} is missing: scripts/test installs it");
        }
        let dir = tempfile::Builder::new().prefix("esxp").tempdir().unwrap();
        Self { dir, others: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A disk with the boot sector.
    fn disk(&self, name: &str, hears: bool) -> PathBuf {
        let (raw, disk) = (self.path("raw"), self.path(name));
        let mut content = boot_sector(hears);
        content.resize(1 << 20, 0);
        fs::write(&raw, content).unwrap();
        let done = Command::new("qemu-img")
            .args(["convert", "-f", "raw", "-O", "qcow2"])
            .args([&raw, &disk])
            .status()
            .unwrap();
        assert!(done.success());
        disk
    }

    /// The smallest QEMU: no machine that boots, only a monitor.
    fn bare(&self) -> Launch {
        self.launch("-machine none")
    }

    /// A guest that boots the sector.
    fn booting(&self, hears: bool) -> Launch {
        let disk = self.disk("d.qcow2", hears);
        let serial = self.path("serial.log");
        let mut launch = self.launch(&format!(
            "-machine pc -m 16 -vga std -chardev file,id=s0,path={},append=on -serial chardev:s0 \
             -blockdev driver=qcow2,node-name=d0,file.driver=file,file.filename={} \
             -device ide-hd,drive=d0,serial=BOOT,bootindex=1",
            serial.display(),
            disk.display(),
        ));
        launch.serial = Some(serial);
        launch
    }

    fn launch(&self, args: &str) -> Launch {
        let qmp = self.path("h1.qmp");
        let line = format!(
            "-name h1 -accel tcg -display none -nodefaults -no-user-config {args} -qmp unix:{},server=on,wait=off",
            qmp.display()
        );
        Launch {
            name: "h1".into(),
            program: "qemu-system-x86_64".into(),
            args: line.split_whitespace().map(OsString::from).collect(),
            netns: None,
            dir: self.dir.path().to_owned(),
            qmp,
            log: self.path("qemu.log"),
            serial: None,
            keep_logs: 3,
            leftovers: vec![],
            ready_within: SOON,
        }
    }

    /// As esxprep knows the guest after it was killed before it could write its identity down.
    fn unknown(&self) -> Process {
        self.bare().process()
    }

    fn serial(&self) -> Serial {
        Serial::follow(self.path("serial.log"), 0)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for child in &mut self.others {
            let _ = child.kill();
            let _ = child.wait();
        }
        let ended = self.unknown().unmake();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// Waits for the kernel.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn pid(process: &Process) -> u32 {
    process.identity.as_ref().unwrap().pid
}

#[tokio::test]
async fn a_guest_starts_in_its_own_session_is_seen_and_ends() {
    let room = Room::new();
    within(async {
        let started = start(&room.bare()).await.unwrap();
        let pid = pid(&started.process);
        assert_eq!(started.qmp.peer(), Some(pid));
        assert!(started.qmp.version().major >= 7, "{}", started.qmp.version());
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        assert_eq!(stat[stat.rfind(')').unwrap()..].split(' ').nth(4).unwrap(), pid.to_string(), "its session");
        let strays = strays(room.dir.path());
        assert_eq!(strays.iter().map(|s| s.identity.pid).collect::<Vec<_>>(), [pid]);
        let used = usage(pid).unwrap();
        assert!(used.rss > 1 << 20, "{used:?}");
        let again = start(&room.bare()).await.unwrap_err();
        assert!(matches!(again, GuestError::Running { pid: other, .. } if other == pid), "{again}");

        drop(started.qmp);
        let sight = look(&started.process, &room.path("h1.qmp"), SOON).await;
        let State::Running { identity, since, status } = sight.state else { panic!("{sight:?}") };
        assert_eq!(identity.pid, pid);
        assert!(since.is_some());
        assert_eq!(status.unwrap().status, "running");
        sight.qmp.unwrap().quit().await.unwrap();
        until("QEMU ends", || !identity.is_alive()).await;
        let sight = look(&started.process, &room.path("h1.qmp"), SOON).await;
        assert_eq!(sight.state, State::Dead);
        let sight = look(&room.unknown(), &room.path("h1.qmp"), SOON).await;
        assert_eq!(sight.state, State::Gone);
    })
    .await;
}

#[tokio::test]
async fn a_refused_argument_is_told_with_qemus_words_and_ours() {
    let room = Room::new();
    within(async {
        let error = start(&room.launch("-machine none -device ide-drive")).await.unwrap_err();
        let GuestError::Refused { said, hint, log, .. } = &error else { panic!("{error}") };
        assert!(said.contains("'ide-drive' is not a valid device model name"), "{said}");
        assert!(!said.contains("qemu-system"), "its own name is left out: {said}");
        assert!(hint.unwrap().contains("no such device"));
        assert!(fs::read_to_string(log).unwrap().contains("-device ide-drive"), "the log says what was started");
        assert!(error.to_string().contains(log.to_str().unwrap()));
        assert!(room.unknown().find().is_none());

        let mut launch = room.bare();
        launch.program = "/nowhere/qemu-system-x86_64".into();
        assert!(start(&launch).await.is_err());
        let mut launch = room.bare();
        launch.args.retain(|arg| !arg.to_string_lossy().contains("h1.qmp"));
        assert!(matches!(start(&launch).await, Err(GuestError::NoMarker { .. })));
        let mut launch = room.bare();
        launch.args.push("-daemonize".into());
        assert!(matches!(start(&launch).await, Err(GuestError::Daemonize { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_qemu_behind_a_script_of_another_name_is_known_by_its_number() {
    let room = Room::new();
    within(async {
        let script = room.path("run-it");
        // Written by another process: a file that a fork of this one still has open for writing cannot be run.
        let write = "printf '#!/bin/sh\\nexec qemu-system-x86_64 \"$@\"\\n' >\"$1\" && chmod +x \"$1\"";
        assert!(Command::new("sh").args(["-c", write, "sh"]).arg(&script).status().unwrap().success());
        let mut launch = room.bare();
        launch.program = script;
        let started = start(&launch).await.unwrap();
        assert_eq!(started.process.find(), started.process.identity);
        started.process.unmake().unwrap();
        assert!(!started.process.identity.unwrap().is_alive());
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_another_guest_has_is_explained() {
    let (room, other) = (Room::new(), Room::new());
    within(async {
        let launch = room.booting(true);
        start(&launch).await.unwrap();
        let disk = room.path("d.qcow2");
        let args = format!("-machine pc -m 16 -S -drive file={},format=qcow2", disk.display());
        let error = start(&other.launch(&args)).await.unwrap_err().to_string();
        assert!(error.contains("write\" lock") && error.contains("has the disk open"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_second_client_on_the_monitor_is_told_so_and_waits_no_longer_than_it_must() {
    let room = Room::new();
    within(async {
        let started = start(&room.bare()).await.unwrap();
        let second = Qmp::connect(&room.path("h1.qmp"), Duration::from_millis(300)).await.unwrap_err();
        assert!(matches!(second, QmpError::NoGreeting { .. }), "{second}");
        assert!(second.to_string().contains("another program"), "{second}");
        // The queue before the monitor is short: those who come when it is full hear the same.
        for _ in 0..4 {
            let sight = look(&started.process, &room.path("h1.qmp"), Duration::from_millis(100)).await;
            assert!(matches!(sight.state, State::Running { status: None, .. }), "{sight:?}");
            assert!(matches!(sight.problem, Some(QmpError::NoGreeting { .. })), "{sight:?}");
        }

        // With the first gone there is room; a listener for events does not keep it.
        let mut events = started.qmp.events();
        drop(started.qmp);
        assert_eq!(events.next().await, None);
        let third = Qmp::connect(&room.path("h1.qmp"), SOON).await.unwrap();
        assert!(third.status().await.unwrap().running);
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_nobody_serves_is_no_hang() {
    let room = Room::new();
    within(async {
        let path = room.path("mute");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = Qmp::connect(&path, Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(error, QmpError::NoGreeting { .. }), "{error}");
        let error = Qmp::connect(&room.path("absent"), SOON).await.unwrap_err();
        assert!(matches!(error, QmpError::NoQemu { kind: std::io::ErrorKind::NotFound, .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn commands_are_answered_refused_and_given_up() {
    let room = Room::new();
    within(async {
        let started = start(&room.bare()).await.unwrap();
        let qmp = &started.qmp;
        let null = serde_json::Value::Null;
        let error = qmp.execute("no-such-command", null.clone()).await.unwrap_err();
        assert!(matches!(&error, QmpError::Refused { class, .. } if class == "CommandNotFound"), "{error}");
        // The longest answer there is; and copies of the handle ask side by side.
        let (schema, status, version) = tokio::join!(
            qmp.execute("query-qmp-schema", null.clone()),
            qmp.status(),
            qmp.execute("query-version", null.clone())
        );
        assert!(schema.unwrap().as_array().unwrap().len() > 100);
        assert!(status.unwrap().running);
        assert_eq!(version.unwrap()["qemu"]["major"], qmp.version().major);
        let mut events = qmp.events();
        qmp.stop().await.unwrap();
        assert_eq!(events.next_of("STOP").await.unwrap().name, "STOP");
        assert_eq!(qmp.status().await.unwrap().status, "paused");
        let error = qmp.human("nonsense", SOON).await.unwrap();
        assert!(error.contains("unknown command"), "{error}");

        signal(pid(&started.process), "-STOP");
        let error = qmp.execute_within("query-version", null.clone(), Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(error, QmpError::Silent { .. }), "{error}");
        signal(pid(&started.process), "-CONT");
        // Its late answer is nobody's, and the next one is its own.
        assert_eq!(qmp.status().await.unwrap().status, "paused");
    })
    .await;
}

#[tokio::test]
async fn a_qemu_killed_under_a_command_is_told_as_lost() {
    let room = Room::new();
    within(async {
        let started = start(&room.bare()).await.unwrap();
        let (qmp, pid) = (started.qmp.clone(), pid(&started.process));
        let mut events = qmp.events();
        signal(pid, "-STOP");
        let pending = tokio::spawn(async move { qmp.status().await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!pending.is_finished());
        signal(pid, "-KILL");
        let error = pending.await.unwrap().unwrap_err();
        assert!(matches!(&error, QmpError::Lost { doing, .. } if doing == "query-status"), "{error}");
        assert!(error.is_lost());
        assert_eq!(events.next().await, None);
        assert!(started.qmp.is_closed());
        let error = started.qmp.status().await.unwrap_err();
        assert!(matches!(error, QmpError::Lost { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn after_a_kill_the_stale_socket_is_in_nobodys_way_and_the_log_is_kept() {
    let room = Room::new();
    within(async {
        let started = start(&room.bare()).await.unwrap();
        let identity = started.process.identity.clone().unwrap();
        signal(identity.pid, "-KILL");
        until("QEMU ends", || !identity.is_alive()).await;
        assert!(room.path("h1.qmp").exists(), "QEMU had no time to remove it");
        let sight = look(&started.process, &room.path("h1.qmp"), SOON).await;
        assert_eq!(sight.state, State::Dead);
        assert!(adopt(&started.process, &room.path("h1.qmp"), SOON).await.unwrap().is_none());
        let error = Qmp::connect(&room.path("h1.qmp"), SOON).await.unwrap_err();
        assert!(matches!(error, QmpError::NoQemu { kind: std::io::ErrorKind::ConnectionRefused, .. }), "{error}");

        fs::write(room.path("qemu.log"), "what the first one said").unwrap();
        let again = start(&room.bare()).await.unwrap();
        assert_ne!(pid(&again.process), identity.pid);
        assert_eq!(fs::read_to_string(room.path("qemu.log.1")).unwrap(), "what the first one said");
        // The old record finds the new process by its marker: one guest is one guest.
        assert_eq!(started.process.find().unwrap().pid, pid(&again.process));
        again.process.unmake().unwrap();
        assert!(!room.path("h1.qmp").exists());
        again.process.unmake().unwrap();
    })
    .await;
}

/// This test runs itself in a second process, which starts the guest as esxprep would, and kills it.
#[tokio::test]
async fn a_guest_outlives_a_killed_esxprep_and_is_adopted() {
    const ROLE: &str = "ESXPREP_TEST_STARTS_A_GUEST_IN";
    let Some(dir) = std::env::var_os(ROLE) else {
        let mut room = Room::new();
        return within(adopted_after_kill(&mut room, ROLE)).await;
    };
    // The second process: its room must stay when it ends.
    let room = std::mem::ManuallyDrop::new(Room::new());
    let mut launch = room.bare();
    let line = launch.args.iter_mut().last().unwrap();
    launch.qmp = Path::new(&dir).join("h1.qmp");
    *line = format!("unix:{},server=on,wait=off", launch.qmp.display()).into();
    launch.log = Path::new(&dir).join("qemu.log");
    launch.dir = dir.clone().into();
    fs::remove_dir_all(room.dir.path()).unwrap();
    let mut journal = Journal::open(&Path::new(&dir).join("journal.jsonl")).unwrap();
    journal.making(&Thing::Process(launch.process())).unwrap();
    let _spawned = spawn(&launch).unwrap();
    // Killed before it can write down whom it started.
    std::thread::sleep(DEADLINE);
}

async fn adopted_after_kill(room: &mut Room, role: &str) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_guest_outlives_a_killed_esxprep_and_is_adopted"])
        .env(role, room.dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    room.others.push(child);
    let process = room.unknown();
    until("the guest is started", || process.find().is_some()).await;
    let child = &mut room.others[0];
    child.kill().unwrap();
    child.wait().unwrap();

    let standing = Journal::<Thing>::read(&room.path("journal.jsonl")).unwrap();
    let [(_, Thing::Process(recorded))] = &standing[..] else { panic!("{standing:?}") };
    assert_eq!(recorded.identity, None);
    let adopted = adopt(recorded, &room.path("h1.qmp"), SOON).await.unwrap().expect("it lives");
    assert_eq!(adopted.qmp.peer(), Some(pid(&adopted.process)));
    assert!(adopted.qmp.status().await.unwrap().running);
    let mut journal = Journal::<Thing>::open(&room.path("journal.jsonl")).unwrap();
    journal.made(standing[0].0, &Thing::Process(adopted.process.clone())).unwrap();
    let result = journal.unmake_all(Thing::unmake);
    assert_eq!((result.unmade, result.failed.len()), (1, 0), "{result:?}");
    assert!(!adopted.process.identity.unwrap().is_alive());
    assert!(!room.path("h1.qmp").exists());
}

#[tokio::test]
async fn a_guest_whose_parent_does_not_collect_it_is_dead_all_the_same() {
    let mut room = Room::new();
    let launch = room.bare();
    within(async {
        // `sleep` becomes the parent and never waits for anybody.
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$@\" & exec sleep 1000", "sh"]).arg(&launch.program).args(&launch.args);
        room.others.push(shell.spawn().unwrap());
        let process = room.unknown();
        until("the guest is started", || process.find().is_some()).await;
        let adopted = adopt(&process, &launch.qmp, SOON).await.unwrap().unwrap();
        let identity = adopted.process.identity.clone().unwrap();
        let stopped =
            stop(&adopted.process, &launch.qmp, Some(adopted.qmp), &StopPlan::forced(), |_| {}).await.unwrap();
        assert_eq!(stopped.how, How::By(StopStep::Quit), "{stopped:?}");
        assert_eq!(identity.look(), Liveness::Zombie, "this test needs a zombie to mean something");
        assert!(adopted.process.find().is_none());
        assert_eq!(look(&adopted.process, &launch.qmp, SOON).await.state, State::Dead);
        adopted.process.unmake().unwrap();
        // A new one starts beside the corpse.
        start(&launch).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_guest_that_hears_its_button_shuts_down() {
    let room = Room::new();
    within(async {
        let launch = room.booting(true);
        let started = start(&launch).await.unwrap();
        let found = room.serial().wait_for(&["R\n"], SOON).await.unwrap().expect("it boots");
        assert_eq!(room.serial().next().await.unwrap().text, "R");
        assert_eq!(found.which, 0);
        // It stands still, and hears all the same.
        started.qmp.stop().await.unwrap();
        let stopped = stop(&started.process, &launch.qmp, Some(started.qmp), &StopPlan::default(), |_| {}).await;
        let stopped = stopped.unwrap();
        assert_eq!((stopped.how, stopped.notes.len()), (How::By(StopStep::Powerdown), 0), "{stopped:?}");
        assert!(!launch.qmp.exists());
        let again = stop(&started.process, &launch.qmp, None, &StopPlan::default(), |_| {}).await.unwrap();
        assert_eq!(again.how, How::NotRunning);

        // Told to stay, QEMU is ended once the guest is down.
        let mut launch = launch;
        launch.args.push("-no-shutdown".into());
        let started = start(&launch).await.unwrap();
        let mut serial = room.serial();
        serial.wait_for(&["R\n"], SOON).await.unwrap().expect("it boots");
        drop(started.qmp);
        let stopped = stop(&started.process, &launch.qmp, None, &StopPlan::default(), |_| {}).await.unwrap();
        assert_eq!(stopped.how, How::By(StopStep::Powerdown), "{stopped:?}");
        assert_eq!(fs::read_to_string(room.path("serial.log.1")).unwrap().lines().next(), Some("R"), "the first run's");
    })
    .await;
}

#[tokio::test]
async fn a_deaf_guest_is_ended_by_force_with_the_reasons() {
    let room = Room::new();
    within(async {
        let launch = room.booting(false);
        let started = start(&launch).await.unwrap();
        room.serial().wait_for(&["R\n"], SOON).await.unwrap().expect("it boots");
        let plan = StopPlan { graceful: Some(Duration::from_millis(500)), ..StopPlan::default() };
        let mut told = Vec::new();
        let stopped = stop(&started.process, &launch.qmp, Some(started.qmp), &plan, |n| told.push(n.clone())).await;
        let stopped = stopped.unwrap();
        assert_eq!(stopped.how, How::By(StopStep::Quit), "{stopped:?}");
        assert_eq!(told, stopped.notes);
        assert_eq!(told.len(), 1);
        assert!(told[0].step == StopStep::Powerdown && told[0].reason.contains("power button"), "{told:?}");

        // With its monitor taken by somebody else there are signals.
        let started = start(&launch).await.unwrap();
        let plan = StopPlan { quit: SOON, ..StopPlan::forced() };
        let stopped = stop(&started.process, &launch.qmp, None, &plan, |_| {}).await.unwrap();
        assert_eq!(stopped.how, How::By(StopStep::Term), "{stopped:?}");
        assert!(stopped.notes[0].reason.contains("another program"), "{stopped:?}");

        // One that is itself stopped hears only the last of them.
        let started = start(&launch).await.unwrap();
        signal(pid(&started.process), "-STOP");
        let plan = StopPlan { quit: Duration::from_millis(200), kill: SOON, graceful: None };
        let stopped = stop(&started.process, &launch.qmp, None, &plan, |_| {}).await.unwrap();
        assert_eq!(stopped.how, How::By(StopStep::Kill), "{stopped:?}");
        assert!(!launch.qmp.exists(), "the socket that it could not remove");
    })
    .await;
}

#[tokio::test]
async fn a_frozen_guest_goes_on_where_it_was() {
    let room = Room::new();
    within(async {
        let launch = room.booting(true);
        let started = start(&launch).await.unwrap();
        room.serial().wait_for(&["R\n."], SOON).await.unwrap().expect("it boots");
        let frozen = freeze("h1", &started.qmp, &launch.args, "ready", "run", SOON).await.unwrap();
        assert_eq!(frozen.disks, ["d0"]);
        assert!(frozen.bytes > 100_000, "{frozen:?}");
        assert_eq!(started.qmp.status().await.unwrap().status, "paused");
        let kept = Kept::at(room.path("frozen.json"));
        kept.save(&frozen).unwrap();
        stop(&started.process, &launch.qmp, Some(started.qmp), &StopPlan::forced(), |_| {}).await.unwrap();

        let frozen: esxprep::lab::guest::Frozen = kept.load().unwrap().unwrap();
        for _ in 0..2 {
            let thawed = thaw(&launch, &frozen, Some(frozen.qemu)).await.unwrap();
            assert!(thawed.qmp.status().await.unwrap().running);
            room.serial().wait_for(&["..."], SOON).await.unwrap().expect("it goes on");
            let text = fs::read_to_string(room.path("serial.log")).unwrap();
            assert!(text.bytes().all(|b| b == b'.'), "it did not boot again: {text:?}");
            thawed.process.unmake().unwrap();
        }

        // The record is right, the disk is not: QEMU's words are explained.
        let gone = esxprep::lab::guest::Frozen { tag: "other".into(), ..frozen.clone() };
        let error = thaw(&launch, &gone, None).await.unwrap_err().to_string();
        assert!(error.contains("'other' does not exist") && error.contains("start the host cold"), "{error}");
        // Other hardware is refused before anything is started.
        let mut more = launch.clone();
        more.args.extend(["-device".into(), "nec-usb-xhci".into()]);
        let error = thaw(&more, &frozen, None).await.unwrap_err();
        let GuestError::ThawDiffers { differences, .. } = &error else { panic!("{error}") };
        assert_eq!(differences, &["`-device nec-usb-xhci` is new"]);
        assert!(room.unknown().find().is_none());
    })
    .await;
}

#[tokio::test]
async fn what_keeps_memory_from_being_saved_is_explained_and_the_guest_runs_on() {
    let room = Room::new();
    within(async {
        let disk = room.disk("d.qcow2", true);
        let nvme = format!(
            "-machine pc -m 16 -drive file={},if=none,id=d0,format=qcow2 -device nvme,drive=d0,serial=N",
            disk.display()
        );
        let launch = room.launch(&nvme);
        let started = start(&launch).await.unwrap();
        let error = freeze("h1", &started.qmp, &launch.args, "t", "run", SOON).await.unwrap_err().to_string();
        assert!(error.contains("nvme") && error.contains("NVMe disks are such"), "{error}");
        assert!(started.qmp.status().await.unwrap().running, "it runs on");
        started.process.unmake().unwrap();

        let raw = format!("-machine pc -m 16 -drive file={},if=ide,format=raw", room.path("raw").display());
        let launch = room.launch(&raw);
        let started = start(&launch).await.unwrap();
        let error = freeze("h1", &started.qmp, &launch.args, "t", "run", SOON).await.unwrap_err().to_string();
        assert!(error.contains("does not support snapshots") && error.contains("qcow2"), "{error}");
        assert!(started.qmp.status().await.unwrap().running, "it runs on");
    })
    .await;
}

#[tokio::test]
async fn memory_is_saved_and_loaded_by_hand_and_by_job() {
    let room = Room::new();
    within(async {
        let disk = room.disk("d.qcow2", true);
        let line = format!(
            "-machine pc -m 16 -S -blockdev driver=file,filename={},node-name=f0 \
             -blockdev driver=qcow2,file=f0,node-name=n0 -device ide-hd,drive=n0",
            disk.display()
        );
        let started = start(&room.launch(&line)).await.unwrap();
        let qmp = &started.qmp;
        let error = qmp.loadvm("none", SOON).await.unwrap_err();
        assert!(
            matches!(&error, QmpError::HumanRefused { said, .. } if said.contains("'none' does not exist")),
            "{error}"
        );
        assert!(matches!(qmp.savevm("two words", SOON).await, Err(QmpError::BadWord(_))));
        qmp.savevm("a", SOON).await.unwrap();
        qmp.loadvm("a", SOON).await.unwrap();
        let nodes = ["n0".to_owned()];
        qmp.snapshot_save("b", "n0", &nodes, SOON).await.unwrap();
        let error = qmp.snapshot_save("b", "n0", &nodes, SOON).await.unwrap_err();
        assert!(matches!(&error, QmpError::Job { error, .. } if error.contains("already exists")), "{error}");
        qmp.snapshot_load("b", "n0", &nodes, SOON).await.unwrap();
        let names = |nodes: Vec<esxprep::lab::qmp::Image>| {
            let node = nodes.into_iter().find(|n| n.node_name.as_deref() == Some("n0")).unwrap();
            node.image.snapshots.into_iter().map(|s| s.name).collect::<Vec<_>>()
        };
        assert_eq!(names(qmp.block_nodes().await.unwrap()), ["a", "b"]);
        qmp.snapshot_delete("b", &nodes, SOON).await.unwrap();
        qmp.delvm("a", SOON).await.unwrap();
        assert!(names(qmp.block_nodes().await.unwrap()).is_empty());
        let devices = qmp.block_devices().await.unwrap();
        assert!(devices.iter().any(|device| device.name() == Some("n0")), "{devices:?}");
    })
    .await;
}

#[tokio::test]
async fn disks_are_snapshotted_while_the_guest_runs_and_while_it_does_not() {
    let room = Room::new();
    within(async {
        let launch = room.booting(true);
        let disks = [room.path("d.qcow2")];
        let started = start(&launch).await.unwrap();
        create("live", &disks, Some(&started.qmp)).await.unwrap();
        let error = create("live", &disks, Some(&started.qmp)).await.unwrap_err().to_string();
        assert!(error.contains("one of this name"), "{error}");
        // While a guest writes the disk nobody else may.
        let error = revert("live", &disks).await.unwrap_err().to_string();
        assert!(error.contains("lock"), "{error}");
        started.process.unmake().unwrap();

        create("cold", &disks, None).await.unwrap();
        let names: Vec<_> = list(&disks).await.unwrap().into_iter().map(|s| s.snapshot.name).collect();
        assert_eq!(names, ["live", "cold"]);
        let read = || {
            let out = room.path("out");
            let args = ["convert", "-O", "raw"];
            assert!(Command::new("qemu-img").args(args).args([&disks[0], &out]).status().unwrap().success());
            fs::read(out).unwrap()
        };
        let before = read();
        let write = ["-c", "write -P 0x77 4096 4096", disks[0].to_str().unwrap()];
        assert!(Command::new("qemu-io").args(write).output().unwrap().status.success());
        assert!(read() != before);
        revert("cold", &disks).await.unwrap();
        assert!(read() == before, "the disk is as it was");
        let error = revert("none", &disks).await.unwrap_err().to_string();
        assert!(error.contains("it has live, cold"), "{error}");
        assert!(delete("cold", &disks, None).await.unwrap());
        assert!(!delete("cold", &disks, None).await.unwrap());
        let started = start(&launch).await.unwrap();
        assert!(delete("live", &disks, Some(&started.qmp)).await.unwrap());
        assert!(list(&disks).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn ports_come_and_go_while_the_guest_runs() {
    let room = Room::new();
    within(async {
        let launch =
            room.launch("-machine pc -m 16 -S -netdev user,id=n0,restrict=on -device e1000e,netdev=n0,romfile=");
        let started = start(&launch).await.unwrap();
        let qmp = &started.qmp;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let forward = Forward::local(port, 443);
        add_port("h1", qmp, "n0", &forward).await.unwrap();
        let forwards = qmp.forwards().await.unwrap();
        assert_eq!((forwards[0].0.as_str(), forwards[0].1.guest_port), ("n0", 443));
        assert!(qmp.has_forward(Ipv4Addr::LOCALHOST, port).await.unwrap());
        TcpStream::connect(("127.0.0.1", port)).expect("QEMU listens");
        // Who has it is QEMU itself.
        let error = add_port("h1", qmp, "n0", &forward).await.unwrap_err().to_string();
        assert!(error.contains(&format!("process {} (", pid(&started.process))), "{error}");
        let error = qmp.add_forward("n0", &forward).await.unwrap_err();
        assert!(matches!(error, QmpError::HumanRefused { .. }), "{error}");
        let error = qmp.add_forward("n9", &Forward::local(port, 1)).await.unwrap_err().to_string();
        assert!(error.contains("unrecognized netdev id"), "{error}");
        remove_port("h1", qmp, "n0", &forward).await.unwrap();
        assert!(qmp.forwards().await.unwrap().is_empty());
        let error = remove_port("h1", qmp, "n0", &forward).await.unwrap_err().to_string();
        assert!(error.contains("not found"), "{error}");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens any more");
    })
    .await;
}

#[tokio::test]
async fn the_screen_is_saved_and_keys_are_pressed() {
    let room = Room::new();
    within(async {
        let started = start(&room.booting(true)).await.unwrap();
        room.serial().wait_for(&["R\n"], SOON).await.unwrap().expect("it boots");
        let shot = started.qmp.screendump(&room.path("screen")).await.unwrap();
        let bytes = fs::read(&shot.path).unwrap();
        match shot.format {
            ScreenFormat::Png => assert!(bytes.starts_with(b"\x89PNG")),
            ScreenFormat::Ppm => assert!(bytes.starts_with(b"P6")),
        }
        started.qmp.type_text("Ab/\n", Duration::from_millis(2)).await.unwrap();
        assert!(matches!(started.qmp.type_text("aä", Duration::ZERO).await, Err(QmpError::NoKey('ä'))));
        let error = started.qmp.press(&["no-such-key"], Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, QmpError::Refused { .. }), "{error}");
        let error = started.qmp.screendump(Path::new("/nowhere/screen")).await.unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_guest_runs_in_a_network_namespace() {
    let name = format!("esxp-test-{}", std::process::id());
    let ip = |args: &[&str]| Command::new("ip").args(args).output().expect("ip is missing: scripts/test installs it");
    let made = ip(&["netns", "add", &name]);
    assert!(made.status.success(), "this test needs root: {}", String::from_utf8_lossy(&made.stderr));
    struct Gone(String);
    impl Drop for Gone {
        fn drop(&mut self) {
            let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
        }
    }
    let _gone = Gone(name.clone());
    let room = Room::new();
    within(async {
        let mut launch = room.bare();
        launch.netns = Some(name.clone());
        let started = start(&launch).await.unwrap();
        let pid = pid(&started.process);
        assert_eq!(started.qmp.peer(), Some(pid), "the starter became QEMU");
        let inside = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        assert_ne!(inside, fs::read_link("/proc/self/ns/net").unwrap());
        started.process.unmake().unwrap();

        launch.netns = Some("esxp-no-such".into());
        let error = start(&launch).await.unwrap_err().to_string();
        assert!(error.contains("esxp-no-such"), "{error}");
    })
    .await;
}
