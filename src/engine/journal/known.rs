//! What hosts were like when they were last identified. Only for guessing what will be read of them, so that it can be
//! asked for in the first round trip: who they are is found out anew by every run.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{StateDir, lock::file_name, make_private_dir};
use crate::esxi::HostFacts;

/// Larger files are none of ours, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// What is kept: the facts that templates see, and one that they do not see but reads depend on.
#[derive(Serialize, Deserialize)]
struct Kept {
    managed: Option<bool>,
    #[serde(flatten)]
    facts: HostFacts,
}

impl StateDir {
    fn known_path(&self, address: &str, port: u16) -> PathBuf {
        self.path().join("known").join(format!("{}_{port}.json", file_name(address)))
    }

    /// What a host was like; nothing when it is not known, or what is kept cannot be read.
    pub fn known(&self, address: &str, port: u16) -> Option<HostFacts> {
        let path = self.known_path(address, port);
        fs::metadata(&path).ok().filter(|meta| meta.len() <= LARGEST)?;
        let Kept { managed, facts } = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        Some(HostFacts { managed, ..facts })
    }

    /// Keeps what a host is like, whole or not at all. Nobody misses what cannot be kept: the next run asks once more.
    pub fn keep_known(&self, address: &str, port: u16, facts: &HostFacts) {
        let path = self.known_path(address, port);
        let kept = Kept { managed: facts.managed, facts: facts.clone() };
        let (Some(dir), Ok(text)) = (path.parent(), serde_json::to_vec(&kept)) else { return };
        if fs::read(&path).is_ok_and(|kept| kept == text) {
            return;
        }
        let _ = make_private_dir(dir).map_err(std::io::Error::other).and_then(|()| {
            // Only its owner can read a temporary file.
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            file.write_all(&text)?;
            file.persist(&path)?;
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::steps::testing::Host;

    #[test]
    fn what_is_kept_is_known_again_and_what_is_damaged_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let recorded = Host::recorded_on_6_7().facts;
        let facts = HostFacts { hostname: "esx7".into(), running_vms: vec!["a b".into()], ..recorded };
        assert_eq!(state.known("192.0.2.1", 22), None);
        state.keep_known("192.0.2.1", 22, &facts);
        assert_eq!(state.known("192.0.2.1", 22), Some(facts.clone()));
        assert_eq!(state.known("192.0.2.1", 23), None);
        let path = state.known_path("192.0.2.1", 22);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(state.known("192.0.2.1", 22), None);
        state.keep_known("192.0.2.1", 22, &facts);
        assert!(state.known("192.0.2.1", 22).is_some());
    }
}
