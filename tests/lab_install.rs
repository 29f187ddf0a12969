//! Rebuilt installer ISOs, seen by others: xorriso makes them, ISOLINUX under SeaBIOS boots them on QEMU (software
//! emulation), and what the boot loader prints is what was asked for. The ISOs have the shape of ESXi's: El Torito with
//! a BIOS and an UEFI entry, names in capitals, two boot files.
//!
//! Needs qemu-system-x86, xorriso, isolinux and syslinux-common; a missing one is a failure that names it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use esxprep::lab::install::iso::{Iso, IsoInfo, Platform, inspect};
use esxprep::lab::install::keys::{chords, has_changed};
use esxprep::lab::install::remaster::{
    IsoCache, RemasterError, RemasterSpec, Xorriso, cache_key, remaster, verify, xorriso_argv,
};
use esxprep::lab::install::screen::{Look, Screen};
use esxprep::lab::install::usb::fat16_image;
use tempfile::TempDir;

const CFG: &str = "bootstate=0\r\ntitle=Loading ESXi installer\r\ntimeout=5\r\nprefix=\r\nkernel=/b.b00\r\n\
kernelopt=runweasel cdromBoot\r\nmodules=/b.b00 --- /jumpstrt.gz --- /useropts.gz\r\nbuild=8.0.3-0.0.24022510\r\nupdated=0\r\n";
const KS: &str = "accepteula\nrootpw --iscrypted $6$x$y\ninstall --firstdisk --overwritevmfs\nreboot --noeject\n";
/// Prints the boot file on the serial port, then waits at the prompt.
const SHOW: &str = "SERIAL 0 115200\nDEFAULT show\nPROMPT 0\nLABEL show\nCOM32 cat.c32\nAPPEND BOOT.CFG\n";
/// Waits at the prompt at once.
const ASK: &str = "SERIAL 0 115200\nPROMPT 1\nTIMEOUT 0\n";
/// The longest wait for anything of a guest: only to end a test that would hang.
const PATIENCE: Duration = Duration::from_secs(240);

fn need(file: &str, package: &str) -> PathBuf {
    let path = PathBuf::from(file);
    assert!(path.exists(), "{file} is missing: install the package {package}");
    path
}

fn xorriso() -> Xorriso {
    Xorriso::find().expect("install the package xorriso")
}

fn run_xorriso(argv: &[std::ffi::OsString]) {
    let out = Command::new("xorriso").args(argv).output().expect("install the package xorriso");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// Makes the ISO `a.iso` in the folder.
fn build(dir: &Path, isolinux_cfg: &str) -> IsoInfo {
    let tree = dir.join("tree");
    fs::create_dir_all(tree.join("EFI/BOOT")).unwrap();
    fs::copy(need("/usr/lib/ISOLINUX/isolinux.bin", "isolinux"), tree.join("ISOLINUX.BIN")).unwrap();
    for module in ["ldlinux.c32", "cat.c32", "libcom32.c32", "libutil.c32"] {
        let file = need(&format!("/usr/lib/syslinux/modules/bios/{module}"), "syslinux-common");
        fs::copy(file, tree.join(module)).unwrap();
    }
    fs::write(tree.join("isolinux.cfg"), isolinux_cfg).unwrap();
    fs::write(tree.join("BOOT.CFG"), CFG).unwrap();
    fs::write(tree.join("EFI/BOOT/BOOT.CFG"), CFG.replace("timeout=5", "timeout=6")).unwrap();
    fs::write(tree.join("EFI/BOOT/BOOTX64.EFI"), b"MZ").unwrap();
    fs::write(tree.join("EFIBOOT.IMG"), &fat16_image("EFI", &[]).unwrap()[..1_474_560]).unwrap();
    fs::write(tree.join("B.B00"), vec![7; 300_000]).unwrap();
    let iso = dir.join("VMware-VMvisor-Installer-6.5.0.iso");
    let words = [
        "-as",
        "mkisofs",
        "-relaxed-filenames",
        "-R",
        "-V",
        "ESXI-8.0U3-24022510-STANDARD",
        "-b",
        "ISOLINUX.BIN",
        "-c",
        "BOOT.CAT",
        "-no-emul-boot",
        "-boot-load-size",
        "4",
        "-boot-info-table",
        "-eltorito-alt-boot",
        "-e",
        "EFIBOOT.IMG",
        "-no-emul-boot",
        "-o",
    ];
    let mut argv: Vec<std::ffi::OsString> = words.iter().map(Into::into).collect();
    argv.push(iso.clone().into());
    argv.push(tree.into());
    run_xorriso(&argv);
    inspect(&iso).unwrap()
}

fn lab(isolinux_cfg: &str) -> (TempDir, IsoInfo) {
    let dir = tempfile::tempdir().unwrap();
    let info = build(dir.path(), isolinux_cfg);
    (dir, info)
}

/// A guest that boots an ISO; killed when dropped.
struct Guest {
    child: Child,
    serial: PathBuf,
    qmp: PathBuf,
    dir: TempDir,
}

impl Guest {
    fn boot(iso: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("g").tempdir().unwrap();
        let (serial, qmp) = (dir.path().join("serial"), dir.path().join("qmp"));
        let child = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-machine", "pc", "-m", "64", "-nodefaults", "-no-user-config", "-vga", "std"])
            .args(["-display", "none", "-no-reboot", "-boot", "d", "-device", "ide-cd,drive=cd,bus=ide.0"])
            .arg("-drive")
            .arg(format!("file={},media=cdrom,format=raw,readonly=on,if=none,id=cd", iso.display()))
            .arg("-serial")
            .arg(format!("file:{}", serial.display()))
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", qmp.display()))
            .stdin(Stdio::null())
            .spawn()
            .expect("install the package qemu-system-x86");
        Self { child, serial, qmp, dir }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.serial).unwrap_or_default()).into_owned()
    }

    /// Waits until the serial port has said `text`; panics if the machine ends before.
    fn wait_for(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let said = self.said();
            if said.contains(text) {
                return said;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the machine ended without {text:?}: {said}");
            assert!(start.elapsed() < PATIENCE, "no {text:?} on the serial port: {said}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the machine ends (`-no-reboot`: at its first reset), and gives what it said.
    fn wait_end(&mut self, never: &str) -> String {
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(!self.said().contains(never), "it did boot: {}", self.said());
            assert!(start.elapsed() < PATIENCE, "it neither booted nor ended: {}", self.said());
            std::thread::sleep(Duration::from_millis(100));
        }
        self.said()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Just enough QMP for these tests.
struct Qmp(BufReader<UnixStream>);

impl Qmp {
    fn new(guest: &mut Guest) -> Self {
        let start = Instant::now();
        let stream = loop {
            match UnixStream::connect(&guest.qmp) {
                Ok(stream) => break stream,
                Err(error) => assert!(start.elapsed() < PATIENCE, "QMP: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut qmp = Self(BufReader::new(stream));
        qmp.0.read_line(&mut String::new()).unwrap();
        qmp.ask(r#"{"execute":"qmp_capabilities"}"#);
        qmp
    }

    fn ask(&mut self, command: &str) {
        self.0.get_mut().write_all(format!("{command}\n").as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            assert!(!line.contains("\"error\"") && !line.is_empty(), "{command}: {line}");
            if line.contains("\"return\"") {
                return;
            }
        }
    }

    fn press(&mut self, keys: &[&str]) {
        let list: Vec<String> = keys.iter().map(|k| format!(r#"{{"type":"qcode","data":"{k}"}}"#)).collect();
        self.ask(&format!(r#"{{"execute":"send-key","arguments":{{"hold-time":20,"keys":[{}]}}}}"#, list.join(",")));
    }
}

#[test]
fn a_rebuilt_iso_holds_what_was_asked_for_and_boots() {
    let (dir, original) = lab(SHOW);
    // The version comes from inside, whatever the file is called.
    assert_eq!(original.title(), "ESXi 8.0.3 build 24022510");
    let boot = original.boot.as_ref().unwrap();
    assert!(boot.boots(Platform::Bios) && boot.boots(Platform::Uefi));
    let mut spec = RemasterSpec::with_ks(KS);
    spec.boot.system_media_size = Some("min".into());
    let out = dir.path().join("cache/new/out.iso");
    let made = remaster(&xorriso(), &original, &spec, &out).unwrap();
    assert_eq!(made.kernelopt, ["runweasel", "ks=cdrom:/KS.CFG", "systemMediaSize=min"]);
    assert_eq!((&made.modules, made.title(), &made.path), (&original.modules, original.title(), &out));
    let line = "kernelopt=runweasel ks=cdrom:/KS.CFG systemMediaSize=min\r\n";
    let patched = CFG.replace("kernelopt=runweasel cdromBoot\r\n", line);
    let mut iso = Iso::open(&out).unwrap();
    assert_eq!(iso.read("/BOOT.CFG", 9999).unwrap(), patched.as_bytes());
    assert_eq!(iso.read("/EFI/BOOT/BOOT.CFG", 9999).unwrap(), patched.replace("timeout=5", "timeout=6").as_bytes());
    assert_eq!(iso.read("/KS.CFG", 9999).unwrap(), KS.as_bytes());
    assert_eq!(iso.lookup("/ks.cfg").unwrap().0, "/KS.CFG", "the installer minds letter case");
    assert_eq!(iso.read("/B.B00", 300_000).unwrap(), vec![7; 300_000]);
    assert_eq!(inspect(&original.path).unwrap().sha256, original.sha256, "the original is untouched");
    let left: Vec<_> = fs::read_dir(out.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["out.iso"], "nothing half-made is left");

    // The boot loader of each shows the boot file it reads.
    let mut guest = Guest::boot(&original.path);
    assert!(guest.wait_for("updated=0").contains("kernelopt=runweasel cdromBoot"));
    drop(guest);
    let mut guest = Guest::boot(&out);
    let said = guest.wait_for("updated=0");
    assert!(said.contains(line.trim_end()) && !said.contains("cdromBoot"), "{said}");
}

#[test]
fn the_other_way_of_keeping_boot_images_does_not_boot_and_is_refused() {
    let (dir, original) = lab(SHOW);
    let ks = dir.path().join("KS.CFG");
    fs::write(&ks, KS).unwrap();
    let out = dir.path().join("keep.iso");
    let files = [(ks, "/KS.CFG".to_owned())];
    let argv = xorriso_argv(&original.path, &out, &files, true);
    let argv: Vec<_> = argv.into_iter().map(|w| if w == "replay" { "keep".into() } else { w }).collect();
    run_xorriso(&argv);
    let refused = verify(&xorriso(), &original, &out, &[]).unwrap_err();
    assert!(matches!(&refused, RemasterError::BootRecords(_)), "{refused}");
    // ISOLINUX finds its own checksum wrong and gives up, or resets.
    let mut guest = Guest::boot(&out);
    guest.wait_end("kernelopt=");
}

#[test]
fn without_rock_ridge_the_names_stay() {
    let (dir, original) = lab(SHOW);
    let mut spec = RemasterSpec::with_ks(KS);
    spec.rock_ridge = false;
    let out = dir.path().join("plain.iso");
    remaster(&xorriso(), &original, &spec, &out).unwrap();
    let mut iso = Iso::open(&out).unwrap();
    assert_eq!(iso.lookup("/ks.cfg").unwrap().0, "/KS.CFG");
    assert!(iso.walk().unwrap().iter().all(|(_, entry)| entry.name == entry.plain), "no Rock Ridge names");
}

#[test]
fn only_the_boot_line_changes_for_other_deliveries() {
    let (dir, original) = lab(SHOW);
    let url = "http://10.0.2.2:4711/0123456789abcdef/ks.cfg";
    let out = dir.path().join("http.iso");
    let made = remaster(&xorriso(), &original, &RemasterSpec::boot_line_only(url), &out).unwrap();
    assert_eq!(made.kernelopt, ["runweasel".to_owned(), format!("ks={url}")]);
    assert_eq!(made.ks_inside, None);
    // Rebuilding what was rebuilt replaces the boot line and the script.
    let again = dir.path().join("again.iso");
    let made = remaster(&xorriso(), &made, &RemasterSpec::with_ks(KS), &again).unwrap();
    assert_eq!(made.kernelopt, ["runweasel", "ks=cdrom:/KS.CFG"]);
    let last = dir.path().join("last.iso");
    remaster(&xorriso(), &made, &RemasterSpec::with_ks("accepteula\n"), &last).unwrap();
    assert_eq!(Iso::open(&last).unwrap().read("/KS.CFG", 999).unwrap(), b"accepteula\n");
}

/// A program that stands in for xorriso and does something wrong.
fn wrong_xorriso(dir: &Path, name: &str, script: &str) -> Xorriso {
    let file = dir.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    Xorriso::at(file)
}

#[test]
fn a_wrong_result_is_thrown_away() {
    let (dir, original) = lab(SHOW);
    let spec = RemasterSpec::with_ks(KS);
    let folder = dir.path().join("out");
    let out = folder.join("x.iso");
    // Loses the boot entries; loses the script; breaks off half way; writes nothing.
    let no_boot = r#"case "$*" in *-outdev*) exec xorriso $(echo "$@" | sed 's/-boot_image any replay/-boot_image any discard/');; *) exec xorriso "$@";; esac"#;
    let no_ks = r#"case "$*" in *-outdev*) exec xorriso $(echo "$@" | sed 's/-map [^ ]* .KS.CFG//');; *) exec xorriso "$@";; esac"#;
    let cut = r#"case "$*" in *-outdev*) xorriso "$@" && for w; do case $w in */out.iso) truncate -s 100000 $w;; esac; done;; *) exec xorriso "$@";; esac"#;
    let fails =
        r#"case "$*" in *-outdev*) echo 'xorriso : FAILURE : no room' >&2; exit 32;; *) exec xorriso "$@";; esac"#;
    let try_with = |name: &str, script: &str| {
        let error = remaster(&wrong_xorriso(dir.path(), name, script), &original, &spec, &out).unwrap_err();
        let left: Vec<_> = fs::read_dir(&folder).unwrap().collect();
        assert!(left.is_empty(), "{name}: {left:?}");
        error
    };
    let error = try_with("no-boot", no_boot);
    assert!(matches!(&error, RemasterError::BootRecords(lines) if lines[0].contains("lost: El Torito")), "{error}");
    let error = try_with("no-ks", no_ks);
    assert!(matches!(&error, RemasterError::Verify(what) if what.contains("/KS.CFG is missing")), "{error}");
    let error = try_with("cut", cut);
    assert!(
        matches!(&error, RemasterError::Iso(_) | RemasterError::Xorriso { .. } | RemasterError::BootRecords(_)),
        "{error}"
    );
    let error = try_with("fails", fails);
    assert!(matches!(&error, RemasterError::Xorriso { stderr, .. } if stderr.contains("no room")), "{error}");
    let error = remaster(&Xorriso::at("/no/such/xorriso"), &original, &spec, &out).unwrap_err();
    assert!(matches!(&error, RemasterError::NoXorriso) && error.to_string().contains("USB stick"), "{error}");
}

#[test]
fn rebuilt_isos_are_kept_by_content() {
    let (dir, original) = lab(SHOW);
    let cache = IsoCache::new(dir.path().join("cache"));
    let spec = RemasterSpec::with_ks(KS);
    let never = || -> Result<Xorriso, RemasterError> { panic!("it is in the cache") };
    // Two at once: both get the same whole file.
    let made: Vec<IsoInfo> = std::thread::scope(|scope| {
        let tasks: Vec<_> =
            (0..2).map(|_| scope.spawn(|| cache.get(|| Ok(xorriso()), &original, &spec).unwrap().0)).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    assert_eq!(made[0].path, made[1].path);
    assert_eq!(made[0].path, cache.path(&cache_key(&original.sha256, &spec)));
    assert!(cache.get(never, &original, &spec).unwrap().1);
    // Without a hash at hand the original is hashed.
    let mut unhashed = original.clone();
    unhashed.sha256.clear();
    assert!(cache.get(never, &unhashed, &spec).unwrap().1);
    // Another script is another ISO; a damaged file is made again.
    let other = RemasterSpec::with_ks("accepteula\n");
    assert!(!cache.get(|| Ok(xorriso()), &original, &other).unwrap().1);
    fs::write(&made[0].path, b"half").unwrap();
    assert!(!cache.get(|| Ok(xorriso()), &original, &spec).unwrap().1);
    assert!(cache.get(never, &original, &spec).unwrap().1);
    assert_eq!(cache.evict(0).unwrap().len(), 2);
    assert!(!cache.get(|| Ok(xorriso()), &original, &spec).unwrap().1);
}

#[test]
fn keys_reach_a_boot_line_and_screens_are_read() {
    let (_dir, original) = lab(ASK);
    let mut guest = Guest::boot(&original.path);
    guest.wait_for("boot:");
    let mut qmp = Qmp::new(&mut guest);
    let dir = guest.dir.path().to_owned();
    let dump = |qmp: &mut Qmp, format: &str| {
        let file = dir.join(format!("screen.{format}"));
        let file_name = file.display();
        qmp.ask(&format!(r#"{{"execute":"screendump","arguments":{{"filename":"{file_name}","format":"{format}"}}}}"#));
        Screen::decode(&fs::read(&file).unwrap()).unwrap()
    };
    let before = dump(&mut qmp, "png");
    // Blanks and quotes are the boot loader's own at the start of a line; all the rest is shown as typed.
    let line = "runweasel ks=http://10.0.2.2:80/aZ_9/KS.CFG x=\"'~!@#$%^&*()-+[]{}|\\;,<>?`";
    for (n, keys) in chords(line).unwrap().into_iter().enumerate() {
        qmp.press(&keys);
        // The guest's keyboard queue is short: the next key waits until this one is shown.
        guest.wait_for(&line[..=n]);
    }
    // What was typed is on the screen: the look that must follow typing sees it.
    let (png, ppm) = (dump(&mut qmp, "png"), dump(&mut qmp, "ppm"));
    assert!(png.difference(&ppm) < 0.001, "but for the cursor they are the same");
    assert_eq!((png.width, png.height), (ppm.width, ppm.height));
    assert_eq!(png.look(), Look::TextOnBlack);
    assert!(has_changed(&before, &png) && !has_changed(&png, &ppm));
    assert!(Screen::decode(&ppm.to_png().unwrap()).unwrap() == ppm);
}
