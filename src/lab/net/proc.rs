//! Processes that were started and left alone: alive, or not. A zombie is not.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::NetError;

/// The moment a process began (clock ticks since the machine's), if it is alive and no zombie.
pub(super) fn started(pid: u32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of `/proc/<pid>/stat` unless field 3 says zombie or dead. The name in field 2 can hold anything.
pub(super) fn parse_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    (!matches!(state, "Z" | "X" | "x")).then(|| fields.nth(18)?.parse().ok())?
}

/// A process's argument vector; empty of a zombie, and of a process that is just ending.
pub(super) fn arguments(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).filter(|w| !w.is_empty()).collect()
}

/// The processes whose program has this name and one of whose arguments is that.
pub(in crate::lab) fn find(program: &str, argument: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let args = arguments(*pid);
        let name = args.first().and_then(|a| Path::new(a).file_name()?.to_str().map(str::to_owned));
        name.as_deref() == Some(program) && args.iter().skip(1).any(|a| a == argument)
    })
    .collect()
}

/// Waits until none of these programs runs with that argument: commands that a killed esxprep had started go on
/// without it for a moment, and what they still make must not come after it was looked for.
pub(in crate::lab) fn settle(programs: &[&str], argument: &str) {
    /// No command here takes longer, unless it hangs, and then it makes nothing any more.
    const PATIENCE: Duration = Duration::from_secs(10);
    let until = Instant::now() + PATIENCE;
    while programs.iter().any(|p| !find(p, argument).is_empty()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Ends a process: politely, and after `patience` by force.
pub(super) fn stop(what: &'static str, pid: u32, patience: Duration) -> Result<(), NetError> {
    let Some(begun) = started(pid) else { return Ok(()) };
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    for (signal, patience) in [(Signal::TERM, patience), (Signal::KILL, Duration::from_secs(10))] {
        let _ = kill_process(id, signal);
        let until = Instant::now() + patience;
        while Instant::now() < until {
            // A child of this very process would stay as a zombie.
            let _ = waitpid(Some(id), WaitOptions::NOHANG);
            // Another start is another process under the same number.
            if started(pid) != Some(begun) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Err(NetError::NotStopped { what, pid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zombies_are_not_alive() {
        let stat = |state: &str| format!("42 (a) b) {state} 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 1 2");
        assert_eq!(parse_stat(&stat("S")), Some(777));
        assert_eq!(parse_stat(&stat("Z")), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn this_process_is_found_by_its_arguments() {
        let pid = std::process::id();
        assert!(started(pid).is_some());
        let args = arguments(pid);
        let program = Path::new(&args[0]).file_name().unwrap().to_str().unwrap();
        if let Some(second) = args.get(1) {
            assert!(find(program, second).contains(&pid));
        }
        assert!(!find(program, "no such argument").contains(&pid));
    }
}
