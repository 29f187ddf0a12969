use proptest::prelude::*;

use super::config::{Set, edited, effective, has, is_value, normal, same, set_in, written};
use super::*;
use crate::esxi::{Outputs, recorded};
use crate::steps::Artifacts;
use crate::steps::testing::{Host, step, table, texts};

const V67: Version = Version::new(6, 7);
const V70: Version = Version::new(7, 0);
const V80: Version = Version::new(8, 0);
const SERVER: &str = "/usr/lib/vmware/openssh/bin/sshd -T";

/// The directives recorded on a fresh 8.0 host.
fn directives() -> String {
    recorded(include_str!("../../../fixtures/transcripts/8.0/sshd-config-directives.txt"))
}

fn rows() -> String {
    let text = directives();
    let rows: Vec<[&str; 2]> = text.lines().filter_map(|l| l.split_once(' ')).map(|(k, v)| [k, v]).collect();
    let rows: Vec<&[&str]> = rows.iter().map(|r| r.as_slice()).collect();
    table(&["Key", "Value"], &rows)
}

fn by_list(json: serde_json::Value, rows: &str) -> Result<Vec<Change>, StepError> {
    Host::with(V80, &[(list().text(), rows)]).compare(step(&KIND, json).as_ref())
}

fn host(version: Version, text: &str) -> Host {
    let sum: String = Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    let listed = format!("-rw------T    1 root     root          {} Nov 28 21:00 {PATH}\n{sum}  {PATH}\n", text.len());
    Host::with(
        version,
        &[
            (file().text(), text),
            (listing().text(), &listed),
            ("/etc/init.d/SSH status", "SSH login enabled\n"),
            ("id -un", "root\n"),
        ],
    )
}

/// The text that a change uploads, its mode, and the command after it.
fn upload(change: &Change) -> (String, u32, Option<&str>) {
    match change.actions.as_slice() {
        [Action::Upload { source: Source::Bytes(bytes), path, mode }, rest @ ..] if path == PATH => {
            let then = match rest {
                [Action::Run(command)] => Some(command.text()),
                [] => None,
                other => panic!("{other:?}"),
            };
            (String::from_utf8(bytes.clone()).unwrap(), *mode, then)
        }
        other => panic!("{other:?}"),
    }
}

/// Changes the file, takes it back, and gives the file in between.
fn there_and_back(version: Version, json: serde_json::Value, old: &str) -> String {
    let change = host(version, old).compare(step(&KIND, json.clone()).as_ref()).unwrap().remove(0);
    let (new, mode, _) = upload(&change);
    assert_eq!(mode, 0o1600);
    assert!(host(version, &new).compare(step(&KIND, json).as_ref()).unwrap().is_empty(), "{new:?}");
    let undo = change.undo.unwrap();
    let kind = crate::steps::kind(&undo.kind).unwrap();
    let back = host(version, &new).compare(step(kind, undo.args).as_ref()).unwrap().remove(0);
    assert_eq!(upload(&back).0, old);
    new
}

#[test]
fn the_list_of_8_0_is_judged_and_set_by_esxcli() {
    let run = |json: serde_json::Value| by_list(json, &rows()).unwrap();
    assert!(run(json!({"key": "Banner", "value": "/etc/issue"})).is_empty());
    assert!(run(json!({"key": "ignorerhosts", "value": "Yes"})).is_empty());
    assert!(run(json!({"key": "ignorerhosts", "value": true})).is_empty());
    assert!(run(json!({"key": "clientaliveinterval", "value": 200})).is_empty());
    assert!(run(json!({"key": "rekeylimit", "value": "1G, 1H"})).is_empty());
    let changes = run(json!({"key": "ClientAliveCountMax", "value": 2}));
    assert_eq!(texts(&changes), ["esxcli system ssh server config set -k clientalivecountmax -v 2"]);
    assert_eq!((changes[0].before.as_str(), changes[0].after.as_str()), ("3", "2"));
    let ciphers = json!(["aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr"]);
    let subset = json!({"key": "ciphers", "value": "aes256-gcm@openssh.com", "accept": {"subset_of": ciphers}});
    assert!(run(subset).is_empty());
    // What no row sets is a finding, although sshd's default may be the same.
    let unset = run(json!({"key": "permitopen", "value": "any"}));
    assert_eq!(texts(&unset), ["esxcli system ssh server config set -k permitopen -v any"]);
    assert_eq!(unset[0].before, "not set");
    let unknown = Output {
        stdout: "Error: Unknown command or namespace system ssh server\n\n".into(),
        code: 1,
        ..Output::default()
    };
    let step = step(&KIND, json!({"key": "banner", "value": "x"}));
    let said = Host::with(V80, &[]).ends(&list(), unknown).compare(step.as_ref()).unwrap_err();
    assert!(matches!(said, StepError::NotApplicable(_)), "{said}");
}

#[test]
fn esxclis_values_are_taken_back() {
    let undo = |json: serde_json::Value, rows: &str, after: &str| {
        let undo = by_list(json, rows).unwrap().remove(0).undo.unwrap();
        assert_eq!(undo.kind, "sshd");
        texts(&by_list(undo.args, after).unwrap())
    };
    let set = "esxcli system ssh server config set -k";
    let changed = |from: &str, to: &str| rows().replace(from, to);
    let json = json!({"key": "rekeylimit", "value": "none"});
    assert_eq!(undo(json, &rows(), &changed("1G, 1H", "none  ")), [format!("{set} rekeylimit -v '1G, 1H'")]);
    let with = table(&["Key", "Value"], &[&["permitopen", "any"]]);
    let without = table(&["Key", "Value"], &[&["banner", "x"]]);
    let json = json!({"key": "permitopen", "value": "any"});
    assert_eq!(undo(json, &without, &with), [format!("{set} permitopen --reset")]);
    let json = json!({"key": "permitopen", "absent": true});
    assert_eq!(undo(json, &with, &without), [format!("{set} permitopen -v any")]);
    // Old ciphers come back although esxprep's default profile has none of them.
    let weak = table(&["Key", "Value"], &[&["ciphers", "3des-cbc"]]);
    let json = json!({"key": "ciphers", "value": "aes256-ctr"});
    assert_eq!(
        undo(json, &weak, &table(&["Key", "Value"], &[&["ciphers", "aes256-ctr"]])),
        [format!("{set} ciphers -v 3des-cbc")]
    );
}

#[test]
fn on_6_7_the_first_line_of_the_file_counts_and_keeps_its_place() {
    let old = "# PermitTunnel yes\n\tpermittunnel = yes  \nPermitTunnel no\nMatch User x\n  PermitTunnel yes\n";
    let json = json!({"key": "PermitTunnel", "value": "no"});
    let new = there_and_back(V67, json.clone(), old);
    assert_eq!(new, old.replacen(" = yes", " = no", 1));
    let change = host(V67, old).compare(step(&KIND, json).as_ref()).unwrap().remove(0);
    assert_eq!(upload(&change).2, Some("/etc/init.d/SSH restart"));
    assert_eq!(change.effect.restarts.as_deref(), Some("SSH"));
    assert_eq!(change.undo.unwrap().args, json!({"key": "PermitTunnel", "value": "yes"}));
}

#[test]
fn a_missing_keyword_goes_before_match_or_to_the_end() {
    let json = json!({"key": "GatewayPorts", "value": "no"});
    assert_eq!(there_and_back(V67, json.clone(), "a b\n"), "a b\nGatewayPorts no\n");
    assert_eq!(there_and_back(V67, json.clone(), ""), "GatewayPorts no\n");
    assert_eq!(
        there_and_back(V67, json.clone(), "a b\nMatch all\nGatewayPorts yes\n"),
        "a b\nGatewayPorts no\nMatch all\nGatewayPorts yes\n"
    );
    // No final line break: the whole file is what takes it back exactly.
    assert_eq!(there_and_back(V67, json.clone(), "a b"), "a b\nGatewayPorts no\n");
    let change = host(V67, "a b").compare(step(&KIND, json).as_ref()).unwrap().remove(0);
    let undo = change.undo.unwrap();
    assert_eq!(
        (undo.kind.as_str(), &undo.args["content"], &undo.args["mode"]),
        ("file", &json!("a b"), &json!("1600"))
    );
}

#[test]
fn the_bare_keyword_and_lists_that_add_up() {
    let bare = json!({"key": "AcceptEnv", "value": ""});
    assert!(host(V67, "acceptenv\n").compare(step(&KIND, bare.clone()).as_ref()).unwrap().is_empty());
    assert_eq!(there_and_back(V67, bare.clone(), "AcceptEnv LANG LC_*\n"), "AcceptEnv\n");
    assert_eq!(there_and_back(V67, bare.clone(), "x y\n"), "x y\nAcceptEnv\n");
    assert_eq!(there_and_back(V67, bare.clone(), "AcceptEnv A\nx y\nAcceptEnv B\n"), "AcceptEnv\nx y\n");
    assert_eq!(there_and_back(V67, json!({"key": "acceptenv", "value": "A B"}), "AcceptEnv\n"), "AcceptEnv A B\n");
    // 7.0: the server prints no line for an empty list.
    let server = Host::with(V70, &[(SERVER, "port 22\n"), (file().text(), "a b\n")]);
    let seen = Seen { host: &server.facts, outputs: &server.outputs, artifacts: &Artifacts::default() };
    assert!(step(&KIND, bare).compare(&seen).unwrap().is_empty());
}

#[test]
fn several_keywords_are_one_upload() {
    let json = json!({"values": {"GatewayPorts": "no", "PermitTunnel": "no", "Banner": "/etc/issue"}});
    let old = "gatewayports yes\nbanner /etc/issue\npermittunnel yes\n";
    let new = there_and_back(V67, json.clone(), old);
    assert_eq!(new, "gatewayports no\nbanner /etc/issue\npermittunnel no\n");
    let changes = host(V67, old).compare(step(&KIND, json).as_ref()).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].before, "GatewayPorts yes, PermitTunnel yes");
    let absent = json!({"key": "Banner", "absent": true});
    assert_eq!(there_and_back(V67, absent, "a b\nbanner none\n"), "a b\n");
    let twice = json!({"key": "Banner", "absent": true});
    assert_eq!(
        there_and_back(V67, twice, "banner none\na b\nBanner x\nMatch all\nbanner y\n"),
        "a b\nMatch all\nbanner y\n"
    );
}

#[test]
fn on_7_0_the_server_says_what_counts() {
    let on_70 = |server: Output, text: &str, json: serde_json::Value| {
        host(V70, text).ends(&Command::raw(SERVER), server).compare(step(&KIND, json).as_ref())
    };
    let json = json!({"key": "GatewayPorts", "value": "no"});
    // A default that is right passes, as the check of the 7.0 STIG reads.
    assert!(on_70(Output::ok("port 22\ngatewayports no\n"), "a b\n", json.clone()).unwrap().is_empty());
    let wrong = on_70(Output::ok("gatewayports yes\n"), "a b\n", json.clone()).unwrap();
    assert_eq!(upload(&wrong[0]).0, "a b\nGatewayPorts no\n");
    assert_eq!(wrong[0].undo.as_ref().unwrap().args, json!({"key": "GatewayPorts", "absent": true}));
    // One of ESXi's own keywords that it does not print, and a host without the program: the file.
    let fips = json!({"key": "FipsMode", "value": "yes"});
    assert!(on_70(Output::ok("gatewayports no\n"), "FipsMode yes\n", fips).unwrap().is_empty());
    let none =
        Output { stderr: "sh: /usr/lib/vmware/openssh/bin/sshd: not found\n".into(), code: 127, ..Output::default() };
    assert!(on_70(none.clone(), "GatewayPorts no\n", json.clone()).unwrap().is_empty());
    let included = on_70(none, "Include /etc/ssh/more\nGatewayPorts no\n", json.clone()).unwrap_err();
    assert!(matches!(included, StepError::NotJudged(_)), "{included}");
    let broken =
        Output { stderr: format!("{PATH}: line 3: Bad configuration option: x\n"), code: 255, ..Output::default() };
    let said = on_70(broken, "x\n", json.clone()).unwrap_err().to_string();
    assert!(said.contains("Bad configuration option") && said.contains("mend"), "{said}");
    // The file says so, the server does not.
    let said = on_70(Output::ok("gatewayports yes\n"), "GatewayPorts no\n", json).unwrap_err();
    assert!(matches!(said, StepError::Refused(_)), "{said}");
    let root = json!({"key": "PermitRootLogin", "value": "prohibit-password"});
    assert!(on_70(Output::ok("permitrootlogin without-password\n"), "", root).unwrap().is_empty());
}

#[test]
fn nothing_is_written_that_was_not_read_whole() {
    let json = json!({"key": "GatewayPorts", "value": "no"});
    let mut host = host(V67, "a b\n");
    host.outputs.insert(&file(), Output::ok("a \u{fffd}\n"));
    assert!(host.refusal(step(&KIND, json.clone()).as_ref()).contains("nothing was written"));
    host.outputs
        .insert(&file(), Output { stderr: format!("cat: {PATH}: No such file\n"), code: 1, ..Output::default() });
    assert!(host.compare(step(&KIND, json).as_ref()).unwrap_err().to_string().contains("put ESXi's own file back"));
}

#[test]
fn a_stopped_server_is_not_started() {
    let host = host(V67, "a b\n").says(&status("SSH"), "SSH login disabled\n");
    let change = host.compare(step(&KIND, json!({"key": "GatewayPorts", "value": "no"})).as_ref()).unwrap().remove(0);
    assert_eq!((upload(&change).2, change.effect.restarts.as_deref()), (None, None));
}

#[test]
fn the_way_in_is_kept_or_left_to_the_end() {
    let parsed = |json: serde_json::Value| step(&KIND, json);
    let ciphers = json!({"key": "ciphers", "value": "aes192-ctr"});
    let said = by_list(ciphers, &rows()).unwrap_err().to_string();
    assert!(said.contains("aes256-ctr") && said.contains("i_know_this_may_lock_esxprep_out"), "{said}");
    let anyway = json!({"key": "ciphers", "value": "aes192-ctr", "i_know_this_may_lock_esxprep_out": true});
    assert!(parsed(anyway.clone()).ends_ssh() && by_list(anyway, &rows()).unwrap().len() == 1);
    let host = host(V67, "a b\n");
    assert!(host.refusal(parsed(json!({"key": "AllowUsers", "value": "admin"})).as_ref()).contains("root"));
    let both = parsed(json!({"key": "AllowUsers", "value": "admin root"}));
    assert!(both.ends_ssh() && host.compare(both.as_ref()).unwrap().len() == 1);
    assert!(host.refusal(parsed(json!({"key": "MaxSessions", "value": 0})).as_ref()).contains("less than 1"));
    assert!(!parsed(json!({"key": "MaxSessions", "value": 1})).ends_ssh());
    let root = parsed(json!({"key": "PermitRootLogin", "value": "no"}));
    assert!(root.ends_ssh() && host.compare(root.as_ref()).unwrap().len() == 1);
    assert!(!parsed(json!({"values": {"GatewayPorts": "no", "Ciphers": "aes256-ctr"}})).ends_ssh());
    assert!(!parsed(json!({"key": "PermitRootLogin", "accept": {"none_of": ["yes"]}})).ends_ssh());
}

#[test]
fn without_a_value_it_is_judged_only() {
    let json = json!({"key": "banner", "value": "", "accept": {"none_of": ["none"]}});
    assert!(by_list(json.clone(), &rows()).unwrap().is_empty());
    let none = table(&["Key", "Value"], &[&["banner", "none"]]);
    for rows in [none, table(&["Key", "Value"], &[&["x", "y"]])] {
        let found = by_list(json.clone(), &rows).unwrap().remove(0);
        assert!(found.by_hand.is_some() && found.actions.is_empty());
    }
    // Nothing is planned, so nothing is read for a plan.
    assert_eq!(step(&KIND, json).reads(&HostFacts::example(V67)).len(), 1);
}

#[test]
fn what_makes_no_sense_is_refused_when_it_is_read() {
    for bad in [
        json!({}),
        json!({"key": "a"}),
        json!({"key": "a b", "value": "x"}),
        json!({"key": "a", "value": "x\ny"}),
        json!({"key": "a", "value": "x # y"}),
        json!({"key": "a", "value": "=x"}),
        json!({"key": "a", "value": "\"x"}),
        json!({"key": "Match", "value": "all"}),
        json!({"key": "HostKey", "value": "/x"}),
        json!({"key": "a", "value": 1, "absent": true}),
        json!({"values": {"A": 1, "a": 2}}),
        json!({"values": {"a": 1}, "accept": {"min": 1}}),
    ] {
        assert!((KIND.parse)(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn lines_are_read_as_sshd_reads_them() {
    for (line, value) in [
        ("Banner /etc/issue", Set::To("/etc/issue".into())),
        ("  banner\t=\t\"/etc/my issue\"  \r", Set::To("/etc/my issue".into())),
        ("BANNER=x # why", Set::To("x".into())),
        ("banner x#y", Set::To("x#y".into())),
        ("banner", Set::To(String::new())),
        ("#banner x", Set::Absent),
        ("banners x", Set::Absent),
        ("Match all\nbanner x", Set::Absent),
        ("Include /x\nbanner x", Set::Unsure),
        ("banner x\nInclude /x", Set::To("x".into())),
    ] {
        assert_eq!(set_in(line, "Banner"), value, "{line:?}");
    }
    assert_eq!(set_in("AllowUsers a b\nallowusers c", "allowusers"), Set::To("a b c".into()));
    assert_eq!(effective("allowusers a\nallowusers b\nport 22\n", "AllowUsers").as_deref(), Some("a b"));
    assert_eq!(effective("port 22\nport 23\n", "Port").as_deref(), Some("22"));
    for (line, new) in [
        ("banner=", "banner x"),
        ("banner =# c", "banner x # c"),
        ("banner # c", "banner x # c"),
        ("banner\"a b\" # c", "banner x # c"),
        ("banner=a b  # c", "banner=x  # c"),
    ] {
        assert_eq!(edited(line, "banner", Some("x")), new);
    }
    assert_eq!(edited("Include /x\nBanner a\n", "banner", Some("b")), "banner b\nInclude /x\nBanner a\n");
    assert!(same("yes", "YES") && same("010", "10") && !same("aes", "AES") && same(" a  b", "a b"));
    // The recorded file of 8.0, keyword by keyword.
    let text = directives();
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        if key != "hostkey" {
            assert_eq!(set_in(&text, &key.to_ascii_uppercase()), Set::To(value.to_owned()));
            assert_eq!(edited(&text, key, Some(value)), text);
        }
    }
}

fn any_config() -> impl Strategy<Value = String> {
    let keyword = prop::sample::select(vec![
        "banner",
        "Banner",
        "BANNER",
        "AcceptEnv",
        "acceptenv",
        "PermitTunnel",
        "Match",
        "Include",
        "#banner",
    ]);
    let between = prop::sample::select(vec![" ", "\t", "=", " = ", ""]);
    let value = prop::sample::select(vec!["", "yes", "no", "\"a b\"", "a  b", "x # y", "user x", "200"]);
    let end = prop::sample::select(vec!["\n", "\n", "  \n", "\r\n", "\n\n"]);
    let line = (prop::sample::select(vec!["", "  ", "\t"]), keyword, between, value, end)
        .prop_map(|(a, b, c, d, e)| format!("{a}{b}{c}{d}{e}"));
    (prop::collection::vec(line, 0..8), any::<bool>()).prop_map(|(lines, whole)| {
        let text = lines.concat();
        if whole { text } else { text.trim_end_matches(['\r', '\n']).to_owned() }
    })
}

fn others<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let mut matched = false;
    let own = |line: &&str| {
        let word = line.trim_start().split([' ', '\t', '=', '"', '\r']).next().unwrap_or("");
        matched |= word.eq_ignore_ascii_case("match");
        matched || !word.eq_ignore_ascii_case(key)
    };
    text.split_terminator('\n').filter(own).collect()
}

proptest! {
    #[test]
    fn any_file_gets_the_value_and_keeps_the_rest(
        text in any_config(),
        key in prop::sample::select(vec!["banner", "AcceptEnv", "PermitTunnel", "GatewayPorts"]),
        value in prop::sample::select(vec!["", "yes", "no", "a b", "/etc/issue", "\"a b\" c"]),
    ) {
        let new = edited(&text, key, Some(value));
        match set_in(&new, key) {
            Set::To(found) => prop_assert_eq!(found, normal(value)),
            Set::Unsure => prop_assert!(config::adds_up(key) && new.to_lowercase().contains("include")),
            Set::Absent => prop_assert!(false, "{:?}", new),
        }
        prop_assert_eq!(&edited(&new, key, Some(value)), &new);
        prop_assert_eq!(others(&new, key), others(&text, key));
        let without = edited(&text, key, None);
        prop_assert!(!has(&without, key));
        prop_assert_eq!(others(&without, key), others(&text, key));
        // What the keyword's own line was, it is again.
        let glued = text.to_lowercase().contains(&format!("{}\"", key.to_lowercase()));
        let old = written(&text, key).filter(|old| is_value(old) && !old.is_empty() && !value.is_empty() && !glued);
        if let Some(old) = old.filter(|_| !config::adds_up(key)) {
            prop_assert_eq!(&edited(&new, key, Some(old)), &text);
        }
    }

    #[test]
    fn no_output_makes_it_panic(text in "([A-Za-z0-9 \t=#\"é\r\n]|Match |Include |Banner |-rw------T 1 root\n){0,40}", value in "[-a-z0-9 #\"=]{0,10}") {
        let _ = edited(&text, "banner", Some(&value));
        for version in [V67, V70, V80] {
            if let Ok(step) = (KIND.parse)(json!({"key": "Banner", "value": value})) {
                let facts = HostFacts::example(version);
                let mut outputs = Outputs::default();
                step.reads(&facts).iter().for_each(|read| outputs.insert(read, Output::ok(text.as_str())));
                let _ = step.compare(&Seen { host: &facts, outputs: &outputs, artifacts: &Artifacts::default() });
            }
        }
    }
}
