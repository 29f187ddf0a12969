//! The launcher: nested ESXi hosts under QEMU, from a file that describes them to a lab that answers, and back to nothing.

pub mod guest;
pub mod qmp;
pub mod state;
