//! Services, syslog, SNMP, TLS profiles and sshd's defaults, as data. Each file says where its lines are from.

use std::sync::LazyLock;

use super::super::state::{Release, Service};
use super::tables::rows;

/// A service as it ships.
#[derive(Debug)]
pub(in super::super) struct Shipped {
    pub script: &'static str,
    /// hostd's name for it and the first release that lists it.
    key: Option<(&'static str, Release)>,
    pub label: &'static str,
    pub rulesets: Vec<&'static str>,
    pub package: &'static str,
    since: Release,
    states: Vec<&'static str>,
}

/// The services, in the order a host lists them.
pub(in super::super) static SERVICES: LazyLock<Vec<Shipped>> = LazyLock::new(|| {
    rows(include_str!("services.tsv"))
        .map(|c| Shipped {
            script: c[0],
            key: match c[1].split_once('@') {
                Some((key, since)) => Some((key, Release::of(since))),
                None => Some((c[1], Release::V60)).filter(|k| k.0 != "-"),
            },
            label: c[2].trim_start_matches('-'),
            rulesets: c[3].split(',').filter(|r| *r != "-").collect(),
            package: c[4],
            since: Release::of(c[5]),
            states: c[6..].to_vec(),
        })
        .collect()
});

/// A service by its init script.
pub(in super::super) fn service(script: &str) -> Option<&'static Shipped> {
    SERVICES.iter().find(|s| s.script == script)
}

/// The services of a fresh host.
pub(in super::super) fn services(release: Release) -> Vec<Service> {
    SERVICES
        .iter()
        .filter(|s| s.since <= release)
        .map(|s| {
            let state = s.states.get(release.column()).copied().unwrap_or("off-");
            Service {
                script: s.script.into(),
                key: s.key.filter(|k| k.1 <= release).map_or("", |k| k.0).into(),
                label: s.label.into(),
                policy: state.trim_end_matches(['+', '-']).into(),
                running: state.ends_with('+'),
            }
        })
        .collect()
}

/// One line of `esxcli system syslog config get`.
#[derive(Debug)]
pub(in super::super) struct Syslog {
    since: Release,
    until: Release,
    pub label: &'static str,
    /// `int`, `bool`, `text`, `dir`, `hosts` or `computed`.
    pub kind: &'static str,
    /// hostd's option of the same value.
    pub key: Option<&'static str>,
    /// The option of `set`.
    pub option: &'static str,
    pub default: &'static str,
}

static SYSLOG: LazyLock<Vec<Syslog>> = LazyLock::new(|| {
    rows(include_str!("syslog.tsv"))
        .map(|c| Syslog {
            since: Release::of(c[0]),
            until: Release::of(c[1]),
            label: c[2],
            kind: c[3],
            key: Some(c[4]).filter(|k| *k != "-"),
            option: c[5],
            default: c[6],
        })
        .collect()
});

/// The syslog lines of a release, in their order.
pub(in super::super) fn syslog(release: Release) -> impl Iterator<Item = &'static Syslog> {
    SYSLOG.iter().filter(move |s| s.since <= release && release <= s.until)
}

/// One line of `esxcli system snmp get`: label, option, kind and default.
#[derive(Debug)]
pub(in super::super) struct Snmp {
    pub label: &'static str,
    pub option: &'static str,
    pub kind: &'static str,
    pub default: &'static str,
}

/// The SNMP agent's settings, in their order.
pub(in super::super) static SNMP: LazyLock<Vec<Snmp>> = LazyLock::new(|| {
    rows(include_str!("snmp.tsv"))
        .map(|c| Snmp { label: c[0], option: c[1], kind: c[3], default: c.get(4).copied().unwrap_or("") })
        .collect()
});

/// A TLS server profile: name, cipher list, cipher suites, groups, protocol versions.
pub(in super::super) static TLS: LazyLock<Vec<[&'static str; 5]>> =
    LazyLock::new(|| rows(include_str!("tls.tsv")).filter_map(|c| <[&str; 5]>::try_from(c).ok()).collect());

/// sshd's keywords in the order of `sshd -T`, with the default: `-` is not printed unless set, `*` in front of it is
/// one of several lines.
pub(in super::super) static SSHD: LazyLock<Vec<(&'static str, &'static str)>> =
    LazyLock::new(|| rows(include_str!("sshd.tsv")).map(|c| (c[0], c.get(1).copied().unwrap_or(""))).collect());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_fit_together() {
        for release in [Release::V60, Release::V65, Release::V67, Release::V70, Release::V80] {
            for line in syslog(release) {
                if let Some(key) = line.key {
                    let option = super::super::tables::hostd(key).unwrap_or_else(|| panic!("{key}"));
                    assert!(option.default(release).is_some() || !line.default.is_empty(), "{key} on {release:?}");
                }
            }
            assert!(services(release).iter().any(|s| s.script == "slpd"));
        }
        for ruleset in SERVICES.iter().flat_map(|s| &s.rulesets) {
            assert!(super::super::firewall::shipped(ruleset).is_some(), "{ruleset}");
        }
        assert_eq!((SNMP.len(), TLS.len()), (16, 2));
        assert!(SSHD.len() > 60);
    }
}
