//! What `esxcli software` says, as data: acceptance levels, VIB lists, results and every known way to fail, plus
//! the choice of a place on the host where a package can be put.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::failure::{Class, failure};
use super::forms::{FormError, Record};
use super::output::Output;

mod fault;
mod result;
mod space;

pub use fault::{Fault, FaultKind, LOG, fault};
pub use result::{InstallResult, install_result};
pub use space::{Place, choose_place, ramdisk_free};

/// Acceptance levels, from least to most trusted: the host's level is the least that a VIB may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Acceptance {
    /// Not tested by anyone but its maker; not compatible with UEFI secure boot.
    CommunitySupported,
    /// Tested and supported by a partner; the default of a new host.
    PartnerSupported,
    /// Tested by a partner, accepted by VMware.
    VMwareAccepted,
    /// Tested and supported by VMware.
    VMwareCertified,
}

impl Acceptance {
    /// The word as hosts write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CommunitySupported => "CommunitySupported",
            Self::PartnerSupported => "PartnerSupported",
            Self::VMwareAccepted => "VMwareAccepted",
            Self::VMwareCertified => "VMwareCertified",
        }
    }
}

impl fmt::Display for Acceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not an acceptance level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an acceptance level (CommunitySupported, PartnerSupported, VMwareAccepted, VMwareCertified)")]
pub struct NotALevel(pub String);

impl FromStr for Acceptance {
    type Err = NotALevel;

    /// Reads a host's word (`PartnerSupported`) or a descriptor's (`partner`, as in messages and VIB files).
    fn from_str(s: &str) -> Result<Self, NotALevel> {
        match s.trim().to_ascii_lowercase().replace([' ', '_'], "").as_str() {
            "communitysupported" | "community" => Ok(Self::CommunitySupported),
            "partnersupported" | "partner" => Ok(Self::PartnerSupported),
            "vmwareaccepted" | "accepted" => Ok(Self::VMwareAccepted),
            "vmwarecertified" | "certified" | "vmware" => Ok(Self::VMwareCertified),
            _ => Err(NotALevel(s.to_owned())),
        }
    }
}

/// Compares two VIB versions such as `1.34.8-17417756` or `1.0.3.0-8vmw.702.0.0.17867351`.
///
/// This is our own rule, not VMware's published one: the part before the first `-` decides, then the part after
/// it; each is compared segment by segment at its dots; runs of digits compare as numbers, other runs as text, a
/// number is newer than text, and a version that ends earlier is older (`1.34.8` < `1.34.8-17417756`).
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let halves = |v: &str| v.split_once('-').map_or((v.to_owned(), None), |(x, y)| (x.to_owned(), Some(y.to_owned())));
    let ((a, ar), (b, br)) = (halves(a.trim()), halves(b.trim()));
    compare_part(&a, &b).then_with(|| match (ar, br) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(x), Some(y)) => compare_part(&x, &y),
    })
}

fn compare_part(a: &str, b: &str) -> Ordering {
    let (a, b) = (runs(a), runs(b));
    for pair in a.iter().zip(b.iter()) {
        let order = match pair {
            (Run::Number(x), Run::Number(y)) => x.len().cmp(&y.len()).then_with(|| x.cmp(y)),
            (Run::Text(x), Run::Text(y)) => x.cmp(y),
            (Run::Number(_), Run::Text(_)) => Ordering::Greater,
            (Run::Text(_), Run::Number(_)) => Ordering::Less,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

enum Run {
    Number(String),
    Text(String),
}

fn runs(part: &str) -> Vec<Run> {
    let mut out = Vec::new();
    for segment in part.split(['.', '-', '_', '+']).filter(|s| !s.is_empty()) {
        let mut rest = segment;
        while let Some(first) = rest.chars().next() {
            let digits = first.is_ascii_digit();
            let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
            let (run, tail) = rest.split_at(end);
            out.push(if digits { Run::Number(run.trim_start_matches('0').into()) } else { Run::Text(run.into()) });
            rest = tail;
        }
    }
    out
}

/// Whether an installed version is the one asked for: the same, or the same up to its release part
/// (`1.34.8` is met by `1.34.8-17417756`).
pub fn version_is(installed: &str, wanted: &str) -> bool {
    installed == wanted
        || (!wanted.contains('-') && installed.split_once('-').is_some_and(|(version, _)| version == wanted))
}

/// One row of `esxcli software vib list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Acceptance level as printed.
    pub acceptance: String,
}

/// The VIBs in a `vib list` table. 8.0 has one column more (Platforms), so columns are found by heading.
pub fn installed(rows: Vec<Record>) -> Result<Vec<Installed>, FormError> {
    let cell = |row: &Record, name: &'static str| row.get(name).cloned();
    rows.into_iter()
        .map(|row| {
            let missing = || FormError {
                line: 1,
                problem: "no columns Name and Version in the list of VIBs",
                text: format!("{row:?}"),
            };
            Ok(Installed {
                name: cell(&row, "Name").ok_or_else(missing)?,
                version: cell(&row, "Version").ok_or_else(missing)?,
                acceptance: cell(&row, "Acceptance Level").unwrap_or_default(),
            })
        })
        .collect()
}

/// The image that waits for a reboot, from `esxcli software vib list --rebooting-image`; `None`: none waits.
///
/// Not recorded on any release: nothing printed, a text with `No pending image` (the placeholder profile's name
/// in the command model of 8.0) or an error that names the missing image all mean that none waits.
pub fn pending(output: &Output) -> Result<Option<Vec<Installed>>, String> {
    let says_none = |t: &str| {
        let t = t.to_ascii_lowercase();
        t.contains("no pending image") || t.contains("pending image profile") || t.contains("rebooting image")
    };
    if output.stdout.trim().is_empty() && output.code == 0 || says_none(&output.stdout) {
        return Ok(None);
    }
    if let Some(f) = failure(output) {
        return match f.class {
            Class::UnknownCommand | Class::Usage | Class::UsageText => Ok(None),
            _ => Err(f.said()),
        };
    }
    let rows = super::forms::table(&output.stdout).and_then(installed).map_err(|e| e.to_string())?;
    Ok(if rows.is_empty() { None } else { Some(rows) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::{forms, recorded};

    #[test]
    fn versions_compare_by_number() {
        let less = |a, b| {
            assert_eq!(compare_versions(a, b), Ordering::Less, "{a} < {b}");
            assert_eq!(compare_versions(b, a), Ordering::Greater, "{b} > {a}");
        };
        less("1.34.8", "1.34.8-17417756");
        less("1.34.8-17417756", "1.34.10-1");
        less("1.0.2.0-1OEM.670.0.0.8169922", "1.0.3.0-8vmw.702.0.0.17867351");
        less("1.0.3.0-8vmw.702.0.0.17867351", "1.0.3.0-8vmw.703.0.20.19193900");
        less("500.04.V0.24-261033", "500.04.V0.32-0003");
        less("1.34-5", "1.34.1-2");
        less("2.0.8", "2.0.8.1");
        assert_eq!(compare_versions("8.0.3-0.0.23299997", "8.0.03-0.0.23299997"), Ordering::Equal);
        assert!(version_is("1.34.8-17417756", "1.34.8") && !version_is("1.34.80-1", "1.34.8"));
        assert!(!version_is("1.34.8-17417756", "1.34.8-1"));
    }

    #[test]
    fn vib_lists_of_two_releases() {
        for (text, name, version) in [
            (include_str!("../../fixtures/transcripts/5.x/vib-list-head-3.txt"), "lsiprovider", "500.04.V0.32-0003"),
            (
                include_str!("../../fixtures/transcripts/7.0/vib-list-vendor-mix.txt"),
                "ixgben",
                "1.12.3.0-1OEM.700.1.0.15843807",
            ),
        ] {
            let vibs = installed(forms::table(&recorded(text)).unwrap()).unwrap();
            assert_eq!((vibs[0].name.as_str(), vibs[0].version.as_str()), (name, version));
            assert!(vibs[0].acceptance.parse::<Acceptance>().is_ok());
        }
    }

    #[test]
    fn no_pending_image_in_all_its_forms() {
        assert_eq!(pending(&Output::ok("")), Ok(None));
        assert_eq!(pending(&Output::ok("No pending image profile available.\n")), Ok(None));
        let e = Output { code: 1, ..Output::ok("Error: Invalid option --rebooting-image\n\n") };
        assert_eq!(pending(&e), Ok(None));
        let e = Output { code: 1, ..Output::ok("Connect to localhost failed: Connection failure\n") };
        assert!(pending(&e).is_err());
        let silent = recorded(include_str!("../../fixtures/transcripts/8.0/error-profile-update-memoryerror.txt"));
        let e = Output { code: 1, ..Output::ok(silent) };
        assert_eq!(pending(&e).unwrap_err(), "[MemoryError] without a message");
        let list = recorded(include_str!("../../fixtures/transcripts/7.0/vib-list-vendor-mix.txt"));
        assert_eq!(pending(&Output::ok(list)).unwrap().unwrap().len(), 3);
    }

    #[test]
    fn levels_are_ordered_and_read_in_both_spellings() {
        assert!(Acceptance::CommunitySupported < Acceptance::VMwareCertified);
        assert_eq!("partner".parse(), Ok(Acceptance::PartnerSupported));
        assert_eq!("VMwareAccepted\n".parse(), Ok(Acceptance::VMwareAccepted));
        assert!("trusted".parse::<Acceptance>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn versions_are_ordered_and_texts_never_panic(a in "[0-9a-z.-]{0,12}", b in "[0-9a-z.-]{0,12}", c in "[0-9a-z.-]{0,12}", text: String) {
            use proptest::prelude::*;
            prop_assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
            if compare_versions(&a, &b).is_le() && compare_versions(&b, &c).is_le() {
                prop_assert!(compare_versions(&a, &c).is_le());
            }
            let _ = install_result(&format!("Installation Result\n{text}"));
            let _ = fault(&Output::ok(text.as_str()));
            let _ = ramdisk_free(&format!("Ramdisk\ntmp 1 1 {text}"), "tmp");
            let _ = pending(&Output::ok(text.as_str()));
        }
    }
}
