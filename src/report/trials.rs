//! JUnit XML of playbooks that were tried on recorded hosts: a test suite for each playbook and host, a test case for
//! each step, and one for what is expected of the host.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as Xml};

use super::OutputKind;
use super::sink::Sink;
use super::text::xml;
use crate::engine::events::{Status, StepEvent};

/// One playbook with one host.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The playbook's name.
    pub playbook: String,
    /// The host's.
    pub host: String,
    /// Its steps as they ended.
    pub steps: Vec<StepEvent>,
    /// Whether nothing is expected, so that a failed step is a failure.
    pub unexpected: bool,
    /// Seconds of the recorded host's time.
    pub seconds: f64,
    /// Why it failed: a line, and the whole text.
    pub failure: Option<(String, String)>,
    /// Why it was not tried.
    pub skipped: Option<String>,
    /// What happened, as an expectation would say it.
    pub output: String,
}

/// Where such a report goes.
pub struct TrialJunit(Sink);

impl TrialJunit {
    /// For `junit[=FILE]`; `None` for other forms. Fails when the file cannot be written.
    pub fn new(kind: &OutputKind) -> io::Result<Option<Self>> {
        match kind {
            OutputKind::Junit(file) => Ok(Some(Self(Sink::new(file.clone())?))),
            _ => Ok(None),
        }
    }

    /// Writes the report.
    pub fn write(&self, trials: &[Trial]) -> io::Result<()> {
        self.0.write(&render(trials)?)
    }
}

/// The case that compares the host with what is expected of it.
const EXPECTED: &str = "as expected";

fn render(trials: &[Trial]) -> io::Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let sum = |count: fn(&Trial) -> usize| trials.iter().map(count).sum::<usize>().to_string();
    writer
        .create_element("testsuites")
        .with_attribute(("name", "esxprep test"))
        .with_attribute(("tests", sum(Trial::tests).as_str()))
        .with_attribute(("failures", sum(Trial::failures).as_str()))
        .with_attribute(("errors", "0"))
        .with_attribute(("time", time(trials.iter().map(|t| t.seconds.max(0.0)).sum()).as_str()))
        .write_inner_content(|w| trials.iter().try_for_each(|trial| trial.suite(w)))?;
    String::from_utf8(writer.into_inner()).map(|text| text + "\n").map_err(io::Error::other)
}

impl Trial {
    fn tests(&self) -> usize {
        self.steps.len() + 1
    }

    fn failures(&self) -> usize {
        self.steps.iter().filter(|s| self.fails(s)).count() + usize::from(self.failure.is_some())
    }

    fn skipped(&self) -> usize {
        self.steps.iter().filter(|s| s.status == Status::Skipped).count() + usize::from(self.skipped.is_some())
    }

    fn fails(&self, step: &StepEvent) -> bool {
        self.unexpected && step.status == Status::Failed
    }

    fn suite(&self, w: &mut Writer<Vec<u8>>) -> io::Result<()> {
        w.create_element("testsuite")
            .with_attribute(("name", &*xml(&format!("{} on {}", self.playbook, self.host))))
            .with_attribute(("tests", self.tests().to_string().as_str()))
            .with_attribute(("failures", self.failures().to_string().as_str()))
            .with_attribute(("errors", "0"))
            .with_attribute(("skipped", self.skipped().to_string().as_str()))
            .with_attribute(("time", time(self.seconds).as_str()))
            .with_attribute(("hostname", &*xml(&self.host)))
            .write_inner_content(|w| {
                self.steps.iter().try_for_each(|step| self.step(w, step))?;
                self.expected(w)
            })?;
        Ok(())
    }

    fn step(&self, w: &mut Writer<Vec<u8>>, step: &StepEvent) -> io::Result<()> {
        let error = step.error.as_deref().unwrap_or_default();
        let mut said: Vec<&str> = step.changes.iter().map(|c| c.summary.as_str()).collect();
        said.extend(step.note.as_deref().filter(|_| step.status != Status::Skipped));
        if !self.fails(step) {
            said.extend(Some(error).filter(|e| !e.is_empty()));
        }
        w.create_element("testcase")
            .with_attribute(("name", &*xml(&format!("{:03} {}", step.step, step.name))))
            .with_attribute(("classname", &*xml(&format!("{}.{}.{}", self.playbook, self.host, step.kind))))
            .with_attribute(("time", time(step.seconds).as_str()))
            .write_inner_content(|w| {
                if self.fails(step) {
                    w.create_element("failure")
                        .with_attribute(("type", "failed"))
                        .with_attribute(("message", &*xml(error.lines().next().unwrap_or_default())))
                        .write_text_content(BytesText::new(&xml(error)))?;
                }
                if step.status == Status::Skipped {
                    let why = step.note.as_deref().unwrap_or("skipped");
                    w.create_element("skipped").with_attribute(("message", &*xml(why))).write_empty()?;
                }
                if !said.is_empty() {
                    w.create_element("system-out").write_text_content(BytesText::new(&xml(&said.join("\n"))))?;
                }
                Ok(())
            })?;
        Ok(())
    }

    fn expected(&self, w: &mut Writer<Vec<u8>>) -> io::Result<()> {
        w.create_element("testcase")
            .with_attribute(("name", EXPECTED))
            .with_attribute(("classname", &*xml(&format!("{}.{}", self.playbook, self.host))))
            .with_attribute(("time", "0.000"))
            .write_inner_content(|w| {
                if let Some((line, text)) = &self.failure {
                    w.create_element("failure")
                        .with_attribute(("type", "differs"))
                        .with_attribute(("message", &*xml(line)))
                        .write_text_content(BytesText::new(&xml(text)))?;
                }
                if let Some(why) = &self.skipped {
                    w.create_element("skipped").with_attribute(("message", &*xml(why))).write_empty()?;
                }
                if !self.output.is_empty() {
                    w.create_element("system-out").write_text_content(BytesText::new(&xml(&self.output)))?;
                }
                Ok(())
            })?;
        Ok(())
    }
}

fn time(seconds: f64) -> String {
    format!("{:.3}", seconds.max(0.0))
}
