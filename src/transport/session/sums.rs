//! Sizes and checksums of what is sent. Many hosts get the same file, which is read for that once.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::transport::Payload;
use crate::transport::asked::hex;

/// How many files are remembered.
const REMEMBERED: usize = 32;

/// A checksum program, in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    Sha256,
    Sha1,
}

impl Sum {
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256sum",
            Self::Sha1 => "sha1sum",
        }
    }
}

/// A file as it is now: whatever alters it alters one of these, as far as its file system keeps such times. Should
/// one be altered unseen after all, the copy does not have the checksum, and the host refuses it.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    path: PathBuf,
    sum: Sum,
    size: u64,
    place: (u64, u64),
    times: [i64; 4],
}

impl Key {
    fn new(path: &Path, sum: Sum, meta: &Metadata) -> Self {
        let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
        Self { path: path.to_owned(), sum, size: meta.size(), place: (meta.dev(), meta.ino()), times }
    }
}

type Known = Arc<OnceCell<(u64, String)>>;

static KNOWN: Mutex<Vec<(Key, Known)>> = Mutex::new(Vec::new());

/// Size in bytes and checksum of what is to be sent.
pub(super) async fn measure(payload: &Payload, sum: Sum) -> Result<(u64, String), String> {
    let Payload::File(path) = payload else { return computed(payload.clone(), sum).await };
    let meta = tokio::fs::metadata(path).await.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    // The others wait for the first that asks.
    let known = known(Key::new(path, sum, &meta));
    known.get_or_try_init(|| computed(payload.clone(), sum)).await.cloned()
}

fn known(key: Key) -> Known {
    let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = all.iter().find(|(other, _)| *other == key) {
        return Arc::clone(known);
    }
    if all.len() == REMEMBERED {
        all.remove(0);
    }
    let known = Known::default();
    all.push((key, Arc::clone(&known)));
    known
}

async fn computed(payload: Payload, sum: Sum) -> Result<(u64, String), String> {
    let counted = tokio::task::spawn_blocking(move || -> Result<(u64, String), String> {
        let mut source: Box<dyn Read> = match &payload {
            Payload::Bytes(bytes) => Box::new(bytes.as_slice()),
            Payload::File(path) => {
                Box::new(std::fs::File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?)
            }
        };
        let (mut sha256, mut sha1) = (Sha256::new(), sha1::Sha1::new());
        let mut piece = vec![0; 256 * 1024];
        let mut size = 0;
        loop {
            let n = source.read(&mut piece).map_err(|error| format!("cannot read what is to be sent: {error}"))?;
            if n == 0 {
                break;
            }
            size += n as u64;
            match sum {
                Sum::Sha256 => sha256.update(&piece[..n]),
                Sum::Sha1 => sha1.update(&piece[..n]),
            }
        }
        let digest = match sum {
            Sum::Sha256 => hex(&sha256.finalize()),
            Sum::Sha1 => hex(&sha1.finalize()),
        };
        Ok((size, digest))
    });
    counted.await.map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_was_altered_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let file = Payload::File(path.clone());
        let first = measure(&file, Sum::Sha256).await.unwrap();
        assert_eq!(measure(&Payload::Bytes(b"one".to_vec()), Sum::Sha256).await.unwrap(), first);
        assert_eq!(measure(&file, Sum::Sha256).await.unwrap(), first);
        assert_ne!(measure(&file, Sum::Sha1).await.unwrap().1, first.1);
        // Of another length, and in another file under the same name.
        std::fs::write(&path, "three").unwrap();
        let third = measure(&file, Sum::Sha256).await.unwrap();
        assert_eq!(measure(&Payload::Bytes(b"three".to_vec()), Sum::Sha256).await.unwrap(), third);
        std::fs::write(folder.path().join("new"), "seven").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        let seven = measure(&file, Sum::Sha256).await.unwrap();
        assert_eq!(measure(&Payload::Bytes(b"seven".to_vec()), Sum::Sha256).await.unwrap(), seven);
        std::fs::remove_file(&path).unwrap();
        assert!(measure(&file, Sum::Sha256).await.unwrap_err().contains("cannot read"));
    }
}
