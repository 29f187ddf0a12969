//! What the benches share: the median of rounds, and a process watched from outside.

#![allow(dead_code)] // not every bench uses all of it

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Whether this is only a look whether it builds (`cargo test --benches`).
pub fn only_builds() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// What a process has cost.
pub struct Watched {
    pub seconds: f64,
    /// The most resident memory, in MiB, as far as it was seen: a process of a few milliseconds may end unseen.
    pub memory: f64,
    /// The most resident memory that is not a file's, in MiB, with the same limit: what the run itself needs.
    pub anonymous: f64,
    /// The most threads, with the same limit.
    pub threads: f64,
    /// Seconds of processor of it and of all that it waited for, in steps of 10 ms.
    pub cpu: f64,
}

/// Runs a process to its successful end and looks at it every 5 ms.
pub fn watched(command: &mut Command) -> Outcome<Watched> {
    let before = ticks_of_children();
    let started = Instant::now();
    let mut child = command.spawn()?;
    let (mut memory, mut anonymous, mut threads) = (0.0_f64, 0.0_f64, 0.0_f64);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let number = |key: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
        };
        memory = memory.max(number("VmHWM:") / 1024.0);
        anonymous = anonymous.max(number("RssAnon:") / 1024.0);
        threads = threads.max(number("Threads:"));
        std::thread::sleep(Duration::from_millis(5));
    };
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Watched { seconds, memory, anonymous, threads, cpu: (ticks_of_children() - before) / 100.0 })
}

/// Seconds until a process has ended well.
pub fn timed(command: &mut Command) -> Outcome<f64> {
    let started = Instant::now();
    let status = command.status()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Processor time of all children that have ended so far, in clock ticks of 10 ms: how busy the machine is does not
/// show in it.
pub fn ticks_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in brackets, which may hold anything; the 16th and 17th of all fields.
    let after = stat.rsplit(") ").next().unwrap_or_default();
    after.split(' ').skip(13).take(2).filter_map(|text| text.parse::<f64>().ok()).sum()
}
