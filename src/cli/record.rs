//! `--record FILE`: what hosts were asked and answered goes into a fixture, whatever the run came to.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::hosts::Failure;
use crate::engine::events::now_rfc3339;
use crate::engine::run::Resumed;
use crate::fixture::RecordedArtifact;
use crate::fixture::redact::Mode;
use crate::fixture::secrets::SecretBook;
use crate::fixture::store::{self, StoreError};
use crate::inventory::Host;
use crate::playbook::Playbook;
use crate::transport::Connector;
use crate::transport::record::{Raw, RecordingConnector};

/// Whether to record, and how much of it to replace.
#[derive(Debug, Clone, Default, Args)]
pub struct RecordArgs {
    /// Record what the hosts are asked and answer into this file, for `esxprep test --fixture FILE`. Secrets are left
    /// out. A file that is there is replaced if it is a recording, and refused if it is anything else.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// How much of a recording tells whose hosts they are: `none` removes secrets only, `default` also replaces host
    /// names, serial numbers, UUIDs, MAC and public addresses, `strict` also private addresses and names of VMs,
    /// datastores, port groups and accounts.
    #[arg(long, value_name = "MODE", value_enum, default_value_t, hide_possible_values = false, requires = "record")]
    redact: Mode,
}

/// What is said of the run in the recording.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// `apply`, `check`, `verify` or `facts`.
    pub mode: String,
    /// The run's other options, where they are not the defaults.
    pub options: Option<String>,
    /// Steps that it leaves out because an earlier run ended them well.
    pub resumed: Resumed,
    /// The run's id, where it has one.
    pub run: Option<String>,
    /// The playbook's file name.
    pub playbook: Option<String>,
    /// The playbook's text and that of what it includes.
    pub text: String,
}

/// A recording under way.
pub struct Recording {
    path: PathBuf,
    mode: Mode,
    about: About,
    /// Its hosts as the run knows them, with the variables from the command line.
    hosts: Vec<Host>,
    connector: Arc<RecordingConnector>,
    /// The secrets of the run.
    pub book: Arc<SecretBook>,
}

impl RecordArgs {
    /// Looks whether the file can be written, before any host is touched.
    pub fn check(&self) -> Result<(), Failure> {
        self.record.as_deref().map_or(Ok(()), store::check_place).map_err(|e| Failure::Text(e.to_string()))
    }

    /// Begins to record what goes through `inner`, if that was asked for.
    pub fn begin(&self, inner: &Arc<dyn Connector>, hosts: Vec<Host>, about: About) -> Option<Arc<Recording>> {
        let path = self.record.clone()?;
        let book = Arc::new(SecretBook::default());
        hosts.iter().for_each(|host| book.note_host(host));
        let connector = Arc::new(RecordingConnector::new(inner.clone()));
        Some(Arc::new(Recording { path, mode: self.redact, about, hosts, connector, book }))
    }
}

impl Recording {
    /// Sessions made by this are written down.
    pub fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    /// Notes secrets among the playbook's own variables.
    pub fn note_playbook(&self, playbook: &Playbook) {
        self.hosts.iter().for_each(|host| self.book.note_vars(&host.name, &playbook.vars));
    }

    /// Writes what was recorded so far, and says where it is and what was taken out.
    fn write(&self, artifacts: Vec<RecordedArtifact>, interrupted: bool) -> Result<String, StoreError> {
        let mut raw = self.connector.recorded();
        let hosts = raw.len();
        // A run counts its hosts, also those to which it never came.
        let met: HashSet<String> = raw.iter().map(|raw| raw.host.name.clone()).collect();
        let unmet = |name: &str| !met.contains(name);
        raw.extend(self.hosts.iter().filter(|h| !met.contains(&h.name)).map(|h| Raw::of(&h.target)));
        // In the order of the inventory, not in that in which they happened to be met.
        raw.sort_by_key(|raw| self.hosts.iter().position(|h| h.name == raw.host.name));
        for raw in &mut raw {
            let mut meta = indexmap::IndexMap::new();
            let mut say = |key: &str, value: Option<String>| {
                meta.extend(value.map(|v| (key.to_owned(), v)));
            };
            let version = store::version_of(&raw.host);
            say("version", version.as_ref().map(|v| v.0.clone()));
            say("build", version.map(|v| v.1));
            say("address", raw.host.meta.get("address").cloned());
            say("source", Some("recorded by esxprep".into()));
            say("redacted", Some(self.mode.word().into()));
            say("run", self.about.run.clone());
            say("mode", Some(self.about.mode.clone()));
            say("options", self.about.options.clone());
            say("begun", unmet(&raw.host.name).then(|| "no".to_owned()));
            say("resumed", self.about.resumed.get(&raw.host.name).map(|steps| serde_json::json!(steps).to_string()));
            say("playbook", self.about.playbook.clone());
            say("ended", interrupted.then(|| "interrupted".to_owned()));
            say("recorded", Some(now_rfc3339()));
            say("esxprep", Some(env!("CARGO_PKG_VERSION").into()));
            raw.host.meta = meta;
            if let Some(host) = self.hosts.iter().find(|h| h.name == raw.host.name) {
                raw.host.vars.clone_from(&host.vars);
            }
        }
        let (fixture, out) = store::fit_to_keep(raw, artifacts, &self.book, self.mode, &self.about.text);
        let shown = self.path.display();
        // Its folder may tell whose machine this is.
        let name = self.path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
        let replay = match &self.about.playbook {
            Some(playbook) => format!("esxprep test {playbook} --fixture {name}"),
            None => format!("esxprep facts --fixture {name}"),
        };
        let kept = if self.mode == Mode::None || self.about.playbook.is_none() {
            ""
        } else {
            "\nWords of the playbook itself are kept: without them it could not be replayed."
        };
        let comment = format!(
            "Recorded from {hosts} host(s) with `esxprep {}`. Replay it without a host: {replay}\nRedaction: {}; {}.{kept}",
            self.about.mode,
            self.mode.word(),
            out.summary()
        );
        store::write(&self.path, &fixture, &comment)?;
        Ok(format!("recorded into {shown} (redaction: {}; {})", self.mode.word(), out.summary()))
    }

    /// Writes it, and tells the person: on standard output for `human` output, else on standard error.
    pub fn finish(&self, artifacts: Vec<RecordedArtifact>, interrupted: bool, human: bool) {
        match self.write(artifacts, interrupted) {
            Ok(said) if human => {
                super::print(format!("{said}\n"));
            }
            Ok(said) => tell!("{said}"),
            Err(error) => tell!("warning: {error}"),
        }
    }
}
