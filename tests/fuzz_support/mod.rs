//! What the bounded fuzz run is made of: seeds from the fixtures, deterministic mutations, and a watchdog.

pub mod mutate;
#[path = "../common/vib.rs"]
mod vib;
pub mod watch;

use std::path::{Path, PathBuf};

use esxprep::fuzzing::{Seed, Target};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The inputs that a target starts from.
pub fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for seed in target.seeds {
        match seed {
            Seed::Texts(texts) => all.extend(texts.iter().map(|text| text.as_bytes().to_vec())),
            Seed::Files(files) => all.extend(files.iter().map(|file| std::fs::read(root().join(file)).unwrap())),
            Seed::Recorded(words) => all.extend(recorded(words)),
            Seed::Bundles => all.extend(bundles()),
            Seed::Descriptors => all.extend(descriptors()),
            Seed::Made(made) => all.extend(made()),
        }
    }
    all
}

/// Recorded outputs whose names contain one of the words, without their header, in the order of their paths.
fn recorded(words: &[&str]) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("fixtures/transcripts")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "txt")
                && words.iter().any(|word| path.file_name().unwrap().to_string_lossy().contains(word))
            {
                files.push(path);
            }
        }
    }
    files.sort();
    files
        .iter()
        .map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let body: String = text.split_inclusive('\n').skip_while(|line| line.starts_with('#')).collect();
            body.strip_prefix('\n').unwrap_or(&body).as_bytes().to_vec()
        })
        .collect()
}

fn bundles() -> Vec<Vec<u8>> {
    let (a, b) = (vib::TestVib::new("small", "1.0-1"), vib::TestVib::new("other", "2.0.5-7").level("partner"));
    let web = b"<!DOCTYPE html>\n<html>login</html>".to_vec();
    // GNU and BSD long names, a symbol table, an odd size.
    let header = |name: &str, size: usize| format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, "100644");
    let names = format!(
        "!<arch>\n{}a_name_longer_than_16.bin/{}abc\n{}bsd-name-of-20-charsxy{}z\n",
        header("//", 26),
        header("/0", 3),
        header("#1/20", 22),
        header("plain/", 1)
    );
    vec![a.bytes(), b.bytes(), vib::bundle(&[a]), vib::bundle(&[b]), web, names.into_bytes()]
}

fn descriptors() -> Vec<Vec<u8>> {
    let from = |vib: &[u8]| {
        let at = |needle: &[u8]| vib.windows(needle.len()).position(|w| w == needle).unwrap();
        vib[at(b"<vib ")..at(b"</vib>") + 6].to_vec()
    };
    let small = "<vib><name>a</name><version>1</version><relative-path>vib20/x/x.vib</relative-path>\
                 <checksum checksum-type=\"sha-256\">00</checksum></vib>";
    vec![from(&vib::TestVib::new("small", "1.0-1").bytes()), small.as_bytes().to_vec()]
}
