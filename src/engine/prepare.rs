//! Everything that steps need on the control machine, once for all hosts and before any of them is touched: local
//! files hashed and inspected, URLs downloaded into a cache.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::esxi::bundle::{self, BundleError, Looks, Software};
use crate::steps::{Artifact, Artifacts, Input};

mod fetch;
#[cfg(test)]
mod tests;

/// Largest file whose text is kept for steps that compare contents.
const MAX_TEXT: u64 = 64 * 1024;

/// What is going on, for a bar or a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Bytes of a download.
    Download {
        /// The address.
        url: String,
        /// Bytes there so far, those of an earlier run included.
        position: u64,
        /// Bytes in all, when the server says.
        length: Option<u64>,
    },
    /// A file is hashed and inspected.
    Inspect {
        /// The file.
        path: PathBuf,
    },
    /// Something a person should know that is no failure.
    Note(String),
}

/// Receives progress.
pub type OnProgress<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// Why something that a step needs is not there.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A local file cannot be read.
    #[error("{} cannot be read: {source}{}", path.display(), if source.kind() == std::io::ErrorKind::NotFound { " (relative paths are looked up beside the playbook)" } else { "" })]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The cache cannot be used.
    #[error("the download cache {} cannot be used: {source}", path.display())]
    Cache {
        /// File or folder in the cache.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No HTTP client could be made.
    #[error(
        "no HTTPS connection can be made from this machine: {0}. Install the CA certificates (package ca-certificates) or set SSL_CERT_FILE"
    )]
    Client(String),
    /// The server answered with an error status.
    #[error("{url}: the server answered {status}{}{}", explain_status(*.status), if said.is_empty() { String::new() } else { format!("; it said: {said}") })]
    Status {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
        /// The beginning of its body, if that was text.
        said: String,
    },
    /// The connection failed.
    #[error(
        "{url}: the download failed after {tries} tries: {problem}. {kept} bytes are kept: the next run goes on from there"
    )]
    Download {
        /// The address.
        url: String,
        /// How often it was tried.
        tries: u32,
        /// The last error.
        problem: String,
        /// Bytes in the partial file.
        kept: u64,
    },
    /// Not the file that was meant.
    #[error(
        "{url}: the downloaded file has SHA-256 {got}, but the playbook says {want}: it is another version, or damaged, or a page that asks for a login. It was deleted"
    )]
    WrongHash {
        /// The address.
        url: String,
        /// Expected.
        want: String,
        /// Found.
        got: String,
    },
    /// Inspection was asked for and failed.
    #[error("{}: {source}", path.display())]
    Inspect {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BundleError,
    },
    /// A background task died.
    #[error("a background task died (this is a defect in esxprep): {0}")]
    Task(String),
}

fn explain_status(status: u16) -> &'static str {
    match status {
        401 | 403 => " (it wants a login, or the token in the address has expired)",
        404 | 410 => " (nothing is there: check the address)",
        407 => " (a proxy wants a login)",
        429 => " (too many requests: try later)",
        500..=599 => " (its own fault: try later)",
        _ => "",
    }
}

/// Inspects one VIB or offline bundle on this machine (`esxprep bundle inspect`). Blocking.
pub fn inspect_file(path: &Path) -> Result<Software, PrepareError> {
    let file = std::fs::File::open(path).map_err(|source| PrepareError::File { path: path.into(), source })?;
    bundle::inspect(std::io::BufReader::new(file)).map_err(|source| PrepareError::Inspect { path: path.into(), source })
}

/// Prepares all inputs. Relative paths are resolved against `base`; downloads go into `cache` and stay there.
/// Every input is prepared once, however many steps name it.
pub async fn prepare(
    inputs: &[Input],
    base: &Path,
    cache: &Path,
    progress: OnProgress<'_>,
) -> Result<Artifacts, PrepareError> {
    let mut out = Artifacts::default();
    let mut client = fetch::Fetcher::new(cache);
    for input in inputs {
        if out.get(input).is_some() {
            continue;
        }
        let path = match input {
            Input::File(path) => base.join(path),
            Input::Url { url, sha256 } => client.get(url, sha256.as_deref(), progress).await?,
        };
        progress(Progress::Inspect { path: path.clone() });
        let artifact = blocking(move || examine(path)).await??;
        warn(&artifact, progress);
        out.insert(input.clone(), artifact);
    }
    Ok(out)
}

/// Tells of a file what inspecting it tells, for one that was inspected when the run was recorded.
pub(super) fn inspected(artifact: &Artifact, progress: OnProgress<'_>) {
    progress(Progress::Inspect { path: artifact.path.clone() });
    warn(artifact, progress);
}

fn warn(artifact: &Artifact, progress: OnProgress<'_>) {
    for warning in artifact.software.iter().flat_map(|software| &software.warnings) {
        progress(Progress::Note(format!("{}: {warning}", artifact.path.display())));
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PrepareError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| PrepareError::Task(e.to_string()))
}

/// Hashes a file, keeps its text if it is small, and inspects it if it looks like software.
fn examine(path: PathBuf) -> Result<Artifact, PrepareError> {
    let fail = |source| PrepareError::File { path: path.clone(), source };
    let mut file = std::fs::File::open(&path).map_err(fail)?;
    let (sha256, size) = hash(&mut file).map_err(fail)?;
    let mut artifact = Artifact { sha256, size, ..Artifact::default() };
    let file = std::fs::File::open(&path).map_err(fail)?;
    let mut head = Vec::new();
    (&file).take(64).read_to_end(&mut head).map_err(fail)?;
    if size <= MAX_TEXT {
        artifact.text = std::fs::read_to_string(&path).ok();
    }
    match bundle::looks(&head) {
        Looks::Vib | Looks::Zip | Looks::Html => {
            let file = std::fs::File::open(&path).map_err(fail)?;
            match bundle::inspect(std::io::BufReader::new(file)) {
                Ok(software) => artifact.software = Some(software),
                Err(e) => artifact.not_software = Some(e.to_string()),
            }
        }
        Looks::Other => {}
    }
    artifact.path = path;
    Ok(artifact)
}

/// SHA-256 in hex and length.
fn hash(reader: &mut impl Read) -> std::io::Result<(String, u64)> {
    let mut sha = Sha256::new();
    let mut buffer = vec![0u8; 256 * 1024];
    let mut size = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                sha.update(&buffer[..n]);
                size += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok((hex(&sha.finalize()), size))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
