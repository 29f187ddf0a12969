//! How far one host of a lab is: what survives esxprep itself.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::session::WorkError;
use crate::lab::plan::{Host, Stage};
use crate::lab::state::{Kept, Place};

/// The record of a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What its disks were installed from or cloned from: a digest. None: they are empty.
    pub installed: Option<String>,
    /// Stages that ended well, by name, with a digest of what was applied in them.
    #[serde(default)]
    pub stages: BTreeMap<String, String>,
    /// The stage that its virtual machine was last started in.
    #[serde(default)]
    pub running: Option<String>,
    /// Digest of the command line that it was last started with.
    #[serde(default)]
    pub line: Option<String>,
    /// It was brought up as written at least once since its disks are new.
    #[serde(default)]
    pub ready: bool,
}

/// The record of a host, on disk.
pub fn record(place: &Place, host: &str) -> Kept<Record> {
    Kept::at(place.host(host).join("record.json"))
}

/// What an installation depends on: another one means other disks.
pub fn install_digest(host: &Host) -> String {
    let source = match (&host.clone_from, &host.install) {
        (Some(clone), _) => serde_json::json!({"clone": clone.host}),
        (None, Some(install)) => serde_json::json!({"iso": install.iso, "version": host.esxi}),
        (None, None) => serde_json::json!({"image": host.disks.iter().map(|d| &d.image).collect::<Vec<_>>()}),
    };
    let firmware = serde_json::json!(host.firmware);
    short(&[source.to_string().as_bytes(), firmware.to_string().as_bytes(), host.uuid.as_bytes()])
}

/// What a stage depends on: its hardware and the text of its playbooks.
///
/// # Errors
/// A playbook that cannot be read.
pub fn stage_digest(stage: &Stage) -> Result<String, WorkError> {
    let buses: Vec<String> =
        stage.machine.disks.iter().map(|slot| format!("{} {}", slot.disk.id, slot.bus.name())).collect();
    let mut parts = vec![stage.machine.chipset.name().as_bytes().to_vec(), buses.join("\n").into_bytes()];
    for path in &stage.apply {
        parts.push(read(path)?);
    }
    Ok(short(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

fn read(path: &Path) -> Result<Vec<u8>, WorkError> {
    std::fs::read(path).map_err(|e| WorkError::said(format!("cannot read the playbook {}: {e}", path.display())))
}

/// A digest of parts, 16 hexadecimal digits.
pub fn short(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_parts_apart() {
        assert_ne!(short(&[b"ab", b"c"]), short(&[b"a", b"bc"]));
        assert_eq!(short(&[b"a"]).len(), 16);
    }
}
