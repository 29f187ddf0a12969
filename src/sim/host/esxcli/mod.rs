//! esxcli and localcli: options of the program, the command tree, one printer for every command.

pub(super) mod args;
pub(super) mod model;
mod print;

use std::collections::BTreeSet;

use self::args::Args;
use self::model::Reply;
use self::print::Formatter;
use super::state::{HostState, Release};
use super::{Answer, Call, Effect};

/// What a command's handler works with.
pub(super) struct Ctx<'a, 'b> {
    pub state: &'a mut HostState,
    pub call: &'a Call<'b>,
    pub effects: Vec<Effect>,
}

impl Ctx<'_, '_> {
    pub(super) fn release(&self) -> Release {
        self.state.release
    }
}

/// One command of the tree.
pub(super) struct Cmd {
    /// Namespace and name, parted by blanks.
    pub path: &'static str,
    pub help: &'static str,
    /// See [`args::Opt`].
    pub options: &'static [&'static str],
    pub since: Release,
    pub until: Release,
    pub run: fn(&mut Ctx<'_, '_>, &Args) -> Reply,
}

impl Cmd {
    pub(super) const fn new(
        path: &'static str,
        help: &'static str,
        options: &'static [&'static str],
        run: fn(&mut Ctx<'_, '_>, &Args) -> Reply,
    ) -> Self {
        Self { path, help, options, since: Release::V60, until: Release::V80, run }
    }

    pub(super) const fn since(mut self, release: Release) -> Self {
        self.since = release;
        self
    }

    pub(super) const fn until(mut self, release: Release) -> Self {
        self.until = release;
        self
    }

    fn fits(&self, release: Release) -> bool {
        self.since <= release && release <= self.until
    }
}

/// Every command of the release.
fn commands(release: Release) -> impl Iterator<Item = &'static Cmd> {
    super::cmd::TABLES.iter().flat_map(|t| t.iter()).filter(move |c| c.fits(release))
}

/// Options in front of the namespace.
#[derive(Default)]
struct Options {
    formatter: Option<String>,
    fields: Vec<String>,
    debug: bool,
    help: bool,
}

const PROGRAM_USAGE: &str = "Usage: esxcli [options] {namespace}+ {cmd} [cmd options]

Options:
  --formatter=FORMATTER
                        Override the formatter to use for a given command. Available formatter: xml, csv, keyvalue
  --screen-width=SCREENWIDTH
                        Use the specified screen width when formatting text
  --debug               Enable debug or internal use options
  --version             Display version information for the script
  -?, --help            Display usage information for the script

";

/// Runs `esxcli` (`through_hostd`) or `localcli`.
pub(super) fn run(state: &mut HostState, call: &Call<'_>, through_hostd: bool) -> Answer {
    let words: Vec<String> = call.argv.iter().skip(1).cloned().collect();
    let mut options = Options::default();
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|w| w.starts_with('-')) {
        let (name, mut value) = match word.split_once('=') {
            Some((n, v)) => (n.to_owned(), Some(v.to_owned())),
            None => (word.clone(), None),
        };
        let takes = matches!(name.as_str(), "--formatter" | "--format-param" | "--screen-width" | "--encoding");
        if takes && value.is_none() {
            at += 1;
            value = words.get(at).cloned();
        }
        let value = value.unwrap_or_default();
        match name.as_str() {
            "--formatter" => options.formatter = Some(value),
            "--format-param" => {
                if let Some(list) = value.strip_prefix("fields=") {
                    options.fields.extend(list.trim_matches('"').split(',').map(|f| f.trim().to_owned()));
                }
            }
            "--debug" => options.debug = true,
            "--screen-width" | "--encoding" => {}
            "--help" | "-?" | "-h" => options.help = true,
            "--version" => return Answer::out(format!("Script 'esxcli' version: {}\n", state.full)),
            _ => return Answer::coded(format!("Error: Invalid option {name}\n\n{PROGRAM_USAGE}"), 1),
        }
        at += 1;
    }
    if through_hostd && !call.hostd_up {
        // Recorded on 5.1, even for a namespace without a command.
        return Answer::coded("Connect to localhost failed: Connection failure\n", 1);
    }
    let formatter = match options.formatter.as_deref() {
        None | Some("text") => Formatter::Text,
        Some("xml") => Formatter::Xml,
        Some("csv") => Formatter::Csv,
        Some("keyvalue") => Formatter::KeyValue,
        Some("json") if options.debug => Formatter::Json,
        Some(other) => {
            return Answer::coded(
                format!("Error: Invalid formatter '{other}'. Available formatters: xml, csv, keyvalue.\n\n"),
                1,
            );
        }
    };
    let release = state.release;
    let rest = words.get(at..).unwrap_or_default();
    let names: Vec<&str> = rest.iter().take_while(|w| !w.starts_with('-')).map(String::as_str).collect();
    let path = names.join(" ");
    let command = commands(release).find(|c| c.path == path);
    let Some(command) = command else {
        return match namespace(release, &path) {
            Some(text) => Answer::out(text),
            // Followed by an empty line and no usage text (recorded on 6.0).
            None => Answer::coded(format!("Error: Unknown command or namespace {path}\n\n"), 1),
        };
    };
    let known = args::options(command.options, release);
    let behind = &rest[names.len()..];
    let usage = || args::usage(command.path, command.help, &known);
    if options.help || behind.iter().any(|w| w == "--help" || w == "-?") {
        return Answer::out(usage());
    }
    match args::parse(&known, behind, call.tty) {
        Err(message) => Answer::coded(format!("Error: {message}\n\n{}", usage()), 1),
        Ok(parsed) => {
            let mut ctx = Ctx { state, call, effects: Vec::new() };
            let reply = (command.run)(&mut ctx, &parsed);
            let effects = std::mem::take(&mut ctx.effects);
            let code = i32::from(matches!(reply, Reply::Fault(_)));
            // Setters that print nothing print nothing in the machine forms either.
            let text = match reply {
                Reply::Nothing if formatter == Formatter::Text => String::new(),
                reply => print::print(&reply, formatter, &options.fields, release),
            };
            Answer { stdout: text.into_bytes(), stderr: Vec::new(), code, effects }
        }
    }
}

/// The usage text of a namespace, `None` where there is none of that name.
fn namespace(release: Release, path: &str) -> Option<String> {
    let prefix = if path.is_empty() { String::new() } else { format!("{path} ") };
    let mut spaces = BTreeSet::new();
    let mut own = Vec::new();
    for command in commands(release) {
        if let Some(rest) = command.path.strip_prefix(&prefix) {
            match rest.split_once(' ') {
                Some((space, _)) => {
                    spaces.insert(space);
                }
                None => own.push((rest, command.help)),
            }
        }
    }
    if spaces.is_empty() && own.is_empty() {
        return None;
    }
    let mut out = if path.is_empty() {
        PROGRAM_USAGE.to_owned()
    } else {
        format!("Usage: esxcli {path} {{cmd}} [cmd options]\n\n")
    };
    if !spaces.is_empty() {
        out.push_str("Available Namespaces:\n");
        for space in spaces {
            out.push_str(&args::described(space, &format!("Operations on {space}")));
            out.push('\n');
        }
        out.push('\n');
    }
    if !own.is_empty() {
        own.sort_unstable();
        out.push_str("Available Commands:\n");
        for (name, help) in own {
            out.push_str(&args::described(name, help));
            out.push('\n');
        }
    }
    Some(out)
}

/// `esxcli esxcli command list`: every command this release knows.
pub(super) fn command_list(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let mut rows: Vec<model::Rec> = commands(ctx.release())
        .map(|c| {
            let (space, name) = c.path.rsplit_once(' ').unwrap_or(("", c.path));
            model::Rec::new("Command").with("Namespace", space.replace(' ', ".")).with("Command", name)
        })
        .collect();
    rows.sort_by(|a, b| format!("{:?}", a.fields).cmp(&format!("{:?}", b.fields)));
    Reply::Table(rows)
}
