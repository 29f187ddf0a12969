use super::super::testing::{Host, bad, step, texts, undone};
use super::*;
use crate::esxi::recorded;

const GET: &str = "esxcli system settings encryption get";
const TRUSTED: &str = "esxcli hardware trustedboot get";
const SECURE_BOOT: &str = "/usr/lib/vmware/secureboot/bin/secureBoot.py -s";
const KERNEL: &str = "esxcli system settings kernel list -o execInstalledOnly";

fn said(mode: &str, installed: bool, secure: bool) -> String {
    format!("   Mode: {mode}\n   {INSTALLED}: {installed}\n   {SECURE}: {secure}\n")
}

fn trusted(tpm: bool) -> String {
    format!("   Drtm Enabled: false\n   Tpm Present: {tpm}\n")
}

fn kernel_says(runtime: &str) -> String {
    super::super::testing::table(
        &["Name", "Type", "Configured", "Runtime", "Default", "Description"],
        &[&["execInstalledOnly", "Bool", "TRUE", runtime, "FALSE", "Execute only VIBs"]],
    )
}

/// A host with a TPM where `tpm`, with Secure Boot where `on`, in this state.
fn host(state: &str, tpm: bool, on: bool) -> Host {
    let word = if on { "Enabled\n" } else { "Disabled\n" };
    let kernel = kernel_says(if on { "TRUE" } else { "FALSE" });
    Host::with(Version::new(8, 0), &[(GET, state), (TRUSTED, &trusted(tpm)), (SECURE_BOOT, word), (KERNEL, &kernel)])
}

fn all() -> Box<dyn Step> {
    step(&KIND, json!({"mode": "TPM", "require_secure_boot": true, "require_installed_only": true}))
}

#[test]
fn a_host_with_all_that_is_needed_is_sealed() {
    let none = recorded(include_str!("../../../fixtures/transcripts/7.0/settings-encryption-get-none.txt"));
    let changes = host(&none, true, true).compare(all().as_ref()).unwrap();
    assert_eq!(
        texts(&changes),
        [
            "esxcli system settings encryption set --mode=TPM",
            "esxcli system settings encryption set --require-secure-boot=true",
            "esxcli system settings encryption set --require-exec-installed-only=true",
        ]
    );
    assert!(changes.iter().all(|c| c.effect.reboot && c.summary.contains("recovery key")));
    assert!(changes[0].effect.maintenance && changes[0].undo.is_none());
    let after = host(&said("TPM", true, true), true, true);
    assert!(after.compare(all().as_ref()).unwrap().is_empty());
    assert_eq!(
        undone(&after, &changes[1..]),
        [
            "esxcli system settings encryption set --require-exec-installed-only=false",
            "esxcli system settings encryption set --require-secure-boot=false",
        ]
    );
}

#[test]
fn what_would_end_in_a_failing_boot_is_left_to_a_person() {
    let none = said("NONE", false, false);
    for (tpm, on, word) in [(false, true, "no TPM"), (true, false, "off in the firmware")] {
        let changes = host(&none, tpm, on).compare(all().as_ref()).unwrap();
        assert!(changes[1].by_hand.as_deref().unwrap().contains(word), "{changes:?}");
        assert!(changes[1].actions.is_empty() && changes[1].undo.is_none());
        assert!(changes[2].by_hand.is_some());
    }
    // Sealed, and Secure Boot off: mode is right, the enforcement is not.
    let sealed = host(&said("TPM", false, false), true, false);
    assert!(texts(&sealed.compare(all().as_ref()).unwrap()).is_empty());
    // An unsure answer about the TPM is no TPM.
    let unsure = host(&none, true, true).says(&trusted_boot(), "   Drtm Enabled: false\n");
    assert!(unsure.compare(all().as_ref()).unwrap().iter().all(|c| c.by_hand.is_some()));
}

#[test]
fn nothing_more_is_read_than_what_differs_asks_for() {
    let more = |host: &Host, wanted: &dyn Step| {
        let artifacts = super::super::Artifacts::default();
        let seen = Seen { host: &host.facts, outputs: &host.outputs, artifacts: &artifacts };
        wanted.more_reads(&seen).iter().map(|c| c.text().to_owned()).collect::<Vec<_>>()
    };
    assert!(more(&host(&said("TPM", true, true), true, true), all().as_ref()).is_empty());
    let mode = step(&KIND, json!({"mode": "TPM"}));
    assert_eq!(more(&host(&said("NONE", false, false), true, true), mode.as_ref()), [TRUSTED]);
    assert_eq!(more(&host(&said("TPM", true, false), true, true), all().as_ref()), [SECURE_BOOT]);
}

#[test]
fn an_older_release_has_no_such_thing() {
    let unknown = "Error: Unknown command or namespace system settings encryption get\n\n";
    let old = Host::with(Version::new(6, 7), &[]).fails(&Command::raw(GET), unknown);
    assert!(matches!(old.compare(all().as_ref()), Err(StepError::NotApplicable(_))));
    assert!(bad(&KIND, json!({})).contains("mode"));
    assert!(bad(&KIND, json!({"mode": "NONE"})).contains("TPM"));
    let refused =
        Output { stdout: "Unable to change the encryption mode and policy.\n".into(), code: 1, ..Output::default() };
    assert!(all().judge(&set(), &refused).unwrap_err().to_string().contains("mode must be TPM first"));
}
