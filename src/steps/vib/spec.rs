//! The YAML of a `vib` step and the checks that need no host.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Vib;
use crate::esxi::software::Acceptance;

/// Installs, updates or removes a VIB.
///
/// Without `version` or `at_least`, a step with an inspected `from` wants at least the file's own version, and a
/// step without one wants the VIB in any version. Versions are compared number by number (the part before the
/// first `-` first); this is esxprep's own rule.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The VIB's name as `esxcli software vib list` shows it. May be left out when `from` is a file or URL that
    /// esxprep reads: then every VIB in it is wanted.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether the VIB is to be on the host.
    #[serde(default)]
    pub state: State,
    /// Exactly this version. `"1.34.8"` is met by `1.34.8-17417756`.
    #[serde(default)]
    pub version: Option<String>,
    /// This version or a later one.
    #[serde(default)]
    pub at_least: Option<String>,
    /// Where to install from: a `.vib` or an offline bundle (`.zip`) beside the playbook, or a URL. It is read,
    /// checked and hashed on this machine, then uploaded. With `on_host` the host reads it itself.
    #[serde(default)]
    pub from: Option<String>,
    /// The file's SHA-256 in hex.
    #[serde(default)]
    pub sha256: Option<String>,
    /// `from` is an absolute path on the host, or a URL that the host downloads itself. Nothing can be checked
    /// beforehand, so `name` must be given.
    #[serde(default)]
    pub on_host: bool,
    /// If the host's acceptance level is stricter than this, it is lowered to this first. CommunitySupported is
    /// not compatible with UEFI secure boot.
    #[serde(default)]
    pub acceptance: Option<Acceptance>,
    /// Install although the acceptance level or the signature does not fit. The host warns about it afterwards.
    #[serde(default)]
    pub no_sig_check: bool,
    /// Install although dependencies are missing or conflict. Can leave a host that does not boot.
    #[serde(default)]
    pub force: bool,
    /// Allow an older version to replace a newer one. `esxcli software vib install` would do so without a word.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// `false`: put the change into the alternate boot bank even if it could be made live; active after a reboot.
    #[serde(default)]
    pub live: Option<bool>,
    /// Make the change in maintenance mode. Default: as the VIB's descriptor asks.
    #[serde(default)]
    pub maintenance: Option<bool>,
}

/// Present or absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// On the host.
    #[default]
    Present,
    /// Not on the host.
    Absent,
}

impl TryFrom<Spec> for Vib {
    type Error = String;

    fn try_from(spec: Spec) -> Result<Self, String> {
        let no = |text: &str| Err(text.to_owned());
        if spec.state == State::Absent {
            if spec.name.is_none() {
                return no("`state: absent` needs the `name` of the VIB to remove");
            }
            if spec.from.is_some() || spec.version.is_some() || spec.at_least.is_some() || spec.acceptance.is_some() {
                return no("`state: absent` takes neither `from` nor `version`, `at_least` or `acceptance`");
            }
        }
        if spec.version.is_some() && spec.at_least.is_some() {
            return no("give either `version` (exactly) or `at_least`, not both");
        }
        if spec.name.is_none() && spec.from.is_none() {
            return no("give the `name` of the VIB, or `from` with the file to install");
        }
        if let Some(name) = &spec.name
            && (name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == ':' || c == ','))
        {
            return no("`name` is the VIB's bare name, for example `esx-ui`, without vendor or version");
        }
        if let Some(sha) = &spec.sha256
            && (sha.len() != 64 || !sha.chars().all(|c| c.is_ascii_hexdigit()))
        {
            return no("`sha256` must be 64 hexadecimal digits");
        }
        match (&spec.from, spec.on_host) {
            (None, true) => return no("`on_host: true` needs `from`: the path or URL that the host reads"),
            (Some(from), true) => {
                let url = ["http://", "https://", "ftp://"].iter().any(|p| from.starts_with(p));
                if spec.name.is_none() {
                    return no("with `on_host: true` esxprep cannot look into the file: give the VIB's `name`");
                }
                if spec.sha256.is_some() {
                    return no("`sha256` cannot be checked when the host reads the file itself (`on_host: true`)");
                }
                if !url && !from.starts_with('/') && !from.starts_with("file:/") {
                    return no(
                        "with `on_host: true` `from` must be an absolute path on the host or a http, https or ftp URL: esxcli looks a relative path up somewhere else",
                    );
                }
                if url && from.ends_with(".zip") {
                    return no(
                        "a host refuses an offline bundle behind a URL (\"Only server local file path is supported for offline bundles\"): leave `on_host` out, then esxprep downloads and uploads it",
                    );
                }
            }
            (Some(from), false) if from.starts_with("ftp://") || from.starts_with("file:") => {
                return no("`from` is a path beside the playbook or a http or https URL");
            }
            _ => {}
        }
        Ok(Self(spec))
    }
}
