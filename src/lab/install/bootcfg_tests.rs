use super::*;

const CFG: &str = "# boot.cfg\r\nbootstate=0\r\ntitle=Loading ESXi installer\r\ntimeout=5\r\nprefix=\r\n\
kernel=/b.b00\r\nkernelopt=runweasel cdromBoot\r\nmodules=/a.gz --- /b.gz --- /imgpayld.tgz\r\n\
build=7.0.3-0.5.18825058\r\nupdated=0\r\nsomething new=kept";

fn cfg(text: &str) -> BootCfg {
    BootCfg::parse(text.as_bytes()).unwrap()
}

#[test]
fn only_the_boot_line_changes() {
    let line = compose_kernelopt(
        &cfg(CFG).kernelopt(),
        &BootOptions { ks: Some("cdrom:/KS.CFG".into()), ..Default::default() },
    );
    let new = cfg(CFG).with_kernelopt(&line.unwrap()).unwrap().to_string();
    assert_eq!(new, CFG.replace("runweasel cdromBoot", "runweasel ks=cdrom:/KS.CFG"));
    assert_eq!(cfg(CFG).to_string(), CFG);
    // A file with line feeds alone keeps them, and a missing line is added as the last one.
    let mut bare = cfg("kernel=b.b00\nmodules=a");
    bare.set("kernelopt", "runweasel");
    assert_eq!(bare.to_string(), "kernel=b.b00\nmodules=a\nkernelopt=runweasel\n");
    let mut upper = cfg("KERNELOPT=x\r\nmodules=a\r\n");
    upper.set("kernelopt", "y");
    assert_eq!(upper.to_string(), "KERNELOPT=y\r\nmodules=a\r\n");
}

#[test]
fn modules_version_and_words_are_read() {
    assert_eq!(cfg(CFG).modules(), ["/a.gz", "/b.gz", "/imgpayld.tgz"]);
    assert_eq!(cfg(CFG).version(), Some((Version { major: 7, minor: 0, patch: 3 }, Some(18_825_058))));
    assert_eq!(cfg(CFG).kernelopt(), ["runweasel", "cdromBoot"]);
    assert!(cfg(CFG).check_installer().is_ok());
    assert_eq!(cfg("kernel=a\nmodules=b\n").check_installer(), Err(BootCfgError::Missing("kernelopt")));
    assert_eq!(BootCfg::parse(b"a\xff"), Err(BootCfgError::NotText(1)));
    assert!(matches!(BootCfg::parse(&vec![b'a'; MAX_FILE + 1]), Err(BootCfgError::TooLarge(_))));
}

#[test]
fn versions_in_the_forms_that_were_seen() {
    let read = |text: &str| version_and_build(text).map(|(v, b)| (v.to_string(), b));
    for (text, version, build) in [
        ("8.0.2-0.0.22380479", "8.0.2", Some(22_380_479)),
        ("7.0.0-1.0.15843807", "7.0.0", Some(15_843_807)),
        ("7.0.3-0.55.20328353", "7.0.3", Some(20_328_353)),
        ("ESXI-8.0U3-24022510-STANDARD", "8.0.3", Some(24_022_510)),
        ("ESXI-6.5.0-4564106-STANDARD", "6.5.0", Some(4_564_106)),
        ("ESXI-6.7U3-14320388", "6.7.0", Some(14_320_388)),
        ("Loading ESXi 9.0.1 installer", "9.0.1", None),
    ] {
        assert_eq!(read(text), Some((version.to_owned(), build)), "{text}");
    }
    for text in ["Loading ESXi installer", "", "1.2-34", "build 24022510"] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn boot_lines() {
    let made = |original: &[&str], options: BootOptions| compose_kernelopt(original, &options);
    let ks = || Some("cdrom:/KS.CFG".to_owned());
    let all = BootOptions {
        ks: ks(),
        system_media_size: Some("min".into()),
        extra: vec!["logPort=com1".into(), "gdbPort=none".into()],
        keep_cdrom_boot: false,
    };
    assert_eq!(
        made(&["runweasel", "cdromBoot"], all.clone()).unwrap(),
        "runweasel ks=cdrom:/KS.CFG systemMediaSize=min logPort=com1 gdbPort=none"
    );
    // A line that was changed before, in another order, gives the same.
    let before = ["cdromBoot", "ks=usb:/old.cfg", "systemMediaSize=max", "logport=com2", "runweasel"];
    assert_eq!(made(&before, all.clone()).unwrap(), made(&["runweasel"], all).unwrap());
    let keep = BootOptions { ks: ks(), keep_cdrom_boot: true, ..Default::default() };
    assert_eq!(made(&["runweasel", "cdromBoot"], keep).unwrap(), "runweasel cdromBoot ks=cdrom:/KS.CFG");
    let with = |ks: &str| made(&[], BootOptions { ks: Some(ks.into()), ..Default::default() });
    assert!(matches!(with("cdrom:/KS CFG"), Err(BootCfgError::BadWord(_))));
    assert!(matches!(with("a\nmodules=x"), Err(BootCfgError::BadWord(_))));
    assert!(matches!(with("file://etc/vmware/weasel/ks.cfg"), Err(BootCfgError::DefaultScript(_))));
    assert!(with(&format!("http://{}", "x".repeat(MAX_BOOT_LINE - 20))).is_ok());
    assert_eq!(with(&format!("http://{}", "x".repeat(MAX_BOOT_LINE - 19))), Err(BootCfgError::LineTooLong(4097)));
    assert!(matches!(cfg(CFG).with_kernelopt("a \"b\""), Err(BootCfgError::BadWord(_))));
    assert_eq!(cfg(CFG).with_kernelopt(&"x".repeat(5000)), Err(BootCfgError::LineTooLong(5000)));
}

#[test]
fn mutated_files_never_panic() {
    let mut seen = 0;
    for at in 0..CFG.len() {
        for byte in [b'=', b'\n', b'\r', b' ', 0, 0xff] {
            let mut bytes = CFG.as_bytes().to_vec();
            bytes[at] = byte;
            seen += usize::from(crate::lab::install::fuzzing::bootcfg(&bytes) > 0);
        }
    }
    assert!(seen > 1000, "{seen}");
}
