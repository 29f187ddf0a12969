use super::*;

#[test]
fn the_volume_is_fat16_by_its_own_numbers() {
    let image = ks_stick("accepteula\n").unwrap();
    assert_eq!(image.len(), 16 * 1024 * 1024);
    const { assert!(CLUSTERS >= 4085 && CLUSTERS < 65_525) };
    const { assert!(FAT_SECTORS * SECTOR / 2 >= CLUSTERS + 2) };
    assert_eq!(&image[510..512], [0x55, 0xaa]);
    assert_eq!(ks_stick("accepteula\n").unwrap(), image, "the same content gives the same bytes");
    assert_ne!(ks_stick("accepteula \n").unwrap()[39..43], image[39..43]);
}

/// Reads a file back by the specification, from the boot sector on.
fn read(image: &[u8], name: &str) -> Option<Vec<u8>> {
    let le16 = |at: usize| usize::from(u16::from_le_bytes([image[at], image[at + 1]]));
    let (cluster, fat, root_entries) = (usize::from(image[13]) * le16(11), le16(14) * le16(11), le16(17));
    let root = fat + usize::from(image[16]) * le16(22) * le16(11);
    let data = root + root_entries * 32;
    let entry =
        (0..root_entries).map(|n| &image[root + n * 32..root + n * 32 + 32]).find(|e| &e[..11] == name.as_bytes())?;
    let size = u32::from_le_bytes(entry[28..32].try_into().unwrap()) as usize;
    let mut at = usize::from(u16::from_le_bytes([entry[26], entry[27]]));
    let mut out = Vec::new();
    while out.len() < size {
        let start = data + (at - 2) * cluster;
        out.extend_from_slice(&image[start..start + cluster]);
        at = le16(fat + at * 2);
    }
    assert!(size == 0 || at == 0xffff, "the chain ends where the file does");
    out.truncate(size);
    Some(out)
}

#[test]
fn files_of_every_length_read_back() {
    for length in [0, 1, 511, 2048, 2049, 10_000, 300_000] {
        let data: Vec<u8> = (0..length).map(|n| (n * 7 % 251) as u8).collect();
        let image = fat16_image("TEST", &[("KS.CFG", &data), ("OTHER", b"x")]).unwrap();
        assert_eq!(read(&image, "KS      CFG").unwrap(), data, "{length}");
        assert_eq!(read(&image, "OTHER      ").unwrap(), b"x");
        assert_eq!(read(&image, "NONE       "), None);
    }
}

#[test]
fn names_and_sizes_are_checked() {
    for bad in ["ks.cfg", "TOOLONGNAME.CFG", "KS.CFGX", "", ".CFG", "A B", "A.B.C", "ÄKS"] {
        assert_eq!(fat16_image("T", &[(bad, b"x")]), Err(UsbError::Name(bad.into())), "{bad}");
    }
    assert_eq!(fat16_image("T", &[("A", b"x"), ("A", b"y")]), Err(UsbError::Twice("A".into())));
    assert_eq!(fat16_image("lower", &[]), Err(UsbError::Name("lower".into())));
    let big = vec![0; 17 * 1024 * 1024];
    assert!(matches!(fat16_image("T", &[("A", &big)]), Err(UsbError::Full { .. })));
}

/// The same, in the eyes of other people's programs.
#[test]
fn fsck_and_mtools_agree() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stick.img");
    let ks = "accepteula\n".repeat(500);
    std::fs::write(&file, ks_stick(&ks).unwrap()).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let out = std::process::Command::new(program).args(arguments).env("PATH", path).output();
        let out = out.unwrap_or_else(|e| panic!("{program}: {e}; install the packages dosfstools and mtools"));
        assert!(out.status.success(), "{program}: {out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let name = file.to_str().unwrap();
    let said = run("fsck.fat", &["-n", "-v", name]);
    assert!(said.contains("2 FATs, 16 bit entries"), "{said}");
    // The volume's label counts as a file.
    assert!(said.contains("2 files, 3/8167 clusters"), "{said}");
    assert_eq!(run("mtype", &["-i", name, "::KS.CFG"]), ks);
    assert!(run("mdir", &["-i", name, "::"]).contains("ESXPREP-KS"));
}
