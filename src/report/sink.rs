//! Where a report that is written at the end goes.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A file that appears whole, or standard output.
#[derive(Debug)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// A file, put in place when it is complete.
    File(PathBuf),
    /// Memory shared with a test.
    #[cfg(test)]
    Memory(super::tests::Shared),
}

impl Sink {
    /// Standard output without a file. With one: proves now that a file can be made there, so that a run of an hour
    /// does not end without its report.
    pub fn new(file: Option<PathBuf>) -> io::Result<Self> {
        let Some(path) = file else { return Ok(Self::Stdout) };
        let problem = |e: io::Error| {
            io::Error::new(e.kind(), format!("cannot write the report {}: {e}; name another file", path.display()))
        };
        if path.is_dir() {
            return Err(problem(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        tempfile::NamedTempFile::new_in(folder(&path)).map_err(problem)?;
        Ok(Self::File(path))
    }

    /// Writes the whole report.
    pub fn write(&self, text: &str) -> io::Result<()> {
        match self {
            Self::Stdout => quiet(io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush())),
            Self::File(path) => {
                let place = || -> io::Result<()> {
                    // Readable to others (less the umask): CI collects it.
                    let mode = Permissions::from_mode(0o644);
                    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(folder(path))?;
                    file.write_all(text.as_bytes())?;
                    file.persist(path)?;
                    Ok(())
                };
                place().map_err(|e| io::Error::new(e.kind(), format!("cannot write {}: {e}", path.display())))
            }
            #[cfg(test)]
            Self::Memory(memory) => memory.clone().write_all(text.as_bytes()),
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A reader that went away is the end of a report, no error of the run.
pub fn quiet(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A stream of lines that remembers its first error and then stays silent.
#[derive(Debug)]
pub struct Stream<W> {
    out: W,
    error: Option<io::Error>,
}

impl<W: Write> Stream<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, error: None }
    }

    /// Writes and flushes, unless something failed before.
    pub fn put(&mut self, text: &str) {
        if self.error.is_none() {
            self.error = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).err();
        }
    }

    /// The first error, unless it was a closed pipe.
    pub fn finish(&mut self) -> io::Result<()> {
        match &self.error {
            Some(e) if e.kind() != io::ErrorKind::BrokenPipe => {
                Err(io::Error::new(e.kind(), format!("cannot write the report: {e}")))
            }
            _ => Ok(()),
        }
    }
}
