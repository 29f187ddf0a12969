//! A watchdog: a reader that does not come back ends the whole test, which names the target and keeps the input.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Processor time that one input may cost. Time on the clock says nothing on a machine that is busy with other work.
const PROCESSOR: Duration = Duration::from_secs(2);
/// Time on the clock that one input may take: a reader that waits for something costs no processor time. Long: on a
/// machine that is busy a reader of disks has waited a minute for its turn.
const CLOCK: Duration = Duration::from_secs(600);

struct Case {
    target: &'static str,
    input: Vec<u8>,
    started: Instant,
    processor: Duration,
    task: PathBuf,
}

/// Looks after the threads that run readers.
#[derive(Clone, Default)]
pub struct Watch {
    cases: Arc<Mutex<Vec<Case>>>,
}

impl Watch {
    /// Begins to look, in a thread of its own, for as long as the process lives.
    pub fn start() -> Self {
        let watch = Self::default();
        let cases = Arc::downgrade(&watch.cases);
        std::thread::spawn(move || {
            while let Some(cases) = cases.upgrade() {
                for case in cases.lock().unwrap().iter() {
                    let (clock, used) = (case.started.elapsed(), processor(&case.task).saturating_sub(case.processor));
                    if used > PROCESSOR || clock > CLOCK {
                        let what = format!("does not come back: {used:?} of processor time in {clock:?}");
                        eprintln!("{}", report(case.target, &case.input, &what));
                        std::process::exit(101);
                    }
                }
                drop(cases);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        watch
    }

    /// Runs one case of a target in this thread under the watchdog's eye.
    pub fn over<T>(&self, target: &'static str, input: &[u8], run: impl FnOnce() -> T) -> T {
        let task =
            std::fs::read_link("/proc/thread-self").map(|task| PathBuf::from("/proc").join(task)).unwrap_or_default();
        let case = Case { target, input: input.to_vec(), started: Instant::now(), processor: processor(&task), task };
        let task = case.task.clone();
        self.cases.lock().unwrap().push(case);
        let answer = run();
        self.cases.lock().unwrap().retain(|case| case.task != task);
        answer
    }
}

/// The processor time of a thread so far, in steps of 10 ms.
fn processor(task: &std::path::Path) -> Duration {
    let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
    // The name in brackets may hold blanks; the 12th and 13th field after it are user and system time.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(2);
    Duration::from_millis(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

/// Says which input was wrong, and keeps it in a file.
pub fn report(target: &str, input: &[u8], what: &str) -> String {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}.bin"));
    let kept = std::fs::write(&file, input).map_or_else(|error| error.to_string(), |()| file.display().to_string());
    let head: String = input.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
    let text = String::from_utf8_lossy(&input[..input.len().min(200)]);
    format!("fuzz target `{target}` {what}\n{} bytes, kept in {kept}\nhex {head}...\n{text:?}", input.len())
}
