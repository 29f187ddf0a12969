//! The linter of install scripts: what the installer would refuse, what it would do that nobody wants, and what is
//! known to go wrong on a release or under QEMU. For `esxprep lab lint-ks`; also good alone, in CI.

use std::ops::Range;
use std::sync::Arc;

use super::Confidence;
use super::ks::grammar::{COMMANDS, FOREIGN, Line, OptionRule, SECTIONS, Takes, Words, behaviour, command_rule};
use crate::esxi::Version;
use crate::playbook::{Problem, SourceFile, Span, did_you_mean};

mod commands;
mod scan;
mod script;
#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;

use scan::{Word, scan};

/// Most findings given: a file that is no install script would have one for each line.
const MOST: usize = 200;
/// Longest script looked at.
pub const MAX_SCRIPT: usize = 1024 * 1024;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It will likely not do what is wanted.
    Warning,
    /// The installer refuses it, or the host would be unusable.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A short fixed name, for filters: `unknown-command`, `no-accepteula`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The bytes that it is about.
    #[serde(skip)]
    pub range: Range<usize>,
}

/// What the linter is told besides the text.
#[derive(Debug, Clone, Copy)]
pub struct LintOptions {
    /// The release that the script is for; none checks what holds for every release.
    pub release: Option<Version>,
    /// Whether it is for a machine under QEMU, whose CD cannot be ejected.
    pub qemu: bool,
    /// Whether the machine boots with Secure Boot; none if nobody knows.
    pub secure_boot: Option<bool>,
}

impl LintOptions {
    /// For a machine under QEMU without Secure Boot.
    pub fn qemu(release: Version) -> Self {
        Self { release: Some(release), qemu: true, secure_boot: Some(false) }
    }
}

/// Checks a script; findings are in the order of the text.
pub fn lint(text: &str, options: &LintOptions) -> Vec<Finding> {
    let mut lint = Linter { text, options, line: options.release.map(|v| (v.major, v.minor)), found: Vec::new() };
    if text.len() > MAX_SCRIPT {
        lint.at(0..0, Severity::Error, "too-long", format!("{} bytes are no install script", text.len()), None);
    } else {
        lint.run();
    }
    let mut found = lint.found;
    found.sort_by(|a, b| a.range.start.cmp(&b.range.start).then(b.severity.cmp(&a.severity)));
    found.truncate(MOST);
    found
}

/// The findings as problems in the file `name`, to be drawn like those of playbooks. A password that the script holds
/// in clear is blanked.
pub fn problems(name: &str, text: &str, findings: &[Finding]) -> Vec<Problem> {
    let secrets: Vec<Range<usize>> = scan(text)
        .commands
        .into_iter()
        .filter(|words| words.first().is_some_and(|w| w.text == "rootpw"))
        .flat_map(|words| words.into_iter().skip(1).filter(|w| !w.text.starts_with("--")).map(|w| w.range))
        .collect();
    let file: Arc<SourceFile> = SourceFile::new(name, text).hiding(&secrets);
    findings
        .iter()
        .map(|f| {
            let word = match f.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            Problem::at(&Span::new(&file, f.range.clone()), format!("{word}: {}", f.message), f.code)
                .maybe_help(f.help.clone())
        })
        .collect()
}

struct Linter<'a> {
    text: &'a str,
    options: &'a LintOptions,
    line: Option<Line>,
    found: Vec<Finding>,
}

impl Linter<'_> {
    fn at(
        &mut self,
        range: Range<usize>,
        severity: Severity,
        code: &'static str,
        message: String,
        help: Option<String>,
    ) {
        // Counting lines costs; nobody reads more than so many.
        if self.found.len() > 4 * MOST {
            return;
        }
        let before = &self.text[..range.start];
        let line = before.matches('\n').count() + 1;
        let column = before[before.rfind('\n').map_or(0, |n| n + 1)..].chars().count() + 1;
        self.found.push(Finding { severity, code, message, help, line, column, range });
    }

    fn error(&mut self, word: &Word, code: &'static str, message: String, help: impl Into<String>) {
        self.at(word.range.clone(), Severity::Error, code, message, Some(help.into()));
    }
    fn warn(&mut self, word: &Word, code: &'static str, message: String, help: impl Into<String>) {
        self.at(word.range.clone(), Severity::Warning, code, message, Some(help.into()));
    }
    fn note(&mut self, word: &Word, code: &'static str, message: String, help: impl Into<String>) {
        self.at(word.range.clone(), Severity::Note, code, message, Some(help.into()));
    }

    fn release(&self) -> String {
        self.options.release.map_or_else(|| "this release".into(), |v| v.line())
    }

    fn run(&mut self) {
        let scanned = scan(self.text);
        for (range, what) in &scanned.broken {
            self.at(range.clone(), Severity::Error, "quote", (*what).into(), Some("close it on the same line".into()));
        }
        for words in &scanned.commands {
            self.command(words);
        }
        self.whole(&scanned.commands);
        for section in &scanned.sections {
            self.section(&section.header);
            self.script(section);
        }
    }

    fn command(&mut self, words: &[Word]) {
        let Some((name, rest)) = words.split_first() else { return };
        let Some(rule) = command_rule(&name.text) else {
            return self.unknown_command(name);
        };
        if let (Some(line), Some(until)) = (self.line, rule.until)
            && line > until
        {
            self.warn(
                name,
                "no-effect",
                format!("`{}` has no effect on {}", name.text, self.release()),
                format!("it was last used by {}.{} ({})", until.0, until.1, rule.evidence.source),
            );
        }
        let plain = self.options_of(&name.text, rule.options, rest);
        match (rule.words, plain.as_slice()) {
            (Words::None, [first, ..]) => {
                let message = format!("`{}` takes no word `{}`", name.text, first.text);
                self.error(
                    first,
                    "extra-word",
                    message,
                    "an option begins with two dashes and has no blanks around `=`",
                );
            }
            (Words::One(what), []) => {
                self.error(
                    name,
                    "missing-word",
                    format!("`{}` needs {what}", name.text),
                    "write it behind the command",
                );
            }
            (Words::One(_), [_, second, ..]) => {
                self.error(
                    second,
                    "extra-word",
                    format!("`{}` takes one word only", name.text),
                    "put quotes around blanks",
                );
            }
            _ => {}
        }
        self.details(rule, name, rest, &plain);
    }

    fn unknown_command(&mut self, name: &Word) {
        let lower = name.text.to_ascii_lowercase();
        if let Some((_, help)) = FOREIGN.iter().find(|(foreign, _)| *foreign == lower) {
            return self.error(
                name,
                "foreign-command",
                format!("`{}` is no command of ESXi's installer", name.text),
                *help,
            );
        }
        let known = COMMANDS.iter().flat_map(|rule| [Some(rule.name), rule.alias]).flatten();
        if known.clone().any(|known| known == lower) {
            return self.error(name, "letter-case", format!("`{}` must be in small letters", name.text), lower);
        }
        let help = did_you_mean(&name.text, known, "commands");
        self.error(name, "unknown-command", format!("unknown command `{}`", name.text), help);
    }

    /// Checks options; gives back the words that are none.
    fn options_of<'w>(&mut self, owner: &str, rules: &'static [OptionRule], words: &'w [Word]) -> Vec<&'w Word> {
        let mut plain = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for word in words {
            if !word.text.starts_with('-') || word.quoted {
                plain.push(word);
                continue;
            }
            let (name, value) = match word.text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.text.as_str(), None),
            };
            let Some(rule) = rules.iter().find(|rule| rule.name.eq_ignore_ascii_case(name)) else {
                let help = did_you_mean(name, rules.iter().map(|rule| rule.name), "options");
                self.error(word, "unknown-option", format!("`{owner}` has no option `{name}`"), help);
                continue;
            };
            if seen.contains(&rule.name) {
                self.error(word, "twice", format!("`{name}` is given twice"), "leave one out");
            }
            seen.push(rule.name);
            self.age(word, owner, rule);
            self.value(word, rule, value);
        }
        plain
    }

    fn age(&mut self, word: &Word, owner: &str, rule: &OptionRule) {
        let (Some(line), release) = (self.line, self.release()) else { return };
        if line < rule.since {
            let message =
                format!("`{owner} {}` came with {}.{}, this is {release}", rule.name, rule.since.0, rule.since.1);
            let help = format!("leave it out ({})", rule.evidence.source);
            match rule.evidence.confidence {
                Confidence::High => self.error(word, "too-new", message, help),
                _ => self.warn(word, "too-new", message, help),
            }
        } else if let Some(until) = rule.until.filter(|until| line > *until) {
            let message =
                format!("`{owner} {}` was dropped after {}.{}, this is {release}", rule.name, until.0, until.1);
            self.warn(word, "too-old", message, format!("leave it out ({})", rule.evidence.source));
        }
    }

    fn value(&mut self, word: &Word, rule: &OptionRule, value: Option<&str>) {
        let name = rule.name;
        let (good, help): (bool, String) = match (rule.takes, value) {
            (Takes::Nothing, Some(_)) => (false, format!("write `{name}` alone")),
            (Takes::Nothing, None) | (Takes::Maybe, None) => (true, String::new()),
            (Takes::Maybe | Takes::Value, Some(value)) => {
                (!value.is_empty(), format!("write `{name}=VALUE`, no blanks"))
            }
            (Takes::OneOf(list), Some(value)) => {
                (list.contains(&value), did_you_mean(value, list.iter().copied(), "values"))
            }
            (Takes::Number(low, high), Some(value)) => (
                value.parse::<u32>().is_ok_and(|n| (low..=high).contains(&n)),
                format!("a number from {low} to {high}"),
            ),
            (Takes::Address, Some(value)) => {
                (value.parse::<std::net::Ipv4Addr>().is_ok(), "four numbers parted by dots".into())
            }
            (_, None) => (false, format!("write `{name}=VALUE`, no blanks")),
        };
        if !good {
            let what = value.map_or_else(|| format!("`{name}` needs a value"), |v| format!("`{name}` cannot be `{v}`"));
            self.error(word, "bad-value", what, help);
        }
    }

    fn section(&mut self, header: &[Word]) {
        let Some((name, rest)) = header.split_first() else { return };
        let Some(rule) = SECTIONS.iter().find(|rule| rule.name == name.text) else {
            if let Some((_, help)) = FOREIGN.iter().find(|(foreign, _)| *foreign == name.text) {
                return self.error(name, "foreign-section", format!("`{}` is no section of ESXi", name.text), *help);
            }
            let known = SECTIONS.iter().map(|rule| rule.name).chain(["%include"]);
            let help = did_you_mean(&name.text, known, "sections");
            return self.error(name, "unknown-section", format!("unknown section `{}`", name.text), help);
        };
        let plain = self.options_of(rule.name, rule.options, rest);
        if let Some(word) = plain.first() {
            self.error(
                word,
                "extra-word",
                format!("`{}` takes no word `{}`", rule.name, word.text),
                "options begin with --",
            );
        }
        for word in rest {
            if word.text == "--unsupported" && self.line.is_none() {
                self.warn(word, "too-old", "`--unsupported` is of 5.x".into(), "leave it out");
            }
        }
        if !rest.iter().any(|word| word.text.to_ascii_lowercase().starts_with("--interpreter")) {
            self.note(
                name,
                "no-interpreter",
                format!("`{}` does not say its interpreter", rule.name),
                "write --interpreter=busybox or --interpreter=python, so that nobody must know the default",
            );
        }
        if rule.name == "%firstboot" {
            match self.options.secure_boot {
                Some(true) => self.error(
                    name,
                    "secure-boot",
                    "%firstboot never runs under Secure Boot".into(),
                    "switch Secure Boot off for the first boot, or do this over SSH after the install",
                ),
                None => self.note(
                    name,
                    "secure-boot",
                    "%firstboot does not run where Secure Boot is on".into(),
                    "do it over SSH after the install where that matters",
                ),
                Some(false) => {}
            }
        }
    }

    /// What must be in the script as a whole.
    fn whole(&mut self, commands: &[Vec<Word>]) {
        let all = |name: &str| -> Vec<Word> {
            let rule = command_rule(name);
            let same = |w: &&Word| rule.is_some_and(|r| r.name == w.text || r.alias == Some(w.text.as_str()));
            commands.iter().filter_map(|words| words.first()).filter(same).cloned().collect()
        };
        let includes = !all("include").is_empty();
        let start = Word { text: String::new(), range: 0..0, quoted: false };
        // A file that %pre writes may hold what is missing here.
        let severity = if includes { Severity::Note } else { Severity::Error };
        let mut missing = |code, message: &str, help: &str| {
            self.at(start.range.clone(), severity, code, message.into(), Some(help.into()));
        };
        if all("accepteula").is_empty() {
            missing("no-accepteula", "`accepteula` is missing: the installer stops", "add a line `accepteula`");
        }
        if all("rootpw").is_empty() {
            missing("no-rootpw", "`rootpw` is missing: the installer stops", "add `rootpw --iscrypted $6$...`");
        }
        let installs: Vec<Word> = ["install", "upgrade", "installorupgrade"].iter().flat_map(|n| all(n)).collect();
        if installs.is_empty() {
            let message = "none of `install`, `upgrade`, `installorupgrade` is there";
            missing("no-install", message, "add `install --firstdisk --overwritevmfs`");
        }
        if let Some(second) = installs.get(1) {
            self.error(second, "two-installs", "a second install command".into(), "keep one of them");
        }
        for name in ["rootpw", "keyboard", "reboot", "accepteula"] {
            if let Some(second) = all(name).get(1) {
                self.warn(second, "twice", format!("`{name}` is there twice"), "keep one of them");
            }
        }
        if all("network").is_empty() && !includes {
            let message = "no `network` line: the installer takes DHCP on the first NIC".to_owned();
            self.at(
                0..0,
                Severity::Note,
                "no-network",
                message,
                Some("add `network --bootproto=dhcp --device=MAC`".into()),
            );
        }
        if all("reboot").is_empty() {
            let message = "no `reboot`: the installer waits for a key at the end".to_owned();
            self.at(0..0, Severity::Warning, "no-reboot", message, Some("add `reboot --noeject`".into()));
        }
        if let Some(dry) = all("dryrun").first() {
            self.note(dry, "dryrun", "`dryrun`: nothing is installed".into(), "take it out for a real install");
        }
    }
}

/// How a release behaves where the script does not say one.
fn ed25519_refused(line: Option<Line>) -> Option<&'static str> {
    let row = behaviour(line?);
    (!row.ed25519).then_some(row.reason)
}
