//! JUnit XML of playbooks that were tried on recorded hosts: a test suite for each playbook, a test case for each host.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as Xml};

use super::OutputKind;
use super::sink::Sink;
use super::text::xml;

/// One playbook with one host.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The playbook's name: the suite.
    pub playbook: String,
    /// The host's: the case.
    pub host: String,
    /// Seconds of the recorded host's time.
    pub seconds: f64,
    /// Why it failed: a line, and the whole text.
    pub failure: Option<(String, String)>,
    /// Why it was not tried.
    pub skipped: Option<String>,
    /// What happened.
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

    /// Writes the report. Trials of one playbook stand together.
    pub fn write(&self, trials: &[Trial]) -> io::Result<()> {
        self.0.write(&render(trials)?)
    }
}

fn render(trials: &[Trial]) -> io::Result<String> {
    let mut suites: indexmap::IndexMap<&str, Vec<&Trial>> = indexmap::IndexMap::new();
    for trial in trials {
        suites.entry(&trial.playbook).or_default().push(trial);
    }
    let all: Vec<&Trial> = trials.iter().collect();
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer
        .create_element("testsuites")
        .with_attribute(("name", "esxprep test"))
        .with_attribute(("tests", all.len().to_string().as_str()))
        .with_attribute(("failures", failures(&all).to_string().as_str()))
        .with_attribute(("errors", "0"))
        .with_attribute(("time", seconds(&all).as_str()))
        .write_inner_content(|w| {
            for (playbook, trials) in &suites {
                w.create_element("testsuite")
                    .with_attribute(("name", &*xml(playbook)))
                    .with_attribute(("tests", trials.len().to_string().as_str()))
                    .with_attribute(("failures", failures(trials).to_string().as_str()))
                    .with_attribute(("errors", "0"))
                    .with_attribute((
                        "skipped",
                        trials.iter().filter(|t| t.skipped.is_some()).count().to_string().as_str(),
                    ))
                    .with_attribute(("time", seconds(trials).as_str()))
                    .write_inner_content(|w| trials.iter().try_for_each(|trial| case(w, trial)))?;
            }
            Ok(())
        })?;
    String::from_utf8(writer.into_inner()).map(|text| text + "\n").map_err(io::Error::other)
}

fn case(w: &mut Writer<Vec<u8>>, trial: &Trial) -> io::Result<()> {
    w.create_element("testcase")
        .with_attribute(("name", &*xml(&trial.host)))
        .with_attribute(("classname", &*xml(&trial.playbook)))
        .with_attribute(("time", format!("{:.3}", trial.seconds.max(0.0)).as_str()))
        .write_inner_content(|w| {
            if let Some((line, text)) = &trial.failure {
                w.create_element("failure")
                    .with_attribute(("type", "differs"))
                    .with_attribute(("message", &*xml(line)))
                    .write_text_content(BytesText::new(&xml(text)))?;
            }
            if let Some(why) = &trial.skipped {
                w.create_element("skipped").with_attribute(("message", &*xml(why))).write_empty()?;
            }
            if !trial.output.is_empty() {
                w.create_element("system-out").write_text_content(BytesText::new(&xml(&trial.output)))?;
            }
            Ok(())
        })?;
    Ok(())
}

fn failures(trials: &[&Trial]) -> usize {
    trials.iter().filter(|t| t.failure.is_some()).count()
}

fn seconds(trials: &[&Trial]) -> String {
    format!("{:.3}", trials.iter().map(|t| t.seconds.max(0.0)).sum::<f64>())
}
