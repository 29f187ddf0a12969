//! The only room with I/O to a host: identify, observe, compare, act, verify, persist, reboot.

pub mod events;
pub mod prepare;
