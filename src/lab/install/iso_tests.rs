use std::io::{Cursor, Write};
use std::path::Path;

use super::*;

/// A hand-made ISO: sector 16 and 17 descriptors, 18 terminator, 19 catalogue, 20 root, 21 EFI, 22 EFI/BOOT, files after.
struct Image(Vec<u8>);

fn record(name: &[u8], sector: u32, size: u32, folder: bool, system_use: &[u8]) -> Vec<u8> {
    let mut r = vec![0; 33];
    r[2..6].copy_from_slice(&sector.to_le_bytes());
    r[6..10].copy_from_slice(&sector.to_be_bytes());
    r[10..14].copy_from_slice(&size.to_le_bytes());
    r[14..18].copy_from_slice(&size.to_be_bytes());
    r[25] = 2 * u8::from(folder);
    r[32] = name.len() as u8;
    r.extend_from_slice(name);
    if name.len().is_multiple_of(2) {
        r.push(0);
    }
    r.extend_from_slice(system_use);
    if r.len() % 2 == 1 {
        r.push(0);
    }
    r[0] = r.len() as u8;
    r
}

fn nm(name: &[u8]) -> Vec<u8> {
    [b"NM", &[5 + name.len() as u8, 1, 0][..], name].concat()
}

impl Image {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let mut image = Self(vec![0; 64 * SECTOR as usize]);
        let mut root = vec![record(&[0], 20, 2048, true, &[]), record(&[1], 20, 2048, true, &[])];
        let mut deep = vec![record(&[0], 22, 2048, true, &[]), record(&[1], 21, 2048, true, &[])];
        for (n, (path, data)) in files.iter().enumerate() {
            let sector = 30 + n as u32;
            let name = path.rsplit('/').next().unwrap();
            let r = record(format!("{name};1").as_bytes(), sector, data.len() as u32, false, &[]);
            if path.starts_with("/EFI/BOOT/") {
                deep.push(r)
            } else {
                root.push(r)
            }
            image.put(sector, 0, data);
        }
        root.push(record(b"EFI", 21, 2048, true, &[]));
        let efi = [
            record(&[0], 21, 2048, true, &[]),
            record(&[1], 20, 2048, true, &[]),
            record(b"BOOT", 22, 2048, true, &[]),
        ];
        image.put(20, 0, &root.concat());
        image.put(21, 0, &efi.concat());
        image.put(22, 0, &deep.concat());
        image.put(16, 0, b"\x01CD001\x01");
        image.put(16, 40, format!("{:32}", "ESXI-8.0U3-24022510-STANDARD").as_bytes());
        image.put(16, 80, &64u32.to_le_bytes());
        image.put(16, 128, &2048u16.to_le_bytes());
        image.put(16, 156, &record(&[0], 20, 2048, true, &[]));
        image.put(17, 0, b"\0CD001\x01EL TORITO SPECIFICATION");
        image.put(17, 0x47, &19u32.to_le_bytes());
        image.put(18, 0, b"\xffCD001\x01");
        let mut catalogue = [[0u8; 32]; 4];
        catalogue[0][0] = 1;
        catalogue[0][30..].copy_from_slice(&[0x55, 0xaa]);
        catalogue[0][28..30].copy_from_slice(&0x55aau16.wrapping_add(1).wrapping_neg().to_le_bytes());
        let sum = catalogue[0].chunks(2).fold(0u16, |s, w| s.wrapping_add(u16::from_le_bytes([w[0], w[1]])));
        let fix = u16::from_le_bytes([catalogue[0][28], catalogue[0][29]]).wrapping_sub(sum);
        catalogue[0][28..30].copy_from_slice(&fix.to_le_bytes());
        catalogue[1][0] = 0x88;
        catalogue[1][6] = 4;
        catalogue[1][8] = 40;
        catalogue[2][0] = 0x91;
        catalogue[2][1] = 0xef;
        catalogue[2][2] = 1;
        catalogue[3][0] = 0x88;
        catalogue[3][8] = 41;
        image.put(19, 0, &catalogue.concat());
        image
    }

    fn put(&mut self, sector: u32, at: usize, bytes: &[u8]) {
        let at = sector as usize * 2048 + at;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn open(&self) -> Result<Iso<Cursor<&[u8]>>, IsoError> {
        Iso::new(Cursor::new(self.0.as_slice()), Path::new("test.iso"))
    }
}

const CFG: &[u8] = b"bootstate=0\r\ntitle=Loading ESXi installer\r\ntimeout=5\r\nprefix=\r\nkernel=/b.b00\r\n\
kernelopt=runweasel cdromBoot\r\nmodules=/jumpstrt.gz --- /useropts.gz --- /k.b00\r\nbuild=8.0.3-0.0.24022510\r\nupdated=0\r\n";

fn esxi() -> Image {
    Image::new(&[("/BOOT.CFG", CFG), ("/MBOOT.C32", b"loader"), ("/EFI/BOOT/BOOT.CFG", CFG)])
}

#[test]
fn folders_files_and_boot_entries_are_read() {
    let image = esxi();
    let mut iso = image.open().unwrap();
    assert_eq!(iso.volume_id(), "ESXI-8.0U3-24022510-STANDARD");
    let names: Vec<String> = iso.list("/").unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["BOOT.CFG", "MBOOT.C32", "EFI"]);
    assert_eq!(iso.read("/efi/boot/boot.cfg", 10_000).unwrap(), CFG);
    assert_eq!(iso.lookup("efi/boot").unwrap().0, "/EFI/BOOT");
    let paths: Vec<String> = iso.walk().unwrap().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/BOOT.CFG", "/MBOOT.C32", "/EFI", "/EFI/BOOT", "/EFI/BOOT/BOOT.CFG"]);
    assert!(matches!(iso.read("/BOOT.CFG", 10), Err(IsoError::Damaged { .. })), "longer than allowed");
    assert!(matches!(iso.read("/NOPE", 10), Err(IsoError::NoSuchFile { .. })));
    assert!(matches!(iso.read("/BOOT.CFG/X", 10), Err(IsoError::NoSuchFile { .. })));
    let boot = iso.boot_records().unwrap().unwrap();
    assert!(boot.boots(Platform::Bios) && boot.boots(Platform::Uefi));
    assert_eq!((boot.entries[0].sectors, boot.entries[0].sector, boot.entries[1].sector), (4, 40, 41));
}

#[test]
fn an_installer_says_what_it_is() {
    let image = esxi();
    let info = look(&mut image.open().unwrap(), Path::new("wrong-name-6.5.iso")).unwrap();
    assert_eq!(info.title(), "ESXi 8.0.3 build 24022510");
    assert_eq!((info.line().as_str(), info.version_from), ("8.0", VersionSource::BootCfg));
    assert_eq!(info.kernelopt, ["runweasel", "cdromBoot"]);
    assert_eq!(info.modules, ["/jumpstrt.gz", "/useropts.gz", "/k.b00"]);
    assert_eq!(info.bios_cfg.path, "/BOOT.CFG");
    assert_eq!(info.uefi_cfg.unwrap().path, "/EFI/BOOT/BOOT.CFG");
    assert_eq!(info.ks_inside, None);
}

#[test]
fn the_volume_name_helps_where_boot_cfg_is_silent() {
    let cfg = String::from_utf8(CFG.to_vec()).unwrap().replace("build=8.0.3-0.0.24022510", "build=");
    let image = Image::new(&[("/BOOT.CFG", cfg.as_bytes())]);
    let info = look(&mut image.open().unwrap(), Path::new("x")).unwrap();
    assert_eq!((info.title().as_str(), info.version_from), ("ESXi 8.0.3 build 24022510", VersionSource::VolumeId));
    assert!(info.uefi_cfg.is_none());
}

#[test]
fn rock_ridge_names_are_shown_and_both_names_are_found() {
    let mut image = Image::new(&[]);
    let file = record(b"KS_LONG_.CFG;1", 30, 2, false, &nm(b"ks-long-name.cfg"));
    let two = record(b"A.;1", 30, 1, false, &[nm(b"part"), nm(b"ed")].concat());
    image.put(20, 0, &[file, two].concat());
    image.put(30, 0, b"hi");
    let mut iso = image.open().unwrap();
    let names: Vec<(String, String)> = iso.list("/").unwrap().into_iter().map(|e| (e.name, e.plain)).collect();
    assert_eq!(names[0], ("ks-long-name.cfg".into(), "KS_LONG_.CFG".into()));
    assert_eq!(names[1], ("parted".into(), "A".into()));
    assert_eq!(iso.read("/ks-long-name.cfg", 10).unwrap(), b"hi");
    assert_eq!(iso.read("/KS_LONG_.CFG", 10).unwrap(), b"hi");
}

#[test]
fn loops_end_and_pointers_outside_are_refused() {
    let mut image = Image::new(&[]);
    // EFI points back to the root, and a folder points to itself.
    image.put(20, 0, &[record(b"EFI", 20, 2048, true, &[]), record(b"UP", 21, 2048, true, &[])].concat());
    image.put(21, 0, &record(b"SELF", 21, 2048, true, &[]));
    let mut iso = image.open().unwrap();
    assert_eq!(iso.walk().unwrap().len(), 3);
    assert_eq!(iso.lookup(&"/EFI".repeat(16)).unwrap().1.sector, 20);
    assert!(matches!(iso.lookup(&"/EFI".repeat(17)), Err(IsoError::NoSuchFile { .. })));

    image.put(20, 0, &record(b"FAR", 1 << 30, u32::MAX, false, &[]));
    let mut iso = image.open().unwrap();
    assert!(matches!(iso.read("/FAR", u32::MAX), Err(IsoError::Damaged { .. })));
    image.put(20, 0, &record(b"FAR", 1 << 30, 2048, true, &[]));
    assert!(matches!(image.open().unwrap().walk(), Err(IsoError::Damaged { .. })));
    image.put(20, 0, &record(b"BIG", 20, u32::MAX, true, &[]));
    assert!(matches!(image.open().unwrap().list("/BIG"), Err(IsoError::Damaged { .. })));
    image.put(20, 0, &[40, 0, 0]);
    image.put(20, 32, &[200]);
    assert!(matches!(image.open().unwrap().list("/"), Err(IsoError::Damaged { .. })), "a name longer than its record");
}

#[test]
fn a_bad_catalogue_is_damage() {
    let mut image = esxi();
    image.put(19, 4, b"x");
    assert!(image.open().unwrap().boot_records().unwrap_err().to_string().contains("checksum"));
    let mut image = esxi();
    image.put(19, 32 + 8, &u32::MAX.to_le_bytes());
    assert!(image.open().unwrap().boot_records().unwrap_err().to_string().contains("behind the end"));
}

#[test]
fn boot_entries_are_compared_without_their_place() {
    let image = esxi();
    let before = image.open().unwrap().boot_records().unwrap().unwrap();
    let mut after = before.clone();
    after.entries[0].sector += 5;
    after.catalog_sector += 1;
    assert!(before.differences(&after).is_empty());
    after.entries[1].bootable = false;
    assert!(before.differences(&after)[0].contains("not bootable"));
    after.entries.pop();
    assert!(before.differences(&after)[0].ends_with("-> nothing"));
}

#[test]
fn what_is_no_iso_is_named() {
    let said = |bytes: &[u8]| Iso::new(Cursor::new(bytes), Path::new("f")).unwrap_err().to_string();
    let zip = |names: &[&str]| {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(b"x").unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let bundle = zip(&["index.xml", "vendor-index.xml", "metadata.zip", "vib20/a.vib"]);
    let mut tar = vec![0; 40_960];
    tar[257..262].copy_from_slice(b"ustar");
    let mut disk = vec![0; 40_960];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (bytes, words) in [
        (bundle.as_slice(), "offline bundle"),
        (&bundle[..40], "cut off"),
        (&zip(&["a/VMware.iso"]), "with an ISO in it"),
        (&zip(&["readme"]), "a zip archive"),
        (b"", "empty file"),
        (b"\n<!DOCTYPE html><html>login", "web page"),
        (b"QFI\xfb....", "qcow2"),
        (&tar, "tar archive"),
        (&disk, "boot sector"),
        (&[7; 100], "only 100 bytes"),
        (&[0; 100_000], "zeros"),
        (&[7; 100_000], "unknown kind"),
    ] {
        let error = said(bytes);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_cut_download_is_told_by_its_length() {
    let image = esxi();
    let short = &image.0[..50 * 2048];
    let error = Iso::new(Cursor::new(short), Path::new("cut.iso")).unwrap_err();
    assert!(matches!(error, IsoError::Truncated { expected: 131_072, actual: 102_400, .. }), "{error}");
}

#[test]
fn other_isos_are_named() {
    for (file, words) in [("/BOOTMGR", "Windows"), ("/MANIFEST.TXT", "Tools"), ("/README", "no BOOT.CFG")] {
        let image = Image::new(&[(file, b"x")]);
        let error = look(&mut image.open().unwrap(), Path::new("x.iso")).unwrap_err();
        assert!(matches!(&error, IsoError::NotEsxi { .. }) && error.to_string().contains(words), "{error}");
    }
    let mut image = Image::new(&[]);
    image.put(20, 0, &record(b"CASPER", 21, 2048, true, &[]));
    let error = look(&mut image.open().unwrap(), Path::new("x.iso")).unwrap_err();
    assert!(error.to_string().contains("Ubuntu"), "{error}");
    let image = Image::new(&[("/BOOT.CFG", b"hello=1\n")]);
    let error = look(&mut image.open().unwrap(), Path::new("x.iso")).unwrap_err();
    assert!(error.to_string().contains("kernel="), "{error}");
}

#[test]
fn folders_and_missing_files_are_errors_with_the_path() {
    let error = Iso::open(Path::new("/")).unwrap_err().to_string();
    assert!(error.contains("a folder"), "{error}");
    let error = Iso::open(Path::new("/no/such.iso")).unwrap_err().to_string();
    assert!(error.contains("/no/such.iso") && error.contains("cannot open"), "{error}");
}

#[test]
fn the_hash_is_of_the_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.iso");
    std::fs::write(&path, &esxi().0).unwrap();
    use sha2::{Digest, Sha256};
    assert_eq!(inspect(&path).unwrap().sha256, hex(&Sha256::digest(&esxi().0)));
    assert_eq!(inspect_without_hash(&path).unwrap().sha256, "");
}

/// Every byte of the structures takes other values: never a panic, never without end.
#[test]
fn mutated_images_never_panic() {
    let image = esxi();
    let mut answers = 0;
    for at in (16 * 2048..23 * 2048).step_by(3) {
        for value in [0, 1, 0x22, 0x80, 0xff] {
            if image.0[at] == value || (image.0[at] == 0 && at % 7 != 0) {
                continue;
            }
            let mut bytes = image.0.clone();
            bytes[at] = value;
            answers += usize::from(crate::lab::install::fuzzing::iso(&bytes) > 0);
        }
    }
    for length in (0..image.0.len()).step_by(1021) {
        crate::lab::install::fuzzing::iso(&image.0[..length]);
    }
    assert!(answers > 500, "{answers}");
}
