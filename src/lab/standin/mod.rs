//! The stand-in guest's parts on this machine: a Linux kernel, an initramfs with esxprep's own simulator in it, and an
//! "installer ISO" shaped like ESXi's.
//!
//! A virtual machine started with them plays ESXi on real emulated hardware (`crate::sim::guest` is the other side), so
//! that the launcher can be tried from install to teardown where there is neither a VMware ISO nor KVM. Everything made
//! here lies in a cache folder under names made of its content and is put in place in one step, so any number of
//! programs may prepare at once.

mod cache;
mod cpio;
mod error;
mod initramfs;
mod iso;
mod kernel;
mod modules;
mod vmlinux;

/// Body of the fuzz target: a kernel's image and a module. What is found of a compressed kernel lies in the image.
///
/// # Panics
/// If it does not.
#[doc(hidden)]
pub(crate) fn fuzz(bytes: &[u8]) -> usize {
    let payload = vmlinux::payload(bytes);
    if let Some(payload) = payload {
        assert!(payload.len() <= bytes.len() && vmlinux::packing(payload) != vmlinux::Packing::None);
    }
    let needed = modules::depends(bytes);
    assert!(needed.iter().all(|name| !name.contains([',', '\0', '-'])), "{needed:?}");
    payload.map_or(0, <[u8]>::len) + needed.iter().map(String::len).sum::<usize>()
}

use std::path::PathBuf;

pub use error::StandinError;
pub use iso::{boot_cfg, volume_id};

/// The folder with a kernel for the stand-in: `vmlinuz-*` (or `boot/vmlinuz-*`) and `lib/modules/VERSION`.
pub const KERNEL_VARIABLE: &str = "ESXPREP_STANDIN_KERNEL";

/// The kernel command line every stand-in is started with. Measured under software emulation: without the last four
/// words the boot takes half as long again.
pub const APPEND: &[&str] =
    &["console=ttyS0", "quiet", "panic=-1", "mitigations=off", "nokaslr", "tsc=reliable", "no_timer_check"];

/// What is to be prepared.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where artifacts are kept; `None`: `esxprep/standin` in the user's cache folder.
    pub cache: Option<PathBuf>,
    /// Folder with the kernel; `None`: [`KERNEL_VARIABLE`], the cache, this machine's own, else a download by apt-get.
    pub kernel: Option<PathBuf>,
    /// The esxprep binary that runs in the guest; `None`: the one that is running.
    pub esxprep: Option<PathBuf>,
    /// The ESXi release that the ISO installs: "6.0", "6.5", "6.7", "7.0" or "8.0"; empty: "8.0".
    pub release: String,
    /// Text of a `/KS.CFG` on the ISO; `None`: the ISO is a vanilla one.
    pub kickstart: Option<String>,
    /// More boot options in both BOOT.CFG files, as `ks=cdrom:/KS.CFG`.
    pub boot_options: Vec<String>,
}

/// What a virtual machine of the stand-in is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifacts {
    /// For `-kernel`: an uncompressed kernel with a PVH entry (half the boot time of a bzImage under emulation).
    pub kernel: PathBuf,
    /// For `-initrd`.
    pub initrd: PathBuf,
    /// The words for `-append`.
    pub append: Vec<String>,
    /// The installer ISO, for a CD drive.
    pub iso: PathBuf,
}

/// Finds, builds or takes from the cache all parts. `say` is told what is being done when it takes more than a moment.
/// Blocking: seconds the first time, tens of milliseconds later.
///
/// # Errors
/// No kernel with the needed drivers, a missing program (busybox, xorriso, xz), a cache that cannot be written.
pub fn prepare(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Artifacts, StandinError> {
    let cache = cache::Cache::open(options.cache.as_deref())?;
    let source = kernel::find(options.kernel.as_deref(), &cache, say)?;
    let kernel = vmlinux::cached(&source.image, &cache, say)?;
    let initrd = initramfs::cached(&source, options.esxprep.as_deref(), &cache, say)?;
    let iso = iso::cached(options, &cache)?;
    let append = APPEND.iter().map(|word| (*word).to_string()).collect();
    Ok(Artifacts { kernel, initrd, append, iso })
}

/// The same for the ISO alone.
///
/// # Errors
/// An unknown release, no xorriso, a cache that cannot be written.
pub fn prepare_iso(options: &Options) -> Result<PathBuf, StandinError> {
    iso::cached(options, &cache::Cache::open(options.cache.as_deref())?)
}
