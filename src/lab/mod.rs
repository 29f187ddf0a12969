//! The launcher: nested ESXi machines under QEMU, from an ISO to a networked lab and back to nothing.

pub mod doctor;
