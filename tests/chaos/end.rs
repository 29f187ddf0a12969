//! How hosts ended up, and what is left over on them and here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::common::{Home, SimHosts, arg};
use super::kept::saved;

/// The saved state of every host, its files below /etc and the names in its other folders.
pub struct End {
    hosts: Vec<BTreeMap<String, String>>,
}

/// The name of the listing among what is compared.
const LIES: &str = "what lies in /tmp and on the datastores";

/// Prints what lies about where nothing should.
const LISTING: &str = "ls -1AR /tmp /var/tmp /vmfs/volumes | grep -v '^$'";

impl End {
    /// Has the hosts save, and looks.
    pub fn of(home: &Home, sim: &SimHosts, state: &Path, hosts: usize) -> Self {
        let save = home.write("save.yml", "steps:\n  - run: {command: /sbin/auto-backup.sh}\n");
        home.run(&["apply", arg(&save), "-i", sim.inventory(), "--forks", "200"]).exits(0);
        let look = home.write(
            "look.yml",
            &format!("steps:\n  - run: {{command: \"{LISTING}\", read_only: true}}\n    register: seen\n  - assert: {{command: 'echo x', matches: x}}\n    name: \"seen {{{{ seen.stdout }}}}\"\n"),
        );
        let looked =
            home.run(&["verify", arg(&look), "-i", sim.inventory(), "--output", "json", "--forks", "200"]).exits(0);
        let mut all: Vec<BTreeMap<String, String>> =
            (1..=hosts).map(|number| kept(&state.join(format!("host{number}")))).collect();
        for event in looked.of("step") {
            let Some(listing) = event["name"].as_str().and_then(|name| name.strip_prefix("seen ")) else { continue };
            let number: usize = event["host"].as_str().unwrap().trim_start_matches("esx").parse().unwrap();
            all[number - 1].insert(LIES.into(), listing.to_owned());
        }
        Self { hosts: all }
    }
}

/// What a host has kept, without what differs between hosts or by the time of a change.
fn kept(host: &Path) -> BTreeMap<String, String> {
    // When an image was changed last.
    let moment = regex::Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d").unwrap();
    let alike = |(name, text): (String, String)| {
        let text = match name.as_str() {
            // The same password, salted anew for every host.
            name if name.ends_with("etc/shadow") => without_root(&text),
            name if name.starts_with("root/") => text,
            _ => moment.replace_all(&text, "TIME").into_owned(),
        };
        (name, text)
    };
    saved(host).into_iter().map(alike).collect()
}

fn without_root(shadow: &str) -> String {
    shadow.lines().filter(|line| !line.starts_with("root:")).collect::<Vec<_>>().join("\n")
}

/// What differs, a line for each; and what a run leaves in no case.
pub fn compare(then: &End, now: &End) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, (then, now)) in then.hosts.iter().zip(&now.hosts).enumerate() {
        let host = format!("esx{}:", number + 1);
        for (key, text) in then {
            let other = now.get(key).map_or("gone", String::as_str);
            if other != text {
                let at = text.bytes().zip(other.bytes()).take_while(|(one, two)| one == two).count().saturating_sub(80);
                let part = |text: &str| {
                    String::from_utf8_lossy(&text.as_bytes()[at.min(text.len())..])
                        .chars()
                        .take(300)
                        .collect::<String>()
                };
                wrong.push(format!("{host} {key}: ...{}\n  now: ...{}", part(text), part(other)));
            }
        }
        for key in now.keys().filter(|key| !then.contains_key(*key)) {
            wrong.push(format!("{host} {key} is new"));
        }
        let is_left = |line: &&str| line.contains("esxprep-") || line.ends_with(".part");
        let left = now.keys().map(String::as_str).chain(now[LIES].lines()).filter(is_left);
        wrong.extend(left.map(|line| format!("{host} left on the host: {line}")));
    }
    wrong
}

/// Files that a run makes here and that outlive it in no case.
pub fn left_here(home: &Home) -> Vec<String> {
    let mut folders: Vec<PathBuf> = ["tmp", "state", "cache"].map(|name| home.path(name)).into();
    let mut left = Vec::new();
    while let Some(folder) = folders.pop() {
        let in_tmp = folder == home.path("tmp");
        for path in std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let unwanted =
                [".part", ".tmp", ".new", ".sock"].iter().any(|end| name.ends_with(end)) || name.starts_with(".tmp");
            if in_tmp || unwanted {
                left.push(format!("left here: {}", path.display()));
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    left
}
