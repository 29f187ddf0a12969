//! `--limit @failed` and `--limit @FILE`: parts of a limit that stand for hosts named elsewhere.

use super::hosts::Failure;
use crate::engine::journal::{Journal, RunState};
use crate::inventory::Inventory;

/// Hosts that a run left undone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Undone {
    /// The run.
    pub run: String,
    /// The hosts, in the order of the run.
    pub hosts: Vec<String>,
}

/// A limit without `@`.
#[derive(Debug, Clone, PartialEq)]
pub struct Spelled {
    /// The patterns, comma-separated.
    pub patterns: String,
    /// Runs whose hosts are among them.
    pub runs: Vec<Undone>,
}

/// Spells the parts of a limit out that begin with `@`. Where one is, parts are joined by commas only.
pub fn spell_out(limit: &str) -> Result<Spelled, Failure> {
    spelled(limit, &failed)
}

fn spelled(limit: &str, failed: &dyn Fn(Option<&str>) -> Result<Undone, Failure>) -> Result<Spelled, Failure> {
    let mut out = Spelled { patterns: limit.to_owned(), runs: Vec::new() };
    if !limit.split(',').any(|part| part.trim().trim_start_matches('!').starts_with('@')) {
        return Ok(out);
    }
    let mut parts: Vec<String> = Vec::new();
    for part in limit.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (not, what) = part.strip_prefix('!').map_or(("", part), |rest| ("!", rest));
        let Some(named) = what.strip_prefix('@') else {
            parts.push(part.to_owned());
            continue;
        };
        let hosts = match named.split_once(':') {
            _ if named == "failed" => run_hosts(failed(None)?, not.is_empty(), &mut out)?,
            Some(("failed", run)) => run_hosts(failed(Some(run))?, not.is_empty(), &mut out)?,
            _ => listed(named, not.is_empty())?,
        };
        parts.extend(hosts.into_iter().map(|host| format!("{not}{host}")));
    }
    out.patterns = parts.join(",");
    Ok(out)
}

/// The hosts of a run. That there are none is an end where they are asked for, and none the less to leave out otherwise.
fn run_hosts(undone: Undone, wanted: bool, out: &mut Spelled) -> Result<Vec<String>, Failure> {
    if wanted && undone.hosts.is_empty() {
        return Err(Failure::NothingToDo(format!(
            "--limit @failed: every host of run {} was done without a failure: nothing to do",
            undone.run
        )));
    }
    let hosts = undone.hosts.clone();
    if wanted {
        out.runs.push(undone);
    }
    Ok(hosts)
}

/// What a run left undone: of this one, else of the newest that is over.
fn failed(run: Option<&str>) -> Result<Undone, Failure> {
    let text = |e: crate::engine::journal::JournalError| Failure::Text(format!("--limit @failed: {e}"));
    let run = match run {
        Some(run) => run.to_owned(),
        None => {
            let over = |info: &crate::engine::journal::RunInfo| info.state != RunState::Running;
            let newest = Journal::list().map_err(text)?.into_iter().find(over);
            newest.map(|info| info.meta.run).ok_or_else(|| {
                Failure::Text(
                    "--limit @failed: there is no earlier run whose failed hosts could be taken; `esxprep log` lists the runs"
                        .into(),
                )
            })?
        }
    };
    let recorded = Journal::load(&run).map_err(text)?;
    Ok(Undone { hosts: recorded.undone(), run: recorded.meta.run })
}

/// The patterns of a file, one a line; `#` begins a comment.
fn listed(file: &str, wanted: bool) -> Result<Vec<String>, Failure> {
    let said = |why: String| Failure::Text(format!("--limit @{file}: {why}"));
    let text = std::fs::read_to_string(file).map_err(|e| {
        said(format!(
            "cannot read {file}: {e}. @FILE names a file with one host pattern a line, @failed the failed hosts of the last run"
        ))
    })?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let lines: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(said("the file names no host".into()));
    }
    if let Some(twice) = lines.iter().find(|line| !wanted && line.starts_with('!')) {
        return Err(said(format!(
            "`{twice}` in a list that is left out would be left out twice; write it without the `!`"
        )));
    }
    if let Some(nested) = lines.iter().find(|line| line.trim_start_matches('!').starts_with('@')) {
        return Err(said(format!("`{nested}`: a list names hosts, groups and globs only")));
    }
    Ok(lines)
}

/// That every host which runs left undone is in the inventory still.
pub fn known(runs: &[Undone], inventory: &Inventory) -> Result<(), Failure> {
    let has = |name: &String| inventory.hosts.iter().any(|h| h.name == *name);
    for undone in runs {
        let (left, gone): (Vec<String>, Vec<String>) = undone.hosts.iter().cloned().partition(has);
        if gone.is_empty() {
            continue;
        }
        let next = match left.len() {
            0 => "None of its failed hosts is in the inventory: is it the inventory of that run?".to_owned(),
            1..=20 => format!("For the others: --limit {}", left.join(",")),
            n => format!("Put the {n} others into a file, one a line, and use --limit @FILE"),
        };
        return Err(Failure::Text(format!(
            "--limit @failed: run {} left hosts undone that are not in the inventory any more: {}. {next}",
            undone.run,
            gone.join(", ")
        )));
    }
    Ok(())
}

/// The command line that does the undone hosts of this run again. Values of variables are not in it, as in the journal.
pub fn again(argv: &[String], run: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut argv = crate::engine::journal::redact_argv(argv).into_iter();
    while let Some(word) = argv.next() {
        match word.as_str() {
            "--limit" | "--resume" => {
                let _ = argv.next();
            }
            _ if word.starts_with("--limit=") || word.starts_with("--resume=") => {}
            _ => words.push(word),
        }
    }
    words.extend(["--limit".to_owned(), format!("@failed:{run}")]);
    shell_words::join(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(limit: &str, hosts: &[&str]) -> Result<Spelled, String> {
        let undone = Undone { run: "r1".into(), hosts: hosts.iter().map(|h| (*h).to_owned()).collect() };
        spelled(limit, &|run| match run {
            None | Some("r1") => Ok(undone.clone()),
            Some(other) => Err(Failure::Text(format!("no run {other}"))),
        })
        .map_err(|failure| match failure {
            Failure::Text(text) | Failure::NothingToDo(text) => text,
            Failure::Problems(problems) => problems.to_string(),
        })
    }

    #[test]
    fn failed_hosts_stand_among_other_patterns() {
        let patterns = |limit: &str| of(limit, &["esx1", "esx3"]).unwrap().patterns;
        assert_eq!(patterns("a:b,!c"), "a:b,!c");
        assert_eq!(patterns("@failed"), "esx1,esx3");
        assert_eq!(patterns("@failed:r1, lab,!esx3"), "esx1,esx3,lab,!esx3");
        assert_eq!(patterns("all,!@failed"), "all,!esx1,!esx3");
        assert!(of("@failed:r2", &[]).unwrap_err().contains("no run r2"));
        assert!(of("@failed", &[]).unwrap_err().contains("r1") && of("!@failed", &[]).unwrap().patterns.is_empty());
    }

    #[test]
    fn a_file_has_a_pattern_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            let path = dir.path().join("hosts.txt");
            std::fs::write(&path, text).unwrap();
            format!("@{}", path.display())
        };
        assert_eq!(of(&file("# rack 4\nesx1 # old\n\nlab\n"), &[]).unwrap().patterns, "esx1,lab");
        assert_eq!(of(&format!("all,!{}", file("esx1\nesx2")), &[]).unwrap().patterns, "all,!esx1,!esx2");
        assert!(of(&file("# none\n"), &[]).unwrap_err().contains("names no host"));
        assert!(of(&format!("!{}", file("!a")), &[]).unwrap_err().contains("twice"));
        assert!(of(&file("@failed"), &[]).unwrap_err().contains("only"));
        assert!(of("@nowhere.txt", &[]).unwrap_err().contains("@failed"), "it says what else it may mean");
    }

    #[test]
    fn the_command_that_does_the_rest_has_no_other_limit_and_no_secret() {
        let argv = ["esxprep", "apply", "a b.yml", "--limit", "x", "-e", "pw=sesame", "--resume=last", "-i", "h.yml"];
        let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
        assert_eq!(again(&argv, "r1"), "esxprep apply 'a b.yml' -e 'pw=***' -i h.yml --limit @failed:r1");
    }
}
