//! The options of each release, as data. Names, defaults, minima and maxima are those of public option lists of
//! real hosts (6.0 U3, 6.5 U2, 6.7 U3, 7.0 U3, 8.0 U3: github.com/lamw/esxi-advanced-and-kernel-settings); `-` means
//! that the release does not have the option. Descriptions are recorded ones or the simulator's own words.

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
    pub description: String,
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
    pub description: String,
}

impl Kernel {
    pub(in super::super) fn default(&self, release: Release) -> Option<&'static str> {
        Some(self.defaults[release.column()]).filter(|d| *d != "-")
    }
}

fn five(cells: &[&'static str], from: usize) -> [&'static str; 5] {
    std::array::from_fn(|i| cells.get(from + i).copied().unwrap_or("-"))
}

pub(super) fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(|l| l.split('\t').collect())
}

/// The words that an option's name is made of: `/Disk/MaxLUN` is `Simulated: max LUN`.
fn in_words(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or(name);
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, letter) in letters.iter().enumerate() {
        let after_small = at > 0 && !letters[at - 1].is_ascii_uppercase();
        let before_small = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && at > 0 && (after_small || before_small) || *letter == '_' {
            words.push(String::new());
        }
        if *letter != '_'
            && let Some(word) = words.last_mut()
        {
            word.push(*letter);
        }
    }
    let word = |word: String| {
        if word.chars().nth(1).is_some_and(|c| c.is_ascii_uppercase()) { word } else { word.to_lowercase() }
    };
    format!("Simulated: {}", words.into_iter().map(word).collect::<Vec<_>>().join(" "))
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
            description: c.get(9).map_or_else(|| in_words(c[0]), |recorded| (*recorded).to_owned()),
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
        .map(|c| Kernel {
            name: c[0],
            kind: c[1],
            defaults: five(&c, 2),
            description: c.get(7).map_or_else(|| in_words(c[0]), |recorded| (*recorded).to_owned()),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_recorded_or_made_from_the_name() {
        assert_eq!(advanced("/Disk/DiskMaxIOSize").unwrap().description, "Simulated: disk max IO size");
        assert_eq!(advanced("/Net/TcpipDefLROEnabled").unwrap().description, "LRO enabled for TCP/IP");
        assert_eq!(kernel("com1_baud").unwrap().description, "Simulated: com1 baud");
        assert_eq!(kernel("iovDisableIR").unwrap().description, "Disable Interrrupt Routing in the IOMMU");
        let own = |d: &String| d.starts_with("Simulated: ");
        assert_eq!(ADVANCED.iter().filter(|o| !own(&o.description)).count(), 2);
        assert_eq!(KERNEL.iter().filter(|o| !own(&o.description)).count(), 1);
        assert!(ADVANCED.len() > 250 && KERNEL.len() > 100 && HOSTD.len() > 70);
    }
}
