//! How a run goes through many hosts: batches, order, how many may fail and how many may be down. The words of the
//! playbook's keys and of the options of `apply` are the same, and are read here.

use std::fmt;
use std::str::FromStr;

use super::problem::Problem;
use super::steps;
use super::yaml::{Entry, Node, NodeValue};

/// So many hosts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// So many.
    Hosts(usize),
    /// So many of a hundred, at least one.
    Percent(usize),
}

impl FromStr for Batch {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let bad = || format!("{s:?} is neither a number of hosts nor a percentage such as 20%");
        let (digits, percent) = s.strip_suffix('%').map_or((s, false), |d| (d, true));
        let number: usize = digits.parse().map_err(|_| bad())?;
        match (number, percent) {
            (0, _) => Err(bad()),
            (n, true) if n > 100 => Err(bad()),
            (n, true) => Ok(Self::Percent(n)),
            (n, false) => Ok(Self::Hosts(n)),
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(n) => write!(f, "{n}"),
            Self::Percent(n) => write!(f, "{n}%"),
        }
    }
}

impl Batch {
    /// How many that is in a run of so many hosts; never none.
    pub fn size(self, hosts: usize) -> usize {
        match self {
            Self::Hosts(n) => n,
            Self::Percent(p) => (hosts.saturating_mul(p) / 100).max(1),
        }
    }

    /// Reads how many may fail: like a batch, and 0 is as good as 1 (the first failure is the last).
    pub fn of_failures(text: &str) -> Result<Self, String> {
        if text == "0" { Ok(Self::Hosts(1)) } else { text.parse() }
    }
}

/// The sizes of batches, one after the other; the last one repeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Serial(Vec<Batch>);

impl FromStr for Serial {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let sizes: Result<Vec<Batch>, String> = s.split(',').map(|part| part.trim().parse()).collect();
        sizes.map(Self)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.0.iter().map(Batch::to_string).collect();
        f.write_str(&sizes.join(","))
    }
}

impl Serial {
    /// These sizes; none means one batch.
    pub fn new(sizes: Vec<Batch>) -> Self {
        Self(sizes)
    }

    /// Whether the first batches are there to see how it goes: sizes differ.
    pub fn is_canary(&self) -> bool {
        self.0.len() > 1
    }

    /// The sizes of all batches of a run whose groups, in order, have so many hosts. No batch holds hosts of two groups.
    pub fn plan(&self, groups: &[usize]) -> Vec<usize> {
        let total = groups.iter().sum();
        let mut sizes = self.0.iter().map(|batch| batch.size(total).max(1));
        let mut size = sizes.next().unwrap_or(usize::MAX);
        let mut all = Vec::new();
        for group in groups {
            let mut left = *group;
            while left > 0 {
                let batch = size.min(left);
                all.push(batch);
                left -= batch;
                size = sizes.next().unwrap_or(size);
            }
        }
        all
    }
}

/// What a playbook says about many hosts; the command line wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Sizes of batches.
    pub serial: Option<Serial>,
    /// After so many failed hosts no other begins.
    pub max_failures: Option<Batch>,
    /// So many hosts may be down at the same time.
    pub max_down: Option<Batch>,
    /// Groups (or other host patterns) in the order in which they are done.
    pub order: Vec<String>,
}

/// Reads the keys of a playbook.
pub(super) fn read<'n>(get: impl Fn(&str) -> Option<&'n Entry>, problems: &mut Vec<Problem>) -> Rollout {
    let mut one = |key: &str, parse: fn(&str) -> Result<Batch, String>| {
        get(key).and_then(|entry| amount(&entry.node, key, parse, problems))
    };
    let max_failures = one("max_failures", Batch::of_failures);
    let max_down = one("max_down", str::parse);
    let serial = get("serial").map(|entry| {
        let nodes = match &entry.node.value {
            NodeValue::Seq(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.node),
        };
        Serial(nodes.iter().filter_map(|node| amount(node, "serial", str::parse, problems)).collect())
    });
    let order = get("order").map(|entry| steps::words(&entry.node, "order", problems)).unwrap_or_default();
    let order = order.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty());
    Rollout { serial, max_failures, max_down, order: order.map(str::to_owned).collect() }
}

fn amount(
    node: &Node,
    key: &str,
    parse: fn(&str) -> Result<Batch, String>,
    problems: &mut Vec<Problem>,
) -> Option<Batch> {
    let text = node.scalar().map(|s| s.text.trim()).unwrap_or_default();
    let found = parse(text).ok();
    if found.is_none() {
        let problem = Problem::at(
            &node.span,
            format!("`{key}` wants a number of hosts or a percentage"),
            format!("this is {}", node.describe()),
        );
        let list = if key == "serial" { ", or a list of them: [1, 5, 20%]" } else { "" };
        problems.push(problem.help(format!("write it like this: {key}: 2, or {key}: 20%{list}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(serial: &str, groups: &[usize]) -> Vec<usize> {
        serial.parse::<Serial>().unwrap().plan(groups)
    }

    #[test]
    fn amounts_are_numbers_or_percentages() {
        assert_eq!("3".parse(), Ok(Batch::Hosts(3)));
        assert_eq!("20%".parse::<Batch>().map(|b| b.size(12)), Ok(2));
        assert_eq!("1%".parse::<Batch>().map(|b| b.size(12)), Ok(1));
        for bad in ["0", "0%", "101%", "x", "", "-1"] {
            assert!(bad.parse::<Batch>().is_err(), "{bad}");
            assert!(bad.parse::<Serial>().is_err(), "{bad}");
        }
        assert_eq!(Batch::of_failures("0"), Ok(Batch::Hosts(1)));
    }

    #[test]
    fn the_last_size_repeats_and_no_batch_holds_two_groups() {
        assert_eq!(Serial::default().plan(&[7]), [7]);
        assert_eq!(Serial::default().plan(&[3, 0, 4]), [3, 4]);
        assert_eq!(plan("3", &[7]), [3, 3, 1]);
        assert_eq!(plan("1, 5,20%", &[50]), [1, 5, 10, 10, 10, 10, 4]);
        assert_eq!(plan("1,10", &[4, 12]), [1, 3, 10, 2]);
        assert_eq!(plan("1,5,20%", &[]), Vec::<usize>::new());
        assert_eq!("1, 5,20%".parse::<Serial>().unwrap().to_string(), "1,5,20%");
    }
}
