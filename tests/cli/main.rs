//! The product through its front door only: the built binary, real SSH, simulated hosts.

mod common;
mod controls;
mod docs;
mod failures;
mod faulty;
mod few_turns;
mod fixtures;
mod fleet;
mod flow;
mod harden;
mod interrupt;
mod kinds;
mod kinds_flow;
mod kinds_network;
mod kinds_system;
mod netstack;
mod openssh;
mod output;
mod parse;
mod readonly;
mod reads;

mod record;
mod rollout;
mod test_cmd;
mod together;
mod transport;
mod validate;
mod validate_nasty;
mod vib;
mod vmk0;
mod vms;
mod wrapper;

#[path = "../common/sixty.rs"]
mod sixty;
#[path = "../transport_support/mod.rs"]
mod transport_support;

/// A file in this folder that is not a `mod` above would never run.
#[test]
fn no_test_file_is_forgotten() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let main = std::fs::read_to_string(dir.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(name == "main" || main.contains(&format!("mod {name};")), "{name} is not in main.rs");
    }
}
