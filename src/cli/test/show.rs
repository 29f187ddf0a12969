//! What `esxprep test` says: for people, as events, as JUnit XML, as an HTML page.

use std::io::{self, Write};
use std::time::Duration;

use console::Style;

use super::Results;
use super::judge::{Judged, Verdict};
use crate::engine::events::Event;
use crate::fixture::expect::DiffLine;
use crate::report::{OutputKind, ReportOptions, Trial, TrialJunit, one_line};

/// The reports that were asked for.
pub(super) struct Reports {
    human: bool,
    json: bool,
    junit: Vec<TrialJunit>,
    html: Vec<OutputKind>,
    options: ReportOptions,
}

/// So many pairs that were left out are named one by one.
const NAMED: usize = 12;

impl Reports {
    /// Fails when two want standard output or a file cannot be written.
    pub fn new(kinds: &[OutputKind], options: ReportOptions) -> Result<Self, String> {
        let on_stdout = kinds.iter().filter(|k| k.on_stdout()).count();
        if on_stdout > 1 {
            return Err(
                "two forms of output want standard output: give one of them a file, as in `--output junit=FILE`".into(),
            );
        }
        if kinds.iter().any(OutputKind::is_checklist) {
            return Err(
                "checklists are of hosts as they are: `apply` and `verify` write them, `esxprep test` does not".into(),
            );
        }
        let mut all = Self { human: on_stdout == 0, json: false, junit: Vec::new(), html: Vec::new(), options };
        for kind in kinds {
            match kind {
                OutputKind::Human => all.human = true,
                OutputKind::Json => all.json = true,
                OutputKind::Junit(_) => {
                    all.junit.extend(TrialJunit::new(kind).map_err(|e| format!("cannot write the report: {e}"))?)
                }
                OutputKind::Html(_) => all.html.push(kind.clone()),
                // Refused above.
                OutputKind::Ckl(_) | OutputKind::Cklb(_) | OutputKind::Xccdf(_) => {}
            }
        }
        Ok(all)
    }

    /// Writes all of them.
    pub fn write(&self, results: &Results, strict: bool, took: Duration) -> io::Result<()> {
        if self.json {
            let mut out = io::stdout().lock();
            for event in results.runs.iter().flat_map(|(_, events)| events) {
                let line = event.to_shown_line()?;
                let line = crate::report::json_shown(&line);
                if let Err(error) = writeln!(out, "{line}") {
                    if error.kind() == io::ErrorKind::BrokenPipe {
                        break;
                    }
                    return Err(error);
                }
            }
        }
        if self.human {
            super::super::print(self.people(results, strict, took, self.options.color));
        } else {
            // Standard output is somebody else's; what differs must be seen all the same.
            super::super::tell(self.people(results, strict, took, console::colors_enabled_stderr()).trim_end());
        }
        let trials = trials(results, strict);
        self.junit.iter().try_for_each(|junit| junit.write(&trials))?;
        for kind in &self.html {
            let mut page = crate::report::for_output(kind.clone(), &self.options)?;
            for event in combined(results) {
                page.event(&event);
            }
            page.finish()?;
        }
        Ok(())
    }

    fn people(&self, results: &Results, strict: bool, took: Duration, color: bool) -> String {
        let style = |s: Style| s.force_styling(color);
        let good = style(Style::new().green());
        let bad = style(Style::new().red());
        let dim = style(Style::new().dim());
        let width = |f: fn(&Judged) -> &str| results.cases.iter().map(|c| f(c).chars().count()).max().unwrap_or(0);
        let (playbooks, hosts) = (width(|c| &c.playbook), width(|c| &c.host));
        let mut out = String::new();
        for case in &results.cases {
            let word = word(&case.verdict);
            let painted = if case.failed(strict) { bad.apply_to(word) } else { good.apply_to(word) };
            let pad = " ".repeat(11_usize.saturating_sub(word.len()));
            let mode = if case.mode == "apply" { String::new() } else { format!(" ({})", case.mode) };
            out.push_str(&format!(
                "{painted}{pad}{:<playbooks$}  {:<hosts$}  {}{mode}\n",
                one_line(&case.playbook),
                one_line(&case.host),
                counts(case),
            ));
            for line in explanation(case) {
                out.push_str(&format!("    {}\n", one_line(&line)));
            }
            let diff = match &case.verdict {
                Verdict::Differs(comparison) => &comparison.diff[..],
                Verdict::Updated(diff) => &diff[..],
                _ => &[],
            };
            for line in diff {
                let text = line.to_string();
                let text = one_line(&text);
                let painted = match line {
                    DiffLine::Expected(_) => bad.apply_to(text).to_string(),
                    DiffLine::Happened(_) => good.apply_to(text).to_string(),
                    DiffLine::Gap(_) => dim.apply_to(text).to_string(),
                    DiffLine::Same(_) => text.into_owned(),
                };
                out.push_str(&format!("    {painted}\n"));
            }
        }
        out.push_str(&left_out(results));
        out.push_str(&self.sum(results, strict, took));
        out
    }

    fn sum(&self, results: &Results, strict: bool, took: Duration) -> String {
        let count = |f: fn(&Verdict) -> bool| results.cases.iter().filter(|c| f(&c.verdict)).count();
        let mut parts = Vec::new();
        let mut say = |number: usize, what: &str| {
            if number > 0 {
                parts.push(format!("{number} {what}"));
            }
        };
        say(count(|v| matches!(v, Verdict::Expected)), "as expected");
        say(count(|v| matches!(v, Verdict::Unchanged)), "the same already");
        say(count(|v| matches!(v, Verdict::Updated(_))), "written down");
        say(count(|v| matches!(v, Verdict::Unjudged)), "without an expectation");
        say(
            results.cases.iter().filter(|c| c.failed(strict) && !matches!(c.verdict, Verdict::Unjudged)).count(),
            "failed",
        );
        let total = results.cases.len();
        let mut out = format!(
            "{total} {} in {:.2} s: {}.\n",
            if total == 1 { "case" } else { "cases" },
            took.as_secs_f64(),
            parts.join(", ")
        );
        if count(|v| matches!(v, Verdict::Unjudged)) > 0 {
            out.push_str(
                "Without an expectation nothing was compared, only that no step fails; `--update` writes one down.\n",
            );
        }
        out
    }
}

/// One word for the beginning of the line.
fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Expected => "ok",
        Verdict::Unjudged => "ran",
        Verdict::Failed(_) => "FAILED",
        Verdict::Differs(_) => "DIFFERS",
        Verdict::Unknown(_) => "NOT KNOWN",
        Verdict::Untouched(_) => "NOT TRIED",
        Verdict::Updated(_) => "written",
        Verdict::Unchanged => "unchanged",
    }
}

fn counts(case: &Judged) -> String {
    let [ok, changed, skipped, failed] = case.account.counts();
    let mut parts = Vec::new();
    for (number, word) in [(ok, "ok"), (changed, "changed"), (skipped, "skipped"), (failed, "failed")] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    match case.reboots {
        0 => {}
        1 => parts.push("1 reboot".into()),
        n => parts.push(format!("{n} reboots")),
    }
    parts.join(", ")
}

fn explanation(case: &Judged) -> Vec<String> {
    let file = case.file.display();
    match &case.verdict {
        Verdict::Differs(comparison) => {
            let first = comparison.first.clone().unwrap_or_default();
            vec![first, format!("(- expected by {file}, + happened)")]
        }
        Verdict::Failed(why) => vec![why.clone(), format!("if that is right, `--update` writes it down in {file}")],
        Verdict::Unknown(all) => all.clone(),
        Verdict::Untouched(why) => vec![why.clone()],
        Verdict::Updated(_) => vec![format!("{file}")],
        Verdict::Expected | Verdict::Unjudged | Verdict::Unchanged => Vec::new(),
    }
}

fn left_out(results: &Results) -> String {
    let mut out = String::new();
    if results.left_out.len() <= NAMED {
        for (playbook, host, why) in &results.left_out {
            out.push_str(&format!("left out   {playbook} with {host}: {why}\n"));
        }
        return out;
    }
    let mut reasons: indexmap::IndexMap<&str, usize> = indexmap::IndexMap::new();
    for (.., why) in &results.left_out {
        *reasons.entry(why).or_default() += 1;
    }
    for (why, number) in reasons {
        out.push_str(&format!("left out   {number}: {why}\n"));
    }
    out
}

/// The cases for JUnit.
fn trials(results: &Results, strict: bool) -> Vec<Trial> {
    let mut all: Vec<Trial> = results
        .cases
        .iter()
        .map(|case| {
            let mut text = explanation(case).join("\n");
            if let Verdict::Differs(comparison) = &case.verdict {
                text.push('\n');
                text.push_str(&comparison.text());
            }
            let failure = case.failed(strict).then(|| {
                let first = text.lines().next().unwrap_or("nothing is expected of this host (--strict)").to_owned();
                (first, text)
            });
            let lines = case.account.lines.iter();
            let output = lines.map(|l| format!("{}{}\n", l.indent(), l.text)).collect();
            Trial {
                playbook: case.playbook.clone(),
                host: if case.mode == "apply" { case.host.clone() } else { format!("{} ({})", case.host, case.mode) },
                steps: case.steps.clone(),
                unexpected: matches!(case.verdict, Verdict::Failed(_)),
                seconds: case.seconds,
                failure,
                skipped: None,
                output,
            }
        })
        .collect();
    all.extend(results.left_out.iter().map(|(playbook, host, why)| Trial {
        playbook: playbook.clone(),
        host: host.clone(),
        steps: Vec::new(),
        unexpected: false,
        seconds: 0.0,
        failure: None,
        skipped: Some(why.clone()),
        output: String::new(),
    }));
    all
}

/// All runs as one, for a page: where there are several, each host is named with its playbook.
fn combined(results: &Results) -> Vec<Event> {
    let several = results.runs.len() > 1;
    let mut all = Vec::new();
    for (playbook, events) in &results.runs {
        for event in events {
            let mut event = event.clone();
            if several {
                event.kind.rename_host(|host| format!("{host} · {playbook}"));
            }
            all.push(event);
        }
    }
    all
}
