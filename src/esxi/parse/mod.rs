//! What any ESXi command printed, as JSON.

pub mod family;
pub mod tools;

pub use family::{Family, Invocation};
