//! Targets for what ESXi prints.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{fields, said, size, text};
use crate::esxi::forms::{self, FormError, Record};
use crate::esxi::mac::Mac;
use crate::esxi::parse::{self, ParseError, Parsed};
use crate::esxi::settings::{Key, World, advanced};
use crate::esxi::software::{self, Acceptance, compare_versions};
use crate::esxi::{Output, Version, net, services};

pub(super) const VDF: &[&str] = &[
    "Tardisk                  Space      Used\nsb.v00                    139M      139M\n-----\nRamdisk                   Size      Used Available Use% Mounted on\nroot                       32M        1M       30M   4% --\ntmp                       256M       12K      255M   0% --\n",
];
pub(super) const NET: &[&str] = &[
    "   Tags: Management, VMotion\n",
    "   DNSServers: 192.0.2.53, 192.0.2.54\n",
    "   Allow Promiscuous: false\n   Allow MAC Address Change: true\n   Allow Forged Transmits: true\n   Override vSwitch Allow Promiscuous: false\n",
    "Network    Netmask        Gateway    Interface  Source\n---------  -------------  ---------  ---------  ------\ndefault    0.0.0.0        192.0.2.1  vmk0       MANUAL\n192.0.2.0  255.255.255.0  0.0.0.0    vmk0       MANUAL\n",
    "Ruleset    Allowed IP Addresses\n---------  --------------------\nsshServer  192.0.2.0/24, 10.0.0.5\nntpClient  All\n",
    "defaultTcpipStack\n   Key: defaultTcpipStack\n   Name: defaultTcpipStack\n   State: 4660\n",
];
pub(super) const COPIES: &[&str] = &[
    "esxcli network ip neighbor list\x00Neighbor Mac Address Vmknic Expiry State\n--------- ----------------- ------ -------- -----\n192.0.2.7 00:50:56:00:00:01 vmk0 1183 sec\n",
    "esxcli nvme thing list\x00Name                  Kind   Number\n--------------------  -----  ------\nnqn.2014-08.org.test.  tcp         1\n1234567#vmhba64:4420\n...\n",
    "vmware -v; esxcli system version get\x00VMware ESXi 8.0.0 build-1\n   Product: VMware ESXi\n   Version: 8.0.0\n   Build: Releasebuild-1\n",
    "esxcli system module list\x00| Name | Is Loaded | Is Enabled |\n|---|---|---|\n| a | true | false |\n",
    "esxcli system module list\x00   1: Name  Is Loaded\n   2: ----  ---------\n   3: a          true\n",
];
pub(super) const KEYS: &[&str] =
    &["Net.FollowHardwareMac", "/UserVars/SuppressShellWarning", "VMkernel.Boot.execInstalledOnly", "/\u{c}c"];
pub(super) const WORDS: &[&str] = &[
    "00:50:56:ab:cd:ef\x0000-50-56-AB-CD-0F",
    "8.0.3\x006.5",
    "1.0.3.0-8vmw.702.0.0.17867351\x001.34.8-17417756\x002.0.8",
    "PartnerSupported\x00VMwareCertified",
    "ntpd                    on\nSSH  off\nslpd: off\n",
];

/// The place that an error names must be in the text.
pub(super) fn line_is_inside(error: &FormError, text: &str) {
    let lines = text.lines().count().max(1);
    assert!((1..=lines).contains(&error.line), "line {} of {lines}: {error}", error.line);
    assert!(!error.problem.is_empty());
}

/// Dash-ruled tables and records: the general readers by form.
pub(super) fn forms(bytes: &[u8]) -> usize {
    let text = text(bytes);
    let table = forms::table(&text);
    match &table {
        Ok(rows) => {
            assert!(rows.len() <= text.lines().count());
            for cell in rows.iter().flat_map(Record::values) {
                assert!(cell.trim() == cell && text.contains(cell.as_str()));
            }
            printed_again(rows);
        }
        Err(error) => line_is_inside(error, &text),
    }
    let records = forms::records(&text);
    match &records {
        Ok(all) => {
            assert!(all.iter().map(|(_, record)| record.len()).sum::<usize>() <= text.lines().count());
            assert!(all.len() <= text.lines().count());
        }
        Err(error) => line_is_inside(error, &text),
    }
    let one = forms::record(&text);
    if let Err(error) = &one {
        line_is_inside(error, &text);
    }
    said(&table) + said(&records) + said(&one)
}

/// Rows that were read, printed as a table and read again, are the same rows.
fn printed_again(rows: &[Record]) {
    // A row of nothing is an empty line, and headings of dashes alone are a ruler.
    let rows: Vec<&Record> = rows.iter().filter(|row| row.values().any(|cell| !cell.is_empty())).collect();
    let Some(first) = rows.first() else { return };
    if first.keys().all(|name| name.chars().all(|c| c == '-' || c == ' ')) {
        return;
    }
    let widths: Vec<usize> = first
        .keys()
        .map(|name| rows.iter().map(|row| row[name].chars().count()).fold(name.chars().count(), usize::max).max(2))
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &String>| {
        cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect::<String>() + "\n"
    };
    let ruler: String = widths.iter().map(|width| "-".repeat(*width) + "  ").collect();
    let body: String = rows.iter().map(|row| line(&mut row.values())).collect();
    let printed = format!("{}{ruler}\n{body}", line(&mut first.keys()));
    let again = forms::table(&printed);
    assert!(again.as_ref().is_ok_and(|again| again.iter().eq(rows.iter().copied())), "{again:?} of {printed:?}");
}

/// The general reader: the text as the answer of a few commands, in front of a NUL a command line of its own.
pub(super) fn parse(bytes: &[u8]) -> usize {
    let listed = parse::listed();
    let at = bytes.iter().fold(bytes.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let mut asked: Vec<(String, Cow<'_, str>)> = (0..3)
        .filter_map(|n| listed.get(at.wrapping_add(n * 97) % listed.len().max(1)))
        .map(|family| (family.example.clone(), text(bytes)))
        .collect();
    asked.push(("esxcli some thing list | grep x".into(), text(bytes)));
    if bytes.contains(&0) {
        let [command, said] = fields(bytes);
        asked.push((command.into_owned(), said));
    }
    let mut all = 0;
    for (command, said) in asked {
        let read = parse::parse(&command, &Output::ok(said.as_ref()));
        match &read {
            Ok(parsed) => {
                let value = parsed.to_json();
                assert_eq!(
                    value.get("error").is_some_and(|e| e.get("class").is_some()),
                    matches!(parsed, Parsed::Failed(_))
                );
                all += size(&value);
            }
            Err(ParseError::Form { error, .. }) => line_is_inside(error, &said),
            Err(ParseError::UnknownCommand(_)) => {}
        }
    }
    all
}

/// How commands say that they failed. The first byte is the exit code.
pub(super) fn failure(bytes: &[u8]) -> usize {
    let (code, rest) = bytes.split_first().map_or((0, bytes), |(code, rest)| (i32::from(*code % 4), rest));
    let mut all = 0;
    // As printed, and with every exit code.
    for (code, bytes) in [(code, rest), (0, bytes), (1, bytes), (127, bytes)] {
        let [stdout, stderr] = fields(bytes);
        let output = Output { stdout: stdout.into(), stderr: stderr.into(), code, seconds: 0.0 };
        let failure = crate::esxi::failure::failure(&output);
        assert!(code == 0 || failure.is_some(), "exit code {code} passed for an answer");
        let fault = software::fault(&output);
        assert!(failure.is_none() || fault.is_some());
        assert!(fault.as_ref().is_none_or(|fault| fault.advice.contains(software::LOG)));
        all += size(&failure) + size(&fault);
    }
    all
}

/// What `esxcli software` prints.
pub(super) fn software(bytes: &[u8]) -> usize {
    let text = text(bytes);
    let result = software::install_result(&text);
    let pending = software::pending(&Output::ok(text.as_ref()));
    let rows = forms::table(&text).unwrap_or_default();
    let place = software::choose_place(bytes.len() as u64, software::ramdisk_free(&text, "tmp"), &rows);
    let installed = software::installed(rows);
    for vib in installed.iter().flatten() {
        assert!(software::version_is(&vib.version, &vib.version));
    }
    size(&result) + said(&pending) + said(&place) + said(&installed)
}

/// What the network commands print.
pub(super) fn net(bytes: &[u8]) -> usize {
    let text = text(bytes);
    let vmknics = net::vmknics(&text);
    for vmknic in vmknics.iter().flatten() {
        assert!(vmknic.mac.is_none_or(|mac| mac.to_string().parse() == Ok(mac)));
    }
    said(&vmknics)
        + said(&net::ipv4(&text))
        + said(&net::nics(&text))
        + said(&net::vswitches(&text))
        + said(&net::portgroups(&text))
        + said(&net::routes(&text))
        + said(&net::netstacks(&text))
        + said(&net::tags(&text))
        + said(&net::labelled_list(&text, "DNSServers"))
        + said(&net::security(&text))
        + said(&net::rulesets(&text))
        + said(&net::allowed_ips(&text))
        + said(&net::firewall(&text))
}

/// Advanced settings, and their names.
pub(super) fn settings(bytes: &[u8]) -> usize {
    let text = text(bytes);
    let all = advanced(&text);
    match &all {
        Ok(all) => assert!(all.iter().filter(|option| option.says_reboot()).count() <= all.len()),
        Err(error) => line_is_inside(error, &text),
    }
    let mut names = 0;
    for world in [None, Some(World::Vmkernel), Some(World::Hostd), Some(World::Kernel)] {
        let key = Key::new(&text, world);
        let again = Key::new(&key.dotted, Some(key.world));
        assert_eq!(again, key);
        names += key.path().len() + key.boot_option().len() + size(&(key.hostd_type(), key.needs_reboot()));
    }
    said(&all) + names
}

/// Single words: addresses, versions, levels, services.
pub(super) fn words(bytes: &[u8]) -> usize {
    let [a, b, c] = fields(bytes);
    if let Ok(mac) = a.parse::<Mac>() {
        assert_eq!(mac.to_string().parse(), Ok(mac));
    }
    if let Ok(version) = a.parse::<Version>() {
        assert_eq!(version.to_string().parse().ok(), Some(version));
    }
    if let Ok(level) = a.parse::<Acceptance>() {
        assert_eq!(level.as_str().parse(), Ok(level));
    }
    let order = |a: &str, b: &str| compare_versions(a, b);
    assert_eq!(order(&a, &a), Ordering::Equal);
    assert_eq!(order(&a, &b), order(&b, &a).reverse());
    if order(&a, &b).is_le() && order(&b, &c).is_le() {
        assert!(order(&a, &c).is_le(), "{a:?} <= {b:?} <= {c:?}");
    }
    let service = services::service(&a);
    assert!(service.is_none_or(|service| services::service(service.init) == Some(service)));
    let list = services::chkconfig(&a);
    let extra = crate::playbook::parse_extra(&[a.to_string(), b.to_string()]);
    size(&list)
        + size(&services::is_running(&a))
        + extra.map_or_else(|problems| problems.plain().len(), |all| size(&all))
}
