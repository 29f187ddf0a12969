//! Blocks of `Label: value` lines: one or many, with or without a heading line, labels inside labels, lists
//! inside labels, texts of several lines, and lines that a terminal broke.
//!
//! Indentation decides: a heading is further left than the labels under it. Where a source lost the indentation,
//! the first label coming again decides: blocks of one command all begin with the same label.

use indexmap::IndexMap;

use super::FormError;
use super::text::{Line, label, lines, tight_label};

/// What stands under a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The printed value; lines of a text of several lines are parted by line breaks.
    Text(String),
    /// One item a line, or the values of a label that came several times.
    List(Vec<String>),
    /// Labels inside the label: one block, or several of the same kind.
    Blocks(Vec<Block>),
}

/// A block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// Its heading line, as printed.
    pub heading: Option<String>,
    /// Labels and what stands under them, in the printed order.
    pub entries: IndexMap<String, Entry>,
}

/// What is known of a command's blocks before reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Its blocks have a heading line (`Some(true)`), have none (`Some(false)`), or it is not known.
    pub headed: Option<bool>,
    /// A filter may have cut lines out: headings alone, labels without a heading.
    pub cut: bool,
    /// The text came straight from a host: where anything is indented, a line that is not is a heading, whatever it
    /// looks like. Names that people give stand there (`Display Name: x` is a valid name of a virtual machine).
    pub exact: bool,
}

/// Labels whose value is a text, whatever its lines look like.
const TEXTS: [&str; 5] = ["Description", "Message", "Release Notes", "String Value", "Default String Value"];

/// Labels that are known to contain labels, for texts that lost their indentation.
const INSIDE: [(&str, &[&str]); 4] = [
    ("DVPort", &["Client", "DVPortgroup ID", "In Use", "Port ID"]),
    ("Driver Info", &["Bus Info", "Driver", "Firmware Version", "Version"]),
    ("Trace", &["Received Bytes", "Host", "ICMP Seq", "TTL", "Round-trip Time", "Dup", "Detail"]),
    (
        "Summary",
        &[
            "Host Addr",
            "Transmitted",
            "Recieved",
            "Received",
            "Duplicated",
            "Packet Lost",
            "Round-trip Min",
            "Round-trip Avg",
            "Round-trip Max",
        ],
    ),
];

/// Deepest nesting that is followed.
const DEPTH: usize = 12;

/// The blocks in a text; none when nothing was printed.
///
/// # Errors
/// A line that is neither a heading, nor `Label: value`, nor part of the value before it.
pub fn blocks(text: &str, shape: Shape) -> Result<Vec<Block>, FormError> {
    let mut all = lines(text);
    if !shape.exact {
        settle(&mut all, shape);
    }
    read(&all, shape, 0)
}

/// Gives a first line that lost its blanks (a paste that trims both ends) the indentation of its fellows.
fn settle(all: &mut [Line<'_>], shape: Shape) {
    let Some((first, rest)) = all.split_first_mut() else { return };
    let Some(least) = rest.iter().map(|l| l.indent).min() else { return };
    if first.indent >= least {
        return;
    }
    let fellows = || rest.iter().filter(|l| l.indent == least);
    match label(first.body) {
        Some(_) if shape.headed == Some(true) => {}
        Some((_, value)) => {
            let nested = rest[0].indent > least && label(rest[0].body).is_some();
            if shape.headed == Some(false) || !value.is_empty() || nested {
                first.indent = least;
            }
        }
        // A heading, while all further headings kept their blanks.
        None if fellows().all(|l| label(l.body).is_none()) => first.indent = least,
        None => {}
    }
}

struct Reader<'l, 'a> {
    all: &'l [Line<'a>],
    shape: Shape,
    depth: usize,
    /// The smallest indentation: where a terminal goes on with what it broke.
    least: usize,
    out: Vec<Block>,
    /// Indentation of the labels of the current block.
    level: Option<usize>,
    first_label: Option<String>,
    /// The last value may go on in the next lines, whatever their indentation.
    open_text: bool,
    /// Some line is indented.
    indented: bool,
}

fn read(all: &[Line<'_>], shape: Shape, depth: usize) -> Result<Vec<Block>, FormError> {
    let least = all.iter().map(|l| l.indent).min().unwrap_or(0);
    let mut reader = Reader {
        all,
        shape,
        depth,
        least,
        out: Vec::new(),
        level: None,
        first_label: None,
        open_text: false,
        indented: all.iter().any(|l| l.indent > 0),
    };
    // Headings that look like labels (`Object UUID: x`, `Controller Identify Info:`): each has labels under it.
    let labelled_headings = shape.headed != Some(false)
        && depth == 0
        && least == 0
        && all.iter().enumerate().filter(|(_, l)| l.indent == least).all(|(i, l)| {
            label(l.body).is_some()
                && all.get(i + 1).is_some_and(|n| n.indent > least && n.indent <= least + 4 && label(n.body).is_some())
        });
    let mut i = 0;
    while i < all.len() {
        i = reader.step(i, labelled_headings)?;
    }
    Ok(reader.out)
}

impl<'a> Reader<'_, 'a> {
    fn step(&mut self, i: usize, labelled_headings: bool) -> Result<usize, FormError> {
        let line = &self.all[i];
        if line.body.starts_with("== ") || line.body.starts_with("=== ") {
            return Ok(self.heading(i));
        }
        if self.shape.exact && self.depth == 0 && line.indent == 0 && self.indented {
            return Ok(self.heading(i));
        }
        let found = label(line.body);
        let Some(level) = self.level else {
            return self.open(i, found, labelled_headings);
        };
        if line.indent > level {
            return self.children(i, level);
        }
        if line.indent == level {
            if let Some((name, value)) = found
                && !(labelled_headings && line.indent == 0)
            {
                if self.flat_heading(i, level) {
                    return Ok(self.heading(i));
                }
                return Ok(self.entry(i, name, value));
            }
            if self.opens_block(i, level) {
                return Ok(self.heading(i));
            }
            if self.goes_on(i) {
                return Ok(self.more(i));
            }
            if let Some((name, value)) = tight_label(line.body) {
                return Ok(self.entry(i, name, value));
            }
            // A list that lost its indentation.
            if let Some((_, entry)) = self.out.last_mut().and_then(|b| b.entries.last_mut()) {
                match entry {
                    Entry::Text(value) if value.is_empty() => {
                        *entry = Entry::List(vec![line.body.to_owned()]);
                        return Ok(i + 1);
                    }
                    Entry::List(items) => {
                        items.push(line.body.to_owned());
                        return Ok(i + 1);
                    }
                    _ => {}
                }
            }
            return self.stray(i);
        }
        // Further left than the labels.
        if self.opens_block(i, level) {
            return Ok(self.heading(i));
        }
        if self.goes_on(i) {
            return Ok(self.more(i));
        }
        if let Some((name, value)) = found
            && !labelled_headings
        {
            return Ok(self.entry(i, name, value));
        }
        self.stray(i)
    }

    /// The first line of a block whose labels' indentation is not known yet.
    fn open(
        &mut self,
        i: usize,
        found: Option<(&'a str, &'a str)>,
        labelled_headings: bool,
    ) -> Result<usize, FormError> {
        let line = &self.all[i];
        let next = self.all.get(i + 1);
        let under = next.is_some_and(|n| n.indent > line.indent && tight_label(n.body).is_some());
        let known = self.shape.headed == Some(true) && line.indent == 0;
        match found {
            Some(_) if labelled_headings && line.indent == 0 => Ok(self.heading(i)),
            // A VM can be named `a: b`.
            Some(_) if known && under && next.is_some_and(|n| n.indent <= line.indent + 4) => Ok(self.heading(i)),
            // localcli ends headings with a colon.
            Some((_, ""))
                if known
                    && self.out.last().is_none_or(|b| !b.entries.is_empty())
                    && next.is_some_and(|n| label(n.body).is_some()) =>
            {
                Ok(self.heading(i))
            }
            Some((name, value)) => {
                self.level = Some(line.indent);
                Ok(self.entry(i, name, value))
            }
            None if self.shape.headed == Some(false) && !self.shape.cut => Err(line.error("no `Label: value` line")),
            None if under || next.is_some_and(|n| n.indent == line.indent && label(n.body).is_some()) => {
                Ok(self.heading(i))
            }
            None => self.stray(i),
        }
    }

    /// A line that fits nowhere: a heading whose block a filter cut away, or an error.
    fn stray(&mut self, i: usize) -> Result<usize, FormError> {
        if self.shape.cut && self.depth == 0 && self.shape.headed != Some(false) {
            return Ok(self.heading(i));
        }
        Err(self.all[i].error("neither a heading, nor `Label: value`"))
    }

    fn heading(&mut self, i: usize) -> usize {
        self.out.push(Block { heading: Some(self.all[i].body.to_owned()), entries: IndexMap::new() });
        self.level = None;
        self.open_text = false;
        i + 1
    }

    /// Whether this line, not further right than the labels, is the heading of another block.
    fn opens_block(&self, i: usize, level: usize) -> bool {
        let line = &self.all[i];
        if self.shape.headed == Some(false) {
            return false;
        }
        let Some(next) = self.all.get(i + 1) else {
            return self.shape.cut && (line.after_blank || self.known_heading(line)) && line.indent < level;
        };
        let Some((name, _)) = tight_label(next.body) else {
            return self.shape.cut && self.known_heading(line) && line.indent < level;
        };
        let under = next.indent > line.indent || (line.indent == level && next.indent == level);
        let again = self.first_label.as_deref() == Some(name);
        under && (again || (line.after_blank && !self.open_text) || (self.shape.cut && line.indent < level))
    }

    /// Whether a line is one that heads blocks here: no blanks in front, no prose.
    fn known_heading(&self, line: &Line<'_>) -> bool {
        line.indent == 0 && (self.shape.headed == Some(true) || !line.body.contains(' '))
    }

    /// A heading in a text without any indentation that looks like a label: the next label begins a block.
    fn flat_heading(&self, i: usize, level: usize) -> bool {
        let (Some(next), Some(block)) = (self.all.get(i + 1), self.out.last()) else { return false };
        self.shape.headed == Some(true)
            && level == 0
            && (self.all[i].after_blank || self.all[i].body.ends_with(':'))
            && block.heading.is_some()
            && self.first_label.as_deref() == label(next.body).map(|(n, _)| n)
    }

    /// Whether this line belongs to the value before it: a broken line, or a text of several lines.
    fn goes_on(&self, i: usize) -> bool {
        if self.out.last().is_none_or(|b| b.entries.is_empty()) {
            return false;
        }
        if self.open_text {
            return true;
        }
        let line = &self.all[i];
        !line.after_blank && i > 0 && self.all[i - 1].width() >= 60 + self.least
            // The break can stand before a blank.
            && line.indent <= self.least + 1
    }

    /// Adds a line to the value before it.
    fn more(&mut self, i: usize) -> usize {
        let (line, before) = (&self.all[i], &self.all[i.saturating_sub(1)]);
        let widest = self.all.iter().map(Line::width).max().unwrap_or(0);
        let width = before.width() - self.least.min(before.width());
        let widest = widest - self.least.min(widest);
        // Cut in mid-word where the line before fills the terminal. A blank at the very end is lost in a paste.
        let glue = match () {
            () if self.open_text => "\n",
            () if line.indent > self.least => " ",
            () if width % 80 == 0 || (width == widest && width >= 79 && width != 79) => "",
            () => " ",
        };
        if let Some((_, Entry::Text(value))) = self.out.last_mut().and_then(|b| b.entries.last_mut()) {
            value.push_str(glue);
            value.push_str(line.body);
        } else if let Some((_, Entry::List(items))) = self.out.last_mut().and_then(|b| b.entries.last_mut()) {
            items.push(line.body.to_owned());
        } else if let Some(block) = self.out.last_mut() {
            insert(block, String::new(), Entry::Text(line.body.to_owned()));
        }
        i + 1
    }

    fn entry(&mut self, i: usize, name: &str, value: &str) -> usize {
        let line = &self.all[i];
        self.level.get_or_insert(line.indent);
        self.open_text = false;
        let again = self.out.last().is_some_and(|b| b.entries.contains_key(name))
            && (self.first_label.as_deref() == Some(name) || line.after_blank || self.shape.cut);
        if self.out.is_empty() || again {
            self.out.push(Block::default());
        }
        let Some(block) = self.out.last_mut() else { return i + 1 };
        if block.entries.is_empty() {
            self.first_label = Some(name.to_owned());
        }
        if !value.is_empty() {
            insert(block, name.to_owned(), Entry::Text(value.to_owned()));
            return i + 1;
        }
        // Labels inside a label whose indentation was lost.
        if let Some((_, inside)) = INSIDE.iter().find(|(outer, _)| *outer == name) {
            let end = (i + 1..self.all.len())
                .find(|&k| {
                    let l = &self.all[k];
                    l.indent != line.indent || label(l.body).is_none_or(|(n, _)| !inside.contains(&n))
                })
                .unwrap_or(self.all.len());
            if end > i + 1
                && let Ok(nested) =
                    read(&self.all[i + 1..end], Shape { headed: Some(false), ..Shape::default() }, DEPTH)
            {
                insert(block, name.to_owned(), Entry::Blocks(nested));
                return end;
            }
        }
        self.open_text = TEXTS.contains(&name);
        insert(block, name.to_owned(), Entry::Text(String::new()));
        i + 1
    }

    /// Lines further right than the labels: they belong to the label before them.
    fn children(&mut self, i: usize, level: usize) -> Result<usize, FormError> {
        let end = (i..self.all.len()).find(|k| self.all[*k].indent <= level).unwrap_or(self.all.len());
        let inner = &self.all[i..end];
        let Some((name, entry)) = self.out.last_mut().and_then(|b| b.entries.last_mut()) else {
            return Err(self.all[i].error("indented further than a label before it"));
        };
        let text = TEXTS.contains(&name.as_str());
        match entry {
            Entry::Text(value) if value.is_empty() && !text => {
                *entry = self::inside(inner, self.depth);
                self.open_text = matches!(entry, Entry::Text(_));
            }
            Entry::Text(value) if !text && inner.iter().all(|l| label(l.body).is_some()) && self.depth < DEPTH => {
                // Labels under a label that has a value of its own.
                let mut nested = read(inner, Shape { headed: Some(false), ..Shape::default() }, self.depth + 1)?;
                if let Some(first) = nested.first_mut() {
                    first.heading = Some(std::mem::take(value));
                }
                *entry = Entry::Blocks(nested);
            }
            Entry::Text(value) => {
                for line in inner {
                    if !value.is_empty() {
                        value.push(if text { '\n' } else { ' ' });
                    }
                    value.push_str(line.body);
                }
                self.open_text = text;
            }
            Entry::List(items) => items.extend(inner.iter().map(|l| l.body.to_owned())),
            Entry::Blocks(nested) if self.depth < DEPTH => {
                let more = read(inner, Shape::default(), self.depth + 1)?;
                match nested.last_mut() {
                    Some(last) if last.entries.is_empty() && more.len() == 1 => {
                        last.entries.extend(more.into_iter().flat_map(|b| b.entries));
                    }
                    _ => nested.extend(more),
                }
            }
            Entry::Blocks(_) => return Err(self.all[i].error("labels nested too deeply")),
        }
        Ok(end)
    }
}

/// What the lines under an empty label are: blocks, a text, or a list.
fn inside(inner: &[Line<'_>], depth: usize) -> Entry {
    let labels = inner.iter().filter(|l| label(l.body).is_some()).count();
    if labels > 0 && depth < DEPTH {
        let mut own = inner.to_vec();
        settle(&mut own, Shape::default());
        let plain = Shape { headed: label(own[0].body).map(|_| false), ..Shape::default() };
        if let Ok(nested) = read(&own, plain, depth + 1) {
            return Entry::Blocks(nested);
        }
    }
    let prose = |l: &Line<'_>| l.body.chars().count() > 60 && l.body.split_whitespace().count() > 5;
    let items = inner.iter().map(|l| l.body.to_owned());
    if inner.iter().skip(1).any(|l| l.after_blank) || inner.iter().any(prose) {
        return Entry::Text(items.collect::<Vec<_>>().join("\n"));
    }
    Entry::List(items.collect())
}

/// Adds an entry. A label that is there already becomes a list: nothing printed is lost.
fn insert(block: &mut Block, name: String, entry: Entry) {
    // The label moves to the end, so that what follows is added to it.
    let entry = match block.entries.shift_remove(&name) {
        None => entry,
        Some(old) => merge(old, entry),
    };
    block.entries.insert(name, entry);
}

fn merge(old: Entry, new: Entry) -> Entry {
    let headed = |text: String| Block { heading: Some(text), ..Block::default() };
    match (old, new) {
        (Entry::Text(a), Entry::Text(b)) => Entry::List(vec![a, b]),
        (Entry::List(mut a), Entry::Text(b)) => {
            a.push(b);
            Entry::List(a)
        }
        (Entry::List(mut a), Entry::List(b)) => {
            a.extend(b);
            Entry::List(a)
        }
        (Entry::Text(a), Entry::List(b)) => Entry::List(std::iter::once(a).chain(b).collect()),
        (a, b) => {
            // Of two kinds: keep both.
            let both = [a, b].into_iter().flat_map(|entry| match entry {
                Entry::Blocks(blocks) => blocks,
                Entry::Text(text) => vec![headed(text)],
                Entry::List(items) => items.into_iter().map(headed).collect(),
            });
            Entry::Blocks(both.collect())
        }
    }
}
