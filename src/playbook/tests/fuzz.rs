//! Whatever is in a file: problems, never a panic.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn load_bytes(bytes: &[u8]) -> Result<Playbook, Vec<Problem>> {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("site.yml");
    std::fs::write(&path, bytes).unwrap();
    load(&path, &BTreeSet::new(), &kinds())
}

fn must_not_panic(bytes: &[u8]) {
    if let Err(problems) = load_bytes(bytes) {
        assert!(!problems.is_empty());
        let problems = Problems::from(problems);
        assert!(!problems.drawn(false, 80).is_empty());
        assert!(!problems.plain().is_empty());
    }
}

/// Pieces that meet in odd ways more often than random bytes do.
fn scrap() -> impl Strategy<Value = String> {
    let pieces = [
        "steps:\n",
        "  - ",
        "vib: ",
        "{name: ",
        "}",
        "[",
        "]",
        "'{{ ",
        " }}'",
        "{% if ",
        "%}",
        "name: ",
        "when: ",
        "for_each: ",
        "\n",
        "    ",
        "&a ",
        "*a",
        "<<: ",
        "0755",
        "no",
        "é",
        "\t",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "---\n",
        "vars:\n",
        "  x: ",
        "item",
        "host.version",
        "register: r",
        "!t ",
        "include: site.yml",
        "expect: ",
        "# ",
        "\u{feff}",
        "password: ",
        "portgroup: ",
        "vlan: ",
        "~",
        ": ",
        "? ",
        ",",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40).prop_map(|v| v.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_load_or_fail_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        must_not_panic(&bytes);
    }

    #[test]
    fn any_scraps_load_or_fail_without_a_panic(text in scrap()) {
        must_not_panic(text.as_bytes());
        must_not_panic(format!("steps:\n  - vib: {text}\n").as_bytes());
    }
}
