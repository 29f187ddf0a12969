//! Where the stand-in's kernel comes from: a folder that was named, the cache, this machine's own kernel, or Debian's
//! package, unpacked and never installed.
//!
//! Debian's cloud kernel is of no use: it has no USB, no AHCI and no e1000. So a kernel counts only if its modules are there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::{Cache, find_program, run};
use super::error::IoContext;
use super::modules::Modules;
use super::{KERNEL_VARIABLE, StandinError};

/// The Debian package that depends on the newest general kernel.
const META_PACKAGE: &str = "linux-image-amd64";

/// A kernel image and the modules that go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// bzImage or vmlinux.
    pub(super) image: PathBuf,
    /// `lib/modules/VERSION`.
    pub(super) modules: PathBuf,
}

/// Finds a kernel that has all needed drivers.
pub(super) fn find(given: Option<&Path>, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<Source, StandinError> {
    let named = given.map(Path::to_path_buf).or_else(|| std::env::var_os(KERNEL_VARIABLE).map(PathBuf::from));
    let mut tried = Vec::new();
    // A folder that somebody named is the only one that counts.
    let places = match &named {
        Some(dir) => vec![dir.clone()],
        None => vec![cache.path("kernel"), PathBuf::from("/")],
    };
    for place in &places {
        match usable(place) {
            Ok(source) => return Ok(source),
            Err(reason) => tried.push(format!("{}: {reason}", place.display())),
        }
    }
    if named.is_none() {
        match download(cache, say) {
            Ok(()) => match usable(&cache.path("kernel")) {
                Ok(source) => return Ok(source),
                Err(reason) => tried.push(format!("the downloaded package: {reason}")),
            },
            Err(error) => tried.push(format!("download: {error}")),
        }
    }
    Err(StandinError::NoKernel { tried: tried.join("; ") })
}

/// The newest kernel below `root` with all needed modules, or why there is none.
fn usable(root: &Path) -> Result<Source, String> {
    let mut images = Vec::new();
    for dir in [root.to_path_buf(), root.join("boot")] {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if let Some(version) = entry.file_name().to_str().and_then(|name| name.strip_prefix("vmlinuz-")) {
                images.push((numbers(version), version.to_string(), entry.path()));
            }
        }
    }
    images.sort();
    let mut reasons = Vec::new();
    for (_, version, image) in images.into_iter().rev() {
        let places = ["lib/modules", "usr/lib/modules"].map(|place| root.join(place).join(&version));
        let Some(modules) = places.into_iter().find(|place| place.is_dir()) else {
            reasons.push(format!("no lib/modules/{version}"));
            continue;
        };
        match Modules::of(&modules).map(|found| found.missing()) {
            Ok(missing) if missing.is_empty() && fs::File::open(&image).is_ok() => {
                return Ok(Source { image, modules });
            }
            Ok(missing) if missing.is_empty() => reasons.push(format!("{} cannot be read", image.display())),
            Ok(missing) => reasons.push(format!("{version} lacks {}", missing.join(", "))),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(if reasons.is_empty() { "no vmlinuz-VERSION".into() } else { reasons.join(", ") })
}

/// The numbers in a version, so that 6.10 comes after 6.9.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// The kernel package's name in what `apt-cache depends` printed.
fn package(depends: &str) -> Option<&str> {
    depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|name| name.starts_with("linux-image"))
}

fn download(cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<(), StandinError> {
    const ADVICE: &str = "on systems that are not Debian-like, name a kernel with ESXPREP_STANDIN_KERNEL";
    if find_program("apt-get").is_none() {
        return Err(StandinError::MissingProgram { name: "apt-get", advice: ADVICE });
    }
    let depends = run(Command::new("apt-cache").args(["depends", META_PACKAGE]), "apt-cache", ADVICE)?;
    let depends = String::from_utf8_lossy(&depends).into_owned();
    let name = package(&depends).ok_or_else(|| StandinError::NoKernel {
        tried: format!("apt-cache knows no {META_PACKAGE}: run apt-get update"),
    })?;
    say(&format!("downloading the package {name} (about 70 MB, once)"));
    let scratch = cache.scratch()?;
    run(Command::new("apt-get").args(["-q", "download", name]).current_dir(scratch.path()), "apt-get", ADVICE)?;
    let file = fs::read_dir(scratch.path())
        .doing("list", scratch.path())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| StandinError::NoKernel { tried: format!("apt-get download {name} left no package") })?;
    say("unpacking it");
    let tree = scratch.path().join("kernel");
    run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&tree), "dpkg-deb", "install dpkg")?;
    let place = cache.path("kernel");
    if place.exists() {
        // What was there was no use, or another program was faster.
        if usable(&place).is_ok() {
            return Ok(());
        }
        fs::rename(&place, scratch.path().join("old")).doing("move away", &place)?;
    }
    match fs::rename(&tree, &place) {
        // Another program was faster, just now.
        Err(_) if usable(&place).is_ok() => Ok(()),
        other => other.doing("put in place", &place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::standin::modules::WANTED;

    fn kernel(root: &Path, version: &str, without: &str) {
        let modules = root.join("lib/modules").join(version).join("kernel");
        fs::create_dir_all(&modules).unwrap();
        fs::create_dir_all(root.join("boot")).unwrap();
        fs::write(root.join("boot").join(format!("vmlinuz-{version}")), b"kernel").unwrap();
        for (name, ..) in WANTED.iter().filter(|(name, ..)| *name != without) {
            fs::write(modules.join(format!("{name}.ko")), b"").unwrap();
        }
    }

    #[test]
    fn the_newest_kernel_with_the_drivers_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        kernel(dir.path(), "6.9.1-amd64", "");
        kernel(dir.path(), "6.10.2-amd64", "");
        kernel(dir.path(), "6.12.1-cloud-amd64", "usb_storage");
        let found = usable(dir.path()).unwrap();
        assert!(found.image.ends_with("boot/vmlinuz-6.10.2-amd64"), "{found:?}");
        assert!(found.modules.ends_with("lib/modules/6.10.2-amd64"));
    }

    #[test]
    fn a_named_folder_is_the_only_one_that_counts() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&dir.path().join("cache"))).unwrap();
        kernel(&cache.path("kernel"), "6.1.0", "");
        kernel(&dir.path().join("named"), "6.1.0-cloud", "ahci");
        let mut say = |_: &str| panic!("nothing to say");
        let error = find(Some(&dir.path().join("named")), &cache, &mut say).unwrap_err().to_string();
        assert!(error.contains("lacks ahci") && error.contains(KERNEL_VARIABLE), "{error}");
        assert!(find(Some(&cache.path("kernel")), &cache, &mut say).is_ok());
    }

    #[test]
    fn the_package_is_what_the_meta_package_depends_on() {
        let text = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n";
        assert_eq!(package(text), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(package("linux-image-amd64\n"), None);
    }
}
