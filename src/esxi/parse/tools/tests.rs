//! Every recorded output that is not esxcli's, against reviewed expectations in `fixtures/parse`, and checks that
//! need no expectation: no printed word gets lost, no text makes a reader panic.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FAMILIES, failure_text, find};
use crate::esxi::parse::Invocation;
use crate::esxi::recorded;

/// A recorded command line taken apart: the first command, and the words of each filter.
pub(crate) fn invocation(command: &str) -> Invocation {
    let mut parts = command.split('|').fold(Vec::<String>::new(), |mut parts, piece| {
        // a bar inside quotes
        match parts.last_mut() {
            Some(last) if last.matches('"').count() % 2 + last.matches('\'').count() % 2 > 0 => {
                last.push('|');
                last.push_str(piece);
            }
            _ => parts.push(piece.to_owned()),
        }
        parts
    });
    let words = |part: &str| shell_words::split(part).unwrap_or_default();
    let filters = parts.split_off(1).iter().map(|f| words(f)).collect();
    let mut args = words(&parts[0]);
    let whole = if args.is_empty() { String::new() } else { args.remove(0) };
    let program =
        if whole.starts_with("/etc/init.d/") { whole } else { whole.rsplit('/').next().unwrap_or("").to_owned() };
    Invocation { program, args, filters }
}

/// What `esxprep parse` makes of an output.
fn parsed(run: &Invocation, text: &str) -> Value {
    if let Some((class, message)) = failure_text(&run.program, text) {
        return json!({"error": {"class": class, "message": message}});
    }
    match find(run) {
        None => json!({"no family": run.program}),
        Some(family) => (family.read)(run, text).unwrap_or_else(|e| json!({"form error": e.to_string()})),
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
        let got = parsed(&invocation(command), text);
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
        let run = invocation(&command);
        let got = parsed(&run, &text);
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
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\\n\\t\\ré]{0,300}", lines in prop::collection::vec("[ ]{0,9}[|\\\\(\\[{}\\])=+:\"'a-z0-9,.-]{0,30}", 0..12)) {
        for command in COMMANDS {
            for filter in ["", " | grep x"] {
                let run = invocation(&format!("{command}{filter}"));
                parsed(&run, &text);
                parsed(&run, &lines.join("\n"));
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
            parsed(&invocation(command), &damaged);
        }
    }
}
