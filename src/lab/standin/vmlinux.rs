//! The kernel without its compression: a bzImage unpacks itself, and under software emulation that is half of the boot.
//!
//! Debian's kernels are built with CONFIG_PVH, so QEMU boots the bare ELF image (seen with 6.1 on QEMU 10.0.2: 7 s to 17 s
//! where the bzImage took 14 s to 28 s). The payload's place is in the setup header (Linux Documentation/arch/x86/boot.rst:
//! payload_offset at 0x248, payload_length at 0x24c, counted from the protected-mode part); images whose header says
//! nothing are searched for the magic bytes.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::StandinError;
use super::cache::{Cache, key_of};
use super::error::IoContext;

const XZ: &[u8] = b"\xfd7zXZ\0";
const GZIP: &[u8] = b"\x1f\x8b\x08";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const ELF: &[u8] = b"\x7fELF";

/// Compression of a payload or of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Xz,
    Zstd,
}

/// By the first bytes.
pub(super) fn packing(bytes: &[u8]) -> Packing {
    match bytes {
        _ if bytes.starts_with(XZ) => Packing::Xz,
        _ if bytes.starts_with(GZIP) => Packing::Gzip,
        _ if bytes.starts_with(ZSTD) => Packing::Zstd,
        _ => Packing::None,
    }
}

/// Where the compressed kernel is in a bzImage.
pub(super) fn payload(image: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| -> Option<usize> {
        let bytes: [u8; 4] = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if image.get(0x202..0x206) == Some(b"HdrS") {
        let sectors = match image.get(0x1f1) {
            Some(0) | None => 4,
            Some(count) => usize::from(*count),
        };
        let start = (sectors + 1) * 512 + number(0x248)?;
        if let Some(found) = image.get(start..start.checked_add(number(0x24c)?)?)
            && packing(found) != Packing::None
        {
            return Some(found);
        }
    }
    let at = image.windows(XZ.len()).position(|window| window == XZ)?;
    image.get(at..)
}

/// Unpacks `bytes`. For xz and zstd the machine's own programs are used; bytes behind the end are ignored.
pub(super) fn unpack(bytes: &[u8], path: &Path) -> Result<Vec<u8>, StandinError> {
    let (name, advice, arguments): (&'static str, _, &[&str]) = match packing(bytes) {
        Packing::None => return Ok(bytes.to_vec()),
        Packing::Gzip => {
            let mut out = Vec::new();
            flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).doing("unpack", path)?;
            return Ok(out);
        }
        Packing::Xz => ("xz", "install xz-utils", &["-dcq", "--single-stream"]),
        Packing::Zstd => ("zstd", "install zstd", &["-dcq"]),
    };
    let mut child = match Command::new(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
    {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StandinError::MissingProgram { name, advice });
        }
        Err(source) => return Err(StandinError::Io { action: "run", path: PathBuf::from(name), source }),
    };
    let mut out = Vec::new();
    std::thread::scope(|scope| {
        if let Some(mut input) = child.stdin.take() {
            // A reader that has seen the end of the stream closes its side: no error.
            scope.spawn(move || std::io::Write::write_all(&mut input, bytes));
        }
        child.stdout.take().map_or(Ok(0), |mut output| output.read_to_end(&mut out))
    })
    .doing("unpack", path)?;
    let _ = child.wait();
    Ok(out)
}

/// The bare kernel of an image, which may be one already.
pub(super) fn extract(image: &[u8], path: &Path) -> Result<Vec<u8>, StandinError> {
    if image.starts_with(ELF) {
        return Ok(image.to_vec());
    }
    let fail = |reason: &str| StandinError::Kernel { path: path.to_path_buf(), reason: reason.into() };
    let packed = payload(image).ok_or_else(|| fail("no compressed kernel was found in it"))?;
    let kernel = unpack(packed, path)?;
    if !kernel.starts_with(ELF) || kernel.len() < packed.len() {
        return Err(fail("what was unpacked from it is no kernel (no ELF file, or cut short)"));
    }
    Ok(kernel)
}

/// The bare kernel of `image` in the cache.
pub(super) fn cached(image: &Path, cache: &Cache, say: &mut dyn FnMut(&str)) -> Result<PathBuf, StandinError> {
    let bytes = fs::read(image).doing("read", image)?;
    cache.file(&format!("vmlinux-{}", key_of(&bytes)), |path| {
        say("unpacking the kernel");
        fs::write(path, extract(&bytes, image)?).doing("write", path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, bytes).unwrap();
        Command::new("xz").arg("-k").arg("-c").arg(&path).output().expect("this test needs xz (xz-utils)").stdout
    }

    fn image(packed: &[u8], header: bool) -> Vec<u8> {
        let mut image = vec![0; 5 * 512 + 100];
        image[0x1f1] = 4;
        if header {
            image[0x202..0x206].copy_from_slice(b"HdrS");
            image[0x248..0x24c].copy_from_slice(&100_u32.to_le_bytes());
            image[0x24c..0x250].copy_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
        }
        image.extend(packed);
        image.extend(b"rubbish behind the end");
        image
    }

    #[test]
    fn the_payload_is_found_by_header_and_by_magic() {
        let mut kernel = ELF.to_vec();
        kernel.extend((0..200_000_u32).flat_map(|n| (n % 251).to_le_bytes()));
        let packed = xz(&kernel);
        let path = Path::new("vmlinuz");
        assert_eq!(extract(&image(&packed, true), path).unwrap(), kernel);
        assert_eq!(extract(&image(&packed, false), path).unwrap(), kernel);
        assert_eq!(extract(&kernel, path).unwrap(), kernel);
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let path = Path::new("vmlinuz");
        assert!(matches!(extract(&[0; 4096], path), Err(StandinError::Kernel { .. })));
        let other = image(&xz(b"not an ELF file, although it was packed like a kernel"), true);
        assert!(matches!(extract(&other, path), Err(StandinError::Kernel { .. })));
    }

    #[test]
    fn gzip_is_unpacked_here() {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"module").unwrap();
        assert_eq!(unpack(&gzip.finish().unwrap(), Path::new("m.ko.gz")).unwrap(), b"module");
        assert_eq!(unpack(b"plain", Path::new("m.ko")).unwrap(), b"plain");
    }
}
