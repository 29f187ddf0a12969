//! The `Installation Result` and `Removal Result` blocks.

/// What `vib install`, `update` or `remove` says that it did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallResult {
    /// The message, joined to one line.
    pub message: String,
    /// Whether the change is active only after a reboot.
    pub reboot: bool,
    /// Ids of installed VIBs, `VENDOR_bootbank_NAME_VERSION`.
    pub installed: Vec<String>,
    /// Ids of removed VIBs.
    pub removed: Vec<String>,
    /// Ids of VIBs that were left as they are.
    pub skipped: Vec<String>,
}

/// Reads the result block; `None` when there is none in the text.
///
/// Up to 7.0 the order is Message, Reboot Required, VIBs ...; on 8.0 Reboot Required comes after the VIBs and DPU
/// Results last (command model of 8.0; recorded on 8.0: software-component-apply-d). A message can be hard-wrapped
/// in the middle of a word (recorded on 5.x: vib-install-message-hard-wrapped).
pub fn install_result(text: &str) -> Option<InstallResult> {
    const LABELS: [&str; 9] = [
        "Message",
        "Reboot Required",
        "VIBs Installed",
        "VIBs Removed",
        "VIBs Skipped",
        "Components Installed",
        "Components Removed",
        "Components Skipped",
        "DPU Results",
    ];
    let mut lines = text.lines().map(|l| l.trim_end_matches('\r'));
    lines.find(|l| matches!(l.trim(), "Installation Result" | "Removal Result" | "Update Result"))?;
    let mut fields: Vec<(&str, String)> = Vec::new();
    let mut width = 0;
    for line in lines {
        let label = line.split_once(':').filter(|(l, _)| l.starts_with(' ')).map(|(l, v)| (l.trim(), v.trim()));
        match label.filter(|(l, _)| LABELS.contains(l)) {
            Some((label, value)) => fields.push((label, value.to_owned())),
            None => {
                if let Some((_, value)) = fields.last_mut()
                    && !line.trim().is_empty()
                {
                    // A line as wide as a terminal was cut in mid-word; any other break stood between words.
                    let cut = width >= 79 && !line.starts_with(' ');
                    if !cut && !value.is_empty() {
                        value.push(' ');
                    }
                    value.push_str(line.trim());
                }
            }
        }
        width = line.chars().count();
    }
    let get = |label: &str| fields.iter().find(|(l, _)| *l == label).map(|(_, v)| v.as_str());
    let ids = |label: &str| {
        let list = get(label).unwrap_or("");
        list.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    Some(InstallResult {
        message: get("Message").unwrap_or("").to_owned(),
        reboot: get("Reboot Required").is_some_and(|v| v.eq_ignore_ascii_case("true")),
        installed: ids("VIBs Installed"),
        removed: ids("VIBs Removed"),
        skipped: ids("VIBs Skipped"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::recorded;

    #[test]
    fn wrapped_messages_are_joined() {
        let text = recorded(include_str!("../../../fixtures/transcripts/5.x/vib-install-message-hard-wrapped.txt"));
        let r = install_result(&text).unwrap();
        assert_eq!(
            r.message,
            "The update completed successfully, but the system needs to be rebooted for the changes to be effective."
        );
        assert!(r.reboot);
        assert_eq!(r.installed, ["LSI_bootbank_LSIProvider_500.04.V0.24-261033"]);
        assert!(r.skipped.is_empty());
    }

    #[test]
    fn both_orders_are_read() {
        let old = recorded(include_str!("../../../fixtures/transcripts/6.5/vib-install-v-custom-fw.txt"));
        let r = install_result(&old).unwrap();
        assert_eq!((r.reboot, r.installed.len()), (false, 1));
        // The 8.0 order, built from its command model: no `vib install` was recorded there.
        let new = "Installation Result\n   Message: Operation finished successfully.\n   VIBs Installed: A_bootbank_b_1-1\n   VIBs Removed: \n   VIBs Skipped: A_bootbank_c_1-1, A_bootbank_d_2-2\n   Reboot Required: true\n   DPU Results: \n";
        let r = install_result(new).unwrap();
        assert!(r.reboot);
        assert_eq!(r.skipped, ["A_bootbank_c_1-1", "A_bootbank_d_2-2"]);
        let removed = recorded(include_str!("../../../fixtures/transcripts/7.0/vib-remove-no-reboot.txt"));
        assert_eq!(
            install_result(&removed).unwrap().removed,
            ["web-wack-creations_bootbank_w2c-letsencrypt-esxi_1.0.0-0.0.0"]
        );
        let eight = recorded(include_str!("../../../fixtures/transcripts/8.0/software-component-apply-d.txt"));
        assert_eq!(install_result(&eight).unwrap().message, "Operation finished successfully.");
        assert!(install_result("Enabled\n").is_none());
    }
}
