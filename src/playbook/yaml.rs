//! YAML into a tree in which every node knows its place and every scalar its text as written.
//!
//! Serde's data model cannot tell plain `0755` or `no` from a quoted one, and loses places inside untyped
//! values; both matter here. So this composes the parser's events itself, and is strict where YAML is loose:
//! duplicate keys, several documents, foreign tags and oversized documents are errors.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle};
use indexmap::IndexMap;

use super::problem::{Problem, SourceFile, Span, is_secret_key};

/// Largest file that is read, in bytes. A large real playbook has some 50 KB.
pub const MAX_BYTES: u64 = 4 << 20;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 64;
/// Most nodes of a document, aliases resolved.
pub const MAX_NODES: usize = 200_000;

/// A node of a document.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it is: a scalar whole with its quotes, a collection from its first to its last entry.
    pub span: Span,
    /// What it is.
    pub value: NodeValue,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum NodeValue {
    /// A scalar.
    Scalar(Scalar),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping, in order, keys unique.
    Map(IndexMap<String, Entry>),
}

/// A value of a mapping with the place of its key.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where the key is.
    pub key: Span,
    /// The value.
    pub node: Node,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: `no`, `0755` and `1.10` may mean several things.
    Plain,
    /// In quotes: text.
    Quoted,
    /// As a block (`|` or `>`): text, line ends kept.
    Block,
}

/// A scalar's text (escapes resolved) and style.
#[derive(Debug, Clone)]
pub struct Scalar {
    /// The text.
    pub text: String,
    /// How it is written.
    pub style: Style,
}

impl Node {
    /// A plain scalar that is in no file of its own, for values from the command line.
    pub fn scalar(&self) -> Option<&Scalar> {
        if let NodeValue::Scalar(s) = &self.value { Some(s) } else { None }
    }

    /// The entries of a mapping.
    pub fn map(&self) -> Option<&IndexMap<String, Entry>> {
        if let NodeValue::Map(m) = &self.value { Some(m) } else { None }
    }

    /// The items of a sequence.
    pub fn seq(&self) -> Option<&[Node]> {
        if let NodeValue::Seq(s) = &self.value { Some(s) } else { None }
    }

    /// Whether nothing was written (`key:`), or `null` or `~`.
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(|s| s.style == Style::Plain && super::scalar::is_null(&s.text))
    }

    /// What it is, for messages.
    pub fn describe(&self) -> String {
        match &self.value {
            NodeValue::Seq(_) => "a list".into(),
            NodeValue::Map(_) => "a mapping".into(),
            NodeValue::Scalar(_) if self.is_null() => "nothing".into(),
            NodeValue::Scalar(s) => format!("`{}`", super::problem_text(&s.text)),
        }
    }

    /// The place of a byte range of a scalar's text; the whole scalar where escapes or folding hide it.
    pub fn inside(&self, range: std::ops::Range<usize>) -> Span {
        let whole = || self.span.clone();
        let Some(scalar) = self.scalar() else { return whole() };
        let source = self.span.text();
        if let Some(at) = source.find(&scalar.text) {
            let start = self.span.start + at;
            return Span::new(&self.span.file, start + range.start..start + range.end);
        }
        // Blocks are indented in the file: look for the line, then for the place in it.
        let text = &scalar.text;
        if range.end > text.len() || !text.is_char_boundary(range.start) || !text.is_char_boundary(range.end) {
            return whole();
        }
        let line_start = text[..range.start].rfind('\n').map_or(0, |n| n + 1);
        let line_end = text[range.start..].find('\n').map_or(text.len(), |n| range.start + n);
        let line = &text[line_start..line_end];
        let mut lines = text[..line_start].lines().filter(|l| *l == line).count();
        let mut from = 0;
        while let Some(at) = source[from..].find(line) {
            if lines == 0 {
                let start = self.span.start + from + at + (range.start - line_start);
                return Span::new(&self.span.file, start..start + range.len().min(line_end - range.start));
            }
            lines -= 1;
            from += at + line.len().max(1);
            if from > source.len() || !source.is_char_boundary(from) {
                break;
            }
        }
        whole()
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            NodeValue::Scalar(_) => 0,
            NodeValue::Seq(items) => items.iter().map(Node::size).sum(),
            NodeValue::Map(map) => map.values().map(|e| 1 + e.node.size()).sum(),
        }
    }

    /// The places of secrets. The same few keys stand in every step of a long playbook: `known` says of each that was met
    /// whether it holds one.
    fn secrets<'n>(&'n self, secret: bool, known: &mut HashMap<&'n str, bool>, out: &mut Vec<std::ops::Range<usize>>) {
        match &self.value {
            NodeValue::Scalar(s) => {
                if secret && !super::scalar::is_template(&s.text) {
                    out.push(self.span.start..self.span.end);
                }
            }
            NodeValue::Seq(items) => items.iter().for_each(|n| n.secrets(secret, known, out)),
            // `password: {env: NAME}` names a place, not a secret.
            NodeValue::Map(map) => map.iter().for_each(|(key, entry)| {
                let secret = *known.entry(key).or_insert_with(|| is_secret_key(key));
                entry.node.secrets(secret, known, out);
            }),
        }
    }

    fn move_to(&mut self, file: &Arc<SourceFile>) {
        self.span.file = file.clone();
        match &mut self.value {
            NodeValue::Scalar(_) => {}
            NodeValue::Seq(items) => items.iter_mut().for_each(|n| n.move_to(file)),
            NodeValue::Map(map) => map.values_mut().for_each(|e| {
                e.key.file = file.clone();
                e.node.move_to(file);
            }),
        }
    }
}

/// Reads a file and parses it. `shown` is its name in messages.
pub fn read(path: &Path, shown: &str) -> Result<Node, Vec<Problem>> {
    let fail = |reason: String| vec![Problem::nowhere(format!("cannot read {shown}: {reason}"))];
    let meta = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?;
    if meta.is_dir() {
        return Err(fail("it is a directory".into()));
    }
    // A device or a pipe has no size, and may never end.
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| fail(e.to_string()))?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| fail(e.to_string()))?;
    if meta.len() > MAX_BYTES {
        return Err(fail(format!("it has {} bytes, and the limit is {MAX_BYTES}", meta.len())));
    }
    parse_bytes(shown, &bytes)
}

/// Parses bytes.
pub fn parse_bytes(name: &str, bytes: &[u8]) -> Result<Node, Vec<Problem>> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(vec![Problem::nowhere(format!("{name} has more bytes than the limit of {MAX_BYTES}"))]);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(&SourceFile::new(name, text)),
        Err(e) => {
            let good = e.valid_up_to();
            let file = SourceFile::new(name, String::from_utf8_lossy(bytes).into_owned());
            let problem = Problem::at(
                &Span::new(&file, good..good + 3),
                format!("{name} is not UTF-8 (byte {good} is 0x{:02x})", bytes.get(good).copied().unwrap_or(0)),
                "not UTF-8 from here",
            );
            Err(vec![problem.help("save the file as UTF-8, for example: iconv -f latin1 -t utf-8 FILE")])
        }
    }
}

/// Parses a document.
pub fn parse(file: &Arc<SourceFile>) -> Result<Node, Vec<Problem>> {
    let text = file.text();
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let mut composer = Composer {
        file,
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        nodes: 0,
        problems: Vec::new(),
    };
    match composer.document() {
        Ok(Some(mut node)) if composer.problems.is_empty() => {
            let mut secrets = Vec::new();
            node.secrets(false, &mut HashMap::new(), &mut secrets);
            if !secrets.is_empty() {
                secrets.sort_by_key(|r| r.start);
                node.move_to(&file.hiding(&secrets));
            }
            Ok(node)
        }
        Ok(Some(_)) => Err(composer.problems),
        Ok(None) => {
            let span = Span::new(file, 0..0);
            let problem = Problem::at(&span, format!("{} is empty", file.name()), "nothing here");
            Err(vec![problem])
        }
        Err(problem) => {
            composer.problems.push(*problem);
            Err(composer.problems)
        }
    }
}

struct Composer<'a> {
    file: &'a Arc<SourceFile>,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    /// Finished anchored nodes with their sizes; `None` while the node is still open.
    anchors: HashMap<usize, Option<(Node, usize)>>,
    nodes: usize,
    problems: Vec<Problem>,
}

type Composed<T> = Result<T, Box<Problem>>;

impl<'a> Composer<'a> {
    fn next(&mut self) -> Composed<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                Ok((event, Span::new(self.file, range)))
            }
            Some(Err(e)) => Err(Box::new(self.syntax(&e))),
            None => Ok((Event::StreamEnd, Span::new(self.file, self.file.text().len()..self.file.text().len()))),
        }
    }

    fn syntax(&self, e: &granit_parser::ScanError) -> Problem {
        let text = self.file.text();
        let at = e
            .marker()
            .byte_offset()
            .unwrap_or_else(|| text.char_indices().nth(e.marker().index()).map_or(text.len(), |(byte, _)| byte));
        let mut span = Span::new(self.file, at..at + 1);
        if at >= text.len() {
            // At the end of the file nothing can be shown: point at the last thing written.
            let last = text.trim_end().char_indices().next_back().map_or(0, |(i, _)| i);
            span = Span::new(self.file, last..last + 1);
        }
        let info = e.info();
        let line = &text[..span.start];
        let before = &line[line.rfind('\n').map_or(0, |n| n + 1)..];
        let help = if span.text() == "\t" || before.contains('\t') || info.to_lowercase().contains("tab") {
            Some("YAML is indented with spaces, never with tabs".to_owned())
        } else if info.contains("nesting") || info.contains("recursion") || info.contains("limit") {
            Some(format!("nesting deeper than {MAX_DEPTH} levels is refused"))
        } else if matches!(e.kind(), ErrorKind::UnclosedQuotedScalar) {
            Some("a quote is opened and never closed".to_owned())
        } else if matches!(
            e.kind(),
            ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar
        ) {
            Some(
                "put the whole value into one pair of quotes; a single quote inside single quotes is written twice"
                    .to_owned(),
            )
        } else if info.contains("mapping values") || info.contains("simple key") || info.contains("block mapping key") {
            Some("check the indentation; a value that contains `: ` or starts with `{`, `[`, `*`, `&`, `%` or `@` needs quotes".to_owned())
        } else {
            None
        };
        Problem::at(&span, format!("not valid YAML: {info}"), "here").maybe_help(help)
    }

    fn document(&mut self) -> Composed<Option<Node>> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(..) if root.is_some() => {
                    let problem = Problem::at(&span, "a second document in the same file", "starts here")
                        .help("esxprep reads one document a file: remove the `---`, or put it into another file");
                    return Err(Box::new(problem));
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => {
                    let node = self.node(event, span, 0)?;
                    let nothing = node.is_null() && node.span.text().trim().is_empty();
                    root = (!nothing).then_some(node);
                }
            }
        }
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Composed<()> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let problem = Problem::at(span, format!("the document grows beyond {MAX_NODES} nodes"), "too much here")
                .help("an alias (`*name`) repeats everything under its anchor: use fewer of them");
            return Err(Box::new(problem));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Composed<Node> {
        self.count(1, &span)?;
        if depth > MAX_DEPTH * 2 {
            return Err(Box::new(Problem::at(&span, "nested too deeply", "here")));
        }
        let anchor = event.anchor_id().unwrap_or(0);
        let tag = event.tag().map(|t| (t.is_yaml_core_schema_tag("str"), t.is_custom(), t.original()));
        if let Some((_, true, name)) = &tag {
            let problem = Problem::at(&span, format!("the tag `{name}` means nothing here"), "tagged value")
                .help("remove the tag");
            self.problems.push(problem);
        }
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        let node = match event {
            Event::Scalar(text, style, ..) => {
                let as_text = matches!(tag, Some((true, ..)));
                let style = match style {
                    ScalarStyle::Plain if !as_text => Style::Plain,
                    ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                // The parser writes `~` where nothing is written.
                let text =
                    if span.start == span.end && style == Style::Plain { String::new() } else { text.into_owned() };
                Node { span, value: NodeValue::Scalar(Scalar { text, style }) }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                let mut whole = span;
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => {
                            whole.end = whole.end.max(end_of(&items.last().map(|n: &Node| n.span.end), &end));
                            break;
                        }
                        (event, at) => items.push(self.node(event, at, depth + 1)?),
                    }
                }
                Node { span: whole, value: NodeValue::Seq(items) }
            }
            Event::MappingStart(..) => self.mapping(span, depth)?,
            Event::Alias(id) => match self.anchors.get(&id) {
                Some(Some((node, size))) => {
                    let (node, size) = (node.clone(), *size);
                    self.count(size, &span)?;
                    node
                }
                _ => {
                    return Err(Box::new(Problem::at(
                        &span,
                        "this alias stands inside the node that it repeats",
                        "repeats itself",
                    )));
                }
            },
            _ => return Err(Box::new(Problem::at(&span, "not valid YAML: a value is missing", "here"))),
        };
        if anchor != 0 {
            let size = node.size();
            self.anchors.insert(anchor, Some((node.clone(), size)));
        }
        Ok(node)
    }

    fn mapping(&mut self, mut whole: Span, depth: usize) -> Composed<Node> {
        let mut map: IndexMap<String, Entry> = IndexMap::new();
        let mut merges: Vec<Node> = Vec::new();
        let mut last = None;
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                whole.end = whole.end.max(end_of(&last, &at));
                break;
            }
            let merge = matches!(&event, Event::Scalar(t, ScalarStyle::Plain, ..) if t == "<<");
            let key = self.node(event, at, depth + 1)?;
            let (event, at) = self.next()?;
            let node = self.node(event, at, depth + 1)?;
            last = Some(node.span.end.max(key.span.end));
            if merge {
                match node.value {
                    NodeValue::Seq(items) => merges.extend(items),
                    _ => merges.push(node),
                }
                continue;
            }
            let Some(name) = key.scalar().filter(|_| !key.is_null()).map(|s| s.text.clone()) else {
                let what = if key.is_null() { "an empty key" } else { "a key that is not a word" };
                let problem = Problem::at(&key.span, what, "this key")
                    .help("a value that starts with `{{` must be quoted: \"{{ name }}\"");
                self.problems.push(problem);
                continue;
            };
            if let Some(first) = map.get(&name) {
                let problem = Problem::at(&key.span, format!("the key `{name}` is there twice"), "again here")
                    .also(&first.key, "first here");
                self.problems.push(problem.help("keep one of them; nothing is guessed about which one was meant"));
                continue;
            }
            map.insert(name, Entry { key: key.span, node });
        }
        for merged in merges {
            let NodeValue::Map(entries) = merged.value else {
                let problem = Problem::at(&merged.span, "`<<` merges mappings, and this is none", "not a mapping");
                self.problems.push(problem);
                continue;
            };
            for (name, entry) in entries {
                map.entry(name).or_insert(entry);
            }
        }
        Ok(Node { span: whole, value: NodeValue::Map(map) })
    }
}

/// A block collection ends with its last entry; a flow collection with its bracket.
fn end_of(last: &Option<usize>, end: &Span) -> usize {
    if end.end > end.start { end.end } else { last.unwrap_or(end.start) }
}
