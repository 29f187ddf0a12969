//! What is known of a run beside its events.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{JournalError, NewRun, problem};
use crate::engine::events::now_rfc3339;

/// A run's `meta.json`. Fields that an older version did not write have their empty value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMeta {
    /// The run's id.
    pub run: String,
    /// The playbook's name.
    #[serde(default)]
    pub name: String,
    /// The playbook's file.
    #[serde(default)]
    pub playbook: PathBuf,
    /// The command line without secrets.
    #[serde(default)]
    pub argv: Vec<String>,
    /// `apply`, `check` or `verify`.
    #[serde(default)]
    pub mode: String,
    /// Names of the hosts.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The run that this one goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
    /// When it began, RFC 3339, UTC.
    pub started: String,
    /// The version of esxprep.
    #[serde(default)]
    pub esxprep: String,
    /// The process that ran it.
    #[serde(default)]
    pub pid: u32,
    /// When it ended.
    #[serde(default)]
    pub finished: Option<String>,
    /// Its exit code.
    #[serde(default)]
    pub exit_code: Option<i32>,
}

impl RunMeta {
    pub(in crate::engine) fn new(run: String, new: &NewRun) -> Self {
        Self {
            run,
            name: new.name.clone(),
            // Absolute, so that it still says something from another folder.
            playbook: std::path::absolute(&new.playbook).unwrap_or_else(|_| new.playbook.clone()),
            argv: redact_argv(&new.argv),
            mode: new.mode.clone(),
            hosts: new.hosts.clone(),
            resumes: new.resumes.clone(),
            started: now_rfc3339(),
            esxprep: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            finished: None,
            exit_code: None,
        }
    }

    pub(super) fn load(path: &Path) -> Result<Self, JournalError> {
        let text = fs::read_to_string(path).map_err(problem("read", path))?;
        serde_json::from_str(&text).map_err(|e| JournalError::Damaged { path: path.to_owned(), problem: e.to_string() })
    }
}

/// A name for a run that sorts by time (UTC) and does not clash: `20261122-184501-7f3a`. The last part begins with the
/// millisecond: scripts start several runs in a second.
pub fn new_run_id() -> String {
    let now = SystemTime::now();
    let time = humantime::format_rfc3339_seconds(now).to_string();
    let digits: String = time.chars().filter(char::is_ascii_digit).collect();
    let (day, clock) = digits.split_at(8.min(digits.len()));
    let millis = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_millis());
    format!("{day}-{clock}-{:04x}", (millis << 6) | (rand::random::<u32>() & 0x3f))
}

/// Whether a folder's name is a run's id; nothing else is ever listed or removed.
pub(super) fn is_run_id(name: &str) -> bool {
    let parts: Vec<_> = name.split('-').collect();
    let all = |part: &str, length, test: fn(&char) -> bool| part.len() == length && part.chars().all(|c| test(&c));
    matches!(parts.as_slice(), [day, clock, random]
        if all(day, 8, char::is_ascii_digit) && all(clock, 6, char::is_ascii_digit)
            && all(random, 4, char::is_ascii_hexdigit))
}

/// A command line fit to be kept: the values given with `-e` (any of them may be a secret) and passwords in
/// addresses (`user:password@host`) are replaced by `***`.
pub fn redact_argv(argv: &[String]) -> Vec<String> {
    let mut next_is_variable = false;
    argv.iter()
        .map(|arg| {
            if std::mem::take(&mut next_is_variable) {
                return redact_variable(arg);
            }
            if arg == "-e" || arg == "--extra-var" {
                next_is_variable = true;
                return arg.clone();
            }
            if let Some(variable) = arg.strip_prefix("--extra-var=") {
                return format!("--extra-var={}", redact_variable(variable));
            }
            match arg.strip_prefix("-e") {
                Some(variable) if variable.contains('=') => format!("-e{}", redact_variable(variable)),
                _ => redact_userinfo(arg),
            }
        })
        .collect()
}

fn redact_variable(text: &str) -> String {
    match text.split_once('=') {
        // `-e=KEY=VALUE` is one too.
        Some(("", rest)) => format!("={}", redact_variable(rest)),
        Some((key, _)) => format!("{key}=***"),
        None if text.starts_with('@') => text.to_owned(),
        None => "***".to_owned(),
    }
}

/// `user:password@` in a URL or in a list of hosts.
fn redact_userinfo(text: &str) -> String {
    let parts: Vec<_> = text
        .split(',')
        .map(|part| {
            let Some((left, host)) = part.rsplit_once('@') else { return part.to_owned() };
            let scheme = left.find("://").map_or(0, |at| at + 3);
            let (scheme, user) = left.split_at(scheme);
            match user.split_once(':') {
                Some((user, _)) => format!("{scheme}{user}:***@{host}"),
                None => part.to_owned(),
            }
        })
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time_and_are_known_again() {
        let id = new_run_id();
        assert!(is_run_id(&id), "{id}");
        assert!(id.starts_with("20") && id.as_str() > "20200101-000000-0000");
        assert!(!is_run_id("20261122-184501"));
        assert!(!is_run_id("../20261122-184501-7f3a"));
        assert!(!is_run_id("20261122-184501-7f3g"));
    }

    #[test]
    fn secrets_do_not_stay_in_a_command_line() {
        let argv = ["esxprep", "apply", "p.yml", "-e", "root_pw=hunter2", "-ekey=s3", "--extra-var=a=b", "-i"];
        let mut argv: Vec<String> = argv.map(String::from).to_vec();
        argv.push("root:hunter2@esx1,root@esx2:2222,https://me:pw@x/y.zip".into());
        let kept = redact_argv(&argv).join(" ");
        assert_eq!(
            kept,
            "esxprep apply p.yml -e root_pw=*** -ekey=*** --extra-var=a=*** -i \
             root:***@esx1,root@esx2:2222,https://me:***@x/y.zip"
        );
    }
}
