//! The bounded run of the fuzz targets: recorded outputs and other seeds, changed in a few thousand ways that are the
//! same in every run. docs/fuzzing.md has the endless one.

mod fuzz_support;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use esxprep::fuzzing::{TARGETS, Target};
use fuzz_support::mutate::{Dice, mutated};
use fuzz_support::watch::{Watch, report};
use fuzz_support::{root, seeds};

/// An answer may be larger than the input by this factor ...
const FACTOR: usize = 200;
/// ... and by this many bytes: error texts, and what is said once.
const MORE: usize = 64 * 1024;

/// One input: no panic, no endless loop, no answer out of proportion.
fn survives(watch: &Watch, target: &'static Target, input: &[u8]) -> Result<usize, String> {
    let size = watch
        .over(target.name, input, || catch_unwind(AssertUnwindSafe(|| (target.run)(input))))
        .map_err(|_| report(target.name, input, "panicked: the message stands above"))?;
    if size > FACTOR * input.len() + MORE {
        return Err(report(target.name, input, &format!("made {size} bytes of {}", input.len())));
    }
    Ok(size)
}

/// A longer run with other inputs: what is added to a target's name where its dice begin, and how many times its
/// rounds. Without the two variables it is the same bounded run everywhere.
fn longer() -> (String, u32) {
    let said = |name: &str| std::env::var(name).unwrap_or_default();
    (said("ESXPREP_FUZZ_SEED"), said("ESXPREP_FUZZ_TIMES").parse().unwrap_or(1))
}

/// The targets named in a third variable, parted by commas; all of them without it.
fn chosen() -> Vec<&'static Target> {
    let Ok(names) = std::env::var("ESXPREP_FUZZ_TARGETS") else { return TARGETS.iter().collect() };
    let named = |name: &str| TARGETS.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no target `{name}`"));
    names.split(',').map(named).collect()
}

fn run(watch: &Watch, target: &'static Target) -> Result<(Duration, usize), String> {
    let started = Instant::now();
    let seeds = seeds(target);
    let mut largest = 0;
    for seed in &seeds {
        largest = largest.max(survives(watch, target, seed)? / seed.len().max(1));
    }
    survives(watch, target, b"")?;
    let (seed, times) = longer();
    let mut dice = Dice::new(&format!("{}{seed}", target.name));
    for _ in 0..target.rounds.saturating_mul(times) {
        let input = mutated(&mut dice, &seeds);
        largest = largest.max(survives(watch, target, &input)? / input.len().max(64));
    }
    Ok((started.elapsed(), largest))
}

#[test]
fn every_reader_of_outside_text_survives_changed_inputs() {
    let watch = Watch::start();
    let left = Mutex::new(chosen());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(target) = { left.lock().unwrap().pop() } {
                    // A thread of its own, with the stack of the product's threads: an overflow names the target.
                    let thread = std::thread::Builder::new().name(target.name.into()).stack_size(2 << 20);
                    let thread = thread.spawn_scoped(scope, || run(&watch, target)).unwrap();
                    match thread.join().unwrap() {
                        Ok((time, largest)) => {
                            println!(
                                "{:12} {:5} inputs {time:8.2?}, answers up to {largest} times their size",
                                target.name,
                                target.rounds.saturating_mul(longer().1)
                            );
                        }
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn the_targets_are_those_of_the_fuzz_crate() {
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let bins = manifest.split("[[bin]]").skip(1).filter_map(|bin| bin.split('"').nth(1)).collect::<Vec<_>>();
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len(), "a name is there twice");
    assert_eq!(bins.iter().copied().collect::<BTreeSet<_>>(), names);
    assert_eq!(bins.len(), names.len(), "a target is there twice in fuzz/Cargo.toml");
}

/// `fuzz/corpus.sh` runs this with ESXPREP_FUZZ_CORPUS set; without it the corpus goes into a temporary folder.
#[test]
fn lays_the_corpus() {
    let temporary = tempfile::tempdir().unwrap();
    let base = std::env::var_os("ESXPREP_FUZZ_CORPUS").map_or(temporary.path().to_owned(), std::path::PathBuf::from);
    for target in TARGETS {
        let folder = base.join(target.name);
        std::fs::create_dir_all(&folder).unwrap();
        let seeds = seeds(target);
        assert!(seeds.iter().any(|seed| !seed.is_empty()), "no seed for {}", target.name);
        for (n, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{n:03}")), seed).unwrap();
        }
        assert!(std::fs::read_dir(&folder).unwrap().count() >= seeds.len());
    }
}

/// The watchdog and the mutations are worth nothing if they let everything pass.
#[test]
fn a_reader_that_panics_or_says_too_much_is_caught() {
    static BAD: [Target; 2] = [
        Target {
            name: "panics",
            seeds: &[],
            rounds: 1,
            run: |bytes| bytes.iter().map(|b| usize::from(100 / (b - b'a'))).sum(),
        },
        Target { name: "swells", seeds: &[], rounds: 1, run: |bytes| bytes.len() * (FACTOR + 1) + MORE },
    ];
    let watch = Watch::start();
    for target in &BAD {
        let failure = survives(&watch, target, b"cba").unwrap_err();
        assert!(failure.contains(target.name) && failure.contains("636261"), "{failure}");
        assert_eq!(std::fs::read(failure.split("kept in ").nth(1).unwrap().lines().next().unwrap()).unwrap(), b"cba");
    }
    let (mut one, mut two) = (Dice::new("x"), Dice::new("x"));
    let seeds = [b"Name  MTU\n----  ----\nvmk0  1500\n".to_vec()];
    let made: Vec<Vec<u8>> = (0..200).map(|_| mutated(&mut one, &seeds)).collect();
    assert!(made.iter().all(|input| *input == mutated(&mut two, &seeds)), "the same in every run");
    assert!(made.iter().collect::<BTreeSet<_>>().len() > 150);
}
