//! Every recorded output that is not esxcli's, against reviewed expectations in `fixtures/parse`, and checks that
//! need no expectation: no printed word gets lost, no text makes a reader panic.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FAMILIES, find};
use crate::esxi::parse::ParseError;
use crate::esxi::parse::invocation::invocation;
use crate::esxi::{Output, recorded};

/// What `esxprep parse` makes of an output.
fn answer(command: &str, text: &str) -> Value {
    match super::super::parse(command, &Output::ok(text)) {
        Ok(parsed) => parsed.to_json(),
        Err(e @ ParseError::UnknownCommand(_)) => json!({"no family": e.to_string()}),
        Err(e) => json!({"form error": e.to_string()}),
    }
}

/// The recorded outputs of commands that are not esxcli: path, command, output.
fn transcripts() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transcripts");
    let mut all = Vec::new();
    for version in std::fs::read_dir(root).unwrap().flatten() {
        for file in std::fs::read_dir(version.path()).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap();
            let Some(command) = text.lines().find_map(|l| l.strip_prefix("# command: ")) else { continue };
            let words: Vec<&str> = command.split_whitespace().collect();
            if words.iter().take(2).any(|w| matches!(*w, "esxcli" | "localcli")) {
                continue;
            }
            all.push((file.path(), command.to_owned(), recorded(&text)));
        }
    }
    all.sort();
    all
}

fn expectation(transcript: &Path) -> PathBuf {
    let path = transcript.to_string_lossy().replace("fixtures/transcripts", "fixtures/parse");
    PathBuf::from(path).with_extension("json")
}

#[test]
fn every_recorded_output_is_read_as_expected() {
    let transcripts = transcripts();
    assert!(transcripts.len() >= 100, "only {} recorded outputs", transcripts.len());
    let mut wrong = Vec::new();
    for (path, command, text) in &transcripts {
        let got = answer(command, text);
        let file = expectation(path);
        if std::env::var_os("UPDATE_PARSE").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&got).unwrap())).unwrap();
        }
        let expected: Value = match std::fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).unwrap(),
            Err(_) => Value::Null,
        };
        if got != expected || got.get("form error").is_some() || got.get("no family").is_some() {
            wrong.push(format!("{}: {got}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn flatten(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| {
            out.push_str(k);
            out.push('\n');
            flatten(v, out);
        }),
        Value::Array(all) => all.iter().for_each(|v| flatten(v, out)),
        Value::String(s) => {
            out.push_str(s);
            out.push('\n');
        }
        other => panic!("not a string: {other}"),
    }
}

/// Marks that are notation of a form and stand in no value.
const NOTATION: &[char] =
    &['|', '-', '.', '=', '+', '\\', ':', '\'', '"', '{', '}', '[', ']', '(', ')', ',', '#', '*', ' '];

#[test]
fn no_printed_word_gets_lost() {
    let mut lost = Vec::new();
    for (path, command, text) in transcripts() {
        let got = answer(&command, &text);
        if got.get("error").is_some() {
            continue;
        }
        let mut all = String::new();
        flatten(&got, &mut all);
        let sentence = ["Value of", "Get Snapshot:", "main():Python mode is", "[root@"];
        for line in text.lines().filter(|l| !sentence.iter().any(|s| l.starts_with(s))) {
            for word in line.split([' ', ':', '=', '\t', '[', ',', '.']).map(|w| w.trim_matches(NOTATION)) {
                // two headings that run together become two keys
                if !word.is_empty() && !all.contains(word) && word != "PluginDisplay" {
                    lost.push(format!("{}: {word:?} of {line:?}", path.display()));
                }
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

#[test]
fn every_family_takes_its_example_and_names_are_unique() {
    for (n, family) in FAMILIES.iter().enumerate() {
        let run = invocation(family.example);
        assert_eq!(find(&run).map(|f| f.name), Some(family.name));
        assert!(FAMILIES[n + 1..].iter().all(|f| f.name != family.name), "{}", family.name);
        let _ = (family.read)(&run, "");
    }
    assert_eq!(find(&invocation("vmkvsitools lspci -p")).map(|f| f.name), Some("lspci"));
    assert_eq!(find(&invocation("/bin/ls -l /")).map(|f| f.name), Some("ls"));
    assert!(find(&invocation("esxcli network nic list")).is_none());
}

#[test]
fn what_a_command_does_not_print_is_an_error_with_its_line() {
    for (command, text, line) in [
        (
            "esxcfg-nics -l",
            "Name    PCI          Driver      Link Speed      Duplex MAC Address       MTU    Description\nvmnic0 up\n",
            2,
        ),
        ("esxcfg-vmknic -l", "hello\n", 1),
        // Other commands' tables and blocks have some headings and all the looks of labels.
        (
            "esxcfg-nics -l",
            "Interface  Port Group   IP Address   Netmask        MAC Address        MTU   Enabled Type\nvmk0       Management   10.0.0.4     255.255.255.0  00:50:56:00:00:01  1500  true    DHCP\n",
            1,
        ),
        (
            "esxcfg-nics -l",
            "Name    Driver  State   MTU   Speed    Description\n------  ------  ------  ----  -------  -----------\nvmrdma0 nenic   Active  4096  50 Gbps  A card\n",
            2,
        ),
        (
            "vim-cmd hostsvc/hostsummary",
            "vmk0\n   Name: vmk0\n   MAC Address: 00:50:56:00:00:01\n   Enabled: true\n",
            1,
        ),
        ("esxcfg-vswitch -l", "hello\n", 1),
        ("chkconfig --list", "sshd   on\nhello\n", 2),
        ("esxtop -b -n 1", "hello\n", 1),
        ("lsusb", "hello\n", 1),
        ("vmkping 10.0.0.1", "hello\n", 1),
        ("vmkchdev -l", "vmk0 10.0.0.1 vmkernel\n", 1),
        ("esxcfg-nas -l", "hello\n", 1),
        ("esxcfg-dumppart -l", "hello\n", 1),
        ("esxcfg-route -l", "Receive packets dropped: 0\n", 1),
        ("esxcfg-module -g x", "hello\n", 1),
        ("stat /a", "hello\n", 1),
        ("fdisk -l", "hello\n", 1),
        ("vmkiscsi-tool -W vmhba64", "hello\n", 1),
        ("esxcfg-scsidevs -c", "a b c\n", 1),
        ("esxcfg-mpath -b", "hello\n", 1),
        ("esxcfg-volume -l", "VMFS UUID/label: a/b\nhello\n", 2),
        ("esxcfg-info -n", "\\==+Network :\nhello\n", 2),
        ("esxcfg-advcfg -g /a/b", "hello\n", 1),
        ("vim-cmd vmsvc/getallvms", "hello\n", 1),
        ("vim-cmd hostsvc/hostsummary", "hello\n", 1),
        ("vim-cmd vmsvc/get.summary 1", "(vim.vm.Summary) {\n   vm = 1,\n}\nhello\n", 4),
        ("vim-cmd vmsvc/snapshot.get 1", "hello\n", 1),
        ("partedUtil getptbl x", "gpt\n1 2 3 4\nhello\n", 3),
        ("vmkfstools -P x", "hello\n", 1),
        ("df -h", "hello\n", 1),
        ("vdf -h", "hello\n", 1),
        ("lspci", "hello\n", 1),
        ("vmware -v", "VMware ESXi 8.0\nhello\n", 2),
        ("ls -l /", "hello\n", 1),
        ("esxtop -b -n 1", "\"a\",\"b\"\n\"1\"\n", 2),
        ("vsish -e get /x", "A {\n  b:1\n}\nhello\n", 4),
    ] {
        let run = invocation(command);
        let family = find(&run).unwrap();
        let error = (family.read)(&run, text).expect_err(command);
        assert_eq!(error.line, line, "{command}: {error}");
    }
}

#[test]
fn shapes_that_recorded_outputs_here_do_not_have() {
    for (command, text, expected) in [
        (
            "esxcfg-vswitch -l",
            "Switch Name  Num Ports  Used Ports  Uplinks\nmy switch    256        1\n  PortGroup Name  VLAN ID  Used Ports  Uplinks\n  Net 2           0        3           vmnic0,vmnic1\n",
            json!([{"Switch Name": "my switch", "Num Ports": "256", "Used Ports": "1", "Uplinks": "",
                "_rows": [{"PortGroup Name": "Net 2", "VLAN ID": "0", "Used Ports": "3", "Uplinks": "vmnic0,vmnic1"}]}]),
        ),
        (
            "esxcfg-route -l",
            "VMkernel Routes:\nNetwork   Netmask        Gateway       Interface\n10.0.0.0  255.255.255.0  Local Subnet  vmk0\n",
            json!([{"Network": "10.0.0.0", "Netmask": "255.255.255.0", "Gateway": "Local Subnet", "Interface": "vmk0"}]),
        ),
        (
            "vim-cmd vmsvc/getallvms",
            "Skipping invalid VM '3'\nVmid  Name  File  Guest OS  Version  Annotation\n4   a [b]   [d 1] a [b]/a [b].vmx   otherGuest   vmx-10   one\n\n2 [x] three\n5   c   [d 1] c/c.vmtx   otherGuest   vmx-10\n",
            json!([{"Vmid": "4", "Name": "a [b]", "File": "[d 1] a [b]/a [b].vmx", "Guest OS": "otherGuest", "Version": "vmx-10",
                "Annotation": "one\n\n2 [x] three"},
                {"Vmid": "5", "Name": "c", "File": "[d 1] c/c.vmtx", "Guest OS": "otherGuest", "Version": "vmx-10", "Annotation": ""}]),
        ),
        (
            "vim-cmd vmsvc/snapshot.get 1",
            "Get Snapshot:\n|-ROOT\n--Snapshot Name        : a\n--Snapshot Desciption  : x\ny: z\n--|-CHILD\n----Snapshot Name        : b\n",
            json!([{"_heading": "|-ROOT", "Snapshot Name": "a", "Snapshot Desciption": "x\ny: z"},
                {"_heading": "--|-CHILD", "Snapshot Name": "b"}]),
        ),
        (
            "vdf -h",
            "Tardisk   Space  Used\nsb.v00   150M  150M\n-----\nRamdisk   Size  Used Available Use% Mounted on\nroot   32M  3M  28M  10% --\n",
            json!([{"Tardisk": "sb.v00", "Space": "150M", "Used": "150M"},
                {"Ramdisk": "root", "Size": "32M", "Used": "3M", "Available": "28M", "Use%": "10%", "Mounted on": "--"}]),
        ),
        (
            "df -h",
            "Filesystem   Size   Used Available Use% Mounted on\nVMFS-6      1.5T  10.0G      1.4T   1% /vmfs/volumes/my store\n",
            json!([{"Filesystem": "VMFS-6", "Size": "1.5T", "Used": "10.0G", "Available": "1.4T", "Use%": "1%",
                "Mounted on": "/vmfs/volumes/my store"}]),
        ),
        (
            "esxcfg-volume -l",
            "Scanning for VMFS-6 host activity (4096 bytes/HB, 1024 HBs).\nVMFS UUID/label: u/l\nCan mount: Yes\nExtent name: naa.1:1     range: 0 - 9 (MB)\n",
            json!([{"_heading": "Scanning for VMFS-6 host activity (4096 bytes/HB, 1024 HBs).", "VMFS UUID/label": "u/l",
                "Can mount": "Yes", "Extent name": "naa.1:1", "range": "0 - 9 (MB)"}]),
        ),
        (
            "esxcfg-mpath -b",
            "t10.A : Local Disk (t10.A)\n   vmhba1:C0:T0:L0 LUN:0 state:active Local HBA vmhba1 channel 0 target 0\n",
            json!([{"_heading": "t10.A : Local Disk (t10.A)", "t10.A": "Local Disk (t10.A)", "_rows": [{"_1": "vmhba1:C0:T0:L0", "LUN": "0",
                "state": "active", "_2": "Local HBA vmhba1 channel 0 target 0"}]}]),
        ),
        (
            "chkconfig --list",
            "SSH     on\nntpd    off\n",
            json!([{"_1": "SSH", "_2": "on"}, {"_1": "ntpd", "_2": "off"}]),
        ),
        (
            "lspci -v | grep 0200 -B 1",
            "0000:01:00.0 Network controller: Maker Card [vmnic0]\n\t Class 0200: 8086:1521\n--\n0000:01:00.1 Network controller: Maker Card [vmnic1]\n\t Class 0200: 8086:1521\n",
            json!([
                {"_1": "0000:01:00.0", "_2": "Network controller", "_3": "Maker Card", "_4": "vmnic0", "Class 0200": "8086:1521"},
                {"_1": "0000:01:00.1", "_2": "Network controller", "_3": "Maker Card", "_4": "vmnic1", "Class 0200": "8086:1521"}
            ]),
        ),
        (
            "smbiosDump | grep -A 9 Thing",
            "  Thing Info: #11\n    Cache: #3\n    Inner:\n      A: 1\nThing Info: #12\n    Cache: #4\n",
            json!([{"_heading": "Thing Info: #11", "Thing Info": "#11", "Cache": "#3", "Inner": {"A": "1"}},
                {"_heading": "Thing Info: #12", "Thing Info": "#12", "Cache": "#4"}]),
        ),
        (
            "vim-cmd vimsvc/license --show",
            "[200] Asking...[200] Done, result is:\n   serial: 0-0\n   name: x y\n   total: 2\n   Properties:\n     [When] = 2025-12-12T16:40:29Z\n     [What] = <a: [b]>\n\n[200] End.\n",
            json!({"_heading": "[200] Asking...[200] Done, result is:\n[200] End.", "serial": "0-0", "name": "x y", "total": "2",
                "Properties": {"[When]": "2025-12-12T16:40:29Z", "[What]": "<a: [b]>"}}),
        ),
        (
            "vim-cmd hostsvc/summary/scsilun",
            "Device Type Vendor Model UUID Hba\nmpx.1 disk AB, AB Virtual S 0000000000766d68 vmhba0\n",
            json!([{"Device": "mpx.1", "Type": "disk", "Vendor": "AB,", "Model": "AB Virtual S", "UUID": "0000000000766d68", "Hba": "vmhba0"}]),
        ),
        (
            "vim-cmd hostsvc/net/hint",
            "(vim.A) [\n(vim.B) {\na = <unset>,\n...\n...\nb = (vim.C) {\nc = \"d\",\n",
            json!([{"_type": "vim.B", "a": "<unset>", "b": {"_type": "vim.C", "c": "d"}}]),
        ),
        ("esxcfg-route", "VMkernel default gateway is 10.0.0.1\n", json!({"VMkernel default gateway is": "10.0.0.1"})),
        (
            "esxcfg-nics -e",
            "Name    Driver   ENS Capable   ENS Driven    MAC Address       Description\nvmnic9  abc      True          False         00:00:00:00:00:01 A card\n",
            json!([{"Name": "vmnic9", "Driver": "abc", "ENS Capable": "True", "ENS Driven": "False",
                "MAC Address": "00:00:00:00:00:01", "Description": "A card"}]),
        ),
        (
            "vmkfstools -q a.vmdk",
            "Disk a.vmdk is a Non-passthrough Raw Device Mapping\nMaps to: vml.0200\n",
            json!({"_heading": "Disk a.vmdk is a Non-passthrough Raw Device Mapping", "Maps to": "vml.0200"}),
        ),
        (
            "cat a.vmdk",
            "# Disk DescriptorFile\nversion=1\ncreateType=\"x\"\n\nRW 41 SESPARSE \"a-s.vmdk\"\nddb.grain = \"8\"\n",
            json!({"version": "1", "createType": "x", "ddb.grain": "8",
                "_rows": [{"_1": "RW", "_2": "41", "_3": "SESPARSE", "_4": "a-s.vmdk"}]}),
        ),
        (
            "ll",
            "total 12\n-r-------T    1 root     root     29519380480 Apr  3 20:05 a:1\nlrwxrwxrwx    1 root     root            20 Apr  3 20:05 b -> a:1\n",
            json!([{"total": "12"},
                {"_1": "-r-------T", "_2": "1", "_3": "root", "_4": "root", "_5": "29519380480", "_6": "Apr  3 20:05", "_7": "a:1"},
                {"_1": "lrwxrwxrwx", "_2": "1", "_3": "root", "_4": "root", "_5": "20", "_6": "Apr  3 20:05", "_7": "b -> a:1"}]),
        ),
        (
            "cat /system/heaps/a-0x41/stats",
            "A stats {\nName:x\nkind:K: 1 -> Any\n}\n",
            json!({"_heading": "A stats", "Name": "x", "kind": "K: 1 -> Any"}),
        ),
        ("vim-cmd vmsvc/getallvms | wc -l", "12\n", json!("12")),
        ("vim-cmd vmsvc/getallvms | awk '{print $1}'", "1\n2\n", json!([{"_1": "1"}, {"_1": "2"}])),
        (
            "lspci -p",
            "Segm:Bu:De.F  Vend:Dvid Subv:Subd ISA/irq/Vect P M Module       Name\n                                                   Spawned bus\n0000:00:00.0  8086:0001 1028:0002   /   /      @ V \n",
            json!([{"Segm:Bu:De.F": "0000:00:00.0", "Vend:Dvid": "8086:0001", "Subv:Subd": "1028:0002", "ISA/irq/Vect": "/   /",
                "P": "@", "M": "V", "Module": "", "Name": ""}]),
        ),
        (
            "ls -l /x /y",
            "ls: /x: No such file or directory\n-rw-r--r--    1 root     root    1 Sept 3 20:05 a b\n",
            json!(["ls: /x: No such file or directory", {"_1": "-rw-r--r--", "_2": "1", "_3": "root", "_4": "root", "_5": "1",
                "_6": "Sept", "_7": "3", "_8": "20:05", "_9": "a b"}]),
        ),
        (
            "vim-cmd vmsvc/get.summary 1",
            "(vim.A) {\n   a = “x y”,\n   b = &lt;unset&gt;\n}\n",
            json!({"_type": "vim.A", "a": "x y", "b": "<unset>"}),
        ),
        (
            "vim-cmd vmsvc/get.config 1 | grep -A 9 a",
            "   a = 1,\n   b = (vim.A) [\n      (vim.B) {\n         c = 2\n",
            json!({"a": "1", "b": [{"_type": "vim.B", "c": "2"}]}),
        ),
        (
            "df -h | grep VMFS",
            "VMFS-5 1.0G 1.0G 0 100% /y\n",
            json!([{"Filesystem": "VMFS-5", "Size": "1.0G", "Used": "1.0G", "Available": "0", "Use%": "100%", "Mounted on": "/y"}]),
        ),
        (
            "df -h",
            "df: /x: Input/output error\nFilesystem   Size   Used Available Use% Mounted on\nVMFS-5 1G 1G 0 100% /y\n",
            json!({"_lines": ["df: /x: Input/output error"], "_rows": [{"Filesystem": "VMFS-5", "Size": "1G", "Used": "1G",
                "Available": "0", "Use%": "100%", "Mounted on": "/y"}]}),
        ),
        (
            "echo a; uname -a; vmware -v",
            "a\nVMkernel b\nVMware ESXi 8.0\n",
            json!(["a", "VMkernel b", "VMware ESXi 8.0"]),
        ),
        ("printf 'A=%s\\n' 1", "A=1\nB=2\n", json!({"A": "1", "B": "2"})),
        ("cat /etc/vmware/esx.conf", "/a/b = \"x = y\"\n", json!({"/a/b": "x = y"})),
        ("reboot", "", json!("")),
    ] {
        assert_eq!(answer(command, text), expected, "{command}");
        // the same with the blanks that a paste puts before every line, and with carriage returns
        let shifted = text.lines().map(|l| if l.is_empty() { String::from("\r\n") } else { format!(" {l}\r\n") });
        assert_eq!(answer(command, &shifted.collect::<String>()), expected, "{command}, shifted");
    }
}

/// Command lines of every form, for texts that nobody printed.
const COMMANDS: &[&str] = &[
    "esxcfg-vmknic -l",
    "esxcfg-nics -l",
    "esxcfg-vswitch -l",
    "esxcfg-route -l",
    "esxcfg-advcfg -l",
    "esxcfg-advcfg -g /a",
    "esxcfg-module -g a",
    "vmkload_mod -l",
    "vmkload_mod -s a",
    "esxcfg-dumppart -l",
    "esxcfg-info",
    "esxcfg-scsidevs -c",
    "esxcfg-scsidevs -l",
    "esxcfg-scsidevs -a",
    "esxcfg-scsidevs -m",
    "esxcfg-mpath -b",
    "esxcfg-mpath -l",
    "esxcfg-volume -l",
    "partedUtil getptbl x",
    "partedUtil showGuids",
    "vmkfstools -P x",
    "df -h",
    "vdf -h",
    "vim-cmd vmsvc/getallvms",
    "vim-cmd vmsvc/snapshot.get 1",
    "vim-cmd hostsvc/hostsummary",
    "vim-cmd vmsvc/get.datastores 1",
    "vsish -e get /x",
    "lspci",
    "lspci -p",
    "lsusb",
    "chkconfig --list",
    "ps",
    "esxtop -b",
    "net-stats -l",
    "vmkping x",
    "ls -l",
    "ls",
    "stat x",
    "du",
    "sha256sum x",
    "cat /etc/vmware/esx.conf",
    "cat /etc/ssh/sshd_config",
    "smbiosDump",
    "vmware -v",
    "fdisk -l",
    "voma -m vmfs -f check -d x",
    "vmkiscsi-tool -W vmhba64",
    "vdq -q",
    "nsxdp-cli ens port list",
    "esxupdate query",
    "esxcfg-route",
    "esxcfg-nics -e",
    "cat x.vmdk",
    "cat x.json",
    "cp a b",
    "vim-cmd vmsvc/power.on 1",
    "vim-cmd vimsvc/license --show",
    "vim-cmd hostsvc/summary/scsilun",
    "vmkfstools -q x",
    "/etc/init.d/hostd restart",
    "some-tool -x",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\\n\\t\\ré]{0,300}", lines in prop::collection::vec("[ ]{0,9}[|\\\\(\\[{}\\])=+:\"'a-z0-9,.-]{0,30}", 0..12)) {
        for command in COMMANDS {
            for filter in ["", " | grep x"] {
                answer(&format!("{command}{filter}"), &text);
                answer(&format!("{command}{filter}"), &lines.join("\n"));
            }
        }
    }

    #[test]
    fn damaged_outputs_are_read_or_refused(pick in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), with in "[ -~\\n]{0,6}") {
        let all = transcripts();
        let (_, command, text) = &all[pick.index(all.len())];
        let chars: Vec<char> = text.chars().collect();
        if !chars.is_empty() {
            let (a, b) = (cut.index(chars.len()), at.index(chars.len()));
            let damaged: String = chars[..a.min(b)].iter().chain(with.chars().collect::<Vec<_>>().iter()).chain(&chars[a.max(b)..]).collect();
            answer(command, &damaged);
        }
    }
}
