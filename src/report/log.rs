//! `esxprep log`: what runs did, from their journals. A stored run goes through the same reporter as a live one, so
//! both look alike.

use comfy_table::{Table, presets};

use super::sink::Stream;
use super::text::{count, one_line};
use super::{Human, ReportOptions, Reporter};
use crate::engine::journal::{Recorded, RunInfo, RunState};

/// Most host names shown in a row.
const MOST_NAMES: usize = 3;

/// The list of runs, in the given order (the newest first, as the journal lists them).
pub fn render_list(runs: &[RunInfo], options: &ReportOptions) -> String {
    if runs.is_empty() {
        return "No run is recorded yet.\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["run", "started (UTC)", "mode", "playbook", "hosts", "end"]);
    for RunInfo { meta, state } in runs {
        let names: Vec<_> = meta.hosts.iter().take(MOST_NAMES).map(|h| one_line(h)).collect();
        let more = meta.hosts.len().saturating_sub(MOST_NAMES);
        let hosts = names.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() };
        // Seconds are enough here.
        let started = meta.started.split('.').next().unwrap_or_default().replace('T', " ");
        table.add_row([
            one_line(&meta.run).into_owned(),
            one_line(&started).into_owned(),
            one_line(&meta.mode).into_owned(),
            one_line(&meta.name).into_owned(),
            hosts,
            ending(*state).to_owned(),
        ]);
    }
    if options.width > 0 {
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(options.width);
    }
    format!(
        "{table}\n{}. `esxprep log RUN` shows one (a beginning of its name, or `last`).\n",
        count(runs.len(), "run")
    )
}

/// What an exit code says.
fn ending(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Killed => "killed",
        RunState::Finished(0) => "all match",
        RunState::Finished(1) => "failed",
        RunState::Finished(3) => "changes pending",
        RunState::Finished(4) => "no host reached",
        RunState::Finished(130) => "interrupted",
        RunState::Finished(_) => "ended early",
    }
}

/// One run as it was shown when it ran, of many hosts too with every step.
pub fn render_run(run: &Recorded, options: &ReportOptions) -> String {
    let mut text = Vec::new();
    {
        let plain = ReportOptions { terminal: false, check: options.check || run.meta.mode != "apply", ..*options };
        let mut human = Human::new(&mut text, &plain).in_full();
        run.events.iter().for_each(|e| human.event(e));
        // Memory does not fail.
        let _ = human.finish();
    }
    let mut out = Stream::new(&mut text);
    if run.events.is_empty() {
        out.put(&format!("Run {} has no events: it ended before it reached a host.\n", one_line(&run.meta.run)));
    }
    if run.unreadable > 0 {
        out.put(&format!(
            "{} of the journal could not be read: the run was killed while writing, or a newer esxprep wrote it.\n",
            count(run.unreadable, "line")
        ));
    }
    String::from_utf8_lossy(&text).into_owned()
}
