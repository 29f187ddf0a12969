//! What the filters of a pipe leave of an output.

use std::borrow::Cow;

/// The strongest filter of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Everything is left.
    None,
    /// Whole lines are left, not all of them.
    Lines,
    /// `grep` with lines around a hit: groups are parted by `--`.
    Groups,
    /// Parts of lines are left.
    Cells,
    /// Something else is printed: a count, a sum.
    Words,
}

impl Filter {
    /// The strongest of these filters.
    pub fn new(filters: &[Vec<String>]) -> Self {
        let rank = |f: &Self| match f {
            Self::None => 0,
            Self::Lines => 1,
            Self::Groups => 2,
            Self::Cells => 3,
            Self::Words => 4,
        };
        filters.iter().map(|words| Self::one(words)).max_by_key(rank).unwrap_or(Self::None)
    }

    fn one(words: &[String]) -> Self {
        let program = words.first().map_or("", |w| w.rsplit('/').next().unwrap_or(w));
        let args = words.get(1..).unwrap_or_default();
        let short = |letters: &str| {
            args.iter().any(|a| {
                a.starts_with('-')
                    && !a.starts_with("--")
                    && a[1..].starts_with(|c: char| c.is_ascii_alphabetic())
                    && a[1..].chars().any(|c| letters.contains(c))
            })
        };
        match program {
            "cat" | "less" | "more" | "tee" | "dos2unix" | "unix2dos" => Self::None,
            "grep" | "egrep" | "fgrep" if short("c") || args.iter().any(|a| a == "--count") => Self::Words,
            "grep" | "egrep" | "fgrep" if short("onH") => Self::Cells,
            "grep" | "egrep" | "fgrep" if short("ABC") => Self::Groups,
            "grep" | "egrep" | "fgrep" | "head" | "tail" | "sort" | "tac" => Self::Lines,
            "uniq" if !short("c") => Self::Lines,
            "awk"
                if !args.iter().any(|a| {
                    a.contains("print") && !a.contains("print $0") && !a.contains("{print}") && !a.contains("{ print }")
                }) =>
            {
                Self::Lines
            }
            "sed" if args.iter().all(|a| a.starts_with('-') || a.ends_with('d') || a.ends_with('p')) => Self::Lines,
            "wc" | "md5sum" | "sha1sum" | "sha256sum" | "cksum" => Self::Words,
            _ => Self::Cells,
        }
    }

    /// Whether anything can be missing.
    pub fn cuts(self) -> bool {
        self != Self::None
    }

    /// The text without what the filter itself printed.
    pub fn cleaned(self, text: &str) -> Cow<'_, str> {
        if self != Self::Groups {
            return text.into();
        }
        let lines: Vec<&str> = text.lines().map(|l| if l.trim() == "--" { "" } else { l }).collect();
        lines.join("\n").into()
    }
}
