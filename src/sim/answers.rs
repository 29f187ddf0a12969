//! What a host does when it is asked: programs, passwords, and the faults that meet either.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::accounts::{Verdict, password_matches};
use super::fault::Kind;
use super::host::{self, Answer, Call, Effect};
use super::jail::{Running, TMP_BYTES};
use super::machine::SimHost;
use super::moments::{Act, Asked};
use super::shim::Request;

/// How long a connection that the firewall no longer lets through hangs before it is dead here, and how long lockdown
/// mode takes to end a session: long enough for the second half of a command line that puts it right.
const FREEZE: Duration = Duration::from_millis(1000);

/// What a fault does when a command has run.
#[derive(Clone, Copy)]
enum Cut {
    No,
    Connection,
    Power,
}

/// What happens to an exec request.
#[derive(Debug, Clone)]
pub(crate) enum ExecFault {
    Hang,
    Fail(String),
    Drop,
    PowerCut,
}

impl SimHost {
    /// Whether a fault that happens once has its turn now.
    pub(super) fn once(&self, fault: usize) -> bool {
        let mut fired = self.fired.lock().unwrap_or_else(PoisonError::into_inner);
        if fired.contains(&fault) {
            return false;
        }
        fired.push(fault);
        true
    }

    /// Whether this login is one of the first that are refused whatever they bring; without an answer, if so asked.
    fn refuses(&self) -> bool {
        let found = self.faults.iter().find_map(|fault| match fault {
            Kind::RefuseLogins(limit) => Some((*limit, false)),
            Kind::RefuseAfterReboot(limit) if self.rebooted() => Some((*limit, false)),
            Kind::HangUpAfterReboot(limit) if self.rebooted() => Some((*limit, true)),
            _ => None,
        });
        let Some((limit, hangs_up)) = found else { return false };
        let refused = self.logins.fetch_add(1, Ordering::SeqCst) < limit;
        if refused && hangs_up {
            self.cut_all();
        }
        refused
    }

    /// Whether what comes in now is altered.
    pub(super) fn corrupts(&self) -> bool {
        let fault = self.faults.iter().position(|f| matches!(f, Kind::CorruptUpload));
        fault.is_some_and(|number| self.once(number))
    }

    /// Answers one program of the host.
    pub(crate) async fn serve_request(self: &Arc<Self>, request: Request) {
        let line = request.line();
        let mut cut = Cut::No;
        let act = self.asked(Asked::Program, &line);
        match act {
            Some(Act::CutBefore | Act::HoldBefore) => {
                if act == Some(Act::CutBefore) {
                    self.cut_all();
                } else {
                    self.held();
                    self.without_clients().await;
                }
                // Whoever called it is gone with the connection, unless it does not care about hangups.
                if request.abandoned().await {
                    return;
                }
            }
            Some(Act::CutAfter) => cut = Cut::Connection,
            Some(Act::CutWithin) => self.halve_next(),
            Some(Act::Stall) => self.mute_all(),
            Some(Act::HoldAfter | Act::RestartAgent) | None => {}
        }
        let mut half = act == Some(Act::CutWithin);
        for (number, fault) in self.faults.iter().enumerate() {
            match fault {
                Kind::Hang(regex) if regex.is_match(&line) => return self.end.cancelled().await,
                Kind::Fail(regex, message) if regex.is_match(&line) => {
                    return request.reply(format!("{message}\n").as_bytes(), b"", 1);
                }
                Kind::Pretend(regex, message) if regex.is_match(&line) => {
                    return request.reply(format!("{message}\n").as_bytes(), b"", 0);
                }
                Kind::Half(regex) if regex.is_match(&line) && self.once(number) => half = true,
                Kind::DropAfter(regex) if regex.is_match(&line) && self.once(number) => cut = Cut::Connection,
                Kind::PowerCut(regex) if regex.is_match(&line) && self.once(number) => cut = Cut::Power,
                _ => {}
            }
        }
        if self.options.esxcli_ms > 0 && request.argv[0].ends_with("/esxcli") {
            tokio::time::sleep(Duration::from_millis(self.options.esxcli_ms)).await;
        }
        if self.answered_below(&request).await {
            return;
        }
        let host = Arc::clone(self);
        let Ok((mut answer, request)) = tokio::task::spawn_blocking(move || (host.answer(&request), request)).await
        else {
            return;
        };
        for effect in &answer.effects {
            match effect {
                Effect::Reboot { after_ms, save } => self.reboot(Duration::from_millis(*after_ms), *save),
                Effect::PowerOff { after_ms, save } => self.power_down(Duration::from_millis(*after_ms), *save),
                Effect::AddressesChanged | Effect::SshStopped | Effect::SshStarted => self.follow_addresses().await,
                Effect::FirewallChanged => self.cut_later(FREEZE, |host, open| !host.lets_in(open.peer)),
                Effect::LockedDown => {
                    self.cut_later(FREEZE, |host, open| !host.with_state(|s, _| s.may_log_in(&open.user)))
                }
                Effect::Save | Effect::HostdRestart | Effect::KeysChanged => {}
            }
        }
        if act == Some(Act::HoldAfter) {
            self.held();
            self.without_clients().await;
        }
        if half {
            let length = answer.stdout.len() / 2;
            answer.stdout.truncate(length);
        }
        if half && act.is_none() {
            answer.code = 0;
        }
        match cut {
            Cut::No => request.reply(&answer.stdout, &answer.stderr, answer.code),
            Cut::Connection => {
                self.cut_all();
                request.reply(&answer.stdout, &answer.stderr, answer.code);
            }
            Cut::Power => {
                // No answer: the power goes before it is out.
                self.reboot(Duration::ZERO, false);
            }
        }
    }

    /// Lets the machine below answer a program, if there is one and it can.
    async fn answered_below(&self, request: &Request) -> bool {
        let Some(below) = self.options.below.clone() else { return false };
        let Some(command) = self.with_state(|state, _| below.program(state, &request.argv)) else { return false };
        let mut command = tokio::process::Command::from(command);
        let output = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output().await;
        match output {
            Ok(output) => {
                let text = below.reword(&String::from_utf8_lossy(&output.stdout));
                request.reply(text.as_bytes(), &output.stderr, output.status.code().unwrap_or(1));
            }
            Err(error) => request.reply(b"", format!("{}: {error}\n", request.argv[0]).as_bytes(), 127),
        }
        true
    }

    fn answer(&self, request: &Request) -> Answer {
        let mut inner = self.inner();
        let root = inner.running.as_ref().map_or_else(|| self.disk.root(), Running::view);
        let call = Call {
            argv: &request.argv,
            stdin: &request.stdin,
            root: &root,
            tmp_bytes: inner.running.as_ref().map_or(TMP_BYTES, Running::tmp_bytes),
            now: self.now(),
            ssh_connection: &request.ssh_connection,
            tty: request.tty,
            hostd_up: inner.hostd_at.is_some_and(|at| Instant::now() >= at),
        };
        let answer = host::answer(&mut inner.state, &call);
        for effect in &answer.effects {
            match effect {
                Effect::Save => self.save_locked(&inner.state),
                Effect::HostdRestart if inner.hostd_at.is_some() => {
                    inner.hostd_at = Some(Instant::now() + Duration::from_millis(self.options.hostd_ms));
                }
                _ => {}
            }
        }
        if let Some(below) = &self.options.below
            && inner.running.is_some()
        {
            below.follow(&mut inner.state);
        }
        answer
    }

    /// Faults for an SSH exec request that is not one of ESXi's programs (those are met when they call in).
    pub(crate) fn exec_fault(&self, command: &str) -> Option<ExecFault> {
        let mut words = command.split(|c: char| c.is_whitespace() || ";&|()`\"'/".contains(c));
        let ours = |word: &str| host::programs().iter().any(|program| program.rsplit('/').next() == Some(word));
        if matches!(command.trim(), "sh" | "/bin/sh") || words.any(ours) {
            return None;
        }
        self.faults.iter().enumerate().find_map(|(number, fault)| match fault {
            Kind::Hang(regex) if regex.is_match(command) => Some(ExecFault::Hang),
            Kind::Fail(regex, message) if regex.is_match(command) => Some(ExecFault::Fail(message.clone())),
            Kind::DropAfter(regex) if regex.is_match(command) && self.once(number) => Some(ExecFault::Drop),
            Kind::PowerCut(regex) if regex.is_match(command) && self.once(number) => Some(ExecFault::PowerCut),
            _ => None,
        })
    }

    /// Judges a password for `user`.
    pub(crate) async fn check_password(self: &Arc<Self>, user: &str, password: &str) -> bool {
        let (root, name, word) = (self.disk.root(), user.to_string(), password.to_string());
        let right = tokio::task::spawn_blocking(move || password_matches(&root, &name, &word)).await.unwrap_or(false);
        let refused = self.has(|f| matches!(f, Kind::RejectPassword)) || (right && self.refuses());
        let right = right && !refused;
        let mut inner = self.inner();
        let (limit, mut seconds) = inner.state.lockout();
        for fault in &self.faults {
            if let Kind::LockSeconds(n) = fault {
                seconds = *n;
            }
        }
        let verdict = inner.tallies.judge(user, right, limit, Duration::from_secs(seconds), Instant::now());
        drop(inner);
        if let Verdict::Locked(failures) = verdict {
            self.log(&format!(
                "Remote access for ESXi local user account '{user}' has been locked for {seconds} seconds after \
                 {failures} failed login attempts."
            ));
        }
        verdict == Verdict::Right
    }

    /// One line in the host's own log of events.
    fn log(&self, text: &str) {
        use std::io::Write;
        let path = self.disk.root().join("var/log/vobd.log");
        let stamp = humantime::format_rfc3339_millis(SystemTime::now());
        if let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(path) {
            let _ = writeln!(file, "{stamp}: [UserLevelCorrelator] {text}");
        }
    }
}
