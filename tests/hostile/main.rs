//! The binary against what means it ill: servers that never end, lie or stall, hosts and files whose every word is an
//! escape sequence; and what a run leaves behind of the secrets that it used.

mod child;
mod escapes;
mod raw;
mod secrets;
mod server;
mod tricks;
