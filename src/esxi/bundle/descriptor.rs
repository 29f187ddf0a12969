//! The XML inside: a VIB's `descriptor.xml` and the copies of it in a bundle's `metadata.zip`.

use serde::Deserialize;

use super::BundleError;

/// `descriptor.xml`, as far as it matters before an installation.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Descriptor {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub vendor: String,
    #[serde(rename = "acceptance-level", default)]
    pub acceptance: String,
    #[serde(rename = "live-install-allowed", default)]
    live_install: Option<Text>,
    #[serde(rename = "system-requires", default)]
    requires: Requires,
    #[serde(default)]
    pub payloads: Payloads,
    /// Only in metadata: where the VIB is in the bundle.
    #[serde(rename = "relative-path", default)]
    pub relative_path: Option<String>,
    /// Only in metadata: digest of the whole VIB.
    #[serde(default)]
    pub checksum: Option<Checksum>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Requires {
    #[serde(rename = "maintenance-mode", default)]
    maintenance_mode: Option<Text>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Text {
    #[serde(rename = "$text", default)]
    text: String,
}

/// The payloads of a VIB.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Payloads {
    #[serde(rename = "payload", default)]
    pub payload: Vec<Payload>,
}

/// One payload: an archive member of the same name.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Payload {
    #[serde(rename = "@name", default)]
    pub name: String,
    #[serde(rename = "@size", default)]
    pub size: Option<u64>,
    #[serde(rename = "checksum", default)]
    pub checksum: Vec<Checksum>,
}

/// A digest in hex.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Checksum {
    #[serde(rename = "@checksum-type", default)]
    pub kind: String,
    /// `gunzip`: over the unpacked bytes. None or empty: over the member's own bytes.
    #[serde(rename = "@verify-process", default)]
    pub process: String,
    #[serde(rename = "$text", default)]
    pub hex: String,
}

impl Descriptor {
    /// Parses; name and version must be there.
    pub fn parse(xml: &[u8]) -> Result<Self, BundleError> {
        let text = std::str::from_utf8(xml).map_err(|e| BundleError::Descriptor(format!("not UTF-8: {e}")))?;
        let d: Self = quick_xml::de::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|e| BundleError::Descriptor(e.to_string()))?;
        match (d.name.is_empty(), d.version.is_empty()) {
            (true, _) => Err(BundleError::Descriptor("it has no <name>".into())),
            (_, true) => Err(BundleError::Descriptor("it has no <version>".into())),
            _ => Ok(d),
        }
    }

    /// Whether installing needs maintenance mode.
    pub fn maintenance_mode(&self) -> bool {
        truth(self.requires.maintenance_mode.as_ref(), false)
    }

    /// Whether it can be installed live.
    pub fn live_install(&self) -> bool {
        truth(self.live_install.as_ref(), false)
    }
}

impl Payload {
    /// The SHA-256 over the member's own bytes, if the descriptor gives one.
    pub fn sha256(&self) -> Option<&str> {
        self.checksum.iter().find(|c| c.is_sha256() && c.process.is_empty()).map(|c| c.hex.trim())
    }
}

impl Checksum {
    /// Whether this is a SHA-256.
    pub fn is_sha256(&self) -> bool {
        self.kind.eq_ignore_ascii_case("sha-256") || self.kind.eq_ignore_ascii_case("sha256")
    }
}

fn truth(text: Option<&Text>, default: bool) -> bool {
    text.map_or(default, |t| matches!(t.text.trim().to_ascii_lowercase().as_str(), "true" | "1" | "yes"))
}
