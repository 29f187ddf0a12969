//! What a step is: `reads` and `compare`, and the data they exchange with the engine.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::esxi::failure::failure;
use crate::esxi::{Command, HostFacts, Output, Outputs};

/// Things that a step's changes are about: see [`Step::about`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The kind of the things; empty when nothing is known.
    pub kind: &'static str,
    /// Their names: the keys of settings, a module's name.
    pub names: Vec<String>,
}

impl About {
    /// One thing.
    pub fn one(kind: &'static str, name: impl Into<String>) -> Self {
        Self { kind, names: vec![name.into()] }
    }

    /// Whether both are known to be about different things of one kind.
    pub fn is_apart_from(&self, other: &Self) -> bool {
        !self.kind.is_empty() && self.kind == other.kind && self.names.iter().all(|name| !other.names.contains(name))
    }
}

/// A step with its desired state, ready for one host. Pure: no I/O, no clock, no randomness.
pub trait Step: fmt::Debug + Send + Sync {
    /// One line that says what is wanted, for a step that has no name of its own.
    fn summary(&self) -> String;

    /// Files on the control machine that must be read, fetched or inspected before any host is touched.
    fn inputs(&self) -> Vec<Input> {
        Vec::new()
    }

    /// The commands whose output `compare` needs. They change nothing. Reads of all steps are merged by text.
    fn reads(&self, host: &HostFacts) -> Vec<Command>;

    /// Those of [`Step::reads`] that `compare` does not need to see that nothing differs, only to plan a change. The
    /// engine reads them when something differs; until then `compare` must not answer as if they had been empty.
    fn only_to_plan(&self, _host: &HostFacts) -> Vec<Command> {
        Vec::new()
    }

    /// Reads that only the output of others tells (one for each port group, say). Asked with what was read so far, until
    /// it names nothing that was not read; those of all steps are one round trip. None while something is missing.
    fn more_reads(&self, _seen: &Seen<'_>) -> Vec<Command> {
        Vec::new()
    }

    /// What differs from the desired state. Empty: nothing to do. Called again after the changes: then it must
    /// be empty but for changes that only wait for a reboot (no actions, `effect.reboot`) and what only a person can
    /// change ([`Change::by_hand`]).
    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError>;

    /// Judges what one of this step's own actions printed. The default: any failure the text shows is one.
    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        default_judge(action, output)
    }

    /// Whether reading again proves the change. `run` without `creates` or `unless` cannot be proved.
    fn verifiable(&self) -> bool {
        true
    }

    /// Beginnings of esxcli commands whose output this step's changes may alter, beside all that is no plain esxcli
    /// command (that is always read again). `None`, the default: any command's. Saying less saves calls of a second
    /// each; saying too little, of the step's own reads too, is a defect.
    fn influences(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// What the step's changes are about: two steps about different things of one kind neither alter nor build on what
    /// the other one compares, whatever else their commands print. Such changes are made in one round trip. Nothing, the
    /// default: it is not known.
    fn about(&self) -> About {
        About::default()
    }

    /// Whether only the state after the next boot proves the change, so that reading at once proves nothing.
    fn proved_by_reboot(&self) -> bool {
        false
    }

    /// What `register` keeps beside `changed`: from the reads, and from the actions' outputs if any ran.
    fn register(&self, _seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// A barrier stops the grouping of reads: an explicit reboot, for one.
    fn barrier(&self) -> Option<Barrier> {
        None
    }

    /// What the step knows that nobody may read in a recording: a name for each part, and its value.
    fn secrets(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Whether the step ends the way in (stops SSH, closes the firewall to it): such steps run last.
    fn ends_ssh(&self) -> bool {
        false
    }
}

/// What the engine itself does at a barrier step.
#[derive(Debug, Clone, PartialEq)]
pub enum Barrier {
    /// Reboot: always, or only when something asked for it.
    Reboot {
        /// Reboot although nothing asked for it.
        always: bool,
        /// How long to wait until the host is ready again.
        timeout: Duration,
    },
}

/// What a step may look at when it compares.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Facts of the host.
    pub host: &'a HostFacts,
    /// Outputs of the step's reads (and perhaps of others).
    pub outputs: &'a Outputs,
    /// The step's inputs, prepared on the control machine.
    pub artifacts: &'a Artifacts,
}

impl<'a> Seen<'a> {
    /// The raw output of a read, whatever it says.
    pub fn raw(&self, command: &Command) -> Result<&'a Output, StepError> {
        self.outputs.get(command).ok_or_else(|| StepError::NotRead { command: command.shown().to_owned() })
    }

    /// The output of a read that must have succeeded; a failure in the text is an error.
    pub fn output(&self, command: &Command) -> Result<&'a Output, StepError> {
        let output = self.raw(command)?;
        match failure(output) {
            Some(f) => Err(StepError::Command { command: command.shown().to_owned(), message: f.said(), advice: None }),
            None => Ok(output),
        }
    }

    /// A dash-ruled table that a read printed.
    pub fn table(&self, command: &Command) -> Result<Vec<crate::esxi::forms::Record>, StepError> {
        crate::esxi::forms::table(&self.output(command)?.stdout).map_err(|e| StepError::unreadable(command, e))
    }

    /// A single `Label: value` record that a read printed.
    pub fn record(&self, command: &Command) -> Result<crate::esxi::forms::Record, StepError> {
        crate::esxi::forms::record(&self.output(command)?.stdout).map_err(|e| StepError::unreadable(command, e))
    }

    /// Records under title lines that a read printed.
    pub fn records(&self, command: &Command) -> Result<Vec<(String, crate::esxi::forms::Record)>, StepError> {
        crate::esxi::forms::records(&self.output(command)?.stdout).map_err(|e| StepError::unreadable(command, e))
    }
}

/// One thing that differs, and how to remove the difference.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// One line: what it is.
    pub summary: String,
    /// The value now. Never a secret.
    pub before: String,
    /// The value wanted. Never a secret.
    pub after: String,
    /// What to do, in order. Empty: the value is configured and only waits for a reboot.
    pub actions: Vec<Action>,
    /// Always run at the end, also after a failed action (staged files).
    pub cleanup: Vec<Command>,
    /// What it does to the session and the host.
    pub effect: Effect,
    /// A finding that esxprep does not remove, and what a person must do. Such a change has no actions.
    pub by_hand: Option<String>,
    /// What brings the value before back; `None`: nothing that esxprep knows of.
    pub undo: Option<Undo>,
}

impl Change {
    /// A finding that only a person can remove: what it is, the value now, the value wanted, what to do.
    pub fn finding(
        summary: impl Into<String>,
        before: impl Into<String>,
        after: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            summary: summary.into(),
            before: before.into(),
            after: after.into(),
            by_hand: Some(advice.into()),
            ..Self::default()
        }
    }

    /// Whether it is made already and only waits for the next boot.
    pub fn waits(&self) -> bool {
        self.actions.is_empty() && self.effect.reboot
    }
}

/// A step that brings an earlier state back: it goes through the same engine as any other, so it is compared, made and
/// verified like one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Undo {
    /// The kind of step.
    pub kind: String,
    /// Its arguments. Never a secret: this is kept in the journal.
    pub args: serde_json::Value,
}

impl Undo {
    /// A step of this kind with these arguments.
    pub fn step(kind: &str, args: serde_json::Value) -> Option<Self> {
        Some(Self { kind: kind.to_owned(), args })
    }
}

/// One thing that the engine does on the host.
#[derive(Debug, Clone)]
pub enum Action {
    /// Runs a command; [`Step::judge`] says how it went.
    Run(Command),
    /// Puts bytes into a file: uploaded beside it, compared by SHA-256 on the host, moved into place.
    Upload {
        /// What to send.
        source: Source,
        /// Absolute path on the host.
        path: String,
        /// Permission bits, for example `0o644`.
        mode: u32,
    },
    /// Runs commands detached from the session, with a rollback unless esxprep logs in again and confirms.
    Detached(Detached),
}

/// A change to the interface that carries the session.
#[derive(Debug, Clone)]
pub struct Detached {
    /// The change.
    pub commands: Vec<Command>,
    /// Puts the old state back when nobody confirms in time.
    pub rollback: Vec<Command>,
    /// The address to log in at afterwards; `None`: the one used now.
    pub new_address: Option<String>,
    /// How long the host waits for the confirmation before it rolls back.
    pub confirm_within: Duration,
}

/// Where uploaded bytes come from.
#[derive(Clone)]
pub enum Source {
    /// Bytes in memory (small files, contents from the playbook).
    Bytes(Vec<u8>),
    /// A prepared artifact's file.
    File(PathBuf),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(b) => write!(f, "{} bytes", b.len()),
            Self::File(p) => write!(f, "{}", p.display()),
        }
    }
}

/// What a change does beside what it says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effect {
    /// Takes effect at the next boot only: the engine reboots at the next barrier.
    pub reboot: bool,
    /// Needs maintenance mode while it is made: the engine enters and leaves it.
    pub maintenance: bool,
    /// A service that restarts.
    pub restarts: Option<String>,
    /// Must not be saved to the boot bank by the engine afterwards (nothing was configured).
    pub transient: bool,
}

/// How an action went.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// The command's answer asks for a reboot.
    pub reboot: bool,
    /// The command says that it changed nothing (overrides the change count when `Some(false)`).
    pub changed: Option<bool>,
    /// Something worth a line in the report.
    pub note: Option<String>,
}

/// Why a step cannot go on. Every variant says what was tried, what came back and what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StepError {
    /// The engine did not provide a read: a defect of esxprep.
    #[error("the output of `{command}` was not read (this is a defect in esxprep)")]
    NotRead {
        /// The command.
        command: String,
    },
    /// A command failed.
    #[error("`{command}` failed: {message}{}", advice.as_ref().map(|a| format!("\n{a}")).unwrap_or_default())]
    Command {
        /// The command.
        command: String,
        /// What it said.
        message: String,
        /// What to do next.
        advice: Option<String>,
    },
    /// A command printed something that is not its form.
    #[error("`{command}` printed something unexpected: {problem}")]
    Unreadable {
        /// The command.
        command: String,
        /// Line and problem.
        problem: String,
    },
    /// The desired state is refused, with the reason and the way out.
    #[error("{0}")]
    Refused(String),
    /// An expectation does not hold.
    #[error("{0}")]
    Unmet(String),
    /// What the step asks for has no meaning on this host (an older release, no such hardware); the reason.
    #[error("not applicable: {0}")]
    NotApplicable(String),
    /// What was read does not tell, and neither would anything else that can be read; what a person must do.
    #[error("not judged: {0}")]
    NotJudged(String),
}

impl StepError {
    /// A read whose text does not have the expected form.
    pub fn unreadable(command: &Command, problem: impl fmt::Display) -> Self {
        Self::Unreadable { command: command.shown().to_owned(), problem: problem.to_string() }
    }
}

/// Success unless the text or the exit code shows a failure.
pub fn default_judge(action: &Command, output: &Output) -> Result<Verdict, StepError> {
    match failure(output) {
        Some(f) => Err(StepError::Command { command: action.shown().to_owned(), message: f.said(), advice: None }),
        None => Ok(Verdict::default()),
    }
}

/// Something on the control machine that a step needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A file beside the playbook (relative paths are resolved against the playbook's folder).
    File(PathBuf),
    /// A download: cached, resumed, checked.
    Url {
        /// http or https.
        url: String,
        /// The expected SHA-256 in hex.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
    },
}

/// Prepared inputs by what asked for them.
#[derive(Debug, Clone, Default)]
pub struct Artifacts {
    by_input: HashMap<Input, Artifact>,
}

impl Artifacts {
    /// Stores a prepared input.
    pub fn insert(&mut self, input: Input, artifact: Artifact) {
        self.by_input.insert(input, artifact);
    }

    /// Every prepared input, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Input, &Artifact)> {
        self.by_input.iter()
    }

    /// The artifact of an input.
    pub fn get(&self, input: &Input) -> Option<&Artifact> {
        self.by_input.get(input)
    }
}

/// A file on the control machine, hashed and, if it is a VIB or an offline bundle, inspected.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of the whole file, hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// What is in it, when it is a VIB or an offline bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<crate::esxi::bundle::Software>,
    /// Why it cannot be installed as software, when it is neither or is damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_software: Option<String>,
    /// The whole text of a small file (up to 64 KiB, UTF-8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Makes a step from its arguments; the error carries the path to the bad value.
pub type ParseStep = fn(serde_json::Value) -> Result<Box<dyn Step>, serde_path_to_error::Error<serde_json::Error>>;

/// A kind of step: its name in YAML, how to make one, its schema and its documentation.
pub struct Kind {
    /// The key in YAML.
    pub name: &'static str,
    /// One line for the documentation.
    pub about: &'static str,
    /// A complete example in YAML, one list item; a test loads it.
    pub example: &'static str,
    /// Makes the step from its arguments; the error carries the path to the bad value.
    pub parse: ParseStep,
    /// The JSON Schema of its arguments.
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

/// Helper for [`Kind::parse`]: deserializes `T`, keeping the path of an error.
pub fn parse_as<T: DeserializeOwned + Step + 'static>(
    value: serde_json::Value,
) -> Result<Box<dyn Step>, serde_path_to_error::Error<serde_json::Error>> {
    serde_path_to_error::deserialize::<_, T>(value).map(|step| Box::new(step) as Box<dyn Step>)
}
