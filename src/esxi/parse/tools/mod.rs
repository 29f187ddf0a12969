//! Everything on a host that is not esxcli: esxcfg-*, vim-cmd, partedUtil, vmkfstools and the busybox tools.

use super::family::Family;

/// The families of this folder, in the order in which they are tried.
pub const FAMILIES: &[Family] = &[];
