//! A change to the interface that carries the session: made on the host without us, taken back by the host
//! unless we log in again in time and confirm.

use crate::esxi::Command;
use crate::esxi::command::quote;
use crate::steps::Detached;

/// The commands around a detached change. All state lies in one folder below `/tmp` and goes with it.
#[derive(Debug, Clone)]
pub struct DetachedScript {
    folder: String,
    script: String,
    seconds: u64,
}

/// What the host says of a detached change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Not begun, or still running.
    Running,
    /// Made; waiting for the confirmation.
    Made,
    /// Confirmed: it stays.
    Confirmed,
    /// A command failed with this output; the old state was put back.
    Failed(String),
    /// Nobody confirmed in time; the old state was put back.
    RolledBack,
    /// The folder is gone: the host restarted, or the change never began.
    Unknown,
}

impl DetachedScript {
    /// `id` is a word that nothing else on the host uses.
    pub fn new(change: &Detached, id: &str) -> Self {
        let folder = format!("/tmp/.esxprep-{id}");
        let join = |commands: &[Command], with: &str| commands.iter().map(Command::text).collect::<Vec<_>>().join(with);
        let seconds = change.confirm_within.as_secs().max(5);
        // It waits longer than its start is waited for: the answer must be on its way before the session is cut.
        // The rollback goes on after a failing command: the more of the old state comes back, the better.
        let script = format!(
            ": >{folder}/begun; sleep 2\n\
             if ( {change} ) >{folder}/out 2>&1; then echo made >{folder}/state; else\n\
             ( {rollback} ) >>{folder}/out 2>&1; echo failed >{folder}/state; exit 1; fi\n\
             i=0; while [ $i -lt {seconds} ]; do\n\
             if [ -e {folder}/confirm ]; then echo confirmed >{folder}/state; exit 0; fi\n\
             sleep 1; i=$((i+1)); done\n\
             echo rollingback >{folder}/state; ( {rollback} ) >>{folder}/out 2>&1; echo rolledback >{folder}/state\n",
            change = join(&change.commands, " && "),
            rollback = join(&change.rollback, "; "),
        );
        Self { folder, script, seconds }
    }

    /// Starts it, out of reach of the session's end. `setsid` where the host has it, else `nohup`. Ends only when it
    /// has begun: a session that is closed before that could take it along.
    pub fn start(&self) -> Command {
        let script = quote(&self.script);
        let folder = &self.folder;
        // Nothing that belongs to it runs any more after `until`: a later run may then remove the folder.
        let until = self.seconds + 900;
        Command::raw(format!(
            "mkdir -m 700 {folder} && echo $(( $(date +%s) + {until} )) >{folder}/until && {{ if command -v setsid >/dev/null 2>&1; then \
             setsid sh -c {script} </dev/null >/dev/null 2>&1 & else nohup sh -c {script} </dev/null >/dev/null 2>&1 & fi; }} && \
             {{ i=0; while [ ! -e {folder}/begun ] && [ $i -lt 3000 ]; do i=$((i+1)); done; [ -e {folder}/begun ] || sleep 1; \
             [ -e {folder}/begun ] || {{ echo 'it did not begin within 1 s' >&2; exit 1; }}; }}"
        ))
    }

    /// Asks how it stands.
    pub fn ask(&self) -> Command {
        let folder = &self.folder;
        Command::raw(format!(
            "if [ -d {folder} ]; then cat {folder}/state 2>/dev/null; echo --; cat {folder}/out 2>/dev/null; else echo gone; fi"
        ))
    }

    /// Reads the answer.
    pub fn progress(answer: &str) -> Progress {
        let (state, out) = answer.split_once("--\n").unwrap_or((answer, ""));
        match state.trim() {
            "made" => Progress::Made,
            "confirmed" => Progress::Confirmed,
            "failed" => Progress::Failed(out.split_whitespace().collect::<Vec<_>>().join(" ")),
            "rolledback" => Progress::RolledBack,
            "gone" => Progress::Unknown,
            _ => Progress::Running,
        }
    }

    /// Confirms and waits until the host has noticed.
    pub fn confirm(&self) -> Command {
        let folder = &self.folder;
        Command::raw(format!(
            "touch {folder}/confirm; i=0; while [ $i -lt 60 ] && case \"$(cat {folder}/state)\" in made|rollingback) ;; *) false;; esac; do sleep 1; i=$((i+1)); done; \
             cat {folder}/state; echo --; cat {folder}/out"
        ))
    }

    /// Removes the folder.
    pub fn tidy(&self) -> Command {
        Command::raw(format!("rm -rf {}", self.folder))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn script(commands: &[&str], rollback: &[&str], seconds: u64, id: &str) -> DetachedScript {
        let raw = |c: &[&str]| c.iter().map(|t| Command::raw(*t)).collect();
        let change = Detached {
            commands: raw(commands),
            rollback: raw(rollback),
            new_address: None,
            confirm_within: Duration::from_secs(seconds),
        };
        DetachedScript::new(&change, id)
    }

    fn sh(command: &Command) -> String {
        let out = std::process::Command::new("sh").arg("-c").arg(command.text()).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn starting_it_fails_when_it_does_not_run() {
        let code = |command: &Command| {
            std::process::Command::new("sh").arg("-c").arg(command.text()).status().unwrap().code().unwrap()
        };
        let script = script(&["true"], &["true"], 1, &format!("test-s{}", std::process::id()));
        assert_eq!(code(&script.start()), 0);
        // The folder is there already: another run has this id.
        assert_ne!(code(&script.start()), 0);
        let broken = Command::raw(script.start().text().replace(": >", "exit 0; : >"));
        sh(&script.tidy());
        assert_ne!(code(&broken), 0);
        sh(&script.tidy());
    }

    fn wait_for(script: &DetachedScript, wanted: &Progress) -> Progress {
        let mut last = Progress::Unknown;
        for _ in 0..150 {
            last = DetachedScript::progress(&sh(&script.ask()));
            if last == *wanted {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        last
    }

    #[test]
    fn a_confirmed_change_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("it's made");
        let touch = format!("touch {}", quote(mark.to_str().unwrap()));
        let undo = format!("rm {}", quote(mark.to_str().unwrap()));
        let script = script(&[&touch, "true"], &[&undo], 30, &format!("test-c{}", std::process::id()));
        sh(&script.start());
        assert_eq!(wait_for(&script, &Progress::Made), Progress::Made);
        assert_eq!(DetachedScript::progress(&sh(&script.confirm())), Progress::Confirmed);
        assert!(mark.exists());
        sh(&script.tidy());
        assert_eq!(DetachedScript::progress(&sh(&script.ask())), Progress::Unknown);
    }

    #[test]
    fn without_a_confirmation_the_old_state_comes_back_even_if_one_step_of_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("back");
        let undo = format!("touch {}", quote(mark.to_str().unwrap()));
        let script = script(&["true"], &["false", &undo], 1, &format!("test-r{}", std::process::id()));
        sh(&script.start());
        assert_eq!(wait_for(&script, &Progress::RolledBack), Progress::RolledBack);
        assert!(mark.exists());
        sh(&script.tidy());
    }

    #[test]
    fn a_failing_change_is_undone_at_once_and_says_why() {
        let script = script(
            &["echo 'Unable to add'; false", "echo never"],
            &["true"],
            30,
            &format!("test-f{}", std::process::id()),
        );
        sh(&script.start());
        let wanted = Progress::Failed("Unable to add".into());
        assert_eq!(wait_for(&script, &wanted), wanted);
        sh(&script.tidy());
    }
}
