//! Snapshots of disks without memory, inside their qcow2 files: taken while the guest runs, or while it does not.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{GuestError, failed, on};
use crate::lab::qmp::{ImageInfo, Qmp, Snapshot};

/// A snapshot of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSnapshot {
    /// The disk.
    pub disk: PathBuf,
    /// What QEMU says of it; with memory in it, it belongs to a frozen state.
    pub snapshot: Snapshot,
}

/// The snapshots of these disks. A guest may have them open.
pub async fn list(disks: &[PathBuf]) -> Result<Vec<DiskSnapshot>, GuestError> {
    let mut found = Vec::new();
    for disk in disks {
        let info = info(disk).await?;
        found.extend(info.snapshots.into_iter().map(|snapshot| DiskSnapshot { disk: disk.clone(), snapshot }));
    }
    Ok(found)
}

/// Takes a snapshot of all these disks, or of none. With `running`, the guest's monitor takes it, at one instant; what
/// the guest has not written yet is not in it, as after a power cut.
pub async fn create(name: &str, disks: &[PathBuf], running: Option<&Qmp>) -> Result<(), GuestError> {
    check_name(name, disks)?;
    for found in list(disks).await? {
        if found.snapshot.name == name {
            return Err(problem(name, &found.disk, "there is one of this name; delete it, or take another name"));
        }
    }
    if let Some(qmp) = running {
        let devices = devices(name, qmp, disks).await?;
        return qmp.snapshot_disks(name, &devices).await.map_err(on(name));
    }
    for (done, disk) in disks.iter().enumerate() {
        if let Err(e) = qemu_img(name, disk, &["snapshot", "-c", name]).await {
            for disk in &disks[..done] {
                let _ = qemu_img(name, disk, &["snapshot", "-d", name]).await;
            }
            return Err(e);
        }
    }
    Ok(())
}

/// Goes back to a snapshot on all these disks. The guest must not run: a running one would write its own idea of the
/// disk over it. Nothing is changed unless every disk has the snapshot.
pub async fn revert(name: &str, disks: &[PathBuf]) -> Result<(), GuestError> {
    check_name(name, disks)?;
    need(name, disks).await?;
    for disk in disks {
        qemu_img(name, disk, &["snapshot", "-a", name]).await?;
    }
    Ok(())
}

/// Removes a snapshot from the disks that have it; true when one had it.
pub async fn delete(name: &str, disks: &[PathBuf], running: Option<&Qmp>) -> Result<bool, GuestError> {
    check_name(name, disks)?;
    let having: Vec<_> = list(disks).await?.into_iter().filter(|f| f.snapshot.name == name).map(|f| f.disk).collect();
    match running {
        Some(qmp) => {
            for device in devices(name, qmp, &having).await? {
                qmp.unsnapshot_disk(name, &device).await.map_err(on(name))?;
            }
        }
        None => {
            for disk in &having {
                qemu_img(name, disk, &["snapshot", "-d", name]).await?;
            }
        }
    }
    Ok(!having.is_empty())
}

/// Refuses unless every disk has the snapshot.
async fn need(name: &str, disks: &[PathBuf]) -> Result<(), GuestError> {
    let found = list(disks).await?;
    match disks.iter().find(|disk| !found.iter().any(|f| f.disk == **disk && f.snapshot.name == name)) {
        Some(disk) => {
            let mut names: Vec<_> = found.iter().filter(|f| f.disk == *disk).map(|f| f.snapshot.name.clone()).collect();
            names.dedup();
            let there =
                if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            Err(problem(name, disk, &format!("this disk has no such snapshot; {there}")))
        }
        None => Ok(()),
    }
}

/// A name that no tool takes for an option or a number: qemu-img finds snapshots by name and by id alike.
fn check_name(name: &str, disks: &[PathBuf]) -> Result<(), GuestError> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let good =
        name.len() <= 100 && name.bytes().all(fine) && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    if good {
        return Ok(());
    }
    let disk = disks.first().cloned().unwrap_or_default();
    Err(problem(name, &disk, "this cannot be its name: begin with a letter, go on with letters, digits, `-`, `_`, `.`"))
}

/// QEMU's names of the devices that have these files.
async fn devices(name: &str, qmp: &Qmp, disks: &[PathBuf]) -> Result<Vec<String>, GuestError> {
    let all = qmp.block_devices().await.map_err(on(name))?;
    let mut found = Vec::new();
    for disk in disks {
        let text = disk.to_string_lossy();
        let device = all.iter().find(|d| d.inserted.as_ref().is_some_and(|i| i.file == text));
        let Some(device) = device.and_then(|d| d.name()) else {
            return Err(problem(name, disk, "the running guest does not have this disk"));
        };
        found.push(device.to_owned());
    }
    Ok(found)
}

/// What `qemu-img` says of a disk, even if a guest has it open.
async fn info(disk: &Path) -> Result<ImageInfo, GuestError> {
    let output = run(disk, &["info", "-U", "--output=json"]).await?;
    let understood = |e: &dyn std::fmt::Display| problem("(all)", disk, &format!("qemu-img's answer: {e}"));
    if !output.status.success() {
        return Err(problem("(all)", disk, &words(&output.stderr)));
    }
    let value: Value = serde_json::from_slice(&output.stdout).map_err(|e| understood(&e))?;
    serde_json::from_value(value).map_err(|e| understood(&e))
}

async fn qemu_img(name: &str, disk: &Path, args: &[&str]) -> Result<(), GuestError> {
    let output = run(disk, args).await?;
    if output.status.success() {
        return Ok(());
    }
    Err(problem(name, disk, &super::hints::explained(&words(&output.stderr))))
}

async fn run(disk: &Path, args: &[&str]) -> Result<std::process::Output, GuestError> {
    let mut command = tokio::process::Command::new("qemu-img");
    // Half a snapshot is worse than a wait: it is not killed with this task.
    command.args(args).arg(disk).stdin(std::process::Stdio::null());
    command.output().await.map_err(failed("run qemu-img (is it installed?) on", disk))
}

fn words(bytes: &[u8]) -> String {
    super::hints::said(&String::from_utf8_lossy(bytes), "qemu-img")
}

fn problem(name: &str, disk: &Path, problem: &str) -> GuestError {
    GuestError::Snapshot { snapshot: name.to_owned(), disk: disk.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_a_number_or_an_option_is_refused() {
        for bad in ["", "1", "-l", "a b", "ä", &"a".repeat(101)] {
            assert!(check_name(bad, &[]).is_err(), "{bad:?}");
        }
        assert!(check_name("before-upgrade_1.2", &[]).is_ok());
    }
}
