//! Every recorded esxcli output: against a JSON file that a person compared with the print, against the print
//! itself, and damaged in the ways in which copies of outputs are damaged.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Parsed, parse, typed};
use crate::esxi::{Output, recorded};

struct Recorded {
    name: String,
    command: String,
    text: String,
    expected: PathBuf,
}

fn fixtures() -> Vec<Recorded> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut all = Vec::new();
    for folder in std::fs::read_dir(root.join("transcripts")).unwrap().flatten() {
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap();
            let command = text.lines().find_map(|l| l.strip_prefix("# command: ")).unwrap().to_owned();
            let first = command.trim_start_matches("time ").split_whitespace().next().unwrap();
            if !["esxcli", "localcli"].contains(&first) {
                continue;
            }
            let version = folder.file_name().into_string().unwrap();
            let stem = file.path().file_stem().unwrap().to_str().unwrap().to_owned();
            all.push(Recorded {
                name: format!("{version}/{stem}"),
                command,
                text: recorded(&text),
                expected: root.join("parse").join(version).join(format!("{stem}.json")),
            });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(all.len() > 100, "{}", all.len());
    all
}

fn answer(command: &str, text: &str) -> Result<Value, String> {
    parse(command, &Output::ok(text)).map(|p| p.to_json()).map_err(|e| e.to_string())
}

#[test]
fn every_recorded_output_gives_the_reviewed_json() {
    let mut wrong = Vec::new();
    for f in fixtures() {
        let got = match answer(&f.command, &f.text) {
            Ok(value) => format!("{value:#}\n"),
            Err(error) => error,
        };
        let expected = std::fs::read_to_string(&f.expected).unwrap_or_default();
        if got != expected {
            wrong.push(format!("{}\n{got}", f.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Keys and values of a JSON value.
fn words(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.push(key.clone());
                words(value, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|v| words(v, out)),
        Value::String(text) => out.push(text.clone()),
        other => out.push(other.to_string()),
    }
}

/// Independent of the readers: each printed word is in the JSON, and a table has as many rows as lines.
#[test]
fn every_printed_word_arrives_and_every_row_counts() {
    for f in fixtures() {
        let value = answer(&f.command, &f.text).unwrap();
        if value.get("error").is_some() || f.command.contains("--help") {
            continue;
        }
        let mut all = Vec::new();
        words(&value, &mut all);
        let all: String = all.join(" ").chars().filter(|c| !c.is_whitespace()).collect();
        let lines: Vec<&str> = f.text.lines().filter(|l| !l.trim().is_empty()).collect();
        let ruler = lines.iter().position(|l| l.contains("--") && l.chars().all(|c| c == '-' || c == ' '));
        let formatter = f.command.contains("--formatter");
        for (n, line) in lines.iter().enumerate() {
            let clock = f.command.starts_with("time ") && n + 3 >= lines.len();
            if Some(n) == ruler || clock || formatter {
                continue;
            }
            for word in line.split_whitespace() {
                let bare = word.trim_end_matches(':');
                assert!(all.contains(word) || all.contains(bare), "{}: {word:?} of line {}", f.name, n + 1);
            }
        }
        if let Some(at) = ruler {
            assert_eq!(value.as_array().unwrap().len(), lines.len() - at - 1, "{}", f.name);
        }
    }
}

/// What copies look like: each must read as the original does.
#[test]
fn damaged_copies_read_as_the_original() {
    type Damage = (&'static str, fn(&Recorded) -> String);
    let each = |f: &Recorded, change: &dyn Fn(&str) -> String| {
        f.text.lines().map(change).collect::<Vec<_>>().join("\n") + "\n"
    };
    let _ = each;
    let damages: [Damage; 9] = [
        ("crlf", |f| f.text.replace('\n', "\r\n")),
        ("a blank in front of each line", |f| f.text.lines().map(|l| format!(" {l}\n")).collect()),
        ("four blanks in front of each line", |f| f.text.lines().map(|l| format!("    {l}\n")).collect()),
        ("blanks behind each line", |f| f.text.lines().map(|l| format!("{l}   \n")).collect()),
        ("both ends trimmed", |f| f.text.trim().to_owned()),
        ("no blanks behind lines", |f| f.text.lines().map(|l| format!("{}\n", l.trim_end())).collect()),
        ("prompts around it", |f| format!("[root@esx1:~] {}\n{}[root@esx1:~] \n", f.command, f.text)),
        ("an old prompt in front", |f| format!("~ # {}\n{}~ # \n", f.command, f.text)),
        ("blank lines around it", |f| format!("\n\n{}\n\n", f.text)),
    ];
    let mut wrong = Vec::new();
    for f in fixtures() {
        let whole = answer(&f.command, &f.text);
        for (name, damage) in &damages {
            // A formatter's output is not pasted; an error block is told by its blank in front.
            if f.command.contains("--formatter") {
                continue;
            }
            let got = answer(&f.command, &damage(&f));
            if got != whole {
                wrong.push(format!("{} with {name}: {got:?}", f.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All leaves with their labels, without the nesting.
fn leaves(value: &Value, out: &mut Vec<(String, String)>, key: &str) {
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| leaves(v, out, k)),
        Value::Array(items) => items.iter().for_each(|v| leaves(v, out, key)),
        other => out.push((key.to_owned(), other.as_str().unwrap_or_default().to_owned())),
    }
}

#[test]
fn label_blocks_survive_lost_indentation_lost_blank_lines_and_a_narrow_terminal() {
    let mut wrong = Vec::new();
    for f in fixtures().into_iter().filter(|f| !f.command.contains("--") && !f.command.contains('|')) {
        let whole = answer(&f.command, &f.text).unwrap();
        let blocks =
            f.text.contains("   ") && f.text.contains(": ") && !f.text.contains("---") && whole.get("error").is_none();
        if !blocks {
            continue;
        }
        let flat: String = f.text.lines().map(|l| format!("{}\n", l.trim())).collect();
        let dense: String = f.text.lines().filter(|l| !l.trim().is_empty()).map(|l| format!("{l}\n")).collect();
        let wrapped: String = f
            .text
            .lines()
            .flat_map(|l| {
                let chars: Vec<char> = l.trim_end().chars().collect();
                let parts: Vec<String> = match chars.len() {
                    0 => vec![String::new()],
                    _ => chars.chunks(80).map(|c| c.iter().collect()).collect(),
                };
                parts
            })
            .map(|l: String| l + "\n")
            .collect();
        for (name, text) in [("no indentation", flat), ("no blank lines", dense), ("80 columns", wrapped)] {
            let got = answer(&f.command, &text);
            let count = |v: &Value| v.as_array().map_or(1, Vec::len);
            let same = got.as_ref().is_ok_and(|got| {
                let (mut a, mut b) = (Vec::new(), Vec::new());
                leaves(got, &mut a, "");
                leaves(&whole, &mut b, "");
                // A break that fell on a blank leaves no trace of it.
                let strip = |l: &mut Vec<(String, String)>| {
                    for (_, v) in l.iter_mut() {
                        v.retain(|c| c != ' ');
                    }
                };
                strip(&mut a);
                strip(&mut b);
                a == b && count(got) == count(&whole)
            });
            if !same {
                wrong.push(format!("{} with {name}: {got:?}", f.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn typed_values_keep_their_words() {
    for f in fixtures() {
        let value = answer(&f.command, &f.text).unwrap();
        let (mut plain, mut as_typed) = (Vec::new(), Vec::new());
        words(&value, &mut plain);
        words(&typed(value), &mut as_typed);
        let low = |l: Vec<String>| l.into_iter().map(|w| w.to_lowercase()).collect::<Vec<_>>();
        assert_eq!(low(plain), low(as_typed), "{}", f.name);
    }
}

#[test]
fn errors_are_told_by_their_text() {
    for (text, class) in [
        ("Error: Unknown command or namespace network nix\n\n", "unknown_command"),
        ("Error: Missing required parameter -n|--nic-name\n\nUsage: esxcli network nic get [cmd options]\n", "usage"),
        ("Usage: esxcli network nic {cmd} [cmd options]\n\nAvailable Commands:\n  list  x\n", "usage_text"),
        (
            " [NoMatchError]\n No VIB matching VIB search specification 'x'.\n Please refer to the log file for more details.\n",
            "no_match_error",
        ),
        ("[VibDownloadError]\n(u'x.vib', '<urlopen error>')\n", "vib_download_error"),
        ("Connect to localhost failed: Connection failure\n", "hostd_down"),
        ("Connect to 10.0.0.1 failed. Server SHA-1 thumbprint: AA (not trusted).\n", "connection_failed"),
        ("-sh: esxcli: not found\n", "program_not_found"),
        ("sh: /sbin/esxcli: Permission denied\n", "permission_denied"),
        ("Traceback (most recent call last):\n  File \"x\", line 1\nMemoryError\n", "crashed"),
        ("Unable to find the nic vmnic9\n", "fault"),
        ("Sysinfo error: Not foundSee VMkernel log for details.\n", "fault"),
        ("(vim.fault.NotFound) {\n   dynamicType = <unset>,\n   msg = 'gone'\n}\n", "fault"),
    ] {
        for command in
            ["esxcli network nic list", "esxcli network nic get -n x", "esxcli some other list", "esxcli x y set"]
        {
            let got = parse(command, &Output::ok(text)).unwrap();
            assert!(matches!(got, Parsed::Failed(_)), "{command}: {text:?}: {got:?}");
            assert_eq!(got.to_json()["error"]["class"], class, "{command}: {text:?}");
        }
    }
}

#[test]
fn another_commands_output_is_refused_with_its_line() {
    let table = recorded(include_str!("../../../fixtures/transcripts/7.0/network-nic-list-short-dashes.txt"));
    let labels = recorded(include_str!("../../../fixtures/transcripts/6.0/system-version-get-601-p20.txt"));
    for (command, text) in [
        ("esxcli software vib list", table.as_str()),
        ("esxcli system version get", &table),
        ("esxcli network nic list", &labels),
        ("esxcli hardware memory get", &labels),
        ("esxcli vm process list", &labels),
        ("esxcli network nic list", "I went to the shop and bought a loaf of bread.\n"),
        ("esxcli some other list", "I went to the shop and bought a loaf of bread.\n"),
        ("esxcli some other list", "one thing\nanother thing\n"),
        ("esxcli system version get", "hello\n"),
    ] {
        let got = parse(command, &Output::ok(text));
        assert!(got.as_ref().is_err_and(|e| e.to_string().contains("line 1")), "{command}: {got:?}");
    }
}
