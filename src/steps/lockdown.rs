//! `lockdown`: whether only vCenter and the users on an exception list may manage the host. A door: it runs last.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::service::hostconfig;
use super::{Action, Change, Kind, Seen, Step, StepError, Undo, Verdict, default_judge, given, parse_as};
use crate::esxi::{Command, HostFacts, Output, vimdump};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "lockdown",
    about: "Lockdown mode: only vCenter and named users may manage the host",
    example: "- lockdown: {mode: any}\n",
    parse: parse_as::<Lockdown>,
    schema: <LockdownSpec as JsonSchema>::json_schema,
};

/// Lockdown mode.
///
/// It can end every session of users who are not on the exception list, so such a step runs last. A host that no vCenter
/// manages has no use for it: it is then not applicable. Strict mode and the exception list are in the API only.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockdownSpec {
    /// `any`: normal or strict, normal is set; `normal`; `disabled`.
    #[serde(default, deserialize_with = "mode")]
    mode: Option<Mode>,
    /// Users who may be on the exception list. The list is not shown by the shell: not judged.
    #[serde(default, deserialize_with = "exceptions")]
    #[schemars(with = "Option<super::sysargs::OneOrMany<String>>")]
    exceptions: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Normal or strict.
    Any,
    /// The console stays usable.
    Normal,
    /// No lockdown.
    Disabled,
}

fn mode<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Mode>, D::Error> {
    let word = given::text(d)?;
    word.map(|w| Mode::deserialize(serde::de::value::StringDeserializer::new(w))).transpose()
}

fn exceptions<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Vec<String>>, D::Error> {
    given::list(d).map(Some)
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "LockdownSpec")]
pub struct Lockdown(LockdownSpec);

impl TryFrom<LockdownSpec> for Lockdown {
    type Error = String;

    fn try_from(spec: LockdownSpec) -> Result<Self, String> {
        match (spec.mode, &spec.exceptions) {
            (None, None) => Err("say what: `mode` or `exceptions`".into()),
            _ => Ok(Self(spec)),
        }
    }
}

/// Prints `true` or `false` (recorded: lockdown-is-enabled-true and -false); both modes are `true`.
fn is_enabled() -> Command {
    Command::new("vim-cmd -U dcui vimsvc/auth/lockdown_is_enabled")
}

fn enabled(seen: &Seen<'_>) -> Result<bool, StepError> {
    let said = seen.output(&is_enabled())?.stdout.trim();
    super::sysargs::truth(said)
        .ok_or_else(|| StepError::unreadable(&is_enabled(), format!("neither true nor false: {said:?}")))
}

impl Lockdown {
    /// What is on now, as far as it matters: the word for the report, and whether it is right.
    fn now(&self, seen: &Seen<'_>, want: Mode) -> Result<(&'static str, bool), StepError> {
        if !enabled(seen)? {
            return Ok(("disabled", want == Mode::Disabled));
        }
        if want == Mode::Any {
            return Ok(("normal or strict", true));
        }
        let dump = vimdump::parse(&seen.output(&hostconfig())?.stdout);
        let dump = dump.map_err(|e| StepError::unreadable(&hostconfig(), e))?;
        match dump.find("lockdownMode").map(vimdump::Value::text).as_deref() {
            Some("lockdownNormal") => Ok(("normal", want == Mode::Normal)),
            Some("lockdownStrict") => Ok(("strict", false)),
            _ if want == Mode::Disabled => Ok(("normal or strict", false)),
            _ => Err(StepError::NotJudged(
                "lockdown mode is on, and whether normal or strict does not show: look in the host client".into(),
            )),
        }
    }

    fn exceptions(&self, seen: &Seen<'_>) -> Result<(), StepError> {
        let Some(users) = &self.0.exceptions else { return Ok(()) };
        if seen.host.managed == Some(false) {
            return Err(unmanaged());
        }
        let users = if users.is_empty() { "nobody".to_owned() } else { users.join(", ") };
        Err(StepError::NotJudged(format!(
            "the exception list of lockdown mode is in the API only: see in vCenter or the host client that it holds {users} and nobody else"
        )))
    }
}

/// By `managementServerIp` of hostd's summary, which every run reads first. That it is unset on every host without a
/// vCenter, and whether a session lives on after lockdown mode was entered, is not verified on a host of 6.0 or later.
fn unmanaged() -> StepError {
    StepError::NotApplicable("no vCenter manages this host, and lockdown mode is for hosts that one manages".into())
}

impl Step for Lockdown {
    fn summary(&self) -> String {
        match self.0.mode {
            Some(Mode::Any) => "lockdown mode normal or strict".into(),
            Some(Mode::Normal) => "lockdown mode normal".into(),
            Some(Mode::Disabled) => "no lockdown mode".into(),
            None => "exception list of lockdown mode".into(),
        }
    }

    fn reads(&self, host: &HostFacts) -> Vec<Command> {
        // Where it is for nobody, there is nothing to look at.
        let asks = self.0.mode.filter(|mode| *mode == Mode::Disabled || host.managed != Some(false));
        asks.map(|_| is_enabled()).into_iter().collect()
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        let tells = matches!(self.0.mode, Some(Mode::Normal | Mode::Disabled)) && enabled(seen).unwrap_or(false);
        // `lockdownMode` in it tells normal from strict.
        if tells { vec![hostconfig()] } else { Vec::new() }
    }

    fn ends_ssh(&self) -> bool {
        matches!(self.0.mode, Some(Mode::Any | Mode::Normal))
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let Some(want) = self.0.mode else { return self.exceptions(seen).map(|()| Vec::new()) };
        if want != Mode::Disabled && seen.host.managed == Some(false) {
            return Err(unmanaged());
        }
        let (now, right) = self.now(seen, want)?;
        if right {
            return self.exceptions(seen).map(|()| Vec::new());
        }
        let summary = "lockdown mode".to_owned();
        let after = if want == Mode::Disabled { "disabled" } else { "normal" };
        if want == Mode::Disabled {
            // Entered by vim-cmd it is normal mode; strict mode comes back by the API only.
            return Ok(vec![Change {
                summary,
                before: now.into(),
                after: after.into(),
                actions: vec![Action::Run(Command::new("vim-cmd -U dcui vimsvc/auth/lockdown_mode_exit"))],
                undo: Undo::step("lockdown", json!({ "mode": "normal" })).filter(|_| now == "normal"),
                ..Change::default()
            }]);
        }
        match (seen.host.managed, now) {
            (None, _) => Ok(vec![Change::finding(
                summary,
                now,
                after,
                "hostd does not say whether a vCenter manages the host: where one does, enter lockdown mode by `vim-cmd -U dcui vimsvc/auth/lockdown_mode_enter` or in vCenter",
            )]),
            (_, "strict") => Ok(vec![Change::finding(
                summary,
                now,
                after,
                "strict mode is left in vCenter only; or is `mode: any` meant?",
            )]),
            _ => Ok(vec![Change {
                summary,
                before: now.into(),
                after: after.into(),
                actions: vec![Action::Run(Command::new("vim-cmd -U dcui vimsvc/auth/lockdown_mode_enter"))],
                undo: Undo::step("lockdown", json!({ "mode": "disabled" })),
                ..Change::default()
            }]),
        }
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        default_judge(action, output)?;
        let note = self.ends_ssh().then(|| {
            "lockdown mode: users who are not on the exception list cannot log in any more; it is left in vCenter or at the console".to_owned()
        });
        Ok(Verdict { note, ..Verdict::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, bad, step, texts, undone};
    use super::*;
    use crate::esxi::{Version, recorded};

    fn host(on: bool, mode: &str, managed: Option<bool>) -> Host {
        let text = if on {
            recorded(include_str!("../../fixtures/transcripts/5.x/lockdown-is-enabled-true.txt"))
        } else {
            recorded(include_str!("../../fixtures/transcripts/5.x/lockdown-is-enabled-false.txt"))
        };
        let dump = format!(
            "(vim.host.ConfigInfo) {{\n   host = 'vim.HostSystem:ha-host', \n   lockdownMode = \"{mode}\", \n}}\n"
        );
        let mut host = Host::with(Version::new(8, 0), &[(is_enabled().text(), &text), (hostconfig().text(), &dump)]);
        host.facts.managed = managed;
        host
    }

    #[test]
    fn entered_where_a_vcenter_manages_the_host() {
        let any = step(&KIND, json!({"mode": "any"}));
        assert!(any.ends_ssh());
        let changes = host(false, "lockdownDisabled", Some(true)).compare(any.as_ref()).unwrap();
        assert_eq!(texts(&changes), ["vim-cmd -U dcui vimsvc/auth/lockdown_mode_enter"]);
        let after = host(true, "lockdownNormal", Some(true));
        assert!(after.compare(any.as_ref()).unwrap().is_empty());
        assert_eq!(undone(&after, &changes), ["vim-cmd -U dcui vimsvc/auth/lockdown_mode_exit"]);
        let alone = host(false, "lockdownDisabled", Some(false));
        assert!(matches!(alone.compare(any.as_ref()), Err(StepError::NotApplicable(_))));
        assert!(host(false, "", None).compare(any.as_ref()).unwrap()[0].by_hand.is_some());
        assert!(host(true, "lockdownStrict", None).compare(any.as_ref()).unwrap().is_empty());
    }

    #[test]
    fn normal_is_not_strict() {
        let normal = step(&KIND, json!({"mode": "normal"}));
        assert!(host(true, "lockdownNormal", Some(true)).compare(normal.as_ref()).unwrap().is_empty());
        assert!(host(true, "lockdownStrict", Some(true)).compare(normal.as_ref()).unwrap()[0].by_hand.is_some());
        assert!(matches!(host(true, "", Some(true)).compare(normal.as_ref()), Err(StepError::NotJudged(_))));
    }

    #[test]
    fn the_exception_list_is_for_a_person() {
        for users in [json!([]), json!(""), json!(["breakglass"])] {
            let list = step(&KIND, json!({"mode": "", "exceptions": users}));
            assert!(!list.ends_ssh() && list.reads(&HostFacts::example(Version::new(8, 0))).is_empty());
            assert!(matches!(host(false, "", Some(true)).compare(list.as_ref()), Err(StepError::NotJudged(_))));
            assert!(matches!(host(false, "", Some(false)).compare(list.as_ref()), Err(StepError::NotApplicable(_))));
        }
        assert!(bad(&KIND, json!({})).contains("mode") && bad(&KIND, json!({"mode": "strict"})).contains("strict"));
    }
}
