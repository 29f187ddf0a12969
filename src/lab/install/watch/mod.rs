//! The watcher of an install, from power-on until SSH answers: a state machine that is told what was seen and when, and
//! says which phase it is in, when something stalls and why that may be. No clock and no I/O in it: times are what the
//! caller says, counted from the start of the machine.

mod causes;
mod console;
mod history;
#[cfg(test)]
#[path = "../watch_tests.rs"]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::ks::marker_line;
use super::screen::{Look, Screen};
use crate::esxi::Version;

pub use causes::{CAUSES, Cause, Sign, When};
pub use console::Console;
pub use history::{History, LIMITS, Limit};

/// How far an install is. In order; a watcher never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// BIOS or UEFI.
    Firmware,
    /// The boot loader reads the installer's modules.
    LoadingModules,
    /// The installer runs: hardware, the install script, checks.
    Installer,
    /// It partitions and copies: the boot disk grows.
    Copying,
    /// It said that it is done.
    Installed,
    /// The machine was reset.
    Rebooting,
    /// The installed system boots.
    Booting,
    /// SSH answers.
    SshUp,
}

impl Phase {
    /// All, in order.
    pub const ALL: [Self; 8] = [
        Self::Firmware,
        Self::LoadingModules,
        Self::Installer,
        Self::Copying,
        Self::Installed,
        Self::Rebooting,
        Self::Booting,
        Self::SshUp,
    ];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Firmware => "firmware",
            Self::LoadingModules => "loading the installer's modules",
            Self::Installer => "installer running",
            Self::Copying => "partitioning and copying",
            Self::Installed => "installed",
            Self::Rebooting => "rebooting",
            Self::Booting => "booting the installed system",
            Self::SshUp => "SSH answers",
        })
    }
}

/// Something that was seen.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Bytes from the serial port, in pieces of any size.
    Serial(&'a [u8]),
    /// A screen, and where it was saved if it was.
    Screen(&'a Screen, Option<&'a std::path::Path>),
    /// Bytes that the boot disk's image takes on the host.
    DiskBytes(u64),
    /// An event of QEMU by name: `RESET`, `SHUTDOWN`, `POWERDOWN`, `GUEST_PANICKED`, ...
    Qmp(&'a str),
    /// The install script was fetched over HTTP.
    ScriptFetched,
    /// Whether SSH answered just now.
    Ssh(bool),
    /// QEMU ended, with its exit code if it had one.
    Exited(Option<i32>),
    /// Nothing; only time has passed.
    Tick,
}

/// What the watcher has to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// A phase began.
    Entered {
        /// The phase.
        phase: Phase,
        /// When, from the start.
        at: Duration,
        /// The phase before and how long it took.
        before: Option<(Phase, Duration)>,
        /// How long the new phase usually takes.
        usual: Option<Duration>,
        /// Why the watcher thinks so.
        because: &'static str,
    },
    /// The machine was reset once more while the installed system boots (a first boot on 8.0 does so once).
    RebootedAgain {
        /// Resets since the install.
        resets: u32,
    },
    /// The install ended without the marker that the script would have written.
    NoMarker,
    /// Nothing happens any more.
    Stalled(Stall),
    /// It is over, and failed.
    Failed(Stall),
    /// SSH answers: how long each phase took.
    Done(Vec<(Phase, Duration)>),
}

/// Why an install stands still or has failed, as far as can be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Stall {
    /// What happened, in a few words.
    pub what: String,
    /// The phase.
    pub phase: Phase,
    /// How long it has been in it.
    pub in_phase: Duration,
    /// For how long neither serial port, screen nor disk has changed.
    pub quiet: Duration,
    /// The last lines from the serial port.
    pub last_lines: Vec<String>,
    /// The last screen that was saved.
    pub screen: Option<PathBuf>,
    /// Likely causes, the likeliest first.
    pub causes: Vec<&'static Cause>,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |d: Duration| Duration::from_secs(d.as_secs());
        write!(f, "{} (phase: {}, for {:?}", self.what, self.phase, seconds(self.in_phase))?;
        if self.quiet.as_secs() > 0 {
            write!(f, ", nothing new for {:?}", seconds(self.quiet))?;
        }
        f.write_str(")")?;
        for cause in &self.causes {
            write!(f, "\n  likely: {}\n    do: {}", cause.why, cause.fix)?;
        }
        if let Some(screen) = &self.screen {
            write!(f, "\n  last screen: {}", screen.display())?;
        }
        if !self.last_lines.is_empty() {
            f.write_str("\n  last lines of the console:")?;
            self.last_lines.iter().try_for_each(|line| write!(f, "\n    {line}"))?;
        }
        Ok(())
    }
}

/// What a watcher is told at the start.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    /// The release.
    pub release: Version,
    /// The word of [`KsSpec::report`](super::ks::KsSpec::report); none if the script writes no marker.
    pub report: Option<String>,
    /// How long phases took before.
    pub history: History,
    /// How much slower than with KVM the machine is, from 1; 10 or more under software emulation.
    pub slowness: f64,
    /// Whether the install is skipped: a machine that was installed before and now boots.
    pub installed_before: bool,
}

/// Growth of the boot disk that means copying. The installer's own look at the disk writes less.
const COPYING: u64 = 32 * 1024 * 1024;
/// Resets after which a machine is taken to be in a loop.
const LOOP: u32 = 5;
/// Console lines shown.
const SHOWN_LINES: usize = 12;
/// Most that measured slowness stretches limits.
const MAX_SLOWNESS: f64 = 30.0;

/// The watcher of one machine.
#[derive(Debug)]
pub struct Watcher {
    options: WatchOptions,
    phase: Phase,
    entered: Duration,
    took: Vec<(Phase, Duration)>,
    console: Console,
    last_life: Duration,
    stalls: u32,
    screen: Option<Screen>,
    saved: Option<PathBuf>,
    first_disk: Option<u64>,
    disk: u64,
    resets: u32,
    marker: bool,
    fetched: bool,
    over: bool,
    purple: bool,
}

impl Watcher {
    /// At power-on, time 0.
    pub fn new(options: WatchOptions) -> Self {
        let phase = if options.installed_before { Phase::Rebooting } else { Phase::Firmware };
        Self {
            options,
            phase,
            entered: Duration::ZERO,
            took: Vec::new(),
            console: Console::default(),
            last_life: Duration::ZERO,
            stalls: 0,
            screen: None,
            saved: None,
            first_disk: None,
            disk: 0,
            resets: 0,
            marker: false,
            fetched: false,
            over: false,
            purple: false,
        }
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether there is nothing more to wait for: it is done, or has failed.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// How long each phase took so far, for [`History::add`].
    pub fn took(&self) -> &[(Phase, Duration)] {
        &self.took
    }

    /// The last lines from the serial port.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// What was seen at `now`, counted from the start.
    pub fn saw(&mut self, event: Event<'_>, now: Duration) -> Vec<Report> {
        let mut out = Vec::new();
        if self.over {
            return out;
        }
        match event {
            Event::Serial(bytes) => self.serial(bytes, now, &mut out),
            Event::Screen(screen, saved) => self.look(screen, saved, now, &mut out),
            Event::DiskBytes(bytes) => self.disk(bytes, now, &mut out),
            Event::Qmp(name) => self.qmp(name, now, &mut out),
            Event::ScriptFetched => {
                self.fetched = true;
                self.alive(now);
                self.enter(Phase::Installer, now, "it fetched the install script", &mut out);
            }
            Event::Ssh(true) if self.may_answer() => {
                self.enter(Phase::SshUp, now, "SSH answered", &mut out);
                self.over = true;
                out.push(Report::Done(self.took.clone()));
            }
            Event::Exited(code) => {
                let how = code.map_or("by a signal".into(), |code| format!("with code {code}"));
                self.fail(format!("the machine's process ended {how}"), Some(Sign::Exited), now, &mut out);
            }
            Event::Ssh(_) | Event::Tick => {}
        }
        self.check_stall(now, &mut out);
        out
    }

    /// An installer has no SSH; an answer before the reboot is somebody else's (a port that is taken).
    fn may_answer(&self) -> bool {
        self.phase >= Phase::Rebooting
    }

    fn alive(&mut self, now: Duration) {
        self.last_life = now;
        self.stalls = 0;
    }

    fn enter(&mut self, phase: Phase, now: Duration, because: &'static str, out: &mut Vec<Report>) {
        if phase <= self.phase {
            return;
        }
        let before = (self.phase, now.saturating_sub(self.entered));
        self.took.push(before);
        self.phase = phase;
        self.entered = now;
        self.alive(now);
        let usual = self.options.history.usual(phase);
        out.push(Report::Entered { phase, at: now, before: Some(before), usual, because });
    }

    fn serial(&mut self, bytes: &[u8], now: Duration, out: &mut Vec<Report>) {
        if bytes.is_empty() {
            return;
        }
        self.alive(now);
        for line in self.console.push(bytes) {
            let marked = self.options.report.as_deref().is_some_and(|report| marker_line(&line, report));
            if marked {
                self.marker = true;
                self.enter(Phase::Installed, now, "the install script reported its end", out);
            } else if let Some((phase, because)) = console::phase_of(&line) {
                let phase =
                    if phase == Phase::Installer && self.phase >= Phase::Rebooting { Phase::Booting } else { phase };
                self.enter(phase, now, because, out);
            }
        }
        if let Some(cause) = causes::fatal(self.console.text(), self.options.release) {
            self.fail("the console shows why it cannot go on".into(), None, now, out);
            if let Some(Report::Failed(stall)) = out.last_mut() {
                stall.causes = vec![cause];
            }
        }
    }

    fn look(&mut self, screen: &Screen, saved: Option<&std::path::Path>, now: Duration, out: &mut Vec<Report>) {
        // A blinking cursor is no sign of life.
        let moved = self.screen.as_ref().is_none_or(|old| old.difference(screen) > 0.0005);
        if let Some(path) = saved {
            self.saved = Some(path.to_owned());
        }
        if moved {
            self.alive(now);
            self.screen = Some(screen.clone());
        }
        let look = screen.look();
        if look == Look::PurpleScreen && !self.purple {
            self.purple = true;
            self.fail("a purple screen: ESXi's kernel has stopped".into(), Some(Sign::PurpleScreen), now, out);
        } else if look == Look::EsxiYellowGrey {
            let (phase, because) = match self.phase {
                Phase::Rebooting => (Phase::Booting, "the screen looks like ESXi's"),
                _ => (Phase::LoadingModules, "the screen looks like ESXi's"),
            };
            self.enter(phase, now, because, out);
        }
    }

    fn disk(&mut self, bytes: u64, now: Duration, out: &mut Vec<Report>) {
        let first = *self.first_disk.get_or_insert(bytes);
        if bytes > self.disk && self.first_disk.is_some() && self.disk > 0 {
            self.alive(now);
        }
        self.disk = self.disk.max(bytes);
        if self.phase < Phase::Copying && bytes.saturating_sub(first) >= COPYING {
            self.enter(Phase::Copying, now, "the boot disk grows", out);
        }
    }

    fn qmp(&mut self, name: &str, now: Duration, out: &mut Vec<Report>) {
        match name {
            "RESET" if self.phase >= Phase::Rebooting => {
                self.resets += 1;
                self.alive(now);
                if self.resets >= LOOP {
                    self.fail(format!("{} resets in a row", self.resets), Some(Sign::BootLoop), now, out);
                } else {
                    out.push(Report::RebootedAgain { resets: self.resets });
                }
            }
            "RESET" if self.phase >= Phase::Copying => {
                if self.options.report.is_some() && !self.marker {
                    out.push(Report::NoMarker);
                }
                self.enter(Phase::Rebooting, now, "the machine was reset after copying", out);
            }
            // Firmware resets the machine by itself; an installer that has copied nothing does not.
            "RESET" => {
                self.resets += 1;
                self.alive(now);
                if self.resets >= LOOP {
                    self.fail(
                        format!("{} resets, and nothing was installed", self.resets),
                        Some(Sign::BootLoop),
                        now,
                        out,
                    );
                }
            }
            "SHUTDOWN" if self.phase < Phase::Installed => {
                self.fail("the machine switched itself off before it was installed".into(), Some(Sign::Off), now, out);
            }
            "GUEST_PANICKED" => {
                self.fail("QEMU says that the guest's kernel panicked".into(), Some(Sign::PurpleScreen), now, out);
            }
            _ => {}
        }
    }

    fn fail(&mut self, what: String, sign: Option<Sign>, now: Duration, out: &mut Vec<Report>) {
        if !self.over {
            self.over = true;
            out.push(Report::Failed(self.stall(what, sign, now)));
        }
    }

    /// How much slower than usual this machine is, by the phases that are done.
    fn slowness(&self) -> f64 {
        let usual = |phase| self.options.history.usual(phase).unwrap_or_else(|| history::limit(phase).usual);
        let (mut took, mut expected) = (0.0, 0.0);
        for (phase, time) in &self.took {
            // A second of firmware says nothing about the speed of a disk.
            took += time.as_secs_f64();
            expected += usual(*phase).as_secs_f64();
        }
        let measured = if expected >= 5.0 { took / expected } else { 1.0 };
        measured.max(self.options.slowness).clamp(1.0, MAX_SLOWNESS)
    }

    fn check_stall(&mut self, now: Duration, out: &mut Vec<Report>) {
        if self.over {
            return;
        }
        let limit = history::limit(self.phase);
        let slowness = self.slowness();
        let quiet = now.saturating_sub(self.last_life);
        let in_phase = now.saturating_sub(self.entered);
        // Told again after twice, three times, ... the quiet time.
        let due = limit.quiet.mul_f64(slowness * f64::from(self.stalls + 1));
        let what = if quiet >= due {
            "nothing happens any more"
        } else if in_phase >= limit.most.mul_f64(slowness * f64::from(self.stalls + 1)) {
            "this phase takes much longer than it should"
        } else {
            return;
        };
        self.stalls += 1;
        let stall = self.stall(what.into(), None, now);
        out.push(Report::Stalled(stall));
    }

    fn stall(&self, what: String, sign: Option<Sign>, now: Duration) -> Stall {
        let situation = causes::Situation {
            release: self.options.release,
            phase: self.phase,
            console: self.console.text(),
            look: self.screen.as_ref().map(Screen::look),
            sign,
            fetched: self.fetched,
        };
        Stall {
            what,
            phase: self.phase,
            in_phase: now.saturating_sub(self.entered),
            quiet: now.saturating_sub(self.last_life),
            last_lines: self.console.last(SHOWN_LINES),
            screen: self.saved.clone(),
            causes: causes::likely(&situation),
        }
    }
}
