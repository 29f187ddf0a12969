//! Which file a host's checklist goes to.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::super::sink::Sink;

/// Where the host's name goes.
const PLACE: &str = "{host}";

/// The files of a run: one for each host.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    paths: IndexMap<String, PathBuf>,
}

impl Files {
    /// Fails when no file can be made in the path's folder.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        let problem = |why: &str| {
            let text = format!("cannot write the report {}: {why}", path.display());
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        };
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
            return problem("its name cannot be read; name another file");
        };
        if path.parent().is_some_and(|p| p.to_string_lossy().contains(PLACE)) {
            return problem("`{host}` may stand in the name of the file, not in its folder");
        }
        // The folder must take a file; the name with the host's in it is not known yet.
        Sink::new(Some(path.with_file_name(name.replace(PLACE, "host"))))?;
        Ok(Self { path, paths: IndexMap::new() })
    }

    /// Gives each host its file. With one host and no `{host}` the path is taken as it is; else the host's name stands
    /// in place of `{host}`, or before the ending.
    pub fn hosts(&mut self, hosts: &[String]) {
        let mut taken = BTreeSet::new();
        for host in hosts {
            let path = if hosts.len() == 1 && !self.name().contains(PLACE) {
                self.path.clone()
            } else {
                let safe = file_name(host);
                let numbered = (2..).map(|n| format!("{safe}-{n}"));
                // Two hosts whose names differ in what a file's name cannot hold, or only in case.
                let free = std::iter::once(safe.clone()).chain(numbered).map(|name| self.with(&name));
                let mut free = free.filter(|path| !taken.contains(&folded(path)));
                free.next().unwrap_or_else(|| self.with(&safe))
            };
            taken.insert(folded(&path));
            self.paths.insert(host.clone(), path);
        }
    }

    /// The host's file.
    pub fn of(&self, host: &str) -> PathBuf {
        self.paths.get(host).cloned().unwrap_or_else(|| self.with(&file_name(host)))
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn with(&self, host: &str) -> PathBuf {
        let name = self.name();
        if name.contains(PLACE) {
            return self.path.with_file_name(name.replace(PLACE, host));
        }
        let path = Path::new(&name);
        let (stem, ending) = (path.file_stem().unwrap_or_default().to_string_lossy(), path.extension());
        let ending = ending.map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
        self.path.with_file_name(format!("{stem}-{host}{ending}"))
    }
}

fn folded(path: &Path) -> String {
    path.to_string_lossy().to_lowercase()
}

/// A host's name as a part of a file's: letters, digits, `.`, `-` and `_`; everything else becomes `_`.
fn file_name(host: &str) -> String {
    let safe: String = host.chars().map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    match safe.trim_start_matches('.') {
        "" => "host".to_owned(),
        rest => rest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str, hosts: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(dir.path().join(name)).unwrap();
        let hosts: Vec<String> = hosts.iter().map(|h| (*h).to_owned()).collect();
        files.hosts(&hosts);
        let of = |h: &String| files.of(h).strip_prefix(dir.path()).unwrap().display().to_string();
        hosts.iter().map(of).collect()
    }

    #[test]
    fn each_host_has_a_file_of_its_own() {
        assert_eq!(files("a.ckl", &["esx1"]), ["a.ckl"]);
        assert_eq!(files("a-{host}.ckl", &["esx1"]), ["a-esx1.ckl"]);
        assert_eq!(files("a.b.ckl", &["esx1", "esx2.lab"]), ["a.b-esx1.ckl", "a.b-esx2.lab.ckl"]);
        assert_eq!(files("{host}", &["../../etc/x", "..", "ß é"]), ["_.._etc_x", "host", "ß_é"]);
        assert_eq!(files("c", &["a/b", "a b", "A_B"]), ["c-a_b", "c-a_b-2", "c-A_B-3"]);
    }

    #[test]
    fn what_cannot_be_written_is_said_before() {
        let dir = tempfile::tempdir().unwrap();
        let error = |path: &str| Files::new(dir.path().join(path)).unwrap_err().to_string();
        assert!(error("none/{host}.ckl").contains("none"));
        assert!(error("{host}/x.ckl").contains("not in its folder"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
