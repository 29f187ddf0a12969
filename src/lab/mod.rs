//! The launcher: virtual machines with nested ESXi under QEMU, from an ISO to a configured lab and back to nothing.

pub mod disk;
pub mod net;
