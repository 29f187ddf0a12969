//! `esxprep standin-guest`: what runs inside the stand-in virtual machine; hidden, because it is of no use elsewhere.

use std::process::ExitCode;

/// The word on the command line, which the initramfs's `/init` gives.
pub const WORD: &str = "standin-guest";
/// A file that only the initramfs has.
const MARK: &str = "/etc/esxprep-standin";

/// Plays ESXi on the machine it runs on. Refuses to run anywhere but in the stand-in's initramfs.
pub fn run() -> ExitCode {
    // The guest overwrites disks and restarts the machine: only the initramfs, which is process 1's root, has this file.
    if !std::path::Path::new(MARK).is_file() {
        return super::fail("standin-guest runs inside the stand-in virtual machine only: it overwrites disks");
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&error),
    };
    match runtime.block_on(crate::sim::guest::run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error.to_string()),
    }
}
