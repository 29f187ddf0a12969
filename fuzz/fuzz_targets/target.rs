//! Every target: the binary's name says which one it is.

#![no_main]

use std::sync::LazyLock;

use esxprep::fuzzing::{Target, target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = env!("CARGO_BIN_NAME");
    target(name).unwrap_or_else(|| panic!("src/fuzzing has no target `{name}`"))
});

fuzz_target!(|data: &[u8]| {
    std::hint::black_box((TARGET.run)(data));
});
