//! The launcher: virtual ESXi hosts under QEMU, from a file that says what is wanted to a running lab and back to nothing.

pub mod argv;
pub mod graph;
pub mod plan;
pub mod qemu;
pub mod rules;
pub mod spec;
//! The launcher: nested ESXi hosts under QEMU, from a file that describes them to a lab that answers, and back to nothing.

pub mod guest;
pub mod qmp;
pub mod state;
//! The launcher: virtual machines with nested ESXi under QEMU, from an ISO to a configured lab and back to nothing.

pub mod disk;
pub mod net;
//! The launcher: nested ESXi machines under QEMU, from an installer ISO to a networked lab and back to nothing.

pub mod install;
//! The launcher: nested ESXi machines under QEMU, from an ISO to a networked lab and back to nothing.

pub mod doctor;
//! Nested ESXi labs: hosts as virtual machines under QEMU, from an ISO to a configured network and back to nothing.

pub mod standin;
