//! The same tests of the transport once more, over libssh2: against OpenSSH's server and against one that counts.

// Each of the two is a test target of its own as well, and brings its helpers along.
#![allow(clippy::duplicate_mod)]

#[path = "transport_logins.rs"]
mod logins;
#[path = "transport_openssh.rs"]
mod openssh;
