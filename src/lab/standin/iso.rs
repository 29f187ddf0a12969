//! An "installer ISO" in the shape of ESXi's: the same files in the same places, so that what inspects and rebuilds ISOs
//! can be tried. Its boot loaders do nothing: the stand-in is started with `-kernel`, and reads the rest from the CD.
//!
//! The shape (volume id, upper-case 8.3 names, BIOS and UEFI boot entries, keys of BOOT.CFG) follows published
//! descriptions of ESXi ISOs; the order of the keys and the names of the modules are ours.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::cache::{Cache, key, run};
use super::error::IoContext;
use super::{Options, StandinError};
use crate::sim::host::HostState;

/// Counts up when the layout changes, so that no old ISO is taken from the cache.
const LAYOUT: u32 = 1;

fn installed(release: &str) -> Result<(String, u64), StandinError> {
    let release = if release.is_empty() { "8.0" } else { release };
    let state = HostState::factory(release, 0).map_err(|_| StandinError::Release { given: release.to_string() })?;
    Ok((state.version().to_string(), state.build()))
}

/// BOOT.CFG of the release's installer with `boot_options` behind `runweasel`.
///
/// # Errors
/// A release that there is no simulated host of.
pub fn boot_cfg(release: &str, boot_options: &[String]) -> Result<String, StandinError> {
    let (version, build) = installed(release)?;
    let mut words = vec!["runweasel".to_string()];
    words.extend_from_slice(boot_options);
    Ok(format!(
        "bootstate=0\ntitle=Loading ESXi installer\ntimeout=5\nprefix=\nkernel=/b.b00\nkernelopt={}\n\
         modules=/jumpstrt.gz --- /useropts.gz --- /s.v00\nbuild={version}-0.0.{build}\nupdated=0\n",
        words.join(" ")
    ))
}

/// The volume id, as `ESXI-6.5.0-4564106-STANDIN`.
///
/// # Errors
/// A release that there is no simulated host of.
pub fn volume_id(release: &str) -> Result<String, StandinError> {
    let (version, build) = installed(release)?;
    Ok(format!("ESXI-{version}-{build}-STANDIN"))
}

/// The ISO in the cache.
pub(super) fn cached(options: &Options, cache: &Cache) -> Result<PathBuf, StandinError> {
    let cfg = boot_cfg(&options.release, &options.boot_options)?;
    let label = volume_id(&options.release)?;
    let kickstart = options.kickstart.as_deref();
    let hasher = Sha256::new().chain_update(format!("{LAYOUT}\0{cfg}\0{label}\0{}", kickstart.is_some()));
    let name = format!("installer-{}.iso", key(hasher.chain_update(kickstart.unwrap_or_default())));
    cache.file(&name, |path| {
        let scratch = cache.scratch()?;
        let tree = scratch.path().join("tree");
        for (file, content) in files(&cfg, kickstart) {
            let target = tree.join(file);
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder).doing("create", folder)?;
            }
            fs::write(&target, content).doing("write", &target)?;
        }
        build(&tree, &label, path)?;
        // A kickstart holds a password.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).doing("set the mode of", path)
    })
}

fn files(cfg: &str, kickstart: Option<&str>) -> Vec<(&'static str, Vec<u8>)> {
    let stub = |name: &str| format!("stand-in for {name}: not VMware's\n").into_bytes();
    let mut files = vec![
        ("BOOT.CFG", cfg.as_bytes().to_vec()),
        ("EFI/BOOT/BOOT.CFG", cfg.as_bytes().to_vec()),
        ("EFI/BOOT/BOOTX64.EFI", stub("BOOTX64.EFI")),
        ("EFIBOOT.IMG", vec![0; 64 * 1024]),
        ("ISOLINUX.BIN", isolinux()),
        ("ISOLINUX.CFG", b"DEFAULT MBOOT.C32\nLABEL install\n  KERNEL MBOOT.C32\n  APPEND -c BOOT.CFG\n".to_vec()),
        ("MBOOT.C32", stub("MBOOT.C32")),
        ("B.B00", stub("the VMkernel")),
        ("JUMPSTRT.GZ", stub("jumpstrt.gz")),
        ("USEROPTS.GZ", stub("useropts.gz")),
        ("S.V00", stub("s.v00")),
    ];
    if let Some(text) = kickstart {
        files.push(("KS.CFG", text.as_bytes().to_vec()));
    }
    files
}

/// A boot sector that halts. mkisofs writes its table of boot information over bytes 8 to 63.
fn isolinux() -> Vec<u8> {
    let mut code = vec![0; 2048];
    code[..3].copy_from_slice(&[0xeb, 0x3e, 0x90]);
    code[64..67].copy_from_slice(&[0xf4, 0xeb, 0xfd]);
    code
}

fn build(tree: &Path, label: &str, out: &Path) -> Result<(), StandinError> {
    let mut command = Command::new("xorriso");
    command.args(["-no_rc", "-as", "mkisofs", "-quiet", "-relaxed-filenames", "-J", "-R", "-V", label, "-o"]);
    command.arg(out);
    command.args(["-b", "ISOLINUX.BIN", "-c", "BOOT.CAT", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]);
    command.args(["-eltorito-alt-boot", "-e", "EFIBOOT.IMG", "-no-emul-boot"]).arg(tree);
    run(&mut command, "xorriso", "install xorriso").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(release: &str) -> Options {
        Options {
            release: release.into(),
            kickstart: Some("accepteula\n".into()),
            boot_options: vec!["ks=cdrom:/KS.CFG".into()],
            ..Options::default()
        }
    }

    #[test]
    fn boot_cfg_says_version_and_build() {
        let cfg = boot_cfg("6.5", &["ks=usb:/KS.CFG".into()]).unwrap();
        assert!(cfg.contains("\nkernelopt=runweasel ks=usb:/KS.CFG\n"), "{cfg}");
        assert!(cfg.lines().any(|line| line.starts_with("build=6.5.0-0.0.")), "{cfg}");
        assert!(matches!(boot_cfg("5.5", &[]), Err(StandinError::Release { .. })));
    }

    #[test]
    fn the_iso_has_both_boot_entries_and_every_file() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        let iso = cached(&options("7.0"), &cache).expect("this test needs xorriso");
        assert_eq!(cached(&options("7.0"), &cache).unwrap(), iso);
        assert_eq!(iso.metadata().unwrap().permissions().mode() & 0o777, 0o600, "it holds a password");
        assert_ne!(cached(&options("8.0"), &cache).unwrap(), iso);
        let mut command = Command::new("xorriso");
        command.args(["-no_rc", "-indev"]).arg(&iso).args(["-report_el_torito", "plain", "-find", "/", "-type", "f"]);
        let text = String::from_utf8(run(&mut command, "xorriso", "").unwrap()).unwrap();
        assert!(text.contains("BIOS") && text.contains("UEFI"), "{text}");
        for file in ["'/BOOT.CFG'", "'/EFI/BOOT/BOOT.CFG'", "'/KS.CFG'", "'/EFIBOOT.IMG'", "'/MBOOT.C32'"] {
            assert!(text.contains(file), "{file} is missing: {text}");
        }
    }
}
