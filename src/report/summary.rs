//! The end of a run for people: the table, what failed, and one sentence on what happened and what to do next.

use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use console::Style;

use super::ReportOptions;
use super::collect::{Collected, HostRecord};
use super::lines::{Lines, MANY_HOSTS};
use super::text::{block, count, one_line, span};
use super::verdicts;
use crate::engine::events::{HostResult, Status, StepEvent};

/// The whole ending, with a blank line before it. `ended` is false when the run broke off.
pub(super) fn render(run: &Collected, options: &ReportOptions, lines: &Lines, ended: bool) -> String {
    let mut out = verdicts::render(run, options, lines);
    out.push('\n');
    out.push_str(&table(run, options, lines));
    out.push_str(&failures(run, lines));
    out.push('\n');
    out.push_str(&closing(run, options, ended));
    out
}

/// One row a host, and a total where there are several. Of many hosts those that are well have one row together.
fn table(run: &Collected, options: &ReportOptions, lines: &Lines) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let changed = if options.check || run.read_only() { "would change" } else { "changed" };
    let mut header = vec!["host", "ok", changed, "failed", "skipped"];
    header.extend(["reboots", "commands", "round trips", "seconds"]);
    table.set_header(header);

    let mut total = HostResult { host: "total".to_owned(), ..HostResult::default() };
    let mut styles = Vec::new();
    let many = run.hosts.len() > MANY_HOSTS;
    let bad = |record: &HostRecord, result: &HostResult| {
        record.error.is_some() || record.result.is_none() || result.failed > 0
    };
    let made = |(name, record): &(&String, &HostRecord)| {
        let result = record.result(name);
        result.changed > 0 && !bad(record, &result)
    };
    let few_changed = run.hosts.iter().filter(made).count() <= MANY_HOSTS;
    let mut rest = [("changed", 0, HostResult::default()), ("as they were", 0, HostResult::default())];
    if options.check || run.read_only() {
        (rest[0].0, rest[1].0) = ("that differ", "that match");
    }
    for (name, record) in &run.hosts {
        let result = record.result(name);
        let fate = match &record.error {
            Some(e) if e.unreachable => " (unreachable)",
            Some(_) => " (lost)",
            None if record.result.is_none() => " (not finished)",
            None => "",
        };
        add(&mut total, &result);
        if many && !bad(record, &result) && (result.changed == 0 || !few_changed) {
            let (_, hosts, sum) = &mut rest[usize::from(result.changed == 0)];
            *hosts += 1;
            add(sum, &result);
            continue;
        }
        table.add_row(cells(&format!("{}{fate}", one_line(name)), &result));
        styles.push(if record.error.is_some() || result.failed > 0 {
            Style::new().red()
        } else if result.changed > 0 {
            Style::new().yellow()
        } else {
            Style::new()
        });
    }
    for (what, hosts, sum) in rest.iter().filter(|(_, hosts, _)| *hosts > 0) {
        table.add_row(cells(&format!("{} {what}", count(*hosts, "host")), sum));
        styles.push(if sum.changed > 0 { Style::new().yellow() } else { Style::new() });
    }
    if run.hosts.len() > 1 {
        // Hosts run side by side: the run's wall time, not a sum.
        total.seconds = run.seconds.unwrap_or(total.seconds);
        table.add_row(cells("total", &total));
        styles.push(Style::new().bold());
    }
    for column in 1..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if options.width > 0 {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(options.width);
    }
    // The table knows nothing of colours: paint whole rows, where each is one line.
    let text = table.to_string();
    let rows: Vec<_> = text.lines().collect();
    let whole = rows.len() == styles.len() + 4;
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        let style = i.checked_sub(3).filter(|_| whole).and_then(|i| styles.get(i)).cloned();
        let row = style.map_or_else(|| (*row).to_owned(), |s| lines.paint(s, row));
        out.push_str(&row);
        out.push('\n');
    }
    out
}

/// Adds the counts; of the times the longest stays.
fn add(total: &mut HostResult, one: &HostResult) {
    total.ok += one.ok;
    total.changed += one.changed;
    total.failed += one.failed;
    total.skipped += one.skipped;
    total.reboots += one.reboots;
    total.commands += one.commands;
    total.round_trips += one.round_trips;
    total.seconds = total.seconds.max(one.seconds);
}

fn cells(name: &str, r: &HostResult) -> [String; 9] {
    let numbers = [r.ok, r.changed, r.failed, r.skipped, r.reboots].map(|n| n.to_string());
    let [ok, changed, failed, skipped, reboots] = numbers;
    let (commands, trips) = (r.commands.to_string(), r.round_trips.to_string());
    [name.to_owned(), ok, changed, failed, skipped, reboots, commands, trips, format!("{:.1}", r.seconds)]
}

/// The failed steps and the lost hosts once more, each on one line: they may have scrolled away.
fn failures(run: &Collected, lines: &Lines) -> String {
    let first = |text: &str| block(text).lines().next().unwrap_or_default().to_owned();
    let mut out = String::new();
    for (name, record) in &run.hosts {
        // What the list of controls says is not said again.
        let said = |s: &StepEvent| s.id.as_ref().is_some_and(|id| record.controls.iter().any(|c| c.id == *id));
        for (_, step) in record.steps.iter().filter(|(_, s)| s.status == Status::Failed && !said(s)) {
            let why = step.error.as_deref().map(|e| format!(": {}", first(e))).unwrap_or_default();
            let (kind, step_name) = (one_line(&step.kind), one_line(&step.name));
            let _ = writeln!(out, "  {}  step {}, {kind}, {step_name}{why}", one_line(name), step.step);
        }
        if let Some(error) = &record.error {
            let word = if error.unreachable { "not reached" } else { "lost" };
            let _ = writeln!(out, "  {}  {word}: {}", one_line(name), first(&error.text));
        }
    }
    if out.is_empty() { out } else { format!("\n{}\n{out}", lines.paint(Style::new().red().bold(), "What failed:")) }
}

/// What happened, what to do next, where the journal is.
fn closing(run: &Collected, options: &ReportOptions, ended: bool) -> String {
    let results: Vec<_> = run.hosts.iter().map(|(n, r)| r.result(n)).collect();
    let sum = |f: fn(&HostResult) -> usize| results.iter().map(f).sum::<usize>();
    let (ok, changed, failed) = (sum(|r| r.ok), sum(|r| r.changed), sum(|r| r.failed));
    let lost = run.hosts.values().filter(|r| r.error.is_some()).count();
    // What fails and is left to a person, or waived, or not judged: then the hosts do not simply match.
    let controls = run.hosts.values().any(|r| !r.controls.is_empty());
    let left = sum(|r| r.by_hand);
    let hosts = match run.hosts.len() {
        1 => "the host".to_owned(),
        2 => "both hosts".to_owned(),
        n => format!("all {n} hosts"),
    };
    let matches = if run.hosts.len() == 1 { "matches" } else { "match" };
    let took = run.seconds.map(|s| format!(" in {}", span(s))).unwrap_or_default();
    let check = options.check || run.read_only();
    let id = one_line(&run.run);

    let sentence = if !ended {
        let done = results.len() - unfinished(run);
        let next = if check { String::new() } else { format!(" Go on with `esxprep apply ... --resume {id}`.") };
        format!("The run broke off: {done} of {} finished.{next}", count(results.len(), "host"))
    } else if run.hosts.is_empty() {
        "No host was selected.".to_owned()
    } else if failed > 0 || lost > 0 {
        let mut what = Vec::new();
        if failed > 0 {
            what.push(format!("{} failed", count(failed, "step")));
        }
        if lost > 0 {
            what.push(format!("{} not reached or lost", count(lost, "host")));
        }
        let bad = run.hosts.iter().filter(|(n, r)| r.error.is_some() || r.result(n).failed > 0).count();
        let verb = if bad == 1 { "needs" } else { "need" };
        let next = match check {
            true => "Mend the cause and run it again.".to_owned(),
            false => format!("Mend the cause, then go on with `esxprep apply ... --resume {id}`."),
        };
        format!("{}{took}: {bad} of {} {verb} attention. {next}", what.join(", "), count(results.len(), "host"))
    } else if unfinished(run) > 0 {
        let left = unfinished(run);
        format!(
            "{left} of {} not begun: nothing was changed there. The notes above say why.",
            count(results.len(), "host")
        )
    } else if check && changed > 0 {
        let differ = results.iter().filter(|r| r.changed > 0).count();
        let verb = if differ == 1 { "differs" } else { "differ" };
        let of = count(results.len(), "host");
        let next = if options.diff { "" } else { " `--diff` shows the values." };
        let person = for_a_person(run);
        let would = match (changed.saturating_sub(person), person) {
            (0, n) => format!("{} left to a person.", count(n, "step")),
            (n, 0) => {
                format!("{} would change. `esxprep apply` without `--check` changes them.", count(n, "step"))
            }
            (n, person) => format!(
                "{} would change, {person} more are left to a person. `esxprep apply` without `--check` changes the first.",
                count(n, "step")
            ),
        };
        format!("{differ} of {of} {verb}: {would}{next}")
    } else if left > 0 {
        let verb = if left == 1 { "is" } else { "are" };
        let made = if changed > 0 { format!("{} changed, ", count(changed, "step")) } else { String::new() };
        let what = if controls { " The findings above say what to do." } else { "" };
        format!("{made}{} {verb} left to a person{took}.{what}", count(left, "step"))
    } else if changed == 0 && controls {
        format!("Nothing to change on {hosts} ({} ok{took}).", count(ok, "step"))
    } else if changed == 0 {
        format!("Nothing to do: {hosts} {matches} already ({} ok{took}).", count(ok, "step"))
    } else if controls {
        format!("{} changed on {hosts}, {ok} were right already{took}.", count(changed, "step"))
    } else {
        format!("Now {hosts} {matches}: {} changed, {ok} were right already{took}.", count(changed, "step"))
    };
    let mut letters = sentence.chars();
    let sentence = letters.next().map(|c| c.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default();
    format!("{sentence}\n{}Journal: esxprep log {id}\n", verdicts::closing(run))
}

/// Steps of a run that changes nothing which found only what no `apply` would change.
fn for_a_person(run: &Collected) -> usize {
    let by_hand = |s: &StepEvent| !s.changes.is_empty() && s.changes.iter().all(|c| c.by_hand.is_some());
    let steps = run.hosts.values().flat_map(|h| &h.steps);
    steps.filter(|(_, s)| s.status == Status::WouldChange && by_hand(s)).count()
}

/// Hosts of which neither the end nor the loss was told.
fn unfinished(run: &Collected) -> usize {
    run.hosts.values().filter(|r| r.result.is_none() && r.error.is_none()).count()
}
