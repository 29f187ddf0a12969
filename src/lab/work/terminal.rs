//! What `lab ssh`, `lab console` and `lab screenshot` need of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::ExposeSecret;

use super::access;
use super::open::standing_plan;
use super::session::WorkError;
use crate::lab::install::screen::Screen;
use crate::lab::plan::Plan;
use crate::lab::state::Place;

/// Set when esxprep is run by `ssh` to give a password: the folder that labs are kept in, the lab, the host. It holds
/// no secret.
pub const ASKPASS_VARIABLE: &str = "ESXPREP_LAB_ASKPASS";

/// Lets `ssh` ask esxprep for a host's password.
#[derive(Debug)]
pub struct Askpass {
    program: PathBuf,
    asked: String,
}

impl Askpass {
    /// For a host.
    ///
    /// # Errors
    /// esxprep's own program is not known.
    pub fn for_host(place: &Place, plan: &Plan, host: &str) -> Result<Self, WorkError> {
        let program = std::env::current_exe().map_err(|e| {
            WorkError::said(format!("cannot find esxprep's own program, which gives `ssh` the password: {e}"))
        })?;
        let home = place.dir().parent().unwrap_or(Path::new("/")).display().to_string();
        Ok(Self { program, asked: format!("{home}\n{}\n{host}", plan.lab) })
    }

    /// Sets the environment of `ssh`.
    pub fn set(&self, ssh: &mut Command) {
        ssh.env("SSH_ASKPASS", &self.program).env("SSH_ASKPASS_REQUIRE", "force").env(ASKPASS_VARIABLE, &self.asked);
        // A key of the user's agent would count as a failed login on a host that does not know it.
        ssh.args(["-o", "PubkeyAuthentication=no", "-o", "NumberOfPasswordPrompts=1"]);
    }
}

/// The password that `ssh` asks for, when esxprep was run to give it.
///
/// # Errors
/// The lab is not there, or its password cannot be read.
pub fn askpass(asked: &str) -> Result<String, WorkError> {
    let mut parts = asked.split('\n');
    let (Some(home), Some(lab), Some(host)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(WorkError::said(format!("{ASKPASS_VARIABLE} is set and is none of esxprep's own")));
    };
    let place = Place::find(lab, Some(Path::new(home)))?;
    let kept = standing_plan(&place)?;
    Ok(access::root_password(&place, &kept.plan, host)?.expose_secret().to_owned())
}

/// A terminal whose keys go to the guest as they are, until this is dropped.
#[derive(Debug)]
pub struct RawTerminal(Option<Termios>);

impl RawTerminal {
    /// Makes standard input raw, if it is a terminal.
    pub fn enter() -> Self {
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else { return Self(None) };
        let mut raw = before.clone();
        raw.make_raw();
        Self(tcsetattr(&stdin, OptionalActions::Now, &raw).is_ok().then_some(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// A screenshot as PNG: QEMU before 7.1 makes PPM.
///
/// # Errors
/// It cannot be read or written.
pub fn as_png(path: &Path) -> Result<PathBuf, WorkError> {
    if path.extension().is_some_and(|e| e == "png") {
        return Ok(path.to_owned());
    }
    let failed = |e: &dyn std::fmt::Display| WorkError::said(format!("the screenshot {}: {e}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| failed(&e))?;
    let png = Screen::decode(&bytes).and_then(|s| s.to_png()).map_err(|e| failed(&e))?;
    let to = path.with_extension("png");
    std::fs::write(&to, png).map_err(|e| failed(&e))?;
    let _ = std::fs::remove_file(path);
    Ok(to)
}

/// A port of 127.0.0.1 that is free now.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16, WorkError> {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|l| l.local_addr())
        .map(|a| a.port())
        .map_err(|e| WorkError::said(format!("there is no free port: {e}")))
}
