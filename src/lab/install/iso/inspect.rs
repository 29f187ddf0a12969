//! What an installer ISO is: version and build from what is inside it, never from its file name.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{BootRecords, Iso, IsoError, identify};
use crate::esxi::Version;
use crate::lab::install::bootcfg::{BootCfg, MAX_FILE, version_and_build};

/// Where an ISO's version was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionSource {
    /// `build=` or `title=` of BOOT.CFG.
    BootCfg,
    /// The volume's name, where BOOT.CFG does not say it.
    VolumeId,
}

/// One of the two boot files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootCfgFile {
    /// Its path as the ISO spells it.
    pub path: String,
    /// Its content.
    pub cfg: BootCfg,
}

/// What is known of an installer ISO.
#[derive(Debug, Clone)]
pub struct IsoInfo {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// SHA-256, lower-case hex; empty if it was not asked for.
    pub sha256: String,
    /// Its version.
    pub version: Version,
    /// Its build number, if the ISO says it.
    pub build: Option<u32>,
    /// Where the version was read.
    pub version_from: VersionSource,
    /// The volume's name, such as `ESXI-8.0U3-24022510-STANDARD`.
    pub volume_id: String,
    /// The words of the boot line.
    pub kernelopt: Vec<String>,
    /// The modules that the boot loader loads.
    pub modules: Vec<String>,
    /// The boot entries; `None` if it does not boot from a CD.
    pub boot: Option<BootRecords>,
    /// The BIOS loader's boot file.
    pub bios_cfg: BootCfgFile,
    /// The UEFI loader's boot file, where there is one.
    pub uefi_cfg: Option<BootCfgFile>,
    /// The path of an install script that is already in it (`/KS.CFG`), for a rebuilt ISO.
    pub ks_inside: Option<String>,
}

impl IsoInfo {
    /// The release line, `8.0`.
    pub fn line(&self) -> String {
        self.version.line()
    }

    /// `ESXi 8.0.3 build 24022510`.
    pub fn title(&self) -> String {
        match self.build {
            Some(build) => format!("ESXi {} build {build}", self.version),
            None => format!("ESXi {}", self.version),
        }
    }
}

/// Looks into the ISO at `path` and hashes it.
pub fn inspect(path: &Path) -> Result<IsoInfo, IsoError> {
    let mut info = inspect_without_hash(path)?;
    let io = |source| IsoError::Io { doing: "read", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    info.sha256 = hex(&hash.finalize());
    Ok(info)
}

/// Looks into the ISO at `path`; its hash stays empty.
pub fn inspect_without_hash(path: &Path) -> Result<IsoInfo, IsoError> {
    look(&mut Iso::open(path)?, path)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn look<R: Read + Seek>(iso: &mut Iso<R>, path: &Path) -> Result<IsoInfo, IsoError> {
    let bios_cfg = match cfg(iso, "/BOOT.CFG", path) {
        Ok(cfg) => cfg,
        Err(IsoError::NoSuchFile { .. }) => return Err(identify::not_esxi(iso, path)),
        Err(other) => return Err(other),
    };
    if let Err(error) = bios_cfg.cfg.check_installer() {
        return Err(IsoError::NotEsxi {
            path: path.to_owned(),
            what: error.to_string(),
            help: "get the ESXi installer ISO".into(),
        });
    }
    let uefi_cfg = match cfg(iso, "/EFI/BOOT/BOOT.CFG", path) {
        Ok(cfg) => Some(cfg),
        Err(IsoError::NoSuchFile { .. }) => None,
        Err(other) => return Err(other),
    };
    let volume_id = iso.volume_id().to_owned();
    let (version_from, (version, build)) = bios_cfg
        .cfg
        .version()
        .or_else(|| uefi_cfg.as_ref()?.cfg.version())
        .map(|found| (VersionSource::BootCfg, found))
        .or_else(|| version_and_build(&volume_id).map(|found| (VersionSource::VolumeId, found)))
        .ok_or_else(|| IsoError::NotEsxi {
            path: path.to_owned(),
            what: format!("neither BOOT.CFG nor its volume name (`{volume_id}`) says a version"),
            help: "if it is ESXi all the same, write the version beside the ISO in lab.yml".into(),
        })?;
    Ok(IsoInfo {
        path: path.to_owned(),
        size: iso.len(),
        sha256: String::new(),
        version,
        build,
        version_from,
        kernelopt: bios_cfg.cfg.kernelopt().into_iter().map(str::to_owned).collect(),
        modules: bios_cfg.cfg.modules().into_iter().map(str::to_owned).collect(),
        boot: iso.boot_records()?,
        bios_cfg,
        uefi_cfg,
        ks_inside: iso.lookup("/KS.CFG").ok().map(|(path, _)| path),
        volume_id,
    })
}

fn cfg<R: Read + Seek>(iso: &mut Iso<R>, name: &str, path: &Path) -> Result<BootCfgFile, IsoError> {
    let (shown, _) = iso.lookup(name)?;
    let bytes = iso.read(name, MAX_FILE as u32)?;
    let cfg = BootCfg::parse(&bytes)
        .map_err(|error| IsoError::Damaged { path: path.to_owned(), what: format!("{shown}: {error}") })?;
    Ok(BootCfgFile { path: shown, cfg })
}
