//! The tests of the product that use SSH, once more over libssh2: `Home` asks for it by `--transport`.

#[path = "cli/common.rs"]
mod common;
#[path = "cli/failures.rs"]
mod failures;
#[path = "cli/fleet.rs"]
mod fleet;
#[path = "cli/flow.rs"]
mod flow;
#[path = "cli/interrupt.rs"]
mod interrupt;
#[path = "cli/kinds.rs"]
mod kinds;
#[path = "cli/kinds_flow.rs"]
mod kinds_flow;
#[path = "cli/kinds_network.rs"]
mod kinds_network;
#[path = "cli/kinds_system.rs"]
mod kinds_system;
#[path = "cli/netstack.rs"]
mod netstack;
#[path = "cli/openssh.rs"]
mod openssh;
#[path = "cli/output.rs"]
mod output;
#[path = "cli/readonly.rs"]
mod readonly;
#[path = "cli/reads.rs"]
mod reads;
#[path = "common/sixty.rs"]
mod sixty;
#[path = "cli/vib.rs"]
mod vib;
#[path = "cli/vmk0.rs"]
mod vmk0;
#[path = "cli/vms.rs"]
mod vms;
#[path = "cli/wrapper.rs"]
mod wrapper;

#[path = "transport_support/mod.rs"]
mod transport_support;
