//! What a file is when it is not an ESXi installer: the error should say what went wrong, not only that it did.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::{Iso, IsoError};

/// Beginning of a file, what it is, and what to do.
const MAGIC: &[(usize, &[u8], &str, &str)] = &[
    (0, b"QFI\xfb", "a qcow2 disk image", "name it as a host's disk, not as its ISO"),
    (0, b"KDMV", "a VMDK disk image", "name it as a host's disk, not as its ISO"),
    (0, b"# Disk DescriptorFile", "the description file of a VMDK", "name the installer ISO"),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it first (gunzip)"),
    (0, b"\xfd7zXZ", "an xz archive", "unpack it first (unxz)"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first (unzstd)"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (0, b"Rar!", "a rar archive", "unpack it first"),
    (0, b"\x7fELF", "a program", "name the installer ISO"),
    (0, b"<?xml", "an XML file", "name the installer ISO"),
    (257, b"ustar", "a tar archive (an OVA is one)", "an appliance image has no installer in it; get the ISO"),
    (512, b"EFI PART", "a disk image with a GPT", "name it as a host's disk, not as its ISO"),
    (510, b"\x55\xaa", "a disk image with a boot sector", "name it as a host's disk, not as its ISO"),
];

const GET: &str = "get the ESXi installer ISO (VMware-VMvisor-Installer-...iso) again";

/// The error for a file without ISO 9660 descriptors.
pub(super) fn not_an_iso<R: Read + Seek>(reader: &mut R, path: &Path, len: u64) -> IsoError {
    let error =
        |what: &str, help: &str| IsoError::NotIso { path: path.to_owned(), what: what.into(), help: help.into() };
    let mut head = Vec::new();
    if let Err(source) = reader.seek(SeekFrom::Start(0)).and_then(|_| reader.take(1024).read_to_end(&mut head)) {
        return IsoError::Io { doing: "read", path: path.to_owned(), source };
    }
    if head.is_empty() {
        return error("an empty file", GET);
    }
    if head.starts_with(b"PK\x03\x04") {
        let (what, help) = zip_kind(reader);
        return error(what, help);
    }
    let lower = String::from_utf8_lossy(&head).to_ascii_lowercase();
    if lower.trim_start().starts_with("<!doctype html") || lower.trim_start().starts_with("<html") {
        return error(
            "a web page",
            "the download gave a page (a login form, most likely) and not the file: log in first",
        );
    }
    for (at, magic, what, help) in MAGIC {
        if head.get(*at..).is_some_and(|rest| rest.starts_with(magic)) {
            return error(what, help);
        }
    }
    if len < 17 * super::SECTOR {
        return error(&format!("only {len} bytes long"), "the download was cut off: get it again");
    }
    if head.iter().all(|b| *b == 0) {
        return error("a file of zeros, or an ISO whose beginning was never written", GET);
    }
    error("an unknown kind of file", GET)
}

fn zip_kind<R: Read + Seek>(reader: &mut R) -> (&'static str, &'static str) {
    let names: Vec<String> =
        match reader.rewind().map_err(|_| ()).and_then(|()| zip::ZipArchive::new(reader).map_err(|_| ())) {
            Ok(archive) => archive.file_names().filter_map(|name| name.ok()).map(|name| name.to_string()).collect(),
            Err(()) => return ("a zip archive, and cut off", "get it again"),
        };
    if names.iter().any(|name| name == "index.xml" || name == "metadata.zip") {
        (
            "an ESXi offline bundle (a depot, for updates)",
            "it has no installer; get the ISO of the same release, or apply the bundle to an installed host",
        )
    } else if names.iter().any(|name| name.to_ascii_lowercase().ends_with(".iso")) {
        ("a zip archive with an ISO in it", "unpack it first (unzip)")
    } else {
        ("a zip archive", GET)
    }
}

/// Files and folders that tell an ISO's kind.
const KINDS: &[(&str, &str)] = &[
    ("/vcsa", "the vCenter Server appliance's installer"),
    ("/vcsa-ui-installer", "the vCenter Server appliance's installer"),
    ("/sources/install.wim", "a Windows installer"),
    ("/bootmgr", "a Windows disc"),
    ("/casper", "an Ubuntu or Mint ISO (Linux)"),
    ("/live", "a Linux live ISO"),
    ("/.disk/info", "a Debian or Ubuntu ISO (Linux)"),
    ("/install.amd", "a Debian installer (Linux)"),
    ("/images/pxeboot", "a Fedora or Red Hat ISO (Linux)"),
    ("/boot/x86_64/loader", "a SUSE ISO (Linux)"),
    ("/arch", "an Arch Linux ISO"),
    ("/boot/vmlinuz", "a Linux ISO"),
    ("/isolinux", "a Linux ISO"),
    ("/boot/grub", "a Linux ISO"),
    ("/manifest.txt", "a VMware Tools or driver ISO"),
    ("/linux.iso", "a VMware Tools ISO"),
    ("/meta-data", "a cloud-init seed"),
];

/// The error for an ISO without an ESXi installer's files.
pub(super) fn not_esxi<R: Read + Seek>(iso: &mut Iso<R>, path: &Path) -> IsoError {
    let kind = KINDS.iter().find(|(file, _)| matches!(iso.lookup(file), Ok((_, _))));
    let what = match kind {
        Some((_, what)) => format!("it looks like {what}"),
        None => "it has no BOOT.CFG".to_owned(),
    };
    let volume = iso.volume_id().to_owned();
    let what = if volume.is_empty() { what } else { format!("{what}, its volume is called `{volume}`") };
    IsoError::NotEsxi { path: path.to_owned(), what, help: GET.into() }
}
