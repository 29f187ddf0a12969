//! What is inside a VIB or an offline bundle, as data.

use serde::Serialize;

/// A VIB's identity and claims, from its `descriptor.xml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vib {
    /// Name, for example `esx-ui`.
    pub name: String,
    /// Version, for example `1.34.8-17417756`.
    pub version: String,
    /// Vendor code, for example `VMware`.
    pub vendor: String,
    /// Acceptance level as claimed by the descriptor: `certified`, `accepted`, `partner` or `community`.
    pub acceptance: String,
    /// Whether the signature file is empty: then the claim above is worth nothing.
    pub unsigned: bool,
    /// Whether installing needs maintenance mode.
    pub maintenance_mode: bool,
    /// Whether it can be installed live, without a reboot.
    pub live_install: bool,
    /// Sum of the payloads' sizes in bytes.
    pub payload_bytes: u64,
}

/// A VIB file or an offline bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Software {
    /// Whether the file is an offline bundle (zip), else a single VIB.
    pub bundle: bool,
    /// The VIBs in it.
    pub vibs: Vec<Vib>,
    /// Problems found that do not stop an installation by themselves.
    pub warnings: Vec<String>,
}
