use super::*;

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

fn codes(text: &str, release: &str) -> Vec<(&'static str, usize)> {
    lint(text, &LintOptions::qemu(v(release))).into_iter().map(|f| (f.code, f.line)).collect()
}

const HEAD: &str = "accepteula\nrootpw --iscrypted $6$abcdefgh$";
const HASH: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A good script with more lines behind it; they begin at line 6.
fn with(more: &str) -> String {
    format!(
        "{HEAD}{HASH}\ninstall --firstdisk --overwritevmfs\nnetwork --bootproto=dhcp --device=52:54:00:00:00:01\n\
         reboot --noeject\n{more}"
    )
}

#[test]
fn a_good_script_has_no_findings() {
    for release in ["6.0", "6.5", "6.7", "7.0.3", "8.0.3", "9.0"] {
        assert_eq!(codes(&with(""), release), []);
    }
    assert_eq!(codes(&with("").replace('\n', "\r\n"), "8.0"), []);
}

#[test]
fn what_must_be_there() {
    let found = codes("# nothing\n", "8.0");
    for code in ["no-accepteula", "no-rootpw", "no-install", "no-reboot", "no-network"] {
        assert!(found.contains(&(code, 1)), "{code}: {found:?}");
    }
    // With %include the rest may come from a file.
    let found = lint("%include /tmp/x\n", &LintOptions::qemu(v("8.0")));
    assert!(found.iter().all(|f| f.severity < Severity::Error), "{found:?}");
}

/// One bad line each: its code, and where.
#[test]
fn bad_lines() {
    for (line, code, release) in [
        ("instal --firstdisk", "unknown-command", "8.0"),
        ("Network --bootproto=dhcp", "letter-case", "8.0"),
        ("autopart --firstdisk", "foreign-command", "8.0"),
        ("timezone UTC", "foreign-command", "8.0"),
        ("serialnum --esx=AAAAA", "no-effect", "9.0"),
        ("partition a --onfirstdisc", "unknown-option", "8.0"),
        ("clearpart --alldrives=1", "bad-value", "8.0"),
        ("partition", "missing-word", "8.0"),
        ("partition a b --onfirstdisk", "extra-word", "8.0"),
        ("dryrun now", "extra-word", "8.0"),
        ("keyboard 'US Defualt'", "keyboard", "8.0"),
        ("keyboard 'US Default", "quote", "8.0"),
        ("%include networkconfig", "include", "8.0"),
        ("dryrun", "dryrun", "8.0"),
        ("accepteula", "twice", "8.0"),
        ("upgrade --firstdisk", "two-installs", "8.0"),
        ("network --bootproto=dhcp --device=vmnic0", "vmnic-name", "8.0"),
        ("network --bootproto=dhcp", "no-device", "8.0"),
        ("network --bootproto=dhcp --device=52:54:00:00:00", "mac", "8.0"),
        ("network --bootproto=static --device=vmnic0 --ip=10.0.0.1", "static-incomplete", "8.0"),
        ("network --bootproto=dhcp --device=vmnic0 --ip=10.0.0.1", "dhcp-with-ip", "8.0"),
        ("network --device=vmnic0 --vlanid=5000", "bad-value", "8.0"),
        ("network --device=vmnic0 --ip=10.0.0.256", "bad-value", "8.0"),
        ("network --device=vmnic0 --nameserver=dns1", "nameserver", "8.0"),
        ("network --device=vmnic0 --device=vmnic1", "twice", "8.0"),
        ("network --bootproto dhcp", "extra-word", "8.0"),
        ("%post", "no-interpreter", "8.0"),
        ("%post --interpreter=bash\ntrue", "bad-value", "8.0"),
        ("%post --interpreter=busybox --timeout=soon\ntrue", "bad-value", "8.0"),
        ("%firstboot --interpreter=busybox --unsupported\ntrue", "too-old", "8.0"),
        ("%firstbot --interpreter=busybox\ntrue", "unknown-section", "8.0"),
        ("%packages\n", "foreign-section", "8.0"),
        ("%post --interpreter=busybox\n", "empty-section", "8.0"),
    ] {
        let found = codes(&with(line), release);
        assert!(found.contains(&(code, 6)), "{line}: {found:?}");
    }
}

#[test]
fn install_lines() {
    let install = |options: &str, release: &str| {
        codes(&with("").replace("install --firstdisk --overwritevmfs", &format!("install {options}")), release)
    };
    for (options, release, code) in [
        ("--overwritevmfs", "8.0", "no-disk"),
        ("--firstdisk --disk=mpx.vmhba0:C0:T0:L0 --overwritevmfs", "8.0", "two-disks"),
        ("--firstdisk --overwritevmfs --preservevmfs", "8.0", "vmfs"),
        ("--firstdisk", "8.0", "vmfs"),
        ("--disk --overwritevmfs", "8.0", "bad-value"),
        ("--firstdisk --overwritevmfs --ignoreprereqwarnings", "6.5", "too-new"),
        ("--firstdisk --overwritevmfs --dpuPciSlots=1", "7.0", "too-new"),
        ("--firstdisk --overwritevmfs --forcemigrate", "7.0", "too-old"),
        ("--firstdisk --overwritevfms", "8.0", "unknown-option"),
    ] {
        let found = install(options, release);
        assert!(found.contains(&(code, 3)), "{options}: {found:?}");
    }
    let text = with("").replace("--overwritevmfs", "--overwritevfms");
    let found = lint(&text, &LintOptions::qemu(v("8.0")));
    let typo = found.iter().find(|f| f.code == "unknown-option").unwrap();
    assert_eq!(typo.help.as_deref(), Some("did you mean `--overwritevmfs`?"));
    assert_eq!((typo.line, typo.column), (3, 21));
}

#[test]
fn root_passwords() {
    let rootpw = |line: &str| codes(&with("").replace(&format!("rootpw --iscrypted $6$abcdefgh${HASH}"), line), "8.0");
    for (line, code) in [
        ("rootpw VMware1!", "clear-password"),
        ("rootpw myp@ssw0rd", "default-password"),
        ("rootpw abc", "short-password"),
        ("rootpw --iscrypted VMware1!", "not-a-hash"),
        ("rootpw --iscrypted $1$abc$def", "weak-hash"),
        ("rootpw $6$abc$def", "hash-as-password"),
        ("rootpw", "missing-word"),
        ("# rootpw", "no-rootpw"),
    ] {
        let found = rootpw(line);
        assert!(found.iter().any(|(c, _)| *c == code), "{line}: {found:?}");
    }
}

#[test]
fn scripts_in_sections() {
    let firstboot =
        |body: &str, release: &str| codes(&with(&format!("%firstboot --interpreter=busybox\n{body}")), release);
    let key = "cat > /etc/ssh/keys-root/authorized_keys <<EOF\nssh-ed25519 AAAA me\nEOF\n/sbin/auto-backup.sh\n";
    assert!(firstboot(key, "8.0").contains(&("ed25519", 8)));
    assert_eq!(firstboot(key, "7.0"), []);
    assert!(firstboot("vim-cmd hostsvc/enable_ssh\n", "8.0").contains(&("vim-cmd", 7)));
    assert_eq!(firstboot("vim-cmd hostsvc/enable_ssh\n", "7.0"), []);
    let local = "cat > /etc/rc.local.d/local.sh <<'X'\nvim-cmd hostsvc/enable_ssh\nexit 0\nX\n/sbin/auto-backup.sh\n";
    assert_eq!(firstboot(local, "8.0"), []);
    // What comes after the here-document is %firstboot again.
    assert!(firstboot(&format!("{local}vim-cmd x\n"), "8.0").contains(&("vim-cmd", 12)));
    assert!(firstboot("echo x >> /etc/rc.local.d/local.sh\n", "7.0").contains(&("local-sh-append", 7)));
    assert!(firstboot("echo a > /etc/motd\n", "7.0").contains(&("not-saved", 7)));
    assert!(firstboot("/sbin/auto-backup.sh\necho a > /etc/motd\n", "7.0").contains(&("not-saved", 8)));
    assert!(firstboot("cat > /tmp/x <<EOF\nabc\n EOF\n", "7.0").contains(&("here-document", 7)));
    assert!(firstboot("echo x > /dev/ttyS0\n", "7.0").contains(&("serial", 7)));
    let post = codes(&with("%post --interpreter=busybox\nvim-cmd x\n"), "7.0");
    assert!(post.contains(&("vim-cmd", 7)));
    // A line of a script that begins with a percent sign is no section.
    assert_eq!(firstboot("%d\n  %post\nprintf x\n", "7.0"), []);
    assert_eq!(firstboot("true\n%post --interpreter=python\nprint(1)\n", "7.0"), []);
}

#[test]
fn surroundings_count() {
    let text = with("%firstboot --interpreter=busybox\ntrue\n");
    let of = |secure_boot, qemu, text: &str| -> Vec<(&'static str, Severity)> {
        let options = LintOptions { release: Some(v("8.0")), qemu, secure_boot };
        lint(text, &options).into_iter().map(|f| (f.code, f.severity)).collect()
    };
    assert_eq!(of(Some(true), true, &text), [("secure-boot", Severity::Error)]);
    assert_eq!(of(None, true, &text), [("secure-boot", Severity::Note)]);
    assert_eq!(of(Some(false), true, &text), []);
    let eject = with("").replace(" --noeject", "");
    assert_eq!(of(None, true, &eject), [("no-noeject", Severity::Warning)]);
    assert_eq!(of(None, false, &eject), []);
    // Without a release only what holds for all is said.
    let options = LintOptions { release: None, qemu: true, secure_boot: Some(false) };
    let ed = with("%firstboot --interpreter=busybox\n# ssh-ed25519 AAAA\nvim-cmd x\n");
    assert_eq!(lint(&ed, &options), []);
}

#[test]
fn problems_point_into_the_file_and_hide_the_password() {
    let text = with("bogus\n").replace(&format!("--iscrypted $6$abcdefgh${HASH}"), "Secret123!");
    let found = lint(&text, &LintOptions::qemu(v("8.0")));
    let problems = crate::playbook::Problems::from(problems("ks.cfg", &text, &found));
    let plain = problems.plain();
    assert!(plain.contains("ks.cfg:2:1: warning: the root password is in clear text"), "{plain}");
    assert!(plain.contains("ks.cfg:6:1: error: unknown command `bogus`"), "{plain}");
    let drawn = problems.drawn(false, 100);
    assert!(drawn.contains("rootpw *******") && !drawn.contains("Secret123!"), "{drawn}");
}

#[test]
fn nothing_is_without_bound() {
    assert_eq!(lint(&"x\n".repeat(100_000), &LintOptions::qemu(v("8.0"))).len(), MOST);
    assert_eq!(codes(&"x".repeat(MAX_SCRIPT + 1), "8.0"), [("too-long", 1)]);
}

#[test]
fn mutated_scripts_never_panic() {
    let good = with("keyboard 'US Default'\n%firstboot --interpreter=busybox\ncat > /etc/x <<'EOF'\nä\nEOF\nvim-cmd\n");
    let mut size = 0;
    for at in 0..good.len() {
        for byte in [b'%', b'\n', b'"', b'-', b'=', 0, 0xc3] {
            let mut bytes = good.as_bytes().to_vec();
            bytes[at] = byte;
            size += crate::lab::install::fuzzing::lint_ks(&bytes);
        }
    }
    assert!(size > 100_000, "{size}");
}
