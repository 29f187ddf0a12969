//! The same tests of the transport once more, over libssh2: against OpenSSH's server and against one that counts.

#[path = "transport_logins.rs"]
mod logins;
#[path = "transport_openssh.rs"]
mod openssh;
