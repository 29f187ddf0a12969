//! Root's password of a simulated host: given, or made up once and kept beside the host.

use rand::Rng;
use rand::distr::Alphanumeric;

use super::crypt::sha512_crypt;
use super::disk::Disk;
use super::error::IoContext;
use super::{SimError, crypt};

fn random(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// The password of the host, and whether it is another one than before. One that is given wins over the one that was kept.
pub(crate) fn of_host(disk: &Disk, given: Option<&str>) -> Result<(String, bool), SimError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = disk.beside("password");
    let kept = std::fs::read_to_string(&path).ok().filter(|text| !text.is_empty());
    let password = match (given, kept) {
        (Some(given), Some(kept)) if given == kept => return Ok((kept, false)),
        (None, Some(kept)) => return Ok((kept, false)),
        (Some(given), _) => given.to_string(),
        (None, None) => format!("Sim-{}", random(16)),
    };
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .doing("write", &path)?;
    file.write_all(password.as_bytes()).doing("write", &path)?;
    Ok((password, true))
}

/// Its entry for /etc/shadow.
pub(crate) fn hash(password: &str) -> String {
    let hash = sha512_crypt(password, &random(16), None);
    debug_assert!(crypt::matches(password, &hash));
    hash
}
