//! SSH host keys: made once for a host and kept beside its root, as an installed ESXi keeps its own.
//!
//! RSA 2048 and ECDSA nistp256, never ed25519 (vSphere 7.0 and 8.0 security guides). Up to 6.0 real hosts have RSA and DSA: DSA is left out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::private::{KeypairData, RsaKeypair};
use russh::keys::ssh_key::{self, LineEnding};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};

use super::SimError;
use super::toolbox::find_program;

/// The two keys of a host.
#[derive(Debug, Clone)]
pub(crate) struct HostKeys {
    pub(crate) ecdsa: PrivateKey,
    pub(crate) rsa: PrivateKey,
}

impl HostKeys {
    /// Reads the keys in `dir`, or makes and writes them. Blocking: RSA takes up to a second or two.
    pub(crate) fn load_or_make(dir: &Path, host: &str) -> Result<HostKeys, SimError> {
        let fail = |reason: String| SimError::Keys { host: host.into(), reason };
        fs::create_dir_all(dir).map_err(|e| fail(format!("{}: {e}", dir.display())))?;
        let key = |name: &str, make: fn(&Path) -> Result<PrivateKey, ssh_key::Error>| {
            let path = dir.join(name);
            if let Ok(text) = fs::read_to_string(&path) {
                return PrivateKey::from_openssh(&text).map_err(|e| fail(format!("{}: {e}", path.display())));
            }
            let key = make(&path).map_err(|e| fail(e.to_string()))?;
            let text = key.to_openssh(LineEnding::LF).map_err(|e| fail(e.to_string()))?;
            fs::write(&path, text.as_bytes())
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
                .map_err(|e| fail(format!("{}: {e}", path.display())))?;
            Ok(key)
        };
        Ok(HostKeys { ecdsa: key("ssh_host_ecdsa_key", ecdsa)?, rsa: key("ssh_host_rsa_key", rsa)? })
    }

    /// Throws the keys in `dir` away and makes others.
    pub(crate) fn remake(dir: &Path, host: &str) -> Result<HostKeys, SimError> {
        let _ = fs::remove_dir_all(dir);
        HostKeys::load_or_make(dir, host)
    }

    /// The key that an inventory pins: ECDSA where the release offers it.
    pub(crate) fn public_line(&self, ecdsa_offered: bool) -> String {
        let key = if ecdsa_offered { &self.ecdsa } else { &self.rsa };
        let line = key.public_key().to_openssh().unwrap_or_default();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }
}

fn ecdsa(_: &Path) -> Result<PrivateKey, ssh_key::Error> {
    PrivateKey::random(&mut safe_rng(), Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })
}

/// The machine's ssh-keygen is many times faster at RSA than an unoptimised build of this program; without it, do it here.
fn rsa(path: &Path) -> Result<PrivateKey, ssh_key::Error> {
    if let Some(keygen) = find_program("ssh-keygen") {
        let status = Command::new(keygen)
            .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "", "-f"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let _ = fs::remove_file(path.with_extension("pub"));
        if status.is_ok_and(|status| status.success())
            && let Ok(text) = fs::read_to_string(path)
            && let Ok(key) = PrivateKey::from_openssh(&text)
        {
            return Ok(key);
        }
    }
    let pair = RsaKeypair::random(&mut safe_rng(), 2048)?;
    PrivateKey::new(KeypairData::Rsa(pair), "")
}
