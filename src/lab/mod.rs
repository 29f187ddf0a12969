//! The launcher: nested ESXi machines under QEMU, from an installer ISO to a networked lab and back to nothing.

pub mod install;
