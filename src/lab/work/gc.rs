//! `lab gc`: what is left of labs whose folder is gone. A lab whose folder is there is taken down by `lab down`, however
//! it ended: its journal knows what was made.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::session::WorkError;
use crate::lab::guest::{Kind, Process};
use crate::lab::net::{self, HubProcess};
use crate::lab::qemu;
use crate::lab::state::Place;

/// Something that is left, in words, and how it goes.
struct Left {
    what: String,
    remove: Box<dyn FnOnce() -> Result<(), WorkError>>,
}

/// Finds what is left behind and removes it if `remove` says so; a line for each.
///
/// # Errors
/// The labs cannot be listed, or something does not go.
pub fn gc(home: Option<&Path>, remove: bool) -> Result<Vec<String>, WorkError> {
    let mut found = interfaces(home)?;
    for (runtime, lab) in Place::orphans() {
        let mut left = of_runtime(&runtime, &lab);
        // Its folder goes after what is in it.
        left.reverse();
        found.extend(left);
    }
    let mut lines = Vec::new();
    // What was made last goes first.
    for left in found.into_iter().rev() {
        if remove {
            (left.remove)()?;
            lines.push(format!("removed: {}", left.what));
        } else {
            lines.push(left.what);
        }
    }
    Ok(lines)
}

/// Processes and sockets in a runtime folder whose lab is gone.
fn of_runtime(runtime: &Path, lab: &Path) -> Vec<Left> {
    let mut found = Vec::new();
    let entries: Vec<PathBuf> = fs::read_dir(runtime).into_iter().flatten().flatten().map(|e| e.path()).collect();
    for path in &entries {
        if path.extension().is_some_and(|e| e == "qmp") {
            let process = Process {
                kind: Kind::Guest,
                name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
                program: PathBuf::from(qemu::PROGRAM),
                marker: path.display().to_string(),
                identity: None,
                leftovers: vec![path.clone()],
            };
            if let Some(identity) = process.find() {
                found.push(Left {
                    what: format!(
                        "QEMU of {} (process {}), its lab's folder {} is gone",
                        process.name,
                        identity.pid,
                        lab.display()
                    ),
                    remove: Box::new(move || Ok(process.unmake()?)),
                });
            }
        }
        let config = fs::read(path.join("hub.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(config) = config {
            let hub = HubProcess { program: PathBuf::new(), args: Vec::new(), config };
            found.push(Left {
                what: format!("switch in {}", path.display()),
                remove: Box::new(move || Ok(hub.unmake()?)),
            });
        }
    }
    let folder = runtime.to_owned();
    found.push(Left {
        what: format!("sockets in {}, of the lab that was in {}", runtime.display(), lab.display()),
        remove: Box::new(move || remove_folder(&folder)),
    });
    found
}

/// Removes a runtime folder with the sockets and small files that esxprep and QEMU make; anything else stays.
fn remove_folder(folder: &Path) -> Result<(), WorkError> {
    let failed = |e: std::io::Error| WorkError::said(format!("cannot remove {}: {e}", folder.display()));
    for entry in fs::read_dir(folder).map_err(failed)?.flatten() {
        let kind = entry.file_type().map_err(failed)?;
        let small = kind.is_file() && entry.metadata().is_ok_and(|m| m.len() < 4096);
        if kind.is_socket() || small {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    fs::remove_dir(folder).map_err(failed)
}

/// Interfaces, namespaces and switches that bear the sign of a lab which is not there, in the order of their making.
fn interfaces(home: Option<&Path>) -> Result<Vec<Left>, WorkError> {
    let labs = Place::all(home)?;
    // A machine without `ip` has no interfaces of ours.
    let found = net::found().unwrap_or_default();
    let gone = found.into_iter().filter(|f| !labs.contains(&f.lab)).map(|found| Left {
        what: format!("{}, of lab {}, which is not there", shown(&found.thing), found.lab),
        remove: Box::new(move || Ok(found.thing.unmake()?)),
    });
    Ok(gone.collect())
}

fn shown(thing: &net::Thing) -> String {
    thing.needs_root().unwrap_or_else(|| "a switch".to_owned())
}
