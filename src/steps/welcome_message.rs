//! `welcome_message`: the text on the host's console screen.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::accept::Accept;
use super::release::known;
use super::{Action, Change, Kind, Seen, Step, StepError, Undo, parse_as};
use crate::esxi::{Command, HostFacts, Version};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "welcome_message",
    about: "The text on the host's console screen",
    example: "- welcome_message: {text: \"Authorized use only\\n\"}\n",
    parse: parse_as::<WelcomeMessage>,
    schema: <WelcomeMessage as JsonSchema>::json_schema,
};

/// The text that the console shows to whoever stands in front of the host, in the place of its hints.
///
/// That this is the setting `Annotations.WelcomeMessage`, and that an empty text takes the message away, is not verified
/// on a host.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WelcomeMessage {
    /// The text, several lines if need be. Empty: no message; empty or null beside `accept`: only judged.
    #[serde(default)]
    text: Option<String>,
    /// Other texts that pass.
    #[serde(default)]
    accept: Option<Accept>,
}

fn get() -> Command {
    Command::esxcli("system welcomemsg get")
}

/// One line for the report.
fn shown(text: &str) -> String {
    let mut lines = text.lines().filter(|l| !l.trim().is_empty());
    match (lines.next(), lines.count()) {
        (None, _) => "none".into(),
        (Some(first), 0) => first.trim().to_owned(),
        (Some(first), more) => format!("{} ... ({more} more lines)", first.trim()),
    }
}

impl Step for WelcomeMessage {
    fn summary(&self) -> String {
        format!("message on the console: {}", shown(self.text.as_deref().unwrap_or("judged")))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![get()]
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        // hostd's setting of the same text is read by another program: vim-cmd is read again after any change.
        Some(&["esxcli system welcomemsg"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        // A text may look like an error, so only the exit code and an unknown command count.
        let output = seen.raw(&get())?;
        if output.code != 0 {
            known(seen, &get(), "the message on the console", Version::new(6, 0))?;
        }
        let now = output.stdout.strip_suffix('\n').unwrap_or(&output.stdout);
        let want = self.text.as_deref().filter(|t| self.accept.is_none() || !t.trim().is_empty());
        if self.accept.as_ref().is_some_and(|a| a.passes(now)) || want.is_some_and(|w| w.trim_end() == now.trim_end()) {
            return Ok(Vec::new());
        }
        let Some(want) = want else {
            return match self.accept {
                Some(_) => Ok(vec![Change::finding(
                    "message on the console",
                    shown(now),
                    "a text that passes",
                    "give the text of this site (`text`)",
                )]),
                None => Err(StepError::NotJudged("no text was given to compare with: give `text`".into())),
            };
        };
        let set = Command::esxcli("system welcomemsg set");
        // A value that begins with `-` would be taken for an option.
        let set = if want.starts_with('-') { set.opt("--message", want) } else { set.opt("-m", want) };
        Ok(vec![Change {
            summary: "message on the console".into(),
            before: shown(now),
            after: shown(want),
            actions: vec![Action::Run(set)],
            undo: Undo::step("welcome_message", json!({ "text": now })),
            ..Change::default()
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, step, texts, undone};
    use super::*;

    fn host(text: &str) -> Host {
        Host::with(Version::new(8, 0), &[(get().text(), text)])
    }

    #[test]
    fn set_kept_and_taken_back() {
        let two = "{align:left}You are accessing it.\n\nIt's watched.";
        let wanted = step(&KIND, json!({"text": two, "accept": {"contains": "accessing"}}));
        assert!(host(&format!("{two}\n")).compare(wanted.as_ref()).unwrap().is_empty());
        assert!(host("you may, accessing or not\n").compare(wanted.as_ref()).unwrap().is_empty());
        for (before, back) in [("\n", "''"), ("", "''"), ("a\n\n b\n", "'a\n\n b'"), ("Error: no\n", "'Error: no'")] {
            let changes = host(before).compare(wanted.as_ref()).unwrap();
            assert_eq!(
                texts(&changes),
                ["esxcli system welcomemsg set -m '{align:left}You are accessing it.\n\nIt'\\''s watched.'"]
            );
            assert_eq!(undone(&host(two), &changes), [format!("esxcli system welcomemsg set -m {back}")]);
        }
    }

    #[test]
    fn without_a_text_it_is_judged_only() {
        for text in [json!(null), json!("")] {
            let judged = step(&KIND, json!({"text": text, "accept": {"contains": "accessing"}}));
            assert!(host("\n").compare(judged.as_ref()).unwrap()[0].by_hand.is_some());
            assert!(host("accessing\n").compare(judged.as_ref()).unwrap().is_empty());
        }
        let nothing = step(&KIND, json!({}));
        assert!(matches!(host("x\n").compare(nothing.as_ref()), Err(StepError::NotJudged(_))));
        let dash = step(&KIND, json!({"text": "-x"}));
        assert_eq!(host("\n").actions(dash.as_ref()), ["esxcli system welcomemsg set --message=-x"]);
    }
}
