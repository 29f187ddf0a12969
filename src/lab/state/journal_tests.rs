use std::cell::RefCell;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Thing {
    Tap { name: String },
    Process { pid: Option<u32> },
}

fn tap(name: &str) -> Thing {
    Thing::Tap { name: name.to_owned() }
}

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("journal.jsonl")
}

#[test]
fn what_may_exist_stands_in_the_order_of_making() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&path(&dir)).unwrap();
    let a = journal.making(&tap("a")).unwrap();
    let b = journal.making(&Thing::Process { pid: None }).unwrap();
    let c = journal.making(&tap("c")).unwrap();
    journal.made(b, &Thing::Process { pid: Some(7) }).unwrap();
    journal.made(a, &tap("a")).unwrap();
    journal.forget(c).unwrap();
    let wanted = vec![(a, tap("a")), (b, Thing::Process { pid: Some(7) })];
    assert_eq!(journal.standing(), wanted);
    drop(journal);
    assert_eq!(Journal::read(&path(&dir)).unwrap(), wanted, "read without opening");
    let mut journal = Journal::<Thing>::open(&path(&dir)).unwrap();
    assert_eq!(journal.standing(), wanted, "after another start");
    let d = journal.making(&tap("d")).unwrap();
    assert!(d > c, "numbers are not given out twice");
}

#[test]
fn teardown_goes_backwards_past_failures_any_number_of_times() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&path(&dir)).unwrap();
    for name in ["a", "b", "c"] {
        journal.making(&tap(name)).unwrap();
    }
    let order = RefCell::new(Vec::new());
    let unmake = |thing: &Thing| {
        let Thing::Tap { name } = thing else { return Ok(()) };
        order.borrow_mut().push(name.clone());
        if name == "b" { Err("busy") } else { Ok(()) }
    };
    let result = journal.unmake_all(unmake);
    assert_eq!(*order.borrow(), ["c", "b", "a"]);
    assert_eq!((result.unmade, result.failed), (2, vec![(2, tap("b"), "busy")]));
    assert!(result.unwritten.is_none());
    drop(journal);
    let mut journal = Journal::open(&path(&dir)).unwrap();
    let result = journal.unmake_all(|_: &Thing| Ok::<_, ()>(()));
    assert_eq!((result.unmade, journal.standing()), (1, vec![]));
    assert_eq!(fs::metadata(path(&dir)).unwrap().len(), 0, "nothing stands, nothing is kept");
    assert_eq!(journal.unmake_all(|_: &Thing| Err(())).failed.len(), 0);
    // It can be used on after it was emptied.
    journal.making(&tap("d")).unwrap();
    drop(journal);
    assert_eq!(Journal::<Thing>::read(&path(&dir)).unwrap().len(), 1);
}

#[test]
fn one_hosts_things_go_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&path(&dir)).unwrap();
    journal.making(&tap("h1")).unwrap();
    journal.making(&tap("h2")).unwrap();
    let result = journal.unmake_some(|t| *t == tap("h1"), |_| Ok::<_, ()>(()));
    assert_eq!(result.unmade, 1);
    assert_eq!(journal.standing(), [(2, tap("h2"))]);
}

#[test]
fn a_torn_line_is_ignored_and_repaired_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&path(&dir)).unwrap();
    journal.making(&tap("a")).unwrap();
    drop(journal);
    let mut text = fs::read(path(&dir)).unwrap();
    text.extend(b"{\"seq\":2,\"time\":\"x\",\"op\":\"mak");
    fs::write(path(&dir), &text).unwrap();
    let mut journal = Journal::open(&path(&dir)).unwrap();
    assert_eq!(journal.standing(), [(1, tap("a"))]);
    assert!(journal.damaged().is_empty());
    journal.making(&tap("b")).unwrap();
    drop(journal);
    let journal = Journal::<Thing>::open(&path(&dir)).unwrap();
    assert_eq!(journal.standing(), [(1, tap("a")), (2, tap("b"))]);
    assert!(journal.damaged().is_empty(), "{:?}", journal.damaged());
}

#[test]
fn a_line_from_another_version_hides_no_other_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&path(&dir)).unwrap();
    journal.making(&tap("a")).unwrap();
    drop(journal);
    let mut text = fs::read_to_string(path(&dir)).unwrap();
    text.push_str("{\"seq\":2,\"time\":\"x\",\"op\":\"making\",\"thing\":{\"what\":\"wormhole\"}}\n");
    fs::write(path(&dir), &text).unwrap();
    let mut journal = Journal::open(&path(&dir)).unwrap();
    assert_eq!(journal.damaged().len(), 1);
    assert!(journal.damaged()[0].text.contains("wormhole"), "{:?}", journal.damaged());
    assert_eq!(journal.making(&tap("b")).unwrap(), 3);
    let result = journal.unmake_all(|_: &Thing| Ok::<_, ()>(()));
    assert_eq!(result.unmade, 2);
    assert!(fs::read_to_string(path(&dir)).unwrap().contains("wormhole"));
}

#[test]
fn a_long_journal_is_rewritten_with_what_stands() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for seq in 1..=1500 {
        text.push_str(&format!(
            "{{\"seq\":{seq},\"time\":\"x\",\"op\":\"making\",\"thing\":{{\"what\":\"tap\",\"name\":\"t\"}}}}\n"
        ));
        if seq != 700 {
            text.push_str(&format!("{{\"seq\":{seq},\"time\":\"x\",\"op\":\"unmade\"}}\n"));
        }
    }
    fs::write(path(&dir), &text).unwrap();
    let mut journal = Journal::<Thing>::open(&path(&dir)).unwrap();
    assert_eq!(journal.standing(), [(700, tap("t"))]);
    assert_eq!(fs::read_to_string(path(&dir)).unwrap().lines().count(), 1);
    journal.making(&tap("u")).unwrap();
    assert_eq!(Journal::<Thing>::read(&path(&dir)).unwrap().len(), 2);
}

/// A random history: for each step either a new thing or an end of an old one.
fn history() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((0u8..4, any::<u8>()), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Cut at every byte, the file reads as one of the states that the journal went through, the latest that fits.
    #[test]
    fn every_truncation_is_a_prefix(steps in history()) {
        let dir = tempfile::tempdir().unwrap();
        let file = path(&dir);
        let mut journal = Journal::open(&file).unwrap();
        // (length of the file, what stood then)
        let mut states = vec![(0, Vec::new())];
        for (op, n) in steps {
            let standing = journal.standing();
            match (op, standing.get(usize::from(n) % standing.len().max(1))) {
                (0, _) | (_, None) => {
                    journal.making(&tap(&format!("ä\n{n}"))).unwrap();
                }
                (1, Some((seq, _))) => journal.made(*seq, &Thing::Process { pid: Some(n.into()) }).unwrap(),
                (2, Some((seq, _))) => journal.unmade(*seq).unwrap(),
                (_, Some((seq, _))) => journal.forget(*seq).unwrap(),
            }
            states.push((fs::metadata(&file).unwrap().len() as usize, journal.standing()));
        }
        let whole = fs::read(&file).unwrap();
        prop_assert_eq!(states.last().unwrap().0, whole.len());
        for cut in 0..=whole.len() {
            let content = parse::<Thing>(&whole[..cut]);
            prop_assert!(content.damaged.is_empty(), "cut at {}", cut);
            let expected = states.iter().rev().find(|(length, _)| *length <= cut).unwrap();
            prop_assert_eq!(content.whole as usize, expected.0);
            prop_assert_eq!(content.standing.into_iter().collect::<Vec<_>>(), expected.1.clone(), "cut at {}", cut);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse::<Thing>(&bytes);
    }
}
