//! Controls that a fresh host passes already: each is broken by hand, found by its id, and made right again.

use std::collections::BTreeSet;

use super::common::{Home, SimHosts, arg};
use super::{SITE, verdicts};

/// What breaks a control of the 8.0 STIG, as a person would at the shell.
const BREAKS: &[(&str, &str)] = &[
    ("ESXI-80-000111", "vim-cmd hostsvc/advopt/update Security.AccountUnlockTime int 0"),
    ("ESXI-80-000043", "vim-cmd hostsvc/advopt/update Security.PasswordHistory int 4"),
    ("ESXI-80-000189", "vim-cmd hostsvc/advopt/update DCUI.Access string root,ops"),
    ("ESXI-80-000010", "esxcli system settings advanced set -o /UserVars/HostClientSessionTimeout -i 0"),
    ("ESXI-80-000196", "esxcli system settings advanced set -o /UserVars/DcuiTimeOut -i 601"),
    ("ESXI-80-000226", "vim-cmd hostsvc/advopt/update Config.HostAgent.vmacore.soap.sessionTimeout int 31"),
    ("ESXI-80-000222", "esxcli system settings advanced set -o /UserVars/SuppressShellWarning -i 1"),
    ("ESXI-80-000223", "esxcli system settings advanced set -o /UserVars/SuppressHyperthreadWarning -i 1"),
    ("ESXI-80-000015", "vim-cmd hostsvc/advopt/update Config.HostAgent.log.level string none"),
    ("ESXI-80-000047", "vim-cmd hostsvc/advopt/update Config.HostAgent.plugins.solo.enableMob bool true"),
    ("ESXI-80-000213", "esxcli system settings advanced set -o /Mem/ShareForceSalting -i 1"),
    ("ESXI-80-000215", "esxcli system settings advanced set -o /Net/BlockGuestBPDU -i 0"),
    ("ESXI-80-000219", "esxcli system settings advanced set -o /Net/DVFilterBindIpAddress -s 192.0.2.7"),
    ("ESXI-80-000014", "esxcli system security fips140 ssh set -e false"),
    ("ESXI-80-000192", "esxcli system ssh server config set -k banner -v none"),
    ("ESXI-80-000052", "esxcli system ssh server config set -k ignorerhosts -v no"),
    ("ESXI-80-000202", "esxcli system ssh server config set -k hostbasedauthentication -v yes"),
    ("ESXI-80-000204", "esxcli system ssh server config set -k permituserenvironment -v yes"),
    ("ESXI-80-000207", "esxcli system ssh server config set -k gatewayports -v yes"),
    ("ESXI-80-000209", "esxcli system ssh server config set -k permittunnel -v yes"),
    ("ESXI-80-000210", "esxcli system ssh server config set -k clientalivecountmax -v 4"),
    ("ESXI-80-000211", "esxcli system ssh server config set -k clientaliveinterval -v 600"),
    ("ESXI-80-000230", "esxcli system ssh server config set -k allowtcpforwarding -v yes"),
    ("ESXI-80-000187", "esxcli system ssh server config set -k ciphers -v aes256-ctr,aes128-cbc"),
    ("ESXI-80-000194", "vim-cmd hostsvc/enable_esx_shell"),
    ("ESXI-80-000212", "esxcli system snmp set -c public -e yes"),
    ("ESXI-80-000224", "esxcli system syslog config set --check-ssl-certs=false; esxcli system syslog reload"),
    ("ESXI-80-000246", "esxcli system syslog config logfilter set --log-filtering-enabled=true"),
    ("ESXI-80-000214", "esxcli network firewall set --default-action true"),
    ("ESXI-80-000216", "esxcli network vswitch standard portgroup policy security set -p 'VM Network' -f true"),
    ("ESXI-80-000217", "esxcli network vswitch standard policy security set -v vSwitch0 -m true"),
    ("ESXI-80-000133", "esxcli software acceptance set --level CommunitySupported"),
    ("ESXI-80-000245", "esxcli system settings kernel set -s entropySources -v 1"),
    ("ESXI-80-000236", "echo 'sched.mem.min = 1' >/etc/vmware/settings"),
    ("ESXI-80-000237", "echo 'vmx.log.keepOld = 3' >>/etc/vmware/config"),
];

#[test]
fn each_broken_control_is_found_by_its_id_and_made_right_again() {
    let home = Home::new();
    let site = home.write("site.yml", SITE);
    let given = format!("@{}", site.display());
    let sim = SimHosts::start(&home, "8.0", 1, &["--boot-ms", "300", "--hostd-ms", "200"]);
    let book = "playbooks/hardening/stig-8.0.yml";
    let run = |verb: &str| home.run(&[verb, book, "-i", sim.inventory(), "-e", &given, "--output", "json"]).exits(3);
    run("apply");
    let right = verdicts(&run("verify"));
    let steps: String = BREAKS
        .iter()
        .map(|(id, command)| {
            assert_eq!(right[*id], "pass", "{id} before it is broken");
            format!("  - {{name: {id}, run: {{command: {}}}}}\n", serde_json::to_string(command).unwrap())
        })
        .collect();
    let breaks = home.write("breaks.yml", &format!("steps:\n{steps}"));
    home.run(&["apply", arg(&breaks), "-i", sim.inventory()]).exits(0);

    let found = verdicts(&run("verify"));
    let changed: BTreeSet<&str> = found.iter().filter(|(id, v)| right[*id] != **v).map(|(id, _)| id.as_str()).collect();
    let mut broken: BTreeSet<&str> = BREAKS.iter().map(|(id, _)| *id).collect();
    // SNMP opens its ruleset, and to everybody.
    broken.insert("ESXI-80-000239");
    assert_eq!(changed, broken, "only what was broken is found, and all of it");
    assert!(broken.iter().all(|id| found[*id] == "fail"), "{found:?}");

    let made = run("apply");
    assert!(made.of("host_finished")[0]["reboots"].as_u64().unwrap() <= 1, "{}", made.all());
    assert_eq!(verdicts(&run("verify")), right);
}
