//! Options that decide what a run does to its hosts: kept in a recording as they stand on a command line, so that its
//! replay does the same.

use std::fmt::Display;
use std::time::Duration;

use clap::{Args, Parser};

use crate::engine::{Batch, Mode, RunOptions, Serial};

/// Options of a run that its replay shares. What is not given is as the recording has it, else the default.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct KeptOptions {
    /// Only steps with one of these tags; '' for all steps.
    #[arg(long, value_name = "T", value_delimiter = ',')]
    tags: Vec<String>,
    /// No steps with one of these tags.
    #[arg(long, value_name = "T", value_delimiter = ',')]
    skip_tags: Vec<String>,
    /// Never reboot.
    #[arg(long)]
    no_reboot: bool,
    /// Change even hosts that forget it at their next boot.
    #[arg(long)]
    allow_unsaved: bool,
    /// Work on so many hosts at the same time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    forks: Option<u16>,
    /// Finish one batch of hosts before the next.
    #[arg(long, value_name = "N|N%,...")]
    serial: Option<Serial>,
    /// Begin no other host once so many have failed.
    #[arg(long, value_name = "N|N%", value_parser = Batch::of_failures)]
    max_failures: Option<Batch>,
    /// Time limit of a command whose step sets none.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    command_timeout: Option<Duration>,
    /// How long the management agent (hostd) may take once SSH answers.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    agent_timeout: Option<Duration>,
    /// Time limit from the reboot to a host that is ready again.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    reboot_timeout: Option<Duration>,
}

#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct Line {
    #[command(flatten)]
    options: KeptOptions,
}

impl KeptOptions {
    /// Reads the `options:` line of a recorded host. The error is for people.
    pub fn parse(line: &str) -> Result<Self, String> {
        let words = shell_words::split(line).map_err(|e| e.to_string())?;
        let parsed = Line::try_parse_from(words).map_err(|e| {
            let text = e.to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        })?;
        Ok(parsed.options)
    }

    /// What is given here, and the recorded where it is not. Tags and tags to skip choose together.
    pub fn over(self, recorded: Self) -> Self {
        let chosen = !self.tags.is_empty() || !self.skip_tags.is_empty();
        let (tags, skip_tags) = if chosen { (self.tags, self.skip_tags) } else { (recorded.tags, recorded.skip_tags) };
        Self {
            tags,
            skip_tags,
            no_reboot: self.no_reboot || recorded.no_reboot,
            allow_unsaved: self.allow_unsaved || recorded.allow_unsaved,
            forks: self.forks.or(recorded.forks),
            serial: self.serial.or(recorded.serial),
            max_failures: self.max_failures.or(recorded.max_failures),
            command_timeout: self.command_timeout.or(recorded.command_timeout),
            agent_timeout: self.agent_timeout.or(recorded.agent_timeout),
            reboot_timeout: self.reboot_timeout.or(recorded.reboot_timeout),
        }
    }

    /// Whether it is said here how many hosts may fail.
    pub fn limits_failures(&self) -> bool {
        self.max_failures.is_some()
    }

    /// Tells a run.
    pub fn tell(&self, options: &mut RunOptions) {
        let named = |tags: &[String]| tags.iter().filter(|t| !t.is_empty()).cloned().collect();
        options.tags = named(&self.tags);
        options.skip_tags = named(&self.skip_tags);
        options.no_reboot = self.no_reboot;
        options.allow_unsaved = self.allow_unsaved;
        options.forks = self.forks.map_or(options.forks, usize::from);
        options.serial.clone_from(&self.serial);
        options.max_failures = self.max_failures;
        options.command_timeout = self.command_timeout.unwrap_or(options.command_timeout);
        options.agent_timeout = self.agent_timeout.unwrap_or(options.agent_timeout);
        options.reboot_timeout = self.reboot_timeout.unwrap_or(options.reboot_timeout);
    }
}

/// The options of a run as a line that [`KeptOptions::parse`] reads; `None` when all are the defaults.
pub fn line_of(options: &RunOptions) -> Option<String> {
    let plain = RunOptions::new(Mode::Apply, std::path::PathBuf::new());
    let mut words: Vec<String> = Vec::new();
    let mut say = |name: &str, value: Option<&dyn Display>| {
        words.push(format!("--{name}"));
        words.extend(value.map(|v| shell_words::quote(&v.to_string()).into_owned()));
    };
    for (name, tags) in [("tags", &options.tags), ("skip-tags", &options.skip_tags)] {
        if !tags.is_empty() {
            say(name, Some(&tags.join(",")));
        }
    }
    for (name, set) in [("no-reboot", options.no_reboot), ("allow-unsaved", options.allow_unsaved)] {
        if set {
            say(name, None);
        }
    }
    if options.forks != plain.forks {
        say("forks", Some(&options.forks));
    }
    if let Some(batches) = &options.serial {
        say("serial", Some(batches));
    }
    if let Some(most) = options.max_failures {
        say("max-failures", Some(&most));
    }
    for (name, limit, usual) in [
        ("command-timeout", options.command_timeout, plain.command_timeout),
        ("agent-timeout", options.agent_timeout, plain.agent_timeout),
        ("reboot-timeout", options.reboot_timeout, plain.reboot_timeout),
    ] {
        if limit != usual {
            say(name, Some(&humantime::format_duration(limit)));
        }
    }
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> RunOptions {
        let mut options = RunOptions::new(Mode::Apply, std::path::PathBuf::new());
        options.tags = vec!["net".into(), "old vib".into()];
        options.skip_tags = vec!["slow".into()];
        options.no_reboot = true;
        options.allow_unsaved = true;
        options.forks = 3;
        options.serial = "1,20%".parse().ok();
        options.max_failures = Some(Batch::Hosts(2));
        options.command_timeout = Duration::from_secs(63);
        options.agent_timeout = Duration::from_millis(1500);
        options.reboot_timeout = Duration::from_secs(7);
        options
    }

    #[test]
    fn a_line_says_all_that_is_not_the_default_and_reads_back() {
        assert_eq!(line_of(&RunOptions::new(Mode::Verify, std::path::PathBuf::new())), None);
        let line = line_of(&all()).unwrap();
        assert_eq!(
            line,
            "--tags 'net,old vib' --skip-tags slow --no-reboot --allow-unsaved --forks 3 --serial '1,20%' --max-failures 2 \
             --command-timeout '1m 3s' --agent-timeout '1s 500ms' --reboot-timeout 7s"
        );
        let mut told = RunOptions::new(Mode::Apply, std::path::PathBuf::new());
        KeptOptions::parse(&line).unwrap().tell(&mut told);
        assert_eq!(format!("{told:?}"), format!("{:?}", all()));
    }

    #[test]
    fn what_is_given_wins_and_tags_choose_together() {
        let recorded = KeptOptions::parse(&line_of(&all()).unwrap()).unwrap();
        let given = KeptOptions::parse("--skip-tags vib --forks 1").unwrap().over(recorded.clone());
        assert_eq!((given.tags.len(), given.skip_tags.as_slice()), (0, ["vib".to_owned()].as_slice()));
        assert_eq!((given.forks, given.max_failures, given.no_reboot), (Some(1), Some(Batch::Hosts(2)), true));
        let mut told = all();
        KeptOptions::parse("--tags ''").unwrap().over(recorded).tell(&mut told);
        assert!(told.tags.is_empty() && told.skip_tags.is_empty());
    }

    #[test]
    fn a_line_that_is_none_says_so() {
        assert!(KeptOptions::parse("--no-rebot").unwrap_err().contains("--no-rebot"));
        assert!(KeptOptions::parse("--tags 'x").unwrap_err().contains("quote"));
    }
}
