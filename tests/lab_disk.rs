//! Disks of a lab on real file systems: ext4, btrfs and xfs in images of their own, mounted for the test.
//! Needs root, loop devices, qemu-utils, e2fsprogs, btrfs-progs and xfsprogs.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use esxprep::lab::disk::{
    CloneDisk, Disk, DiskError, Folder, FsKind, Holder, How, Made, QemuImg, ReadOnlyBase, Thing, Wanted, choose,
    clone_facts, fs_facts, is_nocow, owner_of, remove_base, users, verify,
};

const MIB: u64 = 1 << 20;

fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| {
        panic!("`{program}` cannot be started ({e}): this test needs root and the tools that scripts/test installs")
    });
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {said}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A file system in a file; unmounted and removed when it goes, also if the test fails.
struct Mounted {
    dir: PathBuf,
    _home: tempfile::TempDir,
}

impl Mounted {
    fn new(kind: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (image, dir) = (home.path().join("image"), home.path().join("mnt"));
        File::create(&image).unwrap().set_len(1 << 30).unwrap();
        fs::create_dir(&dir).unwrap();
        let path = |p: &Path| p.to_str().unwrap().to_owned();
        let quiet = if kind == "ext4" { "-Fq" } else { "-q" };
        run(&format!("mkfs.{kind}"), &[quiet, &path(&image)]);
        run("mount", &["-o", "loop", &path(&image), &path(&dir)]);
        Self { dir, _home: home }
    }

    /// A file system that knows no extended attributes of users.
    fn without_attributes() -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("mnt");
        fs::create_dir(&dir).unwrap();
        run("mount", &["-t", "ramfs", "none", dir.to_str().unwrap()]);
        Self { dir, _home: home }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let plain = Command::new("umount").arg(&self.dir).status();
        if !plain.is_ok_and(|s| s.success()) {
            let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
        }
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn disk(path: PathBuf, size: u64) -> Disk {
    Disk { lab: "demo".into(), path, format: "qcow2".into(), size }
}

fn clone(path: PathBuf, base: &Path, how: How) -> CloneDisk {
    CloneDisk { lab: "demo".into(), path, base: base.into(), base_format: "qcow2".into(), how, size: None }
}

fn qemu_io(path: &Path, command: &str) -> String {
    run("qemu-io", &["-f", "qcow2", "-c", command, path.to_str().unwrap()])
}

fn holds(path: &Path, pattern: u8) -> bool {
    !qemu_io(path, &format!("read -P {pattern} 0 1M")).contains("Pattern verification failed")
}

/// A base with some MiB in it.
fn base(path: PathBuf) -> PathBuf {
    disk(path.clone(), 8 << 30).make().unwrap();
    qemu_io(&path, "write -P 7 0 64M");
    path
}

fn taken(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.retain(|n| n != "lost+found");
    names.sort();
    names
}

#[test]
fn a_terabyte_takes_next_to_nothing_and_is_not_copied_on_write_on_btrfs() {
    for (kind, is) in [("ext4", FsKind::Ext), ("btrfs", FsKind::Btrfs), ("xfs", FsKind::Xfs)] {
        let fs = Mounted::new(kind);
        assert_eq!(fs_facts(&fs.dir).unwrap().kind, is, "{kind}");
        let disk = disk(fs.at("data.qcow2"), 1 << 40);
        assert_eq!(disk.make().unwrap(), Made::New);
        let usage = QemuImg::default().usage(&disk.path).unwrap();
        assert_eq!(usage.virtual_bytes, 1 << 40);
        assert!(usage.actual_bytes < MIB, "{kind}: {} bytes", usage.actual_bytes);
        assert_eq!(is_nocow(&disk.path), kind == "btrfs", "{kind}");
        assert_eq!(owner_of(&disk.path).unwrap().as_deref(), Some("demo"), "{kind}");
        assert_eq!(disk.make().unwrap(), Made::Reused);
        disk.unmake().unwrap();
        disk.unmake().unwrap();
        assert_eq!(names(&fs.dir), [""; 0], "{kind}");
    }
}

#[test]
fn every_way_of_cloning_on_every_file_system() {
    for kind in ["ext4", "btrfs", "xfs"] {
        let fs = Mounted::new(kind);
        let base = base(fs.at("base.qcow2"));
        let facts = clone_facts(&base, &fs.dir).unwrap();
        let chosen = choose(&facts, Wanted::default()).unwrap();
        assert_eq!(chosen.how, How::Linked, "{kind}: {}", chosen.reason);
        let reflink = choose(&facts, Wanted { how: Some(How::Reflink), snapshots: false });
        assert_eq!(reflink.is_ok(), kind != "ext4", "{kind}: {reflink:?}");
        if kind == "ext4" {
            let said = reflink.unwrap_err().to_string();
            assert!(said.contains("shares no blocks"), "{said}");
        }

        let free = |fs: &Mounted| fs_facts(&fs.dir).unwrap().free_bytes;
        run("sync", &["-f", fs.dir.to_str().unwrap()]);
        let before = free(&fs);
        let full = clone(fs.at("full.qcow2"), &base, How::Full);
        full.make().unwrap();
        run("sync", &["-f", fs.dir.to_str().unwrap()]);
        let copy_cost = before - free(&fs);
        assert!(copy_cost > 60 * MIB, "{kind}: a full copy took {copy_cost}: it shares blocks");
        let linked = clone(fs.at("linked.qcow2"), &base, How::Linked);
        linked.make().unwrap();
        assert!(taken(&linked.path) * 10 < copy_cost, "{kind}: {}", taken(&linked.path));
        let mut disks = vec![full.path.clone(), linked.path.clone()];
        if kind != "ext4" {
            // The base is NOCOW on btrfs, the folder is not: `cp --reflink=always` fails here.
            run("sync", &["-f", fs.dir.to_str().unwrap()]);
            let before = free(&fs);
            let shared = clone(fs.at("shared.qcow2"), &base, How::Reflink);
            shared.make().unwrap_or_else(|e| panic!("{kind}: {e}"));
            run("sync", &["-f", fs.dir.to_str().unwrap()]);
            assert!(before.saturating_sub(free(&fs)) * 10 < copy_cost, "{kind}");
            assert_eq!(is_nocow(&shared.path), kind == "btrfs");
            disks.push(shared.path.clone());
        }
        // Each has the base's contents, and none writes to another.
        for (n, path) in disks.iter().enumerate() {
            assert!(holds(path, 7), "{kind}: {}", path.display());
            qemu_io(path, &format!("write -P {} 0 1M", n + 20));
        }
        for (n, path) in disks.iter().enumerate() {
            assert!(holds(path, n as u8 + 20), "{kind}: {}", path.display());
        }
        assert!(holds(&base, 7), "{kind}: a clone wrote to the base");
    }
}

#[test]
fn a_reflink_of_an_ordinary_file_into_a_folder_without_copy_on_write() {
    let fs = Mounted::new("btrfs");
    let plain = fs.at("plain.qcow2");
    run("qemu-img", &["create", "-q", "-f", "qcow2", plain.to_str().unwrap(), "64M"]);
    qemu_io(&plain, "write -P 7 0 1M");
    let folder = Folder { lab: "demo".into(), path: fs.at("lab") };
    folder.make().unwrap();
    assert!(folder.set_nocow().unwrap());
    assert!(is_nocow(&folder.path));
    let shared = clone(folder.path.join("a.qcow2"), &plain, How::Reflink);
    shared.make().unwrap();
    assert!(holds(&shared.path, 7));
}

#[test]
fn two_file_systems_share_no_blocks() {
    let (one, two) = (Mounted::new("xfs"), Mounted::new("xfs"));
    let base = base(one.at("base.qcow2"));
    let facts = clone_facts(&base, &two.dir).unwrap();
    let said = facts.reflink.unwrap_err();
    assert!(said.contains("another file system"), "{said}");
    assert!(clone(two.at("a.qcow2"), &base, How::Reflink).make().is_err());
    clone(two.at("a.qcow2"), &base, How::Linked).make().unwrap();
    assert!(holds(&two.at("a.qcow2"), 7));
}

#[test]
fn a_base_is_kept_while_something_stands_on_it() {
    let home = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(home.path()).unwrap();
    let base = base(dir.join("base.qcow2"));
    fs::set_permissions(&base, Permissions::from_mode(0o640)).unwrap();
    let (one, two) = (clone(dir.join("h1.qcow2"), &base, How::Linked), clone(dir.join("h2.qcow2"), &base, How::Linked));
    assert_eq!(one.make().unwrap(), Made::New);
    assert_eq!(one.make().unwrap(), Made::Reused);
    two.make().unwrap();
    assert_eq!(mode(&base), 0o444);
    let error = remove_base(&base, "demo").unwrap_err();
    assert!(matches!(error, DiskError::BaseInUse { .. }));
    assert!(error.to_string().contains("h1.qcow2") && error.to_string().contains("h2.qcow2"), "{error}");
    assert!(Thing::Disk(disk(base.clone(), 8 << 30)).unmake().is_err());
    one.unmake().unwrap();
    one.unmake().unwrap();
    assert_eq!(mode(&base), 0o444);
    assert_eq!(users(&base).unwrap(), [Holder::Disk { path: two.path.clone(), lab: "demo".into() }]);
    // A clone of a clone is counted at the clone.
    let deep = clone(dir.join("deep.qcow2"), &two.path, How::Linked);
    deep.make().unwrap();
    assert!(matches!(two.unmake(), Err(DiskError::BaseInUse { .. })));
    deep.unmake().unwrap();
    two.unmake().unwrap();
    assert_eq!(mode(&base), 0o640);
    assert_eq!(names(&dir), ["base.qcow2"]);
    remove_base(&base, "demo").unwrap();
    remove_base(&base, "demo").unwrap();
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn a_kill_between_two_steps_is_put_right() {
    let home = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(home.path()).unwrap();
    let base = base(dir.join("base.qcow2"));
    let one = clone(dir.join("h1.qcow2"), &base, How::Linked);
    one.make().unwrap();
    // Killed after the disk was removed, before its entry was.
    fs::remove_file(&one.path).unwrap();
    one.unmake().unwrap();
    assert_eq!(users(&base).unwrap(), []);
    assert_eq!(names(&dir), ["base.qcow2"]);
    // Killed after the entry was made, before the disk was: what is half made is made again.
    one.make().unwrap();
    fs::rename(&one.path, dir.join(".h1.qcow2.demo.esxprep-part")).unwrap();
    assert_eq!(one.make().unwrap(), Made::New);
    assert_eq!(names(&dir), [".base.qcow2.esxprep-users.json", "base.qcow2", "h1.qcow2"]);
    // The register is lost: it is found again from the disks.
    fs::remove_file(dir.join(".base.qcow2.esxprep-users.json")).unwrap();
    let other = dir.join("other.qcow2");
    disk(other.clone(), MIB).make().unwrap();
    let candidates = [(one.path.clone(), "demo".to_owned()), (other, "demo".to_owned())];
    let found = verify(&base, &candidates).unwrap();
    let holder = Holder::Disk { path: one.path.clone(), lab: "demo".into() };
    assert_eq!((found.added, found.holders), (vec![holder.clone()], vec![holder.clone()]));
    assert!(matches!(remove_base(&base, "demo"), Err(DiskError::BaseInUse { .. })));
    // A listed disk that stands on something else by now is no user.
    run("qemu-img", &["rebase", "-q", "-u", "-b", "", one.path.to_str().unwrap()]);
    let found = verify(&base, &[]).unwrap();
    assert_eq!((found.dropped, found.holders), (vec![holder], vec![]));
    remove_base(&base, "demo").unwrap();
}

#[test]
fn a_base_that_was_written_to_is_told() {
    let home = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(home.path()).unwrap();
    let base = base(dir.join("base.qcow2"));
    let keep = ReadOnlyBase { lab: "demo".into(), path: base.clone() };
    assert_eq!(keep.make().unwrap(), Made::New);
    assert_eq!(keep.make().unwrap(), Made::Reused);
    clone(dir.join("h1.qcow2"), &base, How::Linked).make().unwrap();
    qemu_io(&base, "write -P 9 0 1M");
    let error = clone(dir.join("h2.qcow2"), &base, How::Linked).make().unwrap_err();
    assert!(matches!(error, DiskError::BaseChanged { .. }), "{error}");
    assert!(error.to_string().contains("h1.qcow2"), "{error}");
    assert!(matches!(verify(&base, &[]), Err(DiskError::BaseChanged { .. })));
    assert!(!dir.join("h2.qcow2").exists());
}

#[test]
fn nothing_that_bears_no_sign_is_touched() {
    let home = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(home.path()).unwrap();
    let base = base(dir.join("base.qcow2"));
    let theirs = dir.join("theirs.qcow2");
    run("qemu-img", &["create", "-q", "-f", "qcow2", theirs.to_str().unwrap(), "8G"]);
    let before = fs::read(&theirs).unwrap();
    let mut things: Vec<_> =
        [How::Linked, How::Reflink, How::Full].map(|how| Thing::Clone(clone(theirs.clone(), &base, how))).into();
    things.push(Thing::Disk(disk(theirs.clone(), 8 << 30)));
    for thing in things {
        assert!(thing.make().unwrap_err().is_not_ours(), "{thing:?}");
        assert!(thing.unmake().unwrap_err().is_not_ours(), "{thing:?}");
    }
    assert_eq!(fs::read(&theirs).unwrap(), before);
    assert_eq!(users(&base).unwrap(), []);
    assert_eq!(names(&dir), ["base.qcow2", "theirs.qcow2"]);
    // Another lab of esxprep is another, too.
    let other = Disk { lab: "other".into(), ..disk(base.clone(), 8 << 30) };
    assert!(other.make().unwrap_err().to_string().contains("of lab `demo`"));
    assert!(other.unmake().unwrap_err().is_not_ours());
}

#[test]
fn what_is_ours_but_not_as_wanted_is_said() {
    let home = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(home.path()).unwrap();
    let (one, two) = (base(dir.join("one.qcow2")), base(dir.join("two.qcow2")));
    let larger = disk(one.clone(), 9 << 30);
    let error = larger.make().unwrap_err();
    assert!(matches!(error, DiskError::Differs { .. }) && error.to_string().contains("9663676416"), "{error}");
    clone(dir.join("h1.qcow2"), &one, How::Linked).make().unwrap();
    let error = clone(dir.join("h1.qcow2"), &two, How::Linked).make().unwrap_err().to_string();
    assert!(error.contains("one.qcow2, not on") && error.contains("two.qcow2"), "{error}");
    assert_eq!(users(&two).unwrap(), []);
    let raw = CloneDisk { base_format: "raw".into(), ..clone(dir.join("h2.qcow2"), &one, How::Linked) };
    assert!(raw.make().unwrap_err().to_string().contains("its format is qcow2, not raw"));
}

#[test]
fn a_clone_can_be_larger_and_never_smaller() {
    let home = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(home.path()).unwrap();
    let base = base(dir.join("base.qcow2"));
    for how in [How::Linked, How::Full] {
        let sized = |size| CloneDisk { size: Some(size), ..clone(dir.join(format!("{how:?}.qcow2")), &base, how) };
        assert!(matches!(sized(4 << 30).make(), Err(DiskError::Shrink { .. })), "{how}");
        let larger = sized(20 << 30);
        larger.make().unwrap();
        assert_eq!(QemuImg::default().info(&larger.path).unwrap().virtual_size, 20 << 30);
        assert_eq!(larger.make().unwrap(), Made::Reused);
    }
    assert!(matches!(QemuImg::default().grow(&dir.join("Full.qcow2"), MIB), Err(DiskError::Shrink { .. })));
}

#[test]
fn a_copy_of_a_clone_stands_on_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(home.path()).unwrap();
    let base = base(dir.join("base.qcow2"));
    let linked = clone(dir.join("h1.qcow2"), &base, How::Linked);
    linked.make().unwrap();
    qemu_io(&linked.path, "write -P 9 4M 1M");
    let facts = clone_facts(&linked.path, &dir).unwrap();
    assert!(facts.stands_on_another && facts.copy_bytes == 8 << 30);
    let copy = clone(dir.join("copy.qcow2"), &linked.path, How::Full);
    copy.make().unwrap();
    let info = QemuImg::default().info(&copy.path).unwrap();
    assert_eq!(info.backing_as_written, None);
    linked.unmake().unwrap();
    remove_base(&base, "demo").unwrap();
    assert!(holds(&copy.path, 7));
    assert!(!qemu_io(&copy.path, "read -P 9 4M 1M").contains("failed"));
}

#[test]
fn snapshots_of_a_disk_that_is_not_running() {
    let home = tempfile::tempdir().unwrap();
    let path = base(fs::canonicalize(home.path()).unwrap().join("d.qcow2"));
    let q = QemuImg::default();
    q.snapshot_create(&path, "before").unwrap();
    assert!(q.snapshot_create(&path, "before").unwrap_err().to_string().contains("one of this name"));
    assert!(q.snapshot_create(&path, "12").is_err() && q.snapshot_create(&path, "-c").is_err());
    qemu_io(&path, "write -P 9 0 1M");
    assert!(holds(&path, 9));
    let listed = q.snapshots(&path).unwrap();
    assert_eq!(listed.iter().map(|s| (s.name.as_str(), s.vm_state_size)).collect::<Vec<_>>(), [("before", 0)]);
    q.snapshot_apply(&path, "before").unwrap();
    assert!(holds(&path, 7));
    let error = q.snapshot_apply(&path, "never").unwrap_err();
    assert!(matches!(error, DiskError::QemuImg { .. }) && error.to_string().contains("snapshot -a never"), "{error}");
    q.snapshot_delete(&path, "before").unwrap();
    q.snapshot_delete(&path, "before").unwrap();
    assert_eq!(q.snapshots(&path).unwrap(), []);
    assert!(!q.check(&path).unwrap().is_damaged());
}

#[test]
fn damage_is_found() {
    let home = tempfile::tempdir().unwrap();
    let path = base(fs::canonicalize(home.path()).unwrap().join("d.qcow2"));
    assert!(!QemuImg::default().check(&path).unwrap().is_damaged());
    // The block of reference counts is in the third cluster of a new image (its place is in the table of the second).
    let table = u64::from_be_bytes(fs::read(&path).unwrap()[48..56].try_into().unwrap());
    let bytes = fs::read(&path).unwrap();
    let block = u64::from_be_bytes(bytes[table as usize..][..8].try_into().unwrap());
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 64], block).unwrap();
    assert!(QemuImg::default().check(&path).unwrap().is_damaged());
    let error = QemuImg::default().check(&path.with_file_name("none.qcow2")).unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
}

#[test]
fn a_disk_in_use_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(home.path()).unwrap();
    let path = base(dir.join("d.qcow2"));
    let socket = dir.join("nbd");
    let server = Command::new("qemu-nbd")
        .args(["-f", "qcow2", "-t", "-k"])
        .args([&socket, &path])
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("`qemu-nbd` cannot be started ({e}): install qemu-utils"));
    let _server = Running(server);
    let until = Instant::now() + Duration::from_secs(60);
    while !socket.exists() {
        assert!(Instant::now() < until, "qemu-nbd does not open the disk");
        std::thread::sleep(Duration::from_millis(20));
    }
    let q = QemuImg::default();
    assert_eq!(q.usage(&path).unwrap().virtual_bytes, 8 << 30);
    for error in [
        clone_facts(&path, &dir).unwrap_err(),
        q.grow(&path, 9 << 30).unwrap_err(),
        q.snapshot_create(&path, "s").unwrap_err(),
        q.snapshot_apply(&path, "s").unwrap_err(),
        clone(dir.join("h1.qcow2"), &path, How::Full).make().unwrap_err(),
        clone(dir.join("h1.qcow2"), &path, How::Linked).make().unwrap_err(),
    ] {
        assert!(matches!(error, DiskError::InUse { .. }), "{error}");
    }
    assert!(!dir.join("h1.qcow2").exists());
}

#[test]
fn signs_without_extended_attributes() {
    let fs = Mounted::without_attributes();
    let folder = Folder { lab: "demo".into(), path: fs.at("lab") };
    assert_eq!((folder.make().unwrap(), folder.make().unwrap()), (Made::New, Made::Reused));
    let disk = disk(folder.path.join("d.qcow2"), MIB);
    assert_eq!((disk.make().unwrap(), disk.make().unwrap()), (Made::New, Made::Reused));
    assert_eq!(owner_of(&disk.path).unwrap().as_deref(), Some("demo"));
    assert_eq!(names(&folder.path), [".d.qcow2.esxprep-sign", "d.qcow2"]);
    // Another file under the same name is another.
    let moved = folder.path.join("moved");
    fs::rename(&disk.path, &moved).unwrap();
    fs::write(&disk.path, "theirs").unwrap();
    assert!(disk.unmake().unwrap_err().is_not_ours());
    fs::rename(&moved, &disk.path).unwrap();
    disk.unmake().unwrap();
    folder.unmake().unwrap();
    assert_eq!(names(&fs.dir), [""; 0]);
}

/// What a killed run does: it makes and unmakes disks in the folder that the environment names, without end.
/// Started as a test it finds no such name, and has nothing to do.
#[test]
fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var("LAB_DISK_KILLED") else { return };
    let things = disks_in(Path::new(&dir));
    loop {
        make_all(&things);
        things.iter().rev().for_each(|t| t.unmake().unwrap());
    }
}

fn make_all(things: &[Thing]) {
    for thing in things {
        thing.make().unwrap_or_else(|e| panic!("{thing:?}: {e}"));
    }
}

fn disks_in(dir: &Path) -> Vec<Thing> {
    let base = dir.join("base.qcow2");
    let lab = dir.join("lab");
    vec![
        Thing::Folder(Folder { lab: "demo".into(), path: lab.clone() }),
        Thing::Disk(disk(lab.join("data.qcow2"), 1 << 40)),
        Thing::ReadOnlyBase(ReadOnlyBase { lab: "demo".into(), path: base.clone() }),
        Thing::Clone(clone(lab.join("h1.qcow2"), &base, How::Linked)),
        Thing::Clone(clone(lab.join("h2.qcow2"), &base, How::Full)),
    ]
}

#[test]
fn killed_at_any_moment_both_ways_on_are_clean() {
    let home = tempfile::tempdir().unwrap();
    let dir = fs::canonicalize(home.path()).unwrap();
    let base = base(dir.join("base.qcow2"));
    fs::set_permissions(&base, Permissions::from_mode(0o640)).unwrap();
    let things = disks_in(&dir);
    for n in 0..24u64 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_that_is_killed"])
            .env("LAB_DISK_KILLED", &dir)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let child = Running(child);
        std::thread::sleep(Duration::from_millis(15 + n * 13));
        drop(child);
        if n % 2 == 0 {
            make_all(&things);
            assert_eq!(mode(&base), 0o444);
            assert_eq!(users(&base).unwrap().len(), 2);
        }
        things.iter().rev().for_each(|t| t.unmake().unwrap_or_else(|e| panic!("{n}: {t:?}: {e}")));
        assert_eq!((names(&dir), mode(&base)), (vec!["base.qcow2".to_owned()], 0o640), "{n}");
    }
}
