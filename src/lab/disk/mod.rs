//! Disks of a lab's machines: qcow2 images, clones of them, and the read-only bases that clones stand on.
//!
//! Whatever is made here bears a sign of its lab ([`owner_of`]) and gets its final name only when it is whole and
//! signed; so a killed run leaves nothing that could be taken for a disk, and nothing that bears no sign is ever
//! overwritten or removed. Clones are made the cheapest way that fits ([`choose`]), and the way is said with its
//! reason. A base is read-only and counted ([`users`]) for as long as anything stands on it.
//!
//! Formats and options of `qemu-img`: its manual; seen on QEMU 10.0.2. Behaviour of ext4, btrfs and xfs: seen on
//! Linux 6.18.

mod base;
mod choose;
mod copy;
mod error;
mod facts;
mod qemu_img;
mod sign;
mod thing;

pub use base::{Holder, Verified, pin, remove_base, unpin, users, verify};
pub use choose::{Choice, CloneFacts, How, Wanted, choose};
pub use error::DiskError;
pub use facts::{FsFacts, FsKind, clone_facts, fs_facts, is_nocow};
pub use qemu_img::{Check, Create, Info, QemuImg, Snapshot, Usage};
pub use sign::owner_of;
pub use thing::{CloneDisk, Disk, Folder, Made, ReadOnlyBase, Thing};
