//! Proof over SSH: a host answers, sees the disks of its stage, has its boot bank on one of them, and has kept what
//! was applied.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::access;
use super::session::{Session, WorkError};
use crate::engine::events::Event;
use crate::engine::identify::identify;
use crate::engine::journal::{Journal, NewRun};
use crate::engine::{Context, Mode, RunOptions};
use crate::esxi::failure::{Class, failure};
use crate::esxi::{Command, HostFacts, Output, forms};
use crate::lab::plan::{Host, Stage};
use crate::playbook::Playbook;
use crate::transport::{Connector, Connectors, Request};

/// Between two looks whether SSH answers.
const PAUSE: Duration = Duration::from_millis(500);
/// For hostd to answer after a boot or a restart.
const AGENT: Duration = Duration::from_secs(300);
/// MiB by which a guest's idea of a disk may differ from ours (seen: none; a partition table counted away would be less).
const SIZE_SLACK: u64 = 4;

/// Waits until a host's SSH answers, or `gone` says that there is nobody any more.
///
/// # Errors
/// `gone`'s reason, or the time is over.
pub async fn answers(
    session: &Session,
    host: &Host,
    limit: Duration,
    gone: impl Fn() -> Option<WorkError> + Send,
) -> Result<(), WorkError> {
    let target = access::target_of(&session.place, &session.plan, &host.name)?.target;
    let connector = Connectors::default();
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        session.interrupted()?;
        if connector.listening(&target, Duration::from_secs(5)).await {
            return Ok(());
        }
        if let Some(error) = gone() {
            return Err(error);
        }
        if tokio::time::Instant::now() > deadline {
            return Err(WorkError::said(format!(
                "{}: SSH did not answer at {} within {} s",
                host.name,
                target.socket(),
                limit.as_secs()
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Logs in and says what the host is; its host key is known from then on.
///
/// # Errors
/// The login failed, or it is no ESXi.
pub async fn who(session: &Session, host: &Host) -> Result<HostFacts, WorkError> {
    let target = access::target_of(&session.place, &session.plan, &host.name)?.target;
    identify(Arc::new(Connectors::default()), target).await.map_err(|e| WorkError::said(format!("{}: {e}", host.name)))
}

/// Looks that a host sees the disks of its stage and that its changes last.
///
/// # Errors
/// What it does not see, and what that means.
pub async fn hardware(session: &Session, host: &Host, stage: &Stage) -> Result<String, WorkError> {
    let facts = who(session, host).await?;
    if !facts.persistent {
        return Err(WorkError::said(format!(
            "{}: on the hardware of stage `{}` it does not see its boot disk (boot bank {}): it runs from memory and \
             forgets every change. A driver that hides the controller must be disabled in an earlier stage, on \
             hardware that it can see (IDE)",
            host.name, stage.name, facts.bootbank
        )));
    }
    let seen = sizes(session, host).await?;
    let wanted: Vec<(String, u64)> = stage
        .expect_disks
        .iter()
        .filter_map(|id| host.disks.iter().find(|d| &d.id == id))
        .map(|d| (d.id.clone(), d.size >> 20))
        .collect();
    let missing = missing(&wanted, &seen);
    if !missing.is_empty() {
        return Err(WorkError::said(format!(
            "{}: on the hardware of stage `{}` it does not see {} (it sees disks of {} MiB)",
            host.name,
            stage.name,
            missing.join(", "),
            seen.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(format!("boot bank on disk, {} of {} disks seen", wanted.len(), wanted.len()))
}

/// Disks that are wanted (id and MiB) and not among those seen.
fn missing(wanted: &[(String, u64)], seen: &[u64]) -> Vec<String> {
    let mut left = seen.to_vec();
    let mut missing = Vec::new();
    for (id, size) in wanted {
        match left.iter().position(|s| s.abs_diff(*size) <= SIZE_SLACK) {
            Some(at) => drop(left.swap_remove(at)),
            None => missing.push(format!("disk `{id}` of {size} MiB")),
        }
    }
    missing
}

/// Sizes in MiB of the disks that a host sees.
async fn sizes(session: &Session, host: &Host) -> Result<Vec<u64>, WorkError> {
    let command = Command::esxcli("storage core device list");
    let text = ask(session, host, &command).await?;
    let records = forms::records(&text)
        .map_err(|e| WorkError::said(format!("{}: `{}` printed something else: {e}", host.name, command.text())))?;
    let is_disk = |record: &forms::Record| record.get("Device Type").is_none_or(|t| t == "Direct-Access");
    Ok(records
        .iter()
        .filter(|(_, record)| is_disk(record))
        .filter_map(|(_, record)| record.get("Size")?.parse().ok())
        .collect())
}

/// What a command prints on a host. While hostd is still starting, it is asked again.
///
/// # Errors
/// No session, or the command failed.
pub async fn ask(session: &Session, host: &Host, command: &Command) -> Result<String, WorkError> {
    let target = access::target_of(&session.place, &session.plan, &host.name)?.target;
    let said = |e: &dyn std::fmt::Display| WorkError::said(format!("{}: {e}", host.name));
    let request = Request {
        script: command.text().to_owned(),
        stdin: None,
        timeout: Duration::from_secs(120),
        secret: false,
        changes: false,
    };
    let mut shell = Connectors::default().connect(&target).await.map_err(|e| said(&e))?;
    let deadline = tokio::time::Instant::now() + AGENT;
    let answer = loop {
        session.interrupted()?;
        let reply = match shell.batch(std::slice::from_ref(&request), &mut |_| {}).await {
            Ok(mut replies) => replies.pop().unwrap_or_default(),
            Err(error) => break Err(said(&error)),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let output = Output {
            stdout: text(&reply.stdout),
            stderr: text(&reply.stderr),
            code: reply.code,
            seconds: reply.seconds,
        };
        break match failure(&output) {
            Some(f) if f.class == Class::HostdDown && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Some(f) => Err(said(&format!("`{}`: {}", command.text(), f.said()))),
            None if output.code != 0 => Err(said(&format!(
                "`{}` ended with {}: {}",
                command.text(),
                output.code,
                if output.stderr.is_empty() { output.stdout.trim() } else { output.stderr.trim() }
            ))),
            None => Ok(output.stdout),
        };
    };
    shell.close().await;
    answer
}

/// Runs a playbook on one host of the lab; true if everything matched already or does now.
///
/// # Errors
/// The playbook does not validate, a step failed, the host was lost; with `Verify`: what was not kept.
pub async fn playbook(session: &Arc<Session>, host: &Host, path: &Path, mode: Mode) -> Result<usize, WorkError> {
    let inventory_host = access::target_of(&session.place, &session.plan, &host.name)?;
    let known = inventory_host.vars.keys().cloned().collect();
    let playbook = Playbook::load(path, &known).map_err(|p| WorkError::said(p.plain()))?;
    let options = RunOptions::new(mode, crate::engine::cache_dir());
    let new = NewRun {
        playbook: playbook.path.clone(),
        name: playbook.name.clone(),
        argv: std::env::args().collect(),
        mode: mode.word().to_owned(),
        hosts: vec![host.name.clone()],
        resumes: None,
    };
    let mut journal = Journal::create(&new).map_err(WorkError::said)?;
    let (events, mut received) = mpsc::unbounded_channel::<Event>();
    let connector: Arc<dyn Connector> = Arc::new(Connectors::default());
    let run = journal.run().to_owned();
    let ctx = Arc::new(Context::new(playbook, options, connector, session.working.cancel.clone(), run, events));
    let passing = session.clone();
    let telling = tokio::spawn(async move {
        while let Some(event) = received.recv().await {
            // What cannot be kept is still told.
            let _ = journal.append(std::slice::from_ref(&event));
            passing.pass(event);
        }
        journal
    });
    let outcome = crate::engine::run(ctx.clone(), vec![inventory_host]).await;
    drop(ctx);
    if let Ok(journal) = telling.await {
        let _ = journal.finish(i32::from(outcome.exit_code));
    }
    let changed = outcome.hosts.iter().map(|h| h.result.changed).sum();
    let name = path.display();
    match (outcome.exit_code, mode) {
        (0, _) => Ok(changed),
        (3, Mode::Verify) => Err(WorkError::said(format!(
            "{}: what {name} set on the hardware before is not there any more: {changed} step(s) differ (the lines \
             above name them). The host forgot it, most likely because it could not save: look at its boot bank",
            host.name
        ))),
        (130, _) => Err(WorkError::Interrupted),
        (code, _) => {
            Err(WorkError::said(format!("{}: {name} ended with exit code {code}; the lines above say why", host.name)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_counts_once() {
        let wanted = |sizes: &[u64]| sizes.iter().enumerate().map(|(i, s)| (format!("d{i}"), *s)).collect::<Vec<_>>();
        assert!(missing(&wanted(&[16384, 1024]), &[1024, 16384]).is_empty());
        assert_eq!(missing(&wanted(&[1024, 1024]), &[1024]), ["disk `d1` of 1024 MiB"]);
        assert_eq!(missing(&wanted(&[1024]), &[2048]).len(), 1);
        assert!(missing(&wanted(&[1024]), &[1022, 9]).is_empty());
    }
}
