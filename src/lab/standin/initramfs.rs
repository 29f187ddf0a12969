//! The initramfs of the stand-in: busybox, kernel modules, esxprep itself with its libraries, and `/init`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::StandinError;
use super::cache::{Cache, find_program, key, run};
use super::cpio::Cpio;
use super::error::IoContext;
use super::kernel::Source;
use super::modules::Modules;

const INIT: &str = include_str!("init.sh");
/// Folders of the root, parents first.
const FOLDERS: &[&str] = &["bin", "sbin", "dev", "etc", "mod", "proc", "run", "sys", "tmp", "var"];

/// What goes into the archive beside the stripped binary: path → (mode, content).
type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// The initramfs in the cache.
pub(super) fn cached(
    source: &Source,
    esxprep: Option<&Path>,
    cache: &Cache,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, StandinError> {
    let binary = match esxprep {
        Some(path) => path.to_path_buf(),
        None => std::env::current_exe().doing("find", Path::new("this program"))?,
    };
    let busybox = find_program("busybox")
        .ok_or(StandinError::MissingProgram { name: "busybox", advice: "install busybox-static (or busybox)" })?;
    let mut files = Files::new();
    for program in [binary.as_path(), busybox.as_path()] {
        for library in libraries(program)? {
            let content = fs::read(&library).doing("read", &library)?;
            files.insert(inside(&library), (0o755, content));
        }
    }
    let mut order = String::new();
    for (name, content) in Modules::of(&source.modules)?.in_order()? {
        order.push_str(&name);
        order.push('\n');
        files.insert(format!("mod/{name}"), (0o644, content));
    }
    // By this the program inside knows where it is.
    files.insert("etc/esxprep-standin".into(), (0o644, b"stand-in guest\n".to_vec()));
    files.insert("mod/order".into(), (0o644, order.into_bytes()));
    files.insert("bin/busybox".into(), (0o755, fs::read(&busybox).doing("read", &busybox)?));
    files.insert("init".into(), (0o755, INIT.as_bytes().to_vec()));
    let name = format!("initrd-{}.gz", content_key(&files, &binary)?);
    cache.file(&name, |path| {
        say("packing the guest's initramfs");
        let applets = run(Command::new(&busybox).arg("--list"), "busybox", "install busybox-static")?;
        let applets = String::from_utf8_lossy(&applets).into_owned();
        let program = stripped(&binary, path)?;
        files.insert("bin/esxprep".into(), (0o755, program));
        let file = fs::File::create(path).doing("create", path)?;
        let gzip = flate2::write::GzEncoder::new(BufWriter::new(file), flate2::Compression::fast());
        write(gzip, &files, applets.lines())
            .and_then(|gzip| gzip.finish()?.into_inner()?.sync_all())
            .doing("write", path)
    })
}

/// Hash of everything but the binary, which is known by place, size and time: it is hundreds of megabytes in a debug build.
fn content_key(files: &Files, binary: &Path) -> Result<String, StandinError> {
    use std::os::unix::fs::MetadataExt;
    let binary = binary.canonicalize().doing("find", binary)?;
    let meta = binary.metadata().doing("look at", &binary)?;
    let mut hasher = Sha256::new();
    for (path, (mode, content)) in files {
        hasher.update(format!("{path}\0{mode}\0{}\0", content.len()));
        hasher.update(content);
    }
    hasher.update(format!(
        "{}\0{}\0{}\0{}\0{}",
        binary.display(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ino()
    ));
    Ok(key(hasher))
}

fn write<'a, W: std::io::Write>(out: W, files: &Files, applets: impl Iterator<Item = &'a str>) -> std::io::Result<W> {
    let mut cpio = Cpio::new(out);
    let mut folders: BTreeSet<String> = FOLDERS.iter().map(|folder| (*folder).to_string()).collect();
    for path in files.keys() {
        for (at, _) in path.match_indices('/') {
            folders.insert(path[..at].to_string());
        }
    }
    for folder in &folders {
        cpio.folder(folder)?;
    }
    for (path, (mode, content)) in files {
        cpio.file(path, *mode, content)?;
    }
    for applet in applets.map(str::trim).filter(|name| !name.is_empty() && *name != "busybox") {
        cpio.link(&format!("bin/{applet}"), "busybox")?;
    }
    cpio.finish()
}

/// A path of this machine as one of the archive.
fn inside(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_string()
}

/// The libraries and the loader that a program needs, by `ldd`; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, StandinError> {
    let output = match Command::new("ldd").arg(program).env("LC_ALL", "C").output() {
        Ok(output) => output,
        Err(_) => {
            return Err(StandinError::MissingProgram { name: "ldd", advice: "install libc-bin (glibc's programs)" });
        }
    };
    parse_ldd(&String::from_utf8_lossy(&output.stdout)).map_err(|library| StandinError::Kernel {
        path: program.to_path_buf(),
        reason: format!("its library {library} is not on this machine"),
    })
}

fn parse_ldd(text: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some((name, rest)) = line.split_once("=>")
            && rest.trim() == "not found"
        {
            return Err(name.trim().to_string());
        }
        found.extend(line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from));
    }
    Ok(found)
}

/// The binary without its symbols, where the machine has `strip`; else as it is.
fn stripped(binary: &Path, near: &Path) -> Result<Vec<u8>, StandinError> {
    let target = near.with_extension("stripped");
    for (program, arguments) in [("strip", &["-o"][..]), ("objcopy", &["--strip-all"][..])] {
        let Some(program) = find_program(program) else { continue };
        let mut command = Command::new(&program);
        if program.ends_with("strip") {
            command.args(arguments).arg(&target).arg(binary);
        } else {
            command.args(arguments).arg(binary).arg(&target);
        }
        if command.output().is_ok_and(|output| output.status.success()) {
            let bytes = fs::read(&target).doing("read", &target)?;
            let _ = fs::remove_file(&target);
            return Ok(bytes);
        }
    }
    fs::read(binary).doing("read", binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_and_the_libraries_are_found() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\t\
                    /lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        let found = parse_ldd(text).unwrap();
        assert_eq!(found, [Path::new("/lib/x86_64-linux-gnu/libc.so.6"), Path::new("/lib64/ld-linux-x86-64.so.2")]);
        assert_eq!(parse_ldd("\tnot a dynamic executable\n").unwrap(), Vec::<PathBuf>::new());
        assert_eq!(parse_ldd("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
        assert_eq!(parse_ldd("\tlibssl.so.3 => not found\n").unwrap_err(), "libssl.so.3");
    }

    #[test]
    fn folders_of_every_file_are_in_the_archive() {
        let files = Files::from([("lib/x86/libc.so".to_string(), (0o755, b"x".to_vec()))]);
        let bytes = write(Vec::new(), &files, ["sh", "busybox", "[["].into_iter()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} is missing"));
        assert!(at("lib\0") < at("lib/x86\0") && at("lib/x86\0") < at("lib/x86/libc.so\0"));
        assert!(text.contains("bin/sh\0") && text.contains("bin/[[\0") && !text.contains("bin/busybox\0"));
    }
}
