//! `vib`: software on the host. The file is inspected on the control machine first, so that a host which has it
//! already is not sent anything, and a host that would refuse it is told so before the upload.

use std::time::Duration;

use serde::Deserialize;

use super::{
    Action, Artifact, Change, Effect, Input, Kind, Seen, Source, Step, StepError, Undo, Verdict, default_judge,
};
use crate::esxi::bundle::Vib as Offered;
use crate::esxi::software::{
    Acceptance, FaultKind, Installed, choose_place, compare_versions, fault, install_result, installed, pending,
    ramdisk_free, version_is,
};
use crate::esxi::{Command, HostFacts, Output};

mod spec;
#[cfg(test)]
mod tests;

pub use spec::{Spec, State};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "vib",
    about: "A VIB is installed (any, exact or at least a version) or removed",
    example: "- vib: {name: esx-ui, at_least: \"1.34.8\", from: bundles/esx-ui-1.34.8.vib}\n",
    parse: super::parse_as::<Vib>,
    schema: <Spec as schemars::JsonSchema>::json_schema,
};

/// Longest time for one installation: a whole image on a slow USB disk takes minutes.
const INSTALL_LIMIT: Duration = Duration::from_secs(45 * 60);

/// The desired state of one VIB, or of all VIBs of a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Spec")]
pub struct Vib(Spec);

/// What is wanted of one VIB.
struct Want<'a> {
    name: String,
    rule: Rule,
    offered: Option<&'a Offered>,
}

/// Which versions are right.
enum Rule {
    Any,
    AtLeast(String),
    Exactly(String),
}

impl Rule {
    fn met_by(&self, version: &str) -> bool {
        match self {
            Self::Any => true,
            Self::AtLeast(v) => compare_versions(version, v).is_ge(),
            Self::Exactly(v) => version_is(version, v),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Any => "present".into(),
            Self::AtLeast(v) => format!("{v} or later"),
            Self::Exactly(v) => v.clone(),
        }
    }
}

fn list_command() -> Command {
    Command::esxcli("software vib list")
}

fn pending_command() -> Command {
    Command::esxcli("software vib list --rebooting-image")
}

fn acceptance_command() -> Command {
    Command::esxcli("software acceptance get")
}

fn filesystems_command() -> Command {
    Command::esxcli("storage filesystem list")
}

fn ramdisks_command() -> Command {
    Command::new("vdf -h")
}

/// Answers a failed software command with the host's words and our advice.
fn check(command: &Command, output: &Output) -> Result<(), StepError> {
    match fault(output) {
        Some(f) if f.kind != FaultKind::Silent || output.code != 0 => Err(StepError::Command {
            command: command.shown().to_owned(),
            message: if f.message.is_empty() { "it said nothing".into() } else { f.message },
            advice: Some(f.advice),
        }),
        _ => Ok(()),
    }
}

/// The VIBs of the running image.
pub(super) fn read_installed(seen: &Seen<'_>, command: &Command) -> Result<Vec<Installed>, StepError> {
    check(command, seen.raw(command)?)?;
    installed(seen.table(command)?).map_err(|e| StepError::unreadable(command, e))
}

fn find<'a>(vibs: &'a [Installed], name: &str) -> Option<&'a str> {
    vibs.iter().find(|v| v.name == name).map(|v| v.version.as_str())
}

impl Vib {
    fn input(&self) -> Option<Input> {
        let from = self.0.from.as_ref().filter(|_| !self.0.on_host)?;
        Some(if from.starts_with("http://") || from.starts_with("https://") {
            Input::Url { url: from.clone(), sha256: self.0.sha256.clone() }
        } else {
            Input::File(from.into())
        })
    }

    fn unchecked(&self) -> bool {
        self.0.no_sig_check || self.0.force
    }

    /// The prepared file, after the checks that need only the file.
    fn artifact<'a>(&self, seen: &Seen<'a>) -> Result<Option<&'a Artifact>, StepError> {
        let Some(input) = self.input() else { return Ok(None) };
        let from = self.0.from.as_deref().unwrap_or_default();
        let artifact = seen.artifacts.get(&input).ok_or_else(|| StepError::NotRead { command: from.to_owned() })?;
        if let Some(want) = &self.0.sha256
            && !want.eq_ignore_ascii_case(&artifact.sha256)
        {
            return Err(StepError::Refused(format!(
                "{from} has SHA-256 {}, but the step says {want}: it is another or a damaged file",
                artifact.sha256
            )));
        }
        Ok(Some(artifact))
    }

    fn wants<'a>(&self, artifact: Option<&'a Artifact>) -> Result<Vec<Want<'a>>, StepError> {
        let s = &self.0;
        let from = s.from.as_deref().unwrap_or_default();
        let rule = |own: Option<&Offered>| match (&s.version, &s.at_least, own) {
            (Some(v), ..) => Rule::Exactly(v.clone()),
            (_, Some(v), _) => Rule::AtLeast(v.clone()),
            (_, _, Some(own)) => Rule::AtLeast(own.version.clone()),
            _ => Rule::Any,
        };
        let Some(artifact) = artifact else {
            let name = s.name.clone().unwrap_or_default();
            return Ok(vec![Want { name, rule: rule(None), offered: None }]);
        };
        let Some(software) = &artifact.software else {
            let why = artifact.not_software.as_deref().unwrap_or("it is neither a VIB nor an offline bundle");
            return Err(StepError::Refused(format!("{from} cannot be installed: {why}")));
        };
        // An offline bundle can hold several versions of one VIB: the exact one if asked for, else the newest.
        let exact = |v: &Offered| s.version.as_ref().is_some_and(|want| version_is(&v.version, want));
        let mut offered: Vec<&Offered> = Vec::new();
        for vib in software.vibs.iter().filter(|v| s.name.as_ref().is_none_or(|n| *n == v.name)) {
            let better =
                |o: &Offered| (exact(vib), compare_versions(&vib.version, &o.version).is_gt()) > (exact(o), false);
            match offered.iter_mut().find(|o| o.name == vib.name) {
                Some(other) if better(other) => *other = vib,
                Some(_) => {}
                None => offered.push(vib),
            }
        }
        if offered.is_empty() {
            let names: Vec<&str> = software.vibs.iter().map(|v| v.name.as_str()).collect();
            return Err(StepError::Refused(format!(
                "there is no VIB named {} in {from}; it holds: {}",
                s.name.as_deref().unwrap_or_default(),
                names.join(", ")
            )));
        }
        if offered.len() > 1 && (s.version.is_some() || s.at_least.is_some()) {
            return Err(StepError::Refused(format!(
                "{from} holds {} VIBs: `version` and `at_least` need the `name` of one of them",
                offered.len()
            )));
        }
        Ok(offered.into_iter().map(|o| Want { name: o.name.clone(), rule: rule(Some(o)), offered: Some(o) }).collect())
    }

    fn remove(&self, running: &[Installed], next: Option<&[Installed]>) -> Vec<Change> {
        let name = self.0.name.clone().unwrap_or_default();
        let before = find(running, &name).or_else(|| find(next.unwrap_or_default(), &name)).map(str::to_owned);
        let Some(before) = before else { return Vec::new() };
        let waits = find(next.unwrap_or(running), &name).is_none();
        let command = Command::esxcli("software vib remove").opt("-n", &name).timeout(INSTALL_LIMIT);
        let command = if self.0.live == Some(false) { command.words("--no-live-install") } else { command };
        let command = if self.0.force { command.words("--force") } else { command };
        vec![Change {
            summary: if waits { format!("VIB {name} is gone after the reboot") } else { format!("remove VIB {name}") },
            before,
            after: "absent".into(),
            actions: if waits { Vec::new() } else { vec![Action::Run(command)] },
            effect: Effect { reboot: waits, maintenance: self.0.maintenance == Some(true), ..Effect::default() },
            // No undo: the host does not keep the VIB's file.
            ..Change::default()
        }]
    }

    /// Refuses what would go wrong on the host, before anything is sent.
    fn refuse(&self, want: &Want<'_>, here: Option<&str>) -> Result<(), StepError> {
        let s = &self.0;
        let name = &want.name;
        let Some(from) = &s.from else {
            return Err(StepError::Refused(match here {
                None => format!("VIB {name} is not on the host and the step has no `from` to install it from"),
                Some(v) => format!(
                    "VIB {name} is {v} on the host, {} is wanted, and the step has no `from` to install it from",
                    want.rule.text()
                ),
            }));
        };
        if let Some(o) = want.offered
            && !want.rule.met_by(&o.version)
        {
            return Err(StepError::Refused(format!(
                "{from} holds {name} {}, but the step wants {}",
                o.version,
                want.rule.text()
            )));
        }
        let wanted = want.offered.map(|o| o.version.as_str()).or(s.version.as_deref());
        if let (Some(here), Some(wanted)) = (here, wanted)
            && compare_versions(here, wanted).is_gt()
            && !s.allow_downgrade
        {
            return Err(StepError::Refused(format!(
                "VIB {name} is {here} on the host: installing {wanted} would be a downgrade. Write `allow_downgrade: true` if you mean it, or `at_least` if a later one is as good"
            )));
        }
        Ok(())
    }

    /// The host's level against the VIBs': the change that lowers it, nothing, or a refusal.
    fn level(&self, seen: &Seen<'_>, wants: &[&Want<'_>]) -> Result<Option<Change>, StepError> {
        if self.unchecked() || self.0.on_host && self.0.acceptance.is_none() {
            return Ok(None);
        }
        let command = acceptance_command();
        let output = seen.raw(&command)?;
        check(&command, output)?;
        let host: Acceptance = output.stdout.parse().map_err(|e| StepError::unreadable(&command, e))?;
        if let Some(allowed) = self.0.acceptance
            && allowed < host
        {
            return Ok(Some(Change {
                summary: format!("host acceptance level {allowed}"),
                before: host.to_string(),
                after: allowed.to_string(),
                actions: vec![Action::Run(Command::esxcli("software acceptance set").opt("--level", allowed.as_str()))],
                undo: Undo::step("acceptance", serde_json::json!({ "level": host.as_str() })),
                ..Change::default()
            }));
        }
        for o in wants.iter().filter_map(|w| w.offered) {
            let claimed: Acceptance = o.acceptance.parse().unwrap_or(Acceptance::CommunitySupported);
            if claimed < host {
                return Err(StepError::Refused(format!(
                    "VIB {} {} has acceptance level {claimed}, the host takes {host} and better, so it would refuse it (nothing was uploaded). Put `- acceptance: {{level: {claimed}}}` before this step, or give this one `acceptance: {claimed}`, or `no_sig_check: true` if you trust the file",
                    o.name, o.version
                )));
            }
        }
        Ok(None)
    }

    fn install(
        &self,
        seen: &Seen<'_>,
        wants: &[&Want<'_>],
        next: &[Installed],
        artifact: Option<&Artifact>,
    ) -> Result<Change, StepError> {
        let s = &self.0;
        let mut change = Change::default();
        let known = wants.iter().any(|w| find(next, &w.name).is_some());
        let path = match artifact {
            Some(a) => {
                let tmp = seen.raw(&ramdisks_command()).ok().and_then(|o| ramdisk_free(&o.stdout, "tmp"));
                let place = match choose_place(a.size, tmp, &[]) {
                    Ok(place) => Ok(place),
                    Err(_) => choose_place(a.size, tmp, &seen.table(&filesystems_command())?),
                };
                let place =
                    place.map_err(|e| StepError::Refused(format!("{}: {e}", s.from.as_deref().unwrap_or_default())))?;
                let path = format!("{}/{}", place.directory, staged_name(a));
                if place.made {
                    change.actions.push(Action::Run(Command::new("mkdir -p").arg(&place.directory)));
                }
                change.actions.push(Action::Upload {
                    source: Source::File(a.path.clone()),
                    path: path.clone(),
                    mode: 0o600,
                });
                change.cleanup.push(Command::new("rm -f").arg(&path));
                if place.made {
                    change.cleanup.push(Command::new("rmdir").arg(&place.directory).words("2>/dev/null || true"));
                }
                path
            }
            None => s.from.clone().unwrap_or_default(),
        };
        let depot = artifact
            .and_then(|a| a.software.as_ref())
            .map_or(path.ends_with(".zip") || path.ends_with("index.xml"), |software| software.bundle);
        // `install` also downgrades; `update` never does, but installs nothing new. What was inspected has been
        // compared already; what only the host reads is updated unless a downgrade is allowed.
        let update = artifact.is_none() && known && !s.allow_downgrade;
        let mut command =
            if update { Command::esxcli("software vib update") } else { Command::esxcli("software vib install") };
        if depot {
            command = command.opt("-d", &path);
            let vibs = artifact.and_then(|a| a.software.as_ref()).map(|s| s.vibs.as_slice()).unwrap_or_default();
            for want in wants {
                // `name:version` only where the name alone would leave a choice to the host.
                let several = vibs.iter().filter(|v| v.name == want.name).count() > 1;
                let version = want.offered.filter(|_| several).map_or(String::new(), |o| format!(":{}", o.version));
                command = command.opt("-n", format!("{}{version}", want.name));
            }
        } else {
            command = command.opt("-v", &path);
        }
        for (on, flag) in
            [(s.no_sig_check, "--no-sig-check"), (s.force, "--force"), (s.live == Some(false), "--no-live-install")]
        {
            if on {
                command = command.words(flag);
            }
        }
        change.actions.push(Action::Run(command.timeout(INSTALL_LIMIT)));
        let joined = |f: &dyn Fn(&Want<'_>) -> String| wants.iter().map(|w| f(w)).collect::<Vec<_>>().join(", ");
        let verb = if known { "update" } else { "install" };
        change.summary = format!("{verb} VIB {}", joined(&|w| w.name.clone()));
        if wants.iter().filter_map(|w| w.offered).any(|o| o.unsigned && o.acceptance != "community") {
            change.summary.push_str(" (unsigned: its acceptance level is only a claim)");
        }
        change.before = joined(&|w| find(next, &w.name).unwrap_or("absent").to_owned());
        change.after = joined(&|w| w.offered.map_or_else(|| w.rule.text(), |o| o.version.clone()));
        let asks = wants.iter().filter_map(|w| w.offered).any(|o| o.maintenance_mode);
        change.effect.maintenance = s.maintenance.unwrap_or(asks);
        // What was not there is taken away again. An earlier version does not come back: the host keeps no file of it.
        if let [one] = wants
            && !known
        {
            change.undo = Undo::step("vib", serde_json::json!({ "name": one.name, "state": "absent" }));
        }
        Ok(change)
    }
}

/// A file name for the host: the digest in front keeps two runs apart, and esxcli goes by the ending.
fn staged_name(a: &Artifact) -> String {
    let bundle = a.software.as_ref().is_some_and(|s| s.bundle);
    let stem: String = a
        .path
        .file_stem()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
        .take(80)
        .collect();
    let digest: String = a.sha256.chars().take(12).collect();
    format!("esxprep-{digest}-{stem}.{}", if bundle { "zip" } else { "vib" })
}

impl Step for Vib {
    fn summary(&self) -> String {
        let s = &self.0;
        let what = s.name.clone().or_else(|| s.from.clone()).unwrap_or_default();
        match (s.state, &s.version, &s.at_least) {
            (State::Absent, ..) => format!("VIB {what} absent"),
            (_, Some(v), _) => format!("VIB {what} {v}"),
            (_, _, Some(v)) => format!("VIB {what} {v} or later"),
            _ => format!("VIB {what} present"),
        }
    }

    fn inputs(&self) -> Vec<Input> {
        self.input().into_iter().collect()
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = vec![list_command(), pending_command()];
        if self.0.state == State::Present && self.0.from.is_some() {
            if !self.unchecked() && (!self.0.on_host || self.0.acceptance.is_some()) {
                reads.push(acceptance_command());
            }
            if !self.0.on_host {
                reads.extend([filesystems_command(), ramdisks_command()]);
            }
        }
        reads
    }

    fn only_to_plan(&self, _host: &HostFacts) -> Vec<Command> {
        vec![acceptance_command(), filesystems_command(), ramdisks_command()]
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let running = read_installed(seen, &list_command())?;
        let next = pending(seen.raw(&pending_command())?).map_err(|e| StepError::unreadable(&pending_command(), e))?;
        if self.0.state == State::Absent {
            return Ok(self.remove(&running, next.as_deref()));
        }
        let artifact = self.artifact(seen)?;
        let wants = self.wants(artifact)?;
        let effective = next.as_deref().unwrap_or(&running);
        let met = |image: &[Installed], w: &Want<'_>| find(image, &w.name).is_some_and(|v| w.rule.met_by(v));
        let mut changes = Vec::new();
        let missing: Vec<&Want<'_>> = wants.iter().filter(|w| !met(effective, w)).collect();
        for w in wants.iter().filter(|w| met(effective, w) && !met(&running, w)) {
            changes.push(Change {
                summary: format!("VIB {} is installed and waits for the reboot", w.name),
                before: find(&running, &w.name).unwrap_or("absent").to_owned(),
                after: find(effective, &w.name).unwrap_or_default().to_owned(),
                effect: Effect { reboot: true, ..Effect::default() },
                ..Change::default()
            });
        }
        if !missing.is_empty() {
            for w in &missing {
                self.refuse(w, find(effective, &w.name))?;
            }
            changes.extend(self.level(seen, &missing)?);
            changes.push(self.install(seen, &missing, effective, artifact)?);
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        if !action.text().starts_with("esxcli software vib ") {
            return default_judge(action, output);
        }
        let failed = |message: String, advice: String| {
            Err(StepError::Command { command: action.shown().to_owned(), message, advice: Some(advice) })
        };
        if let Some(f) = fault(output) {
            if f.kind == FaultKind::Silent {
                // Met on 6.x: exit code 1 and not a word although the update was done. Reading again decides.
                return Ok(Verdict {
                    note: Some("esxcli ended with code 1 and said nothing".into()),
                    ..Verdict::default()
                });
            }
            return failed(f.message, f.advice);
        }
        let Some(result) = install_result(&output.stdout) else {
            return Err(StepError::unreadable(action, "there is no result block in it"));
        };
        let nothing = result.installed.is_empty() && result.removed.is_empty();
        if nothing && result.message.to_ascii_lowercase().contains("reboot") {
            return failed(
                result.message,
                "The host skipped it because another image waits for a reboot: put a `reboot` step before this one."
                    .into(),
            );
        }
        let skipped = (!result.skipped.is_empty() && nothing)
            .then(|| format!("the host skipped {}: {}", result.skipped.join(", "), result.message));
        Ok(Verdict { reboot: result.reboot, changed: nothing.then_some(false), note: skipped })
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        let vibs = read_installed(seen, &list_command()).unwrap_or_default();
        let version = self.0.name.as_ref().and_then(|n| find(&vibs, n)).map(str::to_owned);
        serde_json::json!({ "name": self.0.name, "version": version })
    }
}
