//! `--undo`: the file of values before, and putting them back.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::Fix;
use super::fix::{FixError, OUR_FILE, not_in_use, parameter_file, reload, same, text_of, told, value_of};
use super::hands::{Hands, remove_draft, remove_file, replace_file};

const FORMAT: u32 = 1;

/// What was there before a fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "snake_case")]
pub(super) enum Before {
    /// A parameter's value, and the one that was wanted.
    Value { before: String, after: String },
    /// A file's text, or no file; and the text that was wanted.
    File { before: Option<String>, after: String, made_folder: bool },
    /// A folder without the attribute C.
    CopyOnWrite,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub fix: Fix,
    #[serde(flatten)]
    pub before: Before,
}

#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    format: u32,
    entries: Vec<Entry>,
}

/// The undo file, held by one process at a time. On the disk before the change that it tells of.
pub(super) struct UndoFile {
    path: PathBuf,
    entries: Vec<Entry>,
    /// Its folder, locked.
    lock: File,
}

impl Drop for UndoFile {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread has just forked still shares the lock until it has become
        // another program. A failure leaves what closing does.
        let _ = self.lock.unlock();
    }
}

/// Whether two fixes touch the same thing.
fn same_target(a: &Fix, b: &Fix) -> bool {
    match (a, b) {
        (Fix::Modprobe { .. }, Fix::Modprobe { .. }) => true,
        (Fix::Parameter { module: m, parameter: p, .. }, Fix::Parameter { module, parameter, .. })
        | (Fix::Reload { module: m, parameter: p, .. }, Fix::Reload { module, parameter, .. }) => {
            m == module && p == parameter
        }
        (Fix::NoCow { folder: f }, Fix::NoCow { folder }) => f == folder,
        _ => false,
    }
}

fn same_before(a: &Before, b: &Before) -> bool {
    match (a, b) {
        (Before::Value { before: a, .. }, Before::Value { before: b, .. }) => same(a, b),
        (Before::File { before: a, .. }, Before::File { before: b, .. }) => a == b,
        (Before::CopyOnWrite, Before::CopyOnWrite) => true,
        _ => false,
    }
}

impl UndoFile {
    pub fn open(path: &Path) -> Result<Self, FixError> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let io = |doing, source| FixError::UndoFile { doing, path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| io("make", e))?;
        let lock = File::open(folder).map_err(|e| io("open", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FixError::Busy { folder: folder.to_owned() }),
            Err(TryLockError::Error(e)) => return Err(io("lock", e)),
        }
        let entries = match fs::read_to_string(path) {
            Ok(text) => {
                let damaged = |problem: String| FixError::Damaged { path: path.to_owned(), problem };
                let contents: Contents = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
                if contents.format != FORMAT {
                    return Err(damaged(format!(
                        "its format is {}, and this version writes {FORMAT}",
                        contents.format
                    )));
                }
                contents.entries
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(FixError::UndoFile { doing: "read", path: path.to_owned(), source }),
        };
        Ok(Self { path: path.to_owned(), entries, lock })
    }

    /// The last entry for what this fix touches.
    pub fn last_of(&self, fix: &Fix) -> Option<&Entry> {
        self.entries.iter().rev().find(|e| same_target(&e.fix, fix))
    }

    /// Writes the entry down, then makes the change. The entry of a change that failed stays: it may have been made in
    /// part, and undoing one that was not made finds all as it was.
    pub fn during(
        &mut self,
        mut entry: Entry,
        change: impl FnOnce() -> Result<(), FixError>,
    ) -> Result<bool, FixError> {
        // An entry whose "before" is what is there now was never carried out: a run was killed between the two.
        let last = self.entries.iter().rposition(|e| same_target(&e.fix, &entry.fix));
        if let Some(at) = last.filter(|at| same_before(&self.entries[*at].before, &entry.before)) {
            let stale = self.entries.remove(at);
            if let (Before::File { made_folder: old, .. }, Before::File { made_folder, .. }) =
                (stale.before, &mut entry.before)
            {
                *made_folder |= old;
            }
        }
        self.entries.push(entry);
        self.save()?;
        change().map(|()| true)
    }

    /// The file as the entries are now; no file when there are none.
    fn save(&self) -> Result<(), FixError> {
        let io = |doing, source| FixError::UndoFile { doing, path: self.path.clone(), source };
        if self.entries.is_empty() {
            return remove_file(&self.path).map_err(|e| io("remove", e));
        }
        let contents = Contents { format: FORMAT, entries: self.entries.clone() };
        let mut text = serde_json::to_vec_pretty(&contents).map_err(|e| io("write", e.into()))?;
        text.push(b'\n');
        replace_file(&self.path, &text, 0o600).map_err(|e| io("write", e))
    }
}

/// What became of a change that was to be taken back.
#[derive(Debug)]
pub enum UndoneHow {
    /// As it was before.
    Restored,
    /// It was as before already.
    AlreadySo,
    /// Somebody changed it since, or it is gone; this is what is there. It is left, and forgotten.
    LeftAlone(String),
    /// Not yet; it stays in the undo file.
    Failed(FixError),
}

/// A change and what became of it.
#[derive(Debug)]
pub struct Undone {
    /// The fix that is taken back.
    pub fix: Fix,
    /// What became of it.
    pub how: UndoneHow,
}

impl Serialize for Undone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (outcome, problem) = match &self.how {
            UndoneHow::Restored => ("restored", None),
            UndoneHow::AlreadySo => ("already_so", None),
            UndoneHow::LeftAlone(why) => ("left_alone", Some(why.clone())),
            UndoneHow::Failed(e) => ("failed", Some(e.to_string())),
        };
        told(serializer, &self.fix, outcome, problem)
    }
}

/// Puts back everything in the undo file, the last first. Any number of times; without an undo file there is nothing
/// to do.
///
/// # Errors
/// Where the undo file cannot be read or written. What fails by itself is in the list.
pub fn undo(root: &Path, undo_file: &Path, hands: &mut dyn Hands) -> Result<Vec<Undone>, FixError> {
    if !undo_file.exists() {
        // A run that was killed while it wrote its first entry changed nothing.
        let io = |source| FixError::UndoFile { doing: "clear up beside", path: undo_file.to_owned(), source };
        return remove_draft(undo_file).map(|()| Vec::new()).map_err(io);
    }
    let mut undo = UndoFile::open(undo_file)?;
    let mut undone = Vec::new();
    let mut at = undo.entries.len();
    while at > 0 {
        at -= 1;
        let entry = undo.entries[at].clone();
        // A file's earlier text must not be put over a later one that could not be.
        let blocked = undo.entries[at + 1..].iter().any(|e| same_target(&e.fix, &entry.fix));
        let how = if entry.fix.needs_root() && !hands.is_root() {
            UndoneHow::Failed(FixError::NotRoot)
        } else if blocked {
            continue;
        } else {
            back(root, &entry, hands).unwrap_or_else(UndoneHow::Failed)
        };
        if !matches!(how, UndoneHow::Failed(_)) {
            undo.entries.remove(at);
            undo.save()?;
        }
        undone.push(Undone { fix: entry.fix, how });
    }
    Ok(undone)
}

fn back(root: &Path, entry: &Entry, hands: &mut dyn Hands) -> Result<UndoneHow, FixError> {
    match (&entry.fix, &entry.before) {
        (Fix::Parameter { module, parameter, .. }, Before::Value { before, after }) => {
            let path = parameter_file(root, module, parameter);
            Ok(match value_of(&path)? {
                None => UndoneHow::LeftAlone("the module is not loaded any more".to_owned()),
                Some(now) if same(&now, before) => UndoneHow::AlreadySo,
                Some(now) if same(&now, after) => {
                    hands.write(&path, before).map_err(|source| FixError::Io { doing: "write", path, source })?;
                    UndoneHow::Restored
                }
                Some(now) => UndoneHow::LeftAlone(format!("it says {now}, which is not what --fix wrote")),
            })
        }
        (Fix::Reload { module, parameter, .. }, Before::Value { before, after }) => {
            let loaded = root.join("sys/module").join(module).is_dir();
            match value_of(&parameter_file(root, module, parameter))? {
                Some(now) if same(&now, before) => return Ok(UndoneHow::AlreadySo),
                Some(now) if !same(&now, after) => {
                    return Ok(UndoneHow::LeftAlone(format!("it says {now}, which is not what --fix asked for")));
                }
                _ => {}
            }
            if loaded {
                not_in_use(root, module)?;
            }
            reload(hands, loaded, module, parameter, before)?;
            Ok(UndoneHow::Restored)
        }
        (Fix::Modprobe { .. }, Before::File { before, after, made_folder }) => {
            file_back(root, before.as_deref(), after, *made_folder, hands)
        }
        (Fix::NoCow { folder }, _) => {
            let path = root.join(folder.strip_prefix("/").unwrap_or(folder));
            if !path.is_dir() {
                return Ok(UndoneHow::LeftAlone("the folder is gone".to_owned()));
            }
            let io = |doing| move |source| FixError::Io { doing, path: root.join(folder), source };
            if !hands.nocow(&path).map_err(io("read the attributes of"))? {
                return Ok(UndoneHow::AlreadySo);
            }
            hands.set_nocow(&path, false).map_err(io("clear the attribute C of"))?;
            Ok(UndoneHow::Restored)
        }
        (fix, before) => Ok(UndoneHow::LeftAlone(format!("{fix:?} does not go with {before:?}"))),
    }
}

fn file_back(
    root: &Path,
    before: Option<&str>,
    after: &str,
    made_folder: bool,
    hands: &mut dyn Hands,
) -> Result<UndoneHow, FixError> {
    let path = root.join(OUR_FILE);
    let io = |doing| {
        let path = path.clone();
        move |source| FixError::Io { doing, path, source }
    };
    remove_draft(&path).map_err(io("clear up beside"))?;
    let now = text_of(&path)?;
    let mut how = UndoneHow::Restored;
    match (&now, before) {
        (None, None) => how = UndoneHow::AlreadySo,
        (Some(now), Some(before)) if now == before => how = UndoneHow::AlreadySo,
        (Some(now), None) if now == after => hands.remove(&path).map_err(io("remove"))?,
        (Some(now), Some(before)) if now == after => hands.replace(&path, before).map_err(io("write"))?,
        (None, Some(_)) => return Ok(UndoneHow::LeftAlone("somebody removed the file".to_owned())),
        (Some(now), _) => {
            // Somebody wrote in it since: only the lines that --fix added go.
            let rest = without_added(now, before.unwrap_or_default(), after);
            if rest.trim().is_empty() && before.is_none() {
                hands.remove(&path).map_err(io("remove"))?;
            } else if rest != *now {
                hands.replace(&path, &rest).map_err(io("write"))?;
            } else {
                return Ok(UndoneHow::LeftAlone("somebody wrote in the file since".to_owned()));
            }
        }
    }
    if made_folder && let Some(folder) = path.parent().filter(|f| f.is_dir()) {
        // Somebody's files in it keep it.
        let _ = hands.remove_folder(folder);
    }
    Ok(how)
}

/// The text without the lines that `after` has and `before` has not.
fn without_added(now: &str, before: &str, after: &str) -> String {
    let mut old: Vec<&str> = before.lines().collect();
    let mut added: Vec<&str> = Vec::new();
    for line in after.lines() {
        match old.iter().position(|l| *l == line) {
            Some(at) => drop(old.remove(at)),
            None => added.push(line),
        }
    }
    // A line that was there got another value: which of the two somebody wants now is theirs to say.
    if !old.is_empty() {
        return now.to_owned();
    }
    now.split_inclusive('\n')
        .filter(|line| match added.iter().position(|l| *l == line.trim_end_matches('\n')) {
            Some(at) => {
                added.remove(at);
                false
            }
            None => true,
        })
        .collect()
}
