//! Everything that a person or CI reads. A reporter gets the run's events in order, and nothing else: the same
//! events read back from a journal give the same report.

mod bars;
mod checklist;
mod collect;
#[cfg(test)]
mod control_tests;
mod controls;
mod diff;
mod html;
mod human;
mod json;
mod junit;
mod lab;
mod lines;
mod log;
mod matrix;
mod sink;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod trials;
mod verdicts;

use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use crate::engine::events::Event;

pub use checklist::{Checklists, fits};
pub use html::Html;
pub use human::Human;
pub use json::Json;
pub use junit::Junit;
pub use lab::{LabReporter, lab_reporter};
pub use log::{render_list, render_run};
pub use text::{block, json as json_shown, one_line, shown, steers};
pub use trials::{Trial, TrialJunit};

/// Reads a run's events and shows them somehow.
pub trait Reporter: Send {
    /// Takes the next event. Errors of writing are kept for [`Reporter::finish`]: a report must not stop a run.
    fn event(&mut self, event: &Event);

    /// Moves what moves (progress bars). Called some ten times a second from one interval of the program; reporters
    /// start no thread of their own.
    fn tick(&mut self) {}

    /// The run is over: writes what is left. A closed pipe is a quiet end, no error.
    fn finish(&mut self) -> io::Result<()>;
}

/// Several reporters on one stream of events.
pub struct Fanout(pub Vec<Box<dyn Reporter>>);

impl Reporter for Fanout {
    fn event(&mut self, event: &Event) {
        self.0.iter_mut().for_each(|r| r.event(event));
    }

    fn tick(&mut self) {
        self.0.iter_mut().for_each(|r| r.tick());
    }

    /// Finishes all, and returns the first error.
    fn finish(&mut self) -> io::Result<()> {
        let results: Vec<_> = self.0.iter_mut().map(|r| r.finish()).collect();
        results.into_iter().collect()
    }
}

/// A form of `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputKind {
    /// For people: live bars on a terminal, plain lines otherwise.
    Human,
    /// One event a line.
    Json,
    /// JUnit XML, into a file or on standard output.
    Junit(Option<PathBuf>),
    /// One HTML page, into a file or on standard output.
    Html(Option<PathBuf>),
    /// A checklist of STIG Viewer 2 for each host.
    Ckl(PathBuf),
    /// A checklist of STIG Viewer 3 for each host.
    Cklb(PathBuf),
    /// XCCDF results for each host.
    Xccdf(PathBuf),
}

impl OutputKind {
    /// Whether it takes standard output.
    pub fn on_stdout(&self) -> bool {
        matches!(self, Self::Human | Self::Json | Self::Junit(None) | Self::Html(None))
    }

    /// The form of checklist, where it is one.
    fn checklist(&self) -> Option<checklist::Format> {
        match self {
            Self::Ckl(_) => Some(checklist::Format::Ckl),
            Self::Cklb(_) => Some(checklist::Format::Cklb),
            Self::Xccdf(_) => Some(checklist::Format::Xccdf),
            Self::Human | Self::Json | Self::Junit(_) | Self::Html(_) => None,
        }
    }

    /// Whether it is one file a host, of its controls: `ckl`, `cklb` or `xccdf`.
    pub fn is_checklist(&self) -> bool {
        self.checklist().is_some()
    }
}

impl FromStr for OutputKind {
    type Err = String;

    /// `human`, `json`, `junit[=FILE]`, `html[=FILE]`, `ckl=FILE`, `cklb=FILE` or `xccdf=FILE`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = match text.split_once('=') {
            Some((_, "")) => return Err(format!("`{text}` names no file after the `=`")),
            Some((name, file)) => (name, Some(PathBuf::from(file))),
            None => (text, None),
        };
        match (name, file) {
            ("human", None) => Ok(Self::Human),
            ("json", None) => Ok(Self::Json),
            ("junit", file) => Ok(Self::Junit(file)),
            ("html", file) => Ok(Self::Html(file)),
            ("ckl", Some(file)) => Ok(Self::Ckl(file)),
            ("cklb", Some(file)) => Ok(Self::Cklb(file)),
            ("xccdf", Some(file)) => Ok(Self::Xccdf(file)),
            ("ckl" | "cklb" | "xccdf", None) => Err(format!(
                "`{name}` is a file for each host: write `{name}=FILE`, with `{{host}}` where its name goes"
            )),
            ("human" | "json", Some(_)) => {
                Err(format!("`{name}` goes to standard output and takes no file; redirect it with `> FILE`"))
            }
            _ => Err(format!(
                "`{text}` is no form of output: one of human, json, junit[=FILE], html[=FILE], ckl=FILE, cklb=FILE, \
                 xccdf=FILE"
            )),
        }
    }
}

/// How reports look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportOptions {
    /// Show before and after of every change.
    pub diff: bool,
    /// Standard output may be coloured.
    pub color: bool,
    /// Standard error is a terminal: live bars.
    pub terminal: bool,
    /// Columns of the terminal; tables are no wider. 0: no limit.
    pub width: u16,
    /// The run changes nothing (`--check`, `verify`).
    pub check: bool,
}

impl ReportOptions {
    /// Plain text: no colour, no bars, no limit of width.
    pub fn plain() -> Self {
        Self { diff: false, color: false, terminal: false, width: 0, check: false }
    }

    /// What fits this process: colours where standard output is a terminal that has them and neither `NO_COLOR` nor
    /// `TERM=dumb` forbids them, bars where standard error is a terminal.
    pub fn detect(diff: bool, check: bool) -> Self {
        let attended = console::user_attended();
        Self {
            diff,
            check,
            color: console::colors_enabled(),
            terminal: console::user_attended_stderr() && std::env::var_os("TERM").is_none_or(|t| t != "dumb"),
            width: if attended { console::Term::stdout().size().1 } else { 0 },
        }
    }
}

/// The reporter for one `--output`. Fails when its file could not be written, before any host is touched.
pub fn for_output(kind: OutputKind, options: &ReportOptions) -> io::Result<Box<dyn Reporter>> {
    Ok(match kind {
        OutputKind::Human => Box::new(Human::stdout(options)),
        OutputKind::Json => Box::new(Json::stdout()),
        OutputKind::Junit(file) => Box::new(Junit::new(sink::Sink::new(file)?)),
        OutputKind::Html(file) => Box::new(Html::new(sink::Sink::new(file)?)),
        OutputKind::Ckl(file) => Box::new(Checklists::new(checklist::Format::Ckl, file)?),
        OutputKind::Cklb(file) => Box::new(Checklists::new(checklist::Format::Cklb, file)?),
        OutputKind::Xccdf(file) => Box::new(Checklists::new(checklist::Format::Xccdf, file)?),
    })
}

/// The reporters for any number of `--output`: at most one may take standard output, and where none does, people
/// get their lines there.
pub fn for_outputs(kinds: &[OutputKind], options: &ReportOptions) -> io::Result<Box<dyn Reporter>> {
    let on_stdout = kinds.iter().filter(|k| k.on_stdout()).count();
    if on_stdout > 1 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "two forms of output want standard output: give one of them a file, as in `--output junit=FILE`",
        ));
    }
    let mut reporters = Vec::new();
    if on_stdout == 0 {
        reporters.push(for_output(OutputKind::Human, options)?);
    }
    for kind in kinds {
        reporters.push(for_output(kind.clone(), options)?);
    }
    Ok(Box::new(Fanout(reporters)))
}
