//! Every known way in which `esxcli software` fails, told apart and explained.

use crate::esxi::failure::{Class, failure};
use crate::esxi::output::Output;

/// Where the host writes what really happened.
pub const LOG: &str = "/var/log/esxupdate.log";

/// Why a software command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The VIB's acceptance level is below the host's.
    Acceptance,
    /// Something that the VIB needs is missing, or something conflicts.
    Dependency,
    /// The signature was made with a certificate that this release does not know.
    Signer,
    /// A RAM disk or the locker is full.
    NoSpace,
    /// The helper process hit its memory limit.
    Memory,
    /// The helper process died.
    HelperDied,
    /// The address or path cannot be read as one.
    BadUrl,
    /// The host could not download.
    Download,
    /// The CPU or a device is not supported by that release.
    Hardware,
    /// No such VIB on the host or in the depot.
    NoMatch,
    /// Maintenance mode is needed.
    Maintenance,
    /// Another software command runs.
    Busy,
    /// hostd does not answer.
    HostdDown,
    /// Exit code 1 and not a word: whether it was done is not known.
    Silent,
    /// Something else.
    Other,
}

/// A failure of a software command, explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Kind.
    pub kind: FaultKind,
    /// What the host said, with its class in front where it gave one.
    pub message: String,
    /// What to do.
    pub advice: String,
}

/// The failure in the output of a software command; `None` when it succeeded.
///
/// Sources: recorded outputs (5.5: a refused acceptance level is a DependencyError; 8.0: MemoryError without a message line), public
/// logs of the Errno 28, unknown url type, trusted signer and helper messages. Some wording is not verified.
pub fn fault(output: &Output) -> Option<Fault> {
    let all = format!("{}\n{}", output.stdout, output.stderr);
    let low = all.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| low.contains(w));
    let crashed = has(&["traceback (most recent call last)", "got no data from process"]);
    let found = failure(output);
    if found.is_none() && !crashed {
        return None;
    }
    let (class, message) = match &found {
        Some(f) => match &f.class {
            Class::Software(name) if f.message.is_empty() => (name.as_str(), format!("[{name}]")),
            Class::Software(name) => (name.as_str(), format!("[{name}] {}", f.message)),
            _ => ("", f.message.clone()),
        },
        None => ("", last_line(&all)),
    };
    let message = if crashed { last_line(&all) } else { message };
    let hostd = found.as_ref().is_some_and(|f| f.class == Class::HostdDown);
    use FaultKind as K;
    let kind = if hostd {
        K::HostdDown
    } else if all.trim().is_empty() {
        K::Silent
    } else if has(&["errno 28", "no space left"]) {
        K::NoSpace
    } else if class == "MemoryError" || has(&["memoryerror", "cannot allocate memory"]) {
        K::Memory
    } else if crashed {
        K::HelperDied
    } else if has(&["acceptance level"]) || class.starts_with("Acceptance") {
        K::Acceptance
    } else if has(&["trusted signer", "signature"]) {
        K::Signer
    } else if has(&["unknown url type", "only server local file path", "must be an absolute path"]) {
        K::BadUrl
    } else if class == "HardwareError" {
        K::Hardware
    } else if class == "NoMatchError" {
        K::NoMatch
    } else if class == "VibDownloadError" || class == "MetadataDownloadError" || has(&["urlopen error"]) {
        K::Download
    } else if class == "MaintenanceModeError" || has(&["maintenance mode"]) {
        K::Maintenance
    } else if class == "LockingError" || has(&["another process has the lock", "lock"]) && class == "InstallationError"
    {
        K::Busy
    } else if class == "DependencyError" {
        K::Dependency
    } else {
        K::Other
    };
    Some(Fault { kind, message, advice: advice(kind) })
}

fn last_line(text: &str) -> String {
    text.lines().rev().map(str::trim).find(|l| !l.is_empty() && !l.starts_with("Please refer")).unwrap_or("").to_owned()
}

fn advice(kind: FaultKind) -> String {
    use FaultKind as K;
    let what = match kind {
        K::Acceptance => {
            "The VIB's acceptance level is below the host's. Put an `acceptance` step before this one, or give this step `acceptance: CommunitySupported`, or `no_sig_check: true` if you trust the file."
        }
        K::Dependency => {
            "The VIB needs another one or conflicts with one that is installed: install what the message names first (or take a build made for this release). `force: true` ignores it, and can leave a host that does not boot."
        }
        K::Signer => {
            "The host does not know the certificate that signed this VIB: old releases cannot verify newer VIBs (VMware KB 76555: patch the host first), or the file was built without a signature. `no_sig_check: true` skips the check."
        }
        K::NoSpace => {
            "A RAM disk or the locker on the host is full (see `vdf -h`). Free it, set up scratch or swap on a datastore, or use a bundle without VMware Tools (`-no-tools`)."
        }
        K::Memory => {
            "The host's software helper hit its fixed memory limit (300 MB on 8.0). Install from a smaller offline bundle instead of an online depot."
        }
        K::HelperDied => {
            "The host's software helper died: usually no memory or no space left in a RAM disk (see `vdf -h`)."
        }
        K::BadUrl => {
            "The host cannot read that as an address. On the host a VIB is http, https, ftp, file:/absolute/path or an absolute path; an offline bundle must be an absolute path to a zip on the host. Without `on_host: true` esxprep downloads the file and uploads it."
        }
        K::Download => {
            "The host could not download it. Its firewall blocks outgoing http until `esxcli network firewall ruleset set -r httpClient -e true`; https also needs a certificate that the host trusts. Or leave `on_host` out: then esxprep downloads and uploads it."
        }
        K::Hardware => "That release does not support this host's CPU or a device in it.",
        K::NoMatch => {
            "There is no such VIB on the host or in the depot: compare the name with `esxcli software vib list` or `esxprep bundle inspect`."
        }
        K::Maintenance => "The host must be in maintenance mode for this: give the step `maintenance: true`.",
        K::Busy => "Another software command runs on the host, or died and left its lock: wait, then run again.",
        K::HostdDown => "The host's management agent does not answer: `/etc/init.d/hostd restart`, then run again.",
        K::Silent | K::Other => "",
    };
    let log = format!("Details are in {LOG} on the host.");
    if what.is_empty() { log } else { format!("{what} {log}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::recorded;

    fn kind(stdout: &str) -> FaultKind {
        let f = fault(&Output { stdout: stdout.into(), code: 1, ..Output::default() }).unwrap();
        assert!(f.advice.contains(LOG));
        f.kind
    }

    #[test]
    fn recorded_failures() {
        let text =
            recorded(include_str!("../../../fixtures/transcripts/5.x/vib-install-dependencyerror-acceptance.txt"));
        assert_eq!(kind(&text), FaultKind::Acceptance);
        let text = recorded(include_str!("../../../fixtures/transcripts/8.0/error-profile-update-memoryerror.txt"));
        assert_eq!(kind(&text), FaultKind::Memory);
        let text = recorded(include_str!("../../../fixtures/transcripts/5.x/error-hostd-down-connection-failure.txt"));
        assert_eq!(kind(&text), FaultKind::HostdDown);
    }

    /// Built in the block form of the recorded ones, with wording from public logs.
    #[test]
    fn every_other_class() {
        let block =
            |class: &str, text: &str| format!(" [{class}]\n {text}\n Please refer to the log file for more details.\n");
        for (class, text, want) in [
            (
                "DependencyError",
                "VIB X_bootbank_x_1 requires vmkapi_2_3_0_0, but the requirement cannot be satisfied.",
                FaultKind::Dependency,
            ),
            ("InstallationError", "('X_bootbank_x_1', 'Could not find a trusted signer.')", FaultKind::Signer),
            ("InstallationError", "[Errno 28] No space left on device", FaultKind::NoSpace),
            (
                "VibDownloadError",
                "('x.vib', '/tmp/y', '[Errno 4] IOError: <urlopen error [Errno 110] Connection timed out>')",
                FaultKind::Download,
            ),
            ("VibDownloadError", "('x.vib', '/tmp/y', 'unknown url type: x.vib')", FaultKind::BadUrl),
            ("MetadataDownloadError", "Could not download from depot at x, skipping", FaultKind::Download),
            ("ValueError", "Only server local file path is supported for offline bundles", FaultKind::BadUrl),
            ("HardwareError", "Hardware precheck of profile failed with warnings: CPU_SUPPORT", FaultKind::Hardware),
            ("NoMatchError", "No VIB matching VIB search specification 'x'.", FaultKind::NoMatch),
            ("MaintenanceModeError", "MaintenanceMode is required to remove: [x]", FaultKind::Maintenance),
            ("AcceptanceConfigError", "VIB x cannot be verified", FaultKind::Acceptance),
            ("KeyError", "'x'", FaultKind::Other),
        ] {
            assert_eq!(kind(&block(class, text)), want, "{class}: {text}");
        }
        assert_eq!(kind("Traceback (most recent call last):\n  File \"x\"\nOSError: boom\n"), FaultKind::HelperDied);
        assert_eq!(
            kind("Got no data from process\nLANG=en_US.UTF-8 /usr/lib/vmware/esxcli-software\n"),
            FaultKind::HelperDied
        );
        assert_eq!(kind(""), FaultKind::Silent);
        assert!(fault(&Output::ok("Installation Result\n   Message: Operation finished successfully.\n")).is_none());
        // A traceback with exit code 0 is no success.
        assert!(fault(&Output::ok("Traceback (most recent call last):\n  x\nMemoryError\n")).is_some());
    }
}
