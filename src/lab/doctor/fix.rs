//! `--fix`: carries out what findings offer, each with the value before it in the undo file first.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::hands::Hands;
use super::parse::{modprobe_options, truth};
use super::undo::{Before, Entry, UndoFile};
use super::{Finding, Fix};

/// The one file of modprobe.d that esxprep writes, below the root.
pub(super) const OUR_FILE: &str = "etc/modprobe.d/esxprep.conf";
const HEADER: &str = "# Written by `esxprep lab doctor --fix`; `esxprep lab doctor --undo` takes it back.\n";

/// Why something could not be fixed or put back.
#[derive(Debug, thiserror::Error)]
pub enum FixError {
    /// Another `--fix` or `--undo` is at work.
    #[error("another `lab doctor --fix` or `--undo` is at work in {}; wait for it to end", folder.display())]
    Busy {
        /// The folder of the undo file.
        folder: PathBuf,
    },
    /// The undo file cannot be used; nothing was changed without it.
    #[error("cannot {doing} {}: {source}; nothing is changed without a way back, so make that folder writable", path.display())]
    UndoFile {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// The undo file is not what this version writes.
    #[error("{} is damaged or from another version: {problem}; put back by hand what it lists, then remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        problem: String,
    },
    /// It takes root.
    #[error("it takes root; run the same command as root")]
    NotRoot,
    /// A file operation failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// The kernel took the write and kept its value.
    #[error("{} still says `{now}` after `{wanted}` was written; the kernel does not take it", path.display())]
    NotTaken {
        /// The parameter's file.
        path: PathBuf,
        /// What was written.
        wanted: String,
        /// What it says.
        now: String,
    },
    /// The module is in use.
    #[error("{module} is in use ({users}); shut the virtual machines down and try again, or boot again")]
    InUse {
        /// The module.
        module: String,
        /// What `refcnt` says.
        users: String,
    },
    /// modprobe failed.
    #[error("`{command}` failed: {said}")]
    Program {
        /// The command.
        command: String,
        /// What it complained of.
        said: String,
    },
    /// The folder holds files, which would keep what they have.
    #[error("{} is not empty, and files in it would keep copy on write; use an empty folder", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// Our file is a link to somebody else's.
    #[error("{} is a symbolic link; esxprep writes no file of others, so remove the link", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
}

/// What became of a fix.
#[derive(Debug)]
pub enum Outcome {
    /// Done, and read back.
    Done,
    /// It was so already.
    AlreadySo,
    /// Not done; the rest went on.
    Failed(FixError),
}

/// A fix and what became of it.
#[derive(Debug)]
pub struct Applied {
    /// The fix.
    pub fix: Fix,
    /// What became of it.
    pub outcome: Outcome,
}

impl Serialize for Applied {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (outcome, problem) = match &self.outcome {
            Outcome::Done => ("done", None),
            Outcome::AlreadySo => ("already_so", None),
            Outcome::Failed(e) => ("failed", Some(e.to_string())),
        };
        told(serializer, &self.fix, outcome, problem)
    }
}

/// `{"fix": ..., "outcome": ..., "problem": ...}`.
pub(super) fn told<S: Serializer>(
    serializer: S,
    fix: &Fix,
    outcome: &str,
    problem: Option<String>,
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_struct("Told", 3)?;
    object.serialize_field("fix", fix)?;
    object.serialize_field("outcome", outcome)?;
    object.serialize_field("problem", &problem)?;
    object.end()
}

impl Fix {
    /// Whether it takes root. (A folder's owner may set its attribute.)
    pub fn needs_root(&self) -> bool {
        !matches!(self, Self::NoCow { .. })
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Parameter { module, parameter, value } => {
                format!("write {value} to /sys/module/{module}/parameters/{parameter}")
            }
            Self::Modprobe { module, parameter, value } => {
                format!("put `options {module} {parameter}={value}` into /{OUR_FILE}")
            }
            Self::Reload { module, parameter, value } => {
                format!("unload {module} and load it with {parameter}={value}, if no virtual machine uses it")
            }
            Self::NoCow { folder } => format!("chattr +C {}", folder.display()),
        }
    }
}

/// What the findings offer, each once, in the order in which it is done: files for later boots before modules are loaded
/// again.
pub fn fixes(findings: &[Finding]) -> Vec<Fix> {
    let mut seen = HashSet::new();
    let mut fixes: Vec<Fix> =
        findings.iter().flat_map(|f| &f.fixes).filter(|fix| seen.insert((*fix).clone())).cloned().collect();
    fixes.sort_by_key(|fix| match fix {
        Fix::NoCow { .. } => 0,
        Fix::Parameter { .. } => 1,
        Fix::Modprobe { .. } => 2,
        Fix::Reload { .. } => 3,
    });
    fixes
}

/// What `--fix` is about to do, and what it will leave because that takes root. Said before anything is done.
pub fn announce(fixes: &[Fix], is_root: bool) -> String {
    let mut out = String::new();
    let (now, not): (Vec<&Fix>, Vec<&Fix>) = fixes.iter().partition(|fix| is_root || !fix.needs_root());
    let mut part = |title: &str, fixes: &[&Fix]| {
        if !fixes.is_empty() {
            let _ = writeln!(out, "{title}");
            for fix in fixes {
                let _ = writeln!(out, "  {}", fix.words());
            }
        }
    };
    part("Will be done (`esxprep lab doctor --undo` takes it back):", &now);
    part("Takes root, and is left (run the same command as root):", &not);
    if fixes.is_empty() {
        out.push_str("There is nothing here that --fix can change.\n");
    }
    out
}

/// Carries fixes out. `root` is `/` outside tests. The folder of the undo file is locked meanwhile. Any number of times:
/// what is so already is left, and a run that was killed is gone on with.
///
/// # Errors
/// Where the undo file cannot be had: then nothing more is changed. What fails by itself is in the list.
pub fn apply(root: &Path, undo_file: &Path, fixes: &[Fix], hands: &mut dyn Hands) -> Result<Vec<Applied>, FixError> {
    let mut undo = UndoFile::open(undo_file)?;
    let mut applied = Vec::new();
    for fix in fixes {
        let outcome = match one(root, &mut undo, fix, hands) {
            Ok(true) => Outcome::Done,
            Ok(false) => Outcome::AlreadySo,
            Err(e @ (FixError::UndoFile { .. } | FixError::Damaged { .. } | FixError::Busy { .. })) => return Err(e),
            Err(e) => Outcome::Failed(e),
        };
        applied.push(Applied { fix: fix.clone(), outcome });
    }
    Ok(applied)
}

pub(super) fn parameter_file(root: &Path, module: &str, parameter: &str) -> PathBuf {
    root.join("sys/module").join(module).join("parameters").join(parameter)
}

/// Two spellings of one value: `Y` and `1`.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.trim() == b.trim() || truth(a).is_some_and(|v| truth(b) == Some(v))
}

pub(super) fn text_of(path: &Path) -> Result<Option<String>, FixError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FixError::Io { doing: "read", path: path.to_owned(), source }),
    }
}

pub(super) fn value_of(path: &Path) -> Result<Option<String>, FixError> {
    Ok(text_of(path)?.map(|text| text.trim_end().to_owned()))
}

fn missing(path: &Path) -> FixError {
    FixError::Io { doing: "read", path: path.to_owned(), source: io::ErrorKind::NotFound.into() }
}

/// One fix; false if it was so already.
fn one(root: &Path, undo: &mut UndoFile, fix: &Fix, hands: &mut dyn Hands) -> Result<bool, FixError> {
    if fix.needs_root() && !hands.is_root() {
        return Err(FixError::NotRoot);
    }
    match fix {
        Fix::Parameter { module, parameter, value } => {
            let path = parameter_file(root, module, parameter);
            let before = value_of(&path)?.ok_or_else(|| missing(&path))?;
            if same(&before, value) {
                return Ok(false);
            }
            let entry = Entry { fix: fix.clone(), before: Before::Value { before, after: value.clone() } };
            undo.during(entry, || {
                let io = |source| FixError::Io { doing: "write", path: path.clone(), source };
                hands.write(&path, value).map_err(io)?;
                read_back(&path, value)
            })
        }
        Fix::Modprobe { module, parameter, value } => {
            let path = root.join(OUR_FILE);
            if fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink()) {
                return Err(FixError::Link { path });
            }
            let before = text_of(&path)?;
            let after = merged(before.as_deref(), module, parameter, value);
            if before.as_ref() == Some(&after) {
                return Ok(false);
            }
            let folder = path.parent().unwrap_or(root).to_owned();
            let made_folder = !folder.is_dir();
            let entry = Entry { fix: fix.clone(), before: Before::File { before, after: after.clone(), made_folder } };
            undo.during(entry, || {
                if made_folder {
                    let io = |source| FixError::Io { doing: "make", path: folder.clone(), source };
                    hands.make_folder(&folder).map_err(io)?;
                }
                hands.replace(&path, &after).map_err(|source| FixError::Io {
                    doing: "write",
                    path: path.clone(),
                    source,
                })
            })
        }
        Fix::Reload { module, parameter, value } => {
            let path = parameter_file(root, module, parameter);
            let entry = match value_of(&path)? {
                Some(now) if same(&now, value) => return Ok(false),
                Some(now) => Entry { fix: fix.clone(), before: Before::Value { before: now, after: value.clone() } },
                // A run that was killed between unloading and loading.
                None => undo.last_of(fix).cloned().ok_or_else(|| missing(&path))?,
            };
            let loaded = root.join("sys/module").join(module).is_dir();
            if loaded {
                not_in_use(root, module)?;
            }
            undo.during(entry, || {
                reload(hands, loaded, module, parameter, value)?;
                read_back(&path, value)
            })
        }
        Fix::NoCow { folder } => {
            let path = root.join(folder.strip_prefix("/").unwrap_or(folder));
            let io = |doing, source| FixError::Io { doing, path: path.clone(), source };
            if hands.nocow(&path).map_err(|e| io("read the attributes of", e))? {
                return Ok(false);
            }
            if fs::read_dir(&path).map_err(|e| io("look into", e))?.next().is_some() {
                return Err(FixError::NotEmpty { folder: folder.clone() });
            }
            undo.during(Entry { fix: fix.clone(), before: Before::CopyOnWrite }, || {
                hands.set_nocow(&path, true).map_err(|e| io("set the attribute C of", e))
            })
        }
    }
}

fn read_back(path: &Path, wanted: &str) -> Result<(), FixError> {
    match value_of(path)? {
        Some(now) if same(&now, wanted) => Ok(()),
        Some(now) => Err(FixError::NotTaken { path: path.to_owned(), wanted: wanted.to_owned(), now }),
        None => Err(missing(path)),
    }
}

pub(super) fn not_in_use(root: &Path, module: &str) -> Result<(), FixError> {
    let users = value_of(&root.join("sys/module").join(module).join("refcnt"))?;
    match users.as_deref() {
        Some("0") => Ok(()),
        Some(users) => Err(FixError::InUse { module: module.to_owned(), users: format!("{users} users") }),
        None => Err(FixError::InUse {
            module: module.to_owned(),
            users: "it is part of the kernel, or does not say".to_owned(),
        }),
    }
}

/// Unloads (if it is loaded) and loads. The value is on the command line too: what is there comes after modprobe.d's.
pub(super) fn reload(
    hands: &mut dyn Hands,
    loaded: bool,
    module: &str,
    parameter: &str,
    value: &str,
) -> Result<(), FixError> {
    let mut run = |arguments: &[&str]| {
        let command = || format!("modprobe {}", arguments.join(" "));
        hands.run("modprobe", arguments).map_err(|said| FixError::Program { command: command(), said })
    };
    if loaded {
        run(&["-r", module])?;
    }
    run(&[module, &format!("{parameter}={value}")])
}

/// Our file with one more option, or with another value for it. Everything else in it stays, byte for byte.
fn merged(current: Option<&str>, module: &str, parameter: &str, value: &str) -> String {
    let Some(current) = current else { return format!("{HEADER}options {module} {parameter}={value}\n") };
    if modprobe_options(current, module).iter().any(|(name, _)| name == parameter) {
        return with_value(current, module, parameter, value);
    }
    let end = if current.is_empty() || current.ends_with('\n') { "" } else { "\n" };
    format!("{current}{end}options {module} {parameter}={value}\n")
}

fn with_value(current: &str, module: &str, parameter: &str, value: &str) -> String {
    let mut out = String::with_capacity(current.len() + 8);
    let (mut ours, mut goes_on) = (false, false);
    for line in current.split_inclusive('\n') {
        if !goes_on {
            let mut words = line.split_whitespace();
            ours = words.next() == Some("options") && words.next().is_some_and(|m| m.replace('-', "_") == module);
        }
        goes_on = line.trim_end_matches('\n').ends_with('\\');
        if !ours {
            out.push_str(line);
            continue;
        }
        for word in line.split_inclusive(char::is_whitespace) {
            let bare = word.trim_end_matches(char::is_whitespace);
            let space = &word[bare.len()..];
            let (name, old) = bare.split_once('=').unwrap_or((bare, "1"));
            // A value that is right already keeps its spelling.
            if name == parameter && !same(old, value) {
                let _ = write!(out, "{parameter}={value}{space}");
            } else {
                out.push_str(word);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn our_file_is_merged_and_not_overwritten() {
        assert!(merged(None, "kvm", "ignore_msrs", "1").ends_with("\noptions kvm ignore_msrs=1\n"));
        let mine = "# mine\noptions kvm-intel nested=0 ept=1\noptions kvm ignore_msrs=0 \\\n  report_ignored_msrs=1";
        assert_eq!(
            merged(Some(mine), "kvm_intel", "nested", "1"),
            "# mine\noptions kvm-intel nested=1 ept=1\noptions kvm ignore_msrs=0 \\\n  report_ignored_msrs=1"
        );
        assert_eq!(
            merged(Some(mine), "kvm", "report_ignored_msrs", "0"),
            "# mine\noptions kvm-intel nested=0 ept=1\noptions kvm ignore_msrs=0 \\\n  report_ignored_msrs=0"
        );
        assert_eq!(merged(Some(mine), "kvm_amd", "nested", "1"), format!("{mine}\noptions kvm_amd nested=1\n"));
        assert_eq!(
            merged(Some("options kvm ignore_msrs=Y\n"), "kvm", "ignore_msrs", "1"),
            "options kvm ignore_msrs=Y\n"
        );
    }
}
