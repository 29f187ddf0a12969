//! Logs of guests: never cut, only moved aside, so that the output of a QEMU that crashed is still there after the next
//! start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{GuestError, failed};

/// Moves `path` to `path.1`, `path.1` to `path.2`, and so on; `keep` old ones stay. An empty or missing file is left as
/// it is: it says nothing.
pub fn rotate(path: &Path, keep: usize) -> Result<(), GuestError> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > 0 => {}
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed("look at", path)(e)),
    }
    let keep = keep.max(1);
    for number in (1..=keep).rev() {
        let from = if number == 1 { path.to_owned() } else { numbered(path, number - 1) };
        match fs::rename(&from, numbered(path, number)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("move aside", &from)(e)),
            _ => {}
        }
    }
    Ok(())
}

/// `path.N`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Opens a log to add to, readable by its owner alone; its folder is made. With where it ends now.
pub(super) fn open(path: &Path) -> Result<(File, u64), GuestError> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed("open", path))?;
    let end = file.seek(SeekFrom::End(0)).map_err(failed("open", path))?;
    Ok((file, end))
}

/// What was added to a log since `from`, at most its last 64 KiB.
pub(super) fn since(path: &Path, from: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(64 * 1024))))?;
        let mut bytes = Vec::new();
        file.take(64 * 1024).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn old_logs_move_aside_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/h1.log");
        for run in 0..5 {
            rotate(&path, 3).unwrap();
            let (mut file, end) = open(&path).unwrap();
            assert_eq!(end, 0);
            write!(file, "run {run}").unwrap();
        }
        let read = |n: usize| fs::read_to_string(numbered(&path, n)).ok();
        assert_eq!(fs::read_to_string(&path).unwrap(), "run 4");
        assert_eq!(read(1).as_deref(), Some("run 3"));
        assert_eq!(read(3).as_deref(), Some("run 1"));
        assert_eq!(read(4), None);
    }

    #[test]
    fn an_empty_log_pushes_no_other_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        fs::write(&path, "x").unwrap();
        rotate(&path, 1).unwrap();
        fs::write(&path, "").unwrap();
        rotate(&path, 1).unwrap();
        assert_eq!(fs::read_to_string(numbered(&path, 1)).unwrap(), "x");
    }

    #[test]
    fn what_was_added_since_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        fs::write(&path, "old\n").unwrap();
        let (mut file, end) = open(&path).unwrap();
        file.write_all(b"new \xff\n").unwrap();
        assert_eq!(since(&path, end), "new \u{fffd}\n");
        assert_eq!(since(&dir.path().join("none"), 0), "");
    }
}
