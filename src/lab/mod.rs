//! Nested ESXi labs: hosts as virtual machines under QEMU, from an ISO to a configured network and back to nothing.

pub mod standin;
