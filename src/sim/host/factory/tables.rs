//! The options of each release, as data. Names, defaults, minima and maxima are those of public option lists of
//! real hosts (6.0 U3, 6.5 U2, 6.7 U3, 7.0 U3, 8.0 U3); `-` means that the release does not have the option.

use std::sync::LazyLock;

use super::super::state::Release;

/// One option of the VMkernel's advanced settings.
#[derive(Debug)]
pub(in super::super) struct Advanced {
    pub path: &'static str,
    pub integer: bool,
    pub min: i64,
    pub max: i64,
    defaults: [&'static str; 5],
    pub description: &'static str,
}

impl Advanced {
    pub(in super::super) fn default(&self, release: Release) -> Option<&'static str> {
        Some(self.defaults[release.column()]).filter(|d| *d != "-")
    }
}

/// One of hostd's own options.
#[derive(Debug)]
pub(in super::super) struct Hostd {
    pub key: &'static str,
    /// `string`, `int` or `bool`.
    pub kind: &'static str,
    defaults: [&'static str; 5],
}

impl Hostd {
    pub(in super::super) fn default(&self, release: Release) -> Option<&'static str> {
        Some(self.defaults[release.column()]).filter(|d| *d != "-")
    }
}

/// One kernel (boot) setting.
#[derive(Debug)]
pub(in super::super) struct Kernel {
    pub name: &'static str,
    pub kind: &'static str,
    defaults: [&'static str; 5],
    pub description: &'static str,
}

impl Kernel {
    pub(in super::super) fn default(&self, release: Release) -> Option<&'static str> {
        Some(self.defaults[release.column()]).filter(|d| *d != "-")
    }
}

fn five(cells: &[&'static str], from: usize) -> [&'static str; 5] {
    std::array::from_fn(|i| cells.get(from + i).copied().unwrap_or("-"))
}

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|l| !l.is_empty()).map(|l| l.split('\t').collect())
}

/// Every advanced option of any release, in the order a host lists them here.
pub(in super::super) static ADVANCED: LazyLock<Vec<Advanced>> = LazyLock::new(|| {
    rows(include_str!("advanced.tsv"))
        .map(|c| Advanced {
            path: c[0],
            integer: c[1] == "integer",
            min: c[2].parse().unwrap_or(0),
            max: c[3].parse().unwrap_or(0),
            defaults: five(&c, 4),
            description: c.get(9).copied().unwrap_or(""),
        })
        .collect()
});

/// hostd's own options of any release.
pub(in super::super) static HOSTD: LazyLock<Vec<Hostd>> = LazyLock::new(|| {
    rows(include_str!("hostd.tsv")).map(|c| Hostd { key: c[0], kind: c[1], defaults: five(&c, 2) }).collect()
});

/// The kernel settings of any release.
pub(in super::super) static KERNEL: LazyLock<Vec<Kernel>> = LazyLock::new(|| {
    rows(include_str!("kernel.tsv"))
        .map(|c| Kernel { name: c[0], kind: c[1], defaults: five(&c, 2), description: c.get(7).copied().unwrap_or("") })
        .collect()
});

/// An advanced option by its path, in any case of letters (recorded on 7.0: `/Misc/hostname` sets HostName).
pub(in super::super) fn advanced(path: &str) -> Option<&'static Advanced> {
    ADVANCED.iter().find(|o| o.path.eq_ignore_ascii_case(path))
}

/// One of hostd's options by its key.
pub(in super::super) fn hostd(key: &str) -> Option<&'static Hostd> {
    HOSTD.iter().find(|o| o.key == key)
}

/// A kernel setting by its name.
pub(in super::super) fn kernel(name: &str) -> Option<&'static Kernel> {
    KERNEL.iter().find(|o| o.name.eq_ignore_ascii_case(name))
}
