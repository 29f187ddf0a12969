//! OpenSSH's own server in front of a simulated host: what its sshd_config is like, and the way in.

use std::fs;
use std::path::Path;

/// The sshd_config of a real 8.0 host, as recorded.
pub const RECORDED: &str = include_str!("../../fixtures/transcripts/8.0/sshd-config-directives.txt");

/// What sshd runs instead of the command that it is asked for: the same, inside the simulated host.
pub fn enter(root: &Path) -> String {
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    let inside = fs::read_dir("/proc").unwrap().flatten().map(|e| e.path()).find(|p| {
        fs::read_link(p.join("root")).is_ok_and(|link| link == root)
            && fs::read_link(p.join("ns/mnt")).is_ok_and(|ns| ns != own)
    });
    let jail = match inside {
        Some(process) => {
            let user =
                if fs::read_link(process.join("ns/user")).unwrap() == fs::read_link("/proc/self/ns/user").unwrap() {
                    ""
                } else {
                    "--user --preserve-credentials"
                };
            let pid = process.file_name().unwrap().to_str().unwrap();
            format!("nsenter --target {pid} --mount --pid --root --wd {user} --")
        }
        None => format!("chroot '{}'", root.display()),
    };
    format!(
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
         exec {jail} /bin/env -i PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ USER=root LOGNAME=root SHELL=/bin/sh \\\n\
         SSH_CONNECTION=\"$SSH_CONNECTION\" SSH_CLIENT=\"$SSH_CLIENT\" /bin/sh -c \"${{SSH_ORIGINAL_COMMAND-exec /bin/sh}}\"\n"
    )
}
