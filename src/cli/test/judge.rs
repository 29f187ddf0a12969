//! One playbook with one host: where its expectation is, and whether what happened is what is expected.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::engine::Mode;
use crate::engine::events::{EventKind, StepEvent};
use crate::fixture::expect::{Account, Comparison, DiffLine, Expectation};
use crate::fixture::gather::{FixtureFile, Section};
use crate::fixture::trial::{Tried, expected_path, stem};

/// Where an expectation is written down.
#[derive(Debug, Clone)]
enum Place {
    /// A file of its own.
    File(PathBuf),
    /// A section of this fixture.
    Section(PathBuf, Box<Section>),
}

/// A playbook and a host before the trial.
pub(super) struct Case {
    playbook: String,
    host: String,
    mode: Mode,
    place: Place,
    /// Its text as an expectation; `None` when there is none yet.
    expectation: Option<Expectation>,
}

/// What came of a case.
#[derive(Debug)]
pub(super) struct Judged {
    /// The playbook's name.
    pub playbook: String,
    /// The host's.
    pub host: String,
    /// `apply`, `check` or `verify`.
    pub mode: &'static str,
    /// Where its expectation stands, or would stand.
    pub file: PathBuf,
    /// What happened.
    pub account: Account,
    /// Its steps as they ended.
    pub steps: Vec<StepEvent>,
    /// Seconds of the recorded host's time.
    pub seconds: f64,
    /// Reboots done.
    pub reboots: usize,
    /// The verdict.
    pub verdict: Verdict,
}

/// How a case ended.
#[derive(Debug)]
pub(super) enum Verdict {
    /// As expected.
    Expected,
    /// Nothing is expected, and no step failed.
    Unjudged,
    /// Nothing is expected, and this failed.
    Failed(String),
    /// Not as expected.
    Differs(Comparison),
    /// The fixture does not know what it was asked.
    Unknown(Vec<String>),
    /// Something that the playbook needs from this machine is not there.
    Untouched(String),
    /// Written down; the lines that changed.
    Updated(Vec<DiffLine>),
    /// To be written down, and the same already.
    Unchanged,
}

impl Judged {
    /// Whether the command fails for it.
    pub fn failed(&self, strict: bool) -> bool {
        match self.verdict {
            Verdict::Expected | Verdict::Updated(_) | Verdict::Unchanged => false,
            Verdict::Unjudged => strict,
            Verdict::Failed(_) | Verdict::Differs(_) | Verdict::Unknown(_) | Verdict::Untouched(_) => true,
        }
    }
}

impl Case {
    /// Finds the expectation of a playbook and a host. One that does not validate is an error before anything is tried.
    pub fn find(
        playbook: &Path,
        file: &FixtureFile,
        host: &str,
        mode: Mode,
        named: Option<&Path>,
        update: bool,
    ) -> Result<Self, Failure> {
        let name = stem(playbook);
        let section = file.sections.iter().find(|s| s.host == host && s.playbook == name && s.mode == mode.word());
        let (place, expectation) = match (named, section) {
            (None, Some(section)) => {
                let place = Place::Section(file.path.clone(), Box::new(section.clone()));
                (place, Some(section.expectation.clone()))
            }
            _ => {
                let path = named.map_or_else(|| expected_path(playbook, host, mode), Path::to_owned);
                let expectation = read(&path)?;
                if expectation.is_none() && named.is_some() && !update {
                    return Err(Failure::Text(format!(
                        "there is no expectation {}; --update writes it down",
                        path.display()
                    )));
                }
                (Place::File(path), expectation)
            }
        };
        Ok(Self { playbook: name, host: host.to_owned(), mode, place, expectation })
    }

    /// Judges what happened, and writes it down when asked to.
    pub fn judge(self, tried: &Tried, update: bool, reads: bool) -> Result<Judged, Failure> {
        let account = tried.seen.accounts.get(&self.host).cloned().unwrap_or_default();
        let result = tried.outcome.hosts.iter().find(|h| h.result.host == self.host).map(|h| &h.result);
        let unknown: Vec<String> = tried
            .unknown
            .iter()
            .filter(|(u, _)| u.host == self.host)
            .map(|(unknown, step)| {
                let at = if step.is_empty() { String::new() } else { format!(" ({step})") };
                format!("{} has no answer to {}{at}. {}", unknown.host, unknown.what, unknown.hint)
            })
            .collect();
        let verdict = if let Some(why) = tried.untouched.clone() {
            Verdict::Untouched(why)
        } else if !unknown.is_empty() {
            // Neither a comparison nor an update of a run that went astray would mean anything.
            Verdict::Unknown(unknown)
        } else if update {
            self.update(&account, reads)?
        } else {
            match (self.expectation.as_ref().filter(|e| !e.is_empty()), account.failure()) {
                (Some(expectation), _) => {
                    let comparison = expectation.compare(&account);
                    if comparison.fits() { Verdict::Expected } else { Verdict::Differs(comparison) }
                }
                (None, Some(failure)) => Verdict::Failed(failure),
                (None, None) => Verdict::Unjudged,
            }
        };
        let steps = tried.seen.events.iter().filter_map(|e| match &e.kind {
            EventKind::Step(step) if step.host == self.host => Some(step.clone()),
            _ => None,
        });
        Ok(Judged {
            steps: steps.collect(),
            playbook: self.playbook,
            host: self.host,
            mode: self.mode.word(),
            file: match self.place {
                Place::File(path) | Place::Section(path, _) => path,
            },
            account,
            seconds: result.map_or(0.0, |r| r.seconds),
            reboots: result.map_or(0, |r| r.reboots),
            verdict,
        })
    }

    fn update(&self, account: &Account, reads: bool) -> Result<Verdict, Failure> {
        let mut expectation = self.expectation.clone().unwrap_or_default();
        if reads {
            expectation = expectation.with_reads();
        }
        if self.expectation.is_some() && expectation.compare(account).fits() {
            return Ok(Verdict::Unchanged);
        }
        let diff = expectation.compare(account).diff;
        let new = expectation.updated(account);
        let cannot = |path: &Path, e: &dyn std::fmt::Display| {
            Failure::Text(format!("cannot write the expectation {}: {e}", path.display()))
        };
        let (path, text) = match &self.place {
            Place::File(path) => (path, new),
            Place::Section(path, section) => {
                let old = std::fs::read_to_string(path).map_err(|e| cannot(path, &e))?;
                let gone = "its section is not there any more; run this again";
                (path, section.replaced(&old, &new).ok_or_else(|| cannot(path, &gone))?)
            }
        };
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| cannot(path, &e))?;
        }
        std::fs::write(path, text).map_err(|e| cannot(path, &e))?;
        Ok(Verdict::Updated(diff))
    }
}

/// The expectation in a file, if there is one.
fn read(path: &Path) -> Result<Option<Expectation>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::Text(format!("cannot read the expectation {}: {error}", path.display()))),
    };
    let expectation =
        Expectation::parse(&text).map_err(|e| Failure::Text(format!("the expectation {}: {e}", path.display())))?;
    Ok(Some(expectation))
}
