//! Frozen memory: a running guest saved with all its disks, and started again as it was, in about a second.
//!
//! QEMU restores devices by name and place, so saved memory is bound to the machine that it was saved from: that
//! machine's part of the command line is recorded with it, and compared before it is used.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hints::explained;
use super::{GuestError, Launch, Started, on, start};
use crate::lab::qmp::{QemuVersion, Qmp, QmpError};

/// What is recorded of frozen memory, beside the lab's other records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frozen {
    /// The snapshot's name on the disks.
    pub tag: String,
    /// The stage whose hardware the guest had.
    pub stage: String,
    /// When, RFC 3339.
    pub time: String,
    /// The QEMU that saved it.
    pub qemu: QemuVersion,
    /// What of the command line makes the machine.
    pub hardware: Vec<String>,
    /// The disks that hold it, by QEMU's names; the memory is in the first that can be written.
    pub disks: Vec<String>,
    /// Bytes of memory saved.
    pub bytes: u64,
    /// How long saving took, in seconds.
    pub seconds: f64,
}

/// What of an option's value makes the machine.
enum Part {
    /// All of it.
    All,
    /// Nothing: it says where things are on this machine, or how the run is looked after.
    Nothing,
    /// These keys of it, and the first word.
    Keys(&'static [&'static str]),
}

/// Options whose value may differ between freezing and thawing, and what of it may not. Options not listed must be the
/// same. Source: what QEMU 10.0.2 compares on loading is devices with their state, not where files are; forwards were
/// changed between the two without harm there.
const OPTIONS: &[(&str, Part)] = &[
    ("name", Part::Nothing),
    ("qmp", Part::Nothing),
    ("mon", Part::Nothing),
    ("monitor", Part::Nothing),
    ("pidfile", Part::Nothing),
    ("display", Part::Nothing),
    ("vnc", Part::Nothing),
    ("S", Part::Nothing),
    ("daemonize", Part::Nothing),
    ("loadvm", Part::Nothing),
    ("D", Part::Nothing),
    ("d", Part::Nothing),
    ("trace", Part::Nothing),
    ("msg", Part::Nothing),
    ("no-reboot", Part::Nothing),
    ("no-shutdown", Part::Nothing),
    ("action", Part::Nothing),
    ("sandbox", Part::Nothing),
    ("chardev", Part::Keys(&["id"])),
    ("serial", Part::Keys(&[])),
    ("netdev", Part::Keys(&["id"])),
    ("drive", Part::Keys(&["if", "id", "format", "media", "index", "bus", "unit", "readonly", "snapshot"])),
    ("blockdev", Part::Keys(&["driver", "node-name", "read-only", "file", "file.driver", "backing"])),
];

/// What of a command line makes the machine: one text an option, in order, for PCI places that are not pinned depend
/// on the order. Pure.
pub fn hardware(args: &[OsString]) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = args.iter().map(|arg| arg.to_string_lossy()).peekable();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix('-').map(|n| n.strip_prefix('-').unwrap_or(n)) else {
            found.push(word.into_owned());
            continue;
        };
        let value = words.next_if(|next| !next.starts_with('-')).map(|v| v.into_owned()).unwrap_or_default();
        let part = OPTIONS.iter().find(|(option, _)| *option == name).map_or(&Part::All, |(_, part)| part);
        let kept = match part {
            Part::Nothing => continue,
            Part::All => value,
            Part::Keys(keys) => keys_of(&value, keys),
        };
        found.push(format!("-{name} {kept}").trim_end().to_owned());
    }
    found
}

/// The first word and the values of these keys, in a fixed order. QEMU writes a comma within a value twice.
fn keys_of(value: &str, keys: &[&str]) -> String {
    let value = value.replace(",,", "\u{0}");
    let mut parts = value.split(',');
    let first = parts.next().unwrap_or_default();
    // `file:/path` and `unix:/path` name a kind and a place; `file=...` is a key like the others.
    let kind = if first.contains('=') { "" } else { first.split(':').next().unwrap_or_default() };
    let pairs: Vec<_> = value.split(',').filter_map(|part| part.split_once('=')).collect();
    let mut out = vec![kind.to_owned()];
    for key in keys {
        // A node that is defined in place has a path in it.
        let found = pairs.iter().find(|(name, value)| name == key && !value.contains('/'));
        out.extend(found.map(|(name, value)| format!("{name}={value}")));
    }
    out.retain(|word| !word.is_empty());
    out.join(",")
}

/// A short text that differs when the machine does: 16 hexadecimal digits.
pub fn digest(args: &[OsString]) -> String {
    let text = hardware(args).join("\n");
    Sha256::digest(text.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// Freezes a guest under a name: it stands still, and its memory and disks are saved together. It is left standing:
/// let it run on with [`Qmp::cont`], or end it with [`Qmp::quit`]. For several guests of one lab, stop all of them
/// first, so that none waits for another that is frozen already.
pub async fn freeze(
    name: &str,
    qmp: &Qmp,
    args: &[OsString],
    tag: &str,
    stage: &str,
    limit: Duration,
) -> Result<Frozen, GuestError> {
    let began = Instant::now();
    let reasons = qmp.save_blockers().await.map_err(on(name))?;
    if !reasons.is_empty() {
        let reasons = reasons.iter().map(|reason| explained(reason)).collect();
        return Err(GuestError::CannotFreeze { name: name.to_owned(), reasons });
    }
    let was_running = qmp.status().await.map_err(on(name))?.running;
    if was_running {
        qmp.stop().await.map_err(on(name))?;
    }
    if let Err(error) = qmp.savevm(tag, limit).await {
        if was_running {
            // What did not work must not leave it standing.
            let _ = qmp.cont().await;
        }
        return Err(match error {
            QmpError::HumanRefused { said, .. } => {
                GuestError::CannotFreeze { name: name.to_owned(), reasons: vec![explained(&said)] }
            }
            other => on(name)(other),
        });
    }
    // QEMU's silence is not taken for a success: the snapshot must be there.
    let devices = qmp.block_devices().await.map_err(on(name))?;
    let mut disks = Vec::new();
    let mut bytes = 0;
    for device in devices {
        let Some(image) = &device.inserted else { continue };
        if let Some(snapshot) = image.image.snapshots.iter().find(|s| s.name == tag) {
            bytes += snapshot.vm_state_size;
            disks.push(device.name().unwrap_or_default().to_owned());
        }
    }
    if bytes == 0 {
        let reasons = vec![format!("QEMU reported success but no disk holds the memory as `{tag}`")];
        return Err(GuestError::CannotFreeze { name: name.to_owned(), reasons });
    }
    Ok(Frozen {
        tag: tag.to_owned(),
        stage: stage.to_owned(),
        time: humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string(),
        qemu: qmp.version(),
        hardware: hardware(args),
        disks,
        bytes,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// Whether frozen memory fits the machine that these arguments make, under this QEMU when its version is known. Pure.
pub fn check_thaw(name: &str, frozen: &Frozen, args: &[OsString], qemu: Option<QemuVersion>) -> Result<(), GuestError> {
    let mut differences = differences(&frozen.hardware, &hardware(args));
    if let Some(now) = qemu.filter(|now| *now != frozen.qemu) {
        // `pc` and `q35` are other machines in every QEMU; `pc-i440fx-10.0` stays the same in newer ones.
        let machine = frozen.hardware.iter().find_map(|part| part.strip_prefix("-machine "));
        let pinned = machine.is_some_and(|m| m.split(',').next().is_some_and(|m| m.contains('.')));
        if now < frozen.qemu {
            differences.push(format!("it was saved by QEMU {}, this one is older: {now}", frozen.qemu));
        } else if !pinned {
            differences.push(format!(
                "it was saved by QEMU {}, this one is {now}, and the machine type names no version",
                frozen.qemu
            ));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(GuestError::ThawDiffers { name: name.to_owned(), tag: frozen.tag.clone(), differences })
}

/// What one list has and the other has not, in words; the order counts only when nothing else differs.
fn differences(then: &[String], now: &[String]) -> Vec<String> {
    let missing = |these: &[String], those: &[String]| {
        let mut rest = those.to_vec();
        let mut found = Vec::new();
        for part in these {
            match rest.iter().position(|other| other == part) {
                Some(at) => drop(rest.remove(at)),
                None => found.push(part.clone()),
            }
        }
        found
    };
    let mut found: Vec<_> = missing(then, now).into_iter().map(|part| format!("`{part}` is gone")).collect();
    found.extend(missing(now, then).into_iter().map(|part| format!("`{part}` is new")));
    if found.is_empty() && then != now {
        found.push("the order of its devices is another one, and with it their places".to_owned());
    }
    found
}

/// The arguments that start a guest from frozen memory; an error when the machine is not the one that was frozen.
pub fn thaw_args(
    name: &str,
    frozen: &Frozen,
    args: &[OsString],
    qemu: Option<QemuVersion>,
) -> Result<Vec<OsString>, GuestError> {
    check_thaw(name, frozen, args, qemu)?;
    let mut args = args.to_vec();
    args.extend(["-loadvm".into(), frozen.tag.clone().into()]);
    Ok(args)
}

/// Starts a guest from frozen memory and lets it run. `launch` is what would start it cold.
pub async fn thaw(launch: &Launch, frozen: &Frozen, qemu: Option<QemuVersion>) -> Result<Started, GuestError> {
    let args = thaw_args(&launch.name, frozen, &launch.args, qemu)?;
    let started = start(&Launch { args, ..launch.clone() }).await?;
    // Saved while it stood, it stands in some versions of QEMU.
    let status = started.qmp.status().await.map_err(on(&launch.name))?;
    let cold = launch.args.iter().any(|arg| arg == "-S");
    if !status.running && !cold {
        started.qmp.cont().await.map_err(on(&launch.name))?;
    }
    Ok(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<OsString> {
        shell_words::split(text).unwrap().into_iter().map(OsString::from).collect()
    }

    const LINE: &str = "-name h1 -machine pc,smm=off -accel tcg -m 256 -nodefaults -qmp unix:/r/h1.qmp,server=on,wait=off \
        -chardev file,id=s0,path=/l/a,append=on -serial chardev:s0 -drive file=/l/d.qcow2,if=none,id=d0,format=qcow2,cache=none \
        -device ide-hd,drive=d0,serial=A -netdev user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:20022-:22 -device e1000e,netdev=n0,mac=52:54:00:00:00:01";

    fn frozen(line: &str) -> Frozen {
        Frozen {
            tag: "ready".into(),
            stage: "run".into(),
            time: String::new(),
            qemu: QemuVersion { major: 10, minor: 0, micro: 2 },
            hardware: hardware(&args(line)),
            disks: vec!["d0".into()],
            bytes: 1,
            seconds: 1.0,
        }
    }

    #[test]
    fn the_machine_is_what_is_left() {
        assert_eq!(
            hardware(&args(LINE)),
            [
                "-machine pc,smm=off",
                "-accel tcg",
                "-m 256",
                "-nodefaults",
                "-chardev file,id=s0",
                "-serial chardev",
                "-drive if=none,id=d0,format=qcow2",
                "-device ide-hd,drive=d0,serial=A",
                "-netdev user,id=n0",
                "-device e1000e,netdev=n0,mac=52:54:00:00:00:01",
            ]
        );
    }

    #[test]
    fn block_nodes_keep_their_form_and_lose_their_paths() {
        let line = "-blockdev driver=qcow2,node-name=boot,discard=unmap,file.driver=file,file.filename=/l/b,,x.qcow2";
        assert_eq!(hardware(&args(line)), ["-blockdev driver=qcow2,node-name=boot,file.driver=file"]);
        let raw = line.replace("qcow2,node", "raw,node");
        assert_ne!(hardware(&args(&raw)), hardware(&args(line)));
    }

    #[test]
    fn other_ports_and_paths_are_the_same_machine() {
        let moved = LINE.replace("20022", "20099").replace("/l/", "/elsewhere/").replace("-name h1", "-name h2");
        assert_ne!(moved, LINE);
        assert!(check_thaw("h1", &frozen(LINE), &args(&moved), None).is_ok());
        assert_eq!(digest(&args(&moved)), digest(&args(LINE)));
        let thawed = thaw_args("h1", &frozen(LINE), &args(&moved), None).unwrap();
        assert_eq!(thawed[thawed.len() - 2..], ["-loadvm", "ready"]);
    }

    #[test]
    fn other_hardware_is_refused_with_what_differs() {
        for (from, to, said) in [
            ("-m 256", "-m 512", "`-m 512` is new"),
            ("ide-hd", "usb-storage", "`-device ide-hd,drive=d0,serial=A` is gone"),
            ("-accel tcg", "-accel kvm", "`-accel tcg` is gone"),
            ("00:01", "00:02", "is new"),
            ("format=qcow2", "format=raw", "format=raw` is new"),
        ] {
            let changed = LINE.replace(from, to);
            let error = check_thaw("h1", &frozen(LINE), &args(&changed), None).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert_ne!(digest(&args(&changed)), digest(&args(LINE)));
        }
        let two = "-machine pc -device a -device b";
        let error = check_thaw("h1", &frozen(two), &args("-machine pc -device b -device a"), None).unwrap_err();
        assert!(error.to_string().contains("order"), "{error}");
    }

    #[test]
    fn another_qemu_fits_only_a_machine_that_names_its_version() {
        let version = |major, minor| Some(QemuVersion { major, minor, micro: 0 });
        let frozen_pc = frozen(LINE);
        assert!(check_thaw("h1", &frozen_pc, &args(LINE), Some(frozen_pc.qemu)).is_ok());
        assert!(check_thaw("h1", &frozen_pc, &args(LINE), version(11, 0)).is_err());
        let pinned = LINE.replace("-machine pc", "-machine pc-i440fx-9.2");
        assert!(check_thaw("h1", &frozen(&pinned), &args(&pinned), version(11, 0)).is_ok());
        assert!(check_thaw("h1", &frozen(&pinned), &args(&pinned), version(9, 2)).is_err());
    }
}
