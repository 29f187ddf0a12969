//! What a simulated host has kept, and what a site gives to the hardening playbooks.
#![allow(dead_code)] // not every user of it uses all

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// What the site gives: everything that the playbooks can be told without other hardware.
pub const SITE: &str = "\
log_hosts: [\"ssl://logs.example.com:1514\", \"udp://192.0.2.5:514\"]
ntp_servers: [192.0.2.1, 192.0.2.2]
allowed_networks: [192.0.2.0/24, 127.0.0.0/8]
banner: You are accessing a U.S. Government information system, or so this test says.
min_build: 1
";

/// The state of a kept host, in its folder, as it was saved last, and the files below /etc (their names begin with
/// `root/`); without what only tells of the boot.
pub fn saved(host: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(host.join("bootbank/state.json")).unwrap();
    let mut saved: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    for boot in ["boot_time", "index", "bootbanks", "pending"] {
        saved.remove(boot);
    }
    let mut all: BTreeMap<String, String> = saved.into_iter().map(|(k, v)| (k, v.to_string())).collect();
    let mut folders = vec![host.join("root/etc")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(host).unwrap().display().to_string();
                all.insert(name, String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned());
            }
        }
    }
    all
}
