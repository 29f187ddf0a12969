//! Errors in the words of the tools themselves: partedUtil, esxcfg-*, vim-cmd, vmkfstools, vsish, busybox.

/// Programs of busybox and the like, which report `NAME: what: why`.
const SMALL: &[&str] = &[
    "ls",
    "cat",
    "more",
    "less",
    "head",
    "tail",
    "grep",
    "egrep",
    "fgrep",
    "stat",
    "du",
    "df",
    "mount",
    "rm",
    "cp",
    "mv",
    "mkdir",
    "rmdir",
    "ln",
    "chmod",
    "chown",
    "touch",
    "find",
    "sha256sum",
    "sha1sum",
    "sha512sum",
    "md5sum",
    "cksum",
    "ps",
    "kill",
    "wget",
    "tar",
    "gzip",
    "gunzip",
    "unzip",
    "vi",
    "sed",
    "awk",
    "sort",
    "wc",
    "date",
    "hostname",
    "id",
    "nslookup",
    "traceroute",
    "ping",
    "ping6",
    "vmkping",
    "nc",
    "openssl",
    "strings",
    "zcat",
    "dd",
    "diff",
    "readlink",
    "test",
    "passwd",
    "crontab",
    "sh",
    "python",
    "python3",
    "esxtop",
    "vdf",
    "watch",
    "tcpdump-uw",
    "pktcap-uw",
];

/// The class and the message of an error that a tool printed; `None` when the text is not an error.
///
/// Classes: `not-found` (the shell does not know the program), `hostd-down`, `usage`, `fault` (a `vim.fault.` of
/// hostd), `not-supported`, `no-such-file`, `denied`, `failed` (any other error).
///
/// Sources: recorded on 5.0: partedutil-fix-error, partedutil-setptbl-error, services-sh-restart; on 4.1:
/// esxcfg-nics-a-error; of 7.0 or 8.0: iperf3-operation-not-permitted. The other forms are taken from VMware's
/// knowledge base articles about these tools and not verified on a host.
pub fn failure_text(program: &str, text: &str) -> Option<(&'static str, String)> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let first = *lines.first()?;
    let name = program.rsplit('/').next().unwrap_or(program);
    let said = || lines.join("\n");
    if lines.iter().all(|l| shell_not_found(l)) {
        return Some(("not-found", said()));
    }
    if lines.iter().any(|l| l.starts_with("Connect to localhost failed") || l.starts_with("Failed to connect to hostd"))
    {
        return Some(("hostd-down", said()));
    }
    if first.starts_with("Usage: ") || first.starts_with("usage: ") || first == "Usage:" {
        return Some(("usage", said()));
    }
    if program.starts_with("/etc/init.d/") && first.starts_with("This operation is not supported") {
        return Some(("not-supported", said()));
    }
    match name {
        "partedUtil" => {
            let at = lines.iter().position(|l| {
                l.starts_with("Error")
                    || l.starts_with("Unable to ")
                    || l.starts_with("Unsupported ")
                    || l.starts_with("Invalid ")
                    || l.starts_with("Unknown ")
                    || l.contains(": No such file")
            })?;
            Some(("failed", lines[at..].join("\n")))
        }
        "vmkfstools" => vmkfstools(&lines),
        "vim-cmd" | "vmware-vim-cmd" => vim_cmd(&lines),
        "vsish" => {
            let bad = |l: &str| {
                l.starts_with("VSISH") && l.contains("():")
                    || l.starts_with("Invalid ")
                    || l.starts_with("Unknown command")
                    || l.ends_with(": No such file or directory")
            };
            lines.iter().any(|l| bad(l)).then(|| ("failed", said()))
        }
        "iperf3" | "iperf" => lines.iter().any(|l| l.starts_with("iperf3: error")).then(|| ("failed", said())),
        "ssh" => lines
            .iter()
            .any(|l| {
                l.contains("Permission denied (")
                    || l.starts_with("Connection closed by")
                    || l.contains("Connection refused")
            })
            .then(|| ("denied", said())),
        _ if name.starts_with("esxcfg-") || name == "vmkload_mod" || name == "vmkchdev" => esxcfg(&lines),
        "vmkping" | "ping" if first.starts_with("Unknown interface") || first.starts_with("Invalid ") => {
            Some(("failed", said()))
        }
        "nc" if first.contains(" failed: ") => Some(("failed", said())),
        _ if SMALL.contains(&name) => small(name, &lines),
        _ => None,
    }
}

/// `-sh: foo: not found`, `/bin/sh: foo: not found`, `sh: line 1: foo: not found`.
fn shell_not_found(line: &str) -> bool {
    let shell = line.split(':').next().unwrap_or("");
    let shell = shell.trim_start_matches('-').rsplit('/').next().unwrap_or("");
    matches!(shell, "sh" | "ash" | "bash") && (line.ends_with(": not found") || line.ends_with(": command not found"))
}

fn vmkfstools(lines: &[&str]) -> Option<(&'static str, String)> {
    let bad = |l: &&&str| {
        let l = **l;
        l.starts_with("Failed")
            || l.starts_with("Error")
            || l.starts_with("Could not ")
            || l.starts_with("Unable to ")
            || l.contains(" Failed: ")
            || l.contains(" failed: ")
            || l.contains(" failed (")
            || l.contains("() failed")
            || l.starts_with("DiskLib_")
            || l.ends_with("No such file or directory")
            || l.ends_with("No such file or directory.")
    };
    lines.iter().find(bad).map(|_| ("failed", lines.join("\n")))
}

fn vim_cmd(lines: &[&str]) -> Option<(&'static str, String)> {
    let first = *lines.first()?;
    let fault = |l: &str| {
        let l = l.strip_prefix('(').unwrap_or(l);
        let l = l.to_ascii_lowercase();
        l.starts_with("vim.fault.") || l.starts_with("vmodl.fault.") || l.starts_with("vmodl.methodfault")
    };
    if lines.iter().any(|l| l.starts_with('(') && fault(l)) && fault(first)
        || fault(first)
        || lines.len() > 1 && lines[..2].iter().any(|l| fault(l))
    {
        return Some(("fault", lines.join("\n")));
    }
    if first.starts_with("Invalid command") || first.starts_with("Insufficient arguments") {
        return Some(("usage", lines.join("\n")));
    }
    let bad = |l: &&str| {
        l.starts_with("Unable to find ")
            || l.starts_with("Failed to ")
            || l.starts_with("Error: ")
            || l.starts_with("Login failed")
            || l.ends_with(" failed")
            || l.ends_with(" failed.")
            || l.starts_with("Operation timed out")
            || l.starts_with("Not found")
            || l.starts_with("Invalid argument")
    };
    (lines.len() <= 6 && lines.iter().any(bad)).then(|| ("failed", lines.join("\n")))
}

fn esxcfg(lines: &[&str]) -> Option<(&'static str, String)> {
    let first = *lines.first()?;
    let word = first.split_whitespace().next().unwrap_or("");
    if word.starts_with("esxcfg-") && (first.contains('<') || first.contains('[') || first.contains("invalid option")) {
        return Some(("usage", lines.join("\n")));
    }
    let bad = |l: &&str| {
        l.starts_with("Error")
            || l.starts_with("Exception occured")
            || l.starts_with("Exception occurred")
            || l.starts_with("Unable to ")
            || l.starts_with("Invalid ")
            || l.starts_with("Can't ")
            || l.starts_with("Cannot ")
            || l.starts_with("Failed to ")
            || l.starts_with("No such ")
            || l.starts_with("Unknown ")
            || l.starts_with("vmkload_mod: Can not ")
            || l.contains("invalid option")
            || l.contains("unrecognized option")
    };
    lines.iter().any(bad).then(|| ("failed", lines.join("\n")))
}

fn small(name: &str, lines: &[&str]) -> Option<(&'static str, String)> {
    let bad = |l: &&str| {
        l.strip_prefix(name).and_then(|r| r.strip_prefix(": ")).is_some()
            && l.len() > name.len() + 2
            && reason(l).is_some()
    };
    lines.iter().all(bad).then(|| (lines.first().and_then(|l| reason(l)).unwrap_or("failed"), lines.join("\n")))
}

/// The class of a system's error text.
fn reason(line: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|w| line.contains(w));
    if has(&["No such file or directory", "can't open", "No such device"]) {
        Some("no-such-file")
    } else if has(&["Permission denied", "Operation not permitted", "Read-only file system"]) {
        Some("denied")
    } else if has(&[
        "unrecognized option",
        "invalid option",
        "applet not found",
        "bad address",
        "unknown host",
        "Is a directory",
    ]) || has(&[
        "Not a directory",
        "File exists",
        "Device or resource busy",
        "Invalid argument",
        "No space left",
        "I/O error",
    ]) || has(&["Function not implemented", "invalid", "can't ", "cannot ", "failed", "error"])
    {
        Some("failed")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(program: &str, text: &str) -> Option<&'static str> {
        failure_text(program, text).map(|f| f.0)
    }

    #[test]
    fn errors_of_the_tools() {
        for (program, text, expected) in [
            (
                "partedUtil",
                "gpt\n0 0 0 0\nError: Unable to satisfy all constraints on the partition.\n",
                Some("failed"),
            ),
            ("partedUtil", "gpt\n1 2 3 4\n", None),
            ("foo", "-sh: foo: not found\n", Some("not-found")),
            ("ls", "ls: /x: No such file or directory\n", Some("no-such-file")),
            ("cat", "cat: can't open '/x': No such file or directory\n", Some("no-such-file")),
            ("ls", "ls: /x: No such file or directory\n/etc/passwd\n", None),
            ("vim-cmd", "(vim.fault.NotFound) {\n   msg = \"x\"\n}\n", Some("fault")),
            ("vim-cmd", "(vim.TaskInfo) {\n   error = (vim.fault.NotFound) {\n   }\n}\n", None),
            ("vim-cmd", "Unable to find a VM corresponding to \"9\"\n", Some("failed")),
            ("vim-cmd", "Vmid Name File Guest OS Version Annotation\n", None),
            ("vsish", "VSISHCmdGetInt():Get failed: Failure\n", Some("failed")),
            ("vmkfstools", "Failed to create virtual disk: The file already exists (39).\n", Some("failed")),
            ("esxcfg-nics", "Error: Invalid argument: Invalid argument\n", Some("failed")),
            ("esxcfg-nics", "Name PCI\nvmnic0 0000:4b:00.0\n", None),
            (
                "/etc/init.d/sfcbd",
                "This operation is not supported.\nPlease use /etc/init.d/sfcbd-watchdog stop\n",
                Some("not-supported"),
            ),
            (
                "iperf3",
                "iperf3: error - unable to start listener for connections: Operation not permitted\niperf3: exiting\n",
                Some("failed"),
            ),
        ] {
            assert_eq!(class(program, text), expected, "{text}");
        }
    }
}
