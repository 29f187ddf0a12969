//! Errors of the tools, and texts that only look like some.

use super::*;
use crate::esxi::parse::invocation::invocation;

fn class(command: &str, text: &str) -> Option<String> {
    told(&invocation(command), text).map(|f| f.class.name())
}

#[test]
fn errors_of_the_tools() {
    for (command, text, expected) in [
        ("partedUtil x", "gpt\n0 0 0 0\nError: Unable to satisfy all constraints on the partition.\n", Some("fault")),
        ("partedUtil x", "gpt\n1 2 3 4\n", None),
        ("foo", "-sh: foo: not found\n", Some("program_not_found")),
        ("./foo", "-sh: ./foo: Permission denied\n", Some("permission_denied")),
        ("busybox foo", "foo: applet not found\n", Some("program_not_found")),
        ("kill 5", "-sh: can't kill pid 5: No such process\n", Some("fault")),
        ("foo", "Segmentation fault\n", Some("crashed")),
        ("esxcfg-vswitch -a x", "A switch with the name: x already exists\n", Some("fault")),
        ("sh a.sh", "a.sh: line 3: foo: not found\n", Some("program_not_found")),
        ("zcat a.gz", "gzip: a.gz: No such file or directory\n", Some("fault")),
        ("ls", "ls: /x: No such file or directory\n", Some("fault")),
        ("cat", "cat: can't open '/x': No such file or directory\n", Some("fault")),
        ("cat /var/log/shell.log", "-sh: foo: not found\nmore\n", None),
        ("cat /var/log/x", "Error: x\n", None),
        ("ls", "ls: /x: No such file or directory\n/etc/passwd\n", None),
        (
            "cp a b",
            "cp: can't open 'a': Device or resource busy\ncp: write error: No space left on device\n",
            Some("fault"),
        ),
        ("mv a b", "mv: can't rename 'a': Read-only file system\n", Some("fault")),
        ("rm a", "rm: can't remove 'a': Operation not permitted\n", Some("permission_denied")),
        ("tar xf a", "x/\nx/y\ntar: write error: No space left on device\n", Some("fault")),
        ("tar cf a b", "tar: removing leading '/' from member names\n", None),
        ("ps -e", "ps: invalid option -- 'e'\nps\n   -C  Display\n", Some("usage")),
        ("python3 x.py", "a\nTraceback (most recent call last):\n  File x\nKeyError: 'x'\n", Some("crashed")),
        ("vim-cmd x", "(vim.fault.NotFound) {\n   msg = \"x\"\n}\n", Some("fault")),
        ("vim-cmd x", "(vim.TaskInfo) {\n   error = (vim.fault.NotFound) {\n   }\n}\n", None),
        ("vim-cmd x", "Doing it:\nIt failed\n", Some("fault")),
        ("vim-cmd x", "Operation timed out.\n", Some("fault")),
        ("vim-cmd x", "Failed to login: Invalid response code: 503 Service Unavailable\n", Some("hostd_down")),
        ("vim-cmd x", "Unable to find a VM corresponding to \"9\"\n", Some("fault")),
        ("vim-cmd x", "Vmid Name File Guest OS Version Annotation\n", None),
        ("vsish", "VSISHCmdGetInt():Get failed: Failure\n", Some("fault")),
        ("vmkfstools", "Failed to create virtual disk: The file already exists (39).\n", Some("fault")),
        ("vmkfstools", "DiskLib_Open() failed for source disk x (15).\n", Some("fault")),
        ("voma", "Checking\nFound 1 actively heartbeating hosts on device 'x'\n", Some("fault")),
        ("voma", "Checking\nERROR: bad block\nTotal Errors Found: 1\n", None),
        ("vmkping x", "Unknown interface 'vmk9': Invalid argument\n", Some("fault")),
        ("vmkping x", "PING x\nsendto() failed (Host is down)\n--- x ping statistics ---\n", None),
        ("esxcfg-nics", "Error: Invalid argument: Invalid argument\n", Some("fault")),
        ("esxcfg-nics", "Name PCI\nvmnic0 0000:4b:00.0\n", None),
        ("/etc/init.d/sfcbd", "This operation is not supported.\nPlease use /etc/init.d/x stop\n", Some("fault")),
        (
            "iperf3",
            "iperf3: error - unable to start listener: Operation not permitted\niperf3: exiting\n",
            Some("permission_denied"),
        ),
        ("esxcfg-nics", "Usage: esxcfg-nics <options>\n", Some("usage")),
        ("esxcfg-nics --help", "Usage: esxcfg-nics <options>\n", None),
    ] {
        assert_eq!(class(command, text).as_deref(), expected, "{command}: {text}");
    }
}

#[test]
fn exit_codes() {
    let code = |command: &str, stdout: &str, code| {
        failed(&invocation(command), &Output { code, ..Output::ok(stdout) }).map(|f| f.class.name())
    };
    assert_eq!(code("grep x y", "", 1), None);
    assert_eq!(code("rm x", "", 1).as_deref(), Some("failed"));
    assert_eq!(code("foo", "", 127).as_deref(), Some("program_not_found"));
    assert_eq!(code("/etc/init.d/ntpd status", "ntpd is not running\n", 3), None);
    assert_eq!(code("vmkping x", "--- x ping statistics ---\n", 1), None);
    let only_stderr = Output { stderr: "cp: can't stat 'x': No such file or directory\n".into(), ..Output::ok("") };
    assert_eq!(failed(&invocation("cp x y"), &only_stderr).unwrap().class, Class::Fault);
}
