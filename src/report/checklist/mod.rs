//! What STIG people load into their viewers: one file a host with the result of every control. CKL for STIG Viewer 2,
//! CKLB for STIG Viewer 3, XCCDF results for everything else.

mod ckl;
mod cklb;
mod files;
mod sheet;
#[cfg(test)]
mod tests;
mod xccdf;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use files::Files;
use sheet::Sheet;

use super::collect::Collected;
use super::collect::Lookup;
use super::sink::Sink;
use super::{OutputKind, Reporter, controls};
use crate::engine::events::{Event, EventKind};

/// A form of checklist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// XML of STIG Viewer 2.
    Ckl,
    /// JSON of STIG Viewer 3.
    Cklb,
    /// XCCDF 1.2: a benchmark with the result of a test.
    Xccdf,
}

impl Format {
    fn render(self, sheet: &Sheet<'_>) -> io::Result<String> {
        match self {
            Self::Ckl => ckl::render(sheet),
            Self::Cklb => cklb::render(sheet),
            Self::Xccdf => xccdf::render(sheet),
        }
    }

    /// As `--output` calls it.
    fn word(self) -> &'static str {
        match self {
            Self::Ckl => "ckl",
            Self::Cklb => "cklb",
            Self::Xccdf => "xccdf",
        }
    }
}

/// Writes a host's file as soon as the host is finished, so that what was found is kept however the run ends.
pub struct Checklists {
    format: Format,
    files: Files,
    pub(super) run: Collected,
    written: BTreeSet<String>,
    error: Option<io::Error>,
}

impl Checklists {
    /// Fails when no file can be made where `path` is.
    pub(super) fn new(format: Format, path: PathBuf) -> io::Result<Self> {
        let files = Files::new(path)?;
        Ok(Self { format, files, run: Collected::default(), written: BTreeSet::new(), error: None })
    }

    fn write(&mut self, host: &str) {
        let known = controls::baselines(&self.run);
        let Some(sheet) = Sheet::new(&self.run, host, &known) else { return };
        let path = self.files.of(host);
        let result = self.format.render(&sheet).and_then(|text| Sink::File(path).write(&text));
        self.written.insert(host.to_owned());
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }
}

impl Reporter for Checklists {
    fn event(&mut self, event: &Event) {
        self.run.event(event);
        match &event.kind {
            EventKind::RunStarted { hosts, .. } => self.files.hosts(hosts),
            EventKind::HostFinished(result) => self.write(&result.host),
            _ => {}
        }
    }

    /// Hosts that were not finished get what is known of them. A host of which nothing is known gets no file, and an
    /// older file in its place must not be taken for today's: that is said.
    fn finish(&mut self) -> io::Result<()> {
        let left: Vec<String> = self.run.hosts.keys().filter(|h| !self.written.contains(*h)).cloned().collect();
        left.iter().for_each(|host| self.write(host));
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let missing: Vec<&str> = left.iter().map(String::as_str).filter(|h| !self.written.contains(*h)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = missing.iter().map(|host| super::one_line(host)).collect::<Vec<_>>().join(", ");
        let older: Vec<String> = missing
            .iter()
            .map(|host| self.files.of(host))
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .collect();
        let mut text = format!(
            "no {} was written for {names}: the run ended before anything was judged there",
            self.format.word()
        );
        if !older.is_empty() {
            text.push_str(&format!("; {} is of an earlier run", older.join(", ")));
        }
        Err(io::Error::other(text))
    }
}

/// Whether these forms of output can say what a playbook finds: checklists need controls, and those of STIG viewers a
/// STIG that they know. The error says what to do.
pub fn fits<'a>(
    kinds: &[OutputKind],
    baseline: Option<&str>,
    controls: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    fits_with(crate::hardening::baseline, kinds, baseline, controls)
}

fn fits_with<'a>(
    lookup: Lookup,
    kinds: &[OutputKind],
    baseline: Option<&str>,
    controls: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let formats: Vec<Format> = kinds.iter().filter_map(OutputKind::checklist).collect();
    let Some(first) = formats.first() else { return Ok(()) };
    let ids: BTreeSet<&str> = controls.collect();
    if ids.is_empty() {
        return Err(format!(
            "`--output {}=FILE` is a list of controls, and no step of this playbook is one: a control is a step with an `id`",
            first.word()
        ));
    }
    let Some(format) = formats.iter().find(|f| **f != Format::Xccdf) else { return Ok(()) };
    let word = format.word();
    let instead = "`--output xccdf=FILE` takes any controls";
    let Some(name) = baseline else {
        return Err(format!(
            "`--output {word}=FILE` is the checklist of a STIG, and this playbook names none: add `baseline: stig-8.0` \
             (or the STIG that its controls are of); {instead}"
        ));
    };
    let Some(known) = lookup(name).filter(|known| known.is_stig()) else {
        return Err(format!(
            "`--output {word}=FILE` is the checklist of a STIG, and the baseline {name} has no rules of DISA; {instead}"
        ));
    };
    let has_rule = |id: &&&str| known.control(id).is_some_and(|c| c.rule.is_some() && c.group.is_some());
    let strangers: Vec<&str> = ids.iter().filter(|id| !has_rule(id)).copied().collect();
    if strangers.is_empty() {
        return Ok(());
    }
    let more = if strangers.len() > 5 { format!(" and {} more", strangers.len() - 5) } else { String::new() };
    Err(format!(
        "`--output {word}=FILE` cannot hold {}{more}: {name} has no such rule; {instead}",
        strangers.iter().take(5).copied().collect::<Vec<_>>().join(", ")
    ))
}
