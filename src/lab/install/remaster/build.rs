//! Running xorriso and checking what it made.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{KS_PATH, RemasterError, RemasterSpec};
use crate::lab::install::bootcfg::compose_kernelopt;
use crate::lab::install::iso::{BootRecords, Iso, IsoError, IsoInfo, Platform, inspect_without_hash};

/// The xorriso program.
#[derive(Debug, Clone)]
pub struct Xorriso(PathBuf);

impl Xorriso {
    /// The one in PATH.
    pub fn find() -> Result<Self, RemasterError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|dir| dir.join("xorriso")).find(|file| is_program(file));
        found.map(Self).ok_or(RemasterError::NoXorriso)
    }

    /// This one.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn run(&self, argv: &[OsString]) -> Result<Output, RemasterError> {
        // Messages are compared and shown: they must not follow the user's language.
        let output = Command::new(&self.0).args(argv).env("LC_ALL", "C").stdin(Stdio::null()).output();
        let output = output.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RemasterError::NoXorriso,
            _ => RemasterError::Io { doing: "run", path: self.0.clone(), source },
        })?;
        if output.status.success() {
            return Ok(output);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).rev().take(4).collect();
        let words: Vec<String> = argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        Err(RemasterError::Xorriso {
            status: output.status.to_string(),
            stderr: last.into_iter().rev().collect::<Vec<_>>().join(" | "),
            command: format!("{} {}", self.0.display(), shell_words::join(words)),
        })
    }

    /// The lines about booting that xorriso reports of an ISO, without those that name a sector or the file: what must
    /// be the same in a rebuilt ISO. Covers what the own reader does not look at, such as a partition table.
    pub fn boot_report(&self, iso: &Path) -> Result<Vec<String>, RemasterError> {
        let argv = words(&["-no_rc", "-indev"]);
        let rest = words(&["-report_el_torito", "plain", "-report_system_area", "plain"]);
        let output = self.run(&[argv, vec![iso.into()], rest].concat())?;
        Ok(boot_lines(&String::from_utf8_lossy(&output.stdout)))
    }
}

fn words(list: &[&str]) -> Vec<OsString> {
    list.iter().map(Into::into).collect()
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What counts of a boot report. An entry is `El Torito boot img : 1 BIOS y none 0x0000 0x00 4 LBA`; the last number is
/// where it is. `El Torito cat path`, image paths and options are the same in both; sizes and sectors of the volume are not.
fn boot_lines(report: &str) -> Vec<String> {
    let keep = |line: &&str| {
        ["El Torito boot img", "El Torito img path", "El Torito img opts", "El Torito img blks", "System area summary"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let lines = report.lines().map(str::trim_end).filter(keep);
    lines
        .map(|line| {
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            match line.rsplit_once(' ') {
                Some((rest, lba)) if line.starts_with("El Torito boot img : ") && lba.parse::<u64>().is_ok() => {
                    rest.to_owned()
                }
                _ => line,
            }
        })
        .collect()
}

/// The arguments of xorriso. `out` must not exist; `files` are (file on this machine, path in the ISO).
pub fn xorriso_argv(input: &Path, out: &Path, files: &[(PathBuf, String)], rock_ridge: bool) -> Vec<OsString> {
    let mut argv = words(&["-no_rc", "-abort_on", "FAILURE", "-return_with", "FAILURE", "32", "-indev"]);
    argv.push(input.into());
    if !rock_ridge {
        argv.extend(words(&["-rockridge", "off"]));
    }
    argv.push("-outdev".into());
    argv.push(out.into());
    // `keep` instead of `replay` gives an ISO that does not boot (seen with xorriso 1.5.4 and SeaBIOS).
    argv.extend(words(&["-boot_image", "any", "replay"]));
    for (file, path) in files {
        argv.push("-map".into());
        argv.push(file.into());
        argv.push(path.into());
    }
    argv.push("-end".into());
    argv
}

/// Makes the rebuilt ISO `out` from `original`, atomically: `out` is either whole or not there. `original` is not
/// changed. Blocking; a real installer of 400 to 700 MB takes seconds.
pub fn remaster(
    xorriso: &Xorriso,
    original: &IsoInfo,
    spec: &RemasterSpec,
    out: &Path,
) -> Result<IsoInfo, RemasterError> {
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| RemasterError::Io { doing, path, source }
    };
    fs::create_dir_all(folder).map_err(io("make", folder))?;
    // Beside the result, so that the rename cannot cross file systems; removed on every way out.
    let work =
        tempfile::Builder::new().prefix(".esxprep-iso-").tempdir_in(folder).map_err(io("make a folder in", folder))?;
    let mut files = Vec::new();
    let mut put = |name: &str, path: &str, text: &str| {
        let file = work.path().join(name);
        fs::write(&file, text).map_err(io("write", &file))?;
        files.push((file, path.to_owned()));
        Ok::<_, RemasterError>(())
    };
    let mut wanted: Vec<(String, String)> = Vec::new();
    if let Some(ks) = &spec.ks {
        put("KS.CFG", KS_PATH, ks)?;
        wanted.push((KS_PATH.to_owned(), ks.clone()));
    }
    for (name, cfg) in [("bios.cfg", Some(&original.bios_cfg)), ("uefi.cfg", original.uefi_cfg.as_ref())] {
        let Some(cfg) = cfg else { continue };
        let line = compose_kernelopt(&cfg.cfg.kernelopt(), &spec.boot)?;
        let text = cfg.cfg.with_kernelopt(&line)?.to_string();
        put(name, &cfg.path, &text)?;
        wanted.push((cfg.path.clone(), text));
    }
    let temporary = work.path().join("out.iso");
    xorriso.run(&xorriso_argv(&original.path, &temporary, &files, spec.rock_ridge))?;
    let mut info = verify(xorriso, original, &temporary, &wanted)?;
    let file = fs::File::open(&temporary).map_err(io("open", &temporary))?;
    file.sync_all().map_err(io("flush", &temporary))?;
    fs::rename(&temporary, out).map_err(io("rename to", out))?;
    info.path = out.to_owned();
    Ok(info)
}

fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("lost: {line}"));
    let new = after.iter().filter(|line| !before.contains(line)).map(|line| format!("new: {line}"));
    let all: Vec<String> = gone.chain(new).collect();
    if all.is_empty() { vec!["the same boot entries in another order".into()] } else { all }
}

/// Whether `result` boots as the original does and holds the `wanted` files (path, text) and all others as before:
/// xorriso's reports on both are compared, and everything is read back with the own reader.
pub fn verify(
    xorriso: &Xorriso,
    original: &IsoInfo,
    result: &Path,
    wanted: &[(String, String)],
) -> Result<IsoInfo, RemasterError> {
    let (before, after) = (xorriso.boot_report(&original.path)?, xorriso.boot_report(result)?);
    if before != after {
        return Err(RemasterError::BootRecords(difference(&before, &after)));
    }
    let info = inspect_without_hash(result)?;
    let bad = |what: String| Err(RemasterError::Verify(what));
    match (&original.boot, &info.boot) {
        (Some(before), Some(after)) => {
            let differences = before.differences(after);
            if !differences.is_empty() {
                return Err(RemasterError::BootRecords(differences));
            }
        }
        (None, None) => {}
        _ => return Err(RemasterError::BootRecords(vec!["the boot catalogue is gone".into()])),
    }
    let mut iso = Iso::open(result)?;
    for (path, text) in wanted {
        let read = match iso.read(path, 1024 * 1024) {
            Ok(read) => read,
            Err(IsoError::NoSuchFile { .. }) => return bad(format!("{path} is missing")),
            Err(other) => return Err(other.into()),
        };
        if read != text.as_bytes() {
            return bad(format!("{path} reads back differently"));
        }
        let (shown, entry) = iso.lookup(path)?;
        if shown != *path && entry.plain != path.rsplit('/').next().unwrap_or_default() {
            return bad(format!("{path} is called {shown} in it, and the installer cares about letter case"));
        }
    }
    let mut first = Iso::open(&original.path)?;
    let files = |iso: &mut Iso<fs::File>| -> Result<Vec<(String, u32)>, IsoError> {
        let boots: Vec<u32> = boot_sectors(iso.boot_records()?.as_ref());
        let changed = |path: &String| wanted.iter().any(|(name, _)| name.eq_ignore_ascii_case(path));
        let mut files: Vec<(String, u32)> = iso
            .walk()?
            .into_iter()
            // The boot catalogue and the images have their own comparison.
            .filter(|(path, entry)| !entry.folder && !changed(path) && !boots.contains(&entry.sector))
            .map(|(path, entry)| (path.to_ascii_uppercase(), entry.size))
            .collect();
        files.sort();
        Ok(files)
    };
    let (before, after) = (files(&mut first)?, files(&mut iso)?);
    if let Some((path, size)) = before.iter().find(|file| !after.contains(file)) {
        return bad(format!("{path} ({size} bytes) of the original is missing or has another size"));
    }
    if let Some((path, _)) = after.iter().find(|file| !before.contains(file)) {
        return bad(format!("it has a file {path} that the original has not"));
    }
    boot_images(original, &info)?;
    Ok(info)
}

fn boot_sectors(boot: Option<&BootRecords>) -> Vec<u32> {
    boot.iter().flat_map(|b| b.entries.iter().map(|e| e.sector).chain([b.catalog_sector])).collect()
}

/// The first sector of each boot image must be the original's. A BIOS image carries a table with its own place in
/// bytes 8 to 63 (the boot info table of mkisofs), which is written anew.
fn boot_images(original: &IsoInfo, result: &IsoInfo) -> Result<(), RemasterError> {
    use std::io::{Read, Seek, SeekFrom};
    let (Some(before), Some(after)) = (&original.boot, &result.boot) else { return Ok(()) };
    let read = |path: &Path, sector: u32| {
        let io = |source| RemasterError::Io { doing: "read", path: path.to_owned(), source };
        let mut file = fs::File::open(path).map_err(io)?;
        let mut data = vec![0; 2048];
        file.seek(SeekFrom::Start(u64::from(sector) * 2048)).map_err(io)?;
        file.read_exact(&mut data).map_err(io)?;
        Ok::<_, RemasterError>(data)
    };
    for (n, (was, is)) in before.entries.iter().zip(&after.entries).enumerate() {
        let (mut old, mut new) = (read(&original.path, was.sector)?, read(&result.path, is.sector)?);
        if was.platform == Platform::Bios {
            let has_table = le32(&old, 12) == was.sector;
            old[8..64].fill(0);
            // In the result the table must point to the image itself, else the loader reads on from the wrong place.
            let place = le32(&new, 12);
            if has_table && place != is.sector {
                return Err(RemasterError::BootRecords(vec![format!(
                    "boot entry {}: its image is in sector {} and says {place}",
                    n + 1,
                    is.sector
                )]));
            }
            new[8..64].fill(0);
        }
        if old != new {
            return Err(RemasterError::Verify(format!("the image of boot entry {} has changed", n + 1)));
        }
    }
    Ok(())
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_that_were_tried() {
        let files = [(PathBuf::from("/w/KS.CFG"), "/KS.CFG".to_owned())];
        let argv = xorriso_argv(Path::new("a.iso"), Path::new("b.iso"), &files, true);
        let shown: Vec<_> = argv.iter().map(|w| w.to_string_lossy().into_owned()).collect();
        assert_eq!(
            shown.join(" "),
            "-no_rc -abort_on FAILURE -return_with FAILURE 32 -indev a.iso -outdev b.iso -boot_image any replay -map \
             /w/KS.CFG /KS.CFG -end"
        );
        let argv = xorriso_argv(Path::new("a.iso"), Path::new("b.iso"), &[], false);
        assert!(argv.windows(2).any(|w| w[0] == "-rockridge" && w[1] == "off"));
    }

    #[test]
    fn sectors_do_not_count_in_boot_reports() {
        let report = "El Torito catalog  : 33  1\nEl Torito cat path : /BOOT.CAT\nEl Torito images   :   N  Pltf  B   \
                      Emul  Ld_seg  Hdpt  Ldsiz         LBA\nEl Torito boot img :   1  BIOS  y   none  0x0000  0x00     \
                      4          34\nEl Torito img path :   1  /ISOLINUX.BIN\n";
        let lines = boot_lines(report);
        assert_eq!(lines, ["El Torito boot img : 1 BIOS y none 0x0000 0x00 4", "El Torito img path : 1 /ISOLINUX.BIN"]);
        assert_eq!(boot_lines(&report.replace("34", "99")), lines);
        assert_ne!(boot_lines(&report.replace("BIOS", "UEFI")), lines);
        assert_eq!(difference(&lines, &lines[..1]), ["lost: El Torito img path : 1 /ISOLINUX.BIN"]);
    }
}
