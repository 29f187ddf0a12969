//! Files on the control machine that steps need: prepared once for all hosts, asked for by any of them.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use tokio::sync::Mutex;

use super::events::EventKind;
use super::prepare::{Progress, inspected, prepare};
use super::run::{Context, RunOptions};
use crate::esxi::{HostFacts, Version};
use crate::fixture::{RecordedArtifact, paths};
use crate::inventory::Host;
use crate::playbook::{Playbook, Scope, merge_vars};
use crate::steps::{Artifact, Artifacts, Input};

/// The inputs that steps will need whatever the hosts turn out to be: found before any host is touched.
///
/// Facts are not known yet. A step is bound twice, as if the host ran the oldest and the newest release; what both ways
/// ask for does not hang on facts. The rest is prepared when a host is known.
pub fn foreseen(playbook: &Playbook, hosts: &[Host], options: &RunOptions) -> Vec<Input> {
    let mut all: Vec<Input> = Vec::new();
    let registered = IndexMap::new();
    let mut seen = Vec::new();
    for host in hosts {
        let vars = merge_vars(&playbook.vars, &host.vars, &options.extra_vars);
        // Hosts with the same variables ask for the same, but for what hangs on their names.
        if seen.contains(&vars) {
            continue;
        }
        for def in playbook.steps.iter().filter(|s| s.uses_registered.is_empty() && options.selected(&s.tags)) {
            let inputs = |major| -> Vec<Input> {
                let facts = HostFacts::example(Version::new(major, 0));
                let scope = Scope { vars: &vars, facts: &facts, inventory_name: &host.name, registered: &registered };
                let bound = playbook.bind(def, &scope).unwrap_or_default();
                bound.iter().filter_map(|b| b.what.as_ref().ok()).flat_map(|s| s.inputs()).collect()
            };
            let newest = inputs(9);
            for input in inputs(6) {
                if newest.contains(&input) && !all.contains(&input) {
                    all.push(input);
                }
            }
        }
        seen.push(vars);
    }
    all
}

/// Prepared inputs, shared by all hosts of a run.
pub struct ArtifactStore {
    base: PathBuf,
    cache: PathBuf,
    ready: Mutex<Artifacts>,
    /// What a recording has of them, in a replayed run.
    recorded: Option<Vec<RecordedArtifact>>,
}

impl ArtifactStore {
    /// Relative paths are looked up beside the playbook; downloads are kept in `cache`.
    pub fn new(playbook: &Path, cache: PathBuf) -> Self {
        let base = playbook.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        Self { base, cache, ready: Mutex::new(Artifacts::default()), recorded: None }
    }

    /// Prepares what is not prepared yet. Other hosts wait meanwhile: they would fetch the same.
    pub async fn prepare(&self, inputs: &[Input], ctx: &Context, host: &str) -> Result<(), String> {
        let mut ready = self.ready.lock().await;
        let wanted: Vec<Input> = inputs.iter().filter(|i| ready.get(i).is_none()).cloned().collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut progress = |progress: Progress| {
            let (doing, position, length) = match progress {
                Progress::Download { url, position, length } => (format!("downloading {url}"), Some(position), length),
                Progress::Inspect { path } => (format!("inspecting {}", path.display()), None, None),
                Progress::Note(text) => return ctx.emit(EventKind::Note { host: None, text }),
            };
            ctx.emit(EventKind::Phase { host: host.to_owned(), doing, position, length });
        };
        let (known, wanted) = self.known_and_not(wanted)?;
        for (input, artifact) in known {
            inspected(&artifact, &mut progress);
            ready.insert(input, artifact);
        }
        let found = prepare(&wanted, &self.base, &self.cache, &mut progress).await.map_err(|e| e.to_string())?;
        for input in wanted {
            if let Some(artifact) = found.get(&input) {
                ready.insert(input, artifact.clone());
            }
        }
        Ok(())
    }

    /// From now on inputs come from a recording; of those that it lacks, files may be on this machine, and downloads
    /// are refused.
    pub fn replay(&mut self, recorded: &[RecordedArtifact]) {
        self.recorded = Some(recorded.to_vec());
    }

    /// The inputs that the recording has, and the rest.
    #[allow(clippy::type_complexity)]
    fn known_and_not(&self, wanted: Vec<Input>) -> Result<(Vec<(Input, Artifact)>, Vec<Input>), String> {
        let Some(recorded) = &self.recorded else { return Ok((Vec::new(), wanted)) };
        let (mut known, mut rest) = (Vec::new(), Vec::new());
        for input in wanted {
            match (paths::recorded(recorded, &input), &input) {
                (Some(found), _) => {
                    let mut artifact = found.artifact.clone();
                    artifact.path = paths::here(&input, &artifact.path, &self.base, &self.cache);
                    known.push((input, artifact));
                }
                (None, Input::File(_)) => rest.push(input),
                (None, Input::Url { url, .. }) => {
                    return Err(format!(
                        "{url} is not in the recording, and a replayed run downloads nothing. Record the playbook again as it is now"
                    ));
                }
            }
        }
        Ok((known, rest))
    }

    /// Everything that was prepared, for a recording.
    pub async fn recordable(&self) -> Vec<RecordedArtifact> {
        let ready = self.ready.lock().await;
        let all =
            ready.iter().map(|(input, artifact)| RecordedArtifact { input: input.clone(), artifact: artifact.clone() });
        let mut all: Vec<RecordedArtifact> = all.collect();
        all.sort_by_cached_key(|recorded| format!("{:?}", recorded.input));
        for recorded in &mut all {
            paths::make_portable(recorded);
        }
        all
    }

    /// The size in bytes of a prepared file, whether it is on this machine or in the recording only.
    pub async fn size(&self, file: &Path) -> Option<u64> {
        self.ready.lock().await.iter().find(|(_, artifact)| artifact.path == file).map(|(_, artifact)| artifact.size)
    }

    /// What was prepared of these inputs.
    pub async fn prepared(&self, inputs: &[Input]) -> Artifacts {
        let ready = self.ready.lock().await;
        let mut some = Artifacts::default();
        for input in inputs {
            if let Some(artifact) = ready.get(input) {
                some.insert(input.clone(), artifact.clone());
            }
        }
        some
    }
}
