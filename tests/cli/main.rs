//! The product through its front door only: the built binary, real SSH, simulated hosts.

mod common;
mod failures;
mod flow;
mod kinds;
mod kinds_flow;
mod kinds_network;
mod kinds_system;
mod readonly;
mod reads;
mod validate;
mod vib;

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
