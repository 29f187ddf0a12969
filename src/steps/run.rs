//! `run`: any command, for what no other kind does.
//!
//! What is `read_only` is one of the reads and is judged there. `creates` and `unless` are reads too, so a second
//! run finds nothing to do; without them a command runs every time and cannot be proved by reading again.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::sysargs::{OneOrMany, Pattern, Span};
use super::{Action, Change, Kind, Seen, Step, StepError, Verdict, parse_as};
use crate::esxi::failure::failure;
use crate::esxi::{Command, HostFacts, Output, forms};

/// The kind.
pub const KIND: Kind = Kind {
    name: "run",
    about: "Runs a command; `creates` or `unless` keep it from running again, `expect` says what is right",
    example: "\
- run:
    command: esxcli storage core adapter rescan --all
    unless: test -e /vmfs/volumes/datastore1
    expect:
      exit: 0
      not_stdout: Error
",
    parse,
    schema: |generator| {
        let full = generator.subschema_for::<RunSpec>();
        schemars::json_schema!({ "anyOf": [{ "type": "string", "description": "The command." }, full] })
    },
};

/// A command for the host's shell. It runs as written: quoting is the writer's. A plain text is its `command`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// The command line.
    command: String,
    /// An absolute path: when it exists, the command is not run.
    #[serde(default)]
    creates: Option<String>,
    /// A command that changes nothing: when it ends with exit code 0, the command is not run.
    #[serde(default)]
    unless: Option<String>,
    /// The command changes nothing: it is run with `--check` too, and never counts as a change.
    #[serde(default)]
    read_only: bool,
    /// When the command counts as a change: always (`true`, the default), never (`false`), or when what it printed
    /// matches.
    #[serde(default)]
    changed_when: Option<ChangedWhen>,
    /// What must come back.
    #[serde(default)]
    expect: Expect,
    /// Text for the command's standard input.
    #[serde(default)]
    stdin: Option<String>,
    /// The longest time that the command may take.
    #[serde(default)]
    timeout: Option<Span>,
    /// The command or its output holds a secret: neither is shown, recorded nor registered.
    #[serde(default)]
    secret: bool,
    /// What the command changed acts at the next boot.
    #[serde(default)]
    reboot: bool,
}

/// When a command counts as a change.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected true, false, or patterns: stdout, stderr, exit")]
enum ChangedWhen {
    /// Always or never.
    Fixed(bool),
    /// When every pattern given matches.
    Matches(Matches),
}

/// Patterns on what a command printed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Matches {
    /// A regular expression for standard output; `^` and `$` match at every line.
    #[serde(default)]
    stdout: Option<Pattern>,
    /// A regular expression for standard error.
    #[serde(default)]
    stderr: Option<Pattern>,
    /// Exit codes.
    #[serde(default)]
    exit: Option<OneOrMany<i32>>,
}

/// What a command must come back with. Without `exit`: exit code 0, and no text that is an error of esxcli.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The exit codes that are right; then the text alone is no failure.
    #[serde(default)]
    exit: Option<OneOrMany<i32>>,
    /// A regular expression that standard output must match; `^` and `$` match at every line.
    #[serde(default)]
    stdout: Option<Pattern>,
    /// A regular expression that standard error must match.
    #[serde(default)]
    stderr: Option<Pattern>,
    /// A regular expression that standard output must not match.
    #[serde(default)]
    not_stdout: Option<Pattern>,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RunSpec")]
pub struct Run {
    spec: RunSpec,
}

impl TryFrom<RunSpec> for Run {
    type Error = String;

    fn try_from(spec: RunSpec) -> Result<Self, String> {
        if spec.command.trim().is_empty() {
            return Err("`command` is empty".into());
        }
        if spec.read_only
            && (spec.creates.is_some() || spec.unless.is_some() || spec.changed_when.is_some() || spec.reboot)
        {
            return Err("a `read_only` command changes nothing: `creates`, `unless`, `changed_when` and `reboot` do not go with it".into());
        }
        if let Some(path) = &spec.creates
            && !path.starts_with('/')
        {
            return Err(format!("`creates` needs an absolute path, not {path:?}"));
        }
        Ok(Self { spec })
    }
}

fn parse(value: Value) -> Result<Box<dyn Step>, serde_path_to_error::Error<serde_json::Error>> {
    parse_as::<Run>(if value.is_string() { json!({ "command": value }) } else { value })
}

/// The first line, cut short, for a summary.
fn short(text: &str) -> String {
    let mut lines = text.trim().lines();
    let first = lines.next().unwrap_or("").trim();
    let cut: String = first.chars().take(100).collect();
    if cut.len() < first.len() || lines.next().is_some() { format!("{cut} ...") } else { cut }
}

/// What a command said, cut short, for an error.
fn said(output: &Output) -> String {
    let text = format!("{} {}", output.stdout, output.stderr);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        return "it printed nothing".into();
    }
    let cut: String = text.chars().take(400).collect();
    if cut.len() < text.len() { format!("it printed: {cut} ...") } else { format!("it printed: {cut}") }
}

impl Run {
    fn command(&self) -> Command {
        let mut command = Command::raw(self.spec.command.trim());
        if let Some(stdin) = &self.spec.stdin {
            command = command.stdin(stdin.as_bytes());
        }
        if let Some(Span(limit)) = self.spec.timeout {
            command = command.timeout(limit);
        }
        if self.spec.secret { command.secret() } else { command }
    }

    fn creates(&self) -> Option<Command> {
        self.spec.creates.as_ref().map(|path| Command::new("test -e").arg(path))
    }

    fn unless(&self) -> Option<Command> {
        self.spec.unless.as_ref().map(|text| {
            let command = Command::raw(text.trim());
            if self.spec.secret { command.secret() } else { command }
        })
    }

    fn check(&self, output: &Output) -> Result<(), StepError> {
        let command = self.command();
        let said = || if self.spec.secret { "its output is not shown".to_owned() } else { said(output) };
        let failed = |message: String, advice: Option<&str>| {
            let advice = advice.map(str::to_owned);
            Err(StepError::Command { command: command.shown().to_owned(), message, advice })
        };
        let expect = &self.spec.expect;
        match &expect.exit {
            Some(codes) if !codes.items().contains(&output.code) => {
                let wanted: Vec<String> = codes.items().iter().map(i32::to_string).collect();
                return failed(
                    format!("exit code {}, expected {}; {}", output.code, wanted.join(" or "), said()),
                    None,
                );
            }
            Some(_) => {}
            None => {
                if let Some(found) = failure(output) {
                    let message = if self.spec.secret { said() } else { found.said() };
                    let advice =
                        "If that is right for this command, say which exit codes are: `expect: {exit: [...]}`.";
                    return failed(message, Some(advice));
                }
            }
        }
        let texts =
            [("standard output", &expect.stdout, &output.stdout), ("standard error", &expect.stderr, &output.stderr)];
        for (name, pattern, text) in texts {
            if let Some(pattern) = pattern
                && !pattern.is_match(text)
            {
                return failed(format!("{name} does not match /{pattern}/; {}", said()), None);
            }
        }
        match &expect.not_stdout {
            Some(pattern) if pattern.is_match(&output.stdout) => {
                failed(format!("standard output matches /{pattern}/ and must not; {}", said()), None)
            }
            _ => Ok(()),
        }
    }

    fn changed(&self, output: &Output) -> Option<bool> {
        match self.spec.changed_when.as_ref()? {
            ChangedWhen::Fixed(changed) => Some(*changed),
            ChangedWhen::Matches(m) => Some(
                m.stdout.as_ref().is_none_or(|p| p.is_match(&output.stdout))
                    && m.stderr.as_ref().is_none_or(|p| p.is_match(&output.stderr))
                    && m.exit.as_ref().is_none_or(|codes| codes.items().contains(&output.code)),
            ),
        }
    }
}

impl Step for Run {
    fn summary(&self) -> String {
        if self.spec.secret {
            "run a command that is not shown".into()
        } else {
            format!("run {}", short(&self.spec.command))
        }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        if self.spec.read_only {
            return vec![self.command()];
        }
        self.creates().into_iter().chain(self.unless()).collect()
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        if self.spec.read_only {
            return self.check(seen.raw(&self.command())?).map(|()| Vec::new());
        }
        let mut before = Vec::new();
        if let (Some(read), Some(path)) = (self.creates(), &self.spec.creates) {
            if seen.raw(&read)?.code == 0 {
                return Ok(Vec::new());
            }
            before.push(format!("{path} does not exist"));
        }
        if let Some(read) = self.unless() {
            let output = seen.raw(&read)?;
            if output.code == 0 {
                return Ok(Vec::new());
            }
            if output.code == 127 {
                let message = format!("the shell does not know it; {}", said(output));
                return Err(StepError::Command { command: read.shown().to_owned(), message, advice: None });
            }
            before.push(format!("`{}` ends with exit code {}", read.shown(), output.code));
        }
        let mut change = Change {
            summary: self.summary(),
            before: before.join(", "),
            after: "run".into(),
            actions: vec![Action::Run(self.command())],
            ..Change::default()
        };
        change.effect.reboot = self.spec.reboot;
        Ok(vec![change])
    }

    fn judge(&self, _action: &Command, output: &Output) -> Result<Verdict, StepError> {
        self.check(output)?;
        let reboot = output.stdout.lines().any(|l| l.trim() == "Reboot Required: true");
        Ok(Verdict { reboot, changed: self.changed(output), note: None })
    }

    fn secrets(&self) -> Vec<(&'static str, String)> {
        if !self.spec.secret {
            return Vec::new();
        }
        let trimmed = |text: &String| text.trim().to_owned();
        let parts = [
            ("command", Some(trimmed(&self.spec.command))),
            ("unless", self.spec.unless.as_ref().map(trimmed)),
            ("stdin", self.spec.stdin.as_ref().map(trimmed)),
        ];
        parts.into_iter().filter_map(|(part, text)| Some((part, text?))).collect()
    }

    fn verifiable(&self) -> bool {
        self.spec.read_only || self.spec.creates.is_some() || self.spec.unless.is_some()
    }

    fn proved_by_reboot(&self) -> bool {
        self.spec.reboot
    }

    fn register(&self, seen: &Seen<'_>, ran: &[(Command, Output)]) -> Value {
        let command = self.command();
        let output = match ran.iter().rev().find(|(c, _)| *c == command) {
            Some((_, output)) => output,
            None if self.spec.read_only => match seen.raw(&command) {
                Ok(output) => output,
                Err(_) => return Value::Null,
            },
            None => return Value::Null,
        };
        if self.spec.secret {
            return json!({ "code": output.code });
        }
        let mut kept = json!({
            "stdout": output.stdout,
            "stderr": output.stderr,
            "code": output.code,
            "lines": output.stdout.lines().collect::<Vec<_>>(),
        });
        if let Ok(rows) = forms::table(&output.stdout)
            && !rows.is_empty()
        {
            kept["rows"] = json!(rows);
        } else if output.stdout.starts_with("   ")
            && let Ok(record) = forms::record(&output.stdout)
            && !record.is_empty()
        {
            kept["record"] = json!(record);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::esxi::{Outputs, Version, recorded};
    use crate::steps::Artifacts;

    fn step(value: Value) -> Box<dyn Step> {
        (KIND.parse)(value).unwrap()
    }

    fn out(code: i32, stdout: &str, stderr: &str) -> Output {
        Output { stdout: stdout.into(), stderr: stderr.into(), code, ..Output::default() }
    }

    fn with<T>(outputs: &[(&str, Output)], f: impl FnOnce(&Seen<'_>) -> T) -> T {
        let host = HostFacts::example(Version::new(7, 0));
        let mut seen = Outputs::default();
        for (command, output) in outputs {
            seen.insert(&Command::raw(*command), output.clone());
        }
        f(&Seen { host: &host, outputs: &seen, artifacts: &Artifacts::default() })
    }

    fn reads(step: &dyn Step) -> Vec<String> {
        step.reads(&HostFacts::example(Version::new(7, 0))).iter().map(|c| c.text().to_owned()).collect()
    }

    #[test]
    fn a_plain_text_always_runs_and_cannot_be_proved() {
        let run = step(json!("  echo a b | cat "));
        assert!(reads(&*run).is_empty() && !run.verifiable());
        let changes = with(&[], |seen| run.compare(seen)).unwrap();
        let Action::Run(command) = &changes[0].actions[0] else { panic!("not a command") };
        assert_eq!(command.text(), "echo a b | cat");
        assert_eq!(changes[0].summary, "run echo a b | cat");
    }

    #[test]
    fn creates_and_unless_keep_it_from_running_again() {
        let run = step(json!({"command": "make it", "creates": "/vmfs/volumes/a b/x", "unless": "grep -q x /etc/y"}));
        assert_eq!(reads(&*run), ["test -e '/vmfs/volumes/a b/x'", "grep -q x /etc/y"]);
        assert!(run.verifiable());
        let go = |creates, unless| {
            let seen =
                [("test -e '/vmfs/volumes/a b/x'", out(creates, "", "")), ("grep -q x /etc/y", out(unless, "", ""))];
            with(&seen, |seen| run.compare(seen))
        };
        assert!(go(0, 1).unwrap().is_empty());
        assert!(go(1, 0).unwrap().is_empty());
        let changes = go(1, 1).unwrap();
        assert!(changes[0].before.contains("/vmfs/volumes/a b/x does not exist"));
        assert!(go(1, 127).is_err());
    }

    #[test]
    fn what_is_read_only_is_judged_where_it_is_read() {
        let run = step(
            json!({"command": "esxcli system maintenanceMode get", "read_only": true, "expect": {"stdout": "^Disabled$"}}),
        );
        assert_eq!(reads(&*run), ["esxcli system maintenanceMode get"]);
        let off = recorded(include_str!("../../fixtures/transcripts/5.x/maintenancemode-get-disabled.txt"));
        let on = recorded(include_str!("../../fixtures/transcripts/5.x/maintenancemode-get-enabled.txt"));
        let go =
            |text: &str| with(&[("esxcli system maintenanceMode get", out(0, text, ""))], |seen| run.compare(seen));
        assert!(go(&off).unwrap().is_empty());
        let said = go(&on).unwrap_err().to_string();
        assert!(said.contains("/^Disabled$/") && said.contains("Enabled"), "{said}");
    }

    #[test]
    fn the_text_decides_where_exit_code_0_lies() {
        let run = step(json!("esxcli network"));
        let judge = |run: &dyn Step, output: Output| run.judge(&Command::raw("x"), &output);
        assert!(judge(&*run, out(0, "Usage: esxcli network {cmd} [cmd options]\n", "")).is_err());
        assert!(judge(&*run, out(0, "Error: Invalid option --test\n", "")).is_err());
        assert!(judge(&*run, out(1, "", "")).unwrap_err().to_string().contains("expect: {exit"));
        let silent = recorded(include_str!("../../fixtures/transcripts/8.0/error-profile-update-memoryerror.txt"));
        assert!(judge(&*run, out(1, &silent, "")).unwrap_err().to_string().contains("[MemoryError] without a message"));
        assert!(judge(&*run, out(0, "all is well", "")).is_ok());
        let grep =
            step(json!({"command": "grep x y", "expect": {"exit": [0, 1], "stderr": "^$", "not_stdout": "bad"}}));
        assert!(judge(&*grep, out(1, "", "")).is_ok());
        assert!(judge(&*grep, out(2, "", "")).unwrap_err().to_string().contains("expected 0 or 1"));
        assert!(judge(&*grep, out(0, "a bad thing", "")).unwrap_err().to_string().contains("must not"));
        assert!(judge(&*grep, out(0, "", "oh")).is_err());
    }

    #[test]
    fn changed_when_and_reboots_are_read_from_the_text() {
        let run = step(json!({"command": "x", "changed_when": {"stdout": "^changed"}}));
        let judge = |run: &dyn Step, text: &str| run.judge(&Command::raw("x"), &out(0, text, "")).unwrap();
        assert_eq!(judge(&*run, "a\nchanged it\n").changed, Some(true));
        assert_eq!(judge(&*run, "unchanged\n").changed, Some(false));
        assert_eq!(judge(&*step(json!({"command": "x", "changed_when": false})), "").changed, Some(false));
        assert_eq!(judge(&*step(json!("x")), ""), Verdict::default());
        assert!(judge(&*step(json!("x")), "   Message: ok\n   Reboot Required: true\n").reboot);
    }

    #[test]
    fn registers_text_and_what_can_be_read_of_it() {
        let table = recorded(include_str!("../../fixtures/transcripts/6.7/storage-vmfs-extent-list.txt"));
        let run = step(json!({"command": "x", "read_only": true}));
        let kept = with(&[("x", out(0, &table, ""))], |seen| run.register(seen, &[]));
        assert_eq!(kept["rows"][0]["Volume Name"], "VMs");
        assert_eq!(kept["lines"].as_array().unwrap().len(), 3);
        let ntp = recorded(include_str!("../../fixtures/transcripts/7.0/system-ntp-get.txt"));
        let run = step(json!("y"));
        let kept = with(&[], |seen| run.register(seen, &[(Command::raw("y"), out(0, &ntp, ""))]));
        assert_eq!(kept["record"]["Enabled"], "true");
        assert_eq!(kept["code"], 0);
        assert!(kept.get("rows").is_none());
    }

    #[test]
    fn a_secret_is_neither_shown_nor_kept() {
        let run = step(json!({"command": "login hunter2", "stdin": "hunter2", "secret": true, "timeout": "5s"}));
        let change = with(&[], |seen| run.compare(seen)).unwrap().remove(0);
        assert!(!format!("{change:?} {}", run.summary()).contains("hunter2"));
        let Action::Run(command) = &change.actions[0] else { panic!("not a command") };
        assert_eq!(command.stdin_bytes(), Some(b"hunter2".as_slice()));
        assert_eq!(command.time_limit(), Some(Duration::from_secs(5)));
        let bad = out(1, "no: hunter2", "");
        assert!(!run.judge(command, &bad).unwrap_err().to_string().contains("hunter2"));
        let kept = with(&[], |seen| run.register(seen, &[(command.clone(), out(0, "hunter2", ""))]));
        assert_eq!(kept, json!({"code": 0}));
    }

    #[test]
    fn nonsense_is_refused() {
        let error = |value: Value| (KIND.parse)(value).unwrap_err().to_string();
        assert!(error(json!("")).contains("empty"));
        assert!(error(json!({"command": "x", "creates": "x"})).contains("absolute"));
        assert!(error(json!({"command": "x", "read_only": true, "unless": "y"})).contains("changes nothing"));
        assert!(error(json!({"command": "x", "expect": {"stdout": "("}})).contains("regular expression"));
    }
}
