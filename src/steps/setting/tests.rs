use proptest::prelude::*;

use super::*;
use crate::esxi::{Version, recorded};
use crate::steps::testing::{Host, taken_back, texts};

fn step(json: serde_json::Value) -> Setting {
    serde_json::from_value(json).unwrap()
}

fn error(json: serde_json::Value) -> String {
    serde_json::from_value::<Setting>(json).unwrap_err().to_string()
}

/// Compares against outputs by command text.
fn compare(step: &Setting, outputs: &[(&str, &str)]) -> Result<Vec<Change>, StepError> {
    Host::with(Version::new(6, 5), outputs).compare(step)
}

const ADVANCED: &str = "esxcli system settings advanced list";
const KERNEL: &str = "esxcli system settings kernel list";

fn advanced_60() -> String {
    let a = recorded(include_str!("../../../fixtures/transcripts/6.0/settings-advanced-list-usehwtso.txt"));
    let b = recorded(include_str!("../../../fixtures/transcripts/6.0/settings-advanced-list-tcpipdeflro.txt"));
    format!("{a}\n{b}")
}

fn kernel_55() -> String {
    recorded(include_str!("../../../fixtures/transcripts/5.x/system-settings-kernel-list-o.txt"))
}

fn option(path: &str, kind: &str, int: &str, string: &str, extra: &str) -> String {
    format!(
        "   Path: {path}\n   Type: {kind}\n   Int Value: {int}\n   Default Int Value: 0\n   Min Value: -5\n   Max Value: 86400\n   String Value: {string}\n   Default String Value: sslv3\n   Valid Characters: *\n   Description: what it is for\n{extra}\n"
    )
}

#[test]
fn a_number_recorded_on_6_0_differs_and_then_not() {
    let tso = step(json!({"key": "Net.UseHwTSO", "value": 1}));
    let changes = compare(&tso, &[(ADVANCED, &advanced_60())]).unwrap();
    assert_eq!(texts(&changes), ["esxcli system settings advanced set -o /Net/UseHwTSO -i 1"]);
    assert_eq!((changes[0].before.as_str(), changes[0].after.as_str()), ("0", "1"));
    assert!(!changes[0].effect.reboot);
    let after = advanced_60().replace("   Int Value: 0", "   Int Value: 1");
    assert!(compare(&tso, &[(ADVANCED, &after)]).unwrap().is_empty());
    // `Default Int Value: 1` must not be taken for the value.
    let zero = step(json!({"key": "/Net/UseHwTSO", "value": false}));
    assert!(compare(&zero, &[(ADVANCED, &advanced_60())]).unwrap().is_empty());
}

#[test]
fn the_default_is_put_back_with_d() {
    let tso = step(json!({"key": "/net/usehwtso", "default": true}));
    let changes = compare(&tso, &[(ADVANCED, &advanced_60())]).unwrap();
    assert_eq!(texts(&changes), ["esxcli system settings advanced set -o /Net/UseHwTSO -d"]);
}

#[test]
fn limits_and_types_are_checked_before_anything_is_sent() {
    let run = |value: serde_json::Value| {
        compare(&step(json!({"key": "Net.UseHwTSO", "value": value})), &[(ADVANCED, &advanced_60())])
    };
    assert!(run(json!(2)).unwrap_err().to_string().contains("0 to 1"));
    assert!(run(json!("on")).unwrap_err().to_string().contains("whole number"));
    assert_eq!(run(json!("1")).unwrap().len(), 1);
    let text = option("/UserVars/ESXiVPsDisabledProtocols", "string", "0", "sslv3", "");
    let bool_for_text = step(json!({"key": "UserVars.ESXiVPsDisabledProtocols", "value": true}));
    assert!(compare(&bool_for_text, &[(ADVANCED, &text)]).unwrap_err().to_string().contains("in quotes"));
}

#[test]
fn texts_and_values_with_a_dash_are_quoted_and_joined() {
    let text = option("/UserVars/ESXiVPsDisabledProtocols", "string", "0", "sslv3", "");
    let run = |value: &str| {
        let step = step(json!({"key": "UserVars.ESXiVPsDisabledProtocols", "value": value}));
        compare(&step, &[(ADVANCED, &text)]).unwrap()
    };
    let changes = run("sslv3,tlsv1");
    assert_eq!(
        texts(&changes),
        ["esxcli system settings advanced set -o /UserVars/ESXiVPsDisabledProtocols -s sslv3,tlsv1"]
    );
    assert!(changes[0].effect.reboot, "the table says so");
    assert!(run("sslv3").is_empty());
    assert!(texts(&run("-x y"))[0].ends_with("--string-value='-x y'"));
    assert!(texts(&run(""))[0].ends_with("-s ''"));
    let negative = step(json!({"key": "Net.X", "value": -3}));
    let changes = compare(&negative, &[(ADVANCED, &option("/Net/X", "integer", "1", "", ""))]).unwrap();
    assert!(texts(&changes)[0].ends_with("-o /Net/X --int-value=-3"));
}

#[test]
fn the_host_says_that_a_change_waits_for_a_reboot_or_wants_maintenance_mode() {
    let x = |extra: &str| {
        let text = option("/Net/X", "integer", "1", "", extra);
        compare(&step(json!({"key": "Net.X", "value": 2})), &[(ADVANCED, &text)]).unwrap().remove(0).effect
    };
    assert!(x("   Impact: reboot\n").reboot);
    assert!(x("   Impact: maintenance-mode\n").maintenance);
    assert_eq!(x("   Impact: none\n"), Effect::default());
    let mac = step(json!({"key": "Net.FollowHardwareMac", "value": 1, "reboot": false}));
    let text = option("/Net/FollowHardwareMac", "integer", "0", "", "");
    assert!(!compare(&mac, &[(ADVANCED, &text)]).unwrap()[0].effect.reboot);
}

#[test]
fn a_missing_setting_names_the_release_and_what_is_alike() {
    let misspelt = json!({"key": "Net.UseHwTS0", "value": 1});
    let said = compare(&step(misspelt), &[(ADVANCED, &advanced_60())]).unwrap_err().to_string();
    assert!(said.contains("6.5.0") && said.contains("Nearest: Net.UseHwTSO.") && said.contains("missing_ok"), "{said}");
    let ok = step(json!({"key": "Net.UseHwTS0", "value": 1, "missing_ok": true}));
    let said = compare(&ok, &[(ADVANCED, &advanced_60())]).unwrap_err();
    assert!(matches!(said, StepError::NotApplicable(_)) && said.to_string().contains("6.5.0"), "{said}");
    // One that is there is enough to judge the step.
    let half = step(json!({"values": {"Net.UseHwTS0": 1, "Net.UseHwTSO": 0}, "missing_ok": true}));
    assert!(compare(&half, &[(ADVANCED, &advanced_60())]).unwrap().is_empty());
    let kernel = step(json!({"key": "VMkernel.Boot.iovDisableIRR", "value": true}));
    assert!(compare(&kernel, &[(KERNEL, &kernel_55())]).unwrap_err().to_string().contains("iovDisableIR."));
}

#[test]
fn a_boot_option_recorded_on_5_5_is_compared_without_case() {
    let on = step(json!({"key": "VMkernel.Boot.iovDisableIR", "value": true}));
    assert!(compare(&on, &[(KERNEL, &kernel_55())]).unwrap().is_empty());
    let off = step(json!({"key": "iovDisableIR", "world": "kernel", "value": "false"}));
    let changes = compare(&off, &[(KERNEL, &kernel_55())]).unwrap();
    assert_eq!(texts(&changes), ["esxcli system settings kernel set -s iovDisableIR -v FALSE"]);
    assert!(changes[0].effect.reboot);
    let default = step(json!({"key": "VMkernel.Boot.iovDisableIR", "default": true}));
    assert_eq!(texts(&compare(&default, &[(KERNEL, &kernel_55())]).unwrap()).len(), 1);
}

#[test]
fn a_boot_option_that_only_waits_is_a_change_without_actions() {
    let waiting = kernel_55().replace("true        TRUE ", "true        FALSE");
    let on = step(json!({"key": "VMkernel.Boot.iovDisableIR", "value": true}));
    let changes = compare(&on, &[(KERNEL, &waiting)]).unwrap();
    assert_eq!(changes.len(), 1);
    assert!(changes[0].actions.is_empty() && changes[0].effect.reboot);
    assert!(changes[0].before.contains("FALSE"));
    // Newer releases put the description last and have numbers too.
    let newer = "Name            Type    Configured  Runtime  Default  Description\n--------------  ------  ----------  -------  -------  -----------\nentropySources  uint32  0           0        0        Entropy\n";
    let number = step(json!({"key": "VMkernel.Boot.entropySources", "value": 1}));
    assert_eq!(
        texts(&compare(&number, &[(KERNEL, newer)]).unwrap()),
        ["esxcli system settings kernel set -s entropySources -v 1"]
    );
    let word = step(json!({"key": "VMkernel.Boot.entropySources", "value": "all"}));
    assert!(compare(&word, &[(KERNEL, newer)]).is_err());
}

fn view(key: &str, value: &str) -> String {
    format!(
        "(vim.option.OptionValue) [\n   (vim.option.OptionValue) {{\n      key = \"{key}\",\n      value = {value}\n   }}\n]\n"
    )
}

#[test]
fn a_hostd_setting_recorded_on_5_5() {
    let text = recorded(include_str!("../../../fixtures/transcripts/5.x/advopt-view-scratch.txt"));
    let read = "vim-cmd hostsvc/advopt/view ScratchConfig.ConfiguredScratchLocation";
    let run = |value: &str| {
        let step = step(json!({"key": "ScratchConfig.ConfiguredScratchLocation", "value": value}));
        compare(&step, &[(read, &text)]).unwrap()
    };
    assert!(run("/vmfs/volumes/57017270-43f7d020-b2d0-b8ac6f929c2c/.locker").is_empty());
    let changes = run("/vmfs/volumes/Datastore1/.scratch");
    assert_eq!(
        texts(&changes),
        [
            "vim-cmd hostsvc/advopt/update ScratchConfig.ConfiguredScratchLocation string /vmfs/volumes/Datastore1/.scratch"
        ]
    );
    assert!(changes[0].effect.reboot);
}

#[test]
fn hostd_types_come_from_the_dump_then_from_the_table() {
    let run = |key: &str, value: serde_json::Value, now: &str| {
        let read = format!("vim-cmd hostsvc/advopt/view {key}");
        compare(&step(json!({"key": key, "value": value})), &[(&read, &view(key, now))]).map(|c| texts(&c))
    };
    let update = |rest: &str| vec![format!("vim-cmd hostsvc/advopt/update {rest}")];
    assert_eq!(
        run("Security.AccountLockFailures", json!(5), "10").unwrap(),
        update("Security.AccountLockFailures int 5")
    );
    assert!(run("Security.AccountLockFailures", json!(10), "10").unwrap().is_empty());
    let mob = "Config.HostAgent.plugins.solo.enableMob";
    assert_eq!(run(mob, json!(true), "false").unwrap(), update(&format!("{mob} bool true")));
    assert!(run(mob, json!("False"), "false").unwrap().is_empty());
    assert_eq!(
        run("Config.Etc.motd", json!("it's mine"), "<unset>").unwrap(),
        update(r"Config.Etc.motd string 'it'\''s mine'")
    );
    assert!(run("Config.Etc.motd", json!(""), "\"\"").unwrap().is_empty());
    assert!(run("Security.AccountLockFailures", json!("five"), "10").is_err());
    assert!(run("DCUI.Access", json!(true), "\"root\"").unwrap_err().to_string().contains("quotes"));
    let long = step(json!({"key": "Security.AccountLockFailures", "value": 3, "type": "long"}));
    let read = "vim-cmd hostsvc/advopt/view Security.AccountLockFailures";
    let changes = compare(&long, &[(read, &view("Security.AccountLockFailures", "5"))]).unwrap();
    assert!(texts(&changes)[0].ends_with(" long 3"));
}

#[test]
fn an_unknown_hostd_key_is_missing_but_a_broken_hostd_is_an_error() {
    let run = |text: &str, code: i32| {
        let step = step(json!({"key": "Security.Nothing", "value": 1, "missing_ok": true}));
        let output = Output { stdout: text.into(), code, ..Output::default() };
        let view = Command::raw("vim-cmd hostsvc/advopt/view Security.Nothing");
        Host::with(Version::new(8, 0), &[]).ends(&view, output).compare(&step)
    };
    let missing = run("(vim.fault.InvalidName) {\n   name = \"Security.Nothing\"\n}\n", 1).unwrap_err();
    assert!(matches!(missing, StepError::NotApplicable(_)), "{missing}");
    assert!(run("Connect to localhost failed: Connection failure\n", 1).is_err());
    let fault = Output::ok("(vmodl.fault.InvalidArgument) {\n   invalidProperty = \"value\"\n}\n");
    let update = Command::new("vim-cmd hostsvc/advopt/update X int 1");
    let said = step(json!({"key": "Security.X", "value": 1})).judge(&update, &fault).unwrap_err().to_string();
    assert!(said.contains("type: long") && said.contains("InvalidArgument"), "{said}");
}

#[test]
fn a_key_of_hostd_asked_in_the_vmkernel_is_a_mistake_with_a_way_out() {
    for missing_ok in [false, true] {
        let json =
            json!({"key": "/Security/PasswordHistory", "world": "vmkernel", "value": 5, "missing_ok": missing_ok});
        let said = compare(&step(json), &[(ADVANCED, &advanced_60())]).unwrap_err();
        assert!(matches!(said, StepError::Refused(_)), "{said}");
        assert!(said.to_string().contains("Leave `world` out") && said.to_string().contains("advopt"), "{said}");
    }
}

#[test]
fn what_passes_is_no_difference_and_without_a_value_a_finding() {
    let read = "vim-cmd hostsvc/advopt/view Security.PasswordHistory";
    let run = |json: serde_json::Value, now: &str| {
        compare(&step(json), &[(read, &view("Security.PasswordHistory", now))]).unwrap()
    };
    let least = json!({"key": "Security.PasswordHistory", "value": 5, "accept": {"min": 5}});
    assert!(run(least.clone(), "24").is_empty() && run(least.clone(), "5").is_empty());
    assert!(texts(&run(least, "0"))[0].ends_with("Security.PasswordHistory int 5"));
    for nothing in [json!(null), json!(""), json!(" ")] {
        let judged = json!({"key": "Security.PasswordHistory", "value": nothing, "accept": {"min": 5}});
        assert!(run(judged.clone(), "6").is_empty());
        let found = run(judged, "0").remove(0);
        assert!(found.actions.is_empty() && found.undo.is_none() && found.by_hand.unwrap().contains("value"));
        assert_eq!((found.before.as_str(), found.after.as_str()), ("0", "at least 5"));
    }
    let text = option("/UserVars/ESXiVPsDisabledProtocols", "string", "0", "tlsv1.1,sslv3,tlsv1", "");
    let set = json!({"key": "UserVars.ESXiVPsDisabledProtocols", "value": "sslv3,tlsv1,tlsv1.1",
        "accept": {"set_of": ["sslv3", "tlsv1", "tlsv1.1"]}});
    assert!(compare(&step(set), &[(ADVANCED, &text)]).unwrap().is_empty());
    let number = json!({"key": "Net.X", "accept": {"none_of": [0]}});
    let off = option("/Net/X", "integer", "0", "", "");
    assert!(compare(&step(number.clone()), &[(ADVANCED, &off)]).unwrap()[0].by_hand.is_some());
    assert!(compare(&step(number), &[(ADVANCED, &option("/Net/X", "integer", "7", "", ""))]).unwrap().is_empty());
    let boot = json!({"key": "VMkernel.Boot.iovDisableIR", "accept": {"any_of": [true]}});
    assert!(compare(&step(boot), &[(KERNEL, &kernel_55())]).unwrap().is_empty());
    assert!(error(json!({"key": "Net.X", "accept": {}})).contains("empty"));
    assert!(error(json!({"values": {"Net.X": 1}, "accept": {"min": 1}})).contains("one `key`"));
}

#[test]
fn hostd_tells_texts_apart_exactly_and_truth_in_any_case() {
    let run = |key: &str, value: serde_json::Value, now: &str| {
        let read = format!("vim-cmd hostsvc/advopt/view {key}");
        compare(&step(json!({"key": key, "value": value})), &[(&read, &view(key, now))]).unwrap().len()
    };
    assert_eq!(run("DCUI.Access", json!("root"), "\"Root\""), 1);
    assert_eq!(run("DCUI.Access", json!("root"), "\"root,admin\""), 1);
    assert_eq!(run("Config.HostAgent.plugins.solo.enableMob", json!("FALSE"), "false"), 0);
    assert_eq!(run("Config.Etc.issue", json!("a\nb\n"), "\"a\nb\""), 0);
    assert_eq!(run("Config.Etc.issue", json!("a\nb"), "\"a\n b\""), 1);
}

/// After a change, the step that takes it back has these actions on a host that prints `after`.
fn takes_back(first: &[Change], read: &str, after: &str) -> Vec<String> {
    let host = Host::with(Version::new(6, 5), &[(read, after)]);
    first.iter().flat_map(|change| texts(&taken_back(change, &host))).collect()
}

#[test]
fn the_vmkernels_values_go_back_to_what_they_were() {
    let tso = step(json!({"key": "Net.UseHwTSO", "value": 1, "reboot": false}));
    let changes = compare(&tso, &[(ADVANCED, &advanced_60())]).unwrap();
    // 0 is no default here; 1 is, and is given as a value all the same.
    let after = advanced_60().replace("   Int Value: 0", "   Int Value: 1");
    assert_eq!(takes_back(&changes, ADVANCED, &after), ["esxcli system settings advanced set -o /Net/UseHwTSO -i 0"]);
    let zero = compare(&step(json!({"key": "Net.UseHwTSO", "value": 0})), &[(ADVANCED, &after)]).unwrap();
    assert_eq!(
        takes_back(&zero, ADVANCED, &advanced_60()),
        ["esxcli system settings advanced set -o /Net/UseHwTSO -i 1"]
    );
    assert_eq!(changes[0].undo.as_ref().unwrap().args, json!({"key": "Net.UseHwTSO", "value": 0, "reboot": false}));
    for before in ["", "sslv3", "-x y", "true", "5"] {
        let text = |now: &str| option("/UserVars/ESXiVPsDisabledProtocols", "string", "0", now, "");
        let all = step(json!({"key": "UserVars.ESXiVPsDisabledProtocols", "value": "sslv3,tlsv1"}));
        let changes = compare(&all, &[(ADVANCED, &text(before))]).unwrap();
        let host = Host::with(Version::new(6, 5), &[(ADVANCED, &text("sslv3,tlsv1"))]);
        let back = taken_back(&changes[0], &host);
        assert_eq!(back[0].after, if before == "5" { "5".into() } else { format!("{before:?}") });
        assert!(back[0].effect.reboot);
        // Run again, there is nothing left to do.
        let back = Host::with(Version::new(6, 5), &[(ADVANCED, &text(before))]);
        assert!(taken_back(&changes[0], &back).is_empty());
    }
    // A value out of the limits cannot be given, but asked for if it is the default.
    let odd = option("/Net/X", "integer", "90000", "", "").replace("Default Int Value: 0", "Default Int Value: 90000");
    let changes = compare(&step(json!({"key": "Net.X", "value": 1})), &[(ADVANCED, &odd)]).unwrap();
    assert_eq!(changes[0].undo.as_ref().unwrap().args, json!({"key": "Net.X", "default": true}));
}

#[test]
fn a_boot_option_goes_back_with_its_reboot_if_it_needs_one() {
    let off = step(json!({"key": "iovDisableIR", "world": "kernel", "value": false}));
    let changes = compare(&off, &[(KERNEL, &kernel_55())]).unwrap();
    let booted = kernel_55().replace("true        TRUE ", "FALSE       FALSE");
    let host = Host::with(Version::new(6, 5), &[(KERNEL, &booted)]);
    let back = taken_back(&changes[0], &host);
    assert_eq!(texts(&back), ["esxcli system settings kernel set -s iovDisableIR -v TRUE"]);
    assert!(back[0].effect.reboot);
    // Before the reboot, the old value still runs.
    let waiting = kernel_55().replace("true        TRUE ", "FALSE       TRUE ");
    let back = taken_back(&changes[0], &Host::with(Version::new(6, 5), &[(KERNEL, &waiting)]));
    assert_eq!((texts(&back).len(), back[0].effect.reboot), (1, false));
    // What only waits was made by somebody else.
    assert!(compare(&off, &[(KERNEL, &waiting)]).unwrap()[0].undo.is_none());
}

#[test]
fn hostds_values_go_back_to_what_they_were() {
    let run = |key: &str, value: serde_json::Value, before: &str, after: &str| {
        let read = format!("vim-cmd hostsvc/advopt/view {key}");
        let changes = compare(&step(json!({"key": key, "value": value})), &[(&read, &view(key, before))]).unwrap();
        takes_back(&changes, &read, &view(key, after))
    };
    let update = |rest: &str| vec![format!("vim-cmd hostsvc/advopt/update {rest}")];
    let key = "Security.AccountLockFailures";
    assert_eq!(run(key, json!(3), "5", "3"), update(&format!("{key} int 5")));
    let mob = "Config.HostAgent.plugins.solo.enableMob";
    assert_eq!(run(mob, json!(false), "true", "false"), update(&format!("{mob} bool true")));
    assert_eq!(run("Config.Etc.motd", json!("x"), "\"\"", "\"x\""), update("Config.Etc.motd string ''"));
    assert_eq!(run("Config.Etc.motd", json!("x"), "<unset>", "\"x\""), update("Config.Etc.motd string ''"));
    assert_eq!(
        run("Config.Etc.issue", json!("short"), "\"one\n{{ two }} \\\"3\\\"\n\"", "\"short\""),
        update("Config.Etc.issue string 'one\n{{ two }} \"3\"\n'")
    );
    let long = json!({"key": key, "value": 3, "type": "long", "world": "hostd", "bulk": true});
    let dump = view(key, "5");
    let changes = compare(&step(long), &[("vim-cmd hostsvc/advopt/settings", &dump)]).unwrap();
    let args = &changes[0].undo.as_ref().unwrap().args;
    assert_eq!(*args, json!({"key": key, "value": 5, "type": "long", "world": "hostd", "bulk": true}));
}

#[test]
fn one_dump_answers_for_all_keys_and_what_it_lacks_is_asked_by_name() {
    let dump = "(vim.option.OptionValue) [\n   (vim.option.OptionValue) {\n      key = \"Config.Etc.issue\", \n      value = \"\"\n   }, \n   (vim.option.OptionValue) {\n      key = \"DCUI.Access\", \n      value = \"root\"\n   }\n]\n";
    let read = "vim-cmd hostsvc/advopt/settings";
    let dcui = step(json!({"key": "DCUI.Access", "value": "root", "bulk": true}));
    assert_eq!(
        dcui.reads(&HostFacts::example(Version::new(8, 0))).iter().map(Command::text).collect::<Vec<_>>(),
        [read]
    );
    let more = |step: &Setting, host: &Host| {
        let seen = Seen { host: &host.facts, outputs: &host.outputs, artifacts: &crate::steps::Artifacts::default() };
        step.more_reads(&seen).iter().map(|c| c.text().to_owned()).collect::<Vec<_>>()
    };
    let host = Host::with(Version::new(8, 0), &[(read, dump)]);
    assert!(more(&dcui, &host).is_empty() && host.compare(&dcui).unwrap().is_empty());
    let lock = step(json!({"values": {"Security.AccountLockFailures": 3, "DCUI.Access": "root"}, "bulk": true}));
    let by_name = "vim-cmd hostsvc/advopt/view Security.AccountLockFailures";
    assert_eq!(more(&lock, &host), [by_name]);
    let host = host.says(&Command::raw(by_name), view("Security.AccountLockFailures", "5"));
    assert!(more(&lock, &host).iter().all(|c| c == by_name));
    assert!(texts(&host.compare(&lock).unwrap())[0].ends_with("Security.AccountLockFailures int 3"));
    // No dump: refused, or of a form that nobody knows.
    for output in [
        Output { stdout: "Invalid command 'hostsvc/advopt/settings'\n".into(), code: 1, ..Output::default() },
        Output::ok("(vim.option.OptionValue) [\n   (vim.option.OptionValue) {\n      key = \"DCUI.Acc"),
        Output::ok(""),
    ] {
        let view_dcui = Command::new("vim-cmd hostsvc/advopt/view DCUI.Access");
        let host = Host::with(Version::new(8, 0), &[]).ends(&Command::raw(read), output);
        assert_eq!(more(&dcui, &host), [view_dcui.text()]);
        assert!(host.says(&view_dcui, view("DCUI.Access", "\"root\"")).compare(&dcui).unwrap().is_empty());
    }
    // Without `bulk` nothing changed.
    let plain = step(json!({"key": "DCUI.Access", "value": "root"}));
    assert_eq!(
        plain.reads(&HostFacts::example(Version::new(8, 0)))[0].text(),
        "vim-cmd hostsvc/advopt/view DCUI.Access"
    );
}

#[test]
fn several_settings_share_their_reads() {
    let many = step(json!({"values": {
        "/Net/UseHwTSO": 1, "Net.TcpipDefLROEnabled": 0, "VMkernel.Boot.iovDisableIR": true,
    }}));
    let changes = compare(&many, &[(ADVANCED, &advanced_60()), (KERNEL, &kernel_55())]).unwrap();
    assert_eq!(texts(&changes), ["esxcli system settings advanced set -o /Net/UseHwTSO -i 1"]);
    assert_eq!(many.reads(&HostFacts::example(Version::new(6, 5))).len(), 2);
    assert_eq!(many.summary(), "Net.UseHwTSO = 1 and 2 more settings");
}

#[test]
fn what_makes_no_sense_is_refused_when_it_is_read() {
    assert!(error(json!({})).contains("`values`"));
    assert!(error(json!({"key": "Net.X"})).contains("needs a `value`"));
    assert!(error(json!({"key": "Net.X", "value": 1, "default": true})).contains("not both"));
    assert!(error(json!({"values": {"Net.X": 1, "/Net/X": 2}})).contains("twice"));
    assert!(error(json!({"key": "FollowHardwareMac", "value": 1})).contains("Net.FollowHardwareMac"));
    assert!(error(json!({"key": "Net.X", "vlaue": 1})).contains("vlaue"));
}

proptest! {
    #[test]
    fn no_output_makes_it_panic(text in "([A-Za-z0-9 :/é.(){}\\[\\]\"=,<>\n-]|Path: |   Int Value: |Name  Type\n----  ----\n){0,60}", value in "[-a-z0-9 ']{0,10}") {
        for key in ["Net.X", "Security.X", "VMkernel.Boot.x"] {
            let step = step(json!({"key": key, "value": value}));
            let read = step.reads(&HostFacts::example(Version::new(7, 0)))[0].text().to_owned();
            let _ = compare(&step, &[(read.as_str(), text.as_str())]);
        }
    }
}
