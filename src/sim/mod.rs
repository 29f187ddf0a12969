//! sim

pub mod host;
