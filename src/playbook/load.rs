//! Loads a playbook and what it includes, collecting every problem before giving up.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::check::check;
use super::problem::{Problem, Span, did_you_mean};
use super::steps::{self, Detail};
use super::vars::plain_vars;
use super::yaml::{self, Entry, Node, NodeValue};
use super::{OnRunningVms, Playbook, RebootPolicy, StepDef, scalar};
use crate::esxi::Version;
use crate::steps::Kind;

/// Deepest chain of includes.
const MAX_INCLUDES: usize = 32;
/// Most steps of a playbook, includes in place.
const MAX_STEPS: usize = 20_000;

/// The kinds of steps that a playbook may name.
pub struct Kinds<'a> {
    /// Finds one.
    pub find: &'a dyn Fn(&str) -> Option<&'static Kind>,
    /// All names, for suggestions.
    pub names: Vec<&'static str>,
}

impl Kinds<'static> {
    /// Those of the product.
    pub fn product() -> Self {
        Self { find: &crate::steps::kind, names: crate::steps::kinds().iter().map(|k| k.name).collect() }
    }
}

const KEYS: &[&str] = &[
    "name",
    "esxi",
    "hosts",
    "vars",
    "reboot",
    "on_running_vms",
    "serial",
    "order",
    "max_failures",
    "max_down",
    "baseline",
    "waivers",
    "steps",
];

struct Loader<'a> {
    kinds: &'a Kinds<'a>,
    problems: Vec<Problem>,
    files: HashMap<PathBuf, Option<Node>>,
    steps: Vec<StepDef>,
    /// Files that are being read, each with its name as shown.
    open: Vec<(PathBuf, String)>,
    /// Where each registered name is written.
    registers: Vec<Option<Span>>,
}

/// What an include adds to the steps below it.
#[derive(Clone, Default)]
struct Around {
    conditions: Vec<Node>,
    tags: Vec<String>,
    given: IndexMap<String, Entry>,
    defaults: IndexMap<String, Entry>,
}

/// Loads a playbook.
pub fn load(path: &Path, extra: &BTreeSet<String>, kinds: &Kinds<'_>) -> Result<Playbook, Vec<Problem>> {
    let shown = path.display().to_string();
    let root = yaml::read(path, &shown)?;
    load_root(path, &root, extra, kinds)
}

/// Loads a playbook whose file is parsed already.
pub fn load_root(
    path: &Path,
    root: &Node,
    extra: &BTreeSet<String>,
    kinds: &Kinds<'_>,
) -> Result<Playbook, Vec<Problem>> {
    let shown = path.display().to_string();
    let mut loader = Loader {
        kinds,
        problems: Vec::new(),
        files: HashMap::new(),
        steps: Vec::new(),
        open: vec![(canonical(path), shown.clone())],
        registers: Vec::new(),
    };
    let Some(map) = root.map() else {
        let problem = Problem::at(
            &root.span,
            format!("a playbook is a mapping, and this is {}", root.describe()),
            "not a mapping",
        );
        return Err(vec![problem.help("put the steps under a key: `steps:`")]);
    };
    let problems = &mut loader.problems;
    for (key, entry) in map {
        if !KEYS.contains(&key.as_str()) {
            let problem = Problem::at(&entry.key, format!("a playbook has no key `{key}`"), "unknown key");
            let help = match (key.as_str(), (kinds.find)(key)) {
                ("tasks", _) => "here it is called `steps`".to_owned(),
                (_, Some(_)) => format!("`{key}` is a kind of step: put it under `steps:`, as `- {key}: ...`"),
                _ => did_you_mean(key, KEYS.iter().copied(), "known keys"),
            };
            problems.push(problem.help(help));
        }
    }
    let get = |key: &str| map.get(key).map(|e| &e.node);
    let name = get("name").and_then(|n| steps::text_of(n, "name", problems));
    let hosts = get("hosts").map(|n| steps::words(n, "hosts", problems)).unwrap_or_default();
    let esxi = get("esxi").map(|n| release_lines(n, problems)).unwrap_or_default();
    let reboot = get("reboot").and_then(|n| {
        let all = [("auto", RebootPolicy::Auto), ("never", RebootPolicy::Never)];
        choice(n, "reboot", &all, problems)
    });
    let on_running_vms = get("on_running_vms").and_then(|n| {
        let all =
            [("fail", OnRunningVms::Fail), ("shutdown", OnRunningVms::Shutdown), ("suspend", OnRunningVms::Suspend)];
        choice(n, "on_running_vms", &all, problems)
    });
    let rollout = super::rollout::read(|key| map.get(key), problems);
    let baseline = get("baseline").and_then(|n| steps::control_id(n, "baseline", problems));
    let waivers = get("waivers").map(|n| super::waiver::list(n, problems)).unwrap_or_default();
    let no_vars = IndexMap::new();
    let var_nodes = variables(get("vars"), problems).unwrap_or(&no_vars);
    let vars = plain_vars(var_nodes, problems);
    match map.get("steps") {
        Some(entry) => loader.list(&entry.node, &Around::default()),
        None if map.contains_key("tasks") => {}
        None => loader.problems.push(
            Problem::at(&root.span, "this playbook has no `steps`", "no `steps` here")
                .help("write `steps:` and below it a list of steps"),
        ),
    }
    let mut book = Playbook {
        name: name.unwrap_or_else(|| path.file_stem().map_or(shown, |s| s.to_string_lossy().into_owned())),
        path: path.to_owned(),
        hosts,
        esxi,
        vars,
        reboot: reboot.unwrap_or_default(),
        on_running_vms: on_running_vms.unwrap_or_default(),
        rollout,
        baseline,
        waivers,
        steps: loader.steps,
        expectation: (kinds.find)("assert"),
    };
    let mut problems = loader.problems;
    check(&mut book, var_nodes, &loader.registers, extra, &mut problems);
    if problems.is_empty() { Ok(book) } else { Err(problems) }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn variables<'n>(node: Option<&'n Node>, problems: &mut Vec<Problem>) -> Option<&'n IndexMap<String, Entry>> {
    let node = node.filter(|n| !n.is_null())?;
    if node.map().is_none() {
        let problem = Problem::at(
            &node.span,
            "`vars` wants a mapping of names and values",
            format!("this is {}", node.describe()),
        );
        problems.push(problem.help("write one `name: value` a line, without `- `"));
    }
    node.map()
}

fn choice<T: Copy>(node: &Node, key: &str, all: &[(&str, T)], problems: &mut Vec<Problem>) -> Option<T> {
    let text = node.scalar().map(|s| s.text.as_str()).unwrap_or_default();
    let found = all.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let words = all.iter().map(|(word, _)| *word);
        let problem = Problem::at(&node.span, format!("`{key}` cannot be {}", node.describe()), "unknown word");
        problems.push(problem.help(did_you_mean(text, words, "it can be")));
    }
    found
}

/// Release lines are taken as written, so that `7.0` and `6.10` need no quotes.
fn release_lines(node: &Node, problems: &mut Vec<Problem>) -> Vec<String> {
    let nodes = match &node.value {
        NodeValue::Seq(items) => items.iter().collect(),
        _ => vec![node],
    };
    let mut lines = Vec::new();
    for node in nodes {
        let text = node.scalar().map(|s| s.text.trim()).unwrap_or_default();
        match text.parse::<Version>() {
            Ok(version) if version.line() == text => lines.push(text.to_owned()),
            parsed => {
                let help = match parsed {
                    Ok(version) => format!("write the release line, without updates: \"{}\"", version.line()),
                    Err(_) => "write it like this: esxi: [\"6.5\", \"7.0\"]".into(),
                };
                let problem = Problem::at(
                    &node.span,
                    "`esxi` wants release lines such as 6.5 or 8.0",
                    format!("this is {}", node.describe()),
                );
                problems.push(problem.help(help));
            }
        }
    }
    lines
}

impl Loader<'_> {
    fn list(&mut self, node: &Node, around: &Around) {
        let Some(items) = node.seq() else {
            if node.is_null() {
                self.problems.push(Problem::at(&node.span, "there are no steps", "an empty list"));
            } else {
                let problem =
                    Problem::at(&node.span, format!("steps are a list, and this is {}", node.describe()), "not a list");
                self.problems.push(problem.help("start each step with `- `"));
            }
            return;
        };
        for item in items {
            if self.steps.len() >= MAX_STEPS {
                let problem = Problem::at(&item.span, format!("more than {MAX_STEPS} steps"), "too many from here");
                self.problems.push(problem.help("included files count each time that they are included"));
                return;
            }
            match item.map().and_then(|m| m.get("include").map(|e| (m, e))) {
                Some((map, entry)) => self.include(map, entry, around),
                None => self.step(item, around),
            }
        }
    }

    fn step(&mut self, item: &Node, around: &Around) {
        let Some(written) = steps::read(item, self.kinds, &mut self.problems) else { return };
        let mut conditions = around.conditions.clone();
        conditions.extend(written.detail.conditions.clone());
        let mut tags = around.tags.clone();
        tags.extend(written.tags);
        let (register, register_at) = written.register.unzip();
        self.registers.push(register_at);
        self.steps.push(StepDef {
            number: self.steps.len() + 1,
            kind: written.kind,
            tags,
            id: written.id,
            register,
            retries: written.retries,
            delay: written.delay,
            timeout: written.timeout,
            uses_registered: BTreeSet::new(),
            detail: Detail {
                conditions,
                given: around.given.clone(),
                defaults: around.defaults.clone(),
                ..written.detail
            },
        });
    }

    fn include(&mut self, map: &IndexMap<String, Entry>, entry: &Entry, around: &Around) {
        for (key, other) in map.iter().filter(|(k, _)| !steps::INCLUDE.contains(&k.as_str())) {
            let problem = Problem::at(&other.key, format!("an include has no key `{key}`"), "unknown key");
            self.problems.push(problem.help(did_you_mean(key, steps::INCLUDE.iter().copied(), "known keys")));
        }
        let Some(text) = steps::text_of(&entry.node, "include", &mut self.problems) else { return };
        let span = &entry.node.span;
        if scalar::is_template(&text) {
            let problem = Problem::at(span, "`include` wants a file name, not a template", "a template");
            self.problems.push(problem.help("the steps must be known before any host is; use `when` on the include"));
            return;
        }
        let mut inner = around.clone();
        if let Some(node) = map.get("when") {
            inner.conditions.extend(steps::conditions(&node.node, &mut self.problems));
        }
        if let Some(node) = map.get("tags") {
            inner.tags.extend(steps::words(&node.node, "tags", &mut self.problems));
        }
        if let Some(vars) = variables(map.get("vars").map(|e| &e.node), &mut self.problems) {
            plain_vars(vars, &mut self.problems);
            inner.given.extend(vars.clone());
        }
        let base = Path::new(span.file.name()).parent().unwrap_or(Path::new(""));
        let path = base.join(&text);
        let shown = path.display().to_string();
        let id = canonical(&path);
        if let Some(first) = self.open.iter().position(|(p, _)| *p == id) {
            let chain: Vec<&str> = self.open[first..].iter().map(|(_, s)| s.as_str()).chain([shown.as_str()]).collect();
            let problem =
                Problem::at(span, "files include each other in a circle", "back to a file that is being read");
            self.problems.push(problem.help(chain.join(" -> ")));
            return;
        }
        if self.open.len() >= MAX_INCLUDES {
            self.problems.push(Problem::at(span, format!("includes deeper than {MAX_INCLUDES} files"), "too deep"));
            return;
        }
        let root = match self.files.get(&id) {
            Some(known) => known.clone(),
            None => {
                let read = yaml::read(&path, &shown);
                let root = read
                    .map_err(|found| {
                        // What cannot be read at all has no place of its own: the include's is the one that helps.
                        for problem in found {
                            match problem.span() {
                                Some(_) => self.problems.push(problem),
                                None => self.problems.push(
                                    Problem::at(span, problem.message().to_owned(), "included here")
                                        .help("the path is relative to the file that includes it"),
                                ),
                            }
                        }
                    })
                    .ok();
                self.files.insert(id.clone(), root.clone());
                root
            }
        };
        let Some(root) = root else { return };
        self.open.push((id, shown));
        match root.map() {
            None => self.list(&root, &inner),
            Some(map) => {
                for (key, entry) in map.iter().filter(|(k, _)| !["steps", "vars", "name"].contains(&k.as_str())) {
                    let problem =
                        Problem::at(&entry.key, format!("an included file has no key `{key}`"), "unknown key");
                    self.problems.push(problem.help(did_you_mean(key, ["steps", "vars"], "known keys")));
                }
                if let Some(vars) = variables(map.get("vars").map(|e| &e.node), &mut self.problems) {
                    plain_vars(vars, &mut self.problems);
                    inner.defaults.extend(vars.clone());
                }
                match map.get("steps") {
                    Some(entry) => self.list(&entry.node, &inner),
                    None => self.problems.push(
                        Problem::at(&root.span, "this included file has no `steps`", "no `steps` here")
                            .help("an included file is a list of steps, or a mapping with `steps` and `vars`"),
                    ),
                }
            }
        }
        self.open.pop();
    }
}
