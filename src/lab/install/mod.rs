//! Unattended install: what is in an installer ISO, the install script (`ks.cfg`) and its linter, the ways to hand
//! the script over, and the watcher that follows an install until the host answers.
//!
//! Pure where it can be: [`bootcfg`], [`ks`], [`lint`], [`keys`], [`watch`] and [`screen`] are functions on data.
//! [`iso`] reads a file, [`remaster`] runs xorriso, [`serve`] listens on 127.0.0.1, [`usb`] makes bytes.

pub mod bootcfg;
pub mod crypt;
#[doc(hidden)]
pub mod fuzzing;
pub mod iso;
pub mod keys;
pub mod ks;
pub mod lint;
pub mod remaster;
pub mod screen;
pub mod serve;
pub mod usb;
pub mod watch;

/// How sure a fact about ESXi or QEMU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// An inference, or one report that another one contradicts.
    Low,
    /// One first-hand report.
    Medium,
    /// Measured, documented by the vendor, or reported first-hand by several independent people.
    High,
}

/// Where a fact comes from and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Evidence {
    /// The source in words.
    pub source: &'static str,
    /// How sure it is.
    pub confidence: Confidence,
}
