//! `--fix` and `--undo`: there and back, whenever the process dies.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::fix::OUR_FILE;
use super::*;

/// Hands on a fake machine: its kernel prints `Y` for `1` and knows modprobe. They die before or after an act.
struct FakeHands {
    root: PathBuf,
    undo_file: PathBuf,
    real: RealHands,
    is_root: bool,
    nocow: BTreeSet<PathBuf>,
    acts: usize,
    die_before: Option<usize>,
    die_after: Option<usize>,
    stubborn: bool,
}

impl FakeHands {
    fn new(tree: &Tree) -> Self {
        Self {
            root: tree.path().to_owned(),
            undo_file: undo_file(tree),
            real: RealHands::default(),
            is_root: true,
            nocow: BTreeSet::new(),
            acts: 0,
            die_before: None,
            die_after: None,
            stubborn: false,
        }
    }

    /// One act; the undo file is on the disk before each.
    fn act<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        assert!(self.undo_file.exists(), "nothing is changed before the way back is written down");
        if self.die_before == Some(self.acts) {
            panic!("killed");
        }
        let result = act(self);
        if self.die_after == Some(self.acts) {
            panic!("killed");
        }
        self.acts += 1;
        result
    }

    fn modprobe(&mut self, arguments: &[&str]) -> Result<(), String> {
        let modules = self.root.join("sys/module");
        match arguments {
            ["-r", module] => {
                let shelf = self.root.join("shelf");
                fs::create_dir_all(&shelf).unwrap();
                fs::rename(modules.join(module), shelf.join(module)).map_err(|e| format!("FATAL: {e}"))
            }
            [module, option] => {
                fs::rename(self.root.join("shelf").join(module), modules.join(module))
                    .map_err(|e| format!("FATAL: {e}"))?;
                let (name, value) = option.split_once('=').unwrap();
                fs::write(modules.join(module).join("parameters").join(name), kernel(value)).unwrap();
                Ok(())
            }
            other => Err(format!("unknown {other:?}")),
        }
    }
}

fn kernel(value: &str) -> &str {
    match value {
        "1" | "Y" => "Y\n",
        "0" | "N" => "N\n",
        _ => value,
    }
}

impl Hands for FakeHands {
    fn is_root(&self) -> bool {
        self.is_root
    }
    fn write(&mut self, path: &Path, value: &str) -> io::Result<()> {
        self.act(|s| if s.stubborn { Ok(()) } else { s.real.write(path, kernel(value)) })
    }
    fn replace(&mut self, path: &Path, text: &str) -> io::Result<()> {
        self.act(|s| s.real.replace(path, text))
    }
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.act(|s| s.real.remove(path))
    }
    fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        self.act(|s| s.real.make_folder(path))
    }
    fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        self.act(|s| s.real.remove_folder(path))
    }
    fn run(&mut self, program: &str, arguments: &[&str]) -> Result<(), String> {
        assert_eq!(program, "modprobe");
        self.act(|s| s.modprobe(arguments))
    }
    fn nocow(&self, folder: &Path) -> io::Result<bool> {
        Ok(self.nocow.contains(folder))
    }
    fn set_nocow(&mut self, folder: &Path, on: bool) -> io::Result<()> {
        self.act(|s| if on { s.nocow.insert(folder.to_owned()) } else { s.nocow.remove(folder) });
        Ok(())
    }
}

fn undo_file(tree: &Tree) -> PathBuf {
    tree.path().join("state/doctor-undo.json")
}

/// Intel with nothing as it should be, and a folder on btrfs.
fn bad() -> Tree {
    let tree = intel();
    fs::remove_dir_all(tree.path().join("etc/modprobe.d")).unwrap();
    tree.module("kvm", 1, &[("ignore_msrs", "N"), ("report_ignored_msrs", "Y")]);
    tree.module("kvm_intel", 0, &[("nested", "N"), ("ept", "Y")]);
    tree.put("proc/self/mountinfo", "27 1 0:9 / / rw - btrfs /dev/vda rw\n");
    fs::create_dir_all(tree.path().join("srv/lab")).unwrap();
    fs::create_dir(tree.path().join("state")).unwrap();
    tree
}

fn wanted(tree: &Tree) -> Vec<Fix> {
    let mut machine = tree.machine();
    machine.folder.as_mut().unwrap().nocow = Some(false);
    fixes(&examine(&machine, &two_hosts()))
}

/// Every file with its text, every folder; `shelf` is where the fake modprobe keeps modules.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, Option<String>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if name == Path::new("shelf") {
                continue;
            }
            let text = (!path.is_dir()).then(|| fs::read_to_string(&path).unwrap());
            if path.is_dir() {
                todo.push(path);
            }
            found.insert(name, text);
        }
    }
    found
}

fn read(tree: &Tree, path: &str) -> String {
    fs::read_to_string(tree.path().join(path)).unwrap()
}

fn applied(tree: &Tree, hands: &mut FakeHands) -> Vec<Applied> {
    apply(tree.path(), &undo_file(tree), &wanted_once(tree), hands).unwrap()
}

/// The fixes of the machine as it was, whatever became of it since.
fn wanted_once(_: &Tree) -> Vec<Fix> {
    wanted(&bad())
}

#[test]
fn there_and_back() {
    let tree = bad();
    let before = snapshot(tree.path());
    let mut hands = FakeHands::new(&tree);
    assert_eq!(wanted(&tree).len(), 7, "{:?}", wanted(&tree));
    let done = applied(&tree, &mut hands);
    assert!(done.iter().all(|a| matches!(a.outcome, Outcome::Done)), "{done:#?}");
    assert_eq!(read(&tree, "sys/module/kvm/parameters/ignore_msrs"), "Y\n");
    assert_eq!(read(&tree, "sys/module/kvm/parameters/report_ignored_msrs"), "N\n");
    assert_eq!(read(&tree, "sys/module/kvm_intel/parameters/nested"), "Y\n");
    let ours = read(&tree, OUR_FILE);
    assert!(ours.starts_with('#'));
    for line in ["options kvm ignore_msrs=1\n", "options kvm report_ignored_msrs=0\n", "options kvm_intel nested=1\n"] {
        assert!(ours.contains(line), "{ours}");
    }
    assert_eq!(hands.nocow.len(), 1);
    // The doctor has no more to say about them.
    let left = wanted(&tree);
    assert!(left.iter().all(|f| matches!(f, Fix::NoCow { .. })), "{left:?}");

    // Again: nothing is done twice, and the way back is still the first one.
    let acts = hands.acts;
    let again = applied(&tree, &mut hands);
    assert!(again.iter().all(|a| matches!(a.outcome, Outcome::AlreadySo)), "{again:#?}");
    assert_eq!(hands.acts, acts);

    let undone = undo(tree.path(), &undo_file(&tree), &mut hands).unwrap();
    assert!(undone.iter().all(|u| matches!(u.how, UndoneHow::Restored)), "{undone:#?}");
    assert_eq!(snapshot(tree.path()), before);
    assert!(hands.nocow.is_empty());
    assert!(undo(tree.path(), &undo_file(&tree), &mut hands).unwrap().is_empty(), "a second time there is nothing");
    assert_eq!(snapshot(tree.path()), before);
}

#[test]
fn killed_at_any_moment_of_fix_it_can_go_back_or_on() {
    let total = {
        let tree = bad();
        let mut hands = FakeHands::new(&tree);
        applied(&tree, &mut hands);
        hands.acts
    };
    assert!(total >= 8, "{total}");
    for act in 0..total {
        for after in [false, true] {
            for go_on in [false, true] {
                let tree = bad();
                let before = snapshot(tree.path());
                let mut hands = FakeHands::new(&tree);
                if after {
                    hands.die_after = Some(act)
                } else {
                    hands.die_before = Some(act)
                }
                let killed = catch_unwind(AssertUnwindSafe(|| applied(&tree, &mut hands)));
                assert!(killed.is_err(), "act {act} was never reached");
                (hands.die_before, hands.die_after) = (None, None);
                if go_on {
                    let done = applied(&tree, &mut hands);
                    assert!(
                        !done.iter().any(|a| matches!(a.outcome, Outcome::Failed(_))),
                        "act {act}, {after}: {done:#?}"
                    );
                    assert_eq!(read(&tree, "sys/module/kvm_intel/parameters/nested"), "Y\n");
                    assert!(read(&tree, OUR_FILE).contains("nested=1"));
                }
                let undone = undo(tree.path(), &undo_file(&tree), &mut hands).unwrap();
                assert!(
                    undone.iter().all(|u| matches!(u.how, UndoneHow::Restored | UndoneHow::AlreadySo)),
                    "act {act}, {after}, {go_on}: {undone:#?}"
                );
                assert!(undone.len() <= 7, "an entry that was never carried out is not kept beside its successor");
                assert_eq!(snapshot(tree.path()), before, "act {act}, after it: {after}, went on: {go_on}");
                assert!(hands.nocow.is_empty());
            }
        }
    }
}

#[test]
fn killed_at_any_moment_of_undo_it_goes_on() {
    let mut act = 0;
    loop {
        let mut reached = false;
        for after in [false, true] {
            let tree = bad();
            let before = snapshot(tree.path());
            let mut hands = FakeHands::new(&tree);
            applied(&tree, &mut hands);
            hands.acts = 0;
            if after {
                hands.die_after = Some(act)
            } else {
                hands.die_before = Some(act)
            }
            let killed = catch_unwind(AssertUnwindSafe(|| undo(tree.path(), &undo_file(&tree), &mut hands).unwrap()));
            reached = killed.is_err();
            (hands.die_before, hands.die_after) = (None, None);
            undo(tree.path(), &undo_file(&tree), &mut hands).unwrap();
            assert_eq!(snapshot(tree.path()), before, "act {act}, after it: {after}");
            assert!(hands.nocow.is_empty());
        }
        if !reached {
            break;
        }
        act += 1;
    }
    assert!(act >= 8, "{act}");
}

#[test]
fn our_file_from_before_comes_back_as_it_was() {
    let tree = bad();
    tree.put(OUR_FILE, "# kept by hand\noptions kvm ignore_msrs=0 # no comment here");
    let before = snapshot(tree.path());
    let mut hands = FakeHands::new(&tree);
    applied(&tree, &mut hands);
    assert!(read(&tree, OUR_FILE).starts_with("# kept by hand\noptions kvm ignore_msrs=1 # no comment here\n"));
    undo(tree.path(), &undo_file(&tree), &mut hands).unwrap();
    assert_eq!(snapshot(tree.path()), before);
}

#[test]
fn without_root_the_rest_is_done_and_said_before() {
    let tree = bad();
    let mut hands = FakeHands::new(&tree);
    hands.is_root = false;
    let all = wanted(&tree);
    let said = announce(&all, false);
    let (now, left) = said.split_once("Takes root").unwrap();
    assert!(now.contains("chattr +C /srv/lab") && !now.contains("ignore_msrs"), "{said}");
    assert!(
        left.contains("write 1 to /sys/module/kvm/parameters/ignore_msrs") && left.contains("unload kvm_intel"),
        "{said}"
    );
    assert!(!announce(&all, true).contains("Takes root"));
    let done = apply(tree.path(), &undo_file(&tree), &all, &mut hands).unwrap();
    for Applied { fix, outcome } in &done {
        let as_said = match fix {
            Fix::NoCow { .. } => matches!(outcome, Outcome::Done),
            _ => matches!(outcome, Outcome::Failed(FixError::NotRoot)),
        };
        assert!(as_said, "{fix:?}: {outcome:?}");
    }
    assert_eq!(read(&tree, "sys/module/kvm/parameters/ignore_msrs"), "N\n");
    let text = applied_text(&done);
    assert!(text.contains("done        chattr +C /srv/lab\n") && text.contains("NOT DONE    write 1 to"), "{text}");
    let value = serde_json::to_value(&done).unwrap();
    assert_eq!(
        value[0],
        serde_json::json!({"fix": {"do": "no_cow", "folder": "/srv/lab"}, "outcome": "done", "problem": null})
    );
    assert_eq!(value[1]["problem"], "it takes root; run the same command as root");
    // What root fixed, a user cannot put back, and it stays in the undo file.
    hands.is_root = true;
    applied(&tree, &mut hands);
    hands.is_root = false;
    let undone = undo(tree.path(), &undo_file(&tree), &mut hands).unwrap();
    assert!(undone.iter().any(|u| matches!(u.how, UndoneHow::Failed(FixError::NotRoot))), "{undone:?}");
    let text = undone_text(&undone);
    assert!(
        text.contains("taken back  chattr +C /srv/lab\n") && text.contains("NOT YET     unload kvm_intel"),
        "{text}"
    );
    hands.is_root = true;
    undo(tree.path(), &undo_file(&tree), &mut hands).unwrap();
    assert_eq!(read(&tree, "sys/module/kvm_intel/parameters/nested"), "N\n");
    assert!(!undo_file(&tree).exists());
}

#[test]
fn a_module_that_got_users_meanwhile_is_not_touched() {
    let tree = bad();
    let mut hands = FakeHands::new(&tree);
    let all = wanted(&tree);
    tree.put("sys/module/kvm_intel/refcnt", "2\n");
    let done = apply(tree.path(), &undo_file(&tree), &all, &mut hands).unwrap();
    let reload = done.iter().find(|a| matches!(a.fix, Fix::Reload { .. })).unwrap();
    assert!(
        matches!(&reload.outcome, Outcome::Failed(FixError::InUse { users, .. }) if users == "2 users"),
        "{reload:?}"
    );
    assert_eq!(read(&tree, "sys/module/kvm_intel/parameters/nested"), "N\n");
    // Undo waits for the users too, and is finished later.
    tree.put("sys/module/kvm_intel/refcnt", "0\n");
    applied(&tree, &mut hands);
    tree.put("sys/module/kvm_intel/refcnt", "1\n");
    let undone = undo(tree.path(), &undo_file(&tree), &mut hands).unwrap();
    assert!(matches!(&undone[0].how, UndoneHow::Failed(FixError::InUse { .. })), "{undone:?}");
    assert_eq!(read(&tree, "sys/module/kvm/parameters/ignore_msrs"), "N\n", "the rest is put back");
    tree.put("sys/module/kvm_intel/refcnt", "0\n");
    let undone = undo(tree.path(), &undo_file(&tree), &mut hands).unwrap();
    assert_eq!(undone.len(), 1);
    assert_eq!(read(&tree, "sys/module/kvm_intel/parameters/nested"), "N\n");
}

#[test]
fn what_others_changed_since_is_left_to_them() {
    let tree = bad();
    let mut hands = FakeHands::new(&tree);
    applied(&tree, &mut hands);
    tree.put("sys/module/kvm/parameters/ignore_msrs", "7\n");
    let mine = read(&tree, OUR_FILE) + "options kvm halt_poll_ns=0\n";
    tree.put(OUR_FILE, &mine);
    let undone = undo(tree.path(), &undo_file(&tree), &mut hands).unwrap();
    let left = undone.iter().filter(|u| matches!(u.how, UndoneHow::LeftAlone(_))).count();
    assert_eq!(left, 1, "{undone:#?}");
    assert_eq!(read(&tree, "sys/module/kvm/parameters/ignore_msrs"), "7\n");
    let rest = read(&tree, OUR_FILE);
    assert!(rest.contains("halt_poll_ns=0") && !rest.contains("ignore_msrs") && !rest.contains("nested"), "{rest}");
}

#[test]
fn a_kernel_that_keeps_its_value_is_found_out() {
    let tree = bad();
    let mut hands = FakeHands::new(&tree);
    hands.stubborn = true;
    let done = applied(&tree, &mut hands);
    let parameter = done.iter().find(|a| matches!(a.fix, Fix::Parameter { .. })).unwrap();
    assert!(
        matches!(&parameter.outcome, Outcome::Failed(FixError::NotTaken { now, .. }) if now == "N"),
        "{parameter:?}"
    );
}

#[test]
fn without_a_way_back_nothing_is_changed() {
    let tree = bad();
    let before = snapshot(tree.path());
    let mut hands = FakeHands::new(&tree);
    let all = wanted(&tree);
    tree.put("state/doctor-undo.json", "{\"format\": 1, \"entr");
    let error = apply(tree.path(), &undo_file(&tree), &all, &mut hands).unwrap_err();
    assert!(matches!(error, FixError::Damaged { .. }), "{error}");
    assert!(undo(tree.path(), &undo_file(&tree), &mut hands).is_err());
    tree.put("state/doctor-undo.json", "{\"format\": 2, \"entries\": []}");
    assert!(apply(tree.path(), &undo_file(&tree), &all, &mut hands).is_err());
    fs::remove_file(undo_file(&tree)).unwrap();
    // A folder in the file's place: it cannot be written.
    fs::create_dir(undo_file(&tree)).unwrap();
    assert!(apply(tree.path(), &undo_file(&tree), &all, &mut hands).is_err());
    fs::remove_dir(undo_file(&tree)).unwrap();
    assert_eq!(hands.acts, 0);
    assert_eq!(snapshot(tree.path()), before);
    let lock = fs::File::open(tree.path().join("state")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(apply(tree.path(), &undo_file(&tree), &all, &mut hands), Err(FixError::Busy { .. })));
    assert_eq!(snapshot(tree.path()), before);
}

#[test]
fn a_folder_with_files_keeps_copy_on_write() {
    let tree = bad();
    let mut hands = FakeHands::new(&tree);
    let all = wanted(&tree);
    tree.put("srv/lab/disk.qcow2", "");
    let done = apply(tree.path(), &undo_file(&tree), &all, &mut hands).unwrap();
    assert!(matches!(done[0].outcome, Outcome::Failed(FixError::NotEmpty { .. })), "{done:#?}");
    assert!(hands.nocow.is_empty());
}

#[test]
fn a_link_in_place_of_our_file_is_refused() {
    let tree = bad();
    tree.put("etc/modprobe.d/others.conf", "# theirs\n");
    std::os::unix::fs::symlink("others.conf", tree.path().join(OUR_FILE)).unwrap();
    let done = applied(&tree, &mut FakeHands::new(&tree));
    assert!(done.iter().any(|a| matches!(a.outcome, Outcome::Failed(FixError::Link { .. }))), "{done:#?}");
    assert_eq!(read(&tree, "etc/modprobe.d/others.conf"), "# theirs\n");
}

#[test]
fn half_written_files_of_a_killed_run_go_too() {
    let tree = bad();
    let before = snapshot(tree.path());
    // Killed while the first entry was written.
    tree.put("state/.doctor-undo.json.new", "{\"form");
    let mut hands = FakeHands::new(&tree);
    assert!(undo(tree.path(), &undo_file(&tree), &mut hands).unwrap().is_empty());
    assert_eq!(snapshot(tree.path()), before);
    // Killed while our file was written: the entry is there, and the file is not.
    let modprobe: Vec<Fix> = wanted(&tree).into_iter().filter(|f| matches!(f, Fix::Modprobe { .. })).take(1).collect();
    hands.die_after = Some(0);
    let killed = catch_unwind(AssertUnwindSafe(|| apply(tree.path(), &undo_file(&tree), &modprobe, &mut hands)));
    assert!(killed.is_err(), "the folder was made, the file was not");
    tree.put("etc/modprobe.d/.esxprep.conf.new", "opti");
    hands.die_after = None;
    undo(tree.path(), &undo_file(&tree), &mut hands).unwrap();
    assert_eq!(snapshot(tree.path()), before);
}
