//! What reports know of controls beyond what a run says: titles, severities, the identifiers of DISA.

use indexmap::IndexMap;

use crate::hardening;
pub use crate::hardening::Severity;

/// Tells what is known of a baseline by its name.
pub type Lookup = fn(&str) -> Option<Benchmark>;

/// What is known of the baseline of this name; nothing of one that this program does not know.
pub fn benchmark(name: &str) -> Option<Benchmark> {
    let baseline = hardening::baseline(name)?;
    let facts = |control: &hardening::Control| ControlFacts {
        title: control.title.clone(),
        severity: Some(control.severity),
        group: control.group.clone(),
        rule: control.rule.clone(),
        srg: control.srg.clone(),
        ccis: control.ccis.clone(),
        look: control.look.clone(),
        change: control.change.clone(),
    };
    Some(Benchmark {
        title: baseline.title.clone(),
        version: baseline.version.clone(),
        release: baseline.release.clone(),
        date: baseline.date.clone(),
        stig_id: baseline.stig_id.clone(),
        stig_title: baseline.stig_title.clone(),
        controls: baseline.controls.iter().map(|control| (control.id.clone(), facts(control))).collect(),
    })
}

/// A baseline as reports need it.
#[derive(Debug, Clone, Default)]
pub struct Benchmark {
    /// Its title, in our words.
    pub title: String,
    /// The edition: a STIG's version (`2`), another guide's own label.
    pub version: String,
    /// A STIG's release within its version.
    pub release: Option<String>,
    /// The day of the edition, as `2025-04-02`.
    pub date: Option<String>,
    /// The name by which STIG viewers know it; only a STIG has one.
    pub stig_id: Option<String>,
    /// The STIG's own title, which STIG viewers show.
    pub stig_title: Option<String>,
    /// Its controls by id, in the order of the publisher.
    pub controls: IndexMap<String, ControlFacts>,
}

/// A control as reports need it.
#[derive(Debug, Clone, Default)]
pub struct ControlFacts {
    /// What it asks, in our words.
    pub title: String,
    /// How bad a finding is.
    pub severity: Option<Severity>,
    /// DISA's group: `V-258728`.
    pub group: Option<String>,
    /// DISA's rule: `SV-258728r958388_rule`.
    pub rule: Option<String>,
    /// The requirement that the rule is for: `SRG-OS-000021-VMM-000050`.
    pub srg: Option<String>,
    /// Control correlation identifiers: `CCI-000044`.
    pub ccis: Vec<String>,
    /// How to look by hand.
    pub look: Option<String>,
    /// How to change it by hand.
    pub change: Option<String>,
}

impl Benchmark {
    /// Whether STIG viewers know it: a STIG with the identifiers of DISA.
    pub fn is_stig(&self) -> bool {
        self.stig_id.is_some() && self.controls.values().any(|c| c.rule.is_some())
    }

    /// A STIG's edition in the words of STIG viewers: `Release: 3 Benchmark Date: 02 Apr 2025`.
    pub fn release_info(&self) -> String {
        let release = self.release.as_deref().unwrap_or("1");
        match self.date.as_deref().and_then(day) {
            Some(date) => format!("Release: {release} Benchmark Date: {date}"),
            // Readers look for the word after the number.
            None => format!("Release: {release} Benchmark Date: unknown"),
        }
    }
}

/// `2025-04-02` as `02 Apr 2025`.
fn day(date: &str) -> Option<String> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
    Some(format!("{day} {month} {year}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_reads_as_stig_viewers_write_it() {
        let edition = |release: Option<&str>, date: Option<&str>| {
            let (release, date) = (release.map(Into::into), date.map(Into::into));
            Benchmark { release, date, ..Benchmark::default() }.release_info()
        };
        assert_eq!(edition(Some("3"), Some("2025-04-02")), "Release: 3 Benchmark Date: 02 Apr 2025");
        assert_eq!(edition(None, Some("2025-13-02")), "Release: 1 Benchmark Date: unknown");
    }
}
