//! esxprep brings VMware ESXi hosts from "just installed" to "exactly as written down", over nothing but SSH.
//!
//! A step is two pure functions ([`steps::Step::reads`] and [`steps::Step::compare`]); [`engine`] is the only
//! room with I/O to a host; [`transport`] carries bytes and knows nothing of ESXi; [`esxi`] knows ESXi and
//! nothing of SSH; [`report`] only reads events. ARCHITECTURE.md has the picture.

pub mod cli;
pub mod engine;
pub mod esxi;
pub mod fixture;
#[doc(hidden)]
pub mod fuzzing;
pub mod hardening;
pub mod inventory;
pub mod lab;
pub mod playbook;
pub mod report;
pub mod sim;
pub mod steps;
pub mod transport;
