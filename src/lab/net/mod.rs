//! Networks of a lab: namespaces, Linux bridges, taps, addresses, Open vSwitch, and a switch of esxprep's own that
//! needs no root ([`hub`]).
//!
//! Everything that is made carries a sign of its maker, so that a replayed teardown touches nothing else:
//! interfaces carry the alias `esxprep:<lab>`, rows of Open vSwitch `external_ids:esxprep=<lab>`, IPv4 addresses a
//! label, the loopback interface of a namespace the alias. An interface gets its sign while it still bears a
//! staging name that nobody else uses, so there is no moment at which a killed run leaves one that cannot be told.
//!
//! Exact commands: `ip` of iproute2 6.1 and Open vSwitch 3.1 (tried); kernel datapath of Open vSwitch: not
//! verified (no such kernel module where this was written), medium confidence, from its manual.

mod error;
mod fdb;
mod found;
#[doc(hidden)]
pub(crate) mod fuzzing;
pub mod hub;
mod iface;
mod layout;
mod link;
mod netns;
mod ovs;
mod place;
pub(in crate::lab) mod proc;
mod thing;

pub use error::NetError;
pub use fdb::{MacClash, duplicate_macs, fdb};
pub use found::{Found, found};
pub use layout::{Attachment, Backend, Request, Vlan, layout};
pub use link::{AddressInfo, LinkInfo, Owner, address_of, addresses, link, links, parse_addresses, parse_links};
pub use ovs::{Datapath, Ovs, system_ovs_answers};
pub use place::{Place, check_interface_name, check_lab_name, check_socket_path, interface_name, program_argv};
pub use thing::{Address, Bridge, HubProcess, Mtu, Netns, OvsBridge, OvsPort, OvsServer, Tap, Thing, needs_root};
