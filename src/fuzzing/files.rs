//! Targets for files on this machine: VIBs and bundles, keys, known_hosts, ssh_config, inventories.

use std::io::{Cursor, Write};

use super::{fields, said, size, text};
use crate::esxi::bundle::{self, Software};
use crate::inventory::{Inventory, Surroundings};
use crate::playbook::yaml::{Node, NodeValue, parse_bytes};
use crate::steps::sshd::config::{self, Set};
use crate::transport::hostkeys::{Policy, check_pin, fingerprint};
use crate::transport::target::HostKeyCheck;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBfK0dUmS1oMDsZQJyXz8N2gr3QSDN2zLoGSqpLHRfVX";

pub(super) const SSHD_CONFIGS: &[&str] = &[
    "Banner\x00/etc/issue\x00# c\n\tbanner = \"/etc/my issue\" # x\r\nAcceptEnv\nInclude /x\nBanner no\nMatch User a\n Banner y",
    "AcceptEnv\x00LANG LC_*\x00acceptenv A B\nx y\nACCEPTENV=C\nMatch all\nAcceptEnv D\n",
];
pub(super) const KNOWN_HOSTS: &[&str] = &[
    "esx1.lab ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBfK0dUmS1oMDsZQJyXz8N2gr3QSDN2zLoGSqpLHRfVX comment\n",
    "# a comment\n\n@revoked * ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBfK0dUmS1oMDsZQJyXz8N2gr3QSDN2zLoGSqpLHRfVX\n@cert-authority *.lab ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBfK0dUmS1oMDsZQJyXz8N2gr3QSDN2zLoGSqpLHRfVX\n",
    "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBfK0dUmS1oMDsZQJyXz8N2gr3QSDN2zLoGSqpLHRfVX\n",
    "[esx1.lab]:2222,!esx2.lab,esx?.*\tssh-ed25519\tAAAAC3NzaC1lZDI1NTE5AAAAIBfK0dUmS1oMDsZQJyXz8N2gr3QSDN2zLoGSqpLHRfVX\n",
    "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDFIOoCrTzxzoSLmyE",
];
pub(super) const KEY_FILES: &[&str] = &[
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==\n-----END OPENSSH PRIVATE KEY-----\n",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu\n-----END RSA PRIVATE KEY-----\n",
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123\n\nMIIB\n-----END RSA PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n",
    "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\nPublic-Lines: 1\nAAAAC3NzaC1lZDI1NTE5\nPrivate-Lines: 1\nAAAA\nPrivate-MAC: 00\n",
];
pub(super) const SSH_CONFIGS: &[&str] = &[
    "Host esx* !esx9\n  HostName %h.lab\n  Port 2222\n  User root\n  IdentityFile ~/.ssh/lab\n  ProxyJump jump@gate:22,second\n  UserKnownHostsFile ~/.ssh/lab_hosts\n",
    "Match host esx1 user root\n  User \"a b\"\nMatch all\n  Port=22\nHost *\n\tServerAliveInterval 5\n  Ciphers +aes128-cbc\n",
];
pub(super) const INVENTORIES: &[&str] = &[
    "defaults:\n  user: root\n  password: {env: ESXI_PASSWORD}\n  vars: {ntp: [192.0.2.1]}\ngroups:\n  lab: {hosts: [esx1], children: [old], algorithms: legacy}\n  old: {port: 2222}\nhosts:\n  esx1: {address: 192.0.2.11, host_key: \"SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDFIOoCrTzxzoSLmyE\", channels: 2}\n  esx2: {address: \"2001:db8::1\", proxy_jump: [esx1], connect_timeout: 5s, password: plain}\n",
    "hosts: [a, b, c]\n",
    "hosts:\n  a: {proxy_jump: b}\n  b: {proxy_jump: a}\n  c: {key: [x, y], passphrase: {prompt: true}, agent: true, accept_new: yes}\n",
];
pub(super) const HOST_LISTS: &[&str] =
    &["esx1,root@192.0.2.12:2222", "[2001:db8::1]:22, a@b@c,user:pass@host", "2001:db8::1,,esx1:0", "all:!esx1,esx*"];

/// A VIB or an offline bundle.
pub(super) fn bundle(bytes: &[u8]) -> usize {
    let software = bundle::inspect(Cursor::new(bytes));
    if let Ok(software) = &software {
        fits(software, bytes.len());
    }
    said(&software) + size(&bundle::looks(&bytes[..bytes.len().min(64)]))
}

fn fits(software: &Software, size: usize) {
    assert!(software.bundle || software.vibs.len() == 1);
    assert!(!software.vibs.is_empty());
    for vib in &software.vibs {
        assert!(!vib.name.is_empty() && !vib.version.is_empty());
        // One payload may be named more than once, a thousand times in a small file never.
        assert!(software.bundle || vib.payload_bytes <= (size as u64).saturating_mul(1024));
    }
}

/// A descriptor inside a VIB, and inside a bundle's metadata.
pub(super) fn descriptor(bytes: &[u8]) -> usize {
    let mut vib = format!("!<arch>\n{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", "descriptor.xml", 0, 0, 0, 644, bytes.len())
        .into_bytes();
    vib.extend_from_slice(bytes);
    if bytes.len() % 2 == 1 {
        vib.push(b'\n');
    }
    let zip_of = |entries: &[(&str, &[u8])]| -> zip::result::ZipResult<Vec<u8>> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            zip.start_file(*name, zip::write::SimpleFileOptions::default())?;
            zip.write_all(bytes)?;
        }
        Ok(zip.finish()?.into_inner())
    };
    let outer = zip_of(&[("vibs/x.xml", bytes)])
        .and_then(|metadata| zip_of(&[("index.xml", b"<x/>"), ("metadata.zip", &metadata), ("vib20/x/x.vib", &vib)]));
    let bundle = outer.map(|bytes| self::bundle(&bytes)).unwrap_or_default();
    self::bundle(&vib) + bundle
}

/// A file with these bytes, for readers that want a path. Removed when it is dropped.
fn on_disk(bytes: &[u8]) -> Option<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new().ok()?;
    file.write_all(bytes).ok()?;
    Some(file)
}

/// known_hosts, and pinned keys.
pub(super) fn known_hosts(bytes: &[u8]) -> usize {
    let Some(file) = on_disk(bytes) else { return 0 };
    let text = text(bytes);
    let Ok(key) = russh::keys::PublicKey::from_openssh(KEY) else { return 0 };
    let mut all = said(&check_pin(&text));
    for (address, port) in [("esx1.lab", 22), ("esx1.lab", 2222), ("2001:db8::1", 22)] {
        for (pin, accept_new) in [(None, false), (None, true), (Some(text.to_string()), false)] {
            let check = HostKeyCheck { pin, known_hosts: vec![file.path().to_owned()], accept_new };
            match Policy::new(&check, address, port) {
                Ok(policy) => {
                    all += size(&policy.types());
                    match policy.check(&key) {
                        Ok(accepted) => all += size(&accepted),
                        Err(rejected) => {
                            assert!(rejected.detail.contains(&fingerprint(&key)), "{}", rejected.detail);
                            all += rejected.detail.len();
                        }
                    }
                }
                Err(problem) => {
                    assert!(check.pin.is_some() && !problem.is_empty());
                    all += problem.len();
                }
            }
        }
    }
    all
}

/// A private key's file. Without a passphrase: how many rounds one costs stands in the file, and may be billions.
pub(super) fn key_file(bytes: &[u8]) -> usize {
    let text = text(bytes);
    match russh::keys::decode_secret_key(&text, None) {
        Ok(key) => fingerprint(key.public_key()).len(),
        Err(error) => error.to_string().len(),
    }
}

/// Nobody is asked, nothing is in the environment, there is no home.
fn nowhere() -> Surroundings<'static> {
    Surroundings {
        home: None,
        user: Some("me".into()),
        env: &|_| None,
        ask: &|_| Err(std::io::Error::other("nobody is here")),
        wanted: Vec::new(),
    }
}

/// ssh_config, as an inventory names it.
pub(super) fn ssh_config(bytes: &[u8]) -> usize {
    // Files that it includes are not part of the input.
    if text(bytes).to_ascii_lowercase().contains("include") {
        return 0;
    }
    let Some(file) = on_disk(bytes) else { return 0 };
    let path = serde_json::Value::from(file.path().display().to_string());
    let inventory = format!("defaults: {{ssh_config: {path}}}\nhosts: {{esx1: , esx2: {{user: x}}, other.lab: }}\n");
    answer(Inventory::parse_in(&inventory, "/nonexistent/hosts.yml", &nowhere()))
}

/// An inventory.
pub(super) fn inventory(bytes: &[u8]) -> usize {
    // What an inventory makes this machine run or read is not part of the input.
    if parse_bytes("hosts.yml", bytes).is_ok_and(|node| reaches_out(&node)) {
        return 0;
    }
    answer(Inventory::parse_in(&text(bytes), "/nonexistent/hosts.yml", &nowhere()))
}

fn reaches_out(node: &Node) -> bool {
    match &node.value {
        NodeValue::Scalar(scalar) => scalar.text.contains('/'),
        NodeValue::Seq(items) => items.iter().any(reaches_out),
        NodeValue::Map(map) => map
            .iter()
            .any(|(key, entry)| matches!(key.as_str(), "command" | "file" | "ssh_config") || reaches_out(&entry.node)),
    }
}

/// `-i a,b`, `--limit` and host patterns.
pub(super) fn host_list(bytes: &[u8]) -> usize {
    let text = text(bytes);
    if text.contains(['/', '.']) && std::path::Path::new(text.as_ref()).exists() {
        return 0;
    }
    let fixed = Inventory::parse_in("hosts: [esx1, esx2, gate]\n", "/nonexistent/hosts.yml", &nowhere());
    let selected = fixed.map(|inventory| {
        let patterns: Vec<String> = text.split('\0').map(str::to_owned).collect();
        let hosts = inventory.select(&patterns, None).map(|hosts| hosts.len());
        assert!(hosts.as_ref().is_ok_and(|count| (1..=3).contains(count)) || hosts.is_err());
        hosts.unwrap_or_else(|problems| problems.plain().len())
    });
    answer(Inventory::load_in(&text, &nowhere())) + selected.unwrap_or_default()
}

fn answer(inventory: Result<Inventory, crate::playbook::Problems>) -> usize {
    match inventory {
        Ok(inventory) => {
            assert!(!inventory.hosts.is_empty());
            size(&inventory) + inventory.var_names().len()
        }
        Err(problems) => {
            let (plain, drawn) = (problems.plain(), problems.drawn(false, 80));
            assert!(!plain.trim().is_empty() && !drawn.trim().is_empty());
            plain.len()
        }
    }
}

/// Texts of recorded hosts: what is read, printed and read again is the same, and printed the same.
pub(super) fn fixture(bytes: &[u8]) -> usize {
    let text = super::text(bytes);
    match crate::fixture::Fixture::parse(&text) {
        Ok(fixture) => {
            let printed = fixture.to_string();
            let again = crate::fixture::Fixture::parse(&printed);
            assert!(again.as_ref().is_ok_and(|again| again.to_string() == printed), "{again:?} of {printed}");
            printed.len()
        }
        Err(error) => error.to_string().len(),
    }
}

/// sshd_config: keyword, value and the file, parted by NUL. Set, it is set, and only its own lines differ.
pub(super) fn sshd_config(bytes: &[u8]) -> usize {
    let [key, value, file] = fields(bytes);
    let word = !key.is_empty() && key.len() < 64 && key.chars().all(|c| c.is_ascii_alphanumeric());
    let key = if word && !["match", "include"].iter().any(|k| key.eq_ignore_ascii_case(k)) { &*key } else { "Banner" };
    let value = if config::is_value(&value) { &*value } else { "no" };
    // As found in the field: the whole input may be a file.
    let all = String::from_utf8_lossy(bytes);
    let mut said = 0;
    for file in [&*file, &*all] {
        let new = config::edited(file, key, Some(value));
        match config::set_in(&new, key) {
            Set::To(found) => assert_eq!(found, config::normal(value), "{file:?} became {new:?}"),
            Set::Unsure => assert!(config::adds_up(key)),
            Set::Absent => panic!("{key} is not set in {new:?}"),
        }
        assert_eq!(config::edited(&new, key, Some(value)), new);
        let without = config::edited(file, key, None);
        assert!(!config::has(&without, key) && without.len() <= file.len());
        assert!(new.len() <= file.len() + key.len() + value.len() + 3);
        said += new.len() + without.len() + size(&config::effective(file, key));
    }
    said
}
