//! The launcher: nested ESXi hosts under QEMU, from a file that says what is wanted to a running lab and back to nothing.
//!
//! [`spec`] is the file, [`rules`] what works with which version, [`plan`] everything that will be made, [`mod@argv`] the
//! command lines: pure. [`doctor`], [`disk`], [`net`], [`guest`] with [`qmp`], [`install`] and [`standin`] each do one
//! thing to the machine; [`state`] keeps what must survive; [`work`] puts them in order and journals each [`thing`].

pub mod argv;
pub mod disk;
pub mod doctor;
pub mod events;
pub mod graph;
pub mod guest;
pub mod install;
pub mod net;
pub mod plan;
pub mod qemu;
pub mod qmp;
pub mod rules;
pub mod spec;
pub mod standin;
pub mod state;
pub mod thing;
pub mod work;
