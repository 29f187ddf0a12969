//! One host's results, whatever the form: every control of the baseline, and those of the playbook beyond it.

use std::net::IpAddr;

use sha1::{Digest, Sha1};

use super::super::collect::Collected;
use super::super::controls::{self, Baselines, Shown};
use super::super::text::{block, xml};
use crate::engine::events::ControlVerdict;
use crate::hardening::{Baseline, Control};

/// Longest text of a field, in characters: managers of checklists cut at 32767.
const LONGEST: usize = 32_000;

/// A host's sheet.
pub(super) struct Sheet<'a> {
    pub run: &'a str,
    pub playbook: &'a str,
    pub mode: &'a str,
    pub host: String,
    pub address: Address,
    /// `8.0.3` and the build's number, where the host was reached.
    pub release: Option<(String, u64)>,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339.
    pub ended: String,
    /// The baseline's name, as the playbook gives it.
    pub baseline: Option<&'a str>,
    /// What is known of it.
    pub benchmark: Option<&'static Baseline>,
    pub rows: Vec<Row<'a>>,
}

/// What the address tells.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Address {
    pub ip: String,
    pub fqdn: String,
}

/// A control.
pub(super) struct Row<'a> {
    pub id: &'a str,
    pub title: String,
    pub facts: Option<&'a Control>,
    /// Nothing for a control of the baseline that took no part in the run.
    pub verdict: Option<ControlVerdict>,
    /// What was read.
    pub finding: String,
    /// Why it is accepted, or what a person must do.
    pub comment: String,
}

impl<'a> Sheet<'a> {
    /// Nothing when nothing was judged on the host.
    pub fn new(run: &'a Collected, host: &str, known: &'a Baselines) -> Option<Self> {
        let record = run.hosts.get(host).filter(|r| !r.controls.is_empty())?;
        let shown = controls::shown(record, known);
        let baseline = record.controls.iter().find_map(|c| c.baseline.as_deref());
        let benchmark = baseline.and_then(|b| known.get(b)).copied();
        let release = record.version.as_ref().map(|v| (plain(v), record.build));
        let mut sheet = Self {
            run: &run.run,
            playbook: &run.playbook,
            mode: &run.mode,
            host: plain(host),
            address: Address::of(record.address.as_deref().unwrap_or_default(), host),
            release,
            started: record.since.clone().unwrap_or_else(|| run.started.clone()),
            ended: record.ended.clone().unwrap_or_else(|| run.last.clone()),
            baseline,
            benchmark,
            rows: Vec::new(),
        };
        let by_id = |id: &str| shown.iter().find(|c| c.event.id == id);
        if let Some(benchmark) = benchmark {
            for facts in &benchmark.controls {
                sheet.rows.push(match by_id(&facts.id) {
                    Some(control) => sheet.row(control),
                    None => Row {
                        id: &facts.id,
                        title: plain(&facts.title),
                        facts: Some(facts),
                        verdict: None,
                        finding: String::new(),
                        comment: "Not judged: the playbook has no step for it, or tags left it out.".to_owned(),
                    },
                });
            }
        }
        let beyond = |c: &&Shown<'a>| benchmark.is_none_or(|b| b.control(&c.event.id).is_none());
        for control in shown.iter().filter(beyond) {
            sheet.rows.push(sheet.row(control));
        }
        Some(sheet)
    }

    fn row(&self, control: &Shown<'a>) -> Row<'a> {
        let found = control.found();
        let event = control.event;
        let mut finding = vec![format!("Judged by {}.", self.judge())];
        let mut comment = Vec::new();
        match event.verdict {
            ControlVerdict::Pass if event.changed => {
                finding.push("This run changed it; it is now as asked.".to_owned())
            }
            ControlVerdict::Pass => finding.push("It is as asked.".to_owned()),
            ControlVerdict::Fail if event.pending_reboot => {
                finding.push("Configured, and it counts from the next boot on.".to_owned());
                comment.push("Reboot the host, then judge it again.".to_owned());
            }
            ControlVerdict::Fail => finding.push("It is not as asked.".to_owned()),
            ControlVerdict::NotApplicable => finding.push("It has no meaning on this host.".to_owned()),
            ControlVerdict::NotJudged => finding = vec![format!("Not judged by {}.", self.judge())],
        }
        if event.verdict == ControlVerdict::NotJudged && !control.broken {
            comment.push(found);
        } else {
            finding.push(found);
        }
        if event.verdict == ControlVerdict::Fail && event.by_hand {
            comment.push("esxprep does not change this: a person must.".to_owned());
        }
        comment.extend(control.waiver().map(|w| sentence(&w)));
        Row {
            id: &event.id,
            title: plain(control.title()),
            facts: control.facts,
            verdict: Some(event.verdict),
            finding: limited(&finding),
            comment: limited(&comment),
        }
    }

    /// `esxprep 0.1.0 on 2026-11-22T18:45:01Z (verify, run ...; ESXi 8.0.3 build 24022510)`.
    fn judge(&self) -> String {
        let host = match &self.release {
            Some((version, build)) => format!("; ESXi {version} build {build}"),
            None => String::new(),
        };
        format!("{} on {} ({}, run {}{host})", program(), self.ended, self.mode, self.run)
    }

    /// Passes, and how many controls count for the score: those that were judged and apply.
    pub fn score(&self) -> (usize, usize) {
        let count = |wanted: ControlVerdict| self.rows.iter().filter(|r| r.verdict == Some(wanted)).count();
        let passes = count(ControlVerdict::Pass);
        (passes, passes + count(ControlVerdict::Fail))
    }

    /// An identifier that is the same whenever the same events are read again (UUID version 5).
    pub fn uuid(&self, what: &str) -> String {
        uuid(&format!("{}\n{}\n{what}", self.run, self.host))
    }

    /// One that is the same for all hosts and runs.
    pub fn stig_uuid(&self) -> String {
        uuid(self.benchmark.and_then(|b| b.stig_id.as_deref()).or(self.baseline).unwrap_or_default())
    }
}

impl Row<'_> {
    /// `high`, or nothing where it is not known.
    pub fn severity(&self) -> Option<&'static str> {
        self.facts.map(|f| f.severity.word())
    }
}

impl Address {
    /// From the address that was connected to (`192.0.2.11:22`, `[2001:db8::1]:22`, `esx1.lab.example:22`), and the
    /// name of the host in the inventory.
    fn of(address: &str, host: &str) -> Self {
        let bare = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((ip, _)) => ip,
            None => match address.rsplit_once(':') {
                Some((name, port)) if !name.contains(':') && port.chars().all(|c| c.is_ascii_digit()) => name,
                _ => address,
            },
        };
        let ip = [bare, host].into_iter().find(|text| text.parse::<IpAddr>().is_ok());
        let named = |text: &&str| text.contains('.') && !text.contains(['/', ' ']) && text.parse::<IpAddr>().is_err();
        let fqdn = [host, bare].into_iter().find(named);
        Self { ip: ip.map(plain).unwrap_or_default(), fqdn: fqdn.map(plain).unwrap_or_default() }
    }
}

/// `esxprep 0.1.0`.
pub(super) fn program() -> String {
    format!("esxprep {}", env!("CARGO_PKG_VERSION"))
}

/// What steers a terminal is written out, what XML cannot hold is left out.
pub(super) fn plain(text: &str) -> String {
    xml(&block(text)).into_owned()
}

/// Lines as one text that is not longer than managers of checklists take.
fn limited(lines: &[String]) -> String {
    let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|l| !l.is_empty()).collect();
    let text = plain(&lines.join("\n"));
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}\n(cut: the rest is in the run's journal)", &text[..at]),
        None => text,
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let text = letters.next().map(|c| c.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default();
    if text.ends_with(['.', '!', '?']) { text } else { text + "." }
}

fn uuid(name: &str) -> String {
    // A namespace of our own: the name-based identifier of "esxprep" among domain names.
    const SPACE: [u8; 16] =
        [0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];
    let hash = Sha1::new().chain_update(SPACE).chain_update("esxprep").chain_update(name).finalize();
    let mut hex: Vec<u8> = hash.iter().take(16).copied().collect();
    hex[6] = hex[6] & 0x0f | 0x50;
    hex[8] = hex[8] & 0x3f | 0x80;
    let text: String = hex.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_what_it_can() {
        let of = |address, host| {
            let Address { ip, fqdn } = Address::of(address, host);
            (ip, fqdn)
        };
        let both = |ip: &str, fqdn: &str| (ip.to_owned(), fqdn.to_owned());
        assert_eq!(of("192.0.2.11:22", "esx1"), both("192.0.2.11", ""));
        assert_eq!(of("[2001:db8::1]:2222", "esx1.lab.example"), both("2001:db8::1", "esx1.lab.example"));
        assert_eq!(of("2001:db8::1", "esx1"), both("2001:db8::1", ""));
        assert_eq!(of("esx1.lab.example:22", "esx1"), both("", "esx1.lab.example"));
        assert_eq!(of("", "192.0.2.9"), both("192.0.2.9", ""));
        assert_eq!(of("", ""), both("", ""));
    }

    #[test]
    fn identifiers_are_of_version_5_and_stay() {
        let id = uuid("a");
        assert_eq!(id, uuid("a"));
        assert_ne!(id, uuid("b"));
        assert_eq!((id.len(), &id[14..15]), (36, "5"));
        assert!(["8", "9", "a", "b"].contains(&&id[19..20]), "{id}");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let text = limited(&["é".repeat(LONGEST + 5)]);
        assert!(text.ends_with("journal)") && text.chars().count() < LONGEST + 60);
    }
}
