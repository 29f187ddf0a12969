//! Fake machines in temporary folders, and what is said of them.

mod fixing;
mod gathering;
mod here;
mod judging;
mod resources;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A folder that stands for `/`.
struct Tree {
    root: tempfile::TempDir,
    programs: Answers,
}

/// Programs with ready answers; those without are not installed.
#[derive(Default)]
struct Answers(BTreeMap<String, Said>);

impl Commands for Answers {
    fn find(&self, program: &str) -> Option<PathBuf> {
        let asked = |key: &String| key.split(' ').next() == Some(program);
        self.0.keys().any(asked).then(|| Path::new("/usr/bin").join(program))
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> Said {
        let line = format!("{program} {}", arguments.join(" "));
        match (self.0.get(&line), self.find(program)) {
            (Some(said), _) => said.clone(),
            (None, Some(_)) => Said::Failed("exit status: 1: no such answer".to_owned()),
            (None, None) => Said::Missing,
        }
    }
}

impl Tree {
    /// A machine with this processor, 8 GiB of which 6 are available, and QEMU 10.0.2.
    fn new(vendor: &str, flags: &str) -> Self {
        let mut tree = Self { root: tempfile::tempdir().unwrap(), programs: Answers::default() };
        let block = |n: u32| {
            format!(
                "processor\t: {n}\nvendor_id\t: {vendor}\nmodel name\t: Test CPU\nflags\t\t: fpu vme {flags} lm\nbugs\t\t: svm_like vmx_like\n\n"
            )
        };
        tree.put("proc/cpuinfo", &(0..4).map(block).collect::<String>());
        tree.put(
            "proc/meminfo",
            "MemTotal:        8388608 kB\nMemFree:  10 kB\nMemAvailable:    6291456 kB\nSwapFree: 0 kB\n",
        );
        tree.put("proc/sys/kernel/osrelease", "6.1.0-56-amd64\n");
        tree.put("proc/self/mountinfo", "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n");
        tree.put("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
        tree.put("etc/os-release", "ID=debian\n");
        tree.says(
            "qemu-system-x86_64 --version",
            "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\n",
        );
        tree.says("qemu-system-x86_64 -accel help", "Accelerators supported in QEMU binary:\ntcg\nkvm\n");
        tree.says("qemu-img --version", "");
        tree.says("ip -j link", "[]");
        tree.says("bridge -j fdb", "[]");
        tree.says("ip -j neigh", "[]");
        tree
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn says(&mut self, line: &str, text: &str) {
        self.programs.0.insert(line.to_owned(), Said::Text(text.to_owned()));
    }

    /// A loadable module with its parameters.
    fn module(&self, name: &str, refcnt: u32, parameters: &[(&str, &str)]) {
        self.put(&format!("sys/module/{name}/initstate"), "live\n");
        self.put(&format!("sys/module/{name}/refcnt"), &format!("{refcnt}\n"));
        for (parameter, value) in parameters {
            self.put(&format!("sys/module/{name}/parameters/{parameter}"), &format!("{value}\n"));
        }
    }

    fn machine(&self) -> Machine {
        gather(self.path(), &self.programs, Some(Path::new("/srv/lab")))
    }
}

/// Intel with everything as nested ESXi wants it.
fn intel() -> Tree {
    let tree = Tree::new("GenuineIntel", "vmx ept");
    tree.module("kvm", 1, &[("ignore_msrs", "Y"), ("report_ignored_msrs", "N")]);
    tree.module("kvm_intel", 0, &[("nested", "Y"), ("ept", "Y")]);
    tree.put("etc/modprobe.d/kvm.conf", "options kvm ignore_msrs=1 report_ignored_msrs=0\n");
    tree.put("dev/kvm", "");
    tree
}

/// Two ESXi hosts of 2 GiB and 2 CPUs.
fn two_hosts() -> Need {
    let guest =
        |name: &str| GuestNeed { name: name.to_owned(), memory_mib: 2048, vcpus: 2, esxi: Some("8.0".to_owned()) };
    Need { guests: vec![guest("h1"), guest("h2")], ..Need::default() }
}

/// The one finding of this id.
fn only<'a>(findings: &'a [Finding], id: &str) -> &'a Finding {
    let found: Vec<&Finding> = findings.iter().filter(|f| f.id == id).collect();
    match found.as_slice() {
        [finding] => finding,
        other => panic!("{} findings {id} in {findings:#?}", other.len()),
    }
}

fn none(findings: &[Finding], id: &str) {
    assert!(findings.iter().all(|f| f.id != id), "{id} in {findings:#?}");
}
