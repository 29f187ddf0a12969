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
    fn each(f: &Recorded, change: impl Fn(usize, &str) -> String) -> String {
        f.text.lines().enumerate().map(|(n, l)| change(n, l) + "\n").collect()
    }
    let damages: [Damage; 32] = [
        ("crlf", |f| f.text.replace('\n', "\r\n")),
        ("a blank in front of each line", |f| f.text.lines().map(|l| format!(" {l}\n")).collect()),
        ("four blanks in front of each line", |f| f.text.lines().map(|l| format!("    {l}\n")).collect()),
        ("blanks behind each line", |f| f.text.lines().map(|l| format!("{l}   \n")).collect()),
        ("both ends trimmed", |f| f.text.trim().to_owned()),
        ("no blanks behind lines", |f| f.text.lines().map(|l| format!("{}\n", l.trim_end())).collect()),
        ("prompts around it", |f| format!("[root@esx1:~] {}\n{}[root@esx1:~] \n", f.command, f.text)),
        ("an old prompt in front", |f| format!("~ # {}\n{}~ # \n", f.command, f.text)),
        ("blanks of a web page", |f| format!("\u{feff}{}", f.text.replace("  ", "\u{a0}\u{a0}"))),
        ("blank lines around it", |f| format!("\n\n{}\n\n", f.text)),
        ("a mail's quotation", |f| each(f, |_, l| format!("> {l}"))),
        ("a quotation twice", |f| each(f, |_, l| format!("> > {l}"))),
        ("a bar in front", |f| each(f, |_, l| format!("| {l}"))),
        ("numbers of lines", |f| each(f, |n, l| format!("{:>6}\t{l}", n + 1))),
        ("numbers with a colon", |f| each(f, |n, l| format!("{:>3}: {l}", n + 1))),
        ("times", |f| each(f, |n, l| format!("2026-01-02T03:04:{:02}.123Z {l}", n % 60))),
        ("times in brackets", |f| each(f, |n, l| format!("[2026-01-02 03:04:{:02}] {l}", n % 60))),
        ("a blank line between every two", |f| each(f, |_, l| format!("{l}\n"))),
        ("a fence", |f| format!("```text\n{}```\n", f.text)),
        ("tags", |f| format!("<pre><code>{}</code></pre>\n", f.text)),
        ("tags on lines of their own", |f| format!("<pre>\n{}</pre>\n", f.text)),
        ("words for characters", |f| {
            f.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace("  ", "&nbsp; ")
        }),
        ("line ends of a page", |f| each(f, |_, l| format!("{l}<br>")) + "&nbsp;<br>\n"),
        ("widthless characters", |f| each(f, |_, l| format!("\u{200b}{l}\u{200e}"))),
        ("a log of script", |f| {
            format!("Script started on 2026-01-02 03:04:05\n{}Script done on 2026-01-02 03:05:00\n", f.text)
        }),
        ("colours", |f| format!("\u{1b}[1m{}\u{1b}[0m", f.text)),
        ("colours without their escape", |f| format!("[01;32m{}[0m\n", f.text)),
        ("a window's title", |f| format!("\u{1b}]0;root@esx1:~\u{7}{}", f.text)),
        ("longer dashes", |f| {
            let ruler = |l: &str| l.contains("--") && l.chars().all(|c| c == '-' || c == ' ');
            each(f, |_, l| if ruler(l) { l.replace("---", "\u{2014}").replace("--", "\u{2013}") } else { l.to_owned() })
        }),
        ("one line of a log", |f| match f.text.lines().count() {
            0..3 => f.text.clone(),
            _ => format!("\"{}\"", f.text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")),
        }),
        ("items of a list", |f| each(f, |_, l| format!("  \"{}\",", l.replace('\\', "\\\\").replace('"', "\\\"")))),
        ("a session around it", |f| {
            format!(
                "root@esx1's password:\nThe time and date of this login have been sent to the system logs.\n\n\
                 WARNING:\n   All commands run on the ESXi shell are logged and may be included in\n   \
                 support bundles. Do not provide passwords directly on the command line.\n   \
                 Most tools can prompt for secrets or accept them from standard input.\n\n\
                 [root@esx1:~] {}\n{}[root@esx1:~] exit\nConnection to esx1 closed.\n",
                f.command, f.text
            )
        }),
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

/// Cells of tables whose blanks a page made one: never another answer than the original's.
#[test]
fn tables_survive_lost_blanks_or_are_refused() {
    let (mut right, mut refused, mut wrong) = (0, 0, Vec::new());
    for f in fixtures().into_iter().filter(|f| !f.command.contains("--") && !f.command.contains('|')) {
        let ruler = |l: &str| l.contains("--") && l.chars().all(|c| c == '-' || c == ' ');
        if f.text.lines().filter(|l| ruler(l)).count() != 1 || f.text.lines().count() > 400 {
            continue;
        }
        let whole = answer(&f.command, &f.text).unwrap();
        let flat: String = f.text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect();
        match answer(&f.command, &flat) {
            Ok(got) if got == whole => right += 1,
            Ok(got) => wrong.push(format!("{}: {got}\nnot {whole}", f.name)),
            Err(_) => refused += 1,
        }
    }
    assert!(wrong.is_empty(), "{} wrong, {right} right, {refused} refused\n{}", wrong.len(), wrong.join("\n"));
    assert!(right > refused, "{right} right, {refused} refused");
}

/// Tables of known commands without their ruler, in the frames of other tables, and with lines left out.
#[test]
fn tables_survive_other_frames() {
    let mut wrong = Vec::new();
    let mut unruled = 0;
    for f in fixtures().into_iter().filter(|f| !f.command.contains("--") && !f.command.contains('|')) {
        let ruler = |l: &str| l.contains("--") && l.chars().all(|c| c == '-' || c == ' ');
        let lines: Vec<&str> = f.text.lines().collect();
        if lines.iter().filter(|l| ruler(l)).count() != 1 || !ruler(lines.get(1).copied().unwrap_or_default()) {
            continue;
        }
        let whole = answer(&f.command, &f.text).unwrap();
        let rows = whole.as_array().unwrap();
        if rows.is_empty() {
            continue;
        }
        let cells = |row: &Value| {
            row.as_object().unwrap().values().map(|c| c.as_str().unwrap()).collect::<Vec<_>>().join(" | ")
        };
        if !f.text.contains('|') {
            let keys: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
            let markdown = format!("| {} |\n|{}\n", keys.join(" | "), "---|".repeat(keys.len()));
            let markdown = markdown + &rows.iter().map(|r| format!("| {} |\n", cells(r))).collect::<String>();
            if answer(&f.command, &markdown) != Ok(whole.clone()) {
                wrong.push(format!("{} as markdown: {:?}", f.name, answer(&f.command, &markdown)));
            }
        }
        let mut elided = lines.clone();
        elided.insert(2, "...");
        elided.push("<snip>");
        let elided = elided.join("\n");
        if answer(&f.command, &elided) != Ok(whole.clone()) {
            wrong.push(format!("{} elided: {:?}", f.name, answer(&f.command, &elided)));
        }
        let bare: String = lines.iter().filter(|l| !ruler(l)).map(|l| format!("{l}\n")).collect();
        match answer(&f.command, &bare) {
            Ok(got) if got != whole => wrong.push(format!("{} without a ruler: {got}\nnot {whole}", f.name)),
            Ok(_) => unruled += 1,
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unruled > 10, "{unruled}");
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
        ("Usage: esxcli network nic {cmd} [cmd options]\n\nAvailable Commands:\n  list  x\n", "usage"),
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

mod properties {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::super::esxcli::known::KNOWN;
    use super::super::tools;
    use super::*;

    /// Pieces of real outputs, to get deeper than random text does.
    fn scraps() -> impl Strategy<Value = String> {
        let scrap = prop_oneof![
            Just("Name  Version  Vendor\n".to_owned()),
            Just("----  -------  ------\n".to_owned()),
            Just("   Label: value\n".to_owned()),
            Just("         Inner: \n".to_owned()),
            Just("heading\n".to_owned()),
            Just("\n".to_owned()),
            Just("Error: ".to_owned()),
            Just(" [NoMatchError]\n".to_owned()),
            Just("[root@esx:~] ".to_owned()),
            Just("<output><root><list type=\"string\">".to_owned()),
            Just("structure[0].A.B.string=".to_owned()),
            Just("{\"a\": [".to_owned()),
            Just("\u{1b}[0m\t\r\n--\n".to_owned()),
            "[ -~]{0,60}\n",
            "\\PC{0,20}",
        ];
        proptest::collection::vec(scrap, 0..14).prop_map(|s| s.concat())
    }

    fn word() -> impl Strategy<Value = String> {
        "[A-Za-z0-9][A-Za-z0-9._/()@-]{0,9}"
    }

    /// A cell or a value: words parted by single blanks, or nothing.
    fn phrase() -> impl Strategy<Value = String> {
        proptest::collection::vec(word(), 0..4).prop_map(|w| w.join(" "))
    }

    /// A table as esxcli prints it; columns with a flag are right-aligned.
    fn printed(columns: &[(String, bool)], rows: &[Vec<String>]) -> String {
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(n, (name, _))| rows.iter().map(|r| r[n].len()).chain([name.len()]).max().unwrap())
            .collect();
        let last = columns.len() - 1;
        let line = |cells: Vec<&str>| {
            let padded = cells.iter().zip(&widths).zip(columns).map(|((cell, width), (_, right))| {
                if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let mut out = line(columns.iter().map(|c| c.0.as_str()).collect());
        let dashes = |n: usize| "-".repeat(if n == last && !columns[n].1 { columns[n].0.len() } else { widths[n] });
        out += &((0..=last).map(dashes).collect::<Vec<_>>().join("  ") + "\n");
        for row in rows {
            out += &line(row.iter().map(String::as_str).collect());
        }
        out
    }

    fn table() -> impl Strategy<Value = (Vec<(String, bool)>, Vec<Vec<String>>)> {
        (2usize..7).prop_flat_map(|n| {
            let columns = proptest::collection::vec(any::<bool>(), n).prop_map(|flags| {
                flags.into_iter().enumerate().map(|(n, right)| (format!("Column {n}"), right)).collect::<Vec<_>>()
            });
            // The first cell is never empty: a row of blanks is no row.
            let row = (word(), proptest::collection::vec(phrase(), n - 1))
                .prop_map(|(first, rest)| std::iter::once(first).chain(rest).collect::<Vec<_>>());
            (columns, proptest::collection::vec(row, 1..6))
        })
    }

    proptest! {
        #[test]
        fn no_text_makes_any_family_panic(text in scraps(), n in any::<prop::sample::Index>(), pipe in 0usize..5) {
            let pipe = ["", " | grep x", " | head -3", " | awk '{print $1}'", " | grep -A3 y"][pipe];
            let known = KNOWN[n.index(KNOWN.len())].path;
            let mut commands = vec![format!("esxcli {known}{pipe}"), format!("esxcli some thing list{pipe}")];
            for formatter in ["csv", "xml", "keyvalue", "json"] {
                commands.push(format!("esxcli --formatter={formatter} {known}{pipe}"));
            }
            commands.extend(tools::FAMILIES.iter().map(|f| format!("{}{pipe}", f.example)));
            for command in commands {
                let _ = parse(&command, &Output::ok(text.as_str()));
            }
        }

        #[test]
        fn no_command_line_panics(command in "\\PC{0,40}", text in "\\PC{0,40}") {
            let _ = parse(&command, &Output::ok(text.as_str()));
            let _ = parse(&format!("esxcli {command}"), &Output::ok(text));
        }

        #[test]
        fn a_printed_table_comes_back((columns, rows) in table()) {
            let text = printed(&columns, &rows);
            let expected: Vec<Value> = rows.iter().map(|row| {
                let cells = columns.iter().zip(row).map(|((name, _), cell)| (name.clone(), json!(cell)));
                Value::Object(cells.collect::<Map<_, _>>())
            }).collect();
            prop_assert_eq!(answer("esxcli any thing list", &text), Ok(Value::Array(expected)), "{}", text);
        }

        #[test]
        fn printed_blocks_come_back(blocks in proptest::collection::vec((word(), proptest::collection::vec(phrase(), 4), phrase()), 1..5)) {
            let mut text = String::new();
            let mut expected = Vec::new();
            for (n, (heading, values, inner)) in blocks.iter().enumerate() {
                if n > 0 {
                    text += "\n";
                }
                text += &format!("{heading}\n");
                let mut map = Map::from_iter([("_heading".to_owned(), json!(heading))]);
                for (n, value) in values.iter().enumerate() {
                    text += &format!("   Label {n}: {value}\n");
                    map.insert(format!("Label {n}"), json!(value));
                }
                text += &format!("   Nested: \n         Inner: {inner}\n         Other: x\n   Last: 1\n");
                map.insert("Nested".into(), json!({"Inner": inner, "Other": "x"}));
                map.insert("Last".into(), json!("1"));
                expected.push(Value::Object(map));
            }
            prop_assert_eq!(answer("esxcli any thing list", &text), Ok(Value::Array(expected)), "{}", text);
        }
    }
}
