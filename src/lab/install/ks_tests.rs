use super::*;
use crate::lab::install::crypt::hash_with_salt;
use crate::lab::install::lint::{LintOptions, Severity, lint};

const KEY: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBExample me@here";
const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExample me@here";

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

fn spec(release: &str) -> KsSpec {
    let mac = "52:54:00:AA:BB:01".parse().unwrap();
    KsSpec::new(v(release), hash_with_salt("VMware1!", "abcdefgh").unwrap(), KsNetwork::dhcp(mac))
}

fn fixed(ip: [u8; 4], mask: [u8; 4], gateway: Option<[u8; 4]>) -> Address {
    Address::Static { ip: ip.into(), netmask: mask.into(), gateway: gateway.map(Into::into), nameservers: vec![] }
}

#[test]
fn a_script_for_6_5_in_full() {
    let mut spec = spec("6.5");
    spec.ssh_keys = vec![ED.into()];
    spec.network.address = Address::Static {
        ip: [10, 0, 0, 5].into(),
        netmask: [255, 255, 255, 0].into(),
        gateway: Some([10, 0, 0, 1].into()),
        nameservers: vec![[10, 0, 0, 2].into(), [10, 0, 0, 3].into()],
    };
    spec.network.hostname = Some("esx1.lab.local".into());
    spec.network.vlan = Some(20);
    spec.network.vm_portgroup = false;
    spec.keyboard = Some("German".into());
    spec.disk = InstallDisk::First(vec!["vmw_ahci".into(), "local".into()]);
    spec.datastores = vec![KsDatastore { name: "data1".into(), disk: Some("mpx.vmhba1:C0:T1:L0".into()) }];
    spec.firstboot = vec!["esxcli system hostname set --fqdn=esx1.lab.local".into()];
    spec.report = Some("abc123".into());
    let hash = &spec.root_password_hash;
    let expected = format!(
        "\
# ESXi 6.5.0, written by esxprep
accepteula
rootpw --iscrypted {hash}
keyboard 'German'
install --firstdisk=vmw_ahci,local --overwritevmfs
partition data1 --ondisk=mpx.vmhba1:C0:T1:L0
network --bootproto=static --device=52:54:00:aa:bb:01 --ip=10.0.0.5 --netmask=255.255.255.0 --gateway=10.0.0.1 \
         --nameserver=10.0.0.2,10.0.0.3 --hostname=esx1.lab.local --vlanid=20 --addvmportgroup=0
reboot --noeject

%post --interpreter=busybox --ignorefailure=true
_a=ESXPREP
_b=abc123
vsish -e set /system/log \"${{_a}}-${{_b}}: installed\"
sleep 2

%firstboot --interpreter=busybox
mkdir -p /etc/ssh/keys-root
cat > /etc/ssh/keys-root/authorized_keys <<'ESXPREP_KEYS'
{ED}
ESXPREP_KEYS
chmod 600 /etc/ssh/keys-root/authorized_keys
vim-cmd hostsvc/enable_ssh
vim-cmd hostsvc/start_ssh
vim-cmd hostsvc/enable_esx_shell
vim-cmd hostsvc/start_esx_shell
esxcli system settings advanced set -o /UserVars/SuppressShellWarning -i 1
esxcli system settings advanced set -o /UserVars/HostClientCEIPOptIn -i 2
esxcli system hostname set --fqdn=esx1.lab.local
/sbin/auto-backup.sh
"
    );
    assert_eq!(spec.render().unwrap(), expected);
}

/// A script of every kind, for every release: the linter must have nothing to say but notes.
#[test]
fn what_is_written_passes_the_linter() {
    for release in ["6.0", "6.5", "6.7", "7.0", "7.0.3", "8.0", "8.0.3", "9.0"] {
        for (unsupported, report, named) in [(false, None, false), (true, Some("x1".to_owned()), true)] {
            let mut spec = spec(release);
            spec.ssh_keys = vec![KEY.into()];
            spec.unsupported_cpu = unsupported;
            spec.no_vmfs_on_disk = unsupported;
            spec.report = report;
            spec.licence = (v(release).major < 9).then(|| "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE".into());
            if named {
                spec.disk = InstallDisk::Named("t10.ATA_____QEMU_HARDDISK_____boot".into());
                spec.network.address = fixed([10, 1, 2, 3], [255, 255, 0, 0], Some([10, 1, 0, 1]));
                spec.datastores = vec![KsDatastore { name: "ds2".into(), disk: None }];
                spec.firstboot = vec!["echo done".into()];
            }
            let text = spec.render().unwrap();
            let found = lint(&text, &LintOptions::qemu(v(release)));
            assert!(found.iter().all(|f| f.severity == Severity::Note), "{release}:\n{text}\n{found:#?}");
            assert!(text.is_ascii() && !text.contains("VMware1!"));
        }
    }
}

#[test]
fn from_8_on_what_needs_hostd_waits_for_it() {
    let text = spec("8.0.3").render().unwrap();
    let firstboot = text.split("%firstboot").nth(1).unwrap();
    let (before, local) = firstboot.split_once("<<'ESXPREP_LOCAL'").unwrap();
    let (local, after) = local.split_once("\nESXPREP_LOCAL\n").unwrap();
    assert!(!before.contains("vim-cmd") && !after.contains("vim-cmd"), "{firstboot}");
    assert!(local.contains("vim-cmd hostsvc/enable_ssh") && local.contains("$n -lt 60"));
    assert!(after.trim_end().ends_with("/sbin/auto-backup.sh"));
    assert!(!before.contains(">>") && after.contains("esxprep-first-boot"));
    // Nothing to do: no section, no reboot.
    let mut none = spec("8.0.3");
    (none.ssh, none.shell, none.quiet_warnings) = (false, false, false);
    assert!(!none.render().unwrap().contains("%firstboot"));
    // Keys alone need no hostd, so no second reboot.
    none.ssh_keys = vec![KEY.into()];
    let text = none.render().unwrap();
    assert!(text.contains("authorized_keys") && !text.contains("local.sh"), "{text}");
}

/// The scripts run in a real shell: what ends up in the files is what was meant.
#[test]
fn the_shell_parts_do_what_they_say() {
    let mut spec = spec("8.0.3");
    spec.ssh_keys = vec![KEY.into(), KEY.replace("me@here", "other")];
    spec.firstboot = vec!["echo 'it''s' \"$HOME\" > out".into()];
    let text = spec.render().unwrap();
    let script = text.split("%firstboot --interpreter=busybox\n").nth(1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    for folder in ["etc/rc.local.d", "etc/vmware", "sbin", "bin"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let tools = [
        ("sbin/auto-backup.sh", "echo saved >> "),
        ("bin/reboot", "echo rebooted >> "),
        ("bin/vim-cmd", "echo vim-cmd \"$@\" >> "),
        ("bin/esxcli", "echo esxcli \"$@\" >> "),
    ];
    for (tool, action) in tools {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.path().join(tool);
        std::fs::write(&path, format!("#!/bin/sh\n{action}{root}/log\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let here = |script: &str| {
        script.replace("/etc/", &format!("{root}/etc/")).replace("/sbin/auto", &format!("{root}/sbin/auto"))
    };
    let run = |script: &str| {
        let path = format!("{root}/bin:{}", std::env::var("PATH").unwrap());
        let out = std::process::Command::new("sh")
            .arg("-c")
            .arg(script)
            .env("PATH", path)
            .current_dir(root)
            .output()
            .unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    };
    run(&here(script));
    let keys = std::fs::read_to_string(dir.path().join("etc/ssh/keys-root/authorized_keys")).unwrap();
    assert_eq!(keys, format!("{}\n{}\n", spec.ssh_keys[0], spec.ssh_keys[1]));
    let local = dir.path().join("etc/rc.local.d/local.sh");
    let first = std::fs::read_to_string(&local).unwrap();
    assert!(first.contains("enable_ssh") && first.contains(&spec.firstboot[0]), "{first}");
    // The second boot: local.sh does its work once and empties itself.
    run(&format!("sh {}", local.display()));
    let after = std::fs::read_to_string(&local).unwrap();
    assert_eq!(after, "#!/bin/sh ++group=host/vim/vmvisor/boot\nexit 0\n");
    run(&format!("sh {}", local.display()));
    // %firstboot again, should it ever: no second reboot.
    run(&here(script));
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert_eq!(log.matches("rebooted").count(), 1, "{log}");
    assert_eq!(log.matches("vim-cmd hostsvc/enable_ssh").count(), 1, "{log}");
    assert!(dir.path().join("out").exists());
}

#[test]
fn the_marker_is_not_in_the_script_but_on_the_console() {
    let mut spec = spec("7.0");
    spec.report = Some("k9".into());
    let text = spec.render().unwrap();
    assert!(text.lines().all(|line| !marker_line(line, "k9")), "{text}");
    assert!(marker_line("2026-01-01T00:00:00Z cpu1:2097)ESXPREP-k9: installed", "k9"));
    assert!(!marker_line("ESXPREP-k8: installed", "k9"));
}

#[test]
fn what_the_installer_would_refuse_is_an_error() {
    let refused = |change: &dyn Fn(&mut KsSpec)| {
        let mut spec = spec("8.0");
        change(&mut spec);
        spec.render().unwrap_err()
    };
    use KsError as E;
    assert_eq!(refused(&|s| s.root_password_hash = "VMware1!".into()), E::PasswordHash);
    assert_eq!(refused(&|s| s.keyboard = Some("Klingon".into())), E::Keyboard("Klingon".into()));
    assert!(matches!(refused(&|s| s.disk = InstallDisk::Named("a b".into())), E::Word { .. }));
    assert!(matches!(refused(&|s| s.disk = InstallDisk::First(vec!["a\nrootpw x".into()])), E::Word { .. }));
    assert!(matches!(refused(&|s| s.network.hostname = Some("a b".into())), E::Hostname(_)));
    assert!(matches!(refused(&|s| s.network.hostname = Some("-a".into())), E::Hostname(_)));
    assert_eq!(refused(&|s| s.network.vlan = Some(4096)), E::Vlan(4096));
    assert!(matches!(refused(&|s| s.network.address = fixed([10, 0, 0, 5], [255, 0, 255, 0], None)), E::Netmask(_)));
    let far = fixed([10, 0, 0, 5], [255, 255, 255, 0], Some([10, 0, 1, 1]));
    assert!(matches!(refused(&|s| s.network.address = far.clone()), E::Gateway { .. }));
    assert!(matches!(refused(&|s| s.ssh_keys = vec![ED.into()]), E::Ed25519 { .. }));
    assert!(matches!(refused(&|s| s.ssh_keys = vec!["-----BEGIN OPENSSH PRIVATE KEY-----".into()]), E::SshKey(_)));
    assert!(matches!(refused(&|s| s.ssh_keys = vec![format!("{KEY}\nrm")]), E::SshKey(_)));
    assert!(matches!(refused(&|s| s.report = Some("a b".into())), E::Report(_)));
    assert!(matches!(refused(&|s| s.extra = vec!["a\nb".into()]), E::Line(_)));
    assert!(matches!(refused(&|s| s.firstboot = vec!["%post".into()]), E::Line(_)));
    assert!(matches!(refused(&|s| s.firstboot = vec!["ESXPREP_LOCAL".into()]), E::Line(_)));
    let same = |s: &mut KsSpec| {
        s.disk = InstallDisk::Named("d1".into());
        s.datastores = vec![KsDatastore { name: "ds".into(), disk: Some("d1".into()) }];
    };
    assert_eq!(refused(&same), E::SameDisk("ds".into()));
    let mut nine = spec("9.0");
    nine.licence = Some("AAAAA".into());
    assert_eq!(nine.render(), Err(E::Licence));
    assert!(check_ssh_key(ED, v("7.0")).is_ok());
}
