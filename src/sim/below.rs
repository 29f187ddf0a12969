//! What a simulated host needs of a machine that is its own: nothing in `esxprep sim`, where everything is made up, and
//! real cards, disks and power in the stand-in guest ([`super::guest`]).

use std::process::Command;

use super::host::HostState;

/// The machine below a simulated host. Calls may block for as long as the hardware takes.
pub trait Below: std::fmt::Debug + Send + Sync {
    /// Before a boot: puts the hardware that is there into the saved state.
    fn attach(&self, state: &mut HostState);

    /// After a boot and after each program of the host: brings the machine's networks in line with the state, and what a
    /// DHCP server gave into the state.
    fn follow(&self, state: &mut HostState);

    /// The host saved its configuration: it goes to the real disk. Called only while the host sees that disk.
    fn saved(&self);

    /// The command that answers one of the host's programs, if the machine can do better than the simulator.
    fn program(&self, state: &HostState, argv: &[String]) -> Option<Command>;

    /// What such a command printed, in the words of ESXi.
    fn reword(&self, text: &str) -> String;

    /// The host is down and all is saved: the machine restarts or goes off.
    fn go_down(&self, restart: bool);
}
