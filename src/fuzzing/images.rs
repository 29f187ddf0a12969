//! Seeds that are no text: a small installer CD, FAT volumes, a screen, Ethernet frames, a saved state.

use std::io::Write;

const SECTOR: usize = 2048;

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A number as ISO 9660 has it: with the least byte first, then with the most.
fn both(number: u32) -> [u8; 8] {
    let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
    std::array::from_fn(|n| if n < 4 { little[n] } else { big[n - 4] })
}

/// A directory record, with a Rock Ridge name if there is one.
fn record(name: &[u8], sector: usize, size: usize, folder: bool, rock_ridge: &[u8]) -> Vec<u8> {
    let mut record = vec![0; 33];
    put(&mut record, 2, &both(sector as u32));
    put(&mut record, 10, &both(size as u32));
    record[25] = if folder { 2 } else { 0 };
    record[28] = 1;
    record[32] = name.len() as u8;
    record.extend_from_slice(name);
    if record.len() % 2 == 1 {
        record.push(0);
    }
    if !rock_ridge.is_empty() {
        record.extend_from_slice(&[b'N', b'M', 5 + rock_ridge.len() as u8, 1, 0]);
        record.extend_from_slice(rock_ridge);
    }
    if record.len() % 2 == 1 {
        record.push(0);
    }
    record[0] = record.len() as u8;
    record
}

/// An installer's `BOOT.CFG`.
const BOOT_CFG: &str = "bootstate=0\ntitle=Loading ESXi installer\ntimeout=5\nprefix=\nkernel=/b.b00\n\
    kernelopt=runweasel cdromBoot\nmodules=/jumpstrt.gz --- /useropts.gz --- /s.v00\nbuild=8.0.2-0.0.22380479\nupdated=0\n";
const KS_CFG: &str = "vmaccepteula\nrootpw VMware1!\ninstall --firstdisk --overwritevmfs\nreboot\n";

pub(super) const BOOT_CFGS: &[&str] = &[BOOT_CFG];

/// The sectors of an installer CD from the sixteenth on: the ones before it hold nothing.
pub(crate) fn discs() -> Vec<Vec<u8>> {
    let mut image = vec![0; 9 * SECTOR];
    let sector = |number: usize| (number - 16) * SECTOR;
    let at = sector(16);
    put(&mut image, at, b"\x01CD001\x01");
    put(&mut image, at + 40, b"ESXI-8.0.2-22380479-STANDARD    ");
    put(&mut image, at + 80, &both(25));
    put(&mut image, at + 128, &[0, 8, 8, 0]);
    put(&mut image, at + 156, &record(&[0], 19, SECTOR, true, b""));
    let at = sector(17);
    put(&mut image, at, b"\x00CD001\x01EL TORITO SPECIFICATION");
    put(&mut image, at + 0x47, &20_u32.to_le_bytes());
    put(&mut image, sector(18), b"\xffCD001\x01");
    let folder = |image: &mut [u8], number: usize, entries: &[Vec<u8>]| {
        let dots = [record(&[0], number, SECTOR, true, b""), record(&[1], 19, SECTOR, true, b"")];
        put(image, sector(number), &[dots.concat(), entries.concat()].concat());
    };
    let boot = record(b"BOOT.CFG;1", 21, BOOT_CFG.len(), false, b"boot.cfg");
    let script = record(b"KS.CFG;1", 22, KS_CFG.len(), false, b"");
    folder(&mut image, 19, &[boot.clone(), record(b"EFI", 23, SECTOR, true, b"efi"), script]);
    // A catalogue: validation entry, a BIOS image, a section with a UEFI one.
    let mut catalogue = vec![0; 4 * 32];
    put(&mut catalogue, 0, &[1]);
    put(&mut catalogue, 28, &[0xaa, 0x55, 0x55, 0xaa]);
    put(&mut catalogue, 32, &[0x88, 0, 0, 0, 0, 0, 4, 0, 21]);
    put(&mut catalogue, 64, &[0x91, 0xef, 1, 0]);
    put(&mut catalogue, 96, &[0x88, 0, 0, 0, 0, 0, 8, 0, 22]);
    let sum = catalogue[..32].chunks(2).fold(0_u16, |sum, w| sum.wrapping_add(u16::from_le_bytes([w[0], w[1]])));
    let fix = u16::from_le_bytes([catalogue[28], catalogue[29]]).wrapping_sub(sum);
    put(&mut catalogue, 28, &fix.to_le_bytes());
    put(&mut image, sector(20), &catalogue);
    put(&mut image, sector(21), BOOT_CFG.as_bytes());
    put(&mut image, sector(22), KS_CFG.as_bytes());
    folder(&mut image, 23, &[record(b"BOOT", 24, SECTOR, true, b"")]);
    folder(&mut image, 24, &[boot]);
    vec![image]
}

fn entry(name: &[u8; 11], attributes: u8, cluster: u8, size: usize) -> Vec<u8> {
    let mut entry = vec![0; 32];
    put(&mut entry, 0, name);
    entry[11] = attributes;
    entry[26] = cluster;
    put(&mut entry, 28, &(size as u32).to_le_bytes());
    entry
}

/// A volume of 24 sectors with `KS.CFG` in clusters 3 and 5, and `SUB/B.CFG`.
fn volume(fat32: bool) -> Vec<u8> {
    let mut image = vec![0; 24 * 512];
    let text = b"# a kickstart\n".repeat(50);
    put(&mut image, 0, &[0xeb, 0x3c, 0x90]);
    put(&mut image, 11, &[0, 2, 1, 1, 0, 1, if fat32 { 0 } else { 16 }, 0, 24, 0, 0xf8]);
    let table: [u32; 8] = [0xfff_fff8, 0xfff_ffff, 0xfff_ffff, 5, 0xfff_ffff, 0xfff_ffff, 0xfff_ffff, 0];
    let data = if fat32 { 2 } else { 3 };
    if fat32 {
        put(&mut image, 36, &1_u32.to_le_bytes());
        put(&mut image, 44, &2_u32.to_le_bytes());
        put(&mut image, 512, &table.map(u32::to_le_bytes).concat());
    } else {
        put(&mut image, 22, &[1]);
        let pairs = table.chunks(2).flat_map(|pair| {
            let [a, b] = [pair[0] & 0xfff, pair[1] & 0xfff];
            [a as u8, (a >> 8 | (b & 0xf) << 4) as u8, (b >> 4) as u8]
        });
        put(&mut image, 512, &pairs.collect::<Vec<_>>());
    }
    put(&mut image, 510, &[0x55, 0xaa]);
    let cluster = |number: usize| (data + number - 2) * 512;
    let root = if fat32 { cluster(2) } else { 2 * 512 };
    let entries =
        [entry(b"STICK      ", 8, 0, 0), entry(b"KS      CFG", 0x20, 3, text.len()), entry(b"SUB        ", 0x10, 4, 0)];
    put(&mut image, root, &entries.concat());
    put(&mut image, cluster(3), &text[..512]);
    put(&mut image, cluster(5), &text[512..]);
    put(&mut image, cluster(4), &entry(b"B       CFG", 0x20, 6, 5));
    put(&mut image, cluster(6), b"hello");
    image
}

/// Volumes on the whole stick, and one in a partition.
pub(crate) fn sticks() -> Vec<Vec<u8>> {
    let mut parted = vec![0; 512];
    put(&mut parted, 446, &[0x80, 0, 0, 0, 0x0c, 0, 0, 0, 1, 0, 0, 0, 24, 0, 0, 0]);
    put(&mut parted, 510, &[0x55, 0xaa]);
    vec![volume(false), volume(true), [parted, volume(false)].concat()]
}

/// A screen as PPM and as PNG.
pub(super) fn screens() -> Vec<Vec<u8>> {
    let pixels: Vec<u8> = (0..16 * 12).flat_map(|n| if n % 7 == 0 { [255; 3] } else { [128, 0, 128] }).collect();
    let mut all = vec![[b"P6\n# a screen\n16 12\n255\n", pixels.as_slice()].concat()];
    let screen = crate::lab::install::screen::Screen { width: 16, height: 12, rgb: pixels };
    all.extend(screen.to_png());
    all
}

/// Frames of guests, each behind its port and length: a broadcast, its answer, one with a tag, one that is cut.
pub(super) fn frames() -> Vec<Vec<u8>> {
    let frame = |port: u8, to: u8, from: u8, rest: &[u8]| {
        let (to, from) = (if to == 0xff { [0xff; 6] } else { [2, 0, 0, 0, 0, to] }, [2, 0, 0, 0, 0, from]);
        [&[port, 12 + rest.len() as u8], to.as_slice(), &from, rest].concat()
    };
    let arp = [&[0x08, 0x06][..], &[7; 28]].concat();
    let tagged = [&[0x81, 0x00, 0x60, 0x0a, 0x08, 0x00][..], &[1; 60]].concat();
    let all = [frame(0, 0xff, 1, &arp), frame(1, 1, 2, &arp), frame(2, 3, 4, &tagged), frame(3, 4, 3, &tagged)];
    let flapping = [frame(0, 9, 1, &arp), frame(2, 9, 1, &arp)].concat().repeat(4);
    vec![all.concat(), flapping, frame(2, 1, 4, &tagged[..3])]
}

/// A kernel's image with a header that says where the compressed kernel is, and a module's section.
pub(super) fn kernels() -> Vec<Vec<u8>> {
    let mut image = vec![0; 5 * 512 + 100];
    image[0x1f1] = 4;
    put(&mut image, 0x202, b"HdrS");
    put(&mut image, 0x248, &100_u32.to_le_bytes());
    put(&mut image, 0x24c, &64_u32.to_le_bytes());
    image.extend_from_slice(b"\xfd7zXZ\0");
    image.resize(image.len() + 100, 7);
    vec![image, b"\x7fELF\0license=GPL\0depends=virtio-ring,scsi_mod\0name=x\0".to_vec()]
}

/// What the stand-in keeps on its disk, and the same unpacked: the reader is given both.
pub(crate) fn states() -> Vec<Vec<u8>> {
    let mut plain = Vec::new();
    for (name, content) in [("bootbank/etc/shadow", "root:x"), ("firstboot", "esxcli system shutdown poweroff\n")] {
        plain.extend_from_slice(&(name.len() as u32).to_le_bytes());
        plain.extend_from_slice(name.as_bytes());
        plain.extend_from_slice(&0o600_u32.to_le_bytes());
        plain.extend_from_slice(&(content.len() as u64).to_le_bytes());
        plain.extend_from_slice(content.as_bytes());
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let _ = gzip.write_all(&plain);
    let mut all = vec![plain];
    all.extend(gzip.finish());
    all
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use crate::lab::install::iso::{self, Iso, Platform};
    use crate::lab::install::screen::Screen;

    /// Seeds that are damaged from the start would only try the first error.
    #[test]
    fn the_disc_is_an_installer_and_the_screens_are_screens() {
        let image = crate::fuzzing::behind_system_area(&super::discs()[0]);
        let mut disc = Iso::new(Cursor::new(image), Path::new("x.iso")).unwrap();
        assert_eq!(disc.walk().unwrap().len(), 5);
        assert!(disc.boot_records().unwrap().unwrap().boots(Platform::Uefi));
        let info = iso::look(&mut disc, Path::new("x.iso")).unwrap();
        assert!(format!("{info:?}").contains("22380479"), "{info:?}");
        let looks: Vec<_> = super::screens().iter().map(|screen| Screen::decode(screen).unwrap().look()).collect();
        assert_eq!((looks.len(), looks[0]), (2, looks[1]));
    }
}
