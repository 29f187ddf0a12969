//! What is inside a VIB or an offline bundle, as data, and the parser that finds out before anything is sent to
//! a host: name, version, acceptance level as claimed, and whether the payloads are what the descriptor says.
//!
//! The formats are public but undocumented; this reads what public build scripts make and what public
//! descriptions of VMware's bundles say. Input is never trusted: every length is bounded, digests are computed
//! while streaming, and no entity or archive inside an archive is expanded without a limit.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

mod ar;
mod descriptor;
#[cfg(test)]
#[path = "../../tests/common/vib.rs"]
pub(crate) mod testvib;

use descriptor::Descriptor;

/// Largest descriptor read (the biggest known, of an ESXi base image, is around 1 MiB).
const MAX_DESCRIPTOR: u64 = 16 << 20;
/// Most bytes unpacked from a bundle's `metadata.zip`.
const MAX_METADATA: u64 = 128 << 20;
/// Most bytes unpacked from a whole bundle.
const MAX_UNPACKED: u64 = 16 << 30;
/// A VIB's payloads are compressed already: a bundle that unpacks to more than this many times its own size is a bomb.
const MAX_RATIO: u64 = 64;
/// Most entries of a bundle.
const MAX_ENTRIES: usize = 20_000;

/// A VIB's identity and claims, from its `descriptor.xml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vib {
    /// Name, for example `esx-ui`.
    pub name: String,
    /// Version, for example `1.34.8-17417756`.
    pub version: String,
    /// Vendor code, for example `VMware`.
    pub vendor: String,
    /// Acceptance level as claimed by the descriptor: `certified`, `accepted`, `partner` or `community`.
    pub acceptance: String,
    /// Whether the signature file is empty: then the claim above is worth nothing.
    pub unsigned: bool,
    /// Whether installing needs maintenance mode.
    pub maintenance_mode: bool,
    /// Whether it can be installed live, without a reboot.
    pub live_install: bool,
    /// Sum of the payloads' sizes in bytes.
    pub payload_bytes: u64,
}

/// A VIB file or an offline bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Software {
    /// Whether the file is an offline bundle (zip), else a single VIB.
    pub bundle: bool,
    /// The VIBs in it.
    pub vibs: Vec<Vib>,
    /// Problems found that do not stop an installation by themselves.
    pub warnings: Vec<String>,
}

/// Why a file cannot be installed as software.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Reading failed.
    #[error("reading it failed: {0}")]
    Read(String),
    /// Neither of the two forms.
    #[error("it is neither a VIB (an ar archive) nor an offline bundle (a zip with index.xml): {0}")]
    NotSoftware(String),
    /// A broken VIB.
    #[error("it is not a whole VIB: {0}")]
    NotVib(String),
    /// A broken bundle.
    #[error("it is not a whole offline bundle: {0}")]
    NotBundle(String),
    /// A broken descriptor.
    #[error("the VIB's descriptor.xml cannot be read: {0}")]
    Descriptor(String),
    /// A payload or a VIB does not have the digest written for it.
    #[error("{what} is damaged: SHA-256 {got}, but {by} says {want}; fetch the file again")]
    Digest {
        /// What was hashed.
        what: String,
        /// Who said what it should be.
        by: &'static str,
        /// Expected, hex.
        want: String,
        /// Found, hex.
        got: String,
    },
    /// Larger than any honest file.
    #[error("{what} is {size} bytes, more than the {limit} that an honest file needs: refused")]
    TooBig {
        /// What is too big.
        what: String,
        /// Its size, bytes.
        size: u64,
        /// The limit, bytes.
        limit: u64,
    },
}

/// What a file looks like by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// An ar archive: a VIB.
    Vib,
    /// A zip: perhaps an offline bundle.
    Zip,
    /// A web page: usually the login page of a download site.
    Html,
    /// Something else.
    Other,
}

/// Says what a file looks like by its first bytes (64 are enough).
pub fn looks(head: &[u8]) -> Looks {
    let text = String::from_utf8_lossy(head).trim_start().to_ascii_lowercase();
    match head {
        h if h.starts_with(ar::MAGIC) => Looks::Vib,
        h if h.starts_with(b"PK\x03\x04") => Looks::Zip,
        _ if text.starts_with("<!doctype html") || text.starts_with("<html") => Looks::Html,
        _ => Looks::Other,
    }
}

/// Inspects a VIB or an offline bundle: every payload's SHA-256 is compared with the descriptor, and every VIB's
/// with the bundle's metadata. The signature is only looked at for being empty; the host verifies it.
pub fn inspect<R: Read + Seek>(mut file: R) -> Result<Software, BundleError> {
    let io = |e: std::io::Error| BundleError::Read(e.to_string());
    let mut head = Vec::new();
    (&mut file).take(64).read_to_end(&mut head).map_err(io)?;
    file.rewind().map_err(io)?;
    match looks(&head) {
        Looks::Vib => {
            let mut warnings = Vec::new();
            let vib = vib(std::io::BufReader::new(file), &mut warnings)?;
            Ok(Software { bundle: false, vibs: vec![vib], warnings })
        }
        Looks::Zip => bundle(file),
        Looks::Html => Err(BundleError::NotSoftware(
            "it is a web page; such downloads often need a login or a token in the address".into(),
        )),
        Looks::Other => Err(BundleError::NotSoftware(format!("it begins with {:02x?}", &head[..head.len().min(8)]))),
    }
}

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads one VIB from its beginning to its end.
fn vib(file: impl Read, warnings: &mut Vec<String>) -> Result<Vib, BundleError> {
    let mut ar = ar::Ar::new(file)?;
    let not = |problem: &str| BundleError::NotVib(problem.to_owned());
    let first = ar.next()?.ok_or_else(|| not("the archive is empty"))?;
    if first.name != "descriptor.xml" {
        return Err(BundleError::NotVib(format!("its first member is {:?}, not descriptor.xml", first.name)));
    }
    let d = Descriptor::parse(&ar.data(&first, MAX_DESCRIPTOR)?)?;
    let mut signature = None;
    let mut found: BTreeMap<String, (u64, String)> = BTreeMap::new();
    while let Some(member) = ar.next()? {
        if member.name == "sig.pkcs7" {
            signature = Some(member.size);
        }
        let mut sha = Sha256::new();
        ar.stream(&member, |chunk| sha.update(chunk))?;
        if let Some(twice) = found.insert(member.name.clone(), (member.size, hex(sha.finalize()))).map(|_| member.name)
        {
            // Which of them a host would take is anybody's guess.
            return Err(BundleError::NotVib(format!("two of its members are named {twice:?}")));
        }
        if found.len() > MAX_ENTRIES {
            return Err(not("it has more members than any VIB"));
        }
    }
    let id = format!("{} {}", d.name, d.version);
    let mut payload_bytes = 0u64;
    for p in &d.payloads.payload {
        let Some((size, sha)) = found.get(&p.name) else {
            return Err(BundleError::NotVib(format!(
                "payload {} of {id} is named in the descriptor but missing",
                p.name
            )));
        };
        if p.size.is_some_and(|s| s != *size) {
            return Err(BundleError::NotVib(format!(
                "payload {} of {id} has {size} bytes, the descriptor says {}",
                p.name,
                p.size.unwrap_or(0)
            )));
        }
        match p.sha256() {
            Some(want) if !want.eq_ignore_ascii_case(sha) => {
                return Err(BundleError::Digest {
                    what: format!("payload {} of {id}", p.name),
                    by: "its descriptor",
                    want: want.to_owned(),
                    got: sha.clone(),
                });
            }
            Some(_) => {}
            None => warnings.push(format!("{id}: payload {} has no SHA-256 in the descriptor: not verified", p.name)),
        }
        payload_bytes = payload_bytes.saturating_add(*size);
    }
    let unsigned = signature.unwrap_or(0) == 0;
    let acceptance =
        if d.acceptance.is_empty() { "community".to_owned() } else { d.acceptance.trim().to_ascii_lowercase() };
    if unsigned && acceptance != "community" {
        warnings.push(format!(
            "{id} claims acceptance level `{acceptance}`, but its signature file is empty: the claim is worth nothing and a host that checks signatures refuses it"
        ));
    }
    Ok(Vib {
        unsigned,
        maintenance_mode: d.maintenance_mode(),
        live_install: d.live_install(),
        payload_bytes,
        name: d.name,
        version: d.version,
        vendor: d.vendor,
        acceptance,
    })
}

/// Counts and hashes what passes, and stops at a limit.
struct Metered<R> {
    inner: R,
    sha: Sha256,
    left: u64,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if n as u64 > self.left {
            return Err(std::io::Error::other("it unpacks to far more than an honest bundle does (a zip bomb?)"));
        }
        self.left -= n as u64;
        self.sha.update(&buffer[..n]);
        Ok(n)
    }
}

fn bundle<R: Read + Seek>(mut file: R) -> Result<Software, BundleError> {
    let not = |problem: String| BundleError::NotBundle(problem);
    let length = file.seek(std::io::SeekFrom::End(0)).map_err(|e| BundleError::Read(e.to_string()))?;
    let mut zip = zip::ZipArchive::new(file).map_err(|e| not(e.to_string()))?;
    if zip.len() > MAX_ENTRIES {
        return Err(not(format!("it has {} entries", zip.len())));
    }
    if zip.index_for_name("index.xml").is_none() {
        return Err(BundleError::NotSoftware("the zip has no index.xml at its top".into()));
    }
    let mut left = MAX_UNPACKED.min(length.saturating_mul(MAX_RATIO).saturating_add(1 << 20));
    let mut warnings = Vec::new();
    let mut listed: BTreeMap<String, (String, Option<String>)> = BTreeMap::new();
    let mut metadata = false;
    let mut vibs = Vec::new();
    let mut present: BTreeMap<String, String> = BTreeMap::new();
    for i in 0..zip.len() {
        let entry = zip.by_index(i).map_err(|e| not(e.to_string()))?;
        let name = entry.name().map_err(|e| not(e.to_string()))?.into_owned();
        if name.ends_with(".vib") {
            let mut metered = Metered { inner: entry, sha: Sha256::new(), left };
            let v = vib(std::io::BufReader::with_capacity(64 * 1024, &mut metered), &mut warnings)
                .map_err(|e| within(&name, e))?;
            std::io::copy(&mut metered, &mut std::io::sink()).map_err(|e| not(format!("{name}: {e}")))?;
            left = metered.left;
            present.insert(name, hex(metered.sha.finalize()));
            vibs.push(v);
        } else if name.ends_with("metadata.zip") && !name.contains('/') {
            metadata = true;
            let mut bytes = Vec::new();
            let limit = MAX_METADATA.min(left);
            entry.take(limit + 1).read_to_end(&mut bytes).map_err(|e| not(format!("{name}: {e}")))?;
            if bytes.len() as u64 > limit {
                return Err(BundleError::TooBig { what: name, size: bytes.len() as u64, limit });
            }
            left -= bytes.len() as u64;
            listed.extend(read_metadata(&bytes, &mut left)?);
        }
    }
    if !metadata {
        warnings.push("the bundle has no metadata.zip: the host will probably refuse it".into());
    }
    for (path, (id, want)) in &listed {
        match (present.get(path), want) {
            (None, _) => warnings.push(format!("{id} is listed in the metadata, but {path} is not in the bundle")),
            (Some(got), Some(want)) if !want.eq_ignore_ascii_case(got) => {
                return Err(BundleError::Digest {
                    what: path.clone(),
                    by: "the bundle's metadata",
                    want: want.clone(),
                    got: got.clone(),
                });
            }
            _ => {}
        }
    }
    if vibs.is_empty() {
        return Err(not("there is no VIB in it".into()));
    }
    Ok(Software { bundle: true, vibs, warnings })
}

fn within(name: &str, e: BundleError) -> BundleError {
    match e {
        BundleError::NotVib(p) => BundleError::NotBundle(format!("{name}: {p}")),
        BundleError::Descriptor(p) => BundleError::Descriptor(format!("{name}: {p}")),
        BundleError::Read(p) => BundleError::NotBundle(format!("{name}: {p}")),
        other => other,
    }
}

/// Path in the bundle → (what it is, SHA-256 of the whole VIB), from `metadata.zip`'s `vibs/*.xml`.
fn read_metadata(bytes: &[u8], left: &mut u64) -> Result<BTreeMap<String, (String, Option<String>)>, BundleError> {
    let not = |problem: String| BundleError::NotBundle(format!("metadata.zip: {problem}"));
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).map_err(|e| not(e.to_string()))?;
    if zip.len() > MAX_ENTRIES {
        return Err(not(format!("it has {} entries", zip.len())));
    }
    let mut out = BTreeMap::new();
    for i in 0..zip.len() {
        let entry = zip.by_index(i).map_err(|e| not(e.to_string()))?;
        let name = entry.name().map_err(|e| not(e.to_string()))?.into_owned();
        if !(name.starts_with("vibs/") && name.ends_with(".xml")) {
            continue;
        }
        let limit = MAX_DESCRIPTOR.min(*left);
        let mut xml = Vec::new();
        entry.take(limit + 1).read_to_end(&mut xml).map_err(|e| not(format!("{name}: {e}")))?;
        if xml.len() as u64 > limit {
            return Err(BundleError::TooBig { what: name, size: xml.len() as u64, limit });
        }
        *left -= xml.len() as u64;
        let d = Descriptor::parse(&xml).map_err(|e| within(&name, e))?;
        if let Some(path) = d.relative_path {
            let sha = d.checksum.filter(descriptor::Checksum::is_sha256).map(|c| c.hex.trim().to_owned());
            out.insert(path.trim().to_owned(), (format!("{} {}", d.name, d.version), sha));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
