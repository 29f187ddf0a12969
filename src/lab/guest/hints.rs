//! What QEMU's messages mean, for the person who reads them: QEMU says what it could not do, seldom why.

/// (text in QEMU's message, what it means and what to do). Messages as seen on QEMU 10.0.2, unless said otherwise.
const HINTS: &[(&str, &str)] = &[
    (
        "Failed to get \"write\" lock",
        "another QEMU or qemu-img has the disk open: `esxprep lab status` and `fuser` on the file say which",
    ),
    ("Could not set up host forwarding rule", "the port is in use or, below 1024, needs root: `ss -ltnp` says by whom"),
    ("is not a valid device model name", "this QEMU has no such device: it is too old, too new, or built without it"),
    ("unsupported machine type", "this QEMU has no such machine: `qemu-system-x86_64 -machine help` lists them"),
    ("Snapshot '", "the disk does not hold that saved memory any more: start the host cold"),
    ("Cannot allocate memory", "the machine has not enough free memory for the guest: give it less, or stop another"),
    ("could not configure /dev/net/tun", "taps need root, or a tap made beforehand that belongs to this user"),
    ("Could not access KVM kernel module", "`esxprep lab doctor` says what is missing for KVM"),
    ("requires KVM", "`-cpu host` works with KVM alone: `esxprep lab doctor` says what is missing for it"),
    ("Address already in use", "another process has the socket or port: `ss -lxp` and `ss -ltnp` say which"),
    ("No space left on device", "the disk with the lab's folder is full"),
    ("Permission denied", "the user that runs esxprep must be able to read and write what is named"),
    ("non-migratable device", "this device cannot be saved; NVMe disks are such (QEMU 10.0.2): use SATA or IDE"),
    (
        "is writable but does not support snapshots",
        "only qcow2 disks hold saved memory: make this one qcow2, or read only (`readonly=on`)",
    ),
    ("does not have the requested snapshot", "the name is not on every disk: was one added or made anew since?"),
    ("Unknown savevm section", "the machine has other devices than the one that was saved"),
    (
        "error while loading state",
        "the machine has other devices than the one that was saved, or QEMU is another version",
    ),
    ("Length mismatch", "the machine has another amount of memory than the one that was saved"),
    (
        "No such file or directory",
        "the file that is named is not there; a relative path is taken from the lab's folder",
    ),
];

/// What a message of QEMU means, when that is known.
pub(super) fn hint(message: &str) -> Option<&'static str> {
    HINTS.iter().find(|(text, _)| message.contains(text)).map(|(_, hint)| *hint)
}

/// QEMU's message with what it means.
pub(super) fn explained(message: &str) -> String {
    match hint(message) {
        Some(hint) => format!("{message} ({hint})"),
        None => message.to_owned(),
    }
}

/// What a program said before it ended, on one line: its last few lines without its own name, warnings left out unless
/// there is nothing else.
pub(super) fn said(output: &str, program: &str) -> String {
    let strip = format!("{program}: ");
    let lines: Vec<_> = output
        .lines()
        .map(|line| line.trim().strip_prefix(&strip).unwrap_or(line.trim()))
        .filter(|line| !line.is_empty())
        .collect();
    let errors: Vec<_> = lines.iter().filter(|l| !l.contains("warning: ")).copied().collect();
    let chosen = if errors.is_empty() { lines } else { errors };
    let text = chosen[chosen.len().saturating_sub(4)..].join("; ");
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).take(1000).collect();
    if text.is_empty() { "it said nothing".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_do_not_hide_the_error() {
        let output = "qemu-system-x86_64: warning: netdev n has no peer\nqemu-system-x86_64: -device bogus: 'bogus' is not a valid device model name\n";
        let said = said(output, "qemu-system-x86_64");
        assert_eq!(said, "-device bogus: 'bogus' is not a valid device model name");
        assert!(hint(&said).unwrap().contains("no such device"));
    }

    #[test]
    fn silence_is_told_as_such() {
        assert_eq!(said("\n \n", "x"), "it said nothing");
        assert_eq!(said("x: warning: w\n", "x"), "warning: w");
        assert_eq!(hint("something new"), None);
    }
}
