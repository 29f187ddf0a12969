//! The disks of a host: new and empty, from an image, or clones of another host's.
//!
//! A host that others are cloned from is installed onto a base that nobody writes to afterwards; it runs, as its
//! clones do, on a disk that stands on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::host::aside;
use super::session::{Session, WorkError};
use crate::lab::disk::{self, How, QemuImg, Wanted};
use crate::lab::plan::{Disk, Host, Plan, Stage};
use crate::lab::spec::CloneMode;
use crate::lab::thing::Thing;

/// Whether others are cloned from a host.
pub fn is_cloned(plan: &Plan, host: &str) -> bool {
    plan.hosts.iter().any(|h| h.clone_from.as_ref().is_some_and(|c| c.host == host))
}

/// Where the base of a disk lies.
fn base_of(file: &Path) -> PathBuf {
    file.with_extension("base.qcow2")
}

/// The stage with the disks that it is really run on: an installation of a host that is cloned goes to the base.
pub fn installing(plan: &Plan, host: &Host, stage: &Stage) -> Stage {
    let mut stage = stage.clone();
    if is_cloned(plan, &host.name)
        && let Some(slot) = stage.machine.disks.iter_mut().find(|slot| is_boot(host, &slot.disk))
    {
        slot.disk.file = base_of(&slot.disk.file);
    }
    stage
}

fn is_boot(host: &Host, disk: &Disk) -> bool {
    host.disks.first().is_some_and(|boot| boot.id == disk.id)
}

fn make_one(session: &Session, host: &Host, thing: disk::Thing) -> Result<(), WorkError> {
    let journalled = Thing::Disk { host: Some(host.name.clone()), thing: thing.clone() };
    session.make(journalled, || thing.make().map(drop))
}

fn empty(session: &Session, disk: &Disk, path: PathBuf) -> disk::Thing {
    disk::Thing::Disk(disk::Disk { lab: session.plan.lab.clone(), path, format: "qcow2".into(), size: disk.size })
}

/// The folder of a host, made if it is not there.
fn folders(session: &Session, host: &Host) -> Result<(), WorkError> {
    let failed = |e| WorkError::said(format!("cannot create {}: {e}", host.folder.display()));
    let chain = [host.folder.parent(), Some(host.folder.as_path())];
    for folder in chain.into_iter().flatten() {
        let of = (folder == host.folder).then(|| host.name.clone());
        let thing = Thing::Folder { host: of, path: folder.to_owned() };
        session.make(thing, || std::fs::create_dir_all(folder).map_err(failed))?;
    }
    Ok(())
}

/// Makes the disks of a host that is installed or starts from images. What an interrupted installation left on its
/// boot disk goes first.
///
/// # Errors
/// A disk that is somebody else's, no room, an image that is not there.
pub async fn make(session: &Arc<Session>, host: &Host) -> Result<((), Option<String>), WorkError> {
    let said = aside(session, host, |session, host| {
        folders(session, host)?;
        let cloned = is_cloned(&session.plan, &host.name);
        let mut said = Vec::new();
        said.extend(firmware(session, host)?);
        for disk in &host.disks {
            let boot = is_boot(host, disk);
            let path = if boot && cloned { base_of(&disk.file) } else { disk.file.clone() };
            match &disk.image {
                Some(image) => said.push(from_image(session, host, disk, image)?),
                None => {
                    let thing = empty(session, disk, path);
                    if boot {
                        thing.unmake()?;
                    }
                    make_one(session, host, thing)?;
                    said.push(format!("{} {} GiB thin", disk.id, disk.size >> 30));
                }
            }
        }
        Ok(said.join(", "))
    })
    .await?;
    Ok(((), Some(said)))
}

/// The variables of a host with UEFI, fresh from the template: a clone boots by its disk's removable path.
fn firmware(session: &Session, host: &Host) -> Result<Option<String>, WorkError> {
    let Some(uefi) = host.stages.iter().find_map(|s| s.machine.uefi.as_ref()) else { return Ok(None) };
    let thing = Thing::File { host: Some(host.name.clone()), path: uefi.vars.clone() };
    session.make(thing, || {
        match std::fs::remove_file(&uefi.vars) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(WorkError::said(format!("cannot replace {}: {e}", uefi.vars.display())));
            }
            _ => {}
        }
        let nocow = disk::fs_facts(&host.folder)?.wants_nocow();
        Ok(QemuImg::default().convert(&uefi.vars_template, "raw", &uefi.vars, "qcow2", nocow)?)
    })?;
    Ok(Some("UEFI variables".to_owned()))
}

fn from_image(session: &Session, host: &Host, disk: &Disk, image: &Path) -> Result<String, WorkError> {
    let facts = disk::clone_facts(image, &host.folder)?;
    // An image is only read, and the lab is not its owner: nothing may be counted on it.
    let how = if facts.reflink.is_ok() { How::Reflink } else { How::Full };
    let thing = disk::Thing::Clone(disk::CloneDisk {
        lab: session.plan.lab.clone(),
        path: disk.file.clone(),
        base: image.to_owned(),
        base_format: facts.format.clone(),
        how,
        size: Some(disk.size.max(facts.virtual_bytes)),
    });
    make_one(session, host, thing)?;
    Ok(format!("{} copied from {}", disk.id, image.display()))
}

/// Once the base is installed: its host's own disk on it.
///
/// # Errors
/// As [`clone`].
pub async fn stand_on_base(session: &Arc<Session>, host: &Host) -> Result<((), Option<String>), WorkError> {
    let said = aside(session, host, |session, host| {
        let Some(boot) = host.disks.first() else { return Ok(String::new()) };
        let base = base_of(&boot.file);
        let thing = disk::Thing::ReadOnlyBase(disk::ReadOnlyBase { lab: session.plan.lab.clone(), path: base.clone() });
        make_one(session, host, thing)?;
        one_clone(session, host, boot, &base, CloneMode::Auto)
    })
    .await?;
    Ok(((), Some(said)))
}

/// Makes the disks of a clone: its boot disk from the other's base, data disks new and empty (datastores must not be
/// shared between hosts).
///
/// # Errors
/// The base is not there, or cannot be cloned as asked.
pub async fn clone(
    session: &Arc<Session>,
    host: &Host,
    original: &Host,
    mode: CloneMode,
) -> Result<((), Option<String>), WorkError> {
    let original = original.clone();
    let said = aside(session, host, move |session, host| {
        folders(session, host)?;
        let (Some(boot), Some(other)) = (host.disks.first(), original.disks.first()) else {
            return Ok(String::new());
        };
        let said = one_clone(session, host, boot, &base_of(&other.file), mode)?;
        firmware(session, host)?;
        for disk in host.disks.iter().skip(1) {
            make_one(session, host, empty(session, disk, disk.file.clone()))?;
        }
        Ok(said)
    })
    .await?;
    Ok(((), Some(said)))
}

fn one_clone(session: &Session, host: &Host, disk: &Disk, base: &Path, mode: CloneMode) -> Result<String, WorkError> {
    if !base.exists() {
        return Err(WorkError::said(format!(
            "{}: the disk that it is to be cloned from is not there ({}); the other host was installed before it was \
             to be cloned: `esxprep lab rebuild` it",
            host.name,
            base.display()
        )));
    }
    let facts = disk::clone_facts(base, &host.folder)?;
    let how = match mode {
        CloneMode::Auto => None,
        CloneMode::Linked => Some(How::Linked),
        CloneMode::Reflink => Some(How::Reflink),
        CloneMode::Full => Some(How::Full),
    };
    let choice = disk::choose(&facts, Wanted { how, snapshots: false })?;
    let clone = disk::CloneDisk {
        lab: session.plan.lab.clone(),
        path: disk.file.clone(),
        base: base.to_owned(),
        base_format: facts.format.clone(),
        how: choice.how,
        size: (disk.size > facts.virtual_bytes).then_some(disk.size),
    };
    let thing = disk::Thing::Clone(clone);
    // A clone that was never brought up is made anew.
    thing.unmake()?;
    make_one(session, host, thing)?;
    Ok(format!("{} {}: {}", disk.id, choice.how, choice.reason))
}
